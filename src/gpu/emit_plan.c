/* Reading a phase: which loops a team shares out, what stays in registers where rows are held, what
 * threads tell each other through memory, how wide groups may be, and what launches must check. */
#include "gpu/emit_inner.h"

typedef struct Planning {
    Loops     *loops;
    KernelId   kernel;
    Arena     *arena, *scratch;
    EmitPhase *phase;
    uint32_t   first, last; /* nodes of the phase */
    uint32_t   buffers_first, buffers_count;
    uint32_t  *leaf_of; /* by node from first: 1 + leaf around it, 0: none */
} Planning;

/* --- places ----------------------------------------------------------------------------------- */
static void visit_expr(Loops *loops, Arena *scratch, uint8_t *seen, uint32_t node, ExprId root,
                       EmitVisit *visit, void *context) {
    const LoopExprs *exprs = &loops->exprs;
    ArenaMark        mark = arena_mark(scratch);
    uint32_t        *stack = ARENA_ARRAY(scratch, uint32_t, (size_t)root.row * 3 + 4), depth = 0;
    stack[depth++] = root.row;
    while (depth != 0) {
        uint32_t row = stack[--depth];
        if (row == 0 || seen[row]) continue;
        seen[row] = 1;
        if (exprs->kind[row] == EXPR_LOAD)
            visit(context, node, exprs->word[row], exprs->a[row], false);
        stack[depth++] = exprs->a[row].row;
        stack[depth++] = exprs->b[row].row;
        stack[depth++] = exprs->c[row].row;
    }
    arena_release(scratch, mark);
}
void gpu_emit_visit(Loops *loops, Arena *scratch, uint32_t first, uint32_t last, EmitVisit *visit,
                    void *context) {
    const LoopNodes *nodes = &loops->nodes;
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        ArenaMark mark = arena_mark(scratch);
        uint8_t  *seen = ARENA_ARRAY_ZERO(scratch, uint8_t, loops->exprs.table.count);
        ExprId    guard = nodes->guard[row];
        /* what a guarded statement reads may be nowhere: it counts as guarded */
        visit_expr(loops, scratch, seen, row, guard, visit, context);
        visit_expr(loops, scratch, seen, row, nodes->value[row], visit, context);
        visit(context, row, nodes->access[row], guard, true);
        arena_release(scratch, mark);
    }
}
/* Whether all coefficients are multiples of a group. */
static bool in_whole_groups(const Dims *dims, DimId dim) {
    if (dims_is_const(dims, dim)) return dims_const_value(dims, dim) % EMIT_GROUP_MAX == 0;
    if (dims->rows.kind[dim.row] != DIM_POLY) return false;
    for (uint32_t i = 0; i < dims->rows.rhs[dim.row]; i++)
        if (dims->terms.coef[dims->rows.lhs[dim.row] + i] % EMIT_GROUP_MAX != 0) return false;
    return true;
}
/* Whether an atom is the same for all elements of a group: the number of a run of whole groups. */
static bool same_in_group(Dims *dims, DimId atom, DimId var) {
    DimId step, rest, size = {dims->rows.rhs[atom.row]};
    if (!dims_contains(dims, atom, var)) return true;
    return dims->rows.kind[atom.row] == DIM_FLOORDIV && in_whole_groups(dims, size) &&
           dims_is_const(dims, size) &&
           dims_linear_in(dims, (DimId){dims->rows.lhs[atom.row]}, var, &step, &rest) &&
           dims_is_const(dims, step) && dims_const_value(dims, step) == 1 &&
           in_whole_groups(dims, rest);
}
static bool walks_in_groups(Dims *dims, DimId address, DimId var) {
    int64_t step = 0;
    if (dims->rows.kind[address.row] != DIM_POLY) return false;
    for (uint32_t i = 0; i < dims->rows.rhs[address.row]; i++) {
        uint32_t term = dims->rows.lhs[address.row] + i, mono = dims->terms.mono[term];
        uint32_t first = dims->monos.first[mono], count = dims->monos.count[mono];
        for (uint32_t k = first; k < first + count; k++) {
            DimId atom = {dims->atoms.atom[k]};
            if (atom.row == var.row && count == 1)
                step += dims->terms.coef[term];
            else if (atom.row == var.row || !same_in_group(dims, atom, var))
                return false;
        }
    }
    return step == 1;
}
bool gpu_emit_contiguous(Loops *loops, LoopAccess access, DimId var, DimId *out_rest) {
    Dims *dims = &loops->dims;
    DimId coefficient, address = loops_address(loops, access);
    if (dims_linear_in(dims, address, var, &coefficient, out_rest))
        return dims_is_const(dims, coefficient) && dims_const_value(dims, coefficient) == 1;
    if (!walks_in_groups(dims, address, var)) return false;
    *out_rest = dims_sub(dims, address, var);
    return dim_id_some(*out_rest);
}

