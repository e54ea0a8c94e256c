/* Profiles of a training session on a device: every launch of the replayed graph has a time, their
 * sum with the gaps is about what a step takes, the tables name operators, and CUPTI and timing
 * each launch alone agree on what is long. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "arena/os.h"
#include "device.h"
#include "models/gpt.h"

enum { ROWS = 4, LENGTH_OF = 128, STEPS = 12 };

typedef struct Trained {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    int32_t      tokens[ROWS * LENGTH_OF];
    float        number;
} Trained;

static void warn(void *user, StoaLogLevel level, const char *text) {
    (void)user, (void)level;
    printf("\n  %s", text);
}
static bool trained_open(Trained *t) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    GptConfig          config = model_gpt_preset();
    memset(t, 0, sizeof *t);
    context.log = warn;
    config.vocab = 256;
    options.device = "cuda";
    options.compute = STOA_BF16;
    if (stoa_context_create(&context, &t->context) != STOA_OK) return false;
    bool good = stoa_program_create(t->context, &t->program) == STOA_OK &&
                model_gpt_build(t->program, &config) == STOA_OK &&
                stoa_compile(t->program, &options, &t->session) == STOA_OK;
    if (!good) printf("\n%s\n", stoa_message(t->context));
    for (uint32_t i = 0; i < ROWS * LENGTH_OF; i++) t->tokens[i] = (int32_t)(i * 2654435761U % 251);
    return EXPECT(good);
}
static void train(Trained *t) {
    float      rate = 1e-4F, loss = 0, norm = 0;
    StoaTensor tokens = {STOA_I32, 2, {ROWS, LENGTH_OF}, t->tokens};
    StoaTensor inputs[] = {
        tokens, tokens, {STOA_F32, 0, {0}, &rate}, {STOA_F32, 0, {0}, &t->number}};
    StoaTensor outputs[] = {{.data = &loss}, {.data = &norm}};
    t->number++;
    EXPECT(stoa_run(t->session, "train", inputs, 4, outputs, 2, NULL) == STOA_OK);
    EXPECT(isfinite(loss) && isfinite(norm));
}
static void trained_close(Trained *t) {
    stoa_session_destroy(t->session);
    stoa_program_destroy(t->program);
    stoa_context_destroy(t->context);
}
static double sum_us(const PlanEntry *entry) {
    double sum = 0;
    for (uint32_t row = 1; row < entry->plan->launches.table.count; row++)
        sum += (double)entry->launch_ns[row] * 1e-3 / (double)entry->timed_runs;
    return sum;
}

TEST(profile_of_replayed_steps) {
    static Trained t;
    const char    *text = NULL;
    DEVICE(d);
    device_close(&d); /* the session opens it */
    REQUIRE(trained_open(&t));
    stoa_profile(t.session, true);
    for (int i = 0; i < STEPS; i++) train(&t);
    EXPECT(stoa_profile_text(t.session, 20, &text) == STOA_OK);
    printf("\n%s", text);
    const PlanEntry *entry = &t.session->plans[0];
    bool alone = strstr(text, "ran alone") != NULL; /* CUPTI did not name the nodes of graphs */
    EXPECT_EQ(entry->timed_runs, alone ? 1 : STEPS - 1); /* the first is launched one by one */
    EXPECT(strstr(text, "dot_general bf16") != NULL && strstr(text, "attention") != NULL);
    EXPECT(alone || strstr(text, "gaps between kernels") != NULL);
    uint32_t timed = 0, rows = entry->plan->launches.table.count - 1;
    for (uint32_t row = 1; row <= rows; row++) timed += entry->launch_ns[row] > 0;
    printf("  %u of %u launches have a time, together %.1f us\n", timed, rows, sum_us(entry));
    EXPECT(timed >= rows * 9 / 10);
    EXPECT(strstr(text, "generated kernels") != NULL && strstr(text, "matrix products") != NULL);
    EXPECT(strstr(text, "to the end of the first run: ") != NULL);
    double recorded = sum_us(entry), runs = (double)entry->timed_runs * 1e3;
    double whole = recorded + (double)(entry->gaps_ns + entry->unknown_ns) / runs;
    stoa_profile(t.session, false);
    uint64_t before = os_clock_ns();
    for (int i = 0; i < 20; i++) train(&t);
    double step = (double)(os_clock_ns() - before) * 1e-3 / 20;
    printf("  a step takes %.1f us on the host\n", step);
    EXPECT((alone || recorded < 1.1 * step) && recorded > 0.2 * step);
    /* Rows and gaps are what a step takes; recording makes it a little longer. */
    printf("  rows, unknown kernels and gaps are %.1f us\n", whole);
    EXPECT(alone || (whole > 0.8 * step && whole < 1.4 * step));
    trained_close(&t);
}
