/* The transforms. All share one pattern: rows before the changed subtree are copied, the subtree is
 * written anew, rows after it are copied, and the sizes of the nodes around it are corrected. */
#include "systems/transform.h"

#include "systems/subst.h"

#define TRANSFORM_ROW(NAME, text, count, what)                                                     \
    [TRANSFORM_##NAME] = {.name = text, .doc = what, .numbers = count},
const TransformInfo transform_infos[TRANSFORM_COUNT] = {TRANSFORMS(TRANSFORM_ROW)};

/* --- writing a new version -------------------------------------------------------------------- */
typedef struct Rewriting {
    Schedule *s;
    Loops    *loops;
    uint32_t  old, old_count; /* rows of the version that is read */
    uint32_t  first;          /* of the version that is written */
} Rewriting;

static Rewriting begin(Schedule *s) {
    LoopKernels *kernels = &s->loops->kernels;
    ASSERT(s->kernel.row == kernels->table.count - 1);
    Rewriting rw = {.s = s,
                    .loops = s->loops,
                    .old = kernels->nodes_first[s->kernel.row],
                    .old_count = kernels->nodes_count[s->kernel.row],
                    .first = s->loops->nodes.table.count};
    kernels->nodes_count[s->kernel.row] = 0;
    return rw;
}
/* Rows [from, last) of whole subtrees, with symbols replaced; sub may be NULL. */
static void copy(Rewriting *rw, Subst *sub, uint32_t from, uint32_t last) {
    Loops     *loops = rw->loops;
    LoopNodes *nodes = &loops->nodes;
    for (uint32_t row = from; row < last; row++) {
        NodeId to;
        if (nodes->kind[row] == NODE_PHASE) {
            to = loops_phase(loops);
        } else if (nodes->kind[row] == NODE_LOOP) {
            DimId extent = sub ? subst_dim(sub, nodes->extent[row]) : nodes->extent[row];
            to = loops_loop(loops, nodes->var[row], extent, (LoopBind)nodes->bind[row]);
            nodes->factor[to.row] = nodes->factor[row];
            nodes->unroll[to.row] = nodes->unroll[row];
        } else {
            LoopAccess access = nodes->access[row];
            ExprId     value = nodes->value[row], guard = nodes->guard[row];
            if (sub != NULL) {
                access = subst_access(sub, access);
                value = subst_expr(sub, value);
                guard = subst_expr(sub, guard);
            }
            to = nodes->kind[row] == NODE_STORE
                     ? loops_store(loops, access, value, guard)
                     : loops_reduce(loops, (ReduceKind)nodes->reduce[row], access, value, guard);
        }
        nodes->size[to.row] = nodes->size[row];
    }
}
/* Closes the version: the subtree that stood at old row `at` grew by `grown` nodes. */
static void finish(Rewriting *rw, uint32_t at, int32_t grown, Transform transform,
                   const int64_t *numbers) {
    Loops       *loops = rw->loops;
    LoopKernels *kernels = &loops->kernels;
    uint32_t     kernel = rw->s->kernel.row;
    for (uint32_t row = rw->old; row < at; row++)
        if (row + loops->nodes.size[row] > at)
            loops->nodes.size[row - rw->old + rw->first] =
                (uint32_t)((int32_t)loops->nodes.size[row] + grown);
    kernels->nodes_first[kernel] = rw->first;
    ASSERT(kernels->nodes_count[kernel] == loops->nodes.table.count - rw->first);
    uint32_t step = table_add(&loops->steps.table);
    loops->steps.transform[step] = (uint16_t)transform;
    loops->steps.count[step] = (uint16_t)transform_infos[transform].numbers;
    loops->steps.numbers[step] =
        attrs_list(&loops->lists, numbers, transform_infos[transform].numbers);
    kernels->steps_count[kernel]++;
    ASSERT(loops_verify(loops, rw->s->kernel) == NULL);
}
static bool is_loop(const Schedule *s, uint32_t at) {
    return at < s->loops->kernels.nodes_count[s->kernel.row] &&
           s->loops->nodes.kind[schedule_node(s, at)] == NODE_LOOP;
}

/* --- fuse, split, reorder, bind --------------------------------------------------------------- */
bool transform_fuse(Schedule *s, uint32_t at) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    if (!is_loop(s, at) || !is_loop(s, at + 1)) return false;
    uint32_t outer = schedule_node(s, at), inner = outer + 1;
    DimId    symbols[2] = {nodes->var[outer], nodes->var[inner]}, extent = nodes->extent[inner];
    if (nodes->size[outer] != nodes->size[inner] + 1) return false;
    if (dims_contains(&loops->dims, extent, symbols[0])) return false;
    DimId product = dims_mul(&loops->dims, nodes->extent[outer], extent);
    if (!dim_id_some(product)) return false;
    DimId var = loops_fresh(loops, 'i');
    dims_set_below(&loops->dims, var, product);
    DimId     values[2] = {dims_floordiv(&loops->dims, var, extent),
                           dims_mod(&loops->dims, var, extent)};
    Subst     sub = subst_begin(loops, s->scratch, symbols, values, 2);
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, outer);
    NodeId fused = loops_loop(loops, var, product, (LoopBind)nodes->bind[outer]);
    copy(&rw, &sub, inner + 1, inner + nodes->size[inner]);
    loops_end(loops, fused);
    copy(&rw, NULL, outer + nodes->size[outer], rw.old + rw.old_count);
    finish(&rw, outer, -1, TRANSFORM_FUSE, (int64_t[]){at});
    return true;
}

