/* linear_cross_entropy and its gradient, over tiles of the classes.
 *
 * Logits are made transposed, classes x rows, a strip of as many rows as a register tile has
 * columns at a time, so that maximum and sum of a row are a lane of two registers (kernels_strip.
 * def). Weights are packed once for all lanes, a chunk of classes at a time; then lanes go over
 * pieces of a few strips, block by block of classes that stays in cache.
 *
 * Forward keeps maximum, sum and the label's logit of each row from chunk to chunk. Backward makes
 * the logits of a chunk again, turns them into dz = dlogits, adds up dx^T += weight^T dz and leaves
 * dz, turned, to all lanes; in the next step lanes go over classes: dweight = dz^T x. Rows come in
 * chunks as well, which bounds what lanes share. Every sum has one order.
 *
 * A loss whose gradient is bound behind it keeps what it made of the logits of the first rows, as
 * many as work memory allows: shares e^(z - top), where top is the maximum so far, and the tops.
 * The gradient multiplies them by e^(top - lse): three products instead of four (note 0014). */
#include <math.h>
#include <string.h>

#include "cpu/panels.h"

enum {
    BLOCK_BYTES = 160 << 10, /* of weights that a piece multiplies at a time */
    BLOCK_MAX = 252,
    PIECE_ROWS = 128,
    CHUNK_BYTES = 4 << 20,  /* of packed weights */
    CHUNK_ROWS = 2048,      /* of a gradient */
    SUM_CLASSES = 48,       /* of dweight that one lane adds up at a time */
    WIDTH_ROWS = 168,       /* of dx^T that one lane adds up at a time */
    PIECES = 4,             /* that a lane should have, where there are as many strips */
    KEPT_BYTES = 128 << 20, /* of shares at most; the same in every plan, for the same bits */
};

typedef struct Entropy {
    Panels            p;
    const StripLoops *loops;
    GemmPackFn       *turn;         /* packs the dtype of computation */
    BlockFn          *load, *store; /* 16 bits to f32 and back, else NULL */
    BlockFn          *label;        /* to i64 */
    Ref               x, weight, labels, losses, lse, dlosses, dlse, dx, dweight;
    bool              has_dlse;
    int64_t           rows, classes, width, label_width;
    int64_t           slab;  /* of the summed elements of one tile */
    int64_t           piece; /* rows of a unit of work: whole strips */
    int64_t           block; /* classes that a piece multiplies at a time: whole panels */
    int64_t           wide;  /* likewise for dx: whole blocks */
    int64_t           weights, turned, sums, xs, dz; /* where they begin in shared memory, bytes */
    int64_t           kept, tops;                    /* shares and their maxima, in kept memory */
    int64_t           kept_rows;                     /* whole strips */
} Entropy;

typedef struct Chunk {
    const Entropy *e;
    int64_t        row, rows, class, classes;
} Chunk;

/* --- what lanes share ------------------------------------------------------------------------- */

static int64_t slabs_of(const Entropy *e, int64_t k) {
    return k > e->slab ? panels_blocks(k, e->slab) : 1;
}
static int64_t slab_k(const Entropy *e, int64_t k, int64_t slab) {
    return panels_least(k - slab * e->slab, e->slab);
}

/* The panels of a chunk's classes: [slab of the width][panel][k][rows of a tile]. */
static uint8_t *weights_at(const Chunk *c, const KernelCtx *ctx, int64_t slab, int64_t class) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    int64_t        from = panels_up(c->classes, p->rows) * slab * e->slab;
    return ctx->shared + e->weights + (from + class * slab_k(e, e->width, slab)) * p->compute;
}
static void pack_weights(const void *params, const KernelCtx *ctx) {
    const Chunk   *c = params;
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    const uint8_t *weight = ref_at(e->weight, ctx);
    Part           part = part_of(panels_blocks(c->classes, p->rows), 1, ctx);
    int64_t first = part.first * p->rows, last = panels_least(part.last * p->rows, c->classes);
    for (int64_t slab = 0; slab < slabs_of(e, e->width) && first < last; slab++)
        p->pack(weights_at(c, ctx, slab, first),
                weight + ((c->class + first) * e->width + slab * e->slab) * p->width, e->width, 1,
                p->rows, last - first, slab_k(e, e->width, slab));
}
/* The same weights as [panel of the width][class][rows of a tile]; and x as [slab of the rows]
 * [panel of the width][row][columns of a tile]. */
