/* Derivatives of operators with blocks.
 *
 * Forward: the same operator over values and tangents together; a loop carries both.
 * Reverse: of if and switch, the same operator whose blocks compute what they need again and give
 * the cotangents of what they use from outside. Of a scan, a scan the other way whose block
 * computes a step again from the state before it, and goes back through it; the forward scan is
 * replaced by one that also stacks these states, so it runs once (Swap). `dead` drops the states,
 * rows and steps that turn out not to be needed.
 * A while becomes scans of steps that do nothing once the condition is false: of `limit` steps, or
 * for more than a few hundred, of as many runs of as many steps, so that states are kept of runs
 * only and those of one run while going back through it. A scan with `segment` likewise.
 * All of it is ordinary rows: derivatives of any order are repetition. */
#include "systems/derive_inner.h"

enum { WHILE_STEPS_MAX = 256 }; /* up to which all states of a while are kept */

typedef struct Vjp {
    Derive        *d;
    OpId           op;         /* the control operator */
    const ValueId *cts;        /* of its results; nil: zero */
    ValueId       *cotangents; /* by value row: of tangents */
} Vjp;

/* --- parts ------------------------------------------------------------------------------------ */
static Arena  *scratch_of(const Derive *d) { return d->ctx->scratch; }
static BlockId nth_block(const Code *code, OpId op, uint32_t i) {
    return (BlockId){code->ops.blocks_first[op.row].row + i};
}
static ValueId block_arg(const Code *code, BlockId block, uint32_t i) {
    return (ValueId){code->blocks.args_first[block.row].row + i};
}
static ValueId returned(const Code *code, BlockId block, uint32_t i) {
    return op_operand(code, block_return(code, block), i);
}
static bool moves(const Derive *d, ValueId value) {
    return dtype_is_differentiable(build_dtype(d->build, value));
}
static ValueId zeros(Derive *d, TypeId type) {
    Emit e = {.build = d->build};
    return emit_zeros(&e, type);
}
static ValueId or_zeros(Derive *d, ValueId value, TypeId type) {
    return value_id_some(value) ? value : zeros(d, type);
}
static bool list_has(const ValueList *list, ValueId value) {
    for (uint32_t i = 0; i < list->count; i++)
        if (value_id_same(list->at[i], value)) return true;
    return false;
}
/* Captured values with tangents; with operands, these as well, each once. */
static ValueList moving(Derive *d, OpId op, bool operands) {
    const Code *code = d->build->code;
    ValueList   captures = derive_captures(d, op.row), list = {NULL, 0};
    uint32_t    count = operands ? code->ops.operands_count[op.row] : 0;
    list.at = ARENA_ARRAY(scratch_of(d), ValueId, captures.count + count);
    for (uint32_t i = 0; i < captures.count + count; i++) {
        ValueId x = i < captures.count ? captures.at[i] : op_operand(code, op, i - captures.count);
        if (value_id_some(derive_tangent(d, x)) && !list_has(&list, x)) list.at[list.count++] = x;
    }
    return list;
}
static void give(Vjp *v, ValueId value, ValueId grad) {
    ValueId tangent = derive_tangent(v->d, value), *sum = &v->cotangents[tangent.row];
    if (!value_id_some(tangent) || !value_id_some(grad)) return;
    *sum = value_id_some(*sum) ? build_binary(v->d->build, OP_ADD, *sum, grad) : grad;
}
/* A derivative of the rows that were cloned from `first` on into the block of the builder. */
static Derive inner_derive(Derive *d, uint32_t first) {
    return derive_begin(d, first, d->build->block);
}
static void inner_end(Derive *d, const Derive *inner) { d->failed |= inner->failed; }

/* --- if, switch ------------------------------------------------------------------------------- */
static FlowBuild open_branches(Derive *d, OpId op) {
    uint32_t  blocks = d->build->code->ops.blocks_count[op.row];
    uint32_t *args = ARENA_ARRAY_ZERO(scratch_of(d), uint32_t, blocks);
    return flow_open(d->build, args, blocks);
}
static OpId close_branches(Derive *d, FlowBuild *f, OpId op, const TypeId *types, uint32_t count) {
    const Code *code = d->build->code;
    ValueId     which = op_operand(code, op, 0);
    return flow_close(f, (Opcode)code->ops.opcode[op.row], &which, 1,
                      op_attrs(d->build->world, code, op), types, count);
}
static void vjp_branches(Vjp *v) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    ValueList   xs = moving(d, v->op, false);
    uint32_t    results = code->ops.results_count[v->op.row];
    ValueId    *ys = ARENA_ARRAY(scratch_of(d), ValueId, results);
    ValueId    *grads = ARENA_ARRAY(scratch_of(d), ValueId, xs.count);
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, xs.count);
    FlowBuild   f = open_branches(d, v->op);
    for (uint32_t k = 0; k < xs.count; k++) types[k] = build_type(d->build, xs.at[k]);
    for (uint32_t i = 0; i < f.count; i++) {
        uint32_t first = code->ops.table.count;
        BlockId  block = nth_block(code, v->op, i);
        Clone    clone = clone_begin(d->build, code, scratch_of(d));
        clone.pure = true;
        flow_enter(&f, i);
        clone_block_rows(&clone, block);
        for (uint32_t k = 0; k < results; k++)
            ys[k] = clone_value(&clone, returned(code, block, k));
        Derive inner = inner_derive(d, first);
        derive_pull(&inner, xs.at, xs.count, ys, v->cts, results, grads);
        inner_end(d, &inner);
        for (uint32_t k = 0; k < xs.count; k++) grads[k] = or_zeros(d, grads[k], types[k]);
        flow_return(&f, grads, xs.count);
    }
    OpId op = close_branches(d, &f, v->op, types, xs.count);
    for (uint32_t k = 0; k < xs.count; k++) give(v, xs.at[k], op_result(code, op, k));
}

