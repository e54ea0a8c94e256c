/* Batches of batches, of derivatives, of loops and of graphs with a gradient of their own, against
 * numbers known otherwise. */
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
