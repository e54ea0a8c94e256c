/* The kernel compiler's driver: from keys to functions in memory.
 *
 * A batch goes through these steps, each over all kernels: what this process has; what the folder
 * has; the rest through LLVM on all lanes, which also write the files; then everything is placed
 * behind one another in the code pages, which are sealed. Code never moves and is never freed
 * before the Jit is closed, since launches hold its addresses.
 *
 * Between the first object of LLVM's and its release nothing is pushed to an arena, so that
 * running out of memory cannot lose it. */
#include "cpu/jit.h"

#include <string.h>

#include "arena/hash.h"
#include "arena/intern.h"
#include "arena/os.h"
#include "cpu/jit_inner.h"
#include "cpu/llvm.h"

enum { JIT_VERSION = 1, KERNELS_MAX = 1 << 20, EMITTERS_MAX = 1024 };
static const size_t   code_bytes_max = (size_t)1 << 30; /* distances are 32 bits */
static const uint64_t cache_bytes_default = (uint64_t)256 << 20;

#define KNOWN_COLUMNS(C)                                                                           \
    C(JitKey, key, "content and what it is compiled for")                                          \
    C(void *, entry, "the function, or NULL if it failed when it was last asked for")
TABLE_TYPE(Known, KNOWN_COLUMNS);
#define TABLE_SELF_ Known
TABLE_INFO(Known, known_info, "kernels", KNOWN_COLUMNS);
#undef TABLE_SELF_

struct Jit {
    Arena      *arena;
    JitOptions  options;
    JitMachine  machine;
    uint64_t    fingerprint[2]; /* level, processor, LLVM, passes */
    JitCache    cache;
    bool        cache_told; /* JIT_CACHE was said */
    Known       known;
    Intern      index;
    uint8_t    *code;
    size_t      code_used; /* committed and sealed, whole pages */
    JitEmitter *emitters[EMITTERS_MAX];
};

/* --- opening ---------------------------------------------------------------------------------- */

static void fingerprint_make(Jit *jit) {
    uint64_t facts[] = {JIT_VERSION, (uint64_t)jit->options.level,
                        jit_host_digest(jit->options.level), LLVM_MAJOR};
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t seed = hash_bytes(jit_emit_passes, strlen(jit_emit_passes), i);
        jit->fingerprint[i] = hash_bytes(facts, sizeof facts, seed);
    }
}

static void jit_fill(Jit *jit) {
    const JitOptions *options = &jit->options;
    jit->machine = jit_host_machine(options->level);
    fingerprint_make(jit);
    jit_cache_open(&jit->cache, jit->arena, options->cache_dir,
                   options->cache_bytes_max ? options->cache_bytes_max : cache_bytes_default);
    table_open(&jit->known.table, &known_info, KERNELS_MAX, NULL);
    intern_open(&jit->index, KERNELS_MAX, NULL);
    jit->code = os_reserve(code_bytes_max);
}

Status jit_open(Arena *arena, const JitOptions *options, Diags *diags, Jit **out_jit) {
    ASSERT(arena && options && diags && out_jit);
    ASSERT(options->level < JIT_LEVELS);
    *out_jit = NULL;
#if !defined(STOA_HAVE_LLVM)
    return llvm_load(options->library, diags); /* says why not */
#endif
    Jit *jit = ARENA_NEW(arena, Jit);
    *jit = (Jit){.arena = arena, .options = *options};
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        jit_fill(jit);
        arena_guard_end(&guard);
        if (jit->code != NULL) *out_jit = jit;
    }
    if (*out_jit == NULL) jit_close(jit);
    return *out_jit ? STATUS_OK : STATUS_OUT_OF_MEMORY;
}

void jit_close(Jit *jit) {
    if (!jit) return;
    for (uint32_t i = 0; i < EMITTERS_MAX; i++) jit_emitter_close(jit->emitters[i]);
    intern_close(&jit->index);
    table_close(&jit->known.table);
    if (jit->code) os_release(jit->code, code_bytes_max);
    *jit = (Jit){0};
}

const JitMachine *jit_machine(const Jit *jit) { return &jit->machine; }

/* --- what is known ---------------------------------------------------------------------------- */

