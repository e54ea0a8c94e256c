/* dot_general: batched matrix products of strided operands into a dense result.
 *
 * Binding brings the axes into the form  z[batch, m, n] = sum over (outer, k) of x y  where m, n
 * and k are single axes with one stride a side; further free axes become batch axes on which the
 * other operand repeats. Every element of z is one sum in one order, slab by slab of k, so neither
 * lanes nor how z is cut change its bits.
 *
 * Floats run the register tile of kernels_tile.def over packed panels (any strides; 16-bit floats
 * become f32 on the way, or are multiplied as they are: kernels_bf16.c). Many small matrices: a
 * unit is a matrix, its lane packs all it needs. Few large ones: all lanes pack y into shared
 * panels first; a unit is a block of rows, whose panels stay in cache while those of y pass. Rows
 * that are contiguous along k are read in place where that is as fast; few rows of x change places
 * with many of y, and blocks of z are turned. The bias is added to parts of a block after their
 * last slab, a compiled kernel that comes next follows by rows. Why not a library: note 0007. */
#include <string.h>

#include "cpu/panels.h"

enum {
    M_BLOCK = 168,    /* the most rows of a unit: 28 x 6 or 12 x 14 */
    K_BLOCK_16 = 512, /* the same for bf16 as it is */
    M_BLOCK_16 = 192,
    MATRICES_MIN = 8,              /* from here on a unit is a whole matrix */
    DIRECT_BYTES_MAX = 128 * 1024, /* y is read in place up to here */
    SHARED_BYTES_MAX = 16 << 20,
    END_BYTES = 64 * 1024,   /* of z that ends at a time, */
    END_COLS = 512,          /* and the most columns */
    ROWS_BYTES = 256 * 1024, /* of z in a unit that a launch follows */
    STEP_ROWS = 64,          /* the most that an iteration of what follows takes */
    COLS_16 = 512,           /* of z in scratch, for 16-bit results */
    PACK_COLS = 384,         /* of z: from here on rows of x are packed, */
    PACK_TILE = 16,          /* if tiles are at most that wide */
    DOT_ROWS = 4,            /* of x: up to here each number of z is a sum of its own, */
    TURN_ROWS = 256,         /* and up to there rows of x change places with those of y */
};

typedef struct Gemm {
    Panels      p;
    Nd          batch; /* sides: z, x, y */
    Nd          outer; /* further contracted axes; sides: x, y */
    Ref         x, y, z;
    Ref         bias;
    BlockFn    *add, *load;   /* of the bias, and 16 bits of it to f32; NULL for none */
    GemmPackFn *turn;         /* of the dtype of computation */
    Follow     *follow;       /* the next launch, or NULL; then a unit has whole rows */
    BlockFn    *store, *read; /* store: f32 to 16 bits; read: integers to i64 */
    GemmRowFn  *row;          /* of a product with few rows, */
    int64_t     row_stride;   /* and the stride of y that is not 1 */
    int64_t     m, n, k;
    int64_t     x_m, x_k, y_n, y_k, z_m; /* strides, elements */
    int64_t     block_m, block_n;        /* of a unit, or within it */
    int64_t     block_k, k_blocks;       /* of one slab; of outer x k */
    int64_t     end_n;                   /* columns that end at a time: whole panels */
    bool        whole;                   /* a unit is a matrix */
    bool        direct;                  /* y is read in place */
    bool        in_rows;                 /* so is x, all but the last rows */
    bool        turned;                  /* x and y have changed places: a row of z is a column, */
    bool        swapped;                 /* or there is only one */
} Gemm;

/* What a step works on: some matrices, and some columns of them (from a panel's beginning). */
typedef struct Chunk {
    const Gemm *g;
    int64_t     batch, batches, n, ns;
} Chunk;

typedef struct Slab { /* one block of the contracted elements */
    int64_t ks, x, y; /* how many; byte offsets in x and y */
} Slab;
static Slab slab_at(const Gemm *g, int64_t number) {
    int64_t each = panels_blocks(g->k, g->block_k), k = number % each * g->block_k;
    NdWalk  walk = nd_at(&g->outer, number / each);
    return (Slab){panels_least(g->k - k, g->block_k), walk.offset[0] + k * g->x_k * g->p.width,
                  walk.offset[1] + k * g->y_k * g->p.width};
}

