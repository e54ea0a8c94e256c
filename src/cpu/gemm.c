/* dot_general: batched matrix products of strided operands into a dense result.
 *
 * Binding brings the axes into the form  z[batch, m, n] = sum over (outer, k) of x y  where m, n and k
 * are single axes with one stride a side; further free axes become batch axes on which the other
 * operand repeats. Work is cut into units of (batch, block of n, block of m) whose sizes depend on
 * the shape alone, and each unit sums over k in order, so results do not depend on lanes.
 *
 * Floats: a unit packs blocks of both operands into panels (any strides; 16-bit floats become f32 on
 * the way) and runs the register tile of gemm_tile.h over them; consecutive units keep the panels of
 * y when they can. f32 goes to oneDNN where that is built in. Integers use plain loops. */
#include <string.h>

#include "cpu/kernels.h"
#include "cpu/onednn.h"

enum {
    K_BLOCK = 256,
    M_BLOCK = 168,        /* a multiple of both tile heights, 14 and 6 */
    N_BLOCK_BYTES = 2048, /* of a row of packed y */
};

typedef struct Gemm {
    Nd          batch; /* sides: z, x, y */
    Nd          outer; /* further contracted axes; sides: x, y */
    Ref         x, y, z;
    GemmTileFn *tile;
    GemmPackFn *pack;
    BlockFn    *store, *read; /* store: f32 to 16 bits; read: integers to i64 */
    int64_t     m, n, k;
    int64_t     x_m, x_k, y_n, y_k, z_m; /* strides, elements */
    int64_t     tile_m, tile_n;          /* of the register tile */
    int64_t     block_n, m_blocks, n_blocks;
    int64_t     width, compute; /* bytes of an element, in memory and in panels */
} Gemm;

typedef struct Block {
    int64_t batch, m, ms, n, ns; /* first and count */
} Block;

static Block block_of(const Gemm *g, int64_t unit) {
    Block   block;
    int64_t m_block = unit % g->m_blocks, n_block = unit / g->m_blocks % g->n_blocks;
    block.batch = unit / (g->m_blocks * g->n_blocks);
    block.m = m_block * M_BLOCK;
    block.n = n_block * g->block_n;
    block.ms = g->m - block.m < M_BLOCK ? g->m - block.m : M_BLOCK;
    block.ns = g->n - block.n < g->block_n ? g->n - block.n : g->block_n;
    return block;
}

/* Panels of `tile` lanes each: out[panel][k][tile]. */
static void pack_panels(const Gemm *g, uint8_t *out, const uint8_t *x, int64_t stride_lane,
                        int64_t stride_k, int64_t tile, int64_t count, int64_t k) {
    for (int64_t i = 0; i < count; i += tile) {
        int64_t lanes = count - i < tile ? count - i : tile;
        g->pack(out + i * k * g->compute, x + i * stride_lane * g->width, stride_lane, stride_k,
                tile, lanes, k);
    }
}

static void multiply_panels(const Gemm *g, const uint8_t *a, const uint8_t *b, uint8_t *z,
                            int64_t z_stride, const Block *block, int64_t k, bool add) {
    for (int64_t i = 0; i < block->ms; i += g->tile_m) {
        int64_t rows = block->ms - i < g->tile_m ? block->ms - i : g->tile_m;
        for (int64_t j = 0; j < block->ns; j += g->tile_n) {
            int64_t cols = block->ns - j < g->tile_n ? block->ns - j : g->tile_n;
            g->tile(a + i * k * g->compute, b + j * k * g->compute,
                    z + (i * z_stride + j) * g->compute, k, z_stride, rows, cols, add);
        }
    }
}

typedef struct Panels { /* this lane's scratch, and which part of y it holds */
    uint8_t *a, *b, *z;
    int64_t  batch, n; /* -1: none */
} Panels;

