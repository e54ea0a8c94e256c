/* What the sources of the recompute system share.
 *
 * A launch is kept, or split: uses of its results by launches up to a point read what it wrote,
 * later ones read a copy that a second run of it writes just before the first of them. Such a run
 * reads copies itself where its operands are split too, so a chain is run again as a whole; a first
 * run that nobody reads is dropped: then the launch has only moved. A tape is the list of launches
 * that follows from the splits; everything is judged on tapes, and the code is rewritten once, at
 * the end. */
#ifndef STOA_SYSTEMS_RECOMPUTE_INNER_H
#define STOA_SYSTEMS_RECOMPUTE_INNER_H

#include "systems/memory.h"
#include "systems/system.h"

enum { RECOMPUTE_OPERANDS_MAX = 64 };
typedef struct Split {
    uint32_t launch, after; /* after: the launch whose later ones read the copy; 0: kept */
} Split;

typedef struct Recompute {
    SystemCtx  *ctx;
    const Plan *plan;              /* launches and buffers of the graph; memory is not placed */
    uint32_t    launches, buffers; /* rows, the nil row included */
    uint32_t   *maker;             /* by buffer: its launch; 0: it is not in the arena */
    uint32_t   *over;              /* by buffer: whose memory it takes when nothing is split */
    uint64_t   *bytes;             /* by buffer: aligned */
    bool       *can;               /* by launch: may run twice */
    double     *us;                /* by launch: what a run takes (recompute_cost.c) */
    uint32_t   *split;             /* by launch: see above; 0: kept */
} Recompute;

/* Whether a launch that stands at (or for a second run: before) `at` reads the copy of a buffer. */
static inline bool recompute_late(const Recompute *r, uint32_t at, uint32_t buffer) {
    uint32_t maker = r->maker[buffer];
    return maker != 0 && r->split[maker] != 0 && at > r->split[maker];
}

/* Positions count from 1. Versions of buffers: 2 * row, 2 * row + 1 for the copy. */
typedef struct Tape {
    uint32_t *launch;       /* by position */
    uint32_t *at;           /* by position: the launch that a second run stands before; itself */
    bool     *again;        /* by position: a second run */
    uint32_t  count;        /* positions, the nil one included */
    uint32_t *first, *last; /* by version: position that writes it (0: none), that reads it last */
    uint64_t *live;         /* by position: bytes; about what planning will find */
    uint32_t  peak;         /* position of the most */
    bool     *dropped;      /* by launch: nobody reads the first run, so there is none */
    bool     *wanted;       /* by version: somebody reads it */
    uint32_t *stack;
    uint32_t *done; /* by launch: stamp of the tape that holds its second run */
    uint32_t  stamp;
    uint8_t  *passed; /* by version: takes over memory, or gives it on */
} Tape;

/* recompute_cost.c: microseconds of a launch, from bytes moved and arithmetic. */
double recompute_cost(const SystemCtx *ctx, const Plan *plan, uint32_t launch);

/* recompute_tape.c */
Tape recompute_tape(const Recompute *r, Arena *out);
/* The launches that follow from the splits, and what is alive while each runs. Linear. */
void recompute_write_tape(const Recompute *r, Tape *tape);
/* The planned arena of a tape, exactly as the memory system will find it. */
uint64_t recompute_place(const Recompute *r, const Tape *tape, Plan **out_plan);

/* recompute_write.c: the code, the views and the kernels anew, with the second runs of a tape. */
void recompute_rewrite(Recompute *r, const Tape *tape);

#endif