/* Panels of y in shared memory: [batch][slab, block_k rows each][panel][k][columns]. */
static int64_t shared_slab(const Chunk *c) {
    return panels_bytes(&c->g->p, c->ns, c->g->p.cols, c->g->block_k);
}
static void pack_run(const void *params, const KernelCtx *ctx) {
    enum { PANELS = 4 }; /* that a lane packs at a time */
    const Chunk *c = params;
    const Gemm  *g = c->g;
    int64_t      few = PANELS * g->p.cols, each = panels_blocks(c->ns, few);
    Part         part = part_of(c->batches * g->k_blocks * each, 1, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t        n = i % each * few, number = i / each;
        Slab           slab = slab_at(g, number % g->k_blocks);
        NdWalk         at = nd_at(&g->batch, c->batch + number / g->k_blocks);
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2] + slab.y;
        g->p.pack(ctx->shared + number * shared_slab(c) + n * panels_lane(&g->p, slab.ks),
                  y + (c->n + n) * g->y_n * g->p.width, g->y_n, g->y_k, g->p.cols,
                  panels_least(c->ns - n, few), slab.ks);
    }
}

/* Blocks are summed in scratch and stored afterwards. Its rows do not begin at the same places of
 * a cache. */
static bool    in_scratch(const Gemm *g) { return g->store != NULL || g->turned; }
static int64_t scratch_stride(const Gemm *g, int64_t ns) { return panels_up(ns, g->p.cols) + 16; }

/* --- a block ---------------------------------------------------------------------------------- */

typedef struct Place {            /* of a block: in z, and what its lane uses */
    int64_t  batch, m, ms, n, ns; /* rows and columns of the matrix */
    uint8_t *a, *b, *z, *to, *bias, *follow, *turned;
    int64_t  stride; /* of z, elements */
} Place;

/* Columns [j, j + count) of the block are summed: the bias, and 16-bit results. */
static void end_columns(const Gemm *g, const KernelCtx *ctx, const Place *at, int64_t j,
                        int64_t count) {
    const void *bias = (uint8_t *)ref_at(g->bias, ctx) + (at->n + j) * g->p.width;
    if (g->add != NULL && g->load != NULL) {
        g->load(at->bias, &bias, count, NULL);
        bias = at->bias;
    }
    for (int64_t i = 0; (g->add != NULL || g->store != NULL) && i < at->ms; i++) {
        uint8_t    *row = at->z + (i * at->stride + j) * g->p.compute;
        const void *in[2] = {row, bias};
        if (g->add != NULL) g->add(row, in, count, NULL);
        if (g->store != NULL) g->store(at->to + (i * g->z_m + j) * g->p.width, in, count, NULL);
    }
}

/* A block whose rows are columns of z is summed. */
static void end_turned(const Gemm *g, const KernelCtx *ctx, const Place *at) {
    const void *bias = (uint8_t *)ref_at(g->bias, ctx) + at->m * g->p.width;
    if (g->add != NULL && g->load != NULL) {
        g->load(at->bias, &bias, at->ms, NULL);
        bias = at->bias;
    }
    g->turn(at->turned, at->z, at->stride, 1, at->ms, at->ms, at->ns);
    for (int64_t j = 0; j < at->ns; j++) {
        uint8_t    *row = at->turned + j * at->ms * g->p.compute;
        uint8_t    *to = at->to + j * g->z_m * g->p.width;
        const void *in[2] = {row, bias};
        if (g->add != NULL) g->add(row, in, at->ms, NULL);
        if (g->store != NULL)
            g->store(to, in, at->ms, NULL);
        else
            memcpy(to, row, (size_t)(at->ms * g->p.width));
    }
}

/* One slab of a block: x as panels in at->a, or as rows in place, the last of them, which no tile
 * fills, packed in at->a; y as panels in b, or as rows in place, their last panel packed in tail
 * where it is not whole. */
