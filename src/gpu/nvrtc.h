/* Kernels from text to machine code: NVRTC, modules in parallel, results kept on disk.
 *
 * Text is header-free CUDA C++ with `extern "C" __global__` kernels; the result is code for one
 * architecture, never PTX that the driver would compile again. Measured (NVRTC 13.0): about 30 ms
 * of fixed cost a module, then 9 ms a small kernel and up to a second a large one, most of it in
 * the assembler. Compiling needs no GPU. */
#ifndef STOA_GPU_NVRTC_H
#define STOA_GPU_NVRTC_H

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

/* Begins to compile on at most `lanes` threads of its own (1: nothing happens before it is taken)
 * what is not in the cache (NULL: none). arch: "sm_90a" (GpuInfo.arch). Sources and their texts
 * outlive the result, which lives in out, with the code; no other thread may push there. */
typedef struct GpuCompiling GpuCompiling;
MUST_USE Status gpu_compile_begin(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                                  const GpuSource *sources, uint32_t count, uint32_t lanes,
                                  Diags *diags, GpuCompiling **out_compiling);
/* The code of a source, in out: waits for it. Text that does not compile adds GPU_KERNEL with the
 * compiler's words, the first time it is taken, and the status is STATUS_INVALID. */
MUST_USE Status gpu_compile_take(GpuCompiling *compiling, uint32_t source, Diags *diags,
                                 String *out_image);
/* Takes what is compiled by now, so that the cache has it. */
void gpu_compile_keep(GpuCompiling *compiling, Diags *diags);
/* Sources that were not in the cache. */
uint32_t gpu_compile_missing(const GpuCompiling *compiling);
/* Waits for the modules in work, drops those that nobody took. Always called. NULL is allowed. */
void gpu_compile_close(GpuCompiling *compiling);
/* All of that: out_images[i] is the code of sources[i]; GPU_KERNEL for each that does not
 * compile. */
MUST_USE Status gpu_compile(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                            const GpuSource *sources, uint32_t count, uint32_t lanes, Diags *diags,
                            String *out_images, GpuCompiled *out_compiled);

#endif
