/* The values of composites: their expansions against the textbook formulas, written out here in
 * plain loops. Their derivatives are compared with finite differences of these expansions, so both
 * tests together tie the gradients to the formulas. */
#include "script.h"
#include "tables/philox.h"

enum { ROWS = 3, COLUMNS = 4, SIZE = ROWS * COLUMNS };
static const double x_numbers[SIZE] = {0.3,  -1.2, 2.5, 0.7, -0.4, 1.9,
                                       -2.2, 0.1,  1.4, 0.6, -0.9, 3.1};
static const double pi = 3.14159265358979323846;

/* One graph of x[B,4]; its first output. */
static void expect_of_x(Arena *arena, const char *body, double tolerance, const double *wanted,
                        uint32_t count) {
    Script s = script_open(
        arena, str_format(arena, "graph f(%%x: f64[B,4]) {\n  %s\n  return %%z\n}\n", body).data);
    script_input(&s, SHAPE(ROWS, COLUMNS), x_numbers, SIZE);
    script_expect(&s, 0, tolerance, wanted, count);
    script_close(&s);
}

/* --- one element ------------------------------------------------------------------------------ */
static double square(double x) { return x * x; }
static double reciprocal(double x) { return 1 / x; }
static double relu(double x) { return x > 0 ? x : 0; }
static double gelu(double x) { return x * 0.5 * erfc(-x / sqrt(2)); }
static double gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}
static double silu(double x) { return x / (1 + exp(-x)); }
static double softplus(double x) { return log1p(exp(x)); }
static void   expect_each(Arena *arena, const char *body, double (*formula)(double x)) {
      double wanted[SIZE];
      for (uint32_t i = 0; i < SIZE; i++) wanted[i] = formula(x_numbers[i]);
    expect_of_x(arena, body, 1e-14, wanted, SIZE);
}
TEST(activations) {
    expect_each(arena, "%z = square %x", square);
    expect_each(arena, "%z = reciprocal %x", reciprocal);
    expect_each(arena, "%z = relu %x", relu);
    expect_each(arena, "%z = gelu %x", gelu);
    expect_each(arena, "%z = gelu %x {tanh=true}", gelu_tanh);
    expect_each(arena, "%z = silu %x", silu);
    expect_each(arena, "%z = softplus %x", softplus);
}

