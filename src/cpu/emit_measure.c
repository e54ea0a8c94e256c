/* Operands are filled with a short pattern of harmless numbers: floats between a half and two,
 * integers 0, since they may be indices, alternating truths. */
#include "cpu/emit_measure.h"

#include "arena/os.h"
#include "tables/consts.h"

enum { SAMPLES = 9, PATTERN = 251 };
static const int64_t bytes_max = (int64_t)1 << 30;
static const double  sample_ns = 200e3, total_ns = 50e6;

typedef struct Trial {
    EmitKernel kernel;
    int64_t   *params, *extents; /* extents: by phase */
    void     **buffers;
    uint8_t   *scratch; /* of the lane */
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
    if (lane > bytes_max) return false;
    t->scratch = arena_push(arena, (size_t)lane, 64);
    return true;
}

/* --- running ---------------------------------------------------------------------------------- */
static double time_ns(const Trial *t, uint32_t repeats) {
    uint64_t begun = os_clock_thread_ns();
    for (uint32_t i = 0; i < repeats; i++)
        for (uint32_t k = 0; k < t->kernel.phases_count; k++)
            t->kernel.phases[k].run(t->buffers, t->params, 0, t->extents[k], t->scratch);
    return (double)(os_clock_thread_ns() - begun) / repeats;
}
static double least_us(const Trial *t) {
    double once = time_ns(t, 1);
    if (once < total_ns) once = time_ns(t, 1); /* memory is there now */
    double   wanted = once < sample_ns ? sample_ns / (once + 1) : 1, least = once;
    uint32_t repeats = wanted < 10000 ? (uint32_t)wanted + (wanted < 1) : 10000;
    for (uint32_t i = 0; i < SAMPLES && once * repeats * i < total_ns; i++) {
        double ns = time_ns(t, repeats);
        if (ns < least) least = ns;
    }
    return least / 1e3;
}
double emit_measure(void *context, Loops *loops, KernelId kernel) {
    EmitMeasure *m = context;
    Scratch      scratch = scratch_begin(NULL, 0);
    Arena       *arena = scratch.arena;
    Trial        t = {.params = NULL};
    uint32_t     first = loops->kernels.params_first[kernel.row];
    double       us = -1;
    t.params = ARENA_ARRAY(arena, int64_t, loops->kernels.params_count[kernel.row] + 1);
    for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
        t.params[i] = dims_typical(&loops->dims, loops->params.symbol[first + i]);
    Status status = emit_compile_kernel(arena, m->jit, loops, kernel, m->diags, &t.kernel);
    if (status == STATUS_OK && make_buffers(&t, arena, loops, kernel)) {
        t.extents = ARENA_ARRAY(arena, int64_t, t.kernel.phases_count + 1);
        for (uint32_t i = 0; i < t.kernel.phases_count; i++)
            t.extents[i] = emit_turns(loops, kernel, &t.kernel.phases[i], t.params).extent;
        us = least_us(&t);
    }
    scratch_end(scratch);
    return us;
}
