/* Derivatives that are not a table row: higher orders against closed forms, mixed modes, what
 * `gradient` means at its edges, and the choices at kinks. */
#include "script.h"

/* --- third order ------------------------------------------------------------------------------ */
typedef struct Smooth {
    const char *body; /* %y from %x */
    double (*third)(double x);
} Smooth;

static double sin_third(double x) { return -cos(x); }
static double exp_third(double x) { return exp(x); }
static double log_third(double x) { return 2 / (x * x * x); }
static double sqrt_third(double x) { return 0.375 * pow(x, -2.5); }
static double cube_third(double x) { return 6 + 0 * x; }
static double fifth_third(double x) { return 60 * x * x; }
static double entropy_third(double x) { return -1 / (x * x); }
static double tanh_third(double x) {
    double t = tanh(x);
    return (1 - t * t) * (6 * t * t - 2);
}
static double logistic_third(double x) {
    double s = 1 / (1 + exp(-x));
    return s * (1 - s) * (1 - 6 * s + 6 * s * s);
}
static double erf_third(double x) { return 1.1283791670955126 * (4 * x * x - 2) * exp(-x * x); }
static double softplus_third(double x) {
    double s = 1 / (1 + exp(-x));
    return s * (1 - s) * (1 - 2 * s);
}
static double gelu_third(double x) {
    return 0.3989422804014327 * exp(-x * x / 2) * (x * x * x - 4 * x);
}
static double silu_third(double x) {
    double s = 1 / (1 + exp(-x)), d = s * (1 - s), e = d * (1 - 2 * s);
    return 3 * e + x * d * (1 - 6 * s + 6 * s * s);
}
static double       reciprocal_third(double x) { return -6 / (x * x * x * x); }
static double       rsqrt_third(double x) { return -1.875 * pow(x, -3.5); }
static double       pow_third(double x) { return 2.5 * 1.5 * 0.5 / sqrt(x); }
static const Smooth smooth[] = {
    {"%y = sin %x", sin_third},
    {"%y = exp %x", exp_third},
    {"%y = log %x", log_third},
    {"%y = sqrt %x", sqrt_third},
    {"%q = square %x  %y = mul %q, %x", cube_third},
    {"%q = square %x  %r = square %q  %y = mul %r, %x", fifth_third},
    {"%l = log %x  %y = mul %l, %x", entropy_third},
    {"%y = tanh %x", tanh_third},
    {"%y = logistic %x", logistic_third},
    {"%y = erf %x", erf_third},
    {"%y = softplus %x", softplus_third},
    {"%y = gelu %x", gelu_third},
    {"%y = silu %x", silu_third},
    {"%y = reciprocal %x", reciprocal_third},
    {"%y = rsqrt %x", rsqrt_third},
    {"%k = constant {value=f64 2.5}  %n = broadcast_in_dim %k {shape=[B], axes=[]}"
     "  %y = pow %x, %n",
     pow_third},
};
/* Reverse over reverse over reverse, and forward over forward over forward. */
static const char third_program[] = "graph f(%%x: f64[B], %%t: f64[B]) {\n"
                                    "  %s\n"
                                    "  %%s0 = reduce %%y {kind=sum, axes=[0]}\n"
                                    "  %%g1 = gradient %%s0, %%x\n"
                                    "  %%s1 = reduce %%g1 {kind=sum, axes=[0]}\n"
                                    "  %%g2 = gradient %%s1, %%x\n"
                                    "  %%s2 = reduce %%g2 {kind=sum, axes=[0]}\n"
                                    "  %%g3 = gradient %%s2, %%x\n"
                                    "  %%d1 = jvp %%y, %%x, %%t\n"
                                    "  %%d2 = jvp %%d1, %%x, %%t\n"
                                    "  %%d3 = jvp %%d2, %%x, %%t\n"
                                    "  return %%g3, %%d3\n}\n";

