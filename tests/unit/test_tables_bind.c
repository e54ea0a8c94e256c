// Binding sizes to a call: how symbols are solved from the shapes of the inputs, and every way in
// which inputs can fail to fit. Each diagnostic is checked with the input, axis and sizes that it
// names.
#include "tables/bind.h"

#include "build_graph.h"
#include "tables/shape_program.h"

// Gives axis `axis` of input `input` this dim instead of its constant size.
static void give_dim(Graph *g, uint32_t input, uint32_t axis, DimId dim) {
    g->dims[input][axis] = dim;
}
static DimId number(Graph *g, int64_t size) { return dims_const(&g->world->dims, size); }
static DimId plus(Graph *g, DimId dim, int64_t size) {
    return dims_add(&g->world->dims, dim, number(g, size));
}
static void shape_input(Graph *g, const int64_t *shape, uint32_t rank) {
    graph_input(g, DTYPE_U8, shape, rank, NUMBERS(0));
}

typedef struct Bound {
    bool     held;
    int64_t *values;
} Bound;
static Bound bind(Graph *g) {
    int64_t *values = ARENA_ARRAY(g->arena, int64_t, g->world->dims.rows.table.count);
    bool held = bind_dims(g->world, g->graph, g->inputs, g->inputs_count, values, &g->world->diags);
    return (Bound){held, values};
}
// A graph that returns its inputs, bound.
static Bound bind_inputs(Graph *g) {
    graph_begin(g);
    graph_finish(g, g->args, g->inputs_count);
    return bind(g);
}
// Whether the only error is of this kind, with these arguments where they are not negative.
static bool told(Graph *g, DiagKind kind, const char *text, int64_t arg1, int64_t arg2,
                 int64_t arg3) {
    const Diags *diags = &g->world->diags;
    if (!EXPECT_EQ(diags->errors, 1)) return false;
    String said = diags_str_get(diags, diags->rows.arg0[1]);
    bool   held = EXPECT_EQ(diags->rows.kind[1], kind);
    if (text != NULL) held &= EXPECT_STR(str_copy(g->arena, said).data, text);
    if (arg1 >= 0) held &= EXPECT_EQ(diags->rows.arg1[1], arg1);
    if (arg2 >= 0) held &= EXPECT_EQ(diags->rows.arg2[1], arg2);
    if (arg3 >= 0) held &= EXPECT_EQ(diags->rows.arg3[1], arg3);
    return held;
}

