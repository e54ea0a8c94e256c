/* Substituting in loop tables: new dims, index lists and expressions in which symbols (loop
 * variables) are replaced, and the accesses of one buffer led elsewhere. Let symbols whose values
 * change are replaced by new ones. Everything is interned, so what does not change keeps its id.
 * Each expression is rewritten once per Subst; cost is by what is reached, not by the module. */
#ifndef STOA_SYSTEMS_SUBST_H
#define STOA_SYSTEMS_SUBST_H

#include "arena/row_map.h"
#include "tables/loops.h"

typedef struct Subst Subst;
/* The value that a load of the buffer becomes; index is rewritten already. */
typedef ExprId SubstLoad(Subst *s, void *context, ListId index, ExprId guard);
typedef struct SubstBuffer { /* what happens to accesses of one buffer */
    BufferId   buffer;
    BufferId   to;                  /* where they go; nil: they stay */
    DimId      low[SHAPE_RANK_MAX]; /* subtracted from each index; nil: nothing */
    uint32_t   dropped;             /* axes left out, a bit each */
    SubstLoad *load;                /* optional: what loads become instead */
    void      *context;
} SubstBuffer;

struct Subst {
    Loops             *loops;
    Arena             *scratch;
    DimId             *symbols, *values;
    uint32_t           count;
    const SubstBuffer *buffer; /* may be NULL */
    ExprId             guard;  /* every load happens only under it; nil: as before */
    RowMap             memo;   /* of expressions */
    bool               failed; /* a dim grew too complex: the results are of no use */
};

/* symbols[i] becomes values[i]. */
Subst subst_begin(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                  uint32_t count);
/* The same, with a buffer and a guard. */
Subst      subst_begin_with(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                            uint32_t count, const SubstBuffer *buffer, ExprId guard);
DimId      subst_dim(Subst *s, DimId dim);
LoopAccess subst_access(Subst *s, LoopAccess access);
ExprId     subst_expr(Subst *s, ExprId expr);

#endif
