/* Compiling modules. The calling thread looks into the cache and takes results; lanes only compile,
 * taking the next module that is not yet taken, so that nothing is allocated or reported by them:
 * a program of NVRTC holds its log and its code until it is destroyed. */
#include "gpu/nvrtc.h"

#include <stdatomic.h>

#include "arena/os.h"

typedef struct Job {
    const GpuSource *source;
    uint32_t         index; /* of the source */
    GpuKey           key;
    NvrtcProgram     program;
    NvrtcResult      result;
    const char      *call; /* that gave the result */
} Job;
typedef struct Jobs {
    const GpuFns      *fns;
    Job               *rows;
    uint32_t           count;
    _Atomic uint32_t   next;
    const char *const *options;
    int                options_count;
} Jobs;

static void compile_next(void *context, uint32_t lane, uint32_t lanes) {
    Jobs *jobs = context;
    (void)lane;
    (void)lanes;
    for (;;) {
        uint32_t at = atomic_fetch_add_explicit(&jobs->next, 1, memory_order_relaxed);
        if (at >= jobs->count) return;
        Job *job = &jobs->rows[at];
        job->call = "nvrtcCreateProgram";
        job->result = jobs->fns->nvrtcCreateProgram(&job->program, job->source->text.data,
                                                    job->source->name, 0, NULL, NULL);
        if (job->result != ABI_NVRTC_SUCCESS) continue;
        job->call = "nvrtcCompileProgram";
        job->result =
            jobs->fns->nvrtcCompileProgram(job->program, jobs->options_count, jobs->options);
    }
}

/* The only place that adds GPU_KERNEL: the compiler's words, as far as a row holds them. */
static Status report_log(GpuLibs *libs, const Job *job, Diags *diags) {
    size_t  bytes = 0;
    Scratch scratch = scratch_begin(NULL, 0);
    String  words = STR("no log");
    if (libs->fns.nvrtcGetProgramLogSize(job->program, &bytes) == 0 && bytes > 1) {
        char *log = arena_push(scratch.arena, bytes, 1);
        if (libs->fns.nvrtcGetProgramLog(job->program, log) == 0) words = (String){log, bytes - 1};
    }
    while (words.count > 0 && words.data[words.count - 1] == '\n') words.count--;
    (void)diags_add(diags, DIAG_GPU_KERNEL, 0, diags_str(diags, str_of(job->source->name)),
                    diags_str(diags, words), 0, 0);
    scratch_end(scratch);
    return STATUS_INVALID;
}

static Status take_image(Arena *out, GpuLibs *libs, const Job *job, Diags *diags,
                         String *out_image) {
    size_t bytes = 0;
    if (job->result == ABI_NVRTC_ERROR_COMPILATION) return report_log(libs, job, diags);
    Status status =
        gpu_checked(libs, GPU_LIBRARY_NVRTC, job->result, job->call, job->source->name, diags);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, job->source->name, nvrtcGetCUBINSize, job->program, &bytes);
    if (status != STATUS_OK) return status;
    char *image = arena_push(out, bytes, 16);
    *out_image = (String){image, bytes};
    return GPU_CALL(libs, diags, job->source->name, nvrtcGetCUBIN, job->program, image);
}

/* Looks each source up; those that are not there become jobs. */
static uint32_t find_known(Arena *out, const GpuCache *cache, const String parts[3],
                           const GpuSource *sources, uint32_t count, String *out_images,
                           Job *jobs) {
    uint32_t jobs_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        String all[4] = {parts[0], parts[1], parts[2], sources[i].text};
        GpuKey key = gpu_cache_key(all, LENGTH(all));
        ASSERT(sources[i].text.data[sources[i].text.count] == 0);
        if (gpu_cache_find(cache, out, "cubin", key, &out_images[i])) continue;
        jobs[jobs_count++] = (Job){.source = &sources[i], .index = i, .key = key};
    }
    return jobs_count;
}

Status gpu_compile(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                   const GpuSource *sources, uint32_t count, Workers *workers, Diags *diags,
                   String *out_images, GpuCompiled *out_compiled) {
    ASSERT(out && libs);
    ASSERT(sources || count == 0);
    uint64_t start = os_clock_ns();
    *out_compiled = (GpuCompiled){0};
    Status status = gpu_libs_need(libs, GPU_LIBRARY_NVRTC, diags);
    if (status != STATUS_OK) return status;

    Scratch     scratch = scratch_begin(&out, 1);
    const char *options[] = {
        str_format(scratch.arena, "--gpu-architecture=%s", arch).data,
        "--std=c++17",
        "--minimal", /* no texture and runtime declarations: a tenth of the front end's time */
        "--no-source-include",
    };
    String parts[3] = {gpu_version_text(scratch.arena, libs->bindings[GPU_LIBRARY_NVRTC].version),
                       str_of(arch), STR("c++17 minimal")};
    Job   *rows = ARENA_ARRAY(scratch.arena, Job, count);
    Jobs   jobs = {.fns = &libs->fns, .rows = rows, .options = options};
    jobs.options_count = (int)LENGTH(options);
    jobs.count = find_known(out, cache, parts, sources, count, out_images, rows);
    if (workers != NULL && jobs.count > 1)
        workers_run(workers, compile_next, &jobs);
    else
        compile_next(&jobs, 0, 1);
    for (uint32_t i = 0; i < jobs.count; i++) {
        Job   *job = &rows[i];
        Status one = take_image(out, libs, job, diags, &out_images[job->index]);
        if (one == STATUS_OK)
            gpu_cache_put(cache, "cubin", job->key, out_images[job->index], diags);
        else if (status == STATUS_OK)
            status = one;
        if (job->program != NULL) (void)libs->fns.nvrtcDestroyProgram(&job->program);
    }
    *out_compiled = (GpuCompiled){count - jobs.count, jobs.count, os_clock_ns() - start};
    scratch_end(scratch);
    return status;
}
