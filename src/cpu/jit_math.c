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

enum { TAKES_FLOAT = 1, TAKES_INT = 2, TAKES_BOOL = 4 };
#define NUMBER (TAKES_FLOAT | TAKES_INT)
#define BITS   (TAKES_INT | TAKES_BOOL)
#define ALL    (TAKES_FLOAT | TAKES_INT | TAKES_BOOL)
/* Operator, what it takes, how for floats, how for integers. */
#define MATH_UNARY(F)                                                                              \
    F(NEG, NUMBER, v_neg, int_neg)                                                                 \
    F(ABS, NUMBER, v_abs, int_abs)                                                                 \
    F(SIGN, NUMBER, float_sign, int_sign)                                                          \
    F(FLOOR, TAKES_FLOAT, jit_floor, NULL)                                                         \
    F(ROUND_EVEN, TAKES_FLOAT, jit_rint, NULL)                                                     \
    F(EXP, TAKES_FLOAT, jit_exp, NULL)                                                             \
    F(EXPM1, TAKES_FLOAT, jit_expm1, NULL)                                                         \
    F(LOG, TAKES_FLOAT, jit_log, NULL)                                                             \
    F(LOG1P, TAKES_FLOAT, jit_log1p, NULL)                                                         \
    F(SQRT, TAKES_FLOAT, v_sqrt, NULL)                                                             \
    F(RSQRT, TAKES_FLOAT, float_rsqrt, NULL)                                                       \
    F(SIN, TAKES_FLOAT, jit_sin, NULL)                                                             \
    F(COS, TAKES_FLOAT, jit_cos, NULL)                                                             \
    F(TANH, TAKES_FLOAT, jit_tanh, NULL)                                                           \
    F(LOGISTIC, TAKES_FLOAT, jit_logistic, NULL)                                                   \
    F(ERF, TAKES_FLOAT, jit_erf, NULL)                                                             \
    F(ERF_INV, TAKES_FLOAT, jit_erf_inv, NULL)                                                     \
    F(IS_FINITE, ALL, float_finite, int_finite)                                                    \
    F(NOT, BITS, NULL, int_not)
#define MATH_BINARY(F)                                                                             \
    F(ADD, NUMBER, v_add, int_add)                                                                 \
    F(SUB, NUMBER, v_sub, int_sub)                                                                 \
    F(MUL, NUMBER, v_mul, int_mul)                                                                 \
    F(DIV, NUMBER, v_div, int_div)                                                                 \
    F(POW, NUMBER, jit_pow, int_pow)                                                               \
    F(REM, NUMBER, float_rem, int_rem)                                                             \
    F(MAX, ALL, float_max, int_max)                                                                \
    F(MIN, ALL, float_min, int_min)                                                                \
    F(ATAN2, TAKES_FLOAT, jit_atan2, NULL)                                                         \
    F(AND, BITS, NULL, int_and)                                                                    \
    F(OR, BITS, NULL, int_or)                                                                      \
    F(XOR, BITS, NULL, int_xor)                                                                    \
    F(SHL, TAKES_INT, NULL, int_shl)                                                               \
    F(SHR_ARITH, TAKES_INT, NULL, int_shr_arith)                                                   \
    F(SHR_LOGICAL, TAKES_INT, NULL, int_shr_logical)

#define TAKES(NAME, what, on_float, on_int) [OP_##NAME] = (what),
static const uint8_t takes[OP_COUNT] = {
    MATH_UNARY(TAKES) MATH_BINARY(TAKES)[OP_SELECT] = ALL,
};

