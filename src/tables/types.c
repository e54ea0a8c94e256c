/* Interned shapes and types: equal ones are one row, so type equality is an id compare.
 *
 * Dims are copied to the stack before the column grows, because callers pass dims of other
 * shapes. */
#include "tables/types.h"

#include "arena/hash.h"

#define TABLE_SELF_ ShapeRows
TABLE_INFO(ShapeRows, shape_rows_info, "shapes", SHAPES_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ ShapeDims
TABLE_INFO(ShapeDims, shape_dims_info, "shape_dims", SHAPE_DIMS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ TypeRows
TABLE_INFO(TypeRows, type_rows_info, "types", TYPES_COLUMNS);
#undef TABLE_SELF_

typedef struct ShapeKey {
    const DimId *dims;
    uint32_t     rank;
} ShapeKey;
typedef struct TypeKey {
    Dtype   dtype;
    ShapeId shape;
} TypeKey;

static uint64_t shape_key_hash(const DimId *dims, uint32_t rank) {
    uint64_t hash = hash_mix(3, rank);
    for (uint32_t i = 0; i < rank; i++) hash = hash_mix(hash, dims[i].row);
    return hash;
}
static bool shape_same(const void *owner, uint32_t row, const void *key) {
    const Types    *types = owner;
    const ShapeKey *k = key;
    if (types->shapes.rank[row] != k->rank) return false;
    const DimId *dims = types->dims.dim + types->shapes.first[row];
    for (uint32_t i = 0; i < k->rank; i++)
        if (dims[i].row != k->dims[i].row) return false;
    return true;
}
static uint64_t shape_hash(const void *owner, uint32_t row) {
    const Types *types = owner;
    return shape_key_hash(types->dims.dim + types->shapes.first[row], types->shapes.rank[row]);
}
static bool type_same(const void *owner, uint32_t row, const void *key) {
    const Types   *types = owner;
    const TypeKey *k = key;
    return types->types.dtype[row] == k->dtype && types->types.shape[row].row == k->shape.row;
}
static uint64_t type_hash(const void *owner, uint32_t row) {
    const Types *types = owner;
    return hash_mix(types->types.dtype[row], types->types.shape[row].row);
}

void types_open(Types *types, uint32_t rows_max, Budget *budget) {
    memset(types, 0, sizeof *types);
    table_open(&types->shapes.table, &shape_rows_info, rows_max, budget);
    table_open(&types->dims.table, &shape_dims_info, rows_max, budget);
    table_open(&types->types.table, &type_rows_info, rows_max, budget);
    intern_open(&types->shape_index, rows_max, budget);
    intern_open(&types->type_index, rows_max, budget);
    (void)types_shape(types, NULL, 0);
}

void types_close(Types *types) {
    table_close(&types->shapes.table);
    table_close(&types->dims.table);
    table_close(&types->types.table);
    intern_close(&types->shape_index);
    intern_close(&types->type_index);
}

void types_reindex(Types *types) {
    intern_clear(&types->shape_index);
    intern_clear(&types->type_index);
    for (uint32_t row = 1; row < types->shapes.table.count; row++)
        intern_add(&types->shape_index, shape_hash(types, row), row);
    for (uint32_t row = 1; row < types->types.table.count; row++)
        intern_add(&types->type_index, type_hash(types, row), row);
}

ShapeId types_shape(Types *types, const DimId *dims, uint32_t rank) {
    ASSERT(rank <= SHAPE_RANK_MAX);
    static const DimId none[1] = {{0}};
    ShapeKey           key = {rank ? dims : none, rank};
    uint64_t           hash = shape_key_hash(key.dims, rank);
    uint32_t           row = intern_find(&types->shape_index, hash, shape_same, types, &key);
    if (row != 0) return (ShapeId){row};
    DimId copy[SHAPE_RANK_MAX]; /* dims may point into the column that grows */
    if (rank != 0) memcpy(copy, dims, rank * sizeof(DimId));
    uint32_t first = table_add_many(&types->dims.table, rank);
    if (rank != 0) memcpy(types->dims.dim + first, copy, rank * sizeof(DimId));
    row = table_add(&types->shapes.table);
    types->shapes.first[row] = first;
    types->shapes.rank[row] = rank;
    intern_add(&types->shape_index, hash, row);
    return (ShapeId){row};
}

TypeId types_type(Types *types, Dtype dtype, ShapeId shape) {
    ASSERT(dtype > DTYPE_NIL && dtype < DTYPE_COUNT && shape_id_some(shape));
    TypeKey  key = {dtype, shape};
    uint64_t hash = hash_mix(dtype, shape.row);
    uint32_t row = intern_find(&types->type_index, hash, type_same, types, &key);
    if (row != 0) return (TypeId){row};
    row = table_add(&types->types.table);
    types->types.dtype[row] = (uint8_t)dtype;
    types->types.layout[row] = 0;
    types->types.shape[row] = shape;
    types->types.sharding[row] = 0;
    intern_add(&types->type_index, hash, row);
    return (TypeId){row};
}
