/* Transforms of loops alone: their number, order and way of running. What is computed stays where
 * it is; orders change only where iterations meet in nothing but sums. */
#include "systems/transform_inner.h"

enum { UNROLLED_MAX = 64, NEST_MAX = 16 };

static bool holds_one_loop(const Schedule *s, uint32_t row) {
    const LoopNodes *nodes = &s->loops->nodes;
    return nodes->size[row] > 1 && nodes->kind[row + 1] == NODE_LOOP &&
           nodes->size[row] == nodes->size[row + 1] + 1;
}

bool transform_FUSE(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   outer = transform_row(s, n[0], NODE_LOOP), inner = outer + 1;
    if (outer == 0) return transform_refuse(s, transform_no_loop);
    if (!holds_one_loop(s, outer))
        return transform_refuse(s, "the loop holds more or less than one loop");
    DimId symbols[2] = {nodes->var[outer], nodes->var[inner]}, extent = nodes->extent[inner];
    if (dims_contains(&loops->dims, extent, symbols[0]))
        return transform_refuse(s, "the inner extent depends on the outer loop");
    DimId product = dims_mul(&loops->dims, nodes->extent[outer], extent);
    if (!dim_id_some(product)) return transform_refuse(s, transform_too_complex);
    DimId    var = transform_variable(loops, product);
    DimId    quotient = dims_floordiv(&loops->dims, var, extent);
    DimId    rest = dims_mod(&loops->dims, var, extent), values[2] = {quotient, rest};
    uint32_t last = transform_end(s, outer);
    if (!dim_id_some(quotient) || !dim_id_some(rest))
        return transform_refuse(s, transform_too_complex);
    uint32_t bind = nodes->bind[outer] & BIND_PARALLEL;
    Subst    sub = subst_begin(loops, s->scratch, symbols, values, 2);
    Edit     e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, outer, 0);
    (void)transform_edit_loop(&e, transform_edit_depth(&e, outer), var, product, (LoopBind)bind);
    transform_edit_copy(&e, &sub, inner + 1, last, -1);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end_bound(&e);
}

/* A loop as two: the outer one, of parts, takes the lanes; value: of the old variable. */
typedef struct Nest {
    DimId outer, groups, inner, left, value;
} Nest;
static Edit nest(Schedule *s, uint32_t loop, Nest to) {
    LoopNodes *nodes = &s->loops->nodes;
    uint32_t   bind = nodes->bind[loop], depth, last = transform_end(s, loop);
    Subst      sub = subst_begin(s->loops, s->scratch, &nodes->var[loop], &to.value, 1);
    Edit       e = transform_edit_begin(s);
    depth = transform_edit_depth(&e, loop);
    transform_edit_copy(&e, NULL, e.old, loop, 0);
    (void)transform_edit_loop(&e, depth, to.outer, to.groups, (LoopBind)(bind & BIND_PARALLEL));
    NodeId second = transform_edit_loop(&e, depth + 1, to.inner, to.left,
                                        (LoopBind)(bind & ~(uint32_t)BIND_PARALLEL));
    nodes->factor[second.row] = nodes->factor[loop];
    nodes->unroll[second.row] = nodes->unroll[loop];
    transform_edit_copy(&e, &sub, loop + 1, last, 1);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return e;
}

bool transform_SPLIT(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Dims      *dims = &loops->dims;
    uint32_t   loop = transform_row(s, n[0], NODE_LOOP);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (n[1] == 0) return transform_refuse(s, "the factor is 0");
    DimId extent = nodes->extent[loop], size = dims_const(dims, n[1]);
    if (n[2] != 0) size = dims_max(dims, size, dims_ceildiv(dims, extent, dims_const(dims, n[2])));
    if (!dim_id_some(size)) return transform_refuse(s, transform_too_complex);
    DimId groups = dims_ceildiv(dims, extent, size);
    if (!dim_id_some(groups)) return transform_refuse(s, transform_too_complex);
    DimId outer = transform_variable(loops, groups), begun = dims_mul(dims, outer, size);
    DimId whole = dims_floordiv(dims, extent, size);
    if (!dim_id_some(begun) || !dim_id_some(whole))
        return transform_refuse(s, transform_too_complex);
    whole = dims_mul(dims, whole, size);
    bool  even = whole.row == extent.row;
    DimId left = even ? size : dims_min(dims, size, dims_sub(dims, extent, begun));
    DimId inner = transform_variable(loops, left), value = dims_add(dims, begun, inner);
    if (!dim_id_some(left) || !dim_id_some(value))
        return transform_refuse(s, transform_too_complex);
    Edit e = nest(s, loop, (Nest){outer, groups, inner, left, value});
    return transform_edit_end(&e);
}

