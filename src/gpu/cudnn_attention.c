/* Attention spelled out as cuDNN's engines recognise it.
 *
 * cuDNN 9.13 has one descriptor for the whole forward and 9.19 one for the backward, but neither
 * can express a causal mask before 9.21; the spelled-out graph is fused by every 9.x. The engines
 * match patterns, so the order of operations, the types of hidden tensors and even the
 * multiplication by a dropout factor of one are as they expect them (docs/notes/0009). */
#include "gpu/cudnn_attention.h"

#include <float.h>
#include <math.h>

typedef enum Role { /* ORDER GpuAttentionPlan.tensors */
                    ROLE_Q,
                    ROLE_K,
                    ROLE_V,
                    ROLE_O,
                    ROLE_STATISTICS,
                    ROLE_LENGTHS_Q,
                    ROLE_LENGTHS_KV,
                    ROLE_DO,
                    ROLE_DQ,
                    ROLE_DK,
                    ROLE_DV,
                    ROLE_SUMS,    /* sum of d_o * o of each row, f32, in the workspace */
                    ROLE_DQ_SUMS, /* dq in f32, in the workspace */
                    ROLE_COUNT
} Role;
static_assert((int)ROLE_COUNT == (int)ATTENTION_TENSORS, "ORDER GpuAttentionPlan.tensors");

/* A graph under construction. */
typedef struct Sketch {
    CudnnGraph         *graph;
    const GpuAttention *p;
    GpuAttentionPlan   *plan;
    int                 type; /* of q, k, v */
    int                 version;
    uint32_t            numbers_count;
} Sketch;

/* --- tensors ---------------------------------------------------------------------------------- */

/* A tensor of one of the roles: [batch, heads, rows, width], or its last two axes exchanged. */
static uint32_t heads_tensor(Sketch *s, Role role, int64_t heads, int64_t rows, GpuHeads strides,
                             bool across) {
    const GpuAttention *p = s->p;
    int64_t             dims[] = {p->batch, heads, rows, p->width};
    int64_t             steps[] = {strides.batch, strides.head, strides.row, 1};
    if (across) {
        dims[2] = p->width, dims[3] = rows;
        steps[2] = 1, steps[3] = strides.row;
    }
    uint32_t tensor = gpu_cudnn_tensor(s->graph, CUDNN_MEMORY, s->type, 4, dims, steps);
    s->plan->tensors[role] = tensor;
    return tensor;
}
static uint32_t lengths_tensor(Sketch *s, Role role) {
    const int64_t dims[] = {s->p->batch, 1, 1, 1}, steps[] = {1, 1, 1, 1};
    if (!s->p->lengths) return 0;
    uint32_t tensor =
        gpu_cudnn_tensor(s->graph, CUDNN_MEMORY, ABI_CUDNN_DATA_INT32, 4, dims, steps);
    s->plan->tensors[role] = tensor;
    return tensor;
}
/* One f32 a row of scores. */
static uint32_t row_tensor(Sketch *s, CudnnPlace place) {
    const GpuAttention *p = s->p;
    const int64_t       dims[] = {p->batch, p->heads, p->queries, 1};
    const int64_t       steps[] = {p->heads * p->queries, p->queries, 1, 1};
    return gpu_cudnn_tensor(s->graph, place, ABI_CUDNN_DATA_FLOAT, 4, dims, steps);
}
/* One element a score. */
static uint32_t score_tensor(Sketch *s, int type) {
    const GpuAttention *p = s->p;
    const int64_t       dims[] = {p->batch, p->heads, p->queries, p->keys};
    int64_t             plane = p->queries * p->keys;
    const int64_t       steps[] = {p->heads * plane, plane, p->keys, 1};
    return gpu_cudnn_tensor(s->graph, CUDNN_HIDDEN, type, 4, dims, steps);
}
/* Scores with rows and columns exchanged. */
static uint32_t across_tensor(Sketch *s) {
    const GpuAttention *p = s->p;
    const int64_t       dims[] = {p->batch, p->heads, p->keys, p->queries};
    int64_t             plane = p->queries * p->keys;
    const int64_t       steps[] = {p->heads * plane, plane, 1, p->keys};
    return gpu_cudnn_tensor(s->graph, CUDNN_HIDDEN, s->type, 4, dims, steps);
}
static uint32_t number(Sketch *s, float value) {
    const int64_t ones[] = {1, 1, 1, 1};
    uint32_t      n = s->numbers_count++;
    ASSERT(n < ATTENTION_NUMBERS);
    uint32_t tensor = gpu_cudnn_tensor(s->graph, CUDNN_NUMBER, ABI_CUDNN_DATA_FLOAT, 4, ones, ones);
    s->plan->numbers[n] = tensor;
    s->plan->values[n] = value;
    return tensor;
}