bool transform_split(Schedule *s, uint32_t at, uint32_t factor, uint32_t ways) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Dims      *dims = &loops->dims;
    if (!is_loop(s, at) || factor == 0) return false;
    uint32_t loop = schedule_node(s, at);
    DimId    extent = nodes->extent[loop], size = dims_const(dims, factor);
    if (ways != 0) size = dims_max(dims, size, dims_ceildiv(dims, extent, dims_const(dims, ways)));
    DimId outer = loops_fresh(loops, 'i'), inner = loops_fresh(loops, 'i');
    DimId groups = dims_ceildiv(dims, extent, size), begun = dims_mul(dims, outer, size);
    if (!dim_id_some(groups) || !dim_id_some(begun)) return false;
    dims_set_below(dims, outer, groups);
    bool  even = dims_mul(dims, dims_floordiv(dims, extent, size), size).row == extent.row;
    DimId left = even ? size : dims_min(dims, size, dims_sub(dims, extent, begun));
    dims_set_below(dims, inner, left);
    DimId     value = dims_add(dims, begun, inner);
    Subst     sub = subst_begin(loops, s->scratch, &nodes->var[loop], &value, 1);
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, loop);
    NodeId first = loops_loop(loops, outer, groups, (LoopBind)nodes->bind[loop]);
    NodeId second = loops_loop(loops, inner, left, BIND_SERIAL);
    copy(&rw, &sub, loop + 1, loop + nodes->size[loop]);
    loops_end(loops, second);
    loops_end(loops, first);
    copy(&rw, NULL, loop + nodes->size[loop], rw.old + rw.old_count);
    finish(&rw, loop, 1, TRANSFORM_SPLIT, (int64_t[]){at, factor, ways});
    return true;
}

bool transform_reorder(Schedule *s, uint32_t at, uint32_t from) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    if (from <= at || !is_loop(s, at) || !is_loop(s, from)) return false;
    uint32_t top = schedule_node(s, at), moved = schedule_node(s, from);
    for (uint32_t row = top; row < moved; row++) {
        if (nodes->kind[row] != NODE_LOOP || nodes->size[row] != nodes->size[row + 1] + 1)
            return false;
        if (dims_contains(&loops->dims, nodes->extent[moved], nodes->var[row])) return false;
    }
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, top);
    copy(&rw, NULL, moved, moved + 1);
    copy(&rw, NULL, top, moved);
    uint32_t first = rw.first + at, size = nodes->size[top];
    for (uint32_t i = 0; i <= moved - top; i++) nodes->size[first + i] = size - i;
    copy(&rw, NULL, moved + 1, rw.old + rw.old_count);
    finish(&rw, top, 0, TRANSFORM_REORDER, (int64_t[]){at, from});
    return true;
}

bool transform_separates(Loops *loops, DimId address, DimId var) {
    Dims *dims = &loops->dims;
    DimId step, rest;
    if (!dims_linear_in(dims, address, var, &step, &rest)) return false;
    return !dims_is_const(dims, step) || dims_const_value(dims, step) != 0;
}
/* Side by side, iterations may add to one element all together, or each to its own; they may not
 * store into one. */
