/* Kernels of a program on a GPU, or only through NVRTC where there is none.
 *
 * A CudaCheck compiles the loop tables of one program; cuda_kernel runs one of its kernels, as the
 * `run` of InterpLoops: operands go up, results are poisoned before and come back. Memory behind
 * each buffer must not change. */
#ifndef STOA_TESTS_CUDA_CHECK_H
#define STOA_TESTS_CUDA_CHECK_H

#include "compile_check.h"
#include "gpu/emit_inner.h"

enum { CUDA_CANARY = 256, CUDA_PHASES_MAX = 256 };

typedef struct Cuda { /* opened once a process */
    bool      opened, compiles, runs;
    Arena    *arena;
    GpuLibs  *libs;
    GpuCache  cache;
    Gpu      *gpu;
    GpuStream stream;
    GpuArena  memory;
    Diags     diags;
} Cuda;
typedef struct CudaCheck {
    Cuda          *cuda;
    GpuEmitModule *module;
    Arena         *arena;
    bool           skewed; /* operands and results begin at odd elements */
} CudaCheck;

static inline bool cuda_told(Cuda *cuda, Status status) {
    if (status == STATUS_OK) return true;
    String text = text_diags(cuda->arena, NULL, &cuda->diags);
    printf("\n%.*s", STR_ARGS(text));
    return false;
}
/* The NVRTC and the device of this process; `compiles` is false where there is no NVRTC. */
static inline Cuda *cuda_open(void) {
    static Cuda cuda;
    if (cuda.opened) return &cuda;
    cuda.opened = true;
    cuda.arena = arena_open("cuda", 0, 0);
    diags_open(&cuda.diags, NULL);
    cuda.libs = gpu_libs_open(cuda.arena, STR(""));
    cuda.cache = gpu_cache_open(cuda.arena, STR(""));
    cuda.compiles = gpu_libs_need(cuda.libs, GPU_LIBRARY_NVRTC, &cuda.diags) == STATUS_OK;
    cuda.runs = cuda.compiles && gpu_count(cuda.libs) > 0 &&
                cuda_told(&cuda, gpu_open(cuda.arena, cuda.libs, 0, &cuda.diags, &cuda.gpu)) &&
                cuda_told(&cuda, gpu_stream_open(cuda.gpu, &cuda.diags, &cuda.stream)) &&
                cuda_told(&cuda, gpu_arena_open(cuda.gpu, "check", 0, (uint64_t)1 << 32,
                                                &cuda.diags, &cuda.memory));
    return &cuda;
}
static inline bool cuda_check_open(CudaCheck *check, Loops *loops) {
    Cuda *cuda = cuda_open();
    *check = (CudaCheck){.cuda = cuda, .arena = arena_open("cuda check", 0, 0)};
    const char *arch = cuda->runs ? cuda->gpu->info.arch : "sm_90a";
    bool good = cuda_told(cuda, gpu_emit_compile(check->arena, cuda->libs, &cuda->cache, arch,
                                                 loops, 2, &cuda->diags, &check->module));
    if (good && cuda->runs) gpu_emit_load(check->module, cuda->gpu);
    return good;
}
static inline void cuda_check_close(CudaCheck *check) {
    gpu_emit_unload(check->module);
    arena_close(check->arena);
}

