/* A vocabulary for writing vector mathematics: one short function an instruction.
 *
 * v_* work on floats (f32 or f64, scalars or vectors), i_* on integers; constants take the type
 * of a value they stand beside. v_fma is fused where the machine can and rounds twice elsewhere:
 * for polynomials. v_tight is for what needs the exact product and is only called when
 * machine->fma. Comparisons give vectors of i1 and are false for NaN unless said otherwise. */
#ifndef STOA_CPU_JIT_MATH_INNER_H
#define STOA_CPU_JIT_MATH_INNER_H

#include "cpu/jit_math.h"

#if defined(STOA_HAVE_LLVM)

typedef JitBuild J;
typedef JitValue V;

/* --- types ------------------------------------------------------------------------------------ */
static inline JitType v_element(V x) {
    JitType type = llvm.TypeOf(x);
    return llvm.GetTypeKind(type) == LLVMVectorTypeKind ? llvm.GetElementType(type) : type;
}
static inline uint32_t v_lanes(V x) {
    JitType type = llvm.TypeOf(x);
    return llvm.GetTypeKind(type) == LLVMVectorTypeKind ? llvm.GetVectorSize(type) : 1;
}
static inline JitType v_as(V x, JitType element) { return jit_vector(element, v_lanes(x)); }
static inline bool    v_wide(const J *j, V x) { return v_element(x) == j->f64; }
static inline JitType v_int_type(const J *j, V x) {
    return v_as(x, v_wide(j, x) ? j->i64 : j->i32);
}

/* --- constants -------------------------------------------------------------------------------- */
static inline V v_splat(V element, uint32_t lanes) {
    V all[64];
    ASSERT(lanes <= LENGTH(all));
    if (lanes == 1) return element;
    for (uint32_t i = 0; i < lanes; i++) all[i] = element;
    return llvm.ConstVector(all, lanes);
}
/* A number of the type of x. */
static inline V v_num(V x, double number) {
    return v_splat(llvm.ConstReal(v_element(x), number), v_lanes(x));
}
static inline V i_num(V x, uint64_t number) {
    return v_splat(llvm.ConstInt(v_element(x), number, false), v_lanes(x));
}

/* --- floats ----------------------------------------------------------------------------------- */
static inline V v_add(J *j, V x, V y) { return llvm.BuildFAdd(j->at, x, y, ""); }
static inline V v_sub(J *j, V x, V y) { return llvm.BuildFSub(j->at, x, y, ""); }
static inline V v_mul(J *j, V x, V y) { return llvm.BuildFMul(j->at, x, y, ""); }
static inline V v_div(J *j, V x, V y) { return llvm.BuildFDiv(j->at, x, y, ""); }
static inline V v_neg(J *j, V x) { return llvm.BuildFNeg(j->at, x, ""); }
static inline V v_call1(J *j, const char *name, V x) {
    JitType type = llvm.TypeOf(x);
    return jit_intrinsic(j, name, &type, 1, &x, 1);
}
static inline V v_call3(J *j, const char *name, V x, V y, V z) {
    JitType type = llvm.TypeOf(x);
    return jit_intrinsic(j, name, &type, 1, (V[]){x, y, z}, 3);
}
static inline V v_fma(J *j, V x, V y, V z) { return v_call3(j, "llvm.fmuladd", x, y, z); }
static inline V v_tight(J *j, V x, V y, V z) {
    ASSERT(j->machine->fma);
    return v_call3(j, "llvm.fma", x, y, z);
}
static inline V v_abs(J *j, V x) { return v_call1(j, "llvm.fabs", x); }
static inline V v_sqrt(J *j, V x) { return v_call1(j, "llvm.sqrt", x); }
static inline V v_copysign(J *j, V x, V sign) {
    JitType type = llvm.TypeOf(x);
    return jit_intrinsic(j, "llvm.copysign", &type, 1, (V[]){x, sign}, 2);
}
static inline V v_compare(J *j, LLVMRealPredicate how, V x, V y) {
    return llvm.BuildFCmp(j->at, how, x, y, "");
}
static inline V v_lt(J *j, V x, V y) { return v_compare(j, LLVMRealOLT, x, y); }
static inline V v_gt(J *j, V x, V y) { return v_compare(j, LLVMRealOGT, x, y); }
static inline V v_ge(J *j, V x, V y) { return v_compare(j, LLVMRealOGE, x, y); }
static inline V v_eq(J *j, V x, V y) { return v_compare(j, LLVMRealOEQ, x, y); }
static inline V v_nan(J *j, V x) { return v_compare(j, LLVMRealUNO, x, x); }
static inline V v_select(J *j, V which, V x, V y) {
    return llvm.BuildSelect(j->at, which, x, y, "");
}
/* The smaller or larger; y if one is NaN: one instruction. v_clamp keeps a NaN x. */
static inline V v_least(J *j, V x, V y) { return v_select(j, v_lt(j, x, y), x, y); }
static inline V v_most(J *j, V x, V y) { return v_select(j, v_gt(j, x, y), x, y); }
static inline V v_clamp(J *j, V x, double low, double high) {
    return v_least(j, v_num(x, high), v_most(j, v_num(x, low), x));
}
/* Coefficients from the highest power down. */
static inline V v_poly(J *j, V x, const double *numbers, uint32_t count) {
    V y = v_num(x, numbers[0]);
    for (uint32_t i = 1; i < count; i++) y = v_fma(j, y, x, v_num(x, numbers[i]));
    return y;
}
#define V_POLY(j, x, ...)                                                                          \
    v_poly(j, x, (const double[]){__VA_ARGS__}, LENGTH(((const double[]){__VA_ARGS__})))
