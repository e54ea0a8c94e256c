/* chunk: which products are so large that they are better made, and used up, part by part?
 *
 * The logits of a language model go through rows that look at one token at a time (the loss and its
 * derivative) and end in two products, one by tokens and one that sums over them. Such a region
 * runs for one part of the first axis after the other; only a part of the logits is in memory:
 *   z = x w;  l, d = f(z);  u = d w;  g = d^T x        becomes, for each part k of the rows,
 *   z.k = x.k w;  l.k, d.k = f(z.k);  u.k = d.k w;  g = g + d.k^T x.k      and l, u are joined
 * It begins at a product of more than PART_BYTES, at typical sizes; it takes elementwise rows,
 * broadcasts, reductions over other axes, and the products that end it. What is used outside must
 * be much smaller than z; rows that do not depend on z are made again. Sums are kept in f32
 * (dot_add). Parts are equal, what is left over is the last one. For targets that have dot_add.
 * Needs primitives, breaks layout. Linear for each such product. */
#include "systems/rewrite.h"
#include "systems/system.h"

enum {
    PART_BYTES = 1 << 29, /* of z, at most; with 1 << 28 steps take as long (note 0012) */
    PARTS_MAX = 64,
    SMALL = 8, /* what leaves a region is so many times smaller than z */
    OPERANDS_MAX = 32
};

typedef enum Role {
    ROLE_NONE,
    ROLE_PART,  /* result by rows, within the region */
    ROLE_AGAIN, /* likewise, and it does not depend on z: the row itself stays as well */
    ROLE_END,   /* a product by rows */
    ROLE_SUM    /* a product that adds up over rows */
} Role;

typedef struct Chunk {
    SystemCtx  *ctx;
    const Code *code;
    int64_t    *sizes; /* by dim: typical */
    OpId        begin; /* z */
    uint32_t    axis;  /* of z: the first one that is longer than 1; outside of dots, of all */
    DimId       rows;  /* its size */
    double      bytes; /* of z */
    uint8_t    *role;  /* by row */
    uint8_t    *after; /* by row: outside, but needs what the region gives */
    uint8_t    *given; /* by value: of the region, and used outside */
    uint32_t    last;  /* row of the region */
    /* writing */
    Rewrite   rw;
    DimId     from, size; /* of the part that is being written */
    ValueId  *now;        /* by old value: in this part */
    uint32_t *stamp;      /* by old value: the part that `now` is of, from 1 */
    uint32_t  part;
    ValueId   end; /* the last value of the part before */
} Chunk;

/* --- what can be done by rows ----------------------------------------------------------------- */
static const DimId *dims_of(const Chunk *c, ValueId value, uint32_t *out_rank) {
    const Types *types = &c->ctx->world->types;
    *out_rank = type_rank(types, c->code->values.type[value.row]);
    return type_dims(types, c->code->values.type[value.row]);
}
static double bytes_of(const Chunk *c, ValueId value) {
    uint32_t     rank;
    const DimId *dims = dims_of(c, value, &rank);
    double bytes = dtype_bytes(type_dtype(&c->ctx->world->types, c->code->values.type[value.row]));
    for (uint32_t i = 0; i < rank; i++) bytes *= (double)c->sizes[dims[i].row];
    return bytes;
}
static bool is_small(const Chunk *c, ValueId value) {
    return bytes_of(c, value) * SMALL <= c->bytes;
}
static bool has_rows(const Chunk *c, ValueId value) {
    uint32_t     rank;
    const DimId *dims = dims_of(c, value, &rank);
    return rank > c->axis && dims_same(&c->ctx->world->dims, dims[c->axis], c->rows);
}
/* Whether all of the axes in a list come after the one of the parts, which so keeps its place. */
static bool are_behind(const Chunk *c, uint64_t word) {
    const Attrs *attrs = &c->ctx->world->attrs;
    ListId       list = {(uint32_t)word};
    for (uint32_t i = 0; i < list_count(attrs, list); i++)
        if (list_numbers(attrs, list)[i] <= (int64_t)c->axis) return false;
    return true;
}
static uint32_t find_in(const Chunk *c, uint64_t word, int64_t number) {
    const Attrs *attrs = &c->ctx->world->attrs;
    ListId       list = {(uint32_t)word};
    uint32_t     i = 0;
    while (i < list_count(attrs, list) && list_numbers(attrs, list)[i] != number) i++;
    return i < list_count(attrs, list) ? i : UINT32_MAX;
}
static const uint64_t *attrs_of(const Chunk *c, OpId op) {
    return op_attrs(c->ctx->world, c->code, op);
}
/* The axis of the operand of a broadcast becomes that of its result. */
static bool leads(const Chunk *c, OpId broadcast) {
    uint64_t axes = attrs_of(c, broadcast)[ATTR_BROADCAST_IN_DIM_axes];
    return find_in(c, axes, c->axis) == c->axis && has_rows(c, op_operand(c->code, broadcast, 0));
}
/* A row whose result can be made for some rows from what its operands are there. */
static bool goes_by_rows(const Chunk *c, OpId op) {
    uint32_t opcode = c->code->ops.opcode[op.row];
    if (c->code->ops.results_count[op.row] != 1 || c->code->ops.blocks_count[op.row] != 0 ||
        c->code->ops.operands_count[op.row] > OPERANDS_MAX ||
        !has_rows(c, op_result(c->code, op, 0)))
        return false;
    if (opcode == OP_REDUCE) return are_behind(c, attrs_of(c, op)[ATTR_REDUCE_axes]);
    if (opcode == OP_BROADCAST_IN_DIM) { /* along the axis, or with the axis where it is */
        uint64_t axes = attrs_of(c, op)[ATTR_BROADCAST_IN_DIM_axes];
        return leads(c, op) || find_in(c, axes, c->axis) == UINT32_MAX;
    }
    return (op_infos[opcode].flags & OP_ELEMENTWISE) != 0 &&
           c->code->ops.operands_count[op.row] != 0;
}
/* What a product of a value of the region is. Without batches; x is the value, or rows of both are
 * summed. */
