/* The fast CPU back end: binds the launches of a plan to kernels and walks them on worker lanes.
 *
 * cpu_describe says what it can launch (systems decide with it); cpu_bind prepares the
 * parameters of every kernel once per plan; cpu_run walks the launches without allocating or
 * locking, lanes sharing out the pieces of one after the other. Results do not depend on the number
 * of lanes. A CpuPlan runs on one Workers at a time and keeps no tensor
 * memory of its own. */
#ifndef STOA_CPU_CPU_H
#define STOA_CPU_CPU_H

#include "arena/status.h"
#include "arena/workers.h"
#include "tables/plan.h"
#include "tables/target.h"
#include "tables/tensor.h"

typedef struct CpuPlan CpuPlan;
/* Called by each lane that worked on a launch, after its part. */
typedef void CpuTraceFn(void *context, uint32_t lane, uint32_t launch, uint64_t start_ns,
                        uint64_t end_ns);

/* Fills the row of the CPU: opcodes with kernels, composites that stay whole, view needs. compiles:
 * whether kernels can be compiled (emit.h); without, every operator is a launch of its own. */
void cpu_describe(Target *out_target, bool compiles);

/* Fills pairs of elements [first, last) of a tensor, by its kind of initial value; scale: standard
 * deviation, or the bound of uniform numbers. The same numbers on every machine and however pairs
 * are divided. */
void cpu_draw(InitKind init, uint64_t key, double scale, const Tensor *tensor, int64_t first,
              int64_t last);
/* Converts elements [first, last) between tensors of one shape; dtypes: reals. */
void cpu_convert(const Tensor *from, const Tensor *to, int64_t first, int64_t last);

/* Puts the caches of this machine and a number of lanes into the estimates of a target. Returns
 * what schedules that were measured here are kept under: model and instruction sets. The number of
 * lanes is no part of it, because results must not depend on it. */
String cpu_describe_machine(Arena *out, Target *target, uint32_t lanes);

/* Binds each launch to a kernel; parameters and scratch live in arena (which must have a guard,
 * like every push). module: the compiled kernels of plan->loops, NULL if there are none. plan,
 * module and workers outlive the result. A launch whose opcode and dtypes have
 * no kernel adds CPU_NO_KERNEL to diags; then the status is STATUS_UNSUPPORTED. */
struct EmitModule; /* emit.h */
MUST_USE Status cpu_bind(Arena *arena, const Plan *plan, const struct EmitModule *module,
                         Workers *workers, Diags *diags, CpuPlan **out_cpu);
/* Work memory of lanes, for plans that never run at the same time: as much as the largest of them
 * needs. It lives in arena and grows there, to at most twice that. */
typedef struct CpuRoom CpuRoom;
CpuRoom               *cpu_room_open(Arena *arena, const Workers *workers);
size_t                 cpu_room_bytes(const CpuRoom *room); /* of all lanes */
/* The same for some launches, with work memory in room, which outlives the result. */
MUST_USE Status    cpu_bind_part(Arena *arena, const Plan *plan, Span launches,
                                 const struct EmitModule *module, Workers *workers, CpuRoom *room,
                                 Diags *diags, CpuPlan **out_cpu);
static inline Span cpu_launches(const Plan *plan) {
    return (Span){1, plan->launches.table.count - 1};
}

/* How a loop runs: as one code (flow_code.c; in traces it is its head), or launch by launch, and
 * why. Loops inside one that is one code are part of it. */
typedef enum CpuLoopWay {
    CPU_LOOP_WHOLE,
    CPU_LOOP_SHORT,  /* what a run does is too little to compile it for */
    CPU_LOOP_LONG,   /* too many launches */
    CPU_LOOP_LARGE,  /* a launch does much */
    CPU_LOOP_SHARED, /* a launch is shared by lanes, or keeps something for another one */
    CPU_LOOP_LATE,   /* data decides sizes */
    CPU_LOOP_FAILED  /* it could not be compiled: LOOP_UNCOMPILED says why */
} CpuLoopWay;
typedef struct CpuLoop {
    uint32_t   launch, because; /* head; the launch that is large or shared, else 0 */
    CpuLoopWay way;
} CpuLoop;
/* In the order of the plan, none if nothing is compiled; they live as long as the plan. */
const CpuLoop *cpu_loops(const CpuPlan *cpu, uint32_t *out_count);
/* A line a loop: "scan %y: one function of 9 launches". */
String cpu_loops_text(Arena *out, const Plan *plan, const CpuPlan *cpu);
/* Walks all launches; slots[i] is the base address of plan slot i. on_launch may be NULL. Returns
 * the row of the launch whose assert failed (later launches did not run), or 0. */
MUST_USE uint32_t cpu_run(CpuPlan *cpu, void *const *slots, CpuTraceFn *on_launch, void *context);

#endif
