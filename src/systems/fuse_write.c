/* Writing the block anew, group by group. Free rows are written where they are needed: inside each
 * group that looks through them, and outside for launches of their own. A group first finds the
 * values it takes from outside, which become the arguments of its block, then writes its rows. */
#include "systems/fuse_inner.h"

typedef struct Writing {
    Fuse     *f;
    Rewrite  *rw;
    ValueId  *inner;  /* by old value row: its copy in the block being written */
    uint32_t *stamp;  /* by old value row: inner is of this group */
    uint32_t  group;  /* number of the group, for stamps */
    ValueId  *inputs; /* old values that the group takes from outside */
    uint32_t  inputs_count;
    uint32_t *stack;
} Writing;

static uint32_t free_operands(const Fuse *f, uint32_t row) {
    return f->code->ops.opcode[row] == OP_DIM_SIZE ? 0 : f->code->ops.operands_count[row];
}

/* --- free rows -------------------------------------------------------------------------------- */
static ValueId write_dim_size(Build *build, const Fuse *f, uint32_t row) {
    const World *world = f->world;
    ValueId      x = op_operand(f->code, (OpId){row}, 0);
    uint64_t     axis = op_attrs(world, f->code, (OpId){row})[ATTR_DIM_SIZE_axis];
    return build_size(build, type_dims(&world->types, f->code->values.type[x.row])[axis]);
}
static ValueId write_free(Writing *w, uint32_t row, const ValueId *operands) {
    const Code *code = w->f->code;
    Build      *build = &w->rw->build;
    build->loc = code->ops.loc[row];
    if (code->ops.opcode[row] == OP_DIM_SIZE) return write_dim_size(build, w->f, row);
    return build_op(build, (Opcode)code->ops.opcode[row], operands, code->ops.operands_count[row],
                    op_attrs(w->f->world, code, (OpId){row}));
}

/* The value in the block being written; free rows behind it are written first, deepest first. */
static ValueId inner_value(Writing *w, ValueId value) {
    const Fuse *f = w->f;
    uint32_t    depth = 0;
    ValueId     operands[4];
    if (w->stamp[value.row] == w->group) return w->inner[value.row];
    w->stack[depth++] = value_op(f->code, value).row;
    while (depth != 0) {
        uint32_t row = w->stack[depth - 1], before = depth, count = free_operands(f, row);
        ASSERT(fuse_is_free(f, (OpId){row}) && count <= LENGTH(operands));
        for (uint32_t i = 0; i < count; i++) {
            ValueId x = op_operand(f->code, (OpId){row}, i);
            if (w->stamp[x.row] != w->group) w->stack[depth++] = value_op(f->code, x).row;
        }
        if (depth != before) continue;
        depth--;
        ValueId made = op_result(f->code, (OpId){row}, 0);
        if (w->stamp[made.row] == w->group) continue; /* reached twice */
        for (uint32_t i = 0; i < count; i++)
            operands[i] = w->inner[op_operand(f->code, (OpId){row}, i).row];
        w->inner[made.row] = write_free(w, row, operands);
        w->stamp[made.row] = w->group;
    }
    return w->inner[value.row];
}
/* The value outside of groups: free rows are written before their first use. */
static ValueId outer_value(Writing *w, ValueId value) {
    const Fuse *f = w->f;
    uint32_t    depth = 0;
    if (value_id_some(w->rw->map[value.row])) return w->rw->map[value.row];
    w->stack[depth++] = value_op(f->code, value).row;
    while (depth != 0) {
        uint32_t row = w->stack[depth - 1], before = depth;
        for (uint32_t i = 0; i < f->code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(f->code, (OpId){row}, i);
            if (!value_id_some(w->rw->map[x.row])) w->stack[depth++] = value_op(f->code, x).row;
        }
        if (depth != before) continue;
        depth--;
        if (value_id_some(w->rw->map[op_result(f->code, (OpId){row}, 0).row])) continue;
        rewrite_at(w->rw, (OpId){row});
        (void)rewrite_copy(w->rw, (OpId){row});
    }
    return w->rw->map[value.row];
}

/* --- groups ----------------------------------------------------------------------------------- */
/* Values from outside that the rows reach, directly or through free rows. */
static void find_inputs(Writing *w, const FuseRows *rows) {
    const Fuse *f = w->f;
    w->inputs_count = 0;
    w->group++; /* the first of two stamps: visited while searching */
    for (uint32_t i = 0; i < rows->rows_count; i++)
        w->stamp[op_result(f->code, (OpId){rows->rows[i]}, 0).row] = w->group;
    for (uint32_t member = 0; member < rows->rows_count; member++) {
        uint32_t depth = 0;
        w->stack[depth++] = rows->rows[member];
        while (depth != 0) {
            uint32_t row = w->stack[--depth];
            uint32_t count = fuse_is_free(f, (OpId){row}) ? free_operands(f, row)
                                                          : f->code->ops.operands_count[row];
            for (uint32_t i = 0; i < count; i++) {
                ValueId x = op_operand(f->code, (OpId){row}, i);
                if (w->stamp[x.row] == w->group) continue;
                w->stamp[x.row] = w->group;
                OpId def = value_op(f->code, x);
                if (fuse_is_free(f, def))
                    w->stack[depth++] = def.row;
                else
                    w->inputs[w->inputs_count++] = x;
            }
        }
    }
}

