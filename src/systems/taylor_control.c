/* Streams through operators with blocks.
 *
 * The operator is written again over values and streams together: streams of captured values are
 * captured, those of operands become operands and arguments of the blocks, whose rows are walked as
 * those outside are; streams of what a block returns become further results. What decides a branch
 * or ends a loop is a value, so the derivative is that of the rows which run.
 *
 * Which streams a carried value has is a fixed point over the rows, found before anything is
 * written: a row that is linear in what moves keeps streams apart, any other fills up the direction
 * (flow-insensitive, and more than needed in rare cases: these streams are then zeros). A graph
 * with a gradient of its own keeps that for its value, its streams are those of its rows.
 *
 * Effects stay with the first operator, which stays with them. Cost: rows, times streams, times the
 * depth of blocks. */
#include <string.h>

#include "systems/clone.h"
#include "systems/flow.h"
#include "systems/taylor_inner.h"

/* --- which streams ---------------------------------------------------------------------------- */
typedef struct Marks {
    const Taylor *t;
    uint8_t      *at; /* [value row][stream]; stream 0 stays 0 */
    bool          rose;
} Marks;

static uint8_t *marks_of(const Marks *m, ValueId value) {
    return &m->at[(size_t)value.row * m->t->streams->count];
}
static void raise(Marks *m, ValueId value, const uint8_t *by) {
    uint8_t *at = marks_of(m, value);
    if (!dtype_is_differentiable(build_dtype(m->t->build, value))) return;
    for (uint32_t s = 1; s < m->t->streams->count; s++) {
        m->rose |= by[s] && !at[s];
        at[s] |= by[s];
    }
}
static void raise_from(Marks *m, ValueId value, ValueId other) {
    raise(m, value, marks_of(m, other));
}
/* Any coefficient of a direction gives all of them, and the sums that the last one goes into. */
static void fill_up(const JetStreams *s, uint8_t *streams) {
    for (uint32_t r = 0; r < s->directions; r++) {
        bool any = false;
        for (uint32_t k = 0; k < s->order[r]; k++) any |= streams[s->first[r] + k] != 0;
        if (!any) continue;
        memset(streams + s->first[r], 1, s->order[r]);
        for (uint32_t i = 0; i < s->sums; i++)
            if (s->sum_weight[i * s->directions + r] != 0 && s->sum_order[i] == s->top[r])
                streams[s->sum_first + i] = 1;
    }
}
static void mark_plain(Marks *m, OpId op, uint8_t *all) {
    const Code *code = m->t->build->code;
    Opcode      opcode = (Opcode)code->ops.opcode[op.row];
    JetKind     kind = jet_kind(opcode);
    uint32_t    moving = 0, streams = m->t->streams->count;
    if (op_infos[opcode].flags & OP_ZERO_GRAD) return;
    memset(all, 0, streams);
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
        const uint8_t *at = marks_of(m, op_operand(code, op, i));
        moving += memchr(at, 1, streams) != NULL;
        for (uint32_t s = 0; s < streams; s++) all[s] |= at[s];
    }
    if (moving == 0) return;
    bool linear = kind == JET_FLAT || opcode == OP_UNSTACK || (kind == JET_PRODUCT && moving == 1);
    if (!linear) fill_up(m->t->streams, all);
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++)
        raise(m, op_result(code, op, i), all);
}
/* The argument of a loop that operand i becomes, nil of a branch. */
static ValueId arg_of(const Code *code, OpId op, uint32_t block, uint32_t i) {
    uint32_t skip = code->ops.opcode[op.row] == OP_SCAN;
    return flow_block_arg(code, flow_block(code, op, block), i + skip);
}
static uint32_t carries_of(const Taylor *t, OpId op) {
    const Code *code = t->build->code;
    uint32_t    opcode = code->ops.opcode[op.row];
    if (opcode == OP_SCAN) return (uint32_t)op_attrs(t->build->world, code, op)[ATTR_SCAN_carries];
    return opcode == OP_WHILE ? code->ops.operands_count[op.row] : 0;
}
static void mark_control(Marks *m, OpId op) {
    const Code *code = m->t->build->code;
    uint32_t    opcode = code->ops.opcode[op.row], carries = carries_of(m->t, op);
    uint32_t    first = opcode == OP_WHILE, last = code->ops.blocks_count[op.row];
    if (opcode == OP_WHILE || opcode == OP_SCAN)
        for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++) {
            ValueId arg = arg_of(code, op, first, i);
            raise_from(m, arg, op_operand(code, op, i));
            if (i < carries) raise_from(m, arg, op_result(code, op, i));
        }
    for (uint32_t block = first; block < last; block++)
        for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
            ValueId y = op_result(code, op, i);
            if (i < carries) raise_from(m, y, op_operand(code, op, i));
            raise_from(m, y, flow_returned(code, flow_block(code, op, block), i));
        }
}
/* Of all values in an operator, from what those outside have. */
static Marks marks_open(const Taylor *t, OpId op) {
    const Code *code = t->build->code;
    uint32_t    streams = t->streams->count, values = code->values.table.count;
    Marks       m = {.t = t};
    m.at = ARENA_ARRAY_ZERO(t->ctx->scratch, uint8_t, (size_t)values * streams);
    uint8_t *all = ARENA_ARRAY(t->ctx->scratch, uint8_t, streams);
    for (uint32_t row = 1; row < values && row < t->jets_max; row++)
        for (uint32_t s = 1; t->jets[row] != NULL && s < streams; s++)
            m.at[(size_t)row * streams + s] = value_id_some(t->jets[row][s]);
    do {
        m.rose = false;
        for (uint32_t row = flow_first(code, op); row <= op.row; row++)
            if (code->ops.blocks_count[row] != 0)
                mark_control(&m, (OpId){row});
            else
                mark_plain(&m, (OpId){row}, all);
    } while (m.rose);
    return m;
}

