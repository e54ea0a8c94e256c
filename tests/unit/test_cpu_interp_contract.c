// Contractions and convolutions of the reference interpreter, against jax.lax.dot_general and
// jax.lax.conv_general_dilated. Inputs count 0, 1, 2, ... (graph_range) or are mixed small integers
// (graph_mixed), so that all results are exact.
#include "run_graph.h"

// dot_general-c2
TEST(dot_general_axes) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3));
    graph_range(&g, DTYPE_F32, SHAPE(3, 4));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(2, 4), NUMBERS(-8, -13, -18, -23, -20, -17, -14, -11));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_BF16, SHAPE(2, 3));
    graph_range(&g, DTYPE_BF16, SHAPE(4, 3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 1))),
                 SHAPE(2, 4), NUMBERS(-2, -17, -32, -47, -5, 4, 13, 22));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(3, 2));
    graph_range(&g, DTYPE_F64, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 0), INTS(&g, 0))), SHAPE(2),
                 NUMBERS(0, -1));
    graph_close(&g);

    // a scalar
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F16, SHAPE(3));
    graph_range(&g, DTYPE_F16, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 0), INTS(&g, 0))), SCALAR,
                 NUMBERS(-2));
    graph_close(&g);

    // an outer product
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2));
    graph_range(&g, DTYPE_F32, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, 0, 0)), SHAPE(2, 3),
                 NUMBERS(-0, -5, -10, 0, 2, 4));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 2, 3));
    graph_range(&g, DTYPE_F32, SHAPE(2, 3, 2));
    graph_expect(
        graph_run_op(&g, OP_DOT_GENERAL, WORDS(INTS(&g, 0), INTS(&g, 0), INTS(&g, 2), INTS(&g, 1))),
        SHAPE(2, 2, 2), NUMBERS(-4, -9, -10, -7, -16, -16, -40, -43));
    graph_close(&g);

    // two batch axes, in another order
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(3, 2, 2, 2));
    graph_range(&g, DTYPE_F32, SHAPE(2, 2, 3, 2));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL,
                              WORDS(INTS(&g, 1, 3), INTS(&g, 0, 3), INTS(&g, 0), INTS(&g, 2))),
                 SHAPE(2, 2, 2, 2),
                 NUMBERS(-20, -92, -2, -20, 31, 85, -30, -54, 88, 124, 38, 62, -86, -122, 49, 67));
    graph_close(&g);
}

TEST(dot_general_axes_2) {
    // two contracted axes, crossed
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 3, 2));
    graph_range(&g, DTYPE_I32, SHAPE(2, 3, 2));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 2, 1), INTS(&g, 0, 1))),
                 SHAPE(2, 2), NUMBERS(22, 20, -38, -41));
    graph_close(&g);

    // nothing to sum
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 0));
    graph_range(&g, DTYPE_F32, SHAPE(0, 3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(2, 3), NUMBERS(0, 0, 0, 0, 0, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(0, 2));
    graph_range(&g, DTYPE_F32, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(0, 3), NO_NUMBERS);
    graph_close(&g);
}

// dot_general-c4
TEST(dot_general_ints) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_U8, SHAPE(1, 2), NUMBERS(200, 100));
    graph_input(&g, DTYPE_U8, SHAPE(2, 1), NUMBERS(2, 1));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(1, 1), NUMBERS(244));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_I8, SHAPE(1, 2), NUMBERS(100, 100));
    graph_input(&g, DTYPE_I8, SHAPE(2, 1), NUMBERS(1, 1));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(1, 1), NUMBERS(-56));
    graph_close(&g);

    // bool: whether any pair is true
    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 2), NUMBERS(1, 1, 0, 1));
    graph_input(&g, DTYPE_BOOL, SHAPE(2, 2), NUMBERS(1, 0, 1, 0));
    graph_expect(graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 1), INTS(&g, 0))),
                 SHAPE(2, 2), NUMBERS(1, 0, 1, 0));
    graph_close(&g);
}

// dot_general-c3: sums are wide and round once.
TEST(dot_general_accumulates_wide) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BF16, SHAPE(1024), NUMBERS(1));
    graph_input(&g, DTYPE_BF16, SHAPE(1024), NUMBERS(1));
    const Tensor *z = graph_run_op(&g, OP_DOT_GENERAL, WORDS(0, 0, INTS(&g, 0), INTS(&g, 0)));
    EXPECT(graph_number(z, 0) == 1024);
    graph_close(&g);
}

