/* Plans with control flow on the stand-in driver: what graphs are made of, and what they compute.
 *
 * The stand-in runs copies, asserts and control flow as the device would; fused kernels run as loop
 * tables in the interpreter, on the addresses that they are launched with. So the graphs, their
 * conditions and the rows of scans are the real ones, for every driver: with all conditional nodes,
 * with some, and with none (the host decides), with scans as loops and written out. */
#define _GNU_SOURCE
#include "control_files.h"
#include "fake_device.h"
#include "gpu/doctor.h"
#include "heard.h"
#include "random_control.h"

/* --- a program on the stand-in ---------------------------------------------------------------- */
typedef struct Options {
    GpuLoops loops;
    uint32_t written_nodes;
    bool     stops; /* an assert fails */
    bool     binds; /* only: with the real compiler */

    const Heard *lines; /* that it prints; NULL: nothing */
    uint64_t     lost;  /* of them */
} Options;
typedef struct Result { /* what there is to ask afterwards */
    GpuPlanStats stats;
    unsigned     graph_launches; /* of the last run */
} Result;
static bool compare(Bound *b) {
    const Slots *slots = &b->plan->slots;
    for (uint32_t row = 1; row < slots->table.count; row++) {
        if (slots->kind[row] != SLOT_OUTPUT) continue;
        uint32_t i = slots->index[row];
        b->c->got[i] = b->c->wanted[i];
        b->c->got[i].data = (void *)(uintptr_t)b->slots[row];
        if (!check_same(b->c, "on the device:", i)) return false;
    }
    return true;
}
/* The plan knows the sizes of this run. */
static bool compare_sizes(Bound *b) {
    const World *world = b->world;
    OpId         end = block_return(&world->code, world->code.graphs.block[1]);
    for (uint32_t i = 0; i < b->c->outputs_count; i++) {
        TypeId type = value_type(world, op_operand(&world->code, end, i));
        for (uint32_t k = 0; k < type_rank(&world->types, type); k++)
            if (b->plan->dim_values[type_dims(&world->types, type)[k].row] !=
                b->c->wanted[i].shape[k])
                return check_fail(b->c, "sizes:", STR("are others"));
    }
    return true;
}
static Status run_once(Bound *b, uint32_t *out_failed) {
    Diags    *diags = &b->world->diags;
    GpuStream stream = b->f->stream;
    if (b->late != NULL) return gpu_late_run(b->late, b->slots, stream, diags, out_failed);
    Status status = gpu_run(b->gpu, b->slots, stream, diags);
    if (status == STATUS_OK) status = gpu_run_printed(b->gpu, stream, diags);
    return status == STATUS_OK ? gpu_run_failed(b->gpu, stream, diags, out_failed) : status;
}
/* The lines of one run. */
static bool compare_lines(Bound *b, const Heard *heard, const Options *options) {
    static const Heard nothing;
    const Heard       *lines = options->lines != NULL ? options->lines : &nothing;
    Diags             *diags = &b->world->diags;
    uint64_t           lost = 0;
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        if (diags->rows.kind[row] == DIAG_PRINTS_LOST) lost += diags->rows.arg0[row];
    diags_clear(diags);
    if (lost != options->lost) return check_fail(b->c, "prints:", STR("others are lost"));
    if (heard->lines + lost == lines->lines && heard->count == lines->count &&
        memcmp(heard->text, lines->text, lines->count) == 0)
        return true;
    return check_fail(b->c, "prints:",
                      str_format(b->c->arena, "%zu lines:\n%.*swanted %zu:\n%.*s", heard->lines,
                                 (int)heard->count, heard->text, lines->lines, (int)lines->count,
                                 lines->text));
}
/* Thrice: the graph is made, replayed, and made again for other addresses. */
static bool run(Bound *b, const Options *options, Result *out_ran) {
    Fake        *f = b->f;
    static Heard heard;
    b->slots = ARENA_ARRAY_ZERO(b->c->arena, CuPtr, b->plan->slots.table.count);
    for (int turn = 0; turn < 3; turn++) {
        uint32_t failed = 0;
        unsigned before = f->fake->calls("cuGraphLaunch");
        if (!fill_slots(b, turn != 1))
            return check_fail(b->c, "memory:", STR("there is too little"));
        heard_begin(&b->world->diags, &heard);
        if (run_once(b, &failed) != STATUS_OK) return check_diags(b->c, "running:", FORM_THREADS);
        if (!compare_lines(b, &heard, options)) return false;
        out_ran->graph_launches = f->fake->calls("cuGraphLaunch") - before;
        if (f->problem != NULL) return check_fail(b->c, "kernels:", str_of(f->problem));
        if (!ends_whole(b)) return check_fail(b->c, "memory:", STR("was written past its end"));
        if (options->stops != (failed != 0))
            return check_fail(b->c, "asserts:", STR(failed != 0 ? "stopped" : "went on"));
        if (options->stops && b->plan->launches.opcode[failed] != OP_ASSERT)
            return check_fail(b->c, "asserts:", STR("the wrong launch"));
        if (!options->stops && !(compare_sizes(b) && compare(b))) return false;
    }
    return true;
}
/* c: with the plain form compiled, and its inputs; seeds: of further inputs for the same plan, in
 * these sizes. */
