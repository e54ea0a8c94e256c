/* Attention on a device against double precision on the host: cuDNN's causal and full, grouped
 * heads, lengths, deterministic, packed and plain layouts, in f16 and bf16, and inside a graph; and
 * what kernels of our own take by those, too. */
#include "device.h"
#include "gpu/own_attention.h"

typedef struct Case {
    Device           *d;
    GpuAttention      p;
    GpuAttentionArgs  args;
    GpuAttentionPlan *plan;
    GpuOwnAttention  *own;             /* NULL: the plan does it */
    void             *q, *k, *v, *d_o; /* on the host */
    int32_t           lengths_q[8], lengths_kv[8];
    double           *wide[4];                /* q, k, v, d_o: [batch][head][row][width] */
    double           *o, *lse, *dq, *dk, *dv; /* likewise */
} Case;

static double at(const Case *c, const void *tensor, GpuHeads s, int64_t b, int64_t h, int64_t i,
                 int64_t l) {
    return device_number((Dtype)c->p.dtype, tensor,
                         (uint64_t)(b * s.batch + h * s.head + i * s.row + l));
}
static bool sees(const Case *c, int64_t b, int64_t i, int64_t j) {
    return (!c->p.causal || j <= i) && (!c->p.lengths || j < c->lengths_kv[b]);
}
static int64_t rows_of(const Case *c, int64_t b) {
    return c->p.lengths ? c->lengths_q[b] : c->p.queries;
}

static double scale_of(const GpuAttention *p) {
    return p->scale != 0 ? (double)p->scale : 1 / sqrt((double)p->width);
}
/* Row i of a head of q, k, v or d_o. */
static const double *row_of(const Case *c, int tensor, int64_t b, int64_t h, int64_t i) {
    bool    keys = tensor == 1 || tensor == 2;
    int64_t heads = keys ? c->p.heads_kv : c->p.heads, rows = keys ? c->p.keys : c->p.queries;
    return c->wide[tensor] + ((b * heads + h) * rows + i) * c->p.width;
}
static double dot(const Case *c, const double *x, const double *y) {
    double sum = 0;
    for (int64_t l = 0; l < c->p.width; l++) sum += x[l] * y[l];
    return sum;
}
/* y += factor x */
static void add(const Case *c, double *y, double factor, const double *x) {
    for (int64_t l = 0; l < c->p.width; l++) y[l] += factor * x[l];
}
static double share_sum(const Case *c, int64_t b, int64_t h, int64_t i, double *shares) {
    const GpuAttention *p = &c->p;
    int64_t             kv = h / (p->heads / p->heads_kv);
    double              largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < p->keys; j++) {
        shares[j] = -INFINITY;
        if (!sees(c, b, i, j)) continue;
        shares[j] = dot(c, row_of(c, 0, b, h, i), row_of(c, 1, b, kv, j)) * scale_of(p);
        largest = fmax(largest, shares[j]);
    }
    for (int64_t j = 0; j < p->keys; j++) sum += shares[j] = exp(shares[j] - largest);
    for (int64_t j = 0; j < p->keys; j++) shares[j] /= sum;
    return largest + log(sum);
}

/* Outputs and gradients of one row of queries. */
static void compute_row(Case *c, int64_t b, int64_t h, int64_t i, double *shares) {
    const GpuAttention *p = &c->p;
    int64_t             kv = h / (p->heads / p->heads_kv), w = p->width;
    int64_t             row = (b * p->heads + h) * p->queries + i;
    const double       *q = row_of(c, 0, b, h, i), *d_o = row_of(c, 3, b, h, i);
    double             *o = c->o + row * w;
    c->lse[row] = share_sum(c, b, h, i, shares);
    for (int64_t j = 0; j < p->keys; j++)
        if (sees(c, b, i, j)) add(c, o, shares[j], row_of(c, 2, b, kv, j));
    double product = dot(c, o, d_o);
    for (int64_t j = 0; j < p->keys; j++) {
        if (!sees(c, b, i, j)) continue;
        int64_t key = ((b * p->heads_kv + kv) * p->keys + j) * w;
        double  d_share = dot(c, d_o, row_of(c, 2, b, kv, j));
        double  d_score = shares[j] * (d_share - product) * scale_of(p);
        add(c, c->dq + row * w, d_score, row_of(c, 1, b, kv, j));
        add(c, c->dk + key, d_score, q);
        add(c, c->dv + key, shares[j], d_o);
    }
}

