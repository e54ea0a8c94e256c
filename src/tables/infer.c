/* Elementwise, type and structural rules, and the checks that all rules share. Each diagnostic
 * kind of inference is emitted by one helper at the top.
 *
 * Rules never see operands of unknown type (schema_infer holds them back). */
#include "tables/infer.h"

/* --- shared ----------------------------------------------------------------------------------- */
void infer_set(InferCtx *ctx, uint32_t result, Dtype dtype, const DimId *dims, uint32_t rank) {
    ASSERT(result < ctx->results_count);
    for (uint32_t i = 0; i < rank; i++)
        if (!dim_id_some(dims[i])) {
            (void)infer_fail_dim(ctx);
            return;
        }
    Types *types = &ctx->world->types;
    ctx->out_types[result] = types_type(types, dtype, types_shape(types, dims, rank));
}
static void set_like(InferCtx *ctx, uint32_t operand, Dtype dtype) {
    Types *types = &ctx->world->types;
    ctx->out_types[0] = types_type(types, dtype, type_shape(types, infer_type(ctx, operand)));
}
bool infer_fail_dtype(InferCtx *ctx, uint32_t operand, const char *expected) {
    Diags *diags = &ctx->world->diags;
    (void)diags_add(diags, DIAG_DTYPE_WRONG, ctx->op, ctx->operands[operand].row,
                    infer_type(ctx, operand).row, diags_str(diags, str_of(expected)), 0);
    return false;
}
bool infer_fail_types(InferCtx *ctx, uint32_t a, uint32_t b) {
    (void)diags_add(&ctx->world->diags, DIAG_TYPES_DIFFER, ctx->op, ctx->operands[a].row,
                    infer_type(ctx, a).row, ctx->operands[b].row, infer_type(ctx, b).row);
    return false;
}
static bool fail_sizes(InferCtx *ctx, const char *what, DimId a, DimId b) {
    Diags *diags = &ctx->world->diags;
    (void)diags_add(diags, DIAG_SHAPE_MISMATCH, ctx->op, diags_str(diags, str_of(what)), a.row,
                    b.row, 0);
    return false;
}
bool infer_fail_rank(InferCtx *ctx, uint32_t operand, const char *expected) {
    Diags *diags = &ctx->world->diags;
    (void)diags_add(diags, DIAG_RANK_WRONG, ctx->op, ctx->operands[operand].row,
                    infer_type(ctx, operand).row, diags_str(diags, str_of(expected)), 0);
    return false;
}
bool infer_fail_axis(InferCtx *ctx, int64_t axis, uint32_t rank) {
    (void)diags_add(&ctx->world->diags, DIAG_AXIS_WRONG, ctx->op, (uint64_t)axis, rank, 0, 0);
    return false;
}
bool infer_fail_attr(InferCtx *ctx, uint32_t attr, const char *problem) {
    Diags *diags = &ctx->world->diags;
    (void)diags_add(diags, DIAG_ATTR_VALUE, ctx->op,
                    diags_str(diags, str_of(op_infos[ctx->opcode].attrs[attr].name)),
                    diags_str(diags, str_of(problem)), 0, 0);
    return false;
}
bool infer_fail_dim(InferCtx *ctx) {
    (void)diags_add(&ctx->world->diags, DIAG_DIM_COMPLEX, ctx->op, 0, 0, 0, 0);
    return false;
}

