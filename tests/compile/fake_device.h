/* Programs on the stand-in driver (tests/fakes): copies, asserts and control flow run as the device
 * would run them; fused kernels run as loop tables in the interpreter, on the addresses that they
 * are launched with. */
#ifndef STOA_TESTS_FAKE_DEVICE_H
#define STOA_TESTS_FAKE_DEVICE_H

#include <dlfcn.h>

#include "compile_check.h"
#include "gpu/late.h"
#include "tables/shape_program.h"
#include "tests/fakes/fake_cuda.h"

static const char FOLDERS[] = STOA_FAKES "/driver:" STOA_FAKES "/compiler";

/* --- a device --------------------------------------------------------------------------------- */
typedef struct Fake {
    Arena          *rows;
    GpuLibs        *libs;
    Gpu            *gpu;
    Diags           diags;
    GpuStream       stream;
    GpuArena        memory;
    const FakeCuda *fake;
    /* the kernel that is running */
    const Loops *loops;
    Arena       *scratch;
    uint32_t     kernel, phase;
    uint64_t     args[4]; /* begin of those of the last launch */
    uint32_t     kernels; /* that ran */
    const char  *problem;
} Fake;

/* Phases of a kernel come one after another; the first that comes runs all of it. */
static inline void run_fused(void *context, const char *name, const void *args) {
    Fake        *f = context;
    const Loops *loops = f->loops;
    unsigned     kernel = 0, phase = 0;
    uint64_t     head[4];
    if (sscanf(name, "k%u_%u_", &kernel, &phase) != 2) return;
    uint32_t first = loops->kernels.buffers_first[kernel], at = 0;
    uint32_t count = loops->kernels.buffers_count[kernel];
    memcpy(head, args, sizeof head);
    bool goes_on =
        kernel == f->kernel && phase > f->phase && memcmp(head, f->args, sizeof head) == 0;
    f->kernel = kernel;
    f->phase = phase;
    memcpy(f->args, head, sizeof head);
    if (goes_on) return;
    ArenaMark mark = arena_mark(f->scratch);
    uint64_t *words = arena_push(f->scratch, 4096, 8);
    void    **buffers = ARENA_ARRAY_ZERO(f->scratch, void *, count);
    uint32_t  params = loops->kernels.params_count[kernel], used = 0;
    for (uint32_t i = 0; i < count; i++)
        used += loops->buffers.scope[first + i] == SCOPE_ARG ||
                loops->buffers.scope[first + i] == SCOPE_WORK;
    memcpy(words, args, (used + 2 + params) * sizeof *words);
    for (uint32_t i = 0; i < count; i++) {
        bool is_arg = loops->buffers.scope[first + i] == SCOPE_ARG;
        if (is_arg) buffers[i] = (void *)(uintptr_t)words[at];
        at += is_arg || loops->buffers.scope[first + i] == SCOPE_WORK;
    }
    InterpKernel run = {.loops = loops,
                        .kernel = {kernel},
                        .params = (const int64_t *)(words + at + 2),
                        .buffers = buffers};
    String       problem = interp_kernel(f->scratch, &run);
    if (problem.count > 0 && f->problem == NULL)
        f->problem = str_format(f->rows, "kernel %u: %.*s", kernel, STR_ARGS(problem)).data;
    f->kernels++;
    arena_release(f->scratch, mark);
}
static inline bool fake_told(Fake *f, Status status) {
    if (status == STATUS_OK) return true;
    String text = text_diags(f->rows, NULL, &f->diags);
    printf("\n%.*s", STR_ARGS(text));
    return false;
}
static inline bool fake_open(Fake *f, int version, bool compiles) {
    *f = (Fake){.rows = arena_open("fake", 0, 0), .scratch = arena_open("fake kernels", 0, 0)};
    diags_open(&f->diags, NULL);
    (void)setenv("STOA_CUDA_PATH", STOA_FAKES "/driver", 1); /* and where NVRTC is */
    f->libs = gpu_libs_open(f->rows, compiles ? STR("") : str_of(FOLDERS));
    if (!compiles && !fake_told(f, gpu_libs_need(f->libs, GPU_LIBRARY_NVRTC, &f->diags)))
        return false;
    void *handle = dlopen(STOA_FAKES "/driver/libcuda.so.1", RTLD_NOW);
    f->fake = handle != NULL ? dlsym(handle, FAKE_CUDA_SYMBOL) : NULL;
    if (f->fake == NULL) return false;
    f->fake->reset();
    f->fake->version(version);
    f->fake->limit(8 << 20); /* reserved memory is poisoned, which takes time */
    f->fake->fused(run_fused, f);
    return fake_told(f, gpu_open(f->rows, f->libs, 0, &f->diags, &f->gpu)) &&
           fake_told(f, gpu_stream_open(f->gpu, &f->diags, &f->stream)) &&
           fake_told(f, gpu_arena_open(f->gpu, "test", 0, 4 << 20, &f->diags, &f->memory));
}
static inline void fake_close(Fake *f) {
    gpu_arena_close(&f->memory);
    gpu_stream_close(&f->stream);
    gpu_close(f->gpu);
    EXPECT_EQ(f->fake->live(), 0); /* all was given back */
    gpu_libs_close(f->libs);
    diags_close(&f->diags);
    arena_close(f->scratch);
    arena_close(f->rows);
}

