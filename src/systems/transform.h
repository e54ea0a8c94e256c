/* Schedule transforms: rewrites of the loop tables of one kernel that keep what it computes.
 *
 * Each transform checks that it is legal and writes the nodes of the kernel anew; an illegal one
 * changes nothing, says why in Schedule.why and returns false. transform_apply appends a step to
 * the kernel's recorded schedule (loops.h), so that a schedule can be printed, stored
 * (schedule_text.h) and replayed on a fresh lowering. Loops and statements are named by their
 * position in preorder, 0 being the first phase, and buffers by their number in the kernel: both
 * are stable under replay. Sums may be
 * reordered, nothing else changes in value.
 *
 * Cost: linear in the nodes and expressions of the kernel, times the accesses where dependences are
 * looked for. */
#ifndef STOA_SYSTEMS_TRANSFORM_H
#define STOA_SYSTEMS_TRANSFORM_H

#include "tables/loops.h"

/* TRANSFORM(NAME, "text", numbers, "what the numbers are"); each is explained below. */
#define TRANSFORMS(T)                                                                              \
    T(FUSE, "fuse", 1, "outer loop")                                                               \
    T(SPLIT, "split", 3, "loop, factor, ways")                                                     \
    T(DEAL, "deal", 3, "loop, least iterations of a group, groups")                                \
    T(REORDER, "reorder", 2, "outer loop, inner loop")                                             \
    T(MERGE, "merge", 1, "first of two neighbours")                                                \
    T(MOVE, "move", 2, "phase, phase that it is to follow")                                        \
    T(APPEND, "append", 1, "first of two neighbouring phases")                                     \
    T(BIND, "bind", 4, "loop, LoopBind bits, factor, unroll")                                      \
    T(SCOPE, "scope", 2, "buffer, BufferScope")                                                    \
    T(RFACTOR, "rfactor", 1, "loop")                                                               \
    T(ANNOTATE, "annotate", 3, "loop, factor, unroll")                                             \
    T(FLATTEN, "flatten", 1, "outermost loop")                                                     \
    T(TILE, "tile", 4, "outer loop, inner loop, their factors")                                    \
    T(UNROLL, "unroll", 1, "loop")                                                                 \
    T(UNIT, "unit", 1, "loop or statement")                                                        \
    T(PEEL, "peel", 2, "loop, factor")                                                             \
    T(PARTITION, "partition", 1, "loop")                                                           \
    T(FACTORIZE, "factorize", 2, "outermost summed loop, loop that keeps partial results")         \
    T(LIFT, "lift", 1, "sum")                                                                      \
    T(COMPUTE_AT, "compute_at", 2, "statement, loop")                                              \
    T(REVERSE_COMPUTE_AT, "reverse_compute_at", 2, "statement, loop")                              \
    T(INLINE, "inline", 1, "buffer")                                                               \
    T(REVERSE_INLINE, "reverse_inline", 1, "statement")                                            \
    T(CACHE_READ, "cache_read", 3, "buffer, loop, BufferScope")                                    \
    T(CACHE_WRITE, "cache_write", 3, "buffer, loop, BufferScope")                                  \
    T(SAMPLE_TILE, "sample_tile", 7, "loop, parts, greatest inner factor, up to four factors")     \
    T(SAMPLE, "sample", 2, "choices, the one taken")
typedef enum Transform {
#define TRANSFORM_ENUM(NAME, text, numbers, doc) TRANSFORM_##NAME,
    TRANSFORMS(TRANSFORM_ENUM)
#undef TRANSFORM_ENUM
        TRANSFORM_COUNT
} Transform;
enum { TRANSFORM_NUMBERS_MAX = 8 };

