/* Taylor mode against what knows nothing of it: 120-digit numbers, repeated forward mode, nested
 * reverse mode, finite differences. */
#include "script.h"
#include "taylor_truth.h"

static const char constants[] = "  %c3 = constant {value=f64 0.3}\n"
                                "  %k3 = broadcast_in_dim %c3 {shape=[B], axes=[]}\n"
                                "  %c5 = constant {value=f64 0.5}\n"
                                "  %k5 = broadcast_in_dim %c5 {shape=[B], axes=[]}\n"
                                "  %cc3 = constant {value=f64 3}\n"
                                "  %kk3 = broadcast_in_dim %cc3 {shape=[B], axes=[]}\n";
static double     worst;
/* Orders 1 to 9 of every operator and of random expressions, to a part in 1e9 of the greatest
 * coefficient. */
TEST(coefficients_equal_truth) {
    for (uint32_t i = 0; i < LENGTH(truths); i++) {
        const Truth *truth = &truths[i];
        String       body = str_of(truth->body);
        Text         text = text_begin(arena_open("taylor", 0, 0));
        text_addf(&text, "graph f(%%x: f64[B], %%v: f64[B]) {\n%s  %.*s\n", constants,
                  STR_ARGS(body));
        text_add(&text, STR("  %1, %2, %3, %4, %5, %6, %7, %8, %9 = taylor %y, %x, %v\n"
                            "  return %1, %2, %3, %4, %5, %6, %7, %8, %9\n}\n"));
        Script s = script_open(arena, text_done(&text).data);
        arena_close(text.arena);
        script_input(&s, SHAPE(2), NUMBERS(0.3, 0.85));
        script_input(&s, SHAPE(2), NUMBERS(1));
        for (uint32_t point = 0; point < 2; point++) {
            double size = 1;
            for (uint32_t k = 0; k < 9; k++) size = fmax(size, fabs(truth->at[point][k]));
            for (uint32_t k = 0; k < 9; k++) {
                const Tensor *out = script_out(&s, k);
                double        got = out != NULL ? inputs_get(out, point) : NAN,
                       wanted = truth->at[point][k];
                if (fabs(got - wanted) / size > worst) worst = fabs(got - wanted) / size;
                if (!EXPECT(fabs(got - wanted) <= 1e-9 * size))
                    printf(" %s: coefficient %u at %u is %.15g, expected %.15g", truth->name, k + 1,
                           point, got, wanted);
            }
        }
        script_close(&s);
    }
    printf("\n  largest error, relative to the largest coefficient: %.2g\n", worst);
}

/* --- sums of derivatives ---------------------------------------------------------------------- */
typedef struct Request {
    const char *of;    /* as asked */
    const char *terms; /* the same as "WEIGHT LETTERS ..." for forward mode repeated */
} Request;
typedef struct Equations {
    const char   *axes;
    const Request requests[6];
} Equations;
static const Equations systems[] = {
    {"x", {{"x", "1 x"}, {"xx", "1 xx"}, {"xxxxxx", "1 xxxxxx"}, {"xxx - 2*xx", "1 xxx -2 xx"}}},
    {"tx", {{"t", "1 t"}, {"x", "1 x"}, {"xx", "1 xx"}, {"xxxx", "1 xxxx"}}},
    {"tx", {{"t-xx", "1 t -1 xx"}}},
    {"tx", {{"tx", "1 tx"}}},
    {"tx", {{"tx", "1 tx"}, {"tt", "1 tt"}, {"xx", "1 xx"}}},
    {"xy", {{"laplacian", "1 xx 1 yy"}, {"bilaplacian", "1 xxxx 2 xxyy 1 yyyy"}}},
    {"xy",
     {{"xx+0.3*yy", "1 xx 0.3 yy"},
      {"yy+0.3*xx", "1 yy 0.3 xx"},
      {"0.7*xy", "0.7 xy"},
      {"xxx+xyy", "1 xxx 1 xyy"},
      {"xxy+yyy", "1 xxy 1 yyy"},
      {"bilaplacian", "1 xxxx 2 xxyy 1 yyyy"}}},
    {"xy", {{"xxyyy", "1 xxyyy"}, {"xxxxxy", "1 xxxxxy"}}},
    {"xyz", {{"xyz", "1 xyz"}, {"laplacian", "1 xx 1 yy 1 zz"}, {"xz", "1 xz"}}},
    {"xyz", {{"xxyyz", "1 xxyyz"}, {"x+y+z", "1 x 1 y 1 z"}, {"xxy", "1 xxy"}}},
    {"xyz",
     {{"bilaplacian", "1 xxxx 1 yyyy 1 zzzz 2 xxyy 2 xxzz 2 yyzz"},
      {"xxx+yyy+zzz", "1 xxx 1 yyy 1 zzz"}}},
    {"abcde", {{"laplacian", "1 aa 1 bb 1 cc 1 dd 1 ee"}, {"abcd", "1 abcd"}}},
};

