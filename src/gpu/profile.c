/* Recording through CUPTI's activities.
 *
 * CUPTI fills buffers that it asks for and gives back, from any thread and without a context
 * pointer: they are lent from a fixed set through atomic states, and the one profile of the process
 * is a global. Its other callbacks come on the thread that makes or copies graph nodes, inside
 * calls of the driver, where unwinding is not allowed: the maps that they write have a fixed size.
 *
 * Work is known by the id of its node, or outside graphs by the number that correlates it with the
 * call that launched it, to which CUPTI adds our tag in a record of its own. Copies of nodes are
 * called back, but for those of child graphs inside an instance, which get new ids when it is made:
 * these run in the order in which they were recorded. */
#include "gpu/profile.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "arena/os.h"
#include "tables/strings.h"

enum { BUFFERS = 16, BUFFER_BYTES = 1 << 20, BUFFER_ALIGN = 64, TAGS = 1 << 17 };
#define TAG_NONE UINT64_MAX /* of a node that is known, but for nothing known */
typedef enum BufferState { BUFFER_FREE, BUFFER_LENT, BUFFER_FULL } BufferState;

typedef struct Buffer {
    _Atomic int state; /* BufferState */
    uint8_t    *memory;
    size_t      bytes; /* when full: that hold records */
    uint64_t    place; /* when full: how many were full before it */
} Buffer;
typedef struct Tags { /* open addressing; key 0: free */
    uint64_t *key, *tag;
    uint32_t  count;
} Tags;
struct GpuProfile {
    GpuLibs         *libs;
    Arena           *memory, *rows; /* of buffers, maps and names; of the last list */
    CuptiSubscriber  subscriber;
    Buffer           buffers[BUFFERS];
    _Atomic uint64_t filled;
    Tags             nodes, calls; /* by node id; by correlation */
    uint64_t        *recorded;     /* tags of nodes, in order; a graph by itself begins its nodes */
    uint32_t         recorded_count;
    uint64_t         tag, lost;
    Strings          names;
};
static _Atomic(GpuProfile *) active; /* the one that CUPTI records for */

/* --- tags ------------------------------------------------------------------------------------- */

static Tags tags_open(Arena *arena) {
    return (Tags){ARENA_ARRAY_ZERO(arena, uint64_t, TAGS), ARENA_ARRAY_ZERO(arena, uint64_t, TAGS),
                  0};
}
static uint32_t tags_place(const Tags *tags, uint64_t key) {
    uint32_t at = (uint32_t)(key * 0x9E3779B97F4A7C15u >> 32) % TAGS;
    while (tags->key[at] != 0 && tags->key[at] != key) at = (at + 1) % TAGS;
    return at;
}
static void tags_put(Tags *tags, uint64_t key, uint64_t tag) {
    uint32_t at = tags_place(tags, key);
    if (key == 0 || (tags->key[at] == 0 && tags->count >= TAGS / 4 * 3)) return; /* unknown then */
    tags->count += tags->key[at] == 0;
    tags->key[at] = key;
    tags->tag[at] = tag;
}
static uint64_t tags_find(const Tags *tags, uint64_t key) {
    return key == 0 ? 0 : tags->tag[tags_place(tags, key)];
}
static void tags_clear(Tags *tags) {
    memset(tags->key, 0, sizeof *tags->key * TAGS);
    memset(tags->tag, 0, sizeof *tags->tag * TAGS);
    tags->count = 0;
}

/* --- callbacks -------------------------------------------------------------------------------- */

