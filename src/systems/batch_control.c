/* Operators with blocks on a batch: the same operator over values of which some are batched.
 *
 * A batched condition needs more: of if and switch, all blocks are computed and each sample selects
 * its own; a while runs until it is over for all samples, and those that are done keep what they
 * carry. Rows with effects do not happen again (batch.c). */
#include "systems/batch.h"

static bool   is_full(const Batch *b, ValueId value) { return batch_level(b, value) == BATCH_FULL; }
static TypeId type_at(const Batch *b, ValueId value, bool full) {
    TypeId sample = build_type(b->build, value);
    return full ? batch_type(b->build->world, sample, b->size) : sample;
}
static uint32_t returned_count(const Code *code, BlockId block) {
    return code->ops.operands_count[block_return(code, block).row];
}

/* --- levels ----------------------------------------------------------------------------------- */
static uint32_t higher(uint32_t a, uint32_t b) { return a > b ? a : b; }
static bool     mark_branches(Batch *b, OpId op) {
        const Code *code = b->build->code;
        uint32_t    which = batch_level(b, op_operand(code, op, 0));
        bool        rose = false;
        for (uint32_t k = 0; k < code->ops.results_count[op.row]; k++) {
            uint32_t level = which;
            for (uint32_t i = 0; i < code->ops.blocks_count[op.row]; i++)
            level = higher(level, batch_level(b, flow_returned(code, flow_block(code, op, i), k)));
        rose |= batch_raise(b, op_result(code, op, k), level);
    }
        return rose;
}
static bool mark_while(Batch *b, OpId op) {
    const Code *code = b->build->code;
    BlockId     test = flow_block(code, op, 0), body = flow_block(code, op, 1);
    uint32_t    more = batch_level(b, flow_returned(code, test, 0));
    bool        rose = false;
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
        uint32_t level = higher(more, batch_level(b, op_operand(code, op, i)));
        level = higher(level, batch_level(b, flow_returned(code, body, i)));
        rose |= batch_raise(b, flow_block_arg(code, test, i), level);
        rose |= batch_raise(b, flow_block_arg(code, body, i), level);
        rose |= batch_raise(b, op_result(code, op, i), level);
    }
    return rose;
}
static bool mark_scan(Batch *b, OpId op) {
    const Code *code = b->build->code;
    BlockId     body = flow_block(code, op, 0);
    uint32_t    carries = (uint32_t)op_attrs(b->build->world, code, op)[ATTR_SCAN_carries];
    bool        rose = false;
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
        uint32_t level = batch_level(b, op_operand(code, op, i));
        if (i < carries) level = higher(level, batch_level(b, flow_returned(code, body, i)));
        rose |= batch_raise(b, flow_block_arg(code, body, i + 1), level);
    }
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
        ValueId from =
            i < carries ? flow_block_arg(code, body, i + 1) : flow_returned(code, body, i);
        rose |= batch_raise(b, op_result(code, op, i), batch_level(b, from));
    }
    return rose;
}

/* --- parts ------------------------------------------------------------------------------------ */
static void block_rows(Batch *b, BlockId block) {
    const Code *code = b->build->code;
    uint32_t    last = code->blocks.op_last[block.row] - 1;
    for (uint32_t row = code->blocks.op_first[block.row]; row < last; row++)
        if (code->ops.block[row].row == block.row) batch_row(b, (OpId){row});
}
/* Argument i of a block that is made, as argument `old` of the one that was. */
static void set_arg(Batch *b, FlowBuild *f, uint32_t block, uint32_t i, ValueId old) {
    TypeId type = type_at(b, old, is_full(b, old));
    batch_set(b, old, flow_type_arg(f, block, i, type), batch_level(b, old));
}
static void set_results(Batch *b, OpId op, OpId made) {
    const Code *code = b->build->code;
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
        ValueId y = op_result(code, op, i);
        batch_set(b, y, op_result(code, made, i), batch_level(b, y));
    }
}
/* which[B] selects along the first axis. */
static ValueId select_samples(Batch *b, ValueId which, ValueId on_true, ValueId on_false) {
    if (build_rank(b->build, on_true) != 1) which = build_along(b->build, which, on_true, 0);
    return build_select(b->build, which, on_true, on_false);
}

