/* 8-bit floats against their definition: every code decodes to sign, exponent and fraction as the
 * paper writes them, and every number is rounded to the nearest code, found by looking at all. */
#include <math.h>

#include "harness.h"
#include "tables/dtypes.h"

/* The number of a code, or NaN. */
static double meaning(Dtype dtype, uint32_t code) {
    bool   e4m3 = dtype == DTYPE_F8E4M3;
    int    mantissa = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15, exponent = (int)(code & 0x7F) >> mantissa;
    double fraction = (double)(code & ((1U << mantissa) - 1)) / (double)(1 << mantissa);
    double sign = code & 0x80 ? -1 : 1;
    if (e4m3 && (code & 0x7F) == 0x7F) return NAN;
    if (!e4m3 && exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
    return exponent == 0 ? sign * ldexp(fraction, 1 - bias)
                         : sign * ldexp(1 + fraction, exponent - bias);
}
/* The nearest code; of two equally near ones the even; never infinity. */
static uint32_t nearest(Dtype dtype, double number) {
    uint32_t best = 0;
    double   distance = INFINITY;
    uint32_t largest = dtype == DTYPE_F8E4M3 ? 0x7E : 0x7B;
    if (isnan(number)) return 0x7F;
    if (fabs(number) > meaning(dtype, largest)) return largest;
    for (uint32_t code = 0; code < 0x80; code++) {
        double value = meaning(dtype, code), now = fabs(fabs(number) - value);
        if (!isfinite(value)) continue;
        if (now < distance || (now == distance && code % 2 == 0)) best = code, distance = now;
    }
    return best;
}
static void check(Dtype dtype, float number) {
    uint32_t code = dtype_f8_of_f32(dtype, number);
    uint32_t want = nearest(dtype, (double)number) | (signbit(number) ? 0x80U : 0);
    EXPECT_EQ(code, want);
}

TEST(float8_codes_mean_what_the_paper_says) {
    static const Dtype dtypes[] = {DTYPE_F8E4M3, DTYPE_F8E5M2};
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        uint32_t finite = 0;
        for (uint32_t code = 0; code < 256; code++) {
            double want = meaning(dtypes[i], code);
            float  got = dtype_f32_of_f8(dtypes[i], (uint8_t)code);
            finite += isfinite(got) != 0;
            EXPECT(isnan(want) ? isnan(got) != 0 : (double)got == want);
            EXPECT(isnan(want) || !signbit(got) == !signbit(want));
            if (isfinite(got)) EXPECT_EQ(dtype_f8_of_f32(dtypes[i], got), code);
        }
        EXPECT_EQ(finite, dtypes[i] == DTYPE_F8E4M3 ? 254 : 248);
    }
    EXPECT_EQ(dtype_f32_of_f8(DTYPE_F8E4M3, 0x7E), 448);
    EXPECT_EQ(dtype_f32_of_f8(DTYPE_F8E5M2, 0x7B), 57344);
}

/* Ties, their neighbours, what is beyond the largest, and numbers of every exponent. */
TEST(float8_rounds_to_the_nearest) {
    static const Dtype dtypes[] = {DTYPE_F8E4M3, DTYPE_F8E5M2};
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        for (uint32_t code = 0; code < 0x7F; code++) {
            float middle = (float)((meaning(dtypes[i], code) + meaning(dtypes[i], code + 1)) / 2);
            if (!isfinite(middle)) continue;
            check(dtypes[i], middle);
            check(dtypes[i], -middle);
            check(dtypes[i], nextafterf(middle, 0));
            check(dtypes[i], nextafterf(middle, INFINITY));
        }
        uint32_t bits = 1;
        for (uint32_t k = 0; k < 20000; k++) {
            float number;
            bits = bits * 1664525U + 1013904223U;
            memcpy(&number, &bits, sizeof number);
            if (!isnan(number)) check(dtypes[i], number);
        }
        check(dtypes[i], INFINITY);
        check(dtypes[i], -INFINITY);
        check(dtypes[i], 0);
        EXPECT_EQ(dtype_f8_of_f32(dtypes[i], -0.0F), 0x80);
        EXPECT_EQ(dtype_f8_of_f32(dtypes[i], NAN) & 0x7F, 0x7F);
    }
}