static void on_request(uint8_t **buffer, size_t *bytes, size_t *records_max) {
    GpuProfile *profile = atomic_load(&active);
    *buffer = NULL;
    *bytes = *records_max = 0;
    for (uint32_t i = 0; profile != NULL && i < BUFFERS && *buffer == NULL; i++) {
        int free = BUFFER_FREE;
        if (!atomic_compare_exchange_strong(&profile->buffers[i].state, &free, BUFFER_LENT))
            continue;
        *buffer = profile->buffers[i].memory;
        *bytes = BUFFER_BYTES;
    }
}
static void on_complete(CuContext context, uint32_t stream, uint8_t *memory, size_t bytes,
                        size_t valid_bytes) {
    GpuProfile *profile = atomic_load(&active);
    (void)context, (void)stream, (void)bytes;
    for (uint32_t i = 0; profile != NULL && i < BUFFERS; i++) {
        Buffer *buffer = &profile->buffers[i];
        if (buffer->memory != memory) continue;
        buffer->bytes = valid_bytes;
        buffer->place = atomic_fetch_add(&profile->filled, 1);
        atomic_store(&buffer->state, BUFFER_FULL);
    }
}
static void note(GpuProfile *profile, uint64_t tag) {
    if (profile->recorded_count < TAGS) profile->recorded[profile->recorded_count++] = tag;
}
/* A node was recorded, or copied with its graph. */
static void on_node(void *user, CuptiDomain domain, uint32_t id, const void *data) {
    GpuProfile           *profile = user;
    const CuptiResource  *resource = data;
    const CuptiGraphData *graph = resource->descriptor;
    uint64_t              node = 0, before = 0, tag = profile->tag;
    const GpuFns         *fns = &profile->libs->fns;
    if (domain != ABI_CUPTI_CB_DOMAIN_RESOURCE) return;
    if (fns->cuptiGetGraphNodeId(graph->node, &node) != 0) return;
    if (id == ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED) {
        if (fns->cuptiGetGraphNodeId(graph->node_before, &before) != 0) return;
        tag = tags_find(&profile->nodes, before);
    }
    if (tag != 0 && id == ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED) note(profile, tag);
    tags_put(&profile->nodes, node, tag != 0 ? tag : TAG_NONE);
}

/* --- opening ---------------------------------------------------------------------------------- */

static const int      recorded[] = {ABI_CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                    ABI_CUPTI_ACTIVITY_KIND_MEMCPY, ABI_CUPTI_ACTIVITY_KIND_MEMSET,
                                    ABI_CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
                                    ABI_CUPTI_ACTIVITY_KIND_DRIVER};
static const uint32_t watched[] = {ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED,
                                   ABI_CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED};

static Status start(GpuProfile *profile, Diags *diags) {
    GpuLibs    *libs = profile->libs;
    const char *doing = "profiling";
    Status      status =
        GPU_CALL(libs, diags, doing, cuptiActivityRegisterCallbacks, on_request, on_complete);
    if (status == STATUS_OK)
        status =
            GPU_CALL(libs, diags, doing, cuptiSubscribe, &profile->subscriber, on_node, profile);
    for (size_t i = 0; i < LENGTH(watched) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, doing, cuptiEnableCallback, 1, profile->subscriber,
                          ABI_CUPTI_CB_DOMAIN_RESOURCE, watched[i]);
    for (size_t i = 0; i < LENGTH(recorded) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, doing, cuptiActivityEnable, recorded[i]);
    return status;
}

