/* The rules for teams of threads; they begin like those for lanes (schedule_inner.h).
 *
 *   partition  loops over joined parts, such as the columns of a concatenation, part by part
 *   rfactor  sums over the outermost loop get partial results a group of iterations; the groups are
 *            combined by a second phase for runs of them, then by a third
 *   keep     what an iteration makes of its row and reads again, in registers
 *   bind     outermost loops go to teams, innermost ones to the threads of a team, side by side; a
 *            loop that is both goes to all threads
 * Groups are counted from sizes alone, so that results do not depend on the device. */
#include "systems/schedule_inner.h"
#include "systems/transform_inner.h"

enum {
    GROUP_ROWS = 4,        /* least rows of a partial column sum */
    PROCESSORS = 132,      /* that groups of rows keep busy */
    THREADS = 1024,        /* on each of them, with eight elements a thread */
    GROUPS_MAX = 8,        /* on each of them: more of short rows */
    GROUP_RUNS = 32,       /* of more groups than multiprocessors */
    DEALT_ROW = 512,       /* least elements of rows that groups take by turns: H100, note 0012 */
    LONG_ROW = 16384,      /* that one multiprocessor holds with its sums */
    CLUSTER_MAX = 8,       /* multiprocessors that work on a longer row */
    LONG_GROUPS = 128,     /* of longer rows, times the multiprocessors that work on each */
    LOOSE_GROUPS = 256,    /* the same where these tell each other nothing */
    GROUP_ELEMENTS = 2048, /* least elements of a partial total */
    TOTALS_MAX = 1024,
    SERIAL_EXTENT = 4, /* innermost loops up to this stay with one thread */
    PART_EXTENT = 32,  /* least iterations of a part */
    PARTS_MAX = 16
};

/* Whether sums go into the elements of a leaf: teams hold them, and several can share a group. */
static bool sums_columns(Schedule *s, uint32_t at) {
    const LoopNodes *nodes = nodes_of(s);
    uint32_t         leaf = 0;
    for (uint32_t i = at + 1; i < at + size_at(s, at); i++) {
        if (kind_at(s, i) == NODE_LOOP) leaf = i;
        uint32_t row = schedule_node(s, i);
        if (kind_at(s, i) == NODE_REDUCE && leaf != 0 && is_leaf(s, leaf) &&
            dims_contains(&s->loops->dims, loops_address(s->loops, nodes->access[row]),
                          var_at(s, leaf)))
            return true;
    }
    return false;
}
/* Whether something is summed over a leaf. */
static bool sums_rows(Schedule *s, uint32_t at) {
    for (uint32_t i = at + 1; i < at + size_at(s, at); i++)
        if (kind_at(s, i) == NODE_REDUCE &&
            s->loops->buffers.scope[access_buffer(nodes_of(s)->access[schedule_node(s, i)]).row] ==
                SCOPE_REG)
            return true;
    return false;
}
/* The longest known extent of innermost loops; at least 1. */
static int64_t longest_leaf(Schedule *s, uint32_t at) {
    const LoopNodes *nodes = nodes_of(s);
    const Dims      *dims = &s->loops->dims;
    int64_t          longest = 1;
    for (uint32_t row = schedule_node(s, at); row < schedule_node(s, at) + size_at(s, at); row++)
        if (nodes->kind[row] == NODE_LOOP && is_leaf(s, row - schedule_node(s, 0)) &&
            dims_is_const(dims, nodes->extent[row]) &&
            dims_const_value(dims, nodes->extent[row]) > longest)
            longest = dims_const_value(dims, nodes->extent[row]);
    return longest;
}
/* Groups of a phase whose rows have the extent of its innermost loops: one on each multiprocessor
 * of the largest devices where teams share it, else as many as there are teams; long rows are for
 * several multiprocessors. */
