/* The kernels of attention and of its gradient against the formulas in f64: shared key heads,
 * causal masks, sizes around those of tiles, strips and blocks, more queries than keys. */
#include <math.h>

#include "fast_check.h"

typedef struct Shape {
    int64_t batch, heads, key_heads, queries, keys, width, value_width;
    bool    causal;
    double  scale;
} Shape;
static const Shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, false, 0},      {2, 2, 2, 7, 5, 3, 2, false, 0},
    {1, 2, 1, 33, 33, 8, 8, true, 0},     {2, 4, 2, 17, 40, 16, 24, true, 0.3},
    {1, 3, 1, 50, 20, 5, 33, true, -0.2}, {1, 1, 1, 20, 601, 6, 9, false, 0},
    {1, 1, 1, 270, 270, 4, 4, true, 0.5}, {1, 20, 4, 40, 9, 4, 4, true, 0},
    {1, 1, 1, 5, 0, 4, 4, false, 0},      {2, 1, 1, 20, 40, 64, 64, true, 0},
};

/* Everything in f64, from operands rounded to the dtype. */
typedef struct Want {
    double *y, *lse, *dq, *dk, *dv;
} Want;
static double dot(const Tensor *a, int64_t at, const Tensor *b, int64_t bt, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += graph_number(a, at + i) * graph_number(b, bt + i);
    return sum;
}
static int64_t sees(const Shape *s, int64_t query) {
    int64_t count = s->causal ? query + 1 + s->keys - s->queries : s->keys;
    return count < 0 ? 0 : count;
}
/* Visits a query: its row in the tensors of queries, and the first row of its key head. */
typedef void VisitFn(const Shape *s, const Tensor *in, int64_t row, int64_t key, int64_t query,
                     double scale, Want *want);
static void  for_queries(const Shape *s, const Tensor *in, VisitFn *visit, Want *want) {
     double scale = s->scale != 0 ? s->scale : 1 / sqrt((double)s->width);
     for (int64_t row = 0; row < s->batch * s->heads * s->queries; row++) {
         int64_t head = row / s->queries;
         int64_t key_head =
             head / s->heads * s->key_heads + head % s->heads / (s->heads / s->key_heads);
         visit(s, in, row, key_head * s->keys, row % s->queries, scale, want);
    }
}
static void visit_forward(const Shape *s, const Tensor *in, int64_t row, int64_t key, int64_t query,
                          double scale, Want *want) {
    double sum = 0, top = -INFINITY, *y = want->y + row * s->value_width;
    for (int64_t e = 0; e < s->value_width; e++) y[e] = 0;
    for (int64_t j = 0; j < sees(s, query); j++)
        top =
            fmax(top, scale * dot(&in[0], row * s->width, &in[1], (key + j) * s->width, s->width));
    for (int64_t j = 0; j < sees(s, query); j++) {
        double score = dot(&in[0], row * s->width, &in[1], (key + j) * s->width, s->width);
        double p = exp(scale * score - top);
        sum += p;
        for (int64_t e = 0; e < s->value_width; e++)
            y[e] += p * graph_number(&in[2], (key + j) * s->value_width + e);
    }
    for (int64_t e = 0; e < s->value_width && sum > 0; e++) y[e] /= sum;
    want->lse[row] = sum > 0 ? top + log(sum) : -INFINITY;
}
/* in: q k v y lse dy [dlse] */
static void visit_back(const Shape *s, const Tensor *in, int64_t row, int64_t key, int64_t query,
                       double scale, Want *want) {
    int64_t w = s->width, u = s->value_width;
    double  delta = dot(&in[5], row * u, &in[3], row * u, u), lse = graph_number(&in[4], row);
    if (in[6].data != NULL) delta -= graph_number(&in[6], row);
    for (int64_t j = 0; j < sees(s, query); j++) {
        double p = exp(scale * dot(&in[0], row * w, &in[1], (key + j) * w, w) - lse);
        double ds = scale * p * (dot(&in[5], row * u, &in[2], (key + j) * u, u) - delta);
        for (int64_t d = 0; d < w; d++) {
            want->dq[row * w + d] += ds * graph_number(&in[1], (key + j) * w + d);
            want->dk[(key + j) * w + d] += ds * graph_number(&in[0], row * w + d);
        }
        for (int64_t e = 0; e < u; e++)
            want->dv[(key + j) * u + e] += p * graph_number(&in[5], row * u + e);
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
static void begin(Fast *f, const Shape *s, Dtype dtype, Want *want) {
    fast_begin(f);
    f->fused = true;
    f->rel = dtype == DTYPE_F64 ? 1e-11 : dtype == DTYPE_F32 ? 1e-5 : 2e-2;
    f->abs = dtype == DTYPE_F64 ? 1e-12 : dtype == DTYPE_F32 ? 4e-6 : 2e-2;
    fast_random(f, dtype, SHAPE(s->batch, s->heads, s->queries, s->width), -2, 2);
    fast_random(f, dtype, SHAPE(s->batch, s->key_heads, s->keys, s->width), -2, 2);
    fast_random(f, dtype, SHAPE(s->batch, s->key_heads, s->keys, s->value_width), -2, 2);
    int64_t rows = s->batch * s->heads * s->queries, keys = s->batch * s->key_heads * s->keys;
    *want = (Want){zeros(f, rows * s->value_width), zeros(f, rows), zeros(f, rows * s->width),
                   zeros(f, keys * s->width), zeros(f, keys * s->value_width)};
    for_queries(s, f->g.inputs, visit_forward, want);
}
static const Dtype floats[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_F16};

TEST(fast_attention) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t i = 0; i < LENGTH(shapes); i++) {
            const Shape *s = &shapes[i];
            Want         want;
            begin(&f, s, floats[d], &want);
            Tensor outs[2] = {rounded(&f, floats[d],
                                      SHAPE(s->batch, s->heads, s->queries, s->value_width),
                                      want.y),
                              rounded(&f, dtype_compute(floats[d]),
                                      SHAPE(s->batch, s->heads, s->queries), want.lse)};
            if (!fast_check_composite(&f, OP_ATTENTION, WORDS(word_of_f64(s->scale), s->causal),
                                      outs, 2))
                printf("  shape %zu\n", i);
        }
    fast_close(&f);
}

