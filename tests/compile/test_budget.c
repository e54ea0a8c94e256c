/* Budgets of memory: whatever is computed again, the bits of a training stay, the plan keeps to the
 * budget, and the least that a message names can be met. Trainings in f64 of the GPT (attention,
 * dropout) and of LeNet (convolutions, running statistics), with kernels that are compiled and
 * with those of the library; and a gradient of a gradient. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "harness.h"
#include "models/gpt.h"
#include "models/lenet.h"

enum { STEPS = 3, INPUTS_MAX = 5, ROWS = 6, LENGTH_OF_ROWS = 16, VOCAB = 48 };

typedef struct Case {
    const char *text; /* of a program; NULL: a model */
    bool        images, no_fusion;
    double      dropout;
} Case;
typedef struct Outcome { /* of one training */
    StoaStatus status;
    uint64_t   promised, planned, floor, least;
    double     numbers[STEPS][4];
    uint64_t   state; /* hash of all tensors */
    uint32_t   again; /* launches that run twice */
} Outcome;

/* --- one training ----------------------------------------------------------------------------- */
static bool build(const Case *c, StoaContext *context, StoaProgram **out) {
    if (c->text != NULL)
        return stoa_program_parse(context, c->text, strlen(c->text), "test", out) == STOA_OK;
    if (stoa_program_create(context, out) != STOA_OK) return false;
    if (c->images) {
        LenetConfig lenet = model_lenet_preset();
        lenet.dtype = STOA_F64;
        lenet.likely_batch = ROWS;
        return model_lenet_build(*out, &lenet) == STOA_OK;
    }
    GptConfig gpt = model_gpt_preset();
    gpt.dtype = STOA_F64;
    gpt.vocab = VOCAB;
    gpt.context = gpt.likely_length = LENGTH_OF_ROWS;
    gpt.layers = 3;
    gpt.heads = 2;
    gpt.width = 24;
    gpt.dropout = c->dropout;
    gpt.likely_batch = ROWS;
    return model_gpt_build(*out, &gpt) == STOA_OK;
}

static double noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes */
    return (double)(*state >> 8) * 0x1p-24;
}
/* The inputs of a step in order of the graph. Returns how many. */
static uint32_t make_inputs(Arena *arena, const Case *c, uint32_t step, StoaTensor *inputs) {
    uint32_t random = step + 1, count = 0;
    int32_t *tokens = ARENA_ARRAY(arena, int32_t, ROWS * LENGTH_OF_ROWS);
    int32_t *targets = ARENA_ARRAY(arena, int32_t, ROWS * LENGTH_OF_ROWS);
    double  *scalars = ARENA_ARRAY(arena, double, 2);
    int64_t *seed = ARENA_ARRAY(arena, int64_t, 1);
    if (c->text != NULL) {
        double *x = ARENA_ARRAY(arena, double, ROWS *LENGTH_OF_ROWS);
        for (uint32_t i = 0; i < ROWS * LENGTH_OF_ROWS; i++) x[i] = noise(&random) - 0.5;
        inputs[0] = (StoaTensor){STOA_F64, 2, {ROWS, LENGTH_OF_ROWS}, x};
        return 1;
    }
    uint32_t limit = c->images ? 10 : VOCAB;
    for (uint32_t i = 0; i < ROWS * LENGTH_OF_ROWS; i++) {
        tokens[i] = (int32_t)(noise(&random) * limit);
        targets[i] = (int32_t)(noise(&random) * limit);
    }
    if (c->images) {
        float *pixels = ARENA_ARRAY(arena, float, ROWS * 28 * 28);
        for (uint32_t i = 0; i < ROWS * 28 * 28; i++) pixels[i] = (float)noise(&random);
        inputs[count++] = (StoaTensor){STOA_F32, 4, {ROWS, 1, 28, 28}, pixels};
        inputs[count++] = (StoaTensor){STOA_I32, 1, {ROWS}, targets};
    } else {
        inputs[count++] = (StoaTensor){STOA_I32, 2, {ROWS, LENGTH_OF_ROWS}, tokens};
        inputs[count++] = (StoaTensor){STOA_I32, 2, {ROWS, LENGTH_OF_ROWS}, targets};
    }
    scalars[0] = 0.01;
    scalars[1] = step + 1;
    inputs[count++] = (StoaTensor){STOA_F64, 0, {0}, &scalars[0]};
    inputs[count++] = (StoaTensor){STOA_F64, 0, {0}, &scalars[1]};
    *seed = 77 + step;
    if (c->dropout > 0) inputs[count++] = (StoaTensor){STOA_I64, 0, {0}, seed};
    return count;
}

