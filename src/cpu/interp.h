/* The reference interpreter: what every operator means, written to be read. It is the oracle that
 * kernels, systems and gradients are tested against, so each rule is the obvious loop.
 *
 * Numbers: floats are computed in double and rounded to the storage dtype when an operator's result
 * is stored (f16 and bf16 by way of f32); sums, products and windows accumulate in double and round
 * once. Integers are computed in 64 bits and wrap to their width; bool is 0 or 1. Complex numbers
 * can be moved, added, multiplied and transformed; 8-bit floats have no rule.
 * Values are dense row-major tensors. Nothing is shared, so rows never see each other's memory. */
#ifndef STOA_CPU_INTERP_H
#define STOA_CPU_INTERP_H

#include "arena/status.h"
#include "tables/bind.h"
#include "tables/schema.h"

/* Runs a graph of primitives on concrete tensors. inputs: one per argument of the graph. state:
 * the tensors of its parameters, by name in any order; `parameter` reads what they held at the
 * start, `assign` writes them after the last row, and only when the run succeeds. out_outputs: one
 * tensor per operand of the return, in memory of `out`. Intermediate values take scratch of this
 * thread.
 * STATUS_INVALID: the inputs, sizes or state do not fit, or an assert failed; STATUS_UNSUPPORTED:
 * an operator or dtype without a rule here (composites, collectives). Both leave a
 * diagnostic. Runs under the caller's arena guard. */
MUST_USE Status interp_run(Arena *out, const World *world, GraphId graph, const Tensor *inputs,
                           uint32_t inputs_count, NamedTensor *state, uint32_t state_count,
                           Tensor *out_outputs, Diags *diags);
/* Whether the opcode has a rule here. */
bool interp_has(Opcode opcode);

#endif
