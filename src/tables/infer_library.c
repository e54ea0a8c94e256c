/* Rules of contractions, windows and factorisations, on symbolic sizes.
 *
 * Window sizes are never below 0: a window that does not fit gives an empty result, not an error,
 * because symbols may take any size. */
#include "tables/build.h"
#include "tables/infer.h"

void infer_dot_general(InferCtx *ctx) {
    IntList xb = infer_list(ctx, ATTR_DOT_GENERAL_x_batch),
            yb = infer_list(ctx, ATTR_DOT_GENERAL_y_batch);
    IntList  xc = infer_list(ctx, ATTR_DOT_GENERAL_x_contract);
    IntList  yc = infer_list(ctx, ATTR_DOT_GENERAL_y_contract);
    uint32_t x_rank = infer_rank(ctx, 0), y_rank = infer_rank(ctx, 1), rank = 0;
    DimId    dims[2 * SHAPE_RANK_MAX];
    Dtype    x = infer_dtype(ctx, 0), y = infer_dtype(ctx, 1);
    bool     narrow = dtype_is_f8(x) && dtype_is_f8(y);
    if (x != y && !narrow) {
        (void)infer_fail_types(ctx, 0, 1);
        return;
    }
    if (xb.count != yb.count || xc.count != yc.count) {
        (void)infer_fail_attr(ctx, ATTR_DOT_GENERAL_y_contract,
                              "x and y need as many axes of each kind");
        return;
    }
    if (!infer_axes_ok(ctx, xb, x_rank) || !infer_axes_ok(ctx, yb, y_rank) ||
        !infer_axes_ok(ctx, xc, x_rank) || !infer_axes_ok(ctx, yc, y_rank))
        return;
    uint32_t x_used = 0, y_used = 0;
    for (uint32_t i = 0; i < xb.count + xc.count; i++) {
        uint32_t a = (uint32_t)(i < xb.count ? xb.at[i] : xc.at[i - xb.count]);
        uint32_t b = (uint32_t)(i < xb.count ? yb.at[i] : yc.at[i - xb.count]);
        if ((x_used >> a & 1) || (y_used >> b & 1)) {
            (void)infer_fail_axis(ctx, a, x_rank);
            return;
        }
        x_used |= 1u << a;
        y_used |= 1u << b;
        if (!infer_sizes_same(ctx, "contracted and batch axes must agree", infer_dim(ctx, 0, a),
                              infer_dim(ctx, 1, b)))
            return;
        if (i < xb.count) dims[rank++] = infer_dim(ctx, 0, a);
    }
    for (uint32_t i = 0; i < x_rank; i++)
        if (!(x_used >> i & 1)) dims[rank++] = infer_dim(ctx, 0, i);
    for (uint32_t i = 0; i < y_rank; i++)
        if (!(y_used >> i & 1)) dims[rank++] = infer_dim(ctx, 1, i);
    if (rank > SHAPE_RANK_MAX)
        (void)infer_fail_rank(ctx, 0, "a result of rank at most 8");
    else
        infer_set(ctx, 0, narrow ? DTYPE_BF16 : x, dims, rank);
}
/* Whether a size is cut into whole blocks. */
static bool is_cut(InferCtx *ctx, uint32_t operand, uint32_t axis) {
    const Dims *dims = &ctx->world->dims;
    DimId       size = infer_dim(ctx, operand, axis);
    return dims_is_const(dims, size) && dims_const_value(dims, size) % NARROW_BLOCK == 0;
}
/* Blocks are cut from rows of x, along their sum with the rows or columns of a matrix. */
static bool blocks_ok(InferCtx *ctx) {
    IntList  x = infer_list(ctx, ATTR_DOT_GENERAL_x_contract);
    uint32_t rank = infer_rank(ctx, 0);
    if (ctx->attrs[ATTR_NARROW_DOT_block] != NARROW_BLOCK)
        return infer_fail_attr(ctx, ATTR_NARROW_DOT_block, "is neither 0 nor 128");
    if (infer_list(ctx, ATTR_DOT_GENERAL_x_batch).count != 0)
        return infer_fail_attr(ctx, ATTR_NARROW_DOT_x_batch, "is not empty: blocks take no batch");
    if (rank == 0 || rank == SHAPE_RANK_MAX || infer_rank(ctx, 1) != 2)
        return infer_fail_rank(ctx, infer_rank(ctx, 1) != 2, "1 to 7, that of y 2");
    if (x.count != 1 || x.at[0] + 1 != rank)
        return infer_fail_attr(ctx, ATTR_NARROW_DOT_x_contract, "is not the last axis of x alone");
    if (!is_cut(ctx, 0, rank - 1) || !is_cut(ctx, 1, 0) || !is_cut(ctx, 1, 1))
        return infer_fail_attr(ctx, ATTR_NARROW_DOT_block,
                               "does not divide the last size of x and both of y");
    return ctx->operands_count == 2 || infer_fail_rank(ctx, 2, "none: blocks find their factors");
}
void infer_narrow_dot(InferCtx *ctx) { /* its first attributes are those of dot_general */
    static const uint32_t narrow[] = {ATTR_NARROW_DOT_x_dtype, ATTR_NARROW_DOT_y_dtype};
    for (uint32_t i = 0; i < 2; i++) {
        Dtype dtype = infer_dtype(ctx, i);
        if (dtype != DTYPE_F32 && dtype != DTYPE_BF16) {
            (void)infer_fail_dtype(ctx, i, "f32 or bf16");
            return;
        }
        if (!dtype_is_f8((Dtype)ctx->attrs[narrow[i]])) {
            (void)infer_fail_attr(ctx, narrow[i], "is not an 8-bit float");
            return;
        }
    }
    if (ctx->attrs[ATTR_NARROW_DOT_block] != 0 && !blocks_ok(ctx)) return;
    for (uint32_t i = 2; i < ctx->operands_count; i++) {
        if (ctx->operands_count != 6 || infer_rank(ctx, i) != 0) {
            (void)infer_fail_rank(ctx, i, "0, for two factors and two scales");
            return;
        }
        if (infer_dtype(ctx, i) != DTYPE_F32) {
            (void)infer_fail_dtype(ctx, i, "f32");
            return;
        }
    }
    infer_dot_general(ctx);
}

