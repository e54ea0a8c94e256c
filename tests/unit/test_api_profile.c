// Profiles: the table is what its times and sizes say, by hand; a session fills it with times of
// runs, and one that was not asked to stays silent.
#include <stdio.h>
#include <string.h>

#include "api/session.h"
#include "text/profile.h"

#include "harness.h"
#include "stoa/stoa.h"

static const char two_text[] = "graph two(%x: f32[64,32], %w: f32[32,32]) {\n"
                               "  %a = matmul %x, %w\n"
                               "  %b = matmul %a, %w\n"
                               "  %c = cumulative %b {axis=0, kind=sum}\n"
                               "  return %c {names=[\"c\"]}\n"
                               "}\n";

typedef struct Profiled {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    float        x[64 * 32], w[32 * 32], c[64 * 32];
} Profiled;
static bool profiled_open(Profiled *p) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    context.lanes = 1;
    memset(p, 0, sizeof *p);
    return EXPECT(stoa_context_create(&context, &p->context) == STOA_OK) &&
           EXPECT(stoa_program_parse(p->context, two_text, strlen(two_text), "test", &p->program) ==
                  STOA_OK) &&
           EXPECT(stoa_compile(p->program, NULL, &p->session) == STOA_OK);
}
static void profiled_run(Profiled *p) {
    StoaTensor inputs[] = {{STOA_F32, 2, {64, 32}, p->x}, {STOA_F32, 2, {32, 32}, p->w}};
    StoaTensor output = {.data = p->c};
    EXPECT(stoa_run(p->session, "two", inputs, 2, &output, 1, NULL) == STOA_OK);
}
static void profiled_close(Profiled *p) {
    stoa_session_destroy(p->session);
    stoa_program_destroy(p->program);
    stoa_context_destroy(p->context);
}
static void has(const char *text, const char *part) {
    if (!EXPECT(strstr(text, part) != NULL)) printf("\nno '%s' in\n%s\n", part, text);
}

// Each product is 2*64*32*32 = 131072 operations on 64*32 + 32*32 + 64*32 floats, 20480 bytes; both
// take 4 us, so 0.0655 TFLOP/s and 10.24 GB/s, of peaks of 0.131072 and 20.48.
TEST(profiles_group_and_rate) {
    Profiled p;
    REQUIRE(profiled_open(&p));
    profiled_run(&p);
    const Plan *plan = p.session->plans[0].plan;
    double      us[8] = {0};
    uint32_t    products = 0;
    REQUIRE(plan->launches.table.count <= LENGTH(us));
    for (uint32_t row = 1; row < plan->launches.table.count; row++) {
        bool product = launch_flops(plan, row) > 0;
        products += product;
        us[row] = product ? 2 : 1;
        if (product) EXPECT_EQ(launch_flops(plan, row), 131072);
        if (product) EXPECT_EQ(launch_bytes(plan, row), 20480);
    }
    EXPECT_EQ(products, 2);
    ProfilePeaks peaks = {.gb_s = 20.48, .gflop_s = {[DTYPE_F32] = 131.072}};
    String       text = text_profile(arena, plan, us, &peaks, NULL, 0);
    has(text.data, "graph two: 5.0 us, 5.0 of it in 3 launches\n");
    has(text.data, "4.0 80.0 %      2       2.0  50 %     matrix products and convolutions\n");
    has(text.data, "1.0 20.0 %      1       0.8  80 %     other operators\n");
    EXPECT(strstr(text.data, "gaps") == NULL);
    has(text.data, "4.0 80.0 %      2      2.0     10  50 %     0.07  50 %  ");
    has(text.data, "f32[64,32] f32[32,32] -> f32[64,32]\n");
    has(text.data, "1.0 20.0 %      1      1.0     16  80 %");
    text = text_profile(arena, plan, us, NULL, NULL, 1);
    has(text.data, "2      2.0     10           0.07        ");
    has(text.data, "1.0 20.0 %  in 1 more rows\n");
    /* Rows, unknown kernels and gaps are the step. */
    ProfileRest rest = {.gaps_us = 2.5, .unknown_us = 0.5};
    text = text_profile(arena, plan, us, &peaks, &rest, 0);
    has(text.data, "graph two: 8.0 us, 5.0 of it in 3 launches\n");
    has(text.data, "4.0 50.0 %      2       2.0  50 %     matrix products and convolutions\n");
    has(text.data, "0.5  6.2 %                               kernels of no known operator\n");
    has(text.data, "2.5 31.2 %                               gaps between launches\n");
    profiled_close(&p);
}

TEST(profiles_of_sessions) {
    Profiled    p;
    const char *text = NULL, *json = NULL;
    REQUIRE(profiled_open(&p));
    profiled_run(&p);
    EXPECT(stoa_profile_text(p.session, 0, &text) == STOA_OK);
    has(text, "nothing was timed");
    stoa_profile(p.session, true);
    for (int i = 0; i < 3; i++) profiled_run(&p);
    stoa_profile(p.session, false);
    profiled_run(&p);
    EXPECT(stoa_profile_text(p.session, 0, &text) == STOA_OK);
    has(text, "graph two: ");
    has(text, "(mean of 3 runs)");
    has(text, "cumulative f32[64,32] -> f32[64,32]");
    EXPECT(stoa_profile_report(p.session, &json) == STOA_OK);
    has(json, "{\"operator\":\"cumulative\",\"launches\":1,\"ns\":");
    profiled_close(&p);
}
