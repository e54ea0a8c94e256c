/* taylor: derivatives of high order, by carrying Taylor coefficients through a program.
 *
 * Part of differentiate: `taylor` and `derivatives` rows are replaced in row order like the others,
 * so they may stand on gradients and be differentiated themselves. The rows between x and y are
 * walked once. Each gets its jet: the values of all streams (taylor.h), nil where zero.
 *   - Along each direction a rule gives coefficients from lower ones (rules_jet.c); linear rows
 *     treat each alike; rows without a rule go along the curve by repeated forward mode.
 *   - A collapsed stream is linear in itself: its jvp, plus the weighted sum of what the rule makes
 *     of the lower coefficients.
 *   - Products with something that does not move take all streams, the value among them, stacked
 *     along a new first axis: one product a layer. Streams that are equal at all places (seeds) are
 *     multiplied once and repeated.
 * The value itself is thus computed anew; later rows are made to use that, and the old rows die.
 * Composites go by their expansion. Cost: rows between x and y, times streams, times order. */
#include "systems/taylor.h"

#include <math.h>

#include "systems/taylor_inner.h"

Taylor *taylor_open(SystemCtx *ctx, Rewrite *rw) {
    Taylor *t = ARENA_NEW(ctx->scratch, Taylor);
    *t = (Taylor){.ctx = ctx, .rw = rw, .build = &rw->build};
    t->plain = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, rw->old->values.table.count);
    t->done = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, rw->old->ops.table.count);
    return t;
}
bool taylor_left_rows(const Taylor *t) { return t->left; }
bool taylor_is_done(const Taylor *t, OpId op) { return t->done[op.row] != 0; }

/* --- jets ------------------------------------------------------------------------------------- */
void taylor_set_jet(Taylor *t, ValueId value, ValueId *jet) {
    if (value.row >= t->jets_max) {
        uint32_t  max = t->build->code->values.table.count * 2;
        ValueId **more = ARENA_ARRAY_ZERO(t->ctx->scratch, ValueId *, max);
        if (t->jets_max != 0) memcpy(more, t->jets, t->jets_max * sizeof *more);
        t->jets = more;
        t->jets_max = max;
    }
    t->jets[value.row] = jet;
}
static ValueId plus(Taylor *t, ValueId u, ValueId v) {
    if (!value_id_some(u)) return v;
    return value_id_some(v) ? build_binary(t->build, OP_ADD, u, v) : u;
}
static ValueId scaled(Taylor *t, ValueId u, double by) {
    if (!value_id_some(u) || by == 1) return u;
    if (by == -1) return build_unary(t->build, OP_NEG, u);
    return build_binary(t->build, OP_MUL, u, build_splat(t->build, u, by));
}
static void check_errors(Taylor *t) { t->failed |= t->ctx->world->diags.errors != t->errors; }

static void refuse(Taylor *t, OpId op, OpId user) {
    differentiate_refuse(t->ctx, t->rw, t->op, user, op);
    t->failed = true;
}

/* --- one row ---------------------------------------------------------------------------------- */
typedef struct Row {    /* a row of the new code, with operands as computed anew */
    OpId      op, user; /* user: the row that diagnostics name */
    Emit      e;
    uint32_t  count, results;
    ValueId  *operands; /* as first computed: keys of jets */
    ValueId **out;      /* by result: its jet */
} Row;

/* A row with the primals of its operands: itself if none was computed anew. */
static OpId renew(Taylor *t, OpId op, bool *out_same) {
    const Code *code = t->build->code;
    uint32_t    count = code->ops.operands_count[op.row];
    ValueId    *operands = ARENA_ARRAY(t->ctx->scratch, ValueId, count);
    *out_same = true;
    for (uint32_t i = 0; i < count; i++) {
        operands[i] = jet_primal(t, op_operand(code, op, i));
        *out_same &= value_id_same(operands[i], op_operand(code, op, i));
    }
    if (*out_same) return op;
    return build_row(t->build, (Opcode)code->ops.opcode[op.row], operands, count,
                     op_attrs(t->build->world, code, op), code->ops.results_count[op.row]);
}
static void keep_results(Taylor *t, OpId op, OpId renewed) {
    const Code *code = t->build->code;
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
        ValueId *jet = jet_new(t, op_result(code, renewed, i));
        taylor_set_jet(t, op_result(code, op, i), jet);
        taylor_set_jet(t, jet[0], jet);
    }
}

/* Stream by stream, as the derivative of the row is; nothing where no operand has the stream. */
static void push_stream(Taylor *t, Row *row, uint32_t stream, ValueId *out) {
    ValueId *tangents = ARENA_ARRAY(t->ctx->scratch, ValueId, row->count);
    bool     moved = false;
    for (uint32_t i = 0; i < row->count; i++) {
        tangents[i] = jet_stream(t, row->operands[i], stream);
        moved |= value_id_some(tangents[i]);
    }
    for (uint32_t i = 0; i < row->results; i++) out[i] = (ValueId){0};
    if (!moved || t->failed) return;
    row->e.d = tangents;
    if (!emit_jvp(&row->e, out)) refuse(t, row->op, row->user);
    check_errors(t);
}
static void push_linear(Taylor *t, Row *row) {
    ValueId *out = ARENA_ARRAY(t->ctx->scratch, ValueId, row->results);
    for (uint32_t s = 1; s < t->streams->count; s++) {
        push_stream(t, row, s, out);
        for (uint32_t i = 0; i < row->results; i++) row->out[i][s] = out[i];
    }
}

