/* reduce_window: reductions over sliding windows of the last axes (pooling).
 *
 * Operands are dense. A plane is what the windowed axes reach; lanes split planes, and rows of the
 * result within them. A result row is accumulated window element by window element: for each, the
 * range of result columns whose element lies inside the operand is known in advance, so the inner
 * loop has no bounds to test. Accumulators are f64 or int64_t, extremes of at most 32 bits stay f32
 * or int32_t, whose rows the compiler makes vectors of; positions run beside them. */
#include <string.h>

#include "cpu/kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#endif

enum { AXES_MAX = SHAPE_RANK_MAX, TAPS_MAX = 64 };
typedef struct Reach { /* an element of the window on the last axis */
    int64_t first;     /* its place in the operand for column 0 */
    int64_t low, high; /* columns for which it is inside the operand */
} Reach;
typedef struct RowState {    /* one result row */
    void       *acc, *place; /* numbers; where the best so far is, -1: none */
    void       *room;        /* for a loaded row */
    const void *loaded;
} RowState;
typedef void FoldExtreme(RowState *row, Reach reach, int64_t offset, int64_t step);
typedef struct Window {
    Ref          x, y;
    BlockFn     *load, *store; /* operand row to numbers (NULL: it is), result from them (NULL) */
    ReduceKind   kind;
    bool         real, position, narrow; /* narrow: numbers and positions of 32 bits */
    uint32_t     axes;
    int64_t      planes, rows; /* rows of the result in a plane */
    int64_t      in_plane, out_plane, width, out_width;
    int64_t      in[AXES_MAX], out[AXES_MAX], window[AXES_MAX], stride[AXES_MAX], low[AXES_MAX];
    int64_t      dilation[AXES_MAX];
    int64_t      elements; /* of the window without its last axis */
    uint64_t     start;
    FoldExtreme *extreme; /* NULL: sums and products */
    Reach       *reaches; /* by element of the window on the last axis */
    PoolFn      *pool;    /* of columns whose windows lie inside the operand: from low_whole on, */
    int64_t      low_whole, high_whole; /* NULL: none, and they are equal */
} Window;

/* Folds x[first + i step] into result column i for i in [from, to). An element of a window is as
 * often the best so far as not, so nothing branches on it: NaN wins and stays, the first of equals
 * stays, and where positions are asked for the first element is taken whatever it is. */
#define EXTREME(NUMBER, STEP, BETTER)                                                              \
    for (int64_t i = 0; i < count; i++) {                                                          \
        NUMBER x = from[i * (STEP)], y = acc[i];                                                   \
        acc[i] = (BETTER) ? x : y;                                                                 \
    }
#define EXTREME_PLACE(NUMBER, PLACE, STEP, BETTER)                                                 \
    for (int64_t i = 0; i < count; i++) {                                                          \
        NUMBER x = from[i * (STEP)], y = acc[i];                                                   \
        PLACE  old = place[i], at = (PLACE)(offset + begin + i * (STEP));                          \
        bool   take = (BETTER) | (old < 0);                                                        \
        place[i] = take ? at : old;                                                                \
        acc[i] = take ? x : y;                                                                     \
    }
/* Steps of 1 and 2 are constants, so that neighbours become vectors. */
#define FOLD_EXTREME(NAME, NUMBER, PLACE, BETTER)                                                  \
    static void NAME(RowState *row, Reach reach, int64_t offset, int64_t step) {                   \
        int64_t       count = reach.high - reach.low, begin = reach.first + reach.low * step;      \
        const NUMBER *from = (const NUMBER *)row->loaded + begin;                                  \
        NUMBER *restrict acc = (NUMBER *)row->acc + reach.low;                                     \
        (void)offset;                                                                              \
        if (step == 1)                                                                             \
            EXTREME(NUMBER, 1, BETTER)                                                             \
        else if (step == 2)                                                                        \
            EXTREME(NUMBER, 2, BETTER)                                                             \
        else                                                                                       \
            EXTREME(NUMBER, step, BETTER)                                                          \
    }                                                                                              \
    static void NAME##_place(RowState *row, Reach reach, int64_t offset, int64_t step) {           \
        int64_t       count = reach.high - reach.low, begin = reach.first + reach.low * step;      \
        const NUMBER *from = (const NUMBER *)row->loaded + begin;                                  \
        NUMBER *restrict acc = (NUMBER *)row->acc + reach.low;                                     \
        PLACE *restrict place = (PLACE *)row->place + reach.low;                                   \
        if (step == 1)                                                                             \
            EXTREME_PLACE(NUMBER, PLACE, 1, BETTER)                                                \
        else if (step == 2)                                                                        \
            EXTREME_PLACE(NUMBER, PLACE, 2, BETTER)                                                \
        else                                                                                       \
            EXTREME_PLACE(NUMBER, PLACE, step, BETTER)                                             \
    }