typedef struct Gathered Gathered;
typedef struct Schedule { /* the kernel being scheduled: the newest of the module */
    Loops      *loops;
    KernelId    kernel;
    Arena      *scratch;  /* grows with the work done; rewound by the owner */
    uint32_t   *fuel;     /* steps still allowed, see system_burn; NULL: any number */
    const char *why;      /* the last step was refused */
    Gathered   *gathered; /* accesses known so far, in scratch: who rewinds it sets NULL */
} Schedule;

typedef bool TransformFn(Schedule *s, const int64_t *numbers);
typedef struct TransformInfo {
    const char  *name, *doc;
    uint32_t     numbers;
    TransformFn *run; /* without recording */
} TransformInfo;
extern const TransformInfo transform_infos[TRANSFORM_COUNT];
Transform                  transform_find(String name); /* TRANSFORM_COUNT if unknown */

/* Does a step and records it. False: illegal, numbers out of range, or no fuel; s->why says so. */
bool transform_apply(Schedule *s, Transform transform, const int64_t *numbers);

static inline uint32_t schedule_node(const Schedule *s, uint32_t at) { /* its row */
    ASSERT(at < s->loops->kernels.nodes_count[s->kernel.row]);
    return s->loops->kernels.nodes_first[s->kernel.row] + at;
}
#define TRANSFORM_NUMBERS_(...) ((const int64_t[TRANSFORM_NUMBERS_MAX]){__VA_ARGS__})

/* --- loops ------------------------------------------------------------------------------------ */
/* Two loops, the second the only child of the first, become one over the product of their extents.
 * Always legal where the inner extent does not depend on the outer loop. */
static inline bool transform_fuse(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_FUSE, TRANSFORM_NUMBERS_(at));
}
/* A loop over n becomes an outer one over ceildiv(n, factor) and an inner one over factor
 * iterations, the last group being shorter. ways > 0: the factor is max(factor, ceildiv(n, ways)),
 * so at most `ways` groups. The outer one keeps PARALLEL, the inner one the other bits. */
static inline bool transform_split(Schedule *s, uint32_t at, uint32_t factor, uint32_t ways) {
    return transform_apply(s, TRANSFORM_SPLIT, TRANSFORM_NUMBERS_(at, factor, ways));
}
/* A loop over n becomes an outer one over at most `groups` groups, of no fewer than `least`
 * iterations where there are several, and an inner one over those of a group: every groups-th, so
 * that groups that run at once are beside each other. Legal where iterations meet in nothing but
 * sums. */
static inline bool transform_deal(Schedule *s, uint32_t at, uint32_t least, uint32_t groups) {
    return transform_apply(s, TRANSFORM_DEAL, TRANSFORM_NUMBERS_(at, least, groups));
}
/* The loop at `from` goes to the place of that at `at`, which is around it. Between them must be
 * nothing but loops; iterations may only meet in reductions. */
static inline bool transform_reorder(Schedule *s, uint32_t at, uint32_t from) {
    return transform_apply(s, TRANSFORM_REORDER, TRANSFORM_NUMBERS_(at, from));
}
/* Two neighbouring loops, or phases that hold one loop each, of equal extent become one that runs
 * both bodies. Legal when whatever one writes and the other touches is touched at equal places in
 * equal iterations. */
static inline bool transform_merge(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_MERGE, TRANSFORM_NUMBERS_(at));
}
/* Puts a phase behind a later one. Legal when nothing between, nor that one, touches what it writes
 * or writes what it reads. */
static inline bool transform_move(Schedule *s, uint32_t at, uint32_t behind) {
    return transform_apply(s, TRANSFORM_MOVE, TRANSFORM_NUMBERS_(at, behind));
}
/* Two neighbouring phases without parallel loops become one, which does what the first did, then
 * what the second did. */
static inline bool transform_append(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_APPEND, TRANSFORM_NUMBERS_(at));
}
/* How a loop runs. PARALLEL: the only child of a phase, iterations write what no other touches.
 * VECTOR: no loop inside; iterations may meet in one reduction. */
