/* The numeric half of stoacheck (stoacheck_run.c): a case with `; run` is computed by the reference
 * interpreter and compared with expected values, with the program after the steps of the case, with
 * the fast CPU path, and its gradient with finite differences. */
#ifndef STOA_TOOLS_STOACHECK_H
#define STOA_TOOLS_STOACHECK_H

#include "arena/str.h"
#include "tables/world.h"

typedef struct NumericRun {
    Arena        *arena;
    Text         *report; /* why it failed */
    const char   *path;
    String        source; /* of the program */
    String        graph;  /* which one; empty: the first */
    String        words;  /* after `; run`: tolerance=1e-6 grad cpu */
    const String *sizes;  /* "B=3" */
    const String *inputs; /* "x 0.5..2", "labels 0..9", "x [1, 2, 3]" */
    const String *values; /* expected: "loss: f32[2] [1, 2]" */
    uint32_t      sizes_count, inputs_count, values_count;
    World        *after;  /* the program after the steps of the case */
    String        output; /* result: the values as they would be expected */
} NumericRun;

bool numeric_run(NumericRun *run);

#endif
