/* Scaled dot-product attention, forward and backward, by cuDNN's fused engines.
 *
 *     o = softmax(scale * q k' + mask) v,     for each batch and head, in f32 inside
 *
 * q, o: [batch, heads, queries, width]; k, v: [batch, heads_kv, keys, width]; any strides with the
 * width contiguous, so parts of one packed tensor serve. heads is a multiple of heads_kv (grouped
 * queries). statistics: f32 [batch, heads, queries], dense: log of the sum of exponentials of each
 * row, what backward needs besides o. */
#ifndef STOA_GPU_CUDNN_ATTENTION_H
#define STOA_GPU_CUDNN_ATTENTION_H

#include "gpu/cudnn.h"

typedef struct GpuHeads { /* elements from one batch, head or row to the next */
    int64_t batch, head, row;
} GpuHeads;
typedef struct GpuAttention {
    int64_t  batch, heads, heads_kv, queries, keys, width;
    GpuHeads q, k, v, o;
    GpuHeads d_o, dq, dk, dv; /* backward only */
    float    scale;           /* 0: 1 / sqrt(width) */
    uint8_t  dtype;           /* Dtype: BF16 or F16 */
    bool     causal;          /* row i sees the columns up to i; queries equal keys */
    bool     lengths;         /* int32 [batch] numbers of real queries and of real keys */
    bool     deterministic;   /* backward: dq is summed in a fixed order; needs 2 bytes for each
                                 score as workspace, and time */
} GpuAttention;
typedef struct GpuAttentionArgs {
    CuPtr q, k, v, o, statistics;
    CuPtr lengths_q, lengths_kv;
    CuPtr d_o, dq, dk, dv;
    CuPtr columns;   /* of own_attention.h only */
    CuPtr workspace; /* GpuAttentionPlan.workspace_bytes, aligned to 256 */
} GpuAttentionArgs;

enum { ATTENTION_TENSORS = 13, ATTENTION_NUMBERS = 6 };
typedef struct GpuAttentionPlan {
    CudnnPlan plan;
    uint64_t  workspace_bytes;            /* of the plan and of what follows it */
    uint64_t  sums_at, dq_sums_at;        /* in the workspace: backward's own tensors */
    uint32_t  tensors[ATTENTION_TENSORS]; /* of the graph, in the order of cudnn_attention.c */
    uint32_t  numbers[ATTENTION_NUMBERS]; /* tensors that are numbers, and what they are */
    float     values[ATTENTION_NUMBERS];
} GpuAttentionPlan;

/* rank: how many engines of the heuristics to skip, to measure the others. GPU_UNSUPPORTED says
 * what cuDNN or this version of it cannot do. Descriptors are listed in arena; close the plan. */
MUST_USE Status gpu_attention_plan(GpuCudnn *cudnn, Arena *arena, const GpuAttention *problem,
                                   bool backward, uint32_t rank, Diags *diags,
                                   GpuAttentionPlan *out_plan);
MUST_USE Status gpu_attention_run(const GpuAttentionPlan *plan, const GpuAttentionArgs *args,
                                  GpuStream stream, Diags *diags);
void            gpu_attention_close(GpuAttentionPlan *plan); /* safe on all zero */

#endif
