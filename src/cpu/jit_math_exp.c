/* Exponentials and logarithms as vector code, and what is made of them.
 *
 * All of one shape: reduce the argument by powers of two, a minimax polynomial, put the power
 * back. Coefficients are from a Remez search with the rounding of coefficients included; the
 * errors named are of the polynomial alone. */
#include <math.h>

#include "cpu/jit_math_inner.h"

#if defined(STOA_HAVE_LLVM)

/* --- powers of two ---------------------------------------------------------------------------- */

/* Adding magic to |n| < 2^22 (2^51) leaves n, as an integer, in the low bits of the sum; with the
 * exponent bias added, a shift makes 2^n. */
static double   magic_of(J *j, V x) { return v_wide(j, x) ? 0x1.8p52 : 0x1.8p23; }
static double   bias_of(J *j, V x) { return v_wide(j, x) ? 1023 : 127; }
static uint32_t exponent_shift(J *j, V x) { return v_wide(j, x) ? 52 : 23; }

typedef struct Reduced { /* x = n ln 2 + r */
    V shifted;           /* n + magic + what was asked for */
    V n, r;
} Reduced;
/* |r| <= 0.347. n times the high part of ln 2 is exact for |n| < 2048. */
static Reduced reduce(J *j, V x, double more) {
    bool    wide = v_wide(j, x);
    double  magic = magic_of(j, x) + more;
    Reduced out;
    out.shifted = v_fma(j, x, v_num(x, 0x1.71547652b82fep+0), v_num(x, magic));
    out.n = v_sub(j, out.shifted, v_num(x, magic));
    V high = v_num(x, wide ? -0x1.62e42feep-1 : -0x1.63p-1);
    V low = v_num(x, wide ? -0x1.a39ef35793c76p-33 : 0x1.bd0106p-13);
    out.r = v_fma(j, out.n, low, v_fma(j, out.n, high, x));
    return out;
}
/* 2^n from n + bias, where that is the exponent of a normal number. */
static V power(J *j, V shifted) {
    return v_bits(j, i_shl(j, i_bits(j, shifted), exponent_shift(j, shifted)), shifted);
}
/* (1 + q) 2^n for any n of exp, from n + 2 bias: through half the range, on the side of n, so that
 * subnormal results are rounded once and large ones overflow. x: the argument, with the sign of
 * n. A NaN comes from q: the bits of shifted mean nothing then. */
static V scale(J *j, V q, V shifted, V x) {
    bool wide = v_wide(j, q);
    V    bits = i_bits(j, x), negative = i_compare(j, LLVMIntSLT, bits, i_num(bits, 0));
    V    way = v_select(j, negative, v_num(q, wide ? 0x1p-512 : 0x1p-64),
                        v_num(q, wide ? 0x1p512 : 0x1p64));
    V    two = v_bits(j, i_sub(j, i_bits(j, power(j, shifted)), i_bits(j, way)), q);
    return v_mul(j, v_fma(j, q, two, two), way);
}
/* (e^r - 1 - r) / r^2 for |r| <= 0.347: 2^-28.2 and 2^-63 of e^r. */
static V exp_tail(J *j, V r) {
    if (!v_wide(j, r))
        return V_POLY(j, r, 0x1.694ca6p-10, 0x1.12398p-7, 0x1.555a26p-5, 0x1.555492p-3,
                      0x1.fffffap-2);
    return V_POLY(j, r, 0x1.1eed10c0a6445p-29, 0x1.af6e5bd2f9fc5p-26, 0x1.27e5339db80d7p-22,
                  0x1.71ddee8635e24p-19, 0x1.a01a017d48c7p-16, 0x1.a01a01b43e1cap-13,
                  0x1.6c16c16c1e5bdp-10, 0x1.111111110ea06p-7, 0x1.5555555555544p-5,
                  0x1.555555555555cp-3, 0.5);
}

/* e^r - 1, with the relative error of r. */
static V exp_near(J *j, V r) { return v_fma(j, v_mul(j, r, r), exp_tail(j, r), r); }

