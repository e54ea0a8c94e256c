/* Which results of a kernel may be written over which operands?
 *
 * A result may share memory with an operand of its size and element width when the kernel reads the
 * operand only for the statement that stores the result or for earlier ones beside it in the same
 * innermost loop, always at the place that is stored. Linear in loads times results. */
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
/* Operands that are read elsewhere, or at other places than the result is stored at, are not
 * shared. */
static uint64_t shares_of(Schedule *s, BufferId result, const Accesses *all, uint64_t never) {
    Loops   *loops = s->loops;
    uint32_t first = loops->kernels.buffers_first[s->kernel.row];
    uint64_t allowed = alike(s, result) & ~never;
    Accesses own = transform_accesses(s, transform_first(s), transform_last(s), result);
    Access   store = {0};
    for (uint32_t i = 0; i < own.count; i++) {
        if (own.rows[i].kind == ACCESS_LOAD) continue;
        if (own.rows[i].kind == ACCESS_REDUCE || store.row != 0) return 0;
        store = own.rows[i];
    }
    if (store.row == 0) return 0;
    uint32_t parent = parent_of(s, store.row);
    DimId    place = loops_address(loops, store.access);
    for (uint32_t i = 0; i < all->count && allowed != 0; i++) {
        const Access *load = &all->rows[i];
        uint32_t      at = access_buffer(load->access).row - first;
        bool          beside = load->row <= store.row && parent_of(s, load->row) == parent;
        if (load->kind == ACCESS_LOAD && at < OPERANDS_MAX && (allowed >> at & 1) &&
            !(beside && loops_address(loops, load->access).row == place.row))
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
