/* Attention by kernels of our own, for Hopper: heads of width 64, as many key heads as query heads,
 * whole blocks of 128 rows, bf16, causal or not. The same bits at every run. Where they do not
 * apply, cuDNN does it (note 0012).
 *
 * Forward, a block works on 128 queries of a head at a time. Backward, a team of blocks works on
 * one (batch, head) at a time: each keeps 128 keys and the sums of their gradients in registers and
 * goes over the queries; what it adds to the gradient of a block of queries goes to memory that the
 * team shares, in f32, in an order that flags keep. dq, dk and dv are written once, in their dtype;
 * the sums of their columns, what biases of q, k and v are trained by, come along if wanted. */
#ifndef STOA_GPU_OWN_ATTENTION_H
#define STOA_GPU_OWN_ATTENTION_H

#include "gpu/cache.h"
#include "gpu/cudnn_attention.h"

typedef struct GpuOwnAttention {
    GpuAttention problem;
    GpuModule    module; /* handle NULL: not open */
    GpuKernel    row_sums, main;
    bool         backward;
    uint32_t     group;                    /* forward: heads whose keys and values are cached */
    uint32_t     team, teams, flags_count; /* backward, like the rest; team: blocks of one */
    uint32_t     columns_count;            /* for dq and dv and each head */
    uint64_t     workspace_bytes;          /* aligned to 256; 29 MB for 32 x 12 x 1024 */
    uint64_t     sums_at, flags_at;        /* in it, after the parts of dq */
} GpuOwnAttention;

/* Whether this device and kernel can do it, either way. */
bool gpu_own_attention_takes(const GpuInfo *info, const GpuAttention *problem);
/* Whether it does, and faster than cuDNN, as far as that was measured (note 0012). */
bool gpu_own_attention_wins(const GpuInfo *info, const GpuAttention *problem, bool backward);
/* About 0.5 s the first time, then from the cache. problem is one that it takes. */
MUST_USE Status gpu_own_attention_open(Gpu *gpu, GpuCache *cache, const GpuAttention *problem,
                                       bool backward, Diags *diags, GpuOwnAttention *out_attention);
/* A launch, backward two. args: lengths are not read; the workspace is backward's, and columns:
 * f32 [2, heads, columns_count, 64], where sums over all batches and rows of dq and dv are left in
 * columns_count parts (those of dk are 0: the gradients of the scores of a query add up to that);
 * 0: they are not wanted. */
MUST_USE Status gpu_own_attention_run(const GpuOwnAttention  *attention,
                                      const GpuAttentionArgs *args, GpuStream stream, Diags *diags);
void            gpu_own_attention_close(GpuOwnAttention *attention); /* safe on all zero */
/* The kernels as text, in out. */
String gpu_own_attention_text(Arena *out, bool causal, bool backward);
/* What is in it besides what both directions share, ended by NULL. */
extern const char *const gpu_own_attention_forward[], *const gpu_own_attention_backward[];

#endif
