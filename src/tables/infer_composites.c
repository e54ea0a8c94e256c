/* Rules of the composites: what a layer accepts and gives.
 *
 * They are stricter than their expansions would be, so that the message names the layer the user
 * wrote and not a row inside it. */
#include "tables/build.h"
#include "tables/infer.h"

static bool vector_of(InferCtx *ctx, uint32_t operand, DimId size) {
    if (infer_rank(ctx, operand) != 1) return infer_fail_rank(ctx, operand, "1");
    return infer_sizes_same(ctx, "the vector does not match its axis", infer_dim(ctx, operand, 0),
                            size);
}
static uint32_t copy_dims(InferCtx *ctx, uint32_t operand, DimId *dims) {
    uint32_t rank = infer_rank(ctx, operand);
    for (uint32_t i = 0; i < rank; i++) dims[i] = infer_dim(ctx, operand, i);
    return rank;
}

void infer_mean(InferCtx *ctx) {
    IntList  axes = infer_list(ctx, 0);
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = 0, removed = 0;
    if (!infer_float_ok(ctx, 0) || !infer_axes_ascending(ctx, axes, infer_rank(ctx, 0))) return;
    for (uint32_t i = 0; i < axes.count; i++) removed |= 1u << axes.at[i];
    for (uint32_t i = 0; i < infer_rank(ctx, 0); i++)
        if (!(removed >> i & 1)) dims[rank++] = infer_dim(ctx, 0, i);
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}
void infer_axis_float(InferCtx *ctx) {
    if (infer_float_ok(ctx, 0) && infer_axis_ok(ctx, (int64_t)ctx->attrs[0], infer_rank(ctx, 0)))
        ctx->out_types[0] = infer_type(ctx, 0);
}
void infer_one_hot(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 0, dims);
    Dtype    dtype = (Dtype)ctx->attrs[ATTR_ONE_HOT_dtype];
    if (!dtype_is_int(infer_dtype(ctx, 0)))
        (void)infer_fail_dtype(ctx, 0, "an integer");
    else if (rank == SHAPE_RANK_MAX)
        (void)infer_fail_rank(ctx, 0, "at most 7");
    else if (dtype <= DTYPE_NIL || dtype >= DTYPE_COUNT)
        (void)infer_fail_attr(ctx, 1, "is not a dtype");
    else {
        dims[rank] = (DimId){(uint32_t)ctx->attrs[ATTR_ONE_HOT_size]};
        infer_set(ctx, 0, dtype, dims, rank + 1);
    }
}
void infer_cross_entropy(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 0, dims);
    if (!infer_float_ok(ctx, 0)) return;
    if (!dtype_is_int(infer_dtype(ctx, 1))) {
        (void)infer_fail_dtype(ctx, 1, "an integer");
        return;
    }
    if (rank == 0 || infer_rank(ctx, 1) != rank - 1) {
        (void)infer_fail_rank(ctx, 1, "one less than the logits");
        return;
    }
    for (uint32_t i = 0; i + 1 < rank; i++)
        if (!infer_sizes_same(ctx, "logits and labels differ", dims[i], infer_dim(ctx, 1, i)))
            return;
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank - 1);
}
void infer_norm(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    if (!infer_float_ok(ctx, 0)) return;
    if (rank == 0) {
        (void)infer_fail_rank(ctx, 0, "at least 1");
        return;
    }
    for (uint32_t i = 1; i < ctx->operands_count; i++)
        if (!infer_dtypes_same(ctx, 0, i) || !vector_of(ctx, i, infer_dim(ctx, 0, rank - 1)))
            return;
    ctx->out_types[0] = infer_type(ctx, 0);
}
void infer_batch_norm(InferCtx *ctx) {
    if (!infer_float_ok(ctx, 0)) return;
    if (infer_rank(ctx, 0) < 2) {
        (void)infer_fail_rank(ctx, 0, "at least 2");
        return;
    }
    for (uint32_t i = 1; i < 5; i++)
        if (!infer_dtypes_same(ctx, 0, i) || !vector_of(ctx, i, infer_dim(ctx, 0, 1))) return;
    ctx->out_types[0] = infer_type(ctx, 0);
    ctx->out_types[1] = infer_type(ctx, 3);
    ctx->out_types[2] = infer_type(ctx, 4);
}
void infer_linear(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 0, dims);
    if (!infer_dtypes_same(ctx, 0, 1)) return;
    if (rank == 0 || infer_rank(ctx, 1) != 2) {
        (void)infer_fail_rank(ctx, rank == 0 ? 0 : 1, rank == 0 ? "at least 1" : "2");
        return;
    }
    if (!infer_sizes_same(ctx, "inputs of x and weight differ", dims[rank - 1],
                          infer_dim(ctx, 1, 1)))
        return;
    dims[rank - 1] = infer_dim(ctx, 1, 0);
    if (ctx->operands_count == 3 &&
        (!infer_dtypes_same(ctx, 0, 2) || !vector_of(ctx, 2, dims[rank - 1])))
        return;
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}
void infer_matmul(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 0, dims), y_rank = infer_rank(ctx, 1);
    if (!infer_dtypes_same(ctx, 0, 1)) return;
    if (rank < 2 || y_rank < 2 || (y_rank != 2 && y_rank != rank)) {
        (void)infer_fail_rank(ctx, rank < 2 ? 0 : 1, rank < 2 ? "at least 2" : "2 or that of x");
        return;
    }
    for (uint32_t i = 0; y_rank > 2 && i + 2 < rank; i++)
        if (!infer_sizes_same(ctx, "leading axes differ", dims[i], infer_dim(ctx, 1, i))) return;
    if (!infer_sizes_same(ctx, "inner sizes differ", dims[rank - 1], infer_dim(ctx, 1, y_rank - 2)))
        return;
    dims[rank - 1] = infer_dim(ctx, 1, y_rank - 1);
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}
/* Scales of 8-bit floats, the last operands from this one on: scalars. */
static bool scales_ok(InferCtx *ctx, uint32_t first) {
    if (first < 2) return infer_fail_rank(ctx, 0, "at least 1, of two operands and their scales");
    for (uint32_t i = first; i < ctx->operands_count; i++) {
        if (infer_dtype(ctx, i) != DTYPE_F32) return infer_fail_dtype(ctx, i, "f32");
        if (ctx->attrs[ATTR_DOT_BIAS_block] == 0 && infer_rank(ctx, i) != 0)
            return infer_fail_rank(ctx, i, "0, the scales being last");
    }
    return true;
}
/* Or [K/128, ...] of x and [N/128, K/128 in fours] of y[N,K]; x_dims with N as the last. */
static bool block_scales_ok(InferCtx *ctx, uint32_t first, const DimId *dims, uint32_t rank) {
    Dims *all = &ctx->world->dims;
    DimId inner = infer_dim(ctx, 0, rank - 1), block = dims_const(all, NARROW_BLOCK);
    DimId four = dims_const(all, 4), blocks = dims_floordiv(all, inner, block);
    DimId fours = dims_mul(all, dims_ceildiv(all, blocks, four), four);
    if (ctx->attrs[ATTR_DOT_BIAS_block] != NARROW_BLOCK)
        return infer_fail_attr(ctx, ATTR_DOT_BIAS_block, "is neither 0 nor 128");
    if (!infer_sizes_same(ctx, "the sum is not cut into whole blocks of 128",
                          dims_mul(all, blocks, block), inner))
        return false;
    if (infer_rank(ctx, first) != rank) return infer_fail_rank(ctx, first, "that of x");
    if (infer_rank(ctx, first + 1) != 2) return infer_fail_rank(ctx, first + 1, "2");
    for (uint32_t i = 0; i < rank; i++)
        if (!infer_sizes_same(ctx, "x_scale has not a scale for each block of x",
                              infer_dim(ctx, first, i), i == 0 ? blocks : dims[i - 1]))
            return false;
    const char *what = "y_scale has not a scale for each block of y";
    return infer_sizes_same(ctx, what, infer_dim(ctx, first + 1, 0),
                            dims_ceildiv(all, dims[rank - 1], block)) &&
           infer_sizes_same(ctx, what, infer_dim(ctx, first + 1, 1), fours);
}
/* x y and, third, what is done to each element of their product: a vector along its last axis, or
 * a value of its type. All results are of that type. */
