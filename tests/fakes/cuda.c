/* A stand-in for the driver, so that the runtime can be tested without a GPU: device memory is host
 * memory with a limit, streams run at once, graphs are kept and run node by node.
 *
 * Of the nodes that are ready it runs the last one first, so a dependency that was forgotten shows.
 * It proves that the runtime makes the right calls with the right data and gives everything back;
 * what a real device makes of them, the tests with the label `gpu` show. */
#include "fake_cuda.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum { NAMES_MAX = 128, AFTER_MAX = 8, CONDITIONS_MAX = 1 << 16, MAPS_MAX = 64 };
enum { GRANULE = 1 << 16, DEVICE_BYTES = 64 << 20 };

/* --- calls, failures, facts ------------------------------------------------------------------- */

typedef struct Name {
    char     text[64];
    unsigned calls, fail_nth;
    int      error;
} Name;
static Name     names[NAMES_MAX];
static unsigned names_count, live, calls_count, any_nth;
static int      any_error;
static size_t   bytes_max = DEVICE_BYTES, bytes_used;
static int      facts[256], driver_version;

static const FakeWatch *watch; /* may be NULL */
static uint64_t         nodes_made;

static Name *name_of(const char *text) {
    for (unsigned i = 0; i < names_count; i++)
        if (strcmp(names[i].text, text) == 0) return &names[i];
    Name *name = &names[names_count++];
    memset(name, 0, sizeof *name);
    snprintf(name->text, sizeof name->text, "%s", text);
    return name;
}
/* The injected error of this call, or 0. */
static int enter(const char *text) {
    Name *name = name_of(text);
    if (watch != NULL) watch->call(text);
    if (++calls_count == any_nth) return any_error;
    return ++name->calls == name->fail_nth ? name->error : 0;
}
#define ENTER()                                                                                    \
    do {                                                                                           \
        int error_ = enter(__func__);                                                              \
        if (error_ != 0) return error_;                                                            \
    } while (0)

/* --- streams, graphs -------------------------------------------------------------------------- */

typedef enum NodeKind { KERNEL, COPY, FILL, CHILD, EMPTY, CONDITIONAL } NodeKind;
struct CUgraphNode_st {
    NodeKind       kind;
    uint64_t       id;
    unsigned       index, after[AFTER_MAX], after_count;
    CuFunction     function;
    unsigned char *args;
    size_t         args_bytes;
    CuLaunchValue  cluster;
    CuCopyNode     copy;
    CuFillNode     fill;
    CuGraph       *children; /* CHILD: a copy; CONDITIONAL: the bodies, owned by the node */
    unsigned       children_count;
    CuCondition    condition;
    int            type;
};
struct CUgraph_st {
    CuNode  *nodes;
    unsigned count, max;
};
struct CUgraphExec_st {
    CuGraph graph; /* a copy */
};
struct CUstream_st {
    CuGraph capture;
};
struct CUevent_st {
    double ms;
};
struct CUmod_st {
    uint32_t variable[4];
};
struct CUfunc_st {
    char name[64];
    void (*run)(const void *args, CuFunction function);
};
typedef struct Condition {
    unsigned initial, value;
} Condition;
static Condition conditions[CONDITIONS_MAX];
static unsigned  conditions_count;

#include "tests/fakes/kernels.h"

static void run_copy(const CuCopyNode *copy) {
    memmove((void *)(uintptr_t)copy->into.device, (const void *)(uintptr_t)copy->from.device,
            copy->width_bytes);
}
static void run_fill(const CuFillNode *fill) {
    for (size_t i = 0; i < fill->width; i++)
        memcpy((char *)(uintptr_t)fill->into + i * fill->element_bytes, &fill->value,
               fill->element_bytes); /* little-endian */
}

static void tell_work(FakeWork work, const char *kernel, size_t bytes, uint64_t node) {
    if (watch != NULL) watch->work(work, kernel, bytes, node);
}
/* In an instance, nodes of child graphs go by ids that nobody was told of, as in the driver. */
static unsigned inside;

