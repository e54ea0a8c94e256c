/* Tapes: which launches run, in which order, when some run twice; what is alive meanwhile; and the
 * plan of it. A search asks for hundreds of tapes, so the arrays are made once, and what is alive
 * is summed up without placing anything: that differs from the planned arena only by gaps between
 * buffers. */
#include "systems/recompute_inner.h"

Tape recompute_tape(const Recompute *r, Arena *out) {
    Tape     tape = {0};
    uint32_t most = 2 * r->launches + (r->link_us != 0 ? 4 * r->buffers : 0) + 1;
    tape.launch = ARENA_ARRAY_ZERO(out, uint32_t, most);
    tape.at = ARENA_ARRAY_ZERO(out, uint32_t, most);
    tape.buffer = ARENA_ARRAY_ZERO(out, uint32_t, most);
    tape.kind = ARENA_ARRAY_ZERO(out, uint8_t, most);
    tape.start = ARENA_ARRAY_ZERO(out, double, most);
    tape.first = ARENA_ARRAY_ZERO(out, uint32_t, 3 * r->buffers);
    tape.last = ARENA_ARRAY_ZERO(out, uint32_t, 3 * r->buffers);
    tape.live = ARENA_ARRAY_ZERO(out, uint64_t, most);
    tape.stack =
        ARENA_ARRAY(out, uint32_t, r->plan->args.table.count + r->launches + 4 * r->buffers);
    tape.done = ARENA_ARRAY_ZERO(out, uint32_t, r->launches);
    tape.passed = ARENA_ARRAY_ZERO(out, uint8_t, 2 * r->buffers);
    tape.dropped = ARENA_ARRAY_ZERO(out, bool, r->launches);
    tape.wanted = ARENA_ARRAY_ZERO(out, bool, 2 * r->buffers);
    if (r->link_us == 0) return tape;
    tape.copies = ARENA_ARRAY_ZERO(out, LinkCopy, r->buffers);
    tape.copy_of = ARENA_ARRAY_ZERO(out, uint32_t, r->buffers);
    tape.extras = ARENA_ARRAY_ZERO(out, uint32_t, most);
    return tape;
}

/* --- order ------------------------------------------------------------------------------------ */
static void add_position(Tape *tape, uint32_t launch, uint32_t at, TapeKind kind) {
    uint32_t position = tape->count++;
    tape->launch[position] = launch;
    tape->at[position] = at;
    tape->kind[position] = (uint8_t)kind;
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
            if (recompute_late(r, at, used[i]) && !r->copied[maker] &&
                tape->done[maker] != tape->stamp)
                tape->stack[depth++] = maker;
        }
        if (depth != before) continue;
        depth--;
        if (top == launch || tape->done[top] == tape->stamp) continue;
        tape->done[top] = tape->stamp;
        add_position(tape, top, at, TAPE_AGAIN);
    }
}