/* Rows for a derivative by forward mode repeated; its name is %d.LETTERS. */
static void add_nested(Text *text, String letters, char *seen) {
    char *at = seen;
    for (size_t n = 1; n <= letters.count; n++) {
        String part = {letters.data, n};
        bool   known = false;
        for (at = seen; *at != 0; at += strlen(at) + 1) known |= str_same(part, str_of(at));
        if (known) continue;
        memcpy(at, part.data, n);
        at[n] = at[n + 1] = 0;
        text_addf(text, "  %%d.%.*s = jvp %%%s%.*s, %%x, %%v.%c\n", (int)n, part.data,
                  n == 1 ? "y" : "d.", (int)n - 1, part.data, part.data[n - 1]);
    }
}
/* %w.N = the sum of terms */
static void add_wanted(Text *text, const Request *request, uint32_t number, char *seen) {
    const char *at = request->terms;
    uint32_t    n = 0;
    for (String weight = form_word(&at); weight.count != 0; weight = form_word(&at), n++) {
        String letters = form_word(&at);
        add_nested(text, letters, seen);
        text_addf(text,
                  "  %%c.%u.%u = constant {value=f64 %.*s}\n"
                  "  %%b.%u.%u = broadcast_in_dim %%c.%u.%u {shape=[B,2], axes=[]}\n"
                  "  %%p.%u.%u = mul %%d.%.*s, %%b.%u.%u\n",
                  number, n, STR_ARGS(weight), number, n, number, n, number, n, STR_ARGS(letters),
                  number, n);
        if (n == 0)
            text_addf(text, "  %%s.%u.0 = copy %%p.%u.0\n", number, number);
        else
            text_addf(text, "  %%s.%u.%u = add %%s.%u.%u, %%p.%u.%u\n", number, n, number, n - 1,
                      number, n);
    }
    text_addf(text, "  %%w.%u = copy %%s.%u.%u\n", number, number, n - 1);
}
static String system_text(Arena *out, const Equations *system) {
    Scratch scratch = scratch_begin(&out, 1);
    Text    text = text_begin(scratch.arena);
    char    seen[4096] = {0};
    int     d = (int)strlen(system->axes);
    text_addf(
        &text,
        "graph f(%%x: f64[B,%d], %%w: f64[4,%d], %%b: f64[4], %%q: f64[4,4], %%u: f64[2,4]) {\n"
        "  %%z = linear %%x, %%w, %%b  %%h = tanh %%z  %%z2 = linear %%h, %%q\n"
        "  %%h2 = silu %%z2  %%y = linear %%h2, %%u\n",
        d, d);
    for (int i = 0; i < d; i++) {
        text_addf(&text, "  %%e.%d = constant {value=f64[%d] [", i, d);
        for (int k = 0; k < d; k++) text_addf(&text, "%s%d", k == 0 ? "" : ", ", k == i);
        text_addf(&text, "]}\n  %%v.%c = broadcast_in_dim %%e.%d {shape=[B,%d], axes=[1]}\n",
                  system->axes[i], i, d);
    }
    uint32_t count = 0;
    for (; count < LENGTH(system->requests) && system->requests[count].of != NULL; count++)
        add_wanted(&text, &system->requests[count], count, seen);
    text_add(&text, STR("  "));
    for (uint32_t i = 0; i < count; i++) text_addf(&text, "%s%%g.%u", i ? ", " : "", i);
    text_add(&text, STR(" = derivatives %y, %x {of=["));
    for (uint32_t i = 0; i < count; i++)
        text_addf(&text, "%s\"%s\"", i ? ", " : "", system->requests[i].of);
    text_addf(&text, "], axes=\"%s\"}\n  return ", system->axes);
    for (uint32_t i = 0; i < count; i++) text_addf(&text, "%s%%g.%u, %%w.%u", i ? ", " : "", i, i);
    text_add(&text, STR("\n}\n"));
    String made = str_copy(out, text_done(&text));
    scratch_end(scratch);
    return made;
}
static Script script_open_stacked(Arena *arena, const char *text) {
    return (Script){.arena = arena,
                    .program = check_compile_text(arena, "script", str_of(text), EXPAND_STACKED)};
}
TEST(derivatives_equal_repeated_forward_mode) {
    double largest = 0;
    for (uint32_t i = 0; i < LENGTH(systems); i++) {
        const Equations *system = &systems[i];
        int64_t          d = (int64_t)strlen(system->axes);
        uint64_t         noise = i + 1;
        Script           s = script_open_stacked(arena, system_text(arena, system).data);
        script_noise(&s, &noise, 1, SHAPE(3, d));
        script_noise(&s, &noise, 1, SHAPE(4, d));
        script_noise(&s, &noise, 1, SHAPE(4));
        script_noise(&s, &noise, 1, SHAPE(4, 4));
        script_noise(&s, &noise, 1, SHAPE(2, 4));
        for (uint32_t k = 0; k < LENGTH(system->requests) && system->requests[k].of; k++) {
            const Tensor *got = script_out(&s, 2 * k), *wanted = script_out(&s, 2 * k + 1);
            double        size = 1;
            if (got == NULL || wanted == NULL) break;
            for (int64_t n = 0; n < tensor_elements(wanted); n++)
                size = fmax(size, fabs(inputs_get(wanted, n)));
            for (int64_t n = 0; n < tensor_elements(wanted); n++) {
                double error = fabs(inputs_get(got, n) - inputs_get(wanted, n)) / size;
                largest = fmax(largest, error);
                if (!EXPECT(error <= 1e-9))
                    printf(" %s[%lld] in %s is %.15g, expected %.15g", system->requests[k].of,
                           (long long)n, system->axes, inputs_get(got, n), inputs_get(wanted, n));
            }
        }
        script_close(&s);
    }
    printf("\n  largest error: %.2g\n", largest);
}

