/* Speed and size of everything that touches rows: build, infer, differentiate, expand, fold,
 * dedupe, dead, order, layout, launch, memory, clone, save, load, print, parse, for a GPT-like
 * training program of 10^4, 10^5 and 10^6 operators (after differentiate and expand), on one core.
 *
 * A time is divided by the larger of the rows that a system reads and those that it writes; the
 * goal of 150 ns would allow their sum. Systems run in pipeline order on a fresh clone per sample,
 * so each sees the caches and the committed pages that it would see in a compilation. `program`
 * below is the program after expand, without a target; what is not a step of the pipeline is
 * measured on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "bench/gpt_graph.h"
#include "cpu/cpu.h"
#include "systems/runner.h"
#include "tables/bind.h"
#include "text/binary.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

enum { BUILD_GOAL = 60, SYSTEM_GOAL = 150, HOT_BYTES_GOAL = 64, STEPS_MAX = 16 };

typedef struct Suite {
    Bench    bench;
    Arena   *arena; /* lives as long as one size */
    uint64_t size;
    uint32_t layers, samples;
    World   *base;    /* the training program as built */
    World   *program; /* after expand */
} Suite;

static World *must(World *world) {
    if (world != NULL) return world;
    (void)fprintf(stderr, "bench_systems: no memory for a world\n");
    exit(1);
}
/* Errors of a system are ours: the program is right. */
static void must_be_good(Suite *s, const World *world, const char *what) {
    if (world->diags.errors == 0) return;
    String text = text_diags(s->arena, world, &world->diags);
    (void)fprintf(stderr, "bench_systems: %s: %.*s\n", what, (int)text.count, text.data);
    exit(1);
}
static uint32_t rows_of(const World *world) { return world->code.ops.table.count - 1; }

static void tell(Suite *s, const char *name, const BenchTimes *times, double rows, double bytes,
                 double goal) {
    bench_tell(&s->bench, &(BenchResult){.name = name,
                                         .size = s->size,
                                         .times = times,
                                         .rows = rows,
                                         .bytes = bytes,
                                         .unit = "ns/row",
                                         .goal = goal});
}

/* --- the programs ----------------------------------------------------------------------------- */

static World *gpt_world(Suite *s, uint32_t layers, bool train) {
    World    *world = must(world_open(0, 0));
    ArenaMark mark = arena_mark(s->arena);
    (void)gpt_graph_add(world, s->arena, layers, train);
    arena_release(s->arena, mark);
    must_be_good(s, world, "build");
    return world;
}
static void run_steps(Suite *s, World *world, const SystemKind *steps, uint32_t count,
                      uint32_t facts) {
    Runner runner;
    runner_open(&runner, world, NULL);
    runner.facts = facts;
    for (uint32_t i = 0; i < count; i++) {
        (void)runner_run(&runner, steps[i]);
        must_be_good(s, world, system_infos[steps[i]].name);
    }
    runner_close(&runner);
}
static World *expanded(Suite *s, uint32_t layers, World **out_base) {
    static const SystemKind steps[] = {SYSTEM_verify,        SYSTEM_infer, SYSTEM_inline,
                                       SYSTEM_differentiate, SYSTEM_dead,  SYSTEM_expand};
    World                  *base = gpt_world(s, layers, true), *world = must(world_clone(base));
    run_steps(s, world, steps, LENGTH(steps), 0);
    if (out_base != NULL)
        *out_base = base;
    else
        world_close(base);
    return world;
}
/* Rows grow by the same number with every layer. */
static uint32_t layers_for(Suite *s, uint64_t rows) {
    World   *two = expanded(s, 2, NULL), *three = expanded(s, 3, NULL);
    uint64_t a = rows_of(two), layer = rows_of(three) - a;
    world_close(two);
    world_close(three);
    return rows <= a ? 2 : (uint32_t)(2 + (rows - a + layer / 2) / layer);
}

/* --- build ------------------------------------------------------------------------------------ */