TEST(third_order_equals_closed_forms) {
    for (uint32_t i = 0; i < LENGTH(smooth); i++) {
        double at[] = {0.3, 0.8, 1.1, 1.9}, wanted[4];
        for (uint32_t k = 0; k < 4; k++) wanted[k] = smooth[i].third(at[k]);
        Script s = script_open(arena, str_format(arena, third_program, smooth[i].body).data);
        script_input(&s, SHAPE(4), at, 4);
        script_input(&s, SHAPE(4), NUMBERS(1));
        script_expect(&s, 0, 1e-11, wanted, 4);
        script_expect(&s, 1, 1e-11, wanted, 4);
        script_close(&s);
    }
}
/* f = x^2 y^3: d3f / dx2 dy = 6 y^2, in every order of the three. */
TEST(third_order_mixes_arguments) {
    Script s = script_open(arena, "graph f(%x: f64, %y: f64) {\n"
                                  "  %q = square %x  %c = square %y  %d = mul %c, %y\n"
                                  "  %z = mul %q, %d\n"
                                  "  %a = gradient %z, %x  %b = gradient %a, %x\n"
                                  "  %xxy = gradient %b, %y  %c2 = gradient %a, %y\n"
                                  "  %xyx = gradient %c2, %x  %e = gradient %z, %y\n"
                                  "  %g = gradient %e, %x  %yxx = gradient %g, %x\n"
                                  "  return %xxy, %xyx, %yxx\n}\n");
    script_input(&s, SCALAR, NUMBERS(1.5));
    script_input(&s, SCALAR, NUMBERS(-0.7));
    for (uint32_t i = 0; i < 3; i++) script_expect(&s, i, 1e-13, NUMBERS(6 * 0.49));
    script_close(&s);
}
/* The Hessian of sum(sin(m x)) times t, as reverse over forward, forward over reverse and reverse
 * over reverse. */
TEST(modes_agree_on_hessian_products) {
    Script s = script_open(arena, "graph f(%x: f64[B], %m: f64[C,B], %t: f64[B]) {\n"
                                  "  %p = dot_general %m, %x {x_contract=[1], y_contract=[0]}\n"
                                  "  %y = sin %p  %z = reduce %y {kind=sum, axes=[0]}\n"
                                  "  %d = jvp %z, %x, %t  %a = gradient %d, %x\n"
                                  "  %g = gradient %z, %x  %b = jvp %g, %x, %t\n"
                                  "  %q = mul %g, %t  %r = reduce %q {kind=sum, axes=[0]}\n"
                                  "  %c = gradient %r, %x\n"
                                  "  return %a, %b, %c\n}\n");
    double m[6] = {0.5, -0.2, 0.9, 1.1, 0.4, -0.6}, x[2] = {0.3, -0.8}, t[2] = {1.2, 0.7};
    double wanted[2] = {0, 0};
    for (uint32_t i = 0; i < 3; i++) {
        const double *row = m + i * 2;
        double        bend = -sin(row[0] * x[0] + row[1] * x[1]) * (row[0] * t[0] + row[1] * t[1]);
        for (uint32_t k = 0; k < 2; k++) wanted[k] += bend * row[k];
    }
    script_input(&s, SHAPE(2), x, 2);
    script_input(&s, SHAPE(3, 2), m, 6);
    script_input(&s, SHAPE(2), t, 2);
    for (uint32_t i = 0; i < 3; i++) script_expect(&s, i, 1e-13, wanted, 2);
    script_close(&s);
}

