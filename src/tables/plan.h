/* The plan: a graph at concrete sizes as a flat list of launches over a few memory slots.
 *
 * Slots are base addresses: slot 0 is the planned arena (all intermediates at fixed offsets), the
 * others are parameters, inputs, outputs and constants. A launch is an operator row with its
 * operands and results as addressed, strided tensors; back ends bind launches to kernels and walk
 * them in row order. Views and empty results launch nothing. A plan is built once per shape class
 * and holds no pointer to tensor memory, so it can be printed, saved and compared. */
#ifndef STOA_TABLES_PLAN_H
#define STOA_TABLES_PLAN_H

#include "tables/schema.h"
#include "tables/tensor.h"

typedef enum SlotKind {
    SLOT_ARENA,
    SLOT_PARAMETER,
    SLOT_INPUT,
    SLOT_OUTPUT,
    SLOT_CONSTANT,
    SLOT_HOST, /* copies on the host (COPY_OUT) at fixed offsets, page-locked; one a plan at most */
    SLOT_ROW,  /* a row of an argument of a scan: moves from step to step */
    SLOT_INDEX /* the index of that row, an i64 */
} SlotKind;

#define SLOTS_COLUMNS(C)                                                                           \
    C(uint8_t, kind, "SlotKind; row 0 is the planned arena")                                       \
    C(uint32_t, index, "which input or output (from 0); ConstId; row of launch_args for SLOT_ROW") \
    C(StrId, name, "of the parameter, input or output")                                            \
    C(ValueId, value, "the value that lives here")                                                 \
    C(uint64_t, bytes, "size")
TABLE_TYPE(Slots, SLOTS_COLUMNS);

/* One operand or result: the first element is at slots[slot] + offset; element (i0,i1,..) is
 * sum(i * strides) elements further. Results are always dense. Arguments of one type share their
 * sizes, and those with one list of strides share it: a step of a model has few of either. */
typedef struct LaunchArg {
    uint64_t       offset; /* bytes */
    uint32_t       slot;
    uint8_t        dtype, rank;
    bool           dense;   /* strides are the row-major ones */
    const int64_t *dims;    /* rank long, in the plan's arena */
    const int64_t *strides; /* the same; elements; 0 where an axis repeats */
} LaunchArg;
static_assert(sizeof(LaunchArg) <= 32, "two arguments a cache line");

/* Blocks are ranges of launches, entered and left by jumps: one flat list, no nesting at run time.
 *
 *   if      UNLESS a.. JUMP b..            switch  UNLESS a.. JUMP UNLESS b.. JUMP c..
 *   while   PASS LOOP test.. UNLESS body.. PASS JUMP(test)
 *   scan    PASS SCAN body.. PASS NEXT(body)
 *
 * The first UNLESS, LOOP and SCAN are heads: they know where the whole operator ends, so that a
 * device can make a conditional node of the range. SCAN and NEXT have the scanned operands and then
 * the stacked results as arguments; `first_slot` is the slot of the index, then one of each
 * argument, its row. */
typedef enum FlowKind {
    FLOW_NONE,   /* a kernel */
    FLOW_PASS,   /* a copy of what a block returns or takes, to where it goes on */
    FLOW_UNLESS, /* to target unless its operand is true (if, while) or `which` (switch) */
    FLOW_JUMP,   /* to target */
    FLOW_LOOP,   /* begins a while */
    FLOW_SCAN,   /* sets the rows to the first ones; to target when there are none */
    FLOW_NEXT    /* moves the rows on; to target while there are more */
} FlowKind;

#define LAUNCHES_COLUMNS(C)                                                                        \
    C(uint16_t, opcode, "Opcode")                                                                  \
    C(uint16_t, operands, "number of operand args; results follow")                                \
    C(uint32_t, args_first, "first row of launch_args")                                            \
    C(uint32_t, args_count, "operands and results")                                                \
    C(AttrsId, attrs, "attribute record of the operator")                                          \
    C(OpId, op, "operator row it came from, for names in traces")                                  \
    C(uint8_t, flow, "FlowKind")                                                                   \
    C(bool, entered, "some jump leads here")                                                       \
    C(uint16_t, which, "case of an UNLESS of a switch")                                            \
    C(uint32_t, target, "launch that a jump leads to")                                             \
    C(uint32_t, end, "of heads: one past the launches of the operator; 0: no head")                \
    C(uint32_t, first_slot, "of SCAN and NEXT")                                                    \
    C(uint64_t, live, "bytes of the arena in use while it runs")
TABLE_TYPE(Launches, LAUNCHES_COLUMNS);
#define LAUNCH_ARGS_COLUMNS(C)                                                                     \
    C(LaunchArg, arg, "operands then results of a launch")                                         \
    C(uint32_t, buffer, "row of buffers: whose memory it is (planning reads nothing else)")