/* Appends every row of from to the empty code of into, which shares its interned tables. */
static void replay(World *into, const World *from, bool inferred) {
    const Code *code = &from->code;
    Build       build = {.world = into, .code = &into->code, .block = {1}};
    uint32_t    args = code->blocks.args_count[1];
    (void)code_add_block(&into->code, (OpId){0}, args);
    memcpy(into->code.values.type + 1, code->values.type + 1, args * sizeof(TypeId));
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint32_t        count = code->ops.operands_count[row];
        uint32_t        results = code->ops.results_count[row];
        Opcode          opcode = (Opcode)code->ops.opcode[row];
        const ValueId  *operands = op_operands(code, (OpId){row});
        const uint64_t *words = op_attrs(from, code, (OpId){row});
        if (inferred) {
            (void)build_row(&build, opcode, operands, count, words, results);
            continue;
        }
        AttrsId attrs = attrs_add(&into->attrs, words, op_infos[opcode].attrs_count);
        (void)code_add_op(&into->code, build.block, (uint16_t)opcode, operands, count, results,
                          attrs, build.loc);
    }
}
static void bench_replay(Suite *s, const char *name, bool inferred) {
    BenchTimes times = {0};
    if (!bench_wants(&s->bench, name)) return;
    World *bare = must(world_clone(s->program)); /* all but the code */
    code_clear(&bare->code);
    for (uint32_t i = 0; i < s->samples; i++) {
        World *world = must(world_clone(bare));
        bench_begin(&times);
        replay(world, s->program, inferred);
        bench_end(&times);
        must_be_good(s, world, name);
        world_close(world);
    }
    world_close(bare);
    tell(s, name, &times, rows_of(s->program), 0, BUILD_GOAL);
}
/* The forward program alone, as long as asked for, through the public builders: parameter names,
 * lists and types are interned on the way. */
static void bench_build(Suite *s) {
    BenchTimes times = {0};
    uint32_t   rows = 0, layers = (uint32_t)(s->size / GPT_LAYER_ROWS) + 1;
    if (!bench_wants(&s->bench, "build")) return;
    for (uint32_t i = 0; i < s->samples; i++) {
        World *world = must(world_open(0, 0));
        bench_begin(&times);
        (void)gpt_graph_add(world, s->arena, layers, false);
        bench_end(&times);
        must_be_good(s, world, "build");
        rows = rows_of(world);
        world_close(world);
    }
    tell(s, "build", &times, rows, 0, BUILD_GOAL);
}

/* --- the pipeline ----------------------------------------------------------------------------- */

typedef struct Step {
    const char *name; /* NULL ends the list */
    SystemKind  kind;
    BenchTimes  times;
    uint32_t    rows_in, rows_out;
} Step;

static bool bind_sizes(const World *world, Plan *plan, Diags *diags) {
    const Tensor inputs[GPT_INPUTS] = {
        {.dtype = DTYPE_I32, .rank = 2, .shape = {8, GPT_CONTEXT}},
        {.dtype = DTYPE_I32, .rank = 2, .shape = {8, GPT_CONTEXT}},
        {.dtype = DTYPE_F32},
        {.dtype = DTYPE_F32},
    };
    return bind_dims(world, plan->graph, inputs, GPT_INPUTS, plan->dim_values, diags);
}

/* The fewest bytes that any plan in this order can have: what must outlive each launch on either
 * side of it, even if every result could take the place of an operand. */
static uint64_t arena_bound(Suite *s, const Plan *plan) {
    const Buffers *b = &plan->buffers;
    uint32_t       launches = plan->launches.table.count;
    ArenaMark      mark = arena_mark(s->arena);
    int64_t       *change = ARENA_ARRAY_ZERO(s->arena, int64_t, launches + 1), alive = 0, most = 0;
    for (uint32_t row = 1; row < b->table.count; row++) {
        if (b->slot[row] != 0 || b->first[row] == UINT32_MAX) continue;
        change[b->first[row]] += (int64_t)b->bytes[row];
        change[b->last[row] > b->first[row] ? b->last[row] : b->first[row] + 1] -=
            (int64_t)b->bytes[row];
    }
    for (uint32_t row = 0; row < launches; row++) {
        alive += change[row];
        if (alive > most) most = alive;
    }
    arena_release(s->arena, mark);
    return (uint64_t)most;
}

