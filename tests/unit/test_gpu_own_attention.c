/* Attention of our own on the stand-in driver: which problems it takes, how teams and groups are
 * chosen, that every call's failure is passed on. Its numbers are shown on a device (tests/gpu). */
#define _GNU_SOURCE
#include "gpu/own_attention.h"

#include "fake_gpu.h"

static GpuAttention problem(int64_t batch, int64_t heads, int64_t length) {
    GpuHeads by = {length * heads * 64, 64, heads * 64};
    return (GpuAttention){.batch = batch,
                          .heads = heads,
                          .heads_kv = heads,
                          .queries = length,
                          .keys = length,
                          .width = 64,
                          .q = by,
                          .k = by,
                          .v = by,
                          .o = by,
                          .d_o = by,
                          .dq = by,
                          .dk = by,
                          .dv = by,
                          .dtype = DTYPE_BF16,
                          .causal = true};
}
static bool bind(FakeGpu *f, Arena *arena) {
    if (!fake_gpu_bind(f, arena)) return false;
    gpu_libs_close(f->libs);
    f->libs = gpu_libs_open(arena, STR(STOA_FAKES "/driver:" STOA_FAKES "/compiler"));
    return gpu_open(arena, f->libs, 0, &f->diags, &f->gpu) == STATUS_OK;
}

TEST(own_attention_takes_what_its_kernel_can_do) {
    GpuInfo      hopper = {.major = 9, .shared_bytes_per_block = 232448}, older = hopper;
    GpuAttention p = problem(2, 12, 1024), q = p;
    older.major = 8;
    EXPECT(gpu_own_attention_takes(&hopper, &p) && !gpu_own_attention_takes(&older, &p));
    q.causal = false, q.scale = 0.5f;
    EXPECT(gpu_own_attention_takes(&hopper, &q));
    q.scale = -1;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = p, q.dtype = DTYPE_F16;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = p, q.heads_kv = 4;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = p, q.width = 128;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = problem(2, 12, 1000);
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = p, q.lengths = true;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = p, q.queries = 128;
    EXPECT(!gpu_own_attention_takes(&hopper, &q));
    q = problem(2, 12, 8192); /* cuDNN's forward is faster */
    EXPECT(gpu_own_attention_takes(&hopper, &q) && !gpu_own_attention_wins(&hopper, &q, false));
    EXPECT(gpu_own_attention_wins(&hopper, &q, true) && gpu_own_attention_wins(&hopper, &p, false));
    EXPECT(!gpu_own_attention_wins(&older, &p, false));
}

/* Every block of keys has one owner, and teams fit on the device at once. */
TEST(own_attention_chooses_teams) {
    static const struct {
        int64_t  heads, length;
        uint32_t team;
    } rows[] = {{384, 1024, 4}, {384, 512, 2}, {384, 128, 1}, {12, 2048, 8},
                {8, 16384, 16}, {384, 384, 1}, {1, 16384, 64}};
    FakeGpu f;
    REQUIRE(bind(&f, arena));
    for (size_t i = 0; i < LENGTH(rows); i++) {
        GpuAttention    p = problem(1, rows[i].heads, rows[i].length);
        GpuOwnAttention a;
        REQUIRE(gpu_own_attention_open(f.gpu, NULL, &p, true, &f.diags, &a) == STATUS_OK);
        EXPECT_EQ(a.team, rows[i].team);
        EXPECT(a.team * a.teams <= 132 && a.teams >= 1);
        EXPECT(a.workspace_bytes > 0 && a.sums_at < a.flags_at && a.flags_at < a.workspace_bytes);
        gpu_own_attention_close(&a);
    }
    fake_gpu_close(&f);
}

/* Heads by groups of about 20 MB of keys and values, all of like sizes. */
TEST(own_attention_chooses_groups) {
    static const struct {
        int64_t  heads, length;
        uint32_t group;
    } rows[] = {{384, 1024, 77}, {200, 1024, 67}, {16, 8192, 8}, {12, 128, 12}, {2, 1 << 18, 1}};
    FakeGpu f;
    REQUIRE(bind(&f, arena));
    for (size_t i = 0; i < LENGTH(rows); i++) {
        GpuAttention    p = problem(1, rows[i].heads, rows[i].length);
        GpuOwnAttention a;
        REQUIRE(gpu_own_attention_open(f.gpu, NULL, &p, false, &f.diags, &a) == STATUS_OK);
        EXPECT_EQ(a.group, rows[i].group);
        EXPECT_EQ(a.workspace_bytes, 0);
        gpu_own_attention_close(&a);
    }
    fake_gpu_close(&f);
}

static void check_failures(Arena *arena, bool backward) {
    GpuAttention     p = problem(2, 3, 256);
    GpuAttentionArgs args = {.q = 1 << 12, .k = 1 << 13, .v = 1 << 14, .d_o = 1 << 15};
    FakeGpu          f;
    GpuStream        stream;
    GpuOwnAttention  a;
    REQUIRE(bind(&f, arena));
    REQUIRE(gpu_stream_open(f.gpu, &f.diags, &stream) == STATUS_OK);
    REQUIRE(gpu_own_attention_open(f.gpu, NULL, &p, backward, &f.diags, &a) == STATUS_OK);
    EXPECT_EQ(gpu_own_attention_run(&a, &args, stream, &f.diags), STATUS_OK);
    EXPECT_EQ(f.diags.errors, 0);
    for (unsigned nth = 1; nth <= (backward ? 4 : 3); nth++) { /* a map each of q, k, v, d_o */
        f.fake->fail("cuTensorMapEncodeTiled", nth, 1);
        EXPECT(gpu_own_attention_run(&a, &args, stream, &f.diags) != STATUS_OK);
        f.fake->fail("cuTensorMapEncodeTiled", 0, 0);
    }
    args.v = (1 << 14) + 8; /* copies need multiples of 16 bytes */
    EXPECT(gpu_own_attention_run(&a, &args, stream, &f.diags) != STATUS_OK);
    EXPECT(diags_say(&f.diags, DIAG_GPU_CALL, "cuTensorMapEncodeTiled"));
    gpu_own_attention_close(&a);
    gpu_stream_close(&stream);
    fake_gpu_close(&f);
}
TEST(own_attention_passes_failures_on) {
    check_failures(arena, false);
    check_failures(arena, true);
}