// convolution-c2
TEST(convolution_spatial) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 2, 5));
    graph_range(&g, DTYPE_F32, SHAPE(3, 2, 2));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 1)),
        SHAPE(2, 3, 4),
        NUMBERS(8, 6, -7, 2, 0, 22, -11, 22, -8, 38, -15, 42, -12, 8, 6, -7, -44, 0, 22, -11, -76,
                -8, 38, -15));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 2, 4, 5));
    graph_range(&g, DTYPE_F32, SHAPE(2, 2, 3, 2));
    graph_expect(graph_run_op(&g, OP_CONVOLUTION,
                              WORDS(INTS(&g, 2, 1), SIZES(&g, 1, 0), SIZES(&g, 1, 1), 0, 0, 1)),
                 SHAPE(1, 2, 2, 5),
                 NUMBERS(80, -62, -17, 50, -2, 43, 65, -56, 10, 50, 152, -110, -53, 158, 22, 55,
                         161, -140, 10, 170));
    graph_close(&g);

    // three spatial axes
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(1, 1, 2, 3, 2));
    graph_range(&g, DTYPE_F64, SHAPE(1, 1, 2, 2, 1));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION,
                     WORDS(INTS(&g, 1, 1, 1), SIZES(&g, 0, 0, 1), SIZES(&g, 1, 0, 0), 0, 0, 1)),
        SHAPE(1, 1, 2, 2, 3), NUMBERS(0, -6, 14, 0, -10, -12, 0, -4, 3, 0, -1, -5));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(1, 1, 4));
    graph_range(&g, DTYPE_I32, SHAPE(1, 1, 2));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 1)),
        SHAPE(1, 1, 3), NUMBERS(2, -2, 5));
    graph_close(&g);
}

// convolution-c3
TEST(convolution_dilations) {
    // convolution-c4: x spread
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 1, 4));
    graph_range(&g, DTYPE_F32, SHAPE(1, 1, 2));
    graph_expect(graph_run_op(&g, OP_CONVOLUTION,
                              WORDS(INTS(&g, 1), SIZES(&g, 1), SIZES(&g, 2), INTS(&g, 3), 0, 1)),
                 SHAPE(1, 1, 12), NUMBERS(-5, 0, 0, 2, 0, 0, -2, 0, 0, 5, 0, 0));
    graph_close(&g);

    // convolution-c4: w spread
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 1, 6));
    graph_range(&g, DTYPE_F32, SHAPE(1, 1, 2));
    graph_expect(graph_run_op(&g, OP_CONVOLUTION,
                              WORDS(INTS(&g, 2), SIZES(&g, 1), SIZES(&g, 0), 0, INTS(&g, 3), 1)),
                 SHAPE(1, 1, 2), NUMBERS(-2, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 2, 3, 4));
    graph_range(&g, DTYPE_F32, SHAPE(2, 2, 2, 2));
    graph_expect(graph_run_op(&g, OP_CONVOLUTION,
                              WORDS(INTS(&g, 1, 2), SIZES(&g, 2, 1), SIZES(&g, 1, 2),
                                    INTS(&g, 2, 1), INTS(&g, 1, 2), 1)),
                 SHAPE(1, 2, 7, 3),
                 NUMBERS(0, 0, 0, -8, 14, 16, -8, 2, 4, 19, -10, -24, 17, -4, -16, 2, -1, 2, -2, 1,
                         8, 0, 0, 0, -8, 62, 64, -8, 50, 52, 27, -34, -56, 25, -28, -48, 18, -9,
                         -22, 14, -7, -16));
    graph_close(&g);

    // convolution-c5: negative padding
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 1, 6));
    graph_range(&g, DTYPE_F32, SHAPE(1, 1, 2));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, -1), SIZES(&g, -2), 0, 0, 1)),
        SHAPE(1, 1, 2), NUMBERS(-2, 5));
    graph_close(&g);

    // convolution-c5: cropping after spreading
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 1, 4));
    graph_range(&g, DTYPE_F32, SHAPE(1, 1, 3));
    graph_expect(graph_run_op(&g, OP_CONVOLUTION,
                              WORDS(INTS(&g, 1), SIZES(&g, -2), SIZES(&g, -1), INTS(&g, 2), 0, 1)),
                 SHAPE(1, 1, 2), NUMBERS(-4, -2));
    graph_close(&g);

    // no room: no window
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 1, 2));
    graph_range(&g, DTYPE_F32, SHAPE(1, 1, 3));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 1)),
        SHAPE(1, 1, 0), NO_NUMBERS);
    graph_close(&g);
}

// convolution-c6
TEST(convolution_groups) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(1, 4, 3));
    graph_range(&g, DTYPE_F32, SHAPE(2, 2, 2));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 2)),
        SHAPE(1, 2, 2), NUMBERS(15, -9, 27, -61));
    graph_close(&g);

    // depthwise, two outputs a channel
    g = graph_open(arena);
    graph_mixed(&g, DTYPE_BF16, SHAPE(1, 3, 3));
    graph_range(&g, DTYPE_BF16, SHAPE(6, 1, 2));
    graph_expect(
        graph_run_op(&g, OP_CONVOLUTION, WORDS(INTS(&g, 1), SIZES(&g, 0), SIZES(&g, 0), 0, 0, 3)),
        SHAPE(1, 6, 2), NUMBERS(2, -2, -4, -2, 25, -11, 37, -15, 32, -36, 40, -44));
    graph_close(&g);
}
