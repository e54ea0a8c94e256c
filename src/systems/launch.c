/* launch: rows become launches at concrete sizes.
 *
 * For each row that computes something (views, constants and state reads do not), addresses its
 * operands and results: slot, byte offset, sizes and strides, from views evaluated with the plan's
 * dim values. Owners get a slot: parameters, inputs, outputs and constants one of their own, the
 * rest a buffer that the memory system places in the arena. Empty results launch nothing. assign
 * becomes a copy into the parameter, or nothing when the memory system can write in place (see
 * memory.c). Needs layout and plan->dim_values. Linear; fills slots, launches, launch_args,
 * buffers, and plan_sizes if data decides sizes. Control flow is in launch_flow.c. */
#include "systems/launch_inner.h"

static void note_size(Launching *l, PlanSizeKind kind, uint32_t from, uint32_t arg, int64_t *at) {
    PlanSizes *sizes = &l->plan->sizes;
    if (!l->late) return;
    uint32_t row = table_add(&sizes->table);
    sizes->kind[row] = (uint8_t)kind;
    sizes->from[row] = from;
    sizes->arg[row] = arg;
    sizes->at[row] = at;
}

const TypeArg *launch_type_arg(Launching *l, ValueId value) {
    const Types *types = &l->plan->world->types;
    TypeId       type = l->plan->world->code.values.type[value.row];
    TypeArg     *made = &l->type_args[type.row];
    if (made->arg.dims != NULL) return made;
    uint32_t rank = type_rank(types, type);
    int64_t *dims = ARENA_ARRAY(l->plan->arena, int64_t, 2 * rank);
    int64_t  elements = plan_type_sizes(l->plan->world, type, l->plan->dim_values, dims);
    note_size(l, PLAN_SIZE_TYPE, type.row, 0, dims);
    made->arg = (LaunchArg){.dtype = (uint8_t)type_dtype(types, type),
                            .rank = (uint8_t)rank,
                            .dense = true,
                            .dims = dims,
                            .strides = dims + rank};
    made->bytes = (uint64_t)elements * dtype_bytes((Dtype)made->arg.dtype);
    return made;
}
static uint64_t value_bytes(Launching *l, ValueId value) {
    return launch_type_arg(l, value)->bytes;
}

static const int64_t *strides_of(Launching *l, ListId list) {
    const Attrs    *attrs = &l->plan->world->attrs;
    const int64_t **made = &l->list_strides[list.row];
    if (*made != NULL) return *made;
    int64_t *strides = ARENA_ARRAY(l->plan->arena, int64_t, list_count(attrs, list));
    for (uint32_t i = 0; i < list_count(attrs, list); i++)
        strides[i] = l->plan->dim_values[list_numbers(attrs, list)[i]];
    note_size(l, PLAN_SIZE_STRIDES, list.row, 0, strides);
    return *made = strides;
}

uint32_t launch_buffer(Launching *l, ValueId value, uint32_t slot) {
    Buffers *buffers = &l->plan->buffers;
    uint32_t row = table_add(&buffers->table);
    buffers->value[row] = value;
    buffers->slot[row] = slot;
    buffers->offset[row] = 0;
    buffers->bytes[row] = value_bytes(l, value);
    buffers->first[row] = UINT32_MAX;
    buffers->last[row] = 0;
    buffers->over[row] = 0;
    return l->buffer_of[value.row] = row;
}

uint32_t launch_slot(Launching *l, SlotKind kind, uint32_t index, uint64_t bytes) {
    Slots   *slots = &l->plan->slots;
    uint32_t row = table_add(&slots->table);
    slots->kind[row] = (uint8_t)kind;
    slots->index[row] = index;
    slots->name[row] = (StrId){0};
    slots->value[row] = (ValueId){0};
    slots->bytes[row] = bytes;
    return row;
}
static void add_slot(Launching *l, SlotKind kind, uint32_t index, StrId name, ValueId value) {
    uint32_t row = launch_slot(l, kind, index, value_bytes(l, value));
    l->plan->slots.name[row] = name;
    l->plan->slots.value[row] = value;
    (void)launch_buffer(l, value, row);
}

