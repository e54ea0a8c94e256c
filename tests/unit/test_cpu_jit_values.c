/* Operators on every dtype, conversions, comparisons, 16-bit floats and reductions of the vector
 * mathematics, against the reference interpreter and the conversions of the tables: integers bit
 * by bit, 16-bit floats to their last place. The accuracy of f32 and f64 is test_cpu_jit_math.c. */
#include <string.h>

#include "any_number.h"
#include "cpu/jit_math.h"
#include "jit_loop.h"
#include "run_graph.h"
#include "tables/philox.h"

#if defined(STOA_HAVE_LLVM)

enum { N = 1531, JOBS_MAX = 512 };
typedef struct Job {
    char     name[48];
    Opcode   opcode;
    Dtype    from, to; /* of operands and result, in memory */
    uint64_t word;     /* the attribute */
    JitLoop  loop;
} Job;
typedef struct Suite {
    Arena    *arena;
    Diags     diags;
    Job       jobs[JOBS_MAX];
    JitKernel kernels[JOBS_MAX];
    uint32_t  count;
    void     *numbers[2][DTYPE_COUNT]; /* N of each dtype, for both operands */
} Suite;

static const Dtype dtypes[] = {DTYPE_BOOL, DTYPE_U8,  DTYPE_I8,   DTYPE_I16, DTYPE_I32,
                               DTYPE_I64,  DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};

static JitType memory_of(JitBuild *build, Dtype dtype) { return jit_math_memory(build, dtype); }
#define MEMORY(NAME)                                                                               \
    static JitType memory_##NAME(JitBuild *build) { return memory_of(build, DTYPE_##NAME); }
MEMORY(BOOL)
MEMORY(U8)
MEMORY(I8)
MEMORY(I16) MEMORY(I32) MEMORY(I64) MEMORY(F16) MEMORY(BF16) MEMORY(F32)
    MEMORY(F64) static JitType (*const memories[DTYPE_COUNT])(JitBuild *) = {
        [DTYPE_BOOL] = memory_BOOL, [DTYPE_U8] = memory_U8,     [DTYPE_I8] = memory_I8,
        [DTYPE_I16] = memory_I16,   [DTYPE_I32] = memory_I32,   [DTYPE_I64] = memory_I64,
        [DTYPE_F16] = memory_F16,   [DTYPE_BF16] = memory_BF16, [DTYPE_F32] = memory_F32,
        [DTYPE_F64] = memory_F64};

