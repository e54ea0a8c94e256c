/* The equations, each with a solution in closed form: manufactured (Poisson, Helmholtz, plate,
 * elasticity), by beam theory, travelling waves (Korteweg-de Vries, Kuramoto-Sivashinsky,
 * Allen-Cahn, Schroedinger), the Cole-Hopf integral (Burgers) and the flow of Kovasznay
 * (Navier-Stokes). Sources in the residuals are computed from the points, as rows. */
#include "models/pinn.h"

#include <math.h>
#include <stddef.h>

static const double PI = 3.14159265358979323846;

static StoaValue sub(PinnBuild *b, StoaValue v, StoaValue w) { return stoa_sub(b->program, v, w); }
/* sin(k x_i) at the points */
static StoaValue wave(PinnBuild *b, uint32_t i, double k) {
    return stoa_sin(b->program, pinn_scale(b, k, pinn_at(b, i)));
}
static StoaValue cosine(PinnBuild *b, uint32_t i, double k) {
    return stoa_cos(b->program, pinn_scale(b, k, pinn_at(b, i)));
}
#define OF(...)                                                                                    \
    (const char *const[]){__VA_ARGS__},                                                            \
        (uint32_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* --- elliptic --------------------------------------------------------------------------------- */
static void poisson_exact(const double *x, double *u) { u[0] = sin(PI * x[0]) * sin(PI * x[1]); }
static uint32_t poisson(PinnBuild *b, StoaValue *out) {
    StoaValue l, s = pinn_mul(b, wave(b, 0, PI), wave(b, 1, PI));
    pinn_derivatives(b, 0, OF("laplacian"), &l);
    out[0] = pinn_add(b, pinn_scale(b, 1 / (2 * PI * PI), l), s); /* of size one */
    return 1;
}
static void helmholtz_exact(const double *x, double *u) {
    u[0] = sin(PI * x[0]) * sin(4 * PI * x[1]);
}
static uint32_t helmholtz(PinnBuild *b, StoaValue *out) { /* with k = 1 */
    double    k = 1, q = k * k - 17 * PI * PI;
    StoaValue l, s = pinn_mul(b, wave(b, 0, PI), wave(b, 1, 4 * PI));
    pinn_derivatives(b, 0, OF("laplacian"), &l);
    StoaValue left = pinn_add(b, l, pinn_scale(b, k * k, pinn_output(b, 0)));
    out[0] = pinn_scale(b, 1 / (17 * PI * PI), sub(b, left, pinn_scale(b, q, s)));
    return 1;
}
static void beam_exact(const double *x, double *u) {
    u[0] = -pow(x[0], 4) / 24 + pow(x[0], 3) / 6 - x[0] * x[0] / 4;
}
static uint32_t beam(PinnBuild *b, StoaValue *out) {
    StoaValue d;
    pinn_derivatives(b, 0, OF("xxxx"), &d);
    out[0] = pinn_add(b, d, stoa_fill_like(b->program, d, 1));
    return 1;
}
/* Clamped at 0, free at 1: the border is these two points. */
static uint32_t beam_ends(PinnBuild *b, StoaValue *out) {
    StoaValue d[3], right = pinn_at(b, 0);
    StoaValue left = sub(b, stoa_fill_like(b->program, right, 1), right);
    pinn_derivatives(b, 0, OF("x", "xx", "xxx"), d);
    out[0] = pinn_mul(b, left, pinn_output(b, 0));
    out[1] = pinn_mul(b, left, d[0]);
    out[2] = pinn_mul(b, right, d[1]);
    out[3] = pinn_mul(b, right, d[2]);
    return 4;
}
static uint32_t plate(PinnBuild *b, StoaValue *out) {
    StoaValue d, s = pinn_mul(b, wave(b, 0, PI), wave(b, 1, PI));
    pinn_derivatives(b, 0, OF("bilaplacian"), &d);
    out[0] = sub(b, pinn_scale(b, 1 / (4 * pow(PI, 4)), d), s);
    return 1;
}
static uint32_t plate_edge(PinnBuild *b, StoaValue *out) { /* simply supported */
    StoaValue l;
    pinn_derivatives(b, 0, OF("laplacian"), &l);
    out[0] = pinn_scale(b, 1 / (2 * PI * PI), l);
    return 1;
}
/* Plane strain with lambda = 1, mu = 1/2; both displacements are sin(pi x) sin(pi y). */
static void elasticity_exact(const double *x, double *u) {
    u[0] = u[1] = sin(PI * x[0]) * sin(PI * x[1]);
}
static uint32_t elasticity(PinnBuild *b, StoaValue *out) {
    double    lambda = 1, mu = 0.5, unit = 1 / (PI * PI);
    StoaValue u[3], v[3], ss = pinn_mul(b, wave(b, 0, PI), wave(b, 1, PI));
    StoaValue cc = pinn_mul(b, cosine(b, 0, PI), cosine(b, 1, PI));
    StoaValue force = pinn_scale(b, 2 * mu, ss);
    force = sub(b, force, pinn_scale(b, lambda + mu, sub(b, cc, ss)));
    pinn_derivatives(b, 0, OF("laplacian", "xx", "xy"), u);
    pinn_derivatives(b, 1, OF("laplacian", "yy", "xy"), v);
    StoaValue x = pinn_scale(b, (lambda + mu) * unit, pinn_add(b, u[1], v[2]));
    StoaValue y = pinn_scale(b, (lambda + mu) * unit, pinn_add(b, v[1], u[2]));
    out[0] = pinn_add(b, pinn_add(b, pinn_scale(b, mu * unit, u[0]), x), force);
    out[1] = pinn_add(b, pinn_add(b, pinn_scale(b, mu * unit, v[0]), y), force);
    return 2;
}

/* --- waves ------------------------------------------------------------------------------------ */
static void kdv_exact(const double *x, double *u) { /* a soliton of speed 1 */
    double c = 1, s = 1 / cosh(sqrt(c) / 2 * (x[1] - c * x[0]));
    u[0] = c / 2 * s * s;
}
static uint32_t kdv(PinnBuild *b, StoaValue *out) {
    StoaValue d[3], u = pinn_output(b, 0);
    pinn_derivatives(b, 0, OF("t", "x", "xxx"), d);
    out[0] = pinn_add(b, pinn_add(b, d[0], pinn_scale(b, 6, pinn_mul(b, u, d[1]))), d[2]);
    return 1;
}
/* u = (integral of f(x - z) e^(-g) ...) by Cole and Hopf, with Gauss-Hermite weights of z replaced
 * by the midpoint rule, which is exact to rounding for such integrands. */
static void burgers_exact(const double *x, double *u) {
    double nu = 0.01 / PI, t = x[0], above = 0, below = 0;
    if (t == 0) {
        u[0] = -sin(PI * x[1]);
        return;
    }
    double least = INFINITY;
    for (int pass = 0; pass < 2; pass++)
        for (int i = -2000; i <= 2000; i++) {
            double z = i * 0.004, y = x[1] - 2 * sqrt(nu * t) * z;
            double power = z * z + cos(PI * y) / (2 * PI * nu);
            if (pass == 0) {
                least = fmin(least, power);
                continue;
            }
            double weight = exp(least - power);
            above -= sin(PI * y) * weight;
            below += weight;
        }
    u[0] = above / below;
}
static uint32_t burgers(PinnBuild *b, StoaValue *out) {
    StoaValue d[3], u = pinn_output(b, 0);
    pinn_derivatives(b, 0, OF("t", "x", "xx"), d);
    out[0] = sub(b, pinn_add(b, d[0], pinn_mul(b, u, d[1])), pinn_scale(b, 0.01 / PI, d[2]));
    return 1;
}
static void ks_exact(const double *x, double *u) {
    double k = 0.5 * sqrt(11.0 / 19), w = tanh(k * (x[1] - 0.5 * x[0] + 4));
    u[0] = 0.5 + 15.0 / 19 * sqrt(11.0 / 19) * (-9 * w + 11 * w * w * w);
}
static uint32_t ks(PinnBuild *b, StoaValue *out) {
    StoaValue d[3], u = pinn_output(b, 0);
    pinn_derivatives(b, 0, OF("t", "x", "xx+xxxx"), d);
    out[0] = pinn_add(b, pinn_add(b, d[0], pinn_mul(b, u, d[1])), d[2]);
    return 1;
}
static void allen_cahn_exact(const double *x, double *u) {
    u[0] = 0.5 * (1 - tanh((x[1] - 3 * x[0] / sqrt(2)) / (2 * sqrt(2))));
}
static uint32_t allen_cahn(PinnBuild *b, StoaValue *out) {
    StoaValue d, u = pinn_output(b, 0), cube = pinn_mul(b, u, pinn_mul(b, u, u));
    pinn_derivatives(b, 0, OF("t-xx"), &d);
    out[0] = pinn_add(b, sub(b, d, u), cube);
    return 1;
}
static void schroedinger_exact(const double *x, double *u) {
    u[0] = cos(x[0] / 2) / cosh(x[1]);
    u[1] = sin(x[0] / 2) / cosh(x[1]);
}
static uint32_t schroedinger(PinnBuild *b, StoaValue *out) { /* i h_t + h_xx / 2 + |h|^2 h = 0 */
    StoaValue d[2], e[2], u = pinn_output(b, 0), v = pinn_output(b, 1);
    StoaValue size = pinn_add(b, pinn_mul(b, u, u), pinn_mul(b, v, v));
    pinn_derivatives(b, 0, OF("t", "0.5*xx"), d);
    pinn_derivatives(b, 1, OF("t", "0.5*xx"), e);
    out[0] = pinn_add(b, sub(b, d[1], e[0]), pinn_mul(b, size, u));
    out[1] = pinn_add(b, pinn_add(b, d[0], e[1]), pinn_mul(b, size, v));
    return 2;
}
/* Kovasznay 1948, Reynolds number 20. */
static double kovasznay(void) { return 10 - sqrt(100 + 4 * PI * PI); }
static void   flow_exact(const double *x, double *u) {
      double k = kovasznay(), e = exp(k * x[0]);
      u[0] = 1 - e * cos(2 * PI * x[1]);
      u[1] = k / (2 * PI) * e * sin(2 * PI * x[1]);
      u[2] = 0.5 * (1 - e * e);
}
static uint32_t flow(PinnBuild *b, StoaValue *out) {
    StoaValue du[3], dv[3], dp[2], u = pinn_output(b, 0), v = pinn_output(b, 1);
    pinn_derivatives(b, 0, OF("x", "y", "laplacian"), du);
    pinn_derivatives(b, 1, OF("x", "y", "laplacian"), dv);
    pinn_derivatives(b, 2, OF("x", "y"), dp);
    StoaValue along = pinn_add(b, pinn_mul(b, u, du[0]), pinn_mul(b, v, du[1]));
    StoaValue across = pinn_add(b, pinn_mul(b, u, dv[0]), pinn_mul(b, v, dv[1]));
    out[0] = sub(b, pinn_add(b, along, dp[0]), pinn_scale(b, 1.0 / 20, du[2]));
    out[1] = sub(b, pinn_add(b, across, dp[1]), pinn_scale(b, 1.0 / 20, dv[2]));
    out[2] = pinn_add(b, du[0], dv[1]);
    return 3;
}

/* clang-format off */
const PinnCase pinn_cases[] = {
    {"poisson", "u_xx + u_yy = -2 pi^2 sin(pi x) sin(pi y)",
     "sin(pi x) sin(pi y)", "xy", 1, {0, 0}, {1, 1},
     32, 3, 0, 10, 1024, 256, 500, 1500, 2e-3, poisson_exact, poisson, NULL, true},
    {"helmholtz", "u_xx + u_yy + u = (1 - 17 pi^2) sin(pi x) sin(4 pi y)",
     "sin(pi x) sin(4 pi y)", "xy", 1, {-1, -1}, {1, 1},
     48, 3, 5, 1, 2048, 512, 500, 1500, 2e-3, helmholtz_exact, helmholtz, NULL, true},
    {"beam", "u_xxxx = -1",
     "-x^4/24 + x^3/6 - x^2/4", "x", 1, {0}, {1},
     20, 3, 0, 1, 64, 2, 500, 1000, 1e-3, beam_exact, beam, beam_ends, false},
    {"plate", "u_xxxx + 2 u_xxyy + u_yyyy = 4 pi^4 sin(pi x) sin(pi y)",
     "sin(pi x) sin(pi y)", "xy", 1, {0, 0}, {1, 1},
     20, 3, 0, 10, 512, 256, 500, 1500, 2e-3, poisson_exact, plate, plate_edge, true},
    {"elasticity", "mu lap u + (lambda + mu) grad div u = -f",
     "both displacements sin(pi x) sin(pi y)", "xy", 2, {0, 0}, {1, 1},
     32, 3, 0, 10, 1024, 256, 500, 1500, 2e-3, elasticity_exact, elasticity, NULL, true},
    {"kdv", "u_t + 6 u u_x + u_xxx = 0",
     "sech(x/2 - t/2)^2 / 2", "tx", 1, {0, -8}, {2, 8},
     32, 4, 0, 10, 2048, 512, 500, 1500, 2e-3, kdv_exact, kdv, NULL, true},
    {"burgers", "u_t + u u_x = 0.01/pi u_xx",
     "by Cole and Hopf", "tx", 1, {0, -1}, {1, 1},
     20, 8, 0, 10, 4096, 512, 500, 3000, 1e-3, burgers_exact, burgers, NULL, true},
    {"kuramoto-sivashinsky", "u_t + u u_x + u_xx + u_xxxx = 0",
     "a wave in tanh(x - t/2)", "tx", 1, {0, -8}, {2, 8},
     32, 4, 0, 10, 2048, 512, 500, 2000, 2e-3, ks_exact, ks, NULL, true},
    {"allen-cahn", "u_t - u_xx - u + u^3 = 0",
     "1/2 - tanh((x - 3t/sqrt 2) / (2 sqrt 2)) / 2", "tx", 1, {0, -8}, {2, 8},
     32, 3, 0, 10, 2048, 512, 500, 1500, 2e-3, allen_cahn_exact, allen_cahn, NULL, true},
    {"schroedinger", "i h_t + h_xx / 2 + |h|^2 h = 0",
     "e^(it/2) sech x", "tx", 2, {0, -5}, {1.5, 5},
     32, 4, 0, 10, 2048, 512, 500, 2000, 2e-3, schroedinger_exact, schroedinger, NULL, true},
    {"navier-stokes", "u.grad u = -grad p + lap u / 20, div u = 0",
     "Kovasznay's flow", "xy", 3, {-0.5, -0.5}, {1, 1.5},
     40, 3, 0, 10, 2048, 512, 500, 3500, 2e-3, flow_exact, flow, NULL, true},
    {NULL, NULL, NULL, NULL, 0, {0}, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, false},
};
