/* lower: each fused row becomes a kernel of naive loops.
 *
 * The values of the row's block that are kept in memory (its results, what reductions give, and
 * costly values that several of these need) are stages; everything else is computed where it is
 * used. A stage is a phase of its own: loops over its elements around one store, or around the
 * start and the accumulation of a reduction. All stages of a kernel run over the axes of one frame
 * where their shapes allow it, so that schedules can merge their loops; where they do not, the
 * phases stay apart and the kernel is correct all the same.
 *
 * Needs layout (operands may be strided views). Writes the module of loops. Linear in rows times
 * the number of places where a value is used. */
#include "systems/lower_inner.h"
#include "systems/schedule.h"

/* Teams of threads compute again what lanes keep: their memory is scarce, their arithmetic idle. */
enum { COST_KEPT = 8, COST_KEPT_THREADS = 64 };
static const uint32_t several_stages = UINT32_MAX;

/* --- which values are kept -------------------------------------------------------------------- */
typedef struct Stages {
    ValueId *values; /* in row order */
    uint32_t count;
} Stages;

/* Marks results and reductions, then, from the last row to the first, values that two or more
 * stages would compute again at a cost. users: by value row, the stage that computes it, from 1, or
 * several_stages. */
static void find_stages(Lowering *l, uint32_t *users, Stages *out) {
    const Code *code = l->code;
    uint32_t    first = code->blocks.op_first[l->block.row];
    uint32_t    end = code->blocks.op_last[l->block.row] - 1;
    uint32_t    values = code->ops.results_first[first].row;
    uint32_t    count = code->ops.results_first[end].row - values, stage = 0;
    uint32_t    least = l->ctx->target->threads ? COST_KEPT_THREADS : COST_KEPT;
    uint8_t    *kept = ARENA_ARRAY_ZERO(l->scratch, uint8_t, count + 1);
    uint32_t   *cost = ARENA_ARRAY_ZERO(l->scratch, uint32_t, count + 1);
    for (uint32_t i = 0; i < code->ops.operands_count[end]; i++)
        kept[op_operand(code, (OpId){end}, i).row - values] = 1;
    for (uint32_t row = first; row < end; row++) {
        uint32_t value = code->ops.results_first[row].row - values;
        kept[value] |= code->ops.opcode[row] == OP_REDUCE;
        cost[value] = lower_cost((Opcode)code->ops.opcode[row]);
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            uint32_t x = op_operand(code, (OpId){row}, i).row - values;
            if (x < count && !kept[x]) cost[value] += cost[x];
        }
    }
    for (uint32_t row = end; row-- > first;) {
        uint32_t value = code->ops.results_first[row].row - values;
        bool     shared = users[value] == several_stages;
        bool     own = lower_cost((Opcode)code->ops.opcode[row]) >= COST_KEPT;
        kept[value] |= shared && own && cost[value] >= least;
        uint32_t by = kept[value] ? ++stage : users[value];
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            uint32_t x = op_operand(code, (OpId){row}, i).row - values;
            if (x >= count || by == 0) continue;
            users[x] = users[x] == 0 || users[x] == by ? by : several_stages;
        }
    }
    out->values = ARENA_ARRAY(l->scratch, ValueId, stage + 1);
    for (uint32_t row = first; row < end; row++)
        if (kept[code->ops.results_first[row].row - values])
            out->values[out->count++] = code->ops.results_first[row];
}

/* --- buffers ---------------------------------------------------------------------------------- */
static BufferId add_arg(Lowering *l, ValueId inner, ValueId outer, uint32_t position) {
    DimId        dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
    LoopBuffers *buffers = &l->loops->buffers;
    uint32_t     rank = lower_dims(l, inner, dims);
    Dtype        dtype = type_dtype(&l->world->types, l->code->values.type[inner.row]);
    BufferId     buffer = loops_add_buffer(l->loops, SCOPE_ARG, dtype, dims, rank);
    ListId       view = l->ctx->views->strides[outer.row];
    buffers->arg[buffer.row] = (uint16_t)position;
    if (!list_id_some(view)) return buffer;
    for (uint32_t i = 0; i < rank; i++)
        strides[i] = lower_dim(l, (DimId){(uint32_t)list_numbers(&l->world->attrs, view)[i]});
    buffers->strides[buffer.row] = loops_list(l->loops, strides, rank);
    return buffer;
}
/* Sums of 16-bit floats are not rounded with each step: they are kept wide and stored at the end.
 * */
