/* Kernels from text to machine code: NVRTC, many kernels a module, modules in parallel, results
 * kept on disk.
 *
 * Text is header-free CUDA C++ with `extern "C" __global__` kernels; the result is code for one
 * architecture, never PTX that the driver would compile again. Measured (NVRTC 13.0): about 30 ms
 * of fixed cost a module, then 9 ms a small kernel, most of it in the assembler, so put many
 * kernels into a module. Compiling needs no GPU. */
#ifndef STOA_GPU_NVRTC_H
#define STOA_GPU_NVRTC_H

#include "arena/workers.h"
#include "gpu/cache.h"
#include "gpu/driver.h"

typedef struct GpuSource {
    const char *name; /* in messages: "module 3 of step" */
    String      text; /* terminated */
} GpuSource;
typedef struct GpuCompiled {
    uint32_t found, compiled; /* modules that were in the cache, and those that were not */
    uint64_t ns;              /* wall time of it all */
} GpuCompiled;

/* out_images[i]: the code of sources[i], in out. arch: "sm_90a" (GpuInfo.arch). workers: NULL for
 * the calling thread alone; else modules are compiled on its lanes. cache: NULL for none. Text that
 * does not compile adds GPU_KERNEL with the compiler's words, for each such module, and the status
 * is STATUS_INVALID. */
MUST_USE Status gpu_compile(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                            const GpuSource *sources, uint32_t count, Workers *workers,
                            Diags *diags, String *out_images, GpuCompiled *out_compiled);

#endif