/* --- order ------------------------------------------------------------------------------------ */
/* Accesses of one buffer that may come in any order: loads only, or one kind of reduction. */
static bool may_meet(const Schedule *s, const Accesses *list) {
    bool loads = true, sums = true;
    for (uint32_t i = 0; i < list->count; i++) {
        const Access *access = &list->rows[i];
        loads &= access->kind == ACCESS_LOAD;
        sums &= access->kind == ACCESS_REDUCE &&
                s->loops->nodes.reduce[access->row] == s->loops->nodes.reduce[list->rows[0].row];
    }
    return loads || sums;
}
/* Iterations of the nest [top, moved] may run in any order. */
static bool may_reorder(Schedule *s, uint32_t top, uint32_t moved) {
    const LoopKernels *kernels = &s->loops->kernels;
    for (uint32_t i = 0; i < kernels->buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {kernels->buffers_first[s->kernel.row] + i};
        Accesses list = transform_accesses(s, moved, transform_end(s, moved), buffer);
        if (may_meet(s, &list) || transform_private(s, moved, buffer)) continue;
        for (uint32_t loop = top; loop <= moved; loop++)
            if (!transform_pinned(s, &list, loop, 0)) return false;
    }
    return true;
}
bool transform_REORDER(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   top = transform_row(s, n[0], NODE_LOOP), moved = transform_row(s, n[1], NODE_LOOP);
    if (top == 0 || moved == 0) return transform_refuse(s, transform_no_loop);
    if (moved <= top) return transform_refuse(s, "the second loop is not inside the first");
    for (uint32_t row = top; row < moved; row++) {
        if (nodes->kind[row] != NODE_LOOP || !holds_one_loop(s, row))
            return transform_refuse(s, "between the two are other things than loops");
        if (dims_contains(&loops->dims, nodes->extent[moved], nodes->var[row]))
            return transform_refuse(s, "the extent of the inner loop depends on an outer one");
        if (nodes->bind[row] & BIND_PARALLEL)
            return transform_refuse(s, "a parallel loop must stay outermost");
    }
    if (nodes->bind[moved] & BIND_VECTOR)
        return transform_refuse(s, "a vector loop must stay innermost");
    if (!may_reorder(s, top, moved))
        return transform_refuse(s, "iterations may touch one element in more than sums");
    Edit     e = transform_edit_begin(s);
    uint32_t down = moved - top;
    transform_edit_copy(&e, NULL, e.old, top, 0);
    transform_edit_copy(&e, NULL, moved, moved + 1, -(int32_t)down);
    transform_edit_copy(&e, NULL, top, moved, 1);
    transform_edit_copy(&e, NULL, moved + 1, e.old_last, 0);
    return transform_edit_end(&e);
}

bool transform_DEAL(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Dims      *dims = &loops->dims;
    uint32_t   loop = transform_row(s, n[0], NODE_LOOP);
    DimId      one = dims_const(dims, 1);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (n[1] == 0 || n[2] == 0) return transform_refuse(s, "the least or the groups are 0");
    if (!may_reorder(s, loop, loop))
        return transform_refuse(s, "iterations may touch one element in more than sums");
    DimId extent = nodes->extent[loop];
    DimId groups = dims_ceildiv(dims, extent, dims_const(dims, n[1]));
    if (!dim_id_some(groups)) return transform_refuse(s, transform_too_complex);
    groups = dims_max(dims, dims_min(dims, groups, dims_const(dims, n[2])), one);
    DimId outer = transform_variable(loops, groups);
    DimId left = dims_sub(dims, extent, outer);
    if (dim_id_some(left)) left = dims_ceildiv(dims, left, groups);
    DimId inner = transform_variable(loops, left), value = dims_mul(dims, inner, groups);
    if (dim_id_some(value)) value = dims_add(dims, value, outer);
    if (!dim_id_some(left) || !dim_id_some(value))
        return transform_refuse(s, transform_too_complex);
    Edit e = nest(s, loop, (Nest){outer, groups, inner, left, value});
    return transform_edit_end_bound(&e);
}