V jit_exp(J *j, V x) {
    bool    wide = v_wide(j, x);
    V       c = v_clamp(j, x, wide ? -746 : -104, wide ? 710 : 89);
    Reduced e = reduce(j, c, 2 * bias_of(j, x));
    return scale(j, exp_near(j, e.r), e.shifted, c);
}
/* For x <= 0 (or NaN): nothing overflows, so that one way down serves all. */
static V exp_below(J *j, V x) {
    bool    wide = v_wide(j, x);
    double  up = wide ? 64 : 32;
    V       c = v_most(j, v_num(x, wide ? -746 : -104), x);
    Reduced e = reduce(j, c, bias_of(j, x) + up);
    V       two = power(j, e.shifted);
    return v_mul(j, v_fma(j, exp_near(j, e.r), two, two), v_num(x, ldexp(1, -(int)up)));
}

/* (e^x - 1) 2^-k = 2^(n-k) (e^r - 1) + (2^(n-k) - 2^-k), relative to its own size, where n - k is
 * the exponent of a normal number. */
static V expm1_scaled(J *j, V x, uint32_t k) {
    Reduced e = reduce(j, x, bias_of(j, x));
    V       two = power(j, k ? v_sub(j, e.shifted, v_num(x, k)) : e.shifted);
    return v_fma(j, two, exp_near(j, e.r), v_sub(j, two, v_num(x, ldexp(1, -(int)k))));
}
V jit_expm1_short(J *j, V x) { return expm1_scaled(j, x, 0); }

V jit_expm1(J *j, V x) {
    bool wide = v_wide(j, x);
    V    c = v_clamp(j, x, wide ? -40 : -18, wide ? 710 : 89);
    V    half = expm1_scaled(j, c, 1); /* overflows only when doubled */
    V    tiny = v_lt(j, v_abs(j, x), v_num(x, wide ? 0x1p-54 : 0x1p-25));
    return v_select(j, tiny, x, v_add(j, half, half));
}

/* --- logarithms ------------------------------------------------------------------------------- */

/* log(1 + f) for |f| <= 1/3: 2^-27.7. Kept apart from f: f + the result. */
static V log_tail_f32(J *j, V f) {
    V q = V_POLY(j, f, -0x1.080c94p-3, 0x1.1e73ap-3, -0x1.f30e38p-4, 0x1.1ed424p-3, -0x1.559de4p-3,
                 0x1.99d05ep-3, -0x1.fffefp-3, 0x1.555506p-2);
    V square = v_mul(j, f, f);
    return v_mul(j, square, v_fma(j, q, f, v_num(f, -0.5)));
}
/* The same for f64 and 1 + f within sqrt(2) of 1, after fdlibm: log(1+f) - f. */
static V log_tail_f64(J *j, V f) {
    V s = v_div(j, f, v_add(j, f, v_num(f, 2)));
    V z = v_mul(j, s, s), half = v_mul(j, v_mul(j, f, f), v_num(f, 0.5));
    V r = V_POLY(j, z, 1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                 2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                 6.666666666666735130e-01, 0);
    return v_sub(j, v_mul(j, s, v_add(j, half, r)), half);
}
/* n ln 2 + log(1 + f); f_low adds to f. */
static V log_sum(J *j, V n, V f) {
    if (!v_wide(j, f)) {
        V tail = v_add(j, f, log_tail_f32(j, f));
        return v_fma(j, n, v_num(f, 0x1.62e43p-1), tail);
    }
    V low = v_fma(j, n, v_num(f, 1.90821492927058770002e-10), log_tail_f64(j, f));
    return v_fma(j, n, v_num(f, 6.93147180369123816490e-01), v_add(j, f, low));
}
/* The bits of the smallest number that counts as 1 <= m: 2/3, and the high word of sqrt(1/2). */
static V log_least(J *j, V bits, V x) {
    return i_num(bits, v_wide(j, x) ? 0x3FE6A09E00000000u : 0x3F2AAAABu);
}
/* x = 2^n m; the exponent part of the bits of x above those of m. */
static V exponent_bits(J *j, V bits, V x) {
    uint64_t mask = v_wide(j, x) ? 0xFFF0000000000000u : 0xFF800000u;
    return i_and(j, i_sub(j, bits, log_least(j, bits, x)), i_num(bits, mask));
}
/* n; f64 goes around the arithmetic shift and the conversion of i64, which AVX2 lacks. */
static V exponent_number(J *j, V exponent, V like) {
    uint32_t shift = exponent_shift(j, like);
    if (!v_wide(j, like)) {
        V n = llvm.BuildAShr(j->at, exponent, i_num(exponent, shift), "");
        return llvm.BuildSIToFP(j->at, n, llvm.TypeOf(like), "");
    }
    V biased = i_shr(j, i_add(j, exponent, i_num(exponent, (uint64_t)1024 << shift)), shift);
    V sum = v_bits(j, i_add(j, biased, i_bits(j, v_num(like, 0x1p52))), like);
    return v_sub(j, sum, v_num(like, 0x1p52 + 1024));
}
/* log of what is not a positive finite number: NaN, -inf at 0, x itself at infinity. */
static V log_special(J *j, V x, V y) {
    V zero = v_num(x, 0), infinity = v_num(x, (double)INFINITY);
    y = v_select(j, v_lt(j, x, infinity), y, x); /* inf and NaN */
    y = v_select(j, v_eq(j, x, zero), v_num(x, -(double)INFINITY), y);
    return v_select(j, v_lt(j, x, zero), v_num(x, (double)NAN), y);
}

