/* Which results of a kernel may be written over which operands?
 *
 * A result may share memory with an operand of its size and element width when the kernel reads the
 * operand only for the statement that stores the result, for earlier ones beside it in the same
 * innermost loop, or for those of earlier loops beside that one over the same places: passes over a
 * row before the one that writes it. Always at the place that is stored. Linear in loads times
 * results. */
#include "systems/schedule.h"

enum { OPERANDS_MAX = 64 };

typedef struct Sharing {
    Schedule *s;
    uint32_t  store, parent; /* nodes: of the result, and the loop around it */
    DimId     place, var;    /* that is stored; the variable of that loop */
    uint64_t  allowed;       /* operands that may still share */
    uint8_t  *seen;
} Sharing;

static uint32_t parent_of(Schedule *s, uint32_t row) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         parent = row;
    while (parent == row || parent + nodes->size[parent] <= row) parent--;
    return parent;
}
/* The variable that runs over the same numbers as the one of the store: of the loop that both are
 * in, or of an earlier one beside it, in a loop. Nil: a load there may find what was stored. */
static DimId walks_alike(Sharing *h, uint32_t row) {
    const LoopNodes *nodes = &h->s->loops->nodes;
    uint32_t         parent = parent_of(h->s, row);
    if (row > h->store) return (DimId){0};
    if (parent == h->parent) return h->var;
    if (nodes->kind[parent] != NODE_LOOP || nodes->kind[h->parent] != NODE_LOOP) return (DimId){0};
    uint32_t around = parent_of(h->s, parent);
    bool     beside = nodes->kind[around] == NODE_LOOP && around == parent_of(h->s, h->parent) &&
                  nodes->extent[parent].row == nodes->extent[h->parent].row &&
                  nodes->bind[parent] == nodes->bind[h->parent];
    return beside ? nodes->var[parent] : (DimId){0};
}
/* var: of the loop around the loads, as above. */
static void check_loads(Sharing *h, ExprId root, DimId var) {
    Loops           *loops = h->s->loops;
    const LoopExprs *exprs = &loops->exprs;
    uint32_t         first = loops->kernels.buffers_first[h->s->kernel.row], depth = 0;
    ArenaMark        mark = arena_mark(h->s->scratch);
    uint32_t        *stack = ARENA_ARRAY(h->s->scratch, uint32_t, (size_t)root.row * 3 + 4);
    memset(h->seen, 0, loops->exprs.table.count);
    stack[depth++] = root.row;
    while (depth != 0) {
        uint32_t row = stack[--depth];
        if (row == 0 || h->seen[row]) continue;
        h->seen[row] = 1;
        if (exprs->kind[row] == EXPR_LOAD) {
            uint32_t at = access_buffer(exprs->word[row]).row - first;
            DimId    place = loops_address(loops, exprs->word[row]);
            if (dim_id_some(var) && var.row != h->var.row)
                place = dims_substitute(&loops->dims, place, &var, &h->var, 1);
            bool same = dim_id_some(var) && place.row == h->place.row;
            if (at < OPERANDS_MAX && !same) h->allowed &= ~((uint64_t)1 << at);
        }
        stack[depth++] = exprs->a[row].row;
        stack[depth++] = exprs->b[row].row;
        stack[depth++] = exprs->c[row].row;
    }
    arena_release(h->s->scratch, mark);
}

/* Operands of the size and width of a result, row-major. */
static uint64_t alike(Schedule *s, BufferId result) {
    Loops       *loops = s->loops;
    LoopBuffers *buffers = &loops->buffers;
    uint64_t     bits = 0;
    uint32_t     first = loops->kernels.buffers_first[s->kernel.row];
    uint32_t     count = loops->kernels.buffers_count[s->kernel.row];
    for (uint32_t i = 0; i < count && i < OPERANDS_MAX; i++) {
        uint32_t row = first + i;
        bool     operand = buffers->scope[row] == SCOPE_ARG && !buffers->written[row];
        if (operand && !list_id_some(buffers->strides[row]) &&
            dtype_bytes((Dtype)buffers->dtype[row]) ==
                dtype_bytes((Dtype)buffers->dtype[result.row]) &&
            loops_elements(loops, (BufferId){row}).row == loops_elements(loops, result).row)
            bits |= (uint64_t)1 << i;
    }
    return bits;
}

static uint64_t shares_of(Schedule *s, BufferId result, uint8_t *seen) {
    Loops           *loops = s->loops;
    const LoopNodes *nodes = &loops->nodes;
    uint32_t         first = schedule_node(s, 0), stores = 0;
    uint32_t         last = first + loops->kernels.nodes_count[s->kernel.row];
    Sharing          h = {.s = s, .allowed = alike(s, result), .seen = seen};
    for (uint32_t row = first; row < last; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        if (access_buffer(nodes->access[row]).row != result.row) continue;
        if (nodes->kind[row] == NODE_REDUCE || stores++ != 0) return 0;
        h.store = row;
    }
    if (h.store == 0 || h.allowed == 0) return 0;
    h.parent = parent_of(s, h.store);
    h.place = loops_address(loops, nodes->access[h.store]);
    h.var = nodes->kind[h.parent] == NODE_LOOP ? nodes->var[h.parent] : dims_const(&loops->dims, 0);
    for (uint32_t row = first; row < last && h.allowed != 0; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        DimId var = walks_alike(&h, row);
        check_loads(&h, nodes->value[row], var);
        check_loads(&h, nodes->guard[row], var);
    }
    for (uint32_t row = 1; row < loops->lets.table.count && h.allowed != 0; row++)
        check_loads(&h, loops->lets.value[row], (DimId){0});
    return h.allowed;
}

void schedule_sharing(Schedule *s) {
    Loops   *loops = s->loops;
    uint32_t first = loops->kernels.buffers_first[s->kernel.row];
    uint8_t *seen = ARENA_ARRAY(s->scratch, uint8_t, loops->exprs.table.count);
    for (uint32_t i = 0; i < loops->kernels.buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {first + i};
        if (loops->buffers.scope[buffer.row] == SCOPE_ARG && loops->buffers.written[buffer.row])
            loops->buffers.shares[buffer.row] = shares_of(s, buffer, seen);
    }
}
