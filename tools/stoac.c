/* stoac FILE [options]: reads a program (text or binary), runs systems on it, prints it.
 *
 *     -o FILE          write there, not to standard output           --types    annotate results
 *     -r STEP[,...]    run systems, or `compile`; what they need runs before them
 *     -d NAME          print the program after each run of a system  -fno-NAME  leave it out
 *     --binary         write the binary form                         --check    verify all rows
 *     --target NAME    compile for `cpu` or `cuda` (without a device)  --fuel N   rewrites allowed
 *     --mem            bytes by table                                --time     ns by system
 *     --kernels        print kernels (cpu: and how loops run)   --source  their CUDA C
 *     --steps, --explain  schedules; loops and estimates at each step   --measure  time kernels
 *     --asm, --llvm    print the code of kernels   --streams  what derivatives carry
 *     --search, --schedule FILE  measure and keep, take schedules (systems/schedule_text.h; `none`)
 *     --peak           what each graph keeps, at most     --memory-budget BYTES  recompute to fit
 *     --bisect         the first rewrite after which it fails   --expect TEXT  which must appear
 * Diagnostics go to stderr. Exit status: 0 good, 1 errors, 2 wrong usage. */
#include <stdio.h>
#include <stdlib.h>

#include "stoac_schedule.h"

#include "arena/os.h"
#include "cpu/cpu.h"
#include "cpu/emit.h"
#include "gpu/run.h"
#include "systems/fit.h"
#include "systems/modes.h"
#include "systems/runner.h"
#include "systems/taylor.h"
#include "text/binary.h"
#include "text/check.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/peak.h"
#include "text/print.h"

typedef struct Options {
    const char    *file, *out, *steps, *expect;
    uint64_t       dump, skip; /* bit per SystemKind */
    uint32_t       fuel;
    uint64_t       budget, offload;
    Dtype          narrow;
    Narrow8        narrow8;
    bool           types, binary, check, mem, time, cpu, cuda, bisect, peak, streams;
    StoacSchedules schedules;
} Options;

enum { PEAK_ROWS = 40 };
static Arena *arena;

static void put(FILE *to, String s) { (void)fwrite(s.data, 1, s.count, to); }

static void help(FILE *to) {
    fprintf(to, "usage: stoac FILE [-o FILE] [-r STEPS] [-dNAME] [-fno-NAME] [--types]\n"
                "             [--binary] [--check] [--target cpu|cuda] [--mem] [--time]\n"
                "             [--peak] [--memory-budget BYTES] [--offload-budget BYTES]\n"
                "             [--compute bf16|f16|fp8]\n"
                "             [--fp8-products BITS] [--fp8-history STEPS] [--fp8-block 0|128]\n"
                "             [--kernels] [--source] [--steps] [--explain] [--streams]\n"
                "             [--schedule FILE] [--search FILE] [--measure] [--asm] [--llvm]\n"
                "             [--fuel N] [--bisect] [--expect TEXT]\n"
                "STEPS: `compile`, or systems with commas between them; NAME: one of them:\n");
    for (int kind = 0; kind < SYSTEM_COUNT; kind++)
        fprintf(to, "  %-14s %s\n", system_infos[kind].name, system_infos[kind].doc);
}
static int usage(const char *what, const char *which) {
    fprintf(stderr, "stoac: %s%s\n  stoac --help shows what there is\n", what, which);
    return 2;
}
static int no_system(String name) {
    String names[SYSTEM_COUNT];
    for (int kind = 0; kind < SYSTEM_COUNT; kind++) names[kind] = str_of(system_infos[kind].name);
    String near = str_suggest(name, names, SYSTEM_COUNT);
    fprintf(stderr, "stoac: no system '%.*s'", STR_ARGS(name));
    if (near.count != 0) fprintf(stderr, "; did you mean '%.*s'?", STR_ARGS(near));
    fprintf(stderr, "\n  stoac --help shows what there is\n");
    return 2;
}

