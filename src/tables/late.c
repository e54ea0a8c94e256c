/* Dividing a plan at the operators that give sizes. Sizes in an operand are read before that
 * operator, a count after it, so the operator belongs to the part that knows them. */
#include "tables/late.h"

#include <string.h>

static uint32_t launch_of(const Plan *plan, OpId op) {
    for (uint32_t row = 1; row < plan->launches.table.count; row++)
        if (plan->launches.op[row].row == op.row) return row;
    NEVER(true); /* they are always launched */
    return 0;
}
const LaunchArg *late_giving(const LateParts *parts, uint32_t part) {
    const LaunchArg *args = launch_args(parts->plan, parts->rows[part].giver);
    return &args[shape_stage_counts(parts->program, part) ? 3 : 1];
}
static void divide(LateParts *parts) {
    const Plan *plan = parts->plan;
    uint32_t    first = 1;
    for (uint32_t i = 0; i < parts->count; i++) {
        LatePart *part = &parts->rows[i];
        uint32_t  last = plan->launches.table.count;
        if (i + 1 < parts->count) {
            parts->rows[i + 1].giver = launch_of(plan, parts->program->stages[i + 1].op);
            last = parts->rows[i + 1].giver + shape_stage_counts(parts->program, i + 1);
        }
        part->launches = (Span){first, last - first};
        part->stale = true;
        if (i != 0)
            part->sizes_count = shape_stage_counts(parts->program, i)
                                    ? 1
                                    : (uint32_t)late_giving(parts, i)->dims[0];
        ASSERT(part->sizes_count <= SHAPE_RANK_MAX);
        for (uint32_t k = 0; k < part->sizes_count; k++) part->sizes[k] = -1;
        first = last;
    }
}
LateParts late_parts(Arena *arena, Plan *plan, const ShapeProgram *program) {
    uint32_t  dims = plan->world->dims.rows.table.count;
    LateParts parts = {.plan = plan,
                       .program = program,
                       .rows = ARENA_ARRAY_ZERO(arena, LatePart, program->stages_count),
                       .count = program->stages_count,
                       .bounds = ARENA_ARRAY(arena, int64_t, dims)};
    memcpy(parts.bounds, plan->dim_values, sizeof *parts.bounds * dims);
    divide(&parts);
    return parts;
}

void late_begin(LateParts *parts) {
    uint32_t dims = parts->plan->world->dims.rows.table.count;
    memcpy(parts->plan->dim_values, parts->bounds, sizeof *parts->bounds * dims);
    plan_resize(parts->plan);
}
bool late_resize(LateParts *parts, uint32_t part, const int64_t *sizes, Diags *diags) {
    LatePart *p = &parts->rows[part];
    if (!shape_program_resize(parts->program, part, sizes, parts->plan->dim_values, diags))
        return false;
    plan_resize(parts->plan);
    if (memcmp(sizes, p->sizes, sizeof *sizes * p->sizes_count) == 0) return true;
    memcpy(p->sizes, sizes, sizeof *sizes * p->sizes_count);
    for (uint32_t i = part; i < parts->count; i++) parts->rows[i].stale = true;
    return true;
}
