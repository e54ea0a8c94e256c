/* narrow8: linear layers in 8-bit floats, and which of their products are worth it.
 *
 * A layer y[M,N] = x[M,K] w[N,K]^T has three products: y, the gradient of x and that of w. Each
 * takes about half the time in 8 bits, and its operands must be converted first: M K elements for
 * y, M N for the gradient of x, and both again, turned, for that of w, since tensor cores want them
 * along the sum. Unless the user says which (ctx->narrow8), products are chosen by what they save
 * for each element that is converted: the other width of the layer. An operand that a kernel makes
 * costs a byte more to write; one that a product makes must be read again.
 *
 * Scaled by blocks, products save less, and gradients of weights stay wide: blocks along tokens
 * would be a second conversion of both operands, and such a product takes 0.9 of the time of bf16.
 *
 * The last layer of a graph and those that take its arguments, where errors weigh most, stay
 * wide. */
#include "systems/narrow8.h"

enum {
    MULTIPLE = 16, /* tensor cores want rows of 16 bytes */
    CHAIN_MAX = 8
};
/* Least widths, from an H100 (note 0019): a product of 8-bit floats saves 1.1e-3 ps for each
 * element and unit of width, by blocks 0.64e-3, and a byte takes 0.37 ps; by blocks more are
 * written, since gradients of weights want bf16 too. */
typedef struct Least {
    int64_t from_kernel;  /* converted as it is made */
    int64_t from_product; /* read, converted and written */
    int64_t gradient;     /* a cotangent, which a kernel makes; by blocks it is read again, since
                             that kernel adds it up by columns */
    int64_t turned;       /* both operands turned: harmonic mean of the widths, halved */
    int64_t converted;    /* likewise, if both are converted for the other two products */
} Least;
static const Least by_tensor = {384, 1024, 384, 1280, 512};
static const Least by_block = {1024, 1792, 1792, INT64_MAX, INT64_MAX};

double narrow8_largest(Dtype dtype) {
    return (double)dtype_f32_of_f8(dtype, dtype == DTYPE_F8E4M3 ? 0x7E : 0x7B);
}

