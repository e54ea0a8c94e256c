/* Attention's backward by a kernel of our own, for Hopper: heads of width 64, as many key heads as
 * query heads, whole blocks of 128 rows, bf16, causal or not. The same bits at every run.
 *
 * A team of blocks works on one (batch, head) at a time. Each block keeps 128 keys and the sums of
 * their gradients in registers and goes over the queries; what it adds to the gradient of a block
 * of queries goes to memory that the team shares, in f32, in an order that flags keep. dq, dk and
 * dv are written once, in their dtype. Where it does not apply, cuDNN does it (note 0012). */
#ifndef STOA_GPU_OWN_ATTENTION_H
#define STOA_GPU_OWN_ATTENTION_H

#include "gpu/cache.h"
#include "gpu/cudnn_attention.h"

typedef struct GpuOwnAttention {
    GpuAttention problem;
    GpuModule    module;
    GpuKernel    row_sums, backward;
    uint32_t     team, teams, flags_count; /* team: blocks of one */
    uint64_t     workspace_bytes;          /* aligned to 256; 29 MB for 32 x 12 x 1024 */
    uint64_t     sums_at, flags_at;        /* in it, after the parts of dq */
} GpuOwnAttention;

/* Whether this device and kernel can do it. */
bool gpu_own_attention_takes(const GpuInfo *info, const GpuAttention *problem);
/* About 0.5 s the first time, then from the cache. problem is one that it takes. */
MUST_USE Status gpu_own_attention_open(Gpu *gpu, GpuCache *cache, const GpuAttention *problem,
                                       Diags *diags, GpuOwnAttention *out_attention);
/* Two launches. args: lengths are not read. */
MUST_USE Status gpu_own_attention_run(const GpuOwnAttention  *attention,
                                      const GpuAttentionArgs *args, GpuStream stream, Diags *diags);
void            gpu_own_attention_close(GpuOwnAttention *attention); /* safe on all zero */
/* The kernels as text, in out. */
String gpu_own_attention_text(Arena *out, bool causal);

#endif
