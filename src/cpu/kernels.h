/* What the sources of the CPU back end share: how a kernel is bound and called, and the table of
 * inner loops that is compiled once per instruction set.
 *
 * Binding turns a launch into one or more steps; a step is a function and prepared parameters. It
 * is called for each of its pieces, on any lane and in any order: a piece is a function of (sizes,
 * piece, pieces) alone, with results that do not depend on pieces: outputs are split freely,
 * reductions only at fixed chunks. A step begins when all before it are done.
 *
 * Inner loops (Isa) see dense unit-stride blocks; drivers bring strided, repeated and 16-bit
 * operands into that form, so each loop exists once per dtype. All instruction sets give the
 * same bits, except for matrix products (fused multiply-add). */
#ifndef STOA_CPU_KERNELS_H
#define STOA_CPU_KERNELS_H

#include "cpu/cpu.h"
#include "cpu/emit.h"

/* --- calling ---------------------------------------------------------------------------------- */
typedef struct KernelCtx {
    void *const *slots;
    uint8_t     *scratch; /* of this lane, 64-byte aligned */
    uint8_t     *shared;  /* of all lanes, lives from step to step of one launch */
    uint8_t     *kept;    /* of all lanes, lives to the end of the run; 64-byte aligned */
    uint32_t     piece, pieces;
    uint32_t    *failed; /* launch row of a failed assert; written by steps of one piece */
} KernelCtx;
typedef void StepFn(const void *params, const KernelCtx *ctx);

typedef struct Ref { /* where a tensor begins */
    uint32_t slot;
    uint64_t offset;
} Ref;
static inline void *ref_at(Ref ref, const KernelCtx *ctx) {
    return (uint8_t *)ctx->slots[ref.slot] + ref.offset;
}
static inline Ref ref_of(const LaunchArg *arg) { return (Ref){arg->slot, arg->offset}; }

/* What this piece is of [0,count). */
typedef struct Part {
    int64_t first, last;
} Part;
static inline Part part_of(int64_t count, int64_t grain, const KernelCtx *ctx) {
    size_t first, last;
    workers_split((size_t)count, (size_t)grain, ctx->piece, ctx->pieces, &first, &last);
    return (Part){(int64_t)first, (int64_t)last};
}

/* --- inner loops ------------------------------------------------------------------------------ */
/* out[i] = f(in[0][i], ...) for i < n; out may equal an operand. extra: scalar attributes. */
typedef void BlockFn(void *out, const void *const *in, int64_t n, const double *extra);
/* acc[0] = acc[0] (kind) x[0..n): acc is a double for floats, an int64_t for integers. */
typedef void ReduceRowFn(const void *x, int64_t n, void *acc);
/* acc[i] = acc[i] (kind) x[i]. */
typedef void ReduceColsFn(const void *x, int64_t n, void *acc);
/* One row: y[n] from x[n]; see kernels_float.def for extra. */
typedef void RowFn(void *y, const void *x, const void *weight, const void *bias, int64_t n,
                   double extra);
/* Matrix product of a packed panel with rows of b; see kernels_tile.def. */
typedef void GemmTileFn(const void *a, const void *b, int64_t b_stride, void *c, int64_t c_stride,
                        int64_t k, int64_t rows, int64_t cols, bool add);
/* The same with rows of a in place, a_stride elements apart and contiguous along k; all rows of a
 * tile. */
typedef void GemmRowsFn(const void *a, int64_t a_stride, const void *b, int64_t b_stride, void *c,
                        int64_t c_stride, int64_t k, int64_t cols, bool add);
typedef void GemmPackFn(void *out, const void *x, int64_t stride_lane, int64_t stride_k,
                        int64_t width, int64_t count, int64_t k); /* any number of panels */
/* One row x with a matrix y: n numbers, each a sum over k; see kernels_row.def. */
typedef void GemmRowFn(const void *x, int64_t x_stride, const void *y, int64_t y_stride, int64_t k,
                       void *out, int64_t n);
/* Products of bf16 that stay what they are, on processors with instructions for them
 * (kernels_bf16.c). Sums are f32; subnormal operands count as zero. Panels of a are [rows][k],
 * those of b [k / 2][cols][2], k rounded up to a multiple of unit with zeros. Rows of a in place
 * need k % unit == 0. */