static bool check_inputs_on(Check *c, int version, const Options *options, const CheckSize *sizes,
                            uint32_t seeds, Result *out_ran) {
    Fake f;
    bool good = EXPECT(fake_open(&f, version, options->binds));
    gpu_describe(&c->threads, false);
    good = good && check_compile(c, FORM_THREADS);
    Bound b = {
        .f = &f, .c = c, .runner = &c->runners[FORM_THREADS], .world = c->worlds[FORM_THREADS]};
    GpuKitOptions kit = {.written_nodes = options->written_nodes, .loops = options->loops};
    good = good && bind(&b, &kit) && (options->binds || run(&b, options, out_ran));
    for (uint32_t i = 0; i < seeds && good; i++) {
        c->seed = 100 + i;
        good = check_expect(c, sizes) && run(&b, options, out_ran);
    }
    if (good && b.gpu != NULL) out_ran->stats = gpu_plan_stats(b.gpu);
    unbind(&b);
    fake_close(&f);
    if (c->opened[FORM_THREADS]) runner_close(&c->runners[FORM_THREADS]);
    world_close(c->worlds[FORM_THREADS]);
    c->worlds[FORM_THREADS] = NULL;
    c->opened[FORM_THREADS] = false;
    return good;
}

static bool check_device(Check *c, int version, const Options *options, Result *out_ran) {
    return check_inputs_on(c, version, options, NULL, 0, out_ran);
}

/* --- programs --------------------------------------------------------------------------------- */
static const int versions[] = {13000, 12040, 12030};

/* Every driver, with scans as loops and written out. lines: that it prints. */
static bool check_ways(Check *c, bool stops, const Heard *lines) {
    bool good = true;
    for (size_t i = 0; i < LENGTH(versions) && good; i++)
        for (uint32_t loops = 0; loops < 2 && good; loops++) {
            ArenaMark mark = arena_mark(c->arena);
            Result    ran;
            good = check_device(c, versions[i],
                                &(Options){GPU_LOOPS_GRAPH, loops, .stops = stops, .lines = lines},
                                &ran);
            if (!good) printf("\n  driver %d, %s:", versions[i], loops ? "loops" : "written out");
            if (good) arena_release(c->arena, mark);
        }
    return good;
}
static bool has_product(String text) {
    return memmem(text.data, text.count, "dot_general", 11) != NULL;
}
static void check_file(Arena *arena, const char *path, String text, bool late) {
    FileProgram *programs = ARENA_ARRAY(arena, FileProgram, FILE_PROGRAMS_MAX);
    uint32_t     count = file_programs(text, programs), ran = 0;
    static Heard lines;
    EXPECT(count > 0);
    for (uint32_t n = 0; n < count; n++) {
        const FileProgram *p = &programs[n];
        Check              c;
        char              *name = arena_push_zero(arena, p->size_name.count + 1, 1);
        if (p->size_name.count > 0) memcpy(name, p->size_name.data, p->size_name.count);
        const CheckSize sizes[] = {{name, p->size}, {NULL, 0}};
        if (has_product(p->text) || memmem(p->text.data, p->text.count, "parameter", 9) != NULL)
            continue; /* the stand-in has no library; state */
        if (late && memmem(p->text.data, p->text.count, "grad", 4) != NULL)
            continue; /* it has no scatter */
        check_begin(&c, arena, p->text);
        bool good = check_compile(&c, FORM_PLAIN) && check_inputs(&c, sizes);
        for (uint32_t i = 0; i < c.inputs_count && good; i++) {
            const World *world = c.worlds[FORM_PLAIN];
            BlockId      block = world->code.graphs.block[1];
            ValueId      arg = {world->code.blocks.args_first[block.row].row + i};
            file_fill(p, strings_get(&world->strings, world->code.values.name[arg.row]),
                      &c.inputs[i]);
        }
        if (good) heard_begin(&c.worlds[FORM_PLAIN]->diags, &lines);
        good =
            good && interp_run(arena, c.worlds[FORM_PLAIN], (GraphId){1}, c.inputs, c.inputs_count,
                               NULL, 0, c.wanted, &c.worlds[FORM_PLAIN]->diags) == STATUS_OK;
        good = good && check_ways(&c, false, &lines);
        ran++;
        if (!EXPECT(good)) {
            printf(" %s:%u\n", path, p->line);
            check_print(&c, sizes);
        }
        check_close(&c);
    }
    printf(" (%u of %u programs)", ran, count);
}
FILE_EMBED(control, "tests/run/control.ir");
FILE_EMBED(control_grad, "tests/run/control_grad.ir");
TEST(gpu_flow_of_golden_runs) {
    check_file(arena, "tests/run/control.ir", FILE_TEXT(control), false);
}
TEST(gpu_flow_of_gradients) {
    check_file(arena, "tests/run/control_grad.ir", FILE_TEXT(control_grad), false);
}

