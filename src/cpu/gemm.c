/* dot_general: batched matrix products of strided operands into a dense result.
 *
 * Binding brings the axes into the form  z[batch, m, n] = sum over (outer, k) of x y  where m, n
 * and k are single axes with one stride a side; further free axes become batch axes on which the
 * other operand repeats. Work is cut into units whose sizes depend on the shape alone, and each
 * unit sums over k in order, so results do not depend on lanes.
 *
 * Floats run the register tile of kernels_tile.def over packed panels (any strides; 16-bit
 * floats become f32 on the way). Many small matrices: a unit is a matrix, its lane packs all it
 * needs. Few large ones: y is packed by all lanes into shared panels first, a unit is a block of
 * rows and columns. y is read in place where it is small and its rows are contiguous. f32 goes
 * to oneDNN where that is built in and the strides suit it. Integers use plain loops. */
#include <string.h>

#include "cpu/kernels.h"
#include "cpu/onednn.h"

enum {
    K_BLOCK = 256,
    M_BLOCK = 168,        /* the most rows of a unit; all are multiples of 42 = lcm(14, 6) */
    N_BLOCK_BYTES = 2048, /* the most of a row of panels in a unit */
    MATRICES_MIN = 8,     /* from here on a unit is a whole matrix */
    DIRECT_BYTES_MAX = 128 * 1024, /* y is read in place up to here */
    SHARED_BYTES_MAX = 16 << 20,
};

typedef struct Gemm {
    Nd          batch; /* sides: z, x, y */
    Nd          outer; /* further contracted axes; sides: x, y */
    Ref         x, y, z;
    GemmTileFn *tile;
    GemmPackFn *pack;
    BlockFn    *store, *read; /* store: f32 to 16 bits; read: integers to i64 */
    BlockFn    *add, *load;   /* linear: the bias to each row; load: 16 bits to f32 */
    Ref         bias;
    int64_t     m, n, k;
    int64_t     x_m, x_k, y_n, y_k, z_m; /* strides, elements */
    int64_t     tile_m, tile_n;          /* of the register tile */
    int64_t     block_m, block_n;        /* of a unit, or within it */
    int64_t     k_blocks;                /* of outer x k */
    int64_t     width, compute;          /* bytes of an element, in memory and in panels */
    bool        whole;                   /* a unit is a matrix */
    bool        direct;                  /* y is read in place */
} Gemm;

/* What a step works on: some matrices, and some columns of them (from a panel's beginning). */
typedef struct Chunk {
    const Gemm *g;
    int64_t     batch, batches, n, ns;
} Chunk;

typedef struct Scratch3 { /* this lane's */
    uint8_t *a, *b, *z;
} Scratch3;

static int64_t round_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }

typedef struct Slab { /* one block of the contracted elements */
    int64_t ks, x, y; /* how many; byte offsets in x and y */
} Slab;
static Slab slab_at(const Gemm *g, int64_t number) {
    int64_t each = blocks_of(g->k, K_BLOCK), k = number % each * K_BLOCK;
    NdWalk  walk = nd_at(&g->outer, number / each);
    return (Slab){least(g->k - k, K_BLOCK), walk.offset[0] + k * g->x_k * g->width,
                  walk.offset[1] + k * g->y_k * g->width};
}

/* Panels of `tile` lanes each: out[panel][k][tile]. */
static void pack_panels(const Gemm *g, uint8_t *out, const uint8_t *x, int64_t stride_lane,
                        int64_t stride_k, int64_t tile, int64_t count, int64_t k) {
    for (int64_t i = 0; i < count; i += tile)
        g->pack(out + i * k * g->compute, x + i * stride_lane * g->width, stride_lane, stride_k,
                tile, least(count - i, tile), k);
}