static BlockId body_of(const Code *code, OpId op) {
    BlockId block = code->ops.block[op.row];
    while (op_id_some(code->blocks.parent[block.row]))
        block = code->ops.block[code->blocks.parent[block.row].row];
    return block;
}
/* By block row: the last linear layer of the graph with this body. */
static uint32_t *last_layers(const Code *code, Arena *scratch) {
    uint32_t *last = ARENA_ARRAY_ZERO(scratch, uint32_t, code->blocks.table.count);
    for (uint32_t row = 1; row < code->ops.table.count; row++)
        if (code->ops.opcode[row] == OP_LINEAR) last[body_of(code, (OpId){row}).row] = row;
    return last;
}
/* N and K of a linear layer, unless 8-bit floats are not for it. */
static Narrow8Bar find_widths(const World *world, OpId op, uint32_t multiple, int64_t widths[2]) {
    const Code *code = &world->code;
    for (uint32_t i = 0; i < code->ops.operands_count[op.row]; i++)
        if (type_dtype(&world->types, value_type(world, op_operand(code, op, i))) != DTYPE_F32)
            return NARROW8_BAR_DTYPE;
    if (value_is_arg(code, op_operand(code, op, 0))) return NARROW8_BAR_ARGUMENT;
    TypeId weight = value_type(world, op_operand(code, op, 1));
    for (uint32_t i = 0; i < 2; i++) {
        DimId dim = type_dims(&world->types, weight)[i];
        if (!dims_is_const(&world->dims, dim)) return NARROW8_BAR_UNKNOWN;
        widths[i] = dims_const_value(&world->dims, dim);
        if (widths[i] % multiple != 0) return NARROW8_BAR_SIZES;
    }
    return NARROW8_BAR_NONE;
}
/* Whether a product makes a value, and no kernel what it becomes on the way. */
static bool from_product(const Code *code, ValueId value) {
    for (uint32_t i = 0; i < CHAIN_MAX; i++) {
        OpId op = value_op(code, value);
        if (!op_id_some(op) || code->ops.operands_count[op.row] == 0) return false;
        const OpInfo *info = op_info(code, op);
        if (info->flags & OP_PRODUCT) return true;
        if (!(info->flags & OP_VIEW) && code->ops.opcode[op.row] != OP_CONVERT) return false;
        value = op_operand(code, op, 0);
    }
    return false;
}
static uint32_t choose(const SystemCtx *ctx, OpId op, const int64_t widths[2]) {
    const Code  *code = &ctx->world->code;
    const Least *least = ctx->narrow8.block != 0 ? &by_block : &by_tensor;
    uint32_t     products = ctx->narrow8.products & NARROW8_ALL;
    int64_t      out = widths[0], in = widths[1];
    bool         read = from_product(code, op_operand(code, op, 0));
    if (products == 0) {
        products |= out >= (read ? least->from_product : least->from_kernel) ? NARROW8_Z : 0u;
        products |= in >= least->gradient ? NARROW8_DX : 0u;
        int64_t mean = in + out > 0 ? in * out / (in + out) : 0;
        bool    both = products == (NARROW8_Z | NARROW8_DX); /* then bf16 is not written any more */
        products |= mean >= (both ? least->converted : least->turned) ? NARROW8_DW : 0u;
    }
    if (ctx->narrow8.block != 0) products &= ~(uint32_t)NARROW8_DW;
    return (products & NARROW8_Z ? 0u : NARROW_WIDE_Z) |
           (products & NARROW8_DX ? 0u : NARROW_WIDE_DX) |
           (products & NARROW8_DW ? 0u : NARROW_WIDE_DY);
}
const Narrow8Layer *narrow8_choose(SystemCtx *ctx) {
    const Code     *code = &ctx->world->code;
    uint32_t        rows = code->ops.table.count;
    Narrow8Layer   *layers = ARENA_ARRAY(ctx->scratch, Narrow8Layer, rows);
    const uint32_t *last = last_layers(code, ctx->scratch);
    uint32_t        multiple = ctx->narrow8.block != 0 ? ctx->narrow8.block : MULTIPLE;
    for (uint32_t row = 0; row < rows; row++) {
        int64_t       widths[2];
        OpId          op = {row};
        Narrow8Layer *layer = &layers[row];
        *layer = (Narrow8Layer){NARROW8_NOTHING, NARROW8_BAR_NONE};
        if (code->ops.opcode[row] != OP_LINEAR) continue;
        layer->bar = find_widths(ctx->world, op, multiple, widths);
        if (last[body_of(code, op).row] == row && !(ctx->narrow8.products & NARROW8_LAST))
            layer->bar = NARROW8_BAR_LAST;
        if (layer->bar != NARROW8_BAR_NONE) continue;
        layer->wide = choose(ctx, op, widths);
        if (layer->wide == NARROW8_NOTHING) layer->bar = NARROW8_BAR_COST;
    }
    return layers;
}

ValueId narrow8_linear(Rewrite *rw, OpId op, uint32_t wide, uint32_t block) {
    Build    *build = &rw->build;
    ValueId   x = build_convert(build, rw->map[op_operand(rw->old, op, 0).row], DTYPE_BF16);
    ValueId   weight = build_convert(build, rw->map[op_operand(rw->old, op, 1).row], DTYPE_BF16);
    uint32_t  last = build_rank(build, x) - 1;
    DotAxes   axes = {.contract = 1, .x_contract = {last}, .y_contract = {1}};
    NarrowDot how = {DTYPE_F8E4M3, DTYPE_F8E4M3, wide, block};
    ValueId   y = build_narrow_dot(build, x, weight, &axes, how);
    if (rw->old->ops.operands_count[op.row] > 2) {
        ValueId bias = build_convert(build, rw->map[op_operand(rw->old, op, 2).row], DTYPE_BF16);
        y = build_binary(build, OP_ADD, y, build_along(build, bias, y, last));
    }
    return build_convert(build, y, DTYPE_F32);
}