static JitValue emit_job(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const Job *job = parameter;
    JitValue   z,
        args[3] = {jit_math_unpack(build, job->from, x), jit_math_unpack(build, job->from, y)};
    switch (job->opcode) {
    case OP_CONVERT: z = jit_math_convert(build, job->from, job->to, args[0]); break;
    case OP_BITCAST: z = jit_math_bitcast(build, job->from, job->to, args[0]); break;
    case OP_COMPARE:
        z = jit_math_compare(build, (CompareKind)job->word, job->from, args[0], args[1]);
        break;
    default: z = jit_math(build, job->opcode, job->from, args); break;
    }
    return jit_math_pack(build, job->to, z);
}
static void job_add(Suite *s, Opcode opcode, Dtype from, Dtype to, uint64_t word, uint32_t lanes) {
    Job *job = &s->jobs[s->count];
    *job = (Job){.opcode = opcode, .from = from, .to = to, .word = word};
    (void)snprintf(job->name, sizeof job->name, "%s %s %s %u %u", op_infos[opcode].name,
                   dtype_infos[from].name, dtype_infos[to].name, (unsigned)word, lanes);
    job->loop = (JitLoop){.emit = emit_job,
                          .parameter = job,
                          .in = memories[from],
                          .out = memories[to],
                          .lanes = lanes,
                          .unroll = 1};
    s->kernels[s->count++] = loop_kernel(job->name, &job->loop);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static Suite *suite_open(Arena *arena) {
    Suite *s = ARENA_NEW(arena, Suite);
    s->arena = arena;
    diags_open(&s->diags, NULL);
    for (uint64_t side = 0; side < 2; side++)
        for (size_t d = 0; d < LENGTH(dtypes); d++) {
            uint32_t bytes = dtype_bytes(dtypes[d]);
            char    *numbers = arena_push(arena, (size_t)N * bytes, 64);
            for (uint64_t i = 0; i < N; i++) any_number(dtypes[d], i, side, numbers + i * bytes);
            s->numbers[side][dtypes[d]] = numbers;
        }
    return s;
}
static void suite_close(Suite *s) { diags_close(&s->diags); }

/* --- against the interpreter ------------------------------------------------------------------ */

static void job_compare(Suite *s, const Job *job, JitLoopFn *kernel) {
    uint32_t inputs = op_infos[job->opcode].operands_max, bytes = dtype_bytes(job->to);
    Graph    g = graph_open(s->arena);
    int64_t  shape[] = {N};
    for (uint32_t i = 0; i < inputs; i++) {
        uint32_t input = graph_input(&g, job->from, shape, 1, NUMBERS(0));
        memcpy(g.inputs[input].data, s->numbers[i][job->from], (size_t)N * dtype_bytes(job->from));
    }
    bool has_word =
        job->opcode == OP_CONVERT || job->opcode == OP_BITCAST || job->opcode == OP_COMPARE;
    const Tensor *want = graph_run_op(&g, job->opcode, has_word ? &job->word : NULL);
    Tensor        got = {.dtype = job->to, .rank = 1, .shape = {N}};
    got.data = arena_push_zero(s->arena, (size_t)N * bytes, 64);
    kernel(got.data, s->numbers[0][job->from], s->numbers[1][job->from], N);
    double rel = dtype_is_float(job->to) ? 2 * graph_tolerance(job->to) : 0;
    double least = job->to == DTYPE_F16 ? 6e-8 : job->to == DTYPE_BF16 ? 1e-40 : 0;
    for (int64_t i = 0; i < N && g.status == STATUS_OK; i++) {
        double a = graph_number(&got, i), b = graph_number(want, i);
        bool   same = dtype_is_float(job->to) ? graph_near(a, b, rel, least)
                                              : memcmp((char *)got.data + i * bytes,
                                                       (char *)want->data + i * bytes, bytes) == 0;
        if (EXPECT(same)) continue;
        printf(
            "\n  %s: element %lld of %.17g, %.17g is %.17g, expected %.17g", job->name,
            (long long)i,
            const_decode(job->from, (char *)s->numbers[0][job->from] + i * dtype_bytes(job->from)),
            const_decode(job->from, (char *)s->numbers[1][job->from] + i * dtype_bytes(job->from)),
            a, b);
        break;
    }
    graph_close(&g);
}
static void suite_run(Suite *s, JitLevel level) {
    Jit *jit = NULL;
    if (EXPECT_EQ(jit_open(s->arena, &(JitOptions){.level = level}, &s->diags, &jit), STATUS_OK) &&
        EXPECT_EQ(jit_compile(jit, NULL, s->kernels, s->count, &s->diags), STATUS_OK))
        for (uint32_t i = 0; i < s->count; i++) {
            ArenaMark mark = arena_mark(s->arena);
            job_compare(s, &s->jobs[i], loop_entry(&s->kernels[i]));
            arena_release(s->arena, mark);
        }
    jit_close(jit);
}
static bool wide(Dtype dtype) { return dtype == DTYPE_F32 || dtype == DTYPE_F64; }

/* Every operator of jit_math_has; f32 and f64 have their own test. */
TEST(jit_values_operators) {
    for (JitLevel level = JIT_GENERIC; level < JIT_LEVELS; level++) {
        if (!jit_level_runs(level)) continue;
        Suite *s = suite_open(arena);
        for (Opcode opcode = 1; opcode < OP_COUNT; opcode++)
            for (size_t d = 0; d < LENGTH(dtypes); d++) {
                bool finite = opcode == OP_IS_FINITE;
                if (opcode == OP_SELECT || !jit_math_has(opcode, dtypes[d])) continue;
                if (wide(dtypes[d]) && !finite && opcode != OP_NEG) continue;
                job_add(s, opcode, dtypes[d], finite ? DTYPE_BOOL : dtypes[d], 0, 0);
            }
        EXPECT(s->count > 150);
        suite_run(s, level);
        suite_close(s);
    }
}
TEST(jit_values_scalars) { /* one lane: another instruction selection */
    Suite *s = suite_open(arena);
    for (Opcode opcode = 1; opcode < OP_COUNT; opcode++)
        for (size_t d = 1; d < LENGTH(dtypes); d++)
            if (opcode != OP_SELECT && opcode != OP_IS_FINITE && !wide(dtypes[d]) &&
                jit_math_has(opcode, dtypes[d]))
                job_add(s, opcode, dtypes[d], dtypes[d], 0, 1);
    suite_run(s, JIT_HOST);
    suite_close(s);
}
TEST(jit_values_compare) {
    Suite *s = suite_open(arena);
    for (uint64_t how = 0; how < COMPARE_KIND_COUNT; how++)
        for (size_t d = 0; d < LENGTH(dtypes); d++)
            job_add(s, OP_COMPARE, dtypes[d], DTYPE_BOOL, how, 0);
    suite_run(s, JIT_HOST);
    suite_close(s);
}
TEST(jit_values_convert) {
    for (JitLevel level = JIT_GENERIC; level < JIT_LEVELS; level++) {
        if (!jit_level_runs(level)) continue;
        Suite *s = suite_open(arena);
        for (size_t from = 0; from < LENGTH(dtypes); from++)
            for (size_t to = 0; to < LENGTH(dtypes); to++)
                job_add(s, OP_CONVERT, dtypes[from], dtypes[to], dtypes[to], 0);
        suite_run(s, level);
        suite_close(s);
    }
}
TEST(jit_values_bitcast) {
    Suite *s = suite_open(arena);
    for (size_t from = 1; from < LENGTH(dtypes); from++)
        for (size_t to = 1; to < LENGTH(dtypes); to++)
            if (dtype_bytes(dtypes[from]) == dtype_bytes(dtypes[to]))
                job_add(s, OP_BITCAST, dtypes[from], dtypes[to], dtypes[to], 0);
    suite_run(s, JIT_HOST);
    suite_close(s);
}

/* --- 16-bit floats: every pattern ------------------------------------------------------------- */

static bool half_same(uint16_t a, uint16_t b, Dtype dtype) {
    uint16_t infinity = dtype == DTYPE_F16 ? 0x7C00 : 0x7F80;
    bool     nan_a = (a & 0x7FFF) > infinity, nan_b = (b & 0x7FFF) > infinity;
    return nan_a || nan_b ? nan_a && nan_b : a == b;
}
/* All patterns widen as the tables widen them; all of them, their neighbours half-way between and
 * a little off, narrow as the tables narrow them. */
TEST(jit_values_halves) {
    enum { ALL = 65536, NEAR = 5 };
    uint16_t *halves = ARENA_ARRAY(arena, uint16_t, ALL * NEAR);
    uint16_t *back = ARENA_ARRAY(arena, uint16_t, ALL * NEAR);
    float    *numbers = ARENA_ARRAY(arena, float, ALL *NEAR);
    for (JitLevel level = JIT_HOST; level < JIT_LEVELS; level++) {
        if (!jit_level_runs(level)) continue;
        Suite *s = suite_open(arena);
        Jit   *jit = NULL;
        job_add(s, OP_CONVERT, DTYPE_F16, DTYPE_F32, DTYPE_F32, 0);
        job_add(s, OP_CONVERT, DTYPE_F32, DTYPE_F16, DTYPE_F16, 0);
        job_add(s, OP_CONVERT, DTYPE_BF16, DTYPE_F32, DTYPE_F32, 0);
        job_add(s, OP_CONVERT, DTYPE_F32, DTYPE_BF16, DTYPE_BF16, 0);
        REQUIRE(jit_open(arena, &(JitOptions){.level = level}, &s->diags, &jit) == STATUS_OK);
        REQUIRE(jit_compile(jit, NULL, s->kernels, s->count, &s->diags) == STATUS_OK);
        for (uint32_t kind = 0; kind < 2; kind++) {
            Dtype    dtype = kind ? DTYPE_BF16 : DTYPE_F16;
            uint32_t unit = kind ? 0x8000 : 0x1000,
                     wrong = 0; /* half a place of the f16 in a f32 */
            for (uint32_t i = 0; i < ALL; i++) halves[i] = (uint16_t)i;
            loop_entry (&s->kernels[2 * kind])(numbers, halves, halves, ALL);
            for (uint32_t i = 0; i < ALL; i++) {
                float exact = kind ? dtype_f32_of_bf16(halves[i]) : dtype_f32_of_f16(halves[i]);
                bool  same = isnan(exact) ? isnan(numbers[i]) != 0 : exact == numbers[i];
                wrong += same ? 0 : 1;
                numbers[i] = exact;
            }
            for (uint32_t i = ALL; i < ALL * NEAR; i++) {
                uint32_t bits;
                memcpy(&bits, &numbers[i % ALL], sizeof bits);
                bits += i / ALL == 1 ? unit : i / ALL == 2 ? unit + 1 : i / ALL == 3 ? unit - 1 : 1;
                memcpy(&numbers[i], &bits, sizeof bits);
            }
            loop_entry (&s->kernels[2 * kind + 1])(back, numbers, numbers, ALL * NEAR);
            for (uint32_t i = 0; i < ALL * NEAR; i++) {
                uint16_t exact =
                    kind ? dtype_bf16_of_f32(numbers[i]) : dtype_f16_of_f32(numbers[i]);
                wrong += half_same(back[i], exact, dtype) ? 0 : 1;
            }
            EXPECT_EQ(wrong, 0);
        }
        jit_close(jit);
        suite_close(s);
    }
}

/* From f64 a 16-bit float is rounded once: these are just above the middle of two f16 or bf16, by
 * less than a f32 can tell. */
TEST(jit_values_round_once) {
    static const double x[4] = {1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-8 + 0x1p-40, -1 - 0x1p-11 - 0x1p-40,
                                1 + 0x1p-11 - 0x1p-40};
    uint16_t            f16[4], bf16[4];
    Suite              *s = suite_open(arena);
    Jit                *jit = NULL;
    job_add(s, OP_CONVERT, DTYPE_F64, DTYPE_F16, DTYPE_F16, 0);
    job_add(s, OP_CONVERT, DTYPE_F64, DTYPE_BF16, DTYPE_BF16, 0);
    REQUIRE(jit_open(arena, &(JitOptions){0}, &s->diags, &jit) == STATUS_OK);
    REQUIRE(jit_compile(jit, NULL, s->kernels, s->count, &s->diags) == STATUS_OK);
    loop_entry (&s->kernels[0])(f16, x, x, 4);
    loop_entry (&s->kernels[1])(bf16, x, x, 4);
    EXPECT_EQ(f16[0], 0x3C01);
    EXPECT_EQ(bf16[1], 0x3F81);
    EXPECT_EQ(f16[2], 0xBC01);
    EXPECT_EQ(f16[3], 0x3C00);
    jit_close(jit);
    suite_close(s);
}

/* --- reductions ------------------------------------------------------------------------------- */

typedef struct Fold {
    ReduceKind kind;
    Dtype      dtype;
} Fold;
/* Sixteen numbers become one, beginning at the identity. */
static JitValue emit_fold(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const Fold *fold = parameter;
    JitValue    start = jit_math_identity(build, fold->kind, fold->dtype, 16);
    (void)y;
    if (llvm.GetTypeKind(llvm.TypeOf(x)) != LLVMVectorTypeKind) return x; /* the tail: not run */
    x = jit_math_unpack(build, fold->dtype, x);
    x = jit_math_combine(build, fold->kind, fold->dtype, start, x);
    JitValue one = jit_math_across(build, fold->kind, fold->dtype, x);
    one = jit_math_pack(build, fold->dtype, one);
    JitValue all = llvm.GetPoison(jit_vector(jit_math_memory(build, fold->dtype), 16));
    for (unsigned i = 0; i < 16; i++)
        all = llvm.BuildInsertElement(build->at, all, one, llvm.ConstInt(build->i32, i, false), "");
    return all;
}
TEST(jit_values_reduce) {
    static const Dtype folded[] = {DTYPE_BOOL, DTYPE_U8, DTYPE_I8, DTYPE_I32, DTYPE_I64, DTYPE_F64};
    for (size_t d = 0; d < LENGTH(folded); d++)
        for (ReduceKind kind = REDUCE_SUM; kind <= REDUCE_OR; kind++) {
            Dtype dtype = folded[d];
            bool  bits = kind >= REDUCE_AND, number = kind <= REDUCE_PROD;
            if ((dtype == DTYPE_BOOL && number) || (dtype == DTYPE_F64 && bits)) continue;
            Fold    fold = {kind, dtype};
            JitLoop loop = {emit_fold, &fold, memories[dtype], memories[dtype], 16, 1};
            char    data[16 * 8], out[16 * 8];
            Suite  *s = suite_open(arena);
            Jit    *jit = NULL;
            s->kernels[0] = loop_kernel("fold", &loop);
            REQUIRE(jit_open(arena, &(JitOptions){0}, &s->diags, &jit) == STATUS_OK);
            REQUIRE(jit_compile(jit, NULL, s->kernels, 1, &s->diags) == STATUS_OK);
            Graph g = graph_open(arena);
            (void)graph_input(&g, dtype, SHAPE(16),
                              NUMBERS(1, 2, -3, 1, 1, 2, -1, 1, 3, 1, 2, 1, -2, 1, 1, 5));
            memcpy(data, g.inputs[0].data, (size_t)16 * dtype_bytes(dtype));
            loop_entry (&s->kernels[0])(out, data, data, 16);
            int64_t axis = 0;
            graph_begin(&g);
            ValueId       y = build_reduce(&g.build, kind, g.args[0], &axis, 1);
            const Tensor *want = graph_run(&g, &y, 1);
            if (!EXPECT(memcmp(out, want->data, dtype_bytes(dtype)) == 0))
                printf("\n  kind %d of %s", (int)kind, dtype_infos[dtype].name);
            graph_close(&g);
            jit_close(jit);
            suite_close(s);
        }
}

#else
TEST(jit_values_need_llvm) { EXPECT(true); }
#endif
