/* gather and scatter, and tensors made of indices: iota and random bits.
 *
 * An index row (all axes of indices but the last) names a start in x; the slice there is copied
 * to, or combined with, its place. Rows and slices are strided walks prepared at bind time; one
 * long contiguous slice (an embedding) is one row copy.
 *
 * Scatter combines equal places in row order whatever the number of pieces: they have either
 * disjoint columns of the slice, disjoint batch rows, or disjoint starts along one axis, and
 * each goes through the rows in order. */
#include <string.h>

#include "cpu/kernels.h"
#include "tables/philox.h"

enum { BLOCK = 512, COLUMNS_MIN = 128 };

typedef enum Share { SHARE_NONE, SHARE_COLUMNS, SHARE_BATCH, SHARE_STARTS } Share;

typedef struct Indexed {
    Nd       rows;  /* sides: indices, x (batch part), result or updates */
    Nd       slice; /* sides: where it goes, where it comes from */
    Ref      x, indices, other, y;
    BlockFn *index;                  /* to i64 */
    BlockFn *combine, *load, *store; /* scatter; combine NULL: set */
    uint32_t components;
    int64_t  component_stride, index_width;                           /* bytes, in indices */
    int64_t  start_max[SHAPE_RANK_MAX], start_stride[SHAPE_RANK_MAX]; /* by component; bytes */
    int64_t  width;
    bool     past;        /* gather: whole rows, stored past the caches */
    bool     adds_points; /* scatter: single f32 are added at places of one number */
    Share    share;
    int64_t  shared; /* SHARE_BATCH: index rows per batch row */
} Indexed;

/* The byte offset in x of the slice that an index row names; -1 if it does not fit. */
static int64_t slice_at(const Indexed *g, const uint8_t *indices, const NdWalk *row,
                        int64_t *out_first) {
    int64_t offset = row->offset[1];
    *out_first = 0;
    for (uint32_t c = 0; c < g->components; c++) {
        const void *at = indices + row->offset[0] + c * g->component_stride;
        int64_t     start;
        g->index(&start, &at, 1, NULL);
        if (start < 0 || start > g->start_max[c]) return -1;
        if (c == 0) *out_first = start;
        offset += start * g->start_stride[c];
    }
    return offset;
}

static void gather_run(const void *params, const KernelCtx *ctx) {
    static const uint8_t zero[16] = {0};
    const Indexed       *g = params;
    Part                 part = part_of(g->rows.count, 1, ctx);
    const uint8_t       *x = ref_at(g->x, ctx), *indices = ref_at(g->indices, ctx);
    uint8_t             *y = ref_at(g->y, ctx);
    NdWalk               row = nd_at(&g->rows, part.first);
    Nd                   blank = g->slice;
    int64_t              unused, inner = nd_inner(&g->slice);
    memset(blank.strides[1], 0, sizeof blank.strides[1]);
    int64_t next = slice_at(g, indices, &row, &unused);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t  at = next;
        uint8_t *to = y + row.offset[2];
        nd_next(&g->rows, &row);
        if (i + 1 < part.last) next = slice_at(g, indices, &row, &unused);
        if (at >= 0 && g->past)
            nd_copy_past(to, x + at, (size_t)(inner * g->width), next < 0 ? NULL : x + next);
        else if (at >= 0 && g->slice.rank <= 1)
            nd_copy_row(to, nd_inner_stride(&g->slice, 0), x + at, nd_inner_stride(&g->slice, 1),
                        inner, g->width);
        else
            nd_copy(at < 0 ? &blank : &g->slice, to, at < 0 ? zero : x + at, g->width, 0,
                    g->slice.count);
    }
    if (g->past) nd_end_past();
}

