/* The kernels of programs of every family as CUDA: they compile (where there is NVRTC), and give
 * what the program means (where there is a GPU). STOA_CASE: only this program, from 0; STOA_SEEDS,
 * STOA_SEED: random programs. */
#include "api/program.h"
#include "cuda_check.h"
#include "models/gpt.h"
#include "models/lenet.h"
#include "random_program.h"

typedef struct Case {
    const char *text;
    const char *dtypes[8];
} Case;
#define FLOATS                                                                                     \
    { "f32", "bf16", "f64", "f16", NULL }
/* The backward pass of a norm that also tells the largest magnitude of each row. */
#define NORM_AND_LARGEST(T, C)                                                                     \
    "%x: " T "[B," C "], %w: " T "[" C "], %d: " T "[B," C "]) {\n  %y = rms_norm %x, %w\n"        \
    "  %t = mul %y, %d\n  %q = reduce %t {kind=sum, axes=[0,1]}\n"                                 \
    "  %dx, %dw = gradient %q, %x, %w\n  %a = abs %dx\n"                                           \
    "  %m = reduce %a {kind=max, axes=[1]}\n  return %dx, %dw, %m\n}\n"
static const Case cases[] = {
    {"graph f(%x: $[B,C], %y: $[B,C]) {\n  %a = add %x, %y\n  %b = mul %a, %x\n"
     "  %c = max %b, %y\n  %d = sub %c, %a\n  return %d, %b\n}\n",
     {"f32", "bf16", "f64", "f16", "u8", "i8", "i32", NULL}},
    {"graph f(%x: $[B,C], %y: $[B,C]) {\n  %a = div %x, %y\n  %b = rem %x, %y\n"
     "  %c = shl %a, %y\n  %d = shr_arith %b, %y\n  %e = shr_logical %c, %y\n"
     "  %f = add %d, %e\n  return %f\n}\n",
     {"u8", "i8", "i16", "i32", "i64", NULL}},
    {"graph f(%x: $[B,C], %y: $[B,C]) {\n  %a = and %x, %y\n  %b = xor %a, %x\n  %c = not %b\n"
     "  %d = or %c, %y\n  return %d\n}\n",
     {"bool", "u8", "i64", NULL}},
    {"graph f(%x: $[B,C]) {\n  %a = exp %x\n  %b = tanh %a\n  %c = log1p %a\n  %d = erf %x\n"
     "  %e = logistic %x\n  %f = add %b, %c\n  %g = mul %d, %e\n  %h = sub %f, %g\n"
     "  %i = rsqrt %a\n  %j = sin %h\n  %k = floor %x\n  %l = add %i, %j\n  return %l, %k\n}\n",
     FLOATS},
    {"graph f(%x: f32[B,C]) {\n  %y = convert %x {dtype=$}\n  %z = convert %y {dtype=f32}\n"
     "  %a = abs %z\n  %m = reduce %a {kind=max, axes=[0,1]}\n  return %y, %z, %m\n}\n",
     {"f8e4m3", "f8e5m2", "bf16", NULL}},
    {"graph f(%x: $[B,C], %b: $[C]) {\n  %c = broadcast_in_dim %b {shape=[B,C], axes=[1]}\n"
     "  %y = add %x, %c\n  %z = gelu %y\n  return %z\n}\n",
     FLOATS},
    {"graph f(%x: $[B,C]) {\n  %a = reduce %x {kind=sum, axes=[0]}\n"
     "  %b = reduce %x {kind=max, axes=[1]}\n  %c = reduce %x {kind=min, axes=[0,1]}\n"
     "  return %a, %b, %c\n}\n",
     {"f32", "bf16", "f64", "i8", "i64", NULL}},
    {"graph f(%x: $[B,C]) {\n  %y = softmax %x {axis=1}\n  %q = square %y\n"
     "  %s = reduce %q {kind=sum, axes=[0,1]}\n  %dx = gradient %s, %x\n  return %y, %dx\n}\n",
     {"f32", "f64", NULL}},
    {"graph f(%x: $[B,C]) {\n  %y = log_softmax %x {axis=1}\n  %z = softmax %x {axis=0}\n"
     "  return %y, %z\n}\n",
     FLOATS},
    {"graph f(%x: $[B,C], %w: $[C], %b: $[C]) {\n  %y = layer_norm %x, %w, %b\n"
     "  %t = tanh %y\n  %q = reduce %t {kind=sum, axes=[0,1]}\n"
     "  %dx, %dw, %db = gradient %q, %x, %w, %b\n  return %y, %dx, %dw, %db\n}\n",
     FLOATS},
    {"graph f(%x: $[B,C], %w: $[C]) {\n  %y = rms_norm %x, %w\n  return %y\n}\n", FLOATS},
    {"graph f(" NORM_AND_LARGEST("$", "C"), {"f32", "f64", NULL}},
    {"graph f(%x: $[B,C], %l: i64[B]) {\n  %y = cross_entropy %x, %l\n"
     "  %q = reduce %y {kind=sum, axes=[0]}\n  %dx = gradient %q, %x\n  return %q, %dx\n}\n",
     FLOATS},
    {"graph f(%x: $[B,C], %y: $[C,B], %f: $[]) {\n  %t = transpose %x {permutation=[1,0]}\n"
     "  %s = add %t, %y\n  %r = reverse %s {axes=[0]}\n"
     "  %p = pad %r, %f {low=[1,2], high=[3,0], interior=[0,2]}\n  %n = neg %p\n  return %n\n}\n",
     {"f32", "bf16", "i8", "i64", NULL}},
    {"graph f(%x: $[C,B]) {\n  %t = transpose %x {permutation=[1,0]}\n  %a = tanh %t\n"
     "  %q = mul %a, %a\n  return %a, %q\n}\n", /* read again as it is made, in tiles */
     {"f32", "bf16", NULL}},
    {"graph f(%x: $[B,C], %y: $[B,7]) {\n  %c = concat %x, %y, %x {axis=1}\n"
     "  %d = add %c, %c\n  %s = slice %d {starts=[0, 2], limits=[B, C+5], strides=[1,2]}\n"
     "  %t = neg %s\n  return %d, %t\n}\n",
     {"f32", "bf16", NULL}},
    {"graph f(%x: $[B,C], %y: $[B*C]) {\n  %r = reshape %x {shape=[B*C]}\n  %s = add %r, %y\n"
     "  %q = reshape %s {shape=[C,B]}\n  %n = mul %q, %q\n"
     "  %z = reduce %n {kind=sum, axes=[1]}\n  return %n, %z\n}\n",
     {"f32", "bf16", NULL}},
    {"graph f(%x: $[B,C], %s: i64[]) {\n  %i = iota {dtype=$, shape=[B,C], axis=1}\n"
     "  %y = dropout %x, %s {rate=0.25}\n  %b = is_finite %x\n  %z = add %y, %i\n"
     "  %w = select %b, %z, %x\n  return %w, %b\n}\n",
     {"f32", "f64", NULL}},
    {"graph f(%p: $[B,C], %g: $[B,C], %m: $[B,C], %v: $[B,C], %r: $[], %t: $[]) {\n"
     "  %a = square %v\n  %q, %n, %w = adamw %p, %g, %m, %a, %r, %t {decay=0.1}\n"
     "  return %q, %n, %w\n}\n",
     {"f32", "f64", NULL}},
    {"graph f(%x: $[B,C,5,3]) {\n  %a = reduce %x {kind=sum, axes=[0,2,3]}\n"
     "  %b = reduce %x {kind=sum, axes=[1]}\n  %c = reduce %x {kind=max, axes=[2]}\n"
     "  return %a, %b, %c\n}\n",
     {"f32", "bf16", NULL}},
};
static const int64_t sizes_tried[][2] = {{7, 16},    {0, 5},     {5, 0},     {17, 1000}, {1, 3},
                                         {300, 33},  {3, 4096},  {2000, 8},  {40, 999},  {9, 4099},
                                         {2, 20000}, {2, 50257}, {1, 131071}};

