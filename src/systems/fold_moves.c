/* Folding of what only moves: conversions that lose nothing, and the putting together of parts.
 *
 * c widens: every number of its operand's dtype is one of its result's.
 *   convert(c(x)) = convert(x), or x itself if that is the dtype
 *   reshape, transpose, slice, concat of c(x) = c of those of x: fewer bytes move
 *   pad(a) + pad(b), zeros where the other has elements = concat(a, b), padded by what is left
 *   concat of slices of x that stand side by side in x = one slice, or x
 * The last two are what derivatives of slices, and streams along several directions, come to. All
 * on new values, operands first, so that one sweep carries a conversion past all moves. */
#include "systems/fold_inner.h"

static Opcode opcode_of(const Rewrite *rw, ValueId value) {
    OpId op = value_op(rw->build.code, value);
    return op_id_some(op) ? (Opcode)rw->build.code->ops.opcode[op.row] : OP_NIL;
}
static ValueId operand_of(const Rewrite *rw, ValueId value, uint32_t i) {
    return op_operand(rw->build.code, value_op(rw->build.code, value), i);
}
static const uint64_t *attrs_of(const Rewrite *rw, ValueId value) {
    return op_attrs(rw->world, rw->build.code, value_op(rw->build.code, value));
}

/* --- conversions ------------------------------------------------------------------------------ */
static bool widens(Dtype from, Dtype to) {
    return dtype_is_float(from) && dtype_bytes(from) < dtype_bytes(to) &&
           (to == DTYPE_F32 || to == DTYPE_F64);
}
/* The operand of a conversion that widens; the value itself otherwise. */
static ValueId before_widening(const Rewrite *rw, ValueId value) {
    if (opcode_of(rw, value) != OP_CONVERT) return value;
    ValueId x = operand_of(rw, value, 0);
    return widens(build_dtype(&rw->build, x), build_dtype(&rw->build, value)) ? x : value;
}
/* All operands are conversions from one dtype: out takes what they convert. */
static bool all_widened(const Rewrite *rw, const ValueId *operands, uint32_t count, ValueId *out) {
    for (uint32_t i = 0; i < count; i++) {
        out[i] = before_widening(rw, operands[i]);
        if (out[i].row == operands[i].row ||
            build_dtype(&rw->build, out[i]) != build_dtype(&rw->build, out[0]))
            return false;
    }
    return count != 0;
}
static bool is_move(Opcode opcode) {
    return opcode == OP_RESHAPE || opcode == OP_TRANSPOSE || opcode == OP_SLICE ||
           opcode == OP_CONCAT;
}

