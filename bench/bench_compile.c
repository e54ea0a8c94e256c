/* bench_compile: how long from a program to its first step, and where does that go?
 *
 * GPT training programs (nano, 12 and 96 layers; a small batch, so that the step itself is short),
 * on one lane and on two. Each sample is a process of its own that builds, compiles, plans and
 * runs, so nothing is warm that a user would not have warm; a cold sample has an empty folder for
 * compiled kernels, and the warm one after it finds there what the cold one left.
 *
 * Phases: `build` (the front end), `state` (drawing initial parameters), one per system as the
 * runner recorded it, `emit` (machine code; emit.* is the processor time of all lanes for it),
 * `bind` (the rest of planning), `first` (the first step, which touches its memory), `step` (a
 * later one). `total` is all up to the end of the first step. */
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/session.h"
#include "arena/os.h"
#include "bench/bench.h"
#include "bench/trainee.h"

enum { PHASES_MAX = 40, NAME_BYTES = 32, SAMPLES = 8, PATH_BYTES = 512 };
static const double GOAL_TOTAL_12 = 1000, GOAL_TOTAL_96 = 3000, GOAL_WARM = 100; /* ms, 2 lanes */

typedef struct Phase {
    char     name[NAME_BYTES];
    uint64_t cpu_ns, wall_ns; /* of all threads; cpu 0: only the wall clock is known */
    uint32_t rows;            /* read or written, whichever are more */
    uint32_t functions, from_cache;
} Phase;
typedef struct Report { /* of a child, through a pipe */
    Phase    phases[PHASES_MAX];
    uint32_t count;
    bool     good;
} Report;
typedef struct Series { /* one phase over the samples */
    Phase      last;
    BenchTimes times;
} Series;

/* --- in the child ----------------------------------------------------------------------------- */

static uint64_t process_cpu_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

typedef struct Clock {
    uint64_t cpu, wall;
} Clock;
static Clock clock_now(void) { return (Clock){process_cpu_ns(), os_clock_ns()}; }

static void add_phase(Report *report, const char *name, Clock since) {
    Clock  now = clock_now();
    Phase *phase = &report->phases[report->count++];
    *phase = (Phase){.cpu_ns = now.cpu - since.cpu, .wall_ns = now.wall - since.wall};
    (void)snprintf(phase->name, sizeof phase->name, "%s", name);
}
/* Wall clock between two moments. */
static Phase *add_between(Report *report, const char *name, uint64_t begin_ns, uint64_t end_ns) {
    Phase *phase = &report->phases[report->count++];
    *phase = (Phase){.wall_ns = end_ns > begin_ns ? end_ns - begin_ns : 0};
    (void)snprintf(phase->name, sizeof phase->name, "%s", name);
    return phase;
}
/* The systems that the runner recorded from `first` on; one that runs again is numbered. Returns
 * when the last one ended. */
static uint64_t add_systems(Report *report, const Runner *runner, uint32_t first) {
    for (uint32_t i = first; i < runner->runs_count && report->count < PHASES_MAX - 10; i++) {
        const SystemRun *run = &runner->runs[i];
        char             name[NAME_BYTES];
        uint32_t         before = 0;
        for (uint32_t k = first; k < i; k++) before += runner->runs[k].kind == run->kind;
        (void)snprintf(name, sizeof name, before > 0 ? "%s.%u" : "%s", system_infos[run->kind].name,
                       before + 1);
        Phase *phase = add_between(report, name, run->begin_ns, run->end_ns);
        phase->rows = run->rows_in > run->rows_out ? run->rows_in : run->rows_out;
    }
    return runner->runs[runner->runs_count - 1].end_ns;
}
/* Processor time of all lanes, by what the kernel compiler did. */
static void add_emitted(Report *report, const EmitModule *module) {
    if (module == NULL) return;
    Phase *build = add_between(report, "emit.build", 0, 1000 * module->build_us);
    add_between(report, "emit.optimise", 0, 1000 * module->optimise_us);
    add_between(report, "emit.generate", 0, 1000 * module->generate_us);
    build->functions = module->functions;
    build->from_cache = module->from_cache;
}