/* --- if, switch ------------------------------------------------------------------------------- */
static void branches_together(Batch *b, OpId op) { /* the condition is the same for all */
    const Code *code = b->build->code;
    uint32_t    blocks = code->ops.blocks_count[op.row], results = code->ops.results_count[op.row];
    uint32_t   *args = ARENA_ARRAY_ZERO(b->ctx->scratch, uint32_t, blocks);
    ValueId    *given = ARENA_ARRAY_ZERO(b->ctx->scratch, ValueId, results);
    TypeId     *types = ARENA_ARRAY_ZERO(b->ctx->scratch, TypeId, results);
    ValueId     which = batch_value(b, op_operand(code, op, 0));
    FlowBuild   f = flow_open(b->build, args, blocks);
    for (uint32_t i = 0; i < blocks && !b->failed; i++) {
        BlockId block = flow_block(code, op, i);
        flow_enter(&f, i);
        block_rows(b, block);
        for (uint32_t k = 0; k < results && !b->failed; k++) {
            bool full = is_full(b, op_result(code, op, k));
            given[k] = batch_at(b, flow_returned(code, block, k), full);
            types[k] = type_at(b, op_result(code, op, k), full);
        }
        flow_return(&f, given, results);
    }
    OpId made = flow_close(&f, (Opcode)code->ops.opcode[op.row], &which, 1,
                           op_attrs(b->build->world, code, op), types, results);
    set_results(b, op, made);
}
static void branches_apart(Batch *b, OpId op) { /* all blocks; each sample selects */
    const Code *code = b->build->code;
    uint32_t    blocks = code->ops.blocks_count[op.row], results = code->ops.results_count[op.row];
    ValueId    *chosen = ARENA_ARRAY(b->ctx->scratch, ValueId, results);
    ValueId     which = batch_value(b, op_operand(code, op, 0));
    bool        cases = code->ops.opcode[op.row] == OP_SWITCH;
    for (uint32_t i = blocks; i-- > 0 && !b->failed;) {
        BlockId block = flow_block(code, op, i);
        ValueId here = which; /* block i or one before it; the first that says so counts */
        if (cases)
            here = build_compare(b->build, COMPARE_LE, which, build_splat(b->build, which, i));
        block_rows(b, block);
        for (uint32_t k = 0; k < results && !b->failed; k++) {
            ValueId y = batch_at(b, flow_returned(code, block, k), true);
            chosen[k] = i + 1 == blocks ? y : select_samples(b, here, y, chosen[k]);
        }
    }
    for (uint32_t k = 0; k < results && !b->failed; k++)
        batch_set(b, op_result(code, op, k), chosen[k], BATCH_FULL);
}
static void batch_branches(Batch *b, OpId op) {
    if (is_full(b, op_operand(b->build->code, op, 0)))
        branches_apart(b, op);
    else
        branches_together(b, op);
}

/* --- while ------------------------------------------------------------------------------------ */
static ValueId test_again(Batch *b, BlockId test) {
    block_rows(b, test);
    return b->failed ? (ValueId){0} : batch_value(b, flow_returned(b->build->code, test, 0));
}
static void while_body(Batch *b, OpId op, FlowBuild *f, bool apart) {
    const Code *code = b->build->code;
    BlockId     test = flow_block(code, op, 0), body = flow_block(code, op, 1);
    uint32_t    count = code->ops.operands_count[op.row];
    ValueId    *next = ARENA_ARRAY_ZERO(b->ctx->scratch, ValueId, count), more = {0};
    flow_enter(f, 1);
    if (apart) {
        for (uint32_t i = 0; i < count; i++)
            batch_set(b, flow_block_arg(code, test, i), flow_arg(f, 1, i), BATCH_FULL);
        more = test_again(b, test);
    }
    block_rows(b, body);
    for (uint32_t i = 0; i < count && !b->failed; i++) {
        ValueId arg = flow_block_arg(code, body, i);
        next[i] = batch_at(b, flow_returned(code, body, i), is_full(b, arg));
        if (apart) next[i] = select_samples(b, more, next[i], flow_arg(f, 1, i));
    }
    flow_return(f, next, count);
}
static void batch_while(Batch *b, OpId op) {
    const Code *code = b->build->code;
    BlockId     test = flow_block(code, op, 0), body = flow_block(code, op, 1);
    uint32_t    count = code->ops.operands_count[op.row], args[2] = {count, count};
    bool        apart = is_full(b, flow_returned(code, test, 0));
    ValueId    *operands = ARENA_ARRAY(b->ctx->scratch, ValueId, count);
    TypeId     *types = ARENA_ARRAY_ZERO(b->ctx->scratch, TypeId, count);
    int64_t     axis = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool full = is_full(b, flow_block_arg(code, body, i));
        operands[i] = batch_at(b, op_operand(code, op, i), full);
        types[i] = type_at(b, flow_block_arg(code, body, i), full);
    }
    FlowBuild f = flow_open(b->build, args, 2);
    for (uint32_t i = 0; i < count; i++) {
        set_arg(b, &f, 0, i, flow_block_arg(code, test, i));
        set_arg(b, &f, 1, i, flow_block_arg(code, body, i));
    }
    flow_enter(&f, 0);
    ValueId more = test_again(b, test);
    if (apart && !b->failed) more = build_reduce(b->build, REDUCE_OR, more, &axis, 1);
    flow_return(&f, &more, 1);
    while_body(b, op, &f, apart);
    OpId made = flow_close(&f, OP_WHILE, operands, count, op_attrs(b->build->world, code, op),
                           types, count);
    set_results(b, op, made);
}

