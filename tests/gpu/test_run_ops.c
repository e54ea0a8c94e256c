/* Operators without a fused form on a device, one at a time: the cases of the CPU's tests (linked
 * in, see cmake/StoaTests.cmake), and sizes that only a GPU's kernels tell apart. */
#include "tests/unit/fast_check.h"

/* Rows of a table at integer places, some outside; and their gradient. */
static void check_embedding(Fast *f, Dtype dtype, Dtype index, int64_t table, int64_t width,
                            int64_t rows) {
    double high = (double)(dtype_bytes(index) == 1 && table > 126 ? 126 : table) + 1;
    fast_begin(f);
    fast_random(f, dtype, SHAPE(table, width), -1, 1);
    fast_random(f, index, SHAPE(rows, 1), index == DTYPE_U8 ? 0 : -1, high);
    fast_check(f, OP_GATHER,
               WORDS(INTS(&f->g, 1), INTS(&f->g, 0), 0, 0, INTS(&f->g, 0), SIZES(&f->g, 1, width)));
    for (uint64_t kind = SCATTER_SET; kind < SCATTER_KIND_COUNT; kind++) {
        fast_begin(f);
        f->abs = dtype == DTYPE_F32 ? 1e-5 : dtype == DTYPE_F64 ? 1e-12 : 0.3;
        fast_random(f, dtype, SHAPE(table, width), -1, 1);
        fast_random(f, index, SHAPE(rows, 1), index == DTYPE_U8 ? 0 : -1, high);
        fast_random(f, dtype, SHAPE(rows, width), -1, 1);
        fast_check(f, OP_SCATTER,
                   WORDS(kind, INTS(&f->g, 1), INTS(&f->g, 0), 0, 0, INTS(&f->g, 0)));
    }
}

TEST(gpu_embeddings) {
    Fast f = fast_open(arena);
    if (!f.back->usable) return;
    check_embedding(&f, DTYPE_F32, DTYPE_I32, 50, 64, 1000);
    check_embedding(&f, DTYPE_BF16, DTYPE_I64, 33, 300, 77);
    check_embedding(&f, DTYPE_F64, DTYPE_U8, 17, 257, 2100);
    check_embedding(&f, DTYPE_I32, DTYPE_I32, 100, 5, 1100); /* narrow */
    check_embedding(&f, DTYPE_F64, DTYPE_I32, 3, 300, 5000); /* many rows a place */
    check_embedding(&f, DTYPE_BF16, DTYPE_I32, 40000, 96, 3000);
    check_embedding(&f, DTYPE_F32, DTYPE_I64, 5000, 33, 40000); /* chunks of 64 */
    fast_close(&f);
}

TEST(gpu_long_lines) {
    Fast f = fast_open(arena);
    if (!f.back->usable) return;
    for (uint64_t kind = REDUCE_SUM; kind <= REDUCE_MIN; kind++) {
        fast_begin(&f);
        f.abs = 1e-4;
        fast_random(&f, DTYPE_F32, SHAPE(3, 1000, 2), kind == REDUCE_PROD ? 0.99 : -1, 1.01);
        fast_check(&f, OP_CUMULATIVE, WORDS(kind, 1, kind % 2));
    }
    fast_begin(&f);
    fast_random(&f, DTYPE_F16, SHAPE(50304), -1, 1); /* many equal ones */
    fast_check(&f, OP_ARG_REDUCE, WORDS(REDUCE_MAX, 0));
    fast_begin(&f);
    fast_random(&f, DTYPE_I16, SHAPE(2000), -50, 50);
    fast_random(&f, DTYPE_F32, SHAPE(2000), -1, 1);
    fast_check(&f, OP_SORT, WORDS(0, 1));
    fast_close(&f);
}

TEST(gpu_long_sums) { /* cut into parts that are added up */
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_I32};
    Fast               f = fast_open(arena);
    if (!f.back->usable) return;
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        fast_begin(&f);
        f.abs = dtypes[i] == DTYPE_F64 ? 1e-10 : dtypes[i] == DTYPE_BF16 ? 1 : 1e-3;
        fast_random(&f, dtypes[i], SHAPE(6, 100, 24, 24), -2, 2);
        fast_random(&f, dtypes[i], SHAPE(4, 100, 20, 20), -2, 2); /* as the gradient of a window */
        fast_check(&f, OP_CONVOLUTION,
                   WORDS(INTS(&f.g, 1, 1), SIZES(&f.g, 0, 0), SIZES(&f.g, 0, 0), 0, 0, 1));
    }
    fast_begin(&f);
    fast_random(&f, DTYPE_I32, SHAPE(3, 5000), -20, 20);
    fast_random(&f, DTYPE_I32, SHAPE(5000, 2), -20, 20);
    fast_check(&f, OP_DOT_GENERAL, WORDS(0, 0, INTS(&f.g, 1), INTS(&f.g, 0)));
    fast_close(&f);
}
