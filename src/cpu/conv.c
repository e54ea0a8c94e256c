/* Convolution: y[n,o,p] = sum over c, k of x[n, c, p stride - low + k dilation] w[o,c,k].
 *
 * Operands are dense. Direct loops over any geometry; each result row (the last axis) accumulates in
 * f64 (i64), input row by input row, with the range of columns that stay inside known in advance. */
#include <string.h>

#include "cpu/kernels.h"

enum { SPACE_MAX = 3 };
typedef struct Conv {
    Ref      x, w, y;
    BlockFn *load, *store;
    bool     real;
    uint32_t axes; /* spatial, leading ones of size 1 added to make SPACE_MAX */
    int64_t  batch, groups, in_channels, out_channels; /* channels of a group */
    int64_t  in[SPACE_MAX], out[SPACE_MAX], window[SPACE_MAX], stride[SPACE_MAX], low[SPACE_MAX];
    int64_t  x_dilation[SPACE_MAX], w_dilation[SPACE_MAX];
    int64_t  in_size, out_size, window_size, width;
} Conv;

/* The element of x under window element k of result element p along an axis; -1: padding. */
static int64_t place_of(const Conv *c, uint32_t axis, int64_t p, int64_t k) {
    int64_t at = p * c->stride[axis] - c->low[axis] + k * c->w_dilation[axis];
    if (at < 0 || at % c->x_dilation[axis] != 0) return -1;
    at /= c->x_dilation[axis];
    return at < c->in[axis] ? at : -1;
}

/* acc[p] += w x[place(p)] along the last axis, for every window element of it. */
static void conv_line(const Conv *c, const uint64_t *x, const uint64_t *w, uint64_t *acc) {
    uint32_t last = SPACE_MAX - 1;
    double  *real = (double *)(void *)acc;
    for (int64_t k = 0; k < c->window[last]; k++)
        for (int64_t p = 0; p < c->out[last]; p++) {
            int64_t at = place_of(c, last, p, k);
            if (at < 0) continue;
            if (c->real) real[p] += word_f64(x[at]) * word_f64(w[k]);
            else acc[p] += x[at] * w[k];
        }
}

/* One row of the result. */
static void conv_row(const Conv *c, const uint8_t *x, const uint8_t *w, int64_t p0, int64_t p1,
                     uint64_t *acc, uint64_t *line, uint64_t *weights) {
    int64_t n = c->in[2], k2 = c->window[2];
    for (int64_t channel = 0; channel < c->in_channels; channel++)
        for (int64_t k = 0; k < c->window[0] * c->window[1]; k++) {
            int64_t a = place_of(c, 0, p0, k / c->window[1]);
            int64_t b = place_of(c, 1, p1, k % c->window[1]);
            if (a < 0 || b < 0) continue;
            const void *from = x + (channel * c->in_size + (a * c->in[1] + b) * n) * c->width;
            const void *taps = w + (channel * c->window_size + k * k2) * c->width;
            c->load(line, &from, n, NULL);
            c->load(weights, &taps, k2, NULL);
            conv_line(c, line, weights, acc);
        }
}

static void conv_run(const void *params, const KernelCtx *ctx) {
    const Conv *c = params;
    int64_t     rows = c->out[0] * c->out[1], columns = c->out[2];
    int64_t     channels = c->groups * c->out_channels;
    uint64_t   *acc = (uint64_t *)(void *)ctx->scratch, *line = acc + columns;
    uint64_t   *weights = line + c->in[2];
    Part        part = part_of(c->batch * channels * rows, 1, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t        row = i % rows, o = i / rows % channels, n = i / rows / channels;
        int64_t        group = o / c->out_channels;
        const uint8_t *x = ref_at(c->x, ctx), *w = ref_at(c->w, ctx);
        uint8_t       *y = ref_at(c->y, ctx);
        const void    *from = acc;
        x += (n * c->groups + group) * c->in_channels * c->in_size * c->width;
        w += o * c->in_channels * c->window_size * c->width;
        memset(acc, 0, (size_t)columns * 8);
        conv_row(c, x, w, row / c->out[1], row % c->out[1], acc, line, weights);
        c->store(y + i * columns * c->width, &from, columns, NULL);
    }
}

/* A list of one number per spatial axis, moved to the last places. */
static void read_axes(const Binder *b, uint32_t attr, int64_t fill, uint32_t axes, int64_t *out) {
    int64_t  numbers[LIST_MAX];
    uint32_t count = launch_ints(b->plan, b->launch, attr, numbers);
    for (uint32_t i = 0; i < SPACE_MAX; i++) out[i] = fill;
    for (uint32_t i = 0; i < count; i++) out[SPACE_MAX - axes + i] = numbers[i];
}

bool conv_bind_convolution(Binder *b) {
    const LaunchArg *x = &b->args[0], *w = &b->args[1], *y = &b->outs[0];
    Dtype            dtype = arg_dtype(x);
    Conv            *c = BIND_PARAMS(b, Conv);
    uint32_t         axes = x->rank - 2;
    if (axes > SPACE_MAX) return false;
    *c = (Conv){.x = ref_of(x), .w = ref_of(w), .y = ref_of(y), .axes = axes};
    c->real = dtype_is_float(dtype);
    c->load = b->isa->convert[dtype][c->real ? DTYPE_F64 : DTYPE_I64];
    c->store = b->isa->convert[c->real ? DTYPE_F64 : DTYPE_I64][dtype];
    if (c->load == NULL || c->store == NULL) return false;
    c->batch = x->dims[0];
    c->groups = (int64_t)b->attrs[ATTR_CONVOLUTION_groups];
    c->in_channels = w->dims[1];
    c->out_channels = w->dims[0] / c->groups;
    c->width = arg_width(x);
    read_axes(b, ATTR_CONVOLUTION_strides, 1, axes, c->stride);
    read_axes(b, ATTR_CONVOLUTION_low, 0, axes, c->low);
    read_axes(b, ATTR_CONVOLUTION_x_dilation, 1, axes, c->x_dilation);
    read_axes(b, ATTR_CONVOLUTION_w_dilation, 1, axes, c->w_dilation);
    c->in_size = c->out_size = c->window_size = 1;
    for (uint32_t i = 0; i < SPACE_MAX; i++) {
        uint32_t axis = i + axes - SPACE_MAX + 2; /* wraps for the added axes, which are not read */
        bool     added = i + axes < SPACE_MAX;
        c->in[i] = added ? 1 : x->dims[axis];
        c->out[i] = added ? 1 : y->dims[axis];
        c->window[i] = added ? 1 : w->dims[axis];
        c->in_size *= c->in[i];
        c->out_size *= c->out[i];
        c->window_size *= c->window[i];
    }
    bind_scratch(b, (c->out[2] + c->in[2] + c->window[2]) * 8);
    bind_step(b, conv_run, c, arg_elements(y) * c->in_channels * c->window_size);
    return true;
}
