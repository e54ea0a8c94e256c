/* Angles and the error function as vector code.
 *
 * Sine and cosine subtract the nearest multiple of pi/2 in f64, also for f32 (whose numbers come
 * within 2^-30 of one), and evaluate in the type of the argument. The subtraction is good up to
 * a bound far beyond what networks need; past it a lane is handed to libm (jit_rarely).
 *
 * erf of f32 is 1 - e^-r with a polynomial r, good near 0 as well as far. In f64 it is a
 * polynomial near 0 and 1 - erfc beyond 1, erfc being e^(-x^2) times a polynomial; its inverse
 * starts from a guess and takes one step of Halley's method, in f64 always. */
#include <math.h>

#include "cpu/jit_math_inner.h"

#if defined(STOA_HAVE_LLVM)

/* --- sine and cosine -------------------------------------------------------------------------- */

static const double quarter_parts[2][3] = {
    /* pi/2 in pieces: of 53 bits for exact products, of 33 bits where n times a piece must fit */
    {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110},
    {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69},
};

typedef struct Turned { /* a = n pi/2 + r */
    V n;                /* the integer n in the low bits, of i64 */
    V r, r_low;         /* f64; their sum is good to 2^-100 or so of pi/2 */
} Turned;
/* For |a| up to turn_bound. is_short: r alone will do, to 2^-70. */
static Turned turn(J *j, V a, bool is_short) {
    const double *parts = quarter_parts[j->machine->fma ? 0 : 1];
    V             magic = v_num(a, 0x1.8p52);
    V             t = v_fma(j, a, v_num(a, 0x1.45f306dc9c883p-1), magic), n = v_sub(j, t, magic);
    V             first = v_fma(j, n, v_num(a, -parts[0]), a);
    if (is_short) {
        V r = v_fma(j, n, v_num(a, -parts[1]), first);
        return (Turned){i_bits(j, t), r, NULL};
    }
    V part = v_mul(j, n, v_num(a, parts[1]));
    V r = v_sub(j, first, part);
    V lost = v_sub(j, v_sub(j, first, r), part); /* of the last subtraction */
    if (j->machine->fma) {
        V part_low = v_tight(j, n, v_num(a, parts[1]), v_neg(j, part));
        lost = v_sub(j, lost, part_low);
    }
    lost = v_fma(j, n, v_num(a, -parts[2]), lost);
    V high = v_add(j, r, lost);
    return (Turned){i_bits(j, t), high, v_add(j, v_sub(j, r, high), lost)};
}
static double turn_bound(const J *j) { return j->machine->fma ? 0x1p30 : 0x1p19; }

/* Polynomials on |r| <= pi/4: sine 2^-27.8, cosine 2^-32.9. */
static V sine_f32(J *j, V r, V z) {
    V q = V_POLY(j, z, -0x1.9929acp-13, 0x1.1106ep-7, -0x1.555544p-3);
    return v_fma(j, v_mul(j, r, z), q, r);
}
static V cosine_f32(J *j, V z) {
    V q = V_POLY(j, z, 0x1.99e70cp-16, -0x1.6c0c26p-10, 0x1.55554ap-5);
    return v_fma(j, v_mul(j, z, z), q, v_fma(j, z, v_num(z, -0.5), v_num(z, 1)));
}
/* 2^-57.9 and 2^-63.8; low adds to r. */
static V sine_f64(J *j, V r, V low, V z) {
    V q = V_POLY(j, z, 0x1.5d8b47a3621f5p-33, -0x1.ae5e4b5766f53p-26, 0x1.71de3554f89a3p-19,
                 -0x1.a01a019be8f11p-13, 0x1.111111110f72fp-7, -0x1.5555555555548p-3);
    return v_add(j, r, v_fma(j, v_mul(j, r, z), q, low));
}
static V cosine_f64(J *j, V r, V low, V z) {
    V q = V_POLY(j, z, -0x1.8f9cf8725fb3bp-37, 0x1.1ee9c8a5867bap-29, -0x1.27e4f7d3f09a3p-22,
                 0x1.a01a019c635bcp-16, -0x1.6c16c16c14e2bp-10, 0x1.555555555554ap-5);
    V half = v_mul(j, z, v_num(z, 0.5)), one = v_num(z, 1), w = v_sub(j, one, half);
    V lost = v_sub(j, v_sub(j, one, w), half);
    V more = v_sub(j, v_mul(j, v_mul(j, z, z), q), v_mul(j, r, low));
    return v_add(j, w, v_add(j, lost, more));
}

