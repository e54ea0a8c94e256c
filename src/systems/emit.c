/* Shared words of the rules, and their dispatch: which rule an opcode has is read from the .def
 * lists once, into constant tables.
 *
 * Expression rules become one small function per opcode and operand. */
#include "systems/emit.h"

/* Expression rules become one function per (opcode, operand). */
typedef ValueId ExpressionFn(Emit *e);
#define JVP(NAME, i, expression)                                                                   \
    static ValueId jvp_##NAME##_##i(Emit *e) { return expression; }
#include "tables/rules/jvp.def"
#define TRANSPOSE(NAME, i, expression)                                                             \
    static ValueId transpose_##NAME##_##i(Emit *e) { return expression; }
#include "tables/rules/transpose.def"

enum { EXPRESSION_OPERANDS = 3 };
static ExpressionFn *const jvp_expressions[OP_COUNT][EXPRESSION_OPERANDS] = {
#define JVP(NAME, i, expression) [OP_##NAME][i] = jvp_##NAME##_##i,
#include "tables/rules/jvp.def"
};
static JvpFn *const jvp_functions[OP_COUNT] = {
#define JVP_FN(NAME) [OP_##NAME] = jvp_##NAME,
#include "tables/rules/jvp.def"
};
enum Linearity { LINEAR_NOT, LINEAR_TOGETHER, LINEAR_EACH };
static const uint8_t linearity[OP_COUNT] = {
#define JVP_LINEAR(NAME)      [OP_##NAME] = LINEAR_TOGETHER,
#define JVP_MULTILINEAR(NAME) [OP_##NAME] = LINEAR_EACH,
#include "tables/rules/jvp.def"
};
static ExpressionFn *const transpose_expressions[OP_COUNT][EXPRESSION_OPERANDS] = {
#define TRANSPOSE(NAME, i, expression) [OP_##NAME][i] = transpose_##NAME##_##i,
#include "tables/rules/transpose.def"
};
static TransposeFn *const transpose_functions[OP_COUNT] = {
#define TRANSPOSE_FN(NAME) [OP_##NAME] = transpose_##NAME,
#include "tables/rules/transpose.def"
};
static TransposeAllFn *const transpose_all[OP_COUNT] = {
#define TRANSPOSE_ALL(NAME) [OP_##NAME] = transpose_##NAME,
#include "tables/rules/transpose.def"
};

Emit emit_at(Build *build, OpId op) {
    const Code *code = build->code;
    return (Emit){.build = build,
                  .op = op,
                  .x = op_operands(code, op),
                  .count = code->ops.operands_count[op.row],
                  .y = code->ops.results_first[op.row],
                  .attrs = op_attrs(build->world, code, op)};
}

ValueId emit_like(Emit *e, const ValueId *operands) {
    return build_op(e->build, (Opcode)e->build->code->ops.opcode[e->op.row], operands, e->count,
                    e->attrs);
}

ValueId emit_complex(Emit *e, ValueId re, ValueId im) {
    return build_binary(e->build, OP_COMPLEX, re, im);
}

/* Constants are real: a complex zero is made of two. */
ValueId emit_zeros(Emit *e, TypeId type) {
    Types *types = &e->build->world->types;
    if (!type_id_some(type) || !dtype_is_complex(type_dtype(types, type)))
        return build_splat_type(e->build, type, 0);
    Dtype   part = type_dtype(types, type) == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
    ValueId zero = build_splat_type(e->build, types_type(types, part, type_shape(types, type)), 0);
    return emit_complex(e, zero, zero);
}

ValueId emit_tangent(Emit *e, uint32_t i) {
    return value_id_some(e->d[i]) ? e->d[i] : emit_zeros(e, T(i));
}

/* The row over tangents: differentiable operands are replaced, the others (indices, masks) stay. */
static ValueId jvp_together(Emit *e) {
    enum { SMALL = 64 };
    ValueId few[SMALL], *operands = few;
    Scratch scratch = scratch_begin(NULL, 0);
    if (e->count > SMALL) operands = ARENA_ARRAY(scratch.arena, ValueId, e->count);
    for (uint32_t i = 0; i < e->count; i++)
        operands[i] =
            dtype_is_differentiable(build_dtype(e->build, X(i))) ? emit_tangent(e, i) : X(i);
    ValueId tangent = emit_like(e, operands);
    scratch_end(scratch);
    return tangent;
}