/* Without leading axes. */
TEST(fast_attention_of_matrices) {
    Fast f = fast_open(arena);
    fast_begin(&f);
    f.fused = true;
    fast_random(&f, DTYPE_F64, SHAPE(9, 4), -2, 2);
    fast_random(&f, DTYPE_F64, SHAPE(11, 4), -2, 2);
    fast_random(&f, DTYPE_F64, SHAPE(11, 3), -2, 2);
    f.rel = 1e-12;
    static const Shape s = {1, 1, 1, 9, 11, 4, 3, true, 0};
    Want               want = {zeros(&f, 27), zeros(&f, 9), NULL, NULL, NULL};
    for_queries(&s, f.g.inputs, visit_forward, &want);
    Tensor outs[2] = {rounded(&f, DTYPE_F64, SHAPE(9, 3), want.y),
                      rounded(&f, DTYPE_F64, SHAPE(9), want.lse)};
    fast_check_composite(&f, OP_ATTENTION, WORDS(word_of_f64(0), 1), outs, 2);
    fast_close(&f);
}

TEST(fast_attention_grad) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t i = 0; i < LENGTH(shapes) * 2; i++) {
            const Shape *s = &shapes[i / 2];
            Dtype        dtype = floats[d];
            Want         want;
            begin(&f, s, dtype, &want);
            f.g.inputs[f.g.inputs_count++] =
                rounded(&f, dtype, SHAPE(s->batch, s->heads, s->queries, s->value_width), want.y);
            f.g.inputs[f.g.inputs_count++] =
                rounded(&f, dtype_compute(dtype), SHAPE(s->batch, s->heads, s->queries), want.lse);
            fast_random(&f, dtype, SHAPE(s->batch, s->heads, s->queries, s->value_width), -1, 1);
            if (i % 2)
                fast_random(&f, dtype_compute(dtype), SHAPE(s->batch, s->heads, s->queries), -1, 1);
            f.abs *= dtype == DTYPE_BF16 ? 20 : 10; /* sums over many queries */
            f.g.inputs[6].data = i % 2 ? f.g.inputs[6].data : NULL;
            for_queries(s, f.g.inputs, visit_back, &want);
            Tensor outs[3] = {
                rounded(&f, dtype, SHAPE(s->batch, s->heads, s->queries, s->width), want.dq),
                rounded(&f, dtype, SHAPE(s->batch, s->key_heads, s->keys, s->width), want.dk),
                rounded(&f, dtype, SHAPE(s->batch, s->key_heads, s->keys, s->value_width),
                        want.dv)};
            if (!fast_check_composite(&f, OP_ATTENTION_GRAD,
                                      WORDS(word_of_f64(s->scale), s->causal), outs, 3))
                printf("  shape %zu\n", i / 2);
        }
    fast_close(&f);
}
