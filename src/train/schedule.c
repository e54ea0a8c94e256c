/* Learning-rate schedules: see schedule.h for the formulas and where they come from.
 * The shapes differ only in what they do after the warm-up, so each is one line of schedule_at.
 * All arithmetic is in double: the rate is computed once a step and rounded when it is used. */
#include "train/schedule.h"

#include <math.h>

static const char *const schedule_names[] = {
    [SCHEDULE_CONSTANT] = "constant",
    [SCHEDULE_COSINE] = "cosine",
    [SCHEDULE_LINEAR] = "linear",
    [SCHEDULE_WSD] = "wsd",
};
static_assert(LENGTH(schedule_names) == SCHEDULE_KIND_COUNT, "ORDER SCHEDULES");

static const double PI = 3.14159265358979323846;

/* (step - first) / count, cut to [0, 1]; 1 when there is nothing to count. */
static double progress(uint64_t step, uint64_t first, uint64_t count) {
    if (step < first) return 0;
    if (step - first >= count) return 1;
    return (double)(step - first) / (double)count;
}

static double ratio_wsd(const Schedule *schedule, uint64_t step) {
    uint64_t decay = schedule->decay_steps ? schedule->decay_steps : schedule->steps / 5;
    uint64_t room = schedule->steps - schedule->warmup_steps;
    if (decay > room) decay = room;
    double q = progress(step, schedule->steps - decay, decay);
    return 1 - (1 - schedule->final_ratio) * sqrt(q);
}

double schedule_at(const Schedule *schedule, uint64_t step) {
    ASSERT(schedule_problem(schedule) == NULL);
    double   f = schedule->final_ratio;
    uint64_t warmup = schedule->warmup_steps;
    if (step < warmup) return schedule->lr * ((double)(step + 1) / ((double)warmup + 1));
    double p = progress(step, warmup, schedule->steps - warmup);
    switch (schedule->kind) {
    case SCHEDULE_COSINE: return schedule->lr * (f + (1 - f) * (1 + cos(PI * p)) / 2);
    case SCHEDULE_LINEAR: return schedule->lr * (1 - (1 - f) * p);
    case SCHEDULE_WSD: return schedule->lr * ratio_wsd(schedule, step);
    case SCHEDULE_CONSTANT:
    case SCHEDULE_KIND_COUNT: break;
    }
    return schedule->lr;
}

const char *schedule_problem(const Schedule *schedule) {
    if ((unsigned)schedule->kind >= SCHEDULE_KIND_COUNT) return "no such schedule";
    if (!(isfinite(schedule->lr) && schedule->lr >= 0)) return "the rate must be 0 or more";
    if (!(schedule->final_ratio >= 0 && schedule->final_ratio <= 1))
        return "the final ratio must be between 0 and 1";
    if (schedule->warmup_steps > schedule->steps) return "the warm-up is longer than the run";
    if (schedule->kind == SCHEDULE_WSD && schedule->decay_steps > schedule->steps)
        return "the decay is longer than the run";
    return NULL;
}

const char *schedule_name(ScheduleKind kind) {
    ASSERT((unsigned)kind < SCHEDULE_KIND_COUNT);
    return schedule_names[kind];
}

bool schedule_find(String name, ScheduleKind *out_kind) {
    for (size_t kind = 0; kind < SCHEDULE_KIND_COUNT; kind++) {
        if (!str_same(name, str_of(schedule_names[kind]))) continue;
        *out_kind = (ScheduleKind)kind;
        return true;
    }
    return false;
}