void infer_dot_epilogue(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 0, dims), across = ctx->attrs[0] != 0;
    bool     vector = ctx->opcode != OP_DOT_GELU_GRAD, scaled = vector && ctx->attrs[1] != 0;
    uint32_t count = ctx->operands_count - (scaled ? 2 : 0);
    Dtype    dtype = scaled ? DTYPE_BF16 : infer_dtype(ctx, 0);
    if (scaled) {
        for (uint32_t i = 0; i < 2; i++)
            if (!dtype_is_f8(infer_dtype(ctx, i))) {
                (void)infer_fail_dtype(ctx, i, "an 8-bit float");
                return;
            }
        if (!scales_ok(ctx, count)) return;
    } else if (!infer_float_ok(ctx, 0) || !infer_dtypes_same(ctx, 0, 1)) {
        return;
    }
    if (rank == 0 || infer_rank(ctx, 1) != 2) {
        (void)infer_fail_rank(ctx, rank == 0 ? 0 : 1, rank == 0 ? "at least 1" : "2");
        return;
    }
    if (!infer_sizes_same(ctx, "inner sizes differ", dims[rank - 1], infer_dim(ctx, 1, across)))
        return;
    dims[rank - 1] = infer_dim(ctx, 1, !across);
    if (scaled && ctx->attrs[ATTR_DOT_BIAS_block] != 0 && !block_scales_ok(ctx, count, dims, rank))
        return;
    if (count > 3) {
        (void)infer_fail_rank(ctx, 3, "none: scales are for 8-bit floats");
        return;
    }
    if (count > 2) {
        if (infer_dtype(ctx, 2) != dtype) {
            (void)infer_fail_dtype(ctx, 2, "that of the product");
            return;
        }
        if (vector && !vector_of(ctx, 2, dims[rank - 1])) return;
        if (!vector && infer_rank(ctx, 2) != rank) {
            (void)infer_fail_rank(ctx, 2, "that of the product");
            return;
        }
        for (uint32_t i = 0; !vector && i < rank; i++)
            if (!infer_sizes_same(ctx, "a and the product differ", infer_dim(ctx, 2, i), dims[i]))
                return;
    }
    for (uint32_t i = 0; i < op_infos[ctx->opcode].results; i++)
        infer_set(ctx, i, dtype, dims, rank);
}
void infer_embedding(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = copy_dims(ctx, 1, dims);
    if (!dtype_is_int(infer_dtype(ctx, 1)))
        (void)infer_fail_dtype(ctx, 1, "an integer");
    else if (infer_rank(ctx, 0) != 2)
        (void)infer_fail_rank(ctx, 0, "2");
    else if (rank == SHAPE_RANK_MAX)
        (void)infer_fail_rank(ctx, 1, "at most 7");
    else {
        dims[rank] = infer_dim(ctx, 0, 1);
        infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank + 1);
    }
}
/* The shape of what stands at operand 1 of the array, operand 0; false after a diagnostic. */
static bool rows_of_array(InferCtx *ctx, DimId *out_dims, uint32_t *out_rank) {
    uint32_t rank = infer_rank(ctx, 0), several = infer_rank(ctx, 1);
    if (rank == 0) return infer_fail_rank(ctx, 0, "at least 1");
    if (!dtype_is_int(infer_dtype(ctx, 1))) return infer_fail_dtype(ctx, 1, "an integer");
    if (several > 1) return infer_fail_rank(ctx, 1, "0 or 1");
    *out_rank = 0;
    if (several == 1) out_dims[(*out_rank)++] = infer_dim(ctx, 1, 0);
    for (uint32_t i = 1; i < rank; i++) out_dims[(*out_rank)++] = infer_dim(ctx, 0, i);
    return true;
}
void infer_array_read(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank;
    if (rows_of_array(ctx, dims, &rank)) infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}
