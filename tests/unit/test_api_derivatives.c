/* The public derivative functions against closed forms, interpreted and compiled:
 * y = (x0 x1, sin x2, x0^3) and s = x0 x1 x2 + sin(x0). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

enum { OUTPUTS = 12 };

static StoaValue element(StoaProgram *p, StoaValue x, int64_t i) {
    StoaDim start = stoa_dim(p, i), limit = stoa_dim(p, i + 1);
    return stoa_slice(p, x, &start, 1, &limit, 1, NULL, 0);
}
static StoaValue scalar(StoaProgram *p, StoaValue x) { return stoa_reshape(p, x, NULL, 0); }

static void build(StoaProgram *p) {
    StoaDim three = stoa_dim(p, 3), points[] = {stoa_dim_symbol(p, "N"), stoa_dim(p, 2)};
    stoa_graph_begin(p, "f");
    StoaValue x = stoa_input(p, "x", STOA_F64, &three, 1),
              v = stoa_input(p, "v", STOA_F64, &three, 1);
    StoaValue at = stoa_input(p, "at", STOA_F64, points, 2);
    StoaValue x0 = element(p, x, 0), x1 = element(p, x, 1), x2 = element(p, x, 2);
    StoaValue parts[] = {stoa_mul(p, x0, x1), stoa_sin(p, x2),
                         stoa_mul(p, x0, stoa_mul(p, x0, x0))};
    StoaValue y = stoa_concat(p, parts, 3, 0);
    StoaValue s = scalar(p, stoa_add(p, stoa_mul(p, parts[0], x2), stoa_sin(p, x0)));
    StoaValue out[OUTPUTS], coefficients[4];
    out[0] = stoa_jvp(p, y, &x, &v, 1);
    stoa_vjp(p, y, v, &x, 1, &out[1]);
    stoa_hvp(p, s, &x, &v, 1, &out[2]);
    out[3] = stoa_jacobian(p, y, x);
    out[4] = stoa_hessian(p, s, x);
    stoa_taylor(p, y, &x, &v, 1, false, coefficients, 4);
    for (int k = 0; k < 4; k++) out[5 + k] = coefficients[k];
    /* u = t^2 x^3 at each point */
    StoaDim   starts[] = {stoa_dim(p, 0), stoa_dim(p, 0)}, limits[] = {points[0], stoa_dim(p, 1)};
    StoaValue t = stoa_slice(p, at, starts, 2, limits, 2, NULL, 0);
    starts[1] = stoa_dim(p, 1);
    limits[1] = stoa_dim(p, 2);
    StoaValue         z = stoa_slice(p, at, starts, 2, limits, 2, NULL, 0);
    StoaValue         u = stoa_mul(p, stoa_square(p, t), stoa_mul(p, z, stoa_square(p, z)));
    const char *const of[] = {"xxx - t", "ttx"};
    stoa_derivatives(p, u, at, "tx", of, &out[9], 2);
    out[11] = stoa_laplacian(p, u, at);
    for (int i = 0; i < OUTPUTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        stoa_output(p, name, out[i]);
    }
    stoa_graph_end(p);
}

static void expect(const StoaTensor *out, const double *wanted, int count, const char *what) {
    const double *got = out->data;
    for (int i = 0; i < count; i++)
        if (!EXPECT(fabs(got[i] - wanted[i]) <= 1e-12 * fmax(1, fabs(wanted[i]))))
            printf(" %s[%d] is %.15g, expected %.15g", what, i, got[i], wanted[i]);
}
static void check(StoaTensor *out) {
    double a = 0.7, b = -1.3, c = 0.4, p = 0.5, q = 2, r = -1; /* x and v */
    double sc = sin(c), cc = cos(c);
    expect(&out[0], (double[]){b * p + a * q, cc * r, 3 * a * a * p}, 3, "jvp");
    expect(&out[1], (double[]){b * p + 3 * a * a * r, a * p, cc * q}, 3, "vjp");
    expect(&out[2], (double[]){-sin(a) * p + c * q + b * r, c * p + a * r, b * p + a * q}, 3,
           "hvp");
    expect(&out[3], (double[]){b, a, 0, 0, 0, cc, 3 * a * a, 0, 0}, 9, "jacobian");
    expect(&out[4], (double[]){-sin(a), c, b, c, 0, a, b, a, 0}, 9, "hessian");
    expect(&out[5], (double[]){b * p + a * q, cc * r, 3 * a * a * p}, 3, "order 1");
    expect(&out[6], (double[]){p * q, -sc * r * r / 2, 3 * a * p * p}, 3, "order 2");
    expect(&out[7], (double[]){0, -cc * r * r * r / 6, p * p * p}, 3, "order 3");
    expect(&out[8], (double[]){0, sc / 24, 0}, 3, "order 4");
    for (int i = 0; i < 2; i++) {
        double t = i == 0 ? 0.3 : -1.1, z = i == 0 ? 0.9 : 0.2;
        double ds[] = {6 * t * t - 2 * t * z * z * z, 6 * z * z, 2 * z * z * z + 6 * t * t * z};
        for (int k = 0; k < 3; k++) {
            StoaTensor one = {.data = (double *)out[9 + k].data + i};
            expect(&one, &ds[k], 1, "a derivative");
        }
    }
}

static void run(bool interpreter) {
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    double             x[] = {0.7, -1.3, 0.4}, v[] = {0.5, 2, -1}, at[] = {0.3, 0.9, -1.1, 0.2};
    StoaTensor inputs[] = {{STOA_F64, 1, {3}, x}, {STOA_F64, 1, {3}, v}, {STOA_F64, 2, {2, 2}, at}};
    double     numbers[OUTPUTS][9];
    StoaTensor outputs[OUTPUTS];
    options.interpreter = interpreter;
    for (int i = 0; i < OUTPUTS; i++) outputs[i] = (StoaTensor){.data = numbers[i]};
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &program), STOA_OK);
    build(program);
    bool good = EXPECT_EQ(stoa_compile(program, &options, &session), STOA_OK) &&
                EXPECT_EQ(stoa_run(session, "f", inputs, 3, outputs, OUTPUTS, NULL), STOA_OK);
    if (good)
        check(outputs);
    else
        printf("\n%s\n", stoa_message(context));
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
TEST(derivative_functions_interpreted) { run(true); }
TEST(derivative_functions_compiled) { run(false); }

TEST(wrong_requests_are_told) {
    StoaContext *context = NULL;
    StoaProgram *p = NULL;
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &p), STOA_OK);
    StoaDim n = stoa_dim_symbol(p, "N");
    stoa_graph_begin(p, "f");
    StoaValue x = stoa_input(p, "x", STOA_F64, &n, 1);
    EXPECT_EQ(stoa_jacobian(p, x, stoa_iota(p, STOA_I64, &n, 1, 0)).id, 0);
    stoa_graph_end(p);
    EXPECT_EQ(stoa_program_check(p), STOA_INVALID);
    EXPECT(strstr(stoa_message(context), "expected a float") != NULL);
    stoa_program_destroy(p);
    stoa_context_destroy(context);
}