static bool may_merge(Schedule *s, uint32_t a, uint32_t b) {
    const LoopKernels *kernels = &s->loops->kernels;
    for (uint32_t i = 0; i < kernels->buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {kernels->buffers_first[s->kernel.row] + i};
        Accesses in_a = transform_accesses(s, a, transform_end(s, a), buffer);
        Accesses both = transform_accesses(s, a, transform_end(s, b), buffer);
        if (in_a.count == 0 || in_a.count == both.count || may_meet(s, &both)) continue;
        if (!transform_pinned(s, &both, a, b)) return false;
    }
    return true;
}
bool transform_MERGE(Schedule *s, const int64_t *n) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   a = transform_row(s, n[0], NODE_LOOP), last = transform_last(s);
    bool       phases = a == 0;
    if (phases) a = transform_row(s, n[0], NODE_PHASE);
    if (a == 0) return transform_refuse(s, "there is no loop or phase at this position");
    uint32_t b = transform_end(s, a);
    if (b >= last || nodes->kind[a] != nodes->kind[b] ||
        transform_parent(s, a) != transform_parent(s, b))
        return transform_refuse(s, "no neighbour of its kind follows");
    uint32_t x = a + phases, y = b + phases;
    if (phases && (!holds_one_loop(s, a) || !holds_one_loop(s, b)))
        return transform_refuse(s, "a phase holds more or less than one loop");
    if (nodes->extent[x].row != nodes->extent[y].row || nodes->bind[x] != nodes->bind[y])
        return transform_refuse(s, "the loops differ in extent or in how they run");
    if (!may_merge(s, x, y))
        return transform_refuse(s, "what one writes the other touches in other iterations");
    uint32_t end_a = transform_end(s, a), end_b = transform_end(s, b);
    Subst    sub = subst_begin(loops, s->scratch, &nodes->var[y], &nodes->var[x], 1);
    Edit     e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, end_a, 0);
    transform_edit_copy(&e, &sub, y + 1, end_b, 0);
    transform_edit_copy(&e, NULL, end_b, e.old_last, 0);
    return transform_edit_end(&e);
}

/* Whether one of two lists writes what the other touches. */
static bool disturb(const Accesses *a, const Accesses *b) {
    bool a_writes = false, b_writes = false;
    for (uint32_t i = 0; i < a->count; i++) a_writes |= a->rows[i].kind != ACCESS_LOAD;
    for (uint32_t i = 0; i < b->count; i++) b_writes |= b->rows[i].kind != ACCESS_LOAD;
    return a->count != 0 && b->count != 0 && (a_writes || b_writes);
}
bool transform_MOVE(Schedule *s, const int64_t *n) {
    const LoopKernels *kernels = &s->loops->kernels;
    uint32_t moved = transform_row(s, n[0], NODE_PHASE), last = transform_row(s, n[1], NODE_PHASE);
    if (moved == 0 || last == 0 || last <= moved)
        return transform_refuse(s, "these are not two phases, the later one second");
    uint32_t between = transform_end(s, moved), end = transform_end(s, last);
    for (uint32_t i = 0; i < kernels->buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {kernels->buffers_first[s->kernel.row] + i};
        Accesses own = transform_accesses(s, moved, between, buffer);
        Accesses others = transform_accesses(s, between, end, buffer);
        if (disturb(&own, &others))
            return transform_refuse(s, "a phase that it would pass needs it, or is needed by it");
    }
    Edit e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, moved, 0);
    transform_edit_copy(&e, NULL, between, end, 0);
    transform_edit_copy(&e, NULL, moved, between, 0);
    transform_edit_copy(&e, NULL, end, e.old_last, 0);
    return transform_edit_end(&e);
}

static bool has_parallel(const Schedule *s, uint32_t phase) {
    const LoopNodes *nodes = &s->loops->nodes; /* it stands right inside */
    return nodes->size[phase] > 1 && (nodes->bind[phase + 1] & BIND_PARALLEL);
}
bool transform_APPEND(Schedule *s, const int64_t *n) {
    uint32_t first = transform_row(s, n[0], NODE_PHASE);
    uint32_t second = first != 0 ? transform_end(s, first) : 0;
    if (first == 0 || second >= transform_last(s))
        return transform_refuse(s, "these are not two neighbouring phases");
    if (has_parallel(s, first) || has_parallel(s, second))
        return transform_refuse(s, "a phase has a parallel loop");
    Edit e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, second, 0);
    transform_edit_copy(&e, NULL, second + 1, e.old_last, 0);
    return transform_edit_end(&e);
}

