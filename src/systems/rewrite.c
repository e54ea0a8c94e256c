/* The mechanics of append-and-remap. Copying a row is column stores only; block ranges are
 * recomputed in one sweep at the end, so a system never maintains them.
 *
 * Memory for the old size is committed at once, which keeps growth out of the loop. */
#include "systems/rewrite.h"

#include <string.h>

enum { RUN_MIN = 6 }; /* rows from which on copying by columns pays */

/* Arguments of an old block that are carried over. */
static uint32_t count_args(const Code *old, uint32_t block, const uint8_t *drops) {
    uint32_t count = old->blocks.args_count[block];
    for (uint32_t i = 0; drops != NULL && i < old->blocks.args_count[block]; i++)
        count -= drops[old->blocks.args_first[block].row + i];
    return count;
}
Rewrite rewrite_begin(World *world, Arena *scratch) {
    return rewrite_begin_without(world, scratch, NULL);
}
Rewrite rewrite_begin_without(World *world, Arena *scratch, const uint8_t *drops) {
    Rewrite     rw = {.world = world, .old = &world->code};
    const Code *old = rw.old;
    Code       *code = &world->spare;
    rw.build = (Build){.world = world, .code = code};
    code_clear(code);
    rw.map = ARENA_ARRAY_ZERO(scratch, ValueId, old->values.table.count);
    rw.into = ARENA_ARRAY(scratch, BlockId, old->blocks.table.count);
    for (uint32_t row = 0; row < old->blocks.table.count; row++) rw.into[row] = (BlockId){row};
    /* Committing for the old size at once keeps growth out of the loop. */
    table_grow(&code->ops.table, old->ops.table.count);
    table_grow(&code->values.table, old->values.table.count);
    table_grow(&code->operands.table, old->operands.table.count);
    for (uint32_t row = 1; row < old->blocks.table.count; row++) {
        BlockId  block = code_add_block(code, (OpId){0}, count_args(old, row, drops));
        uint32_t to = code->blocks.args_first[block.row].row;
        ASSERT(block.row == row);
        for (uint32_t i = 0; i < old->blocks.args_count[row]; i++) {
            uint32_t from = old->blocks.args_first[row].row + i;
            if (drops != NULL && drops[from]) continue;
            code->values.type[to] = old->values.type[from];
            code->values.name[to] = old->values.name[from];
            rw.map[from] = (ValueId){to++};
        }
    }
    for (uint32_t row = 1; row < old->graphs.table.count; row++)
        (void)code_add_graph(code, old->graphs.name[row], old->graphs.block[row]);
    return rw;
}

/* Everything but the operands, whose first row it returns: column stores, no defaults in
 * between. */
static uint32_t copy_row(Rewrite *rw, uint32_t row, OpId *out_copy) {
    const Code *old = rw->old;
    Code       *code = rw->build.code;
    uint32_t    results = old->ops.results_count[row], from = old->ops.results_first[row].row;
    uint32_t    operands = table_add_many(&code->operands.table, old->ops.operands_count[row]);
    uint32_t to = table_add_many(&code->values.table, results), copy = table_add(&code->ops.table);
    code->ops.opcode[copy] = old->ops.opcode[row];
    code->ops.operands_count[copy] = old->ops.operands_count[row];
    code->ops.operands_first[copy] = operands;
    code->ops.results_first[copy] = (ValueId){to};
    code->ops.attrs[copy] = old->ops.attrs[row];
    code->ops.block[copy] = rw->into[old->ops.block[row].row];
    code->ops.results_count[copy] = (uint16_t)results;
    code->ops.blocks_count[copy] = old->ops.blocks_count[row];
    code->ops.blocks_first[copy] = old->ops.blocks_first[row];
    code->ops.loc[copy] = old->ops.loc[row];
    for (uint32_t i = 0; i < results; i++) {
        code->values.type[to + i] = old->values.type[from + i];
        code->values.def[to + i] = copy;
        code->values.name[to + i] = old->values.name[from + i];
        rw->map[from + i] = (ValueId){to + i};
    }
    if (old->ops.blocks_count[row] != 0) code_close_blocks(code, (OpId){copy});
    *out_copy = (OpId){copy};
    return operands;
}

