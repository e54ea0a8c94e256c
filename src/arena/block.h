/* Large blocks: tensor storage from jemalloc (mallocx), one jemalloc arena per NUMA node, 64-byte
 * aligned (2 MiB blocks and above: huge-page advice). Contents undefined (0xAA in debug). Without
 * jemalloc (block.c says when) from aligned_alloc.
 * block_open counts as a commit for fault injection and returns NULL on refusal. Thread-safe. */
#ifndef STOA_ARENA_BLOCK_H
#define STOA_ARENA_BLOCK_H

#include "arena/arena.h"

/* numa_node: index from topology.h, or -1: pages of 2 MiB blocks and above lie where the thread is
 * that first touches them, smaller blocks on the node of the caller. budget may be NULL. */
void *block_open(size_t bytes, int numa_node, Budget *budget);
bool  block_from_jemalloc(void);
void  block_close(void *block, size_t bytes, Budget *budget); /* NULL is allowed */

#endif