void infer_dot_add(InferCtx *ctx) { /* its attributes are those of dot_general */
    const Types *types = &ctx->world->types;
    DimId        dims[SHAPE_RANK_MAX];
    infer_dot_general(ctx);
    TypeId made = ctx->out_types[0];
    if (!type_id_some(made)) return;
    uint32_t rank = type_rank(types, made);
    Dtype    dtype = dtype_compute(type_dtype(types, made));
    memcpy(dims, type_dims(types, made), rank * sizeof *dims);
    ctx->out_types[0] = (TypeId){0};
    if (!infer_float_ok(ctx, 0)) return;
    if (ctx->operands_count > 2) {
        if (infer_dtype(ctx, 2) != dtype) {
            (void)infer_fail_dtype(ctx, 2, "that of sums");
            return;
        }
        if (infer_rank(ctx, 2) != rank) {
            (void)infer_fail_rank(ctx, 2, "that of the product");
            return;
        }
        for (uint32_t i = 0; i < rank; i++)
            if (!infer_sizes_same(ctx, "sum and product differ", infer_dim(ctx, 2, i), dims[i]))
                return;
    }
    infer_set(ctx, 0, dtype, dims, rank);
}

/* Output size of a window: floor((padded - reach) / stride) + 1 with reach = (window-1) dilation +
 * 1, never below 0 for sizes that leave no room. */
static DimId window_size(InferCtx *ctx, DimId size, int64_t x_dilation, DimId low, DimId high,
                         DimId window, int64_t dilation, int64_t stride) {
    Dims *all = &ctx->world->dims;
    DimId one = dims_const(all, 1);
    if (x_dilation > 1) {
        DimId gaps = dims_max(all, dims_sub(all, size, one), dims_const(all, 0));
        size = dims_add(all, size, dims_mul(all, gaps, dims_const(all, x_dilation - 1)));
    }
    DimId reach = dims_mul(all, dims_sub(all, window, one), dims_const(all, dilation));
    DimId room = dims_add(all, dims_add(all, size, low),
                          dims_sub(all, high, reach)); /* padded - reach + 1 */
    DimId count =
        stride == 1
            ? room
            : dims_add(all, dims_floordiv(all, dims_sub(all, room, one), dims_const(all, stride)),
                       one);
    return dims_max(all, count, dims_const(all, 0));
}

