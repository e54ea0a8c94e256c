/* Regions: control flow built through the public interface gives what its text form gives, with
 * gradients, and each misuse is refused with a message that names both sides. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

typedef struct Held {
    StoaContext *context;
    StoaProgram *program;
    StoaValue    x, n; /* an f64 vector [4] and an i64 scalar */
} Held;
static Held held_open(void) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    Held               held = {0};
    options.lanes = 1;
    EXPECT(stoa_context_create(&options, &held.context) == STOA_OK);
    EXPECT(stoa_program_create(held.context, &held.program) == STOA_OK);
    StoaDim four = stoa_dim(held.program, 4);
    stoa_graph_begin(held.program, "f");
    held.x = stoa_input(held.program, "x", STOA_F64, &four, 1);
    held.n = stoa_input(held.program, "n", STOA_I64, NULL, 0);
    return held;
}
static void held_close(Held *held) {
    stoa_program_destroy(held->program);
    stoa_context_destroy(held->context);
}
static bool refused(Held *held, const char *part) {
    bool said = stoa_program_check(held->program) == STOA_INVALID &&
                strstr(stoa_message(held->context), part) != NULL;
    if (!said) printf("\n  said: %s", stoa_message(held->context));
    return said;
}
static bool run(Held *held, int64_t n, bool interpreter, double *out, double *gradient) {
    double             x[4] = {0.5, -0.25, 1, 2};
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    StoaSession       *session = NULL;
    StoaTensor         inputs[2] = {{STOA_F64, 1, {4}, x}, {STOA_I64, 0, {0}, &n}};
    StoaTensor         outputs[2] = {{.data = out}, {.data = gradient}};
    options.interpreter = interpreter;
    bool good = stoa_compile(held->program, &options, &session) == STOA_OK &&
                stoa_run(session, "f", inputs, 2, outputs, gradient ? 2 : 1, NULL) == STOA_OK;
    if (!good) printf("\n  said: %s", stoa_message(held->context));
    stoa_session_destroy(session);
    return good;
}
static void finish(Held *held, StoaValue y) {
    int64_t   axis = 0;
    StoaValue sum = stoa_reduce(held->program, y, STOA_REDUCE_SUM, &axis, 1), gradient;
    stoa_gradients(held->program, sum, &held->x, 1, &gradient);
    stoa_output(held->program, "y", y);
    stoa_output(held->program, "gradient", gradient);
    stoa_graph_end(held->program);
    EXPECT(stoa_program_check(held->program) == STOA_OK);
}