/* to[0..n) = combine(to, from), both contiguous. */
static void combine_row(const Indexed *g, uint8_t *to, const uint8_t *from, int64_t n) {
    if (g->combine == NULL) {
        memcpy(to, from, (size_t)(n * g->width));
        return;
    }
    const void *in[2] = {to, from};
    if (g->load == NULL) {
        g->combine(to, in, n, NULL);
        return;
    }
    float a[BLOCK], b[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t     count = n - i < BLOCK ? n - i : BLOCK;
        const void *loaded[2] = {a, b}, *at[2] = {to + i * g->width, from + i * g->width};
        const void *result = a;
        g->load(a, &at[0], count, NULL);
        g->load(b, &at[1], count, NULL);
        g->combine(a, loaded, count, NULL);
        g->store(to + i * g->width, &result, count, NULL);
    }
}

/* The elements [first,last) of a slice. */
static void combine_slice(const Indexed *g, uint8_t *to, const uint8_t *from, int64_t first,
                          int64_t last) {
    int64_t to_stride = nd_inner_stride(&g->slice, 0), from_stride = nd_inner_stride(&g->slice, 1);
    if (g->slice.rank <= 1 &&
        (g->slice.rank == 0 || (to_stride == g->width && from_stride == g->width))) {
        combine_row(g, to + first * g->width, from + first * g->width, last - first);
        return;
    }
    NdWalk at = nd_at(&g->slice, first);
    for (int64_t i = first; i < last; i++, nd_next(&g->slice, &at))
        combine_row(g, to + at.offset[0], from + at.offset[1], 1);
}

/* What a gradient of pooling does: no walk and no call for each element. */
static void add_points(const Indexed *g, const uint8_t *indices, const uint8_t *updates, uint8_t *y,
                       Part rows, Part starts) {
    NdWalk   row = nd_at(&g->rows, rows.first);
    uint32_t axis = g->rows.rank > 0 ? g->rows.rank - 1 : 0;
    int64_t  inner = nd_inner(&g->rows), step = nd_inner_stride(&g->rows, 2), numbers[BLOCK];
    int64_t  index_step = nd_inner_stride(&g->rows, 0), x_step = nd_inner_stride(&g->rows, 1);
    int64_t  first = starts.first > 0 ? starts.first : 0;
    int64_t  last = starts.last <= g->start_max[0] ? starts.last : g->start_max[0] + 1;
    for (int64_t i = rows.first, n; i < rows.last; i += n, nd_next_row(&g->rows, &row)) {
        n = inner - row.index[axis] < rows.last - i ? inner - row.index[axis] : rows.last - i;
        const uint8_t *at = indices + row.offset[0], *from = updates + row.offset[2];
        uint8_t       *to = y + row.offset[1];
        for (int64_t k = 0; k < n; k += BLOCK) {
            int64_t     count = n - k < BLOCK ? n - k : BLOCK;
            const void *block = at + k * index_step;
            if (index_step == g->index_width)
                g->index(numbers, &block, count, NULL);
            else
                for (int64_t j = 0; j < count; j++) {
                    const void *one = at + (k + j) * index_step;
                    g->index(&numbers[j], &one, 1, NULL);
                }
            for (int64_t j = 0; j < count; j++) {
                if (numbers[j] < first || numbers[j] >= last) continue;
                float *sum = (void *)(to + (k + j) * x_step + numbers[j] * g->start_stride[0]);
                float  more;
                memcpy(&more, from + (k + j) * step, sizeof more);
                *sum += more;
            }
        }
    }
}

static void scatter_run(const void *params, const KernelCtx *ctx) {
    const Indexed *g = params;
    const uint8_t *indices = ref_at(g->indices, ctx), *updates = ref_at(g->other, ctx);
    uint8_t       *y = ref_at(g->y, ctx);
    Part           rows = {0, g->rows.count}, columns = {0, g->slice.count};
    Part           starts = {0, INT64_MAX};
    if (g->share == SHARE_COLUMNS) columns = part_of(columns.last, 16, ctx);
    if (g->share == SHARE_STARTS) starts = part_of(g->start_max[0] + 1, 1, ctx);
    if (g->share == SHARE_BATCH) {
        rows = part_of(g->rows.count / g->shared, 1, ctx);
        rows = (Part){rows.first * g->shared, rows.last * g->shared};
    }
    if (columns.first >= columns.last) return;
    if (g->adds_points) {
        add_points(g, indices, updates, y, rows, starts);
        return;
    }
    NdWalk row = nd_at(&g->rows, rows.first);
    for (int64_t i = rows.first; i < rows.last; i++, nd_next(&g->rows, &row)) {
        int64_t first, at = slice_at(g, indices, &row, &first);
        if (at < 0 || first < starts.first || first >= starts.last) continue;
        combine_slice(g, y + at, updates + row.offset[2], columns.first, columns.last);
    }
}

