/* Attention forward and backward through cuDNN, and backward of our own: GPT-2 124M (32 x 12 heads,
 * 1024 tokens, width 64, causal, from one packed tensor), 1.5B (8 x 25), long (2 x 8, 8192 tokens)
 * and a grouped one (4 x 32 heads on 8, 4096 tokens, width 128). Every engine that the heuristics
 * name is measured; the deterministic backward must repeat bitwise.
 *
 * Before each series, all rows of a few heads are compared with a reference in double precision on
 * the device: outputs, statistics and the three gradients. */
#include "bench/gpu_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/own_attention.h"

/* A block a row; 256 threads. Strides in elements; head h reads key head h / group. */
static const char FORWARD[] =
    "struct Heads { u64 at; long long batch, head, row; };\n"
    "struct Problem {\n"
    "    Heads q, k, v, d_o;\n"
    "    u64 o, lse, sums, d_q, d_k, d_v;\n" /* results: double, [group][row][width] */
    "    double scale;\n"
    "    int rows, width, causal, batch, head_kv, group;\n"
    "};\n"
    "__device__ double element(Heads t, int batch, int head, int row, int i) {\n"
    "    const unsigned short *at = (const unsigned short *)t.at;\n"
    "    unsigned half = at[batch * t.batch + head * t.head + row * t.row + i];\n"
    "    return __uint_as_float(half << 16);\n"
    "}\n"
    "__device__ double dot(const Problem &p, Heads x, int hx, int i, Heads y, int hy, int j) {\n"
    "    double sum = 0;\n"
    "    for (int l = 0; l < p.width; l++)\n"
    "        sum += element(x, p.batch, hx, i, l) * element(y, p.batch, hy, j, l);\n"
    "    return sum;\n"
    "}\n"
    "__device__ double combine(double x, bool largest) {\n"
    "    __shared__ double all[256];\n"
    "    __syncthreads();\n"
    "    all[threadIdx.x] = x;\n"
    "    for (int half = 128; half > 0; half >>= 1) {\n"
    "        __syncthreads();\n"
    "        if (threadIdx.x < half) {\n"
    "            double y = all[threadIdx.x + half];\n"
    "            all[threadIdx.x] = largest ? fmax(all[threadIdx.x], y) : all[threadIdx.x] + y;\n"
    "        }\n"
    "    }\n"
    "    __syncthreads();\n"
    "    return all[0];\n"
    "}\n"
    "extern \"C\" __global__ void forward_row(Problem p) {\n"
    "    extern __shared__ double shares[];\n"
    "    int i = blockIdx.x, g = blockIdx.y, h = p.head_kv * p.group + g;\n"
    "    int end = p.causal ? i + 1 : p.rows;\n"
    "    double largest = -1e300, sum = 0, product = 0;\n"
    "    for (int j = threadIdx.x; j < end; j += 256) {\n"
    "        shares[j] = p.scale * dot(p, p.q, h, i, p.k, p.head_kv, j);\n"
    "        largest = fmax(largest, shares[j]);\n"
    "    }\n"
    "    largest = combine(largest, true);\n"
    "    for (int j = threadIdx.x; j < end; j += 256) {\n"
    "        shares[j] = exp(shares[j] - largest);\n"
    "        sum += shares[j];\n"
    "    }\n"
    "    sum = combine(sum, false);\n"
    "    u64 row = (u64)g * p.rows + i;\n"
    "    for (int l = threadIdx.x; l < p.width; l += 256) {\n"
    "        double o = 0;\n"
    "        for (int j = 0; j < end; j++)\n"
    "            o += shares[j] * element(p.v, p.batch, p.head_kv, j, l);\n"
    "        ((double *)p.o)[row * p.width + l] = o / sum;\n"
    "        product += o / sum * element(p.d_o, p.batch, h, i, l);\n"
    "    }\n"
    "    product = combine(product, false);\n"
    "    if (threadIdx.x == 0) {\n"
    "        ((double *)p.lse)[row] = largest + log(sum);\n"
    "        ((double *)p.sums)[row] = product;\n"
    "    }\n"
    "}\n";