/* --- parts that both directions have ---------------------------------------------------------- */

static uint32_t score_op(Sketch *s, int mode, uint32_t x, uint32_t b) {
    uint32_t y = score_tensor(s, ABI_CUDNN_DATA_FLOAT);
    return gpu_cudnn_pointwise(s->graph, mode, x, b, y);
}
static uint32_t bool_op(Sketch *s, int mode, uint32_t x, uint32_t b) {
    uint32_t y = score_tensor(s, ABI_CUDNN_DATA_BOOLEAN);
    (void)gpu_cudnn_pointwise(s->graph, mode, x, b, y);
    s->graph->ops[s->graph->ops_count - 1].math = ABI_CUDNN_DATA_BOOLEAN;
    return y;
}
/* The row (axis 2) or column (axis 3) of each score. */
static uint32_t index_op(Sketch *s, uint32_t x, int axis, int math) {
    uint32_t y = score_tensor(s, ABI_CUDNN_DATA_INT32);
    (void)gpu_cudnn_pointwise(s->graph, ABI_CUDNN_POINTWISE_GEN_INDEX, x, 0, y);
    s->graph->ops[s->graph->ops_count - 1].axis = axis;
    s->graph->ops[s->graph->ops_count - 1].math = math;
    return y;
}
static uint32_t keep_where(Sketch *s, uint32_t x, uint32_t mask) {
    float    lowest = s->version < 91000 ? -FLT_MAX : -INFINITY;
    uint32_t y = score_op(s, ABI_CUDNN_POINTWISE_BINARY_SELECT, x, number(s, lowest));
    s->graph->ops[s->graph->ops_count - 1].t = mask;
    return y;
}

static uint32_t mask_scores(Sketch *s, uint32_t x, uint32_t lengths_q, uint32_t lengths_kv) {
    if (s->p->lengths) {
        uint32_t row = index_op(s, x, 2, ABI_CUDNN_DATA_INT32);
        uint32_t column = index_op(s, x, 3, ABI_CUDNN_DATA_INT32);
        uint32_t real_row = bool_op(s, ABI_CUDNN_POINTWISE_CMP_LT, row, lengths_q);
        uint32_t real_column = bool_op(s, ABI_CUDNN_POINTWISE_CMP_LT, column, lengths_kv);
        x = keep_where(s, x, bool_op(s, ABI_CUDNN_POINTWISE_LOGICAL_AND, real_row, real_column));
    }
    if (s->p->causal) {
        uint32_t row = index_op(s, x, 2, ABI_CUDNN_DATA_FLOAT);
        uint32_t column = index_op(s, x, 3, ABI_CUDNN_DATA_FLOAT);
        x = keep_where(s, x, bool_op(s, ABI_CUDNN_POINTWISE_CMP_GE, row, column));
    }
    return x;
}

/* A product whose extents are cut to the real lengths. */
static uint32_t cut_matmul(Sketch *s, uint32_t x, uint32_t b, uint32_t y, uint32_t m, uint32_t n,
                           uint32_t k) {
    (void)gpu_cudnn_matmul(s->graph, x, b, y);
    CudnnOp *op = &s->graph->ops[s->graph->ops_count - 1];
    op->m = m, op->n = n, op->k = k;
    return y;
}

/* --- the two graphs --------------------------------------------------------------------------- */

