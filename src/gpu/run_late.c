/* Operators that give sizes: rows where a mask is true, and shapes that data decides.
 *
 * Rows are found by one block, which knows how many stood before (2 us for 4096 of them), and taken
 * by as many threads as there is room for: how many rows there are is known on the device only. */
#include "gpu/run_inner.h"

Status run_bind_compact(RunBinder *b) {
    const LaunchArg *x = &b->args[1], *y = &b->outs[0];
    int64_t          rows = x->dims[0];
    uint64_t         bytes = (uint64_t)(rows > 0 ? run_elements(x) / rows : 0);
    bytes *= dtype_bytes((Dtype)x->dtype);
    uint64_t    together = bytes | run_offsets(b, x) | run_offsets(b, y) | 16;
    int64_t     width = (int64_t)(together & (~together + 1));
    RunRef      index = run_work(b, (uint64_t)rows * sizeof(int64_t));
    CompactArgs find = {.rows = rows};
    RunKernel  *k = run_kernel(b, FAMILY_COMPACT, STR("compact<256>"), &find, sizeof find);
    RUN_REF(k, CompactArgs, index, index);
    RUN_REF(k, CompactArgs, count, run_ref(&b->outs[1]));
    RUN_REF(k, CompactArgs, mask, run_ref(&b->args[0]));
    KeptArgs keep = {.fits = y->dims[0], .words = (int64_t)bytes / width};
    if (keep.fits * keep.words == 0) return STATUS_OK;
    k = run_kernel(b, FAMILY_COMPACT, str_format(b->arena, "kept<%s>", run_word(width)), &keep,
                   sizeof keep);
    RUN_REF(k, KeptArgs, y, run_ref(y));
    RUN_REF(k, KeptArgs, x, run_ref(x));
    RUN_REF(k, KeptArgs, index, index);
    RUN_REF(k, KeptArgs, count, run_ref(&b->outs[1]));
    run_grid(b, k, keep.fits * keep.words);
    return STATUS_OK;
}

/* All elements in a row. */
static LaunchArg flat(RunBinder *b, const LaunchArg *x) {
    int64_t  *numbers = ARENA_ARRAY(b->arena, int64_t, 2);
    LaunchArg all = *x;
    numbers[0] = run_elements(x);
    numbers[1] = 1;
    all.rank = 1;
    all.dims = &numbers[0];
    all.strides = &numbers[1];
    return all;
}
Status run_bind_dynamic_reshape(RunBinder *b) {
    LaunchArg x = flat(b, &b->args[0]), y = flat(b, &b->outs[0]);
    run_copy(b, &y, &x);
    return STATUS_OK;
}
Status run_bind_dynamic_broadcast(RunBinder *b) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    int64_t          axes[LIST_MAX], *strides = ARENA_ARRAY_ZERO(b->arena, int64_t, y->rank + 1);
    LaunchArg        spread = *y;
    uint32_t         count = launch_ints(b->plan, b->launch, ATTR_DYNAMIC_BROADCAST_axes, axes);
    for (uint32_t i = 0; i < count && i < x->rank; i++)
        strides[axes[i]] = x->dims[i] == 1 ? 0 : x->strides[i];
    spread.slot = x->slot;
    spread.offset = x->offset;
    spread.strides = strides;
    spread.dense = false;
    run_copy(b, y, &spread);
    return STATUS_OK;
}
