// Dynamic scaling of the loss: steps that are good give the bits they would give without it, a
// gradient that overflows changes nothing but the scale, enough good steps double it, and the
// interpreter agrees with compiled kernels.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

enum { ROWS = 4, WIDTH = 8 };
typedef struct Scaled {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    float        x[ROWS * WIDTH], loss, norm;
    uint64_t     steps;
} Scaled;

// The loss is the mean of (x w)^2, so that its gradient grows with x squared.
static bool scaled_open(Scaled *s, StoaOptimizerOptions optimizer, StoaDtype compute,
                        bool interpreter) {
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    int64_t            axes[] = {0, 1}, sizes[] = {WIDTH, 3};
    context.lanes = 1;
    options.seed = 3;
    options.compute = compute;
    options.interpreter = interpreter;
    memset(s, 0, sizeof *s);
    if (!EXPECT(stoa_context_create(&context, &s->context) == STOA_OK)) return false;
    if (!EXPECT(stoa_program_create(s->context, &s->program) == STOA_OK)) return false;
    StoaProgram *p = s->program;
    StoaDim      dims[] = {stoa_dim(p, ROWS), stoa_dim(p, WIDTH)};
    stoa_graph_begin(p, "train");
    StoaValue x = stoa_input(p, "x", STOA_F32, dims, 2);
    StoaValue rate = stoa_input(p, "rate", STOA_F32, NULL, 0);
    StoaValue step = stoa_input(p, "step", STOA_F32, NULL, 0);
    StoaValue w = stoa_parameter(p, "w", STOA_F32, sizes, 2, STOA_INIT_NORMAL, 0.5);
    StoaValue loss = stoa_mean(p, stoa_square(p, stoa_matmul(p, x, w)), axes, 2);
    StoaValue norm = stoa_optimize(p, loss, rate, step, &optimizer);
    stoa_output(p, "loss", loss);
    stoa_output(p, "norm", norm);
    stoa_graph_end(p);
    StoaStatus status = stoa_compile(p, &options, &s->session);
    if (status != STOA_OK) printf("\n%s\n", stoa_message(s->context));
    return EXPECT(status == STOA_OK);
}
static void scaled_close(Scaled *s) {
    stoa_session_destroy(s->session);
    stoa_program_destroy(s->program);
    stoa_context_destroy(s->context);
}
static bool step(Scaled *s, float size) {
    float rate = 0.01F, number = (float)++s->steps;
    bool  stopped = false;
    for (int i = 0; i < ROWS * WIDTH; i++)
        s->x[i] = size * (float)((i * 7 + (int)s->steps) % 11 - 5);
    StoaTensor inputs[] = {
        {STOA_F32, 2, {ROWS, WIDTH}, s->x}, {STOA_F32, 0, {0}, &rate}, {STOA_F32, 0, {0}, &number}};
    StoaTensor outputs[] = {{.data = &s->loss}, {.data = &s->norm}};
    EXPECT(stoa_run(s->session, "train", inputs, 3, outputs, 2, &stopped) == STOA_OK);
    return !stopped;
}
static float scalar(Scaled *s, const char *name) {
    float      number = NAN;
    StoaTensor tensor = {.dtype = STOA_F32, .data = &number};
    EXPECT(stoa_state_get(s->session, name, &tensor) == STOA_OK);
    return number;
}
static float scale(Scaled *s) { return scalar(s, "optimizer.loss_scale"); }
static void  weights(Scaled *s, float out[WIDTH * 3]) {
     StoaTensor tensor = {.dtype = STOA_F32, .rank = 2, .shape = {WIDTH, 3}, .data = out};
     EXPECT(stoa_state_get(s->session, "w", &tensor) == STOA_OK);
}
static StoaOptimizerOptions options_of(StoaOptimizerKind kind, double loss_scale,
                                       uint32_t interval) {
    StoaOptimizerOptions options = STOA_OPTIMIZER_OPTIONS;
    options.kind = kind;
    options.momentum = 0.9;
    options.clip = 1;
    options.loss_scale = loss_scale;
    options.scale_interval = interval;
    return options;
}

