/* The runtime on the stand-in driver: devices, memory, staging, launches and graphs do what they
 * say, give everything back, and survive the failure of every single call. */
#define _GNU_SOURCE
#include "fake_gpu.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* --- device and memory ------------------------------------------------------------------------ */

TEST(gpu_opens_and_tells_facts) {
    FakeGpu f;
    REQUIRE(fake_gpu_open(&f, arena));
    EXPECT_STR(f.gpu->info.name, "Stand-in");
    EXPECT_STR(f.gpu->info.arch, "sm_90a");
    EXPECT_EQ(f.gpu->info.multiprocessors, 132);
    EXPECT_EQ(f.gpu->info.driver, 130000);
    EXPECT_NEAR(f.gpu->info.bandwidth, 3.35232e12, 1e-9);
    EXPECT_EQ(gpu_count(f.libs), 1);
    fake_gpu_close(&f);
}

TEST(gpu_refuses_devices_it_cannot_use) {
    FakeGpu f;
    REQUIRE(fake_gpu_bind(&f, arena));
    EXPECT_EQ(gpu_open(arena, f.libs, 3, &f.diags, &f.gpu), STATUS_NOT_FOUND);
    EXPECT(f.gpu == NULL && diags_say(&f.diags, DIAG_GPU_DEVICE, "fewer GPUs"));
    f.fake->fact(ABI_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 7);
    EXPECT_EQ(gpu_open(arena, f.libs, 0, &f.diags, &f.gpu), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&f.diags, DIAG_GPU_DEVICE, "Stand-in has compute capability 7.0"));
    f.fake->fail("cuInit", 1, ABI_CUDA_ERROR_NO_DEVICE);
    EXPECT_EQ(gpu_open(arena, f.libs, 0, &f.diags, &f.gpu), STATUS_NOT_FOUND);
    EXPECT(diags_say(&f.diags, DIAG_GPU_DEVICE, "has no GPU"));
    fake_gpu_close(&f);
}

TEST(gpu_arenas_grow_without_moving) {
    FakeGpu  f;
    GpuArena state = {0};
    CuPtr    first, second;
    REQUIRE(fake_gpu_open(&f, arena));
    REQUIRE(gpu_arena_open(f.gpu, "state", 100, 32 * MIB, &f.diags, &state) == STATUS_OK);
    CuPtr base = state.base;
    EXPECT_EQ(state.bytes, 64 * KIB); /* one granule */
    EXPECT_EQ(gpu_push(&state, 3, 1, &f.diags, &first), STATUS_OK);
    EXPECT_EQ(gpu_push(&state, 10 * MIB, 256, &f.diags, &second), STATUS_OK);
    EXPECT_EQ(first, base);
    EXPECT_EQ(second, base + 256);
    EXPECT_EQ(state.base, base);
    EXPECT(state.bytes >= 10 * MIB + 256 && state.bytes < 11 * MIB);
    EXPECT_EQ(f.gpu->bytes, state.bytes);
    gpu_release(&state, 256);
    EXPECT_EQ(gpu_push(&state, 1, 1, &f.diags, &second), STATUS_OK);
    EXPECT_EQ(second, base + 256);
    EXPECT_EQ(state.used_peak, 10 * MIB + 256);
    /* Many small pushes commit in few chunks. */
    unsigned before = f.fake->calls("cuMemCreate");
    for (uint32_t i = 0; i < 1000; i++)
        EXPECT_EQ(gpu_push(&state, 10 * KIB, 256, &f.diags, &second), STATUS_OK);
    EXPECT(f.fake->calls("cuMemCreate") - before <= 2);
    gpu_arena_close(&state);
    EXPECT_EQ(f.gpu->bytes, 0);
    EXPECT(f.gpu->bytes_peak > 10 * MIB);
    fake_gpu_close(&f);
}

