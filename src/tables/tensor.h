/* A concrete tensor: dtype, sizes and row-major memory that somebody else owns.
 *
 * The currency between the public interface, the interpreter, plans and file formats. */
#ifndef STOA_TABLES_TENSOR_H
#define STOA_TABLES_TENSOR_H

#include "tables/types.h"

typedef struct Tensor {
    Dtype    dtype;
    uint32_t rank;
    int64_t  shape[SHAPE_RANK_MAX];
    void    *data; /* row-major, aligned to the dtype at least */
} Tensor;

static inline int64_t tensor_elements(const Tensor *tensor) {
    int64_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}
static inline size_t tensor_bytes(const Tensor *tensor) {
    return (size_t)tensor_elements(tensor) * dtype_bytes(tensor->dtype);
}
/* A named tensor that persists between steps: what a parameter operator reads and assign writes. */
typedef struct NamedTensor {
    StrId  name;
    Tensor tensor;
} NamedTensor;

#endif
