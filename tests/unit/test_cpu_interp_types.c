// The typing rule of every primitive, the first contract of its page in docs/ops: what it accepts
// and the type that it gives, and what it refuses with which diagnostic. The rules are those of
// inference; they stand beside the interpreter's tests because a page has both.
#include "build_graph.h"

#define F32 DTYPE_F32
#define I32 DTYPE_I32
#define I64 DTYPE_I64
#define B1  DTYPE_BOOL

// The graph under construction of this file's helpers.
static Graph g;

static void operand(Dtype dtype, const int64_t *shape, uint32_t rank) {
    Tensor *x = &g.inputs[g.inputs_count++];
    *x = (Tensor){.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) x->shape[i] = shape[i];
}
static OpId build(Opcode opcode, const uint64_t *attrs) {
    graph_begin(&g);
    return build_row(&g.build, opcode, g.args, g.inputs_count, attrs, 0);
}
static TypeId result(OpId op, uint32_t i) {
    return g.world->code.values.type[op_result(&g.world->code, op, i).row];
}
static void next(Arena *arena) { // the world is the one of the last case
    world_close(g.world);
    g = graph_open(arena);
}
static void refused(Arena *arena, Opcode opcode, const uint64_t *attrs, DiagKind kind) {
    (void)build(opcode, attrs);
    if (!EXPECT(g.world->diags.errors == 1 && graph_told(&g, kind)))
        printf(" (%s)", op_infos[opcode].name);
    next(arena);
}
static void gives(Arena *arena, Opcode opcode, const uint64_t *attrs, Dtype dtype,
                  const int64_t *shape, uint32_t rank) {
    OpId op = build(opcode, attrs);
    if (!EXPECT_EQ(result(op, 0).row, graph_type(&g, dtype, shape, rank).row) ||
        !EXPECT_EQ(g.world->diags.errors, 0))
        printf(" (%s)", op_infos[opcode].name);
    next(arena);
}
#define REFUSED(op, ...) refused(arena, op, __VA_ARGS__)
#define GIVES(op, ...)   gives(arena, op, __VA_ARGS__)
#define LIST(...)        INTS(&g, __VA_ARGS__)
#define DIMS(...)        SIZES(&g, __VA_ARGS__)

