/* The builders. All go through build_row, the one place that appends an operator and infers its
 * types, so that builders, rules and rewriting systems produce rows alike.
 *
 * Nil types pass through silently: one mistake, one message. */
#include "tables/build.h"

OpId build_row(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
               const uint64_t *attrs, uint32_t results) {
    const OpInfo *info = &op_infos[opcode];
    World        *world = build->world;
    uint64_t      words[ATTRS_MAX];
    ASSERT(count >= info->operands_min && count <= info->operands_max);
    if (attrs == NULL) {
        for (uint32_t i = 0; i < info->attrs_count; i++)
            words[i] = attr_default_word(&info->attrs[i]);
        attrs = words;
    }
    ASSERT(info->results != OP_ANY || results != 0);
    if (results == 0) results = info->results == OP_MANY ? count : info->results;
    AttrsId  record = attrs_add(&world->attrs, attrs, info->attrs_count);
    OpId     op = code_add_op(build->code, build->block, (uint16_t)opcode, operands, count, results,
                              record, build->loc);
    ValueId  first = build->code->ops.results_first[op.row];
    InferCtx ctx = {.world = world,
                    .opcode = opcode,
                    .op = op.row,
                    .operands = op_operands(build->code, op),
                    .operands_count = count,
                    .record = record,
                    .results_count = results,
                    .out_types = build->code->values.type + first.row,
                    .code = build->code};
    schema_infer(&ctx);
    return op;
}

ValueId build_op(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
                 const uint64_t *attrs) {
    OpId op = build_row(build, opcode, operands, count, attrs, 0);
    return build->code->ops.results_first[op.row];
}

uint64_t build_ints(Build *build, const int64_t *numbers, uint32_t count) {
    return attrs_list(&build->world->attrs, numbers, count).row;
}
uint64_t build_sizes(Build *build, const DimId *dims, uint32_t rank) {
    int64_t rows[SHAPE_RANK_MAX];
    ASSERT(rank <= SHAPE_RANK_MAX);
    for (uint32_t i = 0; i < rank; i++) rows[i] = dims[i].row;
    return build_ints(build, rows, rank);
}

ValueId build_unary(Build *build, Opcode opcode, ValueId x) {
    return build_op(build, opcode, &x, 1, NULL);
}
ValueId build_binary(Build *build, Opcode opcode, ValueId x, ValueId y) {
    ValueId operands[2] = {x, y};
    return build_op(build, opcode, operands, 2, NULL);
}

ValueId build_scalar(Build *build, Dtype dtype, double number) {
    uint8_t  bytes[16];
    World   *world = build->world;
    TypeId   type = types_type(&world->types, dtype, types_shape(&world->types, NULL, 0));
    uint32_t count = const_encode(dtype, number, bytes);
    uint64_t value = consts_add(&world->consts, type, bytes, count).row;
    return build_op(build, OP_CONSTANT, NULL, 0, &value);
}

ValueId build_splat_type(Build *build, TypeId type, double number) {
    if (!type_id_some(type)) return (ValueId){0};
    const Types *types = &build->world->types;
    DimId        dims[SHAPE_RANK_MAX];
    uint32_t     rank = type_rank(types, type);
    for (uint32_t i = 0; i < rank; i++) dims[i] = type_dims(types, type)[i];
    ValueId scalar = build_scalar(build, type_dtype(types, type), number);
    return rank == 0 ? scalar : build_broadcast(build, scalar, dims, rank, NULL);
}
ValueId build_splat(Build *build, ValueId like, double number) {
    return build_splat_type(build, build_type(build, like), number);
}

ValueId build_compare(Build *build, CompareKind direction, ValueId x, ValueId y) {
    ValueId  operands[2] = {x, y};
    uint64_t word = direction;
    return build_op(build, OP_COMPARE, operands, 2, &word);
}
ValueId build_select(Build *build, ValueId which, ValueId on_true, ValueId on_false) {
    ValueId operands[3] = {which, on_true, on_false};
    return build_op(build, OP_SELECT, operands, 3, NULL);
}
ValueId build_convert(Build *build, ValueId x, Dtype dtype) {
    if (type_id_some(build_type(build, x)) && build_dtype(build, x) == dtype) return x;
    uint64_t word = dtype;
    return build_op(build, OP_CONVERT, &x, 1, &word);
}

ValueId build_reduce(Build *build, ReduceKind kind, ValueId x, const int64_t *axes,
                     uint32_t count) {
    uint64_t words[2] = {kind, build_ints(build, axes, count)};
    return build_op(build, OP_REDUCE, &x, 1, words);
}