static void tell_plan(Suite *s, const char *prefix, const Plan *plan) {
    char     name[64];
    double   arena = (double)plan->arena_bytes, bound = (double)arena_bound(s, plan);
    uint32_t launches = plan->launches.table.count - 1;
    size_t   tables = table_bytes(&plan->launches.table) + table_bytes(&plan->args.table) +
                    table_bytes(&plan->buffers.table) + table_bytes(&plan->slots.table);
    (void)snprintf(name, sizeof name, "%splan.launches", prefix);
    bench_tell_number(&s->bench, name, s->size, launches, "launches", 0);
    (void)snprintf(name, sizeof name, "%splan.table_bytes", prefix);
    bench_tell_number(&s->bench, name, s->size, (double)tables / launches, "bytes/launch", 0);
    (void)snprintf(name, sizeof name, "%splan.arena", prefix);
    bench_tell_number(&s->bench, name, s->size, arena, "bytes", 0);
    (void)snprintf(name, sizeof name, "%splan.over_floor", prefix);
    bench_tell_number(&s->bench, name, s->size, arena / (double)plan->floor_bytes, "ratio", 0);
    (void)snprintf(name, sizeof name, "%splan.over_bound", prefix);
    bench_tell_number(&s->bench, name, s->size, arena / bound, "ratio", 0);
}

static void run_step(Suite *s, Runner *runner, Step *step) {
    World *world = runner->ctx.world;
    bool   plans = runner->ctx.plan != NULL;
    step->rows_in = plans ? runner->ctx.plan->launches.table.count - 1 : rows_of(world);
    if (step->kind == SYSTEM_launch) step->rows_in = rows_of(world);
    bench_begin(&step->times);
    (void)runner_run(runner, step->kind);
    bench_end(&step->times);
    must_be_good(s, world, system_infos[step->kind].name);
    step->rows_out = plans ? runner->ctx.plan->launches.table.count - 1 : rows_of(world);
}

static void run_pipeline(Suite *s, Step *steps, const Target *target, const char *prefix,
                         bool last) {
    World *world = must(world_clone(s->base));
    Runner runner;
    runner_open(&runner, world, target);
    Step *step = steps;
    for (; step->kind != SYSTEM_launch; step++) run_step(s, &runner, step);
    Plan *plan = runner.ctx.plan = plan_open(world, NULL, (GraphId){1});
    if (plan == NULL || !bind_sizes(world, plan, &world->diags))
        must_be_good(s, world, "bind");
    else {
        run_step(s, &runner, step++);
        run_step(s, &runner, step++);
        if (last) tell_plan(s, prefix, plan);
    }
    runner.ctx.plan = NULL;
    plan_close(plan);
    runner_close(&runner);
    world_close(world);
}

/* Every name of the pipeline begins with the prefix: a filter that fits one of them runs it all. */
static bool wants_pipeline(const Suite *s, const char *prefix, const Step *steps) {
    char name[64];
    bool wanted = bench_wants(&s->bench, prefix[0] ? "cpu.plan." : "plan.");
    for (; steps->name != NULL; steps++) {
        (void)snprintf(name, sizeof name, "%s%s", prefix, steps->name);
        wanted |= bench_wants(&s->bench, name);
    }
    return wanted;
}
static void bench_pipeline(Suite *s, const Target *target, const char *prefix) {
    Step *steps = ARENA_ARRAY_ZERO(s->arena, Step, STEPS_MAX);
    static const struct {
        const char *name;
        SystemKind  kind;
    } order[] = {
        {"verify.built", SYSTEM_verify}, {"infer.built", SYSTEM_infer},
        {"inline", SYSTEM_inline},       {"differentiate", SYSTEM_differentiate},
        {"dead.tangents", SYSTEM_dead},  {"expand", SYSTEM_expand},
        {"fold", SYSTEM_fold},           {"dedupe", SYSTEM_dedupe},
        {"dead", SYSTEM_dead},           {"order", SYSTEM_order},
        {"layout", SYSTEM_layout},       {"launch", SYSTEM_launch},
        {"memory", SYSTEM_memory},
    };
    for (uint32_t i = 0; i < LENGTH(order); i++)
        steps[i] = (Step){.name = order[i].name, .kind = order[i].kind};
    if (!wants_pipeline(s, prefix, steps)) return;
    for (uint32_t i = 0; i < s->samples; i++)
        run_pipeline(s, steps, target, prefix, i + 1 == s->samples);
    for (uint32_t i = 0; i < LENGTH(order); i++) {
        char     name[64];
        uint32_t in = steps[i].rows_in, out = steps[i].rows_out;
        (void)snprintf(name, sizeof name, "%s%s", prefix, steps[i].name);
        tell(s, name, &steps[i].times, in > out ? in : out, 0, SYSTEM_GOAL);
    }
}