/* --- options ---------------------------------------------------------------------------------- */
/* 0, or the exit code. */
static int read_system(const char *name, uint64_t *bits) {
    SystemKind kind = system_find(str_of(name));
    if (kind == SYSTEM_COUNT) return no_system(str_of(name));
    *bits |= (uint64_t)1 << kind;
    return 0;
}
static bool read_flag(Options *o, String flag) {
    struct {
        const char *name;
        bool       *flag;
    } flags[] = {{"--types", &o->types},
                 {"--binary", &o->binary},
                 {"--check", &o->check},
                 {"--mem", &o->mem},
                 {"--streams", &o->streams},
                 {"--time", &o->time},
                 {"--peak", &o->peak},
                 {"--bisect", &o->bisect},
                 {"--kernels", &o->schedules.kernels},
                 {"--source", &o->schedules.source},
                 {"--steps", &o->schedules.steps},
                 {"--explain", &o->schedules.explain},
                 {"--measure", &o->schedules.measure},
                 {"--asm", &o->schedules.assembly},
                 {"--llvm", &o->schedules.llvm}};
    for (size_t i = 0; i < LENGTH(flags); i++)
        if (str_same(flag, str_of(flags[i].name))) return *flags[i].flag = true;
    return false;
}
static bool read_target(Options *o, String name) {
    o->cpu = str_same(name, STR("cpu"));
    o->cuda = str_same(name, STR("cuda"));
    return o->cpu || o->cuda;
}
/* An option with a value; false if there is none of this name. */
static bool read_option(Options *o, String name, const char *value, bool *out_good) {
    static const char *const names[] = {"-o",
                                        "-r",
                                        "--expect",
                                        "--target",
                                        "--fuel",
                                        "--schedule",
                                        "--search",
                                        "--compute",
                                        "--memory-budget",
                                        "--offload-budget",
                                        "--fp8-products",
                                        "--fp8-history",
                                        "--fp8-block"};
    int64_t                  number = 0;
    bool                     known = false;
    for (size_t i = 0; i < LENGTH(names); i++) known |= str_same(name, str_of(names[i]));
    if (!known) return false;
    *out_good = value != NULL;
    if (str_same(name, STR("-o")))
        o->out = value;
    else if (str_same(name, STR("-r")))
        o->steps = value;
    else if (str_same(name, STR("--expect")))
        o->expect = value;
    else if (str_same(name, STR("--schedule")))
        o->schedules.file = value;
    else if (str_same(name, STR("--search")))
        o->schedules.search = value;
    else if (str_same(name, STR("--memory-budget")))
        *out_good = value != NULL && str_to_bytes(str_of(value), &o->budget);
    else if (str_same(name, STR("--offload-budget")))
        *out_good = value != NULL && str_to_bytes(str_of(value), &o->offload);
    else if (str_same(name, STR("--compute")))
        *out_good = value != NULL && (o->narrow = narrow_find(str_of(value))) != DTYPE_NIL;
    else if (str_same(name, STR("--target")))
        *out_good = value != NULL && read_target(o, str_of(value));
    else {
        *out_good = value != NULL && str_to_i64(str_of(value), &number) && number >= 0;
        uint32_t *into = str_same(name, STR("--fuel"))           ? &o->fuel
                         : str_same(name, STR("--fp8-products")) ? &o->narrow8.products
                         : str_same(name, STR("--fp8-block"))    ? &o->narrow8.block
                                                                 : &o->narrow8.history;
        *into = (uint32_t)number;
    }
    return true;
}
static int read_options(Options *o, int argc, char **argv) {
    *o = (Options){.fuel = UINT32_MAX, .narrow8.history = 16};
    for (int i = 1; i < argc; i++) {
        String word = str_of(argv[i]);
        bool   good = true;
        int    code = 0;
        if (read_flag(o, word)) continue;
        if (read_option(o, word, i + 1 < argc ? argv[i + 1] : NULL, &good))
            i++;
        else if (str_starts(word, STR("-fno-")))
            code = read_system(argv[i] + 5, &o->skip);
        else if (str_starts(word, STR("-d")))
            code = read_system(argv[i] + 2, &o->dump);
        else if (word.data[0] == '-' || o->file != NULL)
            good = false;
        else
            o->file = argv[i];
        if (code != 0) return code;
        if (!good) return usage("what is ", argv[i < argc ? i : argc - 1]);
    }
    if (o->peak && o->steps == NULL) o->steps = "compile";
    o->cpu |= o->peak && !o->cuda;
    return o->file == NULL ? usage("a file is needed", "") : 0;
}