/* sin(a + quarters pi/2) for a >= 0. */
static V sine_near(J *j, V a, uint64_t quarters) {
    bool   wide = v_wide(j, a);
    Turned t = turn(j, wide ? a : v_f64(j, a), !wide);
    V      n = i_add(j, t.n, i_num(t.n, quarters)), s, c;
    if (wide) {
        V z = v_mul(j, t.r, t.r);
        s = sine_f64(j, t.r, t.r_low, z);
        c = cosine_f64(j, t.r, t.r_low, z);
    } else {
        V r = v_f32(j, t.r), z = v_mul(j, r, r);
        n = llvm.BuildTrunc(j->at, n, v_as(n, j->i32), "");
        s = sine_f32(j, r, z);
        c = cosine_f32(j, z);
    }
    V odd = i_compare(j, LLVMIntNE, i_and(j, n, i_num(n, 1)), i_num(n, 0));
    V sign = i_shl(j, i_and(j, n, i_num(n, 2)), wide ? 62 : 30);
    return v_flip(j, v_select(j, odd, c, s), sign);
}
/* Infinities and NaN are far too: libm gives NaN. */
static V far_off(J *j, V a) { return v_compare(j, LLVMRealUGT, a, v_num(a, turn_bound(j))); }

V jit_sin(J *j, V x) {
    V a = v_abs(j, x), sign = i_xor(j, i_bits(j, x), i_bits(j, a));
    V y = v_flip(j, sine_near(j, a, 0), sign);
    return jit_rarely(j, far_off(j, a), y, "sin", &x, 1);
}
V jit_cos(J *j, V x) {
    V a = v_abs(j, x);
    return jit_rarely(j, far_off(j, a), sine_near(j, a, 1), "cos", &x, 1);
}

/* --- the angle of a point --------------------------------------------------------------------- */

