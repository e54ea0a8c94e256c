// Operators of the reference interpreter that make tensors or move elements. Inputs count 0, 1,
// 2, ... (graph_range) or are mixed small integers (graph_mixed); expected numbers come from
// numpy and JAX.
#include "run_graph.h"
#include "tables/philox.h"

// iota-c2
TEST(iota_counts) {
    Graph g = graph_open(arena);
    graph_expect(graph_run_op(&g, OP_IOTA, WORDS(DTYPE_I32, SIZES(&g, 2, 3), 1)), SHAPE(2, 3),
                 NUMBERS(0, 1, 2, 0, 1, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_expect(graph_run_op(&g, OP_IOTA, WORDS(DTYPE_F16, SIZES(&g, 2, 3), 0)), SHAPE(2, 3),
                 NUMBERS(0, 0, 0, 1, 1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_expect(graph_run_op(&g, OP_IOTA, WORDS(DTYPE_I8, SIZES(&g, 0), 0)), SHAPE(0), NO_NUMBERS);
    graph_close(&g);
}

// iota-c3
TEST(iota_wraps) {
    Graph         g = graph_open(arena);
    const Tensor *y = graph_run_op(&g, OP_IOTA, WORDS(DTYPE_U8, SIZES(&g, 258), 0));
    EXPECT_EQ(graph_number(y, 255), 255);
    EXPECT_EQ(graph_number(y, 257), 1);
    graph_close(&g);
}

// dim_size-c2
TEST(dim_size_counts) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_BF16, SHAPE(2, 0, 5));
    graph_expect(graph_run_op(&g, OP_DIM_SIZE, WORDS(2)), SCALAR, NUMBERS(5));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_BF16, SHAPE(2, 0, 5));
    graph_expect(graph_run_op(&g, OP_DIM_SIZE, WORDS(1)), SCALAR, NUMBERS(0));
    graph_close(&g);
}

// broadcast_in_dim-c2
TEST(broadcast_in_dim_repeats) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(7));
    graph_expect(graph_run_op(&g, OP_BROADCAST_IN_DIM, WORDS(SIZES(&g, 2, 2), 0)), SHAPE(2, 2),
                 NUMBERS(7, 7, 7, 7));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_BROADCAST_IN_DIM, WORDS(SIZES(&g, 2, 3), INTS(&g, 1))),
                 SHAPE(2, 3), NUMBERS(0, 1, 2, 0, 1, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(2));
    graph_expect(graph_run_op(&g, OP_BROADCAST_IN_DIM, WORDS(SIZES(&g, 2, 3), INTS(&g, 0))),
                 SHAPE(2, 3), NUMBERS(0, 0, 0, 1, 1, 1));
    graph_close(&g);

    // broadcast_in_dim-c3: an axis of size 1
    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(2, 1));
    graph_expect(graph_run_op(&g, OP_BROADCAST_IN_DIM, WORDS(SIZES(&g, 2, 2, 3), INTS(&g, 0, 2))),
                 SHAPE(2, 2, 3), NUMBERS(0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_BOOL, SHAPE(1));
    graph_expect(graph_run_op(&g, OP_BROADCAST_IN_DIM, WORDS(SIZES(&g, 0), INTS(&g, 0))), SHAPE(0),
                 NO_NUMBERS);
    graph_close(&g);
}

// reshape-c2
TEST(reshape_keeps_order) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F16, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_RESHAPE, WORDS(SIZES(&g, 3, 2))), SHAPE(3, 2),
                 NUMBERS(0, 1, 2, 3, 4, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I64, SHAPE(1, 1));
    graph_expect(graph_run_op(&g, OP_RESHAPE, WORDS(0)), SCALAR, NUMBERS(0));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_U8, SHAPE(0, 3));
    graph_expect(graph_run_op(&g, OP_RESHAPE, WORDS(SIZES(&g, 2, 0, 7))), SHAPE(2, 0, 7),
                 NO_NUMBERS);
    graph_close(&g);
}

// transpose-c2
TEST(transpose_permutes) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3, 2));
    graph_expect(graph_run_op(&g, OP_TRANSPOSE, WORDS(INTS(&g, 2, 0, 1))), SHAPE(2, 2, 3),
                 NUMBERS(0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I8, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_TRANSPOSE, WORDS(INTS(&g, 1, 0))), SHAPE(3, 2),
                 NUMBERS(0, 3, 1, 4, 2, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SCALAR, NUMBERS(4));
    graph_expect(graph_run_op(&g, OP_TRANSPOSE, WORDS(0)), SCALAR, NUMBERS(4));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(0, 3));
    graph_expect(graph_run_op(&g, OP_TRANSPOSE, WORDS(INTS(&g, 1, 0))), SHAPE(3, 0), NO_NUMBERS);
    graph_close(&g);
}

