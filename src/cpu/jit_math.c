/* Elementwise operators as instructions: dispatch, rounding, integers, comparisons, conversions.
 *
 * Integer division of up to 32 bits goes through floats whose quotient cannot round up to the next
 * integer (f32 for 16 bits, f64 for 32), because x86 has no vector division; 64 bits divide lane
 * by lane. Divisors that are 0 or -1 and shifts that are out of range are replaced before the
 * instruction, whose result for them would be undefined. */
#include "cpu/jit_math.h"

#include <math.h>
#include <stdio.h>

#include "cpu/jit_math_inner.h"

/* --- what there is ---------------------------------------------------------------------------- */

enum { TAKES_FLOAT = 1, TAKES_INT = 2, TAKES_BOOL = 4, TAKES_ALL = 7, TAKES_NUMBER = 3 };
static const uint8_t takes[OP_COUNT] = {
    [OP_NEG] = TAKES_NUMBER,
    [OP_ABS] = TAKES_NUMBER,
    [OP_SIGN] = TAKES_NUMBER,
    [OP_FLOOR] = TAKES_FLOAT,
    [OP_ROUND_EVEN] = TAKES_FLOAT,
    [OP_EXP] = TAKES_FLOAT,
    [OP_EXPM1] = TAKES_FLOAT,
    [OP_LOG] = TAKES_FLOAT,
    [OP_LOG1P] = TAKES_FLOAT,
    [OP_SQRT] = TAKES_FLOAT,
    [OP_RSQRT] = TAKES_FLOAT,
    [OP_SIN] = TAKES_FLOAT,
    [OP_COS] = TAKES_FLOAT,
    [OP_TANH] = TAKES_FLOAT,
    [OP_LOGISTIC] = TAKES_FLOAT,
    [OP_ERF] = TAKES_FLOAT,
    [OP_ERF_INV] = TAKES_FLOAT,
    [OP_ADD] = TAKES_NUMBER,
    [OP_SUB] = TAKES_NUMBER,
    [OP_MUL] = TAKES_NUMBER,
    [OP_DIV] = TAKES_NUMBER,
    [OP_POW] = TAKES_NUMBER,
    [OP_REM] = TAKES_NUMBER,
    [OP_MAX] = TAKES_ALL,
    [OP_MIN] = TAKES_ALL,
    [OP_ATAN2] = TAKES_FLOAT,
    [OP_AND] = TAKES_INT | TAKES_BOOL,
    [OP_OR] = TAKES_INT | TAKES_BOOL,
    [OP_XOR] = TAKES_INT | TAKES_BOOL,
    [OP_SHL] = TAKES_INT,
    [OP_SHR_ARITH] = TAKES_INT,
    [OP_SHR_LOGICAL] = TAKES_INT,
    [OP_IS_FINITE] = TAKES_ALL,
    [OP_NOT] = TAKES_INT | TAKES_BOOL,
    [OP_SELECT] = TAKES_ALL,
};

static bool is_double_or_less(Dtype dtype) {
    return dtype == DTYPE_F16 || dtype == DTYPE_BF16 || dtype == DTYPE_F32 || dtype == DTYPE_F64;
}
bool jit_math_has(Opcode opcode, Dtype dtype) {
    ASSERT(opcode < OP_COUNT);
    uint32_t class = dtype == DTYPE_BOOL        ? TAKES_BOOL
                     : dtype_is_int(dtype)      ? TAKES_INT
                     : is_double_or_less(dtype) ? TAKES_FLOAT
                                                : 0;
    return (takes[opcode] & class) != 0;
}

#if defined(STOA_HAVE_LLVM)

static bool     is_unsigned(Dtype dtype) { return dtype == DTYPE_U8 || dtype == DTYPE_BOOL; }
static uint32_t int_bits(V x) { return llvm.GetIntTypeWidth(v_element(x)); }

/* --- rounding --------------------------------------------------------------------------------- */