typedef struct Bf16Tiles {
    GemmTileFn *tile; /* b_stride is not used */
    GemmRowsFn *in_rows;
    GemmPackFn *pack_a, *pack_b;
    int32_t     rows, cols, unit;
} Bf16Tiles;
/* Patches of a convolution: out[k][width], for each run  out[k][col + i] = x[from + offsets[k] +
 * i stride]  for i < count; columns beyond the last run are zero. */
typedef struct PatchRun {
    int64_t col, count, from;
} PatchRun;
typedef void PatchFn(void *out, int64_t width, const void *x, const PatchRun *runs,
                     int64_t runs_count, int64_t stride, const int64_t *offsets, int64_t k);
/* Extremes over windows of f32, of one result row whose windows lie inside: best[i] is the least or
 * the greatest of taps[t].from[i step] (NaN if there is one, the first of equals), place[i] its
 * taps[t].place + i step. step: 1 or 2; at least one tap and POOL_LANES columns. */
enum { POOL_LANES = 8 };
typedef struct PoolTap {
    const float *from;
    int32_t      place;
} PoolTap;
typedef void PoolFn(const PoolTap *taps, int64_t taps_count, int64_t step, int64_t columns,
                    float *best, int32_t *place);
/* What attention and the fused loss do with strips of a product; see kernels_strip.def. */
typedef struct StripLoops {
    void (*softmax)(void *strip, int64_t n, int64_t first, double factor, void *max, void *sum,
                    void *shrink);
    void (*end)(const void *max, const void *sum, void *lse, void *inverse);
    void (*scale)(void *strip, int64_t n, const void *by);
    void (*back)(void *strip, void *back, int64_t n, int64_t first, double factor, const void *lse,
                 const void *delta);
    void (*loss_back)(void *strip, int64_t n, const void *lse, const void *all, const void *mine,
                      const int64_t *label);
    void (*dot)(const void *a, const void *b, int64_t n, void *out);
} StripLoops;
/* Factorisations of one matrix of doubles, in place; see kernels_matrix.def. */
typedef struct MatrixLoops {
    void (*lu)(double *a, int64_t *rows, int64_t n);
    bool (*cholesky)(double *a, int64_t n);
    void (*substitute)(const double *a, double *x, int64_t n, int64_t columns, bool lower,
                       bool transpose, bool unit);
} MatrixLoops;
/* Numbers of random words; see kernels_isa.def. */
typedef void DrawWordsFn(uint64_t key, uint64_t first, uint64_t stream, int64_t n, uint32_t *u,
                         uint32_t *v);
typedef void DrawFn(const uint32_t *u, const uint32_t *v, int64_t n, double scale, double *out);
typedef struct GemmShape {
    int32_t rows, cols; /* of a register tile */
} GemmShape;

typedef struct Isa {
    const char        *name;
    BlockFn           *block[OP_COUNT][DTYPE_COUNT];
    BlockFn           *compare[COMPARE_KIND_COUNT][DTYPE_COUNT];
    BlockFn           *convert[DTYPE_COUNT][DTYPE_COUNT]; /* [from][to] */
    BlockFn           *select_bytes[9], *copy_bytes[9];   /* by element size */
    ReduceRowFn       *reduce_row[REDUCE_KIND_COUNT][DTYPE_COUNT];
    ReduceColsFn      *reduce_cols[REDUCE_KIND_COUNT][DTYPE_COUNT];
    ReduceRowFn       *square_row[DTYPE_COUNT];
    RowFn             *softmax[DTYPE_COUNT], *log_softmax[DTYPE_COUNT], *layer_norm[DTYPE_COUNT];
    RowFn             *rms_norm[DTYPE_COUNT], *logsumexp[DTYPE_COUNT];
    BlockFn           *gelu_tanh[DTYPE_COUNT], *adamw[DTYPE_COUNT], *sgd[DTYPE_COUNT];
    GemmTileFn        *gemm_tile[DTYPE_COUNT];
    GemmRowsFn        *gemm_rows[DTYPE_COUNT];
    GemmRowFn         *row_dots[DTYPE_COUNT], *row_sums[DTYPE_COUNT]; /* f32 and f64 */
    GemmPackFn        *gemm_pack[DTYPE_COUNT]; /* by the dtype that is read; 16-bit ones give f32 */
    const Bf16Tiles   *bf16;                   /* NULL: none */
    PatchFn           *conv_patch[DTYPE_COUNT];
    PoolFn            *pool[2]; /* least, greatest */
    GemmShape          gemm_shape[DTYPE_COUNT];
    StripLoops         strips[DTYPE_COUNT]; /* f32 and f64 */
    const MatrixLoops *matrix;
    DrawWordsFn       *draw_words;
    DrawFn            *draw_normal, *draw_uniform;
} Isa;
typedef enum IsaLevel { ISA_GENERIC, ISA_AVX2, ISA_AVX512, ISA_AMX, ISA_LEVELS } IsaLevel;
extern const Isa kernels_generic;
#if defined(__x86_64__)
extern const Isa       kernels_avx2, kernels_avx512, kernels_amx;
extern const Bf16Tiles kernels_bf16_amx;
#endif
/* The best level of this machine, at most `most`. */
const Isa *kernels_isa(IsaLevel most);

