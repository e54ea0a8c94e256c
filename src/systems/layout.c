/* layout: which values own memory, and which are views of others?
 *
 * View operators (broadcast, transpose, slice, reshape, ...) become strides and an offset over
 * their operand's memory; both are symbolic dims, so the choice serves every size. Where an
 * operator needs denser memory than a view gives (target->view_need), a copy row is inserted; equal
 * copies are shared. Graph results and assigned values are made owners of dense memory, so that
 * they can be written straight into output slots and parameters. Results of kernels that write any
 * strides are stored as they are wanted (place.h); parts of a concat that lie one after the other
 * are made in its memory by any kernel. Needs primitives; writes code and views. Linear. */
#include <string.h>

#include "systems/place.h"
#include "systems/rewrite.h"
#include "systems/system.h"

typedef struct View {
    ValueId  base;
    DimId    offset;
    DimId    strides[SHAPE_RANK_MAX];
    uint32_t rank;
    bool     dense; /* row-major, whatever the offset */
} View;

typedef struct Layout {
    SystemCtx *ctx;
    Placing   *placing;
    Rewrite    rw;
    ValueId   *copies; /* by new value row: a dense copy made earlier, or nil */
    uint32_t   copies_count;
    uint32_t   inserted;
} Layout;

static DimId product(Dims *dims, DimId a, DimId b) {
    DimId ab = dims_mul(dims, a, b);
    return dim_id_some(ab) ? ab : a; /* unreachable for sizes that inference accepted */
}
static void dense_strides(World *world, TypeId type, DimId *strides) {
    uint32_t rank = type_rank(&world->types, type);
    DimId    stride = dims_const(&world->dims, 1);
    for (uint32_t i = rank; i-- > 0;) {
        strides[i] = stride;
        if (i != 0) stride = product(&world->dims, stride, type_dims(&world->types, type)[i]);
    }
}
static bool is_one(World *world, DimId dim) {
    return dims_is_const(&world->dims, dim) && dims_const_value(&world->dims, dim) == 1;
}
static bool strides_dense(World *world, TypeId type, const DimId *strides) {
    DimId want[SHAPE_RANK_MAX];
    dense_strides(world, type, want);
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++)
        if (strides[i].row != want[i].row && !is_one(world, type_dims(&world->types, type)[i]))
            return false;
    return true;
}

/* The stored view of a new value. */
static View view_get(Layout *l, ValueId value) {
    World *world = l->ctx->world;
    Views *views = l->ctx->views;
    TypeId type = l->rw.build.code->values.type[value.row];
    View   view = {.base = views->base[value.row], .offset = views->offset[value.row]};
    ListId list = views->strides[value.row];
    view.rank = type_rank(&world->types, type);
    view.dense = !list_id_some(list);
    if (!dim_id_some(view.offset)) view.offset = dims_const(&world->dims, 0);
    if (view.dense) dense_strides(world, type, view.strides);
    for (uint32_t i = 0; !view.dense && i < view.rank; i++)
        view.strides[i] = (DimId){(uint32_t)list_numbers(&world->attrs, list)[i]};
    return view;
}
static void view_put(Layout *l, ValueId value, const View *view) {
    World  *world = l->ctx->world;
    Views  *views = l->ctx->views;
    TypeId  type = l->rw.build.code->values.type[value.row];
    int64_t rows[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < view->rank; i++) rows[i] = view->strides[i].row;
    bool zero = dims_is_const(&world->dims, view->offset) &&
                dims_const_value(&world->dims, view->offset) == 0;
    views->base[value.row] = view->base;
    views->offset[value.row] = zero ? (DimId){0} : view->offset;
    views->strides[value.row] = strides_dense(world, type, view->strides)
                                    ? (ListId){0}
                                    : attrs_list(&world->attrs, rows, view->rank);
}

static bool divides(Dims *dims, DimId divisor, DimId dim) {
    DimId quotient = dims_floordiv(dims, dim, divisor);
    if (!dim_id_some(quotient)) return false;
    DimId back = dims_mul(dims, quotient, divisor);
    return back.row == dim.row;
}

/* Strides of a reshape of a strided view: groups of axes with equal products; the old axes of a
 * group must be contiguous among themselves. */
