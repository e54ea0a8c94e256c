/* Jumps. Steps are one flat list, walked with a program counter, so blocks and loops cost no calls,
 * no stack and no memory. Who decides a jump is alone (run.c), so predicates and the addresses of
 * rows of scans exist once. */
#include <string.h>

#include "cpu/kernels.h"

typedef struct Unless {
    Ref     at;
    int64_t which, last; /* of a switch: case, number of the last */
    bool    cases;
} Unless;
typedef struct Move { /* of an argument of a scan */
    Ref     from;
    int64_t bytes; /* from row to row */
} Move;
typedef struct Scan {
    uint32_t    first_slot, moves_count, index;
    int64_t     length;
    bool        reverse;
    const Move *moves;
} Scan;

/* --- binding ---------------------------------------------------------------------------------- */
static const Unless *bind_unless(Binder *b) {
    Unless *unless = BIND_PARAMS(b, Unless);
    *unless = (Unless){.at = ref_of(&b->args[0]), .which = b->plan->launches.which[b->launch]};
    unless->cases = b->opcode == OP_SWITCH;
    if (unless->cases) unless->last = (int64_t)b->attrs[ATTR_SWITCH_cases] - 1;
    return unless;
}
static const Scan *bind_scan(Binder *b) {
    Scan    *scan = BIND_PARAMS(b, Scan);
    uint32_t count = b->operands + b->results;
    uint64_t length = b->attrs[ATTR_SCAN_length];
    Move    *moves = ARENA_ARRAY(b->arena, Move, count);
    for (uint32_t i = 0; i < count; i++)
        moves[i] = (Move){ref_of(&b->args[i]), b->args[i].strides[0] * arg_width(&b->args[i])};
    *scan = (Scan){.first_slot = b->plan->launches.first_slot[b->launch],
                   .moves_count = count,
                   .length = length != 0 ? b->plan->dim_values[length] : b->args[0].dims[0],
                   .reverse = b->attrs[ATTR_SCAN_reverse] != 0,
                   .moves = moves};
    return scan;
}
/* NEXT belongs to the SCAN just before its target. */
static const Scan *scan_of_next(const Binder *b) {
    uint32_t head = b->plan->launches.target[b->launch] - 1;
    for (uint32_t i = b->steps_count; i-- > 0;)
        if (b->steps[i].launch == head) return b->steps[i].params;
    NEVER(true);
    return NULL;
}
void flow_bind(Binder *b) {
    FlowKind    kind = (FlowKind)b->plan->launches.flow[b->launch];
    const void *params = NULL;
    if (kind == FLOW_UNLESS) params = bind_unless(b);
    if (kind == FLOW_NEXT) params = scan_of_next(b);
    if (kind == FLOW_SCAN) {
        const Scan *scan = bind_scan(b);
        ((Scan *)(uintptr_t)scan)->index = b->scans++;
        params = scan;
    }
    bind_step(b, NULL, params, 0);
    b->steps[b->steps_count - 1].flow = (uint8_t)kind;
}

FlowState flow_state_open(Arena *arena, const Plan *plan, uint32_t scans) {
    uint32_t count = plan->slots.table.count;
    return (FlowState){ARENA_ARRAY_ZERO(arena, void *, count), count,
                       ARENA_ARRAY_ZERO(arena, int64_t, scans + 1)};
}

/* --- running ---------------------------------------------------------------------------------- */
static uint8_t *place_of(Ref ref, const FlowState *flow) {
    return (uint8_t *)flow->slots[ref.slot] + ref.offset;
}
static bool goes_in(const Unless *unless, const FlowState *flow) {
    const void *at = place_of(unless->at, flow);
    int64_t     number;
    if (!unless->cases) return *(const uint8_t *)at != 0;
    memcpy(&number, at, sizeof number);
    if (number < 0) number = 0;
    if (number > unless->last) number = unless->last;
    return number == unless->which;
}
static bool scan_begin(const Scan *scan, const FlowState *flow) {
    if (scan->length <= 0) return false;
    int64_t row = scan->reverse ? scan->length - 1 : 0;
    flow->index[scan->index] = row;
    flow->slots[scan->first_slot] = &flow->index[scan->index];
    for (uint32_t i = 0; i < scan->moves_count; i++)
        flow->slots[scan->first_slot + 1 + i] =
            place_of(scan->moves[i].from, flow) + row * scan->moves[i].bytes;
    return true;
}
static bool scan_next(const Scan *scan, const FlowState *flow) {
    int64_t step = scan->reverse ? -1 : 1, row = flow->index[scan->index] + step;
    if (row < 0 || row >= scan->length) return false;
    flow->index[scan->index] = row;
    for (uint32_t i = 0; i < scan->moves_count; i++) {
        void **slot = &flow->slots[scan->first_slot + 1 + i];
        *slot = (uint8_t *)*slot + step * scan->moves[i].bytes;
    }
    return true;
}

/* Compared one by one: a table of jumps is predicted worse than these. */
uint32_t flow_next(const CpuPlan *cpu, uint32_t at) {
    const Step *step = &cpu->steps[at];
    FlowKind    kind = (FlowKind)step->flow;
    bool        jumps = kind == FLOW_JUMP;
    if (kind == FLOW_UNLESS)
        jumps = !goes_in(step->params, &cpu->flow);
    else if (kind == FLOW_NEXT)
        jumps = scan_next(step->params, &cpu->flow);
    else if (kind == FLOW_SCAN)
        jumps = !scan_begin(step->params, &cpu->flow);
    return jumps ? step->target : at + 1;
}