FILE_EMBED(late, "tests/run/late.ir");
FILE_EMBED(join, "tests/run/join.ir");
TEST(gpu_flow_of_late_sizes) { check_file(arena, "tests/run/late.ir", FILE_TEXT(late), true); }
TEST(gpu_flow_of_branches_of_different_sizes) {
    check_file(arena, "tests/run/join.ir", FILE_TEXT(join), true);
}
FILE_EMBED(print, "tests/run/print.ir");
TEST(gpu_flow_says_what_is_printed) {
    check_file(arena, "tests/run/print.ir", FILE_TEXT(print), false);
}

/* --- random programs, and loops that stop ----------------------------------------------------- */
static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}
/* STOA_SEEDS: how many; STOA_SEED: the first. */
TEST(gpu_flow_of_random_programs) {
    static const int64_t sizes_of[] = {0, 1, 2, 3, 7, 4};
    uint64_t             first = (uint64_t)setting("STOA_SEED", 1), ran = 0;
    uint64_t             count = (uint64_t)setting("STOA_SEEDS", 30), refused = 0, printed = 0;
    static Heard         lines;
    for (uint64_t seed = first; seed < first + count; seed++) {
        ArenaMark mark = arena_mark(arena);
        Check     c;
        CheckSize sizes[] = {{"B", 0}, {"C", 0}, {"D", 0}, {NULL, 0}};
        for (uint32_t k = 0; k < 3; k++)
            sizes[k].size = sizes_of[check_draw(seed, 1000 + k, LENGTH(sizes_of))];
        check_begin(&c, arena, random_control_of(arena, seed, seed % 2 == 0));
        c.rel = 1e-4;
        c.seed = seed;
        bool takes = !has_product(c.text);
        bool good = !takes || check_compile(&c, FORM_PLAIN);
        if (good && takes) heard_begin(&c.worlds[FORM_PLAIN]->diags, &lines);
        if (takes) good = good && check_expect(&c, sizes) && check_ways(&c, false, &lines);
        printed += takes && good ? lines.lines : 0;
        /* Arithmetic on nothing but constants, as a result: fusing leaves it to the back end. */
        if (!good && c.problem != NULL && strstr(c.problem, "GPU_NO_KERNEL") != NULL) {
            takes = false;
            good = EXPECT(++refused * 10 <= count);
        }
        ran += takes;
        if (!EXPECT(good)) {
            printf(" seed %llu\n", (unsigned long long)seed);
            check_print(&c, sizes);
        }
        check_close(&c);
        arena_release(arena, mark);
    }
    EXPECT(printed > count || count < 10);
    printf(" (%llu of %llu ran, %llu lines)", (unsigned long long)ran, (unsigned long long)count,
           (unsigned long long)printed);
}

