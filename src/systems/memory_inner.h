/* What the sources of the memory system share: who may overwrite whom, and control flow.
 * Private to src/systems/memory*.c. */
#ifndef STOA_SYSTEMS_MEMORY_INNER_H
#define STOA_SYSTEMS_MEMORY_INNER_H

#include "systems/system.h"

/* May a result overwrite operand `operand` of its own launch? */
bool memory_may_overwrite(const Plan *plan, uint32_t launch, uint32_t operand, uint32_t result);
/* memory_flow.c: puts what blocks return where it goes on, then works out lifetimes anew: what a
 * loop takes from outside lives until its end. Returns how many passes are left without work. */
uint32_t memory_pass_in_place(Arena *scratch, Plan *plan);

#endif
