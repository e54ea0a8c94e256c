/* Taylor mode through operators with blocks: order nine against the same steps written out, which
 * are checked against 120-digit numbers (test_taylor.c), and against closed forms; gradients of
 * coefficients, sums of derivatives, graphs with a gradient of their own, rows inside loops. */
#include "script.h"

enum { ORDER = 9 };
static const char results[] = "%c1, %c2, %c3, %c4, %c5, %c6, %c7, %c8, %c9";
static const char others[] = "%d1, %d2, %d3, %d4, %d5, %d6, %d7, %d8, %d9";

/* One step of x -> sin(x) / (1 + x^2) + 0.3 x e, from %x to %y. */
static void add_step(Text *text, const char *x, const char *y) {
    text_addf(text,
              "  %%%s.q = mul %%%s, %%%s  %%%s.p = add %%%s.q, %%one  %%%s.s = sin %%%s\n"
              "  %%%s.f = div %%%s.s, %%%s.p  %%%s.e = mul %%%s, %%e  %%%s = add %%%s.f, %%%s.e\n",
              y, x, x, y, y, y, x, y, y, y, y, x, y, y, y);
}
static void add_head(Text *text) {
    text_add(text, STR("graph f(%x: f64[2], %v: f64[2], %e: f64[2]) {\n"
                       "  %k1 = constant {value=f64 1}  %k3 = constant {value=f64 0.3}\n"
                       "  %one = broadcast_in_dim %k1 {shape=[2], axes=[]}\n"
                       "  %i0 = constant {value=i64 0}  %i1 = constant {value=i64 1}\n"
                       "  %i3 = constant {value=i64 3}\n"));
}
static void add_written_out(Text *text, int steps) {
    char from[16] = "x", to[16];
    for (int i = 1; i <= steps; i++) {
        (void)snprintf(to, sizeof to, "u%d", i);
        add_step(text, from, to);
        memcpy(from, to, sizeof from);
    }
}
/* y, from a loop or branch in %x and %e, has the coefficients of %u3; both also move in e. */
static void check_loop(Arena *arena, const char *loop) {
    Text text = text_begin(arena_open("taylor", 0, 0));
    add_head(&text);
    add_written_out(&text, 3);
    text_add(&text, str_of(loop));
    text_addf(&text, "  %s = taylor %%y, %%x, %%v\n  %s = taylor %%u3, %%x, %%v\n", results,
              others);
    text_addf(&text,
              "  %%r = concat %%c1, %%c2, %%c3, %%c4, %%c5, %%c6, %%c7, %%c8, %%c9 {axis=0}\n"
              "  %%t = concat %%d1, %%d2, %%d3, %%d4, %%d5, %%d6, %%d7, %%d8, %%d9 {axis=0}\n"
              "  %%g5, %%g6 = taylor %%y, %%x, %%e, %%v, %%v\n"
              "  %%h5, %%h6 = taylor %%u3, %%x, %%e, %%v, %%v\n"
              "  return %%r, %%t, %%g6, %%h6\n}\n");
    Script s = script_open(arena, text_done(&text).data);
    arena_close(text.arena);
    script_input(&s, SHAPE(2), NUMBERS(0.3, 0.85));
    script_input(&s, SHAPE(2), NUMBERS(1, -0.5));
    script_input(&s, SHAPE(2), NUMBERS(0.3, 0.4));
    for (uint32_t pair = 0; pair < 4; pair += 2) {
        const Tensor *got = script_out(&s, pair), *wanted = script_out(&s, pair + 1);
        double        size = 1;
        if (got == NULL || wanted == NULL) break;
        for (int64_t i = 0; i < tensor_elements(wanted); i++)
            size = fmax(size, fabs(inputs_get(wanted, i)));
        for (int64_t i = 0; i < tensor_elements(wanted); i++)
            if (!EXPECT(fabs(inputs_get(got, i) - inputs_get(wanted, i)) <= 1e-12 * size))
                printf(" [%lld] is %.15g, expected %.15g", (long long)i, inputs_get(got, i),
                       inputs_get(wanted, i));
    }
    script_close(&s);
}
static const char *with_step(Arena *arena, const char *before, const char *from, const char *to,
                             const char *after) {
    Text text = text_begin(arena_open("step", 0, 0));
    text_addf(&text, "%s", before);
    add_step(&text, from, to);
    text_addf(&text, "%s", after);
    const char *made = str_copy(arena, text_done(&text)).data;
    arena_close(text.arena);
    return made;
}
TEST(order_nine_through_a_while) {
    check_loop(arena, with_step(arena,
                                "  %n, %y = while %i0, %x : i64, f64[2] (%i: i64, %a: f64[2]) {\n"
                                "    %m = compare %i, %i3 {direction=lt}  return %m\n"
                                "  } (%i: i64, %a: f64[2]) {\n",
                                "a", "b", "    %j = add %i, %i1  return %j, %b\n  }\n"));
}
TEST(order_nine_through_a_scan_in_runs) {
    check_loop(arena, with_step(arena,
                                "  %y = scan %x {carries=1, length=3, segment=2} : f64[2]"
                                " (%i: i64, %a: f64[2]) {\n",
                                "a", "b", "    return %b\n  }\n"));
}
/* What is scanned moves, and what is stacked is used. */
TEST(order_nine_through_rows_of_a_scan) {
    check_loop(arena, with_step(arena,
                                "  %x1 = reshape %x {shape=[1,2]}  %zero = sub %x1, %x1\n"
                                "  %xs = concat %x1, %zero, %zero {axis=0}  %none = sub %x, %x\n"
                                "  %last, %all = scan %none, %xs {carries=1} : f64[2], f64[3,2]"
                                " (%i: i64, %c: f64[2], %row: f64[2]) {\n    %a = add %c, %row\n",
                                "a", "b",
                                "    return %b, %b\n  }\n"
                                "  %tail = slice %all {starts=[2,0], limits=[3,2]}\n"
                                "  %y = reshape %tail {shape=[2]}\n"));
}
/* A switch in a while in an if: each step is another case, one of them does nothing to a stream. */
TEST(order_nine_through_nested_blocks) {
    const char *inner = with_step(arena, "      %b0 = switch %i {cases=3} : f64[2] {\n", "a", "b",
                                  "        return %b\n      } {\n");
    inner =
        with_step(arena, inner, "a", "bb",
                  "        return %bb\n      } {\n"
                  "        %w = scan %a {carries=1, length=1} : f64[2] (%k: i64, %a3: f64[2]) {\n");
    inner = with_step(arena, inner, "a3", "b3",
                      "        return %b3\n        }\n"
                      "        return %w\n      }\n");
    check_loop(arena, str_format(arena,
                                 "  %%yes = compare %%i0, %%i3 {direction=lt}\n"
                                 "  %%y = if %%yes : f64[2] {\n"
                                 "    %%n, %%z = while %%i0, %%x : i64, f64[2]"
                                 " (%%i: i64, %%a: f64[2]) {\n"
                                 "      %%m = compare %%i, %%i3 {direction=lt}  return %%m\n"
                                 "    } (%%i: i64, %%a: f64[2]) {\n%s"
                                 "      %%j = add %%i, %%i1  return %%j, %%b0\n    }\n"
                                 "    return %%z\n  } { return %%e }\n",
                                 inner)
                          .data);
}

