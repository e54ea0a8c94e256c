/* narrow_dot: products of operands in 8-bit floats; and, at the end, products that do something to
 * each element, which may be of such floats. Each operand is multiplied by a factor that
 * brings its largest magnitude to the end of its range, or by the one given (delay.c), converted,
 * multiplied, and the product is multiplied by scales that undo the factors (Micikevicius et al.
 * 2022). All of it is plain rows, so equal operands are converted once (dedupe), and factors and
 * scales join the kernels and products beside them (epilogue.c).
 *
 * By blocks, as in DeepSeek-V3 (2024), each 128 elements of a row of x and each square of y have a
 * factor of their own. Those cannot be undone behind the sum, so the product is a dot_bias that is
 * given a scale for each block. They are powers of two: then undoing them is exact, also in bf16.
 *
 * Rounding counts as the identity in derivatives; a cotangent is taken in e5m2, whose range is
 * wide, and the other operand as the product had it. Targets without such products get operands
 * that were rounded to 8 bits and widened again: the same numbers, but for the order of sums. */
#include "systems/emit.h"
#include "systems/system.h"

static const double tiny = 0x1p-100; /* tensors and blocks below keep their scale */

typedef struct Narrowed {
    ValueId x, scale; /* in 8 bits; what undoes its factor: f32, a scalar or one a block */
} Narrowed;

/* A tensor of zeros, or with a NaN, keeps its scale; an infinite one becomes NaN, unless its factor
 * is given: then its largest number. */