bool transform_FLATTEN(Schedule *s, const int64_t *n) {
    uint32_t fused = 0;
    while (transform_FUSE(s, n)) fused++;
    return fused != 0;
}
bool transform_TILE(Schedule *s, const int64_t *n) {
    if (n[1] != n[0] + 1)
        return transform_refuse(s, "the second loop is not just inside the first");
    int64_t inner[3] = {n[1], n[3], 0}, outer[3] = {n[0], n[2], 0}; /* i j0 j1, i0 i1 j0 j1 */
    return transform_SPLIT(s, inner) && transform_SPLIT(s, outer) &&
           transform_REORDER(s, (int64_t[]){n[0] + 1, n[0] + 2});
}

/* --- ways of running -------------------------------------------------------------------------- */
static bool annotate(Schedule *s, uint32_t loop, uint32_t bind, int64_t factor, int64_t unroll) {
    LoopNodes *nodes = &s->loops->nodes;
    if (factor > UINT16_MAX || unroll > UINT8_MAX)
        return transform_refuse(s, "the factor exceeds 65535, or unroll 255");
    Edit     e = transform_edit_begin(s);
    uint32_t row = nodes->table.count + (loop - e.old);
    transform_edit_copy(&e, NULL, e.old, e.old_last, 0);
    nodes->bind[row] = (uint8_t)bind;
    nodes->factor[row] = (uint16_t)factor;
    nodes->unroll[row] = (uint8_t)unroll;
    return transform_edit_end(&e);
}
bool transform_BIND(Schedule *s, const int64_t *n) {
    uint32_t loop = transform_row(s, n[0], NODE_LOOP);
    uint32_t all = BIND_PARALLEL | BIND_VECTOR | BIND_UNROLL | BIND_THREAD;
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if ((n[1] & ~(int64_t)all) != 0) return transform_refuse(s, "there is no such way of running");
    if (!transform_may_bind(s, loop, (uint32_t)n[1])) return false;
    return annotate(s, loop, (uint32_t)n[1], n[2], n[3]);
}
bool transform_ANNOTATE(Schedule *s, const int64_t *n) {
    uint32_t loop = transform_row(s, n[0], NODE_LOOP);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    return annotate(s, loop, s->loops->nodes.bind[loop], n[1], n[2]);
}