ValueId build_broadcast(Build *build, ValueId x, const DimId *dims, uint32_t rank,
                        const int64_t *axes) {
    if (!type_id_some(build_type(build, x))) return (ValueId){0};
    uint64_t words[2] = {build_sizes(build, dims, rank), 0};
    words[1] = build_ints(build, axes, build_rank(build, x));
    return build_op(build, OP_BROADCAST_IN_DIM, &x, 1, words);
}

ValueId build_spread(Build *build, ValueId x, ValueId like, const int64_t *removed,
                     uint32_t count) {
    if (!type_id_some(build_type(build, like))) return (ValueId){0};
    uint32_t rank = build_rank(build, like), kept = 0, gone = 0;
    DimId    dims[SHAPE_RANK_MAX];
    int64_t  axes[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < count; i++) gone |= 1u << removed[i];
    for (uint32_t i = 0; i < rank; i++) {
        dims[i] = build_dims(build, like)[i];
        if (!(gone >> i & 1)) axes[kept++] = i;
    }
    return build_broadcast(build, x, dims, rank, axes);
}
ValueId build_along(Build *build, ValueId x, ValueId like, int64_t axis) {
    if (!type_id_some(build_type(build, like))) return (ValueId){0};
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, like);
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(build, like)[i];
    return build_broadcast(build, x, dims, rank, &axis);
}
ValueId build_scalar_over(Build *build, ValueId scalar, ValueId like) {
    if (!type_id_some(build_type(build, like)) || build_rank(build, like) == 0) return scalar;
    return build_along(build, scalar, like, 0);
}

ValueId build_reshape(Build *build, ValueId x, const DimId *dims, uint32_t rank) {
    uint64_t word = build_sizes(build, dims, rank);
    return build_op(build, OP_RESHAPE, &x, 1, &word);
}
ValueId build_transpose(Build *build, ValueId x, const int64_t *permutation, uint32_t rank) {
    uint64_t word = build_ints(build, permutation, rank);
    return build_op(build, OP_TRANSPOSE, &x, 1, &word);
}

/* narrow_dot has the attributes of dot_general first. */
static_assert((int)ATTR_NARROW_DOT_y_contract == (int)ATTR_DOT_GENERAL_y_contract, "ORDER attrs");
static ValueId build_product(Build *build, Opcode opcode, ValueId x, ValueId y, const DotAxes *axes,
                             NarrowDot how) {
    ValueId  operands[2] = {x, y};
    uint64_t words[] = {build_ints(build, axes->x_batch, axes->batch),
                        build_ints(build, axes->y_batch, axes->batch),
                        build_ints(build, axes->x_contract, axes->contract),
                        build_ints(build, axes->y_contract, axes->contract),
                        how.x,
                        how.y,
                        how.wide,
                        how.block};
    return build_op(build, opcode, operands, 2, words);
}
ValueId build_narrow_dot(Build *build, ValueId x, ValueId y, const DotAxes *axes, NarrowDot how) {
    return build_product(build, OP_NARROW_DOT, x, y, axes, how);
}
ValueId build_dot(Build *build, ValueId x, ValueId y, const DotAxes *axes) {
    return build_product(build, OP_DOT_GENERAL, x, y, axes, (NarrowDot){.block = 0});
}

ValueId build_size(Build *build, DimId size) {
    Dims    *dims = &build->world->dims;
    DimId    next = dims_add(dims, size, dims_const(dims, 1));
    uint64_t iota[3] = {DTYPE_I64, build_sizes(build, &next, 1), 0};
    ValueId  numbers = build_op(build, OP_IOTA, NULL, 0, iota);
    uint64_t last[3] = {build_sizes(build, &size, 1), build_sizes(build, &next, 1), 0};
    ValueId  one = build_op(build, OP_SLICE, &numbers, 1, last);
    return build_reshape(build, one, NULL, 0);
}
ValueId build_count(Build *build, ValueId x, const int64_t *axes, uint32_t count, Dtype dtype) {
    Dims   *dims = &build->world->dims;
    double  known = 1;
    ValueId product = {0};
    if (!type_id_some(build_type(build, x))) return (ValueId){0};
    for (uint32_t i = 0; i < count; i++) {
        DimId size = build_dims(build, x)[axes[i]];
        if (dims_is_const(dims, size)) {
            known *= (double)dims_const_value(dims, size);
            continue;
        }
        uint64_t word = (uint64_t)axes[i];
        ValueId  factor = build_convert(build, build_op(build, OP_DIM_SIZE, &x, 1, &word), dtype);
        product = value_id_some(product) ? build_binary(build, OP_MUL, product, factor) : factor;
    }
    ValueId constant = build_scalar(build, dtype, known);
    if (!value_id_some(product)) return constant;
    return known == 1 ? product : build_binary(build, OP_MUL, product, constant);
}
