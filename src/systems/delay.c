/* delay: by which magnitudes are tensors brought into the range of 8-bit floats?
 *
 * Delayed scaling: by the largest of the steps before, so that no pass over a tensor must precede
 * its conversion. A graph that assigns (a step of training) gets a state fp8.<graph>.most[n, L]:
 * for each tensor that its narrow_dots round, the largest magnitudes of the last L steps, newest
 * first. Each narrow_dot is given the factors that they lead to; the magnitudes of this step are
 * found line by line beside the conversion, for all tensors by few reductions, and put in front. A
 * step that is stopped assigns nothing; a magnitude that is not finite counts as none. Tensors
 * without any, as in the first step, take a guess. Graphs that assign nothing, and narrow_dots in
 * blocks of control flow, which run many times a step, keep the scales of the tensors themselves.
 *
 * Rows of the state stand in the order of first use, those with as many lines together. Needs a
 * program without gradient rows, breaks layout. Linear, times the different numbers of lines. */
#include "systems/emit.h"
#include "systems/system.h"

enum {
    PARTS_MAX = 32, /* of a concat that a kernel may write */
    SPACING = 4,    /* cuBLASLt wants scales at multiples of 16 bytes */
    STACK_MAX = 32, /* of a look at how a value is made */
    ROWS_MAX = 64
};
/* Scales of a tensor of which nothing is known: one for e4m3; for e5m2, which holds gradients,
 * small numbers matter more than large ones. */
static const double guess_e4m3 = 1, guess_e5m2 = 0x1p-12;

typedef struct Rounded { /* a tensor that narrow_dots of a graph round */
    ValueId value;       /* of the old code */
    Dtype   dtype;
    bool    by_column; /* its largest magnitudes are found by column, not by row */
    DimId   lines;     /* how many these are */
    ValueId largest;   /* new value: of each line; nil: not written yet */
} Rounded;
typedef struct Delay {
    SystemCtx *ctx;
    Rewrite    rw;
    uint32_t  *index[2]; /* by old value row: in `tensors`, + 1; of e4m3, of e5m2 */
    Rounded   *tensors;  /* of the graph */
    uint32_t   count;
    ValueId    state, factors, scales; /* new values: the parameter, by tensor */
} Delay;

static bool is_narrow(const World *world, BlockId body, OpId op) {
    const Code *code = &world->code;
    if (code->ops.opcode[op.row] != OP_NARROW_DOT || code->ops.block[op.row].row != body.row)
        return false;
    const uint64_t *attrs = op_attrs(world, code, op);
    return (attrs[ATTR_NARROW_DOT_wide] & NARROW_WIDE_Z) == 0 &&
           attrs[ATTR_NARROW_DOT_block] == 0 && code->ops.operands_count[op.row] == 2;
}
static Dtype dtype_of(const World *world, OpId op, uint32_t operand) {
    uint32_t at = operand == 0 ? ATTR_NARROW_DOT_x_dtype : ATTR_NARROW_DOT_y_dtype;
    return (Dtype)op_attrs(world, &world->code, op)[at];
}
static uint32_t *index_of(Delay *d, OpId op, uint32_t operand) {
    Dtype dtype = dtype_of(d->ctx->world, op, operand);
    return &d->index[dtype == DTYPE_F8E5M2][op_operand(d->rw.old, op, operand).row];
}

