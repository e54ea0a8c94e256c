/* Parts of a plan whose sizes data decides (shape_program.h): launches up to the next operator that
 * gives sizes.
 *
 * Memory is planned once, for the upper bounds. A part runs when its sizes are known: they are put
 * into the plan, and what a back end has bound for others is stale. Nothing moves, and nothing is
 * computed for rows that are not there. Kernels may keep pointers into the plan, so a plan has the
 * same sizes when a part runs as when it was bound: each run begins again at the bounds. */
#ifndef STOA_TABLES_LATE_H
#define STOA_TABLES_LATE_H

#include "tables/plan.h"
#include "tables/shape_program.h"

typedef struct LatePart {
    Span     launches;
    uint32_t giver; /* launch that gives the sizes of this part; 0: none */
    uint32_t sizes_count;
    int64_t  sizes[SHAPE_RANK_MAX]; /* the last ones; -1: the bounds */
    bool     stale;                 /* not bound for these, and those of earlier parts */
} LatePart;
typedef struct LateParts {
    Plan               *plan;
    const ShapeProgram *program;
    LatePart           *rows;
    uint32_t            count;
    int64_t            *bounds; /* by DimId row */
} LateParts;

/* plan->dim_values are those of shape_program_run, late ones at upper bounds. All parts are stale.
 * Lives in arena; plan and program outlive it. */
LateParts late_parts(Arena *arena, Plan *plan, const ShapeProgram *program);
void      late_begin(LateParts *parts); /* of a run: the bounds are the sizes of the plan */
/* The i64 values of the sizes of a part, after the part before it ran. */
const LaunchArg *late_giving(const LateParts *parts, uint32_t part);
/* Sizes of a part, as given, become those of the plan. False after diagnostics: the program does
 * not allow them. */
bool late_resize(LateParts *parts, uint32_t part, const int64_t *sizes, Diags *diags);

#endif
