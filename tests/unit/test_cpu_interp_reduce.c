// Reductions, scans, sorting and windows of the reference interpreter, against numpy and
// jax.lax.reduce_window. Inputs count 0, 1, 2, ... (graph_range) or are mixed small integers
// (graph_mixed), so that most results are exact.
#include "run_graph.h"

// reduce-c2
TEST(reduce_axes) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 1))), SHAPE(2, 4),
                 NUMBERS(-8, 2, 1, 0, 2, 1, 0, -1));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 0, 2))), SHAPE(3),
                 NUMBERS(6, -1, -8));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_PROD, INTS(&g, 1))), SHAPE(2, 4),
                 NUMBERS(20, -18, 8, -0, -18, 8, -0, -8));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_PROD, INTS(&g, 0, 2))), SHAPE(3),
                 NUMBERS(-2000, -0, -1800));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 1))), SHAPE(2, 4),
                 NUMBERS(1, 3, 4, 5, 3, 4, 5, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 0, 2))), SHAPE(3),
                 NUMBERS(5, 4, 3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 1))), SHAPE(2, 4),
                 NUMBERS(-5, -3, -2, -5, -3, -2, -5, -4));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 0, 2))), SHAPE(3),
                 NUMBERS(-5, -4, -5));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 0, 1, 2))), SCALAR,
                 NUMBERS(-3));
    graph_close(&g);
}

TEST(reduce_axes_2) {
    // no axis: x itself
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 3, 4));
    graph_expect(
        graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, 0)), SHAPE(2, 3, 4),
        NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1, -5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1, -5, 2));
    graph_close(&g);
}

// reduce-c2
TEST(reduce_bits) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 4), NUMBERS(0, 1, 0, 1, 1, 0, 1, 0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_AND, INTS(&g, 0))), SHAPE(4),
                 NUMBERS(0, 0, 0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 4), NUMBERS(0, 1, 0, 1, 1, 0, 1, 0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_OR, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 4), NUMBERS(0, 1, 0, 1, 1, 0, 1, 0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 0))), SHAPE(4),
                 NUMBERS(1, 1, 1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I32, SHAPE(2, 2), NUMBERS(12, 7, 10, 13));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_AND, INTS(&g, 0))), SHAPE(2),
                 NUMBERS(8, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(2, 2), NUMBERS(12, 7, 3, 200));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_OR, INTS(&g, 0))), SHAPE(2),
                 NUMBERS(15, 207));
    graph_close(&g);
}

// reduce-c3
TEST(reduce_empty) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_PROD, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(-INFINITY, -INFINITY));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(INFINITY, INFINITY));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I8, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(-128, -128));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I8, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(127, 127));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(255, 255));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_PROD, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(1, 1));
    graph_close(&g);
}

TEST(reduce_empty_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_AND, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_OR, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_AND, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(255, 255));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I16, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_AND, INTS(&g, 1))), SHAPE(2),
                 NUMBERS(-1, -1));
    graph_close(&g);
}

// reduce-c4
TEST(reduce_nan_and_wrap) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F16, SHAPE(3), NUMBERS(1, NAN, 3));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MAX, INTS(&g, 0))), SCALAR, NUMBERS(NAN));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, NAN, 3));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_MIN, INTS(&g, 0))), SCALAR, NUMBERS(NAN));
    graph_close(&g);

    // reduce-c5
    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(2), NUMBERS(200, 100));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 0))), SCALAR, NUMBERS(44));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I16, SHAPE(2), NUMBERS(300, 300));
    graph_expect(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_PROD, INTS(&g, 0))), SCALAR,
                 NUMBERS(24464));
    graph_close(&g);
}

// reduce-c6: sums are wide and round once.
TEST(reduce_accumulates_wide) {
    for (int kind = 0; kind < 2; kind++) {
        Graph g = graph_open(arena);
        graph_input(&g, kind ? DTYPE_F16 : DTYPE_BF16, SHAPE(1024), NUMBERS(1));
        const Tensor *y = graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 0)));
        EXPECT(graph_number(y, 0) == 1024);
        graph_close(&g);
    }
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(0x1p60, 1, -0x1p60));
    EXPECT(graph_number(graph_run_op(&g, OP_REDUCE, WORDS(REDUCE_SUM, INTS(&g, 0))), 0) == 0);
    graph_close(&g);
}

