/* Transposes that need more than an expression: for a row linear in operand i, the map from the
 * cotangent of its result to that of the operand. Sizes are symbolic throughout. Convolution and
 * windows follow the padding algebra of Griewank-style transposes: a strided forward window becomes
 * a dilated backward one. */
#include "systems/emit.h"

typedef struct IntSpan {
    const int64_t *at;
    uint32_t       count;
} IntSpan;
static IntSpan attr_list(Emit *e, uint32_t attr) {
    ListId id = {(uint32_t)e->attrs[attr]};
    return (IntSpan){list_numbers(&e->build->world->attrs, id),
                     list_count(&e->build->world->attrs, id)};
}
static uint32_t copy_dims(Emit *e, TypeId type, DimId *out) {
    const Types *types = &e->build->world->types;
    for (uint32_t i = 0; i < type_rank(types, type); i++) out[i] = type_dims(types, type)[i];
    return type_rank(types, type);
}
static ValueId pad(Emit *e, ValueId x, const DimId *low, const DimId *high,
                   const int64_t *interior) {
    uint32_t rank = build_rank(e->build, x);
    uint64_t words[3] = {build_sizes(e->build, low, rank), build_sizes(e->build, high, rank),
                         interior ? build_ints(e->build, interior, rank) : 0};
    Types   *types = &e->build->world->types;
    TypeId   scalar = types_type(types, build_dtype(e->build, x), types_shape(types, NULL, 0));
    ValueId  operands[2] = {x, emit_zeros(e, scalar)};
    return build_op(e->build, OP_PAD, operands, 2, words);
}
static ValueId slice(Emit *e, ValueId x, const DimId *starts, const DimId *limits,
                     uint64_t strides) {
    uint32_t rank = build_rank(e->build, x);
    uint64_t words[3] = {build_sizes(e->build, starts, rank), build_sizes(e->build, limits, rank),
                         strides};
    return build_op(e->build, OP_SLICE, &x, 1, words);
}
/* n + max(n - 1, 0) gap: the extent of n elements with gaps between them */
static DimId spaced(Dims *dims, DimId n, int64_t gap) {
    if (gap == 0) return n;
    DimId gaps = dims_max(dims, dims_sub(dims, n, dims_const(dims, 1)), dims_const(dims, 0));
    return dims_add(dims, n, dims_mul(dims, gaps, dims_const(dims, gap)));
}
static ValueId reshaped_to(Emit *e, ValueId x, TypeId type) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, type, dims);
    return build_type(e->build, x).row == type.row ? x : build_reshape(e->build, x, dims, rank);
}
/* The same type up to how its sizes are written. They are equal by construction, and the dims are
 * told so where they cannot see it: max(n - 1, 0) = n - 1 where that is a size. */
static ValueId as_type(Emit *e, ValueId x, TypeId type) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, type, dims);
    if (!type_id_some(build_type(e->build, x))) return x;
    ASSERT(build_rank(e->build, x) == rank);
    for (uint32_t i = 0; i < rank; i++)
        (void)dims_equate(&e->build->world->dims, build_dims(e->build, x)[i], dims[i]);
    return reshaped_to(e, x, type);
}

/* --- shape ------------------------------------------------------------------------------------ */
ValueId transpose_RESHAPE(Emit *e) { return reshaped_to(e, CT, T(0)); }

ValueId transpose_TRANSPOSE(Emit *e) {
    IntSpan permutation = attr_list(e, ATTR_TRANSPOSE_permutation);
    int64_t inverse[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < permutation.count; i++) inverse[permutation.at[i]] = i;
    return build_transpose(e->build, CT, inverse, permutation.count);
}

ValueId transpose_BROADCAST_IN_DIM(Emit *e) {
    IntSpan  axes = attr_list(e, ATTR_BROADCAST_IN_DIM_axes);
    DimId    from[SHAPE_RANK_MAX], to[SHAPE_RANK_MAX];
    int64_t  summed[SHAPE_RANK_MAX];
    uint32_t count = 0, k = 0, rank = copy_dims(e, build_type(e->build, CT), to);
    (void)copy_dims(e, T(0), from);
    for (uint32_t i = 0; i < rank; i++) {
        bool kept = k < axes.count && axes.at[k] == i;
        if (!kept || !dims_same(&e->build->world->dims, from[k], to[i])) summed[count++] = i;
        k += kept;
    }
    ValueId sum = count ? build_reduce(e->build, REDUCE_SUM, CT, summed, count) : CT;
    return reshaped_to(e, sum, T(0));
}

