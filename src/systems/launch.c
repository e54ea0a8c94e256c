/* launch: rows become launches at concrete sizes.
 *
 * For each row that computes something (views, constants and state reads do not), addresses its
 * operands and results: slot, byte offset, sizes and strides, from views evaluated with the plan's
 * dim values. Owners get a slot: parameters, inputs, outputs and constants one of their own, the
 * rest a buffer that the memory system places in the arena. Empty results launch nothing. assign
 * becomes a copy into the parameter, or nothing when the memory system can write in place (see
 * memory.c). Needs layout and plan->dim_values. Linear; fills slots, launches, launch_args,
 * buffers. */
#include "systems/system.h"

/* What all dense values of a type have in common: made once a type, copied for every argument. */
typedef struct TypeArg {
    LaunchArg arg; /* without slot and offset */
    uint64_t  bytes;
    bool      made;
} TypeArg;
typedef struct Launching {
    SystemCtx *ctx;
    Plan      *plan;
    TypeArg   *type_args; /* by type row */
    uint32_t  *slot_of;   /* by value row: slot of owners, UINT32_MAX while unset */
    uint32_t  *buffer_of; /* by value row: buffer of owners in the arena */
} Launching;

static const TypeArg *value_type_arg(Launching *l, ValueId value) {
    const Types *types = &l->plan->world->types;
    TypeId       type = l->plan->world->code.values.type[value.row];
    TypeArg     *made = &l->type_args[type.row];
    if (made->made) return made;
    made->made = made->arg.dense = true;
    made->arg.dtype = (uint8_t)type_dtype(types, type);
    made->arg.rank = (uint8_t)type_rank(types, type);
    int64_t stride = 1;
    for (uint32_t i = made->arg.rank; i-- > 0;) {
        made->arg.dims[i] = l->plan->dim_values[type_dims(types, type)[i].row];
        made->arg.strides[i] = stride;
        stride *= made->arg.dims[i];
    }
    made->bytes = (uint64_t)stride * dtype_bytes((Dtype)made->arg.dtype);
    return made;
}
static uint64_t value_bytes(Launching *l, ValueId value) { return value_type_arg(l, value)->bytes; }

static uint32_t add_slot(Launching *l, SlotKind kind, uint32_t index, StrId name, ValueId value) {
    Slots   *slots = &l->plan->slots;
    uint32_t row = table_add(&slots->table);
    slots->kind[row] = (uint8_t)kind;
    slots->index[row] = index;
    slots->name[row] = name;
    slots->value[row] = value;
    slots->bytes[row] = value_bytes(l, value);
    if (value_id_some(value)) l->slot_of[value.row] = row;
    return row;
}

static uint32_t add_buffer(Launching *l, ValueId value, uint32_t slot) {
    Buffers *buffers = &l->plan->buffers;
    uint32_t row = table_add(&buffers->table);
    buffers->value[row] = value;
    buffers->slot[row] = slot;
    buffers->offset[row] = 0;
    buffers->bytes[row] = value_bytes(l, value);
    buffers->first[row] = UINT32_MAX;
    buffers->last[row] = 0;
    l->buffer_of[value.row] = row;
    return row;
}

/* Slot and buffer of the memory that value lives in. */
static void place(Launching *l, ValueId base, uint32_t *out_slot, uint32_t *out_buffer) {
    if (l->slot_of[base.row] == UINT32_MAX) l->slot_of[base.row] = 0;
    if (l->buffer_of[base.row] == 0) (void)add_buffer(l, base, l->slot_of[base.row]);
    *out_slot = l->slot_of[base.row];
    *out_buffer = l->buffer_of[base.row];
}

static void add_arg(Launching *l, ValueId value) {
    const Attrs   *attrs = &l->plan->world->attrs;
    const Views   *views = l->ctx->views;
    const int64_t *sizes = l->plan->dim_values;
    ListId         strides = views->strides[value.row];
    uint32_t       row = table_add(&l->plan->args.table);
    LaunchArg     *arg = &l->plan->args.arg[row];
    *arg = value_type_arg(l, value)->arg;
    place(l, views->base[value.row], &arg->slot, &l->plan->args.buffer[row]);
    arg->offset = (uint64_t)sizes[views->offset[value.row].row] * dtype_bytes((Dtype)arg->dtype);
    if (!list_id_some(strides)) return;
    arg->dense = false;
    for (uint32_t i = 0; i < arg->rank; i++)
        arg->strides[i] = sizes[list_numbers(attrs, strides)[i]];
}

static void touch(Launching *l, uint32_t buffer, uint32_t launch) {
    Buffers *buffers = &l->plan->buffers;
    if (buffers->first[buffer] == UINT32_MAX) buffers->first[buffer] = launch;
    buffers->last[buffer] = launch;
}

