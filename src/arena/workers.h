/* Pinned worker lanes. A lane is a thread bound to one core of the topology (hwloc), chosen within
 * the process's affinity mask and cgroup CPU limit, cores before hyper-threads. Lane 0 is the
 * caller.
 *
 * workers_run hands one function to every lane and returns when all are done; inside it lanes meet
 * at workers_barrier. Waiting spins briefly (a step launches thousands of times), then sleeps.
 * With one lane everything runs inline. A Workers is used by one thread at a time. */
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
void            workers_run(Workers *workers, WorkFn *fn, void *context);
void            workers_barrier(Workers *workers); /* by every lane inside workers_run */
/* Splits [0,count) into one contiguous, deterministic range a lane, multiples of grain. */
void workers_for(Workers *workers, size_t count, size_t grain, WorkRangeFn *fn, void *context);
/* The same split, for callers inside workers_run. */
void workers_split(size_t count, size_t grain, uint32_t lane, uint32_t lanes, size_t *out_first,
                   size_t *out_last);

#endif
