/* A loop of small kernels as one function: what building it reads.
 *
 * The launches of a loop, its jumps among them, become rows: each is a block of the function, so
 * jumps are branches and kernels stand where they are launched. All sizes and offsets are numbers
 * in the code. Memory of the planned arena that only such kernels touch is memory of the function,
 * which LLVM turns into registers; rows of scans are found by their index. What has no code of its
 * own is called, as a step. */
#ifndef STOA_CPU_EMIT_FLOW_H
#define STOA_CPU_EMIT_FLOW_H

#include "cpu/emit.h"

/* A part of the planned arena that buffers of the loop lie in; others lie beside it. */
typedef struct EmitPool {
    uint64_t first, last; /* bytes of the arena */
    bool     local;       /* memory of the function */
} EmitPool;
/* What must be in a pool when the loop begins, or in the arena when it is done. */
typedef struct EmitPassing {
    uint32_t pool;
    uint64_t offset, bytes; /* of the pool */
    bool     in, out;
} EmitPassing;
typedef struct EmitAt { /* an address */
    uint32_t slot;
    uint32_t pool; /* of slot 0 */
    int64_t  offset;
} EmitAt;
/* A slot of the plan that a scan of the loop moves: at `from` + index * step. */
typedef struct EmitMoving {
    uint32_t scan;  /* number + 1; 0: the slot stands still */
    bool     index; /* it is the index itself */
    bool     told;  /* called steps look for it in the table of slots */
    int64_t  step;  /* bytes */
    EmitAt   from;
} EmitMoving;

typedef enum EmitRowKind {
    EMIT_NOTHING,
    EMIT_KERNEL,
    EMIT_COPY, /* args[0] to args[1] */
    EMIT_CALL, /* steps [first, first + count) */
    EMIT_UNLESS,
    EMIT_JUMP,
    EMIT_SCAN,
    EMIT_NEXT
} EmitRowKind;
typedef struct EmitRow {
    EmitRowKind kind;
    uint32_t    target; /* of jumps: row, the number of rows for the end */
    /* KERNEL */
    const EmitKernel *kernel;
    KernelId          code;
    const int64_t    *params;
    EmitAt           *args;  /* by buffer; of COPY and UNLESS: see above, its operand */
    int64_t          *bytes; /* by buffer, of those that are no ARG; of COPY: [0] */
    /* CALL */
    uint32_t first, count;
    bool     fails; /* it may stop the run */
    /* UNLESS of a switch: case, number of the last */
    bool    cases;
    int64_t which, last;
    /* SCAN, NEXT */
    uint32_t scan; /* number */
    int64_t  length;
    bool     reverse;
} EmitRow;
typedef struct EmitFlow {
    const Loops       *loops;
    const EmitRow     *rows;
    const EmitPool    *pools;
    const EmitPassing *passing;
    const EmitMoving  *moving; /* by slot */
    const uint32_t    *root; /* by slot: the slot whose memory it is, 0 with a pool in root_pool */
    const uint32_t    *root_pool;
    uint32_t           rows_count, pools_count, passing_count, slots_count, scans_count;
    uint32_t           step_bytes, step_fn, step_params; /* how called steps lie in their table */
} EmitFlow;

/* What the code is called with: base addresses by slot, which it changes where called steps look
 * for rows; the context and the table of these steps; and where a failed assert is told. */
typedef void EmitFlowFn(void **slots, const void *context, const void *steps, uint32_t *failed);

/* The code, compiled or from a cache; hash: of everything that flow says. NULL: diags says why. */
EmitFlowFn *emit_flow(Jit *jit, const EmitFlow *flow, const uint64_t hash[2], Diags *diags);

#endif