V jit_log(J *j, V x) {
    bool wide = v_wide(j, x);
    V    small = v_lt(j, x, v_num(x, wide ? 0x1p-1022 : 0x1p-126));
    V    up = v_mul(j, x, v_num(x, wide ? 0x1p54 : 0x1p25));
    V    bits = i_bits(j, v_select(j, small, up, x));
    V    exponent = exponent_bits(j, bits, x);
    V    lost = v_select(j, small, v_num(x, wide ? -54 : -25), v_num(x, 0));
    V    n = v_add(j, exponent_number(j, exponent, x), lost);
    V    f = v_sub(j, v_bits(j, i_sub(j, bits, exponent), x), v_num(x, 1));
    return log_special(j, x, log_sum(j, n, f));
}

/* 1 + x is scaled after the split, 2^-n + (2^-n x): nothing of x is lost. 2^-n is made as 4 2^-n,
 * which is a normal number for every n. */
V jit_log1p(J *j, V x) {
    bool wide = v_wide(j, x);
    V    sum = v_add(j, x, v_num(x, 1));
    V    exponent = exponent_bits(j, i_bits(j, sum), x);
    V    four = v_bits(j, i_sub(j, i_bits(j, v_num(x, 4)), exponent), x);
    V    down = v_bits(j, i_sub(j, i_bits(j, x), exponent), x); /* n is 0 near 0 */
    V    f = v_add(j, v_fma(j, four, v_num(x, 0.25), v_num(x, -1)), down);
    V    y = log_sum(j, exponent_number(j, exponent, x), f);
    V    tiny = v_lt(j, v_abs(j, x), v_num(x, wide ? 0x1p-54 : 0x1p-25));
    return v_select(j, tiny, x, log_special(j, sum, y));
}

/* --- sigmoids --------------------------------------------------------------------------------- */

/* From the side where the exponential is small. */
V jit_logistic(J *j, V x) {
    V one = v_num(x, 1), e = exp_below(j, v_neg(j, v_abs(j, x)));
    V top = v_select(j, v_lt(j, x, v_num(x, 0)), e, one);
    return v_div(j, top, v_add(j, e, one));
}

/* t / (t + 2) for t = e^2|x| - 1: the error of t counts less the larger it is. */
V jit_tanh(J *j, V x) {
    V a = v_least(j, v_num(x, v_wide(j, x) ? 22 : 10), v_abs(j, x));
    V t = jit_expm1_short(j, v_add(j, a, a));
    return v_copysign(j, v_div(j, t, v_add(j, t, v_num(x, 2))), x);
}

/* --- powers ----------------------------------------------------------------------------------- */

