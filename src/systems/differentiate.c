/* differentiate: gradient and jvp rows become derivative programs.
 *
 * Rows are handled in order, so a gradient of a gradient sees ordinary rows: any order is
 * repetition. For jvp, the rows between the inputs and y are walked once and emit their tangents
 * (rules/jvp.def). For gradient, the same from placeholder tangents; then the emitted rows are
 * walked backwards and those linear in the tangents transposed (rules/transpose.def), adding up
 * contributions. There is no table of backward operators. The tangent rows of a gradient are unused
 * afterwards, for `dead` to drop; their coefficients are what the backward program uses. A
 * composite without a derivative rule takes that of its expansion, whose rows are appended for the
 * purpose. A placeholder is stop_gradient of its x: no further gradient passes through it. taylor
 * and derivatives rows go to taylor.c.
 *
 * Needs types; gives a program without derivative rows, or after an error the program as it was,
 * which is what diagnostics refer to. Cost: rows between xs and y, a small factor each, per
 * derivative row. */
#include "systems/taylor.h"

typedef struct Derive {
    SystemCtx *ctx;
    Rewrite   *rw;
    Build     *build;
    OpId       op;       /* the derivative row, in the old code */
    uint32_t   rows;     /* of the new code when the derivative row was reached */
    uint8_t   *active;   /* by new value row: depends on an x and matters to y */
    ValueId   *tangents; /* by new value row below tangents_max; nil: zero */
    uint32_t   tangents_max;
    uint32_t   errors; /* when the derivative row was reached; one more ends the work */
    bool       failed;
} Derive;

/* Rules chain over values of nil type after an error, but need not understand them. */
static void check_errors(Derive *d) { d->failed |= d->ctx->world->diags.errors != d->errors; }

/* The user's row that became a new one, or the derivative row that needed it. */
static uint32_t old_row(const Derive *d, OpId row) {
    const Code *old = d->rw->old;
    ValueId     result = op_result(d->build->code, row, 0);
    for (uint32_t value = 1; value < old->values.table.count; value++)
        if (value_id_same(d->rw->map[value], result) && op_id_some(value_op(old, (ValueId){value})))
            return value_op(old, (ValueId){value}).row;
    return d->op.row;
}

static void refuse(Derive *d, OpId op, OpId user) {
    (void)diags_add(&d->ctx->world->diags, DIAG_NOT_DIFFERENTIABLE, old_row(d, user),
                    d->build->code->ops.opcode[op.row], 0, 0, 0);
}

/* Marks values that depend on one of xs (1), then keeps those that y needs (2). */
static void mark_active(Derive *d, const ValueId *xs, uint32_t count, ValueId y) {
    const Code *code = d->build->code;
    uint32_t    first = code->ops.table.count;
    for (uint32_t i = 0; i < count; i++) {
        d->active[xs[i].row] = 1;
        uint32_t def = code->values.def[xs[i].row];
        uint32_t row = def & VALUE_IS_ARG ? 1 : def;
        if (row < first) first = row;
    }
    for (uint32_t row = first; row < d->rows; row++) {
        const ValueId *operands = op_operands(code, (OpId){row});
        if (op_info(code, (OpId){row})->flags & OP_ZERO_GRAD) continue;
        uint8_t any = 0;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            any |= d->active[operands[i].row];
        if (!any) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            d->active[op_result(code, (OpId){row}, i).row] = 1;
    }
    d->active[y.row] |= 2;
    for (uint32_t row = d->rows - 1; row >= first && row >= 1; row--) {
        uint8_t any = 0;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            any |= d->active[op_result(code, (OpId){row}, i).row];
        if (any != 3) continue;
        const ValueId *operands = op_operands(code, (OpId){row});
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            d->active[operands[i].row] |= 2;
    }
}

static ValueId tangent_of(const Derive *d, ValueId value) {
    return value.row < d->tangents_max ? d->tangents[value.row] : (ValueId){0};
}
static void set_tangent(Derive *d, ValueId value, ValueId tangent) {
    if (value.row >= d->tangents_max) { /* a value of an expansion */
        uint32_t max = d->build->code->values.table.count * 2;
        ValueId *more = ARENA_ARRAY_ZERO(d->ctx->scratch, ValueId, max);
        memcpy(more, d->tangents, d->tangents_max * sizeof *more);
        d->tangents = more;
        d->tangents_max = max;
    }
    d->tangents[value.row] = tangent;
}

static void push_row(Derive *d, OpId op, OpId user);

