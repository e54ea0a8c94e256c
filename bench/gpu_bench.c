/* Opening, random numbers, timing and checking for the GPU benchmarks. */
#include "bench/gpu_bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "text/messages.h"

/* A counter-based hash a number, twelve uniforms summed: close to a normal distribution, and every
 * element differs. type: 0 bf16, 1 f16, 2 f32, 3 e4m3, 4 f64. */
static const char COMMON[] =
    "typedef unsigned long long u64;\n"
    "__device__ unsigned mix(unsigned x) {\n"
    "    x ^= x >> 16; x *= 0x7feb352dU; x ^= x >> 15; x *= 0x846ca68bU; return x ^ x >> 16;\n"
    "}\n"
    "__device__ float normal(u64 i, unsigned seed) {\n"
    "    unsigned h = mix((unsigned)i ^ mix((unsigned)(i >> 32) + seed * 0x9e3779b9U));\n"
    "    float sum = 0;\n"
    "    for (int k = 0; k < 6; k++) {\n"
    "        h = mix(h + k);\n"
    "        sum += (h & 0xffff) * (1.0f / 65536) + (h >> 16) * (1.0f / 65536) - 1;\n"
    "    }\n"
    "    return sum;\n"
    "}\n"
    "struct Fill { u64 into, count; float scale; unsigned seed; int type; };\n"
    "extern \"C\" __global__ void fill_random(Fill p) {\n"
    "    for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < p.count;\n"
    "         i += (u64)gridDim.x * blockDim.x) {\n"
    "        float x = normal(i, p.seed) * p.scale;\n"
    "        unsigned bits = __float_as_uint(x);\n"
    "        unsigned short half;\n"
    "        if (p.type == 0)\n"
    "            ((unsigned short *)p.into)[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;\n"
    "        if (p.type == 1) {\n"
    "            asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(half) : \"f\"(x));\n"
    "            ((unsigned short *)p.into)[i] = half;\n"
    "        }\n"
    "        if (p.type == 2) ((float *)p.into)[i] = x;\n"
    "        if (p.type == 3) {\n"
    "            asm(\"cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;\" : \"=h\"(half)"
    " : \"f\"(0.0f), \"f\"(x));\n"
    "            ((unsigned char *)p.into)[i] = half;\n"
    "        }\n"
    "        if (p.type == 4) ((double *)p.into)[i] = x;\n"
    "    }\n"
    "}\n";
typedef struct FillArgs {
    uint64_t into, count;
    float    scale;
    uint32_t seed;
    int32_t  type;
} FillArgs;

void gpu_bench_must(GpuBench *b, Status status, const char *what) {
    if (status == STATUS_OK) return;
    String text = text_diags(b->arena, NULL, &b->diags);
    (void)fprintf(stderr, "%s: %.*s", what, (int)text.count, text.data);
    exit(1);
}

static void open_kernels(GpuBench *b, const char *const *sources) {
    String      image;
    GpuCompiled compiled;
    Text        text = text_begin(b->arena);
    text_add(&text, str_of(COMMON));
    for (; *sources != NULL; sources++) text_add(&text, str_of(*sources));
    GpuSource all = {"kernels of the benchmark", text_done(&text)};
    gpu_bench_must(b,
                   gpu_compile(b->arena, b->libs, &b->cache, b->gpu->info.arch, &all, 1, 1,
                               &b->diags, &image, &compiled),
                   "compile");
    gpu_bench_must(b, gpu_module_open(b->gpu, "benchmark", image, &b->diags, &b->module), "load");
    b->fill_random = gpu_bench_kernel(b, "fill_random");
}

bool gpu_bench_open(GpuBench *b, const char *suite, const char *const *sources, int argc,
                    char **argv, int *out_exit) {
    static ArenaGuard guard;
    *b = (GpuBench){.seed = (uint32_t)os_clock_ns()};
    if (!bench_open(&b->bench, suite, argc, argv, out_exit)) return false;
    b->arena = arena_open("benchmark", (size_t)8 << 30, 0);
    if (b->arena == NULL || !ARENA_GUARD(&guard)) {
        (void)fputs("the benchmark needs more memory of the host than it has, or than 8 GB\n",
                    stderr);
        exit(1);
    }
    diags_open(&b->diags, NULL);
    b->libs = gpu_libs_open(b->arena, STR(""));
    b->ahead = gpu_ahead_open(b->arena, b->libs);
    if (gpu_open(b->arena, b->libs, 0, &b->diags, &b->gpu) != STATUS_OK) {
        gpu_ahead_close(b->ahead);
        String text = text_diags(b->arena, NULL, &b->diags);
        gpu_bench_note(b, "skipped: %.*s", (int)text.count, text.data);
        *out_exit = 77;
        return false;
    }
    const GpuInfo *info = &b->gpu->info;
    gpu_ahead_device(b->ahead, b->gpu);
    gpu_bench_note(b, "# %s, %s, %u multiprocessors, driver %s, seed %u\n", info->name, info->arch,
                   info->multiprocessors, gpu_version_text(b->arena, info->driver).data, b->seed);
    b->cache = gpu_cache_open(b->arena, STR(""));
    gpu_bench_must(b, workers_open(b->arena, 0, false, &b->workers), "workers");
    gpu_bench_must(b, gpu_stream_open(b->gpu, &b->diags, &b->stream), "stream");
    gpu_bench_must(b, gpu_event_open(b->gpu, true, &b->diags, &b->start), "event");
    gpu_bench_must(b, gpu_event_open(b->gpu, true, &b->diags, &b->end), "event");
    gpu_bench_must(
        b, gpu_arena_open(b->gpu, "benchmark", 0, info->memory_bytes, &b->diags, &b->memory),
        "arena");
    open_kernels(b, sources);
    return true;
}

