/* What the sources of the executor share: how a launch is bound and recorded, what the kit keeps,
 * and how control flow is laid out.
 *
 * Binding turns a launch into steps; a step is a function and prepared parameters, which puts work
 * into a stream, whether that runs it or captures it. Steps hold slots and offsets, never
 * addresses. */
#ifndef STOA_GPU_RUN_INNER_H
#define STOA_GPU_RUN_INNER_H

#include "gpu/blaslt.h"
#include "gpu/cudnn_convolution.h"
#include "gpu/own_attention.h"
#include "gpu/run.h"
#include "gpu/run_args.h"

/* --- the kit ---------------------------------------------------------------------------------- */

/* Sources of kernels; ORDER run_texts. */
typedef enum GpuFamily {
    FAMILY_COPY,
    FAMILY_GATHER,
    FAMILY_KEY,
    FAMILY_SCATTER,
    FAMILY_SCATTER_WIDE, /* after SCATTER, which both need */
    FAMILY_SCATTER_NARROW,
    FAMILY_LINES,
    FAMILY_WINDOW,
    FAMILY_PRODUCT,
    FAMILY_CONVOLUTION, /* after PRODUCT */
    FAMILY_STOP,
    FAMILY_FLOW,
    FAMILY_SMALL, /* after PRODUCT */
    FAMILY_MATRIX,
    FAMILY_FACTOR, /* after MATRIX, like SUBSTITUTE */
    FAMILY_SUBSTITUTE,
    FAMILY_PRINT,
    FAMILY_COMPACT,
    FAMILY_COLUMNS,
    FAMILY_COUNT
} GpuFamily;
extern const char *const run_prelude, *const run_texts[];

typedef struct RunFunction { /* an instance of a template */
    GpuFamily   family;
    const char *text;   /* "copy<f32>" */
    const char *name;   /* of the kernel: "copy_f32_" */
    GpuKernel   kernel; /* function NULL: not compiled yet */

    struct RunFunction *next;
} RunFunction;
typedef struct RunModule {
    GpuModule         module;
    struct RunModule *next;
} RunModule;
typedef struct RunProduct { /* shared by equal launches, so that it is measured once */
    GpuMatmulPlan      plan;
    struct RunProduct *next;
} RunProduct;
typedef struct RunLog {  /* of the print rows of a plan */
    RunLogHead    *head; /* page-locked; NULL: no plan has it */
    uint64_t       bytes;
    struct RunLog *next;
} RunLog;
typedef struct RunAttention {
    GpuAttention         problem;
    bool                 backward;
    GpuAttentionPlan     plan; /* unless it is our own */
    GpuOwnAttention      own;  /* module.handle NULL: cuDNN does it */
    struct RunAttention *next;
} RunAttention;
typedef struct RunConvolution {
    GpuConvolution         problem;
    CudnnPlan              plan;
    bool                   can; /* cuDNN has an engine for it */
    struct RunConvolution *next;
} RunConvolution;

struct GpuKit {
    Arena          *arena; /* of its rows; unwinds to the caller's guard */
    Gpu            *gpu;
    GpuKitOptions   options;
    GpuBlas         blas;      /* handle NULL: not opened yet */
    GpuCudnn        cudnn;     /* likewise */
    GpuArena        work;      /* the flag of asserts, then what the running step needs */
    RunFunction    *functions; /* newest first, like those below */
    RunModule      *modules;
    RunProduct     *products;
    RunAttention   *attentions;
    RunConvolution *convolutions;
    RunLog         *logs;
    GpuStream       ways[2]; /* of copies to the host, and back; handle NULL: not opened yet */
    GpuEvent        fork;
    void           *host; /* page-locked, of those copies; NULL: none was needed yet */
    uint64_t        host_bytes;
    GpuProfile     *profile;        /* NULL: none is open */
    uint32_t        watches, plans; /* what makes graphs old; plans bound so far */
};
/* Before the workspace of steps: the flag of asserts, the ticket of `rows`. */
enum { RUN_WORK_AT = 256, RUN_TICKET_AT = 128 };
/* The library is there, opened. */
MUST_USE Status run_need_blas(GpuKit *kit, Diags *diags);
MUST_USE Status run_need_cudnn(GpuKit *kit, Diags *diags);

/* run_offload.c: memory for copies on the host, at least so much; waits for the device if there is
 * some already. Closes it all, and the streams. */