/* --- what gradient means ---------------------------------------------------------------------- */
TEST(gradient_of_an_argument_in_itself) {
    Script s = script_open(arena, "graph f(%x: f64, %t: f64) {\n"
                                  "  %g = gradient %x, %x  %d = jvp %x, %x, %t\n"
                                  "  %h = gradient %g, %x\n  return %g, %d, %h\n}\n");
    script_input(&s, SCALAR, NUMBERS(3));
    script_input(&s, SCALAR, NUMBERS(-2));
    script_expect(&s, 0, 0, NUMBERS(1));
    script_expect(&s, 1, 0, NUMBERS(-2));
    script_expect(&s, 2, 0, NUMBERS(0));
    script_close(&s);
}
TEST(gradient_of_what_does_not_depend_is_zero) {
    Script s = script_open(arena, "graph f(%x: f64[B,2], %y: f64[B], %t: f64[B,2]) {\n"
                                  "  %q = square %y  %z = reduce %q {kind=sum, axes=[0]}\n"
                                  "  %g, %h = gradient %z, %x, %y  %d = jvp %z, %x, %t\n"
                                  "  return %g, %h, %d\n}\n");
    script_input(&s, SHAPE(2, 2), NUMBERS(1));
    script_input(&s, SHAPE(2), NUMBERS(3, 5));
    script_input(&s, SHAPE(2, 2), NUMBERS(1));
    script_expect(&s, 0, 0, NUMBERS(0, 0, 0, 0));
    script_expect(&s, 1, 0, NUMBERS(6, 10));
    script_expect(&s, 2, 0, NUMBERS(0));
    script_close(&s);
}
TEST(gradient_in_the_same_argument_twice) {
    Script s = script_open(arena, "graph f(%x: f64, %y: f64) {\n  %z = mul %x, %y\n"
                                  "  %a, %b, %c = gradient %z, %x, %x, %y\n"
                                  "  return %a, %b, %c\n}\n");
    script_input(&s, SCALAR, NUMBERS(3));
    script_input(&s, SCALAR, NUMBERS(4));
    script_expect(&s, 0, 0, NUMBERS(4));
    script_expect(&s, 1, 0, NUMBERS(4));
    script_expect(&s, 2, 0, NUMBERS(3));
    script_close(&s);
}
/* h = x^2, z = h x: an x that is computed from another one is held fixed for it. */
TEST(gradient_in_an_intermediate_value) {
    Script s = script_open(arena, "graph f(%x: f64) {\n  %h = square %x  %z = mul %h, %x\n"
                                  "  %a, %b = gradient %z, %x, %h  %c = gradient %z, %h\n"
                                  "  %d = gradient %z, %x\n  return %a, %b, %c, %d\n}\n");
    script_input(&s, SCALAR, NUMBERS(3));
    script_expect(&s, 0, 0, NUMBERS(9));
    script_expect(&s, 1, 0, NUMBERS(3));
    script_expect(&s, 2, 0, NUMBERS(3));
    script_expect(&s, 3, 0, NUMBERS(27));
    script_close(&s);
}
static const char parameter_program[] = "graph f(%x: f64[B,2]) {\n"
                                        "  %w = parameter {name=\"w\", type=f64[3,2]}\n"
                                        "  %y = linear %x, %w  %q = square %y\n"
                                        "  %z = reduce %q {kind=sum, axes=[0,1]}\n"
                                        "  %g = gradient %z, %w  assign %w, %g\n"
                                        "  return %g\n}\n";
