/* Inequalities between expressions: is a sum never negative?
 *
 * The youngest atom that the sum is linear in goes first. A linear function over an interval is
 * least at one of its ends, so the atom is replaced by its ends (by the one that the sign of its
 * coefficient picks, where that is known), and what is left is proved in turn. The ends of an atom
 * may be expressions: a loop variable lies between 0 and its bound - 1, x mod d between 0 and
 * d - 1, min(x, y) is x or y; and d*(x floordiv d) is x - x mod d, after the whole sum is
 * multiplied by d where that is needed. Expressions at the ends are older than the atom, so this
 * ends; the number of steps is limited all the same. What remains is judged by its interval.
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
/* d*(x floordiv d) = x - x mod d. Where d does not divide the coefficient, the sum is multiplied
 * by d, which is positive. */
static bool prove_floordiv(Proof *p, uint32_t atom, const Poly *quotient, const Poly *rest) {
    Dims *dims = p->dims;
    DimId x = {dims->rows.lhs[atom]}, d = {dims->rows.rhs[atom]};
    DimId remainder = dims_mod(dims, x, d);
    if (!dim_id_some(remainder)) return false;
    Poly divisor, replaced, scaled = *quotient, left = *rest;
    dims_poly_of(dims, &divisor, d);
    bool divides = divisor.count == 1;
    for (uint32_t i = 0; i < quotient->count && divides; i++) {
        uint32_t mono = dims_mono_div(dims, quotient->mono[i], divisor.mono[0]);
        divides = mono != 0 && quotient->coef[i] % divisor.coef[0] == 0;
    }
    if (divides) {
        scaled.count = 0;
        for (uint32_t i = 0; i < quotient->count; i++)
            dims_poly_push(&scaled, quotient->coef[i] / divisor.coef[0],
                           dims_mono_div(dims, quotient->mono[i], divisor.mono[0]));
    } else {
        dims_poly_mul(dims, rest, &divisor, &left);
    }
    dims_poly_of(dims, &replaced, x);
    dims_poly_add(dims, &replaced, remainder, -1);
    return !poly_failed(&left) && !poly_failed(&replaced) && prove_at(p, &scaled, &left, &replaced);
}
static bool prove_atom(Proof *p, uint32_t atom, const Poly *quotient, const Poly *rest) {
    DimFact fact = dims_fact_poly(p->dims, quotient);
    Sign    sign = fact.lo >= 0 ? SIGN_UP : fact.hi <= 0 ? SIGN_DOWN : SIGN_UNKNOWN;
    switch ((DimKind)p->dims->rows.kind[atom]) {
    case DIM_SYMBOL: return prove_symbol(p, atom, sign, quotient, rest);
    case DIM_MIN:
    case DIM_MAX: return prove_extreme(p, atom, sign, quotient, rest);
    case DIM_FLOORDIV: return prove_floordiv(p, atom, quotient, rest);
    case DIM_MOD:
        if (sign != SIGN_DOWN && !prove_at_const(p, quotient, rest, 0)) return false;
        return sign == SIGN_UP || prove_at_dim(p, quotient, rest, p->dims->rows.rhs[atom], -1);
    default: break;
    }
    NEVER(true);
    return false;
}

/* The youngest atom of the sum that is older than `before`; 0 when there is none. */
static uint32_t next_atom(const Dims *dims, const Poly *sum, uint32_t before) {
    uint32_t youngest = 0;
    for (uint32_t i = 0; i < sum->count; i++) {
        uint32_t first = dims->monos.first[sum->mono[i]];
        for (uint32_t k = first; k < first + dims->monos.count[sum->mono[i]]; k++) {
            uint32_t atom = dims->atoms.atom[k];
            if (atom < before && atom > youngest) youngest = atom;
        }
    }
    return youngest;
}
static bool prove(Proof *p, const Poly *sum) {
    DimFact fact = dims_fact_poly(p->dims, sum);
    if (fact.lo >= 0) return true;
    if (fact.hi < 0 || p->steps == 0 || p->depth == PROOF_DEPTH) return false;
    p->steps--;
    p->depth++;
    Poly     quotient, rest;
    uint32_t atom = next_atom(p->dims, sum, UINT32_MAX);
    while (atom != 0 && !dims_poly_linear(p->dims, sum, atom, &quotient, &rest))
        atom = next_atom(p->dims, sum, atom);
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
