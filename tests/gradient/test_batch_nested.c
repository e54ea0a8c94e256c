/* Batches of batches, of derivatives (Jacobians are some), of loops and of graphs with a gradient
 * of their own, against numbers known otherwise. */
#include "script.h"

/* Every pair: k[i,j] = exp(-(x_i - y_j)^2). */
TEST(pairs) {
    Script s = script_open(arena, "graph f(%x: f64, %y: f64, %xs: f64[3], %ys: f64[2]) {"
                                  " %d = sub %x, %y  %q = mul %d, %d  %n = neg %q  %k = exp %n"
                                  "  %r = vmap %k, %y, %ys  %m = vmap %r, %x, %xs {out_axes=[1]}"
                                  "  return %m }");
    (void)script_input(&s, SCALAR, NUMBERS(NAN));
    (void)script_input(&s, SCALAR, NUMBERS(NAN));
    (void)script_input(&s, SHAPE(3), NUMBERS(0, 1, 2));
    (void)script_input(&s, SHAPE(2), NUMBERS(0, 0.5));
    script_expect(&s, 0, 1e-14, NUMBERS(1, exp(-1), exp(-4), exp(-0.25), exp(-0.25), exp(-2.25)));
    script_close(&s);
}
/* A Jacobian as a batch of reverse and of forward products; a Hessian as one of both. */
#define CUBES "%y = mul %x, %x  %z = mul %y, %x  %p = reverse %z {axes=[0]}  %q = mul %p, %x  "
TEST(jacobian_both_ways) {
    Script s = script_open(
        arena,
        "graph f(%x: f64[2], %e: f64[2,2]) {" CUBES
        "%w = reverse %x {axes=[0]}  %dq = jvp %q, %x, %w  %f = vmap %dq, %w, %e {out_axes=[1]}"
        "  %wq = constant {value=f64[2] [0, 0]}  %u = mul %q, %wq"
        "  %v = reduce %u {kind=sum, axes=[0]}  %g = gradient %v, %x"
        "  %r = vmap %g, %wq, %e"
        "  %qs = reduce %q {kind=sum, axes=[0]}  %h = gradient %qs, %x"
        "  %hv = jvp %h, %x, %wq  %hh = vmap %hv, %wq, %e  return %f, %r, %hh }");
    double a = 0.5, b = -1.5;
    (void)script_input(&s, SHAPE(2), NUMBERS(a, b));
    (void)script_input(&s, SHAPE(2, 2), NUMBERS(1, 0, 0, 1));
    /* q = (b^3 a, a^3 b) */
    script_expect(&s, 0, 1e-14, NUMBERS(b * b * b, 3 * b * b * a, 3 * a * a * b, a * a * a));
    script_expect(&s, 1, 1e-14, NUMBERS(b * b * b, 3 * b * b * a, 3 * a * a * b, a * a * a));
    script_expect(&s, 2, 1e-14,
                  NUMBERS(6 * a * b, 3 * (b * b + a * a), 3 * (b * b + a * a), 6 * a * b));
    script_close(&s);
}
/* Weights that differ from sample to sample, and the gradient of each. */
TEST(gradients_of_samples) {
    Script s = script_open(arena, "graph f(%x: f64[2], %w: f64[2], %xs: f64[3,2]) {"
                                  " %p = mul %x, %w  %l = reduce %p {kind=sum, axes=[0]}"
                                  "  %q = mul %l, %l  %g = gradient %q, %w  %gs = vmap %g, %x, %xs"
                                  "  %a = vmap %q, %x, %xs  %t = reduce %a {kind=sum, axes=[0]}"
                                  "  %gt = gradient %t, %w  return %gs, %gt }");
    (void)script_input(&s, SHAPE(2), NUMBERS(NAN, NAN));
    (void)script_input(&s, SHAPE(2), NUMBERS(2, -1));
    (void)script_input(&s, SHAPE(3, 2), NUMBERS(1, 0, 0, 1, 1, 1));
    script_expect(&s, 0, 1e-14, NUMBERS(4, 0, 0, -2, 2, 2)); /* 2 (w x) x */
    script_expect(&s, 1, 1e-14, NUMBERS(6, 0));
    script_close(&s);
}
/* A while that takes another number of steps for each sample, and its gradient. */
TEST(loops_of_samples) {
    Script s = script_open(
        arena, "graph f(%x: f64, %xs: f64[4]) { %k = constant {value=f64 10}"
               "  %y = while %x {limit=9} : f64 (%a: f64) { %m = compare %a, %k {direction=lt}"
               "  return %m } (%a: f64) { %b = mul %a, %x  return %b }"
               "  %g = gradient %y, %x  %ys, %gs = vmap %y, %g, %x, %xs"
               "  %t = reduce %ys {kind=sum, axes=[0]}  %gt = gradient %t, %xs"
               "  return %ys, %gs, %gt }");
    (void)script_input(&s, SCALAR, NUMBERS(11));
    (void)script_input(&s, SHAPE(4), NUMBERS(2, 3, 12, 1.8));
    double power = 1.8 * 1.8 * 1.8 * 1.8; /* x^4, x^3, x, x^4 */
    script_expect(&s, 0, 1e-14, NUMBERS(16, 27, 12, power));
    script_expect(&s, 1, 1e-14, NUMBERS(32, 27, 1, 4 * power / 1.8));
    script_expect(&s, 2, 1e-14, NUMBERS(32, 27, 1, 4 * power / 1.8));
    script_close(&s);
}
/* The same where the sample is a stand-in for which the loop would never end: the assert of the
 * gradient is about the samples. */