static bool reshape_strides(World *world, const View *from, const DimId *old, const DimId *new,
                            uint32_t new_rank, View *out) {
    Dims    *dims = &world->dims;
    uint32_t i = 0, j = 0;
    while (i < from->rank || j < new_rank) {
        uint32_t i0 = i, j0 = j;
        DimId    a = i < from->rank ? old[i++] : dims_const(dims, 1);
        DimId    b = j < new_rank ? new[j++] : dims_const(dims, 1);
        while (a.row != b.row) { /* extend the shorter side */
            if (j < new_rank && divides(dims, b, a))
                b = product(dims, b, new[j++]);
            else if (i < from->rank)
                a = product(dims, a, old[i++]);
            else
                return false;
        }
        for (uint32_t k = i0; k + 1 < i; k++)
            if (from->strides[k].row != product(dims, from->strides[k + 1], old[k + 1]).row)
                return false;
        DimId stride = i > i0 ? from->strides[i - 1] : dims_const(dims, 1);
        for (uint32_t k = j; k-- > j0;) {
            out->strides[k] = stride;
            stride = product(dims, stride, new[k]);
        }
    }
    return true;
}

static View view_broadcast(Layout *l, OpId op, const View *from, ValueId x, ValueId y) {
    World          *world = l->ctx->world;
    const Code     *code = l->rw.build.code;
    const uint64_t *attrs = op_attrs(world, code, op);
    ListId          axes = {(uint32_t)attrs[ATTR_BROADCAST_IN_DIM_axes]};
    View            view = *from;
    view.rank = type_rank(&world->types, code->values.type[y.row]);
    for (uint32_t i = 0; i < view.rank; i++) view.strides[i] = dims_const(&world->dims, 0);
    for (uint32_t k = 0; k < from->rank; k++) {
        uint32_t axis = (uint32_t)list_numbers(&world->attrs, axes)[k];
        DimId    size = type_dims(&world->types, code->values.type[x.row])[k];
        DimId    to = type_dims(&world->types, code->values.type[y.row])[axis];
        if (size.row == to.row || !is_one(world, size)) view.strides[axis] = from->strides[k];
    }
    return view;
}
static View view_slice(Layout *l, OpId op, const View *from) {
    World          *world = l->ctx->world;
    const uint64_t *attrs = op_attrs(world, l->rw.build.code, op);
    ListId          starts = {(uint32_t)attrs[ATTR_SLICE_starts]},
           steps = {(uint32_t)attrs[ATTR_SLICE_strides]};
    View view = *from;
    for (uint32_t i = 0; i < view.rank; i++) {
        DimId start = {(uint32_t)list_numbers(&world->attrs, starts)[i]};
        view.offset =
            dims_add(&world->dims, view.offset, product(&world->dims, start, view.strides[i]));
        if (list_id_some(steps))
            view.strides[i] =
                product(&world->dims, view.strides[i],
                        dims_const(&world->dims, list_numbers(&world->attrs, steps)[i]));
    }
    return view;
}

/* Whether strides can express x reshaped to a type; out takes them. */
static bool reshape_view(Layout *l, ValueId x, TypeId to, View *out) {
    World      *world = l->ctx->world;
    const Code *code = l->rw.build.code;
    View        from = view_get(l, x);
    *out = from;
    out->rank = type_rank(&world->types, to);
    if (from.dense) dense_strides(world, to, out->strides);
    return from.dense ||
           reshape_strides(world, &from, type_dims(&world->types, code->values.type[x.row]),
                           type_dims(&world->types, to), out->rank, out);
}

/* The view that a view row makes of its operand. */
static View make_view(Layout *l, OpId op, uint32_t result) {
    World      *world = l->ctx->world;
    const Code *code = l->rw.build.code;
    ValueId     x = op_operand(code, op, result), y = op_result(code, op, result);
    View        from = view_get(l, x);
    switch ((Opcode)code->ops.opcode[op.row]) {
    case OP_BROADCAST_IN_DIM: return view_broadcast(l, op, &from, x, y);
    case OP_SLICE: return view_slice(l, op, &from);
    case OP_TRANSPOSE: {
        ListId list = {(uint32_t)op_attrs(world, code, op)[0]};
        View   view = from;
        for (uint32_t i = 0; i < from.rank; i++)
            view.strides[i] = from.strides[list_numbers(&world->attrs, list)[i]];
        return view;
    }
    case OP_RESHAPE: {
        View view;
        bool possible = reshape_view(l, x, code->values.type[y.row], &view);
        ASSERT(possible); /* lay_out_row made the operand dense otherwise */
        (void)possible;
        return view;
    }
    default: return from; /* stop_gradient, barrier */
    }
}

