/* The register tile of matrix products and the packing in front of it; included by kernels_isa.h with
 * GEMM_VEC (bytes of a vector register), GEMM_ROWS and GEMM_EACH(R) (R(0) .. R(GEMM_ROWS - 1)).
 *
 * A tile is GEMM_ROWS rows of two vectors: all of it stays in registers while k runs over
 *   a[k][GEMM_ROWS]   b[k][two vectors]     (panels, packed, padded with zeros)
 * so each step is two loads, GEMM_ROWS broadcasts and twice as many multiply-adds. This is the only
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
    static void gemm_tile_##suffix(const void *a_panel, const void *b_panel, void *out, int64_t k, \
                                   int64_t c_stride, int64_t rows, int64_t cols, bool add) {       \
        typedef T V __attribute__((vector_size(GEMM_VEC), may_alias));                             \
        typedef T W __attribute__((vector_size(GEMM_VEC), may_alias, aligned(sizeof(T))));         \
        GEMM_FUSED                                                                                 \
        const T *a = a_panel;                                                                      \
        const V *b = b_panel;                                                                      \
        T       *c = out;                                                                          \
        GEMM_EACH(GEMM_ZERO)                                                                       \
        for (int64_t i = 0; i < k; i++, a += GEMM_ROWS, b += 2) {                                  \
            V b0 = b[0], b1 = b[1];                                                                \
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

/* out[k][width] = x[lane * stride_lane + k * stride_k]; lanes from count on are zero. */
#define GEMM_PACK(S, T, suffix, read)                                                              \
    static void gemm_pack_##suffix(void *out, const void *x, int64_t stride_lane,                  \
                                   int64_t stride_k, int64_t width, int64_t count, int64_t k) {    \
        const S *from = x;                                                                         \
        T       *to = out;                                                                         \
        for (int64_t i = 0; i < k; i++, to += width, from += stride_k) {                           \
            if (stride_lane == 1)                                                                  \
                LOOP for (int64_t j = 0; j < count; j++) to[j] = read(from[j]);                    \
            else                                                                                   \
                LOOP for (int64_t j = 0; j < count; j++) to[j] = read(from[j * stride_lane]);      \
            for (int64_t j = count; j < width; j++) to[j] = 0;                                     \
        }                                                                                          \
    }