static bool sums_wide(const Lowering *l, ValueId value) {
    Dtype dtype = type_dtype(&l->world->types, l->code->values.type[value.row]);
    return l->code->ops.opcode[value_op(l->code, value).row] == OP_REDUCE &&
           dtype_compute(dtype) != dtype;
}
static void add_buffers(Lowering *l, OpId op, const Stages *stages) {
    const Code *code = l->code;
    uint32_t operands = code->ops.operands_count[op.row], end = code->blocks.op_last[l->block.row];
    ValueId  args = code->blocks.args_first[l->block.row];
    for (uint32_t i = 0; i < operands; i++)
        l->buffer_of[args.row + i] =
            add_arg(l, (ValueId){args.row + i}, op_operand(code, op, i), i);
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
        ValueId  inner = op_operand(code, (OpId){end - 1}, i);
        BufferId result = add_arg(l, inner, op_result(code, op, i), operands + i);
        if (!sums_wide(l, inner)) l->buffer_of[inner.row] = result;
    }
    for (uint32_t i = 0; i < stages->count; i++) {
        DimId    dims[SHAPE_RANK_MAX];
        ValueId  value = stages->values[i];
        uint32_t rank = lower_dims(l, value, dims);
        Dtype    dtype = type_dtype(&l->world->types, code->values.type[value.row]);
        if (buffer_id_some(l->buffer_of[value.row])) continue;
        l->buffer_of[value.row] =
            loops_add_buffer(l->loops, SCOPE_WORK, dtype_compute(dtype), dims, rank);
    }
}

/* --- frame ------------------------------------------------------------------------------------ */
typedef struct Frame { /* the iteration space that the stages of a kernel share */
    uint32_t rank;
    DimId    dims[SHAPE_RANK_MAX], elements, kept_elements;
    uint32_t reduced; /* bit per axis: summed over by the kernel's reductions */
} Frame;

static DimId product(Lowering *l, const DimId *dims, uint32_t rank, uint32_t without) {
    DimId elements = dims_const(&l->loops->dims, 1);
    for (uint32_t i = 0; i < rank; i++)
        if (!(without >> i & 1)) elements = dims_mul(&l->loops->dims, elements, dims[i]);
    return elements;
}
static uint32_t reduced_axes(const Lowering *l, OpId op) {
    ListId   axes = {(uint32_t)op_attrs(l->world, l->code, op)[ATTR_REDUCE_axes]};
    uint32_t bits = 0;
    for (uint32_t i = 0; i < list_count(&l->world->attrs, axes); i++)
        bits |= 1u << list_numbers(&l->world->attrs, axes)[i];
    return bits;
}
/* The finest shape: that of the operand of a reduction if there is one, else of a result. Of
 * crossed reductions, the one over the contiguous axis says what is kept. */
static Frame find_frame(Lowering *l, const Stages *stages) {
    Frame frame = {0};
    bool  reduces = false;
    for (uint32_t i = 0; i < stages->count; i++) {
        DimId    dims[SHAPE_RANK_MAX];
        OpId     op = value_op(l->code, stages->values[i]);
        bool     is_reduce = l->code->ops.opcode[op.row] == OP_REDUCE;
        ValueId  over = is_reduce ? op_operand(l->code, op, 0) : stages->values[i];
        uint32_t rank = lower_dims(l, over, dims);
        bool     better = is_reduce && reduces && frame.rank == rank && rank != 0 &&
                      (reduced_axes(l, op) >> (rank - 1) & 1) && !(frame.reduced >> (rank - 1) & 1);
        if (reduces && !is_reduce) continue;
        if (frame.rank >= rank && reduces == is_reduce && i != 0 && !better) continue;
        frame.rank = rank;
        memcpy(frame.dims, dims, sizeof dims);
        frame.reduced = is_reduce ? reduced_axes(l, op) : 0;
        reduces |= is_reduce;
    }
    frame.elements = product(l, frame.dims, frame.rank, 0);
    frame.kept_elements = product(l, frame.dims, frame.rank, frame.reduced);
    return frame;
}

