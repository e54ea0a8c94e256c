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
 * Needs primitives (composites that the target keeps stay outside), breaks layout. Blocks with
 * control flow are left as they are. About linear: the search for cycles is bounded. */
#include "systems/fuse_inner.h"

static bool has_control_flow(const Code *code, BlockId block) {
    for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
         row++)
        if (code->ops.blocks_count[row] != 0) return true;
    return false;
}

static uint32_t fuse_block(SystemCtx *ctx, Rewrite *rw, BlockId block) {
    const Code *code = rw->old;
    Fuse        f = {.ctx = ctx, .world = ctx->world, .code = code};
    f.first = code->blocks.op_first[block.row];
    f.last = code->blocks.op_last[block.row];
    if (has_control_flow(code, block)) {
        rewrite_copy_rows(rw, (OpId){f.first}, (OpId){f.last});
        return 0;
    }
    fuse_build(&f);
    uint32_t changed = fuse_merge_groups(&f);
    changed += fuse_recompute(&f);
    fuse_write(&f, rw);
    return changed;
}

Ran sys_fuse(SystemCtx *ctx) {
    Ran         ran = {0};
    const Code *code = &ctx->world->code;
    if (ctx->target == NULL || !ctx->target->compiles) return ran;
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    /* Graphs stand one after the other; rows of their bodies and of nested blocks are one range. */
    for (uint32_t row = 1; row < code->ops.table.count;) {
        BlockId block = {0};
        for (uint32_t graph = 1; graph < code->graphs.table.count; graph++)
            if (code->blocks.op_first[code->graphs.block[graph].row] == row)
                block = code->graphs.block[graph];
        ASSERT(block_id_some(block));
        ArenaMark mark = arena_mark(ctx->scratch);
        ran.changed += fuse_block(ctx, &rw, block);
        arena_release(ctx->scratch, mark);
        row = code->blocks.op_last[block.row];
    }
    rewrite_end(&rw);
    return ran;
}
