/* Streams, events and copies of the stand-in driver. Included by cuda.c.
 *
 * Work runs at once, the earliest that a device could do it; or, where a test asks for it
 * (FakeCuda.late), as late as it may: it is recorded until somebody waits for the device, and then
 * runs like a graph. A capture is recorded too; it spreads to streams that wait for its events, and
 * all of it must have come back to where it began. */
#ifndef STOA_TESTS_FAKES_STREAMS_H
#define STOA_TESTS_FAKES_STREAMS_H

/* --- recordings ------------------------------------------------------------------------------- */
enum { UNJOINED = 904, ISOLATED = 905, PINNED_MAX = 64 }; /* CUDA_ERROR_STREAM_CAPTURE_... */
typedef struct Recording {
    CuGraph  graph; /* NULL: there is none */
    uint64_t number;
} Recording;
static Recording capture, waiting; /* waiting: work that has not run yet */
static CuStream  captures;         /* where the capture began */
static uint64_t  recordings;

static Recording record_anew(void) {
    return (Recording){calloc(1, sizeof(struct CUgraph_st)), ++recordings};
}
static void run_waiting(void) {
    Recording work = waiting;
    if (work.graph == NULL) return;
    waiting = record_anew();
    run_graph(work.graph);
    free_graph(work.graph);
}
static void set_late(int late) {
    run_waiting();
    if (waiting.graph != NULL) free_graph(waiting.graph);
    waiting = late ? record_anew() : (Recording){NULL, 0};
}
static bool is_captured(const Marks *marks) {
    return capture.graph != NULL && marks->recording == capture.number;
}
/* The recording that the marks are of; old marks become the first of what waits. */
static CuGraph graph_of(Marks *marks) {
    if (is_captured(marks)) return capture.graph;
    if (marks->recording != waiting.number) *marks = (Marks){.recording = waiting.number};
    return waiting.graph;
}
static void add_mark(Marks *marks, unsigned node) {
    for (unsigned i = 0; i < marks->count; i++)
        if (marks->nodes[i] == node) return;
    if (marks->count == AFTER_MAX) abort(); /* no test has so many */
    marks->nodes[marks->count++] = node;
}
/* A node after what the stream waits for; NULL if nothing is recorded. */
static CuNode record(CuStream stream, NodeKind kind) {
    CuNode  after[AFTER_MAX];
    Marks  *marks = &stream->marks;
    CuGraph graph = graph_of(marks);
    if (graph == NULL) return NULL;
    for (unsigned i = 0; i < marks->count; i++) after[i] = graph->nodes[marks->nodes[i]];
    CuNode node = add_node(graph, after, marks->count, kind);
    marks->count = 0;
    add_mark(marks, node->index);
    return node;
}
/* Whether the marks come after every node. */
static bool has_joined(const struct CUgraph_st *graph, const Marks *marks) {
    bool *before = calloc(graph->count + 1, sizeof *before), all = true;
    for (unsigned i = 0; i < marks->count; i++) before[marks->nodes[i]] = true;
    for (unsigned i = graph->count; i-- > 0;) {
        all = all && before[i];
        for (unsigned k = 0; before[i] && k < graph->nodes[i]->after_count; k++)
            before[graph->nodes[i]->after[k]] = true;
    }
    free(before);
    return all;
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
    run_waiting();
    if (capture.graph != NULL && captures == stream) {
        (void)cuGraphDestroy(capture.graph);
        capture.graph = NULL;
    }
    free(stream);
    live--;
    return 0;
}
CuResult cuStreamSynchronize(CuStream stream) {
    (void)stream;
    ENTER();
    run_waiting();
    return 0;
}
CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags) {
    (void)flags;
    ENTER();
    if (event == NULL) return ABI_CUDA_ERROR_INVALID_VALUE;
    if (is_captured(&stream->marks) && !is_captured(&event->marks)) return ISOLATED;
    if (is_captured(&event->marks) && !is_captured(&stream->marks))
        stream->marks = (Marks){.recording = capture.number};
    (void)graph_of(&stream->marks);
    for (unsigned i = 0; i < event->marks.count; i++)
        if (event->marks.recording == stream->marks.recording)
            add_mark(&stream->marks, event->marks.nodes[i]);
    return 0;
}
CuResult cuStreamBeginCapture_v2(CuStream stream, CuCaptureMode mode) {
    (void)mode;
    ENTER();
    if (capture.graph != NULL) return ABI_CUDA_ERROR_INVALID_VALUE;
    run_waiting();
    capture = record_anew();
    captures = stream;
    stream->marks = (Marks){.recording = capture.number};
    live++;
    return 0;
}
/* However it ends, it is over. */
CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph) {
    CuResult error = enter(__func__);
    *graph = NULL;
    if (capture.graph == NULL || captures != stream) return ABI_CUDA_ERROR_INVALID_VALUE;
    if (error == 0 && !has_joined(capture.graph, &stream->marks)) error = UNJOINED;
    if (error == 0)
        *graph = capture.graph;
    else
        (void)cuGraphDestroy(capture.graph);
    capture.graph = NULL;
    return error;
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
    ENTER();
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
    (void)graph_of(&stream->marks);
    event->marks = stream->marks;
    return 0;
}
CuResult cuEventSynchronize(CuEvent event) {
    ENTER();
    run_waiting();
    return event->ms == 0 ? ABI_CUDA_ERROR_INVALID_VALUE : 0; /* never recorded */
}
CuResult cuEventElapsedTime(float *ms, CuEvent begin, CuEvent end) {
    ENTER();
    *ms = (float)(end->ms - begin->ms);
    return 0;
}

/* --- page-locked memory, copies --------------------------------------------------------------- */
static void *pinned[PINNED_MAX][2]; /* begin, end */

static bool is_pinned(const void *memory) {
    for (unsigned i = 0; i < PINNED_MAX; i++)
        if (memory >= (const void *)pinned[i][0] && memory < (const void *)pinned[i][1])
            return true;
    return false;
}
CuResult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    ENTER();
    *memory = malloc(bytes);
    for (unsigned i = 0; i < PINNED_MAX; i++) {
        if (pinned[i][0] != NULL) continue;
        pinned[i][0] = *memory;
        pinned[i][1] = (char *)*memory + bytes;
        break;
    }
    live++;
    return 0;
}
CuResult cuMemFreeHost(void *memory) {
    run_waiting();
    for (unsigned i = 0; i < PINNED_MAX; i++)
        if (pinned[i][0] == memory) pinned[i][0] = pinned[i][1] = NULL;
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
/* Memory that is not page-locked is read, or written, before the call returns. */
static CuResult copy_host(CuPtr into, CuPtr from, size_t bytes, CuStream stream, const void *host) {
    CuResult result = copy(into, from, bytes, stream);
    if (!is_pinned(host)) run_waiting();
    return result;
}
CuResult cuMemcpyHtoDAsync_v2(CuPtr into, const void *from, size_t bytes, CuStream stream) {
    ENTER();
    return copy_host(into, (CuPtr)(uintptr_t)from, bytes, stream, from);
}
CuResult cuMemcpyDtoHAsync_v2(void *into, CuPtr from, size_t bytes, CuStream stream) {
    ENTER();
    return copy_host((CuPtr)(uintptr_t)into, from, bytes, stream, into);
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

#endif