/* --- a world ---------------------------------------------------------------------------------- */
static void print_diags(const World *world, String source) {
    put(stderr, text_diags_in(arena, world, &world->diags, source));
}
static World *read_world(const Options *o) {
    OsMap  map;
    World *world = world_open(0, 0);
    int    error = os_map(o->file, &map);
    if (world == NULL || error != 0) {
        fprintf(stderr, "stoac: cannot read %s: %s\n", o->file, os_error_text(error));
        exit(2);
    }
    String   source = {(const char *)map.data, map.bytes};
    uint64_t begin = os_clock_ns();
    bool     good, binary = binary_is(source);
    if (binary)
        good = binary_load(world, o->file, &world->diags) == STATUS_OK;
    else
        good = text_parse(world, source, str_of(o->file));
    double ns = (double)(os_clock_ns() - begin), rows = world->code.ops.table.count;
    if (o->time) fprintf(stderr, "%-14s %10.3f ms %8.1f ns/row\n", "read", ns / 1e6, ns / rows);
    if (!good) {
        print_diags(world, binary ? (String){NULL, 0} : source);
        exit(1);
    }
    os_unmap(&map);
    return world;
}

static void after_system(void *context, const Runner *runner, const SystemRun *run) {
    const Options *o = context;
    const char    *name = system_infos[run->kind].name;
    double         ns = (double)(run->end_ns - run->begin_ns);
    uint32_t       rows = run->rows_in > 0 ? run->rows_in : 1;
    if (o->time)
        fprintf(stderr, "%-14s %10.3f ms %8.1f ns/row %8u -> %u rows, %u changed%s\n", name,
                ns / 1e6, ns / rows, run->rows_in, run->rows_out, run->changed,
                run->skipped ? " (left out)" : "");
    if (!(o->dump >> run->kind & 1)) return;
    printf("; after %s\n", name);
    put(stdout,
        text_print(arena, runner->ctx.world, (TextOptions){.types = o->types, .bare = true}));
}
/* Runs a system after those that give what it needs. */
static bool run_system(Runner *runner, SystemKind kind) {
    for (uint32_t other = 0; other < SYSTEM_COUNT; other++) {
        uint32_t missing = system_infos[kind].needs & ~runner->facts;
        if ((system_infos[other].gives & missing) == 0 || other == (uint32_t)kind) continue;
        if (!run_system(runner, (SystemKind)other)) return false;
    }
    return runner_run(runner, kind);
}
static bool run_steps(Runner *runner, String steps) {
    while (steps.count != 0) {
        const char *comma = memchr(steps.data, ',', steps.count);
        size_t      count = comma ? (size_t)(comma - steps.data) : steps.count;
        String      step = {steps.data, count};
        SystemKind  kind = system_find(step);
        bool        all = str_same(step, STR("compile"));
        if (!all && kind == SYSTEM_COUNT) exit(no_system(step));
        if (!(all ? runner_compile(runner) : run_system(runner, kind))) return false;
        count += comma != NULL;
        steps = (String){steps.data + count, steps.count - count};
    }
    return true;
}
/* The peak of each graph, at the hints of its sizes. */
static bool print_peaks(Runner *runner) {
    World *world = runner->ctx.world;
    for (uint32_t row = 1; row < world->code.graphs.table.count; row++) {
        Plan *plan = fit_plan(runner, (GraphId){row}, NULL, 0, true, &world->diags);
        if (plan == NULL) return false;
        if (row > 1) printf("\n");
        put(stdout, text_peak(arena, plan, PEAK_ROWS));
        plan_close(plan);
    }
    return true;
}
/* How the loops of each graph run at the hints of its sizes, as comments. */
static bool print_loops(Runner *runner) {
    World      *world = runner->ctx.world;
    Diags      *diags = &world->diags;
    JitOptions  options = {.level = JIT_HOST};
    Jit        *jit;
    Workers    *workers;
    EmitModule *module;
    bool        good = workers_open(arena, 1, true, &workers) == STATUS_OK;
    if (!good || jit_open(arena, &options, diags, &jit) != STATUS_OK) return good; /* no LLVM */
    good = emit_compile(arena, jit, &runner->loops, workers, diags, &module) == STATUS_OK;
    for (uint32_t row = 1; row < world->code.graphs.table.count && good; row++) {
        CpuPlan *cpu;
        Plan    *plan = fit_plan(runner, (GraphId){row}, NULL, 0, true, diags);
        good = plan != NULL && cpu_bind(arena, plan, module, workers, diags, &cpu) == STATUS_OK;
        String lines = good ? cpu_loops_text(arena, plan, cpu) : STR("");
        for (size_t i = 0, from = 0; i < lines.count; i++) {
            if (lines.data[i] != '\n') continue;
            printf("# %.*s\n", (int)(i - from), lines.data + from);
            from = i + 1;
        }
        if (plan != NULL) plan_close(plan);
    }
    jit_close(jit);
    workers_close(workers);
    return good;
}
static bool has_loops(const World *world) {
    bool has = false;
    for (uint32_t row = 1; row < world->code.ops.table.count; row++)
        has |= world->code.ops.opcode[row] == OP_WHILE || world->code.ops.opcode[row] == OP_SCAN;
    return has;
}
/* Runs the steps on the world; out_fuel is what they left. out_again: do it on a fresh one. */
static bool transform(const Options *o, World *world, uint32_t fuel, bool quiet, uint32_t *out_fuel,
                      bool *out_again) {
    Target         target;
    Runner         runner;
    StoacSchedules schedules = o->schedules;
    Target        *known = o->cpu || o->cuda ? &target : NULL;
    if (o->cpu) cpu_describe(&target, true);
    if (o->cuda) gpu_describe(&target, true);
    runner_open(&runner, world, known);
    runner.ctx.narrow = o->narrow;
    runner.ctx.narrow8 = o->narrow8;
    runner.ctx.keeps = known != NULL; /* as a session does */
    runner.ctx.budget = o->budget;
    runner.ctx.offload = o->offload;
    runner.ctx.fuel = fuel;
    runner.skip = o->skip;
    runner.hook = quiet ? NULL : after_system;
    runner.context = (void *)(uintptr_t)o;
    if (quiet) schedules = (StoacSchedules){.file = schedules.file};
    stoac_schedules_begin(&schedules, arena, &runner, known);
    bool good = o->steps == NULL || run_steps(&runner, str_of(o->steps));
    if (good && o->peak && !quiet) good = print_peaks(&runner);
    bool flows = good && !quiet && o->cpu && (schedules.kernels || schedules.steps) &&
                 o->steps != NULL && strstr(o->steps, "compile") != NULL && has_loops(world);
    *out_again = !quiet && !stoac_schedules_end(&schedules, &runner) && good;
    if (flows) good = print_loops(&runner);
    *out_fuel = runner.ctx.fuel;
    runner_close(&runner);
    return good;
}
static bool holds(const Options *o, World *world) {
    bool good = !o->check || check_world(world, &world->diags);
    if (good && o->expect != NULL) {
        String text = text_print(arena, world, (TextOptions){.types = o->types});
        good = strstr(text.data, o->expect) != NULL;
        if (!good) fprintf(stderr, "stoac: '%s' does not appear\n", o->expect);
    }
    return good;
}