OpId rewrite_copy_with(Rewrite *rw, OpId op, const ValueId *operands) {
    OpId     copy;
    ValueId *to = rw->build.code->operands.value + copy_row(rw, op.row, &copy);
    for (uint32_t i = 0; i < rw->old->ops.operands_count[op.row]; i++) to[i] = operands[i];
    return copy;
}

OpId rewrite_copy(Rewrite *rw, OpId op) {
    OpId           copy;
    const ValueId *from = op_operands(rw->old, op);
    ValueId       *to = rw->build.code->operands.value + copy_row(rw, op.row, &copy);
    for (uint32_t i = 0; i < rw->old->ops.operands_count[op.row]; i++) to[i] = rw->map[from[i].row];
    return copy;
}

/* The block of a kernel anew: its rows see their own arguments. */
static BlockId copy_block(Rewrite *rw, BlockId from) {
    const Code *old = rw->old;
    Code       *code = rw->build.code;
    uint32_t    first = old->blocks.args_first[from.row].row;
    BlockId     block = code_add_block(code, (OpId){0}, old->blocks.args_count[from.row]);
    for (uint32_t i = 0; i < old->blocks.args_count[from.row]; i++) {
        ValueId arg = {code->blocks.args_first[block.row].row + i};
        code->values.type[arg.row] = old->values.type[first + i];
        code->values.name[arg.row] = old->values.name[first + i];
        rw->map[first + i] = arg;
    }
    for (uint32_t row = old->blocks.op_first[from.row]; row < old->blocks.op_last[from.row];
         row++) {
        ASSERT(old->ops.blocks_count[row] == 0);
        code->ops.block[rewrite_copy(rw, (OpId){row}).row] = block;
    }
    return block;
}
OpId rewrite_again(Rewrite *rw, OpId op, const ValueId *operands) {
    const Code *old = rw->old;
    Code       *code = rw->build.code;
    uint32_t results = old->ops.results_count[op.row], first = old->ops.results_first[op.row].row;
    BlockId  from = old->ops.blocks_first[op.row], block = {0};
    OpId     parent = {0}, copy;
    ASSERT(old->ops.blocks_count[op.row] <= 1);
    if (old->ops.blocks_count[op.row] != 0) {
        block = copy_block(rw, from);
        parent = code->blocks.parent[from.row];
    }
    ValueId  kept = results != 0 ? rw->map[first] : (ValueId){0};
    ValueId *to = code->operands.value + copy_row(rw, op.row, &copy);
    for (uint32_t i = 0; i < old->ops.operands_count[op.row]; i++) to[i] = operands[i];
    for (uint32_t i = 0; i < results; i++) rw->map[first + i] = (ValueId){kept.row + i};
    if (!block_id_some(block)) return copy;
    code->blocks.parent[from.row] = parent;
    code->blocks.parent[block.row] = copy;
    code->ops.blocks_first[copy.row] = block;
    return copy;
}

/* How many of the rows from `row` on carry no blocks and have operands and results without gaps
 * between rows, as rows that were appended one after the other do. */