ValueId transpose_SLICE(Emit *e) {
    Dims    *dims = &e->build->world->dims;
    IntSpan  starts = attr_list(e, ATTR_SLICE_starts), strides = attr_list(e, ATTR_SLICE_strides);
    DimId    low[SHAPE_RANK_MAX], high[SHAPE_RANK_MAX], size[SHAPE_RANK_MAX], out[SHAPE_RANK_MAX];
    int64_t  interior[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, T(0), size);
    (void)copy_dims(e, build_type(e->build, CT), out);
    for (uint32_t i = 0; i < rank; i++) {
        interior[i] = strides.count ? strides.at[i] - 1 : 0;
        low[i] = (DimId){(uint32_t)starts.at[i]};
        high[i] =
            dims_sub(dims, dims_sub(dims, size[i], low[i]), spaced(dims, out[i], interior[i]));
    }
    return as_type(e, pad(e, CT, low, high, interior), T(0));
}

/* Undo the outer padding (negative amounts add zeros), then take every stride-th element. Each axis
 * is given its last gap too, for a length of n stride: that divides exactly, whatever n is. */
ValueId transpose_PAD(Emit *e) {
    Dims   *dims = &e->build->world->dims;
    IntSpan low = attr_list(e, ATTR_PAD_low), high = attr_list(e, ATTR_PAD_high);
    IntSpan interior = attr_list(e, ATTR_PAD_interior);
    DimId   less[SHAPE_RANK_MAX], more[SHAPE_RANK_MAX], zero[SHAPE_RANK_MAX], limit[SHAPE_RANK_MAX];
    int64_t strides[SHAPE_RANK_MAX], axes[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, T(0), limit);
    for (uint32_t i = 0; i < rank; i++) {
        int64_t gap = interior.count ? interior.at[i] : 0;
        DimId   whole = spaced(dims, limit[i], gap);
        strides[i] = gap + 1;
        limit[i] = dims_mul(dims, limit[i], dims_const(dims, strides[i]));
        zero[i] = dims_const(dims, 0);
        less[i] = dims_sub(dims, zero[i], (DimId){(uint32_t)low.at[i]});
        more[i] = dims_sub(dims, dims_sub(dims, limit[i], whole), (DimId){(uint32_t)high.at[i]});
        axes[i] = i;
    }
    ValueId inside = pad(e, CT, less, more, NULL);
    ValueId back =
        slice(e, inside, zero, limit, interior.count ? build_ints(e->build, strides, rank) : 0);
    if (e->operand == 0) return as_type(e, back, T(0));
    return SUB(build_reduce(e->build, REDUCE_SUM, CT, axes, rank),
               build_reduce(e->build, REDUCE_SUM, back, axes, rank));
}

ValueId transpose_CONCAT(Emit *e) {
    Dims    *dims = &e->build->world->dims;
    int64_t  axis = INT_ATTR(CONCAT, axis);
    DimId    start[SHAPE_RANK_MAX], limit[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, build_type(e->build, CT), limit);
    for (uint32_t i = 0; i < rank; i++) start[i] = dims_const(dims, 0);
    for (uint32_t k = 0; k < e->operand; k++)
        start[axis] = dims_add(dims, start[axis], build_dims(e->build, X(k))[axis]);
    limit[axis] = dims_add(dims, start[axis], build_dims(e->build, X(e->operand))[axis]);
    return slice(e, CT, start, limit, 0);
}

void transpose_UNSTACK(Emit *e, ValueId *out_parts) {
    uint32_t count = e->build->code->ops.results_count[e->op.row];
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *parts = ARENA_ARRAY(scratch.arena, ValueId, count);
    for (uint32_t i = 0; i < count; i++)
        parts[i] = value_id_some(e->ct[i])
                       ? e->ct[i]
                       : emit_zeros(e, e->build->code->values.type[e->y.row + i]);
    out_parts[0] = emit_stack(e->build, parts, count, INT_ATTR(UNSTACK, axis));
    scratch_end(scratch);
}

