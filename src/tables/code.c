/* Program rows: opening, copying and appending. Nothing here knows what an operator means; the
 * schema does.
 *
 * Row widths are pinned by assertions: a growing hot row is a failing build. */
#include "tables/code.h"

#define TABLE_SELF_ Ops
TABLE_INFO(Ops, ops_info, "ops", OPS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Operands
TABLE_INFO(Operands, operands_info, "operands", OPERANDS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Values
TABLE_INFO(Values, values_info, "values", VALUES_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Blocks
TABLE_INFO(Blocks, blocks_info, "blocks", BLOCKS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Graphs
TABLE_INFO(Graphs, graphs_info, "graphs", GRAPHS_COLUMNS);
#undef TABLE_SELF_

static_assert(0 OPS_COLUMNS(TABLE_WIDTH_) <= 32, "an operator row is at most 32 bytes");
static_assert(0 VALUES_COLUMNS(TABLE_WIDTH_) <= 12, "a value row is at most 12 bytes");

void code_open(Code *code, uint32_t ops_max, Budget *budget) {
    memset(code, 0, sizeof *code);
    uint32_t blocks_max = ops_max / 4 + 64;
    table_open(&code->ops.table, &ops_info, ops_max, budget);
    table_open(&code->operands.table, &operands_info, ops_max * 4, budget);
    table_open(&code->values.table, &values_info, ops_max * 2, budget);
    table_open(&code->blocks.table, &blocks_info, blocks_max, budget);
    table_open(&code->graphs.table, &graphs_info, 1 << 16, budget);
}

Table *code_table(Code *code, uint32_t index) {
    Table *tables[] = {&code->ops.table, &code->operands.table, &code->values.table,
                       &code->blocks.table, &code->graphs.table};
    return index < LENGTH(tables) ? tables[index] : NULL;
}

void code_close(Code *code) {
    for (uint32_t i = 0; code_table(code, i) != NULL; i++) table_close(code_table(code, i));
}
void code_clear(Code *code) {
    for (uint32_t i = 0; code_table(code, i) != NULL; i++) table_clear(code_table(code, i));
}
void code_copy(Code *into, const Code *from) {
    Code *source = (Code *)(uintptr_t)from; /* only read */
    for (uint32_t i = 0; code_table(into, i) != NULL; i++)
        table_copy(code_table(into, i), code_table(source, i));
    into->generation = from->generation;
}

static ValueId add_values(Code *code, uint32_t count, uint32_t def) {
    uint32_t first = table_add_many(&code->values.table, count);
    for (uint32_t row = first; row < first + count; row++) {
        code->values.type[row] = (TypeId){0};
        code->values.def[row] = def;
        code->values.name[row] = (StrId){0};
    }
    return (ValueId){first};
}

OpId code_add_op(Code *code, BlockId block, uint16_t opcode, const ValueId *operands,
                 uint32_t operands_count, uint32_t results_count, AttrsId attrs, LocId loc) {
    ASSERT(operands_count <= UINT16_MAX && results_count <= UINT16_MAX);
    uint32_t first = table_add_many(&code->operands.table, operands_count);
    for (uint32_t i = 0; i < operands_count; i++) code->operands.value[first + i] = operands[i];
    Ops     *ops = &code->ops;
    uint32_t row = table_add(&ops->table);
    ops->opcode[row] = opcode;
    ops->operands_count[row] = (uint16_t)operands_count;
    ops->operands_first[row] = first;
    ops->results_first[row] = add_values(code, results_count, row);
    ops->attrs[row] = attrs;
    ops->block[row] = block;
    ops->results_count[row] = (uint16_t)results_count;
    ops->blocks_count[row] = 0;
    ops->blocks_first[row] = (BlockId){0};
    ops->loc[row] = loc;
    return (OpId){row};
}

BlockId code_add_block(Code *code, OpId parent, uint32_t args_count) {
    Blocks  *blocks = &code->blocks;
    uint32_t row = table_add(&blocks->table);
    blocks->op_first[row] = blocks->op_last[row] = code->ops.table.count;
    blocks->args_first[row] = add_values(code, args_count, VALUE_IS_ARG | row);
    blocks->args_count[row] = args_count;
    blocks->parent[row] = parent;
    return (BlockId){row};
}

/* Backwards over the rows of each block; carriers among them say where theirs begin. */
void code_close_blocks(Code *code, OpId op) {
    Blocks  *blocks = &code->blocks;
    uint32_t last = op.row;
    for (uint32_t i = code->ops.blocks_count[op.row]; i-- > 0;) {
        uint32_t block = code->ops.blocks_first[op.row].row + i, first = last;
        while (first > 1 && code->ops.block[first - 1].row == block) {
            first--;
            if (code->ops.blocks_count[first] != 0)
                first = blocks->op_first[code->ops.blocks_first[first].row];
        }
        blocks->parent[block] = op;
        blocks->op_first[block] = first;
        blocks->op_last[block] = last;
        last = first;
    }
}

uint32_t code_blocks_at(const Code *code, OpId op, BlockId *out_blocks) {
    const Blocks *blocks = &code->blocks;
    BlockId       block = code->ops.block[op.row];
    uint32_t      count = 0;
    for (; op_id_some(blocks->parent[block.row]) && blocks->op_first[block.row] == op.row &&
           count < CODE_DEPTH_MAX;
         block = code->ops.block[blocks->parent[block.row].row])
        out_blocks[count++] = block;
    for (uint32_t i = 0; i < count / 2; i++) {
        BlockId swap = out_blocks[i];
        out_blocks[i] = out_blocks[count - 1 - i];
        out_blocks[count - 1 - i] = swap;
    }
    return count;
}

bool code_visible(const Code *code, BlockId from, BlockId at) {
    while (at.row != from.row) {
        OpId parent = code->blocks.parent[at.row];
        if (!op_id_some(parent)) return false;
        at = code->ops.block[parent.row];
    }
    return true;
}

GraphId code_add_graph(Code *code, StrId name, BlockId block) {
    uint32_t row = table_add(&code->graphs.table);
    code->graphs.name[row] = name;
    code->graphs.block[row] = block;
    return (GraphId){row};
}

GraphId code_find_graph(const Code *code, StrId name) {
    for (uint32_t row = 1; row < code->graphs.table.count; row++)
        if (code->graphs.name[row].row == name.row) return (GraphId){row};
    return (GraphId){0};
}
