/* Stoa: a columnar deep-learning training engine, as a C library.
 *
 * Reading order: context, programs, sessions, optimizers, data, training, settings, reports.
 *
 *   A context owns worker lanes and the text of the last failure.
 *   A program is one or more graphs of operators on tensors with symbolic sizes (operators: ops.h).
 *   A session is a compiled program with its state (parameters, optimizer moments).
 *
 * Conventions. Functions that can fail return StoaStatus; on failure stoa_message(context) says
 * what is wrong, where, why and what to do, and outputs are untouched. Handles are opaque and freed
 * by the matching destroy (NULL is allowed). Option structs begin with their own size, set by the
 * STOA_..._OPTIONS initialisers, so that they can grow; zero always means the default. Strings are
 * UTF-8, zero-terminated, and copied. The library never exits, aborts, prints, installs signal
 * handlers or keeps global state. A context and what was made from it belong to one thread at a
 * time; different contexts are independent. This header is C11 and C++17. */
#ifndef STOA_STOA_H
#define STOA_STOA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define STOA_API      __attribute__((visibility("default")))
#define STOA_MUST_USE __attribute__((warn_unused_result))
#else
#define STOA_API
#define STOA_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define STOA_VERSION_MAJOR 0
#define STOA_VERSION_MINOR 1
#define STOA_VERSION_PATCH 0
#define STOA_VERSION       "0.1.0"
#define STOA_RANK_MAX      8

/* The version of the library that is linked, e.g. "0.1.0". */
STOA_API const char *stoa_version(void);

typedef enum StoaStatus {
    STOA_OK = 0,
    STOA_INVALID,       /* an argument or the program is wrong */
    STOA_OUT_OF_MEMORY, /* a limit or the system refused memory; the message names it */
    STOA_IO,            /* a file operation failed */
    STOA_CORRUPT,       /* a file is damaged or hostile */
    STOA_UNSUPPORTED,   /* well-formed, but this build cannot do it */
    STOA_NOT_FOUND,
    STOA_CANCELLED,    /* a callback asked to stop */
    STOA_DEVICE_FAILED /* a GPU, its driver or one of its libraries failed */
} StoaStatus;

typedef enum StoaDtype { /* numbers are stable */
                         STOA_NONE,
                         STOA_BOOL,
                         STOA_U8,
                         STOA_I8,
                         STOA_I16,
                         STOA_I32,
                         STOA_I64,
                         STOA_F16,
                         STOA_BF16,
                         STOA_F32,
                         STOA_F64,
                         STOA_F8E4M3 = 13 /* of compute in StoaCompileOptions only */
} StoaDtype;

/* --- context ---------------------------------------------------------------------------------- */

typedef struct StoaContext StoaContext;

typedef enum StoaLogLevel { STOA_LOG_INFO, STOA_LOG_WARNING, STOA_LOG_ERROR } StoaLogLevel;
typedef void StoaLogFn(void *user, StoaLogLevel level, const char *text);
/* Tensor storage (parameters, activations) through the host: 64-byte aligned, NULL on refusal. */
typedef void *StoaAllocFn(void *user, size_t bytes);
typedef void  StoaFreeFn(void *user, void *memory, size_t bytes);

typedef struct StoaContextOptions {
    size_t       size;
    uint32_t     lanes;      /* worker lanes; 0: one per usable core */
    bool         no_pinning; /* leave lane placement to the system */
    size_t       memory_max; /* bytes of tensor storage; 0: no limit */
    StoaLogFn   *log;        /* warnings, notes and what print rows say (INFO, from any lane while a
                                step runs, one at a time; of a GPU after it); NULL: dropped */
    StoaAllocFn *allocate;   /* both or neither; NULL: jemalloc if linked in, else aligned_alloc */
    StoaFreeFn  *release;
    void        *user;         /* for the three functions */
    const char  *kernel_cache; /* folder where compiled kernels are kept, made if missing; NULL:
                                  they are compiled anew in each process */
} StoaContextOptions;
#define STOA_CONTEXT_OPTIONS                                                                       \
    { sizeof(StoaContextOptions), 0, false, 0, NULL, NULL, NULL, NULL, NULL }

/* options may be NULL. Starts the lanes (about 0.1 ms each). */
STOA_API STOA_MUST_USE StoaStatus stoa_context_create(const StoaContextOptions *options,
                                                      StoaContext             **out_context);
STOA_API void                     stoa_context_destroy(StoaContext *context);
/* Text of the last failure in this context; never NULL; valid until the next failing call. */
STOA_API const char *stoa_message(const StoaContext *context);
STOA_API uint32_t    stoa_context_lanes(const StoaContext *context);
STOA_API size_t      stoa_context_memory(const StoaContext *context); /* bytes of tensor storage */

/* --- programs --------------------------------------------------------------------------------- */

typedef struct StoaProgram StoaProgram;
typedef struct StoaValue {
    uint32_t id;
} StoaValue; /* 0: the result of a failed call */
typedef struct StoaDim {
    uint32_t id;
} StoaDim; /* a size: constant, symbol or expression */

