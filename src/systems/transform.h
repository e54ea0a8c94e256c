/* Schedule transforms: rewrites of the loop tables of one kernel that keep what it computes.
 *
 * Each transform checks that it is legal, writes the nodes of the kernel anew and appends a step to
 * the kernel's recorded schedule (loops.h), so that a schedule can be printed, stored and replayed
 * on a fresh lowering (transform_replay). `at` names a node by its position in preorder, 0 being
 * the first phase. An illegal transform changes nothing and returns false.
 *
 * Cost: linear in the nodes and expressions of the kernel. */
#ifndef STOA_SYSTEMS_TRANSFORM_H
#define STOA_SYSTEMS_TRANSFORM_H

#include "tables/loops.h"

/* TRANSFORM(NAME, "text", numbers, "what the numbers are") */
#define TRANSFORMS(T)                                                                              \
    T(FUSE, "fuse", 1, "outer loop")                                                               \
    T(SPLIT, "split", 3, "loop, factor, ways")                                                     \
    T(REORDER, "reorder", 2, "outer loop, inner loop")                                             \
    T(MERGE, "merge", 1, "first of two neighbours")                                                \
    T(BIND, "bind", 4, "loop, LoopBind bits, factor, unroll")                                      \
    T(SCOPE, "scope", 2, "buffer, BufferScope")                                                    \
    T(INLINE, "inline", 1, "buffer")                                                               \
    T(RFACTOR, "rfactor", 1, "loop")
typedef enum Transform {
#define TRANSFORM_ENUM(NAME, text, numbers, doc) TRANSFORM_##NAME,
    TRANSFORMS(TRANSFORM_ENUM)
#undef TRANSFORM_ENUM
        TRANSFORM_COUNT
} Transform;
typedef struct TransformInfo {
    const char *name, *doc;
    uint32_t    numbers;
} TransformInfo;
extern const TransformInfo transform_infos[TRANSFORM_COUNT];

typedef struct Schedule { /* the kernel being scheduled: the newest of the module */
    Loops   *loops;
    KernelId kernel;
    Arena   *scratch; /* grows with the work done; rewound by the owner */
} Schedule;

static inline uint32_t schedule_node(const Schedule *s, uint32_t at) { /* its row */
    ASSERT(at < s->loops->kernels.nodes_count[s->kernel.row]);
    return s->loops->kernels.nodes_first[s->kernel.row] + at;
}

/* Two loops, the second the only child of the first, become one over the product of their extents.
 * Legal when every place and guard depends on them through outer * inner extent + inner alone. */
bool transform_fuse(Schedule *s, uint32_t at);
/* A loop over n becomes an outer one over ceildiv(n, factor) and an inner one over factor
 * iterations, the last group being shorter. ways > 0: the factor is max(factor, ceildiv(n, ways)),
 * so at most `ways` groups. */
bool transform_split(Schedule *s, uint32_t at, uint32_t factor, uint32_t ways);
/* Swaps the order of nested loops [at, at + count): the loop at `from` goes to the place of `at`.
 * Between them must be nothing but loops; reductions may be reordered. */
bool transform_reorder(Schedule *s, uint32_t at, uint32_t from);
/* Two neighbouring loops, or phases that hold one loop each, of equal extent become one that runs
 * both bodies. Legal when whatever one writes and the other touches is touched at equal places in
 * equal iterations. */
bool transform_merge(Schedule *s, uint32_t at);
bool transform_bind(Schedule *s, uint32_t at, uint32_t bind, uint32_t factor, uint32_t unroll);
/* Moves a WORK buffer to memory of one iteration: axes that only loops around all its accesses
 * select are dropped. REG is taken only if no axis is left. */
bool transform_scope(Schedule *s, BufferId buffer, BufferScope scope);
/* A WORK buffer that is stored once and read only by later statements beside the store, at the
 * place stored, is no longer kept: they compute the value, which one iteration does once. */
bool transform_inline(Schedule *s, BufferId buffer);
/* The reductions inside a loop that all its iterations write to get a partial result for each
 * iteration, in WORK memory, and a phase of their own that combines them in order. */
bool transform_rfactor(Schedule *s, uint32_t at);

/* Whether different values of a variable always give different addresses. */
bool transform_separates(Loops *loops, DimId address, DimId var);

/* Applies a recorded step. */
bool transform_apply(Schedule *s, Transform transform, const int64_t *numbers);

#endif