static void pack_turned(const void *params, const KernelCtx *ctx) {
    const Chunk   *c = params;
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    const uint8_t *weight = ref_at(e->weight, ctx), *x = ref_at(e->x, ctx);
    Part           part = part_of(panels_blocks(e->width, p->rows), 1, ctx);
    int64_t        first = part.first * p->rows, last = panels_least(part.last * p->rows, e->width);
    if (first < last)
        p->pack(ctx->shared + e->turned + first * c->classes * p->compute,
                weight + (c->class * e->width + first) * p->width, 1, e->width, p->rows,
                last - first, c->classes);
    if (c->class > 0) return;
    part = part_of(panels_blocks(c->rows, e->slab), 1, ctx);
    for (int64_t slab = part.first; slab < part.last; slab++)
        p->pack(ctx->shared + e->xs + panels_bytes(p, e->width, p->cols, slab * e->slab),
                x + (c->row + slab * e->slab) * e->width * p->width, 1, e->width, p->cols, e->width,
                slab_k(e, c->rows, slab));
}

/* --- logits ----------------------------------------------------------------------------------- */

/* Scratch of a lane: the strips of x of a piece, one strip of logits, and numbers of its rows. */
typedef struct Space {
    uint8_t *x, *own, *numbers, *row;
    uint8_t *z;                         /* the strip of logits at work: own, or kept memory */
    int64_t *labels, *places, *nowhere; /* nowhere: -1 for all */
} Space;
enum { NUMBERS = 6 };

static Space space_of(const Entropy *e, PanelScratch *scratch) {
    const Panels *p = &e->p;
    int64_t       lanes = p->cols * p->compute;
    Space         space;
    space.x = panels_take(scratch, e->piece * e->width * p->compute);
    space.z = space.own = panels_take(scratch, e->wide * lanes);
    space.numbers = panels_take(scratch, NUMBERS * lanes);
    space.row = panels_take(scratch, e->width * lanes);
    space.labels = panels_take(scratch, p->cols * 8);
    space.places = panels_take(scratch, p->cols * 8);
    space.nowhere = panels_take(scratch, p->cols * 8);
    if (scratch->at != NULL) memset(space.nowhere, 0xff, (size_t)p->cols * 8);
    return space;
}
static int64_t space_bytes(const Entropy *e) {
    PanelScratch scratch = {.at = NULL};
    (void)space_of(e, &scratch);
    return scratch.bytes;
}
/* Number i of NUMBERS of each row of a strip. */
static uint8_t *numbers_at(const Entropy *e, const Space *space, int i) {
    return space->numbers + i * e->p.cols * e->p.compute;
}

/* The rows of a piece as strips, [strip][slab of the width][k][columns]. */
static void pack_rows(const Chunk *c, const KernelCtx *ctx, const Space *space, int64_t row,
                      int64_t rows) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    const uint8_t *x = (uint8_t *)ref_at(e->x, ctx) + (c->row + row) * e->width * p->width;
    for (int64_t i = 0; i < rows; i += p->cols)
        for (int64_t slab = 0; slab < slabs_of(e, e->width); slab++)
            p->pack(space->x + (i * e->width + slab * e->slab * p->cols) * p->compute,
                    x + (i * e->width + slab * e->slab) * p->width, e->width, 1, p->cols,
                    panels_least(rows - i, p->cols), slab_k(e, e->width, slab));
}
/* Logits of the strip that begins at row i of the piece, classes [class, class + n) of the
 * chunk. */
static void make_logits(const Chunk *c, const KernelCtx *ctx, const Space *space, int64_t i,
                        int64_t class, int64_t n) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    for (int64_t slab = 0; slab < slabs_of(e, e->width); slab++) {
        int64_t   k = slab_k(e, e->width, slab);
        PanelSide x = {space->x + (i * e->width + slab * e->slab * p->cols) * p->compute, k};
        panels_multiply(p, (PanelSide){weights_at(c, ctx, slab, class), k}, x, space->z, p->cols, n,
                        p->cols, k, slab > 0);
    }
}

