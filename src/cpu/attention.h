/* What the kernels of attention and of its gradient share: geometry, and where heads begin.
 *
 * A unit is a key head of a batch entry; the query heads that share it are its members. */
#ifndef STOA_CPU_ATTENTION_H
#define STOA_CPU_ATTENTION_H

#include "cpu/panels.h"

/* One operand or result: [lead..., row, column], or [lead..., row] for numbers of a query. */
typedef struct AttendSide {
    Ref     ref;
    int64_t lead[SHAPE_RANK_MAX], row, column; /* strides, elements */
    int64_t width;                             /* bytes of an element */
} AttendSide;

typedef struct Attend {
    Panels            p;
    const StripLoops *loops;
    GemmPackFn       *turn;  /* packs the dtype of computation */
    BlockFn          *store; /* f32 to 16 bits, else NULL */
    bool              causal;
    double            factor; /* of scores */
    int64_t           units, members, queries, keys, width, value_width;
    uint32_t          lead; /* axes of a unit, the last one heads */
    int64_t           lead_dims[SHAPE_RANK_MAX];
    int64_t           key_block; /* keys that are packed at a time */
} Attend;

/* Geometry of q, k, v (operands 0 to 2). False: no tiles for the dtype. */
bool       attention_of(Binder *b, Attend *out);
AttendSide attention_side(const Attend *a, const LaunchArg *arg);
/* The first element of a key head, or of the member's query head. */
void *attention_key_head(const Attend *a, const AttendSide *side, const KernelCtx *ctx,
                         int64_t unit);
void *attention_query_head(const Attend *a, const AttendSide *side, const KernelCtx *ctx,
                           int64_t unit, int64_t member);
/* How many keys a query sees. */
static inline int64_t attention_sees(const Attend *a, int64_t query) {
    int64_t sees = query + 1 + a->keys - a->queries;
    if (!a->causal || sees > a->keys) return a->keys;
    return sees > 0 ? sees : 0;
}
/* Whole panels of so many lanes, as many as most holds or there are keys for. */
static inline int64_t attention_key_block(const Attend *a, int64_t most, int64_t lanes) {
    return panels_least(panels_up(most, lanes), panels_up(a->keys > 0 ? a->keys : 1, lanes));
}
/* Packs count lanes of a side over k elements. by_row: lanes are rows, else columns. */
static inline void attention_pack(const Attend *a, const AttendSide *side, void *out,
                                  const void *head, int64_t first_row, bool by_row, int64_t lanes,
                                  int64_t count, int64_t k) {
    const uint8_t *from = (const uint8_t *)head + first_row * side->row * side->width;
    a->p.pack(out, from, by_row ? side->row : side->column, by_row ? side->column : side->row,
              lanes, count, k);
}
/* Stores a strip x[n][cols] turned: count rows of n elements, dense. row: room for them, for 16-bit
 * results. */
void attention_store(const Attend *a, void *out, const void *strip, int64_t n, int64_t count,
                     void *row);

#endif
