/* Branches whose results have different sizes become branches of one size.
 *
 * Infer gives such a result a symbol for a size (infer_control.c). Here each block pads to the
 * largest and says how much of it there is; after the operator the first so many are gathered, by
 * an index that `compact` makes: that gives the symbol its value, and derivatives pass through the
 * gather, the branch and the padding as through any. Part of inline; needs types. Linear in the
 * rows. */
#include "systems/join.h"

#include "systems/emit.h"
#include "systems/flow.h"
#include "systems/rewrite.h"

typedef struct Joint { /* an axis of a result */
    uint32_t result, axis;
    DimId    size, most; /* its symbol, the largest of what blocks return */
    bool     says;       /* the first one of its symbol */
} Joint;
typedef struct Joints {
    Joint   *rows;
    uint32_t count, says;
} Joints;

static DimId returned_dim(const World *world, const Code *code, BlockId block, uint32_t result,
                          uint32_t axis) {
    TypeId type = code->values.type[flow_returned(code, block, result).row];
    return type_dims(&world->types, type)[axis];
}
/* Of an operator with branches in the old code. */
static Joints find_joints(Arena *out, World *world, const Code *code, OpId op) {
    uint32_t results = code->ops.results_count[op.row], blocks = code->ops.blocks_count[op.row];
    Joints   joints = {ARENA_ARRAY(out, Joint, results * SHAPE_RANK_MAX + 1), 0, 0};
    for (uint32_t i = 0; i < results; i++) {
        TypeId type = code->values.type[op_result(code, op, i).row];
        for (uint32_t k = 0; k < type_rank(&world->types, type); k++) {
            DimId size = type_dims(&world->types, type)[k], most = {0};
            bool  differ = false, said = false;
            for (uint32_t b = 0; b < blocks; b++) {
                DimId dim = returned_dim(world, code, flow_block(code, op, b), i, k);
                differ |= !dims_same(&world->dims, dim, size);
                most = b == 0 ? dim : dims_max(&world->dims, most, dim);
            }
            if (!differ) continue;
            for (uint32_t n = 0; n < joints.count; n++)
                said |= dims_same(&world->dims, joints.rows[n].size, size);
            joints.rows[joints.count++] = (Joint){i, k, size, most, !said};
            joints.says += !said;
        }
    }
    return joints;
}

/* --- inside a block --------------------------------------------------------------------------- */
static ValueId pad_to(Build *build, ValueId x, uint32_t axis, DimId most) {
    World   *world = build->world;
    Emit     e = {.build = build};
    uint32_t rank = build_rank(build, x);
    DimId    low[SHAPE_RANK_MAX], high[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) low[i] = high[i] = dims_const(&world->dims, 0);
    high[axis] = dims_sub(&world->dims, most, build_dims(build, x)[axis]);
    TypeId scalar =
        types_type(&world->types, build_dtype(build, x), types_shape(&world->types, NULL, 0));
    ValueId  operands[2] = {x, emit_zeros(&e, scalar)};
    uint64_t words[3] = {build_sizes(build, low, rank), build_sizes(build, high, rank), 0};
    return build_op(build, OP_PAD, operands, 2, words);
}
static void return_joined(Rewrite *rw, OpId end, const Joints *joints, Arena *scratch) {
    uint32_t count = rw->old->ops.operands_count[end.row], next = count;
    ValueId *given = ARENA_ARRAY(scratch, ValueId, count + joints->says + 1);
    for (uint32_t i = 0; i < count; i++) given[i] = rw->map[op_operand(rw->old, end, i).row];
    for (uint32_t n = 0; n < joints->count; n++) { /* before any is padded */
        const Joint *joint = &joints->rows[n];
        uint64_t     axis = joint->axis;
        if (joint->says)
            given[next++] = build_op(&rw->build, OP_DIM_SIZE, &given[joint->result], 1, &axis);
    }
    for (uint32_t n = 0; n < joints->count; n++) {
        const Joint *joint = &joints->rows[n];
        given[joint->result] = pad_to(&rw->build, given[joint->result], joint->axis, joint->most);
    }
    (void)build_row(&rw->build, OP_RETURN, given, next, NULL, 0);
}