/* --- geometry --------------------------------------------------------------------------------- */

typedef struct IndexLists {
    int64_t  offset[LIST_MAX], collapsed[LIST_MAX], batch[LIST_MAX], index_batch[LIST_MAX];
    int64_t  map[LIST_MAX];
    uint32_t offsets, collapses, batches, maps;
} IndexLists;

static bool has(const int64_t *list, uint32_t count, int64_t number) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == number) return true;
    return false;
}

/* around: the tensor that indices point into, with its strides; slices: the result of gather or
 * the updates of scatter. The attributes of gather and scatter stand in the same order after
 * `first`. */
static Indexed *indexed_make(Binder *b, uint32_t first, const LaunchArg *around,
                             const int64_t *around_strides, const LaunchArg *slices,
                             bool to_slices) {
    const LaunchArg *indices = &b->args[1];
    int64_t          index_strides[SHAPE_RANK_MAX] = {0}, x_strides[SHAPE_RANK_MAX] = {0};
    int64_t          slice_strides[SHAPE_RANK_MAX] = {0}, dims[SHAPE_RANK_MAX];
    int64_t          around_slice[SHAPE_RANK_MAX], slices_slice[SHAPE_RANK_MAX], width;
    IndexLists       l;
    Indexed         *g = BIND_PARAMS(b, Indexed);
    uint32_t         row_axes = indices->rank - 1, at = 0, offset = 0;
    l.offsets = launch_ints(b->plan, b->launch, first, l.offset);
    l.collapses = launch_ints(b->plan, b->launch, first + 1, l.collapsed);
    l.batches = launch_ints(b->plan, b->launch, first + 2, l.batch);
    (void)launch_ints(b->plan, b->launch, first + 3, l.index_batch);
    l.maps = launch_ints(b->plan, b->launch, first + 4, l.map);
    width = g->width = arg_width(around);
    for (uint32_t i = 0; i < row_axes; i++) index_strides[i] = indices->strides[i];
    for (uint32_t i = 0; i < l.batches; i++)
        x_strides[l.index_batch[i]] = around_strides[l.batch[i]];
    for (uint32_t i = 0; i < slices->rank; i++)
        if (!has(l.offset, l.offsets, i)) slice_strides[at++] = slices->strides[i];
    const int64_t *row_strides[3] = {index_strides, x_strides, slice_strides};
    g->rows = nd_make(row_axes, indices->dims, 3, row_strides,
                      (int64_t[3]){arg_width(indices), width, width});
    int64_t sizes[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < around->rank; i++) {
        sizes[i] = 1;
        if (has(l.collapsed, l.collapses, i) || has(l.batch, l.batches, i)) continue;
        sizes[i] = dims[offset] = slices->dims[l.offset[offset]];
        around_slice[offset] = around_strides[i];
        slices_slice[offset] = slices->strides[l.offset[offset]];
        offset++;
    }
    const int64_t *to_from[2] = {to_slices ? slices_slice : around_slice,
                                 to_slices ? around_slice : slices_slice};
    g->slice = nd_make(offset, dims, 2, to_from, (int64_t[2]){width, width});
    g->components = l.maps;
    g->index_width = arg_width(indices);
    g->component_stride = indices->strides[row_axes] * g->index_width;
    for (uint32_t c = 0; c < l.maps; c++) {
        g->start_max[c] = around->dims[l.map[c]] - sizes[l.map[c]];
        g->start_stride[c] = around_strides[l.map[c]] * width;
    }
    g->indices = ref_of(indices);
    g->index = b->isa->convert[indices->dtype][DTYPE_I64];
    /* Who may work where (scatter): see the top of the file. */
    bool outer_batch = l.batches > 0 && has(l.index_batch, l.batches, 0) && indices->dims[0] > 1;
    bool points = l.maps > 0 && sizes[l.map[0]] == 1;
    bool run = g->slice.rank == 1 && g->slice.dims[0] >= COLUMNS_MIN;
    g->shared = outer_batch && g->rows.count > 0 ? g->rows.count / indices->dims[0] : 1;
    g->share = run ? SHARE_COLUMNS : outer_batch ? SHARE_BATCH : points ? SHARE_STARTS : SHARE_NONE;
    return g;
}

