/* Random structured programs: every form of their kernels, and the plan with its jumps on one lane
 * and on several, give what the interpreter gives for the program as written. Loops as one code
 * give the same bits as launch by launch.
 *
 * STOA_SEEDS: how many programs (some by default); STOA_SEED: the first of them. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/emit.h"
#include "jit_impossible.h"
#include "random_control.h"
#include "tables/shape_program.h"

static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}

/* --- the plan --------------------------------------------------------------------------------- */
static void **make_slots(Check *c, const Plan *plan) {
    const Slots *slots = &plan->slots;
    void       **at = ARENA_ARRAY_ZERO(c->arena, void *, slots->table.count);
    at[0] = arena_push(c->arena, plan->arena_bytes + 64, 64);
    memset(at[0], 0x5A, plan->arena_bytes);
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint32_t index = slots->index[row];
        if (slots->kind[row] == SLOT_INPUT) at[row] = c->inputs[index].data;
        if (slots->kind[row] == SLOT_CONSTANT)
            at[row] = (void *)(uintptr_t)consts_bytes(&plan->world->consts, (ConstId){index});
        if (slots->kind[row] != SLOT_OUTPUT) continue;
        at[row] = c->got[index].data = arena_push(c->arena, slots->bytes[row] + 64, 64);
        memset(at[row], 0x5A, slots->bytes[row]);
    }
    return at;
}
static uint32_t whole_loops; /* that ran as one code, so far */
static void     keep_bits(Check *c, Tensor *out) {
        for (uint32_t i = 0; i < c->outputs_count; i++) {
            out[i] = c->got[i];
            out[i].data = arena_push(c->arena, tensor_bytes(&out[i]) + 64, 64);
            memcpy(out[i].data, c->got[i].data, tensor_bytes(&out[i]));
    }
}
static bool same_bits(Check *c, const Tensor *other) {
    for (uint32_t i = 0; i < c->outputs_count; i++)
        if (memcmp(other[i].data, c->got[i].data, tensor_bytes(&other[i])) != 0)
            return check_fail(c, "one code:", STR("other bits than launch by launch"));
    return true;
}
/* stops: an assert is to fail. */
static bool run_lanes(Check *c, const Plan *plan, const EmitModule *module, Workers *workers,
                      const char *name, bool stops) {
    CpuPlan *cpu = NULL;
    Diags   *diags = &c->worlds[FORM_SCHEDULED]->diags;
    if (cpu_bind(c->arena, plan, module, workers, diags, &cpu) != STATUS_OK)
        return check_diags(c, name, FORM_SCHEDULED);
    uint32_t       loops_count;
    const CpuLoop *loops = cpu_loops(cpu, &loops_count);
    for (uint32_t i = 0; i < loops_count; i++) whole_loops += loops[i].way == CPU_LOOP_WHOLE;
    for (uint32_t turn = 0; turn < 2; turn++) {
        void **slots = make_slots(c, plan);
        bool   stopped = cpu_run(cpu, slots, NULL, NULL) != 0;
        if (stopped != stops) return check_fail(c, name, STR(stops ? "went on" : "stopped"));
        if (stops) continue;
        for (uint32_t i = 0; i < c->outputs_count; i++) {
            void *data = c->got[i].data;
            c->got[i] = c->wanted[i];
            c->got[i].data = data;
            if (!check_same(c, name, i)) return false;
        }
    }
    return true;
}
typedef struct Lanes {
    Workers *one, *three;
    Jit     *jit;
} Lanes;
/* The scheduled world, planned; the caller closes the plan. jit: of its module; NULL: none. */
static bool make_plan(Check *c, const Lanes *lanes, Jit *jit, Plan **out_plan,
                      EmitModule **out_module) {
    World              *world = c->worlds[FORM_SCHEDULED];
    Runner             *runner = &c->runners[FORM_SCHEDULED];
    ShapeRoots          roots = {.all = true};
    Plan               *plan = plan_open(world, &runner->loops, (GraphId){1});
    const ShapeProgram *shapes =
        shape_program_make(c->arena, world, (GraphId){1}, &roots, &world->diags);
    bool good = shapes != NULL && shape_program_run(shapes, c->inputs, c->inputs_count,
                                                    plan->dim_values, &world->diags);
    if (good && jit != NULL)
        good = emit_compile(c->arena, jit, &runner->loops, lanes->one, &world->diags, out_module) ==
               STATUS_OK;
    if (good) good = runner_plan(runner, plan);
    *out_plan = plan;
    return good || check_diags(c, "planning:", FORM_SCHEDULED);
}
static bool check_plan(Check *c, const Lanes *lanes, Jit *jit, bool stops) {
    EmitModule *module = NULL;
    Plan       *plan;
    bool        good = make_plan(c, lanes, jit, &plan, &module);
    if (module != NULL) module->whole = EMIT_LOOPS_NONE;
    good = good && run_lanes(c, plan, module, lanes->one, "plan on one lane:", stops) &&
           run_lanes(c, plan, module, lanes->three, "plan on three lanes:", stops);
    if (module != NULL && good) {
        Tensor before[CHECK_TENSORS_MAX];
        keep_bits(c, before);
        module->whole = EMIT_LOOPS_POSSIBLE;
        good = run_lanes(c, plan, module, lanes->three, "loops as one code, three lanes:", stops) &&
               run_lanes(c, plan, module, lanes->one, "loops as one code:", stops) &&
               (stops || same_bits(c, before));
    }
    plan_close(plan);
    return good;
}

