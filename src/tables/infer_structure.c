/* Rules of operators that change shapes: views, slicing, indexing, reductions, sorting.
 *
 * What cannot be decided on symbols (does this slice fit?) is checked when sizes are bound
 * (bind.c). */
#include "tables/infer.h"

void infer_broadcast_in_dim(InferCtx *ctx) {
    IntList shape = infer_list(ctx, ATTR_BROADCAST_IN_DIM_shape);
    IntList axes = infer_list(ctx, ATTR_BROADCAST_IN_DIM_axes);
    DimId   dims[SHAPE_RANK_MAX];
    if (shape.count > SHAPE_RANK_MAX) {
        (void)infer_fail_attr(ctx, ATTR_BROADCAST_IN_DIM_shape, "has too many axes");
        return;
    }
    if (!infer_list_count(ctx, ATTR_BROADCAST_IN_DIM_axes, infer_rank(ctx, 0), false) ||
        !infer_axes_ascending(ctx, axes, shape.count))
        return;
    for (uint32_t i = 0; i < shape.count; i++) dims[i] = (DimId){(uint32_t)shape.at[i]};
    for (uint32_t i = 0; i < axes.count; i++) {
        DimId from = infer_dim(ctx, 0, i), to = dims[axes.at[i]];
        bool  one = dims_same(&ctx->world->dims, from, dims_const(&ctx->world->dims, 1));
        if (!one && !infer_sizes_same(ctx, "an axis can be repeated only from size 1", from, to))
            return;
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, shape.count);
}

static DimId elements(InferCtx *ctx, const DimId *dims, uint32_t rank) {
    DimId count = dims_const(&ctx->world->dims, 1);
    for (uint32_t i = 0; i < rank && dim_id_some(count); i++)
        count = dims_mul(&ctx->world->dims, count, dims[i]);
    return count;
}

void infer_reshape(InferCtx *ctx) {
    IntList shape = infer_list(ctx, ATTR_RESHAPE_shape);
    DimId   dims[SHAPE_RANK_MAX];
    if (shape.count > SHAPE_RANK_MAX) {
        (void)infer_fail_attr(ctx, ATTR_RESHAPE_shape, "has too many axes");
        return;
    }
    for (uint32_t i = 0; i < shape.count; i++) dims[i] = (DimId){(uint32_t)shape.at[i]};
    DimId before =
        elements(ctx, type_dims(&ctx->world->types, infer_type(ctx, 0)), infer_rank(ctx, 0));
    DimId after = elements(ctx, dims, shape.count);
    if (!dim_id_some(before) || !dim_id_some(after))
        (void)infer_fail_dim(ctx);
    else if (infer_sizes_same(ctx, "the number of elements would change", before, after))
        infer_set(ctx, 0, infer_dtype(ctx, 0), dims, shape.count);
}

void infer_transpose(InferCtx *ctx) {
    IntList permutation = infer_list(ctx, ATTR_TRANSPOSE_permutation);
    DimId   dims[SHAPE_RANK_MAX];
    if (!infer_list_count(ctx, ATTR_TRANSPOSE_permutation, infer_rank(ctx, 0), false) ||
        !infer_axes_ok(ctx, permutation, infer_rank(ctx, 0)))
        return;
    for (uint32_t i = 0; i < permutation.count; i++)
        dims[i] = infer_dim(ctx, 0, (uint32_t)permutation.at[i]);
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, permutation.count);
}