/* --- binding ---------------------------------------------------------------------------------- */
typedef struct Step {
    StepFn     *fn;
    const void *params;
    uint32_t    launch; /* row of launches */
    uint32_t    pieces; /* 1: too small to be shared */
    uint32_t    target; /* step, of a jump */
    uint8_t     flow;   /* FlowKind; above FLOW_PASS: flow.c, no fn */
} Step;
typedef struct FusedPhase FusedPhase; /* kernels_fused.c */
/* How the launch after a product follows it: its first phase that reads the product is done for
 * rows that are in cache. */
typedef struct Follow {
    uint32_t          launch;     /* row of the launch that follows */
    uint32_t          phases;     /* of it that are done with the product or before */
    int64_t           rows, cols; /* of the product */
    int64_t           step;       /* elements of the product that an iteration takes */
    int64_t           lane_bytes; /* scratch of the phase */
    const FusedPhase *phase;
} Follow;
/* A launch that keeps something for another one. */
typedef struct Keeper {
    uint32_t    launch; /* row of the other */
    const void *params;
} Keeper;
typedef struct Binder {
    Arena            *arena;
    const Plan       *plan;
    const Isa        *isa;
    const EmitModule *module; /* compiled kernels; NULL: none */
    Diags            *diags;  /* also: whose listener print rows have */
    uint32_t          lanes;
    uint32_t          launch, end; /* row; one past the last that is bound */
    Opcode            opcode;
    const LaunchArg  *args; /* operands, then results */
    const LaunchArg  *outs;
    uint32_t          operands, results;
    const uint64_t   *attrs;
    Follow           *follow;                      /* the newest one */
    Keeper            keeper;                      /* likewise */
    size_t            scratch_bytes, shared_bytes; /* most asked for by any step */
    size_t            kept_bytes;                  /* by all of them */
    Step             *steps;
    uint32_t          steps_count, steps_max;
    uint32_t          scans; /* so far: each has an index */
    CpuLoop          *loops; /* how they run */
    uint32_t          loops_count, loops_max;
    bool              alone; /* a launch of a loop that is one code: nothing follows it */
} Binder;
/* Adds the steps of b->launch; false if there is no kernel for these dtypes or this geometry. */
typedef bool BindFn(Binder *b);

enum { SPLIT_BYTES_MIN = 32 * 1024 }; /* smaller work is not shared */
/* Adds a step; bytes: memory it touches, or a like measure of its work. */
void bind_step(Binder *b, StepFn *fn, const void *params, int64_t bytes);
/* The newest step cannot be cut into more pieces, or each repeats work. */
void bind_pieces(Binder *b, int64_t most);
/* Makes room: scratch per lane, shared for all lanes. */
void bind_scratch(Binder *b, int64_t bytes);
void bind_shared(Binder *b, int64_t bytes);
/* Makes room that is this launch's alone; gives its offset in kept memory. */
int64_t bind_kept(Binder *b, int64_t bytes);
#define BIND_PARAMS(b, T) ARENA_NEW((b)->arena, T)

static inline Dtype   arg_dtype(const LaunchArg *arg) { return (Dtype)arg->dtype; }
static inline int64_t arg_width(const LaunchArg *arg) { return dtype_bytes((Dtype)arg->dtype); }
static inline int64_t arg_elements(const LaunchArg *arg) {
    int64_t count = 1;
    for (uint32_t i = 0; i < arg->rank; i++) count *= arg->dims[i];
    return count;
}
static inline bool arg_dense(const LaunchArg *arg) {
    int64_t stride = 1;
    for (uint32_t i = arg->rank; i-- > 0;) {
        if (arg->dims[i] != 1 && arg->strides[i] != stride) return false;
        stride *= arg->dims[i];
    }
    return true;
}

