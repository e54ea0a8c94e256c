/* differentiate: gradient and jvp rows become derivative programs.
 *
 * Rows are handled in order, so a gradient of a gradient sees ordinary rows: any order is
 * repetition. For jvp, the rows between the inputs and y are walked once and emit their tangents
 * (rules/jvp.def). For gradient, the same from placeholder tangents; then the emitted rows are
 * walked backwards and those linear in the tangents transposed (rules/transpose.def), adding up
 * contributions. There is no table of backward operators. The tangent rows of a gradient are unused
 * afterwards, for `dead` to drop; their coefficients are what the backward program uses. A
 * composite without a derivative rule takes that of its expansion, whose rows are appended for the
 * purpose. A placeholder is stop_gradient of its x: no gradient passes through it. taylor and
 * derivatives rows: taylor.c; vmap rows: batch.c; operators with blocks: derive_control.c.
 *
 * Needs types; gives a program without derivative rows, or after an error the program as it was,
 * which is what diagnostics refer to. Cost: rows between xs and y, a small factor each, per
 * derivative row. */
#include "systems/batch.h"
#include "systems/derive_inner.h"
#include "systems/modes.h"
#include "systems/taylor.h"

/* Rules chain over values of nil type after an error, but need not understand them. */
static void check_errors(Derive *d) { d->failed |= d->ctx->world->diags.errors != d->errors; }

/* The user's row that became a new one, or the derivative row that needed it. */
static uint32_t old_row(const Derive *d, OpId row) {
    const Code *old = d->rw->old;
    if (d->build->code->ops.results_count[row.row] == 0) return d->op.row;
    ValueId result = op_result(d->build->code, row, 0);
    for (uint32_t value = 1; value < old->values.table.count; value++)
        if (value_id_same(d->rw->map[value], result) && op_id_some(value_op(old, (ValueId){value})))
            return value_op(old, (ValueId){value}).row;
    return d->op.row;
}