/* Tangents of what a cloned block returns, from those that inner already has. */
static void push_block(Derive *inner, const ValueList *xs, const ValueId *ys, uint32_t count,
                       ValueId *out_tangents) {
    derive_mark(inner, xs->at, xs->count, ys, count);
    derive_push(inner);
    for (uint32_t i = 0; i < count; i++)
        out_tangents[i] =
            or_zeros(inner, derive_tangent(inner, ys[i]), build_type(inner->build, ys[i]));
}
static void keep_tangents(Derive *inner, const Derive *d, const ValueList *xs) {
    for (uint32_t i = 0; i < xs->count; i++)
        derive_set_tangent(inner, xs->at[i], derive_tangent(d, xs->at[i]));
}
/* The float ones among the results of an operator. */
static uint32_t moving_results(const Derive *d, OpId op, uint32_t first, uint32_t *out) {
    const Code *code = d->build->code;
    uint32_t    count = 0;
    for (uint32_t i = first; i < code->ops.results_count[op.row]; i++)
        if (moves(d, op_result(code, op, i))) out[count++] = i;
    return count;
}
static void jvp_branches(Derive *d, OpId op) {
    const Code *code = d->build->code;
    ValueList   xs = moving(d, op, false);
    uint32_t   *which = ARENA_ARRAY(scratch_of(d), uint32_t, code->ops.results_count[op.row]);
    uint32_t    count = moving_results(d, op, 0, which);
    ValueId    *ys = ARENA_ARRAY(scratch_of(d), ValueId, count);
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, count);
    FlowBuild   f = open_branches(d, op);
    for (uint32_t k = 0; k < count; k++)
        types[k] = build_type(d->build, op_result(code, op, which[k]));
    for (uint32_t i = 0; i < f.count; i++) {
        uint32_t first = code->ops.table.count;
        BlockId  block = nth_block(code, op, i);
        Clone    clone = clone_begin(d->build, code, scratch_of(d));
        clone.pure = true;
        flow_enter(&f, i);
        clone_block_rows(&clone, block);
        for (uint32_t k = 0; k < count; k++)
            ys[k] = clone_value(&clone, returned(code, block, which[k]));
        Derive inner = inner_derive(d, first);
        keep_tangents(&inner, d, &xs);
        push_block(&inner, &xs, ys, count, ys);
        inner_end(d, &inner);
        flow_return(&f, ys, count);
    }
    OpId made = close_branches(d, &f, op, types, count);
    for (uint32_t k = 0; k < count; k++)
        derive_set_tangent(d, op_result(code, op, which[k]), op_result(code, made, k));
}

/* --- loops: which of what is carried moves ---------------------------------------------------- */
typedef struct Loop {
    OpId      op;
    BlockId   body;
    uint32_t  operands, results, carries; /* scanned operands and stacked results follow */
    uint32_t  skip;                       /* 1 of a scan: the index is argument 0 */
    uint8_t  *moves;                      /* by operand; what is carried: at some step */
    ValueList captures;                   /* that move */
} Loop;