/* Panels of y in shared memory: [batch][slab, K_BLOCK rows each][panel][k][tile_n]. */
static int64_t shared_slab(const Chunk *c) {
    return round_up(c->ns, c->g->tile_n) * K_BLOCK * c->g->compute;
}
static void pack_run(const void *params, const KernelCtx *ctx) {
    const Chunk *c = params;
    const Gemm  *g = c->g;
    int64_t      panels = blocks_of(c->ns, g->tile_n);
    Part         part = part_of(c->batches * g->k_blocks * panels, 4, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t        n = i % panels * g->tile_n, slab_number = i / panels;
        Slab           slab = slab_at(g, slab_number % g->k_blocks);
        NdWalk         at = nd_at(&g->batch, c->batch + slab_number / g->k_blocks);
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2] + slab.y;
        g->pack(ctx->shared + slab_number * shared_slab(c) + n * slab.ks * g->compute,
                y + (c->n + n) * g->y_n * g->width, g->y_n, g->y_k, g->tile_n,
                least(c->ns - n, g->tile_n), slab.ks);
    }
}

/* One slab of rows x columns: a: panels of x, b: panels or rows of y. tail: the last panel packed,
 * where y is read in place and its last panel is not whole. */
static void multiply(const Gemm *g, const uint8_t *a, const uint8_t *b, const uint8_t *tail,
                     uint8_t *z, int64_t z_stride, int64_t ms, int64_t ns, int64_t ks, bool add) {
    for (int64_t j = 0; j < ns; j += g->tile_n) {
        int64_t        cols = least(ns - j, g->tile_n);
        int64_t        b_stride = g->direct && cols == g->tile_n ? g->y_k : g->tile_n;
        const uint8_t *b_at = b + (g->direct ? j : j * ks) * g->compute;
        if (g->direct && cols < g->tile_n) b_at = tail;
        for (int64_t i = 0; i < ms; i += g->tile_m)
            g->tile(a + i * ks * g->compute, b_at, b_stride, z + (i * z_stride + j) * g->compute,
                    z_stride, ks, least(ms - i, g->tile_m), cols, add);
    }
}

/* z[row][0..ns) += bias[n..n + ns), in the dtype of computation. */
static void add_bias(const Gemm *g, const KernelCtx *ctx, uint8_t *z, int64_t z_stride, int64_t ms,
                     int64_t n, int64_t ns, uint8_t *loaded) {
    const void *bias = (uint8_t *)ref_at(g->bias, ctx) + n * g->width;
    if (g->load != NULL) {
        g->load(loaded, &bias, ns, NULL);
        bias = loaded;
    }
    for (int64_t i = 0; i < ms; i++, z += z_stride * g->compute) {
        const void *in[2] = {z, bias};
        g->add(z, in, ns, NULL);
    }
}

/* A block of one matrix over all slabs, from row m and column (of the chunk) on. panels: the shared
 * panels of the matrix, or NULL. */
static void gemm_block(const Chunk *c, const KernelCtx *ctx, const Scratch3 *scratch, int64_t batch,
                       int64_t m, int64_t column, const uint8_t *panels) {
    const Gemm    *g = c->g;
    NdWalk         at = nd_at(&g->batch, c->batch + batch);
    int64_t        n = c->n + column, panels_slab = shared_slab(c);
    int64_t        ms = least(g->m - m, g->block_m), ns = least(c->ns - column, g->block_n);
    const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + at.offset[1] + m * g->x_m * g->width;
    const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2] + n * g->y_n * g->width;
    uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + at.offset[0] + (m * g->z_m + n) * g->width;
    uint8_t       *to = g->store != NULL ? scratch->z : z;
    int64_t        z_stride = g->store != NULL ? ns : g->z_m, last = ns / g->tile_n * g->tile_n;
    for (int64_t i = 0; i < g->k_blocks; i++) {
        Slab           slab = slab_at(g, i);
        const uint8_t *b = scratch->b;
        pack_panels(g, scratch->a, x + slab.x, g->x_m, g->x_k, g->tile_m, ms, slab.ks);
        if (panels != NULL)
            b = panels + i * panels_slab + column * slab.ks * g->compute;
        else if (!g->direct)
            pack_panels(g, scratch->b, y + slab.y, g->y_n, g->y_k, g->tile_n, ns, slab.ks);
        else if (last < ns)
            pack_panels(g, scratch->b, y + slab.y + last * g->y_n * g->width, g->y_n, g->y_k,
                        g->tile_n, ns - last, slab.ks);
        multiply(g, scratch->a, g->direct ? y + slab.y : b, scratch->b, to, z_stride, ms, ns,
                 slab.ks, i > 0);
    }
    if (g->add != NULL) add_bias(g, ctx, to, z_stride, ms, n, ns, scratch->b);
    for (int64_t i = 0; g->store != NULL && i < ms; i++) {
        const void *row = to + i * z_stride * g->compute;
        g->store(z + i * g->z_m * g->width, &row, ns, NULL);
    }
}