/* --- parts ------------------------------------------------------------------------------------ */
/* A value as part of a larger one, zeros around it. */
typedef struct Part {
    ValueId      x;
    const DimId *size;
    DimId        low[SHAPE_RANK_MAX], high[SHAPE_RANK_MAX];
    uint32_t     rank;
} Part;
static bool is_zero(const Rewrite *rw, ValueId scalar) {
    if (opcode_of(rw, scalar) != OP_CONSTANT) return false;
    ConstId id = {(uint32_t)attrs_of(rw, scalar)[0]};
    Dtype   dtype = build_dtype(&rw->build, scalar);
    return !dtype_is_complex(dtype) &&
           const_decode(dtype, consts_bytes(&rw->world->consts, id)) == 0;
}
static bool find_part(const Rewrite *rw, ValueId value, Part *out) {
    if (opcode_of(rw, value) != OP_PAD || !is_zero(rw, operand_of(rw, value, 1))) return false;
    const uint64_t *attrs = attrs_of(rw, value);
    const Attrs    *lists = &rw->world->attrs;
    ListId          interior = {(uint32_t)attrs[ATTR_PAD_interior]};
    for (uint32_t i = 0; i < list_count(lists, interior); i++)
        if (list_numbers(lists, interior)[i] != 0) return false;
    out->x = operand_of(rw, value, 0);
    out->size = build_dims(&rw->build, out->x);
    out->rank = build_rank(&rw->build, out->x);
    for (uint32_t i = 0; i < out->rank; i++) {
        out->low[i] =
            (DimId){(uint32_t)list_numbers(lists, (ListId){(uint32_t)attrs[ATTR_PAD_low]})[i]};
        out->high[i] =
            (DimId){(uint32_t)list_numbers(lists, (ListId){(uint32_t)attrs[ATTR_PAD_high]})[i]};
    }
    return true;
}
static bool none(const Dims *dims, DimId dim) {
    return dims_is_const(dims, dim) && dims_const_value(dims, dim) == 0;
}
/* The only axis on which parts end where others begin: a before b. UINT32_MAX: there is none. */
static uint32_t joint_of(Dims *dims, const Part *a, const Part *b) {
    uint32_t axis = UINT32_MAX;
    for (uint32_t i = 0; i < a->rank; i++) {
        if (a->size[i].row == b->size[i].row && a->low[i].row == b->low[i].row &&
            a->high[i].row == b->high[i].row)
            continue;
        DimId end = dims_add(dims, a->low[i], a->size[i]);
        if (axis != UINT32_MAX || !dim_id_some(end) || end.row != b->low[i].row ||
            !dims_provably_at_most(dims, dims_const(dims, 0), a->low[i]) ||
            !dims_provably_at_most(dims, dims_const(dims, 0), b->high[i]))
            return UINT32_MAX;
        axis = i;
    }
    return axis;
}
/* Pushes the operands of a concat along the axis, or the value itself. */
static uint32_t add_pieces(const Rewrite *rw, ValueId value, uint32_t axis, ValueId *out,
                           uint32_t count) {
    OpId op = value_op(rw->build.code, value);
    if (opcode_of(rw, value) != OP_CONCAT || attrs_of(rw, value)[ATTR_CONCAT_axis] != axis) {
        out[count] = value;
        return count + 1;
    }
    for (uint32_t i = 0; i < rw->build.code->ops.operands_count[op.row]; i++)
        out[count++] = op_operand(rw->build.code, op, i);
    return count;
}
static ValueId joined(Rewrite *rw, const Part *a, const Part *b, uint32_t axis, ValueId zero) {
    enum { PIECES_MAX = LIST_MAX / 2 };
    ValueId  pieces[2 * PIECES_MAX];
    DimId    low[SHAPE_RANK_MAX], high[SHAPE_RANK_MAX];
    bool     padded = false;
    uint64_t word = axis;
    ValueId  ends[2] = {a->x, b->x}, before[2];
    uint32_t count = 0;
    bool     wide = all_widened(rw, ends, 2, before);
    for (uint32_t i = 0; i < 2; i++) {
        ValueId end = wide ? before[i] : ends[i];
        OpId    op = value_op(rw->build.code, end);
        if (op_id_some(op) && rw->build.code->ops.operands_count[op.row] > PIECES_MAX)
            return (ValueId){0};
        count = add_pieces(rw, end, axis, pieces, count);
    }
    ValueId both = build_op(&rw->build, OP_CONCAT, pieces, count, &word);
    both = build_convert(&rw->build, both, build_dtype(&rw->build, a->x));
    for (uint32_t i = 0; i < a->rank; i++) {
        low[i] = a->low[i];
        high[i] = b->high[i];
        padded |= !none(&rw->world->dims, low[i]) || !none(&rw->world->dims, high[i]);
    }
    if (!padded) return both;
    uint64_t words[3] = {build_sizes(&rw->build, low, a->rank),
                         build_sizes(&rw->build, high, a->rank), 0};
    ValueId  operands[2] = {both, zero};
    return build_op(&rw->build, OP_PAD, operands, 2, words);
}
static ValueId sum_of_parts(Rewrite *rw, ValueId x, ValueId y) {
    Part a, b;
    if (!find_part(rw, x, &a) || !find_part(rw, y, &b)) return (ValueId){0};
    ValueId  zero = operand_of(rw, x, 1);
    uint32_t axis = joint_of(&rw->world->dims, &a, &b);
    if (axis != UINT32_MAX) return joined(rw, &a, &b, axis, zero);
    axis = joint_of(&rw->world->dims, &b, &a);
    return axis != UINT32_MAX ? joined(rw, &b, &a, axis, zero) : (ValueId){0};
}