static uint32_t run_length(const Ops *ops, uint32_t row, uint32_t last) {
    uint32_t first = row;
    for (; row < last && ops->blocks_count[row] == 0; row++) {
        uint32_t operands = ops->operands_first[row] + ops->operands_count[row];
        uint32_t results = ops->results_first[row].row + ops->results_count[row];
        if (row + 1 == last) return last - first;
        if (ops->operands_first[row + 1] != operands || ops->results_first[row + 1].row != results)
            return row + 1 - first;
    }
    return row - first;
}
/* Copies a run column by column: a fifth of the time of as many single copies. */
static void copy_run(Rewrite *rw, uint32_t row, uint32_t count) {
    const Code *old = rw->old;
    Code       *code = rw->build.code;
    uint32_t    last = row + count - 1, copy = table_add_many(&code->ops.table, count);
    uint32_t    operands = old->ops.operands_first[row], values = old->ops.results_first[row].row;
    uint32_t    operands_count =
        old->ops.operands_first[last] + old->ops.operands_count[last] - operands;
    uint32_t values_count =
        old->ops.results_first[last].row + old->ops.results_count[last] - values;
    uint32_t to_operands = table_add_many(&code->operands.table, operands_count);
    uint32_t to_values = table_add_many(&code->values.table, values_count);
#define COPY_ROWS(table, column, to, from, rows)                                                   \
    memcpy(code->table.column + (to), old->table.column + (from),                                  \
           (rows) * sizeof *code->table.column)
    COPY_ROWS(ops, opcode, copy, row, count);
    COPY_ROWS(ops, operands_count, copy, row, count);
    COPY_ROWS(ops, attrs, copy, row, count);
    COPY_ROWS(ops, block, copy, row, count);
    COPY_ROWS(ops, results_count, copy, row, count);
    COPY_ROWS(ops, blocks_count, copy, row, count);
    COPY_ROWS(ops, blocks_first, copy, row, count);
    COPY_ROWS(ops, loc, copy, row, count);
    COPY_ROWS(values, type, to_values, values, values_count);
    COPY_ROWS(values, name, to_values, values, values_count);
#undef COPY_ROWS
    for (uint32_t i = 0; i < count && rw->moves; i++)
        code->ops.block[copy + i] = rw->into[old->ops.block[row + i].row];
    for (uint32_t i = 0; i < count; i++) {
        code->ops.operands_first[copy + i] =
            old->ops.operands_first[row + i] - operands + to_operands;
        code->ops.results_first[copy + i].row =
            old->ops.results_first[row + i].row - values + to_values;
    }
    for (uint32_t i = 0; i < values_count; i++) {
        code->values.def[to_values + i] = old->values.def[values + i] - row + copy;
        rw->map[values + i] = (ValueId){to_values + i};
    }
    for (uint32_t i = 0; i < operands_count; i++)
        code->operands.value[to_operands + i] = rw->map[old->operands.value[operands + i].row];
}

void rewrite_copy_rows(Rewrite *rw, OpId first, OpId last) {
    for (uint32_t row = first.row; row < last.row;) {
        uint32_t count = run_length(&rw->old->ops, row, last.row);
        if (count >= RUN_MIN)
            copy_run(rw, row, count);
        else
            (void)rewrite_copy(rw, (OpId){row});
        row += count >= RUN_MIN ? count : 1;
    }
}

void rewrite_map(Rewrite *rw, ValueId old, ValueId replacement) {
    rw->map[old.row] = replacement;
    StrId *name = &rw->build.code->values.name[replacement.row];
    if (!str_id_some(*name)) *name = rw->old->values.name[old.row];
}

void rewrite_into(Rewrite *rw, BlockId old, BlockId block) {
    rw->into[old.row] = block;
    rw->moves = true;
}

void rewrite_end(Rewrite *rw) {
    Code   *code = rw->build.code;
    Blocks *blocks = &code->blocks;
    for (uint32_t row = 1; row < blocks->table.count; row++)
        blocks->op_first[row] = UINT32_MAX, blocks->op_last[row] = 0;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint32_t block = code->ops.block[row].row;
        for (uint32_t i = 0; i < code->ops.blocks_count[row]; i++) {
            uint32_t nested = blocks->op_first[code->ops.blocks_first[row].row + i];
            if (nested < blocks->op_first[block]) blocks->op_first[block] = nested;
        }
        if (row < blocks->op_first[block]) blocks->op_first[block] = row;
        blocks->op_last[block] = row + 1;
    }
    for (uint32_t row = 1; row < blocks->table.count; row++)
        if (blocks->op_first[row] == UINT32_MAX) blocks->op_first[row] = 0; /* carried by nobody */
    world_swap(rw->world);
}