static void multiply(const Gemm *g, const KernelCtx *ctx, const Place *at, const uint8_t *x,
                     const uint8_t *b, const uint8_t *tail, int64_t ks, bool first, bool last) {
    const Panels *p = &g->p;
    int64_t       rows = g->in_rows ? at->ms / p->rows * p->rows : 0, lane = panels_lane(p, ks);
    for (int64_t j = 0, done = 0; j < at->ns; j += p->cols) {
        int64_t        cols = panels_least(at->ns - j, p->cols);
        bool           in_place = g->direct && cols == p->cols;
        const uint8_t *b_at = b + j * (g->direct ? p->compute : lane);
        if (g->direct && !in_place) b_at = tail;
        int64_t b_stride = in_place ? g->y_k : p->cols;
        for (int64_t i = 0; i < rows; i += p->rows)
            p->in_rows(x + i * g->x_m * p->width, g->x_m, b_at, b_stride,
                       at->z + (i * at->stride + j) * p->compute, at->stride, ks, cols, !first);
        for (int64_t i = rows; i < at->ms; i += p->rows)
            p->tile(at->a + (i - rows) * lane, b_at, b_stride,
                    at->z + (i * at->stride + j) * p->compute, at->stride, ks,
                    panels_least(at->ms - i, p->rows), cols, !first);
        if (!last || g->turned || (j + cols - done < g->end_n && j + cols < at->ns)) continue;
        end_columns(g, ctx, at, done, j + cols - done);
        done = j + cols;
    }
}

/* A block of one matrix over all slabs. panels: the shared panels of y from its first column on, or
 * NULL. */
static void gemm_block(const Chunk *c, const KernelCtx *ctx, Place *at, const uint8_t *panels) {
    const Gemm    *g = c->g;
    const Panels  *p = &g->p;
    NdWalk         walk = nd_at(&g->batch, at->batch);
    const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + walk.offset[1] + at->m * g->x_m * p->width;
    const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + walk.offset[2] + at->n * g->y_n * p->width;
    int64_t        tail = at->ns / p->cols * p->cols; /* of y in place, is packed */
    int64_t        rows = g->in_rows ? at->ms / p->rows * p->rows : 0;
    int64_t        row = g->turned ? at->n : at->m, column = g->turned ? at->m : at->n;
    at->to = (uint8_t *)ref_at(g->z, ctx) + walk.offset[0] + (row * g->z_m + column) * p->width;
    at->stride = in_scratch(g) ? scratch_stride(g, at->ns) : g->z_m;
    if (!in_scratch(g)) at->z = at->to;
    for (int64_t i = 0; i < g->k_blocks; i++) {
        Slab           slab = slab_at(g, i);
        const uint8_t *b = at->b;
        p->pack_a(at->a, x + slab.x + rows * g->x_m * p->width, g->x_m, g->x_k, p->rows,
                  at->ms - rows, slab.ks);
        if (panels != NULL)
            b = panels + i * shared_slab(c) + (at->n - c->n) * panels_lane(p, slab.ks);
        else if (!g->direct)
            p->pack(at->b, y + slab.y, g->y_n, g->y_k, p->cols, at->ns, slab.ks);
        else if (tail < at->ns)
            p->pack(at->b, y + slab.y + tail * g->y_n * p->width, g->y_n, g->y_k, p->cols,
                    at->ns - tail, slab.ks);
        multiply(g, ctx, at, x + slab.x, g->direct ? y + slab.y : b, at->b, slab.ks, i == 0,
                 i + 1 == g->k_blocks);
    }
    if (g->turned) end_turned(g, ctx, at);
}

static Place place_of(const Gemm *g, PanelScratch *scratch) {
    Place at = {.stride = 0};
    bool  packs = g->whole || g->direct;
    at.a = panels_take(scratch, panels_bytes(&g->p, g->block_m, g->p.rows, g->block_k));
    at.b = packs ? panels_take(scratch, panels_bytes(&g->p, g->direct ? g->p.cols : g->block_n,
                                                     g->p.cols, g->block_k))
                 : NULL;
    int64_t sums = g->block_m * scratch_stride(g, g->block_n) * g->p.compute;
    at.z = in_scratch(g) ? panels_take(scratch, sums) : NULL;
    at.turned = panels_take(scratch, g->turned ? sums : 0);
    at.bias = panels_take(scratch, g->load != NULL ? END_COLS * g->p.compute : 0);
    at.follow = panels_take(scratch, g->follow != NULL ? g->follow->lane_bytes : 0);
    return at;
}

