/* The register tile of matrix products and the packing in front of it; included by kernels_isa.h with
 * GEMM_VEC (bytes of a vector register), GEMM_ROWS and GEMM_EACH(R) (R(0) .. R(GEMM_ROWS - 1)).
 *
 * A tile is GEMM_ROWS rows of two vectors: all of it stays in registers while k runs over
 *   a[k][GEMM_ROWS]   b[k][two vectors]
 * so each step is two loads, GEMM_ROWS broadcasts and twice as many multiply-adds. a is a packed
 * panel, padded with zeros; b is one too, or rows of the operand itself, b_stride elements apart. This is the only
 * place where a multiplication and an addition may be fused: bits differ between instruction sets,
 * not between runs or numbers of lanes. */

#if defined(__clang__)
#define GEMM_FUSED _Pragma("clang fp contract(fast)")
#else
#define GEMM_FUSED
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#endif

enum { GEMM_COLS_f32 = 2 * GEMM_VEC / 4, GEMM_COLS_f64 = 2 * GEMM_VEC / 8 };
#define GEMM_ZERO(i) V c0_##i = {0}, c1_##i = {0};
#define GEMM_STEP(i)                                                                               \
    c0_##i += a[i] * b0;                                                                           \
    c1_##i += a[i] * b1;
#define GEMM_FULL(i)                                                                               \
    {                                                                                              \
        W *row = (W *)(c + (i)*c_stride);                                                          \
        if (add) c0_##i += row[0], c1_##i += row[1];                                               \
        row[0] = c0_##i;                                                                           \
        row[1] = c1_##i;                                                                           \
    }
#define GEMM_KEEP(i)                                                                               \
    keep[2 * (i)] = c0_##i;                                                                        \
    keep[2 * (i) + 1] = c1_##i;
#define GEMM_TILE(T, suffix)                                                                       \
    static void gemm_tile_##suffix(const void *a_panel, const void *b_rows, int64_t b_stride,      \
                                   void *out, int64_t c_stride, int64_t k, int64_t rows,           \
                                   int64_t cols, bool add) {                                       \
        typedef T V __attribute__((vector_size(GEMM_VEC), may_alias));                             \
        typedef T W __attribute__((vector_size(GEMM_VEC), may_alias, aligned(sizeof(T))));         \
        GEMM_FUSED                                                                                 \
        const T *a = a_panel;                                                                      \
        const T *b = b_rows;                                                                       \
        T       *c = out;                                                                          \
        GEMM_EACH(GEMM_ZERO)                                                                       \
        for (int64_t i = 0; i < k; i++, a += GEMM_ROWS, b += b_stride) {                           \
            V b0 = ((const W *)b)[0], b1 = ((const W *)b)[1];                                      \
            GEMM_EACH(GEMM_STEP)                                                                   \
        }                                                                                          \
        if (rows == GEMM_ROWS && cols == GEMM_COLS_##suffix) {                                     \
            GEMM_EACH(GEMM_FULL)                                                                   \
            return;                                                                                \
        }                                                                                          \
        V keep[2 * GEMM_ROWS];                                                                     \
        GEMM_EACH(GEMM_KEEP)                                                                       \
        for (int64_t i = 0; i < rows; i++) {                                                       \
            const T *from = (const T *)(keep + 2 * i);                                             \
            T       *to = c + i * c_stride;                                                        \
            for (int64_t j = 0; j < cols; j++) to[j] = add ? to[j] + from[j] : from[j];            \
        }                                                                                          \
    }
GEMM_TILE(float, f32)
GEMM_TILE(double, f64)
#if !defined(__clang__)
#pragma GCC pop_options
#endif

/* out[k][width] = x[lane * stride_lane + k * stride_k]; lanes from count on are zero. Whole panels
 * that are contiguous along lanes are copied row by row, along k they are transposed 4 by 4. */