/* --- operators with blocks -------------------------------------------------------------------- */
/* They are looked at whole: what their rows use from around them counts like operands. */
static void find_carriers(Derive *d) {
    const Code *code = d->build->code;
    uint32_t    count = 0;
    d->carriers_count = 0;
    for (uint32_t row = d->first; row < d->rows; row++)
        count += code->ops.blocks_count[row] != 0 && derive_in_scope(d, row);
    d->carriers = ARENA_ARRAY(d->ctx->scratch, Carrier, count);
    for (uint32_t row = d->first; row < d->rows; row++)
        if (code->ops.blocks_count[row] != 0 && derive_in_scope(d, row))
            d->carriers[d->carriers_count++] =
                (Carrier){row, flow_captures(d->ctx->scratch, code, (OpId){row})};
}
ValueList derive_captures(const Derive *d, uint32_t row) {
    uint32_t low = 0, high = d->carriers_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (d->carriers[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < d->carriers_count && d->carriers[low].row == row;
    return found ? d->carriers[low].captures : (ValueList){NULL, 0};
}

/* Marks values that depend on one of xs (1), then keeps those that some y needs (2). */
void derive_mark(Derive *d, const ValueId *xs, uint32_t count, const ValueId *ys,
                 uint32_t ys_count) {
    const Code *code = d->build->code;
    find_carriers(d);
    for (uint32_t i = 0; i < count; i++) d->active[xs[i].row] = 1;
    for (uint32_t row = d->first; row < d->rows; row++) {
        const ValueId *operands = op_operands(code, (OpId){row});
        if (!derive_in_scope(d, row) || (op_info(code, (OpId){row})->flags & OP_ZERO_GRAD))
            continue;
        ValueList captures = derive_captures(d, row);
        uint8_t   any = 0;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            any |= d->active[operands[i].row];
        for (uint32_t i = 0; i < captures.count; i++) any |= d->active[captures.at[i].row];
        if (!any) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            d->active[op_result(code, (OpId){row}, i).row] = 1;
    }
    for (uint32_t i = 0; i < ys_count; i++) d->active[ys[i].row] |= 2;
    for (uint32_t row = d->rows - 1; row >= d->first && row >= 1; row--) {
        uint8_t any = 0;
        if (!derive_in_scope(d, row)) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            any |= d->active[op_result(code, (OpId){row}, i).row];
        if (any != 3) continue;
        const ValueId *operands = op_operands(code, (OpId){row});
        ValueList      captures = derive_captures(d, row);
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            d->active[operands[i].row] |= 2;
        for (uint32_t i = 0; i < captures.count; i++) d->active[captures.at[i].row] |= 2;
    }
}

ValueId derive_tangent(const Derive *d, ValueId value) {
    return value.row < d->tangents_max ? d->tangents[value.row] : (ValueId){0};
}
void derive_set_tangent(Derive *d, ValueId value, ValueId tangent) {
    if (value.row >= d->tangents_max) { /* a value of an expansion */
        uint32_t max = d->build->code->values.table.count * 2;
        ValueId *more = ARENA_ARRAY_ZERO(d->ctx->scratch, ValueId, max);
        memcpy(more, d->tangents, d->tangents_max * sizeof *more);
        d->tangents = more;
        d->tangents_max = max;
    }
    d->tangents[value.row] = tangent;
}

static void fail_as(Derive *d, OpId row, OpId user) {
    (void)diags_add(&d->ctx->world->diags, DIAG_NOT_DIFFERENTIABLE, old_row(d, user),
                    d->build->code->ops.opcode[row.row], 0, 0, 0);
    d->failed = true;
}
void        derive_fail(Derive *d, OpId row) { fail_as(d, row, row); }
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
    for (uint32_t i = 0; i < results; i++) out[i] = derive_tangent(d, values[i]);
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
        tangents[i] = derive_tangent(d, op_operand(code, op, i));
        moved |= value_id_some(tangents[i]);
    }
    if (!moved) return;
    Emit e = emit_at(d->build, op);
    e.d = tangents;
    if (!emit_jvp(&e, out) && !push_expansion(d, op, user, out)) fail_as(d, op, user);
    for (uint32_t i = 0; i < results; i++) {
        ValueId y = op_result(code, op, i);
        if (value_id_some(out[i]) && !value_id_some(derive_tangent(d, y)))
            derive_set_tangent(d, y, out[i]); /* an x keeps its seed */
    }
    check_errors(d);
}

/* Emits the tangent rows of every active operator. tangents[] holds the seeds on entry. */
void derive_push(Derive *d) {
    const Code *code = d->build->code;
    for (uint32_t row = d->first; row < d->rows && !d->failed; row++) {
        bool wanted = false;
        if (!derive_in_scope(d, row)) continue;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            wanted |= d->active[op_result(code, (OpId){row}, i).row] == 3;
        if (wanted && derive_is_control(code, row))
            derive_push_control(d, (OpId){row});
        else if (wanted)
            push_row(d, (OpId){row}, (OpId){row});
    }
}

/* Walks the tangent rows [first, last) backwards. cotangents: by value row, of rows up to last.
 * Rows of nested blocks are none of them. */
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
        if (code->ops.opcode[row] == OP_PULLBACK) {
            derive_pull_control(d, op, cotangents);
            check_errors(d);
            continue;
        }
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

