/* The thread that opens cuBLASLt. It has functions, a device row and memory of its own; the caller
 * waits for its end before it looks at what it made. */
#include "gpu/ahead.h"

#include <stdatomic.h>

typedef enum AheadStage { AHEAD_FILES, AHEAD_DEVICE, AHEAD_ENDS } AheadStage;
struct GpuAhead {
    GpuStartup      *startup;
    Arena           *memory;
    GpuLibs          libs;
    Gpu              gpu; /* from AHEAD_DEVICE on */
    Diags            diags;
    GpuBlas          blas;
    _Atomic uint32_t stage; /* AheadStage, by the caller */
    OsThread         thread;
    bool             runs; /* not joined yet */
};

static void first_problem(GpuAhead *ahead) {
    uint64_t      begin_ns = os_clock_ns();
    GpuMatmulPlan plan;
    GpuMatmul some = {.m = 64, .n = 64, .k = 64, .a = DTYPE_BF16, .b = DTYPE_BF16, .d = DTYPE_BF16};
    Status    status = gpu_matmul_plan(&ahead->blas, &some, &ahead->diags, &plan);
    (void)status; /* old devices have none: nothing is lost */
    gpu_startup_add(ahead->startup, GPU_PART_CHOOSE, "the first", GPU_LANE_AHEAD, begin_ns,
                    os_clock_ns());
}
static void open_all(GpuAhead *ahead) {
    uint64_t begin_ns = os_clock_ns();
    Status   status = gpu_libs_need(&ahead->libs, GPU_LIBRARY_BLASLT, &ahead->diags);
    gpu_startup_add(ahead->startup, GPU_PART_OPEN, "cuBLASLt", GPU_LANE_AHEAD, begin_ns,
                    os_clock_ns());
    while (atomic_load(&ahead->stage) == AHEAD_FILES) os_wait(&ahead->stage, AHEAD_FILES);
    if (status != STATUS_OK || atomic_load(&ahead->stage) == AHEAD_ENDS) return;
    begin_ns = os_clock_ns();
    status = gpu_attach(&ahead->gpu, &ahead->diags);
    if (status == STATUS_OK) status = gpu_blas_open(&ahead->gpu, NULL, &ahead->diags, &ahead->blas);
    gpu_startup_add(ahead->startup, GPU_PART_HANDLE, "cuBLASLt", GPU_LANE_AHEAD, begin_ns,
                    os_clock_ns());
    if (status == STATUS_OK) first_problem(ahead);
}
static void run(void *context) {
    GpuAhead  *ahead = context;
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        open_all(ahead);
        arena_guard_end(&guard);
    }
    scratch_close_thread();
}

GpuAhead *gpu_ahead_open(Arena *arena, const GpuLibs *libs) {
    GpuAhead *ahead = ARENA_NEW(arena, GpuAhead);
    memset(ahead, 0, sizeof *ahead);
    ahead->startup = libs->startup;
    ahead->memory = arena_open("libraries opened ahead", (size_t)1 << 26, 0);
    if (ahead->memory == NULL) return ahead;
    diags_open(&ahead->diags, NULL);
    ahead->libs = (GpuLibs){
        .arena = ahead->memory, .folders = libs->folders, .folders_count = libs->folders_count};
    ahead->runs = os_thread_start(&ahead->thread, run, ahead, "stoa-ahead") == 0;
    return ahead;
}
static void move_on(GpuAhead *ahead, AheadStage stage) {
    atomic_store(&ahead->stage, (uint32_t)stage);
    os_wake(&ahead->stage);
}
void gpu_ahead_device(GpuAhead *ahead, const Gpu *gpu) {
    if (ahead == NULL) return;
    ahead->gpu = *gpu;
    ahead->gpu.libs = &ahead->libs;
    ahead->gpu.arena = ahead->memory;
    ahead->libs.fns.cuCtxSetCurrent = gpu->libs->fns.cuCtxSetCurrent;
    move_on(ahead, AHEAD_DEVICE);
}
static void join(GpuAhead *ahead) {
    if (ahead->runs) os_thread_join(ahead->thread);
    ahead->runs = false;
}
BlasLtHandle gpu_ahead_take(GpuAhead *ahead) {
    uint64_t begin_ns = os_clock_ns();
    join(ahead);
    gpu_startup_end(ahead->startup, GPU_PART_WAIT, "cuBLASLt", begin_ns);
    BlasLtHandle handle = ahead->blas.handle;
    ahead->blas.handle = NULL;
    return handle;
}
void gpu_ahead_close(GpuAhead *ahead) {
    if (ahead == NULL || ahead->memory == NULL) return;
    move_on(ahead, AHEAD_ENDS);
    join(ahead);
    gpu_blas_close(&ahead->blas);
    gpu_libs_close(&ahead->libs);
    diags_close(&ahead->diags);
    arena_close(ahead->memory);
    ahead->memory = NULL;
}
