/* The fast CPU path against the interpreter: what moves elements (copies, pads, slices, gather,
 * scatter), counts them or draws them. */
#include "fast_check.h"

#include "cpu/jit.h"

static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_U8, DTYPE_BOOL};

TEST(fast_views_become_memory) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++) {
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(33, 65, 3), 0, 2);
        fast_check(&f, OP_COPY, NULL);
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(70, 130), 0, 2);
        fast_check(&f, OP_COPY, NULL);
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(4, 129, 2, 37), 0, 2);
        fast_check(&f, OP_TRANSPOSE, WORDS(INTS(&f.g, 0, 2, 1, 3)));
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(37, 129), 0, 2);
        fast_check(&f, OP_TRANSPOSE, WORDS(INTS(&f.g, 1, 0)));
        fast_begin(&f); /* tiles in the middle of a larger tensor, whole and ragged */
        fast_random(&f, dtypes[d], SHAPE(2, 128, 3, 130), 0, 2);
        fast_check(&f, OP_TRANSPOSE, WORDS(INTS(&f.g, 0, 3, 2, 1)));
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(7, 1, 37), 0, 2);
        fast_check(&f, OP_BROADCAST_IN_DIM, WORDS(SIZES(&f.g, 3, 7, 40, 37), INTS(&f.g, 1, 2, 3)));
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(20, 31), 0, 2);
        fast_check(&f, OP_SLICE, WORDS(SIZES(&f.g, 3, 0), SIZES(&f.g, 19, 30), INTS(&f.g, 2, 3)));
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(20, 31), 0, 2);
        fast_check(&f, OP_RESHAPE, WORDS(SIZES(&f.g, 31, 20)));
        fast_begin(&f);
        fast_random(&f, dtypes[d], SHAPE(9, 31, 5), 0, 2);
        fast_check(&f, OP_REVERSE, WORDS(INTS(&f.g, 0, 2)));
    }
    fast_close(&f);
}

/* Arrays that are stored past the caches: whole, turned over, filled, by rows. */
TEST(fast_moves_past_the_caches) {
    const int64_t columns = 1031, most = 64 << 20; /* caches that hold more see no such array */
    int64_t       bytes = (int64_t)jit_host_stream_bytes();
    int64_t       rows = (bytes < most ? bytes : most) / (4 * columns) + 1;
    Fast          f = fast_open(arena);
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SHAPE(rows, columns), 0, 2);
    fast_check(&f, OP_COPY, NULL);
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SHAPE(rows, columns), 0, 2);
    fast_check(&f, OP_TRANSPOSE, WORDS(INTS(&f.g, 1, 0)));
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SCALAR, 0, 2);
    fast_check(&f, OP_BROADCAST_IN_DIM, WORDS(SIZES(&f.g, rows, columns), 0));
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SHAPE(100, columns), 0, 2);
    fast_random(&f, DTYPE_I32, SHAPE(rows, 1), -2, 103);
    fast_check(&f, OP_GATHER,
               WORDS(INTS(&f.g, 1), INTS(&f.g, 0), 0, 0, INTS(&f.g, 0), SIZES(&f.g, 1, columns)));
    fast_close(&f);
}

TEST(fast_pad_and_concat) {
    static const int64_t pads[][6] = {/* low0 high0 gap0 low1 high1 gap1 */
                                      {1, 2, 0, 3, 0, 0},    {0, 0, 1, 0, 0, 2},
                                      {-1, 3, 2, 2, -2, 1},  {-4, -4, 3, 0, 5, 0},
                                      {-20, 30, 0, 0, 0, 0}, {12, -20, 0, 1, 1, 0}};
    Fast                 f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++) {
        for (size_t i = 0; i < LENGTH(pads); i++) {
            const int64_t *p = pads[i];
            fast_begin(&f);
            fast_random(&f, dtypes[d], SHAPE(11, 37), 0, 2);
            fast_random(&f, dtypes[d], SCALAR, 0, 2);
            DimId low[2], high[2];
            for (int k = 0; k < 2; k++) {
                low[k] = dims_const(&f.g.world->dims, p[3 * k]);
                high[k] = dims_const(&f.g.world->dims, p[3 * k + 1]);
            }
            fast_check(&f, OP_PAD,
                       WORDS(build_sizes(&f.g.build, low, 2), build_sizes(&f.g.build, high, 2),
                             INTS(&f.g, p[2], p[5])));
        }
        for (uint64_t axis = 0; axis < 3; axis++) {
            fast_begin(&f);
            fast_random(&f, dtypes[d], SHAPE(axis == 0 ? 7 : 3, axis == 1 ? 9 : 8, 33), 0, 2);
            fast_random(&f, dtypes[d], SHAPE(axis == 0 ? 0 : 3, axis == 1 ? 0 : 8, 33), 0, 2);
            fast_random(&f, dtypes[d], SHAPE(3, 8, axis == 2 ? 40 : 33), 0, 2);
            fast_check(&f, OP_CONCAT, WORDS(axis));
        }
    }
    fast_close(&f);
}

