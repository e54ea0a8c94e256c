/* Inner loops of one integer type; included by kernels_isa.h with
 *   T, U   the type and the unsigned one of its width     TB(name)  name with the type's suffix
 *   BITS   its width      SIGNED  1 or 0                   NEGATIVE(x)  x < 0, 0 where unsigned
 * Arithmetic wraps; division by zero gives 0; shifts by BITS or more give 0, or the sign. Sums go
 * through uint64_t, whose low bits are the wrapped result. */

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
#define UNARY(name, expression)                                                                    \
    static void TB(name##_block)(void *out, const void *const *in, int64_t n, const double *extra) { \
        const T *a = in[0];                                                                        \
        T       *y = out;                                                                          \
        (void)extra;                                                                               \
        LOOP for (int64_t i = 0; i < n; i++) {                                                     \
            T x = a[i];                                                                            \
            y[i] = (T)(expression);                                                                \
        }                                                                                          \
    }

static inline T TB(int_div)(T x, T y) {
    if (y == 0) return 0;
    if (SIGNED && y == (T)-1) return (T)(0u - (U)x);
    return (T)(x / y);
}
static inline T TB(int_rem)(T x, T y) {
    if (y == 0 || (SIGNED && y == (T)-1)) return 0;
    return (T)(x % y);
}
/* x^y by squaring; a negative exponent gives 1 / x^-y, truncated. */
static inline T TB(int_pow)(T x, T y) {
    if (NEGATIVE(y)) {
        if (x == 1) return 1;
        return x == (T)-1 ? ((U)y & 1u ? (T)-1 : (T)1) : (T)0;
    }
    U result = 1, base = (U)x;
    for (U left = (U)y; left != 0; left >>= 1) {
        if (left & 1u) result = (U)((uint64_t)result * base);
        base = (U)((uint64_t)base * base);
    }
    return (T)result;
}

BINARY(add, T, (U)x + (U)y)
BINARY(sub, T, (U)x - (U)y)
BINARY(mul, T, (U)((uint64_t)(U)x * (uint64_t)(U)y))
BINARY(div, T, TB(int_div)(x, y))
BINARY(rem, T, TB(int_rem)(x, y))
BINARY(pow, T, TB(int_pow)(x, y))
BINARY(max, T, x > y ? x : y)
BINARY(min, T, x < y ? x : y)
BINARY(and, T, (U)x &(U)y)
BINARY(or, T, (U)x | (U)y)
BINARY(xor, T, (U)x ^ (U)y)
BINARY(shl, T, (U)y < BITS ? (U)x << ((U)y & (BITS - 1)) : 0)
BINARY(shr_logical, T, (U)y < BITS ? (U)x >> ((U)y & (BITS - 1)) : 0)
BINARY(shr_arith, T, (U)y < BITS ? x >> ((U)y & (BITS - 1)) : NEGATIVE(x) ? -1 : 0)
BINARY(eq, uint8_t, x == y)
BINARY(ne, uint8_t, x != y)
BINARY(lt, uint8_t, x < y)
BINARY(le, uint8_t, x <= y)
BINARY(gt, uint8_t, x > y)
BINARY(ge, uint8_t, x >= y)
UNARY(neg, 0u - (U)x)
UNARY(abs, NEGATIVE(x) ? (T)(0u - (U)x) : x)
UNARY(sign, (x > 0) - (NEGATIVE(x)))
UNARY(not, ~(U)x)
UNARY(relu, x > 0 ? x : 0)
UNARY(square, (U)((uint64_t)(U)x * (uint64_t)(U)x))
#undef UNARY
#undef BINARY

/* acc is the value sign-extended to 64 bits. */
#define REDUCE(name, expression)                                                                   \
    static void TB(name##_row)(const void *in, int64_t n, void *acc) {                             \
        const T *a = in;                                                                           \
        int64_t  y = *(int64_t *)acc;                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            int64_t x = (int64_t)a[i];                                                             \
            y = (expression);                                                                      \
        }                                                                                          \
        *(int64_t *)acc = y;                                                                       \
    }                                                                                              \
    static void TB(name##_cols)(const void *in, int64_t n, void *acc) {                            \
        const T *a = in;                                                                           \
        int64_t *sums = acc;                                                                       \
        LOOP for (int64_t i = 0; i < n; i++) {                                                     \
            int64_t x = (int64_t)a[i], y = sums[i];                                                \
            sums[i] = (expression);                                                                \
        }                                                                                          \
    }
REDUCE(sum, (int64_t)((uint64_t)y + (uint64_t)x))
REDUCE(prod, (int64_t)((uint64_t)y * (uint64_t)x))
REDUCE(max, x > y ? x : y)
REDUCE(min, x < y ? x : y)
REDUCE(all, y &x)
REDUCE(any, y | x)
#undef REDUCE
