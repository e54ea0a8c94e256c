/* fold: constants are evaluated, and rows that change nothing disappear.
 *
 * Works on splats: a scalar constant, or its broadcast, or elementwise rows over splats, known as
 * one number. Only operations that round exactly are evaluated here, so a folded program gives the
 * bits of the unfolded one, with one exception: x + 0 becomes x, which keeps the sign of a zero.
 * Algebra, each rule shrinking the program (so sweeps terminate):
 *   x+0 = x-0 = 0+x = x*1 = 1*x = x/1 = x;  --x = x;  select(c,a,a) = a;  select(splat,a,b) = a or
 * b
 *   convert to the same dtype, reshape/broadcast/transpose/slice to the same type = x
 *   reshape(reshape x) = reshape x;  transpose(transpose x) = transpose x
 *   reduce over no axes = x;  concat of one = x;  dim_size of a constant dim = the constant
 *   conversions that lose nothing move behind moves, parts become one (fold_moves.c)
 * Needs types; breaks layout. Linear. */
#include <math.h>

#include "systems/fold_inner.h"
#include "systems/system.h"

typedef struct Fold {
    SystemCtx *ctx;
    Rewrite    rw;
    uint8_t   *splat; /* by old value row: its elements are all `number` */
    double    *number;
} Fold;

/* The number after rounding to the dtype; false when a double cannot hold it exactly. */
static bool rounded(Dtype dtype, double number, double *out) {
    uint8_t bytes[16];
    if (dtype_is_complex(dtype) || const_encode(dtype, 0, bytes) == 0) return false;
    if (!dtype_is_float(dtype) && !(fabs(number) < 9e15)) return false;
    (void)const_encode(dtype, number, bytes);
    *out = const_decode(dtype, bytes);
    return dtype_is_float(dtype) || *out == number || dtype == DTYPE_BOOL;
}

static bool compare(CompareKind direction, double a, double b) {
    switch (direction) {
    case COMPARE_EQ: return a == b;
    case COMPARE_NE: return a != b;
    case COMPARE_LT: return a < b;
    case COMPARE_LE: return a <= b;
    case COMPARE_GT: return a > b;
    default: return a >= b;
    }
}

/* Value of an elementwise row over splats; false when it is not evaluated here. */
static bool evaluate(const Fold *f, uint32_t row, double *out) { // tidy: dispatch
    const Code    *old = f->rw.old;
    const ValueId *x = op_operands(old, (OpId){row});
    Opcode         opcode = (Opcode)old->ops.opcode[row];
    Dtype          dtype = type_dtype(&f->ctx->world->types, old->values.type[x[0].row]);
    double         a = f->number[x[0].row], b = f->number[x[old->ops.operands_count[row] > 1].row];
    bool           is_float = dtype_is_float(dtype);
    switch (opcode) {
    case OP_NEG: *out = -a; break;
    case OP_ABS: *out = fabs(a); break;
    case OP_FLOOR: *out = floor(a); break;
    case OP_SQRT: *out = sqrt(a); break;
    case OP_ADD: *out = a + b; break;
    case OP_SUB: *out = a - b; break;
    case OP_MUL: *out = a * b; break;
    case OP_DIV:
        if (!is_float) return false;
        *out = a / b;
        break;
    case OP_MAX: *out = isnan(a) || isnan(b) ? NAN : a > b ? a : b; break;
    case OP_MIN: *out = isnan(a) || isnan(b) ? NAN : a < b ? a : b; break;
    case OP_COMPARE:
        *out = compare((CompareKind)op_attrs(f->ctx->world, old, (OpId){row})[0], a, b);
        break;
    case OP_CONVERT:
        if (isnan(a) &&
            !dtype_is_float(type_dtype(&f->ctx->world->types,
                                       old->values.type[op_result(old, (OpId){row}, 0).row])))
            return false;
        *out = a;
        break;
    default: return false;
    }
    return true;
}

