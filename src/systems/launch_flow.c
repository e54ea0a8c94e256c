/* Control flow as launches: nested blocks become ranges of the one list, with jumps between them
 * (plan.h). Rows of a block come before their operator, so an operator begins where its first
 * block does.
 *
 * What is carried has one buffer, that of the result: operands are passed into it, blocks read it,
 * what they return is passed into it again; memory.c leaves out the passes that it can. */
#include "systems/launch_inner.h"

static const Code *code_of(const Launching *l) { return &l->plan->world->code; }
static BlockId     nth_block(const Launching *l, OpId op, uint32_t i) {
        return (BlockId){code_of(l)->ops.blocks_first[op.row].row + i};
}
static ValueId block_arg(const Launching *l, BlockId block, uint32_t i) {
    return (ValueId){code_of(l)->blocks.args_first[block.row].row + i};
}
static uint32_t next_launch(const Launching *l) { return l->plan->launches.table.count; }

static uint32_t add_flow(Launching *l, OpId op, FlowKind kind) {
    uint32_t row =
        launch_begin(l, op, code_of(l)->ops.opcode[op.row], code_of(l)->ops.attrs[op.row]);
    l->plan->launches.flow[row] = (uint8_t)kind;
    l->plan->flows = true;
    return row;
}
/* op: the control operator for what it is given, the return for what a block gives. */
static void add_pass(Launching *l, OpId op, ValueId from, uint32_t buffer) {
    if (launch_type_arg(l, from)->bytes == 0) return;
    uint32_t row = launch_begin(l, op, OP_COPY, (AttrsId){0});
    l->plan->launches.flow[row] = FLOW_PASS;
    launch_operand(l, row, from);
    launch_result(l, row, from, buffer);
}
static uint32_t result_buffer(Launching *l, ValueId result) {
    uint32_t buffer = l->buffer_of[result.row]; /* results of the graph have one */
    return buffer != 0 ? buffer : launch_buffer(l, result, 0);
}

/* --- where operators begin -------------------------------------------------------------------- */
static void begin_branches(Launching *l, OpenFlow *o) {
    for (uint32_t i = 0; i < code_of(l)->ops.results_count[o->op.row]; i++)
        (void)result_buffer(l, op_result(code_of(l), o->op, i));
    if (code_of(l)->ops.blocks_count[o->op.row] < 2) return; /* a switch of one case */
    o->head = o->unless = add_flow(l, o->op, FLOW_UNLESS);
    launch_operand(l, o->head, op_operand(code_of(l), o->op, 0));
}
/* One buffer for an operand, the arguments of the blocks, and the result. */
static void begin_carry(Launching *l, OpId op, uint32_t i, uint32_t arg) {
    uint32_t buffer = result_buffer(l, op_result(code_of(l), op, i));
    for (uint32_t k = 0; k < code_of(l)->ops.blocks_count[op.row]; k++)
        l->buffer_of[block_arg(l, nth_block(l, op, k), arg).row] = buffer;
    add_pass(l, op, op_operand(code_of(l), op, i), buffer);
}
static void begin_while(Launching *l, OpenFlow *o) {
    for (uint32_t i = 0; i < code_of(l)->ops.operands_count[o->op.row]; i++)
        begin_carry(l, o->op, i, i);
    o->head = add_flow(l, o->op, FLOW_LOOP);
    o->label = next_launch(l);
}
static uint32_t scan_carries(const Launching *l, OpId op) {
    return (uint32_t)op_attrs(l->plan->world, code_of(l), op)[ATTR_SCAN_carries];
}
/* SCAN or NEXT: the scanned operands, then the stacked results. */
static uint32_t add_scan_launch(Launching *l, OpId op, FlowKind kind) {
    uint32_t carries = scan_carries(l, op), row = add_flow(l, op, kind);
    for (uint32_t i = carries; i < code_of(l)->ops.operands_count[op.row]; i++)
        launch_operand(l, row, op_operand(code_of(l), op, i));
    for (uint32_t i = carries; i < code_of(l)->ops.results_count[op.row]; i++) {
        ValueId y = op_result(code_of(l), op, i);
        launch_result(l, row, y, result_buffer(l, y));
    }
    return row;
}
static void begin_scan(Launching *l, OpenFlow *o) {
    const Code *code = code_of(l);
    Launches   *launches = &l->plan->launches;
    BlockId     body = nth_block(l, o->op, 0);
    uint32_t    carries = scan_carries(l, o->op), operands = code->ops.operands_count[o->op.row];
    for (uint32_t i = 0; i < carries; i++) begin_carry(l, o->op, i, i + 1);
    o->head = add_scan_launch(l, o->op, FLOW_SCAN);
    o->label = o->head + 1;
    uint32_t slot = launch_slot(l, SLOT_INDEX, 0, 8), arg = launches->args_first[o->head];
    launches->first_slot[o->head] = slot;
    (void)launch_buffer(l, block_arg(l, body, 0), slot);
    for (uint32_t i = carries; i < operands; i++) {
        ValueId row = block_arg(l, body, i + 1);
        (void)launch_buffer(l, row,
                            launch_slot(l, SLOT_ROW, arg++, launch_type_arg(l, row)->bytes));
    }
    for (uint32_t i = carries; i < code->ops.results_count[o->op.row]; i++) {
        ValueId  row = op_operand(code, block_return(code, body), i);
        uint32_t mine = l->buffer_of[row.row];
        uint32_t buffer =
            launch_buffer(l, row, launch_slot(l, SLOT_ROW, arg++, launch_type_arg(l, row)->bytes));
        l->buffer_of[row.row] = mine; /* it is passed there */
        if (i == carries) o->rows_first = buffer;
    }
}

