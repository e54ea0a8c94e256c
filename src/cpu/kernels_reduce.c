/* Reductions over axes: sum prod max min and or.
 *
 * Axes are split into kept and reduced ones and each group is merged. Two ways through memory:
 *   columns  the kept axes end in a contiguous run: whole rows of it are accumulated at once
 *   rows     otherwise; contiguous reduced runs are read in place, anything else is gathered
 * Accumulators are f64 for floats (so f32 sums are as good as exact) and int64_t for integers. Work
 * is cut into units of (block of outputs, chunk of the reduced elements) whose sizes depend on the
 * shape alone; with several chunks a second step combines the partial results in order. So the
 * result does not depend on how many lanes there are. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

enum { OUTS_MAX = 512, CHUNK = 32768, GATHER = 512 };

typedef struct Reduce {
    Nd            kept;    /* side 0: result, side 1: operand */
    Nd            reduced; /* side 0: operand */
    Ref           out, in;
    ReduceRowFn  *row;
    ReduceColsFn *cols, *combine; /* combine: over accumulators */
    BlockFn      *load, *store;   /* load: 16-bit floats to f32, else NULL */
    int64_t       width, out_width;
    int64_t       block, blocks, row_blocks; /* outputs a unit; units per chunk; per kept row */
    int64_t       chunk, chunks;             /* reduced elements a unit; how many */
    bool          columns, direct;
    uint64_t      start; /* bits of the accumulator of nothing */
} Reduce;

typedef struct Unit {
    int64_t out, outs;   /* outputs [out, out + outs) */
    int64_t first, last; /* reduced elements */
    int64_t chunk;
} Unit;

static Unit unit_of(const Reduce *r, int64_t number) {
    int64_t block = number / r->chunks, inner = nd_inner(&r->kept);
    Unit    unit = {.chunk = number % r->chunks};
    int64_t row = r->columns ? block / r->row_blocks : 0;
    int64_t at = (r->columns ? block % r->row_blocks : block) * r->block;
    int64_t room = (r->columns ? inner : r->kept.count) - at;
    unit.out = row * inner + at;
    unit.outs = room < r->block ? room : r->block;
    unit.first = unit.chunk * r->chunk;
    unit.last = unit.first + r->chunk < r->reduced.count ? unit.first + r->chunk : r->reduced.count;
    return unit;
}

/* acc[0..outs) over the reduced elements, a row of outputs at a time. */
static void reduce_columns(const Reduce *r, const Unit *unit, const uint8_t *in, uint64_t *acc,
                           float *loaded) {
    const uint8_t *base = in + nd_at(&r->kept, unit->out).offset[1];
    NdWalk         walk = nd_at(&r->reduced, unit->first);
    int64_t        inner = nd_inner(&r->reduced), stride = nd_inner_stride(&r->reduced, 0);
    uint32_t       axis = r->reduced.rank > 0 ? r->reduced.rank - 1 : 0;
    for (int64_t i = unit->first; i < unit->last;) {
        int64_t n = inner - walk.index[axis];
        if (n > unit->last - i) n = unit->last - i;
        for (int64_t j = 0; j < n; j++) {
            const void *row = base + walk.offset[0] + j * stride;
            if (r->load != NULL) {
                r->load(loaded, &row, unit->outs, NULL);
                row = loaded;
            }
            r->cols(row, unit->outs, acc);
        }
        i += n;
        nd_next_row(&r->reduced, &walk);
    }
}