/* A number of the dtype of computation. */
static double number_of(const Entropy *e, const void *from, int64_t i) {
    return e->p.compute == 8 ? ((const double *)from)[i] : (double)((const float *)from)[i];
}
static void put_number(const Entropy *e, void *to, int64_t i, double number) {
    if (e->p.compute == 8)
        ((double *)to)[i] = number;
    else
        ((float *)to)[i] = (float)number;
}
/* Labels of a strip; -1 for those outside the classes, and beyond the last row. */
static void read_labels(const Entropy *e, const KernelCtx *ctx, const Space *space, int64_t row,
                        int64_t count) {
    const void *at = (uint8_t *)ref_at(e->labels, ctx) + row * e->label_width;
    e->label(space->labels, &at, count, NULL);
    for (int64_t i = 0; i < e->p.cols; i++)
        if (i >= count || space->labels[i] < 0 || space->labels[i] >= e->classes)
            space->labels[i] = -1;
}
/* Places of the labels within the block of classes from class on; what is not in it is beyond. */
static void find_places(const Entropy *e, const Space *space, int64_t class) {
    for (int64_t i = 0; i < e->p.cols; i++) space->places[i] = space->labels[i] - class;
}

/* --- what losses keep for gradients ----------------------------------------------------------- */

static bool is_kept(const Entropy *e, int64_t row) { return row < e->kept_rows; }
/* [strip][class][columns] */
static uint8_t *shares_at(const Entropy *e, const KernelCtx *ctx, int64_t row, int64_t class) {
    return ctx->kept + e->kept + (row * e->classes + class * e->p.cols) * e->p.compute;
}
/* [strip][block of classes][columns] */
static uint8_t *tops_at(const Entropy *e, const KernelCtx *ctx, int64_t row, int64_t class) {
    int64_t blocks = panels_blocks(e->classes, e->block);
    return ctx->kept + e->tops + (row * blocks + class / e->block * e->p.cols) * e->p.compute;
}

/* --- forward ---------------------------------------------------------------------------------- */

enum { SUM_MAX, SUM_SUM, SUM_PICKED, SUMS };
static uint8_t *sums_at(const Entropy *e, const KernelCtx *ctx, int which, int64_t row) {
    return ctx->shared + e->sums + (which * panels_up(e->rows, e->p.cols) + row) * e->p.compute;
}

static void begin_sums(const Entropy *e, const KernelCtx *ctx, int64_t row) {
    for (int64_t i = 0; i < e->p.cols; i++) {
        put_number(e, sums_at(e, ctx, SUM_MAX, row), i, -(double)INFINITY);
        put_number(e, sums_at(e, ctx, SUM_SUM, row), i, 0);
        put_number(e, sums_at(e, ctx, SUM_PICKED, row), i, 0);
    }
}
static void add_strip(const Entropy *e, const KernelCtx *ctx, const Space *space, int64_t row,
                      int64_t n) {
    uint8_t *picked = sums_at(e, ctx, SUM_PICKED, row);
    for (int64_t i = 0; i < e->p.cols; i++) {
        int64_t place = space->places[i];
        if (place >= 0 && place < n)
            put_number(e, picked, i, number_of(e, space->z, place * e->p.cols + i));
    }
    e->loops->softmax(space->z, n, n, 1, sums_at(e, ctx, SUM_MAX, row),
                      sums_at(e, ctx, SUM_SUM, row), numbers_at(e, space, 0));
}
/* The maximum that the shares of a strip are of, as a logit: the lse of one class. */
static void keep_top(const Entropy *e, const KernelCtx *ctx, const Space *space, int64_t row,
                     int64_t class) {
    for (int64_t i = 0; i < e->p.cols; i++) put_number(e, numbers_at(e, space, 0), i, 1);
    e->loops->end(sums_at(e, ctx, SUM_MAX, row), numbers_at(e, space, 0),
                  tops_at(e, ctx, row, class), numbers_at(e, space, 1));
}
static void store_strip(const Entropy *e, const KernelCtx *ctx, const Space *space, int64_t row,
                        int64_t count) {
    uint8_t    *lse = numbers_at(e, space, 0), *loss = numbers_at(e, space, 2);
    const void *from = loss;
    e->loops->end(sums_at(e, ctx, SUM_MAX, row), sums_at(e, ctx, SUM_SUM, row), lse,
                  numbers_at(e, space, 1));
    for (int64_t i = 0; i < count; i++) {
        double picked = number_of(e, sums_at(e, ctx, SUM_PICKED, row), i);
        put_number(e, loss, i, space->labels[i] < 0 ? 0 : number_of(e, lse, i) - picked);
    }
    memcpy((uint8_t *)ref_at(e->lse, ctx) + row * e->p.compute, lse,
           (size_t)(count * e->p.compute));
    uint8_t *losses = (uint8_t *)ref_at(e->losses, ctx) + row * e->p.width;
    if (e->store != NULL)
        e->store(losses, &from, count, NULL);
    else
        memcpy(losses, loss, (size_t)(count * e->p.width));
}

