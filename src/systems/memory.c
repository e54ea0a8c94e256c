/* memory: where does each buffer live in the planned arena, and what can be written in place?
 *
 * Liveness of a buffer runs from the launch that writes it to the last launch that reads it or a
 * view of it. One sweep in launch order gives space to results and takes it back after last uses,
 * best fit over free ranges that merge with their neighbours (ranges.h). Reuse that happens first:
 *   in place   an elementwise result takes the memory of a dense operand of its size that dies
 *              there; results of INPLACE operators take the operand with their name
 *   assign     a value assigned to a parameter is computed into the parameter when nothing reads
 *              the old value afterwards; the copying launch is then dropped
 *   passes     what a block returns is computed where it goes on (memory_flow.c)
 * floor_bytes is the most that is alive at once: no order-preserving plan can be smaller. Copies on
 * the host have ranges of their own; what their launches hold on the device is in lifetimes.
 * Needs launches. Linear in launch arguments, apart from the search among free ranges. */
#include "systems/memory.h"

#include "systems/memory_inner.h"
#include "systems/ranges.h"

typedef struct Placing {
    Arena    *scratch;
    Plan     *plan;
    Ranges    free, host;
    uint32_t *owner;        /* by buffer: the buffer whose memory it took over, itself otherwise */
    uint32_t *users;        /* by buffer: how many buffers sit in its memory now */
    uint32_t *dying, *next; /* by launch: the first buffer that is not needed after it; the next */
    uint64_t  align, alive;
} Placing;

/* --- assign in place -------------------------------------------------------------------------- */
/* The operand of an INPLACE operator that carries the name of result i; UINT32_MAX if none. */
static uint32_t named_operand(const OpInfo *info, uint32_t result) {
    const char *name = info->outs, *operand = info->operands;
    for (uint32_t i = 0; i < result && name != NULL; i++)
        name = strchr(name, ' ') ? strchr(name, ' ') + 1 : NULL;
    if (name == NULL) return UINT32_MAX;
    size_t length = strcspn(name, " ");
    for (uint32_t i = 0; operand != NULL; i++) {
        if (strcspn(operand, " ") == length && strncmp(operand, name, length) == 0) return i;
        operand = strchr(operand, ' ') ? strchr(operand, ' ') + 1 : NULL;
    }
    return UINT32_MAX;
}
/* Whether the kernel of a fused row may write a result over an operand (loops.h, shares). */
static bool kernel_shares(const Plan *plan, uint32_t launch, uint32_t operand, uint32_t result) {
    const Loops *loops = plan->loops;
    KernelId     kernel = loops_of_op(loops, plan->launches.op[launch]);
    uint32_t     code = loops->kernels.same[kernel.row].row;
    uint32_t     buffer = loops->kernels.buffers_first[code] + plan->launches.operands[launch];
    return operand < 64 && (loops->buffers.shares[buffer + result] >> operand & 1) != 0;
}
static uint64_t arg_bytes(const LaunchArg *arg) {
    uint64_t bytes = dtype_bytes((Dtype)arg->dtype);
    for (uint32_t i = 0; i < arg->rank; i++) bytes *= (uint64_t)arg->dims[i];
    return bytes;
}
bool memory_may_overwrite(const Plan *plan, uint32_t launch, uint32_t operand, uint32_t result) {
    const OpInfo    *info = &op_infos[plan->launches.opcode[launch]];
    const LaunchArg *x = &launch_args(plan, launch)[operand];
    const LaunchArg *y = &launch_args(plan, launch)[plan->launches.operands[launch] + result];
    const uint32_t  *used = launch_buffers(plan, launch);
    const uint64_t  *bytes = plan->buffers.bytes;
    if (bytes[used[operand]] != bytes[used[plan->launches.operands[launch] + result]]) return false;
    if (!x->dense || x->offset != 0) return false;
    if (arg_bytes(y) != bytes[used[operand]]) return false; /* part of a concat made in place */
    if (plan->launches.opcode[launch] == OP_FUSED)
        return kernel_shares(plan, launch, operand, result);
    if (info->flags & OP_INPLACE) return named_operand(info, result) == operand;
    return (info->flags & OP_ELEMENTWISE) != 0 &&
           dtype_bytes((Dtype)x->dtype) == dtype_bytes((Dtype)y->dtype);
}
/* Every operand of the launch that lies in a buffer may be overwritten by the result. */
static bool all_may_overwrite(const Plan *plan, uint32_t launch, uint32_t buffer, uint32_t result) {
    for (uint32_t i = 0; i < plan->launches.operands[launch]; i++)
        if (launch_buffers(plan, launch)[i] == buffer &&
            !memory_may_overwrite(plan, launch, i, result))
            return false;
    return true;
}