static const char BACKWARD[] =
    "extern \"C\" __global__ void d_q_row(Problem p) {\n"
    "    extern __shared__ double shares[];\n"
    "    int i = blockIdx.x, g = blockIdx.y, h = p.head_kv * p.group + g;\n"
    "    int end = p.causal ? i + 1 : p.rows;\n"
    "    u64 row = (u64)g * p.rows + i;\n"
    "    for (int j = threadIdx.x; j < end; j += 256) {\n"
    "        double s = exp(p.scale * dot(p, p.q, h, i, p.k, p.head_kv, j) -\n"
    "                       ((double *)p.lse)[row]);\n"
    "        shares[j] = s * p.scale * (dot(p, p.d_o, h, i, p.v, p.head_kv, j) -\n"
    "                                   ((double *)p.sums)[row]);\n"
    "    }\n"
    "    __syncthreads();\n"
    "    for (int l = threadIdx.x; l < p.width; l += 256) {\n"
    "        double sum = 0;\n"
    "        for (int j = 0; j < end; j++)\n"
    "            sum += shares[j] * element(p.k, p.batch, p.head_kv, j, l);\n"
    "        ((double *)p.d_q)[row * p.width + l] = sum;\n"
    "    }\n"
    "}\n"
    "extern \"C\" __global__ void d_kv_row(Problem p) {\n"
    "    extern __shared__ double shares[];\n"
    "    double *d_shares = shares + p.rows;\n"
    "    int j = blockIdx.x, start = p.causal ? j : 0;\n"
    "    double d_k[2] = {0, 0}, d_v[2] = {0, 0};\n" /* width is at most 512 */
    "    for (int g = 0; g < p.group; g++) {\n"
    "        int h = p.head_kv * p.group + g;\n"
    "        __syncthreads();\n"
    "        for (int i = start + threadIdx.x; i < p.rows; i += 256) {\n"
    "            u64 row = (u64)g * p.rows + i;\n"
    "            shares[i] = exp(p.scale * dot(p, p.q, h, i, p.k, p.head_kv, j) -\n"
    "                            ((double *)p.lse)[row]);\n"
    "            d_shares[i] = shares[i] * p.scale *\n"
    "                (dot(p, p.d_o, h, i, p.v, p.head_kv, j) - ((double *)p.sums)[row]);\n"
    "        }\n"
    "        __syncthreads();\n"
    "        for (int l = threadIdx.x, n = 0; l < p.width; l += 256, n++)\n"
    "            for (int i = start; i < p.rows; i++) {\n"
    "                d_k[n] += d_shares[i] * element(p.q, p.batch, h, i, l);\n"
    "                d_v[n] += shares[i] * element(p.d_o, p.batch, h, i, l);\n"
    "            }\n"
    "    }\n"
    "    for (int l = threadIdx.x, n = 0; l < p.width; l += 256, n++) {\n"
    "        ((double *)p.d_k)[(u64)j * p.width + l] = d_k[n];\n"
    "        ((double *)p.d_v)[(u64)j * p.width + l] = d_v[n];\n"
    "    }\n"
    "}\n";
typedef struct Heads {
    uint64_t at;
    int64_t  batch, head, row;
} Heads;
typedef struct Problem {
    Heads    q, k, v, d_o;
    uint64_t o, lse, sums, d_q, d_k, d_v;
    double   scale;
    int32_t  rows, width, causal, batch, head_kv, group;
} Problem;

typedef struct Setup { /* a problem with its tensors on the device */
    GpuBench         *b;
    GpuCudnn         *cudnn;
    GpuAttention      p;
    GpuAttentionArgs  args;
    GpuAttentionPlan *plan;
    GpuOwnAttention  *own; /* NULL: the plan */
    const char       *name;
} Setup;

static Status run_attention(void *context, GpuStream stream, Diags *diags) {
    const Setup *s = context;
    if (s->own != NULL) return gpu_own_attention_run(s->own, &s->args, stream, diags);
    return gpu_attention_run(s->plan, &s->args, stream, diags);
}

static Heads heads_of(CuPtr at, GpuHeads strides) {
    return (Heads){at, strides.batch, strides.head, strides.row};
}

