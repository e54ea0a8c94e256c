/* fuse: which rows become one kernel?
 *
 * Arithmetic rows (elementwise operators, reductions, padding, random bits) are gathered into
 * groups; each group becomes one `fused` row that carries its rows as a block, and is one launch.
 * Index maps (broadcast, reshape, transpose, slice) and constants cost nothing inside a kernel, so
 * they are written again in every group that needs them and no longer stand between groups.
 * Candidates are taken by what they save: bytes that need not be written and read again, and
 * launches. Groups stay acyclic, and of one iteration space, so that one loop nest serves them.
 * What a group gives to others is stored, unless it costs less to compute it again there.
 *
 * Needs primitives (composites that the target keeps stay outside), breaks layout. Control flow
 * divides a block: the rows between two operators with blocks are fused by themselves, as are those
 * of the blocks. About linear: the search for cycles is bounded. */
#include "systems/fuse_inner.h"

/* One past the last row of the straight run that begins at row. */
static uint32_t run_last(const Code *code, uint32_t row) {
    uint32_t last = row, block = code->ops.block[row].row;
    while (last < code->ops.table.count && code->ops.block[last].row == block &&
           code->ops.blocks_count[last] == 0)
        last++;
    return last;
}
/* Marks the values that are used outside their run. */
static uint8_t *mark_escapes(SystemCtx *ctx, const Code *code) {
    uint8_t  *escapes = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->values.table.count);
    uint32_t *run = ARENA_ARRAY(ctx->scratch, uint32_t, code->ops.table.count);
    uint32_t  count = code->ops.table.count;
    for (uint32_t row = 1; row < count;) {
        uint32_t last = run_last(code, row), first = row;
        do run[row++] = first;
        while (row < last);
    }
    for (uint32_t row = 1; row < count; row++)
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(code, (OpId){row}, i);
            OpId    def = value_op(code, x);
            if (op_id_some(def) && run[def.row] != run[row]) escapes[x.row] = 1;
        }
    return escapes;
}

Ran sys_fuse(SystemCtx *ctx) {
    Ran         ran = {0};
    const Code *code = &ctx->world->code;
    if (ctx->target == NULL || !ctx->target->compiles) return ran;
    Rewrite  rw = rewrite_begin(ctx->world, ctx->scratch);
    uint8_t *escapes = mark_escapes(ctx, code);
    Placing *placing = place_begin(ctx, code);
    for (uint32_t row = 1; row < code->ops.table.count;) {
        uint32_t last = run_last(code, row);
        if (last == row) { /* it carries blocks */
            (void)rewrite_copy(&rw, (OpId){row++});
            continue;
        }
        ArenaMark mark = arena_mark(ctx->scratch);
        Fuse      f = {.ctx = ctx,
                       .world = ctx->world,
                       .code = code,
                       .first = row,
                       .last = last,
                       .escapes = escapes,
                       .placing = placing};
        fuse_build(&f);
        ran.changed += fuse_merge_groups(&f);
        ran.changed += fuse_recompute(&f);
        fuse_write(&f, &rw);
        arena_release(ctx->scratch, mark);
        row = last;
    }
    rewrite_end(&rw);
    return ran;
}