static bool is_double_or_less(Dtype dtype) {
    return dtype_compute(dtype) == DTYPE_F32 || dtype == DTYPE_F64;
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
V        jit_rint(J *j, V x) {
           if (j->machine->rounds) return v_call1(j, "llvm.roundeven", x);
    V a = v_abs(j, x), large = whole_from(j, x);
           V near = v_copysign(j, v_sub(j, v_add(j, a, large), large), x);
           return v_select(j, v_lt(j, a, large), near, x);
}
V jit_floor(J *j, V x) {
    if (j->machine->rounds) return v_call1(j, "llvm.floor", x);
    V near = jit_rint(j, x);
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
V jit_rarely(J *j, V which, V y, const char *name, const V *args, uint32_t count) {
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

/* NaN if one is; which of two zeros is open, which leaves three instructions. */
static V float_extreme(J *j, const char *name, V x, V y) {
    JitType type = llvm.TypeOf(x);
    V       z = jit_intrinsic(j, name, &type, 1, (V[]){x, y}, 2);
    if (!llvm.IsConstant(z)) llvm.SetFastMathFlags(z, LLVMFastMathNoSignedZeros);
    return z;
}
static V float_max(J *j, V x, V y) { return float_extreme(j, "llvm.maximum", x, y); }
static V float_min(J *j, V x, V y) { return float_extreme(j, "llvm.minimum", x, y); }
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
    V q = jit_floor(j, v_div(j, wide_a, wide_b));
    V bound = v_num(q, wide ? 0x1p52 : 0x1p28);
    r = wide && exact ? v_tight(j, v_neg(j, q), wide_b, wide_a)
                      : v_sub(j, wide_a, v_mul(j, q, wide_b));
    r = v_select(j, v_lt(j, r, v_num(r, 0)), v_add(j, r, wide_b), r);
    if (!wide) r = v_f32(j, r);
    r = v_select(j, v_eq(j, b, v_num(b, (double)INFINITY)), a, r); /* finite rem inf */
    r = v_copysign(j, r, x);
    V rare =
        exact ? v_compare(j, LLVMRealUGE, q, bound) : v_compare(j, LLVMRealUGE, wide_a, wide_b);
    return jit_rarely(j, rare, r, "fmod", (V[]){x, y}, 2);
}

static V float_rsqrt(J *j, V x) { return v_div(j, v_num(x, 1), v_sqrt(j, x)); }

/* --- integers --------------------------------------------------------------------------------- */

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
static V int_shl(J *j, bool is_u, V x, V y) {
    V last = i_num(y, int_bits(x) - 1), out = i_compare(j, LLVMIntUGT, y, last);
    (void)is_u;
    return v_select(j, out, i_num(x, 0), llvm.BuildShl(j->at, x, i_and(j, y, last), ""));
}
static V int_shr_logical(J *j, bool is_u, V x, V y) {
    V last = i_num(y, int_bits(x) - 1), out = i_compare(j, LLVMIntUGT, y, last);
    (void)is_u;
    return v_select(j, out, i_num(x, 0), llvm.BuildLShr(j->at, x, i_and(j, y, last), ""));
}
static V int_shr_arith(J *j, bool is_u, V x, V y) {
    V last = i_num(y, int_bits(x) - 1), out = i_compare(j, LLVMIntUGT, y, last);
    if (is_u) return int_shr_logical(j, is_u, x, y);
    return llvm.BuildAShr(j->at, x, v_select(j, out, last, y), "");
}

#define INT_SIMPLE(name, expression)                                                               \
    static V int_##name(J *j, bool is_u, V x, V y) {                                               \
        (void)is_u;                                                                                \
        return expression;                                                                         \
    }
INT_SIMPLE(add, i_add(j, x, y))
INT_SIMPLE(sub, i_sub(j, x, y))
INT_SIMPLE(mul, llvm.BuildMul(j->at, x, y, ""))
INT_SIMPLE(and, i_and(j, x, y))
INT_SIMPLE(or, i_or(j, x, y))
INT_SIMPLE(xor, i_xor(j, x, y))
static V int_max(J *j, bool is_u, V x, V y) {
    return v_select(j, i_compare(j, is_u ? LLVMIntUGT : LLVMIntSGT, x, y), x, y);
}
static V int_min(J *j, bool is_u, V x, V y) {
    return v_select(j, i_compare(j, is_u ? LLVMIntULT : LLVMIntSLT, x, y), x, y);
}

static V int_neg(J *j, bool is_u, V x) { return (void)is_u, i_sub(j, i_num(x, 0), x); }
static V int_not(J *j, bool is_u, V x) { return (void)is_u, i_not(j, x); }
static V int_abs(J *j, bool is_u, V x) {
    V negative = i_compare(j, LLVMIntSLT, x, i_num(x, 0));
    return is_u ? x : v_select(j, negative, i_sub(j, i_num(x, 0), x), x);
}
static V int_sign(J *j, bool is_u, V x) {
    V zero = i_num(x, 0), positive = i_compare(j, is_u ? LLVMIntUGT : LLVMIntSGT, x, zero);
    V other = v_select(j, i_compare(j, LLVMIntSLT, x, zero), i_num(x, UINT64_MAX), zero);
    return v_select(j, positive, i_num(x, 1), is_u ? zero : other);
}
static V int_finite(J *j, bool is_u, V x) {
    (void)is_u;
    return v_splat(llvm.ConstInt(j->i1, 1, false), v_lanes(x));
}

/* --- operators -------------------------------------------------------------------------------- */

typedef V FloatUnary(J *j, V x);
typedef V FloatBinary(J *j, V x, V y);
typedef V IntUnary(J *j, bool is_u, V x);
typedef V IntBinary(J *j, bool is_u, V x, V y);
#define ON_FLOAT(NAME, what, on_float, on_int) [OP_##NAME] = on_float,
#define ON_INT(NAME, what, on_float, on_int)   [OP_##NAME] = on_int,
static FloatUnary *const  float_unary[OP_COUNT] = {MATH_UNARY(ON_FLOAT)};
static FloatBinary *const float_binary[OP_COUNT] = {MATH_BINARY(ON_FLOAT)};
static IntUnary *const    int_unary[OP_COUNT] = {MATH_UNARY(ON_INT)};
static IntBinary *const   int_binary[OP_COUNT] = {MATH_BINARY(ON_INT)};

JitValue jit_math(JitBuild *j, Opcode opcode, Dtype dtype, const JitValue *args) {
    ASSERT(j && args && jit_math_has(opcode, dtype));
    bool is_u = is_unsigned(dtype), unary = op_infos[opcode].operands_max == 1;
    if (opcode == OP_SELECT) return v_select(j, args[0], args[1], args[2]);
    if (dtype_is_float(dtype))
        return unary ? float_unary[opcode](j, args[0]) : float_binary[opcode](j, args[0], args[1]);
    return unary ? int_unary[opcode](j, is_u, args[0])
                 : int_binary[opcode](j, is_u, args[0], args[1]);
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
    return jit_math(j, opcodes[kind], dtype, (V[3]){x, y});
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