/* --- values and streams in order -------------------------------------------------------------- */
typedef struct Places { /* stream 0 of values first .. last, then their other streams */
    uint32_t *of, *stream, count;
} Places;
static Places places_open(const Taylor *t, uint32_t values) {
    uint32_t most = values * t->streams->count + 1;
    return (Places){ARENA_ARRAY(t->ctx->scratch, uint32_t, most),
                    ARENA_ARRAY(t->ctx->scratch, uint32_t, most), 0};
}
static void add_places(const Marks *m, Places *places, ValueId value, uint32_t first,
                       uint32_t last) {
    for (uint32_t part = 0; part < 2; part++)
        for (uint32_t i = first; i < last; i++) {
            const uint8_t *at = marks_of(m, (ValueId){value.row + i});
            for (uint32_t s = part; s < (part == 0 ? 1 : m->t->streams->count); s++) {
                if (s != 0 && !at[s]) continue;
                places->of[places->count] = i;
                places->stream[places->count++] = s;
            }
        }
}
static ValueId value_or_zeros(Taylor *t, ValueId value, TypeId type) {
    Emit e = {.build = t->build};
    return value_id_some(value) ? value : emit_zeros(&e, type);
}
static ValueId place_value(Taylor *t, ValueId value, uint32_t stream) {
    if (stream == 0) return jet_primal(t, value);
    return value_or_zeros(t, jet_stream(t, value, stream), build_type(t->build, value));
}

static void keep_jet(Taylor *t, ValueId y, ValueId *jet) {
    taylor_set_jet(t, jet[0], jet);
    if (!jet_moves(t, jet_of(t, y))) taylor_set_jet(t, y, jet); /* an x keeps its seed */
}

/* --- blocks ----------------------------------------------------------------------------------- */
typedef struct Control {
    Taylor   *t;
    OpId      op, user;
    FlowBuild f;
    ValueList captures;
    Places    args, results; /* of loops: of operands; of all: of results */
    uint32_t  skip;          /* 1 of a scan: the index is argument 0 */
} Control;

