/* The public operator builders. Generated from src/tables/opcodes.def by
 * tools/make_ops_header; do not edit.
 * Each packs its arguments and appends one row through api_op (program.c). */
/* clang-format off */
#include "api/program.h"

StoaValue stoa_neg(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 1, operands, 1, NULL);
}

StoaValue stoa_abs(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 2, operands, 1, NULL);
}

StoaValue stoa_sign(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 3, operands, 1, NULL);
}

StoaValue stoa_floor(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 4, operands, 1, NULL);
}

StoaValue stoa_round_even(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 5, operands, 1, NULL);
}

StoaValue stoa_exp(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 6, operands, 1, NULL);
}

StoaValue stoa_expm1(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 7, operands, 1, NULL);
}

StoaValue stoa_log(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 8, operands, 1, NULL);
}

StoaValue stoa_log1p(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 9, operands, 1, NULL);
}

StoaValue stoa_sqrt(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 10, operands, 1, NULL);
}

StoaValue stoa_rsqrt(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 11, operands, 1, NULL);
}

StoaValue stoa_sin(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 12, operands, 1, NULL);
}

StoaValue stoa_cos(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 13, operands, 1, NULL);
}

StoaValue stoa_tanh(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 14, operands, 1, NULL);
}

StoaValue stoa_logistic(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 15, operands, 1, NULL);
}

StoaValue stoa_erf(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 16, operands, 1, NULL);
}

StoaValue stoa_erf_inv(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 17, operands, 1, NULL);
}

StoaValue stoa_lgamma(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 18, operands, 1, NULL);
}

StoaValue stoa_polygamma(StoaProgram *program, StoaValue x, int64_t order) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)order},
    };
    return api_op(program, 19, operands, 1, attrs);
}

StoaValue stoa_bessel_ie(StoaProgram *program, StoaValue x, int64_t order) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)order},
    };
    return api_op(program, 20, operands, 1, attrs);
}

StoaValue stoa_add(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 21, operands, 2, NULL);
}

StoaValue stoa_sub(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 22, operands, 2, NULL);
}

StoaValue stoa_mul(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 23, operands, 2, NULL);
}

StoaValue stoa_div(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 24, operands, 2, NULL);
}

StoaValue stoa_pow(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 25, operands, 2, NULL);
}

StoaValue stoa_rem(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 26, operands, 2, NULL);
}

StoaValue stoa_max(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 27, operands, 2, NULL);
}

StoaValue stoa_min(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 28, operands, 2, NULL);
}

StoaValue stoa_atan2(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 29, operands, 2, NULL);
}

StoaValue stoa_and(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 30, operands, 2, NULL);
}

StoaValue stoa_or(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 31, operands, 2, NULL);
}

StoaValue stoa_xor(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 32, operands, 2, NULL);
}

StoaValue stoa_shl(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 33, operands, 2, NULL);
}

StoaValue stoa_shr_arith(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 34, operands, 2, NULL);
}

StoaValue stoa_shr_logical(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 35, operands, 2, NULL);
}

StoaValue stoa_nextafter(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 36, operands, 2, NULL);
}

StoaValue stoa_igamma(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 37, operands, 2, NULL);
}

StoaValue stoa_compare(StoaProgram *program, StoaValue x, StoaValue y, StoaCompareKind direction) {
    StoaValue operands[] = {x, y};
    ApiAttr attrs[] = {
        {.integer = (int64_t)direction},
    };
    return api_op(program, 38, operands, 2, attrs);
}

StoaValue stoa_is_finite(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 39, operands, 1, NULL);
}

StoaValue stoa_select(StoaProgram *program, StoaValue which, StoaValue on_true, StoaValue on_false) {
    StoaValue operands[] = {which, on_true, on_false};
    return api_op(program, 40, operands, 3, NULL);
}

StoaValue stoa_not(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 41, operands, 1, NULL);
}

