// Sessions of graphs with sizes that data decides: the same inputs' shapes, other data, so one plan
// and other sizes; on compiled kernels, on those of the library, and in the interpreter.
#include <stdio.h>
#include <string.h>

#include "api/session.h"

#include "harness.h"
#include "stoa/stoa.h"

enum { ROWS = 300, COLUMNS = 3 };

typedef struct Late {
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
} Late;
static Late late_open(const char *text, int mode) { // 0 compiled, 1 library, 2 interpreter
    StoaContextOptions context = STOA_CONTEXT_OPTIONS;
    StoaCompileOptions compile = STOA_COMPILE_OPTIONS;
    Late               late = {0};
    context.lanes = 2;
    compile.no_fusion = mode == 1;
    compile.interpreter = mode == 2;
    EXPECT(stoa_context_create(&context, &late.context) == STOA_OK);
    bool made =
        stoa_program_parse(late.context, text, strlen(text), "test", &late.program) == STOA_OK &&
        stoa_compile(late.program, &compile, &late.session) == STOA_OK;
    if (!EXPECT(made)) printf("\n%s\n", stoa_message(late.context));
    return late;
}
static void late_close(Late *late) {
    stoa_session_destroy(late->session);
    stoa_program_destroy(late->program);
    stoa_context_destroy(late->context);
}

static const char kept_text[] = "graph kept(%x: f32[M,3], %m: bool[M]) {\n"
                                "  %rows, %n = compact %m, %x {size=N}\n"
                                "  %twice = add %rows, %rows\n"
                                "  %turned = transpose %twice {permutation=[1,0]}\n"
                                "  %sums = reduce %turned {kind=sum, axes=[0]}\n"
                                "  %zero = constant {value=f32 0}\n"
                                "  %zeros = broadcast_in_dim %zero {shape=[N]}\n"
                                "  %high = compare %sums, %zeros {direction=gt}\n"
                                "  %which = iota {dtype=i64, shape=[N], axis=0}\n"
                                "  %places, %k = compact %high, %which {size=K}\n"
                                "  %square = iota {dtype=i32, shape=[K,N], axis=1}\n"
                                "  %all = reduce %x {kind=sum, axes=[0,1]}\n"
                                "  return %turned, %places, %square, %k, %all {names="
                                "[\"turned\", \"places\", \"square\", \"k\", \"all\"]}\n"
                                "}\n";

typedef struct Kept { // what it must give, computed here
    float   turned[COLUMNS * ROWS], all;
    int64_t places[ROWS], n, k;
} Kept;
static Kept expect_kept(const float *x, const bool *mask, int64_t rows) {
    Kept    want = {.n = 0};
    int64_t at = 0;
    for (int64_t row = 0; row < rows; row++) want.n += mask[row];
    for (int64_t row = 0; row < rows; row++) {
        float sum = 0;
        for (int64_t i = 0; i < COLUMNS; i++) want.all += x[row * COLUMNS + i];
        if (!mask[row]) continue;
        for (int64_t i = 0; i < COLUMNS; i++) {
            want.turned[i * want.n + at] = 2 * x[row * COLUMNS + i];
            sum += 2 * x[row * COLUMNS + i];
        }
        if (sum > 0) want.places[want.k++] = at;
        at++;
    }
    return want;
}
static void run_kept(Arena *arena, Late *late, int64_t rows, uint32_t seed) {
    float   *x = ARENA_ARRAY(arena, float, rows *COLUMNS + 1), all;
    bool    *mask = ARENA_ARRAY(arena, bool, rows + 1);
    uint32_t share = seed % 5; // in quarters: none to all
    for (int64_t i = 0; i < rows * COLUMNS; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)((int)(seed >> 20) % 9 - 4);
        mask[i / COLUMNS] = (seed >> 8) % 4 < share;
    }
    Kept       want = expect_kept(x, mask, rows);
    int64_t    k, *places = ARENA_ARRAY(arena, int64_t, want.k + 1); // no more than is there
    float     *turned = ARENA_ARRAY(arena, float, want.n *COLUMNS + 1);
    int32_t   *square = ARENA_ARRAY(arena, int32_t, want.n * want.k + 1);
    StoaTensor in[] = {{STOA_F32, 2, {rows, COLUMNS}, x}, {STOA_BOOL, 1, {rows}, mask}};
    StoaTensor out[] = {
        {.data = turned}, {.data = places}, {.data = square}, {.data = &k}, {.data = &all}};
    turned[want.n * COLUMNS] = 77;
    REQUIRE(stoa_run(late->session, "kept", in, 2, out, 5, NULL) == STOA_OK);
    EXPECT_EQ(out[0].shape[1], want.n);
    EXPECT_EQ(out[1].shape[0], want.k);
    EXPECT(out[2].shape[0] == want.k && out[2].shape[1] == want.n);
    EXPECT_EQ(k, want.k);
    EXPECT(memcmp(turned, want.turned, sizeof *turned * (size_t)(want.n * COLUMNS)) == 0);
    EXPECT(turned[want.n * COLUMNS] == 77);
    EXPECT(memcmp(places, want.places, sizeof *places * (size_t)want.k) == 0);
    EXPECT(all == want.all);
    for (int64_t i = 0; i < want.k * want.n; i++) EXPECT_EQ(square[i], i % want.n);
}
TEST(late_sizes_follow_data) {
    static const int64_t rows[] = {7, 0, 1, ROWS, 64};
    for (int mode = 0; mode < 3; mode++) {
        Late late = late_open(kept_text, mode);
        for (uint32_t seed = 0; seed < 12; seed++)
            for (size_t i = 0; i < LENGTH(rows); i++) run_kept(arena, &late, rows[i], seed + 10);
        late_close(&late);
    }
}

