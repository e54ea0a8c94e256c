/* Values between dtypes, registers and memory, as vector code.
 *
 * 8 and 16-bit floats live in memory only. f16 uses the processor's conversions where it has them,
 * the others always integer arithmetic: AVX-512's own conversion of bf16 takes subnormals for
 * zero. From f64 a short float is rounded once: first to f32 with the lost part kept in the last
 * bit (rounding to odd), which a second rounding cannot get wrong. Saturation to integers clamps in
 * the type of the float where its numbers are exact there, and selects the end beyond. */
#include <math.h>

#include "cpu/jit_math_inner.h"

#if defined(STOA_HAVE_LLVM)

static bool is_unsigned(Dtype dtype) { return dtype == DTYPE_U8 || dtype == DTYPE_BOOL; }
static bool is_short(Dtype dtype) { return dtype_is_half(dtype) || dtype_is_f8(dtype); }

/* --- memory ----------------------------------------------------------------------------------- */

JitType jit_math_memory(const JitBuild *j, Dtype dtype) {
    switch (dtype_bytes(dtype)) {
    case 1: return j->i8;
    case 2: return j->i16;
    case 4: return dtype == DTYPE_F32 ? j->f32 : j->i32;
    default: return dtype == DTYPE_F64 ? j->f64 : j->i64;
    }
}
JitType jit_math_type(const JitBuild *j, Dtype dtype) {
    if (dtype == DTYPE_BOOL) return j->i1;
    return is_short(dtype) ? j->f32 : jit_math_memory(j, dtype);
}

/* The exponent and mantissa of a f16 moved into a f32 are 2^112 too small, and infinities and NaN
 * come out as 2^16 and more. */
static V f16_unpack(J *j, V stored) {
    JitType half = v_as(stored, j->f16), single = v_as(stored, j->f32);
    if (j->machine->f16c)
        return llvm.BuildFPExt(j->at, llvm.BuildBitCast(j->at, stored, half, ""), single, "");
    V bits = llvm.BuildZExt(j->at, stored, v_as(stored, j->i32), "");
    V sign = i_shl(j, i_and(j, bits, i_num(bits, 0x8000)), 16);
    V small = i_shl(j, i_and(j, bits, i_num(bits, 0x7FFF)), 13);
    V x = llvm.BuildBitCast(j->at, small, single, "");
    x = v_mul(j, x, v_num(x, 0x1p112));
    V high = i_or(j, i_bits(j, x), i_num(bits, 0x7F800000));
    x = v_select(j, v_ge(j, x, v_num(x, 65536)), v_bits(j, high, x), x);
    return v_flip(j, x, sign);
}
/* Rounded to nearest even by adding half a unit less one, and one if the last bit kept is odd. */
static V f16_pack(J *j, V x) {
    JitType half = v_as(x, j->f16), stored = v_as(x, j->i16);
    if (j->machine->f16c)
        return llvm.BuildBitCast(j->at, llvm.BuildFPTrunc(j->at, x, half, ""), stored, "");
    V bits = i_bits(j, x), a = i_and(j, bits, i_num(bits, 0x7FFFFFFF));
    V odd = i_and(j, i_shr(j, a, 13), i_num(a, 1));
    V normal = i_shr(j, i_add(j, a, i_add(j, odd, i_num(a, 0xC8000FFF))), 13);
    V sum = v_add(j, v_abs(j, x), v_num(x, 0.5)); /* whose last place is that of a subnormal f16 */
    V subnormal = i_sub(j, i_bits(j, sum), i_bits(j, v_num(x, 0.5)));
    V y = v_select(j, i_compare(j, LLVMIntULT, a, i_num(a, 0x38800000)), subnormal, normal);
    y = v_select(j, i_compare(j, LLVMIntUGE, a, i_num(a, 0x477FF000)), i_num(a, 0x7C00), y);
    y = v_select(j, v_nan(j, x), i_num(a, 0x7E00), y);
    V sign = i_and(j, i_shr(j, bits, 16), i_num(bits, 0x8000));
    return llvm.BuildTrunc(j->at, i_or(j, y, sign), stored, "");
}
static V bf16_unpack(J *j, V stored) {
    V bits = llvm.BuildZExt(j->at, stored, v_as(stored, j->i32), "");
    return llvm.BuildBitCast(j->at, i_shl(j, bits, 16), v_as(stored, j->f32), "");
}
/* The bits of x rounded to the upper 16; NaN keeps its sign and becomes quiet. */
static V bf16_round_bits(J *j, V x) {
    V bits = i_bits(j, x), odd = i_and(j, i_shr(j, bits, 16), i_num(bits, 1));
    V rounded = i_add(j, bits, i_add(j, odd, i_num(bits, 0x7FFF)));
    return v_select(j, v_nan(j, x), i_or(j, bits, i_num(bits, 0x400000)), rounded);
}