static int64_t panel_bytes(const Gemm *g, int64_t count, int64_t tile) {
    return round_up(count, tile) * K_BLOCK * g->compute;
}

static void gemm_run(const void *params, const KernelCtx *ctx) {
    const Chunk *c = params;
    const Gemm  *g = c->g;
    int64_t      m_blocks = blocks_of(g->m, g->block_m), n_blocks = blocks_of(c->ns, g->block_n);
    int64_t      each = g->whole ? 1 : m_blocks * n_blocks;
    Part         part = part_of(c->batches * each, 1, ctx);
    Scratch3     scratch = {.a = ctx->scratch};
    scratch.b = scratch.a + panel_bytes(g, g->block_m, g->tile_m);
    scratch.z = scratch.b + panel_bytes(g, g->block_n, g->tile_n);
    for (int64_t unit = part.first; unit < part.last; unit++) {
        int64_t batch = unit / each, block = unit % each;
        int64_t first = g->whole ? 0 : block, last = g->whole ? m_blocks * n_blocks : block + 1;
        for (int64_t i = first; i < last; i++) {
            int64_t        m = i % m_blocks * g->block_m, n = i / m_blocks * g->block_n;
            const uint8_t *panels = ctx->shared + batch * g->k_blocks * shared_slab(c);
            gemm_block(c, ctx, &scratch, batch, m, n, g->whole || g->direct ? NULL : panels);
        }
    }
}

/* --- oneDNN ----------------------------------------------------------------------------------- */

typedef struct Library {
    const Gemm *g;
    Sgemm       s;      /* of a whole matrix */
    int64_t     blocks; /* a matrix is cut into so many blocks of rows or of columns */
    int64_t     block;
    bool        by_rows;
} Library;

static void library_run(const void *params, const KernelCtx *ctx) {
    const Library *l = params;
    const Gemm    *g = l->g;
    Part           part = part_of(g->batch.count * l->blocks, 1, ctx);
    for (int64_t unit = part.first; unit < part.last; unit++) {
        NdWalk         at = nd_at(&g->batch, unit / l->blocks);
        int64_t        first = unit % l->blocks * l->block;
        const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + at.offset[1];
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2];
        uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + at.offset[0];
        Sgemm          s = l->s;
        if (l->by_rows) {
            s.m = least(s.m - first, l->block);
            x += first * g->x_m * g->width;
            z += first * g->z_m * g->width;
        } else {
            s.n = least(s.n - first, l->block);
            y += first * g->y_n * g->width;
            z += first * g->width;
        }
        onednn_sgemm(&s, (const float *)(const void *)x, (const float *)(const void *)y,
                     (float *)(void *)z);
        int64_t n = l->by_rows ? 0 : first;
        if (g->add != NULL) add_bias(g, ctx, z, s.z_stride, s.m, n, s.n, NULL);
    }
}

/* One stride must be 1 and the other a leading dimension. An axis of size 1 has any stride. */
static bool leading(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride,
                    bool *out_turned, int64_t *out_stride) {
    if (rows == 1) row_stride = col_stride == 1 || cols == 1 ? cols : 1;
    if (cols == 1) col_stride = row_stride == 1 ? rows : 1;
    *out_turned = col_stride != 1;
    *out_stride = *out_turned ? col_stride : row_stride;
    return (col_stride == 1 && row_stride >= cols) || (row_stride == 1 && col_stride >= rows);
}

/* Into how many blocks a matrix is cut: up to 16 units for lanes, none below 2 MFLOP or so. */
static void set_blocks(Library *l) {
    int64_t size = l->by_rows ? l->s.m : l->s.n, flops = l->s.m * l->s.n * l->s.k * 2;
    l->blocks = 1;
    while (l->blocks * l->g->batch.count < 16 && size / (2 * l->blocks) >= 64 &&
           flops / (2 * l->blocks) >= 1 << 21)
        l->blocks *= 2;
    l->block = round_up(blocks_of(size, l->blocks), 16);
    l->blocks = blocks_of(size, l->block);
}

