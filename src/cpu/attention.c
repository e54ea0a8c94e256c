/* attention: softmax(factor q k^T) v without the matrix of scores.
 *
 * Scores are made transposed, keys x queries, a strip of as many queries as a tile has columns at a
 * time: then maximum and sum of a query are a lane of two registers, and the shares e^(s - max) of
 * a strip are what the next tiles read as they are, y^T += v^T p^T. Keys come in blocks that are
 * packed once for all strips of a piece of work; when the maximum moves, what was summed before is
 * scaled (Milakov and Gimelshein 2018; Dao et al. 2022). Tiles beyond the diagonal of a causal mask
 * are left out. A piece of work is up to STRIPS_MAX strips of the query heads of one key head; how
 * they are cut depends on the shape alone and changes no result. */
#include "cpu/attention.h"

#include <math.h>
#include <string.h>

enum { STRIPS_MAX = 32, KEY_BLOCK = 256 };

/* --- geometry --------------------------------------------------------------------------------- */

bool attention_of(Binder *b, Attend *out) {
    const LaunchArg *q = &b->args[0], *k = &b->args[1], *v = &b->args[2];
    Dtype            dtype = arg_dtype(q);
    double           factor = word_f64(b->attrs[ATTR_ATTENTION_scale]); /* the same in its family */
    Attend           a = {.causal = b->attrs[ATTR_ATTENTION_causal] != 0, .members = 1};
    if (!panels_of(b->isa, dtype, &a.p)) return false;
    a.store = dtype_is_half(dtype) ? b->isa->convert[DTYPE_F32][dtype] : NULL;
    a.loops = &b->isa->strips[dtype_compute(dtype)];
    a.turn = b->isa->gemm_pack[dtype_compute(dtype)];
    a.lead = q->rank - 2u;
    a.units = 1;
    for (uint32_t i = 0; i < a.lead; i++) a.units *= a.lead_dims[i] = k->dims[i];
    a.queries = q->dims[a.lead];
    a.keys = k->dims[a.lead];
    a.width = q->dims[a.lead + 1];
    a.value_width = v->dims[a.lead + 1];
    if (a.lead > 0 && a.units > 0) a.members = q->dims[a.lead - 1] / k->dims[a.lead - 1];
    a.factor = factor != 0 ? factor : 1 / sqrt((double)a.width);
    *out = a;
    return true;
}

AttendSide attention_side(const Attend *a, const LaunchArg *arg) {
    AttendSide side = {.ref = ref_of(arg), .width = arg_width(arg)};
    for (uint32_t i = 0; i < a->lead; i++) side.lead[i] = arg->strides[i];
    side.row = arg->strides[a->lead];
    side.column = arg->rank > a->lead + 1 ? arg->strides[a->lead + 1] : 0;
    return side;
}

/* times, member: of the last leading axis, when it counts query heads. */
static void *head_at(const Attend *a, const AttendSide *side, const KernelCtx *ctx, int64_t unit,
                     int64_t times, int64_t member) {
    int64_t offset = a->lead > 0 ? member * side->lead[a->lead - 1] : 0;
    for (uint32_t i = a->lead; i-- > 0;) {
        int64_t index = unit % a->lead_dims[i];
        offset += index * (i + 1 == a->lead ? times : 1) * side->lead[i];
        unit /= a->lead_dims[i];
    }
    return (uint8_t *)ref_at(side->ref, ctx) + offset * side->width;
}
void *attention_key_head(const Attend *a, const AttendSide *side, const KernelCtx *ctx,
                         int64_t unit) {
    return head_at(a, side, ctx, unit, 1, 0);
}
void *attention_query_head(const Attend *a, const AttendSide *side, const KernelCtx *ctx,
                           int64_t unit, int64_t member) {
    return head_at(a, side, ctx, unit, a->members, member);
}

