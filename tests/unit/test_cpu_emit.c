/* The CPU emitter on kernels written by hand: extents of every kind, broadcast and strided places,
 * tails, guards, lane memory, phases, reductions, random numbers, shared memory; at every level
 * that runs here, against plain loops in double. */
#include "emit_kernel.h"

#if defined(STOA_HAVE_LLVM)

static const int64_t extents[] = {0, 1, 2, 7, 16, 17, 33, 64, 1000};
#define EACH_LEVEL(level)                                                                          \
    for (JitLevel level = JIT_HOST; level < JIT_LEVELS; level++)                                   \
        if (jit_level_runs(level))

static double tolerance(Dtype dtype) {
    return dtype == DTYPE_F64   ? 1e-13
           : dtype == DTYPE_F32 ? 2e-6
           : dtype == DTYPE_F16 ? 2e-3
                                : 1.6e-2;
}
static bool near(Dtype dtype, double got, double want) {
    double rel = dtype_is_float(dtype) ? tolerance(dtype) : 0;
    return (isnan(got) && isnan(want)) || got == want ||
           fabs(got - want) <= rel * fmax(fabs(want), 1);
}

/* --- pointwise -------------------------------------------------------------------------------- */

/* z[i,j] = x[i,j] * y[j] + s, for every dtype that multiplies. */
static void check_pointwise(Arena *arena, JitLevel level, Dtype dtype, uint32_t factor,
                            uint32_t unroll) {
    EmitTest t;
    emit_test_open(&t, arena, level);
    DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), i, j;
    BufferId x = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    BufferId y = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(m));
    BufferId s = emit_scalar(&t, SCOPE_ARG, dtype);
    BufferId z = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    NodeId   phase = loops_phase(&t.loops), outer = emit_loop(&t, n, BIND_PARALLEL, &i);
    NodeId   inner = emit_loop(&t, m, BIND_VECTOR, &j);
    t.loops.nodes.factor[inner.row] = (uint16_t)factor;
    t.loops.nodes.unroll[inner.row] = (uint8_t)unroll;
    ExprId product =
        emit_op2(&t, OP_MUL, emit_get(&t, AT(&t, x, i, j)), emit_get(&t, AT(&t, y, j)));
    emit_put(&t, AT(&t, z, i, j), emit_op2(&t, OP_ADD, product, emit_get(&t, emit_at0(&t, s))));
    loops_end(&t.loops, inner);
    loops_end(&t.loops, outer);
    loops_end(&t.loops, phase);
    for (size_t k = 0; k < LENGTH(extents); k++) {
        int64_t params[] = {5, extents[k]};
        emit_allocate(&t, params);
        emit_fill(&t, x, -4, 5);
        emit_fill(&t, y, -3, 4);
        emit_fill(&t, s, 1, 3);
        if (!emit_run(&t, params)) break;
        bool right = true;
        for (int64_t e = 0; e < emit_count(&t, z); e++)
            right &= near(dtype, emit_element(&t, z, e),
                          emit_element(&t, x, e) * emit_element(&t, y, e % extents[k]) +
                              emit_element(&t, s, 0));
        if (!EXPECT(right))
            printf("\n  level %d, %s, extent %d, factor %u, unroll %u", (int)level,
                   dtype_infos[dtype].name, (int)extents[k], factor, unroll);
    }
    emit_test_close(&t);
}
TEST(emit_pointwise_every_dtype) {
    static const Dtype dtypes[] = {DTYPE_I8,  DTYPE_I16,  DTYPE_I32, DTYPE_I64,
                                   DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
    EACH_LEVEL(level)
    for (size_t d = 0; d < LENGTH(dtypes); d++) check_pointwise(arena, level, dtypes[d], 0, 0);
}
TEST(emit_pointwise_every_factor) {
    static const uint8_t factors[] = {1, 2, 4, 8, 16, 32}, unrolls[] = {1, 2, 3, 4};
    for (size_t f = 0; f < LENGTH(factors); f++)
        for (size_t u = 0; u < LENGTH(unrolls); u++)
            check_pointwise(arena, JIT_HOST, DTYPE_F32, factors[f], unrolls[u]);
}

/* One loop that is parallel and vector; compare, select, bool memory. */
TEST(emit_parallel_vector) {
    EACH_LEVEL(level) {
        EmitTest t;
        emit_test_open(&t, arena, level);
        DimId    n = emit_param(&t, "N"), i;
        BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
        BufferId b = emit_buffer(&t, SCOPE_ARG, DTYPE_BOOL, DIMS(n));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
        BufferId c = emit_buffer(&t, SCOPE_ARG, DTYPE_BOOL, DIMS(n));
        NodeId   phase = loops_phase(&t.loops);
        NodeId   loop = emit_loop(&t, n, BIND_PARALLEL | BIND_VECTOR, &i);
        ExprId   v = emit_get(&t, AT(&t, x, i)), flag = emit_get(&t, AT(&t, b, i));
        ExprId   positive = loops_op(&t.loops, OP_COMPARE, DTYPE_BOOL, v,
                                     loops_const(&t.loops, DTYPE_F32, 0), (ExprId){0}, COMPARE_GT);
        ExprId   both = emit_op2(&t, OP_AND, positive, flag);
        emit_put(&t, AT(&t, c, i), both);
        emit_put(&t, AT(&t, y, i),
                 loops_op(&t.loops, OP_SELECT, DTYPE_F32, both, emit_op1(&t, OP_EXP, v),
                          emit_op1(&t, OP_NEG, v), 0));
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        for (size_t k = 0; k < LENGTH(extents); k++) {
            emit_allocate(&t, &extents[k]);
            emit_fill(&t, x, -3, 3);
            emit_fill(&t, b, 0, 2);
            if (!emit_run(&t, &extents[k])) break;
            bool right = true;
            for (int64_t e = 0; e < extents[k]; e++) {
                double a = emit_element(&t, x, e);
                bool   held = a > 0 && emit_element(&t, b, e) != 0;
                right &= emit_element(&t, c, e) == held;
                right &= near(DTYPE_F32, emit_element(&t, y, e), held ? exp(a) : -a);
            }
            EXPECT(right);
        }
        emit_test_close(&t);
    }
}

/* A result in the memory of its operand. */
TEST(emit_in_place) {
    EmitTest t;
    emit_test_open(&t, arena, JIT_HOST);
    DimId    n = emit_param(&t, "N"), i;
    BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId w = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId z = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    t.loops.buffers.shares[y.row] = 1; /* operand 0 */
    NodeId phase = loops_phase(&t.loops), loop = emit_loop(&t, n, BIND_VECTOR, &i);
    ExprId v = emit_get(&t, AT(&t, x, i)), u = emit_get(&t, AT(&t, w, i));
    emit_put(&t, AT(&t, z, i), emit_op2(&t, OP_SUB, v, u));
    emit_put(&t, AT(&t, y, i), emit_op2(&t, OP_ADD, v, u));
    loops_end(&t.loops, loop);
    loops_end(&t.loops, phase);
    for (size_t k = 0; k < LENGTH(extents); k++) {
        emit_allocate(&t, &extents[k]);
        emit_fill(&t, x, -3, 3);
        emit_fill(&t, w, -3, 3);
        double *before = ARENA_ARRAY(arena, double, extents[k]);
        for (int64_t e = 0; e < extents[k]; e++) before[e] = emit_element(&t, x, e);
        EmitMemory own = t.memory[emit_position(&t, y)];
        t.memory[emit_position(&t, y)] = (EmitMemory){.data = emit_data(&t, x)};
        (void)emit_run(&t, &extents[k]);
        bool right = true;
        for (int64_t e = 0; e < extents[k]; e++) {
            double b = emit_element(&t, w, e);
            right &= emit_element(&t, x, e) == (double)((float)before[e] + (float)b);
            right &= emit_element(&t, z, e) == (double)((float)before[e] - (float)b);
        }
        EXPECT(right);
        t.memory[emit_position(&t, y)] = own;
    }
    emit_test_close(&t);
}

/* --- rows ------------------------------------------------------------------------------------- */

/* y = softmax(x) along rows, with the exponentials kept in lane memory; x has gaps between rows. */
static void check_softmax(Arena *arena, JitLevel level, Dtype dtype) {
    EmitTest t;
    emit_test_open(&t, arena, level);
    DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), i, j;
    BufferId x = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    BufferId y = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    BufferId e = emit_buffer(&t, SCOPE_LANE, DTYPE_F32, DIMS(m));
    BufferId most = emit_scalar(&t, SCOPE_REG, DTYPE_F32),
             sum = emit_scalar(&t, SCOPE_REG, DTYPE_F32);
    NodeId phase = loops_phase(&t.loops), row = emit_loop(&t, n, BIND_PARALLEL, &i);
    emit_put(&t, emit_at0(&t, most), loops_identity(&t.loops, REDUCE_MAX, DTYPE_F32));
    NodeId loop = emit_loop(&t, m, BIND_VECTOR, &j);
    emit_sum(&t, REDUCE_MAX, emit_at0(&t, most), emit_get(&t, AT(&t, x, i, j)));
    loops_end(&t.loops, loop);
    emit_put(&t, emit_at0(&t, sum), loops_identity(&t.loops, REDUCE_SUM, DTYPE_F32));
    loop = emit_loop(&t, m, BIND_VECTOR, &j);
    ExprId shifted =
        emit_op2(&t, OP_SUB, emit_get(&t, AT(&t, x, i, j)), emit_get(&t, emit_at0(&t, most)));
    emit_put(&t, AT(&t, e, j), emit_op1(&t, OP_EXP, shifted));
    emit_sum(&t, REDUCE_SUM, emit_at0(&t, sum), emit_get(&t, AT(&t, e, j)));
    loops_end(&t.loops, loop);
    loop = emit_loop(&t, m, BIND_VECTOR, &j);
    emit_put(&t, AT(&t, y, i, j),
             emit_op2(&t, OP_DIV, emit_get(&t, AT(&t, e, j)), emit_get(&t, emit_at0(&t, sum))));
    loops_end(&t.loops, loop);
    loops_end(&t.loops, row);
    loops_end(&t.loops, phase);
    for (size_t k = 0; k < LENGTH(extents); k++) {
        int64_t params[] = {6, extents[k]}, width = extents[k];
        emit_allocate(&t, params);
        emit_fill(&t, x, -8, 8);
        if (!emit_run(&t, params)) break;
        bool right = true;
        for (int64_t r = 0; r < 6; r++) {
            double top = -INFINITY, total = 0;
            for (int64_t c = 0; c < width; c++) top = fmax(top, emit_element(&t, x, r * width + c));
            for (int64_t c = 0; c < width; c++)
                total += exp(emit_element(&t, x, r * width + c) - top);
            for (int64_t c = 0; c < width; c++)
                right &= near(dtype, emit_element(&t, y, r * width + c),
                              exp(emit_element(&t, x, r * width + c) - top) / total);
        }
        if (!EXPECT(right))
            printf("\n  level %d, %s, extent %d", (int)level, dtype_infos[dtype].name,
                   (int)extents[k]);
    }
    emit_test_close(&t);
}
TEST(emit_softmax) {
    EACH_LEVEL(level) {
        check_softmax(arena, level, DTYPE_F32);
        check_softmax(arena, level, DTYPE_BF16);
        check_softmax(arena, level, DTYPE_F16);
    }
}