Derive derive_begin(const Derive *of, uint32_t first, BlockId block) {
    const Code *code = of->build->code;
    Arena      *scratch = of->ctx->scratch;
    uint8_t    *scope = ARENA_ARRAY_ZERO(scratch, uint8_t, code->blocks.table.count);
    Derive      d = *of;
    d.first = first;
    d.rows = code->ops.table.count;
    d.scope = scope;
    d.scope_count = code->blocks.table.count;
    d.carriers = NULL;
    d.carriers_count = 0;
    d.active = ARENA_ARRAY_ZERO(scratch, uint8_t, code->values.table.count);
    d.tangents_max = code->values.table.count;
    d.tangents = ARENA_ARRAY_ZERO(scratch, ValueId, d.tangents_max);
    scope[block.row] = 1;
    return d;
}
/* For a derivative row of the user: all rows before it, of its block and of those around it. */
static Derive begin_row(SystemCtx *ctx, Rewrite *rw, OpId op, Swap **swaps) {
    Derive  of = {.ctx = ctx,
                  .rw = rw,
                  .build = &rw->build,
                  .op = op,
                  .errors = ctx->world->diags.errors,
                  .swaps = swaps,
                  .states = system_states(ctx)};
    BlockId home = rw->old->ops.block[op.row];
    Derive  d = derive_begin(&of, 1, home);
    for (BlockId block = home; op_id_some(rw->old->blocks.parent[block.row]);) {
        block = rw->old->ops.block[rw->old->blocks.parent[block.row].row];
        ((uint8_t *)(uintptr_t)d.scope)[block.row] = 1;
    }
    return d;
}

/* Placeholder tangents of xs; an x given twice shares its own. */
static void seed(Derive *d, const ValueId *xs, uint32_t count, ValueId *out_seeds) {
    for (uint32_t i = 0; i < count; i++) {
        out_seeds[i] = derive_tangent(d, xs[i]);
        if (value_id_some(out_seeds[i])) continue;
        out_seeds[i] = build_unary(d->build, OP_STOP_GRADIENT, xs[i]);
        derive_set_tangent(d, xs[i], out_seeds[i]);
    }
}
void derive_pull(Derive *d, const ValueId *xs, uint32_t count, const ValueId *ys,
                 const ValueId *cts, uint32_t ys_count, ValueId *out_grads) {
    const Code *code = d->build->code;
    ValueId    *seeds = ARENA_ARRAY(d->ctx->scratch, ValueId, count);
    d->reverse = true;
    derive_mark(d, xs, count, ys, ys_count);
    seed(d, xs, count, seeds);
    uint32_t first = code->ops.table.count;
    derive_push(d);
    uint32_t last = code->ops.table.count;
    uint8_t *is_tangent = mark_tangents(d, first, seeds, count);
    ValueId *cotangents = ARENA_ARRAY_ZERO(d->ctx->scratch, ValueId, code->values.table.count);
    bool     any = false;
    for (uint32_t i = 0; i < count; i++)
        if (value_id_some(out_grads[i])) cotangents[seeds[i].row] = out_grads[i];
    for (uint32_t i = 0; i < ys_count && !d->failed; i++) {
        ValueId dy = derive_tangent(d, ys[i]);
        if (!value_id_some(dy) || (cts != NULL && !value_id_some(cts[i]))) continue;
        ValueId  ct = cts != NULL ? cts[i] : build_splat(d->build, ys[i], 1);
        ValueId *sum = &cotangents[dy.row];
        *sum = value_id_some(*sum) ? build_binary(d->build, OP_ADD, *sum, ct) : ct;
        any = true;
    }
    if (any) pull_back(d, first, last, is_tangent, cotangents);
    for (uint32_t i = 0; i < count; i++) out_grads[i] = cotangents[seeds[i].row];
}

static bool derive_gradient(SystemCtx *ctx, Rewrite *rw, OpId op, Swap **swaps) {
    uint32_t count = rw->old->ops.operands_count[op.row] - 1;
    ValueId  y = rw->map[op_operand(rw->old, op, 0).row];
    ValueId *xs = ARENA_ARRAY(ctx->scratch, ValueId, count),
            *grads = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, count);
    Derive d = begin_row(ctx, rw, op, swaps);
    for (uint32_t i = 0; i < count; i++) xs[i] = rw->map[op_operand(rw->old, op, i + 1).row];
    derive_pull(&d, xs, count, &y, NULL, 1, grads);
    for (uint32_t i = 0; i < count; i++) {
        if (!value_id_some(grads[i])) grads[i] = build_splat(&rw->build, xs[i], 0);
        rewrite_map(rw, op_result(rw->old, op, i), grads[i]);
    }
    return !d.failed;
}