TEST(fast_dynamic_slices) {
    static const double starts[][2] = {{0, 0}, {3, 5}, {-4, 100}, {7, 2}};
    Fast                f = fast_open(arena);
    for (size_t i = 0; i < LENGTH(starts); i++) {
        fast_begin(&f);
        fast_random(&f, DTYPE_F32, SHAPE(40, 130), 0, 2);
        graph_input(&f.g, DTYPE_I64, SHAPE(2), starts[i], 2);
        fast_check(&f, OP_DYNAMIC_SLICE, WORDS(SIZES(&f.g, 33, 120)));
        fast_begin(&f);
        fast_random(&f, DTYPE_BF16, SHAPE(40, 130), 0, 2);
        fast_random(&f, DTYPE_BF16, SHAPE(33, 120), 0, 2);
        graph_input(&f.g, DTYPE_I64, SHAPE(2), starts[i], 2);
        fast_check(&f, OP_DYNAMIC_UPDATE_SLICE, NULL);
    }
    fast_close(&f);
}

TEST(fast_gather) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++) {
        fast_begin(&f); /* rows of a table; some indices outside */
        fast_random(&f, dtypes[d], SHAPE(50, 33), 0, 2);
        fast_random(&f, DTYPE_I32, SHAPE(7, 31, 1), -2, 52);
        fast_check(&f, OP_GATHER,
                   WORDS(INTS(&f.g, 2), INTS(&f.g, 0), 0, 0, INTS(&f.g, 0), SIZES(&f.g, 1, 33)));
        fast_begin(&f); /* along the last axis, one each */
        fast_random(&f, dtypes[d], SHAPE(300, 11), 0, 2);
        fast_random(&f, DTYPE_I64, SHAPE(300, 1), -1, 12);
        fast_check(&f, OP_GATHER,
                   WORDS(0, INTS(&f.g, 1), INTS(&f.g, 0), INTS(&f.g, 0), INTS(&f.g, 1),
                         SIZES(&f.g, 1, 1)));
        fast_begin(&f); /* windows at two coordinates, offset axes first and last */
        fast_random(&f, dtypes[d], SHAPE(9, 8, 7), 0, 2);
        fast_random(&f, DTYPE_U8, SHAPE(5, 2), 0, 7);
        fast_check(
            &f, OP_GATHER,
            WORDS(INTS(&f.g, 0, 2), INTS(&f.g, 0), 0, 0, INTS(&f.g, 2, 0), SIZES(&f.g, 1, 8, 3)));
    }
    fast_close(&f);
}

TEST(fast_scatter) {
    static const Dtype kinds[] = {DTYPE_F32, DTYPE_F64, DTYPE_I32, DTYPE_BF16};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(kinds); d++)
        for (uint64_t kind = 0; kind < SCATTER_KIND_COUNT; kind++) {
            fast_begin(&f);                              /* rows, narrow and wide */
            f.rel = kinds[d] == DTYPE_BF16 ? 0.1 : 1e-5; /* sums of 16-bit floats round each time */
            fast_random(&f, kinds[d], SHAPE(50, 33), 0, 3);
            fast_random(&f, DTYPE_I32, SHAPE(217, 1), -2, 52);
            fast_random(&f, kinds[d], SHAPE(217, 33), 0, 3);
            fast_check(&f, OP_SCATTER,
                       WORDS(kind, INTS(&f.g, 1), INTS(&f.g, 0), 0, 0, INTS(&f.g, 0)));
            fast_begin(&f);
            f.rel = kinds[d] == DTYPE_BF16 ? 0.1 : 1e-5;
            fast_random(&f, kinds[d], SHAPE(20, 300), 0, 3);
            fast_random(&f, DTYPE_I32, SHAPE(31, 1), 0, 20);
            fast_random(&f, kinds[d], SHAPE(31, 300), 0, 3);
            fast_check(&f, OP_SCATTER,
                       WORDS(kind, INTS(&f.g, 1), INTS(&f.g, 0), 0, 0, INTS(&f.g, 0)));
            fast_begin(&f); /* one element of each row */
            fast_random(&f, kinds[d], SHAPE(3000, 11), 0, 3);
            fast_random(&f, DTYPE_I64, SHAPE(3000, 1), -1, 12);
            fast_random(&f, kinds[d], SHAPE(3000), 0, 3);
            fast_check(&f, OP_SCATTER,
                       WORDS(kind, 0, INTS(&f.g, 1), INTS(&f.g, 0), INTS(&f.g, 0), INTS(&f.g, 1)));
            fast_begin(&f); /* windows that may overlap */
            f.rel = kinds[d] == DTYPE_BF16 ? 0.1 : 1e-5;
            fast_random(&f, kinds[d], SHAPE(9, 8, 7), 0, 3);
            fast_random(&f, DTYPE_I8, SHAPE(40, 2), 0, 7);
            fast_random(&f, kinds[d], SHAPE(8, 40, 3), 0, 3);
            fast_check(&f, OP_SCATTER,
                       WORDS(kind, INTS(&f.g, 0, 2), INTS(&f.g, 0), 0, 0, INTS(&f.g, 2, 0)));
        }
    fast_close(&f);
}

TEST(fast_creation) {
    static const Dtype kinds[] = {DTYPE_F32, DTYPE_F64, DTYPE_I64, DTYPE_U8, DTYPE_BF16};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(kinds); d++)
        for (uint64_t axis = 0; axis < 3; axis++) {
            fast_begin(&f);
            fast_check(&f, OP_IOTA, WORDS(kinds[d], SIZES(&f.g, 5, 33, 50), axis));
        }
    fast_begin(&f);
    graph_input(&f.g, DTYPE_I64, SCALAR, NUMBERS(123456789));
    fast_check(&f, OP_RNG_BITS, WORDS(SIZES(&f.g, 7, 1003), 3));
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SHAPE(7, 3), 0, 1);
    fast_check(&f, OP_DIM_SIZE, WORDS(1));
    fast_close(&f);
}