static Clone clone_values(Control *c, uint32_t block) {
    Taylor     *t = c->t;
    const Code *code = t->build->code;
    Clone       clone = clone_begin(t->build, code, t->ctx->scratch);
    clone.pure = true;
    for (uint32_t i = 0; i < c->captures.count; i++)
        clone.map[c->captures.at[i].row] = jet_primal(t, c->captures.at[i]);
    if (c->skip)
        clone.map[flow_block_arg(code, flow_block(code, c->op, 0), 0).row] = flow_arg(&c->f, 0, 0);
    for (uint32_t i = 0; i < c->args.count; i++)
        if (c->args.stream[i] == 0)
            clone.map[arg_of(code, c->op, block, c->args.of[i]).row] =
                flow_arg(&c->f, block, i + c->skip);
    flow_enter(&c->f, block);
    clone_block_rows(&clone, flow_block(code, c->op, block));
    return clone;
}
/* Rows from `first` on in the block of the builder, some y of which is wanted. */
static void push_rows(Taylor *t, OpId user, uint32_t first, const ValueList *xs, const ValueId *ys,
                      uint32_t count) {
    const Code *code = t->build->code;
    uint32_t    last = code->ops.table.count;
    uint8_t *active = differentiate_mark(t->ctx, t->rw, t->op, first, xs->at, xs->count, ys, count);
    for (uint32_t row = first; row < last && !t->failed; row++) {
        bool wanted = false;
        if (code->ops.block[row].row != t->build->block.row) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            wanted |= active[op_result(code, (OpId){row}, i).row] == 3;
        taylor_push(t, (OpId){row}, user, wanted);
    }
}
static uint32_t jet_count(const Taylor *t, const ValueId *jet) {
    uint32_t count = 0;
    for (uint32_t s = 1; jet != NULL && s < t->streams->count; s++) count += value_id_some(jet[s]);
    return count;
}
static void push_block(Control *c, uint32_t block) {
    Taylor     *t = c->t;
    const Code *code = t->build->code;
    BlockId     from = flow_block(code, c->op, block);
    uint32_t    first = code->ops.table.count, results = code->ops.results_count[c->op.row];
    uint32_t    expected = 0;
    Clone       clone = clone_values(c, block);
    ValueId    *ys = ARENA_ARRAY(t->ctx->scratch, ValueId, results + 1);
    ValueId    *out = ARENA_ARRAY(t->ctx->scratch, ValueId, c->results.count + 1);
    ValueList   xs = {ARENA_ARRAY(t->ctx->scratch, ValueId, c->captures.count + c->args.count + 1),
                      0};
    for (uint32_t i = 0; i < results; i++)
        ys[i] = clone_value(&clone, flow_returned(code, from, i));
    for (uint32_t i = 0; i < c->captures.count; i++)
        if (jet_moves(t, jet_of(t, c->captures.at[i])))
            xs.at[xs.count++] = jet_primal(t, c->captures.at[i]);
    for (uint32_t i = 0; i < c->args.count; i++) {
        ValueId stream = flow_arg(&c->f, block, i + c->skip);
        ValueId x = clone.map[arg_of(code, c->op, block, c->args.of[i]).row];
        if (jet_of(t, x) == NULL) taylor_set_jet(t, x, jet_new(t, x));
        jet_of(t, x)[c->args.stream[i]] = stream;
        if (c->args.stream[i] != 0) xs.at[xs.count++] = x;
    }
    push_rows(t, c->user, first, &xs, ys, results);
    for (uint32_t i = 0; i < results; i++) expected += jet_count(t, jet_of(t, ys[i]));
    for (uint32_t i = 0; i < c->results.count && !t->failed; i++) {
        uint32_t s = c->results.stream[i];
        out[i] = place_value(t, ys[c->results.of[i]], s);
        expected -= s != 0 && value_id_some(jet_stream(t, ys[c->results.of[i]], s));
    }
    ASSERT(t->failed || expected == 0); /* every stream has a place */
    if (!t->failed) flow_return(&c->f, out, c->results.count);
}

