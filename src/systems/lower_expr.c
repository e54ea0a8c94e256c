/* Elements of values as expressions. The element of a result is an operator of elements of its
 * operands at indices that follow from its own: movement operators become index maps and vanish,
 * padding becomes a guard, data-dependent places become let symbols. A memo by (value, index,
 * guard) keeps shared parts shared; an explicit stack replaces recursion over the block. */
#include "arena/hash.h"
#include "systems/lower_inner.h"

/* --- sizes ------------------------------------------------------------------------------------ */
static DimId import_poly(Lowering *l, const Dims *from, uint32_t row) {
    Dims *dims = &l->loops->dims;
    DimId sum = dims_const(dims, 0);
    for (uint32_t i = 0; i < from->rows.rhs[row]; i++) {
        uint32_t term = from->rows.lhs[row] + i, mono = from->terms.mono[term];
        DimId    product = dims_const(dims, from->terms.coef[term]);
        for (uint32_t k = 0; k < from->monos.count[mono]; k++) {
            DimId atom = {from->atoms.atom[from->monos.first[mono] + k]};
            product = dims_mul(dims, product, lower_dim(l, atom));
        }
        sum = dims_add(dims, sum, product);
    }
    return sum;
}
/* As deep as sizes nest in the text of a program. */
DimId lower_dim(Lowering *l, DimId world_dim) {
    const Dims *from = &l->world->dims;
    uint32_t    row = dims_find(&l->world->dims, world_dim).row;
    Dims       *dims = &l->loops->dims;
    if (dim_id_some(l->imported[row])) return l->imported[row];
    DimId lhs = {from->rows.lhs[row]}, rhs = {from->rows.rhs[row]}, made = {0};
    switch ((DimKind)from->rows.kind[row]) {
    case DIM_CONST: return dims_const(dims, from->rows.imm[row]);
    case DIM_SYMBOL: {
        StrId name = {(uint32_t)from->rows.imm[row]};
        made = loops_param(l->loops, from, strings_get(&l->world->strings, name), (DimId){row});
        break;
    }
    case DIM_POLY: made = import_poly(l, from, row); break;
    case DIM_FLOORDIV: made = dims_floordiv(dims, lower_dim(l, lhs), lower_dim(l, rhs)); break;
    case DIM_LESS: made = dims_less(dims, lower_dim(l, lhs), lower_dim(l, rhs)); break;
    case DIM_MIN: made = dims_min(dims, lower_dim(l, lhs), lower_dim(l, rhs)); break;
    case DIM_MAX: made = dims_max(dims, lower_dim(l, lhs), lower_dim(l, rhs)); break;
    default: break;
    }
    return l->imported[row] = made;
}
uint32_t lower_dims(Lowering *l, ValueId value, DimId *out_dims) {
    TypeId   type = l->code->values.type[value.row];
    uint32_t rank = type_rank(&l->world->types, type);
    for (uint32_t i = 0; i < rank; i++)
        out_dims[i] = lower_dim(l, type_dims(&l->world->types, type)[i]);
    return rank;
}
DimId lower_linear(Lowering *l, const DimId *index, const DimId *dims, uint32_t rank) {
    Dims *d = &l->loops->dims;
    DimId linear = dims_const(d, 0);
    for (uint32_t i = 0; i < rank; i++)
        linear = dims_add(d, dims_mul(d, linear, dims[i]), index[i]);
    return linear;
}
void lower_split_linear(Lowering *l, DimId linear, const DimId *dims, uint32_t rank,
                        DimId *out_index) {
    Dims *d = &l->loops->dims;
    for (uint32_t i = rank; i-- > 1;) {
        out_index[i] = dims_mod(d, linear, dims[i]);
        linear = dims_floordiv(d, linear, dims[i]);
    }
    if (rank != 0) out_index[0] = linear;
}