/* --- on the expanded program ------------------------------------------------------------------ */

static void bench_infer(Suite *s) {
    static const SystemKind steps[2] = {SYSTEM_verify, SYSTEM_infer};
    static const char      *names[2] = {"verify", "infer"};
    World                  *world = must(world_clone(s->program));
    Code                   *code = &world->code;
    for (uint32_t k = 0; k < 2; k++) {
        BenchTimes times = {0};
        if (!bench_wants(&s->bench, names[k])) continue;
        for (uint32_t i = 0; i < s->samples; i++) {
            for (uint32_t value = code->blocks.args_first[1].row + code->blocks.args_count[1];
                 k == 1 && value < code->values.table.count; value++)
                code->values.type[value] = (TypeId){0};
            bench_begin(&times);
            run_steps(s, world, &steps[k], 1, FACT_VERIFIED);
            bench_end(&times);
        }
        tell(s, names[k], &times, rows_of(world), 0, SYSTEM_GOAL);
    }
    world_close(world);
}

/* Bytes that a clone copies: saved tables and interning indexes. */
static size_t clone_bytes(World *world) {
    const Intern *indexes[] = {&world->strings.index,     &world->dims.index,
                               &world->dims.mono_index,   &world->types.shape_index,
                               &world->types.type_index,  &world->attrs.records.index,
                               &world->attrs.lists.index, &world->consts.index};
    size_t        bytes = 0;
    for (uint32_t i = 0; world_table(world, i) != NULL; i++)
        bytes += table_bytes(world_table(world, i));
    for (uint32_t i = 0; i < LENGTH(indexes); i++) bytes += table_bytes(&indexes[i]->table);
    return bytes;
}
/* memcpy of as many bytes, to memory that is fresh from the system as that of a clone is. */
static void sample_memcpy(BenchTimes *times, size_t bytes, const uint8_t *from) {
    size_t   page = os_page_bytes(), whole = (bytes + page - 1) / page * page;
    uint8_t *into = os_reserve(whole);
    bench_begin(times);
    bool ready = into != NULL && os_commit(into, whole);
    if (ready && whole >= (size_t)4 << 20) os_advise_huge(into, whole);
    if (ready) memcpy(into, from, bytes);
    bench_end(times);
    if (into != NULL) os_release(into, whole);
}
static void bench_clone(Suite *s) {
    BenchTimes clone = {0}, copy = {0};
    size_t     bytes = clone_bytes(s->program);
    if (!bench_wants(&s->bench, "clone") && !bench_wants(&s->bench, "memcpy")) return;
    ArenaMark mark = arena_mark(s->arena);
    uint8_t  *from = arena_push(s->arena, bytes, 64);
    memset(from, 1, bytes);
    for (uint32_t i = 0; i < s->samples; i++) {
        bench_begin(&clone);
        World *world = must(world_clone(s->program));
        bench_end(&clone);
        world_close(world);
        sample_memcpy(&copy, bytes, from);
    }
    arena_release(s->arena, mark);
    tell(s, "clone", &clone, rows_of(s->program), (double)bytes, SYSTEM_GOAL);
    tell(s, "clone.memcpy", &copy, rows_of(s->program), (double)bytes, 0);
}