StoaValue stoa_convert(StoaProgram *program, StoaValue x, StoaDtype dtype) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)dtype},
    };
    return api_op(program, 42, operands, 1, attrs);
}

StoaValue stoa_bitcast(StoaProgram *program, StoaValue x, StoaDtype dtype) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)dtype},
    };
    return api_op(program, 43, operands, 1, attrs);
}

StoaValue stoa_complex(StoaProgram *program, StoaValue re, StoaValue im) {
    StoaValue operands[] = {re, im};
    return api_op(program, 44, operands, 2, NULL);
}

StoaValue stoa_real(StoaProgram *program, StoaValue z) {
    StoaValue operands[] = {z};
    return api_op(program, 45, operands, 1, NULL);
}

StoaValue stoa_imag(StoaProgram *program, StoaValue z) {
    StoaValue operands[] = {z};
    return api_op(program, 46, operands, 1, NULL);
}

StoaValue stoa_iota(StoaProgram *program, StoaDtype dtype, const StoaDim *shape, uint32_t shape_count, int64_t axis) {
    ApiAttr attrs[] = {
        {.integer = (int64_t)dtype},
        {.dims = shape, .count = shape_count},
        {.integer = (int64_t)axis},
    };
    return api_op(program, 48, NULL, 0, attrs);
}

StoaValue stoa_rng_bits(StoaProgram *program, StoaValue seed, const StoaDim *shape, uint32_t shape_count, int64_t stream) {
    StoaValue operands[] = {seed};
    ApiAttr attrs[] = {
        {.dims = shape, .count = shape_count},
        {.integer = (int64_t)stream},
    };
    return api_op(program, 49, operands, 1, attrs);
}

StoaValue stoa_broadcast_in_dim(StoaProgram *program, StoaValue x, const StoaDim *shape, uint32_t shape_count, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.dims = shape, .count = shape_count},
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 50, operands, 1, attrs);
}

StoaValue stoa_reshape(StoaProgram *program, StoaValue x, const StoaDim *shape, uint32_t shape_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.dims = shape, .count = shape_count},
    };
    return api_op(program, 51, operands, 1, attrs);
}

StoaValue stoa_transpose(StoaProgram *program, StoaValue x, const int64_t *permutation, uint32_t permutation_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = permutation, .count = permutation_count},
    };
    return api_op(program, 52, operands, 1, attrs);
}

StoaValue stoa_slice(StoaProgram *program, StoaValue x, const StoaDim *starts, uint32_t starts_count, const StoaDim *limits, uint32_t limits_count, const int64_t *strides, uint32_t strides_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.dims = starts, .count = starts_count},
        {.dims = limits, .count = limits_count},
        {.ints = strides, .count = strides_count},
    };
    return api_op(program, 53, operands, 1, attrs);
}

StoaValue stoa_pad(StoaProgram *program, StoaValue x, StoaValue fill, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *interior, uint32_t interior_count) {
    StoaValue operands[] = {x, fill};
    ApiAttr attrs[] = {
        {.dims = low, .count = low_count},
        {.dims = high, .count = high_count},
        {.ints = interior, .count = interior_count},
    };
    return api_op(program, 54, operands, 2, attrs);
}

StoaValue stoa_concat(StoaProgram *program, const StoaValue *xs, uint32_t xs_count, int64_t axis) {
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
    };
    return api_op(program, 55, xs, xs_count, attrs);
}

StoaValue stoa_reverse(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 56, operands, 1, attrs);
}

StoaValue stoa_dynamic_slice(StoaProgram *program, StoaValue x, StoaValue starts, const StoaDim *sizes, uint32_t sizes_count) {
    StoaValue operands[] = {x, starts};
    ApiAttr attrs[] = {
        {.dims = sizes, .count = sizes_count},
    };
    return api_op(program, 57, operands, 2, attrs);
}