/* z_k = sum of x_i y_{k-i}, of any product. */
static void multiply_series(Taylor *t, Row *row, const ValueId *const *series, uint32_t order,
                            ValueId *z) {
    for (uint32_t k = 1; k <= order; k++)
        for (uint32_t i = 0; i <= k; i++) {
            ValueId pair[2] = {series[0][i], series[1][k - i]};
            if (!value_id_some(pair[0]) || !value_id_some(pair[1])) continue;
            z[k] = plus(t, z[k], emit_like(&row->e, pair));
        }
}
/* Coefficients 1..top of the results along a direction; out[result][k]. */
static void push_direction(Taylor *t, Row *row, uint32_t r, JetKind kind, ValueId **out) {
    const JetStreams *s = t->streams;
    uint32_t          top = s->top[r];
    const ValueId   **series = ARENA_ARRAY(t->ctx->scratch, const ValueId *, row->count + 2);
    bool              moved = false;
    for (uint32_t i = 0; i < row->count; i++) {
        ValueId *of = ARENA_ARRAY_ZERO(t->ctx->scratch, ValueId, top + 1);
        of[0] = jet_primal(t, row->operands[i]);
        for (uint32_t k = 1; k <= s->order[r]; k++)
            of[k] = jet_stream(t, row->operands[i], s->first[r] + k - 1);
        for (uint32_t k = 1; k <= s->order[r]; k++) moved |= value_id_some(of[k]);
        series[i] = of;
    }
    if (!moved || t->failed) return;
    if (kind == JET_PRODUCT) {
        multiply_series(t, row, series, top, out[0]);
    } else if (kind == JET_RULE) {
        Jet j = {.e = &row->e,
                 .arena = t->ctx->scratch,
                 .order = top,
                 .a = series[0],
                 .b = row->count > 1 ? series[1] : NULL,
                 .y = out[0]};
        if (jet_apply(&j)) return;
        kind = JET_CURVE;
    }
    if (kind == JET_CURVE &&
        !differentiate_curve(t->ctx, t->rw, t->op, row->user, row->op, series, top, out))
        t->failed = true;
}
static void push_nonlinear(Taylor *t, Row *row, JetKind kind) {
    const JetStreams *s = t->streams;
    ValueId          *linear = ARENA_ARRAY(t->ctx->scratch, ValueId, row->results);
    ValueId         **out = ARENA_ARRAY(t->ctx->scratch, ValueId *, row->results);
    for (uint32_t sum = 0; sum < s->sums; sum++) {
        push_stream(t, row, s->sum_first + sum, linear);
        for (uint32_t i = 0; i < row->results; i++) row->out[i][s->sum_first + sum] = linear[i];
    }
    for (uint32_t r = 0; r < s->directions && !t->failed; r++) {
        for (uint32_t i = 0; i < row->results; i++) {
            out[i] = ARENA_ARRAY_ZERO(t->ctx->scratch, ValueId, s->top[r] + 1);
            out[i][0] = row->out[i][0];
        }
        push_direction(t, row, r, kind, out);
        for (uint32_t i = 0; i < row->results; i++) {
            for (uint32_t k = 1; k <= s->order[r]; k++)
                row->out[i][s->first[r] + k - 1] = out[i][k];
            for (uint32_t sum = 0; sum < s->sums; sum++) {
                double weight = s->sum_weight[sum * s->directions + r];
                if (weight == 0 || s->sum_order[sum] != s->top[r]) continue;
                ValueId *into = &row->out[i][s->sum_first + sum];
                *into = plus(t, *into, scaled(t, out[i][s->top[r]], weight));
            }
        }
    }
}

/* --- products with a constant ----------------------------------------------------------------- */
typedef struct DotShape { /* of a dot_general, one of whose operands moves */
    DotAxes  axes;
    uint32_t moves;                 /* operand 0 or 1 */
    uint32_t taken[2];              /* by operand: bits of its batch and contracted axes */
    uint32_t rank[2];               /* of the operands */
    int64_t  place[SHAPE_RANK_MAX]; /* result axis of each axis of the moving operand */
} DotShape;

