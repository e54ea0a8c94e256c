/* Estimates of Laplacians in 100 coordinates, of u = sum of a_i x_i^4 / 12 + x_i x_{i+1}, +
 * sin(c x): over many seeds, their mean is the Laplacian within four standard errors of that mean
 * (no bias), and the error that comes with each is the deviation that is seen. */
#include <math.h>
#include <stdio.h>

#include "harness.h"
#include "stoa/stoa.h"

enum { COORDINATES = 100, POINTS = 3, DIRECTIONS = 8, SEEDS = 400 };

static double weight(int i) { return 0.5 + 0.01 * i; }
static double slope(int i) { return 0.05 * (i % 7 - 3); }
static double place(int point, int i) { return sin(1.3 * i + point); }

static StoaValue function(StoaProgram *p, StoaValue x) {
    double  a[COORDINATES], c[COORDINATES];
    int64_t size = COORDINATES, last = 1, one = 1;
    for (int i = 0; i < COORDINATES; i++) {
        a[i] = weight(i) / 12;
        c[i] = slope(i);
    }
    StoaDim   shape[] = {stoa_value_dim(p, x, 0), stoa_value_dim(p, x, 1)};
    StoaValue weights = stoa_constant_data(p, STOA_F64, &size, 1, a);
    StoaValue slopes = stoa_constant_data(p, STOA_F64, &size, 1, c);
    StoaValue square = stoa_square(p, x);
    StoaValue fourth =
        stoa_mul(p, stoa_square(p, square), stoa_broadcast_in_dim(p, weights, shape, 2, &one, 1));
    StoaDim   zero[] = {stoa_dim(p, 0), stoa_dim(p, 0)}, next[] = {zero[0], stoa_dim(p, 1)};
    StoaDim   less[] = {shape[0], stoa_dim(p, COORDINATES - 1)};
    StoaValue pairs = stoa_mul(p, stoa_slice(p, x, zero, 2, less, 2, NULL, 0),
                               stoa_slice(p, x, next, 2, shape, 2, NULL, 0));
    StoaValue wave = stoa_mul(p, x, stoa_broadcast_in_dim(p, slopes, shape, 2, &one, 1));
    wave = stoa_sin(p, stoa_reduce(p, wave, STOA_REDUCE_SUM, &last, 1));
    StoaValue sum = stoa_add(p, stoa_reduce(p, fourth, STOA_REDUCE_SUM, &last, 1),
                             stoa_reduce(p, pairs, STOA_REDUCE_SUM, &last, 1));
    return stoa_add(p, sum, wave);
}
static double exact(int point) {
    double sum = 0, square = 0, at = 0;
    for (int i = 0; i < COORDINATES; i++) {
        sum += weight(i) * place(point, i) * place(point, i);
        square += slope(i) * slope(i);
        at += slope(i) * place(point, i);
    }
    return sum - square * sin(at);
}
static void build(StoaProgram *p) {
    static const char *const names[][3] = {{"signs", "signs_error", "signs_sum"},
                                           {"axes", "axes_error", "axes_sum"}};
    StoaDim                  shape[] = {stoa_dim_symbol(p, "N"), stoa_dim(p, COORDINATES)};
    stoa_graph_begin(p, "f");
    StoaValue x = stoa_input(p, "x", STOA_F64, shape, 2);
    StoaValue seed = stoa_input(p, "seed", STOA_I64, NULL, 0);
    StoaValue u = function(p, x);
    for (int kind = 0; kind < 2; kind++) {
        StoaValue error;
        StoaValue v = stoa_random_directions(p, x, seed, (StoaDirections)kind, DIRECTIONS);
        stoa_output(p, names[kind][0], stoa_laplacian_estimate(p, u, x, v, &error));
        stoa_output(p, names[kind][1], error);
        stoa_output(p, names[kind][2], stoa_laplacian_estimate(p, u, x, v, NULL));
    }
    stoa_output(p, "exact", stoa_laplacian(p, u, x));
    stoa_graph_end(p);
}
typedef struct Seen {
    double sum, squares, variances;
} Seen;
static void check(const Seen *seen, double truth, const char *kind, int point) {
    double n = SEEDS, mean = seen->sum / n, variance = seen->squares / n - mean * mean;
    double off = (mean - truth) / sqrt(variance / n), told = seen->variances / n;
    if (!EXPECT(fabs(off) < 4) || !EXPECT(fabs(told / variance - 1) < 0.25))
        printf(" %s, point %d: %.2f errors off, %.3g told for a variance of %.3g", kind, point, off,
               told, variance);
}
static void run(StoaSession *session) {
    double     x[POINTS][COORDINATES], numbers[7][POINTS];
    Seen       seen[2][POINTS] = {{{0, 0, 0}}};
    int64_t    seed;
    StoaTensor inputs[] = {{STOA_F64, 2, {POINTS, COORDINATES}, x}, {STOA_I64, 0, {0}, &seed}};
    StoaTensor outputs[7];
    for (int i = 0; i < 7; i++) outputs[i] = (StoaTensor){.data = numbers[i]};
    for (int point = 0; point < POINTS; point++)
        for (int i = 0; i < COORDINATES; i++) x[point][i] = place(point, i);
    for (seed = 1; seed <= SEEDS; seed++) {
        if (!EXPECT_EQ(stoa_run(session, "f", inputs, 2, outputs, 7, NULL), STOA_OK)) return;
        for (int kind = 0; kind < 2; kind++)
            for (int point = 0; point < POINTS; point++) {
                double found = numbers[3 * kind][point], error = numbers[3 * kind + 1][point];
                seen[kind][point].sum += found;
                seen[kind][point].squares += found * found;
                seen[kind][point].variances += error * error;
                if (seed == 1) EXPECT_NEAR(numbers[3 * kind + 2][point], found, 1e-12);
            }
    }
    for (int point = 0; point < POINTS; point++) {
        EXPECT_NEAR(numbers[6][point], exact(point), 1e-12);
        check(&seen[0][point], exact(point), "signs", point);
        check(&seen[1][point], exact(point), "coordinates", point);
    }
}
TEST(laplacians_are_estimated) {
    StoaContext *context = NULL;
    StoaProgram *program = NULL;
    StoaSession *session = NULL;
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &program), STOA_OK);
    build(program);
    if (EXPECT_EQ(stoa_compile(program, NULL, &session), STOA_OK))
        run(session);
    else
        printf("\n%s\n", stoa_message(context));
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
TEST(wrong_directions_are_told) {
    StoaContext *context = NULL;
    StoaProgram *p = NULL;
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    EXPECT_EQ(stoa_program_create(context, &p), STOA_OK);
    StoaDim n = stoa_dim_symbol(p, "N");
    stoa_graph_begin(p, "f");
    StoaValue x = stoa_input(p, "x", STOA_F64, &n, 1);
    StoaValue seed = stoa_input(p, "seed", STOA_I64, NULL, 0);
    EXPECT_EQ(stoa_random_directions(p, x, seed, STOA_DIRECTIONS_SIGNS, 4).id, 0);
    EXPECT_EQ(stoa_laplacian_estimate(p, x, x, x, NULL).id, 0);
    stoa_graph_end(p);
    EXPECT_EQ(stoa_program_check(p), STOA_INVALID);
    stoa_program_destroy(p);
    stoa_context_destroy(context);
}