void gpu_bench_note(const GpuBench *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vfprintf(b->bench.json ? stderr : stdout, format, args);
    va_end(args);
}

int gpu_bench_close(GpuBench *b) {
    gpu_module_close(&b->module);
    gpu_arena_close(&b->memory);
    gpu_event_close(&b->start);
    gpu_event_close(&b->end);
    gpu_stream_close(&b->stream);
    gpu_ahead_close(b->ahead);
    gpu_close(b->gpu);
    gpu_libs_close(b->libs);
    workers_close(b->workers);
    return bench_close(&b->bench, 0);
}

CuPtr gpu_bench_take(GpuBench *b, uint64_t bytes) {
    CuPtr memory;
    gpu_bench_must(b, gpu_push(&b->memory, bytes, 256, &b->diags, &memory), "memory");
    return memory;
}

GpuKernel gpu_bench_kernel(GpuBench *b, const char *name) {
    GpuKernel kernel;
    gpu_bench_must(b, gpu_module_kernel(&b->module, name, &b->diags, &kernel), name);
    return kernel;
}

void gpu_bench_launch(GpuBench *b, GpuKernel kernel, uint32_t blocks, uint32_t threads,
                      const void *args, uint32_t args_bytes) {
    GpuLaunch launch = {.kernel = kernel,
                        .grid = {blocks, 1, 1},
                        .block = {threads, 1, 1},
                        .args = args,
                        .args_bytes = args_bytes};
    gpu_bench_must(b, gpu_launch(b->stream, &launch, &b->diags), kernel.name);
}

void gpu_bench_random(GpuBench *b, CuPtr into, Dtype dtype, uint64_t count, float scale) {
    int32_t type = dtype == DTYPE_BF16     ? 0
                   : dtype == DTYPE_F16    ? 1
                   : dtype == DTYPE_F32    ? 2
                   : dtype == DTYPE_F8E4M3 ? 3
                                           : 4;
    /* The sum of six pairs of uniforms has a deviation of one. */
    FillArgs args = {into, count, scale, ++b->seed, type};
    gpu_bench_launch(b, b->fill_random, 1024, 256, &args, sizeof args);
}

void *gpu_bench_read(GpuBench *b, CuPtr from, uint64_t bytes) {
    void *into = arena_push(b->arena, bytes, 16);
    gpu_bench_must(b, gpu_copy_out(b->stream, into, from, bytes, &b->diags), "read");
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), "read");
    return into;
}

double gpu_bench_number(Dtype dtype, const void *numbers, uint64_t i) {
    if (dtype == DTYPE_F32) return ((const float *)numbers)[i];
    if (dtype == DTYPE_F64) return ((const double *)numbers)[i];
    uint16_t bits = ((const uint16_t *)numbers)[i];
    return dtype == DTYPE_BF16 ? dtype_f32_of_bf16(bits) : dtype_f32_of_f16(bits);
}

GpuTimed gpu_bench_time(GpuBench *b, const char *name, uint32_t samples, uint32_t runs,
                        GpuRunFn *run, void *context, double flops, double bytes, double error) {
    BenchTimes times = {0};
    if (!bench_wants(&b->bench, name)) return (GpuTimed){0};
    samples = bench_samples(&b->bench, samples);
    for (uint32_t i = 0; i < 3; i++) gpu_bench_must(b, run(context, b->stream, &b->diags), name);
    for (uint32_t sample = 0; sample < samples; sample++) {
        float ms = 0;
        gpu_bench_must(b, gpu_event_record(b->start, b->stream, &b->diags), name);
        for (uint32_t i = 0; i < runs; i++)
            gpu_bench_must(b, run(context, b->stream, &b->diags), name);
        gpu_bench_must(b, gpu_event_record(b->end, b->stream, &b->diags), name);
        gpu_bench_must(b, gpu_event_sync(b->end, &b->diags), name);
        gpu_bench_must(b, gpu_event_ms(b->start, b->end, &b->diags, &ms), name);
        times.wall_ns[times.count++] = (uint64_t)((double)ms * 1e6 / runs);
    }
    uint64_t sorted[BENCH_SAMPLES_MAX];
    for (uint32_t i = 0; i < times.count; i++) {
        uint32_t k = i;
        for (; k > 0 && sorted[k - 1] > times.wall_ns[i]; k--) sorted[k] = sorted[k - 1];
        sorted[k] = times.wall_ns[i];
    }
    double      us = (double)sorted[times.count / 2] * 1e-3;
    BenchResult result = {.name = name,
                          .size = 0,
                          .times = &times,
                          .rows = 1e3,
                          .bytes = bytes,
                          .unit = "us",
                          .waits = true};
    uint32_t    n = 0;
    if (flops > 0) result.extras[n++] = (BenchExtra){"TFLOP/s", flops / us * 1e-6};
    if (bytes > 0) result.extras[n++] = (BenchExtra){"TB/s", bytes / us * 1e-6};
    if (error >= 0) result.extras[n++] = (BenchExtra){"error", error};
    bench_tell(&b->bench, &result);
    return (GpuTimed){us};
}

double gpu_bench_check(GpuBench *b, const char *name, const double *got, const double *want,
                       uint64_t count, double bound) {
    double difference = 0, size = 0;
    (void)b;
    for (uint64_t i = 0; i < count; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    double error = sqrt(difference / size);
    if (error < bound) return error;
    (void)fprintf(stderr, "%s: error %g, at most %g is allowed\n", name, error, bound);
    exit(1);
}
