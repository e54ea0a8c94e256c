/* Rules that make tensors and move elements without looking at them: creation, views, padding,
 * joining. Most are one walk over the result that copies from a strided place of the operand. What
 * the bytes mean is not their business, so they take complex numbers too. */
#include "cpu/interp_inner.h"
#include "tables/philox.h"

/* --- creation --------------------------------------------------------------------------------- */
void interp_constant(Interp *it) {
    ConstId id = {(uint32_t)it->attrs[ATTR_CONSTANT_value]};
    Tensor *y = interp_out(it, 0);
    ASSERT(it->world->consts.rows.count[id.row] == tensor_bytes(y));
    memcpy(y->data, consts_bytes(&it->world->consts, id), tensor_bytes(y));
}
void interp_iota(Interp *it) {
    Tensor *y = interp_out(it, 0);
    int64_t axis = (int64_t)it->attrs[ATTR_IOTA_axis], at = 0;
    bool    is_float = dtype_is_float(y->dtype);
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w), at++) {
        int64_t number = w.index[axis];
        interp_store(y, at, is_float ? (Num){.f = (double)number} : (Num){.i = number});
    }
}
void interp_rng_bits(Interp *it) {
    Tensor  *y = interp_out(it, 0);
    uint64_t key = (uint64_t)interp_load(interp_in(it, 0), 0).i;
    for (int64_t i = 0; i < tensor_elements(y); i++) {
        Philox drawn = philox_draw(key, (uint64_t)i / 4, it->attrs[ATTR_RNG_BITS_stream]);
        interp_store(y, i, (Num){.i = drawn.word[i % 4]});
    }
}
void interp_dim_size(Interp *it) {
    int64_t axis = (int64_t)it->attrs[ATTR_DIM_SIZE_axis];
    interp_store(interp_out(it, 0), 0, (Num){.i = interp_in(it, 0)->shape[axis]});
}

/* --- views ------------------------------------------------------------------------------------ */
/* y[index] = x[base + sum(index * strides)] for every index of y. */
static void copy_strided(Tensor *y, const Tensor *x, int64_t base, const int64_t *strides) {
    int64_t at = 0;
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w), at++)
        walk_copy(y, at, x, base + walk_offset(w.index, strides, y->rank));
}

void interp_same(Interp *it) { /* reshape, copy, stop_gradient, barrier */
    for (uint32_t i = 0; i < it->world->code.ops.results_count[it->op.row]; i++)
        walk_copy_all(interp_out(it, i), interp_in(it, i));
}
void interp_broadcast_in_dim(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    Ints          axes = interp_attr_ints(it, ATTR_BROADCAST_IN_DIM_axes);
    int64_t       from[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX] = {0};
    walk_strides(x, from);
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != 1) strides[axes.at[i]] = from[i];
    copy_strided(y, x, 0, strides);
}
void interp_transpose(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Ints          permutation = interp_attr_ints(it, ATTR_TRANSPOSE_permutation);
    int64_t       from[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
    walk_strides(x, from);
    for (uint32_t i = 0; i < x->rank; i++) strides[i] = from[permutation.at[i]];
    copy_strided(interp_out(it, 0), x, 0, strides);
}
void interp_slice(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Ints          steps = interp_attr_ints(it, ATTR_SLICE_strides);
    int64_t       starts[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX], base = 0;
    interp_attr_sizes(it, ATTR_SLICE_starts, starts);
    walk_strides(x, strides);
    for (uint32_t i = 0; i < x->rank; i++) {
        base += starts[i] * strides[i];
        strides[i] *= ints_get(steps, i, 1);
    }
    copy_strided(interp_out(it, 0), x, base, strides);
}
void interp_reverse(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Ints          axes = interp_attr_ints(it, ATTR_REVERSE_axes);
    int64_t       strides[SHAPE_RANK_MAX], base = 0;
    walk_strides(x, strides);
    for (uint32_t i = 0; i < axes.count; i++) {
        int64_t axis = axes.at[i];
        base += (x->shape[axis] - 1) * strides[axis];
        strides[axis] = -strides[axis];
    }
    copy_strided(interp_out(it, 0), x, base, strides);
}

/* --- padding and joining ---------------------------------------------------------------------- */
void interp_pad(Interp *it) {
    const Tensor *x = interp_in(it, 0), *fill = interp_in(it, 1);
    Tensor       *y = interp_out(it, 0);
    Ints          gaps = interp_attr_ints(it, ATTR_PAD_interior);
    int64_t       low[SHAPE_RANK_MAX] = {0}, strides[SHAPE_RANK_MAX] = {0}, at = 0;
    interp_attr_sizes(it, ATTR_PAD_low, low);
    walk_strides(y, strides);
    for (int64_t i = 0; i < tensor_elements(y); i++) walk_copy(y, i, fill, 0);
    for (Walk w = walk_begin(x->shape, x->rank); w.more; walk_next(&w), at++) {
        int64_t to = 0;
        bool    inside = true;
        for (uint32_t i = 0; i < x->rank; i++) {
            int64_t place = low[i] + w.index[i] * (ints_get(gaps, i, 0) + 1);
            inside = inside && place >= 0 && place < y->shape[i];
            to += place * strides[i];
        }
        if (inside) walk_copy(y, to, x, at);
    }
}
void interp_concat(Interp *it) {
    Tensor *y = interp_out(it, 0);
    int64_t axis = (int64_t)it->attrs[ATTR_CONCAT_axis], before = 0;
    int64_t strides[SHAPE_RANK_MAX];
    walk_strides(y, strides);
    for (uint32_t k = 0; k < interp_in_count(it); k++) {
        const Tensor *x = interp_in(it, k);
        int64_t       at = 0;
        for (Walk w = walk_begin(x->shape, x->rank); w.more; walk_next(&w), at++)
            walk_copy(y, walk_offset(w.index, strides, y->rank) + before * strides[axis], x, at);
        before += x->shape[axis];
    }
}
