/* Facts of expressions, from those of their symbols: an interval and a congruence, derived together
 * in one walk and kept as notes until a fact changes. Intervals saturate at the ends of int64. A
 * row is noted with what is known without its parts before they are visited, so that a cycle of
 * bounds and equalities ends there, with a weaker fact instead of a wrong one. */
#include "tables/dims_inner.h"

/* --- intervals -------------------------------------------------------------------------------- */
/* The ends of int64 stand for what lies beyond: they stay what they are in sums and products. */
static bool    beyond(int64_t a) { return a == INT64_MIN || a == INT64_MAX; }
static int64_t mul_saturated(int64_t a, int64_t b) {
    int64_t product;
    bool    infinite = (beyond(a) || beyond(b)) && a != 0 && b != 0;
    if (!infinite && !__builtin_mul_overflow(a, b, &product)) return product;
    return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
}
static int64_t add_saturated(int64_t a, int64_t b, int64_t end) { /* towards this end */
    int64_t sum;
    if (a == end || b == end) return end;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return a < 0 ? INT64_MIN : INT64_MAX;
}
static int64_t div_saturated(int64_t a, int64_t b) { return beyond(a) ? a : dim_floor_div(a, b); }
static int64_t min2(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max2(int64_t a, int64_t b) { return a > b ? a : b; }
static DimFact hull(int64_t a, int64_t b, int64_t c, int64_t d) {
    return (DimFact){min2(min2(a, b), min2(c, d)), max2(max2(a, b), max2(c, d)), 1, 0};
}

/* --- congruences ------------------------------------------------------------------------------ */
static int64_t floor_mod(int64_t a, int64_t b) { return a % b < 0 ? a % b + b : a % b; }
static void    set_congruence(DimFact *fact, int64_t modulus, int64_t residue) {
       fact->modulus = modulus;
       fact->residue = modulus == 0 ? residue : floor_mod(residue, modulus);
}
static bool add_checked(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out) && *out != INT64_MIN;
}
static bool mul_checked(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out) && *out != INT64_MIN;
}
/* Bounds move to numbers of the congruence; a single number is one. False when the interval holds
 * no number of the congruence, so that no value meets both; then the fact stays as it is. */
static bool settle(DimFact *fact) {
    int64_t lo = fact->lo, hi = fact->hi;
    if (fact->modulus == 0) {
        if (fact->residue < lo || fact->residue > hi) return false;
        lo = hi = fact->residue;
    } else if (fact->modulus > 1 && lo > INT64_MIN && hi < INT64_MAX) {
        int64_t up = floor_mod(fact->residue - floor_mod(lo, fact->modulus), fact->modulus);
        int64_t down = floor_mod(floor_mod(hi, fact->modulus) - fact->residue, fact->modulus);
        if (!add_checked(lo, up, &lo) || !add_checked(hi, -down, &hi)) return true;
    }
    if (lo > hi) return false;
    fact->lo = lo;
    fact->hi = hi;
    if (lo == hi && lo != INT64_MIN) set_congruence(fact, 0, lo);
    return true;
}
static DimFact settled(DimFact fact) {
    (void)settle(&fact);
    return fact;
}

/* --- arithmetic ------------------------------------------------------------------------------- */
static DimFact exact(int64_t value) { return (DimFact){value, value, 0, value}; }