StoaValue stoa_dynamic_update_slice(StoaProgram *program, StoaValue x, StoaValue update, StoaValue starts) {
    StoaValue operands[] = {x, update, starts};
    return api_op(program, 58, operands, 3, NULL);
}

StoaValue stoa_gather(StoaProgram *program, StoaValue x, StoaValue indices, const int64_t *offset_dims, uint32_t offset_dims_count, const int64_t *collapsed_dims, uint32_t collapsed_dims_count, const int64_t *batch_dims, uint32_t batch_dims_count, const int64_t *index_batch_dims, uint32_t index_batch_dims_count, const int64_t *index_map, uint32_t index_map_count, const StoaDim *slice_sizes, uint32_t slice_sizes_count) {
    StoaValue operands[] = {x, indices};
    ApiAttr attrs[] = {
        {.ints = offset_dims, .count = offset_dims_count},
        {.ints = collapsed_dims, .count = collapsed_dims_count},
        {.ints = batch_dims, .count = batch_dims_count},
        {.ints = index_batch_dims, .count = index_batch_dims_count},
        {.ints = index_map, .count = index_map_count},
        {.dims = slice_sizes, .count = slice_sizes_count},
    };
    return api_op(program, 59, operands, 2, attrs);
}

StoaValue stoa_scatter(StoaProgram *program, StoaValue x, StoaValue indices, StoaValue updates, StoaScatterKind kind, const int64_t *offset_dims, uint32_t offset_dims_count, const int64_t *collapsed_dims, uint32_t collapsed_dims_count, const int64_t *batch_dims, uint32_t batch_dims_count, const int64_t *index_batch_dims, uint32_t index_batch_dims_count, const int64_t *index_map, uint32_t index_map_count) {
    StoaValue operands[] = {x, indices, updates};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.ints = offset_dims, .count = offset_dims_count},
        {.ints = collapsed_dims, .count = collapsed_dims_count},
        {.ints = batch_dims, .count = batch_dims_count},
        {.ints = index_batch_dims, .count = index_batch_dims_count},
        {.ints = index_map, .count = index_map_count},
    };
    return api_op(program, 60, operands, 3, attrs);
}

StoaValue stoa_dim_size(StoaProgram *program, StoaValue x, int64_t axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
    };
    return api_op(program, 61, operands, 1, attrs);
}

StoaValue stoa_copy(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 62, operands, 1, NULL);
}

StoaValue stoa_dynamic_reshape(StoaProgram *program, StoaValue x, StoaValue shape, const StoaDim *dims, uint32_t dims_count) {
    StoaValue operands[] = {x, shape};
    ApiAttr attrs[] = {
        {.dims = dims, .count = dims_count},
    };
    return api_op(program, 63, operands, 2, attrs);
}

StoaValue stoa_dynamic_broadcast(StoaProgram *program, StoaValue x, StoaValue shape, const StoaDim *dims, uint32_t dims_count, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x, shape};
    ApiAttr attrs[] = {
        {.dims = dims, .count = dims_count},
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 64, operands, 2, attrs);
}

StoaValue stoa_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 65, operands, 1, attrs);
}

StoaValue stoa_arg_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, int64_t axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.integer = (int64_t)axis},
    };
    return api_op(program, 66, operands, 1, attrs);
}

StoaValue stoa_cumulative(StoaProgram *program, StoaValue x, StoaReduceKind kind, int64_t axis, bool reverse) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.integer = (int64_t)axis},
        {.integer = (int64_t)reverse},
    };
    return api_op(program, 67, operands, 1, attrs);
}

void stoa_sort(StoaProgram *program, const StoaValue *keys, uint32_t keys_count, int64_t axis, bool descending, StoaValue *out_ys) {
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
        {.integer = (int64_t)descending},
    };
    api_op_many(program, 68, keys, keys_count, attrs, out_ys, keys_count);
}

