/* L-BFGS as rows: a curved valley and a long bowl, to the bottom, in few evaluations; a last run
 * with rate 0 leaves the best point. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "stoa/stoa.h"

typedef struct Run {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
} Run;

static StoaValue number(StoaProgram *p, double c) { return stoa_scalar(p, STOA_F64, c); }

/* (1 - x)^2 + 100 (y - x^2)^2, in two parameters */
static StoaValue valley(StoaProgram *p) {
    StoaValue x = stoa_parameter(p, "x", STOA_F64, NULL, 0, STOA_INIT_NORMAL, 1);
    StoaValue y = stoa_parameter(p, "y", STOA_F64, NULL, 0, STOA_INIT_NORMAL, 1);
    StoaValue a = stoa_sub(p, number(p, 1), x), b = stoa_sub(p, y, stoa_square(p, x));
    return stoa_add(p, stoa_square(p, a), stoa_mul(p, number(p, 100), stoa_square(p, b)));
}
/* sum of i^2 x_i^2, i = 1..20, and a tensor of another shape that rests at 3 */
static StoaValue bowl(StoaProgram *p) {
    int64_t size = 20, sizes[] = {2, 2}, axes[] = {0, 1};
    double  weights[20];
    for (int i = 0; i < 20; i++) weights[i] = (i + 1) * (i + 1);
    StoaValue x = stoa_parameter(p, "x", STOA_F64, &size, 1, STOA_INIT_NORMAL, 1);
    StoaValue y = stoa_parameter(p, "y", STOA_F64, sizes, 2, STOA_INIT_NORMAL, 1);
    StoaValue w = stoa_constant_data(p, STOA_F64, &size, 1, weights);
    StoaValue a = stoa_reduce(p, stoa_mul(p, w, stoa_square(p, x)), STOA_REDUCE_SUM, axes, 1);
    StoaValue b = stoa_square(p, stoa_sub(p, y, stoa_fill_like(p, y, 3)));
    return stoa_add(p, a, stoa_reduce(p, b, STOA_REDUCE_SUM, axes, 2));
}

static Run open(StoaValue (*loss_of)(StoaProgram *), bool interpreter) {
    Run                  run = {0};
    StoaOptimizerOptions optimizer = STOA_OPTIMIZER_OPTIONS;
    StoaCompileOptions   options = STOA_COMPILE_OPTIONS;
    options.interpreter = interpreter;
    options.seed = 4;
    optimizer.kind = STOA_LBFGS;
    EXPECT_EQ(stoa_context_create(NULL, &run.context), STOA_OK);
    EXPECT_EQ(stoa_program_create(run.context, &run.program), STOA_OK);
    stoa_graph_begin(run.program, "train");
    StoaValue rate = stoa_input(run.program, "rate", STOA_F64, NULL, 0);
    StoaValue loss = loss_of(run.program);
    StoaValue norm = stoa_optimize(run.program, loss, rate, (StoaValue){0}, &optimizer);
    stoa_output(run.program, "loss", loss);
    stoa_output(run.program, "norm", norm);
    stoa_graph_end(run.program);
    if (!EXPECT_EQ(stoa_compile(run.program, &options, &run.session), STOA_OK))
        printf("\n%s\n", stoa_message(run.context));
    return run;
}
static void close(Run *run) {
    stoa_session_destroy(run->session);
    stoa_program_destroy(run->program);
    stoa_context_destroy(run->context);
}
static double evaluate(Run *run, double rate, double *out_norm) {
    double     loss = NAN;
    StoaTensor input = {STOA_F64, 0, {0}, &rate}, outputs[] = {{.data = &loss}, {.data = out_norm}};
    EXPECT_EQ(stoa_run(run->session, "train", &input, 1, outputs, 2, NULL), STOA_OK);
    return loss;
}
static void descend(StoaValue (*loss_of)(StoaProgram *), bool interpreter, int most) {
    Run    run = open(loss_of, interpreter);
    double norm = 1, best = INFINITY;
    int    calls = 0;
    while (calls < most && !(best < 1e-24)) {
        double loss = evaluate(&run, 1, &norm);
        if (loss < best) best = loss;
        calls++;
    }
    if (!EXPECT(best < 1e-24)) printf(" loss %g after %d evaluations", best, calls);
    (void)evaluate(&run, 0, &norm);
    double last = evaluate(&run, 0, &norm);
    EXPECT(last <= best * (1 + 1e-12));
    close(&run);
}
TEST(the_valley_of_rosenbrock) {
    descend(valley, true, 80);
    descend(valley, false, 80);
}
TEST(a_long_bowl) {
    descend(bowl, true, 200);
    descend(bowl, false, 200);
}