/* The Laplacian as the sum of diagonal entries of nested reverse mode. */
TEST(laplacian_equals_nested_reverse_mode) {
    Script s = script_open_stacked(
        arena,
        "graph f(%x: f64[B,2], %w: f64[3,2], %u: f64[1,3]) {\n"
        "  %z = linear %x, %w  %h = sin %z  %y = linear %h, %u\n"
        "  %s = reduce %y {kind=sum, axes=[0,1]}  %g = gradient %s, %x\n"
        "  %a = slice %g {starts=[0,0], limits=[B,1]}  %as = reduce %a {kind=sum, axes=[0,1]}\n"
        "  %b = slice %g {starts=[0,1], limits=[B,2]}  %bs = reduce %b {kind=sum, axes=[0,1]}\n"
        "  %ga = gradient %as, %x  %aa = slice %ga {starts=[0,0], limits=[B,1]}\n"
        "  %gb = gradient %bs, %x  %bb = slice %gb {starts=[0,1], limits=[B,2]}\n"
        "  %nested = add %aa, %bb  %l = derivatives %y, %x {of=[\"laplacian\"]}\n"
        "  return %l, %nested\n}\n");
    uint64_t noise = 5;
    script_noise(&s, &noise, 1, SHAPE(4, 2));
    script_noise(&s, &noise, 1, SHAPE(3, 2));
    script_noise(&s, &noise, 1, SHAPE(1, 3));
    const Tensor *got = script_out(&s, 0), *wanted = script_out(&s, 1);
    for (int64_t n = 0; got != NULL && n < 4; n++)
        EXPECT(script_near(inputs_get(got, n), inputs_get(wanted, n), 1e-12));
    script_close(&s);
}

/* Many derivatives of one number go by its gradient: a row of the Hessian of a network in six
 * inputs, two places that move together, against forward mode repeated; the gradient of one in the
 * weights as well. */
TEST(derivatives_of_one_number_by_its_gradient) {
    Text text = text_begin(arena_open("taylor", 0, 0));
    text_add(&text,
             STR("graph f(%x: f64[2,6], %w: f64[5,6]) {\n  %z = linear %x, %w  %h = tanh %z\n"
                 "  %q = scan %h {carries=1, length=2} : f64[2,5] (%i: i64, %a: f64[2,5]) {"
                 " %b = sin %a  %c = mul %b, %a  return %c }\n"
                 "  %y = reduce %q {kind=sum, axes=[0,1]}\n"));
    for (int i = 0; i < 6; i++) {
        text_addf(&text, "  %%e%d = constant {value=f64[6] [", i);
        for (int k = 0; k < 6; k++) text_addf(&text, "%s%d", k ? ", " : "", i == k);
        text_addf(&text, "]}\n  %%v%d = broadcast_in_dim %%e%d {shape=[2,6], axes=[1]}\n", i, i);
        text_addf(&text, "  %%w%d = jvp %%y, %%x, %%v%d\n", i, i);
    }
    text_add(&text, STR("  %w6 = jvp %w3, %x, %v0  %w7 = jvp %w3, %x, %v3  %w9 = jvp %w3, %x, %v5\n"
                        "  %two = add %w6, %w6  %w8 = sub %w9, %two\n"
                        "  %g0, %g1, %g2, %g3, %g4, %g5, %g6, %g7, %g8 = derivatives %y, %x"
                        " {of=[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"03\", \"33\","
                        " \"35-2*03\"]}\n"));
    for (int i = 0; i < 9; i++) text_addf(&text, "  %%d%d = sub %%g%d, %%w%d\n", i, i, i);
    text_add(&text, STR("  %gg = gradient %g8, %w  %gw = gradient %w8, %w  %d9 = sub %gg, %gw\n"
                        "  return %d0, %d1, %d2, %d3, %d4, %d5, %d6, %d7, %d8, %d9, %w8\n}\n"));
    Script s = script_open_stacked(arena, text_done(&text).data);
    arena_close(text.arena);
    uint64_t noise = 11;
    script_noise(&s, &noise, 1, SHAPE(2, 6));
    script_noise(&s, &noise, 1, SHAPE(5, 6));
    for (uint32_t i = 0; i < 10; i++) {
        const Tensor *error = script_out(&s, i);
        for (int64_t n = 0; error != NULL && n < tensor_elements(error); n++)
            if (!EXPECT(fabs(inputs_get(error, n)) <= 1e-12))
                printf(" %u: %g", i, inputs_get(error, n));
    }
    const Tensor *size = script_out(&s, 10);
    EXPECT(size != NULL && fabs(inputs_get(size, 0)) > 1e-3);
    script_close(&s);
}

