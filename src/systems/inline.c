/* inline: the rows of a graph take the place of a call of it.
 *
 * Calls are types checked against the graph (infer), and no graph calls itself, so rounds end. A
 * custom_grad stays while there are gradients to be made, which look at it. Needs types; what
 * follows sees no calls. Then branches of different sizes get one (join.c). Linear in the rows that
 * are written, a round for each call in a callee. */
#include "systems/clone.h"
#include "systems/join.h"
#include "systems/rewrite.h"
#include "systems/system.h"

static bool is_call(const Code *code, uint32_t row, bool derives) {
    uint32_t opcode = code->ops.opcode[row];
    return opcode == OP_CALL || (opcode == OP_CUSTOM_GRAD && !derives);
}
static bool any_derives(const Code *code) {
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (op_info(code, (OpId){row})->flags & OP_DERIVES) return true;
    return false;
}

static void inline_call(SystemCtx *ctx, Rewrite *rw, OpId op) {
    const Code *old = rw->old;
    ArenaMark   mark = arena_mark(ctx->scratch);
    StrId       name = {(uint32_t)op_attrs(ctx->world, old, op)[ATTR_CALL_graph]};
    BlockId     body = old->graphs.block[code_find_graph(old, name).row];
    uint32_t operands = old->ops.operands_count[op.row], results = old->ops.results_count[op.row];
    ValueId *values = ARENA_ARRAY(ctx->scratch, ValueId, operands + results + 1);
    for (uint32_t i = 0; i < operands; i++) values[i] = rw->map[op_operand(old, op, i).row];
    clone_over(&rw->build, old, body, false, values, ctx->scratch, values + operands);
    for (uint32_t i = 0; i < results; i++)
        rewrite_map(rw, op_result(old, op, i), values[operands + i]);
    arena_release(ctx->scratch, mark);
}

Ran sys_inline(SystemCtx *ctx) {
    Ran ran = {0};
    for (bool derives = any_derives(&ctx->world->code);;) {
        const Code *old = &ctx->world->code;
        uint32_t    pending = 0, count = old->ops.table.count;
        for (uint32_t row = 1; row < count; row++) pending += is_call(old, row, derives);
        if (pending == 0) {
            ran.changed += join_branches(ctx);
            return ran;
        }
        Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
        for (uint32_t row = 1; row < count; row++) {
            uint32_t first = row;
            while (row < count && !is_call(old, row, derives)) row++;
            rewrite_copy_rows(&rw, (OpId){first}, (OpId){row});
            if (row == count) break;
            rewrite_at(&rw, (OpId){row});
            inline_call(ctx, &rw, (OpId){row});
        }
        rewrite_end(&rw);
        ran.changed += pending;
    }
}
