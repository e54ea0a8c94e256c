/* Points in the unit cube: what equations are asked at. Uniform, Latin hypercube and Sobol, each a
 * function of the seed. */
#ifndef STOA_TRAIN_POINTS_H
#define STOA_TRAIN_POINTS_H

#include "arena/arena.h"

enum { POINTS_DIMS_MAX = 10 };

typedef enum PointsKind {
    POINTS_UNIFORM,
    POINTS_LATIN,
    POINTS_SOBOL,
    POINTS_KIND_COUNT
} PointsKind;

/* out[count][d], row-major, each in [0, 1). d <= POINTS_DIMS_MAX. Linear; latin needs count words
 * of scratch. */
void points_make(PointsKind kind, uint64_t seed, uint32_t d, uint64_t count, double *out);

#endif
