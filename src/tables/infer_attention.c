/* Rules of the composites that are trained without their largest intermediate: attention (no scores
 * in memory) and the cross entropy of a linear layer (no logits), each with its tangent and the
 * transpose of that.
 *
 * What derivative rules emit is checked as strictly as what users write: programs are read from
 * files. */
#include "tables/infer.h"

/* Whether operand b has the type of operand a. */
static bool same_type(InferCtx *ctx, uint32_t a, uint32_t b) { return infer_types_same(ctx, a, b); }
/* Whether operand has this dtype and these sizes. */
static bool has_type(InferCtx *ctx, uint32_t operand, Dtype dtype, const DimId *dims,
                     uint32_t rank) {
    if (infer_dtype(ctx, operand) != dtype)
        return infer_fail_dtype(ctx, operand, dtype_infos[dtype].name);
    if (infer_rank(ctx, operand) != rank)
        return infer_fail_rank(ctx, operand, "that of the result it belongs to");
    for (uint32_t i = 0; i < rank; i++)
        if (!infer_sizes_same(ctx, "an operand and the result it belongs to differ",
                              infer_dim(ctx, operand, i), dims[i]))
            return false;
    return true;
}

/* --- attention -------------------------------------------------------------------------------- */
/* Key heads are query heads, or a divisor of them. */
static bool heads_ok(InferCtx *ctx, DimId queries, DimId keys) {
    return infer_multiple(ctx, "the heads of q are no multiple of those of k", queries, keys);
}
static bool leading_ok(InferCtx *ctx, uint32_t rank) {
    for (uint32_t i = 0; i + 2 < rank; i++) {
        DimId q = infer_dim(ctx, 0, i), k = infer_dim(ctx, 1, i), v = infer_dim(ctx, 2, i);
        bool  heads = i + 3 == rank;
        if (!infer_sizes_same(ctx, "leading axes of k and v differ", k, v)) return false;
        if (heads ? !heads_ok(ctx, q, k) : !infer_sizes_same(ctx, "leading axes differ", q, k))
            return false;
    }
    return true;
}
/* Checks q, k and v; out_dims: those of y. */
static bool attention_ok(InferCtx *ctx, DimId *out_dims) {
    uint32_t rank = infer_rank(ctx, 0);
    if (!infer_float_ok(ctx, 0) || !infer_dtypes_same(ctx, 0, 1) || !infer_dtypes_same(ctx, 0, 2))
        return false;
    if (rank < 2) return infer_fail_rank(ctx, 0, "at least 2");
    for (uint32_t i = 1; i < 3; i++)
        if (infer_rank(ctx, i) != rank)
            return infer_fail_rank(ctx, i, "at least 2, the same for q, k and v");
    if (!leading_ok(ctx, rank) ||
        !infer_sizes_same(ctx, "q and k differ in width", infer_dim(ctx, 0, rank - 1),
                          infer_dim(ctx, 1, rank - 1)) ||
        !infer_sizes_same(ctx, "k and v differ in length", infer_dim(ctx, 1, rank - 2),
                          infer_dim(ctx, 2, rank - 2)))
        return false;
    for (uint32_t i = 0; i + 1 < rank; i++) out_dims[i] = infer_dim(ctx, 0, i);
    out_dims[rank - 1] = infer_dim(ctx, 2, rank - 1);
    return true;
}
static void set_attention(InferCtx *ctx, const DimId *dims) {
    Dtype dtype = infer_dtype(ctx, 0);
    infer_set(ctx, 0, dtype, dims, infer_rank(ctx, 0));
    infer_set(ctx, 1, dtype_compute(dtype), dims, infer_rank(ctx, 0) - 1);
}
/* The operands q k v y lse. */
static bool attended_ok(InferCtx *ctx, DimId *dims) {
    return attention_ok(ctx, dims) &&
           has_type(ctx, 3, infer_dtype(ctx, 0), dims, infer_rank(ctx, 0)) &&
           has_type(ctx, 4, dtype_compute(infer_dtype(ctx, 0)), dims, infer_rank(ctx, 0) - 1);
}
void infer_attention(InferCtx *ctx) {
    DimId dims[SHAPE_RANK_MAX];
    if (attention_ok(ctx, dims)) set_attention(ctx, dims);
}
void infer_attention_tangent(InferCtx *ctx) {
    DimId dims[SHAPE_RANK_MAX];
    if (attended_ok(ctx, dims) && same_type(ctx, 0, 5) && same_type(ctx, 1, 6) &&
        same_type(ctx, 2, 7))
        set_attention(ctx, dims);
}
/* The operands q k v y lse dy; gives dq, dk and dv their types. */
static bool gradient_ok(InferCtx *ctx) {
    DimId dims[SHAPE_RANK_MAX];
    if (!attended_ok(ctx, dims) || !same_type(ctx, 3, 5)) return false;
    for (uint32_t i = 0; i < 3; i++) ctx->out_types[i] = infer_type(ctx, i);
    return true;
}
void infer_attention_grad(InferCtx *ctx) {
    if (ctx->operands_count > 6 && !same_type(ctx, 4, 6)) return;
    (void)gradient_ok(ctx);
}
void infer_attention_grad_sums(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    if (rank == 2) {
        (void)infer_fail_rank(ctx, 0, "at least 3");
        return;
    }
    if (!gradient_ok(ctx) || !same_type(ctx, 0, 1) || !same_type(ctx, 0, 2)) return;
    DimId dims[3] = {dims_const(&ctx->world->dims, 3), infer_dim(ctx, 0, rank - 3),
                     infer_dim(ctx, 0, rank - 1)};
    infer_set(ctx, 3, infer_dtype(ctx, 0), dims, 3);
}

