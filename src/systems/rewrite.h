/* Rewriting a code: read the old rows in order, append the new ones, swap.
 *
 *     Rewrite rw = rewrite_begin(world, scratch);
 *     for (OpId op = {1}; op.row < rw.old->ops.table.count; op.row++)
 *         if (...) rewrite_replace(&rw, op, ...) else rewrite_copy(&rw, op);
 *     rewrite_end(&rw);
 * Blocks and their arguments are carried over first, with the same row numbers. `map` gives the new
 * value of each old one. New rows go through rw.build, which stands in the block of the old row.
 * Rows of nested blocks lie before their operator: what the operator takes must be there before
 * the first of them. The range of a block is known once its operator has been copied. */
#ifndef STOA_SYSTEMS_REWRITE_H
#define STOA_SYSTEMS_REWRITE_H

#include "tables/build.h"

typedef struct Rewrite {
    World      *world;
    const Code *old;
    ValueId    *map;   /* by old value row; nil until defined */
    BlockId    *into;  /* by old block row: the block that takes its rows; itself at first */
    bool        moves; /* some block has another in its place */
    Build       build;
} Rewrite;

Rewrite rewrite_begin(World *world, Arena *scratch);
/* The same without the block arguments that are marked, by old value row. */
Rewrite rewrite_begin_without(World *world, Arena *scratch, const uint8_t *drops);
/* Positions the builder at an old row (block, location); every step begins with it. */
static inline void rewrite_at(Rewrite *rw, OpId op) {
    rw->build.block = rw->into[rw->old->ops.block[op.row].row];
    rw->build.loc = rw->old->ops.loc[op.row];
}
OpId rewrite_copy(Rewrite *rw, OpId op);                               /* the row as it is */
OpId rewrite_copy_with(Rewrite *rw, OpId op, const ValueId *operands); /* with other operands */
/* Another copy of a row that has been copied, the block of a kernel included; the map stays. */
OpId rewrite_again(Rewrite *rw, OpId op, const ValueId *operands);
void rewrite_copy_rows(Rewrite *rw, OpId first,
                       OpId last); /* [first, last) as they are; the fast way */
/* The result stands for value from now on; it inherits the name if it has none. */
void rewrite_map(Rewrite *rw, ValueId old, ValueId replacement);
/* From now on, rows of the old block go into another, which must be around it or the same. */
void rewrite_into(Rewrite *rw, BlockId old, BlockId block);
void rewrite_end(Rewrite *rw);

#endif
