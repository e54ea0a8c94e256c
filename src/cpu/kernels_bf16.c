/* Products of bf16 that are not widened: register tiles of AVX512_BF16 and of AMX, and the packing
 * in front of them (Bf16Tiles in kernels.h).
 *
 * Both multiply pairs along k and add them up in f32, in an order that the instruction fixes, so
 * bits differ between the two, not between runs or numbers of lanes. A pair of a is one 32-bit
 * number of a row, so rows of the operand itself serve as well as packed ones. Pairs of b lie side
 * by side for the columns of a tile: two vectors, or half of two tile registers.
 *
 * AMX: c is 2 x 2 tile registers of 16 x 16; 32 numbers along k are four loads and four products.
 * The configuration belongs to the thread: a call sets it and leaves the registers empty. */
#include <string.h>

#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define BF16_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(BF16_TARGET))), apply_to = function)
#else
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
#endif

enum { COLS = 32 }; /* of both tiles */
typedef uint16_t Word;

/* --- packing ---------------------------------------------------------------------------------- */

static inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* Eight numbers along k of eight lanes that are contiguous: to[lane][k]. */
static inline void turn_8(Word *to, int64_t to_stride, const Word *from, int64_t stride) {
    __m128i r[8], s[8];
    for (int i = 0; i < 8; i++) r[i] = _mm_loadu_si128((const void *)(from + i * stride));
    for (int i = 0; i < 4; i++) {
        s[2 * i] = _mm_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int half = 0; half < 2; half++) {
            __m128i a = s[4 * i + half], b = s[4 * i + half + 2];
            r[4 * i + 2 * half] = _mm_unpacklo_epi32(a, b);
            r[4 * i + 2 * half + 1] = _mm_unpackhi_epi32(a, b);
        }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((void *)(to + 2 * i * to_stride), _mm_unpacklo_epi64(r[i], r[i + 4]));
        _mm_storeu_si128((void *)(to + (2 * i + 1) * to_stride),
                         _mm_unpackhi_epi64(r[i], r[i + 4]));
    }
}

/* Lanes of a: out[lane][k up to unit]; up to whole panels. */
static void pack_a(Word *out, const Word *x, int64_t stride_lane, int64_t stride_k, int64_t width,
                   int64_t count, int64_t k, int64_t unit) {
    int64_t each = round_up(k, unit), lanes = round_up(count, width);
    int64_t eights = stride_lane == 1 ? count / 8 * 8 : 0, turned = eights > 0 ? k / 8 * 8 : 0;
    for (int64_t i = 0; i < eights; i += 8)
        for (int64_t at = 0; at < turned; at += 8)
            turn_8(out + i * each + at, each, x + i + at * stride_k, stride_k);
    for (int64_t i = 0; i < lanes; i++) {
        Word       *to = out + i * each;
        const Word *from = x + i * stride_lane;
        int64_t     done = i < eights ? turned : 0, end = i < count ? k : 0;
        if (stride_k == 1 && end > 0) {
            memcpy(to, from, (size_t)k * sizeof *to);
            done = k;
        }
        for (; done < end; done++) to[done] = from[done * stride_k];
        memset(to + done, 0, (size_t)(each - done) * sizeof *to);
    }
}

