/* What happens until the first step is done: a row for each library that is opened, module that is
 * compiled or loaded, algorithm that is measured, ..., with its times and the lane it ran on.
 *
 * One log a GpuLibs, written by any thread without locks; it costs two readings of the clock a row.
 * Rows of one lane nest or do not meet, so the time of a lane is the sum of what each row has for
 * itself (less the rows inside it) and of what no row names. */
#ifndef STOA_GPU_STARTUP_H
#define STOA_GPU_STARTUP_H

#include <stdatomic.h>

#include "arena/os.h"
#include "arena/str.h"

typedef enum GpuPart {
#define GPU_PART(NAME, title) GPU_PART_##NAME,
#include "gpu/startup.def"
    GPU_PART_COUNT
} GpuPart;

enum {
    GPU_STARTUP_ROWS = 2048,
    GPU_LANE_AHEAD = 255
}; /* later rows are dropped; the lane that
                                                           opens libraries before they are needed */
typedef struct GpuStartupRow {
    uint64_t         begin_ns;
    _Atomic uint64_t end_ns;     /* by os_clock_ns; 0: not written yet */
    const char      *which;      /* of its part; as long as the log */
    uint8_t          part, lane; /* lane 0: the thread of the GpuLibs */
} GpuStartupRow;
typedef struct GpuStartup {
    _Atomic uint32_t count; /* may pass GPU_STARTUP_ROWS */
    GpuStartupRow    rows[GPU_STARTUP_ROWS];
} GpuStartup;

const char *gpu_startup_title(GpuPart part);
/* A part that began at begin_ns (os_clock_ns) ends at end_ns. A NULL log is allowed. */
void gpu_startup_add(GpuStartup *startup, GpuPart part, const char *which, uint32_t lane,
                     uint64_t begin_ns, uint64_t end_ns);
static inline void gpu_startup_end(GpuStartup *startup, GpuPart part, const char *which,
                                   uint64_t begin_ns) {
    gpu_startup_add(startup, part, which, 0, begin_ns, os_clock_ns());
}
/* Rows that are written, all before the first that is not. */
uint32_t gpu_startup_count(const GpuStartup *startup);
/* Parts by their times between begin_ns and end_ns: what lane 0 spent on each alone, what it spent
 * on nothing named, and what other lanes did meanwhile. The first column adds up to the whole. */
String gpu_startup_text(Arena *out, const GpuStartup *startup, uint64_t begin_ns, uint64_t end_ns);

#endif
