/* Stoa: the operators as C functions. Generated from src/tables/opcodes.def by
 * tools/make_ops_header; do not edit.
 *
 * Each appends one operator to the open graph and gives its result. Elementwise
 * operands have equal types: broadcast and conversion are explicit. Lists are pointer
 * and count; an empty list stands for the default where the operator has one.
 * Contracts: docs/ops. */
#ifndef STOA_OPS_H
#define STOA_OPS_H

#include <stoa/stoa.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum StoaReduceKind { STOA_REDUCE_SUM, STOA_REDUCE_PROD, STOA_REDUCE_MAX, STOA_REDUCE_MIN, STOA_REDUCE_AND, STOA_REDUCE_OR, STOA_REDUCE_ARGMAX, STOA_REDUCE_ARGMIN } StoaReduceKind;
typedef enum StoaCompareKind { STOA_COMPARE_EQ, STOA_COMPARE_NE, STOA_COMPARE_LT, STOA_COMPARE_LE, STOA_COMPARE_GT, STOA_COMPARE_GE } StoaCompareKind;
typedef enum StoaScatterKind { STOA_SCATTER_SET, STOA_SCATTER_ADD, STOA_SCATTER_MUL, STOA_SCATTER_MIN, STOA_SCATTER_MAX } StoaScatterKind;
typedef enum StoaFftKind { STOA_FFT_FORWARD, STOA_FFT_INVERSE, STOA_FFT_REAL_FORWARD, STOA_FFT_REAL_INVERSE } StoaFftKind;