static bool bind_library(Binder *b, const Gemm *g) {
    Library *l = BIND_PARAMS(b, Library);
    Sgemm   *s = &l->s;
    *l = (Library){.g = g, .by_rows = g->m >= g->n};
    *s = (Sgemm){.m = g->m, .n = g->n, .k = g->k, .z_stride = g->m > 1 ? g->z_m : g->n};
    if (!onednn_has() || g->outer.count != 1 || s->z_stride < g->n ||
        !leading(g->m, g->k, g->x_m, g->x_k, &s->x_turned, &s->x_stride) ||
        !leading(g->k, g->n, g->y_k, g->y_n, &s->y_turned, &s->y_stride))
        return false;
    set_blocks(l);
    bind_step(b, library_run, l, g->batch.count * g->m * g->n * g->k / 8);
    return true;
}

/* --- integers, and products over nothing ------------------------------------------------------ */

static void plain_row(const Gemm *g, const uint8_t *x, const uint8_t *y, int64_t ns, int64_t *acc) {
    for (int64_t k = 0; k < g->k; k++) {
        int64_t     a, b;
        const void *at = x + k * g->x_k * g->width;
        g->read(&a, &at, 1, NULL);
        for (int64_t j = 0; j < ns; j++) {
            at = y + (k * g->y_k + j * g->y_n) * g->width;
            g->read(&b, &at, 1, NULL);
            acc[j] = (int64_t)((uint64_t)acc[j] + (uint64_t)a * (uint64_t)b);
        }
    }
}

static void plain_run(const void *params, const KernelCtx *ctx) {
    enum { COLS = 256 };
    const Gemm *g = params;
    Part        part = part_of(g->batch.count * g->m, 1, ctx);
    int64_t     acc[COLS];
    for (int64_t row = part.first; row < part.last; row++) {
        NdWalk         at = nd_at(&g->batch, row / g->m);
        int64_t        m = row % g->m;
        const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + at.offset[1] + m * g->x_m * g->width;
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2];
        uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + at.offset[0] + m * g->z_m * g->width;
        for (int64_t n = 0; n < g->n; n += COLS) {
            int64_t     ns = g->n - n < COLS ? g->n - n : COLS;
            const void *sums = acc;
            memset(acc, 0, sizeof acc);
            for (int64_t outer = 0; outer < g->outer.count && g->k > 0; outer++) {
                NdWalk walk = nd_at(&g->outer, outer);
                plain_row(g, x + walk.offset[0], y + walk.offset[1] + n * g->y_n * g->width, ns,
                          acc);
            }
            g->store(z + n * g->width, &sums, ns, NULL);
        }
    }
}

/* --- binding ---------------------------------------------------------------------------------- */

typedef struct Axes { /* axes of one role: sizes, and strides in z, x, y (elements) */
    uint32_t count;
    int64_t  dims[2 * SHAPE_RANK_MAX], strides[3][2 * SHAPE_RANK_MAX];
} Axes;

static void axes_add(Axes *axes, int64_t dim, int64_t z, int64_t x, int64_t y) {
    uint32_t last = axes->count - 1;
    if (dim == 1) return;
    if (axes->count > 0 && axes->strides[0][last] == z * dim && axes->strides[1][last] == x * dim &&
        axes->strides[2][last] == y * dim) { /* continues the axis before */
        axes->dims[last] *= dim;
        axes->strides[0][last] = z;
        axes->strides[1][last] = x;
        axes->strides[2][last] = y;
        return;
    }
    axes->dims[axes->count] = dim;
    axes->strides[0][axes->count] = z;
    axes->strides[1][axes->count] = x;
    axes->strides[2][axes->count++] = y;
}

/* Takes the last axis out: its size (1 if there is none) and strides. */
static int64_t axes_pop(Axes *axes, int64_t *out_strides) {
    memset(out_strides, 0, 3 * sizeof *out_strides);
    if (axes->count == 0) return 1;
    axes->count--;
    for (uint32_t s = 0; s < 3; s++) out_strides[s] = axes->strides[s][axes->count];
    return axes->dims[axes->count];
}