static String with_dtype(Arena *arena, const char *text, const char *dtype) {
    Text out = text_begin(arena);
    for (const char *at = text; *at != 0; at++)
        text_add(&out, at[0] == '$' ? str_of(dtype) : (String){at, 1});
    return text_done(&out);
}
static bool check_sizes(Check *c, CudaCheck *check, bool half) {
    for (size_t i = 0; i < LENGTH(sizes_tried); i++) {
        /* rows round sums to 16 bits, kernels do not: too long ones overflow, short ones cancel */
        if (half && (sizes_tried[i][1] > 1000 || sizes_tried[i][1] == 1)) continue;
        ArenaMark mark = arena_mark(c->arena);
        CheckSize sizes[] = {{"B", sizes_tried[i][0]}, {"C", sizes_tried[i][1]}, {NULL, 0}};
        c->seed = i + 1;
        c->specials = i % 3 == 2;
        check->skewed = i % 2 == 1;
        if (!EXPECT(cuda_check_run(c, check, sizes))) {
            check_print(c, sizes);
            return false;
        }
        arena_release(c->arena, mark);
    }
    return true;
}
static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}
TEST(programs_on_cuda) {
    if (!cuda_open()->compiles) SKIP("there is no NVRTC");
    int64_t only = setting("STOA_CASE", -1);
    for (size_t i = 0; i < LENGTH(cases); i++)
        for (uint32_t k = 0; (only < 0 || only == (int64_t)i) && cases[i].dtypes[k] != NULL; k++) {
            if (!cuda_open()->runs && k > 1) break; /* NVRTC takes 0.1 s for each */
            Check     c;
            CudaCheck check;
            ArenaMark mark = arena_mark(arena);
            if (EXPECT(
                    check_open(&c, arena, with_dtype(arena, cases[i].text, cases[i].dtypes[k])))) {
                if (EXPECT(cuda_check_open(&check, &c.runners[FORM_THREADS].loops)))
                    (void)check_sizes(&c, &check, strstr(cases[i].dtypes[k], "f16") != NULL);
                else
                    printf("%.*s\n", STR_ARGS(c.text));
                cuda_check_close(&check);
            } else {
                printf("%s\n%.*s\n", c.problem, STR_ARGS(c.text));
            }
            check_close(&c);
            arena_release(arena, mark);
        }
}