/* --- rows ------------------------------------------------------------------------------------- */
TEST(averages) {
    double rows[ROWS] = {0}, columns[COLUMNS] = {0}, all = 0;
    for (uint32_t i = 0; i < SIZE; i++) {
        rows[i / COLUMNS] += x_numbers[i] / COLUMNS;
        columns[i % COLUMNS] += x_numbers[i] / ROWS;
        all += x_numbers[i] / SIZE;
    }
    expect_of_x(arena, "%z = mean %x {axes=[1]}", 1e-14, rows, ROWS);
    expect_of_x(arena, "%z = mean %x {axes=[0]}", 1e-14, columns, COLUMNS);
    expect_of_x(arena, "%z = mean %x {axes=[0,1]}", 1e-14, &all, 1);
}
TEST(softmaxes) {
    double sums[ROWS] = {0}, softmax[SIZE], log_softmax[SIZE], logsumexp[ROWS], all = 0;
    for (uint32_t i = 0; i < SIZE; i++) sums[i / COLUMNS] += exp(x_numbers[i]);
    for (uint32_t i = 0; i < SIZE; i++) {
        softmax[i] = exp(x_numbers[i]) / sums[i / COLUMNS];
        log_softmax[i] = x_numbers[i] - log(sums[i / COLUMNS]);
    }
    for (uint32_t i = 0; i < ROWS; i++) logsumexp[i] = log(sums[i]), all += sums[i];
    all = log(all);
    expect_of_x(arena, "%z = softmax %x {axis=1}", 1e-14, softmax, SIZE);
    expect_of_x(arena, "%z = log_softmax %x {axis=1}", 1e-14, log_softmax, SIZE);
    expect_of_x(arena, "%z = logsumexp %x {axes=[1]}", 1e-14, logsumexp, ROWS);
    expect_of_x(arena, "%z = logsumexp %x {axes=[0,1]}", 1e-14, &all, 1);
}
TEST(cross_entropy_of_labels) {
    double losses[ROWS] = {0};
    for (uint32_t r = 0; r < ROWS - 1; r++) {
        double sum = 0;
        for (uint32_t c = 0; c < COLUMNS; c++) sum += exp(x_numbers[r * COLUMNS + c]);
        losses[r] = log(sum) - x_numbers[r * COLUMNS + (r == 0 ? 2 : 0)];
    }
    Script s = script_open(arena, "graph f(%x: f64[B,4], %i: i32[B]) {\n"
                                  "  %z = cross_entropy %x, %i\n  return %z\n}\n");
    script_input(&s, SHAPE(ROWS, COLUMNS), x_numbers, SIZE);
    script_input_of(&s, DTYPE_I32, SHAPE(ROWS), NUMBERS(2, 0, 9)); /* 9 is no class: loss 0 */
    script_expect(&s, 0, 1e-14, losses, ROWS);
    script_close(&s);
}
/* More classes than the dtype of the indices can count: 44 must not also mean 44 + 256. */
TEST(narrow_indices_of_many_classes) {
    Script s = script_open(arena, "graph f(%i: u8[2], %j: i8[2], %x: f64[2,300]) {\n"
                                  "  %h = one_hot %i {size=300, dtype=f64}\n"
                                  "  %k = one_hot %j {size=300, dtype=f64}\n"
                                  "  %a = reduce %h {kind=sum, axes=[1]}\n"
                                  "  %b = reduce %k {kind=sum, axes=[1]}\n"
                                  "  %l = cross_entropy %x, %i\n"
                                  "  %s = reduce %l {kind=sum, axes=[0]}\n"
                                  "  %g = gradient %s, %x\n"
                                  "  %c = reduce %g {kind=sum, axes=[1]}\n"
                                  "  return %a, %b, %c\n}\n");
    script_input_of(&s, DTYPE_U8, SHAPE(2), NUMBERS(44, 255));
    script_input_of(&s, DTYPE_U8, SHAPE(2), NUMBERS(5, 255))->dtype = DTYPE_I8; /* 255 is -1 */
    script_input(&s, SHAPE(2, 300), NUMBERS(0.1, 0.2, 0.3));
    script_expect(&s, 0, 0, NUMBERS(1, 1));
    script_expect(&s, 1, 0, NUMBERS(1, 0));
    script_expect(&s, 2, 1e-13, NUMBERS(0, 0)); /* softmax sums to 1, and so does the label */
    script_close(&s);
}

