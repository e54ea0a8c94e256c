/* The machine as the arena layer itself needs it: which hardware threads may be used, in which
 * order, and which NUMA node is near. The public summary is Topology in workers.h.
 *
 * Thread rule: all functions may be called from any thread; the hwloc topology is loaded once. */
#ifndef STOA_ARENA_TOPOLOGY_H
#define STOA_ARENA_TOPOLOGY_H

#include "arena/workers.h"

enum { TOPOLOGY_CPUS_MAX = 1024, TOPOLOGY_NODES_MAX = 64 };

/* The system numbers of the usable hardware threads: one of each core first, then the siblings.
 * Returns how many, at least 1 and at most TOPOLOGY_CPUS_MAX. out_cores: how many are cores. */
uint32_t topology_cpus(uint32_t out_cpus[TOPOLOGY_CPUS_MAX], uint32_t *out_cores);
/* Binds the calling thread to one hardware thread; false if the system refuses. */
bool topology_pin(uint32_t cpu);
/* Nodes are counted from 0 as hwloc sorts them; at most TOPOLOGY_NODES_MAX. */
uint32_t topology_nodes(void);
uint32_t topology_node_here(void); /* of the processor that runs the caller now */
void     topology_node_bind(void *memory, size_t bytes, uint32_t node); /* preferred, not strict */
/* Fills cpu_limit and memory_limit_bytes from the text of /proc/self/cgroup and the files below
 * root (/sys/fs/cgroup), versions 1 and 2; a limit of a parent group counts as well. */
void topology_limits(const char *self_cgroup, const char *root, Topology *out_topology);

#endif