/* One tensor of one group of heads against the reference, both copied to the host. */
static double compare(Setup *s, const char *what, CuPtr tensor, GpuHeads strides, int64_t batch,
                      int64_t first_head, int64_t heads, CuPtr reference) {
    GpuBench       *b = s->b;
    int64_t         rows = s->p.queries, width = s->p.width;
    int64_t         start = batch * strides.batch + first_head * strides.head;
    int64_t         span = (heads - 1) * strides.head + (rows - 1) * strides.row + width;
    uint64_t        count = (uint64_t)(heads * rows * width), n = 0;
    ArenaMark       mark = arena_mark(b->arena);
    double         *got = ARENA_ARRAY(b->arena, double, count);
    const uint16_t *all = gpu_bench_read(b, tensor + (uint64_t)start * 2, (uint64_t)span * 2);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t l = 0; l < width; l++)
                got[n++] = dtype_f32_of_bf16(all[h * strides.head + i * strides.row + l]);
    const double *want = gpu_bench_read(b, reference, count * 8);
    const char   *name = str_format(b->arena, "%s: %s", s->name, what).data;
    double        error = gpu_bench_check(b, name, got, want, count, 1.5e-2);
    arena_release(b->arena, mark);
    return error;
}

static void launch_rows(GpuBench *b, const char *name, const Problem *p, uint32_t group) {
    GpuKernel kernel = gpu_bench_kernel(b, name);
    uint32_t  shared = (uint32_t)p->rows * 16;
    GpuLaunch launch = {.kernel = kernel,
                        .grid = {(uint32_t)p->rows, group, 1},
                        .block = {256, 1, 1},
                        .shared_bytes = shared,
                        .args = p,
                        .args_bytes = sizeof *p};
    gpu_bench_must(b, gpu_kernel_allow(b->gpu, kernel, shared, false, &b->diags), name);
    gpu_bench_must(b, gpu_launch(b->stream, &launch, &b->diags), name);
}

/* All query heads of one key head against the reference. Returns the largest error. */
static double check_group(Setup *s, int64_t batch, int64_t head_kv, bool backward) {
    GpuBench           *b = s->b;
    const GpuAttention *p = &s->p;
    uint64_t            used = b->memory.used;
    int64_t             group = p->heads / p->heads_kv, first = head_kv * group;
    uint64_t            rows = (uint64_t)p->queries, width = (uint64_t)p->width;
    uint64_t            one = rows * width * 8;
    Problem             r = {.q = heads_of(s->args.q, p->q),
                             .k = heads_of(s->args.k, p->k),
                             .v = heads_of(s->args.v, p->v),
                             .d_o = heads_of(s->args.d_o, p->d_o),
                             .o = gpu_bench_take(b, one * (uint64_t)group),
                             .lse = gpu_bench_take(b, rows * 8 * (uint64_t)group),
                             .sums = gpu_bench_take(b, rows * 8 * (uint64_t)group),
                             .d_q = gpu_bench_take(b, one * (uint64_t)group),
                             .d_k = gpu_bench_take(b, one),
                             .d_v = gpu_bench_take(b, one),
                             .scale = 1 / sqrt((double)p->width),
                             .rows = (int32_t)rows,
                             .width = (int32_t)width,
                             .causal = p->causal,
                             .batch = (int32_t)batch,
                             .head_kv = (int32_t)head_kv,
                             .group = (int32_t)group};
    double              errors[4] = {0}, largest = 0;
    launch_rows(b, "forward_row", &r, (uint32_t)group);
    if (!backward) {
        errors[0] = compare(s, "output", s->args.o, p->o, batch, first, group, r.o);
    } else {
        launch_rows(b, "d_q_row", &r, (uint32_t)group);
        launch_rows(b, "d_kv_row", &r, 1);
        errors[1] = compare(s, "d_query", s->args.dq, p->dq, batch, first, group, r.d_q);
        errors[2] = compare(s, "d_key", s->args.dk, p->dk, batch, head_kv, 1, r.d_k);
        errors[3] = compare(s, "d_value", s->args.dv, p->dv, batch, head_kv, 1, r.d_v);
    }
    for (int i = 0; i < 4; i++) largest = fmax(largest, errors[i]);
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), "check");
    gpu_release(&b->memory, used);
    return largest;
}