static void run_lives(const Recompute *r, Tape *tape, uint32_t position) {
    uint32_t        launch = tape->launch[position], operands = r->plan->launches.operands[launch];
    const uint32_t *used = launch_buffers(r->plan, launch);
    for (uint32_t i = 0; i < operands; i++)
        tape->last[2 * used[i] + recompute_late(r, tape->at[position], used[i])] = position;
    for (uint32_t i = operands; i < r->plan->launches.args_count[launch]; i++) {
        uint32_t version = 2 * used[i] + (tape->kind[position] == TAPE_AGAIN);
        if (tape->first[version] == 0) tape->first[version] = position;
        if (tape->last[version] == 0) tape->last[version] = position; /* as launch does */
    }
}
static void find_lives(const Recompute *r, Tape *tape) {
    memset(tape->first, 0, 3 * r->buffers * sizeof *tape->first);
    memset(tape->last, 0, 3 * r->buffers * sizeof *tape->last);
    for (uint32_t p = 1; p < tape->count; p++) {
        uint32_t buffer = tape->buffer[p], host = recompute_host(r, buffer);
        switch ((TapeKind)tape->kind[p]) {
        case TAPE_RUN:
        case TAPE_AGAIN: run_lives(r, tape, p); break;
        case TAPE_OUT: tape->first[host] = p; break;
        case TAPE_OUT_END: tape->last[2 * buffer] = p; break;
        case TAPE_BACK: tape->first[2 * buffer + 1] = p; break;
        case TAPE_BACK_END: tape->last[2 * buffer + 1] = tape->last[host] = p; break;
        }
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
        tape->passed[2 * used[i] + (tape->kind[position] == TAPE_AGAIN)] |= 1;
        tape->passed[theirs] |= 2;
    }
}
static void sum_live(const Recompute *r, Tape *tape) {
    memset(tape->live, 0, (tape->count + 1) * sizeof *tape->live);
    memset(tape->passed, 0, 2 * r->buffers);
    for (uint32_t position = 1; position < tape->count; position++)
        if (tape->kind[position] <= TAPE_AGAIN) find_passed(r, tape, position);
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
    tape->count = 1;
    tape->stamp++;
    for (uint32_t launch = 1; launch < r->launches; launch++) {
        if (tape->dropped[launch]) continue;
        add_needed(r, tape, launch, launch);
        add_position(tape, launch, launch, TAPE_RUN);
    }
    if (r->link_us != 0) recompute_add_copies(r, tape);
    find_lives(r, tape);
}
/* Drops first runs that nobody reads any more, from the last to the first; false if there are
 * none. */
