/* Composites with kernels of their own against their formulas in f64, and the places where lanes
 * must meet: several launches in one plan. */
#include <math.h>

#include "fast_check.h"

static const Dtype floats[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16};

static Tensor like(Fast *f, const Tensor *x) {
    Tensor y = *x;
    y.data = arena_push(f->arena, tensor_bytes(x) + 8, 16);
    return y;
}
static void put(Tensor *y, int64_t i, double number) {
    (void)const_encode(y->dtype, number, (char *)y->data + i * (int64_t)dtype_bytes(y->dtype));
}
static void loosen(Fast *f, Dtype dtype) {
    f->rel = dtype == DTYPE_F32 ? 2e-6 : 8 * graph_tolerance(dtype);
    f->abs = dtype == DTYPE_F32 ? 1e-6 : dtype == DTYPE_F64 ? 1e-13 : 1e-2;
}

static double normal(double x) { return 0.5 * (1 + erf(x / sqrt(2))); }
static double gelu(double x) { return x * normal(x); }
static double gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double silu(double x) { return x / (1 + exp(-x)); }
static double softplus(double x) { return log1p(exp(-fabs(x))) + fmax(x, 0); }
static double square(double x) { return x * x; }
static double reciprocal(double x) { return 1 / x; }
static double relu(double x) { return fmax(x, 0); }

TEST(fast_unary_composites) {
    static const struct {
        Opcode opcode;
        double (*formula)(double);
        uint64_t attr;
    } ops[] = {{OP_GELU, gelu, 0},
               {OP_GELU, gelu_tanh, 1},
               {OP_SILU, silu, 0},
               {OP_SOFTPLUS, softplus, 0},
               {OP_SQUARE, square, 0},
               {OP_RELU, relu, 0},
               {OP_RECIPROCAL, reciprocal, 0}};
    Fast f = fast_open(arena);
    for (size_t i = 0; i < LENGTH(ops); i++)
        for (size_t d = 0; d < LENGTH(floats); d++) {
            fast_begin(&f);
            loosen(&f, floats[d]);
            fast_random(&f, floats[d], SHAPE(65, 3, 37), -4, 4);
            Tensor y = like(&f, &f.g.inputs[0]);
            for (int64_t k = 0; k < tensor_elements(&y); k++)
                put(&y, k, ops[i].formula(graph_number(&f.g.inputs[0], k)));
            fast_check_composite(&f, ops[i].opcode, WORDS(ops[i].attr), &y, 1);
        }
    fast_close(&f);
}

static void check_softmax(Fast *f, Dtype dtype, const int64_t *shape, uint32_t rank,
                          uint32_t axis) {
    for (int logs = 0; logs < 2; logs++) {
        fast_begin(f);
        loosen(f, dtype);
        fast_random(f, dtype, shape, rank, -6, 6);
        const Tensor *x = &f->g.inputs[0];
        Tensor        y = like(f, x);
        int64_t       inner = 1, n = shape[axis];
        for (uint32_t i = axis + 1; i < rank; i++) inner *= shape[i];
        for (int64_t i = 0; i < tensor_elements(x); i++) {
            int64_t first = i / (inner * n) * inner * n + i % inner;
            double  sum = 0, top = -INFINITY;
            for (int64_t k = 0; k < n; k++) top = fmax(top, graph_number(x, first + k * inner));
            for (int64_t k = 0; k < n; k++) sum += exp(graph_number(x, first + k * inner) - top);
            double log_y = graph_number(x, i) - top - log(sum);
            put(&y, i, logs ? log_y : exp(log_y));
        }
        fast_check_composite(f, logs ? OP_LOG_SOFTMAX : OP_SOFTMAX, WORDS(axis), &y, 1);
    }
}
TEST(fast_softmax) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++) {
        check_softmax(&f, floats[d], SHAPE(37, 130), 1);
        check_softmax(&f, floats[d], SHAPE(300, 1), 1);
        check_softmax(&f, floats[d], SHAPE(5, 33, 7), 1);
        check_softmax(&f, floats[d], SHAPE(1000), 0);
    }
    fast_close(&f);
}