/* --- scan ------------------------------------------------------------------------------------- */
/* The scanned axis stays the first outside of the block; in it, samples come first. */
static void batch_scan(Batch *b, OpId op) {
    World      *world = b->build->world;
    const Code *code = b->build->code;
    BlockId     body = flow_block(code, op, 0);
    uint32_t    count = code->ops.operands_count[op.row], args = count + 1;
    uint32_t    results = code->ops.results_count[op.row];
    DimId       length = flow_scan_length(world, code, op);
    uint64_t    words[ATTRS_MAX];
    ValueId    *operands = ARENA_ARRAY(b->ctx->scratch, ValueId, count);
    ValueId    *given = ARENA_ARRAY_ZERO(b->ctx->scratch, ValueId, results);
    TypeId     *types = ARENA_ARRAY_ZERO(b->ctx->scratch, TypeId, results);
    memcpy(words, op_attrs(world, code, op), sizeof *words * op_info(code, op)->attrs_count);
    uint32_t carries = (uint32_t)words[ATTR_SCAN_carries];
    words[ATTR_SCAN_length] = length.row;
    for (uint32_t i = 0; i < count; i++) {
        bool full = is_full(b, flow_block_arg(code, body, i + 1));
        operands[i] = batch_at(b, op_operand(code, op, i), full);
        if (full && i >= carries) operands[i] = batch_move_axis(b->build, operands[i], 0, 1);
    }
    FlowBuild f = flow_open(b->build, &args, 1);
    for (uint32_t i = 0; i < args; i++) set_arg(b, &f, 0, i, flow_block_arg(code, body, i));
    flow_enter(&f, 0);
    block_rows(b, body);
    for (uint32_t i = 0; i < results && !b->failed; i++) {
        bool full = is_full(b, op_result(code, op, i));
        given[i] = batch_at(b, flow_returned(code, body, i), full);
        types[i] = build_type(b->build, given[i]);
        if (i >= carries) types[i] = flow_stacked(world, types[i], length);
    }
    flow_return(&f, given, returned_count(code, body));
    OpId made = flow_close(&f, OP_SCAN, operands, count, words, types, results);
    set_results(b, op, made);
    for (uint32_t i = carries; i < results && !b->failed; i++) {
        ValueId y = op_result(code, op, i);
        if (is_full(b, y))
            batch_set(b, y, batch_move_axis(b->build, op_result(code, made, i), 1, 0), BATCH_FULL);
    }
}

/* --- all of it -------------------------------------------------------------------------------- */
bool batch_mark_control(Batch *b, OpId op) {
    Opcode opcode = (Opcode)b->build->code->ops.opcode[op.row];
    if (opcode == OP_WHILE) return mark_while(b, op);
    return opcode == OP_SCAN ? mark_scan(b, op) : mark_branches(b, op);
}
/* Values of blocks and results take an axis each. */
static bool fits(const Batch *b, OpId op) {
    const Code *code = b->build->code;
    bool        good = true;
    for (uint32_t i = 0; i < code->ops.blocks_count[op.row]; i++) {
        BlockId block = flow_block(code, op, i);
        for (uint32_t k = 0; k < code->blocks.args_count[block.row]; k++)
            good &= build_rank(b->build, flow_block_arg(code, block, k)) < SHAPE_RANK_MAX;
    }
    for (uint32_t k = 0; k < code->ops.results_count[op.row]; k++)
        good &= build_rank(b->build, op_result(code, op, k)) < SHAPE_RANK_MAX;
    return good;
}
void batch_control(Batch *b, OpId op) {
    Opcode opcode = (Opcode)b->build->code->ops.opcode[op.row];
    if (!fits(b, op))
        batch_refuse(b, op, "its rank is 8 already, and samples take an axis");
    else if (opcode == OP_WHILE)
        batch_while(b, op);
    else if (opcode == OP_SCAN)
        batch_scan(b, op);
    else
        batch_branches(b, op);
}
