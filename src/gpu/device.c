/* Opening a device: facts, primary context, and the oldest architecture that is taken.
 *
 * Machine code is made for the exact architecture; from Hopper on with the suffix `a`, which
 * unlocks the instructions of that generation (wgmma, setmaxnreg, TMA). */
#include "gpu/gpu.h"

enum { CAPABILITY_LEAST = 80 };

/* The only place that adds GPU_DEVICE. */
static Status refuse(uint32_t ordinal, Status status, String why, Diags *diags) {
    (void)diags_add(diags, DIAG_GPU_DEVICE, 0, ordinal, diags_str(diags, why), 0, 0);
    return status;
}

uint32_t gpu_count(GpuLibs *libs) {
    Scratch  scratch = scratch_begin(&libs->arena, 1);
    Diags   *diags = ARENA_NEW(scratch.arena, Diags);
    uint32_t count = 0;
    int      found = 0;
    diags_open(diags, NULL);
    if (gpu_libs_need(libs, GPU_LIBRARY_DRIVER, diags) == STATUS_OK && libs->fns.cuInit(0) == 0 &&
        libs->fns.cuDeviceGetCount(&found) == 0)
        count = (uint32_t)found;
    diags_close(diags);
    scratch_end(scratch);
    return count;
}

typedef struct Fact { /* a device attribute and the field that it fills */
    int      attribute;
    uint32_t offset;
} Fact;
static const Fact facts[] = {
    {ABI_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, offsetof(GpuInfo, major)},
    {ABI_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, offsetof(GpuInfo, minor)},
    {ABI_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, offsetof(GpuInfo, multiprocessors)},
    {ABI_CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
     offsetof(GpuInfo, threads_per_multiprocessor)},
    {ABI_CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
     offsetof(GpuInfo, registers_per_multiprocessor)},
    {ABI_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
     offsetof(GpuInfo, shared_bytes_per_block)},
    {ABI_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
     offsetof(GpuInfo, shared_bytes_per_multiprocessor)},
    {ABI_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, offsetof(GpuInfo, l2_bytes)},
    {ABI_CU_DEVICE_ATTRIBUTE_CLOCK_RATE, offsetof(GpuInfo, clock_khz)},
};

static GpuConditions conditions_of(const GpuLibs *libs, int driver) {
    bool some = libs->fns.cuGraphAddNode_v2 != NULL &&
                libs->fns.cuGraphConditionalHandleCreate != NULL && driver >= 120400;
    if (!some) return GPU_CONDITIONS_HOST;
    return driver >= 120800 ? GPU_CONDITIONS_ALL : GPU_CONDITIONS_LOOP;
}

static Status read_facts(Gpu *gpu, Diags *diags) {
    GpuInfo    *info = &gpu->info;
    GpuLibs    *libs = gpu->libs;
    const char *doing = "reading the facts of a GPU";
    int         clock_khz = 0, bus_bits = 0, can_map = 0;
    size_t      bytes = 0;
    Status      status = GPU_CALL(libs, diags, doing, cuDeviceGetName, info->name,
                                  (int)sizeof info->name - 1, gpu->device);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cuDeviceTotalMem_v2, &bytes, gpu->device);
    for (size_t i = 0; i < LENGTH(facts) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, doing, cuDeviceGetAttribute,
                          (int *)(void *)((char *)info + facts[i].offset), facts[i].attribute,
                          gpu->device);
    const struct {
        int attribute, *into;
    } more[] = {{ABI_CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, &clock_khz},
                {ABI_CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, &bus_bits},
                {ABI_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, &can_map}};
    for (size_t i = 0; i < LENGTH(more) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, doing, cuDeviceGetAttribute, more[i].into, more[i].attribute,
                          gpu->device);
    if (status != STATUS_OK) return status;
    info->memory_bytes = bytes;
    info->can_map = can_map != 0;
    info->bandwidth = (uint64_t)clock_khz * 1000 * 2 * (uint64_t)bus_bits / 8; /* two a clock */
    info->driver = libs->bindings[GPU_LIBRARY_DRIVER].version;
    info->conditions = conditions_of(libs, info->driver);
    Scratch scratch = scratch_begin(&gpu->arena, 1);
    String  arch = str_format(scratch.arena, "sm_%d%d%s", info->major, info->minor,
                             info->major >= 9 ? "a" : "");
    memcpy(info->arch, arch.data, arch.count < sizeof info->arch ? arch.count + 1 : 0);
    scratch_end(scratch);
    return STATUS_OK;
}

static Status check_facts(const Gpu *gpu, Diags *diags) {
    const GpuInfo *info = &gpu->info;
    if (info->major * 10 + info->minor >= CAPABILITY_LEAST) return STATUS_OK;
    Scratch scratch = scratch_begin(&gpu->arena, 1);
    Status  status = refuse(info->ordinal, STATUS_UNSUPPORTED,
                            str_format(scratch.arena, "%s has compute capability %d.%d", info->name,
                                       info->major, info->minor),
                            diags);
    scratch_end(scratch);
    return status;
}

