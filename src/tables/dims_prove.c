/* Inequalities between expressions: is a sum never negative?
 *
 * The youngest atom that the sum is linear in goes first. A linear function over an interval is
 * least at one of its ends, so the atom is replaced by its ends (by the one that the sign of its
 * coefficient picks, where that is known), and what is left is proved in turn. The ends of an atom
 * may be expressions: a loop variable lies between 0 and its bound - 1, min(x, y) is x or y, and
 * d*(x floordiv d) lies between x - d + 1 and x, after the whole sum is multiplied by d where that
 * is needed. Expressions at the ends are older than the atom, so this ends; the number of steps is
 * limited all the same. What remains is judged by its interval.
 *
 * That a loop variable has a value says that its bound is 1 or more. */
#include "tables/dims_inner.h"

enum { PROOF_STEPS = 96, PROOF_DEPTH = 24, PROOF_EXISTS = 8 };

typedef struct Proof {
    Dims    *dims;
    uint32_t steps; /* left */
    uint32_t depth;
    uint32_t exists[PROOF_EXISTS]; /* atoms that are bounds of loop variables that were met */
    uint32_t exists_count;
} Proof;

static bool prove(Proof *p, const Poly *sum);

static bool prove_at(Proof *p, const Poly *quotient, const Poly *rest, const Poly *value) {
    Poly at;
    dims_poly_mul(p->dims, quotient, value, &at);
    dims_poly_sum(&at, rest, 1);
    return !poly_failed(&at) && prove(p, &at);
}
static bool prove_at_const(Proof *p, const Poly *quotient, const Poly *rest, int64_t value) {
    if (value == INT64_MIN || value == INT64_MAX) return false;
    Poly at = {.count = value != 0, .coef = {value}, .mono = {DIM_MONO_ONE}};
    return prove_at(p, quotient, rest, &at);
}
static bool prove_at_dim(Proof *p, const Poly *quotient, const Poly *rest, uint32_t row,
                         int64_t more) {
    Poly at;
    dims_poly_of(p->dims, &at, (DimId){row});
    dims_poly_push(&at, more, DIM_MONO_ONE);
    return !poly_failed(&at) && prove_at(p, quotient, rest, &at);
}

typedef enum Sign { SIGN_UNKNOWN, SIGN_UP, SIGN_DOWN } Sign; /* of the coefficient */

static bool prove_symbol(Proof *p, uint32_t atom, Sign sign, const Poly *quotient,
                         const Poly *rest) {
    uint32_t below = p->dims->rows.below[atom];
    DimFact  fact = dims_fact(p->dims, atom);
    if (below != 0 && dim_is_atom(p->dims, below) && p->exists_count < PROOF_EXISTS)
        p->exists[p->exists_count++] = below;
    for (uint32_t i = 0; i < p->exists_count; i++)
        if (p->exists[i] == atom && fact.lo < 1) fact.lo = 1;
    if (sign != SIGN_DOWN && !prove_at_const(p, quotient, rest, fact.lo)) return false;
    if (sign == SIGN_UP) return true;
    if (below != 0) return prove_at_dim(p, quotient, rest, below, -1);
    return prove_at_const(p, quotient, rest, fact.hi);
}
static bool prove_extreme(Proof *p, uint32_t atom, Sign sign, const Poly *quotient,
                          const Poly *rest) {
    const DimRows *r = &p->dims->rows;
    bool           is_min = r->kind[atom] == DIM_MIN;
    bool           any = sign == (is_min ? SIGN_DOWN : SIGN_UP); /* either argument is an end */
    bool           held = prove_at_dim(p, quotient, rest, r->lhs[atom], 0);
    if (held == any) return held;
    return prove_at_dim(p, quotient, rest, r->rhs[atom], 0);
}
/* x - d < d*(x floordiv d) <= x. Where d does not divide the coefficient, the sum is multiplied by
 * d, which is positive. */
static bool prove_floordiv(Proof *p, uint32_t atom, Sign sign, const Poly *quotient,
                           const Poly *rest) {
    Dims *dims = p->dims;
    DimId x = {dims->rows.lhs[atom]}, d = {dims->rows.rhs[atom]};
    Poly  scale, whole = *rest, divisor, most, least;
    dims_poly_of(dims, &divisor, d);
    if (!dims_poly_divides(dims, quotient, d, &scale)) {
        scale = *quotient;
        dims_poly_mul(dims, rest, &divisor, &whole);
    }
    dims_poly_of(dims, &most, x);
    least = most;
    dims_poly_sum(&least, &divisor, -1);
    dims_poly_push(&least, 1, DIM_MONO_ONE);
    if (poly_failed(&whole) || poly_failed(&least)) return false;
    if (sign != SIGN_DOWN && !prove_at(p, &scale, &whole, &least)) return false;
    return sign == SIGN_UP || prove_at(p, &scale, &whole, &most);
}
/* rest, or quotient + rest: in each case what the comparison says may be taken off, since it is
 * not negative. */
