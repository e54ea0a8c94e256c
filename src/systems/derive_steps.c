/* Back through loops whose states are not all kept: the loop becomes two levels of scans, runs of
 * steps, and the ordinary rule does the rest. It keeps a state for each run; going back through a
 * run, it computes the run again and keeps its states meanwhile. So n steps keep about 2 sqrt(n)
 * states, for computing everything once more. The run is a loop that goes back by the same choice,
 * within what is left: L levels keep about L n^(1/L) states, for computing everything L - 1 times
 * more. The fewest levels are taken that keep to Derive.states at typical sizes, or those that keep
 * the least.
 *
 * A while becomes scans of steps that do nothing once the condition is false: of `limit` steps, or
 * of runs beyond a few hundred. Runs after the end cost a test each. */
#include <math.h>
#include <string.h>

#include "systems/derive_inner.h"

enum {
    WHILE_STEPS_MAX = 256, /* up to which all states of a while may be kept */
    LEVELS_MAX = 12
};

/* --- how many levels -------------------------------------------------------------------------- */
typedef struct Levels {
    uint32_t count;
    int64_t  runs; /* of each level, at most; they keep count * runs states */
} Levels;
static int64_t root_up(int64_t n, uint32_t degree) {
    int64_t root = (int64_t)pow((double)n, 1.0 / degree) - 1; /* pow may be off by one */
    while (root < 1 || pow((double)root, degree) < (double)n) root++;
    return root;
}
static Levels levels_within(int64_t n, double room, uint32_t least) {
    Levels best = {least, root_up(n, least)};
    for (uint32_t i = least + 1; i <= LEVELS_MAX && (double)best.count * (double)best.runs > room;
         i++) {
        Levels more = {i, root_up(n, i)};
        if (more.count * more.runs < best.count * best.runs) best = more;
    }
    return best;
}
/* For n steps of so many bytes; says what that keeps. */
static Levels choose_levels(const Derive *d, int64_t n, double bytes, uint32_t least) {
    double room = (double)d->states, around = (double)system_states(d->ctx) - room;
    Levels levels = levels_within(n, bytes > 0 ? room / bytes : INFINITY, least);
    double kept = (double)levels.count * (double)levels.runs * bytes;
    Levels fewer = levels_within(n, (double)levels.count * (double)levels.runs - 1, least);
    if (kept <= room && fewer.count > levels.count) system_keep(d->ctx, around + kept);
    return levels;
}
/* Bytes of the leading operands at typical sizes. */
static double operand_bytes(const Derive *d, OpId op, uint32_t count) {
    const World *world = d->build->world;
    const Code  *code = d->build->code;
    Scratch      scratch = scratch_begin(NULL, 0);
    int64_t     *sizes = ARENA_ARRAY_ZERO(scratch.arena, int64_t, world->dims.rows.table.count);
    double       bytes = 0;
    dims_eval_typical(&world->dims, sizes);
    for (uint32_t i = 0; i < count; i++) {
        TypeId type = code->values.type[op_operand(code, op, i).row];
        double each = dtype_bytes(type_dtype(&world->types, type));
        for (uint32_t k = 0; k < type_rank(&world->types, type); k++)
            each *= (double)sizes[type_dims(&world->types, type)[k].row];
        bytes += each;
    }
    scratch_end(scratch);
    return bytes;
}
static int64_t scan_steps(const Derive *d, OpId scan) {
    const World *world = d->build->world;
    Scratch      scratch = scratch_begin(NULL, 0);
    int64_t     *sizes = ARENA_ARRAY_ZERO(scratch.arena, int64_t, world->dims.rows.table.count);
    dims_eval_typical(&world->dims, sizes);
    int64_t steps = sizes[flow_scan_length(d->build->world, d->build->code, scan).row];
    scratch_end(scratch);
    return steps;
}
static double state_bytes(const Derive *d, OpId scan) {
    const uint64_t *attrs = op_attrs(d->build->world, d->build->code, scan);
    return operand_bytes(d, scan, (uint32_t)attrs[ATTR_SCAN_carries]);
}
double derive_states_bytes(const Derive *d, OpId scan) {
    return state_bytes(d, scan) * (double)scan_steps(d, scan);
}

