/* attention_grad: dq, dk and dv without a matrix of queries x keys.
 *
 * Scores are made again, a strip of as many keys as a tile has columns at a time, for a block of
 * queries: p = e^(s - lse), ds = factor p (dy v^T - delta), delta = dy . y - dlse (Dao et al.
 * 2022). Strips are what the next tiles read as they are, dv^T += dy^T p and dk^T += q^T ds; ds is
 * turned once for dq += ds k. A piece of work is the keys of one key head, or a span of them when
 * there are few heads: blocks of keys outside, members and blocks of queries inside, so every sum
 * has one order. Pieces share nothing but dq: with spans each adds up its own, and a second step
 * sums them. */
#include <string.h>

#include "cpu/attention.h"

enum {
    KEY_BLOCK = 256,            /* keys that are packed at a time */
    QUERY_BLOCK = 48,           /* rounded up to rows of a tile */
    PIECES = 16,                /* up to so many, heads are cut */
    SHARED_BYTES_MAX = 64 << 20 /* of the dq of spans */
};

typedef struct Backward {
    Attend     a;
    AttendSide q, k, v, y, lse, dy, dlse, dq, dk, dv;
    bool       has_dlse;
    int64_t    query_block;
    int64_t    spans; /* of the keys of a unit */
    int64_t    span;  /* keys */
} Backward;

/* Scratch of a lane. Of a block of keys: k and v turned into columns, k as rows, and the strips of
 * dk and dv. Of a block of queries: q and dy, as rows of scores and as rows of sums. */
typedef struct BackwardSpace {
    uint8_t *k_columns, *v_columns, *k_rows, *dk, *dv;
    uint8_t *q_scores, *dy_scores, *q_sums, *dy_sums, *lse, *delta, *p, *ds, *ds_rows, *row, *dq;
} BackwardSpace;
static BackwardSpace backward_space(const Backward *g, PanelScratch *scratch) {
    const Attend *a = &g->a;
    const Panels *p = &a->p;
    int64_t       keys = a->key_block, queries = g->query_block, w = a->width, u = a->value_width;
    BackwardSpace s;
    s.k_columns = panels_take(scratch, panels_bytes(p, keys, p->cols, w));
    s.v_columns = panels_take(scratch, panels_bytes(p, keys, p->cols, u));
    s.k_rows = panels_take(scratch, panels_bytes(p, w, p->cols, keys));
    s.dk = panels_take(scratch, panels_bytes(p, keys, p->cols, w));
    s.dv = panels_take(scratch, panels_bytes(p, keys, p->cols, u));
    s.q_scores = panels_take(scratch, panels_bytes(p, queries, p->rows, w));
    s.dy_scores = panels_take(scratch, panels_bytes(p, queries, p->rows, u));
    s.q_sums = panels_take(scratch, panels_bytes(p, w, p->rows, queries));
    s.dy_sums = panels_take(scratch, panels_bytes(p, u, p->rows, queries));
    s.lse = panels_take(scratch, queries * p->compute);
    s.delta = panels_take(scratch, queries * p->compute);
    s.p = panels_take(scratch, queries * p->cols * p->compute);
    s.ds = panels_take(scratch, queries * p->cols * p->compute);
    s.ds_rows = panels_take(scratch, panels_bytes(p, queries, p->rows, keys));
    s.row = panels_take(scratch, (w + u) * p->cols * p->compute);
    s.dq = a->store != NULL && g->spans == 1
               ? panels_take(scratch, a->members * a->queries * w * p->compute)
               : NULL;
    return s;
}

typedef struct Block { /* some rows of a head, or keys */
    int64_t first, count;
} Block;