/* Rows for values appended since the last call: owners of dense memory, until view_put. */
static void cover(Layout *l) {
    Views   *views = l->ctx->views;
    uint32_t have = views->table.count, want = l->rw.build.code->values.table.count;
    if (want > have) (void)table_add_many(&views->table, want - have);
    for (uint32_t row = have; row < want; row++) {
        views->base[row] = (ValueId){row};
        views->offset[row] = (DimId){0};
        views->strides[row] = (ListId){0};
    }
}

static ValueId dense_copy(Layout *l, ValueId value) {
    const Code *code = l->rw.build.code;
    if (value.row < l->copies_count && value_id_some(l->copies[value.row])) {
        BlockId from = code->ops.block[value_op(code, l->copies[value.row]).row];
        if (code_visible(l->rw.old, from, l->rw.build.block)) return l->copies[value.row];
    }
    ValueId copy = build_op(&l->rw.build, OP_COPY, &value, 1, NULL);
    cover(l);
    l->inserted++;
    if (value.row < l->copies_count) l->copies[value.row] = copy;
    return copy;
}

/* Do the axes (in order) merge into one stride? out_stride: of the merged axis. */
static bool axes_merge(World *world, const View *view, const DimId *dims, const uint32_t *axes,
                       uint32_t count, DimId *out_stride) {
    *out_stride = count ? view->strides[axes[count - 1]] : dims_const(&world->dims, 1);
    for (uint32_t i = 0; i + 1 < count; i++)
        if (view->strides[axes[i]].row !=
            product(&world->dims, view->strides[axes[i + 1]], dims[axes[i + 1]]).row)
            return false;
    return true;
}
static bool matrix_ok(Layout *l, uint32_t old_row, uint32_t operand, ValueId value) {
    World          *world = l->ctx->world;
    const uint64_t *attrs = op_attrs(world, l->rw.old, (OpId){old_row});
    uint32_t        batch_attr = operand == 0 ? ATTR_DOT_GENERAL_x_batch : ATTR_DOT_GENERAL_y_batch;
    ListId          batch = {(uint32_t)attrs[batch_attr]};
    uint32_t sum_attr = operand == 0 ? ATTR_DOT_GENERAL_x_contract : ATTR_DOT_GENERAL_y_contract;
    ListId   sum = {(uint32_t)attrs[sum_attr]};
    View     view = view_get(l, value);
    const DimId *dims = type_dims(&world->types, l->rw.build.code->values.type[value.row]);
    uint32_t     free[SHAPE_RANK_MAX], contracted[SHAPE_RANK_MAX], free_count = 0, sum_count = 0,
                                                               used = 0;
    DimId free_stride, sum_stride;
    for (uint32_t i = 0; i < list_count(&world->attrs, batch); i++)
        used |= 1u << list_numbers(&world->attrs, batch)[i];
    for (uint32_t i = 0; i < list_count(&world->attrs, sum); i++) {
        contracted[sum_count] = (uint32_t)list_numbers(&world->attrs, sum)[i];
        used |= 1u << contracted[sum_count++];
    }
    for (uint32_t i = 0; i < view.rank; i++)
        if (!(used >> i & 1)) free[free_count++] = i;
    return axes_merge(world, &view, dims, free, free_count, &free_stride) &&
           axes_merge(world, &view, dims, contracted, sum_count, &sum_stride) &&
           (is_one(world, free_stride) || is_one(world, sum_stride));
}