static uint32_t read_axes(const World *world, uint64_t word, int64_t *out) {
    ListId list = {(uint32_t)word};
    for (uint32_t i = 0; i < list_count(&world->attrs, list); i++)
        out[i] = list_numbers(&world->attrs, list)[i];
    return list_count(&world->attrs, list);
}
static DotShape dot_shape(Taylor *t, const Row *row, uint32_t moves) {
    const World    *world = t->build->world;
    const uint64_t *words = row->e.attrs;
    DotShape        d = {.moves = moves};
    d.axes.batch = read_axes(world, words[ATTR_DOT_GENERAL_x_batch], d.axes.x_batch);
    (void)read_axes(world, words[ATTR_DOT_GENERAL_y_batch], d.axes.y_batch);
    d.axes.contract = read_axes(world, words[ATTR_DOT_GENERAL_x_contract], d.axes.x_contract);
    (void)read_axes(world, words[ATTR_DOT_GENERAL_y_contract], d.axes.y_contract);
    for (uint32_t k = 0; k < 2; k++) {
        d.rank[k] = build_rank(t->build, row->e.x[k]);
        for (uint32_t i = 0; i < d.axes.batch; i++)
            d.taken[k] |= 1u << (k == 0 ? d.axes.x_batch : d.axes.y_batch)[i];
        for (uint32_t i = 0; i < d.axes.contract; i++)
            d.taken[k] |= 1u << (k == 0 ? d.axes.x_contract : d.axes.y_contract)[i];
    }
    const int64_t *batch = moves == 0 ? d.axes.x_batch : d.axes.y_batch;
    int64_t        next = d.axes.batch;
    if (moves == 1) next += d.rank[0] - (int64_t)__builtin_popcount(d.taken[0]);
    for (uint32_t i = 0; i < d.rank[moves]; i++) d.place[i] = d.taken[moves] >> i & 1 ? -1 : next++;
    for (uint32_t i = 0; i < d.axes.batch; i++) d.place[batch[i]] = i;
    return d;
}
/* The same product with axis numbers of the moving operand changed. */
static DotAxes with_axes(const DotShape *d, const int64_t *renumbered) {
    DotAxes  axes = d->axes;
    int64_t *batch = d->moves == 0 ? axes.x_batch : axes.y_batch;
    int64_t *contract = d->moves == 0 ? axes.x_contract : axes.y_contract;
    for (uint32_t i = 0; i < axes.batch; i++) batch[i] = renumbered[batch[i]];
    for (uint32_t i = 0; i < axes.contract; i++) contract[i] = renumbered[contract[i]];
    return axes;
}
static ValueId multiply(Taylor *t, const Row *row, const DotShape *d, ValueId part,
                        const DotAxes *axes) {
    ValueId other = row->e.x[1 - d->moves];
    return d->moves == 0 ? build_dot(t->build, part, other, axes)
                         : build_dot(t->build, other, part, axes);
}

/* A stream that repeats along free axes is multiplied once; nil if it does not. */
static ValueId multiply_uniform(Taylor *t, const Row *row, const DotShape *d, ValueId part) {
    World      *world = t->build->world;
    const Code *code = t->build->code;
    OpId        def = value_op(code, part);
    int64_t     axes[SHAPE_RANK_MAX], number[SHAPE_RANK_MAX], kept[SHAPE_RANK_MAX];
    DimId       dims[SHAPE_RANK_MAX];
    uint32_t    repeated = 0, kept_count = 0, result_rank = build_rank(t->build, row->out[0][0]);
    if (!op_id_some(def) || code->ops.opcode[def.row] != OP_BROADCAST_IN_DIM) return (ValueId){0};
    ValueId  core = op_operand(code, def, 0);
    uint32_t count = read_axes(world, op_attrs(world, code, def)[ATTR_BROADCAST_IN_DIM_axes], axes);
    for (uint32_t i = 0; i < d->rank[d->moves]; i++) {
        number[i] = -1;
        for (uint32_t k = 0; k < count; k++)
            if (axes[k] == i) number[i] = k;
        if (number[i] < 0 && d->taken[d->moves] >> i & 1) return (ValueId){0};
        if (number[i] < 0) repeated |= 1u << d->place[i];
        if (number[i] >= 0 && !dims_same(&world->dims, build_dims(t->build, core)[number[i]],
                                         build_dims(t->build, part)[i]))
            return (ValueId){0};
    }
    if (repeated == 0) return (ValueId){0};
    DotAxes small = with_axes(d, number);
    ValueId product = multiply(t, row, d, core, &small);
    for (uint32_t i = 0; i < result_rank; i++) {
        dims[i] = build_dims(t->build, row->out[0][0])[i];
        if (!(repeated >> i & 1)) kept[kept_count++] = i;
    }
    return build_broadcast(t->build, product, dims, result_rank, kept);
}

