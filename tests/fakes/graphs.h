/* Modules, launches and graphs of the stand-in driver. Included by cuda.c. */
#ifndef STOA_TESTS_FAKES_GRAPHS_H
#define STOA_TESTS_FAKES_GRAPHS_H

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
    node->args = calloc(1, node->args_bytes + ARGS_PAD);
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
    bool   at_once = args != NULL && !is_captured(&config->stream->marks); /* of unknown size */
    CuNode recorded = at_once ? NULL : record(config->stream, KERNEL);
    if (at_once) run_waiting();
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
    run_waiting();
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

#endif
