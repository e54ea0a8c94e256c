/* Running kernels of loop tables, written to be read: the oracle that lowering, schedules and code
 * generators are tested against.
 *
 * Elements are wide numbers (double, int64). A store rounds to the dtype of its buffer; a reduction
 * keeps its sum wide until it is read, so that results hardly depend on the order of iterations;
 * every operator rounds to the dtype of its expression. Iterations of a PARALLEL loop run one after
 * the other; those of a VECTOR loop in groups, statement by statement, a REG buffer that such a
 * loop stores to being one scalar a lane.
 *
 * Every access is checked: places outside a buffer, elements read before anything was written,
 * elements that two iterations of a parallel loop touch and one of them writes, operands read after
 * a result that may share their memory, results that are not written. What is found is our bug, so
 * it is a text, not a diagnostic. */
#ifndef STOA_CPU_INTERP_LOOPS_H
#define STOA_CPU_INTERP_LOOPS_H

#include "arena/status.h"
#include "tables/bind.h"
#include "tables/loops.h"

typedef struct InterpKernel {
    const Loops   *loops;
    KernelId       kernel;
    const int64_t *params;    /* values of its parameters, in order */
    void *const   *buffers;   /* by position: memory of ARG buffers; others are not looked at */
    bool           backwards; /* parallel loops run from their last iteration to the first */
} InterpKernel;
/* What went wrong, with the position of the node, in memory of out; empty: nothing. */
String interp_kernel(Arena *out, const InterpKernel *run);

/* interp_run on a compiled program: fused rows run their kernels (of an equal kernel the earlier
 * one, as launches do) on operands laid out as the kernel expects them. One that fails adds
 * KERNEL_WRONG. loops == NULL: they run the rows of their blocks, as in interp_run. */
typedef struct InterpLoops {
    const Loops *loops;
    bool         backwards;
} InterpLoops;
MUST_USE Status interp_run_loops(Arena *out, const World *world, const InterpLoops *loops,
                                 GraphId graph, const Tensor *inputs, uint32_t inputs_count,
                                 NamedTensor *state, uint32_t state_count, Tensor *out_outputs,
                                 Diags *diags);

#endif
