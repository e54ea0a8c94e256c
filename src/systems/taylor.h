/* Taylor mode, shared by its files: streams, plans and jets.
 *
 * A *stream* is what is carried through a program beside its values: one Taylor coefficient of
 * y(x + t v) in t (normalised: the k-th derivative over k!) for one direction v, or a weighted sum
 * over directions of coefficients of one order, the *collapsed* stream of an operator that needs
 * that sum only. Stream 0 is the value itself. A coefficient that is zero is nil and costs nothing.
 *
 * taylor_plan.c chooses directions and streams for a set of derivatives, taylor.c carries the
 * streams through the rows, rules_jet.c holds the recurrences of single operators. */
#ifndef STOA_SYSTEMS_TAYLOR_H
#define STOA_SYSTEMS_TAYLOR_H

#include "systems/emit.h"
#include "systems/system.h"
#include "tables/derivatives.h"

/* --- streams and plans ------------------------------------------------------------------------ */
typedef struct JetStreams {
    uint32_t  directions;
    uint32_t *order; /* by direction: coefficients 1..order are streams of their own */
    uint32_t *first; /* by direction: the stream of coefficient 1 */
    uint32_t *top;   /* by direction: order, or one more if a sum takes that coefficient */
    uint32_t  sums;
    uint32_t *sum_order;
    double   *sum_weight; /* [sums][directions] */
    uint32_t  sum_first;  /* the stream of sum 0 */
    uint32_t  count;      /* of streams, the value included */
} JetStreams;

typedef struct TaylorDirection { /* a vector with few entries, all integers */
    uint32_t support;
    uint16_t at[DERIVATIVE_SUPPORT_MAX]; /* coordinates, ascending */
    int16_t  by[DERIVATIVE_SUPPORT_MAX];
} TaylorDirection;
typedef struct TaylorPart { /* request += weight * stream */
    uint32_t request, stream;
    double   weight;
} TaylorPart;
typedef struct TaylorPlan {
    TaylorDirection *directions;
    JetStreams       streams;
    TaylorPart      *parts;
    uint32_t         parts_count;
} TaylorPlan;

/* The streams that give a set of derivatives, all in `out`. Terms of one request add up. */
TaylorPlan taylor_plan(Arena *out, const DerivativeTerms *terms);
/* Numbers the streams of directions with orders and sums; fills first, top, sum_first, count. */
void taylor_number_streams(Arena *out, JetStreams *streams);

/* --- jets ------------------------------------------------------------------------------------- */
/* One row along one direction: what a rule sees. Series have entries 0..order, nil where zero. */
typedef struct Jet {
    Emit          *e;
    Arena         *arena;
    uint32_t       order;
    const ValueId *a, *b; /* of operands 0 and 1 */
    ValueId       *y;     /* y[0] is the result; the rule fills the rest */
} Jet;
/* False: no rule for what moves here. */
typedef bool JetFn(Jet *j);
#define JET(NAME) JetFn jet_##NAME;
#include "tables/rules/jet.def"

/* How the coefficients of a result follow from those of the operands. */
typedef enum JetKind {
    JET_CURVE,   /* no rule: repeated forward mode along the curve */
    JET_FLAT,    /* the derivative of the row does not change nearby: coefficient by coefficient */
    JET_PRODUCT, /* linear in each of two operands */
    JET_RULE     /* a recurrence */
} JetKind;
JetKind jet_kind(Opcode opcode);
bool    jet_apply(Jet *j); /* of a row whose kind is JET_RULE */

/* --- the rows of a program -------------------------------------------------------------------- */
typedef struct Taylor Taylor;
/* State across the derivative rows of one sweep of differentiate. */
Taylor *taylor_open(SystemCtx *ctx, Rewrite *rw);
/* Replaces a `taylor` or `derivatives` row (and later ones that it can serve); false after a
 * diagnostic. */
bool taylor_derive(Taylor *t, OpId op);
/* Whether an earlier row has served this one. */
bool taylor_is_done(const Taylor *t, OpId op);

/* Whether derivative rows were written in the place of some. */
bool taylor_left_rows(const Taylor *t);

/* What the `derivatives` rows of a program will cost, walk by walk, and what other modes would: in
 * values carried through each row. Rows have types. */
String taylor_explain(Arena *out, const World *world);

/* --- what differentiate lends ----------------------------------------------------------------- */
/* By value row of the new code: 3 where a value depends on an x and matters to a y. Of the rows so
 * far, or those of the block of the builder from `first` on (0: the rows before the derivative). */
uint8_t *differentiate_mark(SystemCtx *ctx, Rewrite *rw, OpId op, uint32_t first, const ValueId *xs,
                            uint32_t count, const ValueId *ys, uint32_t ys_count);
/* Coefficients 1..order of the results of a row of the new code along a curve, by forward mode
 * repeated: series[i][k] is coefficient k of operand i. out[result][k]. For rows without a rule, by
 * the derivative row `row`; user: the row that diagnostics name. */
bool differentiate_curve(SystemCtx *ctx, Rewrite *rw, OpId row, OpId user, OpId op,
                         const ValueId *const *series, uint32_t order, ValueId *const *out);
/* The diagnostic of a row without derivative. */
void differentiate_refuse(SystemCtx *ctx, Rewrite *rw, OpId row, OpId user, OpId op);

#endif
