/* Inner loops of one floating-point type; included by kernels_isa.h with
 *   T      the type        TB(name)  name with the type's suffix, as in exp_f32
 *   LANES  elements that one pass of a reduction takes (the same for every instruction set)
 * Sums run in f64 in LANES independent partial sums that are combined in a fixed order, so they are
 * accurate and equal on every machine. Rows (softmax, norms) are read several times, from cache. */

#define UNARY(name, expression)                                                                    \
    static void TB(name##_block)(void *out, const void *const *in, int64_t n, const double *extra) { \
        const T *a = in[0];                                                                        \
        T       *y = out;                                                                          \
        (void)extra;                                                                               \
        LOOP for (int64_t i = 0; i < n; i++) {                                                     \
            T x = a[i];                                                                            \
            y[i] = (expression);                                                                   \
        }                                                                                          \
    }
#define BINARY(name, R, expression)                                                                \
    static void TB(name##_block)(void *out, const void *const *in, int64_t n, const double *extra) { \
        const T *a = in[0], *b = in[1];                                                            \
        R       *z = out;                                                                          \
        (void)extra;                                                                               \
        LOOP for (int64_t i = 0; i < n; i++) {                                                     \
            T x = a[i], y = b[i];                                                                  \
            z[i] = (R)(expression);                                                                \
        }                                                                                          \
    }

UNARY(neg, -x)
UNARY(abs, TB(abs)(x))
UNARY(sign, x > 0 ? (T)1 : x < 0 ? (T)-1 : x)
UNARY(floor, TB(built_floor)(x))
UNARY(round_even, TB(built_rint)(x))
UNARY(exp, TB(exp)(x))
UNARY(expm1, TB(expm1)(x))
UNARY(log, TB(log)(x))
UNARY(log1p, TB(log1p)(x))
UNARY(sqrt, TB(built_sqrt)(x))
UNARY(rsqrt, (T)1 / TB(built_sqrt)(x))
UNARY(tanh, TB(tanh)(x))
UNARY(logistic, TB(logistic)(x))
UNARY(erf, TB(erf)(x))
UNARY(square, x *x)
UNARY(reciprocal, (T)1 / x)
UNARY(relu, x > 0 || x != x ? x : (T)0)
UNARY(silu, x *TB(logistic)(x))
UNARY(gelu, (T)0.5 * x * ((T)1 + TB(erf)(x * (T)0.70710678118654752)))
UNARY(gelu_tanh, (T)0.5 * x *
                     ((T)1 + TB(tanh)((T)0.79788456080286536 * (x + (T)0.044715 * x * x * x))))
UNARY(softplus, (x > 0 ? x : (T)0) + TB(log1p)(TB(exp)(-TB(abs)(x))))
BINARY(add, T, x + y)
BINARY(sub, T, x - y)
BINARY(mul, T, x *y)
BINARY(div, T, x / y)
BINARY(max, T, x > y || x != x ? x : y)
BINARY(min, T, x < y || x != x ? x : y)
BINARY(eq, uint8_t, x == y)
BINARY(ne, uint8_t, x != y)
BINARY(lt, uint8_t, x < y)
BINARY(le, uint8_t, x <= y)
BINARY(gt, uint8_t, x > y)
BINARY(ge, uint8_t, x >= y)
#undef UNARY
#undef BINARY

static void TB(is_finite_block)(void *out, const void *const *in, int64_t n, const double *extra) {
    const T *x = in[0];
    uint8_t *y = out;
    (void)extra;
    LOOP for (int64_t i = 0; i < n; i++) y[i] = x[i] - x[i] == 0;
}

/* --- reductions ------------------------------------------------------------------------------- */

#define SUM_ROW(name, term)                                                                        \
    static void TB(name)(const void *in, int64_t n, void *acc) {                                   \
        const T *a = in;                                                                           \
        double   sums[LANES] = {0}, total = 0;                                                     \
        int64_t  i = 0;                                                                            \
        for (; i + LANES <= n; i += LANES)                                                         \
            LOOP for (int j = 0; j < LANES; j++) {                                                 \
                double x = (double)a[i + j];                                                       \
                sums[j] += (term);                                                                 \
            }                                                                                      \
        for (int width = LANES / 2; width > 0; width /= 2)                                         \
            for (int j = 0; j < width; j++) sums[j] += sums[j + width];                            \
        for (; i < n; i++) {                                                                       \
            double x = (double)a[i];                                                               \
            total += (term);                                                                       \
        }                                                                                          \
        *(double *)acc += sums[0] + total;                                                         \
    }
