/* The public functions that ask for derivatives and batches, in terms of `gradient`, `jvp`,
 * `taylor`, `derivatives`, `jacobian` and `vmap` rows. All rows go through api_op, so that failures
 * are told as for operators. */
#include "api/program.h"

#include <math.h>

/* A row over lists of values. They are few; memory runs out in api_op_many, in a guard. */
typedef struct Listed {
    const StoaValue *at;
    uint32_t         count;
} Listed;
static void join_lists(StoaProgram *program, int opcode, const Listed *lists, uint32_t lists_count,
                       const ApiAttr *attrs, StoaValue *out, uint32_t results) {
    uint32_t most = 1, count = 0;
    Scratch  scratch = scratch_begin(NULL, 0);
    for (uint32_t i = 0; i < lists_count; i++) most += lists[i].count;
    StoaValue *operands = ARENA_ARRAY(scratch.arena, StoaValue, most);
    for (uint32_t i = 0; i < lists_count; i++)
        for (uint32_t k = 0; k < lists[i].count; k++) operands[count++] = lists[i].at[k];
    api_op_many(program, opcode, operands, count, attrs, out, results);
    scratch_end(scratch);
}
static void row_over(StoaProgram *program, int opcode, const Listed *lists, uint32_t lists_count,
                     const ApiAttr *attrs, StoaValue *out, uint32_t results) {
    ArenaGuard guard;
    for (uint32_t i = 0; i < results; i++) out[i] = (StoaValue){0};
    if (program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    join_lists(program, opcode, lists, lists_count, attrs, out, results);
    arena_guard_end(&guard);
}
static void directed(StoaProgram *program, int opcode, StoaValue y, const StoaValue *xs,
                     const StoaValue *directions, uint32_t count, const ApiAttr *attrs,
                     StoaValue *out, uint32_t results) {
    const Listed lists[] = {{&y, 1}, {xs, count}, {directions, count}};
    row_over(program, opcode, lists, LENGTH(lists), attrs, out, results);
}

StoaValue stoa_jvp(StoaProgram *program, StoaValue y, const StoaValue *xs,
                   const StoaValue *directions, uint32_t count) {
    StoaValue out;
    directed(program, OP_JVP, y, xs, directions, count, NULL, &out, 1);
    return out;
}
void stoa_taylor(StoaProgram *program, StoaValue y, const StoaValue *xs,
                 const StoaValue *directions, uint32_t count, bool sum, StoaValue *out_coefficients,
                 uint32_t order) {
    ApiAttr attrs[] = {{.integer = sum}};
    directed(program, OP_TAYLOR, y, xs, directions, count, attrs, out_coefficients, order);
}
void stoa_vjp(StoaProgram *program, StoaValue y, StoaValue weight, const StoaValue *xs,
              uint32_t count, StoaValue *out_gradients) {
    int64_t   axes[STOA_RANK_MAX];
    uint32_t  rank = stoa_value_rank(program, y);
    StoaValue product = stoa_mul(program, y, weight);
    for (uint32_t i = 0; i < rank; i++) axes[i] = i;
    StoaValue sum = stoa_reduce(program, product, STOA_REDUCE_SUM, axes, rank);
    stoa_gradients(program, sum, xs, count, out_gradients);
}
void stoa_hvp(StoaProgram *program, StoaValue y, const StoaValue *xs, const StoaValue *directions,
              uint32_t count, StoaValue *out_products) {
    stoa_gradients(program, y, xs, count, out_products);
    for (uint32_t i = 0; i < count; i++)
        out_products[i] = stoa_jvp(program, out_products[i], xs, directions, count);
}

void stoa_derivatives(StoaProgram *program, StoaValue y, StoaValue x, const char *axes,
                      const char *const *of, StoaValue *out, uint32_t count) {
    StoaValue operands[] = {y, x};
    ApiAttr   attrs[] = {{.texts = of, .count = count}, {.text = axes}};
    api_op_many(program, OP_DERIVATIVES, operands, 2, attrs, out, count);
}
StoaValue stoa_laplacian(StoaProgram *program, StoaValue y, StoaValue x) {
    static const char *const of[] = {"laplacian"};
    StoaValue                out;
    stoa_derivatives(program, y, x, NULL, of, &out, 1);
    return out;
}

/* --- batches ---------------------------------------------------------------------------------- */
StoaValue stoa_sample(StoaProgram *program, StoaValue batch, int64_t axis) {
    uint32_t rank = stoa_value_rank(program, batch), kept = 0;
    StoaDim  shape[STOA_RANK_MAX];
    if (axis < 0 || axis >= (int64_t)rank) {
        if (batch.id != 0)
            api_misuse(program->context, "stoa_sample", "the batch has no such axis");
        return (StoaValue){0};
    }
    for (uint32_t i = 0; i < rank; i++)
        if (i != (uint32_t)axis) shape[kept++] = stoa_value_dim(program, batch, i);
    StoaValue zero = stoa_scalar(program, stoa_value_dtype(program, batch), 0);
    /* a copy: derivatives must not look through it */
    return stoa_copy(program, stoa_broadcast_in_dim(program, zero, shape, kept, NULL, 0));
}
void stoa_vmap(StoaProgram *program, const StoaValue *ys, uint32_t results, const StoaValue *xs,
               const StoaValue *batches, const int64_t *axes, uint32_t count,
               const int64_t *out_axes, StoaValue *out) {
    const Listed  lists[] = {{ys, results}, {xs, count}, {batches, count}};
    const ApiAttr attrs[] = {{.ints = axes, .count = axes != NULL ? count : 0},
                             {.ints = out_axes, .count = out_axes != NULL ? results : 0}};
    row_over(program, OP_VMAP, lists, LENGTH(lists), attrs, out, results);
}

/* --- all of them ------------------------------------------------------------------------------ */
StoaValue stoa_jacobian(StoaProgram *program, StoaValue y, StoaValue x) {
    StoaValue operands[] = {y, x};
    return api_op(program, OP_JACOBIAN, operands, 2, NULL);
}
StoaValue stoa_hessian(StoaProgram *program, StoaValue y, StoaValue x) {
    StoaValue gradient;
    stoa_gradients(program, y, &x, 1, &gradient);
    return stoa_jacobian(program, gradient, x);
}

/* --- estimates -------------------------------------------------------------------------------- */
StoaValue stoa_random_directions(StoaProgram *program, StoaValue x, StoaValue seed,
                                 StoaDirections kind, uint32_t count) {
    const Dims *dims = &program->world->dims;
    uint32_t    rank = stoa_value_rank(program, x);
    StoaDtype   dtype = stoa_value_dtype(program, x);
    StoaDim     shape[STOA_RANK_MAX], d = {0};
    if (x.id == 0 || seed.id == 0) return (StoaValue){0};
    if (rank > 0) d = stoa_value_dim(program, x, rank - 1);
    if (rank == 0 || rank == STOA_RANK_MAX || !dims_is_const(dims, (DimId){d.id})) {
        api_misuse(program->context, "stoa_random_directions",
                   "x needs 1 to 7 axes, the last of constant size: the coordinates");
        return (StoaValue){0};
    }
    shape[0] = stoa_dim(program, count);
    for (uint32_t i = 0; i < rank; i++) shape[i + 1] = stoa_value_dim(program, x, i);
    bool      signs = kind == STOA_DIRECTIONS_SIGNS;
    StoaValue bits = stoa_rng_bits(program, seed, shape, signs ? rank + 1 : rank, kind);
    StoaValue one = stoa_fill_like(program, bits, 1);
    if (signs) {
        StoaValue sign = stoa_convert(program, stoa_and(program, bits, one), dtype);
        StoaValue unit = stoa_fill_like(program, sign, 1);
        return stoa_sub(program, stoa_add(program, sign, sign), unit);
    }
    double    size = (double)dims_const_value(dims, (DimId){d.id});
    StoaValue whole = stoa_fill_like(program, bits, size);
    StoaValue at = stoa_rem(program, stoa_shr_logical(program, bits, one), whole);
    StoaValue hot = stoa_one_hot(program, at, d, dtype);
    return stoa_mul(program, hot, stoa_fill_like(program, hot, sqrt(size)));
}
static StoaValue scaled(StoaProgram *program, StoaValue v, double by) {
    return stoa_mul(program, v, stoa_fill_like(program, v, by));
}
StoaValue stoa_laplacian_estimate(StoaProgram *program, StoaValue y, StoaValue x,
                                  StoaValue directions, StoaValue *out_error) {
    const Dims *dims = &program->world->dims;
    StoaValue   c[2], along, all, mean, rest;
    int64_t     first = 0, axes[STOA_RANK_MAX];
    StoaDim     count = {0}, shape[STOA_RANK_MAX];
    uint32_t    rank = stoa_value_rank(program, y);
    if (out_error != NULL) *out_error = (StoaValue){0};
    if (y.id == 0 || x.id == 0 || directions.id == 0) return (StoaValue){0};
    if (stoa_value_rank(program, directions) > 0) count = stoa_value_dim(program, directions, 0);
    if (stoa_value_rank(program, directions) != stoa_value_rank(program, x) + 1 ||
        rank == STOA_RANK_MAX || !dims_is_const(dims, (DimId){count.id})) {
        api_misuse(program->context, "stoa_laplacian_estimate",
                   "directions need the shape of x after a first axis of constant size");
        return (StoaValue){0};
    }
    double n = (double)dims_const_value(dims, (DimId){count.id});
    if (out_error == NULL) {
        stoa_taylor(program, y, &x, &directions, 1, true, c, 2);
        return scaled(program, c[1], 2 / n);
    }
    along = stoa_sample(program, directions, 0);
    stoa_taylor(program, y, &x, &along, 1, false, c, 2);
    stoa_vmap(program, &c[1], 1, &along, &directions, NULL, 1, NULL, &all);
    all = scaled(program, all, 2);
    mean = stoa_mean(program, all, &first, 1);
    shape[0] = count;
    for (uint32_t i = 0; i < rank; i++) {
        shape[i + 1] = stoa_value_dim(program, y, i);
        axes[i] = i + 1;
    }
    rest =
        stoa_sub(program, all, stoa_broadcast_in_dim(program, mean, shape, rank + 1, axes, rank));
    rest = stoa_reduce(program, stoa_square(program, rest), STOA_REDUCE_SUM, &first, 1);
    *out_error = stoa_sqrt(program, scaled(program, rest, 1 / (n * fmax(n - 1, 1))));
    return mean;
}