/* --- reports ---------------------------------------------------------------------------------- */
static void print_memory(World *world) {
    double rows = world->code.ops.table.count, sum = 0;
    fprintf(stderr, "%-20s %10s %12s %8s\n", "table", "rows", "bytes", "per op");
    for (uint32_t i = 0; world_table(world, i) != NULL; i++) {
        const Table *table = world_table(world, i);
        double       bytes = (double)table_bytes(table);
        sum += bytes;
        fprintf(stderr, "%-20s %10u %12.0f %8.1f\n", table->info->name, table->count - 1, bytes,
                bytes / rows);
    }
    fprintf(stderr, "%-20s %10s %12.0f %8.1f; committed %zu, at most %zu\n", "all", "", sum,
            sum / rows, world->budget.bytes, world->budget.bytes_peak);
}
static int write_world(const Options *o, World *world) {
    if (o->binary) {
        if (o->out == NULL) return usage("--binary needs -o", "");
        if (binary_save(world, o->out, &world->diags) == STATUS_OK) return 0;
        print_diags(world, (String){NULL, 0});
        return 1;
    }
    String text = text_print(arena, world, (TextOptions){.types = o->types});
    FILE  *file = o->out != NULL ? fopen(o->out, "wb") : stdout;
    if (file == NULL) return usage("cannot write ", o->out);
    put(file, text);
    return fflush(file) != 0 || (file != stdout && fclose(file) != 0);
}

