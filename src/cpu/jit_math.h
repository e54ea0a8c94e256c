/* Operators as instructions: given values, emits what an elementwise operator of the schema does to
 * them, inline, in vectors of any length.
 *
 * Floats: at most 2.5 ulp in f32 and 2.7 in f64, each bound in tests/unit/test_cpu_jit_math.c;
 * infinities, NaN, subnormals and signed zeros as the pages in docs/ops say. Fused multiply-add
 * is used where there is one, so instruction sets differ in last bits. f16 and bf16 are computed
 * as f32: jit_math_pack rounds.
 *
 * Sines of huge arguments, remainders of huge quotients and integer powers add basic blocks. */
#ifndef STOA_CPU_JIT_MATH_H
#define STOA_CPU_JIT_MATH_H

#include "cpu/jit_build.h"
#include "tables/schema.h"

/* Whether jit_math has this operator on operands of this dtype. */
bool jit_math_has(Opcode opcode, Dtype dtype);

#if defined(STOA_HAVE_LLVM)
/* Element types in registers and in memory. */
JitType jit_math_type(const JitBuild *build, Dtype dtype);
JitType jit_math_memory(const JitBuild *build, Dtype dtype);
/* From what memory holds to what is computed with, and back (rounding 16-bit floats). */
JitValue jit_math_unpack(JitBuild *build, Dtype dtype, JitValue stored);
JitValue jit_math_pack(JitBuild *build, Dtype dtype, JitValue value);
/* The same for bf16 or 32 bits side by side, as words: even elements first, then odd ones. */
JitValue jit_math_unpack_pairs(JitBuild *build, Dtype dtype, JitValue words);
JitValue jit_math_pack_pairs(JitBuild *build, Dtype dtype, JitValue value);
/* What a value of this dtype is after a round trip through memory: only 16-bit floats change. */
JitValue jit_math_round(JitBuild *build, Dtype dtype, JitValue value);

/* An operator of jit_math_has; dtype is that of the first number operand. */
JitValue jit_math(JitBuild *build, Opcode opcode, Dtype dtype, const JitValue *args);
JitValue jit_math_compare(JitBuild *build, CompareKind how, Dtype dtype, JitValue x, JitValue y);
/* The result is rounded as memory of dtype `to` would. */
JitValue jit_math_convert(JitBuild *build, Dtype from, Dtype to, JitValue x);
JitValue jit_math_bitcast(JitBuild *build, Dtype from, Dtype to, JitValue x);
/* Reductions: the number that changes nothing, one step, and all lanes of a vector (as a tree). */
JitValue jit_math_identity(JitBuild *build, ReduceKind kind, Dtype dtype, uint32_t lanes);
JitValue jit_math_combine(JitBuild *build, ReduceKind kind, Dtype dtype, JitValue x, JitValue y);
JitValue jit_math_across(JitBuild *build, ReduceKind kind, Dtype dtype, JitValue x);
#endif

#endif
