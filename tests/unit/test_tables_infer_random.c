// Every shape rule against itself on numbers: an operator with random attributes is inferred on
// symbolic sizes, then again with numbers put in for the symbols.
//   accepted, and its checks hold of the numbers:  accepted again, with the sizes that evaluation
//                                                  of the symbolic ones gives;
//   accepted, and a check does not hold:           refused;
//   refused:                                       refused.
// STOA_INFER_CASES sets how many operators are tried.
#include <stdio.h>
#include <stdlib.h>

#include "tables/build.h"

#include "harness.h"

enum { CASES = 6000, SETS = 6, OPERANDS = 8, SYMBOLS = 5, PER_WORLD = 50 };

typedef struct Case {
    World   *world;
    Build    build;
    uint64_t state;
    DimId    symbol[SYMBOLS];
    Opcode   opcode;
    TypeId   types[OPERANDS];
    uint64_t words[ATTRS_MAX];
    uint32_t count, names;
    uint64_t accepted, refused, compared, broken; // over all cases
} Case;

static uint64_t next(Case *c) {
    c->state ^= c->state << 13;
    c->state ^= c->state >> 7;
    c->state ^= c->state << 17;
    return c->state * 0x2545F4914F6CDD1Du >> 16;
}
static int64_t  pick(Case *c, int64_t n) { return (int64_t)(next(c) % (uint64_t)n); }
static uint32_t up_to(Case *c, uint32_t n) { return (uint32_t)pick(c, n + 1); }
static int64_t  size(Case *c) { // 0, 1, primes, powers of two and their neighbours
    static const int64_t small[] = {0, 1, 1, 2, 3, 5, 7, 13};
    if (pick(c, 3) != 0) return small[pick(c, LENGTH(small))];
    return ((int64_t)1 << (1 + pick(c, 7))) + pick(c, 3) - 1;
}

// --- sizes and types
static Dims *dims_of(Case *c) { return &c->world->dims; }
static DimId number(Case *c, int64_t n) { return dims_const(dims_of(c), n); }
static DimId symbol(Case *c) { return c->symbol[pick(c, SYMBOLS)]; }
static DimId any(Case *c) {
    Dims *d = dims_of(c);
    DimId x = symbol(c);
    switch (pick(c, 9)) {
    case 0: return number(c, size(c));
    case 1: return dims_add(d, x, number(c, size(c)));
    case 2: return dims_mul(d, x, number(c, size(c)));
    case 3: return dims_mul(d, x, symbol(c));
    case 4: return dims_floordiv(d, x, number(c, 1 + size(c)));
    case 5: return dims_max(d, dims_sub(d, x, number(c, size(c))), number(c, 0));
    default: return x;
    }
}
// The same size, as a rule.
static DimId like(Case *c, DimId dim) { return pick(c, 12) == 0 ? any(c) : dim; }
typedef struct Shape {
    DimId    at[SHAPE_RANK_MAX];
    uint32_t rank;
} Shape;
static Shape any_shape(Case *c, uint32_t least, uint32_t most) {
    Shape shape = {.rank = least + up_to(c, most - least)};
    for (uint32_t i = 0; i < shape.rank; i++) shape.at[i] = any(c);
    return shape;
}
static Shape like_shape(Case *c, Shape shape) {
    for (uint32_t i = 0; i < shape.rank; i++) shape.at[i] = like(c, shape.at[i]);
    return shape;
}
static Shape vector(DimId dim) { return (Shape){{dim}, 1}; }
static Shape with(Shape shape, uint32_t axis, DimId dim) {
    shape.at[axis] = dim;
    return shape;
}
static Shape join(Shape a, Shape b) {
    for (uint32_t i = 0; i < b.rank && a.rank < SHAPE_RANK_MAX; i++) a.at[a.rank++] = b.at[i];
    return a;
}
static Shape first(Shape shape, uint32_t rank) {
    shape.rank = rank;
    return shape;
}
static void give(Case *c, Dtype dtype, Shape shape) {
    Types *types = &c->world->types;
    c->types[c->count++] = types_type(types, dtype, types_shape(types, shape.at, shape.rank));
}
static uint64_t sizes(Case *c, Shape shape) { return build_sizes(&c->build, shape.at, shape.rank); }
static uint64_t ints(Case *c, const int64_t *numbers, uint32_t count) {
    return build_ints(&c->build, numbers, count);
}
static uint64_t repeat(Case *c, uint32_t count, int64_t low, int64_t span) {
    int64_t numbers[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < count; i++) numbers[i] = low + pick(c, span);
    return ints(c, numbers, count);
}
// Some axes below rank, ascending; their number goes to out_count.
static uint64_t some_axes(Case *c, uint32_t rank, int64_t *axes, uint32_t *out_count) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (pick(c, 2) == 0) axes[count++] = i;
    *out_count = count;
    return ints(c, axes, count);
}
static int64_t axis_of(Case *c, uint32_t rank) { return pick(c, 20) == 0 ? rank : pick(c, rank); }