static bool prove_case(Proof *p, const Poly *sum, DimId smaller, DimId larger, int64_t apart) {
    Poly known = *sum;
    dims_poly_add(p->dims, &known, larger, -1);
    dims_poly_add(p->dims, &known, smaller, 1);
    dims_poly_push(&known, apart, DIM_MONO_ONE); /* sum - (larger - smaller - apart) */
    return prove(p, sum) || (!poly_failed(&known) && prove(p, &known));
}
static bool prove_less(Proof *p, uint32_t atom, const Poly *quotient, const Poly *rest) {
    DimId a = {p->dims->rows.lhs[atom]}, b = {p->dims->rows.rhs[atom]};
    Poly  chosen = *quotient;
    dims_poly_sum(&chosen, rest, 1);
    if (poly_failed(&chosen)) return false;
    return prove_case(p, &chosen, a, b, 1) && prove_case(p, rest, b, a, 0);
}
static bool prove_atom(Proof *p, uint32_t atom, const Poly *quotient, const Poly *rest) {
    DimFact fact = dims_fact_poly(p->dims, quotient);
    Sign    sign = fact.lo >= 0 ? SIGN_UP : fact.hi <= 0 ? SIGN_DOWN : SIGN_UNKNOWN;
    switch ((DimKind)p->dims->rows.kind[atom]) {
    case DIM_SYMBOL: return prove_symbol(p, atom, sign, quotient, rest);
    case DIM_MIN:
    case DIM_MAX: return prove_extreme(p, atom, sign, quotient, rest);
    case DIM_FLOORDIV: return prove_floordiv(p, atom, sign, quotient, rest);
    case DIM_LESS: return prove_less(p, atom, quotient, rest);
    default: break;
    }
    NEVER(true);
    return false;
}

/* Comparisons first: either case may want another end of the rest. */
static uint32_t first_linear(Proof *p, const Poly *sum, uint32_t kinds, Poly *quotient,
                             Poly *rest) {
    uint32_t atom = dims_poly_atom(p->dims, sum, kinds, UINT32_MAX);
    while (atom != 0 && !dims_poly_linear(p->dims, sum, atom, quotient, rest))
        atom = dims_poly_atom(p->dims, sum, kinds, atom);
    return atom;
}
static bool prove(Proof *p, const Poly *sum) {
    DimFact fact = dims_fact_poly(p->dims, sum);
    if (fact.lo >= 0) return true;
    if (fact.hi < 0 || p->steps == 0 || p->depth == PROOF_DEPTH) return false;
    p->steps--;
    p->depth++;
    Poly     quotient, rest;
    uint32_t atom = first_linear(p, sum, 1u << DIM_LESS, &quotient, &rest);
    if (atom == 0) atom = first_linear(p, sum, UINT32_MAX, &quotient, &rest);
    bool held = atom != 0 && prove_atom(p, atom, &quotient, &rest);
    p->depth--;
    return held;
}

bool dims_prove_not_negative(Dims *dims, const Poly *poly) {
    Proof proof = {.dims = dims, .steps = PROOF_STEPS};
    return !poly_failed(poly) && prove(&proof, poly);
}
bool dims_prove_below(Dims *dims, const Poly *a, const Poly *b) {
    Poly room = *b;
    dims_poly_sum(&room, a, -1);
    dims_poly_push(&room, -1, DIM_MONO_ONE);
    return dims_prove_not_negative(dims, &room);
}
bool dims_provably_below(Dims *dims, DimId a, DimId b) {
    Poly x, y;
    dims_poly_of(dims, &x, a);
    dims_poly_of(dims, &y, b);
    return dims_prove_below(dims, &x, &y);
}
bool dims_provably_at_most(Dims *dims, DimId a, DimId b) {
    Poly room;
    dims_poly_of(dims, &room, b);
    dims_poly_add(dims, &room, a, -1);
    return dims_prove_not_negative(dims, &room);
}
bool dims_may_be_same(Dims *dims, DimId a, DimId b) {
    Poly x, y, apart;
    a = dims_find(dims, a);
    b = dims_find(dims, b);
    dims_poly_of(dims, &x, a);
    dims_poly_of(dims, &y, b);
    apart = x;
    dims_poly_sum(&apart, &y, -1);
    if (poly_failed(&apart)) return true;
    DimFact fact = dims_fact_poly(dims, &apart);
    if (fact.lo > 0 || fact.hi < 0 || (fact.modulus != 0 && fact.residue != 0)) return false;
    return !dims_prove_below(dims, &x, &y) && !dims_prove_below(dims, &y, &x);
}
