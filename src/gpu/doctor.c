/* The lines of `stoa doctor` about GPUs: one a library with its version and place, or why it cannot
 * be used, and one a device. */
#include "gpu/doctor.h"

static String library_line(Arena *arena, GpuLibs *libs, GpuLibrary library, Diags *diags) {
    const GpuBinding *binding = &libs->bindings[library];
    diags_clear(diags);
    Status status = gpu_libs_need(libs, library, diags);
    if (status == STATUS_OK && binding->version > 0)
        return str_format(arena, "%s, %s", gpu_version_text(arena, binding->version).data,
                          binding->path.data);
    if (status == STATUS_OK) return binding->path;
    /* The row says what, why, and where it comes from. */
    String why = diags_str_get(diags, diags->rows.arg1[1]);
    String origin = diags_str_get(diags, diags->rows.arg2[1]);
    if (status == STATUS_NOT_FOUND) return str_format(arena, "absent: %.*s", STR_ARGS(origin));
    return str_format(arena, "unusable: %.*s", STR_ARGS(why));
}

static String device_line(Arena *arena, GpuLibs *libs, uint32_t ordinal, Diags *diags) {
    Gpu   *gpu;
    size_t free_bytes = 0, total = 0;
    diags_clear(diags);
    if (gpu_open(arena, libs, ordinal, diags, &gpu) != STATUS_OK)
        return str_format(arena, "unusable: %.*s",
                          STR_ARGS(diags_str_get(diags, diags->rows.arg1[1])));
    const GpuInfo *info = &gpu->info;
    (void)libs->fns.cuMemGetInfo_v2(&free_bytes, &total);
    String line = str_format(
        arena, "%s, %s, %u multiprocessors, %.1f GiB (%.1f free), %.2f TB/s, L2 %u MiB%s%s",
        info->name, info->arch, info->multiprocessors, (double)info->memory_bytes / (1 << 30),
        (double)free_bytes / (1 << 30), (double)info->bandwidth * 1e-12, info->l2_bytes >> 20,
        info->can_map ? "" : ", arenas cannot grow",
        info->conditions != GPU_CONDITIONS_HOST ? ", loops and branches decided by the device"
                                                : ", loops and branches decided by the host");
    gpu_close(gpu);
    return line;
}

static uint32_t find_all(Arena *arena, GpuLibs *libs, Diags *diags,
                         GpuFinding out[GPU_FINDINGS_MAX]) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < GPU_LIBRARY_COUNT; i++)
        out[n++] = (GpuFinding){gpu_library_title((GpuLibrary)i),
                                library_line(arena, libs, (GpuLibrary)i, diags)};
    uint32_t devices = gpu_count(libs);
    if (devices == 0) out[n++] = (GpuFinding){"gpu", STR("none")};
    for (uint32_t i = 0; i < devices && n < GPU_FINDINGS_MAX; i++)
        out[n++] =
            (GpuFinding){str_format(arena, "gpu %u", i).data, device_line(arena, libs, i, diags)};
    return n;
}

uint32_t gpu_findings(Arena *arena, GpuFinding out[GPU_FINDINGS_MAX]) {
    Diags     *diags = ARENA_NEW(arena, Diags);
    GpuLibs   *libs = gpu_libs_open(arena, STR(""));
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) { /* what is open here goes, then on to the caller's guard */
        ArenaFailure failure = arena_guard_failure();
        diags_close(diags);
        gpu_libs_close(libs);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    diags_open(diags, NULL);
    uint32_t n = find_all(arena, libs, diags, out);
    arena_guard_end(&guard);
    diags_close(diags);
    gpu_libs_close(libs);
    return n;
}