void stoa_compact(StoaProgram *program, StoaValue mask, StoaValue x, StoaDim size, StoaValue *out_values, StoaValue *out_count) {
    StoaValue operands[] = {mask, x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)size.id},
    };
    StoaValue outs[2];
    api_op_many(program, 69, operands, 2, attrs, outs, 2);
    *out_values = outs[0];
    *out_count = outs[1];
}

StoaValue stoa_dot_general(StoaProgram *program, StoaValue x, StoaValue y, const int64_t *x_batch, uint32_t x_batch_count, const int64_t *y_batch, uint32_t y_batch_count, const int64_t *x_contract, uint32_t x_contract_count, const int64_t *y_contract, uint32_t y_contract_count) {
    StoaValue operands[] = {x, y};
    ApiAttr attrs[] = {
        {.ints = x_batch, .count = x_batch_count},
        {.ints = y_batch, .count = y_batch_count},
        {.ints = x_contract, .count = x_contract_count},
        {.ints = y_contract, .count = y_contract_count},
    };
    return api_op(program, 70, operands, 2, attrs);
}

StoaValue stoa_convolution(StoaProgram *program, StoaValue x, StoaValue w, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *x_dilation, uint32_t x_dilation_count, const int64_t *w_dilation, uint32_t w_dilation_count, int64_t groups) {
    StoaValue operands[] = {x, w};
    ApiAttr attrs[] = {
        {.ints = strides, .count = strides_count},
        {.dims = low, .count = low_count},
        {.dims = high, .count = high_count},
        {.ints = x_dilation, .count = x_dilation_count},
        {.ints = w_dilation, .count = w_dilation_count},
        {.integer = (int64_t)groups},
    };
    return api_op(program, 71, operands, 2, attrs);
}

StoaValue stoa_reduce_window(StoaProgram *program, StoaValue x, StoaReduceKind kind, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *dilation, uint32_t dilation_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.ints = window, .count = window_count},
        {.ints = strides, .count = strides_count},
        {.dims = low, .count = low_count},
        {.dims = high, .count = high_count},
        {.ints = dilation, .count = dilation_count},
    };
    return api_op(program, 72, operands, 1, attrs);
}

StoaValue stoa_fft(StoaProgram *program, StoaValue x, StoaFftKind kind, const StoaDim *sizes, uint32_t sizes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.dims = sizes, .count = sizes_count},
    };
    return api_op(program, 73, operands, 1, attrs);
}

StoaValue stoa_cholesky(StoaProgram *program, StoaValue a) {
    StoaValue operands[] = {a};
    return api_op(program, 74, operands, 1, NULL);
}

StoaValue stoa_triangular_solve(StoaProgram *program, StoaValue a, StoaValue b, bool lower, bool transpose, bool unit_diagonal) {
    StoaValue operands[] = {a, b};
    ApiAttr attrs[] = {
        {.integer = (int64_t)lower},
        {.integer = (int64_t)transpose},
        {.integer = (int64_t)unit_diagonal},
    };
    return api_op(program, 75, operands, 2, attrs);
}

void stoa_lu(StoaProgram *program, StoaValue a, StoaValue *out_lu, StoaValue *out_permutation) {
    StoaValue operands[] = {a};
    StoaValue outs[2];
    api_op_many(program, 76, operands, 1, NULL, outs, 2);
    *out_lu = outs[0];
    *out_permutation = outs[1];
}

void stoa_qr(StoaProgram *program, StoaValue a, StoaValue *out_q, StoaValue *out_r) {
    StoaValue operands[] = {a};
    StoaValue outs[2];
    api_op_many(program, 77, operands, 1, NULL, outs, 2);
    *out_q = outs[0];
    *out_r = outs[1];
}

void stoa_eigh(StoaProgram *program, StoaValue a, StoaValue *out_w, StoaValue *out_v) {
    StoaValue operands[] = {a};
    StoaValue outs[2];
    api_op_many(program, 78, operands, 1, NULL, outs, 2);
    *out_w = outs[0];
    *out_v = outs[1];
}

