/* Device memory: arenas that grow in place, page-locked host memory, and the table that an
 * out-of-memory report shows.
 *
 * An arena reserves addresses once and maps physical memory to them in chunks, as the arenas of the
 * host do, so nothing that holds an address (a graph above all) is rebuilt when a larger plan needs
 * more. Running out is asked of the driver, which alone knows what others hold; a limit of our own
 * (Gpu.bytes_max) is checked first. The host row of a chunk outlives the arena by a little: it
 * lives as long as the Gpu. */
#include "gpu/gpu.h"

typedef struct GpuChunk {
    uint64_t         first, bytes; /* offset in the arena */
    struct GpuChunk *older;
} GpuChunk;

static uint64_t round_up(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

/* The only place that adds GPU_MEMORY: how much was asked for, and who holds what. */
static Status out_of_memory(const GpuArena *arena, uint64_t bytes, Diags *diags) {
    Gpu   *gpu = arena->gpu;
    size_t free_bytes = 0, total = 0;
    if (gpu->libs->fns.cuMemGetInfo_v2(&free_bytes, &total) != 0) free_bytes = 0;
    if (gpu->bytes_max != 0 && free_bytes > gpu->bytes_max - gpu->bytes)
        free_bytes = gpu->bytes_max - gpu->bytes;
    if (free_bytes > arena->bytes_max - arena->bytes) free_bytes = arena->bytes_max - arena->bytes;
    DiagId error = diags_add(diags, DIAG_GPU_MEMORY, 0, diags_str(diags, str_of(gpu->info.name)),
                             bytes, diags_str(diags, str_of(arena->name)), free_bytes);
    for (const GpuArena *open = gpu->arenas; open != NULL; open = open->next)
        diags_note(diags, error, DIAG_GPU_HELD, 0, diags_str(diags, str_of(open->name)),
                   open->bytes);
    if (total > free_bytes + gpu->bytes && gpu->bytes_max == 0)
        diags_note(diags, error, DIAG_GPU_HELD, 0,
                   diags_str(diags, STR("libraries and other programs")),
                   total - free_bytes - gpu->bytes);
    return STATUS_OUT_OF_MEMORY;
}

/* Maps `bytes` (granules) at the end of what is committed. */
static Status map_chunk(GpuArena *arena, uint64_t bytes, Diags *diags) {
    Gpu          *gpu = arena->gpu;
    GpuLibs      *libs = gpu->libs;
    const char   *doing = "growing an arena";
    CuPtr         at = arena->base + arena->bytes;
    CuMemLocation here = {ABI_CU_MEM_LOCATION_TYPE_DEVICE, gpu->device};
    CuMemProp     prop = {.type = ABI_CU_MEM_ALLOCATION_TYPE_PINNED, .location = here};
    CuMemAccess   access = {here, ABI_CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CuMemHandle   handle = 0;
    CuResult      result = libs->fns.cuMemCreate(&handle, bytes, &prop, 0);
    if (result == ABI_CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(arena, bytes, diags);
    Status status = gpu_checked(libs, GPU_LIBRARY_DRIVER, result, "cuMemCreate", doing, diags);
    if (status != STATUS_OK) return status;
    status = GPU_CALL(libs, diags, doing, cuMemMap, at, bytes, 0, handle, 0);
    /* The mapping keeps the memory; the handle is not needed again. */
    (void)libs->fns.cuMemRelease(handle);
    if (status != STATUS_OK) return status;
    status = GPU_CALL(libs, diags, doing, cuMemSetAccess, at, bytes, &access, 1);
    if (status != STATUS_OK) (void)libs->fns.cuMemUnmap(at, bytes);
    return status;
}

/* Without mapping: everything at once. */
static Status take_block(GpuArena *arena, uint64_t bytes, Diags *diags) {
    GpuLibs *libs = arena->gpu->libs;
    CuResult result = libs->fns.cuMemAlloc_v2(&arena->base, bytes);
    if (result == ABI_CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(arena, bytes, diags);
    return gpu_checked(libs, GPU_LIBRARY_DRIVER, result, "cuMemAlloc_v2", "opening an arena",
                       diags);
}

static Status commit(GpuArena *arena, uint64_t bytes, Diags *diags) {
    Gpu *gpu = arena->gpu;
    if (gpu->bytes_max != 0 && bytes > gpu->bytes_max - gpu->bytes)
        return out_of_memory(arena, bytes, diags);
    GpuChunk *chunk = ARENA_NEW(gpu->arena, GpuChunk);
    Status    status =
        gpu->info.can_map ? map_chunk(arena, bytes, diags) : take_block(arena, bytes, diags);
    if (status != STATUS_OK) return status;
    *chunk = (GpuChunk){arena->bytes, bytes, arena->chunks};
    arena->chunks = chunk;
    arena->bytes += bytes;
    gpu->bytes += bytes;
    if (gpu->bytes > gpu->bytes_peak) gpu->bytes_peak = gpu->bytes;
    return STATUS_OK;
}

Status gpu_arena_open(Gpu *gpu, const char *name, uint64_t bytes, uint64_t bytes_max, Diags *diags,
                      GpuArena *out_arena) {
    ASSERT(gpu && name);
    ASSERT(bytes <= bytes_max);
    *out_arena = (GpuArena){.gpu = gpu, .name = name};
    bytes_max = round_up(bytes_max > 0 ? bytes_max : 1, gpu->granule);
    if (!gpu->info.can_map) bytes_max = round_up(bytes > 0 ? bytes : 1, gpu->granule);
    out_arena->bytes_max = bytes_max;
    out_arena->next = gpu->arenas;
    gpu->arenas = out_arena;
    Status status = STATUS_OK;
    if (gpu->info.can_map)
        status = GPU_CALL(gpu->libs, diags, "reserving addresses of an arena", cuMemAddressReserve,
                          &out_arena->base, bytes_max, 0, 0, 0);
    else
        status = commit(out_arena, bytes_max, diags);
    if (status == STATUS_OK) status = gpu_arena_grow(out_arena, bytes, diags);
    if (status != STATUS_OK) gpu_arena_close(out_arena);
    return status;
}

Status gpu_arena_grow(GpuArena *arena, uint64_t bytes, Diags *diags) {
    ASSERT(arena->gpu);
    if (bytes <= arena->bytes) return STATUS_OK;
    uint64_t more = round_up(bytes - arena->bytes, arena->gpu->granule);
    if (more > arena->bytes_max - arena->bytes) return out_of_memory(arena, more, diags);
    return commit(arena, more, diags);
}

Status gpu_push(GpuArena *arena, uint64_t bytes, uint64_t align, Diags *diags, CuPtr *out_memory) {
    ASSERT(arena->gpu);
    ASSERT(align > 0 && (align & (align - 1)) == 0 && align <= arena->gpu->granule);
    *out_memory = 0;
    uint64_t first = round_up(arena->used, align);
    if (bytes > UINT64_MAX - first) return out_of_memory(arena, bytes, diags);
    if (first + bytes > arena->bytes) {
        uint64_t wish = arena->bytes + arena->bytes / 4; /* few chunks, however many pushes */
        if (wish > arena->bytes_max) wish = arena->bytes_max;
        Status status = gpu_arena_grow(arena, first + bytes > wish ? first + bytes : wish, diags);
        if (status != STATUS_OK) return status;
    }
    arena->used = first + bytes;
    if (arena->used > arena->used_peak) arena->used_peak = arena->used;
    *out_memory = arena->base + first;
    return STATUS_OK;
}

void gpu_release(GpuArena *arena, uint64_t used) {
    ASSERT(used <= arena->used);
    arena->used = used;
}

void gpu_arena_close(GpuArena *arena) {
    Gpu *gpu = arena->gpu;
    if (gpu == NULL) return;
    const GpuFns *fns = &gpu->libs->fns;
    if (arena->bytes > 0) (void)fns->cuCtxSynchronize();
    for (const GpuChunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        if (gpu->info.can_map) (void)fns->cuMemUnmap(arena->base + chunk->first, chunk->bytes);
    if (arena->base != 0 && gpu->info.can_map)
        (void)fns->cuMemAddressFree(arena->base, arena->bytes_max);
    else if (arena->base != 0)
        (void)fns->cuMemFree_v2(arena->base);
    gpu->bytes -= arena->bytes;
    for (GpuArena **at = &gpu->arenas; *at != NULL; at = &(*at)->next)
        if (*at == arena) {
            *at = arena->next;
            break;
        }
    *arena = (GpuArena){0};
}

String gpu_memory_text(Arena *out, const Gpu *gpu) {
    Text text = text_begin(out);
    text_addf(&text, "%-24s %12s %12s\n", "device memory, MiB", "committed", "peak used");
    for (const GpuArena *arena = gpu->arenas; arena != NULL; arena = arena->next)
        text_addf(&text, "%-24s %12.1f %12.1f\n", arena->name, (double)arena->bytes / (1 << 20),
                  (double)arena->used_peak / (1 << 20));
    text_addf(&text, "%-24s %12.1f\n%-24s %12.1f\n", "all arenas", (double)gpu->bytes / (1 << 20),
              "all arenas at the peak", (double)gpu->bytes_peak / (1 << 20));
    return text_done(&text);
}

Status gpu_host_open(Gpu *gpu, uint64_t bytes, Diags *diags, void **out_memory) {
    *out_memory = NULL;
    return GPU_CALL(gpu->libs, diags, "locking host memory", cuMemHostAlloc, out_memory, bytes,
                    ABI_CU_MEMHOSTALLOC_PORTABLE);
}

void gpu_host_close(Gpu *gpu, void *memory) {
    if (memory != NULL) (void)gpu->libs->fns.cuMemFreeHost(memory);
}
