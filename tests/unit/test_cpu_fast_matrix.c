/* The fast path against the interpreter: lu, cholesky and triangular_solve, one matrix and many,
 * of one row to more than the kernels keep in their nearest memory. */
#include "fast_check.h"

static const Dtype   dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16};
static const int64_t sizes[] = {1, 2, 5, 30, 33, 64, 65, 100};

/* Matrices of numbers in [-1, 1] / n, 1 to 2 on the diagonal: far from singular. */
static void tame(Fast *f, Dtype dtype, int64_t count, int64_t n) {
    uint32_t input = fast_random(f, dtype, SHAPE(count, n, n), -1.0 / (double)n, 1.0 / (double)n);
    Tensor  *x = &f->g.inputs[input];
    for (int64_t i = 0; i < count * n; i++)
        (void)const_encode(dtype, fast_number(f, 1, 2),
                           (char *)x->data + (i * n + i % n) * (int64_t)dtype_bytes(dtype));
}

TEST(fast_lu) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t s = 0; s < LENGTH(sizes); s++) {
            fast_begin(&f);
            f.abs = dtypes[d] == DTYPE_F64 ? 1e-11 : 1e-14; /* a difference that is 0 without fma */
            fast_random(&f, dtypes[d], SHAPE(sizes[s] < 40 ? 7 : 2, sizes[s], sizes[s]), -1, 1);
            fast_check(&f, OP_LU, NULL);
        }
    fast_begin(&f); /* singular: a column without a pivot, equal pivots */
    graph_input(&f.g, DTYPE_F32, SHAPE(3, 3), NUMBERS(0, 1, 2, 0, 1, 2, 0, -1, 3));
    fast_check(&f, OP_LU, NULL); // lu-c3, lu-c4
    fast_begin(&f);
    fast_random(&f, DTYPE_F32, SHAPE(0, 3, 3), -1, 1);
    fast_check(&f, OP_LU, NULL);
    fast_close(&f);
}

TEST(fast_cholesky) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t s = 0; s < LENGTH(sizes); s++) {
            fast_begin(&f);
            tame(&f, dtypes[d], sizes[s] < 40 ? 9 : 2, sizes[s]);
            fast_check(&f, OP_CHOLESKY, NULL);
        }
    fast_begin(&f); // cholesky-c4: the second is not positive definite
    graph_input(&f.g, DTYPE_F64, SHAPE(3, 2, 2), NUMBERS(4, 9, 2, 5, 1, 0, 2, 1, 9, 1, 3, 2));
    fast_check(&f, OP_CHOLESKY, NULL);
    fast_close(&f);
}

TEST(fast_triangular_solve) {
    static const int64_t columns[] = {1, 3, 40};
    Fast                 f = fast_open(arena);
    for (uint64_t form = 0; form < 8; form++)
        for (size_t s = 0; s < LENGTH(sizes); s++) {
            Dtype   dtype = dtypes[(form + s) % LENGTH(dtypes)];
            int64_t count = sizes[s] < 40 ? 6 : 2, width = columns[(form + s) % LENGTH(columns)];
            fast_begin(&f);
            tame(&f, dtype, count, sizes[s]);
            fast_random(&f, dtype, SHAPE(count, sizes[s], width), -1, 1);
            fast_check(&f, OP_TRIANGULAR_SOLVE, WORDS(form & 1, form >> 1 & 1, form >> 2));
        }
    fast_close(&f);
}