/* Numbers from this on are integers: 2^23, 2^52. Adding and taking it away rounds smaller ones. */
static V whole_from(J *j, V x) { return v_num(x, v_wide(j, x) ? 0x1p52 : 0x1p23); }
V        v_rint(J *j, V x) {
           if (j->machine->rounds) return v_call1(j, "llvm.roundeven", x);
    V a = v_abs(j, x), large = whole_from(j, x);
           V near = v_copysign(j, v_sub(j, v_add(j, a, large), large), x);
           return v_select(j, v_lt(j, a, large), near, x);
}
V v_floor(J *j, V x) {
    if (j->machine->rounds) return v_call1(j, "llvm.floor", x);
    V near = v_rint(j, x);
    V below = v_sub(j, near, v_select(j, v_gt(j, near, x), v_num(x, 1), v_num(x, 0)));
    return v_copysign(j, below, x); /* -0 */
}

/* --- lanes that need libm --------------------------------------------------------------------- */

static V libm_declare(J *j, const char *name, uint32_t count, JitType *out_type) {
    JitType params[2] = {j->f64, j->f64};
    *out_type = llvm.FunctionType(j->f64, params, count, false);
    V function = llvm.GetNamedFunction(j->module, name);
    return function ? function : llvm.AddFunction(j->module, name, *out_type);
}
static V libm_call(J *j, V function, JitType type, V *args, uint32_t count, JitType element) {
    for (uint32_t i = 0; i < count; i++)
        if (element != j->f64) args[i] = llvm.BuildFPExt(j->at, args[i], j->f64, "");
    V y = llvm.BuildCall2(j->at, type, function, args, count, "");
    return element == j->f64 ? y : llvm.BuildFPTrunc(j->at, y, element, "");
}
/* The function of the module that does all lanes of `args`, made at its first use. */
static V lanes_function(J *j, const char *name, const V *args, uint32_t count, JitType *out_type) {
    char     text[48];
    uint32_t lanes = v_lanes(args[0]);
    JitType  vector = llvm.TypeOf(args[0]), type, params[2] = {vector, vector};
    (void)snprintf(text, sizeof text, "%s_%u_%u", name, v_wide(j, args[0]) ? 64 : 32, lanes);
    *out_type = llvm.FunctionType(vector, params, count, false);
    V function = llvm.GetNamedFunction(j->module, text);
    if (function) return function;
    LLVMBasicBlockRef back = llvm.GetInsertBlock(j->at);
    V                 scalar = libm_declare(j, name, count, &type);
    function = jit_helper(j, text, *out_type);
    V result = llvm.GetPoison(vector);
    for (uint32_t lane = 0; lane < lanes; lane++) {
        V index = llvm.ConstInt(j->i32, lane, false), one[2];
        for (uint32_t i = 0; i < count; i++) {
            V param = llvm.GetParam(function, i);
            one[i] = lanes == 1 ? param : llvm.BuildExtractElement(j->at, param, index, "");
        }
        V y = libm_call(j, scalar, type, one, count, v_element(args[0]));
        result = lanes == 1 ? y : llvm.BuildInsertElement(j->at, result, y, index, "");
    }
    llvm.BuildRet(j->at, result);
    llvm.PositionBuilderAtEnd(j->at, back);
    return function;
}
V v_rarely(J *j, V which, V y, const char *name, const V *args, uint32_t count) {
    JitType type, mask = llvm.TypeOf(which);
    V       copies[2] = {args[0], count > 1 ? args[1] : NULL}, any = which;
    V       function = lanes_function(j, name, args, count, &type);
    if (v_lanes(which) > 1) any = jit_intrinsic(j, "llvm.vector.reduce.or", &mask, 1, &which, 1);
    LLVMBasicBlockRef here = llvm.GetInsertBlock(j->at);
    V                 inside = llvm.GetBasicBlockParent(here);
    LLVMBasicBlockRef slow = llvm.AppendBasicBlockInContext(j->context, inside, "slow");
    LLVMBasicBlockRef join = llvm.AppendBasicBlockInContext(j->context, inside, "join");
    llvm.BuildCondBr(j->at, any, slow, join);
    llvm.PositionBuilderAtEnd(j->at, slow);
    V exact = v_select(j, which, llvm.BuildCall2(j->at, type, function, copies, count, ""), y);
    llvm.BuildBr(j->at, join);
    llvm.PositionBuilderAtEnd(j->at, join);
    V both = llvm.BuildPhi(j->at, llvm.TypeOf(y), "");
    llvm.AddIncoming(both, (V[]){y, exact}, (LLVMBasicBlockRef[]){here, slow}, 2);
    return both;
}

