/* Plans at likely sizes, and fitting a compiled program to a memory budget.
 *
 * Compiling is independent of sizes, memory is not: what a graph needs is judged at typical sizes
 * (dims_typical: the hint of a symbol), and a plan at other sizes is held against the budget when
 * it is made. */
#ifndef STOA_SYSTEMS_FIT_H
#define STOA_SYSTEMS_FIT_H

#include "systems/runner.h"
#include "tables/shape_program.h"

/* How sizes follow from the inputs of a graph, those of the views that layout made included. NULL
 * after diagnostics. */
const ShapeProgram *fit_shapes(Arena *out, const Runner *runner, GraphId graph, Diags *diags);
/* A plan of a compiled graph for these inputs (dtypes and shapes are read), or at typical sizes
 * when inputs is NULL; placed: with memory planned, else only launches. The caller closes it. NULL
 * after diagnostics, in diags or in the world. */
Plan *fit_plan(Runner *runner, GraphId graph, const Tensor *inputs, uint32_t count, bool placed,
               Diags *diags);
/* Holds every graph to runner->ctx.budget at typical sizes. False after diagnostics. */
bool fit_budget(Runner *runner);
/* The same with gradients of loops still to come: `compile` derives and lowers what is there. Where
 * a graph with loops does not fit, it is compiled again with the loop that keeps most keeping
 * fewer states (SystemCtx.states), until all fit or nothing is left to save: the steps down do not
 * depend on the budget, so the least is a fact of the program. */
bool fit_states(Runner *runner, bool compile(Runner *runner));

#endif