/* --- elementwise ------------------------------------------------------------------------------ */
// exp-c1 expm1-c1 log-c1 log1p-c1 sqrt-c1 rsqrt-c1 sin-c1 cos-c1 tanh-c1 logistic-c1 erf-c1
// erf_inv-c1 lgamma-c1 polygamma-c1 bessel_ie-c1 floor-c1 round_even-c1
TEST(types_float_unary) {
    static const Opcode opcodes[] = {OP_EXP,       OP_EXPM1,    OP_LOG,    OP_LOG1P, OP_SQRT,
                                     OP_RSQRT,     OP_SIN,      OP_COS,    OP_TANH,  OP_LOGISTIC,
                                     OP_ERF,       OP_ERF_INV,  OP_LGAMMA, OP_FLOOR, OP_ROUND_EVEN,
                                     OP_POLYGAMMA, OP_BESSEL_IE};
    g = graph_open(arena);
    for (size_t i = 0; i < LENGTH(opcodes); i++) {
        operand(DTYPE_BF16, SHAPE(2, 3));
        GIVES(opcodes[i], NULL, DTYPE_BF16, SHAPE(2, 3));
        operand(I32, SHAPE(2));
        REFUSED(opcodes[i], NULL, DIAG_DTYPE_WRONG);
    }
    graph_close(&g);
}
// neg-c1 abs-c1 sign-c1
TEST(types_number_unary) {
    static const Opcode opcodes[] = {OP_NEG, OP_ABS, OP_SIGN};
    g = graph_open(arena);
    for (size_t i = 0; i < LENGTH(opcodes); i++) {
        operand(DTYPE_U8, SCALAR);
        GIVES(opcodes[i], NULL, DTYPE_U8, SCALAR);
        operand(B1, SHAPE(2));
        REFUSED(opcodes[i], NULL, DIAG_DTYPE_WRONG);
    }
    graph_close(&g);
}
static void binary(Arena *arena, Opcode opcode, Dtype takes, Dtype refuses) {
    operand(takes, SHAPE(2, 3));
    operand(takes, SHAPE(2, 3));
    GIVES(opcode, NULL, takes, SHAPE(2, 3));
    operand(takes, SHAPE(2, 3));
    operand(takes, SHAPE(2, 1));
    REFUSED(opcode, NULL, DIAG_TYPES_DIFFER);
    operand(takes, SHAPE(2));
    operand(takes == F32 ? DTYPE_F64 : DTYPE_I8, SHAPE(2));
    REFUSED(opcode, NULL, DIAG_TYPES_DIFFER);
    if (refuses == DTYPE_NIL) return;
    operand(refuses, SHAPE(2));
    operand(refuses, SHAPE(2));
    REFUSED(opcode, NULL, DIAG_DTYPE_WRONG);
}
TEST(types_binary) {
    static const Opcode numbers[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_POW, OP_REM};
    static const Opcode floats[] = {OP_ATAN2, OP_NEXTAFTER, OP_IGAMMA};
    static const Opcode ints[] = {OP_SHL, OP_SHR_ARITH, OP_SHR_LOGICAL};
    static const Opcode bits[] = {OP_AND, OP_OR, OP_XOR};
    g = graph_open(arena);
    for (size_t i = 0; i < LENGTH(numbers); i++) { // add-c1 sub-c1 mul-c1 div-c1 pow-c1 rem-c1
        binary(arena, numbers[i], F32, B1);
        binary(arena, numbers[i], I32, DTYPE_NIL);
    }
    for (size_t i = 0; i < LENGTH(floats); i++) // atan2-c1 nextafter-c1 igamma-c1
        binary(arena, floats[i], F32, I32);
    for (size_t i = 0; i < LENGTH(ints); i++) { // shl-c1 shr_arith-c1 shr_logical-c1
        binary(arena, ints[i], I32, F32);
        binary(arena, ints[i], I64, B1);
    }
    for (size_t i = 0; i < LENGTH(bits); i++) { // and-c1 or-c1 xor-c1
        binary(arena, bits[i], I32, F32);
        binary(arena, bits[i], B1, DTYPE_NIL);
    }
    binary(arena, OP_MAX, B1, DTYPE_NIL);  // max-c1
    binary(arena, OP_MIN, F32, DTYPE_NIL); // min-c1
    graph_close(&g);
}
TEST(types_selection) {
    g = graph_open(arena);
    operand(F32, SHAPE(2)); // compare-c1
    operand(F32, SHAPE(2));
    GIVES(OP_COMPARE, WORDS(COMPARE_LT), B1, SHAPE(2));
    operand(F32, SHAPE(2));
    operand(F32, SHAPE(3));
    REFUSED(OP_COMPARE, WORDS(COMPARE_LT), DIAG_TYPES_DIFFER);
    operand(I32, SHAPE(2)); // is_finite-c1
    GIVES(OP_IS_FINITE, NULL, B1, SHAPE(2));
    operand(B1, SHAPE(2)); // select-c1
    operand(I32, SHAPE(2));
    operand(I32, SHAPE(2));
    GIVES(OP_SELECT, NULL, I32, SHAPE(2));
    operand(I32, SHAPE(2));
    operand(I32, SHAPE(2));
    operand(I32, SHAPE(2));
    REFUSED(OP_SELECT, NULL, DIAG_DTYPE_WRONG);
    operand(B1, SHAPE(2));
    operand(I32, SHAPE(2));
    operand(F32, SHAPE(2));
    REFUSED(OP_SELECT, NULL, DIAG_TYPES_DIFFER);
    operand(B1, SCALAR);
    operand(I32, SHAPE(2));
    operand(I32, SHAPE(2));
    REFUSED(OP_SELECT, NULL, DIAG_RANK_WRONG);
    operand(B1, SHAPE(3));
    operand(I32, SHAPE(2));
    operand(I32, SHAPE(2));
    REFUSED(OP_SELECT, NULL, DIAG_SHAPE_MISMATCH);
    operand(B1, SHAPE(3)); // not-c1
    GIVES(OP_NOT, NULL, B1, SHAPE(3));
    operand(F32, SHAPE(3));
    REFUSED(OP_NOT, NULL, DIAG_DTYPE_WRONG);
    graph_close(&g);
}
TEST(types_conversion) {
    g = graph_open(arena);
    operand(F32, SHAPE(3)); // convert-c1
    GIVES(OP_CONVERT, WORDS(DTYPE_I8), DTYPE_I8, SHAPE(3));
    operand(F32, SHAPE(3));
    REFUSED(OP_CONVERT, WORDS(DTYPE_COUNT), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(3)); // bitcast-c1
    GIVES(OP_BITCAST, WORDS(I32), I32, SHAPE(3));
    operand(F32, SHAPE(3));
    REFUSED(OP_BITCAST, WORDS(I64), DIAG_ATTR_VALUE);
    operand(DTYPE_U8, SHAPE(3));
    REFUSED(OP_BITCAST, WORDS(B1), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(3)); // complex-c1
    operand(F32, SHAPE(3));
    GIVES(OP_COMPLEX, NULL, DTYPE_C64, SHAPE(3));
    operand(DTYPE_F16, SHAPE(3));
    operand(DTYPE_F16, SHAPE(3));
    REFUSED(OP_COMPLEX, NULL, DIAG_DTYPE_WRONG);
    operand(DTYPE_C128, SHAPE(3)); // real-c1
    GIVES(OP_REAL, NULL, DTYPE_F64, SHAPE(3));
    operand(DTYPE_C64, SHAPE(3)); // imag-c1
    GIVES(OP_IMAG, NULL, F32, SHAPE(3));
    operand(F32, SHAPE(3));
    REFUSED(OP_IMAG, NULL, DIAG_DTYPE_WRONG);
    graph_close(&g);
}