// arg_reduce-c2
TEST(arg_reduce_first) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 1)), SHAPE(2, 4),
                 NUMBERS(1, 2, 1, 0, 2, 1, 0, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I8, SHAPE(2, 3, 4));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MIN, 2)), SHAPE(2, 3),
                 NUMBERS(0, 1, 3, 1, 3, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(3), NUMBERS(3, 200, 200));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 0)), SCALAR, NUMBERS(1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(3), NUMBERS(0, 1, 1));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 0)), SCALAR, NUMBERS(1));
    graph_close(&g);
}

// arg_reduce-c3
TEST(arg_reduce_nan) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(4), NUMBERS(1, NAN, INFINITY, NAN));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 0)), SCALAR, NUMBERS(1));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BF16, SHAPE(3), NUMBERS(-INFINITY, 2, NAN));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MIN, 0)), SCALAR, NUMBERS(2));
    graph_close(&g);

    // arg_reduce-c4
    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 0), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 1)), SHAPE(2), NUMBERS(-1, -1));
    graph_close(&g);
}

// cumulative-c2 cumulative-c3
TEST(cumulative_runs) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_SUM, 0, 0)), SHAPE(3, 4),
                 NUMBERS(-5, 2, -2, 5, -4, -1, 2, 5, -8, 2, 1, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_SUM, 1, 1)), SHAPE(3, 4),
                 NUMBERS(0, 5, 3, 5, 2, 1, 4, 0, -7, -3, -6, -5));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_PROD, 1, 0)), SHAPE(3, 4),
                 NUMBERS(-5, -10, 20, 100, 1, -3, -12, -0, -4, -12, 12, -60));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_MAX, 1, 0)), SHAPE(3, 4),
                 NUMBERS(-5, 2, 2, 5, 1, 1, 4, 4, -4, 3, 3, 3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I8, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_MIN, 0, 1)), SHAPE(3, 4),
                 NUMBERS(-5, -3, -2, -5, -4, -3, -1, -5, -4, 3, -1, -5));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, NAN, 3));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_MAX, 0, 0)), SHAPE(3),
                 NUMBERS(1, NAN, NAN));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(3), NUMBERS(200, 100, 1));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_SUM, 0, 0)), SHAPE(3),
                 NUMBERS(200, 44, 45));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(0, 2), NUMBERS(0));
    graph_expect(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_SUM, 0, 0)), SHAPE(0, 2), NO_NUMBERS);
    graph_close(&g);
}

// cumulative-c4: what is carried along is not rounded.
TEST(cumulative_accumulates_wide) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BF16, SHAPE(3), NUMBERS(256, 1, 1));
    graph_expect_near(graph_run_op(&g, OP_CUMULATIVE, WORDS(REDUCE_SUM, 0, 0)), SHAPE(3),
                      NUMBERS(256, 256, 258), 0, 0);
    graph_close(&g);
}

