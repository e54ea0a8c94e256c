/* Plans on a GPU: binds the launches of a plan to kernels and library calls, and replays them as
 * one CUDA graph.
 *
 * gpu_describe says what can be launched (systems decide with it). A GpuKit holds what all plans on
 * a device share: the libraries, compiled kernels of operators without a fused form, and one
 * workspace. gpu_bind prepares every launch of a plan once; gpu_run puts a step into a stream.
 * Everything runs in the order of the plan and sums in a fixed order: the same inputs give the same
 * bits. All of it belongs to the thread of the Gpu. */
#ifndef STOA_GPU_RUN_H
#define STOA_GPU_RUN_H

#include "gpu/ahead.h"
#include "gpu/cache.h"
#include "gpu/emit.h"
#include "gpu/profile.h"
#include "tables/plan.h"
#include "tables/target.h"

/* Fills the row of CUDA devices: which opcodes can be launched, which composites stay whole, view
 * needs. attention: whether 16-bit attention goes to cuDNN (gpu_kit_has_cudnn) or is spelled out.
 * Products of 8-bit floats, also by blocks (keep[OP_DOT_BIAS]), are those of 9.0. */
void gpu_describe(Target *out_target, bool attention);

typedef struct GpuKit GpuKit;
/* How loops run. */
typedef enum GpuLoops {
    GPU_LOOPS_AUTO,  /* by cost: as one kernel of one block, or as nodes of a graph */
    GPU_LOOPS_GRAPH, /* as nodes */
    GPU_LOOPS_BLOCK  /* in one block wherever that is possible (tests) */
} GpuLoops;
typedef struct GpuKitOptions {
    GpuCache *cache;  /* of machine code and measured choices; NULL: none. Outlives the kit */
    GpuAhead *ahead;  /* opens cuBLASLt; NULL: it is opened when it is needed. Outlives the kit */
    uint32_t  lanes;  /* threads that compile operators of a plan; 0: the caller */
    bool      tf32;   /* f32 products may round their operands to tf32: faster, 1e-3 */
    bool      tune;   /* the first run of a plan measures algorithms of its products, see gpu_run */
    bool      ranges; /* launches and graphs are ranges for profilers (profile.h) */

    GpuLoops loops;
    uint32_t written_nodes; /* a scan of at most so many kernels in all is written out, longer ones
                               are loops; 0: 1024 */
} GpuKitOptions;
/* Lives in arena until gpu_kit_close, before gpu_close. Libraries are opened when a plan first
 * needs them. */
MUST_USE Status gpu_kit_open(Arena *arena, Gpu *gpu, const GpuKitOptions *options, Diags *diags,
                             GpuKit **out_kit);
void            gpu_kit_close(GpuKit *kit); /* NULL is allowed */
/* Work of plans is tagged (gpu_plan_tag) in this profile from now on; NULL: no longer. Graphs that
 * were made before are made anew. */
void gpu_kit_watch(GpuKit *kit, GpuProfile *profile);
/* Whether cuDNN is here and usable; adds no rows. About 1 s where it is, the first time. */
bool gpu_kit_has_cudnn(GpuKit *kit);

typedef struct GpuPlan GpuPlan;
/* Binds each launch; what it needs lives in arena (which must have a guard, like every push) and
 * in the kit. plan, module (kernels of plan->loops, loaded; NULL: there are none) and kit outlive
 * the result. A launch whose operator, dtypes or geometry have no kernel adds GPU_NO_KERNEL, and
 * the status is STATUS_UNSUPPORTED. Compiles kernels that no plan needed before (30 ms and 10 ms a
 * kernel; from the cache 1 ms), waits for the device if the workspace must grow. */
MUST_USE Status gpu_bind(Arena *arena, const Plan *plan, GpuEmitModule *module, GpuKit *kit,
                         Diags *diags, GpuPlan **out_gpu);
/* The same for some launches, as they stand alone (late.h). Products are not measured, since sizes
 * come and go. */
MUST_USE Status gpu_bind_part(Arena *arena, const Plan *plan, Span part, GpuEmitModule *module,
                              GpuKit *kit, Diags *diags, GpuPlan **out_gpu);
void            gpu_plan_close(GpuPlan *gpu); /* before kit and arena; NULL is allowed */

/* Puts one run of the plan into the stream; slots[i]: the device address of plan slot i (256-byte
 * aligned; constants too: the caller uploads them). A run on other addresses than the last one
 * launches one by one (4 us a launch, 20 us a product; it waits at asserts; the first one with
 * GpuKitOptions.tune measures products on their real operands); the next on the same addresses
 * makes a graph, which later ones replay (10 us on the host). A plan with control flow is always
 * run as a graph, made anew for other addresses; where the driver has no conditional nodes the call
 * waits for the device at each decision (GpuInfo.conditions). So keep addresses. Runs of plans of
 * one kit must not overlap: they share the workspace. */
MUST_USE Status gpu_run(GpuPlan *gpu, const CuPtr *slots, GpuStream stream, Diags *diags);
/* The launch whose assert stopped the last run (nothing after it ran, no assignment neither), 0 if
 * none did. Waits for the stream if the plan has asserts, else returns at once. */
MUST_USE Status gpu_run_failed(GpuPlan *gpu, GpuStream stream, Diags *diags, uint32_t *out_launch);

/* What print rows said since the last call goes to diags->print, in the order of the program (after
 * an assert that failed: what came before it). The log of a plan holds what a pass without loops
 * prints and 1 MiB more (256 MiB at most); PRINTS_LOST says how many lines there were beyond it.
 * Waits for the stream if the plan prints, else returns at once. Needs a guard. */
MUST_USE Status gpu_run_printed(GpuPlan *gpu, GpuStream stream, Diags *diags);

/* For reports. */
typedef struct GpuPlanStats {
    uint32_t launches, products;       /* of the plan: all, through cuBLASLt */
    uint32_t attentions, convolutions; /* through cuDNN, or attention of our own */
    uint32_t nodes;                    /* kernels and copies that one run launches */
    uint32_t graphs;                   /* made so far */
    uint32_t conditions, loops;        /* nodes of the last graph with one; WHILE nodes */
    uint32_t blocks;                   /* loops that are one kernel */
    uint64_t workspace_bytes;          /* that this plan needs */
    uint64_t host_bytes;               /* of copies on the host, likewise, page-locked */
} GpuPlanStats;
GpuPlanStats gpu_plan_stats(const GpuPlan *gpu);
/* The tag of a launch of a plan: no other plan of the kit has it, and it is not 0. */
uint64_t gpu_plan_tag(const GpuPlan *gpu, uint32_t launch);
/* The launch that has a tag; 0: it is not of this plan. */
uint32_t gpu_plan_tagged(const GpuPlan *gpu, uint64_t tag);
/* Runs each launch alone on these slots between events: microseconds by launch row (out_us: as many
 * as the plan has rows). For profiles; takes the median of `rounds` after one run to warm up. What
 * is inside loops runs on their first rows. */
MUST_USE Status gpu_plan_profile(GpuPlan *gpu, const CuPtr *slots, GpuStream stream,
                                 uint32_t rounds, Diags *diags, double *out_us);

#endif
