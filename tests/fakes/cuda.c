/* A stand-in for the driver, so that the runtime can be tested without a GPU: device memory is host
 * memory with a limit, streams run at once or late (streams.h), graphs are kept and run node by
 * node (nodes.h, graphs.h).
 *
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

#include "tests/fakes/nodes.h"

/* --- control ---------------------------------------------------------------------------------- */

static void set_late(int late);

static void reset(void) {
    static const int defaults[][2] = {
        {ABI_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
        {ABI_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
        {ABI_CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448},
        {ABI_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 52428800},
        {ABI_CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2619000},
        {ABI_CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
        {ABI_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1}};
    set_late(0);
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
                                                      .node_id = get_node_id,
                                                      .late = set_late};
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
static void run_waiting(void);

CuResult cuCtxSynchronize(void) {
    ENTER();
    run_waiting();
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
    run_waiting();
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
    run_waiting();
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

#include "tests/fakes/streams.h"

#include "tests/fakes/graphs.h"

#include "tests/fakes/for_cudnn.h"
