/* Special functions that the C library lacks, in double: good to about 1e-12 relative, away from
 * the zeros of a function. Each says which expansion it uses where; the tests hold them against
 * mpmath at 40 digits. */
#include "cpu/interp_inner.h"

static const double pi = 3.14159265358979323846;

/* --- erf_inv ---------------------------------------------------------------------------------- */
/* Winitzki's closed form (error below 2e-3), then three steps of Halley's method. The residual is
 * taken from erfc where erf is close to 1, so that nothing cancels in the tails. */
double interp_erf_inv(double x) {
    double a = fabs(x), shape = 0.147;
    if (isnan(x) || a > 1) return NAN;
    if (a == 1) return copysign(INFINITY, x);
    double y = a * sqrt(pi) / 2;
    if (a > 1e-3) {
        double rest = log1p(-a * a), t = 2 / (pi * shape) + rest / 2;
        y = sqrt(sqrt(t * t - rest / shape) - t);
    }
    for (int step = 0; step < 3; step++) {
        double error = a > 0.5 ? (1 - a) - erfc(y) : erf(y) - a;
        double newton = error / (2 / sqrt(pi) * exp(-y * y));
        y -= newton / (1 + y * newton);
    }
    return copysign(y, x);
}

/* --- polygamma -------------------------------------------------------------------------------- */
/* B(2), B(4), ...: Bernoulli numbers of the asymptotic series. */
static const double bernoulli[] = {1.0 / 6,       -1.0 / 30,      1.0 / 42, -1.0 / 30,
                                   5.0 / 66,      -691.0 / 2730,  7.0 / 6,  -3617.0 / 510,
                                   43867.0 / 798, -174611.0 / 330};

/* x > 0: the recurrence psi(x) = psi(x + 1) - 1/x until x >= 15, then the series in 1/x^2. */
static double digamma_positive(double x) {
    double sum = 0;
    while (x < 15) {
        sum -= 1 / x;
        x += 1;
    }
    double power = 1 / (x * x), square = power;
    sum += log(x) - 0.5 / x;
    for (uint32_t k = 0; k < LENGTH(bernoulli); k++, power *= square)
        sum -= bernoulli[k] / (2.0 * (k + 1)) * power;
    return sum;
}
/* psi_n(x) (-1)^(n+1) for n >= 1, x > 0: the same recurrence and series, n times differentiated. */
enum { POLYGAMMA_ORDER_MAX = 100 };
static double polygamma_positive(int64_t n, double x) {
    double order = (double)n, factorial = tgamma(order + 1), sum = 0;
    double enough = 15 + order;
    while (x < enough) {
        sum += factorial * pow(x, -order - 1);
        x += 1;
    }
    double power = pow(x, -order);
    sum += factorial / order * power + factorial / 2 * power / x;
    double rising = factorial * (order + 1) / 2; /* (2k + n - 1)! / (2k)! at k = 1 */
    for (uint32_t k = 1; k <= LENGTH(bernoulli); k++) {
        power /= x * x;
        sum += bernoulli[k - 1] * rising * power;
        double top = 2.0 * k + order;
        rising *= top * (top + 1) / ((2.0 * k + 1) * (2.0 * k + 2));
    }
    return sum;
}

/* The n-th derivative of cot(pi x), as a polynomial in c = cot(pi x): each derivative of p(c) is
 * -pi (1 + c^2) p'(c). Parity keeps half of the coefficients zero. */
enum { REFLECT_ORDER_MAX = 30 };
static double cot_derivative(int64_t n, double x) {
    double p[REFLECT_ORDER_MAX + 3] = {0, 1}, q[REFLECT_ORDER_MAX + 3];
    double away = x - rint(x), c = 1 / tan(pi * away), sum = 0;
    if (fabs(away) == 0.5) c = 0;
    for (int64_t step = 0; step < n; step++) {
        memset(q, 0, sizeof q);
        for (int64_t k = 1; k <= step + 1; k++) {
            q[k - 1] -= pi * (double)k * p[k];
            q[k + 1] -= pi * (double)k * p[k];
        }
        memcpy(p, q, sizeof p);
    }
    for (int64_t k = n + 1; k >= 0; k--) sum = sum * c + p[k];
    return sum;
}

/* Below 0: the reflection psi_n(x) = (-1)^n psi_n(1 - x) - pi d^n/dx^n cot(pi x). At the poles:
 * +inf for odd orders (both sides agree), NaN for even ones; digamma(+-0) is -+inf. */
double interp_polygamma(int64_t order, double x) {
    if (isnan(x) || order < 0 || order > POLYGAMMA_ORDER_MAX || x == -INFINITY) return NAN;
    if (x == INFINITY) return order == 0 ? x : 0;
    if (x <= 0 && x == floor(x)) {
        if (order % 2 != 0) return INFINITY;
        return x == 0 && order == 0 ? -copysign(INFINITY, x) : NAN;
    }
    if (x > 0 && order == 0) return digamma_positive(x);
    if (x > 0) return order % 2 ? polygamma_positive(order, x) : -polygamma_positive(order, x);
    if (order > REFLECT_ORDER_MAX) return NAN;
    double mirrored = order == 0 ? digamma_positive(1 - x) : -polygamma_positive(order, 1 - x);
    return mirrored - pi * cot_derivative(order, x);
}

