/* Initial values against the formula in libm, one number at a time: uniform ones exactly, normal
 * ones within some units of double precision; the same in every cut, and for every instruction set.
 */
#include "harness.h"

#include <math.h>
#include <string.h>

#include "cpu/kernels.h"
#include "tables/philox.h"

enum { PAIRS = 20000, COUNT = 2 * PAIRS - 1 };
static const uint64_t key = 0x299f31d0a4093822u;

static double drawn(InitKind init, double scale, int64_t element) {
    Philox words = philox_draw(key, (uint64_t)element / 2, 1);
    double u = ((double)words.word[0] + 0.5) * 0x1p-32, v = ((double)words.word[1] + 0.5) * 0x1p-32;
    if (init == INIT_UNIFORM) return scale * (2 * (element % 2 ? v : u) - 1);
    double radius = scale * sqrt(-2 * log(u)), angle = 6.283185307179586 * v;
    return radius * (element % 2 ? sin(angle) : cos(angle));
}
static Tensor tensor_of(Arena *arena, Dtype dtype) {
    Tensor tensor = {.dtype = dtype, .rank = 1, .shape = {COUNT}};
    tensor.data = arena_push(arena, tensor_bytes(&tensor), 64);
    return tensor;
}

TEST(draw_matches_the_formula) {
    Tensor        tensor = tensor_of(arena, DTYPE_F64);
    const double *x = tensor.data;
    double        worst = 0, sum = 0, squares = 0;
    cpu_draw(INIT_UNIFORM, key, 0.25, &tensor, 0, PAIRS);
    for (int64_t i = 0; i < COUNT; i++) EXPECT(x[i] == drawn(INIT_UNIFORM, 0.25, i));
    cpu_draw(INIT_NORMAL, key, 0.5, &tensor, 0, PAIRS);
    for (int64_t i = 0; i < COUNT; i++) {
        worst = fmax(worst, fabs(x[i] - drawn(INIT_NORMAL, 0.5, i)));
        sum += x[i];
        squares += x[i] * x[i];
    }
    EXPECT(worst < 4e-15);
    EXPECT(fabs(sum / COUNT) < 4 * 0.5 / sqrt(COUNT));
    EXPECT(fabs(squares / COUNT - 0.25) < 4 * 0.25 * sqrt(2.0 / COUNT));
}

TEST(draw_rounds_once) {
    Tensor       wide = tensor_of(arena, DTYPE_F64), tensor = tensor_of(arena, DTYPE_F32);
    const float *x = tensor.data;
    int          other = 0;
    cpu_draw(INIT_NORMAL, key, 0.02, &wide, 0, PAIRS);
    cpu_draw(INIT_NORMAL, key, 0.02, &tensor, 0, PAIRS);
    for (int64_t i = 0; i < COUNT; i++) {
        EXPECT(x[i] == (float)((double *)wide.data)[i]);
        other += x[i] != (float)drawn(INIT_NORMAL, 0.02, i);
    }
    EXPECT_EQ(other, 0); // they differ in a bit of a double, which hardly ever shows
}

TEST(draw_does_not_depend_on_cuts) {
    static const Dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64, DTYPE_I32};
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (InitKind init = INIT_ZEROS; init < INIT_KIND_COUNT; init++) {
            Tensor whole = tensor_of(arena, dtypes[d]), parts = tensor_of(arena, dtypes[d]);
            memset(parts.data, 0x55, tensor_bytes(&parts));
            cpu_draw(init, key, 3, &whole, 0, PAIRS);
            for (int64_t at = 0, n = 1; at < PAIRS; at += n, n = n * 3 % 1001)
                cpu_draw(init, key, 3, &parts, at, at + n < PAIRS ? at + n : PAIRS);
            EXPECT(memcmp(whole.data, parts.data, tensor_bytes(&whole)) == 0);
        }
}

TEST(draw_is_the_same_for_every_instruction_set) {
    uint32_t u[ISA_LEVELS][1000], v[ISA_LEVELS][1000];
    double   x[ISA_LEVELS][2000];
    for (IsaLevel level = 0; level < ISA_LEVELS; level++) {
        const Isa *isa = kernels_isa(level);
        isa->draw_words(key, UINT32_MAX - 500u, (uint64_t)9 << 33, 1000, u[level], v[level]);
        isa->draw_normal(u[level], v[level], 1000, 1, x[level]);
        EXPECT(memcmp(x[0], x[level], sizeof x[0]) == 0);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        Philox words = philox_draw(key, UINT32_MAX - 500u + i, (uint64_t)9 << 33);
        EXPECT(u[0][i] == words.word[0] && v[0][i] == words.word[1]);
    }
}