/* --- copies ----------------------------------------------------------------------------------- */
/* The body of a loop with its variable replaced; inner loops get variables of their own. */
static void copy_body(Edit *e, uint32_t loop, DimId value, int32_t deeper) {
    Schedule        *s = e->s;
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         last = transform_end(s, loop), first = nodes->table.count, count = 1;
    DimId           *symbols = ARENA_ARRAY(s->scratch, DimId, last - loop);
    DimId           *values = ARENA_ARRAY(s->scratch, DimId, last - loop);
    symbols[0] = nodes->var[loop];
    values[0] = value;
    for (uint32_t row = loop + 1; row < last; row++) {
        if (nodes->kind[row] != NODE_LOOP) continue;
        Subst sub = subst_begin(s->loops, s->scratch, symbols, values, count);
        symbols[count] = nodes->var[row];
        values[count++] = transform_variable(s->loops, subst_dim(&sub, nodes->extent[row]));
        e->failed |= sub.failed;
    }
    Subst sub = subst_begin(s->loops, s->scratch, symbols, values, count);
    if (e->failed) return;
    transform_edit_copy(e, &sub, loop + 1, last, deeper);
    for (uint32_t row = first, k = 1; row < nodes->table.count; row++)
        if (nodes->kind[row] == NODE_LOOP) nodes->var[row] = values[k++];
}
bool transform_UNROLL(Schedule *s, const int64_t *n) {
    Loops   *loops = s->loops;
    uint32_t loop = transform_row(s, n[0], NODE_LOOP);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (loops->nodes.bind[loop] & (BIND_PARALLEL | BIND_THREAD))
        return transform_refuse(s, "the loop is parallel");
    DimId   extent = loops->nodes.extent[loop];
    bool    constant = dims_is_const(&loops->dims, extent);
    int64_t count = constant ? dims_const_value(&loops->dims, extent) : 0;
    if (count < 1 || count > UNROLLED_MAX)
        return transform_refuse(s, "the extent is not a constant from 1 to 64");
    uint32_t last = transform_end(s, loop);
    Edit     e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, loop, 0);
    for (int64_t i = 0; i < count && !e.failed; i++)
        copy_body(&e, loop, dims_const(&loops->dims, i), -1);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end(&e);
}
bool transform_UNIT(Schedule *s, const int64_t *n) {
    Loops   *loops = s->loops;
    uint32_t node = n[0] == 0 || n[0] >= (int64_t)loops->kernels.nodes_count[s->kernel.row]
                        ? 0
                        : schedule_node(s, (uint32_t)n[0]);
    if (node == 0 || loops->nodes.kind[node] == NODE_PHASE)
        return transform_refuse(s, "there is no loop or statement at this position");
    uint32_t parent = transform_parent(s, node), bind = loops->nodes.bind[node];
    DimId    one = dims_const(&loops->dims, 1);
    /* a parallel loop stays outermost, and vector loops hold no loop */
    if ((bind & BIND_PARALLEL) || (loops->nodes.bind[parent] & BIND_VECTOR))
        return transform_refuse(s, "it is a parallel loop, or in a vector loop");
    uint32_t last = transform_end(s, node);
    Edit     e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, node, 0);
    (void)transform_edit_loop(&e, transform_edit_depth(&e, node), transform_variable(loops, one),
                              one, BIND_SERIAL);
    transform_edit_copy(&e, NULL, node, last, 1);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end(&e);
}
bool transform_PEEL(Schedule *s, const int64_t *n) {
    Loops   *loops = s->loops;
    Dims    *dims = &loops->dims;
    uint32_t loop = transform_row(s, n[0], NODE_LOOP);
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    if (n[1] < 2) return transform_refuse(s, "the factor is below 2");
    if (loops->nodes.bind[loop] & (BIND_PARALLEL | BIND_THREAD))
        return transform_refuse(s, "the loop is parallel");
    DimId factor = dims_const(dims, n[1]), extent = loops->nodes.extent[loop];
    DimId whole = dims_floordiv(dims, extent, factor);
    if (dim_id_some(whole)) whole = dims_mul(dims, whole, factor);
    DimId left = dim_id_some(whole) ? dims_sub(dims, extent, whole) : whole;
    if (!dim_id_some(left)) return transform_refuse(s, transform_too_complex);
    if (whole.row == extent.row) return transform_refuse(s, "the factor divides the extent");
    DimId    var = transform_variable(loops, left), value = dims_add(dims, whole, var);
    uint32_t last = transform_end(s, loop);
    if (!dim_id_some(value)) return transform_refuse(s, transform_too_complex);
    Edit     e = transform_edit_begin(s);
    uint32_t main = loops->nodes.table.count + (loop - e.old);
    transform_edit_copy(&e, NULL, e.old, last, 0);
    loops->nodes.extent[main] = whole;
    NodeId rest = transform_edit_loop(&e, transform_edit_depth(&e, loop), var, left,
                                      (LoopBind)loops->nodes.bind[loop]);
    loops->nodes.factor[rest.row] = loops->nodes.factor[loop];
    loops->nodes.unroll[rest.row] = loops->nodes.unroll[loop];
    copy_body(&e, loop, value, 0);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end(&e);
}