static bool derive_jvp(SystemCtx *ctx, Rewrite *rw, OpId op, Swap **swaps) {
    uint32_t count = (rw->old->ops.operands_count[op.row] - 1u) / 2;
    ValueId  y = rw->map[op_operand(rw->old, op, 0).row];
    ValueId *xs = ARENA_ARRAY(ctx->scratch, ValueId, count);
    Derive   d = begin_row(ctx, rw, op, swaps);
    for (uint32_t i = 0; i < count; i++) xs[i] = rw->map[op_operand(rw->old, op, i + 1).row];
    derive_mark(&d, xs, count, &y, 1);
    for (uint32_t i = 0; i < count; i++)
        derive_set_tangent(&d, xs[i], rw->map[op_operand(rw->old, op, count + 1 + i).row]);
    derive_push(&d);
    ValueId dy = derive_tangent(&d, y);
    rewrite_map(rw, op_result(rw->old, op, 0),
                value_id_some(dy) ? dy : build_splat(&rw->build, y, 0));
    return !d.failed;
}

/* --- for Taylor mode -------------------------------------------------------------------------- */
uint8_t *differentiate_mark(SystemCtx *ctx, Rewrite *rw, OpId op, uint32_t first, const ValueId *xs,
                            uint32_t count, const ValueId *ys, uint32_t ys_count) {
    Derive d = begin_row(ctx, rw, op, NULL);
    if (first != 0) d = derive_inner(&d, first);
    uint32_t values = rw->build.code->values.table.count;
    uint8_t *any = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values);
    for (uint32_t i = 0; i < ys_count; i++) {
        memset(d.active, 0, values);
        derive_mark(&d, xs, count, &ys[i], 1);
        for (uint32_t row = 0; row < values; row++) any[row] |= d.active[row] == 3 ? 3 : 0;
    }
    return any;
}
void differentiate_refuse(SystemCtx *ctx, Rewrite *rw, OpId row, OpId user, OpId op) {
    Derive d = begin_row(ctx, rw, row, NULL);
    fail_as(&d, op, user);
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
        derive_set_tangent(d, last, leaf);
        last = leaf;
    }
    return first;
}
/* One derivation over a growing list of rows: those that an order appends belong to the next. */
bool differentiate_curve(SystemCtx *ctx, Rewrite *rw, OpId row, OpId user, OpId op,
                         const ValueId *const *series, uint32_t order, ValueId *const *out) {
    Derive   d = begin_row(ctx, rw, row, NULL);
    Code    *code = rw->build.code;
    uint32_t count = code->ops.operands_count[op.row], results = code->ops.results_count[op.row];
    ValueId *leaves = ARENA_ARRAY(ctx->scratch, ValueId, count);
    double   factorial = 1;
    ASSERT(!derive_is_control(code, op.row));
    for (uint32_t i = 0; i < count; i++) {
        bool moves = dtype_is_differentiable(build_dtype(&rw->build, op_operand(code, op, i)));
        leaves[i] = op_operand(code, op, i);
        if (moves) leaves[i] = add_leaves(&d, leaves[i], series[i], order);
    }
    uint32_t next = code->ops.table.count;
    OpId     made = build_row(&rw->build, (Opcode)code->ops.opcode[op.row], leaves, count,
                              op_attrs(rw->world, code, op), results);
    ValueId *at = ARENA_ARRAY(ctx->scratch, ValueId, results);
    for (uint32_t i = 0; i < results; i++) at[i] = op_result(code, made, i);
    for (uint32_t k = 1; k <= order && !d.failed; k++) {
        factorial *= k;
        for (uint32_t last = code->ops.table.count; next < last && !d.failed; next++)
            push_row(&d, (OpId){next}, user);
        for (uint32_t i = 0; i < results && !d.failed; i++) {
            at[i] = value_id_some(at[i]) ? derive_tangent(&d, at[i]) : at[i];
            if (!value_id_some(at[i])) continue;
            ValueId over = build_splat(&rw->build, at[i], 1 / factorial);
            out[i][k] = k == 1 ? at[i] : build_binary(&rw->build, OP_MUL, at[i], over);
        }
    }
    return !d.failed;
}