/* Mean and variance of rows of f64 as two reductions in one loop, then a pass that uses both. */
TEST(emit_layer_norm) {
    EACH_LEVEL(level) {
        EmitTest t;
        emit_test_open(&t, arena, level);
        DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), i, j;
        BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F64, DIMS(n, m));
        BufferId w = emit_buffer(&t, SCOPE_ARG, DTYPE_F64, DIMS(m));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F64, DIMS(n, m));
        BufferId sum = emit_scalar(&t, SCOPE_REG, DTYPE_F64),
                 squares = emit_scalar(&t, SCOPE_REG, DTYPE_F64);
        ExprId zero = loops_const(&t.loops, DTYPE_F64, 0);
        NodeId phase = loops_phase(&t.loops), row = emit_loop(&t, n, BIND_PARALLEL, &i);
        emit_put(&t, emit_at0(&t, sum), zero);
        emit_put(&t, emit_at0(&t, squares), zero);
        NodeId loop = emit_loop(&t, m, BIND_VECTOR, &j);
        ExprId v = emit_get(&t, AT(&t, x, i, j));
        emit_sum(&t, REDUCE_SUM, emit_at0(&t, sum), v);
        emit_sum(&t, REDUCE_SUM, emit_at0(&t, squares), emit_op2(&t, OP_MUL, v, v));
        loops_end(&t.loops, loop);
        loop = emit_loop(&t, m, BIND_VECTOR, &j);
        v = emit_get(&t, AT(&t, x, i, j));
        ExprId count = loops_index(&t.loops, DTYPE_F64, m);
        ExprId mean = emit_op2(&t, OP_DIV, emit_get(&t, emit_at0(&t, sum)), count);
        ExprId variance =
            emit_op2(&t, OP_SUB, emit_op2(&t, OP_DIV, emit_get(&t, emit_at0(&t, squares)), count),
                     emit_op2(&t, OP_MUL, mean, mean));
        ExprId scale = emit_op1(
            &t, OP_RSQRT, emit_op2(&t, OP_ADD, variance, loops_const(&t.loops, DTYPE_F64, 1e-5)));
        ExprId normal = emit_op2(&t, OP_MUL, emit_op2(&t, OP_SUB, v, mean), scale);
        emit_put(&t, AT(&t, y, i, j), emit_op2(&t, OP_MUL, normal, emit_get(&t, AT(&t, w, j))));
        loops_end(&t.loops, loop);
        loops_end(&t.loops, row);
        loops_end(&t.loops, phase);
        for (size_t k = 0; k < LENGTH(extents); k++) {
            int64_t params[] = {4, extents[k]}, width = extents[k];
            emit_allocate(&t, params);
            emit_fill(&t, x, -2, 3);
            emit_fill(&t, w, 0.5, 2);
            if (!emit_run(&t, params)) break;
            bool right = true;
            for (int64_t r = 0; r < 4; r++) {
                double a = 0, b = 0;
                for (int64_t c = 0; c < width; c++) a += emit_element(&t, x, r * width + c);
                for (int64_t c = 0; c < width; c++)
                    b += pow(emit_element(&t, x, r * width + c) - a / (double)width, 2);
                for (int64_t c = 0; c < width; c++) {
                    double want = (emit_element(&t, x, r * width + c) - a / (double)width) /
                                  sqrt(b / (double)width + 1e-5) * emit_element(&t, w, c);
                    double got = emit_element(&t, y, r * width + c);
                    right &= fabs(got - want) <= 1e-9;
                }
            }
            EXPECT(right);
        }
        emit_test_close(&t);
    }
}

