// The peak before running, and budgets, through the public interface: what is promised is what is
// planned, and what is planned holds at run time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "systems/fit.h"
#include "text/peak.h"

#include "harness.h"
#include "stoa/stoa.h"

typedef struct Held {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    StoaStatus   status;
} Held;
static Held held_open(const char *text, StoaCompileOptions compile) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    Held               held = {0};
    context.lanes = 1;
    EXPECT(stoa_context_create(&context, &held.context) == STOA_OK);
    EXPECT(stoa_program_parse(held.context, text, strlen(text), "test", &held.program) == STOA_OK);
    held.status = stoa_compile(held.program, &compile, &held.session);
    return held;
}
static void held_close(Held *held) {
    stoa_session_destroy(held->session);
    stoa_program_destroy(held->program);
    stoa_context_destroy(held->context);
}
static bool says(const Held *held, const char *part) {
    bool said = strstr(stoa_message(held->context), part) != NULL;
    if (!said) printf("\n%s\n", stoa_message(held->context));
    return said;
}

static const char chain_text[] = "dim B hint=16\n"
                                 "graph chain(%x: f64[B,8], %w: f64[8,8]) {\n"
                                 "  %a = matmul %x, %w\n"
                                 "  %b = matmul %a, %w\n"
                                 "  %c = matmul %b, %w\n"
                                 "  %d = matmul %c, %w\n"
                                 "  %f = mul %d, %b\n"
                                 "  %e = mul %f, %a\n"
                                 "  return %e {names=[\"e\"]}\n"
                                 "}\n";

// By hand: a and b live until the end, c until d: at launch 4, b, c, a and d are there.
TEST(peak_is_told_before_running) {
    static const char square[] = "graph chain(%x: f64[8,8], %w: f64[8,8]) {\n"
                                 "  %a = matmul %x, %w\n"
                                 "  %b = matmul %a, %w\n"
                                 "  %c = matmul %b, %w\n"
                                 "  %d = matmul %c, %b\n"
                                 "  %e = matmul %d, %a\n"
                                 "  return %e {names=[\"e\"]}\n"
                                 "}\n";
    Held              held = held_open(square, (StoaCompileOptions)STOA_COMPILE_OPTIONS);
    StoaMemoryPeak    peak = {0};
    REQUIRE(held.status == STOA_OK);
    REQUIRE(stoa_memory_peak(held.session, "chain", NULL, 0, &peak) == STOA_OK);
    EXPECT_EQ(peak.arena_floor_bytes, 4 * 512);
    EXPECT_EQ(peak.arena_bytes, 4 * 512);
    EXPECT_EQ(peak.launch, 4);
    EXPECT_EQ(peak.launches, 5);
    const char *const parts[] = {"graph chain: 2048 bytes of intermediates, at launch 4",
                                 "512  25.0 %  %a", "512  25.0 %  %d",
                                 "1024 bytes of inputs, 512 bytes of outputs"};
    for (size_t i = 0; i < LENGTH(parts); i++)
        if (!EXPECT(strstr(peak.text, parts[i]) != NULL)) printf("\n%s", peak.text);
    EXPECT(strstr(peak.svg, "intermediates of chain") != NULL);
    EXPECT(strstr(peak.svg, "</svg>") != NULL);
    EXPECT_EQ(stoa_session_memory(held.session).arena_bytes, 0); // no plan is kept
    held_close(&held);
}

// What the table lists is what is alive at the peak, for a training step of every kind of kernel.
TEST(peak_lists_what_is_alive) {
    static const char text[] = "graph step(%x: f32[32,16], %w: f32[64,16], %v: f32[8,64]) {\n"
                               "  %h = linear %x, %w\n"
                               "  %g = gelu %h\n"
                               "  %y = linear %g, %v\n"
                               "  %s = softmax %y {axis=1}\n"
                               "  %q = mul %s, %y\n"
                               "  %loss = reduce %q {kind=sum, axes=[0,1]}\n"
                               "  %dw, %dv = gradient %loss, %w, %v\n"
                               "  return %loss, %dw, %dv\n"
                               "}\n";
    for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
        StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
        compile.no_fusion = no_fusion;
        Held held = held_open(text, compile);
        REQUIRE(held.status == STOA_OK);
        Plan *plan =
            fit_plan(&held.session->runner, (GraphId){1}, NULL, 0, true, &held.context->diags);
        REQUIRE(plan != NULL);
        uint32_t reused = 0;
        for (uint32_t row = 1; row < plan->buffers.table.count; row++)
            reused += plan->buffers.over[row] != 0;
        for (uint32_t launch = 1; launch < plan->launches.table.count; launch++) {
            PeakBuffers alive = peak_buffers(arena, plan, launch);
            uint64_t    bytes = 0;
            for (uint32_t i = 0; i < alive.count; i++)
                bytes += (plan->buffers.bytes[alive.rows[i]] + 63) / 64 * 64;
            EXPECT_EQ(bytes, plan->launches.live[launch]);
        }
        EXPECT(reused != 0); // or in-place reuse is not seen by this test
        EXPECT_EQ(plan->launches.live[peak_launch(plan)], plan->floor_bytes);
        plan_close(plan);
        held_close(&held);
    }
}