static void write_rows(Writing *w, const FuseRows *rows) {
    const Fuse *f = w->f;
    for (uint32_t k = 0; k < rows->rows_count; k++) {
        OpId     op = {rows->rows[k]};
        ValueId  operands[64];
        uint32_t count = f->code->ops.operands_count[op.row];
        for (uint32_t i = 0; i < count; i++)
            operands[i] = inner_value(w, op_operand(f->code, op, i));
        w->rw->build.loc = f->code->ops.loc[op.row];
        ValueId made = build_op(&w->rw->build, (Opcode)f->code->ops.opcode[op.row], operands, count,
                                op_attrs(f->world, f->code, op));
        ValueId old = op_result(f->code, op, 0);
        w->rw->build.code->values.name[made.row] = f->code->values.name[old.row];
        w->inner[old.row] = made;
        w->stamp[old.row] = w->group;
    }
}

static void sort_rows(FuseRows *r) { /* few, and in runs */
    for (uint32_t i = 1; i < r->rows_count; i++) {
        uint32_t row = r->rows[i], at = i;
        for (; at > 0 && r->rows[at - 1] > row; at--) r->rows[at] = r->rows[at - 1];
        r->rows[at] = row;
    }
}
static void write_group(Writing *w, uint32_t group) {
    Fuse     *f = w->f;
    Build    *build = &w->rw->build;
    Code     *code = build->code;
    Arena    *scratch = f->ctx->scratch;
    uint32_t  outputs = 0;
    ArenaMark mark = arena_mark(scratch);
    FuseRows  rows = fuse_rows(f, group);
    if (rows.rows_count == 0) { /* others compute all of it again */
        arena_release(scratch, mark);
        return;
    }
    sort_rows(&rows);
    find_inputs(w, &rows);
    ValueId *taken = ARENA_ARRAY(scratch, ValueId, w->inputs_count + 1);
    ValueId *given = ARENA_ARRAY(scratch, ValueId, rows.rows_count + f->repeats_count);
    ValueId *old = ARENA_ARRAY(scratch, ValueId, rows.rows_count);
    rewrite_at(w->rw, (OpId){group});
    BlockId block = build->block, body = code_add_block(code, (OpId){0}, w->inputs_count);
    w->group++;
    for (uint32_t i = 0; i < w->inputs_count; i++) {
        ValueId arg = {code->blocks.args_first[body.row].row + i}, from = w->inputs[i];
        taken[i] = outer_value(w, from);
        code->values.type[arg.row] = f->code->values.type[from.row];
        w->inner[from.row] = arg;
        w->stamp[from.row] = w->group;
    }
    build->block = body;
    write_rows(w, &rows);
    for (uint32_t i = 0; i < rows.rows_count; i++) {
        uint32_t row = rows.rows[i];
        if (!f->stored[row - f->first] || fuse_find(f, row) != group) continue;
        old[outputs] = op_result(f->code, (OpId){row}, 0);
        given[outputs] = w->inner[old[outputs].row];
        outputs++;
    }
    uint32_t mapped = outputs;
    for (uint32_t i = 0; i < f->repeats_count; i++)
        if (f->repeats[i].group == group)
            given[outputs++] = w->inner[op_result(f->code, (OpId){f->repeats[i].row}, 0).row];
    (void)build_row(build, OP_RETURN, given, outputs, NULL, 0);
    build->block = block;
    OpId op = code_add_op(code, block, OP_FUSED, taken, w->inputs_count, outputs, (AttrsId){0},
                          f->code->ops.loc[group]);
    code->ops.blocks_first[op.row] = body;
    code->ops.blocks_count[op.row] = 1;
    code->blocks.parent[body.row] = op;
    for (uint32_t i = 0; i < outputs; i++) {
        ValueId result = op_result(code, op, i);
        code->values.type[result.row] = code->values.type[given[i].row];
        if (i < mapped) rewrite_map(w->rw, old[i], result);
    }
    for (uint32_t i = 0, at = mapped; i < f->repeats_count; i++)
        if (f->repeats[i].group == group) f->repeats[i].made = op_result(code, op, at++);
    arena_release(scratch, mark);
}

static void write_outside(Writing *w, OpId op) {
    const Fuse *f = w->f;
    uint32_t    count = f->code->ops.operands_count[op.row];
    ArenaMark   mark = arena_mark(f->ctx->scratch);
    ValueId    *operands = ARENA_ARRAY(f->ctx->scratch, ValueId, count + 1);
    for (uint32_t i = 0; i < count; i++) operands[i] = outer_value(w, op_operand(f->code, op, i));
    for (uint32_t i = 0; i < f->repeats_count; i++)
        if (f->repeats[i].user == op.row) operands[f->repeats[i].operand] = f->repeats[i].made;
    rewrite_at(w->rw, op);
    (void)rewrite_copy_with(w->rw, op, operands);
    arena_release(f->ctx->scratch, mark);
}
void fuse_write(Fuse *f, Rewrite *rw) {
    Arena   *scratch = f->ctx->scratch;
    uint32_t values = f->code->values.table.count, rows = f->last - f->first;
    Writing  w = {.f = f, .rw = rw};
    w.inner = ARENA_ARRAY(scratch, ValueId, values);
    w.stamp = ARENA_ARRAY_ZERO(scratch, uint32_t, values);
    w.inputs = ARENA_ARRAY(scratch, ValueId, values);
    w.stack = ARENA_ARRAY(scratch, uint32_t, f->code->operands.table.count + rows + 1);
    for (uint32_t place = 0; place < rows; place++) {
        uint32_t group = f->order[place];
        if (group == 0 || f->kind[group - f->first] == ROW_FREE) continue;
        if (f->kind[group - f->first] == ROW_CORE) {
            write_group(&w, group);
            continue;
        }
        write_outside(&w, (OpId){group});
    }
    for (uint32_t row = f->first; row < f->last; row++)
        if (f->kind[row - f->first] == ROW_FREE && fuse_escapes(f, row))
            (void)outer_value(&w, op_result(f->code, (OpId){row}, 0));
}