/* |x|^y of f32 through f64: y log2 |x| to 2^-45, its fraction through a polynomial of f32. */
static V pow_f32(J *j, V a, V y) {
    V log = jit_log(j, v_f64(j, a));
    V t = v_mul(j, v_mul(j, log, v_num(log, 0x1.71547652b82fep+0)), v_f64(j, y));
    V c = v_clamp(j, t, -152, 129), magic = v_num(c, 0x1.8p52);
    V n = v_sub(j, v_add(j, c, magic), magic);
    V f = v_f32(j, v_sub(j, c, n));
    V shifted = v_add(j, v_f32(j, n), v_num(f, magic_of(j, f) + 2 * bias_of(j, f)));
    V p = V_POLY(j, f, 0x1.3fad5cp-13, 0x1.5f0ca8p-10, 0x1.3b3096p-7, 0x1.c6af74p-5, 0x1.ebfbd8p-3,
                 0x1.62e43p-1);
    return scale(j, v_mul(j, p, f), shifted, v_f32(j, c));
}

typedef struct Pair { /* high + low, |low| at most half a unit of high */
    V high, low;
} Pair;
/* The exact product; without fused multiply-add by splitting into halves of the mantissa. */
static Pair product(J *j, V x, V y) {
    Pair p = {.high = v_mul(j, x, y)};
    if (j->machine->fma) {
        p.low = v_tight(j, x, y, v_neg(j, p.high));
        return p;
    }
    V split = v_num(x, 0x1p27 + 1), big_x = v_mul(j, x, split), big_y = v_mul(j, y, split);
    V xh = v_sub(j, big_x, v_sub(j, big_x, x)), xl = v_sub(j, x, xh);
    V yh = v_sub(j, big_y, v_sub(j, big_y, y)), yl = v_sub(j, y, yh);
    V e = v_sub(j, v_mul(j, xh, yh), p.high);
    e = v_add(j, v_add(j, e, v_mul(j, xh, yl)), v_mul(j, xl, yh));
    p.low = v_add(j, e, v_mul(j, xl, yl));
    return p;
}
/* x + y for |x| >= |y|. */
static Pair sum(J *j, V x, V y) {
    V high = v_add(j, x, y);
    return (Pair){high, v_sub(j, y, v_sub(j, high, x))};
}
static Pair pair_sum(J *j, Pair x, Pair y) {
    Pair s = sum(j, x.high, y.high);
    return sum(j, s.high, v_add(j, s.low, v_add(j, x.low, y.low)));
}
/* log of a positive finite f64 to 2^-66: 2 atanh(s) = 2s + 2/3 s^3 + s^5 q(s^2), s = f / (2 + f);
 * the first two terms in pairs. */