MUST_USE Status run_need_host(GpuKit *kit, uint64_t bytes, Diags *diags);
void            run_close_host(GpuKit *kit);
/* A copy of a plan, which its await knows. */
typedef struct RunCopy RunCopy;
void                   run_close_copies(RunCopy *copies); /* NULL is allowed */

/* --- steps ------------------------------------------------------------------------------------ */

enum { RUN_SLOT_WORK = UINT32_MAX };
typedef struct RunRef { /* where a tensor begins */
    uint32_t slot;      /* of the plan, or RUN_SLOT_WORK */
    uint64_t offset;
} RunRef;
typedef struct RunCtx {
    GpuKit      *kit;
    const CuPtr *slots;
    GpuStream    stream;
    Diags       *diags;
    Arena       *scratch;
    bool         tune;      /* measure products before they run */
    bool         alone;     /* a step is timed: it waits for the copy that it begins */
    CuCondition  condition; /* of an assert that is put into a graph; 0: it is launched */
    GpuLaunch   *out_stop;  /* with a condition: its launch, whose arguments lie in scratch */
} RunCtx;
static inline CuPtr run_at(RunRef ref, const RunCtx *ctx) {
    CuPtr base = ref.slot == RUN_SLOT_WORK ? ctx->kit->work.base : ctx->slots[ref.slot];
    return base + ref.offset;
}
typedef Status RunStepFn(const void *params, const RunCtx *ctx);
/* Adds what a step does to the text of a block (run_block.c). */
typedef struct RunBlock RunBlock;
typedef void            RunTextFn(RunBlock *block, const void *params);
typedef struct RunStep {
    RunStepFn  *fn;
    RunStepFn  *prepare; /* compiles, measures: what must not happen while capturing; NULL: none */
    const void *params;
    uint32_t    launch;   /* row */
    uint32_t    nodes;    /* most that it launches */
    bool        stops;    /* an assert */
    RunTextFn  *text;     /* NULL: it cannot be part of a block */
    double      elements; /* that it visits */
    bool        absorbed; /* part of a block, which is a step of its own */
} RunStep;

/* Steps as a tree: lists of parts, some of which have lists inside. */
typedef enum RunPartKind {
    PART_STEPS,  /* steps [first, last) */
    PART_STOP,   /* one step, an assert */
    PART_BRANCH, /* the block that the predicate says */
    PART_WHILE,  /* blocks: test, body */
    PART_SCAN    /* block: body */
} RunPartKind;
typedef struct
    RunRow { /* an argument of a scan: where its rows are, and a place for some of them */
    RunRef   at;
    int64_t  step;                     /* bytes from row to row */
    uint64_t bytes, place, place_step; /* place: in the memory of loops */
    bool     in;                       /* read, else written */
} RunRow;
typedef struct RunScan {
    uint32_t first_slot, rows_count; /* the slot of the index, then one a row */
    RunRow  *rows;
    int64_t  length, rounds; /* rounds of `unroll` steps in a loop; the rest stands after it */
    uint32_t unroll;
    bool     reverse, counts;     /* counts: the index is read */
    uint64_t state, index, width; /* places; bytes that are copied at once */

    const RunFunction *function; /* that moves rows */
} RunScan;
typedef struct RunParts {
    struct RunPart *first, *last;
    uint32_t        nodes;   /* about: of one pass */
    bool            stops;   /* an assert inside */
    bool            decides; /* some node has a condition */
} RunParts;
typedef struct RunPart {
    RunPartKind     kind;
    uint32_t        first, last;
    RunRef          predicate;
    int64_t         last_case; /* of a switch; -1: the predicate is a bool */
    RunParts       *blocks;
    uint32_t        blocks_count;
    RunScan        *scan;
    uint32_t        launch; /* of the head */
    bool            stops;
    struct RunPart *next;
} RunPart;
/* What runs: steps, and the order they run in. */
typedef struct RunProgram {
    const Plan    *plan;
    uint32_t       number; /* of the plan among those of the kit */
    const RunStep *steps;
    RunParts       parts;
    uint32_t       slots_count;
    uint64_t       work_bytes; /* of steps; then the memory of loops */
    uint64_t       loops_bytes;
    bool           flows, stops;

    const RunFunction *test, *iota; /* if it flows */
} RunProgram;
static inline CuPtr run_place(const RunProgram *program, const GpuKit *kit, uint64_t place) {
    return kit->work.base + RUN_WORK_AT + program->work_bytes + place;
}

