/* stoa_vmap and stoa_sample: the gradient of each sample's loss (w x - y)^2 in w, which is
 * 2 (w x - y) x, for batches of any size, interpreted and compiled; and what wrong calls say. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

static void build(StoaProgram *p) {
    StoaDim two = stoa_dim(p, 2), many[] = {two, stoa_dim_symbol(p, "N")};
    int64_t axis = 0, samples[] = {1, 0};
    stoa_graph_begin(p, "f");
    StoaValue batches[] = {stoa_input(p, "xs", STOA_F64, many, 2),
                           stoa_input(p, "ys", STOA_F64, &many[1], 1)};
    StoaValue w = stoa_input(p, "w", STOA_F64, &two, 1), out[2];
    StoaValue sample[] = {stoa_sample(p, batches[0], 1), stoa_sample(p, batches[1], 0)};
    StoaValue product = stoa_reduce(p, stoa_mul(p, sample[0], w), STOA_REDUCE_SUM, &axis, 1);
    StoaValue loss[2] = {stoa_square(p, stoa_sub(p, product, sample[1]))};
    stoa_gradients(p, loss[0], &w, 1, &loss[1]);
    stoa_vmap(p, loss, 2, sample, batches, samples, 2, NULL, out);
    stoa_output(p, "losses", out[0]);
    stoa_output(p, "gradients", out[1]);
    stoa_graph_end(p);
}
static void run(bool interpreter) {
    StoaContext       *context = NULL;
    StoaProgram       *program = NULL;
    StoaSession       *session = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    double             w[] = {0.5, -2}, xs[2][5], ys[5], losses[5], gradients[5][2];
    options.interpreter = interpreter;
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &program), STOA_OK);
    build(program);
    bool good = EXPECT_EQ(stoa_compile(program, &options, &session), STOA_OK);
    for (int64_t n = 0; good && n <= 5; n += n == 0 ? 1 : 4) {
        for (int64_t i = 0; i < n; i++) {
            ys[i] = 0.25 * (double)i;
            (&xs[0][0])[i] = 1 - 0.5 * (double)i; /* row-major [2, n] */
            (&xs[0][0])[n + i] = 0.125 * (double)(i * i);
        }
        StoaTensor inputs[] = {
            {STOA_F64, 2, {2, n}, xs}, {STOA_F64, 1, {n}, ys}, {STOA_F64, 1, {2}, w}};
        StoaTensor outputs[] = {{.data = losses}, {.data = gradients}};
        good = EXPECT_EQ(stoa_run(session, "f", inputs, 3, outputs, 2, NULL), STOA_OK);
        for (int64_t i = 0; good && i < n; i++) {
            double x[] = {(&xs[0][0])[i], (&xs[0][0])[n + i]};
            double left = w[0] * x[0] + w[1] * x[1] - ys[i];
            EXPECT(fabs(losses[i] - left * left) < 1e-14);
            for (int k = 0; k < 2; k++) EXPECT(fabs(gradients[i][k] - 2 * left * x[k]) < 1e-14);
        }
    }
    if (!good) printf("\n%s\n", stoa_message(context));
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
TEST(gradients_of_samples_interpreted) { run(true); }
TEST(gradients_of_samples_compiled) { run(false); }

TEST(wrong_batches_are_told) {
    StoaContext *context = NULL;
    StoaProgram *p = NULL;
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &p), STOA_OK);
    StoaDim n = stoa_dim_symbol(p, "N");
    stoa_graph_begin(p, "f");
    StoaValue x = stoa_input(p, "x", STOA_F64, &n, 1), out = {7};
    EXPECT_EQ(stoa_sample(p, x, 1).id, 0);
    stoa_vmap(p, &x, 1, &x, &x, NULL, 1, NULL, &out);
    EXPECT_EQ(out.id, 0);
    stoa_graph_end(p);
    EXPECT_EQ(stoa_program_check(p), STOA_INVALID);
    EXPECT(strstr(stoa_message(context), "vmap") != NULL);
    stoa_program_destroy(p);
    stoa_context_destroy(context);
}