/* --- creation and shape ----------------------------------------------------------------------- */
TEST(types_creation) {
    g = graph_open(arena);
    REFUSED(OP_CONSTANT, WORDS(0), DIAG_ATTR_VALUE);             // constant-c1
    GIVES(OP_IOTA, WORDS(I32, DIMS(2, 3), 1), I32, SHAPE(2, 3)); // iota-c1
    REFUSED(OP_IOTA, WORDS(B1, DIMS(2, 3), 1), DIAG_ATTR_VALUE);
    REFUSED(OP_IOTA, WORDS(I32, DIMS(2, 3), 2), DIAG_AXIS_WRONG);
    operand(I64, SCALAR); // rng_bits-c1
    GIVES(OP_RNG_BITS, WORDS(DIMS(4), 0), I32, SHAPE(4));
    operand(I32, SCALAR);
    REFUSED(OP_RNG_BITS, WORDS(DIMS(4), 0), DIAG_DTYPE_WRONG);
    operand(I64, SHAPE(1));
    REFUSED(OP_RNG_BITS, WORDS(DIMS(4), 0), DIAG_RANK_WRONG);
    TypeId type = graph_type(&g, F32, SHAPE(2)); // parameter-c1
    GIVES(OP_PARAMETER, WORDS(graph_name(&g, "w"), type.row, 0, 0, 1, 0), F32, SHAPE(2));
    REFUSED(OP_PARAMETER, WORDS(graph_name(&g, "w"), 0, 0, 0, 1, 0), DIAG_ATTR_VALUE);
    graph_close(&g);
}
TEST(types_views) {
    g = graph_open(arena);
    operand(F32, SHAPE(1, 3)); // broadcast_in_dim-c1
    GIVES(OP_BROADCAST_IN_DIM, WORDS(DIMS(2, 4, 3), LIST(1, 2)), F32, SHAPE(2, 4, 3));
    operand(F32, SHAPE(2));
    REFUSED(OP_BROADCAST_IN_DIM, WORDS(DIMS(3), LIST(0)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_BROADCAST_IN_DIM, WORDS(DIMS(3, 2), LIST(1, 0)), DIAG_AXIS_WRONG);
    operand(F32, SHAPE(2));
    REFUSED(OP_BROADCAST_IN_DIM, WORDS(DIMS(2), 0), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 3)); // reshape-c1
    GIVES(OP_RESHAPE, WORDS(DIMS(6)), F32, SHAPE(6));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_RESHAPE, WORDS(DIMS(5)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 3)); // transpose-c1
    GIVES(OP_TRANSPOSE, WORDS(LIST(1, 0)), F32, SHAPE(3, 2));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_TRANSPOSE, WORDS(LIST(1, 1)), DIAG_AXIS_WRONG);
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_TRANSPOSE, WORDS(LIST(0)), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(7)); // slice-c1
    GIVES(OP_SLICE, WORDS(DIMS(1), DIMS(7), LIST(4)), F32, SHAPE(2));
    operand(F32, SHAPE(7));
    REFUSED(OP_SLICE, WORDS(DIMS(1), DIMS(7), LIST(0)), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(7));
    REFUSED(OP_SLICE, WORDS(DIMS(1), 0, 0), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(7)); // slice-c3
    REFUSED(OP_SLICE, WORDS(DIMS(1), DIMS(8), 0), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2)); // reverse-c1
    REFUSED(OP_REVERSE, WORDS(LIST(1)), DIAG_AXIS_WRONG);
    operand(F32, SHAPE(2));
    GIVES(OP_REVERSE, WORDS(LIST(0)), F32, SHAPE(2));
    operand(I32, SHAPE(2, 5)); // dim_size-c1
    GIVES(OP_DIM_SIZE, WORDS(1), I64, SCALAR);
    operand(I32, SHAPE(2, 5));
    REFUSED(OP_DIM_SIZE, WORDS(2), DIAG_AXIS_WRONG);
    operand(I32, SHAPE(2)); // copy-c1
    GIVES(OP_COPY, NULL, I32, SHAPE(2));
    operand(I32, SHAPE(2)); // stop_gradient-c1
    GIVES(OP_STOP_GRADIENT, NULL, I32, SHAPE(2));
    operand(I32, SHAPE(2)); // barrier-c1
    GIVES(OP_BARRIER, NULL, I32, SHAPE(2));
    graph_close(&g);
}
TEST(types_pad_and_concat) {
    g = graph_open(arena);
    operand(F32, SHAPE(3)); // pad-c1
    operand(F32, SCALAR);
    GIVES(OP_PAD, WORDS(DIMS(1), DIMS(2), LIST(2)), F32, SHAPE(10));
    operand(F32, SHAPE(3));
    operand(F32, SHAPE(1));
    REFUSED(OP_PAD, WORDS(DIMS(1), DIMS(2), 0), DIAG_RANK_WRONG);
    operand(F32, SHAPE(3));
    operand(I32, SCALAR);
    REFUSED(OP_PAD, WORDS(DIMS(1), DIMS(2), 0), DIAG_TYPES_DIFFER);
    operand(F32, SHAPE(3));
    operand(F32, SCALAR);
    REFUSED(OP_PAD, WORDS(DIMS(1), DIMS(2), LIST(-1)), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(3, 2)); // concat-c1
    operand(F32, SHAPE(4, 2));
    GIVES(OP_CONCAT, WORDS(0), F32, SHAPE(7, 2));
    operand(F32, SHAPE(3, 2));
    operand(F32, SHAPE(4, 2));
    REFUSED(OP_CONCAT, WORDS(1), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(3));
    operand(I32, SHAPE(3));
    REFUSED(OP_CONCAT, WORDS(0), DIAG_TYPES_DIFFER);
    operand(F32, SHAPE(3));
    REFUSED(OP_CONCAT, WORDS(1), DIAG_AXIS_WRONG);
    graph_close(&g);
}

