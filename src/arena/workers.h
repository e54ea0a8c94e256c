/* Pinned worker lanes. A lane is a thread bound to one core of the topology (hwloc), chosen within
 * the process's affinity mask and cgroup CPU limit, cores before hyper-threads. Lane 0 is the
 * caller.
 *
 * Work comes in turns, each cut into pieces that do not depend on who does them. A piece has an
 * owner, so that a lane finds again what it wrote a turn ago; a lane without pieces of its own
 * takes some of the lane that has most left. No lane waits for another, only for pieces: one that
 * the system does not run holds up a piece at most, and nothing if it has none. Waiting spins
 * briefly (a step launches thousands of times), then sleeps. With one lane everything runs inline.
 * A Workers is used by one thread at a time. */
#ifndef STOA_ARENA_WORKERS_H
#define STOA_ARENA_WORKERS_H

#include "arena/arena.h"
#include "arena/status.h"
#include "arena/str.h"

typedef struct Topology {
    uint32_t cores;     /* physical cores usable by this process */
    uint32_t cpus;      /* hardware threads usable by this process (affinity mask) */
    uint32_t cpu_limit; /* from the cgroup quota, rounded up; 0: none */
    uint32_t numa_nodes;
    uint64_t memory_bytes;       /* of the machine */
    uint64_t memory_limit_bytes; /* of the cgroup; 0: none */
    uint64_t l1d_bytes, l2_bytes, l3_bytes;
    char     cpu_model[64];
    char     features[64]; /* "avx2 avx512f avx512_bf16 ..." those that matter here */
} Topology;
void topology_read(Topology *out_topology);

typedef struct Workers Workers;
typedef void           WorkFn(void *context, uint32_t lane, uint32_t lanes);
typedef void           WorkRangeFn(void *context, uint32_t lane, size_t first,
                                   size_t last); /* [first,last) */

/* lanes: 0 for one per usable core (respecting the cgroup limit). Allocates in arena. pin: false to
 * leave placement to the system. On refusal to start a thread: STATUS_OUT_OF_MEMORY, nothing
 * leaks. */
MUST_USE Status workers_open(Arena *arena, uint32_t lanes, bool pin, Workers **out_workers);
void            workers_close(Workers *workers); /* NULL is allowed */
uint32_t        workers_lanes(const Workers *workers);

/* Turns: `next` gives the number of pieces of the next turn (0: that was all; at most PIECES_MAX)
 * when the one before is done, called by whichever lane did its last piece; `piece` does one. Both
 * see all that was written in earlier turns. A turn of one piece wakes nobody. */
enum { PIECES_MAX = 1 << 15 };
typedef uint32_t TurnFn(void *context, uint32_t lane);
typedef void     PieceFn(void *context, uint32_t lane, uint32_t piece);
void             workers_turns(Workers *workers, TurnFn *next, PieceFn *piece, void *context);

/* One turn of [0,count), in pieces that are multiples of grain. */
void workers_for(Workers *workers, size_t count, size_t grain, WorkRangeFn *fn, void *context);
/* The i-th of so many even parts of [0,count), multiples of grain. */
void workers_split(size_t count, size_t grain, uint32_t part, uint32_t parts, size_t *out_first,
                   size_t *out_last);

/* Every lane calls fn once; inside it all may meet. */
void workers_run(Workers *workers, WorkFn *fn, void *context);
void workers_barrier(Workers *workers);

#endif
