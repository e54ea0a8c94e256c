/* The graph that fusing works on: what each row is, and which rows feed which, free rows between
 * them being looked through. Linear. */
#include "systems/fuse_inner.h"
#include "systems/lower_inner.h"

DimId fuse_elements(Fuse *f, ValueId value) {
    World       *world = f->world;
    TypeId       type = f->code->values.type[value.row];
    const DimId *dims = type_dims(&world->types, type);
    DimId        product = dims_const(&world->dims, 1);
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++) {
        DimId next = dims_mul(&world->dims, product, dims_find(&world->dims, dims[i]));
        if (!dim_id_some(next)) return next; /* too complex: equal to nothing */
        product = next;
    }
    return product;
}

/* A concat of computed values one after the other in memory: layout has them made in place, which
 * a kernel that copies them would prevent. That saves reading and writing it, and costs a launch a
 * part. */
static bool stacks(const Fuse *f, uint32_t row) {
    const Code *code = f->code;
    if (code->ops.opcode[row] != OP_CONCAT) return false;
    uint64_t axis = op_attrs(f->world, code, (OpId){row})[ATTR_CONCAT_axis];
    ValueId  whole = op_result(code, (OpId){row}, 0);
    TypeId   type = code->values.type[whole.row];
    uint32_t parts = code->ops.operands_count[row];
    if (2 * fuse_value_bytes(f, whole) < (int64_t)parts * LAUNCH_BYTES) return false;
    DimId one = dims_const(&f->world->dims, 1);
    for (uint32_t i = 0; i < axis; i++)
        if (type_dims(&f->world->types, type)[i].row != one.row) return false;
    for (uint32_t i = 0; i < parts; i++) {
        OpId def = value_op(code, op_operand(code, (OpId){row}, i));
        while (op_id_some(def) && code->ops.opcode[def.row] == OP_RESHAPE)
            def = value_op(code, op_operand(code, def, 0));
        if (def.row < f->first || fuse_is_free(f, def)) return false; /* not made in this run */
    }
    return true;
}
static bool computes(const Fuse *f, uint32_t row) {
    const Target *target = f->ctx->target;
    const Code   *code = f->code;
    Opcode        opcode = (Opcode)code->ops.opcode[row];
    if (!lower_knows(opcode) || code->ops.operands_count[row] > 32 || stacks(f, row)) return false;
    ValueId result = op_result(code, (OpId){row}, 0);
    if (opcode == OP_CONSTANT && type_rank(&f->world->types, code->values.type[result.row]) != 0)
        return false; /* elements of one number only; others lie in memory */
    for (uint32_t i = 0; i < code->ops.operands_count[row] + 1u; i++) {
        ValueId value = i < code->ops.operands_count[row] ? op_operand(code, (OpId){row}, i)
                                                          : op_result(code, (OpId){row}, 0);
        Dtype   dtype = type_dtype(&f->world->types, code->values.type[value.row]);
        if (!target->compiles_op(opcode, dtype)) return false;
    }
    return true;
}
static bool is_known(const Fuse *f, uint32_t row) {
    return f->code->ops.results_count[row] == 1 && computes(f, row) &&
           !place_joins(f->placing, (OpId){row});
}
/* Rows that rows outside of kernels read, directly or moved: 1, by row - first. */
static uint8_t *mark_read(Fuse *f) {
    const Code *code = f->code;
    uint8_t    *read = ARENA_ARRAY_ZERO(f->ctx->scratch, uint8_t, f->last - f->first);
    for (uint32_t row = f->last; row-- > f->first;) {
        bool wanted = read[row - f->first] || fuse_escapes(f, row);
        if (is_known(f, row) && !(wanted && lower_moves((Opcode)code->ops.opcode[row]))) continue;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            OpId def = value_op(code, op_operand(code, (OpId){row}, i));
            if (def.row >= f->first && def.row < f->last) read[def.row - f->first] = 1;
        }
    }
    return read;
}
/* Constants of one element and index maps; and cheap arithmetic on nothing but these that only
 * kernels read. */
static bool is_free(const Fuse *f, const uint8_t *read, uint32_t row) {
    const Code *code = f->code;
    Opcode      opcode = (Opcode)code->ops.opcode[row];
    TypeId      type = code->values.type[op_result(code, (OpId){row}, 0).row];
    if (opcode == OP_CONSTANT) return type_rank(&f->world->types, type) == 0;
    if (lower_moves(opcode)) return true;
    if (!(op_infos[opcode].flags & OP_ELEMENTWISE) || lower_cost(opcode) > 1) return false;
    if (read[row - f->first] || fuse_escapes(f, row)) return false;
    for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
        OpId def = value_op(code, op_operand(code, (OpId){row}, i));
        if (!fuse_is_free(f, def)) return false;
        for (OpId root = def;
             lower_moves((Opcode)code->ops.opcode[root.row]) &&
             code->ops.operands_count[root.row] != 0 && code->ops.opcode[root.row] != OP_DIM_SIZE;
             def = root) {
            root = value_op(code, op_operand(code, root, 0));
            if (!fuse_is_free(f, root)) return false;
        }
    }
    return code->ops.operands_count[row] != 0;
}

