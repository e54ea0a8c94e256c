/* The executor of plans as the back end of tests/unit/fast_check.h: operators that it launches, one
 * at a time, on a device, against the interpreter.
 *
 * Results are poisoned before each run. A plan runs twice: launched one by one, and as a graph;
 * bits must agree. Operators and dtypes that only exist inside fused kernels, or not at all, are
 * passed over; `ran` counts the others. */
#ifndef STOA_TESTS_GPU_FAST_GPU_H
#define STOA_TESTS_GPU_FAST_GPU_H

#include "device.h"
#include "gpu/run.h"

struct FastBack {
    bool     opened, usable;
    Device   device;
    GpuCache cache;
    GpuKit  *kit;
    Arena   *rows; /* of the kit */
    uint32_t ran, passed;
};
static FastBack fast_back;

static inline void fast_back_open(Fast *f) {
    FastBack *back = f->back = &fast_back;
    gpu_describe(&f->target, true);
    if (!back->opened) {
        back->opened = true;
        back->rows = arena_open("kit", 0, 0);
        back->cache = gpu_cache_open(back->rows, STR(""));
        back->usable =
            device_open(&back->device, back->rows) &&
            device_ok(&back->device, gpu_kit_open(back->rows, back->device.gpu,
                                                  &(GpuKitOptions){.cache = &back->cache},
                                                  &back->device.diags, &back->kit));
    }
    if (!back->usable) harness_skip("there is no GPU, or no driver");
}
static inline void fast_back_close(Fast *f) { /* until the process ends */
    printf(" (%u ran, %u passed over)", f->back->ran, f->back->passed);
    f->back->ran = f->back->passed = 0;
}

/* One run with fresh operands; results come back into the plan's own memory. */
static inline bool fast_once(Fast *f, FastPlan *p, GpuPlan *gpu, const CuPtr *slots) {
    Device *d = &f->back->device;
    bool    ok = true;
    for (uint32_t i = 1; i <= f->g.inputs_count; i++)
        ok &= device_ok(d, gpu_copy_in(d->stream, slots[i], p->slots[i], p->bytes[i], &d->diags));
    for (uint32_t i = 0; i < p->outs_count; i++)
        if (f->alias[i] < 0)
            ok &= device_ok(d, gpu_fill(d->stream, slots[1 + f->g.inputs_count + i], 0xFF,
                                        p->bytes[1 + f->g.inputs_count + i], &d->diags));
    ok = ok && device_ok(d, gpu_run(gpu, slots, d->stream, &d->diags));
    for (uint32_t i = 0; ok && i < p->outs_count; i++)
        ok &=
            device_ok(d, gpu_copy_out(d->stream, p->outs[i].data, slots[1 + f->g.inputs_count + i],
                                      tensor_bytes(&p->outs[i]), &d->diags));
    return ok && device_ok(d, gpu_stream_sync(d->stream, &d->diags));
}

static inline bool fast_on_device(Fast *f, FastPlan *p, const Tensor *want, void **bits) {
    Device  *d = &f->back->device;
    CuPtr    slots[1 + GRAPH_INPUTS_MAX + GRAPH_OUTPUTS_MAX] = {0};
    uint64_t used = d->memory.used;
    GpuPlan *gpu = NULL;
    uint32_t count = 1 + f->g.inputs_count + p->outs_count;
    Status   status = gpu_bind(p->plan->arena, p->plan, NULL, f->back->kit, &d->diags, &gpu);
    bool     ok = status == STATUS_OK;
    if (status == STATUS_UNSUPPORTED) { /* a dtype without a kernel: said, never wrong */
        f->back->passed++;
        diags_clear(&d->diags);
        return true;
    }
    if (!ok) return EXPECT(device_ok(d, status));
    for (uint32_t i = 1; i < count && ok; i++)
        ok = device_ok(d, gpu_push(&d->memory, p->bytes[i], 256, &d->diags, &slots[i]));
    for (uint32_t i = 0; i < p->outs_count; i++)
        if (f->alias[i] >= 0) slots[1 + f->g.inputs_count + i] = slots[1 + f->alias[i]];
    for (int run = 0; run < 2 && ok; run++)
        ok = EXPECT(fast_once(f, p, gpu, slots)) && fast_results(f, p, want, run == 0, bits);
    gpu_plan_close(gpu);
    gpu_release(&d->memory, used);
    f->back->ran++;
    return ok;
}

static inline bool fast_run_all(Fast *f, Opcode opcode, OpId op, const Tensor *want,
                                uint32_t count) {
    int   layouts = f->target.view_need[opcode] == VIEW_ANY ? 3 : 1;
    void *bits[GRAPH_OUTPUTS_MAX] = {NULL};
    bool  ok = EXPECT(count > 0);
    if (!f->back->usable) return false;
    if (!f->target.has_kernel[opcode]) {
        f->back->passed++;
        return ok;
    }
    for (int layout = 0; ok && layout < layouts; layout++) {
        FastPlan p = fast_plan(f, opcode, op, layout, want, count);
        ok = fast_on_device(f, &p, want, bits);
        if (!ok)
            printf("\n  %s of %s, layout %d\n", op_infos[opcode].name,
                   dtype_infos[f->g.inputs_count ? f->g.inputs[0].dtype : want[0].dtype].name,
                   layout);
        plan_close(p.plan);
    }
    return ok;
}

#endif