/* --- leaves ----------------------------------------------------------------------------------- */
static bool has_loops(const LoopNodes *nodes, uint32_t loop) {
    for (uint32_t row = loop + 1; row < loop + nodes->size[loop]; row++)
        if (nodes->kind[row] == NODE_LOOP) return true;
    return false;
}
static void find_leaves(Planning *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    EmitPhase       *phase = p->phase;
    uint32_t         loop = p->first + 1;
    if (nodes->size[p->first] > 1 && nodes->kind[loop] == NODE_LOOP &&
        nodes->size[p->first] == nodes->size[loop] + 1 && (nodes->bind[loop] & BIND_PARALLEL)) {
        phase->parallel = loop;
        phase->flat = (nodes->bind[loop] & (BIND_VECTOR | BIND_THREAD)) && !has_loops(nodes, loop);
    }
    phase->leaves = ARENA_ARRAY_ZERO(p->arena, EmitLeaf, p->last - p->first);
    uint32_t parent = p->first, end = 0;
    for (uint32_t row = p->first + 1; row < p->last; row++) {
        if (row < end) {
            p->leaf_of[row - p->first] = phase->leaves_count;
            continue;
        }
        bool inside = row == phase->parallel && !phase->flat;
        if (nodes->kind[row] != NODE_LOOP || inside ||
            !(nodes->bind[row] & (BIND_VECTOR | BIND_THREAD)))
            continue;
        parent = row - 1;
        while (parent + nodes->size[parent] <= row) parent--;
        phase->leaves[phase->leaves_count++] =
            (EmitLeaf){row, parent, nodes->var[row], nodes->extent[row],
                       (nodes->bind[row] & BIND_VECTOR) != 0 && !has_loops(nodes, row)};
        end = row + nodes->size[row];
        p->leaf_of[row - p->first] = phase->leaves_count;
    }
}
static const EmitLeaf *leaf_of(const Planning *p, uint32_t node) {
    uint32_t leaf = p->leaf_of[node - p->first];
    return leaf == 0 ? NULL : &p->phase->leaves[leaf - 1];
}
/* The extent that most vector leaves have. */
static void find_held_extent(Planning *p) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->phase->leaves_count && !p->phase->flat; i++) {
        uint32_t count = 0;
        for (uint32_t k = 0; k < p->phase->leaves_count; k++)
            count += p->phase->leaves[k].vector &&
                     p->phase->leaves[k].extent.row == p->phase->leaves[i].extent.row;
        if (!p->phase->leaves[i].vector || count <= most) continue;
        most = count;
        p->phase->held_extent = p->phase->leaves[i].extent;
    }
}

