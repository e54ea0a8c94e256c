/* A Gpu on the stand-in driver (tests/fakes/cuda.c), for tests of the gpu layer. */
#ifndef STOA_TESTS_FAKE_GPU_H
#define STOA_TESTS_FAKE_GPU_H

#include <dlfcn.h>

#include "gpu/gpu.h"
#include "harness.h"
#include "tests/fakes/fake_cuda.h"

typedef struct FakeGpu {
    GpuLibs        *libs;
    Gpu            *gpu;
    Diags           diags;
    const FakeCuda *fake;
} FakeGpu;

/* Binds the stand-in, as it is when newly loaded. */
static inline bool fake_gpu_bind(FakeGpu *f, Arena *arena) {
    *f = (FakeGpu){0};
    diags_open(&f->diags, NULL);
    f->libs = gpu_libs_open(arena, STR(STOA_FAKES "/driver"));
    if (gpu_libs_need(f->libs, GPU_LIBRARY_DRIVER, &f->diags) != STATUS_OK) return false;
    f->fake = dlsym(f->libs->bindings[GPU_LIBRARY_DRIVER].handle, FAKE_CUDA_SYMBOL);
    if (f->fake != NULL) f->fake->reset();
    return f->fake != NULL;
}
/* The driver says that it is 12030 (12.3), from now on. */
static inline void fake_gpu_version(FakeGpu *f, int version) {
    f->fake->version(version);
    f->libs->bindings[GPU_LIBRARY_DRIVER].version = version / 1000 * 10000 + version % 1000 * 10;
}
static inline bool fake_gpu_open(FakeGpu *f, Arena *arena) {
    return fake_gpu_bind(f, arena) && gpu_open(arena, f->libs, 0, &f->diags, &f->gpu) == STATUS_OK;
}
/* Everything is given back when the Gpu is closed. */
static inline void fake_gpu_close(FakeGpu *f) {
    gpu_close(f->gpu);
    if (f->fake != NULL) EXPECT_EQ(f->fake->live(), 0);
    gpu_libs_close(f->libs);
    diags_close(&f->diags);
}
/* How many rows of a kind there are. */
static inline uint32_t diags_of(const Diags *diags, DiagKind kind) {
    uint32_t count = 0;
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        count += diags->rows.kind[row] == (uint16_t)kind;
    return count;
}
/* Whether a string argument of some row of a kind holds a text. */
static inline bool diags_say(const Diags *diags, DiagKind kind, const char *text) {
    for (uint32_t row = 1; row < diags->rows.table.count; row++) {
        const uint64_t args[] = {diags->rows.arg0[row], diags->rows.arg1[row],
                                 diags->rows.arg2[row]};
        if (diags->rows.kind[row] != (uint16_t)kind) continue;
        for (size_t i = 0; i < LENGTH(args); i++) {
            String s = diags_str_get(diags, args[i]);
            if (s.count >= strlen(text) && memmem(s.data, s.count, text, strlen(text)) != NULL)
                return true;
        }
    }
    return false;
}

#endif