void attention_store(const Attend *a, void *out, const void *strip, int64_t n, int64_t count,
                     void *row) {
    if (a->store == NULL) {
        a->turn(out, strip, a->p.cols, 1, n, n, count);
        return;
    }
    const void *from = row;
    a->turn(row, strip, a->p.cols, 1, n, n, count);
    a->store(out, &from, n * count, NULL);
}

/* --- forward ---------------------------------------------------------------------------------- */

typedef struct Forward {
    Attend     a;
    AttendSide q, k, v, y, lse;
    int64_t    head_strips; /* of one query head */
    int64_t    pieces;      /* of one unit */
    int64_t    strips;      /* of a piece */
} Forward;

/* Scratch of a lane: for every strip of a piece q, y, max and sum; for a block of keys k and v. */
typedef struct ForwardSpace {
    uint8_t *q, *y, *max, *sum, *k, *v, *scores, *shrink, *ends;
} ForwardSpace;
static ForwardSpace forward_space(const Forward *f, PanelScratch *scratch) {
    const Attend *a = &f->a;
    int64_t       lanes = a->p.cols * a->p.compute, strips = f->strips;
    ForwardSpace  space;
    space.q = panels_take(scratch, strips * a->width * lanes);
    space.y = panels_take(scratch, strips * a->value_width * lanes);
    space.max = panels_take(scratch, strips * lanes);
    space.sum = panels_take(scratch, strips * lanes);
    space.k = panels_take(scratch, a->key_block * a->width * a->p.compute);
    space.v = panels_take(scratch, panels_bytes(&a->p, a->value_width, a->p.rows, a->key_block));
    space.scores = panels_take(scratch, a->key_block * lanes);
    space.shrink = panels_take(scratch, lanes);
    space.ends = panels_take(scratch, (a->value_width + 2) * lanes);
    return space;
}

typedef struct Strip { /* some queries of a head */
    int64_t member, first, count;
} Strip;
static Strip strip_at(const Forward *f, int64_t number) {
    int64_t first = number % f->head_strips * f->a.p.cols;
    return (Strip){number / f->head_strips, first, panels_least(f->a.queries - first, f->a.p.cols)};
}

static void begin_strips(const Forward *f, const KernelCtx *ctx, const ForwardSpace *space,
                         int64_t unit, int64_t first, int64_t count) {
    const Attend *a = &f->a;
    int64_t       lanes = a->p.cols * a->p.compute;
    double        none = -(double)INFINITY;
    for (int64_t i = 0; i < count; i++) {
        Strip       strip = strip_at(f, first + i);
        const void *head = attention_query_head(a, &f->q, ctx, unit, strip.member);
        attention_pack(a, &f->q, space->q + i * a->width * lanes, head, strip.first, true,
                       a->p.cols, strip.count, a->width);
    }
    memset(space->y, 0, (size_t)(count * a->value_width * lanes));
    memset(space->sum, 0, (size_t)(count * lanes));
    for (int64_t i = 0; i < count * a->p.cols; i++) {
        if (a->p.compute == 8)
            ((double *)(void *)space->max)[i] = none;
        else
            ((float *)(void *)space->max)[i] = (float)none;
    }
}

/* One strip against the packed keys [block, block + count). */
static void attend_strip(const Forward *f, const ForwardSpace *space, int64_t i, Strip strip,
                         int64_t block, int64_t count) {
    const Attend *a = &f->a;
    int64_t       lanes = a->p.cols * a->p.compute;
    int64_t       sees = attention_sees(a, strip.first + strip.count - 1) - block;
    int64_t       n = panels_least(sees, count);
    uint8_t      *y = space->y + i * a->value_width * lanes;
    PanelSide     q = {space->q + i * a->width * lanes, a->width}, p = {space->scores, n};
    if (n <= 0) return;
    panels_multiply(&a->p, (PanelSide){space->k, a->width}, q, space->scores, a->p.cols, n,
                    a->p.cols, a->width, false);
    a->loops->softmax(space->scores, n, a->causal ? sees - strip.count + 1 : n, a->factor,
                      space->max + i * lanes, space->sum + i * lanes, space->shrink);
    if (block > 0) a->loops->scale(y, a->value_width, space->shrink);
    panels_multiply(&a->p, (PanelSide){space->v, count}, p, y, a->p.cols, a->value_width, a->p.cols,
                    n, true);
}

