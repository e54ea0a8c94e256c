// Running whole graphs in the reference interpreter: programs on symbolic sizes, state, effects,
// what is refused, and memory. The operators one by one are in test_cpu_interp_*.c, their typing
// rules in test_cpu_interp_types.c.
#include "run_graph.h"

/* --- programs --------------------------------------------------------------------------------- */
static ValueId linear(Graph *g, ValueId x, ValueId w, ValueId bias) {
    DotAxes axes = {.x_contract = {1}, .y_contract = {1}, .contract = 1};
    ValueId product = build_dot(&g->build, x, w, &axes);
    return build_binary(&g->build, OP_ADD, product, build_along(&g->build, bias, product, 1));
}
// max(x w^T + b, 0), then log_softmax over the classes, for a batch of symbolic size.
static const Tensor *run_mlp(Graph *g, int64_t batch, int64_t width) {
    *g = graph_open(g->arena);
    Dtype dtype = DTYPE_F64;
    graph_mixed(g, dtype, SHAPE(batch, width));
    g->dims[0][0] = graph_symbol(g, "B");
    graph_mixed(g, dtype, SHAPE(width, width));
    graph_mixed(g, dtype, SHAPE(width));
    graph_mixed(g, dtype, SHAPE(3, width));
    graph_mixed(g, dtype, SHAPE(3));
    graph_begin(g);
    Build  *build = &g->build;
    ValueId hidden = linear(g, g->args[0], g->args[1], g->args[2]);
    hidden = build_binary(build, OP_MAX, hidden, build_splat(build, hidden, 0));
    ValueId logits = linear(g, hidden, g->args[3], g->args[4]);
    int64_t axis = 1;
    ValueId top =
        build_spread(build, build_reduce(build, REDUCE_MAX, logits, &axis, 1), logits, &axis, 1);
    ValueId shifted = build_binary(build, OP_SUB, logits, top);
    ValueId sum = build_reduce(build, REDUCE_SUM, build_unary(build, OP_EXP, shifted), &axis, 1);
    ValueId norm = build_spread(build, build_unary(build, OP_LOG, sum), logits, &axis, 1);
    ValueId y = build_binary(build, OP_SUB, shifted, norm);
    return graph_run(g, &y, 1);
}
TEST(interp_mlp) {
    Graph         g = {.arena = arena};
    const Tensor *y = run_mlp(&g, 2, 2);
    // numpy: x [[-5, 2], [-2, 5]], w [[-5, 2], [-2, 5]], b [-5, 2], v [[-5, 2], [-2, 5], [1, -3]],
    // c [-5, 2, -2]
    graph_expect(y, SHAPE(2, 3), NUMBERS(-145.0, 0.0, -108.0, -145.0, 0.0, -207.0));
    graph_close(&g);
    y = run_mlp(&g, 0, 2);
    graph_expect(y, SHAPE(0, 3), NO_NUMBERS);
    graph_close(&g);
}
// The same graph at other sizes: only the binding changes.
TEST(interp_runs_again_at_other_sizes) {
    Graph g = {.arena = arena};
    (void)run_mlp(&g, 1, 2);
    Tensor one = g.outputs[0];
    g.inputs[0] = graph_tensor(arena, DTYPE_F64, SHAPE(5, 2), NUMBERS(-5, 2));
    REQUIRE(graph_call(&g) == STATUS_OK);
    EXPECT_EQ(g.outputs[0].shape[0], 5);
    for (int64_t i = 0; i < 15; i++)
        EXPECT(graph_number(&g.outputs[0], i) == graph_number(&one, i % 3));
    graph_close(&g);
}

/* --- results ---------------------------------------------------------------------------------- */
// return-c1: what a run returns is its own, also where it is an input or nothing at all.
TEST(interp_outputs_share_nothing) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(3));
    graph_begin(&g);
    ValueId values[3] = {g.args[0], g.args[0], build_unary(&g.build, OP_COPY, g.args[0])};
    (void)graph_run(&g, values, 3);
    for (int i = 0; i < 3; i++) {
        memset(g.outputs[i].data, 0, 12);
        EXPECT_EQ(graph_number(&g.inputs[0], 2), 2);
        if (i < 2) EXPECT_EQ(graph_number(&g.outputs[i + 1], 2), 2);
    }
    graph_close(&g);
    g = graph_open(arena);
    graph_begin(&g);
    graph_finish(&g, NULL, 0);
    EXPECT_EQ(graph_call(&g), STATUS_OK);
    graph_close(&g);
}