static Pair log_pair(J *j, V n, V f) {
    V    two = v_num(f, 2);
    Pair under = sum(j, two, f);
    V    s = v_div(j, f, under.high);
    Pair back = product(j, s, under.high);
    V    rest = v_sub(j, v_sub(j, v_sub(j, f, back.high), back.low), v_mul(j, s, under.low));
    V    s_low = v_div(j, rest, under.high);
    Pair square = product(j, s, s);
    square.low = v_add(j, square.low, v_mul(j, v_add(j, s, s), s_low));
    Pair cube = product(j, square.high, s);
    cube.low = v_add(j, cube.low, v_add(j, v_mul(j, square.low, s), v_mul(j, square.high, s_low)));
    Pair third = product(j, cube.high, v_num(f, 0x1.5555555555555p-1));
    third.low = v_add(j, third.low,
                      v_fma(j, cube.low, v_num(f, 0x1.5555555555555p-1),
                            v_mul(j, cube.high, v_num(f, 0x1.5555555555555p-55))));
    V q = V_POLY(j, square.high, 0x1.db0085e60a02dp-4, 0x1.e010f752603e5p-4, 0x1.1115782a21c26p-3,
                 0x1.3b13a91c92fc5p-3, 0x1.745d173e6b059p-3, 0x1.c71c71c74aee7p-3,
                 0x1.2492492492302p-2, 0x1.999999999999ap-2);
    V tail = v_mul(j, v_mul(j, cube.high, square.high), q);
    Pair log = pair_sum(j, (Pair){v_add(j, s, s), v_add(j, s_low, s_low)}, third);
    log = sum(j, log.high, v_add(j, log.low, tail));
    Pair twos = {v_mul(j, n, v_num(f, 0x1.62e42fefa38p-1)),
                 v_mul(j, n, v_num(f, 0x1.ef35793c7673p-45))};
    Pair both = sum(j, twos.high, log.high);
    Pair only = {log.high, log.low};
    both = sum(j, both.high, v_add(j, both.low, v_add(j, twos.low, log.low)));
    V zero = v_eq(j, n, v_num(f, 0)); /* then the first summand is the smaller one */
    return (Pair){v_select(j, zero, only.high, both.high), v_select(j, zero, only.low, both.low)};
}
static V pow_f64(J *j, V a, V y) {
    V    small = v_lt(j, a, v_num(a, 0x1p-1022));
    V    bits = i_bits(j, v_select(j, small, v_mul(j, a, v_num(a, 0x1p54)), a));
    V    exponent = exponent_bits(j, bits, a);
    V    lost = v_select(j, small, v_num(a, -54), v_num(a, 0));
    V    n = v_add(j, exponent_number(j, exponent, a), lost);
    V    f = v_sub(j, v_bits(j, i_sub(j, bits, exponent), a), v_num(a, 1));
    Pair log = log_pair(j, n, f);
    V    c = v_clamp(j, y, -0x1p80, 0x1p80); /* no product overflows; the result does anyway */
    Pair t = product(j, log.high, c);
    t.low = v_fma(j, log.low, c, t.low);
    V       limited = v_clamp(j, t.high, -746, 710);
    V       low = v_select(j, v_eq(j, limited, t.high), t.low, v_num(a, 0));
    Reduced e = reduce(j, limited, 2 * bias_of(j, a));
    V       result = scale(j, exp_near(j, v_add(j, e.r, low)), e.shifted, limited);
    /* zero and infinity: a^y is 0 or infinity by the sign of y and the side of a */
    V edge = i_or(j, v_eq(j, a, v_num(a, 0)), v_eq(j, a, v_num(a, (double)INFINITY)));
    V grows = i_xor(j, v_gt(j, y, v_num(a, 0)), v_lt(j, a, v_num(a, 1)));
    V limit = v_select(j, grows, v_num(a, (double)INFINITY), v_num(a, 0));
    limit = v_select(j, v_nan(j, y), y, limit);
    return v_select(j, v_nan(j, a), a, v_select(j, edge, limit, result));
}

V jit_pow(J *j, V x, V y) {
    V    one = v_num(x, 1), zero = v_num(x, 0), a = v_abs(j, x), half = v_num(x, 0.5);
    bool wide = v_wide(j, x);
    V    power = wide ? pow_f64(j, a, y) : pow_f32(j, a, y);
    V    halved = v_mul(j, y, half);
    V    whole = v_eq(j, jit_floor(j, y), y); /* infinities too, which are even */
    V    odd = i_and(j, whole, v_compare(j, LLVMRealUNE, jit_floor(j, halved), halved));
    V    sign = i_and(j, i_bits(j, x), i_num(i_bits(j, x), wide ? (uint64_t)1 << 63 : 1u << 31));
    power = v_select(j, odd, v_flip(j, power, sign), power);
    V real = i_or(j, whole, v_ge(j, x, zero));
    V defined = i_or(j, real, i_or(j, v_nan(j, x), v_eq(j, a, v_num(x, (double)INFINITY))));
    power = v_select(j, i_or(j, defined, v_nan(j, y)), power, v_num(x, (double)NAN));
    V unit = v_eq(j, a, one); /* -1 to an infinite power */
    V infinite = v_eq(j, v_abs(j, y), v_num(y, (double)INFINITY));
    power = v_select(j, i_and(j, unit, infinite), one, power);
    return v_select(j, i_or(j, v_eq(j, y, zero), v_eq(j, x, one)), one, power);
}

#endif
