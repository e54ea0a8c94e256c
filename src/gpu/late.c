/* Parts of a plan on a GPU: like cpu/late.c, with a wait where sizes are read. A part is rebound
 * only after such a wait, so nothing of it runs any more. */
#include "gpu/late.h"

#include "tables/late.h"

typedef struct Bound { /* a part */
    Arena   *arena;
    GpuPlan *gpu;
} Bound;
struct GpuLate {
    LateParts      parts;
    Bound         *bound;
    GpuEmitModule *module;
    GpuKit        *kit;
};

static void unbind(Bound *bound) {
    gpu_plan_close(bound->gpu);
    bound->gpu = NULL;
}
static Status bind(GpuLate *late, uint32_t i, Diags *diags) {
    LatePart *part = &late->parts.rows[i];
    Bound    *bound = &late->bound[i];
    part->stale = true;
    unbind(bound);
    arena_release(bound->arena, (ArenaMark){0});
    Status status = gpu_bind_part(bound->arena, late->parts.plan, part->launches, late->module,
                                  late->kit, diags, &bound->gpu);
    part->stale = status != STATUS_OK;
    return status;
}

Status gpu_late_open(Arena *arena, Plan *plan, const ShapeProgram *program, GpuEmitModule *module,
                     GpuKit *kit, Diags *diags, GpuLate **out_late) {
    GpuLate *late = ARENA_NEW(arena, GpuLate);
    *late = (GpuLate){.parts = late_parts(arena, plan, program),
                      .bound = ARENA_ARRAY_ZERO(arena, Bound, program->stages_count),
                      .module = module,
                      .kit = kit};
    *out_late = late;
    for (uint32_t i = 0; i < late->parts.count; i++) {
        late->bound[i].arena = arena_open("late part", (size_t)1 << 32, 0);
        Status status = late->bound[i].arena == NULL ? STATUS_OUT_OF_MEMORY : bind(late, i, diags);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}
void gpu_late_close(GpuLate *late) {
    if (late == NULL) return;
    for (uint32_t i = 0; i < late->parts.count; i++) {
        unbind(&late->bound[i]);
        arena_close(late->bound[i].arena);
    }
}
size_t gpu_late_bytes(const GpuLate *late) {
    size_t bytes = 0;
    for (uint32_t i = 0; late != NULL && i < late->parts.count; i++)
        bytes += arena_committed(late->bound[i].arena);
    return bytes;
}

static Status read_sizes(const GpuLate *late, uint32_t part, const CuPtr *slots, GpuStream stream,
                         Diags *diags, int64_t *out) {
    const LaunchArg *arg = late_giving(&late->parts, part);
    CuPtr            from = slots[arg->slot] + arg->offset;
    uint64_t         step = sizeof *out * (uint64_t)(arg->rank == 0 ? 1 : arg->strides[0]);
    Status           status = STATUS_OK;
    for (uint32_t i = 0; i < late->parts.rows[part].sizes_count && status == STATUS_OK; i++)
        status = gpu_copy_out(stream, &out[i], from + i * step, sizeof *out, diags);
    return status == STATUS_OK ? gpu_stream_sync(stream, diags) : status;
}
static Status run_part(GpuLate *late, uint32_t i, const CuPtr *slots, GpuStream stream,
                       Diags *diags, uint32_t *out_failed) {
    int64_t sizes[SHAPE_RANK_MAX] = {0};
    Status  status = i == 0 ? STATUS_OK : read_sizes(late, i, slots, stream, diags, sizes);
    if (status == STATUS_OK && i != 0 && !late_resize(&late->parts, i, sizes, diags))
        return STATUS_INVALID;
    if (status == STATUS_OK && late->parts.rows[i].stale) status = bind(late, i, diags);
    GpuPlan *gpu = late->bound[i].gpu;
    if (status == STATUS_OK) status = gpu_run(gpu, slots, stream, diags);
    if (status == STATUS_OK) status = gpu_run_printed(gpu, stream, diags);
    return status == STATUS_OK ? gpu_run_failed(gpu, stream, diags, out_failed) : status;
}
Status gpu_late_run(GpuLate *late, const CuPtr *slots, GpuStream stream, Diags *diags,
                    uint32_t *out_failed) {
    Status status = STATUS_OK;
    *out_failed = 0;
    late_begin(&late->parts);
    for (uint32_t i = 0; i < late->parts.count && status == STATUS_OK && *out_failed == 0; i++)
        status = run_part(late, i, slots, stream, diags, out_failed);
    return status;
}