static bool positive(InferCtx *ctx, uint32_t attr, uint32_t count, bool or_empty) {
    if (!infer_list_count(ctx, attr, count, or_empty)) return false;
    IntList list = infer_list(ctx, attr);
    for (uint32_t i = 0; i < list.count; i++)
        if (list.at[i] < 1) return infer_fail_attr(ctx, attr, "must be at least 1");
    return true;
}

void infer_convolution(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0), spatial = rank - 2;
    IntList  strides = infer_list(ctx, ATTR_CONVOLUTION_strides);
    IntList  low = infer_list(ctx, ATTR_CONVOLUTION_low),
            high = infer_list(ctx, ATTR_CONVOLUTION_high);
    IntList xd = infer_list(ctx, ATTR_CONVOLUTION_x_dilation);
    IntList wd = infer_list(ctx, ATTR_CONVOLUTION_w_dilation);
    int64_t groups = (int64_t)ctx->attrs[ATTR_CONVOLUTION_groups];
    Dims   *all = &ctx->world->dims;
    DimId   dims[SHAPE_RANK_MAX];
    if (rank < 3 || rank > 5 || infer_rank(ctx, 1) != rank) {
        (void)infer_fail_rank(ctx, rank < 3 || rank > 5 ? 0 : 1, "3 to 5, the same for x and w");
        return;
    }
    if (infer_dtype(ctx, 0) != infer_dtype(ctx, 1)) {
        (void)infer_fail_types(ctx, 0, 1);
        return;
    }
    if (!positive(ctx, ATTR_CONVOLUTION_strides, spatial, false) ||
        !infer_list_count(ctx, ATTR_CONVOLUTION_low, spatial, false) ||
        !infer_list_count(ctx, ATTR_CONVOLUTION_high, spatial, false) ||
        !positive(ctx, ATTR_CONVOLUTION_x_dilation, spatial, true) ||
        !positive(ctx, ATTR_CONVOLUTION_w_dilation, spatial, true))
        return;
    if (groups < 1) {
        (void)infer_fail_attr(ctx, ATTR_CONVOLUTION_groups, "must be at least 1");
        return;
    }
    DimId by = dims_const(all, groups), channels = dims_mul(all, infer_dim(ctx, 1, 1), by);
    if (!dim_id_some(channels)) {
        (void)infer_fail_dim(ctx);
        return;
    }
    if (!infer_sizes_same(ctx, "channels of x must be groups x channels of w", infer_dim(ctx, 0, 1),
                          channels) ||
        !infer_multiple(ctx, "groups must divide the outputs of w: outputs and groups",
                        infer_dim(ctx, 1, 0), by))
        return;
    dims[0] = infer_dim(ctx, 0, 0);
    dims[1] = infer_dim(ctx, 1, 0);
    for (uint32_t i = 0; i < spatial; i++)
        dims[i + 2] = window_size(ctx, infer_dim(ctx, 0, i + 2), xd.count ? xd.at[i] : 1,
                                  (DimId){(uint32_t)low.at[i]}, (DimId){(uint32_t)high.at[i]},
                                  infer_dim(ctx, 1, i + 2), wd.count ? wd.at[i] : 1, strides.at[i]);
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, rank);
}

/* Windows over the last axes: shared by reduce_window and the pooling composites, whose attribute
 * lists have the same order (window, strides, low, high) from `first`. */