/* --- lines ------------------------------------------------------------------------------------ */
static bool is_row_sum(const World *world, OpId op) {
    const Code *code = &world->code;
    if (code->ops.opcode[op.row] != OP_REDUCE) return false;
    ListId   axes = {(uint32_t)op_attrs(world, code, op)[ATTR_REDUCE_axes]};
    uint32_t rank = type_rank(&world->types, value_type(world, op_operand(code, op, 0)));
    return list_count(&world->attrs, axes) == 1 && list_numbers(&world->attrs, axes)[0] + 1 == rank;
}
/* Composites that expand to sums of rows. */
static const bool sums_rows[OP_COUNT] = {
    [OP_SOFTMAX] = true,       [OP_LOG_SOFTMAX] = true, [OP_LOGSUMEXP] = true,
    [OP_CROSS_ENTROPY] = true, [OP_LAYER_NORM] = true,  [OP_RMS_NORM] = true,
};
/* Whether a value is computed by rows: from sums of rows, element by element. */
static bool is_by_row(const World *world, ValueId value) {
    const Code *code = &world->code;
    ValueId     stack[STACK_MAX] = {value};
    for (uint32_t depth = 1, left = ROWS_MAX; depth != 0 && left != 0; left--) {
        OpId          op = value_op(code, stack[--depth]);
        const OpInfo *info = op_info(code, op);
        uint32_t      count = code->ops.operands_count[op.row];
        if (!op_id_some(op)) continue;
        if (is_row_sum(world, op) || sums_rows[code->ops.opcode[op.row]]) return true;
        bool passes = info->flags & (OP_ELEMENTWISE | OP_VIEW) ||
                      code->ops.opcode[op.row] == OP_BROADCAST_IN_DIM;
        for (uint32_t i = 0; passes && i < count && depth < STACK_MAX; i++)
            stack[depth++] = op_operand(code, op, i);
    }
    return false;
}
/* Gradients of layers are added up by column for their bias: beside that, columns cost least. */
static bool is_by_column(const World *world, ValueId value, Dtype dtype) {
    TypeId type = world->code.values.type[value.row];
    return dtype == DTYPE_F8E5M2 && type_rank(&world->types, type) > 1 && !is_by_row(world, value);
}
static DimId lines_of(World *world, TypeId type, bool by_column) {
    DimId    lines = dims_const(&world->dims, 1);
    uint32_t rank = type_rank(&world->types, type);
    for (uint32_t i = 0; i < rank; i++)
        if ((i + 1 == rank) == by_column)
            lines = dims_mul(&world->dims, lines, type_dims(&world->types, type)[i]);
    return lines;
}

/* Lists the tensors of a graph, those of the same number of lines together. */
static void find_tensors(Delay *d, BlockId body) {
    World      *world = d->ctx->world;
    const Code *old = d->rw.old;
    Rounded    *found = ARENA_ARRAY(d->ctx->scratch, Rounded, 2 * old->ops.table.count);
    uint32_t    count = 0;
    for (uint32_t row = old->blocks.op_first[body.row]; row < old->blocks.op_last[body.row]; row++)
        for (uint32_t i = 0; i < 2 && is_narrow(world, body, (OpId){row}); i++) {
            uint32_t *index = index_of(d, (OpId){row}, i);
            ValueId   value = op_operand(old, (OpId){row}, i);
            if (*index != 0) continue;
            *index = 1;
            Dtype dtype = dtype_of(world, (OpId){row}, i);
            bool  by_column = is_by_column(world, value, dtype);
            DimId lines = lines_of(world, old->values.type[value.row], by_column);
            found[count++] = (Rounded){value, dtype, by_column, lines, {0}};
        }
    d->tensors = ARENA_ARRAY(d->ctx->scratch, Rounded, count + 1);
    d->count = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i; k < count; k++) {
            if (!value_id_some(found[k].value) || found[k].lines.row != found[i].lines.row)
                continue;
            uint32_t narrower = found[k].dtype == DTYPE_F8E5M2;
            Rounded *into = &d->tensors[d->count++];
            *into = found[k];
            d->index[narrower][into->value.row] = d->count;
            if (k != i) found[k].value = (ValueId){0};
        }
}

