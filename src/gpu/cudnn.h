/* cuDNN through its C interface: operation graphs as rows, engines chosen by its heuristics.
 *
 * A CudnnGraph is plain data: tensors and operations between them, filled by the gpu_cudnn_*
 * functions below and turned into cuDNN's descriptors by gpu_cudnn_plan. The number of a tensor
 * (from 1) is its name in the graph and in the list of addresses of gpu_cudnn_run. */
#ifndef STOA_GPU_CUDNN_H
#define STOA_GPU_CUDNN_H

#include "gpu/cache.h"
#include "gpu/gpu.h"
#include "tables/dtypes.h"

enum { CUDNN_TENSORS_MAX = 56, CUDNN_OPS_MAX = 40, CUDNN_RANK_MAX = 5, CUDNN_SPATIAL_MAX = 3 };

typedef enum CudnnPlace {
    CUDNN_MEMORY, /* has an address when the graph runs */
    CUDNN_HIDDEN, /* exists between two operations only */
    CUDNN_NUMBER  /* one number, read from the host when the graph runs */
} CudnnPlace;
typedef struct CudnnTensor {
    int64_t    dims[CUDNN_RANK_MAX], strides[CUDNN_RANK_MAX]; /* strides in elements */
    int        type;                                          /* ABI_CUDNN_DATA_* */
    CudnnPlace place;
    uint32_t   rank;
} CudnnTensor;
typedef enum CudnnOpKind {
    CUDNN_MATMUL,     /* y = x b */
    CUDNN_POINTWISE,  /* y = mode(x, b, t) */
    CUDNN_REDUCE,     /* y = sums or maxima of x over the axes where y has size 1 */
    CUDNN_RESHAPE,    /* y has the elements of x in another order of axes */
    CUDNN_CONVOLVE,   /* y[N, O, ..] = cross-correlation of x[N, C, ..] with b[O, C / groups, ..] */
    CUDNN_CONVOLVE_X, /* x from y and b: what the gradient of x is; x is written */
    CUDNN_CONVOLVE_W  /* b from x and y */
} CudnnOpKind;
/* Of a convolution, by spatial axis: zeros before and after x, steps of windows, of their taps. */
typedef struct CudnnWindow {
    int64_t  before[CUDNN_SPATIAL_MAX], after[CUDNN_SPATIAL_MAX];
    int64_t  strides[CUDNN_SPATIAL_MAX], dilations[CUDNN_SPATIAL_MAX];
    uint32_t axes;
} CudnnWindow;
typedef struct CudnnOp {
    CudnnOpKind kind;
    int         mode, math, axis; /* ABI_CUDNN_POINTWISE_* or _REDUCE_*; type computed in */
    uint32_t    x, b, t, y;       /* tensors; 0: none */
    uint32_t    m, n, k;          /* MATMUL: tensors of lengths that cut an extent; 0: none */
} CudnnOp;
typedef struct CudnnGraph {
    CudnnTensor tensors[CUDNN_TENSORS_MAX]; /* row 0 is nil */
    CudnnOp     ops[CUDNN_OPS_MAX];
    uint32_t    tensors_count, ops_count;
    CudnnWindow window;  /* of the convolutions */
    uint32_t    refuses; /* bit n: no engine with ABI_CUDNN_NUMERICAL_NOTE n */
} CudnnGraph;

uint32_t gpu_cudnn_tensor(CudnnGraph *graph, CudnnPlace place, int type, uint32_t rank,
                          const int64_t *dims, const int64_t *strides);
/* Each appends an operation and returns y. */
uint32_t gpu_cudnn_matmul(CudnnGraph *graph, uint32_t x, uint32_t b, uint32_t y);
uint32_t gpu_cudnn_pointwise(CudnnGraph *graph, int mode, uint32_t x, uint32_t b, uint32_t y);
uint32_t gpu_cudnn_reduce(CudnnGraph *graph, int mode, uint32_t x, uint32_t y);
uint32_t gpu_cudnn_reshape(CudnnGraph *graph, uint32_t x, uint32_t y);
/* kind: one of the three; sums in f64 for tensors of doubles, else in f32. */
void gpu_cudnn_convolve(CudnnGraph *graph, CudnnOpKind kind, uint32_t x, uint32_t w, uint32_t y);

typedef struct GpuCudnn {
    GpuLibs        *libs;
    Gpu            *gpu;         /* NULL: only plans are made, for `device` */
    CudnnHandle     handle;      /* with a gpu */
    CudnnDescriptor device;      /* without one */
    String          device_text; /* what plans are kept for */
    GpuCache       *cache;       /* may be NULL */
} GpuCudnn;
typedef struct CudnnPlan {
    GpuCudnn        *cudnn;
    CudnnDescriptor *descriptors; /* all of the plan, in the order they were made */
    uint32_t         descriptors_count;
    CudnnDescriptor  plan;
    uint64_t         workspace_bytes;
    uint32_t         rank;    /* of the engine among those of the heuristics, from 0 */
    uint32_t         engines; /* that the heuristics gave */
} CudnnPlan;

MUST_USE Status gpu_cudnn_open(Gpu *gpu, GpuCache *cache, Diags *diags, GpuCudnn *out_cudnn);
/* For a device that is not here, from its properties as cuDNN writes them (JSON, outlives the
 * result): plans can be made, and kept for that device, without it. */
MUST_USE Status gpu_cudnn_open_for(GpuLibs *libs, String properties, GpuCache *cache, Diags *diags,
                                   GpuCudnn *out_cudnn);
void            gpu_cudnn_close(GpuCudnn *cudnn); /* safe on all zero */
/* A kept plan, or that of the first engine of the heuristics, from place `rank` on, that takes the
 * graph; its kernels are compiled then (0.5 to 1.5 s of processor time; a kept one takes 2 ms). The
 * unused part of graph is zero. what: names the graph in messages. Descriptors are listed in
 * arena. */
MUST_USE Status gpu_cudnn_plan(GpuCudnn *cudnn, Arena *arena, const CudnnGraph *graph,
                               const char *what, uint32_t rank, Diags *diags, CudnnPlan *out_plan);
/* addresses[i]: of tensor tensors[i], on the device, or on the host for a NUMBER. */
MUST_USE Status gpu_cudnn_run(const CudnnPlan *plan, const int64_t *tensors, void *const *addresses,
                              uint32_t count, CuPtr workspace, GpuStream stream, Diags *diags);
void            gpu_cudnn_plan_close(CudnnPlan *plan); /* safe on all zero */
int             gpu_cudnn_type(Dtype dtype);           /* ABI_CUDNN_DATA_*; -1 if there is none */

#endif
