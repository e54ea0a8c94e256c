/* Results that are written where they are wanted: a result that a kernel can write with any strides
 * (Target.places) is stored in the order of its reader, or straight into its part of a concat.
 *
 * fuse asks, to leave such concats alone; layout asks, for the strides. Both see the same rows:
 * what stands between are moves, which fuse leaves outside of kernels. */
#ifndef STOA_SYSTEMS_PLACE_H
#define STOA_SYSTEMS_PLACE_H

#include "systems/system.h"

typedef struct Placing Placing; /* of one code */
Placing               *place_begin(SystemCtx *ctx, const Code *code);

/* Whether all operands of a concat are placed results with no other use: then it is no launch. */
bool place_joins(Placing *p, OpId concat);

/* Where a result should be written: the concat that it is part of, or nil, and strides and offset
 * over the concat's or its own memory. False: dense, on its own. */
typedef struct Placed {
    OpId  concat;
    DimId strides[SHAPE_RANK_MAX], offset;
} Placed;
bool place_result(Placing *p, ValueId result, Placed *out);

#endif