TEST(fast_norms) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (int64_t n = 1; n < 800; n = n * 3 + 1)
            for (int rms = 0; rms < 2; rms++) {
                fast_begin(&f);
                loosen(&f, floats[d]);
                fast_random(&f, floats[d], SHAPE(3, 31, n), -3, 5);
                fast_random(&f, floats[d], SHAPE(n), -1, 1);
                if (!rms) fast_random(&f, floats[d], SHAPE(n), -1, 1);
                const Tensor *x = &f.g.inputs[0];
                Tensor        y = like(&f, x);
                for (int64_t row = 0; row < 93; row++) {
                    double sum = 0, squares = 0;
                    for (int64_t i = 0; i < n; i++) sum += graph_number(x, row * n + i);
                    double mean = rms ? 0 : sum / (double)n;
                    for (int64_t i = 0; i < n; i++)
                        squares += square(graph_number(x, row * n + i) - mean);
                    double scale = 1 / sqrt(squares / (double)n + 1e-5);
                    for (int64_t i = 0; i < n; i++)
                        put(&y, row * n + i,
                            (graph_number(x, row * n + i) - mean) * scale *
                                    graph_number(&f.g.inputs[1], i) +
                                (rms ? 0 : graph_number(&f.g.inputs[2], i)));
                }
                fast_check_composite(&f, rms ? OP_RMS_NORM : OP_LAYER_NORM,
                                     WORDS(word_of_f64(1e-5)), &y, 1);
            }
    fast_close(&f);
}

TEST(fast_cross_entropy) {
    static const Dtype labels[] = {DTYPE_I32, DTYPE_I64, DTYPE_U8};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t l = 0; l < LENGTH(labels); l++) {
            fast_begin(&f);
            loosen(&f, floats[d]);
            fast_random(&f, floats[d], SHAPE(7, 9, 77), -6, 6);
            fast_random(&f, labels[l], SHAPE(7, 9), labels[l] == DTYPE_U8 ? 0 : -1, 79);
            const Tensor *x = &f.g.inputs[0];
            Tensor        y = graph_tensor(arena, floats[d], SHAPE(7, 9), NUMBERS(0));
            for (int64_t row = 0; row < 63; row++) {
                double  sum = 0;
                int64_t label = (int64_t)graph_number(&f.g.inputs[1], row);
                for (int64_t i = 0; i < 77; i++) sum += exp(graph_number(x, row * 77 + i));
                put(&y, row,
                    label < 0 || label >= 77 ? 0 : log(sum) - graph_number(x, row * 77 + label));
            }
            fast_check_composite(&f, OP_CROSS_ENTROPY, NULL, &y, 1);
        }
    fast_close(&f);
}

TEST(fast_adamw) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (int alias = 0; alias < 2; alias++)
            for (int64_t n = 1; n < 30000; n = n * 7 + 1) {
                fast_begin(&f);
                loosen(&f, floats[d]);
                for (int k = 0; k < 4; k++)
                    fast_random(&f, floats[d], SHAPE(n), k == 3 ? 0.1 : -1, 1);
                graph_input(&f.g, floats[d], SCALAR, NUMBERS(0.125));
                graph_input(&f.g, floats[d], SCALAR, NUMBERS(3));
                const Tensor *in = f.g.inputs;
                Tensor        want[3] = {like(&f, in), like(&f, in), like(&f, in)};
                double        rate = graph_number(&in[4], 0);
                for (int64_t i = 0; i < n; i++) {
                    double p = graph_number(&in[0], i), g = graph_number(&in[1], i);
                    double m = 0.9 * graph_number(&in[2], i) + (1 - 0.9) * g;
                    double v = 0.99 * graph_number(&in[3], i) + (1 - 0.99) * g * g;
                    p *= 1 - rate * 0.01;
                    p -= rate * (m / (1 - pow(0.9, 3))) / (sqrt(v / (1 - pow(0.99, 3))) + 1e-8);
                    put(&want[0], i, p);
                    put(&want[1], i, m);
                    put(&want[2], i, v);
                }
                f.alias[0] = alias ? 0 : -1;
                f.alias[1] = alias ? 2 : -1;
                f.alias[2] = alias ? 3 : -1;
                fast_check_composite(&f, OP_ADAMW,
                                     WORDS(word_of_f64(0.9), word_of_f64(0.99), word_of_f64(1e-8),
                                           word_of_f64(0.01)),
                                     want, 3);
            }
    fast_close(&f);
}