static inline V v_f64(J *j, V x) { return llvm.BuildFPExt(j->at, x, v_as(x, j->f64), ""); }
static inline V v_f32(J *j, V x) { return llvm.BuildFPTrunc(j->at, x, v_as(x, j->f32), ""); }

/* --- integers and bits ------------------------------------------------------------------------ */
static inline V i_add(J *j, V x, V y) { return llvm.BuildAdd(j->at, x, y, ""); }
static inline V i_sub(J *j, V x, V y) { return llvm.BuildSub(j->at, x, y, ""); }
static inline V i_and(J *j, V x, V y) { return llvm.BuildAnd(j->at, x, y, ""); }
static inline V i_or(J *j, V x, V y) { return llvm.BuildOr(j->at, x, y, ""); }
static inline V i_xor(J *j, V x, V y) { return llvm.BuildXor(j->at, x, y, ""); }
static inline V i_not(J *j, V x) { return llvm.BuildNot(j->at, x, ""); }
static inline V i_shl(J *j, V x, uint32_t by) { return llvm.BuildShl(j->at, x, i_num(x, by), ""); }
static inline V i_shr(J *j, V x, uint32_t by) { return llvm.BuildLShr(j->at, x, i_num(x, by), ""); }
static inline V i_compare(J *j, LLVMIntPredicate how, V x, V y) {
    return llvm.BuildICmp(j->at, how, x, y, "");
}
static inline V i_bits(J *j, V x) { return llvm.BuildBitCast(j->at, x, v_int_type(j, x), ""); }
static inline V v_bits(J *j, V bits, V like) {
    return llvm.BuildBitCast(j->at, bits, llvm.TypeOf(like), "");
}
/* sign's sign bit flips x. */
static inline V v_flip(J *j, V x, V sign_bits) {
    return v_bits(j, i_xor(j, i_bits(j, x), sign_bits), x);
}

/* --- functions that others are made of -------------------------------------------------------- */
V jit_floor(J *j, V x);
V jit_rint(J *j, V x); /* ties to even */
/* Where `which` holds, a function of libm on each lane (as f64); elsewhere y. Adds blocks; for
 * arguments that are rare. */
V jit_rarely(J *j, V which, V y, const char *function, const V *args, uint32_t count);

V jit_expm1_short(J *j, V x); /* for results of normal size and |x| < 80; subnormals become 0 */

V jit_exp(J *j, V x);
V jit_expm1(J *j, V x);
V jit_log(J *j, V x);
V jit_log1p(J *j, V x);
V jit_tanh(J *j, V x);
V jit_logistic(J *j, V x);
V jit_pow(J *j, V x, V y);
V jit_sin(J *j, V x);
V jit_cos(J *j, V x);
V jit_atan2(J *j, V y, V x);
V jit_erf(J *j, V x);
V jit_erf_inv(J *j, V x);

#endif
#endif
