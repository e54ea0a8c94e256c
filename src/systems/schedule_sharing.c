/* Which results of a kernel may be written over which operands?
 *
 * A result may share memory with an operand of its size and element width when the kernel reads the
 * operand only for the statement that stores the result, for earlier ones beside it in the same
 * innermost loop, or for those of earlier loops beside that one over the same places: passes over a
 * row before the one that writes it. Always at the place that is stored. Linear in loads times
 * results. */
#include "systems/schedule.h"
#include "systems/transform_inner.h"

enum { OPERANDS_MAX = 64 };

static uint32_t parent_of(Schedule *s, uint32_t row) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         parent = row;
    while (parent == row || parent + nodes->size[parent] <= row) parent--;
    return parent;
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

/* Operands that tell where others are read: places are known before statements run. */
static uint64_t behind_lets(Schedule *s) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    uint64_t bits = 0;
    Accesses loads = transform_loads_of_lets(s);
    for (uint32_t i = 0; i < loads.count; i++) {
        uint32_t at = access_buffer(loads.rows[i].access).row - first;
        if (at < OPERANDS_MAX) bits |= (uint64_t)1 << at;
    }
    return bits;
}
/* The variable that runs over the same numbers as the one of the store: of the loop that both are
 * in, or of an earlier one beside it, in a loop. Nil: a load there may find what was stored. */
static DimId walks_alike(Schedule *s, uint32_t row, uint32_t store) {
    const LoopNodes *nodes = &s->loops->nodes;
    uint32_t         parent = parent_of(s, row), own = parent_of(s, store);
    bool             in_loops = nodes->kind[parent] == NODE_LOOP && nodes->kind[own] == NODE_LOOP;
    if (row > store) return (DimId){0};
    if (parent == own) return in_loops ? nodes->var[own] : dims_const(&s->loops->dims, 0);
    if (!in_loops) return (DimId){0};
    uint32_t around = parent_of(s, parent);
    bool     beside = nodes->kind[around] == NODE_LOOP && around == parent_of(s, own) &&
                  nodes->extent[parent].row == nodes->extent[own].row &&
                  nodes->bind[parent] == nodes->bind[own];
    return beside ? nodes->var[parent] : (DimId){0};
}
/* Whether a load reads the place that is stored, in time. */
static bool reads_stored(Schedule *s, const Access *load, const Access *store) {
    Dims *dims = &s->loops->dims;
    DimId var = walks_alike(s, load->row, store->row);
    DimId own = walks_alike(s, store->row, store->row);
    DimId place = loops_address(s->loops, load->access);
    if (!dim_id_some(var)) return false;
    if (var.row != own.row) place = dims_substitute(dims, place, &var, &own, 1);
    return place.row == loops_address(s->loops, store->access).row;
}
/* Without operands that are read elsewhere, or at other places than the result is stored at. */
static uint64_t shares_of(Schedule *s, BufferId result, const Accesses *all, uint64_t never) {
    uint32_t first = s->loops->kernels.buffers_first[s->kernel.row];
    uint64_t allowed = alike(s, result) & ~never;
    Accesses own = transform_accesses(s, transform_first(s), transform_last(s), result);
    Access   store = {0};
    for (uint32_t i = 0; i < own.count; i++) {
        if (own.rows[i].kind == ACCESS_LOAD) continue;
        if (own.rows[i].kind == ACCESS_REDUCE || store.row != 0) return 0;
        store = own.rows[i];
    }
    if (store.row == 0) return 0;
    for (uint32_t i = 0; i < all->count && allowed != 0; i++) {
        const Access *load = &all->rows[i];
        uint32_t      at = access_buffer(load->access).row - first;
        if (load->kind == ACCESS_LOAD && at < OPERANDS_MAX && (allowed >> at & 1) &&
            !reads_stored(s, load, &store))
            allowed &= ~((uint64_t)1 << at);
    }
    return allowed;
}

void schedule_sharing(Schedule *s) {
    Loops   *loops = s->loops;
    uint32_t first = loops->kernels.buffers_first[s->kernel.row];
    uint64_t never = behind_lets(s);
    Accesses all = transform_accesses(s, transform_first(s), transform_last(s), (BufferId){0});
    for (uint32_t i = 0; i < loops->kernels.buffers_count[s->kernel.row]; i++) {
        BufferId buffer = {first + i};
        if (loops->buffers.scope[buffer.row] == SCOPE_ARG && loops->buffers.written[buffer.row])
            loops->buffers.shares[buffer.row] = shares_of(s, buffer, &all, never);
    }
}
