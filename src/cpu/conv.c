/* Convolution: y[n,o,p] = sum over c, k of x[n, c, p stride - low + k dilation] w[o,c,k].
 *
 * Floats are matrix products whose right operand is never stored: for a block of result places the
 * patches of x under the window are packed straight into the panels that the register tile of
 * kernels_tile.def reads, weights are its left operand, and the block goes to its images when it is
 * summed. Where x has padding, gaps (x_dilation) or 16-bit floats, a step before writes some images
 * with all that applied to shared memory, so packing never asks where a patch ends. So every
 * geometry, and with it both gradients, has one path, f32 and f64 alike. Blocks depend on the shape
 * alone and sum in order: results do not depend on lanes.
 *
 * Integers use direct loops. Operands are dense. */
#include <string.h>

#include "cpu/panels.h"

enum {
    SPACE_MAX = 3,
    K_BLOCK = 256,
    COLS_MAX = 512,
    ROWS_BYTES_MAX = 512 * 1024, /* of the sums of a block */
    TILE_MAX = 64,               /* columns of a register tile */
    SHARED_BYTES_MAX = 16 << 20, /* of images made ready at a time */
};

typedef struct Conv {
    Ref         x, w, y;
    BlockFn    *load, *store; /* floats: to the dtype of computation and back; integers: i64 */
    GemmTileFn *tile;
    GemmPackFn *pack;
    PatchFn    *patch;
    int64_t     tile_m, tile_n, compute;                  /* compute: bytes */
    int64_t     batch, groups, in_channels, out_channels; /* channels of a group */
    int64_t     in[SPACE_MAX], out[SPACE_MAX], window[SPACE_MAX], stride[SPACE_MAX], low[SPACE_MAX];
    int64_t     x_dilation[SPACE_MAX], w_dilation[SPACE_MAX]; /* leading axes of size 1 are added */
    int64_t     in_size, out_size, window_size, width;
    int64_t     ready[SPACE_MAX], ready_size; /* sizes of x with padding and gaps */
    bool        in_place;                     /* x is ready as it is */
} Conv;

typedef struct Chunk { /* what a step works on: some images */
    const Conv *c;
    int64_t     image, images;
    int64_t     cols, block, blocks; /* result places of all images; of a block; blocks */
} Chunk;

/* The index in x of a place on the padded axis; -1: padding or a gap. */
static int64_t place_of(const Conv *c, uint32_t axis, int64_t at) {
    at -= c->low[axis];
    if (c->x_dilation[axis] > 1) {
        if (at < 0 || at % c->x_dilation[axis] != 0) return -1;
        at /= c->x_dilation[axis];
    }
    return at >= 0 && at < c->in[axis] ? at : -1;
}

/* --- images made ready ------------------------------------------------------------------------ */

static void ready_row(const Conv *c, uint8_t *to, const uint8_t *from) {
    int64_t step = c->x_dilation[2], first = c->low[2] < 0 ? (-c->low[2] + step - 1) / step : 0;
    int64_t room = c->ready[2] - c->low[2], last = room <= 0 ? 0 : (room + step - 1) / step;
    if (last > c->in[2]) last = c->in[2];
    memset(to, 0, (size_t)(c->ready[2] * c->compute));
    if (first >= last) return;
    to += (c->low[2] + first * step) * c->compute;
    from += first * c->width;
    const void *in = from;
    if (step == 1) c->load(to, &in, last - first, NULL);
    for (int64_t i = first; step > 1 && i < last; i++, from += c->width, to += step * c->compute) {
        in = from;
        c->load(to, &in, 1, NULL);
    }
}
static void ready_run(const void *params, const KernelCtx *ctx) {
    const Chunk *chunk = params;
    const Conv  *c = chunk->c;
    int64_t      rows = c->ready[0] * c->ready[1], channels = c->groups * c->in_channels;
    Part         part = part_of(chunk->images * channels * rows, 8, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t  row = i % rows, at = chunk->image * channels + i / rows;
        int64_t  at0 = place_of(c, 0, row / c->ready[1]), at1 = place_of(c, 1, row % c->ready[1]);
        uint8_t *to = ctx->shared + i * c->ready[2] * c->compute;
        at = ((at * c->in[0] + at0) * c->in[1] + at1) * c->in[2] * c->width;
        if (at0 < 0 || at1 < 0)
            memset(to, 0, (size_t)(c->ready[2] * c->compute));
        else
            ready_row(c, to, (const uint8_t *)ref_at(c->x, ctx) + at);
    }
}

/* --- patches ---------------------------------------------------------------------------------- */