/* Halves the fuel until the first rewrite is known after which the result does not hold. */
static int bisect(const Options *o) {
    uint32_t good = 0, bad, left;
    World   *world = read_world(o);
    bool     again, fails = !transform(o, world, UINT32_MAX, true, &left, &again);
    fails = fails || !holds(o, world);
    world_close(world);
    bad = UINT32_MAX - left;
    if (!fails) {
        printf("nothing fails: %u rewrites\n", bad);
        return 0;
    }
    while (good < bad) {
        uint32_t middle = good + (bad - good) / 2;
        world = read_world(o);
        fails = !transform(o, world, middle, true, &left, &again) || !holds(o, world);
        world_close(world);
        if (fails)
            bad = middle;
        else
            good = middle + 1;
    }
    printf("fails from rewrite %u on (--fuel %u fails%s)\n", bad, bad, bad ? "" : ", even at none");
    return 1;
}

int main(int argc, char **argv) {
    Options    options;
    ArenaGuard guard;
    uint32_t   left;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        help(stdout);
        return 0;
    }
    int status = read_options(&options, argc, argv);
    if (status != 0) return status;
    arena = arena_open("stoac", (size_t)16 << 30, 0);
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        fprintf(stderr, "stoac: out of memory in '%s'\n", arena_guard_failure().arena);
        return 1;
    }
    if (options.bisect) return bisect(&options);
    World *world = NULL;
    bool   good = true, again = true;
    while (again) {
        world_close(world);
        world = read_world(&options);
        good = transform(&options, world, options.fuel, false, &left, &again);
    }
    good = good && holds(&options, world);
    if (good && options.streams) {
        put(stdout, taylor_explain(arena, world));
        put(stdout, modes_explain(arena, world));
    }
    uint64_t begin = os_clock_ns();
    status = !good ? 1
             : (options.peak || options.streams) && options.out == NULL
                 ? 0
                 : write_world(&options, world);
    double ns = (double)(os_clock_ns() - begin), rows = world->code.ops.table.count;
    if (options.time)
        fprintf(stderr, "%-14s %10.3f ms %8.1f ns/row\n", "write", ns / 1e6, ns / rows);
    if (!good) print_diags(world, (String){NULL, 0});
    if (options.mem) print_memory(world);
    world_close(world);
    arena_guard_end(&guard);
    arena_close(arena);
    return status;
}
