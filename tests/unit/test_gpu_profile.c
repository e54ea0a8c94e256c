/* Profiles on the stand-ins of the driver and of CUPTI: every kernel, copy and fill is told once,
 * with its name, size and what it was for, whether it was launched or replayed from copies of a
 * graph; what cannot be recorded is said, and everything is given back. */
#define _GNU_SOURCE
#include "fake_gpu.h"
#include "gpu/profile.h"

#include "arena/os.h"

typedef struct Watched {
    FakeGpu          f;
    const FakeCupti *cupti;
    GpuStream        stream;
    GpuModule        module;
    GpuKernel        set, add;
    GpuArena         memory;
    GpuProfile      *profile;
} Watched;

static bool watched_open(Watched *w, Arena *arena) {
    *w = (Watched){0};
    if (!EXPECT(fake_gpu_open(&w->f, arena))) return false;
    Diags *diags = &w->f.diags;
    Status status = gpu_libs_need(w->f.libs, GPU_LIBRARY_CUPTI, diags);
    if (!EXPECT_EQ(status, STATUS_OK)) return false;
    w->cupti = dlsym(w->f.libs->bindings[GPU_LIBRARY_CUPTI].handle, FAKE_CUPTI_SYMBOL);
    w->cupti->attach(w->f.fake);
    status = gpu_stream_open(w->f.gpu, diags, &w->stream);
    if (status == STATUS_OK)
        status = gpu_module_open(w->f.gpu, "fake", STR(FAKE_IMAGE), diags, &w->module);
    if (status == STATUS_OK) status = gpu_module_kernel(&w->module, "set", diags, &w->set);
    if (status == STATUS_OK) status = gpu_module_kernel(&w->module, "add", diags, &w->add);
    if (status == STATUS_OK)
        status = gpu_arena_open(w->f.gpu, "words", 1 << 16, 1 << 16, diags, &w->memory);
    return EXPECT_EQ(status, STATUS_OK);
}
static void watched_close(Watched *w) {
    gpu_profile_close(w->profile);
    EXPECT_EQ(w->cupti->live(), 0);
    gpu_module_close(&w->module);
    gpu_arena_close(&w->memory);
    gpu_stream_close(&w->stream);
    w->f.fake->watch(NULL);
    fake_gpu_close(&w->f);
}
static void start(Watched *w, Arena *arena) {
    EXPECT_EQ(gpu_profile_open(arena, w->f.libs, &w->f.diags, &w->profile), STATUS_OK);
}
static void launch(Watched *w, GpuKernel kernel, GpuStream stream) {
    FakeSet   set = {w->memory.base, 7, 3};
    FakeAdd   add = {w->memory.base, w->memory.base + 64, 3};
    bool      sets = kernel.function == w->set.function;
    GpuLaunch launch = {.kernel = kernel,
                        .grid = {1, 1, 1},
                        .block = {32, 1, 1},
                        .args = sets ? (const void *)&set : &add,
                        .args_bytes = sets ? sizeof set : sizeof add};
    EXPECT_EQ(gpu_launch(stream, &launch, &w->f.diags), STATUS_OK);
}
static GpuWorkList collect(Watched *w) {
    GpuWorkList list;
    EXPECT_EQ(gpu_profile_collect(w->profile, &w->f.diags, &list), STATUS_OK);
    for (uint32_t i = 1; i < list.count; i++)
        EXPECT(list.works[i - 1].start_ns <= list.works[i].start_ns);
    return list;
}
/* The place of the n-th piece of work that is no call; NULL if there are fewer. */
static const GpuWork *nth(GpuWorkList list, uint32_t n) {
    for (uint32_t i = 0; i < list.count; i++)
        if (list.works[i].kind != GPU_WORK_CALL && n-- == 0) return &list.works[i];
    return NULL;
}
static uint32_t count_work(GpuWorkList list) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < list.count; i++) count += list.works[i].kind != GPU_WORK_CALL;
    return count;
}

