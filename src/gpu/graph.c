/* CUDA graphs from lists of nodes: building, conditional bodies, updates, and capture of library
 * calls.
 *
 * A list is added in its order, each node after the handles of nodes before it, so one pass
 * suffices. Bodies of conditional nodes are graphs of the driver, known once the node is added;
 * they wait in a work list. The driver copies all arguments, so lists may be freed after
 * gpu_graph_add. */
#include "gpu/graph_inner.h"

typedef struct Pending { /* nodes that still have to be put into a graph */
    CuGraph         graph;
    const GpuNodes *nodes;
    struct Pending *next;
} Pending;
typedef struct Builder {
    Gpu     *gpu;
    Diags   *diags;
    Arena   *scratch;
    Pending *pending;
} Builder;

/* The driver's form of a kernel launch; extra and bytes live as long as the result is used. */
static CuKernelNode kernel_params(const GpuLaunch *launch, size_t *bytes, void *extra[5]) {
    ASSERT(!launch->single);
    CuKernelNode params = {.function = launch->kernel.function,
                           .shared_bytes = launch->shared_bytes};
    *bytes = launch->args_bytes;
    extra[0] = (void *)(uintptr_t)ABI_CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT;
    extra[1] = (void *)(uintptr_t)launch->args;
    extra[2] = (void *)(uintptr_t)ABI_CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT;
    extra[3] = bytes;
    extra[4] = NULL;
    memcpy(params.grid, launch->grid, sizeof params.grid);
    memcpy(params.block, launch->block, sizeof params.block);
    params.extra = launch->args_bytes > 0 ? extra : NULL;
    return params;
}

static CuCopyNode copy_params(const GpuNode *node) {
    CuCopyNode params = {.width_bytes = node->bytes, .height = 1, .depth = 1};
    params.from.memory = params.into.memory = ABI_CU_MEMORYTYPE_DEVICE;
    params.from.device = node->from;
    params.into.device = node->into;
    return params;
}

static CuFillNode fill_params(const GpuNode *node) {
    return (CuFillNode){.into = node->into,
                        .value = node->value,
                        .element_bytes = node->element_bytes,
                        .width = node->count,
                        .height = 1};
}

static Status add_kernel(Builder *b, CuGraph graph, const CuNode *after, size_t after_count,
                         const GpuLaunch *launch, CuNode *out_node) {
    GpuLibs      *libs = b->gpu->libs;
    const char   *name = launch->kernel.name;
    size_t        bytes;
    void         *extra[5];
    CuKernelNode  params = kernel_params(launch, &bytes, extra);
    CuLaunchValue value = {0};
    Status status = GPU_CALL(libs, b->diags, name, cuGraphAddKernelNode_v2, out_node, graph, after,
                             after_count, &params);
    if (status == STATUS_OK && launch->cluster[0] > 0) {
        value.cluster.x = launch->cluster[0];
        value.cluster.y = launch->cluster[1];
        value.cluster.z = launch->cluster[2];
        status = GPU_CALL(libs, b->diags, name, cuGraphKernelNodeSetAttribute, *out_node,
                          ABI_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &value);
    }
    if (status == STATUS_OK && launch->cooperative) {
        value = (CuLaunchValue){.cooperative = 1};
        status = GPU_CALL(libs, b->diags, name, cuGraphKernelNodeSetAttribute, *out_node,
                          ABI_CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &value);
    }
    return status;
}

static Status add_conditional(Builder *b, CuGraph graph, const CuNode *after, size_t after_count,
                              const GpuNode *node, CuNode *out_node) {
    CuNodeParams params = {.type = ABI_CU_GRAPH_NODE_TYPE_CONDITIONAL};
    ASSERT(node->body && node->condition);
    params.u.conditional.condition = node->condition;
    params.u.conditional.type = node->kind == GPU_NODE_IF      ? ABI_CU_GRAPH_COND_TYPE_IF
                                : node->kind == GPU_NODE_WHILE ? ABI_CU_GRAPH_COND_TYPE_WHILE
                                                               : ABI_CU_GRAPH_COND_TYPE_SWITCH;
    params.u.conditional.size = gpu_node_bodies(node);
    params.u.conditional.context = b->gpu->context;
    Status status = GPU_CALL(b->gpu->libs, b->diags, "adding a conditional node", cuGraphAddNode_v2,
                             out_node, graph, after, NULL, after_count, &params);
    for (uint32_t i = 0; i < gpu_node_bodies(node) && status == STATUS_OK; i++) {
        Pending *body = ARENA_NEW(b->scratch, Pending);
        *body = (Pending){params.u.conditional.bodies[i], &node->body[i], b->pending};
        b->pending = body;
    }
    return status;
}

