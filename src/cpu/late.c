/* Parts of a plan: launches up to the next operator that gives sizes. Sizes in an operand are read
 * before that operator, a count after it, so the operator belongs to the part that knows them.
 *
 * Kernels may keep pointers into the plan, so a plan has the same sizes when a part runs as when it
 * was bound: each run begins again at the bounds. */
#include "cpu/late.h"

#include <string.h>

typedef struct Part {
    Span     launches;
    uint32_t giver; /* launch that gives the sizes of this part; 0: none */
    uint32_t sizes_count;
    int64_t  sizes[SHAPE_RANK_MAX]; /* the last ones; -1: the bounds */
    bool     stale;                 /* not bound for these, and those of earlier parts */
    Arena   *arena;
    CpuPlan *cpu;
} Part;
struct CpuLate {
    Plan                    *plan;
    const ShapeProgram      *program;
    const struct EmitModule *module;
    Workers                 *workers;
    CpuRoom                 *room;
    Part                    *parts;
    uint32_t                 count;
    int64_t                 *bounds; /* by DimId row */
};

static uint32_t launch_of(const Plan *plan, OpId op) {
    for (uint32_t row = 1; row < plan->launches.table.count; row++)
        if (plan->launches.op[row].row == op.row) return row;
    NEVER(true); /* they are always launched */
    return 0;
}
static const LaunchArg *giving_arg(const CpuLate *late, uint32_t part) {
    const LaunchArg *args = launch_args(late->plan, late->parts[part].giver);
    return &args[shape_stage_counts(late->program, part) ? 3 : 1];
}
static void divide(CpuLate *late) {
    uint32_t first = 1;
    for (uint32_t i = 0; i < late->count; i++) {
        Part    *part = &late->parts[i];
        uint32_t last = late->plan->launches.table.count;
        if (i + 1 < late->count) {
            late->parts[i + 1].giver = launch_of(late->plan, late->program->stages[i + 1].op);
            last = late->parts[i + 1].giver + shape_stage_counts(late->program, i + 1);
        }
        part->launches = (Span){first, last - first};
        if (i != 0)
            part->sizes_count =
                shape_stage_counts(late->program, i) ? 1 : (uint32_t)giving_arg(late, i)->dims[0];
        ASSERT(part->sizes_count <= SHAPE_RANK_MAX);
        for (uint32_t k = 0; k < part->sizes_count; k++) part->sizes[k] = -1;
        first = last;
    }
}
static Status bind(CpuLate *late, Part *part, Diags *diags) {
    part->stale = true;
    arena_release(part->arena, (ArenaMark){0});
    Status status = cpu_bind_part(part->arena, late->plan, part->launches, late->module,
                                  late->workers, late->room, diags, &part->cpu);
    part->stale = status != STATUS_OK;
    return status;
}

Status cpu_late_open(Arena *arena, Plan *plan, const ShapeProgram *program,
                     const struct EmitModule *module, Workers *workers, CpuRoom *room, Diags *diags,
                     CpuLate **out_late) {
    uint32_t dims = plan->world->dims.rows.table.count;
    CpuLate *late = ARENA_NEW(arena, CpuLate);
    *late = (CpuLate){.plan = plan,
                      .program = program,
                      .module = module,
                      .workers = workers,
                      .room = room,
                      .parts = ARENA_ARRAY_ZERO(arena, Part, program->stages_count),
                      .count = program->stages_count,
                      .bounds = ARENA_ARRAY(arena, int64_t, dims)};
    *out_late = late;
    memcpy(late->bounds, plan->dim_values, sizeof *late->bounds * dims);
    divide(late);
    for (uint32_t i = 0; i < late->count; i++) {
        Part *part = &late->parts[i];
        part->arena = arena_open("late part", (size_t)1 << 32, 0);
        Status status = part->arena == NULL ? STATUS_OUT_OF_MEMORY : bind(late, part, diags);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}
void cpu_late_close(CpuLate *late) {
    if (late == NULL) return;
    for (uint32_t i = 0; i < late->count; i++) arena_close(late->parts[i].arena);
}

size_t cpu_late_bytes(const CpuLate *late) {
    size_t bytes = 0;
    for (uint32_t i = 0; late != NULL && i < late->count; i++)
        bytes += arena_committed(late->parts[i].arena);
    return bytes;
}

static void read_sizes(const CpuLate *late, uint32_t part, void *const *slots, int64_t *out) {
    const LaunchArg *arg = giving_arg(late, part);
    const int64_t   *from = (const int64_t *)((const uint8_t *)slots[arg->slot] + arg->offset);
    int64_t          stride = arg->rank == 0 ? 1 : arg->strides[0];
    for (uint32_t i = 0; i < late->parts[part].sizes_count; i++) out[i] = from[i * stride];
}
/* The sizes of a part become those of the plan. */
static bool resize(CpuLate *late, uint32_t part, void *const *slots, Diags *diags) {
    Part   *p = &late->parts[part];
    int64_t sizes[SHAPE_RANK_MAX] = {0};
    read_sizes(late, part, slots, sizes);
    if (!shape_program_resize(late->program, part, sizes, late->plan->dim_values, diags))
        return false;
    plan_resize(late->plan);
    if (memcmp(sizes, p->sizes, sizeof *sizes * p->sizes_count) == 0) return true;
    memcpy(p->sizes, sizes, sizeof *sizes * p->sizes_count);
    for (uint32_t i = part; i < late->count; i++) late->parts[i].stale = true;
    return true;
}
Status cpu_late_run(CpuLate *late, void *const *slots, CpuTraceFn *on_launch, void *context,
                    Diags *diags, uint32_t *out_failed) {
    Status status = STATUS_OK;
    *out_failed = 0;
    memcpy(late->plan->dim_values, late->bounds,
           sizeof *late->bounds * late->plan->world->dims.rows.table.count);
    plan_resize(late->plan);
    for (uint32_t i = 0; i < late->count && status == STATUS_OK && *out_failed == 0; i++) {
        Part *part = &late->parts[i];
        if (i != 0 && !resize(late, i, slots, diags)) return STATUS_INVALID;
        if (part->stale) status = bind(late, part, diags);
        if (status == STATUS_OK) *out_failed = cpu_run(part->cpu, slots, on_launch, context);
    }
    return status;
}