// A size that is known already must be what data says; state stays what it was.
TEST(late_sizes_may_contradict) {
    static const char text[] = "graph g(%x: f32[3], %m: bool[5], %y: f32[N]) {\n"
                               "  %p = parameter {name=\"p\", type=f32[3]}\n"
                               "  %q = add %p, %x\n"
                               "  assign %p, %q\n"
                               "  %i = iota {dtype=f32, shape=[5], axis=0}\n"
                               "  %kept, %n = compact %m, %i {size=N}\n"
                               "  %sum = add %kept, %y\n"
                               "  return %sum\n"
                               "}\n";
    (void)arena;
    for (int mode = 0; mode < 3; mode++) {
        Late       late = late_open(text, mode);
        float      x[3] = {1, 2, 3}, y[5] = {10, 20, 30, 40, 50}, sum[5], p[3];
        bool       mask[5] = {true, false, true, false, true};
        StoaTensor in[] = {{STOA_F32, 1, {3}, x}, {STOA_BOOL, 1, {5}, mask}, {STOA_F32, 1, {3}, y}};
        StoaTensor out = {.data = sum}, state = {.data = p};
        EXPECT(stoa_run(late.session, "g", in, 3, &out, 1, NULL) == STOA_OK);
        EXPECT(out.shape[0] == 3 && sum[0] == 10 && sum[1] == 22 && sum[2] == 34);
        for (int64_t n = 2; n < 6; n += 2) {
            in[2].shape[0] = n;
            EXPECT(stoa_run(late.session, "g", in, 3, &out, 1, NULL) == STOA_INVALID);
            EXPECT(strstr(stoa_message(late.context), diag_infos[DIAG_INPUT_FACT].code) != NULL);
            EXPECT(strstr(stoa_message(late.context), "must be 3, as data says") != NULL);
        }
        in[2].shape[0] = 3;
        EXPECT(stoa_run(late.session, "g", in, 3, &out, 1, NULL) == STOA_OK);
        EXPECT(stoa_state_get(late.session, "p", &state) == STOA_OK);
        EXPECT(p[0] == 2 && p[1] == 4 && p[2] == 6);
        late_close(&late);
    }
}
TEST(late_sizes_keep_their_bounds) {
    static const char text[] = "dim R range=..6\n"
                               "graph g(%s: i64[1]) {\n"
                               "  %one = constant {value=f32 1}\n"
                               "  %y = dynamic_broadcast %one, %s {dims=[R]}\n"
                               "  return %y\n"
                               "}\n";
    (void)arena;
    for (int mode = 0; mode < 3; mode++) {
        Late       late = late_open(text, mode);
        float      y[6];
        int64_t    size = 6;
        StoaTensor in = {STOA_I64, 1, {1}, &size}, out = {.data = y};
        for (; size >= 0; size -= 3) {
            EXPECT(stoa_run(late.session, "g", &in, 1, &out, 1, NULL) == STOA_OK);
            EXPECT_EQ(out.shape[0], size);
        }
        EXPECT(stoa_run(late.session, "g", &in, 1, &out, 1, NULL) == STOA_INVALID); // -3
        size = 7;
        EXPECT(stoa_run(late.session, "g", &in, 1, &out, 1, NULL) == STOA_INVALID);
        EXPECT(strstr(stoa_message(late.context), diag_infos[DIAG_INPUT_FACT].code) != NULL);
        late_close(&late);
    }
}
TEST(late_sizes_come_before_their_use) {
    static const char text[] = "graph g(%m: bool[M]) {\n"
                               "  %i = iota {dtype=f32, shape=[N,N], axis=0}\n"
                               "  %s = reduce %i {kind=sum, axes=[0]}\n"
                               "  %t = sort %s {axis=0}\n"
                               "  %c, %n = compact %m, %m {size=N}\n"
                               "  return %t\n"
                               "}\n";
    (void)arena;
    for (int mode = 0; mode < 3; mode++) {
        Late       late = late_open(text, mode);
        bool       mask[2] = {true, true};
        StoaTensor in = {STOA_BOOL, 1, {2}, mask}, out = {0};
        EXPECT(stoa_run(late.session, "g", &in, 1, &out, 1, NULL) == STOA_INVALID);
        EXPECT(strstr(stoa_message(late.context), diag_infos[DIAG_DIM_EARLY].code) != NULL);
        late_close(&late);
    }
}
