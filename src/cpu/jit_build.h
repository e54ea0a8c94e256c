/* What a kernel's build function is given: a module to fill, and short names for what every
 * emitter needs.
 *
 * Values: vectors and scalars of LLVM types. bool is i1 (in memory a byte, 0 or 1), integers are
 * iN, f16 and bf16 are computed as f32 (jit_math_load and jit_math_store convert). Build
 * functions may add basic blocks; whoever calls the functions of jit_math.h must ask
 * llvm.GetInsertBlock afterwards. */
#ifndef STOA_CPU_JIT_BUILD_H
#define STOA_CPU_JIT_BUILD_H

#include "cpu/jit.h"
#include "cpu/llvm.h"

#if defined(STOA_HAVE_LLVM)

typedef LLVMValueRef JitValue;
typedef LLVMTypeRef  JitType;

struct JitBuild {
    LLVMContextRef    context;
    LLVMModuleRef     module;
    LLVMBuilderRef    at; /* where instructions go */
    const JitMachine *machine;
    Arena            *arena; /* scratch of this lane, until the build function returns */
    const char       *why;   /* static string: why it returned false */
    JitType           i1, i8, i16, i32, i64, f16, f32, f64, ptr;
};

/* The vector type of `lanes` elements, or the element itself for 1. */
JitType jit_vector(JitType element, uint32_t lanes);
/* The function JIT_ENTRY of these parameters, returning nothing, with its first block, where the
 * builder then stands. It cannot unwind and calls no library behind our back. */
JitValue jit_function(JitBuild *build, const JitType *parameters, uint32_t count);
/* Another function, called by this one only; the builder stands in its first block. */
JitValue jit_helper(JitBuild *build, const char *name, JitType type);
/* A read-only array of constants in the module; returns its address. align: bytes. */
JitValue jit_constants(JitBuild *build, JitType element, JitValue *values, uint32_t count,
                       uint32_t align);
/* Calls an LLVM intrinsic that is overloaded on `types`. */
JitValue jit_intrinsic(JitBuild *build, const char *name, const JitType *types,
                       uint32_t types_count, JitValue *args, uint32_t args_count);

#endif
#endif