/* --- swaps ------------------------------------------------------------------------------------ */
static const Swap *swap_of(const Swap *swaps, OpId op) {
    while (swaps != NULL && swaps->op.row != op.row) swaps = swaps->next;
    return swaps;
}
/* The swap whose operator begins at the row: outermost first, of those that begin here. */
static const Swap *swap_at(const Swap *swaps, const Code *code, uint32_t row) {
    BlockId  begin[CODE_DEPTH_MAX];
    uint32_t count = code_blocks_at(code, (OpId){row}, begin);
    for (uint32_t i = 0; i < count; i++) {
        const Swap *swap = swap_of(swaps, code->blocks.parent[begin[i].row]);
        if (swap != NULL) return swap;
    }
    return swap_of(swaps, (OpId){row});
}
typedef struct Range {
    uint32_t    row, last;
    const Swap *swap; /* whose rows these are; NULL: the whole code */
    BlockId     home; /* of the rows that are not nested */
} Range;
/* A pullback row has served: what tangents still need of it is zero, and they are not used. So has
 * the assert on one sample that became one (batch.c). */
static void drop_pullback(Rewrite *rw, OpId op) {
    Emit e = {.build = &rw->build};
    for (uint32_t i = 0; i < rw->old->ops.results_count[op.row]; i++) {
        ValueId y = op_result(rw->old, op, i);
        rw->map[y.row] = emit_zeros(&e, rw->old->values.type[y.row]);
    }
}
/* Rows that take the place of an operator go where it stands; its own rows go, and so do theirs
 * where they stood. */
static void apply_swaps(SystemCtx *ctx, const Swap *swaps) {
    Rewrite     rw = rewrite_begin(ctx->world, ctx->scratch);
    const Code *old = rw.old;
    uint32_t    depth = 0, most = 1; /* a swap lies in others, never in itself */
    uint8_t    *moved = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, old->ops.table.count);
    for (const Swap *swap = swaps; swap != NULL; swap = swap->next, most++)
        for (uint32_t row = swap->first; row < swap->last; row++) moved[row] = 1;
    Range *stack = ARENA_ARRAY(ctx->scratch, Range, most);
    stack[depth++] = (Range){1, old->ops.table.count, NULL, {0}};
    while (depth != 0) {
        Range *top = &stack[depth - 1];
        if (top->row == top->last) {
            const Swap *swap = top->swap;
            for (uint32_t i = 0; swap != NULL && i < old->ops.results_count[swap->op.row]; i++)
                rewrite_map(&rw, op_result(old, swap->op, i), rw.map[swap->results[i].row]);
            depth--;
            continue;
        }
        uint32_t    row = top->row;
        const Swap *swap = top->swap == NULL && moved[row] ? NULL : swap_at(swaps, old, row);
        if (swap != NULL) {
            BlockId home = old->ops.block[swap->op.row];
            if (top->swap != NULL && home.row == old->ops.block[top->last - 1].row)
                home = top->home;
            top->row = swap->op.row + 1;
            ASSERT(depth < most);
            stack[depth++] = (Range){swap->first, swap->last, swap, home};
            continue;
        }
        top->row++;
        if (top->swap == NULL && moved[row]) continue;
        rewrite_at(&rw, (OpId){row});
        if (old->ops.opcode[row] == OP_PULLBACK) {
            drop_pullback(&rw, (OpId){row});
            continue;
        }
        OpId copy = rewrite_copy(&rw, (OpId){row});
        if (top->swap != NULL && old->ops.block[row].row == old->ops.block[top->last - 1].row)
            rw.build.code->ops.block[copy.row] = top->home;
    }
    rewrite_end(&rw);
}