static Status add_node(Builder *b, CuGraph graph, const CuNode *after, size_t after_count,
                       const GpuNode *node, CuNode *out_node) {
    GpuLibs   *libs = b->gpu->libs;
    CuContext  context = b->gpu->context;
    CuCopyNode copy;
    CuFillNode fill;
    switch (node->kind) {
    case GPU_NODE_KERNEL: return add_kernel(b, graph, after, after_count, &node->launch, out_node);
    case GPU_NODE_COPY:
        copy = copy_params(node);
        return GPU_CALL(libs, b->diags, "adding a copy node", cuGraphAddMemcpyNode, out_node, graph,
                        after, after_count, &copy, context);
    case GPU_NODE_FILL:
        fill = fill_params(node);
        return GPU_CALL(libs, b->diags, "adding a fill node", cuGraphAddMemsetNode, out_node, graph,
                        after, after_count, &fill, context);
    case GPU_NODE_CHILD:
        return GPU_CALL(libs, b->diags, "adding a captured graph", cuGraphAddChildGraphNode,
                        out_node, graph, after, after_count, node->child);
    case GPU_NODE_JOIN:
        return GPU_CALL(libs, b->diags, "adding an empty node", cuGraphAddEmptyNode, out_node,
                        graph, after, after_count);
    case GPU_NODE_IF:
    case GPU_NODE_WHILE:
    case GPU_NODE_SWITCH: break;
    }
    return add_conditional(b, graph, after, after_count, node, out_node);
}

/* Adds the nodes [first, last) of a list to `graph`. */
static Status add_range(Builder *b, CuGraph graph, const GpuNodes *list, uint32_t first,
                        uint32_t last, CuNode *handles) {
    Status status = STATUS_OK;
    for (uint32_t i = first; i < last && status == STATUS_OK; i++) {
        const GpuNode *node = &list->nodes[i];
        uint32_t       before = i - 1, wanted = i > first, count = 0;
        ArenaMark      mark = arena_mark(b->scratch);
        if (node->after != NULL) wanted = node->after_count;
        CuNode *after = ARENA_ARRAY(b->scratch, CuNode, wanted);
        for (uint32_t k = 0; k < wanted; k++) {
            uint32_t earlier = node->after != NULL ? node->after[k] : before;
            ASSERT(earlier < i);
            if (earlier >= first) after[count++] = handles[earlier];
        }
        status = add_node(b, graph, after, count, node, &handles[i]);
        if (!gpu_node_has_body(node->kind))
            arena_release(b->scratch, mark); /* not below a pending body */
    }
    return status;
}

Status graph_add_nodes(Gpu *gpu, CuGraph graph, const GpuNodes *list, uint32_t first, uint32_t last,
                       Arena *scratch, CuNode *handles, Diags *diags) {
    Builder b = {.gpu = gpu, .diags = diags, .scratch = scratch};
    Status  status = add_range(&b, graph, list, first, last, handles);
    while (b.pending != NULL && status == STATUS_OK) {
        const Pending *body = b.pending;
        uint32_t       count = body->nodes->count;
        b.pending = body->next;
        CuNode *inner = ARENA_ARRAY_ZERO(scratch, CuNode, count);
        status = add_range(&b, body->graph, body->nodes, 0, count, inner);
    }
    return status;
}

Status gpu_graph_begin(Gpu *gpu, Diags *diags, GpuGraph *out_graph) {
    *out_graph = (GpuGraph){.gpu = gpu};
    return GPU_CALL(gpu->libs, diags, "beginning a graph", cuGraphCreate, &out_graph->handle, 0);
}

Status gpu_graph_condition(GpuGraph *graph, uint32_t initial, Diags *diags,
                           CuCondition *out_condition) {
    Gpu *gpu = graph->gpu;
    *out_condition = 0;
    if (gpu->info.conditions == GPU_CONDITIONS_HOST)
        return graph_host_condition(graph, initial, diags, out_condition);
    return GPU_CALL(gpu->libs, diags, "making a condition", cuGraphConditionalHandleCreate,
                    out_condition, graph->handle, gpu->context, initial,
                    ABI_CU_GRAPH_COND_ASSIGN_DEFAULT);
}

Status gpu_graph_add(GpuGraph *graph, Arena *out, GpuNodes nodes, Diags *diags) {
    ASSERT(graph->handle && graph->nodes == NULL && graph->host == NULL);
    bool by_host = false;
    for (uint32_t i = 0; i < nodes.count; i++) by_host |= gpu_node_has_body(nodes.nodes[i].kind);
    if (by_host && graph->gpu->info.conditions == GPU_CONDITIONS_HOST)
        return graph_host_add(graph, out, &nodes, diags);
    Scratch scratch = scratch_begin(&out, 1);
    graph->nodes = ARENA_ARRAY_ZERO(out, CuNode, nodes.count);
    graph->count = nodes.count;
    Status status = graph_add_nodes(graph->gpu, graph->handle, &nodes, 0, nodes.count,
                                    scratch.arena, graph->nodes, diags);
    scratch_end(scratch);
    return status;
}

