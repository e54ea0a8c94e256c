/* One GPU: its facts, memory, streams, kernels and graphs.
 *
 * A Gpu retains the primary context of its device, so memory and streams are shared with other CUDA
 * code of the process. Handles are small structs that their owner opens and closes; all must be
 * closed before the Gpu. Every function that talks to the device returns a Status and adds rows
 * (driver.h). After a fault inside a kernel the context is lost: each later call fails with
 * STATUS_DEVICE.
 *
 * Thread rule: a Gpu and what belongs to it are used by one thread at a time; another thread calls
 * gpu_attach first. Sizes are bytes. Device work is asynchronous unless a comment says
 * otherwise. */
#ifndef STOA_GPU_GPU_H
#define STOA_GPU_GPU_H

#include "gpu/driver.h"
#include "tables/dtypes.h"

/* --- the device ------------------------------------------------------------------------------- */

/* Who decides about IF, WHILE and SWITCH nodes of graphs. */
typedef enum GpuConditions {
    GPU_CONDITIONS_HOST, /* a driver below 12.4: the host, which waits and reads between graphs */
    GPU_CONDITIONS_LOOP, /* the device; below 12.8 it has no SWITCH */
    GPU_CONDITIONS_ALL   /* the device */
} GpuConditions;

typedef struct GpuInfo {
    char     name[96];
    char     arch[16]; /* of machine code for it: "sm_90a" */
    uint32_t ordinal;
    int      major, minor; /* compute capability */
    int      driver;       /* as GpuBinding.version */
    uint32_t multiprocessors, threads_per_multiprocessor, registers_per_multiprocessor;
    uint32_t shared_bytes_per_block; /* the most that a kernel may ask for */
    uint32_t shared_bytes_per_multiprocessor;
    uint32_t l2_bytes, clock_khz;
    uint64_t memory_bytes, bandwidth; /* bytes, bytes a second (by the clock and bus width) */
    bool     can_map;                 /* arenas can grow in place */

    GpuConditions conditions; /* may be lowered before graphs are made (tests, measurements) */
} GpuInfo;

typedef struct GpuArena GpuArena;
typedef struct Gpu {
    GpuLibs  *libs;
    Arena    *arena; /* host memory of small rows; as long as the Gpu */
    GpuInfo   info;
    CuDevice  device;
    CuContext context;
    uint64_t  granule;           /* arenas grow by multiples of it */
    GpuArena *arenas;            /* open ones, newest first */
    uint64_t  bytes, bytes_peak; /* held by arenas now, and at most */
    uint64_t  bytes_max;         /* refuses to hold more; 0: what the device has */
} Gpu;

/* Billions of multiplications and additions a second that products with operands of a dtype can do
 * at most, at the highest clock; 0 for architectures that are not known. */
double gpu_peak_gflop_s(const GpuInfo *info, Dtype dtype, bool tf32);
/* How many GPUs there are; 0 without a driver (not an error, nothing is added). */
uint32_t gpu_count(GpuLibs *libs);
/* Opens a device and makes it current for the calling thread. Lives in arena until gpu_close.
 * GPU_LIBRARY, GPU_CALL or GPU_DEVICE says why not. About 0.2 s for the first one of a process. */
MUST_USE Status gpu_open(Arena *arena, GpuLibs *libs, uint32_t ordinal, Diags *diags,
                         Gpu **out_gpu);
void            gpu_close(Gpu *gpu);                /* NULL is allowed */
MUST_USE Status gpu_attach(Gpu *gpu, Diags *diags); /* the calling thread may use it from now on */
MUST_USE Status gpu_sync(Gpu *gpu, Diags *diags);   /* waits for all work of the device */

/* --- device memory ---------------------------------------------------------------------------- */

/* A range of device addresses that is committed as it grows, so that addresses (and graphs that
 * hold them) stay valid: the planned arena of a plan, or the parameters and state of a session. */
struct GpuArena {
    Gpu             *gpu;
    const char      *name; /* static string, for reports */
    CuPtr            base;
    uint64_t         bytes_max;       /* reserved addresses */
    uint64_t         bytes;           /* committed */
    uint64_t         used, used_peak; /* by gpu_push */
    struct GpuChunk *chunks;          /* what was committed at once, newest first */
    GpuArena        *next;
};