static bool vectors_meet(Schedule *s, uint32_t loop) {
    Loops           *loops = s->loops;
    const LoopNodes *nodes = &loops->nodes;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++) {
        if (nodes->kind[row] == NODE_LOOP) continue;
        DimId address = loops_address(loops, nodes->access[row]);
        bool  moves = dims_contains(&loops->dims, address, nodes->var[loop]);
        bool  adds = nodes->kind[row] == NODE_REDUCE;
        if (adds ? moves && !transform_separates(loops, address, nodes->var[loop]) : !moves)
            return true;
    }
    return false;
}
bool transform_bind(Schedule *s, uint32_t at, uint32_t bind, uint32_t factor, uint32_t unroll) {
    LoopNodes *nodes = &s->loops->nodes;
    if (!is_loop(s, at) || factor > UINT16_MAX || unroll > UINT8_MAX) return false;
    uint32_t loop = schedule_node(s, at);
    uint32_t above = at == 0 ? loop : loop - 1;
    bool     outermost = nodes->kind[above] == NODE_PHASE && nodes->size[above] > 1;
    bool     leaf = true;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++)
        leaf &= nodes->kind[row] != NODE_LOOP;
    if ((bind & BIND_PARALLEL) && !outermost) return false;
    if ((bind & BIND_VECTOR) && (!leaf || vectors_meet(s, loop))) return false;
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, rw.old + rw.old_count);
    uint32_t row = rw.first + at;
    nodes->bind[row] = (uint8_t)bind;
    nodes->factor[row] = (uint16_t)factor;
    nodes->unroll[row] = (uint8_t)unroll;
    finish(&rw, loop, 0, TRANSFORM_BIND, (int64_t[]){at, bind, factor, unroll});
    return true;
}

/* --- merge ------------------------------------------------------------------------------------ */
/* Calls visit for every access of the rows [first, last). */
typedef struct Visit {
    Loops   *loops;
    uint8_t *seen; /* by expression row: visited in this sweep */
    void (*access)(struct Visit *visit, LoopAccess access, bool writes);
    void *context;
} Visit;
static void visit_expr(Visit *v, Arena *scratch, ExprId expr) {
    const LoopExprs *exprs = &v->loops->exprs;
    ArenaMark        mark = arena_mark(scratch);
    uint32_t        *stack = ARENA_ARRAY(scratch, uint32_t, (size_t)expr.row * 3 + 4), depth = 0;
    stack[depth++] = expr.row;
    while (depth != 0) {
        uint32_t row = stack[--depth];
        if (row == 0 || v->seen[row]) continue;
        v->seen[row] = 1;
        if (exprs->kind[row] == EXPR_LOAD) v->access(v, exprs->word[row], false);
        stack[depth++] = exprs->a[row].row;
        stack[depth++] = exprs->b[row].row;
        stack[depth++] = exprs->c[row].row;
    }
    arena_release(scratch, mark);
}
static void visit_rows(Visit *v, Arena *scratch, uint32_t first, uint32_t last) {
    Loops *loops = v->loops;
    v->seen = ARENA_ARRAY_ZERO(scratch, uint8_t, loops->exprs.table.count);
    for (uint32_t row = first; row < last; row++) {
        uint8_t kind = loops->nodes.kind[row];
        if (kind != NODE_STORE && kind != NODE_REDUCE) continue;
        v->access(v, loops->nodes.access[row], true);
        visit_expr(v, scratch, loops->nodes.value[row]);
        visit_expr(v, scratch, loops->nodes.guard[row]);
    }
    for (uint32_t row = 1; row < loops->lets.table.count; row++)
        visit_expr(v, scratch, loops->lets.value[row]);
}

/* What the accesses of a subtree to each buffer have in common. */
typedef struct Touch {
    uint8_t read, written;
    ListId  index;  /* of the first access */
    uint8_t common; /* axes on which all accesses so far have the same index */
} Touch;
typedef struct Touches {
    Touch   *rows; /* by buffer, from the kernel's first on */
    uint32_t first, count;
} Touches;