/* --- floats ----------------------------------------------------------------------------------- */

static V float_max(J *j, V x, V y) { return v_select(j, v_nan(j, x), x, v_most(j, x, y)); }
static V float_min(J *j, V x, V y) { return v_select(j, v_nan(j, x), x, v_least(j, x, y)); }
static V float_sign(J *j, V x) {
    V zero = v_num(x, 0);
    V y = v_select(j, v_gt(j, x, zero), v_num(x, 1), zero);
    y = v_select(j, v_lt(j, x, zero), v_num(x, -1), y);
    return v_select(j, v_nan(j, x), x, y);
}
static V float_finite(J *j, V x) {
    V bits = i_bits(j, v_abs(j, x));
    return i_compare(j, LLVMIntULT, bits, i_bits(j, v_num(x, (double)INFINITY)));
}
/* x - trunc(x / y) y, exact while the quotient fits a mantissa; it can be one too large, as it is
 * rounded. f32 is computed in f64; f64 without fused multiply-add always goes to libm. */
static V float_rem(J *j, V x, V y) {
    V    a = v_abs(j, x), b = v_abs(j, y), wide_a = a, wide_b = b, r;
    bool wide = v_wide(j, x), exact = !wide || j->machine->fma;
    if (!wide) {
        wide_a = v_f64(j, a);
        wide_b = v_f64(j, b);
    }
    V q = v_floor(j, v_div(j, wide_a, wide_b));
    V bound = v_num(q, wide ? 0x1p52 : 0x1p28);
    r = wide && exact ? v_tight(j, v_neg(j, q), wide_b, wide_a)
                      : v_sub(j, wide_a, v_mul(j, q, wide_b));
    r = v_select(j, v_lt(j, r, v_num(r, 0)), v_add(j, r, wide_b), r);
    if (!wide) r = v_f32(j, r);
    r = v_select(j, v_eq(j, b, v_num(b, (double)INFINITY)), a, r); /* finite rem inf */
    r = v_copysign(j, r, x);
    V rare =
        exact ? v_compare(j, LLVMRealUGE, q, bound) : v_compare(j, LLVMRealUGE, wide_a, wide_b);
    return v_rarely(j, rare, r, "fmod", (V[]){x, y}, 2);
}

static V float_unary(J *j, Opcode opcode, V x) { /* tidy: dispatch */
    switch (opcode) {
    case OP_NEG: return v_neg(j, x);
    case OP_ABS: return v_abs(j, x);
    case OP_SIGN: return float_sign(j, x);
    case OP_FLOOR: return v_floor(j, x);
    case OP_ROUND_EVEN: return v_rint(j, x);
    case OP_EXP: return jit_exp(j, x);
    case OP_EXPM1: return jit_expm1(j, x);
    case OP_LOG: return jit_log(j, x);
    case OP_LOG1P: return jit_log1p(j, x);
    case OP_SQRT: return v_sqrt(j, x);
    case OP_RSQRT: return v_div(j, v_num(x, 1), v_sqrt(j, x));
    case OP_SIN: return jit_sin(j, x);
    case OP_COS: return jit_cos(j, x);
    case OP_TANH: return jit_tanh(j, x);
    case OP_LOGISTIC: return jit_logistic(j, x);
    case OP_ERF: return jit_erf(j, x);
    case OP_ERF_INV: return jit_erf_inv(j, x);
    default: return float_finite(j, x);
    }
}
static V float_binary(J *j, Opcode opcode, V x, V y) {
    switch (opcode) {
    case OP_ADD: return v_add(j, x, y);
    case OP_SUB: return v_sub(j, x, y);
    case OP_MUL: return v_mul(j, x, y);
    case OP_DIV: return v_div(j, x, y);
    case OP_POW: return jit_pow(j, x, y);
    case OP_REM: return float_rem(j, x, y);
    case OP_MAX: return float_max(j, x, y);
    case OP_MIN: return float_min(j, x, y);
    default: return jit_atan2(j, x, y);
    }
}