TEST(gradient_in_a_parameter) {
    Script      s = script_open(arena, parameter_program);
    double      w[6] = {1, 2, 3, 4, 5, 6}, wanted[6];
    NamedTensor state = {strings_add(&s.program.world->strings, STR("w")),
                         {.dtype = DTYPE_F64, .rank = 2, .shape = {3, 2}, .data = w}};
    for (uint32_t i = 0; i < 6; i++) { /* x = (1, -1), (2, 0) */
        const double *row = w + i / 2 * 2;
        wanted[i] = i % 2 == 0 ? 2 * (row[0] - row[1]) + 2 * 4 * row[0] : -2 * (row[0] - row[1]);
    }
    s.state = &state;
    s.state_count = 1;
    script_input(&s, SHAPE(2, 2), NUMBERS(1, -1, 2, 0));
    script_expect(&s, 0, 1e-13, wanted, 6);
    script_close(&s);
}
TEST(stop_gradient_stops) {
    Script s = script_open(arena, "graph f(%x: f64, %t: f64) {\n"
                                  "  %h = stop_gradient %x  %z = mul %x, %h\n"
                                  "  %g = gradient %z, %x  %d = jvp %z, %x, %t\n"
                                  "  return %g, %d\n}\n");
    script_input(&s, SCALAR, NUMBERS(3));
    script_input(&s, SCALAR, NUMBERS(10));
    script_expect(&s, 0, 0, NUMBERS(3));
    script_expect(&s, 1, 0, NUMBERS(30));
    script_close(&s);
}
TEST(running_statistics_carry_no_derivative) {
    Script s = script_open(arena, "graph f(%x: f64[4,1], %w: f64[1], %m: f64[1], %v: f64[1]) {\n"
                                  "  %y, %a, %b = batch_norm %x, %w, %w, %m, %v\n"
                                  "  %c = add %a, %b  %z = reduce %c {kind=sum, axes=[0]}\n"
                                  "  %g = gradient %z, %x\n  return %g\n}\n");
    script_input(&s, SHAPE(4, 1), NUMBERS(1, 2, 4, 8));
    for (uint32_t i = 0; i < 3; i++) script_input(&s, SHAPE(1), NUMBERS(1));
    script_expect(&s, 0, 0, NUMBERS(0, 0, 0, 0));
    script_close(&s);
}
/* Sizes that are equal by a declared fact, but written differently. */
TEST(equal_sizes_by_a_fact) {
    Script s = script_open(arena, "dim N = B*T\n"
                                  "graph f(%x: f64[N], %y: f64[B,T], %c: bool[N]) {\n"
                                  "  %r = reshape %y {shape=[B*T]}  %m = mul %r, %x\n"
                                  "  %e = broadcast_in_dim %m {shape=[N,2], axes=[0]}\n"
                                  "  %o = reshape %e {shape=[2*B,T]}  %q = square %o\n"
                                  "  %z = reduce %q {kind=sum, axes=[0,1]}\n"
                                  "  %g, %h = gradient %z, %x, %y\n  return %g, %h\n}\n");
    script_input(&s, SHAPE(6), NUMBERS(1, 2, 3, 4, 5, 6));
    script_input(&s, SHAPE(2, 3), NUMBERS(1, 1, 2, 2, 3, 3));
    script_input_of(&s, DTYPE_BOOL, SHAPE(6), NUMBERS(1));
    script_expect(&s, 0, 1e-13, NUMBERS(4, 8, 48, 64, 180, 216)); /* 4 x y^2 */
    script_expect(&s, 1, 1e-13, NUMBERS(4, 16, 72, 128, 300, 432));
    script_close(&s);
}
/* A thousand rows between x and y; the gradient of the gradient goes through all of them. */
TEST(long_chains) {
    Scratch scratch = scratch_begin(&arena, 1);
    Text    text = text_begin(scratch.arena);
    text_add(&text, STR("graph f(%x: f64) {\n  %y0 = copy %x\n"));
    for (int i = 1; i <= 500; i++)
        text_addf(&text, "  %%s%d = sin %%y%d\n  %%y%d = add %%s%d, %%x\n", i, i - 1, i, i);
    text_add(&text, STR("  %g = gradient %y500, %x  %h = gradient %g, %x\n  return %g, %h\n}\n"));
    Script s = script_open(arena, text_done(&text).data);
    scratch_end(scratch);
    double x = 1, y = 1, slope = 1, bend = 0; /* y' and y'' by the recurrence */
    for (int i = 1; i <= 500; i++) {
        bend = cos(y) * bend - sin(y) * slope * slope;
        slope = cos(y) * slope + 1;
        y = sin(y) + x;
    }
    script_input(&s, SCALAR, NUMBERS(1));
    script_expect(&s, 0, 1e-12, &slope, 1);
    script_expect(&s, 1, 1e-12, &bend, 1);
    script_close(&s);
}