static void note_touch(Visit *v, LoopAccess access, bool writes) {
    Touches *touches = v->context;
    uint32_t buffer = access_buffer(access).row;
    if (buffer < touches->first || buffer >= touches->first + touches->count) return;
    Touch   *touch = &touches->rows[buffer - touches->first];
    ListId   index = access_index(access);
    uint32_t rank = list_count(&v->loops->lists, index);
    if (!touch->read && !touch->written) {
        touch->index = index;
        touch->common = (uint8_t)((1u << rank) - 1);
    }
    for (uint32_t i = 0; i < rank; i++)
        if (list_dim(v->loops, index, i).row != list_dim(v->loops, touch->index, i).row)
            touch->common &= (uint8_t) ~(1u << i);
    *(writes ? &touch->written : &touch->read) = 1;
}
static Touches touches_of(Schedule *s, uint32_t first, uint32_t last) {
    const LoopKernels *kernels = &s->loops->kernels;
    Touches            touches = {.first = kernels->buffers_first[s->kernel.row],
                                  .count = kernels->buffers_count[s->kernel.row]};
    touches.rows = ARENA_ARRAY_ZERO(s->scratch, Touch, touches.count + 1);
    Visit visit = {.loops = s->loops, .access = note_touch, .context = &touches};
    visit_rows(&visit, s->scratch, first, last);
    return touches;
}

/* Whether equal indices mean equal iterations: index = constant * var + what is set outside. */
static bool pins(Schedule *s, DimId index, DimId var, uint32_t loop) {
    Dims *dims = &s->loops->dims;
    DimId coefficient, rest;
    if (!dims_linear_in(dims, index, var, &coefficient, &rest)) return false;
    if (!dims_is_const(dims, coefficient) || dims_const_value(dims, coefficient) == 0) return false;
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++)
        if (nodes->kind[row] == NODE_LOOP && dims_contains(dims, rest, nodes->var[row]))
            return false;
    return true;
}

static bool merge_legal(Schedule *s, uint32_t a, uint32_t b) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    if (nodes->extent[a].row != nodes->extent[b].row || nodes->bind[a] != nodes->bind[b])
        return false;
    Touches in_a = touches_of(s, a, a + nodes->size[a]);
    Touches in_b = touches_of(s, b, b + nodes->size[b]);
    for (uint32_t i = 0; i < in_a.count; i++) {
        const Touch *x = &in_a.rows[i], *y = &in_b.rows[i];
        bool         both = (x->read || x->written) && (y->read || y->written);
        if (!both || !(x->written || y->written)) continue;
        bool     pinned = false;
        uint32_t rank = list_count(&loops->lists, x->index);
        for (uint32_t axis = 0; axis < rank && !pinned; axis++) {
            DimId mine = list_dim(loops, x->index, axis), theirs = list_dim(loops, y->index, axis);
            if (!(x->common & y->common & (1u << axis))) continue;
            DimId same = dims_substitute(&loops->dims, theirs, &nodes->var[b], &nodes->var[a], 1);
            pinned = same.row == mine.row && pins(s, mine, nodes->var[a], a) &&
                     pins(s, theirs, nodes->var[b], b);
        }
        if (!pinned) return false;
    }
    return true;
}

bool transform_merge(Schedule *s, uint32_t at) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   count = loops->kernels.nodes_count[s->kernel.row];
    if (at >= count) return false;
    uint32_t a = schedule_node(s, at), end = a - at + count, b = a + nodes->size[a];
    bool     phases = nodes->kind[a] == NODE_PHASE;
    if (b >= end || nodes->kind[a] != nodes->kind[b]) return false;
    for (uint32_t row = a - at; row < a; row++) /* b is outside a node around a */
        if (row + nodes->size[row] > a && row + nodes->size[row] <= b) return false;
    uint32_t x = a + phases, y = b + phases;
    if (nodes->kind[x] != NODE_LOOP || nodes->kind[y] != NODE_LOOP) return false;
    if (phases && (nodes->size[a] != nodes->size[x] + 1 || nodes->size[b] != nodes->size[y] + 1))
        return false;
    if (!merge_legal(s, x, y)) return false;
    Subst     sub = subst_begin(loops, s->scratch, &nodes->var[y], &nodes->var[x], 1);
    uint32_t  size_a = nodes->size[a], size_b = nodes->size[b];
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, a + size_a);
    copy(&rw, &sub, y + 1, b + size_b);
    uint32_t grown = size_b - 1 - phases;
    nodes->size[rw.first + at] += grown;
    if (phases) nodes->size[rw.first + at + 1] += grown;
    copy(&rw, NULL, b + size_b, end);
    finish(&rw, a, -1 - (int32_t)phases, TRANSFORM_MERGE, (int64_t[]){at});
    return true;
}