ValueId transpose_DYNAMIC_SLICE(Emit *e) {
    ValueId operands[3] = {emit_zeros(e, T(0)), CT, X(1)};
    return build_op(e->build, OP_DYNAMIC_UPDATE_SLICE, operands, 3, NULL);
}
ValueId transpose_DYNAMIC_UPDATE_SLICE(Emit *e) {
    if (e->operand == 0) {
        ValueId operands[3] = {CT, emit_zeros(e, T(1)), X(2)};
        return build_op(e->build, OP_DYNAMIC_UPDATE_SLICE, operands, 3, NULL);
    }
    DimId    sizes[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, T(1), sizes);
    uint64_t word = build_sizes(e->build, sizes, rank);
    ValueId  operands[2] = {CT, X(2)};
    return build_op(e->build, OP_DYNAMIC_SLICE, operands, 2, &word);
}

ValueId transpose_GATHER(Emit *e) {
    return emit_scatter(e, emit_zeros(e, T(0)), X(1), CT, SCATTER_ADD, e->attrs);
}
ValueId transpose_SCATTER(Emit *e) {
    uint64_t words[6];
    DimId    sizes[SHAPE_RANK_MAX], updates[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, T(0), sizes), k = 0;
    IntSpan  offset = attr_list(e, ATTR_SCATTER_offset_dims);
    IntSpan  collapsed = attr_list(e, ATTR_SCATTER_collapsed_dims),
            batch = attr_list(e, ATTR_SCATTER_batch_dims);
    if (e->operand == 0 && INT_ATTR(SCATTER, kind) == SCATTER_ADD) return CT;
    if (e->operand == 0) { /* set: what was overwritten gets nothing */
        ValueId operands[3] = {CT, X(1), emit_zeros(e, T(2))};
        return emit_like(e, operands);
    }
    (void)copy_dims(e, T(2), updates);
    for (uint32_t i = 0; i < rank; i++) {
        bool dropped = false;
        for (uint32_t j = 0; j < collapsed.count; j++) dropped |= collapsed.at[j] == i;
        for (uint32_t j = 0; j < batch.count; j++) dropped |= batch.at[j] == i;
        sizes[i] = dropped ? dims_const(&e->build->world->dims, 1) : updates[offset.at[k++]];
    }
    words[ATTR_GATHER_offset_dims] = e->attrs[ATTR_SCATTER_offset_dims];
    words[ATTR_GATHER_collapsed_dims] = e->attrs[ATTR_SCATTER_collapsed_dims];
    words[ATTR_GATHER_batch_dims] = e->attrs[ATTR_SCATTER_batch_dims];
    words[ATTR_GATHER_index_batch_dims] = e->attrs[ATTR_SCATTER_index_batch_dims];
    words[ATTR_GATHER_index_map] = e->attrs[ATTR_SCATTER_index_map];
    words[ATTR_GATHER_slice_sizes] = build_sizes(e->build, sizes, rank);
    ValueId operands[2] = {CT, X(1)};
    return build_op(e->build, OP_GATHER, operands, 2, words);
}

/* --- reductions ------------------------------------------------------------------------------- */
ValueId transpose_REDUCE(Emit *e) {
    IntSpan axes = attr_list(e, ATTR_REDUCE_axes);
    ASSERT(INT_ATTR(REDUCE, kind) == REDUCE_SUM);
    return build_spread(e->build, CT, X(0), axes.at, axes.count);
}
ValueId transpose_CUMULATIVE(Emit *e) {
    uint64_t words[3] = {REDUCE_SUM, e->attrs[ATTR_CUMULATIVE_axis],
                         !e->attrs[ATTR_CUMULATIVE_reverse]};
    return build_op(e->build, OP_CUMULATIVE, &CT, 1, words);
}

/* --- contractions ----------------------------------------------------------------------------- */
/* z[batch, x free, y free]. For x: contract CT with y over y's free axes, which gives
 * [batch, x free, contracted of y in y's axis order]; a transpose puts the axes back. */