static void forward_run(const void *params, const KernelCtx *ctx) {
    const Chunk   *c = params;
    const Entropy *e = c->e;
    Part           part = part_of(panels_blocks(c->rows, e->piece), 1, ctx);
    PanelScratch   scratch = {.at = ctx->scratch};
    Space          space = space_of(e, &scratch);
    for (int64_t piece = part.first; piece < part.last; piece++) {
        int64_t row = piece * e->piece, rows = panels_least(c->rows - row, e->piece);
        pack_rows(c, ctx, &space, row, rows);
        for (int64_t class = 0; class == 0 || class < c->classes; class += e->block)
            for (int64_t i = 0; i < rows; i += e->p.cols) {
                int64_t count = panels_least(rows - i, e->p.cols);
                int64_t n = panels_least(c->classes - class, e->block);
                bool    first = c->class + class == 0, last = c->class + class + n == e->classes;
                bool    kept = is_kept(e, row + i);
                space.z = kept ? shares_at(e, ctx, row + i, c->class + class) : space.own;
                if (first) begin_sums(e, ctx, row + i);
                make_logits(c, ctx, &space, i, class, n);
                read_labels(e, ctx, &space, row + i, count);
                find_places(e, &space, c->class + class);
                add_strip(e, ctx, &space, row + i, n);
                if (kept) keep_top(e, ctx, &space, row + i, c->class + class);
                if (last) store_strip(e, ctx, &space, row + i, count);
            }
    }
}

/* --- backward --------------------------------------------------------------------------------- */

enum { BACK_LSE, BACK_ALL, BACK_MINE, BACK_LOADED };

/* What e^(z - lse) and the label of each row count. */
static void read_numbers(const Entropy *e, const KernelCtx *ctx, const Space *space, int64_t row,
                         int64_t count) {
    const void *dlosses = (uint8_t *)ref_at(e->dlosses, ctx) + row * e->p.width;
    const void *lse = (uint8_t *)ref_at(e->lse, ctx) + row * e->p.compute, *dlse = NULL;
    void       *loaded = numbers_at(e, space, BACK_LOADED);
    if (e->has_dlse) dlse = (uint8_t *)ref_at(e->dlse, ctx) + row * e->p.compute;
    if (e->load != NULL) {
        e->load(loaded, &dlosses, count, NULL);
        dlosses = loaded;
    }
    for (int64_t i = 0; i < e->p.cols; i++) {
        double mine = i < count && space->labels[i] >= 0 ? number_of(e, dlosses, i) : 0;
        double more = i < count && dlse != NULL ? number_of(e, dlse, i) : 0;
        put_number(e, numbers_at(e, space, BACK_LSE), i, i < count ? number_of(e, lse, i) : 0);
        put_number(e, numbers_at(e, space, BACK_ALL), i, mine + more);
        put_number(e, numbers_at(e, space, BACK_MINE), i, mine);
    }
}
/* dz of a strip turned, for all lanes: [panel of classes][row of the chunk][rows of a tile]. */
static void share_strip(const Chunk *c, const KernelCtx *ctx, const Space *space, int64_t row,
                        int64_t count, int64_t class, int64_t n) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    for (int64_t i = 0; i < n; i += p->rows)
        e->turn(ctx->shared + e->dz + ((class + i) * c->rows + row * p->rows) * p->compute,
                space->z + i * p->cols * p->compute, p->cols, 1, p->rows,
                panels_least(n - i, p->rows), count);
}
/* Strip by strip of a row chunk, dx^T[width][columns], adding up from chunk to chunk of classes. */
static uint8_t *dx_at(const Entropy *e, const KernelCtx *ctx, int64_t row) {
    return ctx->shared + e->sums + row * e->width * e->p.compute;
}
static void store_dx(const Chunk *c, const KernelCtx *ctx, const Space *space, int64_t row,
                     int64_t count) {
    const Entropy *e = c->e;
    uint8_t       *to = (uint8_t *)ref_at(e->dx, ctx) + (c->row + row) * e->width * e->p.width;
    const void    *from = space->row;
    e->turn(e->store != NULL ? space->row : to, dx_at(e, ctx, row), e->p.cols, 1, e->width,
            e->width, count);
    if (e->store != NULL) e->store(to, &from, e->width * count, NULL);
}

