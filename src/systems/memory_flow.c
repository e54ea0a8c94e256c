/* Memory of control flow: which passes need not copy, and how long buffers live when launches
 * repeat.
 *
 * A pass at the end of a block takes a value to a result, to a row of a stacked result, or to what
 * is carried. The value can be computed right there if nothing reads the old content afterwards:
 * always for results and rows; for what is carried, if every read of it in the loop comes before,
 * is one that may be overwritten, or stands in a branch that excludes the writer. The buffers then
 * become one, and the pass copies memory to itself, which binding leaves out.
 *
 * Passes at the beginning of a loop are left to the ordinary rule for copies of what dies.
 * Quadratic in the passes and launches of one loop, linear otherwise. */
#include "systems/memory_inner.h"

typedef struct Flowing {
    Plan     *plan;
    uint32_t *into;  /* by buffer: the one it became part of; itself otherwise */
    uint32_t *heads; /* open control operators, outermost first */
    uint32_t  depth;
} Flowing;

static uint32_t find(const Flowing *f, uint32_t buffer) {
    while (f->into[buffer] != buffer) buffer = f->into[buffer];
    return buffer;
}

/* Whether two launches stand in different blocks of one if or switch. */
static bool exclusive(const Code *code, OpId a, OpId b) {
    for (BlockId at = code->ops.block[a.row]; op_id_some(code->blocks.parent[at.row]);) {
        OpId     carrier = code->blocks.parent[at.row];
        uint32_t opcode = code->ops.opcode[carrier.row];
        BlockId  first = code->ops.blocks_first[carrier.row];
        for (uint32_t i = 0; i < code->ops.blocks_count[carrier.row]; i++) {
            BlockId sibling = {first.row + i};
            if (!code_visible(code, sibling, code->ops.block[b.row])) continue;
            return sibling.row != at.row && (opcode == OP_IF || opcode == OP_SWITCH);
        }
        at = code->ops.block[carrier.row];
    }
    return false;
}
/* Whether the launch needs what is in the buffer after its own result is written there; result
 * UINT32_MAX: it writes elsewhere. */
static bool reads(const Flowing *f, uint32_t launch, uint32_t buffer, uint32_t result) {
    for (uint32_t i = 0; i < f->plan->launches.operands[launch]; i++)
        if (find(f, launch_buffers(f->plan, launch)[i]) == buffer &&
            (result == UINT32_MAX || !memory_may_overwrite(f->plan, launch, i, result)))
            return true;
    return false;
}
/* The result of the launch that lies in a buffer; UINT32_MAX: none. */
static uint32_t written(const Flowing *f, uint32_t launch, uint32_t buffer) {
    const Launches *launches = &f->plan->launches;
    if (launches->flow[launch] == FLOW_SCAN || launches->flow[launch] == FLOW_NEXT)
        return UINT32_MAX; /* their results are written by rows */
    for (uint32_t i = launches->operands[launch]; i < launches->args_count[launch]; i++)
        if (find(f, launch_buffers(f->plan, launch)[i]) == buffer)
            return i - launches->operands[launch];
    return UINT32_MAX;
}
/* May all launches of the loop that write `value` write `carry` instead? */
static bool carry_is_free(const Flowing *f, uint32_t first, uint32_t last, uint32_t value,
                          uint32_t carry) {
    const Plan *plan = f->plan;
    const Code *code = &plan->world->code;
    for (uint32_t writer = first; writer < last; writer++) {
        uint32_t result = written(f, writer, value);
        if (result == UINT32_MAX) continue;
        if (reads(f, writer, carry, result)) return false;
        for (uint32_t row = writer + 1; row < last; row++)
            if (reads(f, row, carry, UINT32_MAX) &&
                !exclusive(code, plan->launches.op[writer], plan->launches.op[row]))
                return false;
    }
    return true;
}
/* A pass at the end of a block, of the innermost open operator. */
static bool try_pass(Flowing *f, uint32_t pass) {
    Plan            *plan = f->plan;
    const Code      *code = &plan->world->code;
    const LaunchArg *from = &launch_args(plan, pass)[0];
    uint32_t         value = launch_buffers(plan, pass)[0], to = launch_buffers(plan, pass)[1];
    OpId             op = plan->launches.op[pass];
    OpId             carrier = code->blocks.parent[code->ops.block[op.row].row];
    uint32_t         opcode = code->ops.opcode[carrier.row];
    value = find(f, value);
    to = find(f, to);
    if (!(op_info(code, op)->flags & OP_TERMINATOR)) return false; /* begins a loop */
    if (value == to || plan->buffers.slot[value] != 0 || !from->dense || from->offset != 0 ||
        plan->buffers.bytes[value] != plan->buffers.bytes[to])
        return false;
    bool is_row = plan->slots.kind[plan->buffers.slot[to]] == SLOT_ROW && opcode == OP_SCAN;
    if (opcode != OP_IF && opcode != OP_SWITCH && !is_row) {
        ASSERT(f->depth > 0);
        uint32_t head = f->heads[f->depth - 1];
        if (plan->buffers.first[value] <= head || !carry_is_free(f, head, pass, value, to))
            return false;
    }
    f->into[value] = to;
    if (plan->buffers.first[value] < plan->buffers.first[to])
        plan->buffers.first[to] = plan->buffers.first[value];
    return true;
}

