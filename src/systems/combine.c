/* combine: which neighbouring composites are one composite that the target keeps whole?
 *
 * Rules, each making the program smaller (so one sweep in row order ends):
 *   cross_entropy(linear(x, w), labels)         -> linear_cross_entropy(x, w, labels)
 *   cross_entropy(matmul(x, w[C,V]), labels)    -> linear_cross_entropy(x, transpose w, labels)
 * The inner result must have no other use: it would be computed all the same. Runs before
 * differentiate, so that the derivative is that of the combined row as well. The inner row is left
 * dead. Without a target, or with one that has no kernel for the combined row, nothing changes.
 * Needs types, breaks layout. Linear. */
#include "systems/rewrite.h"
#include "systems/system.h"

/* Gives the first result of the combined row; outer, inner: rows of the old code. */
typedef ValueId CombineFn(Rewrite *rw, OpId outer, OpId inner);
typedef struct CombineRule {
    Opcode     outer, inner, into;
    uint32_t   operands; /* of the inner row */
    CombineFn *build;
} CombineRule;

static ValueId linear_cross_entropy(Rewrite *rw, OpId outer, OpId inner) {
    ValueId operands[3] = {rw->map[op_operand(rw->old, inner, 0).row],
                           rw->map[op_operand(rw->old, inner, 1).row],
                           rw->map[op_operand(rw->old, outer, 1).row]};
    if (rw->old->ops.opcode[inner.row] == OP_MATMUL) {
        static const int64_t turned[2] = {1, 0};
        if (build_rank(&rw->build, operands[1]) != 2) return (ValueId){0};
        operands[1] = build_transpose(&rw->build, operands[1], turned, 2);
    }
    return build_op(&rw->build, OP_LINEAR_CROSS_ENTROPY, operands, 3, NULL);
}
static const CombineRule rules[] = {
    {OP_CROSS_ENTROPY, OP_LINEAR, OP_LINEAR_CROSS_ENTROPY, 2, linear_cross_entropy},
    {OP_CROSS_ENTROPY, OP_MATMUL, OP_LINEAR_CROSS_ENTROPY, 2, linear_cross_entropy},
};

/* The rule for this row and the row that makes its first operand, or NULL. */
static const CombineRule *find_rule(const SystemCtx *ctx, const uint32_t *uses, OpId outer) {
    const Code *code = &ctx->world->code;
    if (code->ops.operands_count[outer.row] == 0) return NULL;
    ValueId between = op_operand(code, outer, 0);
    OpId    inner = value_op(code, between);
    if (uses[between.row] != 1 || code->ops.block[inner.row].row != code->ops.block[outer.row].row)
        return NULL;
    for (uint32_t i = 0; i < LENGTH(rules); i++)
        if (rules[i].outer == code->ops.opcode[outer.row] &&
            rules[i].inner == code->ops.opcode[inner.row] && ctx->target->keep[rules[i].into] &&
            rules[i].operands == code->ops.operands_count[inner.row])
            return &rules[i];
    return NULL;
}

Ran sys_combine(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    Ran         ran = {0};
    if (ctx->target == NULL) return ran;
    uint32_t *uses = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, old->values.table.count);
    for (uint32_t i = 1; i < old->operands.table.count; i++) uses[old->operands.value[i].row]++;
    uint32_t pending = 0;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        pending += find_rule(ctx, uses, (OpId){row}) != NULL;
    if (pending == 0) return ran;
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        OpId               op = {row};
        const CombineRule *rule = find_rule(ctx, uses, op);
        ValueId            combined = {0};
        rewrite_at(&rw, op);
        if (rule != NULL && ctx->fuel != 0)
            combined = rule->build(&rw, op, value_op(old, op_operand(old, op, 0)));
        if (!value_id_some(combined)) {
            (void)rewrite_copy(&rw, op);
            continue;
        }
        (void)system_burn(ctx);
        rewrite_map(&rw, op_result(old, op, 0), combined);
        ran.changed++;
    }
    rewrite_end(&rw);
    return ran;
}