/* --- bessel_ie -------------------------------------------------------------------------------- */
/* |x| < 1: the power series. Its terms are positive. */
static double bessel_series(int64_t order, double x) {
    double term = exp(-x), sum = 0;
    for (int64_t k = 1; k <= order && term > 0; k++) term *= x / 2 / (double)k;
    for (int64_t k = 1; term > 1e-18 * sum; k++) {
        sum += term;
        term *= x * x / 4 / ((double)k * (double)(k + order));
    }
    return sum;
}
/* Miller's backward recurrence I(k-1) = I(k+1) + 2k/x I(k) from an order where I is negligible,
 * scaled by e^x = I(0) + 2 (I(1) + I(2) + ...). */
static double bessel_miller(int64_t order, double x) {
    int64_t start = (int64_t)sqrt(90 * (x + 10)) + 30;
    double  above = 0, here = 1e-300, sum = 0, wanted = 0;
    if (start < order + 30) start = order + 30 + (int64_t)sqrt(90 * (x + 10));
    for (int64_t k = start; k > 0; k--) {
        double below = above + 2 * (double)k / x * here;
        if (k == order) wanted = here;
        sum += 2 * here;
        above = here;
        here = below;
        if (here > 1e250) {
            above *= 1e-250;
            here *= 1e-250;
            sum *= 1e-250;
            wanted *= 1e-250;
        }
    }
    if (order == 0) wanted = here;
    return wanted / (sum + here);
}
/* Hankel's asymptotic series, for x far above 1 and the square of the order. */
static double bessel_far(int64_t order, double x) {
    double mu = 4 * (double)order * (double)order, term = 1, sum = 0;
    for (int k = 1; k < 100 && fabs(term) > 1e-18; k++) {
        double odd = 2.0 * k - 1;
        sum += term;
        term *= -(mu - odd * odd) / (8 * k * x);
    }
    return sum / sqrt(2 * pi * x);
}
double interp_bessel_ie(int64_t order, double x) {
    double a = fabs(x);
    if (isnan(x) || order < 0) return NAN;
    if (isinf(x)) return 0;
    if (a == 0) return order == 0;
    double n = (double)order, y;
    if (n > 1000 && a < n / 10)
        y = 0; /* far below the smallest double */
    else if (a < 1)
        y = bessel_series(order, a);
    else if (a > 1000 && n * n < a / 100)
        y = bessel_far(order, a);
    else if (a < 1e10 && n < 1e6)
        y = bessel_miller(order, a);
    else
        y = exp(-n * n / (2 * a)) / sqrt(2 * pi * a); /* only its size is right */
    return x < 0 && order % 2 != 0 ? -y : y;
}

/* --- igamma ----------------------------------------------------------------------------------- */
/* x^a e^-x / gamma(a + 1). For large a by Stirling's series around x = a, where the plain form
 * would cancel. */
static double igamma_front(double a, double x) {
    int sign;
    if (a < 20) return exp(a * log(x) - x - lgamma_r(a + 1, &sign));
    double away = (x - a) / a, square = 1 / (a * a);
    double stirling = (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square / 1680))) / a;
    return exp(a * (log1p(away) - away) - stirling) / sqrt(2 * pi * a);
}
/* P(a, x): the series for x < a + 1, else one minus Legendre's continued fraction (Lentz). Both
 * take about 10 sqrt(a) rounds around x = a; the cap only matters for a above 1e10. */
double interp_igamma(double a, double x) {
    enum { ROUNDS_MAX = 1000000 };
    if (isnan(a) || isnan(x) || a < 0 || x < 0 || (a == 0 && x == 0)) return NAN;
    if (isinf(a)) return isinf(x) ? NAN : 0;
    if (a == 0 || isinf(x)) return 1;
    if (x == 0) return 0;
    if (x < a + 1) {
        double term = 1, sum = 1;
        for (int k = 1; k < ROUNDS_MAX && term > 1e-17 * sum; k++) {
            term *= x / (a + k);
            sum += term;
        }
        return fmin(1, sum * igamma_front(a, x));
    }
    double tiny = 1e-300, b = x + 1 - a, c = 1 / tiny, d = 1 / b, fraction = d;
    for (int k = 1; k < ROUNDS_MAX; k++) {
        double numerator = -k * (k - a);
        b += 2;
        d = numerator * d + b;
        c = b + numerator / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        fraction *= d * c;
        if (fabs(d * c - 1) < 3e-16) break;
    }
    return fmax(0, 1 - fraction * a * igamma_front(a, x));
}