FOLD_EXTREME(most_f32, float, int32_t, (y == y) & !(x <= y))
FOLD_EXTREME(least_f32, float, int32_t, (y == y) & !(x >= y))
FOLD_EXTREME(most_i32, int32_t, int32_t, x > y)
FOLD_EXTREME(least_i32, int32_t, int32_t, x < y)
FOLD_EXTREME(most_f64, double, int64_t, (y == y) & !(x <= y))
FOLD_EXTREME(least_f64, double, int64_t, (y == y) & !(x >= y))
FOLD_EXTREME(most_i64, int64_t, int64_t, x > y)
FOLD_EXTREME(least_i64, int64_t, int64_t, x < y)
#define BOTH(NAME)                                                                                 \
    { NAME, NAME##_place }
static FoldExtreme *const fold_extremes[2][2][2][2] = {/* by narrow, real, most, position */
                                                       {{BOTH(least_i64), BOTH(most_i64)},
                                                        {BOTH(least_f64), BOTH(most_f64)}},
                                                       {{BOTH(least_i32), BOTH(most_i32)},
                                                        {BOTH(least_f32), BOTH(most_f32)}}};

static bool is_most(ReduceKind kind) { return kind == REDUCE_MAX || kind == REDUCE_ARGMAX; }
static bool is_extreme(ReduceKind kind) { return kind != REDUCE_SUM && kind != REDUCE_PROD; }
static void fold(const Window *w, RowState *row, Reach reach, int64_t place) {
    int64_t         step = w->stride[w->axes - 1];
    const uint64_t *loaded = row->loaded;
    uint64_t       *acc = row->acc;
    double         *real = row->acc;
    bool            product = w->kind == REDUCE_PROD;
    if (reach.low >= reach.high) return;
    if (w->extreme != NULL) {
        w->extreme(row, reach, place, step);
        return;
    }
    for (int64_t i = reach.low; i < reach.high; i++) {
        uint64_t x = loaded[reach.first + i * step];
        if (w->real)
            real[i] = product ? real[i] * word_f64(x) : real[i] + word_f64(x);
        else
            acc[i] = product ? acc[i] * x : acc[i] + x;
    }
}

/* Columns [first, last) have seen nothing yet. */
static void begin(const Window *w, const RowState *row, int64_t first, int64_t last) {
    int64_t width = w->narrow ? 4 : 8;
    for (int64_t j = first; j < last && w->narrow; j++)
        ((uint32_t *)row->acc)[j] = (uint32_t)w->start;
    for (int64_t j = first; j < last && !w->narrow; j++) ((uint64_t *)row->acc)[j] = w->start;
    if (w->position && first < last) /* -1 */
        memset((uint8_t *)row->place + first * width, 0xFF, (size_t)((last - first) * width));
}
/* One row of the window: columns of whole windows are left to taps, of which there are count. */
static int64_t window_taps(const Window *w, RowState *row, int64_t offset, PoolTap *taps,
                           int64_t count) {
    uint32_t last = w->axes - 1;
    for (int64_t k = 0; k < w->window[last]; k++) {
        Reach   reach = w->reaches[k], left = reach, right = reach;
        int64_t at = reach.first + w->low_whole * w->stride[last];
        if (w->pool != NULL)
            taps[count++] = (PoolTap){(const float *)row->loaded + at, (int32_t)(offset + at)};
        left.high = reach.high < w->low_whole ? reach.high : w->low_whole;
        right.low = reach.low > w->high_whole ? reach.low : w->high_whole;
        fold(w, row, left, offset);
        fold(w, row, right, offset);
    }
    return count;
}
/* One result row: outer is its index in the plane (all axes but the last). */
static void window_row(const Window *w, RowState *row, const uint8_t *plane, int64_t outer) {
    uint32_t last = w->axes - 1;
    int64_t  at[AXES_MAX] = {0}, n = w->in[last], count = 0;
    PoolTap  taps[TAPS_MAX];
    for (uint32_t i = last; i-- > 1; outer /= w->out[i]) at[i] = outer % w->out[i];
    if (last > 0) at[0] = outer;
    for (int64_t element = 0; element < w->elements; element++) {
        int64_t offset = 0, scale = 1, left = element;
        bool    inside = true;
        for (uint32_t i = last; i-- > 0; scale *= w->in[i]) {
            int64_t tap = left;
            if (i > 0) tap = left % w->window[i], left /= w->window[i]; /* dividing takes long */
            int64_t place = at[i] * w->stride[i] - w->low[i] + tap * w->dilation[i];
            inside &= place >= 0 && place < w->in[i];
            offset += place * scale;
        }
        if (!inside) continue;
        const void *from = plane + offset * n * w->width;
        row->loaded = w->load != NULL ? row->room : from;
        if (w->load != NULL) w->load(row->room, &from, n, NULL);
        count = window_taps(w, row, offset * n, taps, count);
    }
    if (count > 0)
        w->pool(taps, count, w->stride[last], w->high_whole - w->low_whole,
                (float *)row->acc + w->low_whole, (int32_t *)row->place + w->low_whole);
    else
        begin(w, row, w->low_whole, w->high_whole);
}

static void window_run(const void *params, const KernelCtx *ctx) {
    const Window *w = params;
    uint32_t      last = w->axes - 1;
    int64_t       columns = w->out[last];
    int64_t       width = w->narrow ? 4 : 8;
    RowState      row = {.acc = ctx->scratch, .place = ctx->scratch + columns * width};
    row.room = ctx->scratch + 2 * columns * width;
    Part           part = part_of(w->planes * w->rows, 1, ctx);
    const uint8_t *x = ref_at(w->x, ctx);
    uint8_t       *y = ref_at(w->y, ctx);
    int64_t        plane = part.first / w->rows, outer = part.first % w->rows;
    for (int64_t i = part.first; i < part.last; i++, outer++) {
        if (outer == w->rows) plane++, outer = 0;
        uint8_t *to = y + (plane * w->out_plane + outer * columns) * w->out_width;
        if (w->store == NULL) row.acc = to;
        begin(w, &row, 0, w->low_whole);
        begin(w, &row, w->high_whole, columns);
        window_row(w, &row, x + plane * w->in_plane * w->width, outer);
        const void *from = w->position ? row.place : row.acc;
        if (w->store != NULL) w->store(to, &from, columns, NULL);
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

/* Extremes of f32 as they are, over columns whose windows lie inside. */
static void set_pool(const Binder *b, Window *w) {
    uint32_t last = w->axes - 1;
    int64_t  low = 0, high = w->out[last], step = w->stride[last];
    for (int64_t k = 0; k < w->window[last]; k++) {
        if (w->reaches[k].low > low) low = w->reaches[k].low;
        if (w->reaches[k].high < high) high = w->reaches[k].high;
    }
    bool serves = w->extreme != NULL && w->narrow && w->real && w->load == NULL && step <= 2;
    if (!serves || w->elements * w->window[last] > TAPS_MAX || high - low < POOL_LANES) return;
    w->pool = b->isa->pool[is_most(w->kind)];
    w->low_whole = low;
    w->high_whole = high;
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
    if (w->kind == REDUCE_AND || w->kind == REDUCE_OR) return false;
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
    w->narrow = is_extreme(w->kind) && w->width <= 4 && w->in_plane < INT32_MAX;
    Dtype reals = w->narrow ? DTYPE_F32 : DTYPE_F64, wholes = w->narrow ? DTYPE_I32 : DTYPE_I64;
    Dtype number = w->real ? reals : wholes;
    w->load = b->isa->convert[dtype][number];
    w->store = b->isa->convert[w->position ? wholes : number][y->dtype];
    if (w->load == NULL || w->store == NULL) return false;
    if (is_extreme(w->kind))
        w->extreme = fold_extremes[w->narrow][w->real][is_most(w->kind)][w->position];
    if (dtype == number) w->load = NULL;
    if (!w->position && y->dtype == number) w->store = NULL;
    w->reaches = reaches_of(b, w);
    set_pool(b, w);
    w->rows = w->out_plane / w->out[w->axes - 1];
    w->start = kernels_reduce_start(w->kind == REDUCE_ARGMAX   ? REDUCE_MAX
                                    : w->kind == REDUCE_ARGMIN ? REDUCE_MIN
                                                               : w->kind,
                                    dtype);
    if (w->narrow && w->real) { /* the bits of a double, else an integer */
        float    start = (float)word_f64(w->start);
        uint32_t bits;
        memcpy(&bits, &start, sizeof bits);
        w->start = bits;
    }
    bind_scratch(b, (2 * w->out[w->axes - 1] + w->in[w->axes - 1]) * 8);
    bind_step(b, window_run, w, arg_elements(y) * w->elements * w->window[w->axes - 1] * w->width);
    return true;
}
