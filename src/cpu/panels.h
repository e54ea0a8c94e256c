/* Matrix products over packed panels: the register tile of kernels_tile.def and the packing in
 * front of it, as products, convolutions, attention and the fused loss share them.
 *
 * Of z[m,n] = a b, a is packed in panels of `rows` lanes (of m) and b in panels of `cols` lanes (of
 * n), each panel[k][lanes], panels back to back, lanes beyond the last zero. 16-bit floats become
 * f32 on the way, except for panels_of_bf16. The sum over k goes in order, so how z is cut does not
 * change its bits. */
#ifndef STOA_CPU_PANELS_H
#define STOA_CPU_PANELS_H

#include "cpu/kernels.h"

typedef struct Panels {
    GemmTileFn *tile;
    GemmRowsFn *in_rows;       /* the tile over rows of a in place, of the dtype of computation */
    GemmPackFn *pack, *pack_a; /* of b, and of a: the same but for bf16 */
    int64_t     rows, cols;    /* of a register tile */
    int64_t     width, packed, compute; /* bytes of an element: in memory, in panels, of sums */
    int64_t     unit;                   /* k of panels is a multiple */
} Panels;

/* False: no tiles for this dtype. */
static inline bool panels_of(const Isa *isa, Dtype dtype, Panels *out) {
    Dtype compute = dtype_compute(dtype);
    *out = (Panels){.tile = isa->gemm_tile[compute],
                    .in_rows = isa->gemm_rows[compute],
                    .pack = isa->gemm_pack[dtype],
                    .pack_a = isa->gemm_pack[dtype],
                    .rows = isa->gemm_shape[compute].rows,
                    .cols = isa->gemm_shape[compute].cols,
                    .width = dtype_bytes(dtype),
                    .packed = dtype_bytes(compute),
                    .compute = dtype_bytes(compute),
                    .unit = 1};
    return out->pack != NULL;
}
/* Panels of bf16 as it is; false: no instructions for it. Not for panels_multiply. */
static inline bool panels_of_bf16(const Isa *isa, Dtype dtype, Panels *out) {
    const Bf16Tiles *tiles = isa->bf16;
    if (dtype != DTYPE_BF16 || tiles == NULL) return false;
    *out = (Panels){.tile = tiles->tile,
                    .in_rows = tiles->in_rows,
                    .pack = tiles->pack_b,
                    .pack_a = tiles->pack_a,
                    .rows = tiles->rows,
                    .cols = tiles->cols,
                    .width = 2,
                    .packed = 2,
                    .compute = 4,
                    .unit = tiles->unit};
    return true;
}

/* The most steps of k between a read and a write of sums: a panel of b takes most of the cache of
 * the first level, 24 KiB for vectors of 32 bytes, 32 KiB for those of 64. */
static inline int64_t panels_depth(const Panels *p) {
    return p->compute == 4 && p->cols <= 16 ? 384 : 256;
}

static inline int64_t panels_up(int64_t count, int64_t unit) {
    return (count + unit - 1) / unit * unit;
}
static inline int64_t panels_least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t panels_blocks(int64_t count, int64_t block) {
    return (count + block - 1) / block;
}
/* Bytes of a lane of a panel over k; of the panels of count lanes; lanes: rows or cols. */
static inline int64_t panels_lane(const Panels *p, int64_t k) {
    return panels_up(k, p->unit) * p->packed;
}
static inline int64_t panels_bytes(const Panels *p, int64_t count, int64_t lanes, int64_t k) {
    return panels_up(count, lanes) * panels_lane(p, k);
}

/* Cuts scratch of a lane into parts that begin at cache lines. at: NULL only counts. */
typedef struct PanelScratch {
    uint8_t *at;
    int64_t  bytes; /* taken */
} PanelScratch;
static inline void *panels_take(PanelScratch *scratch, int64_t bytes) {
    uint8_t *part = scratch->at ? scratch->at + scratch->bytes : NULL;
    scratch->bytes += panels_up(bytes, 64);
    return part;
}

/* One side of a product: panels of k_all rows each, of which the product takes k, from the first
 * of data on. */
typedef struct PanelSide {
    const void *data;
    int64_t     k_all;
} PanelSide;
/* z[m,n] (+)= a b over k; z_stride in elements. */
static inline void panels_multiply(const Panels *p, PanelSide a, PanelSide b, void *z,
                                   int64_t z_stride, int64_t m, int64_t n, int64_t k, bool add) {
    for (int64_t j = 0; j < n; j += p->cols)
        for (int64_t i = 0; i < m; i += p->rows)
            p->tile((const uint8_t *)a.data + i * a.k_all * p->compute,
                    (const uint8_t *)b.data + j * b.k_all * p->compute, p->cols,
                    (uint8_t *)z + (i * z_stride + j) * p->compute, z_stride, k,
                    panels_least(m - i, p->rows), panels_least(n - j, p->cols), add);
}

#endif