static PathKind worse(PathKind a, PathKind b) { return a > b ? a : b; }
static PathKind path_of(Opcode opcode) {
    if (opcode == OP_RESHAPE || opcode == OP_STOP_GRADIENT) return PATH_ALIGNED;
    return opcode == OP_BROADCAST_IN_DIM ? PATH_REPEATED : PATH_MOVED;
}

/* Adds an edge from the row behind value to `to`; none for arguments and constants. Free rows with
 * several operands (arithmetic on constants) have no data behind them. */
static void add_edge(Fuse *f, uint32_t to, uint32_t operand, ValueId value) {
    const Code *code = f->code;
    PathKind    path = PATH_ALIGNED;
    OpId        def = value_op(code, value);
    while (fuse_is_free(f, def)) {
        Opcode opcode = (Opcode)code->ops.opcode[def.row];
        if (code->ops.operands_count[def.row] != 1 || !lower_moves(opcode) || opcode == OP_DIM_SIZE)
            return;
        path = worse(path, path_of(opcode));
        def = value_op(code, op_operand(code, def, 0));
    }
    if (def.row < f->first) return; /* an argument, or from before the run */
    f->edges[f->edges_count++] = (Edge){def.row, to, (uint8_t)path, (uint8_t)operand};
}

static void sort_uses(Fuse *f) {
    uint32_t rows = f->last - f->first;
    f->uses = ARENA_ARRAY(f->ctx->scratch, uint32_t, f->edges_count + 1);
    f->uses_first = ARENA_ARRAY_ZERO(f->ctx->scratch, uint32_t, rows + 2);
    for (uint32_t i = 0; i < f->edges_count; i++) f->uses_first[f->edges[i].from - f->first + 2]++;
    for (uint32_t i = 2; i < rows + 2; i++) f->uses_first[i] += f->uses_first[i - 1];
    for (uint32_t i = 0; i < f->edges_count; i++)
        f->uses[f->uses_first[f->edges[i].from - f->first + 1]++] = i;
}

static void add_group(Fuse *f, uint32_t row) {
    const Code *code = f->code;
    Opcode      opcode = (Opcode)code->ops.opcode[row];
    Group      *group = &f->groups[row - f->first];
    *group = (Group){.head = row, .tail = row, .count = 1, .place = row - f->first};
    f->parent[row - f->first] = row - f->first;
    f->order[row - f->first] = row;
    if (f->kind[row - f->first] != ROW_CORE) return;
    group->cost = lower_cost(opcode);
    group->elements = fuse_elements(f, op_result(code, (OpId){row}, 0));
    if (opcode != OP_REDUCE) return;
    group->reduce = row;
    group->kept = group->elements;
    group->elements = fuse_elements(f, op_operand(code, (OpId){row}, 0));
}

void fuse_build(Fuse *f) {
    const Code *code = f->code;
    Arena      *scratch = f->ctx->scratch;
    uint32_t    rows = f->last - f->first, edges_max = 0, late = 0;
    f->kind = ARENA_ARRAY_ZERO(scratch, uint8_t, rows);
    f->parent = ARENA_ARRAY(scratch, uint32_t, rows);
    f->groups = ARENA_ARRAY(scratch, Group, rows);
    f->next_member = ARENA_ARRAY_ZERO(scratch, uint32_t, rows);
    f->order = ARENA_ARRAY(scratch, uint32_t, rows);
    f->stamp = ARENA_ARRAY_ZERO(scratch, uint32_t, rows);
    for (uint32_t row = f->first; row < f->last; row++)
        edges_max += code->ops.operands_count[row] + 1u;
    f->edges = ARENA_ARRAY(scratch, Edge, edges_max + 1);
    f->ins_first = ARENA_ARRAY(scratch, uint32_t, rows + 1);
    const uint8_t *read = mark_read(f);
    for (uint32_t row = f->first; row < f->last; row++) {
        f->ins_first[row - f->first] = f->edges_count;
        f->kind[row - f->first] = !is_known(f, row)
                                      ? ROW_OUTSIDE
                                      : (uint8_t)(is_free(f, read, row) ? ROW_FREE : ROW_CORE);
        if (f->kind[row - f->first] == ROW_FREE) {
            add_group(f, row);
            continue;
        }
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++)
            add_edge(f, row, i, op_operand(code, (OpId){row}, i));
        if (late != 0) /* any row may have its sizes */
            f->edges[f->edges_count++] = (Edge){late, row, PATH_MOVED, 0};
        if (op_info(code, (OpId){row})->flags & OP_LATE) late = row;
        add_group(f, row);
    }
    f->ins_first[rows] = f->edges_count;
    sort_uses(f);
}