/* x^8 by three squarings: coefficients are binomial; none beyond the eighth. */
TEST(a_power_has_binomial_coefficients) {
    static const double binomial[] = {8, 28, 56, 70, 56, 28, 8, 1, 0};
    Script              s =
        script_open(arena, "graph f(%x: f64[1], %v: f64[1]) {"
                           " %y = scan %x {carries=1, length=3} : f64[1] (%i: i64, %a: f64[1]) {"
                           " %b = mul %a, %a  return %b }"
                           " %1, %2, %3, %4, %5, %6, %7, %8, %9 = taylor %y, %x, %v"
                           " return %1, %2, %3, %4, %5, %6, %7, %8, %9 }");
    script_input(&s, SHAPE(1), NUMBERS(1.25));
    script_input(&s, SHAPE(1), NUMBERS(1));
    for (uint32_t k = 0; k < ORDER; k++)
        script_expect(&s, k, 1e-13, (double[]){binomial[k] * pow(1.25, 7.0 - k)}, 1);
    script_close(&s);
}
/* A loop without trips is the identity, a linear one has no second coefficient, and a result that
 * nothing moves has none at all. */
TEST(loops_of_no_trips_and_linear_ones) {
    Script s = script_open(
        arena, "graph f(%x: f64[2], %v: f64[2], %e: f64[2]) {"
               " %y = scan %x {carries=1, length=0} : f64[2] (%i: i64, %a: f64[2]) {"
               " %b = mul %a, %a  return %b }"
               " %z, %w = scan %x, %e {carries=2, length=2} : f64[2], f64[2]"
               " (%i: i64, %a: f64[2], %c: f64[2]) { %b = add %a, %a  %d = exp %c  return %b, %d }"
               " %1, %2 = taylor %y, %x, %v  %3, %4 = taylor %z, %x, %v  %5, %6 = taylor %w, %x, %v"
               " return %1, %2, %3, %4, %5, %6 }");
    script_input(&s, SHAPE(2), NUMBERS(3, 5));
    script_input(&s, SHAPE(2), NUMBERS(1, 2));
    script_input(&s, SHAPE(2), NUMBERS(0.5, 1));
    script_expect(&s, 0, 0, NUMBERS(1, 2));
    script_expect(&s, 2, 0, NUMBERS(4, 8));
    script_expect(&s, 1, 0, NUMBERS(0, 0));
    for (uint32_t i = 3; i < 6; i++) script_expect(&s, i, 0, NUMBERS(0, 0));
    script_close(&s);
}