/* Mapped memory comes in granules; without mapping the allocator's own alignment will do. */
static Status read_granule(Gpu *gpu, Diags *diags) {
    size_t    granule = 0;
    CuMemProp prop = {.type = ABI_CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {ABI_CU_MEM_LOCATION_TYPE_DEVICE, gpu->device}};
    gpu->granule = 2u << 20;
    if (!gpu->info.can_map) return STATUS_OK;
    Status status =
        GPU_CALL(gpu->libs, diags, "reading the facts of a GPU", cuMemGetAllocationGranularity,
                 &granule, &prop, ABI_CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    if (status == STATUS_OK && granule > 0) gpu->granule = granule;
    return status;
}

static Status open_device(Gpu *gpu, Diags *diags) {
    GpuLibs *libs = gpu->libs;
    int      count = 0;
    Status   status = gpu_libs_need(libs, GPU_LIBRARY_DRIVER, diags);
    if (status != STATUS_OK) return status;
    CuResult result = libs->fns.cuInit(0);
    if (result == ABI_CUDA_ERROR_NO_DEVICE)
        return refuse(gpu->info.ordinal, STATUS_NOT_FOUND, STR("this machine has no GPU"), diags);
    status = gpu_checked(libs, GPU_LIBRARY_DRIVER, result, "cuInit", "starting the driver", diags);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, "counting GPUs", cuDeviceGetCount, &count);
    if (status != STATUS_OK) return status;
    if (gpu->info.ordinal >= (uint32_t)count) {
        String why = count == 0 ? STR("this machine has no GPU, or CUDA_VISIBLE_DEVICES hides it")
                                : STR("this machine has fewer GPUs");
        return refuse(gpu->info.ordinal, STATUS_NOT_FOUND, why, diags);
    }
    status =
        GPU_CALL(libs, diags, "opening a GPU", cuDeviceGet, &gpu->device, (int)gpu->info.ordinal);
    if (status == STATUS_OK) status = read_facts(gpu, diags);
    if (status == STATUS_OK) status = check_facts(gpu, diags);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, "opening a GPU", cuDevicePrimaryCtxRetain, &gpu->context,
                          gpu->device);
    if (status == STATUS_OK) status = gpu_attach(gpu, diags);
    if (status == STATUS_OK) status = read_granule(gpu, diags);
    return status;
}

Status gpu_open(Arena *arena, GpuLibs *libs, uint32_t ordinal, Diags *diags, Gpu **out_gpu) {
    ASSERT(arena && libs);
    ASSERT(diags && out_gpu);
    Gpu *gpu = ARENA_NEW(arena, Gpu);
    *gpu = (Gpu){.libs = libs, .arena = arena, .info.ordinal = ordinal};
    uint64_t begin_ns = os_clock_ns();
    Status   status = open_device(gpu, diags);
    gpu_startup_end(libs->startup, GPU_PART_DEVICE, "", begin_ns);
    if (status != STATUS_OK) gpu_close(gpu);
    *out_gpu = status == STATUS_OK ? gpu : NULL;
    return status;
}

void gpu_close(Gpu *gpu) {
    if (gpu == NULL || gpu->context == NULL) return;
    ASSERT(gpu->arenas == NULL); /* device memory is closed before the device */
    (void)gpu->libs->fns.cuCtxSetCurrent(NULL);
    (void)gpu->libs->fns.cuDevicePrimaryCtxRelease_v2(gpu->device);
    gpu->context = NULL;
}

/* Operations a clock of one multiprocessor, from NVIDIA's white papers: dense products on tensor
 * cores; of f32 those of ordinary units. */
double gpu_peak_gflop_s(const GpuInfo *info, Dtype dtype, bool tf32) {
    static const struct {
        int   major, minor;
        short f8, half, tf32, f32, f64;
    } rows[] = {{8, 0, 0, 2048, 1024, 128, 128},
                {8, 6, 0, 512, 256, 256, 4},
                {8, 9, 2048, 1024, 512, 256, 4},
                {9, 0, 8192, 4096, 2048, 256, 256}};
    for (size_t i = 0; i < LENGTH(rows); i++) {
        if (rows[i].major != info->major || rows[i].minor != info->minor) continue;
        short rate = dtype == DTYPE_F8E4M3 || dtype == DTYPE_F8E5M2 ? rows[i].f8
                     : dtype_is_half(dtype)                         ? rows[i].half
                     : dtype == DTYPE_F32 ? (tf32 ? rows[i].tf32 : rows[i].f32)
                     : dtype == DTYPE_F64 ? rows[i].f64
                                          : (short)0;
        return (double)rate * info->multiprocessors * info->clock_khz * 1e-6;
    }
    return 0;
}

Status gpu_attach(Gpu *gpu, Diags *diags) {
    return GPU_CALL(gpu->libs, diags, "attaching a thread to a GPU", cuCtxSetCurrent, gpu->context);
}

Status gpu_sync(Gpu *gpu, Diags *diags) {
    return GPU_CALL(gpu->libs, diags, "waiting for a GPU", cuCtxSynchronize, );
}
