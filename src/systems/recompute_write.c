/* The code with second runs. A second run stands just before the launch that first needs it. What
 * it reads of what was there already goes through a barrier together with the value made last, so
 * that it is no longer equal to the first run and cannot stand earlier: a view, which costs
 * nothing. The rows between, which only view memory, are written again over the copies.
 *
 * Views and kernels are kept by row, so both tables are written anew: a second run has the views of
 * the first one, and its kernel. */
#include "systems/recompute_inner.h"
#include "systems/rewrite.h"

typedef struct Writing {
    Recompute  *r;
    const Tape *tape;
    Rewrite     rw;
    ValueId    *copy;   /* by old value: what later launches read; nil: not written yet */
    ValueId    *host;   /* by old value: where it is on the host */
    uint32_t   *origin; /* by new value: the old one; 0: a barrier's */
    uint32_t   *launch; /* by old row: launch that begins here, with the rows of its block */
    ValueId     newest; /* made by the launch written last */
    ValueId    *operands, *held;
    uint32_t   *stack;
    OpId       *kernel_ops; /* rows of kernels in order, and the kernels they had */
    KernelId   *kernels;
    uint32_t    kernels_count;
} Writing;

/* --- values ----------------------------------------------------------------------------------- */
/* The copy of a value whose memory a second run writes; views of it are written on the way. */
static ValueId late_value(Writing *w, ValueId value) {
    const Code *old = w->rw.old;
    uint32_t    depth = 0;
    w->stack[depth++] = value.row;
    while (depth != 0) {
        ValueId top = {w->stack[depth - 1]};
        if (value_id_some(w->copy[top.row])) {
            depth--;
            continue;
        }
        OpId     op = value_op(old, top);
        uint32_t result = top.row - old->ops.results_first[op.row].row;
        ValueId  from = op_operand(old, op, result);
        ASSERT(op_info(old, op)->flags & OP_VIEW); /* else a second run has written it */
        if (!value_id_some(w->copy[from.row])) {
            w->stack[depth++] = from.row;
            continue;
        }
        for (uint32_t i = 0; i < old->ops.operands_count[op.row]; i++)
            w->held[i] = w->rw.map[op_operand(old, op, i).row];
        w->held[result] = w->copy[from.row];
        OpId again = rewrite_again(&w->rw, op, w->held);
        w->copy[top.row] = op_result(w->rw.build.code, again, result);
        for (uint32_t i = 0; i < old->ops.results_count[op.row]; i++)
            w->origin[op_result(w->rw.build.code, again, i).row] =
                old->ops.results_first[op.row].row + i;
        depth--;
    }
    return w->copy[value.row];
}
/* What a launch at `at` reads; false for those that a second run must see through a barrier. */
static void read_operands(Writing *w, OpId op, uint32_t launch, uint32_t at, bool *out_late) {
    const uint32_t *used = launch_buffers(w->r->plan, launch);
    for (uint32_t i = 0; i < w->rw.old->ops.operands_count[op.row]; i++) {
        ValueId x = op_operand(w->rw.old, op, i);
        bool    late = recompute_late(w->r, at, used[i]);
        out_late[i] = late;
        w->operands[i] = late ? late_value(w, x) : w->rw.map[x.row];
    }
}

