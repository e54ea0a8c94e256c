/* Tapes: which launches run, in which order, when some run twice; what is alive meanwhile; and the
 * plan of it. A search asks for hundreds of tapes, so the arrays are made once, and what is alive
 * is summed up without placing anything: that differs from the planned arena only by gaps between
 * buffers. */
#include "systems/recompute_inner.h"

Tape recompute_tape(const Recompute *r, Arena *out) {
    Tape tape = {.launch = ARENA_ARRAY_ZERO(out, uint32_t, 2 * r->launches)};
    tape.at = ARENA_ARRAY_ZERO(out, uint32_t, 2 * r->launches);
    tape.again = ARENA_ARRAY_ZERO(out, bool, 2 * r->launches);
    tape.first = ARENA_ARRAY_ZERO(out, uint32_t, 2 * r->buffers);
    tape.last = ARENA_ARRAY_ZERO(out, uint32_t, 2 * r->buffers);
    tape.live = ARENA_ARRAY_ZERO(out, uint64_t, 2 * r->launches + 1);
    tape.stack = ARENA_ARRAY(out, uint32_t, r->plan->args.table.count + r->launches);
    tape.done = ARENA_ARRAY_ZERO(out, uint32_t, r->launches);
    tape.passed = ARENA_ARRAY_ZERO(out, uint8_t, 2 * r->buffers);
    tape.dropped = ARENA_ARRAY_ZERO(out, bool, r->launches);
    tape.wanted = ARENA_ARRAY_ZERO(out, bool, 2 * r->buffers);
    return tape;
}

/* --- order ------------------------------------------------------------------------------------ */
static void add_position(const Recompute *r, Tape *tape, uint32_t launch, uint32_t at, bool again) {
    const uint32_t *used = launch_buffers(r->plan, launch);
    uint32_t        operands = r->plan->launches.operands[launch], position = tape->count++;
    tape->launch[position] = launch;
    tape->at[position] = at;
    tape->again[position] = again;
    for (uint32_t i = 0; i < operands; i++)
        tape->last[2 * used[i] + recompute_late(r, at, used[i])] = position;
    for (uint32_t i = operands; i < r->plan->launches.args_count[launch]; i++) {
        uint32_t version = 2 * used[i] + again;
        if (tape->first[version] == 0) tape->first[version] = position;
        if (tape->last[version] == 0) tape->last[version] = position; /* as launch does */
    }
}

/* The second runs that a launch at `at` needs before it, deepest first. */
static void add_needed(const Recompute *r, Tape *tape, uint32_t launch, uint32_t at) {
    uint32_t depth = 0;
    tape->stack[depth++] = launch;
    while (depth != 0) {
        uint32_t        top = tape->stack[depth - 1], before = depth;
        const uint32_t *used = launch_buffers(r->plan, top);
        for (uint32_t i = 0; i < r->plan->launches.operands[top]; i++) {
            uint32_t maker = r->maker[used[i]];
            if (recompute_late(r, at, used[i]) && tape->done[maker] != tape->stamp)
                tape->stack[depth++] = maker;
        }
        if (depth != before) continue;
        depth--;
        if (top == launch || tape->done[top] == tape->stamp) continue;
        tape->done[top] = tape->stamp;
        add_position(r, tape, top, at, true);
    }
}

/* --- what is alive ---------------------------------------------------------------------------- */
/* In the base plan a buffer takes over another: so it does here, if that one still ends here. */
static void find_passed(const Recompute *r, Tape *tape, uint32_t position) {
    uint32_t        launch = tape->launch[position];
    const uint32_t *used = launch_buffers(r->plan, launch);
    for (uint32_t i = r->plan->launches.operands[launch]; i < r->plan->launches.args_count[launch];
         i++) {
        uint32_t from = r->over[used[i]];
        if (from == 0) continue;
        uint32_t theirs = 2 * from + recompute_late(r, tape->at[position], from);
        if (tape->last[theirs] != position) continue;
        tape->passed[2 * used[i] + tape->again[position]] |= 1;
        tape->passed[theirs] |= 2;
    }
}
static void sum_live(const Recompute *r, Tape *tape) {
    memset(tape->live, 0, (tape->count + 1) * sizeof *tape->live);
    memset(tape->passed, 0, 2 * r->buffers);
    for (uint32_t position = 1; position < tape->count; position++) find_passed(r, tape, position);
    for (uint32_t version = 2; version < 2 * r->buffers; version++) {
        uint64_t bytes = r->bytes[version / 2];
        bool     inside = r->maker[version / 2] != 0 || version % 2 != 0;
        if (tape->first[version] == 0 || !inside) continue;
        if (!(tape->passed[version] & 1)) tape->live[tape->first[version]] += bytes;
        if (!(tape->passed[version] & 2)) tape->live[tape->last[version] + 1] -= bytes;
    }
    tape->peak = 1;
    for (uint32_t position = 1; position < tape->count; position++) {
        tape->live[position] += tape->live[position - 1];
        if (tape->live[position] > tape->live[tape->peak]) tape->peak = position;
    }
}