/* --- attributes ------------------------------------------------------------------------------- */
typedef struct Row { /* the row whose element is wanted */
    Lowering       *l;
    OpId            op;
    Opcode          opcode;
    const uint64_t *attrs;
    ListId          index; /* of the result */
    ExprId          guard;
} Row;
static uint32_t attr_count(const Row *r, uint32_t attr) {
    return list_count(&r->l->world->attrs, (ListId){(uint32_t)r->attrs[attr]});
}
static int64_t attr_int(const Row *r, uint32_t attr, uint32_t i, int64_t otherwise) {
    ListId list = {(uint32_t)r->attrs[attr]};
    if (i >= list_count(&r->l->world->attrs, list)) return otherwise;
    return list_numbers(&r->l->world->attrs, list)[i];
}
static DimId attr_dim(const Row *r, uint32_t attr, uint32_t i) {
    return lower_dim(r->l, (DimId){(uint32_t)attr_int(r, attr, i, 0)});
}
static DimId   at(const Row *r, uint32_t axis) { return list_dim(r->l->loops, r->index, axis); }
static ValueId operand(const Row *r, uint32_t i) { return op_operand(r->l->code, r->op, i); }
static DimId   constant(const Row *r, int64_t number) {
      return dims_const(&r->l->loops->dims, number);
}

/* --- what is wanted of operands --------------------------------------------------------------- */
typedef struct Wanted {
    ListId index;
    ExprId guard;
} Wanted;

/* lower <= place < upper */
static ExprId inside(const Row *r, ExprId guard, DimId place, DimId lower, DimId upper) {
    Loops *loops = r->l->loops;
    DimId  before = dims_sub(&loops->dims, lower, constant(r, 1));
    guard = loops_and(loops, guard, loops_less(loops, before, place));
    return loops_and(loops, guard, loops_less(loops, place, upper));
}

static Wanted want_broadcast(const Row *r) {
    DimId    dims[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX];
    uint32_t rank = lower_dims(r->l, operand(r, 0), dims);
    DimId    one = constant(r, 1);
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t axis = (uint32_t)attr_int(r, ATTR_BROADCAST_IN_DIM_axes, i, 0);
        DimId    to = attr_dim(r, ATTR_BROADCAST_IN_DIM_shape, axis);
        index[i] = dims[i].row == one.row && to.row != one.row ? constant(r, 0) : at(r, axis);
    }
    return (Wanted){loops_list(r->l->loops, index, rank), r->guard};
}
static Wanted want_reshape(const Row *r) {
    DimId    from[SHAPE_RANK_MAX], to[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX];
    uint32_t rank = lower_dims(r->l, operand(r, 0), from);
    uint32_t result_rank = lower_dims(r->l, op_result(r->l->code, r->op, 0), to);
    for (uint32_t i = 0; i < result_rank; i++) index[i] = at(r, i);
    DimId linear = lower_linear(r->l, index, to, result_rank);
    lower_split_linear(r->l, linear, from, rank, index);
    return (Wanted){loops_list(r->l->loops, index, rank), r->guard};
}
static Wanted want_moved(const Row *r) { /* transpose, slice, reverse: axis by axis */
    Dims    *d = &r->l->loops->dims;
    DimId    dims[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX];
    uint32_t rank = lower_dims(r->l, operand(r, 0), dims);
    for (uint32_t i = 0; i < rank; i++) index[i] = at(r, i);
    if (r->opcode == OP_TRANSPOSE)
        for (uint32_t i = 0; i < rank; i++)
            index[attr_int(r, ATTR_TRANSPOSE_permutation, i, 0)] = at(r, i);
    if (r->opcode == OP_REVERSE)
        for (uint32_t i = 0; i < attr_count(r, ATTR_REVERSE_axes); i++) {
            uint32_t axis = (uint32_t)attr_int(r, ATTR_REVERSE_axes, i, 0);
            index[axis] = dims_sub(d, dims_sub(d, dims[axis], constant(r, 1)), at(r, axis));
        }
    if (r->opcode == OP_SLICE)
        for (uint32_t i = 0; i < rank; i++) {
            DimId step = constant(r, attr_int(r, ATTR_SLICE_strides, i, 1));
            index[i] = dims_add(d, attr_dim(r, ATTR_SLICE_starts, i), dims_mul(d, at(r, i), step));
        }
    return (Wanted){loops_list(r->l->loops, index, rank), r->guard};
}
static Wanted want_padded(const Row *r) {
    Dims    *d = &r->l->loops->dims;
    DimId    dims[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX];
    uint32_t rank = lower_dims(r->l, operand(r, 0), dims);
    ExprId   guard = r->guard;
    for (uint32_t i = 0; i < rank; i++) {
        DimId place = dims_sub(d, at(r, i), attr_dim(r, ATTR_PAD_low, i));
        DimId step = constant(r, attr_int(r, ATTR_PAD_interior, i, 0) + 1);
        DimId room = dims_mul(d, dims_sub(d, dims[i], constant(r, 1)), step);
        guard = inside(r, guard, place, constant(r, 0), dims_add(d, room, constant(r, 1)));
        index[i] = dims_floordiv(d, place, step);
        DimId between = dims_mod(d, place, step); /* 0 on elements of x */
        guard = loops_and(r->l->loops, guard, loops_less(r->l->loops, between, constant(r, 1)));
    }
    return (Wanted){loops_list(r->l->loops, index, rank), guard};
}
static Wanted want_part(const Row *r, uint32_t part) { /* concat */
    Dims    *d = &r->l->loops->dims;
    uint32_t axis = (uint32_t)r->attrs[ATTR_CONCAT_axis], rank = 0;
    DimId    dims[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX], start = constant(r, 0);
    for (uint32_t i = 0; i <= part; i++) {
        rank = lower_dims(r->l, operand(r, i), dims);
        if (i < part) start = dims_add(d, start, dims[axis]);
    }
    for (uint32_t i = 0; i < rank; i++) index[i] = at(r, i);
    index[axis] = dims_sub(d, at(r, axis), start);
    ExprId guard = inside(r, r->guard, index[axis], constant(r, 0), dims[axis]);
    return (Wanted){loops_list(r->l->loops, index, rank), guard};
}