STOA_API STOA_MUST_USE StoaStatus stoa_program_create(StoaContext  *context,
                                                      StoaProgram **out_program);
STOA_API void                     stoa_program_destroy(StoaProgram *program);
STOA_API STOA_MUST_USE StoaStatus stoa_program_clone(const StoaProgram *program,
                                                     StoaProgram      **out_clone);
/* Text form (docs/ir.md). name: for messages. The printed text lives until the next print. */
STOA_API STOA_MUST_USE StoaStatus stoa_program_parse(StoaContext *context, const char *text,
                                                     size_t bytes, const char *name,
                                                     StoaProgram **out_program);
STOA_API STOA_MUST_USE StoaStatus stoa_program_print(StoaProgram *program, const char **out_text);
/* Binary form: versioned, checksummed, fully checked when loaded. */
STOA_API STOA_MUST_USE StoaStatus stoa_program_save(StoaProgram *program, const char *path);
STOA_API STOA_MUST_USE StoaStatus stoa_program_load(StoaContext *context, const char *path,
                                                    StoaProgram **out_program);
/* Whether everything built so far is valid. Builders chain without checks: the first mistake makes
 * value 0, which later calls accept silently; this call (and stoa_compile) reports it. */
STOA_API STOA_MUST_USE StoaStatus stoa_program_check(StoaProgram *program);

/* Sizes. A symbol stands for any size of at least 0; one program serves every value. */
STOA_API StoaDim stoa_dim(StoaProgram *program, int64_t size);
STOA_API StoaDim stoa_dim_symbol(StoaProgram *program, const char *name);
STOA_API void    stoa_dim_range(StoaProgram *program, StoaDim symbol, int64_t low, int64_t high);
/* A size that the symbol is likely to have: what estimates and memory budgets go by. */
STOA_API void    stoa_dim_hint(StoaProgram *program, StoaDim symbol, int64_t size);
STOA_API StoaDim stoa_dim_add(StoaProgram *program, StoaDim a, StoaDim b);
STOA_API StoaDim stoa_dim_sub(StoaProgram *program, StoaDim a, StoaDim b);
STOA_API StoaDim stoa_dim_mul(StoaProgram *program, StoaDim a, StoaDim b);
STOA_API StoaDim stoa_dim_floordiv(StoaProgram *program, StoaDim a, StoaDim b);

/* Graphs. begin, inputs, then operators, outputs, end. Graphs of one program share parameters by
 * name. Builders act on the graph that is open. */
STOA_API void stoa_graph_begin(StoaProgram *program, const char *name);
STOA_API void stoa_graph_end(StoaProgram *program);
/* A tensor given at each run; inputs come before all operators of their graph. */
STOA_API StoaValue stoa_input(StoaProgram *program, const char *name, StoaDtype dtype,
                              const StoaDim *dims, uint32_t rank);
typedef enum StoaInit {
    STOA_INIT_ZEROS,
    STOA_INIT_ONES,
    STOA_INIT_NORMAL,
    STOA_INIT_UNIFORM,
    STOA_INIT_FILL
} StoaInit;
/* Persistent state of constant sizes. scale: standard deviation or half-width of the initial
 * values, or the number itself (fill). The same name gives the same tensor in every graph. */
STOA_API StoaValue stoa_parameter(StoaProgram *program, const char *name, StoaDtype dtype,
                                  const int64_t *sizes, uint32_t rank, StoaInit init, double scale);
/* The same, skipped by stoa_optimize: running statistics, counters. */
STOA_API StoaValue stoa_state(StoaProgram *program, const char *name, StoaDtype dtype,
                              const int64_t *sizes, uint32_t rank, StoaInit init, double scale);
STOA_API StoaValue stoa_scalar(StoaProgram *program, StoaDtype dtype, double number);
/* number in every element of the shape of like. */
STOA_API StoaValue stoa_fill_like(StoaProgram *program, StoaValue like, double number);
/* A known tensor, copied, row-major. */
STOA_API StoaValue stoa_constant_data(StoaProgram *program, StoaDtype dtype, const int64_t *sizes,
                                      uint32_t rank, const void *data);
/* Gradients of the scalar y with respect to each of xs; may itself be differentiated. */
STOA_API void stoa_gradients(StoaProgram *program, StoaValue y, const StoaValue *xs, uint32_t count,
                             StoaValue *out_gradients);

/* More derivatives, any of which may be differentiated again; costs are in passes through the rows
 * between xs and y. A direction has the type of its x. A wrong call gives value 0 (see
 * stoa_program_check), out arrays are the caller's. Derivatives go through control flow.
 *
 * jvp: the derivative of y along the directions, of the type of y. About two passes. */
STOA_API StoaValue stoa_jvp(StoaProgram *program, StoaValue y, const StoaValue *xs,
                            const StoaValue *directions, uint32_t count);