/* dz of the strip that begins at row i of a piece, at space->z: from its logits, or what was kept
 * of them. */
static void make_strip(const Chunk *c, const KernelCtx *ctx, Space *space, int64_t row, int64_t i,
                       int64_t class, int64_t n) {
    const Entropy *e = c->e;
    int64_t        at = c->row + row + i, from = c->class + class;
    uint8_t       *all = numbers_at(e, space, BACK_ALL), *mine = numbers_at(e, space, BACK_MINE);
    uint8_t       *lse = numbers_at(e, space, BACK_LSE);
    read_labels(e, ctx, space, at, panels_least(c->rows - row - i, e->p.cols));
    read_numbers(e, ctx, space, at, panels_least(c->rows - row - i, e->p.cols));
    find_places(e, space, from);
    if (!is_kept(e, at)) {
        space->z = space->own;
        make_logits(c, ctx, space, i, class, n);
        e->loops->loss_back(space->z, n, lse, all, mine, space->places);
        return;
    }
    space->z = shares_at(e, ctx, at, from);
    for (int64_t block = 0; block < n; block += e->block) {
        uint8_t *top = tops_at(e, ctx, at, from + block);
        e->loops->loss_back(top, 1, lse, all, mine, space->nowhere);
        e->loops->scale(space->z + block * e->p.cols * e->p.compute,
                        panels_least(n - block, e->block), top);
    }
    for (int64_t j = 0; j < e->p.cols; j++) {
        int64_t place = space->places[j], number = place * e->p.cols + j;
        if (place >= 0 && place < n)
            put_number(e, space->z, number, number_of(e, space->z, number) - number_of(e, mine, j));
    }
}

/* dx^T += weight^T dz for rows [from, from + count) of dx^T, whole panels, of a strip. */
static void add_dx(const Chunk *c, const KernelCtx *ctx, const uint8_t *z, int64_t row,
                   int64_t class, int64_t n, int64_t from, int64_t count) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    PanelSide w = {ctx->shared + e->turned + (from * c->classes + class * p->rows) * p->compute,
                   c->classes};
    panels_multiply(p, w, (PanelSide){z, n}, dx_at(e, ctx, row) + from * p->cols * p->compute,
                    p->cols, count, p->cols, n, true);
}