SUM_ROW(sum_row, x)
SUM_ROW(square_row, x *x)
#undef SUM_ROW

static void TB(prod_row)(const void *in, int64_t n, void *acc) {
    const T *x = in;
    double   parts[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int64_t i = 0; i < n; i++) parts[i & 7] *= (double)x[i];
    for (int j = 1; j < 8; j++) parts[0] *= parts[j];
    *(double *)acc *= parts[0];
}

/* NaN wins, as in max and min. */
#define BEST_ROW(name, better)                                                                     \
    static T TB(name##_of)(const T *a, int64_t n, T start) {                                       \
        T       best[LANES];                                                                       \
        int64_t i = 0;                                                                             \
        for (int j = 0; j < LANES; j++) best[j] = start;                                           \
        for (; i + LANES <= n; i += LANES)                                                         \
            LOOP for (int j = 0; j < LANES; j++) {                                                 \
                T x = a[i + j], y = best[j];                                                       \
                best[j] = x better y || x != x ? x : y;                                            \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            T x = a[i], y = best[0];                                                               \
            best[0] = x better y || x != x ? x : y;                                                \
        }                                                                                          \
        for (int j = 1; j < LANES; j++) {                                                          \
            T x = best[j], y = best[0];                                                            \
            best[0] = x better y || x != x ? x : y;                                                \
        }                                                                                          \
        return best[0];                                                                            \
    }                                                                                              \
    static void TB(name)(const void *in, int64_t n, void *acc) {                                   \
        *(double *)acc = (double)TB(name##_of)(in, n, (T) * (double *)acc);                        \
    }
BEST_ROW(max_row, >)
BEST_ROW(min_row, <)
#undef BEST_ROW

#define COLS(name, expression)                                                                     \
    static void TB(name)(const void *in, int64_t n, void *acc) {                                   \
        const T *a = in;                                                                           \
        double  *sums = acc;                                                                       \
        LOOP for (int64_t i = 0; i < n; i++) {                                                     \
            double x = (double)a[i], y = sums[i];                                                  \
            sums[i] = (expression);                                                                \
        }                                                                                          \
    }
COLS(sum_cols, y + x)
COLS(prod_cols, y *x)
COLS(max_cols, x > y || x != x ? x : y)
COLS(min_cols, x < y || x != x ? x : y)
#undef COLS

/* --- rows ------------------------------------------------------------------------------------- */

static double TB(exp_of_row)(T *y, const T *x, int64_t n, T most) {
    double sum = 0;
    LOOP for (int64_t i = 0; i < n; i++) y[i] = TB(exp)(x[i] - most);
    TB(sum_row)(y, n, &sum);
    return sum;
}
static void TB(softmax_row)(void *out, const void *in, const void *weight, const void *bias,
                            int64_t n, double extra) {
    T     *y = out;
    double sum = TB(exp_of_row)(y, in, n, TB(max_row_of)(in, n, (T)-INFINITY));
    (void)weight, (void)bias, (void)extra;
    T scale = (T)(1.0 / sum);
    LOOP for (int64_t i = 0; i < n; i++) y[i] *= scale;
}
static void TB(log_softmax_row)(void *out, const void *in, const void *weight, const void *bias,
                                int64_t n, double extra) {
    const T *x = in;
    T       *y = out, top = TB(max_row_of)(x, n, (T)-INFINITY);
    (void)weight, (void)bias, (void)extra;
    T log_sum = (T)log(TB(exp_of_row)(y, x, n, top));
    LOOP for (int64_t i = 0; i < n; i++) y[i] = (x[i] - top) - log_sum;
}
/* log of the sum of e^x as one f64 at y; 512 terms at a time need no row of scratch. */
static void TB(logsumexp_row)(void *out, const void *in, const void *weight, const void *bias,
                              int64_t n, double extra) {
    enum { BLOCK = 512 };
    const T *x = in;
    T        part[BLOCK], top = TB(max_row_of)(x, n, (T)-INFINITY);
    double   sum = 0;
    (void)weight, (void)bias, (void)extra;
    if (top - top != 0) { /* infinite, NaN or empty: the sum is decided */
        *(double *)out = (double)top;
        return;
    }
    for (int64_t i = 0; i < n; i += BLOCK)
        sum += TB(exp_of_row)(part, x + i, n - i < BLOCK ? n - i : BLOCK, top);
    *(double *)out = (double)top + log(sum);
}
static void TB(layer_norm_row)(void *out, const void *in, const void *weight, const void *bias,
                               int64_t n, double epsilon) {
    const T *x = in, *w = weight, *b = bias;
    T       *y = out;
    double   sum = 0, squares[LANES] = {0};
    int64_t  i = 0;
    TB(sum_row)(x, n, &sum);
    double mean = sum / (double)n;
    for (; i + LANES <= n; i += LANES)
        LOOP for (int j = 0; j < LANES; j++) {
            double d = (double)x[i + j] - mean;
            squares[j] += d * d;
        }
    for (int j = 0; i < n; i++, j++) squares[j] += ((double)x[i] - mean) * ((double)x[i] - mean);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) squares[j] += squares[j + width];
    T scale = (T)(1.0 / sqrt(squares[0] / (double)n + epsilon)), center = (T)mean;
    LOOP for (int64_t k = 0; k < n; k++) y[k] = (x[k] - center) * scale * w[k] + b[k];
}
static void TB(rms_norm_row)(void *out, const void *in, const void *weight, const void *bias,
                             int64_t n, double epsilon) {
    const T *x = in, *w = weight;
    T       *y = out;
    double   sum = 0;
    (void)bias;
    TB(square_row)(x, n, &sum);
    T scale = (T)(1.0 / sqrt(sum / (double)n + epsilon));
    LOOP for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

/* --- optimizers: in: parameter gradient states; out: pointers to the results ------------------- */

/* extra: 1 - rate decay, beta1, beta2, rate, 1 - beta1^t, 1 - beta2^t, epsilon */
static void TB(adamw_block)(void *out, const void *const *in, int64_t n, const double *extra) {
    const T *p = in[0], *g = in[1], *m = in[2], *v = in[3];
    T       *p_out = ((void **)out)[0], *m_out = ((void **)out)[1], *v_out = ((void **)out)[2];
    T        keep = (T)extra[0], b1 = (T)extra[1], b2 = (T)extra[2], rate = (T)extra[3];
    T        c1 = (T)(1.0 - extra[1]), c2 = (T)(1.0 - extra[2]);
    T        fix1 = (T)extra[4], fix2 = (T)extra[5], epsilon = (T)extra[6];
    LOOP for (int64_t i = 0; i < n; i++) {
        T first = b1 * m[i] + c1 * g[i], second = b2 * v[i] + c2 * (g[i] * g[i]);
        T step = rate * (first / fix1) / (TB(built_sqrt)(second / fix2) + epsilon);
        p_out[i] = p[i] * keep - step;
        m_out[i] = first;
        v_out[i] = second;
    }
}
/* extra: rate, momentum, decay, nesterov (0 or 1) */
static void TB(sgd_block)(void *out, const void *const *in, int64_t n, const double *extra) {
    const T *p = in[0], *g = in[1], *b = in[2];
    T       *p_out = ((void **)out)[0], *b_out = ((void **)out)[1];
    T        rate = (T)extra[0], momentum = (T)extra[1], decay = (T)extra[2];
    bool     ahead = extra[3] != 0;
    LOOP for (int64_t i = 0; i < n; i++) {
        T grad = g[i] + decay * p[i], buffer = momentum * b[i] + grad;
        T move = ahead ? grad + momentum * buffer : buffer;
        p_out[i] = p[i] - rate * move;
        b_out[i] = buffer;
    }
}
