/* Working memory of launches: where does what a launch needs while it runs live?
 *
 * In a gap of the planned arena, between the buffers that are alive meanwhile, the smallest that is
 * large enough: most launches run when less is alive than at the peak, so that their working memory
 * adds nothing to what a step needs (attention's gradient wants 0.8 GB at 32 x 1024 tokens). What
 * fits into no gap, and what launches of loops need, lies in the workspace that plans of a kit
 * share. A launch that takes its first piece looks at all buffers once. */
#include <stdlib.h>

#include "gpu/run_inner.h"

static uint64_t aligned(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

static int by_begin(const void *a, const void *b) {
    const RunGap *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}
uint32_t run_gaps(const Plan *plan, uint32_t launch, RunGap *gaps) {
    const Buffers *buffers = &plan->buffers;
    uint32_t       count = 0, alive = 0;
    uint64_t       end = 0;
    for (uint32_t row = 1; row < buffers->table.count; row++) {
        uint64_t begin = buffers->offset[row], bytes = aligned(buffers->bytes[row]);
        if (buffers->slot[row] == 0 && bytes != 0 && buffers->first[row] <= launch &&
            launch <= buffers->last[row])
            gaps[alive++] = (RunGap){begin, begin + bytes};
    }
    if (alive != 0) qsort(gaps, alive, sizeof *gaps, by_begin);
    for (uint32_t i = 0; i < alive; i++) { /* ranges become what is before them */
        RunGap range = gaps[i];
        if (range.begin > end) gaps[count++] = (RunGap){end, range.begin};
        if (range.end > end) end = range.end;
    }
    if (plan->arena_bytes > end) gaps[count++] = (RunGap){end, plan->arena_bytes};
    return count;
}

static bool take_gap(RunBinder *b, uint64_t bytes, RunRef *out) {
    RunGap *best = NULL;
    if (b->plan->flows || bytes == 0) return false; /* loops run launches again */
    if (b->gaps_launch != b->launch) {
        if (b->gaps == NULL)
            b->gaps = ARENA_ARRAY(b->arena, RunGap, b->plan->buffers.table.count + 1);
        b->gaps_count = run_gaps(b->plan, b->launch, b->gaps);
        b->gaps_launch = b->launch;
    }
    for (uint32_t i = 0; i < b->gaps_count; i++) {
        RunGap *gap = &b->gaps[i];
        if (gap->end - gap->begin >= bytes &&
            (best == NULL || gap->end - gap->begin < best->end - best->begin))
            best = gap;
    }
    if (best == NULL) return false;
    *out = (RunRef){SLOT_ARENA, best->begin};
    best->begin += bytes;
    return true;
}
RunRef run_work(RunBinder *b, uint64_t bytes) {
    RunRef ref = {RUN_SLOT_WORK, RUN_WORK_AT + b->work};
    bytes = aligned(bytes);
    if (take_gap(b, bytes, &ref)) return ref;
    b->work += bytes;
    if (b->work > b->work_bytes) b->work_bytes = b->work;
    return ref;
}
