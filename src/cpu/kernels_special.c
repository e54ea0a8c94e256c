/* Elementwise functions that are rare in training: one number at a time, in f64, with libm or the
 * interpreter's own series. One loop per function and dtype, the same for every instruction set. */
#include <math.h>
#include <string.h>

#include "cpu/interp_inner.h"
#include "cpu/kernels.h"

static double lgamma_of(double x) {
    int sign;
    return lgamma_r(x, &sign);
}
static double rem_of(double x, double y) { return fmod(x, y); }
static double atan2_of(double y, double x) { return atan2(y, x); }

#define LOOP(name, T, operands, expression)                                                        \
    static void name(void *out, const void *const *in, int64_t n, const double *extra) {           \
        const T *a = in[0], *b = in[(operands)-1];                                                 \
        T       *z = out;                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T       x = a[i], y = b[i];                                                            \
            int64_t order = (int64_t)extra[0];                                                     \
            (void)y, (void)order;                                                                  \
            z[i] = (T)(expression);                                                                \
        }                                                                                          \
    }
#define LOOPS(name, operands, expression)                                                          \
    LOOP(name##_f32, float, operands, expression)                                                  \
    LOOP(name##_f64, double, operands, expression)
LOOPS(erf_inv_block, 1, interp_erf_inv((double)x))
LOOPS(lgamma_block, 1, lgamma_of((double)x))
LOOPS(polygamma_block, 1, interp_polygamma(order, (double)x))
LOOPS(bessel_block, 1, interp_bessel_ie(order, (double)x))
LOOPS(rem_block, 2, rem_of((double)x, (double)y))
LOOPS(atan2_block, 2, atan2_of((double)x, (double)y))
LOOPS(igamma_block, 2, interp_igamma((double)x, (double)y))
LOOP(nextafter_block_f32, float, 2, nextafterf(x, y))
LOOP(nextafter_block_f64, double, 2, nextafter(x, y))

/* 16-bit floats of either kind: one step in their own bits, whose order is that of the numbers. */
static uint16_t step_bits(uint16_t bits, float from, float to) {
    if (isnan(from) || isnan(to) || from == to) return isnan(from) ? bits : UINT16_MAX;
    if (from == 0) return to > 0 ? 1 : 0x8001;
    return (uint16_t)((from < to) == (from > 0) ? bits + 1 : bits - 1);
}
#define STEP(name, read)                                                                           \
    static void name(void *out, const void *const *in, int64_t n, const double *extra) {           \
        const uint16_t *a = in[0], *b = in[1];                                                     \
        uint16_t       *z = out;                                                                   \
        (void)extra;                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            uint16_t step = step_bits(a[i], read(a[i]), read(b[i]));                               \
            z[i] = step == UINT16_MAX ? b[i] : step; /* equal, or the NaN of b */                  \
        }                                                                                          \
    }
STEP(nextafter_block_f16, dtype_f32_of_f16)
STEP(nextafter_block_bf16, dtype_f32_of_bf16)

typedef struct Special {
    Opcode   opcode;
    BlockFn *f32, *f64;
    bool     ordered; /* the first attribute is an order */
} Special;
static const Special specials[] = {
    {OP_ERF_INV, erf_inv_block_f32, erf_inv_block_f64, false},
    {OP_LGAMMA, lgamma_block_f32, lgamma_block_f64, false},
    {OP_POLYGAMMA, polygamma_block_f32, polygamma_block_f64, true},
    {OP_BESSEL_IE, bessel_block_f32, bessel_block_f64, true},
    {OP_REM, rem_block_f32, rem_block_f64, false},
    {OP_ATAN2, atan2_block_f32, atan2_block_f64, false},
    {OP_IGAMMA, igamma_block_f32, igamma_block_f64, false},
    {OP_NEXTAFTER, nextafter_block_f32, nextafter_block_f64, false},
};

bool kernels_bind_special(Binder *b) {
    Dtype dtype = arg_dtype(&b->args[0]);
    if (!dtype_is_float(dtype)) return false;
    if (b->opcode == OP_NEXTAFTER && dtype_is_half(dtype))
        return kernels_bind_loop(b, dtype == DTYPE_F16 ? nextafter_block_f16 : nextafter_block_bf16,
                                 false, 0);
    for (size_t i = 0; i < LENGTH(specials); i++) {
        if (specials[i].opcode != b->opcode) continue;
        double   order = specials[i].ordered ? (double)(int64_t)b->attrs[0] : 0;
        BlockFn *fn = dtype_compute(dtype) == DTYPE_F64 ? specials[i].f64 : specials[i].f32;
        return kernels_bind_loop(b, fn, true, order);
    }
    return false;
}