static void collect_axes(const Binder *b, Axes *batch, Axes *x_free, Axes *y_free, Axes *contract) {
    const LaunchArg *x = &b->args[0], *y = &b->args[1], *z = &b->outs[0];
    int64_t          xb[LIST_MAX], yb[LIST_MAX], xc[LIST_MAX], yc[LIST_MAX];
    uint32_t         batches = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_batch, xb);
    uint32_t         sums = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_contract, xc);
    uint32_t         x_used = 0, y_used = 0, at = 0;
    (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_batch, yb);
    (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_contract, yc);
    for (uint32_t i = 0; i < batches; i++, at++) {
        axes_add(batch, z->dims[at], z->strides[at], x->strides[xb[i]], y->strides[yb[i]]);
        x_used |= 1u << xb[i];
        y_used |= 1u << yb[i];
    }
    for (uint32_t i = 0; i < sums; i++) {
        axes_add(contract, x->dims[xc[i]], 0, x->strides[xc[i]], y->strides[yc[i]]);
        x_used |= 1u << xc[i];
        y_used |= 1u << yc[i];
    }
    for (uint32_t i = 0; i < x->rank; i++)
        if (!(x_used >> i & 1)) {
            axes_add(x_free, x->dims[i], z->strides[at], x->strides[i], 0);
            at++;
        }
    for (uint32_t i = 0; i < y->rank; i++)
        if (!(y_used >> i & 1)) {
            axes_add(y_free, y->dims[i], z->strides[at], 0, y->strides[i]);
            at++;
        }
}

/* Geometry; false if there are more axes that do not merge than fit. */
static bool set_axes(Gemm *g, const Binder *b) {
    Axes    batch = {0}, x_free = {0}, y_free = {0}, contract = {0};
    int64_t m[3], n[3], k[3];
    collect_axes(b, &batch, &x_free, &y_free, &contract);
    g->m = axes_pop(&x_free, m);
    g->n = axes_pop(&y_free, n);
    g->k = axes_pop(&contract, k);
    g->z_m = m[0];
    g->x_m = m[1];
    g->y_n = n[2];
    g->x_k = k[1];
    g->y_k = k[2];
    if (batch.count + x_free.count + y_free.count > SHAPE_RANK_MAX) return false;
    for (uint32_t i = 0; i < x_free.count; i++)
        axes_add(&batch, x_free.dims[i], x_free.strides[0][i], x_free.strides[1][i], 0);
    for (uint32_t i = 0; i < y_free.count; i++)
        axes_add(&batch, y_free.dims[i], y_free.strides[0][i], 0, y_free.strides[2][i]);
    const int64_t *batch_strides[3] = {batch.strides[0], batch.strides[1], batch.strides[2]};
    const int64_t *outer_strides[2] = {contract.strides[1], contract.strides[2]};
    int64_t        widths[3] = {g->width, g->width, g->width};
    g->batch = nd_make(batch.count, batch.dims, 3, batch_strides, widths);
    g->outer = nd_make(contract.count, contract.dims, 2, outer_strides, widths);
    return true;
}

/* The steps over all matrices and columns, as much at a time as the shared panels may hold. */
static void bind_chunks(Binder *b, const Gemm *g) {
    int64_t column = g->k_blocks * K_BLOCK * g->compute; /* bytes a column of panels */
    bool    shared = !g->whole && !g->direct;
    int64_t columns = SHARED_BYTES_MAX / column / g->block_n * g->block_n;
    int64_t ns = shared ? least(g->n, columns > 0 ? columns : g->block_n) : g->n;
    int64_t each = round_up(ns, g->tile_n) * column;
    int64_t batches = shared ? SHARED_BYTES_MAX / each : g->batch.count;
    if (batches < 1 || ns < g->n) batches = 1;
    for (int64_t batch = 0; batch < g->batch.count; batch += batches)
        for (int64_t n = 0; n < g->n; n += ns) {
            Chunk *c = BIND_PARAMS(b, Chunk);
            *c = (Chunk){g, batch, least(g->batch.count - batch, batches), n, least(g->n - n, ns)};
            int64_t work = c->batches * g->m * c->ns * g->k_blocks * least(g->k, K_BLOCK) / 8;
            if (shared) {
                bind_shared(b, c->batches * each);
                bind_step(b, pack_run, c, c->batches * each);
            }
            bind_step(b, gemm_run, c, work);
        }
}