/* --- reductions ------------------------------------------------------------------------------- */

static double combine(ReduceKind kind, double a, double b) {
    switch (kind) {
    case REDUCE_SUM: return a + b;
    case REDUCE_PROD: return a * b;
    case REDUCE_MAX: return isnan(a) || isnan(b) ? (double)NAN : a > b ? a : b;
    case REDUCE_MIN: return isnan(a) || isnan(b) ? (double)NAN : a < b ? a : b;
    case REDUCE_AND: return (double)((int64_t)a & (int64_t)b);
    default: return (double)((int64_t)a | (int64_t)b);
    }
}
/* y[i] = reduce x[i,:], guarded by x < limit, into memory of the argument itself. */
static void check_reduce(Arena *arena, JitLevel level, ReduceKind kind, Dtype dtype) {
    EmitTest t;
    emit_test_open(&t, arena, level);
    DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), i, j;
    BufferId x = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    BufferId y = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n));
    BufferId guarded = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n));
    Dtype    compute = dtype_compute(dtype);
    NodeId   phase = loops_phase(&t.loops), row = emit_loop(&t, n, BIND_PARALLEL, &i);
    emit_put(&t, AT(&t, y, i), loops_identity(&t.loops, kind, compute));
    emit_put(&t, AT(&t, guarded, i), loops_identity(&t.loops, kind, compute));
    NodeId loop = emit_loop(&t, m, BIND_VECTOR, &j);
    ExprId v = emit_get(&t, AT(&t, x, i, j));
    emit_sum(&t, kind, AT(&t, y, i), v);
    ExprId early = loops_less(&t.loops, j, emit_num(&t, 3));
    (void)loops_reduce(&t.loops, kind, AT(&t, guarded, i), v, early);
    loops_end(&t.loops, loop);
    loops_end(&t.loops, row);
    loops_end(&t.loops, phase);
    for (size_t k = 0; k < LENGTH(extents); k++) {
        int64_t params[] = {3, extents[k]}, width = extents[k];
        emit_allocate(&t, params);
        emit_fill(&t, x, kind == REDUCE_PROD ? 1 : -3, kind == REDUCE_PROD ? 1.01 : 4);
        if (dtype_is_float(dtype) && width > 2) emit_set(&t, x, width + 2, (double)NAN);
        if (!emit_run(&t, params)) break;
        bool right = true;
        for (int64_t r = 0; r < 3 && width > 0; r++) {
            double all = emit_element(&t, x, r * width), some = all;
            for (int64_t c = 1; c < width; c++) {
                double number = emit_element(&t, x, r * width + c);
                all = combine(kind, all, number);
                if (c < 3) some = combine(kind, some, number);
            }
            double rel = dtype == DTYPE_F64 ? 1e-12 : dtype == DTYPE_F32 ? 1e-4 : 2e-2;
            double got[2] = {emit_element(&t, y, r), emit_element(&t, guarded, r)};
            double want[2] = {all, some};
            if (dtype_is_int(dtype)) { /* wraps */
                uint8_t bytes[8];
                for (int q = 0; q < 2; q++) {
                    int64_t whole = (int64_t)want[q];
                    memcpy(bytes, &whole, 8);
                    want[q] = const_decode(dtype, bytes);
                }
                rel = 0;
            }
            for (int q = 0; q < 2; q++)
                right &= (isnan(got[q]) && isnan(want[q])) ||
                         fabs(got[q] - want[q]) <= rel * fmax(fabs(want[q]), 10);
        }
        if (!EXPECT(right))
            printf("\n  level %d, kind %d, %s, extent %d", (int)level, (int)kind,
                   dtype_infos[dtype].name, (int)width);
    }
    emit_test_close(&t);
}
TEST(emit_reduce_every_kind) {
    static const Dtype dtypes[] = {DTYPE_BOOL, DTYPE_U8,  DTYPE_I8,   DTYPE_I16, DTYPE_I32,
                                   DTYPE_I64,  DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
    EACH_LEVEL(level)
    for (ReduceKind kind = REDUCE_SUM; kind <= REDUCE_OR; kind++)
        for (size_t d = 0; d < LENGTH(dtypes); d++) {
            bool bits = kind >= REDUCE_AND, number = kind <= REDUCE_PROD;
            if (dtype_is_float(dtypes[d]) && bits) continue;
            if (dtypes[d] == DTYPE_BOOL && number) continue;
            if (level != JIT_HOST && dtype_bytes(dtypes[d]) < 4) continue; /* slow to compile */
            check_reduce(arena, level, kind, dtypes[d]);
        }
}
/* A long sum of f32 that a single accumulator gets wrong in the fourth digit. */
TEST(emit_long_sum_is_accurate) {
    EmitTest t;
    emit_test_open(&t, arena, JIT_HOST);
    DimId    n = emit_param(&t, "N"), j;
    BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId y = emit_scalar(&t, SCOPE_ARG, DTYPE_F32);
    NodeId   phase = loops_phase(&t.loops);
    emit_put(&t, emit_at0(&t, y), loops_const(&t.loops, DTYPE_F32, 0));
    NodeId loop = emit_loop(&t, n, BIND_VECTOR, &j);
    emit_sum(&t, REDUCE_SUM, emit_at0(&t, y), emit_get(&t, AT(&t, x, j)));
    loops_end(&t.loops, loop);
    loops_end(&t.loops, phase);
    int64_t params[] = {10000000};
    emit_allocate(&t, params);
    float *data = emit_data(&t, x);
    for (int64_t e = 0; e < params[0]; e++) data[e] = 0.1f;
    if (emit_run(&t, params)) EXPECT_NEAR(emit_element(&t, y, 0), 1e6 * (double)0.1f * 10, 1e-4);
    emit_test_close(&t);
}

/* Sums of columns in two phases: partial sums of 4 rows each, then their sum; f32 and f64. */
static void check_columns(Arena *arena, JitLevel level, Dtype dtype) {
    EmitTest t;
    emit_test_open(&t, arena, level);
    DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), b, i, j;
    DimId    four = emit_num(&t, 4), blocks = dims_ceildiv(&t.loops.dims, n, four);
    BufferId x = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(n, m));
    BufferId y = emit_buffer(&t, SCOPE_ARG, dtype, DIMS(m));
    BufferId part = emit_buffer(&t, SCOPE_WORK, dtype, DIMS(blocks, m));
    ExprId   zero = loops_const(&t.loops, dtype, 0);
    NodeId   phase = loops_phase(&t.loops), block = emit_loop(&t, blocks, BIND_PARALLEL, &b);
    NodeId   loop = emit_loop(&t, m, BIND_VECTOR, &j);
    emit_put(&t, AT(&t, part, b, j), zero);
    loops_end(&t.loops, loop);
    NodeId rows = emit_loop(&t, four, BIND_SERIAL, &i);
    DimId  place = dims_add(&t.loops.dims, dims_mul(&t.loops.dims, b, four), i);
    ExprId within = loops_less(&t.loops, place, n);
    loop = emit_loop(&t, m, BIND_VECTOR, &j);
    emit_sum(&t, REDUCE_SUM, AT(&t, part, b, j), loops_load(&t.loops, AT(&t, x, place, j), within));
    loops_end(&t.loops, loop);
    loops_end(&t.loops, rows);
    loops_end(&t.loops, block);
    loops_end(&t.loops, phase);
    phase = loops_phase(&t.loops);
    loop = emit_loop(&t, m, BIND_PARALLEL | BIND_VECTOR, &j);
    emit_put(&t, AT(&t, y, j), zero);
    NodeId parts = emit_loop(&t, blocks, BIND_SERIAL, &i);
    emit_sum(&t, REDUCE_SUM, AT(&t, y, j), emit_get(&t, AT(&t, part, i, j)));
    loops_end(&t.loops, parts);
    loops_end(&t.loops, loop);
    loops_end(&t.loops, phase);
    for (size_t k = 0; k < LENGTH(extents); k++)
        for (int64_t height = 0; height < 11; height += 5) {
            int64_t params[] = {height, extents[k]}, width = extents[k];
            emit_allocate(&t, params);
            emit_fill(&t, x, -2, 2);
            if (!emit_run(&t, params)) break;
            bool right = true;
            for (int64_t c = 0; c < width; c++) {
                double sum = 0;
                for (int64_t r = 0; r < height; r++) sum += emit_element(&t, x, r * width + c);
                right &= fabs(emit_element(&t, y, c) - sum) <= 1e-5;
            }
            EXPECT(right);
        }
    emit_test_close(&t);
}
TEST(emit_column_sums) {
    EACH_LEVEL(level) {
        check_columns(arena, level, DTYPE_F32);
        check_columns(arena, level, DTYPE_F64);
    }
}