/* One sweep: whether carried values that are returned depend on what moves. */
static bool spread(Derive *d, Loop *loop, uint8_t *mark) {
    const Code *code = d->build->code;
    bool        changed = false;
    for (uint32_t i = 0; i < loop->operands; i++)
        if (loop->moves[i]) mark[block_arg(code, loop->body, i + loop->skip).row] = 1;
    for (uint32_t row = code->blocks.op_first[loop->body.row];
         row < code->blocks.op_last[loop->body.row]; row++) {
        OpId    op = {row};
        uint8_t any = 0;
        /* rows of nested blocks are looked at as well: their arguments count as moving if they
         * are floats, which is more than needed */
        bool nested = code->ops.block[row].row != loop->body.row;
        if (op_info(code, op)->flags & OP_ZERO_GRAD) continue;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(code, op, i);
            any |= mark[x.row] || (nested && value_is_arg(code, x) &&
                                   (code->values.def[x.row] & ~VALUE_IS_ARG) != loop->body.row);
        }
        if (code->ops.blocks_count[row] != 0)
            for (uint32_t inner = flow_first(code, op); inner < row; inner++)
                for (uint32_t i = 0; i < code->ops.operands_count[inner]; i++)
                    any |= mark[op_operand(code, (OpId){inner}, i).row];
        for (uint32_t i = 0; any && i < code->ops.results_count[row]; i++)
            if (moves(d, op_result(code, op, i))) mark[op_result(code, op, i).row] = 1;
    }
    for (uint32_t i = 0; i < loop->carries; i++)
        if (!loop->moves[i] && mark[returned(code, loop->body, i).row] &&
            moves(d, returned(code, loop->body, i)))
            loop->moves[i] = changed = true;
    return changed;
}
static Loop loop_of(Derive *d, OpId op) {
    const Code *code = d->build->code;
    bool        scans = code->ops.opcode[op.row] == OP_SCAN;
    Loop        loop = {.op = op,
                        .body = nth_block(code, op, scans ? 0 : 1),
                        .operands = code->ops.operands_count[op.row],
                        .results = code->ops.results_count[op.row],
                        .skip = scans};
    loop.carries = loop.operands;
    if (scans) loop.carries = (uint32_t)op_attrs(d->build->world, code, op)[ATTR_SCAN_carries];
    loop.captures = moving(d, op, false);
    loop.moves = ARENA_ARRAY_ZERO(scratch_of(d), uint8_t, loop.operands);
    for (uint32_t i = 0; i < loop.operands; i++)
        loop.moves[i] = value_id_some(derive_tangent(d, op_operand(code, op, i))) &&
                        moves(d, op_operand(code, op, i));
    ArenaMark at = arena_mark(scratch_of(d));
    uint8_t  *mark = ARENA_ARRAY_ZERO(scratch_of(d), uint8_t, code->values.table.count);
    for (uint32_t i = 0; i < loop.captures.count; i++) mark[loop.captures.at[i].row] = 1;
    while (spread(d, &loop, mark)) {}
    arena_release(scratch_of(d), at);
    return loop;
}
static uint32_t count_moving(const Loop *loop, uint32_t first, uint32_t last) {
    uint32_t count = 0;
    for (uint32_t i = first; i < last; i++) count += loop->moves[i];
    return count;
}
static TypeId arg_type(const Derive *d, const Loop *loop, uint32_t operand) {
    return build_type(d->build, block_arg(d->build->code, loop->body, operand + loop->skip));
}

/* --- values in order -------------------------------------------------------------------------- */
/* Arguments of a new block and operands of its operator are made side by side. */
typedef struct Sides {
    FlowBuild *f;
    uint32_t   block, count;
    ValueId   *operands; /* of the operator; arguments without any: nil */
    TypeId    *types;    /* of the arguments */
    uint32_t   skip;
} Sides;
static Sides sides_open(Derive *d, uint32_t most, uint32_t skip) {
    return (Sides){.operands = ARENA_ARRAY_ZERO(scratch_of(d), ValueId, most + 1),
                   .types = ARENA_ARRAY_ZERO(scratch_of(d), TypeId, most + 1),
                   .skip = skip};
}
static uint32_t add_side(Sides *sides, ValueId operand, TypeId type) {
    sides->operands[sides->count] = operand;
    sides->types[sides->count] = type;
    return sides->skip + sides->count++; /* which argument it is */
}
static TypeId index_type(Derive *d) {
    Types *types = &d->build->world->types;
    return types_type(types, DTYPE_I64, types_shape(types, NULL, 0));
}
static void type_args(Derive *d, FlowBuild *f, uint32_t block, const Sides *sides) {
    if (sides->skip) (void)flow_type_arg(f, block, 0, index_type(d));
    for (uint32_t i = 0; i < sides->count; i++)
        (void)flow_type_arg(f, block, i + sides->skip, sides->types[i]);
}
static void scan_words(Derive *d, const Loop *loop, uint64_t carries, bool turned, uint64_t *out) {
    const Code     *code = d->build->code;
    const uint64_t *attrs = op_attrs(d->build->world, code, loop->op);
    out[ATTR_SCAN_carries] = carries;
    out[ATTR_SCAN_reverse] = turned ? !attrs[ATTR_SCAN_reverse] : attrs[ATTR_SCAN_reverse];
    out[ATTR_SCAN_length] = flow_scan_length(d->build->world, code, loop->op).row;
    out[ATTR_SCAN_segment] = 0;
}

