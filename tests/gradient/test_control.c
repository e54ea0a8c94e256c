/* Derivatives of operators with blocks: cases against finite differences, graphs with a gradient of
 * their own, third order, what a while says beyond its limit, and derivatives that are taken inside
 * loops. */
#include "cases_control.h"
#include "script.h"

/* --- third order ------------------------------------------------------------------------------ */
/* x^5 in four multiplications: 60 x^2, whatever makes the loop. */
#define THIRD(loop)                                                                                \
    "graph f(%x: f64) { " loop "  %g = gradient %y, %x  %h = gradient %g, %x"                      \
    "  %t = gradient %h, %x  return %y, %g, %h, %t }"
static void third(Arena *arena, const char *text) {
    Script s = script_open(arena, text);
    (void)script_input(&s, SCALAR, NUMBERS(1.5));
    script_expect(&s, 0, 1e-12, NUMBERS(7.59375));
    script_expect(&s, 1, 1e-12, NUMBERS(25.3125));
    script_expect(&s, 2, 1e-12, NUMBERS(67.5));
    script_expect(&s, 3, 1e-12, NUMBERS(135));
    script_close(&s);
}
TEST(third_order_scan) {
    third(arena, THIRD("%y = scan %x {carries=1, length=4} : f64 (%i: i64, %c: f64) {"
                       " %n = mul %c, %x  return %n }"));
}
TEST(third_order_while) {
    third(arena, THIRD(TRIPS(4) "%k, %y = while %n0, %x {limit=4} : i64, f64 (%i: i64, %c: f64) {"
                                " %m = compare %i, %nt {direction=lt}  return %m }"
                                " (%i: i64, %c: f64) { %j = add %i, %n1  %n = mul %c, %x"
                                "  return %j, %n }"));
}
TEST(third_order_if) {
    third(arena, THIRD("%o = constant {value=f64 1}  %b = compare %x, %o {direction=gt}"
                       "  %y = if %b : f64 { %p = mul %x, %x  %q = mul %p, %p  %r = mul %q, %x"
                       "  return %r } { return %x }"));
}
/* Two trips around two, a branch inside: what all of them carry is multiplied four times. */
TEST(third_order_of_loops_in_loops) {
    third(arena, THIRD(TRIPS(2) "%o = constant {value=f64 1}"
                                "  %y = scan %x {carries=1, length=2} : f64 (%r: i64, %e: f64) {"
                                " %k, %w = while %n0, %e {limit=3} : i64, f64 (%i: i64, %c: f64) {"
                                " %m = compare %i, %nt {direction=lt}  return %m }"
                                " (%i: i64, %c: f64) { %j = add %i, %n1"
                                "  %b = compare %c, %o {direction=gt}"
                                "  %n = if %b : f64 { %p = mul %c, %x  return %p } { return %c }"
                                "  return %j, %n }  return %w }"));
}
TEST(third_order_forward) {
    Script s = script_open(
        arena,
        "graph f(%x: f64, %v: f64) {"
        " %y = scan %x {carries=1, length=4} : f64 (%i: i64, %c: f64) {"
        " %n = mul %c, %x  return %n }"
        "  %a = jvp %y, %x, %v  %b = jvp %a, %x, %v  %t = gradient %b, %x  return %a, %b, %t }");
    (void)script_input(&s, SCALAR, NUMBERS(1.5));
    (void)script_input(&s, SCALAR, NUMBERS(1));
    script_expect(&s, 0, 1e-12, NUMBERS(25.3125));
    script_expect(&s, 1, 1e-12, NUMBERS(67.5));
    script_expect(&s, 2, 1e-12, NUMBERS(135));
    script_close(&s);
}