TEST(bind_solves_symbols) {
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N"), t = graph_symbol(&g, "T"), u = graph_symbol(&g, "U");
    DimId twice = dims_mul(&g.world->dims, number(&g, 2), u);
    DimId half = dims_floordiv(&g.world->dims, n, number(&g, 2));
    shape_input(&g, SHAPE(5, 9, 7));
    shape_input(&g, SHAPE(14, 7, 3));
    give_dim(&g, 0, 0, dims_add(&g.world->dims, n, t)); // needs N, which comes later
    give_dim(&g, 0, 1, plus(&g, twice, 1));
    give_dim(&g, 1, 0, dims_mul(&g.world->dims, number(&g, 2), dims_add(&g.world->dims, t, u)));
    give_dim(&g, 1, 1, plus(&g, u, 3));
    shape_input(&g, SHAPE(1));
    give_dim(&g, 2, 0, half);
    Bound b = bind_inputs(&g);
    REQUIRE(b.held);
    EXPECT_EQ(b.values[half.row], 1);
    EXPECT_EQ(b.values[u.row], 4);
    EXPECT_EQ(b.values[t.row], 3);
    EXPECT_EQ(b.values[n.row], 2);
    graph_close(&g);
}
TEST(bind_takes_zero_and_one) {
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
    shape_input(&g, SHAPE(0, 1));
    give_dim(&g, 0, 0, n);
    give_dim(&g, 0, 1, m);
    Bound b = bind_inputs(&g);
    REQUIRE(b.held);
    EXPECT_EQ(b.values[n.row], 0);
    EXPECT_EQ(b.values[m.row], 1);
    graph_close(&g);
}
TEST(bind_uses_equalities) {
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M"), k = graph_symbol(&g, "K");
    EXPECT(dims_equate(&g.world->dims, m, n));
    EXPECT(dims_equate(&g.world->dims, k, number(&g, 8)));
    shape_input(&g, SHAPE(6));
    give_dim(&g, 0, 0, m);
    Bound b = bind_inputs(&g);
    REQUIRE(b.held);
    EXPECT_EQ(b.values[n.row], 6);
    EXPECT_EQ(b.values[k.row], 8);
    graph_close(&g);
}
// Symbols that the graph does not use need no value.
TEST(bind_ignores_unused_symbols) {
    Graph g = graph_open(arena);
    DimId a = graph_symbol(&g, "A"), b = graph_symbol(&g, "B");
    EXPECT(dims_set_range(&g.world->dims, a, 5, 100));
    EXPECT(dims_equate(&g.world->dims, b, a));
    shape_input(&g, SHAPE(2));
    EXPECT(bind_inputs(&g).held);
    graph_close(&g);
}
// B*T and T are given: B is their quotient, unless T is 0.
TEST(bind_divides) { // DIAG_DIM_UNSOLVED
    for (int64_t t = 0; t < 4; t++) {
        Graph g = graph_open(arena);
        DimId b = graph_symbol(&g, "B"), n = graph_symbol(&g, "T");
        shape_input(&g, SHAPE(t == 1 ? 7 : 6 * t));
        shape_input(&g, SHAPE(t));
        give_dim(&g, 0, 0, dims_mul(&g.world->dims, b, n));
        give_dim(&g, 1, 0, n);
        Bound bound = bind_inputs(&g);
        EXPECT_EQ(bound.held, t != 0);
        if (t == 0)
            told(&g, DIAG_DIM_UNSOLVED, "input 0, axis 0", b.row, -1, -1);
        else
            EXPECT_EQ(bound.values[b.row], t == 1 ? 7 : 6);
        graph_close(&g);
    }
}
// 2*N and 3*M are one size: neither is solved for the other, but numbers are.
TEST(bind_equal_products) {
    for (int64_t size = 8; size < 10; size++) {
        Graph g = graph_open(arena);
        DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
        DimId twice = dims_mul(&g.world->dims, number(&g, 2), n);
        DimId thrice = dims_mul(&g.world->dims, number(&g, 3), m);
        EXPECT(dims_equate(&g.world->dims, twice, thrice));
        EXPECT(dims_same(&g.world->dims, twice, thrice));
        shape_input(&g, SHAPE(size));
        give_dim(&g, 0, 0, n);
        graph_begin(&g);
        ValueId y =
            build_op(&g.build, OP_IOTA, NULL, 0, WORDS(DTYPE_I32, build_sizes(&g.build, &m, 1), 0));
        graph_finish(&g, &y, 1);
        Bound b = bind(&g);
        EXPECT_EQ(b.held, size == 9);
        if (size == 9) EXPECT_EQ(b.values[m.row], 6);
        graph_close(&g);
    }
}