/* Poisons, runs, checks a few heads, times. */
static void measure_run(Setup *s, const char *name, bool backward, uint64_t workspace_bytes) {
    GpuBench           *b = s->b;
    const GpuAttention *p = &s->p;
    uint64_t            bytes = (uint64_t)(p->batch * (backward ? p->q.batch : p->o.batch)) * 2;
    double              flops = (backward ? 10.0 : 4.0) * (double)p->batch * (double)p->heads *
                   (double)p->queries * (double)p->keys * (double)p->width / (p->causal ? 2 : 1);
    s->args.workspace = gpu_bench_take(b, workspace_bytes);
    gpu_bench_must(b,
                   gpu_fill(b->stream, backward ? s->args.dq : s->args.o, 0xFF, bytes, &b->diags),
                   "poison");
    gpu_bench_must(b, run_attention(s, b->stream, &b->diags), name);
    if (!bench_wants(&b->bench, name)) return; /* but backward needs what forward gives */
    double error = check_group(s, 0, 0, backward);
    error = fmax(error, check_group(s, p->batch - 1, p->heads_kv - 1, backward));
    gpu_bench_time(b, name, 15, 5, run_attention, s, flops, 0, error);
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), name);
}

/* One engine. The place of the next one; 0: there is none. */
static uint32_t measure_engine(Setup *s, bool backward, uint32_t rank) {
    GpuBench        *b = s->b;
    GpuAttentionPlan plan;
    ArenaMark        mark = arena_mark(b->arena);
    uint64_t         used = b->memory.used;
    Status status = gpu_attention_plan(s->cudnn, b->arena, &s->p, backward, rank, &b->diags, &plan);
    if (status == STATUS_UNSUPPORTED) {
        diags_clear(&b->diags);
        return 0;
    }
    gpu_bench_must(b, status, s->name);
    s->plan = &plan;
    const char *name =
        str_format(b->arena, "%s%s%s, engine %u", s->name, backward ? " backward" : " forward",
                   s->p.deterministic ? " deterministic" : "", plan.plan.rank)
            .data;
    measure_run(s, name, backward, plan.workspace_bytes);
    uint32_t next = plan.plan.rank + 1 < plan.plan.engines ? plan.plan.rank + 1 : 0;
    gpu_attention_close(&plan);
    gpu_release(&b->memory, used);
    arena_release(b->arena, mark);
    return next;
}

/* Beside the deterministic engines; what it does not take is no row. */
static void measure_own(Setup *s, bool backward, bool columns) {
    GpuBench       *b = s->b;
    GpuOwnAttention own;
    ArenaMark       mark = arena_mark(b->arena);
    uint64_t        used = b->memory.used;
    if (!gpu_own_attention_takes(&b->gpu->info, &s->p)) return;
    gpu_bench_must(b, gpu_own_attention_open(b->gpu, &b->cache, &s->p, backward, &b->diags, &own),
                   s->name);
    s->own = &own;
    const char *name =
        str_format(b->arena, "%s %s of our own%s", s->name, backward ? "backward" : "forward",
                   columns ? ", sums of columns" : "")
            .data;
    if (columns)
        s->args.columns = gpu_bench_take(b, 2ull * own.columns_count * (uint64_t)s->p.heads * 256);
    measure_run(s, name, backward, own.workspace_bytes);
    s->args.columns = 0;
    s->own = NULL;
    gpu_own_attention_close(&own);
    gpu_release(&b->memory, used);
    arena_release(b->arena, mark);
}

static void measure_engines(Setup *s, bool backward) {
    uint32_t    rank = 0;
    const char *name =
        str_format(s->b->arena, "%s %s", s->name, backward ? "backward" : "forward").data;
    bool wanted = bench_wants(&s->b->bench, name); /* else one, whose results others need */
    if (!wanted && backward) return;
    do rank = measure_engine(s, backward, rank);
    while (rank != 0 && wanted);
}

/* The deterministic backward gives the same bits ten times. */
static void check_repeats(Setup *s) {
    GpuBench        *b = s->b;
    GpuAttentionPlan plan;
    ArenaMark        mark = arena_mark(b->arena);
    uint64_t         bytes = (uint64_t)(s->p.batch * s->p.q.batch) * 2, used = b->memory.used;
    gpu_bench_must(b, gpu_attention_plan(s->cudnn, b->arena, &s->p, true, 0, &b->diags, &plan),
                   s->name);
    s->plan = &plan;
    s->args.workspace = gpu_bench_take(b, plan.workspace_bytes);
    gpu_bench_must(b, run_attention(s, b->stream, &b->diags), s->name);
    const void *first = gpu_bench_read(b, s->args.dq, bytes);
    ArenaMark   kept = arena_mark(b->arena); /* up to 200 MB each */
    for (uint32_t i = 1; i < 10; i++) {
        gpu_bench_must(b, run_attention(s, b->stream, &b->diags), s->name);
        bool same = memcmp(first, gpu_bench_read(b, s->args.dq, bytes), bytes) == 0;
        arena_release(b->arena, kept);
        if (same) continue;
        (void)fprintf(stderr, "%s: the deterministic backward differs in run %u\n", s->name, i);
        exit(1);
    }
    gpu_attention_close(&plan);
    gpu_release(&b->memory, used);
    arena_release(b->arena, mark);
}