static void check_lines(Arena *arena, const char *text, bool stops, const Heard *lines) {
    static const CheckSize none[] = {{NULL, 0}};
    Check                  c;
    check_begin(&c, arena, str_of(text));
    bool good = check_compile(&c, FORM_PLAIN) && check_inputs(&c, none);
    if (good && !stops) good = check_expect(&c, none);
    good = good && check_ways(&c, stops, lines);
    if (!EXPECT(good)) check_print(&c, none);
    check_close(&c);
}
static void check_text(Arena *arena, const char *text, bool stops) {
    check_lines(arena, text, stops, NULL);
}
/* An assert that fails in the second of three trips of a loop, in a loop inside it, and in its
 * test; what comes after does not run. */
#define COUNTED                                                                                    \
    "  %n0 = constant {value=i64 0}\n  %n1 = constant {value=i64 1}\n"                             \
    "  %nt = constant {value=i64 3}\n"
#define LESS(of, than) "    %m = compare " of ", " than " {direction=lt}\n"
TEST(gpu_flow_stops_at_asserts) {
    check_text(arena,
               "graph f(%x: f64[3]) {\n" COUNTED "  %k, %y = while %n0, %x : i64, f64[3] (%i: i64, "
               "%c: f64[3]) {\n" LESS(
                   "%i", "%nt") "    return %m\n  } (%i: i64, %c: f64[3]) {\n"
                                "    %j = add %i, %n1\n    %b = neg %c\n"
                                "    %o = compare %i, %n1 {direction=lt}\n"
                                "    assert %o {message=\"stop\"}\n    return %j, %b\n  }\n"
                                "  %z = neg %y\n  return %z\n}\n",
               true);
    check_text(
        arena,
        "graph f(%x: f64[3,2]) {\n" COUNTED
        "  %e = scan %n0, %x {carries=1} : i64 (%i: i64, %c: i64, %r: f64[2]) {\n"
        "    %k = while %c : i64 (%d: i64) {\n" LESS(
            "%d",
            "%nt") "    return %m\n  } "
                   "(%d: i64) {\n    %o = compare %d, %n1 {direction=lt}\n"
                   "    assert %o {message=\"stop\"}\n    %j = add %d, %n1\n    return %j\n  }\n"
                   "    return %k\n  }\n  %z = add %e, %n1\n  return %z\n}\n",
        true);
    check_text(
        arena,
        "graph f(%x: f64[3]) {\n" COUNTED "  %k = while %n0 : i64 (%i: i64) {\n" LESS(
            "%i",
            "%nt") "    %o = compare %i, %n1 {direction=lt}\n    assert %o {message=\"stop\"}\n"
                   "    return %m\n  } (%i: i64) {\n    %j = add %i, %n1\n    return %j\n  }\n"
                   "  return %k\n}\n",
        true);
    check_text(
        arena,
        "graph f(%x: f64[3]) {\n" COUNTED "  %k = while %n0 : i64 (%i: i64) {\n" LESS(
            "%i",
            "%nt") "    %o = compare %i, %nt {direction=le}\n    assert %o {message=\"stop\"}\n"
                   "    return %m\n  } (%i: i64) {\n    %j = add %i, %n1\n"
                   "    %o = compare %j, %nt {direction=le}\n    assert %o {message=\"stop\"}\n"
                   "    return %j\n  }\n  return %k\n}\n",
        false);
}

