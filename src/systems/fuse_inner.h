/* What the sources of the fuse system share: the rows of one straight run as a graph of groups,
 * free rows looked through. Arrays are indexed by row - first. */
#ifndef STOA_SYSTEMS_FUSE_INNER_H
#define STOA_SYSTEMS_FUSE_INNER_H

#include "systems/place.h"
#include "systems/rewrite.h"
#include "systems/system.h"

typedef enum RowKind {
    ROW_OUTSIDE, /* a launch of its own: library calls, effects, state, the terminator */
    ROW_FREE,    /* index maps and what they make of constants: written again wherever needed */
    ROW_CORE     /* arithmetic that can be part of a kernel */
} RowKind;

enum { LAUNCH_BYTES = 16384 }; /* that could move while a launch is begun */

/* How a consumer sees the result of a producer through the free rows between them. */
typedef enum PathKind {
    PATH_ALIGNED,  /* element by element, in the same row-major order */
    PATH_REPEATED, /* broadcast */
    PATH_MOVED     /* transposed, sliced, reversed: at other places */
} PathKind;

typedef struct Edge {
    uint32_t from, to; /* rows */
    uint8_t  path;     /* PathKind */
    uint8_t  operand;  /* of to */
} Edge;

typedef struct Group {
    uint32_t head, tail, count; /* members by next_member, in row order */
    uint32_t place;             /* in the order of groups */
    DimId    elements;          /* of the iteration space */
    DimId    kept;              /* of what its reductions give; nil: none */
    uint32_t reduce;            /* a reduction among the members, or 0 */
    uint32_t cost;              /* arithmetic of an element, all members */
} Group;

/* A value that a group stores once more, for one user (fuse_repeat.c). */
typedef struct Repeat {
    uint32_t row, group, user, operand; /* of the user */
    ValueId  made;                      /* new value, when the group is written */
} Repeat;

typedef struct Fuse {
    SystemCtx     *ctx;
    World         *world;
    const Code    *code;
    uint32_t       first, last; /* rows of the run */
    const uint8_t *escapes;     /* by value row: used outside the run */
    Placing       *placing;     /* of all the code */
    uint8_t       *kind;        /* RowKind, by row - first; likewise below */
    uint32_t      *parent;      /* union-find: row of the group's representative */
    Group         *groups;      /* of representatives */
    uint32_t      *next_member; /* 0: last */
    uint32_t      *order;       /* group by place */
    Edge          *edges;       /* sorted by consumer */
    uint32_t      *ins_first;   /* first edge into a row; one more at the end */
    uint32_t       edges_count;
    uint32_t      *uses;       /* edges sorted by producer: rows of edges */
    uint32_t      *uses_first; /* by row; one more at the end */
    uint32_t      *stamp;      /* scratch marks by row */
    uint32_t       stamps;
    uint8_t       *stored; /* by row: written to memory by its group, read by others */
    uint8_t       *again;  /* by row: never written, computed again by each group that needs it */
    Repeat        *repeats;
    uint32_t       repeats_count;
} Fuse;

/* The kind of the row that defines a value; what is defined outside the run is not looked at. */
static inline bool fuse_is_free(const Fuse *f, OpId def) {
    return def.row >= f->first && def.row < f->last && f->kind[def.row - f->first] == ROW_FREE;
}
static inline bool fuse_escapes(const Fuse *f, uint32_t row) {
    return f->code->ops.results_count[row] != 0 && f->escapes[f->code->ops.results_first[row].row];
}
static inline uint32_t fuse_find(const Fuse *f, uint32_t row) {
    uint32_t *parent = f->parent, at = row - f->first;
    while (parent[at] != at) at = parent[at] = parent[parent[at]];
    return at + f->first;
}
static inline Group *fuse_group(const Fuse *f, uint32_t row) {
    return &f->groups[fuse_find(f, row) - f->first];
}

/* fuse_graph.c: kinds of rows, edges, a group for each row. */
void  fuse_build(Fuse *f);
DimId fuse_elements(Fuse *f, ValueId value); /* how many; nil: too complex */
/* Bytes of a value; symbols count with their hint. */
int64_t fuse_value_bytes(const Fuse *f, ValueId value);

/* fuse_groups.c: decides which groups become one; returns how many merges were done. */
uint32_t fuse_merge_groups(Fuse *f);
/* fuse_again.c: decides which results of groups are stored, and which are computed again by each
 * group that needs them; returns how many are. */
uint32_t fuse_recompute(Fuse *f);
/* fuse_repeat.c: decides which values are stored again for products that read them late. */
uint32_t fuse_repeat(Fuse *f);

/* The rows that make what a group stores, its own and those it computes again, in any order, and
 * the rows outside that it reads (free rows looked through). Lists live in the scratch arena. */
typedef struct FuseRows {
    uint32_t *rows, *reads;
    uint32_t  rows_count, reads_count;
} FuseRows;
FuseRows fuse_rows(Fuse *f, uint32_t group);
/* fuse_write.c: the run anew, a fused row for each group of core rows. */
void fuse_write(Fuse *f, Rewrite *rw);

#endif