/* --- forward through loops -------------------------------------------------------------------- */
/* The body over values and tangents; returns what is carried, its tangents, tangents of rows. */
typedef struct Tangents {
    Sides     sides;
    uint32_t *args;  /* by operand: argument with its tangent, or 0 */
    uint32_t *which; /* stacked results that are floats */
    uint32_t  stacked, moving;
} Tangents;
static Tangents tangent_sides(Derive *d, const Loop *loop) {
    const Code *code = d->build->code;
    Tangents    t = {.sides = sides_open(d, 2 * loop->operands, loop->skip)};
    t.args = ARENA_ARRAY_ZERO(scratch_of(d), uint32_t, loop->operands);
    t.which = ARENA_ARRAY(scratch_of(d), uint32_t, loop->results);
    t.moving = count_moving(loop, 0, loop->carries);
    t.stacked = loop->skip ? moving_results(d, loop->op, loop->carries, t.which) : 0;
    for (uint32_t part = 0; part < 2; part++) {
        uint32_t first = part ? loop->carries : 0, last = part ? loop->operands : loop->carries;
        for (uint32_t i = first; i < last; i++)
            (void)add_side(&t.sides, op_operand(code, loop->op, i), arg_type(d, loop, i));
        for (uint32_t i = first; i < last; i++) {
            if (!loop->moves[i]) continue;
            ValueId x = op_operand(code, loop->op, i);
            ValueId dx = or_zeros(d, derive_tangent(d, x), build_type(d->build, x));
            t.args[i] = add_side(&t.sides, dx, arg_type(d, loop, i));
        }
    }
    return t;
}
/* Which argument operand i is, in a block of tangent_sides. */
static uint32_t primal_arg(const Loop *loop, const Tangents *t, uint32_t i) {
    return i + loop->skip + (i >= loop->carries ? t->moving : 0);
}
static void push_body(Derive *d, const Loop *loop, const Tangents *t, FlowBuild *f,
                      uint32_t block) {
    const Code *code = d->build->code;
    uint32_t    count = 0, ys_count = loop->carries + t->stacked, first = code->ops.table.count;
    ValueId    *out = ARENA_ARRAY(scratch_of(d), ValueId, 2 * loop->carries + t->stacked);
    ValueId    *ys = ARENA_ARRAY(scratch_of(d), ValueId, ys_count);
    ValueList xs = {ARENA_ARRAY(scratch_of(d), ValueId, loop->operands + loop->captures.count), 0};
    Clone     clone = clone_begin(d->build, code, scratch_of(d));
    clone.pure = true;
    if (loop->skip) clone.map[block_arg(code, loop->body, 0).row] = flow_arg(f, block, 0);
    for (uint32_t i = 0; i < loop->operands; i++)
        clone.map[block_arg(code, loop->body, i + loop->skip).row] =
            flow_arg(f, block, primal_arg(loop, t, i));
    flow_enter(f, block);
    clone_block_rows(&clone, loop->body);
    Derive inner = inner_derive(d, first);
    keep_tangents(&inner, d, &loop->captures);
    for (uint32_t i = 0; i < loop->captures.count; i++) xs.at[xs.count++] = loop->captures.at[i];
    for (uint32_t i = 0; i < loop->operands; i++) {
        if (t->args[i] == 0 && !loop->moves[i]) continue;
        ValueId x = flow_arg(f, block, primal_arg(loop, t, i));
        derive_set_tangent(&inner, x, flow_arg(f, block, t->args[i]));
        xs.at[xs.count++] = x;
    }
    for (uint32_t i = 0; i < ys_count; i++)
        ys[i] = clone_value(&clone, returned(code, loop->body,
                                             i < loop->carries ? i : t->which[i - loop->carries]));
    for (uint32_t i = 0; i < loop->carries; i++) out[count++] = ys[i];
    derive_mark(&inner, xs.at, xs.count, ys, ys_count);
    derive_push(&inner);
    for (uint32_t i = 0; i < ys_count; i++)
        if (i >= loop->carries || loop->moves[i])
            out[count++] = or_zeros(d, derive_tangent(&inner, ys[i]), build_type(d->build, ys[i]));
    inner_end(d, &inner);
    flow_return(f, out, count);
}
static void jvp_loop(Derive *d, OpId op) {
    const Code *code = d->build->code;
    Loop        loop = loop_of(d, op);
    Tangents    t = tangent_sides(d, &loop);
    uint32_t    args[2] = {loop.skip + t.sides.count, t.sides.count},
             results = loop.carries + t.moving;
    uint64_t  words[ATTRS_MAX];
    FlowBuild f = flow_open(d->build, args, loop.skip ? 1 : 2);
    TypeId   *types = ARENA_ARRAY(scratch_of(d), TypeId, results + t.stacked);
    memcpy(types, t.sides.types, results * sizeof *types);
    for (uint32_t i = 0; i < f.count; i++) type_args(d, &f, i, &t.sides);
    if (loop.skip) {
        scan_words(d, &loop, results, false, words);
        for (uint32_t i = 0; i < t.stacked; i++)
            types[results++] = build_type(d->build, op_result(code, op, t.which[i]));
    } else { /* the condition looks at the values alone */
        BlockId test = nth_block(code, op, 0);
        Clone   clone = clone_begin(d->build, code, scratch_of(d));
        memcpy(words, op_attrs(d->build->world, code, op),
               sizeof *words * op_info(code, op)->attrs_count);
        for (uint32_t i = 0; i < loop.operands; i++)
            clone.map[block_arg(code, test, i).row] = flow_arg(&f, 0, i);
        flow_enter(&f, 0);
        clone_block_rows(&clone, test);
        ValueId more = clone_value(&clone, returned(code, test, 0));
        flow_return(&f, &more, 1);
    }
    push_body(d, &loop, &t, &f, f.count - 1);
    OpId made = flow_close(&f, (Opcode)code->ops.opcode[op.row], t.sides.operands, t.sides.count,
                           words, types, results);
    uint32_t at = loop.carries;
    for (uint32_t i = 0; i < loop.carries; i++)
        if (loop.moves[i])
            derive_set_tangent(d, op_result(code, op, i), op_result(code, made, at++));
    for (uint32_t i = 0; i < t.stacked; i++)
        derive_set_tangent(d, op_result(code, op, t.which[i]), op_result(code, made, at++));
}

