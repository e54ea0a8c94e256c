/* Operands are filled with a short pattern of harmless numbers: floats between a half and two,
 * integers 0, since they may be indices, alternating truths. */
#include "cpu/emit_measure.h"

#include "arena/os.h"
#include "cpu/kernels.h"
#include "tables/consts.h"

enum { SAMPLES = 9, PATTERN = 251 };
static const int64_t bytes_max = (int64_t)1 << 30;
static const double  sample_ns = 200e3, total_ns = 50e6;

typedef struct Trial {
    const EmitKernel *kernel;
    int64_t          *params;
    void            **buffers;
    uint8_t         **scratch; /* by lane */
    EmitTurns        *turns;   /* by phase */
    Workers          *workers;
    bool              splits; /* any phase is large enough to wake the lanes */
} Trial;

/* --- operands --------------------------------------------------------------------------------- */
/* Bytes from the first to the last element. */
static int64_t span_bytes(Loops *loops, KernelId kernel, BufferId buffer, const int64_t *params) {
    int64_t span = 1, width = dtype_bytes((Dtype)loops->buffers.dtype[buffer.row]);
    for (uint32_t i = 0; i < buffer_rank(loops, buffer); i++) {
        DimId   dim = list_dim(loops, loops->buffers.dims[buffer.row], i);
        int64_t size = emit_size(loops, kernel, dim, params);
        if (size <= 0) return 0;
        span += (size - 1) * emit_size(loops, kernel, loops_stride(loops, buffer, i), params);
    }
    return span * width;
}
static void fill(void *data, int64_t bytes, Dtype dtype) {
    int64_t width = dtype_bytes(dtype), pattern = PATTERN * width;
    for (int64_t i = 0; i < PATTERN && (i + 1) * width <= bytes; i++) {
        double number = dtype_is_float(dtype) ? 0.5 + (double)(i * 97 % PATTERN) / 167 : 0;
        if (dtype == DTYPE_BOOL) number = (double)(i % 2);
        (void)const_encode(dtype, number, (uint8_t *)data + i * width);
    }
    for (int64_t at = pattern; at < bytes; at += pattern)
        memcpy((uint8_t *)data + at, data, (size_t)(bytes - at < pattern ? bytes - at : pattern));
}
static bool make_buffers(Trial *t, Arena *arena, Loops *loops, KernelId kernel) {
    const LoopKernels *kernels = &loops->kernels;
    uint32_t           count = kernels->buffers_count[kernel.row];
    int64_t            total = 0, lane = emit_lane_bytes(loops, kernel, t->params) + 64;
    t->buffers = ARENA_ARRAY_ZERO(arena, void *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        BufferId buffer = {kernels->buffers_first[kernel.row] + i};
        uint8_t  scope = loops->buffers.scope[buffer.row];
        if (scope != SCOPE_ARG && scope != SCOPE_WORK) continue;
        int64_t bytes = span_bytes(loops, kernel, buffer, t->params);
        if (bytes < 0 || bytes > bytes_max || (total += bytes) > bytes_max) return false;
        t->buffers[i] = arena_push(arena, (size_t)bytes + 64, 64);
        fill(t->buffers[i], bytes, (Dtype)loops->buffers.dtype[buffer.row]);
    }
    uint32_t lanes = t->workers != NULL ? workers_lanes(t->workers) : 1;
    if (lane > bytes_max / lanes) return false;
    t->scratch = ARENA_ARRAY(arena, uint8_t *, lanes);
    for (uint32_t i = 0; i < lanes; i++) t->scratch[i] = arena_push(arena, (size_t)lane, 64);
    return true;
}

/* --- running ---------------------------------------------------------------------------------- */
static void run_lane(void *context, uint32_t lane, uint32_t lanes) {
    const Trial *t = context;
    for (uint32_t i = 0; i < t->kernel->phases_count; i++) {
        const EmitTurns *turns = &t->turns[i];
        size_t           first = 0, last = lane == 0 ? (size_t)turns->extent : 0;
        if (turns->bytes >= SPLIT_BYTES_MIN)
            workers_split((size_t)turns->extent, (size_t)turns->grain, lane, lanes, &first, &last);
        if (first < last)
            t->kernel->phases[i].run(t->buffers, t->params, (int64_t)first, (int64_t)last,
                                     t->scratch[lane]);
        if (lanes > 1) workers_barrier(t->workers);
    }
}
static double time_ns(Trial *t, uint32_t repeats) {
    uint64_t begun = os_clock_ns();
    for (uint32_t i = 0; i < repeats; i++) {
        if (t->splits)
            workers_run(t->workers, run_lane, t);
        else
            run_lane(t, 0, 1);
    }
    return (double)(os_clock_ns() - begun) / repeats;
}
static double least_us(Trial *t) {
    double once = time_ns(t, 1);
    once = time_ns(t, 1);
    double   wanted = once < sample_ns ? sample_ns / (once + 1) : 1, least = once;
    uint32_t repeats = wanted < 10000 ? (uint32_t)wanted + (wanted < 1) : 10000;
    for (uint32_t i = 0; i < SAMPLES && once * repeats * i < total_ns; i++) {
        double ns = time_ns(t, repeats);
        if (ns < least) least = ns;
    }
    return least / 1e3;
}
static void set_turns(Trial *t, Arena *arena, const Loops *loops, KernelId kernel) {
    t->turns = ARENA_ARRAY(arena, EmitTurns, t->kernel->phases_count + 1);
    for (uint32_t i = 0; i < t->kernel->phases_count; i++) {
        t->turns[i] = emit_turns(loops, kernel, &t->kernel->phases[i], t->params);
        t->splits |= t->workers != NULL && workers_lanes(t->workers) > 1 &&
                     t->turns[i].bytes >= SPLIT_BYTES_MIN;
    }
}
double emit_measure(void *context, Loops *loops, KernelId kernel) {
    EmitMeasure *m = context;
    Scratch      scratch = scratch_begin(NULL, 0);
    EmitKernel   emitted;
    Trial        t = {.kernel = &emitted, .workers = m->workers};
    uint32_t     first = loops->kernels.params_first[kernel.row];
    double       us = -1;
    t.params = ARENA_ARRAY(scratch.arena, int64_t, loops->kernels.params_count[kernel.row] + 1);
    for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
        t.params[i] = loops_typical(loops, loops->params.symbol[first + i]);
    if (emit_compile_kernel(scratch.arena, m->jit, loops, kernel, m->diags, &emitted) ==
            STATUS_OK &&
        make_buffers(&t, scratch.arena, loops, kernel)) {
        set_turns(&t, scratch.arena, loops, kernel);
        us = least_us(&t);
    }
    scratch_end(scratch);
    return us;
}