/* add and sub pass a lone tangent on without adding zeros. */
static ValueId jvp_sum(Emit *e, bool minus) {
    if (!value_id_some(e->d[1])) return e->d[0];
    if (!value_id_some(e->d[0])) return minus ? NEG(e->d[1]) : e->d[1];
    return emit_like(e, e->d);
}

/* A sort by integers moves floats along, so every result counts. */
static bool any_result_moves(const Emit *e) {
    bool any = false;
    for (uint32_t i = 0; i < e->build->code->ops.results_count[e->op.row]; i++)
        any |= dtype_is_differentiable(build_dtype(e->build, op_result(e->build->code, e->op, i)));
    return any;
}

bool emit_jvp(Emit *e, ValueId *out_tangents) {
    Opcode opcode = (Opcode)e->build->code->ops.opcode[e->op.row];
    if ((op_infos[opcode].flags & OP_ZERO_GRAD) || !any_result_moves(e)) return true;
    if (jvp_functions[opcode] != NULL) return jvp_functions[opcode](e, out_tangents);
    if (opcode == OP_ADD || opcode == OP_SUB) {
        out_tangents[0] = jvp_sum(e, opcode == OP_SUB);
        return true;
    }
    if (linearity[opcode] == LINEAR_TOGETHER) {
        out_tangents[0] = jvp_together(e);
        return true;
    }
    for (uint32_t i = 0; i < e->count; i++) {
        if (!value_id_some(e->d[i])) continue;
        ValueId part;
        e->operand = i;
        if (linearity[opcode] == LINEAR_EACH) {
            ValueId operands[2] = {i == 0 ? D : X(0), i == 1 ? D : X(1)};
            ASSERT(e->count == 2);
            part = emit_like(e, operands);
        } else if (i < EXPRESSION_OPERANDS && jvp_expressions[opcode][i] != NULL) {
            part = jvp_expressions[opcode][i](e);
        } else {
            return false;
        }
        out_tangents[0] = value_id_some(out_tangents[0]) ? ADD(out_tangents[0], part) : part;
    }
    return true;
}

static ValueId transpose_operand(Emit *e, Opcode opcode) {
    if (transpose_functions[opcode] != NULL) return transpose_functions[opcode](e);
    if (e->operand < EXPRESSION_OPERANDS && transpose_expressions[opcode][e->operand] != NULL)
        return transpose_expressions[opcode][e->operand](e);
    return (ValueId){0};
}
bool emit_transpose(Emit *e, const uint8_t *is_tangent, ValueId *out_parts) {
    Opcode opcode = (Opcode)e->build->code->ops.opcode[e->op.row];
    memset(out_parts, 0, e->count * sizeof *out_parts);
    if (transpose_all[opcode] != NULL) {
        transpose_all[opcode](e, out_parts);
        return true;
    }
    for (e->operand = 0; e->operand < e->count; e->operand++) {
        if (!is_tangent[X(e->operand).row]) continue;
        out_parts[e->operand] = transpose_operand(e, opcode);
        if (!value_id_some(out_parts[e->operand])) return false;
    }
    return true;
}
bool emit_has_transpose(Opcode opcode) {
    bool any = transpose_functions[opcode] != NULL || transpose_all[opcode] != NULL;
    for (uint32_t i = 0; i < EXPRESSION_OPERANDS; i++)
        any |= transpose_expressions[opcode][i] != NULL;
    return any;
}

/* --- words ------------------------------------------------------------------------------------ */
ValueId emit_polygamma(Emit *e, int64_t order, ValueId x) {
    uint64_t word = (uint64_t)order;
    return build_op(e->build, OP_POLYGAMMA, &x, 1, &word);
}
ValueId emit_bessel(Emit *e, int64_t order, ValueId x) {
    uint64_t word = (uint64_t)order;
    return build_op(e->build, OP_BESSEL_IE, &x, 1, &word);
}
ValueId emit_winner(Emit *e, CompareKind beats, ValueId a, ValueId b) {
    ValueId tie = SELECT(COMPARE(EQ, a, b), NUM(0.5), NUM(0));
    return SELECT(build_compare(e->build, beats, a, b), NUM(1), tie);
}
/* The sizes are read from X(0), never from x, which may be a tangent that the backward program
 * drops. */