/* --- integers --------------------------------------------------------------------------------- */

static V int_select_extreme(J *j, bool max, bool is_u, V x, V y) {
    LLVMIntPredicate how = max ? is_u ? LLVMIntUGT : LLVMIntSGT : is_u ? LLVMIntULT : LLVMIntSLT;
    return v_select(j, i_compare(j, how, x, y), x, y);
}
static V int_is(J *j, V x, uint64_t number) { return i_compare(j, LLVMIntEQ, x, i_num(x, number)); }
/* Truncated quotient for a divisor other than 0 and, if signed, -1. */
static V int_quotient(J *j, bool is_u, V x, V y) {
    uint32_t bits = int_bits(x);
    if (v_lanes(x) == 1 || bits == 64)
        return is_u ? llvm.BuildUDiv(j->at, x, y, "") : llvm.BuildSDiv(j->at, x, y, "");
    JitType type = v_as(x, bits <= 16 ? j->f32 : j->f64), whole = v_as(x, j->i32);
    V       a = is_u ? llvm.BuildUIToFP(j->at, x, type, "") : llvm.BuildSIToFP(j->at, x, type, "");
    V       b = is_u ? llvm.BuildUIToFP(j->at, y, type, "") : llvm.BuildSIToFP(j->at, y, type, "");
    V       q = llvm.BuildFPToSI(j->at, v_div(j, a, b), whole, "");
    return bits == 32 ? q : llvm.BuildTrunc(j->at, q, llvm.TypeOf(x), "");
}
static V int_div(J *j, bool is_u, V x, V y) {
    V zero = int_is(j, y, 0), minus = int_is(j, y, UINT64_MAX), one = i_num(x, 1);
    V unsafe = is_u ? zero : i_or(j, zero, minus);
    V q = int_quotient(j, is_u, x, v_select(j, unsafe, one, y));
    if (!is_u) q = v_select(j, minus, i_sub(j, i_num(x, 0), x), q);
    return v_select(j, zero, i_num(x, 0), q);
}
static V int_rem(J *j, bool is_u, V x, V y) {
    V q = int_div(j, is_u, x, y);
    return v_select(j, int_is(j, y, 0), i_num(x, 0), i_sub(j, x, llvm.BuildMul(j->at, q, y, "")));
}
/* By squaring, as often as some exponent has a bit left; below 0 only 1 and -1 have a power. */
static V int_pow(J *j, bool is_u, V x, V y) {
    V                 negative = is_u ? NULL : i_compare(j, LLVMIntSLT, y, i_num(y, 0));
    V                 odd_sign = i_sub(j, i_num(x, 0), i_and(j, y, i_num(y, 1)));
    LLVMBasicBlockRef before = llvm.GetInsertBlock(j->at);
    V                 inside = llvm.GetBasicBlockParent(before);
    LLVMBasicBlockRef loop = llvm.AppendBasicBlockInContext(j->context, inside, "square");
    LLVMBasicBlockRef done = llvm.AppendBasicBlockInContext(j->context, inside, "power");
    JitType           type = llvm.TypeOf(x);
    V                 one = i_num(x, 1), start = y;
    if (negative) start = v_select(j, negative, i_num(y, 0), y);
    llvm.BuildBr(j->at, loop);
    llvm.PositionBuilderAtEnd(j->at, loop);
    V left = llvm.BuildPhi(j->at, type, ""), base = llvm.BuildPhi(j->at, type, "");
    V power = llvm.BuildPhi(j->at, type, "");
    V takes_base = int_is(j, i_and(j, left, one), 1);
    V next[3] = {i_shr(j, left, 1), llvm.BuildMul(j->at, base, base, ""),
                 v_select(j, takes_base, llvm.BuildMul(j->at, power, base, ""), power)};
    V start_of[3] = {start, x, one}, phi[3] = {left, base, power};
    for (int i = 0; i < 3; i++)
        llvm.AddIncoming(phi[i], (V[]){start_of[i], next[i]}, (LLVMBasicBlockRef[]){before, loop},
                         2);
    V more = i_compare(j, LLVMIntNE, next[0], i_num(x, 0));
    if (v_lanes(x) > 1) {
        JitType mask = llvm.TypeOf(more);
        more = jit_intrinsic(j, "llvm.vector.reduce.or", &mask, 1, &more, 1);
    }
    llvm.BuildCondBr(j->at, more, loop, done);
    llvm.PositionBuilderAtEnd(j->at, done);
    if (!negative) return next[2];
    V minus = v_select(j, int_is(j, x, UINT64_MAX), i_or(j, odd_sign, one), i_num(x, 0));
    V inverse = v_select(j, int_is(j, x, 1), one, minus);
    return v_select(j, negative, inverse, next[2]);
}
static V int_shift(J *j, Opcode opcode, bool is_u, V x, V y) {
    uint32_t bits = int_bits(x);
    V        last = i_num(y, bits - 1), out = i_compare(j, LLVMIntUGT, y, last);
    if (opcode == OP_SHR_ARITH && !is_u)
        return llvm.BuildAShr(j->at, x, v_select(j, out, last, y), "");
    V by = i_and(j, y, last);
    V moved = opcode == OP_SHL ? llvm.BuildShl(j->at, x, by, "") : llvm.BuildLShr(j->at, x, by, "");
    return v_select(j, out, i_num(x, 0), moved);
}
static V int_unary(J *j, Opcode opcode, bool is_u, V x) {
    V zero = i_num(x, 0), minus = i_sub(j, zero, x), positive, negative;
    switch (opcode) {
    case OP_NEG: return minus;
    case OP_NOT: return i_not(j, x);
    case OP_IS_FINITE: return v_splat(llvm.ConstInt(j->i1, 1, false), v_lanes(x));
    default: break;
    }
    positive = i_compare(j, is_u ? LLVMIntUGT : LLVMIntSGT, x, zero);
    if (opcode == OP_ABS) return is_u ? x : v_select(j, positive, x, minus);
    negative =
        is_u ? zero : v_select(j, i_compare(j, LLVMIntSLT, x, zero), i_num(x, UINT64_MAX), zero);
    return v_select(j, positive, i_num(x, 1), negative);
}
static V int_binary(J *j, Opcode opcode, bool is_u, V x, V y) { /* tidy: dispatch */
    switch (opcode) {
    case OP_ADD: return i_add(j, x, y);
    case OP_SUB: return i_sub(j, x, y);
    case OP_MUL: return llvm.BuildMul(j->at, x, y, "");
    case OP_DIV: return int_div(j, is_u, x, y);
    case OP_REM: return int_rem(j, is_u, x, y);
    case OP_POW: return int_pow(j, is_u, x, y);
    case OP_MAX: return int_select_extreme(j, true, is_u, x, y);
    case OP_MIN: return int_select_extreme(j, false, is_u, x, y);
    case OP_AND: return i_and(j, x, y);
    case OP_OR: return i_or(j, x, y);
    case OP_XOR: return i_xor(j, x, y);
    default: return int_shift(j, opcode, is_u, x, y);
    }
}

