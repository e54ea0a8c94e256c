/* The fast CPU path against the interpreter: matrix products and convolutions of every geometry. */
#include "fast_check.h"

typedef struct Case {
    int64_t m, n, k, batch;
} Case;

/* Operand layouts: which of x[batch,m,k] and y[batch,k,n] are transposed in memory. */
static void check_dot(Fast *f, Dtype dtype, Case c, int form) {
    fast_begin(f);
    f->fused = true;
    f->rel = dtype == DTYPE_F32 ? 1e-5 : dtype == DTYPE_F64 ? 1e-13 : 4 * graph_tolerance(dtype);
    f->abs = dtype == DTYPE_F32 ? 2e-5 : dtype == DTYPE_F64 ? 1e-12 : 0.05;
    bool    xt = form & 1, yt = form & 2;
    double  low = dtype_is_float(dtype) ? -1 : 0, high = dtype_is_float(dtype) ? 1 : 3;
    int64_t x_shape[] = {c.batch, xt ? c.k : c.m, xt ? c.m : c.k};
    int64_t y_shape[] = {c.batch, yt ? c.n : c.k, yt ? c.k : c.n};
    bool    batched = c.batch > 1;
    fast_random(f, dtype, x_shape + !batched, 2 + batched, low, high);
    fast_random(f, dtype, y_shape + !batched, 2 + batched, low, high);
    uint64_t axis = batched ? INTS(&f->g, 0) : 0;
    fast_check(f, OP_DOT_GENERAL,
               WORDS(axis, axis, INTS(&f->g, batched + !xt), INTS(&f->g, batched + (yt ? 1 : 0))));
}

TEST(fast_dot_sizes) {
    static const Case cases[] = {
        {1, 1, 1, 1},      {1, 7, 300, 1},    {33, 1, 17, 1},   {14, 32, 256, 1}, {15, 33, 257, 1},
        {64, 64, 64, 1},   {170, 130, 70, 1}, {5, 3, 2, 9},     {31, 40, 16, 6},  {3, 5, 0, 1},
        {200, 600, 30, 1}, {6, 16, 600, 2},   {7, 100, 300, 1}, {40, 170, 96, 3}, {5, 600, 64, 1},
        {256, 1, 128, 1},  {330, 1, 600, 3},  {1, 331, 600, 3}};
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16,
                                   DTYPE_F16, DTYPE_I32, DTYPE_U8};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t i = 0; i < LENGTH(cases); i++)
            for (int form = 0; form < 4; form++) check_dot(&f, dtypes[d], cases[i], form);
    fast_close(&f);
}

TEST(fast_dot_axes) {
    Fast f = fast_open(arena);
    for (Dtype dtype = DTYPE_F32; dtype <= DTYPE_F64; dtype++) {
        fast_begin(&f); /* two free axes a side, two contracted, batch in the middle */
        f.fused = true;
        f.rel = 1e-5;
        f.abs = 1e-5;
        fast_random(&f, dtype, SHAPE(3, 4, 5, 6), -1, 1);
        fast_random(&f, dtype, SHAPE(6, 4, 7, 3, 2), -1, 1);
        fast_check(&f, OP_DOT_GENERAL,
                   WORDS(INTS(&f.g, 1), INTS(&f.g, 1), INTS(&f.g, 3, 0), INTS(&f.g, 0, 3)));
        fast_begin(&f); /* outer product */
        f.fused = true;
        fast_random(&f, dtype, SHAPE(37), -1, 1);
        fast_random(&f, dtype, SHAPE(70), -1, 1);
        fast_check(&f, OP_DOT_GENERAL, WORDS(0, 0, 0, 0));
        fast_begin(&f); /* inner product */
        f.fused = true;
        f.abs = 1e-5;
        fast_random(&f, dtype, SHAPE(1000), -1, 1);
        fast_random(&f, dtype, SHAPE(1000), -1, 1);
        fast_check(&f, OP_DOT_GENERAL, WORDS(0, 0, INTS(&f.g, 0), INTS(&f.g, 0)));
        fast_begin(&f); /* only batch axes */
        f.fused = true;
        fast_random(&f, dtype, SHAPE(50, 3), -1, 1);
        fast_random(&f, dtype, SHAPE(3, 50), -1, 1);
        fast_check(&f, OP_DOT_GENERAL, WORDS(INTS(&f.g, 0, 1), INTS(&f.g, 1, 0), 0, 0));
    }
    fast_close(&f);
}