static inline bool transform_bind(Schedule *s, uint32_t at, uint32_t bind, uint32_t factor,
                                  uint32_t unroll) {
    return transform_apply(s, TRANSFORM_BIND, TRANSFORM_NUMBERS_(at, bind, factor, unroll));
}
/* Elements of a vector group and groups at once; 0: the emitter chooses. */
static inline bool transform_annotate(Schedule *s, uint32_t at, uint32_t factor, uint32_t unroll) {
    return transform_apply(s, TRANSFORM_ANNOTATE, TRANSFORM_NUMBERS_(at, factor, unroll));
}
/* All loops of a perfect nest become one. */
static inline bool transform_flatten(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_FLATTEN, TRANSFORM_NUMBERS_(at));
}
/* Two loops, one the only child of the other, become four: groups of both, then elements. */
static inline bool transform_tile(Schedule *s, uint32_t at, uint32_t from, uint32_t outer,
                                  uint32_t inner) {
    return transform_apply(s, TRANSFORM_TILE, TRANSFORM_NUMBERS_(at, from, outer, inner));
}
/* A loop of a constant number of iterations (64 at most) is written out. */
static inline bool transform_unroll(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_UNROLL, TRANSFORM_NUMBERS_(at));
}
/* A loop of one iteration around a node. */
static inline bool transform_unit(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_UNIT, TRANSFORM_NUMBERS_(at));
}
/* A loop becomes two: one over the whole multiples of a factor, then one over the rest. */
static inline bool transform_peel(Schedule *s, uint32_t at, uint32_t factor) {
    return transform_apply(s, TRANSFORM_PEEL, TRANSFORM_NUMBERS_(at, factor));
}

/* A phase that is one nest becomes two, which share the iterations of one of its loops where a
 * condition on that loop alone changes, at a number: what was joined from parts is written part by
 * part. Legal where iterations meet in nothing but sums. */
static inline bool transform_partition(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_PARTITION, TRANSFORM_NUMBERS_(at));
}

/* --- reductions ------------------------------------------------------------------------------- */
/* The reductions inside the only loop of a phase that all its iterations write to get a partial
 * result for each iteration, in WORK memory, and phases of their own that combine them in order. */
static inline bool transform_rfactor(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_RFACTOR, TRANSFORM_NUMBERS_(at));
}
/* The reductions into fixed places inside a nest of loops get partial results for each iteration of
 * one of them, started before the nest and combined after it. The loop's extent is constant. */
static inline bool transform_factorize(Schedule *s, uint32_t at, uint32_t kept) {
    return transform_apply(s, TRANSFORM_FACTORIZE, TRANSFORM_NUMBERS_(at, kept));
}

/* Factors of what the sum at `at` adds up that are the same in all of its iterations are multiplied
 * to the sum where it is read, so that it need not wait for them. Equal as real numbers: what a
 * factor kept small may overflow on the way, where its own sum of squares does already. Legal where
 * the sum is over something; refused unless a factor is a value that the kernel computes. */
static inline bool transform_lift(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_LIFT, TRANSFORM_NUMBERS_(at));
}

/* --- where values are made -------------------------------------------------------------------- */
/* The store at `at` (and the start of its reduction, if it is one) moves into a later loop that
 * holds all that reads its buffer, and makes there what an iteration reads: some elements of
 * neighbouring iterations are made more than once. */
static inline bool transform_compute_at(Schedule *s, uint32_t at, uint32_t loop) {
    return transform_apply(s, TRANSFORM_COMPUTE_AT, TRANSFORM_NUMBERS_(at, loop));
}
/* The statement at `at` moves into an earlier loop, an iteration of which completes the elements of
 * one buffer that it reads: it runs for those, at the end of the iteration. */
