/* Cloning rows: a straight range with everything nested in it, appended by a builder.
 *
 * map says what stands for values of the source: set it for arguments and for what comes from
 * outside, it is filled for the rows that are cloned. Where the source is the code that is being
 * written, values that have no entry stand for themselves. */
#ifndef STOA_SYSTEMS_CLONE_H
#define STOA_SYSTEMS_CLONE_H

#include "tables/build.h"

typedef struct Clone {
    Build      *build;
    const Code *from;
    ValueId    *map;    /* by value row of from */
    BlockId    *blocks; /* by block row of from: its clone, nil if none yet */
    bool        pure;   /* rows with effects are left out: they happen once */
} Clone;

/* Room for the values and blocks that from has now. */
Clone   clone_begin(Build *build, const Code *from, Arena *scratch);
ValueId clone_value(const Clone *clone, ValueId value);
/* The rows of a block but its return, into the block of the builder. */
void clone_block_rows(Clone *clone, BlockId block);
/* The same for values in the place of the arguments of the block; out: what it returns. */
void clone_over(Build *build, const Code *from, BlockId block, bool pure, const ValueId *args,
                Arena *scratch, ValueId *out);
/* One row, with its blocks before it. */
OpId clone_row(Clone *clone, OpId op);

#endif
