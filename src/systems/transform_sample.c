/* Choices: each is recorded as a step that does nothing when it is replayed, so that a schedule
 * tells which decisions led to it. */
#include "systems/transform_inner.h"
#include "tables/philox.h"

/* What was given at this place if it is possible, else by weight. */
static uint32_t decide(Decisions *d, const uint32_t *weights, uint32_t count) {
    ASSERT(count > 0);
    uint32_t at = d->taken_count, chosen = count;
    uint64_t total = 0;
    if (at < d->given_count && d->given[at] < count) chosen = d->given[at];
    for (uint32_t i = 0; i < count; i++) total += weights != NULL ? weights[i] : 1;
    if (chosen == count && total != 0) {
        uint64_t drawn = philox_below(philox_draw(d->seed, at, 0), total);
        for (chosen = 0; chosen + 1 < count; chosen++) {
            uint64_t weight = weights != NULL ? weights[chosen] : 1;
            if (drawn < weight) break;
            drawn -= weight;
        }
    }
    if (chosen == count) chosen = 0;
    if (at < DECISIONS_MAX) d->taken[d->taken_count++] = chosen;
    return chosen;
}
uint32_t transform_sample(Schedule *s, Decisions *decisions, const uint32_t *weights,
                          uint32_t count) {
    uint32_t chosen = decide(decisions, weights, count);
    (void)transform_apply(s, TRANSFORM_SAMPLE, TRANSFORM_NUMBERS_(count, chosen));
    return chosen;
}
bool transform_SAMPLE(Schedule *s, const int64_t *n) {
    return n[1] < n[0] || transform_refuse(s, "the one taken is none of the choices");
}

enum { PARTS_MAX = 4, POWERS_MAX = 16 };
static bool divides(Schedule *s, DimId extent, int64_t factor) {
    return !dims_is_const(&s->loops->dims, extent) ||
           dims_const_value(&s->loops->dims, extent) % factor == 0;
}
bool transform_sample_tile(Schedule *s, Decisions *decisions, uint32_t at, uint32_t parts,
                           uint32_t most, uint32_t *out_factors) {
    uint32_t loop = transform_row(s, at, NODE_LOOP);
    int64_t  numbers[TRANSFORM_NUMBERS_MAX] = {at, parts, most}, product = 1;
    if (loop == 0 || parts < 2 || parts > PARTS_MAX || most == 0) return false;
    DimId extent = s->loops->nodes.extent[loop];
    for (uint32_t i = 1; i < parts; i++) { /* the innermost factor first */
        uint32_t powers[POWERS_MAX], count = 0;
        for (uint32_t power = 0; power < POWERS_MAX; power++) {
            if ((1u << power) > most || !divides(s, extent, product << power)) break;
            powers[count++] = 1u << power;
        }
        uint32_t factor = powers[decide(decisions, NULL, count)];
        product *= factor;
        out_factors[parts - 1 - i] = factor;
        numbers[3 + parts - 1 - i] = factor;
    }
    return transform_apply(s, TRANSFORM_SAMPLE_TILE, numbers);
}
bool transform_SAMPLE_TILE(Schedule *s, const int64_t *n) {
    if (transform_row(s, n[0], NODE_LOOP) == 0) return transform_refuse(s, transform_no_loop);
    return (n[1] >= 2 && n[1] <= PARTS_MAX) || transform_refuse(s, "parts are 2 to 4");
}