/* --- buffers ---------------------------------------------------------------------------------- */
typedef struct BufferFacts {
    DimId rest, extent;
    bool  touched, read, written, own; /* own: each element is one thread's */
    bool  begun;                       /* the first access stores all of it */
} BufferFacts;
typedef struct Facts {
    Planning    *p;
    BufferFacts *rows;
} Facts;
/* Loops between the parallel one and the leaf must not move the place. */
static bool stays(Planning *p, DimId rest) {
    const LoopNodes *nodes = &p->loops->nodes;
    for (uint32_t row = p->first + 1; row < p->last; row++)
        if (nodes->kind[row] == NODE_LOOP && row != p->phase->parallel &&
            dims_contains(&p->loops->dims, rest, nodes->var[row]))
            return false;
    return true;
}
static void note_facts(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Facts          *facts = context;
    Planning       *p = facts->p;
    BufferId        buffer = access_buffer(access);
    BufferFacts    *f = &facts->rows[buffer.row - p->buffers_first];
    const EmitLeaf *leaf = leaf_of(p, node);
    DimId           rest = {0};
    bool            adds = writes && p->loops->nodes.kind[node] == NODE_REDUCE, first = !f->touched;
    bool            own = leaf != NULL && leaf->vector && !expr_id_some(guard) &&
               !expr_id_some(p->loops->nodes.guard[node]) &&
               gpu_emit_contiguous(p->loops, access, leaf->var, &rest) && stays(p, rest);
    if (first) {
        *f = (BufferFacts){.touched = true, .own = own, .begun = writes && !adds && own};
        f->rest = rest;
        f->extent = own ? leaf->extent : (DimId){0};
    }
    f->own &= own && rest.row == f->rest.row && leaf->extent.row == f->extent.row;
    f->read |= !writes || adds;
    f->written |= writes;
}
static void judge_buffers(Planning *p) {
    LoopBuffers *buffers = &p->loops->buffers;
    EmitPhase   *phase = p->phase;
    Facts        facts = {p, ARENA_ARRAY_ZERO(p->scratch, BufferFacts, p->buffers_count + 1)};
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_facts, &facts);
    phase->promoted = ARENA_ARRAY_ZERO(p->arena, uint8_t, p->buffers_count + 1);
    phase->shared = ARENA_ARRAY_ZERO(p->arena, uint8_t, p->buffers_count + 1);
    phase->read = ARENA_ARRAY_ZERO(p->arena, uint8_t, p->buffers_count + 1);
    phase->lane = ARENA_ARRAY_ZERO(p->arena, uint8_t, p->buffers_count + 1);
    for (uint32_t i = 0; i < p->buffers_count; i++) {
        const BufferFacts *f = &facts.rows[i];
        uint32_t           row = p->buffers_first + i;
        if (!f->touched || buffers->scope[row] == SCOPE_REG) continue;
        phase->lane[i] = buffers->scope[row] == SCOPE_LANE;
        phase->read[i] = f->read;
        phase->shared[i] = f->read && f->written && !f->own;
        phase->promoted[i] = f->own && f->begun && f->read && f->written && !phase->flat &&
                             f->extent.row == phase->held_extent.row && !phase->wide;
        phase->rows |= phase->promoted[i] && phase->lane[i] == 0;
        if (phase->promoted[i]) phase->held_bytes += dtype_bytes((Dtype)buffers->dtype[row]);
    }
}

