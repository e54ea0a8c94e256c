/* Derivatives of one number, by its gradient: forward mode over reverse.
 *
 * Where y has a single element, all its first derivatives are one gradient, whatever the number of
 * coordinates; a second derivative is an element of the derivative of that along one of its two
 * coordinates. Which of the two is chosen so that few are needed: for a row of the Hessian, one.
 * Taylor mode carries a stream for each coordinate instead, but goes forward only and keeps
 * nothing, so estimates decide (modes.h). Orders above two are left to Taylor mode: this would
 * double with each. What is written are gradient and jvp rows, for the next round of
 * differentiate. */
#include "systems/taylor_inner.h"

/* By coordinate: its derivative of the gradient is needed. Returns how many; out_along: by term,
 * UINT32_MAX for those of first order. */
static uint32_t choose_coordinates(Arena *scratch, const DerivativeTerms *terms,
                                   uint32_t coordinates, uint32_t *out_along) {
    uint32_t *uses = ARENA_ARRAY_ZERO(scratch, uint32_t, coordinates), count = 0;
    uint8_t  *taken = ARENA_ARRAY_ZERO(scratch, uint8_t, coordinates);
    for (uint32_t i = 0; i < terms->count; i++)
        for (uint32_t k = 0; k < terms->rows[i].order && terms->rows[i].order == 2; k++)
            uses[terms->rows[i].at[k]]++;
    for (uint32_t i = 0; i < terms->count; i++) {
        const DerivativeTerm *term = &terms->rows[i];
        out_along[i] = UINT32_MAX;
        if (term->order != 2) continue;
        uint32_t a = term->at[0], b = term->at[1];
        out_along[i] = taken[b] || (!taken[a] && uses[b] > uses[a]) ? b : a;
        count += !taken[out_along[i]];
        taken[out_along[i]] = 1;
    }
    return count;
}
ReverseChoice taylor_reverse_choice(Arena *scratch, const ModePass *pass,
                                    const DerivativeTerms *terms, uint32_t streams,
                                    uint32_t coordinates, bool single) {
    ReverseChoice choice = {.possible = single};
    uint32_t     *along = ARENA_ARRAY(scratch, uint32_t, terms->count + 1);
    for (uint32_t i = 0; i < terms->count; i++) choice.possible &= terms->rows[i].order <= 2;
    choice.taylor = modes_forward_time(pass, streams - 1.0);
    if (!choice.possible) return choice;
    choice.forward = choose_coordinates(scratch, terms, coordinates, along);
    choice.reverse = modes_reverse_time(pass, 1) + modes_forward_time(pass, 2.0 * choice.forward);
    choice.wins = choice.reverse < choice.taylor;
    return choice;
}

/* Element `at` of a vector in the coordinates, as y. */
static ValueId element(Taylor *t, ValueId vector, uint32_t at, ValueId y) {
    ValueId part = build_rank(t->build, vector) == 0 ? vector : emit_part(t->build, vector, 0, at);
    return build_reshape(t->build, part, build_dims(t->build, y), build_rank(t->build, y));
}
/* All places move together: over all axes but the last. */
static ValueId gradient_of(Taylor *t, ValueId y, ValueId x) {
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(t->build, x);
    ValueId  operands[2] = {build_reshape(t->build, y, NULL, 0), x};
    OpId     row = build_row(t->build, OP_GRADIENT, operands, 2, NULL, 1);
    ValueId  g = op_result(t->build->code, row, 0);
    for (uint32_t i = 0; i + 1 < rank; i++) axes[i] = i;
    return rank < 2 ? g : build_reduce(t->build, REDUCE_SUM, g, axes, rank - 1);
}
void taylor_by_reverse(Taylor *t, ValueId x, ValueId y, const DerivativeTerms *terms,
                       uint32_t coordinates, ValueId *out_requests) {
    Arena    *scratch = t->ctx->scratch;
    uint32_t *along = ARENA_ARRAY(scratch, uint32_t, terms->count + 1);
    ValueId  *moved = ARENA_ARRAY_ZERO(scratch, ValueId, coordinates);
    ValueId   g = gradient_of(t, y, x);
    (void)choose_coordinates(scratch, terms, coordinates, along);
    for (uint32_t i = 0; i < terms->count; i++) {
        const DerivativeTerm *term = &terms->rows[i];
        ValueId               from = g, *sum = &out_requests[term->request];
        uint32_t              at = term->at[0];
        if (along[i] != UINT32_MAX) {
            ValueId *second = &moved[along[i]];
            at = term->at[0] == along[i] ? term->at[1] : term->at[0];
            if (!value_id_some(*second)) {
                double *vector = ARENA_ARRAY_ZERO(scratch, double, coordinates);
                vector[along[i]] = 1;
                ValueId operands[3] = {g, x, taylor_seed(t, x, vector, coordinates)};
                *second = build_op(t->build, OP_JVP, operands, 3, NULL);
            }
            from = *second;
        }
        ValueId part = element(t, from, at, y);
        if (term->weight != 1)
            part = build_binary(t->build, OP_MUL, part, build_splat(t->build, part, term->weight));
        *sum = value_id_some(*sum) ? build_binary(t->build, OP_ADD, *sum, part) : part;
    }
}
