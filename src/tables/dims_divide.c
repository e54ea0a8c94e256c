/* Quotients in canonical form, and with them remainders.
 *
 * A dividend is split as b*quotient + rest by long division: what b divides leaves the operation.
 * The rest is then measured (where 0 <= rest < b, nothing is left of the operation), the common
 * content of rest and b is cancelled, and quotients of quotients are merged. Because the split
 * comes first, x + k*b and x give the same atom. */
#include "tables/dims_inner.h"

/* --- long division ---------------------------------------------------------------------------- */
/* a = b*quotient + rest, and rest floordiv b = x floordiv y. */
typedef struct Division {
    Poly quotient, rest, b;
    Poly x, y;
} Division;

/* Order of monomials: by their youngest atoms first. It respects products, as division needs. */
static bool mono_before(const Dims *dims, uint32_t a, uint32_t b) {
    uint32_t        i = dims->monos.count[a], j = dims->monos.count[b];
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    while (i != 0 && j != 0)
        if (x[--i] != y[--j]) return x[i] < y[j];
    return i == 0 && j != 0;
}
static uint32_t leading(const Dims *dims, const Poly *poly) {
    uint32_t lead = 0;
    for (uint32_t i = 1; i < poly->count; i++)
        if (mono_before(dims, poly->mono[lead], poly->mono[i])) lead = i;
    return lead;
}
/* How often b goes into the coefficient: whole numbers of constants, so that the rest of those is
 * in [0, b); towards zero for others; only without remainder where b is a sum. */
static int64_t coefficient_quotient(int64_t coef, int64_t b, bool constants, bool sum) {
    if (sum) return coef % b == 0 ? coef / b : 0;
    return constants && b > 0 ? dim_floor_div(coef, b) : coef / b;
}
/* Of rest and b; an unfinished division leaves rest as it was. */
static void split(Dims *dims, Division *d) {
    Poly     left = d->rest, rest = {0}, product;
    uint32_t lead = leading(dims, &d->b);
    d->quotient.count = 0;
    while (left.count != 0) {
        uint32_t at = leading(dims, &left), mono = left.mono[at];
        uint32_t over = dims_mono_div(dims, mono, d->b.mono[lead]);
        int64_t  coef = left.coef[at];
        int64_t  times = over == 0 ? 0
                                   : coefficient_quotient(coef, d->b.coef[lead],
                                                          mono == DIM_MONO_ONE, d->b.count != 1);
        if (times == 0) {
            dims_poly_push(&rest, coef, mono);
            dims_poly_push(&left, -coef, mono);
            continue;
        }
        Poly term = {.count = 1, .coef = {times}, .mono = {over}};
        dims_poly_push(&d->quotient, times, over);
        dims_poly_mul(dims, &term, &d->b, &product);
        dims_poly_sum(&left, &product, -1);
        if (poly_failed(&left) || poly_failed(&d->quotient)) {
            d->quotient.count = 0;
            return;
        }
    }
    d->rest = rest;
}

/* --- content ---------------------------------------------------------------------------------- */
/* What two monomials share that is never negative: a divisor stays positive without it. */
static uint32_t mono_common(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t        na = dims->monos.count[a], nb = dims->monos.count[b], n = 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        common[DIM_DEGREE_MAX];
    while (na != 0 && nb != 0) {
        if (*x == *y && dims_fact(dims, *x).lo >= 0) common[n++] = *x;
        bool left = *x <= *y, right = *y <= *x;
        if (left) x++, na--;
        if (right) y++, nb--;
    }
    return dims_mono_add(dims, common, n);
}
static void divide_all(Dims *dims, const Poly *poly, int64_t coef, uint32_t mono, Poly *out) {
    out->count = 0;
    for (uint32_t i = 0; i < poly->count; i++)
        dims_poly_push(out, poly->coef[i] / coef, dims_mono_div(dims, poly->mono[i], mono));
}
/* Cancels what all terms of rest and b share; a constant of rest counts by its whole multiples. */
static void cancel(Dims *dims, Division *d) {
    int64_t  coef = 0;
    uint32_t mono = mono_common(dims, d->b.mono[0], d->b.mono[0]), constant = d->rest.count;
    for (uint32_t i = 0; i < d->b.count; i++) {
        coef = dim_gcd(coef, d->b.coef[i]);
        mono = mono_common(dims, mono, d->b.mono[i]);
    }
    for (uint32_t i = 0; i < d->rest.count; i++) {
        if (d->rest.mono[i] == DIM_MONO_ONE)
            constant = i;
        else
            coef = dim_gcd(coef, d->rest.coef[i]);
    }
    Poly rest = d->rest;
    if (constant != d->rest.count) {
        int64_t number = rest.coef[constant];
        dims_poly_push(&rest, dim_floor_div(number, coef) * coef - number, DIM_MONO_ONE);
    }
    for (uint32_t i = 0; i < rest.count; i++) mono = mono_common(dims, mono, rest.mono[i]);
    divide_all(dims, &rest, coef, mono, &d->x);
    divide_all(dims, &d->b, coef, mono, &d->y);
}

