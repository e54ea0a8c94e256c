/* Compiling modules. The calling thread looks into the cache and takes results; threads only
 * compile, the longest texts first, so that nothing is allocated or reported by them: a program of
 * NVRTC holds its log and its code until it is destroyed. A module that is wanted before a thread
 * has come to it is compiled by the one who wants it. */
#include "gpu/nvrtc.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "arena/os.h"

enum { THREADS_MAX = 64 };
typedef enum JobState { JOB_WAITS, JOB_TAKEN, JOB_DONE } JobState;

typedef struct Job {
    const GpuSource *source;
    GpuKey           key;
    NvrtcProgram     program;
    NvrtcResult      result;
    const char      *call;  /* that gave the result */
    _Atomic uint32_t state; /* JobState; DONE: the four above are written */
    bool             failed;
    String           image; /* once it is known */
} Job;
struct GpuCompiling {
    GpuLibs         *libs;
    GpuCache        *cache;
    Arena           *out;
    Job             *rows;  /* by source */
    uint32_t        *order; /* of those that were not in the cache */
    uint32_t         missing;
    _Atomic uint32_t next, lane; /* of order; numbers of threads */
    _Atomic bool     stops;
    OsThread         threads[THREADS_MAX];
    uint32_t         threads_count;
    const char      *options[4];
};

static void compile(GpuCompiling *c, Job *job, uint32_t lane) {
    const GpuFns *fns = &c->libs->fns;
    uint64_t      begin_ns = os_clock_ns();
    job->call = "nvrtcCreateProgram";
    job->result = fns->nvrtcCreateProgram(&job->program, job->source->text.data, job->source->name,
                                          0, NULL, NULL);
    if (job->result == ABI_NVRTC_SUCCESS) {
        job->call = "nvrtcCompileProgram";
        job->result = fns->nvrtcCompileProgram(job->program, (int)LENGTH(c->options), c->options);
    }
    gpu_startup_add(c->libs->startup, GPU_PART_COMPILE, job->source->name, lane, begin_ns,
                    os_clock_ns());
    atomic_store_explicit(&job->state, JOB_DONE, memory_order_release);
    os_wake(&job->state);
}
static bool take(Job *job) {
    uint32_t waits = JOB_WAITS;
    return atomic_compare_exchange_strong(&job->state, &waits, JOB_TAKEN);
}
static void compile_all(void *context) {
    GpuCompiling *c = context;
    uint32_t      lane = 1 + atomic_fetch_add(&c->lane, 1), at;
    while (!atomic_load(&c->stops) && (at = atomic_fetch_add(&c->next, 1)) < c->missing)
        if (take(&c->rows[c->order[at]])) compile(c, &c->rows[c->order[at]], lane);
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

static Status read_image(GpuCompiling *c, Job *job, Diags *diags) {
    size_t   bytes = 0;
    GpuLibs *libs = c->libs;
    if (job->result == ABI_NVRTC_ERROR_COMPILATION) return report_log(libs, job, diags);
    Status status =
        gpu_checked(libs, GPU_LIBRARY_NVRTC, job->result, job->call, job->source->name, diags);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, job->source->name, nvrtcGetCUBINSize, job->program, &bytes);
    if (status != STATUS_OK) return status;
    char *image = arena_push(c->out, bytes, 16);
    status = GPU_CALL(libs, diags, job->source->name, nvrtcGetCUBIN, job->program, image);
    if (status != STATUS_OK) return status;
    job->image = (String){image, bytes};
    gpu_cache_put(c->cache, "cubin", job->key, job->image, diags);
    return STATUS_OK;
}

/* Looks each source up; those that are not there become jobs. */
static void find_known(GpuCompiling *c, const char *arch, const GpuSource *sources,
                       uint32_t count) {
    uint64_t begin_ns = os_clock_ns();
    Scratch  scratch = scratch_begin(&c->out, 1);
    String version = gpu_version_text(scratch.arena, c->libs->bindings[GPU_LIBRARY_NVRTC].version);
    for (uint32_t i = 0; i < count; i++) {
        Job   *job = &c->rows[i];
        String parts[] = {version, str_of(arch), STR("c++17 minimal"), sources[i].text};
        ASSERT(sources[i].text.data[sources[i].text.count] == 0);
        job->source = &sources[i];
        job->key = gpu_cache_key(parts, LENGTH(parts));
        if (!gpu_cache_find(c->cache, c->out, "cubin", job->key, &job->image))
            c->order[c->missing++] = i;
    }
    scratch_end(scratch);
    gpu_startup_end(c->libs->startup, GPU_PART_FIND, "", begin_ns);
}
/* By the length of their texts, which tells how long they take; few rows. */
static void sort_longest_first(GpuCompiling *c) {
    for (uint32_t i = 1; i < c->missing; i++) {
        uint32_t row = c->order[i], k = i;
        size_t   length = c->rows[row].source->text.count;
        for (; k > 0 && c->rows[c->order[k - 1]].source->text.count < length; k--)
            c->order[k] = c->order[k - 1];
        c->order[k] = row;
    }
}

