/* L-BFGS as rows: one call of the graph is one evaluation of loss and gradient.
 *
 * Between calls the state remembers the last accepted point x0 (with loss f0, gradient g0), the
 * direction d and step t of the search from it, and pairs s = dx, y = dg. The parameters hold the
 * point on trial, x0 + t d. A call accepts it if f <= f0 + 1e-4 t g0.d (Armijo): then it takes a
 * pair (if s.y > 0), computes the next direction by the two loops of Nocedal and Wright (Numerical
 * Optimization, 2006, algorithm 7.4), and puts the next point on trial, t = 1. Otherwise it tries a
 * smaller t, by the parabola through f0, g0.d and f; after t < 1e-8 it forgets the pairs and goes
 * down the gradient. No control flow: both branches are computed and selected. The new point is
 * accepted point + rate * step, so a last call with rate 0 leaves the accepted point. */
#include "api/optimize.h"

typedef struct Lbfgs {
    StoaProgram *p;
    StoaValue    zero, one;                 /* scalars of the dtype */
    StoaValue    pairs_s, pairs_y, inverse; /* [m,n], [m,n], [m]: 1 / s.y, 0 where there is none */
    StoaDtype    dtype;
    int64_t      n, m;
} Lbfgs;

/* --- words ------------------------------------------------------------------------------------ */
static StoaValue number(const Lbfgs *l, double c) { return stoa_scalar(l->p, l->dtype, c); }
static StoaValue over(const Lbfgs *l, StoaValue scalar) {
    StoaDim n = stoa_dim(l->p, l->n);
    return stoa_broadcast_in_dim(l->p, scalar, &n, 1, NULL, 0);
}
static StoaValue dot(const Lbfgs *l, StoaValue a, StoaValue b) {
    int64_t axis = 0;
    return stoa_reduce(l->p, stoa_mul(l->p, a, b), STOA_REDUCE_SUM, &axis, 1);
}
/* a + scalar b */
static StoaValue plus(const Lbfgs *l, StoaValue a, StoaValue scalar, StoaValue b) {
    return stoa_add(l->p, a, stoa_mul(l->p, over(l, scalar), b));
}
static StoaValue choose(const Lbfgs *l, StoaValue which, StoaValue yes, StoaValue no) {
    StoaDim  dims[2];
    uint32_t rank = stoa_value_rank(l->p, yes);
    for (uint32_t i = 0; i < rank && i < 2; i++) dims[i] = stoa_value_dim(l->p, yes, i);
    if (rank != 0) which = stoa_broadcast_in_dim(l->p, which, dims, rank, NULL, 0);
    return stoa_select(l->p, which, yes, no);
}
static StoaValue state(const Lbfgs *l, const char *name, const int64_t *sizes, uint32_t rank) {
    return stoa_state(l->p, name, l->dtype, sizes, rank, STOA_INIT_ZEROS, 0);
}
static StoaValue part(const Lbfgs *l, StoaValue x, int64_t from, int64_t to) {
    StoaDim  start[2] = {stoa_dim(l->p, from), stoa_dim(l->p, 0)};
    StoaDim  limit[2] = {stoa_dim(l->p, to), {0}};
    uint32_t rank = stoa_value_rank(l->p, x);
    if (rank == 2) limit[1] = stoa_value_dim(l->p, x, 1);
    return stoa_slice(l->p, x, start, rank, limit, rank, NULL, 0);
}
static StoaValue row(const Lbfgs *l, StoaValue table, int64_t i) {
    StoaDim n = stoa_dim(l->p, l->n);
    return stoa_reshape(l->p, part(l, table, i, i + 1), &n, 1);
}
static StoaValue entry(const Lbfgs *l, StoaValue list, int64_t i) {
    return stoa_reshape(l->p, part(l, list, i, i + 1), NULL, 0);
}
/* The table without its first row, then one more. */
static StoaValue shifted(const Lbfgs *l, StoaValue table, StoaValue last) {
    StoaDim   dims[2] = {stoa_dim(l->p, 1), stoa_dim(l->p, l->n)};
    StoaValue rows[2] = {part(l, table, 1, l->m), {0}};
    rows[1] = stoa_reshape(l->p, last, dims, stoa_value_rank(l->p, table));
    return stoa_concat(l->p, rows, 2, 0);
}