/* Marks the row's result as a splat when it is one. */
static void track_splat(Fold *f, uint32_t row) {
    const Code    *old = f->rw.old;
    const World   *world = f->ctx->world;
    Opcode         opcode = (Opcode)old->ops.opcode[row];
    const ValueId *x = op_operands(old, (OpId){row});
    uint32_t       count = old->ops.operands_count[row];
    if (old->ops.results_count[row] != 1) return;
    ValueId y = op_result(old, (OpId){row}, 0);
    TypeId  type = old->values.type[y.row];
    if (!type_id_some(type)) return;
    Dtype dtype = type_dtype(&world->types, type);
    if (opcode == OP_CONSTANT) {
        ConstId id = {(uint32_t)op_attrs(world, old, (OpId){row})[0]};
        if (type_rank(&world->types, type) != 0 || dtype_is_complex(dtype)) return;
        f->number[y.row] = const_decode(dtype, consts_bytes(&world->consts, id));
        double same;
        f->splat[y.row] = rounded(dtype, f->number[y.row], &same);
        return;
    }
    if (opcode == OP_DIM_SIZE) {
        DimId size = type_dims(&world->types,
                               old->values.type[x[0].row])[op_attrs(world, old, (OpId){row})[0]];
        if (!dims_is_const(&world->dims, size)) return;
        f->number[y.row] = (double)dims_const_value(&world->dims, size);
        f->splat[y.row] = 1;
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!f->splat[x[i].row]) return;
    if (count == 0) return;
    if (opcode == OP_BROADCAST_IN_DIM || opcode == OP_RESHAPE || opcode == OP_TRANSPOSE) {
        f->splat[y.row] = 1;
        f->number[y.row] = f->number[x[0].row];
    } else if (op_infos[opcode].flags & OP_ELEMENTWISE) {
        double number;
        f->splat[y.row] = evaluate(f, row, &number) && rounded(dtype, number, &f->number[y.row]);
    }
}

static bool is_number(const Fold *f, ValueId old_value, double number) {
    return f->splat[old_value.row] && f->number[old_value.row] == number;
}

/* An operand (old row) that the result equals, or nil. */
static ValueId same_as_operand(const Fold *f, uint32_t row) { // tidy: dispatch
    const Code    *old = f->rw.old;
    const ValueId *x = op_operands(old, (OpId){row});
    const Values  *values = &old->values;
    uint32_t       count = old->ops.operands_count[row];
    if (old->ops.results_count[row] != 1 || count == 0) return (ValueId){0};
    bool same_type =
        values->type[op_result(old, (OpId){row}, 0).row].row == values->type[x[0].row].row;
    switch ((Opcode)old->ops.opcode[row]) {
    case OP_ADD:
        if (is_number(f, x[1], 0)) return x[0];
        if (is_number(f, x[0], 0)) return x[1];
        break;
    case OP_SUB: return is_number(f, x[1], 0) ? x[0] : (ValueId){0};
    case OP_MUL:
        if (is_number(f, x[1], 1)) return x[0];
        if (is_number(f, x[0], 1)) return x[1];
        break;
    case OP_DIV: return is_number(f, x[1], 1) ? x[0] : (ValueId){0};
    case OP_NEG: {
        OpId def = value_op(old, x[0]);
        if (old->ops.opcode[def.row] == OP_NEG) return op_operand(old, def, 0);
        break;
    }
    case OP_SELECT:
        if (x[1].row == x[2].row) return x[1];
        if (f->splat[x[0].row]) return f->number[x[0].row] != 0 ? x[1] : x[2];
        break;
    case OP_RESHAPE:
    case OP_BROADCAST_IN_DIM:
    case OP_SLICE:
    case OP_CONVERT: return same_type ? x[0] : (ValueId){0}; /* a full slice keeps its type */
    case OP_CONCAT: return count == 1 ? x[0] : (ValueId){0};
    case OP_REDUCE:
        return op_attrs(f->ctx->world, old, (OpId){row})[ATTR_REDUCE_axes] == 0 ? x[0]
                                                                                : (ValueId){0};
    default: break;
    }
    return (ValueId){0};
}