/* -x */
STOA_API StoaValue stoa_neg(StoaProgram *program, StoaValue x);
/* |x| */
STOA_API StoaValue stoa_abs(StoaProgram *program, StoaValue x);
/* -1, 0 or 1; NaN stays NaN */
STOA_API StoaValue stoa_sign(StoaProgram *program, StoaValue x);
/* largest integer not above x */
STOA_API StoaValue stoa_floor(StoaProgram *program, StoaValue x);
/* nearest integer, ties to even */
STOA_API StoaValue stoa_round_even(StoaProgram *program, StoaValue x);
/* e^x */
STOA_API StoaValue stoa_exp(StoaProgram *program, StoaValue x);
/* e^x - 1, exact near 0 */
STOA_API StoaValue stoa_expm1(StoaProgram *program, StoaValue x);
/* natural logarithm */
STOA_API StoaValue stoa_log(StoaProgram *program, StoaValue x);
/* log(1 + x), exact near 0 */
STOA_API StoaValue stoa_log1p(StoaProgram *program, StoaValue x);
/* square root */
STOA_API StoaValue stoa_sqrt(StoaProgram *program, StoaValue x);
/* 1 / sqrt(x) */
STOA_API StoaValue stoa_rsqrt(StoaProgram *program, StoaValue x);
/* sine, radians */
STOA_API StoaValue stoa_sin(StoaProgram *program, StoaValue x);
/* cosine, radians */
STOA_API StoaValue stoa_cos(StoaProgram *program, StoaValue x);
/* hyperbolic tangent */
STOA_API StoaValue stoa_tanh(StoaProgram *program, StoaValue x);
/* 1 / (1 + e^-x) */
STOA_API StoaValue stoa_logistic(StoaProgram *program, StoaValue x);
/* error function */
STOA_API StoaValue stoa_erf(StoaProgram *program, StoaValue x);
/* inverse of erf on (-1, 1) */
STOA_API StoaValue stoa_erf_inv(StoaProgram *program, StoaValue x);
/* log |gamma(x)| */
STOA_API StoaValue stoa_lgamma(StoaProgram *program, StoaValue x);
/* derivative of order+1 of lgamma. order: 0 is digamma */
STOA_API StoaValue stoa_polygamma(StoaProgram *program, StoaValue x, int64_t order);
/* modified Bessel function of the first kind, times e^-|x|. order: order of the function, >= 0 */
STOA_API StoaValue stoa_bessel_ie(StoaProgram *program, StoaValue x, int64_t order);
/* x + y */
STOA_API StoaValue stoa_add(StoaProgram *program, StoaValue x, StoaValue y);
/* x - y */
STOA_API StoaValue stoa_sub(StoaProgram *program, StoaValue x, StoaValue y);
/* x y */
STOA_API StoaValue stoa_mul(StoaProgram *program, StoaValue x, StoaValue y);
/* x / y; integers truncate, x / 0 is 0 for integers */
STOA_API StoaValue stoa_div(StoaProgram *program, StoaValue x, StoaValue y);
/* x^y */
STOA_API StoaValue stoa_pow(StoaProgram *program, StoaValue x, StoaValue y);
/* remainder with the sign of x; x rem 0 is 0 for integers */
STOA_API StoaValue stoa_rem(StoaProgram *program, StoaValue x, StoaValue y);
/* the larger; NaN if one is NaN */
STOA_API StoaValue stoa_max(StoaProgram *program, StoaValue x, StoaValue y);
/* the smaller; NaN if one is NaN */
STOA_API StoaValue stoa_min(StoaProgram *program, StoaValue x, StoaValue y);
/* angle of the point (y, x): first operand is the ordinate */
STOA_API StoaValue stoa_atan2(StoaProgram *program, StoaValue x, StoaValue y);
/* bitwise and, logical for bool */
STOA_API StoaValue stoa_and(StoaProgram *program, StoaValue x, StoaValue y);
/* bitwise or, logical for bool */
STOA_API StoaValue stoa_or(StoaProgram *program, StoaValue x, StoaValue y);
/* bitwise exclusive or */
STOA_API StoaValue stoa_xor(StoaProgram *program, StoaValue x, StoaValue y);
/* shift left; 0 when y is out of range */
STOA_API StoaValue stoa_shl(StoaProgram *program, StoaValue x, StoaValue y);
/* shift right keeping the sign */
STOA_API StoaValue stoa_shr_arith(StoaProgram *program, StoaValue x, StoaValue y);
/* shift right filling zeros; 0 when y is out of range */
STOA_API StoaValue stoa_shr_logical(StoaProgram *program, StoaValue x, StoaValue y);
/* next number from x towards y */
STOA_API StoaValue stoa_nextafter(StoaProgram *program, StoaValue x, StoaValue y);
/* regularised lower incomplete gamma P(x, y); no derivative in x */
STOA_API StoaValue stoa_igamma(StoaProgram *program, StoaValue x, StoaValue y);
/* elementwise comparison; NaN compares unequal and unordered. direction: eq ne lt le gt ge */
STOA_API StoaValue stoa_compare(StoaProgram *program, StoaValue x, StoaValue y, StoaCompareKind direction);
/* neither infinite nor NaN */
STOA_API StoaValue stoa_is_finite(StoaProgram *program, StoaValue x);
/* on_true where which is true, else on_false */
STOA_API StoaValue stoa_select(StoaProgram *program, StoaValue which, StoaValue on_true, StoaValue on_false);
/* bitwise not, logical for bool */
STOA_API StoaValue stoa_not(StoaProgram *program, StoaValue x);
/* value conversion; float to int truncates and saturates, NaN gives 0; to bool is x != 0. dtype: of the result */
STOA_API StoaValue stoa_convert(StoaProgram *program, StoaValue x, StoaDtype dtype);
/* the same bits as another dtype. dtype: of the same width */
STOA_API StoaValue stoa_bitcast(StoaProgram *program, StoaValue x, StoaDtype dtype);
/* re + i im */
STOA_API StoaValue stoa_complex(StoaProgram *program, StoaValue re, StoaValue im);
/* real part */
STOA_API StoaValue stoa_real(StoaProgram *program, StoaValue z);
/* imaginary part */
STOA_API StoaValue stoa_imag(StoaProgram *program, StoaValue z);
/* index along an axis; axis: along which numbers run */
STOA_API StoaValue stoa_iota(StoaProgram *program, StoaDtype dtype, const StoaDim *shape, uint32_t shape_count, int64_t axis);
/* i32 random bits: word i%4 of Philox4x32-10 with key = seed (i64 scalar) and counter = (i/4, stream); Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011; stream: distinguishes uses of one seed */
STOA_API StoaValue stoa_rng_bits(StoaProgram *program, StoaValue seed, const StoaDim *shape, uint32_t shape_count, int64_t stream);
/* repeats x along the axes not listed; an operand axis of constant size 1 is repeated too. shape: of the result; axes: result axis of each operand axis, ascending */
STOA_API StoaValue stoa_broadcast_in_dim(StoaProgram *program, StoaValue x, const StoaDim *shape, uint32_t shape_count, const int64_t *axes, uint32_t axes_count);
/* the same elements in row-major order. shape: with the same number of elements */
STOA_API StoaValue stoa_reshape(StoaProgram *program, StoaValue x, const StoaDim *shape, uint32_t shape_count);
/* permutes axes. permutation: operand axis of each result axis */
STOA_API StoaValue stoa_transpose(StoaProgram *program, StoaValue x, const int64_t *permutation, uint32_t permutation_count);
/* x[start:limit:stride] on each axis; limits: exclusive; strides: empty: 1 */
STOA_API StoaValue stoa_slice(StoaProgram *program, StoaValue x, const StoaDim *starts, uint32_t starts_count, const StoaDim *limits, uint32_t limits_count, const int64_t *strides, uint32_t strides_count);
/* puts fill (a scalar) around and between elements; negative amounts crop. low: may be negative; high: may be negative; interior: empty: 0 */
STOA_API StoaValue stoa_pad(StoaProgram *program, StoaValue x, StoaValue fill, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *interior, uint32_t interior_count);
/* joins along an axis */
STOA_API StoaValue stoa_concat(StoaProgram *program, const StoaValue *xs, uint32_t xs_count, int64_t axis);
/* reverses the order along axes */
STOA_API StoaValue stoa_reverse(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count);
/* slice at run-time starts (i64[rank]), clamped to fit */
STOA_API StoaValue stoa_dynamic_slice(StoaProgram *program, StoaValue x, StoaValue starts, const StoaDim *sizes, uint32_t sizes_count);
/* x with update written at run-time starts (i64[rank]), clamped to fit */
STOA_API StoaValue stoa_dynamic_update_slice(StoaProgram *program, StoaValue x, StoaValue update, StoaValue starts);
/* slices of x at the rows of indices (last axis: one component per entry of index_map); a slice that does not fit inside x is zero. offset_dims: result axes that run over the slice; collapsed_dims: slice axes of size 1 that are dropped; batch_dims: axes of x walked in step with index_batch_dims; index_batch_dims: axes of indices walked in step with batch_dims; index_map: axis of x for each component of the last axis of indices; slice_sizes: of each axis of x */
STOA_API StoaValue stoa_gather(StoaProgram *program, StoaValue x, StoaValue indices, const int64_t *offset_dims, uint32_t offset_dims_count, const int64_t *collapsed_dims, uint32_t collapsed_dims_count, const int64_t *batch_dims, uint32_t batch_dims_count, const int64_t *index_batch_dims, uint32_t index_batch_dims_count, const int64_t *index_map, uint32_t index_map_count, const StoaDim *slice_sizes, uint32_t slice_sizes_count);
/* x combined with updates at the places that gather would read; slices that do not fit are dropped; equal places combine in row order. kind: set add mul min max; offset_dims: axes of updates that run over the slice; collapsed_dims: as in gather; batch_dims: as in gather; index_batch_dims: as in gather; index_map: as in gather */
STOA_API StoaValue stoa_scatter(StoaProgram *program, StoaValue x, StoaValue indices, StoaValue updates, StoaScatterKind kind, const int64_t *offset_dims, uint32_t offset_dims_count, const int64_t *collapsed_dims, uint32_t collapsed_dims_count, const int64_t *batch_dims, uint32_t batch_dims_count, const int64_t *index_batch_dims, uint32_t index_batch_dims_count, const int64_t *index_map, uint32_t index_map_count);
/* size of an axis as an i64 scalar */
STOA_API StoaValue stoa_dim_size(StoaProgram *program, StoaValue x, int64_t axis);
/* x in memory of its own, row-major */
STOA_API StoaValue stoa_copy(StoaProgram *program, StoaValue x);
/* reshape to run-time sizes (i64[rank]). dims: symbols that take the run-time sizes */
STOA_API StoaValue stoa_dynamic_reshape(StoaProgram *program, StoaValue x, StoaValue shape, const StoaDim *dims, uint32_t dims_count);
/* broadcast_in_dim to run-time sizes (i64[rank]). dims: symbols that take the run-time sizes; axes: as in broadcast_in_dim */
STOA_API StoaValue stoa_dynamic_broadcast(StoaProgram *program, StoaValue x, StoaValue shape, const StoaDim *dims, uint32_t dims_count, const int64_t *axes, uint32_t axes_count);
/* reduction over axes; 16-bit floats accumulate in f32; empty: 0, 1, -inf, +inf, true, false. kind: sum prod max min and or; axes: removed from the shape; ascending */
STOA_API StoaValue stoa_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, const int64_t *axes, uint32_t axes_count);
/* i64 position of the first extreme; NaN wins. kind: max or min; axis: removed from the shape */
STOA_API StoaValue stoa_arg_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, int64_t axis);
/* inclusive running reduction along an axis. kind: sum prod max min; reverse: from the end */
STOA_API StoaValue stoa_cumulative(StoaProgram *program, StoaValue x, StoaReduceKind kind, int64_t axis, bool reverse);
/* stable sort along an axis by the first operand (NaN last); the others are permuted alike */
STOA_API void stoa_sort(StoaProgram *program, const StoaValue *keys, uint32_t keys_count, int64_t axis, bool descending, StoaValue *out_ys);
/* rows of x where mask (rank 1) is true, in order, and their number (i64 scalar). size: symbol that takes the run-time count */
STOA_API void stoa_compact(StoaProgram *program, StoaValue mask, StoaValue x, StoaDim size, StoaValue *out_values, StoaValue *out_count);
/* z[batch, x free, y free] = sum over the contracted axes of x y; 8 and 16-bit floats accumulate in f32; of 8-bit floats, which may differ, z is bf16. x_batch: batch axes of x; y_batch: batch axes of y; x_contract: summed axes of x; y_contract: summed axes of y */
STOA_API StoaValue stoa_dot_general(StoaProgram *program, StoaValue x, StoaValue y, const int64_t *x_batch, uint32_t x_batch_count, const int64_t *y_batch, uint32_t y_batch_count, const int64_t *x_contract, uint32_t x_contract_count, const int64_t *y_contract, uint32_t y_contract_count);
/* x[N,C,spatial] with w[O,C/groups,window] gives y[N,O,spatial] (cross-correlation). strides: one per spatial axis; low: padding before; may be negative; high: padding after; may be negative; x_dilation: empty: 1; w_dilation: empty: 1; groups: divides the channels of x and the outputs of w */
STOA_API StoaValue stoa_convolution(StoaProgram *program, StoaValue x, StoaValue w, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *x_dilation, uint32_t x_dilation_count, const int64_t *w_dilation, uint32_t w_dilation_count, int64_t groups);
/* reduction over sliding windows of the last axes; argmax and argmin give the i64 row-major position of the first extreme within those axes of x. kind: sum max min argmax argmin; window: over the last axes of x; low: padding with the identity; dilation: empty: 1 */
STOA_API StoaValue stoa_reduce_window(StoaProgram *program, StoaValue x, StoaReduceKind kind, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count, const int64_t *dilation, uint32_t dilation_count);
/* discrete Fourier transform over the last axes; the inverse divides by the size. kind: forward inverse real_forward real_inverse; sizes: of the transformed last axes */
STOA_API StoaValue stoa_fft(StoaProgram *program, StoaValue x, StoaFftKind kind, const StoaDim *sizes, uint32_t sizes_count);
/* lower factor of a symmetric positive definite matrix: a = l l^T */
STOA_API StoaValue stoa_cholesky(StoaProgram *program, StoaValue a);
/* x with op(a) x = b */
STOA_API StoaValue stoa_triangular_solve(StoaProgram *program, StoaValue a, StoaValue b, bool lower, bool transpose, bool unit_diagonal);
/* factors with partial pivoting: a[permutation] = l u, packed */
STOA_API void stoa_lu(StoaProgram *program, StoaValue a, StoaValue *out_lu, StoaValue *out_permutation);
/* reduced factors: a = q r */
STOA_API void stoa_qr(StoaProgram *program, StoaValue a, StoaValue *out_q, StoaValue *out_r);
/* eigenvalues (ascending) and vectors of a symmetric matrix */
STOA_API void stoa_eigh(StoaProgram *program, StoaValue a, StoaValue *out_w, StoaValue *out_v);
/* reduced singular value decomposition: a = u diag(s) vt */
STOA_API void stoa_svd(StoaProgram *program, StoaValue a, StoaValue *out_u, StoaValue *out_s, StoaValue *out_vt);
/* complex eigenvalues and right vectors of a general matrix */
STOA_API void stoa_eig(StoaProgram *program, StoaValue a, StoaValue *out_w, StoaValue *out_v);
/* x, with derivative zero */
STOA_API StoaValue stoa_stop_gradient(StoaProgram *program, StoaValue x);
/* xs; keeps rows before it from moving after it */
STOA_API void stoa_barrier(StoaProgram *program, const StoaValue *xs, uint32_t xs_count, StoaValue *out_ys);
/* the parameter holds value after the step */
STOA_API void stoa_assign(StoaProgram *program, StoaValue parameter, StoaValue value);
/* calls out to the embedding program. name: of the registered function */
STOA_API void stoa_effect_call(StoaProgram *program, const StoaValue *args, uint32_t args_count, const char *name);
/* stops the step with a diagnostic when condition is false */
STOA_API void stoa_assert(StoaProgram *program, const StoaValue *condition, uint32_t condition_count, const char *message);
/* says values through the log of the context, in order with other effects, each time it runs. text: with a {} for each value, in order; empty: the values with commas between; most: elements of a value at most; 0: all */
STOA_API void stoa_print(StoaProgram *program, const StoaValue *values, uint32_t values_count, const char *text, int64_t most);
/* reduction over a mesh axis; axis: of the mesh */
STOA_API StoaValue stoa_all_reduce(StoaProgram *program, StoaValue x, StoaReduceKind kind, const char *axis);
/* concatenation over a mesh axis; size: of that axis in the result */
STOA_API StoaValue stoa_all_gather(StoaProgram *program, StoaValue x, int64_t axis, StoaDim size, const char *mesh_axis);
/* sum over a mesh axis, each rank keeping its part; size: of that axis in the result */
STOA_API StoaValue stoa_reduce_scatter(StoaProgram *program, StoaValue x, int64_t axis, StoaDim size, const char *mesh_axis);
/* the x of another rank. shift: ranks to move by */
STOA_API StoaValue stoa_permute(StoaProgram *program, StoaValue x, int64_t shift, const char *mesh_axis);
/* position of this rank on a mesh axis (i64 scalar) */
STOA_API StoaValue stoa_rank_id(StoaProgram *program, const char *mesh_axis);
/* the slices of x along an axis, one a result. axis: removed from the shape; its size is the number of results */
STOA_API void stoa_unstack(StoaProgram *program, StoaValue x, int64_t axis, StoaValue *out_ys, uint32_t ys_count);
/* x x */
STOA_API StoaValue stoa_square(StoaProgram *program, StoaValue x);
/* 1 / x */
STOA_API StoaValue stoa_reciprocal(StoaProgram *program, StoaValue x);
/* max(x, 0) */
STOA_API StoaValue stoa_relu(StoaProgram *program, StoaValue x);
/* x times the normal distribution function; Hendrycks and Gimpel 2016. tanh: the tanh approximation */
STOA_API StoaValue stoa_gelu(StoaProgram *program, StoaValue x, bool tanh);
/* x logistic(x) */
STOA_API StoaValue stoa_silu(StoaProgram *program, StoaValue x);
/* log(1 + e^x), stable */
STOA_API StoaValue stoa_softplus(StoaProgram *program, StoaValue x);
/* average over axes. axes: removed from the shape; ascending */
STOA_API StoaValue stoa_mean(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count);
/* e^x / sum e^x along an axis, stable */
STOA_API StoaValue stoa_softmax(StoaProgram *program, StoaValue x, int64_t axis);
/* log of softmax, stable */
STOA_API StoaValue stoa_log_softmax(StoaProgram *program, StoaValue x, int64_t axis);
/* log sum e^x over axes, stable. axes: removed from the shape; ascending */
STOA_API StoaValue stoa_logsumexp(StoaProgram *program, StoaValue x, const int64_t *axes, uint32_t axes_count);
/* 1 at the index, 0 elsewhere, along a new last axis. size: of the new last axis */
STOA_API StoaValue stoa_one_hot(StoaProgram *program, StoaValue indices, StoaDim size, StoaDtype dtype);
/* -log softmax(logits)[label] for each row; labels are integers; a label outside the classes gives loss 0 */
STOA_API StoaValue stoa_cross_entropy(StoaProgram *program, StoaValue logits, StoaValue labels);
/* cross_entropy(linear(x, weight), labels) without the logits in memory; x[...,C], weight[V,C]; lse: logsumexp of each row of logits, in f32 for 16-bit floats */
STOA_API StoaValue stoa_linear_cross_entropy(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue labels);
/* (x - mean) / sqrt(var + epsilon) weight + bias over the last axis; Ba et al. 2016 */
STOA_API StoaValue stoa_layer_norm(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias, double epsilon);
/* x / sqrt(mean x^2 + epsilon) weight over the last axis; Zhang and Sennrich 2019 */
STOA_API StoaValue stoa_rms_norm(StoaProgram *program, StoaValue x, StoaValue weight, double epsilon);
/* normalises x[N,C,...] over all axes but 1; running var takes the unbiased estimate; Ioffe and Szegedy 2015; momentum: weight of the batch in the running statistics; training: false: use the running statistics */
STOA_API void stoa_batch_norm(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias, StoaValue mean, StoaValue var, double epsilon, double momentum, bool training, StoaValue *out_y, StoaValue *out_new_mean, StoaValue *out_new_var);
/* x weight^T + bias over the last axis; weight is [out, in] */
STOA_API StoaValue stoa_linear(StoaProgram *program, StoaValue x, StoaValue weight, StoaValue bias);
/* matrix product over the last two axes; leading axes are equal or absent from y */
STOA_API StoaValue stoa_matmul(StoaProgram *program, StoaValue x, StoaValue y);
/* the row at an index (scalar) of the first axis, or the rows at several; an index outside takes the nearest row */
STOA_API StoaValue stoa_array_read(StoaProgram *program, StoaValue array, StoaValue index);
/* array with x as its row at an index (scalar), or as its rows at several, which differ; an index outside takes the nearest row */
STOA_API StoaValue stoa_array_write(StoaProgram *program, StoaValue array, StoaValue index, StoaValue x);
/* inverse of a matrix, or of each of a batch */
STOA_API StoaValue stoa_inverse(StoaProgram *program, StoaValue a);
/* x with op(a) x = b, through lu */
STOA_API StoaValue stoa_solve(StoaProgram *program, StoaValue a, StoaValue b, bool transpose);
/* determinant; its derivative is that of an invertible a */
STOA_API StoaValue stoa_det(StoaProgram *program, StoaValue a);
/* -1, 0 or 1: the sign of the determinant */
STOA_API StoaValue stoa_det_sign(StoaProgram *program, StoaValue a);
/* log |det a|, where det overflows or vanishes too; -inf for a singular a */
STOA_API StoaValue stoa_log_abs_det(StoaProgram *program, StoaValue a);
/* rows of table[V,C] at integer indices; an index outside gives zeros */
STOA_API StoaValue stoa_embedding(StoaProgram *program, StoaValue table, StoaValue indices);
/* softmax(scale q k^T) v over the last two axes: q[...,H,T,D], k[...,G,S,D], v[...,G,S,E] where G divides H: key head h G / H serves query head h; a query that sees no key gives zeros; lse[...,H,T]: log of the sum of e^score, in f32 for 16-bit floats; Vaswani et al. 2017, Ainslie et al. 2023. scale: 0: 1 / sqrt(last axis of q); causal: query i sees keys up to i + keys - queries */
STOA_API StoaValue stoa_attention(StoaProgram *program, StoaValue q, StoaValue k, StoaValue v, double scale, bool causal);
/* zeroes elements at random, divides the rest by 1 - rate; Srivastava et al. 2014. rate: probability of zero; stream: distinguishes uses of one seed */
STOA_API StoaValue stoa_dropout(StoaProgram *program, StoaValue x, StoaValue seed, double rate, int64_t stream);
/* maximum of each window; the first maximum takes the gradient. window: over the last axes */
STOA_API StoaValue stoa_max_pool(StoaProgram *program, StoaValue x, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count);
/* sum of each window / its size, padding counted. window: over the last axes */
STOA_API StoaValue stoa_avg_pool(StoaProgram *program, StoaValue x, const int64_t *window, uint32_t window_count, const int64_t *strides, uint32_t strides_count, const StoaDim *low, uint32_t low_count, const StoaDim *high, uint32_t high_count);
/* square root of the sum of the squares of all elements */
STOA_API StoaValue stoa_global_norm(StoaProgram *program, const StoaValue *xs, uint32_t xs_count);
/* b' = momentum b + g; p' = p - rate b' (nesterov: p - rate (g + momentum b')); Sutskever et al. 2013; decay: weight decay added to the gradient */
STOA_API void stoa_sgd(StoaProgram *program, StoaValue parameter, StoaValue gradient, StoaValue momentum_buffer, StoaValue rate, double momentum, double decay, bool nesterov, StoaValue *out_parameter, StoaValue *out_momentum_buffer);
/* Adam with decoupled weight decay; step counts from 1; Loshchilov and Hutter 2019; decay: decoupled: p is first multiplied by 1 - rate decay */
STOA_API void stoa_adamw(StoaProgram *program, StoaValue parameter, StoaValue gradient, StoaValue first, StoaValue second, StoaValue rate, StoaValue step, double beta1, double beta2, double epsilon, double decay, StoaValue *out_parameter, StoaValue *out_first, StoaValue *out_second);

#ifdef __cplusplus
}
#endif

#endif
