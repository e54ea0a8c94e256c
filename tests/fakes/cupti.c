/* A stand-in for CUPTI beside that of the driver (cuda.c), from which it hears what happens: it
 * fills the buffers of its user with records as CUPTI does, and calls back for graph nodes. */
#include "fake_cuda.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum { KINDS = 64, STACK = 8, STREAM = 7, CALLBACKS = 32, APART_NS = 1000000000 };

static const FakeCuda *driver;
static bool            enabled[KINDS], called_back[CALLBACKS];
static CuptiRequest   *request;
static CuptiComplete  *complete;
static CuptiCallback  *callback;
static void           *user;
static uint8_t        *buffer;
static size_t          bytes_max, bytes_used, lost;
static uint32_t        correlation, lent;
static uint64_t        externals[STACK];
static unsigned        externals_count;
static char            failing[64], calls[256][40];
static unsigned        calls_count;
static int             failing_error;

static uint64_t now(void) { /* another clock than the driver's user has */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec + APART_NS;
}
static int fails(const char *call) { return strcmp(call, failing) == 0 ? failing_error : 0; }
#define ENTER()                                                                                    \
    do {                                                                                           \
        int error_ = fails(__func__);                                                              \
        if (error_ != 0) return error_;                                                            \
    } while (0)

/* --- records ---------------------------------------------------------------------------------- */

static size_t size_of(int kind) {
    switch (kind) {
    case ABI_CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: return sizeof(CuptiKernel) + 16; /* longer */
    case ABI_CUPTI_ACTIVITY_KIND_MEMCPY: return sizeof(CuptiCopy);
    case ABI_CUPTI_ACTIVITY_KIND_MEMSET: return sizeof(CuptiFill);
    case ABI_CUPTI_ACTIVITY_KIND_DRIVER: return sizeof(CuptiCall);
    default: return sizeof(CuptiExternal);
    }
}
static void give_back(void) {
    if (buffer == NULL) return;
    complete(NULL, 0, buffer, bytes_max, bytes_used);
    buffer = NULL;
    lent--;
}
/* Zeroed memory for a record of a kind that is enabled; NULL: not recorded. */
static void *add(int kind) {
    size_t records = 0, bytes = size_of(kind);
    if (!enabled[kind] || request == NULL) return NULL;
    if (buffer != NULL && bytes_used + bytes > bytes_max) give_back();
    if (buffer == NULL) {
        request(&buffer, &bytes_max, &records);
        bytes_used = 0;
        lent += buffer != NULL;
    }
    if (buffer == NULL) {
        lost++;
        return NULL;
    }
    void *record = memset(buffer + bytes_used, 0, bytes);
    bytes_used += bytes;
    memcpy(record, &kind, sizeof kind);
    return record;
}