/* As dtype_f8_of_f32 and back: a f8 moved into a f32 is 2^(127 - bias) too small, and rounding is
 * that of f16. */
typedef struct F8 {
    uint32_t shift, bias, largest; /* shift: from the mantissa of f32 */
} F8;
static F8 f8_of(Dtype dtype) {
    return dtype == DTYPE_F8E4M3 ? (F8){20, 7, 0x7E} : (F8){21, 15, 0x7B};
}
static V f8_unpack(J *j, Dtype dtype, V stored) {
    F8      f = f8_of(dtype);
    JitType single = v_as(stored, j->f32);
    V       bits = llvm.BuildZExt(j->at, stored, v_as(stored, j->i32), "");
    V       sign = i_shl(j, i_and(j, bits, i_num(bits, 0x80)), 24);
    V       magnitude = i_and(j, bits, i_num(bits, 0x7F));
    V       x = llvm.BuildBitCast(j->at, i_shl(j, magnitude, f.shift), single, "");
    x = v_mul(j, x, v_num(x, ldexp(1, (int)(127 - f.bias))));
    V none = i_compare(j, LLVMIntUGT, magnitude, i_num(bits, f.largest));
    V high = i_or(j, i_bits(j, x), i_num(bits, dtype == DTYPE_F8E4M3 ? 0x7FC00000 : 0x7F800000));
    return v_flip(j, v_select(j, none, v_bits(j, high, x), x), sign);
}
static V f8_pack(J *j, Dtype dtype, V x) {
    F8 f = f8_of(dtype);
    V  bits = i_bits(j, x), a = i_and(j, bits, i_num(bits, 0x7FFFFFFF));
    V  odd = i_and(j, i_shr(j, a, f.shift), i_num(a, 1));
    V  rounded = i_add(j, a, i_add(j, odd, i_num(a, (1U << (f.shift - 1)) - 1)));
    V  normal = i_sub(j, i_shr(j, rounded, f.shift), i_num(a, (127 - f.bias) << (23 - f.shift)));
    double unit =
        ldexp(1, (int)(24 - f.bias - (23 - f.shift))); /* whose last place is a subnormal's */
    V sum = v_add(j, v_abs(j, x), v_num(x, unit));
    V subnormal = i_sub(j, i_bits(j, sum), i_bits(j, v_num(x, unit)));
    V small = i_compare(j, LLVMIntULT, a, i_num(a, (128 - f.bias) << 23));
    V y = v_select(j, small, subnormal, normal);
    y = v_select(j, i_compare(j, LLVMIntUGT, y, i_num(a, f.largest)), i_num(a, f.largest), y);
    y = v_select(j, v_nan(j, x), i_num(a, 0x7F), y);
    V sign = i_and(j, i_shr(j, bits, 24), i_num(bits, 0x80));
    return llvm.BuildTrunc(j->at, i_or(j, y, sign), v_as(x, j->i8), "");
}