// sort-c2
TEST(sort_is_stable) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 4), NUMBERS(3, 1, 2, 1, 0, -1, 5, -1));
    graph_range(&g, DTYPE_I64, SHAPE(2, 4));
    const Tensor *y = graph_run_op(&g, OP_SORT, WORDS(1, 0));
    graph_expect(y, SHAPE(2, 4), NUMBERS(1, 1, 2, 3, -1, -1, 0, 5));
    graph_expect(&y[1], SHAPE(2, 4), NUMBERS(1, 3, 2, 0, 5, 7, 4, 6));
    graph_close(&g);

    // sort-c4: descending keeps the order of equals too
    g = graph_open(arena);
    graph_input(&g, DTYPE_I8, SHAPE(2, 4), NUMBERS(3, 1, 2, 1, 0, -1, 5, -1));
    graph_range(&g, DTYPE_BF16, SHAPE(2, 4));
    y = graph_run_op(&g, OP_SORT, WORDS(1, 1));
    graph_expect(y, SHAPE(2, 4), NUMBERS(3, 2, 1, 1, 5, 0, -1, -1));
    graph_expect(&y[1], SHAPE(2, 4), NUMBERS(0, 2, 1, 3, 6, 4, 5, 7));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_SORT, WORDS(0, 0)), SHAPE(3, 4),
                 NUMBERS(-5, -3, -2, -5, -4, 2, -1, 0, 1, 3, 4, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(3), NUMBERS(1, 0, 1));
    graph_range(&g, DTYPE_I32, SHAPE(3));
    y = graph_run_op(&g, OP_SORT, WORDS(0, 0));
    graph_expect(y, SHAPE(3), NUMBERS(0, 1, 1));
    graph_expect(&y[1], SHAPE(3), NUMBERS(1, 0, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 0));
    graph_expect(graph_run_op(&g, OP_SORT, WORDS(1, 0)), SHAPE(2, 0), NO_NUMBERS);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(1), NUMBERS(5));
    graph_expect(graph_run_op(&g, OP_SORT, WORDS(0, 1)), SHAPE(1), NUMBERS(5));
    graph_close(&g);
}

// sort-c3
TEST(sort_nan_last) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(5), NUMBERS(NAN, 2, -INFINITY, NAN, 1));
    graph_range(&g, DTYPE_I32, SHAPE(5));
    const Tensor *y = graph_run_op(&g, OP_SORT, WORDS(0, 0));
    graph_expect(y, SHAPE(5), NUMBERS(-INFINITY, 1, 2, NAN, NAN));
    graph_expect(&y[1], SHAPE(5), NUMBERS(2, 4, 1, 0, 3));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F16, SHAPE(5), NUMBERS(NAN, 2, -INFINITY, NAN, 1));
    graph_range(&g, DTYPE_I32, SHAPE(5));
    y = graph_run_op(&g, OP_SORT, WORDS(0, 1));
    graph_expect(y, SHAPE(5), NUMBERS(2, 1, -INFINITY, NAN, NAN));
    graph_expect(&y[1], SHAPE(5), NUMBERS(1, 4, 2, 0, 3));
    graph_close(&g);
}

// sort-c2 on a line longer than the last run of the merge.
TEST(sort_long) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(1000));
    graph_range(&g, DTYPE_I64, SHAPE(1000));
    const Tensor *y = graph_run_op(&g, OP_SORT, WORDS(0, 0));
    for (int64_t i = 1; i < 1000; i++) {
        double before = graph_number(&y[0], i - 1), key = graph_number(&y[0], i);
        EXPECT(before < key ||
               (before == key && graph_number(&y[1], i - 1) < graph_number(&y[1], i)));
    }
    graph_close(&g);
}