TEST(gpu_arenas_without_mapping_take_all_at_once) {
    FakeGpu  f;
    GpuArena plan = {0};
    REQUIRE(fake_gpu_bind(&f, arena));
    f.fake->fact(ABI_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0);
    REQUIRE(gpu_open(arena, f.libs, 0, &f.diags, &f.gpu) == STATUS_OK);
    EXPECT_EQ(gpu_arena_open(f.gpu, "plan", 5 * MIB, 40 * MIB, &f.diags, &plan), STATUS_OK);
    EXPECT_EQ(plan.bytes, 6 * MIB);
    EXPECT_EQ(gpu_arena_grow(&plan, 7 * MIB, &f.diags), STATUS_OUT_OF_MEMORY);
    EXPECT_EQ(f.fake->calls("cuMemCreate"), 0);
    gpu_arena_close(&plan);
    fake_gpu_close(&f);
}

TEST(gpu_out_of_memory_tells_who_holds_what) {
    FakeGpu  f;
    GpuArena state = {0}, plan = {0};
    REQUIRE(fake_gpu_open(&f, arena));
    f.fake->limit(16 * MIB);
    REQUIRE(gpu_arena_open(f.gpu, "state", 9 * MIB, 64 * MIB, &f.diags, &state) == STATUS_OK);
    EXPECT_EQ(gpu_arena_open(f.gpu, "plan of step", 8 * MIB, 64 * MIB, &f.diags, &plan),
              STATUS_OUT_OF_MEMORY);
    EXPECT_EQ(plan.base, 0);
    REQUIRE(diags_of(&f.diags, DIAG_GPU_MEMORY) == 1);
    EXPECT(diags_say(&f.diags, DIAG_GPU_MEMORY, "Stand-in"));
    EXPECT(diags_say(&f.diags, DIAG_GPU_MEMORY, "plan of step"));
    EXPECT(diags_say(&f.diags, DIAG_GPU_HELD, "state"));
    EXPECT_EQ(f.diags.rows.arg1[1], 8 * MIB); /* asked for */
    EXPECT_EQ(f.diags.rows.arg3[1], 7 * MIB); /* free */
    /* What there was is untouched, and less does fit. */
    EXPECT_EQ(gpu_arena_grow(&state, 10 * MIB, &f.diags), STATUS_OK);
    EXPECT_EQ(gpu_arena_open(f.gpu, "plan of step", 6 * MIB, 64 * MIB, &f.diags, &plan), STATUS_OK);
    String table = gpu_memory_text(arena, f.gpu);
    EXPECT(strstr(table.data, "plan of step") != NULL && strstr(table.data, "16.0") != NULL);
    gpu_arena_close(&plan);
    /* A limit of our own counts as well. */
    f.gpu->bytes_max = 12 * MIB;
    EXPECT_EQ(gpu_arena_grow(&state, 13 * MIB, &f.diags), STATUS_OUT_OF_MEMORY);
    EXPECT_EQ(gpu_arena_grow(&state, 12 * MIB, &f.diags), STATUS_OK);
    gpu_arena_close(&state);
    fake_gpu_close(&f);
}

/* --- staging ---------------------------------------------------------------------------------- */

TEST(gpu_staging_moves_any_amount_both_ways) {
    FakeGpu    f;
    GpuArena   memory = {0};
    GpuStaging staging = {0};
    GpuStream  stream = {0};
    CuPtr      at;
    REQUIRE(fake_gpu_open(&f, arena));
    REQUIRE(gpu_stream_open(f.gpu, &f.diags, &stream) == STATUS_OK);
    REQUIRE(gpu_arena_open(f.gpu, "m", MIB, MIB, &f.diags, &memory) == STATUS_OK);
    REQUIRE(gpu_staging_open(f.gpu, 1000, &f.diags, &staging) == STATUS_OK);
    static const uint64_t sizes[] = {0, 1, 999, 1000, 1001, 4000, 4001, 7999, 123457};
    uint8_t              *from = arena_push(arena, 123457, 1), *back = arena_push(arena, 123457, 1);
    for (uint32_t i = 0; i < 123457; i++) from[i] = (uint8_t)(i * 31 + i / 7);
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        memset(back, 0, 123457);
        gpu_release(&memory, 0);
        EXPECT_EQ(gpu_push(&memory, sizes[i], 1, &f.diags, &at), STATUS_OK);
        EXPECT_EQ(gpu_staging_copy_in(&staging, at, from, sizes[i], (GpuEvent){0}, &f.diags),
                  STATUS_OK);
        EXPECT_EQ(gpu_staging_join(&staging, stream, &f.diags), STATUS_OK);
        EXPECT_EQ(gpu_staging_copy_out(&staging, stream, back, at, sizes[i], &f.diags), STATUS_OK);
        EXPECT_EQ(memcmp(from, back, sizes[i]), 0);
        EXPECT_EQ(sizes[i] < 123457 ? back[sizes[i]] : 0, 0);
    }
    gpu_staging_close(&staging);
    gpu_stream_close(&stream);
    gpu_arena_close(&memory);
    fake_gpu_close(&f);
}

