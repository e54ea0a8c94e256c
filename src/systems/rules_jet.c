/* Recurrences of Taylor coefficients (Moore 1966; Griewank and Walther, Evaluating Derivatives,
 * 2008, chapter 13). Coefficients are normalised, c_k = f^(k)/k!, so y' = g x' reads
 *
 *     k y_k = sum over i = 1..k of i x_i g_{k-i}
 *
 * A rule is asked with x_k nil for a collapsed top order: it then gives the part of y_k that comes
 * from lower coefficients, and the rest is linear (taylor.c). Repeated rows are left to dedupe. */
#include "systems/taylor.h"

/* --- series ----------------------------------------------------------------------------------- */
static ValueId plus(const Jet *j, ValueId u, ValueId v) {
    Build *build = j->e->build;
    if (!value_id_some(u)) return v;
    return value_id_some(v) ? build_binary(build, OP_ADD, u, v) : u;
}
static ValueId minus(const Jet *j, ValueId u, ValueId v) {
    Build *build = j->e->build;
    if (!value_id_some(v)) return u;
    return value_id_some(u) ? build_binary(build, OP_SUB, u, v) : build_unary(build, OP_NEG, v);
}
static ValueId times(const Jet *j, ValueId u, ValueId v) {
    if (!value_id_some(u) || !value_id_some(v)) return (ValueId){0};
    return build_binary(j->e->build, OP_MUL, u, v);
}
static ValueId over(const Jet *j, ValueId u, ValueId v) {
    return value_id_some(u) ? build_binary(j->e->build, OP_DIV, u, v) : u;
}
static ValueId scale(const Jet *j, ValueId u, double by) {
    if (!value_id_some(u) || by == 1) return u;
    if (by == -1) return build_unary(j->e->build, OP_NEG, u);
    return build_binary(j->e->build, OP_MUL, u, build_splat(j->e->build, u, by));
}
static ValueId *series(const Jet *j) { return ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1); }

/* Sum over i = from..to of u_i v_{k-i}. */
static ValueId convolve(const Jet *j, const ValueId *u, const ValueId *v, uint32_t k, uint32_t from,
                        uint32_t to) {
    ValueId sum = {0};
    for (uint32_t i = from; i <= to && i <= k; i++) sum = plus(j, sum, times(j, u[i], v[k - i]));
    return sum;
}
/* Coefficient k of u^2: each pair once. first: 1 leaves out the two terms with u_0. */
static ValueId square(const Jet *j, const ValueId *u, uint32_t k, uint32_t first) {
    ValueId sum = {0};
    for (uint32_t i = first; 2 * i < k; i++) sum = plus(j, sum, times(j, u[i], u[k - i]));
    sum = scale(j, sum, 2);
    return k % 2 == 0 && k / 2 >= first ? plus(j, sum, times(j, u[k / 2], u[k / 2])) : sum;
}
/* (1/k) sum over i = 1..last of i u_i g_{k-i}. */
static ValueId integrate(const Jet *j, const ValueId *u, const ValueId *g, uint32_t k,
                         uint32_t last) {
    ValueId sum = {0};
    for (uint32_t i = 1; i <= last; i++) sum = plus(j, sum, times(j, scale(j, u[i], i), g[k - i]));
    return scale(j, sum, 1.0 / k);
}
static ValueId number(const Jet *j, double c) { return build_splat(j->e->build, j->a[0], c); }

/* --- exponential and logarithm ---------------------------------------------------------------- */
bool jet_EXP(Jet *j) {
    for (uint32_t k = 1; k <= j->order; k++) j->y[k] = integrate(j, j->a, j->y, k, k);
    return true;
}
bool jet_EXPM1(Jet *j) {
    ValueId *g = series(j);
    g[0] = plus(j, j->y[0], number(j, 1));
    for (uint32_t k = 1; k <= j->order; k++) g[k] = j->y[k] = integrate(j, j->a, g, k, k);
    return true;
}
static bool logarithm(Jet *j, ValueId at) {
    for (uint32_t k = 1; k <= j->order; k++)
        j->y[k] = over(j, minus(j, j->a[k], integrate(j, j->y, j->a, k, k - 1)), at);
    return true;
}
bool jet_LOG(Jet *j) { return logarithm(j, j->a[0]); }
bool jet_LOG1P(Jet *j) { return logarithm(j, plus(j, j->a[0], number(j, 1))); }

/* --- powers ----------------------------------------------------------------------------------- */
bool jet_SQRT(Jet *j) {
    ValueId twice = scale(j, j->y[0], 2);
    for (uint32_t k = 1; k <= j->order; k++)
        j->y[k] = over(j, minus(j, j->a[k], square(j, j->y, k, 1)), twice);
    return true;
}
/* k x_0 y_k = sum over i of (p i - (k - i)) x_i y_{k-i} with p = -1/2; x is not 0. */
bool jet_RSQRT(Jet *j) {
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId sum = {0};
        for (uint32_t i = 1; i <= k; i++) {
            double factor = (-0.5 * i - (k - i)) / k;
            sum = plus(j, sum, times(j, scale(j, j->a[i], factor), j->y[k - i]));
        }
        j->y[k] = over(j, sum, j->a[0]);
    }
    return true;
}
/* The coefficients of x^p at x_0, put together with powers of x - x_0: exact at x_0 = 0 for whole
 * p, where the recurrence would divide by 0. An exponent that moves is left to the curve. */
