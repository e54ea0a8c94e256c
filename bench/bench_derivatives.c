/* bench_derivatives: what does a step of a network that solves an equation cost?
 *
 * The cases of derivative_cases.def, a step each: loss and its gradient in all weights, at the
 * points of the case or at most --size. Beside the time of a step: bytes of intermediates and
 * state, launches, seconds from a program to the end of the first step with nothing kept from
 * before, and what peers/derivatives.py compares: the loss, the norm of the gradient and its
 * product with a vector of numbers of the same formula as the points.
 *
 * Options of its own: --device NAME as in StoaCompileOptions, --f64, --seconds S (of samples of a
 * case, 2), --profile (a table of launches after each case, on stderr), --print (programs as text,
 * for stoac, instead of all that). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "bench/derivative_cases.h"

typedef struct Suite {
    Bench        bench;
    StoaContext *context;
    const char  *device;
    StoaDtype    dtype;
    double       seconds;
    bool         profile, print;
} Suite;

typedef struct Told {
    double loss, norm, probe;
} Told;

static double element(StoaDtype dtype, const void *numbers, uint32_t i) {
    return dtype == STOA_F64 ? ((const double *)numbers)[i] : (double)((const float *)numbers)[i];
}
static bool set_numbers(const DerivativeStep *step, StoaSession *session) {
    bool good = true;
    for (uint32_t t = 0; good && t < step->made; t++) {
        const DerivativeTensor *tensor = &step->tensors[t];
        StoaTensor              in = {.dtype = step->dtype, .rank = tensor->rank};
        memcpy(in.shape, tensor->sizes, sizeof tensor->sizes);
        in.data = malloc(sizeof(double) * derivative_elements(tensor));
        if (in.data == NULL) return false;
        derivative_numbers(step, t, in.data);
        good = stoa_state_set(session, tensor->name, &in) == STOA_OK;
        free(in.data);
    }
    return good;
}
/* A step whose results come to the host. */
static bool first_step(const DerivativeStep *step, StoaSession *session, Told *out) {
    StoaTensor outputs[1 + DERIVATIVE_TENSORS_MAX] = {{0}};
    double     loss = 0;
    uint32_t   count = 1;
    outputs[0].data = &loss;
    for (uint32_t t = 0; t < step->made; t++)
        if (step->tensors[t].trained)
            outputs[count++].data = malloc(sizeof(double) * derivative_elements(&step->tensors[t]));
    bool good = stoa_run(session, "step", NULL, 0, outputs, count, NULL) == STOA_OK;
    *out = (Told){.loss = element(step->dtype, &loss, 0)};
    count = 1;
    for (uint32_t t = 0; t < step->made; t++) {
        if (!step->tensors[t].trained) continue;
        for (uint32_t i = 0; good && i < derivative_elements(&step->tensors[t]); i++) {
            double g = element(step->dtype, outputs[count].data, i);
            out->norm += g * g;
            out->probe += g * (double)derivative_number(t + 1000, i);
        }
        free(outputs[count++].data);
    }
    out->norm = sqrt(out->norm);
    return good;
}
static bool tell_profile(const DerivativeStep *step, StoaSession *session) {
    const char *text = "";
    double      loss;
    StoaTensor  output = {.data = &loss};
    stoa_profile(session, true);
    for (uint32_t i = 0; i < 4; i++)
        if (stoa_run(session, "step", NULL, 0, &output, 1, NULL) != STOA_OK) return false;
    if (stoa_profile_text(session, 40, &text) != STOA_OK) return false;
    (void)fprintf(stderr, "%s\n%s\n", step->the_case->name, text);
    return true;
}
static bool print(const Suite *suite, const DerivativeStep *step) {
    const char *text = "";
    bool        good = stoa_program_print(step->program, &text) == STOA_OK;
    (void)puts(good ? text : stoa_message(suite->context));
    stoa_program_destroy(step->program);
    return good;
}
static bool measure(const Suite *suite, const DerivativeCase *c, uint32_t points) {
    DerivativeStep     step = {.the_case = c, .dtype = suite->dtype, .points = points};
    BenchTimes         first = {0}, steps = {0};
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    StoaSession       *session = NULL;
    double             loss = 0;
    StoaTensor         output = {.data = &loss}; /* a step waits for what it takes */
    Told               told = {0};
    options.device = suite->device;
    bench_begin(&first);
    if (stoa_program_create(suite->context, &step.program) != STOA_OK) return false;
    derivative_step_build(&step);
    if (suite->print) return print(suite, &step);
    bool good = stoa_compile(step.program, &options, &session) == STOA_OK;
    stoa_program_destroy(step.program);
    good = good && set_numbers(&step, session) && first_step(&step, session, &told);
    bench_end(&first);
    uint64_t begin = os_clock_ns();
    for (uint32_t i = 0; good && i < bench_samples(&suite->bench, BENCH_SAMPLES_MAX); i++) {
        bench_begin(&steps);
        good = stoa_run(session, "step", NULL, 0, &output, 1, NULL) == STOA_OK;
        bench_end(&steps);
        if (i >= 2 && (double)(os_clock_ns() - begin) > suite->seconds * 1e9) break;
    }
    if (good) {
        StoaMemoryReport memory = stoa_session_memory(session);
        BenchResult      result = {.name = c->name,
                                   .size = points,
                                   .times = &steps,
                                   .rows = 1e6,
                                   .unit = "ms",
                                   .waits = suite->bench.lanes != 1 || suite->device != NULL,
                                   .bytes = (double)(memory.arena_bytes + memory.state_bytes),
                                   .extras = {{"launches", memory.launches},
                                              {"first_s", (double)first.wall_ns[0] * 1e-9},
                                              {"MB", (double)memory.arena_bytes * 1e-6},
                                              {"loss", told.loss},
                                              {"norm", told.norm},
                                              {"probe", told.probe}}};
        bench_tell(&suite->bench, &result);
        if (suite->profile) good = tell_profile(&step, session);
    }
    if (!good) (void)fprintf(stderr, "%s: %s\n", c->name, stoa_message(suite->context));
    stoa_session_destroy(session);
    return good;
}

