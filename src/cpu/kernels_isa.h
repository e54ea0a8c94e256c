/* The table of inner loops of one instruction set; included by kernels_<isa>.c after its target
 * pragma, with KERNELS_TABLE and KERNELS_NAME defined (and the GEMM_* sizes of gemm_tile.h). All
 * functions are static, so each instruction set has its own copy; the table is what leaves.
 *
 * LOOP promises that iterations do not depend on each other: outputs equal an operand exactly or
 * are apart. 16-bit floats appear only in convert: drivers bring them to f32 and back. */
#include "cpu/kernels.h"
#include "cpu/kernels_math.h"

#if defined(__clang__)
#define LOOP _Pragma("clang loop vectorize(assume_safety) interleave(enable)")
#else
#define LOOP _Pragma("GCC ivdep")
#endif
#define PASTE_(a, b) a##b
#define PASTE(a, b)  PASTE_(a, b)

static inline float  built_floor_f32(float x) { return __builtin_floorf(x); }
static inline double built_floor_f64(double x) { return __builtin_floor(x); }
static inline float  built_rint_f32(float x) { return __builtin_rintf(x); }
static inline double built_rint_f64(double x) { return __builtin_rint(x); }
static inline float  built_sqrt_f32(float x) { return __builtin_sqrtf(x); }
static inline double built_sqrt_f64(double x) { return __builtin_sqrt(x); }

enum { LANES = 32 };
#define TB(name) PASTE(name, _f32)
#define T        float
#include "cpu/kernels_float.h"
#undef TB
#undef T
#define TB(name) PASTE(name, _f64)
#define T        double
#include "cpu/kernels_float.h"
#undef TB
#undef T

#define TB(name) PASTE(name, _u8)
#define T        uint8_t
#define U        uint8_t
#define BITS     8
#define SIGNED   0
#define NEGATIVE(x) 0
#include "cpu/kernels_int.h"
#undef TB
#undef T
#undef SIGNED
#undef NEGATIVE
#define NEGATIVE(x) ((x) < 0)
#define TB(name) PASTE(name, _i8)
#define T        int8_t
#define SIGNED   1
#include "cpu/kernels_int.h"
#undef TB
#undef T
#undef U
#undef BITS
#define TB(name) PASTE(name, _i16)
#define T        int16_t
#define U        uint16_t
#define BITS     16
#include "cpu/kernels_int.h"
#undef TB
#undef T
#undef U
#undef BITS
#define TB(name) PASTE(name, _i32)
#define T        int32_t
#define U        uint32_t
#define BITS     32
#include "cpu/kernels_int.h"
#undef TB
#undef T
#undef U
#undef BITS
#define TB(name) PASTE(name, _i64)
#define T        int64_t
#define U        uint64_t
#define BITS     64
#include "cpu/kernels_int.h"
#undef TB
#undef T
#undef U
#undef BITS
#undef SIGNED

/* f16 and bf16 go through f32: the sources round to f32 first. */
static inline float convert_half(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, rest = (uint32_t)(bits & 0x7FFFu) << 13;
    float    scaled = float_of(rest) * 0x1p112f; /* rebias; subnormals become exact */
    uint32_t y = (bits & 0x7C00u) == 0x7C00u ? rest | 0x7F800000u : bits_f32(scaled);
    return float_of(y | sign);
}
static inline uint16_t convert_to_half(float x) {
    uint32_t bits = bits_f32(x), sign = bits >> 16 & 0x8000u, a = bits & 0x7FFFFFFFu;
    uint32_t small = bits_f32(float_of(a) + 0.5f) - 0x3F000000u; /* the adder rounds */
    uint32_t normal = (a + 0xFFFu + (a >> 13 & 1u) - 0x38000000u) >> 13;
    uint32_t y = a < 0x38800000u ? small : normal;
    y = a >= 0x477FF000u ? 0x7C00u : y;
    y = a > 0x7F800000u ? 0x7E00u : y;
    return (uint16_t)(y | sign);
}
static inline uint16_t convert_to_brain(float x) {
    uint32_t bits = bits_f32(x), rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? bits >> 16 | 0x40u : rounded);
}
#define FROM_SAME(x)    (x)
#define FROM_HALF(x)    convert_half(x)
#define FROM_BRAIN(x)   float_of((uint32_t)(x) << 16)