static bool drop_unread(const Recompute *r, Tape *tape) {
    bool some = false;
    memset(tape->wanted, 0, 2 * r->buffers);
    for (uint32_t p = tape->count; p-- > 1;) {
        uint32_t        launch = tape->launch[p], operands = r->plan->launches.operands[launch];
        const uint32_t *used = launch_buffers(r->plan, launch);
        bool            wanted = r->split[launch] == 0, again = tape->kind[p] == TAPE_AGAIN;
        if (tape->kind[p] == TAPE_OUT) /* what came back is read: what is sent is */
            tape->wanted[2 * tape->buffer[p]] |= tape->wanted[2 * tape->buffer[p] + 1];
        if (tape->kind[p] > TAPE_AGAIN) continue;
        for (uint32_t i = operands; i < r->plan->launches.args_count[launch]; i++)
            wanted |= tape->wanted[2 * used[i] + again] || (!again && r->maker[used[i]] == 0);
        if (!wanted) {
            tape->dropped[launch] |= !again;
            some |= !again;
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
    table_open_in(&plan->slots.table, from->slots.table.info, from->slots.table.count + 1, scratch);
    table_open_in(&plan->launches.table, from->launches.table.info, launches, scratch);
    table_open_in(&plan->args.table, from->args.table.info, args, scratch);
    table_open_in(&plan->buffers.table, from->buffers.table.info, 3 * r->buffers, scratch);
    table_copy(&plan->slots.table, &from->slots.table);
    plan->host = table_add(&plan->slots.table);
    plan->slots.kind[plan->host] = SLOT_HOST;
    return plan;
}

/* Rows of buffers are the versions: their order is nothing that placing looks at. */
static void add_buffers(const Recompute *r, const Tape *tape, Plan *plan) {
    Buffers       *to = &plan->buffers;
    const Buffers *from = &r->plan->buffers;
    (void)table_add_many(&to->table, 3 * r->buffers - 1);
    for (uint32_t version = 1; version < 3 * r->buffers; version++) {
        bool     host = version >= 2 * r->buffers;
        uint32_t row = host ? version - 2 * r->buffers : version / 2, copy = version % 2;
        to->value[version] = from->value[row];
        to->slot[version] = host ? plan->host : copy ? 0 : from->slot[row];
        to->offset[version] = to->over[version] = 0;
        to->bytes[version] = row != 0 ? from->bytes[row] : 0;
        to->first[version] =
            row != 0 && tape->first[version] != 0 ? tape->first[version] : UINT32_MAX;
        to->last[version] = row != 0 ? tape->last[version] : 0;
    }
}

/* The versions that a position reads and then writes, at most LIST_MAX; operands to out. */
static uint32_t versions_at(const Recompute *r, const Tape *tape, uint32_t p, uint32_t *versions,
                            uint32_t *out_operands) {
    uint32_t        launch = tape->launch[p], buffer = tape->buffer[p], count;
    uint32_t        host = recompute_host(r, buffer), back = 2 * buffer + 1;
    const uint32_t *used = launch_buffers(r->plan, launch);
    bool            again = tape->kind[p] == TAPE_AGAIN;
    *out_operands = 1;
    switch ((TapeKind)tape->kind[p]) {
    case TAPE_OUT: versions[0] = 2 * buffer, versions[1] = host; return 2;
    case TAPE_BACK: versions[0] = host, versions[1] = back; return 2;
    case TAPE_OUT_END: versions[0] = host, versions[1] = 2 * buffer; break;
    case TAPE_BACK_END: versions[0] = back, versions[1] = host; break;
    case TAPE_RUN:
    case TAPE_AGAIN:
        count = r->plan->launches.args_count[launch];
        *out_operands = r->plan->launches.operands[launch];
        for (uint32_t i = 0; i < count; i++)
            versions[i] =
                2 * used[i] + (i < *out_operands ? recompute_late(r, tape->at[p], used[i]) : again);
        return count;
    }
    *out_operands = 2;
    return 2;
}

static const uint16_t copy_opcodes[] = {[TAPE_OUT] = OP_COPY_OUT,
                                        [TAPE_OUT_END] = OP_AWAIT,
                                        [TAPE_BACK] = OP_COPY_BACK,
                                        [TAPE_BACK_END] = OP_AWAIT};

static void add_launch(const Recompute *r, const Tape *tape, uint32_t p, Plan *plan) {
    const Launches *from = &r->plan->launches;
    uint32_t        launch = tape->launch[p], row = plan_add_launch(plan), operands;
    bool            runs = tape->kind[p] <= TAPE_AGAIN;
    uint32_t       *versions = plan->args.buffer + plan->args.table.count;
    uint32_t        count = versions_at(r, tape, p, versions, &operands);
    uint32_t        first = table_add_many(&plan->args.table, count);
    plan->launches.opcode[row] = runs ? from->opcode[launch] : copy_opcodes[tape->kind[p]];
    plan->launches.operands[row] = (uint16_t)operands;
    plan->launches.args_first[row] = first;
    plan->launches.args_count[row] = count;
    plan->launches.attrs[row] = from->attrs[launch];
    plan->launches.op[row] = from->op[launch];
    for (uint32_t i = 0; i < count; i++) { /* of copies only the slot is looked at */
        plan->args.arg[first + i] = launch_args(r->plan, launch)[runs ? i : 0];
        if (!runs || (i >= operands && tape->kind[p] == TAPE_AGAIN))
            plan->args.arg[first + i].slot = plan->buffers.slot[versions[i]];
    }
}

uint64_t recompute_place(const Recompute *r, const Tape *tape, Plan **out_plan) {
    Arena    *scratch = r->ctx->scratch;
    ArenaMark mark = arena_mark(scratch);
    uint32_t  args = 1;
    for (uint32_t p = 1; p < tape->count; p++)
        args += tape->kind[p] > TAPE_AGAIN ? 2 : r->plan->launches.args_count[tape->launch[p]];
    Plan *plan = open_plan(r, scratch, tape->count, args);
    add_buffers(r, tape, plan);
    for (uint32_t p = 1; p < tape->count; p++) add_launch(r, tape, p, plan);
    (void)memory_place(scratch, r->ctx->target, plan);
    uint64_t bytes = plan->arena_bytes;
    if (out_plan != NULL)
        *out_plan = plan;
    else
        arena_release(scratch, mark);
    return bytes;
}