static DimFact fact_add(DimFact a, DimFact b) {
    DimFact sum = {add_saturated(a.lo, b.lo, INT64_MIN), add_saturated(a.hi, b.hi, INT64_MAX), 1,
                   0};
    int64_t residue;
    if (add_checked(a.residue, b.residue, &residue))
        set_congruence(&sum, dim_gcd(a.modulus, b.modulus), residue);
    return sum;
}
static DimFact fact_mul(DimFact a, DimFact b) {
    DimFact product = hull(mul_saturated(a.lo, b.lo), mul_saturated(a.lo, b.hi),
                           mul_saturated(a.hi, b.lo), mul_saturated(a.hi, b.hi));
    int64_t both, left, right, residue;
    if (mul_checked(a.modulus, b.modulus, &both) && mul_checked(a.modulus, b.residue, &left) &&
        mul_checked(b.modulus, a.residue, &right) && mul_checked(a.residue, b.residue, &residue))
        set_congruence(&product, dim_gcd(both, dim_gcd(left, right)), residue);
    return product;
}
static DimFact fact_floordiv(DimFact a, DimFact b) {
    int64_t lo = max2(b.lo, 1), hi = max2(b.hi, 1);
    DimFact fact = hull(div_saturated(a.lo, lo), div_saturated(a.lo, hi), div_saturated(a.hi, lo),
                        div_saturated(a.hi, hi));
    if (b.modulus == 0 && b.residue > 0 && a.modulus % b.residue == 0)
        set_congruence(&fact, a.modulus / b.residue, dim_floor_div(a.residue, b.residue));
    return fact;
}
/* One of the two. */
static DimFact fact_either(DimFact a, DimFact b) {
    DimFact fact = {min2(a.lo, b.lo), max2(a.hi, b.hi), 1, 0};
    int64_t apart;
    if (add_checked(a.residue, -b.residue, &apart))
        set_congruence(&fact, dim_gcd(dim_gcd(a.modulus, b.modulus), apart), a.residue);
    return fact;
}
/* The inverse of a mod m, which share no factor. */
static int64_t inverse(int64_t a, int64_t m) {
    int64_t old = m, rest = floor_mod(a, m), x = 0, y = 1;
    while (rest != 0) {
        int64_t times = old / rest, left = old - times * rest, next = x - times * y;
        old = rest, rest = left;
        x = y, y = next;
    }
    return floor_mod(x, m);
}
__extension__ typedef __int128 Wide;
enum { MODULUS_BITS_MAX = 41 }; /* larger ones say nothing more about a size */
/* Both congruences at once (Chinese remainders). False when no number has both. */
static bool join_congruences(DimFact *fact, DimFact b) {
    int64_t m = fact->modulus, n = b.modulus, r = fact->residue;
    if (n == 0) {
        bool fits = m == 0 ? r == b.residue : floor_mod(b.residue - r % m, m) == 0;
        set_congruence(fact, 0, b.residue);
        return fits;
    }
    if (m == 0) return floor_mod(r - b.residue, n) == 0;
    int64_t common = dim_gcd(m, n), apart = b.residue - r;
    if (apart % common != 0) return false;
    int64_t other = n / common;
    if ((Wide)m * other >= (Wide)1 << MODULUS_BITS_MAX) { /* the finer one alone */
        if (n > m) set_congruence(fact, n, b.residue);
        return true;
    }
    Wide times = (Wide)floor_mod(apart / common, other) * inverse(m / common, other) % other;
    set_congruence(fact, m * other, r + m * (int64_t)times);
    return true;
}
/* Both hold of one value. False when none can; then out is a. */
static bool fact_join(DimFact a, DimFact b, DimFact *out) {
    *out = a;
    out->lo = max2(a.lo, b.lo);
    out->hi = min2(a.hi, b.hi);
    if (join_congruences(out, b) && settle(out)) return true;
    *out = a;
    return false;
}
static DimFact fact_both(DimFact a, DimFact b) {
    DimFact both;
    (void)fact_join(a, b, &both);
    return both;
}

/* --- notes ------------------------------------------------------------------------------------ */
static void note(Dims *dims, uint32_t row, DimFact fact) {
    DimNotes *notes = &dims->notes;
    notes->fact_epoch[row] = dims->fact_epoch;
    notes->lo[row] = fact.lo;
    notes->hi[row] = fact.hi;
    notes->modulus[row] = fact.modulus;
    notes->residue[row] = fact.residue;
}
static bool noted(const Dims *dims, uint32_t row) {
    return row < dims->notes.table.count && dims->notes.fact_epoch[row] == dims->fact_epoch;
}
static DimFact noted_fact(const Dims *dims, uint32_t row) {
    const DimNotes *notes = &dims->notes;
    return (DimFact){notes->lo[row], notes->hi[row], notes->modulus[row], notes->residue[row]};
}