TEST(gpu_profiles_tell_what_was_launched_and_what_for) {
    Watched w;
    REQUIRE(watched_open(&w, arena));
    launch(&w, w.add, w.stream); /* before: not told */
    uint64_t before = os_clock_ns();
    start(&w, arena);
    gpu_profile_tag(w.profile, 11);
    launch(&w, w.set, w.stream);
    gpu_profile_tag(w.profile, 12);
    EXPECT_EQ(gpu_fill(w.stream, w.memory.base, 0, 100, &w.f.diags), STATUS_OK);
    gpu_profile_tag(w.profile, 0);
    EXPECT_EQ(gpu_copy(w.stream, w.memory.base, w.memory.base + 512, 256, &w.f.diags), STATUS_OK);
    GpuWorkList list = collect(&w);
    REQUIRE(count_work(list) == 3);
    const GpuWork *set = nth(list, 0), *fill = nth(list, 1), *copy = nth(list, 2);
    EXPECT(set->kind == GPU_WORK_KERNEL && set->tag == 11 && set->stream == 7 && !set->graph);
    EXPECT_STR(set->name, "set");
    EXPECT(fill->kind == GPU_WORK_FILL && fill->tag == 12 && fill->bytes == 100);
    EXPECT(copy->kind == GPU_WORK_COPY && copy->tag == 0 && copy->bytes == 256);
    EXPECT(set->start_ns >= before - 100000); /* one clock with the host, to 0.1 ms */
    EXPECT(copy->end_ns <= os_clock_ns() + 100000);
    bool called = false;
    for (uint32_t i = 0; i < list.count; i++)
        called |= list.works[i].kind == GPU_WORK_CALL &&
                  strcmp(list.works[i].name, "cuLaunchKernelEx") == 0 &&
                  list.works[i].correlation == set->correlation;
    EXPECT(called);
    EXPECT_EQ(count_work(collect(&w)), 0); /* each once */
    EXPECT_EQ(gpu_profile_lost(w.profile), 0);
    watched_close(&w);
}

#define GRAPH ((uint64_t)9 << 32)
typedef struct Recorded {
    Watched *w;
} Recorded;
static Status record_two(void *context, GpuStream stream, Diags *diags) {
    Watched *w = ((Recorded *)context)->w;
    (void)diags;
    gpu_profile_tag(w->profile, GRAPH | 21);
    launch(w, w->set, stream);
    gpu_profile_tag(w->profile, GRAPH | 22);
    launch(w, w->add, stream);
    gpu_profile_tag(w->profile, 0);
    return STATUS_OK;
}

/* Recorded once, copied into a graph, and that into an instance: the ids differ each time, and
 * those of the child graph are told by the order of running alone. */
TEST(gpu_profiles_follow_nodes_through_copies_of_graphs) {
    Watched  w;
    CuGraph  captured = NULL;
    GpuGraph graph = {0};
    REQUIRE(watched_open(&w, arena));
    start(&w, arena);
    Recorded recorded = {&w};
    gpu_profile_record(w.profile, GRAPH);
    EXPECT_EQ(gpu_capture(w.stream, record_two, &recorded, &w.f.diags, &captured), STATUS_OK);
    GpuNode nodes[2] = {
        {.kind = GPU_NODE_FILL, .into = w.memory.base, .count = 8, .element_bytes = 4},
        {.kind = GPU_NODE_CHILD, .child = captured}};
    EXPECT_EQ(gpu_graph_begin(w.f.gpu, &w.f.diags, &graph), STATUS_OK);
    EXPECT_EQ(gpu_graph_add(&graph, arena, (GpuNodes){nodes, 2}, &w.f.diags), STATUS_OK);
    EXPECT_EQ(gpu_graph_finish(&graph, &w.f.diags), STATUS_OK);
    gpu_capture_close(w.f.gpu, captured);
    gpu_profile_tag(w.profile, GRAPH);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(gpu_graph_launch(&graph, w.stream, &w.f.diags), STATUS_OK);
    gpu_profile_tag(w.profile, 0);
    GpuWorkList list = collect(&w);
    REQUIRE(count_work(list) == 6);
    for (uint32_t i = 0; i < 6; i++) {
        static const uint64_t tags[] = {0, GRAPH | 21, GRAPH | 22};
        const GpuWork        *work = nth(list, i);
        EXPECT(work->graph && work->tag == tags[i % 3]);
        EXPECT_EQ(work->correlation, nth(list, i / 3 * 3)->correlation);
    }
    EXPECT(nth(list, 0)->correlation != nth(list, 3)->correlation);
    EXPECT_STR(nth(list, 5)->name, "add");
    gpu_graph_close(&graph);
    watched_close(&w);
}