static void set_windowed(InferCtx *ctx, uint32_t first, uint32_t dilation_attr, Dtype dtype) {
    IntList  window = infer_list(ctx, first), strides = infer_list(ctx, first + 1);
    IntList  low = infer_list(ctx, first + 2), high = infer_list(ctx, first + 3);
    IntList  dilation = dilation_attr ? infer_list(ctx, dilation_attr) : (IntList){NULL, 0};
    uint32_t rank = infer_rank(ctx, 0), k = window.count;
    DimId    dims[SHAPE_RANK_MAX];
    if (k == 0 || k > rank) {
        (void)infer_fail_attr(ctx, first, "has the wrong number of entries for the rank");
        return;
    }
    if (!positive(ctx, first, k, false) || !positive(ctx, first + 1, k, false) ||
        !infer_list_count(ctx, first + 2, k, false) ||
        !infer_list_count(ctx, first + 3, k, false) ||
        (dilation_attr && !positive(ctx, dilation_attr, k, true)))
        return;
    for (uint32_t i = 0; i < rank; i++) {
        dims[i] = infer_dim(ctx, 0, i);
        if (i < rank - k) continue;
        uint32_t j = i - (rank - k);
        dims[i] =
            window_size(ctx, dims[i], 1, (DimId){(uint32_t)low.at[j]},
                        (DimId){(uint32_t)high.at[j]}, dims_const(&ctx->world->dims, window.at[j]),
                        dilation.count ? dilation.at[j] : 1, strides.at[j]);
    }
    infer_set(ctx, 0, dtype, dims, rank);
}
void infer_reduce_window(InferCtx *ctx) {
    ReduceKind kind = (ReduceKind)ctx->attrs[ATTR_REDUCE_WINDOW_kind];
    bool       position = kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN;
    if (kind != REDUCE_SUM && kind != REDUCE_MAX && kind != REDUCE_MIN && !position)
        (void)infer_fail_attr(ctx, ATTR_REDUCE_WINDOW_kind, "must be sum max min argmax argmin");
    else
        set_windowed(ctx, ATTR_REDUCE_WINDOW_window, ATTR_REDUCE_WINDOW_dilation,
                     position ? DTYPE_I64 : infer_dtype(ctx, 0));
}
void infer_pool(InferCtx *ctx) {
    if (!dtype_is_float(infer_dtype(ctx, 0)))
        (void)infer_fail_dtype(ctx, 0, "a float");
    else
        set_windowed(ctx, 0, 0, infer_dtype(ctx, 0));
}

