/* bench_train: how fast does the demo model train, and where does its step spend the time?
 *
 * One training step of the GPT of `stoa train gpt` on fixed random tokens, through the public
 * interface. Reports tokens a second (wall clock: all lanes count), the share of all lanes' time in
 * matrix products and the kernels that follow them, in other kernels, and in nothing (waiting,
 * launching), and the planned memory against its floor. `size` is the batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/trainee.h"

enum { BATCH_MAX = 64, VOCAB = 2048 };

static bool train_step(Trainee *t, uint32_t batch) {
    return trainee_step(t, batch, t->model.gpt.context);
}

/* Sums "ns" of the operators in the report: matrix products and all. */
static void read_profile(const char *json, double *run_ns, double *dot_ns, double *all_ns) {
    *dot_ns = *all_ns = 0;
    *run_ns = strtod(strstr(json, "\"run_ns\":") + 9, NULL);
    for (const char *at = json; (at = strstr(at, "{\"operator\":\"")) != NULL; at++) {
        const char *name = at + 13, *ns = strstr(at, "\"ns\":");
        double      time = strtod(ns + 5, NULL);
        bool        product = strncmp(name, "dot_general\"", 12) == 0;
        *all_ns += time;
        if (product || strncmp(name, "linear\"", 7) == 0) *dot_ns += time;
    }
}

static bool measure(const Bench *bench, Trainee *t, uint32_t batch) {
    BenchTimes  times = {.count = 0};
    const char *json = NULL;
    double      tokens = (double)batch * t->model.gpt.context, run_ns, dot_ns, all_ns;
    if (!train_step(t, batch)) return false; /* plans */
    for (uint32_t i = 0; i < bench_samples(bench, 15); i++) {
        bench_begin(&times);
        if (!train_step(t, batch)) return false;
        bench_end(&times);
    }
    bench_tell(bench, &(BenchResult){.name = "step",
                                     .size = batch,
                                     .times = &times,
                                     .rows = tokens,
                                     .unit = "ns/token",
                                     .waits = true});
    const char *before = NULL;
    double      old_run = 0, old_dot = 0, old_all = 0;
    stoa_profile(t->session, true);
    if (stoa_profile_report(t->session, &before) == STOA_OK)
        read_profile(before, &old_run, &old_dot, &old_all);
    for (uint32_t i = 0; i < bench_samples(bench, 5); i++)
        if (!train_step(t, batch)) return false;
    stoa_profile(t->session, false);
    if (stoa_profile_report(t->session, &json) != STOA_OK) return false;
    read_profile(json, &run_ns, &dot_ns, &all_ns);
    run_ns -= old_run;
    dot_ns -= old_dot;
    all_ns -= old_all;
    bench_tell_number(bench, "share in matrix products", batch, 100 * dot_ns / run_ns, "%", 0);
    bench_tell_number(bench, "share in other kernels", batch, 100 * (all_ns - dot_ns) / run_ns, "%",
                      0);
    bench_tell_number(bench, "share in everything else", batch, 100 * (run_ns - all_ns) / run_ns,
                      "%", 0);
    StoaMemoryReport memory = stoa_session_memory(t->session);
    bench_tell_number(bench, "launches a step", batch, memory.launches, "launches", 0);
    bench_tell_number(bench, "state", batch, (double)memory.state_bytes / 1048576, "MiB", 0);
    bench_tell_number(bench, "planned arena", batch, (double)memory.arena_bytes / 1048576, "MiB",
                      0);
    bench_tell_number(bench, "planned arena over its floor", batch,
                      (double)memory.arena_bytes / (double)memory.arena_floor_bytes, "x", 0);
    return true;
}

int main(int argc, char **argv) {
    static const uint32_t batches[] = {4, 16, 32};
    Bench                 bench;
    int                   status = 0;
    if (!bench_open(&bench, "train", argc, argv, &status)) return status;
    Trainee      t;
    TraineeModel model = trainee_model(bench.smoke ? "tiny" : "nano");
    if (!bench.smoke) model.gpt.vocab = VOCAB;
    TraineeOptions options = {.lanes = bench.lanes, .rows_max = BATCH_MAX};
    bool ran = trainee_open(&t, &model, &options) && trainee_build(&t) && trainee_compile(&t);
    for (size_t i = 0; ran && i < sizeof batches / sizeof *batches; i++) {
        if (bench.size != 0 && bench.size != batches[i]) continue;
        if (bench.smoke && i > 0) continue;
        ran = measure(&bench, &t, batches[i]);
    }
    trainee_close(&t);
    return bench_close(&bench, ran ? 0 : 1);
}
