/* The fused last layer and loss with its gradient behind it, which takes what the loss kept of the
 * logits: against the formulas in f64, for sizes that cut strips, blocks and chunks unevenly,
 * labels that are no class, and more rows than are kept. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

enum { INPUTS = 4, OUTPUTS = 3 };
static const char program_text[] =
    "graph loss(%%x: %s[%d,%d], %%w: %s[%d,%d], %%v: %s[%d], %%i: i32[%d]) {\n"
    "  %%z, %%l = linear_cross_entropy %%x, %%w, %%i\n"
    "  %%a = mul %%z, %%v\n"
    "  %%b = convert %%l {dtype=%s}\n"
    "  %%c = add %%a, %%b\n"
    "  %%s = reduce %%c {kind=sum, axes=[0]}\n"
    "  %%dx, %%dw = gradient %%s, %%x, %%w\n"
    "  return %%z, %%dx, %%dw\n"
    "}\n";

typedef struct Case {
    int      rows, classes, width;
    uint32_t lanes;
    bool     single; /* f32; otherwise f64 */
    bool     all;    /* all rows are kept */
} Case;

typedef struct Want {
    double *outs[OUTPUTS];
} Want;

static double get(const Case *c, const void *from, int64_t i) {
    return c->single ? (double)((const float *)from)[i] : ((const double *)from)[i];
}
static void fill(Arena *arena, const Case *c, StoaTensor *ins) {
    const int64_t counts[INPUTS] = {(int64_t)c->rows * c->width, (int64_t)c->classes * c->width,
                                    c->rows, c->rows};
    uint32_t      state = 1;
    for (uint32_t i = 0; i < INPUTS; i++) {
        ins[i] = (StoaTensor){.dtype = c->single ? STOA_F32 : STOA_F64, .rank = i < 2 ? 2 : 1};
        ins[i].shape[0] = i == 1 ? c->classes : c->rows;
        ins[i].shape[1] = i < 2 ? c->width : 0;
        ins[i].data = ARENA_ARRAY(arena, double, (size_t)counts[i] + 1);
        if (i == 3) ins[i].dtype = STOA_I32;
        for (int64_t k = 0; k < counts[i]; k++) {
            state = state * 1664525 + 1013904223;
            double number = (double)(state >> 8) / (1 << 24) - 0.5;
            if (i < 2) number *= 6 / pow(c->width, 0.25); /* maxima move from block to block */
            if (i == 3)
                ((int32_t *)ins[i].data)[k] = (int32_t)(state >> 8) % (c->classes + 2) - 1;
            else if (c->single)
                ((float *)ins[i].data)[k] = (float)number;
            else
                ((double *)ins[i].data)[k] = number;
        }
    }
}

/* Twice, with the results of the second run: what is kept is made anew. */
static void run(Arena *arena, const Case *c, const StoaTensor *ins, StoaTensor *outs) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    const char        *name = c->single ? "f32" : "f64";
    char               text[1024];
    options.lanes = c->lanes;
    (void)snprintf(text, sizeof text, program_text, name, c->rows, c->width, name, c->classes,
                   c->width, name, c->rows, c->rows, name);
    REQUIRE(stoa_context_create(&options, &context) == STOA_OK);
    REQUIRE(stoa_program_parse(context, text, strlen(text), "test", &program) == STOA_OK);
    REQUIRE(stoa_compile(program, NULL, &session) == STOA_OK);
    size_t most = (size_t)(c->rows > c->classes ? c->rows : c->classes) * (size_t)c->width;
    for (uint32_t i = 0; i < OUTPUTS; i++) outs[i].data = ARENA_ARRAY(arena, double, most + 1);
    for (int i = 0; i < 2; i++)
        REQUIRE(stoa_run(session, "loss", ins, INPUTS, outs, OUTPUTS, NULL) == STOA_OK);
    uint64_t logits = (uint64_t)c->rows * (uint64_t)c->classes * (c->single ? 4 : 8);
    EXPECT((stoa_session_memory(session).work_bytes >= logits) == c->all);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

/* The cost is the sum of v loss + lse: dz = (v + 1) softmax z - v at the label; v counts only where
 * there is one. */
static void expect_row(const Case *c, const StoaTensor *ins, int64_t row, double *z, Want *want) {
    double  top = -INFINITY, sum = 0, v = get(c, ins[2].data, row);
    int32_t label = ((const int32_t *)ins[3].data)[row];
    bool    valid = label >= 0 && label < c->classes;
    for (int64_t k = 0; k < c->classes; k++) {
        z[k] = 0;
        for (int64_t j = 0; j < c->width; j++)
            z[k] += get(c, ins[0].data, row * c->width + j) * get(c, ins[1].data, k * c->width + j);
        top = fmax(top, z[k]);
    }
    for (int64_t k = 0; k < c->classes; k++) sum += exp(z[k] - top);
    want->outs[0][row] = valid ? top + log(sum) - z[label] : 0;
    for (int64_t k = 0; k < c->classes; k++) {
        double dz = exp(z[k] - top) / sum * ((valid ? v : 0) + 1) - (valid && k == label ? v : 0);
        for (int64_t j = 0; j < c->width; j++) {
            want->outs[1][row * c->width + j] += dz * get(c, ins[1].data, k * c->width + j);
            want->outs[2][k * c->width + j] += dz * get(c, ins[0].data, row * c->width + j);
        }
    }
}

static void check(Arena *arena, const Case *c) {
    StoaTensor ins[INPUTS], outs[OUTPUTS] = {{.data = NULL}};
    Want       want;
    double     tolerance = c->single ? 1e-5 : 1e-13;
    int64_t    counts[OUTPUTS] = {c->rows, (int64_t)c->rows * c->width,
                                  (int64_t)c->classes * c->width};
    fill(arena, c, ins);
    run(arena, c, ins, outs);
    double *z = ARENA_ARRAY(arena, double, c->classes);
    for (uint32_t i = 0; i < OUTPUTS; i++)
        want.outs[i] = ARENA_ARRAY_ZERO(arena, double, (size_t)counts[i]);
    for (int64_t row = 0; row < c->rows; row++) expect_row(c, ins, row, z, &want);
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        double far = 0, most = 0;
        for (int64_t k = 0; k < counts[i]; k++) {
            far = fmax(far, fabs(get(c, outs[i].data, k) - want.outs[i][k]));
            most = fmax(most, fabs(want.outs[i][k]));
        }
        EXPECT(far <= tolerance * most);
        if (far > tolerance * most)
            printf("  %d rows, %d classes, %u lanes, output %u: %g of %g\n", c->rows, c->classes,
                   c->lanes, i, far, most);
    }
}

TEST(gradients_take_what_losses_kept) {
    static const int sizes[][3] = {
        {1, 1, 1}, {5, 70, 9}, {33, 700, 20}, {300, 90, 300}, {70, 2100, 7}};
    for (size_t i = 0; i < LENGTH(sizes); i++)
        for (uint32_t kind = 0; kind < 4; kind++)
            check(arena, &(Case){sizes[i][0], sizes[i][1], sizes[i][2], kind / 2 ? 3 : 1, kind % 2,
                                 .all = true});
}

TEST(rows_beyond_the_kept_ones_are_made_again) {
    check(arena, &(Case){1100, 41001, 3, 3, .single = true});
    check(arena, &(Case){2100, 9500, 3, 2, .single = false});
}