/* Planning apart from running, which the public interface does in one call. */
static bool plan(Trainee *t) {
    StoaSession *session = t->session;
    StoaTensor   given[TRAINEE_INPUTS];
    Tensor       inputs[TRAINEE_INPUTS];
    ArenaGuard   guard;
    trainee_inputs(t, t->model.batch, t->model.length, given);
    for (uint32_t i = 0; i < TRAINEE_INPUTS; i++) {
        inputs[i] =
            (Tensor){.dtype = (Dtype)given[i].dtype, .rank = given[i].rank, .data = given[i].data};
        memcpy(inputs[i].shape, given[i].shape, sizeof inputs[i].shape);
    }
    if (!ARENA_GUARD(&guard)) return false;
    bool good =
        session_plan(session, session_graph(session, "train"), inputs, TRAINEE_INPUTS) != NULL;
    arena_guard_end(&guard);
    return good;
}

static bool first_step(Trainee *t, Report *report) {
    Clock all = clock_now(), since = all;
    if (!trainee_build(t)) return false;
    add_phase(report, "build", since);
    since = clock_now();
    if (!trainee_compile(t)) return false;
    uint64_t      compiled = os_clock_ns();
    const Runner *runner = &t->session->runner;
    uint32_t      systems = runner->runs_count;
    add_between(report, "state", since.wall, runner->runs[0].begin_ns);
    add_between(report, "emit", add_systems(report, runner, 0), compiled);
    add_emitted(report, t->session->module);
    since = clock_now();
    if (!plan(t)) return false;
    add_between(report, "bind", add_systems(report, runner, systems), os_clock_ns());
    since = clock_now();
    if (!trainee_step(t, t->model.batch, t->model.length)) return false;
    add_phase(report, "first", since);
    add_phase(report, "total", all);
    since = clock_now();
    if (!trainee_step(t, t->model.batch, t->model.length)) return false;
    add_phase(report, "step", since);
    return true;
}

static void child(const TraineeModel *model, const TraineeOptions *options, int pipe) {
    Trainee t;
    Report  report = {.count = 0};
    report.good = trainee_open(&t, model, options) && first_step(&t, &report);
    trainee_close(&t);
    ssize_t written = write(pipe, &report, sizeof report);
    _exit(written == (ssize_t)sizeof report ? 0 : 1);
}

/* --- in the parent ---------------------------------------------------------------------------- */

static bool read_all(int pipe, void *into, size_t bytes) {
    size_t have = 0;
    while (have < bytes) {
        ssize_t more = read(pipe, (uint8_t *)into + have, bytes - have);
        if (more <= 0) return false;
        have += (size_t)more;
    }
    return true;
}
static bool run_child(const TraineeModel *model, const TraineeOptions *options, Report *report) {
    int   ends[2], status = 1;
    bool  good = pipe(ends) == 0;
    pid_t pid = good ? fork() : -1;
    if (pid == 0) {
        (void)close(ends[0]);
        child(model, options, ends[1]);
    }
    if (good) {
        (void)close(ends[1]);
        good = pid > 0 && read_all(ends[0], report, sizeof *report) && report->good;
        (void)close(ends[0]);
    }
    if (pid > 0) (void)waitpid(pid, &status, 0);
    if (!good) (void)fprintf(stderr, "bench_compile: %s failed in its process\n", model->name);
    return good;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}