/* --- measuring the rest ----------------------------------------------------------------------- */
static bool below_divisor(Dims *dims, const Poly *rest, const Poly *b) {
    return dims_prove_not_negative(dims, rest) && dims_prove_below(dims, rest, b);
}
/* Moves rest into [0, b) where that is provable. */
static bool measure(Dims *dims, Division *d) {
    if (below_divisor(dims, &d->rest, &d->b)) return true;
    if (dims_fact_poly(dims, &d->rest).lo >= 0) return false;
    Poly up = d->rest;
    dims_poly_sum(&up, &d->b, 1);
    if (poly_failed(&up) || !below_divisor(dims, &up, &d->b)) return false;
    d->rest = up;
    dims_poly_push(&d->quotient, -1, DIM_MONO_ONE);
    return true;
}
/* A rest of x = r mod b is as good as none: x - r. */
static void drop_residue(Dims *dims, Division *d) {
    int64_t residue;
    if (d->b.count != 1 || d->b.mono[0] != DIM_MONO_ONE) return;
    DimFact fact = dims_fact_poly(dims, &d->rest);
    if (!dims_fact_residue(fact, d->b.coef[0], &residue)) return;
    dims_poly_push(&d->rest, -residue, DIM_MONO_ONE);
}

/* --- quotients of quotients ------------------------------------------------------------------- */
/* Whether poly is a quotient + offset. */
static bool poly_is_quotient(const Dims *dims, const Poly *poly, uint32_t *out_atom,
                             int64_t *out_offset) {
    *out_offset = 0;
    *out_atom = 0;
    for (uint32_t i = 0; i < poly->count; i++) {
        if (poly->mono[i] == DIM_MONO_ONE) {
            *out_offset = poly->coef[i];
            continue;
        }
        uint32_t atom = dims->atoms.atom[dims->monos.first[poly->mono[i]]];
        if (*out_atom != 0 || poly->coef[i] != 1 || dims->monos.count[poly->mono[i]] != 1 ||
            dims->rows.kind[atom] != DIM_FLOORDIV)
            return false;
        *out_atom = atom;
    }
    return *out_atom != 0;
}
/* (x floordiv a + c) floordiv y = (x + a*c) floordiv (a*y). Nil: not of this form. */
static DimId merge_quotients(Dims *dims, const Poly *x, DimId y) {
    uint32_t atom;
    int64_t  offset;
    if (!poly_is_quotient(dims, x, &atom, &offset)) return (DimId){0};
    DimId a = {dims->rows.rhs[atom]}, by = dims_mul(dims, a, y);
    Poly  sum;
    dims_poly_of(dims, &sum, (DimId){dims->rows.lhs[atom]});
    dims_poly_add(dims, &sum, a, offset);
    DimId of = dims_poly_intern(dims, &sum);
    if (!dim_id_some(of) || !dim_id_some(by)) return (DimId){0};
    return dims_floordiv(dims, of, by);
}
/* --- makers ----------------------------------------------------------------------------------- */
/* Splits and measures; true when rest is in [0, b). By a sum of several terms it is all or
 * nothing: a quotient that leaves an unknown rest would only be longer. */
static bool divide(Dims *dims, Division *d) {
    Poly whole = d->rest;
    split(dims, d);
    if (d->rest.count == 0 || measure(dims, d)) return true;
    if (d->b.count == 1) return false;
    d->quotient.count = 0;
    d->rest = whole;
    return false;
}
static bool division_begin(Dims *dims, Division *d, DimId a, DimId b) {
    if (dims_is_const(dims, b) && dims_const_value(dims, b) <= 0) return false;
    dims_poly_of(dims, &d->rest, a);
    dims_poly_of(dims, &d->b, b);
    return !poly_failed(&d->rest) && !poly_failed(&d->b);
}
static DimId floor_divide(Dims *dims, DimId a, DimId b) {
    Division d;
    if (!division_begin(dims, &d, a, b)) return (DimId){0};
    if (divide(dims, &d)) return dims_poly_intern(dims, &d.quotient);
    drop_residue(dims, &d);
    cancel(dims, &d);
    DimId x = dims_poly_intern(dims, &d.x), y = dims_poly_intern(dims, &d.y), left = {0};
    if (!dim_id_some(x) || !dim_id_some(y)) return (DimId){0};
    if (x.row == a.row && y.row == b.row) {
        left = merge_quotients(dims, &d.x, y);
        if (!dim_id_some(left)) left = dims_atom_add(dims, DIM_FLOORDIV, x.row, y.row);
    } else {
        left = dims_floordiv(dims, x, y);
        if (!dim_id_some(left)) return left;
    }
    dims_poly_add(dims, &d.quotient, left, 1);
    return dims_poly_intern(dims, &d.quotient);
}

DimId dims_floordiv(Dims *dims, DimId a, DimId b) {
    if (!dim_id_some(a) || !dim_id_some(b)) return (DimId){0};
    DimMemo *memo = dim_memo_at(dims, MAKE_FLOORDIV, a.row, b.row);
    if (dim_memo_has(dims, memo, MAKE_FLOORDIV, a.row, b.row)) return (DimId){memo->result};
    DimId made = floor_divide(dims, a, b);
    return dim_memo_set(dims, memo, MAKE_FLOORDIV, a.row, b.row, made);
}
DimId dims_ceildiv(Dims *dims, DimId a, DimId b) {
    DimId last = dims_sub(dims, dims_add(dims, a, b), dims_const(dims, 1));
    return dims_floordiv(dims, last, b);
}
DimId dims_mod(Dims *dims, DimId a, DimId b) {
    return dims_sub(dims, a, dims_mul(dims, dims_floordiv(dims, a, b), b));
}
