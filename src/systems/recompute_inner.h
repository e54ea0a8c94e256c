/* What the sources of the recompute system share.
 *
 * A launch is kept, or split: uses of its results by launches up to a point read what it wrote,
 * later ones read a copy that a second run of it writes just before the first of them. Such a run
 * reads copies itself where its operands are split too, so a chain is run again as a whole; a first
 * run that nobody reads is dropped: then the launch has only moved. Or the results of a launch that
 * is split are copied to the host and back, and late uses read what came back. A tape is the list
 * of launches and copies that follows from the splits; everything is judged on tapes, and the code
 * is rewritten once, at the end. */
#ifndef STOA_SYSTEMS_RECOMPUTE_INNER_H
#define STOA_SYSTEMS_RECOMPUTE_INNER_H

#include "systems/memory.h"
#include "systems/system.h"

enum { RECOMPUTE_OPERANDS_MAX = 64 };
typedef struct Split {
    uint32_t launch, after; /* after: the launch whose later ones read the copy; 0: kept */
    bool     copied;        /* by way of the host */
} Split;

typedef struct Recompute {
    SystemCtx  *ctx;
    const Plan *plan;              /* launches and buffers of the graph; memory is not placed */
    uint32_t    launches, buffers; /* rows, the nil row included */
    uint32_t   *maker;             /* by buffer: its launch; 0: it is not in the arena */
    uint32_t   *over;              /* by buffer: whose memory it takes when nothing is split */
    uint64_t   *bytes;             /* by buffer: aligned */
    bool       *can, *can_copy;    /* by launch: may run twice; its results may go to the host */
    double     *us;                /* by launch: what a run takes (recompute_cost.c) */
    uint32_t   *split;             /* by launch: see above; 0: kept */
    bool       *copied;            /* by launch, where it is split: by way of the host */
    bool       *small;             /* by buffer: not worth a copy; it stays */
    double      link_us;           /* that a byte takes on the link, each way; 0: none goes there */
} Recompute;

/* Whether a launch that stands at (or for a second run: before) `at` reads the copy of a buffer. */
static inline bool recompute_late(const Recompute *r, uint32_t at, uint32_t buffer) {
    uint32_t maker = r->maker[buffer];
    return maker != 0 && r->split[maker] != 0 && at > r->split[maker] &&
           !(r->copied[maker] && r->small[buffer]);
}

/* What bytes take on the link, each way. */
static inline double recompute_link_us(const Recompute *r, uint64_t bytes) {
    return r->ctx->target->machine.launch_us + (double)bytes * r->link_us;
}
static inline bool recompute_copies(const Recompute *r, uint32_t launch) {
    return r->split[launch] != 0 && r->copied[launch];
}

/* What stands at a position. Copies begin, and end where their rows say so: what they read and
 * write is taken from OUT to OUT_END, and from BACK to BACK_END. */
typedef enum TapeKind {
    TAPE_RUN,
    TAPE_AGAIN,
    TAPE_OUT,
    TAPE_OUT_END,
    TAPE_BACK,
    TAPE_BACK_END
} TapeKind;
/* Positions count from 1. Versions of buffers: 2 * row, 2 * row + 1 for the copy; after all of
 * these one each for what is on the host (recompute_host). */
typedef struct Tape {
    uint32_t *launch;       /* by position; of copies: whose result it is */
    uint32_t *at;           /* by position: the launch that it stands before; itself */
    uint32_t *buffer;       /* by position, of copies */
    uint8_t  *kind;         /* by position: TapeKind */
    double   *start;        /* by position: microseconds, as long as no copy is waited for */
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

    struct LinkCopy *copies;    /* while they are put in */
    uint32_t *copy_of, *extras; /* by buffer: row of copies; by position: what stands before */
} Tape;
static inline uint32_t recompute_host(const Recompute *r, uint32_t buffer) {
    return 2 * r->buffers + buffer;
}

/* recompute_cost.c: microseconds of a launch, from bytes moved and arithmetic. */
double recompute_cost(const SystemCtx *ctx, const Plan *plan, uint32_t launch);

/* recompute_tape.c */
Tape recompute_tape(const Recompute *r, Arena *out);
/* The launches that follow from the splits, and what is alive while each runs. Linear. */
void recompute_write_tape(const Recompute *r, Tape *tape);
/* The planned arena of a tape, exactly as the memory system will find it. */
uint64_t recompute_place(const Recompute *r, const Tape *tape, Plan **out_plan);

/* recompute_link.c: the copies of results that go to the host, and when. */
typedef struct LinkCopy {
    uint32_t buffer, made, need; /* positions: what makes it, what first reads what came back */
    uint32_t out_end, back; /* what the end of the first copy, and the second one, stand before */
} LinkCopy;
typedef struct LinkRow { /* a launch whose results go to the host, all together */
    uint32_t launch;
    double   us;           /* each way */
    double   made, out_by; /* when they are there, when they must have left */
    double   back_from, need;
    uint64_t bytes;
} LinkRow;
typedef struct Link {
    LinkRow *rows;    /* in the order of launches */
    LinkRow *by_need; /* the same, those that are needed last first */
    double  *begins;  /* by launch: when it starts on the tape; one more at the end */
    double  *fences;  /* pairs: when an effect begins, when it is over */
    uint32_t fences_count;
    uint32_t count;
    uint64_t bytes;
} Link;
/* Puts the copies that follow from the splits into a tape without them. */
void recompute_add_copies(const Recompute *r, Tape *tape);
Link recompute_link(const Recompute *r, Arena *out);
void recompute_read_link(const Recompute *r, const Tape *tape, Link *link); /* what is on it now */
/* Results of a launch that go at the peak; need: position of the first that reads them after it. */
LinkRow recompute_link_row(const Recompute *r, const Tape *tape, const Link *link, uint32_t launch,
                           uint32_t need, uint64_t bytes);
/* Adds a row if all of them can still be moved in time. Linear in what is on the link. */
bool recompute_link_takes(Link *link, LinkRow row);

/* recompute_write.c: the code, the views and the kernels anew, with the second runs of a tape. */
void recompute_rewrite(Recompute *r, const Tape *tape);

#endif