static void backward_run(const void *params, const KernelCtx *ctx) {
    const Chunk   *c = params;
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    Part           part = part_of(panels_blocks(c->rows, e->piece), 1, ctx);
    PanelScratch   scratch = {.at = ctx->scratch};
    Space          space = space_of(e, &scratch);
    bool           last = c->class + c->classes == e->classes;
    int64_t        high = panels_up(WIDTH_ROWS, p->rows);
    for (int64_t piece = part.first; piece < part.last; piece++) {
        int64_t row = piece * e->piece, rows = panels_least(c->rows - row, e->piece);
        int64_t kept = e->kept_rows - c->row - row; /* of the piece, a beginning of it */
        if (kept < rows) pack_rows(c, ctx, &space, row, rows);
        if (c->class == 0)
            memset(dx_at(e, ctx, row), 0,
                   (size_t)(panels_up(rows, p->cols) * e->width * p->compute));
        for (int64_t class = 0; class < c->classes; class += e->wide) {
            int64_t n = panels_least(c->classes - class, e->wide);
            for (int64_t i = 0; i < rows; i += p->cols) {
                make_strip(c, ctx, &space, row, i, class, n);
                if (i >= kept) add_dx(c, ctx, space.z, row + i, class, n, 0, e->width);
                share_strip(c, ctx, &space, row + i, panels_least(rows - i, p->cols), class, n);
            }
            for (int64_t from = 0; from < e->width; from += high) /* panels of weights in cache */
                for (int64_t i = 0; i < rows && i < kept; i += p->cols)
                    add_dx(c, ctx, shares_at(e, ctx, c->row + row + i, c->class + class), row + i,
                           class, n, from, panels_least(e->width - from, high));
        }
        for (int64_t i = 0; last && i < rows; i += p->cols)
            store_dx(c, ctx, &space, row + i, panels_least(rows - i, p->cols));
    }
}

/* dweight of a few classes over the rows of the chunk. */
static void sum_classes(const Chunk *c, const KernelCtx *ctx, int64_t class, int64_t n) {
    const Entropy *e = c->e;
    const Panels  *p = &e->p;
    uint8_t *to = (uint8_t *)ref_at(e->dweight, ctx) + (c->class + class) * e->width * p->width;
    uint8_t *sums = e->store != NULL ? ctx->scratch : to;
    if (c->rows == 0) memset(to, 0, (size_t)(n * e->width * p->width));
    for (int64_t row = 0; row < c->rows; row += e->slab) {
        PanelSide dz = {ctx->shared + e->dz + (class * c->rows + row * p->rows) * p->compute,
                        c->rows};
        PanelSide x = {ctx->shared + e->xs + panels_bytes(p, e->width, p->cols, row),
                       panels_least(c->rows - row, e->slab)};
        panels_multiply(p, dz, x, sums, e->width, n, e->width, x.k_all, c->row + row > 0);
    }
    const void *from = sums;
    if (e->store != NULL && c->rows > 0) e->store(to, &from, n * e->width, NULL);
}
static void sum_run(const void *params, const KernelCtx *ctx) {
    const Chunk *c = params;
    int64_t      few = panels_up(SUM_CLASSES, c->e->p.rows);
    Part         part = part_of(panels_blocks(c->classes, few), 1, ctx);
    for (int64_t i = part.first; i < part.last; i++)
        sum_classes(c, ctx, i * few, panels_least(c->classes - i * few, few));
}

/* --- binding ---------------------------------------------------------------------------------- */

/* Operands x, weight and labels, and how work is cut. False: no loops for the dtypes. */
static bool entropy_of(Binder *b, Entropy *e) {
    const LaunchArg *x = &b->args[0], *weight = &b->args[1], *labels = &b->args[2];
    Dtype            dtype = arg_dtype(x), compute = dtype_compute(dtype);
    if (!panels_of(b->isa, dtype, &e->p)) return false;
    e->slab = panels_depth(&e->p);
    e->loops = &b->isa->strips[compute];
    e->turn = b->isa->gemm_pack[compute];
    e->load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL;
    e->store = dtype_is_half(dtype) ? b->isa->convert[DTYPE_F32][dtype] : NULL;
    e->label = b->isa->convert[labels->dtype][DTYPE_I64];
    e->x = ref_of(x);
    e->weight = ref_of(weight);
    e->labels = ref_of(labels);
    e->rows = arg_elements(labels);
    e->classes = weight->dims[0];
    e->width = weight->dims[1];
    e->label_width = arg_width(labels);
    e->piece = panels_up(PIECE_ROWS, e->p.cols);
    while (e->piece > e->p.cols && e->rows < PIECES * b->lanes * e->piece)
        e->piece = panels_up(e->piece / 2, e->p.cols);
    int64_t fits = BLOCK_BYTES / e->p.compute / (e->width + 1);
    e->block = panels_up(panels_least(fits > 1 ? fits : 1, BLOCK_MAX), e->p.rows);
    e->wide = e->block;
    return e->label != NULL;
}