/* --- held rows -------------------------------------------------------------------------------- */
uint32_t gpu_emit_scope(Loops *loops, const EmitPhase *phase, uint32_t parent, DimId rest) {
    const LoopNodes *nodes = &loops->nodes;
    uint32_t         scope = parent;
    while (nodes->kind[scope] == NODE_LOOP && scope != phase->parallel &&
           !dims_contains(&loops->dims, rest, nodes->var[scope])) {
        uint32_t inner = scope--;
        while (scope + nodes->size[scope] <= inner) scope--;
    }
    return scope;
}
static void note_held(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Planning       *p = context;
    EmitPhase      *phase = p->phase;
    const EmitLeaf *leaf = leaf_of(p, node);
    BufferId        buffer = access_buffer(access);
    DimId           rest;
    if (writes || leaf == NULL || !leaf->vector || expr_id_some(guard) ||
        expr_id_some(p->loops->nodes.guard[node]) || p->loops->buffers.written[buffer.row] ||
        leaf->extent.row != phase->held_extent.row ||
        !gpu_emit_contiguous(p->loops, access, leaf->var, &rest))
        return;
    uint32_t number = (uint32_t)(leaf - phase->leaves);
    uint32_t scope = gpu_emit_scope(p->loops, phase, leaf->parent, rest);
    bool rows = p->loops->nodes.kind[leaf->parent] == NODE_LOOP && leaf->parent != phase->parallel;
    for (uint32_t i = 0; i < phase->helds_count; i++) {
        EmitHeld *held = &phase->helds[i];
        if (held->scope != scope || held->buffer.row != buffer.row || held->rest.row != rest.row)
            continue;
        held->uses += held->leaf != number;
        held->leaf = number;
        return;
    }
    bool whole = !dims_contains(&p->loops->dims, rest, leaf->var);
    phase->helds[phase->helds_count++] =
        (EmitHeld){scope, number, rows ? 2 : 1, buffer, rest, whole};
}
static void count_loads(void *context, uint32_t node, LoopAccess access, ExprId guard,
                        bool writes) {
    (void)node, (void)access, (void)guard, (void)writes;
    ++*(uint32_t *)context;
}
static void find_held(Planning *p) {
    uint32_t count = 0, kept = 0;
    if (p->phase->flat || !dim_id_some(p->phase->held_extent) || p->phase->wide) return;
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, count_loads, &count);
    p->phase->helds = ARENA_ARRAY_ZERO(p->arena, EmitHeld, count + 1);
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_held, p);
    for (uint32_t i = 0; i < p->phase->helds_count; i++) {
        EmitHeld held = p->phase->helds[i];
        if (held.uses < 2) continue;
        uint32_t bytes = dtype_bytes((Dtype)p->loops->buffers.dtype[held.buffer.row]);
        bool     next =
            p->loops->nodes.kind[held.scope] == NODE_LOOP && held.scope != p->phase->parallel;
        p->phase->held_bytes += bytes;
        p->phase->next_bytes += next ? bytes : 0;
        p->phase->helds[kept++] = held;
    }
    p->phase->helds_count = kept;
}

/* --- groups and checks ------------------------------------------------------------------------ */
static void note_align(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Planning       *p = context;
    EmitPhase      *phase = p->phase;
    const EmitLeaf *leaf = leaf_of(p, node);
    BufferId        buffer = access_buffer(access);
    EmitAlign       align = {buffer.row - p->buffers_first, {0}};
    uint8_t         scope = p->loops->buffers.scope[buffer.row];
    (void)writes;
    if (leaf == NULL || !leaf->vector || expr_id_some(guard) ||
        expr_id_some(p->loops->nodes.guard[node]) || scope == SCOPE_REG ||
        !gpu_emit_contiguous(p->loops, access, leaf->var, &align.rest))
        return;
    uint32_t bytes = dtype_bytes((Dtype)p->loops->buffers.dtype[buffer.row]);
    uint32_t most = 16 / bytes < EMIT_GROUP_MAX ? 16 / bytes : EMIT_GROUP_MAX;
    if (most > phase->vector) phase->vector = most;
    for (uint32_t i = 0; i < phase->aligns_count; i++)
        if (phase->aligns[i].position == align.position &&
            phase->aligns[i].rest.row == align.rest.row)
            return;
    phase->aligns[phase->aligns_count++] = align;
}
static void add_place(Planning *p, DimId dim) {
    if (dim_id_some(dim)) p->phase->places[p->phase->places_count++] = dim;
}
static void note_place(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    (void)node, (void)guard, (void)writes;
    add_place(context, loops_address(((Planning *)context)->loops, access));
}
static bool has_lets(const Planning *p) { return p->loops->lets.table.count > 1; }

static void note_checks(Planning *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    const LoopExprs *exprs = &p->loops->exprs;
    uint32_t         count = 0;
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, count_loads, &count);
    p->phase->vector = 1;
    p->phase->aligns = ARENA_ARRAY(p->arena, EmitAlign, count + 1);
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_align, p);
    count += p->last - p->first + 2 * exprs->table.count + p->buffers_count;
    p->phase->places = ARENA_ARRAY(p->arena, DimId, count + 1);
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_place, p);
    for (uint32_t row = p->first; row < p->last; row++)
        if (nodes->kind[row] == NODE_LOOP) add_place(p, nodes->extent[row]);
    for (uint32_t i = 0; i < p->buffers_count; i++)
        add_place(p, loops_elements(p->loops, (BufferId){p->buffers_first + i}));
}
/* Expressions that compute with places themselves: all of the module's that use a loop variable of
 * the phase would be enough; those reached are found by the same walk as loads. */