static uint32_t groups_of(Schedule *s, uint32_t at) {
    int64_t  longest = longest_leaf(s, at);
    uint32_t cluster = 1;
    while (cluster < CLUSTER_MAX && cluster * LONG_ROW < longest) cluster *= 2;
    if (cluster > 1) return (sums_rows(s, at) ? LONG_GROUPS : LOOSE_GROUPS) / cluster;
    if (sums_columns(s, at)) return PROCESSORS;
    uint32_t each = THREADS / ((uint32_t)(longest + 255) / 256 * 32);
    uint32_t most = longest <= 32 ? 4 * GROUPS_MAX : longest <= 64 ? 2 * GROUPS_MAX : GROUPS_MAX;
    return PROCESSORS * (each > most ? most : each);
}
/* Whether a loop may run over more iterations. */
static bool is_longer(Schedule *s, uint32_t loop, int64_t than) {
    DimId extent = nodes_of(s)->extent[schedule_node(s, loop)];
    return !dims_is_const(&s->loops->dims, extent) ||
           dims_const_value(&s->loops->dims, extent) > than;
}
/* for columns: for groups: add. Many groups in runs, each run a partial sum of its own. */
static void schedule_combination(Schedule *s, uint32_t at, uint32_t groups) {
    uint32_t depth = depth_at(s, at + 1); /* the columns, then the groups */
    while (depth > 2 && transform_fuse(s, at + 1)) depth--;
    if (groups <= PROCESSORS || depth != 2 || !transform_reorder(s, at + 1, at + 2)) return;
    if (!transform_split(s, at + 1, 1, GROUP_RUNS)) return;
    /* runs, groups, columns: now runs, columns, groups */
    if (!transform_reorder(s, at + 2, at + 3)) return;
    if (!transform_rfactor(s, at + 1)) return;
    /* runs { columns: start; columns: groups } */
    (void)transform_merge(s, at + 2);
    if (holds_one_loop(s, at + 1)) (void)transform_fuse(s, at + 1);
}
/* Rows that are read at once lie beside each other. Short ones do not: groups would share lines of
 * memory; nor do those that clusters read in parts. */
static bool make_groups(Schedule *s, uint32_t at, uint32_t least, uint32_t groups) {
    int64_t row = longest_leaf(s, at);
    return row >= DEALT_ROW && row <= LONG_ROW ? transform_deal(s, at + 1, least, groups)
                                               : transform_split(s, at + 1, least, groups);
}
static bool factor_phase(Schedule *s, uint32_t at, uint32_t groups) {
    if (kind_at(s, at + 1) != NODE_LOOP || !sums_over_phase(s, at + 1)) return false;
    bool leaf = is_leaf(s, at + 1), few = leaf && !is_longer(s, at + 1, GROUP_ELEMENTS);
    bool groups_made = leaf ? !few && transform_split(s, at + 1, GROUP_ELEMENTS, TOTALS_MAX)
                            : make_groups(s, at, groups < PROCESSORS ? 1 : GROUP_ROWS, groups);
    return groups_made && transform_rfactor(s, at + 1);
}
static void factor_sums(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s);) {
        uint32_t before = count_phases(s), groups = groups_of(s, at);
        uint32_t combinations = factor_phase(s, at, groups) ? count_phases(s) - before : 0;
        at += size_at(s, at);
        for (; combinations > 0; combinations--) {
            uint32_t phases = count_phases(s);
            schedule_combination(s, at, groups);
            for (phases = count_phases(s) - phases + 1; phases > 0; phases--) at += size_at(s, at);
        }
    }
}

/* --- parts ------------------------------------------------------------------------------------ */
static bool is_long(Schedule *s, uint32_t loop) {
    DimId extent = nodes_of(s)->extent[schedule_node(s, loop)];
    return dims_is_const(&s->loops->dims, extent) &&
           dims_const_value(&s->loops->dims, extent) >= PART_EXTENT;
}
/* What was joined from parts is written part by part: nothing has to be asked of each element. */
static void partition(Schedule *s) {
    uint32_t parts = 0;
    for (uint32_t at = 0; at < count_of(s) && parts < PARTS_MAX; at += size_at(s, at))
        for (uint32_t loop = at + depth_at(s, at + 1); loop > at; loop--) {
            TransformMark mark = transform_mark(s);
            if (!transform_partition(s, loop)) continue;
            if (is_long(s, loop) && is_long(s, loop + size_at(s, at))) {
                parts++;
                break;
            }
            transform_restore(s, &mark);
        }
}

/* --- waits ------------------------------------------------------------------------------------ */
static bool runs_alike(Schedule *s, uint32_t a, uint32_t b) {
    const LoopNodes *nodes = nodes_of(s);
    return kind_at(s, a + 1) == NODE_LOOP && kind_at(s, b + 1) == NODE_LOOP &&
           nodes->extent[schedule_node(s, a + 1)].row == nodes->extent[schedule_node(s, b + 1)].row;
}
/* Behind the last phase over the same rows that may come first. */
static bool sink_phase(Schedule *s, uint32_t at) {
    for (uint32_t behind = count_of(s) - 1; behind > at; behind--)
        if (kind_at(s, behind) == NODE_PHASE && runs_alike(s, at, behind) &&
            transform_move(s, at, behind))
            return true;
    return false;
}
/* Sums wait for each other as little as they can: factors that are known only after an earlier sum
 * are multiplied to them later, and sums over rows stand beside the last pass over them. */