/* --- back through a scan ---------------------------------------------------------------------- */
static void add_swap(Derive *d, OpId op, uint32_t first, uint32_t last, const ValueId *results) {
    Swap *swap = ARENA_NEW(scratch_of(d), Swap);
    *swap = (Swap){op, first, last, results, *d->swaps};
    *d->swaps = swap;
}
/* The scan with the states before each step as further results; returns the first of these. */
static ValueId keep_states(Derive *d, const Loop *loop) {
    const Code *code = d->build->code;
    World      *world = d->build->world;
    uint32_t    args = loop->operands + 1, results = loop->results;
    ValueId    *out = ARENA_ARRAY(scratch_of(d), ValueId, results + loop->carries);
    ValueId    *given = ARENA_ARRAY(scratch_of(d), ValueId, results);
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, results + loop->carries);
    uint64_t    words[ATTRS_MAX];
    DimId       length = flow_scan_length(world, code, loop->op);
    uint32_t    first = code->ops.table.count;
    FlowBuild   f = flow_open(d->build, &args, 1);
    Clone       clone = clone_begin(d->build, code, scratch_of(d));
    for (uint32_t i = 0; i < args; i++) {
        ValueId old = block_arg(code, loop->body, i);
        clone.map[old.row] = flow_type_arg(&f, 0, i, build_type(d->build, old));
    }
    flow_enter(&f, 0);
    clone_block_rows(&clone, loop->body);
    for (uint32_t i = 0; i < results; i++) {
        out[i] = clone_value(&clone, returned(code, loop->body, i));
        types[i] = build_type(d->build, op_result(code, loop->op, i));
    }
    for (uint32_t i = 0; i < loop->carries; i++) {
        out[results + i] = flow_arg(&f, 0, i + 1);
        types[results + i] = flow_stacked(world, build_type(d->build, out[results + i]), length);
    }
    flow_return(&f, out, results + loop->carries);
    scan_words(d, loop, loop->carries, false, words);
    OpId made = flow_close(&f, OP_SCAN, op_operands(code, loop->op), loop->operands, words, types,
                           results + loop->carries);
    for (uint32_t i = 0; i < results; i++) given[i] = op_result(code, made, i);
    add_swap(d, loop->op, first, made.row + 1, given);
    return op_result(code, made, results); /* nothing follows when nothing is carried */
}

