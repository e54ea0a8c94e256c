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
 *   if and switch over a splat = the rows of one block;  a scan of no steps = its operands
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
    uint8_t   *taken; /* by old operator row: of if and switch: the block that is taken, plus one;
                         of scan: 1 when it makes no step */
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

/* --- blocks ----------------------------------------------------------------------------------- */
/* Decides, when the first block of an operator begins, which of its blocks is taken; 0: all. */
static uint8_t decide(Fold *f, OpId op) {
    const Code     *old = f->rw.old;
    World          *world = f->ctx->world;
    uint32_t        opcode = old->ops.opcode[op.row], blocks = old->ops.blocks_count[op.row];
    const uint64_t *attrs = op_attrs(world, old, op);
    if (opcode == OP_SCAN) {
        uint64_t carries = attrs[ATTR_SCAN_carries];
        DimId    length = {(uint32_t)attrs[ATTR_SCAN_length]};
        if (!dim_id_some(length)) {
            ValueId rows = op_operand(old, op, (uint32_t)carries);
            length = type_dims(&world->types, old->values.type[rows.row])[0];
        }
        bool none =
            dims_is_const(&world->dims, length) && dims_const_value(&world->dims, length) == 0;
        return none && system_burn(f->ctx);
    }
    if (opcode != OP_IF && opcode != OP_SWITCH) return 0;
    ValueId which = op_operand(old, op, 0);
    if (!f->splat[which.row] || !system_burn(f->ctx)) return 0;
    double number = f->number[which.row];
    if (opcode == OP_IF) return number != 0 ? 1 : 2;
    return (uint8_t)(number < 0 ? 1 : number >= blocks ? blocks : (uint32_t)number + 1);
}
/* Whether the row begins a block that is not taken; *row then is the one after it. */
static bool skip_block(Fold *f, uint32_t *row) {
    const Code *old = f->rw.old;
    BlockId     begin[CODE_DEPTH_MAX];
    uint32_t    count = code_blocks_at(old, (OpId){*row}, begin);
    for (uint32_t i = 0; i < count; i++) {
        OpId     op = old->blocks.parent[begin[i].row];
        uint32_t nth = begin[i].row - old->ops.blocks_first[op.row].row;
        bool     scans = old->ops.opcode[op.row] == OP_SCAN;
        if (nth == 0) f->taken[op.row] = decide(f, op);
        if (f->taken[op.row] == 0) continue;
        if (!scans && f->taken[op.row] == nth + 1) {
            rewrite_into(&f->rw, begin[i], f->rw.into[old->ops.block[op.row].row]);
            continue;
        }
        *row = old->blocks.op_last[begin[i].row];
        return true;
    }
    return false;
}
/* The results of an operator of which one block was taken. */
static void take_results(Fold *f, OpId op) {
    const Code *old = f->rw.old;
    uint32_t    block = old->ops.blocks_first[op.row].row + f->taken[op.row] - 1;
    bool        scans = old->ops.opcode[op.row] == OP_SCAN;
    uint64_t    carries = scans ? op_attrs(f->ctx->world, old, op)[ATTR_SCAN_carries] : 0;
    for (uint32_t i = 0; i < old->ops.results_count[op.row]; i++) {
        ValueId y = op_result(old, op, i);
        if (scans && i >= carries) {
            rewrite_map(&f->rw, y, build_splat_type(&f->rw.build, old->values.type[y.row], 0));
            continue;
        }
        ValueId from = scans ? op_operand(old, op, i)
                             : op_operand(old, block_return(old, (BlockId){block}), i);
        f->splat[y.row] = f->splat[from.row];
        f->number[y.row] = f->number[from.row];
        rewrite_map(&f->rw, y, f->rw.map[from.row]);
    }
}
/* The return of a block whose rows are now in the one around it. */
static bool is_inlined_return(const Fold *f, uint32_t row) {
    BlockId block = f->rw.old->ops.block[row];
    return f->rw.into[block.row].row != block.row &&
           (op_info(f->rw.old, (OpId){row})->flags & OP_TERMINATOR) != 0;
}

Ran sys_fold(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    values = old->values.table.count;
    Ran         ran = {0};
    Fold        f = {.ctx = ctx,
                     .splat = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values),
                     .number = ARENA_ARRAY(ctx->scratch, double, values),
                     .taken = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->ops.table.count)};
    f.rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        while (skip_block(&f, &row)) {}
        OpId op = {row};
        rewrite_at(&f.rw, op);
        if (is_inlined_return(&f, row)) continue;
        if (f.taken[row] != 0) {
            take_results(&f, op);
            ran.changed++;
            continue;
        }
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