static void note_index_exprs(Planning *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    const LoopExprs *exprs = &p->loops->exprs;
    uint8_t         *seen = ARENA_ARRAY_ZERO(p->scratch, uint8_t, exprs->table.count);
    for (uint32_t row = p->first; row < p->last; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        seen[nodes->value[row].row] = seen[nodes->guard[row].row] = 1;
    }
    for (uint32_t row = exprs->table.count; row-- > 1;) { /* operands have lower rows */
        if (!seen[row]) continue;
        seen[exprs->a[row].row] = seen[exprs->b[row].row] = seen[exprs->c[row].row] = 1;
        if (exprs->kind[row] == EXPR_INDEX || exprs->kind[row] == EXPR_RNG ||
            exprs->kind[row] == EXPR_LESS)
            add_place(p, (DimId){(uint32_t)exprs->word[row]});
        if (exprs->kind[row] == EXPR_LESS)
            add_place(p, (DimId){(uint32_t)(exprs->word[row] >> 32)});
    }
}

/* --- partial sums ----------------------------------------------------------------------------- */
typedef struct Meets {
    uint32_t node;
    BufferId buffer;
    bool     found;
} Meets;
static void note_meeting(void *context, uint32_t node, LoopAccess access, ExprId guard,
                         bool writes) {
    Meets *meets = context;
    (void)guard;
    if (access_buffer(access).row == meets->buffer.row && !(writes && node == meets->node))
        meets->found = true;
}
uint32_t gpu_emit_home(Loops *loops, const EmitPhase *phase, Arena *scratch, uint32_t node) {
    const LoopNodes *nodes = &loops->nodes;
    DimId            place = loops_address(loops, nodes->access[node]);
    Meets            meets = {node, access_buffer(nodes->access[node]), false};
    uint32_t         home = 0;
    for (uint32_t row = node; row-- > phase->node + 1;) {
        if (nodes->kind[row] != NODE_LOOP || row + nodes->size[row] <= node) continue;
        if (row == phase->parallel || dims_contains(&loops->dims, place, nodes->var[row])) break;
        gpu_emit_visit(loops, scratch, row + 1, row + nodes->size[row], note_meeting, &meets);
        if (meets.found) break;
        home = row;
    }
    return home;
}

/* --- rows of several teams -------------------------------------------------------------------- */
typedef struct Joining {
    Planning   *p;
    uint32_t    loop;
    uint8_t    *begun;  /* by position: a register that the iteration has stored */
    uint8_t    *read;   /* by position: memory that was read */
    LoopAccess *stored; /* by position: what the iteration has stored in memory */
    bool        good;
} Joining;
static void note_joining(void *context, uint32_t node, LoopAccess access, ExprId guard,
                         bool writes) {
    Joining         *joining = context;
    Planning        *p = joining->p;
    const LoopNodes *nodes = &p->loops->nodes;
    uint32_t         at = access_buffer(access).row - p->buffers_first;
    bool             adds = nodes->kind[node] == NODE_REDUCE, inside = node > joining->loop;
    if (p->loops->buffers.scope[access_buffer(access).row] == SCOPE_REG) {
        joining->begun[at] |= inside && writes && !adds && !expr_id_some(guard);
        joining->good &= !inside || joining->begun[at];
    } else if (p->phase->promoted[at]) {
        joining->good &= writes && adds == inside;
    } else if (writes) {
        bool again = joining->read[at] && joining->stored[at] != access;
        joining->good &= inside && !adds && !again &&
                         (joining->stored[at] == 0 || joining->stored[at] == access) &&
                         dims_contains(&p->loops->dims, loops_address(p->loops, access),
                                       nodes->var[joining->loop]);
        joining->stored[at] = access;
    } else {
        joining->read[at] = 1;
        joining->good &= joining->stored[at] == 0 || joining->stored[at] == access;
    }
}
/* A loop at the end of the parallel one whose iterations meet in nothing but sums that are held:
 * of other memory that they write, they read at most what they have just stored. */