Status gpu_graph_finish(GpuGraph *graph, Diags *diags) {
    ASSERT(graph->handle && graph->exec == NULL);
    if (graph->host != NULL) return graph_host_finish(graph, diags);
    CuInstantiate params = {0};
    return GPU_CALL(graph->gpu->libs, diags, "instantiating a graph", cuGraphInstantiateWithParams,
                    &graph->exec, graph->handle, &params);
}

Status gpu_graph_launch(const GpuGraph *graph, GpuStream stream, Diags *diags) {
    if (graph->host != NULL) return graph_host_launch(graph, stream, diags);
    ASSERT(graph->exec);
    return GPU_CALL(graph->gpu->libs, diags, "launching a graph", cuGraphLaunch, graph->exec,
                    stream.handle);
}

Status gpu_graph_update(GpuGraph *graph, uint32_t node, const GpuNode *now, Diags *diags) {
    ASSERT(graph->exec && node < graph->count);
    GpuLibs     *libs = graph->gpu->libs;
    CuContext    context = graph->gpu->context;
    const char  *doing = "updating a graph";
    size_t       bytes;
    void        *extra[5];
    CuKernelNode kernel;
    CuCopyNode   copy;
    CuFillNode   fill;
    switch (now->kind) {
    case GPU_NODE_KERNEL:
        kernel = kernel_params(&now->launch, &bytes, extra);
        return GPU_CALL(libs, diags, doing, cuGraphExecKernelNodeSetParams_v2, graph->exec,
                        graph->nodes[node], &kernel);
    case GPU_NODE_COPY:
        copy = copy_params(now);
        return GPU_CALL(libs, diags, doing, cuGraphExecMemcpyNodeSetParams, graph->exec,
                        graph->nodes[node], &copy, context);
    case GPU_NODE_FILL:
        fill = fill_params(now);
        return GPU_CALL(libs, diags, doing, cuGraphExecMemsetNodeSetParams, graph->exec,
                        graph->nodes[node], &fill, context);
    case GPU_NODE_CHILD:
    case GPU_NODE_JOIN:
    case GPU_NODE_IF:
    case GPU_NODE_WHILE:
    case GPU_NODE_SWITCH: break;
    }
    ASSERT(false); /* the other kinds have no parameters to change */
    return STATUS_INVALID;
}

Status gpu_graph_become(GpuGraph *graph, const GpuGraph *other, Diags *diags, bool *out_same) {
    ASSERT(graph->exec && other->handle);
    CuUpdateInfo info = {0};
    CuResult result = graph->gpu->libs->fns.cuGraphExecUpdate_v2(graph->exec, other->handle, &info);
    *out_same = result == ABI_CUDA_SUCCESS;
    if (result == ABI_CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) return STATUS_OK;
    return gpu_checked(graph->gpu->libs, GPU_LIBRARY_DRIVER, result, "cuGraphExecUpdate_v2",
                       "updating a graph", diags);
}

void gpu_graph_close(GpuGraph *graph) {
    graph_host_close(graph);
    if (graph->exec != NULL) (void)graph->gpu->libs->fns.cuGraphExecDestroy(graph->exec);
    if (graph->handle != NULL) (void)graph->gpu->libs->fns.cuGraphDestroy(graph->handle);
    *graph = (GpuGraph){0};
}

Status gpu_capture(GpuStream stream, GpuRecordFn *record, void *context, Diags *diags,
                   CuGraph *out_graph) {
    GpuLibs *libs = stream.gpu->libs;
    *out_graph = NULL;
    Status status = GPU_CALL(libs, diags, "capturing", cuStreamBeginCapture_v2, stream.handle,
                             ABI_CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    if (status != STATUS_OK) return status;
    status = record(context, stream, diags);
    if (status != STATUS_OK) { /* the stream must leave capture mode all the same */
        (void)libs->fns.cuStreamEndCapture(stream.handle, out_graph);
        gpu_capture_close(stream.gpu, *out_graph);
        *out_graph = NULL;
        return status;
    }
    return GPU_CALL(libs, diags, "capturing", cuStreamEndCapture, stream.handle, out_graph);
}

void gpu_capture_close(Gpu *gpu, CuGraph graph) {
    if (graph != NULL) (void)gpu->libs->fns.cuGraphDestroy(graph);
}