/* (atan(t) - t) / t^3 in z = t^2 for 0 <= t <= 1: 2^-25.8 and 2^-57.6 of atan. */
static V atan_tail(J *j, V z) {
    if (!v_wide(j, z))
        return V_POLY(j, z, 0x1.7ec1c4p-9, -0x1.0c23fep-6, 0x1.61f756p-5, -0x1.3553f4p-4,
                      0x1.b4dfdcp-4, -0x1.230abp-3, 0x1.9978eep-3, -0x1.5554dcp-2);
    return V_POLY(j, z, 0x1.bbed9f7b04237p-17, -0x1.3f364d4b9695cp-13, 0x1.b3facbcd7bb8ap-11,
                  -0x1.7a399ad4364a2p-9, 0x1.d7b927bbdceedp-8, -0x1.c78fcd542af16p-7,
                  0x1.683cc98472e13p-6, -0x1.e9fa0da6643e9p-6, 0x1.2c2e5ccfd4e26p-5,
                  -0x1.59a3ff2ac6667p-5, 0x1.82dad79d1736p-5, -0x1.ae5e72c0e6984p-5,
                  0x1.e1bba66c1a4b8p-5, -0x1.110e5126fd02dp-4, 0x1.3b13669a2a047p-4,
                  -0x1.745d11ae74c7ap-4, 0x1.c71c717fcf76dp-4, -0x1.249249237f57dp-3,
                  0x1.99999999955b4p-3, -0x1.5555555555526p-2);
}
/* whole - r for a multiple of pi/2 in two parts. */
static V away(J *j, double high, double low, V r) {
    return v_add(j, v_num(r, high), v_sub(j, v_num(r, low), r));
}
V jit_atan2(J *j, V y, V x) {
    bool wide = v_wide(j, x);
    V    ax = v_abs(j, x), ay = v_abs(j, y), zero = v_num(x, 0), one = v_num(x, 1);
    V    steep = v_gt(j, ay, ax);
    V    large = v_select(j, steep, ay, ax), small = v_select(j, steep, ax, ay);
    V    t = v_div(j, small, large);
    t = v_select(j, v_eq(j, large, zero), zero, t);
    t = v_select(j, v_eq(j, small, v_num(x, (double)INFINITY)), one, t);
    V z = v_mul(j, t, t), r = v_fma(j, v_mul(j, t, z), atan_tail(j, z), t);
    V up = wide ? away(j, 0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, r)
                : away(j, 0x1.921fb6p+0, -0x1.777a5cp-25, r);
    r = v_select(j, steep, up, r);
    V left = wide ? away(j, 0x1.921fb54442d18p+1, 0x1.1a62633145c07p-53, r)
                  : away(j, 0x1.921fb6p+1, -0x1.777a5cp-24, r);
    V negative = i_compare(j, LLVMIntSLT, i_bits(j, x), i_num(i_bits(j, x), 0)); /* -0 too */
    r = v_copysign(j, v_select(j, negative, left, r), y);
    return v_select(j, v_compare(j, LLVMRealUNO, x, y), v_add(j, x, y), r);
}

/* --- the error function ----------------------------------------------------------------------- */

/* 1 - e^-r for r = -log(1 - erf(a)), a polynomial without a constant: 2^-27.9 of erf. Its first
 * coefficient is split, so that a small a is multiplied by an exact number. */
static V erf_f32(J *j, V x) {
    V a = v_least(j, v_num(x, 3.95), v_abs(j, x));
    V q = V_POLY(j, a, 9.25611640429e-06, -0.000117640516719, 0.000632835865748, -0.00166702799534,
                 0.000160398272151, 0.0191530620371, -0.10277782982, -0.636619382079,
                 -1.12837917161 + 1.125);
    V r = v_fma(j, a, v_num(a, -1.125), v_mul(j, a, q));
    return v_copysign(j, v_neg(j, jit_expm1_short(j, r)), x);
}
/* erf(a) / a in z = a^2 for a <= 1: 2^-56. */
static V erf_near(J *j, V z) {
    return V_POLY(j, z, 0x1.bcc7673e2f6fcp-35, -0x1.290ef2aba0acep-30, 0x1.f253bae72ebc3p-27,
                  -0x1.5e94fcc839228p-23, 0x1.b9cd799776869p-20, -0x1.f4d05fc887746p-17,
                  0x1.f9a30b576b8ccp-14, -0x1.c02db2f9c2b97p-11, 0x1.565bcd07fa605p-8,
                  -0x1.b82ce3125647ap-6, 0x1.ce2f21a041df3p-4, -0x1.812746b0379cap-2,
                  0x1.20dd750429b6dp0);
}
/* erfc(a) e^(a^2) for 1/2 <= a <= 6, in (a - 5/2) / (a + 5/2): 2^-55. */
static V erfc_far(J *j, V a) {
    V middle = v_num(a, 2.5), t = v_div(j, v_sub(j, a, middle), v_add(j, a, middle));
    return V_POLY(j, t, 0x1.47f71497bf56fp-28, 0x1.d7ab56548ca15p-24, 0x1.7ed39e9d25269p-22,
                  0x1.9b95186bfdd5ep-25, -0x1.e6a5e93facc12p-20, -0x1.333860d02a421p-19,
                  0x1.fb16194c5388p-18, 0x1.38460eb8337ffp-16, -0x1.1ebf1e80a8a38p-15,
                  -0x1.0e46541f79ea1p-13, 0x1.def2d0940b7d4p-13, 0x1.cb3b616e92c9p-11,
                  -0x1.5a5716d4a58dbp-9, -0x1.05bb2fe575cc8p-8, 0x1.470ba1f681ec6p-5,
                  -0x1.0011543716d22p-3, 0x1.01c11a735cd8p-2, -0x1.7ca88dec217a6p-2,
                  0x1.afbb3f3b7343bp-3);
}
/* e^(-a^2) */
static V bell(J *j, V a) { return jit_exp(j, v_neg(j, v_mul(j, a, a))); }
V        jit_erf(J *j, V x) {
           if (!v_wide(j, x)) return erf_f32(j, x);
    V a = v_least(j, v_num(x, 6), v_abs(j, x));
           V near = v_mul(j, a, erf_near(j, v_mul(j, a, a)));
           V far = v_sub(j, v_num(x, 1), v_mul(j, bell(j, a), erfc_far(j, a)));
           return v_copysign(j, v_select(j, v_lt(j, a, v_num(x, 1)), near, far), x);
}

