/* Derivatives of operators with blocks.
 *
 * Forward: the same operator over values and tangents together; a loop carries both.
 * Reverse: of if and switch, the same operator whose blocks compute what they need again and give
 * the cotangents of what they use from outside. Of a scan, a scan the other way whose block
 * computes a step again from the state before it, and goes back through it (derive_loop.c); a while
 * becomes scans (derive_steps.c). Where forward rows are replaced by others that keep more, those
 * take their place, so that they run once (Swap). `dead` drops what turns out not to be needed.
 * All of it is ordinary rows: derivatives of any order are repetition. */
#include <string.h>

#include "systems/derive_inner.h"

/* --- parts ------------------------------------------------------------------------------------ */
static ValueId derive_zeros(Derive *d, TypeId type) {
    Emit e = {.build = d->build};
    return emit_zeros(&e, type);
}
ValueId derive_or_zeros(Derive *d, ValueId value, TypeId type) {
    return value_id_some(value) ? value : derive_zeros(d, type);
}
static bool list_has(const ValueList *list, ValueId value) {
    for (uint32_t i = 0; i < list->count; i++)
        if (value_id_same(list->at[i], value)) return true;
    return false;
}
ValueList derive_moving(Derive *d, OpId op, bool operands) {
    const Code *code = d->build->code;
    ValueList   captures = derive_captures(d, op.row), list = {NULL, 0};
    uint32_t    count = operands ? code->ops.operands_count[op.row] : 0;
    list.at = ARENA_ARRAY(derive_scratch(d), ValueId, captures.count + count);
    for (uint32_t i = 0; i < captures.count + count; i++) {
        ValueId x = i < captures.count ? captures.at[i] : op_operand(code, op, i - captures.count);
        if (value_id_some(derive_tangent(d, x)) && !list_has(&list, x)) list.at[list.count++] = x;
    }
    return list;
}
void derive_give(Vjp *v, ValueId value, ValueId grad) {
    ValueId tangent = derive_tangent(v->d, value), *sum = &v->cotangents[tangent.row];
    if (!value_id_some(tangent) || !value_id_some(grad)) return;
    *sum = value_id_some(*sum) ? build_binary(v->d->build, OP_ADD, *sum, grad) : grad;
}
ValueId derive_take(Vjp *v, ValueId value) {
    ValueId tangent = derive_tangent(v->d, value), sum = v->cotangents[tangent.row];
    if (!value_id_some(tangent)) return tangent;
    v->cotangents[tangent.row] = (ValueId){0};
    return sum;
}
void derive_keep_tangents(Derive *inner, const Derive *d, const ValueList *xs) {
    for (uint32_t i = 0; i < xs->count; i++)
        derive_set_tangent(inner, xs->at[i], derive_tangent(d, xs->at[i]));
}
uint32_t derive_moving_results(const Derive *d, OpId op, uint32_t first, uint32_t *out) {
    const Code *code = d->build->code;
    uint32_t    count = 0;
    for (uint32_t i = first; i < code->ops.results_count[op.row]; i++)
        if (derive_moves(d, op_result(code, op, i))) out[count++] = i;
    return count;
}
TypeId derive_index_type(Derive *d) {
    Types *types = &d->build->world->types;
    return types_type(types, DTYPE_I64, types_shape(types, NULL, 0));
}
void derive_swap(Derive *d, OpId op, uint32_t first, uint32_t last, const ValueId *results) {
    Swap *swap = ARENA_NEW(derive_scratch(d), Swap);
    *swap = (Swap){op, first, last, results, *d->swaps};
    *d->swaps = swap;
}
void derive_pull_rows(Vjp *v, uint32_t first, const ValueId *results) {
    Derive   *d = v->d;
    uint32_t  count = d->build->code->ops.results_count[v->op.row];
    ValueList xs = derive_moving(d, v->op, true);
    ValueId  *grads = ARENA_ARRAY_ZERO(derive_scratch(d), ValueId, xs.count);
    Derive    inner = derive_inner(d, first);
    derive_swap(d, v->op, first, inner.rows, results);
    for (uint32_t i = 0; i < xs.count; i++) grads[i] = derive_take(v, xs.at[i]);
    derive_pull(&inner, xs.at, xs.count, results, v->cts, count, grads);
    derive_inner_end(d, &inner);
    for (uint32_t i = 0; i < xs.count; i++) derive_give(v, xs.at[i], grads[i]);
}
/* --- if, switch ------------------------------------------------------------------------------- */
static FlowBuild open_branches(Derive *d, OpId op) {
    uint32_t  blocks = d->build->code->ops.blocks_count[op.row];
    uint32_t *args = ARENA_ARRAY_ZERO(derive_scratch(d), uint32_t, blocks);
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
    ValueList   xs = derive_moving(d, v->op, false);
    uint32_t    results = code->ops.results_count[v->op.row];
    ValueId    *ys = ARENA_ARRAY(derive_scratch(d), ValueId, results);
    ValueId    *grads = ARENA_ARRAY(derive_scratch(d), ValueId, xs.count);
    ValueId    *sums = ARENA_ARRAY(derive_scratch(d), ValueId, xs.count);
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, xs.count);
    FlowBuild   f = open_branches(d, v->op);
    for (uint32_t k = 0; k < xs.count; k++) {
        types[k] = build_type(d->build, xs.at[k]);
        sums[k] = derive_take(v, xs.at[k]);
    }
    for (uint32_t i = 0; i < f.count; i++) {
        uint32_t first = code->ops.table.count;
        flow_enter(&f, i);
        clone_over(d->build, code, flow_block(code, v->op, i), true, NULL, derive_scratch(d), ys);
        Derive inner = derive_inner(d, first);
        memcpy(grads, sums, xs.count * sizeof *grads);
        derive_pull(&inner, xs.at, xs.count, ys, v->cts, results, grads);
        derive_inner_end(d, &inner);
        for (uint32_t k = 0; k < xs.count; k++) grads[k] = derive_or_zeros(d, grads[k], types[k]);
        flow_return(&f, grads, xs.count);
    }
    OpId op = close_branches(d, &f, v->op, types, xs.count);
    for (uint32_t k = 0; k < xs.count; k++) derive_give(v, xs.at[k], op_result(code, op, k));
}