#define GEMM_COPY(T, WIDTH)                                                                        \
    if (count == (WIDTH) && width == (WIDTH) && stride_lane == 1) {                                \
        for (int64_t i = 0; i < k; i++, to += (WIDTH), from += stride_k)                           \
            memcpy(to, from, (WIDTH) * sizeof(T));                                                 \
        return;                                                                                    \
    }
#define GEMM_PACK(S, T, suffix, read, fast)                                                        \
    static void gemm_pack_##suffix(void *out, const void *x, int64_t stride_lane,                  \
                                   int64_t stride_k, int64_t width, int64_t count, int64_t k) {    \
        const S *from = x;                                                                         \
        T       *to = out;                                                                         \
        int64_t  done = 0;                                                                         \
        fast;                                                                                      \
        for (int64_t i = done; i < k; i++) {                                                       \
            for (int64_t j = 0; j < count; j++)                                                    \
                to[i * width + j] = read(from[j * stride_lane + i * stride_k]);                    \
            for (int64_t j = count; j < width; j++) to[i * width + j] = 0;                         \
        }                                                                                          \
    }
#define GEMM_FAST(T, suffix)                                                                       \
    GEMM_COPY(T, GEMM_ROWS)                                                                        \
    GEMM_COPY(T, GEMM_COLS_##suffix)                                                               \
    if (count == width && stride_k == 1)                                                           \
    done = gemm_turn_##suffix(to, from, stride_lane, width, k)

/* The first k - k % 4 rows of a panel whose lanes are contiguous along k; returns how many. Blocks
 * of lanes may overlap, which writes the same numbers twice. */
#define GEMM_TURN(T, suffix, BLOCK)                                                                \
    static int64_t gemm_turn_##suffix(T *to, const T *from, int64_t stride, int64_t width,         \
                                      int64_t k) {                                                 \
        for (int64_t j = 0; j < width; j += 4) {                                                   \
            int64_t lane = j + 4 > width ? width - 4 : j;                                          \
            for (int64_t i = 0; i + 4 <= k; i += 4)                                                \
                BLOCK(to + i * width + lane, width, from + lane * stride + i, stride);             \
        }                                                                                          \
        return k - k % 4;                                                                          \
    }
static inline void gemm_turn_4_f32(float *to, int64_t width, const float *from, int64_t stride) {
    typedef float V __attribute__((vector_size(16), may_alias));
    typedef float W __attribute__((vector_size(16), may_alias, aligned(4)));
    V a = *(const W *)from, b = *(const W *)(from + stride);
    V c = *(const W *)(from + 2 * stride), d = *(const W *)(from + 3 * stride);
    V ac0 = __builtin_shufflevector(a, c, 0, 4, 1, 5), bd0 = __builtin_shufflevector(b, d, 0, 4, 1, 5);
    V ac1 = __builtin_shufflevector(a, c, 2, 6, 3, 7), bd1 = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    *(W *)to = __builtin_shufflevector(ac0, bd0, 0, 4, 1, 5);
    *(W *)(to + width) = __builtin_shufflevector(ac0, bd0, 2, 6, 3, 7);
    *(W *)(to + 2 * width) = __builtin_shufflevector(ac1, bd1, 0, 4, 1, 5);
    *(W *)(to + 3 * width) = __builtin_shufflevector(ac1, bd1, 2, 6, 3, 7);
}
static inline void gemm_turn_4_f64(double *to, int64_t width, const double *from, int64_t stride) {
    typedef double V __attribute__((vector_size(16), may_alias));
    typedef double W __attribute__((vector_size(16), may_alias, aligned(8)));
    for (int64_t j = 0; j < 4; j += 2)
        for (int64_t i = 0; i < 4; i += 2) {
            V a = *(const W *)(from + j * stride + i), b = *(const W *)(from + (j + 1) * stride + i);
            *(W *)(to + i * width + j) = __builtin_shufflevector(a, b, 0, 2);
            *(W *)(to + (i + 1) * width + j) = __builtin_shufflevector(a, b, 1, 3);
        }
}
GEMM_TURN(float, f32, gemm_turn_4_f32)
GEMM_TURN(double, f64, gemm_turn_4_f64)
