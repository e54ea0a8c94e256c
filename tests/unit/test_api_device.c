// Sessions on a GPU, on the stand-ins of the driver and of CUPTI: profiles begin and end, and what
// is said where a profile cannot be had (DIAG_GPU_UNPROFILED); lines of print rows, sizes that data
// decides. There is nothing to compile; what is computed, the tests with the label `gpu` show on a
// device.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/device.h"
#include "tests/fakes/fake_cuda.h"

#include "harness.h"
#include "stoa/stoa.h"

typedef struct OnDevice {
    StoaContext     *context;
    StoaProgram     *program;
    StoaSession     *session;
    const FakeCuda  *cuda;
    const FakeCupti *cupti;
    char             said[2048];
} OnDevice;

static void keep(void *user, StoaLogLevel level, const char *text) {
    OnDevice *d = user;
    (void)level;
    snprintf(d->said + strlen(d->said), sizeof d->said - strlen(d->said), "%s", text);
}
// The stand-ins are loaded before the library looks for them, so both hold the same.
static bool fakes_open(OnDevice *d) {
    void *cuda = dlopen(STOA_FAKES "/driver/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *cupti = dlopen(STOA_FAKES "/driver/libcupti.so.13", RTLD_NOW | RTLD_LOCAL);
    if (!EXPECT(cuda != NULL && cupti != NULL)) return false;
    d->cuda = dlsym(cuda, FAKE_CUDA_SYMBOL);
    d->cupti = dlsym(cupti, FAKE_CUPTI_SYMBOL);
    d->cuda->reset();
    d->cupti->attach(d->cuda);
    return EXPECT(setenv("STOA_CUDA_PATH", STOA_FAKES "/driver:" STOA_FAKES "/compiler", 1) == 0);
}
static const char pass_text[] = "graph pass(%x: f32[B]) {\n  return %x\n}\n";

static bool on_device_open(OnDevice *d, const char *text) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    memset(d, 0, sizeof *d);
    context.lanes = 1;
    context.log = keep;
    context.user = d;
    options.device = "cuda";
    if (!fakes_open(d)) return false;
    bool good = stoa_context_create(&context, &d->context) == STOA_OK &&
                stoa_program_parse(d->context, text, strlen(text), "t", &d->program) == STOA_OK &&
                stoa_compile(d->program, &options, &d->session) == STOA_OK;
    if (!good) printf("\n%s\n", stoa_message(d->context));
    return EXPECT(good);
}
static void run(OnDevice *d) {
    StoaTensor input = {STOA_F32, 1, {0}, NULL}, output = {.data = NULL};
    EXPECT(stoa_run(d->session, "pass", &input, 1, &output, 1, NULL) == STOA_OK);
}
static void on_device_close(OnDevice *d) {
    stoa_session_destroy(d->session);
    stoa_program_destroy(d->program);
    stoa_context_destroy(d->context);
    EXPECT_EQ(d->cupti->live(), 0);
    EXPECT_EQ(d->cuda->live(), 0);
    d->cuda->watch(NULL);
    (void)unsetenv("STOA_CUDA_PATH");
}

TEST(device_profiles_begin_and_end) {
    OnDevice    d;
    const char *text = NULL;
    REQUIRE(on_device_open(&d, pass_text));
    stoa_profile(d.session, true);
    EXPECT(d.cupti->live() > 0);
    for (int i = 0; i < 4; i++) run(&d);
    EXPECT(stoa_profile_text(d.session, 0, &text) == STOA_OK);
    EXPECT(strstr(text, "nothing was timed") != NULL);
    stoa_profile(d.session, false);
    EXPECT_EQ(d.cupti->live(), 0);
    stoa_profile(d.session, true); // left on: the session ends it
    EXPECT_STR(d.said, "");
    on_device_close(&d);
}

TEST(device_profiles_say_when_launches_are_timed_alone) {
    OnDevice    d;
    const char *text = NULL;
    REQUIRE(on_device_open(&d, pass_text));
    d.cupti->fail("cuptiSubscribe", 39);
    run(&d);
    stoa_profile(d.session, true);
    EXPECT(strstr(d.said, "kernels cannot be timed as they run") != NULL);
    EXPECT(strstr(d.said, "MULTIPLE_SUBSCRIBERS") != NULL);
    d.said[0] = 0;
    run(&d);
    EXPECT(stoa_profile_text(d.session, 0, &text) == STOA_OK);
    EXPECT(strstr(text, "graph pass: 0.0 us, 0.0 of it in 0 launches") != NULL);
    EXPECT(strstr(text, "ran alone") != NULL);
    EXPECT(strstr(text, "to the end of the first run: ") != NULL);
    EXPECT(strstr(text, "open device") != NULL && strstr(text, "not named") != NULL);
    EXPECT_STR(d.said, "");
    on_device_close(&d);
}

// Rows that a mask keeps, into memory that holds no more than these; what is said of them, after
// the run.
TEST(device_gives_sizes_that_data_decides) {
    static const char text[] = "graph kept(%x: f32[M,2], %m: bool[M]) {\n"
                               "  %rows, %n = compact %m, %x {size=N}\n"
                               "  print %n, %rows {text=\"{} of them: {}\"}\n"
                               "  return %rows, %n {names=[\"rows\", \"n\"]}\n}\n";
    static const bool masks[][5] = {{true, false, false, true, false},
                                    {false, false, false, false, false},
                                    {true, true, true, true, true},
                                    {true, true, true, true, true}};
    OnDevice          d;
    REQUIRE(on_device_open(&d, text));
    for (size_t i = 0; i < LENGTH(masks); i++) {
        float      x[10], rows[11], want[10];
        bool       mask[5];
        int64_t    n = -1, kept = 0;
        char       line[128];
        StoaTensor in[] = {{STOA_F32, 2, {5, 2}, x}, {STOA_BOOL, 1, {5}, mask}};
        StoaTensor out[] = {{.data = rows}, {.data = &n}};
        memcpy(mask, masks[i], sizeof mask);
        for (int k = 0; k < 10; k++) x[k] = (float)(k + (int)i);
        for (int k = 0; k < 10; k++)
            if (mask[k / 2]) want[kept++] = x[k];
        for (int k = 0; k < 11; k++) rows[k] = -7;
        d.said[0] = 0;
        if (!EXPECT(stoa_run(d.session, "kept", in, 2, out, 2, NULL) == STOA_OK))
            printf("\n%s\n", stoa_message(d.context));
        EXPECT_EQ(n, kept / 2);
        EXPECT(out[0].shape[0] == kept / 2 && out[0].shape[1] == 2);
        EXPECT(memcmp(rows, want, sizeof *rows * (size_t)kept) == 0 && rows[kept] == -7);
        snprintf(line, sizeof line, "%d of them: f32[%d,2] [", (int)n, (int)n);
        if (!EXPECT(strncmp(d.said, line, strlen(line)) == 0)) printf("\n%s\n", d.said);
    }
    on_device_close(&d);
}

TEST(device_offload_needs_a_memory_budget) {
    OnDevice           d;
    StoaSession       *other = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    REQUIRE(on_device_open(&d, pass_text));
    options.device = "cuda";
    options.offload_budget = 1 << 20;
    EXPECT(stoa_compile(d.program, &options, &other) == STOA_INVALID);
    EXPECT(strstr(stoa_message(d.context), "set both") != NULL);
    options.memory_budget = 1 << 20;
    EXPECT(stoa_compile(d.program, &options, &other) == STOA_OK);
    EXPECT_EQ(stoa_session_memory(other).host_bytes, 0); // nothing runs yet
    stoa_session_destroy(other);
    on_device_close(&d);
}
