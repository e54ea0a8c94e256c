/* Shared by the GPU benchmarks: the device, memory with random numbers in it, times by events, and
 * checks against a reference.
 *
 * A measured series is warmed up, its samples are event times of a batch of runs, and before it the
 * result is compared with the reference: the error (norm of the difference over the norm of the
 * reference) is printed beside the time, and one above the bound ends the program with status 1. */
#ifndef STOA_BENCH_GPU_BENCH_H
#define STOA_BENCH_GPU_BENCH_H

#include "arena/workers.h"
#include "bench/bench.h"
#include "gpu/ahead.h"
#include "gpu/nvrtc.h"
#include "tables/dtypes.h"

typedef struct GpuBench {
    Bench     bench;
    Arena    *arena;
    GpuLibs  *libs;
    Gpu      *gpu;
    GpuAhead *ahead; /* of cuBLASLt */
    Workers  *workers;
    Diags     diags;
    GpuCache  cache;
    GpuArena  memory;
    GpuStream stream;
    GpuEvent  start, end;
    GpuModule module;
    GpuKernel fill_random;
    uint32_t  seed;
} GpuBench;

/* False when the program should end with *out_exit: an option, or no GPU (77, with the reason).
 * sources: further kernels of the benchmark, NULL at the end. */
bool gpu_bench_open(GpuBench *b, const char *suite, const char *const *sources, int argc,
                    char **argv, int *out_exit);
/* Tells what changed, if that was asked for, and gives the exit status of the program. */
int gpu_bench_close(GpuBench *b);
/* A line beside the results: on stderr when those are JSON. */
void gpu_bench_note(const GpuBench *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Ends the program with the diagnostics unless status is STATUS_OK. */
void gpu_bench_must(GpuBench *b, Status status, const char *what);

CuPtr     gpu_bench_take(GpuBench *b, uint64_t bytes);
GpuKernel gpu_bench_kernel(GpuBench *b, const char *name);
/* Numbers of about the normal distribution times scale; never the same twice. */
void   gpu_bench_random(GpuBench *b, CuPtr into, Dtype dtype, uint64_t count, float scale);
void   gpu_bench_launch(GpuBench *b, GpuKernel kernel, uint32_t blocks, uint32_t threads,
                        const void *args, uint32_t args_bytes);
void  *gpu_bench_read(GpuBench *b, CuPtr from, uint64_t bytes); /* waits; lives in the arena */
double gpu_bench_number(Dtype dtype, const void *numbers, uint64_t i); /* one element */

/* What is measured: puts one run into the stream. */
typedef Status GpuRunFn(void *context, GpuStream stream, Diags *diags);
typedef struct GpuTimed {
    double median_us;
} GpuTimed;
/* Times `samples` batches of `runs` runs; prints median, flops and bytes a second, and error. */
GpuTimed gpu_bench_time(GpuBench *b, const char *name, uint32_t samples, uint32_t runs,
                        GpuRunFn *run, void *context, double flops, double bytes, double error);
/* The relative error, which must stay below bound (not a number fails). */
double gpu_bench_check(GpuBench *b, const char *name, const double *got, const double *want,
                       uint64_t count, double bound);

#endif