static uint64_t hash_state(const StoaSession *session) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < session->state_count; i++) {
        const uint8_t *bytes = session->state[i].tensor.data;
        for (size_t k = 0; k < session->state[i].bytes; k++) hash = hash * 0x100000001b3 ^ bytes[k];
    }
    return hash;
}
static bool run_steps(Arena *arena, const Case *c, StoaSession *session, Outcome *out) {
    bool good = true;
    for (uint32_t step = 0; step < STEPS && good; step++) {
        StoaTensor inputs[INPUTS_MAX], outputs[4];
        uint32_t   count = make_inputs(arena, c, step, inputs), results = c->text != NULL ? 1 : 2;
        for (uint32_t i = 0; i < results; i++)
            outputs[i] = (StoaTensor){STOA_NONE, 0, {0}, &out->numbers[step][i]};
        const char *graph = c->text != NULL ? "f" : "train";
        good = EXPECT(stoa_run(session, graph, inputs, count, outputs, results, NULL) == STOA_OK);
    }
    return good;
}
static Outcome train(Arena *arena, const Case *c, uint64_t budget, bool run) {
    Outcome            out = {.status = STOA_INVALID};
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    StoaMemoryPeak     peak = {0};
    const char        *graph = c->text != NULL ? "f" : "train";
    options.lanes = 2;
    compile.memory_budget = budget;
    compile.no_fusion = c->no_fusion;
    if (!EXPECT(stoa_context_create(&options, &context) == STOA_OK)) return out;
    if (EXPECT(build(c, context, &program))) out.status = stoa_compile(program, &compile, &session);
    if (out.status == STOA_OK &&
        EXPECT(stoa_memory_peak(session, graph, NULL, 0, &peak) == STOA_OK)) {
        for (uint32_t i = 0; i < session->runner.runs_count; i++)
            if (session->runner.runs[i].kind == SYSTEM_recompute)
                out.again += session->runner.runs[i].changed;
        out.promised = peak.arena_bytes;
        out.floor = peak.arena_floor_bytes;
        if (run && run_steps(arena, c, session, &out)) {
            out.planned = stoa_session_memory(session).arena_bytes;
            out.state = hash_state(session);
        }
    } else {
        const char *told = strstr(stoa_message(context), "intermediates: ");
        if (told != NULL) out.least = strtoull(told + strlen("intermediates: "), NULL, 10);
    }
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
    return out;
}

/* --- budgets ---------------------------------------------------------------------------------- */
static void expect_same(const Outcome *free, const Outcome *bound, uint64_t budget) {
    REQUIRE(bound->status == STOA_OK);
    EXPECT(bound->planned <= budget);
    EXPECT_EQ(bound->planned, bound->promised);
    EXPECT(memcmp(bound->numbers, free->numbers, sizeof free->numbers) == 0);
    EXPECT(bound->state == free->state);
}
static void check_case(Arena *arena, const Case *c, double reach) {
    Outcome free = train(arena, c, 0, true), none = train(arena, c, 1, false);
    REQUIRE(free.status == STOA_OK && none.status == STOA_INVALID);
    REQUIRE(none.least != 0);
    EXPECT((double)none.least <= reach * (double)free.planned);
    Outcome whole = train(arena, c, free.planned, true);
    expect_same(&free, &whole, free.planned);
    EXPECT_EQ(whole.again, 0); /* nothing is done for a budget that holds anyway */
    for (int percent = 70; percent >= 50; percent -= 20) {
        uint64_t budget = free.planned / 100 * (uint64_t)percent;
        if (budget <= none.least) break;
        Outcome bound = train(arena, c, budget, true);
        expect_same(&free, &bound, budget);
        EXPECT(bound.again != 0);
    }
    Outcome least = train(arena, c, none.least, true),
            less = train(arena, c, none.least - 1, false);
    expect_same(&free, &least, none.least);
    EXPECT(less.status == STOA_INVALID);
    EXPECT_EQ(less.least, none.least);
    printf("\n  %llu bytes, at least %llu (%.2f)", (unsigned long long)free.planned,
           (unsigned long long)none.least, (double)none.least / (double)free.planned);
}