static ValueId contract(Emit *e, const NarrowDot *how) {
    bool     for_x = e->operand == 0;
    uint32_t other = for_x ? 1 : 0;
    IntSpan  mine_b = attr_list(e, for_x ? ATTR_DOT_GENERAL_x_batch : ATTR_DOT_GENERAL_y_batch);
    IntSpan  mine_c =
        attr_list(e, for_x ? ATTR_DOT_GENERAL_x_contract : ATTR_DOT_GENERAL_y_contract);
    IntSpan their_b = attr_list(e, for_x ? ATTR_DOT_GENERAL_y_batch : ATTR_DOT_GENERAL_x_batch);
    IntSpan their_c =
        attr_list(e, for_x ? ATTR_DOT_GENERAL_y_contract : ATTR_DOT_GENERAL_x_contract);
    uint32_t rank = build_rank(e->build, X(e->operand)),
             other_rank = build_rank(e->build, X(other));
    uint32_t free_mine = rank - mine_b.count - mine_c.count;
    uint32_t first_other = mine_b.count + (for_x ? free_mine : 0); /* other's free axes in CT */
    uint32_t used = 0, their_used = 0;
    DotAxes  axes = {.batch = mine_b.count};
    int64_t  source[SHAPE_RANK_MAX]; /* of the new result's axes: which of my axes */
    uint32_t n = 0;
    for (uint32_t i = 0; i < mine_b.count; i++) {
        axes.x_batch[i] = i;
        axes.y_batch[i] = their_b.at[i];
        source[n++] = mine_b.at[i];
        used |= 1u << mine_b.at[i];
        their_used |= 1u << their_b.at[i];
    }
    for (uint32_t i = 0; i < mine_c.count; i++)
        used |= 1u << mine_c.at[i], their_used |= 1u << their_c.at[i];
    for (uint32_t i = 0; i < other_rank; i++) {
        if (their_used >> i & 1) continue;
        axes.x_contract[axes.contract] = first_other + axes.contract;
        axes.y_contract[axes.contract++] = i;
    }
    for (uint32_t i = 0; i < rank; i++)
        if (!(used >> i & 1)) source[n++] = i;
    for (uint32_t i = 0; i < other_rank; i++) /* contracted axes appear in the order of other */
        for (uint32_t k = 0; k < their_c.count; k++)
            if (their_c.at[k] == i) source[n++] = mine_c.at[k];
    ValueId dot = how != NULL ? build_narrow_dot(e->build, CT, X(other), &axes, *how)
                              : build_dot(e->build, CT, X(other), &axes);
    int64_t permutation[SHAPE_RANK_MAX];
    bool    identity = true;
    for (uint32_t i = 0; i < rank; i++) permutation[source[i]] = i;
    for (uint32_t i = 0; i < rank; i++) identity &= permutation[i] == i;
    return identity ? dot : build_transpose(e->build, dot, permutation, rank);
}
ValueId transpose_DOT_GENERAL(Emit *e) { return contract(e, NULL); }
/* Cotangents need range more than digits, unless blocks have factors of their own; the other
 * operand is as the product had it. Blocks lie along the sum: a cotangent of the matrix y, which
 * sums over rows of x, would need others. */
ValueId transpose_NARROW_DOT(Emit *e) {
    uint32_t wide = e->operand == 0 ? NARROW_WIDE_DX : NARROW_WIDE_DY;
    uint32_t other = e->operand == 0 ? ATTR_NARROW_DOT_y_dtype : ATTR_NARROW_DOT_x_dtype;
    uint32_t block = (uint32_t)INT_ATTR(NARROW_DOT, block);
    if (((uint32_t)INT_ATTR(NARROW_DOT, wide) & wide) || (block != 0 && e->operand == 1))
        return contract(e, NULL);
    Dtype     of_x = (Dtype)INT_ATTR(NARROW_DOT, x_dtype);
    NarrowDot how = {block != 0 ? of_x : DTYPE_F8E5M2, (Dtype)e->attrs[other], 0, block};
    return contract(e, &how);
}

/* [G a, b, ...] -> [G b, a, ...] or, with groups outside, the regrouping that the transposes
 * need. */
static ValueId regroup(Emit *e, ValueId x, uint32_t split_axis, DimId groups,
                       const int64_t *permutation, uint32_t merge_at) {
    Dims    *dims = &e->build->world->dims;
    DimId    old[SHAPE_RANK_MAX], split[SHAPE_RANK_MAX] = {{0}}, merged[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(e, build_type(e->build, x), old), n = 0, m = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (i == split_axis) {
            split[n++] = groups;
            split[n++] = dims_floordiv(dims, old[i], groups);
        } else {
            split[n++] = old[i];
        }
    }
    ValueId moved = build_transpose(e->build, build_reshape(e->build, x, split, n), permutation, n);
    for (uint32_t i = 0; i < n; i++) {
        DimId size = split[permutation[i]];
        if (i == merge_at + 1)
            merged[m - 1] = dims_mul(dims, merged[m - 1], size);
        else
            merged[m++] = size;
    }
    return build_reshape(e->build, moved, merged, m);
}