typedef struct Back { /* the block of the scan that goes back */
    Sides     sides;
    uint32_t *cts;  /* by result: argument with its cotangent, or 0 */
    uint32_t *args; /* by operand: argument with its value at this step */
    uint32_t  sums; /* the first argument that adds up the cotangent of a captured value */
    uint32_t  carries;
} Back;
static Back back_sides(Vjp *v, const Loop *loop) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    uint32_t    most = 2 * loop->results + 2 * loop->operands + loop->captures.count;
    Back        b = {.sides = sides_open(d, most, 1)};
    b.cts = ARENA_ARRAY_ZERO(scratch_of(d), uint32_t, loop->results);
    b.args = ARENA_ARRAY_ZERO(scratch_of(d), uint32_t, loop->operands);
    for (uint32_t i = 0; i < loop->carries; i++)
        if (loop->moves[i]) {
            TypeId type = arg_type(d, loop, i);
            b.cts[i] = add_side(&b.sides, or_zeros(d, v->cts[i], type), type);
        }
    b.sums = b.sides.count + 1;
    for (uint32_t i = 0; i < loop->captures.count; i++) {
        TypeId type = build_type(d->build, loop->captures.at[i]);
        (void)add_side(&b.sides, zeros(d, type), type);
    }
    b.carries = b.sides.count;
    if (loop->carries != 0) {
        ValueId states = keep_states(d, loop);
        for (uint32_t i = 0; i < loop->carries; i++)
            b.args[i] = add_side(&b.sides, (ValueId){states.row + i}, arg_type(d, loop, i));
    }
    for (uint32_t i = loop->carries; i < loop->operands; i++)
        b.args[i] = add_side(&b.sides, op_operand(code, loop->op, i), arg_type(d, loop, i));
    for (uint32_t i = loop->carries; i < loop->results; i++) {
        if (!value_id_some(v->cts[i])) continue;
        ValueId row = returned(code, loop->body, i);
        b.cts[i] = add_side(&b.sides, v->cts[i], build_type(d->build, row));
    }
    return b;
}
/* The step again, then back through it. */
static void pull_body(Vjp *v, const Loop *loop, const Back *b, FlowBuild *f) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    uint32_t    xs_most = loop->operands + loop->captures.count, first = code->ops.table.count;
    uint32_t    xs_count = 0, count = 0;
    ValueId    *xs = ARENA_ARRAY(scratch_of(d), ValueId, xs_most);
    ValueId    *grads = ARENA_ARRAY_ZERO(scratch_of(d), ValueId, xs_most);
    ValueId    *out = ARENA_ARRAY(scratch_of(d), ValueId, xs_most);
    ValueId    *ys = ARENA_ARRAY(scratch_of(d), ValueId, loop->results);
    ValueId    *cts = ARENA_ARRAY_ZERO(scratch_of(d), ValueId, loop->results);
    Clone       clone = clone_begin(d->build, code, scratch_of(d));
    clone.pure = true;
    clone.map[block_arg(code, loop->body, 0).row] = flow_arg(f, 0, 0);
    for (uint32_t i = 0; i < loop->operands; i++)
        clone.map[block_arg(code, loop->body, i + 1).row] = flow_arg(f, 0, b->args[i]);
    flow_enter(f, 0);
    clone_block_rows(&clone, loop->body);
    for (uint32_t i = 0; i < loop->results; i++) {
        ys[i] = clone_value(&clone, returned(code, loop->body, i));
        if (b->cts[i] != 0) cts[i] = flow_arg(f, 0, b->cts[i]);
    }
    for (uint32_t i = 0; i < loop->operands; i++)
        if (loop->moves[i]) xs[xs_count++] = flow_arg(f, 0, b->args[i]);
    for (uint32_t i = 0; i < loop->captures.count; i++) xs[xs_count++] = loop->captures.at[i];
    Derive inner = inner_derive(d, first);
    derive_pull(&inner, xs, xs_count, ys, cts, loop->results, grads);
    inner_end(d, &inner);
    uint32_t carried = count_moving(loop, 0, loop->carries);
    uint32_t scanned = count_moving(loop, loop->carries, loop->operands);
    for (uint32_t i = 0; i < carried; i++)
        out[count++] = or_zeros(d, grads[i], build_type(d->build, xs[i]));
    for (uint32_t i = 0; i < loop->captures.count; i++) {
        ValueId sum = flow_arg(f, 0, b->sums + i), grad = grads[carried + scanned + i];
        out[count++] = value_id_some(grad) ? build_binary(d->build, OP_ADD, sum, grad) : sum;
    }
    for (uint32_t i = 0; i < scanned; i++)
        out[count++] = or_zeros(d, grads[carried + i], build_type(d->build, xs[carried + i]));
    flow_return(f, out, count);
}
static void vjp_scan(Vjp *v) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    Loop        loop = loop_of(d, v->op);
    Back        b = back_sides(v, &loop);
    uint32_t    args = b.sides.count + 1, results = b.carries;
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, b.carries + loop.operands);
    uint64_t    words[ATTRS_MAX];
    FlowBuild   f = flow_open(d->build, &args, 1);
    memcpy(types, b.sides.types, b.carries * sizeof *types);
    for (uint32_t i = loop.carries; i < loop.operands; i++)
        if (loop.moves[i]) types[results++] = build_type(d->build, op_operand(code, v->op, i));
    type_args(d, &f, 0, &b.sides);
    pull_body(v, &loop, &b, &f);
    scan_words(d, &loop, b.carries, true, words);
    OpId     made = flow_close(&f, OP_SCAN, b.sides.operands, b.sides.count, words, types, results);
    uint32_t at = 0;
    for (uint32_t i = 0; i < loop.carries; i++)
        if (loop.moves[i]) give(v, op_operand(code, v->op, i), op_result(code, made, at++));
    for (uint32_t i = 0; i < loop.captures.count; i++)
        give(v, loop.captures.at[i], op_result(code, made, at++));
    for (uint32_t i = loop.carries; i < loop.operands; i++)
        if (loop.moves[i]) give(v, op_operand(code, v->op, i), op_result(code, made, at++));
}