static void sketch_forward(Sketch *s) {
    CudnnGraph         *g = s->graph;
    const GpuAttention *p = s->p;
    uint32_t            q = heads_tensor(s, ROLE_Q, p->heads, p->queries, p->q, false);
    uint32_t            k = heads_tensor(s, ROLE_K, p->heads_kv, p->keys, p->k, true);
    uint32_t            v = heads_tensor(s, ROLE_V, p->heads_kv, p->keys, p->v, false);
    uint32_t            o = heads_tensor(s, ROLE_O, p->heads, p->queries, p->o, false);
    uint32_t            lengths_q = lengths_tensor(s, ROLE_LENGTHS_Q);
    uint32_t            lengths_kv = lengths_tensor(s, ROLE_LENGTHS_KV);
    uint32_t            statistics = row_tensor(s, CUDNN_MEMORY);
    s->plan->tensors[ROLE_STATISTICS] = statistics;

    uint32_t scores =
        cut_matmul(s, q, k, score_tensor(s, ABI_CUDNN_DATA_FLOAT), lengths_q, lengths_kv, 0);
    scores = score_op(s, ABI_CUDNN_POINTWISE_MUL, scores, number(s, p->scale));
    scores = mask_scores(s, scores, lengths_q, lengths_kv);
    uint32_t largest =
        gpu_cudnn_reduce(g, ABI_CUDNN_REDUCE_TENSOR_MAX, scores, row_tensor(s, CUDNN_HIDDEN));
    uint32_t shifted = score_op(s, ABI_CUDNN_POINTWISE_SUB, scores, largest);
    uint32_t powers = score_op(s, ABI_CUDNN_POINTWISE_EXP, shifted, 0);
    uint32_t sums =
        gpu_cudnn_reduce(g, ABI_CUDNN_REDUCE_TENSOR_ADD, powers, row_tensor(s, CUDNN_HIDDEN));
    uint32_t logs =
        gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_LOG, sums, 0, row_tensor(s, CUDNN_HIDDEN));
    (void)gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_ADD, largest, logs, statistics);
    uint32_t shares =
        gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_DIV, powers, sums, score_tensor(s, s->type));
    (void)cut_matmul(s, shares, v, o, lengths_q, 0, lengths_kv);
}

/* The gradient of k or v: a product for each query head, summed over the heads of a group. */
static void sketch_shared(Sketch *s, uint32_t across, uint32_t rows, uint32_t into,
                          uint32_t lengths_q, uint32_t lengths_kv) {
    const GpuAttention *p = s->p;
    const int64_t       dims[] = {p->batch, p->heads, p->keys, p->width};
    int64_t             plane = p->keys * p->width;
    const int64_t       steps[] = {p->heads * plane, plane, p->width, 1};
    uint32_t            each = into;
    if (p->heads != p->heads_kv)
        each = gpu_cudnn_tensor(s->graph, CUDNN_HIDDEN, s->type, 4, dims, steps);
    (void)cut_matmul(s, across, rows, each, lengths_kv, 0, lengths_q);
    if (each != into) (void)gpu_cudnn_reduce(s->graph, ABI_CUDNN_REDUCE_TENSOR_ADD, each, into);
}

/* sums of d_o * o, one a row: what every score's gradient subtracts. */
static uint32_t sketch_sums(Sketch *s, uint32_t d_o, uint32_t o) {
    const GpuAttention *p = s->p;
    const int64_t       dims[] = {p->batch, p->heads, p->queries, p->width};
    const int64_t       steps[] = {p->heads * p->queries * p->width, p->queries * p->width,
                                   p->heads * p->width, 1}; /* hidden: only their order matters */
    CudnnGraph         *g = s->graph;
    uint32_t products = gpu_cudnn_tensor(g, CUDNN_HIDDEN, ABI_CUDNN_DATA_FLOAT, 4, dims, steps);
    (void)gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_MUL, d_o, o, products);
    uint32_t sums =
        gpu_cudnn_reduce(g, ABI_CUDNN_REDUCE_TENSOR_ADD, products, row_tensor(s, CUDNN_HIDDEN));
    uint32_t kept = row_tensor(s, CUDNN_MEMORY);
    s->plan->tensors[ROLE_SUMS] = kept;
    return gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_MUL, sums, number(s, 1), kept);
}

/* dq = d_scores k. The fast way adds blocks of columns into f32 as they come; the other one keeps
 * the scores' gradients in cuDNN's workspace. */
static void sketch_dq(Sketch *s, uint32_t d_scores, uint32_t k, uint32_t dq, uint32_t lengths_q,
                      uint32_t lengths_kv) {
    const GpuAttention *p = s->p;
    CudnnGraph         *g = s->graph;
    const int64_t       k_dims[] = {p->batch, p->heads_kv, p->keys, p->width};
    const int64_t       k_steps[] = {p->k.batch, p->k.head, p->k.row, 1};
    const int64_t       dims[] = {p->batch, p->heads, p->queries, p->width};
    int64_t             plane = p->queries * p->width;
    const int64_t       steps[] = {p->heads * plane, plane, p->width, 1};
    uint32_t k_rows = gpu_cudnn_tensor(g, CUDNN_HIDDEN, ABI_CUDNN_DATA_FLOAT, 4, k_dims, k_steps);
    (void)gpu_cudnn_reshape(g, k, k_rows);
    if (p->deterministic) {
        (void)cut_matmul(s, d_scores, k_rows, dq, lengths_q, 0, lengths_kv);
        return;
    }
    uint32_t sums = gpu_cudnn_tensor(g, CUDNN_MEMORY, ABI_CUDNN_DATA_FLOAT, 4, dims, steps);
    s->plan->tensors[ROLE_DQ_SUMS] = sums;
    (void)cut_matmul(s, d_scores, k_rows, sums, lengths_q, 0, lengths_kv);
    (void)gpu_cudnn_pointwise(g, ABI_CUDNN_POINTWISE_IDENTITY, sums, 0, dq);
}