bool infer_axis_ok(InferCtx *ctx, int64_t axis, uint32_t rank) {
    return (axis >= 0 && axis < (int64_t)rank) || infer_fail_axis(ctx, axis, rank);
}
bool infer_axes_ok(InferCtx *ctx, IntList axes, uint32_t rank) {
    uint32_t seen = 0;
    for (uint32_t i = 0; i < axes.count; i++) {
        if (axes.at[i] < 0 || axes.at[i] >= (int64_t)rank || (seen >> axes.at[i] & 1))
            return infer_fail_axis(ctx, axes.at[i], rank);
        seen |= 1u << axes.at[i];
    }
    return true;
}
bool infer_axes_ascending(InferCtx *ctx, IntList axes, uint32_t rank) {
    if (!infer_axes_ok(ctx, axes, rank)) return false;
    for (uint32_t i = 1; i < axes.count; i++)
        if (axes.at[i] < axes.at[i - 1]) return infer_fail_axis(ctx, axes.at[i], rank);
    return true;
}
bool infer_list_count(InferCtx *ctx, uint32_t attr, uint32_t count, bool or_empty) {
    IntList list = infer_list(ctx, attr);
    if (list.count == count || (or_empty && list.count == 0)) return true;
    return infer_fail_attr(ctx, attr, "has the wrong number of entries for the rank");
}

/* --- requirements ----------------------------------------------------------------------------- */
/* The body of the graph that the operator is in. */
static BlockId body_of(const InferCtx *ctx) {
    const Code *code = ctx->code;
    BlockId     block = code->ops.block[ctx->op];
    while (op_id_some(code->blocks.parent[block.row]))
        block = code->ops.block[code->blocks.parent[block.row].row];
    return block;
}
static bool check(InferCtx *ctx, CheckKind kind, const char *what, DimId a, DimId b) {
    World *world = ctx->world;
    bool   placed = ctx->op != 0; /* else the row is not appended yet */
    (void)checks_add(&world->checks, kind, a, b, placed ? body_of(ctx) : (BlockId){0},
                     (uint16_t)ctx->opcode, placed ? ctx->code->ops.loc[ctx->op] : (LocId){0},
                     strings_add(&world->strings, str_of(what)));
    return true;
}
bool infer_sizes_same(InferCtx *ctx, const char *what, DimId a, DimId b) {
    Dims *dims = &ctx->world->dims;
    if (dims_same(dims, a, b)) return true;
    if (!dims_may_be_same(dims, a, b) || !dims_equate(dims, a, b))
        return fail_sizes(ctx, what, a, b);
    return check(ctx, CHECK_EQUAL, what, a, b);
}
bool infer_at_most(InferCtx *ctx, const char *what, DimId a, DimId b) {
    Dims *dims = &ctx->world->dims;
    DimId x = dims_find(dims, a), y = dims_find(dims, b);
    if (dims_provably_at_most(dims, x, y)) return true;
    if (dims_provably_below(dims, y, x)) return fail_sizes(ctx, what, a, b);
    return check(ctx, CHECK_AT_MOST, what, a, b);
}
bool infer_multiple(InferCtx *ctx, const char *what, DimId a, DimId by) {
    Dims *dims = &ctx->world->dims;
    if (dims_same(dims, a, by)) return true;
    if (dims_range(dims, by).hi <= 0) return infer_sizes_same(ctx, what, a, by);
    DimId rest = dims_mod(dims, dims_find(dims, a), dims_find(dims, by));
    if (!dim_id_some(rest)) return infer_fail_dim(ctx);
    DimRange range = dims_range(dims, rest);
    if (range.hi <= 0) return true;
    return range.lo > 0 ? fail_sizes(ctx, what, a, by) : check(ctx, CHECK_MULTIPLE, what, a, by);
}

/* Whether two operands have one type: first what is certain, so that a pair that differs leaves no
 * checks behind. */
