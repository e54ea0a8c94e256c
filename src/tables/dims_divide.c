/* Quotients, remainders and extremes in canonical form.
 *
 * A dividend is split as b*quotient + rest by long division: what b divides leaves the operation.
 * The rest is then measured (0 <= rest < b makes quotient and remainder plain sums), the common
 * content of rest and b is cancelled, and divisions of divisions are merged. Because the split
 * comes first, x + k*b and x give the same atom. */
#include "tables/dims_inner.h"

/* --- long division ---------------------------------------------------------------------------- */
/* a = b*quotient + rest; then, for the caller's operation on rest and b:
 *   rest floordiv b = x floordiv y    rest mod b = content*(x mod y) + offset */
typedef struct Division {
    Poly    quotient, rest, b;
    Poly    x, y, content;
    int64_t offset;
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
static int64_t gcd(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a < 0 ? -a : a;
}
/* The greatest common part of two monomials. */
static uint32_t mono_common(Dims *dims, uint32_t a, uint32_t b) {
    uint32_t        na = dims->monos.count[a], nb = dims->monos.count[b], n = 0;
    const uint32_t *x = dims->atoms.atom + dims->monos.first[a];
    const uint32_t *y = dims->atoms.atom + dims->monos.first[b];
    uint32_t        common[DIM_DEGREE_MAX];
    while (na != 0 && nb != 0) {
        if (*x == *y) common[n++] = *x;
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
    uint32_t mono = d->b.mono[0], constant = d->rest.count;
    for (uint32_t i = 0; i < d->b.count; i++) {
        coef = gcd(coef, d->b.coef[i]);
        mono = mono_common(dims, mono, d->b.mono[i]);
    }
    for (uint32_t i = 0; i < d->rest.count; i++) {
        if (d->rest.mono[i] == DIM_MONO_ONE)
            constant = i;
        else
            coef = gcd(coef, d->rest.coef[i]);
    }
    Poly rest = d->rest;
    d->offset = 0;
    if (constant != d->rest.count) {
        d->offset = rest.coef[constant] - dim_floor_div(rest.coef[constant], coef) * coef;
        dims_poly_push(&rest, -d->offset, DIM_MONO_ONE);
    }
    for (uint32_t i = 0; i < rest.count; i++) mono = mono_common(dims, mono, rest.mono[i]);
    divide_all(dims, &rest, coef, mono, &d->x);
    divide_all(dims, &d->b, coef, mono, &d->y);
    d->content = (Poly){.count = 1, .coef = {coef}, .mono = {mono}};
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
static bool poly_is_const(const Poly *poly, int64_t *out) {
    if (poly->count > 1 || (poly->count == 1 && poly->mono[0] != DIM_MONO_ONE)) return false;
    *out = poly->count == 0 ? 0 : poly->coef[0];
    return true;
}
/* The value of x mod y, where the congruence of x tells it. */
static bool known_remainder(Dims *dims, const Poly *x, const Poly *y, int64_t *out) {
    int64_t divisor;
    if (!poly_is_const(y, &divisor) || divisor <= 0) return false;
    DimFact fact = dims_fact_poly(dims, x);
    if (fact.modulus % divisor != 0) return false;
    *out = fact.residue - dim_floor_div(fact.residue, divisor) * divisor;
    return true;
}

/* --- divisions of divisions ------------------------------------------------------------------- */
/* Whether poly is atom + offset, with an atom of this kind. */
static bool poly_is_atom(const Dims *dims, const Poly *poly, DimKind kind, uint32_t *out_atom,
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
            dims->rows.kind[atom] != kind)
            return false;
        *out_atom = atom;
    }
    return *out_atom != 0;
}
/* (x floordiv a + c) floordiv y = (x + a*c) floordiv (a*y). Nil: not of this form. */
static DimId merge_quotients(Dims *dims, const Poly *x, DimId y) {
    uint32_t atom;
    int64_t  offset;
    if (!poly_is_atom(dims, x, DIM_FLOORDIV, &atom, &offset)) return (DimId){0};
    DimId a = {dims->rows.rhs[atom]}, by = dims_mul(dims, a, y);
    Poly  sum;
    dims_poly_of(dims, &sum, (DimId){dims->rows.lhs[atom]});
    dims_poly_add(dims, &sum, a, offset);
    DimId of = dims_poly_intern(dims, &sum);
    if (!dim_id_some(of) || !dim_id_some(by)) return (DimId){0};
    return dims_floordiv(dims, of, by);
}
/* (x mod (y*k)) floordiv y = (x floordiv y) mod k. Nil: not of this form. */
static DimId divide_remainder(Dims *dims, const Poly *x, DimId y) {
    uint32_t atom;
    int64_t  offset;
    Division whole;
    if (!poly_is_atom(dims, x, DIM_MOD, &atom, &offset) || offset != 0) return (DimId){0};
    dims_poly_of(dims, &whole.rest, (DimId){dims->rows.rhs[atom]});
    dims_poly_of(dims, &whole.b, y);
    split(dims, &whole);
    if (whole.rest.count != 0) return (DimId){0};
    DimId of = dims_floordiv(dims, (DimId){dims->rows.lhs[atom]}, y);
    DimId by = dims_poly_intern(dims, &whole.quotient);
    return dim_id_some(of) && dim_id_some(by) ? dims_mod(dims, of, by) : (DimId){0};
}
/* Terms scale*(z mod m) of the dividend, where y divides scale*m, may as well be scale*z: the
 * remainder by y is the same. True when one was replaced. */
static bool open_remainder(Dims *dims, Poly *x, const Poly *y) {
    for (uint32_t i = 0; i < x->count; i++) {
        uint32_t first = dims->monos.first[x->mono[i]];
        for (uint32_t k = first; k < first + dims->monos.count[x->mono[i]]; k++) {
            uint32_t atom = dims->atoms.atom[k];
            if (dims->rows.kind[atom] != DIM_MOD) continue;
            Poly scale = {.count = 1, .coef = {x->coef[i]}}, part, opened;
            scale.mono[0] = dims_mono_div(dims, x->mono[i], dims_mono_add(dims, &atom, 1));
            Division whole = {.b = *y};
            dims_poly_of(dims, &part, (DimId){dims->rows.rhs[atom]});
            dims_poly_mul(dims, &part, &scale, &whole.rest);
            if (poly_failed(&whole.rest)) continue;
            split(dims, &whole);
            if (whole.rest.count != 0) continue;
            dims_poly_of(dims, &part, (DimId){dims->rows.lhs[atom]});
            dims_poly_mul(dims, &part, &scale, &opened);
            dims_poly_sum(&opened, x, 1);
            dims_poly_push(&opened, -x->coef[i], x->mono[i]);
            if (poly_failed(&opened)) continue;
            *x = opened;
            return true;
        }
    }
    return false;
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
static DimId quotient_atom(Dims *dims, const Division *d, DimId x, DimId y) {
    DimId merged = merge_quotients(dims, &d->x, y);
    if (!dim_id_some(merged)) merged = divide_remainder(dims, &d->x, y);
    return dim_id_some(merged) ? merged : dims_atom_add(dims, DIM_FLOORDIV, x.row, y.row);
}
static DimId floor_divide(Dims *dims, DimId a, DimId b) {
    Division d;
    if (!division_begin(dims, &d, a, b)) return (DimId){0};
    if (divide(dims, &d)) return dims_poly_intern(dims, &d.quotient);
    cancel(dims, &d);
    DimId x = dims_poly_intern(dims, &d.x), y = dims_poly_intern(dims, &d.y);
    if (!dim_id_some(x) || !dim_id_some(y)) return (DimId){0};
    bool  simplest = x.row == a.row && y.row == b.row;
    DimId left = simplest ? quotient_atom(dims, &d, x, y) : dims_floordiv(dims, x, y);
    if (!dim_id_some(left)) return left;
    dims_poly_add(dims, &d.quotient, left, 1);
    return dims_poly_intern(dims, &d.quotient);
}
static DimId floor_remainder(Dims *dims, DimId a, DimId b) {
    Division d;
    int64_t  known;
    if (!division_begin(dims, &d, a, b)) return (DimId){0};
    while (open_remainder(dims, &d.rest, &d.b)) continue; /* each opens a mod into older atoms */
    if (divide(dims, &d)) return dims_poly_intern(dims, &d.rest);
    if (known_remainder(dims, &d.rest, &d.b, &known)) return dims_const(dims, known);
    cancel(dims, &d);
    DimId x = dims_poly_intern(dims, &d.x), y = dims_poly_intern(dims, &d.y);
    if (!dim_id_some(x) || !dim_id_some(y)) return (DimId){0};
    bool  simplest = x.row == a.row && y.row == b.row;
    DimId left = simplest ? dims_atom_add(dims, DIM_MOD, x.row, y.row) : dims_mod(dims, x, y);
    if (!dim_id_some(left) || simplest) return left;
    Poly remainder, product;
    dims_poly_of(dims, &remainder, left);
    dims_poly_mul(dims, &d.content, &remainder, &product);
    dims_poly_push(&product, d.offset, DIM_MONO_ONE);
    return dims_poly_intern(dims, &product);
}
static DimId extreme(Dims *dims, DimKind kind, DimId a, DimId b) {
    if (dims_provably_at_most(dims, a, b)) return kind == DIM_MIN ? a : b;
    if (dims_provably_at_most(dims, b, a)) return kind == DIM_MIN ? b : a;
    return dims_atom_add(dims, kind, a.row < b.row ? a.row : b.row, a.row < b.row ? b.row : a.row);
}

DimId dims_floordiv(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = dim_memo_at(dims, MAKE_FLOORDIV, a.row, b.row);
    if (dim_memo_has(memo, MAKE_FLOORDIV, a.row, b.row)) return (DimId){memo->result};
    DimId made = floor_divide(dims, a, b);
    return dim_memo_set(memo, MAKE_FLOORDIV, a.row, b.row, made);
}
DimId dims_ceildiv(Dims *dims, DimId a, DimId b) {
    Poly last;
    dims_poly_of(dims, &last, a);
    dims_poly_add(dims, &last, b, 1);
    dims_poly_push(&last, -1, DIM_MONO_ONE);
    DimId of = dims_poly_intern(dims, &last);
    return dim_id_some(of) ? dims_floordiv(dims, of, b) : of;
}
DimId dims_mod(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = dim_memo_at(dims, MAKE_MOD, a.row, b.row);
    if (dim_memo_has(memo, MAKE_MOD, a.row, b.row)) return (DimId){memo->result};
    DimId made = floor_remainder(dims, a, b);
    return dim_memo_set(memo, MAKE_MOD, a.row, b.row, made);
}
DimId dims_min(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = dim_memo_at(dims, MAKE_MIN, a.row, b.row);
    if (dim_memo_has(memo, MAKE_MIN, a.row, b.row)) return (DimId){memo->result};
    return dim_memo_set(memo, MAKE_MIN, a.row, b.row, extreme(dims, DIM_MIN, a, b));
}
DimId dims_max(Dims *dims, DimId a, DimId b) {
    DimMemo *memo = dim_memo_at(dims, MAKE_MAX, a.row, b.row);
    if (dim_memo_has(memo, MAKE_MAX, a.row, b.row)) return (DimId){memo->result};
    return dim_memo_set(memo, MAKE_MAX, a.row, b.row, extreme(dims, DIM_MAX, a, b));
}