/* The element of operand i that the element of the result needs. */
static Wanted want(const Row *r, uint32_t i) {
    ListId none = loops_list(r->l->loops, NULL, 0);
    switch (r->opcode) {
    case OP_BROADCAST_IN_DIM: return want_broadcast(r);
    case OP_RESHAPE: return want_reshape(r);
    case OP_TRANSPOSE:
    case OP_SLICE:
    case OP_REVERSE: return want_moved(r);
    case OP_PAD: return i == 0 ? want_padded(r) : (Wanted){none, r->guard};
    case OP_CONCAT: return want_part(r, i);
    case OP_RNG_BITS: return (Wanted){none, r->guard};
    default: return (Wanted){r->index, r->guard};
    }
}

/* --- memo ------------------------------------------------------------------------------------- */
static LowerMemo *memo_at(Lowering *l, ValueId value, Wanted wanted) {
    uint64_t hash = hash_mix((uint64_t)value.row << 32 | wanted.index.row, wanted.guard.row);
    uint32_t place = (uint32_t)hash & l->memo_mask;
    while (value_id_some(l->memo[place].value) &&
           (l->memo[place].value.row != value.row || l->memo[place].index.row != wanted.index.row ||
            l->memo[place].guard.row != wanted.guard.row))
        place = (place + 1) & l->memo_mask;
    return &l->memo[place];
}
static void memo_put(Lowering *l, ValueId value, Wanted wanted, ExprId expr) {
    if (l->memo_count * 2 > l->memo_mask) {
        LowerMemo *old = l->memo;
        uint32_t   old_mask = l->memo_mask;
        l->memo_mask = old_mask * 2 + 1;
        l->memo = ARENA_ARRAY_ZERO(l->scratch, LowerMemo, l->memo_mask + 1);
        for (uint32_t i = 0; i <= old_mask; i++)
            if (value_id_some(old[i].value))
                *memo_at(l, old[i].value, (Wanted){old[i].index, old[i].guard}) = old[i];
    }
    *memo_at(l, value, wanted) = (LowerMemo){value, wanted.index, wanted.guard, expr};
    l->memo_count++;
}
void lower_forget(Lowering *l) {
    memset(l->memo, 0, sizeof *l->memo * (l->memo_mask + 1));
    l->memo_count = 0;
}

