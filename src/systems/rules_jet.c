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
/* y_k = sum over n of f_n [(x - x_0)^n]_k: f_n are the coefficients of the function at x_0. */
static void compose(Jet *j, const ValueId *x, const ValueId *f) {
    ValueId *power = series(j), *next = series(j);
    for (uint32_t n = 1; n <= j->order; n++) {
        for (uint32_t k = 1; k <= j->order; k++)
            next[k] = n == 1 ? x[k] : convolve(j, x, power, k, 1, k - 1);
        for (uint32_t k = 1; k <= j->order; k++) {
            power[k] = next[k];
            j->y[k] = plus(j, j->y[k], times(j, f[n], power[k]));
        }
    }
}
static void exponential(const Jet *j, const ValueId *q, ValueId *y) { /* y = e^q, y_0 given */
    for (uint32_t k = 1; k <= j->order; k++) y[k] = integrate(j, q, y, k, k);
}
static ValueId *logarithm_of(const Jet *j, const ValueId *x) {
    ValueId *y = series(j);
    y[0] = build_unary(j->e->build, OP_LOG, x[0]);
    for (uint32_t k = 1; k <= j->order; k++)
        y[k] = over(j, minus(j, x[k], integrate(j, y, x, k, k - 1)), x[0]);
    return y;
}
/* A fixed exponent p: composed, exact at x_0 = 0 for whole p, where the recurrence would divide by
 * 0. A moving one: e^(p log x). */
bool jet_POW(Jet *j) {
    Build   *build = j->e->build;
    ValueId *f = series(j), *q = series(j), p = j->b[0];
    bool     moves = false;
    for (uint32_t k = 1; k <= j->order; k++) moves |= value_id_some(j->b[k]);
    if (moves) {
        ValueId *log = logarithm_of(j, j->a);
        for (uint32_t k = 0; k <= j->order; k++) q[k] = convolve(j, j->b, log, k, 0, k);
        exponential(j, q, j->y);
        return true;
    }
    for (uint32_t n = 1; n <= j->order; n++) {
        ValueId less = build_binary(build, OP_SUB, p, number(j, n - 1));
        q[n] = n == 1 ? less : scale(j, times(j, q[n - 1], less), 1.0 / n);
        ValueId gone = build_compare(build, COMPARE_EQ, q[n], number(j, 0));
        ValueId rest = build_binary(build, OP_SUB, p, number(j, n));
        rest = build_select(build, gone, number(j, 1), rest); /* no 1/0 beside a factor of 0 */
        f[n] = times(j, q[n], build_binary(build, OP_POW, j->a[0], rest));
    }
    compose(j, j->a, f);
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
        ValueId sum = minus(j, integrate(j, j->a, j->b, k, k), integrate(j, j->b, j->a, k, k));
        j->y[k] = over(j, minus(j, sum, integrate(j, j->y, s, k, k - 1)), s[0]);
    }
    return true;
}

/* --- sigmoids: y' = g(y) x' ------------------------------------------------------------------- */
bool jet_TANH(Jet *j) { /* g = 1 - y^2 */
    ValueId *g = series(j);
    for (uint32_t k = 0; k <= j->order; k++) {
        if (k != 0) j->y[k] = integrate(j, j->a, g, k, k);
        if (k != j->order)
            g[k] = minus(j, k == 0 ? number(j, 1) : (ValueId){0}, square(j, j->y, k, 0));
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

/* --- special functions ------------------------------------------------------------------------ */
static bool polygammas(Jet *j, int64_t first) {
    ValueId *f = series(j);
    double   factorial = 1;
    for (uint32_t n = 1; n <= j->order; n++) {
        factorial *= n;
        f[n] = scale(j, emit_polygamma(j->e, first + n, j->a[0]), 1 / factorial);
    }
    compose(j, j->a, f);
    return true;
}
bool jet_LGAMMA(Jet *j) { return polygammas(j, -1); }
bool jet_POLYGAMMA(Jet *j) {
    const Emit *e = j->e;
    return polygammas(j, INT_ATTR(POLYGAMMA, order));
}
/* The n-th derivative of e^-|x| I_m is e^-|x| (D - s)^n I_m with s = sign x, and D I_m =
 * (I_{m-1} + I_{m+1}) / 2: numbers even[i] - s odd[i] on the orders m - n..m + n. */
bool jet_BESSEL_IE(Jet *j) {
    enum { SIDE = DERIVATIVE_ORDER_MAX + 1, WIDTH = 2 * SIDE + 1 };
    double      parts[2][WIDTH] = {{0}}, factorial = 1;
    const Emit *e = j->e;
    int64_t     order = INT_ATTR(BESSEL_IE, order);
    ValueId    *f = series(j), sign = build_unary(e->build, OP_SIGN, j->a[0]);
    parts[0][SIDE] = 1;
    for (uint32_t n = 1; n <= j->order; n++) {
        double next[2][WIDTH] = {{0}};
        for (uint32_t odd = 0; odd < 2; odd++)
            for (uint32_t i = 1; i + 1 < WIDTH; i++)
                next[odd][i] = 0.5 * (parts[odd][i - 1] + parts[odd][i + 1]) + parts[1 - odd][i];
        memcpy(parts, next, sizeof parts);
        factorial *= n;
        for (uint32_t odd = 0; odd < 2; odd++) {
            ValueId sum = {0};
            for (uint32_t i = 0; i < WIDTH; i++) {
                int64_t at = order + (int64_t)i - SIDE;
                if (parts[odd][i] == 0) continue;
                ValueId term = emit_bessel(j->e, at < 0 ? -at : at, j->a[0]);
                sum = plus(j, sum, scale(j, term, parts[odd][i] / factorial));
            }
            f[n] = odd == 0 ? sum : minus(j, f[n], times(j, sign, sum));
        }
    }
    compose(j, j->a, f);
    return true;
}
/* In y: x^(a-1) e^-x / gamma(a), a fixed. */
bool jet_IGAMMA(Jet *j) {
    Build   *build = j->e->build;
    ValueId *q = series(j), *g = series(j), *log = logarithm_of(j, j->b);
    ValueId  power = build_binary(build, OP_SUB, j->a[0], number(j, 1));
    for (uint32_t k = 1; k <= j->order; k++)
        if (value_id_some(j->a[k])) return false;
    for (uint32_t k = 0; k <= j->order; k++) q[k] = minus(j, times(j, power, log[k]), j->b[k]);
    g[0] = minus(j, q[0], build_unary(build, OP_LGAMMA, j->a[0]));
    g[0] = build_unary(build, OP_EXP, g[0]);
    exponential(j, q, g);
    for (uint32_t k = 1; k <= j->order; k++) j->y[k] = integrate(j, j->b, g, k, k);
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
