/* Walking a bound plan: one workers_run for the whole plan, inside it every lane goes through
 * all steps in order. Binding decided which steps are split and where lanes must meet, so a step
 * costs a call and, at most, one barrier.
 *
 * A failed assert is seen by all lanes at the same place: the step after it meets first and then
 * reads the flag, so either all lanes stop or none. oneDNN would start threads of its own; lanes
 * tell it not to. */
#include <string.h>

#include "arena/os.h"
#include "cpu/kernels.h"
#include "cpu/onednn.h"

typedef struct Run {
    const CpuPlan *cpu;
    void *const   *slots;
    CpuTraceFn    *on_launch;
    void          *context;
    uint32_t       failed;
} Run;

static void run_step(const Step *step, const KernelCtx *ctx, const Run *run) {
    if (run->on_launch == NULL) {
        step->fn(step->params, ctx);
        return;
    }
    uint64_t start = os_clock_ns();
    step->fn(step->params, ctx);
    run->on_launch(run->context, ctx->lane, step->launch, start, os_clock_ns());
}

static void run_flow_step(const Step *step, const KernelCtx *ctx, void *run) {
    run_step(step, ctx, run);
}
static void run_lane(void *context, uint32_t lane, uint32_t lanes) {
    Run           *run = context;
    const CpuPlan *cpu = run->cpu;
    KernelCtx      ctx = {.slots = run->slots,
                          .scratch = cpu->room->scratch[lane],
                          .shared = cpu->room->shared,
                          .lane = lane,
                          .lanes = lanes,
                          .failed = &run->failed};
    KernelCtx      alone = ctx; /* for steps that are not split */
    int            before = onednn_lane_begin();
    alone.lanes = 1;
    if (cpu->lanes != NULL) {
        FlowLane *mine = &cpu->lanes[lane];
        memcpy(mine->slots, run->slots, cpu->slots_count * sizeof *mine->slots);
        ctx.slots = mine->slots;
        flow_run(cpu, mine, &ctx, run_flow_step, run);
    }
    for (uint32_t i = 0; i < cpu->steps_count && cpu->lanes == NULL; i++) {
        const Step *step = &cpu->steps[i];
        if (step->meet && lanes > 1) workers_barrier(cpu->workers);
        if (step->stops && run->failed != 0) break;
        if (step->split)
            run_step(step, &ctx, run);
        else if (lane == 0)
            run_step(step, &alone, run);
    }
    onednn_lane_end(before);
}

uint32_t cpu_run(CpuPlan *cpu, void *const *slots, CpuTraceFn *on_launch, void *context) {
    ASSERT(cpu && slots);
    Run run = {.cpu = cpu, .slots = slots, .on_launch = on_launch, .context = context};
    if (cpu->splits)
        workers_run(cpu->workers, run_lane, &run);
    else
        run_lane(&run, 0, 1); /* all of it is too small to wake anybody */
    return run.failed;
}