/* vjp: the gradients of the sum of y times weight, which has the type of y. Three passes. */
STOA_API void stoa_vjp(StoaProgram *program, StoaValue y, StoaValue weight, const StoaValue *xs,
                       uint32_t count, StoaValue *out_gradients);
/* hvp: the Hessian of the scalar y times the directions, one value shaped like each x. Forward over
 * reverse, about six passes; no Hessian is built. */
STOA_API void stoa_hvp(StoaProgram *program, StoaValue y, const StoaValue *xs,
                       const StoaValue *directions, uint32_t count, StoaValue *out_products);
/* jacobian: d y / d x, of shape y + x. hessian: of the scalar y, of shape x + x. As many passes as
 * x has elements, or as y has, whichever is estimated to cost less; all of them at once. */
STOA_API StoaValue stoa_jacobian(StoaProgram *program, StoaValue y, StoaValue x);
STOA_API StoaValue stoa_hessian(StoaProgram *program, StoaValue y, StoaValue x);
/* taylor: coefficients 1..order (at most 12) of y(x + t direction) in t: coefficient k is the k-th
 * derivative over k!. Directions shaped [R] + their x are R at once: results are [R] + y; with sum,
 * the last is added up over them, which costs one stream instead of R. A pass for each stream. */
STOA_API void stoa_taylor(StoaProgram *program, StoaValue y, const StoaValue *xs,
                          const StoaValue *directions, uint32_t count, bool sum,
                          StoaValue *out_coefficients, uint32_t order);
/* derivatives: sums of partial derivatives of y in the coordinates of x, the elements of its last
 * axis, whose letters are in axes: of[i] is "t", "xx", "xxx-2*xy", "laplacian" or "bilaplacian"
 * (orders up to 12), and out[i] has the type of y. A coordinate moves in all rows of x at once: if
 * rows of y depend on their own row of x only, the derivatives are those of each point. Everything
 * that is asked for in one x shares its streams, over several calls too; a sum takes one for its
 * highest order, so a Laplacian in d coordinates takes d + 2. */
STOA_API void stoa_derivatives(StoaProgram *program, StoaValue y, StoaValue x, const char *axes,
                               const char *const *of, StoaValue *out, uint32_t count);
STOA_API StoaValue stoa_laplacian(StoaProgram *program, StoaValue y, StoaValue x);
/* vmap: what ys, computed from xs, are for every sample of batches: batches[i] stands for xs[i] and
 * has its type with one more axis, axes[i], along which samples stand; with -1 it is one value for
 * all samples. The samples of out[i] stand along out_axes[i]. axes and out_axes NULL: all 0. What
 * does not depend on xs is computed once. Goes through derivatives of any order, and they through
 * it, and through blocks: where a condition differs between samples, both sides are computed. Sizes
 * that data decides must be the same for all samples. An assert is one on all samples; other rows
 * with effects are not repeated. */
STOA_API void stoa_vmap(StoaProgram *program, const StoaValue *ys, uint32_t results,
                        const StoaValue *xs, const StoaValue *batches, const int64_t *axes,
                        uint32_t count, const int64_t *out_axes, StoaValue *out);
/* A stand-in for the samples of a batch, to compute ys from: zeros, which cost nothing once vmap
 * has put the batch in their place. */
STOA_API StoaValue stoa_sample(StoaProgram *program, StoaValue batch, int64_t axis);

/* Control flow. A region is an operator with blocks: begin it with its operands, build the rows of
 * a block, end the block with stoa_yield, which opens the next one, and end the region for its
 * results. Blocks use values from around them as they are; regions nest.
 *   if      operand: a bool. Two blocks, which yield the results; the first when it is true
 *   switch  operand: an i64, clamped. `cases` blocks, which yield the results
 *   while   operands: what is carried. Both blocks take that; the first yields a bool, whether to
 *           go on, the second what is carried next; results: what is carried in the end
 *   scan    operands: `carries` values that are carried, then tensors whose rows (axis 0) are taken
 *           one by one. The block takes the index of the row (an i64), what is carried and the
 *           rows; it yields what is carried next, then a row of each further result
 * Derivatives of any order go through all of them. Mistakes are reported by stoa_program_check; the
 * message names both sides where types or numbers of values differ. */
typedef enum StoaRegionKind { STOA_IF, STOA_SWITCH, STOA_WHILE, STOA_SCAN } StoaRegionKind;
typedef struct StoaRegionOptions {
    size_t   size;
    uint32_t cases;   /* switch: how many blocks, 1 to 64 */
    int64_t  limit;   /* while: most repetitions that a gradient goes back through; 0: 2^20 */
    uint32_t carries; /* scan: leading operands that are carried */
    bool     reverse; /* scan: from the last row to the first */
    StoaDim  length;  /* scan: number of steps; nil: rows of the scanned operands */
    int64_t  segment; /* scan: steps between the states that a gradient keeps; 0: as many as fit */
} StoaRegionOptions;
#define STOA_REGION_OPTIONS                                                                        \
    { sizeof(StoaRegionOptions), 0, 0, 0, false, {0}, 0 }