/* --- places ----------------------------------------------------------------------------------- */

/* Transposes by gathering and by scattering. */
TEST(emit_transpose) {
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_I8};
    EACH_LEVEL(level)
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (int scatters = 0; scatters < 2; scatters++) {
            EmitTest t;
            emit_test_open(&t, arena, level);
            DimId      n = emit_param(&t, "N"), m = emit_param(&t, "M"), i, j;
            BufferId   x = emit_buffer(&t, SCOPE_ARG, dtypes[d], DIMS(n, m));
            BufferId   y = emit_buffer(&t, SCOPE_ARG, dtypes[d], DIMS(m, n));
            NodeId     phase = loops_phase(&t.loops);
            NodeId     outer = emit_loop(&t, scatters ? n : m, BIND_PARALLEL, &i);
            NodeId     inner = emit_loop(&t, scatters ? m : n, BIND_VECTOR, &j);
            LoopAccess from = scatters ? AT(&t, x, i, j) : AT(&t, x, j, i);
            emit_put(&t, scatters ? AT(&t, y, j, i) : AT(&t, y, i, j), emit_get(&t, from));
            loops_end(&t.loops, inner);
            loops_end(&t.loops, outer);
            loops_end(&t.loops, phase);
            for (size_t k = 0; k < LENGTH(extents); k++) {
                int64_t params[] = {extents[k], 19};
                emit_allocate(&t, params);
                emit_fill(&t, x, -100, 100);
                if (!emit_run(&t, params)) break;
                bool right = true;
                for (int64_t r = 0; r < extents[k]; r++)
                    for (int64_t c = 0; c < 19; c++)
                        right &= emit_element(&t, y, c * extents[k] + r) ==
                                 emit_element(&t, x, r * 19 + c);
                EXPECT(right);
            }
            emit_test_close(&t);
        }
}

