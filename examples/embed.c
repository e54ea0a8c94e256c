/* Stoa inside another program: builds a small network, trains it to tell a disc from the square
 * around it, and saves the weights (embed.safetensors) and the program (embed.stoa).
 *     cc embed.c $(pkg-config --cflags --libs stoa) && ./a.out */
#include <stdio.h>
#include <stdlib.h>
#include <stoa/stoa.h>

enum { POINTS = 256, HIDDEN = 64, STEPS = 300 };

/* Points of a square; the label says whether a point lies in the disc in its middle. */
static void make_points(float *xy, int32_t *labels) {
    for (uint32_t i = 0; i < POINTS; i++) {
        float x = (float)(i * 37 % POINTS) / POINTS * 2 - 1, y = (float)i / POINTS * 2 - 1;
        xy[2 * i] = x;
        xy[2 * i + 1] = y;
        labels[i] = x * x + y * y < 0.6f;
    }
}

static StoaValue layer(StoaProgram *p, StoaValue x, const char *weight, const char *bias,
                       int64_t out, int64_t in) {
    int64_t   sizes[] = {out, in};
    StoaValue w = stoa_parameter(p, weight, STOA_F32, sizes, 2, STOA_INIT_NORMAL, 0.3);
    return stoa_linear(p, x, w, stoa_parameter(p, bias, STOA_F32, &out, 1, STOA_INIT_ZEROS, 0));
}

/* xy[B,2], labels[B], rate, step -> loss. Mistakes are collected: stoa_compile reports them. */
static void build(StoaProgram *p) {
    StoaDim batch = stoa_dim_symbol(p, "B"), dims[] = {batch, stoa_dim(p, 2)};
    int64_t axis = 0;
    stoa_graph_begin(p, "train");
    StoaValue x = stoa_input(p, "xy", STOA_F32, dims, 2);
    StoaValue labels = stoa_input(p, "labels", STOA_I32, &batch, 1);
    StoaValue rate = stoa_input(p, "rate", STOA_F32, NULL, 0);
    StoaValue step = stoa_input(p, "step", STOA_F32, NULL, 0);
    x = stoa_gelu(p, layer(p, x, "in.weight", "in.bias", HIDDEN, 2), true);
    x = layer(p, x, "out.weight", "out.bias", 2, HIDDEN);
    StoaValue            loss = stoa_mean(p, stoa_cross_entropy(p, x, labels), &axis, 1);
    StoaOptimizerOptions adamw = STOA_OPTIMIZER_OPTIONS;
    (void)stoa_optimize(p, loss, rate, step, &adamw); /* gradients and update, in the same graph */
    stoa_output(p, "loss", loss);
    stoa_graph_end(p);
}

static void must(StoaStatus status, const StoaContext *context) {
    if (status == STOA_OK) return;
    fprintf(stderr, "embed: %s\n", stoa_message(context));
    exit(1);
}

int main(void) {
    static float   xy[2 * POINTS];
    static int32_t labels[POINTS];
    float          rate = 0.01f, step = 1, loss = 0, first = 0;
    StoaTensor     inputs[] = {{STOA_F32, 2, {POINTS, 2}, xy},
                               {STOA_I32, 1, {POINTS}, labels},
                               {STOA_F32, 0, {0}, &rate},
                               {STOA_F32, 0, {0}, &step}};
    StoaTensor     output = {STOA_F32, 0, {0}, &loss};
    StoaContext   *context = NULL;
    StoaProgram   *program = NULL;
    StoaSession   *session = NULL;
    make_points(xy, labels);
    must(stoa_context_create(NULL, &context), context);
    must(stoa_program_create(context, &program), context);
    build(program);
    must(stoa_compile(program, NULL, &session), context);
    for (; step <= STEPS; step++) {
        must(stoa_run(session, "train", inputs, 4, &output, 1, NULL), context);
        if (step == 1) first = loss;
    }
    printf("loss %.4f after one step, %.4f after %d\n", first, loss, STEPS);
    must(stoa_weights_save(session, "embed.safetensors"), context);
    must(stoa_program_save(program, "embed.stoa"), context);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
    return loss < first / 2 ? 0 : 1;
}
