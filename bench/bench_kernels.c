/* bench_kernels: small programs against what the same cores can do.
 *
 * Each case of kernel_cases.c runs in f32 and bf16, on one lane and on all, at three footprints
 * (all inputs and outputs together: half a second-level cache, a quarter of the last-level cache,
 * four times that) and at odd sizes. It is first compared with the interpreter on a small shape: a
 * wrong kernel is not timed. Then rounds: the roof of this footprint (bench/roof.h) and the kernel
 * take turns, for one lane and for all lanes, so that whatever disturbs one disturbs the other;
 * the share of a round is its bound over its time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "bench/kernel_cases.h"
#include "bench/roof.h"
#include "tables/consts.h"
#include "tables/tensor.h"

enum {
    ROUNDS = 16,
    ROUNDS_LEAST = 8,
    CASE_NS = 1000000000,
    SAMPLE_NS = 200000,
    OUTPUTS_MAX = 8,
    REPEATS_MAX = 4000,
    CONTEXTS = 2
};
static const double GOAL_SHARE = 0.85; /* of the bound, beyond the last-level cache */

typedef struct Place { /* a number of lanes */
    uint32_t     lanes;
    StoaContext *context;
    Roof         roof;
} Place;
typedef struct Suite {
    Bench    bench;
    Arena   *arena; /* tensors of one case at a time */
    Topology machine;
    Place    places[CONTEXTS];
    uint32_t places_count, refused, wrong;
} Suite;
typedef struct Footprint {
    const char *name;
    uint64_t    bytes; /* 0: the case is given rows and columns */
    int64_t     rows, columns;
    double      goal_share;
} Footprint;

typedef struct Trial { /* a case at one place */
    const Place *place;
    StoaSession *session;
    KernelGraph  graph;
    StoaTensor   inputs[KERNEL_INPUTS_MAX], outputs[OUTPUTS_MAX];
    double       memory_bytes, read_bytes, written_bytes;
    uint32_t     repeats;
    BenchTimes   times;
    double       shares[BENCH_SAMPLES_MAX];
} Trial;

/* --- tensors ---------------------------------------------------------------------------------- */

static size_t bytes_of(const StoaTensor *t) {
    Tensor tensor = {.dtype = (Dtype)t->dtype, .rank = t->rank};
    memcpy(tensor.shape, t->shape, sizeof tensor.shape);
    return tensor_bytes(&tensor);
}
static int64_t elements_of(const StoaTensor *t) {
    return (int64_t)(bytes_of(t) / dtype_bytes((Dtype)t->dtype));
}
/* Neighbours are five cache lines apart, so that equal offsets do not meet in one cache set. */
static void give_memory(Arena *arena, StoaTensor *t) {
    size_t bytes = bytes_of(t) + 320, huge = (size_t)2 << 20;
    t->data = arena_push(arena, bytes, bytes < huge ? 64 : huge);
    if (bytes >= huge) os_advise_huge(t->data, bytes);
    memset(t->data, 0, bytes);
}

static uint32_t draw(uint32_t *random) {
    *random = *random * 1664525u + 1013904223u; /* Numerical Recipes */
    return *random >> 8;
}
static void fill(const KernelInput *input, StoaTensor *t, uint32_t *random) {
    int64_t  count = elements_of(t);
    uint32_t width = dtype_bytes((Dtype)t->dtype);
    uint8_t *data = t->data;
    for (int64_t i = 0; i < count; i++) {
        double number = draw(random) * 0x1p-23 - 1;
        if (input->fill == FILL_INDEX) number = floor((number + 1) * 0.5 * input->limit);
        if (input->fill == FILL_SHUFFLE) number = (double)i;
        if (input->fill == FILL_LIMIT) number = input->limit;
        (void)const_encode((Dtype)t->dtype, number, data + (size_t)i * width);
    }
    if (input->fill != FILL_SHUFFLE) return;
    int32_t *numbers = t->data; /* Fisher and Yates */
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t other = draw(random) % (i + 1);
        int32_t kept = numbers[i];
        numbers[i] = numbers[other];
        numbers[other] = kept;
    }
}