/* One output: its reduced elements in order, in place or by way of a buffer. */
static void reduce_one(const Reduce *r, const Unit *unit, const uint8_t *base, uint64_t *acc,
                       float *loaded, uint64_t *gathered) {
    NdWalk   walk = nd_at(&r->reduced, unit->first);
    int64_t  inner = nd_inner(&r->reduced);
    uint32_t axis = r->reduced.rank > 0 ? r->reduced.rank - 1 : 0;
    for (int64_t i = unit->first; i < unit->last;) {
        int64_t     n = unit->last - i;
        const void *row = gathered;
        if (r->direct && n > inner - walk.index[axis]) n = inner - walk.index[axis];
        if ((!r->direct || r->load != NULL) && n > GATHER) n = GATHER;
        if (r->direct)
            row = base + walk.offset[0];
        else
            nd_gather(&r->reduced, 0, gathered, base, r->width, i, i + n);
        if (r->load != NULL) {
            r->load(loaded, &row, n, NULL);
            row = loaded;
        }
        r->row(row, n, acc);
        i += n;
        if (!r->direct) continue;
        walk.index[axis] += n;
        walk.offset[0] += n * nd_inner_stride(&r->reduced, 0);
        if (walk.index[axis] >= inner) nd_next_row(&r->reduced, &walk);
    }
}

static void reduce_run(const void *params, const KernelCtx *ctx) {
    const Reduce *r = params;
    Part          part = part_of(r->blocks * r->chunks, 1, ctx);
    uint64_t      acc[OUTS_MAX], gathered[GATHER];
    float         loaded[OUTS_MAX];
    uint8_t      *out = ref_at(r->out, ctx), *in = ref_at(r->in, ctx);
    for (int64_t number = part.first; number < part.last; number++) {
        Unit unit = unit_of(r, number);
        for (int64_t i = 0; i < unit.outs; i++) acc[i] = r->start;
        if (r->columns) reduce_columns(r, &unit, in, acc, loaded);
        NdWalk walk = nd_at(&r->kept, unit.out);
        for (int64_t i = 0; i < unit.outs && !r->columns; i++) {
            reduce_one(r, &unit, in + walk.offset[1], acc + i, loaded, gathered);
            nd_next(&r->kept, &walk);
        }
        const void *accs = acc;
        if (r->chunks == 1)
            r->store(out + unit.out * r->out_width, &accs, unit.outs, NULL);
        else
            memcpy(ctx->shared + (unit.chunk * r->kept.count + unit.out) * 8, acc,
                   (size_t)unit.outs * 8);
    }
}

static void reduce_combine(const void *params, const KernelCtx *ctx) {
    const Reduce *r = params;
    Part          part = part_of(r->kept.count, OUTS_MAX, ctx);
    uint64_t      acc[OUTS_MAX];
    uint8_t      *out = ref_at(r->out, ctx);
    for (int64_t i = part.first; i < part.last; i += OUTS_MAX) {
        int64_t     n = part.last - i < OUTS_MAX ? part.last - i : OUTS_MAX;
        const void *accs = acc;
        for (int64_t j = 0; j < n; j++) acc[j] = r->start;
        for (int64_t chunk = 0; chunk < r->chunks; chunk++)
            r->combine(ctx->shared + (chunk * r->kept.count + i) * 8, n, acc);
        r->store(out + i * r->out_width, &accs, n, NULL);
    }
}

/* --- binding ---------------------------------------------------------------------------------- */

uint64_t kernels_reduce_start(ReduceKind kind, Dtype dtype) {
    static const int64_t lowest[DTYPE_COUNT] = {[DTYPE_I8] = INT8_MIN,
                                                [DTYPE_I16] = INT16_MIN,
                                                [DTYPE_I32] = INT32_MIN,
                                                [DTYPE_I64] = INT64_MIN};
    static const int64_t highest[DTYPE_COUNT] = {
        [DTYPE_BOOL] = 1,        [DTYPE_U8] = UINT8_MAX,  [DTYPE_I8] = INT8_MAX,
        [DTYPE_I16] = INT16_MAX, [DTYPE_I32] = INT32_MAX, [DTYPE_I64] = INT64_MAX};
    double real[] = {
        [REDUCE_SUM] = 0, [REDUCE_PROD] = 1, [REDUCE_MAX] = -INFINITY, [REDUCE_MIN] = INFINITY};
    int64_t integer[] = {[REDUCE_SUM] = 0,
                         [REDUCE_PROD] = 1,
                         [REDUCE_MAX] = lowest[dtype],
                         [REDUCE_MIN] = highest[dtype],
                         [REDUCE_AND] = -1,
                         [REDUCE_OR] = 0};
    return dtype_is_float(dtype) ? word_of_f64(real[kind]) : (uint64_t)integer[kind];
}