/* A pair of rows of lanes that are contiguous, COLS of them. */
static inline void zip_row(Word *to, const Word *even, const Word *odd) {
    static const Word order[64] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                   8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47,
                                   16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
                                   24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
    __m512i           a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
    for (int half = 0; half < 2; half++) {
        __m512i index = _mm512_loadu_si512(order + 32 * half);
        _mm512_storeu_si512(to + 32 * half, _mm512_permutex2var_epi16(a, index, b));
    }
}
/* One panel of b: out[k / 2][COLS][2]; lanes from count on, and k up to unit, are zero. */
static void pack_panel(Word *out, const Word *x, int64_t stride_lane, int64_t stride_k,
                       int64_t count, int64_t k, int64_t unit) {
    int64_t done = 0, each = round_up(k, unit);
    if (stride_k == 1 && stride_lane % 2 == 0) { /* pairs are numbers of 32 bits */
        done = k / 2 * 2;
        kernels_avx512.gemm_pack[DTYPE_F32](out, x, stride_lane / 2, 1, COLS, count, k / 2);
    } else if (stride_lane == 1 && count == COLS) {
        for (; done + 2 <= k; done += 2)
            zip_row(out + done * COLS, x + done * stride_k, x + (done + 1) * stride_k);
    }
    for (; done < each; done += 2)
        for (int64_t i = 0; i < 2 * COLS; i++) {
            int64_t lane = i / 2, at = done + i % 2;
            bool    some = lane < count && at < k;
            out[done * COLS + i] = some ? x[lane * stride_lane + at * stride_k] : 0;
        }
}
static void pack_b(Word *out, const Word *x, int64_t stride_lane, int64_t stride_k, int64_t count,
                   int64_t k, int64_t unit) {
    for (int64_t lane = 0; lane < count; lane += COLS)
        pack_panel(out + lane * round_up(k, unit), x + lane * stride_lane, stride_lane, stride_k,
                   count - lane < COLS ? count - lane : COLS, k, unit);
}
#define PACKS(name, UNIT)                                                                          \
    static void name##_pack_a(void *out, const void *x, int64_t stride_lane, int64_t stride_k,     \
                              int64_t width, int64_t count, int64_t k) {                           \
        pack_a(out, x, stride_lane, stride_k, width, count, k, UNIT);                              \
    }                                                                                              \
    static void name##_pack_b(void *out, const void *x, int64_t stride_lane, int64_t stride_k,     \
                              int64_t width, int64_t count, int64_t k) {                           \
        (void)width;                                                                               \
        pack_b(out, x, stride_lane, stride_k, count, k, UNIT);                                     \
    }

/* Of a tile that is not whole: sums[rows][COLS] become part of c. */
static void store_part(float *c, int64_t c_stride, const float *sums, int64_t rows, int64_t cols,
                       bool add) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            float before = add ? c[i * c_stride + j] : 0;
            c[i * c_stride + j] = before + sums[i * COLS + j];
        }
}

/* --- AVX512_BF16 ------------------------------------------------------------------------------ */

enum { PAIR_ROWS = 14, PAIR_UNIT = 2 };
#define EACH(R) R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(10) R(11) R(12) R(13)
#define ZERO(i) __m512 c0_##i = _mm512_setzero_ps(), c1_##i = _mm512_setzero_ps();
#define STEP(i)                                                                                    \
    {                                                                                              \
        int32_t pair;                                                                              \
        memcpy(&pair, a + (i)*a_stride + at, sizeof pair);                                         \
        __m512bh both = (__m512bh)_mm512_set1_epi32(pair);                                         \
        c0_##i = _mm512_dpbf16_ps(c0_##i, both, b0);                                               \
        c1_##i = _mm512_dpbf16_ps(c1_##i, both, b1);                                               \
    }