STOA_API void      stoa_region_begin(StoaProgram *program, StoaRegionKind kind,
                                     const StoaValue *operands, uint32_t count,
                                     const StoaRegionOptions *options);   /* may be NULL */
STOA_API StoaValue stoa_region_arg(StoaProgram *program, uint32_t index); /* of the open block */
STOA_API void      stoa_yield(StoaProgram *program, const StoaValue *values, uint32_t count);
STOA_API void      stoa_region_end(StoaProgram *program, StoaValue *out_results, uint32_t count);
/* The results of another graph, which exists already. gradient: the graph to differentiate it by
 * (it takes the operands, then cotangents of the float results, and gives those of the float
 * operands); NULL: by its rows. */
STOA_API void stoa_call(StoaProgram *program, const char *graph, const char *gradient,
                        const StoaValue *operands, uint32_t count, StoaValue *out_results,
                        uint32_t results);
/* Second derivatives in many coordinates, estimated from a few random directions. Kinds: all
 * coordinates at once with random signs (Hutchinson 1990), or one coordinate at random, sqrt(d)
 * long (Hu et al. 2024); the mean of v v^T over the last axis of x is the identity. */
typedef enum StoaDirections { STOA_DIRECTIONS_SIGNS, STOA_DIRECTIONS_COORDINATES } StoaDirections;
/* count of them for each point of x, [count] + the shape of x; the last axis of x has a constant
 * size. The same seed (an i64 scalar) gives the same. */
STOA_API StoaValue stoa_random_directions(StoaProgram *program, StoaValue x, StoaValue seed,
                                          StoaDirections kind, uint32_t count);
/* An estimate without bias of the Laplacian of y in the coordinates of x, of the type of y, where
 * rows of y depend on their own row of x only: the mean of the second derivatives along directions.
 * out_error: its standard error, or NULL. R directions take R + 2 streams (see taylor), with the
 * error 3 R, in a program that does not grow with R. */
STOA_API StoaValue stoa_laplacian_estimate(StoaProgram *program, StoaValue y, StoaValue x,
                                           StoaValue directions, StoaValue *out_error);

STOA_API void stoa_output(StoaProgram *program, const char *name, StoaValue value);
STOA_API void stoa_name(StoaProgram *program, StoaValue value, const char *name); /* for reading */
/* Shape queries; rank 0 and nil for value 0. */
STOA_API uint32_t  stoa_value_rank(const StoaProgram *program, StoaValue value);
STOA_API StoaDim   stoa_value_dim(const StoaProgram *program, StoaValue value, uint32_t axis);
STOA_API StoaDtype stoa_value_dtype(const StoaProgram *program, StoaValue value);

/* --- sessions --------------------------------------------------------------------------------- */

typedef struct StoaSession StoaSession;

typedef struct StoaTensor {
    StoaDtype dtype;
    uint32_t  rank;
    int64_t   shape[STOA_RANK_MAX];
    void     *data; /* row-major */
} StoaTensor;

typedef enum StoaF8Products {
    STOA_F8_FORWARD = 1,
    STOA_F8_INPUT_GRADIENT = 2,
    STOA_F8_WEIGHT_GRADIENT = 4,
    STOA_F8_LAST_LAYER = 8 /* the last linear layer of a graph as well */
} StoaF8Products;

typedef struct StoaCompileOptions {
    size_t      size;
    uint64_t    seed;        /* of the initial values */
    bool        interpreter; /* run on the reference interpreter: slow, the oracle */
    bool        no_fusion;   /* a prebuilt kernel for each operator; also what happens, with a
                             warning, where LLVM cannot be loaded */
    const char *device;      /* "cpu" (the same as NULL), "cuda" or "cuda:N": a GPU, where state and
                             intermediates then live. STOA_DEVICE_FAILED or STOA_UNSUPPORTED if
                             there is none, or its libraries are missing */
    StoaDtype   compute;     /* STOA_BF16 or STOA_F16: matrix products, convolutions and attention
                             of f32 take their operands in it and add up in f32; parameters,
                             optimizer and all else stay f32. f16 reaches 65504 only: train with
                             loss_scale of StoaOptimizerOptions. STOA_NONE: as the program is
                             written. STOA_F8E4M3: linear layers of f32, but the last
                             and those that take inputs, multiply 8-bit floats, each tensor by a
                             factor of its own (e4m3 forwards, e5m2 for cotangents), where that
                             saves time by the sizes of the layer; other products bf16 */
    uint64_t    memory_budget; /* bytes; 0: none. What a run of a graph keeps between operators
                               (arena_bytes of StoaMemoryReport) stays within it: values are
                               computed again where that saves most for the least work, with the
                               same bits, and gradients of loops keep fewer states. Not counted,
                               because it does not change: parameters and optimizer state, inputs
                               and outputs, work memory inside kernels.
                               Symbolic sizes count as their hints (stoa_dim_hint). STOA_INVALID,
                               with the least number that would do, if it cannot be met; a run at
                               sizes that need more fails with STOA_INVALID as well */
    uint32_t f8_products; /* of STOA_F8E4M3, StoaF8Products bits: which products of each layer are
                             in 8 bits; no product: those that save time */
    uint32_t f8_history;  /* likewise: steps whose largest magnitudes scale the tensors of this one,
                             in graphs that assign (state fp8.<graph>.most); 0: each tensor is
                             scaled by its own, which takes a pass over it more */
    uint32_t f8_block;    /* likewise: 128: each 128 elements along a sum are scaled by their own
                             largest magnitude (those of a row; of weights squares), by powers of
                             two, all in e4m3; there is no history, outliers spoil their block
                             only, products gain less. Weight gradients stay in bf16, and layers
                             whose sizes are no multiples of 128. 0: a tensor has one scale */
    uint64_t offload_budget; /* bytes of page-locked host memory that a graph may take; 0: none. For
                             a memory_budget on a GPU: values that stand idle are copied there and
                             back beside the kernels, as far as the link has time for it, instead of
                             being computed again. STOA_INVALID on the CPU, or without a
                             memory_budget */
} StoaCompileOptions;
#define STOA_COMPILE_OPTIONS                                                                       \
    { sizeof(StoaCompileOptions), 0, false, false, NULL, STOA_NONE, 0, 0, 16, 0, 0 }