// reduce_window-c2
TEST(reduce_window_kinds) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_SUM, INTS(&g, 2), INTS(&g, 1), SIZES(&g, 0),
                                    SIZES(&g, 0), INTS(&g, 1))),
                 SHAPE(2, 4, 4),
                 NUMBERS(-3, 0, 3, 6, 1, 4, -4, -1, -6, -3, 0, 3, -2, 1, 4, -4, 2, -6, -3, 0, 6, -2,
                         1, 4, -1, 2, -6, -3, 3, 6, -2, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(
            &g, OP_REDUCE_WINDOW,
            WORDS(REDUCE_SUM, INTS(&g, 2), INTS(&g, 2), SIZES(&g, 1), SIZES(&g, 1), INTS(&g, 2))),
        SHAPE(2, 4, 3),
        NUMBERS(2, 7, 5, 4, 0, -4, -5, -7, -2, -3, -3, 0, -1, 1, 2, 1, 5, 4, 3, -2, -5, 5, 2, -3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_SUM, INTS(&g, 2, 2), INTS(&g, 1, 2), SIZES(&g, 1, 0),
                                    SIZES(&g, 0, 1), INTS(&g, 1, 1))),
                 SHAPE(2, 4, 3),
                 NUMBERS(-3, 3, 1, -2, -1, 4, -5, -4, 8, -8, 4, 1, 2, -3, -2, 8, -2, -2, 5, -5, 2,
                         2, -8, 6));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_SUM, INTS(&g, 3, 2), INTS(&g, 2, 1), SIZES(&g, 2, 1),
                                    SIZES(&g, 1, 0), INTS(&g, 1, 2))),
                 SHAPE(2, 3, 4),
                 NUMBERS(2, -7, 7, -1, 1, -9, 0, 9, -8, 6, -10, 7, -1, -2, 1, -7, 3, -5, 4, -9, 8,
                         -6, 0, 6));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MAX, INTS(&g, 2), INTS(&g, 1), SIZES(&g, 0),
                                    SIZES(&g, 0), INTS(&g, 1))),
                 SHAPE(2, 4, 4),
                 NUMBERS(2, 2, 5, 5, 4, 4, 0, 3, -1, 2, 2, 5, 1, 4, 4, 0, 3, -1, 2, 2, 5, 1, 4, 4,
                         3, 3, -1, 2, 5, 5, 1, 4));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(
            &g, OP_REDUCE_WINDOW,
            WORDS(REDUCE_MAX, INTS(&g, 2), INTS(&g, 2), SIZES(&g, 1), SIZES(&g, 1), INTS(&g, 2))),
        SHAPE(2, 4, 3),
        NUMBERS(2, 5, 5, 4, 4, -4, -5, -2, -2, -3, 0, 0, -1, 2, 2, 1, 4, 4, 3, 3, -5, 5, 5, -3));
    graph_close(&g);
}

TEST(reduce_window_kinds_2) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MAX, INTS(&g, 2, 2), INTS(&g, 1, 2), SIZES(&g, 1, 0),
                                    SIZES(&g, 0, 1), INTS(&g, 1, 1))),
                 SHAPE(2, 4, 3),
                 NUMBERS(2, 5, 1, 4, 5, 3, 4, 2, 5, 1, 4, 5, 3, 2, -2, 5, 4, 0, 5, 4, 2, 5, 1, 4));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_MAX, INTS(&g, 3, 2), INTS(&g, 2, 1), SIZES(&g, 2, 1),
                           SIZES(&g, 1, 0), INTS(&g, 1, 2))),
        SHAPE(2, 3, 4),
        NUMBERS(2, -2, 5, 1, 4, 2, 5, 5, -3, 4, 0, 5, -1, 3, 2, -2, 3, 5, 4, 2, 5, 1, 5, 4));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MIN, INTS(&g, 2), INTS(&g, 1), SIZES(&g, 0),
                                    SIZES(&g, 0), INTS(&g, 1))),
                 SHAPE(2, 4, 4),
                 NUMBERS(-5, -2, -2, 1, -3, 0, -4, -4, -5, -5, -2, -2, -3, -3, 0, -4, -1, -5, -5,
                         -2, 1, -3, -3, 0, -4, -1, -5, -5, -2, 1, -3, -3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MIN, INTS(&g, 2), INTS(&g, 2), SIZES(&g, 1),
                                    SIZES(&g, 1), INTS(&g, 2))),
                 SHAPE(2, 4, 3),
                 NUMBERS(2, 2, 5, 4, -4, -4, -5, -5, -2, -3, -3, 0, -1, -1, 2, 1, 1, 4, 3, -5, -5,
                         5, -3, -3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MIN, INTS(&g, 2, 2), INTS(&g, 1, 2), SIZES(&g, 1, 0),
                                    SIZES(&g, 0, 1), INTS(&g, 1, 1))),
                 SHAPE(2, 4, 3),
                 NUMBERS(-5, -2, 1, -5, -4, 1, -5, -4, 3, -5, -2, -4, -1, -5, -2, -1, -5, -2, -4,
                         -5, 0, -4, -5, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_MIN, INTS(&g, 3, 2), INTS(&g, 2, 1), SIZES(&g, 2, 1),
                                    SIZES(&g, 1, 0), INTS(&g, 1, 2))),
                 SHAPE(2, 3, 4),
                 NUMBERS(2, -5, 2, -2, -5, -5, -5, -2, -5, -1, -5, -4, -1, -5, -1, -5, -1, -5, -5,
                         -5, 3, -4, -5, -1));
    graph_close(&g);
}

