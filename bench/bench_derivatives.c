/* bench_derivatives: what does a step of a physics-informed network cost?
 *
 * Cases of several equations: a fully connected network, the derivatives its residual needs, and
 * one training step without the optimizer: loss = mean square of the sum of them, and its gradient
 * in all weights. f32, the points of the case or at most --size.
 *   NAME        time of a step, by all lanes; memory of intermediates and launches beside it
 *   NAME.first  from a program to the end of the first step, with nothing kept from before
 *   NAME.error  largest difference of the derivatives from forward mode repeated in f64, relative
 *               to the largest of each, at 64 points
 * The last cases are orders 1 to 9 of a network in one coordinate. peers/derivatives_torch.py takes
 * the same steps in PyTorch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include <stoa/stoa.h>

enum { REQUESTS_MAX = 4, LAYERS_MAX = 16, PROBES = 64, SAMPLES = 12 };

typedef struct Case {
    const char *name, *axes;
    uint32_t    width, layers, points;
    bool        sine;
    const char *of[REQUESTS_MAX];
} Case;
static const Case cases[] = {
    {"poisson", "xy", 50, 4, 10000, false, {"laplacian"}},
    {"burgers", "tx", 20, 8, 10000, false, {"t", "x", "xx"}},
    {"helmholtz", "xy", 256, 5, 8192, true, {"laplacian"}},
    {"kdv", "tx", 64, 6, 20000, false, {"t", "x", "xxx"}},
    {"kuramoto", "tx", 64, 6, 20000, false, {"t", "x", "xx", "xxxx"}},
    {"beam", "x", 20, 3, 1000, false, {"xxxx"}},
    {"beam.100k", "x", 20, 3, 100000, false, {"xxxx"}},
    {"plate", "xy", 20, 5, 8000, false, {"bilaplacian"}},
    {"bilaplacian.5d", "abcde", 128, 4, 512, false, {"bilaplacian"}},
    {"order1", "x", 64, 3, 4096, false, {"x"}},
    {"order2", "x", 64, 3, 4096, false, {"xx"}},
    {"order3", "x", 64, 3, 4096, false, {"xxx"}},
    {"order4", "x", 64, 3, 4096, false, {"xxxx"}},
    {"order5", "x", 64, 3, 4096, false, {"xxxxx"}},
    {"order6", "x", 64, 3, 4096, false, {"xxxxxx"}},
    {"order7", "x", 64, 3, 4096, false, {"xxxxxxx"}},
    {"order8", "x", 64, 3, 4096, false, {"xxxxxxxx"}},
    {"order9", "x", 64, 3, 4096, false, {"xxxxxxxxx"}},
};

/* --- programs --------------------------------------------------------------------------------- */
typedef struct Net {
    StoaProgram *p;
    const Case  *c;
    StoaDtype    dtype;
    StoaValue    x, u, weights[2 * LAYERS_MAX];
    uint32_t     count;
} Net;

static StoaValue layer(Net *n, StoaValue x, int64_t in, int64_t out) {
    char    name[32];
    int64_t sizes[] = {out, in};
    snprintf(name, sizeof name, "w%u", n->count);
    StoaValue w = stoa_parameter(n->p, name, n->dtype, sizes, 2, STOA_INIT_NORMAL,
                                 sqrt(2.0 / (double)(in + out)));
    snprintf(name, sizeof name, "b%u", n->count);
    StoaValue b = stoa_parameter(n->p, name, n->dtype, &out, 1, STOA_INIT_NORMAL, 0.1);
    n->weights[n->count++] = w;
    n->weights[n->count++] = b;
    return stoa_linear(n->p, x, w, b);
}
static uint32_t dims_of(const Case *c) { return (uint32_t)strlen(c->axes); }
static void     add_network(Net *n, const char *graph) {
        StoaDim points[] = {stoa_dim_symbol(n->p, "N"), stoa_dim(n->p, dims_of(n->c))};
        int64_t in = dims_of(n->c);
        n->count = 0;
        stoa_graph_begin(n->p, graph);
        n->x = stoa_input(n->p, "x", n->dtype, points, 2);
        StoaValue h = n->x;
        for (uint32_t i = 0; i < n->c->layers; i++) {
            h = layer(n, h, in, n->c->width);
            h = n->c->sine ? stoa_sin(n->p, h) : stoa_tanh(n->p, h);
            in = n->c->width;
    }
        n->u = layer(n, h, in, 1);
}
static uint32_t requests_of(const Case *c) {
    uint32_t count = 0;
    while (count < REQUESTS_MAX && c->of[count] != NULL) count++;
    return count;
}
static void add_step(Net *n) {
    StoaValue d[REQUESTS_MAX], gradients[2 * LAYERS_MAX];
    uint32_t  count = requests_of(n->c);
    int64_t   axes[] = {0, 1};
    add_network(n, "step");
    stoa_derivatives(n->p, n->u, n->x, n->c->axes, n->c->of, d, count);
    StoaValue r = d[0];
    for (uint32_t i = 1; i < count; i++) r = stoa_add(n->p, r, d[i]);
    StoaValue loss = stoa_mean(n->p, stoa_square(n->p, r), axes, 2);
    stoa_gradients(n->p, loss, n->weights, n->count, gradients);
    stoa_output(n->p, "loss", loss);
    for (uint32_t i = 0; i < n->count; i++) {
        char name[32];
        snprintf(name, sizeof name, "g%u", i);
        stoa_output(n->p, name, gradients[i]);
    }
    stoa_graph_end(n->p);
}
static void add_probe(Net *n) {
    StoaValue d[REQUESTS_MAX];
    add_network(n, "probe");
    stoa_derivatives(n->p, n->u, n->x, n->c->axes, n->c->of, d, requests_of(n->c));
    for (uint32_t i = 0; i < requests_of(n->c); i++) stoa_output(n->p, n->c->of[i], d[i]);
    stoa_graph_end(n->p);
}

