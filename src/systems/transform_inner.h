/* What the transforms share: writing a new version of a kernel's nodes, and what is known of its
 * accesses. Nodes are absolute rows here, not positions. */
#ifndef STOA_SYSTEMS_TRANSFORM_INNER_H
#define STOA_SYSTEMS_TRANSFORM_INNER_H

#include "systems/subst.h"
#include "systems/transform.h"

#define TRANSFORM_DECLARE(NAME, text, numbers, doc) TransformFn transform_##NAME;
TRANSFORMS(TRANSFORM_DECLARE)
#undef TRANSFORM_DECLARE

/* The first reason of a step stands. */
static inline bool transform_refuse(Schedule *s, const char *why) {
    if (s->why == NULL) s->why = why;
    return false;
}
static const char transform_no_loop[] = "there is no loop at this position";
static const char transform_too_complex[] = "a size becomes too complex";

/* --- writing ------------------------------------------------------------------------------------
 * An edit writes rows one after the other with their depth (phases: 0); ending it works out sizes,
 * leaves out loops and phases that hold nothing, and makes the rows the kernel's. */
typedef struct Edit {
    Schedule *s;
    Loops    *loops;
    uint32_t  old, old_last; /* rows of the version that is read */
    uint32_t  first;         /* of the version that is written */
    uint32_t *depth;         /* of the old rows, from the first on */
    uint8_t  *dropped;       /* by old row from the first on: copies leave it out */
    bool      failed;        /* a size grew too complex */
} Edit;
Edit transform_edit_begin(Schedule *s);
/* Old rows [from, last), deeper by so much; symbols replaced (sub may be NULL). */
void   transform_edit_copy(Edit *e, Subst *sub, uint32_t from, uint32_t last, int32_t deeper);
NodeId transform_edit_loop(Edit *e, uint32_t depth, DimId var, DimId extent, LoopBind bind);
NodeId transform_edit_store(Edit *e, uint32_t depth, LoopAccess access, ExprId value, ExprId guard);
NodeId transform_edit_reduce(Edit *e, uint32_t depth, ReduceKind kind, LoopAccess access,
                             ExprId value, ExprId guard);
NodeId transform_edit_phase(Edit *e);
static inline uint32_t transform_edit_depth(const Edit *e, uint32_t row) {
    return e->depth[row - e->old];
}
/* False: the edit failed and the kernel is as before. */
bool transform_edit_end(Edit *e);
/* The same, and only if all loops may keep their bits. */
bool transform_edit_end_bound(Edit *e);
/* A fresh variable below an extent. */
DimId transform_variable(Loops *loops, DimId extent);

/* --- nodes ------------------------------------------------------------------------------------ */
static inline uint32_t transform_first(const Schedule *s) {
    return s->loops->kernels.nodes_first[s->kernel.row];
}
static inline uint32_t transform_last(const Schedule *s) { /* one past the end */
    return transform_first(s) + s->loops->kernels.nodes_count[s->kernel.row];
}
static inline uint32_t transform_end(const Schedule *s, uint32_t row) { /* of its subtree */
    return row + s->loops->nodes.size[row];
}
static inline bool transform_holds(const Schedule *s, uint32_t outer, uint32_t row) {
    return outer <= row && row < transform_end(s, outer);
}
/* The row of a position, if it is a node of a kind; 0 otherwise. */
uint32_t transform_row(const Schedule *s, int64_t at, NodeKind kind);
/* The buffer of a number, nil if there is none. */
BufferId transform_buffer(const Schedule *s, int64_t number);
/* The innermost node around a row; 0: none. */
uint32_t transform_parent(const Schedule *s, uint32_t row);

/* --- accesses --------------------------------------------------------------------------------- */
typedef enum AccessKind { ACCESS_LOAD, ACCESS_STORE, ACCESS_REDUCE } AccessKind;
typedef struct Access {
    uint32_t   row; /* the statement */
    AccessKind kind;
    LoopAccess access;
    bool       guarded;
} Access;
typedef struct Accesses {
    const Access *rows;
    uint32_t      count;
} Accesses;
/* All accesses of the statements in [first, last) of the present version, those behind let symbols
 * included; of one buffer of the kernel if it is given. Rows belong to the schedule, until the
 * kernel has a newer version; gathered once a version, then found in logarithmic time. */
Accesses transform_accesses(Schedule *s, uint32_t first, uint32_t last, BufferId buffer);
/* Those that are loads, or those that are not. */
Accesses transform_only(Schedule *s, const Accesses *list, bool loads);
/* Loads of all let symbols of the module. */
Accesses transform_loads_of_lets(Schedule *s);

/* Whether different iterations of a loop touch different elements: every access lies in a window of
 * places that moves with the loop's variable. list: accesses of one buffer, inside the loop, or
 * inside `other`, a loop of the same iterations (0: none). */
bool transform_pinned(Schedule *s, const Accesses *list, uint32_t loop, uint32_t other);
/* The innermost loop around all accesses of a buffer; 0: none. */
uint32_t transform_home(Schedule *s, BufferId buffer);
/* Whether nothing passes from one iteration of the loop to another through the buffer, because it
 * is memory of one iteration of that loop or of one inside it. */
bool transform_private(Schedule *s, uint32_t loop, BufferId buffer);
/* The bits of a loop are legal. */
bool transform_may_bind(Schedule *s, uint32_t loop, uint32_t bind);

/* Whether computed integers are in a place. */
bool transform_has_let(const Schedule *s, DimId dim);

/* --- regions ---------------------------------------------------------------------------------- */
/* Bounds of an index over the iterations of the loops inside a node (both ends included), in terms
 * of what is outside; false: unknown. */
bool transform_bounds(Schedule *s, DimId index, uint32_t node, DimId *out_low, DimId *out_high);
/* A size at least as large that does not depend on loops; nil: unknown. */
DimId transform_upper(Schedule *s, DimId size);
typedef struct Region { /* of a buffer, by axis */
    uint32_t rank;
    DimId    low[SHAPE_RANK_MAX], extent[SHAPE_RANK_MAX];
    uint32_t unknown; /* axes of which it may be all, a bit each: low 0, extent the size */
} Region;
/* What accesses touch in one iteration of a loop; list: of one buffer, inside it. */
void transform_region(Schedule *s, const Accesses *list, uint32_t node, Region *out);
/* Whether an iteration of a node stores all that it reads of a buffer before it does: its first
 * access is a store that fills a box of places, and no access reaches beyond. */
bool transform_begins_anew(Schedule *s, const Accesses *list, uint32_t node);
/* Nil, or the condition that low <= place < high, as far as it is not provable. */
ExprId transform_inside(Loops *loops, DimId place, DimId high);

#endif
