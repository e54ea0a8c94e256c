/* Sources: Latin hypercube, McKay, Beckman and Conover 1979; Sobol 1967 in Gray code order, Antonov
 * and Saleev 1979; primitive polynomials and first direction numbers of Joe and Kuo 2008
 * (new-joe-kuo-6); random digital shift, Cranley and Patterson 1976 in base 2. */
#include "train/points.h"

#include "tables/philox.h"

enum { BITS = 32 };
enum { STREAM_UNIFORM = 0x706f696e, STREAM_ORDER, STREAM_SHIFT }; /* what draws are for */

static double unit(uint64_t seed, uint64_t index, uint64_t stream) {
    Philox   drawn = philox_draw(seed, index, stream);
    uint64_t bits = (uint64_t)drawn.word[1] << 32 | drawn.word[0];
    return (double)(bits >> 11) * 0x1p-53;
}

/* --- latin ------------------------------------------------------------------------------------ */
static void latin(uint64_t seed, uint32_t d, uint64_t count, double *out) {
    Scratch   scratch = scratch_begin(NULL, 0);
    uint64_t *slices = ARENA_ARRAY(scratch.arena, uint64_t, count);
    for (uint32_t axis = 0; axis < d; axis++) {
        for (uint64_t i = 0; i < count; i++) slices[i] = i;
        for (uint64_t i = count; i > 1; i--) { /* Fisher and Yates */
            uint64_t k = philox_below(philox_draw(seed, i, STREAM_ORDER + (uint64_t)axis * 8), i);
            uint64_t swap = slices[i - 1];
            slices[i - 1] = slices[k];
            slices[k] = swap;
        }
        for (uint64_t i = 0; i < count; i++) {
            double inside = unit(seed, i * d + axis, STREAM_UNIFORM);
            out[i * d + axis] = ((double)slices[i] + inside) / (double)count;
        }
    }
    scratch_end(scratch);
}

/* --- sobol ------------------------------------------------------------------------------------ */
typedef struct Polynomial {
    uint8_t degree, middle; /* coefficients between the first and the last, which are 1 */
    uint8_t first[5];       /* m_1..m_degree */
} Polynomial;
static const Polynomial polynomials[POINTS_DIMS_MAX] = {
    {0, 0, {0}},
    {1, 0, {1}},
    {2, 1, {1, 3}},
    {3, 1, {1, 3, 1}},
    {3, 2, {1, 1, 1}},
    {4, 1, {1, 1, 3, 3}},
    {4, 4, {1, 3, 5, 13}},
    {5, 2, {1, 1, 5, 5, 17}},
    {5, 4, {1, 1, 5, 5, 5}},
    {5, 7, {1, 1, 7, 11, 19}},
};
static void directions(uint32_t axis, uint32_t *out) {
    const Polynomial *p = &polynomials[axis];
    for (uint32_t i = 0; i < BITS; i++) {
        if (p->degree == 0 || i < p->degree) {
            out[i] = (p->degree == 0 ? 1u : p->first[i]) << (BITS - 1 - i);
            continue;
        }
        out[i] = out[i - p->degree] ^ (out[i - p->degree] >> p->degree);
        for (uint32_t k = 1; k < p->degree; k++)
            if (p->middle >> (p->degree - 1 - k) & 1) out[i] ^= out[i - k];
    }
}
static void sobol(uint64_t seed, uint32_t d, uint64_t count, double *out) {
    for (uint32_t axis = 0; axis < d; axis++) {
        uint32_t v[BITS], x = philox_draw(seed, axis, STREAM_SHIFT).word[0];
        directions(axis, v);
        for (uint64_t i = 0; i < count; i++) {
            out[i * d + axis] = (double)x * 0x1p-32;
            x ^= v[__builtin_ctzll(~i) % BITS];
        }
    }
}

void points_make(PointsKind kind, uint64_t seed, uint32_t d, uint64_t count, double *out) {
    ASSERT(d <= POINTS_DIMS_MAX);
    if (kind == POINTS_LATIN)
        latin(seed, d, count, out);
    else if (kind == POINTS_SOBOL)
        sobol(seed, d, count, out);
    else
        for (uint64_t i = 0; i < count * d; i++) out[i] = unit(seed, i, STREAM_UNIFORM);
}