static double *widen(const Case *c, const void *tensor, GpuHeads s, int64_t heads, int64_t rows) {
    uint64_t count = (uint64_t)(c->p.batch * heads * rows * c->p.width), n = 0;
    double  *wide = ARENA_ARRAY(c->d->arena, double, count);
    for (int64_t b = 0; b < c->p.batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < rows; i++)
                for (int64_t l = 0; l < c->p.width; l++) wide[n++] = at(c, tensor, s, b, h, i, l);
    return wide;
}
static void compute(Case *c) {
    const GpuAttention *p = &c->p;
    Arena              *arena = c->d->arena;
    uint64_t            rows = (uint64_t)(p->batch * p->heads * p->queries);
    uint64_t            keys = (uint64_t)(p->batch * p->heads_kv * p->keys), w = (uint64_t)p->width;
    double             *shares = ARENA_ARRAY(arena, double, p->keys);
    c->o = ARENA_ARRAY_ZERO(arena, double, rows *w);
    c->dq = ARENA_ARRAY_ZERO(arena, double, rows *w);
    c->dk = ARENA_ARRAY_ZERO(arena, double, keys *w);
    c->dv = ARENA_ARRAY_ZERO(arena, double, keys *w);
    c->lse = ARENA_ARRAY_ZERO(arena, double, rows);
    c->wide[0] = widen(c, c->q, p->q, p->heads, p->queries);
    c->wide[1] = widen(c, c->k, p->k, p->heads_kv, p->keys);
    c->wide[2] = widen(c, c->v, p->v, p->heads_kv, p->keys);
    c->wide[3] = widen(c, c->d_o, p->d_o, p->heads, p->queries);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->heads; h++)
            for (int64_t i = 0; i < rows_of(c, b); i++) compute_row(c, b, h, i, shares);
}

/* A result of the device against the reference, over the real rows only. */
static double error_of(const Case *c, CuPtr tensor, GpuHeads s, int64_t heads, const double *want,
                       const int32_t *lengths) {
    const GpuAttention *p = &c->p;
    int64_t             span =
        (p->batch - 1) * s.batch + (heads - 1) * s.head + (p->queries - 1) * s.row + p->width;
    const void *got = device_read(c->d, tensor, (uint64_t)span * 2);
    double      difference = 0, size = 0;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < (p->lengths ? lengths[b] : p->queries); i++)
                for (int64_t l = 0; l < p->width; l++) {
                    double x = want[((b * heads + h) * p->queries + i) * p->width + l];
                    double away = at(c, got, s, b, h, i, l) - x;
                    difference += away * away, size += x * x;
                }
    return sqrt(difference / size);
}

static void setup(Case *c, Device *d) {
    GpuAttention *p = &c->p;
    uint64_t q_count = (uint64_t)(p->batch * p->q.batch), kv = (uint64_t)(p->batch * p->k.batch);
    c->d = d;
    c->args.q = device_numbers(d, (Dtype)p->dtype, q_count, 1, &c->q);
    c->args.k = device_numbers(d, (Dtype)p->dtype, kv, 1, &c->k);
    c->args.v = device_numbers(d, (Dtype)p->dtype, kv, 1, &c->v);
    c->args.d_o = device_numbers(d, (Dtype)p->dtype, q_count, 1, &c->d_o);
    c->args.o = device_poisoned(d, q_count * 2);
    c->args.dq = device_poisoned(d, q_count * 2);
    c->args.dk = device_poisoned(d, kv * 2);
    c->args.dv = device_poisoned(d, kv * 2);
    c->args.statistics = device_poisoned(d, (uint64_t)(p->batch * p->heads * p->queries) * 4);
    for (int64_t b = 0; b < p->batch; b++) {
        c->lengths_kv[b] = (int32_t)(p->keys - b * 37);
        c->lengths_q[b] = c->lengths_kv[b];
    }
    if (p->lengths) {
        c->args.lengths_q = device_poisoned(d, 256);
        c->args.lengths_kv = device_poisoned(d, 256);
        EXPECT(device_ok(d, gpu_copy_in(d->stream, c->args.lengths_q, c->lengths_q,
                                        4 * (uint64_t)p->batch, &d->diags)));
        EXPECT(device_ok(d, gpu_copy_in(d->stream, c->args.lengths_kv, c->lengths_kv,
                                        4 * (uint64_t)p->batch, &d->diags)));
    }
}