static inline bool transform_reverse_compute_at(Schedule *s, uint32_t at, uint32_t loop) {
    return transform_apply(s, TRANSFORM_REVERSE_COMPUTE_AT, TRANSFORM_NUMBERS_(at, loop));
}
/* Loads of a buffer that one store fills become the stored value; the store goes away. */
static inline bool transform_inline(Schedule *s, BufferId buffer) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    return transform_apply(s, TRANSFORM_INLINE, TRANSFORM_NUMBERS_(buffer.row - first));
}
/* The store at `at`, the only reader of a buffer that one store fills, takes that store's place. */
static inline bool transform_reverse_inline(Schedule *s, uint32_t at) {
    return transform_apply(s, TRANSFORM_REVERSE_INLINE, TRANSFORM_NUMBERS_(at));
}

/* --- memory ----------------------------------------------------------------------------------- */
/* Moves a WORK or LANE buffer to memory of one iteration of the innermost loop around all its
 * accesses (set_buffer): axes shrink to what one iteration touches, those of one element vanish.
 * REG is taken only if no axis is left. */
static inline bool transform_scope(Schedule *s, BufferId buffer, BufferScope scope) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    return transform_apply(s, TRANSFORM_SCOPE, TRANSFORM_NUMBERS_(buffer.row - first, scope));
}
/* What an iteration of a loop reads of a buffer is copied to a new one first, and read there. */
static inline bool transform_cache_read(Schedule *s, BufferId buffer, uint32_t loop,
                                        BufferScope scope) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    return transform_apply(s, TRANSFORM_CACHE_READ,
                           TRANSFORM_NUMBERS_(buffer.row - first, loop, scope));
}
/* What an iteration of a loop writes to a buffer goes to a new one, and is copied at its end. */
static inline bool transform_cache_write(Schedule *s, BufferId buffer, uint32_t loop,
                                         BufferScope scope) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    return transform_apply(s, TRANSFORM_CACHE_WRITE,
                           TRANSFORM_NUMBERS_(buffer.row - first, loop, scope));
}

/* --- decisions -------------------------------------------------------------------------------- */
/* Where a schedule with choices takes them from: those that are given, in order, then a generator.
 * All that were taken are in `taken`, so that a search can vary them and run the rules again. */
enum { DECISIONS_MAX = 64 };
typedef struct Decisions {
    uint64_t seed;
    uint32_t given_count, taken_count;
    uint32_t given[DECISIONS_MAX], taken[DECISIONS_MAX];
} Decisions;
/* One of `count` choices by their weights (NULL: equal); recorded. */
uint32_t transform_sample(Schedule *s, Decisions *decisions, const uint32_t *weights,
                          uint32_t count);
/* Factors for splitting a loop into `parts` (2 to 4): all but the outermost, powers of two that
 * divide a constant extent, the innermost at most `most`; recorded. False: nothing fits. */
bool transform_sample_tile(Schedule *s, Decisions *decisions, uint32_t at, uint32_t parts,
                           uint32_t most, uint32_t *out_factors);

/* --- trying ------------------------------------------------------------------------------------
 * What restoring needs to undo any number of steps: all of the kernel but rows that stay unused. */
typedef struct TransformMark {
    uint32_t nodes_first, nodes_count, buffers_count, steps_count;
    uint8_t *scope; /* of its buffers; likewise */
    bool    *written;
    ListId  *dims;
} TransformMark;
TransformMark transform_mark(Schedule *s); /* in its scratch */
void          transform_restore(Schedule *s, const TransformMark *mark);

/* --- questions -------------------------------------------------------------------------------- */
/* Whether different values of a variable always give different addresses. */
bool transform_separates(Loops *loops, DimId address, DimId var);
/* Positions of the loops around a node, outermost first; their number. */
uint32_t transform_loops_of(const Schedule *s, uint32_t at, uint32_t *out_loops, uint32_t most);
/* Position of the first statement that writes a buffer from `from` on; UINT32_MAX: none. */
uint32_t transform_find_write(const Schedule *s, BufferId buffer, uint32_t from);

#endif