static void on_call(const char *name) {
    unsigned id = 0;
    correlation++;
    while (id < calls_count && strcmp(calls[id], name) != 0) id++;
    if (id == calls_count) snprintf(calls[calls_count++], sizeof calls[0], "%s", name);
    CuptiCall *call = add(ABI_CUPTI_ACTIVITY_KIND_DRIVER);
    if (call != NULL) {
        call->id = id;
        call->start_ns = now();
        call->end_ns = now();
        call->correlation = correlation;
    }
    if (externals_count == 0) return;
    CuptiExternal *external = add(ABI_CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION);
    if (external == NULL) return;
    external->external_kind = ABI_CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;
    external->external = externals[externals_count - 1];
    external->correlation = correlation;
}
static void on_node(CuNode node, CuNode before) {
    CuptiGraphData graph = {.node = node, .node_before = before};
    CuptiResource  resource = {.descriptor = &graph};
    uint32_t       id = before != NULL ? ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED
                                       : ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED;
    if (callback != NULL && called_back[id])
        callback(user, ABI_CUPTI_CB_DOMAIN_RESOURCE, id, &resource);
}
static void on_work(FakeWork work, const char *name, size_t bytes, uint64_t node) {
    CuptiKernel *kernel;
    CuptiCopy   *copy;
    CuptiFill   *fill;
    switch (work) {
    case FAKE_KERNEL:
        kernel = add(ABI_CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
        if (kernel == NULL) return;
        kernel->name = name;
        kernel->node = node;
        kernel->stream = STREAM;
        kernel->correlation = correlation;
        kernel->start_ns = now();
        kernel->end_ns = now() + 1;
        return;
    case FAKE_COPY:
        copy = add(ABI_CUPTI_ACTIVITY_KIND_MEMCPY);
        if (copy == NULL) return;
        copy->bytes = bytes;
        copy->node = node;
        copy->stream = STREAM;
        copy->correlation = correlation;
        copy->start_ns = now();
        copy->end_ns = now() + 1;
        return;
    case FAKE_FILL:
        fill = add(ABI_CUPTI_ACTIVITY_KIND_MEMSET);
        if (fill == NULL) return;
        fill->bytes = bytes;
        fill->node = node;
        fill->stream = STREAM;
        fill->correlation = correlation;
        fill->start_ns = now();
        fill->end_ns = now() + 1;
        return;
    }
}

/* --- control ---------------------------------------------------------------------------------- */

static void attach(const FakeCuda *cuda) {
    static const FakeWatch watch = {on_call, on_node, on_work};
    driver = cuda;
    memset(enabled, 0, sizeof enabled);
    memset(called_back, 0, sizeof called_back);
    callback = NULL;
    request = NULL;
    buffer = NULL;
    externals_count = lent = 0;
    lost = 0;
    failing[0] = 0;
    cuda->watch(&watch);
}
static void set_failure(const char *call, int error) {
    snprintf(failing, sizeof failing, "%s", call);
    failing_error = error;
}
static unsigned count_live(void) {
    unsigned count = lent + (callback != NULL) + externals_count;
    for (unsigned i = 0; i < KINDS; i++) count += enabled[i];
    return count;
}
extern const FakeCupti fake_cupti;
EXPORT const FakeCupti fake_cupti = {.attach = attach, .fail = set_failure, .live = count_live};

/* --- CUPTI's functions ------------------------------------------------------------------------ */

#define ONLY_DRIVER(result, name, parameters)
#define ONLY_NVRTC(result, name, parameters)
#define ONLY_BLASLT(result, name, parameters)
#define ONLY_CUDNN(result, name, parameters)
#define ONLY_CUPTI(result, name, parameters) EXPORT result name parameters;
#define ONLY_NVTX(result, name, parameters)
#define ONLY_NCCL(result, name, parameters)
#define GPU_FN(library, result, name, parameters) ONLY_##library(result, name, parameters)
#include "gpu/functions.def"

CuptiResult cuptiGetVersion(uint32_t *version) {
    *version = 130000;
    return 0;
}
CuptiResult cuptiGetResultString(CuptiResult result, const char **text) {
    *text = result == 39 ? "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED" : "CUPTI_ERROR_FAKE";
    return 0;
}
CuptiResult cuptiGetTimestamp(uint64_t *ns) {
    ENTER();
    *ns = now();
    return 0;
}
CuptiResult cuptiActivityEnable(CuptiKind kind) {
    ENTER();
    enabled[kind] = true;
    return 0;
}
CuptiResult cuptiActivityDisable(CuptiKind kind) {
    enabled[kind] = false;
    return 0;
}
CuptiResult cuptiActivityRegisterCallbacks(CuptiRequestFn on_request, CuptiCompleteFn on_complete) {
    ENTER();
    request = on_request;
    complete = on_complete;
    return 0;
}
CuptiResult cuptiActivityGetNextRecord(uint8_t *from, size_t bytes, CuptiActivity **record) {
    uint8_t *next = from;
    ENTER();
    if (*record != NULL) next = (uint8_t *)*record + size_of((*record)->kind);
    if (next >= from + bytes) return ABI_CUPTI_ERROR_MAX_LIMIT_REACHED;
    *record = (CuptiActivity *)(void *)next;
    return 0;
}
CuptiResult cuptiActivityGetNumDroppedRecords(CuContext context, uint32_t stream, size_t *dropped) {
    (void)context, (void)stream;
    ENTER();
    *dropped = lost;
    lost = 0;
    return 0;
}
CuptiResult cuptiActivityFlushAll(uint32_t flag) {
    (void)flag;
    ENTER();
    give_back();
    return 0;
}
CuptiResult cuptiActivityPushExternalCorrelationId(CuptiExternalKind kind, uint64_t id) {
    (void)kind;
    ENTER();
    externals[externals_count++] = id;
    return 0;
}
CuptiResult cuptiActivityPopExternalCorrelationId(CuptiExternalKind kind, uint64_t *last) {
    (void)kind;
    ENTER();
    *last = externals[--externals_count];
    return 0;
}
CuptiResult cuptiSubscribe(CuptiSubscriber *subscriber, CuptiCallbackFn on, void *for_whom) {
    ENTER();
    if (callback != NULL) return 39;
    callback = on;
    user = for_whom;
    *subscriber = (CuptiSubscriber)(void *)&callback;
    return 0;
}
CuptiResult cuptiUnsubscribe(CuptiSubscriber subscriber) {
    (void)subscriber;
    callback = NULL;
    return 0;
}
CuptiResult cuptiEnableCallback(uint32_t enable, CuptiSubscriber subscriber, CuptiDomain domain,
                                uint32_t id) {
    (void)subscriber, (void)domain;
    ENTER();
    called_back[id] = enable != 0;
    return 0;
}
CuptiResult cuptiGetGraphNodeId(CuNode node, uint64_t *id) {
    ENTER();
    *id = driver->node_id(node);
    return 0;
}
CuptiResult cuptiGetCallbackName(CuptiDomain domain, uint32_t id, const char **name) {
    (void)domain;
    ENTER();
    *name = calls[id];
    return 0;
}