/* Launches before the last check may be undone by it; late sizes are checked where they come. */
static uint32_t find_last_assert(const Plan *plan) {
    uint32_t row = plan->launches.table.count - 1;
    while (row > 0 && plan->launches.opcode[row] != OP_ASSERT &&
           !(op_infos[plan->launches.opcode[row]].flags & OP_LATE))
        row--;
    return row;
}
/* Whether the value of an assign launch can be computed in the parameter's memory. */
static bool can_assign_early(const Plan *plan, uint32_t row, uint32_t last_assert) {
    const LaunchArg *value = &launch_args(plan, row)[0];
    uint32_t         from = launch_buffers(plan, row)[0], to = launch_buffers(plan, row)[1];
    uint32_t         born = plan->buffers.first[from], read = plan->buffers.last[to];
    if (value->slot != 0 || !value->dense || value->offset != 0 || born == UINT32_MAX) return false;
    if ((read > born && read != row) || last_assert > born) return false;
    uint32_t result = UINT32_MAX, operands = plan->launches.operands[born];
    for (uint32_t i = operands; i < plan->launches.args_count[born]; i++)
        if (launch_buffers(plan, born)[i] == from) result = i - operands;
    return result != UINT32_MAX && all_may_overwrite(plan, born, to, result);
}

/* Drops the assign launches, which are the last ones, whose value can be computed in place: its
 * buffer moves to the slot of the parameter. Returns how many. */
static uint32_t assign_in_place(Plan *plan) {
    Launches *launches = &plan->launches;
    Buffers  *buffers = &plan->buffers;
    uint32_t  last_assert = find_last_assert(plan), count = launches->table.count, kept = count;
    while (kept > 1 && launches->opcode[kept - 1] == OP_ASSIGN) kept--;
    for (uint32_t row = kept; row < count; row++) {
        uint32_t from = launch_buffers(plan, row)[0], to = launch_buffers(plan, row)[1];
        if (can_assign_early(plan, row, last_assert)) {
            buffers->slot[from] = buffers->slot[to];
            buffers->bytes[from] = 0; /* it is the parameter's */
            continue;
        }
        launches->opcode[kept] = launches->opcode[row];
        launches->operands[kept] = launches->operands[row];
        launches->args_first[kept] = launches->args_first[row];
        launches->args_count[kept] = launches->args_count[row];
        launches->attrs[kept] = launches->attrs[row];
        launches->op[kept] = launches->op[row];
        buffers->last[from] = buffers->first[to] = kept++;
    }
    launches->table.count = kept;
    return count - kept;
}

