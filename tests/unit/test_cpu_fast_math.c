/* Accuracy of the elementary functions in units in the last place, against libm in the next wider
 * type, over random and special numbers; and the same bits from every set of inner loops. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cpu/kernels.h"
#include "harness.h"
#include "tables/philox.h"

enum { COUNT = 20000, SPECIALS = 24 };
typedef long double Exact(long double x);

static long double exact_rsqrt(long double x) { return 1 / sqrtl(x); }
static long double exact_logistic(long double x) { return 1 / (1 + expl(-x)); }

typedef struct Case {
    const char *name;
    Opcode      opcode;
    Exact      *exact;
    double      low, high;
    double      ulp32, ulp64; /* the most allowed */
} Case;
static const Case cases[] = {
    {"exp", OP_EXP, expl, -104, 89, 2, 1.5},
    {"exp near 0", OP_EXP, expl, -1, 1, 2, 1.5},
    {"expm1", OP_EXPM1, expm1l, -20, 88, 1, 1.5},
    {"expm1 near 0", OP_EXPM1, expm1l, -0.01, 0.01, 1, 1.5},
    {"log", OP_LOG, logl, 0, 100, 2, 1.5},
    {"log near 1", OP_LOG, logl, 0.9, 1.1, 2, 1.5},
    {"log of small", OP_LOG, logl, 0, 1e-30, 2, 1.5},
    {"log1p", OP_LOG1P, log1pl, -0.99, 50, 1, 1.5},
    {"log1p near 0", OP_LOG1P, log1pl, -0.01, 0.01, 1, 1.5},
    {"sqrt", OP_SQRT, sqrtl, 0, 100, 0.51, 0.51},
    {"rsqrt", OP_RSQRT, exact_rsqrt, 0, 100, 1.5, 1.5},
    {"sin", OP_SIN, sinl, -100, 100, 1, 1.5},
    {"sin far", OP_SIN, sinl, -1e7, 1e7, 1, 1.5},
    {"cos", OP_COS, cosl, -100, 100, 1, 1.5},
    {"tanh", OP_TANH, tanhl, -10, 10, 3, 2.1},
    {"tanh near 0", OP_TANH, tanhl, -0.7, 0.7, 3, 2.1},
    {"logistic", OP_LOGISTIC, exact_logistic, -30, 30, 3, 2.1},
    {"erf", OP_ERF, erfl, -5, 5, 3, 1.5},
    {"erf near 0", OP_ERF, erfl, -1e-3, 1e-3, 3, 1.5},
};

/* Distance in units of the last place of the exact value. */
static double distance(double got, long double exact, bool wide) {
    if (isnan((double)exact) || isnan(got)) return isnan((double)exact) && isnan(got) ? 0 : 1e9;
    long double least = wide ? (long double)DBL_MIN : (long double)FLT_MIN;
    long double most = wide ? (long double)DBL_MAX : (long double)FLT_MAX;
    if (fabsl(exact) > most) return isinf(got) && (got > 0) == (exact > 0) ? 0 : 1e9;
    int exponent;
    (void)frexpl(fabsl(exact) < least ? least : exact, &exponent);
    long double unit = ldexpl(1, exponent - (wide ? DBL_MANT_DIG : FLT_MANT_DIG));
    return (double)(fabsl((long double)got - exact) / unit);
}

static const double specials[SPECIALS] = {
    0.0,  -0.0, 1,     -1,     INFINITY, -INFINITY, NAN,   1e-40,  -1e-40, 1e-310, 3e38, -3e38,
    88.7, 88.8, -87.5, -103.9, -104.5,   709.7,     709.9, -745.0, 0.5,    -0.5,   1e-8, 2};

static double worst32(const Case *c, const Isa *isa, const float *x, float *y, double *out_at) {
    const void *in[1] = {x};
    double      worst = 0;
    isa->block[c->opcode][DTYPE_F32](y, in, COUNT + SPECIALS, (double[]){0});
    for (int i = 0; i < COUNT + SPECIALS; i++) {
        double far = distance((double)y[i], c->exact((long double)x[i]), false);
        if (far > worst) *out_at = (double)x[i];
        worst = fmax(worst, far);
    }
    return worst;
}
static double worst64(const Case *c, const Isa *isa, const double *x, double *y, double *out_at) {
    const void *in[1] = {x};
    double      worst = 0;
    isa->block[c->opcode][DTYPE_F64](y, in, COUNT + SPECIALS, (double[]){0});
    for (int i = 0; i < COUNT + SPECIALS; i++) {
        double far = distance(y[i], c->exact((long double)x[i]), true);
        if (far > worst) *out_at = x[i];
        worst = fmax(worst, far);
    }
    return worst;
}