static bool known_same(const void *owner, uint32_t row, const void *key) {
    const Known *known = owner;
    return jit_key_same(known->key[row], *(const JitKey *)key);
}
/* The row of a kernel, added without an entry if it is new. */
static uint32_t known_row(Jit *jit, const JitKernel *kernel) {
    JitKey key;
    for (int i = 0; i < 2; i++)
        key.word[i] = hash_bytes(kernel->content, sizeof kernel->content, jit->fingerprint[i]);
    uint32_t row = intern_find(&jit->index, key.word[0], known_same, &jit->known, &key);
    if (row != 0) return row;
    row = table_add(&jit->known.table);
    jit->known.key[row] = key;
    jit->known.entry[row] = NULL;
    intern_add(&jit->index, key.word[0], row);
    return row;
}

/* --- a batch ---------------------------------------------------------------------------------- */

typedef struct Job { /* a kernel that this process does not have yet */
    JitKernel *kernel;
    uint32_t   row; /* of known */
    JitObject  object;
    JitEmitted emitted;
} Job;
typedef struct Batch {
    Jit             *jit;
    Arena           *arena;
    Job             *jobs;
    uint32_t         count;
    uint32_t        *misses; /* jobs that need LLVM */
    uint32_t         misses_count;
    _Atomic uint32_t next; /* of misses */
} Batch;

/* Kernels of one key share a job: the first of them has it. */
static void batch_fill(Batch *batch, JitKernel *kernels, const uint32_t *rows, uint32_t count) {
    const Known *known = &batch->jit->known;
    uint8_t     *seen = arena_push_zero(batch->arena, known->table.count, 1);
    batch->jobs = ARENA_ARRAY(batch->arena, Job, count);
    batch->misses = ARENA_ARRAY(batch->arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        kernels[i].origin = JIT_FROM_MEMORY;
        if (known->entry[rows[i]] != NULL || seen[rows[i]]) continue;
        seen[rows[i]] = 1;
        kernels[i].origin = JIT_NONE;
        batch->jobs[batch->count++] = (Job){.kernel = &kernels[i], .row = rows[i]};
    }
}

static void batch_from_disk(Batch *batch) {
    Jit *jit = batch->jit;
    for (uint32_t i = 0; i < batch->count; i++) {
        Job        *job = &batch->jobs[i];
        const char *why;
        String      bytes = jit_cache_find(&jit->cache, batch->arena, jit->known.key[job->row]);
        if (bytes.count > 0 && jit_object_read(bytes, &job->object, &why))
            job->kernel->origin = JIT_FROM_DISK;
        else
            batch->misses[batch->misses_count++] = i;
    }
}

static void compile_job(Batch *batch, Job *job, JitEmitter *emitter) {
    JitEmitted *emitted = &job->emitted;
    const char *why;
    jit_emit(emitter, &batch->jit->machine, job->kernel, emitted);
    job->kernel->build_us = emitted->build_us;
    job->kernel->optimise_us = emitted->optimise_us;
    job->kernel->generate_us = emitted->generate_us;
    if (emitted->status != STATUS_OK) return;
    if (!jit_object_read(emitted->object, &job->object, &why)) {
        jit_emitted_fail(emitted, STATUS_INVALID, why);
        return;
    }
    job->kernel->origin = JIT_COMPILED;
    jit_cache_add(&batch->jit->cache, batch->jit->known.key[job->row], emitted->object);
}
static void compile_lane(void *context, uint32_t lane, uint32_t lanes) {
    Batch *batch = context;
    (void)lanes;
    if (batch->jit->emitters[lane] == NULL) return;
    for (;;) {
        uint32_t next = atomic_fetch_add(&batch->next, 1);
        if (next >= batch->misses_count) return;
        compile_job(batch, &batch->jobs[batch->misses[next]], batch->jit->emitters[lane]);
    }
}

/* Everything that pushes comes before the first object. */
static Status batch_compile(Batch *batch, Workers *workers, Diags *diags) {
    Jit     *jit = batch->jit;
    uint32_t lanes = workers ? workers_lanes(workers) : 1;
    if (batch->misses_count == 0) return STATUS_OK;
    Status status = llvm_load(jit->options.library, diags);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < lanes && i < EMITTERS_MAX && i < batch->misses_count; i++)
        if (jit->emitters[i] == NULL) jit->emitters[i] = jit_emitter_open(jit->options.level);
    jit_emit_begin();
    if (lanes == 1 || batch->misses_count == 1)
        compile_lane(batch, 0, 1);
    else
        workers_run(workers, compile_lane, batch);
    jit_emit_end();
    return STATUS_OK;
}