static Role role_of_dot(const Chunk *c, OpId op, ValueId value) {
    const uint64_t *words = attrs_of(c, op);
    ValueId         x = op_operand(c->code, op, 0), y = op_operand(c->code, op, 1);
    ListId          batch = {(uint32_t)words[ATTR_DOT_GENERAL_x_batch]};
    if (list_count(&c->ctx->world->attrs, batch) != 0) return ROLE_NONE;
    uint32_t summed = find_in(c, words[ATTR_DOT_GENERAL_x_contract], c->axis);
    if (summed != UINT32_MAX && has_rows(c, x) && has_rows(c, y) &&
        summed == find_in(c, words[ATTR_DOT_GENERAL_y_contract], c->axis))
        return ROLE_SUM;
    bool by_rows = are_behind(c, words[ATTR_DOT_GENERAL_x_contract]);
    return by_rows && x.row == value.row && y.row != x.row ? ROLE_END : ROLE_NONE;
}

/* --- the region ------------------------------------------------------------------------------- */
static uint8_t role_behind(const Chunk *c, ValueId value) {
    return value_is_arg(c->code, value) ? 0 : c->role[value_op(c->code, value).row];
}
static bool is_inside(uint8_t role) { return role == ROLE_PART || role == ROLE_AGAIN; }
static bool depends(const Chunk *c, ValueId value) {
    if (value_is_arg(c->code, value)) return false;
    uint32_t row = value_op(c->code, value).row;
    return c->after[row] || c->role[row] == ROLE_END || c->role[row] == ROLE_SUM;
}
/* The role of a row after z, by what it reads. */
static Role find_role(const Chunk *c, OpId op) {
    ValueId value = {0};
    for (uint32_t i = 0; i < c->code->ops.operands_count[op.row]; i++) {
        ValueId x = op_operand(c->code, op, i);
        if (depends(c, x)) return ROLE_NONE;
        if (role_behind(c, x) == ROLE_PART) value = x;
    }
    if (!value_id_some(value)) return ROLE_NONE;
    if (c->code->ops.opcode[op.row] == OP_DOT_GENERAL) return role_of_dot(c, op, value);
    return goes_by_rows(c, op) ? ROLE_PART : ROLE_NONE;
}
/* Follows z to where it is used up. False: something large is used outside, or blocks, effects or
 * barriers stand between. */
