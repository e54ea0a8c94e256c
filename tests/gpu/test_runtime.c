/* The runtime on a device: compiled kernels, packed arguments, clusters, cooperative launches,
 * graphs with captured library work, conditions and loops, staging, and running out of memory. */
#include "device.h"

static const char KERNELS[] = GPU_CONDITION_SOURCE
    "struct Axpy { float *y; const float *x; float a; int n; };\n"
    "extern \"C\" __global__ void axpy(Axpy p) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < p.n) p.y[i] += p.a * p.x[i];\n"
    "}\n"
    "extern \"C\" __global__ void mixed(unsigned char a, double b, short c, float *out) {\n"
    "    out[0] = a; out[1] = (float)b; out[2] = c;\n"
    "}\n"
    "extern \"C\" __global__ void ranks(unsigned *out) {\n"
    "    unsigned rank;\n"
    "    asm volatile(\"mov.u32 %0, %%cluster_ctarank;\" : \"=r\"(rank));\n"
    "    if (threadIdx.x == 0) out[blockIdx.x] = rank;\n"
    "}\n"
    "struct Grid { unsigned *counter, *out; };\n"
    "extern \"C\" __global__ void meet(Grid p) {\n"
    "    if (threadIdx.x == 0) {\n"
    "        atomicAdd(p.counter, 1);\n"
    "        while (*(volatile unsigned *)p.counter < gridDim.x) {}\n"
    "        p.out[blockIdx.x] = *(volatile unsigned *)p.counter;\n"
    "    }\n"
    "}\n"
    "struct Count { unsigned long long condition; unsigned *word; unsigned until; };\n"
    "extern \"C\" __global__ void count(Count p) {\n"
    "    cudaGraphSetConditional(p.condition, ++*p.word < p.until);\n"
    "}\n"
    "extern \"C\" __global__ void shared_sum(float *out) {\n"
    "    extern __shared__ float values[];\n"
    "    for (int i = threadIdx.x; i < 50000; i += blockDim.x) values[i] = 1;\n"
    "    __syncthreads();\n"
    "    if (threadIdx.x == 0) { float s = 0; for (int i = 0; i < 50000; i++) s += values[i];\n"
    "        *out = s; }\n"
    "}\n"
    "__device__ int table[5] = {1, 2, 3, 4, 5};\n";

typedef struct Axpy {
    CuPtr   y, x;
    float   a;
    int32_t n;
} Axpy;
typedef struct Count {
    CuCondition condition;
    CuPtr       word;
    uint32_t    until;
} Count;

static bool load(Device *d, GpuModule *module) {
    String      image;
    GpuCompiled compiled;
    GpuSource   source = {"kernels of the test", str_of(KERNELS)};
    return device_ok(d, gpu_compile(d->arena, d->libs, NULL, d->gpu->info.arch, &source, 1, 1,
                                    &d->diags, &image, &compiled)) &&
           device_ok(d, gpu_module_open(d->gpu, "test", image, &d->diags, module));
}
static GpuLaunch launch_of(Device *d, const GpuModule *module, const char *name, uint32_t blocks,
                           uint32_t threads, const void *args, size_t bytes) {
    GpuLaunch launch = {.grid = {blocks, 1, 1},
                        .block = {threads, 1, 1},
                        .args = args,
                        .args_bytes = (uint32_t)bytes};
    EXPECT(device_ok(d, gpu_module_kernel(module, name, &d->diags, &launch.kernel)));
    return launch;
}

TEST(gpu_device_runs_compiled_kernels) {
    DEVICE(d);
    GpuModule module;
    void     *x, *y;
    REQUIRE(load(&d, &module));
    Axpy args = {.a = 3, .n = 1000003};
    args.x = device_numbers(&d, DTYPE_F32, 1000003, 1, &x);
    args.y = device_numbers(&d, DTYPE_F32, 1000003, 1, &y);
    GpuLaunch axpy = launch_of(&d, &module, "axpy", 3907, 256, &args, sizeof args);
    EXPECT(device_ok(&d, gpu_launch(d.stream, &axpy, &d.diags)));
    const float *got = device_read(&d, args.y, 4000012);
    double       away = 0;
    for (uint32_t i = 0; i < 1000003; i++)
        away = fmax(away,
                    fabs((double)got[i] - (double)((float *)y)[i] - 3.0 * (double)((float *)x)[i]));
    EXPECT(away < 1e-5);
    /* Several parameters, each at its natural alignment. */
    struct {
        uint8_t a;
        double  b;
        int16_t c;
        CuPtr   out;
    } mixed = {200, 0.5, -7, args.y};
    GpuLaunch several = launch_of(&d, &module, "mixed", 1, 1, &mixed, sizeof mixed);
    EXPECT(device_ok(&d, gpu_launch(d.stream, &several, &d.diags)));
    got = device_read(&d, args.y, 12);
    EXPECT(got[0] == 200 && got[1] == 0.5F && got[2] == -7);
    CuPtr    table;
    uint64_t bytes;
    EXPECT(device_ok(&d, gpu_module_variable(&module, "table", &d.diags, &table, &bytes)));
    EXPECT(bytes == 20 && ((int *)device_read(&d, table, 20))[4] == 5);
    gpu_module_close(&module);
    device_close(&d);
}

