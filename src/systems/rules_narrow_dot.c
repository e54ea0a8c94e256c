/* narrow_dot: products of operands in 8-bit floats. Each operand is multiplied by a factor that
 * brings its largest magnitude to the end of its range, converted, multiplied, and the product is
 * divided by both factors (current scaling: Micikevicius et al. 2022). All of it is plain rows, so
 * equal operands are converted once (dedupe), and factors join the kernels beside them.
 *
 * Rounding counts as the identity in derivatives; a cotangent is taken in e5m2, whose range is
 * wide, and the other operand as the product had it. Targets without such products get operands
 * that were rounded to 8 bits and widened again: the same numbers, but for the order of sums. */
#include "systems/emit.h"

typedef struct Narrowed {
    ValueId x, inverse; /* in 8 bits; what undoes the factor: an f32 scalar */
} Narrowed;

/* A tensor of zeros, or with a NaN, keeps its scale; an infinite one becomes NaN. */
static Narrowed narrow(Emit *e, ValueId x, Dtype dtype) {
    static const double tiny = 0x1p-100;
    Build              *b = e->build;
    int64_t             axes[SHAPE_RANK_MAX];
    uint32_t            rank = build_rank(b, x);
    double largest = (double)dtype_f32_of_f8(dtype, dtype == DTYPE_F8E4M3 ? 0x7E : 0x7B);
    for (uint32_t i = 0; i < rank; i++) axes[i] = i;
    ValueId most = build_reduce(b, REDUCE_MAX, ABS(x), axes, rank);
    ValueId end = build_scalar(b, DTYPE_F32, largest), one = build_scalar(b, DTYPE_F32, 1);
    ValueId some = COMPARE(GT, most, build_scalar(b, DTYPE_F32, tiny));
    ValueId factor = SELECT(some, DIV(end, most), one);
    ValueId scaled = MUL(x, build_scalar_over(b, factor, x));
    return (Narrowed){build_convert(b, scaled, dtype), SELECT(some, DIV(most, end), one)};
}

bool expand_NARROW_DOT(Emit *e, ValueId *out) {
    Build   *b = e->build;
    Narrowed x = narrow(e, X(0), (Dtype)INT_ATTR(NARROW_DOT, x_dtype));
    Narrowed y = narrow(e, X(1), (Dtype)INT_ATTR(NARROW_DOT, y_dtype));
    bool     stored = e->target == NULL || e->target->multiplies_f8;
    ValueId  operands[2] = {x.x, y.x};
    for (uint32_t i = 0; i < 2 && !stored; i++)
        operands[i] = build_convert(b, operands[i], DTYPE_F32);
    ValueId dot =
        build_op(b, OP_DOT_GENERAL, operands, 2, e->attrs); /* its attributes come first */
    ValueId wide = build_convert(b, build_convert(b, dot, DTYPE_BF16), DTYPE_F32);
    out[0] = MUL(wide, build_scalar_over(b, MUL(x.inverse, y.inverse), wide));
    return true;
}