/* Appends a dense argument like value to the newest launch, in a buffer; gives its row. */
static uint32_t add_arg(Launching *l, uint32_t launch, ValueId value, uint32_t buffer) {
    Plan      *plan = l->plan;
    uint32_t   row = table_add(&plan->args.table);
    LaunchArg *arg = &plan->args.arg[row];
    ASSERT(launch + 1 == plan->launches.table.count);
    *arg = launch_type_arg(l, value)->arg;
    arg->slot = plan->buffers.slot[buffer];
    plan->args.buffer[row] = buffer;
    plan->launches.args_count[launch]++;
    return row;
}
/* The same where its view says that it lies; gives the buffer. */
static uint32_t add_view_arg(Launching *l, uint32_t launch, ValueId value) {
    Plan        *plan = l->plan;
    const Views *views = l->ctx->views;
    ValueId      base = views->base[value.row];
    ListId       strides = views->strides[value.row];
    uint32_t     buffer = l->buffer_of[base.row];
    if (buffer == 0) buffer = launch_buffer(l, base, 0);
    uint32_t   row = add_arg(l, launch, value, buffer);
    LaunchArg *arg = &plan->args.arg[row];
    if (value_id_same(base, value) && !list_id_some(strides)) return buffer;
    /* a view, or in an order of its own */
    arg->offset =
        (uint64_t)plan->dim_values[views->offset[value.row].row] * dtype_bytes((Dtype)arg->dtype);
    note_size(l, PLAN_SIZE_OFFSET, views->offset[value.row].row, row, NULL);
    arg->dense = !list_id_some(strides);
    if (!arg->dense) arg->strides = strides_of(l, strides);
    return buffer;
}
static void is_written(Launching *l, uint32_t launch, uint32_t buffer) {
    Buffers *buffers = &l->plan->buffers;
    if (launch < buffers->first[buffer]) buffers->first[buffer] = launch;
    if (buffers->last[buffer] == 0) buffers->last[buffer] = launch;
}
void launch_operand(Launching *l, uint32_t launch, ValueId value) {
    l->plan->buffers.last[add_view_arg(l, launch, value)] = launch;
    l->plan->launches.operands[launch]++;
}
void launch_result(Launching *l, uint32_t launch, ValueId value, uint32_t buffer) {
    (void)add_arg(l, launch, value, buffer);
    is_written(l, launch, buffer);
}

uint32_t launch_begin(Launching *l, OpId op, uint16_t opcode, AttrsId attrs) {
    Launches *launches = &l->plan->launches;
    uint32_t  row = plan_add_launch(l->plan);
    launches->opcode[row] = opcode;
    launches->args_first[row] = l->plan->args.table.count;
    launches->attrs[row] = attrs;
    launches->op[row] = op;
    return row;
}
/* The slot of copies on the host. */
static uint32_t host_slot(Launching *l) {
    if (l->plan->host == 0) l->plan->host = launch_slot(l, SLOT_HOST, 0, 0);
    return l->plan->host;
}
static void add_launch(Launching *l, OpId op, uint16_t opcode, const ValueId *operands,
                       uint32_t operands_count, ValueId results_first, uint32_t results,
                       AttrsId attrs) {
    uint32_t row = launch_begin(l, op, opcode, attrs);
    if (opcode == OP_COPY_OUT) (void)launch_buffer(l, results_first, host_slot(l));
    for (uint32_t i = 0; i < operands_count; i++) launch_operand(l, row, operands[i]);
    for (uint32_t i = 0; i < results; i++)
        is_written(l, row, add_view_arg(l, row, (ValueId){results_first.row + i}));
}

static void add_input_slots(Launching *l) {
    const Code *code = &l->plan->world->code;
    uint32_t    block = code->graphs.block[l->plan->graph.row].row;
    for (uint32_t i = 0; i < code->blocks.args_count[block]; i++) {
        ValueId arg = {code->blocks.args_first[block].row + i};
        add_slot(l, SLOT_INPUT, i, code->values.name[arg.row], arg);
        l->plan->inputs++;
    }
}

/* Rows of a fused row's block are part of its kernel. */
static bool in_kernel(const Code *code, uint32_t row) {
    OpId parent = code->blocks.parent[code->ops.block[row].row];
    return op_id_some(parent) && code->ops.opcode[parent.row] == OP_FUSED;
}

/* Slots before launches, so that outputs are written in place from the start. */
static void add_row_slots(Launching *l, uint32_t first, uint32_t last) {
    const World *world = l->plan->world;
    const Code  *code = &world->code;
    for (uint32_t row = first; row < last; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (in_kernel(code, row)) continue;
        if (opcode == OP_PARAMETER) {
            StrId name = {(uint32_t)op_attrs(world, code, (OpId){row})[ATTR_PARAMETER_name]};
            add_slot(l, SLOT_PARAMETER, 0, name, op_result(code, (OpId){row}, 0));
        } else if (opcode == OP_CONSTANT) {
            uint32_t id = (uint32_t)op_attrs(world, code, (OpId){row})[0];
            add_slot(l, SLOT_CONSTANT, id, (StrId){0}, op_result(code, (OpId){row}, 0));
        }
    }
    OpId   end = {last - 1};
    ListId names = {(uint32_t)op_attrs(world, code, end)[ATTR_RETURN_names]};
    for (uint32_t i = 0; i < code->ops.operands_count[end.row]; i++) {
        StrId name = {i < list_count(&world->attrs, names)
                          ? (uint32_t)list_numbers(&world->attrs, names)[i]
                          : 0};
        add_slot(l, SLOT_OUTPUT, i, name, op_operand(code, end, i));
        l->plan->outputs++;
    }
}

