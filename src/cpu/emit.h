/* From loop tables to machine code: each phase of a kernel becomes one function of its sizes.
 *
 * emit_compile compiles the kernels of a module (in parallel, through the cache of jit.h); the
 * functions serve every size. emit_lane_bytes, emit_extent and the like evaluate what binding a
 * launch needs to know at concrete sizes. Nothing here depends on the number of lanes. */
#ifndef STOA_CPU_EMIT_H
#define STOA_CPU_EMIT_H

#include "cpu/jit.h"
#include "tables/loops.h"

/* buffers: addresses by position in the kernel (ARG: of the first element; WORK: of the launch's
 * own memory); params: values of its parameters in order; [first, last): iterations of the parallel
 * loop that this call does; lane: 64-byte aligned memory for LANE buffers. */
typedef void EmitFn(void *const *buffers, const int64_t *params, int64_t first, int64_t last,
                    uint8_t *lane);

/* What a phase touches of a buffer: iteration i of its parallel loop elements i step + [low, high]
 * alone; step is nil where there is no such number. */
typedef struct EmitTouch {
    bool  any;
    DimId step, low, high;
} EmitTouch;
typedef struct EmitPhase {
    EmitFn          *run;
    bool             parallel; /* else it is called once, with 0, 1 */
    DimId            extent;   /* of the parallel loop */
    DimId            inside;   /* iterations of loops in one of its iterations; a measure of work */
    const EmitTouch *touches;  /* by buffer */
    const struct EmitSource *source; /* what its code is made from */
} EmitPhase;
typedef struct EmitKernel {
    uint32_t         phases_count; /* 0: not compiled, its `same` kernel is */
    const EmitPhase *phases;
    LoopHash         hash; /* of its content */
} EmitKernel;
/* Which loops become one code when a plan is bound (flow_code.c). */
typedef enum EmitLoops { EMIT_LOOPS_WORTH_IT, EMIT_LOOPS_POSSIBLE, EMIT_LOOPS_NONE } EmitLoops;
typedef struct EmitModule {
    const Loops      *loops;
    Jit              *jit; /* for code that is made when a plan is bound */
    EmitLoops         whole;
    const EmitKernel *kernels; /* by KernelId row */
    uint32_t          functions, from_cache;
    uint64_t          build_us, optimise_us, generate_us; /* processor time */
} EmitModule;

/* Compiles all kernels of loops that are their own `same`. Results live in arena. */
MUST_USE Status emit_compile(Arena *arena, Jit *jit, Loops *loops, Workers *workers, Diags *diags,
                             EmitModule **out_module);

/* One kernel as it stands, on the caller's lane. */
MUST_USE Status emit_compile_kernel(Arena *arena, Jit *jit, Loops *loops, KernelId kernel,
                                    Diags *diags, EmitKernel *out_kernel);

uint32_t emit_phases(const Loops *loops, KernelId kernel); /* how many it has */
/* The text of one phase, for inspection. */
MUST_USE Status emit_text(Arena *out, Jit *jit, Loops *loops, KernelId kernel, uint32_t phase,
                          JitStage stage, Diags *diags, String *out_text);

/* How a phase is shared out at concrete values of the parameters: iterations of its parallel loop
 * (1 without), the least part worth taking, and a measure of all its work, in bytes touched. */
typedef struct EmitTurns {
    int64_t extent, grain, bytes;
} EmitTurns;
EmitTurns emit_turns(const Loops *loops, KernelId kernel, const EmitPhase *phase,
                     const int64_t *params);
/* A size at concrete values of a kernel's parameters, in order. */
int64_t emit_size(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params);
/* Its range over all values of loop variables; false where something else decides. */
bool emit_range(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params,
                DimRange *out);
/* Bytes of lane memory that a phase of the kernel may use. */
int64_t emit_lane_bytes(const Loops *loops, KernelId kernel, const int64_t *params);
int64_t emit_buffer_bytes(const Loops *loops, KernelId kernel, BufferId buffer,
                          const int64_t *params);

#endif
