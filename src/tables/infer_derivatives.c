/* Types of the rows that ask for higher derivatives. A derivative has the type of y; with R
 * directions, taylor gives [R] + that type. */
#include "tables/derivatives.h"
#include "tables/infer.h"

/* --- taylor ----------------------------------------------------------------------------------- */
/* Directions are shaped like their x, or all like [R] + that, R constant. */
static bool directions_ok(InferCtx *ctx, uint32_t n, DimId *out_size) {
    Types *types = &ctx->world->types;
    *out_size = (DimId){0};
    for (uint32_t i = 1; i <= n; i++) {
        if (!dtype_is_differentiable(infer_dtype(ctx, i)))
            return infer_fail_dtype(ctx, i, "a float");
        uint32_t rank = infer_rank(ctx, i);
        if (infer_rank(ctx, i + n) == rank) {
            if (!infer_types_same(ctx, i, i + n) || dim_id_some(*out_size))
                return infer_fail_types(ctx, i, i + n);
            continue;
        }
        if (infer_rank(ctx, i + n) != rank + 1 || infer_dtype(ctx, i) != infer_dtype(ctx, i + n) ||
            (i > 1 && !dim_id_some(*out_size)))
            return infer_fail_types(ctx, i, i + n);
        DimId size = infer_dim(ctx, i + n, 0);
        if (!dims_is_const(&ctx->world->dims, size))
            return infer_fail_rank(ctx, i + n,
                                   "with a first axis of constant size: the directions");
        for (uint32_t k = 0; k < rank; k++)
            if (!infer_sizes_same(ctx, "x and its directions",
                                  type_dims(types, infer_type(ctx, i))[k],
                                  infer_dim(ctx, i + n, k + 1)))
                return false;
        if (i > 1 && !infer_sizes_same(ctx, "numbers of directions", *out_size, size)) return false;
        *out_size = size;
    }
    return true;
}
void infer_taylor(InferCtx *ctx) {
    uint32_t n = (ctx->operands_count - 1) / 2, rank = infer_rank(ctx, 0);
    DimId    size, dims[SHAPE_RANK_MAX + 1];
    if (ctx->operands_count % 2 == 0) {
        (void)infer_fail_types(ctx, 0, ctx->operands_count - 1);
        return;
    }
    if (!directions_ok(ctx, n, &size)) return;
    if (ctx->results_count > DERIVATIVE_ORDER_MAX) {
        (void)infer_fail_attr(ctx, ATTR_TAYLOR_sum, "goes with at most 12 results: the order");
        return;
    }
    if (dim_id_some(size) && rank == SHAPE_RANK_MAX) {
        (void)infer_fail_rank(ctx, 0, "at most 7: directions take an axis");
        return;
    }
    dims[0] = size;
    for (uint32_t i = 0; i < rank; i++) dims[i + 1] = infer_dim(ctx, 0, i);
    bool sum = ctx->attrs[ATTR_TAYLOR_sum] != 0;
    for (uint32_t i = 0; i < ctx->results_count; i++) {
        bool one = !dim_id_some(size) || (sum && i + 1 == ctx->results_count);
        infer_set(ctx, i, infer_dtype(ctx, 0), dims + one, rank + !one);
    }
}

/* --- derivatives ------------------------------------------------------------------------------ */
void infer_derivatives(InferCtx *ctx) {
    const World *world = ctx->world;
    IntList      of = infer_list(ctx, ATTR_DERIVATIVES_of);
    String       axes =
        strings_get(&world->strings, (StrId){(uint32_t)ctx->attrs[ATTR_DERIVATIVES_axes]});
    uint32_t rank = infer_rank(ctx, 1);
    if (!infer_float_ok(ctx, 0) || !infer_float_ok(ctx, 1)) return;
    DimId size = rank == 0 ? (DimId){0} : infer_dim(ctx, 1, rank - 1);
    if (rank != 0 && !dims_is_const(&world->dims, size)) {
        (void)infer_fail_rank(ctx, 1, "0, or a last axis of constant size: the coordinates");
        return;
    }
    if (of.count != ctx->results_count) {
        (void)infer_fail_attr(ctx, ATTR_DERIVATIVES_of,
                              "needs as many entries as there are results");
        return;
    }
    Scratch         scratch = scratch_begin(NULL, 0);
    DerivativeTerms terms = {.arena = scratch.arena};
    const char     *wrong = NULL;
    uint32_t        coordinates = rank == 0 ? 1 : (uint32_t)dims_const_value(&world->dims, size);
    for (uint32_t i = 0; i < of.count && wrong == NULL; i++) {
        String request = strings_get(&world->strings, (StrId){(uint32_t)of.at[i]});
        wrong = derivatives_read(&terms, request, axes, coordinates, i);
    }
    if (wrong != NULL)
        (void)infer_fail_attr(ctx, ATTR_DERIVATIVES_of, wrong);
    else
        for (uint32_t i = 0; i < ctx->results_count; i++) ctx->out_types[i] = infer_type(ctx, 0);
    scratch_end(scratch);
}