static void tell_node(const struct CUgraphNode_st *node) {
    uint64_t id = node->id + ((uint64_t)inside << 40);
    size_t   filled = node->fill.width * node->fill.element_bytes;
    if (node->kind == KERNEL) tell_work(FAKE_KERNEL, node->function->name, 0, id);
    if (node->kind == COPY) tell_work(FAKE_COPY, NULL, node->copy.width_bytes, id);
    if (node->kind == FILL) tell_work(FAKE_FILL, NULL, filled, id);
}

static void run_graph(const struct CUgraph_st *graph);
static void run_conditional(const struct CUgraphNode_st *node, const unsigned *value) {
    unsigned number = node->type == ABI_CU_GRAPH_COND_TYPE_IF ? *value == 0 : *value;
    if (node->type != ABI_CU_GRAPH_COND_TYPE_WHILE && number < node->children_count)
        run_graph(node->children[number]);
    while (node->type == ABI_CU_GRAPH_COND_TYPE_WHILE && *value != 0) run_graph(node->children[0]);
}
static void run_node(const struct CUgraphNode_st *node) {
    switch (node->kind) {
    case KERNEL: node->function->run(node->args, node->function); break;
    case COPY: run_copy(&node->copy); break;
    case FILL: run_fill(&node->fill); break;
    case CHILD:
        inside++;
        run_graph(node->children[0]);
        inside--;
        break;
    case EMPTY: break;
    case CONDITIONAL: run_conditional(node, &conditions[node->condition].value); break;
    }
}
/* Of the nodes that are ready, always the last: an order that a missing dependency spoils. */
static void run_graph(const struct CUgraph_st *graph) {
    bool *done = calloc(graph->count + 1, sizeof *done);
    for (unsigned ran = 0; ran < graph->count; ran++) {
        unsigned pick = graph->count;
        for (unsigned i = graph->count; i-- > 0 && pick == graph->count;) {
            bool ready = !done[i];
            for (unsigned k = 0; k < graph->nodes[i]->after_count; k++)
                ready = ready && done[graph->nodes[i]->after[k]];
            if (ready) pick = i;
        }
        done[pick] = true;
        tell_node(graph->nodes[pick]);
        run_node(graph->nodes[pick]);
    }
    free(done);
}

static CuGraph copy_graph(const struct CUgraph_st *from);
static CuNode  copy_node(const struct CUgraphNode_st *from) {
     CuNode into = malloc(sizeof *into);
     *into = *from;
     into->id = ++nodes_made;
     if (watch != NULL) watch->node(into, (CuNode)(uintptr_t)from);
    into->args = malloc(from->args_bytes + 1);
     if (from->args_bytes > 0) memcpy(into->args, from->args, from->args_bytes);
    into->children = calloc(from->children_count + 1, sizeof *into->children);
     for (unsigned i = 0; i < from->children_count; i++)
        into->children[i] = copy_graph(from->children[i]);
    return into;
}
static CuGraph copy_graph(const struct CUgraph_st *from) {
    CuGraph into = calloc(1, sizeof *into);
    into->nodes = calloc(from->count + 1, sizeof *into->nodes);
    into->count = into->max = from->count;
    for (unsigned i = 0; i < from->count; i++) into->nodes[i] = copy_node(from->nodes[i]);
    return into;
}
static void free_graph(CuGraph graph) {
    for (unsigned i = 0; i < graph->count; i++) {
        CuNode node = graph->nodes[i];
        for (unsigned k = 0; k < node->children_count; k++) free_graph(node->children[k]);
        free(node->children);
        free(node->args);
        free(node);
    }
    free(graph->nodes);
    free(graph);
}
static bool same_structure(const struct CUgraph_st *a, const struct CUgraph_st *b) {
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = a->nodes[i]->kind == b->nodes[i]->kind &&
               a->nodes[i]->after_count == b->nodes[i]->after_count;
    return same;
}
static CuNode add_node(CuGraph graph, const CuNode *after, size_t after_count, NodeKind kind) {
    if (graph->count == graph->max) {
        graph->max = graph->max * 2 + 16;
        graph->nodes = realloc(graph->nodes, graph->max * sizeof *graph->nodes);
    }
    CuNode node = graph->nodes[graph->count] = calloc(1, sizeof *node);
    node->index = graph->count++;
    node->kind = kind;
    node->id = ++nodes_made;
    for (size_t i = 0; i < after_count; i++) node->after[node->after_count++] = after[i]->index;
    if (watch != NULL) watch->node(node, NULL);
    return node;
}
static void add_children(CuNode node, unsigned count) {
    node->children = calloc(count + 1, sizeof *node->children);
    node->children_count = count;
    for (unsigned i = 0; i < count; i++) node->children[i] = calloc(1, sizeof **node->children);
}
/* Into the graph that a stream records, after what it recorded last; NULL if it records none. */
static CuNode record(CuStream stream, NodeKind kind) {
    CuGraph graph = stream->capture;
    if (graph == NULL) return NULL;
    CuNode last = graph->count > 0 ? graph->nodes[graph->count - 1] : NULL;
    return add_node(graph, &last, last != NULL, kind);
}