void stoa_svd(StoaProgram *program, StoaValue a, StoaValue *out_u, StoaValue *out_s, StoaValue *out_vt) {
    StoaValue operands[] = {a};
    StoaValue outs[3];
    api_op_many(program, 79, operands, 1, NULL, outs, 3);
    *out_u = outs[0];
    *out_s = outs[1];
    *out_vt = outs[2];
}

void stoa_eig(StoaProgram *program, StoaValue a, StoaValue *out_w, StoaValue *out_v) {
    StoaValue operands[] = {a};
    StoaValue outs[2];
    api_op_many(program, 80, operands, 1, NULL, outs, 2);
    *out_w = outs[0];
    *out_v = outs[1];
}

StoaValue stoa_stop_gradient(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 90, operands, 1, NULL);
}

void stoa_barrier(StoaProgram *program, const StoaValue *xs, uint32_t xs_count, StoaValue *out_ys) {
    api_op_many(program, 91, xs, xs_count, NULL, out_ys, xs_count);
}

void stoa_assign(StoaProgram *program, StoaValue parameter, StoaValue value) {
    StoaValue operands[] = {parameter, value};
    api_op_many(program, 93, operands, 2, NULL, NULL, 0);
}

void stoa_effect_call(StoaProgram *program, const StoaValue *args, uint32_t args_count, const char *name) {
    ApiAttr attrs[] = {
        {.text = name},
    };
    api_op_many(program, 94, args, args_count, attrs, NULL, 0);
}

void stoa_assert(StoaProgram *program, const StoaValue *condition, uint32_t condition_count, const char *message) {
    ApiAttr attrs[] = {
        {.text = message},
    };
    api_op_many(program, 95, condition, condition_count, attrs, NULL, 0);
}

void stoa_print(StoaProgram *program, const StoaValue *values, uint32_t values_count, const char *text, int64_t most) {
    ApiAttr attrs[] = {
        {.text = text},
        {.integer = (int64_t)most},
    };
    api_op_many(program, 96, values, values_count, attrs, NULL, 0);
}

StoaValue stoa_all_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, const char *axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)kind},
        {.text = axis},
    };
    return api_op(program, 100, operands, 1, attrs);
}

StoaValue stoa_all_gather(StoaProgram *program, StoaValue x, int64_t axis, StoaDim size, const char *mesh_axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
        {.integer = (int64_t)size.id},
        {.text = mesh_axis},
    };
    return api_op(program, 101, operands, 1, attrs);
}

StoaValue stoa_reduce_scatter(StoaProgram *program, StoaValue x, int64_t axis, StoaDim size, const char *mesh_axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
        {.integer = (int64_t)size.id},
        {.text = mesh_axis},
    };
    return api_op(program, 102, operands, 1, attrs);
}

StoaValue stoa_permute(StoaProgram *program, StoaValue x, int64_t shift, const char *mesh_axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)shift},
        {.text = mesh_axis},
    };
    return api_op(program, 104, operands, 1, attrs);
}

StoaValue stoa_rank_id(StoaProgram *program, const char *mesh_axis) {
    ApiAttr attrs[] = {
        {.text = mesh_axis},
    };
    return api_op(program, 105, NULL, 0, attrs);
}

void stoa_unstack(StoaProgram *program, StoaValue x, int64_t axis, StoaValue *out_ys, uint32_t ys_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
    };
    api_op_many(program, 112, operands, 1, attrs, out_ys, ys_count);
}

StoaValue stoa_square(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 113, operands, 1, NULL);
}

StoaValue stoa_reciprocal(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 114, operands, 1, NULL);
}

StoaValue stoa_relu(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 115, operands, 1, NULL);
}

StoaValue stoa_gelu(StoaProgram *program, StoaValue x, bool tanh) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)tanh},
    };
    return api_op(program, 116, operands, 1, attrs);
}