/* The tangents of a composite by way of its expansion. Nesting is that of the rules, four deep. */
static bool push_expansion(Derive *d, OpId op, OpId user, ValueId *out) {
    const Code *code = d->build->code;
    Emit        e = emit_at(d->build, op);
    ExpandFn   *expand = expand_rules[code->ops.opcode[op.row]];
    uint32_t    results = code->ops.results_count[op.row], first = code->ops.table.count;
    ValueId    *values = ARENA_ARRAY_ZERO(d->ctx->scratch, ValueId, results);
    if (expand == NULL || !expand(&e, values)) return false;
    uint32_t last = code->ops.table.count; /* tangents follow */
    for (uint32_t row = first; row < last && !d->failed; row++) push_row(d, (OpId){row}, user);
    for (uint32_t i = 0; i < results; i++) out[i] = tangent_of(d, values[i]);
    return true;
}

/* Emits the tangents of a row, if any operand has one. user: the row it comes from. */
static void push_row(Derive *d, OpId op, OpId user) {
    const Code *code = d->build->code;
    uint32_t    results = code->ops.results_count[op.row], count = code->ops.operands_count[op.row];
    ValueId    *tangents = ARENA_ARRAY(d->ctx->scratch, ValueId, count);
    ValueId    *out = ARENA_ARRAY_ZERO(d->ctx->scratch, ValueId, results);
    bool        moved = false;
    for (uint32_t i = 0; i < count; i++) {
        tangents[i] = tangent_of(d, op_operand(code, op, i));
        moved |= value_id_some(tangents[i]);
    }
    if (!moved) return;
    Emit e = emit_at(d->build, op);
    e.d = tangents;
    if (!emit_jvp(&e, out) && !push_expansion(d, op, user, out)) refuse(d, op, user);
    for (uint32_t i = 0; i < results; i++) {
        ValueId y = op_result(code, op, i);
        if (value_id_some(out[i]) && !value_id_some(tangent_of(d, y)))
            set_tangent(d, y, out[i]); /* an x keeps its seed */
    }
    check_errors(d);
}

/* Emits the tangent rows of every active operator. tangents[] holds the seeds on entry. */
static void push_forward(Derive *d) {
    const Code *code = d->build->code;
    for (uint32_t row = 1; row < d->rows && !d->failed; row++) {
        bool wanted = false;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            wanted |= d->active[op_result(code, (OpId){row}, i).row] == 3;
        if (wanted) push_row(d, (OpId){row}, (OpId){row});
    }
}

/* Walks the tangent rows [first, last) backwards. cotangents: by value row, of rows up to last. */
static void pull_back(Derive *d, uint32_t first, uint32_t last, const uint8_t *is_tangent,
                      ValueId *cotangents) {
    const Code *code = d->build->code;
    uint32_t    parts_max = 8;
    ValueId    *parts = ARENA_ARRAY(d->ctx->scratch, ValueId, parts_max);
    for (uint32_t row = last; row-- > first && !d->failed;) {
        OpId     op = {row};
        uint32_t results = code->ops.results_count[row], count = code->ops.operands_count[row];
        bool     wanted = false;
        if (results == 0 || !is_tangent[op_result(code, op, 0).row]) continue;
        Emit e = emit_at(d->build, op);
        e.ct = &cotangents[e.y.row]; /* results are consecutive */
        for (uint32_t i = 0; i < results; i++) wanted |= value_id_some(e.ct[i]);
        if (!wanted) continue;
        if (count > parts_max) parts = ARENA_ARRAY(d->ctx->scratch, ValueId, parts_max = count * 2);
        if (!emit_transpose(&e, is_tangent, parts))
            (void)diags_add(&d->ctx->world->diags, DIAG_NOT_TRANSPOSABLE, d->op.row,
                            code->ops.opcode[row], e.operand, 0, 0);
        check_errors(d);
        for (uint32_t i = 0; i < count && !d->failed; i++) {
            ValueId operand = op_operand(code, op, i);
            if (!is_tangent[operand.row] || !value_id_some(parts[i])) continue;
            ValueId *sum = &cotangents[operand.row];
            *sum = value_id_some(*sum) ? build_binary(d->build, OP_ADD, *sum, parts[i]) : parts[i];
        }
    }
}