/* Takes the options of this suite out of the list. */
static void read_options(Suite *suite, int *argc, char **argv) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        bool more = i + 1 < *argc;
        if (strcmp(argv[i], "--device") == 0 && more)
            suite->device = argv[++i];
        else if (strcmp(argv[i], "--seconds") == 0 && more)
            suite->seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--f64") == 0)
            suite->dtype = STOA_F64;
        else if (strcmp(argv[i], "--profile") == 0)
            suite->profile = true;
        else if (strcmp(argv[i], "--print") == 0)
            suite->print = true;
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
}

int main(int argc, char **argv) {
    Suite              suite = {.dtype = STOA_F32, .seconds = 2};
    int                status = 0;
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    read_options(&suite, &argc, argv);
    if (!bench_open(&suite.bench, "derivatives", argc, argv, &status)) return status;
    options.lanes = suite.bench.lanes;
    if (stoa_context_create(&options, &suite.context) != STOA_OK) return 1;
    for (const DerivativeCase *c = derivative_cases; c->name != NULL; c++) {
        uint32_t points = suite.bench.smoke ? 20 : c->points;
        bool     wide = c->width > 256 || strlen(c->axes) > 3; /* for a smoke run */
        if (!bench_wants(&suite.bench, c->name)) continue;
        if (suite.bench.smoke && (wide || (c - derivative_cases) % 8 != 0)) continue;
        if (suite.bench.size != 0 && suite.bench.size < points) points = (uint32_t)suite.bench.size;
        if (!measure(&suite, c, points)) status = 1;
    }
    stoa_context_destroy(suite.context);
    return bench_close(&suite.bench, status);
}