/* --- back through a while: scans of steps that may do nothing --------------------------------- */
/* Rows of a block of the loop over values that stand for its arguments. */
static void clone_over(Derive *d, BlockId block, const ValueId *args, uint32_t count,
                       ValueId *out) {
    const Code *code = d->build->code;
    Clone       clone = clone_begin(d->build, code, scratch_of(d));
    for (uint32_t i = 0; i < count; i++) clone.map[block_arg(code, block, i).row] = args[i];
    clone_block_rows(&clone, block);
    for (uint32_t i = 0; i < code->ops.operands_count[block_return(code, block).row]; i++)
        out[i] = clone_value(&clone, returned(code, block, i));
}
/* steps[0] steps, each of them steps[1] steps and so on, innermost the body: what is carried. */
static void add_steps(Derive *d, OpId loop, const ValueId *from, const int64_t *steps,
                      uint32_t levels, ValueId *out) { // as deep as there are levels: 2
    const Code *code = d->build->code;
    uint32_t    count = code->ops.operands_count[loop.row], args = count + 1, none[2] = {0, 0};
    BlockId     test = nth_block(code, loop, 0), body = nth_block(code, loop, 1);
    ValueId    *inside = ARENA_ARRAY(scratch_of(d), ValueId, count + 1), more;
    ValueId    *next = ARENA_ARRAY(scratch_of(d), ValueId, count + 1);
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, count + 1);
    uint64_t    words[ATTRS_MAX] = {0};
    FlowBuild   f = flow_open(d->build, &args, 1);
    (void)flow_type_arg(&f, 0, 0, index_type(d));
    for (uint32_t i = 0; i < count; i++) {
        types[i] = build_type(d->build, from[i]);
        inside[i] = flow_type_arg(&f, 0, i + 1, types[i]);
    }
    flow_enter(&f, 0);
    clone_over(d, test, inside, count, &more);
    FlowBuild g = flow_open(d->build, none, 2);
    flow_enter(&g, 0);
    if (levels > 1)
        add_steps(d, loop, inside, steps + 1, levels - 1, next);
    else
        clone_over(d, body, inside, count, next);
    flow_return(&g, next, count);
    flow_enter(&g, 1);
    flow_return(&g, inside, count);
    OpId step = flow_close(&g, OP_IF, &more, 1, words, types, count);
    for (uint32_t i = 0; i < count; i++) next[i] = op_result(code, step, i);
    flow_return(&f, next, count);
    words[ATTR_SCAN_carries] = count;
    words[ATTR_SCAN_length] = dims_const(&d->build->world->dims, steps[0]).row;
    OpId made = flow_close(&f, OP_SCAN, from, count, words, types, count);
    for (uint32_t i = 0; i < count; i++) out[i] = op_result(code, made, i);
}
/* Back through rows from `first` on, which stand for the operator and take its place. */
static void vjp_rows(Vjp *v, uint32_t first, const ValueId *results) {
    Derive   *d = v->d;
    uint32_t  count = d->build->code->ops.results_count[v->op.row];
    ValueList xs = moving(d, v->op, true);
    ValueId  *grads = ARENA_ARRAY_ZERO(scratch_of(d), ValueId, xs.count);
    Derive    inner = inner_derive(d, first);
    add_swap(d, v->op, first, inner.rows, results);
    derive_pull(&inner, xs.at, xs.count, results, v->cts, count, grads);
    inner_end(d, &inner);
    for (uint32_t i = 0; i < xs.count; i++) give(v, xs.at[i], grads[i]);
}
static void vjp_while(Vjp *v) {
    Derive           *d = v->d;
    const Code       *code = d->build->code;
    World            *world = d->build->world;
    uint32_t          count = code->ops.operands_count[v->op.row], first = code->ops.table.count;
    int64_t           limit = (int64_t)op_attrs(world, code, v->op)[ATTR_WHILE_limit];
    int64_t           steps[2] = {limit > 1 ? limit : 1, 1};
    ValueId          *out = ARENA_ARRAY(scratch_of(d), ValueId, count + 1), more;
    static const char message[] =
        "a while that a gradient goes back through repeats more often than "
        "its attribute `limit` says";
    uint32_t levels = steps[0] > WHILE_STEPS_MAX ? 2 : 1;
    if (levels == 2) {
        while (steps[1] * steps[1] < limit) steps[1]++;
        steps[0] = (limit + steps[1] - 1) / steps[1];
    }
    add_steps(d, v->op, op_operands(code, v->op), steps, levels, out);
    vjp_rows(v, first, out);
    uint64_t words[1] = {strings_add(&world->strings, str_of(message)).row};
    clone_over(d, nth_block(code, v->op, 0), out, count, &more);
    more = build_unary(d->build, OP_NOT, more);
    (void)build_row(d->build, OP_ASSERT, &more, 1, words, 0);
}

