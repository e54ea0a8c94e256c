/* Timing kernels: more work takes longer, sizes come from hints, and what cannot run is no number.
 */
#include "cpu/emit_measure.h"
#include "emit_kernel.h"

/* y[i] = x[i] + 1, guarded reads of an index buffer beside. */
static void build(EmitTest *t, DimId n) {
    BufferId x = emit_buffer(t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId y = emit_buffer(t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    NodeId   phase = loops_phase(&t->loops);
    DimId    i = loops_fresh(&t->loops, 'i');
    dims_set_below(&t->loops.dims, i, n);
    NodeId loop = loops_loop(&t->loops, i, n, BIND_PARALLEL | BIND_VECTOR);
    ExprId value =
        loops_op(&t->loops, OP_ADD, DTYPE_F32, loops_load(&t->loops, AT(t, x, i), (ExprId){0}),
                 loops_const(&t->loops, DTYPE_F32, 1), (ExprId){0}, 0);
    loops_store(&t->loops, AT(t, y, i), value, (ExprId){0});
    loops_end(&t->loops, loop);
    loops_end(&t->loops, phase);
}
static double measure(Arena *arena, int64_t hint) {
    EmitTest t;
    emit_test_open(&t, arena, JIT_HOST);
    DimId n = emit_param(&t, "N");
    if (hint != 0) dims_set_hint(&t.loops.dims, n, hint);
    build(&t, n);
    EmitMeasure m = {.jit = t.jit, .diags = &t.diags};
    double      us = emit_measure(&m, &t.loops, t.kernel);
    EXPECT_EQ(t.diags.errors, 0);
    emit_test_close(&t);
    return us;
}
TEST(more_work_takes_longer) {
    double small = measure(arena, 0), large = measure(arena, 1 << 20);
    EXPECT(small > 0);
    EXPECT(large > small * 100); /* 4096 times the work */
    EXPECT(large < 1e6);
}
TEST(operands_beyond_memory_are_not_run) {
    EXPECT(measure(arena, (int64_t)1 << 32) < 0);
    EXPECT(measure(arena, 1) > 0);
}
TEST(typical_sizes_obey_facts) {
    static const struct {
        int64_t hint, lo, hi, modulus, residue, wanted;
    } cases[] = {{0, 0, 1 << 20, 1, 0, 256},   {100, 0, 1 << 20, 1, 0, 100},
                 {100, 0, 64, 1, 0, 64},       {0, 1000, 1 << 20, 1, 0, 1000},
                 {100, 0, 1 << 20, 8, 0, 104}, {100, 0, 103, 8, 0, 96},
                 {0, 0, 1 << 20, 10, 3, 263}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        EmitTest t;
        emit_test_open(&t, arena, JIT_HOST);
        DimId n = emit_param(&t, "N");
        if (cases[i].hint != 0) dims_set_hint(&t.loops.dims, n, cases[i].hint);
        EXPECT(dims_set_range(&t.loops.dims, n, cases[i].lo, cases[i].hi));
        if (cases[i].modulus > 1)
            EXPECT(dims_set_congruence(&t.loops.dims, n, cases[i].modulus, cases[i].residue));
        EXPECT_EQ(dims_typical(&t.loops.dims, n), cases[i].wanted);
        emit_test_close(&t);
    }
}