/* Loops over axes of a shape; index gets their variables, constants 0 stand elsewhere. */
typedef struct Nest {
    NodeId   phase, loops[SHAPE_RANK_MAX];
    uint32_t depth;
    DimId    index[SHAPE_RANK_MAX];
} Nest;
static Nest open_nest(Lowering *l, const DimId *dims, uint32_t rank, uint32_t without) {
    Dims *d = &l->loops->dims;
    Nest  nest = {.phase = loops_phase(l->loops)};
    for (uint32_t i = 0; i < rank; i++) {
        nest.index[i] = dims_const(d, 0);
        if ((without >> i & 1) || dims[i].row == dims_const(d, 1).row) continue;
        nest.index[i] = loops_fresh(l->loops, 'i');
        dims_set_below(d, nest.index[i], dims[i]);
        nest.loops[nest.depth++] = loops_loop(l->loops, nest.index[i], dims[i], BIND_SERIAL);
    }
    return nest;
}
static void close_nest(Lowering *l, Nest *nest) {
    while (nest->depth-- > 0) loops_end(l->loops, nest->loops[nest->depth]);
    loops_end(l->loops, nest->phase);
}

/* The index of a value of `rank` dims whose elements are those of the frame without some axes. */
static ListId index_in(Lowering *l, const Frame *frame, const Nest *nest, uint32_t without,
                       const DimId *dims, uint32_t rank) {
    DimId    index[SHAPE_RANK_MAX], kept[SHAPE_RANK_MAX], sizes[SHAPE_RANK_MAX];
    uint32_t count = 0;
    bool     same = true;
    for (uint32_t i = 0; i < frame->rank; i++) {
        if (without >> i & 1) continue;
        same &= count < rank && dims[count].row == frame->dims[i].row;
        sizes[count] = frame->dims[i];
        kept[count++] = nest->index[i];
    }
    if (same && count == rank) return loops_list(l->loops, kept, rank);
    lower_split_linear(l, lower_linear(l, kept, sizes, count), dims, rank, index);
    return loops_list(l->loops, index, rank);
}

/* --- stages ----------------------------------------------------------------------------------- */
/* store to[index] = element of a value, over the frame, its kept axes, or the value's own shape.
 * The element is computed if `to` is the buffer that keeps it, else loaded from there. */
static void lower_store(Lowering *l, const Frame *frame, ValueId value, BufferId to) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = lower_dims(l, value, dims), without = 0;
    DimId    elements = product(l, dims, rank, 0);
    Frame    own = {.rank = rank, .elements = elements};
    memcpy(own.dims, dims, sizeof dims);
    if (elements.row == frame->elements.row)
        own = *frame;
    else if (elements.row == frame->kept_elements.row) {
        own = *frame;
        without = frame->reduced;
    }
    Nest   nest = open_nest(l, own.dims, own.rank, without);
    ListId index = index_in(l, &own, &nest, without, dims, rank);
    bool   keeps = to.row == l->buffer_of[value.row].row;
    ExprId element = lower_element(l, value, index, keeps ? value : (ValueId){0});
    (void)loops_store(l->loops, access_of(to, index), element, (ExprId){0});
    close_nest(l, &nest);
}