/* --- control ---------------------------------------------------------------------------------- */

static void reset(void) {
    static const int defaults[][2] = {
        {ABI_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
        {ABI_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
        {ABI_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448},
        {ABI_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 52428800},
        {ABI_CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2619000},
        {ABI_CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
        {ABI_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1}};
    memset(facts, 0, sizeof facts);
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        facts[defaults[i][0]] = defaults[i][1];
    names_count = conditions_count = live = calls_count = any_nth = 0;
    driver_version = 13000;
    fused_run = NULL;
    bytes_max = DEVICE_BYTES;
    bytes_used = 0;
}
static void set_limit(size_t bytes) { bytes_max = bytes; }
static void set_fact(int attribute, int value) { facts[attribute] = value; }
static void set_version(int version) { driver_version = version; }
static void set_fused(FusedRun *run, void *context) {
    fused_run = run;
    fused_context = context;
}
static unsigned count_live(void) { return live; }
static unsigned count_calls(const char *call) { return name_of(call)->calls; }
static void     set_failure(const char *call, unsigned nth, int error) {
        Name *name = name_of(call);
        name->fail_nth = name->calls + nth;
        name->error = error;
}
static void     set_watch(const FakeWatch *now) { watch = now; }
static uint64_t get_node_id(CuNode node) { return node->id; }
static int      has_failed(void) { return calls_count >= any_nth; }
static void     set_failure_any(unsigned nth, int error) {
        any_nth = calls_count + nth;
        any_error = error;
}
extern const FakeCuda                    fake_cuda;
EXPORT const FakeCuda                    fake_cuda = {.reset = reset,
                                                      .limit = set_limit,
                                                      .fail = set_failure,
                                                      .fail_any = set_failure_any,
                                                      .failed = has_failed,
                                                      .fact = set_fact,
                                                      .version = set_version,
                                                      .fused = set_fused,
                                                      .live = count_live,
                                                      .calls = count_calls,
                                                      .watch = set_watch,
                                                      .node_id = get_node_id};
__attribute__((constructor)) static void start(void) { reset(); }

/* --- the driver's functions ------------------------------------------------------------------- */

/* Prototypes as the runtime sees them. */
#define ONLY_DRIVER(result, name, parameters) EXPORT result name parameters;
#define ONLY_NVRTC(result, name, parameters)
#define ONLY_BLASLT(result, name, parameters)
#define ONLY_CUDNN(result, name, parameters)
#define ONLY_CUPTI(result, name, parameters)
#define ONLY_NVTX(result, name, parameters)
#define ONLY_NCCL(result, name, parameters)
#define GPU_FN(library, result, name, parameters) ONLY_##library(result, name, parameters)
#include "gpu/functions.def"

CuResult cuInit(unsigned flags) {
    (void)flags;
    ENTER();
    return 0;
}
CuResult cuDriverGetVersion(int *version) {
    *version = driver_version;
    ENTER();
    return 0;
}
CuResult cuGetErrorName(CuResult error, const char **text) {
    *text = error == ABI_CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return 0;
}
CuResult cuGetErrorString(CuResult error, const char **text) {
    *text = error == ABI_CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "injected";
    return 0;
}
CuResult cuDeviceGetCount(int *count) {
    ENTER();
    *count = 1;
    return 0;
}
CuResult cuDeviceGet(CuDevice *device, int ordinal) {
    ENTER();
    *device = ordinal;
    return 0;
}
CuResult cuDeviceGetName(char *name, int bytes, CuDevice device) {
    (void)device;
    ENTER();
    snprintf(name, (size_t)bytes, "Stand-in");
    return 0;
}
CuResult cuDeviceTotalMem_v2(size_t *bytes, CuDevice device) {
    (void)device;
    ENTER();
    *bytes = bytes_max;
    return 0;
}
CuResult cuDeviceGetAttribute(int *value, CuDeviceAttribute attribute, CuDevice device) {
    (void)device;
    ENTER();
    *value = facts[attribute];
    return 0;
}
CuResult cuDevicePrimaryCtxRetain(CuContext *context, CuDevice device) {
    (void)device;
    ENTER();
    *context = (CuContext)(uintptr_t)64;
    live++;
    return 0;
}
CuResult cuDevicePrimaryCtxRelease_v2(CuDevice device) {
    (void)device;
    live--;
    return 0;
}
CuResult cuCtxSetCurrent(CuContext context) {
    (void)context;
    ENTER();
    return 0;
}
CuResult cuCtxSynchronize(void) {
    ENTER();
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* A mapping keeps what cuMemCreate took until it is unmapped, as the driver does. */
typedef struct Map {
    CuPtr  at;
    size_t bytes;
} Map;
static Map maps[MAPS_MAX];

CuResult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    ENTER();
    *free_bytes = bytes_max - bytes_used;
    *total_bytes = bytes_max;
    return 0;
}
CuResult cuMemAlloc_v2(CuPtr *memory, size_t bytes) {
    ENTER();
    if (bytes > bytes_max - bytes_used) return ABI_CUDA_ERROR_OUT_OF_MEMORY;
    size_t *block = malloc(bytes + 256);
    block[0] = bytes;
    bytes_used += bytes;
    live++;
    *memory = (CuPtr)(uintptr_t)block + 256;
    return 0;
}
CuResult cuMemFree_v2(CuPtr memory) {
    size_t *block = (size_t *)(uintptr_t)(memory - 256);
    bytes_used -= block[0];
    live--;
    free(block);
    return 0;
}
CuResult cuMemGetAllocationGranularity(size_t *bytes, const CuMemProp *prop,
                                       CuMemGranularity option) {
    (void)prop, (void)option;
    ENTER();
    *bytes = GRANULE;
    return 0;
}
CuResult cuMemAddressReserve(CuPtr *memory, size_t bytes, size_t align, CuPtr wish,
                             unsigned long long flags) {
    (void)align, (void)wish, (void)flags;
    ENTER();
    void *block = NULL;
    if (posix_memalign(&block, GRANULE, bytes) != 0) return ABI_CUDA_ERROR_OUT_OF_MEMORY;
    memset(block, 0xAA, bytes);
    *memory = (CuPtr)(uintptr_t)block;
    live++;
    return 0;
}
CuResult cuMemAddressFree(CuPtr memory, size_t bytes) {
    (void)bytes;
    free((void *)(uintptr_t)memory);
    live--;
    return 0;
}
CuResult cuMemCreate(CuMemHandle *handle, size_t bytes, const CuMemProp *prop,
                     unsigned long long flags) {
    (void)prop, (void)flags;
    ENTER();
    if (bytes % GRANULE != 0) return ABI_CUDA_ERROR_INVALID_VALUE;
    if (bytes > bytes_max - bytes_used) return ABI_CUDA_ERROR_OUT_OF_MEMORY;
    size_t *owned = malloc(sizeof *owned);
    *owned = bytes; /* until a mapping takes it over */
    bytes_used += bytes;
    live++;
    *handle = (CuMemHandle)(uintptr_t)owned;
    return 0;
}
CuResult cuMemRelease(CuMemHandle handle) {
    size_t *owned = (size_t *)(uintptr_t)handle;
    bytes_used -= *owned;
    live--;
    free(owned);
    return 0;
}
CuResult cuMemMap(CuPtr memory, size_t bytes, size_t offset, CuMemHandle handle,
                  unsigned long long flags) {
    (void)offset, (void)flags;
    ENTER();
    for (unsigned i = 0; i < MAPS_MAX; i++) {
        if (maps[i].bytes != 0) continue;
        maps[i] = (Map){memory, bytes};
        *(size_t *)(uintptr_t)handle = 0;
        live++;
        return 0;
    }
    return ABI_CUDA_ERROR_OUT_OF_MEMORY;
}
CuResult cuMemUnmap(CuPtr memory, size_t bytes) {
    for (unsigned i = 0; i < MAPS_MAX; i++) {
        if (maps[i].at != memory || maps[i].bytes != bytes) continue;
        bytes_used -= bytes;
        live--;
        maps[i] = (Map){0, 0};
        return 0;
    }
    return ABI_CUDA_ERROR_INVALID_VALUE;
}
CuResult cuMemSetAccess(CuPtr memory, size_t bytes, const CuMemAccess *access, size_t count) {
    (void)memory, (void)bytes, (void)access, (void)count;
    ENTER();
    return 0;
}
CuResult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    ENTER();
    *memory = malloc(bytes);
    live++;
    return 0;
}
CuResult cuMemFreeHost(void *memory) {
    free(memory);
    live--;
    return 0;
}

static CuResult copy(CuPtr into, CuPtr from, size_t bytes, CuStream stream) {
    CuCopyNode node = {.width_bytes = bytes};
    node.into.device = into;
    node.from.device = from;
    CuNode recorded = record(stream, COPY);
    if (recorded != NULL) {
        recorded->copy = node;
        return 0;
    }
    tell_work(FAKE_COPY, NULL, bytes, 0);
    run_copy(&node);
    return 0;
}
CuResult cuMemcpyHtoDAsync_v2(CuPtr into, const void *from, size_t bytes, CuStream stream) {
    ENTER();
    return copy(into, (CuPtr)(uintptr_t)from, bytes, stream);
}
CuResult cuMemcpyDtoHAsync_v2(void *into, CuPtr from, size_t bytes, CuStream stream) {
    ENTER();
    return copy((CuPtr)(uintptr_t)into, from, bytes, stream);
}
CuResult cuMemcpyDtoDAsync_v2(CuPtr into, CuPtr from, size_t bytes, CuStream stream) {
    ENTER();
    return copy(into, from, bytes, stream);
}
static CuResult fill(CuPtr into, unsigned value, unsigned element, size_t count, CuStream stream) {
    CuFillNode node = {.into = into, .value = value, .element_bytes = element, .width = count};
    CuNode     recorded = record(stream, FILL);
    if (recorded != NULL) {
        recorded->fill = node;
        return 0;
    }
    tell_work(FAKE_FILL, NULL, count * element, 0);
    run_fill(&node);
    return 0;
}
CuResult cuMemsetD8Async(CuPtr into, unsigned char value, size_t count, CuStream stream) {
    ENTER();
    return fill(into, value, 1, count, stream);
}
CuResult cuMemsetD32Async(CuPtr into, unsigned value, size_t count, CuStream stream) {
    ENTER();
    return fill(into, value, 4, count, stream);
}

/* --- streams and events ----------------------------------------------------------------------- */

CuResult cuStreamCreateWithPriority(CuStream *stream, unsigned flags, int priority) {
    (void)flags, (void)priority;
    ENTER();
    *stream = calloc(1, sizeof **stream);
    live++;
    return 0;
}
CuResult cuStreamDestroy_v2(CuStream stream) {
    if (stream->capture != NULL) (void)cuGraphDestroy(stream->capture);
    free(stream);
    live--;
    return 0;
}
CuResult cuStreamSynchronize(CuStream stream) {
    (void)stream;
    ENTER();
    return 0;
}
CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags) {
    (void)stream, (void)flags;
    ENTER();
    return event == NULL ? ABI_CUDA_ERROR_INVALID_VALUE : 0;
}
CuResult cuStreamBeginCapture_v2(CuStream stream, CuCaptureMode mode) {
    (void)mode;
    ENTER();
    if (stream->capture != NULL) return ABI_CUDA_ERROR_INVALID_VALUE;
    return cuGraphCreate(&stream->capture, 0);
}
CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph) {
    ENTER();
    *graph = stream->capture;
    stream->capture = NULL;
    return *graph == NULL ? ABI_CUDA_ERROR_INVALID_VALUE : 0;
}
CuResult cuEventCreate(CuEvent *event, unsigned flags) {
    (void)flags;
    ENTER();
    *event = calloc(1, sizeof **event);
    live++;
    return 0;
}
CuResult cuEventDestroy_v2(CuEvent event) {
    free(event);
    live--;
    return 0;
}
CuResult cuEventRecord(CuEvent event, CuStream stream) {
    struct timespec now;
    (void)stream;
    ENTER();
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
    return 0;
}
CuResult cuEventSynchronize(CuEvent event) {
    ENTER();
    return event->ms == 0 ? ABI_CUDA_ERROR_INVALID_VALUE : 0; /* never recorded */
}
CuResult cuEventElapsedTime(float *ms, CuEvent begin, CuEvent end) {
    ENTER();
    *ms = (float)(end->ms - begin->ms);
    return 0;
}

