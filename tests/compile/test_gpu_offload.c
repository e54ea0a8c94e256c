/* Copies to the host under a budget, on the stand-in driver: random programs that read early values
 * again at the end, in reverse order, as gradients do.
 *
 * Whatever is copied, at whatever speed the link is thought to have, the bits of the run without a
 * budget stay: launched directly, as a graph and replayed; with copies that are done as early and
 * as late as a device may do them; with asserts between, over which none is under way. */
#define _GNU_SOURCE
#include "fake_device.h"
#include "systems/fit.h"

enum { SIDE = 8, LAYERS_MAX = 9, VALUE_BYTES = SIDE * SIDE * 8 };

/* --- programs --------------------------------------------------------------------------------- */
static uint32_t draw(uint64_t seed, uint32_t index, uint32_t count) {
    return (uint32_t)check_draw(seed, index, count);
}
/* Each layer ends with a slice at a place that is not known, which no kernel takes in. */
static String draw_program(Arena *arena, uint64_t seed) {
    static const char *const functions[] = {"sin", "tanh", "cos", "logistic"};
    Text                     text = text_begin(arena_open("program", 0, 0));
    uint32_t                 layers = 4 + draw(seed, 0, LAYERS_MAX - 3);
    text_addf(&text, "graph f(%%x0: f64[%d,%d], %%at: i64[2]) {\n", SIDE, SIDE);
    for (uint32_t i = 0; i < 2 * layers; i++) {
        bool        back = i >= layers;
        uint32_t    from = back ? 2 * layers - 1 - i : i, axis = draw(seed, 10 + i, 2);
        const char *f = functions[draw(seed, 40 + i, LENGTH(functions))];
        text_addf(&text,
                  "  %%s%u = reduce %%x%u {kind=sum, axes=[%u]}\n  %%b%u = broadcast_in_dim %%s%u "
                  "{shape=[%d,%d], axes=[%u]}\n  %%f%u = %s %%b%u\n  %%m%u = add %%x%u, %%f%u\n",
                  i, i, axis, i, i, SIDE, SIDE, 1 - axis, i, f, i, i, i, i);
        if (back)
            text_addf(&text, "  %%y%u = mul %%m%u, %%x%u\n", i, i, from);
        else
            text_addf(&text, "  %%y%u = sin %%m%u\n", i, i);
        text_addf(&text, "  %%x%u = dynamic_slice %%y%u, %%at {sizes=[%d,%d]}\n", i + 1, i, SIDE,
                  SIDE);
        if (draw(seed, 70 + i, 12) == 0)
            text_addf(&text,
                      "  %%q%u = is_finite %%x%u\n  %%p%u = reduce %%q%u {kind=and, axes=[0,1]}\n"
                      "  assert %%p%u {message=\"finite\"}\n",
                      i, i + 1, i, i, i);
    }
    text_addf(&text, "  return %%x%u\n}\n", 2 * layers);
    String program = str_copy(arena, text_done(&text));
    arena_close(text.arena);
    return program;
}

/* --- one run ---------------------------------------------------------------------------------- */
typedef struct Outcome {
    uint64_t planned, host, least; /* least: of a budget that cannot be met */
    uint32_t copies, again;
    uint8_t  result[VALUE_BYTES];
} Outcome;
typedef struct Wish {
    uint64_t budget, offload;
    double   link_gb_s;
    int      late, no_memory; /* what the stand-in does */
} Wish;