/* All streams of the moving operand in one product. */
static void push_product(Taylor *t, Row *row, uint32_t moves) {
    DotShape  d = dot_shape(t, row, moves);
    ValueId  *jet = jet_of(t, row->operands[moves]), *out = row->out[0];
    uint32_t  streams = t->streams->count, count = 0, batch = d.axes.batch;
    ValueId  *stack = ARENA_ARRAY(t->ctx->scratch, ValueId, streams);
    uint32_t *stream = ARENA_ARRAY(t->ctx->scratch, uint32_t, streams);
    int64_t   shifted[SHAPE_RANK_MAX];
    for (uint32_t s = 0; s < streams; s++) {
        ValueId uniform = {0};
        if (!value_id_some(jet[s])) continue;
        if (s != 0) uniform = multiply_uniform(t, row, &d, jet[s]);
        if (value_id_some(uniform)) {
            out[s] = uniform;
            continue;
        }
        stream[count] = s;
        stack[count++] = jet[s];
    }
    if (count < 2 || d.rank[moves] == SHAPE_RANK_MAX || d.rank[1 - moves] == SHAPE_RANK_MAX ||
        build_rank(t->build, out[0]) == SHAPE_RANK_MAX) {
        for (uint32_t i = 0; i < count; i++)
            if (stream[i] != 0) out[stream[i]] = multiply(t, row, &d, stack[i], &d.axes);
        return;
    }
    for (uint32_t i = 0; i < d.rank[moves]; i++) shifted[i] = i + 1;
    DotAxes  axes = with_axes(&d, shifted);
    ValueId  all = emit_stack(t->build, stack, count, 0);
    ValueId  product = multiply(t, row, &d, all, &axes);
    uint64_t axis = batch;
    if (moves == 1) axis += d.rank[0] - (uint64_t)__builtin_popcount(d.taken[0]);
    OpId parts = build_row(t->build, OP_UNSTACK, &product, 1, &axis, count);
    for (uint32_t i = 0; i < count; i++) out[stream[i]] = op_result(t->build->code, parts, i);
}

/* --- the walk --------------------------------------------------------------------------------- */
static void push_expansion(Taylor *t, Row *row) {
    const Code *code = t->build->code;
    ValueId    *values = ARENA_ARRAY_ZERO(t->ctx->scratch, ValueId, row->results);
    uint32_t    first = code->ops.table.count;
    if (!expand_rules[code->ops.opcode[row->op.row]](&row->e, values)) {
        refuse(t, row->op, row->user);
        return;
    }
    uint32_t last = code->ops.table.count; /* streams follow */
    for (uint32_t r = first; r < last && !t->failed; r++)
        taylor_push(t, (OpId){r}, row->user, true);
    for (uint32_t i = 0; i < row->results; i++) {
        ValueId *jet = jet_of(t, values[i]);
        row->out[i] = jet != NULL ? jet : jet_new(t, values[i]);
    }
}
static uint32_t moving_operands(const Taylor *t, const Row *row, uint32_t *out_last) {
    uint32_t moving = 0;
    for (uint32_t i = 0; i < row->count; i++)
        if (jet_moves(t, jet_of(t, row->operands[i]))) {
            moving++;
            *out_last = i;
        }
    return moving;
}
static void push_rules(Taylor *t, Row *row) {
    const Code   *code = t->build->code;
    Opcode        opcode = (Opcode)code->ops.opcode[row->op.row];
    const OpInfo *info = &op_infos[opcode];
    uint32_t      last = 0, moving = moving_operands(t, row, &last);
    JetKind       kind = jet_kind(opcode);
    if ((info->flags & OP_EXPANDS) && opcode != OP_UNSTACK) {
        push_expansion(t, row);
    } else if (opcode == OP_DOT_GENERAL && moving == 1) {
        push_product(t, row, last);
    } else if (kind == JET_FLAT || opcode == OP_UNSTACK || (kind == JET_PRODUCT && moving == 1)) {
        push_linear(t, row);
    } else {
        push_nonlinear(t, row, kind);
    }
}

void taylor_push(Taylor *t, OpId op, OpId user, bool wanted) {
    const Code   *code = t->build->code;
    const OpInfo *info = op_info(code, op);
    uint32_t count = code->ops.operands_count[op.row], results = code->ops.results_count[op.row];
    bool     any = false, same, moves = false;
    for (uint32_t i = 0; i < count; i++) {
        any |= jet_of(t, op_operand(code, op, i)) != NULL;
        moves |= jet_moves(t, jet_of(t, op_operand(code, op, i)));
    }
    if (taylor_is_control(code, op)) {
        if (wanted) taylor_push_control(t, op, user);
        return;
    }
    if (!any || results == 0) return;
    bool again = (info->flags & OP_PURE) && !(info->flags & (OP_LATE | OP_EFFECT | OP_DERIVES));
    OpId row_op = again || (info->flags & OP_VIEW) ? renew(t, op, &same) : op;
    if (!wanted || !moves || (info->flags & OP_ZERO_GRAD)) {
        if (row_op.row != op.row) keep_results(t, op, row_op);
        return;
    }
    Row row = {.op = row_op, .user = user, .count = count, .results = results};
    row.e = emit_at(t->build, row_op);
    row.operands = ARENA_ARRAY(t->ctx->scratch, ValueId, count);
    for (uint32_t i = 0; i < count; i++) row.operands[i] = op_operand(code, op, i);
    row.out = ARENA_ARRAY(t->ctx->scratch, ValueId *, results);
    for (uint32_t i = 0; i < results; i++) row.out[i] = jet_new(t, op_result(code, row_op, i));
    push_rules(t, &row);
    for (uint32_t i = 0; i < results; i++)
        for (uint32_t s = 0; s < t->streams->count && !t->failed; s++)
            if (value_id_some(row.out[i][s]) && !type_id_some(build_type(t->build, row.out[i][s])))
                refuse(t, op, user); /* a rule that this dtype does not have */
    for (uint32_t i = 0; i < results; i++) {
        ValueId y = op_result(code, op, i);
        if (jet_moves(t, jet_of(t, y))) continue; /* an x keeps its seed */
        taylor_set_jet(t, y, row.out[i]);
        taylor_set_jet(t, row.out[i][0], row.out[i]);
    }
    check_errors(t);
}