/* --- under other derivatives ------------------------------------------------------------------ */
/* The gradient of coefficient k is k + 1 times the next one; through a loop in runs as well. */
TEST(gradients_of_coefficients_are_the_next_ones) {
    static const char *const attrs[] = {"length=4", "length=4, segment=2"};
    for (uint32_t n = 0; n < LENGTH(attrs); n++) {
        String text = str_format(
            arena,
            "graph f(%%x: f64[2], %%v: f64[2]) {"
            " %%k = constant {value=f64 0.2}  %%h = broadcast_in_dim %%k {shape=[2], axes=[]}"
            " %%y = scan %%x {carries=1, %s} : f64[2] (%%i: i64, %%a: f64[2]) {"
            "  %%s = sin %%a  %%q = mul %%s, %%a  %%p = mul %%q, %%h  %%b = add %%a, %%p"
            "  return %%b }"
            " %%1, %%2, %%3, %%4, %%5 = taylor %%y, %%x, %%v"
            " %%t = reduce %%4 {kind=sum, axes=[0]}  %%g = gradient %%t, %%x"
            " %%j = jvp %%4, %%x, %%v  %%five = constant {value=f64 5}"
            " %%f = broadcast_in_dim %%five {shape=[2], axes=[]}  %%w = mul %%f, %%5"
            " %%d = sub %%g, %%w  %%e = sub %%j, %%w  return %%d, %%e, %%w }",
            attrs[n]);
        Script s = script_open(arena, text.data);
        script_input(&s, SHAPE(2), NUMBERS(0.7, 1.4));
        script_input(&s, SHAPE(2), NUMBERS(1));
        script_expect(&s, 0, 1e-11, NUMBERS(0, 0));
        script_expect(&s, 1, 1e-11, NUMBERS(0, 0));
        const Tensor *size = script_out(&s, 2);
        EXPECT(size != NULL && fabs(inputs_get(size, 0)) > 1e-2);
        script_close(&s);
    }
}
/* A network whose layers are steps of a scan, as a solution of an equation: sums of derivatives of
 * orders one to four, against forward mode repeated, and the gradient of one in the weights against
 * nested reverse mode. */