ValueId emit_mean(Emit *e, ValueId x, const int64_t *axes, uint32_t count) {
    ValueId sum = build_reduce(e->build, REDUCE_SUM, x, axes, count);
    ValueId n = build_count(e->build, X(0), axes, count, build_dtype(e->build, x));
    return DIV(sum, build_scalar_over(e->build, n, sum));
}
ValueId emit_take_along(Emit *e, ValueId x, ValueId indices, int64_t axis) {
    Dims    *dims = &e->build->world->dims;
    uint32_t rank = build_rank(e->build, x), others = 0;
    int64_t  batch[SHAPE_RANK_MAX], ones[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) {
        ones[i] = dims_const(dims, 1).row;
        if (i != axis) batch[others++] = i;
    }
    uint64_t words[6];
    words[ATTR_GATHER_offset_dims] = 0;
    words[ATTR_GATHER_collapsed_dims] = build_ints(e->build, &axis, 1);
    words[ATTR_GATHER_batch_dims] = build_ints(e->build, batch, others);
    words[ATTR_GATHER_index_batch_dims] = build_ints(e->build, batch, others);
    words[ATTR_GATHER_index_map] = build_ints(e->build, &axis, 1);
    words[ATTR_GATHER_slice_sizes] = build_ints(e->build, ones, rank);
    ValueId operands[2] = {x, indices};
    return build_op(e->build, OP_GATHER, operands, 2, words);
}
ValueId emit_scatter(Emit *e, ValueId into, ValueId indices, ValueId updates, ScatterKind kind,
                     const uint64_t *gather) {
    uint64_t words[6];
    words[ATTR_SCATTER_kind] = kind;
    words[ATTR_SCATTER_offset_dims] = gather[ATTR_GATHER_offset_dims];
    words[ATTR_SCATTER_collapsed_dims] = gather[ATTR_GATHER_collapsed_dims];
    words[ATTR_SCATTER_batch_dims] = gather[ATTR_GATHER_batch_dims];
    words[ATTR_SCATTER_index_batch_dims] = gather[ATTR_GATHER_index_batch_dims];
    words[ATTR_SCATTER_index_map] = gather[ATTR_GATHER_index_map];
    ValueId operands[3] = {into, indices, updates};
    return build_op(e->build, OP_SCATTER, operands, 3, words);
}