/* The runs of neighbouring places in one result row that make up [first, first + count). Divisions
 * are for the first of them only: they take as long as a tile of few elements. */
static int64_t find_runs(const Conv *c, int64_t first, int64_t count, PatchRun *out_runs) {
    int64_t runs = 0, p = first % c->out_size, image = first / c->out_size;
    int64_t row = p / c->out[2], at2 = p % c->out[2];
    int64_t at0 = row / c->out[1], at1 = row % c->out[1];
    for (int64_t col = 0; col < count;) {
        PatchRun *run = &out_runs[runs++];
        run->col = col;
        run->count = panels_least(c->out[2] - at2, count - col);
        run->from = image * c->groups * c->in_channels * c->ready[0] + at0 * c->stride[0];
        run->from = run->from * c->ready[1] + at1 * c->stride[1];
        run->from = run->from * c->ready[2] + at2 * c->stride[2];
        col += run->count;
        at2 = 0;
        if (++at1 < c->out[1]) continue;
        at1 = 0;
        if (++at0 < c->out[0]) continue;
        at0 = 0;
        image++;
    }
    return runs;
}
/* How far the contracted elements [k, k + ks) lie from element 0, in x made ready. */
static void find_offsets(const Conv *c, int64_t k, int64_t ks, int64_t *out) {
    int64_t channel = k / c->window_size, element = k % c->window_size;
    int64_t row = element / c->window[2], at2 = element % c->window[2];
    int64_t at0 = row / c->window[1], at1 = row % c->window[1];
    for (int64_t i = 0; i < ks; i++) {
        int64_t at = channel * c->ready[0] + at0 * c->w_dilation[0];
        at = at * c->ready[1] + at1 * c->w_dilation[1];
        out[i] = at * c->ready[2] + at2 * c->w_dilation[2];
        if (++at2 < c->window[2]) continue;
        at2 = 0;
        if (++at1 < c->window[1]) continue;
        at1 = 0;
        if (++at0 < c->window[0]) continue;
        at0 = 0;
        channel++;
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */

typedef struct Space { /* this lane's scratch */
    uint8_t *a, *patches, *sums;
} Space;

/* sums[o][block] += weights of a slab times patches of it. */
static void multiply_slab(const Chunk *chunk, const uint8_t *w, const Space *space, int64_t ns,
                          int64_t k, int64_t ks) {
    const Conv *c = chunk->c;
    int64_t     depth = c->in_channels * c->window_size;
    for (int64_t o = 0; o < c->out_channels; o += c->tile_m) {
        int64_t rows = panels_least(c->out_channels - o, c->tile_m);
        c->pack(space->a, w + (o * depth + k) * c->width, depth, 1, c->tile_m, rows, ks);
        for (int64_t j = 0; j < ns; j += c->tile_n)
            c->tile(space->a, space->patches + j * ks * c->compute, c->tile_n,
                    space->sums + (o * chunk->block + j) * c->compute, chunk->block, ks, rows,
                    panels_least(ns - j, c->tile_n), k > 0);
    }
}

/* The sums of a block to their places: a run of columns of one image is a run of memory. */
static void write_block(const Chunk *chunk, uint8_t *y, const uint8_t *sums, int64_t group,
                        int64_t first, int64_t ns) {
    const Conv *c = chunk->c;
    int64_t     channels = c->groups * c->out_channels;
    for (int64_t o = 0; o < c->out_channels; o++)
        for (int64_t col = 0, n; col < ns; col += n) {
            int64_t     image = chunk->image + (first + col) / c->out_size;
            int64_t     p = (first + col) % c->out_size;
            int64_t     to = (image * channels + group * c->out_channels + o) * c->out_size + p;
            const void *from = sums + (o * chunk->block + col) * c->compute;
            n = panels_least(ns - col, c->out_size - p);
            c->store(y + to * c->width, &from, n, NULL);
        }
}

static void conv_run(const void *params, const KernelCtx *ctx) {
    const Chunk *chunk = params;
    const Conv  *c = chunk->c;
    int64_t      depth = c->in_channels * c->window_size, offsets[K_BLOCK];
    int64_t      image = c->groups * c->in_channels * c->ready_size * c->compute;
    PatchRun     runs[TILE_MAX];
    Space        space = {.a = ctx->scratch};
    space.patches = space.a + c->tile_m * K_BLOCK * c->compute;
    space.sums = space.patches + chunk->block * K_BLOCK * c->compute;
    Part part = part_of(c->groups * chunk->blocks, 1, ctx);
    for (int64_t unit = part.first; unit < part.last; unit++) {
        int64_t        group = unit / chunk->blocks, first = unit % chunk->blocks * chunk->block;
        int64_t        ns = panels_least(chunk->cols - first, chunk->block);
        const uint8_t *w = ref_at(c->w, ctx), *x = ctx->shared;
        if (c->in_place) x = (const uint8_t *)ref_at(c->x, ctx) + chunk->image * image;
        x += group * c->in_channels * c->ready_size * c->compute;
        w += group * c->out_channels * depth * c->width;
        for (int64_t k = 0; k < depth; k += K_BLOCK) {
            int64_t ks = panels_least(depth - k, K_BLOCK);
            find_offsets(c, k, ks, offsets);
            for (int64_t j = 0; j < ns; j += c->tile_n) {
                int64_t count = find_runs(c, first + j, panels_least(ns - j, c->tile_n), runs);
                c->patch(space.patches + j * ks * c->compute, c->tile_n, x, runs, count,
                         c->stride[2], offsets, ks);
            }
            multiply_slab(chunk, w, &space, ns, k, ks);
        }
        write_block(chunk, ref_at(c->y, ctx), space.sums, group, first, ns);
    }
}

/* --- integers --------------------------------------------------------------------------------- */

/* The sum at result place p of an image; x, w: of the image and group, and of the output. */
static int64_t integer_at(const Conv *c, const uint8_t *x, const uint8_t *w, int64_t p) {
    uint64_t sum = 0;
    for (int64_t k = 0; k < c->in_channels * c->window_size; k++) {
        int64_t left = k, place = p, stride = 1, at = k / c->window_size * c->in_size, a, b;
        bool    inside = true;
        for (uint32_t i = SPACE_MAX; i-- > 0;) {
            int64_t from = place_of(
                c, i, place % c->out[i] * c->stride[i] + left % c->window[i] * c->w_dilation[i]);
            inside &= from >= 0;
            at += from * stride;
            stride *= c->in[i];
            left /= c->window[i];
            place /= c->out[i];
        }
        if (!inside) continue;
        const void *x_at = x + at * c->width, *w_at = w + k * c->width;
        c->load(&a, &x_at, 1, NULL);
        c->load(&b, &w_at, 1, NULL);
        sum += (uint64_t)a * (uint64_t)b;
    }
    return (int64_t)sum;
}
static void integer_run(const void *params, const KernelCtx *ctx) {
    const Conv *c = params;
    int64_t     channels = c->groups * c->out_channels, depth = c->in_channels * c->window_size;
    Part        part = part_of(c->batch * c->out_size * channels, 16, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t        o = i / c->out_size % channels, image = i / c->out_size / channels;
        int64_t        group = o / c->out_channels;
        const uint8_t *x = ref_at(c->x, ctx), *w = ref_at(c->w, ctx);
        x += (image * c->groups + group) * c->in_channels * c->in_size * c->width;
        int64_t     sum = integer_at(c, x, w + o * depth * c->width, i % c->out_size);
        const void *from = &sum;
        c->store((uint8_t *)ref_at(c->y, ctx) + i * c->width, &from, 1, NULL);
    }
}

/* --- binding ---------------------------------------------------------------------------------- */

/* A list of one number per spatial axis, moved to the last places. */
static void read_axes(const Binder *b, uint32_t attr, int64_t fill, uint32_t axes, int64_t *out) {
    int64_t  numbers[LIST_MAX];
    uint32_t count = launch_ints(b->plan, b->launch, attr, numbers);
    for (uint32_t i = 0; i < SPACE_MAX; i++) out[i] = fill;
    for (uint32_t i = 0; i < count; i++) out[SPACE_MAX - axes + i] = numbers[i];
}

static void set_geometry(Conv *c, const Binder *b, uint32_t axes) {
    const LaunchArg *x = &b->args[0], *w = &b->args[1], *y = &b->outs[0];
    read_axes(b, ATTR_CONVOLUTION_strides, 1, axes, c->stride);
    read_axes(b, ATTR_CONVOLUTION_low, 0, axes, c->low);
    read_axes(b, ATTR_CONVOLUTION_x_dilation, 1, axes, c->x_dilation);
    read_axes(b, ATTR_CONVOLUTION_w_dilation, 1, axes, c->w_dilation);
    c->in_size = c->out_size = c->window_size = c->ready_size = 1;
    c->in_place = c->width == c->compute;
    for (uint32_t i = 0; i < SPACE_MAX; i++) {
        bool     added = i + axes < SPACE_MAX;
        uint32_t axis = added ? 0 : i + axes - SPACE_MAX + 2;
        c->in[i] = added ? 1 : x->dims[axis];
        c->out[i] = added ? 1 : y->dims[axis];
        c->window[i] = added ? 1 : w->dims[axis];
        /* As far as the last window reaches. */
        c->ready[i] = (c->out[i] - 1) * c->stride[i] + (c->window[i] - 1) * c->w_dilation[i] + 1;
        bool reach = c->low[i] == 0 && c->x_dilation[i] == 1 && c->ready[i] <= c->in[i];
        if (reach) c->ready[i] = c->in[i];
        c->in_place &= reach;
        c->in_size *= c->in[i];
        c->out_size *= c->out[i];
        c->window_size *= c->window[i];
        c->ready_size *= c->ready[i];
    }
    if (c->window_size != 1 || !c->in_place || c->in_size != c->out_size) return;
    c->ready[0] = c->ready[1] = c->out[0] = c->out[1] = 1; /* pointwise: one long row */
    c->ready[2] = c->out[2] = c->in_size;
}

/* Blocks of places: enough of them for lanes, their sums small enough for the cache. */
static void set_blocks(Chunk *chunk) {
    const Conv *c = chunk->c;
    int64_t     most = ROWS_BYTES_MAX / c->compute / c->out_channels / c->tile_n * c->tile_n;
    int64_t     want = panels_up((chunk->cols + 15) / 16, c->tile_n), few = 4 * c->tile_n;
    chunk->block = panels_least(panels_least(want, most > 0 ? most : c->tile_n), COLS_MAX);
    if (chunk->block < few) chunk->block = panels_least(few, panels_up(chunk->cols, c->tile_n));
    chunk->blocks = (chunk->cols + chunk->block - 1) / chunk->block;
}

/* As many images at a time as shared memory may hold. */
static void bind_chunks(Binder *b, const Conv *c) {
    int64_t image = c->groups * c->in_channels * c->ready_size * c->compute;
    int64_t images = c->in_place || image == 0 ? c->batch : SHARED_BYTES_MAX / image;
    int64_t depth = c->in_channels * c->window_size;
    if (images < 1) images = 1;
    for (int64_t first = 0; first < c->batch; first += images) {
        Chunk *chunk = BIND_PARAMS(b, Chunk);
        *chunk = (Chunk){.c = c, .image = first, .images = panels_least(c->batch - first, images)};
        chunk->cols = chunk->images * c->out_size;
        set_blocks(chunk);
        if (!c->in_place) {
            bind_shared(b, chunk->images * image);
            bind_step(b, ready_run, chunk, chunk->images * image);
        }
        bind_scratch(b, ((c->tile_m + chunk->block) * K_BLOCK + c->out_channels * chunk->block) *
                            c->compute);
        bind_step(b, conv_run, chunk, chunk->cols * c->groups * c->out_channels * (1 + depth));
        bind_pieces(b, c->groups * chunk->blocks);
    }
}

bool conv_bind_convolution(Binder *b) {
    const LaunchArg *x = &b->args[0], *w = &b->args[1];
    Dtype            dtype = arg_dtype(x), compute = dtype_compute(dtype);
    Conv            *c = BIND_PARAMS(b, Conv);
    uint32_t         axes = x->rank - 2;
    bool             real = dtype_is_float(dtype);
    if (x->rank < 2 || axes > SPACE_MAX) return false;
    c->x = ref_of(x);
    c->w = ref_of(w);
    c->y = ref_of(&b->outs[0]);
    c->batch = x->dims[0];
    c->groups = (int64_t)b->attrs[ATTR_CONVOLUTION_groups];
    c->in_channels = w->dims[1];
    c->out_channels = w->dims[0] / c->groups;
    c->width = arg_width(x);
    c->compute = dtype_bytes(compute);
    set_geometry(c, b, axes);
    if (c->in_channels * c->window_size == 0) real = false; /* sums of nothing */
    c->load = b->isa->convert[dtype][real ? compute : DTYPE_I64];
    c->store = b->isa->convert[real ? compute : DTYPE_I64][dtype];
    c->tile = b->isa->gemm_tile[compute];
    c->pack = b->isa->gemm_pack[dtype];
    c->patch = b->isa->conv_patch[compute];
    c->tile_m = b->isa->gemm_shape[compute].rows;
    c->tile_n = b->isa->gemm_shape[compute].cols;
    if (c->load == NULL || c->store == NULL) return false;
    ASSERT(c->tile_n <= TILE_MAX);
    if (real)
        bind_chunks(b, c);
    else
        bind_step(b, integer_run, c,
                  arg_elements(&b->outs[0]) * (1 + c->in_channels * c->window_size));
    return true;
}