/* --- operators -------------------------------------------------------------------------------- */

JitValue jit_math(JitBuild *j, Opcode opcode, Dtype dtype, const JitValue *args) {
    ASSERT(j && args && jit_math_has(opcode, dtype));
    bool unary = op_infos[opcode].operands_max == 1;
    if (opcode == OP_SELECT) return v_select(j, args[0], args[1], args[2]);
    if (dtype_is_float(dtype))
        return unary ? float_unary(j, opcode, args[0]) : float_binary(j, opcode, args[0], args[1]);
    bool is_u = is_unsigned(dtype);
    return unary ? int_unary(j, opcode, is_u, args[0])
                 : int_binary(j, opcode, is_u, args[0], args[1]);
}

JitValue jit_math_compare(JitBuild *j, CompareKind how, Dtype dtype, JitValue x, JitValue y) {
    static const LLVMRealPredicate reals[COMPARE_KIND_COUNT] = {
        [COMPARE_EQ] = LLVMRealOEQ, [COMPARE_NE] = LLVMRealUNE, [COMPARE_LT] = LLVMRealOLT,
        [COMPARE_LE] = LLVMRealOLE, [COMPARE_GT] = LLVMRealOGT, [COMPARE_GE] = LLVMRealOGE};
    static const LLVMIntPredicate ints[2][COMPARE_KIND_COUNT] = {{[COMPARE_EQ] = LLVMIntEQ,
                                                                  [COMPARE_NE] = LLVMIntNE,
                                                                  [COMPARE_LT] = LLVMIntSLT,
                                                                  [COMPARE_LE] = LLVMIntSLE,
                                                                  [COMPARE_GT] = LLVMIntSGT,
                                                                  [COMPARE_GE] = LLVMIntSGE},
                                                                 {[COMPARE_EQ] = LLVMIntEQ,
                                                                  [COMPARE_NE] = LLVMIntNE,
                                                                  [COMPARE_LT] = LLVMIntULT,
                                                                  [COMPARE_LE] = LLVMIntULE,
                                                                  [COMPARE_GT] = LLVMIntUGT,
                                                                  [COMPARE_GE] = LLVMIntUGE}};
    if (dtype_is_float(dtype)) return v_compare(j, reals[how], x, y);
    return i_compare(j, ints[is_unsigned(dtype)][how], x, y);
}