TEST(bind_count) { // DIAG_INPUT_COUNT
    Graph g = graph_open(arena);
    shape_input(&g, SHAPE(2));
    shape_input(&g, SHAPE(2));
    graph_begin(&g);
    graph_finish(&g, g.args, 1);
    g.inputs_count = 1;
    EXPECT(!bind(&g).held);
    told(&g, DIAG_INPUT_COUNT, "main", 2, 1, -1);
    graph_close(&g);
}
TEST(bind_dtype_and_rank) {
    Graph g = graph_open(arena);
    shape_input(&g, SHAPE(2));
    graph_begin(&g);
    g.world->code.values.name[g.args[0].row] = strings_add(&g.world->strings, STR("x"));
    graph_finish(&g, g.args, 1);
    g.inputs[0].dtype = DTYPE_I8;
    EXPECT(!bind(&g).held);
    told(&g, DIAG_INPUT_DTYPE, "input 0 'x'", DTYPE_I8, DTYPE_U8, -1);
    diags_clear(&g.world->diags);
    g.inputs[0].dtype = DTYPE_U8;
    g.inputs[0].rank = 2;
    EXPECT(!bind(&g).held);
    told(&g, DIAG_INPUT_RANK, "input 0 'x'", 2, 1, -1);
    graph_close(&g);
}
TEST(bind_sizes_disagree) { // DIAG_INPUT_SIZE
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N");
    shape_input(&g, SHAPE(3));
    shape_input(&g, SHAPE(7, 4));
    give_dim(&g, 0, 0, n);
    give_dim(&g, 1, 1, n);
    EXPECT(!bind_inputs(&g).held);
    told(&g, DIAG_INPUT_SIZE, "input 1, axis 1", 4, n.row, 3);
    graph_close(&g);
}
TEST(bind_sizes_constant) {
    Graph g = graph_open(arena);
    shape_input(&g, SHAPE(3));
    graph_begin(&g);
    graph_finish(&g, g.args, 1);
    g.inputs[0].shape[0] = 4;
    EXPECT(!bind(&g).held);
    told(&g, DIAG_INPUT_SIZE, "input 0, axis 0", 4, number(&g, 3).row, 3);
    graph_close(&g);
}
TEST(bind_sizes_with_remainder) {
    Graph g = graph_open(arena);
    DimId twice = dims_mul(&g.world->dims, number(&g, 2), graph_symbol(&g, "N"));
    shape_input(&g, SHAPE(7));
    give_dim(&g, 0, 0, twice);
    EXPECT(!bind_inputs(&g).held);
    told(&g, DIAG_INPUT_SIZE, "input 0, axis 0", 7, twice.row, 6);
    graph_close(&g);
}
TEST(bind_facts) { // DIAG_INPUT_FACT
    for (int broken = 0; broken < 3; broken++) {
        Graph g = graph_open(arena);
        DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
        EXPECT(dims_set_range(&g.world->dims, n, 1, 100));
        EXPECT(dims_set_congruence(&g.world->dims, n, 4, 0));
        if (broken == 2) EXPECT(dims_equate(&g.world->dims, m, n));
        shape_input(&g, SHAPE(broken == 0 ? 104 : broken == 1 ? 6 : 8, 16));
        give_dim(&g, 0, 0, n);
        give_dim(&g, 0, 1, m);
        EXPECT(!bind_inputs(&g).held);
        static const char *const facts[] = {"from 1 to 100", "0 mod 4",
                                            "the same as another size, which is 8"};
        told(&g, DIAG_INPUT_FACT, broken == 2 ? "input 0, axis 1" : "input 0, axis 0",
             broken == 2 ? m.row : n.row,
             broken == 0   ? 104
             : broken == 1 ? 6
                           : 16,
             -1);
        String fact = diags_str_get(&g.world->diags, g.world->diags.rows.arg3[1]);
        EXPECT_STR(str_copy(arena, fact).data, facts[broken]);
        graph_close(&g);
    }
}
// Equal symbols share their facts.
TEST(bind_facts_elsewhere) {
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
    EXPECT(dims_set_range(&g.world->dims, m, 0, 5));
    EXPECT(dims_equate(&g.world->dims, m, n));
    shape_input(&g, SHAPE(9));
    give_dim(&g, 0, 0, n);
    EXPECT(!bind_inputs(&g).held);
    told(&g, DIAG_INPUT_FACT, "input 0, axis 0", n.row, 9, -1);
    graph_close(&g);
}
TEST(bind_overflow) {
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
    DimId product = dims_mul(&g.world->dims, n, m);
    g.inputs[0] = (Tensor){.dtype = DTYPE_U8, .rank = 2, .shape = {DIM_SIZE_MAX, DIM_SIZE_MAX}};
    g.inputs_count = 1;
    give_dim(&g, 0, 0, n);
    give_dim(&g, 0, 1, m);
    graph_begin(&g);
    ValueId y =
        build_op(&g.build, OP_RESHAPE, g.args, 1, WORDS(build_sizes(&g.build, &product, 1)));
    graph_finish(&g, &y, 1);
    EXPECT(!bind(&g).held);
    told(&g, DIAG_INPUT_FACT, "the sizes of this call", product.row, INT64_MAX, -1);
    graph_close(&g);
}
TEST(bind_unbound) { // DIAG_DIM_UNBOUND: as an attribute, as a result, as an argument
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N");
    graph_begin(&g);
    ValueId y =
        build_op(&g.build, OP_IOTA, NULL, 0, WORDS(DTYPE_I32, build_sizes(&g.build, &n, 1), 0));
    graph_finish(&g, &y, 1);
    EXPECT(!bind(&g).held);
    told(&g, DIAG_DIM_UNBOUND, NULL, -1, -1, -1);
    EXPECT_EQ(g.world->diags.rows.arg0[1], n.row);
    graph_close(&g);
    g = graph_open(arena);
    DimId half = dims_floordiv(&g.world->dims, graph_symbol(&g, "N"), number(&g, 2));
    shape_input(&g, SHAPE(4));
    give_dim(&g, 0, 0, half);
    EXPECT(!bind_inputs(&g).held);
    told(&g, DIAG_DIM_UNBOUND, NULL, -1, -1, -1);
    EXPECT_EQ(g.world->diags.rows.arg0[1], half.row);
    graph_close(&g);
}

