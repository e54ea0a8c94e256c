/* bench_shapes: one program, 200 sizes of batch and sequence in random order.
 *
 * The GPT training step with symbolic batch and length sees every size once (`first`), then again
 * in another order, twice in a row (`again`, `known`). Every tenth size is also compiled as a
 * program of its own with constant sizes; then the two take turns. The rate is 0, so that the
 * weights stay and both must give the same loss and gradient norm.
 *
 * Reported: what new and forgotten sizes cost over known ones, the ratio of a known size to its
 * static program (goal 1.1), how often it was compiled again (goal 0), how many plans were made,
 * the memory that one takes, and the largest difference of loss or norm. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/session.h"
#include "bench/bench.h"
#include "bench/trainee.h"

enum { SIZES_MAX = 200, STATIC_EVERY = 10, TURNS = 7, BATCH_MAX = 16, SAMPLES_MAX = SIZES_MAX };
static const double GOAL_RATIO = 1.1, LEAST_DIFFERENCE = 1e-5;

typedef struct Size {
    uint32_t batch, length;
    double   first_ns, again_ns, known_ns;
} Size;
typedef struct Suite {
    Bench    bench;
    Trainee  trainee; /* symbolic */
    Size     sizes[SIZES_MAX];
    uint32_t order[SIZES_MAX], count, random;
    uint32_t compiled, planned; /* since the first size */
    double   difference;        /* the largest, relative */
} Suite;

/* --- sizes and clocks ------------------------------------------------------------------------- */

static uint32_t draw(Suite *s, uint32_t limit) {
    s->random = s->random * 1664525u + 1013904223u; /* Numerical Recipes */
    return (s->random >> 8) % limit;
}
static void shuffle(Suite *s) {
    for (uint32_t i = 0; i < s->count; i++) s->order[i] = i;
    for (uint32_t i = s->count - 1; i > 0; i--) { /* Fisher and Yates */
        uint32_t other = draw(s, i + 1), kept = s->order[i];
        s->order[i] = s->order[other];
        s->order[other] = kept;
    }
}
/* Sizes differ from each other. */
static void draw_sizes(Suite *s, uint32_t count) {
    uint32_t context = s->trainee.model.gpt.context;
    while (s->count < count) {
        Size     size = {.batch = 1 + draw(s, BATCH_MAX), .length = 1 + draw(s, context)};
        uint32_t i = 0;
        while (i < s->count &&
               (s->sizes[i].batch != size.batch || s->sizes[i].length != size.length))
            i++;
        if (i == s->count) s->sizes[s->count++] = size;
    }
}
/* Processor time with one lane, else the wall clock. */
static double step_ns(Trainee *t, const Size *size, bool *good) {
    BenchTimes times = {.count = 0};
    bench_begin(&times);
    *good = *good && trainee_step(t, size->batch, size->length);
    bench_end(&times);
    return (double)(stoa_context_lanes(t->context) == 1 ? times.cpu_ns[0] : times.wall_ns[0]);
}
static void count_systems(void *context, const Runner *runner, const SystemRun *run) {
    Suite *s = context;
    (void)runner;
    s->planned += run->kind == SYSTEM_launch; /* once a plan */
    s->compiled += run->kind == SYSTEM_infer; /* once a compilation */
}

/* --- passes ----------------------------------------------------------------------------------- */

static bool pass_symbolic(Suite *s) {
    bool good = true;
    shuffle(s);
    for (uint32_t i = 0; i < s->count && good; i++) {
        Size *size = &s->sizes[s->order[i]];
        size->first_ns = step_ns(&s->trainee, size, &good);
    }
    shuffle(s);
    for (uint32_t i = 0; i < s->count && good; i++) {
        Size *size = &s->sizes[s->order[i]];
        size->again_ns = step_ns(&s->trainee, size, &good);
        size->known_ns = step_ns(&s->trainee, size, &good);
    }
    return good;
}

static double apart(float a, float b) { return fabs((double)a - b) / fmax(fabs((double)b), 1e-6); }