/* Which of the values from `first` on are linear in the seeds. */
static uint8_t *mark_tangents(Derive *d, uint32_t first, const ValueId *seeds, uint32_t count) {
    const Code *code = d->build->code;
    uint8_t    *is_tangent = ARENA_ARRAY_ZERO(d->ctx->scratch, uint8_t, code->values.table.count);
    for (uint32_t i = 0; i < count; i++) is_tangent[seeds[i].row] = 1;
    for (uint32_t row = first; row < code->ops.table.count; row++) {
        const ValueId *operands = op_operands(code, (OpId){row});
        uint8_t        any = 0;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            any |= is_tangent[operands[i].row];
        for (uint32_t i = 0; any && i < code->ops.results_count[row]; i++)
            is_tangent[op_result(code, (OpId){row}, i).row] = 1;
    }
    return is_tangent;
}

static Derive derive_begin(SystemCtx *ctx, Rewrite *rw, OpId op) {
    const Code *code = rw->build.code;
    Derive      d = {.ctx = ctx,
                     .rw = rw,
                     .build = &rw->build,
                     .op = op,
                     .rows = code->ops.table.count,
                     .errors = ctx->world->diags.errors};
    d.active = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->values.table.count);
    d.tangents_max = code->values.table.count;
    d.tangents = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, d.tangents_max);
    return d;
}

static bool derive_gradient(SystemCtx *ctx, Rewrite *rw, OpId op) {
    uint32_t count = rw->old->ops.operands_count[op.row] - 1;
    ValueId  y = rw->map[op_operand(rw->old, op, 0).row];
    ValueId *xs = ARENA_ARRAY(ctx->scratch, ValueId, count),
            *seeds = ARENA_ARRAY(ctx->scratch, ValueId, count);
    Derive d = derive_begin(ctx, rw, op);
    Code  *code = rw->build.code;
    for (uint32_t i = 0; i < count; i++) xs[i] = rw->map[op_operand(rw->old, op, i + 1).row];
    mark_active(&d, xs, count, y);
    for (uint32_t i = 0; i < count; i++) { /* an x given twice shares its placeholder */
        if (!value_id_some(d.tangents[xs[i].row])) {
            seeds[i] = build_unary(&rw->build, OP_STOP_GRADIENT, xs[i]);
            d.tangents[xs[i].row] = seeds[i];
        } else {
            seeds[i] = d.tangents[xs[i].row];
        }
    }
    uint32_t first = code->ops.table.count;
    push_forward(&d);
    uint32_t last = code->ops.table.count;
    uint8_t *is_tangent = mark_tangents(&d, first, seeds, count);
    ValueId *cotangents = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, code->values.table.count);
    ValueId  dy = d.tangents[y.row];
    if (value_id_some(dy) && !d.failed) {
        cotangents[dy.row] = build_splat(&rw->build, y, 1);
        pull_back(&d, first, last, is_tangent, cotangents);
    }
    for (uint32_t i = 0; i < count; i++) {
        ValueId gradient = cotangents[seeds[i].row];
        if (!value_id_some(gradient)) gradient = build_splat(&rw->build, xs[i], 0);
        rewrite_map(rw, op_result(rw->old, op, i), gradient);
    }
    return !d.failed;
}

static bool derive_jvp(SystemCtx *ctx, Rewrite *rw, OpId op) {
    uint32_t count = (rw->old->ops.operands_count[op.row] - 1u) / 2;
    ValueId  y = rw->map[op_operand(rw->old, op, 0).row];
    ValueId *xs = ARENA_ARRAY(ctx->scratch, ValueId, count);
    Derive   d = derive_begin(ctx, rw, op);
    for (uint32_t i = 0; i < count; i++) xs[i] = rw->map[op_operand(rw->old, op, i + 1).row];
    mark_active(&d, xs, count, y);
    for (uint32_t i = 0; i < count; i++)
        d.tangents[xs[i].row] = rw->map[op_operand(rw->old, op, count + 1 + i).row];
    push_forward(&d);
    ValueId dy = d.tangents[y.row];
    rewrite_map(rw, op_result(rw->old, op, 0),
                value_id_some(dy) ? dy : build_splat(&rw->build, y, 0));
    return !d.failed;
}

/* --- for Taylor mode -------------------------------------------------------------------------- */
uint8_t *differentiate_mark(SystemCtx *ctx, Rewrite *rw, OpId op, const ValueId *xs, uint32_t count,
                            const ValueId *ys, uint32_t ys_count) {
    Derive   d = derive_begin(ctx, rw, op);
    uint32_t values = rw->build.code->values.table.count;
    uint8_t *any = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values);
    for (uint32_t i = 0; i < ys_count; i++) {
        memset(d.active, 0, values);
        mark_active(&d, xs, count, ys[i]);
        for (uint32_t row = 0; row < values; row++) any[row] |= d.active[row] == 3 ? 3 : 0;
    }
    return any;
}
void differentiate_refuse(SystemCtx *ctx, Rewrite *rw, OpId user, OpId op) {
    Derive d = derive_begin(ctx, rw, user);
    refuse(&d, op, user);
}

