/* Rules that read or write at places computed at run time. Starts of dynamic slices are clamped so
 * that the slice fits; places of gather and scatter are not: what does not fit reads as zero and is
 * not written. */
#include "cpu/interp_inner.h"

/* The offset of a slice of part's shape in whole, with its starts moved so that it fits. */
static int64_t clamped_base(const Tensor *whole, const Tensor *part, const Tensor *starts,
                            const int64_t *strides) {
    int64_t base = 0;
    for (uint32_t i = 0; i < whole->rank; i++) {
        int64_t start = interp_load(starts, i).i, last = whole->shape[i] - part->shape[i];
        if (start > last) start = last;
        if (start < 0) start = 0;
        base += start * strides[i];
    }
    return base;
}
void interp_dynamic_slice(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0);
    int64_t       strides[SHAPE_RANK_MAX] = {0}, at = 0;
    walk_strides(x, strides);
    int64_t base = clamped_base(x, y, interp_in(it, 1), strides);
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w), at++)
        walk_copy(y, at, x, base + walk_offset(w.index, strides, y->rank));
}
void interp_dynamic_update_slice(Interp *it) {
    const Tensor *x = interp_in(it, 0), *update = interp_in(it, 1);
    Tensor       *y = interp_out(it, 0);
    int64_t       strides[SHAPE_RANK_MAX] = {0}, at = 0;
    walk_strides(x, strides);
    int64_t base = clamped_base(x, update, interp_in(it, 2), strides);
    walk_copy_all(y, x);
    for (Walk w = walk_begin(update->shape, update->rank); w.more; walk_next(&w), at++)
        walk_copy(y, base + walk_offset(w.index, strides, y->rank), update, at);
}

/* --- gather and scatter: one geometry --------------------------------------------------------- */
/* `near` is the tensor that is shaped like the indices plus the slice: the result of gather, the
 * updates of scatter. */
typedef struct Geometry {
    const Tensor *x, *indices;
    uint32_t      near_rank;
    Ints          offset_dims, collapsed, batch, index_batch, index_map;
    int64_t       window[SHAPE_RANK_MAX];  /* slice size on each axis of x */
    int64_t       axis_of[SHAPE_RANK_MAX]; /* axis of x of each offset dim */
    int64_t       x_strides[SHAPE_RANK_MAX], index_strides[SHAPE_RANK_MAX];
} Geometry;

/* ORDER: the five lists follow each other in the attributes of both operators from `first`. */
static Geometry geometry_of(const Interp *it, const Tensor *near, uint32_t first) {
    static_assert(ATTR_GATHER_index_map - ATTR_GATHER_offset_dims == 4, "five lists in a row");
    static_assert(ATTR_SCATTER_index_map - ATTR_SCATTER_offset_dims == 4, "five lists in a row");
    Geometry g = {.x = interp_in(it, 0),
                  .indices = interp_in(it, 1),
                  .near_rank = near->rank,
                  .offset_dims = interp_attr_ints(it, first),
                  .collapsed = interp_attr_ints(it, first + 1),
                  .batch = interp_attr_ints(it, first + 2),
                  .index_batch = interp_attr_ints(it, first + 3),
                  .index_map = interp_attr_ints(it, first + 4)};
    walk_strides(g.x, g.x_strides);
    walk_strides(g.indices, g.index_strides);
    uint32_t k = 0;
    for (uint32_t axis = 0; axis < g.x->rank; axis++) {
        g.window[axis] = 1;
        if (ints_has(g.collapsed, axis) || ints_has(g.batch, axis)) continue;
        g.window[axis] = near->shape[g.offset_dims.at[k]];
        g.axis_of[k++] = axis;
    }
    return g;
}

/* Where in x an index of near lies; false when its whole slice does not fit inside x. */
static bool locate(const Geometry *g, const int64_t *near, int64_t *out_at) {
    int64_t  row[SHAPE_RANK_MAX] = {0}, start[SHAPE_RANK_MAX] = {0}, at = 0;
    uint32_t rows = 0;
    for (uint32_t i = 0; i < g->near_rank; i++)
        if (!ints_has(g->offset_dims, i)) row[rows++] = near[i];
    int64_t index_at = walk_offset(row, g->index_strides, rows);
    for (uint32_t i = 0; i < g->index_map.count; i++)
        start[g->index_map.at[i]] = interp_load(g->indices, index_at + i).i;
    for (uint32_t i = 0; i < g->batch.count; i++) start[g->batch.at[i]] = row[g->index_batch.at[i]];
    for (uint32_t axis = 0; axis < g->x->rank; axis++) {
        if (start[axis] < 0 || start[axis] > g->x->shape[axis] - g->window[axis]) return false;
        at += start[axis] * g->x_strides[axis];
    }
    for (uint32_t i = 0; i < g->offset_dims.count; i++)
        at += near[g->offset_dims.at[i]] * g->x_strides[g->axis_of[i]];
    *out_at = at;
    return true;
}

void interp_gather(Interp *it) {
    Tensor  *y = interp_out(it, 0);
    Geometry g = geometry_of(it, y, ATTR_GATHER_offset_dims);
    size_t   bytes = dtype_bytes(y->dtype);
    int64_t  at = 0, from;
    for (Walk w = walk_begin(y->shape, y->rank); w.more; walk_next(&w), at++) {
        if (locate(&g, w.index, &from))
            walk_copy(y, at, g.x, from);
        else
            memset((char *)y->data + (size_t)at * bytes, 0, bytes);
    }
}

void interp_scatter(Interp *it) {
    const Tensor           *x = interp_in(it, 0), *updates = interp_in(it, 2);
    Tensor                 *y = interp_out(it, 0);
    Geometry                g = geometry_of(it, updates, ATTR_SCATTER_offset_dims);
    ScatterKind             kind = (ScatterKind)it->attrs[ATTR_SCATTER_kind];
    bool                    is_float = dtype_is_float(x->dtype);
    static const ReduceKind reduces[SCATTER_KIND_COUNT] = {[SCATTER_ADD] = REDUCE_SUM,
                                                           [SCATTER_MUL] = REDUCE_PROD,
                                                           [SCATTER_MIN] = REDUCE_MIN,
                                                           [SCATTER_MAX] = REDUCE_MAX};
    Num                    *all = interp_load_all(it, x);
    int64_t                 at = 0, to;
    for (Walk w = walk_begin(updates->shape, updates->rank); w.more; walk_next(&w), at++) {
        if (!locate(&g, w.index, &to)) continue;
        Num update = interp_load(updates, at);
        all[to] =
            kind == SCATTER_SET ? update : interp_combine(reduces[kind], is_float, all[to], update);
    }
    for (int64_t i = 0; i < tensor_elements(y); i++) interp_store(y, i, all[i]);
}

/* Rows beyond those that fit are counted only: whoever reads the count refuses it. */
void interp_compact(Interp *it) {
    const Tensor *mask = interp_in(it, 0), *x = interp_in(it, 1);
    Tensor       *y = interp_out(it, 0), *count = interp_out(it, 1);
    int64_t       rows = x->shape[0], kept = 0;
    int64_t       width = rows > 0 ? tensor_elements(x) / rows : 0;
    for (int64_t row = 0; row < rows; row++) {
        if (interp_load(mask, row).i == 0) continue;
        for (int64_t i = 0; i < width && kept < y->shape[0]; i++)
            walk_copy(y, kept * width + i, x, row * width + i);
        kept++;
    }
    interp_store(count, 0, (Num){.i = kept});
}