/* Turns of the symbolic program and one made for this size; the median ratio of their times. */
static bool against_static(Suite *s, const Size *size, double *out_ratio) {
    Trainee      fixed;
    TraineeModel model = s->trainee.model;
    double       ratios[TURNS];
    uint32_t     turns = bench_samples(&s->bench, TURNS);
    model.gpt.batch = size->batch;
    model.gpt.length = size->length;
    TraineeOptions options = {.lanes = s->bench.lanes, .rows_max = size->batch};
    bool           good =
        trainee_open(&fixed, &model, &options) && trainee_build(&fixed) && trainee_compile(&fixed);
    fixed.rate = 0;
    (void)step_ns(&fixed, size, &good);
    (void)step_ns(&s->trainee, size, &good);
    s->difference = fmax(s->difference, fmax(apart(s->trainee.loss, fixed.loss),
                                             apart(s->trainee.norm, fixed.norm)));
    for (uint32_t i = 0; i < turns && good; i++) {
        double symbolic = step_ns(&s->trainee, size, &good);
        ratios[i] = symbolic / step_ns(&fixed, size, &good);
    }
    trainee_close(&fixed);
    *out_ratio = bench_spread(ratios, turns).median;
    return good;
}

/* --- all -------------------------------------------------------------------------------------- */

static void tell(Suite *s, const char *name, double *numbers, uint32_t count, const char *unit,
                 double goal) {
    bench_tell_spread(&s->bench,
                      &(BenchResult){.name = name,
                                     .size = s->count,
                                     .shape = "BxT",
                                     .dtype = "f32",
                                     .lanes = stoa_context_lanes(s->trainee.context),
                                     .unit = unit,
                                     .goal = goal},
                      bench_spread(numbers, count));
}
static void tell_passes(Suite *s) {
    double fresh[SIZES_MAX], forgotten[SIZES_MAX], known[SIZES_MAX], sums[3] = {0};
    for (uint32_t i = 0; i < s->count; i++) {
        const Size *size = &s->sizes[i];
        fresh[i] = (size->first_ns - size->known_ns) * 1e-6;
        forgotten[i] = (size->again_ns - size->known_ns) * 1e-6;
        known[i] = size->known_ns * 1e-6;
        sums[0] += size->first_ns;
        sums[1] += size->again_ns;
        sums[2] += size->known_ns;
    }
    double ratios[] = {sums[0] / sums[2], sums[1] / sums[2]};
    tell(s, "known", known, s->count, "ms", 0);
    tell(s, "first less known", fresh, s->count, "ms", 0);
    tell(s, "again less known", forgotten, s->count, "ms", 0);
    tell(s, "all first over known", &ratios[0], 1, "x", 0);
    tell(s, "all again over known", &ratios[1], 1, "x", 0);
}

static bool measure(Suite *s) {
    double   ratios[SIZES_MAX];
    uint32_t count = 0;
    draw_sizes(s, s->bench.smoke ? 12 : s->bench.size ? (uint32_t)s->bench.size : SIZES_MAX);
    s->trainee.session->runner.hook = count_systems;
    s->trainee.session->runner.context = s;
    if (!pass_symbolic(s)) return false;
    const StoaSession *session = s->trainee.session;
    double             compiled = s->compiled, planned = s->planned;
    double             kept = (double)session->plans_bytes / session->plans_count * 0x1p-10;
    for (uint32_t i = 0; i < s->count; i += STATIC_EVERY)
        if (!against_static(s, &s->sizes[i], &ratios[count++])) return false;
    tell_passes(s);
    tell(s, "known over static", ratios, count, "x", GOAL_RATIO);
    tell(s, "compilations", &compiled, 1, "times", 0);
    tell(s, "plans", &planned, 1, "plans", 0);
    tell(s, "memory of a plan", &kept, 1, "KiB", 0);
    tell(s, "largest difference", &s->difference, 1, "relative", 0);
    if (s->difference > LEAST_DIFFERENCE || compiled > 0) {
        (void)fprintf(stderr,
                      "bench_shapes: the symbolic program differs from static ones by %g "
                      "and compiled %g times more\n",
                      s->difference, compiled);
        return false;
    }
    return true;
}

int main(int argc, char **argv) {
    static Suite s;
    int          status = 0;
    if (!bench_open(&s.bench, "shapes", argc, argv, &status)) return status;
    if (s.bench.size > SIZES_MAX) s.bench.size = SIZES_MAX;
    TraineeModel model = trainee_model(s.bench.smoke ? "tiny" : "nano");
    s.random = 1;
    TraineeOptions options = {.lanes = s.bench.lanes, .rows_max = BATCH_MAX};
    bool           ran = trainee_open(&s.trainee, &model, &options) && trainee_build(&s.trainee) &&
               trainee_compile(&s.trainee);
    s.trainee.rate = 0;
    ran = ran && measure(&s);
    trainee_close(&s.trainee);
    return bench_close(&s.bench, ran ? 0 : 1);
}