/* Leaves for the coefficients of one operand, times factorials: the derivative of each is the next
 * one. Copies, so that each is a value of its own and gradients go through. */
static ValueId add_leaves(Derive *d, ValueId operand, const ValueId *series, uint32_t order) {
    Build   *build = d->build;
    ValueId  first = build_unary(build, OP_COPY, operand), last = first;
    uint32_t moved = order;
    double   factorial = 1;
    while (moved > 0 && !value_id_some(series[moved])) moved--;
    for (uint32_t k = 1; k <= moved; k++) {
        factorial *= k;
        ValueId number = build_splat(build, operand, value_id_some(series[k]) ? factorial : 0);
        ValueId leaf =
            value_id_some(series[k]) ? build_binary(build, OP_MUL, series[k], number) : number;
        leaf = build_unary(build, OP_COPY, leaf);
        set_tangent(d, last, leaf);
        last = leaf;
    }
    return first;
}
/* One derivation over a growing list of rows: those that an order appends belong to the next. */
bool differentiate_curve(SystemCtx *ctx, Rewrite *rw, OpId user, OpId op,
                         const ValueId *const *series, uint32_t order, ValueId *const *out) {
    Derive   d = derive_begin(ctx, rw, user);
    Code    *code = rw->build.code;
    uint32_t count = code->ops.operands_count[op.row], results = code->ops.results_count[op.row];
    ValueId *leaves = ARENA_ARRAY(ctx->scratch, ValueId, count);
    double   factorial = 1;
    for (uint32_t i = 0; i < count; i++) {
        bool moves = dtype_is_differentiable(build_dtype(&rw->build, op_operand(code, op, i)));
        leaves[i] = op_operand(code, op, i);
        if (moves) leaves[i] = add_leaves(&d, leaves[i], series[i], order);
    }
    uint32_t next = code->ops.table.count;
    OpId     row = build_row(&rw->build, (Opcode)code->ops.opcode[op.row], leaves, count,
                             op_attrs(rw->world, code, op), results);
    ValueId *at = ARENA_ARRAY(ctx->scratch, ValueId, results);
    for (uint32_t i = 0; i < results; i++) at[i] = op_result(code, row, i);
    for (uint32_t k = 1; k <= order && !d.failed; k++) {
        factorial *= k;
        for (uint32_t last = code->ops.table.count; next < last && !d.failed; next++)
            push_row(&d, (OpId){next}, user);
        for (uint32_t i = 0; i < results && !d.failed; i++) {
            at[i] = value_id_some(at[i]) ? tangent_of(&d, at[i]) : at[i];
            if (!value_id_some(at[i])) continue;
            ValueId over = build_splat(&rw->build, at[i], 1 / factorial);
            out[i][k] = k == 1 ? at[i] : build_binary(&rw->build, OP_MUL, at[i], over);
        }
    }
    return !d.failed;
}

static bool derive_row(SystemCtx *ctx, Rewrite *rw, Taylor *taylor, OpId op) {
    uint32_t opcode = rw->old->ops.opcode[op.row];
    if (opcode == OP_GRADIENT) return derive_gradient(ctx, rw, op);
    return opcode == OP_JVP ? derive_jvp(ctx, rw, op) : taylor_derive(taylor, op);
}

Ran sys_differentiate(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    Ran         ran = {0};
    uint32_t    pending = 0;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        pending += (op_info(old, (OpId){row})->flags & OP_DERIVES) != 0;
    if (pending == 0) return ran;
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    Taylor *taylor = taylor_open(ctx, &rw);
    for (uint32_t row = 1, count = old->ops.table.count; row < count; row++) {
        uint32_t first = row;
        while (row < count && !(op_info(old, (OpId){row})->flags & OP_DERIVES)) row++;
        OpId op = {row};
        rewrite_copy_rows(&rw, (OpId){first}, op);
        if (row == count) break;
        rewrite_at(&rw, op);
        if (!taylor_is_done(taylor, op) && !derive_row(ctx, &rw, taylor, op))
            return ran; /* the code stays as it was */
        ran.changed++;
    }
    rewrite_end(&rw);
    return ran;
}
