/* A convolution as a graph of one operation. cuDNN wants two spatial axes at least: one axis gets
 * another of size 1 before it. */
#include "gpu/cudnn_convolution.h"

static const char doing[] = "convolution";

/* An axis of size 1 where cuDNN misses one. */
static GpuConvolution widened(const GpuConvolution *problem) {
    GpuConvolution p = *problem;
    CudnnWindow   *w = &p.window;
    if (w->axes != 1) return p;
    for (uint32_t side = 0; side < 3; side++) {
        p.dims[side][3] = p.dims[side][2], p.strides[side][3] = p.strides[side][2];
        p.dims[side][2] = 1, p.strides[side][2] *= p.dims[side][3];
    }
    w->before[1] = w->before[0], w->after[1] = w->after[0];
    w->strides[1] = w->strides[0], w->dilations[1] = w->dilations[0];
    w->before[0] = w->after[0] = 0;
    w->strides[0] = w->dilations[0] = 1;
    w->axes = 2;
    return p;
}

Status gpu_convolution_plan(GpuCudnn *cudnn, Arena *arena, const GpuConvolution *problem,
                            uint32_t rank, Diags *diags, CudnnPlan *out_plan) {
    const uint32_t exact = 1u << ABI_CUDNN_NUMERICAL_NOTE_TENSOR_CORE |
                           1u << ABI_CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
    const GpuConvolution p = widened(problem);
    int                  type = gpu_cudnn_type((Dtype)p.dtype);
    uint32_t             tensors[3];
    CudnnGraph           graph;
    ASSERT(type >= 0);
    memset(&graph, 0, sizeof graph);
    for (uint32_t side = 0; side < 3; side++)
        tensors[side] = gpu_cudnn_tensor(&graph, CUDNN_MEMORY, type, p.window.axes + 2,
                                         p.dims[side], p.strides[side]);
    gpu_cudnn_convolve(&graph, p.kind, tensors[0], tensors[1], tensors[2]);
    memcpy(&graph.window, &p.window, sizeof p.window);
    graph.refuses = 1u << ABI_CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC |
                    1u << ABI_CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION |
                    1u << ABI_CUDNN_NUMERICAL_NOTE_FFT | 1u << ABI_CUDNN_NUMERICAL_NOTE_WINOGRAD |
                    1u << ABI_CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 |
                    1u << ABI_CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 |
                    1u << ABI_CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
    if (p.dtype == DTYPE_F32 && !p.tf32) graph.refuses |= exact;
    return gpu_cudnn_plan(cudnn, arena, &graph, doing, rank, diags, out_plan);
}

Status gpu_convolution_run(const CudnnPlan *plan, const CuPtr at[3], CuPtr workspace,
                           GpuStream stream, Diags *diags) {
    static const int64_t tensors[] = {1, 2, 3};
    void                *addresses[3];
    for (uint32_t side = 0; side < 3; side++) addresses[side] = (void *)(uintptr_t)at[side];
    return gpu_cudnn_run(plan, tensors, addresses, 3, workspace, stream, diags);
}