// slice-c2
TEST(slice_takes) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_expect(graph_run_op(&g, OP_SLICE, WORDS(SIZES(&g, 1, 0), SIZES(&g, 3, 5), 0)),
                 SHAPE(2, 5), NUMBERS(5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I16, SHAPE(4, 5));
    graph_expect(
        graph_run_op(&g, OP_SLICE, WORDS(SIZES(&g, 0, 1), SIZES(&g, 4, 5), INTS(&g, 2, 3))),
        SHAPE(2, 2), NUMBERS(1, 4, 11, 14));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I16, SHAPE(4, 5));
    graph_expect(
        graph_run_op(&g, OP_SLICE, WORDS(SIZES(&g, 2, 2), SIZES(&g, 2, 5), INTS(&g, 1, 9))),
        SHAPE(0, 1), NO_NUMBERS);
    graph_close(&g);
}

// pad-c2
TEST(pad_surrounds) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3));
    graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(9));
    graph_expect(graph_run_op(&g, OP_PAD, WORDS(SIZES(&g, 1, 0), SIZES(&g, 0, 2), 0)), SHAPE(3, 5),
                 NUMBERS(9, 9, 9, 9, 9, 0, 1, 2, 9, 9, 3, 4, 5, 9, 9));
    graph_close(&g);

    // pad-c3: between elements
    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(2, 3));
    graph_input(&g, DTYPE_I32, SCALAR, NUMBERS(-1));
    graph_expect(graph_run_op(&g, OP_PAD, WORDS(SIZES(&g, 0, 1), SIZES(&g, 1, 0), INTS(&g, 1, 2))),
                 SHAPE(4, 8),
                 NUMBERS(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, -1, -1, -1, -1, -1, -1, -1, 3, -1, -1,
                         4, -1, -1, 5, -1, -1, -1, -1, -1, -1, -1, -1));
    graph_close(&g);

    // pad-c4: cropping
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(3, 4));
    graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(9));
    graph_expect(graph_run_op(&g, OP_PAD, WORDS(SIZES(&g, -1, 1), SIZES(&g, 0, -2), 0)),
                 SHAPE(2, 3), NUMBERS(9, 4, 5, 9, 8, 9));
    graph_close(&g);

    // pad-c4: cropping after spreading
    g = graph_open(arena);
    graph_range(&g, DTYPE_BF16, SHAPE(4));
    graph_input(&g, DTYPE_BF16, SCALAR, NUMBERS(9));
    graph_expect(graph_run_op(&g, OP_PAD, WORDS(SIZES(&g, -2), SIZES(&g, -3), INTS(&g, 1))),
                 SHAPE(2), NUMBERS(1, 9));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(0));
    graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(9));
    graph_expect(graph_run_op(&g, OP_PAD, WORDS(SIZES(&g, 1), SIZES(&g, 1), INTS(&g, 3))), SHAPE(2),
                 NUMBERS(9, 9));
    graph_close(&g);
}

// concat-c2
TEST(concat_joins) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 2));
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 1));
    graph_range(&g, DTYPE_F32, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_CONCAT, WORDS(1)), SHAPE(2, 6),
                 NUMBERS(0, 1, -5, 0, 1, 2, 2, 3, 2, 3, 4, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I64, SHAPE(2, 2));
    graph_range(&g, DTYPE_I64, SHAPE(0, 2));
    graph_mixed(&g, DTYPE_I64, SHAPE(1, 2));
    graph_expect(graph_run_op(&g, OP_CONCAT, WORDS(0)), SHAPE(3, 2), NUMBERS(0, 1, 2, 3, -5, 2));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_BOOL, SHAPE(2));
    graph_expect(graph_run_op(&g, OP_CONCAT, WORDS(0)), SHAPE(2), NUMBERS(0, 1));
    graph_close(&g);
}

// reverse-c2
TEST(reverse_turns) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_REVERSE, WORDS(INTS(&g, 1))), SHAPE(2, 3),
                 NUMBERS(2, 1, 0, 5, 4, 3));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_U8, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_REVERSE, WORDS(INTS(&g, 1, 0))), SHAPE(2, 3),
                 NUMBERS(5, 4, 3, 2, 1, 0));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_U8, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_REVERSE, WORDS(0)), SHAPE(2, 3), NUMBERS(0, 1, 2, 3, 4, 5));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_F64, SHAPE(0, 3));
    graph_expect(graph_run_op(&g, OP_REVERSE, WORDS(INTS(&g, 0))), SHAPE(0, 3), NO_NUMBERS);
    graph_close(&g);
}