/* Reserves bytes_max addresses and commits `bytes`. Where the device cannot map memory, it takes
 * `bytes` at once and cannot grow. Failure leaves nothing behind; running out adds GPU_MEMORY with
 * a GPU_HELD row for each open arena. Contents are undefined. out_arena stays where it is until it
 * is closed. */
MUST_USE Status gpu_arena_open(Gpu *gpu, const char *name, uint64_t bytes, uint64_t bytes_max,
                               Diags *diags, GpuArena *out_arena);
/* Makes at least `bytes` committed; a failure keeps what there was. */
MUST_USE Status gpu_arena_grow(GpuArena *arena, uint64_t bytes, Diags *diags);
/* The next `bytes` aligned to `align` (a power of two, at most the granule), committing a quarter
 * more than is held if it must grow. */
MUST_USE Status gpu_push(GpuArena *arena, uint64_t bytes, uint64_t align, Diags *diags,
                         CuPtr *out_memory);
void            gpu_release(GpuArena *arena, uint64_t used); /* forgets what was pushed since */
void            gpu_arena_close(GpuArena *arena); /* waits for the device; safe on all zero */
/* The table of open arenas (committed, used at the peak) and totals, as text. */
String gpu_memory_text(Arena *out, const Gpu *gpu);

/* Page-locked host memory: copies from and to it run beside kernels. */
MUST_USE Status gpu_host_open(Gpu *gpu, uint64_t bytes, Diags *diags, void **out_memory);
void            gpu_host_close(Gpu *gpu, void *memory); /* NULL is allowed */

/* --- streams and events ----------------------------------------------------------------------- */

typedef struct GpuStream {
    Gpu     *gpu;
    CuStream handle;
} GpuStream;
typedef struct GpuEvent {
    Gpu    *gpu;
    CuEvent handle;
} GpuEvent;

MUST_USE Status gpu_stream_open(Gpu *gpu, Diags *diags, GpuStream *out_stream);
void            gpu_stream_close(GpuStream *stream); /* safe on all zero */
MUST_USE Status gpu_stream_sync(GpuStream stream, Diags *diags);
MUST_USE Status gpu_stream_wait(GpuStream stream, GpuEvent event, Diags *diags);

MUST_USE Status gpu_event_open(Gpu *gpu, bool timed, Diags *diags, GpuEvent *out_event);
void            gpu_event_close(GpuEvent *event); /* safe on all zero */
MUST_USE Status gpu_event_record(GpuEvent event, GpuStream stream, Diags *diags);
MUST_USE Status gpu_event_sync(GpuEvent event, Diags *diags);
/* Milliseconds between two timed events that have happened. */
MUST_USE Status gpu_event_ms(GpuEvent start, GpuEvent end, Diags *diags, float *out_ms);

/* --- copies ----------------------------------------------------------------------------------- */

MUST_USE Status gpu_copy(GpuStream stream, CuPtr into, CuPtr from, uint64_t bytes, Diags *diags);
/* Host memory must stay until the stream has passed; only page-locked memory makes it
 * asynchronous. */
MUST_USE Status gpu_copy_in(GpuStream stream, CuPtr into, const void *from, uint64_t bytes,
                            Diags *diags);
MUST_USE Status gpu_copy_out(GpuStream stream, void *into, CuPtr from, uint64_t bytes,
                             Diags *diags);
MUST_USE Status gpu_fill(GpuStream stream, CuPtr into, uint8_t value, uint64_t bytes, Diags *diags);
MUST_USE Status gpu_fill32(GpuStream stream, CuPtr into, uint32_t value, uint64_t count,
                           Diags *diags);

/* Staging: a ring of page-locked slots with copy streams of its own. Data goes through slots piece
 * by piece, so that filling one overlaps with copying another and with kernels. */
enum { GPU_STAGING_SLOTS = 4 };
typedef struct GpuStaging {
    Gpu      *gpu;
    GpuStream in, out;
    uint64_t  slot_bytes;
    uint8_t  *memory; /* slots back to back */
    GpuEvent  done[GPU_STAGING_SLOTS], order;
    bool      busy[GPU_STAGING_SLOTS]; /* a copy was recorded in done */
    uint32_t  next;
} GpuStaging;

MUST_USE Status gpu_staging_open(Gpu *gpu, uint64_t slot_bytes, Diags *diags,
                                 GpuStaging *out_staging);