Status gpu_profile_open(Arena *arena, GpuLibs *libs, Diags *diags, GpuProfile **out_profile) {
    ASSERT(arena && libs);
    *out_profile = NULL;
    Status status = gpu_libs_need(libs, GPU_LIBRARY_CUPTI, diags);
    if (status != STATUS_OK) return status;
    GpuProfile *profile = ARENA_NEW(arena, GpuProfile), *none = NULL;
    profile->libs = libs;
    profile->memory = arena_open("records of the device", (size_t)1 << 30, 0);
    profile->rows = arena_open("work of the device", (size_t)1 << 32, 0);
    ArenaGuard guard;
    if (profile->memory == NULL || profile->rows == NULL || !ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        gpu_profile_close(profile);
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    for (uint32_t i = 0; i < BUFFERS; i++)
        profile->buffers[i].memory = arena_push(profile->memory, BUFFER_BYTES, BUFFER_ALIGN);
    profile->nodes = tags_open(profile->memory);
    profile->calls = tags_open(profile->memory);
    profile->recorded = ARENA_ARRAY(profile->memory, uint64_t, TAGS);
    strings_open(&profile->names, TAGS, NULL);
    arena_guard_end(&guard);
    if (!atomic_compare_exchange_strong(&active, &none, profile))
        status = gpu_unsupported(GPU_LIBRARY_CUPTI, STR("a second profile"),
                                 STR("one is open in this process"), diags);
    if (status == STATUS_OK) status = start(profile, diags);
    if (status == STATUS_OK)
        *out_profile = profile;
    else
        gpu_profile_close(profile);
    return status;
}

void gpu_profile_close(GpuProfile *profile) {
    GpuProfile *mine = profile;
    bool        lent = false;
    if (profile == NULL) return;
    if (atomic_load(&active) == profile) {
        const GpuFns *fns = &profile->libs->fns;
        for (size_t i = 0; i < LENGTH(recorded); i++) (void)fns->cuptiActivityDisable(recorded[i]);
        if (profile->subscriber != NULL) (void)fns->cuptiUnsubscribe(profile->subscriber);
        (void)fns->cuptiActivityFlushAll(ABI_CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
        for (uint32_t i = 0; i < BUFFERS; i++)
            lent |= atomic_load(&profile->buffers[i].state) == BUFFER_LENT;
        (void)atomic_compare_exchange_strong(&active, &mine, NULL);
    }
    strings_close(&profile->names);
    arena_close(profile->rows);
    if (!lent)
        arena_close(profile->memory); /* CUPTI may still write to what it did not give back */
    profile->memory = profile->rows = NULL;
}

void gpu_profile_tag(GpuProfile *profile, uint64_t tag) {
    if (profile == NULL || profile->tag == tag) return;
    const GpuFns *fns = &profile->libs->fns;
    uint64_t      last;
    int           kind = ABI_CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;
    if (profile->tag != 0) (void)fns->cuptiActivityPopExternalCorrelationId(kind, &last);
    if (tag != 0) (void)fns->cuptiActivityPushExternalCorrelationId(kind, tag);
    profile->tag = tag;
}

void gpu_profile_record(GpuProfile *profile, uint64_t graph) {
    if (profile != NULL) note(profile, graph);
}

/* --- collecting ------------------------------------------------------------------------------- */

/* What CUPTI's clock must be moved by to be os_clock_ns. */
static Status clocks_apart(const GpuProfile *profile, Diags *diags, int64_t *out_ns) {
    uint64_t theirs = 0, before = os_clock_ns();
    Status   status = GPU_CALL(profile->libs, diags, "profiling", cuptiGetTimestamp, &theirs);
    uint64_t after = os_clock_ns();
    *out_ns = (int64_t)(before + (after - before) / 2 - theirs);
    return status;
}
static const char *name_of(GpuProfile *profile, const char *name) {
    Strings *names = &profile->names;
    String   text = {name, strlen(name) + 1}; /* with its end */
    return strings_get(names, strings_add(names, text)).data;
}
static const char *call_name(GpuProfile *profile, uint32_t id) {
    const char *name = NULL;
    if (profile->libs->fns.cuptiGetCallbackName(ABI_CUPTI_CB_DOMAIN_DRIVER_API, id, &name) != 0 ||
        name == NULL)
        name = "a call of the driver";
    return name_of(profile, name);
}

/* A record as work, with its node as the tag for now; false: it is none. */
static bool read_record(GpuProfile *profile, const CuptiActivity *record, GpuWork *out) {
    const CuptiKernel   *kernel = (const void *)record;
    const CuptiCopy     *copy = (const void *)record;
    const CuptiFill     *fill = (const void *)record;
    const CuptiCall     *call = (const void *)record;
    const CuptiExternal *external = (const void *)record;
    switch (record->kind) {
    case ABI_CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
        *out = (GpuWork){kernel->start_ns,
                         kernel->end_ns,
                         kernel->node,
                         0,
                         name_of(profile, kernel->name),
                         kernel->stream,
                         kernel->correlation,
                         GPU_WORK_KERNEL,
                         false};
        return true;
    case ABI_CUPTI_ACTIVITY_KIND_MEMCPY:
        *out = (GpuWork){copy->start_ns, copy->end_ns,      copy->node,    copy->bytes, "copy",
                         copy->stream,   copy->correlation, GPU_WORK_COPY, false};
        return true;
    case ABI_CUPTI_ACTIVITY_KIND_MEMSET:
        *out = (GpuWork){fill->start_ns, fill->end_ns,      fill->node,    fill->bytes, "fill",
                         fill->stream,   fill->correlation, GPU_WORK_FILL, false};
        return true;
    case ABI_CUPTI_ACTIVITY_KIND_DRIVER:
        *out = (GpuWork){call->start_ns,    call->end_ns,  0,    0, call_name(profile, call->id), 0,
                         call->correlation, GPU_WORK_CALL, false};
        return true;
    case ABI_CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION:
        tags_put(&profile->calls, external->correlation, external->external);
        return false;
    default: return false;
    }
}

static Buffer *next_full(GpuProfile *profile) {
    Buffer *first = NULL;
    for (uint32_t i = 0; i < BUFFERS; i++) {
        Buffer *buffer = &profile->buffers[i];
        if (atomic_load(&buffer->state) == BUFFER_FULL &&
            (first == NULL || buffer->place < first->place))
            first = buffer;
    }
    return first;
}
static Status read_buffer(GpuProfile *profile, Buffer *buffer, Diags *diags, GpuWork *works,
                          uint32_t *count) {
    CuptiActivity *record = NULL;
    CuptiResult    result;
    while ((result = profile->libs->fns.cuptiActivityGetNextRecord(buffer->memory, buffer->bytes,
                                                                   &record)) == 0)
        *count += read_record(profile, record, &works[*count]);
    atomic_store(&buffer->state, BUFFER_FREE);
    if (result == ABI_CUPTI_ERROR_MAX_LIMIT_REACHED) return STATUS_OK; /* the end */
    return gpu_checked(profile->libs, GPU_LIBRARY_CUPTI, result, "cuptiActivityGetNextRecord",
                       "profiling", diags);
}

static int by_start(const void *a, const void *b) {
    const GpuWork *x = a, *y = b;
    if (x->start_ns != y->start_ns) return x->start_ns < y->start_ns ? -1 : 1;
    return (x->end_ns < y->end_ns) - (x->end_ns > y->end_ns);
}

/* The tags of the nodes of a graph, as it was recorded last. */
static const uint64_t *recorded_of(const GpuProfile *profile, uint64_t graph, uint32_t *out_count) {
    uint32_t first = profile->recorded_count;
    *out_count = 0;
    while (first > 0 && profile->recorded[first - 1] != graph) first--;
    if (first == 0) return NULL;
    while (first + *out_count < profile->recorded_count &&
           profile->recorded[first + *out_count] != 0 &&
           profile->recorded[first + *out_count] >> 32 == graph >> 32 &&
           profile->recorded[first + *out_count] != graph)
        ++*out_count;
    return profile->recorded + first;
}
/* The nodes of one launch of a graph from works[first] on that no callback told of, in the order in
 * which they ran first: if there are as many as were recorded, they are these. */
static void learn_nodes(GpuProfile *profile, const GpuWork *works, uint32_t first, uint32_t count) {
    uint32_t        wanted = 0, found = 0;
    uint32_t        correlation = works[first].correlation;
    const uint64_t *tags = recorded_of(profile, tags_find(&profile->calls, correlation), &wanted);
    Scratch         scratch = scratch_begin(&profile->rows, 1);
    Tags            seen = tags_open(scratch.arena);
    for (uint32_t pass = 0; pass < 2 && wanted > 0; pass++) {
        if (pass == 1 && found != wanted) break;
        found = 0;
        for (uint32_t i = first; i < count; i++) {
            const GpuWork *work = &works[i];
            if (!work->graph || work->correlation != correlation) continue;
            if (pass == 0 &&
                (tags_find(&profile->nodes, work->tag) != 0 || tags_find(&seen, work->tag) != 0))
                continue;
            if (pass == 1 && tags_find(&profile->nodes, work->tag) != 0) continue;
            tags_put(pass == 0 ? &seen : &profile->nodes, work->tag, pass == 0 ? 1 : tags[found]);
            found++;
        }
    }
    scratch_end(scratch);
}
/* From ids of nodes and correlations to tags. */
static void resolve(GpuProfile *profile, GpuWork *works, uint32_t count) {
    uint32_t tried = 0; /* correlation of a launch that could not be learnt */
    for (uint32_t i = 0; i < count; i++) {
        GpuWork *work = &works[i];
        if (!work->graph || work->correlation == tried) continue;
        if (tags_find(&profile->nodes, work->tag) == 0) learn_nodes(profile, works, i, count);
        if (tags_find(&profile->nodes, work->tag) == 0) tried = work->correlation;
    }
    for (uint32_t i = 0; i < count; i++) {
        GpuWork *work = &works[i];
        work->tag = work->graph ? tags_find(&profile->nodes, work->tag)
                                : tags_find(&profile->calls, work->correlation);
        if (work->tag == TAG_NONE || (uint32_t)work->tag == 0) work->tag = 0;
    }
}

Status gpu_profile_collect(GpuProfile *profile, Diags *diags, GpuWorkList *out_list) {
    int64_t  apart = 0;
    uint64_t bytes = 0;
    uint32_t count = 0;
    size_t   dropped = 0;
    Buffer  *full = NULL;
    *out_list = (GpuWorkList){0};
    if (profile->calls.count > TAGS / 2) tags_clear(&profile->calls); /* long collected */
    Status status = GPU_CALL(profile->libs, diags, "profiling", cuptiActivityFlushAll, 0);
    if (status == STATUS_OK) status = clocks_apart(profile, diags, &apart);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < BUFFERS; i++)
        if (atomic_load(&profile->buffers[i].state) == BUFFER_FULL)
            bytes += profile->buffers[i].bytes;
    arena_release(profile->rows, (ArenaMark){0});
    uint64_t rows = bytes / sizeof(CuptiExternal) + 1; /* the smallest record */
    GpuWork *works = ARENA_ARRAY(profile->rows, GpuWork, rows);
    while ((full = next_full(profile)) != NULL && status == STATUS_OK) {
        if (full->bytes > bytes) break; /* filled meanwhile: next time */
        bytes -= full->bytes;
        status = read_buffer(profile, full, diags, works, &count);
    }
    ASSERT(count < rows);
    if (profile->libs->fns.cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped) == 0)
        profile->lost += dropped;
    for (uint32_t i = 0; i < count; i++) {
        works[i].graph = works[i].tag != 0; /* the id of its node, until it is resolved */
        works[i].start_ns += (uint64_t)apart;
        works[i].end_ns += (uint64_t)apart;
    }
    if (count > 1) qsort(works, count, sizeof *works, by_start);
    resolve(profile, works, count);
    *out_list = (GpuWorkList){works, count};
    return status;
}

bool gpu_profile_is_filling(const GpuProfile *profile) {
    uint32_t full = 0;
    for (uint32_t i = 0; i < BUFFERS; i++)
        full += atomic_load(&profile->buffers[i].state) == BUFFER_FULL;
    return full > BUFFERS / 2;
}
uint64_t gpu_profile_lost(const GpuProfile *profile) { return profile->lost; }

/* --- ranges ----------------------------------------------------------------------------------- */

Status gpu_range_need(GpuLibs *libs, Diags *diags) {
    return gpu_libs_need(libs, GPU_LIBRARY_NVTX, diags);
}