/* The same derivatives by forward mode repeated; requests are one word or a Laplacian's power. */
static StoaValue along(Net *n, StoaValue y, uint32_t coordinate) {
    StoaProgram *p = n->p;
    double       unit[8] = {0};
    int64_t      size = dims_of(n->c), axis = 1;
    StoaDim      shape[] = {stoa_value_dim(p, n->x, 0), stoa_dim(p, size)};
    unit[coordinate] = 1;
    StoaValue row = stoa_constant_data(p, STOA_F64, &size, 1, unit);
    StoaValue v = stoa_broadcast_in_dim(p, row, shape, 2, &axis, 1);
    return stoa_jvp(p, y, &n->x, &v, 1);
}
static StoaValue laplacian(Net *n, StoaValue y) {
    StoaValue sum = {0};
    for (uint32_t i = 0; i < dims_of(n->c); i++) {
        StoaValue part = along(n, along(n, y, i), i);
        sum = i == 0 ? part : stoa_add(n->p, sum, part);
    }
    return sum;
}
static void add_truth(Net *n) {
    add_network(n, "truth");
    for (uint32_t i = 0; i < requests_of(n->c); i++) {
        StoaValue   y = n->u;
        const char *of = n->c->of[i];
        if (strcmp(of, "laplacian") == 0)
            y = laplacian(n, y);
        else if (strcmp(of, "bilaplacian") == 0)
            y = laplacian(n, laplacian(n, y));
        else
            for (; *of != 0; of++)
                y = along(n, y, (uint32_t)(strchr(n->c->axes, *of) - n->c->axes));
        stoa_output(n->p, n->c->of[i], y);
    }
    stoa_graph_end(n->p);
}

/* --- running ---------------------------------------------------------------------------------- */
static double noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*state / 9223372036854775808.0;
}
typedef void        Adder(Net *n);
static StoaSession *compile(StoaContext *context, const Case *c, StoaDtype dtype, Adder *add,
                            bool interpreter) {
    Net                n = {.c = c, .dtype = dtype};
    StoaSession       *session = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.seed = 3;
    options.interpreter = interpreter;
    if (stoa_program_create(context, &n.p) != STOA_OK) return NULL;
    add(&n);
    if (stoa_compile(n.p, &options, &session) != STOA_OK)
        fprintf(stderr, "%s: %s\n", c->name, stoa_message(context));
    stoa_program_destroy(n.p);
    return session;
}
static bool run(StoaSession *session, const char *graph, const Case *c, StoaDtype dtype,
                const void *points, uint32_t count, StoaTensor *outputs, uint32_t outputs_count) {
    StoaTensor x = {dtype, 2, {count, dims_of(c)}, (void *)(uintptr_t)points};
    return stoa_run(session, graph, &x, 1, outputs, outputs_count, NULL) == STOA_OK;
}

/* Largest error of the derivatives; NaN after a failure. The weights of the f32 network are drawn
 * as those of the f64 one, rounded. */