/* --- cross entropy of a linear layer ---------------------------------------------------------- */
static bool entropy_ok(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    if (!infer_float_ok(ctx, 0) || !infer_dtypes_same(ctx, 0, 1)) return false;
    if (!dtype_is_int(infer_dtype(ctx, 2))) return infer_fail_dtype(ctx, 2, "an integer");
    if (rank == 0) return infer_fail_rank(ctx, 0, "at least 1");
    if (infer_rank(ctx, 1) != 2) return infer_fail_rank(ctx, 1, "2");
    if (infer_rank(ctx, 2) != rank - 1) return infer_fail_rank(ctx, 2, "one less than x");
    for (uint32_t i = 0; i + 1 < rank; i++)
        if (!infer_sizes_same(ctx, "x and labels differ", infer_dim(ctx, 0, i),
                              infer_dim(ctx, 2, i)))
            return false;
    return infer_sizes_same(ctx, "inputs of x and weight differ", infer_dim(ctx, 0, rank - 1),
                            infer_dim(ctx, 1, 1));
}
static void set_entropy(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    Dtype    dtype = infer_dtype(ctx, 0);
    uint32_t rank = infer_rank(ctx, 2);
    for (uint32_t i = 0; i < rank; i++) dims[i] = infer_dim(ctx, 2, i);
    infer_set(ctx, 0, dtype, dims, rank);
    infer_set(ctx, 1, dtype_compute(dtype), dims, rank);
}
/* Whether an operand has a number of this dtype for each label. */
static bool rows_ok(InferCtx *ctx, uint32_t operand, Dtype dtype) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = infer_rank(ctx, 2);
    for (uint32_t i = 0; i < rank; i++) dims[i] = infer_dim(ctx, 2, i);
    return has_type(ctx, operand, dtype, dims, rank);
}
void infer_linear_cross_entropy(InferCtx *ctx) {
    if (entropy_ok(ctx)) set_entropy(ctx);
}
void infer_linear_cross_entropy_tangent(InferCtx *ctx) {
    if (entropy_ok(ctx) && rows_ok(ctx, 3, dtype_compute(infer_dtype(ctx, 0))) &&
        same_type(ctx, 0, 4) && same_type(ctx, 1, 5))
        set_entropy(ctx);
}
void infer_linear_cross_entropy_grad(InferCtx *ctx) {
    Dtype dtype = infer_dtype(ctx, 0);
    if (!entropy_ok(ctx) || !rows_ok(ctx, 3, dtype_compute(dtype)) || !rows_ok(ctx, 4, dtype))
        return;
    if (ctx->operands_count > 5 && !rows_ok(ctx, 5, dtype_compute(dtype))) return;
    for (uint32_t i = 0; i < 2; i++) ctx->out_types[i] = infer_type(ctx, i);
}