/* --- what they give --------------------------------------------------------------------------- */
// x^(2^k) by a while around an if, in which x is doubled as well on odd steps.
TEST(while_and_if_with_a_gradient) {
    (void)arena;
    Held         held = held_open();
    StoaProgram *p = held.program;
    StoaValue    zero = stoa_scalar(p, STOA_I64, 0), one = stoa_scalar(p, STOA_I64, 1), out[2];
    stoa_region_begin(p, STOA_WHILE, (StoaValue[]){zero, held.x}, 2,
                      &(StoaRegionOptions){.size = sizeof(StoaRegionOptions), .limit = 20});
    StoaValue more = stoa_compare(p, stoa_region_arg(p, 0), held.n, STOA_COMPARE_LT);
    stoa_yield(p, &more, 1);
    StoaValue t = stoa_region_arg(p, 0), c = stoa_region_arg(p, 1), square, next[2];
    StoaValue odd = stoa_compare(p, stoa_and(p, t, one), one, STOA_COMPARE_EQ);
    stoa_region_begin(p, STOA_IF, &odd, 1, NULL);
    StoaValue twice = stoa_mul(p, c, stoa_fill_like(p, c, 2));
    stoa_yield(p, &twice, 1);
    stoa_yield(p, &c, 1);
    stoa_region_end(p, &square, 1);
    next[0] = stoa_add(p, t, one);
    next[1] = stoa_mul(p, square, square);
    stoa_yield(p, next, 2);
    stoa_region_end(p, out, 2);
    finish(&held, out[1]);
    for (int interpreter = 0; interpreter < 2; interpreter++) {
        double y[4], g[4], x[4] = {0.5, -0.25, 1, 2};
        REQUIRE(run(&held, 3, interpreter != 0, y, g)); /* ((2 x^2)^2)^2 = 16 x^8 */
        for (int i = 0; i < 4; i++) {
            EXPECT_NEAR(y[i], 16 * pow(x[i], 8), 1e-12 * (1 + fabs(y[i])));
            EXPECT_NEAR(g[i], 128 * pow(x[i], 7), 1e-12 * (1 + fabs(g[i])));
        }
    }
    held_close(&held);
}
// A recurrence over rows with stacked results, and a switch behind it.
TEST(scan_and_switch_with_a_gradient) {
    (void)arena;
    Held         held = held_open();
    StoaProgram *p = held.program;
    StoaValue    zero = stoa_scalar(p, STOA_F64, 0), out[2], y;
    stoa_region_begin(p, STOA_SCAN, (StoaValue[]){zero, held.x}, 2,
                      &(StoaRegionOptions){.size = sizeof(StoaRegionOptions), .carries = 1});
    EXPECT(stoa_value_dtype(p, stoa_region_arg(p, 0)) == STOA_I64);
    StoaValue sum = stoa_add(p, stoa_region_arg(p, 1), stoa_region_arg(p, 2));
    stoa_yield(p, (StoaValue[]){sum, stoa_square(p, sum)}, 2);
    stoa_region_end(p, out, 2);
    stoa_region_begin(p, STOA_SWITCH, &held.n, 1,
                      &(StoaRegionOptions){.size = sizeof(StoaRegionOptions), .cases = 3});
    stoa_yield(p, &held.x, 1);
    stoa_yield(p, &out[1], 1);
    StoaValue negative = stoa_neg(p, held.x);
    stoa_yield(p, &negative, 1);
    stoa_region_end(p, &y, 1);
    finish(&held, y);
    double result[4], g[4];
    REQUIRE(run(&held, 1, false, result, g)); /* running sums 0.5 0.25 1.25 3.25, squared */
    for (int i = 0; i < 4; i++) {
        const double sums[4] = {0.5, 0.25, 1.25, 3.25};
        double       slope = 0;
        for (int k = i; k < 4; k++) slope += 2 * sums[k];
        EXPECT_NEAR(result[i], sums[i] * sums[i], 1e-14);
        EXPECT_NEAR(g[i], slope, 1e-13);
    }
    REQUIRE(run(&held, 7, true, result, g));
    for (int i = 0; i < 4; i++) EXPECT_EQ(g[i], -1);
    held_close(&held);
}
// The text form of what was built is read again and is the same program.
TEST(regions_print_and_parse) {
    (void)arena;
    Held         held = held_open();
    StoaProgram *p = held.program, *again = NULL;
    StoaValue    y;
    const char  *text;
    stoa_region_begin(p, STOA_SCAN, &held.x, 1,
                      &(StoaRegionOptions){.size = sizeof(StoaRegionOptions),
                                           .carries = 1,
                                           .length = stoa_dim(p, 5),
                                           .reverse = true});
    StoaValue next = stoa_sin(p, stoa_region_arg(p, 1));
    stoa_yield(p, &next, 1);
    stoa_region_end(p, &y, 1);
    finish(&held, y);
    REQUIRE(stoa_program_print(p, &text) == STOA_OK);
    char copy[4096];
    (void)snprintf(copy, sizeof copy, "%s", text);
    REQUIRE(stoa_program_parse(held.context, copy, strlen(copy), "again", &again) == STOA_OK);
    REQUIRE(stoa_program_print(again, &text) == STOA_OK);
    EXPECT(strcmp(copy, text) == 0);
    stoa_program_destroy(again);
    held_close(&held);
}
TEST(call_with_a_gradient_of_its_own) {
    (void)arena;
    Held         held = held_open(); /* the graphs that are called come first */
    StoaProgram *p = held.program;
    StoaDim      four = stoa_dim(p, 4);
    stoa_output(p, "x", held.x);
    stoa_graph_end(p);
    stoa_graph_begin(p, "square");
    stoa_output(p, "y", stoa_square(p, stoa_input(p, "x", STOA_F64, &four, 1)));
    stoa_graph_end(p);
    stoa_graph_begin(p, "tenfold");
    StoaValue x = stoa_input(p, "x", STOA_F64, &four, 1);
    StoaValue d = stoa_input(p, "d", STOA_F64, &four, 1);
    stoa_output(p, "g", stoa_mul(p, stoa_mul(p, x, d), stoa_fill_like(p, x, 10)));
    stoa_graph_end(p);
    for (int own = 0; own < 2; own++) {
        int64_t   axis = 0;
        StoaValue y, g;
        stoa_graph_begin(p, own ? "own" : "rows");
        x = stoa_input(p, "x", STOA_F64, &four, 1);
        stoa_call(p, "square", own ? "tenfold" : NULL, &x, 1, &y, 1);
        stoa_gradients(p, stoa_reduce(p, y, STOA_REDUCE_SUM, &axis, 1), &x, 1, &g);
        stoa_output(p, "g", g);
        stoa_graph_end(p);
    }
    StoaSession *session = NULL;
    double       numbers[4] = {1, 2, 3, -4}, g[4];
    StoaTensor   input = {STOA_F64, 1, {4}, numbers}, output = {.data = g};
    REQUIRE(stoa_compile(p, NULL, &session) == STOA_OK);
    REQUIRE(stoa_run(session, "rows", &input, 1, &output, 1, NULL) == STOA_OK);
    for (int i = 0; i < 4; i++) EXPECT_EQ(g[i], 2 * numbers[i]);
    REQUIRE(stoa_run(session, "own", &input, 1, &output, 1, NULL) == STOA_OK);
    for (int i = 0; i < 4; i++) EXPECT_EQ(g[i], 10 * numbers[i]);
    stoa_session_destroy(session);
    held_close(&held);
}