/* --- back through a while: scans of steps that may do nothing --------------------------------- */
/* steps[0] steps, each of them steps[1] steps and so on, innermost the body: what is carried. */
static void add_steps(Derive *d, OpId loop, const ValueId *from, const int64_t *steps,
                      uint32_t levels, ValueId *out) { // as deep as there are levels
    const Code *code = d->build->code;
    uint32_t    count = code->ops.operands_count[loop.row], args = count + 1, none[2] = {0, 0};
    BlockId     test = flow_block(code, loop, 0), body = flow_block(code, loop, 1);
    ValueId    *inside = ARENA_ARRAY(derive_scratch(d), ValueId, count + 1), more, again;
    ValueId    *next = ARENA_ARRAY(derive_scratch(d), ValueId, count + 1);
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, count + 1);
    uint64_t    words[ATTRS_MAX] = {0};
    FlowBuild   f = flow_open(d->build, &args, 1);
    (void)flow_type_arg(&f, 0, 0, derive_index_type(d));
    for (uint32_t i = 0; i < count; i++) {
        types[i] = build_type(d->build, from[i]);
        inside[i] = flow_type_arg(&f, 0, i + 1, types[i]);
    }
    flow_enter(&f, 0);
    clone_over(d->build, code, test, true, inside, derive_scratch(d), &more);
    FlowBuild g = flow_open(d->build, none, 2);
    flow_enter(&g, 0);
    if (levels > 1) {
        add_steps(d, loop, inside, steps + 1, levels - 1, next);
    } else { /* effects of the test happen once a step, and after the last one */
        clone_over(d->build, code, test, false, inside, derive_scratch(d), &again);
        clone_over(d->build, code, body, false, inside, derive_scratch(d), next);
    }
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
void derive_pull_while(Vjp *v) {
    Derive           *d = v->d;
    const Code       *code = d->build->code;
    World            *world = d->build->world;
    uint32_t          count = code->ops.operands_count[v->op.row], first = code->ops.table.count;
    int64_t           limit = (int64_t)op_attrs(world, code, v->op)[ATTR_WHILE_limit];
    int64_t           steps[LEVELS_MAX], n = limit > 1 ? limit : 1;
    ValueId          *out = ARENA_ARRAY(derive_scratch(d), ValueId, count + 1), more;
    static const char message[] =
        "a while that a gradient goes back through repeats more often than "
        "its attribute `limit` says";
    double bytes = operand_bytes(d, v->op, count);
    Levels levels = choose_levels(d, n, bytes, n > WHILE_STEPS_MAX ? 2 : 1);
    for (uint32_t i = levels.count; i-- > 0;) {
        steps[i] = i == 0 || n < levels.runs ? n : levels.runs;
        n = (n + steps[i] - 1) / steps[i];
    }
    add_steps(d, v->op, op_operands(code, v->op), steps, levels.count, out);
    clone_over(d->build, code, flow_block(code, v->op, 0), false, out, derive_scratch(d), &more);
    uint64_t words[1] = {strings_add(&world->strings, str_of(message)).row};
    more = build_unary(d->build, OP_NOT, more);
    (void)build_row(d->build, OP_ASSERT, &more, 1, words, 0);
    derive_pull_rows(v, first, out);
}

/* --- scans in runs ---------------------------------------------------------------------------- */
/* A scan over operands: what is carried, then the index of the row, then the scanned operands of
 * the loop; of levels, each over the rows of the one around it. Gives what is carried, then the
 * stacked results. */
