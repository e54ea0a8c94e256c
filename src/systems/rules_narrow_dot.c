/* narrow_dot: products of operands in 8-bit floats. Each operand is multiplied by a factor that
 * brings its largest magnitude (or what is given for it, see delay.c) to the end of its range,
 * converted, multiplied, and the product is divided by both factors (Micikevicius et al. 2022). All
 * of it is plain rows, so equal operands are converted once (dedupe), and factors join the kernels
 * beside them.
 *
 * Rounding counts as the identity in derivatives; a cotangent is taken in e5m2, whose range is
 * wide, and the other operand as the product had it. Targets without such products get operands
 * that were rounded to 8 bits and widened again: the same numbers, but for the order of sums. */
#include "systems/emit.h"
#include "systems/system.h"

typedef struct Narrowed {
    ValueId x, inverse; /* in 8 bits; what undoes the factor: an f32 scalar */
} Narrowed;

/* A tensor of zeros, or with a NaN, keeps its scale; an infinite one becomes NaN, unless its largest
 * magnitude is said to be another: then it becomes the largest number. */
static Narrowed narrow(Emit *e, ValueId x, ValueId most, Dtype dtype) {
    static const double tiny = 0x1p-100;
    Build              *b = e->build;
    double              largest = narrow8_largest(dtype);
    ValueId             wide = build_convert(b, x, DTYPE_F32);
    if (!value_id_some(most)) most = emit_largest(b, wide, build_rank(b, x));
    ValueId end = build_scalar(b, DTYPE_F32, largest), one = build_scalar(b, DTYPE_F32, 1);
    ValueId some = COMPARE(GT, most, build_scalar(b, DTYPE_F32, tiny));
    ValueId factor = SELECT(some, DIV(end, most), one);
    ValueId scaled = MUL(wide, build_scalar_over(b, factor, wide));
    return (Narrowed){build_convert(b, scaled, dtype), SELECT(some, DIV(most, end), one)};
}

bool expand_NARROW_DOT(Emit *e, ValueId *out) {
    Build  *b = e->build;
    ValueId none = {0};
    bool    given = e->count == 4, stored = e->target == NULL || e->target->multiplies_f8;
    if ((uint32_t)INT_ATTR(NARROW_DOT, wide) & NARROW_WIDE_Z) {
        out[0] = build_op(b, OP_DOT_GENERAL, e->x, 2, e->attrs); /* its attributes come first */
        return true;
    }
    Narrowed x = narrow(e, X(0), given ? X(2) : none, (Dtype)INT_ATTR(NARROW_DOT, x_dtype));
    Narrowed y = narrow(e, X(1), given ? X(3) : none, (Dtype)INT_ATTR(NARROW_DOT, y_dtype));
    ValueId  operands[2] = {x.x, y.x};
    for (uint32_t i = 0; i < 2 && !stored; i++)
        operands[i] = build_convert(b, operands[i], DTYPE_F32);
    ValueId dot = build_op(b, OP_DOT_GENERAL, operands, 2, e->attrs);
    ValueId wide = build_convert(b, build_convert(b, dot, DTYPE_BF16), DTYPE_F32);
    ValueId z = MUL(wide, build_scalar_over(b, MUL(x.inverse, y.inverse), wide));
    out[0] = build_convert(b, z, build_dtype(b, X(0)));
    return true;
}