TEST(fast_sgd) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (uint64_t nesterov = 0; nesterov < 2; nesterov++) {
            fast_begin(&f);
            loosen(&f, floats[d]);
            for (int k = 0; k < 3; k++) fast_random(&f, floats[d], SHAPE(77, 130), -1, 1);
            graph_input(&f.g, floats[d], SCALAR, NUMBERS(0.125));
            const Tensor *in = f.g.inputs;
            Tensor        want[2] = {like(&f, in), like(&f, in)};
            for (int64_t i = 0; i < tensor_elements(in); i++) {
                double p = graph_number(&in[0], i), g = graph_number(&in[1], i) + 0.01 * p;
                double b = 0.9 * graph_number(&in[2], i) + g;
                put(&want[0], i, p - 0.125 * (nesterov ? g + 0.9 * b : b));
                put(&want[1], i, b);
            }
            f.alias[0] = 0;
            f.alias[1] = 2;
            fast_check_composite(&f, OP_SGD, WORDS(word_of_f64(0.9), word_of_f64(0.01), nesterov),
                                 want, 2);
        }
    fast_close(&f);
}

TEST(fast_global_norm) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++) {
        double sum = 0;
        fast_begin(&f);
        loosen(&f, floats[d]);
        fast_random(&f, floats[d], SHAPE(300, 130), -1, 1);
        fast_random(&f, floats[d], SHAPE(7), -1, 1);
        fast_random(&f, floats[d], SHAPE(0), -1, 1);
        fast_random(&f, floats[d], SHAPE(70000), -1, 1);
        for (uint32_t k = 0; k < 4; k++)
            for (int64_t i = 0; i < tensor_elements(&f.g.inputs[k]); i++)
                sum += square(graph_number(&f.g.inputs[k], i));
        Tensor y = graph_tensor(arena, floats[d], SCALAR, NUMBERS(sqrt(sum)));
        fast_check_composite(&f, OP_GLOBAL_NORM, NULL, &y, 1);
    }
    fast_close(&f);
}

TEST(fast_linear) {
    static const int64_t shapes[][3] = {{7, 5, 3},      {64, 130, 70}, {300, 33, 257},
                                        {1, 768, 40}, {19, 300, 150}};
    Fast                 f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++)
        for (size_t i = 0; i < LENGTH(shapes) * 2; i++) {
            int64_t m = shapes[i / 2][0], n = shapes[i / 2][1], k = shapes[i / 2][2];
            bool    biased = i % 2 == 0;
            fast_begin(&f);
            loosen(&f, floats[d]);
            f.fused = true;
            f.abs = floats[d] == DTYPE_F32 ? 1e-4 : floats[d] == DTYPE_F64 ? 1e-12 : 0.1;
            fast_random(&f, floats[d], SHAPE(m, k), -1, 1);
            fast_random(&f, floats[d], SHAPE(n, k), -1, 1);
            if (biased) fast_random(&f, floats[d], SHAPE(n), -1, 1);
            Tensor y = graph_tensor(f.arena, floats[d], SHAPE(m, n), NUMBERS(0));
            for (int64_t at = 0; at < m * n; at++) {
                double sum = biased ? graph_number(&f.g.inputs[2], at % n) : 0;
                for (int64_t j = 0; j < k; j++)
                    sum += graph_number(&f.g.inputs[0], at / n * k + j) *
                           graph_number(&f.g.inputs[1], at % n * k + j);
                put(&y, at, sum);
            }
            fast_check_composite(&f, OP_LINEAR, NULL, &y, 1);
        }
    fast_close(&f);
}
