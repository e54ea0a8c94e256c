/* What the sources of Taylor mode share: one walk in progress and the streams of its values.
 * taylor.c walks rows, taylor_control.c goes through operators with blocks, which it walks by the
 * same means. Private to these two. */
#ifndef STOA_SYSTEMS_TAYLOR_INNER_H
#define STOA_SYSTEMS_TAYLOR_INNER_H

#include "systems/modes.h"
#include "systems/taylor.h"

struct Taylor {
    SystemCtx *ctx;
    Rewrite   *rw;
    Build     *build;
    OpId       op;    /* the derivative row, in the old code */
    ValueId   *plain; /* by old value row: what map held before its value was computed anew */
    uint8_t   *done;  /* by old row: served by an earlier one */
    const JetStreams *streams;
    ValueId         **jets; /* by new value row: its streams; NULL: moves with nothing */
    uint32_t          jets_max, errors;
    bool              failed, left; /* left: rows were written that are derivative rows again */
};

static inline ValueId *jet_of(const Taylor *t, ValueId value) {
    return value.row < t->jets_max ? t->jets[value.row] : NULL;
}
static inline ValueId *jet_new(Taylor *t, ValueId value) {
    ValueId *jet = ARENA_ARRAY_ZERO(t->ctx->scratch, ValueId, t->streams->count);
    jet[0] = value;
    return jet;
}
static inline bool jet_moves(const Taylor *t, const ValueId *jet) {
    for (uint32_t s = 1; jet != NULL && s < t->streams->count; s++)
        if (value_id_some(jet[s])) return true;
    return false;
}
static inline ValueId jet_stream(const Taylor *t, ValueId value, uint32_t stream) {
    ValueId *jet = jet_of(t, value);
    return jet != NULL ? jet[stream] : (ValueId){0};
}
/* The value, computed anew if it was. */
static inline ValueId jet_primal(const Taylor *t, ValueId value) {
    ValueId *jet = jet_of(t, value);
    return jet != NULL ? jet[0] : value;
}
void taylor_set_jet(Taylor *t, ValueId value, ValueId *jet);

/* Gives the results of a row of the new code their jets. user: the row that diagnostics name;
 * wanted: the results matter to a y. */
void taylor_push(Taylor *t, OpId op, OpId user, bool wanted);

/* A vector over the last axis of x, repeated over the others. */
ValueId taylor_seed(Taylor *t, ValueId x, const double *vector, uint32_t count);

/* --- taylor_reverse.c ------------------------------------------------------------------------- */
typedef struct ReverseChoice {
    bool     possible, wins;
    uint32_t forward;         /* derivatives of the gradient */
    double   taylor, reverse; /* times (modes.h) */
} ReverseChoice;
/* Between Taylor mode and forward mode over one gradient. single: y has one element. */
ReverseChoice taylor_reverse_choice(Arena *scratch, const ModePass *pass,
                                    const DerivativeTerms *terms, uint32_t streams,
                                    uint32_t coordinates, bool single);
/* The requests (nil on entry) by the gradient of y, as rows for another round. */
void taylor_by_reverse(Taylor *t, ValueId x, ValueId y, const DerivativeTerms *terms,
                       uint32_t coordinates, ValueId *out_requests);

/* --- taylor_control.c ------------------------------------------------------------------------- */
static inline bool taylor_is_control(const Code *code, OpId op) {
    return code->ops.blocks_count[op.row] != 0 || code->ops.opcode[op.row] == OP_CUSTOM_GRAD;
}
/* The operator over values and streams together, where anything that it takes moves. */
void taylor_push_control(Taylor *t, OpId op, OpId user);

#endif