/* y[i] = x[i - 2] inside, 7 outside; and a store that is guarded. */
TEST(emit_guards) {
    EACH_LEVEL(level) {
        EmitTest t;
        emit_test_open(&t, arena, level);
        DimId    n = emit_param(&t, "N"), two = emit_num(&t, 2), i;
        DimId    wide = dims_add(&t.loops.dims, n, emit_num(&t, 5));
        BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(wide));
        BufferId z = emit_buffer(&t, SCOPE_ARG, DTYPE_I32, DIMS(wide));
        NodeId   phase = loops_phase(&t.loops), loop = emit_loop(&t, wide, BIND_VECTOR, &i);
        DimId    from = dims_sub(&t.loops.dims, i, two);
        ExprId   above = loops_less(&t.loops, emit_num(&t, 1), i),
               below = loops_less(&t.loops, from, n);
        ExprId within = loops_and(&t.loops, above, below);
        ExprId v = loops_load(&t.loops, AT(&t, x, from), within);
        emit_put(&t, AT(&t, y, i),
                 loops_op(&t.loops, OP_SELECT, DTYPE_F32, within, v,
                          loops_const(&t.loops, DTYPE_F32, 7), 0));
        t.loops.buffers.written[z.row] = true;
        (void)loops_store(&t.loops, AT(&t, z, i), loops_index(&t.loops, DTYPE_I32, i), within);
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        for (size_t k = 0; k < LENGTH(extents); k++) {
            emit_allocate(&t, &extents[k]);
            emit_fill(&t, x, -3, 3);
            for (int64_t e = 0; e < extents[k] + 5; e++) emit_set(&t, z, e, -1);
            if (!emit_run(&t, &extents[k])) break;
            bool right = true;
            for (int64_t e = 0; e < extents[k] + 5; e++) {
                bool inside = e >= 2 && e - 2 < extents[k];
                right &= emit_element(&t, y, e) == (inside ? emit_element(&t, x, e - 2) : 7);
                right &= emit_element(&t, z, e) == (inside ? (double)e : -1);
            }
            EXPECT(right);
        }
        emit_test_close(&t);
    }
}