TEST(gpt_with_dropout_keeps_its_bits) { check_case(arena, &(Case){.dropout = 0.2}, 0.5); }
TEST(gpt_of_library_kernels_keeps_its_bits) {
    check_case(arena, &(Case){.dropout = 0.2, .no_fusion = true}, 0.6);
}
TEST(lenet_keeps_its_bits) { check_case(arena, &(Case){.images = true}, 0.9); }
TEST(lenet_of_library_kernels_keeps_its_bits) {
    check_case(arena, &(Case){.images = true, .no_fusion = true}, 0.9);
}

/* The gradient of the square of a gradient, through products and a chain of functions. */
TEST(second_order_gradients_keep_their_bits) {
    static const char text[] =
        "dim B hint=6\n"
        "graph f(%x: f64[B,16]) {\n"
        "  %w = parameter {name=\"w\", type=f64[16,16], init=normal, scale=0.3}\n"
        "  %v = parameter {name=\"v\", type=f64[16,16], init=normal, scale=0.3}\n"
        "  %a = linear %x, %w\n"
        "  %b = tanh %a\n"
        "  %c = linear %b, %v\n"
        "  %d = gelu %c\n"
        "  %e = linear %d, %w\n"
        "  %y = reduce %e {kind=sum, axes=[0,1]}\n"
        "  %g = gradient %y, %x\n"
        "  %s = square %g\n"
        "  %z = reduce %s {kind=sum, axes=[0,1]}\n"
        "  %dw, %dv = gradient %z, %w, %v\n"
        "  assign %w, %dw\n"
        "  assign %v, %dv\n"
        "  return %z {names=[\"z\"]}\n"
        "}\n";
    /* compiled kernels compute again what they need: there is nothing left to save */
    check_case(arena, &(Case){.text = text}, 1);
    check_case(arena, &(Case){.text = text, .no_fusion = true}, 0.95);
}

/* --- loops ------------------------------------------------------------------------------------ */
/* Budgets in percent of what keeping all states takes; 0: the least. */
static void check_loops(Arena *arena, const char *text, const int *percents, double reach) {
    Case    c = {.text = text};
    Outcome free = train(arena, &c, 0, true), none = train(arena, &c, 1, false);
    REQUIRE(free.status == STOA_OK && none.least != 0);
    EXPECT((double)none.least <= reach * (double)free.planned);
    for (int fuses = 0; fuses < 2; fuses++) {
        c.no_fusion = !fuses;
        Outcome whole = train(arena, &c, 0, true);
        for (uint32_t i = 0; i == 0 || percents[i - 1] != 0; i++) {
            uint64_t budget = whole.planned * (uint64_t)percents[i] / 100;
            if (percents[i] == 0) budget = train(arena, &c, 1, false).least;
            Outcome bound = train(arena, &c, budget, true);
            expect_same(&whole, &bound, budget);
        }
    }
    c.no_fusion = false;
    EXPECT_EQ(train(arena, &c, none.least - 1, false).least, none.least);
    printf("\n  %llu bytes, at least %llu (%.4f)", (unsigned long long)free.planned,
           (unsigned long long)none.least, (double)none.least / (double)free.planned);
}
#define LOOP_INPUT                                                                                 \
    "graph f(%x: f64[6,16]) {\n"                                                                   \
    "  %w = parameter {name=\"w\", type=f64[6,16], init=normal, scale=0.3}\n"