static bool follow(Chunk *c) {
    const Code *code = c->code;
    uint32_t    block = code->ops.block[c->begin.row].row, end = code->blocks.op_last[block];
    c->role[c->begin.row] = ROLE_PART;
    for (uint32_t row = c->begin.row + 1; row < end; row++) {
        OpId op = {row};
        bool same = code->ops.block[row].row == block && code->ops.blocks_count[row] == 0;
        c->role[row] = same ? (uint8_t)find_role(c, op) : ROLE_NONE;
        if (c->role[row] != ROLE_NONE) c->last = row;
        if (code->ops.opcode[row] == OP_DIM_SIZE) continue; /* it reads no data: copy_row */
        for (uint32_t i = 0; i < code->ops.operands_count[row] && !c->role[row]; i++) {
            ValueId x = op_operand(code, op, i);
            if (role_behind(c, x) == ROLE_NONE && !depends(c, x)) continue;
            c->after[row] = 1;
            if (role_behind(c, x) == ROLE_NONE) continue;
            c->given[x.row] = 1;
            if (role_behind(c, x) != ROLE_SUM && !is_small(c, x)) return false;
        }
    }
    for (uint32_t row = c->begin.row; row <= c->last; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (code->ops.block[row].row != block || code->ops.blocks_count[row] != 0 ||
            (op_infos[opcode].flags & (OP_EFFECT | OP_LATE)) != 0 || opcode == OP_BARRIER)
            return false; /* rows change places */
    }
    return c->last != 0;
}
/* Rows that the region needs for its own rows, and that are no more work in parts. False: a large
 * one is none of these. */
static bool reach_back(Chunk *c) {
    const Code *code = c->code;
    for (uint32_t row = c->last + 1; row-- > 1;) {
        if (!is_inside(c->role[row]) || row == c->begin.row) continue;
        bool all = code->ops.opcode[row] != OP_BROADCAST_IN_DIM || leads(c, (OpId){row});
        for (uint32_t i = 0; i < code->ops.operands_count[row] && all; i++) {
            ValueId x = op_operand(code, (OpId){row}, i);
            if (role_behind(c, x) != ROLE_NONE) continue;
            OpId def = value_is_arg(code, x) ? (OpId){0} : value_op(code, x);
            if (op_id_some(def) && code->ops.opcode[def.row] != OP_REDUCE &&
                code->ops.block[def.row].row == code->ops.block[c->begin.row].row &&
                goes_by_rows(c, def))
                c->role[def.row] = ROLE_AGAIN;
            else if (!is_small(c, x))
                return false;
        }
    }
    return true;
}
/* Whether a product is large, and can be made by parts of c->axis, which is set. */
static bool is_large(Chunk *c, OpId op) {
    if (c->code->ops.opcode[op.row] != OP_DOT_GENERAL) return false;
    ListId       batch = {(uint32_t)attrs_of(c, op)[ATTR_DOT_GENERAL_x_batch]};
    ValueId      x = op_operand(c->code, op, 0), z = op_result(c->code, op, 0);
    uint32_t     rank, x_rank;
    const DimId *dims = dims_of(c, z, &rank), *of_x = dims_of(c, x, &x_rank);
    for (c->axis = 0; c->axis < rank && c->sizes[dims[c->axis].row] == 1; c->axis++) {}
    return c->axis < rank && c->axis < x_rank && list_count(&c->ctx->world->attrs, batch) == 0 &&
           dims[c->axis].row == of_x[c->axis].row &&
           are_behind(c, attrs_of(c, op)[ATTR_DOT_GENERAL_x_contract]) &&
           c->sizes[dims[c->axis].row] > 1 && bytes_of(c, z) > PART_BYTES &&
           bytes_of(c, x) * SMALL <= bytes_of(c, z);
}
/* The region of the first product from a row on that has one; false: there is none. */
static bool find_region(Chunk *c, uint32_t *from) {
    const Code *code = c->code;
    uint32_t    rows = code->ops.table.count;
    for (; *from < rows; ++*from) {
        OpId op = {*from};
        if (!is_large(c, op)) continue;
        uint32_t rank;
        ValueId  z = op_result(code, op, 0);
        c->begin = op;
        c->rows = dims_of(c, z, &rank)[c->axis];
        c->bytes = bytes_of(c, z);
        c->last = 0;
        memset(c->role, 0, rows);
        memset(c->after, 0, rows);
        memset(c->given, 0, code->values.table.count);
        if (follow(c) && reach_back(c)) return true;
    }
    return false;
}

