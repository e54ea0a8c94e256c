/* The kernel compiler: what a kernel costs to compile and to load from disk, and how fast the
 * vector mathematics is.
 *
 * Functions run over arrays that fit the first-level cache, on one core, four of this machine's
 * vectors side by side. `fma` is a chain of multiply-adds: the arithmetic peak measured in the same
 * run; slots says how many of its instructions fit into the time of one vector of the function.
 * Compile times are of one lane and of all; `disk` is a new handle on a full folder, with LLVM not
 * consulted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "cpu/jit_math.h"
#include "tests/unit/jit_loop.h"

#if defined(STOA_HAVE_LLVM)

enum { ELEMENTS = 2048, CHAIN = 24, KERNELS = 40, REPEATS = 500 };

typedef struct Op {
    Opcode opcode; /* OP_NIL: the chain of multiply-adds */
    bool   wide;
    double goal; /* ns an element with 512-bit vectors; 0: none */
} Op;
static const Op ops[] = {
    {OP_NIL, false, 0},     {OP_EXP, false, 0.2},  {OP_EXPM1, false, 0},    {OP_LOG, false, 0},
    {OP_LOG1P, false, 0},   {OP_TANH, false, 0.2}, {OP_LOGISTIC, false, 0}, {OP_ERF, false, 0},
    {OP_SIN, false, 0},     {OP_COS, false, 0},    {OP_SQRT, false, 0},     {OP_RSQRT, false, 0},
    {OP_ERF_INV, false, 0}, {OP_POW, false, 0},    {OP_ATAN2, false, 0},    {OP_REM, false, 0},
    {OP_NIL, true, 0},      {OP_EXP, true, 0},     {OP_LOG, true, 0},       {OP_TANH, true, 0},
    {OP_ERF, true, 0},      {OP_SIN, true, 0},     {OP_POW, true, 0},       {OP_ATAN2, true, 0}};

static JitValue emit_op(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const Op *op = parameter;
    JitValue  args[2] = {x, y};
    JitType   type = llvm.TypeOf(x);
    if (op->opcode != OP_NIL)
        return jit_math(build, op->opcode, op->wide ? DTYPE_F64 : DTYPE_F32, args);
    for (int i = 0; i < CHAIN; i++)
        x = jit_intrinsic(build, "llvm.fmuladd", &type, 1, (JitValue[]){x, y, y}, 3);
    return x;
}

typedef struct Suite {
    Bench    bench;
    Arena   *arena;
    Diags    diags;
    Workers *workers;
    char     dir[64];
} Suite;

static void must(Suite *s, Status status, const char *what) {
    if (status == STATUS_OK) return;
    (void)fprintf(stderr, "bench_jit: %s failed (%u diagnostics)\n", what,
                  s->diags.rows.table.count - 1);
    exit(1);
}
static Jit *open_jit(Suite *s, const char *dir) {
    Jit *jit = NULL;
    must(s, jit_open(s->arena, &(JitOptions){.cache_dir = dir}, &s->diags, &jit), "jit_open");
    return jit;
}
/* The least disturbed sample, for ratios between two results. */
static double least_ns(const BenchTimes *times) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < times->count; i++)
        if (times->cpu_ns[i] < least) least = times->cpu_ns[i];
    return (double)least;
}

/* --- speed of functions ----------------------------------------------------------------------- */

static void run_functions(Suite *s) {
    static float  x32[ELEMENTS], y32[ELEMENTS], z32[ELEMENTS];
    static double x64[ELEMENTS], y64[ELEMENTS], z64[ELEMENTS], peak[2];
    Jit          *jit = open_jit(s, NULL);
    uint32_t      repeats = s->bench.smoke ? 1 : REPEATS;
    for (int i = 0; i < ELEMENTS; i++) {
        x64[i] = 0.001 + (double)i / ELEMENTS * 0.998;
        y64[i] = 0.5 + (double)(i * 7 % ELEMENTS) / ELEMENTS;
        x32[i] = (float)x64[i];
        y32[i] = (float)y64[i];
    }
    for (size_t i = 0; i < LENGTH(ops); i++) {
        const Op *op = &ops[i];
        char      name[32];
        JitType (*type)(JitBuild *) = op->wide ? loop_f64 : loop_f32;
        uint32_t lanes = jit_machine(jit)->vector_bytes / (op->wide ? 8 : 4);
        JitLoop  loop = {emit_op, op, type, type, lanes * (op->opcode == OP_NIL ? 8 : 4), 1};
        (void)snprintf(name, sizeof name, "%s_%s",
                       op->opcode == OP_NIL ? "fma" : op_infos[op->opcode].name,
                       op->wide ? "f64" : "f32");
        JitKernel kernel = loop_kernel(name, &loop);
        must(s, jit_compile(jit, NULL, &kernel, 1, &s->diags), name);
        JitLoopFn *run = loop_entry(&kernel);
        BenchTimes times = {0};
        for (uint32_t sample = 0; sample < bench_samples(&s->bench, 15); sample++) {
            bench_begin(&times);
            for (uint32_t r = 0; r < repeats; r++)
                op->wide ? run(z64, x64, y64, ELEMENTS) : run(z32, x32, y32, ELEMENTS);
            bench_end(&times);
        }
        double each = least_ns(&times) / repeats / ELEMENTS;
        if (op->opcode == OP_NIL) peak[op->wide] = each / CHAIN;
        bench_tell(&s->bench,
                   &(BenchResult){.name = name,
                                  .size = ELEMENTS,
                                  .times = &times,
                                  .rows = (double)repeats * ELEMENTS,
                                  .unit = "ns/element",
                                  .goal = jit_machine(jit)->vector_bytes == 64 ? op->goal : 0,
                                  .extras = {{"G/s", 1 / each}, {"slots", each / peak[op->wide]}}});
    }
    jit_close(jit);
}