// --- operators, by rule
static void gen_same(Case *c) { // elementwise
    Shape shape = any_shape(c, 0, 3);
    Dtype dtype = DTYPE_F32;
    if (c->opcode == OP_AND) dtype = DTYPE_I32;
    for (uint32_t i = 0; i < op_infos[c->opcode].operands_min; i++)
        give(c, dtype, i == 0 ? shape : like_shape(c, shape));
}
static void gen_select(Case *c) {
    Shape shape = any_shape(c, 0, 3);
    give(c, DTYPE_BOOL, shape);
    give(c, DTYPE_F32, like_shape(c, shape));
    give(c, DTYPE_F32, like_shape(c, shape));
}
static void gen_broadcast(Case *c) {
    Shape    to = any_shape(c, 0, 4), from = {.rank = 0};
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t count;
    c->words[0] = sizes(c, to);
    c->words[1] = some_axes(c, to.rank, axes, &count);
    for (uint32_t i = 0; i < count; i++)
        from.at[from.rank++] = pick(c, 4) == 0 ? number(c, 1) : like(c, to.at[axes[i]]);
    give(c, DTYPE_F32, from);
}
static void gen_reshape(Case *c) {
    Shape shape = any_shape(c, 0, 4), to = shape;
    if (to.rank >= 2 && pick(c, 2) == 0) { // merge the last two axes
        to.rank--;
        to.at[to.rank - 1] = dims_mul(dims_of(c), shape.at[to.rank - 1], shape.at[to.rank]);
    } else if (to.rank >= 1 && pick(c, 2) == 0) { // split one
        DimId by = number(c, 1 + size(c));
        to.at[to.rank] = by;
        to.at[to.rank - 1] = dims_floordiv(dims_of(c), to.at[to.rank - 1], by);
        to.rank++;
    }
    c->words[0] = sizes(c, like_shape(c, to));
    give(c, DTYPE_F32, shape);
}
static void gen_transpose(Case *c) {
    Shape   shape = any_shape(c, 0, 4);
    int64_t order[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < shape.rank; i++) order[i] = i;
    for (uint32_t i = shape.rank; i > 1; i--) {
        int64_t at = pick(c, i), swap = order[i - 1];
        order[i - 1] = order[at];
        order[at] = swap;
    }
    c->words[0] = ints(c, order, shape.rank);
    give(c, DTYPE_F32, shape);
}
static void gen_slice(Case *c) {
    Shape shape = any_shape(c, 1, 3), starts = shape, limits = shape;
    for (uint32_t i = 0; i < shape.rank; i++) {
        starts.at[i] = pick(c, 3) == 0 ? any(c) : number(c, pick(c, 3) - (pick(c, 10) == 0));
        if (pick(c, 3) == 0) limits.at[i] = any(c);
        if (pick(c, 3) == 0)
            limits.at[i] = dims_sub(dims_of(c), shape.at[i], number(c, pick(c, 3)));
    }
    c->words[0] = sizes(c, starts);
    c->words[1] = sizes(c, limits);
    c->words[2] = pick(c, 2) ? repeat(c, shape.rank, 1, 4) : 0;
    give(c, DTYPE_F32, shape);
}
static void gen_pad(Case *c) {
    Shape shape = any_shape(c, 1, 3), low = shape, high = shape;
    for (uint32_t i = 0; i < shape.rank; i++) {
        low.at[i] = pick(c, 3) == 0 ? any(c) : number(c, pick(c, 5) - 2);
        high.at[i] = pick(c, 3) == 0 ? any(c) : number(c, pick(c, 5) - 2);
    }
    c->words[0] = sizes(c, low);
    c->words[1] = sizes(c, high);
    c->words[2] = pick(c, 2) ? repeat(c, shape.rank, 0, 3) : 0;
    give(c, DTYPE_F32, shape);
    give(c, DTYPE_F32, (Shape){.rank = 0});
}
static void gen_concat(Case *c) {
    Shape    shape = any_shape(c, 1, 3);
    uint32_t axis = (uint32_t)pick(c, shape.rank), count = 1 + up_to(c, 3);
    c->words[0] = axis;
    for (uint32_t i = 0; i < count; i++)
        give(c, DTYPE_F32, with(i ? like_shape(c, shape) : shape, axis, any(c)));
}
static void gen_axes(Case *c) { // reverse, mean, logsumexp
    Shape    shape = any_shape(c, 0, 4);
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t count;
    c->words[0] = some_axes(c, shape.rank, axes, &count);
    give(c, DTYPE_F32, shape);
}
static void gen_reduce(Case *c) {
    Shape    shape = any_shape(c, 0, 4);
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t count;
    c->words[0] = (uint64_t)pick(c, REDUCE_KIND_COUNT);
    c->words[1] = some_axes(c, shape.rank, axes, &count);
    give(c, pick(c, 2) ? DTYPE_I32 : DTYPE_F32, shape);
}
static void gen_one_axis(Case *c) { // kind, axis
    Shape shape = any_shape(c, 1, 4);
    c->words[0] = (uint64_t)pick(c, REDUCE_KIND_COUNT);
    c->words[1] = (uint64_t)axis_of(c, shape.rank);
    give(c, DTYPE_F32, shape);
}
static void gen_axis(Case *c) { // softmax, dim_size
    Shape shape = any_shape(c, 1, 4);
    c->words[0] = (uint64_t)axis_of(c, shape.rank);
    give(c, DTYPE_F32, shape);
}
static void gen_sort(Case *c) {
    Shape shape = any_shape(c, 1, 3);
    c->words[0] = (uint64_t)axis_of(c, shape.rank);
    for (uint32_t i = 0; i < 3; i++) give(c, i ? DTYPE_I32 : DTYPE_F32, like_shape(c, shape));
}
static void gen_dynamic_slice(Case *c) {
    Shape shape = any_shape(c, 1, 3), part = shape;
    bool  update = c->opcode == OP_DYNAMIC_UPDATE_SLICE;
    for (uint32_t i = 0; i < part.rank; i++)
        if (pick(c, 2)) part.at[i] = any(c);
    if (!update) c->words[0] = sizes(c, part);
    give(c, DTYPE_F32, shape);
    if (update) give(c, DTYPE_F32, part);
    give(c, DTYPE_I64, vector(like(c, number(c, shape.rank))));
}
static void gen_dynamic_shape(Case *c) {
    Shape to = any_shape(c, 0, 3), from = {.rank = 0};
    if (c->opcode == OP_DYNAMIC_BROADCAST) {
        int64_t  axes[SHAPE_RANK_MAX];
        uint32_t count;
        c->words[1] = some_axes(c, to.rank, axes, &count);
        for (uint32_t i = 0; i < count; i++) from.at[from.rank++] = like(c, to.at[axes[i]]);
    } else {
        from = like_shape(c, to);
    }
    c->words[0] = sizes(c, to);
    give(c, DTYPE_F32, from);
    give(c, DTYPE_I64, vector(like(c, number(c, to.rank))));
}
static void gen_compact(Case *c) {
    Shape shape = any_shape(c, 1, 3);
    c->words[0] = symbol(c).row;
    give(c, DTYPE_BOOL, vector(like(c, shape.at[0])));
    give(c, DTYPE_F32, shape);
}
// x[a.., b..], indices[.., k]: collapsed and batch axes in front, slices behind.
static void gen_gather(Case *c) {
    bool     scatter = c->opcode == OP_SCATTER;
    Shape    x = any_shape(c, 1, 4), index = any_shape(c, 0, 2), slice = x;
    uint32_t batch = index.rank != 0 && x.rank > 1 ? up_to(c, 1) : 0;
    uint32_t dropped = up_to(c, x.rank - batch), mapped = dropped, at = scatter ? 1 : 0;
    int64_t  numbers[SHAPE_RANK_MAX];
    if (batch) x.at[0] = like(c, index.at[0]);
    slice = x;
    for (uint32_t i = 0; i < x.rank; i++) {
        if (i < batch + dropped)
            slice.at[i] = like(c, number(c, 1));
        else if (pick(c, 2))
            slice.at[i] = any(c);
    }
    uint32_t offsets = x.rank - batch - dropped;
    if (scatter) c->words[0] = (uint64_t)pick(c, SCATTER_KIND_COUNT);
    for (uint32_t i = 0; i < offsets; i++) numbers[i] = index.rank + i;
    c->words[at] = ints(c, numbers, offsets);
    for (uint32_t i = 0; i < dropped; i++) numbers[i] = batch + i;
    c->words[at + 1] = ints(c, numbers, dropped);
    numbers[0] = 0;
    c->words[at + 2] = c->words[at + 3] = ints(c, numbers, batch);
    for (uint32_t i = 0; i < mapped; i++) numbers[i] = batch + i;
    c->words[at + 4] = ints(c, numbers, mapped);
    if (!scatter) c->words[at + 5] = sizes(c, slice);
    give(c, DTYPE_F32, x);
    give(c, DTYPE_I64, join(index, vector(like(c, number(c, mapped)))));
    Shape window = {.rank = 0};
    for (uint32_t i = batch + dropped; i < x.rank; i++) window.at[window.rank++] = slice.at[i];
    if (scatter) give(c, DTYPE_F32, join(like_shape(c, index), window));
}
static void gen_dot(Case *c) {
    Shape batch = any_shape(c, 0, 2), inner = any_shape(c, 0, 2), x = any_shape(c, 0, 2),
          y = any_shape(c, 0, 2);
    int64_t axes[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < SHAPE_RANK_MAX; i++) axes[i] = i;
    c->words[0] = c->words[1] = ints(c, axes, batch.rank);
    c->words[2] = c->words[3] = ints(c, axes + batch.rank, inner.rank);
    give(c, DTYPE_F32, join(join(batch, inner), x));
    give(c, DTYPE_F32, join(join(like_shape(c, batch), like_shape(c, inner)), y));
}
static void gen_convolution(Case *c) {
    Shape    image = any_shape(c, 1, 2), window = image, low = image, high = image;
    uint32_t rank = image.rank;
    int64_t  groups = 1 + pick(c, 3);
    DimId    inner = any(c), channels = dims_mul(dims_of(c), inner, number(c, groups));
    for (uint32_t i = 0; i < rank; i++) {
        window.at[i] = pick(c, 2) ? number(c, size(c)) : any(c);
        low.at[i] = number(c, pick(c, 4) - 1);
        high.at[i] = pick(c, 3) == 0 ? any(c) : number(c, pick(c, 4) - 1);
    }
    c->words[0] = repeat(c, rank, 1, 3);
    c->words[1] = sizes(c, low);
    c->words[2] = sizes(c, high);
    c->words[3] = pick(c, 2) ? repeat(c, rank, 1, 3) : 0;
    c->words[4] = pick(c, 2) ? repeat(c, rank, 1, 3) : 0;
    c->words[5] = (uint64_t)groups;
    DimId outputs = pick(c, 2) ? any(c) : dims_mul(dims_of(c), any(c), number(c, groups));
    give(c, DTYPE_F32, join((Shape){{any(c), like(c, channels)}, 2}, image));
    give(c, DTYPE_F32, join((Shape){{outputs, inner}, 2}, window));
}
static void gen_window(Case *c) { // reduce_window and pools
    Shape    shape = any_shape(c, 1, 4), low = shape, high = shape;
    uint32_t axes = 1 + up_to(c, shape.rank - 1), at = 0;
    low.rank = high.rank = axes;
    for (uint32_t i = 0; i < axes; i++) {
        low.at[i] = number(c, pick(c, 4) - 1);
        high.at[i] = pick(c, 3) == 0 ? any(c) : number(c, pick(c, 4) - 1);
    }
    if (c->opcode == OP_REDUCE_WINDOW) c->words[at++] = (uint64_t)pick(c, REDUCE_KIND_COUNT);
    c->words[at++] = repeat(c, axes, 1, 4);
    c->words[at++] = repeat(c, axes, 1, 4);
    c->words[at++] = sizes(c, low);
    c->words[at++] = sizes(c, high);
    if (c->opcode == OP_REDUCE_WINDOW) c->words[at] = pick(c, 2) ? repeat(c, axes, 1, 3) : 0;
    give(c, DTYPE_F32, shape);
}
static void gen_fft(Case *c) {
    Dims    *d = dims_of(c);
    Shape    shape = any_shape(c, 1, 3), given = shape;
    FftKind  kind = (FftKind)pick(c, FFT_KIND_COUNT);
    uint32_t axes = 1 + up_to(c, shape.rank - 1), last = shape.rank - 1;
    Shape    asked = {.rank = axes};
    for (uint32_t i = 0; i < axes; i++) asked.at[i] = like(c, shape.at[shape.rank - axes + i]);
    if (kind == FFT_REAL_INVERSE)
        given.at[last] =
            like(c, dims_add(d, dims_floordiv(d, shape.at[last], number(c, 2)), number(c, 1)));
    c->words[0] = kind;
    c->words[1] = sizes(c, asked);
    give(c, kind == FFT_REAL_FORWARD ? DTYPE_F32 : DTYPE_C64, given);
}
static void gen_matrix(Case *c) {
    Shape shape = any_shape(c, 2, 4);
    if (pick(c, 3)) shape.at[shape.rank - 1] = like(c, shape.at[shape.rank - 2]);
    give(c, DTYPE_F32, shape);
}
static void gen_solve(Case *c) {
    Shape shape = any_shape(c, 2, 4);
    shape.at[shape.rank - 1] = like(c, shape.at[shape.rank - 2]);
    give(c, DTYPE_F32, shape);
    give(c, DTYPE_F32, with(like_shape(c, shape), shape.rank - 1, any(c)));
}
static void gen_one_hot(Case *c) {
    c->words[0] = any(c).row;
    c->words[1] = DTYPE_F32;
    give(c, DTYPE_I64, any_shape(c, 0, 3));
}
static void gen_iota(Case *c) {
    Shape shape = any_shape(c, 1, 3);
    c->words[0] = DTYPE_I32;
    c->words[1] = sizes(c, shape);
    c->words[2] = (uint64_t)axis_of(c, shape.rank);
}
static void gen_rng(Case *c) {
    c->words[0] = sizes(c, any_shape(c, 0, 3));
    give(c, DTYPE_I64, (Shape){.rank = 0});
}
static void gen_cross_entropy(Case *c) {
    Shape shape = any_shape(c, 1, 4);
    give(c, DTYPE_F32, shape);
    give(c, DTYPE_I64, first(like_shape(c, shape), shape.rank - 1));
}
static void gen_norm(Case *c) { // layer_norm, rms_norm, batch_norm
    bool  batch = c->opcode == OP_BATCH_NORM;
    Shape shape = any_shape(c, batch ? 2 : 1, 4);
    give(c, DTYPE_F32, shape);
    for (uint32_t i = 1; i < op_infos[c->opcode].operands_min; i++)
        give(c, DTYPE_F32, vector(like(c, shape.at[batch ? 1 : shape.rank - 1])));
}
static void gen_linear(Case *c) {
    Shape shape = any_shape(c, 1, 4);
    DimId outputs = any(c);
    give(c, DTYPE_F32, shape);
    give(c, DTYPE_F32, (Shape){{outputs, like(c, shape.at[shape.rank - 1])}, 2});
    if (pick(c, 2)) give(c, DTYPE_F32, vector(like(c, outputs)));
}
static void gen_matmul(Case *c) {
    Shape x = any_shape(c, 2, 4), y = like_shape(c, x);
    y.at[y.rank - 2] = like(c, x.at[x.rank - 1]);
    y.at[y.rank - 1] = any(c);
    if (pick(c, 3) == 0) y = (Shape){{y.at[y.rank - 2], y.at[y.rank - 1]}, 2};
    give(c, DTYPE_F32, x);
    give(c, DTYPE_F32, y);
}
static void gen_embedding(Case *c) {
    give(c, DTYPE_F32, any_shape(c, 2, 2));
    give(c, DTYPE_I64, any_shape(c, 0, 3));
}
static void gen_attention(Case *c) {
    Shape q = any_shape(c, 2, 4), k = like_shape(c, q), v;
    if (q.rank > 2 && pick(c, 2))
        q.at[q.rank - 3] = dims_mul(dims_of(c), k.at[q.rank - 3], number(c, 1 + pick(c, 3)));
    k.at[q.rank - 2] = any(c);
    v = like_shape(c, k);
    v.at[q.rank - 1] = any(c);
    give(c, DTYPE_F32, q);
    give(c, DTYPE_F32, k);
    give(c, DTYPE_F32, v);
}
static void gen_dropout(Case *c) {
    c->words[0] = word_of_f64(0.5);
    give(c, DTYPE_F32, any_shape(c, 0, 3));
    give(c, DTYPE_I64, (Shape){.rank = 0});
}
static void gen_optimizer(Case *c) {
    Shape    shape = any_shape(c, 0, 3);
    uint32_t tensors = 1 + op_infos[c->opcode].results;
    for (uint32_t i = 0; i < op_infos[c->opcode].operands_min; i++)
        give(c, DTYPE_F32,
             i == 0        ? shape
             : i < tensors ? like_shape(c, shape)
                           : (Shape){.rank = 0});
}
static void gen_many(Case *c) { // global_norm, barrier
    uint32_t count = 1 + up_to(c, 3);
    for (uint32_t i = 0; i < count; i++) give(c, DTYPE_F32, any_shape(c, 0, 3));
}
static void gen_complex(Case *c) {
    give(c, c->opcode == OP_REAL || c->opcode == OP_IMAG ? DTYPE_C64 : DTYPE_F32,
         any_shape(c, 0, 3));
}
static void gen_convert(Case *c) {
    c->words[0] = DTYPE_I32;
    give(c, DTYPE_F32, any_shape(c, 0, 3));
}

