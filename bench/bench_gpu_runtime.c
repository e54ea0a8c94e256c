/* What the runtime costs: launches one by one and replayed from a graph, building and updating
 * graphs, conditional nodes, copies of every kind, copies beside kernels, growing arenas, and
 * compiling modules of kernels. Each is checked for its result before it is timed. */
#include "bench/gpu_bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"

enum { LAUNCHES = 1000, MIB = 1 << 20 };

static const char KERNELS[] =
    GPU_CONDITION_SOURCE "struct Add { u64 into; unsigned value; };\n"
                         "extern \"C\" __global__ void add(Add p) {\n"
                         "    if (threadIdx.x == 0) *(unsigned *)p.into += p.value;\n"
                         "}\n"
                         "struct Count { u64 condition, into; unsigned until; };\n"
                         "extern \"C\" __global__ void count(Count p) {\n"
                         "    unsigned now = ++*(unsigned *)p.into;\n"
                         "    cudaGraphSetConditional(p.condition, now < p.until);\n"
                         "}\n"
                         "struct Spin { u64 into; unsigned rounds; };\n"
                         "extern \"C\" __global__ void spin(Spin p) {\n"
                         "    float x = threadIdx.x;\n"
                         "    for (unsigned i = 0; i < p.rounds; i++) x = x * 0.999f + 0.5f;\n"
                         "    if (x == -1) *(float *)p.into = x;\n"
                         "}\n"
                         "struct Cluster { u64 into; };\n"
                         "extern \"C\" __global__ void cluster_ranks(Cluster p) {\n"
                         "    unsigned rank;\n"
                         "    asm volatile(\"mov.u32 %0, %%cluster_ctarank;\" : \"=r\"(rank));\n"
                         "    if (threadIdx.x == 0) ((unsigned *)p.into)[blockIdx.x] = rank;\n"
                         "}\n";
typedef struct AddArgs {
    uint64_t into;
    uint32_t value;
} AddArgs;
typedef struct CountArgs {
    uint64_t condition, into;
    uint32_t until;
} CountArgs;
typedef struct SpinArgs {
    uint64_t into;
    uint32_t rounds;
} SpinArgs;

static void must_be(const char *what, uint64_t got, uint64_t want) {
    if (got == want) return;
    (void)fprintf(stderr, "%s: %llu instead of %llu\n", what, (unsigned long long)got,
                  (unsigned long long)want);
    exit(1);
}
static uint32_t read_word(GpuBench *b, CuPtr at) { return *(uint32_t *)gpu_bench_read(b, at, 4); }
static double   ns_each(uint64_t since, double count) {
      return (double)(os_clock_ns() - since) / count;
}

/* --- launches --------------------------------------------------------------------------------- */

typedef struct Launches {
    GpuLaunch launch;
    GpuGraph  graph;
} Launches;

static Status run_launches(void *context, GpuStream stream, Diags *diags) {
    const Launches *l = context;
    Status          status = STATUS_OK;
    for (uint32_t i = 0; i < LAUNCHES && status == STATUS_OK; i++)
        status = gpu_launch(stream, &l->launch, diags);
    return status;
}
static Status run_graph(void *context, GpuStream stream, Diags *diags) {
    const Launches *l = context;
    return gpu_graph_launch(&l->graph, stream, diags);
}

