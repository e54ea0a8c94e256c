/* Elementary functions for the inner loops: plain C without branches, so that a loop over them
 * becomes vector code, and without fused multiply-add, so that every instruction set gives the
 * same bits. Included after the target pragma of each kernels_<isa>.c.
 *
 * f32: exp, log, tanh, logistic and erf work in f32; the others in f64 and round once. At most 3
 * ulp (tests/unit/test_cpu_fast_math.c). f64: exp, log, tanh and logistic are ours, at most 2
 * ulp; the others are libm calls. 2^n is made by adding n to a constant whose last mantissa bits
 * are then the exponent, which needs no integer conversion. Polynomials are Cody-Waite and
 * fdlibm style; the two-branch erf is after N. Juffa. */
#ifndef STOA_CPU_KERNELS_MATH_H
#define STOA_CPU_KERNELS_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint64_t bits_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline float  abs_f32(float x) { return float_of(bits_f32(x) & 0x7FFFFFFFu); }
static inline double abs_f64(double x) { return double_of(bits_f64(x) & 0x7FFFFFFFFFFFFFFFu); }
static inline float  sign_to_f32(float magnitude, float sign) {
     return float_of(bits_f32(magnitude) | (bits_f32(sign) & 0x80000000u));
}
static inline double sign_to_f64(double magnitude, double sign) {
    return double_of(bits_f64(magnitude) | (bits_f64(sign) & 0x8000000000000000u));
}