/* --- operators with blocks -------------------------------------------------------------------- */
static void type_args(Control *c, uint32_t block) {
    Taylor     *t = c->t;
    const Code *code = t->build->code;
    Types      *types = &t->build->world->types;
    if (c->skip)
        (void)flow_type_arg(&c->f, block, 0,
                            types_type(types, DTYPE_I64, types_shape(types, NULL, 0)));
    for (uint32_t i = 0; i < c->args.count; i++)
        (void)flow_type_arg(&c->f, block, i + c->skip,
                            build_type(t->build, arg_of(code, c->op, block, c->args.of[i])));
}
static OpId close(Control *c, const ValueId *operands) {
    Taylor     *t = c->t;
    const Code *code = t->build->code;
    uint32_t    carries = carries_of(t, c->op), count = 0;
    uint64_t    words[ATTRS_MAX] = {0};
    ValueId     which = {0};
    TypeId     *types = ARENA_ARRAY(t->ctx->scratch, TypeId, c->results.count + 1);
    for (uint32_t i = 0; i < c->results.count; i++) {
        types[i] = build_type(t->build, op_result(code, c->op, c->results.of[i]));
        count += c->results.of[i] < carries;
    }
    if (op_info(code, c->op)->attrs_count != 0)
        memcpy(words, op_attrs(t->build->world, code, c->op),
               op_info(code, c->op)->attrs_count * sizeof *words);
    if (c->skip) words[ATTR_SCAN_carries] = count;
    if (carries == 0 && !c->skip) which = jet_primal(t, op_operand(code, c->op, 0));
    bool branches = value_id_some(which);
    return flow_close(&c->f, (Opcode)code->ops.opcode[c->op.row], branches ? &which : operands,
                      branches ? 1 : c->args.count, words, types, c->results.count);
}
static void keep_results(Control *c, OpId made) {
    Taylor     *t = c->t;
    const Code *code = t->build->code;
    uint32_t    results = code->ops.results_count[c->op.row];
    ValueId   **jets = ARENA_ARRAY(t->ctx->scratch, ValueId *, results + 1);
    for (uint32_t i = 0; i < c->results.count; i++) {
        ValueId now = op_result(code, made, i);
        if (c->results.stream[i] == 0) jets[c->results.of[i]] = jet_new(t, now);
        jets[c->results.of[i]][c->results.stream[i]] = now;
    }
    for (uint32_t i = 0; i < results; i++) keep_jet(t, op_result(code, c->op, i), jets[i]);
}
static void push_flow(Taylor *t, OpId op, OpId user, const ValueList *captures) {
    const Code *code = t->build->code;
    uint32_t    opcode = code->ops.opcode[op.row], carries = carries_of(t, op);
    uint32_t    operands = code->ops.operands_count[op.row], args[LIST_MAX];
    uint32_t    results = code->ops.results_count[op.row], blocks = code->ops.blocks_count[op.row];
    bool        loop = opcode == OP_WHILE || opcode == OP_SCAN;
    Marks       m = marks_open(t, op);
    Control     c = {.t = t, .op = op, .user = user, .captures = *captures};
    ASSERT(blocks <= LIST_MAX);
    c.skip = opcode == OP_SCAN;
    c.args = places_open(t, operands);
    c.results = places_open(t, results);
    if (loop && operands != 0) {
        ValueId arg = arg_of(code, op, opcode == OP_WHILE, 0);
        add_places(&m, &c.args, arg, 0, carries);
        add_places(&m, &c.args, arg, carries, operands);
    }
    add_places(&m, &c.results, op_result(code, op, 0), 0, carries);
    add_places(&m, &c.results, op_result(code, op, 0), carries, results);
    ValueId *given = ARENA_ARRAY(t->ctx->scratch, ValueId, c.args.count + 1);
    for (uint32_t i = 0; i < c.args.count; i++)
        given[i] = place_value(t, op_operand(code, op, c.args.of[i]), c.args.stream[i]);
    for (uint32_t i = 0; i < blocks; i++) args[i] = c.args.count + c.skip;
    c.f = flow_open(t->build, args, blocks);
    for (uint32_t i = 0; i < blocks; i++) type_args(&c, i);
    for (uint32_t i = 0; i < blocks && !t->failed; i++) {
        if (opcode != OP_WHILE || i != 0) {
            push_block(&c, i);
            continue;
        }
        Clone   test = clone_values(&c, 0); /* it looks at the values alone */
        ValueId more = clone_value(&test, flow_returned(code, flow_block(code, op, 0), 0));
        flow_return(&c.f, &more, 1);
    }
    if (!t->failed) keep_results(&c, close(&c, given));
}