TEST(gpu_device_runs_clusters_grids_and_large_shared_memory) {
    DEVICE(d);
    GpuModule module;
    if (d.gpu->info.major < 9) SKIP("clusters need compute capability 9.0");
    REQUIRE(load(&d, &module));
    CuPtr                 out = device_poisoned(&d, 4096);
    GpuLaunch             ranks = launch_of(&d, &module, "ranks", 32, 64, &out, sizeof out);
    static const uint32_t sizes[] = {1, 2, 4, 8, 16};
    EXPECT(device_ok(&d, gpu_kernel_allow(d.gpu, ranks.kernel, 0, true, &d.diags)));
    for (size_t s = 0; s < LENGTH(sizes); s++) {
        ranks.cluster[0] = sizes[s];
        ranks.cluster[1] = ranks.cluster[2] = 1;
        EXPECT(device_ok(&d, gpu_launch(d.stream, &ranks, &d.diags)));
        const uint32_t *got = device_read(&d, out, 128);
        for (uint32_t i = 0; i < 32; i++) EXPECT_EQ(got[i], i % sizes[s]);
    }
    struct {
        CuPtr counter, out;
    } grid = {out, out + 256};
    uint32_t  blocks = d.gpu->info.multiprocessors;
    GpuLaunch meet = launch_of(&d, &module, "meet", blocks, 64, &grid, sizeof grid);
    meet.cooperative = true;
    EXPECT(device_ok(&d, gpu_fill(d.stream, out, 0, 4, &d.diags)));
    EXPECT(device_ok(&d, gpu_launch(d.stream, &meet, &d.diags)));
    EXPECT_EQ(((uint32_t *)device_read(&d, grid.out, 4 * blocks))[blocks - 1], blocks);
    GpuLaunch sum = launch_of(&d, &module, "shared_sum", 1, 256, &out, sizeof out);
    sum.shared_bytes = 200000;
    EXPECT(device_ok(&d, gpu_kernel_allow(d.gpu, sum.kernel, 200000, false, &d.diags)));
    EXPECT(device_ok(&d, gpu_launch(d.stream, &sum, &d.diags)));
    EXPECT_EQ(*(float *)device_read(&d, out, 4), 50000);
    uint32_t fit = 0;
    EXPECT(device_ok(&d, gpu_kernel_blocks(d.gpu, sum.kernel, 256, 200000, &d.diags, &fit)));
    EXPECT_EQ(fit, 1);
    gpu_module_close(&module);
    device_close(&d);
}

static Status record_copy_and_launch(void *context, GpuStream stream, Diags *diags) {
    const GpuLaunch *launch = context;
    Status           status = gpu_launch(stream, launch, diags);
    return status == STATUS_OK ? gpu_launch(stream, launch, diags) : status;
}