/* --- kinks ------------------------------------------------------------------------------------ */
/* Derivatives of `body` in x and y, where it has none: the choice that is made. */
static void expect_at(Arena *arena, const char *body, double x, double y, double dx, double dy) {
    Script s = script_open(arena, str_format(arena,
                                             "graph f(%%x: f64, %%y: f64) {\n  %s\n"
                                             "  %%g, %%h = gradient %%z, %%x, %%y\n"
                                             "  return %%g, %%h\n}\n",
                                             body)
                                      .data);
    script_input(&s, SCALAR, &x, 1);
    script_input(&s, SCALAR, &y, 1);
    script_expect(&s, 0, 1e-14, &dx, 1);
    script_expect(&s, 1, 1e-14, &dy, 1);
    script_close(&s);
}
TEST(choices_at_kinks) {
    expect_at(arena, "%z = max %x, %y", 2, 2, 0.5, 0.5);
    expect_at(arena, "%z = min %x, %y", 2, 2, 0.5, 0.5);
    expect_at(arena, "%z = abs %x", 0, 0, 0, 0);
    expect_at(arena, "%z = relu %x", 0, 0, 0, 0);
    expect_at(arena, "%z = pow %x, %y", 0, 2, 0, 0);
    expect_at(arena, "%z = pow %x, %y", 0, 1, 1, 0);
    expect_at(arena, "%z = pow %x, %y", 3, 0, 0, log(3));
    expect_at(arena, "%z = pow %x, %y", 0, 0, 0, 0);
    expect_at(arena, "%z = softplus %x", 0, 0, 0.5, 0);
}
static void expect_vector(Arena *arena, const char *body, const double *x, const double *wanted,
                          double tolerance) {
    Script s = script_open(arena, str_format(arena,
                                             "graph f(%%x: f64[4]) {\n  %s\n"
                                             "  %%g = gradient %%z, %%x\n  return %%g\n}\n",
                                             body)
                                      .data);
    script_input(&s, SHAPE(4), x, 4);
    script_expect(&s, 0, tolerance, wanted, 4);
    script_close(&s);
}
TEST(choices_between_equals) {
    const double *tie = (const double[]){3, 1, 3, 3};
    double        third = 1.0 / 3;
    expect_vector(arena, "%z = reduce %x {kind=max, axes=[0]}", tie,
                  (const double[]){third, 0, third, third}, 1e-14);
    expect_vector(arena,
                  "%y = max_pool %x {window=[4], strides=[1], low=[0], high=[0]}"
                  "  %z = reduce %y {kind=sum, axes=[0]}",
                  tie, (const double[]){1, 0, 0, 0}, 0);
    expect_vector(arena,
                  "%y = cumulative %x {kind=max, axis=0}  %z = reduce %y {kind=sum, axes=[0]}", tie,
                  (const double[]){2, 0, 1, 1}, 0);
    expect_vector(arena, "%z = reduce %x {kind=prod, axes=[0]}", (const double[]){2, 0, 3, 5},
                  (const double[]){0, 30, 0, 0}, 0);
    expect_vector(arena, "%z = reduce %x {kind=prod, axes=[0]}", (const double[]){2, 0, 0, 5},
                  (const double[]){0, 0, 0, 0}, 0);
}
/* Large numbers: the custom gradients stay finite where their expansions overflow. x minus its
 * logsumexp cancels: 1e-16 of 1000 is left. */
TEST(custom_gradients_are_stable) {
    expect_at(arena, "%z = softplus %x", 800, 0, 1, 0);
    expect_at(arena, "%z = softplus %x", -800, 0, 0, 0);
    expect_at(arena, "%z = silu %x", -800, 0, 0, 0);
    expect_at(arena, "%z = gelu %x", 50, 0, 1, 0);
    const double *far = (const double[]){1000, 999, -1000, 0};
    double        a = 1 / (1 + exp(-1)), b = 1 - a;
    expect_vector(arena, "%z = logsumexp %x {axes=[0]}", far, (const double[]){a, b, 0, 0}, 2e-13);
    expect_vector(arena, "%i = constant {value=i64 1}  %z = cross_entropy %x, %i", far,
                  (const double[]){a, b - 1, 0, 0}, 1e-13);
}