/* Later rows use values as computed with their streams, so that the first computation dies. Values
 * from around the block of the derivative row stay: what is computed here is unknown there. */
static void hand_over(Taylor *t) {
    const Code *old = t->rw->old;
    ValueId    *map = t->rw->map;
    uint32_t    home = old->ops.block[t->op.row].row;
    for (uint32_t row = 1; row < old->values.table.count; row++) {
        ValueId now = jet_primal(t, map[row]);
        OpId    def = value_op(old, (ValueId){row});
        if (!value_id_some(map[row]) || value_id_same(now, map[row])) continue;
        if (!op_id_some(def) || old->ops.block[def.row].row != home) continue;
        if (!value_id_some(t->plain[row])) t->plain[row] = map[row];
        rewrite_map(t->rw, (ValueId){row}, now);
    }
}
/* The value as it was first computed: derivative rows start there, not among streams of others. */
static ValueId plain_of(const Taylor *t, ValueId old) {
    return value_id_some(t->plain[old.row]) ? t->plain[old.row] : t->rw->map[old.row];
}

/* By block row: the block of the derivative row and those around it. */
static uint8_t *scope_of(const Taylor *t) {
    const Code *old = t->rw->old;
    uint8_t    *scope = ARENA_ARRAY_ZERO(t->ctx->scratch, uint8_t, old->blocks.table.count);
    BlockId     block = old->ops.block[t->op.row];
    for (scope[block.row] = 1; op_id_some(old->blocks.parent[block.row]); scope[block.row] = 1)
        block = old->ops.block[old->blocks.parent[block.row].row];
    return scope;
}
static void walk(Taylor *t, const ValueId *xs, uint32_t count, const ValueId *ys,
                 uint32_t ys_count) {
    const Code *code = t->build->code;
    uint8_t    *active = differentiate_mark(t->ctx, t->rw, t->op, 0, xs, count, ys, ys_count);
    uint8_t    *scope = scope_of(t);
    uint32_t    last = code->ops.table.count, blocks = t->rw->old->blocks.table.count;
    for (uint32_t row = 1; row < last && !t->failed; row++) {
        bool wanted = false;
        if (code->ops.block[row].row >= blocks || !scope[code->ops.block[row].row]) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            wanted |= active[op_result(code, (OpId){row}, i).row] == 3;
        taylor_push(t, (OpId){row}, (OpId){row}, wanted);
    }
    if (!t->failed) hand_over(t);
}

static void begin(Taylor *t, OpId op, const JetStreams *streams) {
    t->op = op;
    t->streams = streams;
    t->errors = t->ctx->world->diags.errors;
    t->failed = false;
    t->jets = NULL;
    t->jets_max = 0;
}