/* erf_inv(x) / x as a function of w = -log(1 - x^2), for w < 5 in w - 2.5, then in sqrt(w) - 4 up
 * to the w of the f64 below 1: a guess, to 2^-21.1. */
static V erf_inv_ratio(J *j, V w) {
    static const double centre[] = {3.353081645e-10, -8.772766520e-09, 1.804135028e-08,
                                    4.658926333e-07, -3.434638094e-06, -4.961922712e-06,
                                    2.182827020e-04, -1.252744622e-03, -4.177339476e-03,
                                    2.466402876e-01, 1.501409354e+00};
    static const double tail[] = {-1.645099916e-06, -3.404618478e-07, 3.465337222e-05,
                                  -7.472251933e-05, 3.110261844e-05,  -4.427168548e-05,
                                  3.402847481e-04,  -9.188213874e-04, 1.252665322e-03,
                                  1.009502488e+00,  3.839784359e+00};
    V                   in_tail = v_gt(j, w, v_num(w, 5)), y = NULL;
    V t = v_select(j, in_tail, v_sub(j, v_sqrt(j, w), v_num(w, 4)), v_sub(j, w, v_num(w, 2.5)));
    for (uint32_t i = 0; i < LENGTH(centre); i++) {
        V term = v_select(j, in_tail, v_num(w, tail[i]), v_num(w, centre[i]));
        y = y == NULL ? term : v_fma(j, y, t, term);
    }
    return y;
}
/* One step of Halley's method for erf(y) = a: the error is cubed. */
static V erf_inv_refine(J *j, V y, V a) {
    V one = v_num(a, 1), slope = v_mul(j, bell(j, y), v_num(a, 0x1.20dd750429b6dp0));
    V near = v_sub(j, v_mul(j, y, erf_near(j, v_mul(j, y, y))), a);
    V far = v_sub(j, v_sub(j, one, a), v_mul(j, bell(j, y), erfc_far(j, y)));
    V left = v_select(j, v_lt(j, y, v_num(y, 0.5)), near, far); /* 1 - a is exact there */
    V step = v_div(j, left, slope);
    return v_sub(j, y, v_div(j, step, v_fma(j, step, y, one)));
}
V jit_erf_inv(J *j, V x) {
    if (!v_wide(j, x)) return v_f32(j, jit_erf_inv(j, v_f64(j, x)));
    V one = v_num(x, 1), a = v_abs(j, x);
    V rest = v_mul(j, v_sub(j, one, a), v_add(j, one, a)); /* 1 - x^2 without cancellation */
    V y = v_mul(j, erf_inv_ratio(j, v_neg(j, jit_log(j, rest))), a);
    y = v_select(j, v_eq(j, a, one), v_num(x, (double)INFINITY), erf_inv_refine(j, y, a));
    return v_copysign(j, y, x);
}

#endif