static bool is_identity_permutation(const World *world, uint64_t list) {
    const int64_t *at = list_numbers(&world->attrs, (ListId){(uint32_t)list});
    for (uint32_t i = 0; i < list_count(&world->attrs, (ListId){(uint32_t)list}); i++)
        if (at[i] != i) return false;
    return true;
}

/* reshape of reshape and transpose of transpose look through the inner row, on new values. */
static bool look_through(Fold *f, uint32_t row) {
    Rewrite    *rw = &f->rw;
    const Code *old = rw->old, *code = rw->build.code;
    World      *world = f->ctx->world;
    Opcode      opcode = (Opcode)old->ops.opcode[row];
    if (opcode != OP_RESHAPE && opcode != OP_TRANSPOSE) return false;
    ValueId y = op_result(old, (OpId){row}, 0), x = rw->map[op_operand(old, (OpId){row}, 0).row];
    const uint64_t *attrs = op_attrs(world, old, (OpId){row});
    if (opcode == OP_TRANSPOSE && is_identity_permutation(world, attrs[0])) {
        rewrite_map(rw, y, x);
        return true;
    }
    OpId inner = value_op(code, x);
    if (!op_id_some(inner) || code->ops.opcode[inner.row] != opcode) return false;
    ValueId source = op_operand(code, inner, 0);
    if (opcode == OP_RESHAPE) {
        bool back = code->values.type[source.row].row == old->values.type[y.row].row;
        rewrite_map(rw, y, back ? source : build_op(&rw->build, OP_RESHAPE, &source, 1, attrs));
        return true;
    }
    ListId outer_list = {(uint32_t)attrs[0]},
           inner_list = {(uint32_t)op_attrs(world, code, inner)[0]};
    uint32_t rank = list_count(&world->attrs, outer_list);
    int64_t  both[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++)
        both[i] =
            list_numbers(&world->attrs, inner_list)[list_numbers(&world->attrs, outer_list)[i]];
    uint64_t word = build_ints(&rw->build, both, rank);
    rewrite_map(rw, y,
                is_identity_permutation(world, word)
                    ? source
                    : build_transpose(&rw->build, source, both, rank));
    return true;
}

Ran sys_fold(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    values = old->values.table.count;
    Ran         ran = {0};
    Fold        f = {.ctx = ctx,
                     .splat = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values),
                     .number = ARENA_ARRAY(ctx->scratch, double, values)};
    f.rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        OpId op = {row};
        rewrite_at(&f.rw, op);
        track_splat(&f, row);
        Opcode  opcode = (Opcode)old->ops.opcode[row];
        bool    pure = (op_infos[opcode].flags & OP_PURE) != 0;
        ValueId y = old->ops.results_first[row],
                same = pure ? same_as_operand(&f, row) : (ValueId){0};
        if (value_id_some(same) && system_burn(ctx)) {
            rewrite_map(&f.rw, y, f.rw.map[same.row]);
            ran.changed++;
        } else if (pure && old->ops.operands_count[row] != 0 && f.splat[y.row] &&
                   opcode != OP_BROADCAST_IN_DIM && system_burn(ctx)) {
            rewrite_map(&f.rw, y,
                        build_splat_type(&f.rw.build, old->values.type[y.row], f.number[y.row]));
            ran.changed++;
        } else if (pure && ctx->fuel != 0 && (look_through(&f, row) || fold_moves(&f.rw, row))) {
            (void)system_burn(ctx);
            ran.changed++;
        } else {
            (void)rewrite_copy(&f.rw, op);
        }
    }
    rewrite_end(&f.rw);
    return ran;
}
