/* Which way is a derivative made? Estimates of what a pass through the rows between x and y costs,
 * and the choice of `jacobian` rows between forward and reverse mode by them. */
#ifndef STOA_SYSTEMS_MODES_H
#define STOA_SYSTEMS_MODES_H

#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct ModeCost {
    double rows, flops, bytes;
} ModeCost;
/* Through the rows that depend on x and that y needs, at the typical sizes of symbols. */
typedef struct ModePass {
    ModeCost value;   /* computing y */
    ModeCost tangent; /* beside it, of one direction; a cotangent goes through the same products */
    double   kept;    /* bytes of values that a pass back reads */
} ModePass;
ModePass modes_pass(Arena *scratch, const World *world, const Code *code, ValueId x, ValueId y);

/* Times in units of one floating-point operation, a byte to memory and back counts as 8: of
 * tangents carried forward; of cotangents, with what the pass before them keeps. */
double modes_forward_time(const ModePass *pass, double tangents);
double modes_reverse_time(const ModePass *pass, double cotangents);

typedef struct JacobianModes {
    double inputs, outputs; /* elements of x, of y: directions forward, and in reverse */
    double forward, reverse;
    bool   reverse_wins;
} JacobianModes;
/* Times as above. */
JacobianModes modes_jacobian(Arena *scratch, const World *world, const Code *code, ValueId x,
                             ValueId y);

/* Replaces a `jacobian` row by a jvp or gradient row and a vmap row over it, which are left for the
 * next round of differentiate. */
void modes_derive(SystemCtx *ctx, Rewrite *rw, OpId op);

/* What each `jacobian` row of a program would choose, with the estimates. Rows have types. */
String modes_explain(Arena *out, const World *world);

#endif