/* --- what rows mean at their edges ------------------------------------------------------------ */
TEST(an_argument_in_itself_and_what_does_not_depend) {
    Script s = script_open(arena, "graph f(%x: f64[2], %v: f64[2], %z: f64[2]) {\n"
                                  "  %a, %b = taylor %x, %x, %v  %c, %d = taylor %z, %x, %v\n"
                                  "  %e, %f = derivatives %x, %x {of=[\"1\", \"01\"]}\n"
                                  "  return %a, %b, %c, %d, %e, %f\n}\n");
    for (uint32_t i = 0; i < 3; i++) script_input(&s, SHAPE(2), NUMBERS(3, 5));
    script_expect(&s, 0, 0, NUMBERS(3, 5));
    for (uint32_t i = 1; i < 4; i++) script_expect(&s, i, 0, NUMBERS(0, 0));
    script_expect(&s, 4, 0, NUMBERS(0, 1));
    script_expect(&s, 5, 0, NUMBERS(0, 0));
    script_close(&s);
}
/* Rows stand on gradients and are differentiated themselves: y = x^4, of its gradient 4 x^3 the
 * second derivative is 24 x; the gradient of the sum of that is 24. */
TEST(rows_stand_on_gradients_and_under_them) {
    Script s = script_open(arena, "graph f(%x: f64[2], %v: f64[2]) {\n"
                                  "  %q = square %x  %y = square %q\n"
                                  "  %s = reduce %y {kind=sum, axes=[0]}  %g = gradient %s, %x\n"
                                  "  %a, %b = taylor %g, %x, %v\n"
                                  "  %t = reduce %b {kind=sum, axes=[0]}  %h = gradient %t, %x\n"
                                  "  %c, %d = taylor %b, %x, %v\n"
                                  "  return %a, %b, %h, %c, %d\n}\n");
    script_input(&s, SHAPE(2), NUMBERS(1, 2));
    script_input(&s, SHAPE(2), NUMBERS(1, 1));
    script_expect(&s, 0, 1e-14, NUMBERS(12, 48));
    script_expect(&s, 1, 1e-14, NUMBERS(12, 24));
    script_expect(&s, 2, 1e-14, NUMBERS(12, 12));
    script_expect(&s, 3, 1e-14, NUMBERS(12, 12));
    script_expect(&s, 4, 0, NUMBERS(0, 0));
    script_close(&s);
}
/* Two rows in the same x are served by one walk, also where their y differ. */
TEST(rows_in_one_argument_share_a_walk) {
    Script   s = script_open_stacked(arena, "graph f(%x: f64[B,2], %w: f64[3,2], %u: f64[2,3]) {\n"
                                              "  %z = linear %x, %w  %h = tanh %z\n"
                                              "  %y = linear %h, %u\n"
                                              "  %a = slice %y {starts=[0,0], limits=[B,1]}\n"
                                              "  %b = slice %y {starts=[0,1], limits=[B,2]}\n"
                                              "  %ax = derivatives %a, %x {of=[\"0\"]}\n"
                                              "  %n = neg %ax\n"
                                              "  %bl = derivatives %b, %x {of=[\"laplacian\"]}\n"
                                              "  return %n, %bl, %y\n}\n");
    uint32_t products = 0;
    for (uint32_t row = 1; row < s.program.world->code.ops.table.count; row++)
        products += s.program.world->code.ops.opcode[row] == OP_DOT_GENERAL;
    EXPECT_EQ(products, 4); /* two of one row (the seeds), the first layer, the stack */
    script_close(&s);
}
