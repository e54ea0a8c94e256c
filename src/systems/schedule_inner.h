/* What the rules of all targets ask of the kernel being scheduled. `at` is a preorder position.
 * What they begin with alike stands in schedule.c. */
#ifndef STOA_SYSTEMS_SCHEDULE_INNER_H
#define STOA_SYSTEMS_SCHEDULE_INNER_H

#include "systems/schedule.h"

static inline LoopNodes *nodes_of(Schedule *s) { return &s->loops->nodes; }
static inline uint32_t   count_of(Schedule *s) {
      return s->loops->kernels.nodes_count[s->kernel.row];
}
static inline NodeKind kind_at(Schedule *s, uint32_t at) {
    return at < count_of(s) ? (NodeKind)nodes_of(s)->kind[schedule_node(s, at)] : NODE_NIL;
}
static inline uint32_t size_at(Schedule *s, uint32_t at) {
    return nodes_of(s)->size[schedule_node(s, at)];
}
static inline DimId var_at(Schedule *s, uint32_t at) {
    return nodes_of(s)->var[schedule_node(s, at)];
}
/* Whether the loop holds nothing but one inner loop. */
static inline bool holds_one_loop(Schedule *s, uint32_t at) {
    return kind_at(s, at) == NODE_LOOP && kind_at(s, at + 1) == NODE_LOOP &&
           size_at(s, at) == size_at(s, at + 1) + 1;
}
/* Whether no loop is inside. */
static inline bool is_leaf(Schedule *s, uint32_t at) {
    for (uint32_t i = at + 1; i < at + size_at(s, at); i++)
        if (kind_at(s, i) == NODE_LOOP) return false;
    return true;
}
/* Loops of a perfect nest from `at` on. */
static inline uint32_t depth_at(Schedule *s, uint32_t at) {
    uint32_t depth = 0;
    if (kind_at(s, at) != NODE_LOOP) return 0;
    for (depth = 1; holds_one_loop(s, at + depth - 1);) depth++;
    return depth;
}

/* Whether iterations of the loop at `at` may meet in one element of what a statement writes. */
static inline bool sums_over(Schedule *s, uint32_t at, uint32_t statement) {
    LoopAccess access = nodes_of(s)->access[schedule_node(s, statement)];
    return !transform_separates(s->loops, loops_address(s->loops, access), var_at(s, at));
}
/* Whether all iterations of a loop add to the same elements of memory that outlives it. */
static inline bool sums_over_phase(Schedule *s, uint32_t loop) {
    for (uint32_t at = loop + 1; at < loop + size_at(s, loop); at++) {
        if (kind_at(s, at) != NODE_REDUCE) continue;
        BufferId target = access_buffer(nodes_of(s)->access[schedule_node(s, at)]);
        uint8_t  scope = s->loops->buffers.scope[target.row];
        if ((scope == SCOPE_ARG || scope == SCOPE_WORK) && sums_over(s, loop, at)) return true;
    }
    return false;
}
static inline uint32_t count_phases(Schedule *s) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at)) count++;
    return count;
}
/* --- beginnings ------------------------------------------------------------------------------- */
/* In this order: in kernels that sum over the contiguous axis, summed axes go inside. Neighbours
 * become one: phases, and loops anywhere inside. What only one iteration needs is kept in its own
 * memory. Loops that add up rows go inside those that tell the rows apart (the gradient of a table
 * of positions: over batches, for each place and column). Loops that walk memory in a row become
 * one; so do the outer ones of each phase. */
void schedule_put_sums_inside(Schedule *s);
void schedule_merge_phases(Schedule *s);
void schedule_merge_inside(Schedule *s);
void schedule_narrow(Schedule *s);
void schedule_put_rows_outside(Schedule *s);
void schedule_fuse_cleanly(Schedule *s);
void schedule_fuse_outer(Schedule *s);

/* The rules for teams of threads (schedule_gpu.c). */
void schedule_threads(Schedule *s);

#endif