/* --- modules and launches --------------------------------------------------------------------- */

CuResult cuModuleLoadData(CuModule *module, const void *image) {
    ENTER();
    if (strcmp(image, FAKE_IMAGE) != 0 && memcmp(image, "\177ELF", 4) != 0)
        return ABI_CUDA_ERROR_INVALID_VALUE;
    *module = calloc(1, sizeof **module);
    live++;
    return 0;
}
CuResult cuModuleUnload(CuModule module) {
    free(module);
    live--;
    return 0;
}
CuResult cuModuleGetFunction(CuFunction *function, CuModule module, const char *name) {
    (void)module;
    ENTER();
    *function = find_function(name);
    return *function == NULL ? 500 : 0; /* CUDA_ERROR_NOT_FOUND */
}
CuResult cuModuleGetGlobal_v2(CuPtr *memory, size_t *bytes, CuModule module, const char *name) {
    ENTER();
    if (strcmp(name, "variable") != 0) return 500;
    *memory = (CuPtr)(uintptr_t)module->variable;
    *bytes = sizeof module->variable;
    return 0;
}
CuResult cuFuncGetAttribute(int *value, CuFunctionAttribute attribute, CuFunction function) {
    (void)function;
    ENTER();
    *value = attribute == ABI_CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
    return 0;
}
CuResult cuFuncSetAttribute(CuFunction function, CuFunctionAttribute attribute, int value) {
    (void)function, (void)attribute, (void)value;
    ENTER();
    return 0;
}
CuResult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CuFunction function, int threads,
                                                     size_t shared_bytes) {
    (void)function, (void)shared_bytes;
    ENTER();
    *blocks = 2048 / threads;
    return 0;
}
/* The argument block of a launch: {1, block, 2, &bytes, 0}. */
static bool find_args(void **extra, const void **out_args, size_t *out_bytes) {
    *out_args = NULL;
    *out_bytes = 0;
    if (extra == NULL) return true;
    if ((uintptr_t)extra[0] != ABI_CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT ||
        (uintptr_t)extra[2] != ABI_CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT || extra[4] != NULL)
        return false;
    *out_args = extra[1];
    *out_bytes = *(const size_t *)extra[3];
    return *out_bytes <= 4096; /* what a device takes */
}
static bool set_args(CuNode node, void **extra) {
    const void *args;
    free(node->args);
    node->args = NULL;
    if (!find_args(extra, &args, &node->args_bytes)) return false;
    node->args = malloc(node->args_bytes + 1);
    if (node->args_bytes > 0) memcpy(node->args, args, node->args_bytes);
    return true;
}
CuResult cuTensorMapEncodeTiled(CuTensorMap *map, CuMapType type, unsigned rank, void *memory,
                                const uint64_t *dims, const uint64_t *strides, const unsigned *box,
                                const unsigned *steps, CuMapInterleave interleave,
                                CuMapSwizzle swizzle, CuMapPromotion promotion, CuMapFill fill) {
    (void)type, (void)interleave, (void)swizzle, (void)promotion, (void)fill;
    ENTER();
    bool good = (uintptr_t)memory % 16 == 0 && rank > 0 && rank <= 5;
    for (unsigned i = 0; i < rank && good; i++)
        good = dims[i] > 0 && box[i] > 0 && box[i] <= 256 && steps[i] == 1 &&
               (i == 0 || strides[i - 1] % 16 == 0);
    if (!good) return ABI_CUDA_ERROR_INVALID_VALUE;
    *map = (CuTensorMap){{(uintptr_t)memory}};
    return 0;
}
CuResult cuLaunchKernelEx(const CuLaunchConfig *config, CuFunction function, void **args,
                          void **extra) {
    const void *block;
    size_t      bytes;
    ENTER();
    if ((args != NULL && extra != NULL) || !find_args(extra, &block, &bytes))
        return ABI_CUDA_ERROR_INVALID_VALUE;
    if (args != NULL) block = args[0];
    if (config->grid[0] * config->block[0] == 0) return ABI_CUDA_ERROR_INVALID_VALUE;
    CuNode recorded = record(config->stream, KERNEL);
    if (recorded == NULL) {
        tell_work(FAKE_KERNEL, function->name, 0, 0);
        function->run(block, function);
    } else {
        recorded->function = function;
        (void)set_args(recorded, extra);
    }
    return 0;
}

