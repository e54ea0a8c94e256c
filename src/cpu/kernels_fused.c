/* Launches of fused rows: each phase of the compiled kernel is a step. Sizes, work memory and
 * scratch are worked out once, when the plan is bound; a call gathers addresses on the stack. */
#include <string.h>

#include "cpu/emit.h"
#include "cpu/kernels.h"

typedef struct Fused {      /* what the phases of one launch share */
    const Ref     *refs;    /* by buffer of the kernel; of ARG buffers */
    const int64_t *work_at; /* by buffer: offset in shared memory; -1: no WORK buffer */
    const int64_t *params;
    uint32_t       count;
} Fused;
typedef struct FusedPhase {
    const Fused *fused;
    EmitFn      *run;
    int64_t      extent, grain;
} FusedPhase;

static void fused_run(const void *params, const KernelCtx *ctx) {
    const FusedPhase *phase = params;
    const Fused      *f = phase->fused;
    void             *buffers[BUFFERS_MAX];
    Part              part = part_of(phase->extent, phase->grain, ctx);
    if (part.first >= part.last) return;
    for (uint32_t i = 0; i < f->count; i++)
        buffers[i] =
            f->work_at[i] >= 0 ? (void *)(ctx->shared + f->work_at[i]) : ref_at(f->refs[i], ctx);
    phase->run(buffers, f->params, part.first, part.last, ctx->scratch);
}

/* Addresses and sizes of the buffers; returns bytes of WORK memory. */
static int64_t set_buffers(Binder *b, Fused *f, const Loops *loops, KernelId code,
                           const int64_t *params) {
    Ref     *refs = ARENA_ARRAY_ZERO(b->arena, Ref, f->count + 1);
    int64_t *work_at = ARENA_ARRAY(b->arena, int64_t, f->count + 1), bytes = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        BufferId buffer = {loops->kernels.buffers_first[code.row] + i};
        work_at[i] = -1;
        if (loops->buffers.scope[buffer.row] == SCOPE_ARG)
            refs[i] = ref_of(&b->args[loops->buffers.arg[buffer.row]]);
        if (loops->buffers.scope[buffer.row] != SCOPE_WORK) continue;
        work_at[i] = bytes;
        bytes += (emit_buffer_bytes(loops, code, buffer, params) + 63) / 64 * 64;
    }
    f->refs = refs;
    f->work_at = work_at;
    return bytes;
}

bool kernels_bind_fused(Binder *b) {
    const Loops *loops = b->plan->loops;
    KernelId     kernel = loops_of_op(loops, b->plan->launches.op[b->launch]);
    if (b->module == NULL || !kernel_id_some(kernel)) return false;
    KernelId          code = loops->kernels.same[kernel.row];
    const EmitKernel *emitted = &b->module->kernels[code.row];
    uint32_t          params_count = loops->kernels.params_count[kernel.row];
    Fused            *f = BIND_PARAMS(b, Fused);
    int64_t          *params = ARENA_ARRAY(b->arena, int64_t, params_count + 1);
    for (uint32_t i = 0; i < params_count; i++) {
        uint32_t param = loops->kernels.params_first[kernel.row] + i;
        params[i] = b->plan->dim_values[loops->params.world[param].row];
    }
    f->params = params;
    f->count = loops->kernels.buffers_count[code.row];
    if (f->count > BUFFERS_MAX) return false;
    int64_t work = set_buffers(b, f, loops, code, params);
    if (work != 0) bind_shared(b, work);
    bind_scratch(b, emit_lane_bytes(loops, code, params) + 64);
    for (uint32_t i = 0; i < emitted->phases_count; i++) {
        const EmitPhase *from = &emitted->phases[i];
        FusedPhase      *phase = BIND_PARAMS(b, FusedPhase);
        EmitTurns        turns = emit_turns(loops, code, from, params);
        *phase = (FusedPhase){f, from->run, turns.extent, turns.grain};
        bind_step(b, fused_run, phase, turns.bytes);
    }
    return true;
}
