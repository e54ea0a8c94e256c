/* Rules that reduce, scan, sort and slide windows. Floats accumulate in double and round once, in
 * row-major order of the operand; NaN wins in every maximum and minimum. Scans, positions and
 * sorting work on the lines of a tensor along one axis. */
#include "cpu/interp_inner.h"

void interp_reduce(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    ReduceKind    kind = (ReduceKind)it->attrs[ATTR_REDUCE_kind];
    Ints          axes = interp_attr_ints(it, ATTR_REDUCE_axes);
    bool          is_float = dtype_is_float(x->dtype);
    int64_t       kept[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX] = {0}, at = 0;
    walk_strides(y, kept);
    for (uint32_t axis = 0, k = 0; axis < x->rank; axis++)
        if (!ints_has(axes, axis)) strides[axis] = kept[k++];
    Num *sums = ARENA_ARRAY(it->arena, Num, tensor_elements(y));
    for (int64_t i = 0; i < tensor_elements(y); i++) sums[i] = interp_identity(kind, x->dtype);
    for (Walk w = walk_begin(x->shape, x->rank); w.more; walk_next(&w), at++) {
        Num *sum = &sums[walk_offset(w.index, strides, x->rank)];
        *sum = interp_combine(kind, is_float, *sum, interp_load(x, at));
    }
    for (int64_t i = 0; i < tensor_elements(y); i++) interp_store(y, i, sums[i]);
}

/* --- along one axis --------------------------------------------------------------------------- */
/* The lines of x along an axis: line l has its first element at line_first and the next one
 * `stride` further. */
typedef struct Lines {
    int64_t count, size, stride;
} Lines;
static Lines lines_of(const Tensor *x, int64_t axis) {
    Lines lines = {.count = 1, .size = x->shape[axis], .stride = 1};
    for (uint32_t i = 0; i < x->rank; i++) {
        if (i != axis) lines.count *= x->shape[i];
        if (i > axis) lines.stride *= x->shape[i];
    }
    return lines;
}
static int64_t line_first(const Lines *lines, int64_t line) {
    return line / lines->stride * lines->stride * lines->size + line % lines->stride;
}

void interp_arg_reduce(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    bool          is_float = dtype_is_float(x->dtype);
    bool          want_max = (ReduceKind)it->attrs[ATTR_ARG_REDUCE_kind] == REDUCE_MAX;
    Lines         lines = lines_of(x, (int64_t)it->attrs[ATTR_ARG_REDUCE_axis]);
    for (int64_t line = 0; line < lines.count; line++) {
        int64_t best = lines.size == 0 ? -1 : 0, first = line_first(&lines, line);
        for (int64_t k = 1; k < lines.size; k++)
            if (interp_beats(want_max, is_float, interp_load(x, first + k * lines.stride),
                             interp_load(x, first + best * lines.stride)))
                best = k;
        interp_store(interp_out(it, 0), line, (Num){.i = best});
    }
}
void interp_cumulative(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    bool          is_float = dtype_is_float(x->dtype);
    ReduceKind    kind = (ReduceKind)it->attrs[ATTR_CUMULATIVE_kind];
    bool          reverse = it->attrs[ATTR_CUMULATIVE_reverse] != 0;
    Lines         lines = lines_of(x, (int64_t)it->attrs[ATTR_CUMULATIVE_axis]);
    if (kind > REDUCE_OR) { /* inference lets positions pass */
        interp_fail_kernel(it);
        return;
    }
    for (int64_t line = 0; line < lines.count; line++) {
        Num sum = interp_identity(kind, x->dtype);
        for (int64_t k = 0; k < lines.size; k++) {
            int64_t place = reverse ? lines.size - 1 - k : k;
            int64_t at = line_first(&lines, line) + place * lines.stride;
            sum = interp_combine(kind, is_float, sum, interp_load(x, at));
            interp_store(interp_out(it, 0), at, sum);
        }
    }
}