/* --- programs --------------------------------------------------------------------------------- */
static int64_t random_size(uint64_t seed, uint64_t i) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 4, 2, 5};
    return sizes[check_draw(seed, i, LENGTH(sizes))];
}
static bool check_seed(Arena *arena, uint64_t seed, const Lanes *lanes, bool compiles) {
    Check     c;
    CheckSize sizes[] = {{"B", 0}, {"C", 0}, {"D", 0}, {NULL, 0}};
    check_begin(&c, arena, random_control(arena, seed));
    if (!compiles) cpu_describe(&c.target, false);
    if (!compiles) memset(c.target.keep, 0, sizeof c.target.keep);
    c.rel = 1e-4; /* what is carried takes its differences along */
    bool good = check_compile_all(&c);
    for (uint32_t i = 0; i < 2 && good; i++) {
        ArenaMark mark = arena_mark(arena);
        for (uint32_t k = 0; k < 3; k++) sizes[k].size = random_size(seed * 8 + i, 1000 + k);
        c.seed = seed * 8 + i;
        good = compiles ? check_run(&c, sizes) : check_expect(&c, sizes);
        if (!compiles) good = good && check_plan(&c, lanes, NULL, false);
        if (compiles && lanes->jit != NULL && seed % 4 == 0)
            good = good && check_plan(&c, lanes, lanes->jit, false);
        if (good) arena_release(arena, mark);
    }
    if (!EXPECT(good)) {
        printf(" seed %llu%s\n", (unsigned long long)seed, compiles ? "" : ", not compiled");
        check_print(&c, sizes);
    }
    check_close(&c);
    return good;
}
static Lanes lanes_open(Arena *arena, Diags *diags) {
    Lanes      lanes = {0};
    JitOptions options = {.level = JIT_HOST};
    diags_open(diags, NULL);
    EXPECT(workers_open(arena, 1, false, &lanes.one) == STATUS_OK);
    EXPECT(workers_open(arena, 3, false, &lanes.three) == STATUS_OK);
    if (jit_open(arena, &options, diags, &lanes.jit) != STATUS_OK) lanes.jit = NULL;
    return lanes;
}
static void lanes_close(Lanes *lanes, Diags *diags) {
    jit_close(lanes->jit);
    diags_close(diags);
    workers_close(lanes->three);
    workers_close(lanes->one);
}
TEST(random_control) {
    uint64_t first = (uint64_t)setting("STOA_SEED", 1);
    uint64_t count = (uint64_t)setting("STOA_SEEDS", 100);
    Diags    diags;
    Lanes    lanes = lanes_open(arena, &diags);
    whole_loops = 0;
    for (uint64_t seed = first; seed < first + count; seed++)
        for (uint32_t compiles = 0; compiles < 2; compiles++) {
            ArenaMark mark = arena_mark(arena);
            (void)check_seed(arena, seed, &lanes, compiles != 0);
            arena_release(arena, mark);
        }
    EXPECT(lanes.jit == NULL || whole_loops > count / 4);
    lanes_close(&lanes, &diags);
}

/* --- derivatives, and loops that stop --------------------------------------------------------- */
/* Both targets; sizes are constants. */
static void check_text(Arena *arena, const Lanes *lanes, const char *text, bool stops) {
    static const CheckSize none[] = {{NULL, 0}};
    for (uint32_t compiles = 0; compiles < 2; compiles++) {
        ArenaMark mark = arena_mark(arena);
        Check     c;
        if (compiles != 0 && lanes->jit == NULL) continue;
        check_begin(&c, arena, str_of(text));
        if (!compiles) cpu_describe(&c.target, false);
        bool good = check_compile_all(&c) && check_inputs(&c, none);
        if (good && !stops) good = check_expect(&c, none);
        good = good && check_plan(&c, lanes, compiles ? lanes->jit : NULL, stops);
        if (!EXPECT(good)) check_print(&c, none);
        check_close(&c);
        arena_release(arena, mark);
    }
}
#define COUNTED                                                                                    \
    "  %n0 = constant {value=i64 0}\n  %n1 = constant {value=i64 1}\n"                             \
    "  %nt = constant {value=i64 3}\n"