ValueId emit_positions(Emit *e, ValueId like, int64_t axis) {
    uint64_t words[3] = {DTYPE_I64, build_sizes(e->build, build_dims(e->build, like) + axis, 1), 0};
    return build_along(e->build, build_op(e->build, OP_IOTA, NULL, 0, words), like, axis);
}
ValueId emit_is_class(Emit *e, ValueId logits, ValueId label) {
    uint64_t last = build_rank(e->build, logits) - 1;
    ValueId  classes = build_op(e->build, OP_DIM_SIZE, &logits, 1, &last);
    ValueId  below = COMPARE(LT, label, build_scalar_over(e->build, classes, label));
    return build_binary(e->build, OP_AND, below,
                        COMPARE(GE, label, build_splat(e->build, label, 0)));
}
ValueId emit_part(Build *build, ValueId x, int64_t axis, uint32_t i) {
    Dims    *dims = &build->world->dims;
    DimId    starts[SHAPE_RANK_MAX], limits[SHAPE_RANK_MAX], kept[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, x), count = 0;
    for (uint32_t k = 0; k < rank; k++) {
        starts[k] = dims_const(dims, 0);
        limits[k] = build_dims(build, x)[k];
        if (k != axis) kept[count++] = limits[k];
    }
    starts[axis] = dims_const(dims, i);
    limits[axis] = dims_const(dims, i + 1);
    uint64_t words[3] = {build_sizes(build, starts, rank), build_sizes(build, limits, rank), 0};
    return build_reshape(build, build_op(build, OP_SLICE, &x, 1, words), kept, count);
}
ValueId emit_stack(Build *build, const ValueId *parts, uint32_t count, int64_t axis) {
    Dims    *dims = &build->world->dims;
    Scratch  scratch = scratch_begin(NULL, 0);
    ValueId *rows = ARENA_ARRAY(scratch.arena, ValueId, count);
    DimId    shape[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, parts[0]);
    for (uint32_t i = 0; i <= rank; i++)
        shape[i] = i == axis ? dims_const(dims, 1) : build_dims(build, parts[0])[i - (i > axis)];
    for (uint32_t i = 0; i < count; i++) rows[i] = build_reshape(build, parts[i], shape, rank + 1);
    uint64_t word = (uint64_t)axis;
    ValueId  stack = build_op(build, OP_CONCAT, rows, count, &word);
    scratch_end(scratch);
    return stack;
}
ValueId emit_largest(Build *build, ValueId x, bool rows, bool columns) {
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, x), count = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (!(i + 1 == rank ? columns : rows)) axes[count++] = i;
    x = build_unary(build, OP_ABS, build_convert(build, x, DTYPE_F32));
    return build_reduce(build, REDUCE_MAX, x, axes, count);
}
ValueId emit_scaled(Build *build, ValueId z, ValueId x_scale, ValueId y_scale) {
    ValueId wide = build_convert(build, z, DTYPE_F32);
    ValueId scale = build_binary(build, OP_MUL, x_scale, y_scale);
    wide = build_binary(build, OP_MUL, wide, build_scalar_over(build, scale, wide));
    return build_convert(build, wide, build_dtype(build, z));
}
ValueId emit_with_last_one(Emit *e, ValueId v) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, v);
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(e->build, v)[i];
    dims[rank] = dims_const(&e->build->world->dims, 1);
    return build_reshape(e->build, v, dims, rank + 1);
}
ValueId emit_matrix_dot(Emit *e, ValueId a, ValueId b, bool b_transposed) {
    DotAxes axes = {.contract = 1};
    int64_t rank = build_rank(e->build, a);
    for (int64_t i = 0; i + 2 < rank; i++) axes.x_batch[i] = axes.y_batch[i] = i;
    axes.batch = (uint32_t)(rank - 2);
    axes.x_contract[0] = rank - 1;
    axes.y_contract[0] = b_transposed ? rank - 1 : rank - 2;
    return build_dot(e->build, a, b, &axes);
}
ValueId emit_linear_dot(Emit *e, ValueId x, ValueId weight) {
    DotAxes axes = {
        .contract = 1, .x_contract = {(int64_t)build_rank(e->build, x) - 1}, .y_contract = {1}};
    return build_dot(e->build, x, weight, &axes);
}
ValueId emit_matmul_dot(Emit *e, ValueId x, ValueId y) {
    DotAxes axes = {.contract = 1};
    int64_t x_rank = build_rank(e->build, x), y_rank = build_rank(e->build, y);
    axes.x_contract[0] = x_rank - 1;
    axes.y_contract[0] = y_rank - 2;
    for (int64_t i = 0; y_rank > 2 && i < x_rank - 2; i++) axes.x_batch[i] = axes.y_batch[i] = i;
    axes.batch = y_rank > 2 ? (uint32_t)(x_rank - 2) : 0;
    return build_dot(e->build, x, y, &axes);
}
ValueId emit_rows(Emit *e, ValueId table, ValueId indices) {
    Dims    *dims = &e->build->world->dims;
    int64_t  zero = 0, offset = build_rank(e->build, indices);
    int64_t  sizes[2] = {dims_const(dims, 1).row, build_dims(e->build, table)[1].row};
    uint64_t words[6] = {build_ints(e->build, &offset, 1), build_ints(e->build, &zero, 1), 0, 0,
                         build_ints(e->build, &zero, 1),   build_ints(e->build, sizes, 2)};
    ValueId  operands[2] = {table, emit_with_last_one(e, indices)};
    return build_op(e->build, OP_GATHER, operands, 2, words);
}

ValueId emit_gelu_factor(Emit *e, ValueId x, double times) {
    double k = 0.79788456080286536; /* sqrt(2 / pi) */
    return ADD(NUM(k), MUL(NUM(k * 0.044715 * times), MUL(x, x)));
}
Normalised emit_normalise(Emit *e, const int64_t *axes, uint32_t count, double epsilon,
                          bool centred) {
    ValueId x = X(0);
    if (centred) x = SUB(x, build_spread(e->build, emit_mean(e, x, axes, count), x, axes, count));
    ValueId var = emit_mean(e, MUL(x, x), axes, count);
    ValueId r = RSQRT(ADD(var, build_splat(e->build, var, epsilon)));
    ValueId inverse = build_spread(e->build, r, x, axes, count);
    return (Normalised){MUL(x, inverse), inverse};
}
