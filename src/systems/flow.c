/* Operators with blocks: what their blocks take from around them, and building such an operator
 * block by block. */
#include "systems/flow.h"

uint32_t flow_first(const Code *code, OpId op) {
    if (code->ops.blocks_count[op.row] == 0) return op.row;
    return code->blocks.op_first[code->ops.blocks_first[op.row].row];
}

/* Whether a value is defined in a block of the operator, at any depth. */
static bool is_inner(const Code *code, OpId op, uint32_t first, ValueId value) {
    if (!value_is_arg(code, value)) return value_op(code, value).row >= first;
    BlockId block = {code->values.def[value.row] & ~VALUE_IS_ARG};
    for (OpId parent = code->blocks.parent[block.row]; op_id_some(parent);
         parent = code->blocks.parent[code->ops.block[parent.row].row])
        if (parent.row == op.row) return true;
    return false;
}

ValueList flow_captures(Arena *out, const Code *code, OpId op) {
    uint32_t  first = flow_first(code, op), operands = 0;
    ValueList list = {NULL, 0};
    for (uint32_t row = first; row < op.row; row++) operands += code->ops.operands_count[row];
    list.at = ARENA_ARRAY(out, ValueId, operands);
    ArenaMark mark = arena_mark(out);
    uint8_t  *seen = ARENA_ARRAY_ZERO(out, uint8_t, code->values.table.count);
    for (uint32_t row = first; row < op.row; row++)
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(code, (OpId){row}, i);
            if (seen[x.row] != 0) continue;
            seen[x.row] = 1;
            if (!is_inner(code, op, first, x)) list.at[list.count++] = x;
        }
    arena_release(out, mark);
    return list;
}

DimId flow_scan_length(const World *world, const Code *code, OpId op) {
    const uint64_t *attrs = op_attrs(world, code, op);
    if (attrs[ATTR_SCAN_length] != 0) return (DimId){(uint32_t)attrs[ATTR_SCAN_length]};
    ValueId rows = op_operand(code, op, (uint32_t)attrs[ATTR_SCAN_carries]);
    return type_dims(&world->types, code->values.type[rows.row])[0];
}
TypeId flow_stacked(World *world, TypeId row, DimId length) {
    Types   *types = &world->types;
    uint32_t rank = type_rank(types, row);
    DimId    dims[SHAPE_RANK_MAX + 1] = {length};
    for (uint32_t i = 0; i < rank; i++) dims[i + 1] = type_dims(types, row)[i];
    return types_type(types, type_dtype(types, row), types_shape(types, dims, rank + 1));
}

TypeId flow_row_type(World *world, TypeId stacked) {
    Types   *types = &world->types;
    uint32_t rank = type_rank(types, stacked);
    ASSERT(rank > 0);
    return types_type(types, type_dtype(types, stacked),
                      types_shape(types, type_dims(types, stacked) + 1, rank - 1));
}

/* --- building --------------------------------------------------------------------------------- */
FlowBuild flow_open(Build *build, const uint32_t *args, uint32_t blocks) {
    FlowBuild f = {.build = build, .outer = build->block, .count = blocks};
    for (uint32_t i = 0; i < blocks; i++) {
        BlockId block = code_add_block(build->code, (OpId){0}, args[i]);
        if (i == 0) f.first = block;
    }
    return f;
}
ValueId flow_arg(const FlowBuild *f, uint32_t block, uint32_t arg) {
    return (ValueId){f->build->code->blocks.args_first[f->first.row + block].row + arg};
}
ValueId flow_type_arg(FlowBuild *f, uint32_t block, uint32_t arg, TypeId type) {
    ValueId value = flow_arg(f, block, arg);
    f->build->code->values.type[value.row] = type;
    return value;
}
void flow_enter(FlowBuild *f, uint32_t block) {
    ASSERT(block < f->count);
    f->build->block = (BlockId){f->first.row + block};
}
void flow_return(FlowBuild *f, const ValueId *values, uint32_t count) {
    (void)build_row(f->build, OP_RETURN, values, count, NULL, 0);
}
OpId flow_row(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
              const uint64_t *attrs, const TypeId *types, uint32_t results) {
    Code   *code = build->code;
    AttrsId record = {0};
    if (op_infos[opcode].attrs_count != 0)
        record = attrs_add(&build->world->attrs, attrs, op_infos[opcode].attrs_count);
    OpId op = code_add_op(code, build->block, (uint16_t)opcode, operands, count, results, record,
                          build->loc);
    for (uint32_t i = 0; i < results; i++) code->values.type[op_result(code, op, i).row] = types[i];
    return op;
}
OpId flow_close(FlowBuild *f, Opcode opcode, const ValueId *operands, uint32_t count,
                const uint64_t *attrs, const TypeId *types, uint32_t results) {
    Code *code = f->build->code;
    f->build->block = f->outer;
    OpId op = flow_row(f->build, opcode, operands, count, attrs, types, results);
    code->ops.blocks_first[op.row] = f->first;
    code->ops.blocks_count[op.row] = (uint16_t)f->count;
    code_close_blocks(code, op);
    return op;
}
