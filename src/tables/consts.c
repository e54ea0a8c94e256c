/* Interned constants and the conversion of one element between storage and double.
 *
 * Payloads are 16-byte aligned in the pool, so that kernels read them in place. */
#include "tables/consts.h"

#include "arena/hash.h"

#define TABLE_SELF_ ConstRows
TABLE_INFO(ConstRows, const_rows_info, "consts", CONSTS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ ConstBytes
TABLE_INFO(ConstBytes, const_bytes_info, "const_bytes", CONST_BYTES_COLUMNS);
#undef TABLE_SELF_

typedef struct ConstKey {
    TypeId      type;
    const void *bytes;
    uint32_t    count;
} ConstKey;

static bool const_same(const void *owner, uint32_t row, const void *key) {
    const Consts   *consts = owner;
    const ConstKey *k = key;
    return consts->rows.type[row].row == k->type.row && consts->rows.count[row] == k->count &&
           memcmp(consts_bytes(consts, (ConstId){row}), k->bytes, k->count) == 0;
}
static uint64_t const_hash(const void *owner, uint32_t row) {
    const Consts *consts = owner;
    return hash_bytes(consts_bytes(consts, (ConstId){row}), consts->rows.count[row],
                      consts->rows.type[row].row);
}

void consts_open(Consts *consts, uint32_t rows_max, Budget *budget) {
    memset(consts, 0, sizeof *consts);
    table_open(&consts->rows.table, &const_rows_info, rows_max, budget);
    table_open(&consts->bytes.table, &const_bytes_info, UINT32_MAX - 65536, budget);
    intern_open(&consts->index, rows_max, budget);
}
void consts_close(Consts *consts) {
    table_close(&consts->rows.table);
    table_close(&consts->bytes.table);
    intern_close(&consts->index);
}
void consts_reindex(Consts *consts) {
    intern_clear(&consts->index);
    for (uint32_t row = 1; row < consts->rows.table.count; row++)
        intern_add(&consts->index, const_hash(consts, row), row);
}

ConstId consts_add(Consts *consts, TypeId type, const void *bytes, uint32_t count) {
    ASSERT(type_id_some(type));
    ConstKey key = {type, bytes, count};
    uint64_t hash = hash_bytes(bytes, count, type.row);
    uint32_t row = intern_find(&consts->index, hash, const_same, consts, &key);
    if (row != 0) return (ConstId){row};
    uint32_t padding = (16 - consts->bytes.table.count % 16) % 16;
    uint32_t first = table_add_many(&consts->bytes.table, padding + count) + padding;
    memset(consts->bytes.bytes + first - padding, 0, padding);
    if (count != 0) memcpy(consts->bytes.bytes + first, bytes, count);
    row = table_add(&consts->rows.table);
    consts->rows.type[row] = type;
    consts->rows.first[row] = first;
    consts->rows.count[row] = count;
    intern_add(&consts->index, hash, row);
    return (ConstId){row};
}

uint32_t const_encode(Dtype dtype, double number, void *out) {
    switch (dtype) {
    case DTYPE_BOOL: memcpy(out, &(uint8_t){number != 0}, 1); break;
    case DTYPE_U8: memcpy(out, &(uint8_t){(uint8_t)(int64_t)number}, 1); break;
    case DTYPE_I8: memcpy(out, &(int8_t){(int8_t)(int64_t)number}, 1); break;
    case DTYPE_I16: memcpy(out, &(int16_t){(int16_t)(int64_t)number}, 2); break;
    case DTYPE_I32: memcpy(out, &(int32_t){(int32_t)(int64_t)number}, 4); break;
    case DTYPE_I64: memcpy(out, &(int64_t){(int64_t)number}, 8); break;
    case DTYPE_F16: memcpy(out, &(uint16_t){dtype_f16_of_f32((float)number)}, 2); break;
    case DTYPE_BF16: memcpy(out, &(uint16_t){dtype_bf16_of_f32((float)number)}, 2); break;
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: memcpy(out, &(uint8_t){dtype_f8_of_f32(dtype, (float)number)}, 1); break;
    case DTYPE_F32: memcpy(out, &(float){(float)number}, 4); break;
    case DTYPE_F64: memcpy(out, &number, 8); break;
    default: return 0;
    }
    return dtype_bytes(dtype);
}

double const_decode(Dtype dtype, const void *element) {
    union {
        uint8_t  u8;
        int8_t   i8;
        int16_t  i16;
        uint16_t u16;
        int32_t  i32;
        int64_t  i64;
        float    f32;
        double   f64;
    } u;
    memcpy(&u, element, dtype_bytes(dtype) <= 8 ? dtype_bytes(dtype) : 8);
    switch (dtype) {
    case DTYPE_BOOL:
    case DTYPE_U8: return u.u8;
    case DTYPE_I8: return u.i8;
    case DTYPE_I16: return u.i16;
    case DTYPE_I32: return u.i32;
    case DTYPE_I64: return (double)u.i64;
    case DTYPE_F16: return (double)dtype_f32_of_f16(u.u16);
    case DTYPE_BF16: return (double)dtype_f32_of_bf16(u.u16);
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: return (double)dtype_f32_of_f8(dtype, u.u8);
    case DTYPE_F32: return (double)u.f32;
    case DTYPE_F64: return u.f64;
    default: return 0;
    }
}