static void bench_launches(GpuBench *b) {
    AddArgs  args = {gpu_bench_take(b, 256), 1};
    Launches l = {.launch = {.kernel = gpu_bench_kernel(b, "add"),
                             .grid = {1, 1, 1},
                             .block = {32, 1, 1},
                             .args = &args,
                             .args_bytes = sizeof args}};
    Diags   *diags = &b->diags;
    gpu_bench_must(b, gpu_fill(b->stream, args.into, 0, 4, diags), "fill");
    gpu_bench_must(b, run_launches(&l, b->stream, diags), "launch");
    must_be("1000 launches", read_word(b, args.into), LAUNCHES);
    uint64_t start = os_clock_ns();
    gpu_bench_must(b, run_launches(&l, b->stream, diags), "launch");
    bench_tell_number(&b->bench, "launch, host", 0, ns_each(start, LAUNCHES), "ns", 0);
    gpu_bench_time(b, "1000 launches", 20, 1, run_launches, &l, 0, 0, -1);

    GpuNode *nodes = ARENA_ARRAY_ZERO(b->arena, GpuNode, LAUNCHES);
    for (uint32_t i = 0; i < LAUNCHES; i++)
        nodes[i] = (GpuNode){.kind = GPU_NODE_KERNEL, .launch = l.launch};
    start = os_clock_ns();
    gpu_bench_must(b, gpu_graph_begin(b->gpu, diags, &l.graph), "graph");
    gpu_bench_must(b, gpu_graph_add(&l.graph, b->arena, (GpuNodes){nodes, LAUNCHES}, diags), "add");
    bench_tell_number(&b->bench, "graph: add a node", 0, ns_each(start, LAUNCHES), "ns", 0);
    start = os_clock_ns();
    gpu_bench_must(b, gpu_graph_finish(&l.graph, diags), "finish");
    bench_tell_number(&b->bench, "graph: instantiate a node", 0, ns_each(start, LAUNCHES), "ns", 0);
    gpu_bench_must(b, gpu_fill(b->stream, args.into, 0, 4, diags), "fill");
    gpu_bench_must(b, run_graph(&l, b->stream, diags), "replay");
    must_be("a replay", read_word(b, args.into), LAUNCHES);
    start = os_clock_ns();
    gpu_bench_must(b, run_graph(&l, b->stream, diags), "replay");
    bench_tell_number(&b->bench, "graph: launch it, host", 0, ns_each(start, 1), "ns", 0);
    gpu_bench_time(b, "1000 launches, replayed", 20, 1, run_graph, &l, 0, 0, -1);
    args.value = 3;
    start = os_clock_ns();
    for (uint32_t i = 0; i < LAUNCHES; i++)
        gpu_bench_must(b, gpu_graph_update(&l.graph, i, &nodes[i], diags), "update");
    bench_tell_number(&b->bench, "graph: update a node", 0, ns_each(start, LAUNCHES), "ns", 0);
    gpu_bench_must(b, gpu_fill(b->stream, args.into, 0, 4, diags), "fill");
    gpu_bench_must(b, run_graph(&l, b->stream, diags), "replay");
    must_be("an updated replay", read_word(b, args.into), 3 * LAUNCHES);
    gpu_bench_must(b, gpu_stream_sync(b->stream, diags), "sync");
    gpu_graph_close(&l.graph);
}

/* A loop of 1000 rounds on the device, and a launch of clusters of two blocks. */
static void bench_special(GpuBench *b) {
    Diags    *diags = &b->diags;
    CuPtr     words = gpu_bench_take(b, 256);
    Launches  l = {0};
    CountArgs count = {0, words, LAUNCHES};
    gpu_bench_must(b, gpu_graph_begin(b->gpu, diags, &l.graph), "graph");
    CuCondition condition;
    gpu_bench_must(b, gpu_graph_condition(&l.graph, 1, diags, &condition), "condition");
    count.condition = condition;
    const GpuNode  body = {.kind = GPU_NODE_KERNEL,
                           .launch = {.kernel = gpu_bench_kernel(b, "count"),
                                      .grid = {1, 1, 1},
                                      .block = {1, 1, 1},
                                      .args = &count,
                                      .args_bytes = sizeof count}};
    const GpuNodes body_list = {&body, 1};
    const GpuNode nodes[] = {{.kind = GPU_NODE_FILL, .into = words, .element_bytes = 4, .count = 1},
                             {.kind = GPU_NODE_WHILE, .condition = condition, .body = &body_list}};
    gpu_bench_must(b, gpu_graph_add(&l.graph, b->arena, (GpuNodes){nodes, 2}, diags), "while");
    gpu_bench_must(b, gpu_graph_finish(&l.graph, diags), "finish");
    gpu_bench_must(b, run_graph(&l, b->stream, diags), "loop");
    must_be("a loop on the device", read_word(b, words), LAUNCHES);
    gpu_bench_time(b, "1000 rounds of a while node", 10, 1, run_graph, &l, 0, 0, -1);
    gpu_bench_must(b, gpu_stream_sync(b->stream, diags), "sync");
    gpu_graph_close(&l.graph);

    GpuLaunch clusters = {.kernel = gpu_bench_kernel(b, "cluster_ranks"),
                          .grid = {8, 1, 1},
                          .block = {32, 1, 1},
                          .cluster = {2, 1, 1},
                          .args = &words,
                          .args_bytes = sizeof words};
    gpu_bench_must(b, gpu_launch(b->stream, &clusters, diags), "clusters");
    const uint32_t *ranks = gpu_bench_read(b, words, 32);
    for (uint32_t i = 0; i < 8; i++) must_be("the rank in a cluster", ranks[i], i % 2);
}