void            gpu_staging_close(GpuStaging *staging); /* waits for its copies; safe on all zero */
/* A free slot of slot_bytes to write into (waits for its last copy), then its first `bytes` on the
 * way to `into`. The copy waits for `reusable`, the event after the last reader of the old bytes
 * (all zero: it waits for nothing). */
MUST_USE Status gpu_staging_slot(GpuStaging *staging, Diags *diags, void **out_slot);
MUST_USE Status gpu_staging_send(GpuStaging *staging, CuPtr into, uint64_t bytes, GpuEvent reusable,
                                 Diags *diags);
/* The same for any amount of memory that is not page-locked; `from` is free on return. */
MUST_USE Status gpu_staging_copy_in(GpuStaging *staging, CuPtr into, const void *from,
                                    uint64_t bytes, GpuEvent reusable, Diags *diags);
/* Work that `reader` gets from now on sees all that was sent. */
MUST_USE Status gpu_staging_join(GpuStaging *staging, GpuStream reader, Diags *diags);
/* What `writer` leaves at `from` by now, to memory that is not page-locked. Waits for these bytes
 * only. */
MUST_USE Status gpu_staging_copy_out(GpuStaging *staging, GpuStream writer, void *into, CuPtr from,
                                     uint64_t bytes, Diags *diags);

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct GpuModule {
    Gpu     *gpu;
    CuModule handle;
} GpuModule;
typedef struct GpuKernel {
    const char *name; /* as it was asked for; outlives the kernel */
    CuFunction  function;
    uint32_t    threads_max, registers, shared_bytes, local_bytes; /* as compiled; a spilling or
                                                                      indexed kernel has local */
} GpuKernel;

/* image: machine code for this GPU (nvrtc.h). */
MUST_USE Status gpu_module_open(Gpu *gpu, const char *name, String image, Diags *diags,
                                GpuModule *out_module);
void            gpu_module_close(GpuModule *module); /* safe on all zero */
MUST_USE Status gpu_module_kernel(const GpuModule *module, const char *name, Diags *diags,
                                  GpuKernel *out_kernel);
/* A __device__ or __constant__ variable. */
MUST_USE Status gpu_module_variable(const GpuModule *module, const char *name, Diags *diags,
                                    CuPtr *out_memory, uint64_t *out_bytes);
/* Allows up to shared_bytes of dynamic shared memory (above 48 KiB it must be asked for), and
 * clusters of more than 8 blocks. */
MUST_USE Status gpu_kernel_allow(Gpu *gpu, GpuKernel kernel, uint32_t shared_bytes,
                                 bool large_clusters, Diags *diags);
/* How many blocks of a launch fit on one multiprocessor at once. */
MUST_USE Status gpu_kernel_blocks(Gpu *gpu, GpuKernel kernel, uint32_t threads,
                                  uint32_t shared_bytes, Diags *diags, uint32_t *out_blocks);

/* A launch of a kernel, as data. args: the parameters laid out like the members of a C struct (each
 * at its natural alignment), so one struct parameter is that struct. */
typedef struct GpuLaunch {
    GpuKernel   kernel;
    uint32_t    grid[3], block[3];
    uint32_t    cluster[3]; /* blocks a cluster; all 0: no clusters */
    uint32_t    shared_bytes;
    bool        cooperative; /* all blocks run at once, so that they may wait for each other */
    bool        single;      /* args is one parameter, which may be aligned to more than 8: the
                                driver knows where it begins (not in lists of nodes) */
    const void *args;        /* read during the call only */
    uint32_t    args_bytes;
} GpuLaunch;
MUST_USE Status gpu_launch(GpuStream stream, const GpuLaunch *launch, Diags *diags);

/* --- graphs ----------------------------------------------------------------------------------- */

typedef enum GpuNodeKind {
    GPU_NODE_KERNEL, /* launch */
    GPU_NODE_COPY,   /* bytes from `from` to `into`, both on the device */
    GPU_NODE_FILL,   /* count elements of element_bytes (1, 2, 4), each `value` */
    GPU_NODE_CHILD,  /* a copy of `child`: what a library call was captured to */
    GPU_NODE_JOIN,   /* nothing; gathers dependencies */
    GPU_NODE_IF,     /* body once if the condition is not 0 */
    GPU_NODE_WHILE,  /* body again and again while the condition is not 0 */
    GPU_NODE_SWITCH  /* body[condition] once, if there is one; not with GPU_CONDITIONS_LOOP */
} GpuNodeKind;
static inline bool gpu_node_has_body(GpuNodeKind kind) { return kind >= GPU_NODE_IF; }

