/* The runner: calls systems with everything around them done once: needs checked, time and row
 * counts taken, tables verified and unwritten ones proven untouched (checked builds), facts kept,
 * fuel charged, hooks called for dumps and traces.
 *
 * A Runner belongs to one world. Running stops at the first system that adds an error. */
#ifndef STOA_SYSTEMS_RUNNER_H
#define STOA_SYSTEMS_RUNNER_H

#include "systems/system.h"

typedef enum Fact {
    FACT_VERIFIED = 1, /* the invariants of code.h hold */
    FACT_TYPED = 2,    /* every value has a type */
    FACT_PLAIN = 4,    /* no gradient or jvp rows */
    FACT_EXPANDED = 8, /* only primitives and composites that the target keeps */
    FACT_ORDERED = 16,
    FACT_LAID_OUT = 32, /* views are valid */
    FACT_PLANNED = 64,
    FACT_FUSED = 128,
    FACT_LOWERED = 256, /* each fused row has a kernel in the module of loops */
    FACT_INLINED = 512  /* no calls, but of graphs with a gradient of their own */
} Fact;

typedef struct SystemInfo {
    const char *name, *doc;
    System     *run;
    uint32_t    reads, writes; /* TableSet bits */
    uint32_t    needs, gives, breaks;
} SystemInfo;
extern const SystemInfo system_infos[SYSTEM_COUNT];
/* SYSTEM_COUNT if unknown. */
SystemKind system_find(String name);

typedef struct SystemRun { /* one record per call, newest last */
    SystemKind kind;
    uint64_t   begin_ns, end_ns;
    uint32_t   rows_in, rows_out; /* operator rows */
    uint32_t   changed, errors;
    bool       skipped;
} SystemRun;
enum { RUNNER_RUNS_MAX = 64 };

typedef struct Runner Runner;
typedef void          RunnerHook(void *context, const Runner *runner, const SystemRun *run);
struct Runner {
    SystemCtx   ctx;
    uint32_t    facts;
    uint64_t    skip;    /* bit per SystemKind: leave it out */
    bool        checked; /* verify after each system that writes code, prove write sets */
    RunnerHook *hook;    /* after each system; may be NULL */
    void       *context;
    SystemRun   runs[RUNNER_RUNS_MAX];
    uint32_t    runs_count;
    Views       views;
    Loops       loops;
};

/* target and plan may be NULL. Unlimited fuel; checked in STOA_CHECKED builds. */
void runner_open(Runner *runner, World *world, const Target *target);
void runner_close(Runner *runner);
/* False when the system added an error, or a need is not met. */
bool runner_run(Runner *runner, SystemKind kind);
/* The named pipelines, in pipeline.c: one line per step. */
bool runner_compile(Runner *runner);          /* verify ... layout: independent of sizes */
bool runner_plan(Runner *runner, Plan *plan); /* launch, memory: at plan->dim_values */

#endif
