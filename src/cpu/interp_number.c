/* Wide numbers of the interpreter: elements as double or int64, and back with the rounding or the
 * wrapping of their dtype. Every rule reads and writes numbers through these functions, so what a
 * dtype does to a number stands here and nowhere else. */
#include "cpu/interp_inner.h"

Num interp_load(const Tensor *x, int64_t at) {
    const char *data = x->data;
    size_t      bytes = dtype_bytes(x->dtype);
    union {
        uint8_t  u8;
        int8_t   i8;
        int16_t  i16;
        uint16_t u16;
        int32_t  i32;
        int64_t  i64;
        float    f32;
        double   f64;
    } u = {.i64 = 0};
    ASSERT(bytes <= sizeof u);
    memcpy(&u, data + (size_t)at * bytes, bytes);
    switch (x->dtype) {
    case DTYPE_BOOL: return (Num){.i = u.u8 != 0};
    case DTYPE_U8: return (Num){.i = u.u8};
    case DTYPE_I8: return (Num){.i = u.i8};
    case DTYPE_I16: return (Num){.i = u.i16};
    case DTYPE_I32: return (Num){.i = u.i32};
    case DTYPE_I64: return (Num){.i = u.i64};
    case DTYPE_F16: return (Num){.f = (double)dtype_f32_of_f16(u.u16)};
    case DTYPE_BF16: return (Num){.f = (double)dtype_f32_of_bf16(u.u16)};
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: return (Num){.f = (double)dtype_f32_of_f8(x->dtype, u.u8)};
    case DTYPE_F32: return (Num){.f = (double)u.f32};
    default: return (Num){.f = u.f64};
    }
}

/* Narrowing takes the low bits: conversions of unsigned numbers to signed ones wrap in gcc and
 * clang. */
void interp_store(Tensor *x, int64_t at, Num number) {
    char    *to = (char *)x->data + (size_t)at * dtype_bytes(x->dtype);
    uint64_t bits = (uint64_t)number.i;
    float    single = 0;
    if (dtype_compute(x->dtype) == DTYPE_F32) single = (float)number.f;
    switch (x->dtype) {
    case DTYPE_BOOL: memcpy(to, &(uint8_t){number.i != 0}, 1); break;
    case DTYPE_U8:
    case DTYPE_I8: memcpy(to, &(uint8_t){(uint8_t)bits}, 1); break;
    case DTYPE_I16: memcpy(to, &(uint16_t){(uint16_t)bits}, 2); break;
    case DTYPE_I32: memcpy(to, &(uint32_t){(uint32_t)bits}, 4); break;
    case DTYPE_I64: memcpy(to, &bits, 8); break;
    case DTYPE_F16: memcpy(to, &(uint16_t){dtype_f16_of_f32(single)}, 2); break;
    case DTYPE_BF16: memcpy(to, &(uint16_t){dtype_bf16_of_f32(single)}, 2); break;
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: memcpy(to, &(uint8_t){dtype_f8_of_f32(x->dtype, single)}, 1); break;
    case DTYPE_F32: memcpy(to, &single, 4); break;
    case DTYPE_F64: memcpy(to, &number.f, 8); break;
    default: NEVER(true); break;
    }
}

Num interp_round(Dtype dtype, Num number) {
    uint64_t bits = 0;
    Tensor   element = {.dtype = dtype, .data = &bits};
    interp_store(&element, 0, number);
    return interp_load(&element, 0);
}

Num *interp_load_all(Interp *it, const Tensor *x) {
    int64_t count = tensor_elements(x);
    Num    *all = ARENA_ARRAY(it->arena, Num, count);
    for (int64_t i = 0; i < count; i++) all[i] = interp_load(x, i);
    return all;
}

int64_t interp_int_max(Dtype dtype) {
    switch (dtype) {
    case DTYPE_BOOL: return 1;
    case DTYPE_U8: return UINT8_MAX;
    case DTYPE_I8: return INT8_MAX;
    case DTYPE_I16: return INT16_MAX;
    case DTYPE_I32: return INT32_MAX;
    default: return INT64_MAX;
    }
}
int64_t interp_int_min(Dtype dtype) {
    return dtype == DTYPE_BOOL || dtype == DTYPE_U8 ? 0 : -interp_int_max(dtype) - 1;
}

int64_t interp_saturate(Dtype dtype, double number) {
    if (isnan(number)) return 0;
    if (number >= (double)interp_int_max(dtype)) return interp_int_max(dtype); /* i64: 2^63 */
    if (number <= (double)interp_int_min(dtype)) return interp_int_min(dtype);
    return (int64_t)number;
}

Num interp_identity(ReduceKind kind, Dtype dtype) {
    bool is_float = dtype_is_float(dtype);
    switch (kind) {
    case REDUCE_PROD: return is_float ? (Num){.f = 1} : (Num){.i = 1};
    case REDUCE_MAX: return is_float ? (Num){.f = -INFINITY} : (Num){.i = interp_int_min(dtype)};
    case REDUCE_MIN: return is_float ? (Num){.f = INFINITY} : (Num){.i = interp_int_max(dtype)};
    case REDUCE_AND: return (Num){.i = dtype == DTYPE_BOOL ? 1 : -1};
    case REDUCE_OR: return (Num){.i = 0};
    default: return is_float ? (Num){.f = 0} : (Num){.i = 0};
    }
}

static double extreme(bool want_max, double a, double b) {
    if (isnan(a) || isnan(b)) return a + b;
    return (a > b) == want_max ? a : b;
}

Num interp_combine(ReduceKind kind, bool is_float, Num a, Num b) {
    switch (kind) {
    case REDUCE_SUM: return is_float ? (Num){.f = a.f + b.f} : (Num){.i = wrap_add(a.i, b.i)};
    case REDUCE_PROD: return is_float ? (Num){.f = a.f * b.f} : (Num){.i = wrap_mul(a.i, b.i)};
    case REDUCE_MAX:
        return is_float ? (Num){.f = extreme(true, a.f, b.f)} : (Num){.i = a.i > b.i ? a.i : b.i};
    case REDUCE_MIN:
        return is_float ? (Num){.f = extreme(false, a.f, b.f)} : (Num){.i = a.i < b.i ? a.i : b.i};
    case REDUCE_AND: return (Num){.i = a.i & b.i};
    case REDUCE_OR: return (Num){.i = a.i | b.i};
    default: NEVER(true); return a;
    }
}

bool interp_beats(bool want_max, bool is_float, Num a, Num b) {
    if (!is_float) return want_max ? a.i > b.i : a.i < b.i;
    if (isnan(b.f)) return false;
    return isnan(a.f) || (want_max ? a.f > b.f : a.f < b.f);
}
