/* The public point samplers: the unit cube of train/points.h moved into a box. A call that fails
 * writes nothing. */
#include "train/points.h"

#include "api/internal.h"

static_assert((int)STOA_POINTS_SOBOL == (int)POINTS_SOBOL, "ORDER PointsKind");

StoaStatus stoa_points(StoaContext *context, StoaPointsKind kind, uint64_t seed, const double *low,
                       const double *high, uint32_t d, size_t count, double *out_points) {
    ArenaGuard guard;
    if ((uint32_t)kind >= POINTS_KIND_COUNT || d > POINTS_DIMS_MAX) {
        api_misuse(context, "stoa_points", "needs a known kind and at most 10 coordinates");
        return api_fail(context, NULL, STATUS_INVALID);
    }
    if (!ARENA_GUARD(&guard)) return api_unwound(context, NULL);
    points_make((PointsKind)kind, seed, d, count, out_points);
    arena_guard_end(&guard);
    for (size_t i = 0; i < count * d; i++)
        out_points[i] = low[i % d] + (high[i % d] - low[i % d]) * out_points[i];
    return STOA_OK;
}