/* --- scope ------------------------------------------------------------------------------------ */
/* The innermost loop that holds every access of a buffer; 0 if there is none. */
static uint32_t home_of(Schedule *s, BufferId buffer, Touch *out_touch) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         first = schedule_node(s, 0), home = 0, from = 0, to = 0;
    uint32_t         last = first + s->loops->kernels.nodes_count[s->kernel.row];
    for (uint32_t row = first; row < last; row++) {
        Touches here = touches_of(s, row, row + 1);
        if (!here.rows[buffer.row - here.first].read && !here.rows[buffer.row - here.first].written)
            continue;
        if (from == 0) from = row;
        to = row;
    }
    for (uint32_t row = first; row <= from; row++)
        if (nodes->kind[row] == NODE_LOOP && row + nodes->size[row] > to) home = row;
    Touches all = touches_of(s, first, last);
    *out_touch = all.rows[buffer.row - all.first];
    return from == 0 ? 0 : home;
}

/* Axes that all accesses select by the variables of loops around home alone. */
static uint32_t selected_axes(Schedule *s, uint32_t home, const Touch *touch) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         axes = touch->common, rank = list_count(&s->loops->lists, touch->index);
    uint32_t         first = schedule_node(s, 0);
    uint32_t         last = first + s->loops->kernels.nodes_count[s->kernel.row];
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] != NODE_LOOP || (row <= home && row + nodes->size[row] > home))
            continue;
        for (uint32_t i = 0; i < rank; i++)
            if (dims_contains(&s->loops->dims, list_dim(s->loops, touch->index, i),
                              nodes->var[row]))
                axes &= ~(1u << i);
    }
    return axes;
}

bool transform_scope(Schedule *s, BufferId buffer, BufferScope scope) {
    Loops       *loops = s->loops;
    LoopBuffers *buffers = &loops->buffers;
    Touch        touch;
    if (buffers->scope[buffer.row] != SCOPE_WORK || (scope != SCOPE_LANE && scope != SCOPE_REG))
        return false;
    uint32_t home = home_of(s, buffer, &touch), kept = 0;
    if (home == 0) return false;
    uint32_t axes = selected_axes(s, home, &touch);
    uint32_t rank = list_count(&loops->lists, touch.index);
    DimId    dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++)
        if (!(axes >> i & 1)) dims[kept++] = list_dim(loops, buffers->dims[buffer.row], i);
    if (scope == SCOPE_REG && kept != 0) return false;
    Subst sub = subst_begin(loops, s->scratch, NULL, NULL, 0);
    sub.buffer = buffer;
    sub.dropped = axes;
    Rewriting rw = begin(s);
    buffers->scope[buffer.row] = (uint8_t)scope;
    buffers->dims[buffer.row] = loops_list(loops, dims, kept);
    copy(&rw, &sub, rw.old, rw.old + rw.old_count);
    uint32_t first = loops->kernels.buffers_first[s->kernel.row];
    finish(&rw, rw.old, 0, TRANSFORM_SCOPE, (int64_t[]){buffer.row - first, scope});
    return true;
}

/* --- inline ----------------------------------------------------------------------------------- */
static uint32_t parent_of(const LoopNodes *nodes, uint32_t row) {
    uint32_t parent = row - 1;
    while (parent + nodes->size[parent] <= row) parent--;
    return parent;
}
/* The only store of a buffer that others beside it may take the value of; 0 if there is none. */
static uint32_t find_inlined(Schedule *s, BufferId buffer) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         first = schedule_node(s, 0), store = 0;
    uint32_t         last = first + s->loops->kernels.nodes_count[s->kernel.row];
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        Touches      here = touches_of(s, row, row + 1);
        const Touch *touch = &here.rows[buffer.row - here.first];
        if (touch->written) {
            if (store != 0 || touch->read || nodes->kind[row] != NODE_STORE ||
                expr_id_some(nodes->guard[row]))
                return 0;
            store = row;
        } else if (touch->read) {
            uint32_t rank = list_count(&s->loops->lists, touch->index);
            if (store == 0 || parent_of(nodes, row) != parent_of(nodes, store) ||
                touch->common != (1u << rank) - 1 ||
                touch->index.row != access_index(nodes->access[store]).row)
                return 0;
        }
    }
    return store;
}
bool transform_inline(Schedule *s, BufferId buffer) {
    Loops *loops = s->loops;
    if (loops->buffers.scope[buffer.row] != SCOPE_WORK) return false;
    uint32_t store = find_inlined(s, buffer);
    if (store == 0) return false;
    Subst sub = subst_begin(loops, s->scratch, NULL, NULL, 0);
    sub.inlined = buffer;
    sub.value = loops->nodes.value[store];
    Rewriting rw = begin(s);
    loops->buffers.scope[buffer.row] = SCOPE_REG; /* of no size: nothing uses it any more */
    loops->buffers.dims[buffer.row] = loops_list(loops, NULL, 0);
    copy(&rw, NULL, rw.old, store);
    copy(&rw, &sub, store + 1, rw.old + rw.old_count);
    uint32_t first = loops->kernels.buffers_first[s->kernel.row];
    finish(&rw, store, -1, TRANSFORM_INLINE, (int64_t[]){buffer.row - first});
    return true;
}

