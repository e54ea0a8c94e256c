/* The fast CPU path against the interpreter: reductions, running reductions, positions, sorting,
 * windows. Sizes go over the chunks in which long reductions are cut. */
#include "fast_check.h"

static const Dtype floats[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_F16};
static const Dtype ints[] = {DTYPE_I32, DTYPE_I64, DTYPE_U8, DTYPE_I8, DTYPE_I16};

static void check_reduce(Fast *f, Dtype dtype, uint64_t kind, double low, double high) {
    static const int64_t shapes[][4] = {/* rank and sizes */
                                        {1, 70000, 0, 0}, {2, 3, 1000, 0},  {2, 700, 70, 0},
                                        {3, 5, 33, 7},    {3, 9, 3, 600},   {2, 0, 5, 0},
                                        {1, 1, 0, 0},     {3, 2, 37, 1100}, {2, 9000, 5, 0}};
    for (size_t i = f->cases++ % 3; i < LENGTH(shapes); i += 3)
        for (uint32_t axes = 1; axes < 1u << shapes[i][0]; axes++) {
            int64_t  list[3];
            uint32_t count = 0, rank = (uint32_t)shapes[i][0];
            for (uint32_t axis = 0; axis < rank; axis++)
                if (axes >> axis & 1) list[count++] = axis;
            fast_begin(f);
            f->by_layout = true;
            f->abs = dtype == DTYPE_F32 ? 1e-3 : dtype == DTYPE_F64 ? 1e-9 : 0.1;
            if (kind == REDUCE_PROD) f->rel = 100 * graph_tolerance(dtype);
            uint32_t x = fast_random(f, dtype, shapes[i] + 1, rank, low, high);
            if (rank == 3 && i % 2 == 1) fast_repeat(f, x, (uint32_t)i % 3);
            if (!fast_check(f, OP_REDUCE, WORDS(kind, build_ints(&f->g.build, list, count))))
                return;
        }
}
TEST(fast_reduce_floats) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++) {
        check_reduce(&f, floats[d], REDUCE_SUM, -1, 1);
        check_reduce(&f, floats[d], REDUCE_PROD, 0.95, 1.05);
        check_reduce(&f, floats[d], REDUCE_MAX, -9, 9);
        check_reduce(&f, floats[d], REDUCE_MIN, -9, 9);
    }
    fast_close(&f);
}
TEST(fast_reduce_ints) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(ints); d++)
        for (uint64_t kind = REDUCE_SUM + d % 2; kind <= REDUCE_OR; kind += 2)
            check_reduce(&f, ints[d], kind, ints[d] == DTYPE_U8 ? 0 : -100, 120);
    for (uint64_t kind = REDUCE_MAX; kind <= REDUCE_OR; kind++)
        check_reduce(&f, DTYPE_BOOL, kind, 0, 1.99);
    fast_close(&f);
}

TEST(fast_arg_reduce_and_cumulative) {
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_I32, DTYPE_U8};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (uint64_t axis = 0; axis < 3; axis++) {
            for (uint64_t kind = REDUCE_MAX; kind <= REDUCE_MIN; kind++) {
                fast_begin(&f);
                fast_random(&f, dtypes[d], SHAPE(7, 33, 65), 0, 9);
                fast_check(&f, OP_ARG_REDUCE, WORDS(kind, axis));
            }
            for (uint64_t kind = REDUCE_SUM; kind <= REDUCE_MIN; kind++)
                for (uint64_t reverse = 0; reverse < 2; reverse++) {
                    fast_begin(&f);
                    fast_random(&f, dtypes[d], SHAPE(5, 9, 65), 1, 2);
                    fast_check(&f, OP_CUMULATIVE, WORDS(kind, axis, reverse));
                }
        }
    fast_begin(&f);
    graph_input(&f.g, DTYPE_F32, SHAPE(2, 5), NUMBERS(1, NAN, 3, NAN, 0, 2, 2, 1, 1, 2));
    fast_check(&f, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 1));
    fast_close(&f);
}

TEST(fast_sort) {
    Fast f = fast_open(arena);
    for (uint64_t axis = 0; axis < 2; axis++)
        for (uint64_t descending = 0; descending < 2; descending++) {
            fast_begin(&f);
            fast_random(&f, DTYPE_F32, SHAPE(65, 130), 0, 1);
            fast_check(&f, OP_SORT, WORDS(axis, descending));
            fast_begin(&f); /* many equal keys, carried values */
            fast_random(&f, DTYPE_I8, SHAPE(65, 130), 0, 5);
            fast_random(&f, DTYPE_F64, SHAPE(65, 130), 0, 1);
            fast_random(&f, DTYPE_BF16, SHAPE(65, 130), 0, 1);
            fast_check(&f, OP_SORT, WORDS(axis, descending));
            fast_begin(&f);
            graph_input(&f.g, DTYPE_F32, SHAPE(2, 7),
                        NUMBERS(1, NAN, 3, NAN, 0, -INFINITY, INFINITY));
            fast_check(&f, OP_SORT, WORDS(axis, descending));
        }
    fast_close(&f);
}

TEST(fast_reduce_window) {
    static const Dtype    dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_I32};
    static const uint64_t kinds[] = {REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX,
                                     REDUCE_ARGMIN};
    Fast                  f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t k = 0; k < LENGTH(kinds); k++)
            for (int64_t form = 0; form < 4; form++) {
                fast_begin(&f);
                fast_random(&f, dtypes[d], SHAPE(2, 3, 19, 23), -9, 9);
                int64_t pad = form % 2, stride = 1 + form % 3;
                fast_check(&f, OP_REDUCE_WINDOW,
                           WORDS(kinds[k], INTS(&f.g, 2 + form / 2, 3), INTS(&f.g, stride, 2),
                                 SIZES(&f.g, pad, 1), SIZES(&f.g, 1, pad),
                                 INTS(&f.g, 1 + form / 3, 1 + pad)));
            }
    fast_close(&f);
}

/* Rows of whole windows are vectors: equal numbers, NaN, both steps, edges on either side. */
TEST(fast_reduce_window_ties) {
    enum { ROWS = 5, COLUMNS = 21 };
    static const uint64_t kinds[] = {REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX, REDUCE_ARGMIN};
    Fast                  f = fast_open(arena);
    double                x[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = i % 17 == 5 ? (double)NAN : i * i % 7 - 3;
    for (size_t k = 0; k < LENGTH(kinds); k++)
        for (int64_t step = 1; step <= 2; step++)
            for (int64_t pad = 0; pad < 3; pad++) {
                fast_begin(&f);
                graph_input(&f.g, DTYPE_F32, SHAPE(ROWS, COLUMNS), x, (int64_t)LENGTH(x));
                fast_check(&f, OP_REDUCE_WINDOW,
                           WORDS(kinds[k], INTS(&f.g, 2, 3), INTS(&f.g, step, step),
                                 SIZES(&f.g, 3, pad), SIZES(&f.g, pad, 1), INTS(&f.g, 1, 1)));
            }
    fast_close(&f);
}
