/* Sizes and places at concrete values of a kernel's parameters: numbers where only parameters
 * occur, ranges where loop variables do. Nothing is interned, so several threads may ask. */
#include "gpu/emit_inner.h"

enum { FAR = 62 }; /* ranges end at 2^62 */
static int64_t far_cut(__int128_t x) {
    const int64_t far = (int64_t)1 << FAR;
    return x > far ? far : x < -far ? -far : (int64_t)x;
}
static DimRange range_mul(DimRange a, DimRange b) {
    __int128_t products[4] = {(__int128_t)a.lo * b.lo, (__int128_t)a.lo * b.hi,
                              (__int128_t)a.hi * b.lo, (__int128_t)a.hi * b.hi};
    __int128_t low = products[0], high = products[0];
    for (int i = 1; i < 4; i++) {
        if (products[i] < low) low = products[i];
        if (products[i] > high) high = products[i];
    }
    return (DimRange){far_cut(low), far_cut(high)};
}
static int64_t  quotient(int64_t a, int64_t b) { return dims_atom_value(DIM_FLOORDIV, a, b); }
static DimRange range_div(DimRange a, DimRange b) {
    if (b.lo <= 0) b.lo = b.hi < 1 ? b.hi : 1; /* of no use below 1 */
    int64_t  x[4] = {quotient(a.lo, b.lo), quotient(a.lo, b.hi), quotient(a.hi, b.lo),
                     quotient(a.hi, b.hi)};
    DimRange all = {x[0], x[0]};
    for (int i = 1; i < 4; i++) {
        if (x[i] < all.lo) all.lo = x[i];
        if (x[i] > all.hi) all.hi = x[i];
    }
    return all;
}

DimRange gpu_emit_range(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params) {
    const Dims    *dims = &loops->dims; // as deep as sizes nest
    const DimRows *rows = &dims->rows;
    uint32_t       row = dim.row, first = loops->kernels.params_first[kernel.row];
    DimRange       sum = {0, 0};
    switch ((DimKind)rows->kind[row]) {
    case DIM_CONST: return (DimRange){rows->imm[row], rows->imm[row]};
    case DIM_SYMBOL:
        for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
            if (loops->params.symbol[first + i].row == row) return (DimRange){params[i], params[i]};
        if (rows->below[row] != 0) {
            sum = gpu_emit_range(loops, kernel, (DimId){rows->below[row]}, params);
            return (DimRange){0, sum.hi > 0 ? sum.hi - 1 : 0};
        }
        return (DimRange){-((int64_t)1 << FAR), (int64_t)1 << FAR};
    case DIM_POLY:
        for (uint32_t i = 0; i < rows->rhs[row]; i++) {
            uint32_t mono = dims->terms.mono[rows->lhs[row] + i];
            int64_t  coef = dims->terms.coef[rows->lhs[row] + i];
            DimRange product = {coef, coef};
            for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
                product = range_mul(
                    product,
                    gpu_emit_range(loops, kernel,
                                   (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}, params));
            sum = (DimRange){far_cut((__int128_t)sum.lo + product.lo),
                             far_cut((__int128_t)sum.hi + product.hi)};
        }
        return sum;
    default: break;
    }
    DimRange a = gpu_emit_range(loops, kernel, (DimId){rows->lhs[row]}, params);
    DimRange b = gpu_emit_range(loops, kernel, (DimId){rows->rhs[row]}, params);
    DimKind  kind = (DimKind)rows->kind[row];
    if (kind == DIM_FLOORDIV) return range_div(a, b);
    if (kind == DIM_LESS) return (DimRange){a.hi < b.lo, a.lo < b.hi};
    return (DimRange){dims_atom_value(kind, a.lo, b.lo), dims_atom_value(kind, a.hi, b.hi)};
}
int64_t gpu_emit_size(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params) {
    return gpu_emit_range(loops, kernel, dim, params).hi;
}

static bool term_is_multiple(const Loops *loops, KernelId kernel, uint32_t term,
                             const int64_t *params, int64_t by) {
    const Dims *dims = &loops->dims;
    uint32_t    mono = dims->terms.mono[term];
    __int128_t  known = dims->terms.coef[term];
    for (uint32_t k = 0; k < dims->monos.count[mono]; k++) {
        DimRange atom = gpu_emit_range(
            loops, kernel, (DimId){dims->atoms.atom[dims->monos.first[mono] + k]}, params);
        if (atom.lo == atom.hi) known = known % by * (atom.lo % by);
    }
    return known % by == 0;
}
bool gpu_emit_multiple(const Loops *loops, KernelId kernel, DimId dim, const int64_t *params,
                       int64_t by) {
    const DimRows *rows = &loops->dims.rows;
    if (rows->kind[dim.row] != DIM_POLY) {
        DimRange range = gpu_emit_range(loops, kernel, dim, params);
        return range.lo == range.hi && range.lo % by == 0;
    }
    for (uint32_t i = 0; i < rows->rhs[dim.row]; i++)
        if (!term_is_multiple(loops, kernel, rows->lhs[dim.row] + i, params, by)) return false;
    return true;
}