typedef struct GpuNodes GpuNodes;
/* One node, as data. It runs after the nodes after[0..after_count) of the same list, which come
 * before it; after == NULL: after the node before it. */
typedef struct GpuNode {
    GpuNodeKind     kind;
    const uint32_t *after;
    uint32_t        after_count;
    GpuLaunch       launch;
    CuPtr           into, from;
    uint64_t        bytes, count;
    uint32_t        value, element_bytes;
    CuGraph         child;
    CuCondition     condition;
    const GpuNodes *body;   /* of SWITCH: as many as `bodies` */
    uint32_t        bodies; /* of SWITCH */
    uint32_t        rounds; /* of WHILE, where it is known: the host need not ask; 0: it is not */
} GpuNode;
struct GpuNodes {
    const GpuNode *nodes;
    uint32_t       count;
};
static inline uint32_t gpu_node_bodies(const GpuNode *node) {
    return node->kind == GPU_NODE_SWITCH ? node->bodies : gpu_node_has_body(node->kind);
}

typedef struct GpuGraph {
    Gpu        *gpu;
    CuGraph     handle;
    CuGraphExec exec;  /* after gpu_graph_finish */
    CuNode     *nodes; /* of the outermost list, in its order; in the host arena of begin */
    uint32_t    count;

    struct GpuHostList  *host; /* where the host decides; NULL: the driver has the whole graph */
    struct GpuHostWords *words;
} GpuGraph;

/* Device code that sets conditions, put before the kernels: cudaGraphSetConditional where the
 * device decides, and for all, by GpuConditions, set_condition<conditions>(condition, value). */
#define GPU_CONDITION_SOURCE                                                                       \
    "extern \"C\" __device__ void cudaGraphSetConditional(unsigned long long handle, "             \
    "unsigned value);\n"                                                                           \
    "template <int conditions>\n"                                                                  \
    "static __device__ void set_condition(unsigned long long condition, unsigned value) {\n"       \
    "    if constexpr (conditions == 0) *(volatile unsigned *)condition = value;\n"                \
    "    else cudaGraphSetConditional(condition, value); }\n"

/* begin, conditions (each used by one node), add once, finish; then launch as often as wanted.
 * Building and instantiating cost about 1 us a node each. Where the host decides, launching such a
 * graph waits at each condition (about 15 us), and at last returns with work under way; graphs
 * without conditions are the same everywhere. */
MUST_USE Status gpu_graph_begin(Gpu *gpu, Diags *diags, GpuGraph *out_graph);
/* A condition with the value that it has whenever the graph starts; kernels get it by value (64
 * bits) and set it, by set_condition. A WHILE node leaves it 0. */
MUST_USE Status gpu_graph_condition(GpuGraph *graph, uint32_t initial, Diags *diags,
                                    CuCondition *out_condition);
/* out: as long as the graph. */
MUST_USE Status gpu_graph_add(GpuGraph *graph, Arena *out, GpuNodes nodes, Diags *diags);
MUST_USE Status gpu_graph_finish(GpuGraph *graph, Diags *diags);
MUST_USE Status gpu_graph_launch(const GpuGraph *graph, GpuStream stream, Diags *diags);
/* Other arguments, sizes or grid of a KERNEL, COPY or FILL of the outermost list; launches from now
 * on. The kernel may change too, but not its context. */
MUST_USE Status gpu_graph_update(GpuGraph *graph, uint32_t node, const GpuNode *now, Diags *diags);
/* Takes over all parameters of another graph of the same structure (not yet finished). False in
 * *out_same, and nothing changed, when the structures differ. */
MUST_USE Status gpu_graph_become(GpuGraph *graph, const GpuGraph *other, Diags *diags,
                                 bool *out_same);
void            gpu_graph_close(GpuGraph *graph); /* safe on all zero */

/* Captures what `record` puts into the stream (library calls) instead of running it; `record` must
 * not synchronise. The caller owns the graph: add it as CHILD, then gpu_capture_close. */
typedef Status  GpuRecordFn(void *context, GpuStream stream, Diags *diags);
MUST_USE Status gpu_capture(GpuStream stream, GpuRecordFn *record, void *context, Diags *diags,
                            CuGraph *out_graph);
void            gpu_capture_close(Gpu *gpu, CuGraph graph); /* NULL is allowed */

#endif
