/* Rows are copied in order. Nested rows come before their operator: the first of them makes all
 * blocks of the operator, which is their parent, so that these are neighbours. Linear, times the
 * depth of blocks. */
#include "systems/clone.h"

Clone clone_begin(Build *build, const Code *from, Arena *scratch) {
    return (Clone){.build = build,
                   .from = from,
                   .map = ARENA_ARRAY_ZERO(scratch, ValueId, from->values.table.count),
                   .blocks = ARENA_ARRAY_ZERO(scratch, BlockId, from->blocks.table.count)};
}

ValueId clone_value(const Clone *clone, ValueId value) {
    ValueId mapped = clone->map[value.row];
    ASSERT(value_id_some(mapped) || clone->from == clone->build->code);
    return value_id_some(mapped) ? mapped : value;
}

static void make_blocks(Clone *clone, OpId carrier) {
    const Code *from = clone->from;
    Code       *code = clone->build->code;
    for (uint32_t i = 0; i < from->ops.blocks_count[carrier.row]; i++) {
        uint32_t old = from->ops.blocks_first[carrier.row].row + i;
        uint32_t args = from->blocks.args_count[old];
        BlockId  made = code_add_block(code, (OpId){0}, args);
        clone->blocks[old] = made;
        for (uint32_t k = 0; k < args; k++) {
            uint32_t a = from->blocks.args_first[old].row + k;
            uint32_t b = code->blocks.args_first[made.row].row + k;
            code->values.type[b] = from->values.type[a];
            code->values.name[b] = from->values.name[a];
            clone->map[a] = (ValueId){b};
        }
    }
}

/* home: the block whose rows go to the block of the builder. */
static OpId copy(Clone *clone, uint32_t row, BlockId home) {
    const Code *from = clone->from;
    Code       *code = clone->build->code;
    BlockId     block = from->ops.block[row];
    uint32_t    operands = from->ops.operands_count[row], results = from->ops.results_count[row];
    for (BlockId at = block; at.row != home.row;) { /* rows may use arguments of blocks around */
        OpId carrier = from->blocks.parent[at.row];
        if (!block_id_some(clone->blocks[at.row])) make_blocks(clone, carrier);
        at = from->ops.block[carrier.row];
    }
    uint32_t first = table_add_many(&code->operands.table, operands);
    for (uint32_t i = 0; i < operands; i++)
        code->operands.value[first + i] = clone_value(clone, op_operand(from, (OpId){row}, i));
    OpId made = code_add_op(
        code, block.row == home.row ? clone->build->block : clone->blocks[block.row],
        from->ops.opcode[row], NULL, 0, results, from->ops.attrs[row], from->ops.loc[row]);
    code->ops.operands_first[made.row] = first;
    code->ops.operands_count[made.row] = (uint16_t)operands;
    for (uint32_t i = 0; i < results; i++) {
        ValueId a = op_result(from, (OpId){row}, i), b = op_result(code, made, i);
        code->values.type[b.row] = from->values.type[a.row];
        clone->map[a.row] = b;
    }
    if (from->ops.blocks_count[row] != 0) {
        code->ops.blocks_first[made.row] = clone->blocks[from->ops.blocks_first[row].row];
        code->ops.blocks_count[made.row] = from->ops.blocks_count[row];
        code_close_blocks(code, made);
    }
    return made;
}

void clone_block_rows(Clone *clone, BlockId block) {
    uint32_t first = clone->from->blocks.op_first[block.row];
    uint32_t last = clone->from->blocks.op_last[block.row] - 1;
    for (uint32_t row = first; row < last; row++) {
        bool effect = (op_info(clone->from, (OpId){row})->flags & OP_EFFECT) != 0;
        if (!effect || !clone->pure) (void)copy(clone, row, block);
    }
}
void clone_over(Build *build, const Code *from, BlockId block, bool pure, const ValueId *args,
                Arena *scratch, ValueId *out) {
    Clone clone = clone_begin(build, from, scratch);
    OpId  end = block_return(from, block);
    clone.pure = pure;
    for (uint32_t i = 0; i < from->blocks.args_count[block.row]; i++)
        clone.map[from->blocks.args_first[block.row].row + i] = args[i];
    clone_block_rows(&clone, block);
    for (uint32_t i = 0; i < from->ops.operands_count[end.row]; i++)
        out[i] = clone_value(&clone, op_operand(from, end, i));
}
OpId clone_row(Clone *clone, OpId op) {
    const Code *from = clone->from;
    uint32_t    first = op.row;
    if (from->ops.blocks_count[op.row] != 0)
        first = from->blocks.op_first[from->ops.blocks_first[op.row].row];
    for (uint32_t row = first; row < op.row; row++) (void)copy(clone, row, from->ops.block[op.row]);
    return copy(clone, op.row, from->ops.block[op.row]);
}
