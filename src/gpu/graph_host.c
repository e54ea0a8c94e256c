/* Graphs with conditions on drivers that have no conditional nodes: the host walks the list, and
 * replays a graph of the driver for what stands between conditions.
 *
 * A round of a loop costs a launch, a wait and a read. Rounds that are known beforehand are
 * launched one after another without waiting. */
#include "gpu/graph_inner.h"

enum { WORDS_CHUNK = 500 };
struct GpuHostWords { /* page-locked, newest first */
    volatile uint32_t    words[WORDS_CHUNK];
    uint32_t             initial[WORDS_CHUNK], count;
    struct GpuHostWords *next;
};
typedef struct HostNode { /* a graph of the driver, or a condition and its bodies */
    GpuNodeKind         kind;
    CuGraph             handle;
    CuGraphExec         exec;
    volatile uint32_t  *word;
    uint32_t            rounds, bodies_count;
    struct GpuHostList *bodies;
} HostNode;
struct GpuHostList {
    HostNode *nodes;
    uint32_t  count;
};

Status graph_host_condition(GpuGraph *graph, uint32_t initial, Diags *diags,
                            CuCondition *out_condition) {
    struct GpuHostWords *words = graph->words;
    void                *memory;
    if (words == NULL || words->count == WORDS_CHUNK) {
        Status status = gpu_host_open(graph->gpu, sizeof *words, diags, &memory);
        if (status != STATUS_OK) return status;
        words = memory;
        words->count = 0;
        words->next = graph->words;
        graph->words = words;
    }
    words->initial[words->count] = initial;
    *out_condition = (CuCondition)(uintptr_t)&words->words[words->count++];
    return STATUS_OK;
}

/* --- building --------------------------------------------------------------------------------- */
static Status add_between(Gpu *gpu, const GpuNodes *nodes, uint32_t first, uint32_t last,
                          Arena *scratch, HostNode *node, Diags *diags) {
    CuNode *handles = ARENA_ARRAY_ZERO(scratch, CuNode, nodes->count);
    *node = (HostNode){.kind = GPU_NODE_CHILD};
    Status status = GPU_CALL(gpu->libs, diags, "making a graph", cuGraphCreate, &node->handle, 0);
    if (status != STATUS_OK) return status;
    return graph_add_nodes(gpu, node->handle, nodes, first, last, scratch, handles, diags);
}
/* Fills list; failures leave it closable. */
static Status add_list(Gpu *gpu, Arena *out, const GpuNodes *nodes, struct GpuHostList *list,
                       Diags *diags) {
    Scratch scratch = scratch_begin(&out, 1);
    Status  status = STATUS_OK;
    *list = (struct GpuHostList){.nodes = ARENA_ARRAY_ZERO(out, HostNode, nodes->count)};
    for (uint32_t i = 0; i < nodes->count && status == STATUS_OK;) {
        const GpuNode *from = &nodes->nodes[i];
        HostNode      *node = &list->nodes[list->count++];
        uint32_t       last = i;
        while (last < nodes->count && !gpu_node_has_body(nodes->nodes[last].kind)) last++;
        if (last > i) {
            status = add_between(gpu, nodes, i, last, scratch.arena, node, diags);
            i = last;
            continue;
        }
        *node = (HostNode){.kind = from->kind,
                           .word = (volatile uint32_t *)(uintptr_t)from->condition,
                           .rounds = from->rounds,
                           .bodies_count = gpu_node_bodies(from)};
        node->bodies = ARENA_ARRAY_ZERO(out, struct GpuHostList, node->bodies_count);
        for (uint32_t k = 0; k < node->bodies_count && status == STATUS_OK; k++)
            status = add_list(gpu, out, &from->body[k], &node->bodies[k], diags);
        i++;
    }
    scratch_end(scratch);
    return status;
}
Status graph_host_add(GpuGraph *graph, Arena *out, const GpuNodes *nodes, Diags *diags) {
    graph->host = ARENA_NEW(out, struct GpuHostList);
    return add_list(graph->gpu, out, nodes, graph->host, diags);
}

static Status finish_list(Gpu *gpu, const struct GpuHostList *list, Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < list->count && status == STATUS_OK; i++) {
        HostNode     *node = &list->nodes[i];
        CuInstantiate params = {0};
        if (node->handle != NULL)
            status = GPU_CALL(gpu->libs, diags, "instantiating a graph",
                              cuGraphInstantiateWithParams, &node->exec, node->handle, &params);
        for (uint32_t k = 0; k < node->bodies_count && status == STATUS_OK; k++)
            status = finish_list(gpu, &node->bodies[k], diags);
    }
    return status;
}
Status graph_host_finish(const GpuGraph *graph, Diags *diags) {
    return finish_list(graph->gpu, graph->host, diags);
}

static void close_list(const Gpu *gpu, const struct GpuHostList *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        const HostNode *node = &list->nodes[i];
        if (node->exec != NULL) (void)gpu->libs->fns.cuGraphExecDestroy(node->exec);
        if (node->handle != NULL) (void)gpu->libs->fns.cuGraphDestroy(node->handle);
        for (uint32_t k = 0; k < node->bodies_count; k++) close_list(gpu, &node->bodies[k]);
    }
}
void graph_host_close(GpuGraph *graph) {
    if (graph->host != NULL) close_list(graph->gpu, graph->host);
    while (graph->words != NULL) {
        struct GpuHostWords *words = graph->words;
        graph->words = words->next;
        gpu_host_close(graph->gpu, words);
    }
    graph->host = NULL;
}

/* --- launching -------------------------------------------------------------------------------- */
static Status run_list(const struct GpuHostList *list, GpuStream stream, Diags *diags);

static Status run_loop(const HostNode *node, GpuStream stream, Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < node->rounds && status == STATUS_OK; i++)
        status = run_list(&node->bodies[0], stream, diags);
    while (node->rounds == 0 && status == STATUS_OK) {
        status = gpu_stream_sync(stream, diags);
        if (status != STATUS_OK || *node->word == 0) break;
        status = run_list(&node->bodies[0], stream, diags);
    }
    return status;
}
static Status run_branch(const HostNode *node, GpuStream stream, Diags *diags) {
    Status status = gpu_stream_sync(stream, diags);
    if (status != STATUS_OK) return status;
    uint32_t number = node->kind == GPU_NODE_IF ? *node->word == 0 : *node->word;
    return number < node->bodies_count ? run_list(&node->bodies[number], stream, diags) : STATUS_OK;
}
static Status run_list(const struct GpuHostList *list, GpuStream stream, Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t i = 0; i < list->count && status == STATUS_OK; i++) {
        const HostNode *node = &list->nodes[i];
        if (node->kind == GPU_NODE_WHILE)
            status = run_loop(node, stream, diags);
        else if (gpu_node_has_body(node->kind))
            status = run_branch(node, stream, diags);
        else
            status = GPU_CALL(stream.gpu->libs, diags, "launching a graph", cuGraphLaunch,
                              node->exec, stream.handle);
    }
    return status;
}
Status graph_host_launch(const GpuGraph *graph, GpuStream stream, Diags *diags) {
    Status status = gpu_stream_sync(stream, diags); /* an earlier run may still write conditions */
    for (struct GpuHostWords *words = graph->words; words != NULL; words = words->next)
        for (uint32_t i = 0; i < words->count; i++) words->words[i] = words->initial[i];
    return status == STATUS_OK ? run_list(graph->host, stream, diags) : status;
}
