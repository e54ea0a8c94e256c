/* reduce_window: reductions over sliding windows of the last axes (pooling).
 *
 * Operands are dense. A plane is what the windowed axes reach; lanes split planes, and rows of the
 * result within them. A result row is accumulated window element by window element: for each, the
 * range of result columns whose element lies inside the operand is known in advance, so the inner
 * loop has no bounds to test. Accumulators are f64 or int64_t; positions run beside them. */
#include <string.h>

#include "cpu/kernels.h"

enum { AXES_MAX = SHAPE_RANK_MAX };
typedef struct Reach { /* an element of the window on the last axis */
    int64_t first;     /* its place in the operand for column 0 */
    int64_t low, high; /* columns for which it is inside the operand */
} Reach;
typedef struct Window {
    Ref        x, y;
    BlockFn   *load, *store; /* operand row to f64 or i64; result from f64 or i64 */
    ReduceKind kind;
    bool       real, position;
    uint32_t   axes;
    int64_t    planes, rows; /* rows of the result in a plane */
    int64_t    in_plane, out_plane, width, out_width;
    int64_t    in[AXES_MAX], out[AXES_MAX], window[AXES_MAX], stride[AXES_MAX], low[AXES_MAX];
    int64_t    dilation[AXES_MAX];
    int64_t    elements; /* of the window without its last axis */
    uint64_t   start;
    Reach     *reaches; /* by element of the window on the last axis */
} Window;

typedef struct RowState { /* one result row */
    uint64_t *acc;
    int64_t  *place; /* of the best so far, -1: none */
    uint64_t *loaded;
} RowState;

/* Folds x[first + i step] into result column i for i in [from, to). An element of a window is as
 * often the best so far as not, so nothing branches on it: NaN wins and stays, the first of equals
 * stays, and where positions are asked for the first element is taken whatever it is. */
#define EXTREME(NUMBER, BETTER)                                                                    \
    for (int64_t i = 0; i < count; i++) {                                                          \
        uint64_t bits = x_bits[i * step], kept = acc[i], take;                                     \
        NUMBER   x, y;                                                                             \
        memcpy(&x, &bits, sizeof x);                                                               \
        memcpy(&y, &kept, sizeof y);                                                               \
        take = (BETTER);                                                                           \
        if (position) {                                                                            \
            uint64_t at = first + (uint64_t)(i * step), old = (uint64_t)place[i];                  \
            take = -(take | (old >> 63));                                                          \
            place[i] = (int64_t)((at & take) | (old & ~take));                                     \
        } else {                                                                                   \
            take = -take;                                                                          \
        }                                                                                          \
        acc[i] = (bits & take) | (kept & ~take);                                                   \
    }
static inline void fold_extreme(const Window *w, const RowState *row, Reach reach, int64_t offset,
                                bool position) {
    int64_t         step = w->stride[w->axes - 1], count = reach.high - reach.low;
    int64_t         begin = reach.first + reach.low * step;
    uint64_t        first = (uint64_t)(offset + begin);
    const uint64_t *x_bits = row->loaded + begin;
    uint64_t *restrict acc = row->acc + reach.low;
    int64_t *restrict place = row->place + reach.low;
    bool most = w->kind == REDUCE_MAX || w->kind == REDUCE_ARGMAX;
    if (count <= 0) return;
    if (w->real && most)
        EXTREME(double, (y == y) & !(x <= y))
    else if (w->real)
        EXTREME(double, (y == y) & !(x >= y))
    else if (most)
        EXTREME(int64_t, x > y)
    else
        EXTREME(int64_t, x < y)
}
static void fold(const Window *w, RowState *row, Reach reach, int64_t place) {
    int64_t step = w->stride[w->axes - 1];
    double *real = (double *)(void *)row->acc;
    bool    product = w->kind == REDUCE_PROD;
    if (w->kind != REDUCE_SUM && w->kind != REDUCE_PROD) {
        if (w->position)
            fold_extreme(w, row, reach, place, true);
        else
            fold_extreme(w, row, reach, place, false);
        return;
    }
    for (int64_t i = reach.low; i < reach.high; i++) {
        uint64_t x = row->loaded[reach.first + i * step];
        if (w->real)
            real[i] = product ? real[i] * word_f64(x) : real[i] + word_f64(x);
        else
            row->acc[i] = product ? row->acc[i] * x : row->acc[i] + x;
    }
}