bool jet_POW(Jet *j) {
    Build   *build = j->e->build;
    ValueId *power = series(j), *next = series(j), p = j->b[0], factor = {0};
    for (uint32_t k = 1; k <= j->order; k++)
        if (value_id_some(j->b[k])) return false;
    for (uint32_t n = 1; n <= j->order; n++) {
        ValueId less = build_binary(build, OP_SUB, p, number(j, n - 1));
        factor = n == 1 ? less : scale(j, times(j, factor, less), 1.0 / n);
        ValueId gone = build_compare(build, COMPARE_EQ, factor, number(j, 0));
        ValueId rest = build_binary(build, OP_SUB, p, number(j, n));
        rest = build_select(build, gone, number(j, 1), rest); /* no 1/0 beside a factor of 0 */
        ValueId at = times(j, factor, build_binary(build, OP_POW, j->a[0], rest));
        for (uint32_t k = 1; k <= j->order; k++)
            next[k] = n == 1 ? j->a[k] : convolve(j, j->a, power, k, 1, k);
        power[0] = (ValueId){0};
        for (uint32_t k = 1; k <= j->order; k++) {
            power[k] = next[k];
            j->y[k] = plus(j, j->y[k], times(j, at, power[k]));
        }
    }
    return true;
}
bool jet_DIV(Jet *j) {
    for (uint32_t k = 1; k <= j->order; k++)
        j->y[k] = over(j, minus(j, j->a[k], convolve(j, j->y, j->b, k, 0, k - 1)), j->b[0]);
    return true;
}

/* --- circular --------------------------------------------------------------------------------- */
static bool circle(Jet *j, Opcode other, double sign) {
    ValueId *z = series(j); /* y' = sign z x', z' = -sign y x' */
    z[0] = build_unary(j->e->build, other, j->a[0]);
    for (uint32_t k = 1; k <= j->order; k++) {
        j->y[k] = scale(j, integrate(j, j->a, z, k, k), sign);
        if (k != j->order) z[k] = scale(j, integrate(j, j->a, j->y, k, k), -sign);
    }
    return true;
}
bool jet_SIN(Jet *j) { return circle(j, OP_COS, 1); }
bool jet_COS(Jet *j) { return circle(j, OP_SIN, -1); }
/* a: ordinate, b: abscissa, s = a^2 + b^2: s y' = b a' - a b'. */
bool jet_ATAN2(Jet *j) {
    ValueId *s = series(j);
    for (uint32_t k = 0; k <= j->order; k++)
        s[k] = plus(j, square(j, j->a, k, 0), square(j, j->b, k, 0));
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId sum =
            minus(j, integrate(j, j->a, j->b, k, k), integrate(j, j->b, j->a, k, k));
        j->y[k] = over(j, minus(j, sum, integrate(j, j->y, s, k, k - 1)), s[0]);
    }
    return true;
}

/* --- sigmoids: y' = g(y) x' ------------------------------------------------------------------- */
bool jet_TANH(Jet *j) { /* g = 1 - y^2 */
    ValueId *g = series(j);
    for (uint32_t k = 0; k <= j->order; k++) {
        if (k != 0) j->y[k] = integrate(j, j->a, g, k, k);
        if (k != j->order) g[k] = minus(j, k == 0 ? number(j, 1) : (ValueId){0}, square(j, j->y, k, 0));
    }
    return true;
}
bool jet_LOGISTIC(Jet *j) { /* g = y - y^2 */
    ValueId *g = series(j);
    g[0] = times(j, j->y[0], minus(j, number(j, 1), j->y[0]));
    for (uint32_t k = 1; k <= j->order; k++) {
        j->y[k] = integrate(j, j->a, g, k, k);
        if (k != j->order) g[k] = minus(j, j->y[k], square(j, j->y, k, 0));
    }
    return true;
}
bool jet_ERF(Jet *j) { /* g = 2/sqrt(pi) e^(-x^2) */
    ValueId *q = series(j), *g = series(j);
    g[0] = scale(j, build_unary(j->e->build, OP_EXP, scale(j, square(j, j->a, 0, 0), -1)),
                 1.1283791670955126);
    for (uint32_t k = 1; k <= j->order; k++) {
        j->y[k] = integrate(j, j->a, g, k, k);
        q[k] = scale(j, square(j, j->a, k, 0), -1);
        if (k != j->order) g[k] = integrate(j, q, g, k, k);
    }
    return true;
}
bool jet_ERF_INV(Jet *j) { /* g = sqrt(pi)/2 e^(y^2) */
    ValueId *q = series(j), *g = series(j);
    g[0] = scale(j, build_unary(j->e->build, OP_EXP, square(j, j->y, 0, 0)), 0.88622692545275801);
    for (uint32_t k = 1; k <= j->order; k++) {
        j->y[k] = integrate(j, j->a, g, k, k);
        q[k] = square(j, j->y, k, 0);
        if (k != j->order) g[k] = integrate(j, q, g, k, k);
    }
    return true;
}

/* --- dispatch --------------------------------------------------------------------------------- */
static JetFn *const jet_rules[OP_COUNT] = {
#define JET(NAME) [OP_##NAME] = jet_##NAME,
#include "tables/rules/jet.def"
};
static const uint8_t kinds[OP_COUNT] = {
#define JVP_LINEAR(NAME)      [OP_##NAME] = JET_FLAT,
#define JVP_MULTILINEAR(NAME) [OP_##NAME] = JET_PRODUCT,
#include "tables/rules/jvp.def"
#define JET(NAME)         [OP_##NAME] = JET_RULE,
#define JET_FLAT_OP(NAME) [OP_##NAME] = JET_FLAT,
#include "tables/rules/jet.def"
};
JetKind jet_kind(Opcode opcode) { return (JetKind)kinds[opcode]; }
bool    jet_apply(Jet *j) {
       Opcode opcode = (Opcode)j->e->build->code->ops.opcode[j->e->op.row];
       return jet_rules[opcode](j);
}