/* Scanned operands, where rows have to be dense. */
static bool rows_ok(const Layout *l, uint32_t row, uint32_t operand, ValueId value) {
    World       *world = l->ctx->world;
    const Views *views = l->ctx->views;
    ListId       strides = views->strides[value.row];
    TypeId       type = l->rw.build.code->values.type[value.row];
    DimId        want[SHAPE_RANK_MAX];
    uint64_t     carries = op_attrs(world, l->rw.old, (OpId){row})[ATTR_SCAN_carries];
    if (operand < carries || !list_id_some(strides) || l->ctx->target == NULL) return true;
    if (l->ctx->target->view_need[OP_SCAN] == VIEW_ANY) return true;
    dense_strides(world, type, want);
    for (uint32_t i = 1; i < type_rank(&world->types, type); i++)
        if ((uint32_t)list_numbers(&world->attrs, strides)[i] != want[i].row &&
            !is_one(world, type_dims(&world->types, type)[i]))
            return false;
    return true;
}
static bool operand_ok(Layout *l, uint32_t row, uint32_t operand, ValueId value) {
    uint32_t opcode = l->rw.old->ops.opcode[row];
    uint8_t  need = l->ctx->target ? l->ctx->target->view_need[opcode] : (uint8_t)VIEW_DENSE;
    bool     dense = !list_id_some(l->ctx->views->strides[value.row]);
    if (op_infos[opcode].flags & (OP_VIEW | OP_TERMINATOR)) return true;
    if (opcode == OP_SCAN) return rows_ok(l, row, operand, value);
    if (l->rw.old->ops.blocks_count[row] != 0 && opcode != OP_FUSED) return true;
    if (opcode == OP_ASSIGN || opcode == OP_DIM_SIZE) return true;
    if (need == VIEW_MATRIX) return matrix_ok(l, row, operand, value);
    return dense || need == VIEW_ANY;
}

/* What a block returns goes on by copies that may be left out (memory.c). Not so the condition of a
 * while, which is only read, and what a block is given and carries on as it is. */
static bool goes_on(const Layout *l, uint32_t row, uint32_t operand) {
    const Code *old = l->rw.old;
    uint32_t    block = old->ops.block[row].row;
    OpId        parent = old->blocks.parent[block];
    uint32_t    opcode = old->ops.opcode[parent.row],
             nth = block - old->ops.blocks_first[parent.row].row;
    uint32_t args = old->blocks.args_count[block], skips = opcode == OP_SCAN;
    if (!op_id_some(parent) || args == 0) return true;
    if (opcode == OP_WHILE && nth == 0) return false;
    return operand + skips >= args || op_operand(old, (OpId){row}, operand).row !=
                                          old->blocks.args_first[block].row + operand + skips;
}
/* What a graph or block returns and assigned values own their memory, in the block, and no two
 * share it. */
static bool must_own(Layout *l, uint32_t row, uint32_t operand, ValueId value, uint8_t *given) {
    const Code *code = l->rw.build.code;
    uint32_t    opcode = l->rw.old->ops.opcode[row];
    if (opcode != OP_RETURN && !(opcode == OP_ASSIGN && operand == 1)) return false;
    if (!goes_on(l, row, operand)) return false;
    OpId     def = value_op(code, value);
    uint32_t from = code->ops.opcode[def.row];
    bool     owner = l->ctx->views->base[value.row].row == value.row && op_id_some(def) &&
                 !list_id_some(l->ctx->views->strides[value.row]) && from != OP_PARAMETER &&
                 from != OP_CONSTANT && value.row < l->copies_count &&
                 code->ops.block[def.row].row == l->rw.old->ops.block[row].row && !given[value.row];
    if (owner) given[value.row] = 1;
    return !owner;
}

static bool reshape_ok(Layout *l, uint32_t row, ValueId x) {
    View view;
    bool dense = !list_id_some(l->ctx->views->strides[x.row]);
    if (dense || l->rw.old->ops.opcode[row] != OP_RESHAPE) return true;
    return reshape_view(l, x, l->rw.old->values.type[l->rw.old->ops.results_first[row].row], &view);
}

/* Results that are wanted in another order, or as part of a concat. That has no row yet: until
 * then they seem to own what they lie in. */
static void place_results(Layout *l, OpId op, OpId copy) {
    for (uint32_t i = 0; i < l->rw.old->ops.results_count[op.row]; i++) {
        Placed  placed;
        ValueId value = op_result(l->rw.build.code, copy, i);
        if (!place_result(l->placing, op_result(l->rw.old, op, i), &placed)) continue;
        View view = view_get(l, value);
        view.offset = placed.offset;
        memcpy(view.strides, placed.strides, sizeof view.strides);
        view_put(l, value, &view);
    }
}
/* All that lies in the operands of a concat lies in its result. */
static void join_parts(Layout *l, OpId concat) {
    const Code *code = l->rw.build.code;
    Views      *views = l->ctx->views;
    ValueId     whole = op_result(code, concat, 0);
    for (uint32_t i = 0; i < code->ops.operands_count[concat.row]; i++) {
        ValueId owner = views->base[op_operand(code, concat, i).row];
        for (uint32_t row = owner.row; row < whole.row; row++)
            if (views->base[row].row == owner.row) views->base[row] = whole;
    }
}