/* After an assert that failed: what came before it. */
TEST(gpu_flow_says_what_was_printed_before_it_stopped) {
    static const Heard lines = {"trip 0\nthen 0\ntrip 1\n", 21, 3};
    check_lines(arena,
                "graph f(%x: f64[3]) {\n  %n1 = constant {value=i64 1}\n"
                "  %y = scan %x {carries=1, length=3} : f64[3] (%i: i64, %c: f64[3]) {\n"
                "    print %i {text=\"trip {}\"}\n    %o = compare %i, %n1 {direction=lt}\n"
                "    assert %o {message=\"stop\"}\n    print %i {text=\"then {}\"}\n"
                "    %b = neg %c\n    return %b\n  }\n  print %y\n  return %y\n}\n",
                true, &lines);
}
/* A log holds so many lines and no more. */
TEST(gpu_flow_bounds_what_is_printed) {
    static const CheckSize none[] = {{NULL, 0}};
    static Heard           lines;
    Check                  c;
    Result                 ran;
    check_begin(&c, arena,
                STR("graph f(%x: i64) {\n  %y = scan %x {carries=1, length=40000} : i64 "
                    "(%i: i64, %c: i64) {\n    print {text=\"a\"}\n"
                    "    print %i {text=\"\"}\n    return %i\n  }\n  return %y\n}\n"));
    bool good = check_compile(&c, FORM_PLAIN) && check_inputs(&c, none);
    if (good) heard_begin(&c.worlds[FORM_PLAIN]->diags, &lines);
    good = good && check_expect(&c, none);
    EXPECT_EQ(lines.lines, 80000);
    uint64_t room = (1 << 20) + 16 + 32, kept = room / 48 * 2 + (room % 48 >= 16);
    Options  options = {GPU_LOOPS_GRAPH, 1, .lines = &lines, .lost = lines.lines - kept};
    if (!EXPECT(good && check_device(&c, 13000, &options, &ran))) check_print(&c, none);
    check_close(&c);
}

/* One plan, data that decides other sizes from run to run: rows, a loop over them, rows of
 * these, branches of different sizes. */
TEST(gpu_flow_sizes_change_from_run_to_run) {
    static const CheckSize sizes[] = {{"M", 37}, {NULL, 0}};
    static const char      text[] =
        "graph f(%x: f64[M,3], %m: bool[M], %c: bool, %z: f64[3,5]) {\n"
        "  %rows, %n = compact %m, %x {size=N}\n"
        "  %y = scan %rows {carries=1, length=2} : f64[N,3] (%i: i64, %a: f64[N,3]) {\n"
        "    %b = sin %a\n    return %b\n  }\n"
        "  %s = reduce %y {kind=sum, axes=[1]}\n  %k = constant {value=f64 0.5}\n"
        "  %kk = broadcast_in_dim %k {shape=[N]}\n  %h = compare %s, %kk {direction=gt}\n"
        "  %w = iota {dtype=i64, shape=[N], axis=0}\n  %places, %p = compact %h, %w {size=K}\n"
        "  %j = if %c : f64[3,Z] { %t = transpose %y {permutation=[1,0]} return %t }"
        " { return %z }\n"
        "  %q = mul %j, %j\n  %e = reduce %q {kind=sum, axes=[1]}\n"
        "  return %places, %j, %e, %n, %p\n}\n";
    for (size_t i = 0; i < LENGTH(versions); i++) {
        ArenaMark mark = arena_mark(arena);
        Check     c;
        Result    ran;
        check_begin(&c, arena, str_of(text));
        bool good =
            check_compile(&c, FORM_PLAIN) && check_expect(&c, sizes) &&
            check_inputs_on(&c, versions[i], &(Options){.loops = GPU_LOOPS_GRAPH}, sizes, 8, &ran);
        if (!EXPECT(good)) check_print(&c, sizes);
        check_close(&c);
        arena_release(arena, mark);
    }
}

/* --- what graphs are made of ------------------------------------------------------------------ */
typedef struct Wanted {
    int         version;
    const char *text;
    uint32_t    conditions, loops, launches; /* nodes; graphs of the driver that a run launches */
} Wanted;
#define SCALARS(rows) "graph f(%x: f64[" rows ",4], %h: f64[4], %b: bool, %s: i64) {\n"
#define SUM                                                                                        \
    " : f64[4] (%i: i64, %c: f64[4], %r: f64[4]) {\n    %n = add %c, %r\n    return %n\n  }\n"     \
    "  return %e\n}\n"
#define BRANCH                                                                                     \
    SCALARS("3")                                                                                   \
    "  %e = if %b : f64[4] { %n = neg %h return %n } { %n = add %h, %h return %n }\n"              \
    "  return %e\n}\n"