bool kernels_bind_gather(Binder *b) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    Indexed         *g = indexed_make(b, ATTR_GATHER_offset_dims, x, x->strides, y, true);
    g->x = ref_of(x);
    g->y = ref_of(y);
    if (g->index == NULL || g->width > 16) return false;
    g->past = g->slice.rank == 1 && nd_inner_stride(&g->slice, 0) == g->width &&
              nd_inner_stride(&g->slice, 1) == g->width && nd_inner(&g->slice) * g->width >= 256 &&
              (uint64_t)(arg_elements(y) * g->width) >= jit_host_stream_bytes();
    bind_step(b, gather_run, g, 2 * arg_elements(y) * g->width);
    return true;
}

bool kernels_bind_scatter(Binder *b) {
    static const Opcode combines[SCATTER_KIND_COUNT] = {[SCATTER_ADD] = OP_ADD,
                                                        [SCATTER_MUL] = OP_MUL,
                                                        [SCATTER_MIN] = OP_MIN,
                                                        [SCATTER_MAX] = OP_MAX};
    const LaunchArg    *x = &b->args[0], *updates = &b->args[2], *y = &b->outs[0];
    Dtype               dtype = arg_dtype(x);
    ScatterKind         kind = (ScatterKind)b->attrs[ATTR_SCATTER_kind];
    Indexed *g = indexed_make(b, ATTR_SCATTER_offset_dims, y, y->strides, updates, false);
    g->other = ref_of(updates);
    g->y = ref_of(y);
    if (kind != SCATTER_SET) {
        g->combine = b->isa->block[combines[kind]][dtype_compute(dtype)];
        if (g->combine == NULL) return false;
    }
    if (dtype_is_half(dtype) && kind != SCATTER_SET) {
        g->load = b->isa->convert[dtype][DTYPE_F32];
        g->store = b->isa->convert[DTYPE_F32][dtype];
    }
    if (g->index == NULL) return false;
    g->adds_points =
        kind == SCATTER_ADD && dtype == DTYPE_F32 && g->slice.count == 1 && g->components == 1;
    nd_bind_copy(b, ref_of(y), x);
    bind_step(b, scatter_run, g, 3 * arg_elements(updates) * g->width);
    if (g->share != SHARE_BATCH) bind_pieces(b, g->share == SHARE_NONE ? 1 : b->lanes);
    return true;
}

/* --- indices as numbers ----------------------------------------------------------------------- */

