/* The mechanics of append-and-remap. Copying a row is column stores only; block ranges are
 * recomputed in one sweep at the end, so a system never maintains them.
 *
 * Memory for the old size is committed at once, which keeps growth out of the loop. */
#include "systems/rewrite.h"

Rewrite rewrite_begin(World *world, Arena *scratch) {
    Rewrite rw = {.world = world, .old = &world->code};
    const Code *old = rw.old;
    Code       *code = &world->spare;
    rw.build = (Build){.world = world, .code = code};
    code_clear(code);
    rw.map = ARENA_ARRAY_ZERO(scratch, ValueId, old->values.table.count);
    /* Committing for the old size at once keeps growth out of the loop. */
    table_grow(&code->ops.table, old->ops.table.count);
    table_grow(&code->values.table, old->values.table.count);
    table_grow(&code->operands.table, old->operands.table.count);
    for (uint32_t row = 1; row < old->blocks.table.count; row++) {
        BlockId block = code_add_block(code, (OpId){0}, old->blocks.args_count[row]);
        ASSERT(block.row == row);
        for (uint32_t i = 0; i < old->blocks.args_count[row]; i++) {
            uint32_t from = old->blocks.args_first[row].row + i;
            uint32_t to = code->blocks.args_first[block.row].row + i;
            code->values.type[to] = old->values.type[from];
            code->values.name[to] = old->values.name[from];
            rw.map[from] = (ValueId){to};
        }
    }
    for (uint32_t row = 1; row < old->graphs.table.count; row++)
        (void)code_add_graph(code, old->graphs.name[row], old->graphs.block[row]);
    return rw;
}

OpId rewrite_copy_with(Rewrite *rw, OpId op, const ValueId *operands) {
    const Ops *ops = &rw->old->ops;
    uint32_t   row = op.row, results = ops->results_count[row];
    Code      *code = rw->build.code;
    OpId       copy = code_add_op(code, ops->block[row], ops->opcode[row], operands,
                                  ops->operands_count[row], results, ops->attrs[row], ops->loc[row]);
    uint32_t   to = code->ops.results_first[copy.row].row, from = ops->results_first[row].row;
    for (uint32_t i = 0; i < results; i++) {
        code->values.type[to + i] = rw->old->values.type[from + i];
        code->values.name[to + i] = rw->old->values.name[from + i];
        rw->map[from + i] = (ValueId){to + i};
    }
    if (ops->blocks_count[row] != 0) {
        code->ops.blocks_first[copy.row] = ops->blocks_first[row];
        code->ops.blocks_count[copy.row] = ops->blocks_count[row];
        for (uint32_t i = 0; i < ops->blocks_count[row]; i++)
            code->blocks.parent[ops->blocks_first[row].row + i] = copy;
    }
    return copy;
}

OpId rewrite_copy(Rewrite *rw, OpId op) {
    enum { SMALL = 64 };
    ValueId        few[SMALL];
    uint32_t       count = rw->old->ops.operands_count[op.row];
    const ValueId *from = op_operands(rw->old, op);
    if (count <= SMALL) {
        for (uint32_t i = 0; i < count; i++) few[i] = rw->map[from[i].row];
        return rewrite_copy_with(rw, op, few);
    }
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *many = ARENA_ARRAY(scratch.arena, ValueId, count);
    for (uint32_t i = 0; i < count; i++) many[i] = rw->map[from[i].row];
    OpId copy = rewrite_copy_with(rw, op, many);
    scratch_end(scratch);
    return copy;
}

void rewrite_map(Rewrite *rw, ValueId old, ValueId replacement) {
    rw->map[old.row] = replacement;
    StrId *name = &rw->build.code->values.name[replacement.row];
    if (!str_id_some(*name)) *name = rw->old->values.name[old.row];
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