/* One result row: outer is its index in the plane (all axes but the last). */
static void window_row(const Window *w, RowState *row, const uint8_t *plane, int64_t outer) {
    uint32_t last = w->axes - 1;
    int64_t  at[AXES_MAX] = {0}, n = w->in[last];
    for (uint32_t i = last; i-- > 0; outer /= w->out[i]) at[i] = outer % w->out[i];
    for (int64_t element = 0; element < w->elements; element++) {
        int64_t offset = 0, scale = 1, left = element;
        bool    inside = true;
        for (uint32_t i = last; i-- > 0; scale *= w->in[i], left /= w->window[i]) {
            int64_t place = at[i] * w->stride[i] - w->low[i] + left % w->window[i] * w->dilation[i];
            inside &= place >= 0 && place < w->in[i];
            offset += place * scale;
        }
        if (!inside) continue;
        const void *from = plane + offset * n * w->width;
        w->load(row->loaded, &from, n, NULL);
        for (int64_t k = 0; k < w->window[last]; k++) fold(w, row, w->reaches[k], offset * n);
    }
}

static void window_run(const void *params, const KernelCtx *ctx) {
    const Window *w = params;
    uint32_t      last = w->axes - 1;
    int64_t       columns = w->out[last];
    RowState      row = {.acc = (uint64_t *)(void *)ctx->scratch};
    row.place = (int64_t *)(void *)(row.acc + columns);
    row.loaded = (uint64_t *)(void *)(row.place + columns);
    Part           part = part_of(w->planes * w->rows, 1, ctx);
    const uint8_t *x = ref_at(w->x, ctx);
    uint8_t       *y = ref_at(w->y, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t plane = i / w->rows, outer = i % w->rows;
        for (int64_t j = 0; j < columns; j++) {
            row.acc[j] = w->start;
            row.place[j] = -1;
        }
        window_row(w, &row, x + plane * w->in_plane * w->width, outer);
        const void *from = w->position ? (const void *)row.place : row.acc;
        for (int64_t j = 0; w->position && j < columns; j++)
            if (row.place[j] < 0) row.place[j] = 0; /* a window of padding only */
        w->store(y + (plane * w->out_plane + outer * columns) * w->out_width, &from, columns, NULL);
    }
}

static Reach *reaches_of(Binder *b, const Window *w) {
    uint32_t last = w->axes - 1;
    int64_t  step = w->stride[last], n = w->in[last], columns = w->out[last];
    Reach   *reaches = ARENA_ARRAY(b->arena, Reach, (size_t)w->window[last]);
    for (int64_t k = 0; k < w->window[last]; k++) {
        Reach reach = {.first = k * w->dilation[last] - w->low[last]};
        reach.low = reach.first >= 0 ? 0 : (-reach.first + step - 1) / step;
        reach.high = reach.first >= n ? 0 : (n - 1 - reach.first) / step + 1;
        if (reach.high > columns) reach.high = columns;
        reaches[k] = reach;
    }
    return reaches;
}

bool kernels_bind_reduce_window(Binder *b) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    Dtype            dtype = arg_dtype(x);
    Window          *w = BIND_PARAMS(b, Window);
    int64_t          dilation[LIST_MAX];
    w->kind = (ReduceKind)b->attrs[ATTR_REDUCE_WINDOW_kind];
    w->real = dtype_is_float(dtype);
    w->position = w->kind == REDUCE_ARGMAX || w->kind == REDUCE_ARGMIN;
    w->x = ref_of(x);
    w->y = ref_of(y);
    w->width = arg_width(x);
    w->out_width = arg_width(y);
    w->load = b->isa->convert[dtype][w->real ? DTYPE_F64 : DTYPE_I64];
    w->store = b->isa->convert[w->real && !w->position ? DTYPE_F64 : DTYPE_I64][y->dtype];
    if (w->load == NULL || w->store == NULL || w->kind == REDUCE_AND || w->kind == REDUCE_OR)
        return false;
    w->axes = launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_window, w->window);
    (void)launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_strides, w->stride);
    (void)launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_low, w->low);
    bool dilated = launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_dilation, dilation) > 0;
    w->in_plane = w->out_plane = w->elements = w->planes = 1;
    uint32_t outer = x->rank - w->axes;
    for (uint32_t i = 0; i < outer; i++) w->planes *= x->dims[i];
    for (uint32_t i = 0; i < w->axes; i++) {
        w->dilation[i] = dilated ? dilation[i] : 1;
        w->in[i] = x->dims[outer + i];
        w->out[i] = y->dims[outer + i];
        w->in_plane *= w->in[i];
        w->out_plane *= w->out[i];
        if (i + 1 < w->axes) w->elements *= w->window[i];
    }
    w->reaches = reaches_of(b, w);
    w->rows = w->out_plane / w->out[w->axes - 1];
    w->start = kernels_reduce_start(w->kind == REDUCE_ARGMAX   ? REDUCE_MAX
                                    : w->kind == REDUCE_ARGMIN ? REDUCE_MIN
                                                               : w->kind,
                                    dtype);
    bind_scratch(b, (2 * w->out[w->axes - 1] + w->in[w->axes - 1]) * 8);
    bind_step(b, window_run, w, arg_elements(y) * w->elements * w->window[w->axes - 1] * w->width);
    return true;
}
