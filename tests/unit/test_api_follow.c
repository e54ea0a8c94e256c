/* Compiled kernels that follow a matrix product by rows, while the product is in cache: forward and
 * backward of a block of a network against the interpreter, for sizes that cut rows, groups of rows
 * and lanes unevenly. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

enum { ROWS_MAX = 700, WIDTH = 40, HIDDEN = 72, NUMBERS_MAX = ROWS_MAX * HIDDEN };

static const char block[] =
    "graph block(%%x: %s[M,40], %%w: %s[72,40], %%b: %s[72], %%v: %s[40,72], %%g: %s[40], "
    "%%c: %s[40]) {\n"
    "  %%h = linear %%x, %%w, %%b\n"
    "  %%a = gelu %%h\n"
    "  %%y = linear %%a, %%v\n"
    "  %%r = add %%y, %%x\n"
    "  %%n = layer_norm %%r, %%g, %%c\n"
    "  %%q = mul %%n, %%n\n"
    "  %%s = reduce %%q {kind=sum, axes=[0,1]}\n"
    "  %%dx, %%dw, %%db, %%dv, %%dg = gradient %%s, %%x, %%w, %%b, %%v, %%g\n"
    "  return %%n, %%dx, %%dw, %%db, %%dv, %%dg\n"
    "}\n";
static const char one[] = "graph block(%%x: %s[M,40], %%w: %s[72,40], %%b: %s[72]) {\n"
                          "  %%h = linear %%x, %%w, %%b\n"
                          "  %%a = gelu %%h\n"
                          "  return %%a\n"
                          "}\n";

typedef struct Case {
    StoaDtype dtype;
    int64_t   rows;
    uint32_t  lanes, inputs, outputs;
    double    tolerance;
} Case;
static const int64_t in_dims[6][2] = {{0, WIDTH},      {HIDDEN, WIDTH}, {HIDDEN, 0},
                                      {WIDTH, HIDDEN}, {WIDTH, 0},      {WIDTH, 0}};

static void put(StoaDtype dtype, void *to, int64_t i, double number) {
    float    f = (float)number;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16); /* bf16, rounded down */
    if (dtype == STOA_F64) ((double *)to)[i] = number;
    if (dtype == STOA_F32) ((float *)to)[i] = f;
    if (dtype == STOA_BF16) ((uint16_t *)to)[i] = half;
}
static double get(StoaDtype dtype, const void *from, int64_t i) {
    if (dtype == STOA_F64) return ((const double *)from)[i];
    if (dtype == STOA_F32) return (double)((const float *)from)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)from)[i] << 16;
    float    f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* Runs a program, with or without the interpreter; outs are filled. follows: also checks that the
 * only compiled kernel had no step of its own. */
static void run(Arena *arena, const Case *c, const char *text, bool interpreter, bool follows,
                StoaTensor *outs) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    const char        *name = c->dtype == STOA_F64 ? "f64" : c->dtype == STOA_F32 ? "f32" : "bf16";
    const char        *report = NULL;
    char               program_text[1024];
    StoaTensor         ins[6];
    uint32_t           state = 1;
    options.lanes = c->lanes;
    compile.interpreter = interpreter;
    REQUIRE(stoa_context_create(&options, &context) == STOA_OK);
    (void)snprintf(program_text, sizeof program_text, text, name, name, name, name, name, name);
    REQUIRE(stoa_program_parse(context, program_text, strlen(program_text), "test", &program) ==
            STOA_OK);
    REQUIRE(stoa_compile(program, &compile, &session) == STOA_OK);
    for (uint32_t i = 0; i < c->inputs; i++) {
        ins[i] = (StoaTensor){.dtype = c->dtype, .rank = in_dims[i][1] ? 2 : 1};
        int64_t count = 1;
        for (uint32_t k = 0; k < ins[i].rank; k++)
            count *= ins[i].shape[k] = i == 0 && k == 0 ? c->rows : in_dims[i][k];
        ins[i].data = ARENA_ARRAY(arena, double, (size_t)count + 1);
        for (int64_t k = 0; k < count; k++) {
            state = state * 1664525 + 1013904223;
            put(c->dtype, ins[i].data, k, (double)(state >> 8) / (1 << 24) - 0.5);
        }
    }
    for (uint32_t i = 0; i < c->outputs; i++)
        outs[i].data = ARENA_ARRAY(arena, double, NUMBERS_MAX);
    stoa_profile(session, true);
    REQUIRE(stoa_run(session, "block", ins, c->inputs, outs, c->outputs, NULL) == STOA_OK);
    REQUIRE(stoa_profile_report(session, &report) == STOA_OK);
    if (follows) EXPECT(strstr(report, "linear") != NULL && strstr(report, "fused") == NULL);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

static void check(Arena *arena, const Case *c, const char *text, bool follows) {
    StoaTensor got[6] = {{.data = NULL}}, want[6] = {{.data = NULL}};
    run(arena, c, text, false, follows, got);
    run(arena, c, text, true, false, want);
    for (uint32_t i = 0; i < c->outputs; i++) {
        int64_t count = 1;
        double  far = 0, most = 0;
        for (uint32_t k = 0; k < want[i].rank; k++) count *= want[i].shape[k];
        EXPECT(count > 0 && got[i].rank == want[i].rank);
        for (int64_t k = 0; k < count; k++) {
            double number = get(c->dtype, want[i].data, k);
            far = fmax(far, fabs(get(c->dtype, got[i].data, k) - number));
            most = fmax(most, fabs(number));
        }
        EXPECT(far <= c->tolerance * most);
        if (far > c->tolerance * most)
            printf("  rows %d lanes %u output %u: %g of %g\n", (int)c->rows, c->lanes, i, far,
                   most);
    }
}

static const int64_t rows[] = {1, 97, 385, ROWS_MAX};

TEST(kernels_follow_products) {
    for (size_t i = 0; i < LENGTH(rows); i++)
        for (uint32_t lanes = 1; lanes <= 3; lanes += 2) {
            check(arena, &(Case){STOA_F32, rows[i], lanes, 6, 6, 2e-5}, block, false);
            check(arena, &(Case){STOA_F64, rows[i], lanes, 6, 6, 1e-12}, block, false);
            check(arena, &(Case){STOA_BF16, rows[i], lanes, 6, 1, 3e-2}, block, false);
        }
}

TEST(kernels_that_follow_have_no_step) {
    check(arena, &(Case){STOA_F32, ROWS_MAX, 1, 3, 1, 2e-5}, one, true);
    check(arena, &(Case){STOA_BF16, ROWS_MAX, 2, 3, 1, 3e-2}, one, true);
}