/* --- a case at a place ------------------------------------------------------------------------ */

static bool run(Trial *trial) {
    return stoa_run(trial->session, "run", trial->inputs, trial->graph.inputs_count, trial->outputs,
                    trial->graph.outputs_count, NULL) == STOA_OK;
}

/* Builds, compiles, gives memory, runs once. False with the reason in the context. */
static bool trial_open(Trial *trial, Arena *arena, const Place *place, const KernelCase *kernel,
                       StoaDtype dtype, int64_t rows, int64_t columns, bool interpreter) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    StoaProgram       *program = NULL;
    uint32_t           random = 1;
    options.interpreter = interpreter;
    *trial = (Trial){.place = place};
    if (stoa_program_create(place->context, &program) != STOA_OK) return false;
    KernelGraph *graph = &trial->graph;
    *graph = (KernelGraph){.program = program, .dtype = dtype, .rows = rows, .columns = columns};
    stoa_graph_begin(program, "run");
    kernel->build(graph);
    stoa_graph_end(program);
    bool good = stoa_compile(program, &options, &trial->session) == STOA_OK;
    stoa_program_destroy(program);
    for (uint32_t i = 0; i < graph->inputs_count && good; i++) {
        trial->inputs[i] = graph->inputs[i].tensor;
        give_memory(arena, &trial->inputs[i]);
        fill(&graph->inputs[i], &trial->inputs[i], &random);
        trial->read_bytes += (double)bytes_of(&trial->inputs[i]);
    }
    good = good && run(trial);
    for (uint32_t i = 0; i < graph->outputs_count && good; i++) {
        give_memory(arena, &trial->outputs[i]);
        trial->written_bytes += (double)bytes_of(&trial->outputs[i]);
    }
    trial->memory_bytes = trial->read_bytes + trial->written_bytes + graph->state_bytes;
    trial->read_bytes += graph->state_reads;
    trial->written_bytes += graph->state_writes;
    return good && run(trial);
}
static void trial_close(Trial *trial) { stoa_session_destroy(trial->session); }

/* --- right before fast ------------------------------------------------------------------------ */

static double number_at(const StoaTensor *t, int64_t i) {
    uint32_t width = dtype_bytes((Dtype)t->dtype);
    return const_decode((Dtype)t->dtype, (const uint8_t *)t->data + (size_t)i * width);
}
/* The largest difference over the largest number; infinite where NaNs differ. */
static double distance(const StoaTensor *a, const StoaTensor *b) {
    double most = 0, largest = 1e-6;
    for (int64_t i = 0; i < elements_of(a); i++) {
        double x = number_at(a, i), y = number_at(b, i);
        if (isnan(x) != isnan(y)) return INFINITY;
        if (isnan(x)) continue;
        most = fmax(most, fabs(x - y));
        largest = fmax(largest, fabs(y));
    }
    return most / largest;
}
static double states_distance(Trial *a, Trial *b, Arena *arena) {
    double most = 0;
    for (uint32_t i = 0; i < stoa_state_count(a->session); i++) {
        const char *name = stoa_state_name(a->session, i);
        StoaTensor  x = {.dtype = STOA_NONE}, y = x;
        if (stoa_state_get(a->session, name, &x) != STOA_OK) return INFINITY;
        y = x;
        give_memory(arena, &x);
        give_memory(arena, &y);
        if (stoa_state_get(a->session, name, &x) != STOA_OK ||
            stoa_state_get(b->session, name, &y) != STOA_OK)
            return INFINITY;
        most = fmax(most, distance(&x, &y));
    }
    return most;
}

/* Whether the case gives what the interpreter gives; says so on stderr if not. A case that this
 * build cannot compile is refused: told, not counted as wrong. */