static bool compile(Check *c, const Wish *wish, Outcome *ran) {
    World  *world = c->worlds[FORM_THREADS] = world_open(0, 1 << 20);
    Runner *runner = &c->runners[FORM_THREADS];
    if (!text_parse(world, c->text, STR("program")))
        return check_diags(c, "parsing:", FORM_THREADS);
    gpu_describe(&c->threads, false);
    c->threads.machine.link_gb_s = wish->link_gb_s;
    c->threads.machine.link_us = 0.1;
    runner_open(runner, world, &c->threads);
    c->opened[FORM_THREADS] = true;
    runner->ctx.budget = wish->budget;
    runner->ctx.offload = wish->offload;
    if (runner_compile(runner)) return true;
    String      text = text_diags(c->arena, world, &world->diags);
    const char *told = strstr(text.data, "intermediates: ");
    if (told == NULL) return check_diags(c, "compiling:", FORM_THREADS);
    ran->least = strtoull(told + strlen("intermediates: "), NULL, 10);
    return false;
}
static void count_rows(Outcome *ran, const Bound *b) {
    const Launches *launches = &b->plan->launches;
    ran->planned = b->plan->arena_bytes;
    ran->host = plan_host_bytes(b->plan);
    for (uint32_t row = 1; row < launches->table.count; row++)
        ran->copies += launches->opcode[row] == OP_COPY_BACK;
    for (uint32_t i = 0; i < b->runner->runs_count; i++)
        if (b->runner->runs[i].kind == SYSTEM_recompute) ran->again += b->runner->runs[i].changed;
    EXPECT_EQ(ran->host, gpu_plan_stats(b->gpu).host_bytes);
}
/* Directly, then as a graph, then replayed; all give the same. */
static bool run(Bound *b, Outcome *ran) {
    Fake *f = b->f;
    b->slots = ARENA_ARRAY_ZERO(b->c->arena, CuPtr, b->plan->slots.table.count);
    for (int turn = 0; turn < 3; turn++) {
        uint8_t *result = NULL;
        if (!fill_slots(b, turn == 0))
            return check_fail(b->c, "memory:", STR("there is too little"));
        uint32_t failed = 0;
        if (gpu_run(b->gpu, b->slots, f->stream, &b->world->diags) != STATUS_OK ||
            gpu_run_failed(b->gpu, f->stream, &b->world->diags, &failed) != STATUS_OK ||
            gpu_stream_sync(f->stream, &b->world->diags) != STATUS_OK || failed != 0)
            return check_diags(b->c, "running:", FORM_THREADS);
        if (f->problem != NULL) return check_fail(b->c, "kernels:", str_of(f->problem));
        if (!ends_whole(b)) return check_fail(b->c, "memory:", STR("was written past its end"));
        for (uint32_t row = 1; row < b->plan->slots.table.count; row++)
            if (b->plan->slots.kind[row] == SLOT_OUTPUT)
                result = (uint8_t *)(uintptr_t)b->slots[row];
        if (turn > 0 && memcmp(ran->result, result, VALUE_BYTES) != 0)
            return check_fail(b->c, "a graph:", STR("gives other bits"));
        memcpy(ran->result, result, VALUE_BYTES);
    }
    return true;
}
/* False where the budget cannot be met; whatever else is wrong fails. */
static bool try(Arena *arena, String text, const CheckSize *sizes, const Wish *wish, Outcome *ran) {
    Check c;
    Fake  f;
    *ran = (Outcome){0};
    check_begin(&c, arena, text);
    bool good = EXPECT(fake_open(&f, 13000, false)) && check_compile(&c, FORM_PLAIN) &&
                check_inputs(&c, sizes) && compile(&c, wish, ran);
    Bound b = {
        .f = &f, .c = &c, .runner = &c.runners[FORM_THREADS], .world = c.worlds[FORM_THREADS]};
    f.fake->late(wish->late);
    if (wish->no_memory) f.fake->fail("cuMemHostAlloc", 1, ABI_CUDA_ERROR_OUT_OF_MEMORY);
    good = good && bind(&b, &(GpuKitOptions){0}) && run(&b, ran);
    if (good) count_rows(ran, &b);
    unbind(&b);
    fake_close(&f);
    if (wish->no_memory) { /* DIAG_GPU_HOST_MEMORY */
        const char *told = c.problem != NULL ? c.problem : "";
        EXPECT(strstr(told, "GPU_HOST_MEMORY") != NULL && strstr(told, "--offload-budget"));
        c.problem = NULL;
    }
    if (!EXPECT(c.problem == NULL)) printf("\n%.*s%s\n", STR_ARGS(text), c.problem);
    check_close(&c);
    return good;
}

/* --- tests ------------------------------------------------------------------------------------ */
static const CheckSize no_sizes[] = {{NULL, 0}};