/* --- indexing --------------------------------------------------------------------------------- */
TEST(types_dynamic) {
    g = graph_open(arena);
    operand(F32, SHAPE(4, 5)); // dynamic_slice-c1
    operand(I64, SHAPE(2));
    GIVES(OP_DYNAMIC_SLICE, WORDS(DIMS(2, 3)), F32, SHAPE(2, 3));
    operand(F32, SHAPE(4, 5));
    operand(I64, SHAPE(2));
    REFUSED(OP_DYNAMIC_SLICE, WORDS(DIMS(2, 6)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(4, 5));
    operand(I32, SHAPE(2));
    REFUSED(OP_DYNAMIC_SLICE, WORDS(DIMS(2, 3)), DIAG_DTYPE_WRONG);
    operand(F32, SHAPE(4, 5));
    operand(I64, SHAPE(3));
    REFUSED(OP_DYNAMIC_SLICE, WORDS(DIMS(2, 3)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(4, 5)); // dynamic_update_slice-c1
    operand(F32, SHAPE(2, 1));
    operand(I64, SHAPE(2));
    GIVES(OP_DYNAMIC_UPDATE_SLICE, NULL, F32, SHAPE(4, 5));
    operand(F32, SHAPE(4, 5));
    operand(F32, SHAPE(2));
    operand(I64, SHAPE(2));
    REFUSED(OP_DYNAMIC_UPDATE_SLICE, NULL, DIAG_RANK_WRONG);
    operand(F32, SHAPE(4));
    operand(I32, SHAPE(2));
    operand(I64, SHAPE(1));
    REFUSED(OP_DYNAMIC_UPDATE_SLICE, NULL, DIAG_TYPES_DIFFER);
    operand(F32, SHAPE(4)); // dynamic_reshape-c1 dynamic_broadcast-c1
    operand(I64, SHAPE(1));
    DimId    n = graph_symbol(&g, "N");
    uint64_t sizes = build_sizes(&g.build, &n, 1);
    OpId     op = build(OP_DYNAMIC_RESHAPE, WORDS(sizes));
    EXPECT_EQ(type_dims(&g.world->types, result(op, 0))[0].row, n.row);
    ValueId operands[2] = {g.args[0], g.args[1]};
    ValueId y = build_op(&g.build, OP_DYNAMIC_BROADCAST, operands, 2, WORDS(sizes, LIST(0)));
    EXPECT_EQ(type_dims(&g.world->types, build_type(&g.build, y))[0].row, n.row);
    next(arena);
    operand(F32, SHAPE(4));
    operand(I32, SHAPE(1));
    REFUSED(OP_DYNAMIC_RESHAPE, WORDS(DIMS(4)), DIAG_DTYPE_WRONG);
    graph_close(&g);
}
TEST(types_gather) { // gather-c1
    g = graph_open(arena);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    GIVES(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(0), DIMS(1, 2)), F32, SHAPE(7, 2));
    operand(F32, SHAPE(4, 3));
    operand(F32, SHAPE(7, 1));
    REFUSED(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(0), DIMS(1, 3)), DIAG_DTYPE_WRONG);
    operand(F32, SHAPE(4, 3));
    operand(I32, SCALAR);
    REFUSED(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(0), DIMS(1, 3)), DIAG_RANK_WRONG);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 2));
    REFUSED(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(0), DIMS(1, 3)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    REFUSED(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(0), DIMS(2, 3)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    REFUSED(OP_GATHER, WORDS(0, LIST(0), 0, 0, LIST(0), DIMS(1, 3)), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    REFUSED(OP_GATHER, WORDS(LIST(1), LIST(0), 0, 0, LIST(2), DIMS(1, 3)), DIAG_AXIS_WRONG);
    graph_close(&g);
}
TEST(types_scatter) { // scatter-c1
    g = graph_open(arena);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    operand(F32, SHAPE(7, 3));
    GIVES(OP_SCATTER, WORDS(SCATTER_ADD, LIST(1), LIST(0), 0, 0, LIST(0)), F32, SHAPE(4, 3));
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    operand(I32, SHAPE(7, 3));
    REFUSED(OP_SCATTER, WORDS(SCATTER_ADD, LIST(1), LIST(0), 0, 0, LIST(0)), DIAG_TYPES_DIFFER);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    operand(F32, SHAPE(7));
    REFUSED(OP_SCATTER, WORDS(SCATTER_ADD, LIST(1), LIST(0), 0, 0, LIST(0)), DIAG_RANK_WRONG);
    operand(F32, SHAPE(4, 3));
    operand(I32, SHAPE(7, 1));
    operand(F32, SHAPE(6, 3));
    REFUSED(OP_SCATTER, WORDS(SCATTER_ADD, LIST(1), LIST(0), 0, 0, LIST(0)), DIAG_SHAPE_MISMATCH);
    graph_close(&g);
}

/* --- reductions, contractions, windows -------------------------------------------------------- */
TEST(types_reductions) {
    g = graph_open(arena);
    operand(F32, SHAPE(2, 3, 4)); // reduce-c1
    GIVES(OP_REDUCE, WORDS(REDUCE_SUM, LIST(0, 2)), F32, SHAPE(3));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_REDUCE, WORDS(REDUCE_SUM, LIST(1, 0)), DIAG_AXIS_WRONG);
    operand(F32, SHAPE(2));
    REFUSED(OP_REDUCE, WORDS(REDUCE_ARGMAX, LIST(0)), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2));
    REFUSED(OP_REDUCE, WORDS(REDUCE_AND, LIST(0)), DIAG_DTYPE_WRONG);
    operand(B1, SHAPE(2));
    REFUSED(OP_REDUCE, WORDS(REDUCE_SUM, LIST(0)), DIAG_DTYPE_WRONG);
    operand(F32, SHAPE(2, 3)); // arg_reduce-c1
    GIVES(OP_ARG_REDUCE, WORDS(REDUCE_MAX, 0), I64, SHAPE(3));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_ARG_REDUCE, WORDS(REDUCE_SUM, 0), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 3)); // cumulative-c1
    GIVES(OP_CUMULATIVE, WORDS(REDUCE_SUM, 1, 0), F32, SHAPE(2, 3));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_CUMULATIVE, WORDS(REDUCE_SUM, 2, 0), DIAG_AXIS_WRONG);
    operand(F32, SHAPE(2, 3)); // sort-c1
    operand(I32, SHAPE(2, 3));
    OpId op = build(OP_SORT, WORDS(1, 0));
    EXPECT_EQ(result(op, 1).row, graph_type(&g, I32, SHAPE(2, 3)).row);
    next(arena);
    operand(F32, SHAPE(2, 3));
    operand(I32, SHAPE(2, 2));
    REFUSED(OP_SORT, WORDS(1, 0), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 3));
    operand(I32, SHAPE(2));
    REFUSED(OP_SORT, WORDS(1, 0), DIAG_RANK_WRONG);
    operand(B1, SHAPE(5)); // compact-c1
    operand(F32, SHAPE(5, 2));
    DimId n = graph_symbol(&g, "N");
    op = build(OP_COMPACT, WORDS(n.row));
    EXPECT_EQ(type_dims(&g.world->types, result(op, 0))[0].row, n.row);
    EXPECT_EQ(result(op, 1).row, graph_type(&g, I64, SCALAR).row);
    next(arena);
    operand(I32, SHAPE(5));
    operand(F32, SHAPE(5, 2));
    REFUSED(OP_COMPACT, WORDS(graph_symbol(&g, "N").row), DIAG_DTYPE_WRONG);
    graph_close(&g);
}
TEST(types_dot_general) { // dot_general-c1
    g = graph_open(arena);
    operand(F32, SHAPE(2, 3, 4));
    operand(F32, SHAPE(4, 2, 5));
    GIVES(OP_DOT_GENERAL, WORDS(LIST(0), LIST(1), LIST(2), LIST(0)), F32, SHAPE(2, 3, 5));
    operand(F32, SHAPE(2, 3));
    operand(F32, SHAPE(4, 2));
    REFUSED(OP_DOT_GENERAL, WORDS(0, 0, LIST(1), LIST(0)), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 3));
    operand(DTYPE_F64, SHAPE(3, 2));
    REFUSED(OP_DOT_GENERAL, WORDS(0, 0, LIST(1), LIST(0)), DIAG_TYPES_DIFFER);
    operand(F32, SHAPE(2, 3));
    operand(F32, SHAPE(3, 2));
    REFUSED(OP_DOT_GENERAL, WORDS(0, 0, LIST(1), 0), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 2));
    operand(F32, SHAPE(2, 2));
    REFUSED(OP_DOT_GENERAL, WORDS(LIST(0), LIST(0), LIST(0), LIST(1)), DIAG_AXIS_WRONG);
    graph_close(&g);
}
TEST(types_convolution) { // convolution-c1
    g = graph_open(arena);
    operand(F32, SHAPE(2, 4, 9));
    operand(F32, SHAPE(6, 2, 3));
    GIVES(OP_CONVOLUTION, WORDS(LIST(2), DIMS(1), DIMS(0), 0, LIST(2), 2), F32, SHAPE(2, 6, 3));
    operand(F32, SHAPE(2, 4));
    operand(F32, SHAPE(6, 4));
    REFUSED(OP_CONVOLUTION, WORDS(0, 0, 0, 0, 0, 1), DIAG_RANK_WRONG);
    operand(F32, SHAPE(2, 4, 9));
    operand(F32, SHAPE(6, 3, 3));
    REFUSED(OP_CONVOLUTION, WORDS(LIST(1), DIMS(0), DIMS(0), 0, 0, 1), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 4, 9));
    operand(F32, SHAPE(6, 4, 3));
    REFUSED(OP_CONVOLUTION, WORDS(LIST(0), DIMS(0), DIMS(0), 0, 0, 1), DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 4, 9)); // convolution-c7
    operand(F32, SHAPE(5, 2, 3));
    REFUSED(OP_CONVOLUTION, WORDS(LIST(1), DIMS(0), DIMS(0), 0, 0, 2), DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(2, 4, 9));
    operand(I32, SHAPE(5, 4, 3));
    REFUSED(OP_CONVOLUTION, WORDS(LIST(1), DIMS(0), DIMS(0), 0, 0, 1), DIAG_TYPES_DIFFER);
    graph_close(&g);
}
TEST(types_reduce_window) { // reduce_window-c1
    g = graph_open(arena);
    operand(F32, SHAPE(2, 7));
    GIVES(OP_REDUCE_WINDOW, WORDS(REDUCE_MAX, LIST(3), LIST(2), DIMS(1), DIMS(0), 0), F32,
          SHAPE(2, 3));
    operand(F32, SHAPE(2, 7));
    GIVES(OP_REDUCE_WINDOW, WORDS(REDUCE_ARGMAX, LIST(3), LIST(2), DIMS(1), DIMS(0), 0), I64,
          SHAPE(2, 3));
    operand(F32, SHAPE(2, 7));
    REFUSED(OP_REDUCE_WINDOW, WORDS(REDUCE_PROD, LIST(3), LIST(2), DIMS(1), DIMS(0), 0),
            DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 7));
    REFUSED(OP_REDUCE_WINDOW, WORDS(REDUCE_SUM, LIST(3), LIST(2, 2), DIMS(1), DIMS(0), 0),
            DIAG_ATTR_VALUE);
    operand(F32, SHAPE(2, 7));
    REFUSED(OP_REDUCE_WINDOW, WORDS(REDUCE_SUM, LIST(0), LIST(2), DIMS(1), DIMS(0), 0),
            DIAG_ATTR_VALUE);
    graph_close(&g);
}

