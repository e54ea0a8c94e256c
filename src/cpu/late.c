/* Parts of a plan on the fast path: each is bound for the sizes that it has, and bound again when
 * data gives others (tables/late.h). */
#include "cpu/late.h"

typedef struct Bound { /* a part */
    Arena   *arena;
    CpuPlan *cpu;
} Bound;
struct CpuLate {
    LateParts                parts;
    Bound                   *bound;
    const struct EmitModule *module;
    Workers                 *workers;
    CpuRoom                 *room;
};

static Status bind(CpuLate *late, uint32_t i, Diags *diags) {
    LatePart *part = &late->parts.rows[i];
    part->stale = true;
    arena_release(late->bound[i].arena, (ArenaMark){0});
    Status status =
        cpu_bind_part(late->bound[i].arena, late->parts.plan, part->launches, late->module,
                      late->workers, late->room, diags, &late->bound[i].cpu);
    part->stale = status != STATUS_OK;
    return status;
}

Status cpu_late_open(Arena *arena, Plan *plan, const ShapeProgram *program,
                     const struct EmitModule *module, Workers *workers, CpuRoom *room, Diags *diags,
                     CpuLate **out_late) {
    CpuLate *late = ARENA_NEW(arena, CpuLate);
    *late = (CpuLate){.parts = late_parts(arena, plan, program),
                      .bound = ARENA_ARRAY_ZERO(arena, Bound, program->stages_count),
                      .module = module,
                      .workers = workers,
                      .room = room};
    *out_late = late;
    for (uint32_t i = 0; i < late->parts.count; i++) {
        late->bound[i].arena = arena_open("late part", (size_t)1 << 32, 0);
        Status status = late->bound[i].arena == NULL ? STATUS_OUT_OF_MEMORY : bind(late, i, diags);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}
void cpu_late_close(CpuLate *late) {
    if (late == NULL) return;
    for (uint32_t i = 0; i < late->parts.count; i++) arena_close(late->bound[i].arena);
}

size_t cpu_late_bytes(const CpuLate *late) {
    size_t bytes = 0;
    for (uint32_t i = 0; late != NULL && i < late->parts.count; i++)
        bytes += arena_committed(late->bound[i].arena);
    return bytes;
}

/* The sizes of a part become those of the plan. */
static bool resize(CpuLate *late, uint32_t part, void *const *slots, Diags *diags) {
    int64_t          sizes[SHAPE_RANK_MAX] = {0};
    const LaunchArg *arg = late_giving(&late->parts, part);
    const int64_t   *from = (const int64_t *)((const uint8_t *)slots[arg->slot] + arg->offset);
    int64_t          stride = arg->rank == 0 ? 1 : arg->strides[0];
    for (uint32_t i = 0; i < late->parts.rows[part].sizes_count; i++) sizes[i] = from[i * stride];
    return late_resize(&late->parts, part, sizes, diags);
}
Status cpu_late_run(CpuLate *late, void *const *slots, CpuTraceFn *on_launch, void *context,
                    Diags *diags, uint32_t *out_failed) {
    Status status = STATUS_OK;
    *out_failed = 0;
    late_begin(&late->parts);
    for (uint32_t i = 0; i < late->parts.count && status == STATUS_OK && *out_failed == 0; i++) {
        if (i != 0 && !resize(late, i, slots, diags)) return STATUS_INVALID;
        if (late->parts.rows[i].stale) status = bind(late, i, diags);
        if (status == STATUS_OK)
            *out_failed = cpu_run(late->bound[i].cpu, slots, on_launch, context);
    }
    return status;
}
