/* cuBLASLt opened before it is needed, on a thread of its own: the file is mapped while the driver
 * makes a context, and what the library does at its first problem (0.1 s) while programs are
 * compiled. Whoever needs the handle waits for it. The thread shares nothing with the others but
 * the driver, and tells no failures: who opens the library then does. */
#ifndef STOA_GPU_AHEAD_H
#define STOA_GPU_AHEAD_H

#include "gpu/blaslt.h"

typedef struct GpuAhead GpuAhead;
/* Lives in arena until gpu_ahead_close, as do libs; without a thread it does nothing. */
GpuAhead *gpu_ahead_open(Arena *arena, const GpuLibs *libs);
void      gpu_ahead_device(GpuAhead *ahead, const Gpu *gpu); /* is there now; once */
/* The handle, once and after gpu_ahead_device; NULL: there is none. Waits. */
BlasLtHandle gpu_ahead_take(GpuAhead *ahead);
void         gpu_ahead_close(GpuAhead *ahead); /* before gpu_close; NULL is allowed */

#endif
