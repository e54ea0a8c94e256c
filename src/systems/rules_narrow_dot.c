/* narrow_dot: products of operands in 8-bit floats. Each operand is multiplied by a factor that
 * brings its largest magnitude to the end of its range, or by the one given (delay.c), converted,
 * multiplied, and the product is multiplied by scales that undo the factors (Micikevicius et al.
 * 2022). All of it is plain rows, so equal operands are converted once (dedupe), and factors and
 * scales join the kernels and products beside them (epilogue.c).
 *
 * Rounding counts as the identity in derivatives; a cotangent is taken in e5m2, whose range is
 * wide, and the other operand as the product had it. Targets without such products get operands
 * that were rounded to 8 bits and widened again: the same numbers, but for the order of sums. */
#include "systems/emit.h"
#include "systems/system.h"

typedef struct Narrowed {
    ValueId x, scale; /* in 8 bits; what undoes its factor: an f32 scalar */
} Narrowed;

/* A tensor of zeros, or with a NaN, keeps its scale; an infinite one becomes NaN, unless its factor
 * is given: then its largest number. */
static Narrowed narrow(Emit *e, uint32_t i, Dtype dtype) {
    static const double tiny = 0x1p-100;
    Build              *b = e->build;
    ValueId             wide = build_convert(b, X(i), DTYPE_F32), factor, scale;
    if (e->count > 2) {
        factor = X(i + 2);
        scale = X(i + 4);
    } else {
        ValueId one = build_scalar(b, DTYPE_F32, 1), most = emit_largest(b, wide, false, false);
        ValueId end = build_scalar(b, DTYPE_F32, narrow8_largest(dtype));
        ValueId some = COMPARE(GT, most, build_scalar(b, DTYPE_F32, tiny));
        factor = SELECT(some, DIV(end, most), one);
        scale = SELECT(some, DIV(most, end), one);
    }
    ValueId scaled = MUL(wide, build_scalar_over(b, factor, wide));
    return (Narrowed){build_convert(b, scaled, dtype), scale};
}

bool expand_NARROW_DOT(Emit *e, ValueId *out) {
    Build *b = e->build;
    bool   stored = e->target == NULL || e->target->multiplies_f8;
    if ((uint32_t)INT_ATTR(NARROW_DOT, wide) & NARROW_WIDE_Z) {
        out[0] = build_op(b, OP_DOT_GENERAL, e->x, 2, e->attrs); /* its attributes come first */
        return true;
    }
    Narrowed x = narrow(e, 0, (Dtype)INT_ATTR(NARROW_DOT, x_dtype));
    Narrowed y = narrow(e, 1, (Dtype)INT_ATTR(NARROW_DOT, y_dtype));
    ValueId  operands[2] = {x.x, y.x};
    for (uint32_t i = 0; i < 2 && !stored; i++)
        operands[i] = build_convert(b, operands[i], DTYPE_F32);
    ValueId dot = build_convert(b, build_op(b, OP_DOT_GENERAL, operands, 2, e->attrs), DTYPE_BF16);
    out[0] = build_convert(b, emit_scaled(b, dot, x.scale, y.scale), build_dtype(b, X(0)));
    return true;
}