#include "cpu/gemm_tile.h"
GEMM_PACK(float, float, f32, FROM_SAME, GEMM_FAST(float, f32))
GEMM_PACK(double, double, f64, FROM_SAME, GEMM_FAST(double, f64))
GEMM_PACK(uint16_t, float, f16, FROM_HALF, (void)0)
GEMM_PACK(uint16_t, float, bf16, FROM_BRAIN, (void)0)

/* --- f32 functions with rare cases that libm handles after the fast pass ------------------------ */

#define FIX_UNARY(name, rare, exact)                                                               \
    static void name##_block_f32(void *out, const void *const *in, int64_t n,                      \
                                 const double *extra) {                                            \
        enum { BLOCK = 256 };                                                                      \
        (void)extra;                                                                               \
        for (int64_t first = 0; first < n; first += BLOCK) {                                       \
            const float *a = (const float *)in[0] + first;                                         \
            float       *y = (float *)out + first, copy[BLOCK];                                    \
            int64_t      count = n - first < BLOCK ? n - first : BLOCK;                            \
            int          odd = 0;                                                                  \
            LOOP for (int64_t i = 0; i < count; i++) {                                             \
                float x = a[i];                                                                    \
                copy[i] = x;                                                                       \
                odd |= (rare);                                                                     \
                y[i] = name##_f32(x);                                                              \
            }                                                                                      \
            for (int64_t i = 0; odd && i < count; i++) {                                           \
                float x = copy[i];                                                                 \
                if (rare) y[i] = exact(x);                                                         \
            }                                                                                      \
        }                                                                                          \
    }
FIX_UNARY(sin, !(abs_f32(x) < 4e5f), sinf)
FIX_UNARY(cos, !(abs_f32(x) < 4e5f), cosf)
#undef FIX_UNARY

static void pow_block_f32(void *out, const void *const *in, int64_t n, const double *extra) {
    enum { BLOCK = 256 };
    (void)extra;
    for (int64_t first = 0; first < n; first += BLOCK) {
        const float *a = (const float *)in[0] + first, *b = (const float *)in[1] + first;
        float       *z = (float *)out + first, x[BLOCK], y[BLOCK];
        int64_t      count = n - first < BLOCK ? n - first : BLOCK;
        int          odd = 0;
        LOOP for (int64_t i = 0; i < count; i++) {
            x[i] = a[i];
            y[i] = b[i];
            odd |= !(x[i] > 0) | !(x[i] < INFINITY) | !(abs_f32(y[i]) < INFINITY);
            z[i] = pow_f32(x[i], y[i]);
        }
        for (int64_t i = 0; odd && i < count; i++)
            if (!(x[i] > 0) || !(x[i] < INFINITY) || !(abs_f32(y[i]) < INFINITY))
                z[i] = powf(x[i], y[i]);
    }
}
#define LIBM_UNARY(name)                                                                           \
    static void name##_block_f64(void *out, const void *const *in, int64_t n,                      \
                                 const double *extra) {                                            \
        const double *x = in[0];                                                                   \
        double       *y = out;                                                                     \
        (void)extra;                                                                               \
        for (int64_t i = 0; i < n; i++) y[i] = name(x[i]);                                         \
    }
LIBM_UNARY(sin)
LIBM_UNARY(cos)
#undef LIBM_UNARY
static void pow_block_f64(void *out, const void *const *in, int64_t n, const double *extra) {
    const double *x = in[0], *y = in[1];
    double       *z = out;
    (void)extra;
    for (int64_t i = 0; i < n; i++) z[i] = pow(x[i], y[i]);
}

/* --- moving and choosing bytes ------------------------------------------------------------------ */

