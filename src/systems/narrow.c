/* narrow: which rows compute in a narrower float than the program was written in?
 *
 * Mixed precision: products (OP_PRODUCT: matrix products, convolutions, attention) take their f32
 * operands in ctx->narrow and give f32 back; they add up in f32 inside. All else stays as written,
 * so parameters, optimizer and residuals keep f32. Runs before differentiate: the transposed rows
 * of the derivative are then narrow too, and a gradient passes a conversion as a conversion. A
 * value is converted once for each row that wants it; dedupe merges these. Needs types, breaks
 * layout. Linear.
 *
 * 8-bit floats are for the products of linear layers (narrow_dot, rules_narrow_dot.c) but the last
 * of a graph and what takes its arguments, where errors weigh most; others take bf16. */
#include "systems/rewrite.h"
#include "systems/system.h"

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

/* --- 8-bit floats ----------------------------------------------------------------------------- */

static BlockId body_of(const Code *code, OpId op) {
    BlockId block = code->ops.block[op.row];
    while (op_id_some(code->blocks.parent[block.row]))
        block = code->ops.block[code->blocks.parent[block.row].row];
    return block;
}
/* By block row: the last linear layer of the graph with this body. */
static uint32_t *last_layers(const Code *code, Arena *scratch) {
    uint32_t *last = ARENA_ARRAY_ZERO(scratch, uint32_t, code->blocks.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (code->ops.opcode[row] == OP_LINEAR) last[body_of(code, (OpId){row}).row] = row;
    return last;
}
/* Tensor cores want rows of 16 bytes. */
static bool fits_f8(const World *world, OpId op, const uint32_t *last) {
    enum { MULTIPLE = 16 };
    const Code *code = &world->code;
    if (code->ops.opcode[op.row] != OP_LINEAR || last[body_of(code, op).row] == op.row)
        return false;
    ValueId x = op_operand(code, op, 0), weight = op_operand(code, op, 1);
    if (value_is_arg(code, x)) return false;
    for (uint32_t i = 0; i < 2; i++) {
        DimId dim = type_dims(&world->types, value_type(world, weight))[i];
        if (!dims_is_const(&world->dims, dim)) return false;
        if (dims_const_value(&world->dims, dim) % MULTIPLE != 0) return false;
    }
    return true;
}
static ValueId linear_f8(Rewrite *rw, OpId op) {
    Build   *build = &rw->build;
    ValueId  x = rw->map[op_operand(rw->old, op, 0).row];
    ValueId  weight = rw->map[op_operand(rw->old, op, 1).row];
    uint32_t last = build_rank(build, x) - 1;
    DotAxes  axes = {.contract = 1, .x_contract = {last}, .y_contract = {1}};
    ValueId  y = build_narrow_dot(build, x, weight, &axes, DTYPE_F8E4M3, DTYPE_F8E4M3);
    if (rw->old->ops.operands_count[op.row] < 3) return y;
    ValueId bias = rw->map[op_operand(rw->old, op, 2).row];
    return build_binary(build, OP_ADD, y, build_along(build, bias, y, last));
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
    uint8_t        *wanted = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->ops.table.count);
    uint8_t        *wide = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->values.table.count);
    bool            f8 = dtype_is_f8(ctx->narrow);
    Dtype           narrow = f8 ? DTYPE_BF16 : ctx->narrow;
    const uint32_t *last = f8 ? last_layers(old, ctx->scratch) : NULL;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        wanted[row] =
            (uint8_t)(narrows(world, (OpId){row}) ? 1 + (f8 && fits_f8(world, (OpId){row}, last))
                                                  : 0);
    for (uint32_t row = 1; row < old->values.table.count; row++)
        wide[row] = is_f32(world, (ValueId){row});
    Rewrite rw = rewrite_begin(world, ctx->scratch);
    for (uint32_t row = 1; row < rw.old->ops.table.count; row++) {
        OpId op = {row};
        rewrite_at(&rw, op);
        if (!wanted[row] || !system_burn(ctx)) {
            (void)rewrite_copy(&rw, op);
            continue;
        }
        ran.changed++;
        if (wanted[row] > 1) {
            rewrite_map(&rw, op_result(rw.old, op, 0), linear_f8(&rw, op));
            continue;
        }
        ValueId  operands[LIST_MAX];
        uint32_t count = rw.old->ops.operands_count[row];
        ASSERT(count <= LENGTH(operands));
        for (uint32_t i = 0; i < count; i++) {
            ValueId from = op_operand(rw.old, op, i);
            operands[i] = rw.map[from.row];
            if (wide[from.row]) operands[i] = build_convert(&rw.build, operands[i], narrow);
        }
        OpId made = build_row(&rw.build, (Opcode)rw.old->ops.opcode[row], operands, count,
                              op_attrs(world, rw.old, op), rw.old->ops.results_count[row]);
        for (uint32_t i = 0; i < rw.old->ops.results_count[row]; i++) {
            ValueId result = op_result(rw.build.code, made, i), from = op_result(rw.old, op, i);
            rewrite_map(&rw, from,
                        wide[from.row] ? build_convert(&rw.build, result, DTYPE_F32) : result);
        }
    }
    rewrite_end(&rw);
    return ran;
}