/* --- binding ---------------------------------------------------------------------------------- */

typedef struct RunGap { /* bytes of the arena */
    uint64_t begin, end;
} RunGap;
typedef struct RunBinder {
    Arena           *arena;
    const Plan      *plan;
    GpuEmitModule   *module;
    GpuKit          *kit;
    Diags           *diags;
    Span             part;   /* of the launches */
    uint32_t         launch; /* row */
    Opcode           opcode;
    const LaunchArg *args, *outs;
    uint32_t         operands, results;
    const uint64_t  *attrs;
    uint64_t         work; /* bytes of the workspace that the current launch has taken */
    uint64_t         work_bytes;
    RunGap          *gaps; /* of the arena, that gaps_launch has not taken */
    uint32_t         gaps_count, gaps_launch;
    RunCopy         *copies; /* newest first */
    RunStep         *steps;
    uint32_t         steps_count, steps_max;
    RunLog          *log; /* NULL: nothing is printed so far */
    GpuPlanStats     stats;
} RunBinder;
/* Adds the steps of the launch. STATUS_UNSUPPORTED if there is no kernel for it. */
typedef Status RunBindFn(RunBinder *b);

/* Steps become a tree; firsts: by launch, the first step (one more at the end). */
MUST_USE Status run_flow_bind(RunBinder *b, const uint32_t *firsts, RunProgram *out_program);
/* --- loops in one block ----------------------------------------------------------------------- */

struct RunBlock {
    RunBinder *b;
    Arena     *arena;           /* of strings; texts grow in arenas of their own */
    Text       functions, body; /* functions: in namespace ops, then those of kernels */
    Text       kernels;
    uint32_t   threads, calls, addresses_count;
    uint32_t   shared_bytes, static_bytes; /* of shared memory: at most at once; in all */
    RunRef    *addresses;                  /* of the arguments: slots, with offset 0 */
    uint8_t   *inside;                     /* by slot: a row or index of a scan of this block */
    bool       families[FAMILY_COUNT];
};
/* An expression for an address, and what every value of it is a multiple of (as run_offsets). */
String run_block_address(RunBlock *block, RunRef ref);
CuPtr  run_block_align(const RunBlock *block, RunRef ref);
/* A call of a function of run_texts: its arguments are words with addresses put in. */
void run_block_call(RunBlock *block, GpuFamily family, const char *text, const void *args,
                    uint32_t bytes, const RunRef *refs, const uint32_t *refs_at,
                    uint32_t refs_count);
/* Makes one step of a loop whose kernels are so small that one block does them faster than a graph
 * launches them, if it is one. part: a WHILE or SCAN; becomes STEPS. */
MUST_USE Status run_block_try(RunBinder *b, RunPart *part);
/* About what a pass takes, in ns: as nodes of a graph. */
double run_block_graph_ns(const RunStep *steps, const RunParts *parts);
String run_args_of(const char *text); /* the struct that a template takes: "copy<u32>" */

/* Addresses of rows and indices as in the first step of every scan, for profiles. */
void run_flow_slots(const RunProgram *program, const RunCtx *ctx, CuPtr *slots);
/* With what profiles and profilers want to know around it. */
MUST_USE Status run_launch_step(const RunProgram *program, const RunCtx *ctx, const RunStep *step);
/* The whole program as a graph (not finished). */
MUST_USE Status run_graph_make(const RunProgram *program, const RunCtx *ctx, Arena *out,
                               GpuGraph *graph, GpuPlanStats *stats);

RunStep *run_step(RunBinder *b, RunStepFn *fn, const void *params, uint32_t nodes);
RunRef   run_work(RunBinder *b, uint64_t bytes); /* for this launch (run_work.c) */
/* What no buffer has while a launch runs, ascending; 256-byte aligned. gaps: room for one more than
 * the buffers of the plan. Returns how many. */
uint32_t run_gaps(const Plan *plan, uint32_t launch, RunGap *gaps);
#define RUN_PARAMS(b, T) ARENA_NEW((b)->arena, T)