/* --- taylor ----------------------------------------------------------------------------------- */
/* All directions alike, to the order of the results; the last one summed if asked for. */
static JetStreams uniform_streams(Arena *out, uint32_t directions, uint32_t order, bool sum) {
    JetStreams s = {.directions = directions, .sums = sum};
    s.order = ARENA_ARRAY(out, uint32_t, directions + 1);
    s.sum_order = ARENA_ARRAY(out, uint32_t, 1);
    s.sum_weight = ARENA_ARRAY(out, double, directions + 1);
    s.sum_order[0] = order;
    for (uint32_t r = 0; r < directions; r++) {
        s.order[r] = order - sum;
        s.sum_weight[r] = 1;
    }
    taylor_number_streams(out, &s);
    return s;
}
static void seed_taylor(Taylor *t, const ValueId *xs, const ValueId *vs, uint32_t count,
                        bool several) {
    const JetStreams *s = t->streams;
    for (uint32_t i = 0; i < count; i++) {
        ValueId *jet = jet_new(t, xs[i]);
        for (uint32_t r = 0; r < s->directions; r++) {
            ValueId v = several ? emit_part(t->build, vs[i], 0, r) : vs[i];
            if (s->order[r] != 0) jet[s->first[r]] = v;
            if (s->sums != 0 && s->sum_order[0] == 1)
                jet[s->sum_first] = plus(t, jet[s->sum_first], v);
        }
        taylor_set_jet(t, xs[i], jet);
    }
}
/* Result k of a taylor row. */
static ValueId coefficient(Taylor *t, ValueId y, const ValueId *jet, uint32_t k, bool several) {
    const JetStreams *s = t->streams;
    ValueId          *parts = ARENA_ARRAY(t->ctx->scratch, ValueId, s->directions);
    if (s->sums != 0 && k == s->sum_order[0]) {
        ValueId sum = jet != NULL ? jet[s->sum_first] : (ValueId){0};
        return value_id_some(sum) ? sum : build_splat(t->build, y, 0);
    }
    for (uint32_t r = 0; r < s->directions; r++) {
        parts[r] = jet != NULL ? jet[s->first[r] + k - 1] : (ValueId){0};
        if (!value_id_some(parts[r])) parts[r] = build_splat(t->build, y, 0);
    }
    return several ? emit_stack(t->build, parts, s->directions, 0) : parts[0];
}
static bool derive_taylor(Taylor *t, OpId op) {
    const Code *old = t->rw->old;
    World      *world = t->build->world;
    uint32_t    n = (old->ops.operands_count[op.row] - 1u) / 2;
    uint32_t    order = old->ops.results_count[op.row], directions = 1;
    bool        sum = op_attrs(world, old, op)[ATTR_TAYLOR_sum] != 0;
    ValueId    *xs = ARENA_ARRAY(t->ctx->scratch, ValueId, n);
    ValueId    *vs = ARENA_ARRAY(t->ctx->scratch, ValueId, n);
    ValueId     y = plain_of(t, op_operand(old, op, 0));
    for (uint32_t i = 0; i < n; i++) {
        xs[i] = plain_of(t, op_operand(old, op, 1 + i));
        vs[i] = t->rw->map[op_operand(old, op, 1 + n + i).row];
    }
    bool several = build_rank(t->build, vs[0]) != build_rank(t->build, xs[0]);
    if (several)
        directions = (uint32_t)dims_const_value(&world->dims, build_dims(t->build, vs[0])[0]);
    JetStreams streams = uniform_streams(t->ctx->scratch, directions, order, sum && several);
    begin(t, op, &streams);
    seed_taylor(t, xs, vs, n, several);
    walk(t, xs, n, &y, 1);
    for (uint32_t k = 1; k <= order && !t->failed; k++)
        rewrite_map(t->rw, op_result(old, op, k - 1), coefficient(t, y, jet_of(t, y), k, several));
    return !t->failed;
}

/* --- derivatives ------------------------------------------------------------------------------ */
ValueId taylor_seed(Taylor *t, ValueId x, const double *vector, uint32_t count) {
    World   *world = t->build->world;
    uint32_t rank = build_rank(t->build, x);
    Dtype    dtype = build_dtype(t->build, x);
    if (rank == 0) return build_scalar(t->build, dtype, vector[0]);
    uint32_t width = dtype_bytes(dtype);
    uint8_t *bytes = ARENA_ARRAY_ZERO(t->ctx->scratch, uint8_t, width * count + 16);
    for (uint32_t i = 0; i < count; i++) (void)const_encode(dtype, vector[i], bytes + width * i);
    DimId    size = dims_const(&world->dims, count);
    TypeId   type = types_type(&world->types, dtype, types_shape(&world->types, &size, 1));
    uint64_t word = consts_add(&world->consts, type, bytes, width * count).row;
    ValueId  row = build_op(t->build, OP_CONSTANT, NULL, 0, &word);
    return rank == 1 ? row : build_along(t->build, row, x, (int64_t)rank - 1);
}
static void add_direction(double *vector, const TaylorDirection *d, double weight) {
    for (uint32_t i = 0; i < d->support; i++) vector[d->at[i]] += weight * d->by[i];
}
static void seed_derivatives(Taylor *t, ValueId x, const TaylorPlan *plan, uint32_t coordinates) {
    const JetStreams *s = t->streams;
    ValueId          *jet = jet_new(t, x);
    for (uint32_t r = 0; r < s->directions; r++) {
        double *vector = ARENA_ARRAY_ZERO(t->ctx->scratch, double, coordinates);
        if (s->order[r] == 0) continue;
        add_direction(vector, &plan->directions[r], 1);
        jet[s->first[r]] = taylor_seed(t, x, vector, coordinates);
    }
    for (uint32_t i = 0; i < s->sums; i++) {
        double *vector = ARENA_ARRAY_ZERO(t->ctx->scratch, double, coordinates);
        if (s->sum_order[i] != 1) continue;
        for (uint32_t r = 0; r < s->directions; r++)
            add_direction(vector, &plan->directions[r], s->sum_weight[i * s->directions + r]);
        jet[s->sum_first + i] = taylor_seed(t, x, vector, coordinates);
    }
    taylor_set_jet(t, x, jet);
}