static void find_join(Planning *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    EmitPhase       *phase = p->phase;
    uint32_t         loop = phase->parallel + 1;
    if (!phase->rows || phase->parallel == 0) return;
    while (loop + nodes->size[loop] < p->last) loop += nodes->size[loop];
    if (nodes->kind[loop] != NODE_LOOP || leaf_of(p, loop) != NULL) return;
    Joining joining = {p,
                       loop,
                       ARENA_ARRAY_ZERO(p->scratch, uint8_t, p->buffers_count + 1),
                       ARENA_ARRAY_ZERO(p->scratch, uint8_t, p->buffers_count + 1),
                       ARENA_ARRAY_ZERO(p->scratch, LoopAccess, p->buffers_count + 1),
                       true};
    for (uint32_t i = 0; i < p->buffers_count; i++) joining.good &= phase->lane[i] == 0;
    gpu_emit_visit(p->loops, p->scratch, phase->parallel + 1, p->last, note_joining, &joining);
    for (uint32_t row = loop + 1; row < p->last; row++) {
        uint32_t home = 0;
        if (nodes->kind[row] == NODE_REDUCE) home = gpu_emit_home(p->loops, phase, p->scratch, row);
        joining.good &= home == 0 || home > loop;
    }
    if (joining.good) phase->join = loop;
}

/* The place that most rows of the parallel loop have. */
static void find_lead(Planning *p) {
    EmitPhase       *phase = p->phase;
    const LoopNodes *nodes = &p->loops->nodes;
    uint32_t         most = 0;
    if (phase->parallel == 0 || phase->flat || phase->rows) return;
    for (uint32_t i = 0; i < phase->aligns_count; i++) /* whole only from multiples of a group on */
        for (uint32_t k = 0; k < phase->leaves_count; k++)
            if (dims_contains(&p->loops->dims, phase->aligns[i].rest, phase->leaves[k].var)) return;
    for (uint32_t i = 0; i < phase->aligns_count; i++) {
        const EmitAlign *align = &phase->aligns[i];
        uint32_t         count = 0;
        for (uint32_t k = 0; k < phase->aligns_count; k++)
            count += phase->aligns[k].rest.row == align->rest.row;
        if (count <= most || !stays(p, align->rest) ||
            !dims_contains(&p->loops->dims, align->rest, nodes->var[phase->parallel]))
            continue;
        most = count;
        phase->lead = align->rest;
        phase->lead_position = align->position;
    }
}

/* --- tiles ------------------------------------------------------------------------------------ */
typedef struct Tiling {
    Planning *p;
    uint32_t  bytes; /* of all tiles */
    bool      good;
} Tiling;
static void note_tile(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Tiling         *tiling = context;
    Planning       *p = tiling->p;
    EmitPhase      *phase = p->phase;
    Dims           *dims = &p->loops->dims;
    BufferId        buffer = access_buffer(access);
    const EmitLeaf *leaf = leaf_of(p, node);
    DimId           step, rest, place = loops_address(p->loops, access);
    if (writes) tiling->good &= p->loops->nodes.kind[node] == NODE_STORE;
    if (writes || expr_id_some(guard) || p->loops->buffers.scope[buffer.row] == SCOPE_REG ||
        p->loops->buffers.written[buffer.row] || !dims_contains(dims, place, leaf->var) ||
        gpu_emit_contiguous(p->loops, access, leaf->var, &rest) ||
        !dims_linear_in(dims, place, p->loops->nodes.var[phase->parallel], &step, &rest) ||
        !dims_is_const(dims, step) || dims_const_value(dims, step) != 1)
        return;
    for (uint32_t i = 0; i < phase->tiles_count; i++)
        if (phase->tiles[i] == access) return;
    tiling->bytes += dtype_bytes((Dtype)p->loops->buffers.dtype[buffer.row]);
    tiling->good &= phase->tiles_count < EMIT_TILES_MAX && tiling->bytes <= EMIT_TILE_BYTES;
    if (!tiling->good) return;
    phase->tile_rests[phase->tiles_count] = rest;
    phase->tiles[phase->tiles_count++] = access;
}
/* Nothing but elements of one leaf: they may be computed in any order, and so in tiles. */
static void find_tiles(Planning *p) {
    const LoopNodes *nodes = &p->loops->nodes;
    EmitPhase       *phase = p->phase;
    Tiling           tiling = {p, 0, true};
    uint32_t         leaf = phase->parallel + 1;
    if (phase->parallel == 0 || phase->flat || phase->wide || phase->leaves_count != 1 ||
        phase->leaves[0].row != leaf || !phase->leaves[0].vector ||
        nodes->size[phase->parallel] != nodes->size[leaf] + 1)
        return;
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_tile, &tiling);
    if (!tiling.good) phase->tiles_count = 0;
}