/* Rows of a table at run-time indices, zero outside; and quotients and rests as places. */
TEST(emit_gather) {
    EACH_LEVEL(level) {
        EmitTest t;
        emit_test_open(&t, arena, level);
        DimId    n = emit_param(&t, "N"), m = emit_param(&t, "M"), rows = emit_num(&t, 9), i, j;
        BufferId table = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(rows, m));
        BufferId index = emit_buffer(&t, SCOPE_ARG, DTYPE_I64, DIMS(n));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n, m));
        BufferId z = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
        NodeId   phase = loops_phase(&t.loops), outer = emit_loop(&t, n, BIND_PARALLEL, &i);
        DimId    row = loops_let(&t.loops, emit_get(&t, AT(&t, index, i)));
        ExprId   within = loops_and(&t.loops, loops_less(&t.loops, emit_num(&t, -1), row),
                                    loops_less(&t.loops, row, rows));
        NodeId   inner = emit_loop(&t, m, BIND_VECTOR, &j);
        emit_put(&t, AT(&t, y, i, j), loops_load(&t.loops, AT(&t, table, row, j), within));
        loops_end(&t.loops, inner);
        loops_end(&t.loops, outer);
        loops_end(&t.loops, phase);
        phase = loops_phase(&t.loops); /* one column, the indices as a vector */
        NodeId loop = emit_loop(&t, n, BIND_PARALLEL | BIND_VECTOR, &i);
        row = loops_let(&t.loops, emit_get(&t, AT(&t, index, i)));
        within = loops_and(&t.loops, loops_less(&t.loops, emit_num(&t, -1), row),
                           loops_less(&t.loops, row, rows));
        DimId column = dims_mod(&t.loops.dims, i, m);
        emit_put(&t, AT(&t, z, i), loops_load(&t.loops, AT(&t, table, row, column), within));
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        for (size_t k = 0; k < LENGTH(extents); k++) {
            int64_t params[] = {extents[k], 11};
            emit_allocate(&t, params);
            emit_fill(&t, table, -3, 3);
            emit_fill(&t, index, -2, 12);
            if (!emit_run(&t, params)) break;
            bool right = true;
            for (int64_t r = 0; r < extents[k]; r++) {
                int64_t at = (int64_t)emit_element(&t, index, r);
                bool    inside = at >= 0 && at < 9;
                for (int64_t c = 0; c < 11; c++)
                    right &= emit_element(&t, y, r * 11 + c) ==
                             (inside ? emit_element(&t, table, at * 11 + c) : 0);
                right &= emit_element(&t, z, r) ==
                         (inside ? emit_element(&t, table, at * 11 + r % 11) : 0);
            }
            EXPECT(right);
        }
        emit_test_close(&t);
    }
}