/* --- graphs with a gradient of their own ------------------------------------------------------ */
// custom_grad-c1 custom_grad-c2
TEST(custom_gradient) {
    Script s =
        script_open(arena, "graph f(%x: f64[2], %n: i64) {"
                           " %y, %m = custom_grad %x, %n {graph=\"square\", gradient=\"seven\"}"
                           " : f64[2], i64  %t = reduce %y {kind=sum, axes=[0]}"
                           "  %g = gradient %t, %x  %d = jvp %y, %x, %x  return %y, %g, %d }"
                           "graph square(%x: f64[2], %n: i64) { %y = mul %x, %x"
                           "  return %y, %n }"
                           "graph seven(%x: f64[2], %n: i64, %ct: f64[2]) {"
                           " %k = constant {value=f64 7}"
                           "  %b = broadcast_in_dim %k {shape=[2], axes=[]}"
                           "  %g = mul %b, %ct  return %g }");
    (void)script_input(&s, SHAPE(2), NUMBERS(2, 3));
    (void)script_input_of(&s, DTYPE_I64, SCALAR, NUMBERS(1));
    script_expect(&s, 0, 0, NUMBERS(4, 9));
    script_expect(&s, 1, 0, NUMBERS(7, 7));
    script_expect(&s, 2, 0, NUMBERS(8, 18)); /* of the graph itself */
    script_close(&s);
}
/* The square three times over, in every kind of loop: x^8. A claim that is true gives all orders;
 * one that is not is taken at its word, once a trip; forward mode asks the graph itself; a loop of
 * no trips asks nobody. */
#define SQUARES                                                                                    \
    "graph square(%x: f64) { %y = mul %x, %x  return %y }"                                         \
    "graph true(%x: f64, %ct: f64) { %d = add %x, %x  %g = mul %d, %ct  return %g }"               \
    "graph seven(%x: f64, %ct: f64) { %k = constant {value=f64 7}  %g = mul %k, %ct  return %g }"
#define SQUARED(claim) "%n = custom_grad %c {graph=\"square\", gradient=\"" claim "\"} : f64"
#define IN_SCAN(claim, trips)                                                                      \
    "%y = scan %x {carries=1, length=" trips                                                       \
    "} : f64 (%i: i64, %c: f64) { " SQUARED(claim) "  return %n }"
#define IN_WHILE(claim)                                                                            \
    TRIPS(3)                                                                                       \
    "%k, %y = while %n0, %x {limit=4} : i64, f64 (%i: i64, %c: f64) {"                             \
    " %m = compare %i, %nt {direction=lt}  return %m } (%i: i64, %c: f64) {"                       \
    " %j = add %i, %n1  " SQUARED(claim) "  return %j, %n }"
#define IN_BRANCH(claim)                                                                           \
    "%o = constant {value=f64 0}  %b = compare %x, %o {direction=gt}"                              \
    "  %y = scan %x {carries=1, length=3, segment=2} : f64 (%i: i64, %c: f64) {"                   \
    " %w = if %b : f64 { " SQUARED(claim) "  return %n } { return %c }  return %w }"
