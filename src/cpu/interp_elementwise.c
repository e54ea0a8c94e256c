/* Elementwise rules: unary and binary mathematics, comparison, selection and conversion. One switch
 * gives the meaning of every operator on doubles, one on integers; interp_scalar puts them
 * together, for the loop over tensors below and for kernels (interp_loops.c). Integer division and
 * remainder by zero give 0, and no input is undefined behaviour. */
#include "cpu/interp_inner.h"

static double float_unary(const Scalar *op, double x) { /* tidy: dispatch */
    int64_t order = (int64_t)op->word;
    int     sign;
    switch (op->opcode) {
    case OP_NEG: return -x;
    case OP_ABS: return fabs(x);
    case OP_SIGN: return isnan(x) ? x : (double)((x > 0) - (x < 0));
    case OP_FLOOR: return floor(x);
    case OP_ROUND_EVEN: return rint(x);
    case OP_EXP: return exp(x);
    case OP_EXPM1: return expm1(x);
    case OP_LOG: return log(x);
    case OP_LOG1P: return log1p(x);
    case OP_SQRT: return sqrt(x);
    case OP_RSQRT: return 1 / sqrt(x);
    case OP_SIN: return sin(x);
    case OP_COS: return cos(x);
    case OP_TANH: return tanh(x);
    case OP_LOGISTIC: return 1 / (1 + exp(-x));
    case OP_ERF: return erf(x);
    case OP_ERF_INV: return interp_erf_inv(x);
    case OP_LGAMMA: return lgamma_r(x, &sign);
    case OP_POLYGAMMA: return interp_polygamma(order, x);
    case OP_BESSEL_IE: return interp_bessel_ie(order, x);
    default: NEVER(true); return x;
    }
}
static int64_t int_unary(const Scalar *op, int64_t x) {
    switch (op->opcode) {
    case OP_NEG: return wrap_sub(0, x);
    case OP_ABS: return x < 0 ? wrap_sub(0, x) : x;
    case OP_SIGN: return (x > 0) - (x < 0);
    case OP_NOT: return op->from == DTYPE_BOOL ? !x : ~x;
    default: NEVER(true); return x;
    }
}

/* --- binary ----------------------------------------------------------------------------------- */
static double float_binary(Opcode opcode, double x, double y) {
    switch (opcode) {
    case OP_ADD: return x + y;
    case OP_SUB: return x - y;
    case OP_MUL: return x * y;
    case OP_DIV: return x / y;
    case OP_POW: return pow(x, y);
    case OP_REM: return fmod(x, y);
    case OP_MAX: return interp_combine(REDUCE_MAX, true, (Num){.f = x}, (Num){.f = y}).f;
    case OP_MIN: return interp_combine(REDUCE_MIN, true, (Num){.f = x}, (Num){.f = y}).f;
    case OP_ATAN2: return atan2(x, y);
    case OP_IGAMMA: return interp_igamma(x, y);
    default: NEVER(true); return x;
    }
}

/* x^y by squaring; a negative y gives what 1 / x^-y truncates to. */
static int64_t int_pow(int64_t x, int64_t y) {
    if (y < 0) return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
    int64_t power = 1;
    for (; y > 0; y >>= 1) {
        if (y & 1) power = wrap_mul(power, x);
        x = wrap_mul(x, x);
    }
    return power;
}
static int64_t int_div(int64_t x, int64_t y) {
    if (y == 0) return 0;
    return y == -1 ? wrap_sub(0, x) : x / y;
}
static int64_t int_rem(int64_t x, int64_t y) { return y == 0 || y == -1 ? 0 : x % y; }
/* Shifts see the bits of the dtype: mask has as many ones as it has bits. A negative or too large
 * amount shifts everything out. */
static int64_t int_shift(Opcode opcode, Dtype dtype, int64_t x, int64_t y) {
    int64_t  width = 8 * (int64_t)dtype_bytes(dtype);
    uint64_t mask = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
    bool     out = y < 0 || y >= width;
    if (opcode == OP_SHL) return out ? 0 : (int64_t)((uint64_t)x << y);
    if (opcode == OP_SHR_LOGICAL) return out ? 0 : (int64_t)(((uint64_t)x & mask) >> y);
    int64_t by = out ? width - 1 : y;
    return x < 0 ? ~(int64_t)(~(uint64_t)x >> by) : out ? 0 : x >> by;
}
static int64_t int_binary(Opcode opcode, Dtype dtype, int64_t x, int64_t y) {
    switch (opcode) {
    case OP_ADD: return wrap_add(x, y);
    case OP_SUB: return wrap_sub(x, y);
    case OP_MUL: return wrap_mul(x, y);
    case OP_DIV: return int_div(x, y);
    case OP_POW: return int_pow(x, y);
    case OP_REM: return int_rem(x, y);
    case OP_MAX: return x > y ? x : y;
    case OP_MIN: return x < y ? x : y;
    case OP_AND: return x & y;
    case OP_OR: return x | y;
    case OP_XOR: return x ^ y;
    case OP_SHL:
    case OP_SHR_ARITH:
    case OP_SHR_LOGICAL: return int_shift(opcode, dtype, x, y);
    default: NEVER(true); return x;
    }
}
/* The neighbour in the storage dtype. The bits of a 16-bit float without its sign count the numbers
 * of that sign in order, so that a step is one more or one less. */
