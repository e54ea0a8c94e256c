/* What the sources of the lower system share: one fused row on its way to a kernel, and what
 * lowering knows of operators (which fusing asks). */
#ifndef STOA_SYSTEMS_LOWER_INNER_H
#define STOA_SYSTEMS_LOWER_INNER_H

#include "systems/system.h"
#include "tables/loops.h"

typedef struct LowerMemo { /* an element of a value, as an expression; open addressing */
    ValueId value;
    ListId  index;
    ExprId  guard, expr;
} LowerMemo;

typedef struct Lowering {
    SystemCtx  *ctx;
    World      *world;
    const Code *code;
    Loops      *loops;
    Arena      *scratch;
    DimId      *imported;  /* by dim row of the program; nil: not yet, of this kernel */
    BufferId   *buffer_of; /* by value row: where a value of this kernel is kept; nil: computed */
    LowerMemo  *memo;
    uint32_t    memo_count, memo_mask;
    BlockId     block;
} Lowering;

/* A size of the program in the module's algebra; adds parameters to the kernel. */
DimId lower_dim(Lowering *l, DimId world_dim);
/* The shape of a value; returns its rank. */
uint32_t lower_dims(Lowering *l, ValueId value, DimId *out_dims);
/* Row-major position of an index in a shape, and back. */
DimId lower_linear(Lowering *l, const DimId *index, const DimId *dims, uint32_t rank);
void  lower_split_linear(Lowering *l, DimId linear, const DimId *dims, uint32_t rank,
                         DimId *out_index);
/* The element of a value at an index; values with a buffer are loaded from it, except `computed`,
 * which is computed. Operands of what a guard leaves out are not read. */
ExprId lower_element(Lowering *l, ValueId value, ListId index, ValueId computed);
void   lower_forget(Lowering *l); /* empties the memo */

/* Whether lowering knows the opcode (dtypes are the target's business). */
bool lower_knows(Opcode opcode);
/* Index-only operators: they cost no arithmetic when they are part of a kernel. */
bool lower_moves(Opcode opcode);
/* Arithmetic of one element, in additions. */
uint32_t lower_cost(Opcode opcode);

#endif
