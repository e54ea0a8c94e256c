/* Placing the buffers of a plan: what the memory system does, for systems that try plans out.
 *
 * Nothing is decided by row numbers of buffers: the same launches take the same places. */
#ifndef STOA_SYSTEMS_MEMORY_H
#define STOA_SYSTEMS_MEMORY_H

#include "systems/system.h"

/* Of buffers in the planned arena. target may be NULL. */
static inline uint64_t memory_align(const Target *target) {
    return target != NULL && target->align != 0 ? target->align : 64;
}

/* Gives every buffer of launches that were just made its place: fills offsets, `over` and `live`,
 * arena_bytes and floor_bytes, and drops assign launches; returns how many. target may be NULL.
 * Linear in launch arguments, apart from the search among free ranges. */
uint32_t memory_place(Arena *scratch, const Target *target, Plan *plan);

#endif