typedef struct Iota {
    Ref      y;
    BlockFn *store; /* from i64 */
    int64_t  count, width, inner, size;
} Iota;
static void iota_run(const void *params, const KernelCtx *ctx) {
    const Iota *iota = params;
    Part        part = part_of(iota->count, 1024, ctx);
    int64_t     numbers[BLOCK];
    const void *from = numbers;
    uint8_t    *y = ref_at(iota->y, ctx);
    for (int64_t i = part.first; i < part.last; i += BLOCK) {
        int64_t n = part.last - i < BLOCK ? part.last - i : BLOCK;
        for (int64_t j = 0; j < n; j++) numbers[j] = (i + j) / iota->inner % iota->size;
        iota->store(y + i * iota->width, &from, n, NULL);
    }
}
bool kernels_bind_iota(Binder *b) {
    const LaunchArg *y = &b->outs[0];
    int64_t          axis = (int64_t)b->attrs[ATTR_IOTA_axis];
    Iota            *iota = BIND_PARAMS(b, Iota);
    *iota = (Iota){.y = ref_of(y),
                   .store = b->isa->convert[DTYPE_I64][y->dtype],
                   .count = arg_elements(y),
                   .width = arg_width(y),
                   .inner = 1,
                   .size = y->rank > 0 ? y->dims[axis] : 1};
    for (uint32_t i = (uint32_t)axis + 1; i < y->rank; i++) iota->inner *= y->dims[i];
    if (iota->store == NULL) return false;
    bind_step(b, iota_run, iota, iota->count * iota->width);
    return true;
}

typedef struct Bits {
    Ref      seed, y;
    uint64_t stream;
    int64_t  count;
} Bits;
static void bits_run(const void *params, const KernelCtx *ctx) {
    const Bits *bits = params;
    Part        part = part_of(bits->count, 1024, ctx); /* parts begin at whole draws */
    uint32_t   *y = ref_at(bits->y, ctx);
    uint64_t    seed;
    memcpy(&seed, ref_at(bits->seed, ctx), sizeof seed);
    for (int64_t i = part.first; i < part.last; i += 4) {
        Philox  drawn = philox_draw(seed, (uint64_t)i / 4, bits->stream);
        int64_t n = part.last - i < 4 ? part.last - i : 4;
        memcpy(y + i, drawn.word, (size_t)n * 4);
    }
}
bool kernels_bind_rng_bits(Binder *b) {
    Bits *bits = BIND_PARAMS(b, Bits);
    *bits = (Bits){.seed = ref_of(&b->args[0]),
                   .y = ref_of(&b->outs[0]),
                   .stream = b->attrs[ATTR_RNG_BITS_stream],
                   .count = arg_elements(&b->outs[0])};
    bind_step(b, bits_run, bits, bits->count * 16);
    return true;
}

/* --- compact ---------------------------------------------------------------------------------- */
typedef struct Compact {
    Ref     mask, x, y, count;
    int64_t rows, fits; /* rows of x, and of y */
    int64_t bytes;      /* a row */
} Compact;

/* Runs of kept rows are copied together; rows beyond those that fit are counted only. */
static void compact_run(const void *params, const KernelCtx *ctx) {
    const Compact *c = params;
    const uint8_t *mask = ref_at(c->mask, ctx), *x = ref_at(c->x, ctx);
    uint8_t       *y = ref_at(c->y, ctx);
    int64_t        kept = 0;
    for (int64_t row = 0; row < c->rows;) {
        int64_t first = row;
        while (row < c->rows && mask[row] != 0) row++;
        int64_t run = row - first, room = c->fits - kept;
        if (room > run) room = run;
        if (room > 0) memcpy(y + kept * c->bytes, x + first * c->bytes, (size_t)(room * c->bytes));
        kept += run;
        while (row < c->rows && mask[row] == 0) row++;
    }
    *(int64_t *)ref_at(c->count, ctx) = kept;
}
bool kernels_bind_compact(Binder *b) {
    const LaunchArg *x = &b->args[1];
    Compact         *c = BIND_PARAMS(b, Compact);
    int64_t          rows = x->dims[0];
    *c = (Compact){.mask = ref_of(&b->args[0]),
                   .x = ref_of(x),
                   .y = ref_of(&b->outs[0]),
                   .count = ref_of(&b->outs[1]),
                   .rows = rows,
                   .fits = b->outs[0].dims[0],
                   .bytes = rows > 0 ? arg_elements(x) / rows * arg_width(x) : 0};
    bind_step(b, compact_run, c, 0);
    return true;
}
