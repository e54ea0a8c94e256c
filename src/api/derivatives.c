/* The public functions that ask for derivatives and batches, in terms of `gradient`, `jvp`,
 * `taylor`, `derivatives`, `jacobian` and `vmap` rows. All rows go through api_op, so that failures are told as
 * for operators. */
#include "api/program.h"

/* y, xs, others as one list, in out[1 + 2 count]. */
static uint32_t list_operands(StoaValue y, const StoaValue *xs, const StoaValue *others,
                              uint32_t count, StoaValue *out) {
    out[0] = y;
    for (uint32_t i = 0; i < count; i++) {
        out[1 + i] = xs[i];
        out[1 + count + i] = others[i];
    }
    return 1 + 2 * count;
}
/* A row over y, xs and directions. Values are few; memory runs out in api_op_many, in a guard. */
static void directed(StoaProgram *program, int opcode, StoaValue y, const StoaValue *xs,
                     const StoaValue *directions, uint32_t count, const ApiAttr *attrs,
                     StoaValue *out, uint32_t results) {
    ArenaGuard guard;
    for (uint32_t i = 0; i < results; i++) out[i] = (StoaValue){0};
    if (program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    Scratch    scratch = scratch_begin(NULL, 0);
    StoaValue *operands = ARENA_ARRAY(scratch.arena, StoaValue, 1 + 2 * (size_t)count);
    uint32_t   listed = list_operands(y, xs, directions, count, operands);
    api_op_many(program, opcode, operands, listed, attrs, out, results);
    scratch_end(scratch);
    arena_guard_end(&guard);
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
    return stoa_broadcast_in_dim(program, zero, shape, kept, NULL, 0);
}
void stoa_vmap(StoaProgram *program, const StoaValue *ys, uint32_t results, const StoaValue *xs,
               const StoaValue *batches, const int64_t *axes, uint32_t count,
               const int64_t *out_axes, StoaValue *out) {
    ArenaGuard guard;
    ApiAttr    attrs[] = {{.ints = axes, .count = axes != NULL ? count : 0},
                          {.ints = out_axes, .count = out_axes != NULL ? results : 0}};
    for (uint32_t i = 0; i < results; i++) out[i] = (StoaValue){0};
    if (program->broken) return;
    if (!ARENA_GUARD(&guard)) {
        api_broken(program);
        return;
    }
    Scratch    scratch = scratch_begin(NULL, 0);
    uint32_t   all = results + 2 * count;
    StoaValue *operands = ARENA_ARRAY(scratch.arena, StoaValue, all);
    memcpy(operands, ys, results * sizeof *ys);
    memcpy(operands + results, xs, count * sizeof *xs);
    memcpy(operands + results + count, batches, count * sizeof *batches);
    api_op_many(program, OP_VMAP, operands, all, attrs, out, results);
    scratch_end(scratch);
    arena_guard_end(&guard);
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