static bool is_right(Suite *s, const Place *place, const KernelCase *kernel, StoaDtype dtype) {
    Trial     fast, slow = {.session = NULL};
    int64_t   columns = kernel->columns > 1000 ? (kernel->odd ? 77 : 128) : kernel->columns;
    ArenaMark mark = arena_mark(s->arena);
    double    most = 0, least = dtype == STOA_F32 ? 1e-5 : 0.02;
    bool      ran = trial_open(&fast, s->arena, place, kernel, dtype, 19, columns, false);
    bool      good = ran && trial_open(&slow, s->arena, place, kernel, dtype, 19, columns, true);
    if (!good) {
        s->refused++;
        (void)fprintf(stderr, "%s %s is not measured: %s", kernel->name,
                      dtype_infos[(int)dtype].name, stoa_message(place->context));
    } else {
        for (uint32_t i = 0; i < fast.graph.outputs_count; i++)
            most = fmax(most, distance(&fast.outputs[i], &slow.outputs[i]));
        most = fmax(most, states_distance(&fast, &slow, s->arena));
    }
    trial_close(&fast);
    trial_close(&slow);
    arena_release(s->arena, mark);
    if (most <= least) return good;
    s->wrong++;
    (void)fprintf(stderr, "bench_kernels: %s %s is wrong by %g of its largest number\n",
                  kernel->name, dtype_infos[(int)dtype].name, most);
    return false;
}

/* --- measuring -------------------------------------------------------------------------------- */

static void sample(Trial *trial, double flops) {
    uint32_t   round = trial->times.count; /* at most ROUNDS */
    RoofSample roof = roof_sample(&trial->place->roof, (size_t)trial->memory_bytes);
    double     bound = roof_bound_ns(&roof, trial->read_bytes, trial->written_bytes, flops);
    (void)run(trial); /* the roof has emptied the caches */
    bench_begin(&trial->times);
    for (uint32_t i = 0; i < trial->repeats; i++) (void)run(trial);
    bench_end(&trial->times);
    uint64_t ns =
        trial->place->lanes == 1 ? trial->times.cpu_ns[round] : trial->times.wall_ns[round];
    trial->shares[round] = bound * trial->repeats / (double)(ns > 0 ? ns : 1);
}

static void choose_repeats(Trial *trial) {
    BenchTimes once = {.count = 0};
    bench_begin(&once);
    (void)run(trial);
    bench_end(&once);
    uint64_t ns = once.cpu_ns[0] + 1;
    trial->repeats = ns >= SAMPLE_NS ? 1 : (uint32_t)(SAMPLE_NS / ns) + 1;
    if (trial->repeats > REPEATS_MAX) trial->repeats = REPEATS_MAX;
}

static void tell(Suite *s, const KernelCase *kernel, const Footprint *at, Trial *trial,
                 double numbers) {
    char   name[64], shape[32];
    double bytes = trial->read_bytes + trial->written_bytes, median = 0;
    double all[BENCH_SAMPLES_MAX];
    for (uint32_t i = 0; i < trial->times.count; i++)
        all[i] =
            (double)(trial->place->lanes == 1 ? trial->times.cpu_ns[i] : trial->times.wall_ns[i]);
    median = bench_spread(all, trial->times.count).median / trial->repeats;
    (void)snprintf(name, sizeof name, "%s.%s", kernel->name, at->name);
    (void)snprintf(shape, sizeof shape, "%lldx%lld", (long long)trial->graph.rows,
                   (long long)trial->graph.columns);
    BenchResult result = {.name = name,
                          .size = at->bytes,
                          .shape = shape,
                          .dtype = dtype_infos[trial->graph.dtype].name,
                          .lanes = trial->place->lanes,
                          .times = &trial->times,
                          .rows = 1000.0 * trial->repeats,
                          .bytes = bytes,
                          .flops = numbers * kernel->flops,
                          .shares = trial->shares,
                          .unit = "us",
                          .waits = trial->place->lanes > 1,
                          .goal_share = s->bench.smoke ? 0 : at->goal_share,
                          .extras = {{"GB/s", bytes / median}}};
    if (kernel->specials > 0)
        result.extras[1] = (BenchExtra){"G/s", numbers * kernel->specials / median};
    bench_tell(&s->bench, &result);
}

