/* What the device did while a profile was open: kernels, copies, fills and calls of the driver,
 * each with its times, its stream, and what the host said it was for.
 *
 * The source is CUPTI. Kernels of a graph are told one by one; what they are for is the tag that
 * was set when their node was recorded. CUPTI knows one profile in a process, and none while a tool
 * such as Nsight Systems holds it: gpu_profile_open then says so.
 *
 * Ranges (NVTX) are for such tools; they cost a call each. */
#ifndef STOA_GPU_PROFILE_H
#define STOA_GPU_PROFILE_H

#include "gpu/driver.h"

typedef enum GpuWorkKind {
    GPU_WORK_KERNEL,
    GPU_WORK_COPY,
    GPU_WORK_FILL,
    GPU_WORK_CALL
} GpuWorkKind;
typedef struct GpuWork {
    uint64_t    start_ns, end_ns; /* by os_clock_ns, as exact as the two clocks agree: 1 us */
    uint64_t    tag;              /* of gpu_profile_tag; 0: none */
    uint64_t    bytes;            /* of copies and fills */
    const char *name;             /* of the kernel or the call; as long as the profile */
    uint32_t    stream;           /* CUPTI's number of it; of calls 0 */
    uint32_t    correlation;      /* of a call and what it launched */
    GpuWorkKind kind;
    bool        graph; /* a node of a graph, whose launches have one correlation each */
} GpuWork;
typedef struct GpuWorkList {
    const GpuWork *works; /* by start */
    uint32_t       count;
} GpuWorkList;

typedef struct GpuProfile GpuProfile;
/* Begins recording. Lives in arena until it is closed. GPU_LIBRARY or GPU_CALL says why not. */
MUST_USE Status gpu_profile_open(Arena *arena, GpuLibs *libs, Diags *diags,
                                 GpuProfile **out_profile);
void            gpu_profile_close(GpuProfile *profile); /* NULL is allowed */
/* What this thread launches or records into a graph from now on is for `tag`; 0: for nothing
 * known. The upper half of a tag names a graph of launches; a tag without a lower half is that
 * graph itself: set while it is launched. A NULL profile is allowed. */
void gpu_profile_tag(GpuProfile *profile, uint64_t tag);
/* The nodes of this graph are recorded anew, in the order in which they first run. */
void gpu_profile_record(GpuProfile *profile, uint64_t graph);
/* What was done since the last call, as far as the device has done it: synchronise first. Lives
 * until the next call. About 0.2 us a row. */
MUST_USE Status gpu_profile_collect(GpuProfile *profile, Diags *diags, GpuWorkList *out_list);
/* Memory for records runs low: collect soon, or some are lost. */
bool     gpu_profile_is_filling(const GpuProfile *profile);
uint64_t gpu_profile_lost(const GpuProfile *profile); /* records that found no memory so far */

/* What the calling thread does until the next pop goes by this name in profilers. */
MUST_USE Status    gpu_range_need(GpuLibs *libs, Diags *diags);
static inline void gpu_range_push(const GpuLibs *libs, const char *name) {
    (void)libs->fns.nvtxRangePushA(name);
}
static inline void gpu_range_pop(const GpuLibs *libs) { (void)libs->fns.nvtxRangePop(); }

#endif
