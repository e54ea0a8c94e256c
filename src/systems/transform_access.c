/* What does a kernel touch? Transforms ask this of each buffer, many times a version of the kernel:
 * all accesses of a version are gathered once and sorted by buffer, so that an answer is a part of
 * a list; loads of an expression are found once, however many versions hold it. */
#include "systems/transform_inner.h"

/* --- walking expressions ---------------------------------------------------------------------- */
typedef struct AccessList { /* Accesses that grow */
    Access  *rows;
    uint32_t count, capacity;
} AccessList;
static void add_access(Schedule *s, AccessList *list, Access access) {
    list->rows =
        arena_room(s->scratch, list->rows, list->count, &list->capacity, sizeof *list->rows);
    list->rows[list->count++] = access;
}
typedef struct Walking { /* expressions still to be looked at */
    Schedule *s;
    RowMap    seen;
    uint32_t *stack, depth, capacity;
} Walking;
static void push(Walking *w, ExprId expr) {
    if (!expr_id_some(expr) || row_map_get(&w->seen, expr.row) != 0) return;
    w->stack = arena_room(w->s->scratch, w->stack, w->depth, &w->capacity, sizeof *w->stack);
    w->stack[w->depth++] = expr.row;
    row_map_put(&w->seen, w->s->scratch, expr.row, 1);
}
/* The values of let symbols that a place uses. */
static void push_lets(Walking *w, DimId place) {
    const LoopLets *lets = &w->s->loops->lets;
    for (uint32_t row = 1; row < lets->table.count; row++)
        if (dims_contains(&w->s->loops->dims, place, lets->symbol[row])) push(w, lets->value[row]);
}
static void push_index(Walking *w, LoopAccess access) {
    ListId index = access_index(access);
    for (uint32_t i = 0; i < list_count(&w->s->loops->lists, index); i++)
        push_lets(w, list_dim(w->s->loops, index, i));
}
static void walk(Walking *w, uint32_t row, AccessList *out) {
    const LoopExprs *exprs = &w->s->loops->exprs;
    while (w->depth != 0) {
        uint32_t at = w->stack[--w->depth];
        uint64_t word = exprs->word[at];
        uint8_t  kind = exprs->kind[at];
        if (kind == EXPR_LOAD) {
            Access access = {row, ACCESS_LOAD, word, expr_id_some(exprs->a[at])};
            add_access(w->s, out, access);
            push_index(w, word);
        }
        if (kind == EXPR_INDEX || kind == EXPR_RNG || kind == EXPR_LESS)
            push_lets(w, (DimId){(uint32_t)word});
        if (kind == EXPR_LESS) push_lets(w, (DimId){(uint32_t)(word >> 32)});
        push(w, exprs->a[at]);
        push(w, exprs->b[at]);
        push(w, exprs->c[at]);
    }
}
static void add_loads(Schedule *s, uint32_t row, ExprId root, AccessList *out) {
    Walking w = {.s = s};
    push(&w, root);
    walk(&w, row, out);
}
Accesses transform_loads_of_lets(Schedule *s) {
    const LoopLets *lets = &s->loops->lets;
    AccessList      list = {.rows = NULL};
    for (uint32_t row = 1; row < lets->table.count; row++) add_loads(s, 0, lets->value[row], &list);
    return (Accesses){list.rows, list.count};
}
Accesses transform_only(Schedule *s, const Accesses *list, bool loads) {
    AccessList only = {.rows = NULL};
    for (uint32_t i = 0; i < list->count; i++)
        if ((list->rows[i].kind == ACCESS_LOAD) == loads) add_access(s, &only, list->rows[i]);
    return (Accesses){only.rows, only.count};
}

/* --- gathering -------------------------------------------------------------------------------- */
typedef struct Found {
    uint32_t first, count;
} Found;
struct Gathered {
    uint32_t   first, count; /* nodes of the version */
    uint32_t   buffers;      /* of the kernel then */
    AccessList all;          /* in the order of statements */
    Access    *sorted;       /* by buffer, then so */
    uint32_t  *from;         /* by node and one more: where its accesses begin in `all` */
    uint32_t  *from_buffer;  /* by buffer and one more, in `sorted` */
    RowMap     known;        /* expressions whose loads were found: place in `spans`, from 1 */
    AccessList loads;        /* of known expressions, one after the other */
    Found     *spans;
    uint32_t   spans_count, spans_capacity;
};