static const Wanted wanted[] = {
    /* few steps: written out */
    {13000, SCALARS("3") "  %e = scan %h, %x {carries=1}" SUM, 0, 0, 1},
    {12030, SCALARS("3") "  %e = scan %h, %x {carries=1}" SUM, 0, 0, 1},
    /* many: 93 rounds of 32 steps, 24 steps after them; without nodes for it a graph a round */
    {13000, SCALARS("3000") "  %e = scan %h, %x {carries=1}" SUM, 1, 1, 1},
    {12030, SCALARS("3000") "  %e = scan %h, %x {carries=1}" SUM, 1, 1, 1 + 93 + 1},
    /* a node for both blocks, or one for each; or the graph of one block */
    {13000, BRANCH, 1, 0, 1},
    {12040, BRANCH, 2, 0, 1},
    {12030, BRANCH, 1, 0, 2},
};
TEST(gpu_flow_makes_one_graph) {
    static const CheckSize none[] = {{NULL, 0}};
    for (size_t i = 0; i < LENGTH(wanted); i++) {
        ArenaMark mark = arena_mark(arena);
        Check     c;
        Result    ran = {0};
        check_begin(&c, arena, str_of(wanted[i].text));
        bool good = check_compile(&c, FORM_PLAIN) && check_expect(&c, none) &&
                    check_device(&c, wanted[i].version, &(Options){.loops = GPU_LOOPS_GRAPH}, &ran);
        if (!EXPECT(good)) check_print(&c, none);
        EXPECT_EQ(ran.stats.conditions, wanted[i].conditions);
        EXPECT_EQ(ran.stats.loops, wanted[i].loops);
        EXPECT_EQ(ran.graph_launches, wanted[i].launches);
        EXPECT_EQ(ran.stats.graphs, 2); /* one for each place */
        check_close(&c);
        arena_release(arena, mark);
    }
}

/* Who decides is told by `stoa doctor`. */
TEST(gpu_flow_is_told_by_doctor) {
    static const char *const by[] = {"by the device", "by the device", "by the host"};
    for (size_t i = 0; i < LENGTH(versions); i++) {
        Fake       f;
        GpuFinding findings[GPU_FINDINGS_MAX];
        bool       told = false;
        if (!EXPECT(fake_open(&f, versions[i], true))) return;
        uint32_t count = gpu_findings(arena, findings); /* finds the stand-in too */
        for (uint32_t k = 0; k < count; k++)
            told |= memmem(findings[k].value.data, findings[k].value.count, by[i], strlen(by[i])) !=
                    NULL;
        EXPECT(told);
        fake_close(&f);
    }
}

/* --- loops in one block ----------------------------------------------------------------------- */
static bool has_compiler(Arena *arena) {
    Diags    diags;
    GpuLibs *libs = gpu_libs_open(arena, STR(""));
    diags_open(&diags, NULL);
    bool has = gpu_libs_need(libs, GPU_LIBRARY_NVRTC, &diags) == STATUS_OK;
    gpu_libs_close(libs);
    diags_close(&diags);
    return has;
}
static bool check_block(Check *c, uint32_t *blocks) {
    static const CheckSize sizes[] = {{"B", 3}, {"C", 2}, {"D", 7}, {"N", 5}, {"M", 4}, {NULL, 0}};
    Result                 result = {0};
    bool                   good =
        check_compile(c, FORM_PLAIN) && check_inputs(c, sizes) &&
        check_device(c, 13000, &(Options){.loops = GPU_LOOPS_BLOCK, .binds = true}, &result);
    *blocks += result.stats.blocks;
    if (!good && strstr(c->problem, "GPU_NO_KERNEL") != NULL) good = true; /* see above */
    if (!EXPECT(good)) check_print(c, sizes);
    check_close(c);
    return good;
}
/* The text of loops compiles; what they compute, tests/gpu shows. */
TEST(gpu_flow_loops_in_one_block_compile) {
    const String files[] = {FILE_TEXT(control), FILE_TEXT(print), FILE_TEXT(join)};
    uint32_t     blocks = 0;
    if (!has_compiler(arena)) SKIP("there is no NVRTC");
    for (size_t n = 0; n < LENGTH(files); n++) {
        FileProgram programs[FILE_PROGRAMS_MAX];
        uint32_t    count = file_programs(files[n], programs);
        for (uint32_t i = 0; i < count; i++) {
            Check c;
            bool  joins = n == 2;
            if (has_product(programs[i].text) || (joins && i > 0)) continue;
            check_begin(&c, arena, programs[i].text);
            (void)check_block(&c, &blocks);
        }
    }
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Check c;
        check_begin(&c, arena, random_control(arena, seed));
        if (!has_product(c.text)) (void)check_block(&c, &blocks);
    }
    EXPECT(blocks >= 10);
    printf(" (%u loops)", blocks);
}
