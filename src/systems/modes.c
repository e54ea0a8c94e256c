/* modes: forward or reverse?
 *
 * A Jacobian is a batch of products with unit vectors: forward, one pass with a tangent for each
 * element of x; in reverse, one pass with a cotangent for each element of y, after a pass that
 * keeps what they read. Both take one product where a row has one, so their numbers decide, and
 * then the memory. Estimates are those of dense rows: 2 m n k for a product, one operation an
 * element otherwise (two for a tangent: its factor), every operand read and result written once.
 *
 * Rows of blocks count once, however often they run: they run as often in both modes. Linear in the
 * rows of the program. */
#include "systems/modes.h"

#include <math.h>

#include "systems/flow.h"

static const double FLOPS_PER_BYTE = 8; /* of a core, about: 100 GFLOP/s against 12 GB/s */

/* --- sizes ------------------------------------------------------------------------------------ */
typedef struct Sizes {
    const World *world;
    int64_t     *dims; /* by dim row: at the typical sizes of symbols */
} Sizes;
static Sizes sizes_of(Arena *scratch, const World *world) {
    const DimRows *rows = &world->dims.rows;
    Sizes          s = {world, ARENA_ARRAY_ZERO(scratch, int64_t, rows->table.count)};
    for (uint32_t row = 1; row < rows->table.count; row++)
        if (rows->kind[row] == DIM_SYMBOL) s.dims[row] = dims_typical(&world->dims, (DimId){row});
    (void)dims_eval(&world->dims, s.dims);
    return s;
}
static double elements_of(const Sizes *s, TypeId type) {
    const Types *types = &s->world->types;
    double       count = 1;
    for (uint32_t i = 0; i < type_rank(types, type); i++)
        count *= (double)s->dims[type_dims(types, type)[i].row];
    return count;
}
static double bytes_of(const Sizes *s, TypeId type) {
    return elements_of(s, type) * dtype_bytes(type_dtype(&s->world->types, type));
}

/* --- one pass --------------------------------------------------------------------------------- */
/* By value row: 1 where it depends on x, 3 where y needs it too. Arguments of blocks depend on x if
 * anything that the operator takes does. */