/* One phase of a reduction: the start value of each element, or the accumulation. */
static void lower_reduce(Lowering *l, const Frame *frame, ValueId value, bool start) {
    OpId       op = value_op(l->code, value);
    ValueId    x = op_operand(l->code, op, 0);
    ReduceKind kind = (ReduceKind)op_attrs(l->world, l->code, op)[ATTR_REDUCE_kind];
    DimId      dims[SHAPE_RANK_MAX], kept[SHAPE_RANK_MAX];
    uint32_t   rank = lower_dims(l, x, dims), axes = reduced_axes(l, op), count = 0;
    Frame      over = {.rank = rank};
    memcpy(over.dims, dims, sizeof dims);
    if (!start && product(l, dims, rank, 0).row == frame->elements.row) over = *frame;
    Nest   nest = open_nest(l, over.dims, over.rank, start ? axes : 0);
    ListId index = start ? (ListId){0} : index_in(l, &over, &nest, 0, dims, rank);
    for (uint32_t i = 0; i < rank; i++)
        if (!(axes >> i & 1)) kept[count++] = start ? nest.index[i] : list_dim(l->loops, index, i);
    BufferId   buffer = l->buffer_of[value.row];
    LoopAccess to = access_of(buffer, loops_list(l->loops, kept, count));
    Dtype      dtype = (Dtype)l->loops->buffers.dtype[buffer.row];
    if (start)
        (void)loops_store(l->loops, to, loops_identity(l->loops, kind, dtype), (ExprId){0});
    else
        (void)loops_reduce(l->loops, kind, to, lower_element(l, x, index, (ValueId){0}),
                           (ExprId){0});
    close_nest(l, &nest);
}
/* Start values come before all else, those of the frame's own reductions last, so that their loops
 * stand next to those that they can merge with. */
static void lower_starts(Lowering *l, const Frame *frame, const Stages *stages) {
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < stages->count; i++) {
            DimId    dims[SHAPE_RANK_MAX];
            OpId     op = value_op(l->code, stages->values[i]);
            uint32_t rank = lower_dims(l, stages->values[i], dims);
            bool     own = product(l, dims, rank, 0).row == frame->kept_elements.row;
            if (l->code->ops.opcode[op.row] == OP_REDUCE && own == (pass == 1))
                lower_reduce(l, frame, stages->values[i], true);
        }
}

static void lower_row(Lowering *l, OpId op) {
    const Code *code = l->code;
    l->block = code->ops.blocks_first[op.row];
    uint32_t  first = code->blocks.op_first[l->block.row];
    uint32_t  last = code->blocks.op_last[l->block.row] - 1;
    uint32_t  values = code->ops.results_first[last].row - code->ops.results_first[first].row;
    uint32_t *users = ARENA_ARRAY_ZERO(l->scratch, uint32_t, values + 1);
    Stages    stages = {.count = 0};
    memset(l->imported, 0, sizeof *l->imported * l->world->dims.rows.table.count);
    lower_forget(l);
    find_stages(l, users, &stages);
    KernelId kernel = loops_add_kernel(l->loops, op);
    add_buffers(l, op, &stages);
    Frame frame = find_frame(l, &stages);
    lower_starts(l, &frame, &stages);
    for (uint32_t i = 0; i < stages.count; i++) {
        OpId def = value_op(code, stages.values[i]);
        if (code->ops.opcode[def.row] == OP_REDUCE)
            lower_reduce(l, &frame, stages.values[i], false);
        else
            lower_store(l, &frame, stages.values[i], l->buffer_of[stages.values[i].row]);
    }
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++) {
        ValueId  inner = op_operand(code, (OpId){last}, i);
        uint32_t result = l->loops->kernels.buffers_first[kernel.row];
        result += code->ops.operands_count[op.row] + i;
        if (sums_wide(l, inner)) lower_store(l, &frame, inner, (BufferId){result});
    }
    ASSERT(loops_verify(l->loops, kernel) == NULL);
}

Ran sys_lower(SystemCtx *ctx) {
    World   *world = ctx->world;
    Lowering l = {.ctx = ctx, .world = world, .code = &world->code, .loops = ctx->loops};
    Ran      ran = {0};
    l.scratch = ctx->scratch;
    l.imported = ARENA_ARRAY_ZERO(ctx->scratch, DimId, world->dims.rows.table.count);
    l.buffer_of = ARENA_ARRAY_ZERO(ctx->scratch, BufferId, world->code.values.table.count);
    l.memo_mask = 255;
    l.memo = ARENA_ARRAY_ZERO(ctx->scratch, LowerMemo, l.memo_mask + 1);
    for (uint32_t row = 1; row < l.code->ops.table.count; row++) {
        if (l.code->ops.opcode[row] != OP_FUSED) continue;
        KernelId newest = {l.loops->kernels.table.count};
        lower_row(&l, (OpId){row});
        if (ctx->target != NULL) schedule_kernel(ctx, newest);
        ran.changed++;
    }
    return ran;
}