/* --- copies ----------------------------------------------------------------------------------- */

typedef struct Copies {
    CuPtr       a, b;
    void       *pinned;
    uint64_t    bytes;
    GpuStaging *staging;
    void       *pageable;
    SpinArgs    spin;
    GpuLaunch   launch;
} Copies;
static Status run_device_copy(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_copy(stream, c->a, c->b, c->bytes, diags);
}
static Status run_fill(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_fill32(stream, c->a, 7, c->bytes / 4, diags);
}
static Status run_copy_in(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_copy_in(stream, c->a, c->pinned, c->bytes, diags);
}
static Status run_copy_out(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_copy_out(stream, c->pinned, c->a, c->bytes, diags);
}
static Status run_staging_in(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    Status        status =
        gpu_staging_copy_in(c->staging, c->a, c->pageable, c->bytes, (GpuEvent){0}, diags);
    return status == STATUS_OK ? gpu_staging_join(c->staging, stream, diags) : status;
}
static Status run_staging_out(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_staging_copy_out(c->staging, stream, c->pageable, c->a, c->bytes, diags);
}
static Status run_spin(void *context, GpuStream stream, Diags *diags) {
    const Copies *c = context;
    return gpu_launch(stream, &c->launch, diags);
}
/* A kernel, and beside it an upload through the ring. */
static Status run_both(void *context, GpuStream stream, Diags *diags) {
    Status status = run_spin(context, stream, diags);
    return status == STATUS_OK ? run_staging_in(context, stream, diags) : status;
}

static void bench_copies(GpuBench *b) {
    Diags     *diags = &b->diags;
    GpuStaging staging;
    uint64_t   large = b->bench.smoke ? 16 * MIB : (uint64_t)2048 * MIB, small = large / 8;
    Copies     c = {.a = gpu_bench_take(b, large), .b = gpu_bench_take(b, large), .bytes = large};
    gpu_bench_random(b, c.b, DTYPE_F32, large / 4, 1);
    gpu_bench_time(b, "copy on the device", 20, 1, run_device_copy, &c, 0, 2.0 * (double)large, -1);
    gpu_bench_time(b, "fill", 20, 1, run_fill, &c, 0, (double)large, -1);
    c.bytes = small;
    gpu_bench_must(b, gpu_host_open(b->gpu, small, diags, &c.pinned), "pinned");
    gpu_bench_must(b, gpu_staging_open(b->gpu, 4 * MIB, diags, &staging), "staging");
    c.staging = &staging;
    c.pageable = arena_push(b->arena, small, 64);
    for (uint64_t i = 0; i < small / 4; i++)
        ((uint32_t *)c.pageable)[i] = (uint32_t)(i * 2654435761);
    gpu_bench_must(b, run_staging_in(&c, b->stream, diags), "staging");
    const uint32_t *there = gpu_bench_read(b, c.a, small);
    for (uint64_t i = 0; i < small / 4; i++)
        must_be("an upload", there[i], (uint32_t)(i * 2654435761));
    memset(c.pageable, 0, small);
    gpu_bench_must(b, run_staging_out(&c, b->stream, diags), "staging");
    must_be("a download", (uint64_t)memcmp(there, c.pageable, small), 0);
    gpu_bench_time(b, "upload, page-locked", 10, 1, run_copy_in, &c, 0, (double)small, -1);
    gpu_bench_time(b, "download, page-locked", 10, 1, run_copy_out, &c, 0, (double)small, -1);
    double up = gpu_bench_time(b, "upload, staged", 10, 1, run_staging_in, &c, 0, (double)small, -1)
                    .median_us;
    gpu_bench_time(b, "download, staged", 10, 1, run_staging_out, &c, 0, (double)small, -1);
    c.spin = (SpinArgs){c.b, b->bench.smoke ? 1000 : 12000000};
    c.launch = (GpuLaunch){.kernel = gpu_bench_kernel(b, "spin"),
                           .grid = {64, 1, 1},
                           .block = {256, 1, 1},
                           .args = &c.spin,
                           .args_bytes = sizeof c.spin};
    double alone = gpu_bench_time(b, "a kernel alone", 10, 1, run_spin, &c, 0, 0, -1).median_us;
    double both =
        gpu_bench_time(b, "the kernel and an upload", 10, 1, run_both, &c, 0, 0, -1).median_us;
    double shorter = alone < up ? alone : up;
    bench_tell_number(&b->bench, "share of the shorter that is hidden", 0,
                      shorter > 0 ? 100 * (alone + up - both) / shorter : 0, "%", 0);
    gpu_staging_close(&staging);
    gpu_host_close(b->gpu, c.pinned);
}