/* The least parts of a chunk that a lane does: blocks, or matrices. */
static int64_t units_of(const Chunk *c) {
    const Gemm *g = c->g;
    int64_t     blocks = panels_blocks(g->m, g->block_m) * panels_blocks(c->ns, g->block_n);
    return c->batches * (g->whole ? 1 : blocks);
}
static void gemm_run(const void *params, const KernelCtx *ctx) {
    const Chunk *c = params;
    const Gemm  *g = c->g;
    int64_t      m_blocks = panels_blocks(g->m, g->block_m);
    int64_t      n_blocks = panels_blocks(c->ns, g->block_n), each = m_blocks * n_blocks;
    Part         part = part_of(units_of(c), 1, ctx);
    PanelScratch scratch = {.at = ctx->scratch};
    Place        at = place_of(g, &scratch);
    int64_t      first = part.first * (g->whole ? each : 1);
    int64_t      last = part.last * (g->whole ? each : 1);
    for (int64_t block = first; block < last; block++) {
        int64_t batch = block / each, column = block % each / m_blocks * g->block_n;
        at.batch = c->batch + batch;
        at.m = block % m_blocks * g->block_m;
        at.ms = panels_least(g->m - at.m, g->block_m);
        at.n = c->n + column;
        at.ns = panels_least(c->ns - column, g->block_n);
        const uint8_t *panels = ctx->shared + batch * g->k_blocks * shared_slab(c);
        gemm_block(c, ctx, &at, g->whole || g->direct ? NULL : panels);
        if (g->follow == NULL) continue;
        kernels_follow_run(g->follow, ctx, at.m, at.m + at.ms, at.follow);
    }
}