/* --- steps ------------------------------------------------------------------------------------ */
/* The inverse Hessian of the pairs times g. */
static StoaValue two_loops(const Lbfgs *l, StoaValue g) {
    StoaProgram *p = l->p;
    StoaValue    alpha[64], q = g;
    for (int64_t i = l->m; i-- > 0;) {
        alpha[i] = stoa_mul(p, entry(l, l->inverse, i), dot(l, row(l, l->pairs_s, i), q));
        q = plus(l, q, stoa_neg(p, alpha[i]), row(l, l->pairs_y, i));
    }
    StoaValue newest = row(l, l->pairs_y, l->m - 1), inverse = entry(l, l->inverse, l->m - 1);
    StoaValue some = stoa_compare(p, inverse, l->zero, STOA_COMPARE_GT);
    StoaValue length = stoa_mul(p, inverse, dot(l, newest, newest));
    StoaValue scale = choose(l, some, stoa_div(p, l->one, choose(l, some, length, l->one)), l->one);
    q = stoa_mul(p, over(l, scale), q);
    for (int64_t i = 0; i < l->m; i++) {
        StoaValue beta = stoa_mul(p, entry(l, l->inverse, i), dot(l, row(l, l->pairs_y, i), q));
        q = plus(l, q, stoa_sub(p, alpha[i], beta), row(l, l->pairs_s, i));
    }
    return q;
}
/* The pairs with (dx, dg) added where good; all forgotten where lost. */
static void take_pair(Lbfgs *l, StoaValue dx, StoaValue dg, StoaValue accepted, StoaValue lost) {
    StoaProgram *p = l->p;
    StoaValue    product = dot(l, dx, dg), least = stoa_mul(p, number(l, 1e-12), dot(l, dg, dg));
    StoaValue    good = stoa_and(p, accepted, stoa_compare(p, product, least, STOA_COMPARE_GT));
    StoaValue    inverse = stoa_div(p, l->one, choose(l, good, product, l->one));
    StoaValue    old[3] = {l->pairs_s, l->pairs_y, l->inverse};
    l->pairs_s = choose(l, good, shifted(l, old[0], dx), old[0]);
    l->pairs_y = choose(l, good, shifted(l, old[1], dg), old[1]);
    l->inverse = choose(l, good, shifted(l, old[2], inverse), old[2]);
    l->inverse = choose(l, lost, stoa_fill_like(p, old[2], 0), l->inverse);
    stoa_assign(p, old[0], l->pairs_s);
    stoa_assign(p, old[1], l->pairs_y);
    stoa_assign(p, old[2], l->inverse);
}
/* A step between t/10 and t/2, at the least point of the parabola. */
static StoaValue shorter(const Lbfgs *l, StoaValue t, StoaValue rise, StoaValue slope) {
    StoaProgram *p = l->p;
    StoaValue    curve = stoa_mul(p, number(l, 2), stoa_sub(p, rise, stoa_mul(p, t, slope)));
    StoaValue    best = stoa_div(p, stoa_neg(p, stoa_mul(p, slope, stoa_mul(p, t, t))), curve);
    StoaValue    low = stoa_mul(p, t, number(l, 0.1)), high = stoa_mul(p, t, number(l, 0.5));
    best = choose(l, stoa_is_finite(p, best), best, low);
    return stoa_min(p, stoa_max(p, best, low), high);
}

StoaValue api_lbfgs(StoaProgram *p, StoaValue x, StoaValue g, StoaValue f, StoaValue rate,
                    uint32_t pairs) {
    static const char *const names[] = {"optimizer.x",    "optimizer.g",    "optimizer.direction",
                                        "optimizer.loss", "optimizer.step", "optimizer.begun"};
    Lbfgs                    l = {.p = p, .dtype = stoa_value_dtype(p, x), .m = pairs};
    StoaDim                  size = stoa_value_dim(p, x, 0);
    l.n = dims_const_value(&p->world->dims, (DimId){size.id});
    l.zero = number(&l, 0);
    l.one = number(&l, 1);
    int64_t table[2] = {l.m, l.n};
    l.pairs_s = state(&l, "optimizer.pairs.x", table, 2);
    l.pairs_y = state(&l, "optimizer.pairs.g", table, 2);
    l.inverse = state(&l, "optimizer.pairs.inverse", &l.m, 1);
    StoaValue kept[6];
    for (uint32_t i = 0; i < 6; i++) kept[i] = state(&l, names[i], &l.n, i < 3);
    StoaValue x0 = kept[0], g0 = kept[1], d0 = kept[2], f0 = kept[3], t0 = kept[4];
    StoaValue begun = stoa_compare(p, kept[5], l.zero, STOA_COMPARE_NE);
    /* was the trial good? */
    StoaValue slope0 = dot(&l, g0, d0), rise = stoa_sub(p, f, f0);
    StoaValue allowed = stoa_mul(p, stoa_mul(p, number(&l, 1e-4), t0), slope0);
    StoaValue lower = stoa_compare(p, rise, allowed, STOA_COMPARE_LE);
    StoaValue first = stoa_not(p, begun), accepted = stoa_or(p, first, lower);
    StoaValue short_step = stoa_compare(p, t0, number(&l, 1e-8), STOA_COMPARE_LT);
    StoaValue lost = stoa_and(p, stoa_not(p, accepted), short_step);
    StoaValue old_x = choose(&l, begun, x0, x), old_g = choose(&l, begun, g0, g);
    take_pair(&l, stoa_sub(p, x, old_x), stoa_sub(p, g, old_g), stoa_and(p, accepted, begun), lost);
    x0 = choose(&l, accepted, x, x0);
    StoaValue f1 = choose(&l, accepted, f, f0), g1 = choose(&l, accepted, g, g0);
    /* where next? */
    StoaValue d = stoa_neg(p, two_loops(&l, g1)), slope = dot(&l, d, g1);
    StoaValue descends = stoa_compare(p, slope, l.zero, STOA_COMPARE_LT);
    d = choose(&l, descends, d, stoa_neg(p, g1));
    StoaValue fresh = stoa_or(p, accepted, lost);
    d = choose(&l, fresh, d, d0);
    StoaValue none = stoa_compare(p, entry(&l, l.inverse, l.m - 1), l.zero, STOA_COMPARE_EQ);
    StoaValue norm = stoa_sqrt(p, dot(&l, g1, g1));
    StoaValue careful =
        stoa_min(p, l.one, stoa_div(p, number(&l, 0.1), stoa_max(p, norm, number(&l, 1e-30))));
    StoaValue t =
        choose(&l, fresh, choose(&l, none, careful, l.one), shorter(&l, t0, rise, slope0));
    StoaValue next = plus(&l, x0, stoa_mul(p, rate, t), d);
    StoaValue values[] = {x0, g1, d, f1, t, l.one};
    for (uint32_t i = 0; i < 6; i++) stoa_assign(p, kept[i], values[i]);
    return next;
}