/* --- library ---------------------------------------------------------------------------------- */
static void expect_results(Arena *arena, Opcode opcode, const int64_t shapes[3][3],
                           const uint32_t ranks[3], const Dtype dtypes[3], uint32_t count) {
    OpId op = build(opcode, NULL);
    for (uint32_t i = 0; i < count; i++)
        EXPECT_EQ(result(op, i).row, graph_type(&g, dtypes[i], shapes[i], ranks[i]).row);
    EXPECT_EQ(g.world->diags.errors, 0);
    next(arena);
}
TEST(types_factorisations) {
    g = graph_open(arena);
    operand(F32, SHAPE(2, 3, 3)); // cholesky-c1
    GIVES(OP_CHOLESKY, NULL, F32, SHAPE(2, 3, 3));
    operand(F32, SHAPE(2, 4, 4)); // lu-c1
    expect_results(arena, OP_LU, (const int64_t[3][3]){{2, 4, 4}, {2, 4}},
                   (const uint32_t[]){3, 2, 0}, (const Dtype[]){F32, I64, F32}, 2);
    operand(F32, SHAPE(2, 5, 3)); // qr-c1
    expect_results(arena, OP_QR, (const int64_t[3][3]){{2, 5, 3}, {2, 3, 3}},
                   (const uint32_t[]){3, 3, 0}, (const Dtype[]){F32, F32, F32}, 2);
    operand(F32, SHAPE(2, 3, 3)); // eigh-c1
    expect_results(arena, OP_EIGH, (const int64_t[3][3]){{2, 3}, {2, 3, 3}},
                   (const uint32_t[]){2, 3, 0}, (const Dtype[]){F32, F32, F32}, 2);
    operand(F32, SHAPE(2, 3, 5)); // svd-c1
    expect_results(arena, OP_SVD, (const int64_t[3][3]){{2, 3, 3}, {2, 3}, {2, 3, 5}},
                   (const uint32_t[]){3, 2, 3}, (const Dtype[]){F32, F32, F32}, 3);
    operand(F32, SHAPE(3, 3)); // eig-c1
    expect_results(arena, OP_EIG, (const int64_t[3][3]){{3}, {3, 3}}, (const uint32_t[]){1, 2, 0},
                   (const Dtype[]){DTYPE_C64, DTYPE_C64, F32}, 2);
    operand(F32, SHAPE(3, 3)); // triangular_solve-c1
    operand(F32, SHAPE(3, 2));
    GIVES(OP_TRIANGULAR_SOLVE, NULL, F32, SHAPE(3, 2));
    operand(F32, SHAPE(3, 3));
    operand(F32, SHAPE(2, 2));
    REFUSED(OP_TRIANGULAR_SOLVE, NULL, DIAG_SHAPE_MISMATCH);
    operand(F32, SHAPE(3, 3));
    operand(F32, SHAPE(1, 3, 2));
    REFUSED(OP_TRIANGULAR_SOLVE, NULL, DIAG_RANK_WRONG);
    static const Opcode square[] = {OP_CHOLESKY, OP_LU, OP_EIGH, OP_EIG};
    for (size_t i = 0; i < LENGTH(square); i++) {
        operand(F32, SHAPE(2, 3));
        REFUSED(square[i], NULL, DIAG_SHAPE_MISMATCH);
        operand(I32, SHAPE(2, 2));
        REFUSED(square[i], NULL, DIAG_DTYPE_WRONG);
    }
    static const Opcode any[] = {OP_QR, OP_SVD};
    for (size_t i = 0; i < LENGTH(any); i++) {
        operand(F32, SHAPE(2));
        REFUSED(any[i], NULL, DIAG_RANK_WRONG);
    }
    graph_close(&g);
}
TEST(types_fft) { // fft-c1
    g = graph_open(arena);
    operand(F32, SHAPE(2, 5));
    GIVES(OP_FFT, WORDS(FFT_REAL_FORWARD, DIMS(5)), DTYPE_C64, SHAPE(2, 3));
    operand(DTYPE_C128, SHAPE(2, 3));
    GIVES(OP_FFT, WORDS(FFT_REAL_INVERSE, DIMS(2, 5)), DTYPE_F64, SHAPE(2, 5));
    operand(DTYPE_C64, SHAPE(2, 5));
    GIVES(OP_FFT, WORDS(FFT_INVERSE, DIMS(5)), DTYPE_C64, SHAPE(2, 5));
    operand(F32, SHAPE(2, 5));
    REFUSED(OP_FFT, WORDS(FFT_FORWARD, DIMS(5)), DIAG_DTYPE_WRONG);
    operand(DTYPE_C64, SHAPE(5));
    REFUSED(OP_FFT, WORDS(FFT_FORWARD, 0), DIAG_ATTR_VALUE);
    graph_close(&g);
}

