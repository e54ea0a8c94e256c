/* Search for schedules: the rules of schedule.h with their choices drawn instead of fixed, in an
 * evolution over the lists of decisions. An analytical cost picks what is worth keeping; a
 * measurement, if the back end gives one, decides among the best. Results go to a book
 * (schedule_text.h), from where the compiler takes them without searching again.
 *
 * The same seed gives the same result as long as measurements agree. The rules' own choice is
 * always a candidate, so a search never ends with a schedule that it found to be worse. */
#ifndef STOA_SYSTEMS_SEARCH_H
#define STOA_SYSTEMS_SEARCH_H

#include "systems/schedule_text.h"

/* What an estimate is made of, for one launch at the hints of the kernel's sizes. */
typedef struct SearchCost {
    double us;         /* of the whole: the slowest of the next two, and the overheads */
    double compute_us; /* arithmetic, loads and stores, loops */
    double memory_us;  /* bytes of each level over its rate, the slowest level */
    double bytes[TARGET_CACHES_MAX + 1]; /* read from beyond each cache level, nearest first */
} SearchCost;
/* Of the present schedule of a kernel. Microseconds of work: linear in nodes times accesses. */
SearchCost search_cost(Schedule *s, const TargetMachine *machine);

/* Runs the present schedule of a kernel; us of one launch, negative if it cannot. */
typedef double SearchMeasure(void *context, Loops *loops, KernelId kernel);

typedef struct Search {
    const Target  *target;
    ScheduleBook  *book;    /* results; what it holds already is taken, not searched */
    SearchMeasure *measure; /* NULL: the estimate decides */
    void          *context;
    uint64_t       seed;
    uint32_t       population, generations; /* 0: 16 and 8 */
    uint32_t       measured;                /* candidates measured for a kernel, 0: 8 */
    /* what happened, summed over kernels */
    uint32_t searched, found, estimates, measurements;
    double   rules_us, best_us; /* of kernels searched; measured if there is a measurement */
} Search;
/* A Scheduler (system.h) with a Search in scheduler_context. */
void search_scheduler(SystemCtx *ctx, Schedule *s);

#endif
