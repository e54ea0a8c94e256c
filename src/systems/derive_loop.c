/* Derivatives of loops: forward through while and scan, which carry values and tangents together,
 * and back through a scan.
 *
 * Going back is a scan the other way. It takes the state before each step, which a copy of the
 * forward scan stacks in its place, computes the step again, and goes back through that: carried
 * cotangents, and sums of those of captured values, are what it carries. Which carried values move
 * at all is a fixed point over the body. */
#include <string.h>

#include "systems/derive_inner.h"

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
        if (loop->moves[i]) mark[flow_block_arg(code, loop->body, i + loop->skip).row] = 1;
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
            if (derive_moves(d, op_result(code, op, i))) mark[op_result(code, op, i).row] = 1;
    }
    for (uint32_t i = 0; i < loop->carries; i++)
        if (!loop->moves[i] && mark[flow_returned(code, loop->body, i).row] &&
            derive_moves(d, flow_returned(code, loop->body, i)))
            loop->moves[i] = changed = true;
    return changed;
}
static Loop loop_of(Derive *d, OpId op) {
    const Code *code = d->build->code;
    bool        scans = code->ops.opcode[op.row] == OP_SCAN;
    Loop        loop = {.op = op,
                        .body = flow_block(code, op, scans ? 0 : 1),
                        .operands = code->ops.operands_count[op.row],
                        .results = code->ops.results_count[op.row],
                        .skip = scans};
    loop.carries = loop.operands;
    if (scans) loop.carries = (uint32_t)op_attrs(d->build->world, code, op)[ATTR_SCAN_carries];
    loop.captures = derive_moving(d, op, false);
    loop.moves = ARENA_ARRAY_ZERO(derive_scratch(d), uint8_t, loop.operands);
    for (uint32_t i = 0; i < loop.operands; i++)
        loop.moves[i] = value_id_some(derive_tangent(d, op_operand(code, op, i))) &&
                        derive_moves(d, op_operand(code, op, i));
    ArenaMark at = arena_mark(derive_scratch(d));
    uint8_t  *mark = ARENA_ARRAY_ZERO(derive_scratch(d), uint8_t, code->values.table.count);
    for (uint32_t i = 0; i < loop.captures.count; i++) mark[loop.captures.at[i].row] = 1;
    while (spread(d, &loop, mark)) {}
    arena_release(derive_scratch(d), at);
    return loop;
}
static uint32_t count_moving(const Loop *loop, uint32_t first, uint32_t last) {
    uint32_t count = 0;
    for (uint32_t i = first; i < last; i++) count += loop->moves[i];
    return count;
}
static TypeId arg_type(const Derive *d, const Loop *loop, uint32_t operand) {
    return build_type(d->build, flow_block_arg(d->build->code, loop->body, operand + loop->skip));
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
    return (Sides){.operands = ARENA_ARRAY_ZERO(derive_scratch(d), ValueId, most + 1),
                   .types = ARENA_ARRAY_ZERO(derive_scratch(d), TypeId, most + 1),
                   .skip = skip};
}
static uint32_t add_side(Sides *sides, ValueId operand, TypeId type) {
    sides->operands[sides->count] = operand;
    sides->types[sides->count] = type;
    return sides->skip + sides->count++; /* which argument it is */
}
static void type_args(Derive *d, FlowBuild *f, uint32_t block, const Sides *sides) {
    if (sides->skip) (void)flow_type_arg(f, block, 0, derive_index_type(d));
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
    t.args = ARENA_ARRAY_ZERO(derive_scratch(d), uint32_t, loop->operands);
    t.which = ARENA_ARRAY(derive_scratch(d), uint32_t, loop->results);
    t.moving = count_moving(loop, 0, loop->carries);
    t.stacked = loop->skip ? derive_moving_results(d, loop->op, loop->carries, t.which) : 0;
    for (uint32_t part = 0; part < 2; part++) {
        uint32_t first = part ? loop->carries : 0, last = part ? loop->operands : loop->carries;
        for (uint32_t i = first; i < last; i++)
            (void)add_side(&t.sides, op_operand(code, loop->op, i), arg_type(d, loop, i));
        for (uint32_t i = first; i < last; i++) {
            if (!loop->moves[i]) continue;
            ValueId x = op_operand(code, loop->op, i);
            ValueId dx = derive_or_zeros(d, derive_tangent(d, x), build_type(d->build, x));
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
    ValueId    *out = ARENA_ARRAY(derive_scratch(d), ValueId, 2 * loop->carries + t->stacked);
    ValueId    *ys = ARENA_ARRAY(derive_scratch(d), ValueId, ys_count);
    ValueList xs = {ARENA_ARRAY(derive_scratch(d), ValueId, loop->operands + loop->captures.count),
                    0};
    Clone     clone = clone_begin(d->build, code, derive_scratch(d));
    clone.pure = true;
    if (loop->skip) clone.map[flow_block_arg(code, loop->body, 0).row] = flow_arg(f, block, 0);
    for (uint32_t i = 0; i < loop->operands; i++)
        clone.map[flow_block_arg(code, loop->body, i + loop->skip).row] =
            flow_arg(f, block, primal_arg(loop, t, i));
    flow_enter(f, block);
    clone_block_rows(&clone, loop->body);
    Derive inner = derive_inner(d, first);
    derive_keep_tangents(&inner, d, &loop->captures);
    for (uint32_t i = 0; i < loop->captures.count; i++) xs.at[xs.count++] = loop->captures.at[i];
    for (uint32_t i = 0; i < loop->operands; i++) {
        if (t->args[i] == 0 && !loop->moves[i]) continue;
        ValueId x = flow_arg(f, block, primal_arg(loop, t, i));
        derive_set_tangent(&inner, x, flow_arg(f, block, t->args[i]));
        xs.at[xs.count++] = x;
    }
    for (uint32_t i = 0; i < ys_count; i++)
        ys[i] =
            clone_value(&clone, flow_returned(code, loop->body,
                                              i < loop->carries ? i : t->which[i - loop->carries]));
    for (uint32_t i = 0; i < loop->carries; i++) out[count++] = ys[i];
    derive_mark(&inner, xs.at, xs.count, ys, ys_count);
    derive_push(&inner);
    for (uint32_t i = 0; i < ys_count; i++)
        if (i >= loop->carries || loop->moves[i])
            out[count++] =
                derive_or_zeros(d, derive_tangent(&inner, ys[i]), build_type(d->build, ys[i]));
    derive_inner_end(d, &inner);
    flow_return(f, out, count);
}
void derive_push_loop(Derive *d, OpId op) {
    const Code *code = d->build->code;
    Loop        loop = loop_of(d, op);
    Tangents    t = tangent_sides(d, &loop);
    uint32_t    args[2] = {loop.skip + t.sides.count, t.sides.count},
             results = loop.carries + t.moving;
    uint64_t  words[ATTRS_MAX];
    FlowBuild f = flow_open(d->build, args, loop.skip ? 1 : 2);
    TypeId   *types = ARENA_ARRAY(derive_scratch(d), TypeId, results + t.stacked);
    memcpy(types, t.sides.types, results * sizeof *types);
    for (uint32_t i = 0; i < f.count; i++) type_args(d, &f, i, &t.sides);
    if (loop.skip) {
        scan_words(d, &loop, results, false, words);
        for (uint32_t i = 0; i < t.stacked; i++)
            types[results++] = build_type(d->build, op_result(code, op, t.which[i]));
    } else { /* the condition looks at the values alone */
        ValueId *given = ARENA_ARRAY(derive_scratch(d), ValueId, loop.operands + 1), more;
        memcpy(words, op_attrs(d->build->world, code, op),
               sizeof *words * op_info(code, op)->attrs_count);
        for (uint32_t i = 0; i < loop.operands; i++) given[i] = flow_arg(&f, 0, i);
        flow_enter(&f, 0);
        clone_over(d->build, code, flow_block(code, op, 0), false, given, derive_scratch(d), &more);
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
/* The scan with the states before each step as further results; returns the first of these. */
static ValueId keep_states(Derive *d, const Loop *loop) {
    const Code *code = d->build->code;
    World      *world = d->build->world;
    uint32_t    args = loop->operands + 1, results = loop->results;
    ValueId    *out = ARENA_ARRAY(derive_scratch(d), ValueId, results + loop->carries);
    ValueId    *given = ARENA_ARRAY(derive_scratch(d), ValueId, results);
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, results + loop->carries);
    uint64_t    words[ATTRS_MAX];
    DimId       length = flow_scan_length(world, code, loop->op);
    uint32_t    first = code->ops.table.count;
    FlowBuild   f = flow_open(d->build, &args, 1);
    ValueId    *inside = ARENA_ARRAY(derive_scratch(d), ValueId, args);
    for (uint32_t i = 0; i < args; i++)
        inside[i] =
            flow_type_arg(&f, 0, i, build_type(d->build, flow_block_arg(code, loop->body, i)));
    flow_enter(&f, 0);
    clone_over(d->build, code, loop->body, false, inside, derive_scratch(d), out);
    for (uint32_t i = 0; i < results; i++)
        types[i] = build_type(d->build, op_result(code, loop->op, i));
    for (uint32_t i = 0; i < loop->carries; i++) {
        out[results + i] = flow_arg(&f, 0, i + 1);
        types[results + i] = flow_stacked(world, build_type(d->build, out[results + i]), length);
    }
    flow_return(&f, out, results + loop->carries);
    scan_words(d, loop, loop->carries, false, words);
    OpId made = flow_close(&f, OP_SCAN, op_operands(code, loop->op), loop->operands, words, types,
                           results + loop->carries);
    for (uint32_t i = 0; i < results; i++) given[i] = op_result(code, made, i);
    derive_swap(d, loop->op, first, made.row + 1, given);
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
    b.cts = ARENA_ARRAY_ZERO(derive_scratch(d), uint32_t, loop->results);
    b.args = ARENA_ARRAY_ZERO(derive_scratch(d), uint32_t, loop->operands);
    for (uint32_t i = 0; i < loop->carries; i++)
        if (loop->moves[i]) {
            TypeId type = arg_type(d, loop, i);
            b.cts[i] = add_side(&b.sides, derive_or_zeros(d, v->cts[i], type), type);
        }
    b.sums = b.sides.count + 1;
    for (uint32_t i = 0; i < loop->captures.count; i++) {
        TypeId  type = build_type(d->build, loop->captures.at[i]);
        ValueId begin = derive_take(v, loop->captures.at[i]);
        (void)add_side(&b.sides, derive_or_zeros(d, begin, type), type);
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
        ValueId row = flow_returned(code, loop->body, i);
        b.cts[i] = add_side(&b.sides, v->cts[i], build_type(d->build, row));
    }
    return b;
}
/* Bytes that loops inside may keep. One of segment 1 has been counted by whoever said so. */
static uint64_t states_left(const Derive *d, OpId scan) {
    double kept = derive_states_bytes(d, scan);
    if (op_attrs(d->build->world, d->build->code, scan)[ATTR_SCAN_segment] == 1) return d->states;
    return kept < (double)d->states ? d->states - (uint64_t)kept : 0;
}
/* The step again, then back through it. */
static void pull_body(Vjp *v, const Loop *loop, const Back *b, FlowBuild *f) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    uint32_t    xs_most = loop->operands + loop->captures.count, first = code->ops.table.count;
    uint32_t    xs_count = 0, count = 0;
    ValueId    *xs = ARENA_ARRAY(derive_scratch(d), ValueId, xs_most);
    ValueId    *grads = ARENA_ARRAY_ZERO(derive_scratch(d), ValueId, xs_most);
    ValueId    *out = ARENA_ARRAY(derive_scratch(d), ValueId, xs_most);
    ValueId    *ys = ARENA_ARRAY(derive_scratch(d), ValueId, loop->results);
    ValueId    *cts = ARENA_ARRAY_ZERO(derive_scratch(d), ValueId, loop->results);
    ValueId    *inside = ARENA_ARRAY(derive_scratch(d), ValueId, loop->operands + 1);
    inside[0] = flow_arg(f, 0, 0);
    for (uint32_t i = 0; i < loop->operands; i++) inside[i + 1] = flow_arg(f, 0, b->args[i]);
    flow_enter(f, 0);
    clone_over(d->build, code, loop->body, true, inside, derive_scratch(d), ys);
    for (uint32_t i = 0; i < loop->results; i++)
        if (b->cts[i] != 0) cts[i] = flow_arg(f, 0, b->cts[i]);
    for (uint32_t i = 0; i < loop->operands; i++)
        if (loop->moves[i]) xs[xs_count++] = flow_arg(f, 0, b->args[i]);
    for (uint32_t i = 0; i < loop->captures.count; i++) {
        grads[xs_count] = flow_arg(f, 0, b->sums + i);
        xs[xs_count++] = loop->captures.at[i];
    }
    Derive inner = derive_inner(d, first);
    inner.states = states_left(d, loop->op);
    derive_pull(&inner, xs, xs_count, ys, cts, loop->results, grads);
    derive_inner_end(d, &inner);
    uint32_t carried = count_moving(loop, 0, loop->carries);
    uint32_t scanned = count_moving(loop, loop->carries, loop->operands);
    for (uint32_t i = 0; i < carried; i++)
        out[count++] = derive_or_zeros(d, grads[i], build_type(d->build, xs[i]));
    for (uint32_t i = 0; i < loop->captures.count; i++) out[count++] = grads[carried + scanned + i];
    for (uint32_t i = 0; i < scanned; i++)
        out[count++] =
            derive_or_zeros(d, grads[carried + i], build_type(d->build, xs[carried + i]));
    flow_return(f, out, count);
}
void derive_pull_scan(Vjp *v) {
    Derive     *d = v->d;
    const Code *code = d->build->code;
    Loop        loop = loop_of(d, v->op);
    Back        b = back_sides(v, &loop);
    uint32_t    args = b.sides.count + 1, results = b.carries;
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, b.carries + loop.operands);
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
        if (loop.moves[i]) derive_give(v, op_operand(code, v->op, i), op_result(code, made, at++));
    for (uint32_t i = 0; i < loop.captures.count; i++)
        derive_give(v, loop.captures.at[i], op_result(code, made, at++));
    for (uint32_t i = loop.carries; i < loop.operands; i++)
        if (loop.moves[i]) derive_give(v, op_operand(code, v->op, i), op_result(code, made, at++));
}