/* --- memory and compiling --------------------------------------------------------------------- */

static void bench_memory(GpuBench *b) {
    GpuArena arena;
    uint64_t bytes = (uint64_t)(b->bench.smoke ? 16 : 1024) * MIB, start = os_clock_ns();
    gpu_bench_must(b, gpu_arena_open(b->gpu, "test", bytes, 16 * bytes, &b->diags, &arena), "open");
    bench_tell_number(&b->bench, "arena: open 1 GiB", 0, ns_each(start, 1e3), "us", 0);
    start = os_clock_ns();
    gpu_bench_must(b, gpu_arena_grow(&arena, 2 * bytes, &b->diags), "grow");
    bench_tell_number(&b->bench, "arena: grow by 1 GiB", 0, ns_each(start, 1e3), "us", 0);
    gpu_bench_must(b, gpu_fill(b->stream, arena.base, 1, arena.bytes, &b->diags), "fill");
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), "fill");
    start = os_clock_ns();
    gpu_arena_close(&arena);
    bench_tell_number(&b->bench, "arena: close 2 GiB", 0, ns_each(start, 1e3), "us", 0);
    /* More than there is: a status with the table, and everything else goes on. */
    must_be("asking for too much",
            gpu_arena_open(b->gpu, "too much", 2 * b->gpu->info.memory_bytes,
                           2 * b->gpu->info.memory_bytes, &b->diags, &arena),
            STATUS_OUT_OF_MEMORY);
    must_be("its diagnostics", b->diags.rows.kind[1], DIAG_GPU_MEMORY);
    diags_clear(&b->diags);
}

static void bench_compile(GpuBench *b) {
    enum { MODULES = 16, KERNELS_EACH = 8 };
    GpuSource   sources[MODULES];
    String      images[MODULES];
    GpuCompiled compiled;
    uint32_t    salt = b->seed; /* never in the cache */
    for (uint32_t m = 0; m < MODULES; m++) {
        Text text = text_begin(b->arena);
        for (uint32_t k = 0; k < KERNELS_EACH; k++)
            text_addf(&text,
                      "extern \"C\" __global__ void k%u(float *y, const float *x, int n) {\n"
                      "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
                      "    if (i < n) y[i] = tanhf(x[i] * %u.0f) + expf(x[i] * %u.5f);\n}\n",
                      k, salt % 1000 + m, k);
        sources[m] = (GpuSource){"module", text_done(&text)};
    }
    static const char *const names[] = {"compile 128 kernels, one lane",
                                        "compile 128 kernels, lanes", "the same, kept"};
    for (uint32_t i = 0; i < 3; i++) {
        gpu_bench_must(b,
                       gpu_compile(b->arena, b->libs, i == 0 ? NULL : &b->cache, b->gpu->info.arch,
                                   sources, MODULES, i == 0 ? 1 : workers_lanes(b->workers),
                                   &b->diags, images, &compiled),
                       "compile");
        must_be("modules found", compiled.found, i == 2 ? MODULES : 0);
        bench_tell_number(&b->bench, names[i], 0, (double)compiled.ns * 1e-6, "ms", 0);
    }
    bench_tell_number(&b->bench, "lanes", 0, workers_lanes(b->workers), "lanes", 0);
}

int main(int argc, char **argv) {
    GpuBench b;
    int      status = 0;
    if (!gpu_bench_open(&b, "gpu_runtime", (const char *const[]){KERNELS, NULL}, argc, argv,
                        &status))
        return status;
    bench_launches(&b);
    bench_special(&b);
    bench_memory(&b);
    bench_copies(&b);
    bench_compile(&b);
    return gpu_bench_close(&b);
}
