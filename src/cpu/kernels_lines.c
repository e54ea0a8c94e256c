/* Operators along one axis that need whole lines: arg_reduce, cumulative, sort.
 *
 * A line is gathered, widened to f64 or i64, worked on in scratch and written back narrowed, so one
 * loop serves every dtype; f32 running sums are thereby exact to the last bit or so. Lanes split
 * lines. Sorting merges runs of indices: stable, NaN last, n log n whatever the keys. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

typedef struct Line { /* one tensor seen as lines */
    Nd       outer;   /* all axes but the line's; side 0 */
    Ref      at;
    int64_t  stride, width; /* bytes */
    BlockFn *convert;       /* reading: to f64 or i64; writing: from it */
} Line;
typedef struct Lines {
    Line        x, y;
    const Line *others, *other_outs; /* sort: every operand and result */
    uint32_t    others_count;
    int64_t     count, n;
    ReduceKind  kind;
    bool        real, backward; /* real: f64, else i64 */
} Lines;

static Line line_of(const LaunchArg *arg, int64_t axis, BlockFn *convert) {
    int64_t        dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
    const int64_t *sides[1] = {strides};
    uint32_t       rank = 0;
    Line           line = {.at = ref_of(arg), .width = arg_width(arg), .convert = convert};
    for (uint32_t i = 0; i < arg->rank; i++) {
        if (i == axis) continue;
        dims[rank] = arg->dims[i];
        strides[rank++] = arg->strides[i];
    }
    line.outer = nd_make(rank, dims, 1, sides, &line.width);
    if (axis < arg->rank) line.stride = arg->strides[axis] * line.width;
    return line;
}
static uint8_t *line_at(const Line *line, int64_t number, const KernelCtx *ctx) {
    return (uint8_t *)ref_at(line->at, ctx) + nd_at(&line->outer, number).offset[0];
}
/* The line's elements as f64 or i64; raw: room for n elements of 8 bytes. */
static void line_read(const Line *line, int64_t number, int64_t n, void *out, void *raw,
                      const KernelCtx *ctx) {
    const void *from = raw;
    nd_copy_row(raw, line->width, line_at(line, number, ctx), line->stride, n, line->width);
    line->convert(out, &from, n, NULL);
}
static void line_write(const Line *line, int64_t number, int64_t n, const void *numbers, void *raw,
                       const KernelCtx *ctx) {
    line->convert(raw, &numbers, n, NULL);
    nd_copy_row(line_at(line, number, ctx), line->stride, raw, line->width, n, line->width);
}

/* --- arg_reduce ------------------------------------------------------------------------------- */

static int64_t best_real(const double *x, int64_t n, bool most) {
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) return i;
        if (most ? x[i] > x[best] : x[i] < x[best]) best = i;
    }
    return best;
}
static int64_t best_integer(const int64_t *x, int64_t n, bool most) {
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++)
        if (most ? x[i] > x[best] : x[i] < x[best]) best = i;
    return best;
}
static void arg_reduce_run(const void *params, const KernelCtx *ctx) {
    const Lines *l = params;
    Part         part = part_of(l->count, 8, ctx);
    uint8_t     *numbers = ctx->scratch, *raw = numbers + l->n * 8;
    int64_t     *y = ref_at(l->y.at, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        line_read(&l->x, i, l->n, numbers, raw, ctx);
        bool most = l->kind == REDUCE_MAX;
        y[i] = l->real ? best_real((const double *)(const void *)numbers, l->n, most)
                       : best_integer((const int64_t *)(const void *)numbers, l->n, most);
    }
}

static Lines *lines_make(Binder *b, int64_t axis) {
    const LaunchArg *x = &b->args[0];
    Dtype            dtype = arg_dtype(x);
    Lines           *l = BIND_PARAMS(b, Lines);
    l->real = dtype_is_float(dtype);
    l->x = line_of(x, axis, b->isa->convert[dtype][l->real ? DTYPE_F64 : DTYPE_I64]);
    l->n = x->dims[axis];
    l->count = l->x.outer.count;
    return l->x.convert != NULL ? l : NULL;
}

bool kernels_bind_arg_reduce(Binder *b) {
    Lines *l = lines_make(b, (int64_t)b->attrs[ATTR_ARG_REDUCE_axis]);
    if (l == NULL) return false;
    l->kind = (ReduceKind)b->attrs[ATTR_ARG_REDUCE_kind];
    l->y.at = ref_of(&b->outs[0]);
    bind_scratch(b, l->n * 16);
    bind_step(b, arg_reduce_run, l, l->count * l->n * 8);
    return true;
}

/* --- cumulative ------------------------------------------------------------------------------- */

