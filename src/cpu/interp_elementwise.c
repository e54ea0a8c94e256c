/* Elementwise rules: unary and binary mathematics, comparison, selection and conversion. One switch
 * gives the meaning of every operator on doubles, one on integers; the loops are the same for all.
 * Integer division and remainder by zero give 0, and no input is undefined behaviour. */
#include "cpu/interp_inner.h"

static double float_unary(const Interp *it, double x) { /* tidy: dispatch */
    int64_t order = it->opcode == OP_POLYGAMMA || it->opcode == OP_BESSEL_IE
                        ? (int64_t)it->attrs[0] /* ORDER: ATTR_*_order is the first */
                        : 0;
    int     sign;
    switch (it->opcode) {
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
static int64_t int_unary(const Interp *it, int64_t x) {
    switch (it->opcode) {
    case OP_NEG: return wrap_sub(0, x);
    case OP_ABS: return x < 0 ? wrap_sub(0, x) : x;
    case OP_SIGN: return (x > 0) - (x < 0);
    case OP_NOT: return interp_in(it, 0)->dtype == DTYPE_BOOL ? !x : ~x;
    default: NEVER(true); return x;
    }
}
void interp_unary(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    bool          is_float = dtype_is_float(x->dtype);
    if (dtype_is_complex(x->dtype)) {
        interp_complex_math(it);
        return;
    }
    for (int64_t i = 0; i < tensor_elements(y); i++) {
        Num a = interp_load(x, i);
        interp_store(y, i,
                     is_float ? (Num){.f = float_unary(it, a.f)} : (Num){.i = int_unary(it, a.i)});
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
void interp_binary(Interp *it) {
    const Tensor *x = interp_in(it, 0), *y = interp_in(it, 1);
    Tensor       *z = interp_out(it, 0);
    bool          is_float = dtype_is_float(x->dtype);
    if (dtype_is_complex(x->dtype)) {
        interp_complex_math(it);
        return;
    }
    for (int64_t i = 0; i < tensor_elements(z); i++) {
        Num a = interp_load(x, i), b = interp_load(y, i);
        interp_store(z, i,
                     is_float ? (Num){.f = float_binary(it->opcode, a.f, b.f)}
                              : (Num){.i = int_binary(it->opcode, x->dtype, a.i, b.i)});
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
void interp_compare(Interp *it) {
    const Tensor *x = interp_in(it, 0), *y = interp_in(it, 1);
    Tensor       *z = interp_out(it, 0);
    CompareKind   direction = (CompareKind)it->attrs[ATTR_COMPARE_direction];
    bool          is_float = dtype_is_float(x->dtype);
    for (int64_t i = 0; i < tensor_elements(z); i++) {
        Num  a = interp_load(x, i), b = interp_load(y, i);
        bool held = is_float ? holds(direction, a.f<b.f, a.f == b.f, a.f> b.f)
                             : holds(direction, a.i<b.i, a.i == b.i, a.i> b.i);
        interp_store(z, i, (Num){.i = held});
    }
}
void interp_is_finite(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    bool          is_float = dtype_is_float(x->dtype);
    for (int64_t i = 0; i < tensor_elements(x); i++)
        interp_store(interp_out(it, 0), i,
                     (Num){.i = is_float ? isfinite(interp_load(x, i).f) != 0 : true});
}
void interp_select(Interp *it) {
    for (int64_t i = 0; i < tensor_elements(interp_out(it, 0)); i++)
        walk_copy(interp_out(it, 0), i, interp_in(it, interp_load(interp_in(it, 0), i).i ? 1 : 2),
                  i);
}

/* --- type ------------------------------------------------------------------------------------- */
void interp_convert(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    bool          from_float = dtype_is_float(x->dtype), to_float = dtype_is_float(y->dtype);
    for (int64_t i = 0; i < tensor_elements(y); i++) {
        Num a = interp_load(x, i), b = a;
        if (y->dtype == DTYPE_BOOL)
            b.i = from_float ? a.f != 0 : a.i != 0;
        else if (from_float && !to_float)
            b.i = interp_saturate(y->dtype, a.f);
        else if (!from_float && to_float) /* one rounding, also from 64 bits */
            b.f = y->dtype == DTYPE_F64 ? (double)a.i : (double)(float)a.i;
        interp_store(y, i, b);
    }
}
void interp_bitcast(Interp *it) { walk_copy_all(interp_out(it, 0), interp_in(it, 0)); }