/* --- factorisations: over the last two axes --------------------------------------------------- */
static bool matrix_ok(InferCtx *ctx, uint32_t operand, bool is_square) {
    uint32_t rank = infer_rank(ctx, operand);
    if (!dtype_is_differentiable(infer_dtype(ctx, operand)))
        return infer_fail_dtype(ctx, operand, "a float");
    if (rank < 2) return infer_fail_rank(ctx, operand, "at least 2");
    DimId rows = infer_dim(ctx, operand, rank - 2), columns = infer_dim(ctx, operand, rank - 1);
    return !is_square || infer_sizes_same(ctx, "the matrix must be square", rows, columns);
}
/* dtype[batch..., a, b]; b nil: one axis fewer. */
static void set_matrix(InferCtx *ctx, uint32_t result, Dtype dtype, DimId a, DimId b) {
    uint32_t batch = infer_rank(ctx, 0) - 2;
    DimId    dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < batch; i++) dims[i] = infer_dim(ctx, 0, i);
    dims[batch] = a;
    if (dim_id_some(b)) dims[batch + 1] = b;
    infer_set(ctx, result, dtype, dims, batch + 1 + dim_id_some(b));
}
void infer_square(InferCtx *ctx) {
    if (matrix_ok(ctx, 0, true)) ctx->out_types[0] = infer_type(ctx, 0);
}
void infer_triangular_solve(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, true) || !matrix_ok(ctx, 1, false)) return;
    uint32_t rank = infer_rank(ctx, 0);
    if (infer_dtype(ctx, 0) != infer_dtype(ctx, 1)) {
        (void)infer_fail_types(ctx, 0, 1);
        return;
    }
    if (infer_rank(ctx, 1) != rank) {
        (void)infer_fail_rank(ctx, 1, "that of a");
        return;
    }
    for (uint32_t i = 0; i + 2 < rank; i++)
        if (!infer_sizes_same(ctx, "the batch axes of the operands differ", infer_dim(ctx, 0, i),
                              infer_dim(ctx, 1, i)))
            return;
    if (infer_sizes_same(ctx, "rows of a and b differ", infer_dim(ctx, 0, rank - 1),
                         infer_dim(ctx, 1, rank - 2)))
        ctx->out_types[0] = infer_type(ctx, 1);
}
void infer_lu(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, true)) return;
    ctx->out_types[0] = infer_type(ctx, 0);
    set_matrix(ctx, 1, DTYPE_I64, infer_dim(ctx, 0, infer_rank(ctx, 0) - 1), (DimId){0});
}
void infer_det(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, true)) return;
    const DimId *dims = type_dims(&ctx->world->types, infer_type(ctx, 0));
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, infer_rank(ctx, 0) - 2);
}
static DimId shorter(InferCtx *ctx) {
    uint32_t rank = infer_rank(ctx, 0);
    return dims_min(&ctx->world->dims, infer_dim(ctx, 0, rank - 2), infer_dim(ctx, 0, rank - 1));
}
void infer_qr(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, false)) return;
    uint32_t rank = infer_rank(ctx, 0);
    set_matrix(ctx, 0, infer_dtype(ctx, 0), infer_dim(ctx, 0, rank - 2), shorter(ctx));
    set_matrix(ctx, 1, infer_dtype(ctx, 0), shorter(ctx), infer_dim(ctx, 0, rank - 1));
}
void infer_eigh(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, true)) return;
    set_matrix(ctx, 0, infer_dtype(ctx, 0), infer_dim(ctx, 0, infer_rank(ctx, 0) - 1), (DimId){0});
    ctx->out_types[1] = infer_type(ctx, 0);
}
void infer_svd(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, false)) return;
    uint32_t rank = infer_rank(ctx, 0);
    set_matrix(ctx, 0, infer_dtype(ctx, 0), infer_dim(ctx, 0, rank - 2), shorter(ctx));
    set_matrix(ctx, 1, infer_dtype(ctx, 0), shorter(ctx), (DimId){0});
    set_matrix(ctx, 2, infer_dtype(ctx, 0), shorter(ctx), infer_dim(ctx, 0, rank - 1));
}
void infer_eig(InferCtx *ctx) {
    if (!matrix_ok(ctx, 0, true)) return;
    uint32_t rank = infer_rank(ctx, 0);
    Dtype dtype = infer_dtype(ctx, 0) == DTYPE_F64 || infer_dtype(ctx, 0) == DTYPE_C128 ? DTYPE_C128
                                                                                        : DTYPE_C64;
    set_matrix(ctx, 0, dtype, infer_dim(ctx, 0, rank - 1), (DimId){0});
    set_matrix(ctx, 1, dtype, infer_dim(ctx, 0, rank - 1), infer_dim(ctx, 0, rank - 1));
}
void infer_fft(InferCtx *ctx) {
    FftKind  kind = (FftKind)ctx->attrs[ATTR_FFT_kind];
    IntList  sizes = infer_list(ctx, ATTR_FFT_sizes);
    uint32_t rank = infer_rank(ctx, 0);
    Dtype    dtype = infer_dtype(ctx, 0);
    Dims    *all = &ctx->world->dims;
    DimId    dims[SHAPE_RANK_MAX];
    bool     wants_real = kind == FFT_REAL_FORWARD;
    if (sizes.count == 0 || sizes.count > rank) {
        (void)infer_fail_attr(ctx, ATTR_FFT_sizes, "has the wrong number of entries for the rank");
        return;
    }
    if (wants_real ? (dtype != DTYPE_F32 && dtype != DTYPE_F64) : !dtype_is_complex(dtype)) {
        (void)infer_fail_dtype(ctx, 0, wants_real ? "f32 or f64" : "complex");
        return;
    }
    if (kind >= FFT_KIND_COUNT) {
        (void)infer_fail_attr(ctx, ATTR_FFT_kind, "is not a kind of transform");
        return;
    }
    for (uint32_t i = 0; i < rank; i++) dims[i] = infer_dim(ctx, 0, i);
    DimId last = {(uint32_t)sizes.at[sizes.count - 1]};
    DimId half = dims_add(all, dims_floordiv(all, last, dims_const(all, 2)), dims_const(all, 1));
    for (uint32_t i = 0; i < sizes.count; i++) { /* of real ones half and one more is kept */
        bool  folded = kind == FFT_REAL_INVERSE && i + 1 == sizes.count;
        DimId size = folded ? half : (DimId){(uint32_t)sizes.at[i]};
        if (!infer_sizes_same(ctx, "the operand does not have the transformed size",
                              dims[rank - sizes.count + i], size))
            return;
    }
    dims[rank - 1] = kind == FFT_REAL_FORWARD ? half : last;
    Dtype out = dtype;
    if (kind == FFT_REAL_FORWARD) out = dtype == DTYPE_F32 ? DTYPE_C64 : DTYPE_C128;
    if (kind == FFT_REAL_INVERSE) out = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
    infer_set(ctx, 0, out, dims, rank);
}