/* --- after the operator ----------------------------------------------------------------------- */
/* 0, 1, ... as many as size says: i64[N,1]. */
static ValueId index_of(Build *build, ValueId size, const Joint *joint) {
    Dims    *dims = &build->world->dims;
    uint64_t words[3] = {DTYPE_I64, build_sizes(build, &joint->most, 1), 0}, word = joint->size.row;
    ValueId  all = build_op(build, OP_IOTA, NULL, 0, words);
    ValueId  operands[2] = {
         build_compare(build, COMPARE_LT, all, build_scalar_over(build, size, all)), all};
    OpId  made = build_row(build, OP_COMPACT, operands, 2, &word, 2);
    DimId shape[2] = {joint->size, dims_const(dims, 1)};
    return build_reshape(build, op_result(build->code, made, 0), shape, 2);
}
static ValueId take(Build *build, ValueId x, ValueId index, uint32_t axis) {
    uint32_t rank = build_rank(build, x), count = 0;
    int64_t  offsets[SHAPE_RANK_MAX], at = axis;
    DimId    sizes[SHAPE_RANK_MAX];
    ValueId  operands[2] = {x, index};
    for (uint32_t i = 0; i < rank; i++) {
        sizes[i] = i == axis ? dims_const(&build->world->dims, 1) : build_dims(build, x)[i];
        if (i != axis) offsets[count++] = i;
    }
    uint64_t one = build_ints(build, &at, 1);
    uint64_t words[6] = {build_ints(build, offsets, count), one, 0, 0, one,
                         build_sizes(build, sizes, rank)};
    return build_op(build, OP_GATHER, operands, 2, words);
}
static OpId copy_padded(Rewrite *rw, OpId op, const Joints *joints, Arena *scratch) {
    const Code *old = rw->old;
    World      *world = rw->world;
    Types      *types = &world->types;
    Code       *code = rw->build.code;
    uint32_t    results = old->ops.results_count[op.row];
    ValueId     which = rw->map[op_operand(old, op, 0).row];
    TypeId     *given = ARENA_ARRAY(scratch, TypeId, results + joints->says + 1);
    for (uint32_t i = 0; i < results; i++) {
        TypeId type = old->values.type[op_result(old, op, i).row];
        DimId  dims[SHAPE_RANK_MAX];
        for (uint32_t k = 0; k < type_rank(types, type); k++) dims[k] = type_dims(types, type)[k];
        for (uint32_t n = 0; n < joints->count; n++)
            if (joints->rows[n].result == i) dims[joints->rows[n].axis] = joints->rows[n].most;
        given[i] = types_type(types, type_dtype(types, type),
                              types_shape(types, dims, type_rank(types, type)));
    }
    for (uint32_t i = 0; i < joints->says; i++)
        given[results + i] = types_type(types, DTYPE_I64, types_shape(types, NULL, 0));
    OpId made = flow_row(&rw->build, (Opcode)old->ops.opcode[op.row], &which, 1,
                         op_attrs(world, old, op), given, results + joints->says);
    code->ops.blocks_first[made.row] = old->ops.blocks_first[op.row];
    code->ops.blocks_count[made.row] = old->ops.blocks_count[op.row];
    code_close_blocks(code, made);
    return made;
}
static void join_op(Rewrite *rw, OpId op, const Joints *joints, Arena *scratch) {
    const Code *code = rw->build.code;
    uint32_t    results = rw->old->ops.results_count[op.row], next = results;
    OpId        made = copy_padded(rw, op, joints, scratch);
    ValueId    *now = ARENA_ARRAY(scratch, ValueId, results + 1);
    ValueId    *index = ARENA_ARRAY(scratch, ValueId, joints->count + 1);
    for (uint32_t i = 0; i < results; i++) now[i] = op_result(code, made, i);
    for (uint32_t n = 0; n < joints->count; n++) {
        const Joint *joint = &joints->rows[n];
        uint32_t     first = n;
        if (joint->says)
            index[n] = index_of(&rw->build, op_result(code, made, next++), joint);
        else
            while (!dims_same(&rw->world->dims, joints->rows[--first].size, joint->size)) {}
        now[joint->result] = take(&rw->build, now[joint->result], index[first], joint->axis);
    }
    for (uint32_t i = 0; i < results; i++) rewrite_map(rw, op_result(rw->old, op, i), now[i]);
}

/* By block row: what the blocks of an operator return, if sizes differ. */
static uint32_t find_all(SystemCtx *ctx, Joints *out) {
    const Code *code = &ctx->world->code;
    uint32_t    found = 0;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (opcode != OP_IF && opcode != OP_SWITCH) continue;
        Joints joints = find_joints(ctx->scratch, ctx->world, code, (OpId){row});
        if (joints.count == 0) continue;
        ASSERT(!op_id_some(code->blocks.parent[code->ops.block[row].row])); /* infer says so */
        found++;
        for (uint32_t i = 0; i < code->ops.blocks_count[row]; i++)
            out[flow_block(code, (OpId){row}, i).row] = joints;
    }
    return found;
}
uint32_t join_branches(SystemCtx *ctx) {
    Joints  *joints = ARENA_ARRAY_ZERO(ctx->scratch, Joints, ctx->world->code.blocks.table.count);
    uint32_t found = find_all(ctx, joints);
    if (found == 0) return 0;
    Rewrite     rw = rewrite_begin(ctx->world, ctx->scratch);
    const Code *old = rw.old;
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        OpId          op = {row};
        const Joints *inside = &joints[old->ops.block[row].row];
        const Joints *mine =
            old->ops.blocks_count[row] != 0 ? &joints[old->ops.blocks_first[row].row] : inside;
        rewrite_at(&rw, op);
        if (old->ops.opcode[row] == OP_RETURN && inside->count != 0)
            return_joined(&rw, op, inside, ctx->scratch);
        else if (old->ops.blocks_count[row] != 0 && mine->count != 0)
            join_op(&rw, op, mine, ctx->scratch);
        else
            (void)rewrite_copy(&rw, op);
    }
    rewrite_end(&rw);
    return found;
}