/* --- normalisation ---------------------------------------------------------------------------- */
TEST(norms_of_rows) {
    static const double w[COLUMNS] = {1, -2, 0.5, 3}, b[COLUMNS] = {0.1, 0.2, 0.3, 0.4};
    double              layer[SIZE], rms[SIZE], total = 0;
    for (uint32_t r = 0; r < ROWS; r++) {
        const double *x = x_numbers + r * COLUMNS;
        double        mean = 0, var = 0, squares = 0;
        for (uint32_t c = 0; c < COLUMNS; c++) mean += x[c] / COLUMNS;
        for (uint32_t c = 0; c < COLUMNS; c++) {
            var += (x[c] - mean) * (x[c] - mean) / COLUMNS;
            squares += x[c] * x[c] / COLUMNS;
        }
        for (uint32_t c = 0; c < COLUMNS; c++) {
            layer[r * COLUMNS + c] = (x[c] - mean) / sqrt(var + 0.01) * w[c] + b[c];
            rms[r * COLUMNS + c] = x[c] / sqrt(squares + 1e-5) * w[c];
        }
        total += squares * COLUMNS;
    }
    total = sqrt(total);
    expect_of_x(arena,
                "%w = constant {value=f64[4] [1, -2, 0.5, 3]}"
                "  %b = constant {value=f64[4] [0.1, 0.2, 0.3, 0.4]}"
                "  %z = layer_norm %x, %w, %b {epsilon=0.01}",
                1e-14, layer, SIZE);
    expect_of_x(arena, "%w = constant {value=f64[4] [1, -2, 0.5, 3]}  %z = rms_norm %x, %w", 1e-14,
                rms, SIZE);
    expect_of_x(arena, "%z = global_norm %x", 1e-14, &total, 1);
}
/* x[2,2,3]: statistics over batch and space; the running variance takes the unbiased one. */
TEST(batch_norm_statistics) {
    Script s = script_open(
        arena, "graph f(%x: f64[N,2,T], %w: f64[2], %b: f64[2], %m: f64[2], %v: f64[2]) {\n"
               "  %y, %p, %q = batch_norm %x, %w, %b, %m, %v {momentum=0.25, epsilon=0.5}\n"
               "  %z, %r, %u = batch_norm %x, %w, %b, %m, %v {training=false, epsilon=0.5}\n"
               "  return %y, %p, %q, %z, %r, %u\n}\n");
    static const double w[2] = {2, -1}, b[2] = {0.5, 1}, m[2] = {0.2, -0.3}, v[2] = {1.5, 0.7};
    double trained[SIZE], applied[SIZE], means[2] = {0}, vars[2] = {0}, new_mean[2], new_var[2];
    for (uint32_t i = 0; i < SIZE; i++) means[i / 3 % 2] += x_numbers[i] / 6;
    for (uint32_t i = 0; i < SIZE; i++)
        vars[i / 3 % 2] += square(x_numbers[i] - means[i / 3 % 2]) / 6;
    for (uint32_t i = 0; i < SIZE; i++) {
        uint32_t c = i / 3 % 2;
        trained[i] = (x_numbers[i] - means[c]) / sqrt(vars[c] + 0.5) * w[c] + b[c];
        applied[i] = (x_numbers[i] - m[c]) / sqrt(v[c] + 0.5) * w[c] + b[c];
    }
    for (uint32_t c = 0; c < 2; c++) {
        new_mean[c] = 0.75 * m[c] + 0.25 * means[c];
        new_var[c] = 0.75 * v[c] + 0.25 * vars[c] * 6 / 5;
    }
    script_input(&s, SHAPE(2, 2, 3), x_numbers, SIZE);
    script_input(&s, SHAPE(2), w, 2);
    script_input(&s, SHAPE(2), b, 2);
    script_input(&s, SHAPE(2), m, 2);
    script_input(&s, SHAPE(2), v, 2);
    script_expect(&s, 0, 1e-14, trained, SIZE);
    script_expect(&s, 1, 1e-14, new_mean, 2);
    script_expect(&s, 2, 1e-14, new_var, 2);
    script_expect(&s, 3, 1e-14, applied, SIZE);
    script_expect(&s, 4, 0, m, 2);
    script_expect(&s, 5, 0, v, 2);
    script_close(&s);
}

