/* Equalities: a union-find over rows, read on lookup. Stored expressions never change; dims_find
 * makes the expression anew from the representatives of its atoms. */
#include "tables/dims_inner.h"

bool dims_equate(Dims *dims, DimId a, DimId b) {
    a = dims_find(dims, a);
    b = dims_find(dims, b);
    if (a.row == b.row) return true;
    DimId difference = dims_sub(dims, a, b);
    if (dim_id_some(difference)) {
        DimRange range = dims_range(dims, difference);
        if (range.lo > 0 || range.hi < 0) return false;
    }
    bool a_atom = dims->rows.kind[a.row] != DIM_CONST && dims->rows.kind[a.row] != DIM_POLY;
    bool b_atom = dims->rows.kind[b.row] != DIM_CONST && dims->rows.kind[b.row] != DIM_POLY;
    if (!a_atom && !b_atom)
        return true; /* two sums: checked when evaluated, nothing to substitute */
    if (!a_atom || (b_atom && b.row > a.row)) {
        DimId swap = a;
        a = b;
        b = swap;
    }
    if (b.row > a.row && dims->rows.kind[b.row] == DIM_POLY) return true; /* might mention a */
    dims->rows.same_as[a.row] = b.row; /* parents have smaller rows or are later constants */
    dims->epoch++;
    dims_forget(dims);
    return true;
}

DimId dims_find(Dims *dims, DimId id) {
    uint32_t row = id.row;
    while (dims->rows.same_as[row] != 0) row = dims->rows.same_as[row];
    if (dims->epoch == 0) return (DimId){row};
    uint32_t lhs = dims->rows.lhs[row], rhs = dims->rows.rhs[row];
    switch ((DimKind)dims->rows.kind[row]) {
    case DIM_POLY: {
        DimId sum = dims_const(dims, 0);
        for (uint32_t i = 0; i < rhs; i++) {
            DimId    product = dims_const(dims, dims->terms.coef[lhs + i]);
            uint32_t mono = dims->terms.mono[lhs + i];
            for (uint32_t k = 0; k < dims->monos.count[mono] && dim_id_some(product); k++) {
                DimId atom = {dims->atoms.atom[dims->monos.first[mono] + k]};
                product = dims_mul(dims, product, dims_find(dims, atom));
            }
            if (!dim_id_some(product) || !dim_id_some(sum)) return (DimId){row};
            sum = dims_add(dims, sum, product);
        }
        return dim_id_some(sum) ? sum : (DimId){row};
    }
    case DIM_FLOORDIV:
        return dims_floordiv(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_MIN:
        return dims_min(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_MAX:
        return dims_max(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    case DIM_LESS:
        return dims_less(dims, dims_find(dims, (DimId){lhs}), dims_find(dims, (DimId){rhs}));
    default: return (DimId){row};
    }
}

bool dims_same(Dims *dims, DimId a, DimId b) {
    if (a.row == b.row) return true;
    if (dims->epoch == 0) return false;
    return dims_find(dims, a).row == dims_find(dims, b).row;
}