JitValue jit_math_identity(JitBuild *j, ReduceKind kind, Dtype dtype, uint32_t lanes) {
    JitType type = jit_math_type(j, dtype);
    bool    is_u = is_unsigned(dtype);
    if (dtype_is_float(dtype)) {
        double number = kind == REDUCE_PROD  ? 1
                        : kind == REDUCE_MAX ? -(double)INFINITY
                        : kind == REDUCE_MIN ? (double)INFINITY
                                             : 0;
        return v_splat(llvm.ConstReal(type, number), lanes);
    }
    uint32_t bits = llvm.GetIntTypeWidth(type);
    uint64_t ones = UINT64_MAX, top = (uint64_t)1 << (bits - 1);
    uint64_t number = kind == REDUCE_PROD  ? 1
                      : kind == REDUCE_AND ? ones
                      : kind == REDUCE_MAX ? is_u ? 0 : top
                      : kind == REDUCE_MIN ? is_u ? ones : top - 1
                                           : 0;
    return v_splat(llvm.ConstInt(type, number, false), lanes);
}

JitValue jit_math_combine(JitBuild *j, ReduceKind kind, Dtype dtype, JitValue x, JitValue y) {
    static const Opcode opcodes[] = {
        [REDUCE_SUM] = OP_ADD, [REDUCE_PROD] = OP_MUL, [REDUCE_MAX] = OP_MAX,
        [REDUCE_MIN] = OP_MIN, [REDUCE_AND] = OP_AND,  [REDUCE_OR] = OP_OR};
    ASSERT(kind < LENGTH(opcodes));
    if (dtype_is_float(dtype)) return float_binary(j, opcodes[kind], x, y);
    return int_binary(j, opcodes[kind], is_unsigned(dtype), x, y);
}

/* Halves are combined until one lane is left: the same order on every machine for one width. */
JitValue jit_math_across(JitBuild *j, ReduceKind kind, Dtype dtype, JitValue x) {
    V places[64];
    for (uint32_t lanes = v_lanes(x); lanes > 1; lanes /= 2) {
        ASSERT(lanes % 2 == 0 && lanes <= LENGTH(places));
        V none = llvm.GetPoison(llvm.TypeOf(x)), half[2];
        for (uint32_t side = 0; side < 2; side++) {
            for (uint32_t i = 0; i < lanes / 2; i++)
                places[i] = llvm.ConstInt(j->i32, side * (lanes / 2) + i, false);
            half[side] =
                llvm.BuildShuffleVector(j->at, x, none, llvm.ConstVector(places, lanes / 2), "");
        }
        x = jit_math_combine(j, kind, dtype, half[0], half[1]);
    }
    if (llvm.GetTypeKind(llvm.TypeOf(x)) != LLVMVectorTypeKind) return x;
    return llvm.BuildExtractElement(j->at, x, llvm.ConstInt(j->i32, 0, false), "");
}

#endif
