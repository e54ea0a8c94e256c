/* dedupe: common subexpressions. Equal rows (opcode, attributes, operands after replacement;
 * operands of commuting operators in either order) become the first of them that stands in the same
 * block or around it.
 *
 * Pure rows and parameter reads are merged; rows with blocks or effects are not. One forward sweep
 * with an open-addressing table of new rows in scratch. Needs types, breaks layout. Linear. */
#include "arena/hash.h"
#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct SeenRows {
    uint32_t *rows, mask;
} SeenRows;

static uint64_t row_hash(const Code *old, uint32_t row, const ValueId *operands, uint32_t count) {
    uint64_t hash = hash_mix((uint64_t)old->ops.opcode[row] << 32 | old->ops.attrs[row].row, count);
    uint32_t i = 0;
    for (; i + 2 <= count; i += 2)
        hash = hash_mix(hash, (uint64_t)operands[i].row << 32 | operands[i + 1].row);
    return i < count ? hash_mix(hash, operands[i].row) : hash;
}

static bool row_same(const Rewrite *rw, uint32_t old_row, const ValueId *operands, uint32_t count,
                     uint32_t row) {
    const Code *code = rw->build.code;
    const Ops  *old = &rw->old->ops;
    if (code->ops.opcode[row] != old->opcode[old_row] ||
        code->ops.attrs[row].row != old->attrs[old_row].row ||
        code->ops.operands_count[row] != count)
        return false;
    const ValueId *theirs = op_operands(code, (OpId){row});
    for (uint32_t i = 0; i < count; i++)
        if (theirs[i].row != operands[i].row) return false;
    /* What costs nothing stays in its block. Blocks around are known in the old code only. */
    BlockId from = code->ops.block[row], at = old->block[old_row];
    if (count == 0 || (op_infos[old->opcode[old_row]].flags & OP_VIEW)) return from.row == at.row;
    return code_visible(rw->old, from, at);
}

Ran sys_dedupe(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    count = old->ops.table.count, capacity = 64, changed = 0;
    while (capacity < count * 2) capacity *= 2;
    SeenRows seen = {ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, capacity), capacity - 1};
    uint32_t operands_max = 1;
    for (uint32_t row = 1; row < count; row++)
        if (old->ops.operands_count[row] > operands_max)
            operands_max = old->ops.operands_count[row];
    ValueId *operands = ARENA_ARRAY(ctx->scratch, ValueId, operands_max);
    Rewrite  rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < count; row++) {
        OpId           op = {row};
        const OpInfo  *info = op_info(old, op);
        uint32_t       n = old->ops.operands_count[row];
        const ValueId *from = op_operands(old, op);
        for (uint32_t i = 0; i < n; i++) operands[i] = rw.map[from[i].row];
        if (!(info->flags & (OP_PURE | OP_STATE))) {
            (void)rewrite_copy_with(&rw, op, operands);
            continue;
        }
        if ((info->flags & OP_COMMUTES) && operands[0].row > operands[1].row) {
            ValueId swap = operands[0];
            operands[0] = operands[1];
            operands[1] = swap;
        }
        uint32_t at = (uint32_t)row_hash(old, row, operands, n) & seen.mask;
        while (seen.rows[at] != 0 && !row_same(&rw, row, operands, n, seen.rows[at]))
            at = (at + 1) & seen.mask;
        if (seen.rows[at] == 0 || !system_burn(ctx)) {
            OpId copy = rewrite_copy_with(&rw, op, operands);
            if (seen.rows[at] == 0) seen.rows[at] = copy.row;
            continue;
        }
        for (uint32_t i = 0; i < old->ops.results_count[row]; i++)
            rewrite_map(&rw, op_result(old, op, i),
                        op_result(rw.build.code, (OpId){seen.rows[at]}, i));
        changed++;
    }
    rewrite_end(&rw);
    return (Ran){.changed = changed};
}