static void bind_tiles(Binder *b, Gemm *g, Dtype dtype) {
    Dtype   compute = dtype_compute(dtype);
    int64_t y_bytes = g->k * g->n * g->width;
    g->tile = b->isa->gemm_tile[compute];
    g->pack = b->isa->gemm_pack[dtype];
    g->tile_m = b->isa->gemm_shape[compute].rows;
    g->tile_n = b->isa->gemm_shape[compute].cols;
    g->k_blocks = g->outer.count * blocks_of(g->k, K_BLOCK);
    g->block_n = least(N_BLOCK_BYTES / g->compute, round_up(g->n, g->tile_n));
    g->block_m = g->m <= 2 * M_BLOCK ? M_BLOCK / 4 : g->m <= 8 * M_BLOCK ? M_BLOCK / 2 : M_BLOCK;
    g->whole = g->batch.count >= MATRICES_MIN && (g->m <= M_BLOCK || g->k_blocks == 1);
    if (g->whole) g->block_m = M_BLOCK;
    g->direct = g->y_n == 1 && dtype == compute && g->n >= g->tile_n &&
                (y_bytes <= DIRECT_BYTES_MAX || g->m <= 2 * g->tile_m);
    g->store = dtype_is_half(dtype) ? b->isa->convert[DTYPE_F32][dtype] : NULL;
    bind_scratch(b, panel_bytes(g, g->block_m, g->tile_m) + panel_bytes(g, g->block_n, g->tile_n) +
                        (g->store != NULL ? g->block_m * g->block_n * g->compute : 0));
    bind_chunks(b, g);
}

/* Floats: false if this machine's tables lack the dtype. */
static bool bind_floats(Binder *b, Gemm *g, Dtype dtype) {
    if (b->isa->gemm_pack[dtype] == NULL) return false;
    if (dtype != DTYPE_F32 || !bind_library(b, g)) bind_tiles(b, g, dtype);
    return true;
}

static Gemm *gemm_make(Binder *b) {
    Gemm *g = BIND_PARAMS(b, Gemm);
    g->x = ref_of(&b->args[0]);
    g->y = ref_of(&b->args[1]);
    g->z = ref_of(&b->outs[0]);
    g->width = arg_width(&b->args[0]);
    g->compute = dtype_bytes(dtype_compute(arg_dtype(&b->args[0])));
    return g;
}

bool gemm_bind_dot_general(Binder *b) {
    Dtype dtype = arg_dtype(&b->args[0]);
    Gemm *g = gemm_make(b);
    if (!set_axes(g, b)) return false;
    bool nothing = g->k == 0 || g->outer.count == 0;
    if (dtype_is_float(dtype) && !nothing) return bind_floats(b, g, dtype);
    g->read = b->isa->convert[dtype][DTYPE_I64];
    g->store = b->isa->convert[DTYPE_I64][dtype];
    if (g->read == NULL || g->store == NULL) return false;
    bind_step(b, plain_run, g, g->batch.count * g->m * g->n * (1 + g->k * g->outer.count));
    return true;
}

/* x weight^T + bias: dense operands, so one product and a sum while the block is in cache. */
bool gemm_bind_linear(Binder *b) {
    const LaunchArg *x = &b->args[0], *weight = &b->args[1];
    Dtype            dtype = arg_dtype(x);
    Gemm            *g = gemm_make(b);
    g->k = x->dims[x->rank - 1];
    g->n = weight->dims[0];
    if (!dtype_is_float(dtype) || g->k == 0) return false;
    g->m = arg_elements(x) / g->k;
    g->x_m = g->y_n = g->k;
    g->x_k = g->y_k = 1;
    g->z_m = g->n;
    g->batch = nd_make(0, NULL, 3, NULL, NULL);
    g->outer = nd_make(0, NULL, 2, NULL, NULL);
    if (b->operands > 2) {
        g->bias = ref_of(&b->args[2]);
        g->add = b->isa->block[OP_ADD][dtype_compute(dtype)];
        g->load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL;
    }
    return bind_floats(b, g, dtype);
}