static void set_units(Reduce *r) {
    int64_t outs = r->kept.count, inner = nd_inner(&r->kept), count = r->reduced.count;
    if (r->columns) {
        r->block = inner < OUTS_MAX ? inner : OUTS_MAX;
        r->row_blocks = (inner + r->block - 1) / r->block;
        r->blocks = outs / inner * r->row_blocks;
        r->chunk = CHUNK / r->block;
    } else {
        r->block = count > 0 ? CHUNK / count : OUTS_MAX;
        r->block = r->block < 1 ? 1 : r->block > OUTS_MAX ? OUTS_MAX : r->block;
        r->blocks = (outs + r->block - 1) / r->block;
        r->chunk = CHUNK;
    }
    r->chunks = count <= 2 * r->chunk ? 1 : (count + r->chunk - 1) / r->chunk;
    if (r->chunks == 1) r->chunk = count;
}

static Reduce *reduce_make(Binder *b, ReduceKind kind, uint32_t removed) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    Dtype            dtype = arg_dtype(x), compute = dtype_compute(dtype);
    int64_t          kept_dims[SHAPE_RANK_MAX], kept_in[SHAPE_RANK_MAX], dims[SHAPE_RANK_MAX];
    int64_t          strides[SHAPE_RANK_MAX], widths[2] = {arg_width(y), arg_width(x)};
    uint32_t         kept = 0, reduced = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t *to_dims = removed >> i & 1 ? &dims[reduced] : &kept_dims[kept];
        int64_t *to_strides = removed >> i & 1 ? &strides[reduced++] : &kept_in[kept++];
        *to_dims = x->dims[i];
        *to_strides = x->strides[i];
    }
    Dtype          acc = dtype_is_float(dtype) ? DTYPE_F64 : DTYPE_I64;
    const int64_t *kept_strides[2] = {y->strides, kept_in}, *reduced_strides[1] = {strides};
    Reduce        *r = BIND_PARAMS(b, Reduce);
    *r = (Reduce){.kept = nd_make(kept, kept_dims, 2, kept_strides, widths),
                  .reduced = nd_make(reduced, dims, 1, reduced_strides, widths + 1),
                  .out = ref_of(y),
                  .in = ref_of(x),
                  .row = b->isa->reduce_row[kind][compute],
                  .cols = b->isa->reduce_cols[kind][compute],
                  .combine = b->isa->reduce_cols[kind][acc],
                  .load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL,
                  .store = b->isa->convert[acc][y->dtype],
                  .width = widths[1],
                  .out_width = widths[0],
                  .start = kernels_reduce_start(kind, dtype)};
    r->direct = r->reduced.rank == 0 || nd_inner_stride(&r->reduced, 0) == r->width;
    r->columns = !(r->direct && r->reduced.rank > 0) && r->kept.rank > 0 &&
                 nd_inner_stride(&r->kept, 1) == r->width && nd_inner(&r->kept) >= 4;
    if (r->row == NULL || r->cols == NULL || r->store == NULL) return NULL;
    set_units(r);
    return r;
}

bool kernels_bind_reduce(Binder *b) {
    int64_t  axes[LIST_MAX];
    uint32_t count = launch_ints(b->plan, b->launch, ATTR_REDUCE_axes, axes), removed = 0;
    for (uint32_t i = 0; i < count; i++) removed |= 1u << axes[i];
    Reduce *r = reduce_make(b, (ReduceKind)b->attrs[ATTR_REDUCE_kind], removed);
    if (r == NULL) return false;
    bind_step(b, reduce_run, r, r->kept.count * (r->reduced.count + 1) * r->width);
    if (r->chunks > 1) {
        bind_shared(b, r->chunks * r->kept.count * 8);
        bind_step(b, reduce_combine, r, r->chunks * r->kept.count * 8);
    }
    return true;
}