static void sketch_backward(Sketch *s) {
    CudnnGraph         *g = s->graph;
    const GpuAttention *p = s->p;
    uint32_t            q = heads_tensor(s, ROLE_Q, p->heads, p->queries, p->q, false);
    uint32_t            k = heads_tensor(s, ROLE_K, p->heads_kv, p->keys, p->k, true);
    uint32_t            v = heads_tensor(s, ROLE_V, p->heads_kv, p->keys, p->v, true);
    uint32_t            o = heads_tensor(s, ROLE_O, p->heads, p->queries, p->o, false);
    uint32_t            d_o = heads_tensor(s, ROLE_DO, p->heads, p->queries, p->d_o, false);
    uint32_t            dq = heads_tensor(s, ROLE_DQ, p->heads, p->queries, p->dq, false);
    uint32_t            dk = heads_tensor(s, ROLE_DK, p->heads_kv, p->keys, p->dk, false);
    uint32_t            dv = heads_tensor(s, ROLE_DV, p->heads_kv, p->keys, p->dv, false);
    uint32_t            lengths_q = lengths_tensor(s, ROLE_LENGTHS_Q);
    uint32_t            lengths_kv = lengths_tensor(s, ROLE_LENGTHS_KV);
    uint32_t            statistics = row_tensor(s, CUDNN_MEMORY);
    uint32_t            scale = number(s, p->scale);
    s->plan->tensors[ROLE_STATISTICS] = statistics;

    uint32_t sums = sketch_sums(s, d_o, o);
    uint32_t scores =
        cut_matmul(s, q, k, score_tensor(s, ABI_CUDNN_DATA_FLOAT), lengths_q, lengths_kv, 0);
    scores = score_op(s, ABI_CUDNN_POINTWISE_MUL, scores, scale);
    scores = score_op(s, ABI_CUDNN_POINTWISE_SUB, scores, statistics);
    scores = mask_scores(s, scores, lengths_q, lengths_kv);
    uint32_t shares = score_op(s, ABI_CUDNN_POINTWISE_EXP, scores, 0);
    uint32_t across = gpu_cudnn_reshape(g, shares, across_tensor(s));
    sketch_shared(s, across, d_o, dv, lengths_q, lengths_kv);

    uint32_t d_shares =
        cut_matmul(s, d_o, v, score_tensor(s, ABI_CUDNN_DATA_FLOAT), lengths_q, lengths_kv, 0);
    uint32_t d_scores = score_op(s, ABI_CUDNN_POINTWISE_SUB, d_shares, sums);
    d_scores = score_op(s, ABI_CUDNN_POINTWISE_MUL, d_scores, shares);
    d_scores = score_op(s, ABI_CUDNN_POINTWISE_MUL, d_scores, scale);
    across = gpu_cudnn_reshape(g, d_scores, across_tensor(s));
    sketch_shared(s, across, q, dk, lengths_q, lengths_kv);
    sketch_dq(s, d_scores, k, dq, lengths_q, lengths_kv);
}

/* --- plans ------------------------------------------------------------------------------------ */

/* What cuDNN, or this version of it, gets wrong or does not have; NULL if nothing. */
static const char *objection(const GpuAttention *p, bool backward, int version) {
    bool odd = p->keys % 128 != 0 && !p->lengths;
    if (p->batch < 1 || p->heads < 1 || p->heads_kv < 1 || p->queries < 1 || p->keys < 1)
        return "a size is 0";
    if (gpu_cudnn_type(p->dtype) < 0 || p->dtype == DTYPE_F32) return "it takes f16 and bf16 only";
    if (p->heads % p->heads_kv != 0) return "the key heads do not divide the query heads";
    if (p->width % 8 != 0) return "the width of a head is no multiple of 8";
    if (p->causal && p->queries != p->keys) return "a causal mask needs as many queries as keys";
    if (backward && p->queries == 1 && p->keys == 1) return "there is one query and one key";
    if (backward && odd && version < 91501)
        return "before 9.15.1 it reads out of bounds in graphs when the keys are no multiple of "
               "128; give lengths, pad the keys, or take a newer cuDNN";
    return NULL;
}