void infer_array_write(InferCtx *ctx) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank;
    if (!rows_of_array(ctx, dims, &rank)) return;
    if (infer_dtype(ctx, 2) != infer_dtype(ctx, 0)) {
        (void)infer_fail_types(ctx, 0, 2);
    } else if (infer_rank(ctx, 2) != rank) {
        (void)infer_fail_rank(ctx, 2, "that of the rows of the array");
    } else {
        for (uint32_t i = 0; i < rank; i++)
            if (!infer_sizes_same(ctx, "x and the rows of the array", dims[i],
                                  infer_dim(ctx, 2, i)))
                return;
        ctx->out_types[0] = infer_type(ctx, 0);
    }
}
void infer_dropout(InferCtx *ctx) {
    double rate = word_f64(ctx->attrs[ATTR_DROPOUT_rate]);
    if (!infer_float_ok(ctx, 0)) return;
    if (!(rate >= 0 && rate < 1))
        (void)infer_fail_attr(ctx, ATTR_DROPOUT_rate, "must be in [0, 1)");
    else if (infer_dtype(ctx, 1) != DTYPE_I64)
        (void)infer_fail_dtype(ctx, 1, "i64");
    else if (infer_rank(ctx, 1) != 0)
        (void)infer_fail_rank(ctx, 1, "a scalar");
    else
        ctx->out_types[0] = infer_type(ctx, 0);
}
void infer_global_norm(InferCtx *ctx) {
    for (uint32_t i = 0; i < ctx->operands_count; i++)
        if (!infer_float_ok(ctx, i) || !infer_dtypes_same(ctx, 0, i)) return;
    infer_set(ctx, 0, infer_dtype(ctx, 0), NULL, 0);
}
/* parameter gradient state... rate [step]: tensors alike, the rest scalars of the same dtype. */
void infer_optimizer(InferCtx *ctx) {
    uint32_t tensors = 1 + ctx->results_count;
    for (uint32_t i = 1; i < ctx->operands_count; i++) {
        if (!infer_dtypes_same(ctx, 0, i)) return;
        if (i >= tensors && infer_rank(ctx, i) != 0) {
            (void)infer_fail_rank(ctx, i, "a scalar");
            return;
        }
        if (i < tensors && !infer_types_same(ctx, 0, i)) return;
    }
    ctx->out_types[0] = infer_type(ctx, 0);
    for (uint32_t i = 1; i < ctx->results_count; i++) ctx->out_types[i] = infer_type(ctx, i + 1);
}