static void lay_out_row(Layout *l, uint32_t row, ValueId *operands, uint8_t *given) {
    const Code    *old = l->rw.old;
    OpId           op = {row};
    const ValueId *from = op_operands(old, op);
    rewrite_at(&l->rw, op);
    for (uint32_t i = 0; i < old->ops.operands_count[row]; i++) {
        operands[i] = l->rw.map[from[i].row];
        if (must_own(l, row, i, operands[i], given)) {
            operands[i] = build_op(&l->rw.build, OP_COPY, &operands[i], 1, NULL);
            cover(l);
            l->inserted++;
        } else if (!operand_ok(l, row, i, operands[i]) || !reshape_ok(l, row, operands[i])) {
            operands[i] = dense_copy(l, operands[i]);
        }
    }
    OpId copy = rewrite_copy_with(&l->rw, op, operands);
    cover(l);
    place_results(l, op, copy);
    if (place_joins(l->placing, op)) join_parts(l, copy);
    if (!(op_info(old, op)->flags & OP_VIEW)) return;
    for (uint32_t i = 0; i < old->ops.results_count[row]; i++) {
        View view = make_view(l, copy, i);
        view_put(l, op_result(l->rw.build.code, copy, i), &view);
    }
}

/* The rows of a scanned operand are views like the operand, without axis 0; a dense copy of it, if
 * there must be one, is made before the block. */
static void lay_out_scanned(Layout *l, OpId op, BlockId body) {
    const Code *old = l->rw.old, *code = l->rw.build.code;
    if (old->ops.opcode[op.row] != OP_SCAN) return;
    uint32_t first = (uint32_t)op_attrs(l->ctx->world, old, op)[ATTR_SCAN_carries];
    for (uint32_t i = first; i < old->ops.operands_count[op.row]; i++) {
        ValueId value = l->rw.map[op_operand(old, op, i).row];
        rewrite_at(&l->rw, op);
        if (!rows_ok(l, op.row, i, value)) value = dense_copy(l, value);
        View    view = view_get(l, value);
        ValueId row = {code->blocks.args_first[body.row].row + i + 1};
        view.base = row;
        view.offset = dims_const(&l->ctx->world->dims, 0);
        view.rank--;
        memmove(view.strides, view.strides + 1, view.rank * sizeof *view.strides);
        view_put(l, row, &view);
    }
}

/* Rows of a fused row's block: lowering makes index maps of their views. */
static bool in_kernel(const Code *code, uint32_t row) {
    uint32_t parent = code->blocks.parent[code->ops.block[row].row].row;
    return parent != 0 && code->ops.opcode[parent] == OP_FUSED;
}

/* --- concatenation in place ------------------------------------------------------------------- */
typedef struct Place { /* where the memory of an owner went: into a concatenation */
    ValueId into;
    DimId   start;
} Place;

static DimId count_elements(World *world, TypeId type) {
    DimId count = dims_const(&world->dims, 1);
    for (uint32_t i = 0; i < type_rank(&world->types, type); i++)
        count = product(&world->dims, count, type_dims(&world->types, type)[i]);
    return dims_find(&world->dims, count);
}
/* Whether parts of a concat lie one after the other: nothing but ones before its axis. */
static bool is_stacked(Layout *l, OpId op) {
    World      *world = l->ctx->world;
    const Code *code = l->rw.build.code;
    uint64_t    axis = op_attrs(world, code, op)[ATTR_CONCAT_axis];
    TypeId      type = code->values.type[op_result(code, op, 0).row];
    for (uint32_t i = 0; i < axis; i++)
        if (!is_one(world, type_dims(&world->types, type)[i])) return false;
    return true;
}
/* The owner all of which a part is, if the row that makes it may write anywhere; else nil. */
static ValueId find_maker(Layout *l, ValueId part, BlockId block) {
    World        *world = l->ctx->world;
    const Code   *code = l->rw.build.code;
    const Views  *views = l->ctx->views;
    ValueId       base = views->base[part.row];
    OpId          def = value_op(code, base);
    const OpInfo *info = op_info(code, def);
    if (list_id_some(views->strides[part.row]) || dim_id_some(views->offset[part.row]) ||
        !op_id_some(def) || code->ops.block[def.row].row != block.row)
        return (ValueId){0};
    uint32_t opcode = code->ops.opcode[def.row];
    bool     control = code->ops.blocks_count[def.row] != 0 && opcode != OP_FUSED;
    if ((info->flags & (OP_VIEW | OP_STATE | OP_INPLACE | OP_LATE | OP_EFFECT)) || control ||
        opcode == OP_CONSTANT || opcode == OP_CONCAT ||
        count_elements(world, code->values.type[part.row]).row !=
            count_elements(world, code->values.type[base.row]).row)
        return (ValueId){0};
    return base;
}
/* The parts of a concat are made where it wants them, if each is all of a value that is made for
 * nobody who needs it elsewhere; then nothing is left to copy (launch.c). given: values that are
 * results or assigned. */
