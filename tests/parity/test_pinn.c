/* Points on the border of a box: every side is covered, without gaps much larger than points placed
 * evenly would leave. What a network is not told of, it makes up. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "models/pinn.h"

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double largest_gap(double *at, size_t count, double low, double high) {
    double gap = 0, last = low;
    qsort(at, count, sizeof *at, by_size);
    for (size_t i = 0; i <= count; i++) {
        double next = i < count ? at[i] : high;
        gap = fmax(gap, next - last);
        last = next;
    }
    return gap / (high - low);
}
TEST(border_points_cover_every_side) {
    enum { COUNT = 256 };
    StoaContext *context = NULL;
    double       points[2 * COUNT], at[COUNT];
    EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK);
    for (const PinnCase *c = pinn_cases; c->name != NULL; c++) {
        uint32_t d = (uint32_t)strlen(c->axes);
        if (d != 2) continue;
        REQUIRE(EXPECT_EQ(model_pinn_border(context, c, 7, COUNT, points), STOA_OK));
        for (uint32_t axis = 0; axis < 2; axis++)
            for (uint32_t end = 0; end < (c->axes[axis] == 't' ? 1u : 2u); end++) {
                double   side = (end ? c->high : c->low)[axis];
                uint32_t other = 1 - axis;
                size_t   count = 0;
                for (size_t i = 0; i < COUNT; i++)
                    if (points[2 * i + axis] == side) at[count++] = points[2 * i + other];
                EXPECT(count >= COUNT / 4);
                EXPECT(largest_gap(at, count, c->low[other], c->high[other]) < 4.0 / (double)count);
            }
    }
    stoa_context_destroy(context);
}
