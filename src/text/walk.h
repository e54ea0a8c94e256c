/* Walking a graph in the order of its text: an operator, then the blocks it carries, then the next.
 *
 * Rows are stored the other way round (nested rows precede the operator that carries them, see
 * tables/code.h), so printing, naming and checking share this walk. It keeps its stack inside and
 * allocates nothing; blocks nested deeper than WALK_DEPTH_MAX are passed over. Linear in the
 * rows. */
#ifndef STOA_TEXT_WALK_H
#define STOA_TEXT_WALK_H

#include "tables/code.h"

enum { WALK_DEPTH_MAX = 64 };

typedef enum WalkEvent {
    WALK_END,   /* the body has ended; the walk is over */
    WALK_OP,    /* walk->op */
    WALK_ENTER, /* walk->block, the nth block of its carrier */
    WALK_LEAVE  /* walk->block; walk->last says whether it is the carrier's last one */
} WalkEvent;

typedef struct WalkFrame {
    BlockId  block;
    uint32_t row, row_last; /* rows still to visit */
    OpId     carrier;       /* operator whose blocks are being visited, or nil */
    uint32_t nth;           /* of the carrier's blocks */
} WalkFrame;
typedef struct Walk {
    const Code *code;
    OpId        op;
    BlockId     block;
    bool        last;
    uint32_t    depth; /* open frames: 1 in the body */
    WalkFrame   frames[WALK_DEPTH_MAX];
} Walk;

void      walk_begin(Walk *walk, const Code *code, BlockId body);
WalkEvent walk_next(Walk *walk);

#endif
