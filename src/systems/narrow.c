/* narrow: which rows compute in a narrower float than the program was written in?
 *
 * Mixed precision: products (OP_PRODUCT: matrix products, convolutions, attention) take their f32
 * operands in ctx->narrow and give f32 back; they add up in f32 inside. All else stays as written,
 * so parameters, optimizer and residuals keep f32. Runs before differentiate: the transposed rows
 * of the derivative are then narrow too, and a gradient passes a conversion as a conversion. A
 * value is converted once for each row that wants it; dedupe merges these. Needs types, breaks
 * layout. Linear.
 *
 * 8-bit floats are for linear layers (narrow8.c); other products then take bf16. */
#include "systems/narrow8.h"

Dtype narrow_find(String name) {
    Dtype dtype = str_same(name, STR("fp8")) ? DTYPE_F8E4M3 : dtype_find(name);
    return dtype_is_half(dtype) || dtype == DTYPE_F8E4M3 ? dtype : DTYPE_NIL;
}

static bool is_f32(const World *world, ValueId value) {
    return type_dtype(&world->types, value_type(world, value)) == DTYPE_F32;
}
/* All operands that are floats are f32: others mean that the author chose dtypes. */
static bool narrows(const World *world, OpId op) {
    const Code *code = &world->code;
    bool        any = false;
    if (!(op_infos[code->ops.opcode[op.row]].flags & OP_PRODUCT)) return false;
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
        ValueId operand = op_operand(code, op, i);
        Dtype   dtype = type_dtype(&world->types, value_type(world, operand));
        if (dtype_is_float(dtype) && dtype != DTYPE_F32) return false;
        any |= dtype == DTYPE_F32;
    }
    return any;
}

Ran sys_narrow(SystemCtx *ctx) {
    World      *world = ctx->world;
    const Code *old = &world->code;
    Ran         ran = {0};
    uint32_t    pending = 0;
    if (ctx->narrow == DTYPE_NIL) return ran;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        pending += narrows(world, (OpId){row});
    if (pending == 0) return ran;
    uint8_t            *wanted = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->ops.table.count);
    uint8_t            *f32 = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->values.table.count);
    Dtype               narrow = dtype_is_f8(ctx->narrow) ? DTYPE_BF16 : ctx->narrow;
    const Narrow8Layer *layers = dtype_is_f8(ctx->narrow) ? narrow8_choose(ctx) : NULL;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        wanted[row] = narrows(world, (OpId){row});
    for (uint32_t row = 1; row < old->values.table.count; row++)
        f32[row] = is_f32(world, (ValueId){row});
    Rewrite rw = rewrite_begin(world, ctx->scratch);
    for (uint32_t row = 1; row < rw.old->ops.table.count; row++) {
        OpId op = {row};
        rewrite_at(&rw, op);
        if (!wanted[row] || !system_burn(ctx)) {
            (void)rewrite_copy(&rw, op);
            continue;
        }
        ran.changed++;
        if (layers != NULL && layers[row].wide != NARROW8_NOTHING) {
            ValueId y = narrow8_linear(&rw, op, layers[row].wide, ctx->narrow8.block);
            rewrite_map(&rw, op_result(rw.old, op, 0), y);
            continue;
        }
        ValueId  operands[LIST_MAX];
        uint32_t count = rw.old->ops.operands_count[row];
        ASSERT(count <= LENGTH(operands));
        for (uint32_t i = 0; i < count; i++) {
            ValueId from = op_operand(rw.old, op, i);
            operands[i] = rw.map[from.row];
            if (f32[from.row]) operands[i] = build_convert(&rw.build, operands[i], narrow);
        }
        OpId made = build_row(&rw.build, (Opcode)rw.old->ops.opcode[row], operands, count,
                              op_attrs(world, rw.old, op), rw.old->ops.results_count[row]);
        for (uint32_t i = 0; i < rw.old->ops.results_count[row]; i++) {
            ValueId result = op_result(rw.build.code, made, i), from = op_result(rw.old, op, i);
            rewrite_map(&rw, from,
                        f32[from.row] ? build_convert(&rw.build, result, DTYPE_F32) : result);
        }
    }
    rewrite_end(&rw);
    return ran;
}