// Builds opcode on all inputs, with the attributes, and binds.
static Bound bind_op(Graph *g, Opcode opcode, const uint64_t *attrs) {
    graph_begin(g);
    ValueId y = build_op(&g->build, opcode, g->args, g->inputs_count, attrs);
    graph_finish(g, &y, 1);
    return bind(g);
}
TEST(bind_impossible_sizes) { // DIAG_SIZE_IMPOSSIBLE
    Graph g = graph_open(arena);
    DimId n = graph_symbol(&g, "N");
    shape_input(&g, SHAPE(3));
    shape_input(&g, SCALAR);
    give_dim(&g, 0, 0, n);
    EXPECT(!bind_op(&g, OP_PAD, WORDS(SIZES(&g, -5), SIZES(&g, 0), 0)).held);
    told(&g, DIAG_SIZE_IMPOSSIBLE, NULL, -1, 0, -1);
    EXPECT_EQ((int64_t)g.world->diags.rows.arg1[1], -2);
    graph_close(&g);
    g = graph_open(arena);
    EXPECT(
        !bind_op(&g, OP_IOTA, WORDS(DTYPE_I64, SIZES(&g, 1 << 20, 0, 1 << 20, 1 << 20), 0)).held);
    told(&g, DIAG_SIZE_IMPOSSIBLE, NULL, 1 << 20, 3, -1);
    graph_close(&g);
}
// Whether the only error names this operator and requirement, with these sizes in its notes.
static bool needed(Graph *g, Opcode opcode, const char *what, int64_t a, int64_t b) {
    const DiagRows *rows = &g->world->diags.rows;
    if (!EXPECT_EQ(g->world->diags.errors, 1) || !EXPECT_EQ(rows->table.count, 4)) return false;
    String said = diags_str_get(&g->world->diags, rows->arg1[1]);
    bool   held = EXPECT_EQ(rows->kind[1], DIAG_SIZES_ILLEGAL);
    held &= EXPECT_EQ(rows->arg0[1], opcode);
    held &= EXPECT_STR(str_copy(g->arena, said).data, what);
    for (uint32_t note = 2; note < 4; note++) { // DIAG_SIZE_HERE
        held &= EXPECT_EQ(rows->kind[note], DIAG_SIZE_HERE) && EXPECT_EQ(rows->parent[note], 1);
        held &= EXPECT_EQ((int64_t)rows->arg1[note], note == 2 ? a : b);
    }
    return held;
}
// slice-c3 triangular_solve-c4 fft-c6 dynamic_slice-c4 dynamic_update_slice-c4 convolution-c7: what
// is only known with the sizes.
TEST(bind_illegal_sizes) { // DIAG_SIZES_ILLEGAL
    Graph g = graph_open(arena);
    shape_input(&g, SHAPE(2, 3));
    give_dim(&g, 0, 1, graph_symbol(&g, "N"));
    EXPECT(!bind_op(&g, OP_SLICE, WORDS(SIZES(&g, 0, 1), SIZES(&g, 2, 4), 0)).held);
    needed(&g, OP_SLICE, "the slice leaves the operand: limit and size", 4, 3);
    graph_close(&g);
    g = graph_open(arena);
    DimId n = graph_symbol(&g, "N");
    shape_input(&g, SHAPE(3));
    give_dim(&g, 0, 0, n);
    DimId start = plus(&g, n, -4);
    EXPECT(!bind_op(&g, OP_SLICE,
                    WORDS(build_sizes(&g.build, &start, 1), build_sizes(&g.build, &n, 1), 0))
                .held);
    needed(&g, OP_SLICE, "a slice starts at 0 or later", 0, -1);
    graph_close(&g);
    g = graph_open(arena);
    shape_input(&g, SHAPE(3));
    give_dim(&g, 0, 0, graph_symbol(&g, "N"));
    graph_input(&g, DTYPE_I64, SHAPE(1), NUMBERS(0));
    EXPECT(!bind_op(&g, OP_DYNAMIC_SLICE, WORDS(SIZES(&g, 4))).held);
    needed(&g, OP_DYNAMIC_SLICE, "the slice is larger than the operand", 4, 3);
    graph_close(&g);
    g = graph_open(arena);
    shape_input(&g, SHAPE(3));
    shape_input(&g, SHAPE(5));
    give_dim(&g, 1, 0, graph_symbol(&g, "N"));
    graph_input(&g, DTYPE_I64, SHAPE(1), NUMBERS(0));
    EXPECT(!bind_op(&g, OP_DYNAMIC_UPDATE_SLICE, NULL).held);
    needed(&g, OP_DYNAMIC_UPDATE_SLICE, "the slice is larger than the operand", 5, 3);
    graph_close(&g);
    g = graph_open(arena);
    shape_input(&g, SHAPE(1, 4, 5));
    shape_input(&g, SHAPE(3, 2, 2));
    give_dim(&g, 1, 0, graph_symbol(&g, "O"));
    EXPECT(
        !bind_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 2)).held);
    needed(&g, OP_CONVOLUTION, "groups must divide the outputs of w: outputs and groups", 3, 2);
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 3, 3), NUMBERS(1));
    graph_input(&g, DTYPE_F32, SHAPE(1, 3, 3), NUMBERS(1));
    give_dim(&g, 1, 0, graph_symbol(&g, "B"));
    EXPECT(!bind_op(&g, OP_TRIANGULAR_SOLVE, NULL).held);
    needed(&g, OP_TRIANGULAR_SOLVE, "the batch axes of the operands differ", 2, 1);
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 3), NUMBERS(1));
    give_dim(&g, 0, 1, graph_symbol(&g, "N"));
    EXPECT(!bind_op(&g, OP_FFT, WORDS(FFT_REAL_FORWARD, SIZES(&g, 4))).held);
    needed(&g, OP_FFT, "the operand does not have the transformed size", 3, 4);
    graph_close(&g);
}
// Two symbols that an operator adds are one from then on, and are compared at the call.
TEST(bind_equal_sizes) {
    for (int64_t second = 2; second < 4; second++) {
        Graph g = graph_open(arena);
        DimId n = graph_symbol(&g, "N"), m = graph_symbol(&g, "M");
        graph_input(&g, DTYPE_F32, SHAPE(2, 3), NUMBERS(1));
        graph_input(&g, DTYPE_F32, SHAPE(second, 3), NUMBERS(1));
        give_dim(&g, 0, 0, n);
        give_dim(&g, 1, 0, m);
        bool held = bind_op(&g, OP_ADD, NULL).held;
        EXPECT_EQ(held, second == 2);
        EXPECT(dims_same(&g.world->dims, n, m));
        if (!held) needed(&g, OP_ADD, "the operands need equal sizes", 2, 3);
        graph_close(&g);
    }
}
// A size that data decides stands at its upper bound until it is told, and so does what follows.
TEST(bind_late_sizes) { // DIAG_DIM_UNBOUNDED
    Graph g = graph_open(arena);
    Dims *dims = &g.world->dims;
    DimId m = graph_symbol(&g, "M"), n = graph_symbol(&g, "N"), r = graph_symbol(&g, "R");
    graph_input(&g, DTYPE_BOOL, SHAPE(7), NUMBERS(1));
    graph_input(&g, DTYPE_I64, SHAPE(1), NUMBERS(1));
    give_dim(&g, 0, 0, m);
    graph_begin(&g);
    ValueId masked[2] = {g.args[0], g.args[0]};
    ValueId y = build_op(&g.build, OP_COMPACT, masked, 2, WORDS(n.row));
    DimId   rest = dims_sub(dims, m, n), twice = dims_mul(dims, number(&g, 2), n);
    DimId   shape[2] = {rest, twice};
    ValueId z =
        build_op(&g.build, OP_IOTA, NULL, 0, WORDS(DTYPE_I32, build_sizes(&g.build, shape, 2), 0));
    ValueId w = build_op(&g.build, OP_DYNAMIC_BROADCAST,
                         (ValueId[]){build_scalar(&g.build, DTYPE_F32, 1), g.args[1]}, 2,
                         WORDS(build_sizes(&g.build, &r, 1), 0));
    graph_finish(&g, (ValueId[]){y, z, w}, 3);
    Bound unbounded = bind(&g);
    EXPECT(!unbounded.held);
    told(&g, DIAG_DIM_UNBOUNDED, NULL, -1, -1, -1);
    diags_clear(&g.world->diags);
    EXPECT(dims_set_range(dims, r, 0, 12));
    ShapeRoots          roots = {.all = true};
    Diags              *diags = &g.world->diags;
    int64_t            *values = ARENA_ARRAY(arena, int64_t, dims->rows.table.count);
    const ShapeProgram *program = shape_program_make(arena, g.world, g.graph, &roots, diags);
    REQUIRE(program != NULL && EXPECT_EQ(program->stages_count, 3));
    REQUIRE(shape_program_run(program, g.inputs, 2, values, diags));
    EXPECT_EQ(values[n.row], 7);
    EXPECT_EQ(values[rest.row], 7);
    EXPECT_EQ(values[twice.row], 14);
    EXPECT_EQ(values[r.row], 12);
    REQUIRE(shape_program_resize(program, 1, (const int64_t[]){3}, values, diags));
    EXPECT_EQ(values[n.row], 3);
    EXPECT_EQ(values[rest.row], 4);
    EXPECT_EQ(values[twice.row], 6);
    EXPECT_EQ(values[r.row], 12);
    REQUIRE(shape_program_resize(program, 2, (const int64_t[]){0}, values, diags));
    EXPECT_EQ(values[r.row], 0);
    EXPECT(!shape_program_resize(program, 2, (const int64_t[]){13}, values, diags));
    told(&g, DIAG_INPUT_FACT, "the sizes of this call", r.row, 13, -1);
    graph_close(&g);
}
// What one graph needs does not bind another that uses the same symbol.
TEST(bind_needs_of_another_graph) {
    Graph g = graph_open(arena);
    shape_input(&g, SHAPE(3));
    give_dim(&g, 0, 0, graph_symbol(&g, "N"));
    graph_begin(&g);
    ValueId y = build_op(&g.build, OP_SLICE, g.args, 1, WORDS(SIZES(&g, 0), SIZES(&g, 4), 0));
    graph_finish(&g, &y, 1);
    EXPECT(!bind(&g).held);
    diags_clear(&g.world->diags);
    graph_begin(&g);
    graph_finish(&g, g.args, 1);
    EXPECT(bind(&g).held);
    graph_close(&g);
}