/* (n - 1) d + 1: reach of n taps at dilation d */
static DimId reach(Dims *dims, DimId n, int64_t dilation) {
    DimId one = dims_const(dims, 1);
    return dims_add(dims, dims_mul(dims, dims_sub(dims, n, one), dims_const(dims, dilation)), one);
}

typedef struct ConvGeometry {
    DimId    x[3], w[3], y[3], low[3];
    int64_t  stride[3], x_dilation[3], w_dilation[3];
    uint32_t spatial;
} ConvGeometry;

static ConvGeometry conv_geometry(Emit *e) {
    ConvGeometry g = {.spatial = build_rank(e->build, X(0)) - 2};
    IntSpan      low = attr_list(e, ATTR_CONVOLUTION_low),
            stride = attr_list(e, ATTR_CONVOLUTION_strides);
    IntSpan xd = attr_list(e, ATTR_CONVOLUTION_x_dilation),
            wd = attr_list(e, ATTR_CONVOLUTION_w_dilation);
    for (uint32_t i = 0; i < g.spatial; i++) {
        g.x[i] = build_dims(e->build, X(0))[i + 2];
        g.w[i] = build_dims(e->build, X(1))[i + 2];
        g.y[i] = build_dims(e->build, CT)[i + 2];
        g.low[i] = (DimId){(uint32_t)low.at[i]};
        g.stride[i] = stride.at[i];
        g.x_dilation[i] = xd.count ? xd.at[i] : 1;
        g.w_dilation[i] = wd.count ? wd.at[i] : 1;
    }
    return g;
}
static ValueId convolve(Emit *e, ValueId x, ValueId w, const ConvGeometry *g, const int64_t *stride,
                        const DimId *low, const DimId *high, const int64_t *x_dilation,
                        const int64_t *w_dilation, uint64_t groups) {
    uint64_t words[6];
    words[ATTR_CONVOLUTION_strides] = build_ints(e->build, stride, g->spatial);
    words[ATTR_CONVOLUTION_low] = build_sizes(e->build, low, g->spatial);
    words[ATTR_CONVOLUTION_high] = build_sizes(e->build, high, g->spatial);
    words[ATTR_CONVOLUTION_x_dilation] = build_ints(e->build, x_dilation, g->spatial);
    words[ATTR_CONVOLUTION_w_dilation] = build_ints(e->build, w_dilation, g->spatial);
    words[ATTR_CONVOLUTION_groups] = groups;
    ValueId operands[2] = {x, w};
    return build_op(e->build, OP_CONVOLUTION, operands, 2, words);
}

/* For x: convolve CT, dilated by the stride, with the reversed taps, inputs and outputs swapped in
 * each group. low' = reach(w) - low - 1; high' makes the result as long as x. Lengths that the
 * convolution divides are written (n - 1) d + 1, not spaced: that is exact for n = 0 as well. */
static ValueId conv_transpose_x(Emit *e) {
    Dims        *dims = &e->build->world->dims;
    ConvGeometry g = conv_geometry(e);
    DimId        groups = dims_const(dims, INT_ATTR(CONVOLUTION, groups)), low[3], high[3];
    int64_t      axes[3], permutation[SHAPE_RANK_MAX] = {0, 2, 1};
    for (uint32_t i = 0; i < g.spatial; i++) {
        DimId taps = reach(dims, g.w[i], g.w_dilation[i]), one = dims_const(dims, 1);
        axes[i] = i + 2;
        permutation[i + 3] = i + 3;
        low[i] = dims_sub(dims, dims_sub(dims, taps, g.low[i]), one);
        high[i] = dims_sub(
            dims, dims_add(dims, reach(dims, g.x[i], g.x_dilation[i]), dims_sub(dims, taps, one)),
            dims_add(dims, spaced(dims, g.y[i], g.stride[i] - 1), low[i]));
    }
    uint64_t word = build_ints(e->build, axes, g.spatial);
    ValueId  w = X(1), flipped = build_op(e->build, OP_REVERSE, &w, 1, &word);
    ValueId  swapped = regroup(e, flipped, 0, groups, permutation, 0); /* [G I, O/G, taps] */
    ValueId  back = convolve(e, CT, swapped, &g, g.x_dilation, low, high, g.stride, g.w_dilation,
                             e->attrs[ATTR_CONVOLUTION_groups]);
    return as_type(e, back, T(0));
}