static void add_runs(Derive *d, OpId loop, const ValueId *from, const DimId *lengths,
                     uint32_t levels, ValueId *out) { // as deep as there are levels: 2
    const Code     *code = d->build->code;
    World          *world = d->build->world;
    const uint64_t *attrs = op_attrs(world, code, loop);
    BlockId         body = flow_block(code, loop, 0);
    uint32_t        carries = (uint32_t)attrs[ATTR_SCAN_carries],
             count = code->ops.operands_count[loop.row];
    uint32_t  results = code->ops.results_count[loop.row], args = count + 2;
    ValueId  *inside = ARENA_ARRAY(derive_scratch(d), ValueId, count + 1);
    TypeId   *types = ARENA_ARRAY(derive_scratch(d), TypeId, results + 1);
    uint64_t  words[ATTRS_MAX] = {0};
    FlowBuild f = flow_open(d->build, &args, 1);
    (void)flow_type_arg(&f, 0, 0, derive_index_type(d));
    for (uint32_t i = 0; i < count + 1; i++) {
        TypeId type = build_type(d->build, from[i]);
        inside[i] = flow_type_arg(&f, 0, i + 1, i < carries ? type : flow_row_type(world, type));
    }
    flow_enter(&f, 0);
    if (levels > 1) {
        add_runs(d, loop, inside, lengths + 1, levels - 1, out);
    } else {
        ValueId *given = ARENA_ARRAY(derive_scratch(d), ValueId, count + 1);
        given[0] = inside[carries]; /* the index of the whole loop */
        for (uint32_t i = 0; i < count; i++) given[i + 1] = inside[i + (i >= carries)];
        clone_over(d->build, code, body, false, given, derive_scratch(d), out);
    }
    flow_return(&f, out, results);
    for (uint32_t i = 0; i < results; i++) {
        types[i] = build_type(d->build, i < carries ? from[i] : out[i]);
        if (i >= carries) types[i] = flow_stacked(world, types[i], lengths[0]);
    }
    words[ATTR_SCAN_carries] = carries;
    words[ATTR_SCAN_reverse] = attrs[ATTR_SCAN_reverse];
    words[ATTR_SCAN_length] = lengths[0].row;
    words[ATTR_SCAN_segment] = levels > 1; /* its states are what is kept */
    OpId made = flow_close(&f, OP_SCAN, from, count + 1, words, types, results);
    for (uint32_t i = 0; i < results; i++) out[i] = op_result(code, made, i);
}
/* Rows [first, last) of x, as runs of so many if that is not nil. */
static ValueId rows_of(Derive *d, ValueId x, DimId first, DimId last, DimId runs, DimId steps) {
    Build   *build = d->build;
    Dims    *dims = &build->world->dims;
    uint32_t rank = build_rank(build, x);
    DimId    starts[SHAPE_RANK_MAX + 1] = {{0}}, limits[SHAPE_RANK_MAX + 1] = {{0}};
    for (uint32_t i = 0; i < rank; i++) {
        starts[i] = i == 0 ? first : dims_const(dims, 0);
        limits[i] = i == 0 ? last : build_dims(build, x)[i];
    }
    uint64_t words[3] = {build_sizes(build, starts, rank), build_sizes(build, limits, rank), 0};
    ValueId  part = build_op(build, OP_SLICE, &x, 1, words);
    if (!dim_id_some(runs)) return part;
    starts[0] = runs;
    starts[1] = steps;
    for (uint32_t i = 1; i < rank; i++) starts[i + 1] = limits[i];
    return build_reshape(build, part, starts, rank + 1);
}
/* x[runs,steps,...] as rows. */
static ValueId flat(Derive *d, ValueId x, DimId rows) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(d->build, x);
    dims[0] = rows;
    for (uint32_t i = 2; i < rank; i++) dims[i - 1] = build_dims(d->build, x)[i];
    return build_reshape(d->build, x, dims, rank - 1);
}
typedef struct Runs {
    Vjp     *v;
    ValueId *given; /* carried values, the index, scanned operands: whole */
    ValueId *now;   /* the same for one of the two parts */
    uint32_t count, carries, results;
    DimId    length, runs, steps, whole; /* whole: steps in runs, runs steps */
} Runs;
/* The steps that are runs, or those that remain; carried values go on from `now`. */
static void add_part(Runs *r, bool in_runs, ValueId *out) {
    Derive *d = r->v->d;
    Dims   *dims = &d->build->world->dims;
    DimId   zero = dims_const(dims, 0), none = {0}, lengths[2] = {r->runs, r->steps};
    for (uint32_t i = r->carries; i < r->count; i++)
        r->now[i] = in_runs ? rows_of(d, r->given[i], zero, r->whole, r->runs, r->steps)
                            : rows_of(d, r->given[i], r->whole, r->length, none, none);
    if (!in_runs) lengths[0] = dims_sub(dims, r->length, r->whole);
    add_runs(d, r->v->op, r->now, lengths, in_runs ? 2 : 1, out);
    for (uint32_t i = 0; i < r->carries; i++) r->now[i] = out[i];
    for (uint32_t i = r->carries; i < r->results && in_runs; i++)
        out[i] = flat(d, out[i], r->whole);
}
static void pull_runs(Vjp *v, int64_t steps) {
    Derive         *d = v->d;
    const Code     *code = d->build->code;
    World          *world = d->build->world;
    Dims           *dims = &world->dims;
    const uint64_t *attrs = op_attrs(world, code, v->op);
    uint32_t        first = code->ops.table.count, operands = code->ops.operands_count[v->op.row];
    Runs r = {.v = v, .count = operands + 1, .carries = (uint32_t)attrs[ATTR_SCAN_carries]};
    r.results = code->ops.results_count[v->op.row];
    r.length = flow_scan_length(world, code, v->op);
    r.steps = dims_const(dims, steps);
    r.runs = dims_floordiv(dims, r.length, r.steps);
    r.whole = dims_mul(dims, r.runs, r.steps);
    r.given = ARENA_ARRAY(derive_scratch(d), ValueId, r.count);
    r.now = ARENA_ARRAY(derive_scratch(d), ValueId, r.count);
    ValueId *main = ARENA_ARRAY(derive_scratch(d), ValueId, r.results + 1);
    ValueId *rest = ARENA_ARRAY(derive_scratch(d), ValueId, r.results + 1);
    uint64_t words[3] = {DTYPE_I64, build_sizes(d->build, &r.length, 1), 0};
    bool     back = attrs[ATTR_SCAN_reverse] != 0, even = dims_same(dims, r.whole, r.length);
    for (uint32_t i = 0; i < operands; i++)
        r.given[i + (i >= r.carries)] = op_operand(code, v->op, i);
    r.given[r.carries] = build_op(d->build, OP_IOTA, NULL, 0, words);
    memcpy(r.now, r.given, r.carries * sizeof *r.now);
    for (uint32_t turn = 0; turn < 2; turn++) { /* from the last row, the rest comes first */
        bool in_runs = (turn == 0) != back;
        if (in_runs || !even) add_part(&r, in_runs, in_runs ? main : rest);
    }
    for (uint32_t i = 0; i < r.results; i++) {
        uint64_t axis = 0;
        ValueId  both[2] = {main[i], even ? main[i] : rest[i]};
        if (i < r.carries)
            main[i] = r.now[i];
        else if (!even)
            main[i] = build_op(d->build, OP_CONCAT, both, 2, &axis);
    }
    uint64_t before = d->states;
    double   kept = state_bytes(d, v->op) * (double)scan_steps(d, v->op) / (double)steps;
    d->states = kept < (double)before ? before - (uint64_t)kept : 0;
    derive_pull_rows(v, first, main);
    d->states = before;
}

void derive_pull_segments(Vjp *v) {
    Derive *d = v->d;
    int64_t steps = (int64_t)op_attrs(d->build->world, d->build->code, v->op)[ATTR_SCAN_segment];
    if (steps <= 0) {
        int64_t length = scan_steps(d, v->op);
        Levels  levels = choose_levels(d, length, state_bytes(d, v->op), 1);
        steps = levels.count > 1 ? (length + levels.runs - 1) / levels.runs : 1;
    }
    if (steps > 1)
        pull_runs(v, steps);
    else
        derive_pull_scan(v);
}
