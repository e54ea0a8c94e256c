/* Shapes and types, interned: a shape is a run of dims, a type is (dtype, shape).
 *
 * Equal ones have one id, so type equality is an id compare. Rank is at most SHAPE_RANK_MAX. */
#ifndef STOA_TABLES_TYPES_H
#define STOA_TABLES_TYPES_H

#include "tables/dims.h"
#include "tables/dtypes.h"

ID_TYPE(ShapeId, shape_id);
ID_TYPE(TypeId, type_id);

enum { SHAPE_RANK_MAX = 8 };

#define SHAPES_COLUMNS(C)                                                                          \
    C(uint32_t, first, "first row of shape_dims")                                                  \
    C(uint32_t, rank, "number of dims; row 1 is the scalar shape")
TABLE_TYPE(ShapeRows, SHAPES_COLUMNS);
#define SHAPE_DIMS_COLUMNS(C) C(DimId, dim, "sizes, outermost first")
TABLE_TYPE(ShapeDims, SHAPE_DIMS_COLUMNS);
#define TYPES_COLUMNS(C)                                                                           \
    C(uint8_t, dtype, "Dtype")                                                                     \
    C(uint8_t, layout, "0: row-major; room for blocked layouts")                                   \
    C(ShapeId, shape, "sizes")                                                                     \
    C(uint32_t, sharding, "0: not distributed; room for placements")
TABLE_TYPE(TypeRows, TYPES_COLUMNS);

typedef struct Types {
    ShapeRows shapes;
    ShapeDims dims;
    TypeRows  types;
    Intern    shape_index, type_index;
} Types;

void types_open(Types *types, uint32_t rows_max, Budget *budget);
void types_close(Types *types);
void types_reindex(Types *types);

ShapeId types_shape(Types *types, const DimId *dims, uint32_t rank); /* rank <= SHAPE_RANK_MAX */
TypeId  types_type(Types *types, Dtype dtype, ShapeId shape);

static inline uint32_t shape_rank(const Types *types, ShapeId id) {
    return types->shapes.rank[id.row];
}
static inline const DimId *shape_dims(const Types *types, ShapeId id) {
    return types->dims.dim + types->shapes.first[id.row];
}
static inline Dtype type_dtype(const Types *types, TypeId id) {
    return (Dtype)types->types.dtype[id.row];
}
static inline ShapeId type_shape(const Types *types, TypeId id) {
    return types->types.shape[id.row];
}
static inline uint32_t type_rank(const Types *types, TypeId id) {
    return shape_rank(types, type_shape(types, id));
}
static inline const DimId *type_dims(const Types *types, TypeId id) {
    return shape_dims(types, type_shape(types, id));
}

#endif