TEST(scaling_keeps_the_bits_of_good_steps) {
    for (int kind = STOA_ADAMW; kind <= STOA_SGD; kind++) {
        Scaled plain, scaled;
        float  a[WIDTH * 3], b[WIDTH * 3];
        REQUIRE(scaled_open(&plain, options_of((StoaOptimizerKind)kind, 0, 0), STOA_NONE, false));
        REQUIRE(scaled_open(&scaled, options_of((StoaOptimizerKind)kind, 1 << 16, 3), STOA_NONE,
                            false));
        EXPECT_EQ(scale(&scaled), 65536);
        for (int i = 0; i < 7; i++) {
            EXPECT(step(&plain, 0.1F) && step(&scaled, 0.1F));
            EXPECT(memcmp(&plain.norm, &scaled.norm, sizeof plain.norm) == 0);
        }
        weights(&plain, a);
        weights(&scaled, b);
        EXPECT_EQ(memcmp(a, b, sizeof a), 0);
        EXPECT_EQ(scale(&scaled), 4 * 65536); // doubled after 3 and after 6
        EXPECT_EQ(scalar(&scaled, "optimizer.loss_scale.steps"), 1);
        scaled_close(&plain);
        scaled_close(&scaled);
    }
}

// In f16 the scaled gradient overflows above 65504, the plain one does not.
TEST(scaling_skips_what_overflows_and_goes_on) {
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        Scaled s;
        float  before[WIDTH * 3], after[WIDTH * 3];
        REQUIRE(scaled_open(&s, options_of(STOA_ADAMW, 1 << 20, 2), STOA_F16, interpreter != 0));
        weights(&s, before);
        int skipped = 0;
        while (skipped < 24 && step(&s, 1) && !isfinite(s.norm)) {
            skipped++;
            weights(&s, after);
            EXPECT_EQ(memcmp(before, after, sizeof before), 0);
            EXPECT_EQ(scale(&s), (float)(1 << 20) / (float)(1 << skipped));
            EXPECT_EQ(scalar(&s, "optimizer.loss_scale.steps"), 0);
            EXPECT(isfinite(s.loss));
        }
        EXPECT(skipped > 2 && skipped < 20); // and then one was good
        weights(&s, after);
        EXPECT(memcmp(before, after, sizeof before) != 0);
        float found = scale(&s);
        EXPECT_EQ(scalar(&s, "optimizer.loss_scale.steps"), 1);
        EXPECT(step(&s, 0.01F) && isfinite(s.norm));
        EXPECT_EQ(scale(&s), 2 * found);
        // A forward pass that overflows is no question of scale: the step is stopped as ever.
        EXPECT(!step(&s, 1e5F));
        EXPECT_EQ(scale(&s), 2 * found);
        scaled_close(&s);
    }
}

TEST(scaling_agrees_with_the_interpreter) {
    Scaled fast, slow;
    REQUIRE(scaled_open(&fast, options_of(STOA_SGD, 1 << 16, 2), STOA_F16, false));
    REQUIRE(scaled_open(&slow, options_of(STOA_SGD, 1 << 16, 2), STOA_F16, true));
    for (int i = 0; i < 9; i++) {
        float a[WIDTH * 3], b[WIDTH * 3], size = i % 4 == 0 ? 30.0F : 0.5F;
        EXPECT_EQ(step(&fast, size), step(&slow, size));
        EXPECT_EQ(scale(&fast), scale(&slow));
        EXPECT_EQ(isfinite(fast.norm) != 0, isfinite(slow.norm) != 0);
        weights(&fast, a);
        weights(&slow, b);
        for (int k = 0; k < WIDTH * 3; k++) EXPECT_WITHIN(a[k], b[k], 1e-5);
    }
    scaled_close(&fast);
    scaled_close(&slow);
}

TEST(scaling_is_of_optimizers_that_step) {
    Scaled             s;
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    memset(&s, 0, sizeof s);
    REQUIRE(stoa_context_create(&context, &s.context) == STOA_OK);
    REQUIRE(stoa_program_create(s.context, &s.program) == STOA_OK);
    int64_t size = 2, axis = 0;
    stoa_graph_begin(s.program, "train");
    StoaValue            w = stoa_parameter(s.program, "w", STOA_F32, &size, 1, STOA_INIT_FILL, 3);
    StoaValue            loss = stoa_mean(s.program, w, &axis, 1);
    StoaOptimizerOptions optimizer = options_of(STOA_LBFGS, 2, 0);
    EXPECT_EQ(stoa_optimize(s.program, loss, loss, loss, &optimizer).id, 0);
    EXPECT(stoa_program_check(s.program) == STOA_INVALID);
    EXPECT(strstr(stoa_message(s.context), "loss_scale") != NULL);
    scaled_close(&s);
}