/* For w: x and CT with batch as the summed channel: [I/G, G N] * [O, N] -> [I/G, O, taps]. */
static ValueId conv_transpose_w(Emit *e) {
    Dims        *dims = &e->build->world->dims;
    ConvGeometry g = conv_geometry(e);
    DimId        groups = dims_const(dims, INT_ATTR(CONVOLUTION, groups)), low[3], high[3];
    int64_t      x_axes[SHAPE_RANK_MAX] = {2, 1, 0}, swap[SHAPE_RANK_MAX] = {1, 0};
    for (uint32_t i = 0; i < g.spatial; i++) {
        x_axes[i + 3] = i + 3;
        swap[i + 2] = i + 2;
        low[i] = g.low[i];
        /* high' = reach(y) - spaced(x) + reach(w) - low - 1 */
        DimId extent = dims_sub(dims, reach(dims, g.y[i], g.stride[i]),
                                spaced(dims, g.x[i], g.x_dilation[i] - 1));
        high[i] = dims_sub(dims, dims_add(dims, extent, reach(dims, g.w[i], g.w_dilation[i])),
                           dims_add(dims, g.low[i], dims_const(dims, 1)));
    }
    uint32_t rank = g.spatial + 2;
    ValueId  x = regroup(e, X(0), 1, groups, x_axes, 1);     /* [I/G, G N, spatial] */
    ValueId  ct = build_transpose(e->build, CT, swap, rank); /* [O, N, spatial] */
    ValueId  dw = convolve(e, x, ct, &g, g.w_dilation, low, high, g.x_dilation, g.stride,
                           e->attrs[ATTR_CONVOLUTION_groups]);
    return as_type(e, build_transpose(e->build, dw, swap, rank), T(1));
}
ValueId transpose_CONVOLUTION(Emit *e) {
    return e->operand == 0 ? conv_transpose_x(e) : conv_transpose_w(e);
}

/* A sum over windows: spread CT by the stride, pad so that every window that saw an element sees it
 * again, and sum with stride 1. */
ValueId transpose_REDUCE_WINDOW(Emit *e) {
    Dims   *dims = &e->build->world->dims;
    IntSpan window = attr_list(e, ATTR_REDUCE_WINDOW_window),
            stride = attr_list(e, ATTR_REDUCE_WINDOW_strides);
    IntSpan low = attr_list(e, ATTR_REDUCE_WINDOW_low),
            dilation = attr_list(e, ATTR_REDUCE_WINDOW_dilation);
    uint32_t rank = build_rank(e->build, X(0)), lead = rank - window.count;
    DimId    before[SHAPE_RANK_MAX], after[SHAPE_RANK_MAX], none = dims_const(dims, 0),
                                                         zero[SHAPE_RANK_MAX];
    int64_t interior[SHAPE_RANK_MAX], ones[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) {
        before[i] = after[i] = none;
        interior[i] = 0;
        if (i < lead) continue;
        uint32_t j = i - lead;
        DimId    size = build_dims(e->build, X(0))[i], out = build_dims(e->build, CT)[i];
        DimId taps = dims_const(dims, (window.at[j] - 1) * (dilation.count ? dilation.at[j] : 1));
        interior[i] = stride.at[j] - 1;
        ones[j] = 1;
        zero[j] = none;
        before[i] = dims_sub(dims, taps, (DimId){(uint32_t)low.at[j]});
        after[i] = dims_sub(dims, dims_add(dims, size, taps),
                            dims_add(dims, spaced(dims, out, interior[i]), before[i]));
    }
    ValueId  spread = pad(e, CT, before, after, interior);
    uint64_t words[6] = {REDUCE_SUM,
                         e->attrs[ATTR_REDUCE_WINDOW_window],
                         build_ints(e->build, ones, window.count),
                         build_sizes(e->build, zero, window.count),
                         build_sizes(e->build, zero, window.count),
                         e->attrs[ATTR_REDUCE_WINDOW_dilation]};
    return as_type(e, build_op(e->build, OP_REDUCE_WINDOW, &spread, 1, words), T(0));
}

/* The same mask, because it depends on the seed and the stream only. */
ValueId transpose_DROPOUT(Emit *e) {
    ValueId operands[2] = {CT, X(1)};
    return emit_like(e, operands);
}