StoaValue stoa_silu(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 117, operands, 1, NULL);
}

StoaValue stoa_softplus(StoaProgram *program, StoaValue x) {
    StoaValue operands[] = {x};
    return api_op(program, 118, operands, 1, NULL);
}

StoaValue stoa_mean(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 119, operands, 1, attrs);
}

StoaValue stoa_softmax(StoaProgram *program, StoaValue x, int64_t axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
    };
    return api_op(program, 120, operands, 1, attrs);
}

StoaValue stoa_log_softmax(StoaProgram *program, StoaValue x, int64_t axis) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.integer = (int64_t)axis},
    };
    return api_op(program, 121, operands, 1, attrs);
}

StoaValue stoa_logsumexp(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = axes, .count = axes_count},
    };
    return api_op(program, 122, operands, 1, attrs);
}

StoaValue stoa_one_hot(StoaProgram *program, StoaValue indices, StoaDim size, StoaDtype dtype) {
    StoaValue operands[] = {indices};
    ApiAttr attrs[] = {
        {.integer = (int64_t)size.id},
        {.integer = (int64_t)dtype},
    };
    return api_op(program, 123, operands, 1, attrs);
}

StoaValue stoa_cross_entropy(StoaProgram *program, StoaValue logits, StoaValue labels) {
    StoaValue operands[] = {logits, labels};
    return api_op(program, 124, operands, 2, NULL);
}

StoaValue stoa_linear_cross_entropy(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue labels) {
    StoaValue operands[] = {x, weight, labels};
    return api_op(program, 125, operands, 3, NULL);
}

StoaValue stoa_layer_norm(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias, double epsilon) {
    StoaValue operands[] = {x, weight, bias};
    ApiAttr attrs[] = {
        {.number = epsilon},
    };
    return api_op(program, 128, operands, 3, attrs);
}

StoaValue stoa_rms_norm(StoaProgram *program, StoaValue x, StoaValue weight, double epsilon) {
    StoaValue operands[] = {x, weight};
    ApiAttr attrs[] = {
        {.number = epsilon},
    };
    return api_op(program, 129, operands, 2, attrs);
}

void stoa_batch_norm(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias, StoaValue mean, StoaValue var, double epsilon, double momentum, bool training, StoaValue *out_y, StoaValue *out_new_mean, StoaValue *out_new_var) {
    StoaValue operands[] = {x, weight, bias, mean, var};
    ApiAttr attrs[] = {
        {.number = epsilon},
        {.number = momentum},
        {.integer = (int64_t)training},
    };
    StoaValue outs[3];
    api_op_many(program, 130, operands, 5, attrs, outs, 3);
    *out_y = outs[0];
    *out_new_mean = outs[1];
    *out_new_var = outs[2];
}

StoaValue stoa_linear(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias) {
    StoaValue operands[] = {x, weight, bias};
    return api_op(program, 131, operands, 3, NULL);
}

StoaValue stoa_matmul(StoaProgram *program, StoaValue x, StoaValue y) {
    StoaValue operands[] = {x, y};
    return api_op(program, 135, operands, 2, NULL);
}

StoaValue stoa_array_read(StoaProgram *program, StoaValue array, StoaValue index) {
    StoaValue operands[] = {array, index};
    return api_op(program, 138, operands, 2, NULL);
}

StoaValue stoa_array_write(StoaProgram *program, StoaValue array, StoaValue index, StoaValue x) {
    StoaValue operands[] = {array, index, x};
    return api_op(program, 139, operands, 3, NULL);
}

StoaValue stoa_inverse(StoaProgram *program, StoaValue a) {
    StoaValue operands[] = {a};
    return api_op(program, 140, operands, 1, NULL);
}