static void end_strips(const Forward *f, const KernelCtx *ctx, const ForwardSpace *space,
                       int64_t unit, int64_t first, int64_t count) {
    const Attend *a = &f->a;
    int64_t       lanes = a->p.cols * a->p.compute;
    uint8_t      *lse = space->ends, *inverse = lse + lanes, *row = inverse + lanes;
    for (int64_t i = 0; i < count; i++) {
        Strip    strip = strip_at(f, first + i);
        uint8_t *y = space->y + i * a->value_width * lanes;
        uint8_t *to = attention_query_head(a, &f->y, ctx, unit, strip.member);
        uint8_t *sums = attention_query_head(a, &f->lse, ctx, unit, strip.member);
        a->loops->end(space->max + i * lanes, space->sum + i * lanes, lse, inverse);
        a->loops->scale(y, a->value_width, inverse);
        attention_store(a, to + strip.first * a->value_width * f->y.width, y, a->value_width,
                        strip.count, row);
        memcpy(sums + strip.first * f->lse.width, lse, (size_t)(strip.count * f->lse.width));
    }
}

static void forward_run(const void *params, const KernelCtx *ctx) {
    const Forward *f = params;
    const Attend  *a = &f->a;
    PanelScratch   scratch = {.at = ctx->scratch};
    ForwardSpace   space = forward_space(f, &scratch);
    Part           part = part_of(a->units * f->pieces, 1, ctx);
    for (int64_t piece = part.first; piece < part.last; piece++) {
        int64_t     unit = piece / f->pieces, first = piece % f->pieces * f->strips;
        int64_t     strips = panels_least(a->members * f->head_strips - first, f->strips), most = 0;
        const void *k = attention_key_head(a, &f->k, ctx, unit);
        const void *v = attention_key_head(a, &f->v, ctx, unit);
        begin_strips(f, ctx, &space, unit, first, strips);
        for (int64_t i = 0; i < strips; i++) {
            Strip   strip = strip_at(f, first + i);
            int64_t sees = attention_sees(a, strip.first + strip.count - 1);
            if (sees > most) most = sees;
        }
        for (int64_t block = 0; block < most; block += a->key_block) {
            int64_t count = panels_least(most - block, a->key_block);
            attention_pack(a, &f->k, space.k, k, block, true, a->p.rows, count, a->width);
            attention_pack(a, &f->v, space.v, v, block, false, a->p.rows, a->value_width, count);
            for (int64_t i = 0; i < strips; i++)
                attend_strip(f, &space, i, strip_at(f, first + i), block, count);
        }
        end_strips(f, ctx, &space, unit, first, strips);
    }
}

bool attention_bind(Binder *b) {
    Forward     *f = BIND_PARAMS(b, Forward);
    Attend      *a = &f->a;
    PanelScratch scratch = {.at = NULL};
    if (!attention_of(b, a)) return false;
    f->q = attention_side(a, &b->args[0]);
    f->k = attention_side(a, &b->args[1]);
    f->v = attention_side(a, &b->args[2]);
    f->y = attention_side(a, &b->outs[0]);
    f->lse = attention_side(a, &b->outs[1]);
    a->key_block = attention_key_block(a, KEY_BLOCK, a->p.rows);
    f->head_strips = panels_blocks(a->queries, a->p.cols);
    f->pieces = panels_blocks(a->members * f->head_strips, STRIPS_MAX);
    f->strips = panels_blocks(a->members * f->head_strips, f->pieces > 0 ? f->pieces : 1);
    (void)forward_space(f, &scratch);
    bind_scratch(b, scratch.bytes);
    bind_step(b, forward_run, f,
              a->units * a->members * a->queries * a->keys * (a->width + a->value_width) / 8);
    bind_pieces(b, a->units * f->pieces);
    return true;
}