TEST(asserts_are_about_samples) {
    Script s = script_open(
        arena, "graph f(%xs: f64[2]) { %x = constant {value=f64 0}  %k = constant {value=f64 10}"
               "  %y = while %x {limit=5} : f64 (%a: f64) { %m = compare %a, %k {direction=lt}"
               "  return %m } (%a: f64) { %b = mul %a, %x  return %b }"
               "  %g = gradient %y, %x  %gs = vmap %g, %x, %xs  return %gs }");
    (void)script_input(&s, SHAPE(2), NUMBERS(2, 3));
    script_expect(&s, 0, 1e-14, NUMBERS(32, 27));
    s.inputs_count = 0;
    Tensor *x = script_input(&s, SHAPE(2), NUMBERS(2, 1.1)), out;
    EXPECT_EQ(interp_run(arena, s.program.world, (GraphId){1}, x, 1, NULL, 0, &out,
                         &s.program.world->diags),
              STATUS_INVALID);
    script_close(&s);
}
/* The gradient that a graph brings is kept. */
TEST(custom_gradients) {
    Script s = script_open(
        arena, "graph f(%x: f64[2], %xs: f64[2,2]) {"
               " %y = custom_grad %x {graph=\"square\", gradient=\"seven\"} : f64[2]"
               "  %ys = vmap %y, %x, %xs {axes=[1]}  %t = reduce %ys {kind=sum, axes=[0,1]}"
               "  %g = gradient %t, %xs  return %ys, %g }"
               "graph square(%x: f64[2]) { %y = mul %x, %x  return %y }"
               "graph seven(%x: f64[2], %c: f64[2]) { %s = constant {value=f64 7}"
               "  %v = broadcast_in_dim %s {shape=[2], axes=[]}  %g = mul %c, %v  return %g }");
    (void)script_input(&s, SHAPE(2), NUMBERS(NAN, NAN));
    (void)script_input(&s, SHAPE(2, 2), NUMBERS(1, 2, 3, 4));
    script_expect(&s, 0, 1e-14, NUMBERS(1, 9, 4, 16));
    script_expect(&s, 1, 1e-14, NUMBERS(7, 7, 7, 7));
    script_close(&s);
}

/* --- jacobian --------------------------------------------------------------------------------- */
/* w sin(x), with more inputs than outputs and the other way. */
static void jacobian(Arena *arena, bool wide) {
    Script s = script_open(
        arena, wide ? "graph f(%x: f64[4], %w: f64[2,4]) { %e = sin %x  %y = dot_general %w, %e"
                      " {x_contract=[1], y_contract=[0]}  %j = jacobian %y, %x  return %j }"
                    : "graph f(%x: f64[2], %w: f64[4,2]) { %e = sin %x  %y = dot_general %w, %e"
                      " {x_contract=[1], y_contract=[0]}  %j = jacobian %y, %x  return %j }");
    double   x[4] = {0.3, -1, 2, 0.7}, w[8] = {1, 2, 3, 4, 5, 6, 7, 8}, wanted[8];
    uint32_t n = wide ? 4 : 2;
    for (uint32_t i = 0; i < 8; i++) wanted[i] = w[i] * cos(x[i % n]);
    (void)script_input(&s, &(int64_t){n}, 1, x, n);
    (void)script_input(&s, (int64_t[]){8 / n, n}, 2, w, 8);
    script_expect(&s, 0, 1e-15, wanted, 8);
    script_close(&s);
}
TEST(jacobian_with_few_inputs) { jacobian(arena, false); }
TEST(jacobian_with_few_outputs) { jacobian(arena, true); }
/* A Jacobian of a gradient whose gradient is taken; both ends have no or several axes. */
TEST(jacobian_nests) {
    Script s =
        script_open(arena, "graph f(%x: f64[2,2]) { %q = mul %x, %x  %c = mul %q, %x"
                           "  %s = reduce %c {kind=sum, axes=[0,1]}  %g = gradient %s, %x"
                           "  %h = jacobian %g, %x  %t = reduce %h {kind=sum, axes=[0,1,2,3]}"
                           "  %d = gradient %t, %x  %j = jacobian %s, %x  return %h, %d, %j }");
    double wanted[16] = {0}, x[4] = {1, 2, 3, 4}, third[4] = {6, 6, 6, 6}, first[4];
    for (uint32_t i = 0; i < 4; i++) wanted[5 * i] = 6 * x[i];
    for (uint32_t i = 0; i < 4; i++) first[i] = 3 * x[i] * x[i];
    (void)script_input(&s, SHAPE(2, 2), x, 4);
    script_expect(&s, 0, 1e-14, wanted, 16);
    script_expect(&s, 1, 1e-14, third, 4);
    script_expect(&s, 2, 1e-14, first, 4);
    script_close(&s);
}
/* Through a loop that the gradient replaces, in reverse. */
TEST(jacobian_of_a_loop) {
    Script s = script_open(
        arena, "graph f(%x: f64[3]) { %z = constant {value=f64 1}"
               "  %y = scan %z, %x {carries=1} : f64 (%i: i64, %c: f64, %r: f64) {"
               " %p = mul %c, %r  return %p }  %q = mul %y, %y  %j = jacobian %q, %x"
               "  %t = reduce %j {kind=sum, axes=[0]}  %g = gradient %t, %x  return %j, %g }");
    double a = 2, b = 3, c = 0.5;
    (void)script_input(&s, SHAPE(3), NUMBERS(a, b, c));
    script_expect(&s, 0, 1e-14,
                  NUMBERS(2 * a * b * b * c * c, 2 * a * a * b * c * c, 2 * a * a * b * b * c));
    script_expect(&s, 1, 1e-14,
                  NUMBERS(2 * b * b * c * c + 4 * a * b * c * (c + b),
                          2 * a * a * c * c + 4 * a * b * c * (c + a),
                          2 * a * a * b * b + 4 * a * b * c * (b + a)));
    script_close(&s);
}