static void use(Plan *plan, uint32_t launch, uint32_t buffer, bool writes) {
    Buffers *buffers = &plan->buffers;
    bool     assigns = plan->launches.opcode[launch] == OP_ASSIGN;
    if (writes && launch < buffers->first[buffer]) buffers->first[buffer] = launch;
    if ((!writes || !assigns || buffers->last[buffer] == 0) && launch > buffers->last[buffer])
        buffers->last[buffer] = launch;
}
/* first and last of all buffers. What was there before a loop is needed until the loop ends. */
static void find_lifetimes(Flowing *f) {
    Plan           *plan = f->plan;
    const Launches *launches = &plan->launches;
    Buffers        *buffers = &plan->buffers;
    for (uint32_t row = 1; row < buffers->table.count; row++) {
        buffers->first[row] = UINT32_MAX;
        buffers->last[row] = 0;
    }
    for (uint32_t row = 1; row < launches->table.count; row++)
        for (uint32_t i = 0; i < launches->args_count[row]; i++)
            use(plan, row, launch_buffers(plan, row)[i], i >= launches->operands[row]);
    f->depth = 0;
    for (uint32_t row = 1; row < launches->table.count; row++) {
        while (f->depth > 0 && launches->end[f->heads[f->depth - 1]] == row) f->depth--;
        if (launches->end[row] != 0 && launches->flow[row] != FLOW_UNLESS)
            f->heads[f->depth++] = row;
        for (uint32_t i = 0; i < launches->args_count[row]; i++) {
            uint32_t buffer = launch_buffers(plan, row)[i];
            bool     outside = buffers->slot[buffer] != 0; /* first may be an assignment */
            for (uint32_t k = f->depth; k-- > 0;) {
                uint32_t head = f->heads[k], end = launches->end[head] - 1;
                if (outside || buffers->first[buffer] > head) continue;
                if (buffers->last[buffer] < end) buffers->last[buffer] = end;
            }
        }
    }
}

uint32_t memory_pass_in_place(Arena *scratch, Plan *plan) {
    const Launches *launches = &plan->launches;
    Buffers        *buffers = &plan->buffers;
    Flowing         f = {.plan = plan};
    uint32_t        kept = 0;
    f.into = ARENA_ARRAY(scratch, uint32_t, buffers->table.count);
    f.heads = ARENA_ARRAY(scratch, uint32_t, CODE_DEPTH_MAX);
    for (uint32_t row = 0; row < buffers->table.count; row++) f.into[row] = row;
    for (uint32_t row = 1; row < launches->table.count; row++) {
        while (f.depth > 0 && launches->end[f.heads[f.depth - 1]] == row) f.depth--;
        if (launches->end[row] != 0 && launches->flow[row] != FLOW_UNLESS) f.heads[f.depth++] = row;
        if (launches->flow[row] == FLOW_PASS) kept += try_pass(&f, row);
    }
    for (uint32_t row = 1; row < plan->args.table.count; row++) {
        uint32_t buffer = find(&f, plan->args.buffer[row]);
        plan->args.buffer[row] = buffer;
        plan->args.arg[row].slot = buffers->slot[buffer];
    }
    find_lifetimes(&f);
    return kept;
}