static uint16_t half_step(uint16_t bits, double from, double towards) {
    if (from == 0) return towards < 0 ? 0x8001 : 1; /* the smallest subnormal */
    bool away = from > 0 ? towards > from : towards < from;
    return (uint16_t)(away ? bits + 1 : bits - 1);
}
void interp_nextafter(Interp *it) {
    const Tensor *x = interp_in(it, 0), *y = interp_in(it, 1);
    Tensor       *z = interp_out(it, 0);
    bool          half = x->dtype == DTYPE_F16 || x->dtype == DTYPE_BF16;
    for (int64_t i = 0; i < tensor_elements(z); i++) {
        double a = interp_load(x, i).f, b = interp_load(y, i).f;
        if (isnan(a) || isnan(b) || a == b) {
            interp_store(z, i, (Num){.f = a == b ? b : a + b});
        } else if (!half) {
            double next =
                x->dtype == DTYPE_F32 ? (double)nextafterf((float)a, (float)b) : nextafter(a, b);
            interp_store(z, i, (Num){.f = next});
        } else {
            ((uint16_t *)z->data)[i] = half_step(((const uint16_t *)x->data)[i], a, b);
        }
    }
}

/* --- tests and selection ---------------------------------------------------------------------- */
static bool holds(CompareKind direction, bool less, bool equal, bool greater) {
    switch (direction) {
    case COMPARE_EQ: return equal;
    case COMPARE_NE: return !equal;
    case COMPARE_LT: return less;
    case COMPARE_LE: return less || equal;
    case COMPARE_GT: return greater;
    default: return greater || equal;
    }
}
static bool compares(const Scalar *op, Num a, Num b) {
    CompareKind direction = (CompareKind)op->word;
    return dtype_is_float(op->from) ? holds(direction, a.f<b.f, a.f == b.f, a.f> b.f)
                                    : holds(direction, a.i<b.i, a.i == b.i, a.i> b.i);
}

/* --- type ------------------------------------------------------------------------------------- */
static Num converted(const Scalar *op, Num a) {
    bool from_float = dtype_is_float(op->from), to_float = dtype_is_float(op->to);
    if (op->to == DTYPE_BOOL) return (Num){.i = from_float ? a.f != 0 : a.i != 0};
    if (from_float && !to_float) return (Num){.i = interp_saturate(op->to, a.f)};
    if (!from_float && to_float) /* one rounding, also from 64 bits */
        return (Num){.f = op->to == DTYPE_F64 ? (double)a.i : (double)(float)a.i};
    return a;
}
/* What the bits of an element say in another dtype of the same width. */
static Num reinterpreted(const Scalar *op, Num a) {
    uint64_t bits = 0;
    Tensor   as_from = {.dtype = op->from, .data = &bits}, as_to = {.dtype = op->to, .data = &bits};
    interp_store(&as_from, 0, a);
    return interp_load(&as_to, 0);
}

/* --- all of them ------------------------------------------------------------------------------ */
Num interp_scalar(const Scalar *op, Num a, Num b, Num c) {
    bool is_float = dtype_is_float(op->from);
    switch (op->opcode) {
    case OP_COMPARE: return (Num){.i = compares(op, a, b)};
    case OP_IS_FINITE: return (Num){.i = is_float ? isfinite(a.f) != 0 : true};
    case OP_SELECT: return a.i ? b : c;
    case OP_CONVERT: return converted(op, a);
    case OP_BITCAST: return reinterpreted(op, a);
    default: break;
    }
    if (op_infos[op->opcode].operands_max == 1)
        return is_float ? (Num){.f = float_unary(op, a.f)} : (Num){.i = int_unary(op, a.i)};
    return is_float ? (Num){.f = float_binary(op->opcode, a.f, b.f)}
                    : (Num){.i = int_binary(op->opcode, op->from, a.i, b.i)};
}
void interp_elementwise(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    uint32_t      count = interp_in_count(it);
    Scalar        op = {it->opcode, x->dtype, y->dtype, 0};
    if (op_infos[it->opcode].attrs_count != 0) op.word = it->attrs[0];
    if (dtype_is_complex(x->dtype)) {
        interp_complex_math(it);
        return;
    }
    for (int64_t i = 0; i < tensor_elements(y); i++) {
        Num operands[2] = {{.i = 0}, {.i = 0}};
        for (uint32_t k = 0; k < count; k++) operands[k] = interp_load(interp_in(it, k), i);
        interp_store(y, i, interp_scalar(&op, operands[0], operands[1], (Num){.i = 0}));
    }
}
/* These move elements of any dtype as bytes. */
void interp_select(Interp *it) {
    for (int64_t i = 0; i < tensor_elements(interp_out(it, 0)); i++)
        walk_copy(interp_out(it, 0), i, interp_in(it, interp_load(interp_in(it, 0), i).i ? 1 : 2),
                  i);
}
void interp_bitcast(Interp *it) { walk_copy_all(interp_out(it, 0), interp_in(it, 0)); }