static const struct {
    Opcode opcode;
    void (*gen)(Case *c);
} generators[] = {
    {OP_EXP, gen_same},
    {OP_NEG, gen_same},
    {OP_ADD, gen_same},
    {OP_MAX, gen_same},
    {OP_AND, gen_same},
    {OP_ATAN2, gen_same},
    {OP_COMPARE, gen_same},
    {OP_COMPLEX, gen_same},
    {OP_IS_FINITE, gen_same},
    {OP_COPY, gen_same},
    {OP_GELU, gen_same},
    {OP_SQUARE, gen_same},
    {OP_SELECT, gen_select},
    {OP_REAL, gen_complex},
    {OP_IMAG, gen_complex},
    {OP_CONVERT, gen_convert},
    {OP_BITCAST, gen_convert},
    {OP_IOTA, gen_iota},
    {OP_RNG_BITS, gen_rng},
    {OP_BROADCAST_IN_DIM, gen_broadcast},
    {OP_RESHAPE, gen_reshape},
    {OP_TRANSPOSE, gen_transpose},
    {OP_SLICE, gen_slice},
    {OP_PAD, gen_pad},
    {OP_CONCAT, gen_concat},
    {OP_REVERSE, gen_axes},
    {OP_DYNAMIC_SLICE, gen_dynamic_slice},
    {OP_DYNAMIC_UPDATE_SLICE, gen_dynamic_slice},
    {OP_GATHER, gen_gather},
    {OP_SCATTER, gen_gather},
    {OP_DIM_SIZE, gen_axis},
    {OP_DYNAMIC_RESHAPE, gen_dynamic_shape},
    {OP_DYNAMIC_BROADCAST, gen_dynamic_shape},
    {OP_REDUCE, gen_reduce},
    {OP_ARG_REDUCE, gen_one_axis},
    {OP_CUMULATIVE, gen_one_axis},
    {OP_SORT, gen_sort},
    {OP_COMPACT, gen_compact},
    {OP_DOT_GENERAL, gen_dot},
    {OP_CONVOLUTION, gen_convolution},
    {OP_REDUCE_WINDOW, gen_window},
    {OP_FFT, gen_fft},
    {OP_CHOLESKY, gen_matrix},
    {OP_TRIANGULAR_SOLVE, gen_solve},
    {OP_LU, gen_matrix},
    {OP_QR, gen_matrix},
    {OP_EIGH, gen_matrix},
    {OP_SVD, gen_matrix},
    {OP_EIG, gen_matrix},
    {OP_BARRIER, gen_many},
    {OP_STOP_GRADIENT, gen_same},
    {OP_COPY_OUT, gen_same},
    {OP_COPY_BACK, gen_same},
    {OP_MEAN, gen_axes},
    {OP_SOFTMAX, gen_axis},
    {OP_LOG_SOFTMAX, gen_axis},
    {OP_LOGSUMEXP, gen_axes},
    {OP_ONE_HOT, gen_one_hot},
    {OP_CROSS_ENTROPY, gen_cross_entropy},
    {OP_LAYER_NORM, gen_norm},
    {OP_RMS_NORM, gen_norm},
    {OP_BATCH_NORM, gen_norm},
    {OP_LINEAR, gen_linear},
    {OP_MATMUL, gen_matmul},
    {OP_EMBEDDING, gen_embedding},
    {OP_ATTENTION, gen_attention},
    {OP_DROPOUT, gen_dropout},
    {OP_MAX_POOL, gen_window},
    {OP_AVG_POOL, gen_window},
    {OP_GLOBAL_NORM, gen_many},
    {OP_SGD, gen_optimizer},
    {OP_ADAMW, gen_optimizer},
};

