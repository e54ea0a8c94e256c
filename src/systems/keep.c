/* keep: which conversions of state need not be done again in each step?
 *
 * Products in a narrower float read their weights in it. Where the caller keeps copies of state
 * (ctx->keeps), such a copy is state of its own, a parameter `of` the weight: conversions of the
 * weight read it, and each assignment to the weight assigns its conversion to the copy, so that the
 * kernel that updates the weight writes both. Who writes the weight from outside writes the copy
 * too (api/session.c). All graphs of a world share state: a copy that one of them wants is assigned
 * in all. Run after dedupe; what is not read any more is left to dead. Linear. */
#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct Keeping {
    Rewrite  rw;
    Dtype   *dtype; /* by string row, of the name of state: of its copy; NIL: none */
    ValueId *copy;  /* by old value row, of a parameter: the copy beside it */
} Keeping;

static StrId name_of(const World *world, const Code *code, OpId op) {
    return (StrId){(uint32_t)op_attrs(world, code, op)[ATTR_PARAMETER_name]};
}
/* The parameter that the operand of a row is; nil if it is something else. */
static OpId parameter_of(const Code *code, OpId op) {
    ValueId x = op_operand(code, op, 0);
    if (value_is_arg(code, x)) return (OpId){0};
    OpId from = value_op(code, x);
    return code->ops.opcode[from.row] == OP_PARAMETER ? from : (OpId){0};
}
static uint32_t find_wanted(const World *world, Dtype *dtype) {
    const Code *code = &world->code;
    uint32_t    count = 0;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] != OP_CONVERT) continue;
        OpId  parameter = parameter_of(code, (OpId){row});
        Dtype into = type_dtype(&world->types, value_type(world, op_result(code, (OpId){row}, 0)));
        if (!op_id_some(parameter) || !dtype_is_half(into)) continue;
        StrId name = name_of(world, code, parameter);
        if (dtype[name.row] == DTYPE_NIL) count++, dtype[name.row] = into;
    }
    return count;
}

/* A parameter beside the one that was just copied. */
static void add_copy(SystemCtx *ctx, Keeping *k, OpId op) {
    World          *world = ctx->world;
    Rewrite        *rw = &k->rw;
    const uint64_t *attrs = op_attrs(world, rw->old, op);
    StrId           name = name_of(world, rw->old, op);
    Dtype           dtype = k->dtype[name.row];
    TypeId          type = {(uint32_t)attrs[ATTR_PARAMETER_type]};
    ShapeId         shape = type_shape(&world->types, type);
    String text = str_format(ctx->scratch, "%.*s@%s", STR_ARGS(strings_get(&world->strings, name)),
                             dtype_infos[dtype].name);
    uint64_t words[] = {
        [ATTR_PARAMETER_name] = strings_add(&world->strings, text).row,
        [ATTR_PARAMETER_type] = types_type(&world->types, dtype, shape).row,
        [ATTR_PARAMETER_scale] = word_of_f64(0),
        [ATTR_PARAMETER_trainable] = 0,
        [ATTR_PARAMETER_of] = name.row,
    };
    ValueId copy = build_op(&rw->build, OP_PARAMETER, NULL, 0, words);
    k->copy[op_result(rw->old, op, 0).row] = copy;
}
/* The assignment of an old assignment's value to the copy. */
static void assign_copy(Keeping *k, OpId op) {
    Rewrite *rw = &k->rw;
    ValueId  copy = k->copy[op_operand(rw->old, op, 0).row];
    if (!value_id_some(copy)) return;
    ValueId value = rw->map[op_operand(rw->old, op, 1).row];
    ValueId operands[2] = {copy, build_convert(&rw->build, value, build_dtype(&rw->build, copy))};
    (void)build_row(&rw->build, OP_ASSIGN, operands, 2, NULL, 0);
}

Ran sys_keep(SystemCtx *ctx) {
    World   *world = ctx->world;
    Keeping  k = {0};
    uint32_t strings = world->strings.rows.table.count;
    Ran      ran = {0};
    if (!ctx->keeps) return ran;
    k.dtype = ARENA_ARRAY_ZERO(ctx->scratch, Dtype, strings);
    k.copy = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, world->code.values.table.count);
    if (find_wanted(world, k.dtype) == 0 || !system_burn(ctx)) return ran;
    Rewrite    *rw = &k.rw;
    const Code *old = (*rw = rewrite_begin(world, ctx->scratch)).old;
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        OpId     op = {row};
        uint32_t opcode = old->ops.opcode[row];
        rewrite_at(rw, op);
        if (opcode == OP_CONVERT) {
            OpId    parameter = parameter_of(old, op);
            ValueId from = op_operand(old, op, 0), result = op_result(old, op, 0);
            Dtype   into = type_dtype(&world->types, old->values.type[result.row]);
            if (op_id_some(parameter) && value_id_some(k.copy[from.row]) &&
                build_dtype(&rw->build, k.copy[from.row]) == into) {
                rewrite_map(rw, result, k.copy[from.row]);
                ran.changed++;
                continue;
            }
        }
        (void)rewrite_copy(rw, op);
        if (opcode == OP_PARAMETER && name_of(world, old, op).row < strings &&
            k.dtype[name_of(world, old, op).row] != DTYPE_NIL)
            add_copy(ctx, &k, op);
        if (opcode == OP_ASSIGN) assign_copy(&k, op);
    }
    rewrite_end(rw);
    return ran;
}