/* Bytes from the first element of an ARG buffer to the end of the last. */
static inline int64_t cuda_span(Loops *loops, KernelId kernel, BufferId buffer,
                                const int64_t *params) {
    int64_t last = 0;
    for (uint32_t i = 0; i < buffer_rank(loops, buffer); i++) {
        int64_t size = gpu_emit_size(loops, kernel,
                                     list_dim(loops, loops->buffers.dims[buffer.row], i), params);
        if (size == 0) return 0;
        last += (size - 1) * gpu_emit_size(loops, kernel, loops_stride(loops, buffer, i), params);
    }
    return (last + 1) * dtype_bytes((Dtype)loops->buffers.dtype[buffer.row]);
}
static inline CuPtr cuda_push(Cuda *cuda, int64_t bytes, int fill) {
    CuPtr    at = 0;
    uint64_t all = (uint64_t)bytes + 2 * CUDA_CANARY;
    if (!cuda_told(cuda, gpu_push(&cuda->memory, all, 256, &cuda->diags, &at)) ||
        !cuda_told(cuda, gpu_fill(cuda->stream, at, (uint8_t)fill, all, &cuda->diags)))
        return 0;
    return at + CUDA_CANARY;
}
static inline bool cuda_whole(Cuda *cuda, Arena *scratch, CuPtr at, int64_t bytes, int fill) {
    uint8_t *edge = arena_push(scratch, CUDA_CANARY, 1);
    for (int side = 0; side < 2; side++) {
        CuPtr from = side == 0 ? at - CUDA_CANARY : at + (CuPtr)bytes;
        if (gpu_copy_out(cuda->stream, edge, from, CUDA_CANARY, &cuda->diags) != STATUS_OK ||
            gpu_stream_sync(cuda->stream, &cuda->diags) != STATUS_OK)
            return false;
        for (int i = 0; i < CUDA_CANARY; i++)
            if (edge[i] != fill) return false;
    }
    return true;
}
static inline String cuda_kernel(Arena *out, const InterpKernel *run, void *context) {
    CudaCheck *check = context;
    Cuda      *cuda = check->cuda;
    Loops     *loops = (Loops *)(uintptr_t)run->loops;
    uint32_t   first = loops->kernels.buffers_first[run->kernel.row], launched = 0;
    uint32_t   count = loops->kernels.buffers_count[run->kernel.row];
    CuPtr      args[128] = {0}, work;
    GpuLaunch  launches[CUDA_PHASES_MAX];
    int64_t    spans[128] = {0};
    uint64_t   used = cuda->memory.used;
    bool       good = count <= 128;
    for (uint32_t i = 0; i < count && good; i++) {
        uint32_t row = first + i;
        if (loops->buffers.scope[row] != SCOPE_ARG) continue;
        spans[i] = cuda_span(loops, run->kernel, (BufferId){row}, run->params);
        uint32_t skew = check->skewed ? (loops->buffers.arg[row] * 3 + 1U) % 8 : 0;
        CuPtr    at = cuda_push(cuda, spans[i] + 64, loops->buffers.written[row] ? 0xFF : 0xC5);
        if (at != 0) at += skew * dtype_bytes((Dtype)loops->buffers.dtype[row]);
        args[loops->buffers.arg[row]] = at;
        good = at != 0;
        if (good && !loops->buffers.written[row] && spans[i] > 0)
            good = cuda_told(cuda, gpu_copy_in(cuda->stream, at, run->buffers[i],
                                               (uint64_t)spans[i], &cuda->diags));
    }
    int64_t bytes = (int64_t)gpu_emit_work_bytes(check->module, run->kernel, run->params);
    work = cuda_push(cuda, bytes, 0xFF);
    good = good && work != 0 &&
           cuda_told(cuda, gpu_emit_launches(check->module, run->kernel, run->params, args, work,
                                             out, &cuda->diags, launches, &launched));
    for (uint32_t i = 0; i < launched && good; i++)
        good = cuda_told(cuda, gpu_launch(cuda->stream, &launches[i], &cuda->diags));
    good = good && cuda_told(cuda, gpu_stream_sync(cuda->stream, &cuda->diags));
    bool whole = good && cuda_whole(cuda, out, work, bytes, 0xFF);
    for (uint32_t i = 0; i < count && good; i++) {
        uint32_t row = first + i;
        if (loops->buffers.scope[row] != SCOPE_ARG) continue;
        CuPtr at = args[loops->buffers.arg[row]];
        whole &= cuda_whole(cuda, out, at, spans[i], loops->buffers.written[row] ? 0xFF : 0xC5);
        if (loops->buffers.written[row] && spans[i] > 0)
            good = cuda_told(cuda, gpu_copy_out(cuda->stream, run->buffers[i], at,
                                                (uint64_t)spans[i], &cuda->diags));
    }
    good = good && cuda_told(cuda, gpu_stream_sync(cuda->stream, &cuda->diags));
    gpu_release(&cuda->memory, used);
    if (!good) return STR("the device refused");
    return whole ? (String){NULL, 0} : STR("memory around a buffer was written");
}

/* The kernels of the program at sizes, on the device. True where there is none. */
static inline bool cuda_check_run(Check *c, CudaCheck *check, const CheckSize *sizes) {
    InterpLoops device = {
        .loops = &c->runners[FORM_THREADS].loops, .run = cuda_kernel, .context = check};
    return !check->cuda->runs ||
           (check_expect(c, sizes) && check_form(c, "device:", FORM_THREADS, &device));
}

#endif