static Chunk *add_chunk(Binder *b, Chunk chunk) {
    Chunk *c = BIND_PARAMS(b, Chunk);
    *c = chunk;
    return c;
}

/* Chunks of classes alike, at most so many each, or a block: whole blocks. */
static int64_t chunk_classes(const Entropy *e, int64_t most) {
    int64_t chunks = panels_blocks(e->classes, most > e->wide ? most : e->wide);
    return panels_up(chunks > 0 ? panels_blocks(e->classes, chunks) : 1, e->wide);
}

static ValueId before_barriers(const Code *code, ValueId x) {
    while (!value_is_arg(code, x) && code->ops.opcode[value_op(code, x).row] == OP_BARRIER) {
        OpId barrier = value_op(code, x);
        x = op_operand(code, barrier, x.row - code->ops.results_first[barrier.row].row);
    }
    return x;
}
/* Whether two values are of the same rows, one of them perhaps computed again (recompute.c).
 * visits: how many rows may be compared. */
static bool is_same(const Plan *plan, ValueId a, ValueId b, uint32_t *visits) {
    const Code  *code = &plan->world->code;
    const Loops *loops = plan->loops;
    a = before_barriers(code, a);
    b = before_barriers(code, b);
    if (a.row == b.row) return true;
    if (value_is_arg(code, a) || value_is_arg(code, b) || *visits == 0) return false;
    --*visits;
    OpId     x = value_op(code, a), y = value_op(code, b);
    uint32_t count = code->ops.operands_count[x.row];
    if (code->ops.opcode[x.row] != code->ops.opcode[y.row] ||
        code->ops.attrs[x.row].row != code->ops.attrs[y.row].row ||
        code->ops.operands_count[y.row] != count ||
        a.row - code->ops.results_first[x.row].row != b.row - code->ops.results_first[y.row].row)
        return false;
    if (code->ops.opcode[x.row] == OP_FUSED &&
        loops->kernels.same[loops_of_op(loops, x).row].row !=
            loops->kernels.same[loops_of_op(loops, y).row].row)
        return false;
    if (code->ops.opcode[x.row] != OP_FUSED && code->ops.blocks_count[x.row] != 0) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_same(plan, op_operand(code, x, i), op_operand(code, y, i), visits)) return false;
    return true;
}
/* The launch that is the gradient of this one, and runs once after each run of it; or 0. */
static uint32_t grad_launch(const Binder *b) {
    const Launches *launches = &b->plan->launches;
    const Code     *code = &b->plan->world->code;
    OpId            mine = launches->op[b->launch];
    for (uint32_t row = b->launch + 1; row < b->end && !launches->entered[row]; row++) {
        OpId op = launches->op[row];
        if (launches->flow[row] != FLOW_NONE) return 0;
        if (launches->opcode[row] != OP_LINEAR_CROSS_ENTROPY_GRAD) continue;
        uint32_t visits = 4096;
        for (uint32_t i = 0; i < 3; i++)
            if (!is_same(b->plan, op_operand(code, op, i), op_operand(code, mine, i), &visits))
                return 0;
        return op_operand(code, op, 3).row == op_result(code, mine, 1).row ? row : 0;
    }
    return 0;
}
/* Room for shares of the first rows. */
static void keep_rows(Binder *b, Entropy *e) {
    int64_t lanes = e->p.cols * e->p.compute, blocks = panels_blocks(e->classes, e->block);
    int64_t strip = (e->classes + blocks) * lanes;
    int64_t strips = panels_least(panels_blocks(e->rows, e->p.cols), KEPT_BYTES / (strip + 1));
    e->kept_rows = strips * e->p.cols;
    e->kept = bind_kept(b, strips * strip + 64);
    e->tops = e->kept + panels_up(strips * e->classes * lanes, 64);
}

