/* Walking a bound plan: one workers_turns for the whole plan. A step that is large enough to be
 * shared is a turn; what lies between two of them, jumps and steps that are too small, is done by
 * the lane that did the last piece of the turn before, alone, in order. So everything sees all
 * that was computed before it, and no step needs to know what others touch. */
#include <string.h>

#include "arena/os.h"
#include "cpu/kernels.h"

/* What a lane did of one launch, for the trace. */
struct Seen {
    uint32_t launch; /* 0: nothing */
    uint32_t order;  /* of the step */
    uint64_t start_ns, end_ns;
};
typedef struct Run {
    const CpuPlan *cpu;
    void *const   *slots;
    CpuTraceFn    *on_launch;
    void          *context;
    Seen          *seen; /* by lane */
    uint32_t       failed;
    uint32_t       at;    /* step that comes next */
    uint32_t       order; /* steps begun so far */
    const Step    *turn;  /* that is shared out */
} Run;

Seen *run_seen_open(Arena *arena, uint32_t lanes) { return ARENA_ARRAY_ZERO(arena, Seen, lanes); }

static void tell(const Run *run, uint32_t lane) {
    Seen *seen = &run->seen[lane];
    if (seen->launch != 0)
        run->on_launch(run->context, lane, seen->launch, seen->start_ns, seen->end_ns);
    seen->launch = 0;
}
static void run_part(Run *run, const Step *step, uint32_t lane, uint32_t piece, uint32_t pieces) {
    const CpuRoom *room = run->cpu->room;
    KernelCtx      ctx = {.slots = run->slots,
                          .scratch = room->scratch[lane],
                          .shared = room->shared,
                          .kept = room->kept,
                          .piece = piece,
                          .pieces = pieces,
                          .failed = &run->failed};
    if (run->on_launch == NULL) {
        step->fn(step->params, &ctx);
        return;
    }
    Seen *seen = &run->seen[lane];
    if (seen->order != run->order) tell(run, lane);
    uint64_t start = os_clock_ns();
    step->fn(step->params, &ctx);
    if (seen->launch == 0) *seen = (Seen){step->launch, run->order, start, 0};
    seen->end_ns = os_clock_ns();
}

static uint32_t run_next(void *context, uint32_t lane) {
    Run           *run = context;
    const CpuPlan *cpu = run->cpu;
    while (run->at < cpu->steps_count && run->failed == 0) {
        const Step *step = &cpu->steps[run->at];
        if (step->flow > FLOW_PASS) {
            run->at = flow_next(cpu, run->at);
            continue;
        }
        run->at++;
        run->order++;
        run->turn = step;
        if (step->pieces > 1) return step->pieces;
        run_part(run, step, lane, 0, 1);
    }
    return 0;
}
static void run_piece(void *context, uint32_t lane, uint32_t piece) {
    Run *run = context;
    run_part(run, run->turn, lane, piece, run->turn->pieces);
}

uint32_t cpu_run(CpuPlan *cpu, void *const *slots, CpuTraceFn *on_launch, void *context) {
    ASSERT(cpu && slots);
    Run run = {.cpu = cpu, .slots = slots, .on_launch = on_launch, .context = context};
    run.seen = cpu->seen;
    if (cpu->flow.slots != NULL) { /* rows of scans move */
        memcpy(cpu->flow.slots, slots, cpu->flow.slots_count * sizeof *slots);
        run.slots = cpu->flow.slots;
    }
    workers_turns(cpu->workers, run_next, run_piece, &run);
    for (uint32_t lane = 0; on_launch != NULL && lane < cpu->room->lanes; lane++) tell(&run, lane);
    return run.failed;
}