JitValue jit_math_unpack(JitBuild *j, Dtype dtype, JitValue stored) {
    switch (dtype) {
    case DTYPE_BOOL: return i_compare(j, LLVMIntNE, stored, i_num(stored, 0));
    case DTYPE_F16: return f16_unpack(j, stored);
    case DTYPE_BF16: return bf16_unpack(j, stored);
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: return f8_unpack(j, dtype, stored);
    default: return stored;
    }
}
JitValue jit_math_pack(JitBuild *j, Dtype dtype, JitValue value) {
    switch (dtype) {
    case DTYPE_BOOL: return llvm.BuildZExt(j->at, value, v_as(value, j->i8), "");
    case DTYPE_F16: return f16_pack(j, value);
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: return f8_pack(j, dtype, value);
    case DTYPE_BF16:
        return llvm.BuildTrunc(j->at, i_shr(j, bf16_round_bits(j, value), 16), v_as(value, j->i16),
                               "");
    default: return value;
    }
}
/* Lanes first, first + step, ... of x and y. */
static V take(J *j, V x, V y, uint32_t first, uint32_t step, uint32_t count) {
    V places[64];
    ASSERT(count <= LENGTH(places));
    for (uint32_t i = 0; i < count; i++) places[i] = llvm.ConstInt(j->i32, first + i * step, false);
    return llvm.BuildShuffleVector(j->at, x, y, llvm.ConstVector(places, count), "");
}
static V both_by_turns(J *j, V x, V y) {
    V        places[64];
    uint32_t count = v_lanes(x);
    ASSERT(2 * count <= LENGTH(places));
    for (uint32_t i = 0; i < 2 * count; i++)
        places[i] = llvm.ConstInt(j->i32, i / 2 + i % 2 * count, false);
    return llvm.BuildShuffleVector(j->at, x, y, llvm.ConstVector(places, 2 * count), "");
}
JitValue jit_math_unpack_pairs(JitBuild *j, Dtype dtype, JitValue words) {
    uint32_t count = v_lanes(words);
    V        none = llvm.GetPoison(llvm.TypeOf(words)), even, odd, all;
    if (dtype == DTYPE_BF16) {
        even = i_shl(j, words, 16);
        odd = i_and(j, words, i_num(words, 0xFFFF0000));
        all = take(j, even, odd, 0, 1, 2 * count);
        return llvm.BuildBitCast(j->at, all, v_as(all, j->f32), "");
    }
    ASSERT(dtype_bytes(dtype) == 4);
    even = take(j, words, none, 0, 2, count / 2);
    odd = take(j, words, none, 1, 2, count / 2);
    all = take(j, even, odd, 0, 1, count);
    return llvm.BuildBitCast(j->at, all, v_as(all, jit_math_type(j, dtype)), "");
}
JitValue jit_math_pack_pairs(JitBuild *j, Dtype dtype, JitValue value) {
    uint32_t half = v_lanes(value) / 2;
    V        bits = dtype == DTYPE_BF16 ? bf16_round_bits(j, value)
                                        : llvm.BuildBitCast(j->at, value, v_as(value, j->i32), "");
    V        none = llvm.GetPoison(llvm.TypeOf(bits));
    V        even = take(j, bits, none, 0, 1, half), odd = take(j, bits, none, half, 1, half);
    if (dtype != DTYPE_BF16) return both_by_turns(j, even, odd);
    return i_or(j, i_shr(j, even, 16), i_and(j, odd, i_num(odd, 0xFFFF0000)));
}
JitValue jit_math_round(JitBuild *j, Dtype dtype, JitValue value) {
    if (dtype == DTYPE_F16) return f16_unpack(j, f16_pack(j, value));
    if (dtype_is_f8(dtype)) return f8_unpack(j, dtype, f8_pack(j, dtype, value));
    if (dtype != DTYPE_BF16) return value;
    V bits = bf16_round_bits(j, value);
    return v_bits(j, i_and(j, bits, i_num(bits, 0xFFFF0000)), value);
}

/* --- conversion ------------------------------------------------------------------------------- */

