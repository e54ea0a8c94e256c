/* Which results of a kernel may be written over which operands?
 *
 * A result may share memory with an operand of its size and element width when the kernel reads the
 * operand only for the statement that stores the result or for earlier ones beside it in the same
 * innermost loop, always at the place that is stored. Linear in loads times results. */
#include "systems/schedule.h"

enum { OPERANDS_MAX = 64 };

typedef struct Sharing {
    Schedule *s;
    uint32_t  store, parent; /* nodes: of the result, and the loop around it */
    DimId     place;
    uint64_t  allowed; /* operands that may still share */
    uint8_t  *seen;
} Sharing;

static uint32_t parent_of(Schedule *s, uint32_t row) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         parent = row;
    while (parent == row || parent + nodes->size[parent] <= row) parent--;
    return parent;
}
static void check_loads(Sharing *h, ExprId root, bool beside) {
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
            bool     same = beside && loops_address(loops, exprs->word[row]).row == h->place.row;
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
    for (uint32_t row = first; row < last && h.allowed != 0; row++) {
        if (nodes->kind[row] != NODE_STORE && nodes->kind[row] != NODE_REDUCE) continue;
        bool beside = row <= h.store && parent_of(s, row) == h.parent;
        check_loads(&h, nodes->value[row], beside);
        check_loads(&h, nodes->guard[row], beside);
    }
    for (uint32_t row = 1; row < loops->lets.table.count && h.allowed != 0; row++)
        check_loads(&h, loops->lets.value[row], false);
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