BindFn kernels_bind_elementwise, kernels_bind_compare, kernels_bind_convert, kernels_bind_select;
BindFn kernels_bind_copy, kernels_bind_broadcast, kernels_bind_transpose, kernels_bind_slice;
BindFn kernels_bind_pad, kernels_bind_concat, kernels_bind_reverse, kernels_bind_dynamic_slice;
BindFn kernels_bind_dynamic_update, kernels_bind_assign, kernels_bind_dim_size, kernels_bind_assert,
    kernels_bind_print;
BindFn kernels_bind_iota, kernels_bind_rng_bits, kernels_bind_gather, kernels_bind_scatter;
BindFn kernels_bind_reduce, kernels_bind_arg_reduce, kernels_bind_cumulative, kernels_bind_sort;
BindFn kernels_bind_reduce_window, kernels_bind_softmax, kernels_bind_norm, kernels_bind_logsumexp;
BindFn kernels_bind_cross_entropy, kernels_bind_adamw, kernels_bind_sgd, kernels_bind_global_norm;
BindFn kernels_bind_special, kernels_bind_fused, kernels_bind_compact, kernels_bind_lu;
BindFn kernels_bind_cholesky, kernels_bind_triangular_solve;
enum { BUFFERS_MAX = 160 }; /* of a fused kernel */
/* Binds an elementwise loop over the operands; converts: 16-bit floats are computed in f32. extra
 * is the first scalar attribute that fn is given. */
bool kernels_bind_loop(Binder *b, BlockFn *fn, bool converts, double extra);

/* --- products, and what follows them ---------------------------------------------------------- */
/* A product z of x and y: a dot_general of three arguments. */
typedef struct GemmProduct {
    const LaunchArg *x, *y, *z;
    uint32_t         batches, sums;
    int64_t          x_batch[LIST_MAX], y_batch[LIST_MAX]; /* axes, as in the operator */
    int64_t          x_contract[LIST_MAX], y_contract[LIST_MAX];
} GemmProduct;
/* Adds the steps of a product. bias: a number a column of z, dense, or NULL; floats only. False: no
 * kernel for the dtypes. */
bool gemm_bind_product(Binder *b, const GemmProduct *product, const LaunchArg *bias);

/* Whether the launch after the current one, a product without batches, can follow it by rows: it
 * is a compiled kernel whose iterations have whole rows of the product to themselves, at most
 * step_rows, or rows whole iterations, and it writes nothing that the product reads. NULL, or how:
 * then its phases before that have been added, the product calls kernels_follow_run for all its
 * rows, once for each, and binding the launch adds the phases after it. shared: bytes of shared
 * memory that the product uses. */
Follow *kernels_follow(Binder *b, int64_t rows, int64_t cols, int64_t step_rows, int64_t shared);
/* Rows [first, last), which begin at multiples of the step. */
void kernels_follow_run(const Follow *follow, const KernelCtx *ctx, int64_t first, int64_t last,
                        uint8_t *scratch);

BindFn gemm_bind_dot_general, gemm_bind_linear, conv_bind_convolution;
BindFn attention_bind, attention_grad_bind, entropy_bind, entropy_grad_bind;

/* --- the bound plan: made by bind.c, walked by run.c ------------------------------------------ */
typedef struct FlowState { /* with jumps only */
    void   **slots;        /* base addresses: rows of scans move */
    uint32_t slots_count;
    int64_t *index; /* by scan */
} FlowState;
struct CpuPlan {
    Workers     *workers;
    const Step  *steps;
    uint32_t     steps_count, loops_count;
    CpuLoop     *loops;
    CpuRoom     *room;
    FlowState    flow;
    struct Seen *seen; /* by lane */
};
typedef struct Seen Seen;
Seen               *run_seen_open(Arena *arena, uint32_t lanes); /* run.c */
/* Adds the steps of a launch that is no jump; false: there is no kernel for it. */
bool bind_launch(Binder *b, uint32_t row);
/* flow_code.c. Adds one step for all launches from the head of a loop to its end, if that is
 * possible and worth it; else false, and nothing was added. */
