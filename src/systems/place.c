/* Following a result through moves to what reads it, and its reader's strides back to it.
 *
 * Chains are short: the transpose and reshape between heads and the columns of a layer. */
#include "systems/place.h"

enum { CHAIN_MAX = 8 };

struct Placing {
    SystemCtx  *ctx;
    const Code *code;
    uint32_t   *uses;   /* by value row: how many operands it is */
    OpId       *reader; /* by value row: one of the rows that use it */
};

Placing *place_begin(SystemCtx *ctx, const Code *code) {
    Placing *p = ARENA_NEW(ctx->scratch, Placing);
    uint32_t values = code->values.table.count;
    *p = (Placing){.ctx = ctx, .code = code};
    p->uses = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, values);
    p->reader = ARENA_ARRAY_ZERO(ctx->scratch, OpId, values);
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            uint32_t value = op_operand(code, (OpId){row}, i).row;
            p->uses[value]++;
            if (code->ops.opcode[p->reader[value].row] != OP_TRANSPOSE) /* these decide an order */
                p->reader[value] = (OpId){row};
        }
    return p;
}

/* Whether a value is a result that may be placed. */
static bool may_place(const Placing *p, ValueId value) {
    const Code *code = p->code;
    OpId        op = value_op(code, value);
    if (p->ctx->target == NULL || !op_id_some(op)) return false;
    uint32_t result = value.row - code->ops.results_first[op.row].row;
    return result < p->ctx->target->places[code->ops.opcode[op.row]];
}
static DimId times(Dims *dims, DimId a, DimId b) {
    return dim_id_some(a) && dim_id_some(b) ? dims_mul(dims, a, b) : (DimId){0};
}
static void dense_strides(Placing *p, ValueId value, DimId *out) {
    World *world = p->ctx->world;
    TypeId type = p->code->values.type[value.row];
    DimId  stride = dims_const(&world->dims, 1);
    for (uint32_t i = type_rank(&world->types, type); i-- > 0;) {
        out[i] = stride;
        stride = times(&world->dims, stride, type_dims(&world->types, type)[i]);
    }
}

/* Strides of the operand of a move from those of its result. A reshape must split axes: each of its
 * own is a run of the operand's. */
static bool before_reshape(Placing *p, ValueId x, ValueId y, const DimId *after, DimId *out) {
    World       *world = p->ctx->world;
    Dims        *dims = &world->dims;
    TypeId       from = p->code->values.type[x.row], to = p->code->values.type[y.row];
    uint32_t     i = type_rank(&world->types, from), j = type_rank(&world->types, to);
    const DimId *old = type_dims(&world->types, from), *new = type_dims(&world->types, to);
    while (j-- > 0) {
        DimId size = dims_const(dims, 1), stride = after[j];
        while (size.row != new[j].row) {
            if (i == 0 || !dim_id_some(size) || !dim_id_some(stride)) return false;
            out[--i] = stride;
            stride = times(dims, stride, old[i]);
            size = times(dims, size, old[i]);
        }
    }
    return i == 0;
}
static bool before_move(Placing *p, OpId move, const DimId *after, DimId *out) {
    const Code *code = p->code;
    ValueId     x = op_operand(code, move, 0), y = op_result(code, move, 0);
    uint32_t    rank = type_rank(&p->ctx->world->types, code->values.type[x.row]);
    if (code->ops.opcode[move.row] == OP_RESHAPE) return before_reshape(p, x, y, after, out);
    ListId list = {(uint32_t)op_attrs(p->ctx->world, code, move)[ATTR_TRANSPOSE_permutation]};
    for (uint32_t i = 0; i < rank; i++)
        out[list_numbers(&p->ctx->world->attrs, list)[i]] = after[i];
    return true;
}
static bool is_move(const Placing *p, OpId op) {
    uint32_t opcode = p->code->ops.opcode[op.row];
    return opcode == OP_RESHAPE || opcode == OP_TRANSPOSE;
}