void launch_flow_before(Launching *l, uint32_t row) {
    const Code *code = code_of(l);
    BlockId     begin[CODE_DEPTH_MAX];
    uint32_t    count = code_blocks_at(code, (OpId){row}, begin);
    for (uint32_t i = 0; i < count; i++) {
        OpId     op = code->blocks.parent[begin[i].row];
        uint32_t opcode = code->ops.opcode[op.row];
        bool     first = begin[i].row == code->ops.blocks_first[op.row].row;
        if (opcode == OP_FUSED || !first) continue;
        ASSERT(l->depth < CODE_DEPTH_MAX);
        OpenFlow *o = &l->open[l->depth++];
        *o = (OpenFlow){.op = op};
        if (opcode == OP_WHILE)
            begin_while(l, o);
        else if (opcode == OP_SCAN)
            begin_scan(l, o);
        else
            begin_branches(l, o);
    }
}

/* --- where blocks end ------------------------------------------------------------------------- */
static void return_branch(Launching *l, OpenFlow *o, OpId end, uint32_t nth) {
    const Code *code = code_of(l);
    Launches   *launches = &l->plan->launches;
    uint32_t    blocks = code->ops.blocks_count[o->op.row];
    for (uint32_t i = 0; i < code->ops.operands_count[end.row]; i++)
        add_pass(l, end, op_operand(code, end, i), l->buffer_of[op_result(code, o->op, i).row]);
    if (nth + 1 == blocks) return;
    uint32_t jump = add_flow(l, o->op, FLOW_JUMP);
    launches->target[jump] = o->jumps;
    o->jumps = jump;
    launches->target[o->unless] = next_launch(l);
    o->unless = 0;
    if (nth + 2 == blocks) return;
    o->unless = add_flow(l, o->op, FLOW_UNLESS);
    launches->which[o->unless] = (uint16_t)(nth + 1);
    launch_operand(l, o->unless, op_operand(code, o->op, 0));
}
/* What a block returns as it was given it stays where it is. */
static void carry_on(Launching *l, OpenFlow *o, OpId end, uint32_t count, uint32_t first_arg) {
    const Code *code = code_of(l);
    for (uint32_t i = 0; i < count; i++) {
        ValueId value = op_operand(code, end, i);
        ValueId arg = block_arg(l, code->ops.block[end.row], first_arg + i);
        if (!value_id_same(value, arg))
            add_pass(l, end, value, l->buffer_of[op_result(code, o->op, i).row]);
    }
}
static void return_while(Launching *l, OpenFlow *o, OpId end, uint32_t nth) {
    if (nth == 0) {
        o->unless = add_flow(l, o->op, FLOW_UNLESS);
        launch_operand(l, o->unless, op_operand(code_of(l), end, 0));
        return;
    }
    carry_on(l, o, end, code_of(l)->ops.operands_count[end.row], 0);
    uint32_t jump = add_flow(l, o->op, FLOW_JUMP);
    l->plan->launches.target[jump] = o->label;
}
static void return_scan(Launching *l, OpenFlow *o, OpId end) {
    const Code *code = code_of(l);
    Launches   *launches = &l->plan->launches;
    uint32_t    carries = scan_carries(l, o->op);
    carry_on(l, o, end, carries, 1);
    for (uint32_t i = carries; i < code->ops.operands_count[end.row]; i++)
        add_pass(l, end, op_operand(code, end, i), o->rows_first + i - carries);
    uint32_t next = add_scan_launch(l, o->op, FLOW_NEXT);
    launches->target[next] = o->label;
    launches->first_slot[next] = launches->first_slot[o->head];
}
void launch_flow_return(Launching *l, uint32_t row) {
    const Code *code = code_of(l);
    OpenFlow   *o = &l->open[l->depth - 1];
    uint32_t    nth = code->ops.block[row].row - code->ops.blocks_first[o->op.row].row;
    uint32_t    opcode = code->ops.opcode[o->op.row];
    ASSERT(l->depth > 0 && nth < code->ops.blocks_count[o->op.row]);
    if (opcode == OP_WHILE)
        return_while(l, o, (OpId){row}, nth);
    else if (opcode == OP_SCAN)
        return_scan(l, o, (OpId){row});
    else
        return_branch(l, o, (OpId){row}, nth);
}

void launch_flow_end(Launching *l, uint32_t row) {
    Launches *launches = &l->plan->launches;
    OpenFlow  o = l->open[--l->depth];
    uint32_t  end = next_launch(l);
    ASSERT(o.op.row == row);
    (void)row;
    if (o.unless != 0) launches->target[o.unless] = end;
    for (uint32_t jump = o.jumps, before; jump != 0; jump = before) {
        before = launches->target[jump];
        launches->target[jump] = end;
    }
    if (launches->flow[o.head] == FLOW_SCAN) launches->target[o.head] = end;
    if (o.head != 0) launches->end[o.head] = end;
}