/* --- cost of compiling ------------------------------------------------------------------------ */

static void kernels_make(JitKernel *kernels, JitLoop *loops, char (*names)[32]) {
    for (uint32_t i = 0; i < KERNELS; i++) {
        const Op *op = &ops[1 + i % 12];
        loops[i] = (JitLoop){emit_op, op, loop_f32, loop_f32, 0, 1 + i / 12};
        (void)snprintf(names[i], sizeof names[i], "kernel_%u", i);
        kernels[i] = loop_kernel(names[i], &loops[i]);
    }
}
static void tell_compile(Suite *s, const char *name, const BenchTimes *times, bool waits,
                         const JitKernel *kernels) {
    double stages[3] = {0};
    for (uint32_t i = 0; kernels && i < KERNELS; i++) {
        stages[0] += kernels[i].build_us;
        stages[1] += kernels[i].optimise_us;
        stages[2] += kernels[i].generate_us;
    }
    BenchResult              result = {.name = name,
                                       .size = KERNELS,
                                       .times = times,
                                       .rows = KERNELS * 1e6,
                                       .unit = "ms/kernel",
                                       .waits = waits};
    static const char *const labels[] = {"build_ms", "optimise_ms", "generate_ms"};
    for (int i = 0; i < 3 && kernels; i++)
        result.extras[i] = (BenchExtra){labels[i], stages[i] / KERNELS / 1e3};
    bench_tell(&s->bench, &result);
}
static void folder_empty(Suite *s) {
    String *names;
    size_t  count = 0;
    if (os_list(s->arena, s->dir, &names, &count) != 0) return;
    for (size_t i = 0; i < count; i++)
        if (os_remove(str_format(s->arena, "%s/%.*s", s->dir, STR_ARGS(names[i])).data) != 0)
            return;
}
static void run_compile(Suite *s) {
    static JitKernel         kernels[KERNELS];
    static JitLoop           loops[KERNELS];
    static char              names[KERNELS][32];
    static const char *const labels[] = {"compile", "compile_all_lanes", "disk"};
    static BenchTimes        times[3];
    kernels_make(kernels, loops, names);
    for (uint32_t sample = 0; sample < bench_samples(&s->bench, 7); sample++) {
        ArenaMark mark = arena_mark(s->arena);
        for (int kind = 0; kind < 3; kind++) {
            if (kind < 2) folder_empty(s);
            bench_begin(&times[kind]);
            Jit *jit = open_jit(s, s->dir);
            must(s, jit_compile(jit, kind == 1 ? s->workers : NULL, kernels, KERNELS, &s->diags),
                 labels[kind]);
            bench_end(&times[kind]);
            if (kind == 0 && sample + 1 == bench_samples(&s->bench, 7))
                tell_compile(s, labels[0], &times[0], false, kernels);
            jit_close(jit);
        }
        arena_release(s->arena, mark);
    }
    tell_compile(s, labels[1], &times[1], true, NULL);
    tell_compile(s, labels[2], &times[2], true, NULL);
}
static void run_load(Suite *s) {
    BenchTimes times = {0};
    bench_begin(&times);
    must(s, llvm_load(NULL, &s->diags), "llvm_load");
    bench_end(&times);
    bench_tell(
        &s->bench,
        &(BenchResult){.name = "load", .size = 1, .times = &times, .rows = 1e6, .unit = "ms"});
}

int main(int argc, char **argv) {
    static Suite s;
    int          exit_code = 0;
    ArenaGuard   guard;
    if (!bench_open(&s.bench, "jit", argc, argv, &exit_code)) return exit_code;
    s.arena = arena_open("bench", 0, 0);
    if (s.arena == NULL || !ARENA_GUARD(&guard)) return 1;
    diags_open(&s.diags, NULL);
    (void)snprintf(s.dir, sizeof s.dir, "/tmp/stoa_bench_jit_XXXXXX");
    if (mkdtemp(s.dir) == NULL) return 1;
    must(&s, workers_open(s.arena, 0, true, &s.workers), "workers_open");
    run_load(&s);
    run_functions(&s);
    run_compile(&s);
    folder_empty(&s);
    (void)!os_remove(s.dir);
    workers_close(s.workers);
    diags_close(&s.diags);
    arena_guard_end(&guard);
    arena_close(s.arena);
    return bench_close(&s.bench, 0);
}

#else
int main(void) {
    (void)puts("bench_jit: this build was made without LLVM's headers");
    return 0;
}
#endif