/* Rows that lie in the shared memory of several multiprocessors, or that a cluster goes over. */
TEST(long_rows_on_cuda) {
    static const char *const programs[] = {
        "graph f(%x: f32[B,C]) {\n  %y = softmax %x {axis=1}\n  %q = square %y\n"
        "  %s = reduce %q {kind=sum, axes=[0,1]}\n  %dx = gradient %s, %x\n"
        "  return %y, %dx\n}\n",
        "graph f(%x: f32[B,C], %w: f32[C], %d: f32[B,C]) {\n  %y = rms_norm %x, %w\n"
        "  %t = mul %y, %d\n  %q = reduce %t {kind=sum, axes=[0,1]}\n"
        "  %dx, %dw = gradient %q, %x, %w\n  return %dx, %dw\n}\n",
        "graph f(" NORM_AND_LARGEST("f32", "50257"), "graph f(" NORM_AND_LARGEST("f32", "40960"),
        "graph f(%x: f32[B,20003], %w: f32[20003], %b: f32[20003], %d: f32[B,20003]) {\n"
        "  %y = layer_norm %x, %w, %b\n  %t = mul %y, %d\n"
        "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
        "  %dx, %dw, %db = gradient %q, %x, %w, %b\n  return %dx, %dw, %db\n}\n"};
    CheckSize sizes[] = {{"B", 40}, {"C", 66001}, {NULL, 0}};
    if (!cuda_open()->runs) SKIP("there is no GPU");
    for (size_t i = 0; i < LENGTH(programs); i++) {
        Check     c;
        CudaCheck check;
        EXPECT(check_open(&c, arena, str_of(programs[i])));
        EXPECT(cuda_check_open(&check, &c.runners[FORM_THREADS].loops));
        EXPECT(cuda_check_run(&c, &check, sizes));
        cuda_check_close(&check);
        check_close(&c);
    }
}

/* Teams of a block share rows, which meet in nothing but sums of columns: what is made of a row,
 * results among it, stays with its team. */
TEST(teams_share_rows) {
    Check c;
    EXPECT(check_open(&c, arena, STR("graph f(" NORM_AND_LARGEST("f32", "768"))));
    String text = gpu_emit_text(arena, &c.runners[FORM_THREADS].loops, (KernelId){1});
    EXPECT(strstr(text.data, "#define TEAM 192\n") != NULL);
    EXPECT(strstr(text.data, "#define JOIN 5\n") != NULL);
    check_close(&c);
}

/* What a norm's backward pass adds up of a row waits once: for the mean of its squares. */
TEST(sums_wait_once) {
    Check    c;
    Loops   *loops = &c.runners[FORM_THREADS].loops;
    uint32_t over = 0;
    EXPECT(check_open(&c, arena,
                      STR("graph f(%x: f32[B,768], %w: f32[768], %d: f32[B,768]) {\n"
                          "  %y = rms_norm %x, %w\n  %t = mul %y, %d\n"
                          "  %q = reduce %t {kind=sum, axes=[0,1]}\n"
                          "  %dx, %dw = gradient %q, %x, %w\n  return %dx, %dw\n}\n")));
    uint32_t first = loops->kernels.nodes_first[1], last = first + loops->nodes.size[first];
    EXPECT_EQ(loops->kernels.table.count, 2);
    for (uint32_t row = first; row < last; row++) /* start of columns; sums of a row; results */
        over += loops->nodes.kind[row] == NODE_LOOP && (loops->nodes.bind[row] & BIND_VECTOR);
    EXPECT_EQ(over, 3);
    check_close(&c);
}