static DimFact given_fact(const Dims *dims, uint32_t row) {
    const DimRows *r = &dims->rows;
    if (r->kind[row] == DIM_CONST && r->imm[row] != INT64_MIN) return exact(r->imm[row]);
    if (r->kind[row] != DIM_SYMBOL) return (DimFact){INT64_MIN, INT64_MAX, 1, 0};
    return settled((DimFact){r->lo[row], r->hi[row], r->modulus[row], r->residue[row]});
}
static DimFact mono_fact(Dims *dims, int64_t coef, uint32_t mono) {
    DimFact  fact = exact(coef);
    uint32_t first = dims->monos.first[mono];
    for (uint32_t k = first; k < first + dims->monos.count[mono]; k++)
        fact = fact_mul(fact, dims_fact(dims, dims->atoms.atom[k]));
    return fact;
}
static DimFact sum_fact(Dims *dims, const Poly *poly) {
    DimFact sum = exact(0);
    for (uint32_t i = 0; i < poly->count; i++)
        sum = fact_add(sum, mono_fact(dims, poly->coef[i], poly->mono[i]));
    return settled(sum);
}
/* Kinds of atoms that are more than the interval of their parts: quotients, whose multiples go with
 * their dividends, and comparisons, whose products are choices. */
static const uint32_t related = 1u << DIM_FLOORDIV | 1u << DIM_LESS;
static DimFact        fact_near(Dims *dims, const Poly *poly, uint32_t depth);

/* Of scale*d*(x floordiv d) + rest, which is scale*x + rest - scale*r with 0 <= r < d. */
static DimFact quotient_fact(Dims *dims, uint32_t atom, const Poly *quotient, const Poly *rest,
                             uint32_t depth) {
    Poly  scale, x, moved;
    DimId d = {dims->rows.rhs[atom]};
    if (!dims_poly_divides(dims, quotient, d, &scale)) return (DimFact){INT64_MIN, INT64_MAX, 1, 0};
    dims_poly_of(dims, &x, (DimId){dims->rows.lhs[atom]});
    dims_poly_mul(dims, &scale, &x, &moved);
    dims_poly_sum(&moved, rest, 1);
    if (poly_failed(&moved)) return (DimFact){INT64_MIN, INT64_MAX, 1, 0};
    DimFact remainder = {0, max2(dims_fact(dims, d.row).hi, 1) - 1, 1, 0};
    DimFact whole = fact_mul(fact_near(dims, &scale, depth), remainder);
    return fact_add(fact_near(dims, &moved, depth), fact_mul(whole, exact(-1)));
}
/* Deeper relations than these are not looked into. */
enum { FACT_DEPTH = 4 };
static DimFact fact_near(Dims *dims, const Poly *poly, uint32_t depth) {
    DimFact  fact = sum_fact(dims, poly);
    uint32_t atom = depth == FACT_DEPTH ? 0 : dims_poly_atom(dims, poly, related, UINT32_MAX);
    Poly     quotient, rest;
    if (atom == 0 || !dims_poly_linear(dims, poly, atom, &quotient, &rest)) return fact;
    if (dims->rows.kind[atom] == DIM_FLOORDIV) {
        DimFact apart = quotient_fact(dims, atom, &quotient, &rest, depth + 1);
        return settled(fact_both(fact, apart));
    }
    dims_poly_sum(&quotient, &rest, 1);
    if (poly_failed(&quotient)) return fact;
    DimFact chosen =
        fact_either(fact_near(dims, &quotient, depth + 1), fact_near(dims, &rest, depth + 1));
    return settled(fact_both(fact, chosen));
}
DimFact dims_fact_poly(Dims *dims, const Poly *poly) {
    ASSERT(!poly_failed(poly));
    return fact_near(dims, poly, 0);
}