TEST(sums_of_derivatives_of_a_network_in_a_loop) {
    Script s = script_open(
        arena,
        "graph f(%x: f64[3,2], %w: f64[4,2], %q: f64[4,4], %u: f64[1,4], %vx: f64[3,2],"
        " %vy: f64[3,2]) {\n"
        "  %z = linear %x, %w  %h = scan %z {carries=1, length=3} : f64[3,4] (%i: i64, %a: "
        "f64[3,4]) {\n"
        "    %b = linear %a, %q  %c = tanh %b  %d = add %a, %c  return %d }\n"
        "  %y = linear %h, %u\n"
        "  %l, %b, %t = derivatives %y, %x {of=[\"laplacian\", \"bilaplacian\", \"0+011\"]}\n"
        "  %x1 = jvp %y, %x, %vx  %x2 = jvp %x1, %x, %vx  %x3 = jvp %x2, %x, %vx\n"
        "  %x4 = jvp %x3, %x, %vx  %y1 = jvp %y, %x, %vy  %y2 = jvp %y1, %x, %vy\n"
        "  %y3 = jvp %y2, %x, %vy  %y4 = jvp %y3, %x, %vy  %x2y = jvp %x2, %x, %vy\n"
        "  %x2y2 = jvp %x2y, %x, %vy  %y2x = jvp %y2, %x, %vx\n"
        "  %nl = add %x2, %y2  %s1 = add %x4, %y4  %s2 = add %x2y2, %x2y2  %nb = add %s1, %s2\n"
        "  %nt = add %x1, %y2x  %dl = sub %l, %nl  %db = sub %b, %nb  %dt = sub %t, %nt\n"
        "  %sl = reduce %l {kind=sum, axes=[0,1]}  %gq = gradient %sl, %q\n"
        "  %sn = reduce %nl {kind=sum, axes=[0,1]}  %gn = gradient %sn, %q  %dg = sub %gq, %gn\n"
        "  return %dl, %db, %dt, %dg, %nb\n}\n");
    uint64_t noise = 7;
    for (uint32_t i = 0; i < 4; i++) {
        static const int64_t shapes[4][2] = {{3, 2}, {4, 2}, {4, 4}, {1, 4}};
        script_noise(&s, &noise, 0.7, shapes[i], 2);
    }
    script_input(&s, SHAPE(3, 2), NUMBERS(1, 0));
    script_input(&s, SHAPE(3, 2), NUMBERS(0, 1));
    for (uint32_t i = 0; i < 3; i++) script_expect(&s, i, 1e-12, NUMBERS(0, 0, 0));
    script_expect(&s, 3, 1e-12, NUMBERS(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    const Tensor *size = script_out(&s, 4);
    EXPECT(size != NULL && fabs(inputs_get(size, 0)) > 1e-3);
    script_close(&s);
}

/* --- graphs with a gradient of their own ------------------------------------------------------ */
/* x^3 whose gradient claims 7 x: coefficients are those of x^3; the gradient of the value stays
 * 7 x, that of a coefficient is that of its rows; a second gradient goes through the claim. */
TEST(a_gradient_of_its_own_stays_that_of_the_value) {
    Script s =
        script_open(arena, "graph f(%x: f64[2], %v: f64[2]) {"
                           " %y = custom_grad %x {graph=\"cube\", gradient=\"claim\"} : f64[2]"
                           " %1, %2, %3 = taylor %y, %x, %v"
                           " %t = reduce %y {kind=sum, axes=[0]}  %g = gradient %t, %x"
                           " %u = reduce %2 {kind=sum, axes=[0]}  %h = gradient %u, %x"
                           " %gs = reduce %g {kind=sum, axes=[0]}  %gg = gradient %gs, %x"
                           " %4, %5 = taylor %g, %x, %v"
                           " return %1, %2, %3, %g, %h, %gg, %4, %5 }"
                           "graph cube(%x: f64[2]) { %q = mul %x, %x  %y = mul %q, %x  return %y }"
                           "graph claim(%x: f64[2], %ct: f64[2]) {"
                           " %k = constant {value=f64 7}"
                           " %b = broadcast_in_dim %k {shape=[2], axes=[]}  %m = mul %b, %x"
                           " %g = mul %m, %ct  return %g }");
    script_input(&s, SHAPE(2), NUMBERS(2, 3));
    script_input(&s, SHAPE(2), NUMBERS(1));
    script_expect(&s, 0, 0, NUMBERS(12, 27));
    script_expect(&s, 1, 0, NUMBERS(6, 9));
    script_expect(&s, 2, 1e-15, NUMBERS(1, 1));
    script_expect(&s, 3, 0, NUMBERS(14, 21));
    script_expect(&s, 4, 1e-15, NUMBERS(3, 3));
    script_expect(&s, 5, 0, NUMBERS(7, 7));
    script_expect(&s, 6, 0, NUMBERS(7, 7));
    script_expect(&s, 7, 0, NUMBERS(0, 0));
    script_close(&s);
}
/* The claim is itself made of derivative rows: graphs that are called are derived first. */
TEST(a_gradient_made_of_derivatives) {
    Script s = script_open(arena, "graph f(%x: f64, %v: f64) {"
                                  " %y = custom_grad %x {graph=\"cube\", gradient=\"back\"} : f64"
                                  " %g = gradient %y, %x  %gg = gradient %g, %x"
                                  " %1, %2 = taylor %y, %x, %v  return %g, %gg, %2 }"
                                  "graph back(%x: f64, %ct: f64) {"
                                  " %q = mul %x, %x  %y = mul %q, %x  %p = mul %y, %ct"
                                  " %g = gradient %p, %x  return %g }"
                                  "graph cube(%x: f64) { %q = mul %x, %x  %h = mul %q, %q"
                                  " %g = gradient %h, %x  %k = constant {value=f64 0.25}"
                                  " %y = mul %g, %k  return %y }");
    script_input(&s, SCALAR, NUMBERS(2));
    script_input(&s, SCALAR, NUMBERS(1));
    script_expect(&s, 0, 1e-15, NUMBERS(12));
    script_expect(&s, 1, 1e-15, NUMBERS(12));
    script_expect(&s, 2, 1e-15, NUMBERS(6));
    script_close(&s);
}

/* --- rows inside of blocks -------------------------------------------------------------------- */
/* Newton's method with the derivative as a coefficient, of rows inside and around the loop: the
 * root of x^2 = 2; and a coefficient in a value from outside. */
TEST(rows_inside_a_loop) {
    Script s = script_open(
        arena, "graph f(%x: f64, %one: f64, %two: f64) {"
               " %o = mul %x, %x"
               " %r, %d = scan %x {carries=1, length=6} : f64, f64[6] (%i: i64, %a: f64) {"
               "  %q = mul %a, %a  %f = sub %q, %two  %d1, %d2 = taylor %f, %a, %one"
               "  %s = div %f, %d1  %n = sub %a, %s"
               "  %p = mul %o, %x  %m = add %p, %a  %e1, %e2 = taylor %m, %x, %one"
               "  return %n, %e2 }"
               " %g = gradient %r, %x  return %r, %d, %g, %o }");
    script_input(&s, SCALAR, NUMBERS(1.5));
    script_input(&s, SCALAR, NUMBERS(1));
    script_input(&s, SCALAR, NUMBERS(2));
    script_expect(&s, 0, 1e-15, NUMBERS(1.4142135623730951));
    script_expect(&s, 1, 1e-15, NUMBERS(4.5, 4.5, 4.5, 4.5, 4.5, 4.5));
    script_expect(&s, 2, 1e-12, NUMBERS(0));
    script_expect(&s, 3, 0, NUMBERS(2.25));
    script_close(&s);
}