static Status record(void *context, GpuStream stream, Diags *diags) {
    const Case *c = context;
    if (c->own != NULL) return gpu_own_attention_run(c->own, &c->args, stream, diags);
    return gpu_attention_run(c->plan, &c->args, stream, diags);
}

/* Runs what is to be run directly, or captured into a graph and replayed. */
static bool run(Case *c, uint64_t workspace_bytes, bool in_graph) {
    Device  *d = c->d;
    CuGraph  child;
    GpuGraph graph;
    EXPECT(device_ok(d, gpu_push(&d->memory, workspace_bytes, 256, &d->diags, &c->args.workspace)));
    if (!in_graph) return device_ok(d, record(c, d->stream, &d->diags));
    if (!device_ok(d, gpu_capture(d->stream, record, c, &d->diags, &child))) return false;
    const GpuNode node = {.kind = GPU_NODE_CHILD, .child = child};
    bool          ok = device_ok(d, gpu_graph_begin(d->gpu, &d->diags, &graph)) &&
              device_ok(d, gpu_graph_add(&graph, d->arena, (GpuNodes){&node, 1}, &d->diags)) &&
              device_ok(d, gpu_graph_finish(&graph, &d->diags)) &&
              device_ok(d, gpu_graph_launch(&graph, d->stream, &d->diags)) &&
              device_ok(d, gpu_stream_sync(d->stream, &d->diags));
    gpu_graph_close(&graph);
    gpu_capture_close(d->gpu, child);
    return ok;
}

static bool run_plan(Case *c, GpuAttentionPlan *plan, bool in_graph) {
    c->plan = plan;
    return run(c, plan->workspace_bytes, in_graph);
}

static void check_gradient(const Case *c, const char *name, const char *which, double error) {
    if (!EXPECT(error < (c->p.dtype == DTYPE_F16 ? 4e-3 : 2e-2)))
        printf("\n  %s: %s error %g", name, which, error);
}
static void check_gradients(const Case *c, const char *name) {
    const GpuAttention *p = &c->p;
    check_gradient(c, name, "dq", error_of(c, c->args.dq, p->dq, p->heads, c->dq, c->lengths_q));
    check_gradient(c, name, "dk",
                   error_of(c, c->args.dk, p->dk, p->heads_kv, c->dk, c->lengths_kv));
    check_gradient(c, name, "dv",
                   error_of(c, c->args.dv, p->dv, p->heads_kv, c->dv, c->lengths_kv));
}

static double output_error(const Case *c) {
    return error_of(c, c->args.o, c->p.o, c->p.heads, c->o, c->lengths_q);
}
static double statistics_error(const Case *c) {
    uint64_t rows = (uint64_t)(c->p.batch * c->p.heads * c->p.queries);
    return device_error(DTYPE_F32, device_read(c->d, c->args.statistics, rows * 4), c->lse, rows);
}
/* Parts of the sums of the columns of a gradient, added up, against those of the reference: of
 * what is not rounded yet. */
