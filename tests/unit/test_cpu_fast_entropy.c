/* The kernels of linear_cross_entropy and of its gradient against the formulas in f64: labels that
 * are no class, sizes around those of tiles, strips, slabs and chunks. */
#include <math.h>

#include "fast_check.h"

typedef struct Sizes {
    int64_t rows, classes, width;
} Sizes;
static const Sizes sizes[] = {{1, 1, 1},     {5, 3, 2}, {33, 70, 9}, {7, 600, 20}, {300, 9, 5},
                              {70, 40, 300}, {2, 0, 3}, {0, 5, 4},   {2100, 7, 3}};
static const Dtype floats[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_F16};
static const Dtype label_dtypes[] = {DTYPE_I64, DTYPE_I32, DTYPE_U8};

/* Everything in f64, from operands rounded to the dtype: x weight labels [lse dlosses [dlse]]. */
typedef struct Want {
    double *losses, *lse, *dx, *dweight;
} Want;
static double logit(const Sizes *s, const Tensor *in, int64_t row, int64_t class) {
    double sum = 0;
    for (int64_t i = 0; i < s->width; i++)
        sum +=
            graph_number(&in[0], row * s->width + i) * graph_number(&in[1], class * s->width + i);
    return sum;
}
static void want_forward(const Sizes *s, const Tensor *in, Want *want) {
    for (int64_t row = 0; row < s->rows; row++) {
        double  sum = 0, top = -INFINITY;
        int64_t label = (int64_t)graph_number(&in[2], row);
        for (int64_t c = 0; c < s->classes; c++) top = fmax(top, logit(s, in, row, c));
        for (int64_t c = 0; c < s->classes; c++) sum += exp(logit(s, in, row, c) - top);
        want->lse[row] = s->classes > 0 ? top + log(sum) : -INFINITY;
        want->losses[row] = 0;
        if (label >= 0 && label < s->classes)
            want->losses[row] = want->lse[row] - logit(s, in, row, label);
    }
}
static void want_backward(const Sizes *s, const Tensor *in, bool has_dlse, Want *want) {
    for (int64_t row = 0; row < s->rows; row++) {
        int64_t label = (int64_t)graph_number(&in[2], row);
        bool    valid = label >= 0 && label < s->classes;
        double  mine = valid ? graph_number(&in[4], row) : 0;
        double  all = mine + (has_dlse ? graph_number(&in[5], row) : 0);
        for (int64_t c = 0; c < s->classes; c++) {
            double dz = all * exp(logit(s, in, row, c) - graph_number(&in[3], row));
            if (c == label) dz -= mine;
            for (int64_t i = 0; i < s->width; i++) {
                want->dx[row * s->width + i] += dz * graph_number(&in[1], c * s->width + i);
                want->dweight[c * s->width + i] += dz * graph_number(&in[0], row * s->width + i);
            }
        }
    }
}

static Tensor rounded(Fast *f, Dtype dtype, const int64_t *shape, uint32_t rank,
                      const double *numbers) {
    Tensor x = graph_tensor(f->arena, dtype, shape, rank, NUMBERS(0));
    for (int64_t i = 0; i < tensor_elements(&x); i++)
        (void)const_encode(dtype, numbers[i], (char *)x.data + i * (int64_t)dtype_bytes(dtype));
    return x;
}
static double *zeros(Fast *f, int64_t count) {
    return ARENA_ARRAY_ZERO(f->arena, double, (size_t)count + 1);
}
static void begin(Fast *f, const Sizes *s, Dtype dtype, Dtype labels, Want *want) {
    fast_begin(f);
    f->fused = true;
    f->rel = dtype == DTYPE_F64 ? 1e-11 : dtype == DTYPE_F32 ? 1e-5 : 2e-2;
    f->abs = dtype == DTYPE_F64 ? 1e-12 : dtype == DTYPE_F32 ? 4e-6 : 2e-2;
    fast_random(f, dtype, SHAPE(s->rows, s->width), -1, 1);
    fast_random(f, dtype, SHAPE(s->classes, s->width), -1, 1);
    fast_random(f, labels, SHAPE(s->rows), labels == DTYPE_U8 ? 0 : -1, (double)s->classes + 1);
    *want = (Want){zeros(f, s->rows), zeros(f, s->rows), zeros(f, s->rows * s->width),
                   zeros(f, s->classes * s->width)};
    want_forward(s, f->g.inputs, want);
}

TEST(fast_linear_cross_entropy) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t i = 0; i < LENGTH(sizes); i++) {
            const Sizes *s = &sizes[i];
            Want         want;
            begin(&f, s, floats[d], label_dtypes[i % LENGTH(label_dtypes)], &want);
            Tensor outs[2] = {rounded(&f, floats[d], SHAPE(s->rows), want.losses),
                              rounded(&f, dtype_compute(floats[d]), SHAPE(s->rows), want.lse)};
            if (!fast_check_composite(&f, OP_LINEAR_CROSS_ENTROPY, NULL, outs, 2))
                printf("  sizes %zu\n", i);
        }
    fast_close(&f);
}

TEST(fast_linear_cross_entropy_grad) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t i = 0; i < LENGTH(sizes) * 2; i++) {
            const Sizes *s = &sizes[i / 2];
            Dtype        dtype = floats[d];
            Want         want;
            begin(&f, s, dtype, label_dtypes[i % LENGTH(label_dtypes)], &want);
            f.g.inputs[f.g.inputs_count++] =
                rounded(&f, dtype_compute(dtype), SHAPE(s->rows), want.lse);
            fast_random(&f, dtype, SHAPE(s->rows), -1, 1);
            if (i % 2) fast_random(&f, dtype_compute(dtype), SHAPE(s->rows), -1, 1);
            f.abs *= dtype == DTYPE_BF16 ? 20 : 10; /* sums over many rows or classes */
            want_backward(s, f.g.inputs, i % 2 != 0, &want);
            Tensor outs[2] = {rounded(&f, dtype, SHAPE(s->rows, s->width), want.dx),
                              rounded(&f, dtype, SHAPE(s->classes, s->width), want.dweight)};
            if (!fast_check_composite(&f, OP_LINEAR_CROSS_ENTROPY_GRAD, NULL, outs, 2))
                printf("  sizes %zu\n", i / 2);
        }
    fast_close(&f);
}