/* Random words as the tables define them, from any element on. */
TEST(emit_random) {
    EACH_LEVEL(level) {
        EmitTest t;
        emit_test_open(&t, arena, level);
        DimId    n = emit_param(&t, "N"), i;
        BufferId seed = emit_scalar(&t, SCOPE_ARG, DTYPE_I64);
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_I32, DIMS(n));
        BufferId z = emit_buffer(&t, SCOPE_ARG, DTYPE_I32, DIMS(n));
        BufferId w = emit_buffer(&t, SCOPE_ARG, DTYPE_I32, DIMS(n));
        NodeId   phase = loops_phase(&t.loops),
               loop = emit_loop(&t, n, BIND_PARALLEL | BIND_VECTOR, &i);
        ExprId key = emit_get(&t, emit_at0(&t, seed));
        DimId  moved =
            dims_add(&t.loops.dims, dims_mul(&t.loops.dims, i, emit_num(&t, 3)), emit_num(&t, 5));
        emit_put(&t, AT(&t, y, i), loops_rng(&t.loops, key, i, 7));
        emit_put(&t, AT(&t, z, i), loops_rng(&t.loops, key, moved, 9));
        DimId beside = dims_add(&t.loops.dims, i, emit_num(&t, 5)); /* neighbours, not aligned */
        emit_put(&t, AT(&t, w, i), loops_rng(&t.loops, key, beside, 2));
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        for (size_t k = 0; k < LENGTH(extents); k++) {
            emit_allocate(&t, &extents[k]);
            int64_t number = (int64_t)0x123456789ABCDEF0 - (int64_t)k;
            memcpy(emit_data(&t, seed), &number, 8);
            if (!emit_run(&t, &extents[k])) break;
            const int32_t *a = emit_data(&t, y), *b = emit_data(&t, z);
            const int32_t *c = emit_data(&t, w);
            bool           right = true;
            for (int64_t e = 0; e < extents[k]; e++) {
                uint64_t at = (uint64_t)(3 * e + 5), next = (uint64_t)(e + 5);
                right &=
                    a[e] == (int32_t)philox_draw((uint64_t)number, (uint64_t)e / 4, 7).word[e % 4];
                right &= b[e] == (int32_t)philox_draw((uint64_t)number, at / 4, 9).word[at % 4];
                right &= c[e] == (int32_t)philox_draw((uint64_t)number, next / 4, 2).word[next % 4];
            }
            EXPECT(right);
        }
        emit_test_close(&t);
    }
}

/* Arrays beyond the caches are stored past them from an aligned place on; smaller and shifted ones
 * are not. */
TEST(emit_stores_past_the_caches) {
    const int64_t far = (18 << 20) / 4, sizes[] = {100, far, far + 13};
    if (!jit_level_runs(JIT_AVX2)) return;
    for (uint32_t which = 0; which < LENGTH(sizes); which++) {
        EmitTest t;
        int64_t  n = sizes[which];
        emit_test_open(&t, arena, JIT_AVX2);
        DimId    size = emit_param(&t, "N"), i;
        BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(size));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(size));
        BufferId z = emit_buffer(&t, SCOPE_ARG, DTYPE_BF16, DIMS(size));
        NodeId   phase = loops_phase(&t.loops);
        NodeId   loop = emit_loop(&t, size, BIND_VECTOR | BIND_PARALLEL, &i);
        ExprId   one = loops_const(&t.loops, DTYPE_F32, 1);
        ExprId   sum = emit_op2(&t, OP_ADD, emit_get(&t, AT(&t, x, i)), one);
        emit_put(&t, AT(&t, y, i), sum);
        emit_put(&t, AT(&t, z, i), sum);
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        t.loops.buffers.shares[y.row] = 1;
        emit_allocate(&t, &n);
        float *from = emit_data(&t, x), *to = emit_data(&t, y);
        for (int64_t k = 0; k < n; k++) from[k] = (float)(k % 251);
        EXPECT(emit_run(&t, &n));
        bool      right = true;
        uint16_t *halves = emit_data(&t, z), bits;
        for (int64_t k = 0; k < n; k++) {
            (void)const_encode(DTYPE_BF16, (double)(k % 251 + 1), &bits);
            right &= (int64_t)to[k] == k % 251 + 1 && halves[k] == bits;
        }
        EXPECT(right);
        String text;
        EXPECT_EQ(emit_text(arena, t.jit, &t.loops, t.kernel, 0, JIT_STAGE_BUILT, &t.diags, &text),
                  STATUS_OK);
        EXPECT(strstr(text.data, "!nontemporal") != NULL);
        EXPECT(strstr(text.data, "sfence") != NULL);
        emit_test_close(&t);
    }
}