/* --- misuse ----------------------------------------------------------------------------------- */
static void begin_if(Held *held) {
    StoaProgram *p = held->program;
    StoaValue    c = stoa_compare(p, held->n, stoa_scalar(p, STOA_I64, 0), STOA_COMPARE_GT);
    stoa_region_begin(p, STOA_IF, &c, 1, NULL);
}
TEST(branches_that_yield_other_types) {
    (void)arena;
    Held      held = held_open();
    StoaValue y, half = stoa_scalar(held.program, STOA_F32, 0.5);
    begin_if(&held);
    stoa_yield(held.program, &held.x, 1);
    stoa_yield(held.program, &half, 1);
    stoa_region_end(held.program, &y, 1);
    EXPECT_EQ(y.id, 0);
    EXPECT(refused(&held, "f64[4]"));
    stoa_graph_end(held.program);
    held_close(&held);
}
TEST(loops_that_carry_on_another_type) {
    (void)arena;
    Held      held = held_open();
    StoaValue y;
    stoa_region_begin(held.program, STOA_SCAN, &held.x, 1,
                      &(StoaRegionOptions){.size = sizeof(StoaRegionOptions),
                                           .carries = 1,
                                           .length = stoa_dim(held.program, 3)});
    StoaValue index = stoa_region_arg(held.program, 0);
    stoa_yield(held.program, &index, 1);
    stoa_region_end(held.program, &y, 1);
    EXPECT(refused(&held, "a carried result is i64, but its operand is f64[4]"));
    held_close(&held);
}
TEST(blocks_that_are_missing_or_too_many) {
    (void)arena;
    Held      held = held_open();
    StoaValue y;
    begin_if(&held);
    stoa_yield(held.program, &held.x, 1);
    stoa_region_end(held.program, &y, 1);
    EXPECT_EQ(y.id, 0);
    EXPECT(refused(&held, "if: blocks that have ended: 1 of 2"));
    begin_if(&held);
    stoa_yield(held.program, &held.x, 1);
    stoa_yield(held.program, &held.x, 1);
    stoa_yield(held.program, &held.x, 1);
    EXPECT(refused(&held, "if: blocks that have ended: 2 of 2"));
    EXPECT_EQ(stoa_neg(held.program, held.x).id, 0);
    EXPECT(refused(&held, "call stoa_region_end before building on"));
    stoa_region_end(held.program, &y, 1);
    EXPECT(y.id != 0 && stoa_program_check(held.program) == STOA_OK);
    held_close(&held);
}
TEST(regions_end_before_their_graph) {
    (void)arena;
    Held held = held_open();
    begin_if(&held);
    stoa_graph_end(held.program);
    EXPECT(refused(&held, "if: still open"));
    stoa_output(held.program, "x", held.x);
    EXPECT(refused(&held, "if: still open"));
    EXPECT_EQ(stoa_input(held.program, "z", STOA_F64, NULL, 0).id, 0);
    EXPECT(refused(&held, "if: still open"));
    held_close(&held);
}
TEST(values_stay_in_their_block) {
    (void)arena;
    Held      held = held_open();
    StoaValue y;
    begin_if(&held);
    StoaValue inside = stoa_neg(held.program, held.x);
    stoa_yield(held.program, &inside, 1);
    EXPECT_EQ(stoa_neg(held.program, inside).id, 0);
    EXPECT(refused(&held, "yield it there"));
    stoa_yield(held.program, &held.x, 1);
    stoa_region_end(held.program, &y, 1);
    EXPECT_EQ(stoa_neg(held.program, inside).id, 0);
    EXPECT(refused(&held, "in a block of if"));
    stoa_output(held.program, "inside", inside);
    EXPECT(refused(&held, "in a block of if"));
    held_close(&held);
}
TEST(regions_without_what_they_need) {
    (void)arena;
    Held              held = held_open();
    StoaProgram      *p = held.program;
    StoaRegionOptions options = STOA_REGION_OPTIONS;
    StoaValue         y = {7};
    stoa_yield(p, &held.x, 1);
    EXPECT(refused(&held, "no region is open"));
    stoa_region_end(p, &y, 1);
    EXPECT_EQ(y.id, 0);
    EXPECT(refused(&held, "no region is open"));
    EXPECT_EQ(stoa_region_arg(p, 0).id, 0);
    EXPECT(refused(&held, "no region is open"));
    options.carries = 1;
    stoa_region_begin(p, STOA_SCAN, &held.x, 1, &options); /* passed over, with all inside */
    EXPECT(refused(&held, "needs a length"));
    stoa_region_begin(p, STOA_IF, &held.n, 1, NULL);
    EXPECT_EQ(stoa_neg(p, held.x).id, 0);
    stoa_yield(p, &held.x, 1);
    stoa_region_end(p, &y, 1);
    stoa_region_end(p, &y, 1);
    EXPECT(stoa_program_check(p) == STOA_OK);
    stoa_region_begin(p, STOA_SWITCH, &held.n, 1, NULL);
    EXPECT(refused(&held, "1 to 64 cases"));
    stoa_region_end(p, &y, 1);
    options.carries = 0;
    stoa_region_begin(p, STOA_SCAN, &held.n, 1, &options);
    EXPECT(refused(&held, "needs an axis 0"));
    stoa_region_end(p, &y, 1);
    stoa_region_begin(p, STOA_IF, &held.n, 1, NULL);
    EXPECT_EQ(stoa_region_arg(p, 0).id, 0);
    EXPECT(refused(&held, "argument 0 is asked for, of 0"));
    stoa_yield(p, &held.x, 1);
    stoa_yield(p, &held.x, 1);
    stoa_region_end(p, &y, 1);
    EXPECT(refused(&held, "what is decided by is i64"));
    EXPECT(stoa_neg(p, held.x).id != 0);
    held_close(&held);
}