/* --- products and attention ------------------------------------------------------------------- */
TEST(products) {
    static const double w[8] = {1, 2, 3, 4, -1, 0.5, 2, 0.1}, b[2] = {0.5, -0.5};
    double              linear[ROWS * 2], matmul[ROWS * 2];
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t o = 0; o < 2; o++) {
            double by_rows = b[o], by_columns = 0;
            for (uint32_t c = 0; c < COLUMNS; c++) {
                by_rows += x_numbers[r * COLUMNS + c] * w[o * COLUMNS + c];
                by_columns += x_numbers[r * COLUMNS + c] * w[c * 2 + o];
            }
            linear[r * 2 + o] = by_rows;
            matmul[r * 2 + o] = by_columns;
        }
    Script s = script_open(arena, "graph f(%x: f64[B,4], %w: f64[2,4], %b: f64[2]) {\n"
                                  "  %y = linear %x, %w, %b  %v = reshape %w {shape=[4,2]}\n"
                                  "  %z = matmul %x, %v  return %y, %z\n}\n");
    script_input(&s, SHAPE(ROWS, COLUMNS), x_numbers, SIZE);
    script_input(&s, SHAPE(2, 4), w, 8);
    script_input(&s, SHAPE(2), b, 2);
    script_expect(&s, 0, 1e-14, linear, ROWS * 2);
    script_expect(&s, 1, 1e-14, matmul, ROWS * 2);
    script_close(&s);
}
TEST(embedding_of_indices) {
    double wanted[16] = {0};
    for (uint32_t c = 0; c < COLUMNS; c++) {
        wanted[c] = x_numbers[2 * COLUMNS + c];
        wanted[COLUMNS + c] = x_numbers[c]; /* the others are outside: zero */
    }
    expect_of_x(arena, "%i = constant {value=i64[2,2] [2, 0, -1, 3]}  %z = embedding %x, %i", 0,
                wanted, 16);
}
/* q[T,2], k[S,2], v[S,2], with and without the causal mask: y and lse. */
static void attention(const double *q, const double *k, const double *v, int64_t queries,
                      int64_t keys, double scale, bool causal, double *out, double *lse) {
    for (int64_t i = 0; i < queries; i++) {
        double sum = 0, first = 0, second = 0;
        for (int64_t j = 0; j < keys; j++) {
            if (causal && j > i + keys - queries) continue;
            double p = exp(scale * (q[i * 2] * k[j * 2] + q[i * 2 + 1] * k[j * 2 + 1]));
            sum += p;
            first += p * v[j * 2];
            second += p * v[j * 2 + 1];
        }
        out[i * 2] = sum > 0 ? first / sum : 0;
        out[i * 2 + 1] = sum > 0 ? second / sum : 0;
        lse[i] = log(sum);
    }
}
static const char attention_program[] =
    "graph f(%q: f64[T,2], %k: f64[S,2], %v: f64[S,2]) {\n"
    "  %a, %al = attention %q, %k, %v\n"
    "  %b, %bl = attention %q, %k, %v {causal=true, scale=0.4}\n"
    "  return %a, %al, %b, %bl\n}\n";