/* Tangents of what a cloned block returns, from those that inner already has. */
static void push_block(Derive *inner, const ValueList *xs, const ValueId *ys, uint32_t count,
                       ValueId *out_tangents) {
    derive_mark(inner, xs->at, xs->count, ys, count);
    derive_push(inner);
    for (uint32_t i = 0; i < count; i++)
        out_tangents[i] =
            derive_or_zeros(inner, derive_tangent(inner, ys[i]), build_type(inner->build, ys[i]));
}
static void jvp_branches(Derive *d, OpId op) {
    const Code *code = d->build->code;
    ValueList   xs = derive_moving(d, op, false);
    uint32_t   *which = ARENA_ARRAY(derive_scratch(d), uint32_t, code->ops.results_count[op.row]);
    uint32_t    count = derive_moving_results(d, op, 0, which);
    ValueId    *all = ARENA_ARRAY(derive_scratch(d), ValueId, code->ops.results_count[op.row]);
    ValueId    *ys = ARENA_ARRAY(derive_scratch(d), ValueId, count);
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, count);
    FlowBuild   f = open_branches(d, op);
    for (uint32_t k = 0; k < count; k++)
        types[k] = build_type(d->build, op_result(code, op, which[k]));
    for (uint32_t i = 0; i < f.count; i++) {
        uint32_t first = code->ops.table.count;
        flow_enter(&f, i);
        clone_over(d->build, code, flow_block(code, op, i), true, NULL, derive_scratch(d), all);
        for (uint32_t k = 0; k < count; k++) ys[k] = all[which[k]];
        Derive inner = derive_inner(d, first);
        derive_keep_tangents(&inner, d, &xs);
        push_block(&inner, &xs, ys, count, ys);
        derive_inner_end(d, &inner);
        flow_return(&f, ys, count);
    }
    OpId made = close_branches(d, &f, op, types, count);
    for (uint32_t k = 0; k < count; k++)
        derive_set_tangent(d, op_result(code, op, which[k]), op_result(code, made, k));
}

/* --- graphs with a gradient of their own ------------------------------------------------------ */
/* The rows of a graph, with values in the place of its arguments; out: what it returns. Its own
 * derivative rows are gone: graphs that are called go first (differentiate.c). */