static void bench_files(Suite *s) {
    BenchTimes  save = {0}, load = {0};
    const char *folder = getenv("TMPDIR");
    char        path[512];
    if (!bench_wants(&s->bench, "save") && !bench_wants(&s->bench, "load")) return;
    (void)snprintf(path, sizeof path, "%s/bench_systems_%llu.stoa", folder ? folder : "/tmp",
                   (unsigned long long)os_clock_ns());
    World *world = must(world_clone(s->program));
    bool   good = true;
    for (uint32_t i = 0; i < s->samples && good; i++) {
        World *loaded = must(world_open(0, 0));
        bench_begin(&save);
        good = binary_save(world, path, &world->diags) == STATUS_OK;
        bench_end(&save);
        bench_begin(&load);
        good = good && binary_load(loaded, path, &world->diags) == STATUS_OK;
        bench_end(&load);
        world_close(loaded);
    }
    if (os_remove(path) != 0) (void)fprintf(stderr, "bench_systems: %s stays\n", path);
    must_be_good(s, world, "save or load");
    double rows = rows_of(world), bytes = (double)clone_bytes(world);
    world_close(world);
    tell(s, "save", &save, rows, bytes, SYSTEM_GOAL);
    tell(s, "load", &load, rows, bytes, SYSTEM_GOAL);
}

static void bench_text(Suite *s) {
    BenchTimes print = {0}, parse = {0};
    double     rows = rows_of(s->program), bytes = 0;
    if (!bench_wants(&s->bench, "print") && !bench_wants(&s->bench, "parse")) return;
    for (uint32_t i = 0; i < s->samples; i++) {
        ArenaMark mark = arena_mark(s->arena);
        World    *world = must(world_open(0, 0));
        bench_begin(&print);
        String text = text_print(s->arena, s->program, (TextOptions){0});
        bench_end(&print);
        bench_begin(&parse);
        (void)text_parse(world, text, STR("bench"));
        bench_end(&parse);
        must_be_good(s, world, "parse");
        bytes = (double)text.count;
        world_close(world);
        arena_release(s->arena, mark);
    }
    tell(s, "print", &print, rows, bytes, SYSTEM_GOAL);
    tell(s, "parse", &parse, rows, bytes, SYSTEM_GOAL);
}

static void tell_bytes(Suite *s) {
    const Code *code = &s->program->code;
    double      rows = rows_of(s->program);
    size_t      hot = table_bytes(&code->ops.table) + table_bytes(&code->operands.table) +
                 table_bytes(&code->values.table);
    size_t all = 0;
    for (uint32_t i = 0; world_table(s->program, i) != NULL; i++)
        all += table_bytes(world_table(s->program, i));
    const Bench *bench = &s->bench;
    bench_tell_number(bench, "bytes.layers", s->size, s->layers, "layers", 0);
    bench_tell_number(bench, "bytes.hot", s->size, (double)hot / rows, "bytes/row", HOT_BYTES_GOAL);
    bench_tell_number(bench, "bytes.world", s->size, (double)all / rows, "bytes/row", 0);
}

/* --- all -------------------------------------------------------------------------------------- */

static void bench_size(Suite *s, uint64_t size) {
    static Target cpu;
    s->size = size;
    s->arena = arena_open("bench", (size_t)16 << 30, 0);
    ArenaGuard guard;
    if (s->arena == NULL || !ARENA_GUARD(&guard)) {
        (void)fprintf(stderr, "bench_systems: no memory\n");
        exit(1);
    }
    cpu_describe(&cpu, false);
    s->layers = layers_for(s, size);
    s->program = expanded(s, s->layers, &s->base);
    s->samples = bench_samples(&s->bench, size > 300000 ? 8 : size > 30000 ? 16 : 33);
    tell_bytes(s);
    bench_build(s);
    bench_replay(s, "build.append", false);
    bench_replay(s, "build.row", true);
    bench_infer(s);
    bench_pipeline(s, NULL, "");
    bench_pipeline(s, &cpu, "cpu.");
    bench_clone(s);
    bench_files(s);
    bench_text(s);
    world_close(s->program);
    world_close(s->base);
    arena_guard_end(&guard);
    arena_close(s->arena);
}

int main(int argc, char **argv) {
    static const uint64_t sizes[] = {10000, 100000, 1000000};
    Suite                 suite = {0};
    int                   result;
    if (!bench_open(&suite.bench, "systems", argc, argv, &result)) return result;
    if (suite.bench.smoke && suite.bench.size == 0) suite.bench.size = 1500;
    if (suite.bench.size != 0)
        bench_size(&suite, suite.bench.size);
    else
        for (uint32_t i = 0; i < LENGTH(sizes); i++) bench_size(&suite, sizes[i]);
    return bench_close(&suite.bench, 0);
}