/* Numbers of elements against a number that is the same for all, however far away, on either side;
 * in bf16, whose lanes are in another order. */
TEST(emit_compares_indices) {
    static const CompareKind kinds[] = {COMPARE_EQ, COMPARE_NE, COMPARE_LT,
                                        COMPARE_LE, COMPARE_GT, COMPARE_GE};
    const int64_t labels[] = {INT64_MIN, -1, 0, 5, 31, 32, 68, 69, 70, INT64_MAX}, n = 70;
    for (uint32_t which = 0; which < LENGTH(kinds) * 2; which++) {
        EmitTest    t;
        CompareKind kind = kinds[which / 2];
        emit_test_open(&t, arena, JIT_HOST);
        DimId    size = emit_param(&t, "N"), i;
        BufferId label = emit_scalar(&t, SCOPE_ARG, DTYPE_I64);
        BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_BF16, DIMS(size));
        BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_BF16, DIMS(size));
        NodeId   phase = loops_phase(&t.loops), loop = emit_loop(&t, size, BIND_VECTOR, &i);
        ExprId sides[2] = {loops_index(&t.loops, DTYPE_I64, i), emit_get(&t, emit_at0(&t, label))};
        ExprId is = loops_op(&t.loops, OP_COMPARE, DTYPE_BOOL, sides[which % 2],
                             sides[1 - which % 2], (ExprId){0}, kind);
        ExprId zero = loops_const(&t.loops, DTYPE_F32, 0);
        emit_put(&t, AT(&t, y, i),
                 loops_op(&t.loops, OP_SELECT, DTYPE_F32, is, emit_get(&t, AT(&t, x, i)), zero, 0));
        loops_end(&t.loops, loop);
        loops_end(&t.loops, phase);
        emit_allocate(&t, &n);
        for (int64_t k = 0; k < n; k++) emit_set(&t, x, k, (double)(k + 1));
        bool right = true;
        for (uint32_t l = 0; l < LENGTH(labels); l++) {
            memcpy(emit_data(&t, label), &labels[l], sizeof labels[l]);
            EXPECT(emit_run(&t, &n));
            for (int64_t k = 0; k < n; k++) {
                int64_t a = which % 2 ? labels[l] : k, b = which % 2 ? k : labels[l];
                bool    holds = kind == COMPARE_EQ   ? a == b
                                : kind == COMPARE_NE ? a != b
                                : kind == COMPARE_LT ? a < b
                                : kind == COMPARE_LE ? a <= b
                                : kind == COMPARE_GT ? a > b
                                                     : a >= b;
                right &= (int64_t)emit_element(&t, y, k) == (holds ? k + 1 : 0);
            }
        }
        EXPECT(right);
        emit_test_close(&t);
    }
}

/* The text of a kernel, and equal kernels for a second time from memory. */
TEST(emit_text_and_sharing) {
    EmitTest t;
    emit_test_open(&t, arena, JIT_HOST);
    DimId    n = emit_param(&t, "N"), i;
    BufferId x = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    BufferId y = emit_buffer(&t, SCOPE_ARG, DTYPE_F32, DIMS(n));
    NodeId   phase = loops_phase(&t.loops), loop = emit_loop(&t, n, BIND_VECTOR, &i);
    emit_put(&t, AT(&t, y, i), emit_op1(&t, OP_TANH, emit_get(&t, AT(&t, x, i))));
    loops_end(&t.loops, loop);
    loops_end(&t.loops, phase);
    String text;
    EXPECT_EQ(emit_text(arena, t.jit, &t.loops, t.kernel, 0, JIT_STAGE_BUILT, &t.diags, &text),
              STATUS_OK);
    EXPECT(strstr(text.data, "define void @kernel(") != NULL);
    EXPECT(emit_compile_once(&t));
    EmitFn *run = t.module->kernels[t.kernel.row].phases[0].run;
    t.module = NULL;
    EXPECT(emit_compile_once(&t));
    EXPECT(t.module->kernels[t.kernel.row].phases[0].run == run);
    emit_test_close(&t);
}

#else
TEST(emit_needs_llvm) { EXPECT(true); }
#endif