TEST(offload_keeps_the_bits) {
    enum { PROGRAMS = 24 };
    static const uint32_t percents[] = {85, 70, 55};
    uint32_t              copies = 0, again = 0, runs = 0;
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
        ArenaMark mark = arena_mark(arena);
        String    text = draw_program(arena, seed);
        Outcome   free, ran;
        REQUIRE(try(arena, text, no_sizes, &(Wish){.late = 1}, &free));
        for (uint32_t i = 0; i < LENGTH(percents); i++) { /* a copy takes 1 to 8 launches */
            Wish wish = {.budget = free.planned * percents[i] / 100,
                         .offload = VALUE_BYTES * (1 + draw(seed, 100 + i, 12)),
                         .link_gb_s = VALUE_BYTES * 1e-3 / (2.0 * (1 + draw(seed, 103 + i, 8))),
                         .late = draw(seed, 106 + i, 2) != 0};
            if (!try(arena, text, no_sizes, &wish, &ran)) continue;
            EXPECT(ran.planned <= wish.budget);
            EXPECT(ran.host <= wish.offload);
            if (!EXPECT(memcmp(ran.result, free.result, VALUE_BYTES) == 0))
                printf("\nseed %llu at %u %%", (unsigned long long)seed, percents[i]);
            copies += ran.copies;
            again += ran.again;
            runs++;
        }
        arena_release(arena, mark);
    }
    printf(" (%u runs, %u copies, %u launches split)", runs, copies, again);
    EXPECT(runs > PROGRAMS);
    EXPECT(copies > PROGRAMS);
    EXPECT(again > copies); /* some are still computed again */
}

TEST(offload_lowers_the_least_budget) {
    enum { PROGRAMS = 20 };
    double alone = 0, copied = 0;
    for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
        ArenaMark mark = arena_mark(arena);
        String    text = draw_program(arena, seed);
        Wish      wish = {.budget = 1, .link_gb_s = VALUE_BYTES * 1e-3 / 2};
        Outcome   without, with, least, less;
        EXPECT(!try(arena, text, no_sizes, &wish, &without));
        wish.offload = (uint64_t)1 << 30;
        EXPECT(!try(arena, text, no_sizes, &wish, &with));
        alone += (double)without.least;
        copied += (double)with.least;
        wish.budget = with.least; /* what the message names can be met, and no less */
        EXPECT(try(arena, text, no_sizes, &wish, &least));
        EXPECT_EQ(least.planned, with.least);
        wish.budget--;
        EXPECT(!try(arena, text, no_sizes, &wish, &less));
        EXPECT_EQ(less.least, with.least);
        arena_release(arena, mark);
    }
    printf(" (%.2f of what computing again reaches)", copied / alone);
    EXPECT(copied < 0.95 * alone);
}

// Nothing is kept open, and the message says what it was for and what to do.
TEST(offload_without_host_memory_is_refused) {
    String  text = draw_program(arena, 3);
    Outcome free, ran;
    REQUIRE(try(arena, text, no_sizes, &(Wish){0}, &free));
    Wish wish = {free.planned * 7 / 10, 1 << 20, .link_gb_s = VALUE_BYTES * 1e-3 / 2};
    REQUIRE(try(arena, text, no_sizes, &wish, &ran));
    EXPECT(ran.host > 0);
    wish.no_memory = 1;
    EXPECT(!try(arena, text, no_sizes, &wish, &ran));
}

// Each call of the driver fails once, from binding to the replay: nothing stays open.
TEST(offload_gives_everything_back_when_calls_fail) {
    Check   c;
    Fake    f;
    Outcome free, ran = {0};
    String  text = draw_program(arena, 3);
    REQUIRE(try(arena, text, no_sizes, &(Wish){0}, &free));
    Wish wish = {free.planned * 7 / 10, 1 << 20, .link_gb_s = VALUE_BYTES * 1e-3 / 2};
    check_begin(&c, arena, text);
    REQUIRE(fake_open(&f, 13000, false) && check_compile(&c, FORM_PLAIN) &&
            check_inputs(&c, no_sizes) && compile(&c, &wish, &ran));
    Bound b = {
        .f = &f, .c = &c, .runner = &c.runners[FORM_THREADS], .world = c.worlds[FORM_THREADS]};
    unsigned live = 0, nth = 0;
    bool     failed = false, good = bind(&b, &(GpuKitOptions){0}) && run(&b, &ran);
    REQUIRE(good);
    do {
        unbind(&b);
        b.module = NULL, b.plan = NULL, b.gpu = NULL, b.kit = NULL;
        gpu_release(&f.memory, 0);
        diags_clear(&b.world->diags);
        c.problem = NULL;
        if (nth == 0) live = f.fake->live();
        if (!EXPECT_EQ(f.fake->live(), live)) printf(" after call %u", nth);
        f.fake->fail_any(++nth, 999);
        good = bind(&b, &(GpuKitOptions){0}) && run(&b, &ran);
        failed = f.fake->failed() != 0;
        if (!EXPECT(good != failed)) printf(" at call %u", nth);
    } while (failed);
    printf(" (%u calls)", nth);
    EXPECT(good && nth > 50);
    unbind(&b);
    fake_close(&f);
    check_close(&c);
}