// --- inferring
typedef struct Said { // what a rule said
    OpId    op;
    BlockId block;
    bool    good, complex;
} Said;
static Said infer(Case *c, const TypeId *types, const uint64_t *words) {
    Code    *code = &c->world->code;
    Diags   *diags = &c->world->diags;
    ValueId  operands[OPERANDS];
    uint32_t errors = diags->errors;
    Said     said = {.block = code_add_block(code, (OpId){0}, c->count)};
    for (uint32_t i = 0; i < c->count; i++) {
        operands[i] = (ValueId){code->blocks.args_first[said.block.row].row + i};
        code->values.type[operands[i].row] = types[i];
    }
    c->build.block = said.block;
    said.op = build_row(&c->build, c->opcode, operands, c->count, words, 0);
    code->blocks.op_last[said.block.row] = code->ops.table.count;
    said.good = diags->errors == errors;
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        said.complex |= diags->rows.kind[row] == DIAG_DIM_COMPLEX;
    diags_clear(diags);
    return said;
}
static uint64_t number_word(Case *c, AttrKind kind, uint64_t word, const int64_t *values) {
    if (kind == ATTR_DIM) return number(c, values[word]).row;
    if (kind != ATTR_DIMS) return word;
    const Attrs *attrs = &c->world->attrs;
    Shape        shape = {.rank = list_count(attrs, (ListId){(uint32_t)word})};
    for (uint32_t i = 0; i < shape.rank; i++)
        shape.at[i] = number(c, values[list_numbers(attrs, (ListId){(uint32_t)word})[i]]);
    return sizes(c, shape);
}
// False when an operand would have a negative size.
static bool number_type(Case *c, TypeId type, const int64_t *values, TypeId *out) {
    Types *types = &c->world->types;
    Shape  shape = {.rank = type_rank(types, type)};
    for (uint32_t i = 0; i < shape.rank; i++) {
        int64_t value = values[type_dims(types, type)[i].row];
        if (value < 0 || value > DIM_SIZE_MAX) return false;
        shape.at[i] = number(c, value);
    }
    *out = types_type(types, type_dtype(types, type), types_shape(types, shape.at, shape.rank));
    return true;
}
static bool checks_hold(Case *c, BlockId block, const int64_t *values) {
    const CheckRows *rows = &c->world->checks.rows;
    for (uint32_t row = 1; row < rows->table.count; row++)
        if (rows->body[row].row == block.row &&
            !check_holds((CheckKind)rows->kind[row], values[rows->lhs[row].row],
                         values[rows->rhs[row].row]))
            return false;
    return true;
}
static bool results_agree(Case *c, const Said *symbolic, const Said *concrete,
                          const int64_t *values) {
    const Code  *code = &c->world->code;
    const Types *types = &c->world->types;
    bool         agree = true;
    for (uint32_t i = 0; i < code->ops.results_count[symbolic->op.row]; i++) {
        TypeId a = code->values.type[op_result(code, symbolic->op, i).row];
        TypeId b = code->values.type[op_result(code, concrete->op, i).row];
        if (!EXPECT(type_id_some(a) && type_id_some(b))) return false;
        agree &= EXPECT_EQ(type_dtype(types, a), type_dtype(types, b));
        if (!EXPECT_EQ(type_rank(types, a), type_rank(types, b))) return false;
        for (uint32_t k = 0; k < type_rank(types, a); k++) {
            DimId dim = type_dims(types, b)[k];
            if (!EXPECT(dims_is_const(dims_of(c), dim))) return false;
            agree &=
                EXPECT_EQ(values[type_dims(types, a)[k].row], dims_const_value(dims_of(c), dim));
        }
    }
    return agree;
}
static bool try_numbers(Case *c, const Said *symbolic) {
    Scratch       scratch = scratch_begin(NULL, 0);
    uint32_t      rows = c->world->dims.rows.table.count;
    int64_t      *values = ARENA_ARRAY_ZERO(scratch.arena, int64_t, rows);
    TypeId        types[OPERANDS];
    uint64_t      words[ATTRS_MAX];
    bool          valid = true, agree = true;
    const OpInfo *info = &op_infos[c->opcode];
    for (uint32_t i = 0; i < SYMBOLS; i++) values[c->symbol[i].row] = size(c);
    (void)dims_eval(dims_of(c), values);
    for (uint32_t i = 0; i < c->count && valid; i++)
        valid = number_type(c, c->types[i], values, &types[i]);
    for (uint32_t i = 0; i < info->attrs_count && valid; i++)
        words[i] = number_word(c, info->attrs[i].kind, c->words[i], values);
    if (valid) {
        Said concrete = infer(c, types, words);
        bool holds = symbolic->good && checks_hold(c, symbolic->block, values);
        bool repeats = (c->opcode == OP_BROADCAST_IN_DIM || c->opcode == OP_DYNAMIC_BROADCAST) &&
                       concrete.good;
        agree = (repeats && !holds) || EXPECT_EQ(concrete.good, holds); // only a known 1 repeats
        if (agree && holds) agree = results_agree(c, symbolic, &concrete, values);
        c->compared += holds;
        c->broken += symbolic->good && !holds;
    }
    scratch_end(scratch);
    return agree;
}
static bool try_case(Case *c) {
    uint32_t which = (uint32_t)pick(c, LENGTH(generators));
    bool     agree = true;
    c->opcode = generators[which].opcode;
    c->count = 0;
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        char text[16] = {'S'};
        for (uint32_t k = 1, rest = c->names++; k < 8; k++, rest /= 26)
            text[k] = (char)('a' + rest % 26);
        c->symbol[i] = dims_symbol(dims_of(c), strings_add(&c->world->strings, str_of(text)));
    }
    for (uint32_t i = 0; i < op_infos[c->opcode].attrs_count; i++)
        c->words[i] = attr_default_word(&op_infos[c->opcode].attrs[i]);
    generators[which].gen(c);
    Said symbolic = infer(c, c->types, c->words);
    c->accepted += symbolic.good;
    c->refused += !symbolic.good;
    for (uint32_t i = 0; i < SETS && agree && !symbolic.complex; i++)
        agree = try_numbers(c, &symbolic);
    if (!agree) printf("\n  operator %s", op_infos[c->opcode].name);
    return agree;
}

TEST(infer_random_operators) {
    const char *asked = getenv("STOA_INFER_CASES");
    uint64_t    cases = asked ? strtoull(asked, NULL, 10) : CASES;
    Case       *c = ARENA_NEW(arena, Case);
    bool        agree = true;
    for (uint64_t seed = 1; seed <= cases && agree; seed++) {
        if (c->world == NULL) c->world = world_open(0, 1 << 16);
        REQUIRE(c->world != NULL);
        c->build = (Build){.world = c->world, .code = &c->world->code};
        c->state = seed * 0x9E3779B97F4A7C15u;
        agree = try_case(c);
        if (!agree) EXPECT_EQ(seed, 0); // names the seed
        if (seed % PER_WORLD != 0) continue;
        world_close(c->world);
        c->world = NULL;
    }
    world_close(c->world);
    EXPECT(c->accepted > cases / 2);
    EXPECT(c->compared > cases);
    EXPECT(c->broken > cases / 20);
    EXPECT(c->refused > cases / 50);
}