/* f64 to f32 with the last bit set if anything was lost, and never past x. */
static V round_to_odd(J *j, V x) {
    V near = v_f32(j, x), back = v_f64(j, near), bits = i_bits(j, near);
    V past = v_gt(j, v_abs(j, back), v_abs(j, x)), inexact = v_compare(j, LLVMRealONE, back, x);
    V one = i_num(bits, 1), zero = i_num(bits, 0);
    bits = i_sub(j, bits, v_select(j, past, one, zero));
    return v_bits(j, i_or(j, bits, v_select(j, inexact, one, zero)), near);
}
static V float_to_float(J *j, Dtype to, V x) {
    if (to == DTYPE_F64) return v_wide(j, x) ? x : v_f64(j, x);
    if (!v_wide(j, x)) return jit_math_round(j, to, x);
    return is_short(to) ? jit_math_round(j, to, round_to_odd(j, x)) : v_f32(j, x);
}

/* Truncates and saturates; NaN gives 0. */
static V float_to_int(J *j, Dtype to, V x) {
    JitType  type = v_as(x, jit_math_type(j, to));
    uint32_t bits = 8 * dtype_bytes(to);
    bool     is_u = is_unsigned(to);
    double   low = is_u ? 0 : -ldexp(1, (int)bits - 1), above = ldexp(1, (int)bits - !is_u);
    x = v_select(j, v_nan(j, x), v_num(x, 0), x);
    if (bits <= 16) {
        V c = v_clamp(j, x, low, above - 1);
        return llvm.BuildTrunc(j->at, llvm.BuildFPToSI(j->at, c, v_as(x, j->i32), ""), type, "");
    }
    V large = v_ge(j, x, v_num(x, above)), small = v_lt(j, x, v_num(x, low));
    V safe = v_select(j, i_or(j, large, small), v_num(x, 0), x);
    V whole = llvm.BuildFPToSI(j->at, safe, type, "");
    whole = v_select(j, large, i_num(whole, ((uint64_t)1 << (bits - 1)) - 1), whole);
    return v_select(j, small, i_num(whole, (uint64_t)1 << (bits - 1)), whole);
}

/* i64 to f32 is rounded once by the instruction; other integers are exact in f64. */
static V int_to_float(J *j, Dtype from, Dtype to, V x) {
    bool    once = to == DTYPE_F32 || to == DTYPE_F64;
    JitType type = v_as(x, once ? jit_math_type(j, to) : j->f64);
    V       y = is_unsigned(from) ? llvm.BuildUIToFP(j->at, x, type, "")
                                  : llvm.BuildSIToFP(j->at, x, type, "");
    return once ? y : float_to_float(j, to, y);
}
static V int_to_int(J *j, Dtype from, Dtype to, V x) {
    JitType  type = v_as(x, jit_math_type(j, to));
    uint32_t before = dtype_bytes(from), after = dtype_bytes(to);
    if (from != DTYPE_BOOL && before == after) return x;
    if (from != DTYPE_BOOL && before > after) return llvm.BuildTrunc(j->at, x, type, "");
    return is_unsigned(from) ? llvm.BuildZExt(j->at, x, type, "")
                             : llvm.BuildSExt(j->at, x, type, "");
}

JitValue jit_math_convert(JitBuild *j, Dtype from, Dtype to, JitValue x) {
    ASSERT(from != DTYPE_NIL && to != DTYPE_NIL);
    bool from_float = dtype_is_float(from), to_float = dtype_is_float(to);
    if (from == to) return x;
    if (from_float && to == DTYPE_BOOL) return v_compare(j, LLVMRealUNE, x, v_num(x, 0));
    if (to == DTYPE_BOOL) return i_compare(j, LLVMIntNE, x, i_num(x, 0));
    if (from_float && to_float) return float_to_float(j, to, x);
    if (from_float) return float_to_int(j, to, x);
    return to_float ? int_to_float(j, from, to, x) : int_to_int(j, from, to, x);
}
/* A bf16 is cut off instead of rounded: it is one already, and a NaN keeps all its bits. */
JitValue jit_math_bitcast(JitBuild *j, Dtype from, Dtype to, JitValue x) {
    V stored = from == DTYPE_BF16
                   ? llvm.BuildTrunc(j->at, i_shr(j, i_bits(j, x), 16), v_as(x, j->i16), "")
                   : jit_math_pack(j, from, x);
    V other = llvm.BuildBitCast(j->at, stored, v_as(x, jit_math_memory(j, to)), "");
    return jit_math_unpack(j, to, other);
}

#endif