/* lse (0 where a query sees no key: all of its scores are hidden) and delta of some queries. */
static void pack_numbers(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s,
                         int64_t unit, int64_t member, Block rows) {
    const Attend *a = &g->a;
    const void   *y = attention_query_head(a, &g->y, ctx, unit, member);
    const void   *dy = attention_query_head(a, &g->dy, ctx, unit, member);
    uint8_t      *lse = attention_query_head(a, &g->lse, ctx, unit, member), *dlse = NULL;
    void         *other = s->row + a->value_width * a->p.compute;
    int64_t       bytes = a->p.compute;
    if (g->has_dlse) dlse = attention_query_head(a, &g->dlse, ctx, unit, member);
    for (int64_t i = 0; i < rows.count; i++) {
        int64_t row = rows.first + i;
        attention_pack(a, &g->y, s->row, y, row, false, a->value_width, a->value_width, 1);
        attention_pack(a, &g->dy, other, dy, row, false, a->value_width, a->value_width, 1);
        a->loops->dot(s->row, other, a->value_width, s->delta + i * bytes);
        memcpy(s->lse + i * bytes, lse + row * g->lse.row * bytes, (size_t)bytes);
        if (attention_sees(a, row) == 0) memset(s->lse + i * bytes, 0, (size_t)bytes);
        if (dlse == NULL) continue;
        const uint8_t *less = dlse + row * g->dlse.row * bytes;
        if (bytes == 8)
            ((double *)(void *)s->delta)[i] -= *(const double *)(const void *)less;
        else
            ((float *)(void *)s->delta)[i] -= *(const float *)(const void *)less;
    }
}
static void pack_queries(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s,
                         int64_t unit, int64_t member, Block rows) {
    const Attend *a = &g->a;
    const void   *q = attention_query_head(a, &g->q, ctx, unit, member);
    const void   *dy = attention_query_head(a, &g->dy, ctx, unit, member);
    int64_t       lanes = a->p.rows, n = rows.count;
    attention_pack(a, &g->q, s->q_scores, q, rows.first, true, lanes, n, a->width);
    attention_pack(a, &g->dy, s->dy_scores, dy, rows.first, true, lanes, n, a->value_width);
    attention_pack(a, &g->q, s->q_sums, q, rows.first, false, lanes, a->width, n);
    attention_pack(a, &g->dy, s->dy_sums, dy, rows.first, false, lanes, a->value_width, n);
    pack_numbers(g, ctx, s, unit, member, rows);
}
static void pack_keys(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s, int64_t unit,
                      Block keys) {
    const Attend *a = &g->a;
    const void   *k = attention_key_head(a, &g->k, ctx, unit);
    const void   *v = attention_key_head(a, &g->v, ctx, unit);
    int64_t       lanes = a->p.cols, n = keys.count;
    attention_pack(a, &g->k, s->k_columns, k, keys.first, true, lanes, n, a->width);
    attention_pack(a, &g->v, s->v_columns, v, keys.first, true, lanes, n, a->value_width);
    attention_pack(a, &g->k, s->k_rows, k, keys.first, false, lanes, a->width, n);
    memset(s->dk, 0, (size_t)panels_bytes(&a->p, n, lanes, a->width));
    memset(s->dv, 0, (size_t)panels_bytes(&a->p, n, lanes, a->value_width));
}

/* Queries (packed) against the strip of keys from at on within the block. */
static void back_strip(const Backward *g, const BackwardSpace *s, Block rows, Block keys,
                       int64_t at) {
    const Attend *a = &g->a;
    const Panels *p = &a->p;
    int64_t       hidden = a->causal ? keys.first + at - (a->keys - a->queries) - rows.first : 0;
    int64_t       low = hidden > 0 ? hidden / p->rows * p->rows : 0; /* rows that see some key */
    int64_t       n = rows.count - low, count = panels_least(keys.count - at, p->cols);
    uint8_t      *strip = s->p + low * p->cols * p->compute;
    uint8_t      *back = s->ds + low * p->cols * p->compute;
    PanelSide     k = {s->k_columns + at * a->width * p->compute, a->width};
    PanelSide     v = {s->v_columns + at * a->value_width * p->compute, a->value_width};
    int64_t       w = a->width, u = a->value_width;
    panels_multiply(p, (PanelSide){s->q_scores + low * w * p->compute, w}, k, strip, p->cols, n,
                    p->cols, w, false);
    panels_multiply(p, (PanelSide){s->dy_scores + low * u * p->compute, u}, v, back, p->cols, n,
                    p->cols, u, false);
    a->loops->back(strip, back, n, a->causal ? low - hidden + 1 : p->cols, a->factor,
                   s->lse + low * p->compute, s->delta + low * p->compute);
    PanelSide dy = {s->dy_sums + low * p->rows * p->compute, rows.count};
    PanelSide q = {s->q_sums + low * p->rows * p->compute, rows.count};
    panels_multiply(p, dy, (PanelSide){strip, n}, s->dv + at * u * p->compute, p->cols, u, p->cols,
                    n, true);
    panels_multiply(p, q, (PanelSide){back, n}, s->dk + at * w * p->compute, p->cols, w, p->cols, n,
                    true);
    for (int64_t i = 0; i < rows.count; i += p->rows) {
        uint8_t *turned = s->ds_rows + (i * keys.count + at * p->rows) * p->compute;
        if (i < low)
            memset(turned, 0, (size_t)(count * p->rows * p->compute));
        else
            a->turn(turned, s->ds + i * p->cols * p->compute, p->cols, 1, p->rows,
                    panels_least(rows.count - i, p->rows), count);
    }
}