/* Compiles every graph and initialises the state. The program may be destroyed afterwards. */
STOA_API STOA_MUST_USE StoaStatus stoa_compile(StoaProgram              *program,
                                               const StoaCompileOptions *options,
                                               StoaSession             **out_session);
STOA_API void                     stoa_session_destroy(StoaSession *session);
/* Runs a graph. inputs in the order of its stoa_input calls. Outputs in the order of stoa_output:
 * dtype, rank and shape are set; data is written when not NULL (the caller's memory, large enough
 * for the shape, which is known after a run with NULL). A new combination of input shapes is
 * planned once (micro- to milliseconds) and remembered. *out_stopped (may be NULL): an assert
 * operator was false, so nothing was assigned (stoa_optimize uses it for steps that are not
 * finite). */
STOA_API STOA_MUST_USE StoaStatus stoa_run(StoaSession *session, const char *graph,
                                           const StoaTensor *inputs, uint32_t inputs_count,
                                           StoaTensor *outputs, uint32_t outputs_count,
                                           bool *out_stopped);
/* State by name. get fills shape and, when data is not NULL, copies; set copies in. */
STOA_API uint32_t                 stoa_state_count(const StoaSession *session);
STOA_API const char              *stoa_state_name(const StoaSession *session, uint32_t index);
STOA_API STOA_MUST_USE StoaStatus stoa_state_get(StoaSession *session, const char *name,
                                                 StoaTensor *tensor);
STOA_API STOA_MUST_USE StoaStatus stoa_state_set(StoaSession *session, const char *name,
                                                 const StoaTensor *tensor);
/* safetensors. Loading needs every tensor of the session unless partial; conversion between float
 * dtypes is done, shapes must agree. */
STOA_API STOA_MUST_USE StoaStatus stoa_weights_save(StoaSession *session, const char *path);
STOA_API STOA_MUST_USE StoaStatus stoa_weights_load(StoaSession *session, const char *path,
                                                    bool partial);

typedef struct StoaMemoryReport {
    uint64_t state_bytes;       /* parameters and optimizer state */
    uint64_t arena_bytes;       /* planned intermediates of the largest plan */
    uint64_t arena_floor_bytes; /* most intermediates alive at once: the least any plan needs */
    uint32_t launches;          /* of that plan */
    uint64_t work_bytes;        /* inside kernels, all lanes together; the CPU only */
    uint64_t host_bytes;        /* copies of that plan on the host (offload_budget) */
} StoaMemoryReport;
STOA_API StoaMemoryReport stoa_session_memory(const StoaSession *session);

/* What a graph will need, before it runs. */
typedef struct StoaMemoryPeak {
    uint64_t    arena_bytes;       /* planned intermediates */
    uint64_t    arena_floor_bytes; /* most of them alive at once */
    uint32_t    launch, launches;  /* at which of how many that is */
    uint64_t    host_bytes;        /* copies on the host (offload_budget) */
    const char *text;              /* a table of the values alive there: sizes, birth, last use */
    const char *svg;               /* the bytes alive, launch by launch */
} StoaMemoryPeak;
/* Plans without running or keeping the plan: of inputs only dtypes and shapes are read; NULL: every
 * size as its hint says. Budgets do not stop it. Texts live until the next report. */
STOA_API STOA_MUST_USE StoaStatus stoa_memory_peak(StoaSession *session, const char *graph,
                                                   const StoaTensor *inputs, uint32_t inputs_count,
                                                   StoaMemoryPeak *out_peak);

/* Where the time of the runs so far went, by operator, longest first; text lives until the next
 * report. Collected only after stoa_profile(session, true). */
