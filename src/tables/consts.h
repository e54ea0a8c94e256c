/* Constants: tensor payloads known when the program is built, interned by type and bytes.
 *
 * Scalars are the common case: a splat is a scalar constant followed by broadcast_in_dim. */
#ifndef STOA_TABLES_CONSTS_H
#define STOA_TABLES_CONSTS_H

#include "tables/types.h"

ID_TYPE(ConstId, const_id);

#define CONSTS_COLUMNS(C)                                                                          \
    C(TypeId, type, "static shape")                                                                \
    C(uint32_t, first, "first row of const_bytes, 16-byte aligned")                                \
    C(uint32_t, count, "bytes")
TABLE_TYPE(ConstRows, CONSTS_COLUMNS);
#define CONST_BYTES_COLUMNS(C) C(uint8_t, bytes, "payloads, row-major, little-endian")
TABLE_TYPE(ConstBytes, CONST_BYTES_COLUMNS);

typedef struct Consts {
    ConstRows  rows;
    ConstBytes bytes;
    Intern     index;
} Consts;

void    consts_open(Consts *consts, uint32_t rows_max, Budget *budget);
void    consts_close(Consts *consts);
void    consts_reindex(Consts *consts);
ConstId consts_add(Consts *consts, TypeId type, const void *bytes, uint32_t count);
static inline const void *consts_bytes(const Consts *consts, ConstId id) {
    return consts->bytes.bytes + consts->rows.first[id.row];
}
/* One element of a given dtype, from a double, rounded to storage; returns its bytes. */
uint32_t const_encode(Dtype dtype, double number, void *out_element);
double   const_decode(Dtype dtype, const void *element);

#endif