/* --- rows ------------------------------------------------------------------------------------- */
static void note_kernel(Writing *w, OpId old, OpId new) {
    if (w->rw.old->ops.opcode[old.row] != OP_FUSED) return;
    w->kernel_ops[w->kernels_count] = new;
    w->kernels[w->kernels_count++] = loops_of_op(w->r->ctx->loops, old);
}
static void write_barrier(Writing *w, uint32_t count, const bool *late) {
    Build   *build = &w->rw.build;
    uint32_t held = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!late[i]) w->held[held++] = w->operands[i];
    if (held == 0) return;
    w->held[held++] = w->newest;
    OpId barrier = build_row(build, OP_BARRIER, w->held, held, NULL, 0);
    for (uint32_t i = 0, k = 0; i < count; i++)
        if (!late[i]) w->operands[i] = op_result(build->code, barrier, k++);
}
static void write_again(Writing *w, uint32_t launch, uint32_t at) {
    const Code *old = w->rw.old;
    OpId        op = w->r->plan->launches.op[launch];
    bool        late[RECOMPUTE_OPERANDS_MAX] = {false};
    ASSERT(old->ops.operands_count[op.row] <= LENGTH(late));
    rewrite_at(&w->rw, op);
    read_operands(w, op, launch, at, late);
    write_barrier(w, old->ops.operands_count[op.row], late);
    OpId again = rewrite_again(&w->rw, op, w->operands);
    note_kernel(w, op, again);
    for (uint32_t i = 0; i < old->ops.results_count[op.row]; i++) {
        ValueId made = op_result(w->rw.build.code, again, i), first = op_result(old, op, i);
        w->copy[first.row] = made;
        w->origin[made.row] = first.row;
    }
}
/* A copy to the host or back, or its end: everything stays in the order in which it is. */
static ValueId write_copy(Writing *w, Opcode opcode, ValueId from, ValueId old) {
    Code   *code = w->rw.build.code;
    OpId    op = build_row(&w->rw.build, opcode, &from, 1, NULL, 0);
    ValueId made = op_result(code, op, 0);
    code->values.name[made.row] = w->rw.old->values.name[old.row];
    w->origin[made.row] = old.row;
    return made;
}
static void write_end(Writing *w, ValueId made, ValueId from) {
    ValueId both[] = {made, from};
    (void)build_row(&w->rw.build, OP_AWAIT, both, 2, NULL, 0);
}
static void write_extra(Writing *w, uint32_t position) {
    uint32_t launch = w->tape->launch[position];
    ValueId  old = w->r->plan->buffers.value[w->tape->buffer[position]];
    ValueId *host = &w->host[old.row], *copy = &w->copy[old.row], made = w->rw.map[old.row];
    rewrite_at(&w->rw, w->r->plan->launches.op[launch]);
    switch ((TapeKind)w->tape->kind[position]) {
    case TAPE_OUT: *host = write_copy(w, OP_COPY_OUT, made, old); break;
    case TAPE_OUT_END: write_end(w, *host, made); break;
    case TAPE_BACK: *copy = write_copy(w, OP_COPY_BACK, *host, old); break;
    case TAPE_BACK_END: write_end(w, *copy, *host); break;
    case TAPE_AGAIN: write_again(w, launch, w->tape->at[position]); break;
    case TAPE_RUN: ASSERT(false);
    }
}
/* The row as it is, except for what it reads of second runs. */
static void write_row(Writing *w, OpId op, uint32_t launch) {
    const Code *old = w->rw.old;
    rewrite_at(&w->rw, op);
    OpId copy;
    if (launch == 0) {
        for (uint32_t i = 0; i < old->ops.operands_count[op.row]; i++)
            if (!value_id_some(w->rw.map[op_operand(old, op, i).row])) return; /* of what is gone */
        copy = rewrite_copy(&w->rw, op);
    } else {
        bool *late = ARENA_ARRAY(w->r->ctx->scratch, bool, old->ops.operands_count[op.row] + 1);
        read_operands(w, op, launch, launch, late);
        rewrite_at(&w->rw, op);
        copy = rewrite_copy_with(&w->rw, op, w->operands);
        if (old->ops.results_count[op.row] != 0) w->newest = op_result(w->rw.build.code, copy, 0);
    }
    note_kernel(w, op, copy);
}

/* --- side tables ------------------------------------------------------------------------------ */
/* What was there keeps its view, in the memory of the same value; copies have that of the first run
 * over memory of their own, and a barrier that of its operand. */
static void write_views(Writing *w) {
    Views      *views = w->r->ctx->views;
    const Code *code = &w->r->ctx->world->code;
    Arena      *scratch = w->r->ctx->scratch;
    uint32_t    old_count = views->table.count, count = code->values.table.count;
    ValueId    *base = ARENA_ARRAY(scratch, ValueId, old_count);
    DimId      *offset = ARENA_ARRAY(scratch, DimId, old_count);
    ListId     *strides = ARENA_ARRAY(scratch, ListId, old_count);
    memcpy(base, views->base, old_count * sizeof *base);
    memcpy(offset, views->offset, old_count * sizeof *offset);
    memcpy(strides, views->strides, old_count * sizeof *strides);
    table_clear(&views->table);
    (void)table_add_many(&views->table, count - 1);
    for (uint32_t row = 1; row < count; row++) {
        uint32_t from = w->origin[row];
        bool     there = from != 0 && w->rw.map[from].row == row;
        views->base[row] = there ? w->rw.map[base[from].row] : (ValueId){row};
        views->offset[row] = from != 0 ? offset[from] : (DimId){0};
        views->strides[row] = from != 0 ? strides[from] : (ListId){0};
        ASSERT(value_id_some(views->base[row]));
    }
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        OpId op = {row};
        if (!(op_info(code, op)->flags & OP_VIEW)) continue;
        if (op_id_some(code->blocks.parent[code->ops.block[row].row])) continue; /* in a kernel */
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++) {
            uint32_t value = op_result(code, op, i).row, from = w->origin[value];
            uint32_t operand = op_operand(code, op, i).row;
            if (from != 0 && w->rw.map[from].row == value) continue;
            views->base[value] = views->base[operand];
            if (from != 0) continue;
            views->offset[value] = views->offset[operand];
            views->strides[value] = views->strides[operand];
        }
    }
}

