/* bench_memory: what does a budget of memory cost?
 *
 * Training steps of the GPT of `stoa train gpt` and of one with twelve layers, with budgets of 100,
 * 70 and 50 percent of what the intermediates take without one, and the least that can be met. A
 * step with a budget and one without take turns: the ratio is of times a step. Losses must agree to
 * the bit. Reports planned bytes, the ratio, the share of arithmetic that is done twice, and the
 * time that choosing took. `size` is the budget in percent; 0 is the least. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "bench/bench.h"
#include "bench/trainee.h"

enum { VOCAB = 2048, BATCH = 8, LENGTH = 128, ROUNDS = 12 };

typedef struct Memory {
    uint64_t arena;
    double   flops;
    double   choosing_ms;
} Memory;
static Memory memory_of(const Trainee *t) {
    Memory             memory = {0};
    const StoaSession *session = t->session;
    const PlanEntry   *entry = &session->plans[0];
    const Runner      *runner = &session->runner;
    memory.arena = entry->plan->arena_bytes;
    for (uint32_t launch = 1; launch < entry->plan->launches.table.count; launch++)
        memory.flops += launch_flops(entry->plan, launch);
    for (uint32_t i = 0; i < runner->runs_count; i++)
        if (runner->runs[i].kind == SYSTEM_recompute)
            memory.choosing_ms += (double)(runner->runs[i].end_ns - runner->runs[i].begin_ns) / 1e6;
    return memory;
}

static bool open_trainee(const Bench *bench, const TraineeModel *model, uint64_t budget,
                         Trainee *t) {
    TraineeOptions options = {.lanes = bench->lanes ? bench->lanes : 1, .rows_max = model->batch};
    if (!trainee_open(t, model, &options) || !trainee_build(t)) return false;
    t->memory_budget = budget;
    return trainee_compile(t) && trainee_step(t, model->batch, model->length);
}
/* The number that the refusal of an impossible budget names. */
static uint64_t least_budget(const TraineeModel *model) {
    Trainee            t;
    TraineeOptions     options = {.lanes = 1, .rows_max = model->batch};
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    uint64_t           least = 0;
    compile.memory_budget = 1;
    if (trainee_open(&t, model, &options) && trainee_build(&t) &&
        stoa_compile(t.program, &compile, &t.session) != STOA_OK) {
        const char *told = strstr(stoa_message(t.context), "intermediates: ");
        if (told != NULL) least = strtoull(told + strlen("intermediates: "), NULL, 10);
    }
    trainee_close(&t);
    return least;
}

static bool measure(const Bench *bench, const TraineeModel *model, Trainee *base, uint64_t percent,
                    uint64_t budget) {
    Trainee    bound = {.session = NULL};
    BenchTimes times[2] = {{.count = 0}, {.count = 0}};
    double     ratios[BENCH_SAMPLES_MAX];
    uint32_t   samples = bench_samples(bench, ROUNDS);
    bool       good = open_trainee(bench, model, budget, &bound);
    base->step = 1;
    for (uint32_t i = 0; good && i < samples; i++) {
        Trainee *turn[2] = {base, &bound};
        for (uint32_t k = 0; k < 2 && good; k++) {
            uint32_t which = (i + k) % 2;
            bench_begin(&times[which]);
            good = trainee_step(turn[which], model->batch, model->length);
            bench_end(&times[which]);
        }
    }
    if (good) {
        Memory free = memory_of(base), now = memory_of(&bound);
        for (uint32_t i = 0; i < times[0].count; i++)
            ratios[i] = bench->lanes > 1 ? (double)times[1].wall_ns[i] / (double)times[0].wall_ns[i]
                                         : (double)times[1].cpu_ns[i] / (double)times[0].cpu_ns[i];
        BenchResult result = {.name = "step, over one without",
                              .size = percent,
                              .shape = model->name,
                              .dtype = "f32",
                              .lanes = bench->lanes ? bench->lanes : 1,
                              .times = &times[1],
                              .bytes = (double)now.arena,
                              .unit = "x"};
        result.extras[0] = (BenchExtra){"of the bytes", (double)now.arena / (double)free.arena};
        result.extras[1] = (BenchExtra){"flops twice", now.flops / free.flops - 1};
        result.extras[2] = (BenchExtra){"choosing ms", now.choosing_ms};
        result.extras[3] = (BenchExtra){"budget", (double)budget};
        bench_tell_spread(bench, &result, bench_spread(ratios, times[0].count));
    }
    trainee_close(&bound);
    return good;
}

static bool sweep(const Bench *bench, const char *name) {
    static const uint64_t percents[] = {100, 70, 50, 0};
    TraineeModel          model = trainee_model(name);
    Trainee               base = {.session = NULL};
    if (!bench->smoke) {
        model.gpt.vocab = VOCAB;
        model.batch = BATCH;
        model.length = LENGTH;
    }
    model.gpt.likely_batch = model.batch;
    model.gpt.likely_length = model.length;
    bool     good = open_trainee(bench, &model, 0, &base);
    uint64_t least = good ? least_budget(&model) : 0;
    for (size_t i = 0; good && i < sizeof percents / sizeof *percents; i++) {
        uint64_t budget = memory_of(&base).arena / 100 * percents[i];
        if (bench->size != 0 && bench->size != percents[i]) continue;
        if (percents[i] == 100) budget = memory_of(&base).arena;
        if (percents[i] == 0 || budget < least) budget = least;
        good = least != 0 && measure(bench, &model, &base, percents[i], budget);
    }
    trainee_close(&base);
    return good;
}

int main(int argc, char **argv) {
    static const char *const models[] = {"nano", "12-layer"};
    Bench                    bench;
    int                      status = 0;
    if (!bench_open(&bench, "memory", argc, argv, &status)) return status;
    bool ran = true;
    for (size_t i = 0; ran && i < sizeof models / sizeof *models; i++)
        if (!bench.smoke || i == 0) ran = sweep(&bench, bench.smoke ? "tiny" : models[i]);
    return bench_close(&bench, ran ? 0 : 1);
}
