/* Launches of fused rows: each phase of the compiled kernel is a step. Sizes, work memory and
 * scratch are worked out once, when the plan is bound; a call gathers addresses on the stack.
 *
 * The first phase may follow the product before it instead: the product calls it for a few rows at
 * a time, as soon as they are there, so that it finds them in cache. */
#include <string.h>

#include "cpu/emit.h"
#include "cpu/kernels.h"

typedef struct Fused {         /* what the phases of one launch share */
    const Ref        *refs;    /* by buffer of the kernel; of ARG buffers */
    const int64_t    *work_at; /* by buffer: offset in shared memory; -1: no WORK buffer */
    const int64_t    *params;
    uint32_t          count;
    KernelId          code;
    const EmitKernel *emitted;
} Fused;
struct FusedPhase {
    const Fused *fused;
    EmitFn      *run;
    int64_t      extent, grain, bytes; /* bytes: a measure of its work */
};

static void phase_run(const FusedPhase *phase, const KernelCtx *ctx, int64_t first, int64_t last,
                      uint8_t *scratch) {
    const Fused *f = phase->fused;
    void        *buffers[BUFFERS_MAX];
    if (first >= last) return;
    for (uint32_t i = 0; i < f->count; i++)
        buffers[i] =
            f->work_at[i] >= 0 ? (void *)(ctx->shared + f->work_at[i]) : ref_at(f->refs[i], ctx);
    phase->run(buffers, f->params, first, last, scratch);
}
static void fused_run(const void *params, const KernelCtx *ctx) {
    const FusedPhase *phase = params;
    Part              part = {0, phase->extent};
    if (ctx->pieces > 1) part = part_of(phase->extent, phase->grain, ctx);
    phase_run(phase, ctx, part.first, part.last, ctx->scratch);
}

/* --- binding ---------------------------------------------------------------------------------- */

/* Addresses and sizes of the buffers; WORK memory begins at work. Returns where it ends. */
static int64_t set_buffers(Binder *b, Fused *f, const LaunchArg *args, int64_t work) {
    const Loops *loops = b->plan->loops;
    Ref         *refs = ARENA_ARRAY_ZERO(b->arena, Ref, f->count + 1);
    int64_t     *work_at = ARENA_ARRAY(b->arena, int64_t, f->count + 1), bytes = work;
    for (uint32_t i = 0; i < f->count; i++) {
        BufferId buffer = {loops->kernels.buffers_first[f->code.row] + i};
        work_at[i] = -1;
        if (loops->buffers.scope[buffer.row] == SCOPE_ARG)
            refs[i] = ref_of(&args[loops->buffers.arg[buffer.row]]);
        if (loops->buffers.scope[buffer.row] != SCOPE_WORK) continue;
        work_at[i] = bytes;
        bytes += (emit_buffer_bytes(loops, f->code, buffer, f->params) + 63) / 64 * 64;
    }
    f->refs = refs;
    f->work_at = work_at;
    return bytes;
}
/* The kernel of a launch and its sizes, without buffers; NULL: there is none. */
static Fused *fused_of(Binder *b, uint32_t launch) {
    const Loops *loops = b->plan->loops;
    KernelId     kernel = loops_of_op(loops, b->plan->launches.op[launch]);
    if (b->module == NULL || !kernel_id_some(kernel)) return NULL;
    Fused   *f = BIND_PARAMS(b, Fused);
    uint32_t count = loops->kernels.params_count[kernel.row];
    int64_t *params = ARENA_ARRAY(b->arena, int64_t, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t param = loops->kernels.params_first[kernel.row] + i;
        params[i] = b->plan->dim_values[loops->params.world[param].row];
    }
    *f = (Fused){.params = params, .code = loops->kernels.same[kernel.row]};
    f->count = loops->kernels.buffers_count[f->code.row];
    f->emitted = &b->module->kernels[f->code.row];
    return f->count > BUFFERS_MAX ? NULL : f;
}
static FusedPhase *phase_of(Binder *b, const Fused *f, uint32_t i) {
    const Loops     *loops = b->plan->loops;
    const EmitPhase *from = &f->emitted->phases[i];
    FusedPhase      *phase = BIND_PARAMS(b, FusedPhase);
    EmitTurns        turns = emit_turns(loops, f->code, from, f->params);
    *phase = (FusedPhase){f, from->run, turns.extent, turns.grain, turns.bytes};
    return phase;
}
static void bind_phases(Binder *b, const Fused *f, uint32_t first, uint32_t last) {
    bind_scratch(b, emit_lane_bytes(b->plan->loops, f->code, f->params) + 64);
    for (uint32_t i = first; i < last; i++) {
        const FusedPhase *phase = phase_of(b, f, i);
        bind_step(b, fused_run, phase, phase->bytes);
        bind_pieces(b, phase->extent / (phase->grain > 0 ? phase->grain : 1));
    }
}