/* Kernels stand in the order of rows; that of a second run is the same as that of the first. */
static void write_kernels(Writing *w) {
    LoopKernels *kernels = &w->r->ctx->loops->kernels;
    Arena       *scratch = w->r->ctx->scratch;
    uint32_t     had = kernels->table.count;
    if (had == 1) return; /* nothing is compiled */
    LoopKernels old = {.table = {0}};
    table_open_in(&old.table, kernels->table.info, had, scratch);
    table_copy(&old.table, &kernels->table);
    uint32_t *now = ARENA_ARRAY_ZERO(scratch, uint32_t,
                                     had); /* by the kernel it is the same as: the first place */
    table_clear(&kernels->table);
    for (uint32_t i = 0; i < w->kernels_count; i++) {
        uint32_t from = w->kernels[i].row, row = table_add(&kernels->table);
        uint32_t same = old.same[from].row;
        if (now[same] == 0) now[same] = row;
#define COPY_COLUMN(type, name, doc) kernels->name[row] = old.name[from];
        LOOP_KERNELS_COLUMNS(COPY_COLUMN)
#undef COPY_COLUMN
        kernels->op[row] = w->kernel_ops[i];
        kernels->same[row] = (KernelId){now[same]};
    }
}

static void open_writing(Writing *w, Recompute *r, const Tape *tape) {
    const Code *old = &r->ctx->world->code;
    Arena      *scratch = r->ctx->scratch;
    uint32_t    values = old->values.table.count, most = 1;
    /* each row at most twice, and barriers; copies on the host */
    uint32_t values_max = 3 * values + old->operands.table.count + r->launches + 64;
    for (uint32_t row = 1; row < old->ops.table.count; row++)
        if (old->ops.operands_count[row] > most) most = old->ops.operands_count[row];
    *w = (Writing){.r = r, .tape = tape};
    w->copy = ARENA_ARRAY_ZERO(scratch, ValueId, values);
    w->host = ARENA_ARRAY_ZERO(scratch, ValueId, values);
    w->origin = ARENA_ARRAY_ZERO(scratch, uint32_t, values_max);
    w->launch = ARENA_ARRAY_ZERO(scratch, uint32_t, old->ops.table.count + 1);
    w->operands = ARENA_ARRAY(scratch, ValueId, most + 1);
    w->held = ARENA_ARRAY(scratch, ValueId, most + 1);
    w->stack = ARENA_ARRAY(scratch, uint32_t, values);
    w->kernel_ops = ARENA_ARRAY(scratch, OpId, 2 * r->ctx->loops->kernels.table.count);
    w->kernels = ARENA_ARRAY(scratch, KernelId, 2 * r->ctx->loops->kernels.table.count);
    w->rw = rewrite_begin(r->ctx->world, scratch);
}

void recompute_rewrite(Recompute *r, const Tape *tape) {
    Writing     w;
    const Code *old = &r->ctx->world->code;
    uint32_t    count = old->ops.table.count, position = 1, values = old->values.table.count;
    open_writing(&w, r, tape);
    uint32_t *launch_of = ARENA_ARRAY_ZERO(r->ctx->scratch, uint32_t, count);
    for (uint32_t launch = 1; launch < r->launches; launch++) {
        uint32_t row = r->plan->launches.op[launch].row, begin = row;
        if (r->plan->launches.opcode[launch] == OP_ASSIGN) continue; /* reads what stands anyway */
        if (old->ops.blocks_count[row] != 0)
            begin = old->blocks.op_first[old->ops.blocks_first[row].row];
        w.launch[begin] = launch_of[row] = launch;
    }
    for (uint32_t row = 1; row < count; row++) {
        uint32_t launch = w.launch[row];
        if (launch != 0 && tape->dropped[launch]) {
            row = r->plan->launches.op[launch].row; /* its block goes as well */
            continue;
        }
        for (; launch != 0 && tape->kind[position] != TAPE_RUN; position++)
            write_extra(&w, position);
        position += launch != 0; /* the launch itself */
        write_row(&w, (OpId){row}, launch_of[row]);
    }
    for (uint32_t value = 1; value < values; value++)
        if (w.origin[w.rw.map[value].row] == 0) w.origin[w.rw.map[value].row] = value;
    w.origin[0] = 0;
    rewrite_end(&w.rw);
    write_views(&w);
    write_kernels(&w);
}
