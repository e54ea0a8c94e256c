// Gather and scatter of the reference interpreter, against jax.lax.gather in mode "fill" and
// jax.lax.scatter in mode "drop". Inputs count 0, 1, 2, ... (graph_range) or are mixed small
// integers (graph_mixed); offsets are chosen so that every kind of geometry occurs.
#include "run_graph.h"

// gather-c2
TEST(gather_rows) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 3));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0), SIZES(&g, 1, 3))),
                 SHAPE(3, 3), NUMBERS(6, 7, 8, 0, 1, 2, 9, 10, 11));
    graph_close(&g);

    // the slice axis first
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_U8, SHAPE(3, 1), NUMBERS(2, 0, 3));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 0), INTS(&g, 0), 0, 0, INTS(&g, 0), SIZES(&g, 1, 3))),
                 SHAPE(3, 3), NUMBERS(6, 0, 9, 7, 1, 10, 8, 2, 11));
    graph_close(&g);

    // points
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I32, SHAPE(2, 2), NUMBERS(2, 1, 0, 2));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(0, INTS(&g, 0, 1), 0, 0, INTS(&g, 0, 1), SIZES(&g, 1, 1))),
                 SHAPE(2), NUMBERS(7, 2));
    graph_close(&g);

    // components in another order
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I32, SHAPE(2, 2), NUMBERS(1, 2, 2, 0));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(0, INTS(&g, 0, 1), 0, 0, INTS(&g, 1, 0), SIZES(&g, 1, 1))),
                 SHAPE(2), NUMBERS(7, 2));
    graph_close(&g);

    // no component: all of x
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I16, SHAPE(2, 0), NUMBERS(0));
    graph_expect(
        graph_run_op(&g, OP_GATHER, WORDS(INTS(&g, 1, 2), 0, 0, 0, 0, SIZES(&g, 4, 3))),
        SHAPE(2, 4, 3),
        NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    graph_close(&g);

    // no row
    g = graph_open(arena);
    graph_range(&g, DTYPE_I8, SHAPE(4, 3));
    graph_input(&g, DTYPE_I32, SHAPE(0, 1), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0), SIZES(&g, 1, 3))),
                 SHAPE(0, 3), NO_NUMBERS);
    graph_close(&g);
}

TEST(gather_rows_2) {
    // rank 1 indices: one place
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_I64, SHAPE(5));
    graph_input(&g, DTYPE_I64, SHAPE(1), NUMBERS(3));
    graph_expect(
        graph_run_op(&g, OP_GATHER, WORDS(0, INTS(&g, 0), 0, 0, INTS(&g, 0), SIZES(&g, 1))), SCALAR,
        NUMBERS(3));
    graph_close(&g);
}

// gather-c2
TEST(gather_slices) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(2, 2), NUMBERS(1, 2, 0, 0));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1, 2), 0, 0, 0, INTS(&g, 0, 1), SIZES(&g, 2, 3))),
                 SHAPE(2, 2, 3), NUMBERS(7, 8, 9, 12, 13, 14, 0, 1, 2, 5, 6, 7));
    graph_close(&g);

    // offset axis between index axes
    g = graph_open(arena);
    graph_range(&g, DTYPE_BF16, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(2, 2, 1), NUMBERS(1, 2, 0, 3));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1), INTS(&g, 1), 0, 0, INTS(&g, 1), SIZES(&g, 3, 1))),
                 SHAPE(2, 3, 2), NUMBERS(1, 2, 6, 7, 11, 12, 0, 3, 5, 8, 10, 13));
    graph_close(&g);
}

// gather-c3
TEST(gather_outside_is_zero) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(4, 3), NUMBERS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(-1, 1, 4));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0), SIZES(&g, 1, 3))),
                 SHAPE(3, 3), NUMBERS(0, 0, 0, 4, 5, 6, 0, 0, 0));
    graph_close(&g);

    // a slice that sticks out is zero as a whole
    g = graph_open(arena);
    graph_input(&g, DTYPE_I32, SHAPE(4, 5),
                NUMBERS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20));
    graph_input(&g, DTYPE_I64, SHAPE(3, 2), NUMBERS(3, 0, 2, 2, 2, 3));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 1, 2), 0, 0, 0, INTS(&g, 0, 1), SIZES(&g, 2, 3))),
                 SHAPE(3, 2, 3),
                 NUMBERS(0, 0, 0, 0, 0, 0, 13, 14, 15, 18, 19, 20, 0, 0, 0, 0, 0, 0));
    graph_close(&g);
}

// gather-c4
TEST(gather_batches) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_input(&g, DTYPE_I64, SHAPE(2, 2, 1), NUMBERS(1, 0, 2, 5));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(INTS(&g, 2), INTS(&g, 1), INTS(&g, 0), INTS(&g, 0), INTS(&g, 1),
                                    SIZES(&g, 1, 1, 4))),
                 SHAPE(2, 2, 4), NUMBERS(4, 5, 6, 7, 0, 1, 2, 3, 20, 21, 22, 23, 0, 0, 0, 0));
    graph_close(&g);

    // two batch axes, crossed
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_input(&g, DTYPE_I64, SHAPE(3, 2, 1), NUMBERS(1, 2, 0, 9, 3, 0));
    graph_expect(graph_run_op(&g, OP_GATHER,
                              WORDS(0, INTS(&g, 2), INTS(&g, 0, 1), INTS(&g, 1, 0), INTS(&g, 2),
                                    SIZES(&g, 1, 1, 1))),
                 SHAPE(3, 2), NUMBERS(1, 14, 4, 0, 11, 20));
    graph_close(&g);
}