// reduce_window-c3
TEST(reduce_window_positions) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_ARGMAX, INTS(&g, 2, 2), INTS(&g, 1, 2), SIZES(&g, 1, 0),
                           SIZES(&g, 0, 1), INTS(&g, 1, 1))),
        SHAPE(2, 4, 3),
        NUMBERS(1, 3, 4, 6, 3, 9, 6, 12, 14, 15, 17, 14, 0, 3, 4, 5, 8, 9, 5, 8, 14, 16, 17, 19));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 4, 5));
    graph_expect(graph_run_op(&g, OP_REDUCE_WINDOW,
                              WORDS(REDUCE_ARGMAX, INTS(&g, 3, 2), INTS(&g, 2, 1), SIZES(&g, 2, 1),
                                    SIZES(&g, 1, 0), INTS(&g, 1, 2))),
                 SHAPE(2, 3, 4),
                 NUMBERS(1, 2, 3, 4, 6, 12, 3, 14, 16, 17, 18, 14, 1, 0, 3, 4, 11, 5, 8, 14, 16, 17,
                         16, 19));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_ARGMIN, INTS(&g, 2, 2), INTS(&g, 1, 2), SIZES(&g, 1, 0),
                           SIZES(&g, 0, 1), INTS(&g, 1, 1))),
        SHAPE(2, 4, 3),
        NUMBERS(0, 2, 4, 0, 8, 4, 11, 8, 9, 11, 13, 19, 1, 2, 4, 1, 2, 4, 10, 13, 9, 10, 13, 14));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 4, 5));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_ARGMIN, INTS(&g, 3, 2), INTS(&g, 2, 1), SIZES(&g, 2, 1),
                           SIZES(&g, 1, 0), INTS(&g, 1, 2))),
        SHAPE(2, 3, 4),
        NUMBERS(1, 0, 1, 2, 11, 0, 11, 2, 11, 10, 11, 19, 1, 2, 1, 2, 1, 2, 13, 2, 11, 10, 13, 12));
    graph_close(&g);

    // reduce_window-c4: NaN wins
    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(5), NUMBERS(1, NAN, INFINITY, -INFINITY, -INFINITY));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_ARGMAX, INTS(&g, 2), INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0)),
        SHAPE(4), NUMBERS(1, 1, 2, 3));
    graph_close(&g);
}

// reduce_window-c5
TEST(reduce_window_padding) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(4), NUMBERS(1, NAN, 3, 4));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_MAX, INTS(&g, 2), INTS(&g, 2), SIZES(&g, 2), SIZES(&g, 2), 0)),
        SHAPE(4), NUMBERS(-INFINITY, NAN, 4, -INFINITY));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I8, SHAPE(2), NUMBERS(1, 2));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_MIN, INTS(&g, 1), INTS(&g, 1), SIZES(&g, 1), SIZES(&g, 0), 0)),
        SHAPE(3), NUMBERS(127, 1, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2), NUMBERS(1, 2));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_SUM, INTS(&g, 1), INTS(&g, 1), SIZES(&g, 1), SIZES(&g, 1), 0)),
        SHAPE(4), NUMBERS(0, 1, 2, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2), NUMBERS(1, 2));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_ARGMIN, INTS(&g, 1), INTS(&g, 1), SIZES(&g, 1), SIZES(&g, 0), 0)),
        SHAPE(3), NUMBERS(-1, 0, 1));
    graph_close(&g);

    // negative padding crops
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(5));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_SUM, INTS(&g, 2), INTS(&g, 1), SIZES(&g, -1), SIZES(&g, -1), 0)),
        SHAPE(2), NUMBERS(3, 5));
    graph_close(&g);

    // no room: no window
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2));
    graph_expect(
        graph_run_op(&g, OP_REDUCE_WINDOW,
                     WORDS(REDUCE_SUM, INTS(&g, 3), INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0)),
        SHAPE(0), NO_NUMBERS);
    graph_close(&g);
}