typedef struct Bytes16 {
    uint64_t word[2];
} Bytes16;
#define BYTES(U, size)                                                                             \
    static void select_##size(void *out, const void *const *in, int64_t n, const double *extra) {  \
        const uint8_t *which = in[0];                                                              \
        const U       *a = in[1], *b = in[2];                                                      \
        U             *y = out;                                                                    \
        (void)extra;                                                                               \
        LOOP for (int64_t i = 0; i < n; i++) y[i] = which[i] ? a[i] : b[i];                        \
    }                                                                                              \
    static void copy_##size(void *out, const void *const *in, int64_t n, const double *extra) {    \
        (void)extra;                                                                               \
        memmove(out, in[0], (size_t)n * sizeof(U));                                                \
    }
BYTES(uint8_t, 1)
BYTES(uint16_t, 2)
BYTES(uint32_t, 4)
BYTES(uint64_t, 8)
#undef BYTES

/* Booleans are bytes 0 and 1. */
static void not_block_bool(void *out, const void *const *in, int64_t n, const double *extra) {
    const uint8_t *x = in[0];
    uint8_t       *y = out;
    (void)extra;
    LOOP for (int64_t i = 0; i < n; i++) y[i] = x[i] ^ 1u;
}

/* --- conversion --------------------------------------------------------------------------------- */

#define SAME(R, x)                  (R)(x)
#define TO_BOOL(R, x)               (uint8_t)((x) != 0)
#define CLAMP_(x, low, high, L, H, R) ((x) != (x) ? (R)0 : (x) <= (low) ? (L) : (x) >= (high) ? (H) : (R)(x))
#define TO_U8(R, x)                 CLAMP_(x, 0, 255, 0, UINT8_MAX, R)
#define TO_I8(R, x)                 CLAMP_(x, -128, 127, INT8_MIN, INT8_MAX, R)
#define TO_I16(R, x)                CLAMP_(x, -32768, 32767, INT16_MIN, INT16_MAX, R)
#define TO_I32(R, x)                CLAMP_(x, -2147483648.0, 2147483647.0, INT32_MIN, INT32_MAX, R)
#define TO_I64(R, x)                CLAMP_(x, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX, R)
#define TO_HALF(R, x)   convert_to_half((float)(x))
#define TO_BRAIN(R, x)  convert_to_brain((float)(x))
#define CONVERT(from, S, read, to, R, write)                                                       \
    static void convert_##from##_##to(void *out, const void *const *in, int64_t n,                 \
                                      const double *extra) {                                       \
        const S *a = in[0];                                                                        \
        R       *y = out;                                                                          \
        (void)extra;                                                                               \
        LOOP for (int64_t i = 0; i < n; i++) y[i] = write(R, read(a[i]));                          \
    }
#define CONVERT_INTS(from, S)                                                                      \
    CONVERT(from, S, FROM_SAME, flag, uint8_t, TO_BOOL)                                            \
    CONVERT(from, S, FROM_SAME, u8, uint8_t, SAME)                                                 \
    CONVERT(from, S, FROM_SAME, i8, int8_t, SAME)                                                  \
    CONVERT(from, S, FROM_SAME, i16, int16_t, SAME)                                                \
    CONVERT(from, S, FROM_SAME, i32, int32_t, SAME)                                                \
    CONVERT(from, S, FROM_SAME, i64, int64_t, SAME)                                                \
    CONVERT_FLOATS(from, S, FROM_SAME)
#define CONVERT_FLOATS(from, S, read)                                                              \
    CONVERT(from, S, read, f16, uint16_t, TO_HALF)                                                 \
    CONVERT(from, S, read, bf16, uint16_t, TO_BRAIN)                                               \
    CONVERT(from, S, read, f32, float, SAME)                                                       \
    CONVERT(from, S, read, f64, double, SAME)
#define CONVERT_REALS(from, S, read)                                                               \
    CONVERT(from, S, read, flag, uint8_t, TO_BOOL)                                                 \
    CONVERT(from, S, read, u8, uint8_t, TO_U8)                                                     \
    CONVERT(from, S, read, i8, int8_t, TO_I8)                                                      \
    CONVERT(from, S, read, i16, int16_t, TO_I16)                                                   \
    CONVERT(from, S, read, i32, int32_t, TO_I32)                                                   \
    CONVERT(from, S, read, i64, int64_t, TO_I64)                                                   \
    CONVERT_FLOATS(from, S, read)