static bool measure(Suite *s, const KernelCase *kernel, StoaDtype dtype, const Footprint *at) {
    Trial     trials[CONTEXTS];
    char      name[64];
    int64_t   columns = at->columns > 0 ? at->columns : kernel->columns;
    double    line = kernel->arrays * (double)columns * dtype_bytes((Dtype)dtype);
    int64_t   rows = at->rows > 0 ? at->rows : (int64_t)((double)at->bytes / line);
    uint32_t  rounds = s->bench.smoke ? 1 : ROUNDS;
    uint64_t  begin = os_clock_ns();
    ArenaMark mark = arena_mark(s->arena);
    bool      good = true;
    (void)snprintf(name, sizeof name, "%s.%s", kernel->name, at->name);
    if (!bench_wants(&s->bench, name)) return true;
    if (rows < 1) rows = 1;
    for (uint32_t i = 0; i < s->places_count; i++) {
        good = good &&
               trial_open(&trials[i], s->arena, &s->places[i], kernel, dtype, rows, columns, false);
        if (good) choose_repeats(&trials[i]);
        if (!good) (void)fprintf(stderr, "%s: %s", name, stoa_message(s->places[i].context));
        if (!good) trials[i].session = NULL;
    }
    for (uint32_t round = 0; round < rounds && good; round++) {
        if (round >= ROUNDS_LEAST && os_clock_ns() - begin > CASE_NS) break;
        for (uint32_t i = 0; i < s->places_count; i++)
            sample(&trials[i], kernel->flops * (double)(rows * columns));
    }
    for (uint32_t i = 0; i < s->places_count; i++) {
        if (good) tell(s, kernel, at, &trials[i], (double)(rows * columns));
        trial_close(&trials[i]);
    }
    arena_release(s->arena, mark);
    return good;
}

/* --- roofs ------------------------------------------------------------------------------------ */

static void tell_roof(Suite *s, const Footprint *at, const Place *place) {
    static const char *const names[] = {"read", "copy", "copy.stream", "multiply-add"};
    double                   numbers[4][BENCH_SAMPLES_MAX];
    char                     name[64], shape[32];
    uint32_t                 rounds = s->bench.smoke ? 1 : ROUNDS;
    for (uint32_t i = 0; i < rounds; i++) {
        RoofSample roof = roof_sample(&place->roof, at->bytes);
        numbers[0][i] = 1 / roof.read_ns;
        numbers[1][i] = 2 / roof.copy_ns;
        numbers[2][i] = 2 / roof.stream_ns;
        numbers[3][i] = 1 / roof.flop_ns;
    }
    (void)snprintf(shape, sizeof shape, "%llu KiB", (unsigned long long)(at->bytes >> 10));
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "roof.%s.%s", names[i], at->name);
        bench_tell_spread(&s->bench,
                          &(BenchResult){.name = name,
                                         .size = at->bytes,
                                         .shape = shape,
                                         .dtype = i == 3 ? "f32" : "bytes",
                                         .lanes = place->lanes,
                                         .unit = i == 3 ? "GFLOP/s" : "GB/s"},
                          bench_spread(numbers[i], rounds));
    }
}

/* What one call costs whose kernel has nothing to do: it is part of every time above. */
static void one_number(KernelGraph *g) {
    StoaDim     dim = stoa_dim(g->program, 1);
    KernelInput input = {{STOA_F32, 1, {1}, NULL}, FILL_UNIFORM, 0};
    g->inputs[g->inputs_count++] = input;
    StoaValue x = stoa_input(g->program, "x", STOA_F32, &dim, 1);
    stoa_output(g->program, "y", stoa_neg(g->program, x));
    g->outputs_count = 1;
}
static bool measure_call(Suite *s, uint64_t size) {
    static const KernelCase kernel = {"call", one_number, 2, 1, 0, 1, false};
    return measure(s, &kernel, STOA_F32, &(Footprint){"empty", size, 1, 1, 0});
}

/* --- all -------------------------------------------------------------------------------------- */