static void measure(GpuBench *b, GpuCudnn *cudnn, const char *name, int64_t batch, int64_t heads,
                    int64_t heads_kv, int64_t tokens, int64_t width) {
    int64_t  each = (heads + 2 * heads_kv) * width; /* a token of the packed tensor */
    GpuHeads packed = {tokens * each, width, each};
    GpuHeads plain = {tokens * heads * width, width, heads * width};
    uint64_t packed_bytes = (uint64_t)(batch * packed.batch) * 2;
    uint64_t plain_bytes = (uint64_t)(batch * plain.batch) * 2;
    uint64_t k_at = (uint64_t)(heads * width) * 2, v_at = k_at + (uint64_t)(heads_kv * width) * 2;
    uint64_t used = b->memory.used;
    GpuAttention p = {.batch = batch,
                      .heads = heads,
                      .heads_kv = heads_kv,
                      .queries = tokens,
                      .keys = tokens,
                      .width = width,
                      .q = packed,
                      .k = packed,
                      .v = packed,
                      .o = plain,
                      .d_o = plain,
                      .dq = packed,
                      .dk = packed,
                      .dv = packed,
                      .dtype = DTYPE_BF16,
                      .causal = true};
    Setup        s = {.b = b, .cudnn = cudnn, .p = p, .name = name};
    s.args.q = gpu_bench_take(b, packed_bytes);
    s.args.k = s.args.q + k_at;
    s.args.v = s.args.q + v_at;
    s.args.dq = gpu_bench_take(b, packed_bytes);
    s.args.dk = s.args.dq + k_at;
    s.args.dv = s.args.dq + v_at;
    s.args.o = gpu_bench_take(b, plain_bytes);
    s.args.d_o = gpu_bench_take(b, plain_bytes);
    s.args.statistics = gpu_bench_take(b, (uint64_t)(batch * heads * tokens) * 4);
    gpu_bench_random(b, s.args.q, DTYPE_BF16, packed_bytes / 2, 1);
    gpu_bench_random(b, s.args.d_o, DTYPE_BF16, plain_bytes / 2, 1);
    measure_engines(&s, false);
    measure_own(&s, false, false);
    measure_engines(&s, true);
    s.p.deterministic = true;
    measure_engines(&s, true);
    measure_own(&s, true, false);
    measure_own(&s, true, true);
    if (bench_wants(&b->bench, str_format(b->arena, "%s repeats", name).data)) check_repeats(&s);
    gpu_release(&b->memory, used);
}

int main(int argc, char **argv) {
    GpuBench b;
    GpuCudnn cudnn;
    int      status = 0;
    if (!gpu_bench_open(&b, "gpu_attention", (const char *const[]){FORWARD, BACKWARD, NULL}, argc,
                        argv, &status))
        return status;
    gpu_bench_must(&b, gpu_cudnn_open(b.gpu, &b.cache, &b.diags, &cudnn), "cuDNN");
    const GpuBinding *binding = &b.libs->bindings[GPU_LIBRARY_CUDNN];
    gpu_bench_note(&b, "# cuDNN %s, %s\n", gpu_version_text(b.arena, binding->version).data,
                   binding->path.data);
    measure(&b, &cudnn, "gpt2", b.bench.smoke ? 2 : 32, 12, 12, 1024, 64);
    if (!b.bench.smoke) {
        measure(&b, &cudnn, "1.5B", 8, 25, 25, 1024, 64);
        measure(&b, &cudnn, "long", 2, 8, 8, 8192, 64);
        measure(&b, &cudnn, "grouped", 4, 32, 8, 4096, 128);
    }
    gpu_cudnn_close(&cudnn);
    return gpu_bench_close(&b);
}
