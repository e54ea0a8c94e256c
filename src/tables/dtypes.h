/* Element types and their static facts, expanded from dtypes.def: name, width, class, name in
 * files.
 *
 * The 16-bit conversions are the oracle for faster ones in the back ends. */
#ifndef STOA_TABLES_DTYPES_H
#define STOA_TABLES_DTYPES_H

#include "arena/str.h"

typedef enum Dtype {
#define DTYPE(NAME, text, bytes, class, ctype, file_name) DTYPE_##NAME,
#include "tables/dtypes.def"
    DTYPE_COUNT
} Dtype;
typedef enum DtypeClass {
    DTYPE_CLASS_NONE,
    DTYPE_CLASS_BOOL,
    DTYPE_CLASS_INT,
    DTYPE_CLASS_UINT,
    DTYPE_CLASS_FLOAT,
    DTYPE_CLASS_COMPLEX
} DtypeClass;
typedef struct DtypeInfo {
    const char *name, *file_name;
    uint8_t     bytes, class;
} DtypeInfo;
extern const DtypeInfo dtype_infos[DTYPE_COUNT];

static inline uint32_t dtype_bytes(Dtype dtype) { return dtype_infos[dtype].bytes; }
static inline bool     dtype_is_float(Dtype dtype) {
        return dtype_infos[dtype].class == DTYPE_CLASS_FLOAT;
}
static inline bool dtype_is_int(Dtype dtype) {
    return dtype_infos[dtype].class == DTYPE_CLASS_INT ||
           dtype_infos[dtype].class == DTYPE_CLASS_UINT;
}
static inline bool dtype_is_complex(Dtype dtype) {
    return dtype_infos[dtype].class == DTYPE_CLASS_COMPLEX;
}
/* Whether a value of this dtype can carry a derivative. */
static inline bool dtype_is_differentiable(Dtype dtype) {
    return dtype_is_float(dtype) || dtype_is_complex(dtype);
}
/* 8-bit floats: e4m3 reaches 448 and has no infinity, e5m2 reaches 57344. They are stored,
 * converted and multiplied (dot_general), nothing else. */
static inline bool dtype_is_f8(Dtype dtype) {
    return dtype == DTYPE_F8E4M3 || dtype == DTYPE_F8E5M2;
}
static inline bool dtype_is_half(Dtype dtype) { return dtype == DTYPE_F16 || dtype == DTYPE_BF16; }
/* What 8 and 16-bit floats are computed in: f32; other dtypes in themselves. */
static inline Dtype dtype_compute(Dtype dtype) {
    return dtype_is_half(dtype) || dtype_is_f8(dtype) ? DTYPE_F32 : dtype;
}
Dtype dtype_find(String name);           /* "f32"; DTYPE_NIL if unknown */
Dtype dtype_find_file_name(String name); /* "F32" (safetensors); DTYPE_NIL if unknown */

/* Storage conversions, round to nearest even; NaN stays NaN. */
float    dtype_f32_of_bf16(uint16_t bits);
uint16_t dtype_bf16_of_f32(float number);
float    dtype_f32_of_f16(uint16_t bits);
uint16_t dtype_f16_of_f32(float number);
/* Of the two 8-bit floats. What is too large, infinity included, becomes the largest number, as the
 * conversions of GPUs do. */
float   dtype_f32_of_f8(Dtype dtype, uint8_t bits);
uint8_t dtype_f8_of_f32(Dtype dtype, float number);

#endif