/* Whether the operands of a concat are written where it wants them. */
static bool views_joined(const Launching *l, OpId concat) {
    const Code *code = &l->plan->world->code;
    ValueId     part = op_operand(code, concat, 0), whole = op_result(code, concat, 0);
    return l->ctx->views->base[part.row].row == whole.row;
}
static void launch_row(Launching *l, uint32_t row) {
    const Code *code = &l->plan->world->code;
    bool        nested = op_id_some(code->blocks.parent[code->ops.block[row].row]);
    launch_flow_before(l, row);
    if (in_kernel(code, row)) return;
    const OpInfo *info = op_info(code, (OpId){row});
    uint32_t      opcode = code->ops.opcode[row], results = code->ops.results_count[row];
    ValueId       first = code->ops.results_first[row];
    if (nested && (info->flags & OP_TERMINATOR)) {
        launch_flow_return(l, row);
        return;
    }
    if ((info->flags & OP_BLOCKS) && opcode != OP_FUSED) {
        launch_flow_end(l, row);
        return;
    }
    if ((info->flags & (OP_VIEW | OP_STATE | OP_TERMINATOR)) != 0 || opcode == OP_CONSTANT) return;
    if (opcode == OP_ASSIGN) return; /* after all others */
    if (opcode == OP_CONCAT && views_joined(l, (OpId){row})) return;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < results; i++) bytes += value_bytes(l, (ValueId){first.row + i});
    if (bytes == 0 && !(info->flags & (OP_EFFECT | OP_LATE))) return;
    add_launch(l, (OpId){row}, (uint16_t)opcode, op_operands(code, (OpId){row}),
               code->ops.operands_count[row], first, results, code->ops.attrs[row]);
}

/* A copy whose result is the parameter. Assignments count after the step, so they come last; from
 * the last row on, because of several to one parameter that one counts. */
static void launch_assign(Launching *l, uint32_t row) {
    const Code *code = &l->plan->world->code;
    ValueId  parameter = op_operand(code, (OpId){row}, 0), value = op_operand(code, (OpId){row}, 1);
    uint32_t buffer = l->buffer_of[parameter.row];
    if (value_bytes(l, value) != 0 && l->plan->buffers.first[buffer] == UINT32_MAX)
        add_launch(l, (OpId){row}, OP_ASSIGN, &value, 1, parameter, 1, (AttrsId){0});
}

Ran sys_launch(SystemCtx *ctx) {
    Plan       *plan = ctx->plan;
    const Code *code = &ctx->world->code;
    uint32_t    values = code->values.table.count, block = code->graphs.block[plan->graph.row].row;
    uint32_t    first = code->blocks.op_first[block], last = code->blocks.op_last[block];
    Launching   l = {.ctx = ctx, .plan = plan};
    ASSERT(plan->world == ctx->world);
    l.type_args = ARENA_ARRAY_ZERO(ctx->scratch, TypeArg, ctx->world->types.types.table.count);
    l.list_strides =
        ARENA_ARRAY_ZERO(ctx->scratch, const int64_t *, ctx->world->attrs.lists.runs.table.count);
    l.buffer_of = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, values);
    table_clear(&plan->slots.table);
    table_clear(&plan->launches.table);
    table_clear(&plan->args.table);
    table_clear(&plan->buffers.table);
    table_clear(&plan->sizes.table);
    for (uint32_t row = first; row < last; row++)
        l.late |= (op_info(code, (OpId){row})->flags & OP_LATE) != 0;
    plan->inputs = plan->outputs = 0;
    plan->flows = false;
    plan->host = 0;
    add_input_slots(&l);
    add_row_slots(&l, first, last);
    for (uint32_t row = first; row < last; row++) launch_row(&l, row);
    for (uint32_t row = last; row-- > first;)
        if (code->ops.opcode[row] == OP_ASSIGN && code->ops.block[row].row == block)
            launch_assign(&l, row);
    return (Ran){.changed = plan->launches.table.count - 1};
}