static DimFact derived_fact(Dims *dims, uint32_t row) {
    const DimRows *r = &dims->rows;
    if (r->kind[row] == DIM_POLY) {
        Poly poly;
        dims_poly_of(dims, &poly, (DimId){row});
        return dims_fact_poly(dims, &poly);
    }
    if (!dim_is_pair(dims, row)) return given_fact(dims, row);
    DimFact a = noted_fact(dims, r->lhs[row]), b = noted_fact(dims, r->rhs[row]);
    DimFact either = fact_either(a, b);
    switch ((DimKind)r->kind[row]) {
    case DIM_FLOORDIV: return settled(fact_floordiv(a, b));
    case DIM_MIN: either.hi = min2(a.hi, b.hi); break;
    case DIM_MAX: either.lo = max2(a.lo, b.lo); break;
    case DIM_LESS: return settled((DimFact){a.hi < b.lo, a.lo < b.hi, 1, 0});
    default: NEVER(true); break;
    }
    return settled(either);
}

static bool fact_enter(DimWalk *walk, uint32_t row) {
    Dims *dims = walk->dims;
    if (noted(dims, row)) return false;
    note(dims, row, given_fact(dims, row));
    dims_walk_parts(walk, row);
    if (dims->rows.below[row] != 0) dims_walk_push(walk, dims->rows.below[row]);
    if (dims->rows.same_as[row] != 0) dims_walk_push(walk, dims->rows.same_as[row]);
    return true;
}
static void fact_leave(DimWalk *walk, uint32_t row) {
    Dims    *dims = walk->dims;
    uint32_t below = dims->rows.below[row], same_as = dims->rows.same_as[row];
    DimFact  fact = derived_fact(dims, row);
    if (below != 0) {
        DimFact bound = fact_add(noted_fact(dims, below), exact(-1));
        fact = settled(fact_both(fact, (DimFact){0, bound.hi, 1, 0}));
    }
    if (same_as != 0) fact = settled(fact_both(fact, noted_fact(dims, same_as)));
    note(dims, row, fact);
}
DimFact dims_fact(Dims *dims, uint32_t row) {
    ASSERT(row != 0 && row < dims->rows.table.count);
    if (noted(dims, row)) return noted_fact(dims, row);
    DimWalk walk = {.dims = dims, .enter = fact_enter, .leave = fact_leave};
    dims_notes_cover(dims);
    dims_walk(&walk, row);
    return noted_fact(dims, row);
}
bool dims_fact_residue(DimFact fact, int64_t by, int64_t *out) {
    if (by <= 0 || fact.modulus % by != 0) return false;
    *out = floor_mod(fact.residue, by);
    return true;
}

