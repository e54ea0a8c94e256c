/* What stoac does with the schedules of kernels: takes them from a file, prints them, explains them
 * step by step. Trouble with a file ends the program. */
#ifndef STOA_TOOLS_STOAC_SCHEDULE_H
#define STOA_TOOLS_STOAC_SCHEDULE_H

#include "systems/runner.h"
#include "systems/schedule_text.h"

typedef struct StoacSchedules {
    const char *file;    /* where they come from, `none`: loops stay as they are; NULL: the rules */
    bool        kernels; /* print loops, */
    bool        steps;   /* schedules, */
    bool        explain; /* loops and estimates before and after each step */
    /* while systems run: */
    Arena       *arena;
    ScheduleBook book;
    Scheduler   *scheduler; /* whose steps are explained */
} StoacSchedules;

/* Sets the scheduler of a runner; schedules outlive it. */
void stoac_schedules_begin(StoacSchedules *schedules, Arena *arena, Runner *runner);
/* Prints what was asked for. */
void stoac_schedules_end(StoacSchedules *schedules, const Runner *runner);

#endif