/* The rows that one walk serves: those after op with the same x and a y that is there already. */
static uint32_t gather_rows(const Code *old, const uint8_t *done, OpId op, OpId *out) {
    ValueId  x = op_operand(old, op, 1);
    uint32_t count = 0;
    for (uint32_t row = op.row; row < old->ops.table.count; row++) {
        if (old->ops.opcode[row] != OP_DERIVATIVES || done[row] ||
            old->ops.block[row].row != old->ops.block[op.row].row ||
            !value_id_same(op_operand(old, (OpId){row}, 1), x))
            continue;
        ValueId y = op_operand(old, (OpId){row}, 0);
        if (value_op(old, y).row < op.row) out[count++] = (OpId){row};
    }
    return count;
}
static uint32_t coordinates_of(const World *world, TypeId type) {
    uint32_t rank = type_rank(&world->types, type);
    if (rank == 0) return 1;
    return (uint32_t)dims_const_value(&world->dims, type_dims(&world->types, type)[rank - 1]);
}
/* Appends the terms of a row as requests from `first` on; returns how many. */
static uint32_t read_row(const World *world, const Code *code, OpId op, DerivativeTerms *terms,
                         uint32_t first) {
    const uint64_t *words = op_attrs(world, code, op);
    ListId          of = {(uint32_t)words[ATTR_DERIVATIVES_of]};
    String   axes = strings_get(&world->strings, (StrId){(uint32_t)words[ATTR_DERIVATIVES_axes]});
    uint32_t coordinates = coordinates_of(world, code->values.type[op_operand(code, op, 1).row]);
    for (uint32_t i = 0; i < list_count(&world->attrs, of); i++) {
        StrId       id = {(uint32_t)list_numbers(&world->attrs, of)[i]};
        const char *wrong =
            derivatives_read(terms, strings_get(&world->strings, id), axes, coordinates, first + i);
        ASSERT(wrong == NULL); /* inference read them before */
        (void)wrong;
    }
    return list_count(&world->attrs, of);
}
static ValueId request_of(Taylor *t, const TaylorPlan *plan, uint32_t request, ValueId y) {
    ValueId *jet = jet_of(t, y), sum = {0};
    for (uint32_t i = 0; jet != NULL && i < plan->parts_count; i++)
        if (plan->parts[i].request == request)
            sum = plus(t, sum, scaled(t, jet[plan->parts[i].stream], plan->parts[i].weight));
    return value_id_some(sum) ? sum : build_splat(t->build, y, 0);
}
/* One number, of a real kind: it has a gradient. */
static bool is_single(const World *world, TypeId type) {
    const Types *types = &world->types;
    bool         single = dtype_is_float(type_dtype(types, type));
    for (uint32_t i = 0; i < type_rank(types, type) && single; i++) {
        DimId dim = type_dims(types, type)[i];
        single = dims_is_const(&world->dims, dim) && dims_const_value(&world->dims, dim) == 1;
    }
    return single;
}
static ReverseChoice choose(Arena *scratch, const World *world, const Code *code, ValueId x,
                            const ValueId *ys, uint32_t count, const DerivativeTerms *terms,
                            const TaylorPlan *plan) {
    bool     single = is_single(world, code->values.type[ys[0].row]);
    ModePass pass = modes_pass(scratch, world, code, x, ys[0]);
    for (uint32_t i = 1; i < count; i++) single &= value_id_same(ys[i], ys[0]);
    return taylor_reverse_choice(scratch, &pass, terms, plan->streams.count,
                                 coordinates_of(world, code->values.type[x.row]), single);
}
static bool derive_derivatives(Taylor *t, OpId op) {
    const Code     *old = t->rw->old;
    World          *world = t->build->world;
    Arena          *scratch = t->ctx->scratch;
    DerivativeTerms terms = {.arena = scratch};
    OpId           *rows = ARENA_ARRAY(scratch, OpId, old->ops.table.count);
    uint32_t        count = gather_rows(old, t->done, op, rows), requests = 0;
    ValueId        *ys = ARENA_ARRAY(scratch, ValueId, count);
    ValueId         x = plain_of(t, op_operand(old, op, 1));
    for (uint32_t i = 0; i < count; i++) {
        ys[i] = plain_of(t, op_operand(old, rows[i], 0));
        requests += read_row(world, old, rows[i], &terms, requests);
    }
    TaylorPlan plan = taylor_plan(scratch, &terms);
    uint32_t   coordinates = coordinates_of(world, build_type(t->build, x));
    ValueId   *results = ARENA_ARRAY_ZERO(scratch, ValueId, requests + 1);
    begin(t, op, &plan.streams);
    if (choose(scratch, world, t->build->code, x, ys, count, &terms, &plan).wins) {
        taylor_by_reverse(t, x, ys[0], &terms, coordinates, results);
        t->left = true;
    } else {
        seed_derivatives(t, x, &plan, coordinates);
        walk(t, &x, 1, ys, count);
    }
    requests = 0;
    for (uint32_t i = 0; i < count && !t->failed; i++) {
        for (uint32_t k = 0; k < old->ops.results_count[rows[i].row]; k++, requests++)
            rewrite_map(t->rw, op_result(old, rows[i], k),
                        value_id_some(results[requests]) ? results[requests]
                                                         : request_of(t, &plan, requests, ys[i]));
        t->done[rows[i].row] = 1;
    }
    return !t->failed;
}

bool taylor_derive(Taylor *t, OpId op) {
    return t->rw->old->ops.opcode[op.row] == OP_TAYLOR ? derive_taylor(t, op)
                                                       : derive_derivatives(t, op);
}