static void shorten_waits(Schedule *s) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < count_of(s); i++)
        if (kind_at(s, i) == NODE_REDUCE) (void)transform_lift(s, i);
    for (uint32_t left = count_phases(s); left > 0 && at < count_of(s); left--) {
        bool sums = kind_at(s, at + 1) == NODE_LOOP && sums_over_phase(s, at + 1);
        if (!sums || !sink_phase(s, at)) at += size_at(s, at);
    }
}

/* --- starts ----------------------------------------------------------------------------------- */
static bool only_starts(Schedule *s, uint32_t phase) {
    const LoopNodes *nodes = nodes_of(s);
    for (uint32_t row = schedule_node(s, phase); row < schedule_node(s, phase) + size_at(s, phase);
         row++) {
        if (nodes->kind[row] == NODE_REDUCE) return false;
        if (nodes->kind[row] == NODE_STORE &&
            s->loops->exprs.kind[nodes->value[row].row] != EXPR_CONST)
            return false;
    }
    return true;
}
/* Start values go right before the phase that combines partial results into them, and become one
 * with it. */
static void sink_starts(Schedule *s) {
    uint32_t at = 0;
    for (uint32_t left = count_phases(s); left > 0 && at < count_of(s); left--) {
        bool moved = false;
        if (only_starts(s, at))
            for (uint32_t behind = count_of(s) - 1; behind > at && !moved; behind--)
                moved = kind_at(s, behind) == NODE_PHASE && transform_move(s, at, behind);
        if (!moved) at += size_at(s, at);
    }
    schedule_merge_phases(s);
    schedule_merge_inside(s);
    schedule_narrow(s);
}

/* --- alike phases ----------------------------------------------------------------------------- */
/* Phases between two of them go behind the second, the last first. */
static bool bring_together(Schedule *s, uint32_t at, uint32_t behind) {
    while (at + size_at(s, at) < behind) {
        uint32_t last = at;
        while (last + size_at(s, last) < behind) last += size_at(s, last);
        uint32_t size = size_at(s, last);
        if (!transform_move(s, last, behind)) return false;
        behind -= size;
    }
    return true;
}
/* Sums that are combined over the same columns are combined by one launch. */
static void merge_alike(Schedule *s) {
    for (uint32_t at = 0; at < count_of(s); at += size_at(s, at))
        for (uint32_t next = at + size_at(s, at); next < count_of(s);) {
            uint32_t size = size_at(s, next), phases = count_phases(s);
            if (runs_alike(s, at, next) && bring_together(s, at, next))
                (void)transform_merge(s, at);
            next = count_phases(s) < phases ? at + size_at(s, at) : next + size;
        }
    schedule_merge_inside(s);
    schedule_narrow(s);
}

/* --- elements --------------------------------------------------------------------------------- */
static bool is_read(Schedule *s, BufferId buffer) {
    Accesses list = transform_accesses(s, transform_first(s), transform_last(s), buffer);
    for (uint32_t i = 0; i < list.count; i++)
        if (list.rows[i].kind != ACCESS_STORE) return true;
    return false;
}
/* What an iteration makes of its row and reads again, a mean or a largest magnitude, is in
 * registers until its end: in memory, which one thread writes, all others would wait for it. */
static void keep_elements(Schedule *s) {
    const LoopBuffers *buffers = &s->loops->buffers;
    uint32_t           first = s->loops->kernels.buffers_first[s->kernel.row];
    uint32_t           last = first + s->loops->kernels.buffers_count[s->kernel.row];
    for (BufferId buffer = {first}; buffer.row < last; buffer.row++) {
        Dtype dtype = (Dtype)buffers->dtype[buffer.row];
        if (buffers->scope[buffer.row] != SCOPE_ARG || !buffers->written[buffer.row] ||
            dtype_compute(dtype) != dtype || !is_read(s, buffer))
            continue;
        uint32_t home = transform_home(s, buffer), at = home - schedule_node(s, 0);
        if (home != 0 && !is_leaf(s, at)) (void)transform_cache_write(s, buffer, at, SCOPE_REG);
    }
}

/* --- phases without loops --------------------------------------------------------------------- */
/* A launch takes longer than what few statements do: numbers that nothing waits for are computed
 * later, with others, and with sums that are for one team. */
static void gather_numbers(Schedule *s) {
    uint32_t at = 0;
    for (uint32_t left = count_phases(s); left > 0 && at < count_of(s); left--) {
        bool moved = false, loops = false;
        for (uint32_t i = at + 1; i < at + size_at(s, at); i++) loops |= kind_at(s, i) == NODE_LOOP;
        for (uint32_t behind = count_of(s) - 1; behind > at && !moved && !loops; behind--)
            moved = kind_at(s, behind) == NODE_PHASE && transform_move(s, at, behind);
        if (!moved) at += size_at(s, at);
    }
    for (at = 0; at < count_of(s);)
        if (!transform_append(s, at)) at += size_at(s, at);
}