/* Places all objects in fresh pages. */
static Status batch_place(Batch *batch) {
    Jit   *jit = batch->jit;
    size_t bytes = 0, page = os_page_bytes();
    for (uint32_t i = 0; i < batch->count; i++)
        if (batch->jobs[i].kernel->origin != JIT_NONE) bytes += batch->jobs[i].object.size;
    if (bytes == 0) return STATUS_OK;
    bytes = (bytes + page - 1) & ~(page - 1);
    uint8_t *at = jit->code + jit->code_used;
    if (bytes > code_bytes_max - jit->code_used || !os_commit(at, bytes))
        return STATUS_OUT_OF_MEMORY;
    uint8_t *to = at;
    for (uint32_t i = 0; i < batch->count; i++) {
        const Job *job = &batch->jobs[i];
        if (job->kernel->origin == JIT_NONE) continue;
        jit_object_place(&job->object, to);
        to += job->object.size;
    }
    if (!os_seal_code(at, bytes)) {
        os_decommit(at, bytes);
        return STATUS_OUT_OF_MEMORY;
    }
    jit->code_used += bytes;
    for (uint32_t i = 0; i < batch->count; i++) {
        Job *job = &batch->jobs[i];
        if (job->kernel->origin == JIT_NONE) continue;
        jit->known.entry[job->row] = at + job->object.entry;
        job->kernel->object_bytes = (uint32_t)job->object.bytes.count;
        at += job->object.size;
    }
    return STATUS_OK;
}

/* Says what failed; the status of the first. */
static Status batch_report(Batch *batch, Status status, Diags *diags) {
    for (uint32_t i = 0; i < batch->count; i++) {
        const Job *job = &batch->jobs[i];
        if (job->emitted.status == STATUS_OK) continue;
        (void)diags_add(diags, DIAG_JIT_FAILED, 0, diags_str(diags, str_of(job->kernel->name)),
                        diags_str(diags, str_of(job->emitted.why)), 0, 0);
        if (status == STATUS_OK) status = job->emitted.status;
    }
    Jit *jit = batch->jit;
    int  error = atomic_load(&jit->cache.error);
    if (error != 0 && !jit->cache_told) {
        const char *why = error == JIT_CACHE_LONG ? "the path is too long" : os_error_text(error);
        (void)diags_add(diags, DIAG_JIT_CACHE, 0, diags_str(diags, str_of(jit->options.cache_dir)),
                        diags_str(diags, str_of(why)), 0, 0);
        jit->cache_told = true;
    }
    return status;
}

Status jit_compile(Jit *jit, Workers *workers, JitKernel *kernels, uint32_t count, Diags *diags) {
    ASSERT(jit && (kernels || count == 0) && diags);
    ASSERT(jit_level_runs(jit->options.level));
    Scratch   scratch = scratch_begin(&jit->arena, 1);
    Batch     batch = {.jit = jit, .arena = scratch.arena};
    uint32_t *rows = ARENA_ARRAY(scratch.arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++) rows[i] = known_row(jit, &kernels[i]);
    batch_fill(&batch, kernels, rows, count);
    batch_from_disk(&batch);
    Status status = batch_compile(&batch, workers, diags);
    Status placed = batch_place(&batch);
    if (status == STATUS_OK) status = placed;
    for (uint32_t i = 0; i < batch.count; i++) jit_emit_free(&batch.jobs[i].emitted);
    for (uint32_t i = 0; i < count; i++) {
        kernels[i].entry = jit->known.entry[rows[i]];
        if (kernels[i].entry == NULL) kernels[i].origin = JIT_NONE;
    }
    jit_cache_trim(&jit->cache);
    status = batch_report(&batch, status, diags);
    scratch_end(scratch);
    return status;
}

Status jit_text(Jit *jit, const JitKernel *kernel, JitStage stage, Arena *out, Diags *diags,
                String *out_text) {
    ASSERT(jit && kernel && out && diags && out_text);
    *out_text = (String){0};
    Status status = llvm_load(jit->options.library, diags);
    if (status != STATUS_OK) return status;
    if (jit->emitters[0] == NULL) jit->emitters[0] = jit_emitter_open(jit->options.level);
    Job   job = {.kernel = &(JitKernel){.name = kernel->name}};
    Batch batch = {.jit = jit, .jobs = &job, .count = 1};
    jit_emit_begin();
    status =
        jit_emit_text(jit->emitters[0], &jit->machine, kernel, stage, out, &job.emitted, out_text);
    jit_emit_end();
    return batch_report(&batch, status, diags);
}