/* --- integers, and products over nothing ------------------------------------------------------ */
static void plain_row(const Gemm *g, const uint8_t *x, const uint8_t *y, int64_t ns, int64_t *acc) {
    for (int64_t k = 0; k < g->k; k++) {
        int64_t     a, b;
        const void *at = x + k * g->x_k * g->p.width;
        g->read(&a, &at, 1, NULL);
        for (int64_t j = 0; j < ns; j++) {
            at = y + (k * g->y_k + j * g->y_n) * g->p.width;
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
        const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + at.offset[1] + m * g->x_m * g->p.width;
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + at.offset[2];
        uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + at.offset[0] + m * g->z_m * g->p.width;
        for (int64_t n = 0; n < g->n; n += COLS) {
            int64_t     ns = g->n - n < COLS ? g->n - n : COLS;
            const void *sums = acc;
            memset(acc, 0, sizeof acc);
            for (int64_t outer = 0; outer < g->outer.count && g->k > 0; outer++) {
                NdWalk walk = nd_at(&g->outer, outer);
                plain_row(g, x + walk.offset[0], y + walk.offset[1] + n * g->y_n * g->p.width, ns,
                          acc);
            }
            g->store(z + n * g->p.width, &sums, ns, NULL);
        }
    }
}

/* --- few rows --------------------------------------------------------------------------------- */

/* Few rows of x, each with all of y as it lies. */
static void rows_run(const void *params, const KernelCtx *ctx) {
    enum { FEW = 64 };
    const Chunk *c = params;
    const Gemm  *g = c->g;
    PanelScratch scratch = {.at = ctx->scratch};
    Place        at = place_of(g, &scratch);
    Part         part = part_of(g->batch.count * g->n, FEW, ctx);
    for (int64_t i = part.first, count; i < part.last; i += count) {
        int64_t        batch = i / g->n, n = i % g->n;
        NdWalk         walk = nd_at(&g->batch, batch);
        const uint8_t *x = (uint8_t *)ref_at(g->x, ctx) + walk.offset[1];
        const uint8_t *y = (uint8_t *)ref_at(g->y, ctx) + walk.offset[2];
        uint8_t       *z = (uint8_t *)ref_at(g->z, ctx) + walk.offset[0] + n * g->p.width;
        count = panels_least(panels_least(g->n - n, part.last - i), END_COLS);
        for (int64_t m = 0; m < g->m; m++)
            g->row(x + m * g->x_m * g->p.width, g->x_k, y + n * g->y_n * g->p.width, g->row_stride,
                   g->k, z + m * g->z_m * g->p.width, count);
        at.batch = batch;
        at.m = 0;
        at.ms = g->m;
        at.n = n;
        at.z = at.to = z;
        at.stride = g->z_m;
        end_columns(g, ctx, &at, 0, count);
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

static void collect_axes(const GemmProduct *product, Axes *batch, Axes *x_free, Axes *y_free,
                         Axes *contract) {
    const LaunchArg *x = product->x, *y = product->y, *z = product->z;
    uint32_t         x_used = 0, y_used = 0, at = 0;
    for (uint32_t i = 0; i < product->batches; i++, at++) {
        int64_t xb = product->x_batch[i], yb = product->y_batch[i];
        axes_add(batch, z->dims[at], z->strides[at], x->strides[xb], y->strides[yb]);
        x_used |= 1u << xb;
        y_used |= 1u << yb;
    }
    for (uint32_t i = 0; i < product->sums; i++) {
        int64_t xc = product->x_contract[i], yc = product->y_contract[i];
        axes_add(contract, x->dims[xc], 0, x->strides[xc], y->strides[yc]);
        x_used |= 1u << xc;
        y_used |= 1u << yc;
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

/* Whether rows of x fall on the same places of a cache, more of them than it has ways. */
static bool aliases(const Gemm *g) {
    enum { WAYS = 8, CACHE_STEP = 4096 };
    return g->p.rows > WAYS && g->x_m * g->p.width % CACHE_STEP == 0;
}
/* Whether rows of x that are contiguous along k serve as they are. */
static bool reads_rows(const Gemm *g) {
    return g->x_k == 1 && g->p.packed == g->p.width && g->k % g->p.unit == 0 && !aliases(g);
}

/* Whether packing rows is worth a pass over them: panels are asked for ahead, rows lie apart. Not
 * measured for wide vectors. */
static bool packs_rows(const Gemm *g) {
    return !g->turned && g->p.unit == 1 && g->p.cols <= PACK_TILE && g->n >= PACK_COLS;
}

static void swap(int64_t *a, int64_t *b) {
    int64_t c = *a;
    *a = *b;
    *b = c;
}
/* Few rows of x change places with rows of y that can be read in place: panels of x are much
 * smaller. */
static void turn(Gemm *g) {
    Gemm t = *g;
    if (g->p.pack == NULL || g->m > TURN_ROWS || 2 * g->m > g->n || 2 * g->m > g->k) return;
    if (g->y_k != 1 || (g->m <= DOT_ROWS && g->p.width > 2)) return;
    t.turned = true;
    t.x = g->y;
    t.y = g->x;
    swap(&t.m, &t.n);
    swap(&t.x_m, &t.y_n);
    swap(&t.x_k, &t.y_k);
    if (reads_rows(&t)) *g = t;
}

/* A matrix with a vector is the vector with the matrix. */
static void swap_vector(Gemm *g) {
    Ref x = g->x;
    if (g->p.pack == NULL || g->n != 1 || g->m <= DOT_ROWS || g->z_m != 1 || g->add != NULL) return;
    if (g->p.width == 2 || (g->x_k != 1 && g->x_m != 1)) return;
    g->swapped = true;
    g->x = g->y;
    g->y = x;
    swap(&g->m, &g->n);
    swap(&g->x_m, &g->y_n);
    swap(&g->x_k, &g->y_k);
    g->z_m = g->n;
}
/* Geometry; false if there are more axes that do not merge than fit. */
static bool set_axes(Gemm *g, const GemmProduct *product) {
    Axes    batch = {0}, x_free = {0}, y_free = {0}, contract = {0};
    int64_t m[3], n[3], k[3], width = arg_width(product->x);
    collect_axes(product, &batch, &x_free, &y_free, &contract);
    g->m = axes_pop(&x_free, m);
    g->n = axes_pop(&y_free, n);
    g->k = axes_pop(&contract, k);
    g->z_m = g->m > 1 ? m[0] : g->n;
    g->x_m = m[1];
    g->y_n = n[2];
    g->x_k = k[1];
    g->y_k = k[2];
    turn(g);
    swap_vector(g);
    if (batch.count + x_free.count + y_free.count > SHAPE_RANK_MAX) return false;
    for (uint32_t i = 0; i < x_free.count; i++)
        axes_add(&batch, x_free.dims[i], x_free.strides[0][i], x_free.strides[1][i], 0);
    for (uint32_t i = 0; i < y_free.count; i++)
        axes_add(&batch, y_free.dims[i], y_free.strides[0][i], 0, y_free.strides[2][i]);
    int            x_side = g->turned || g->swapped ? 2 : 1, y_side = 3 - x_side;
    const int64_t *batch_strides[3] = {batch.strides[0], batch.strides[x_side],
                                       batch.strides[y_side]};
    const int64_t *outer_strides[2] = {contract.strides[x_side], contract.strides[y_side]};
    int64_t        widths[3] = {width, width, width};
    g->batch = nd_make(batch.count, batch.dims, 3, batch_strides, widths);
    g->outer = nd_make(contract.count, contract.dims, 2, outer_strides, widths);
    return true;
}

/* The steps over all matrices and columns, as much at a time as the shared panels may hold. */
static void bind_chunks(Binder *b, const Gemm *g) {
    int64_t column = g->k_blocks * panels_lane(&g->p, g->block_k); /* bytes of panels */
    bool    shared = !g->whole && !g->direct;
    int64_t columns = SHARED_BYTES_MAX / column / g->p.cols * g->p.cols;
    int64_t ns = shared ? panels_least(g->n, columns > 0 ? columns : g->p.cols) : g->n;
    int64_t each = panels_up(ns, g->p.cols) * column;
    int64_t batches = shared ? SHARED_BYTES_MAX / each : g->batch.count;
    if (batches < 1 || ns < g->n) batches = 1;
    for (int64_t batch = 0; batch < g->batch.count; batch += batches)
        for (int64_t n = 0; n < g->n; n += ns) {
            Chunk *c = BIND_PARAMS(b, Chunk);
            *c = (Chunk){g, batch, panels_least(g->batch.count - batch, batches), n,
                         panels_least(g->n - n, ns)};
            int64_t work = c->batches * g->m * c->ns * g->k_blocks * g->block_k / 8;
            if (shared) {
                bind_shared(b, c->batches * each);
                bind_step(b, pack_run, c, c->batches * each);
            }
            bind_step(b, gemm_run, c, work);
            bind_pieces(b, units_of(c));
        }
}

/* Bytes of the panels of y, all columns of them. */
static int64_t shared_bytes(const Gemm *g) {
    int64_t columns = panels_up(g->n, g->p.cols);
    return g->direct ? 0 : columns * g->k_blocks * panels_lane(&g->p, g->block_k);
}
/* Whether units may be a few whole rows: there are enough for all lanes, and they fit caches. */
static bool can_follow(const Gemm *g, int64_t lanes) {
    int64_t few = 4 * g->p.rows;
    return g->batch.count == 1 && g->m >= few * lanes && shared_bytes(g) <= SHARED_BYTES_MAX &&
           g->n * g->p.compute * few <= ROWS_BYTES;
}
/* Rows that begin where an iteration of the launch that follows does. */
static int64_t rows_a_step(const Gemm *g) {
    return g->follow->step > g->n ? g->follow->step / g->n : 1;
}

/* Rows and columns of a unit: large, but every lane has as many units as the others. */
static void set_units(Gemm *g, int64_t lanes) {
    int64_t most = g->p.unit > 1 ? M_BLOCK_16 : M_BLOCK, few = 2 * g->p.rows, grain = g->p.rows,
            blocks;
    int64_t wide = in_scratch(g) || g->whole ? panels_least(g->n, COLS_16) : g->n;
    if (g->follow != NULL) {
        wide = g->n;
        most = panels_least(most, ROWS_BYTES / (g->n * g->p.compute));
        while (grain % rows_a_step(g) != 0) grain += g->p.rows;
    }
    blocks = panels_blocks(g->m, most);
    if (!g->whole) {
        int64_t batches = g->batch.count;
        while (batches * blocks % lanes != 0 && batches * blocks < 4 * lanes &&
               g->m / (blocks + 1) >= few)
            blocks++;
        int64_t cuts = batches * blocks < lanes ? panels_blocks(lanes, batches * blocks) : 1;
        if (g->follow == NULL) wide = panels_least(wide, panels_blocks(g->n, cuts));
    }
    g->block_m = panels_up(panels_blocks(g->m, blocks), grain);
    g->block_n = panels_up(wide, g->p.cols);
    int64_t columns = END_BYTES / (g->block_m * g->p.compute) / g->p.cols * g->p.cols;
    if (g->p.unit > 1) columns = END_COLS; /* calls for few columns cost more than their product */
    g->end_n = panels_least(columns > g->p.cols ? columns : g->p.cols, END_COLS);
}

static bool bind_tiles(Binder *b, Gemm *g, Dtype dtype) {
    int64_t      y_bytes = g->k * g->n * g->p.width, unit = g->p.unit;
    int64_t      slabs = panels_blocks(g->k, unit > 1 ? K_BLOCK_16 : panels_depth(&g->p));
    PanelScratch scratch = {.at = NULL};
    g->block_k = panels_up(panels_blocks(g->k, slabs), unit);
    g->k_blocks = g->outer.count * panels_blocks(g->k, g->block_k);
    g->whole = g->batch.count >= MATRICES_MIN && (g->m <= M_BLOCK || g->k_blocks == 1);
    g->direct = g->y_n == 1 && dtype == dtype_compute(dtype) && g->n >= g->p.cols &&
                (y_bytes <= DIRECT_BYTES_MAX || g->m <= 2 * g->p.rows);
    g->in_rows = reads_rows(g) && !packs_rows(g);
    g->store = dtype_is_half(dtype) ? b->isa->convert[DTYPE_F32][dtype] : NULL;
    g->turn = b->isa->gemm_pack[dtype_compute(dtype)];
    if (!g->turned && can_follow(g, b->lanes))
        g->follow = kernels_follow(b, g->m, g->n, STEP_ROWS, shared_bytes(g));
    set_units(g, b->lanes);
    (void)place_of(g, &scratch);
    bind_scratch(b, scratch.bytes);
    bind_chunks(b, g);
    return true;
}

/* Few rows against what is contiguous: nothing is worth packing. */
static bool bind_rows(Binder *b, Gemm *g, Dtype dtype) {
    bool dots = g->m <= DOT_ROWS && g->x_k == 1 && g->y_k == 1;
    bool sums = g->m == 1 && g->y_n == 1;
    if ((!dots && !sums) || g->outer.count != 1 || dtype_is_half(dtype)) return false;
    Chunk *c = BIND_PARAMS(b, Chunk);
    *c = (Chunk){.g = g};
    g->row_stride = dots ? g->y_n : g->y_k;
    g->row = dots ? b->isa->row_dots[dtype] : b->isa->row_sums[dtype];
    g->block_m = g->block_n = g->block_k = 0; /* nothing is packed */
    bind_step(b, rows_run, c, g->batch.count * g->m * g->n * g->k);
    return true;
}

static bool bind_floats(Binder *b, Gemm *g, Dtype dtype) {
    if (g->p.pack == NULL) return false;
    return bind_rows(b, g, dtype) || bind_tiles(b, g, dtype);
}

bool gemm_bind_product(Binder *b, const GemmProduct *product, const LaunchArg *bias) {
    Dtype dtype = arg_dtype(product->x);
    Gemm *g = BIND_PARAMS(b, Gemm);
    g->x = ref_of(product->x);
    g->y = ref_of(product->y);
    g->z = ref_of(product->z);
    if (!panels_of_bf16(b->isa, dtype, &g->p)) (void)panels_of(b->isa, dtype, &g->p);
    if (bias != NULL) {
        g->bias = ref_of(bias);
        g->add = b->isa->block[OP_ADD][dtype_compute(dtype)];
        g->load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL;
    }
    if (!set_axes(g, product)) return false;
    bool nothing = g->k == 0 || g->outer.count == 0;
    if (dtype_is_float(dtype) && !nothing) return bind_floats(b, g, dtype);
    g->read = b->isa->convert[dtype][DTYPE_I64];
    g->store = b->isa->convert[DTYPE_I64][dtype];
    if (g->read == NULL || g->store == NULL || bias != NULL) return false;
    bind_step(b, plain_run, g, g->batch.count * g->m * g->n * (1 + g->k * g->outer.count));
    return true;
}

bool gemm_bind_dot_general(Binder *b) {
    GemmProduct product = {.x = &b->args[0], .y = &b->args[1], .z = &b->outs[0]};
    product.batches = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_batch, product.x_batch);
    product.sums = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_contract, product.x_contract);
    (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_batch, product.y_batch);
    (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_contract, product.y_contract);
    return gemm_bind_product(b, &product, NULL);
}

bool gemm_bind_linear(Binder *b) {
    GemmProduct product = {.x = &b->args[0], .y = &b->args[1], .z = &b->outs[0], .sums = 1};
    product.x_contract[0] = b->args[0].rank - 1;
    product.y_contract[0] = 1;
    return gemm_bind_product(b, &product, b->operands > 2 ? &b->args[2] : NULL);
}