static void check_columns(const Case *c, const char *name, const float *parts, uint32_t count,
                          const double *want) {
    const GpuAttention *p = &c->p;
    double              difference = 0, size = 0;
    for (int64_t h = 0; h < p->heads; h++)
        for (int64_t l = 0; l < p->width; l++) {
            double sum = 0, right = 0, squares = 0;
            for (uint32_t i = 0; i < count; i++)
                sum += (double)parts[(h * count + i) * p->width + l];
            for (int64_t b = 0; b < p->batch; b++)
                for (int64_t i = 0; i < p->keys; i++) {
                    double x = want[((b * p->heads + h) * p->keys + i) * p->width + l];
                    right += x, squares += x * x;
                }
            difference += (sum - right) * (sum - right), size += squares;
        }
    if (!EXPECT(sqrt(difference / size) < 2e-2))
        printf("\n  %s: sums of columns: error %g", name, sqrt(difference / size));
}

/* The same by kernels of our own; the same bits the second time. */
static void check_own(Case *c, const char *name, bool backward, bool in_graph) {
    enum { RESULTS = 5 };
    Device         *d = c->d;
    GpuOwnAttention own;
    uint64_t        rows = (uint64_t)(c->p.batch * c->p.heads * c->p.queries);
    uint64_t        bytes = (uint64_t)(c->p.batch * c->p.q.batch) * 2; /* of each tensor */
    CuPtr          *forward[RESULTS] = {&c->args.o, &c->args.statistics};
    CuPtr          *gradients[RESULTS] = {&c->args.dq, &c->args.dk, &c->args.dv, &c->args.columns};
    CuPtr         **results = backward ? gradients : forward;
    const double    before = output_error(c);
    const void     *bits[2][RESULTS];
    if (!EXPECT(
            device_ok(d, gpu_own_attention_open(d->gpu, NULL, &c->p, backward, &d->diags, &own))))
        return;
    uint64_t part = (uint64_t)c->p.heads * own.columns_count * 256;
    uint64_t sizes[2][RESULTS] = {{bytes, rows * 4}, {bytes, bytes, bytes, 2 * part}};
    EXPECT_EQ(own.main.local_bytes, 0); /* nothing of it spills */
    c->own = &own;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < RESULTS && results[i] != NULL; i++)
            *results[i] = device_poisoned(d, sizes[backward][i]);
        EXPECT(run(c, own.workspace_bytes, in_graph));
        for (int i = 0; i < RESULTS && results[i] != NULL; i++)
            bits[turn][i] = device_read(d, *results[i], sizes[backward][i]);
        if (!backward && !EXPECT(output_error(c) < 1.1 * before && statistics_error(c) < 1e-5))
            printf("\n  %s: errors %g (cuDNN's %g), %g", name, output_error(c), before,
                   statistics_error(c));
        if (!backward) continue;
        check_gradients(c, name);
        const double *wants[2] = {c->dq, c->dv};
        for (uint64_t i = 0; i < 2; i++)
            check_columns(c, name, (const float *)bits[turn][3] + i * part / 4, own.columns_count,
                          wants[i]);
    }
    for (int i = 0; i < RESULTS && results[i] != NULL; i++)
        EXPECT_EQ(memcmp(bits[0][i], bits[1][i], sizes[backward][i]), 0);
    gpu_own_attention_close(&own);
}

static void check(Device *d, GpuCudnn *cudnn, const char *name, GpuAttention p, bool in_graph) {
    Case             c = {.p = p};
    GpuAttentionPlan forward = {0}, backward = {0};
    ArenaMark        mark = arena_mark(d->arena);
    uint64_t         used = d->memory.used;
    double           bound = p.dtype == DTYPE_F16 ? 4e-3 : 2e-2;
    setup(&c, d);
    compute(&c);
    bool ok =
        device_ok(d, gpu_attention_plan(cudnn, d->arena, &p, false, 0, &d->diags, &forward)) &&
        device_ok(d, gpu_attention_plan(cudnn, d->arena, &p, true, 0, &d->diags, &backward)) &&
        run_plan(&c, &forward, in_graph) && run_plan(&c, &backward, in_graph);
    if (EXPECT(ok)) {
        if (!EXPECT(output_error(&c) < bound)) printf("\n  %s: error %g", name, output_error(&c));
        check_gradients(&c, name);
        if (!p.lengths) EXPECT(statistics_error(&c) < 1e-3);
        for (int i = 0; i < 2 && gpu_own_attention_takes(&d->gpu->info, &p); i++)
            check_own(&c, name, i != 0, in_graph);
    }
    gpu_attention_close(&forward);
    gpu_attention_close(&backward);
    diags_clear(&d->diags);
    gpu_release(&d->memory, used);
    arena_release(d->arena, mark);
}