/* --- slices ----------------------------------------------------------------------------------- */
static const int64_t *sizes_of(const Rewrite *rw, ValueId slice, uint32_t attr) {
    return list_numbers(&rw->world->attrs, (ListId){(uint32_t)attrs_of(rw, slice)[attr]});
}
static bool steps_by_one(const Rewrite *rw, ValueId slice) {
    ListId strides = {(uint32_t)attrs_of(rw, slice)[ATTR_SLICE_strides]};
    for (uint32_t i = 0; i < list_count(&rw->world->attrs, strides); i++)
        if (list_numbers(&rw->world->attrs, strides)[i] != 1) return false;
    return true;
}
/* Whether b begins on the axis where a ends, in the same value, and is like it on the others. */
static bool abuts(const Rewrite *rw, ValueId a, ValueId b, uint32_t axis) {
    if (opcode_of(rw, a) != OP_SLICE || opcode_of(rw, b) != OP_SLICE ||
        operand_of(rw, a, 0).row != operand_of(rw, b, 0).row || !steps_by_one(rw, a) ||
        !steps_by_one(rw, b))
        return false;
    const int64_t *from[2] = {sizes_of(rw, a, ATTR_SLICE_starts),
                              sizes_of(rw, b, ATTR_SLICE_starts)};
    const int64_t *to[2] = {sizes_of(rw, a, ATTR_SLICE_limits), sizes_of(rw, b, ATTR_SLICE_limits)};
    for (uint32_t i = 0; i < build_rank(&rw->build, a); i++)
        if (i == axis ? to[0][i] != from[1][i] : from[0][i] != from[1][i] || to[0][i] != to[1][i])
            return false;
    return true;
}
static ValueId slice_across(Rewrite *rw, ValueId first, ValueId last, uint32_t axis) {
    ValueId  x = operand_of(rw, first, 0);
    DimId    limits[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(&rw->build, first);
    for (uint32_t i = 0; i < rank; i++) {
        ValueId of = i == axis ? last : first;
        limits[i] = (DimId){(uint32_t)sizes_of(rw, of, ATTR_SLICE_limits)[i]};
    }
    uint64_t words[3] = {attrs_of(rw, first)[ATTR_SLICE_starts],
                         build_sizes(&rw->build, limits, rank), 0};
    ValueId  y = build_op(&rw->build, OP_SLICE, &x, 1, words);
    return build_type(&rw->build, y).row == build_type(&rw->build, x).row ? x : y;
}
static ValueId join_slices(Rewrite *rw, const ValueId *operands, uint32_t count, uint32_t axis) {
    ValueId  pieces[LIST_MAX];
    uint32_t kept = 0;
    uint64_t word = axis;
    for (uint32_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count; next++)
            if (!abuts(rw, operands[next - 1], operands[next], axis)) break;
        bool alone = next == i + 1;
        pieces[kept++] =
            alone ? operands[i] : slice_across(rw, operands[i], operands[next - 1], axis);
    }
    if (kept == count) return (ValueId){0};
    return kept == 1 ? pieces[0] : build_op(&rw->build, OP_CONCAT, pieces, kept, &word);
}

bool fold_moves(Rewrite *rw, uint32_t row) {
    const Code     *old = rw->old;
    Opcode          opcode = (Opcode)old->ops.opcode[row];
    uint32_t        count = old->ops.operands_count[row];
    ValueId         y = op_result(old, (OpId){row}, 0), operands[LIST_MAX], before[LIST_MAX];
    const uint64_t *attrs = op_attrs(rw->world, old, (OpId){row});
    ValueId         made = {0};
    if (count > LIST_MAX || (opcode != OP_CONVERT && opcode != OP_ADD && !is_move(opcode)))
        return false;
    for (uint32_t i = 0; i < count; i++) operands[i] = rw->map[op_operand(old, (OpId){row}, i).row];
    if (opcode == OP_ADD) made = sum_of_parts(rw, operands[0], operands[1]);
    if (opcode == OP_CONVERT && all_widened(rw, operands, 1, before))
        made = build_convert(&rw->build, before[0],
                             type_dtype(&rw->world->types, old->values.type[y.row]));
    if (is_move(opcode) && all_widened(rw, operands, count, before))
        made = build_convert(&rw->build, build_op(&rw->build, opcode, before, count, attrs),
                             build_dtype(&rw->build, operands[0]));
    if (opcode == OP_CONCAT && !value_id_some(made))
        made = join_slices(rw, operands, count, (uint32_t)attrs[ATTR_CONCAT_axis]);
    if (!value_id_some(made) || build_type(&rw->build, made).row != old->values.type[y.row].row)
        return false;
    rewrite_map(rw, y, made);
    return true;
}