#define FULL(i)                                                                                    \
    {                                                                                              \
        float *row = c + (i)*c_stride;                                                             \
        if (add) c0_##i = _mm512_add_ps(c0_##i, _mm512_loadu_ps(row));                             \
        if (add) c1_##i = _mm512_add_ps(c1_##i, _mm512_loadu_ps(row + 16));                        \
        _mm512_storeu_ps(row, c0_##i);                                                             \
        _mm512_storeu_ps(row + 16, c1_##i);                                                        \
    }
#define KEEP(i)                                                                                    \
    _mm512_storeu_ps(sums + (i)*COLS, c0_##i);                                                     \
    _mm512_storeu_ps(sums + (i)*COLS + 16, c1_##i);
static void pairs_multiply(const Word *a, int64_t a_stride, const Word *b, float *c,
                           int64_t c_stride, int64_t k, int64_t rows, int64_t cols, bool add) {
    EACH(ZERO)
    for (int64_t at = 0; at < k; at += 2) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + at * COLS);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + at * COLS + 32);
        EACH(STEP)
    }
    if (rows == PAIR_ROWS && cols == COLS) {
        EACH(FULL)
        return;
    }
    float sums[PAIR_ROWS * COLS];
    EACH(KEEP)
    store_part(c, c_stride, sums, rows, cols, add);
}

/* --- AMX -------------------------------------------------------------------------------------- */

enum { AMX_ROWS = 32, AMX_UNIT = 32, AMX_SIDE = 16 };
typedef struct AmxConfig {
    uint8_t  palette, start, unused[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
} AmxConfig;
static_assert(sizeof(AmxConfig) == 64, "what the processor reads");
static _Alignas(64) const AmxConfig amx_config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};
/* The intrinsics do not say what memory they read. */
#define MEMORY_IS_READ __asm__ volatile("" ::: "memory")

static void amx_multiply(const Word *a, int64_t a_stride, const Word *b, float *c, int64_t c_stride,
                         int64_t k, int64_t rows, int64_t cols, bool add) {
    bool    full = rows == AMX_ROWS && cols == COLS;
    float   sums[AMX_ROWS * COLS];
    float  *to = full ? c : sums;
    int64_t stride = (full ? c_stride : COLS), bytes = stride * (int64_t)sizeof *c;
    int64_t a_bytes = a_stride * (int64_t)sizeof *a, b_bytes = 2 * COLS * (int64_t)sizeof *b;
    MEMORY_IS_READ;
    _tile_loadconfig(&amx_config);
    if (full && add) {
        _tile_loadd(0, to, bytes);
        _tile_loadd(1, to + AMX_SIDE, bytes);
        _tile_loadd(2, to + AMX_SIDE * stride, bytes);
        _tile_loadd(3, to + AMX_SIDE * stride + AMX_SIDE, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t at = 0; at < k; at += AMX_UNIT) {
        _tile_loadd(4, a + at, a_bytes);
        _tile_loadd(6, b + at * COLS, b_bytes);
        _tile_loadd(7, b + at * COLS + 2 * AMX_SIDE, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + AMX_SIDE * a_stride + at, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, to, bytes);
    _tile_stored(1, to + AMX_SIDE, bytes);
    _tile_stored(2, to + AMX_SIDE * stride, bytes);
    _tile_stored(3, to + AMX_SIDE * stride + AMX_SIDE, bytes);
    _tile_release();
    MEMORY_IS_READ;
    if (!full) store_part(c, c_stride, sums, rows, cols, add);
}

/* --- tables ----------------------------------------------------------------------------------- */

#define TILES(name, ROWS, UNIT)                                                                    \
    static void name##_tile(const void *a, const void *b, int64_t b_stride, void *c,               \
                            int64_t c_stride, int64_t k, int64_t rows, int64_t cols, bool add) {   \
        (void)b_stride;                                                                            \
        k = round_up(k, UNIT);                                                                     \
        name##_multiply(a, k, b, c, c_stride, k, rows, cols, add);                                 \
    }                                                                                              \
    static void name##_rows(const void *a, int64_t a_stride, const void *b, int64_t b_stride,      \
                            void *c, int64_t c_stride, int64_t k, int64_t cols, bool add) {        \
        (void)b_stride;                                                                            \
        name##_multiply(a, a_stride, b, c, c_stride, k, ROWS, cols, add);                          \
    }                                                                                              \
    PACKS(name, UNIT)                                                                              \
    const Bf16Tiles kernels_bf16_##name = {name##_tile, name##_rows, name##_pack_a, name##_pack_b, \
                                           ROWS,        COLS,        UNIT};
TILES(pairs, PAIR_ROWS, PAIR_UNIT)
TILES(amx, AMX_ROWS, AMX_UNIT)
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
