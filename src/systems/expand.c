/* expand: composites become primitives, unless the target keeps its own kernel for them.
 *
 * Needs a program without gradient rows. Rules may emit simpler composites, so sweeps repeat until
 * none is left (the nesting of rules bounds them at four). Breaks layout. Linear in rows. */
#include "systems/emit.h"
#include "systems/system.h"

enum { EXPAND_ROUNDS_MAX = 4 };

/* row: of the code that the world holds (not yet rewritten). */
static bool must_expand(const SystemCtx *ctx, uint32_t row) {
    const Target *target = ctx->target;
    uint32_t      opcode = ctx->world->code.ops.opcode[row];
    if (!(op_infos[opcode].flags & OP_EXPANDS)) return false;
    if (target == NULL || !target->keep[opcode]) return true;
    return target->keeps != NULL && !target->keeps(ctx->world, (OpId){row});
}

/* The rule needs the row in the new code to read from: it is appended, expanded, and left dead. */
static void expand_row(Rewrite *rw, OpId old, const Target *target) {
    uint32_t results = rw->old->ops.results_count[old.row];
    OpId     row = rewrite_copy(rw, old);
    Emit     e = emit_at(&rw->build, row);
    e.target = target;
    Opcode   opcode = (Opcode)rw->old->ops.opcode[old.row];
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *values = ARENA_ARRAY_ZERO(scratch.arena, ValueId, results);
    ASSERT(expand_rules[opcode] != NULL);
    bool expanded = expand_rules[opcode](&e, values);
    ASSERT(expanded);
    (void)expanded;
    for (uint32_t i = 0; i < results; i++) {
        StrId *name =
            &rw->build.code->values.name[e.y.row + i]; /* the dead row gives its name up */
        *name = (StrId){0};
        rewrite_map(rw, op_result(rw->old, old, i), values[i]);
    }
    scratch_end(scratch);
}

Ran sys_expand(SystemCtx *ctx) {
    Ran ran = {0};
    for (uint32_t round = 0; round < EXPAND_ROUNDS_MAX; round++) {
        const Code *old = &ctx->world->code;
        uint32_t    pending = 0;
        for (uint32_t row = 1; row < old->ops.table.count; row++) pending += must_expand(ctx, row);
        if (pending == 0) break;
        ArenaMark mark = arena_mark(ctx->scratch);
        uint8_t  *used = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->values.table.count);
        for (uint32_t i = 1; i < old->operands.table.count; i++)
            used[old->operands.value[i].row] = 1;
        Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
        for (uint32_t row = 1, count = rw.old->ops.table.count; row < count; row++) {
            uint32_t first = row;
            while (row < count && !must_expand(ctx, row)) row++;
            OpId op = {row};
            bool wanted = false;
            rewrite_copy_rows(&rw, (OpId){first}, op);
            if (row == count) break;
            rewrite_at(&rw, op);
            /* A composite that an earlier round left dead is dropped, not expanded again. */
            for (uint32_t i = 0; i < rw.old->ops.results_count[row]; i++)
                wanted |= used[op_result(rw.old, op, i).row] != 0;
            if (!wanted) continue;
            expand_row(&rw, op, ctx->target);
            ran.changed++;
        }
        rewrite_end(&rw);
        arena_release(ctx->scratch, mark);
    }
    return ran;
}