/* --- a program on it -------------------------------------------------------------------------- */
typedef struct Bound {
    Fake          *f;
    Check         *c;
    Runner        *runner;
    World         *world;
    GpuKit        *kit;
    GpuEmitModule *module;
    Plan          *plan;
    GpuPlan       *gpu;
    GpuLate       *late; /* instead, where data decides sizes */
    CuPtr         *slots;
} Bound;

static inline bool bind(Bound *b, const GpuKitOptions *kit) {
    Fake      *f = b->f;
    Diags     *diags = &b->world->diags;
    ShapeRoots roots = {.all = true};
    b->plan = plan_open(b->world, &b->runner->loops, (GraphId){1});
    const ShapeProgram *shapes =
        shape_program_make(b->c->arena, b->world, (GraphId){1}, &roots, diags);
    f->loops = &b->runner->loops;
    Status status = shapes != NULL && shape_program_run(shapes, b->c->inputs, b->c->inputs_count,
                                                        b->plan->dim_values, diags)
                        ? STATUS_OK
                        : STATUS_INVALID;
    if (status == STATUS_OK) status = gpu_kit_open(f->rows, f->gpu, kit, diags, &b->kit);
    if (status == STATUS_OK)
        status = gpu_emit_compile(b->c->arena, f->libs, NULL, "sm_90a", &b->runner->loops, 2, diags,
                                  &b->module);
    if (status == STATUS_OK) gpu_emit_load(b->module, f->gpu);
    if (status == STATUS_OK && !runner_plan(b->runner, b->plan)) status = STATUS_INVALID;
    if (status == STATUS_OK && shapes->late)
        status = gpu_late_open(b->c->arena, b->plan, shapes, b->module, b->kit, diags, &b->late);
    else if (status == STATUS_OK)
        status = gpu_bind(b->c->arena, b->plan, b->module, b->kit, diags, &b->gpu);
    return status == STATUS_OK || check_diags(b->c, "binding:", FORM_THREADS);
}
static inline bool fill_slots(Bound *b, bool fresh) {
    Fake        *f = b->f;
    const Slots *slots = &b->plan->slots;
    bool         good = true;
    for (uint32_t row = 0; row < slots->table.count && good; row++) {
        uint64_t    bytes = row == 0 ? b->plan->arena_bytes : slots->bytes[row];
        const void *from = NULL;
        if (slots->kind[row] >= SLOT_HOST) continue; /* of others, or none */
        if (fresh) good = gpu_push(&f->memory, bytes + 256, 256, &f->diags, &b->slots[row]) == 0;
        if (slots->kind[row] == SLOT_INPUT) from = b->c->inputs[slots->index[row]].data;
        if (slots->kind[row] == SLOT_CONSTANT)
            from = consts_bytes(&b->world->consts, (ConstId){slots->index[row]});
        if (good) memset((void *)(uintptr_t)b->slots[row], 0x5A, bytes + 256);
        if (good && from != NULL) memcpy((void *)(uintptr_t)b->slots[row], from, bytes);
    }
    return good;
}
/* Nothing was written past a slot. */
static inline bool ends_whole(const Bound *b) {
    const Slots *slots = &b->plan->slots;
    for (uint32_t row = 0; row < slots->table.count; row++) {
        uint64_t bytes = row == 0 ? b->plan->arena_bytes : slots->bytes[row];
        for (uint64_t i = 0; b->slots[row] != 0 && i < 256; i++)
            if (((const uint8_t *)(uintptr_t)b->slots[row])[bytes + i] != 0x5A) return false;
    }
    return true;
}
static inline void unbind(Bound *b) {
    gpu_plan_close(b->gpu);
    gpu_late_close(b->late);
    gpu_emit_unload(b->module);
    plan_close(b->plan);
    gpu_kit_close(b->kit);
}

#endif