static void add_launch(Launching *l, OpId op, uint16_t opcode, const ValueId *operands,
                       uint32_t operands_count, ValueId results_first, uint32_t results,
                       AttrsId attrs) {
    Launches *launches = &l->plan->launches;
    uint32_t  row = table_add(&launches->table);
    launches->opcode[row] = opcode;
    launches->operands[row] = (uint16_t)operands_count;
    launches->args_first[row] = l->plan->args.table.count;
    launches->args_count[row] = operands_count + results;
    launches->attrs[row] = attrs;
    launches->op[row] = op;
    for (uint32_t i = 0; i < operands_count; i++) add_arg(l, operands[i]);
    for (uint32_t i = 0; i < results; i++) add_arg(l, (ValueId){results_first.row + i});
    for (uint32_t i = 0; i < operands_count + results; i++)
        touch(l, launch_buffers(l->plan, row)[i], row);
}

static void add_input_slots(Launching *l) {
    const Code *code = &l->plan->world->code;
    uint32_t    block = code->graphs.block[l->plan->graph.row].row;
    for (uint32_t i = 0; i < code->blocks.args_count[block]; i++) {
        ValueId arg = {code->blocks.args_first[block].row + i};
        (void)add_slot(l, SLOT_INPUT, i, code->values.name[arg.row], arg);
        l->plan->inputs++;
    }
}

/* Slots before launches, so that outputs are written in place from the start. */
static void add_row_slots(Launching *l, uint32_t first, uint32_t last) {
    const World *world = l->plan->world;
    const Code  *code = &world->code;
    for (uint32_t row = first; row < last; row++) {
        uint32_t opcode = code->ops.opcode[row];
        if (opcode == OP_PARAMETER) {
            StrId name = {(uint32_t)op_attrs(world, code, (OpId){row})[ATTR_PARAMETER_name]};
            (void)add_slot(l, SLOT_PARAMETER, 0, name, op_result(code, (OpId){row}, 0));
        } else if (opcode == OP_CONSTANT) {
            uint32_t id = (uint32_t)op_attrs(world, code, (OpId){row})[0];
            (void)add_slot(l, SLOT_CONSTANT, id, (StrId){0}, op_result(code, (OpId){row}, 0));
        }
    }
    OpId   end = {last - 1};
    ListId names = {(uint32_t)op_attrs(world, code, end)[ATTR_RETURN_names]};
    for (uint32_t i = 0; i < code->ops.operands_count[end.row]; i++) {
        StrId name = {i < list_count(&world->attrs, names)
                          ? (uint32_t)list_numbers(&world->attrs, names)[i]
                          : 0};
        (void)add_slot(l, SLOT_OUTPUT, i, name, op_operand(code, end, i));
        l->plan->outputs++;
    }
}

static void launch_row(Launching *l, uint32_t row) {
    const Code   *code = &l->plan->world->code;
    const OpInfo *info = op_info(code, (OpId){row});
    uint32_t      opcode = code->ops.opcode[row], results = code->ops.results_count[row];
    ValueId       first = code->ops.results_first[row];
    if ((info->flags & (OP_VIEW | OP_STATE | OP_TERMINATOR)) != 0 || opcode == OP_CONSTANT) return;
    if (opcode == OP_ASSIGN) return; /* after all others */
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < results; i++) bytes += value_bytes(l, (ValueId){first.row + i});
    if (bytes == 0 && !(info->flags & OP_EFFECT)) return;
    add_launch(l, (OpId){row}, (uint16_t)opcode, op_operands(code, (OpId){row}),
               code->ops.operands_count[row], first, results, code->ops.attrs[row]);
}

/* A copy whose result is the parameter. Assignments count after the step, so they come last. */
static void launch_assign(Launching *l, uint32_t row) {
    const Code *code = &l->plan->world->code;
    if (code->ops.opcode[row] != OP_ASSIGN) return;
    ValueId parameter = op_operand(code, (OpId){row}, 0), value = op_operand(code, (OpId){row}, 1);
    if (value_bytes(l, value) != 0)
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
    l.slot_of = ARENA_ARRAY(ctx->scratch, uint32_t, values);
    l.buffer_of = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, values);
    memset(l.slot_of, 0xFF, values * sizeof *l.slot_of);
    table_clear(&plan->slots.table);
    table_clear(&plan->launches.table);
    table_clear(&plan->args.table);
    table_clear(&plan->buffers.table);
    plan->inputs = plan->outputs = 0;
    add_input_slots(&l);
    add_row_slots(&l, first, last);
    for (uint32_t row = first; row < last; row++)
        if (code->ops.block[row].row == block) launch_row(&l, row);
    for (uint32_t row = first; row < last; row++)
        if (code->ops.block[row].row == block) launch_assign(&l, row);
    return (Ran){.changed = plan->launches.table.count - 1};
}
