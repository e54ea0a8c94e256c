/* What stoac does with the schedules of kernels: takes them from a file, searches for better ones,
 * prints them, explains them step by step. Trouble with a file ends the program. */
#ifndef STOA_TOOLS_STOAC_SCHEDULE_H
#define STOA_TOOLS_STOAC_SCHEDULE_H

#include "cpu/emit_measure.h"
#include "systems/runner.h"
#include "systems/search.h"

typedef struct StoacSchedules {
    const char *file;    /* where they come from, `none`: loops stay as they are; NULL: the rules */
    bool        kernels; /* print loops, */
    bool        source;  /* the CUDA C of them, */
    bool        steps;   /* schedules, */
    bool        explain; /* loops and estimates before and after each step */
    bool        measure; /* the time of each kernel */
    const char *search;  /* file of the schedules found so far; new ones are added */
    /* while systems run: */
    Arena       *arena;
    ScheduleBook book;
    Scheduler   *scheduler; /* whose steps are explained or measured */
    Search       searching;
    EmitMeasure  measuring;
    Diags        diags;
} StoacSchedules;

/* Sets the scheduler of a runner; schedules outlive it. target: its own, NULL: none. */
void stoac_schedules_begin(StoacSchedules *schedules, Arena *arena, Runner *runner, Target *target);
/* Prints what was asked for. False: a search wants the same program once more. */
bool stoac_schedules_end(StoacSchedules *schedules, Runner *runner);

#endif