/* --- rfactor ---------------------------------------------------------------------------------- */
enum { FACTORED_MAX = 32 };
typedef struct Factored { /* a target of reductions and its partial results */
    BufferId   target, partial;
    ReduceKind kind;
} Factored;

/* Whether each iteration of the loop begins the buffer anew. */
static bool starts_inside(Schedule *s, uint32_t loop, BufferId buffer) {
    const LoopNodes *nodes = &s->loops->nodes;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++)
        if (nodes->kind[row] == NODE_STORE && access_buffer(nodes->access[row]).row == buffer.row)
            return true;
    return false;
}
/* Targets of reductions under a loop that do not move with it; their number, or UINT32_MAX if
 * something else touches one of them. */
static uint32_t find_factored(Schedule *s, uint32_t loop, Factored *out) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    uint32_t   count = 0;
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++) {
        if (nodes->kind[row] != NODE_REDUCE) continue;
        BufferId target = access_buffer(nodes->access[row]);
        if (dims_contains(&loops->dims, loops_address(loops, nodes->access[row]), nodes->var[loop]))
            continue;
        uint8_t scope = loops->buffers.scope[target.row];
        if (scope == SCOPE_REG || scope == SCOPE_LANE) {
            if (!starts_inside(s, loop, target)) return UINT32_MAX;
            continue;
        }
        if (count == FACTORED_MAX) return UINT32_MAX;
        Touches touches = touches_of(s, loop, loop + nodes->size[loop]);
        if (touches.rows[target.row - touches.first].read) return UINT32_MAX;
        for (uint32_t i = 0; i < count; i++)
            if (out[i].target.row == target.row) return UINT32_MAX; /* two reductions into one */
        out[count++] = (Factored){.target = target, .kind = (ReduceKind)nodes->reduce[row]};
    }
    return count;
}

/* Loops over all elements of a buffer; out_index: their variables. Returns the outermost one. */
static uint32_t open_loops(Loops *loops, BufferId buffer, NodeId *out_loops, DimId *out_index) {
    uint32_t rank = buffer_rank(loops, buffer);
    for (uint32_t i = 0; i < rank; i++) {
        DimId extent = list_dim(loops, loops->buffers.dims[buffer.row], i);
        out_index[i] = loops_fresh(loops, 'i');
        dims_set_below(&loops->dims, out_index[i], extent);
        out_loops[i] = loops_loop(loops, out_index[i], extent, BIND_SERIAL);
    }
    return rank;
}
static void close_loops(Loops *loops, const NodeId *open, uint32_t rank) {
    while (rank-- > 0) loops_end(loops, open[rank]);
}

/* for index: partial[place, index] = identity */
static void write_identity(Loops *loops, const Factored *f, DimId place) {
    NodeId   open[SHAPE_RANK_MAX];
    DimId    index[SHAPE_RANK_MAX + 1] = {place};
    uint32_t rank = open_loops(loops, f->target, open, index + 1);
    Dtype    dtype = (Dtype)loops->buffers.dtype[f->partial.row];
    (void)loops_store(loops, access_of(f->partial, loops_list(loops, index, rank + 1)),
                      loops_identity(loops, f->kind, dtype), (ExprId){0});
    close_loops(loops, open, rank);
}
/* phase: for index: for place: target[index] (kind)= partial[place, index] */
static void write_combination(Loops *loops, const Factored *f, DimId places) {
    NodeId   open[SHAPE_RANK_MAX], phase = loops_phase(loops);
    DimId    index[SHAPE_RANK_MAX + 1];
    uint32_t rank = open_loops(loops, f->target, open, index + 1);
    index[0] = loops_fresh(loops, 'i');
    dims_set_below(&loops->dims, index[0], places);
    NodeId loop = loops_loop(loops, index[0], places, BIND_SERIAL);
    ExprId part =
        loops_load(loops, access_of(f->partial, loops_list(loops, index, rank + 1)), (ExprId){0});
    (void)loops_reduce(loops, f->kind, access_of(f->target, loops_list(loops, index + 1, rank)),
                       part, (ExprId){0});
    loops_end(loops, loop);
    close_loops(loops, open, rank);
    loops_end(loops, phase);
}

