/* Numbers: values of all rows from those of the symbols, in one forward sweep, because rows come
 * after their parts. */
#include "tables/dims_inner.h"

static bool eval_poly(const Dims *dims, uint32_t row, const int64_t *values, int64_t *out) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < dims->rows.rhs[row]; i++) {
        uint32_t term = dims->rows.lhs[row] + i, mono = dims->terms.mono[term];
        int64_t  product = dims->terms.coef[term];
        for (uint32_t k = 0; k < dims->monos.count[mono]; k++)
            if (__builtin_mul_overflow(
                    product, values[dims->atoms.atom[dims->monos.first[mono] + k]], &product))
                return false;
        if (__builtin_add_overflow(sum, product, &sum)) return false;
    }
    *out = sum;
    return true;
}

uint32_t dims_eval(const Dims *dims, int64_t *values) {
    const DimRows *r = &dims->rows;
    uint32_t       wrong = 0;
    values[0] = 0;
    for (uint32_t row = 1; row < r->table.count; row++) {
        int64_t a = values[r->kind[row] >= DIM_FLOORDIV ? r->lhs[row] : 0];
        int64_t b = values[r->kind[row] >= DIM_FLOORDIV ? r->rhs[row] : 0];
        bool    good = true;
        switch ((DimKind)r->kind[row]) {
        case DIM_CONST: values[row] = r->imm[row]; break;
        case DIM_SYMBOL:
            good = values[row] >= r->lo[row] && values[row] <= r->hi[row] &&
                   values[row] % r->modulus[row] == r->residue[row];
            break;
        case DIM_POLY: good = eval_poly(dims, row, values, &values[row]); break;
        case DIM_FLOORDIV:
        case DIM_MIN:
        case DIM_MAX:
        case DIM_LESS: values[row] = dims_atom_value((DimKind)r->kind[row], a, b); break;
        default: good = false; break;
        }
        if (!good && wrong == 0) wrong = row;
    }
    for (uint32_t row = 1; row < r->table.count && wrong == 0; row++)
        if (r->same_as[row] != 0 && values[row] != values[r->same_as[row]]) wrong = row;
    return wrong;
}

void dims_eval_typical(const Dims *dims, int64_t *values) {
    for (uint32_t row = 1; row < dims->rows.table.count; row++)
        if (dims->rows.kind[row] == DIM_SYMBOL) values[row] = dims_typical(dims, (DimId){row});
    (void)dims_eval(dims, values);
}