/* So do teams where rows are of many tensors, as streams of derivatives are. */
TEST(teams_share_rows_of_many_tensors) {
    Check c;
    Text  text = text_begin(arena);
    text_add(&text, STR("graph f(%x: f32[B,128]"));
    for (uint32_t i = 0; i < 20; i++) text_addf(&text, ", %%x%u: f32[B,128]", i);
    text_add(&text, STR(") {\n  %y0 = mul %x, %x0\n"));
    for (uint32_t i = 1; i < 20; i++) text_addf(&text, "  %%y%u = mul %%y%u, %%x%u\n", i, i - 1, i);
    text_add(&text, STR("  %s = reduce %y19 {kind=sum, axes=[0]}\n  return %y19, %s\n}\n"));
    EXPECT(check_open(&c, arena, text_done(&text)));
    String emitted = gpu_emit_text(arena, &c.runners[FORM_THREADS].loops, (KernelId){1});
    EXPECT(strstr(emitted.data, "#define V 2\n") != NULL);
    EXPECT(strstr(emitted.data, "#define HELD 1\n") != NULL);
    EXPECT(strstr(emitted.data, "#define JOIN 8\n") != NULL);
    check_close(&c);
}

/* Sums of small tensors share launches, and what starts them is none of its own. */
TEST(small_sums_share_launches) {
    Check  c;
    Loops *loops = &c.runners[FORM_THREADS].loops;
    EXPECT(check_open(&c, arena,
                      STR("graph f(%x: f32[700,800], %y: f32[700,800]) {\n"
                          "  %a = reduce %x {kind=sum, axes=[0,1]}\n"
                          "  %b = reduce %y {kind=sum, axes=[0,1]}\n  return %a, %b\n}\n")));
    EXPECT_EQ(loops->kernels.table.count, 2);
    String text = gpu_emit_text(arena, loops, (KernelId){1});
    EXPECT(strstr(text.data, "NAME phase1\n") != NULL &&
           strstr(text.data, "NAME phase2\n") == NULL);
    check_close(&c);
}

enum { OPERATORS_MAX = 24, SIZES_PER_PROGRAM = 3 };
TEST(random_programs_on_cuda) {
    static const int64_t sizes_random[] = {0, 1, 2, 3, 7, 16, 17, 40};
    if (!cuda_open()->compiles) SKIP("there is no NVRTC");
    uint64_t first = (uint64_t)setting("STOA_SEED", 1);
    uint64_t count = (uint64_t)setting("STOA_SEEDS", cuda_open()->runs ? 40 : 8);
    for (uint64_t seed = first; seed < first + count; seed++) {
        Check     c;
        CudaCheck check;
        ArenaMark mark = arena_mark(arena);
        CheckSize sizes[] = {{"B", 0}, {"C", 0}, {"D", 0}, {NULL, 0}};
        String    text = random_program(arena, seed, OPERATORS_MAX);
        bool      good = EXPECT(check_open(&c, arena, text));
        if (strstr(text.data, "f16") != NULL) c.rel = 0.15;
        good = good && EXPECT(cuda_check_open(&check, &c.runners[FORM_THREADS].loops));
        for (uint32_t i = 0; i < SIZES_PER_PROGRAM && good; i++) {
            for (uint32_t k = 0; k < 3; k++)
                sizes[k].size =
                    sizes_random[check_draw(seed * 8 + i, 1000 + k, LENGTH(sizes_random))];
            c.seed = seed * 8 + i;
            good = EXPECT(cuda_check_run(&c, &check, sizes));
        }
        if (!good) {
            printf(" seed %llu\n", (unsigned long long)seed);
            check_print(&c, sizes);
        }
        cuda_check_close(&check);
        check_close(&c);
        arena_release(arena, mark);
    }
}

/* All graphs of a model: kernels compile, whole composites expanded. */
static void check_model(Arena *arena, StoaProgram *program) {
    Runner    runner;
    CudaCheck check;
    Check     targets;
    World    *world = program->world;
    check_targets(&targets);
    runner_open(&runner, world, &targets.threads);
    bool good = EXPECT(runner_compile(&runner));
    if (!good) printf("%.*s", STR_ARGS(text_diags(arena, world, &world->diags)));
    if (good) {
        EXPECT(cuda_check_open(&check, &runner.loops));
        EXPECT(runner.loops.kernels.table.count > 10);
        cuda_check_close(&check);
    }
    runner_close(&runner);
}
TEST(models_on_cuda) {
    if (!cuda_open()->compiles) SKIP("there is no NVRTC");
    StoaContext *context;
    StoaProgram *program;
    GptConfig    gpt = model_gpt_preset();
    LenetConfig  lenet = model_lenet_preset();
    gpt.dropout = 0.1;
    REQUIRE(EXPECT_EQ(stoa_context_create(NULL, &context), STOA_OK));
    REQUIRE(EXPECT_EQ(stoa_program_create(context, &program), STOA_OK));
    EXPECT_EQ(model_gpt_build(program, &gpt), STOA_OK);
    check_model(arena, program);
    stoa_program_destroy(program);
    REQUIRE(EXPECT_EQ(stoa_program_create(context, &program), STOA_OK));
    EXPECT_EQ(model_lenet_build(program, &lenet), STOA_OK);
    check_model(arena, program);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}