TEST(gpu_profiles_count_what_they_lose) {
    Watched  w;
    uint32_t told = 0, launched = 0;
    REQUIRE(watched_open(&w, arena));
    start(&w, arena);
    while (!gpu_profile_is_filling(w.profile)) {
        launch(&w, w.set, w.stream);
        launched++;
    }
    told += count_work(collect(&w));
    EXPECT(told == launched && launched > 10000 && gpu_profile_lost(w.profile) == 0);
    for (uint32_t i = 0; i < 3 * launched; i++) launch(&w, w.set, w.stream);
    told = count_work(collect(&w));
    EXPECT(told > launched && told < 3 * launched && gpu_profile_lost(w.profile) > 0);
    launch(&w, w.set, w.stream);
    EXPECT_EQ(count_work(collect(&w)), 1); /* and goes on */
    watched_close(&w);
}

TEST(gpu_profiles_say_why_they_cannot_be) {
    Watched     w;
    GpuProfile *second = NULL;
    REQUIRE(watched_open(&w, arena));
    start(&w, arena);
    EXPECT_EQ(gpu_profile_open(arena, w.f.libs, &w.f.diags, &second), STATUS_UNSUPPORTED);
    EXPECT(second == NULL && diags_say(&w.f.diags, DIAG_GPU_UNSUPPORTED, "in this process"));
    gpu_profile_close(w.profile);
    w.profile = NULL;
    static const char *const calls[] = {"cuptiActivityRegisterCallbacks", "cuptiSubscribe",
                                        "cuptiEnableCallback", "cuptiActivityEnable"};
    for (size_t i = 0; i < LENGTH(calls); i++) {
        w.cupti->attach(w.f.fake);
        w.cupti->fail(calls[i], 39);
        EXPECT_EQ(gpu_profile_open(arena, w.f.libs, &w.f.diags, &second), STATUS_DEVICE);
        EXPECT(second == NULL && diags_say(&w.f.diags, DIAG_GPU_CALL, calls[i]));
        EXPECT_EQ(w.cupti->live(), 0);
    }
    EXPECT(diags_say(&w.f.diags, DIAG_GPU_CALL, "MULTIPLE_SUBSCRIBERS"));
    w.cupti->attach(w.f.fake);
    start(&w, arena); /* nothing is left behind */
    launch(&w, w.set, w.stream);
    w.cupti->fail("cuptiActivityFlushAll", 999);
    GpuWorkList list;
    EXPECT_EQ(gpu_profile_collect(w.profile, &w.f.diags, &list), STATUS_DEVICE);
    w.cupti->fail("", 0);
    EXPECT_EQ(count_work(collect(&w)), 1);
    watched_close(&w);
    GpuLibs *empty = gpu_libs_open(arena, STR(STOA_FAKES "/old"));
    Diags    diags;
    diags_open(&diags, NULL);
    EXPECT_EQ(gpu_profile_open(arena, empty, &diags, &second), STATUS_NOT_FOUND);
    EXPECT(diags_say(&diags, DIAG_GPU_LIBRARY, "CUPTI"));
    EXPECT_EQ(gpu_range_need(empty, &diags), STATUS_NOT_FOUND);
    EXPECT(diags_say(&diags, DIAG_GPU_LIBRARY, "NVTX"));
    diags_close(&diags);
    gpu_libs_close(empty);
}

TEST(gpu_peaks_are_those_of_the_white_papers) {
    GpuInfo h100 = {.major = 9, .multiprocessors = 132, .clock_khz = 1830000};
    EXPECT_NEAR(gpu_peak_gflop_s(&h100, DTYPE_BF16, false), 989.4e3, 1e-3);
    EXPECT_NEAR(gpu_peak_gflop_s(&h100, DTYPE_F8E4M3, false), 1978.9e3, 1e-3);
    EXPECT_NEAR(gpu_peak_gflop_s(&h100, DTYPE_F32, true), 494.7e3, 1e-3);
    EXPECT_EQ(gpu_peak_gflop_s(&h100, DTYPE_I32, false), 0);
    h100.major = 7;
    EXPECT_EQ(gpu_peak_gflop_s(&h100, DTYPE_BF16, false), 0);
}