bool kernels_bind_fused(Binder *b) {
    if (b->follow != NULL && b->follow->launch == b->launch) {
        const Fused *f = b->follow->phase->fused;
        bind_phases(b, f, b->follow->phases, f->emitted->phases_count);
        return true;
    }
    Fused *f = fused_of(b, b->launch);
    if (f == NULL) return false;
    int64_t work = set_buffers(b, f, b->args, 0);
    if (work != 0) bind_shared(b, work);
    bind_phases(b, f, 0, f->emitted->phases_count);
    return true;
}

/* --- following a product ---------------------------------------------------------------------- */

typedef struct Bytes { /* of a slot */
    uint64_t first, last;
} Bytes;
static Bytes bytes_of(const LaunchArg *arg) {
    int64_t reach = 1;
    for (uint32_t i = 0; i < arg->rank; i++) {
        if (arg->dims[i] == 0) return (Bytes){0, 0};
        reach += (arg->dims[i] - 1) * arg->strides[i];
    }
    return (Bytes){arg->offset, arg->offset + (uint64_t)(reach * arg_width(arg))};
}
static bool overlaps(const LaunchArg *a, const LaunchArg *b) {
    Bytes x = bytes_of(a), y = bytes_of(b);
    return a->slot == b->slot && x.first < y.last && y.first < x.last;
}
/* Whether a launch writes what the current one reads. */
static bool writes_operands(const Binder *b, uint32_t launch) {
    const Launches  *launches = &b->plan->launches;
    const LaunchArg *args = launch_args(b->plan, launch);
    for (uint32_t i = launches->operands[launch]; i < launches->args_count[launch]; i++)
        for (uint32_t k = 0; k < b->operands; k++)
            if (overlaps(&args[i], &b->args[k])) return true;
    return false;
}
/* Elements that an iteration has to itself of an argument that begins where the product does; 0:
 * there is no such number. */
static int64_t own_elements(const Binder *b, const Fused *f, const EmitTouch *touch) {
    const Loops *loops = b->plan->loops;
    DimRange     low, high;
    if (!dim_id_some(touch->step)) return 0;
    int64_t step = emit_size(loops, f->code, touch->step, f->params);
    if (!emit_range(loops, f->code, touch->low, f->params, &low) || low.lo < 0) return 0;
    if (!emit_range(loops, f->code, touch->high, f->params, &high) || high.hi >= step) return 0;
    return step;
}
/* The same for all arguments that lie in the product's memory; -1: the phase touches none. */
static int64_t phase_step(const Binder *b, const Fused *f, const LaunchArg *args, uint32_t phase) {
    const Loops     *loops = b->plan->loops;
    const LaunchArg *z = &b->outs[0];
    int64_t          step = -1;
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t         buffer = loops->kernels.buffers_first[f->code.row] + i;
        const EmitTouch *touch = &f->emitted->phases[phase].touches[i];
        if (loops->buffers.scope[buffer] != SCOPE_ARG || !touch->any) continue;
        const LaunchArg *arg = &args[loops->buffers.arg[buffer]];
        if (!overlaps(arg, z)) continue;
        bool    same = arg->offset == z->offset && arg_dense(arg) && arg_width(arg) == arg_width(z);
        int64_t here = same ? own_elements(b, f, touch) : 0;
        if (here == 0 || (step > 0 && here != step)) return 0;
        step = here;
    }
    return step;
}

Follow *kernels_follow(Binder *b, int64_t rows, int64_t cols, int64_t step_rows, int64_t shared) {
    const Launches *launches = &b->plan->launches;
    uint32_t        next = b->launch + 1, phase = 0;
    int64_t         step = -1;
    if (b->alone || next == launches->table.count || launches->opcode[next] != OP_FUSED ||
        launches->entered[next])
        return NULL;
    const LaunchArg *args = launch_args(b->plan, next);
    Fused           *f = fused_of(b, next);
    if (f == NULL || !arg_dense(&b->outs[0]) || writes_operands(b, next)) return NULL;
    for (; phase < f->emitted->phases_count && step < 0; phase++)
        step = phase_step(b, f, args, phase);
    if (step <= 0 || step > step_rows * cols || (step % cols != 0 && cols % step != 0)) return NULL;
    Follow *follow = BIND_PARAMS(b, Follow);
    *follow = (Follow){.launch = next, .phases = phase, .rows = rows, .cols = cols, .step = step};
    int64_t work = set_buffers(b, f, args, shared);
    if (work != shared) bind_shared(b, work);
    bind_phases(b, f, 0, phase - 1);
    follow->phase = phase_of(b, f, phase - 1);
    follow->lane_bytes = emit_lane_bytes(b->plan->loops, f->code, f->params) + 64;
    return b->follow = follow;
}

void kernels_follow_run(const Follow *follow, const KernelCtx *ctx, int64_t first, int64_t last,
                        uint8_t *scratch) {
    int64_t end = last * follow->cols / follow->step, extent = follow->phase->extent;
    if (last == follow->rows || end > extent) end = extent;
    phase_run(follow->phase, ctx, first * follow->cols / follow->step, end, scratch);
}