/* --- elements --------------------------------------------------------------------------------- */
static ExprId constant_element(const Row *r) {
    const World   *world = r->l->world;
    ConstId        id = {(uint32_t)r->attrs[ATTR_CONSTANT_value]};
    Dtype          dtype = type_dtype(&world->types, world->consts.rows.type[id.row]);
    const uint8_t *bytes = consts_bytes(&world->consts, id);
    int64_t        number = 0;
    if (!dtype_is_int(dtype)) return loops_const(r->l->loops, dtype, const_decode(dtype, bytes));
    memcpy(&number, bytes, dtype_bytes(dtype)); /* little-endian */
    uint32_t unused = 64 - 8 * dtype_bytes(dtype);
    if (dtype_infos[dtype].class == DTYPE_CLASS_INT)
        number = (int64_t)((uint64_t)number << unused) >> unused;
    return loops_const_int(r->l->loops, dtype, number);
}
static ExprId concat_element(const Row *r, const ExprId *parts) {
    Loops   *loops = r->l->loops;
    uint32_t count = r->l->code->ops.operands_count[r->op.row];
    ExprId   chosen = parts[count - 1];
    for (uint32_t i = count - 1; i-- > 0;) {
        DimId    dims[SHAPE_RANK_MAX], end = constant(r, 0);
        uint32_t axis = (uint32_t)r->attrs[ATTR_CONCAT_axis];
        for (uint32_t k = 0; k <= i; k++) {
            (void)lower_dims(r->l, operand(r, k), dims);
            end = dims_add(&loops->dims, end, dims[axis]);
        }
        chosen = loops_op(loops, OP_SELECT, expr_dtype(loops, chosen),
                          loops_less(loops, at(r, axis), end), parts[i], chosen, 0);
    }
    return chosen;
}
static ExprId element(const Row *r, const ExprId *x) {
    Loops *loops = r->l->loops;
    TypeId type = r->l->code->values.type[op_result(r->l->code, r->op, 0).row];
    Dtype  dtype = type_dtype(&r->l->world->types, type);
    switch (r->opcode) {
    case OP_CONSTANT: return constant_element(r);
    case OP_IOTA: return loops_index(loops, dtype, at(r, (uint32_t)r->attrs[ATTR_IOTA_axis]));
    case OP_DIM_SIZE: {
        DimId dims[SHAPE_RANK_MAX];
        (void)lower_dims(r->l, operand(r, 0), dims);
        return loops_index(loops, dtype, dims[r->attrs[ATTR_DIM_SIZE_axis]]);
    }
    case OP_RNG_BITS: {
        DimId    dims[SHAPE_RANK_MAX], index[SHAPE_RANK_MAX];
        uint32_t rank = lower_dims(r->l, op_result(r->l->code, r->op, 0), dims);
        for (uint32_t i = 0; i < rank; i++) index[i] = at(r, i);
        return loops_rng(loops, x[0], lower_linear(r->l, index, dims, rank),
                         (uint16_t)r->attrs[ATTR_RNG_BITS_stream]);
    }
    case OP_PAD: {
        ExprId held = want_padded(r).guard;
        return expr_id_some(held) ? loops_op(loops, OP_SELECT, dtype, held, x[0], x[1], 0) : x[0];
    }
    case OP_CONCAT: return concat_element(r, x);
    case OP_BROADCAST_IN_DIM:
    case OP_RESHAPE:
    case OP_TRANSPOSE:
    case OP_SLICE:
    case OP_REVERSE:
    case OP_STOP_GRADIENT:
    case OP_COPY: return x[0];
    default: {
        uint32_t count = r->l->code->ops.operands_count[r->op.row];
        uint64_t word = op_infos[r->opcode].attrs_count != 0 ? r->attrs[0] : 0;
        return loops_op(loops, r->opcode, dtype, x[0], count > 1 ? x[1] : (ExprId){0},
                        count > 2 ? x[2] : (ExprId){0}, word);
    }
    }
}