/* --- what is known ---------------------------------------------------------------------------- */
/* A number for each tensor, by dtype, SPACING times. */
static ValueId numbers(Delay *d, double e4m3, double e5m2) {
    Build   *b = &d->rw.build;
    uint32_t count = d->count * SPACING;
    float   *all = ARENA_ARRAY(d->ctx->scratch, float, count);
    DimId  sizes[2] = {dims_const(&b->world->dims, d->count), dims_const(&b->world->dims, SPACING)};
    TypeId type = types_type(&b->world->types, DTYPE_F32, types_shape(&b->world->types, sizes, 2));
    uint64_t word;
    for (uint32_t i = 0; i < count; i++)
        all[i] = (float)(d->tensors[i / SPACING].dtype == DTYPE_F8E4M3 ? e4m3 : e5m2);
    word = consts_add(&b->world->consts, type, all, count * 4).row;
    return build_op(b, OP_CONSTANT, NULL, 0, &word);
}
static ValueId number_of(Delay *d, ValueId numbers, uint32_t tensor) {
    return emit_part(&d->rw.build, emit_part(&d->rw.build, numbers, 0, tensor), 0, 0);
}
static void open_state(Delay *d, String graph) {
    Build        *b = &d->rw.build;
    World        *world = b->world;
    DimId         sizes[2] = {dims_const(&world->dims, d->count),
                              dims_const(&world->dims, d->ctx->narrow8.history)};
    uint64_t      words[ATTR_PARAMETER_of + 1] = {0};
    const int64_t last = 1;
    String        name = str_format(d->ctx->scratch, "fp8.%.*s.most", (int)graph.count, graph.data);
    words[ATTR_PARAMETER_name] = strings_add(&world->strings, name).row;
    words[ATTR_PARAMETER_type] =
        types_type(&world->types, DTYPE_F32, types_shape(&world->types, sizes, 2)).row;
    d->state = build_op(b, OP_PARAMETER, NULL, 0, words);
    ValueId ends = numbers(d, narrow8_largest(DTYPE_F8E4M3), narrow8_largest(DTYPE_F8E5M2));
    ValueId most = build_spread(b, build_reduce(b, REDUCE_MAX, d->state, &last, 1), ends, &last, 1);
    ValueId some = build_compare(b, COMPARE_GT, most, build_splat(b, most, 0x1p-100));
    d->scales = build_select(b, some, build_binary(b, OP_DIV, most, ends),
                             numbers(d, guess_e4m3, guess_e5m2));
    d->factors = build_binary(b, OP_DIV, build_splat(b, d->scales, 1), d->scales);
}
static void write_narrow(Delay *d, OpId op) {
    Build          *b = &d->rw.build;
    ValueId         operands[6];
    const uint64_t *attrs = op_attrs(b->world, d->rw.old, op);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t at = *index_of(d, op, i) - 1;
        Rounded *tensor = &d->tensors[at];
        operands[i] = d->rw.map[tensor->value.row];
        operands[i + 2] = number_of(d, d->factors, at);
        operands[i + 4] = number_of(d, d->scales, at);
        if (!value_id_some(tensor->largest))
            tensor->largest = emit_largest(b, operands[i], !tensor->by_column, tensor->by_column);
    }
    rewrite_map(&d->rw, op_result(d->rw.old, op, 0),
                build_op(b, OP_NARROW_DOT, operands, 6, attrs));
}