static bool types_same(InferCtx *ctx, uint32_t a, uint32_t b) {
    uint32_t rank = infer_rank(ctx, a);
    if (infer_type(ctx, a).row == infer_type(ctx, b).row) return true;
    if (infer_dtype(ctx, a) != infer_dtype(ctx, b) || rank != infer_rank(ctx, b)) return false;
    for (uint32_t i = 0; i < rank; i++)
        if (!dims_may_be_same(&ctx->world->dims, infer_dim(ctx, a, i), infer_dim(ctx, b, i)))
            return false;
    return true;
}
static bool shapes_agree(InferCtx *ctx, const char *what, uint32_t a, uint32_t b) {
    for (uint32_t i = 0; i < infer_rank(ctx, a); i++)
        if (!infer_sizes_same(ctx, what, infer_dim(ctx, a, i), infer_dim(ctx, b, i))) return false;
    return true;
}
bool infer_types_same(InferCtx *ctx, uint32_t a, uint32_t b) {
    if (!types_same(ctx, a, b)) return infer_fail_types(ctx, a, b);
    return infer_type(ctx, a).row == infer_type(ctx, b).row ||
           shapes_agree(ctx, "the operands need equal sizes", a, b);
}
static bool all_same(InferCtx *ctx) {
    for (uint32_t i = 1; i < ctx->operands_count; i++)
        if (!infer_types_same(ctx, 0, i)) return false;
    return true;
}

/* --- elementwise ------------------------------------------------------------------------------ */
void infer_none(InferCtx *ctx) { (void)ctx; }
void infer_same(InferCtx *ctx) {
    if (all_same(ctx)) ctx->out_types[0] = infer_type(ctx, 0);
}
void infer_same1(InferCtx *ctx) { ctx->out_types[0] = infer_type(ctx, 0); }
void infer_reverse(InferCtx *ctx) {
    if (infer_axes_ok(ctx, infer_list(ctx, 0), infer_rank(ctx, 0))) infer_same1(ctx);
}
void infer_cumulative(InferCtx *ctx) {
    ReduceKind kind = (ReduceKind)ctx->attrs[ATTR_CUMULATIVE_kind];
    if (kind > REDUCE_MIN)
        (void)infer_fail_attr(ctx, ATTR_CUMULATIVE_kind, "must be sum prod max or min");
    else if (kind <= REDUCE_PROD && infer_dtype(ctx, 0) == DTYPE_BOOL)
        (void)infer_fail_dtype(ctx, 0, "a number");
    else if (infer_axis_ok(ctx, (int64_t)ctx->attrs[ATTR_CUMULATIVE_axis], infer_rank(ctx, 0)))
        infer_same1(ctx);
}
void infer_assert(InferCtx *ctx) {
    if (infer_dtype(ctx, 0) != DTYPE_BOOL) (void)infer_fail_dtype(ctx, 0, "bool");
}
void infer_print(InferCtx *ctx) {
    String text = strings_get(&ctx->world->strings, (StrId){(uint32_t)ctx->attrs[ATTR_PRINT_text]});
    uint32_t places = 0;
    for (size_t i = 0; i + 1 < text.count; i++)
        places += text.data[i] == '{' && text.data[i + 1] == '}';
    if (text.count != 0 && places != ctx->operands_count)
        (void)infer_fail_attr(ctx, ATTR_PRINT_text, "needs one {} for each value");
    else if ((int64_t)ctx->attrs[ATTR_PRINT_most] < 0)
        (void)infer_fail_attr(ctx, ATTR_PRINT_most, "must be 0 or more");
}
void infer_number1(InferCtx *ctx) { infer_number(ctx); }
void infer_number(InferCtx *ctx) {
    if (infer_dtype(ctx, 0) == DTYPE_BOOL)
        (void)infer_fail_dtype(ctx, 0, "a number");
    else
        infer_same(ctx);
}
void infer_signed(InferCtx *ctx) { infer_number(ctx); }
void infer_float(InferCtx *ctx) {
    if (!dtype_is_differentiable(infer_dtype(ctx, 0)))
        (void)infer_fail_dtype(ctx, 0, "a float");
    else
        infer_same(ctx);
}
void infer_bits(InferCtx *ctx) {
    if (!dtype_is_int(infer_dtype(ctx, 0)) && infer_dtype(ctx, 0) != DTYPE_BOOL)
        (void)infer_fail_dtype(ctx, 0, "an integer or bool");
    else
        infer_same(ctx);
}
void infer_int(InferCtx *ctx) {
    if (!dtype_is_int(infer_dtype(ctx, 0)))
        (void)infer_fail_dtype(ctx, 0, "an integer");
    else
        infer_same(ctx);
}
void infer_compare(InferCtx *ctx) {
    if (all_same(ctx)) set_like(ctx, 0, DTYPE_BOOL);
}
void infer_to_bool(InferCtx *ctx) { set_like(ctx, 0, DTYPE_BOOL); }
void infer_select(InferCtx *ctx) {
    if (infer_dtype(ctx, 0) != DTYPE_BOOL) {
        (void)infer_fail_dtype(ctx, 0, "bool");
    } else if (infer_types_same(ctx, 1, 2)) {
        if (infer_rank(ctx, 0) != infer_rank(ctx, 1))
            (void)infer_fail_rank(ctx, 0, "the rank of the values selected from");
        else if (shapes_agree(ctx, "which and the values differ", 0, 1))
            ctx->out_types[0] = infer_type(ctx, 1);
    }
}
void infer_convert(InferCtx *ctx) {
    Dtype dtype = (Dtype)ctx->attrs[ATTR_CONVERT_dtype];
    if (dtype <= DTYPE_NIL || dtype >= DTYPE_COUNT)
        (void)infer_fail_attr(ctx, 0, "is not a dtype");
    else
        set_like(ctx, 0, dtype);
}
void infer_bitcast(InferCtx *ctx) {
    Dtype dtype = (Dtype)ctx->attrs[ATTR_BITCAST_dtype];
    if (dtype <= DTYPE_NIL || dtype >= DTYPE_COUNT ||
        dtype_bytes(dtype) != dtype_bytes(infer_dtype(ctx, 0)) || dtype == DTYPE_BOOL)
        (void)infer_fail_attr(ctx, 0, "is not a dtype of the same width as the operand");
    else
        set_like(ctx, 0, dtype);
}
void infer_complex(InferCtx *ctx) {
    Dtype dtype = infer_dtype(ctx, 0);
    if (dtype != DTYPE_F32 && dtype != DTYPE_F64)
        (void)infer_fail_dtype(ctx, 0, "f32 or f64");
    else if (all_same(ctx))
        set_like(ctx, 0, dtype == DTYPE_F32 ? DTYPE_C64 : DTYPE_C128);
}
void infer_real(InferCtx *ctx) {
    Dtype dtype = infer_dtype(ctx, 0);
    if (!dtype_is_complex(dtype))
        (void)infer_fail_dtype(ctx, 0, "complex");
    else
        set_like(ctx, 0, dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64);
}