#define LOOP_OUTPUT                                                                                \
    "  %z = reduce %y {kind=sum, axes=[0,1]}\n  %dw, %dx = gradient %z, %w, %x\n"                  \
    "  %n = mul %dx, %dw\n  %s = add %w, %n\n  assign %w, %s\n  return %z {names=[\"z\"]}\n}\n"

// A weight that every step uses twice, and once more around the loop: its gradient is a sum.
TEST(scan_of_ten_thousand_steps_keeps_its_bits) {
    check_loops(arena,
                LOOP_INPUT
                "  %yy = scan %x {carries=1, length=10000} : f64[6,16] (%t: i64, %c: f64[6,16]) {\n"
                "    %a = mul %c, %w\n    %b = sin %a\n    %d = add %b, %w\n    return %d\n  }\n"
                "  %o = mul %yy, %w\n  %p = sin %o\n  %y = add %p, %w\n" LOOP_OUTPUT,
                (int[]){100, 10, 1, 0}, 0.01);
}
// Rows from a scanned operand, stacked results, backwards, a length that no run divides.
TEST(scan_over_rows_keeps_its_bits) {
    check_loops(arena,
                "graph f(%x: f64[6,16]) {\n"
                "  %w = parameter {name=\"w\", type=f64[16], init=normal, scale=0.3}\n"
                "  %r = parameter {name=\"r\", type=f64[997,16], init=normal, scale=0.3}\n"
                "  %h0 = reduce %x {kind=sum, axes=[0]}\n"
                "  %h, %e, %q = scan %h0, %w, %r {carries=2, reverse=true}\n"
                "      : f64[16], f64[16], f64[997,16] (%t: i64, %c: f64[16], %k: f64[16],"
                " %i: f64[16]) {\n"
                "    %a = mul %c, %w\n    %b = add %a, %i\n    %d = tanh %b\n"
                "    %m = mul %d, %k\n    %n = sin %m\n    return %d, %n, %m\n  }\n"
                "  %y = add %h, %e\n  %z1 = reduce %y {kind=sum, axes=[0]}\n"
                "  %z2 = reduce %q {kind=sum, axes=[0,1]}\n  %z = add %z1, %z2\n"
                "  %dw, %dr = gradient %z, %w, %r\n  assign %w, %dw\n  assign %r, %dr\n"
                "  return %z {names=[\"z\"]}\n}\n",
                (int[]){100, 90, 0}, 0.9);
}
// A while whose end is far before its limit.
TEST(while_keeps_its_bits) {
    check_loops(arena,
                LOOP_INPUT "  %n0 = constant {value=i64 0}\n  %n1 = constant {value=i64 1}\n"
                           "  %nt = constant {value=i64 700}\n"
                           "  %k, %y = while %n0, %x {limit=20000} : i64, f64[6,16]\n"
                           "      (%t: i64, %c: f64[6,16]) {\n"
                           "    %m = compare %t, %nt {direction=lt}\n    return %m\n  }"
                           "      (%t: i64, %c: f64[6,16]) {\n"
                           "    %t2 = add %t, %n1\n    %a = mul %c, %w\n    %b = sin %a\n"
                           "    %d = add %b, %w\n    return %t2, %d\n  }\n" LOOP_OUTPUT,
                (int[]){100, 50, 0}, 0.4);
}
// A loop in a loop, and one after it: they share what there is.
TEST(nested_loops_keep_their_bits) {
    check_loops(arena,
                LOOP_INPUT
                "  %v = scan %x {carries=1, length=60} : f64[6,16] (%t: i64, %c: f64[6,16]) {\n"
                "    %e = scan %c {carries=1, length=70} : f64[6,16] (%t2: i64, %c2: f64[6,16]) {\n"
                "      %a = mul %c2, %w\n      %b = sin %a\n      return %b\n    }\n"
                "    %d = add %e, %w\n    return %d\n  }\n"
                "  %y = scan %v {carries=1, length=300} : f64[6,16] (%t: i64, %c: f64[6,16]) {\n"
                "    %a = mul %c, %w\n    %b = sin %a\n    return %b\n  }\n" LOOP_OUTPUT,
                (int[]){100, 50, 10, 0}, 0.1);
}