// scatter-c2 scatter-c4: rows 0 and 2 of the updates meet at row 2
TEST(scatter_kinds) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_SET, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 1, -3, 3, 4, 5, 4, 0, -4, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_SET, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 1, -3, 3, 4, 5, 4, 0, -4, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_ADD, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 2, -1, 3, 4, 5, 5, 9, 2, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_ADD, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 2, -1, 3, 4, 5, 5, 9, 2, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MUL, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, -6, 3, 4, 5, -120, 0, 64, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MUL, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, -6, 3, 4, 5, -120, 0, 64, 9, 10, 11));
    graph_close(&g);
}

TEST(scatter_kinds_2) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MIN, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, -3, 3, 4, 5, -5, 0, -4, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MIN, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, -3, 3, 4, 5, -5, 0, -4, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MAX, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(2, 0, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_MAX, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    graph_close(&g);
}

// scatter-c2
TEST(scatter_geometry) {
    // overlapping slices
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(3, 2), NUMBERS(1, 2, 0, 0, 1, 1));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 2, 3));
    graph_expect(
        graph_run_op(&g, OP_SCATTER, WORDS(SCATTER_ADD, INTS(&g, 1, 2), 0, 0, 0, INTS(&g, 0, 1))),
        SHAPE(4, 5),
        NUMBERS(4, 1, -2, 3, 4, 8, 7, -5, 15, 7, 10, 12, 14, 18, 11, 15, 16, 17, 18, 19));
    graph_close(&g);

    // points
    g = graph_open(arena);
    graph_range(&g, DTYPE_I16, SHAPE(4, 3));
    graph_input(&g, DTYPE_I32, SHAPE(2, 2), NUMBERS(2, 1, 0, 2));
    graph_mixed(&g, DTYPE_I16, SHAPE(2));
    graph_expect(
        graph_run_op(&g, OP_SCATTER, WORDS(SCATTER_SET, 0, INTS(&g, 0, 1), 0, 0, INTS(&g, 0, 1))),
        SHAPE(4, 3), NUMBERS(0, 1, 2, 3, 4, 5, 6, -5, 8, 9, 10, 11));
    graph_close(&g);

    // one place
    g = graph_open(arena);
    graph_range(&g, DTYPE_F64, SHAPE(4, 3));
    graph_input(&g, DTYPE_U8, SHAPE(1), NUMBERS(1));
    graph_mixed(&g, DTYPE_F64, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_ADD, INTS(&g, 0), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, 2, -2, 6, 3, 6, 7, 8, 9, 10, 11));
    graph_close(&g);

    // batches
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_input(&g, DTYPE_I64, SHAPE(2, 2, 1), NUMBERS(1, 0, 2, 5));
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 2, 4));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_ADD, INTS(&g, 2), INTS(&g, 1), INTS(&g, 0), INTS(&g, 0),
                                    INTS(&g, 1))),
                 SHAPE(2, 3, 4),
                 NUMBERS(1, -2, 6, 3, -1, 7, 4, 12, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                         16, 24, 21, 18));
    graph_close(&g);

    // no update
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(3));
    graph_input(&g, DTYPE_I64, SHAPE(0, 1), NUMBERS(0));
    graph_input(&g, DTYPE_F32, SHAPE(0), NUMBERS(0));
    graph_expect(
        graph_run_op(&g, OP_SCATTER, WORDS(SCATTER_ADD, 0, INTS(&g, 0), 0, 0, INTS(&g, 0))),
        SHAPE(3), NUMBERS(0, 1, 2));
    graph_close(&g);
}

// scatter-c3
TEST(scatter_outside_is_dropped) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 3));
    graph_input(&g, DTYPE_I64, SHAPE(3, 1), NUMBERS(-1, 1, 4));
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 3));
    graph_expect(graph_run_op(&g, OP_SCATTER,
                              WORDS(SCATTER_SET, INTS(&g, 1), INTS(&g, 0), 0, 0, INTS(&g, 0))),
                 SHAPE(4, 3), NUMBERS(0, 1, 2, 5, 1, -3, 6, 7, 8, 9, 10, 11));
    graph_close(&g);

    // a slice that sticks out is dropped as a whole
    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(3, 2), NUMBERS(3, 0, 2, 2, 2, 3));
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 2, 3));
    graph_expect(
        graph_run_op(&g, OP_SCATTER, WORDS(SCATTER_ADD, INTS(&g, 1, 2), 0, 0, 0, INTS(&g, 0, 1))),
        SHAPE(4, 5), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 13, 10, 15, 16, 20, 17, 14));
    graph_close(&g);
}

// scatter-c5: equal places sum in double and round once; bf16 alone would stay at 256.
TEST(scatter_accumulates_wide) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BF16, SHAPE(1), NUMBERS(256));
    graph_input(&g, DTYPE_I64, SHAPE(4, 1), NUMBERS(0));
    graph_input(&g, DTYPE_BF16, SHAPE(4), NUMBERS(1));
    const Tensor *y =
        graph_run_op(&g, OP_SCATTER, WORDS(SCATTER_ADD, 0, INTS(&g, 0), 0, 0, INTS(&g, 0)));
    EXPECT(graph_number(y, 0) == 260);
    graph_close(&g);
}