/* --- parts ------------------------------------------------------------------------------------ */
/* The least number inside the extent at which a < b changes with the variable alone, or extent. */
static int64_t changes_at(Dims *dims, DimId a, DimId b, DimId var, int64_t extent) {
    DimId step, rest, ahead = dims_sub(dims, b, a);
    if (!dim_id_some(ahead) || !dims_linear_in(dims, ahead, var, &step, &rest) ||
        !dims_is_const(dims, step) || !dims_is_const(dims, rest))
        return extent;
    int64_t by = dims_const_value(dims, step), from = dims_const_value(dims, rest), at = extent;
    if (by == 1) at = 1 - from; /* 0 < var + from */
    if (by == -1) at = from;    /* 0 < from - var */
    return at > 0 && at < extent ? at : extent;
}
static int64_t find_part(Schedule *s, uint32_t loop, int64_t extent) {
    const LoopNodes *nodes = &s->loops->nodes;
    const LoopExprs *exprs = &s->loops->exprs;
    uint8_t         *seen = ARENA_ARRAY_ZERO(s->scratch, uint8_t, exprs->table.count);
    int64_t          part = extent;
    for (uint32_t row = loop; row < transform_end(s, loop); row++)
        seen[nodes->value[row].row] = seen[nodes->guard[row].row] = 1;
    for (uint32_t row = exprs->table.count; row-- > 1;) { /* operands have lower rows */
        if (!seen[row]) continue;
        seen[exprs->a[row].row] = seen[exprs->b[row].row] = seen[exprs->c[row].row] = 1;
        if (exprs->kind[row] != EXPR_LESS) continue;
        DimId   a = {(uint32_t)(exprs->word[row] >> 32)}, b = {(uint32_t)exprs->word[row]};
        int64_t at = changes_at(&s->loops->dims, a, b, nodes->var[loop], extent);
        if (at < part) part = at;
    }
    return part;
}
/* The phase with variables of its own, one of its loops over [base, base + extent). */
static void copy_nest(Edit *e, uint32_t phase, uint32_t loop, DimId base, DimId extent) {
    Schedule  *s = e->s;
    LoopNodes *nodes = &s->loops->nodes;
    uint32_t   last = transform_end(s, phase), first = nodes->table.count, count = 0;
    DimId      symbols[NEST_MAX], values[NEST_MAX], vars[NEST_MAX], extents[NEST_MAX];
    for (uint32_t row = phase + 1; row < last; row++) {
        if (nodes->kind[row] != NODE_LOOP) continue;
        Subst sub = subst_begin(s->loops, s->scratch, symbols, values, count);
        extents[count] = row == loop ? extent : subst_dim(&sub, nodes->extent[row]);
        vars[count] = transform_variable(s->loops, extents[count]);
        values[count] = row == loop ? dims_add(&s->loops->dims, base, vars[count]) : vars[count];
        e->failed |= sub.failed || !dim_id_some(values[count]);
        symbols[count++] = nodes->var[row];
    }
    Subst sub = subst_begin(s->loops, s->scratch, symbols, values, count);
    if (e->failed) return;
    transform_edit_copy(e, &sub, phase, last, 0);
    for (uint32_t row = first, k = 0; row < nodes->table.count; row++) {
        if (nodes->kind[row] != NODE_LOOP) continue;
        nodes->var[row] = vars[k];
        nodes->extent[row] = extents[k++];
    }
}
bool transform_PARTITION(Schedule *s, const int64_t *n) {
    Loops   *loops = s->loops;
    Dims    *dims = &loops->dims;
    uint32_t loop = transform_row(s, n[0], NODE_LOOP), phase = loop;
    if (loop == 0) return transform_refuse(s, transform_no_loop);
    while (loops->nodes.kind[phase] != NODE_PHASE) phase--;
    uint32_t last = transform_end(s, phase), nest = phase, loops_count = 0;
    while (holds_one_loop(s, nest)) nest++;
    for (uint32_t row = phase; row < last; row++)
        loops_count += loops->nodes.kind[row] == NODE_LOOP;
    if (loop > nest || nest - phase != loops_count || loops_count > NEST_MAX)
        return transform_refuse(s, "the phase is not one nest of loops");
    DimId   extent = loops->nodes.extent[loop];
    int64_t whole = dims_is_const(dims, extent) ? dims_const_value(dims, extent) : INT64_MAX;
    int64_t part = find_part(s, loop, whole);
    if (part == whole)
        return transform_refuse(s, "no condition on the loop alone changes at a number");
    DimId at = dims_const(dims, part), none = dims_const(dims, 0);
    DimId below = dims_min(dims, at, extent), rest = dims_sub(dims, extent, at);
    if (dim_id_some(rest)) rest = dims_max(dims, rest, none);
    if (!dim_id_some(below) || !dim_id_some(rest))
        return transform_refuse(s, transform_too_complex);
    if (!may_reorder(s, phase + 1, nest))
        return transform_refuse(s, "iterations may touch one element in more than sums");
    Edit e = transform_edit_begin(s);
    transform_edit_copy(&e, NULL, e.old, phase, 0);
    copy_nest(&e, phase, loop, none, below);
    copy_nest(&e, phase, loop, at, rest);
    transform_edit_copy(&e, NULL, last, e.old_last, 0);
    return transform_edit_end(&e);
}
