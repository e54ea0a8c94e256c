/* The learning rate of a step: warm-up, then one of four shapes. A pure function of the step, so a
 * resumed run needs no state. Sources: warm-up, P. Goyal et al. 2017 (arXiv 1706.02677); cosine,
 * I. Loshchilov, F. Hutter 2017 (arXiv 1608.03983, no restarts); linear, S. Bergsma et al. 2025
 * (arXiv 2502.15938); warm-up-stable-decay, S. Hu et al. 2024 (MiniCPM, arXiv 2404.06395) with the
 * "1-sqrt" decay of A. Haegele et al. 2024 (arXiv 2405.18392). */
#ifndef STOA_TRAIN_SCHEDULE_H
#define STOA_TRAIN_SCHEDULE_H

#include "arena/str.h"

/* With w = warmup_steps, N = steps, p = (step - w) / (N - w) cut to [0, 1], f = final_ratio:
 *
 *   step < w   lr * (step + 1) / (w + 1)              linear warm-up; reaches lr at step w
 *   constant   lr
 *   cosine     lr * (f + (1 - f) * (1 + cos(pi p)) / 2)
 *   linear     lr * (1 - (1 - f) * p)
 *   wsd        lr until the last d = decay_steps, then lr * (1 - (1 - f) * sqrt(q)),
 *              q = (step - (N - d)) / d cut to [0, 1]
 *
 * From step N on the rate stays at its last value. */
/* ORDER SCHEDULES: schedule_names */
typedef enum ScheduleKind {
    SCHEDULE_CONSTANT,
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_WSD,
    SCHEDULE_KIND_COUNT
} ScheduleKind;

typedef struct Schedule {
    ScheduleKind kind;
    double       lr;           /* the peak */
    double       final_ratio;  /* rate at the end over the peak, in [0, 1] */
    uint64_t     steps;        /* of the whole run */
    uint64_t     warmup_steps; /* at most steps; 0: none */
    uint64_t     decay_steps;  /* wsd only; 0: a fifth of the steps */
} Schedule;

/* The rate of a step counted from 0. */
double schedule_at(const Schedule *schedule, uint64_t step);
/* NULL when the fields make sense, otherwise what is wrong, for DIAG_CONFIG_VALUE (static text). */
const char *schedule_problem(const Schedule *schedule);
const char *schedule_name(ScheduleKind kind); /* "cosine" */
bool        schedule_find(String name, ScheduleKind *out_kind);

#endif