/* --- state ------------------------------------------------------------------------------------ */
static ValueId parameter(Graph *g, const char *name, Dtype dtype, const int64_t *shape,
                         uint32_t rank) {
    return build_op(&g->build, OP_PARAMETER, NULL, 0,
                    WORDS(graph_name(g, name), graph_type(g, dtype, shape, rank).row, 0, 0, 1, 0));
}
static void give_state(Graph *g, const char *name, Tensor tensor) {
    g->state[g->state_count++] =
        (NamedTensor){.name = {(uint32_t)graph_name(g, name)}, .tensor = tensor};
}
static void assign(Graph *g, ValueId to, ValueId value) {
    ValueId pair[2] = {to, value};
    (void)build_row(&g->build, OP_ASSIGN, pair, 2, NULL, 0);
}
// parameter-c2 assign-c2: two parameters change places, and the returned one is the old one.
TEST(interp_state_is_read_before_it_is_written) {
    Graph g = graph_open(arena);
    graph_begin(&g);
    ValueId a = parameter(&g, "a", DTYPE_F32, SHAPE(2));
    ValueId b = parameter(&g, "b", DTYPE_F32, SHAPE(2));
    assign(&g, a, a); // the later row wins
    assign(&g, a, b);
    assign(&g, b, a);
    ValueId again = parameter(&g, "a", DTYPE_F32, SHAPE(2));
    ValueId values[2] = {a, again};
    give_state(&g, "b", graph_tensor(arena, DTYPE_F32, SHAPE(2), NUMBERS(3, 4)));
    give_state(&g, "a", graph_tensor(arena, DTYPE_F32, SHAPE(2), NUMBERS(1, 2)));
    (void)graph_run(&g, values, 2);
    graph_expect(&g.outputs[0], SHAPE(2), NUMBERS(1, 2));
    graph_expect(&g.outputs[1], SHAPE(2), NUMBERS(1, 2));
    graph_expect(&g.state[0].tensor, SHAPE(2), NUMBERS(1, 2));
    graph_expect(&g.state[1].tensor, SHAPE(2), NUMBERS(3, 4));
    graph_close(&g);
}
// assert-c2 assign-c2: a run that fails leaves the state alone.
TEST(interp_assert) {
    for (int held = 0; held < 2; held++) {
        Graph g = graph_open(arena);
        graph_input(&g, DTYPE_BOOL, SHAPE(2), NUMBERS(1, held));
        graph_begin(&g);
        ValueId a = parameter(&g, "a", DTYPE_F32, SHAPE(1));
        assign(&g, a, build_unary(&g.build, OP_NEG, a));
        (void)build_row(&g.build, OP_ASSERT, g.args, 1, WORDS(graph_name(&g, "loss is finite")), 0);
        graph_finish(&g, NULL, 0);
        give_state(&g, "a", graph_tensor(arena, DTYPE_F32, SHAPE(1), NUMBERS(7)));
        EXPECT_EQ(graph_call(&g), held ? STATUS_OK : STATUS_INVALID);
        graph_expect(&g.state[0].tensor, SHAPE(1),
                     held ? (const double[]){-7} : (const double[]){7}, 1);
        EXPECT_EQ(graph_told(&g, DIAG_ASSERT_FAILED), !held);
        if (!held) {
            const Diags *diags = &g.world->diags;
            EXPECT(str_same(diags_str_get(diags, diags->rows.arg0[1]), STR("loss is finite")));
        }
        graph_close(&g);
    }
}
// parameter-c3
TEST(interp_state_must_fit) {
    for (int given = 0; given < 3; given++) {
        Graph g = graph_open(arena);
        graph_begin(&g);
        ValueId a = parameter(&g, "a", DTYPE_F32, SHAPE(2));
        graph_finish(&g, &a, 1);
        if (given == 1) give_state(&g, "a", graph_tensor(arena, DTYPE_F32, SHAPE(3), NUMBERS(7)));
        if (given == 2) give_state(&g, "a", graph_tensor(arena, DTYPE_I32, SHAPE(2), NUMBERS(7)));
        EXPECT_EQ(graph_call(&g), STATUS_INVALID);
        EXPECT(graph_told(&g, given == 0 ? DIAG_STATE_MISSING : DIAG_STATE_TENSOR));
        graph_close(&g);
    }
}

/* --- what is refused -------------------------------------------------------------------------- */
TEST(interp_has_no_rule) { // DIAG_NO_KERNEL
    EXPECT(interp_has(OP_ADD));
    EXPECT(!interp_has(OP_RELU));
    EXPECT(!interp_has(OP_NIL));
    static const Opcode opcodes[] = {OP_RELU, OP_MAX};
    for (size_t i = 0; i < LENGTH(opcodes); i++) { // a composite, complex numbers
        Graph g = graph_open(arena);
        graph_input(&g, DTYPE_F64, SHAPE(2), NUMBERS(1, 2));
        graph_begin(&g);
        ValueId x = g.args[0];
        if (opcodes[i] == OP_MAX) x = build_binary(&g.build, OP_COMPLEX, x, x);
        ValueId pair[2] = {x, x};
        ValueId y = build_op(&g.build, opcodes[i], pair, opcodes[i] == OP_MAX ? 2 : 1, NULL);
        graph_finish(&g, &y, 1);
        EXPECT_EQ(graph_call(&g), STATUS_UNSUPPORTED);
        EXPECT(graph_told(&g, DIAG_NO_KERNEL));
        graph_close(&g);
    }
}
TEST(interp_inputs_must_fit) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2));
    graph_begin(&g);
    graph_finish(&g, g.args, 1);
    g.inputs[0].dtype = DTYPE_I32;
    EXPECT_EQ(graph_call(&g), STATUS_INVALID);
    EXPECT(graph_told(&g, DIAG_INPUT_DTYPE));
    graph_close(&g);
}

/* --- memory ----------------------------------------------------------------------------------- */
// Running out unwinds to the caller's guard, wherever it happens; nothing is left in scratch.
TEST(interp_out_of_memory) {
    Graph g = {.arena = arena};
    (void)run_mlp(&g, 8, 8);
    Arena *small = arena_open("small", (size_t)1 << 20, 1);
    if (small != NULL) {
        ArenaGuard      guard;
        volatile bool   unwound = false;
        volatile size_t runs = 0;
        if (ARENA_GUARD(&guard)) {
            while (runs < 10000) {
                Tensor out;
                runs++;
                if (interp_run(small, g.world, g.graph, g.inputs, g.inputs_count, NULL, 0, &out,
                               &g.world->diags) != STATUS_OK)
                    break;
            }
            arena_guard_end(&guard);
        } else {
            unwound = true;
        }
        EXPECT(unwound);
        EXPECT_STR(arena_guard_failure().arena, "small");
        arena_close(small);
    }
    EXPECT_EQ(graph_call(&g), STATUS_OK);
    graph_close(&g);
}