/* --- public ----------------------------------------------------------------------------------- */
/* The youngest row has no others that depend on it. */
static void fact_changed(Dims *dims, DimId symbol) {
    if (symbol.row + 1 != dims->rows.table.count)
        dims_forget(dims);
    else if (noted(dims, symbol.row))
        dims->notes.fact_epoch[symbol.row] = 0;
}
static DimFact symbol_fact(const Dims *dims, uint32_t row) {
    const DimRows *r = &dims->rows;
    return (DimFact){r->lo[row], r->hi[row], r->modulus[row], r->residue[row]};
}
/* Facts of a symbol after a change; one number is a range, not a modulus of 0. */
static void narrow(Dims *dims, uint32_t row, DimFact fact) {
    DimRows *r = &dims->rows;
    if (fact.modulus == 0) {
        r->lo[row] = r->hi[row] = fact.residue;
        return;
    }
    if (r->modulus[row] != fact.modulus) {
        r->modulus[row] = fact.modulus;
        r->residue[row] = fact.residue;
    }
}
/* The bounds as they were given, not moved to numbers of the congruence: they are printed. */
static bool join_facts(Dims *dims, uint32_t row, DimFact more) {
    DimRows *r = &dims->rows;
    DimFact  both;
    if (!fact_join(symbol_fact(dims, row), more, &both)) return false;
    r->lo[row] = max2(r->lo[row], more.lo);
    r->hi[row] = min2(r->hi[row], more.hi);
    narrow(dims, row, both);
    return true;
}
bool dims_share_facts(Dims *dims, uint32_t a, uint32_t b) {
    return join_facts(dims, a, symbol_fact(dims, b)) && join_facts(dims, b, symbol_fact(dims, a));
}
/* Of the symbol and of the symbol that stands for it. */
static bool add_fact(Dims *dims, DimId symbol, DimFact fact) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL);
    DimId root = dims_find(dims, symbol);
    bool  shared = root.row != symbol.row && dims->rows.kind[root.row] == DIM_SYMBOL;
    if (shared && !join_facts(dims, root.row, fact))
        return false; /* it knows the more of the two */
    if (!join_facts(dims, symbol.row, fact)) return false;
    fact_changed(dims, shared ? root : symbol);
    return true;
}
bool dims_set_range(Dims *dims, DimId symbol, int64_t lo, int64_t hi) {
    ASSERT(lo <= hi);
    return add_fact(dims, symbol, (DimFact){lo, hi, 1, 0});
}
bool dims_set_congruence(Dims *dims, DimId symbol, int64_t modulus, int64_t residue) {
    ASSERT(modulus > 0 && residue >= 0 && residue < modulus);
    return add_fact(dims, symbol, (DimFact){INT64_MIN, INT64_MAX, modulus, residue});
}
void dims_set_any(Dims *dims, DimId symbol) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL && dims->rows.modulus[symbol.row] == 1);
    dims->rows.lo[symbol.row] = INT64_MIN;
    dims->rows.hi[symbol.row] = INT64_MAX;
    fact_changed(dims, symbol);
}
void dims_set_hint(Dims *dims, DimId symbol, int64_t hint) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL);
    dims->rows.hint[symbol.row] = hint;
}
int64_t dims_typical(const Dims *dims, DimId symbol) {
    enum { SIZE_TYPICAL = 256 };
    const DimRows *rows = &dims->rows;
    int64_t        size = rows->hint[symbol.row] > 0 ? rows->hint[symbol.row] : SIZE_TYPICAL;
    int64_t        lo = rows->lo[symbol.row], hi = rows->hi[symbol.row];
    int64_t        modulus = rows->modulus[symbol.row], rest = rows->residue[symbol.row];
    size = size < lo ? lo : size > hi ? hi : size;
    if (modulus <= 1) return size;
    size += (rest - size % modulus + modulus) % modulus;
    return size > hi && size - modulus >= lo ? size - modulus : size;
}
void dims_set_below(Dims *dims, DimId symbol, DimId bound) {
    ASSERT(dims->rows.kind[symbol.row] == DIM_SYMBOL && dim_id_some(bound));
    ASSERT(!dims_contains(dims, bound, symbol));
    dims->rows.below[symbol.row] = bound.row;
    fact_changed(dims, symbol);
}

/* Of the row as it is written, and as equalities write it. */
static DimFact fact_of(Dims *dims, DimId id) {
    DimFact  fact = dims_fact(dims, id.row);
    uint32_t other = dims_find(dims, id).row;
    return other == id.row ? fact : fact_both(fact, dims_fact(dims, other));
}
DimRange dims_range(Dims *dims, DimId id) {
    DimFact fact = fact_of(dims, id);
    return (DimRange){fact.lo, fact.hi};
}
bool dims_divisible(Dims *dims, DimId id, int64_t by) {
    ASSERT(by > 0);
    DimFact fact = fact_of(dims, id);
    return fact.modulus % by == 0 && fact.residue % by == 0;
}
