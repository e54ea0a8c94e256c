/* The table of transforms, and what all share: rows of a new version are written in order with
 * their depth, which stands in the size column until the edit ends. */
#include "systems/transform_inner.h"

#define TRANSFORM_ROW(NAME, text, count, what)                                                     \
    [TRANSFORM_##NAME] = {.name = text, .doc = what, .numbers = count, .run = transform_##NAME},
const TransformInfo transform_infos[TRANSFORM_COUNT] = {TRANSFORMS(TRANSFORM_ROW)};

Transform transform_find(String name) {
    for (uint32_t i = 0; i < TRANSFORM_COUNT; i++)
        if (str_same(name, str_of(transform_infos[i].name))) return (Transform)i;
    return TRANSFORM_COUNT;
}

static void record(Schedule *s, Transform transform, const int64_t *numbers) {
    Loops   *loops = s->loops;
    uint32_t count = transform_infos[transform].numbers, step = table_add(&loops->steps.table);
    loops->steps.transform[step] = (uint16_t)transform;
    loops->steps.count[step] = (uint16_t)count;
    loops->steps.numbers[step] = attrs_list(&loops->lists, numbers, count);
    loops->kernels.steps_count[s->kernel.row]++;
}
bool transform_apply(Schedule *s, Transform transform, const int64_t *numbers) {
    s->why = NULL;
    if (transform >= TRANSFORM_COUNT) return transform_refuse(s, "there is no such transform");
    if (s->fuel != NULL && *s->fuel == 0) return transform_refuse(s, "no rewrites are left");
    for (uint32_t i = 0; i < transform_infos[transform].numbers; i++)
        if (numbers[i] < 0 || numbers[i] > INT32_MAX)
            return transform_refuse(s, "a number is negative or too large");
    TransformMark mark = transform_mark(s); /* compositions may do a part and then fail */
    if (!transform_infos[transform].run(s, numbers)) {
        transform_restore(s, &mark);
        ASSERT(s->why != NULL);
        return false;
    }
    s->why = NULL; /* compositions may end on a part that is refused */
    if (s->fuel != NULL) --*s->fuel;
    record(s, transform, numbers);
    ASSERT(loops_verify(s->loops, s->kernel) == NULL);
    return true;
}

/* --- trying ----------------------------------------------------------------------------------- */
TransformMark transform_mark(Schedule *s) {
    const LoopKernels *kernels = &s->loops->kernels;
    const LoopBuffers *buffers = &s->loops->buffers;
    uint32_t           first = kernels->buffers_first[s->kernel.row];
    TransformMark      mark = {.nodes_first = kernels->nodes_first[s->kernel.row],
                               .nodes_count = kernels->nodes_count[s->kernel.row],
                               .buffers_count = kernels->buffers_count[s->kernel.row],
                               .steps_count = kernels->steps_count[s->kernel.row]};
    mark.scope = ARENA_ARRAY(s->scratch, uint8_t, mark.buffers_count + 1);
    mark.written = ARENA_ARRAY(s->scratch, bool, mark.buffers_count + 1);
    mark.dims = ARENA_ARRAY(s->scratch, ListId, mark.buffers_count + 1);
    for (uint32_t i = 0; i < mark.buffers_count; i++) {
        mark.scope[i] = buffers->scope[first + i];
        mark.written[i] = buffers->written[first + i];
        mark.dims[i] = buffers->dims[first + i];
    }
    return mark;
}
void transform_restore(Schedule *s, const TransformMark *mark) {
    LoopKernels *kernels = &s->loops->kernels;
    LoopBuffers *buffers = &s->loops->buffers;
    uint32_t     kernel = s->kernel.row, first = kernels->buffers_first[kernel];
    buffers->table.count -= kernels->buffers_count[kernel] - mark->buffers_count;
    s->loops->steps.table.count -= kernels->steps_count[kernel] - mark->steps_count;
    kernels->nodes_first[kernel] = mark->nodes_first;
    kernels->nodes_count[kernel] = mark->nodes_count;
    kernels->buffers_count[kernel] = mark->buffers_count;
    kernels->steps_count[kernel] = mark->steps_count;
    for (uint32_t i = 0; i < mark->buffers_count; i++) {
        buffers->scope[first + i] = mark->scope[i];
        buffers->written[first + i] = mark->written[i];
        buffers->dims[first + i] = mark->dims[i];
    }
}

/* --- writing a new version -------------------------------------------------------------------- */
Edit transform_edit_begin(Schedule *s) {
    const LoopNodes *nodes = &s->loops->nodes;
    ASSERT(s->kernel.row == s->loops->kernels.table.count - 1);
    Edit e = {.s = s, .loops = s->loops, .old = transform_first(s), .first = nodes->table.count};
    uint32_t open = 0;
    e.old_last = transform_last(s);
    uint32_t count = e.old_last - e.old, *ends = ARENA_ARRAY(s->scratch, uint32_t, count + 1);
    e.depth = ARENA_ARRAY(s->scratch, uint32_t, count + 1);
    e.dropped = ARENA_ARRAY_ZERO(s->scratch, uint8_t, count + 1);
    for (uint32_t row = e.old; row < e.old_last; row++) {
        while (open > 0 && ends[open - 1] <= row) open--;
        e.depth[row - e.old] = open;
        ends[open++] = row + nodes->size[row];
    }
    return e;
}
static NodeId at_depth(Edit *e, NodeId node, uint32_t depth) {
    e->loops->nodes.size[node.row] = depth;
    e->loops->kernels.nodes_count[e->s->kernel.row] = e->old_last - e->old; /* until the end */
    return node;
}
NodeId transform_edit_phase(Edit *e) { return at_depth(e, loops_phase(e->loops), 0); }
NodeId transform_edit_loop(Edit *e, uint32_t depth, DimId var, DimId extent, LoopBind bind) {
    e->failed |= !dim_id_some(extent);
    return at_depth(e, loops_loop(e->loops, var, extent, bind), depth);
}
NodeId transform_edit_store(Edit *e, uint32_t depth, LoopAccess access, ExprId value,
                            ExprId guard) {
    e->failed |= !dim_id_some(loops_address(e->loops, access));
    return at_depth(e, loops_store(e->loops, access, value, guard), depth);
}
NodeId transform_edit_reduce(Edit *e, uint32_t depth, ReduceKind kind, LoopAccess access,
                             ExprId value, ExprId guard) {
    e->failed |= !dim_id_some(loops_address(e->loops, access));
    return at_depth(e, loops_reduce(e->loops, kind, access, value, guard), depth);
}
static void copy_row(Edit *e, Subst *sub, uint32_t row, uint32_t depth) {
    Loops     *loops = e->loops;
    LoopNodes *nodes = &loops->nodes;
    LoopAccess access = nodes->access[row];
    ExprId     value = nodes->value[row], guard = nodes->guard[row];
    if (nodes->kind[row] == NODE_PHASE) {
        (void)transform_edit_phase(e);
        return;
    }
    if (nodes->kind[row] == NODE_LOOP) {
        DimId  extent = sub ? subst_dim(sub, nodes->extent[row]) : nodes->extent[row];
        NodeId to =
            transform_edit_loop(e, depth, nodes->var[row], extent, (LoopBind)nodes->bind[row]);
        nodes->factor[to.row] = nodes->factor[row];
        nodes->unroll[to.row] = nodes->unroll[row];
        return;
    }
    if (sub != NULL) {
        access = subst_access(sub, access);
        value = subst_expr(sub, value);
        guard = loops_and(loops, sub->guard, subst_expr(sub, guard));
    }
    if (nodes->kind[row] == NODE_STORE)
        (void)transform_edit_store(e, depth, access, value, guard);
    else
        (void)transform_edit_reduce(e, depth, (ReduceKind)nodes->reduce[row], access, value, guard);
}
void transform_edit_copy(Edit *e, Subst *sub, uint32_t from, uint32_t last, int32_t deeper) {
    for (uint32_t row = from; row < last && !e->failed; row++) {
        if (e->dropped[row - e->old]) continue;
        copy_row(e, sub, row, (uint32_t)((int32_t)transform_edit_depth(e, row) + deeper));
        if (sub != NULL) e->failed |= sub->failed;
    }
}

/* Writes the new rows again without loops and phases that hold no statement. */
static void prune(Edit *e) {
    LoopNodes *nodes = &e->loops->nodes;
    uint32_t   first = e->first, last = nodes->table.count, kept = 0;
    uint8_t   *keep = ARENA_ARRAY_ZERO(e->s->scratch, uint8_t, last - first + 1);
    for (uint32_t row = last, filled = 0; row-- > first;) { /* filled: depths with a statement */
        uint32_t depth = nodes->size[row];
        bool     statement = nodes->kind[row] >= NODE_STORE;
        keep[row - first] = statement || (depth < 31 && (filled >> (depth + 1) & 1));
        if (depth < 31) filled &= (2u << depth) - 1;
        if (keep[row - first] && depth < 32) filled |= 1u << depth;
        kept += keep[row - first];
    }
    if (kept == last - first) return;
    e->first = last;
    for (uint32_t row = first; row < last; row++) {
        if (!keep[row - first]) continue;
        NodeId to = loops_phase(e->loops);
        nodes->kind[to.row] = nodes->kind[row];
        nodes->bind[to.row] = nodes->bind[row];
        nodes->reduce[to.row] = nodes->reduce[row];
        nodes->unroll[to.row] = nodes->unroll[row];
        nodes->factor[to.row] = nodes->factor[row];
        nodes->size[to.row] = nodes->size[row];
        nodes->var[to.row] = nodes->var[row];
        nodes->extent[to.row] = nodes->extent[row];
        nodes->access[to.row] = nodes->access[row];
        nodes->value[to.row] = nodes->value[row];
        nodes->guard[to.row] = nodes->guard[row];
    }
}
/* From depths to sizes, last row first: a node ends where the next one as deep or less begins. */
static void set_sizes(Edit *e) {
    LoopNodes *nodes = &e->loops->nodes;
    uint32_t   last = nodes->table.count, count = last - e->first;
    uint32_t  *depth = ARENA_ARRAY(e->s->scratch, uint32_t, count + 1);
    uint32_t   next[64]; /* by depth: the nearest later node as deep, or less deep */
    for (uint32_t i = 0; i < count; i++) depth[i] = nodes->size[e->first + i];
    for (uint32_t i = 0; i < LENGTH(next); i++) next[i] = last;
    for (uint32_t row = last; row-- > e->first;) {
        uint32_t at = depth[row - e->first];
        ASSERT(at < LENGTH(next));
        nodes->size[row] = next[at] - row;
        for (uint32_t i = at; i < LENGTH(next); i++) next[i] = row;
    }
}
bool transform_edit_end(Edit *e) {
    Loops       *loops = e->loops;
    LoopKernels *kernels = &loops->kernels;
    LoopBuffers *buffers = &loops->buffers;
    uint32_t     kernel = e->s->kernel.row, first = kernels->buffers_first[kernel];
    if (e->failed) {
        kernels->nodes_first[kernel] = e->old;
        kernels->nodes_count[kernel] = e->old_last - e->old;
        return transform_refuse(e->s, transform_too_complex);
    }
    prune(e);
    set_sizes(e);
    kernels->nodes_first[kernel] = e->first;
    kernels->nodes_count[kernel] = loops->nodes.table.count - e->first;
    for (uint32_t i = 0; i < kernels->buffers_count[kernel]; i++)
        buffers->written[first + i] = false;
    for (uint32_t row = e->first; row < loops->nodes.table.count; row++)
        if (loops->nodes.kind[row] >= NODE_STORE)
            buffers->written[access_buffer(loops->nodes.access[row]).row] = true;
    return true;
}
bool transform_edit_end_bound(Edit *e) {
    const LoopNodes *nodes = &e->loops->nodes;
    LoopKernels     *kernels = &e->loops->kernels;
    uint32_t         kernel = e->s->kernel.row;
    if (!transform_edit_end(e)) return false;
    for (uint32_t row = transform_first(e->s); row < transform_last(e->s); row++) {
        if (nodes->kind[row] != NODE_LOOP || nodes->bind[row] == BIND_SERIAL ||
            transform_may_bind(e->s, row, nodes->bind[row]))
            continue;
        kernels->nodes_first[kernel] = e->old;
        kernels->nodes_count[kernel] = e->old_last - e->old;
        return transform_refuse(e->s, "a parallel or vector loop could not stay one");
    }
    return true;
}
DimId transform_variable(Loops *loops, DimId extent) {
    DimId var = loops_fresh(loops, 'i');
    if (dim_id_some(extent)) dims_set_below(&loops->dims, var, extent);
    return var;
}

/* --- nodes ------------------------------------------------------------------------------------ */
uint32_t transform_row(const Schedule *s, int64_t at, NodeKind kind) {
    if (at < 0 || at >= (int64_t)s->loops->kernels.nodes_count[s->kernel.row]) return 0;
    uint32_t row = schedule_node(s, (uint32_t)at);
    return s->loops->nodes.kind[row] == kind ? row : 0;
}
BufferId transform_buffer(const Schedule *s, int64_t number) {
    if (number < 0 || number >= (int64_t)s->loops->kernels.buffers_count[s->kernel.row])
        return (BufferId){0};
    return (BufferId){s->loops->kernels.buffers_first[s->kernel.row] + (uint32_t)number};
}
uint32_t transform_parent(const Schedule *s, uint32_t row) {
    for (uint32_t around = row; around-- > transform_first(s);)
        if (transform_holds(s, around, row)) return around;
    return 0;
}
uint32_t transform_loops_of(const Schedule *s, uint32_t at, uint32_t *out_loops, uint32_t most) {
    uint32_t first = transform_first(s), row = first + at, count = 0;
    for (uint32_t around = first; around < row && count < most; around++)
        if (s->loops->nodes.kind[around] == NODE_LOOP && transform_holds(s, around, row))
            out_loops[count++] = around - first;
    return count;
}
uint32_t transform_find_write(const Schedule *s, BufferId buffer, uint32_t from) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         first = transform_first(s);
    for (uint32_t row = first + from; row < transform_last(s); row++)
        if (nodes->kind[row] >= NODE_STORE && access_buffer(nodes->access[row]).row == buffer.row)
            return row - first;
    return UINT32_MAX;
}