static bool measure_footprint(Suite *s, const Footprint *at, bool odd, const bool *good) {
    static const StoaDtype dtypes[] = {STOA_F32, STOA_BF16};
    bool                   ran = true;
    for (uint32_t k = 0; k < LENGTH(dtypes); k++)
        for (uint32_t i = 0; kernel_cases[i].name != NULL && ran; i++)
            if (good[i * LENGTH(dtypes) + k] && (!odd || kernel_cases[i].odd))
                ran = measure(s, &kernel_cases[i], dtypes[k], at);
    return ran;
}

static bool measure_all(Suite *s, const bool *good) {
    const Topology      *m = &s->machine;
    Footprint            footprints[] = {{"near", m->l2_bytes / 2, 0, 0, 0},
                                         {"llc", m->l3_bytes / 4, 0, 0, 0},
                                         {"far", m->l3_bytes * 4, 0, 0, GOAL_SHARE}};
    static const int64_t rows[] = {1, 7, 1000}, columns[] = {33, 1000, 50257};
    if (s->bench.smoke) footprints[0].bytes = 4096;
    bool ran = measure_call(s, footprints[0].bytes);
    for (uint32_t i = 0; i < LENGTH(footprints) && ran; i++) {
        if (s->bench.smoke && i > 0) break;
        if (s->bench.size != 0 && s->bench.size != footprints[i].bytes) continue;
        for (uint32_t k = 0; k < s->places_count; k++) tell_roof(s, &footprints[i], &s->places[k]);
        ran = measure_footprint(s, &footprints[i], false, good);
    }
    if (s->bench.size != 0) return ran;
    for (uint32_t i = 0; i < LENGTH(rows) && ran; i++)
        for (uint32_t k = 0; k < LENGTH(columns) && ran; k++) {
            if (s->bench.smoke && i + k > 0) break;
            ran = measure_footprint(s, &(Footprint){"odd", 0, rows[i], columns[k], 0}, true, good);
        }
    return ran;
}

static bool open_places(Suite *s) {
    uint32_t wanted[CONTEXTS] = {1, s->machine.cores};
    uint32_t limit = s->machine.cpu_limit;
    if (limit > 0 && limit < wanted[1]) wanted[1] = limit;
    if (s->bench.lanes != 0) wanted[0] = wanted[1] = s->bench.lanes;
    for (uint32_t i = 0; i < CONTEXTS && (i == 0 || wanted[1] != wanted[0]); i++) {
        StoaContextOptions options = STOA_CONTEXT_OPTIONS;
        Place             *place = &s->places[i];
        options.lanes = place->lanes = wanted[i];
        if (stoa_context_create(&options, &place->context) != STOA_OK ||
            !roof_open(&place->roof, wanted[i],
                       s->bench.smoke ? (1 << 20) : s->machine.l3_bytes * 4))
            return false;
        s->places_count++;
    }
    return true;
}

int main(int argc, char **argv) {
    Suite       s = {.places_count = 0};
    int         status = 0;
    static bool good[256]; /* by case and dtype: measured at all */
    if (!bench_open(&s.bench, "kernels", argc, argv, &status)) return status;
    topology_read(&s.machine);
    if (s.machine.l2_bytes == 0) s.machine.l2_bytes = 512 << 10; /* the system does not say */
    if (s.machine.l3_bytes == 0) s.machine.l3_bytes = 32 << 20;
    s.arena = arena_open("tensors", (size_t)16 << 30, 0);
    ArenaGuard guard;
    bool       ran = s.arena != NULL && open_places(&s);
    if (ran && !ARENA_GUARD(&guard)) {
        (void)fprintf(stderr, "bench_kernels: no memory\n");
        return 1;
    }
    for (uint32_t i = 0; ran && kernel_cases[i].name != NULL; i++) {
        good[2 * i] = is_right(&s, &s.places[s.places_count - 1], &kernel_cases[i], STOA_F32);
        good[2 * i + 1] = is_right(&s, &s.places[s.places_count - 1], &kernel_cases[i], STOA_BF16);
    }
    ran = ran && measure_all(&s, good);
    if (s.refused > 0) (void)fprintf(stderr, "%u cases are not measured, see above\n", s.refused);
    return bench_close(&s.bench, ran && s.wrong + s.refused == 0 ? 0 : 1);
}