/* --- graphs ----------------------------------------------------------------------------------- */

CuResult cuGraphCreate(CuGraph *graph, unsigned flags) {
    (void)flags;
    ENTER();
    *graph = calloc(1, sizeof **graph);
    live++;
    return 0;
}
CuResult cuGraphDestroy(CuGraph graph) {
    free_graph(graph);
    live--;
    return 0;
}
static bool set_kernel(CuNode node, const CuKernelNode *params) {
    node->function = params->function;
    return params->grid[0] * params->block[0] != 0 && set_args(node, params->extra);
}
CuResult cuGraphAddKernelNode_v2(CuNode *node, CuGraph graph, const CuNode *after,
                                 size_t after_count, const CuKernelNode *params) {
    ENTER();
    *node = add_node(graph, after, after_count, KERNEL);
    return set_kernel(*node, params) ? 0 : ABI_CUDA_ERROR_INVALID_VALUE;
}
CuResult cuGraphKernelNodeSetAttribute(CuNode node, CuLaunchAttributeId id,
                                       const CuLaunchValue *value) {
    ENTER();
    if (id == ABI_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) node->cluster = *value;
    return 0;
}
CuResult cuGraphAddMemcpyNode(CuNode *node, CuGraph graph, const CuNode *after, size_t after_count,
                              const CuCopyNode *params, CuContext context) {
    (void)context;
    ENTER();
    if (params->height != 1 || params->depth != 1) return ABI_CUDA_ERROR_INVALID_VALUE;
    *node = add_node(graph, after, after_count, COPY);
    (*node)->copy = *params;
    return 0;
}
CuResult cuGraphAddMemsetNode(CuNode *node, CuGraph graph, const CuNode *after, size_t after_count,
                              const CuFillNode *params, CuContext context) {
    (void)context;
    ENTER();
    if (params->height != 1) return ABI_CUDA_ERROR_INVALID_VALUE;
    *node = add_node(graph, after, after_count, FILL);
    (*node)->fill = *params;
    return 0;
}
CuResult cuGraphAddChildGraphNode(CuNode *node, CuGraph graph, const CuNode *after,
                                  size_t after_count, CuGraph child) {
    ENTER();
    *node = add_node(graph, after, after_count, CHILD);
    (*node)->children = calloc(1, sizeof *(*node)->children);
    (*node)->children_count = 1;
    (*node)->children[0] = copy_graph(child);
    return 0;
}
CuResult cuGraphAddEmptyNode(CuNode *node, CuGraph graph, const CuNode *after, size_t after_count) {
    ENTER();
    *node = add_node(graph, after, after_count, EMPTY);
    return 0;
}
CuResult cuGraphAddNode_v2(CuNode *node, CuGraph graph, const CuNode *after, const CuEdge *edges,
                           size_t after_count, CuNodeParams *params) {
    (void)edges;
    ENTER();
    bool     cases = params->u.conditional.type == ABI_CU_GRAPH_COND_TYPE_SWITCH;
    unsigned size = params->u.conditional.size;
    if (driver_version < 12040 || (cases && driver_version < 12080))
        return ABI_CUDA_ERROR_NOT_SUPPORTED;
    if (params->type != ABI_CU_GRAPH_NODE_TYPE_CONDITIONAL || (!cases && size != 1) || size == 0)
        return ABI_CUDA_ERROR_INVALID_VALUE;
    *node = add_node(graph, after, after_count, CONDITIONAL);
    (*node)->condition = params->u.conditional.condition;
    (*node)->type = params->u.conditional.type;
    add_children(*node, size);
    params->u.conditional.bodies = (*node)->children;
    return 0;
}
CuResult cuGraphConditionalHandleCreate(CuCondition *condition, CuGraph graph, CuContext context,
                                        unsigned initial, unsigned flags) {
    (void)graph, (void)context, (void)flags;
    ENTER();
    if (driver_version < 12040) return ABI_CUDA_ERROR_NOT_SUPPORTED;
    if (conditions_count + 1 == CONDITIONS_MAX) return ABI_CUDA_ERROR_OUT_OF_MEMORY;
    *condition = ++conditions_count;
    conditions[conditions_count].initial = initial;
    return 0;
}
CuResult cuGraphInstantiateWithParams(CuGraphExec *exec, CuGraph graph, CuInstantiate *params) {
    (void)params;
    ENTER();
    *exec = calloc(1, sizeof **exec);
    (*exec)->graph = copy_graph(graph);
    live++;
    return 0;
}
/* The node of the instance that stands for a node of the graph it was made from. */
static CuNode instance_of(CuGraphExec exec, CuNode node) { return exec->graph->nodes[node->index]; }
CuResult      cuGraphExecKernelNodeSetParams_v2(CuGraphExec exec, CuNode node,
                                                const CuKernelNode *params) {
         ENTER();
         return set_kernel(instance_of(exec, node), params) ? 0 : ABI_CUDA_ERROR_INVALID_VALUE;
}
CuResult cuGraphExecMemcpyNodeSetParams(CuGraphExec exec, CuNode node, const CuCopyNode *params,
                                        CuContext context) {
    (void)context;
    ENTER();
    instance_of(exec, node)->copy = *params;
    return 0;
}
CuResult cuGraphExecMemsetNodeSetParams(CuGraphExec exec, CuNode node, const CuFillNode *params,
                                        CuContext context) {
    (void)context;
    ENTER();
    instance_of(exec, node)->fill = *params;
    return 0;
}
CuResult cuGraphExecUpdate_v2(CuGraphExec exec, CuGraph graph, CuUpdateInfo *info) {
    (void)info;
    ENTER();
    if (!same_structure(exec->graph, graph)) return ABI_CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    free_graph(exec->graph);
    exec->graph = copy_graph(graph);
    return 0;
}
CuResult cuGraphLaunch(CuGraphExec exec, CuStream stream) {
    (void)stream;
    ENTER();
    for (unsigned i = 1; i <= conditions_count; i++) conditions[i].value = conditions[i].initial;
    run_graph(exec->graph);
    return 0;
}
CuResult cuGraphExecDestroy(CuGraphExec exec) {
    free_graph(exec->graph);
    free(exec);
    live--;
    return 0;
}

#include "tests/fakes/for_cudnn.h"
