/* The rules for teams of threads, after loops are merged, narrowed and fused (schedule.c).
 *
 *   rfactor  sums over the outermost loop get partial results a group of iterations; the groups are
 *            combined by a second phase for runs of them, then by a third
 *   bind     outermost loops go to teams, innermost ones to the threads of a team, side by side; a
 *            loop that is both goes to all threads
 * Groups are counted from sizes alone, so that results do not depend on the device. */
#include "systems/schedule_inner.h"

enum {
    GROUP_ROWS = 4,        /* least rows of a partial column sum */
    GROUPS_MAX = 264,      /* two teams for each multiprocessor of an H100 */
    GROUP_ELEMENTS = 8192, /* least elements of a partial total */
    TOTALS_MAX = 1024,
    RUNS = 16,        /* of groups, combined side by side */
    SERIAL_EXTENT = 4 /* innermost loops up to this stay with one thread */
};

/* for columns: for groups: add. Groups in runs, each run a partial sum of its own. */
static void schedule_combination(Schedule *s, uint32_t at) {
    uint32_t depth = depth_at(s, at + 1); /* the columns, then the groups */
    while (depth > 2 && transform_fuse(s, at + 1)) depth--;
    if (depth != 2 || !transform_reorder(s, at + 1, at + 2)) return;
    if (!transform_split(s, at + 1, 1, RUNS)) return;
    /* runs, groups, columns: now runs, columns, groups */
    if (!transform_reorder(s, at + 2, at + 3)) return;
    if (!transform_rfactor(s, at + 1)) return;
    /* runs { columns: start; columns: groups } */
    (void)transform_merge(s, at + 2);
    if (holds_one_loop(s, at + 1)) (void)transform_fuse(s, at + 1);
}
static bool factor_phase(Schedule *s, uint32_t at) {
    if (kind_at(s, at + 1) != NODE_LOOP || !sums_over_phase(s, at + 1)) return false;
    bool leaf = is_leaf(s, at + 1);
    return transform_split(s, at + 1, leaf ? GROUP_ELEMENTS : GROUP_ROWS,
                           leaf ? TOTALS_MAX : GROUPS_MAX) &&
           transform_rfactor(s, at + 1);
}
static void factor_sums(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s);) {
        uint32_t before = count_phases(s);
        uint32_t combinations = factor_phase(s, at) ? count_phases(s) - before : 0;
        at += size_at(s, at);
        for (; combinations > 0; combinations--) {
            uint32_t phases = count_phases(s);
            schedule_combination(s, at);
            for (phases = count_phases(s) - phases + 1; phases > 0; phases--) at += size_at(s, at);
        }
    }
}

static bool is_short(Schedule *s, uint32_t at) {
    DimId extent = nodes_of(s)->extent[schedule_node(s, at)];
    return dims_is_const(&s->loops->dims, extent) &&
           dims_const_value(&s->loops->dims, extent) <= SERIAL_EXTENT;
}
void schedule_threads(Schedule *s) {
    factor_sums(s);
    for (uint32_t at = 0; at < count_of(s); at++) {
        uint32_t row = schedule_node(s, at);
        if (kind_at(s, at) != NODE_LOOP || nodes_of(s)->bind[row] != BIND_SERIAL) continue;
        bool outermost =
            kind_at(s, at - 1) == NODE_PHASE && size_at(s, at - 1) == size_at(s, at) + 1;
        uint32_t parallel = outermost && !sums_over_phase(s, at) ? BIND_PARALLEL : BIND_SERIAL;
        uint32_t leaf = is_leaf(s, at) && !(parallel == BIND_SERIAL && is_short(s, at))
                            ? BIND_THREAD | BIND_VECTOR
                            : BIND_SERIAL;
        if ((parallel | leaf) == BIND_SERIAL) continue;
        if (!transform_bind(s, at, parallel | leaf, 0, 0) && parallel != BIND_SERIAL)
            (void)transform_bind(s, at, parallel, 0, 0);
    }
}