TEST(gpu_device_replays_graphs_with_loops_and_captured_work) {
    DEVICE(d);
    GpuModule   module;
    GpuGraph    graph = {0}, other = {0};
    CuGraph     child;
    CuCondition loop;
    bool        same = false;
    REQUIRE(load(&d, &module));
    CuPtr     words = device_poisoned(&d, 256);
    Axpy      args = {.y = words + 16, .x = words + 32, .a = 1, .n = 1};
    Count     counting = {.word = words, .until = 10};
    GpuLaunch axpy = launch_of(&d, &module, "axpy", 1, 32, &args, sizeof args);
    REQUIRE(device_ok(&d, gpu_capture(d.stream, record_copy_and_launch, &axpy, &d.diags, &child)));
    REQUIRE(device_ok(&d, gpu_graph_begin(d.gpu, &d.diags, &graph)));
    REQUIRE(device_ok(&d, gpu_graph_condition(&graph, 1, &d.diags, &loop)));
    counting.condition = loop;
    /* word = 0, y = 0, x = 2; while (++word < 10) y += 2 x; then z = y */
    const GpuNode body[] = {
        {.kind = GPU_NODE_CHILD, .child = child},
        {.kind = GPU_NODE_KERNEL,
         .launch = launch_of(&d, &module, "count", 1, 1, &counting, sizeof counting)}};
    const GpuNodes        body_list = {body, 2};
    static const uint32_t none[1] = {0}, all[] = {0, 1, 2};
    const GpuNode         nodes[] = {
                {.kind = GPU_NODE_FILL, .into = words, .element_bytes = 4, .count = 1},
                {.kind = GPU_NODE_FILL,
                 .after = none,
                 .after_count = 0,
                 .into = words + 16,
                 .element_bytes = 4,
                 .count = 1},
                {.kind = GPU_NODE_FILL,
                 .after = none,
                 .after_count = 0,
                 .into = words + 32,
                 .value = 0x40000000,
                 .element_bytes = 4,
                 .count = 1},
                {.kind = GPU_NODE_WHILE,
                 .after = all,
                 .after_count = 3,
                 .condition = loop,
                 .body = &body_list},
                {.kind = GPU_NODE_COPY, .into = words + 64, .from = words + 16, .bytes = 4}};
    const GpuNodes list = {nodes, LENGTH(nodes)};
    REQUIRE(device_ok(&d, gpu_graph_add(&graph, arena, list, &d.diags)));
    REQUIRE(device_ok(&d, gpu_graph_finish(&graph, &d.diags)));
    for (int i = 0; i < 3; i++) EXPECT(device_ok(&d, gpu_graph_launch(&graph, d.stream, &d.diags)));
    EXPECT_EQ(*(float *)device_read(&d, words + 64, 4), 10 * 2 * 2);
    GpuNode three = nodes[2];
    three.value = 0x40400000;
    EXPECT(device_ok(&d, gpu_graph_update(&graph, 2, &three, &d.diags)));
    EXPECT(device_ok(&d, gpu_graph_launch(&graph, d.stream, &d.diags)));
    EXPECT_EQ(*(float *)device_read(&d, words + 64, 4), 10 * 2 * 3);
    /* Another structure is refused without harm. */
    REQUIRE(device_ok(&d, gpu_graph_begin(d.gpu, &d.diags, &other)));
    REQUIRE(device_ok(&d, gpu_graph_add(&other, arena, (GpuNodes){nodes, 3}, &d.diags)));
    EXPECT(device_ok(&d, gpu_graph_become(&graph, &other, &d.diags, &same)));
    EXPECT(!same);
    gpu_graph_close(&graph);
    gpu_graph_close(&other);
    gpu_capture_close(d.gpu, child);
    gpu_module_close(&module);
    device_close(&d);
}

TEST(gpu_device_stages_and_runs_out_of_memory_in_words) {
    DEVICE(d);
    GpuStaging staging;
    GpuArena   greedy = {0};
    uint64_t   bytes = 33 << 20, all = d.gpu->info.memory_bytes;
    CuPtr      at = device_poisoned(&d, bytes);
    uint8_t   *from = arena_push(arena, bytes, 64), *back = arena_push(arena, bytes, 64);
    for (uint64_t i = 0; i < bytes; i++) from[i] = (uint8_t)(i * 7 + (i >> 13));
    REQUIRE(device_ok(&d, gpu_staging_open(d.gpu, 1 << 20, &d.diags, &staging)));
    EXPECT(
        device_ok(&d, gpu_staging_copy_in(&staging, at, from, bytes - 5, (GpuEvent){0}, &d.diags)));
    EXPECT(device_ok(&d, gpu_staging_join(&staging, d.stream, &d.diags)));
    EXPECT(device_ok(&d, gpu_staging_copy_out(&staging, d.stream, back, at, bytes, &d.diags)));
    EXPECT(memcmp(from, back, bytes - 5) == 0 && back[bytes - 1] == 0xFF);
    gpu_staging_close(&staging);
    /* Growing keeps addresses and contents; too much is a status, and smaller still works. */
    REQUIRE(device_ok(&d, gpu_arena_open(d.gpu, "greedy", 1 << 20, 2 * all, &d.diags, &greedy)));
    CuPtr base = greedy.base;
    EXPECT(device_ok(&d, gpu_fill(d.stream, base, 9, 1 << 20, &d.diags)));
    EXPECT_EQ(gpu_arena_grow(&greedy, 2 * all, &d.diags), STATUS_OUT_OF_MEMORY);
    EXPECT_EQ(d.diags.rows.kind[1], DIAG_GPU_MEMORY);
    EXPECT_EQ(d.diags.rows.kind[2], DIAG_GPU_HELD);
    diags_clear(&d.diags);
    EXPECT(device_ok(&d, gpu_arena_grow(&greedy, 64 << 20, &d.diags)));
    EXPECT_EQ(greedy.base, base);
    EXPECT_EQ(((uint8_t *)device_read(&d, base, 1 << 20))[(1 << 20) - 1], 9);
    EXPECT(device_ok(&d, gpu_fill(d.stream, base, 1, 64 << 20, &d.diags)));
    EXPECT(device_ok(&d, gpu_stream_sync(d.stream, &d.diags)));
    gpu_arena_close(&greedy);
    device_close(&d);
}