void infer_slice(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    IntList  starts = infer_list(ctx, ATTR_SLICE_starts),
            limits = infer_list(ctx, ATTR_SLICE_limits);
    IntList strides = infer_list(ctx, ATTR_SLICE_strides);
    Dims   *all = &ctx->world->dims;
    DimId   dims[SHAPE_RANK_MAX];
    if (!infer_list_count(ctx, ATTR_SLICE_starts, rank, false) ||
        !infer_list_count(ctx, ATTR_SLICE_limits, rank, false) ||
        !infer_list_count(ctx, ATTR_SLICE_strides, rank, true))
        return;
    for (uint32_t i = 0; i < rank; i++) {
        DimId   start = {(uint32_t)starts.at[i]}, limit = {(uint32_t)limits.at[i]};
        int64_t stride = strides.count ? strides.at[i] : 1;
        if (stride < 1) {
            (void)infer_fail_attr(ctx, ATTR_SLICE_strides, "must be at least 1");
            return;
        }
        DimId extent = dims_sub(all, limit, start);
        if (!dim_id_some(extent)) {
            (void)infer_fail_dim(ctx);
            return;
        }
        if (!infer_at_most(ctx, "a slice starts at 0 or later", dims_const(all, 0), start) ||
            !infer_at_most(ctx, "a slice starts before its limit", start, limit) ||
            !infer_at_most(ctx, "the slice leaves the operand: limit and size", limit,
                           infer_dim(ctx, 0, i)))
            return;
        dims[i] = stride == 1 ? extent : dims_ceildiv(all, extent, dims_const(all, stride));
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}

void infer_pad(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    IntList  low = infer_list(ctx, ATTR_PAD_low), high = infer_list(ctx, ATTR_PAD_high);
    IntList  interior = infer_list(ctx, ATTR_PAD_interior);
    Dims    *all = &ctx->world->dims;
    DimId    dims[SHAPE_RANK_MAX];
    if (infer_rank(ctx, 1) != 0) {
        (void)infer_fail_rank(ctx, 1, "a scalar");
        return;
    }
    if (infer_dtype(ctx, 0) != infer_dtype(ctx, 1)) {
        (void)infer_fail_types(ctx, 0, 1);
        return;
    }
    if (!infer_list_count(ctx, ATTR_PAD_low, rank, false) ||
        !infer_list_count(ctx, ATTR_PAD_high, rank, false) ||
        !infer_list_count(ctx, ATTR_PAD_interior, rank, true))
        return;
    for (uint32_t i = 0; i < rank; i++) {
        int64_t gap = interior.count ? interior.at[i] : 0;
        DimId   size = infer_dim(ctx, 0, i), one = dims_const(all, 1);
        if (gap < 0) {
            (void)infer_fail_attr(ctx, ATTR_PAD_interior, "must not be negative");
            return;
        }
        if (gap > 0) { /* size + max(size - 1, 0) x gap */
            DimId gaps = dims_max(all, dims_sub(all, size, one), dims_const(all, 0));
            size = dims_add(all, size, dims_mul(all, gaps, dims_const(all, gap)));
        }
        size = dims_add(all, size, (DimId){(uint32_t)low.at[i]});
        if (dim_id_some(size)) size = dims_add(all, size, (DimId){(uint32_t)high.at[i]});
        dims[i] = size;
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}

void infer_concat(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    int64_t  axis = (int64_t)ctx->attrs[ATTR_CONCAT_axis];
    DimId    dims[SHAPE_RANK_MAX];
    if (!infer_axis_ok(ctx, axis, rank)) return;
    for (uint32_t i = 0; i < rank; i++) dims[i] = infer_dim(ctx, 0, i);
    for (uint32_t k = 1; k < ctx->operands_count; k++) {
        if (infer_rank(ctx, k) != rank || infer_dtype(ctx, k) != infer_dtype(ctx, 0)) {
            (void)infer_fail_types(ctx, 0, k);
            return;
        }
        for (uint32_t i = 0; i < rank; i++) {
            if (i == axis)
                dims[i] = dims_add(&ctx->world->dims, dims[i], infer_dim(ctx, k, i));
            else if (!infer_sizes_same(ctx, "axes that are not joined differ", dims[i],
                                       infer_dim(ctx, k, i)))
                return;
            if (!dim_id_some(dims[i])) {
                (void)infer_fail_dim(ctx);
                return;
            }
        }
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}

static bool starts_ok(InferCtx *ctx, uint32_t operand) {
    Dims *dims = &ctx->world->dims;
    if (infer_dtype(ctx, operand) != DTYPE_I64) return infer_fail_dtype(ctx, operand, "i64");
    if (infer_rank(ctx, operand) != 1) return infer_fail_rank(ctx, operand, "1");
    DimId rank = dims_const(dims, infer_rank(ctx, 0));
    return infer_sizes_same(ctx, "one start per axis is needed", infer_dim(ctx, operand, 0), rank);
}
static const char larger_slice[] = "the slice is larger than the operand";

void infer_dynamic_slice(InferCtx *ctx) {
    IntList sizes = infer_list(ctx, 0);
    DimId   dims[SHAPE_RANK_MAX];
    if (!starts_ok(ctx, 1) || !infer_list_count(ctx, 0, infer_rank(ctx, 0), false)) return;
    for (uint32_t i = 0; i < sizes.count; i++) {
        dims[i] = (DimId){(uint32_t)sizes.at[i]};
        if (!infer_at_most(ctx, larger_slice, dims[i], infer_dim(ctx, 0, i))) return;
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, sizes.count);
}
void infer_dynamic_update_slice(InferCtx *ctx) {
    if (!starts_ok(ctx, 2)) return;
    if (infer_rank(ctx, 1) != infer_rank(ctx, 0))
        (void)infer_fail_rank(ctx, 1, "that of x");
    else if (infer_dtype(ctx, 1) != infer_dtype(ctx, 0))
        (void)infer_fail_types(ctx, 0, 1);
    else {
        for (uint32_t i = 0; i < infer_rank(ctx, 0); i++)
            if (!infer_at_most(ctx, larger_slice, infer_dim(ctx, 1, i), infer_dim(ctx, 0, i)))
                return;
        ctx->out_types[0] = infer_type(ctx, 0);
    }
}

static bool has(IntList list, int64_t number) {
    for (uint32_t i = 0; i < list.count; i++)
        if (list.at[i] == number) return true;
    return false;
}

/* Gather and scatter share their geometry: axes of the indices (all but the last) that are not
 * batch-mapped differently appear in order at the result axes outside offset_dims. */
typedef struct IndexGeometry {
    IntList offset_dims, collapsed, batch, index_batch, index_map;
} IndexGeometry;

static bool geometry_ok(InferCtx *ctx, const IndexGeometry *g, uint32_t index_map_attr) {
    uint32_t rank = infer_rank(ctx, 0), index_rank = infer_rank(ctx, 1);
    Dims    *dims = &ctx->world->dims;
    if (!dtype_is_int(infer_dtype(ctx, 1))) return infer_fail_dtype(ctx, 1, "an integer");
    if (index_rank == 0)
        return infer_fail_rank(ctx, 1, "at least 1: the last axis holds components");
    DimId components = infer_dim(ctx, 1, index_rank - 1);
    DimId mapped = dims_const(dims, g->index_map.count);
    if (!infer_sizes_same(ctx, "the last axis of indices must match index_map", components, mapped))
        return false;
    if (!infer_axes_ok(ctx, g->index_map, rank) || !infer_axes_ascending(ctx, g->collapsed, rank) ||
        !infer_axes_ok(ctx, g->batch, rank) || !infer_axes_ok(ctx, g->index_batch, index_rank - 1))
        return false;
    if (g->batch.count != g->index_batch.count)
        return infer_fail_attr(ctx, index_map_attr - 1, "must pair with batch_dims");
    for (uint32_t i = 0; i < g->batch.count; i++) {
        DimId a = infer_dim(ctx, 0, (uint32_t)g->batch.at[i]);
        DimId b = infer_dim(ctx, 1, (uint32_t)g->index_batch.at[i]);
        if (!infer_sizes_same(ctx, "batch axes differ", a, b)) return false;
        if (has(g->collapsed, g->batch.at[i]) || has(g->index_map, g->batch.at[i]))
            return infer_fail_axis(ctx, g->batch.at[i], rank);
    }
    if (g->collapsed.count + g->batch.count + g->offset_dims.count != rank)
        return infer_fail_attr(ctx, index_map_attr,
                               "collapsed, batch and offset axes must cover x");
    return true;
}

void infer_gather(InferCtx *ctx) {
    IndexGeometry g = {
        infer_list(ctx, ATTR_GATHER_offset_dims), infer_list(ctx, ATTR_GATHER_collapsed_dims),
        infer_list(ctx, ATTR_GATHER_batch_dims), infer_list(ctx, ATTR_GATHER_index_batch_dims),
        infer_list(ctx, ATTR_GATHER_index_map)};
    IntList  sizes = infer_list(ctx, ATTR_GATHER_slice_sizes);
    uint32_t rank = infer_rank(ctx, 0), index_rank = infer_rank(ctx, 1);
    if (!geometry_ok(ctx, &g, ATTR_GATHER_index_map) ||
        !infer_list_count(ctx, ATTR_GATHER_slice_sizes, rank, false))
        return;
    uint32_t out_rank = index_rank - 1 + g.offset_dims.count;
    if (out_rank > SHAPE_RANK_MAX) {
        (void)infer_fail_rank(ctx, 1, "so that the result has rank at most 8");
        return;
    }
    if (!infer_axes_ascending(ctx, g.offset_dims, out_rank)) return;
    DimId    dims[SHAPE_RANK_MAX], one = dims_const(&ctx->world->dims, 1);
    uint32_t from_x = 0, from_index = 0;
    for (uint32_t i = 0; i < rank; i++) {
        DimId size = {(uint32_t)sizes.at[i]};
        bool  dropped = has(g.collapsed, i) || has(g.batch, i);
        if (dropped &&
            !infer_sizes_same(ctx, "a collapsed or batch axis needs slice size 1", size, one))
            return;
    }
    for (uint32_t i = 0; i < out_rank; i++) {
        if (has(g.offset_dims, i)) {
            while (has(g.collapsed, from_x) || has(g.batch, from_x)) from_x++;
            dims[i] = (DimId){(uint32_t)sizes.at[from_x++]};
        } else {
            dims[i] = infer_dim(ctx, 1, from_index++);
        }
    }
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, out_rank);
}

void infer_scatter(InferCtx *ctx) {
    IndexGeometry g = {
        infer_list(ctx, ATTR_SCATTER_offset_dims), infer_list(ctx, ATTR_SCATTER_collapsed_dims),
        infer_list(ctx, ATTR_SCATTER_batch_dims), infer_list(ctx, ATTR_SCATTER_index_batch_dims),
        infer_list(ctx, ATTR_SCATTER_index_map)};
    if (!geometry_ok(ctx, &g, ATTR_SCATTER_index_map)) return;
    if (infer_dtype(ctx, 0) != infer_dtype(ctx, 2)) {
        (void)infer_fail_types(ctx, 0, 2);
        return;
    }
    uint32_t out_rank = infer_rank(ctx, 1) - 1 + g.offset_dims.count, from_index = 0;
    if (infer_rank(ctx, 2) != out_rank) {
        (void)infer_fail_rank(ctx, 2, "the index axes plus the offset axes");
        return;
    }
    if (!infer_axes_ascending(ctx, g.offset_dims, out_rank)) return;
    for (uint32_t i = 0; i < out_rank; i++) {
        if (has(g.offset_dims, i)) continue;
        DimId a = infer_dim(ctx, 2, i), b = infer_dim(ctx, 1, from_index++);
        if (!infer_sizes_same(ctx, "updates and indices differ", a, b)) return;
    }
    ctx->out_types[0] = infer_type(ctx, 0);
}

void infer_dim_size(InferCtx *ctx) {
    if (infer_axis_ok(ctx, (int64_t)ctx->attrs[ATTR_DIM_SIZE_axis], infer_rank(ctx, 0)))
        infer_set(ctx, 0, DTYPE_I64, NULL, 0);
}

void infer_dynamic_shape(InferCtx *ctx) {
    IntList sizes = infer_list(ctx, 0), axes = {NULL, 0};
    DimId   dims[SHAPE_RANK_MAX];
    bool    repeats = ctx->opcode == OP_DYNAMIC_BROADCAST;
    if (infer_dtype(ctx, 1) != DTYPE_I64) {
        (void)infer_fail_dtype(ctx, 1, "i64");
        return;
    }
    if (infer_rank(ctx, 1) != 1) {
        (void)infer_fail_rank(ctx, 1, "1");
        return;
    }
    if (sizes.count > SHAPE_RANK_MAX) {
        (void)infer_fail_attr(ctx, 0, "has too many axes");
        return;
    }
    if (!infer_sizes_same(ctx, "one size per axis is needed", infer_dim(ctx, 1, 0),
                          dims_const(&ctx->world->dims, sizes.count)))
        return;
    if (repeats) axes = infer_list(ctx, ATTR_DYNAMIC_BROADCAST_axes);
    if (repeats &&
        (!infer_list_count(ctx, ATTR_DYNAMIC_BROADCAST_axes, infer_rank(ctx, 0), false) ||
         !infer_axes_ascending(ctx, axes, sizes.count)))
        return;
    for (uint32_t i = 0; i < sizes.count; i++) dims[i] = (DimId){(uint32_t)sizes.at[i]};
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, sizes.count);
}

/* --- reductions ------------------------------------------------------------------------------- */
static void set_without_axes(InferCtx *ctx, IntList axes, Dtype dtype) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < infer_rank(ctx, 0); i++)
        if (!has(axes, i)) dims[rank++] = infer_dim(ctx, 0, i);
    infer_set(ctx, 0, dtype, dims, rank);
}
void infer_reduce(InferCtx *ctx) {
    ReduceKind kind = (ReduceKind)ctx->attrs[ATTR_REDUCE_kind];
    IntList    axes = infer_list(ctx, ATTR_REDUCE_axes);
    Dtype      dtype = infer_dtype(ctx, 0);
    bool       logical = kind == REDUCE_AND || kind == REDUCE_OR;
    if (kind > REDUCE_OR)
        (void)infer_fail_attr(ctx, ATTR_REDUCE_kind, "must be sum prod max min and or");
    else if (logical && dtype != DTYPE_BOOL && !dtype_is_int(dtype))
        (void)infer_fail_dtype(ctx, 0, "bool or an integer");
    else if ((kind == REDUCE_SUM || kind == REDUCE_PROD) && dtype == DTYPE_BOOL)
        (void)infer_fail_dtype(ctx, 0, "a number");
    else if (infer_axes_ascending(ctx, axes, infer_rank(ctx, 0)))
        set_without_axes(ctx, axes, dtype);
}
void infer_arg_reduce(InferCtx *ctx) {
    ReduceKind kind = (ReduceKind)ctx->attrs[ATTR_ARG_REDUCE_kind];
    int64_t    axis = (int64_t)ctx->attrs[ATTR_ARG_REDUCE_axis];
    if (kind != REDUCE_MAX && kind != REDUCE_MIN)
        (void)infer_fail_attr(ctx, ATTR_ARG_REDUCE_kind, "must be max or min");
    else if (infer_axis_ok(ctx, axis, infer_rank(ctx, 0)))
        set_without_axes(ctx, (IntList){&axis, 1}, DTYPE_I64);
}
void infer_sort(InferCtx *ctx) {
    if (!infer_axis_ok(ctx, (int64_t)ctx->attrs[ATTR_SORT_axis], infer_rank(ctx, 0))) return;
    for (uint32_t k = 1; k < ctx->operands_count; k++) {
        if (infer_rank(ctx, k) != infer_rank(ctx, 0)) {
            (void)infer_fail_rank(ctx, k, "that of the keys");
            return;
        }
        for (uint32_t i = 0; i < infer_rank(ctx, 0); i++)
            if (!infer_sizes_same(ctx, "keys and values differ", infer_dim(ctx, 0, i),
                                  infer_dim(ctx, k, i)))
                return;
    }
    infer_each(ctx);
}
void infer_compact(InferCtx *ctx) {
    DimId dims[SHAPE_RANK_MAX];
    if (infer_dtype(ctx, 0) != DTYPE_BOOL) {
        (void)infer_fail_dtype(ctx, 0, "bool");
        return;
    }
    if (infer_rank(ctx, 0) != 1 || infer_rank(ctx, 1) == 0) {
        (void)infer_fail_rank(ctx, 0, "1, and x at least 1");
        return;
    }
    if (!infer_sizes_same(ctx, "mask and rows differ", infer_dim(ctx, 0, 0), infer_dim(ctx, 1, 0)))
        return;
    for (uint32_t i = 0; i < infer_rank(ctx, 1); i++) dims[i] = infer_dim(ctx, 1, i);
    dims[0] = (DimId){(uint32_t)ctx->attrs[ATTR_COMPACT_size]};
    infer_set(ctx, 0, infer_dtype(ctx, 1), dims, infer_rank(ctx, 1));
    infer_set(ctx, 1, DTYPE_I64, NULL, 0);
}
