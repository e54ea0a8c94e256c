/* Rules of contractions: dot_general and convolution. Products accumulate in double (floats) or in
 * 64 wrapping bits (integers), in the order of the contracted axes, and round once. Operands are
 * widened first and places are listed once, so that the inner loop of a matrix product is two
 * loads and a multiplication. */
#include "cpu/interp_inner.h"

typedef struct Places {
    int64_t *at;
    int64_t  count;
} Places;
/* The offsets of every index over some axes of x, row-major in the order of the list. */
static Places places_over(Interp *it, const Tensor *x, Ints axes) {
    int64_t strides[SHAPE_RANK_MAX] = {0}, sizes[SHAPE_RANK_MAX] = {0};
    int64_t steps[SHAPE_RANK_MAX] = {0};
    Places  places = {NULL, 1};
    walk_strides(x, strides);
    for (uint32_t i = 0; i < axes.count; i++) {
        sizes[i] = x->shape[axes.at[i]];
        steps[i] = strides[axes.at[i]];
        places.count *= sizes[i];
    }
    places.at = ARENA_ARRAY(it->arena, int64_t, places.count);
    int64_t k = 0;
    for (Walk w = walk_begin(sizes, axes.count); w.more; walk_next(&w))
        places.at[k++] = walk_offset(w.index, steps, axes.count);
    return places;
}
/* The axes of x in neither list, ascending. */
static Ints free_axes(const Tensor *x, Ints batch, Ints contract, int64_t *storage) {
    uint32_t count = 0;
    for (uint32_t axis = 0; axis < x->rank; axis++)
        if (!ints_has(batch, axis) && !ints_has(contract, axis)) storage[count++] = axis;
    return (Ints){storage, count};
}

static Num dot(const Num *x, const Num *y, Places x_at, Places y_at, bool is_float) {
    Num sum = is_float ? (Num){.f = 0} : (Num){.i = 0};
    if (is_float)
        for (int64_t k = 0; k < x_at.count; k++) sum.f += x[x_at.at[k]].f * y[y_at.at[k]].f;
    else
        for (int64_t k = 0; k < x_at.count; k++)
            sum.i = wrap_add(sum.i, wrap_mul(x[x_at.at[k]].i, y[y_at.at[k]].i));
    return sum;
}
void interp_dot_general(Interp *it) {
    const Tensor *x = interp_in(it, 0), *y = interp_in(it, 1);
    Tensor       *z = interp_out(it, 0);
    Ints          x_batch = interp_attr_ints(it, ATTR_DOT_GENERAL_x_batch);
    Ints          y_batch = interp_attr_ints(it, ATTR_DOT_GENERAL_y_batch);
    Ints          x_contract = interp_attr_ints(it, ATTR_DOT_GENERAL_x_contract);
    Ints          y_contract = interp_attr_ints(it, ATTR_DOT_GENERAL_y_contract);
    int64_t       x_storage[SHAPE_RANK_MAX], y_storage[SHAPE_RANK_MAX], at = 0;
    Places        xb = places_over(it, x, x_batch), yb = places_over(it, y, y_batch);
    Places        xc = places_over(it, x, x_contract), yc = places_over(it, y, y_contract);
    Places        xf = places_over(it, x, free_axes(x, x_batch, x_contract, x_storage));
    Places        yf = places_over(it, y, free_axes(y, y_batch, y_contract, y_storage));
    const Num    *xs = interp_load_all(it, x), *ys = interp_load_all(it, y);
    bool          is_float = dtype_is_float(x->dtype);
    for (int64_t b = 0; b < xb.count; b++)
        for (int64_t i = 0; i < xf.count; i++)
            for (int64_t j = 0; j < yf.count; j++)
                interp_store(
                    z, at++,
                    dot(xs + xb.at[b] + xf.at[i], ys + yb.at[b] + yf.at[j], xc, yc, is_float));
}

/* --- convolution ------------------------------------------------------------------------------ */
typedef struct Conv {
    const Tensor *x, *w;
    const Num    *xs, *ws;
    Ints          strides, x_dilation, w_dilation;
    int64_t       low[SHAPE_RANK_MAX], x_strides[SHAPE_RANK_MAX], w_strides[SHAPE_RANK_MAX];
    int64_t       groups;
} Conv;

/* y[n, o, spatial...] for the index of one result element. */
static Num conv_one(const Conv *c, const int64_t *index) {
    int64_t  channels = c->w->shape[1], group = index[1] / (c->w->shape[0] / c->groups);
    uint32_t spatial = c->x->rank - 2;
    bool     is_float = dtype_is_float(c->x->dtype);
    Num      sum = is_float ? (Num){.f = 0} : (Num){.i = 0};
    for (Walk k = walk_begin(c->w->shape + 1, spatial + 1); k.more; walk_next(&k)) {
        int64_t channel = group * channels + k.index[0];
        int64_t x_at = index[0] * c->x_strides[0] + channel * c->x_strides[1];
        int64_t w_at = index[1] * c->w_strides[0] + k.index[0] * c->w_strides[1];
        bool    inside = true;
        for (uint32_t i = 0; i < spatial; i++) {
            int64_t dilation = ints_get(c->x_dilation, i, 1);
            int64_t place = index[i + 2] * c->strides.at[i] +
                            k.index[i + 1] * ints_get(c->w_dilation, i, 1) - c->low[i];
            inside = inside && place >= 0 && place % dilation == 0 &&
                     place / dilation < c->x->shape[i + 2];
            x_at += place / dilation * c->x_strides[i + 2];
            w_at += k.index[i + 1] * c->w_strides[i + 2];
        }
        if (!inside) continue;
        if (is_float)
            sum.f += c->xs[x_at].f * c->ws[w_at].f;
        else
            sum.i = wrap_add(sum.i, wrap_mul(c->xs[x_at].i, c->ws[w_at].i));
    }
    return sum;
}
void interp_convolution(Interp *it) {
    Tensor *y = interp_out(it, 0);
    Conv    conv = {.x = interp_in(it, 0),
                    .w = interp_in(it, 1),
                    .xs = interp_load_all(it, interp_in(it, 0)),
                    .ws = interp_load_all(it, interp_in(it, 1)),
                    .strides = interp_attr_ints(it, ATTR_CONVOLUTION_strides),
                    .x_dilation = interp_attr_ints(it, ATTR_CONVOLUTION_x_dilation),
                    .w_dilation = interp_attr_ints(it, ATTR_CONVOLUTION_w_dilation),
                    .groups = (int64_t)it->attrs[ATTR_CONVOLUTION_groups]};
    int64_t at = 0;
    interp_attr_sizes(it, ATTR_CONVOLUTION_low, conv.low);
    walk_strides(conv.x, conv.x_strides);
    walk_strides(conv.w, conv.w_strides);
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w))
        interp_store(y, at++, conv_one(&conv, w.index));
}
