/* Opening and closing plan tables; reading list attributes at concrete sizes.
 *
 * Address space only is reserved for the largest plan, so a small one costs a few pages. */
#include "tables/plan.h"

#define TABLE_SELF_ Slots
TABLE_INFO(Slots, slots_info, "slots", SLOTS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Launches
TABLE_INFO(Launches, launches_info, "launches", LAUNCHES_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ LaunchArgs
TABLE_INFO(LaunchArgs, launch_args_info, "launch_args", LAUNCH_ARGS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ Buffers
TABLE_INFO(Buffers, buffers_info, "buffers", BUFFERS_COLUMNS);
#undef TABLE_SELF_

#define TABLE_SELF_ PlanSizes
TABLE_INFO(PlanSizes, plan_sizes_info, "plan_sizes", PLAN_SIZES_COLUMNS);
#undef TABLE_SELF_

enum { PLAN_LAUNCHES_MAX = 1 << 22 };

Plan *plan_open(const World *world, const struct Loops *loops, GraphId graph) {
    Arena *arena = arena_open("plan", (size_t)1 << 32, 0);
    if (arena == NULL) return NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        arena_close(arena);
        return NULL;
    }
    Plan *plan = ARENA_NEW(arena, Plan);
    plan->dim_values = ARENA_ARRAY_ZERO(arena, int64_t, world->dims.rows.table.count);
    arena_guard_end(&guard);
    plan->arena = arena;
    plan->world = world;
    plan->loops = loops;
    plan->graph = graph;
    plan->budget = (Budget){.name = "plan"};
    if (!ARENA_GUARD(&guard)) {
        plan_close(plan);
        return NULL;
    }
    table_open(&plan->slots.table, &slots_info, 1 << 20, &plan->budget);
    table_open(&plan->launches.table, &launches_info, PLAN_LAUNCHES_MAX, &plan->budget);
    table_open(&plan->args.table, &launch_args_info, PLAN_LAUNCHES_MAX * 4, &plan->budget);
    table_open(&plan->buffers.table, &buffers_info, PLAN_LAUNCHES_MAX * 2, &plan->budget);
    table_open(&plan->sizes.table, &plan_sizes_info, PLAN_LAUNCHES_MAX * 4, &plan->budget);
    arena_guard_end(&guard);
    return plan;
}

void plan_close(Plan *plan) {
    if (plan == NULL) return;
    table_close(&plan->slots.table);
    table_close(&plan->launches.table);
    table_close(&plan->args.table);
    table_close(&plan->buffers.table);
    table_close(&plan->sizes.table);
    arena_close(plan->arena);
}

uint32_t launch_ints(const Plan *plan, uint32_t launch, uint32_t attr, int64_t *out) {
    const Attrs   *attrs = &plan->world->attrs;
    const OpInfo  *info = &op_infos[plan->launches.opcode[launch]];
    ListId         list = {(uint32_t)launch_attrs(plan, launch)[attr]};
    const int64_t *numbers = list_numbers(attrs, list);
    ASSERT(attr < info->attrs_count);
    for (uint32_t i = 0; i < list_count(attrs, list); i++)
        out[i] = info->attrs[attr].kind == ATTR_DIMS ? plan->dim_values[numbers[i]] : numbers[i];
    return list_count(attrs, list);
}

/* --- late sizes ------------------------------------------------------------------------------- */
int64_t plan_type_sizes(const World *world, TypeId type, const int64_t *dim_values, int64_t *out) {
    uint32_t rank = type_rank(&world->types, type);
    int64_t  stride = 1;
    for (uint32_t i = rank; i-- > 0;) {
        out[i] = dim_values[type_dims(&world->types, type)[i].row];
        out[rank + i] = stride;
        stride *= out[i];
    }
    return stride;
}
void plan_resize(Plan *plan) {
    const PlanSizes *sizes = &plan->sizes;
    const Attrs     *attrs = &plan->world->attrs;
    for (uint32_t row = 1; row < sizes->table.count; row++) {
        uint32_t from = sizes->from[row], arg = sizes->arg[row], buffer = plan->args.buffer[arg];
        ListId   list = {from};
        switch ((PlanSizeKind)sizes->kind[row]) {
        case PLAN_SIZE_TYPE:
            (void)plan_type_sizes(plan->world, (TypeId){from}, plan->dim_values, sizes->at[row]);
            break;
        case PLAN_SIZE_STRIDES:
            for (uint32_t i = 0; i < list_count(attrs, list); i++)
                sizes->at[row][i] = plan->dim_values[list_numbers(attrs, list)[i]];
            break;
        case PLAN_SIZE_OFFSET:
            plan->args.arg[arg].offset =
                (uint64_t)plan->dim_values[from] * dtype_bytes((Dtype)plan->args.arg[arg].dtype) +
                (plan->buffers.slot[buffer] == 0 ? plan->buffers.offset[buffer] : 0);
            break;
        }
    }
}
