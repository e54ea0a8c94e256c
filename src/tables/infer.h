/* Shape and dtype rules: one function per rule named in opcodes.def, on symbolic dims.
 *
 * The same rules serve building, the infer system, and concrete sizes (dims that are constants),
 * so there is one answer to what an operator gives. */
#ifndef STOA_TABLES_INFER_H
#define STOA_TABLES_INFER_H

#include "tables/schema.h"

/* ORDER: elementwise, structure, contraction, composites, outside */
/* clang-format off */
#define INFER_RULES(R) \
    R(none) R(same) R(same1) R(reverse) R(cumulative) R(assert) R(print) \
    R(number1) R(signed) R(float) R(number) R(bits) R(int) R(compare) \
    R(to_bool) R(select) R(convert) R(bitcast) R(complex) R(real) R(constant) R(iota) \
    R(rng_bits) R(broadcast_in_dim) R(reshape) R(transpose) R(slice) R(pad) R(concat) \
    R(dynamic_slice) R(dynamic_update_slice) R(gather) R(scatter) R(dim_size) R(dynamic_shape) \
    R(reduce) R(arg_reduce) R(sort) R(compact) R(dot_general) R(convolution) R(reduce_window) \
    R(fft) R(square) R(triangular_solve) R(lu) R(det) R(qr) R(eigh) R(svd) R(eig) \
    R(control) R(each) R(array_read) R(array_write) R(typed) R(assign) R(resized) \
    R(typed_result) R(rank_id) R(gradient) R(jvp) \
    R(taylor) R(derivatives) R(jacobian) R(vmap) R(unstack) R(mean) \
    R(axis_float) R(one_hot) R(cross_entropy) R(norm) R(batch_norm) R(linear) R(matmul) \
    R(dot_epilogue) R(embedding) R(attention) R(attention_tangent) R(attention_grad) \
    R(attention_grad_sums) R(linear_cross_entropy) R(linear_cross_entropy_tangent) \
    R(linear_cross_entropy_grad) \
    R(dropout) R(pool) R(global_norm) R(optimizer) R(narrow_dot) R(dot_add)
/* clang-format on */
#define INFER_DECLARE_(rule) InferFn infer_##rule;
INFER_RULES(INFER_DECLARE_)
#undef INFER_DECLARE_

/* --- reading an operator ---------------------------------------------------------------------- */
static inline TypeId infer_type(const InferCtx *ctx, uint32_t operand) {
    return ctx->code->values.type[ctx->operands[operand].row];
}
static inline Dtype infer_dtype(const InferCtx *ctx, uint32_t operand) {
    return type_dtype(&ctx->world->types, infer_type(ctx, operand));
}
static inline uint32_t infer_rank(const InferCtx *ctx, uint32_t operand) {
    return type_rank(&ctx->world->types, infer_type(ctx, operand));
}
static inline DimId infer_dim(const InferCtx *ctx, uint32_t operand, uint32_t axis) {
    return type_dims(&ctx->world->types, infer_type(ctx, operand))[axis];
}
typedef struct IntList {
    const int64_t *at;
    uint32_t       count;
} IntList;
static inline IntList infer_list(const InferCtx *ctx, uint32_t attr) {
    ListId id = {(uint32_t)ctx->attrs[attr]};
    return (IntList){list_numbers(&ctx->world->attrs, id), list_count(&ctx->world->attrs, id)};
}
/* Sets result 0 to dtype[dims]. */
void infer_set(InferCtx *ctx, uint32_t result, Dtype dtype, const DimId *dims, uint32_t rank);
/* Requirements on sizes. Provable: true. Impossible: false, after a SHAPE_MISMATCH that says what.
 * Undecided: true, and a row of checks tests it at every call; equal sizes count as equal from then
 * on (dims_equate). */
bool infer_sizes_same(InferCtx *ctx, const char *what, DimId a, DimId b);
bool infer_at_most(InferCtx *ctx, const char *what, DimId a, DimId b);
bool infer_multiple(InferCtx *ctx, const char *what, DimId a, DimId by);
bool infer_types_same(InferCtx *ctx, uint32_t a, uint32_t b); /* of operands */

/* The results of a control operator as its blocks or its graph give them, without checks; nil types
 * where they do not. */
void infer_control_results(InferCtx *ctx);

/* --- the diagnostics of inference; each returns false for `return infer_fail_...` ------------- */
bool infer_fail_dtype(InferCtx *ctx, uint32_t operand, const char *expected);
bool infer_fail_types(InferCtx *ctx, uint32_t a, uint32_t b);
bool infer_fail_rank(InferCtx *ctx, uint32_t operand, const char *expected);
bool infer_fail_axis(InferCtx *ctx, int64_t axis, uint32_t rank);
bool infer_fail_attr(InferCtx *ctx, uint32_t attr, const char *problem);
bool infer_fail_dim(InferCtx *ctx); /* a size expression grew too complex */

/* Checks shared by rules; each says what is wrong. */
static inline bool infer_float_ok(InferCtx *ctx, uint32_t operand) {
    return dtype_is_float(infer_dtype(ctx, operand)) || infer_fail_dtype(ctx, operand, "a float");
}
static inline bool infer_dtypes_same(InferCtx *ctx, uint32_t a, uint32_t b) {
    return infer_dtype(ctx, a) == infer_dtype(ctx, b) || infer_fail_types(ctx, a, b);
}
bool infer_axis_ok(InferCtx *ctx, int64_t axis, uint32_t rank);
bool infer_axes_ok(InferCtx *ctx, IntList axes, uint32_t rank);        /* in range, no repeats */
bool infer_axes_ascending(InferCtx *ctx, IntList axes, uint32_t rank); /* and ascending */
bool infer_list_count(InferCtx *ctx, uint32_t attr, uint32_t count, bool or_empty);

#endif