static GpuAttention problem(int64_t batch, int64_t heads, int64_t heads_kv, int64_t length,
                            int64_t width) {
    GpuHeads q = {length * heads * width, width, heads * width};
    GpuHeads kv = {length * heads_kv * width, width, heads_kv * width};
    return (GpuAttention){.batch = batch,
                          .heads = heads,
                          .heads_kv = heads_kv,
                          .queries = length,
                          .keys = length,
                          .width = width,
                          .q = q,
                          .o = q,
                          .d_o = q,
                          .dq = q,
                          .k = kv,
                          .v = kv,
                          .dk = kv,
                          .dv = kv,
                          .dtype = DTYPE_BF16,
                          .causal = true};
}

TEST(attention_matches_double_precision) {
    DEVICE(d);
    GpuCudnn cudnn;
    if (gpu_libs_need(d.libs, GPU_LIBRARY_CUDNN, &d.diags) != STATUS_OK) SKIP("cuDNN is not here");
    REQUIRE(device_ok(&d, gpu_cudnn_open(d.gpu, NULL, &d.diags, &cudnn)));
    GpuAttention p = problem(2, 3, 3, 256, 64);
    check(&d, &cudnn, "causal", p, false);
    check(&d, &cudnn, "causal in a graph", p, true);
    p.causal = false;
    check(&d, &cudnn, "full", p, false);
    p.dtype = DTYPE_F16;
    check(&d, &cudnn, "full, f16", p, false);
    p = problem(2, 6, 2, 128, 128);
    check(&d, &cudnn, "grouped, width 128", p, false);
    p.deterministic = true;
    check(&d, &cudnn, "grouped, deterministic", p, false);
    p = problem(3, 4, 4, 256, 64);
    p.lengths = true;
    check(&d, &cudnn, "lengths, causal", p, false);
    p.causal = false;
    check(&d, &cudnn, "lengths", p, false);
    p = problem(2, 2, 2, 200, 64); /* no multiple of 128 */
    if (d.libs->bindings[GPU_LIBRARY_CUDNN].version >= 91501) check(&d, &cudnn, "odd", p, false);
    /* Heads first: [batch, heads, rows, width]. */
    p = problem(2, 3, 3, 256, 64);
    p.q = p.k = p.v = p.o = p.d_o = p.dq = p.dk = p.dv = (GpuHeads){3 * 256 * 64, 256 * 64, 64};
    check(&d, &cudnn, "heads first", p, false);
    /* Teams of blocks: of two with one block of keys too many, of four, of eight. */
    check(&d, &cudnn, "5 blocks", problem(3, 2, 2, 640, 64), false);
    check(&d, &cudnn, "10 blocks", problem(1, 2, 2, 1280, 64), true);
    check(&d, &cudnn, "16 blocks", problem(1, 1, 1, 2048, 64), false);
    p = problem(2, 2, 2, 640, 64);
    p.causal = false, p.scale = 0.1f;
    check(&d, &cudnn, "5 blocks, full, a scale", p, false);
    p = problem(1, 2, 2, 640, 64); /* largest scores of rows grow by more than 8 */
    p.scale = 0.6f;
    check(&d, &cudnn, "large scores", p, false);
    check(&d, &cudnn, "several heads a team", problem(20, 15, 15, 128, 64), false);
    gpu_cudnn_close(&cudnn);
    device_close(&d);
}
