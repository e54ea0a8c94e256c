/* What was found of NVIDIA's software and hardware, as lines for `stoa doctor`: which file each
 * library came from, in which version, and what each GPU is. */
#ifndef STOA_GPU_DOCTOR_H
#define STOA_GPU_DOCTOR_H

#include "gpu/gpu.h"

typedef struct GpuFinding {
    const char *key;   /* "cuDNN", "gpu 0" */
    String      value; /* "9.19.0, /usr/local/cuda/lib64/libcudnn.so.9" */
} GpuFinding;
enum { GPU_FINDINGS_MAX = GPU_LIBRARY_COUNT + 16 };

/* Opens every library and every GPU for a moment; about a second. Returns the number of lines. */
uint32_t gpu_findings(Arena *arena, GpuFinding out[GPU_FINDINGS_MAX]);

#endif