bool flow_code_bind(Binder *b, uint32_t head);
/* flow.c. Adds the step of a jump or the head of a loop. */
void      flow_bind(Binder *b);
FlowState flow_state_open(Arena *arena, const Plan *plan, uint32_t scans);
/* The step after one that is a jump. */
uint32_t flow_next(const CpuPlan *cpu, uint32_t at);
struct CpuRoom {
    Arena    *arena;
    uint8_t **scratch; /* by lane */
    uint8_t  *shared, *kept;
    uint32_t  lanes;
    size_t    scratch_bytes, shared_bytes, kept_bytes; /* of a lane; of all */
};
/* cpu_bind with the inner loops of a given instruction set, for tests. */
MUST_USE Status cpu_bind_isa(Arena *arena, const Plan *plan, const EmitModule *module,
                             Workers *workers, const Isa *isa, Diags *diags, CpuPlan **out_cpu);

/* Bits of the accumulator (f64 for floats, else i64) that nothing has been reduced into. */
uint64_t kernels_reduce_start(ReduceKind kind, Dtype dtype);

/* --- walking strided memory ------------------------------------------------------------------- */
enum { ND_SIDES_MAX = 4 };
/* Several strided tensors walked together, element (i0,i1,..) of dims; strides in bytes. */
typedef struct Nd {
    uint32_t rank; /* after dropping axes of size 1 and merging those contiguous on every side */
    uint32_t sides;
    int64_t  count; /* elements */
    int64_t  dims[SHAPE_RANK_MAX];
    int64_t  strides[ND_SIDES_MAX][SHAPE_RANK_MAX];
} Nd;
typedef struct NdWalk { /* a place in an Nd */
    int64_t index[SHAPE_RANK_MAX];
    int64_t offset[ND_SIDES_MAX]; /* bytes */
} NdWalk;
/* widths: bytes an element of each side, as strides are given in elements. */
Nd     nd_make(uint32_t rank, const int64_t *dims, uint32_t sides, const int64_t *const *strides,
               const int64_t *widths);
NdWalk nd_at(const Nd *nd, int64_t element);
void   nd_next_row(const Nd *nd, NdWalk *walk); /* to the start of the next row of the last axis */
static inline void nd_next(const Nd *nd, NdWalk *walk) { /* to the next element */
    if (nd->rank == 0) return;
    for (uint32_t s = 0; s < nd->sides; s++) walk->offset[s] += nd->strides[s][nd->rank - 1];
    if (++walk->index[nd->rank - 1] == nd->dims[nd->rank - 1]) nd_next_row(nd, walk);
}
static inline int64_t nd_inner(const Nd *nd) { return nd->rank > 0 ? nd->dims[nd->rank - 1] : 1; }
static inline int64_t nd_inner_stride(const Nd *nd, uint32_t side) {
    return nd->rank > 0 ? nd->strides[side][nd->rank - 1] : 0;
}
/* n elements of `width` bytes; strides in bytes. */
void nd_copy_row(void *out, int64_t out_stride, const void *in, int64_t in_stride, int64_t n,
                 int64_t width);
/* Side 0 of elements [first,last) from side 1. */
void nd_copy(const Nd *nd, void *out, const void *in, int64_t width, int64_t first, int64_t last);
/* The axis along which side 1 is contiguous, if side 0 is so along the last one; else the rank. */
uint32_t nd_crossed(const Nd *nd, int64_t width);
/* The tiles of such a copy, and those of [first,last). */
int64_t nd_tiles(const Nd *nd, uint32_t axis, int64_t width);
void    nd_copy_tiles(const Nd *nd, uint32_t axis, uint8_t *to, const uint8_t *from, int64_t width,
                      int64_t first, int64_t last, bool past);
/* A run of bytes past the caches (`past` above likewise); others see it after nd_end_past. next:
 * what will be copied then, NULL: unknown. */
void nd_copy_past(void *to, const void *from, size_t bytes, const void *next);
void nd_end_past(void);
/* Elements [first,last) of a side, packed into out. */
void nd_gather(const Nd *nd, uint32_t side, void *out, const void *in, int64_t width, int64_t first,
               int64_t last);
/* Adds a step that copies an operand, in row-major order, to dense memory. */
void nd_bind_copy(Binder *b, Ref to, const LaunchArg *from);
void nd_dense(uint32_t rank, const int64_t *dims, int64_t *out_strides); /* elements */

#endif