TABLE_TYPE(LaunchArgs, LAUNCH_ARGS_COLUMNS);
/* Where a value lives over time: for planning and the report of the peak (text/peak.h). */
#define BUFFERS_COLUMNS(C)                                                                         \
    C(ValueId, value, "owner")                                                                     \
    C(uint32_t, slot, "row of slots")                                                              \
    C(uint64_t, offset, "in slot 0 and of the host; 0 elsewhere")                                  \
    C(uint64_t, bytes, "size")                                                                     \
    C(uint32_t, first, "launch that writes it, UINT32_MAX if none")                                \
    C(uint32_t, last, "last launch that reads it or a view of it; if none, first; else 0")         \
    C(uint32_t, over, "buffer that ends where this one begins and leaves it its memory; 0: none")
TABLE_TYPE(Buffers, BUFFERS_COLUMNS);

/* What of the launches follows from which sizes: only in plans of graphs with late sizes
 * (shape_program.h), so that a call can put in the true ones. */
typedef enum PlanSizeKind { PLAN_SIZE_TYPE, PLAN_SIZE_STRIDES, PLAN_SIZE_OFFSET } PlanSizeKind;
#define PLAN_SIZES_COLUMNS(C)                                                                      \
    C(uint8_t, kind, "PlanSizeKind")                                                               \
    C(uint32_t, from, "TypeId, ListId of strides, or DimId of an offset in elements")              \
    C(uint32_t, arg, "row of launch_args, of offsets")                                             \
    C(int64_t *, at, "sizes then strides of the type; strides")
TABLE_TYPE(PlanSizes, PLAN_SIZES_COLUMNS);

typedef struct Plan {
    const World        *world; /* outlives the plan; not rewritten meanwhile */
    const struct Loops *loops; /* kernels of its fused rows (loops.h); outlives the plan */
    GraphId             graph;
    int64_t            *dim_values; /* by DimId row */
    Slots               slots;
    Launches            launches;
    LaunchArgs          args;
    Buffers             buffers;
    PlanSizes           sizes;
    uint64_t            arena_bytes; /* of slot 0 */
    uint64_t            floor_bytes; /* most bytes alive at once: no plan can need less */
    uint32_t            host;        /* slot of copies on the host; 0: there are none */
    uint32_t            inputs, outputs;
    bool                flows; /* some launches are jumps */
    Arena              *arena; /* the plan, its tables, and what back ends bind */
} Plan;

static inline const LaunchArg *launch_args(const Plan *plan, uint32_t launch) {
    return plan->args.arg + plan->launches.args_first[launch];
}
static inline const uint32_t *launch_buffers(const Plan *plan, uint32_t launch) {
    return plan->args.buffer + plan->launches.args_first[launch];
}
static inline const uint64_t *launch_attrs(const Plan *plan, uint32_t launch) {
    return attrs_words(&plan->world->attrs, plan->launches.attrs[launch]);
}
/* "dot_general %h.3": its operator and, if it is named, its first result; ends in a zero byte. */
String plan_launch_label(Arena *out, const Plan *plan, uint32_t launch);
/* Multiplications and additions of a launch that makes products (causal attention in full); 0 for
 * others. Bytes of its arguments, each element once. plan_cost.c. */
double   launch_flops(const Plan *plan, uint32_t launch);
uint64_t launch_bytes(const Plan *plan, uint32_t launch);
/* The numbers of an INTS attribute, or the evaluated sizes of a DIMS attribute. out: LIST_MAX
 * long. */
uint32_t launch_ints(const Plan *plan, uint32_t launch, uint32_t attr, int64_t *out);

/* dims[rank], then row-major strides[rank], of a type at these sizes; returns the elements. */
int64_t plan_type_sizes(const World *world, TypeId type, const int64_t *dim_values, int64_t *out);
/* The slot that holds the memory of a slot: itself, but for rows of scans. */
static inline uint32_t plan_root_slot(const Plan *plan, uint32_t slot) {
    while (plan->slots.kind[slot] == SLOT_ROW) slot = plan->args.arg[plan->slots.index[slot]].slot;
    return slot;
}
/* Whether planning gives a buffer its offset: in the arena or among the copies on the host. */
static inline bool plan_places(const Plan *plan, uint32_t buffer) {
    uint32_t slot = plan->buffers.slot[buffer];
    return slot == 0 || slot == plan->host;
}
static inline uint64_t plan_host_bytes(const Plan *plan) {
    return plan->host != 0 ? plan->slots.bytes[plan->host] : 0;
}
/* Marks the launches that jumps lead to. */
void plan_mark_entered(Plan *plan);
/* Puts dim_values into the arguments of all launches; memory stays where it is. Nothing may have
 * become larger. Linear in the sizes table. */
void plan_resize(Plan *plan);

/* NULL when memory is refused. loops may be NULL for code without fused rows. */
/* Appends a launch: nothing is known of it yet, and it is no jump. */
uint32_t plan_add_launch(Plan *plan);
Plan    *plan_open(const World *world, const struct Loops *loops, GraphId graph);
void     plan_close(Plan *plan); /* NULL is allowed */

#endif