/* Loads of one expression, with the statement that they are for. */
static void add_known(Schedule *s, Gathered *g, uint32_t row, ExprId root) {
    if (!expr_id_some(root)) return;
    uint32_t span = row_map_get(&g->known, root.row);
    if (span == 0) {
        g->spans =
            arena_room(s->scratch, g->spans, g->spans_count, &g->spans_capacity, sizeof *g->spans);
        Found *made = &g->spans[g->spans_count];
        made->first = g->loads.count;
        add_loads(s, 0, root, &g->loads);
        made->count = g->loads.count - made->first;
        span = ++g->spans_count;
        row_map_put(&g->known, s->scratch, root.row, span);
    }
    for (uint32_t i = 0; i < g->spans[span - 1].count; i++) {
        Access access = g->loads.rows[g->spans[span - 1].first + i];
        access.row = row;
        add_access(s, &g->all, access);
    }
}
static void add_statement(Schedule *s, Gathered *g, uint32_t row) {
    const LoopNodes *nodes = &s->loops->nodes;
    AccessKind       kind = nodes->kind[row] == NODE_STORE ? ACCESS_STORE : ACCESS_REDUCE;
    ExprId           guard = nodes->guard[row];
    Walking          w = {.s = s};
    push_index(&w, nodes->access[row]);
    if (w.depth == 0 && !expr_id_some(guard)) {
        add_known(s, g, row, nodes->value[row]);
    } else { /* what several parts have in common counts once */
        push(&w, nodes->value[row]);
        push(&w, guard);
        walk(&w, row, &g->all);
    }
    add_access(s, &g->all, (Access){row, kind, nodes->access[row], expr_id_some(guard)});
}
/* Sorted by buffer, by counting. */
static void sort_by_buffer(Schedule *s, Gathered *g) {
    const LoopKernels *kernels = &s->loops->kernels;
    uint32_t           first = kernels->buffers_first[s->kernel.row];
    uint32_t           count = kernels->buffers_count[s->kernel.row];
    uint32_t          *end = ARENA_ARRAY_ZERO(s->scratch, uint32_t, count + 1);
    g->buffers = count;
    g->from_buffer = ARENA_ARRAY_ZERO(s->scratch, uint32_t, count + 2);
    g->sorted = ARENA_ARRAY(s->scratch, Access, g->all.count + 1);
    for (uint32_t i = 0; i < g->all.count; i++)
        g->from_buffer[access_buffer(g->all.rows[i].access).row - first + 1]++;
    for (uint32_t i = 0; i < count; i++) {
        g->from_buffer[i + 1] += g->from_buffer[i];
        end[i] = g->from_buffer[i];
    }
    for (uint32_t i = 0; i < g->all.count; i++)
        g->sorted[end[access_buffer(g->all.rows[i].access).row - first]++] = g->all.rows[i];
}
static const Gathered *gather(Schedule *s) {
    uint32_t first = transform_first(s), count = transform_last(s) - first;
    if (s->gathered == NULL) s->gathered = ARENA_ARRAY_ZERO(s->scratch, Gathered, 1);
    Gathered *g = s->gathered;
    if (g->from != NULL && g->first == first && g->count == count) return g;
    g->first = first;
    g->count = count;
    g->all.count = 0;
    g->from = ARENA_ARRAY(s->scratch, uint32_t, count + 1);
    for (uint32_t row = first; row < first + count; row++) {
        g->from[row - first] = g->all.count;
        if (s->loops->nodes.kind[row] >= NODE_STORE) add_statement(s, g, row);
    }
    g->from[count] = g->all.count;
    sort_by_buffer(s, g);
    return g;
}
/* The first of the rows [from, to), sorted by statement, that belongs to statement `row` or a later
 * one. */
static uint32_t lower_bound(const Access *rows, uint32_t from, uint32_t to, uint32_t row) {
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (rows[middle].row < row)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}
Accesses transform_accesses(Schedule *s, uint32_t first, uint32_t last, BufferId buffer) {
    const Gathered *g = gather(s);
    ASSERT(first >= g->first && first <= last && last <= g->first + g->count);
    uint32_t from = g->from[first - g->first], to = g->from[last - g->first];
    if (!buffer_id_some(buffer)) return (Accesses){g->all.rows + from, to - from};
    uint32_t at = buffer.row - s->loops->kernels.buffers_first[s->kernel.row];
    if (at >= g->buffers) return (Accesses){.count = 0}; /* newer than the version */
    from = lower_bound(g->sorted, g->from_buffer[at], g->from_buffer[at + 1], first);
    to = lower_bound(g->sorted, from, g->from_buffer[at + 1], last);
    return (Accesses){g->sorted + from, to - from};
}