/* --- offsets ---------------------------------------------------------------------------------- */
static uint64_t aligned(const Placing *p, uint64_t bytes) {
    return (bytes + p->align - 1) / p->align * p->align;
}
static void place_on_host(Placing *p, uint32_t buffer) {
    uint64_t bytes = aligned(p, p->plan->buffers.bytes[buffer]);
    p->owner[buffer] = buffer;
    p->users[buffer] = 1;
    p->plan->buffers.offset[buffer] = bytes ? ranges_take(&p->host, bytes) : 0;
}
static void place_result(Placing *p, uint32_t launch, uint32_t result) {
    Plan    *plan = p->plan;
    Buffers *buffers = &plan->buffers;
    uint32_t operands = plan->launches.operands[launch];
    uint32_t mine = launch_buffers(plan, launch)[operands + result];
    if (!plan_places(plan, mine) || buffers->first[mine] != launch || p->owner[mine] != 0) return;
    if (buffers->slot[mine] != 0) {
        place_on_host(p, mine);
        return;
    }
    for (uint32_t i = 0; i < operands; i++) {
        uint32_t theirs = launch_buffers(plan, launch)[i], owner = p->owner[theirs];
        if (buffers->slot[theirs] != 0 || buffers->last[theirs] != launch || p->users[owner] != 1)
            continue;
        if (!memory_may_overwrite(plan, launch, i, result) ||
            !all_may_overwrite(plan, launch, theirs, result))
            continue;
        p->owner[mine] = owner;
        p->users[owner]++;
        buffers->over[mine] = theirs;
        buffers->offset[mine] = buffers->offset[theirs];
        return;
    }
    p->owner[mine] = mine;
    p->users[mine] = 1;
    uint64_t bytes = aligned(p, buffers->bytes[mine]);
    buffers->offset[mine] = bytes ? ranges_take(&p->free, bytes) : 0;
    p->alive += bytes;
    if (p->alive > plan->floor_bytes) plan->floor_bytes = p->alive;
}
static void retire(Placing *p, uint32_t buffer) {
    const Buffers *buffers = &p->plan->buffers;
    uint32_t       owner = p->owner[buffer];
    if (owner == 0 || --p->users[owner] != 0) return;
    uint64_t bytes = aligned(p, buffers->bytes[owner]);
    bool     here = buffers->slot[owner] == 0;
    if (bytes != 0) ranges_give(here ? &p->free : &p->host, (Range){buffers->offset[owner], bytes});
    if (here) p->alive -= bytes;
}
/* Buffers that are placed by the launch after which they are not needed. */
static void list_dying(Placing *p) {
    const Buffers *buffers = &p->plan->buffers;
    p->dying = ARENA_ARRAY_ZERO(p->scratch, uint32_t, p->plan->launches.table.count);
    p->next = ARENA_ARRAY_ZERO(p->scratch, uint32_t, buffers->table.count);
    for (uint32_t row = buffers->table.count; row-- > 1;) {
        uint32_t last = buffers->last[row];
        if (!plan_places(p->plan, row) || buffers->first[row] == UINT32_MAX) continue;
        p->next[row] = p->dying[last];
        p->dying[last] = row;
    }
}

uint32_t memory_place(Arena *scratch, const Target *target, Plan *plan) {
    Placing  p = {.scratch = scratch, .plan = plan, .align = memory_align(target)};
    uint32_t dropped = plan->flows ? memory_pass_in_place(scratch, plan) : 0;
    dropped += assign_in_place(plan);
    if (plan->flows) plan_mark_entered(plan);
    ranges_open(&p.free, scratch);
    ranges_open(&p.host, scratch);
    p.owner = ARENA_ARRAY_ZERO(scratch, uint32_t, plan->buffers.table.count);
    p.users = ARENA_ARRAY_ZERO(scratch, uint32_t, plan->buffers.table.count);
    plan->floor_bytes = 0;
    list_dying(&p);
    for (uint32_t row = 1; row < plan->launches.table.count; row++) {
        uint32_t operands = plan->launches.operands[row], count = plan->launches.args_count[row];
        for (uint32_t i = operands; i < count; i++) place_result(&p, row, i - operands);
        plan->launches.live[row] = p.alive;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = plan->launches.args_first[row] + i, buffer = plan->args.buffer[at];
            plan->args.arg[at].slot = plan->buffers.slot[buffer]; /* assign_in_place moves some */
            if (plan_places(plan, buffer))
                plan->args.arg[at].offset += plan->buffers.offset[buffer];
        }
        for (uint32_t buffer = p.dying[row]; buffer != 0; buffer = p.next[buffer])
            retire(&p, buffer);
    }
    plan->arena_bytes = p.free.end;
    plan->slots.bytes[0] = plan->arena_bytes;
    if (plan->host != 0) plan->slots.bytes[plan->host] = p.host.end;
    return dropped;
}

Ran sys_memory(SystemCtx *ctx) {
    return (Ran){.changed = memory_place(ctx->scratch, ctx->target, ctx->plan)};
}