/* Scaled so that tanh does not saturate: 1 - t^2 would cancel, and its error is no loop's. */
#define RNN                                                                                        \
    "graph f(%w: f64[24,24], %h: f64[24], %x: f64[9,24]) {\n"                                      \
    "  %k0 = constant {value=f64 0.01}\n  %k1 = broadcast_in_dim %k0 {shape=[24], axes=[]}\n"      \
    "  %e, %z = scan %h, %x {carries=1} : f64[24], f64[9,24] (%i: i64, %c: f64[24], %r: f64[24])"  \
    " {\n    %p = dot_general %w, %c {x_contract=[1], y_contract=[0]}\n    %o = add %p, %r\n"      \
    "    %s = mul %o, %k1\n    %t = tanh %s\n    %y = mul %t, %r\n    return %t, %y\n  }\n"        \
    "  %q = reduce %z {kind=sum, axes=[0, 1]}\n"
static const char *const derivatives[] = {
    RNN "  %g, %k, %l = gradient %q, %w, %h, %x\n  return %q, %g, %k, %l\n}\n",
    RNN "  %g = gradient %q, %w\n  %m = mul %g, %g\n  %n = reduce %m {kind=sum, axes=[0, 1]}\n"
        "  %k, %l = gradient %n, %h, %x\n  return %k, %l\n}\n",
    RNN "  %d = jvp %q, %h, %h\n  %k = gradient %d, %w\n  return %d, %k\n}\n",
    "graph f(%x: f64[40], %v: f64[40]) {\n" COUNTED
    "  %k, %y = while %n0, %x {limit=300} : i64, f64[40] (%i: i64, %c: f64[40]) {\n"
    "    %m = compare %i, %nt {direction=lt}\n    return %m\n  } (%i: i64, %c: f64[40]) {\n"
    "    %j = add %i, %n1\n    %odd = compare %i, %n1 {direction=eq}\n"
    "    %b = if %odd : f64[40] { %a = mul %c, %v %s = sin %a return %s }"
    " { %a = add %c, %v return %a }\n    return %j, %b\n  }\n"
    "  %s = reduce %y {kind=sum, axes=[0]}\n  %g, %h = gradient %s, %x, %v\n"
    "  %q = mul %g, %h\n  %t = reduce %q {kind=sum, axes=[0]}\n  %u = gradient %t, %x\n"
    "  return %s, %g, %h, %u\n}\n",
};
/* The assert fails in the second of three trips: in a loop of small steps, and in one whose steps
 * all lanes share, before and after other work. */
#define STOPS(type)                                                                                \
    "graph f(%x: " type ") {\n" COUNTED "  %k, %y = while %n0, %x : i64, " type                    \
    " (%i: i64, %c: " type ") {\n"                                                                 \
    "    %m = compare %i, %nt {direction=lt}\n    return %m\n  } (%i: i64, %c: " type ") {\n"      \
    "    %j = add %i, %n1\n    %b = tanh %c\n    %o = compare %i, %n1 {direction=lt}\n"            \
    "    assert %o {message=\"stop\"}\n    return %j, %b\n  }\n"                                   \
    "  %z = neg %y\n  return %z\n}\n"
TEST(derivatives_on_lanes) {
    Diags diags;
    whole_loops = 0;
    Lanes lanes = lanes_open(arena, &diags);
    for (size_t i = 0; i < LENGTH(derivatives); i++)
        check_text(arena, &lanes, derivatives[i], false);
    EXPECT(lanes.jit == NULL || whole_loops >= 2 * LENGTH(derivatives));
    lanes_close(&lanes, &diags);
}
TEST(asserts_stop_loops) {
    Diags diags;
    Lanes lanes = lanes_open(arena, &diags);
    check_text(arena, &lanes, STOPS("f64[3]"), true);
    check_text(arena, &lanes, STOPS("f64[100,100]"), true);
    lanes_close(&lanes, &diags);
}