/* --- launches and graphs ---------------------------------------------------------------------- */

typedef struct Bench { /* a device with eight words and the kernels of the stand-in */
    FakeGpu   f;
    GpuArena  memory;
    GpuStream stream;
    GpuModule module;
    GpuKernel set, add, count_down, test;
    CuPtr     words;
} Bench;

static Status bench_open(Bench *b, Arena *arena) {
    Diags *diags = &b->f.diags;
    Gpu   *gpu = b->f.gpu;
    (void)arena;
    Status status = gpu_stream_open(gpu, diags, &b->stream);
    if (status == STATUS_OK) status = gpu_arena_open(gpu, "b", KIB, KIB, diags, &b->memory);
    if (status == STATUS_OK) status = gpu_push(&b->memory, 64, 64, diags, &b->words);
    if (status == STATUS_OK)
        status = gpu_module_open(gpu, "fake", STR(FAKE_IMAGE), diags, &b->module);
    if (status == STATUS_OK) status = gpu_module_kernel(&b->module, "set", diags, &b->set);
    if (status == STATUS_OK) status = gpu_module_kernel(&b->module, "add", diags, &b->add);
    if (status == STATUS_OK)
        status = gpu_module_kernel(&b->module, "count_down", diags, &b->count_down);
    if (status == STATUS_OK) status = gpu_module_kernel(&b->module, "word", diags, &b->test);
    if (status == STATUS_OK) status = gpu_fill(b->stream, b->words, 0, 64, diags);
    return status;
}
static void bench_close(Bench *b) {
    gpu_module_close(&b->module);
    gpu_arena_close(&b->memory);
    gpu_stream_close(&b->stream);
}
static uint32_t  word(const Bench *b, uint32_t i) { return ((uint32_t *)(uintptr_t)b->words)[i]; }
static CuPtr     at_word(const Bench *b, uint32_t i) { return b->words + 4 * i; }
static GpuLaunch launch_of(GpuKernel kernel, const void *args, size_t bytes) {
    return (GpuLaunch){.kernel = kernel,
                       .grid = {1, 1, 1},
                       .block = {32, 1, 1},
                       .args = args,
                       .args_bytes = (uint32_t)bytes};
}

TEST(gpu_launches_with_packed_arguments) {
    Bench b = {0};
    REQUIRE(fake_gpu_open(&b.f, arena) && bench_open(&b, arena) == STATUS_OK);
    FakeSet   args = {b.words, 7, 3};
    GpuLaunch launch = launch_of(b.set, &args, sizeof args);
    EXPECT_EQ(gpu_launch(b.stream, &launch, &b.f.diags), STATUS_OK);
    EXPECT(word(&b, 0) == 7 && word(&b, 2) == 7 && word(&b, 3) == 0);
    EXPECT_EQ(b.set.registers, 32);
    GpuKernel none;
    EXPECT_EQ(gpu_module_kernel(&b.module, "absent", &b.f.diags, &none), STATUS_DEVICE);
    EXPECT(diags_say(&b.f.diags, DIAG_GPU_CALL, "absent"));
    launch.grid[0] = 0;
    EXPECT_EQ(gpu_launch(b.stream, &launch, &b.f.diags), STATUS_DEVICE);
    EXPECT(diags_say(&b.f.diags, DIAG_GPU_CALL, "cuLaunchKernelEx"));
    bench_close(&b);
    fake_gpu_close(&b.f);
}

