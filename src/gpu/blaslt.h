/* Matrix products through cuBLASLt, row-major, with epilogues; the algorithm is what its heuristics
 * say, or what was measured once and kept.
 *
 *     d[m,n] = epilogue(alpha * a[m,k] b[k,n]) (+ d, accumulating), for each of `batch` products
 *
 * A problem is plain data; a plan is the problem with an algorithm and holds nothing that must be
 * closed. Products accumulate in f32 (f64 for f64). cuBLASLt is column-major: a row-major product
 * is its transpose there, with the operands exchanged, which is free. */
#ifndef STOA_GPU_BLASLT_H
#define STOA_GPU_BLASLT_H

#include "gpu/cache.h"
#include "gpu/gpu.h"
#include "tables/dtypes.h"

/* Bits; the combinations that exist are in blaslt.c. */
typedef enum GpuEpilogue {
    GPU_EPILOGUE_NONE = 0,
    GPU_EPILOGUE_BIAS = 1, /* + bias[n] */
    GPU_EPILOGUE_RELU = 2, /* then max(x, 0) */
    GPU_EPILOGUE_GELU = 4, /* then gelu, its tanh form */
    /* aux keeps what the derivative needs: of gelu its argument[m,n], of relu a bit an element with
     * rows padded to 128 bits. */
    GPU_EPILOGUE_AUX = 8,
    GPU_EPILOGUE_DRELU = 16, /* times the derivative of relu, from aux */
    GPU_EPILOGUE_DGELU = 32, /* times the derivative of gelu at aux[m,n] */
    GPU_EPILOGUE_DBIAS = 64, /* with one of the two before: bias[n] becomes the sums over m */
    /* bias[m] becomes the sums of a over k, bias[n] those of b: a bias gradient beside the gradient
     * of a weight. */
    GPU_EPILOGUE_SUM_A = 128,
    GPU_EPILOGUE_SUM_B = 256
} GpuEpilogue;

/* How an 8-bit operand is scaled: what its elements are multiplied by, in f32. */
typedef enum GpuScales {
    GPU_SCALES_ONE,    /* one number */
    GPU_SCALES_ROWS,   /* one for 128 elements along the sum: [k / 128, m], of b [k / 128, n] */
    GPU_SCALES_SQUARES /* one for 128 x 128 elements: [m / 128, k / 128], of b [n / 128, k / 128],
                          with rows of k / 128 rounded up to fours */
} GpuScales;

typedef struct GpuMatmul {
    uint64_t m, n, k, batch;                   /* batch 0 counts as 1 */
    bool     a_across, b_across;               /* a is stored [k,m], b is stored [n,k] */
    bool     tf32;                             /* f32 operands may be rounded to tf32 */
    bool     accumulate;                       /* adds to what d holds */
    bool     fast;                             /* fp8: adds partial sums less exactly, and faster */
    bool     amax;                             /* fp8: the largest |d| goes to amax */
    uint8_t  a, b, d, bias;                    /* Dtype of the operands; bias: NIL for that of d */
    uint8_t  a_scales, b_scales;               /* GpuScales; squares on one side at most; of blocks
                                                  m and n are fours, cuBLASLt 12.9 or newer */
    uint32_t epilogue;                         /* GpuEpilogue bits */
    uint32_t align;                            /* of all operands, bytes; 0: 256 */
    uint64_t lda, ldb, ldd, ldaux;             /* elements from row to row; 0: dense */
    uint64_t a_step, b_step, d_step, aux_step; /* elements from product to product; 0: dense */
    double   alpha;                            /* 0 counts as 1 */
} GpuMatmul;
typedef struct GpuMatmulArgs {
    CuPtr    a, b, d, bias, aux;
    CuPtr    a_scale, b_scale, d_scale, amax; /* fp8: f32 factors on the device, at multiples of
                                                 16 bytes; 0: one */
    bool     adds; /* as `accumulate`, for this run alone (tuning would add many times) */
    CuPtr    workspace;
    uint64_t workspace_bytes;
} GpuMatmulArgs;
typedef struct GpuMatmulPlan {
    GpuMatmul  problem;
    BlasLtAlgo algo;
    uint64_t   workspace_bytes; /* needed by algo */
    double     us;              /* measured; 0: not measured */
    uint32_t   candidates;      /* that were measured */
} GpuMatmulPlan;

typedef struct GpuBlas {
    Gpu         *gpu;
    GpuCache    *cache; /* may be NULL */
    BlasLtHandle handle;
    uint64_t     workspace_max; /* bytes that an algorithm may ask for; 32 MiB unless changed */
} GpuBlas;

MUST_USE Status gpu_blas_open(Gpu *gpu, GpuCache *cache, Diags *diags, GpuBlas *out_blas);
/* The same with a handle that is there; it belongs to the result. */
MUST_USE Status gpu_blas_take(Gpu *gpu, GpuCache *cache, BlasLtHandle handle, Diags *diags,
                              GpuBlas *out_blas);
void            gpu_blas_close(GpuBlas *blas); /* safe on all zero */
/* A kept choice if there is one, else the first of the heuristics. GPU_UNSUPPORTED and
 * STATUS_UNSUPPORTED if there is none. About 20 us, or 100 us. */
MUST_USE Status gpu_matmul_plan(const GpuBlas *blas, const GpuMatmul *problem, Diags *diags,
                                GpuMatmulPlan *out_plan);
/* Measures the candidates on these operands (which should hold real numbers: zeros run faster) and
 * keeps the fastest in the cache. d and what the epilogue writes are overwritten. Waits. */
MUST_USE Status gpu_matmul_tune(const GpuBlas *blas, GpuMatmulPlan *plan, const GpuMatmulArgs *args,
                                GpuStream stream, Diags *diags);
MUST_USE Status gpu_matmul_run(const GpuBlas *blas, const GpuMatmulPlan *plan,
                               const GpuMatmulArgs *args, GpuStream stream, Diags *diags);
/* "bf16[4096,768] x bf16[768,2304] -> bf16 bias gelu": for messages, keys and tables. */
String gpu_matmul_text(Arena *out, const GpuMatmul *problem);
/* Bytes of aux and of bias (as the epilogue reads or writes them); 0 if there is none. */
uint64_t gpu_matmul_aux_bytes(const GpuMatmul *problem);
uint64_t gpu_matmul_bias_bytes(const GpuMatmul *problem);

#endif