/* The moves from a value to the concat that it ends in; false if there is another use. */
typedef struct Chain {
    OpId     moves[CHAIN_MAX], concat;
    uint32_t count;
} Chain;
static bool find_chain(const Placing *p, ValueId value, Chain *out) {
    const Code *code = p->code;
    *out = (Chain){.count = 0};
    for (;;) {
        OpId reader = p->reader[value.row];
        OpId made = value_op(code, value);
        if (p->uses[value.row] != 1 ||
            code->ops.block[reader.row].row != code->ops.block[made.row].row)
            return false; /* in a block of its own, it may happen at another time */
        out->concat = reader;
        if (code->ops.opcode[reader.row] == OP_CONCAT) return true;
        if (!is_move(p, reader) || out->count == CHAIN_MAX) return false;
        out->moves[out->count++] = reader;
        value = op_result(code, reader, 0);
    }
}
/* Strides over the memory of the concat, and the offset of the operand that the chain ends in. */
static bool place_in(Placing *p, ValueId result, const Chain *chain, Placed *out) {
    const Code *code = p->code;
    World      *world = p->ctx->world;
    Dims       *dims = &world->dims;
    ValueId     whole = op_result(code, chain->concat, 0), part = result;
    uint64_t    axis = op_attrs(world, code, chain->concat)[ATTR_CONCAT_axis];
    DimId       strides[SHAPE_RANK_MAX], begin = dims_const(dims, 0);
    if (chain->count != 0) part = op_result(code, chain->moves[chain->count - 1], 0);
    dense_strides(p, whole, strides);
    for (uint32_t i = 0; op_operand(code, chain->concat, i).row != part.row; i++) {
        ValueId before = op_operand(code, chain->concat, i);
        begin =
            dims_add(dims, begin, type_dims(&world->types, code->values.type[before.row])[axis]);
    }
    out->concat = chain->concat;
    out->offset = times(dims, begin, strides[axis]);
    for (uint32_t i = chain->count; i-- > 0;) {
        if (!before_move(p, chain->moves[i], strides, out->strides)) return false;
        memcpy(strides, out->strides, sizeof strides);
    }
    memcpy(out->strides, strides, sizeof strides);
    for (uint32_t i = 0; i < type_rank(&world->types, code->values.type[result.row]); i++)
        if (!dim_id_some(strides[i])) return false;
    return dim_id_some(out->offset);
}
/* The result behind an operand of a concat. */
static ValueId source_of(const Placing *p, ValueId value) {
    OpId op = value_op(p->code, value);
    while (op_id_some(op) && is_move(p, op)) {
        value = op_operand(p->code, op, 0);
        op = value_op(p->code, value);
    }
    return value;
}
bool place_joins(Placing *p, OpId concat) {
    if (p->code->ops.opcode[concat.row] != OP_CONCAT) return false;
    for (uint32_t i = 0; i < p->code->ops.operands_count[concat.row]; i++) {
        ValueId source = source_of(p, op_operand(p->code, concat, i));
        Chain   chain;
        Placed  placed;
        if (!may_place(p, source) || !find_chain(p, source, &chain) ||
            chain.concat.row != concat.row || !place_in(p, source, &chain, &placed))
            return false;
    }
    return true;
}

bool place_result(Placing *p, ValueId result, Placed *out) {
    Chain chain;
    if (!may_place(p, result)) return false;
    if (find_chain(p, result, &chain) && place_joins(p, chain.concat))
        return place_in(p, result, &chain, out);
    OpId reader = p->reader[result.row];
    if (p->code->ops.opcode[reader.row] != OP_TRANSPOSE) return false;
    DimId strides[SHAPE_RANK_MAX];
    dense_strides(p, op_result(p->code, reader, 0), strides);
    *out = (Placed){.offset = dims_const(&p->ctx->world->dims, 0)};
    return before_move(p, reader, strides, out->strides);
}