CONVERT_INTS(flag, uint8_t)
CONVERT_INTS(u8, uint8_t)
CONVERT_INTS(i8, int8_t)
CONVERT_INTS(i16, int16_t)
CONVERT_INTS(i32, int32_t)
CONVERT_INTS(i64, int64_t)
CONVERT_REALS(f16, uint16_t, FROM_HALF)
CONVERT_REALS(bf16, uint16_t, FROM_BRAIN)
CONVERT_REALS(f32, float, FROM_SAME)
CONVERT_REALS(f64, double, FROM_SAME)

/* --- the table ---------------------------------------------------------------------------------- */

#define FLOATS(name) {[DTYPE_F32] = name##_f32, [DTYPE_F64] = name##_f64}
#define INTS(name)                                                                                 \
    [DTYPE_U8] = name##_u8, [DTYPE_I8] = name##_i8, [DTYPE_I16] = name##_i16,                      \
    [DTYPE_I32] = name##_i32, [DTYPE_I64] = name##_i64
#define BOTH(name) {[DTYPE_F32] = name##_f32, [DTYPE_F64] = name##_f64, INTS(name)}
#define BITSET(name, of_bool) {[DTYPE_BOOL] = of_bool, INTS(name)}
#define WITH_BOOL(name)                                                                            \
    {[DTYPE_BOOL] = name##_u8, [DTYPE_F32] = name##_f32, [DTYPE_F64] = name##_f64, INTS(name)}
#define CONVERSIONS(from)                                                                          \
    {[DTYPE_BOOL] = convert_##from##_flag, [DTYPE_U8] = convert_##from##_u8,                       \
     [DTYPE_I8] = convert_##from##_i8,     [DTYPE_I16] = convert_##from##_i16,                     \
     [DTYPE_I32] = convert_##from##_i32,   [DTYPE_I64] = convert_##from##_i64,                     \
     [DTYPE_F16] = convert_##from##_f16,   [DTYPE_BF16] = convert_##from##_bf16,                   \
     [DTYPE_F32] = convert_##from##_f32,   [DTYPE_F64] = convert_##from##_f64}

const Isa KERNELS_TABLE = {
    .name = KERNELS_NAME,
    .block =
        {
            [OP_NEG] = BOTH(neg_block),
            [OP_ABS] = BOTH(abs_block),
            [OP_SIGN] = BOTH(sign_block),
            [OP_FLOOR] = FLOATS(floor_block),
            [OP_ROUND_EVEN] = FLOATS(round_even_block),
            [OP_EXP] = FLOATS(exp_block),
            [OP_EXPM1] = FLOATS(expm1_block),
            [OP_LOG] = FLOATS(log_block),
            [OP_LOG1P] = FLOATS(log1p_block),
            [OP_SQRT] = FLOATS(sqrt_block),
            [OP_RSQRT] = FLOATS(rsqrt_block),
            [OP_SIN] = FLOATS(sin_block),
            [OP_COS] = FLOATS(cos_block),
            [OP_TANH] = FLOATS(tanh_block),
            [OP_LOGISTIC] = FLOATS(logistic_block),
            [OP_ERF] = FLOATS(erf_block),
            [OP_ADD] = BOTH(add_block),
            [OP_SUB] = BOTH(sub_block),
            [OP_MUL] = BOTH(mul_block),
            [OP_DIV] = BOTH(div_block),
            [OP_POW] = BOTH(pow_block),
            [OP_REM] = {INTS(rem_block)},
            [OP_MAX] = WITH_BOOL(max_block),
            [OP_MIN] = WITH_BOOL(min_block),
            [OP_AND] = BITSET(and_block, and_block_u8),
            [OP_OR] = BITSET(or_block, or_block_u8),
            [OP_XOR] = BITSET(xor_block, xor_block_u8),
            [OP_NOT] = BITSET(not_block, not_block_bool),
            [OP_SHL] = {INTS(shl_block)},
            [OP_SHR_ARITH] = {INTS(shr_arith_block)},
            [OP_SHR_LOGICAL] = {INTS(shr_logical_block)},
            [OP_IS_FINITE] = FLOATS(is_finite_block),
            [OP_SQUARE] = BOTH(square_block),
            [OP_RECIPROCAL] = FLOATS(reciprocal_block),
            [OP_RELU] = BOTH(relu_block),
            [OP_SILU] = FLOATS(silu_block),
            [OP_SOFTPLUS] = FLOATS(softplus_block),
            [OP_GELU] = FLOATS(gelu_block),
        },
    .gelu_tanh = FLOATS(gelu_tanh_block),
    .compare = {[COMPARE_EQ] = WITH_BOOL(eq_block),
                [COMPARE_NE] = WITH_BOOL(ne_block),
                [COMPARE_LT] = WITH_BOOL(lt_block),
                [COMPARE_LE] = WITH_BOOL(le_block),
                [COMPARE_GT] = WITH_BOOL(gt_block),
                [COMPARE_GE] = WITH_BOOL(ge_block)},
    .convert = {[DTYPE_BOOL] = CONVERSIONS(flag),
                [DTYPE_U8] = CONVERSIONS(u8),
                [DTYPE_I8] = CONVERSIONS(i8),
                [DTYPE_I16] = CONVERSIONS(i16),
                [DTYPE_I32] = CONVERSIONS(i32),
                [DTYPE_I64] = CONVERSIONS(i64),
                [DTYPE_F16] = CONVERSIONS(f16),
                [DTYPE_BF16] = CONVERSIONS(bf16),
                [DTYPE_F32] = CONVERSIONS(f32),
                [DTYPE_F64] = CONVERSIONS(f64)},
    .select_bytes = {[1] = select_1, [2] = select_2, [4] = select_4, [8] = select_8},
    .copy_bytes = {[1] = copy_1, [2] = copy_2, [4] = copy_4, [8] = copy_8},
    .reduce_row = {[REDUCE_SUM] = {[DTYPE_F32] = sum_row_f32, [DTYPE_F64] = sum_row_f64, INTS(sum_row)},
                   [REDUCE_PROD] = {[DTYPE_F32] = prod_row_f32, [DTYPE_F64] = prod_row_f64, INTS(prod_row)},
                   [REDUCE_MAX] = WITH_BOOL(max_row),
                   [REDUCE_MIN] = WITH_BOOL(min_row),
                   [REDUCE_AND] = BITSET(all_row, all_row_u8),
                   [REDUCE_OR] = BITSET(any_row, any_row_u8)},
    .reduce_cols = {[REDUCE_SUM] = BOTH(sum_cols),
                    [REDUCE_PROD] = BOTH(prod_cols),
                    [REDUCE_MAX] = WITH_BOOL(max_cols),
                    [REDUCE_MIN] = WITH_BOOL(min_cols),
                    [REDUCE_AND] = BITSET(all_cols, all_cols_u8),
                    [REDUCE_OR] = BITSET(any_cols, any_cols_u8)},
    .square_row = FLOATS(square_row),
    .softmax = FLOATS(softmax_row),
    .log_softmax = FLOATS(log_softmax_row),
    .layer_norm = FLOATS(layer_norm_row),
    .rms_norm = FLOATS(rms_norm_row),
    .logsumexp = FLOATS(logsumexp_row),
    .adamw = FLOATS(adamw_block),
    .sgd = FLOATS(sgd_block),
    .gemm_tile = FLOATS(gemm_tile),
    .gemm_pack = {[DTYPE_F16] = gemm_pack_f16, [DTYPE_BF16] = gemm_pack_bf16,
                  [DTYPE_F32] = gemm_pack_f32, [DTYPE_F64] = gemm_pack_f64},
    .gemm_shape = {[DTYPE_F32] = {GEMM_ROWS, GEMM_COLS_f32}, [DTYPE_F64] = {GEMM_ROWS, GEMM_COLS_f64}},
};
