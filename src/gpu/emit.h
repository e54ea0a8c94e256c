/* From loop tables to CUDA: each phase of a kernel becomes one `__global__` function of its sizes.
 *
 * gpu_emit_compile needs no device; gpu_emit_load takes the code to one. gpu_emit_launches then
 * says, for concrete sizes and addresses, what to launch: phases of a kernel are consecutive
 * launches of a stream (or nodes of a graph), each after the one before.
 *
 * The text of a kernel does not hold how many threads work together on a row, how much of it they
 * keep, in registers or shared memory, whether vectors are aligned or indices fit into 32 bits:
 * these are settings (macros), chosen by sizes alone, so that results do not depend on the
 * device's load. What sizes known beforehand lead to is compiled at once; other settings when
 * they are first needed, through the same cache. */
#ifndef STOA_GPU_EMIT_H
#define STOA_GPU_EMIT_H

#include "gpu/gpu.h"
#include "gpu/nvrtc.h"
#include "tables/loops.h"

enum { GPU_EMIT_ALIGN = 256 }; /* bytes, of every WORK buffer */

typedef struct GpuEmitModule GpuEmitModule;

/* Whether the emitter knows an elementwise opcode, or loads and stores, of a dtype; for the
 * compiles_op of a target. */
bool gpu_emit_supports(Opcode opcode, Dtype dtype);

/* The CUDA C of one kernel, all its phases, as it is compiled with the settings for sizes that are
 * known; ends in a zero byte. */
String gpu_emit_text(Arena *out, Loops *loops, KernelId kernel);

/* Begins to compile all kernels of loops that are their own `same`, on `lanes` threads (1: nothing
 * happens before code is needed). The result lives in arena, which like libs, cache (NULL: none)
 * and loops outlives it: settings that are missing are compiled later. arch as in GpuInfo.arch.
 * What does not compile is told when it is needed. */
MUST_USE Status gpu_emit_begin(Arena *arena, GpuLibs *libs, GpuCache *cache, const char *arch,
                               Loops *loops, uint32_t lanes, Diags *diags,
                               GpuEmitModule **out_module);
/* Waits for all of it. */
MUST_USE Status gpu_emit_finish(GpuEmitModule *module, Diags *diags);
/* Both. Without a result nothing is left running. */
MUST_USE Status gpu_emit_compile(Arena *arena, GpuLibs *libs, GpuCache *cache, const char *arch,
                                 Loops *loops, uint32_t lanes, Diags *diags,
                                 GpuEmitModule **out_module);
/* The cache gets what is compiled by now, wanted or not. */
void gpu_emit_keep(GpuEmitModule *module, Diags *diags);
/* From now on for this device (of the architecture that it was compiled for): code is taken there
 * when it is first launched. */
void gpu_emit_load(GpuEmitModule *module, Gpu *gpu);
/* Before gpu_close, and always after gpu_emit_begin: stops the threads. NULL is allowed. */
void gpu_emit_unload(GpuEmitModule *module);

/* Most launches of a kernel: its phases. kernel need not be its own `same`. */
uint32_t gpu_emit_launches_max(const GpuEmitModule *module, KernelId kernel);
/* Bytes of the WORK memory of one launch of a kernel, alive from its first phase to its last;
 * params: values of the parameters of the kernel, in order. */
uint64_t gpu_emit_work_bytes(const GpuEmitModule *module, KernelId kernel, const int64_t *params);

/* The launches of a kernel (phases over nothing are left out), at most gpu_emit_launches_max rows
 * of out_launches; their arguments lie in out, so a caller that keeps the rows keeps them too.
 * args: the address of the first element of each operand, then of each result; those of views may
 * have any offset, and any alignment that their dtype needs. work: GPU_EMIT_ALIGN-aligned memory,
 * 0 if the kernel needs none. params are in the order of the kernel itself (not of its `same`;
 * these agree). Compiles and loads settings that were not needed before; else no call of the
 * device. About 2 us a phase. */
MUST_USE Status gpu_emit_launches(GpuEmitModule *module, KernelId kernel, const int64_t *params,
                                  const CuPtr *args, CuPtr work, Arena *out, Diags *diags,
                                  GpuLaunch *out_launches, uint32_t *out_count);

/* Kernels as functions of one block, which calls several one after another (a loop of small
 * kernels). The prelude comes first, once. */
void gpu_emit_prelude(Text *out, bool coherent); /* coherent: for functions of one block */
/* About how many elements a launch visits, all phases. */
double gpu_emit_elements(const GpuEmitModule *module, KernelId kernel, const int64_t *params);
typedef struct GpuEmitCall {
    KernelId       kernel;
    const int64_t *params;
    const CuPtr   *aligns;    /* by argument: every address that it will have is a multiple of the
                                 largest power of two in this, up to 256 */
    const String  *addresses; /* by argument: expressions of the caller */
    String         work;      /* the same of its work memory */
    uint32_t       threads;   /* of the block: 32, 256 or 512 */
    uint32_t       number;    /* makes names of functions its own */
} GpuEmitCall;
/* Adds the phases as functions, and calls of them with a barrier after each. Raises *shared_bytes
 * to what they need of dynamic shared memory, adds what they have of their own. */
void gpu_emit_call(const GpuEmitModule *module, const GpuEmitCall *call, Text *functions,
                   Text *calls, uint32_t *shared_bytes, uint32_t *static_bytes);

/* What compiling has taken so far. */
typedef struct GpuEmitStats {
    uint32_t functions; /* __global__ functions, all settings, each a module */
    uint32_t compiled;  /* those that were not in the cache */
    uint32_t late;      /* those compiled when they were launched */
    uint64_t ns;        /* of the calling thread: compiling, waiting, looking into the cache */
} GpuEmitStats;
GpuEmitStats gpu_emit_stats(const GpuEmitModule *module);

#endif
