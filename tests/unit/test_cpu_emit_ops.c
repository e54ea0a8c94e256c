/* Every operator that the emitter takes, on every dtype, as a kernel of its own: vectors, tails and
 * memory of the dtype around it; against the reference interpreter. */
#include <string.h>

#include "any_number.h"
#include "cpu/jit_math.h"
#include "emit_kernel.h"
#include "run_graph.h"

#if defined(STOA_HAVE_LLVM)

enum { N = 395 }; /* wide passes, single vectors and a tail */
static const Dtype dtypes[] = {DTYPE_BOOL, DTYPE_U8,  DTYPE_I8,   DTYPE_I16, DTYPE_I32,
                               DTYPE_I64,  DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};

/* z = op(x, y) or op(x); `which` of a select is z itself where it holds. */
static void check_op(Arena *arena, Opcode opcode, Dtype from, Dtype to, uint64_t word) {
    uint32_t operands = op_infos[opcode].operands_max;
    EmitTest t;
    emit_test_open(&t, arena, JIT_HOST);
    DimId    n = emit_param(&t, "N"), i;
    BufferId x[2] = {emit_buffer(&t, SCOPE_ARG, from, DIMS(n)),
                     emit_buffer(&t, SCOPE_ARG, from, DIMS(n))};
    BufferId z = emit_buffer(&t, SCOPE_ARG, to, DIMS(n));
    NodeId phase = loops_phase(&t.loops), loop = emit_loop(&t, n, BIND_PARALLEL | BIND_VECTOR, &i);
    ExprId a = emit_get(&t, AT(&t, x[0], i)), b = emit_get(&t, AT(&t, x[1], i));
    ExprId value = loops_op(&t.loops, opcode, dtype_compute(to), a,
                            operands > 1 ? b : (ExprId){0}, (ExprId){0}, word);
    emit_put(&t, AT(&t, z, i), value);
    loops_end(&t.loops, loop);
    loops_end(&t.loops, phase);
    int64_t params[] = {N};
    emit_allocate(&t, params);
    Graph g = graph_open(arena);
    for (uint32_t side = 0; side < 2; side++) {
        uint32_t bytes = dtype_bytes(from);
        char    *data = emit_data(&t, x[side]);
        for (uint64_t e = 0; e < N; e++) any_number(from, e, side, data + e * bytes);
        if (side == operands) break;
        uint32_t input = graph_input(&g, from, params, 1, NUMBERS(0));
        memcpy(g.inputs[input].data, data, (size_t)N * bytes);
    }
    bool          has_word = opcode == OP_CONVERT || opcode == OP_BITCAST || opcode == OP_COMPARE;
    const Tensor *want = graph_run_op(&g, opcode, has_word ? &word : NULL);
    double        rel = dtype_is_float(to) ? 4 * graph_tolerance(to) : 0;
    double        least = to == DTYPE_F16 ? 6e-8 : to == DTYPE_BF16 || to == DTYPE_F32 ? 1e-40 : 0;
    if (emit_run(&t, params) && g.status == STATUS_OK)
        for (int64_t e = 0; e < N; e++) {
            double got = emit_element(&t, z, e), exact = graph_number(want, e);
            bool   same = to == DTYPE_I64 ? ((const int64_t *)emit_data(&t, z))[e] ==
                                              ((const int64_t *)want->data)[e]
                                          : graph_near(got, exact, rel, least);
            if (EXPECT(same)) continue;
            printf("\n  %s of %s to %s, %.17g and %.17g give %.17g, expected %.17g",
                   op_infos[opcode].name, dtype_infos[from].name, dtype_infos[to].name,
                   emit_element(&t, x[0], e), emit_element(&t, x[1], e), got, exact);
            break;
        }
    graph_close(&g);
    emit_test_close(&t);
}

TEST(emit_ops_every_dtype) {
    uint32_t count = 0;
    for (Opcode opcode = 1; opcode < OP_COUNT; opcode++)
        for (size_t d = 0; d < LENGTH(dtypes); d++) {
            if (opcode == OP_SELECT || opcode == OP_ERF_INV || !jit_math_has(opcode, dtypes[d]))
                continue;
            ArenaMark mark = arena_mark(arena);
            check_op(arena, opcode, dtypes[d], opcode == OP_IS_FINITE ? DTYPE_BOOL : dtypes[d], 0);
            arena_release(arena, mark);
            count++;
        }
    EXPECT(count > 180);
}
TEST(emit_ops_convert_and_compare) {
    for (size_t from = 0; from < LENGTH(dtypes); from++) {
        ArenaMark mark = arena_mark(arena);
        for (size_t to = 0; to < LENGTH(dtypes); to++)
            check_op(arena, OP_CONVERT, dtypes[from], dtypes[to], dtypes[to]);
        for (uint64_t how = 0; how < COMPARE_KIND_COUNT; how++)
            check_op(arena, OP_COMPARE, dtypes[from], DTYPE_BOOL, how);
        arena_release(arena, mark);
    }
}

#else
TEST(emit_ops_need_llvm) { EXPECT(true); }
#endif