/* More queries than keys: the first see none. */
TEST(attention_with_and_without_mask) {
    for (int64_t queries = 1; queries <= 6; queries++) {
        Script        s = script_open(arena, attention_program);
        const double *q = x_numbers, *k = x_numbers + 1, *v = x_numbers + 3;
        double        plain[12], masked[12], plain_lse[6], masked_lse[6];
        uint32_t      count = (uint32_t)queries;
        attention(q, k, v, queries, 4, 1 / sqrt(2), false, plain, plain_lse);
        attention(q, k, v, queries, 4, 0.4, true, masked, masked_lse);
        script_input(&s, SHAPE(queries, 2), q, count * 2);
        script_input(&s, SHAPE(4, 2), k, 8);
        script_input(&s, SHAPE(4, 2), v, 8);
        script_expect(&s, 0, 1e-14, plain, count * 2);
        script_expect(&s, 1, 1e-14, plain_lse, count);
        script_expect(&s, 2, 1e-14, masked, count * 2);
        script_expect(&s, 3, 1e-14, masked_lse, count);
        script_close(&s);
    }
}
/* Heads 0 and 1 of the queries use head 0 of the keys, 2 and 3 head 1. */
TEST(attention_shares_key_heads) {
    enum { QUERIES = 2, KEYS = 3, HEADS = 4 };
    double k[2 * KEYS * 2], v[2 * KEYS * 2], q[HEADS * QUERIES * 2];
    double y[HEADS * QUERIES * 2], lse[HEADS * QUERIES];
    for (int i = 0; i < 2 * KEYS * 2; i++) {
        k[i] = sin(i + 1.0);
        v[i] = cos(3.0 * i);
    }
    for (int i = 0; i < HEADS * QUERIES * 2; i++) q[i] = sin(0.7 * i);
    for (int64_t h = 0; h < HEADS; h++)
        attention(q + h * QUERIES * 2, k + h / 2 * KEYS * 2, v + h / 2 * KEYS * 2, QUERIES, KEYS,
                  1 / sqrt(2), true, y + h * QUERIES * 2, lse + h * QUERIES);
    Script s = script_open(arena, "graph f(%q: f64[H*2,T,2], %k: f64[H,S,2], %v: f64[H,S,2]) {\n"
                                  "  %y, %lse = attention %q, %k, %v {causal=true}\n"
                                  "  return %y, %lse\n}\n");
    script_input(&s, SHAPE(HEADS, QUERIES, 2), q, LENGTH(q));
    script_input(&s, SHAPE(2, KEYS, 2), k, LENGTH(k));
    script_input(&s, SHAPE(2, KEYS, 2), v, LENGTH(v));
    script_expect(&s, 0, 1e-14, y, LENGTH(y));
    script_expect(&s, 1, 1e-14, lse, LENGTH(lse));
    script_close(&s);
}
TEST(linear_cross_entropy_is_that_of_the_layer) {
    enum { CLASSES = 5 };
    static const double labels[4] = {0, 4, -1, 5};
    double              w[CLASSES * 2], losses[4], lse[4];
    for (int i = 0; i < CLASSES * 2; i++) w[i] = cos(1.3 * i);
    for (int row = 0; row < 4; row++) {
        double z[CLASSES], sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = x_numbers[row * 2] * w[c * 2] + x_numbers[row * 2 + 1] * w[c * 2 + 1];
            sum += exp(z[c]);
        }
        lse[row] = log(sum);
        losses[row] = row < 2 ? lse[row] - z[(int)labels[row]] : 0;
    }
    Script s = script_open(arena, "graph f(%x: f64[B,2], %w: f64[V,2], %i: i64[B]) {\n"
                                  "  %z, %l = linear_cross_entropy %x, %w, %i\n"
                                  "  return %z, %l\n}\n");
    script_input(&s, SHAPE(4, 2), x_numbers, 8);
    script_input(&s, SHAPE(CLASSES, 2), w, LENGTH(w));
    script_input_of(&s, DTYPE_I64, SHAPE(4), labels, 4);
    script_expect(&s, 0, 1e-14, losses, 4);
    script_expect(&s, 1, 1e-14, lse, 4);
    script_close(&s);
}

/* --- dropout, pooling ------------------------------------------------------------------------- */
TEST(dropout_keeps_by_random_bits) {
    double  wanted[SIZE];
    int64_t limit = (int64_t)(0.3 * 16777216);
    for (uint32_t i = 0; i < SIZE; i++) {
        Philox drawn = philox_draw(11, i / 4, 5);
        bool   kept = (int64_t)((uint32_t)drawn.word[i % 4] >> 8) >= limit;
        wanted[i] = kept ? x_numbers[i] / 0.7 : 0;
    }
    expect_of_x(arena, "%s = constant {value=i64 11}  %z = dropout %x, %s {rate=0.3, stream=5}",
                1e-14, wanted, SIZE);
}
/* Windows of 2 by 2 with a padding of 1 before each axis, stride 2 by 1. */
TEST(pools) {
    double largest[2 * COLUMNS], average[2 * COLUMNS];
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < COLUMNS; c++) {
            double most = -INFINITY, sum = 0;
            for (int k = 0; k < 4; k++) {
                int row = 2 * r + k / 2 - 1, column = c + k % 2 - 1;
                if (row < 0 || column < 0 || row >= ROWS || column >= COLUMNS) continue;
                most = fmax(most, x_numbers[row * COLUMNS + column]);
                sum += x_numbers[row * COLUMNS + column];
            }
            largest[r * COLUMNS + c] = most;
            average[r * COLUMNS + c] = sum / 4;
        }
    const char *window = "{window=[2,2], strides=[2,1], low=[1,1], high=[0,0]}";
    expect_of_x(arena, str_format(arena, "%%z = max_pool %%x %s", window).data, 0, largest, 8);
    expect_of_x(arena, str_format(arena, "%%z = avg_pool %%x %s", window).data, 1e-15, average, 8);
}

