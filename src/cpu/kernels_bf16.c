/* Products of bf16 that are not widened: the register tile of AMX, and the packing in front of it
 * (Bf16Tiles in kernels.h).
 *
 * Pairs along k are multiplied and added up in f32. A pair of a is one 32-bit number of a row, so
 * rows of the operand itself serve as well as packed ones. Pairs of b lie side by side for the
 * columns of a tile. c is 2 x 2 tile registers of 16 x 16; 32 numbers along k are four loads and
 * four products. The configuration belongs to the thread: a call sets it and leaves the registers
 * empty. Why not the vectors of AVX512_BF16: note 0007. */
#include <string.h>

#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define BF16_TARGET "avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(BF16_TARGET))), apply_to = function)
#else
#pragma GCC optimize("O3")
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")
#endif

enum { ROWS = 32, COLS = 32, UNIT = 32, SIDE = 16 }; /* of a tile; of a register */
typedef uint16_t Word;

/* --- packing ---------------------------------------------------------------------------------- */

static inline int64_t whole(int64_t k) { return (k + UNIT - 1) / UNIT * UNIT; }

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

/* GemmPackFn of a: out[lane][k up to UNIT], lanes up to whole panels. */
static void pack_a(void *to_panels, const void *matrix, int64_t stride_lane, int64_t stride_k,
                   int64_t width, int64_t count, int64_t k) {
    Word       *out = to_panels;
    const Word *x = matrix;
    int64_t     each = whole(k), lanes = (count + width - 1) / width * width;
    int64_t     eights = stride_lane == 1 ? count / 8 * 8 : 0, turned = eights > 0 ? k / 8 * 8 : 0;
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
/* One panel of b: out[k / 2][COLS][2]; lanes from count on, and k up to UNIT, are zero. */
static void pack_panel(Word *out, const Word *x, int64_t stride_lane, int64_t stride_k,
                       int64_t count, int64_t k) {
    int64_t done = 0, each = whole(k);
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
/* GemmPackFn of b. */
static void pack_b(void *out, const void *x, int64_t stride_lane, int64_t stride_k, int64_t width,
                   int64_t count, int64_t k) {
    ASSERT(width == COLS);
    for (int64_t lane = 0; lane < count; lane += COLS)
        pack_panel((Word *)out + lane * whole(k), (const Word *)x + lane * stride_lane, stride_lane,
                   stride_k, count - lane < COLS ? count - lane : COLS, k);
}

/* --- the tile --------------------------------------------------------------------------------- */

/* Of a tile that is not whole: sums[rows][COLS] become part of c. */
static void store_part(float *c, int64_t c_stride, const float *sums, int64_t rows, int64_t cols,
                       bool add) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            float before = add ? c[i * c_stride + j] : 0;
            c[i * c_stride + j] = before + sums[i * COLS + j];
        }
}

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

static void multiply(const Word *a, int64_t a_stride, const Word *b, float *c, int64_t c_stride,
                     int64_t k, int64_t rows, int64_t cols, bool add) {
    bool    full = rows == ROWS && cols == COLS;
    float   sums[ROWS * COLS];
    float  *to = full ? c : sums;
    int64_t stride = (full ? c_stride : COLS), bytes = stride * (int64_t)sizeof *c;
    int64_t a_bytes = a_stride * (int64_t)sizeof *a, b_bytes = 2 * COLS * (int64_t)sizeof *b;
    MEMORY_IS_READ;
    _tile_loadconfig(&amx_config);
    if (full && add) {
        _tile_loadd(0, to, bytes);
        _tile_loadd(1, to + SIDE, bytes);
        _tile_loadd(2, to + SIDE * stride, bytes);
        _tile_loadd(3, to + SIDE * stride + SIDE, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t at = 0; at < k; at += UNIT) {
        _tile_loadd(4, a + at, a_bytes);
        _tile_loadd(6, b + at * COLS, b_bytes);
        _tile_loadd(7, b + at * COLS + 2 * SIDE, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + SIDE * a_stride + at, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, to, bytes);
    _tile_stored(1, to + SIDE, bytes);
    _tile_stored(2, to + SIDE * stride, bytes);
    _tile_stored(3, to + SIDE * stride + SIDE, bytes);
    _tile_release();
    MEMORY_IS_READ;
    if (!full) store_part(c, c_stride, sums, rows, cols, add);
}

static void tile(const void *a, const void *b, int64_t b_stride, void *c, int64_t c_stride,
                 int64_t k, int64_t rows, int64_t cols, bool add) {
    (void)b_stride;
    multiply(a, whole(k), b, c, c_stride, whole(k), rows, cols, add);
}
static void tile_in_rows(const void *a, int64_t a_stride, const void *b, int64_t b_stride, void *c,
                         int64_t c_stride, int64_t k, int64_t cols, bool add) {
    (void)b_stride;
    multiply(a, a_stride, b, c, c_stride, k, ROWS, cols, add);
}
const Bf16Tiles kernels_bf16_amx = {tile, tile_in_rows, pack_a, pack_b, ROWS, COLS, UNIT};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