static double run_real(double y, double x, ReduceKind kind) {
    if (kind == REDUCE_SUM) return y + x;
    if (kind == REDUCE_PROD) return y * x;
    if (isnan(y) || isnan(x)) return (double)NAN;
    return (kind == REDUCE_MAX) == (x > y) ? x : y;
}
static int64_t run_integer(int64_t y, int64_t x, ReduceKind kind) {
    if (kind == REDUCE_SUM) return (int64_t)((uint64_t)y + (uint64_t)x);
    if (kind == REDUCE_PROD) return (int64_t)((uint64_t)y * (uint64_t)x);
    return (kind == REDUCE_MAX) == (x > y) ? x : y;
}
static void cumulative_run(const void *params, const KernelCtx *ctx) {
    const Lines *l = params;
    Part         part = part_of(l->count, 1, ctx);
    double      *real = (double *)(void *)ctx->scratch;
    int64_t     *integer = (int64_t *)(void *)ctx->scratch;
    uint8_t     *raw = ctx->scratch + l->n * 8;
    int64_t      step = l->backward ? -1 : 1, first = l->backward ? l->n - 1 : 0;
    for (int64_t number = part.first; number < part.last; number++) {
        line_read(&l->x, number, l->n, ctx->scratch, raw, ctx);
        for (int64_t k = 1, i = first + step; k < l->n; k++, i += step) {
            if (l->real)
                real[i] = run_real(real[i - step], real[i], l->kind);
            else
                integer[i] = run_integer(integer[i - step], integer[i], l->kind);
        }
        line_write(&l->y, number, l->n, ctx->scratch, raw, ctx);
    }
}
bool kernels_bind_cumulative(Binder *b) {
    int64_t axis = (int64_t)b->attrs[ATTR_CUMULATIVE_axis];
    Lines  *l = lines_make(b, axis);
    if (l == NULL) return false;
    l->kind = (ReduceKind)b->attrs[ATTR_CUMULATIVE_kind];
    l->backward = b->attrs[ATTR_CUMULATIVE_reverse] != 0;
    l->y = line_of(&b->outs[0], axis,
                   b->isa->convert[l->real ? DTYPE_F64 : DTYPE_I64][b->args[0].dtype]);
    bind_scratch(b, l->n * 16);
    bind_step(b, cumulative_run, l, l->count * l->n * 8);
    return true;
}

/* --- sort ------------------------------------------------------------------------------------- */

/* Whether key a must stand after key b. */
static bool after_real(double a, double b, bool descending) {
    if (isnan(a) || isnan(b)) return isnan(a) && !isnan(b);
    return descending ? a < b : a > b;
}
static bool after_integer(int64_t a, int64_t b, bool descending) {
    return descending ? a < b : a > b;
}

/* Sorts order[0..n) by keys, bottom up; spare has n entries. Returns which of the two holds it. */
static uint32_t *sort_indices(const Lines *l, const void *keys, uint32_t *order, uint32_t *spare) {
    const double  *real = keys;
    const int64_t *integer = keys;
    for (int64_t i = 0; i < l->n; i++) order[i] = (uint32_t)i;
    for (int64_t width = 1; width < l->n; width *= 2) {
        for (int64_t first = 0; first < l->n; first += 2 * width) {
            int64_t middle = first + width < l->n ? first + width : l->n;
            int64_t last = first + 2 * width < l->n ? first + 2 * width : l->n;
            int64_t a = first, b = middle;
            for (int64_t k = first; k < last; k++) {
                bool right = a == middle;
                if (!right && b < last) {
                    uint32_t i = order[a], j = order[b];
                    right = l->real ? after_real(real[i], real[j], l->backward)
                                    : after_integer(integer[i], integer[j], l->backward);
                }
                spare[k] = right ? order[b++] : order[a++];
            }
        }
        uint32_t *swap = order;
        order = spare;
        spare = swap;
    }
    return order;
}
static void sort_run(const void *params, const KernelCtx *ctx) {
    const Lines *l = params;
    Part         part = part_of(l->count, 1, ctx);
    uint8_t     *keys = ctx->scratch, *raw = keys + l->n * 8;
    uint32_t    *first = (uint32_t *)(void *)(raw + l->n * 16), *second = first + l->n;
    for (int64_t number = part.first; number < part.last; number++) {
        line_read(&l->x, number, l->n, keys, raw, ctx);
        const uint32_t *order = sort_indices(l, keys, first, second);
        for (uint32_t k = 0; k < l->others_count; k++) {
            const Line *from = &l->others[k], *to = &l->other_outs[k];
            uint8_t    *x = line_at(from, number, ctx), *y = line_at(to, number, ctx);
            for (int64_t i = 0; i < l->n; i++)
                memcpy(y + i * to->stride, x + order[i] * from->stride, (size_t)from->width);
        }
    }
}
bool kernels_bind_sort(Binder *b) {
    int64_t axis = (int64_t)b->attrs[ATTR_SORT_axis];
    Lines  *l = lines_make(b, axis);
    if (l == NULL || l->n > UINT32_MAX) return false;
    Line *others = ARENA_ARRAY(b->arena, Line, b->operands);
    Line *outs = ARENA_ARRAY(b->arena, Line, b->operands);
    for (uint32_t k = 0; k < b->operands; k++) {
        others[k] = line_of(&b->args[k], axis, NULL);
        outs[k] = line_of(&b->outs[k], axis, NULL);
    }
    l->others = others;
    l->other_outs = outs;
    l->others_count = b->operands;
    l->backward = b->attrs[ATTR_SORT_descending] != 0;
    bind_scratch(b, l->n * 32);
    bind_step(b, sort_run, l, l->count * l->n * 8 * (1 + b->operands));
    return true;
}