enum { PARTS_MAX = 64 };
/* Arithmetic of one element, in additions: 1 where nothing stands. */
enum { COST_FREE = 255 };
static const uint8_t costs[OP_COUNT] = {
    [OP_BROADCAST_IN_DIM] = COST_FREE,
    [OP_RESHAPE] = COST_FREE,
    [OP_TRANSPOSE] = COST_FREE,
    [OP_SLICE] = COST_FREE,
    [OP_STOP_GRADIENT] = COST_FREE,
    [OP_CONSTANT] = COST_FREE,
    [OP_IOTA] = COST_FREE,
    [OP_DIM_SIZE] = COST_FREE,
    [OP_EXP] = 8,
    [OP_DIV] = 8,
    [OP_SQRT] = 8,
    [OP_RSQRT] = 8,
    [OP_EXPM1] = 12,
    [OP_LOG] = 12,
    [OP_LOG1P] = 12,
    [OP_SIN] = 12,
    [OP_COS] = 12,
    [OP_TANH] = 12,
    [OP_LOGISTIC] = 12,
    [OP_ERF] = 12,
    [OP_RNG_BITS] = 12,
    [OP_POW] = 24,
    [OP_ATAN2] = 24,
    [OP_REM] = 24,
};
bool     lower_moves(Opcode opcode) { return costs[opcode] == COST_FREE; }
uint32_t lower_cost(Opcode opcode) {
    if (lower_moves(opcode)) return 0;
    return costs[opcode] != 0 ? costs[opcode] : 1;
}
bool lower_knows(Opcode opcode) {
    return lower_moves(opcode) || opcode == OP_REVERSE || opcode == OP_PAD || opcode == OP_CONCAT ||
           opcode == OP_RNG_BITS || opcode == OP_REDUCE ||
           ((op_infos[opcode].flags & (OP_ELEMENTWISE | OP_EXPANDS)) == OP_ELEMENTWISE);
}

/* The element if all it needs is known; else nil, and what is missing goes onto the stack. */
typedef struct Pending {
    ValueId value;
    Wanted  wanted;
} Pending;
typedef struct PendingStack {
    Arena   *arena;
    Pending *rows;
    uint32_t count, capacity;
} PendingStack;
static void push(PendingStack *stack, ValueId value, Wanted wanted) {
    stack->rows =
        arena_room(stack->arena, stack->rows, stack->count, &stack->capacity, sizeof *stack->rows);
    stack->rows[stack->count++] = (Pending){value, wanted};
}
static ExprId try_element(Lowering *l, Pending p, PendingStack *stack) {
    OpId     op = value_op(l->code, p.value);
    Row      row = {l,
                    op,
                    (Opcode)l->code->ops.opcode[op.row],
                    op_attrs(l->world, l->code, op),
                    p.wanted.index,
                    p.wanted.guard};
    ExprId   x[PARTS_MAX];
    uint32_t count = row.opcode == OP_DIM_SIZE ? 0 : l->code->ops.operands_count[op.row];
    uint32_t before = stack->count;
    ASSERT(count <= PARTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        Wanted     wanted = want(&row, i);
        LowerMemo *memo = memo_at(l, operand(&row, i), wanted);
        x[i] = memo->expr;
        if (!value_id_some(memo->value)) push(stack, operand(&row, i), wanted);
    }
    return stack->count == before ? element(&row, x) : (ExprId){0};
}

ExprId lower_element(Lowering *l, ValueId value, ListId index, ValueId computed) {
    PendingStack stack = {.arena = l->scratch};
    Wanted       first = {index, {0}};
    if (value.row == computed.row) lower_forget(l); /* loads of it elsewhere stay loads */
    push(&stack, value, first);
    while (stack.count != 0) {
        Pending  p = stack.rows[stack.count - 1];
        BufferId buffer = l->buffer_of[p.value.row];
        if (value_id_some(memo_at(l, p.value, p.wanted)->value)) {
            stack.count--;
            continue;
        }
        bool   compute = p.value.row == computed.row && stack.count == 1;
        ExprId expr = buffer_id_some(buffer) && !compute
                          ? loops_load(l->loops, access_of(buffer, p.wanted.index), p.wanted.guard)
                          : try_element(l, p, &stack);
        if (!expr_id_some(expr)) continue;
        memo_put(l, p.value, p.wanted, expr);
        stack.count--;
    }
    return memo_at(l, value, first)->expr;
}