/* --- jacobian --------------------------------------------------------------------------------- */
void infer_jacobian(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0), more = infer_rank(ctx, 1);
    DimId    dims[SHAPE_RANK_MAX];
    if (!infer_float_ok(ctx, 0) || !infer_float_ok(ctx, 1)) return;
    if (rank + more > SHAPE_RANK_MAX || rank == SHAPE_RANK_MAX || more == SHAPE_RANK_MAX) {
        (void)infer_fail_rank(ctx, 1, "so that y and x have at most 8 axes, and none has them all");
        return;
    }
    for (uint32_t i = 0; i < rank + more; i++)
        dims[i] = i < rank ? infer_dim(ctx, 0, i) : infer_dim(ctx, 1, i - rank);
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank + more);
}

/* --- vmap ------------------------------------------------------------------------------------- */
/* An axis, or `least` (-1 or 0) at least. */
static bool axis_in(InferCtx *ctx, int64_t axis, int64_t least, uint32_t rank) {
    return (axis >= least && axis < (int64_t)rank) || infer_fail_axis(ctx, axis, rank);
}
/* X[.., size, ..] of x; a batch without samples has the type of x. */
static bool batch_ok(InferCtx *ctx, uint32_t x, uint32_t batch, int64_t axis, DimId *size) {
    uint32_t rank = infer_rank(ctx, x);
    if (axis < 0) return infer_types_same(ctx, x, batch);
    if (infer_dtype(ctx, x) != infer_dtype(ctx, batch) || infer_rank(ctx, batch) != rank + 1)
        return infer_fail_types(ctx, x, batch);
    for (uint32_t i = 0; i < rank; i++)
        if (!infer_sizes_same(ctx, "x and a sample of its batch", infer_dim(ctx, x, i),
                              infer_dim(ctx, batch, i + (i >= axis))))
            return false;
    DimId of = infer_dim(ctx, batch, (uint32_t)axis);
    if (dim_id_some(*size) && !infer_sizes_same(ctx, "numbers of samples", *size, of)) return false;
    *size = of;
    return true;
}
void infer_vmap(InferCtx *ctx) {
    uint32_t results = ctx->results_count, n = (ctx->operands_count - results) / 2;
    IntList  axes = infer_list(ctx, ATTR_VMAP_axes), outs = infer_list(ctx, ATTR_VMAP_out_axes);
    DimId    size = {0}, dims[SHAPE_RANK_MAX];
    if (ctx->operands_count < results + 2 || (ctx->operands_count - results) % 2 != 0) {
        (void)infer_fail_types(ctx, 0, ctx->operands_count - 1);
        return;
    }
    if ((axes.count != 0 && axes.count != n) || (outs.count != 0 && outs.count != results)) {
        (void)infer_fail_attr(
            ctx, axes.count != 0 && axes.count != n ? ATTR_VMAP_axes : ATTR_VMAP_out_axes,
            "needs an entry for each batch, or for each result");
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        int64_t axis = axes.count != 0 ? axes.at[i] : 0;
        if (!axis_in(ctx, axis, -1, infer_rank(ctx, results + i) + 1) ||
            !batch_ok(ctx, results + i, results + n + i, axis, &size))
            return;
    }
    if (!dim_id_some(size)) {
        (void)infer_fail_attr(ctx, ATTR_VMAP_axes, "has no batch: one entry must not be -1");
        return;
    }
    for (uint32_t i = 0; i < results; i++) {
        uint32_t rank = infer_rank(ctx, i), next = 0;
        int64_t  axis = outs.count != 0 ? outs.at[i] : 0;
        if (rank == SHAPE_RANK_MAX) {
            (void)infer_fail_rank(ctx, i, "at most 7: samples take an axis");
            return;
        }
        if (!axis_in(ctx, axis, 0, rank + 1)) return;
        for (uint32_t k = 0; k <= rank; k++) dims[k] = k == axis ? size : infer_dim(ctx, i, next++);
        infer_set(ctx, i, infer_dtype(ctx, i), dims, rank + 1);
    }
}

/* --- unstack ---------------------------------------------------------------------------------- */
void infer_unstack(InferCtx *ctx) {
    int64_t  axis = (int64_t)ctx->attrs[ATTR_UNSTACK_axis];
    uint32_t rank = infer_rank(ctx, 0), kept = 0;
    DimId    dims[SHAPE_RANK_MAX];
    if (!infer_axis_ok(ctx, axis, rank)) return;
    if (!infer_sizes_same(ctx, "an axis and the number of results",
                          infer_dim(ctx, 0, (uint32_t)axis),
                          dims_const(&ctx->world->dims, ctx->results_count)))
        return;
    for (uint32_t i = 0; i < rank; i++)
        if (i != axis) dims[kept++] = infer_dim(ctx, 0, i);
    for (uint32_t i = 0; i < ctx->results_count; i++)
        infer_set(ctx, i, infer_dtype(ctx, 0), dims, kept);
}