static uint8_t *mark_between(Arena *scratch, const Code *code, ValueId x, ValueId y) {
    uint8_t *marks = ARENA_ARRAY_ZERO(scratch, uint8_t, code->values.table.count);
    marks[x.row] = 1;
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        uint8_t any = 0;
        for (uint32_t at = flow_first(code, (OpId){row}); at <= row; at++)
            for (uint32_t i = 0; i < code->ops.operands_count[at]; i++)
                any |= marks[op_operand(code, (OpId){at}, i).row];
        for (uint32_t at = flow_first(code, (OpId){row}); any && at <= row; at++)
            for (uint32_t i = 0; i < code->ops.results_count[at]; i++)
                marks[op_result(code, (OpId){at}, i).row] = 1;
    }
    marks[y.row] |= 2;
    for (uint32_t row = code->ops.table.count; row-- > 1;) {
        bool any = false;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++)
            any |= marks[op_result(code, (OpId){row}, i).row] == 3;
        for (uint32_t at = flow_first(code, (OpId){row}); any && at <= row; at++) {
            for (uint32_t i = 0; i < code->ops.operands_count[at]; i++)
                marks[op_operand(code, (OpId){at}, i).row] |= 2;
            for (uint32_t i = 0; i < code->ops.results_count[at]; i++)
                marks[op_result(code, (OpId){at}, i).row] |= 2;
        }
    }
    return marks;
}
/* 2 m n k of a product: twice its result times what is summed; else the elements of its results. */
static double row_flops(const Sizes *s, const Code *code, OpId op) {
    double   out = 0, x, y, z;
    uint32_t flags = op_info(code, op)->flags;
    for (uint32_t i = 0; i < code->ops.results_count[op.row]; i++)
        out += elements_of(s, code->values.type[op_result(code, op, i).row]);
    if (!(flags & OP_PRODUCT) || code->ops.operands_count[op.row] < 2)
        return flags & OP_VIEW ? 0 : out;
    x = elements_of(s, code->values.type[op_operand(code, op, 0).row]);
    y = elements_of(s, code->values.type[op_operand(code, op, 1).row]);
    z = elements_of(s, code->values.type[op_result(code, op, 0).row]);
    if (code->ops.opcode[op.row] == OP_CONVOLUTION) { /* taps of an output are those of w over O */
        TypeId w = code->values.type[op_operand(code, op, 1).row];
        double outputs = (double)s->dims[type_dims(&s->world->types, w)[0].row];
        return outputs > 0 ? 2 * z * y / outputs : 0;
    }
    return z > 0 ? 2 * z * sqrt(x * y / z) : 0; /* without batch axes x y / z is k squared */
}
ModePass modes_pass(Arena *scratch, const World *world, const Code *code, ValueId x, ValueId y) {
    Sizes    s = sizes_of(scratch, world);
    uint8_t *marks = mark_between(scratch, code, x, y);
    ModePass pass = {.kept = 0};
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        OpId     op = {row};
        uint32_t flags = op_info(code, op)->flags, moving = 0;
        bool     any = false;
        double   bytes = 0;
        for (uint32_t i = 0; i < code->ops.results_count[row]; i++) {
            any |= marks[op_result(code, op, i).row] == 3;
            bytes += bytes_of(&s, code->values.type[op_result(code, op, i).row]);
        }
        if (!any || (flags & OP_BLOCKS)) continue; /* rows of blocks count themselves */
        pass.kept += flags & OP_VIEW ? 0 : bytes;
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId operand = op_operand(code, op, i);
            moving += marks[operand.row] == 3;
            bytes += bytes_of(&s, code->values.type[operand.row]);
        }
        double flops = row_flops(&s, code, op), times = flags & OP_PRODUCT ? moving : 2;
        double moved = flags & OP_VIEW ? 0 : bytes;
        pass.value =
            (ModeCost){pass.value.rows + 1, pass.value.flops + flops, pass.value.bytes + moved};
        if (flags & OP_ZERO_GRAD) continue;
        pass.tangent = (ModeCost){pass.tangent.rows + 1, pass.tangent.flops + times * flops,
                                  pass.tangent.bytes + moved};
    }
    return pass;
}

/* --- jacobian --------------------------------------------------------------------------------- */
double modes_forward_time(const ModePass *pass, double tangents) {
    return tangents * (pass->tangent.flops + FLOPS_PER_BYTE * pass->tangent.bytes);
}
double modes_reverse_time(const ModePass *pass, double cotangents) {
    return modes_forward_time(pass, cotangents) + FLOPS_PER_BYTE * pass->kept;
}
JacobianModes modes_jacobian(Arena *scratch, const World *world, const Code *code, ValueId x,
                             ValueId y) {
    Sizes         s = sizes_of(scratch, world);
    ModePass      pass = modes_pass(scratch, world, code, x, y);
    JacobianModes modes = {.inputs = elements_of(&s, code->values.type[x.row]),
                           .outputs = elements_of(&s, code->values.type[y.row])};
    modes.forward = modes_forward_time(&pass, modes.inputs);
    modes.reverse = modes_reverse_time(&pass, modes.outputs);
    modes.reverse_wins = modes.reverse < modes.forward;
    return modes;
}