/* --- outside, collectives, control and derivatives -------------------------------------------- */
TEST(types_effects) {
    g = graph_open(arena);
    operand(F32, SHAPE(2)); // assign-c1
    operand(F32, SHAPE(2));
    REFUSED(OP_ASSIGN, NULL, DIAG_DTYPE_WRONG);
    operand(I32, SHAPE(3));
    graph_begin(&g);
    uint64_t type = graph_type(&g, F32, SHAPE(2)).row;
    ValueId  w =
        build_op(&g.build, OP_PARAMETER, NULL, 0, WORDS(graph_name(&g, "w"), type, 0, 0, 1, 0));
    ValueId pair[2] = {w, g.args[0]};
    (void)build_row(&g.build, OP_ASSIGN, pair, 2, NULL, 0);
    EXPECT(graph_told(&g, DIAG_TYPES_DIFFER));
    next(arena);
    operand(B1, SHAPE(2)); // assert-c1
    operand(F32, SHAPE(3));
    EXPECT_EQ(g.world->code.ops.results_count[build(OP_ASSERT, NULL).row], 0);
    EXPECT_EQ(g.world->diags.errors, 0);
    next(arena);
    operand(F32, SHAPE(3)); // effect_call-c1
    EXPECT_EQ(g.world->code.ops.results_count[build(OP_EFFECT_CALL, WORDS(0)).row], 0);
    EXPECT_EQ(g.world->diags.errors, 0);
    next(arena);
    operand(I32, SHAPE(3)); // await-c1
    operand(F32, SHAPE(2));
    EXPECT_EQ(g.world->code.ops.results_count[build(OP_AWAIT, NULL).row], 0);
    EXPECT_EQ(g.world->diags.errors, 0);
    next(arena);
    operand(F32, SHAPE(2, 3)); // copy_out-c1
    GIVES(OP_COPY_OUT, NULL, F32, SHAPE(2, 3));
    operand(F32, SHAPE(2, 3)); // copy_back-c1
    GIVES(OP_COPY_BACK, NULL, F32, SHAPE(2, 3));
    graph_close(&g);
}
TEST(types_collectives) {
    g = graph_open(arena);
    uint64_t mesh = graph_name(&g, "data"), size = dims_const(&g.world->dims, 8).row;
    operand(F32, SHAPE(2)); // all_reduce-c1
    GIVES(OP_ALL_REDUCE, WORDS(REDUCE_SUM, mesh), F32, SHAPE(2));
    operand(F32, SHAPE(2)); // permute-c1
    GIVES(OP_PERMUTE, WORDS(1, mesh), F32, SHAPE(2));
    size = dims_const(&g.world->dims, 8).row;
    operand(F32, SHAPE(2, 3)); // all_gather-c1
    GIVES(OP_ALL_GATHER, WORDS(0, size, mesh), F32, SHAPE(8, 3));
    size = dims_const(&g.world->dims, 1).row;
    operand(F32, SHAPE(2, 3)); // reduce_scatter-c1
    GIVES(OP_REDUCE_SCATTER, WORDS(0, size, mesh), F32, SHAPE(1, 3));
    operand(F32, SHAPE(2, 3));
    REFUSED(OP_REDUCE_SCATTER, WORDS(2, size, mesh), DIAG_AXIS_WRONG);
    uint64_t type = graph_type(&g, F32, SHAPE(4, 3)).row;
    operand(F32, SHAPE(2, 6)); // all_to_all-c1
    GIVES(OP_ALL_TO_ALL, WORDS(type, 1, 0, mesh), F32, SHAPE(4, 3));
    operand(F32, SHAPE(2));
    REFUSED(OP_ALL_TO_ALL, WORDS(0, 1, 0, mesh), DIAG_ATTR_VALUE);
    GIVES(OP_RANK_ID, WORDS(mesh), I64, SCALAR); // rank_id-c1
    graph_close(&g);
}
TEST(types_derivatives) {
    g = graph_open(arena);
    operand(F32, SCALAR); // gradient-c1
    operand(F32, SHAPE(2));
    graph_begin(&g);
    OpId op = build_row(&g.build, OP_GRADIENT, g.args, 2, NULL, 1);
    EXPECT_EQ(result(op, 0).row, graph_type(&g, F32, SHAPE(2)).row);
    next(arena);
    operand(F32, SHAPE(2));
    operand(F32, SHAPE(2));
    REFUSED(OP_GRADIENT, NULL, DIAG_RANK_WRONG);
    operand(F32, SCALAR);
    operand(I32, SHAPE(2));
    REFUSED(OP_GRADIENT, NULL, DIAG_DTYPE_WRONG);
    operand(F32, SHAPE(4)); // jvp-c1
    operand(F32, SHAPE(2));
    operand(F32, SHAPE(2));
    GIVES(OP_JVP, NULL, F32, SHAPE(4));
    operand(F32, SHAPE(4));
    operand(F32, SHAPE(2));
    operand(F32, SHAPE(3));
    REFUSED(OP_JVP, NULL, DIAG_TYPES_DIFFER);
    graph_close(&g);
}