/* --- telling ---------------------------------------------------------------------------------- */
static void tell_direction(Text *text, const TaylorPlan *plan, uint32_t r) {
    const TaylorDirection *d = &plan->directions[r];
    text_addf(text, "  order %u%s along", plan->streams.order[r],
              plan->streams.top[r] > plan->streams.order[r] ? " (and a summed top)" : "");
    for (uint32_t i = 0; i < d->support; i++)
        text_addf(text, "%s%d e%u", i == 0 ? " " : " + ", d->by[i], d->at[i]);
    text_add(text, STR("\n"));
}
/* Derivatives below that of a term, itself included: the values that forward mode repeated keeps
 * when equal ones are merged. */
static double count_below(const DerivativeTerm *term) {
    double   product = 1;
    uint32_t run = 0;
    for (uint32_t i = 0; i < term->order; i++) {
        run = i > 0 && term->at[i] == term->at[i - 1] ? run + 1 : 1;
        product *= (run + 1.0) / run; /* telescopes to the product of exponents + 1 */
    }
    return product;
}
/* What modes would cost in operations, by passes with a tangent: a gradient is one, and forward
 * mode over it doubles with each order. */
static void tell_modes(Text *text, const ModePass *pass, const DerivativeTerms *terms,
                       double streams, double nested, double reverse) {
    double over = 1, value = pass->value.flops, tangent = pass->tangent.flops;
    for (uint32_t i = 0; i < terms->count; i++)
        if (terms->rows[i].order > 1) over += pow(2, terms->rows[i].order - 1.0);
    text_addf(text,
              "  operations: Taylor %.3g, forward repeated %.3g, forward over reverse %.3g, reverse"
              " nested %.3g\n",
              value + (streams - 1) * tangent, value + (nested - 1) * tangent,
              value + over * tangent, value + reverse * tangent);
}
static void tell_plan(Text *text, const TaylorPlan *plan, const DerivativeTerms *terms,
                      const ModePass *pass) {
    uint32_t single = 1; /* streams without sums */
    double   nested = 1, reverse = 0;
    for (uint32_t r = 0; r < plan->streams.directions; r++) single += plan->streams.top[r];
    for (uint32_t i = 0; i < terms->count; i++) {
        nested += count_below(&terms->rows[i]) - 1;
        reverse += pow(2, terms->rows[i].order);
    }
    text_addf(text,
              "  %u streams, %u of them sums; %u without sums; forward mode repeated: at most %.0f;"
              " reverse mode nested: about %.0f passes\n",
              plan->streams.count, plan->streams.sums, single, nested, reverse);
    tell_modes(text, pass, terms, plan->streams.count, nested, reverse);
    for (uint32_t r = 0; r < plan->streams.directions; r++) tell_direction(text, plan, r);
}
static void tell_choice(Text *text, Arena *scratch, const World *world, const OpId *rows,
                        uint32_t count, const DerivativeTerms *terms, const TaylorPlan *plan) {
    const Code *code = &world->code;
    ValueId    *ys = ARENA_ARRAY(scratch, ValueId, count);
    for (uint32_t i = 0; i < count; i++) ys[i] = op_operand(code, rows[i], 0);
    ReverseChoice c =
        choose(scratch, world, code, op_operand(code, rows[0], 1), ys, count, terms, plan);
    if (c.possible)
        text_addf(
            text,
            "  %s: time of Taylor %.3g, of a gradient with %u derivatives along coordinates %.3g\n",
            c.wins ? "by reverse mode" : "by Taylor mode", c.taylor, c.forward, c.reverse);
    else
        text_add(text, STR("  by Taylor mode: reverse mode is for one number, to order two\n"));
}
String taylor_explain(Arena *out, const World *world) {
    const Code *code = &world->code;
    Scratch     scratch = scratch_begin(&out, 1);
    Text        text = text_begin(out);
    uint8_t    *done = ARENA_ARRAY_ZERO(scratch.arena, uint8_t, code->ops.table.count);
    OpId       *rows = ARENA_ARRAY(scratch.arena, OpId, code->ops.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        DerivativeTerms terms = {.arena = scratch.arena};
        uint32_t        requests = 0;
        if (code->ops.opcode[row] != OP_DERIVATIVES || done[row]) continue;
        uint32_t count = gather_rows(code, done, (OpId){row}, rows);
        for (uint32_t i = 0; i < count; i++) {
            requests += read_row(world, code, rows[i], &terms, requests);
            done[rows[i].row] = 1;
        }
        TaylorPlan plan = taylor_plan(scratch.arena, &terms);
        text_addf(&text, "derivatives: %u in one walk, from %u rows\n", requests, count);
        ModePass pass = modes_pass(scratch.arena, world, code, op_operand(code, rows[0], 1),
                                   op_operand(code, rows[0], 0));
        tell_plan(&text, &plan, &terms, &pass);
        tell_choice(&text, scratch.arena, world, rows, count, &terms, &plan);
    }
    scratch_end(scratch);
    return text_done(&text);
}