/* --- a row a thread --------------------------------------------------------------------------- */
typedef struct Staging {
    Planning *p;
    bool      good;
} Staging;
static void note_stage(void *context, uint32_t node, LoopAccess access, ExprId guard, bool writes) {
    Staging         *staging = context;
    Planning        *p = staging->p;
    EmitPhase       *phase = p->phase;
    Dims            *dims = &p->loops->dims;
    const LoopNodes *nodes = &p->loops->nodes;
    const EmitLeaf  *leaf = leaf_of(p, node);
    BufferId         buffer = access_buffer(access);
    uint32_t         at = buffer.row - p->buffers_first;
    DimId            rest, row = {0}, place = loops_address(p->loops, access);
    if (leaf == NULL || p->loops->buffers.scope[buffer.row] == SCOPE_REG ||
        !dims_contains(dims, place, nodes->var[phase->parallel]) ||
        !dims_contains(dims, place, leaf->var))
        return;
    if (!dim_id_some(phase->stage)) phase->stage = leaf->extent;
    row = dims_mul(dims, nodes->var[phase->parallel], leaf->extent);
    staging->good &= leaf->vector && leaf->parent == phase->parallel && !expr_id_some(guard) &&
                     !expr_id_some(nodes->guard[node]) && leaf->extent.row == phase->stage.row &&
                     nodes->kind[node] == (writes ? NODE_STORE : nodes->kind[node]) &&
                     gpu_emit_contiguous(p->loops, access, leaf->var, &rest) && dim_id_some(row) &&
                     rest.row == row.row &&
                     !(phase->read[at] && (writes || p->loops->buffers.written[buffer.row]));
    phase->staged[at] = writes ? EMIT_OUT : EMIT_IN;
}
static void find_stages(Planning *p) {
    EmitPhase *phase = p->phase;
    Staging    staging = {p, true};
    phase->staged = ARENA_ARRAY_ZERO(p->arena, uint8_t, p->buffers_count + 1);
    if (phase->parallel == 0 || phase->flat || phase->rows || phase->wide) return;
    for (uint32_t i = 0; i < p->buffers_count; i++) staging.good &= phase->lane[i] == 0;
    gpu_emit_visit(p->loops, p->scratch, p->first, p->last, note_stage, &staging);
    if (staging.good) return;
    phase->stage = (DimId){0};
    memset(phase->staged, 0, p->buffers_count + 1);
}

EmitPhase gpu_emit_plan(Arena *arena, Loops *loops, KernelId kernel, uint32_t phase) {
    EmitPhase planned = {.node = phase};
    Scratch   scratch = scratch_begin(&arena, 1);
    Planning  p = {.loops = loops,
                   .kernel = kernel,
                   .arena = arena,
                   .scratch = scratch.arena,
                   .phase = &planned,
                   .first = phase,
                   .last = phase + loops->nodes.size[phase],
                   .buffers_first = loops->kernels.buffers_first[kernel.row],
                   .buffers_count = loops->kernels.buffers_count[kernel.row]};
    p.leaf_of = ARENA_ARRAY_ZERO(scratch.arena, uint32_t, p.last - p.first + 1);
    planned.wide = has_lets(&p);
    find_leaves(&p);
    find_held_extent(&p);
    judge_buffers(&p);
    find_held(&p);
    note_checks(&p);
    note_index_exprs(&p);
    find_join(&p);
    find_lead(&p);
    find_tiles(&p);
    find_stages(&p);
    scratch_end(scratch);
    return planned;
}