/* --- sort ------------------------------------------------------------------------------------- */
typedef struct SortOrder {
    const Num *keys; /* of one line */
    bool       is_float, descending;
} SortOrder;
/* Strictly before: equal keys keep their order, NaN comes last in both directions. */
static bool sorts_before(const SortOrder *order, int64_t a, int64_t b) {
    Num x = order->keys[a], y = order->keys[b];
    if (order->is_float && isnan(x.f)) return false;
    if (order->is_float && isnan(y.f)) return true;
    return interp_beats(order->descending, order->is_float, x, y);
}
/* A merge sort from the bottom up: runs of 1, 2, 4, ... */
static int64_t *sort_line(const SortOrder *order, int64_t size, int64_t *from, int64_t *to) {
    for (int64_t i = 0; i < size; i++) from[i] = i;
    for (int64_t run = 1; run < size; run *= 2) {
        for (int64_t first = 0; first < size; first += 2 * run) {
            int64_t middle = first + run < size ? first + run : size;
            int64_t last = first + 2 * run < size ? first + 2 * run : size;
            int64_t a = first, b = middle;
            for (int64_t k = first; k < last; k++) {
                bool take_b = a == middle || (b < last && sorts_before(order, from[b], from[a]));
                to[k] = take_b ? from[b++] : from[a++];
            }
        }
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}
void interp_sort(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Lines         lines = lines_of(x, (int64_t)it->attrs[ATTR_SORT_axis]);
    Num          *keys = ARENA_ARRAY(it->arena, Num, lines.size);
    int64_t      *from = ARENA_ARRAY(it->arena, int64_t, lines.size);
    int64_t      *to = ARENA_ARRAY(it->arena, int64_t, lines.size);
    SortOrder     order = {keys, dtype_is_float(x->dtype), it->attrs[ATTR_SORT_descending] != 0};
    for (int64_t line = 0; line < lines.count; line++) {
        int64_t first = line_first(&lines, line);
        for (int64_t k = 0; k < lines.size; k++) keys[k] = interp_load(x, first + k * lines.stride);
        int64_t *places = sort_line(&order, lines.size, from, to);
        for (uint32_t i = 0; i < interp_in_count(it); i++)
            for (int64_t k = 0; k < lines.size; k++)
                walk_copy(interp_out(it, i), first + k * lines.stride, interp_in(it, i),
                          first + places[k] * lines.stride);
    }
}

/* --- windows ---------------------------------------------------------------------------------- */
typedef struct Window {
    Ints     size, strides, dilation;
    int64_t  low[SHAPE_RANK_MAX];
    uint32_t lead; /* axes before the windowed ones */
} Window;

/* Reduces one window: y's index selects it. Padding is not visited: it is the identity. */
static Num reduce_one(const Tensor *x, const Window *window, ReduceKind kind,
                      const int64_t *strides, const int64_t *index) {
    bool    is_float = dtype_is_float(x->dtype);
    bool    position = kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN;
    Num     sum = position ? (Num){.i = 0} : interp_identity(kind, x->dtype), best = {.i = -1};
    int64_t base = walk_offset(index, strides, window->lead);
    for (Walk w = walk_begin(window->size.at, window->size.count); w.more; walk_next(&w)) {
        int64_t inner = 0;
        bool    inside = true;
        for (uint32_t i = 0; i < w.rank; i++) {
            uint32_t axis = window->lead + i;
            int64_t  place = index[axis] * window->strides.at[i] +
                            w.index[i] * ints_get(window->dilation, i, 1) - window->low[i];
            inside = inside && place >= 0 && place < x->shape[axis];
            inner += place * strides[axis];
        }
        if (!inside) continue;
        Num number = interp_load(x, base + inner);
        if (!position) {
            sum = interp_combine(kind, is_float, sum, number);
        } else if (best.i < 0 || interp_beats(kind == REDUCE_ARGMAX, is_float, number, sum)) {
            sum = number;
            best.i = inner;
        }
    }
    return position ? best : sum;
}
void interp_reduce_window(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    ReduceKind    kind = (ReduceKind)it->attrs[ATTR_REDUCE_WINDOW_kind];
    Window        window = {.size = interp_attr_ints(it, ATTR_REDUCE_WINDOW_window),
                            .strides = interp_attr_ints(it, ATTR_REDUCE_WINDOW_strides),
                            .dilation = interp_attr_ints(it, ATTR_REDUCE_WINDOW_dilation)};
    int64_t       strides[SHAPE_RANK_MAX] = {0}, at = 0;
    window.lead = x->rank - window.size.count;
    interp_attr_sizes(it, ATTR_REDUCE_WINDOW_low, window.low);
    walk_strides(x, strides);
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w), at++)
        interp_store(y, at, reduce_one(x, &window, kind, strides, w.index));
}
