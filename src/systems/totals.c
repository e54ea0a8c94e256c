/* totals: which sums of columns does attention's gradient give as it writes them?
 *
 *   dq, dk, dv = attention_grad ...               dq, dk, dv, sums = attention_grad_sums ...
 *   x = concat of their heads side by side  ->    x likewise
 *   sum of x over all axes but the last           sums in a row
 *
 * The gradient of the bias of a layer that gives queries, keys and values would read again what
 * was just written. For targets that have this operator. Needs types, breaks layout. Linear. */
#include "systems/rewrite.h"
#include "systems/system.h"

enum { PARTS = 3 };

static const uint64_t *attrs_of(const World *world, OpId op) {
    return op_attrs(world, &world->code, op);
}
static OpId maker(const Code *code, ValueId value, Opcode opcode) {
    OpId op = value_op(code, value);
    return op_id_some(op) && code->ops.opcode[op.row] == opcode ? op : (OpId){0};
}
/* The value [.., H, T, D] of whose transpose a value is the reshape [.., T, H D]; nil: none. */
static ValueId heads_of(const World *world, ValueId value) {
    const Code *code = &world->code;
    OpId        reshape = maker(code, value, OP_RESHAPE);
    OpId        transpose =
        op_id_some(reshape) ? maker(code, op_operand(code, reshape, 0), OP_TRANSPOSE) : (OpId){0};
    if (!op_id_some(transpose)) return (ValueId){0};
    ListId         list = {(uint32_t)attrs_of(world, transpose)[ATTR_TRANSPOSE_permutation]};
    TypeId         from = code->values.type[op_result(code, transpose, 0).row];
    TypeId         to = code->values.type[value.row];
    const int64_t *order = list_numbers(&world->attrs, list);
    uint32_t       rank = type_rank(&world->types, from);
    if (rank < 3 || type_rank(&world->types, to) != rank - 1) return (ValueId){0};
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t axis = i + 3 == rank ? i + 1 : i + 2 == rank ? i - 1 : i;
        bool     same = i + 2 >= rank ||
                    type_dims(&world->types, from)[i].row == type_dims(&world->types, to)[i].row;
        if (order[i] != axis || !same) return (ValueId){0};
    }
    return op_operand(code, transpose, 0);
}
/* Whether a row sums over all axes but the last. */
static bool sums_columns(const World *world, OpId op) {
    const Code *code = &world->code;
    if (code->ops.opcode[op.row] != OP_REDUCE ||
        attrs_of(world, op)[ATTR_REDUCE_kind] != REDUCE_SUM)
        return false;
    ListId axes = {(uint32_t)attrs_of(world, op)[ATTR_REDUCE_axes]};
    TypeId type = code->values.type[op_operand(code, op, 0).row];
    /* ascending */
    return list_count(&world->attrs, axes) + 1 == type_rank(&world->types, type) &&
           type_rank(&world->types, code->values.type[op_result(code, op, 0).row]) == 1 &&
           (list_count(&world->attrs, axes) == 0 ||
            list_numbers(&world->attrs, axes)[list_count(&world->attrs, axes) - 1] + 1 <
                (int64_t)type_rank(&world->types, type));
}
/* The gradient of attention whose columns a row sums; nil: none. */
static OpId find_gradient(const World *world, OpId reduce) {
    const Code *code = &world->code;
    OpId        none = {0}, first = none;
    if (!sums_columns(world, reduce)) return none;
    OpId concat = maker(code, op_operand(code, reduce, 0), OP_CONCAT);
    if (!op_id_some(concat) || code->ops.operands_count[concat.row] != PARTS) return none;
    uint32_t rank = type_rank(&world->types, code->values.type[op_result(code, concat, 0).row]);
    if (attrs_of(world, concat)[ATTR_CONCAT_axis] + 1 != rank) return none;
    for (uint32_t i = 0; i < PARTS; i++) {
        ValueId part = heads_of(world, op_operand(code, concat, i));
        OpId    made = maker(code, part, OP_ATTENTION_GRAD);
        if (i == 0) first = made;
        if (!op_id_some(made) || made.row != first.row ||
            op_result(code, made, i).row != part.row ||
            code->values.type[part.row].row != code->values.type[op_result(code, first, 0).row].row)
            return none;
    }
    bool here = code->ops.block[first.row].row == code->ops.block[reduce.row].row;
    return here && code->ops.operands_count[first.row] == 6 ? first : none;
}

Ran sys_totals(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    Ran         ran = {0};
    uint32_t    rows = old->ops.table.count, found = 0;
    if (ctx->target == NULL || !ctx->target->has_kernel[OP_ATTENTION_GRAD_SUMS]) return ran;
    OpId    *from = ARENA_ARRAY_ZERO(ctx->scratch, OpId, rows); /* of reduce: the gradient */
    uint8_t *wanted = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, rows);
    ValueId *sums = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, rows); /* of gradients, new values */
    for (uint32_t row = 1; row < rows; row++) {
        from[row] = find_gradient(ctx->world, (OpId){row});
        found += op_id_some(from[row]);
        wanted[from[row].row] = 1;
    }
    if (found == 0) return ran;
    wanted[0] = 0;
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < rows; row++) {
        OpId    op = {row};
        ValueId total = sums[from[row].row];
        rewrite_at(&rw, op);
        if (wanted[row] && system_burn(ctx)) {
            ValueId operands[6];
            for (uint32_t i = 0; i < 6; i++) operands[i] = rw.map[op_operand(old, op, i).row];
            OpId made = build_row(&rw.build, OP_ATTENTION_GRAD_SUMS, operands, 6,
                                  op_attrs(ctx->world, old, op), 0);
            for (uint32_t i = 0; i < PARTS; i++)
                rewrite_map(&rw, op_result(old, op, i), op_result(rw.build.code, made, i));
            sums[row] = op_result(rw.build.code, made, PARTS);
        } else if (value_id_some(total)) {
            ValueId y = op_result(old, op, 0);
            rewrite_map(&rw, y,
                        build_reshape(&rw.build, total,
                                      type_dims(&ctx->world->types, old->values.type[y.row]), 1));
            ran.changed++;
        } else {
            (void)rewrite_copy(&rw, op);
        }
    }
    rewrite_end(&rw);
    return ran;
}
