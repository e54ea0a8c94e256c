/* Copies between memory that is contiguous along different axes.
 *
 * A transposed copy goes through square tiles: blocks of a few vectors are transposed in registers
 * (rounds of zipping row i with row i + N/2 do that) into a tile in the first-level cache, whose
 * rows then leave as whole cache lines. Read directly, each element would touch a line of its own,
 * and rows a power of two apart would fight for the same places in the caches. */
#include <string.h>

#include "cpu/kernels.h"

enum { TILE_BYTES = 16 * 1024, LINE = 64 };

/* --- blocks of N x N elements ----------------------------------------------------------------- */

/* `blocks` of them, side by side in from, below each other in to. */
typedef void BlockTurn(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride,
                       int64_t blocks);
#define UNROLLED _Pragma("GCC unroll 16")
#define BLOCK_TURN(U, N, LOW, HIGH)                                                                \
    static void turn_##U(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, \
                         int64_t blocks) {                                                         \
        typedef U Row __attribute__((vector_size(16)));                                            \
        for (; blocks > 0; blocks--, from += 16, to += (N)*to_stride) {                            \
            Row a[N], b[N];                                                                        \
            UNROLLED for (int i = 0; i < (N); i++) memcpy(&a[i], from + i * from_stride, 16);      \
            UNROLLED for (int rest = (N); rest > 1; rest /= 2) {                                   \
                UNROLLED for (int i = 0; i < (N) / 2; i++) {                                       \
                    b[2 * i] = __builtin_shufflevector(a[i], a[i + (N) / 2], LOW);                 \
                    b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + (N) / 2], HIGH);            \
                }                                                                                  \
                UNROLLED for (int i = 0; i < (N); i++) a[i] = b[i];                                \
            }                                                                                      \
            UNROLLED for (int i = 0; i < (N); i++) memcpy(to + i * to_stride, &a[i], 16);          \
        }                                                                                          \
    }
#define LOW_8   0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_8  8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LOW_16  0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_16 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_32  0, 4, 1, 5
#define HIGH_32 2, 6, 3, 7
#define LOW_64  0, 2
#define HIGH_64 1, 3
BLOCK_TURN(uint8_t, 16, LOW_8, HIGH_8)
BLOCK_TURN(uint16_t, 8, LOW_16, HIGH_16)
BLOCK_TURN(uint32_t, 4, LOW_32, HIGH_32)
BLOCK_TURN(uint64_t, 2, LOW_64, HIGH_64)

static BlockTurn *block_turn(int64_t width) {
    return width == 1   ? turn_uint8_t
           : width == 2 ? turn_uint16_t
           : width == 4 ? turn_uint32_t
                        : turn_uint64_t;
}

/* --- tiles ------------------------------------------------------------------------------------ */

/* Elements of a tile's side: a power of two that fills the tile. */
static int64_t side_of(int64_t width) { return width == 1 ? 128 : width == 8 ? 32 : 64; }

uint32_t nd_crossed(const Nd *nd, int64_t width) {
    uint32_t last = nd->rank - 1;
    if (nd->rank < 2 || width > 8 || (width & (width - 1)) != 0) return nd->rank;
    if (nd->strides[0][last] != width || nd->strides[1][last] == width) return nd->rank;
    for (uint32_t i = 0; i < last; i++)
        if (nd->strides[1][i] == width && nd->dims[i] > 1) return i;
    return nd->rank;
}
static int64_t tiles_along(int64_t count, int64_t side) { return (count + side - 1) / side; }

int64_t nd_tiles(const Nd *nd, uint32_t axis, int64_t width) {
    int64_t side = side_of(width), last = nd->dims[nd->rank - 1], rows = nd->dims[axis];
    return nd->count / (last * rows) * tiles_along(last, side) * tiles_along(rows, side);
}

/* to[r][c] = from[c][r], both with their own strides between rows. */
static void turn_tile(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride,
                      int64_t rows, int64_t columns, int64_t width) {
    BlockTurn *turn = block_turn(width);
    int64_t    n = 16 / width, whole_rows = rows / n * n, whole_columns = columns / n * n;
    for (int64_t c = 0; c < whole_columns; c += n)
        turn(to + c * width, to_stride, from + c * from_stride, from_stride, rows / n);
    for (int64_t r = 0; r < rows; r++) {
        int64_t c = r < whole_rows ? whole_columns : 0;
        nd_copy_row(to + r * to_stride + c * width, width, from + c * from_stride + r * width,
                    from_stride, columns - c, width);
    }
}

/* Asks for the rows that the tile after this one, if it is a neighbour, reads: each begins where
 * the processor does not look ahead. */
static void ask_for_tile(const uint8_t *from, int64_t stride, int64_t rows, int64_t bytes) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t at = 0; at < bytes; at += LINE) __builtin_prefetch(from + r * stride + at);
}
void nd_copy_tiles(const Nd *nd, uint32_t axis, uint8_t *to, const uint8_t *from, int64_t width,
                   int64_t first, int64_t last, bool past) {
    _Alignas(LINE) uint8_t tile[TILE_BYTES];
    uint32_t               inner = nd->rank - 1;
    int64_t                side = side_of(width);
    for (int64_t i = first; i < last; i++) {
        int64_t left = i, offsets[2] = {0, 0}, sizes[SHAPE_RANK_MAX];
        for (uint32_t k = 0; k < nd->rank; k++) { /* tiles along the axis are neighbours */
            uint32_t at = k == 0 ? axis : k == 1 ? inner : k - 2 < axis ? k - 2 : k - 1;
            int64_t  step = k < 2 ? side : 1, count = tiles_along(nd->dims[at], step);
            int64_t  begin = left % count * step;
            left /= count;
            sizes[at] = nd->dims[at] - begin < step ? nd->dims[at] - begin : step;
            for (uint32_t s = 0; s < 2; s++) offsets[s] += begin * nd->strides[s][at];
        }
        if (past)
            ask_for_tile(from + offsets[1] + side * width, nd->strides[1][inner], sizes[inner],
                         side * width);
        turn_tile(tile, side * width, from + offsets[1], nd->strides[1][inner], sizes[axis],
                  sizes[inner], width);
        for (int64_t r = 0; r < sizes[axis]; r++) {
            uint8_t       *row = to + offsets[0] + r * nd->strides[0][axis];
            const uint8_t *turned = tile + r * side * width;
            size_t         bytes = (size_t)(sizes[inner] * width);
            if (past)
                nd_copy_past(row, turned, bytes, NULL);
            else
                memcpy(row, turned, bytes);
        }
    }
}
