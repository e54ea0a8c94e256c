/* Extremes and comparisons. Where facts decide, nothing is left of the operation; else both sides
 * lose what they share, so that min(N + 1, M + 1) and min(N, M) have one atom. */
#include "tables/dims_inner.h"

static int64_t content(const Poly *poly, int64_t factor) {
    for (uint32_t i = 0; i < poly->count; i++) factor = dim_gcd(factor, poly->coef[i]);
    return factor;
}
static void divide_by(Poly *poly, int64_t factor) {
    for (uint32_t i = 0; i < poly->count; i++) poly->coef[i] /= factor;
}
static int64_t coefficient_of(const Poly *poly, uint32_t mono) {
    uint32_t at = 0;
    while (at < poly->count && poly->mono[at] != mono) at++;
    return at < poly->count ? poly->coef[at] : 0;
}

/* a = factor*x + common and b = factor*y + common: equal terms, and the lesser constant. */
typedef struct Sides {
    Poly    x, y, common;
    int64_t factor;
} Sides;
static bool sides_of(Dims *dims, DimId a, DimId b, Sides *s) {
    dims_poly_of(dims, &s->x, a);
    dims_poly_of(dims, &s->y, b);
    if (poly_failed(&s->x) || poly_failed(&s->y)) return false;
    int64_t one = coefficient_of(&s->x, DIM_MONO_ONE), other = coefficient_of(&s->y, DIM_MONO_ONE);
    s->common.count = 0;
    dims_poly_push(&s->common, one < other ? one : other, DIM_MONO_ONE);
    for (uint32_t i = 0; i < s->x.count; i++) {
        bool shared = coefficient_of(&s->y, s->x.mono[i]) == s->x.coef[i];
        if (shared && s->x.mono[i] != DIM_MONO_ONE)
            dims_poly_push(&s->common, s->x.coef[i], s->x.mono[i]);
    }
    dims_poly_sum(&s->x, &s->common, -1);
    dims_poly_sum(&s->y, &s->common, -1);
    if (poly_failed(&s->x) || poly_failed(&s->y)) return false;
    s->factor = content(&s->y, content(&s->x, 0));
    divide_by(&s->x, s->factor);
    divide_by(&s->y, s->factor);
    return true;
}

static DimId extreme(Dims *dims, DimKind kind, DimId a, DimId b) {
    if (dims_provably_at_most(dims, a, b)) return kind == DIM_MIN ? a : b;
    if (dims_provably_at_most(dims, b, a)) return kind == DIM_MIN ? b : a;
    Sides s;
    if (!sides_of(dims, a, b, &s)) return (DimId){0};
    DimId x = dims_poly_intern(dims, &s.x), y = dims_poly_intern(dims, &s.y);
    if (!dim_id_some(x) || !dim_id_some(y)) return (DimId){0};
    uint32_t older = x.row < y.row ? x.row : y.row, younger = x.row < y.row ? y.row : x.row;
    dims_poly_add(dims, &s.common, dims_atom_add(dims, kind, older, younger), s.factor);
    return dims_poly_intern(dims, &s.common);
}
static DimId min_of(Dims *dims, DimId a, DimId b) { return extreme(dims, DIM_MIN, a, b); }
static DimId max_of(Dims *dims, DimId a, DimId b) { return extreme(dims, DIM_MAX, a, b); }

/* Terms stand on the side where their coefficient is positive. */
static DimId less_of(Dims *dims, DimId a, DimId b) {
    if (dims_provably_below(dims, a, b)) return dims_const(dims, 1);
    if (dims_provably_at_most(dims, b, a)) return dims_const(dims, 0);
    Poly apart, smaller = {0}, larger = {0};
    dims_poly_of(dims, &apart, b);
    dims_poly_add(dims, &apart, a, -1);
    if (poly_failed(&apart)) return (DimId){0};
    divide_by(&apart, content(&apart, 0));
    for (uint32_t i = 0; i < apart.count; i++)
        if (apart.coef[i] < 0)
            dims_poly_push(&smaller, -apart.coef[i], apart.mono[i]);
        else
            dims_poly_push(&larger, apart.coef[i], apart.mono[i]);
    DimId x = dims_poly_intern(dims, &smaller), y = dims_poly_intern(dims, &larger);
    if (!dim_id_some(x) || !dim_id_some(y)) return (DimId){0};
    return dims_atom_add(dims, DIM_LESS, x.row, y.row);
}

/* --- makers ----------------------------------------------------------------------------------- */
typedef DimId Chooser(Dims *dims, DimId a, DimId b);
static DimId  remembered(Dims *dims, DimMaker maker, Chooser *make, DimId a, DimId b) {
     if (!dim_id_some(a) || !dim_id_some(b)) return (DimId){0};
    DimMemo *memo = dim_memo_at(dims, maker, a.row, b.row);
     if (dim_memo_has(dims, memo, maker, a.row, b.row)) return (DimId){memo->result};
    return dim_memo_set(dims, memo, maker, a.row, b.row, make(dims, a, b));
}
DimId dims_min(Dims *dims, DimId a, DimId b) { return remembered(dims, MAKE_MIN, min_of, a, b); }
DimId dims_max(Dims *dims, DimId a, DimId b) { return remembered(dims, MAKE_MAX, max_of, a, b); }
DimId dims_less(Dims *dims, DimId a, DimId b) { return remembered(dims, MAKE_LESS, less_of, a, b); }
DimId dims_atom(Dims *dims, DimKind kind, DimId a, DimId b) {
    if (kind == DIM_FLOORDIV) return dims_floordiv(dims, a, b);
    if (kind == DIM_MIN) return dims_min(dims, a, b);
    if (kind == DIM_MAX) return dims_max(dims, a, b);
    ASSERT(kind == DIM_LESS);
    return dims_less(dims, a, b);
}
DimId dims_select(Dims *dims, DimId a, DimId b, DimId x, DimId y) {
    return dims_add(dims, y, dims_mul(dims, dims_less(dims, a, b), dims_sub(dims, x, y)));
}
