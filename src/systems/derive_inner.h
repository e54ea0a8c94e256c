/* What the sources of the differentiate system share: one derivative in progress, over a straight
 * range of rows of one block and those around it. Control flow is in derive_control.c, which
 * differentiates blocks by the same means. Private to differentiate.c and derive_*.c. */
#ifndef STOA_SYSTEMS_DERIVE_INNER_H
#define STOA_SYSTEMS_DERIVE_INNER_H

#include "systems/clone.h"
#include "systems/emit.h"
#include "systems/flow.h"
#include "systems/system.h"

typedef struct Carrier { /* an operator with blocks among the rows */
    uint32_t  row;
    ValueList captures;
} Carrier;

/* Rows [first, last), with blocks of their own, that give what an operator gives and more: they
 * take its place, so that a forward loop which also keeps states runs once. */
typedef struct Swap {
    OpId           op;
    uint32_t       first, last;
    const ValueId *results; /* one for each result of op */
    struct Swap   *next;
} Swap;

typedef struct Derive {
    SystemCtx     *ctx;
    Rewrite       *rw;
    Build         *build;
    OpId           op;          /* the derivative row, in the old code */
    uint32_t       first, rows; /* of the new code: what is differentiated is [first, rows) */
    const uint8_t *scope;       /* by block row: its rows are differentiated one by one */
    uint32_t       scope_count;
    Carrier       *carriers; /* among the rows, in order */
    uint32_t       carriers_count;
    uint8_t       *active;   /* by new value row: depends on an x and matters to a y */
    ValueId       *tangents; /* by new value row below tangents_max; nil: zero */
    uint32_t       tangents_max;
    uint32_t       errors; /* when the derivative row was reached; one more ends the work */
    bool           failed;
    bool           reverse; /* tangents of control operators are only placeholders */
    uint64_t       states;  /* bytes that a loop among the rows may keep, with those inside it */
    Swap         **swaps;
} Derive;

static inline bool derive_in_scope(const Derive *d, uint32_t row) {
    uint32_t block = d->build->code->ops.block[row].row;
    return block < d->scope_count && d->scope[block];
}
/* A derivative over rows [first, count of rows), for the same derivative row as `of`. */
Derive derive_begin(const Derive *of, uint32_t first, BlockId block);
/* Marks active values; then tangents of all rows are emitted from those that are set. */
void    derive_mark(Derive *d, const ValueId *xs, uint32_t count, const ValueId *ys,
                    uint32_t ys_count);
void    derive_push(Derive *d);
ValueId derive_tangent(const Derive *d, ValueId value);
void    derive_set_tangent(Derive *d, ValueId value, ValueId tangent);
/* The values from around an operator that its blocks use. */
ValueList derive_captures(const Derive *d, uint32_t row);
/* What cts of ys (nil: zero; NULL: ones) are to xs, by the rows of d: emits it, fills out_grads
 * (nil: zero), which hold on entry what xs have so far and begin the sums. */
void derive_pull(Derive *d, const ValueId *xs, uint32_t count, const ValueId *ys,
                 const ValueId *cts, uint32_t ys_count, ValueId *out_grads);
void derive_fail(Derive *d, OpId row); /* it has no derivative */

static inline Arena *derive_scratch(const Derive *d) { return d->ctx->scratch; }
static inline bool   derive_moves(const Derive *d, ValueId value) {
      return dtype_is_differentiable(build_dtype(d->build, value));
}
/* A derivative of the rows that were appended from `first` on to the block of the builder. */
static inline Derive derive_inner(Derive *d, uint32_t first) {
    return derive_begin(d, first, d->build->block);
}
static inline void derive_inner_end(Derive *d, const Derive *inner) { d->failed |= inner->failed; }

/* --- derive_control.c ------------------------------------------------------------------------- */
static inline bool derive_is_control(const Code *code, uint32_t row) {
    return code->ops.blocks_count[row] != 0 || code->ops.opcode[row] == OP_CUSTOM_GRAD;
}
/* Sets the tangents of the results of a control operator: those of a row that computes them, or in
 * reverse of a pullback row. */
void derive_push_control(Derive *d, OpId op);
/* Adds the contributions of a pullback row to cotangents, by value row. */
void    derive_pull_control(Derive *d, OpId pullback, ValueId *cotangents);
ValueId derive_or_zeros(Derive *d, ValueId value, TypeId type);
/* Captured values with tangents; with operands, these as well, each once. */
ValueList derive_moving(Derive *d, OpId op, bool operands);
/* Tangents of values from outside are those that they have there. */
void derive_keep_tangents(Derive *inner, const Derive *d, const ValueList *xs);
/* The float ones among the results from `first` on. */
uint32_t derive_moving_results(const Derive *d, OpId op, uint32_t first, uint32_t *out);
TypeId   derive_index_type(Derive *d); /* an i64 scalar */
void     derive_swap(Derive *d, OpId op, uint32_t first, uint32_t last, const ValueId *results);

typedef struct Vjp { /* going back through a control operator */
    Derive        *d;
    OpId           op;
    const ValueId *cts;        /* of its results; nil: zero */
    ValueId       *cotangents; /* by value row: of tangents */
} Vjp;
void derive_give(Vjp *v, ValueId value, ValueId grad); /* grad may be nil */
/* The cotangent so far, which is then nil: what begins with it is given back. So a sum is added up
 * in one order, whether the steps of a loop lie in runs or not. */
ValueId derive_take(Vjp *v, ValueId value);
/* Back through rows from `first` on, which stand for the operator and take its place. */
void derive_pull_rows(Vjp *v, uint32_t first, const ValueId *results);

/* --- derive_loop.c, derive_steps.c ------------------------------------------------------------ */
void derive_push_loop(Derive *d, OpId op);
void derive_pull_scan(Vjp *v);     /* keeps the state before every step */
void derive_pull_segments(Vjp *v); /* of a scan: in runs if it says so or states need too much */
/* Bytes of the states before each step of a scan, at typical sizes. */
double derive_states_bytes(const Derive *d, OpId scan);
void   derive_pull_while(Vjp *v);

#endif