/* One launch of a function, whose arguments are a struct with addresses put in when it runs. */
enum { RUN_REFS_MAX = 4 };
typedef struct RunKernel {
    const RunFunction *function;
    uint32_t           grid[3], block;
    RunRef             refs[RUN_REFS_MAX];
    uint32_t           refs_at[RUN_REFS_MAX];        /* bytes into args */
    uint32_t           refs_count, args_bytes, step; /* step: its number */
    const void        *args;
} RunKernel;
/* Adds the step; args is copied. template: "copy<%s>" filled in, static or in the arena. */
RunKernel *run_kernel(RunBinder *b, GpuFamily family, String text, const void *args,
                      uint32_t args_bytes);
void       run_kernel_ref(RunKernel *kernel, uint32_t at, RunRef ref);
#define RUN_REF(kernel, T, member, ref) run_kernel_ref((kernel), offsetof(T, member), (ref))
void run_grid(RunBinder *b, RunKernel *kernel, int64_t threads); /* blocks of 256, for EACH */

const RunFunction *run_function(GpuKit *kit, GpuFamily family, String text);
/* Of all addresses that an argument will have: or-ed together, with what may be added to them. */
uint64_t              run_offsets(const RunBinder *b, const LaunchArg *arg);
static inline RunRef  run_ref(const LaunchArg *arg) { return (RunRef){arg->slot, arg->offset}; }
static inline int64_t run_elements(const LaunchArg *arg) {
    int64_t count = 1;
    for (uint32_t i = 0; i < arg->rank; i++) count *= arg->dims[i];
    return count;
}
static inline const char *run_dtype(const LaunchArg *arg) { return dtype_infos[arg->dtype].name; }
/* Whether the templates take it. */
static inline bool run_takes(const LaunchArg *arg) {
    return arg->dtype >= DTYPE_BOOL && arg->dtype <= DTYPE_F64;
}

RunBindFn run_bind_copy, run_bind_iota, run_bind_dim_size, run_bind_concat, run_bind_dynamic_slice;
RunBindFn run_bind_dynamic_update, run_bind_gather, run_bind_scatter, run_bind_arg_reduce;
RunBindFn run_bind_cumulative, run_bind_sort, run_bind_window, run_bind_dot, run_bind_convolution;
RunBindFn run_bind_assert, run_bind_fused, run_bind_attention, run_bind_attention_grad;
RunBindFn run_bind_lu, run_bind_cholesky, run_bind_triangular_solve, run_bind_print;
RunBindFn run_bind_compact, run_bind_dynamic_reshape, run_bind_dynamic_broadcast;
RunBindFn run_bind_copy_out, run_bind_copy_back, run_bind_await;
/* What has been printed goes to diags->print, in order; waits for the stream if there is a log. */
MUST_USE Status run_log_tell(const RunLog *log, const Plan *plan, GpuStream stream, Diags *diags);
void            run_log_empty(const RunLog *log); /* says nothing; NULL is allowed, as below */
void            run_log_close(GpuKit *kit, RunLog *log);
/* y = x, of equal types, y dense; nothing where x lies there. */
void run_copy(RunBinder *b, const LaunchArg *y, const LaunchArg *x);
/* Dense memory of this launch that holds an operand. */
LaunchArg run_dense(RunBinder *b, const LaunchArg *arg);
/* Products by tiles of 64 x 64: c[batch, m, n], sums over k cut into parts where there are few
 * tiles. How many blocks; sizes alone decide into how many parts a long sum is cut. */
typedef struct Tiles {
    CuPtr   c, parts;
    int64_t m, n, k, splits, chunk, total;
} Tiles;
int64_t run_tiles_blocks(Tiles *t, int64_t batches);
/* Adds the step; the address of c and of the parts are members of Tiles, at the start of args. */
MUST_USE Status run_tiles(RunBinder *b, GpuFamily family, const char *name, const void *args,
                          uint32_t bytes, const Tiles *t, int64_t blocks, RunKernel **out_kernel);
/* Compiles what functions have no kernel yet. */
MUST_USE Status run_compile(GpuKit *kit, Diags *diags);

/* --- walking strided memory ------------------------------------------------------------------- */

const char *run_word(int64_t width); /* of so many bytes, as the templates name it */
/* Adds an axis inside those there are; merged with the last one where all sides allow it. */
void run_nd_axis(RunNd *nd, int64_t size, int64_t s0, int64_t s1, int64_t s2);

#endif