/* --- optimizers ------------------------------------------------------------------------------- */
TEST(sgd_steps) {
    Script s = script_open(
        arena, "graph f(%p: f64[B], %g: f64[B], %m: f64[B], %r: f64) {\n"
               "  %a, %b = sgd %p, %g, %m, %r {momentum=0.9, decay=0.1}\n"
               "  %c, %d = sgd %p, %g, %m, %r {momentum=0.9, decay=0.1, nesterov=true}\n"
               "  return %a, %b, %c, %d\n}\n");
    const double *p = x_numbers, *g = x_numbers + 4, *m = x_numbers + 8;
    double        plain[4], buffer[4], nesterov[4], rate = 0.05;
    for (uint32_t i = 0; i < 4; i++) {
        double gradient = g[i] + 0.1 * p[i];
        buffer[i] = 0.9 * m[i] + gradient;
        plain[i] = p[i] - rate * buffer[i];
        nesterov[i] = p[i] - rate * (gradient + 0.9 * buffer[i]);
    }
    script_input(&s, SHAPE(4), p, 4);
    script_input(&s, SHAPE(4), g, 4);
    script_input(&s, SHAPE(4), m, 4);
    script_input(&s, SCALAR, &rate, 1);
    script_expect(&s, 0, 1e-15, plain, 4);
    script_expect(&s, 1, 1e-15, buffer, 4);
    script_expect(&s, 2, 1e-15, nesterov, 4);
    script_expect(&s, 3, 1e-15, buffer, 4);
    script_close(&s);
}
TEST(adamw_steps) {
    Script s =
        script_open(arena, "graph f(%p: f64[B], %g: f64[B], %m: f64[B], %v: f64[B], %r: f64, "
                           "%t: f64) {\n"
                           "  %a, %b, %c = adamw %p, %g, %m, %v, %r, %t {beta1=0.8, beta2=0.95, "
                           "epsilon=0.001, decay=0.1}\n  return %a, %b, %c\n}\n");
    const double *p = x_numbers, *g = x_numbers + 4, *m = x_numbers + 8;
    double        v[4], wanted[4], first[4], second[4], rate = 0.05, step = 3;
    for (uint32_t i = 0; i < 4; i++) {
        v[i] = x_numbers[i] * x_numbers[i];
        first[i] = 0.8 * m[i] + 0.2 * g[i];
        second[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
        double m_hat = first[i] / (1 - 0.8 * 0.8 * 0.8);
        double v_hat = second[i] / (1 - 0.95 * 0.95 * 0.95);
        wanted[i] = p[i] * (1 - rate * 0.1) - rate * m_hat / (sqrt(v_hat) + 0.001);
    }
    script_input(&s, SHAPE(4), p, 4);
    script_input(&s, SHAPE(4), g, 4);
    script_input(&s, SHAPE(4), m, 4);
    script_input(&s, SHAPE(4), v, 4);
    script_input(&s, SCALAR, &rate, 1);
    script_input(&s, SCALAR, &step, 1);
    script_expect(&s, 0, 1e-14, wanted, 4);
    script_expect(&s, 1, 1e-14, first, 4);
    script_expect(&s, 2, 1e-14, second, 4);
    script_close(&s);
}