static void write_order(const Recompute *r, Tape *tape) {
    memset(tape->first, 0, 2 * r->buffers * sizeof *tape->first);
    memset(tape->last, 0, 2 * r->buffers * sizeof *tape->last);
    tape->count = 1;
    tape->stamp++;
    for (uint32_t launch = 1; launch < r->launches; launch++) {
        if (tape->dropped[launch]) continue;
        add_needed(r, tape, launch, launch);
        add_position(r, tape, launch, launch, false);
    }
}
/* Drops first runs that nobody reads any more, from the last to the first; false if there are
 * none. */
static bool drop_unread(const Recompute *r, Tape *tape) {
    bool some = false;
    memset(tape->wanted, 0, 2 * r->buffers);
    for (uint32_t p = tape->count; p-- > 1;) {
        uint32_t        launch = tape->launch[p], operands = r->plan->launches.operands[launch];
        const uint32_t *used = launch_buffers(r->plan, launch);
        bool            wanted = r->split[launch] == 0;
        for (uint32_t i = operands; i < r->plan->launches.args_count[launch]; i++)
            wanted |= tape->wanted[2 * used[i] + tape->again[p]] ||
                      (!tape->again[p] && r->maker[used[i]] == 0);
        if (!wanted) {
            tape->dropped[launch] |= !tape->again[p];
            some |= !tape->again[p];
            continue;
        }
        for (uint32_t i = 0; i < operands; i++)
            tape->wanted[2 * used[i] + recompute_late(r, tape->at[p], used[i])] = true;
    }
    return some;
}
void recompute_write_tape(const Recompute *r, Tape *tape) {
    memset(tape->dropped, 0, r->launches);
    do write_order(r, tape);
    while (drop_unread(r, tape));
    sum_live(r, tape);
}

/* --- the plan --------------------------------------------------------------------------------- */
/* A plan of these sizes in scratch memory. */
static Plan *open_plan(const Recompute *r, Arena *scratch, uint32_t launches, uint32_t args) {
    const Plan *from = r->plan;
    Plan       *plan = ARENA_NEW(scratch, Plan);
    *plan = (Plan){.world = from->world, .loops = from->loops, .graph = from->graph};
    plan->arena = scratch;
    table_open_in(&plan->slots.table, from->slots.table.info, from->slots.table.count, scratch);
    table_open_in(&plan->launches.table, from->launches.table.info, launches, scratch);
    table_open_in(&plan->args.table, from->args.table.info, args, scratch);
    table_open_in(&plan->buffers.table, from->buffers.table.info, 2 * r->buffers, scratch);
    table_copy(&plan->slots.table, &from->slots.table);
    return plan;
}

/* Rows of buffers are the versions: their order is nothing that placing looks at. */
static void add_buffers(const Recompute *r, const Tape *tape, Plan *plan) {
    Buffers       *to = &plan->buffers;
    const Buffers *from = &r->plan->buffers;
    (void)table_add_many(&to->table, 2 * r->buffers - 1);
    for (uint32_t version = 2; version < 2 * r->buffers; version++) {
        uint32_t row = version / 2, copy = version % 2;
        to->value[version] = from->value[row];
        to->slot[version] = copy ? 0 : from->slot[row];
        to->offset[version] = to->over[version] = 0;
        to->bytes[version] = from->bytes[row];
        to->first[version] = tape->first[version] != 0 ? tape->first[version] : UINT32_MAX;
        to->last[version] = tape->last[version];
    }
    to->first[1] = UINT32_MAX;
    to->slot[1] = 0;
    to->bytes[1] = to->last[1] = to->over[1] = 0;
}

uint64_t recompute_place(const Recompute *r, const Tape *tape, Plan **out_plan) {
    const Launches *from = &r->plan->launches;
    Arena          *scratch = r->ctx->scratch;
    ArenaMark       mark = arena_mark(scratch);
    uint32_t        args = 1;
    for (uint32_t p = 1; p < tape->count; p++) args += from->args_count[tape->launch[p]];
    Plan *plan = open_plan(r, scratch, tape->count, args);
    add_buffers(r, tape, plan);
    for (uint32_t p = 1; p < tape->count; p++) {
        uint32_t launch = tape->launch[p], row = plan_add_launch(plan);
        uint32_t count = from->args_count[launch], operands = from->operands[launch];
        plan->launches.opcode[row] = from->opcode[launch];
        plan->launches.operands[row] = from->operands[launch];
        plan->launches.args_first[row] = table_add_many(&plan->args.table, count);
        plan->launches.args_count[row] = count;
        plan->launches.attrs[row] = from->attrs[launch];
        plan->launches.op[row] = from->op[launch];
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = plan->launches.args_first[row] + i,
                     buffer = launch_buffers(r->plan, launch)[i];
            bool copy = i < operands ? recompute_late(r, tape->at[p], buffer) : tape->again[p];
            plan->args.arg[at] = launch_args(r->plan, launch)[i];
            plan->args.buffer[at] = 2 * buffer + copy;
            if (i >= operands && copy) plan->args.arg[at].slot = 0;
        }
    }
    (void)memory_place(scratch, r->ctx->target, plan);
    uint64_t bytes = plan->arena_bytes;
    if (out_plan != NULL)
        *out_plan = plan;
    else
        arena_release(scratch, mark);
    return bytes;
}