/* dk and dv of a block, from strips to rows. */
static void store_keys(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s,
                       int64_t unit, Block keys) {
    const Attend *a = &g->a;
    int64_t       w = a->width, u = a->value_width;
    uint8_t      *dk = attention_key_head(a, &g->dk, ctx, unit);
    uint8_t      *dv = attention_key_head(a, &g->dv, ctx, unit);
    for (int64_t at = 0; at < keys.count; at += a->p.cols) {
        int64_t count = panels_least(keys.count - at, a->p.cols);
        attention_store(a, dk + (keys.first + at) * w * g->dk.width, s->dk + at * w * a->p.compute,
                        w, count, s->row);
        attention_store(a, dv + (keys.first + at) * u * g->dv.width, s->dv + at * u * a->p.compute,
                        u, count, s->row);
    }
}

/* Where a piece adds up the dq of a member: in the result, or apart from it. */
static uint8_t *sums_of(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s,
                        int64_t piece, int64_t member) {
    const Attend *a = &g->a;
    int64_t       head = a->queries * a->width * a->p.compute;
    if (g->spans > 1) return ctx->shared + (piece * a->members + member) * head;
    if (s->dq != NULL) return s->dq + member * head;
    return attention_query_head(a, &g->dq, ctx, piece, member);
}

/* All queries of a member against a block of keys. */
static void back_member(const Backward *g, const KernelCtx *ctx, const BackwardSpace *s,
                        int64_t unit, int64_t member, Block keys, uint8_t *dq) {
    const Attend *a = &g->a;
    for (int64_t first = 0; first < a->queries; first += g->query_block) {
        Block   rows = {first, panels_least(a->queries - first, g->query_block)};
        int64_t sees = attention_sees(a, rows.first + rows.count - 1) - keys.first;
        int64_t n = panels_least(sees, keys.count);
        if (n <= 0) continue;
        pack_queries(g, ctx, s, unit, member, rows);
        for (int64_t at = 0; at < n; at += a->p.cols) back_strip(g, s, rows, keys, at);
        n = panels_least(panels_up(n, a->p.cols), keys.count); /* all of the last strip */
        panels_multiply(
            &a->p, (PanelSide){s->ds_rows, keys.count}, (PanelSide){s->k_rows, keys.count},
            dq + rows.first * a->width * a->p.compute, a->width, rows.count, a->width, n, true);
    }
}

static void backward_run(const void *params, const KernelCtx *ctx) {
    const Backward *g = params;
    const Attend   *a = &g->a;
    PanelScratch    scratch = {.at = ctx->scratch};
    BackwardSpace   s = backward_space(g, &scratch);
    int64_t         head = a->queries * a->width;
    Part            part = part_of(a->units * g->spans, 1, ctx);
    for (int64_t piece = part.first; piece < part.last; piece++) {
        int64_t unit = piece / g->spans, begin = piece % g->spans * g->span;
        int64_t end = panels_least(begin + g->span, a->keys);
        for (int64_t member = 0; member < a->members; member++)
            memset(sums_of(g, ctx, &s, piece, member), 0, (size_t)(head * a->p.compute));
        for (int64_t first = begin; first < end; first += a->key_block) {
            Block keys = {first, panels_least(end - first, a->key_block)};
            pack_keys(g, ctx, &s, unit, keys);
            for (int64_t member = 0; member < a->members; member++)
                back_member(g, ctx, &s, unit, member, keys, sums_of(g, ctx, &s, piece, member));
            store_keys(g, ctx, &s, unit, keys);
        }
        for (int64_t member = 0; s.dq != NULL && g->spans == 1 && member < a->members; member++) {
            const void *sums = sums_of(g, ctx, &s, piece, member);
            a->store(attention_query_head(a, &g->dq, ctx, unit, member), &sums, head, NULL);
        }
    }
}

