/* order: views and constants move to just before their first use.
 *
 * Rewriting systems append derived rows near what they derive from; a view that is made early and
 * used late keeps its base alive for nothing, and reading a program is easier when a shape change
 * stands beside its use. Rows that only reinterpret memory are held back until a row that needs
 * them is written; an explicit stack follows chains of them. All other rows keep their order. Rows
 * used from a nested block stay where they are. Needs primitives; breaks layout. Linear. */
#include "systems/rewrite.h"
#include "systems/system.h"

static bool can_wait(const OpInfo *info, uint32_t opcode) {
    return (info->flags & OP_VIEW) != 0 || opcode == OP_CONSTANT || opcode == OP_IOTA;
}

/* Writes the held-back rows that value needs, deepest first. */
static uint32_t write_needed(Rewrite *rw, uint8_t *held, uint32_t *stack, ValueId value) {
    const Code *old = rw->old;
    uint32_t    depth = 0, written = 0;
    OpId        def = value_op(old, value);
    if (!held[def.row]) return 0;
    stack[depth++] = def.row;
    while (depth != 0) {
        uint32_t       row = stack[depth - 1];
        const ValueId *operands = op_operands(old, (OpId){row});
        uint32_t       before = depth;
        for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
            OpId inner = value_op(old, operands[i]);
            if (held[inner.row] && inner.row != row) stack[depth++] = inner.row;
        }
        if (depth != before) continue;
        depth--;
        if (!held[row]) continue; /* reached twice */
        held[row] = 0;
        rewrite_at(rw, (OpId){row});
        (void)rewrite_copy(rw, (OpId){row});
        written++;
    }
    return written;
}

Ran sys_order(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    count = old->ops.table.count;
    uint8_t    *held = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    uint8_t    *escapes = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, count);
    uint32_t   *stack = ARENA_ARRAY(ctx->scratch, uint32_t, old->operands.table.count + 1);
    Ran         ran = {0};
    for (uint32_t row = 1; row < count; row++) {
        const ValueId *operands = op_operands(old, (OpId){row});
        for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
            OpId def = value_op(old, operands[i]);
            if (old->ops.block[def.row].row != old->ops.block[row].row ||
                old->ops.blocks_count[row] != 0) /* nested rows stand just before it */
                escapes[def.row] = 1;
        }
    }
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < count; row++) {
        OpId op = {row};
        if (can_wait(op_info(old, op), old->ops.opcode[row]) && !escapes[row]) {
            held[row] = 1;
            continue;
        }
        const ValueId *operands = op_operands(old, op);
        for (uint32_t i = 0; i < old->ops.operands_count[row]; i++)
            ran.changed += write_needed(&rw, held, stack, operands[i]);
        rewrite_at(&rw, op);
        (void)rewrite_copy(&rw, op);
    }
    rewrite_end(&rw); /* rows still held are used by nobody */
    return ran;
}