/* Unit vectors of the elements of like: [n] + its shape. */
static ValueId unit_vectors(Build *build, ValueId like) {
    Dims    *dims = &build->world->dims;
    DimId    shape[SHAPE_RANK_MAX + 1], square[2];
    uint32_t rank = build_rank(build, like);
    shape[0] = dims_const(dims, 1);
    for (uint32_t i = 0; i < rank; i++) {
        shape[i + 1] = build_dims(build, like)[i];
        shape[0] = dims_mul(dims, shape[0], shape[i + 1]);
    }
    square[0] = square[1] = shape[0];
    uint64_t words[3] = {DTYPE_I64, build_sizes(build, square, 2), 0};
    ValueId  row = build_op(build, OP_IOTA, NULL, 0, words);
    words[2] = 1;
    ValueId same = build_compare(build, COMPARE_EQ, row, build_op(build, OP_IOTA, NULL, 0, words));
    ValueId unit = build_convert(build, same, build_dtype(build, like));
    return build_reshape(build, unit, shape, rank + 1);
}
/* For a sample; a copy, because derivatives must not look through it. */
static ValueId stand_in(Build *build, ValueId like) {
    return build_unary(build, OP_COPY, build_splat(build, like, 0));
}
static ValueId map_units(Build *build, ValueId result, ValueId sample) {
    ValueId operands[3] = {result, sample, unit_vectors(build, sample)};
    return op_result(build->code, build_row(build, OP_VMAP, operands, 3, NULL, 1), 0);
}
static ValueId by_forward(Build *build, ValueId y, ValueId x) {
    ValueId  along = stand_in(build, x), operands[3] = {y, x, along};
    ValueId  tangents = map_units(build, build_op(build, OP_JVP, operands, 3, NULL), along);
    uint32_t rank = build_rank(build, y);
    int64_t  last[SHAPE_RANK_MAX]; /* the first axis moves behind those of y */
    for (uint32_t i = 0; i < rank; i++) last[i] = i + 1;
    last[rank] = 0;
    return rank == 0 ? tangents : build_transpose(build, tangents, last, rank + 1);
}
static ValueId by_reverse(Build *build, ValueId y, ValueId x) {
    ValueId  weight = stand_in(build, y), product = build_binary(build, OP_MUL, y, weight);
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(build, y);
    for (uint32_t i = 0; i < rank; i++) axes[i] = i;
    ValueId operands[2] = {build_reduce(build, REDUCE_SUM, product, axes, rank), x};
    OpId    gradient = build_row(build, OP_GRADIENT, operands, 2, NULL, 1);
    ValueId rows = map_units(build, op_result(build->code, gradient, 0), weight);
    return build_convert(build, rows, build_dtype(build, y));
}
void modes_derive(SystemCtx *ctx, Rewrite *rw, OpId op) {
    Build        *build = &rw->build;
    ValueId       y = rw->map[op_operand(rw->old, op, 0).row];
    ValueId       x = rw->map[op_operand(rw->old, op, 1).row];
    JacobianModes modes = modes_jacobian(ctx->scratch, ctx->world, build->code, x, y);
    ValueId       flat = modes.reverse_wins ? by_reverse(build, y, x) : by_forward(build, y, x);
    TypeId        type = rw->old->values.type[op_result(rw->old, op, 0).row];
    const Types  *types = &ctx->world->types;
    DimId         dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < type_rank(types, type); i++) dims[i] = type_dims(types, type)[i];
    rewrite_map(rw, op_result(rw->old, op, 0),
                build_reshape(build, flat, dims, type_rank(types, type)));
}

/* --- telling ---------------------------------------------------------------------------------- */
String modes_explain(Arena *out, const World *world) {
    const Code *code = &world->code;
    Scratch     scratch = scratch_begin(&out, 1);
    Text        text = text_begin(out);
    for (uint32_t row = 1; row < code->ops.table.count; row++) {
        if (code->ops.opcode[row] != OP_JACOBIAN) continue;
        ValueId       y = op_operand(code, (OpId){row}, 0), x = op_operand(code, (OpId){row}, 1);
        ModePass      pass = modes_pass(scratch.arena, world, code, x, y);
        JacobianModes m = modes_jacobian(scratch.arena, world, code, x, y);
        text_addf(&text,
                  "jacobian of %.0f in %.0f elements: %s\n"
                  "  a pass with a tangent: %.0f rows, %.3g flops, %.3g bytes; %.3g bytes kept\n"
                  "  forward: %.3g, reverse: %.3g\n",
                  m.outputs, m.inputs, m.reverse_wins ? "reverse" : "forward", pass.tangent.rows,
                  pass.tangent.flops, pass.tangent.bytes, pass.kept, m.forward, m.reverse);
    }
    scratch_end(scratch);
    return text_done(&text);
}