static double numbers[256 * 256]; /* of one tensor */
static float  rounded[256 * 256];
static double find_error(StoaContext *context, const Case *c) {
    StoaSession *narrow = compile(context, c, STOA_F32, add_probe, false);
    StoaSession *wide = compile(context, c, STOA_F64, add_truth, false);
    double       at[PROBES * 8], truth[REQUESTS_MAX][PROBES], worst = 0;
    float        small[PROBES * 8], found[REQUESTS_MAX][PROBES];
    StoaTensor   a[REQUESTS_MAX], b[REQUESTS_MAX];
    uint64_t     state = 9;
    uint32_t     count = requests_of(c);
    for (uint32_t i = 0; i < PROBES * dims_of(c); i++) {
        small[i] = (float)noise(&state);
        at[i] = (double)small[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        a[i] = (StoaTensor){.data = found[i]};
        b[i] = (StoaTensor){.data = truth[i]};
    }
    bool good = narrow != NULL && wide != NULL;
    for (uint32_t i = 0; good && i < stoa_state_count(narrow); i++) { /* equal weights */
        StoaTensor  t = {0};
        const char *name = stoa_state_name(narrow, i);
        t.data = numbers;
        good = stoa_state_get(wide, name, &t) == STOA_OK;
        int64_t size = 1;
        for (uint32_t k = 0; k < t.rank; k++) size *= t.shape[k];
        for (int64_t k = 0; k < size; k++) {
            rounded[k] = (float)numbers[k];
            numbers[k] = (double)rounded[k];
        }
        good = good && stoa_state_set(wide, name, &t) == STOA_OK;
        t.dtype = STOA_F32;
        t.data = rounded;
        good = good && stoa_state_set(narrow, name, &t) == STOA_OK;
    }
    good = good && run(narrow, "probe", c, STOA_F32, small, PROBES, a, count) &&
           run(wide, "truth", c, STOA_F64, at, PROBES, b, count);
    for (uint32_t i = 0; good && i < count; i++) {
        double size = 0, off = 0;
        for (uint32_t k = 0; k < PROBES; k++) {
            size = fmax(size, fabs(truth[i][k]));
            off = fmax(off, fabs((double)found[i][k] - truth[i][k]));
        }
        worst = fmax(worst, off / size);
    }
    if (!good) fprintf(stderr, "%s: %s\n", c->name, stoa_message(context));
    stoa_session_destroy(narrow);
    stoa_session_destroy(wide);
    return good ? worst : (double)NAN;
}

static bool measure(const Bench *bench, StoaContext *context, const Case *c, uint32_t points) {
    char       name[48];
    BenchTimes first = {0}, steps = {0};
    uint64_t   state = 5;
    float     *x = malloc(sizeof(float) * points * dims_of(c));
    StoaTensor outputs[1 + 2 * LAYERS_MAX] = {{0}};
    uint32_t   outputs_count = 1 + 2 * (c->layers + 1);
    if (x == NULL) return false;
    for (uint32_t i = 0; i < points * dims_of(c); i++) x[i] = (float)noise(&state);
    bench_begin(&first);
    StoaSession *session = compile(context, c, STOA_F32, add_step, false);
    bool         good =
        session != NULL && run(session, "step", c, STOA_F32, x, points, outputs, outputs_count);
    bench_end(&first);
    for (uint32_t i = 0; good && i <= bench_samples(bench, SAMPLES); i++) {
        bench_begin(&steps);
        good = run(session, "step", c, STOA_F32, x, points, outputs, outputs_count);
        bench_end(&steps);
    }
    if (good) {
        StoaMemoryReport memory = stoa_session_memory(session);
        BenchResult      result = {.name = c->name,
                                   .size = points,
                                   .times = &steps,
                                   .rows = 1e6,
                                   .unit = "ms",
                                   .waits = bench->lanes != 1,
                                   .bytes = (double)memory.arena_bytes,
                                   .extras = {{"launches", memory.launches}}};
        bench_tell(bench, &result);
        snprintf(name, sizeof name, "%s.first", c->name);
        BenchResult begun = {.name = name,
                             .size = points,
                             .times = &first,
                             .rows = 1e6,
                             .unit = "ms",
                             .waits = true};
        bench_tell(bench, &begun);
    } else {
        fprintf(stderr, "%s: %s\n", c->name, stoa_message(context));
    }
    stoa_session_destroy(session);
    free(x);
    return good;
}

int main(int argc, char **argv) {
    Bench              bench;
    int                status = 0;
    StoaContext       *context = NULL;
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    if (!bench_open(&bench, "derivatives", argc, argv, &status)) return status;
    options.lanes = bench.lanes;
    if (stoa_context_create(&options, &context) != STOA_OK) return 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        char        name[48];
        uint32_t    points = bench.smoke ? 50 : c->points;
        if (!bench_wants(&bench, c->name) || (bench.smoke && i % 5 != 0)) continue;
        if (bench.size != 0 && bench.size < points) points = (uint32_t)bench.size;
        if (!measure(&bench, context, c, points)) status = 1;
        snprintf(name, sizeof name, "%s.error", c->name);
        bool deep = strlen(c->of[0]) > 6 || dims_of(c) > 3; /* forward mode repeated is too long */
        if (!deep || strcmp(c->of[0], "laplacian") == 0)
            bench_tell_number(&bench, name, points, find_error(context, c), "", 0);
    }
    stoa_context_destroy(context);
    return bench_close(&bench, status);
}