static void clone_graph(Derive *d, uint64_t name, bool pure, const ValueId *args, ValueId *out) {
    const Code *old = d->rw->old;
    GraphId     graph = code_find_graph(old, (StrId){(uint32_t)name});
    clone_over(d->build, old, old->graphs.block[graph.row], pure, args, derive_scratch(d), out);
}
static void vjp_custom_grad(Vjp *v) {
    Derive         *d = v->d;
    const Code     *code = d->build->code;
    const uint64_t *attrs = op_attrs(d->build->world, code, v->op);
    uint32_t        operands = code->ops.operands_count[v->op.row], count = operands, at = 0;
    uint32_t        most = operands + code->ops.results_count[v->op.row];
    ValueId        *given = ARENA_ARRAY(derive_scratch(d), ValueId, most + 1);
    ValueId        *grads = ARENA_ARRAY(derive_scratch(d), ValueId, operands + 1);
    for (uint32_t i = 0; i < operands; i++) given[i] = op_operand(code, v->op, i);
    for (uint32_t i = 0; i < code->ops.results_count[v->op.row]; i++) {
        ValueId y = op_result(code, v->op, i);
        if (derive_moves(d, y))
            given[count++] = derive_or_zeros(d, v->cts[i], build_type(d->build, y));
    }
    clone_graph(d, attrs[ATTR_CUSTOM_GRAD_gradient], false, given, grads);
    for (uint32_t i = 0; i < operands; i++)
        if (derive_moves(d, given[i])) derive_give(v, given[i], grads[at++]);
}
static void jvp_custom_grad(Derive *d, OpId op) {
    const Code     *code = d->build->code;
    const uint64_t *attrs = op_attrs(d->build->world, code, op);
    uint32_t        first = code->ops.table.count, results = code->ops.results_count[op.row];
    ValueList       xs = derive_moving(d, op, true);
    ValueId        *ys = ARENA_ARRAY(derive_scratch(d), ValueId, results);
    clone_graph(d, attrs[ATTR_CUSTOM_GRAD_graph], true, op_operands(code, op), ys);
    Derive inner = derive_inner(d, first);
    derive_keep_tangents(&inner, d, &xs);
    derive_mark(&inner, xs.at, xs.count, ys, results);
    derive_push(&inner);
    derive_inner_end(d, &inner);
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
                                             [OP_WHILE] = derive_push_loop,
                                             [OP_SCAN] = derive_push_loop,
                                             [OP_CUSTOM_GRAD] = jvp_custom_grad};
static PullFn *const pull_rules[OP_COUNT] = {[OP_IF] = vjp_branches,
                                             [OP_SWITCH] = vjp_branches,
                                             [OP_WHILE] = derive_pull_while,
                                             [OP_SCAN] = derive_pull_segments,
                                             [OP_CUSTOM_GRAD] = vjp_custom_grad};

void derive_push_control(Derive *d, OpId op) {
    const Code *code = d->build->code;
    ValueList   xs = derive_moving(d, op, true);
    uint32_t    results = code->ops.results_count[op.row], opcode = code->ops.opcode[op.row];
    uint64_t    words[1] = {op.row};
    TypeId     *types = ARENA_ARRAY(derive_scratch(d), TypeId, results);
    uint32_t   *which = ARENA_ARRAY(derive_scratch(d), uint32_t, results);
    if (xs.count == 0 || derive_moving_results(d, op, 0, which) == 0) return;
    if (push_rules[opcode] == NULL) {
        derive_fail(d, op);
        return;
    }
    if (!d->reverse) {
        push_rules[opcode](d, op);
        return;
    }
    ValueId *tangents = ARENA_ARRAY(derive_scratch(d), ValueId, xs.count);
    for (uint32_t i = 0; i < xs.count; i++) tangents[i] = derive_tangent(d, xs.at[i]);
    for (uint32_t i = 0; i < results; i++) types[i] = build_type(d->build, op_result(code, op, i));
    OpId made = flow_row(d->build, OP_PULLBACK, tangents, xs.count, words, types, results);
    for (uint32_t i = 0; i < results; i++) {
        ValueId y = op_result(code, op, i);
        if (derive_moves(d, y) && !value_id_some(derive_tangent(d, y)))
            derive_set_tangent(d, y, op_result(code, made, i));
    }
}

void derive_pull_control(Derive *d, OpId pullback, ValueId *cotangents) {
    const Code *code = d->build->code;
    OpId        op = {(uint32_t)op_attrs(d->build->world, code, pullback)[ATTR_PULLBACK_row]};
    uint32_t    results = code->ops.results_count[op.row];
    ValueId    *cts = ARENA_ARRAY(derive_scratch(d), ValueId, results);
    bool        any = false;
    for (uint32_t i = 0; i < results; i++) {
        cts[i] = cotangents[op_result(code, pullback, i).row];
        any |= value_id_some(cts[i]);
    }
    Vjp v = {d, op, cts, cotangents};
    if (any) pull_rules[code->ops.opcode[op.row]](&v);
}