STOA_API void                     stoa_profile(StoaSession *session, bool on);
STOA_API STOA_MUST_USE StoaStatus stoa_profile_report(StoaSession *session, const char **out_json);
/* The same as tables, one for each graph at its sizes: launches that look alike, with bytes and
 * arithmetic a second and, on a GPU, their share of what it can do and the gaps between kernels.
 * rows_max: of each table; 0: all. A GPU times what it replays, from the second run on; where
 * NVIDIA's CUPTI cannot be used, launches are run once more, alone (the state is kept). */
STOA_API STOA_MUST_USE StoaStatus stoa_profile_text(StoaSession *session, uint32_t rows_max,
                                                    const char **out_text);

/* --- optimizers ------------------------------------------------------------------------------- */

typedef enum StoaOptimizerKind { STOA_ADAMW, STOA_SGD, STOA_LBFGS } StoaOptimizerKind;
typedef enum StoaOptimizePart {
    STOA_OPTIMIZE_STEP,       /* gradients, clip and update in one graph */
    STOA_OPTIMIZE_ACCUMULATE, /* add gradients / accumulate to the accumulators */
    STOA_OPTIMIZE_APPLY       /* clip, update from the accumulators, and clear them */
} StoaOptimizePart;
typedef struct StoaOptimizerOptions {
    size_t            size;
    StoaOptimizerKind kind;
    double            beta1, beta2, epsilon; /* adamw; 0: 0.9, 0.999, 1e-8 */
    double            momentum;              /* sgd */
    bool              nesterov;
    double            decay;      /* weight decay */
    uint32_t          decay_rank; /* only tensors of at least this rank decay */
    double            clip;       /* global gradient norm; 0: none */
    StoaOptimizePart  part;
    uint32_t          accumulate;     /* micro-batches a step, for ACCUMULATE; 0: 1 */
    bool              keep_nonfinite; /* update even when loss or gradients are not finite */
    uint32_t          pairs;          /* lbfgs: remembered steps, at most 64; 0: 10 */
    double            loss_scale;     /* adamw, sgd: first factor of the loss; 0: none. See below */
    uint32_t          scale_interval; /* good steps until it doubles; 0: 2000 */
} StoaOptimizerOptions;
#define STOA_OPTIMIZER_OPTIONS                                                                     \
    {                                                                                              \
        sizeof(StoaOptimizerOptions), STOA_ADAMW, 0, 0, 0, 0, false, 0, 0, 0, STOA_OPTIMIZE_STEP,  \
            0, false, 0, 0, 0                                                                      \
    }

/* Adds the update of every stoa_parameter of the open graph for the scalar loss. rate and step:
 * scalar inputs of the loss dtype (step counts from 1; unused by sgd). Gives the gradient norm
 * before clipping (APPLY takes no loss: pass value 0 and build the same parameters in the graph).
 * The step is stopped before any assignment when loss or norm is not finite.
 *
 * loss_scale: gradients are those of the loss times a factor, divided by it again before all else,
 * so that small ones do not vanish in f16. The factor is state ("optimizer.loss_scale"): a gradient
 * that is not finite changes no parameter and halves it (not below 1), scale_interval good steps
 * double it (up to 2^24). Such a step is not stopped; its norm is not finite. The factor is a power
 * of two if it begins as one: gradients that were good keep their bits.
 *
 * lbfgs: each run of the graph evaluates loss and gradient once, at a point on trial (the
 * parameters), and puts the next one on trial; the batch must stay the same. Momentum, decay, clip
 * and step are not used. rate is 1; a last run with rate 0 leaves the best point it accepted. All
 * parameters have the dtype of the loss. */
STOA_API StoaValue stoa_optimize(StoaProgram *program, StoaValue loss, StoaValue rate,
                                 StoaValue step, const StoaOptimizerOptions *options);

/* --- data ------------------------------------------------------------------------------------- */

typedef struct StoaTokenizer StoaTokenizer;
typedef struct StoaData      StoaData;

typedef struct StoaTextOptions {
    size_t      size;
    const char *path;       /* text, plain or gzip */
    const char *tokenizer;  /* "bytes" or "bpe"; NULL: bpe */
    uint32_t    vocab;      /* bpe: wanted size; 0: 2048 */
    const char *folder;     /* where tokenizer and tokens are kept and reused; NULL: not kept */
    double      validation; /* share of the text, at its end; 0: 0.02 */
    uint32_t    batch, context;
    bool        sequential; /* windows in order; otherwise seeded random places */
    uint64_t    seed;
    uint64_t    bytes_max; /* use at most this much text; 0: all */
} StoaTextOptions;
#define STOA_TEXT_OPTIONS                                                                          \
    { sizeof(StoaTextOptions), NULL, NULL, 0, NULL, 0, 0, 0, false, 0, 0 }
/* Token windows: tokens[batch,context] and targets[batch,context] as i32. */
STOA_API STOA_MUST_USE StoaStatus stoa_data_text(StoaContext           *context,
                                                 const StoaTextOptions *options,
                                                 StoaData             **out_data);
