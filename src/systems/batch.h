/* Batching, shared by its files: a `vmap` row says that values xs, from which ys follow, are to be
 * taken from batches: the rows between them are repeated on all samples at once. Part of
 * differentiate, like Taylor mode: rows are replaced in row order, so batches of gradients,
 * gradients of batches and batches of batches need nothing of their own.
 *
 * A value is at one of three levels: what it was; another value that is the same for all samples;
 * or batched, with the samples along a new first axis. What does not depend on the batch is not
 * touched. batch.c walks the rows, rules_batch.c has the rules that are not templates
 * (tables/rules/batch.def), batch_control.c the operators with blocks. */
#ifndef STOA_SYSTEMS_BATCH_H
#define STOA_SYSTEMS_BATCH_H

#include "systems/emit.h"
#include "systems/flow.h"
#include "systems/system.h"

/* Replaces a `vmap` row; false after a diagnostic. */
bool batch_derive(SystemCtx *ctx, Rewrite *rw, OpId op);

/* --- rules ------------------------------------------------------------------------------------ */
typedef enum BatchRule { /* what an operator has in batch.def; the last that applies is told */
                         BATCH_RULE_NONE,
                         BATCH_RULE_TEMPLATE,
                         BATCH_RULE_FUNCTION,
                         BATCH_RULE_EXPANSION,
                         BATCH_RULE_LOOP,
                         BATCH_RULE_CONTROL,
                         BATCH_RULE_REFUSED
} BatchRule;
BatchRule batch_rule(Opcode opcode); /* the first that is there */

/* A row to be batched, as a rule sees it: e.x are the operands as they are now, e.y and e.op the
 * row on one sample, of which only types and attributes may be read. Some operand is batched. */
typedef struct BatchRow {
    Emit           e;
    const uint8_t *levels; /* of the operands */
    DimId          size;   /* of the batch */
} BatchRow;
enum { BATCH_SELF, BATCH_PLAIN, BATCH_FULL }; /* levels */

/* Fills out_values, all batched; false: the next rule. */
typedef bool BatchFn(BatchRow *r, ValueId *out_values);
#define BATCH_FN(NAME) BatchFn batch_##NAME;
#include "tables/rules/batch.def"

static inline bool batch_is(const BatchRow *r, uint32_t operand) {
    return r->levels[operand] == BATCH_FULL;
}
/* A value repeated for every sample. */
ValueId batch_repeat(Build *build, ValueId value, DimId size);
/* Operand i with a batch axis, repeated if it has none. */
ValueId batch_lifted(BatchRow *r, uint32_t i);
/* Axis `from` moved to `to`, the others in order. */
ValueId batch_move_axis(Build *build, ValueId value, uint32_t from, uint32_t to);
/* The type on a batch of one on a sample. */
TypeId batch_type(World *world, TypeId sample, DimId size);

/* --- the walk, for operators with blocks ------------------------------------------------------ */
typedef struct Batch {
    SystemCtx *ctx;
    Rewrite   *rw;
    Build     *build;
    OpId       op;     /* the vmap row, in the old code */
    DimId      size;   /* of the batch */
    uint8_t   *levels; /* by value row of the new code, below max */
    ValueId   *map;    /* what stands for it; nil: itself */
    uint8_t   *seeds;  /* it is one of xs, which keep what they were given */
    uint32_t   max, errors;
    bool       drops; /* xs only stand for samples: effects on one of them go */
    bool       failed;
} Batch;
static inline uint32_t batch_level(const Batch *b, ValueId value) {
    return value.row < b->max ? b->levels[value.row] : BATCH_SELF;
}
static inline ValueId batch_value(const Batch *b, ValueId value) {
    return value.row < b->max && value_id_some(b->map[value.row]) ? b->map[value.row] : value;
}
/* The value with a batch axis if full, repeated if it has none. */
ValueId batch_at(Batch *b, ValueId value, bool full);
void    batch_set(Batch *b, ValueId value, ValueId now, uint32_t level);
bool    batch_raise(Batch *b, ValueId value, uint32_t level); /* true: it was lower */
void    batch_row(Batch *b, OpId op);                         /* emits it, whatever its level */
void    batch_refuse(Batch *b, OpId op, const char *why);

static inline bool batch_is_control(Opcode opcode) {
    return opcode == OP_IF || opcode == OP_SWITCH || opcode == OP_WHILE || opcode == OP_SCAN;
}
void batch_control(Batch *b, OpId op);
/* Levels of arguments of blocks and of results from those inside; true: some rose. */
bool batch_mark_control(Batch *b, OpId op);

#endif