/* --- graphs with a gradient of their own ------------------------------------------------------ */
static void vjp_custom_grad(Vjp *v) {
    Derive         *d = v->d;
    const Code     *code = d->build->code;
    const uint64_t *attrs = op_attrs(d->build->world, code, v->op);
    uint64_t        words[1] = {attrs[ATTR_CUSTOM_GRAD_gradient]};
    uint32_t operands = code->ops.operands_count[v->op.row], count = operands, results = 0, at = 0;
    uint32_t most = operands + code->ops.results_count[v->op.row];
    ValueId *given = ARENA_ARRAY(scratch_of(d), ValueId, most + 1);
    TypeId  *types = ARENA_ARRAY(scratch_of(d), TypeId, operands + 1);
    for (uint32_t i = 0; i < operands; i++) {
        given[i] = op_operand(code, v->op, i);
        if (moves(d, given[i])) types[results++] = build_type(d->build, given[i]);
    }
    for (uint32_t i = 0; i < code->ops.results_count[v->op.row]; i++) {
        ValueId y = op_result(code, v->op, i);
        if (moves(d, y)) given[count++] = or_zeros(d, v->cts[i], build_type(d->build, y));
    }
    OpId made = flow_row(d->build, OP_CALL, given, count, words, types, results);
    for (uint32_t i = 0; i < operands; i++)
        if (moves(d, given[i])) give(v, given[i], op_result(code, made, at++));
}
static void jvp_custom_grad(Derive *d, OpId op) {
    const Code     *old = d->rw->old, *code = d->build->code;
    const uint64_t *attrs = op_attrs(d->build->world, code, op);
    GraphId         graph = code_find_graph(old, (StrId){(uint32_t)attrs[ATTR_CUSTOM_GRAD_graph]});
    BlockId         body = old->graphs.block[graph.row];
    uint32_t        first = code->ops.table.count, results = code->ops.results_count[op.row];
    Clone           clone = clone_begin(d->build, old, scratch_of(d));
    ValueList       xs = moving(d, op, true);
    ValueId        *ys = ARENA_ARRAY(scratch_of(d), ValueId, results);
    for (uint32_t row = old->blocks.op_first[body.row]; row < old->blocks.op_last[body.row]; row++)
        if (op_info(old, (OpId){row})->flags & OP_DERIVES) {
            derive_fail(d, op);
            return;
        }
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++)
        clone.map[block_arg(old, body, i).row] = op_operand(code, op, i);
    clone_block_rows(&clone, body);
    for (uint32_t i = 0; i < results; i++) ys[i] = clone_value(&clone, returned(old, body, i));
    Derive inner = inner_derive(d, first);
    keep_tangents(&inner, d, &xs);
    derive_mark(&inner, xs.at, xs.count, ys, results);
    derive_push(&inner);
    inner_end(d, &inner);
    for (uint32_t i = 0; i < results; i++) {
        ValueId tangent = derive_tangent(&inner, ys[i]);
        if (value_id_some(tangent)) derive_set_tangent(d, op_result(code, op, i), tangent);
    }
}

/* --- all of it -------------------------------------------------------------------------------- */
typedef void         PushFn(Derive *d, OpId op);
typedef void         PullFn(Vjp *v);
static PushFn *const push_rules[OP_COUNT] = {[OP_IF] = jvp_branches,
                                             [OP_SWITCH] = jvp_branches,
                                             [OP_WHILE] = jvp_loop,
                                             [OP_SCAN] = jvp_loop,
                                             [OP_CUSTOM_GRAD] = jvp_custom_grad};
static PullFn *const pull_rules[OP_COUNT] = {[OP_IF] = vjp_branches,
                                             [OP_SWITCH] = vjp_branches,
                                             [OP_WHILE] = vjp_while,
                                             [OP_SCAN] = vjp_scan,
                                             [OP_CUSTOM_GRAD] = vjp_custom_grad};

void derive_push_control(Derive *d, OpId op) {
    const Code *code = d->build->code;
    ValueList   xs = moving(d, op, true);
    uint32_t    results = code->ops.results_count[op.row], opcode = code->ops.opcode[op.row];
    uint64_t    words[1] = {op.row};
    TypeId     *types = ARENA_ARRAY(scratch_of(d), TypeId, results);
    uint32_t   *which = ARENA_ARRAY(scratch_of(d), uint32_t, results);
    if (xs.count == 0 || moving_results(d, op, 0, which) == 0) return;
    if (push_rules[opcode] == NULL) {
        derive_fail(d, op);
        return;
    }
    if (!d->reverse) {
        push_rules[opcode](d, op);
        return;
    }
    ValueId *tangents = ARENA_ARRAY(scratch_of(d), ValueId, xs.count);
    for (uint32_t i = 0; i < xs.count; i++) tangents[i] = derive_tangent(d, xs.at[i]);
    for (uint32_t i = 0; i < results; i++) types[i] = build_type(d->build, op_result(code, op, i));
    OpId made = flow_row(d->build, OP_PULLBACK, tangents, xs.count, words, types, results);
    for (uint32_t i = 0; i < results; i++) {
        ValueId y = op_result(code, op, i);
        if (moves(d, y) && !value_id_some(derive_tangent(d, y)))
            derive_set_tangent(d, y, op_result(code, made, i));
    }
}

void derive_pull_control(Derive *d, OpId pullback, ValueId *cotangents) {
    const Code *code = d->build->code;
    OpId        op = {(uint32_t)op_attrs(d->build->world, code, pullback)[ATTR_PULLBACK_row]};
    uint32_t    results = code->ops.results_count[op.row];
    ValueId    *cts = ARENA_ARRAY(scratch_of(d), ValueId, results);
    bool        any = false;
    for (uint32_t i = 0; i < results; i++) {
        cts[i] = cotangents[op_result(code, pullback, i).row];
        any |= value_id_some(cts[i]);
    }
    Vjp v = {d, op, cts, cotangents};
    if (any) pull_rules[code->ops.opcode[op.row]](&v);
}