/* --- writing ---------------------------------------------------------------------------------- */
static ValueId slice(Chunk *c, ValueId x) {
    Build   *b = &c->rw.build;
    DimId    starts[SHAPE_RANK_MAX], limits[SHAPE_RANK_MAX], zero = dims_const(&b->world->dims, 0);
    uint32_t rank = build_rank(b, x);
    for (uint32_t i = 0; i < rank; i++) {
        starts[i] = zero;
        limits[i] = build_dims(b, x)[i];
    }
    starts[c->axis] = c->from;
    limits[c->axis] = dims_add(&b->world->dims, c->from, c->size);
    uint64_t words[] = {build_sizes(b, starts, rank), build_sizes(b, limits, rank), 0};
    return build_op(b, OP_SLICE, &x, 1, words);
}
/* x, but not before the last part is over; and kernels do not see where it is cut out, which would
 * make them different ones. */
static ValueId behind(Chunk *c, ValueId x) {
    ValueId  held[2] = {x, c->end};
    uint32_t count = value_id_some(c->end) ? 2 : 1;
    OpId     barrier = build_row(&c->rw.build, OP_BARRIER, held, count, NULL, 0);
    return op_result(c->rw.build.code, barrier, 0);
}
/* The rows of this part of an old value. */
static ValueId part_of(Chunk *c, ValueId x) {
    if (c->stamp[x.row] != c->part) {
        ASSERT(!is_inside(role_behind(c, x)));
        c->now[x.row] = behind(c, slice(c, c->rw.map[x.row]));
        c->stamp[x.row] = c->part;
    }
    return c->now[x.row];
}
static ValueId write_dot(Chunk *c, OpId op, ValueId sum) {
    const uint64_t *words = attrs_of(c, op);
    bool            sums = c->role[op.row] == ROLE_SUM;
    ValueId         x = op_operand(c->code, op, 0), y = op_operand(c->code, op, 1);
    ValueId         operands[3] = {part_of(c, x), sums ? part_of(c, y) : c->rw.map[y.row], sum};
    if (!sums) return build_op(&c->rw.build, OP_DOT_GENERAL, operands, 2, words);
    return build_op(&c->rw.build, OP_DOT_ADD, operands, value_id_some(sum) ? 3 : 2, words);
}
static ValueId write_row(Chunk *c, OpId op) {
    Build   *b = &c->rw.build;
    uint32_t opcode = c->code->ops.opcode[op.row], count = c->code->ops.operands_count[op.row];
    ValueId  operands[OPERANDS_MAX];
    uint64_t words[ATTRS_MAX];
    memcpy(words, attrs_of(c, op), op_infos[opcode].attrs_count * sizeof *words);
    bool broadcasts = opcode == OP_BROADCAST_IN_DIM;
    for (uint32_t i = 0; i < count; i++) {
        ValueId x = op_operand(c->code, op, i);
        operands[i] = broadcasts && !leads(c, op) ? c->rw.map[x.row] : part_of(c, x);
    }
    if (broadcasts) {
        uint32_t     rank;
        const DimId *dims = dims_of(c, op_result(c->code, op, 0), &rank);
        DimId        sizes[SHAPE_RANK_MAX];
        memcpy(sizes, dims, rank * sizeof *sizes);
        sizes[c->axis] = c->size;
        words[ATTR_BROADCAST_IN_DIM_shape] = build_sizes(b, sizes, rank);
    }
    return build_op(b, (Opcode)opcode, operands, count, words);
}
/* One part; parts: its results of the rows of the region, by row; sums: as they are so far. */
static void write_part(Chunk *c, ValueId *parts, ValueId *sums) {
    ValueId newest = {0};
    for (uint32_t row = 1; row <= c->last; row++) {
        OpId op = {row};
        if (c->role[row] == ROLE_NONE) continue;
        ValueId old = op_result(c->code, op, 0);
        c->rw.build.loc = c->code->ops.loc[row];
        bool dot = c->code->ops.opcode[row] == OP_DOT_GENERAL;
        newest = dot ? write_dot(c, op, sums[row]) : write_row(c, op);
        c->now[old.row] = newest;
        c->stamp[old.row] = c->part;
        if (c->role[row] == ROLE_SUM) sums[row] = newest;
        if (c->given[old.row] && c->role[row] != ROLE_SUM) parts[row] = newest;
    }
    c->end = newest;
}
/* What the region gives to rows outside. */
static void join(Chunk *c, ValueId *parts, uint32_t count, ValueId *sums) {
    Build   *b = &c->rw.build;
    uint32_t rows = c->code->ops.table.count;
    ValueId *list = ARENA_ARRAY(c->ctx->scratch, ValueId, count);
    for (uint32_t row = c->begin.row; row <= c->last; row++) {
        uint8_t role = c->role[row];
        if (role == ROLE_NONE || role == ROLE_AGAIN) continue;
        ValueId  old = op_result(c->code, (OpId){row}, 0);
        uint64_t axis = c->axis;
        Dtype    dtype = type_dtype(&b->world->types, c->code->values.type[old.row]);
        if (!c->given[old.row]) continue;
        for (uint32_t k = 0; k < count; k++) list[k] = parts[(size_t)k * rows + row];
        rewrite_map(&c->rw, old,
                    role == ROLE_SUM ? build_convert(b, sums[row], dtype)
                                     : build_op(b, OP_CONCAT, list, count, &axis));
    }
}
static void write_region(Chunk *c) {
    Dims    *dims = &c->ctx->world->dims;
    uint32_t rows = c->code->ops.table.count, count = 2;
    int64_t  most = c->sizes[c->rows.row] < PARTS_MAX ? c->sizes[c->rows.row] : PARTS_MAX;
    while (2 * count <= most && c->bytes > (double)PART_BYTES * count) count *= 2;
    DimId    each = dims_floordiv(dims, c->rows, dims_const(dims, count));
    DimId    whole = dims_mul(dims, each, dims_const(dims, count));
    DimId    rest = dims_sub(dims, c->rows, whole);
    bool     even = dims_is_const(dims, rest) && dims_const_value(dims, rest) == 0;
    ValueId *parts = ARENA_ARRAY_ZERO(c->ctx->scratch, ValueId, (size_t)rows * (count + 1));
    ValueId *sums = ARENA_ARRAY_ZERO(c->ctx->scratch, ValueId, rows);
    for (uint32_t k = 0; k < count + !even; k++) {
        c->part = k + 1;
        c->from = dims_mul(dims, each, dims_const(dims, k));
        c->size = k < count ? each : rest;
        write_part(c, parts + (size_t)k * rows, sums);
    }
    join(c, parts, count + !even, sums);
}
/* A row outside of the region. */
static void copy_row(Chunk *c, OpId op) {
    ValueId x = c->code->ops.operands_count[op.row] ? op_operand(c->code, op, 0) : (ValueId){0};
    rewrite_at(&c->rw, op);
    if (c->code->ops.opcode[op.row] != OP_DIM_SIZE || value_id_some(c->rw.map[x.row])) {
        (void)rewrite_copy(&c->rw, op);
        return;
    }
    uint32_t rank;
    DimId    size = dims_of(c, x, &rank)[attrs_of(c, op)[ATTR_DIM_SIZE_axis]];
    rewrite_map(&c->rw, op_result(c->code, op, 0), build_size(&c->rw.build, size));
}
static void rewrite(Chunk *c) {
    const Code *code = c->code;
    c->rw = rewrite_begin(c->ctx->world, c->ctx->scratch);
    c->now = ARENA_ARRAY_ZERO(c->ctx->scratch, ValueId, code->values.table.count);
    c->stamp = ARENA_ARRAY_ZERO(c->ctx->scratch, uint32_t, code->values.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        bool late = row < c->last && c->after[row];
        if (!late && (c->role[row] == ROLE_NONE || c->role[row] == ROLE_AGAIN))
            copy_row(c, (OpId){row});
        if (row != c->last) continue;
        rewrite_at(&c->rw, (OpId){row});
        write_region(c);
        for (uint32_t k = c->begin.row; k < c->last; k++)
            if (c->after[k]) copy_row(c, (OpId){k});
    }
    rewrite_end(&c->rw);
}

Ran sys_chunk(SystemCtx *ctx) {
    Ran      ran = {0};
    uint32_t from = 1;
    if (ctx->target == NULL || !ctx->target->has_kernel[OP_DOT_ADD]) return ran;
    for (;;) {
        const Code *code = &ctx->world->code;
        ArenaMark   mark = arena_mark(ctx->scratch);
        Chunk       c = {.ctx = ctx, .code = code};
        c.sizes = ARENA_ARRAY_ZERO(ctx->scratch, int64_t, ctx->world->dims.rows.table.count);
        c.role = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->ops.table.count);
        c.after = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->ops.table.count);
        c.given = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->values.table.count);
        dims_eval_typical(&ctx->world->dims, c.sizes);
        bool found = find_region(&c, &from) && system_burn(ctx);
        if (found) rewrite(&c);
        arena_release(ctx->scratch, mark);
        if (!found) return ran;
        ran.changed++;
    }
}
