/* Substituting symbols in loop tables: new dims, index lists and expressions in which loop
 * variables are replaced. Let symbols whose values change are replaced by new ones. Everything is
 * interned, so what does not change keeps its id. Each expression is rewritten once per Subst. */
#ifndef STOA_SYSTEMS_SUBST_H
#define STOA_SYSTEMS_SUBST_H

#include "tables/loops.h"

typedef struct Subst {
    Loops   *loops;
    DimId   *symbols, *values;
    uint32_t count;
    ExprId  *memo; /* by expression row; nil: not yet */
    uint32_t memo_count;
    Arena   *scratch;
    BufferId buffer;  /* optional: accesses of it lose axes */
    uint32_t dropped; /* bit per axis */
    BufferId inlined; /* optional: loads of it become a value */
    ExprId   value;
} Subst;

/* symbols[i] becomes values[i]. */
Subst      subst_begin(Loops *loops, Arena *scratch, const DimId *symbols, const DimId *values,
                       uint32_t count);
DimId      subst_dim(Subst *s, DimId dim);
LoopAccess subst_access(Subst *s, LoopAccess access);
ExprId     subst_expr(Subst *s, ExprId expr);

#endif
