/* The dtype facts as one constant table, lookups by name, and the 16-bit float conversions in plain
 * integer arithmetic (exact, independent of the host's instruction set, so they can be the oracle
 * for faster versions in the back ends). */
#include "tables/dtypes.h"

const DtypeInfo dtype_infos[DTYPE_COUNT] = {
#define DTYPE(NAME, text, size, kind, ctype, file)                                                 \
    [DTYPE_##NAME] = {.name = text, .file_name = file, .bytes = size, .class = DTYPE_CLASS_##kind},
#include "tables/dtypes.def"
};

Dtype dtype_find(String name) {
    for (int dtype = 1; dtype < DTYPE_COUNT; dtype++)
        if (str_same(name, str_of(dtype_infos[dtype].name))) return (Dtype)dtype;
    return DTYPE_NIL;
}

Dtype dtype_find_file_name(String name) {
    for (int dtype = 1; dtype < DTYPE_COUNT; dtype++)
        if (str_same(name, str_of(dtype_infos[dtype].file_name))) return (Dtype)dtype;
    return DTYPE_NIL;
}

static float float_of_bits(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}
static uint32_t bits_of_float(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

float dtype_f32_of_bf16(uint16_t bits) { return float_of_bits((uint32_t)bits << 16); }

uint16_t dtype_bf16_of_f32(float number) {
    uint32_t bits = bits_of_float(number);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((bits >> 16) | 0x40u); /* quiet NaN */
    uint32_t round_up = 0x7FFFu + ((bits >> 16) & 1u);
    return (uint16_t)((bits + round_up) >> 16);
}

float dtype_f32_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1Fu, mantissa = half & 0x3FFu;
    if (exponent == 0x1F) return float_of_bits(sign | 0x7F800000u | (mantissa << 13));
    if (exponent != 0) return float_of_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
    float magnitude = (float)mantissa * 0x1p-24f; /* subnormal, exact in f32 */
    return sign ? -magnitude : magnitude;
}

uint16_t dtype_f16_of_f32(float number) {
    uint32_t bits = bits_of_float(number);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (bits >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* rounds to infinity */
    if (bits < 0x38800000u) { /* subnormal half: let the float adder do the rounding */
        uint32_t rounded = bits_of_float(float_of_bits(bits) + 0.5f) - bits_of_float(0.5f);
        return (uint16_t)(sign | rounded);
    }
    uint32_t odd = (bits >> 13) & 1u;
    bits += 0xFFFu + odd;
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

/* --- 8-bit floats (Micikevicius et al. 2022, "FP8 formats for deep learning") ----------------- */

typedef struct F8Format {
    uint32_t mantissa, bias; /* bits, and what the exponent is stored with */
    uint32_t largest;        /* magnitude of the largest number */
} F8Format;
static F8Format f8_format(Dtype dtype) {
    ASSERT(dtype_is_f8(dtype));
    return dtype == DTYPE_F8E4M3 ? (F8Format){3, 7, 0x7E} : (F8Format){2, 15, 0x7B};
}

float dtype_f32_of_f8(Dtype dtype, uint8_t bits) {
    F8Format f = f8_format(dtype);
    uint32_t sign = (uint32_t)(bits & 0x80u) << 24, magnitude = bits & 0x7Fu,
             shift = 23 - f.mantissa;
    bool is_e5m2 = dtype == DTYPE_F8E5M2;
    if (is_e5m2 && magnitude == 0x7C) return float_of_bits(sign | 0x7F800000u);
    if (magnitude > f.largest) return float_of_bits(sign | 0x7FC00000u);
    if (magnitude >> f.mantissa != 0)
        return float_of_bits(sign | ((magnitude << shift) + ((127 - f.bias) << 23)));
    /* subnormal: times 2^(1 - bias - mantissa), exact in f32 */
    float number = (float)magnitude * float_of_bits((127 + 1 - f.bias - f.mantissa) << 23);
    return sign ? -number : number;
}

uint8_t dtype_f8_of_f32(Dtype dtype, float number) {
    F8Format f = f8_format(dtype);
    uint32_t bits = bits_of_float(number), shift = 23 - f.mantissa, magnitude;
    uint8_t  sign = (uint8_t)(bits >> 24 & 0x80u);
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint8_t)(sign | 0x7Fu);
    if (bits < (127 + 1 - f.bias) << 23) { /* subnormal: let the float adder do the rounding */
        float unit = float_of_bits((127 + 24 - f.bias - f.mantissa) << 23);
        magnitude = bits_of_float(float_of_bits(bits) + unit) - bits_of_float(unit);
    } else {
        bits += (1u << (shift - 1)) - 1 + (bits >> shift & 1u);
        magnitude = (bits >> shift) - ((127 - f.bias) << f.mantissa);
    }
    return (uint8_t)(sign | (magnitude < f.largest ? magnitude : f.largest));
}