static void gemm_block(const Gemm *g, const KernelCtx *ctx, const Block *block, Panels *panels) {
    NdWalk         at = nd_at(&g->batch, block->batch);
    const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + at.offset[1] + block->m * g->x_m * g->width;
    const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2] + block->n * g->y_n * g->width;
    uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + at.offset[0];
    bool           whole = g->outer.count == 1 && g->k <= K_BLOCK;
    bool           kept = whole && panels->batch == block->batch && panels->n == block->n;
    int64_t        z_stride = g->z_m;
    z += (block->m * g->z_m + block->n) * g->width;
    uint8_t *to = z;
    if (g->store != NULL) {
        to = panels->z;
        z_stride = block->ns;
    }
    bool add = false;
    for (int64_t outer = 0; outer < g->outer.count; outer++) {
        NdWalk walk = nd_at(&g->outer, outer);
        for (int64_t k = 0; k < g->k; k += K_BLOCK, add = true) {
            int64_t ks = g->k - k < K_BLOCK ? g->k - k : K_BLOCK;
            if (!kept)
                pack_panels(g, panels->b, y + walk.offset[1] + k * g->y_k * g->width, g->y_n,
                            g->y_k, g->tile_n, block->ns, ks);
            pack_panels(g, panels->a, x + walk.offset[0] + k * g->x_k * g->width, g->x_m, g->x_k,
                        g->tile_m, block->ms, ks);
            multiply_panels(g, panels->a, panels->b, to, z_stride, block, ks, add);
        }
    }
    panels->batch = whole ? block->batch : -1;
    panels->n = block->n;
    for (int64_t i = 0; g->store != NULL && i < block->ms; i++) {
        const void *row = to + i * z_stride * g->compute;
        g->store(z + i * g->z_m * g->width, &row, block->ns, NULL);
    }
}

static int64_t panel_bytes(const Gemm *g, int64_t count, int64_t tile) {
    return (count + tile - 1) / tile * tile * K_BLOCK * g->compute;
}

static void gemm_run(const void *params, const KernelCtx *ctx) {
    const Gemm *g = params;
    Part        part = part_of(g->batch.count * g->m_blocks * g->n_blocks, 1, ctx);
    Panels      panels = {.a = ctx->scratch, .batch = -1};
    panels.b = panels.a + panel_bytes(g, M_BLOCK, g->tile_m);
    panels.z = panels.b + panel_bytes(g, g->block_n, g->tile_n);
    for (int64_t unit = part.first; unit < part.last; unit++) {
        Block block = block_of(g, unit);
        gemm_block(g, ctx, &block, &panels);
    }
}

/* --- integers, and products over nothing -------------------------------------------------------- */

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
                plain_row(g, x + walk.offset[0], y + walk.offset[1] + n * g->y_n * g->width, ns, acc);
            }
            g->store(z + n * g->width, &sums, ns, NULL);
        }
    }
}

/* --- binding ------------------------------------------------------------------------------------ */

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

static void bind_tiles(Binder *b, Gemm *g, Dtype dtype) {
    Dtype compute = dtype_compute(dtype);
    g->tile = b->isa->gemm_tile[compute];
    g->pack = b->isa->gemm_pack[dtype];
    g->tile_m = b->isa->gemm_shape[compute].rows;
    g->tile_n = b->isa->gemm_shape[compute].cols;
    g->block_n = N_BLOCK_BYTES / g->compute;
    if (g->n < g->block_n) g->block_n = (g->n + g->tile_n - 1) / g->tile_n * g->tile_n;
    g->m_blocks = (g->m + M_BLOCK - 1) / M_BLOCK;
    g->n_blocks = (g->n + g->block_n - 1) / g->block_n;
    g->store = dtype_is_half(dtype) ? b->isa->convert[DTYPE_F32][dtype] : NULL;
    bind_scratch(b, panel_bytes(g, M_BLOCK, g->tile_m) + panel_bytes(g, g->block_n, g->tile_n) +
                        (g->store != NULL ? M_BLOCK * g->block_n * g->compute : 0));
    int64_t flops = g->batch.count * g->m * g->n * g->k * g->outer.count;
    bind_step(b, gemm_run, g, flops);
}

bool gemm_bind_dot_general(Binder *b) {
    Dtype dtype = arg_dtype(&b->args[0]), compute = dtype_compute(dtype);
    Gemm *g = BIND_PARAMS(b, Gemm);
    g->x = ref_of(&b->args[0]);
    g->y = ref_of(&b->args[1]);
    g->z = ref_of(&b->outs[0]);
    g->width = arg_width(&b->args[0]);
    g->compute = dtype_bytes(compute);
    if (!set_axes(g, b)) return false;
    bool nothing = g->k == 0 || g->outer.count == 0;
    if (dtype_is_float(dtype) && !nothing) {
        if (b->isa->gemm_pack[dtype] == NULL) return false;
        bind_tiles(b, g, dtype);
        return true;
    }
    g->read = b->isa->convert[dtype][DTYPE_I64];
    g->store = b->isa->convert[DTYPE_I64][dtype];
    if (g->read == NULL || g->store == NULL) return false;
    bind_step(b, plain_run, g, g->batch.count * g->m * g->n * (1 + g->k * g->outer.count));
    return true;
}
