/* Programs without a derivative: differentiate refuses them, names the operator and its place, and
 * leaves the program as it was. `%z` is differentiated in `%x`. */
#ifndef STOA_TESTS_GRADIENT_REFUSALS_H
#define STOA_TESTS_GRADIENT_REFUSALS_H

#include "check.h"

typedef struct Refusal {
    Opcode      opcode;
    const char *args, *body; /* z has one axis */
} Refusal;
static const Refusal refusals[] = {
    {OP_IGAMMA, "%x: f64[3], %y: f64[3]", "%z = igamma %x, %y"},
    {OP_SCATTER, "%x: f64[3], %i: i64[2,1], %u: f64[2]",
     "%z = scatter %x, %i, %u {kind=mul, collapsed_dims=[0], index_map=[0]}"},
    {OP_SCATTER, "%x: f64[2], %i: i64[2,1], %u: f64[3]",
     "%z = scatter %u, %i, %x {kind=max, collapsed_dims=[0], index_map=[0]}"},
    {OP_COMPACT, "%x: f64[3], %m: bool[3]", "%z, %n = compact %m, %x {size=N}"},
    {OP_FFT, "%x: f64[4]", "%f = fft %x {kind=real_forward, sizes=[4]}  %z = real %f"},
    {OP_EIG, "%x: f64[3,3]", "%w, %v = eig %x  %z = real %w"},
};

/* The diagnostics: one, of this kind, about a row of this opcode. */
static inline void refusal_told(const World *world, Opcode opcode) {
    const Diags *diags = &world->diags;
    if (!EXPECT_EQ(diags->errors, 1)) return;
    uint32_t row = diags->rows.table.count - 1;
    EXPECT_EQ(diags->rows.kind[row], DIAG_NOT_DIFFERENTIABLE);
    EXPECT_EQ(diags->rows.arg0[row], opcode);
    EXPECT_EQ(world->code.ops.opcode[diags->rows.op[row]], opcode);
}
static inline void refusal_check(Arena *arena, const Refusal *refusal) {
    ArenaMark mark = arena_mark(arena);
    World    *world = world_open(0, 1 << 12);
    Runner    runner;
    String    source = str_format(arena,
                                  "graph f(%s) {\n  %s\n"
                                     "  %%q.s = reduce %%z {kind=sum, axes=[0]}\n"
                                     "  %%q.g = gradient %%q.s, %%x\n  return %%q.g\n}\n",
                                  refusal->args, refusal->body);
    runner_open(&runner, world, NULL);
    if (form_parse(arena, world, source)) {
        uint32_t generation = world->code.generation;
        EXPECT(runner_run(&runner, SYSTEM_verify) && runner_run(&runner, SYSTEM_infer) &&
               runner_run(&runner, SYSTEM_inline));
        EXPECT(!runner_run(&runner, SYSTEM_differentiate));
        EXPECT_EQ(world->code.generation, generation);
        refusal_told(world, refusal->opcode);
    }
    runner_close(&runner);
    world_close(world);
    arena_release(arena, mark);
}

#endif