/* --- spans ------------------------------------------------------------------------------------ */

/* dq of a query head from those of the spans, in their order. */
static void sum_head(const Backward *g, const KernelCtx *ctx, int64_t unit, int64_t member,
                     BlockFn *add) {
    const Attend *a = &g->a;
    int64_t       head = a->queries * a->width, part = a->members * head * a->p.compute;
    uint8_t      *sums = ctx->shared + unit * g->spans * part + member * head * a->p.compute;
    uint8_t      *dq = attention_query_head(a, &g->dq, ctx, unit, member);
    uint8_t      *to = a->store != NULL ? sums : dq;
    if (to == dq) memcpy(dq, sums, (size_t)(head * a->p.compute));
    for (int64_t span = 1; span < g->spans; span++) {
        const void *in[2] = {to, sums + span * part};
        add(to, in, head, NULL);
    }
    const void *from = sums;
    if (a->store != NULL) a->store(dq, &from, head, NULL);
}
typedef struct SumSpans {
    const Backward *g;
    BlockFn        *add;
} SumSpans;
static void sum_run(const void *params, const KernelCtx *ctx) {
    const SumSpans *sum = params;
    int64_t         members = sum->g->a.members;
    Part            part = part_of(sum->g->a.units * members, 1, ctx);
    for (int64_t i = part.first; i < part.last; i++)
        sum_head(sum->g, ctx, i / members, i % members, sum->add);
}

/* Cuts the keys of a unit when there are few units; from the shape alone. */
static void set_spans(Backward *g, int64_t *out_shared_bytes) {
    Attend *a = &g->a;
    int64_t dq = a->units * a->members * a->queries * a->width * a->p.compute;
    int64_t blocks = panels_blocks(a->keys, a->key_block), spans = 1;
    if (a->units > 0 && a->units < PIECES) spans = panels_blocks(PIECES, a->units);
    spans = panels_least(spans, blocks);
    if (dq > 0) spans = panels_least(spans, SHARED_BYTES_MAX / dq);
    if (spans < 2) spans = 1;
    g->span = panels_blocks(blocks, spans) * a->key_block;
    g->spans = g->span > 0 ? panels_blocks(a->keys, g->span) : 1;
    if (g->spans < 1) g->spans = 1;
    *out_shared_bytes = g->spans > 1 ? g->spans * dq : 0;
}

bool attention_grad_bind(Binder *b) {
    Backward    *g = BIND_PARAMS(b, Backward);
    Attend      *a = &g->a;
    Dtype        compute = dtype_compute(arg_dtype(&b->args[0]));
    AttendSide  *sides[] = {&g->q, &g->k, &g->v, &g->y, &g->lse, &g->dy, &g->dlse};
    PanelScratch scratch = {.at = NULL};
    int64_t      shared, work;
    if (!attention_of(b, a)) return false;
    for (uint32_t i = 0; i < b->operands; i++) *sides[i] = attention_side(a, &b->args[i]);
    g->has_dlse = b->operands > 6;
    g->dq = attention_side(a, &b->outs[0]);
    g->dk = attention_side(a, &b->outs[1]);
    g->dv = attention_side(a, &b->outs[2]);
    a->key_block = attention_key_block(a, KEY_BLOCK, a->p.cols);
    g->query_block = panels_up(QUERY_BLOCK, a->p.rows);
    set_spans(g, &shared);
    (void)backward_space(g, &scratch);
    bind_scratch(b, scratch.bytes);
    work = a->units * a->members * a->queries * (a->keys + 1) * (a->width + a->value_width);
    if (g->spans > 1) bind_shared(b, shared);
    bind_step(b, backward_run, g, work);
    bind_pieces(b, a->units * g->spans);
    if (g->spans == 1) return true;
    SumSpans *sum = BIND_PARAMS(b, SumSpans);
    *sum = (SumSpans){g, b->isa->block[OP_ADD][compute]};
    bind_step(b, sum_run, sum, shared);
    bind_pieces(b, a->units * a->members);
    return true;
}