bool entropy_bind(Binder *b) {
    Entropy *e = BIND_PARAMS(b, Entropy);
    if (!entropy_of(b, e)) return false;
    e->losses = ref_of(&b->outs[0]);
    e->lse = ref_of(&b->outs[1]);
    uint32_t grad = e->classes > 0 && e->rows > 0 ? grad_launch(b) : 0;
    if (grad != 0) {
        keep_rows(b, e);
        b->keeper = (Keeper){grad, e};
    }
    int64_t classes = chunk_classes(e, CHUNK_BYTES / e->p.compute / (e->width + 1));
    e->sums = panels_up(panels_bytes(&e->p, classes, e->p.rows, e->width), 64);
    bind_shared(b, e->sums + SUMS * panels_up(e->rows, e->p.cols) * e->p.compute);
    bind_scratch(b, space_bytes(e));
    for (int64_t class = 0; class == 0 || class < e->classes; class += classes) {
        int64_t      n = panels_least(e->classes - class, classes);
        const Chunk *c = add_chunk(b, (Chunk){e, 0, e->rows, class, n});
        bind_step(b, pack_weights, c, n * e->width * e->p.width);
        bind_step(b, forward_run, c, e->rows * n * (e->width + 1) / 8);
        bind_pieces(b, panels_blocks(e->rows, e->piece));
    }
    return true;
}

/* Places in shared memory for chunks of so many rows and classes; gives the bytes of all. */
static int64_t set_places(Entropy *e, int64_t rows, int64_t classes) {
    const Panels *p = &e->p;
    int64_t       strips = panels_up(rows, p->cols);
    e->turned = panels_up(panels_bytes(p, classes, p->rows, e->width), 64);
    e->sums = e->turned + panels_up(panels_bytes(p, e->width, p->rows, classes), 64);
    e->xs = e->sums + panels_up(strips * e->width * p->compute, 64);
    e->dz = e->xs + panels_up(panels_bytes(p, e->width, p->cols, rows), 64);
    return e->dz + panels_bytes(p, classes, p->rows, rows);
}

bool entropy_grad_bind(Binder *b) {
    Entropy *e = BIND_PARAMS(b, Entropy);
    if (!entropy_of(b, e)) return false;
    e->lse = ref_of(&b->args[3]);
    e->dlosses = ref_of(&b->args[4]);
    e->has_dlse = b->operands > 5;
    if (e->has_dlse) e->dlse = ref_of(&b->args[5]);
    e->dx = ref_of(&b->outs[0]);
    e->dweight = ref_of(&b->outs[1]);
    if (b->keeper.launch == b->launch) {
        const Entropy *loss = b->keeper.params;
        e->kept = loss->kept;
        e->tops = loss->tops;
        e->kept_rows = loss->kept_rows;
        e->wide = BLOCK_MAX / e->block * e->block;
    }
    /* 16-bit results do not add up over chunks of rows: there is one. */
    int64_t chunk = e->store != NULL && e->rows > 0 ? e->rows : CHUNK_ROWS;
    int64_t rows = panels_least(chunk, e->rows);
    int64_t classes = chunk_classes(e, 2 * CHUNK_BYTES / e->p.compute / (e->width + rows + 1));
    int64_t sums = panels_up(SUM_CLASSES, e->p.rows) * e->width * e->p.compute;
    bind_shared(b, set_places(e, rows, classes));
    bind_scratch(b, space_bytes(e) > sums ? space_bytes(e) : sums);
    for (int64_t row = 0; row == 0 || row < e->rows; row += chunk)
        for (int64_t class = 0; class == 0 || class < e->classes; class += classes) {
            int64_t      n = panels_least(e->classes - class, classes);
            int64_t      rows_now = panels_least(e->rows - row, chunk);
            int64_t      work = rows_now * n * (e->width + 1) / 8;
            const Chunk *c = add_chunk(b, (Chunk){e, row, rows_now, class, n});
            if (row + rows_now > e->kept_rows)
                bind_step(b, pack_weights, c, n * e->width * e->p.width);
            bind_step(b, pack_turned, c, (n + rows_now) * e->width * e->p.width);
            bind_step(b, backward_run, c, 2 * work);
            bind_pieces(b, panels_blocks(rows_now, e->piece));
            bind_step(b, sum_run, c, work);
            bind_pieces(b, panels_blocks(n, panels_up(SUM_CLASSES, e->p.rows)));
        }
    return true;
}