/* --- bind ------------------------------------------------------------------------------------- */
typedef struct Walk { /* how places move with a loop */
    bool moves, in_step;
} Walk;
static void walk_place(Schedule *s, LoopAccess access, DimId var, Walk *walk) {
    DimId step, rest, place = loops_address(s->loops, access);
    Dims *dims = &s->loops->dims;
    if (s->loops->buffers.scope[access_buffer(access).row] == SCOPE_REG ||
        !dims_contains(dims, place, var))
        return;
    walk->moves = true;
    walk->in_step |= dims_linear_in(dims, place, var, &step, &rest) && dims_is_const(dims, step) &&
                     dims_const_value(dims, step) == 1;
}
static void walk_expr(Schedule *s, ExprId root, DimId var, uint8_t *seen, Walk *walk) {
    const LoopExprs *exprs = &s->loops->exprs; /* as deep as the expressions of a kernel */
    if (root.row == 0 || seen[root.row]) return;
    seen[root.row] = 1;
    if (exprs->kind[root.row] == EXPR_LOAD) walk_place(s, exprs->word[root.row], var, walk);
    walk_expr(s, exprs->a[root.row], var, seen, walk);
    walk_expr(s, exprs->b[root.row], var, seen, walk);
    walk_expr(s, exprs->c[root.row], var, seen, walk);
}
/* How places inside a loop move with a variable; reads: those that are read. */
static Walk walk_of(Schedule *s, uint32_t at, DimId var, bool reads) {
    const LoopNodes *nodes = nodes_of(s);
    Walk             walk = {false, false};
    ArenaMark        mark = arena_mark(s->scratch);
    uint8_t         *seen = ARENA_ARRAY_ZERO(s->scratch, uint8_t, s->loops->exprs.table.count);
    for (uint32_t i = at + 1; i < at + size_at(s, at); i++) {
        uint32_t row = schedule_node(s, i);
        if (!reads) walk_place(s, nodes->access[row], var, &walk);
        walk_expr(s, nodes->value[row], var, seen, &walk);
    }
    arena_release(s->scratch, mark);
    return walk;
}
static bool is_short(Schedule *s, uint32_t at) {
    DimId extent = nodes_of(s)->extent[schedule_node(s, at)];
    return dims_is_const(&s->loops->dims, extent) &&
           dims_const_value(&s->loops->dims, extent) <= SERIAL_EXTENT;
}
static uint32_t outermost(Schedule *s, uint32_t at) {
    while (kind_at(s, at - 1) != NODE_PHASE) at--;
    return at;
}
static bool inside_parallel(Schedule *s, uint32_t at) {
    return nodes_of(s)->bind[schedule_node(s, outermost(s, at))] & BIND_PARALLEL;
}
/* Loops inside a team's iteration that one thread runs alone: short ones, and those whose
 * neighbouring iterations touch nothing side by side while those of neighbouring teams read so. */
static bool stays_serial(Schedule *s, uint32_t at) {
    Walk own = walk_of(s, at, var_at(s, at), false);
    return is_short(s, at) ||
           (own.moves && !own.in_step && walk_of(s, at, var_at(s, outermost(s, at)), true).in_step);
}

void schedule_threads(Schedule *s) {
    partition(s);
    schedule_put_sums_inside(s);
    shorten_waits(s);
    schedule_merge_phases(s);
    schedule_merge_inside(s);
    schedule_narrow(s);
    schedule_put_rows_outside(s);
    schedule_fuse_cleanly(s);
    schedule_fuse_outer(s);
    factor_sums(s);
    sink_starts(s);
    merge_alike(s);
    keep_elements(s);
    for (uint32_t at = 0; at < count_of(s); at++) {
        uint32_t row = schedule_node(s, at);
        if (kind_at(s, at) != NODE_LOOP || nodes_of(s)->bind[row] != BIND_SERIAL) continue;
        bool alone = kind_at(s, at - 1) == NODE_PHASE && size_at(s, at - 1) == size_at(s, at) + 1;
        uint32_t bind = alone && !sums_over_phase(s, at) ? BIND_PARALLEL : BIND_SERIAL;
        if (is_leaf(s, at) &&
            (bind != BIND_SERIAL || !inside_parallel(s, at) || !stays_serial(s, at)))
            if (transform_bind(s, at, bind | BIND_THREAD | BIND_VECTOR, 0, 0)) continue;
        if (bind != BIND_SERIAL) (void)transform_bind(s, at, bind, 0, 0);
    }
    gather_numbers(s);
}