static bool place_parts(Layout *l, OpId op, Place *places, const uint8_t *given) {
    World      *world = l->ctx->world;
    const Code *code = l->rw.build.code;
    ValueId     y = op_result(code, op, 0);
    DimId       start = dims_const(&world->dims, 0);
    uint32_t    count = code->ops.operands_count[op.row], placed = 0;
    if (l->ctx->views->base[y.row].row != y.row || !is_stacked(l, op)) return false;
    for (; placed < count; placed++) {
        ValueId part = op_operand(code, op, placed);
        ValueId maker = find_maker(l, part, code->ops.block[op.row]);
        if (!value_id_some(maker) || value_id_some(places[maker.row].into) ||
            (maker.row < l->copies_count && given[maker.row]))
            break;
        places[maker.row] = (Place){y, start};
        start = dims_add(&world->dims, start, count_elements(world, code->values.type[part.row]));
        if (!dim_id_some(start)) break;
    }
    if (placed == count) return true;
    for (uint32_t i = 0; i <= placed && i < count; i++) { /* as it was */
        ValueId base = l->ctx->views->base[op_operand(code, op, i).row];
        if (places[base.row].into.row == y.row) places[base.row] = (Place){{0}, {0}};
    }
    return false;
}
static void concat_in_place(Layout *l, const uint8_t *given) {
    World      *world = l->ctx->world;
    const Code *code = l->rw.build.code;
    Views      *views = l->ctx->views;
    Place      *places = ARENA_ARRAY_ZERO(l->ctx->scratch, Place, code->values.table.count);
    bool        any = false;
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (code->ops.opcode[row] == OP_CONCAT && !in_kernel(code, row))
            any |= place_parts(l, (OpId){row}, places, given);
    for (uint32_t row = 1; any && row < code->values.table.count; row++) {
        const Place *place = &places[views->base[row].row];
        if (!value_id_some(place->into)) continue;
        DimId offset = views->offset[row];
        offset = dim_id_some(offset) ? dims_add(&world->dims, offset, place->start) : place->start;
        views->offset[row] = offset;
        views->base[row] = place->into;
    }
}

Ran sys_layout(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    uint32_t    operands_max = 1;
    Layout      l = {.ctx = ctx, .copies_count = old->values.table.count * 2 + 64};
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        l.copies_count += old->ops.operands_count[row]; /* one a copy, at most */
        if (old->ops.operands_count[row] > operands_max)
            operands_max = old->ops.operands_count[row];
    }
    l.copies = ARENA_ARRAY_ZERO(ctx->scratch, ValueId, l.copies_count);
    uint8_t *given = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, l.copies_count);
    ValueId *operands = ARENA_ARRAY(ctx->scratch, ValueId, operands_max);
    l.rw = rewrite_begin(ctx->world, ctx->scratch);
    l.placing = place_begin(ctx, old);
    table_clear(&ctx->views->table);
    cover(&l);
    for (uint32_t row = 1; row < old->ops.table.count; row++) {
        BlockId  begin[CODE_DEPTH_MAX];
        uint32_t begins = code_blocks_at(old, (OpId){row}, begin);
        for (uint32_t i = 0; i < begins; i++)
            lay_out_scanned(&l, old->blocks.parent[begin[i].row], begin[i]);
        if (!in_kernel(old, row)) {
            lay_out_row(&l, row, operands, given);
            continue;
        }
        rewrite_at(&l.rw, (OpId){row});
        (void)rewrite_copy(&l.rw, (OpId){row});
        cover(&l);
    }
    if (ctx->target != NULL && system_burn(ctx)) concat_in_place(&l, given);
    rewrite_end(&l.rw);
    return (Ran){.changed = l.inserted};
}
