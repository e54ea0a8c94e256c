/* Which linear layers multiply 8-bit floats, in which of their three products, and how they are
 * written then; narrow.c asks. */
#ifndef STOA_SYSTEMS_NARROW8_H
#define STOA_SYSTEMS_NARROW8_H

#include "systems/rewrite.h"
#include "systems/system.h"

enum { NARROW8_NOTHING = NARROW_WIDE_Z | NARROW_WIDE_DX | NARROW_WIDE_DY };
/* Why all products of a linear layer stay as they are. */
typedef enum Narrow8Bar {
    NARROW8_BAR_NONE,
    NARROW8_BAR_DTYPE,    /* an operand is not f32 */
    NARROW8_BAR_ARGUMENT, /* it takes an argument of its block */
    NARROW8_BAR_UNKNOWN,  /* sizes are symbols */
    NARROW8_BAR_SIZES,    /* sizes are no multiples of 16, or of the block */
    NARROW8_BAR_LAST,     /* it is the last of its graph */
    NARROW8_BAR_COST      /* no product saves what converting its operands costs */
} Narrow8Bar;
typedef struct Narrow8Layer {
    uint32_t wide; /* NarrowWide bits: the products that stay as they are */
    uint32_t bar;  /* Narrow8Bar; of other rows than linear layers NONE */
} Narrow8Layer;
/* By operator row. In the scratch arena. Linear. */
const Narrow8Layer *narrow8_choose(SystemCtx *ctx);
/* A linear layer of f32 with narrow_dot as its product; its result in f32. */
ValueId narrow8_linear(Rewrite *rw, OpId op, uint32_t wide, uint32_t block);

#endif