typedef struct ConvCase {
    int64_t n, c, o, groups, in[2], window[2], stride[2], low[2], high[2], xd[2], wd[2];
} ConvCase;

TEST(fast_convolution) {
    static const ConvCase cases[] = {
        {2, 3, 4, 1, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
        {2, 4, 6, 2, {9, 11}, {3, 2}, {2, 1}, {0, 1}, {1, 0}, {1, 1}, {1, 1}},
        {1, 2, 2, 1, {7, 8}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 3}, {1, 1}},
        {1, 2, 3, 1, {12, 13}, {3, 2}, {1, 2}, {2, 1}, {2, 1}, {1, 1}, {2, 3}},
        {1, 2, 3, 1, {12, 13}, {3, 2}, {1, 1}, {-2, 1}, {2, -3}, {1, 1}, {1, 1}},
        {3, 6, 6, 6, {10, 10}, {5, 5}, {1, 1}, {2, 2}, {2, 2}, {1, 1}, {1, 1}},
        {1, 3, 5, 1, {6, 6}, {1, 1}, {2, 2}, {0, 0}, {0, 0}, {1, 1}, {1, 1}},
        {2, 2, 3, 1, {6, 5}, {3, 3}, {2, 3}, {-1, 2}, {3, 1}, {3, 2}, {2, 1}},
        {4, 16, 32, 1, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    };
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t i = 0; i < LENGTH(cases); i++) {
            ConvCase c = cases[i];
            DimId    low[2], high[2];
            fast_begin(&f);
            f.fused = true;
            f.rel = dtypes[d] == DTYPE_F32 ? 2e-5 : 0;
            f.abs = dtypes[d] == DTYPE_F64 ? 1e-12 : dtypes[d] == DTYPE_F32 ? 2e-5 : 0.02;
            fast_random(&f, dtypes[d], SHAPE(c.n, c.c, c.in[0], c.in[1]), -1, 1);
            fast_random(&f, dtypes[d], SHAPE(c.o, c.c / c.groups, c.window[0], c.window[1]), -1, 1);
            for (int k = 0; k < 2; k++) {
                low[k] = dims_const(&f.g.world->dims, c.low[k]);
                high[k] = dims_const(&f.g.world->dims, c.high[k]);
            }
            fast_check(&f, OP_CONVOLUTION,
                       WORDS(INTS(&f.g, c.stride[0], c.stride[1]), build_sizes(&f.g.build, low, 2),
                             build_sizes(&f.g.build, high, 2), INTS(&f.g, c.xd[0], c.xd[1]),
                             INTS(&f.g, c.wd[0], c.wd[1]), (uint64_t)c.groups));
        }
    for (size_t d = 0; d < LENGTH(dtypes); d++) { /* one and three spatial axes */
        fast_begin(&f);
        f.fused = true;
        f.rel = 1e-4;
        f.abs = dtypes[d] == DTYPE_BF16 ? 0.02 : 2e-5;
        fast_random(&f, dtypes[d], SHAPE(2, 3, 40), -1, 1);
        fast_random(&f, dtypes[d], SHAPE(4, 3, 5), -1, 1);
        fast_check(&f, OP_CONVOLUTION,
                   WORDS(INTS(&f.g, 2), SIZES(&f.g, 2), SIZES(&f.g, 1), 0, 0, 1));
        fast_begin(&f);
        f.fused = true;
        f.rel = 1e-4;
        f.abs = dtypes[d] == DTYPE_BF16 ? 0.02 : 2e-5;
        fast_random(&f, dtypes[d], SHAPE(2, 3, 5, 6, 7), -1, 1);
        fast_random(&f, dtypes[d], SHAPE(4, 3, 2, 3, 3), -1, 1);
        fast_check(&f, OP_CONVOLUTION,
                   WORDS(INTS(&f.g, 1, 2, 1), SIZES(&f.g, 1, 0, 1), SIZES(&f.g, 0, 1, 1), 0, 0, 1));
    }
    fast_close(&f);
}