/* --- all of it -------------------------------------------------------------------------------- */
static bool has_pullbacks(const Code *code) {
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (code->ops.opcode[row] == OP_PULLBACK) return true;
    return false;
}
static uint32_t count_pending(const Code *code) {
    uint32_t pending = 0;
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        pending += (op_info(code, (OpId){row})->flags & OP_DERIVES) != 0;
    return pending;
}
static bool derive_row(SystemCtx *ctx, Rewrite *rw, Taylor *taylor, OpId op, Swap **swaps) {
    uint32_t opcode = rw->old->ops.opcode[op.row];
    if (opcode == OP_GRADIENT) return derive_gradient(ctx, rw, op, swaps);
    if (opcode == OP_VMAP) return batch_derive(ctx, rw, op);
    if (opcode == OP_JACOBIAN) {
        modes_derive(ctx, rw, op);
        return true;
    }
    return opcode == OP_JVP ? derive_jvp(ctx, rw, op, swaps) : taylor_derive(taylor, op);
}
static BlockId outermost(const Code *code, uint32_t row) {
    BlockId block = code->ops.block[row];
    while (op_id_some(code->blocks.parent[block.row]))
        block = code->ops.block[code->blocks.parent[block.row].row];
    return block;
}
/* By block row of a graph: it names one that still has derivative rows. That one goes first, so
 * that rows cloned from it are ordinary; no graph calls itself. */
static uint8_t *mark_waiting(SystemCtx *ctx, const Code *code) {
    uint8_t *pending = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->blocks.table.count);
    uint8_t *waiting = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, code->blocks.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (op_info(code, (OpId){row})->flags & OP_DERIVES) pending[outermost(code, row).row] = 1;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] != OP_CUSTOM_GRAD) continue;
        const uint64_t *attrs = op_attrs(ctx->world, code, (OpId){row});
        StrId           names[2] = {{(uint32_t)attrs[ATTR_CUSTOM_GRAD_graph]},
                                    {(uint32_t)attrs[ATTR_CUSTOM_GRAD_gradient]}};
        for (uint32_t i = 0; i < 2; i++)
            waiting[outermost(code, row).row] |=
                pending[code->graphs.block[code_find_graph(code, names[i]).row].row];
    }
    return waiting;
}
/* Replaces derivative rows, up to the first that asks for swaps or becomes other derivative rows.
 * False after a diagnostic; the code then stays as it was. */
static bool run_round(SystemCtx *ctx, Ran *ran) {
    const Code *old = &ctx->world->code;
    Swap       *swaps = NULL;
    Rewrite     rw = rewrite_begin(ctx->world, ctx->scratch);
    Taylor     *taylor = taylor_open(ctx, &rw);
    uint8_t    *waiting = mark_waiting(ctx, old);
    bool        last = false;
    for (uint32_t row = 1, count = old->ops.table.count; row < count; row++) {
        uint32_t first = row;
        while (row < count &&
               (!(op_info(old, (OpId){row})->flags & OP_DERIVES) ||
                waiting[outermost(old, row).row] || (last && !taylor_is_done(taylor, (OpId){row}))))
            row++;
        OpId op = {row};
        rewrite_copy_rows(&rw, (OpId){first}, op);
        if (row == count) break;
        rewrite_at(&rw, op);
        bool done = taylor_is_done(taylor, op);
        if (!done && !derive_row(ctx, &rw, taylor, op, &swaps)) return false;
        last |= swaps != NULL || old->ops.opcode[row] == OP_JACOBIAN || taylor_left_rows(taylor);
        ran->changed++;
    }
    rewrite_end(&rw);
    if (swaps != NULL || has_pullbacks(&ctx->world->code)) apply_swaps(ctx, swaps);
    return true;
}
Ran sys_differentiate(SystemCtx *ctx) {
    Ran ran = {0};
    while (count_pending(&ctx->world->code) != 0)
        if (!run_round(ctx, &ran)) break;
    return ran;
}