/* --- graphs with a gradient of their own ------------------------------------------------------ */
static bool has_effects(const Code *code, BlockId body) {
    bool any = false;
    for (uint32_t row = code->blocks.op_first[body.row]; row < code->blocks.op_last[body.row];
         row++)
        any |= (op_info(code, (OpId){row})->flags & OP_EFFECT) != 0;
    return any;
}
static void push_custom_grad(Taylor *t, OpId op, OpId user) {
    const Code     *old = t->rw->old, *code = t->build->code;
    const uint64_t *attrs = op_attrs(t->build->world, code, op);
    GraphId         graph = code_find_graph(old, (StrId){(uint32_t)attrs[ATTR_CUSTOM_GRAD_graph]});
    BlockId         body = old->graphs.block[graph.row];
    uint32_t        count = code->ops.operands_count[op.row];
    uint32_t        results = code->ops.results_count[op.row], first = code->ops.table.count;
    ValueId        *ys = ARENA_ARRAY(t->ctx->scratch, ValueId, results + 1);
    ValueId        *operands = ARENA_ARRAY(t->ctx->scratch, ValueId, count + 1);
    TypeId         *types = ARENA_ARRAY(t->ctx->scratch, TypeId, results + 1);
    ValueList       xs = {ARENA_ARRAY(t->ctx->scratch, ValueId, count + 1), 0};
    for (uint32_t i = 0; i < count; i++) {
        ValueId x = op_operand(code, op, i);
        operands[i] = jet_primal(t, x);
        if (jet_moves(t, jet_of(t, x))) xs.at[xs.count++] = operands[i];
    }
    clone_over(t->build, old, body, true, operands, t->ctx->scratch, ys);
    for (uint32_t i = 0; i < results; i++) types[i] = build_type(t->build, op_result(code, op, i));
    push_rows(t, user, first, &xs, ys, results);
    if (t->failed) return;
    OpId made = op; /* with effects it stays, so it is not computed twice */
    if (!has_effects(old, body))
        made = flow_row(t->build, OP_CUSTOM_GRAD, operands, count, attrs, types, results);
    for (uint32_t i = 0; i < results; i++) {
        ValueId *jet = jet_new(t, op_result(code, made, i));
        for (uint32_t s = 1; s < t->streams->count; s++) jet[s] = jet_stream(t, ys[i], s);
        keep_jet(t, op_result(code, op, i), jet);
    }
}

void taylor_push_control(Taylor *t, OpId op, OpId user) {
    const Code *code = t->build->code;
    ValueList   captures = {NULL, 0};
    bool        any = false;
    if (code->ops.blocks_count[op.row] != 0) captures = flow_captures(t->ctx->scratch, code, op);
    for (uint32_t i = 0; i < captures.count; i++) any |= jet_moves(t, jet_of(t, captures.at[i]));
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++)
        any |= jet_moves(t, jet_of(t, op_operand(code, op, i)));
    if (!any) return;
    if (code->ops.opcode[op.row] == OP_CUSTOM_GRAD)
        push_custom_grad(t, op, user);
    else
        push_flow(t, op, user, &captures);
}
