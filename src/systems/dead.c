/* dead: which rows does nobody need?
 *
 * Alive are terminators of graphs, rows with effects or late sizes, and what they use; rows of a
 * nested block live and die with the operator that carries it, which is alive itself when an effect
 * is inside.
 * One backward sweep marks, one rewrite copies. Needs verified code, breaks layout. Linear. */
#include "systems/rewrite.h"
#include "systems/system.h"

/* An effect inside a nested block makes the carrying operator effectful, at every depth. */
static void mark_effects(const Code *code, uint8_t *alive) {
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        const OpInfo *info = &op_infos[code->ops.opcode[row]];
        bool          keep = (info->flags & (OP_EFFECT | OP_LATE)) != 0 ||
                    (info->flags & (OP_PURE | OP_STATE | OP_BLOCKS | OP_TERMINATOR | OP_VIEW)) == 0;
        if (!keep && !alive[row]) continue;
        alive[row] = 1;
        uint32_t parent = code->blocks.parent[code->ops.block[row].row].row;
        if (parent != 0) alive[parent] = 1; /* parents come later in row order */
    }
}

Ran sys_dead(SystemCtx *ctx) {
    const Code *code = &ctx->world->code;
    uint32_t    count = code->ops.table.count;
    uint8_t    *alive = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    mark_effects(code, alive);
    for (uint32_t row = count - 1; row >= 1; row--) {
        uint32_t parent = code->blocks.parent[code->ops.block[row].row].row;
        if (op_info(code, (OpId){row})->flags & OP_TERMINATOR)
            alive[row] = parent == 0 || alive[parent];
        if (!alive[row]) continue;
        const ValueId *operands = op_operands(code, (OpId){row});
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            uint32_t def = code->values.def[operands[i].row];
            if (!(def & VALUE_IS_ARG)) alive[def] = 1;
        }
    }
    Ran     ran = {0};
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < count; row++) {
        uint32_t first = row;
        while (row < count && alive[row]) row++;
        rewrite_copy_rows(&rw, (OpId){first}, (OpId){row});
        ran.changed += row < count;
    }
    rewrite_end(&rw);
    return ran;
}
