/* Opening and closing plan tables; reading list attributes at concrete sizes; late sizes.
 *
 * Tables are as long as the graph can need, in one arena: a session keeps hundreds of plans. */
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

/* What launches of this graph can need. */
typedef struct PlanRows {
    uint32_t slots, launches, args, buffers, sizes;
} PlanRows;
/* Passes, jumps and heads of a control operator, at most. */
static void count_flow(const Code *code, OpId op, PlanRows *rows) {
    uint32_t blocks = code->ops.blocks_count[op.row], operands = code->ops.operands_count[op.row];
    uint32_t results = code->ops.results_count[op.row], passes = operands + blocks * results;
    rows->launches += passes + 2 * blocks + 2;
    rows->args += 2 * passes + 2 * (operands + results) + blocks;
    rows->slots += 1 + operands + results;
}
static PlanRows count_rows(const World *world, GraphId graph) {
    const Code *code = &world->code;
    uint32_t    block = code->graphs.block[graph.row].row, inputs = code->blocks.args_count[block];
    PlanRows    rows = {.slots = 1 + inputs, .launches = 1, .args = 1, .sizes = 1};
    bool        late = false;
    for (uint32_t row = code->blocks.op_first[block]; row < code->blocks.op_last[block]; row++) {
        const OpInfo *info = op_info(code, (OpId){row});
        uint32_t      operands = code->ops.operands_count[row];
        OpId          parent = code->blocks.parent[code->ops.block[row].row];
        if (op_id_some(parent) && code->ops.opcode[parent.row] == OP_FUSED) continue;
        if (code->ops.blocks_count[row] != 0 && code->ops.opcode[row] != OP_FUSED) {
            count_flow(code, (OpId){row}, &rows);
            continue;
        }
        late |= (info->flags & OP_LATE) != 0;
        rows.slots += info->flags & OP_TERMINATOR ? operands : 1;
        rows.launches++;
        rows.args += operands + code->ops.results_count[row];
    }
    rows.buffers = rows.slots + rows.args;
    if (late) rows.sizes += 3 * rows.args + rows.buffers; /* a type, strides and an offset each */
    return rows;
}

Plan *plan_open(const World *world, const struct Loops *loops, GraphId graph) {
    Arena *arena = arena_open("plan", (size_t)1 << 32, 0);
    if (arena == NULL) return NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        arena_close(arena);
        return NULL;
    }
    PlanRows rows = count_rows(world, graph);
    Plan    *plan = ARENA_NEW(arena, Plan);
    *plan = (Plan){.world = world, .loops = loops, .graph = graph, .arena = arena};
    plan->dim_values = ARENA_ARRAY_ZERO(arena, int64_t, world->dims.rows.table.count);
    table_open_in(&plan->slots.table, &slots_info, rows.slots, arena);
    table_open_in(&plan->launches.table, &launches_info, rows.launches, arena);
    table_open_in(&plan->args.table, &launch_args_info, rows.args, arena);
    table_open_in(&plan->buffers.table, &buffers_info, rows.buffers, arena);
    table_open_in(&plan->sizes.table, &plan_sizes_info, rows.sizes, arena);
    arena_guard_end(&guard);
    return plan;
}

uint32_t plan_add_launch(Plan *plan) {
    Launches *launches = &plan->launches;
    uint32_t  row = table_add(&launches->table);
    launches->opcode[row] = launches->operands[row] = launches->which[row] = 0;
    launches->args_first[row] = launches->args_count[row] = 0;
    launches->attrs[row] = (AttrsId){0};
    launches->op[row] = (OpId){0};
    launches->flow[row] = FLOW_NONE;
    launches->entered[row] = false;
    launches->target[row] = launches->end[row] = launches->first_slot[row] = 0;
    launches->live[row] = 0;
    return row;
}
void plan_close(Plan *plan) {
    if (plan != NULL) arena_close(plan->arena);
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

String plan_launch_label(Arena *out, const Plan *plan, uint32_t launch) {
    const World *world = plan->world;
    OpId         op = plan->launches.op[launch];
    const char  *text = op_infos[plan->launches.opcode[launch]].name;
    String       name = {0};
    if (world->code.ops.results_count[op.row] != 0)
        name = strings_get(&world->strings,
                           world->code.values.name[world->code.ops.results_first[op.row].row]);
    return name.count ? str_format(out, "%s %%%.*s", text, STR_ARGS(name))
                      : str_copy(out, str_of(text));
}

void plan_mark_entered(Plan *plan) {
    Launches *launches = &plan->launches;
    for (uint32_t row = 1; row < launches->table.count; row++) launches->entered[row] = false;
    for (uint32_t row = 1; row < launches->table.count; row++)
        if (launches->flow[row] >= FLOW_UNLESS && launches->target[row] < launches->table.count &&
            launches->target[row] != 0)
            launches->entered[launches->target[row]] = true;
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