StoaValue stoa_solve(StoaProgram *program, StoaValue a, StoaValue b, bool transpose) {
    StoaValue operands[] = {a, b};
    ApiAttr attrs[] = {
        {.integer = (int64_t)transpose},
    };
    return api_op(program, 141, operands, 2, attrs);
}

StoaValue stoa_det(StoaProgram *program, StoaValue a) {
    StoaValue operands[] = {a};
    return api_op(program, 142, operands, 1, NULL);
}

StoaValue stoa_det_sign(StoaProgram *program, StoaValue a) {
    StoaValue operands[] = {a};
    return api_op(program, 143, operands, 1, NULL);
}

StoaValue stoa_log_abs_det(StoaProgram *program, StoaValue a) {
    StoaValue operands[] = {a};
    return api_op(program, 144, operands, 1, NULL);
}

StoaValue stoa_embedding(StoaProgram *program, StoaValue table, StoaValue indices) {
    StoaValue operands[] = {table, indices};
    return api_op(program, 145, operands, 2, NULL);
}

StoaValue stoa_attention(StoaProgram *program, StoaValue q, StoaValue k, StoaValue v, double scale, bool causal) {
    StoaValue operands[] = {q, k, v};
    ApiAttr attrs[] = {
        {.number = scale},
        {.integer = (int64_t)causal},
    };
    return api_op(program, 146, operands, 3, attrs);
}

StoaValue stoa_dropout(StoaProgram *program, StoaValue x, StoaValue seed, double rate, int64_t stream) {
    StoaValue operands[] = {x, seed};
    ApiAttr attrs[] = {
        {.number = rate},
        {.integer = (int64_t)stream},
    };
    return api_op(program, 150, operands, 2, attrs);
}

StoaValue stoa_max_pool(StoaProgram *program, StoaValue x, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = window, .count = window_count},
        {.ints = strides, .count = strides_count},
        {.dims = low, .count = low_count},
        {.dims = high, .count = high_count},
    };
    return api_op(program, 151, operands, 1, attrs);
}

StoaValue stoa_avg_pool(StoaProgram *program, StoaValue x, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count) {
    StoaValue operands[] = {x};
    ApiAttr attrs[] = {
        {.ints = window, .count = window_count},
        {.ints = strides, .count = strides_count},
        {.dims = low, .count = low_count},
        {.dims = high, .count = high_count},
    };
    return api_op(program, 152, operands, 1, attrs);
}

StoaValue stoa_global_norm(StoaProgram *program, const StoaValue *xs, uint32_t xs_count) {
    return api_op(program, 153, xs, xs_count, NULL);
}

void stoa_sgd(StoaProgram *program, StoaValue parameter, StoaValue gradient, StoaValue momentum_buffer, StoaValue rate, double momentum, double decay, bool nesterov, StoaValue *out_parameter, StoaValue *out_momentum_buffer) {
    StoaValue operands[] = {parameter, gradient, momentum_buffer, rate};
    ApiAttr attrs[] = {
        {.number = momentum},
        {.number = decay},
        {.integer = (int64_t)nesterov},
    };
    StoaValue outs[2];
    api_op_many(program, 154, operands, 4, attrs, outs, 2);
    *out_parameter = outs[0];
    *out_momentum_buffer = outs[1];
}

void stoa_adamw(StoaProgram *program, StoaValue parameter, StoaValue gradient, StoaValue first, StoaValue second, StoaValue rate, StoaValue step, double beta1, double beta2, double epsilon, double decay, StoaValue *out_parameter, StoaValue *out_first, StoaValue *out_second) {
    StoaValue operands[] = {parameter, gradient, first, second, rate, step};
    ApiAttr attrs[] = {
        {.number = beta1},
        {.number = beta2},
        {.number = epsilon},
        {.number = decay},
    };
    StoaValue outs[3];
    api_op_many(program, 155, operands, 6, attrs, outs, 3);
    *out_parameter = outs[0];
    *out_first = outs[1];
    *out_second = outs[2];
}