static GpuNode fill_of(CuPtr into, uint32_t value) {
    return (GpuNode){
        .kind = GPU_NODE_FILL, .into = into, .value = value, .element_bytes = 4, .count = 1};
}
static GpuNode copy_of(CuPtr into, CuPtr from) {
    return (GpuNode){.kind = GPU_NODE_COPY, .into = into, .from = from, .bytes = 4};
}
static Status record_set(void *context, GpuStream stream, Diags *diags) {
    return gpu_launch(stream, context, diags);
}

TEST(gpu_graphs_run_nodes_after_their_dependencies) {
    Bench    b = {0};
    GpuGraph graph = {0};
    CuGraph  child;
    REQUIRE(fake_gpu_open(&b.f, arena) && bench_open(&b, arena) == STATUS_OK);
    Diags    *diags = &b.f.diags;
    FakeSet   five = {at_word(&b, 0), 5, 1}, nine = {at_word(&b, 5), 9, 1};
    FakeAdd   sum = {at_word(&b, 1), at_word(&b, 0), 1}, more = {at_word(&b, 1), at_word(&b, 5), 1};
    GpuLaunch captured = launch_of(b.set, &nine, sizeof nine);
    REQUIRE(gpu_capture(b.stream, record_set, &captured, diags, &child) == STATUS_OK);
    EXPECT_EQ(word(&b, 5), 0); /* recorded, not run */
    static const uint32_t after_two[] = {0, 1}, after_all[] = {2, 3};
    const GpuNode         nodes[] = {
                {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.set, &five, sizeof five)},
                {.kind = GPU_NODE_FILL,
                 .after = after_two,
                 .after_count = 0,
                 .into = at_word(&b, 1),
                 .value = 1,
                 .element_bytes = 4,
                 .count = 1},
                {.kind = GPU_NODE_KERNEL,
                 .after = after_two,
                 .after_count = 2,
                 .launch = launch_of(b.add, &sum, sizeof sum)},
                {.kind = GPU_NODE_CHILD, .after = after_two, .after_count = 0, .child = child},
                {.kind = GPU_NODE_JOIN, .after = after_all, .after_count = 2},
                {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.add, &more, sizeof more)},
                copy_of(at_word(&b, 3), at_word(&b, 1))};
    EXPECT_EQ(gpu_graph_begin(b.f.gpu, diags, &graph), STATUS_OK);
    EXPECT_EQ(gpu_graph_add(&graph, arena, (GpuNodes){nodes, LENGTH(nodes)}, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_finish(&graph, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_launch(&graph, b.stream, diags), STATUS_OK);
    EXPECT_EQ(word(&b, 3), 1 + 5 + 9);
    /* Other arguments of one node, and of all by another graph of the same structure. */
    five.value = 100;
    EXPECT_EQ(gpu_graph_update(&graph, 0, &nodes[0], diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_launch(&graph, b.stream, diags), STATUS_OK);
    EXPECT_EQ(word(&b, 3), 1 + 100 + 9);
    GpuGraph other = {0}, shorter = {0};
    bool     same = false;
    five.value = 1000;
    EXPECT_EQ(gpu_graph_begin(b.f.gpu, diags, &other), STATUS_OK);
    EXPECT_EQ(gpu_graph_add(&other, arena, (GpuNodes){nodes, LENGTH(nodes)}, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_become(&graph, &other, diags, &same), STATUS_OK);
    EXPECT(same);
    EXPECT_EQ(gpu_graph_launch(&graph, b.stream, diags), STATUS_OK);
    EXPECT_EQ(word(&b, 3), 1 + 1000 + 9);
    EXPECT_EQ(gpu_graph_begin(b.f.gpu, diags, &shorter), STATUS_OK);
    EXPECT_EQ(gpu_graph_add(&shorter, arena, (GpuNodes){nodes, 1}, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_become(&graph, &shorter, diags, &same), STATUS_OK);
    EXPECT(!same);
    EXPECT_EQ(b.f.diags.errors, 0);
    gpu_graph_close(&graph);
    gpu_graph_close(&other);
    gpu_graph_close(&shorter);
    gpu_capture_close(b.f.gpu, child);
    bench_close(&b);
    fake_gpu_close(&b.f);
}

/* while (--n) { sum += step; if (flag) marks += one }; calls: graphs that one run launches. */
static void branch_and_loop(Arena *arena, int driver, GpuConditions conditions, unsigned calls) {
    Bench       b = {0};
    GpuGraph    graph = {0};
    CuCondition loop, branch;
    REQUIRE(fake_gpu_bind(&b.f, arena));
    fake_gpu_version(&b.f, driver);
    REQUIRE(gpu_open(arena, b.f.libs, 0, &b.f.diags, &b.f.gpu) == STATUS_OK);
    REQUIRE(bench_open(&b, arena) == STATUS_OK);
    Diags *diags = &b.f.diags;
    EXPECT_EQ(b.f.gpu->info.conditions, conditions);
    REQUIRE(gpu_graph_begin(b.f.gpu, diags, &graph) == STATUS_OK);
    REQUIRE(gpu_graph_condition(&graph, 1, diags, &loop) == STATUS_OK);
    REQUIRE(gpu_graph_condition(&graph, 0, diags, &branch) == STATUS_OK);
    FakeAdd       sum = {at_word(&b, 1), at_word(&b, 2), 1};
    FakeAdd       mark = {at_word(&b, 3), at_word(&b, 2), 1};
    FakeTest      test = {branch, at_word(&b, 4)};
    FakeCount     count = {loop, at_word(&b, 0)};
    const GpuNode then[] = {
        {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.add, &mark, sizeof mark)}};
    const GpuNodes then_list = {then, 1};
    const GpuNode  body[] = {
         {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.add, &sum, sizeof sum)},
         {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.test, &test, sizeof test)},
         {.kind = GPU_NODE_IF, .condition = branch, .body = &then_list},
         {.kind = GPU_NODE_KERNEL, .launch = launch_of(b.count_down, &count, sizeof count)}};
    const GpuNodes body_list = {body, LENGTH(body)};
    const GpuNode  nodes[] = {fill_of(at_word(&b, 0), 6),
                              fill_of(at_word(&b, 2), 3),
                              {.kind = GPU_NODE_WHILE, .condition = loop, .body = &body_list}};
    EXPECT_EQ(gpu_graph_add(&graph, arena, (GpuNodes){nodes, LENGTH(nodes)}, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_finish(&graph, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_launch(&graph, b.stream, diags), STATUS_OK);
    EXPECT(word(&b, 1) == 6 * 3 && word(&b, 3) == 0);
    EXPECT_EQ(b.f.fake->calls("cuGraphLaunch"), calls);
    EXPECT_EQ(gpu_fill32(b.stream, at_word(&b, 4), 1, 1, diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_launch(&graph, b.stream, diags), STATUS_OK);
    EXPECT(word(&b, 1) == 2 * 6 * 3 && word(&b, 3) == 6 * 3);
    EXPECT_EQ(b.f.diags.errors, 0);
    gpu_graph_close(&graph);
    bench_close(&b);
    fake_gpu_close(&b.f);
}

TEST(gpu_graphs_branch_and_loop_on_the_device) {
    branch_and_loop(arena, 13000, GPU_CONDITIONS_ALL, 1);
    branch_and_loop(arena, 12040, GPU_CONDITIONS_LOOP, 1);
}
/* The fills; in each round what stands before the branch, and after it. */
TEST(gpu_graphs_branch_and_loop_by_the_host) {
    branch_and_loop(arena, 12030, GPU_CONDITIONS_HOST, 1 + 6 * 2);
}

/* --- failures --------------------------------------------------------------------------------- */

/* One of everything; whatever it opened it closes, also when it stops early. Failures while closing
 * go unreported: out_failed is about the work before. */
static Status use_everything(Bench *b, Arena *arena, bool *out_failed) {
    GpuGraph   graph = {0};
    GpuStaging staging = {0};
    CuGraph    child = NULL;
    FakeTest   test = {0};
    Diags     *diags = &b->f.diags;
    FakeSet    args = {0, 7, 1};
    uint32_t   back[2] = {0};
    Status     status = gpu_open(arena, b->f.libs, 0, diags, &b->f.gpu);
    *out_failed = true;
    if (status != STATUS_OK) return status;
    status = bench_open(b, arena);
    args.into = b->words;
    GpuLaunch launch = launch_of(b->set, &args, sizeof args);
    if (status == STATUS_OK) status = gpu_kernel_allow(b->f.gpu, b->set, 4096, true, diags);
    if (status == STATUS_OK) status = gpu_capture(b->stream, record_set, &launch, diags, &child);
    GpuLaunch clustered = launch;
    clustered.cluster[0] = clustered.cluster[1] = clustered.cluster[2] = 1;
    clustered.cooperative = true;
    if (status == STATUS_OK) status = gpu_graph_begin(b->f.gpu, diags, &graph);
    if (status == STATUS_OK) status = gpu_graph_condition(&graph, 0, diags, &test.condition);
    test.word = b->words;
    const GpuNode copy[] = {
        {.kind = GPU_NODE_COPY, .into = b->words + 4, .from = b->words, .bytes = 4}};
    const GpuNodes then = {copy, 1};
    const GpuNode  nodes[] = {
         {.kind = GPU_NODE_CHILD, .child = child},
         {.kind = GPU_NODE_KERNEL, .launch = clustered},
         {.kind = GPU_NODE_KERNEL, .launch = launch_of(b->test, &test, sizeof test)},
         {.kind = GPU_NODE_IF, .condition = test.condition, .body = &then}};
    if (status == STATUS_OK)
        status = gpu_graph_add(&graph, arena, (GpuNodes){nodes, LENGTH(nodes)}, diags);
    if (status == STATUS_OK) status = gpu_graph_finish(&graph, diags);
    if (status == STATUS_OK) status = gpu_graph_launch(&graph, b->stream, diags);
    if (status == STATUS_OK) status = gpu_staging_open(b->f.gpu, 4, diags, &staging);
    if (status == STATUS_OK)
        status =
            gpu_staging_copy_in(&staging, b->words + 8, &args, sizeof args, (GpuEvent){0}, diags);
    if (status == STATUS_OK) status = gpu_staging_join(&staging, b->stream, diags);
    if (status == STATUS_OK)
        status = gpu_staging_copy_out(&staging, b->stream, back, b->words, sizeof back, diags);
    if (status == STATUS_OK) status = gpu_sync(b->f.gpu, diags);
    if (status == STATUS_OK) EXPECT(back[0] == 7 && back[1] == 7);
    *out_failed = b->f.fake->failed();
    gpu_staging_close(&staging);
    gpu_graph_close(&graph);
    gpu_capture_close(b->f.gpu, child);
    bench_close(b);
    return status;
}

TEST(gpu_survives_the_failure_of_every_call) {
    static const int errors[] = {ABI_CUDA_ERROR_OUT_OF_MEMORY, 700 /* illegal address */};
    static const int versions[] = {13000, 12030};
    for (size_t e = 0; e < 2 * LENGTH(errors); e++) {
        unsigned n = 1;
        for (bool failed = true; failed && n < 1000; n++) {
            Bench     b = {0};
            ArenaMark mark = arena_mark(arena);
            REQUIRE(fake_gpu_bind(&b.f, arena));
            fake_gpu_version(&b.f, versions[e / 2]);
            b.f.fake->fail_any(n, errors[e % 2]);
            Status status = use_everything(&b, arena, &failed);
            EXPECT_EQ(status != STATUS_OK, failed);
            EXPECT_EQ(b.f.diags.errors, failed);
            fake_gpu_close(&b.f);
            arena_release(arena, mark);
        }
        EXPECT(n > 60 && n < 1000); /* so many calls can fail, and then none did */
    }
}