bool transform_rfactor(Schedule *s, uint32_t at) {
    Loops     *loops = s->loops;
    LoopNodes *nodes = &loops->nodes;
    Factored   factored[FACTORED_MAX];
    if (!is_loop(s, at)) return false;
    uint32_t loop = schedule_node(s, at), phase = loop, last = loop + nodes->size[loop];
    uint32_t count = find_factored(s, loop, factored);
    if (count == 0 || count == UINT32_MAX) return false;
    while (nodes->kind[phase] != NODE_PHASE) phase--;
    DimId places = nodes->extent[loop], place = nodes->var[loop];
    for (uint32_t i = 0; i < count; i++) {
        DimId    shape[SHAPE_RANK_MAX] = {places};
        uint32_t target = factored[i].target.row, rank = buffer_rank(loops, factored[i].target);
        if (rank + 1 > SHAPE_RANK_MAX) return false;
        for (uint32_t k = 0; k < rank; k++)
            shape[k + 1] = list_dim(loops, loops->buffers.dims[target], k);
        Dtype dtype = loops_compute_dtype((Dtype)loops->buffers.dtype[target]);
        factored[i].partial = loops_add_buffer(loops, SCOPE_WORK, dtype, shape, rank + 1);
    }
    Rewriting rw = begin(s);
    copy(&rw, NULL, rw.old, loop + 1);
    uint32_t opened = loops->nodes.table.count;
    for (uint32_t i = 0; i < count; i++) write_identity(loops, &factored[i], place);
    uint32_t inits = loops->nodes.table.count - opened, body = loops->nodes.table.count;
    copy(&rw, NULL, loop + 1, last);
    for (uint32_t row = body; row < loops->nodes.table.count; row++) {
        if (nodes->kind[row] != NODE_REDUCE) continue;
        for (uint32_t i = 0; i < count; i++) {
            if (access_buffer(nodes->access[row]).row != factored[i].target.row) continue;
            DimId    index[SHAPE_RANK_MAX + 1] = {place};
            ListId   list = access_index(nodes->access[row]);
            uint32_t rank = list_count(&loops->lists, list);
            for (uint32_t k = 0; k < rank; k++) index[k + 1] = list_dim(loops, list, k);
            nodes->access[row] = access_of(factored[i].partial, loops_list(loops, index, rank + 1));
            loops->buffers.written[factored[i].partial.row] = true;
        }
    }
    nodes->size[rw.first + at] += inits;
    copy(&rw, NULL, last, phase + nodes->size[phase]);
    for (uint32_t i = 0; i < count; i++) write_combination(loops, &factored[i], places);
    copy(&rw, NULL, phase + nodes->size[phase], rw.old + rw.old_count);
    finish(&rw, loop, (int32_t)inits, TRANSFORM_RFACTOR, (int64_t[]){at});
    return true;
}

/* --- replay ----------------------------------------------------------------------------------- */
bool transform_apply(Schedule *s, Transform transform, const int64_t *n) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row], at = (uint32_t)n[0];
    switch (transform) {
    case TRANSFORM_FUSE: return transform_fuse(s, at);
    case TRANSFORM_SPLIT: return transform_split(s, at, (uint32_t)n[1], (uint32_t)n[2]);
    case TRANSFORM_REORDER: return transform_reorder(s, at, (uint32_t)n[1]);
    case TRANSFORM_MERGE: return transform_merge(s, at);
    case TRANSFORM_BIND:
        return transform_bind(s, at, (uint32_t)n[1], (uint32_t)n[2], (uint32_t)n[3]);
    case TRANSFORM_SCOPE: return transform_scope(s, (BufferId){first + at}, (BufferScope)n[1]);
    case TRANSFORM_INLINE: return transform_inline(s, (BufferId){first + at});
    case TRANSFORM_RFACTOR: return transform_rfactor(s, at);
    default: return false;
    }
}