TEST(peak_refuses_what_it_cannot_plan) {
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    StoaMemoryPeak     peak = {0};
    Held               held = held_open(chain_text, compile);
    REQUIRE(held.status == STOA_OK);
    StoaTensor wrong[2] = {{STOA_F64, 2, {4, 9}, NULL}, {STOA_F64, 2, {8, 8}, NULL}};
    EXPECT(stoa_memory_peak(held.session, "nothing", NULL, 0, &peak) == STOA_NOT_FOUND);
    EXPECT(stoa_memory_peak(held.session, "chain", wrong, 2, &peak) == STOA_INVALID);
    EXPECT(says(&held, "INPUT_SIZE"));
    held_close(&held);
    compile.interpreter = true;
    held = held_open(chain_text, compile);
    EXPECT(stoa_memory_peak(held.session, "chain", NULL, 0, &peak) == STOA_INVALID);
    EXPECT(says(&held, "the interpreter plans no memory"));
    held_close(&held);
    compile.memory_budget = 1;
    held = held_open(chain_text, compile);
    EXPECT(held.status == STOA_INVALID);
    held_close(&held);
    compile = (StoaCompileOptions)STOA_COMPILE_OPTIONS;
    compile.memory_budget = compile.offload_budget = 1 << 20;
    held = held_open(chain_text, compile);
    EXPECT(held.status == STOA_INVALID);
    EXPECT(says(&held, "the intermediates of the CPU are on the host already"));
    held_close(&held);
}

// A budget is judged at the hints; a run at larger sizes is refused before it takes the memory.
TEST(budget_holds_at_other_sizes) {
    static double      x[64 * 8], w[8 * 8], e[64 * 8];
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    StoaMemoryPeak     peak = {0};
    StoaTensor         inputs[2] = {{STOA_F64, 2, {16, 8}, x}, {STOA_F64, 2, {8, 8}, w}};
    StoaTensor         output = {STOA_F64, 2, {0}, e};
    Held               held = held_open(chain_text, compile);
    REQUIRE(stoa_memory_peak(held.session, "chain", NULL, 0, &peak) == STOA_OK);
    held_close(&held);
    compile.memory_budget = peak.arena_bytes;
    held = held_open(chain_text, compile);
    REQUIRE(held.status == STOA_OK);
    EXPECT(stoa_run(held.session, "chain", inputs, 2, &output, 1, NULL) == STOA_OK);
    EXPECT_EQ(stoa_session_memory(held.session).arena_bytes, peak.arena_bytes);
    inputs[0].shape[0] = 64;
    EXPECT(stoa_run(held.session, "chain", inputs, 2, &output, 1, NULL) == STOA_INVALID);
    EXPECT(says(&held, diag_infos[DIAG_BUDGET_SIZES].code));
    EXPECT(stoa_memory_peak(held.session, "chain", inputs, 2, &peak) == STOA_OK);
    EXPECT_EQ(peak.arena_bytes, 4 * compile.memory_budget);
    held_close(&held);
}

// The number in the message is the least that compiles.
TEST(budget_that_cannot_be_met) {
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    compile.memory_budget = 1;
    Held held = held_open(chain_text, compile);
    EXPECT(held.status == STOA_INVALID);
    EXPECT(says(&held, diag_infos[DIAG_BUDGET_SMALL].code));
    const char *at = strstr(stoa_message(held.context), "intermediates: ");
    REQUIRE(at != NULL);
    compile.memory_budget = strtoull(at + strlen("intermediates: "), NULL, 10);
    held_close(&held);
    held = held_open(chain_text, compile);
    EXPECT(held.status == STOA_OK);
    held_close(&held);
    compile.memory_budget--;
    held = held_open(chain_text, compile);
    EXPECT(held.status == STOA_INVALID);
    held_close(&held);
}

// Three layers of linear, batch_norm and relu with all their gradients. What is kept of a layer is
// its input and what the normalisation takes, as with a gradient written by hand which computes
// from these all that it needs; batch_norm spelled out adds nothing to that.
#define LAYER(from, to, n, norm)                                                                   \
    "  %h" n " = linear %" from ", %w" n "\n" norm "  %" to " = relu %n" n "\n"