Status gpu_compile_begin(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                         const GpuSource *sources, uint32_t count, uint32_t lanes, Diags *diags,
                         GpuCompiling **out_compiling) {
    ASSERT(out && libs);
    ASSERT(sources || count == 0);
    *out_compiling = NULL;
    Status status = gpu_libs_need(libs, GPU_LIBRARY_NVRTC, diags);
    if (status != STATUS_OK) return status;
    GpuCompiling *c = ARENA_NEW(out, GpuCompiling);
    memset(c, 0, sizeof *c);
    c->libs = libs;
    c->cache = cache;
    c->out = out;
    c->rows = ARENA_ARRAY_ZERO(out, Job, count);
    c->order = ARENA_ARRAY(out, uint32_t, count);
    c->options[0] = str_format(out, "--gpu-architecture=%s", arch).data;
    c->options[1] = "--std=c++17";
    c->options[2] = "--minimal"; /* no texture and runtime declarations: a tenth of the front end */
    c->options[3] = "--no-source-include";
    find_known(c, arch, sources, count);
    sort_longest_first(c);
    *out_compiling = c; /* from here on nothing is pushed: threads must not outlive an unwinding */
    if (lanes > THREADS_MAX) lanes = THREADS_MAX;
    if (lanes > c->missing) lanes = c->missing;
    while (lanes > 1 && c->threads_count < lanes &&
           os_thread_start(&c->threads[c->threads_count], compile_all, c, "stoa-nvrtc") == 0)
        c->threads_count++;
    return STATUS_OK;
}

Status gpu_compile_take(GpuCompiling *c, uint32_t source, Diags *diags, String *out_image) {
    Job   *job = &c->rows[source];
    Status status = job->failed ? STATUS_INVALID : STATUS_OK;
    if (job->image.count == 0 && !job->failed) {
        uint64_t begin_ns = os_clock_ns();
        if (take(job)) compile(c, job, 0);
        while (atomic_load_explicit(&job->state, memory_order_acquire) != JOB_DONE)
            os_wait(&job->state, JOB_TAKEN);
        gpu_startup_end(c->libs->startup, GPU_PART_WAIT, job->source->name, begin_ns);
        status = read_image(c, job, diags);
        job->failed = status != STATUS_OK;
    }
    *out_image = job->image;
    return status;
}
void gpu_compile_keep(GpuCompiling *c, Diags *diags) {
    for (uint32_t i = 0; i < c->missing; i++) {
        Job *job = &c->rows[c->order[i]];
        bool done = atomic_load_explicit(&job->state, memory_order_acquire) == JOB_DONE;
        if (!done || job->image.count != 0 || job->failed || job->result != 0) continue;
        Status status = read_image(c, job, diags);
        job->failed = status != STATUS_OK;
    }
}
uint32_t gpu_compile_missing(const GpuCompiling *c) { return c->missing; }

void gpu_compile_close(GpuCompiling *c) {
    if (c == NULL) return;
    atomic_store(&c->stops, true);
    for (uint32_t i = 0; i < c->threads_count; i++) os_thread_join(c->threads[i]);
    c->threads_count = 0;
    for (uint32_t i = 0; i < c->missing; i++) {
        Job *job = &c->rows[c->order[i]];
        if (job->program != NULL) (void)c->libs->fns.nvrtcDestroyProgram(&job->program);
    }
}

static Status take_all(GpuCompiling *c, uint32_t count, Diags *diags, String *out_images) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < count; i++) {
        Status one = gpu_compile_take(c, i, diags, &out_images[i]);
        if (status == STATUS_OK) status = one;
    }
    return status;
}
Status gpu_compile(Arena *out, GpuLibs *libs, GpuCache *cache, const char *arch,
                   const GpuSource *sources, uint32_t count, uint32_t lanes, Diags *diags,
                   String *out_images, GpuCompiled *out_compiled) {
    GpuCompiling *c;
    uint64_t      start = os_clock_ns();
    *out_compiled = (GpuCompiled){0};
    Status begun = gpu_compile_begin(out, libs, cache, arch, sources, count, lanes, diags, &c);
    if (begun != STATUS_OK) return begun;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) { /* not while threads use what is in the arena */
        ArenaFailure failure = arena_guard_failure();
        gpu_compile_close(c);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    Status status = take_all(c, count, diags, out_images);
    arena_guard_end(&guard);
    *out_compiled = (GpuCompiled){count - c->missing, c->missing, os_clock_ns() - start};
    gpu_compile_close(c);
    return status;
}