/* --- what is found ---------------------------------------------------------------------------- */
static ValueId concat(Build *b, const ValueId *parts, uint32_t count, uint64_t axis) {
    return count == 1 ? parts[0] : build_op(b, OP_CONCAT, parts, count, &axis);
}
/* The largest of each of some tensors with the same number of lines: [count, 1]. */
static ValueId join(Delay *d, const Rounded *tensors, uint32_t count) {
    Build        *b = &d->rw.build;
    DimId         one = dims_const(&b->world->dims, 1);
    DimId         rows[2] = {one, tensors[0].lines};
    DimId         column[2] = {dims_const(&b->world->dims, count), one};
    ValueId       parts[PARTS_MAX];
    const int64_t last = 1;
    for (uint32_t i = 0; i < count; i++) parts[i] = build_reshape(b, tensors[i].largest, rows, 2);
    ValueId each = build_reduce(b, REDUCE_MAX, concat(b, parts, count, 0), &last, 1);
    return build_reshape(b, each, column, 2);
}
static void close_state(Delay *d) {
    Build *b = &d->rw.build;
    Dims  *dims = &b->world->dims;
    DimId  zero = dims_const(dims, 0), count = dims_const(dims, d->count);
    DimId  starts[2] = {zero, zero},
          limits[2] = {count, dims_const(dims, d->ctx->narrow8.history - 1)};
    uint64_t words[3] = {build_sizes(b, starts, 2), build_sizes(b, limits, 2), 0};
    ValueId *parts = ARENA_ARRAY(d->ctx->scratch, ValueId, d->count);
    uint32_t joined = 0;
    for (uint32_t first = 0, last; first < d->count; first = last) {
        for (last = first + 1; last < d->count && last - first < PARTS_MAX; last++)
            if (d->tensors[last].lines.row != d->tensors[first].lines.row) break;
        parts[joined++] = join(d, &d->tensors[first], last - first);
    }
    ValueId now = concat(b, parts, joined, 0), both[2];
    both[0] = build_select(b, build_unary(b, OP_IS_FINITE, now), now, build_splat(b, now, 0));
    both[1] = build_op(b, OP_SLICE, &d->state, 1, words);
    ValueId operands[2] = {d->state, concat(b, both, d->ctx->narrow8.history > 1 ? 2 : 1, 1)};
    (void)build_row(b, OP_ASSIGN, operands, 2, NULL, 0);
}

static bool assigns(const Code *code, BlockId body) {
    for (uint32_t row = code->blocks.op_first[body.row]; row < code->blocks.op_last[body.row];
         row++)
        if (code->ops.opcode[row] == OP_ASSIGN) return true;
    return false;
}
/* By block row, + 1: the graph with this body, if its products are to be scaled by its state. */
static uint32_t *find_graphs(SystemCtx *ctx, uint32_t *out_count) {
    const Code *code = &ctx->world->code;
    uint32_t   *graphs = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, code->blocks.table.count);
    *out_count = 0;
    for (uint32_t graph = 1; graph < code->graphs.table.count; graph++) {
        BlockId body = code->graphs.block[graph];
        bool    any = false;
        if (!assigns(code, body)) continue;
        for (uint32_t row = code->blocks.op_first[body.row]; row < code->blocks.op_last[body.row];
             row++)
            any |= is_narrow(ctx->world, body, (OpId){row});
        if (any) graphs[body.row] = graph;
        *out_count += any;
    }
    return graphs;
}

Ran sys_delay(SystemCtx *ctx) {
    World      *world = ctx->world;
    const Code *old = &world->code;
    Ran         ran = {0};
    uint32_t    count;
    if (!dtype_is_f8(ctx->narrow) || ctx->narrow8.history == 0) return ran;
    const uint32_t *graphs = find_graphs(ctx, &count);
    if (count == 0) return ran;
    Delay    d = {.ctx = ctx, .rw = rewrite_begin(world, ctx->scratch)};
    uint32_t open = 0; /* the graph whose state has been read */
    for (uint32_t i = 0; i < 2; i++)
        d.index[i] = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, old->values.table.count);
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        OpId     op = {row};
        BlockId  body = old->ops.block[row];
        uint32_t graph = graphs[body.row];
        rewrite_at(&d.rw, op);
        if (graph != 0 && is_narrow(world, body, op)) {
            if (open != graph) {
                find_tensors(&d, body);
                open_state(&d, strings_get(&world->strings, old->graphs.name[graph]));
                open = graph;
            }
            write_narrow(&d, op);
            ran.changed++;
            continue;
        }
        if (graph != 0 && open == graph && block_return(old, body).row == row) close_state(&d);
        (void)rewrite_copy(&d.rw, op);
    }
    rewrite_end(&d.rw);
    return ran;
}