#define COMPOSITE(n) "  %n" n ", %a" n ", %c" n " = batch_norm %h" n ", %g, %b, %m, %v\n"
#define BY_HAND(n)                                                                                 \
    "  %n" n " = custom_grad %h" n ", %g, %b {graph=\"norm\", gradient=\"back\"} : f32[B,64]\n"
#define NORMS(norm)                                                                                \
    "dim B hint=4096\n"                                                                            \
    "graph f(%x: f32[B,64], %w0: f32[64,64], %w1: f32[64,64], %w2: f32[64,64], %g: f32[64], "      \
    "%b: f32[64], %m: f32[64], %v: f32[64]) {\n" LAYER("x", "x1", "0", norm("0"))                  \
        LAYER("x1", "x2", "1", norm("1"))                                                          \
            LAYER("x2", "x3", "2",                                                                 \
                  norm("2")) "  %q = mul %x3, %x3\n  %s = reduce %q {kind=sum, axes=[0,1]}\n"      \
                             "  %d0, %d1, %d2, %dg, %db = gradient %s, %w0, %w1, %w2, %g, %b\n"    \
                             "  return %s, %d0, %d1, %d2, %dg, %db\n}\n"
#define NORMED                                                                                     \
    "  %o = constant {value=f32 1}\n  %ones = broadcast_in_dim %o {shape=[B,64], axes=[]}\n"       \
    "  %k = reduce %ones {kind=sum, axes=[0]}\n  %s = reduce %x {kind=sum, axes=[0]}\n"            \
    "  %mean = div %s, %k\n  %mb = broadcast_in_dim %mean {shape=[B,64], axes=[1]}\n"              \
    "  %c = sub %x, %mb\n  %cc = mul %c, %c\n  %vs = reduce %cc {kind=sum, axes=[0]}\n"            \
    "  %var = div %vs, %k\n  %e = constant {value=f32 1e-5}\n"                                     \
    "  %eb = broadcast_in_dim %e {shape=[64], axes=[]}\n  %ve = add %var, %eb\n"                   \
    "  %r = rsqrt %ve\n  %rb = broadcast_in_dim %r {shape=[B,64], axes=[1]}\n"                     \
    "  %xh = mul %c, %rb\n  %gb = broadcast_in_dim %g {shape=[B,64], axes=[1]}\n"
#define HAND                                                                                       \
    "graph norm(%x: f32[B,64], %g: f32[64], %b: f32[64]) {\n" NORMED                               \
    "  %bb = broadcast_in_dim %b {shape=[B,64], axes=[1]}\n  %y0 = mul %xh, %gb\n"                 \
    "  %y = add %y0, %bb\n  return %y\n}\n"                                                        \
    "graph back(%x: f32[B,64], %g: f32[64], %b: f32[64], %ct: f32[B,64]) {\n" NORMED               \
    "  %p = mul %ct, %xh\n  %dg = reduce %p {kind=sum, axes=[0]}\n"                                \
    "  %db = reduce %ct {kind=sum, axes=[0]}\n  %pm = div %dg, %k\n  %cm = div %db, %k\n"          \
    "  %p1 = broadcast_in_dim %pm {shape=[B,64], axes=[1]}\n"                                      \
    "  %p2 = broadcast_in_dim %cm {shape=[B,64], axes=[1]}\n"                                      \
    "  %t1 = mul %xh, %p1\n  %t2 = sub %ct, %p2\n  %t3 = sub %t2, %t1\n"                           \
    "  %t4 = mul %t3, %gb\n  %dx = mul %t4, %rb\n  return %dx, %dg, %db\n}\n"
TEST(decomposition_keeps_no_more_than_a_gradient_by_hand) {
    static const char *const texts[] = {NORMS(COMPOSITE), NORMS(BY_HAND) HAND};
    StoaCompileOptions       options = STOA_COMPILE_OPTIONS;
    StoaMemoryPeak           peaks[2] = {{0}};
    uint64_t                 tensor = (uint64_t)4096 * 64 * 4;
    (void)arena;
    for (int i = 0; i < 2; i++) {
        Held held = held_open(texts[i], options);
        if (!EXPECT(held.status == STOA_OK)) printf("\n%s\n", stoa_message(held.context));
        REQUIRE(stoa_memory_peak(held.session, "f", NULL, 0, &peaks[i]) == STOA_OK);
        held_close(&held);
    }
    EXPECT(peaks[1].arena_bytes > 4 * tensor && peaks[1].arena_bytes < 8 * tensor);
    EXPECT(peaks[0].arena_bytes <= peaks[1].arena_bytes + tensor / 16);
}
