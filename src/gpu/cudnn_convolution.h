/* Convolutions by cuDNN: forward, and what the gradients of both operands are.
 *
 *     y[n, o, i] = sum over c, k of x[n, g C' + c, i stride + k dilation - before] w[o, c, k]
 *
 * x: [N, C, spatial]; w: [O, C' = C / groups, window], o in group g; y: [N, O, spatial]; one to
 * three spatial axes. Sums in f32 (f64 of f64) by engines that repeat their bits and only add up
 * products: no Winograd or Fourier transforms, and without tf32 no shorter operands. */
#ifndef STOA_GPU_CUDNN_CONVOLUTION_H
#define STOA_GPU_CUDNN_CONVOLUTION_H

#include "gpu/cudnn.h"

typedef struct GpuConvolution { /* padding is zero: problems are compared as bytes */
    int64_t     dims[3][CUDNN_RANK_MAX], strides[3][CUDNN_RANK_MAX]; /* of x, w, y; in elements */
    CudnnWindow window;
    CudnnOpKind kind;  /* which of the three is written */
    uint8_t     dtype; /* Dtype: F16, BF16, F32, F64 */
    bool        tf32;  /* f32 operands may be rounded to it */
} GpuConvolution;

/* rank: how many engines of the heuristics to skip. GPU_UNSUPPORTED says what cuDNN cannot do. */
MUST_USE Status gpu_convolution_plan(GpuCudnn *cudnn, Arena *arena, const GpuConvolution *problem,
                                     uint32_t rank, Diags *diags, CudnnPlan *out_plan);
/* at: addresses of x, w, y, aligned to 16. */
MUST_USE Status gpu_convolution_run(const CudnnPlan *plan, const CuPtr at[3], CuPtr workspace,
                                    GpuStream stream, Diags *diags);

#endif