// copy-c2 stop_gradient-c2 barrier-c2 copy_out-c2 copy_back-c2
TEST(copies_are_equal) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F16, SHAPE(2, 3));
    graph_expect(graph_run_op(&g, OP_COPY, NULL), SHAPE(2, 3), NUMBERS(-5, 2, -2, 5, 1, -3));
    graph_close(&g);

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_I32, SHAPE(3));
    graph_expect(graph_run_op(&g, OP_STOP_GRADIENT, NULL), SHAPE(3), NUMBERS(-5, 2, -2));
    graph_close(&g);

    for (int back = 0; back < 2; back++) {
        g = graph_open(arena);
        graph_mixed(&g, DTYPE_F32, SHAPE(3));
        graph_expect(graph_run_op(&g, back ? OP_COPY_BACK : OP_COPY_OUT, NULL), SHAPE(3),
                     NUMBERS(-5, 2, -2));
        graph_close(&g);
    }

    g = graph_open(arena);
    graph_mixed(&g, DTYPE_F32, SHAPE(3));
    graph_range(&g, DTYPE_BOOL, SHAPE(2, 1));
    const Tensor *y = graph_run_op(&g, OP_BARRIER, NULL);
    graph_expect(y, SHAPE(3), NUMBERS(-5, 2, -2));
    graph_expect(&y[1], SHAPE(2, 1), NUMBERS(0, 1));
    graph_close(&g);
}

// constant-c2, for every dtype
TEST(constant_payloads) {
    for (Dtype dtype = DTYPE_BOOL; dtype <= DTYPE_F64; dtype++) {
        Graph    g = graph_open(arena);
        Tensor   x = graph_tensor(arena, dtype, SHAPE(3), NUMBERS(1, 0, 1));
        TypeId   type = graph_type(&g, dtype, SHAPE(3));
        uint64_t value = consts_add(&g.world->consts, type, x.data, (uint32_t)tensor_bytes(&x)).row;
        const Tensor *y = graph_run_op(&g, OP_CONSTANT, WORDS(value));
        EXPECT_EQ(y->dtype, dtype);
        graph_expect(y, SHAPE(3), NUMBERS(1, 0, 1));
        graph_close(&g);
    }
}
// rng_bits-c2: the words of Philox, in order; rng_bits-c3: the shape does not change them.
TEST(rng_bits_are_philox) {
    for (int wide = 0; wide < 2; wide++) {
        Graph         g = graph_open(arena);
        const int64_t shapes[2][2] = {{7, 1}, {2, 3}};
        graph_input(&g, DTYPE_I64, SCALAR, NUMBERS(-12345678901.0));
        const Tensor *y =
            graph_run_op(&g, OP_RNG_BITS, WORDS(graph_sizes(&g, shapes[wide], 2), 77));
        EXPECT_EQ(y->dtype, DTYPE_I32);
        for (int64_t i = 0; i < tensor_elements(y); i++) {
            Philox want = philox_draw((uint64_t)INT64_C(-12345678901), (uint64_t)i / 4, 77);
            EXPECT_EQ((uint32_t)((const int32_t *)y->data)[i], want.word[i % 4]);
        }
        graph_close(&g);
    }
}

// dynamic_slice-c2
TEST(dynamic_slice_clamps) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(1, 2));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_SLICE, WORDS(SIZES(&g, 2, 3))), SHAPE(2, 3),
                 NUMBERS(7, 8, 9, 12, 13, 14));
    graph_close(&g);

    // dynamic_slice-c3: moved to fit
    g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(9, -7));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_SLICE, WORDS(SIZES(&g, 2, 3))), SHAPE(2, 3),
                 NUMBERS(10, 11, 12, 15, 16, 17));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I8, SHAPE(4, 5));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(0, 3));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_SLICE, WORDS(SIZES(&g, 4, 0))), SHAPE(4, 0),
                 NO_NUMBERS);
    graph_close(&g);
}

// dynamic_update_slice-c2
TEST(dynamic_update_slice_writes) {
    Graph g = graph_open(arena);
    graph_range(&g, DTYPE_F32, SHAPE(4, 5));
    graph_mixed(&g, DTYPE_F32, SHAPE(2, 3));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(1, 2));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_UPDATE_SLICE, NULL), SHAPE(4, 5),
                 NUMBERS(0, 1, 2, 3, 4, 5, 6, -5, 2, -2, 10, 11, 5, 1, -3, 15, 16, 17, 18, 19));
    graph_close(&g);

    // dynamic_update_slice-c3: moved to fit
    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(4, 5));
    graph_mixed(&g, DTYPE_I32, SHAPE(2, 3));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(100, -1));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_UPDATE_SLICE, NULL), SHAPE(4, 5),
                 NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -5, 2, -2, 13, 14, 5, 1, -3, 18, 19));
    graph_close(&g);

    g = graph_open(arena);
    graph_range(&g, DTYPE_I32, SHAPE(2, 2));
    graph_mixed(&g, DTYPE_I32, SHAPE(0, 2));
    graph_input(&g, DTYPE_I64, SHAPE(2), NUMBERS(0, 0));
    graph_expect(graph_run_op(&g, OP_DYNAMIC_UPDATE_SLICE, NULL), SHAPE(2, 2), NUMBERS(0, 1, 2, 3));
    graph_close(&g);
}