typedef struct StoaImageOptions {
    size_t      size;
    const char *images, *labels;           /* IDX files, plain or gzip */
    const char *test_images, *test_labels; /* for validation; may be NULL */
    uint32_t    batch;
    bool        sequential;
    uint64_t    seed;
    uint64_t    count_max; /* use the first images only; 0: all */
} StoaImageOptions;
#define STOA_IMAGE_OPTIONS                                                                         \
    { sizeof(StoaImageOptions), NULL, NULL, NULL, NULL, 0, false, 0, 0 }
/* Images as f32 [batch,1,height,width] in [0,1] and labels[batch] as i32. */
STOA_API STOA_MUST_USE StoaStatus stoa_data_images(StoaContext            *context,
                                                   const StoaImageOptions *options,
                                                   StoaData              **out_data);
STOA_API void                     stoa_data_destroy(StoaData *data);
STOA_API uint64_t stoa_data_items(const StoaData *data); /* training tokens or images */
STOA_API uint32_t stoa_data_vocab(const StoaData *data); /* tokens or classes */
STOA_API double stoa_data_entropy(const StoaData *data); /* nats an item of a model that knows only
                                                              frequencies (validation part) */
/* The tokenizer of text data; owned by data. NULL for images. */
STOA_API const StoaTokenizer     *stoa_data_tokenizer(const StoaData *data);
STOA_API STOA_MUST_USE StoaStatus stoa_tokenizer_load(StoaContext *context, const char *path,
                                                      StoaTokenizer **out_tokenizer);
STOA_API void                     stoa_tokenizer_destroy(StoaTokenizer *tokenizer);
STOA_API uint32_t                 stoa_tokenizer_vocab(const StoaTokenizer *tokenizer);
/* Writes at most max tokens and returns how many the text has. */
STOA_API size_t stoa_tokenizer_encode(const StoaTokenizer *tokenizer, const char *text,
                                      size_t bytes, int32_t *tokens, size_t max);
/* The bytes of one token; not terminated, count in *out_bytes. */
STOA_API const char *stoa_tokenizer_piece(const StoaTokenizer *tokenizer, int32_t token,
                                          size_t *out_bytes);

/* Points in a box, for equations: count points of d <= 10 coordinates between low and high,
 * row-major. uniform: independent; latin: each coordinate has one point in each of count slices;
 * sobol: the sequence of Sobol (directions of Joe and Kuo 2008) moved by a random shift, best at
 * powers of two. The same seed gives the same points. */
typedef enum StoaPointsKind {
    STOA_POINTS_UNIFORM,
    STOA_POINTS_LATIN,
    STOA_POINTS_SOBOL
} StoaPointsKind;
STOA_API STOA_MUST_USE StoaStatus stoa_points(StoaContext *context, StoaPointsKind kind,
                                              uint64_t seed, const double *low, const double *high,
                                              uint32_t d, size_t count, double *out_points);

/* --- training --------------------------------------------------------------------------------- */

typedef struct StoaProgress {
    uint64_t    step, steps;
    double      loss, learning_rate, gradient_norm;
    double      validation_loss;  /* NaN when not evaluated at this step */
    double      items_per_second; /* tokens or images */
    uint64_t    skipped;          /* steps without update because something was not finite */
    uint64_t    memory_bytes;     /* resident, of the process */
    double      seconds, seconds_left;
    const char *line; /* all that as one line */
    const char *json; /* and as one JSON object */
    const char *bar;  /* and with a bar, for a terminal of 79 columns */
} StoaProgress;
/* Called at every logged step; true asks to finish: save and return. */
typedef bool StoaProgressFn(void *user, const StoaProgress *progress);

typedef enum StoaScheduleKind {
    STOA_CONSTANT,
    STOA_COSINE,
    STOA_LINEAR,
    STOA_WSD
} StoaScheduleKind;
typedef enum StoaNonfinite { STOA_SKIP_STEP, STOA_FAIL } StoaNonfinite;

/* Graphs by convention: `train` takes the data inputs in order, then scalars named rate, step and
 * optionally seed (i64); its first output is the loss, the second (optional) the gradient norm.
 * With accumulation: `accumulate` (data inputs; loss) and `apply` (rate, step; norm). `evaluate`
 * (optional): data inputs; mean loss, optionally accuracy. */