/* --- what is told about loops ----------------------------------------------------------------- */
/* How the loops of a program are bound, and what was warned of: the text of both. */
static String told_of(Arena *arena, const Lanes *lanes, Jit *jit, const char *text, bool whole,
                      void (*before)(Jit *jit)) {
    static const CheckSize none[] = {{NULL, 0}};
    Check                  c;
    EmitModule            *module = NULL;
    Plan                  *plan = NULL;
    CpuPlan               *cpu = NULL;
    check_begin(&c, arena, str_of(text));
    bool good = check_compile(&c, FORM_PLAIN) && check_compile(&c, FORM_SCHEDULED) &&
                check_inputs(&c, none) && make_plan(&c, lanes, jit, &plan, &module);
    if (module != NULL && whole) module->whole = EMIT_LOOPS_POSSIBLE;
    Diags *diags = &c.worlds[FORM_SCHEDULED]->diags;
    if (good && before != NULL) before(jit);
    good = good && cpu_bind(arena, plan, module, lanes->one, diags, &cpu) == STATUS_OK;
    String told = STR("not bound");
    if (!EXPECT(good))
        check_print(&c, none);
    else
        told = str_format(arena, "%.*s%.*s", STR_ARGS(cpu_loops_text(arena, plan, cpu)),
                          STR_ARGS(text_diags(arena, c.worlds[FORM_SCHEDULED], diags)));
    if (plan != NULL) plan_close(plan);
    check_close(&c);
    return told;
}
#define SUMS(length, type)                                                                         \
    "graph f(%h: " type ") {\n  %y = scan %h {carries=1, length=" length "} : " type               \
    " (%i: i64, %c: " type ") {\n    %s = sin %c\n    %n = add %s, %h\n    return %n\n  }\n"       \
    "  return %y\n}\n"
TEST(loops_say_how_they_run) {
    static const struct {
        const char *text, *told;
    } rows[] = {
        {SUMS("2000", "f64[4]"), "scan %y: one function of 4 launches\n"},
        {SUMS("9", "f64[4]"), "scan %y: 4 launches, one by one: a run does little\n"},
        {SUMS("2000", "f64[200000]"), "one by one: it works on much: fused"},
        /* the loop around it is one: what is inside is part of it */
        {"graph f(%h: f64[4]) {\n  %y = scan %h {carries=1, length=50} : f64[4] (%i: i64, %c: "
         "f64[4]) {\n    %z = scan %c {carries=1, length=50} : f64[4] (%j: i64, %d: f64[4]) {\n"
         "      %s = sin %d\n      %n = add %s, %h\n      return %n\n    }\n    return %z\n  }\n"
         "  return %y\n}\n",
         "scan %y: one function of "},
    };
    Diags diags;
    Lanes lanes = lanes_open(arena, &diags);
    for (size_t i = 0; i < LENGTH(rows) && lanes.jit != NULL; i++) {
        String told = told_of(arena, &lanes, lanes.jit, rows[i].text, false, NULL);
        if (!EXPECT(strstr(told.data, rows[i].told) != NULL)) printf(" %s", told.data);
        uint32_t lines = 0;
        for (size_t k = 0; k < told.count; k++) lines += told.data[k] == '\n';
        EXPECT_EQ(lines, 1);
    }
    lanes_close(&lanes, &diags);
}
/* Kernels are compiled by then, loops are not. */
static void end_llvm(Jit *jit) {
    Diags     diags;
    JitKernel kernel = {.name = "impossible", .content = {1, 2}, .build = build_impossible};
    diags_open(&diags, NULL);
    EXPECT_EQ(jit_compile(jit, NULL, &kernel, 1, &diags), STATUS_UNSUPPORTED);
    diags_close(&diags);
}
/* The program runs all the same, and a warning says why it is slower. */
TEST(loops_say_that_they_cannot_be_compiled) {
    Diags diags;
    Lanes lanes = lanes_open(arena, &diags);
    bool  compiles = lanes.jit != NULL;
    lanes_close(&lanes, &diags);
    if (!compiles) SKIP("there is no LLVM");
    pid_t child = fork();
    if (child == 0) {
        JitOptions options = {.level = JIT_GENERIC};
        Jit       *jit = NULL;
        bool       good = jit_open(arena, &options, &diags, &jit) == STATUS_OK &&
                    workers_open(arena, 1, false, &lanes.one) == STATUS_OK;
        String told = told_of(arena, &lanes, jit, SUMS("2000", "f64[4]"), false, end_llvm);
        good &= strstr(told.data, "4 launches, one by one: it cannot be compiled") != NULL;
        good &= strstr(told.data, diag_infos[DIAG_LOOP_UNCOMPILED].code) != NULL;
        if (!good) printf("\n%s", told.data);
        (void)fflush(stdout);
        _exit(good ? 0 : 1);
    }
    int result = -1;
    EXPECT_EQ(waitpid(child, &result, 0), child);
    EXPECT_EQ(result, 0);
}