/* Nearest integer for |x| < 2^22 (2^51), ties to even. */
static inline float  near_f32(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
static inline double near_f64(double x) { return (x + 0x1.8p52) - 0x1.8p52; }
/* 2^n for an integral n in the range of normal numbers. */
static inline float pow2_f32(float n) { return float_of(bits_f32(n + (0x1.8p23f + 127.0f)) << 23); }
static inline double pow2_f64(double n) {
    return double_of(bits_f64(n + (0x1.8p52 + 1023.0)) << 52);
}

/* --- f64 -------------------------------------------------------------------------------------- */

/* e^r - 1 - r for |r| <= ln(2)/2, times nothing: r^2 q(r). */
static inline double exp_tail_f64(double r) {
    double q = 1.6059043836821613e-10;
    q = q * r + 2.0876756987868099e-09;
    q = q * r + 2.5052108385441720e-08;
    q = q * r + 2.7557319223985888e-07;
    q = q * r + 2.7557319223985893e-06;
    q = q * r + 2.4801587301587302e-05;
    q = q * r + 1.9841269841269841e-04;
    q = q * r + 1.3888888888888889e-03;
    q = q * r + 8.3333333333333332e-03;
    q = q * r + 4.1666666666666664e-02;
    q = q * r + 1.6666666666666666e-01;
    q = q * r + 0.5;
    return q * (r * r);
}
static inline double exp_f64(double x) {
    double c = x < -746.0 ? -746.0 : x;
    c = c > 710.0 ? 710.0 : c;
    double n = near_f64(c * 1.4426950408889634);
    double r = c - n * 6.93147180369123816490e-01; /* the high part has 21 trailing zeros */
    double low = n * 1.90821492927058770002e-10;
    double r1 = r - low, error = (r - r1) - low;
    double y = 1.0 + (r1 + (exp_tail_f64(r1) + error));
    double half = near_f64(n * 0.5);
    return y * pow2_f64(half) * pow2_f64(n - half);
}
/* log(x) for x > 0 (subnormals too), else the IEEE special values. */
static inline double log_f64(double x) {
    double   tiny = x < 0x1p-1022 ? 54.0 : 0.0;
    double   scaled = x < 0x1p-1022 ? x * 0x1p54 : x;
    uint64_t ix = bits_f64(scaled) - 0x3FE6A09E00000000u; /* sqrt(1/2), high word */
    uint64_t biased = (ix + 0x4000000000000000u) >> 52;   /* k + 1024 */
    double   k = double_of(biased + 0x4330000000000000u) - (0x1p52 + 1024.0) - tiny;
    double   m = double_of((ix & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E00000000u);
    double   f = m - 1.0, s = f / (2.0 + f), z = s * s, w = z * z;
    double   t1 = w * (3.999999999940941908e-01 +
                     w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double   t2 = z * (6.666666666666735130e-01 +
                     w * (2.857142874366239149e-01 +
                          w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double   half = 0.5 * f * f;
    double   y = k * 6.93147180369123816490e-01 -
               ((half - (s * (half + (t1 + t2)) + k * 1.90821492927058770002e-10)) - f);
    y = x == INFINITY ? x : y;
    y = x == 0.0 ? -INFINITY : y;
    return x >= 0.0 ? y : (double)NAN;
}
/* e^x - 1, relative to its own size, for |x| <= 710. */
static inline double expm1_near_f64(double x) {
    double n = near_f64(x * 1.4426950408889634);
    double r = x - n * 6.93147180369123816490e-01;
    double low = n * 1.90821492927058770002e-10;
    double r1 = r - low, error = (r - r1) - low;
    double p = r1 + (exp_tail_f64(r1) + error); /* e^r - 1 */
    double scale = pow2_f64(n);
    return n == 0.0 ? p : (scale - 1.0) + scale * p;
}
static inline double tanh_f64(double x) {
    double a = abs_f64(x), c = a > 22.0 ? 22.0 : a;
    double t = expm1_near_f64(2.0 * c);
    double y = a > 22.0 ? 1.0 : t / (t + 2.0);
    y = x != x ? x : y;
    return sign_to_f64(y, x);
}
static inline double logistic_f64(double x) {
    double e = exp_f64(-abs_f64(x));
    return (x >= 0 ? 1.0 : e) / (1.0 + e);
}
static inline double expm1_f64(double x) { return expm1(x); }
static inline double log1p_f64(double x) { return log1p(x); }
static inline double sin_f64(double x) { return sin(x); }
static inline double cos_f64(double x) { return cos(x); }
/* Sine of `turn` quarter turns more than x, for |x| < 5e5; on [0, 2 pi) within 1e-15. */
static inline double sine_turned_f64(double x, double turn) {
    double   t = x * 0.63661977236758134 + 0x1.8p52, n = t - 0x1.8p52;
    double   r = (x - n * 1.57079632673412561417e+00) - n * 6.07710050650619224932e-11, z = r * r;
    uint64_t quarter = bits_f64(t + turn);
    double   s = 1.58969099521155010221e-10;
    s = s * z - 2.50507602534068634195e-08;
    s = s * z + 2.75573137070700676789e-06;
    s = s * z - 1.98412698298579493134e-04;
    s = s * z + 8.33333333332248946124e-03;
    s = s * z - 1.66666666666666324348e-01;
    s = s * (z * r) + r;
    double c = -1.13596475577881948265e-11;
    c = c * z + 2.08757232129817482790e-09;
    c = c * z - 2.75573143513906633035e-07;
    c = c * z + 2.48015872894767294178e-05;
    c = c * z - 1.38888888888741095749e-03;
    c = c * z + 4.16666666666666019037e-02;
    c = c * (z * z) + (1.0 - 0.5 * z);
    double y = (quarter & 1) != 0 ? c : s;
    return double_of(bits_f64(y) ^ ((quarter & 2) << 62));
}
static inline double erf_f64(double x) { return erf(x); }
static inline double pow_f64(double x, double y) { return pow(x, y); }

/* --- f32 -------------------------------------------------------------------------------------- */

static inline float exp_f32(float x) {
    float c = x < -104.0f ? -104.0f : x;
    c = c > 89.0f ? 89.0f : c;
    float n = near_f32(c * 1.44269504f);
    float r = c - n * 0.693359375f; /* exact: 9 bits times at most 8 */
    r = r - n * -2.12194440e-4f;
    float q = 1.9875691500e-4f;
    q = q * r + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    q = q * r + 5.0000001201e-1f;
    float y = 1.0f + (r + q * (r * r));
    float half = near_f32(n * 0.5f);
    return y * pow2_f32(half) * pow2_f32(n - half);
}
static inline float log_f32(float x) {
    float    tiny = x < 0x1p-126f ? 25.0f : 0.0f;
    float    scaled = x < 0x1p-126f ? x * 0x1p25f : x;
    uint32_t ix = bits_f32(scaled) - 0x3F3504F3u; /* sqrt(1/2) */
    uint32_t biased = (ix + 0x40000000u) >> 23;   /* k + 128 */
    float    k = float_of(biased + 0x4B000000u) - (0x1p23f + 128.0f) - tiny;
    float    m = float_of((ix & 0x007FFFFFu) + 0x3F3504F3u);
    float    f = m - 1.0f, s = f / (2.0f + f), z = s * s, w = z * z;
    float    t1 = w * (0.40000972152f + w * 0.24279078841f);
    float    t2 = z * (0.66666662693f + w * 0.28498786688f);
    float    half = 0.5f * f * f;
    float    y =
        k * 6.9313812256e-01f - ((half - (s * (half + (t1 + t2)) + k * 9.0580006145e-06f)) - f);
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}
static inline float tanh_f32(float x) {
    float a = abs_f32(x), z = a * a;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float inner = p * z * a + a;
    float outer = 1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f);
    return sign_to_f32(a < 0.625f ? inner : outer, x);
}
static inline float logistic_f32(float x) {
    float e = exp_f32(-abs_f32(x));
    return (x >= 0 ? 1.0f : e) / (1.0f + e);
}
static inline float erf_f32(float x) {
    float a = abs_f32(x), s = x * x;
    float r = -1.72853470e-5f * a + 3.83197126e-4f;
    float u = -3.88396438e-3f * a + 2.42546219e-2f;
    r = r * s + u;
    r = r * a - 1.06777877e-1f;
    r = r * a - 6.34846687e-1f;
    r = r * a - 1.28717512e-1f;
    r = r * a - a;
    float outer = 1.0f - exp_f32(a < 10.0f ? r : -104.0f);
    float p = -5.96761703e-4f;
    p = p * s + 4.99119423e-3f;
    p = p * s - 2.67681349e-2f;
    p = p * s + 1.12819925e-1f;
    p = p * s - 3.76125336e-1f;
    p = p * s + 1.28379166e-1f;
    float inner = p * a + a;
    float y = a > 0.927734375f ? outer : inner;
    return sign_to_f32(x != x ? a : y, x);
}

/* Good to 1e-11, for functions that then round to f32. */
static inline double exp_short(double x) {
    double c = x < -200.0 ? -200.0 : x;
    c = c > 200.0 ? 200.0 : c;
    double n = near_f64(c * 1.4426950408889634);
    double r = (c - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double q = 2.7557319223985893e-06;
    q = q * r + 2.4801587301587302e-05;
    q = q * r + 1.9841269841269841e-04;
    q = q * r + 1.3888888888888889e-03;
    q = q * r + 8.3333333333333332e-03;
    q = q * r + 4.1666666666666664e-02;
    q = q * r + 1.6666666666666666e-01;
    q = q * r + 0.5;
    return (1.0 + (r + q * (r * r))) * pow2_f64(n);
}
static inline float expm1_f32(float x) {
    double d = (double)x;
    double near = d + d * d * (0.5 + d * (1.0 / 6));
    return (float)(abs_f64(d) < 1e-3 ? near : exp_short(d) - 1.0);
}
static inline float log1p_f32(float x) {
    double d = (double)x;
    double near = d - d * d * (0.5 - d * (1.0 / 3));
    return (float)(abs_f64(d) < 1e-3 ? near : log_f64(1.0 + d));
}
/* Quarter turns and the rest, for |x| < 5e5. */
static inline float sine_f32(float x, double turn) {
    double   d = (double)x, t = d * 0.63661977236758134 + 0x1.8p52, n = t - 0x1.8p52;
    double   r = (d - n * 1.57079632673412561417e+00) - n * 6.07710050650619224932e-11, z = r * r;
    uint64_t quarter = bits_f64(t + turn);
    double   s = 2.75573137070700676789e-06;
    s = s * z - 1.98412698298579493134e-04;
    s = s * z + 8.33333333332248946124e-03;
    s = s * z - 1.66666666666666324348e-01;
    s = s * (z * r) + r;
    double c = -2.75573143513906633035e-07;
    c = c * z + 2.48015872894767294178e-05;
    c = c * z - 1.38888888888741095749e-03;
    c = c * z + 4.16666666666666019037e-02;
    c = c * (z * z) + (1.0 - 0.5 * z);
    double y = (quarter & 1) != 0 ? c : s;
    return (float)double_of(bits_f64(y) ^ ((quarter & 2) << 62));
}
static inline float sin_f32(float x) { return x == 0.0f ? x : sine_f32(x, 0.0); }
static inline float cos_f32(float x) { return sine_f32(x, 1.0); }
/* For 0 < x < inf and finite y. */
static inline float pow_f32(float x, float y) {
    return (float)exp_short((double)y * log_f64((double)x));
}

#endif
