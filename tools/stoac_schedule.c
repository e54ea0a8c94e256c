/* Explaining runs the scheduler once to learn its steps, takes everything back and does them one by
 * one. A search goes to a file that only this machine can use; --schedule takes what it found. */
#include "stoac_schedule.h"

#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "cpu/cpu.h"
#include "gpu/emit.h"
#include "systems/schedule.h"
#include "text/messages.h"
#include "text/print_loops.h"

static void put(String s) { (void)fwrite(s.data, 1, s.count, stdout); }

static void read_book(StoacSchedules *schedules) {
    OsMap map;
    Diags diags;
    int   error = os_map(schedules->file, &map);
    schedules->book = schedule_book_open(schedules->arena);
    schedules->book.strict = true;
    if (error != 0) {
        fprintf(stderr, "stoac: cannot read %s: %s\n", schedules->file, os_error_text(error));
        exit(2);
    }
    String text = {(const char *)map.data, map.bytes};
    diags_open(&diags, NULL);
    if (!schedule_book_parse(&schedules->book, text, str_of(schedules->file), &diags)) {
        String told = text_diags_in(schedules->arena, NULL, &diags, text);
        fprintf(stderr, "%.*s", STR_ARGS(told));
        exit(1);
    }
    diags_close(&diags);
    os_unmap(&map);
}

/* --- explaining ------------------------------------------------------------------------------- */
static void print_state(StoacSchedules *schedules, const SystemCtx *ctx, Schedule *s) {
    char              name[16];
    const char *const levels[] = {"registers", "L1", "L2", "L3"};
    SearchCost        cost = search_cost(s, &ctx->target->machine);
    (void)snprintf(name, sizeof name, "k%u", s->kernel.row);
    put(text_print_kernel(schedules->arena, s->loops, s->kernel, name));
    printf("  estimate %.4g us: compute %.4g us, memory %.4g us; KiB from beyond", cost.us,
           cost.compute_us, cost.memory_us);
    for (uint32_t i = 0; i <= ctx->target->machine.caches; i++)
        printf(" %s %.0f", levels[i], cost.bytes[i] / 1024);
    printf("\n");
}
static void explain(SystemCtx *ctx, Schedule *s) {
    StoacSchedules *schedules = ctx->scheduler_context;
    TransformMark   mark = transform_mark(s);
    ctx->scheduler_context = &schedules->book;
    schedules->scheduler(ctx, s);
    ctx->scheduler_context = schedules;
    uint32_t     count = s->loops->kernels.steps_count[s->kernel.row];
    ScheduleBook own = schedule_book_open(schedules->arena);
    schedule_book_put(&own, (LoopHash){0, 0}, 0, s->loops, s->kernel);
    transform_restore(s, &mark);
    print_state(schedules, ctx, s);
    for (uint32_t i = 0; i < count; i++) {
        const ScheduleStep *step = &own.steps[i];
        bool                good = transform_apply(s, step->transform, step->numbers);
        Text                text = text_begin(schedules->arena);
        schedule_print_step(&text, step->transform, step->numbers);
        put(text_done(&text));
        if (!good) {
            printf("refused: %s\n", s->why);
            return;
        }
        print_state(schedules, ctx, s);
    }
}
/* --- measuring -------------------------------------------------------------------------------- */
static void tell(StoacSchedules *schedules) {
    if (schedules->diags.rows.table.count > 1) {
        String told = text_diags(schedules->arena, NULL, &schedules->diags);
        fprintf(stderr, "%.*s", STR_ARGS(told));
    }
    diags_clear(&schedules->diags);
}
/* Returns the name of the machine. */
static String open_measure(StoacSchedules *schedules, Target *target) {
    EmitMeasure *measure = &schedules->measuring;
    JitOptions   options = {.level = JIT_HOST};
    if (target == NULL || target->threads) {
        fprintf(stderr, "stoac: --search and --measure need --target cpu\n");
        exit(2);
    }
    diags_open(&schedules->diags, NULL);
    measure->diags = &schedules->diags;
    if (jit_open(schedules->arena, &options, &schedules->diags, &measure->jit) != STATUS_OK) {
        tell(schedules);
        exit(1);
    }
    return cpu_describe_machine(schedules->arena, target, 1);
}
static void close_measure(StoacSchedules *schedules) {
    tell(schedules);
    jit_close(schedules->measuring.jit);
}
static void measure_and_tell(SystemCtx *ctx, Schedule *s) {
    StoacSchedules *schedules = ctx->scheduler_context;
    ctx->scheduler_context = &schedules->book;
    schedules->scheduler(ctx, s);
    ctx->scheduler_context = schedules;
    schedule_sharing(s);
    double us = emit_measure(&schedules->measuring, s->loops, s->kernel);
    printf("k%u: %.1f us measured, %.1f us estimated\n", s->kernel.row, us,
           search_cost(s, &ctx->target->machine).us);
}
static void open_search(StoacSchedules *schedules, Target *target) {
    String machine = open_measure(schedules, target);
    schedules->searching = (Search){.target = target,
                                    .book = &schedules->book,
                                    .measure = emit_measure,
                                    .context = &schedules->measuring};
    schedules->book = schedule_book_open(schedules->arena);
    schedule_book_load(&schedules->book, schedules->search, machine, &schedules->diags);
    bool ignored = schedules->diags.rows.table.count > 1;
    tell(schedules);
    if (ignored) exit(1); /* it may be somebody's work: not ours to overwrite */
}
/* One line a kernel. */
static void search_and_tell(SystemCtx *ctx, Schedule *s) {
    StoacSchedules *schedules = ctx->scheduler_context;
    Search         *search = &schedules->searching;
    double          rules = search->rules_us, best = search->best_us;
    uint32_t        found = search->found, left = search->left;
    uint64_t        begun = os_clock_ns();
    ctx->scheduler_context = search;
    search_scheduler(ctx, s);
    ctx->scheduler_context = schedules;
    if (search->found != found || search->left != left) return;
    rules = search->rules_us - rules;
    best = search->best_us - best;
    fprintf(stderr, "k%u: %.1f us by the rules, %.1f us found (%.2fx), searched %.2f s\n",
            s->kernel.row, rules, best, rules / best, (double)(os_clock_ns() - begun) / 1e9);
}
static void close_search(StoacSchedules *schedules) {
    Status status = schedule_book_save(&schedules->book, schedules->search, &schedules->diags);
    close_measure(schedules);
    if (status != STATUS_OK) exit(1);
}