typedef struct StoaTrainOptions {
    size_t              size;
    uint64_t            steps;
    uint32_t            accumulate; /* micro-batches a step; 0: 1 */
    StoaScheduleKind    schedule;
    double              learning_rate;
    uint64_t            warmup_steps;
    uint64_t            decay_steps; /* wsd; 0: a fifth of the steps */
    double              final_ratio; /* of the rate at the end */
    uint64_t            seed;
    uint64_t            log_every;        /* steps; 0: 10 */
    uint64_t            evaluate_every;   /* 0: never */
    uint32_t            evaluate_batches; /* 0: 16 */
    const char         *run; /* folder for config, metrics, plot, checkpoints, trace; NULL: none */
    uint64_t            checkpoint_every; /* 0: only at the end */
    uint32_t            checkpoint_keep;  /* 0: 2 */
    bool                resume;           /* from the newest checkpoint in run */
    bool                trace;            /* write run/trace.json */
    uint64_t            trace_steps; /* trace this many steps from the start of the call; 0: 20 */
    StoaNonfinite       nonfinite;
    uint32_t            nonfinite_max; /* give up after this many in a row; 0: 100 */
    const char         *config;   /* text kept in the run folder and the checkpoints; may be NULL */
    const char         *title;    /* of the plot */
    StoaProgressFn     *progress; /* may be NULL */
    void               *user;
    const volatile int *stop; /* set to nonzero (by a signal handler, say) to finish; may be NULL */
} StoaTrainOptions;
#define STOA_TRAIN_OPTIONS                                                                         \
    {                                                                                              \
        sizeof(StoaTrainOptions), 0, 0, STOA_CONSTANT, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, false,  \
            false, 0, STOA_SKIP_STEP, 0, NULL, NULL, NULL, NULL, NULL                              \
    }
typedef struct StoaTrainResult {
    uint64_t steps;   /* done, earlier runs included */
    uint64_t skipped; /* in this call */
    double   loss, validation_loss;
    double   seconds, items_per_second;
    bool     stopped; /* asked to finish early */
} StoaTrainResult;
/* Trains. Resuming gives bitwise the run that was not interrupted. A failed checkpoint keeps the
 * previous one; training goes on and the failure is logged as a warning, at the end it is an
 * error. */
STOA_API STOA_MUST_USE StoaStatus stoa_train(StoaSession *session, StoaData *data,
                                             const StoaTrainOptions *options,
                                             StoaTrainResult        *out_result);
/* Loads the state of the newest checkpoint of a run folder. config: text saved with it, may be
 * NULL; lives until the next call on the session. */
STOA_API STOA_MUST_USE StoaStatus stoa_checkpoint_load(StoaSession *session, const char *run,
                                                       const char **out_config, uint64_t *out_step);

/* --- settings: files and flags with the same keys --------------------------------------------- */

typedef struct StoaConfig         StoaConfig;
STOA_API STOA_MUST_USE StoaStatus stoa_config_create(StoaContext *context, StoaConfig **out_config);
STOA_API void                     stoa_config_destroy(StoaConfig *config);
/* A TOML subset; later sources win. text: NULL to read the file `name`. */
STOA_API STOA_MUST_USE StoaStatus stoa_config_read(StoaConfig *config, const char *name,
                                                   const char *text);
/* --key value and --key=value; the words that are no flags go to rest (count places). */
STOA_API STOA_MUST_USE StoaStatus stoa_config_flags(StoaConfig *config, int count,
                                                    char *const *words, const char **rest,
                                                    int *out_rest_count);
STOA_API int64_t stoa_config_int(StoaConfig *config, const char *key, int64_t low, int64_t high,
                                 int64_t preset);
STOA_API double  stoa_config_float(StoaConfig *config, const char *key, double low, double high,
                                   double preset);
/* A number of bytes, or one with a unit: "96MiB", "1.5GiB", "2GB". */
STOA_API uint64_t    stoa_config_bytes(StoaConfig *config, const char *key, uint64_t preset);
STOA_API bool        stoa_config_bool(StoaConfig *config, const char *key, bool preset);
STOA_API const char *stoa_config_text(StoaConfig *config, const char *key, const char *preset);
/* The position of the value among names (NULL-terminated). */
STOA_API int stoa_config_choice(StoaConfig *config, const char *key, const char *const *names,
                                int preset);
/* After all reads: keys nobody asked for and values out of range are refused, with suggestions. */
STOA_API STOA_MUST_USE StoaStatus stoa_config_finish(StoaConfig *config);
/* All keys that were asked for with the values in force, as text that stoa_config_read accepts. */
STOA_API const char *stoa_config_print(StoaConfig *config);

/* --- reports ---------------------------------------------------------------------------------- */

/* What a file is and holds: programs, safetensors, checkpoints, token files. Text lives in the
 * context until the next report. */
STOA_API STOA_MUST_USE StoaStatus stoa_inspect(StoaContext *context, const char *path,
                                               const char **out_text);
/* Which products of the linear layers of a saved program would multiply 8-bit floats, compiled with
 * these options (and compute STOA_F8E4M3), and why the others would not: a table of weights, sizes
 * and products (y, the gradient of x, that of the weight). */
STOA_API STOA_MUST_USE StoaStatus stoa_inspect_layers(StoaContext *context, const char *path,
                                                      const StoaCompileOptions *options,
                                                      const char              **out_text);
/* Hardware, libraries and limits that were found. */
STOA_API STOA_MUST_USE StoaStatus stoa_doctor(StoaContext *context, bool json,
                                              const char **out_text);

#ifdef __cplusplus
}
#endif

#include <stoa/ops.h>

#endif