static String describe(Arena *out, const GpuAttention *p, bool backward) {
    return str_format(out,
                      "attention %s, batch %lld, heads %lld (%lld), %lld x %lld, width %lld, "
                      "%s%s%s",
                      backward ? "backward" : "forward", (long long)p->batch, (long long)p->heads,
                      (long long)p->heads_kv, (long long)p->queries, (long long)p->keys,
                      (long long)p->width, dtype_infos[p->dtype].name, p->causal ? ", causal" : "",
                      p->lengths ? ", lengths" : "");
}

static uint64_t after(uint64_t at, uint64_t bytes) { return (at + bytes + 255) / 256 * 256; }

Status gpu_attention_plan(GpuCudnn *cudnn, Arena *arena, const GpuAttention *problem, bool backward,
                          uint32_t rank, Diags *diags, GpuAttentionPlan *out_plan) {
    GpuAttention p = *problem;
    int          version = cudnn->libs->bindings[GPU_LIBRARY_CUDNN].version;
    const char  *objects = objection(&p, backward, version);
    String       what = describe(arena, &p, backward);
    *out_plan = (GpuAttentionPlan){0};
    if (objects != NULL) return gpu_unsupported(GPU_LIBRARY_CUDNN, what, str_of(objects), diags);
    if (p.scale == 0) p.scale = (float)(1 / sqrt((double)p.width));

    Scratch scratch = scratch_begin(&arena, 1);
    Sketch  s = {.graph = ARENA_NEW(scratch.arena, CudnnGraph),
                 .p = &p,
                 .plan = out_plan,
                 .type = gpu_cudnn_type(p.dtype),
                 .version = version};
    if (backward)
        sketch_backward(&s);
    else
        sketch_forward(&s);
    uint64_t begin_ns = os_clock_ns();
    Status status = gpu_cudnn_plan(cudnn, arena, s.graph, what.data, rank, diags, &out_plan->plan);
    gpu_startup_end(cudnn->libs->startup, GPU_PART_ATTENTION, backward ? "backward" : "forward",
                    begin_ns);
    scratch_end(scratch);
    if (status != STATUS_OK) return status;
    uint64_t rows = (uint64_t)(p.batch * p.heads * p.queries);
    out_plan->sums_at = after(out_plan->plan.workspace_bytes, 0);
    out_plan->dq_sums_at = after(out_plan->sums_at, out_plan->tensors[ROLE_SUMS] ? rows * 4 : 0);
    out_plan->workspace_bytes = after(
        out_plan->dq_sums_at, out_plan->tensors[ROLE_DQ_SUMS] ? rows * 4 * (uint64_t)p.width : 0);
    return status;
}

Status gpu_attention_run(const GpuAttentionPlan *plan, const GpuAttentionArgs *args,
                         GpuStream stream, Diags *diags) {
    const CuPtr memory[ROLE_COUNT] = {[ROLE_Q] = args->q,
                                      [ROLE_K] = args->k,
                                      [ROLE_V] = args->v,
                                      [ROLE_O] = args->o,
                                      [ROLE_STATISTICS] = args->statistics,
                                      [ROLE_LENGTHS_Q] = args->lengths_q,
                                      [ROLE_LENGTHS_KV] = args->lengths_kv,
                                      [ROLE_DO] = args->d_o,
                                      [ROLE_DQ] = args->dq,
                                      [ROLE_DK] = args->dk,
                                      [ROLE_DV] = args->dv,
                                      [ROLE_SUMS] = args->workspace + plan->sums_at,
                                      [ROLE_DQ_SUMS] = args->workspace + plan->dq_sums_at};
    int64_t     tensors[ROLE_COUNT + ATTENTION_NUMBERS];
    void       *addresses[ROLE_COUNT + ATTENTION_NUMBERS];
    uint32_t    count = 0;
    for (uint32_t i = 0; i < ROLE_COUNT; i++) {
        if (plan->tensors[i] == 0) continue;
        ASSERT(memory[i] != 0);
        tensors[count] = plan->tensors[i];
        addresses[count++] = (void *)(uintptr_t)memory[i];
    }
    for (uint32_t i = 0; i < ATTENTION_NUMBERS; i++) {
        if (plan->numbers[i] == 0) continue;
        tensors[count] = plan->numbers[i];
        addresses[count++] = (void *)(uintptr_t)&plan->values[i];
    }
    return gpu_cudnn_run(&plan->plan, tensors, addresses, count, args->workspace, stream, diags);
}

void gpu_attention_close(GpuAttentionPlan *plan) {
    gpu_cudnn_plan_close(&plan->plan);
    *plan = (GpuAttentionPlan){0};
}