static Narrowed narrow(Emit *e, uint32_t i, Dtype dtype) {
    Build  *b = e->build;
    ValueId wide = build_convert(b, X(i), DTYPE_F32), factor, scale;
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

/* --- blocks ----------------------------------------------------------------------------------- */
/* x with each of its last `count` axes cut in two: blocks, and elements of one. */
typedef struct Cut {
    ValueId  x;
    int64_t  inner[2]; /* axes of elements */
    uint32_t count;
} Cut;
static Cut cut(Build *b, ValueId x, uint32_t count) {
    Dims    *dims = &b->world->dims;
    DimId    sizes[SHAPE_RANK_MAX + 2], block = dims_const(dims, NARROW_BLOCK);
    uint32_t rank = build_rank(b, x), n = 0;
    Cut      c = {.count = 0};
    for (uint32_t i = 0; i < rank; i++) {
        DimId size = build_dims(b, x)[i];
        bool  whole = i + count < rank;
        sizes[n++] = whole ? size : dims_floordiv(dims, size, block);
        if (whole) continue;
        c.inner[c.count++] = n;
        sizes[n++] = block;
    }
    c.x = build_reshape(b, x, sizes, n);
    return c;
}
/* What blocks of x times their numbers are, in the shape of x. */
static ValueId times_blocks(Emit *e, ValueId x, const Cut *c, ValueId numbers) {
    Build   *b = e->build;
    DimId    sizes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(b, x);
    for (uint32_t i = 0; i < rank; i++) sizes[i] = build_dims(b, x)[i];
    ValueId y = MUL(c->x, build_spread(b, numbers, c->x, c->inner, c->count));
    return build_reshape(b, y, sizes, rank);
}
/* The largest power of two that is not above x, which is normal; of infinity 0. */
static ValueId power_below(Emit *e, ValueId x) {
    Build   *b = e->build;
    uint64_t to_bits = DTYPE_I32, to_number = DTYPE_F32;
    ValueId  bits = build_op(b, OP_BITCAST, &x, 1, &to_bits);
    bits = build_binary(b, OP_AND, bits, build_splat(b, bits, 0x7F800000));
    return build_op(b, OP_BITCAST, &bits, 1, &to_number);
}
/* The last axis first; of a matrix, the other way round. */
static ValueId turned(Build *b, ValueId x) {
    int64_t  order[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(b, x);
    for (uint32_t i = 0; i < rank; i++) order[i] = i == 0 ? rank - 1 : i - 1;
    return build_transpose(b, x, order, rank);
}
/* Blocks of zeros, or with a NaN, keep their scale; infinite ones become NaN. */
static Narrowed narrow_blocks(Emit *e, ValueId x, uint32_t axes, Dtype dtype) {
    Build  *b = e->build;
    ValueId wide = build_convert(b, x, DTYPE_F32);
    Cut     c = cut(b, wide, axes);
    ValueId most = ABS(c.x); /* of parts of rows, then of squares: kernels of many threads */
    for (uint32_t i = c.count; i-- > 0;) most = build_reduce(b, REDUCE_MAX, most, &c.inner[i], 1);
    ValueId one = build_splat(b, most, 1), end = build_splat(b, most, narrow8_largest(dtype));
    ValueId some = COMPARE(GT, most, build_splat(b, most, tiny));
    ValueId factor = SELECT(some, power_below(e, DIV(end, most)), one);
    return (Narrowed){build_convert(b, times_blocks(e, wide, &c, factor), dtype), DIV(one, factor)};
}
/* Scales of y[N,K] have rows of fours: what is added is not looked at. */
static ValueId in_fours(Build *b, ValueId scale) {
    Dims    *dims = &b->world->dims;
    DimId    zero = dims_const(dims, 0), size = build_dims(b, scale)[1], four = dims_const(dims, 4);
    DimId    more = dims_sub(dims, dims_mul(dims, dims_ceildiv(dims, size, four), four), size);
    DimId    low[2] = {zero, zero}, high[2] = {zero, more};
    ValueId  operands[2] = {scale, build_scalar(b, DTYPE_F32, 0)};
    uint64_t words[3] = {build_sizes(b, low, 2), build_sizes(b, high, 2), 0};
    return more.row == zero.row ? scale : build_op(b, OP_PAD, operands, 2, words);
}
static ValueId dot_of_blocks(Emit *e) {
    Build   *b = e->build;
    ListId   sums = {(uint32_t)INT_ATTR(NARROW_DOT, y_contract)};
    bool     across = list_numbers(&b->world->attrs, sums)[0] == 1;
    Narrowed x = narrow_blocks(e, X(0), 1, (Dtype)INT_ATTR(NARROW_DOT, x_dtype));
    Narrowed y = narrow_blocks(e, X(1), 2, (Dtype)INT_ATTR(NARROW_DOT, y_dtype));
    ValueId  operands[4] = {x.x, y.x, turned(b, x.scale),
                            in_fours(b, across ? y.scale : turned(b, y.scale))};
    uint64_t words[] = {across, true, NARROW_BLOCK};
    return build_op(b, OP_DOT_BIAS, operands, 4, words);
}
/* x y of blocks that are wide again, in bf16; scales: the first operand that is a scale. */
static ValueId wide_dot(Emit *e, uint32_t scales) {
    Build   *b = e->build;
    bool     across = e->attrs[ATTR_DOT_BIAS_across] != 0;
    ValueId  wide[2], scale[2] = {X(scales), X(scales + 1)};
    uint32_t rank = build_rank(b, X(0));
    int64_t  order[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) order[i] = i + 1 == rank ? 0 : i + 1;
    scale[0] = build_transpose(b, scale[0], order, rank);
    DimId    zero = dims_const(&b->world->dims, 0), starts[2] = {zero, zero};
    DimId    limits[2] = {build_dims(b, scale[1])[0], build_dims(b, scale[0])[rank - 1]};
    uint64_t words[3] = {build_sizes(b, starts, 2), build_sizes(b, limits, 2), 0};
    scale[1] = build_op(b, OP_SLICE, &scale[1], 1, words);
    if (!across) scale[1] = turned(b, scale[1]);
    for (uint32_t i = 0; i < 2; i++) {
        ValueId x = build_convert(b, X(i), DTYPE_F32);
        Cut     c = cut(b, x, i + 1);
        wide[i] = times_blocks(e, x, &c, scale[i]);
    }
    ValueId dot = (across ? emit_linear_dot : emit_matmul_dot)(e, wide[0], wide[1]);
    return build_convert(b, dot, DTYPE_BF16);
}

bool expand_NARROW_DOT(Emit *e, ValueId *out) {
    Build *b = e->build;
    bool   stored = e->target == NULL || e->target->multiplies_f8;
    if ((uint32_t)INT_ATTR(NARROW_DOT, wide) & NARROW_WIDE_Z) {
        out[0] = build_op(b, OP_DOT_GENERAL, e->x, 2, e->attrs); /* its attributes come first */
        return true;
    }
    if (INT_ATTR(NARROW_DOT, block) != 0) {
        out[0] = build_convert(b, dot_of_blocks(e), build_dtype(b, X(0)));
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

/* --- products and what is done to their elements ---------------------------------------------- */
static ValueId plain_dot(Emit *e) {
    return (e->attrs[ATTR_DOT_BIAS_across] ? emit_linear_dot : emit_matmul_dot)(e, X(0), X(1));
}
/* x y, of 8-bit floats times their scales, and with a bias along its last axis. */
static ValueId biased_dot(Emit *e) {
    Build   *b = e->build;
    bool     scaled = e->attrs[ATTR_DOT_BIAS_scaled] != 0;
    bool     blocks = scaled && e->attrs[ATTR_DOT_BIAS_block] != 0;
    uint32_t count = scaled ? e->count - 2 : e->count;
    ValueId  z = blocks ? wide_dot(e, count) : plain_dot(e);
    if (scaled && !blocks) z = emit_scaled(b, z, X(count), X(count + 1));
    return count < 3 ? z : ADD(z, build_along(b, X(2), z, (int64_t)build_rank(b, z) - 1));
}
static_assert((int)ATTR_DOT_BIAS_scaled == (int)ATTR_DOT_GELU_scaled, "ORDER attrs");
static OpId gelu_of(Emit *e, ValueId a) {
    uint64_t tanh = 1;
    return build_row(e->build, OP_GELU, &a, 1, &tanh, 1);
}
bool expand_DOT_BIAS(Emit *e, ValueId *out) {
    out[0] = biased_dot(e);
    return true;
}
bool expand_DOT_GELU(Emit *e, ValueId *out) {
    out[1] = biased_dot(e);
    out[0] = op_result(e->build->code, gelu_of(e, out[1]), 0);
    return true;
}
bool expand_DOT_GELU_GRAD(Emit *e, ValueId *out) {
    Emit    of_gelu = emit_at(e->build, gelu_of(e, X(2)));
    ValueId z = plain_dot(e);
    of_gelu.d = &z;
    return emit_jvp(&of_gelu, out);
}
