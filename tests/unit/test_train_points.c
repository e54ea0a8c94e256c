/* Points: in range, repeatable, and spread as each kind promises. */
#include "train/points.h"

#include "harness.h"

enum { COUNT = 256 };

/* How many of the slices of [0, 1) hold exactly one number of a column. */
static uint32_t count_single(const double *points, uint32_t d, uint32_t axis, uint32_t count) {
    uint8_t  hits[COUNT] = {0};
    uint32_t single = 0;
    for (uint32_t i = 0; i < count; i++) hits[(uint32_t)(points[i * d + axis] * count)]++;
    for (uint32_t i = 0; i < count; i++) single += hits[i] == 1;
    return single;
}
static const double *make(Arena *arena, PointsKind kind, uint64_t seed, uint32_t d,
                          uint32_t count) {
    double *points = ARENA_ARRAY(arena, double, count *d);
    points_make(kind, seed, d, count, points);
    for (uint32_t i = 0; i < count * d; i++) EXPECT(points[i] >= 0 && points[i] < 1);
    return points;
}

TEST(latin_fills_every_slice_once) {
    const double *points = make(arena, POINTS_LATIN, 3, 4, 100);
    for (uint32_t axis = 0; axis < 4; axis++) EXPECT_EQ(count_single(points, 4, axis, 100), 100);
}
/* The first 2^k points of each coordinate of a digital sequence are one in each slice; the first
 * two coordinates form a net: one point in each box of area 2^-k, whatever its shape. */
TEST(sobol_is_a_digital_net) {
    const double *points = make(arena, POINTS_SOBOL, 5, POINTS_DIMS_MAX, COUNT);
    for (uint32_t axis = 0; axis < POINTS_DIMS_MAX; axis++)
        EXPECT_EQ(count_single(points, POINTS_DIMS_MAX, axis, COUNT), COUNT);
    for (uint32_t split = 0; split <= 8; split++) {
        uint8_t  hits[COUNT] = {0};
        uint32_t across = 1u << split, down = COUNT / across, single = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            const double *at = points + i * POINTS_DIMS_MAX;
            hits[(uint32_t)(at[0] * across) * down + (uint32_t)(at[1] * down)]++;
        }
        for (uint32_t i = 0; i < COUNT; i++) single += hits[i] == 1;
        EXPECT_EQ(single, COUNT);
    }
}
TEST(seeds_decide) {
    for (PointsKind kind = POINTS_UNIFORM; kind < POINTS_KIND_COUNT; kind++) {
        const double *a = make(arena, kind, 1, 2, 64), *b = make(arena, kind, 1, 2, 64);
        const double *c = make(arena, kind, 2, 2, 64);
        uint32_t      same = 0, other = 0;
        for (uint32_t i = 0; i < 128; i++) {
            same += a[i] == b[i];
            other += a[i] == c[i];
        }
        EXPECT_EQ(same, 128);
        EXPECT(other < 4);
    }
}
TEST(uniform_is_even) {
    const double *points = make(arena, POINTS_UNIFORM, 9, 3, 4096);
    double        sums[3] = {0};
    for (uint32_t i = 0; i < 4096 * 3; i++) sums[i % 3] += points[i];
    for (uint32_t axis = 0; axis < 3; axis++) /* four standard deviations: 4 sqrt(4096 / 12) */
        EXPECT(sums[axis] > 2048 - 74 && sums[axis] < 2048 + 74);
}
