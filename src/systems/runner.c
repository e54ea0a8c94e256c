/* The runner and the table of systems. What every system needs is here once: fact bookkeeping,
 * timing, verification after writing, and the proof that tables outside the declared write set kept
 * their content (a hash before and after, in checked builds, for worlds small enough to hash). */
#include "systems/runner.h"

#include "arena/os.h"

enum TableSet { CODE = 1, VALUE_TYPES = 2, VIEWS = 4, PLAN = 8, LOOPS = 16 };
#define VERIFIED FACT_VERIFIED
#define TYPED    FACT_TYPED
#define INLINED  FACT_INLINED
#define PLAIN    FACT_PLAIN
#define EXPANDED FACT_EXPANDED
#define ORDERED  FACT_ORDERED
#define LAID_OUT FACT_LAID_OUT
#define PLANNED  FACT_PLANNED
#define FUSED    FACT_FUSED
#define LOWERED  FACT_LOWERED

const SystemInfo system_infos[SYSTEM_COUNT] = {
#define SYSTEM(id, reads_set, writes_set, needs_set, gives_set, breaks_set, about)                 \
    [SYSTEM_##id] = {.name = #id,                                                                  \
                     .doc = about,                                                                 \
                     .run = sys_##id,                                                              \
                     .reads = (reads_set),                                                         \
                     .writes = (writes_set),                                                       \
                     .needs = (needs_set),                                                         \
                     .gives = (gives_set),                                                         \
                     .breaks = (breaks_set)},
#include "systems/systems.def"
};

enum { PROOF_ROWS_MAX = 4096 }; /* larger worlds are not hashed */

SystemKind system_find(String name) {
    for (int kind = 0; kind < SYSTEM_COUNT; kind++)
        if (str_same(name, str_of(system_infos[kind].name))) return (SystemKind)kind;
    return SYSTEM_COUNT;
}

void runner_open(Runner *runner, World *world, const Target *target) {
    memset(runner, 0, sizeof *runner);
    runner->ctx = (SystemCtx){.world = world, .target = target, .fuel = UINT32_MAX};
    runner->checked = STOA_CHECKED;
    views_open(&runner->views, world->code.values.table.rows_max, &world->budget);
    runner->ctx.views = &runner->views;
    loops_open(&runner->loops, &world->budget);
    runner->ctx.loops = &runner->loops;
}

void runner_close(Runner *runner) {
    views_close(&runner->views);
    loops_close(&runner->loops);
}

static uint64_t code_hash(World *world, bool with_types) {
    uint64_t hash = 0;
    for (uint32_t i = 0; code_table(&world->code, i) != NULL; i++) {
        const Table *table = code_table(&world->code, i);
        if (table == &world->code.values.table && !with_types) continue;
        hash = hash * 31 + table_hash(table);
    }
    return hash;
}

/* Whether the code could not have been changed by a system that does not declare it. */
static void run_proven(Runner *runner, const SystemInfo *info, Ran *out_ran) {
    World *world = runner->ctx.world;
    bool   prove =
        runner->checked && !(info->writes & CODE) && world->code.ops.table.count < PROOF_ROWS_MAX;
    bool     types_too = !(info->writes & VALUE_TYPES);
    uint64_t before = prove ? code_hash(world, types_too) : 0;
    *out_ran = info->run(&runner->ctx);
    if (prove) ASSERT(code_hash(world, types_too) == before);
}

bool runner_run(Runner *runner, SystemKind kind) {
    const SystemInfo *info = &system_infos[kind];
    World            *world = runner->ctx.world;
    if ((runner->facts & info->needs) != info->needs) {
        (void)diags_add(&world->diags, DIAG_SYSTEM_NEEDS, 0,
                        diags_str(&world->diags, str_of(info->name)), info->needs & ~runner->facts,
                        0, 0);
        return false;
    }
    SystemRun run = {.kind = kind, .rows_in = world->code.ops.table.count - 1};
    run.skipped = (runner->skip >> kind & 1) != 0;
    run.begin_ns = os_clock_ns();
    if (!run.skipped) {
        Scratch  scratch = scratch_begin(NULL, 0);
        uint32_t errors = world->diags.errors;
        Ran      ran = {0};
        runner->ctx.scratch = scratch.arena;
        run_proven(runner, info, &ran);
        run.changed = ran.changed;
        run.errors = world->diags.errors - errors;
        scratch_end(scratch);
    }
    run.end_ns = os_clock_ns();
    run.rows_out = world->code.ops.table.count - 1;
    if (run.errors == 0) runner->facts = (runner->facts & ~info->breaks) | info->gives;
    if (runner->runs_count < RUNNER_RUNS_MAX) runner->runs[runner->runs_count++] = run;
    if (runner->hook != NULL) runner->hook(runner->context, runner, &run);
    if (run.errors == 0 && runner->checked && (info->writes & CODE) && !run.skipped) {
        uint32_t errors = world->diags.errors;
        Scratch  scratch = scratch_begin(NULL, 0);
        runner->ctx.scratch = scratch.arena;
        (void)sys_verify(&runner->ctx);
        scratch_end(scratch);
        ASSERT(world->diags.errors == errors); /* a system wrote invalid code: our bug */
    }
    return run.errors == 0;
}