/* --- creation and state ----------------------------------------------------------------------- */
void infer_constant(InferCtx *ctx) {
    uint64_t row = ctx->attrs[ATTR_CONSTANT_value];
    if (row == 0 || row >= ctx->world->consts.rows.table.count)
        (void)infer_fail_attr(ctx, 0, "is missing");
    else
        ctx->out_types[0] = ctx->world->consts.rows.type[row];
}
static void set_from_lists(InferCtx *ctx, Dtype dtype, uint32_t attr) {
    IntList sizes = infer_list(ctx, attr);
    DimId   dims[SHAPE_RANK_MAX];
    if (sizes.count > SHAPE_RANK_MAX) {
        (void)infer_fail_attr(ctx, attr, "has too many axes");
        return;
    }
    for (uint32_t i = 0; i < sizes.count; i++) dims[i] = (DimId){(uint32_t)sizes.at[i]};
    infer_set(ctx, 0, dtype, dims, sizes.count);
}
void infer_iota(InferCtx *ctx) {
    Dtype dtype = (Dtype)ctx->attrs[ATTR_IOTA_dtype];
    if (!infer_axis_ok(ctx, (int64_t)ctx->attrs[ATTR_IOTA_axis],
                       infer_list(ctx, ATTR_IOTA_shape).count))
        return;
    if (dtype <= DTYPE_BOOL || dtype >= DTYPE_COUNT)
        (void)infer_fail_attr(ctx, 0, "is not a number dtype");
    else
        set_from_lists(ctx, dtype, ATTR_IOTA_shape);
}
void infer_rng_bits(InferCtx *ctx) {
    if (infer_dtype(ctx, 0) != DTYPE_I64)
        (void)infer_fail_dtype(ctx, 0, "i64");
    else if (infer_rank(ctx, 0) != 0)
        (void)infer_fail_rank(ctx, 0, "a scalar");
    else
        set_from_lists(ctx, DTYPE_I32, ATTR_RNG_BITS_shape);
}
void infer_typed(InferCtx *ctx) {
    uint64_t row = ctx->attrs[ATTR_PARAMETER_type];
    if (row == 0 || row >= ctx->world->types.types.table.count)
        (void)infer_fail_attr(ctx, ATTR_PARAMETER_type, "is missing");
    else
        ctx->out_types[0] = (TypeId){(uint32_t)row};
}
void infer_typed_result(InferCtx *ctx) {
    uint64_t row = ctx->attrs[ATTR_ALL_TO_ALL_type];
    if (row == 0 || row >= ctx->world->types.types.table.count)
        (void)infer_fail_attr(ctx, ATTR_ALL_TO_ALL_type, "is missing");
    else
        ctx->out_types[0] = (TypeId){(uint32_t)row};
}
void infer_assign(InferCtx *ctx) {
    OpId op = value_op(ctx->code, ctx->operands[0]);
    if (ctx->code->ops.opcode[op.row] != OP_PARAMETER)
        (void)infer_fail_dtype(ctx, 0, "the result of a parameter operator");
    else
        (void)all_same(ctx);
}
void infer_each(InferCtx *ctx) {
    for (uint32_t i = 0; i < ctx->results_count && i < ctx->operands_count; i++)
        ctx->out_types[i] = infer_type(ctx, i);
}
void infer_rank_id(InferCtx *ctx) { infer_set(ctx, 0, DTYPE_I64, NULL, 0); }
void infer_resized(InferCtx *ctx) {
    DimId   dims[SHAPE_RANK_MAX];
    int64_t axis = (int64_t)ctx->attrs[0];
    if (!infer_axis_ok(ctx, axis, infer_rank(ctx, 0))) return;
    for (uint32_t i = 0; i < infer_rank(ctx, 0); i++) dims[i] = infer_dim(ctx, 0, i);
    dims[axis] = (DimId){(uint32_t)ctx->attrs[1]};
    infer_set(ctx, 0, infer_dtype(ctx, 0), dims, infer_rank(ctx, 0));
}

/* --- derivatives ------------------------------------------------------------------------------ */
void infer_gradient(InferCtx *ctx) {
    if (infer_rank(ctx, 0) != 0) {
        (void)infer_fail_rank(ctx, 0, "a scalar; sum or average first");
        return;
    }
    for (uint32_t i = 0; i < ctx->operands_count; i++)
        if (!dtype_is_differentiable(infer_dtype(ctx, i))) {
            (void)infer_fail_dtype(ctx, i, "a float");
            return;
        }
    for (uint32_t i = 0; i < ctx->results_count; i++) ctx->out_types[i] = infer_type(ctx, i + 1);
}
void infer_jvp(InferCtx *ctx) {
    uint32_t n = (ctx->operands_count - 1) / 2;
    if (ctx->operands_count % 2 == 0) {
        (void)infer_fail_types(ctx, 0, ctx->operands_count - 1);
        return;
    }
    for (uint32_t i = 1; i <= n; i++)
        if (!infer_types_same(ctx, i, i + n)) return;
    ctx->out_types[0] = infer_type(ctx, 0);
}