static void remove_cache(const char *path) {
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
static bool make_cache(char *path, size_t bytes) {
    const char *folder = getenv("TMPDIR");
    (void)snprintf(path, bytes, "%s/bench_compile_XXXXXX", folder ? folder : "/tmp");
    if (mkdtemp(path) != NULL) return true;
    (void)fprintf(stderr, "bench_compile: cannot make %s\n", path);
    return false;
}

static void keep(Series *series, uint32_t *count, const Report *report) {
    for (uint32_t i = 0; i < report->count; i++) {
        series[i].last = report->phases[i];
        bench_add(&series[i].times, report->phases[i].cpu_ns, report->phases[i].wall_ns);
    }
    *count = report->count;
}

static double goal_of(const TraineeModel *model, const char *phase, bool warm, uint32_t lanes) {
    if (strcmp(phase, "total") != 0 || lanes != 2) return 0;
    if (model->gpt.layers == 12) return warm ? GOAL_WARM : GOAL_TOTAL_12;
    return model->gpt.layers == 96 ? (warm ? GOAL_WARM : GOAL_TOTAL_96) : 0;
}

static void tell(const Bench *bench, const TraineeModel *model, uint32_t lanes, bool warm,
                 const Series *series, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const Phase *phase = &series[i].last;
        char         name[2 * NAME_BYTES];
        double       numbers[BENCH_SAMPLES_MAX];
        for (uint32_t k = 0; k < series[i].times.count; k++)
            numbers[k] = (double)series[i].times.wall_ns[k];
        double median = bench_spread(numbers, series[i].times.count).median;
        (void)snprintf(name, sizeof name, "%s.%s", warm ? "warm" : "cold", phase->name);
        BenchResult result = {.name = name,
                              .size = model->gpt.layers,
                              .shape = model->name,
                              .dtype = "f32",
                              .lanes = lanes,
                              .times = &series[i].times,
                              .rows = 1e6,
                              .unit = "ms",
                              .goal = bench->smoke ? 0 : goal_of(model, phase->name, warm, lanes),
                              .waits = phase->cpu_ns == 0 || lanes > 1};
        if (phase->rows > 0) {
            result.extras[0] = (BenchExtra){"op rows", phase->rows};
            result.extras[1] = (BenchExtra){"Mrows/s", 1000 * phase->rows / median};
        }
        if (phase->functions > 0) {
            result.extras[0] = (BenchExtra){"functions", phase->functions};
            result.extras[1] = (BenchExtra){"from cache", phase->from_cache};
        }
        bench_tell(bench, &result);
    }
}

static bool measure(const Bench *bench, const char *name, uint32_t lanes) {
    static Series cold[PHASES_MAX], warm[PHASES_MAX];
    uint32_t      cold_count = 0, warm_count = 0;
    TraineeModel  model = trainee_model(name);
    char          cache[PATH_BYTES];
    bool          good = true;
    memset(cold, 0, sizeof cold);
    memset(warm, 0, sizeof warm);
    for (uint32_t i = 0; i < bench_samples(bench, SAMPLES) && good; i++) {
        static Report  report;
        TraineeOptions options = {lanes, model.batch, cache};
        if (!make_cache(cache, sizeof cache)) return false;
        good = run_child(&model, &options, &report);
        if (good) keep(cold, &cold_count, &report);
        good = good && run_child(&model, &options, &report);
        if (good) keep(warm, &warm_count, &report);
        remove_cache(cache);
    }
    if (!good) return false;
    tell(bench, &model, lanes, false, cold, cold_count);
    tell(bench, &model, lanes, true, warm, warm_count);
    return true;
}

int main(int argc, char **argv) {
    static const char *const models[] = {"nano", "12-layer", "96-layer"};
    Bench                    bench;
    int                      status = 0;
    if (!bench_open(&bench, "compile", argc, argv, &status)) return status;
    bool ran = true;
    for (uint32_t lanes = 1; lanes <= 2 && ran; lanes++) {
        if (bench.lanes != 0 && bench.lanes != lanes) continue;
        if (bench.smoke) ran = measure(&bench, "tiny", lanes);
        for (size_t i = 0; i < LENGTH(models) && ran && !bench.smoke; i++)
            if (bench.size == 0 || bench.size == trainee_model(models[i]).gpt.layers)
                ran = measure(&bench, models[i], lanes);
    }
    return bench_close(&bench, ran ? 0 : 1);
}