TEST(custom_gradients_in_loops) {
    static const struct {
        const char *loop;
        double      numbers[5]; /* y, three gradients in a row, jvp; at 1.5 */
    } rows[] = {
        {IN_SCAN("true", "3"), {25.62890625, 136.6875, 637.875, 2551.5, 136.6875}},
        {IN_WHILE("true"), {25.62890625, 136.6875, 637.875, 2551.5, 136.6875}},
        {IN_BRANCH("true"), {25.62890625, 136.6875, 637.875, 2551.5, 136.6875}},
        {IN_SCAN("seven", "3"), {25.62890625, 343, 0, 0, 136.6875}},
        {IN_WHILE("seven"), {25.62890625, 343, 0, 0, 136.6875}},
        {IN_BRANCH("seven"), {25.62890625, 343, 0, 0, 136.6875}},
        {IN_SCAN("seven", "0"), {1.5, 1, 0, 0, 1}},
    };
    for (size_t i = 0; i < LENGTH(rows); i++) {
        Script s = script_open(
            arena, str_format(arena, "graph f(%%x: f64, %%v: f64) { %s%s%s", rows[i].loop,
                              "  %g = gradient %y, %x  %h = gradient %g, %x  %t = gradient %h, %x"
                              "  %d = jvp %y, %x, %v  return %y, %g, %h, %t, %d }",
                              SQUARES)
                       .data);
        (void)script_input(&s, SCALAR, NUMBERS(1.5));
        (void)script_input(&s, SCALAR, NUMBERS(1));
        for (uint32_t k = 0; k < 5; k++) script_expect(&s, k, 1e-12, &rows[i].numbers[k], 1);
        script_close(&s);
    }
}
TEST(calls_are_differentiated) {
    Script s = script_open(arena, "graph f(%x: f64[2]) { %y = call %x {graph=\"square\"} : f64[2]"
                                  "  %t = reduce %y {kind=sum, axes=[0]}  %g = gradient %t, %x"
                                  "  return %g }"
                                  "graph square(%x: f64[2]) { %y = mul %x, %x  return %y }");
    (void)script_input(&s, SHAPE(2), NUMBERS(2, 3));
    script_expect(&s, 0, 0, NUMBERS(4, 6));
    script_close(&s);
}

/* --- inside and around ------------------------------------------------------------------------ */
/* Ten steps of gradient descent on (x - 3)^2, whose end depends on the rate: 3 + (x0 - 3) (1 - 2
 * rate)^10. */
TEST(gradient_in_a_loop) {
    Script s = script_open(
        arena, "graph f(%x: f64, %rate: f64) { %k = constant {value=f64 3}"
               "  %z = scan %x {carries=1, length=10} : f64 (%i: i64, %c: f64) {"
               " %d = sub %c, %k  %l = mul %d, %d  %g = gradient %l, %c  %s = mul %g, %rate"
               "  %n = sub %c, %s  return %n }"
               "  %r = gradient %z, %rate  %h = gradient %r, %rate  return %z, %r, %h }");
    (void)script_input(&s, SCALAR, NUMBERS(1));
    (void)script_input(&s, SCALAR, NUMBERS(0.1));
    script_expect(&s, 0, 1e-12, NUMBERS(3 - 2 * pow(0.8, 10)));
    script_expect(&s, 1, 1e-12, NUMBERS(40 * pow(0.8, 9)));
    script_expect(&s, 2, 1e-12, NUMBERS(-720 * pow(0.8, 8)));
    script_close(&s);
}
TEST(a_while_says_when_its_limit_is_passed) {
    const char *text = "graph f(%x: f64, %nt: i64) { " ZERO_ONE
                       "%k, %y = while %n0, %x {limit=4} : i64, f64 (%i: i64, %c: f64) {"
                       " %m = compare %i, %nt {direction=lt}  return %m } (%i: i64, %c: f64) {"
                       " %j = add %i, %n1  %n = mul %c, %x  return %j, %n }"
                       "  %g = gradient %y, %x  return %g }";
    for (int64_t trips = 4; trips <= 5; trips++) {
        Script s = script_open(arena, text);
        Tensor out[1];
        (void)script_input(&s, SCALAR, NUMBERS(2));
        (void)script_input_of(&s, DTYPE_I64, SCALAR, NUMBERS((double)trips));
        World *world = s.program.world;
        Status status =
            interp_run(arena, world, (GraphId){1}, s.inputs, 2, NULL, 0, out, &world->diags);
        EXPECT_EQ(status, trips == 4 ? STATUS_OK : STATUS_INVALID);
        if (trips == 4) EXPECT(script_near(inputs_get(&out[0], 0), 80, 1e-12));
        if (trips == 5) EXPECT_EQ(world->diags.rows.kind[1], DIAG_ASSERT_FAILED);
        script_close(&s);
    }
}

CASES_END()
