/* Appending operators with their types inferred at once: what the public builders, the rewriting
 * systems and the rule tables use. Failure leaves a diagnostic and a value of nil type; operators
 * that use it stay silent, so callers chain without checks and look at the diagnostics once. */
#ifndef STOA_TABLES_BUILD_H
#define STOA_TABLES_BUILD_H

#include "tables/schema.h"

typedef struct Build {
    World  *world;
    Code   *code;  /* world->code, or world->spare while a system rewrites */
    BlockId block; /* that receives the rows */
    LocId   loc;   /* given to the rows */
} Build;

/* Appends an operator. attrs: one word per attribute of the schema, NULL for all defaults. results:
 * 0 takes the number from the schema (MANY: one per operand; ANY: must be given). */
OpId build_row(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
               const uint64_t *attrs, uint32_t results);
/* The same, giving the first result. */
ValueId build_op(Build *build, Opcode opcode, const ValueId *operands, uint32_t count,
                 const uint64_t *attrs);

static inline TypeId build_type(const Build *build, ValueId value) {
    return build->code->values.type[value.row];
}
static inline uint32_t build_rank(const Build *build, ValueId value) {
    return type_rank(&build->world->types, build_type(build, value));
}
static inline const DimId *build_dims(const Build *build, ValueId value) {
    return type_dims(&build->world->types, build_type(build, value));
}
static inline Dtype build_dtype(const Build *build, ValueId value) {
    return type_dtype(&build->world->types, build_type(build, value));
}
uint64_t build_ints(Build *build, const int64_t *numbers,
                    uint32_t count); /* an INTS or DIMS word */
uint64_t build_sizes(Build *build, const DimId *dims, uint32_t rank);

ValueId build_unary(Build *build, Opcode opcode, ValueId x);
ValueId build_binary(Build *build, Opcode opcode, ValueId x, ValueId y);
ValueId build_scalar(Build *build, Dtype dtype, double number);
/* number in every element of the type of like. */
ValueId build_splat(Build *build, ValueId like, double number);
ValueId build_splat_type(Build *build, TypeId type, double number);
ValueId build_compare(Build *build, CompareKind direction, ValueId x, ValueId y);
ValueId build_select(Build *build, ValueId which, ValueId on_true, ValueId on_false);
ValueId build_convert(Build *build, ValueId x, Dtype dtype); /* x itself when it has the dtype */
ValueId build_reduce(Build *build, ReduceKind kind, ValueId x, const int64_t *axes, uint32_t count);
ValueId build_broadcast(Build *build, ValueId x, const DimId *dims, uint32_t rank,
                        const int64_t *axes);
/* x, whose axes are those of like without the removed ones, repeated along the removed ones. */
ValueId build_spread(Build *build, ValueId x, ValueId like, const int64_t *removed, uint32_t count);
/* x (rank 1) along one axis of like, or a scalar over all of it. */
ValueId build_along(Build *build, ValueId x, ValueId like, int64_t axis);
ValueId build_scalar_over(Build *build, ValueId scalar, ValueId like);
ValueId build_reshape(Build *build, ValueId x, const DimId *dims, uint32_t rank);
ValueId build_transpose(Build *build, ValueId x, const int64_t *permutation, uint32_t rank);
typedef struct DotAxes {
    int64_t  x_batch[SHAPE_RANK_MAX], y_batch[SHAPE_RANK_MAX];
    int64_t  x_contract[SHAPE_RANK_MAX], y_contract[SHAPE_RANK_MAX];
    uint32_t batch, contract;
} DotAxes;
ValueId build_dot(Build *build, ValueId x, ValueId y, const DotAxes *axes);
/* Operands in 8-bit floats; see narrow_dot. */
typedef enum NarrowWide { NARROW_WIDE_Z = 1, NARROW_WIDE_DX = 2, NARROW_WIDE_DY = 4 } NarrowWide;
typedef struct NarrowDot {
    Dtype    x, y;
    uint32_t wide;  /* NarrowWide bits */
    uint32_t block; /* 0 or NARROW_BLOCK */
} NarrowDot;
enum { NARROW_BLOCK = 128 }; /* elements along a sum that may share a scale */
ValueId build_narrow_dot(Build *build, ValueId x, ValueId y, const DotAxes *axes, NarrowDot how);
/* A size as an i64 scalar, without a tensor that has it: the last number of iota[size + 1]. */
ValueId build_size(Build *build, DimId size);
/* The number of elements along axes, as a scalar of a float dtype (symbolic sizes at run time). */
ValueId build_count(Build *build, ValueId x, const int64_t *axes, uint32_t count, Dtype dtype);

#endif