TEST(fast_math_is_accurate) {
    float  *x32 = ARENA_ARRAY(arena, float, COUNT + SPECIALS);
    float  *y32 = ARENA_ARRAY(arena, float, COUNT + SPECIALS);
    double *x64 = ARENA_ARRAY(arena, double, COUNT + SPECIALS);
    double *y64 = ARENA_ARRAY(arena, double, COUNT + SPECIALS);
    for (size_t k = 0; k < LENGTH(cases); k++) {
        const Case *c = &cases[k];
        for (int i = 0; i < COUNT + SPECIALS; i++) {
            Philox drawn = philox_draw(5, (uint64_t)i, k);
            double unit = ((double)drawn.word[0] * 0x1p-32 + (double)drawn.word[1]) * 0x1p-32;
            x64[i] = i < COUNT ? c->low + (c->high - c->low) * unit : specials[i - COUNT];
            x32[i] = (float)x64[i];
        }
        double at = 0, far = worst32(c, kernels_isa(ISA_LEVELS), x32, y32, &at);
        if (!EXPECT_WITHIN(far, 0, c->ulp32)) printf("\n  %s of f32 %a\n", c->name, at);
        far = worst64(c, kernels_isa(ISA_LEVELS), x64, y64, &at);
        if (!EXPECT_WITHIN(far, 0, c->ulp64)) printf("\n  %s of f64 %a\n", c->name, at);
    }
}

TEST(fast_pow_is_accurate) {
    static const float xs[] = {0, -0.0f, 1, -1, 2, -2, 0.5f, INFINITY, -INFINITY, NAN, 1e-40f, 10};
    static const float ys[] = {0, 1, -1, 2, 3, -3, 0.5f, -0.5f, INFINITY, -INFINITY, NAN, 37.5f};
    float              x[LENGTH(xs) * LENGTH(ys) + 4000], y[LENGTH(x)], z[LENGTH(x)];
    const void        *in[2] = {x, y};
    for (size_t i = 0; i < LENGTH(x); i++) {
        Philox drawn = philox_draw(6, i, 0);
        x[i] = i < 4000 ? 20 * philox_unit(drawn.word[0]) : xs[(i - 4000) % LENGTH(xs)];
        y[i] = i < 4000 ? 60 * philox_unit(drawn.word[1]) - 30 : ys[(i - 4000) / LENGTH(xs)];
    }
    kernels_isa(ISA_LEVELS)->block[OP_POW][DTYPE_F32](z, in, LENGTH(x), NULL);
    for (size_t i = 0; i < LENGTH(x); i++)
        if (!EXPECT(distance((double)z[i], powl((long double)x[i], (long double)y[i]), false) <= 1))
            printf("\n  pow(%a, %a) is %a\n", (double)x[i], (double)y[i], (double)z[i]);
}

TEST(fast_math_is_the_same_everywhere) {
    double *x = ARENA_ARRAY(arena, double, COUNT);
    double *y = ARENA_ARRAY(arena, double, COUNT), *z = ARENA_ARRAY(arena, double, COUNT);
    for (size_t k = 0; k < LENGTH(cases); k++)
        for (Dtype dtype = DTYPE_F32; dtype <= DTYPE_F64; dtype++) {
            const void *in[1] = {x};
            for (int i = 0; i < COUNT; i++) {
                double number = cases[k].low + (cases[k].high - cases[k].low) * i / COUNT;
                if (dtype == DTYPE_F64)
                    x[i] = number;
                else
                    ((float *)(void *)x)[i] = (float)number;
            }
            kernels_generic.block[cases[k].opcode][dtype](y, in, COUNT, (double[]){0});
            for (int level = ISA_AVX2; level < ISA_LEVELS; level++) {
                const Isa *isa = kernels_isa((IsaLevel)level);
                isa->block[cases[k].opcode][dtype](z, in, COUNT, (double[]){0});
                if (!EXPECT(memcmp(y, z, COUNT * dtype_bytes(dtype)) == 0))
                    printf("\n  %s of %s, %s\n", cases[k].name, dtype_infos[dtype].name, isa->name);
            }
        }
}