static void from_rules(SystemCtx *ctx, Schedule *s) { schedule_rules(s, ctx->target, NULL); }

/* ---------------------------------------------------------------------------------------------- */
void stoac_schedules_begin(StoacSchedules *schedules, Arena *arena, Runner *runner,
                           Target *target) {
    SystemCtx *ctx = &runner->ctx;
    schedules->arena = arena;
    schedules->scheduler = from_rules;
    if (schedules->file != NULL) {
        bool none = str_same(str_of(schedules->file), STR("none"));
        schedules->scheduler = none ? schedule_naive : schedule_from_book;
        if (!none) read_book(schedules);
    }
    ctx->scheduler = schedules->explain ? explain : schedules->scheduler;
    ctx->scheduler_context = schedules->explain ? (void *)schedules : (void *)&schedules->book;
    if (schedules->search == NULL && !schedules->measure) return;
    if (schedules->search != NULL)
        open_search(schedules, target);
    else
        (void)open_measure(schedules, target);
    ctx->scheduler = schedules->search != NULL ? search_and_tell : measure_and_tell;
    ctx->scheduler_context = schedules;
}
bool stoac_schedules_end(StoacSchedules *schedules, Runner *runner) {
    const Loops *loops = &runner->loops;
    uint32_t     left = schedules->searching.left;
    if (schedules->search != NULL)
        close_search(schedules);
    else if (schedules->measure)
        close_measure(schedules);
    if (left != 0) {
        fprintf(stderr, "%u kernels are left\n", left);
        return false;
    }
    if (schedules->steps) printf("stoa schedules 1\n");
    for (uint32_t row = 1; row < loops->kernels.table.count; row++) {
        KernelId kernel = {row}, same = loops->kernels.same[row];
        String   name = str_format(schedules->arena, "k%u", row);
        if (schedules->kernels) put(text_print_kernel(schedules->arena, loops, kernel, name.data));
        if (schedules->source && same.row == row) {
            String source = gpu_emit_text(schedules->arena, &runner->loops, kernel);
            printf("// %.*s\n", STR_ARGS(name));
            put(source);
        }
        if (!schedules->steps) continue;
        if (same.row != row) {
            printf("# k%u is the same as k%u\n", row, same.row);
            continue;
        }
        Text text = text_begin(schedules->arena);
        text_addf(&text, "kernel %016llx%016llx # k%u\n",
                  (unsigned long long)loops->kernels.hash_low[row],
                  (unsigned long long)loops->kernels.hash_high[row], row);
        schedule_print_steps(&text, loops, kernel);
        put(text_done(&text));
    }
    return true;
}
