/* Rows to descriptors. Every descriptor of a plan is kept in one list until the plan is closed,
 * newest destroyed first, since cuDNN does not say which ones a finished plan still refers to.
 *
 * Heuristics name engines in the order they expect to be fastest; an engine may still refuse when
 * its plan is finished (it compiles then), so the next one is asked. */
#include "gpu/cudnn.h"

enum {
    ENGINES_MAX = 48,
    DESCRIPTORS_MAX = CUDNN_TENSORS_MAX + 2 * CUDNN_OPS_MAX + 4 * ENGINES_MAX
};

uint32_t gpu_cudnn_tensor(CudnnGraph *graph, CudnnPlace place, int type, uint32_t rank,
                          const int64_t *dims, const int64_t *strides) {
    uint32_t     row = ++graph->tensors_count;
    CudnnTensor *tensor = &graph->tensors[row];
    ASSERT(row < CUDNN_TENSORS_MAX && rank <= CUDNN_RANK_MAX);
    *tensor = (CudnnTensor){.type = type, .place = place, .rank = rank};
    memcpy(tensor->dims, dims, sizeof *dims * rank);
    memcpy(tensor->strides, strides, sizeof *strides * rank);
    return row;
}

static CudnnOp *add_op(CudnnGraph *graph, CudnnOp op) {
    ASSERT(graph->ops_count < CUDNN_OPS_MAX);
    ASSERT(op.x != 0 && op.y != 0);
    graph->ops[graph->ops_count] = op;
    return &graph->ops[graph->ops_count++];
}

uint32_t gpu_cudnn_matmul(CudnnGraph *graph, uint32_t x, uint32_t b, uint32_t y) {
    return add_op(graph, (CudnnOp){CUDNN_MATMUL, 0, ABI_CUDNN_DATA_FLOAT, -1, x, b, 0, y, 0, 0, 0})
        ->y;
}
uint32_t gpu_cudnn_pointwise(CudnnGraph *graph, int mode, uint32_t x, uint32_t b, uint32_t y) {
    CudnnOp op = {CUDNN_POINTWISE, mode, ABI_CUDNN_DATA_FLOAT, -1, x, b, 0, y, 0, 0, 0};
    return add_op(graph, op)->y;
}
uint32_t gpu_cudnn_reduce(CudnnGraph *graph, int mode, uint32_t x, uint32_t y) {
    CudnnOp op = {CUDNN_REDUCE, mode, ABI_CUDNN_DATA_FLOAT, -1, x, 0, 0, y, 0, 0, 0};
    return add_op(graph, op)->y;
}
uint32_t gpu_cudnn_reshape(CudnnGraph *graph, uint32_t x, uint32_t y) {
    return add_op(graph, (CudnnOp){CUDNN_RESHAPE, 0, 0, -1, x, 0, 0, y, 0, 0, 0})->y;
}

void gpu_cudnn_convolve(CudnnGraph *graph, CudnnOpKind kind, uint32_t x, uint32_t w, uint32_t y) {
    int type = graph->tensors[x].type;
    int math = type == ABI_CUDNN_DATA_DOUBLE ? type : ABI_CUDNN_DATA_FLOAT;
    (void)add_op(graph, (CudnnOp){kind, 0, math, -1, x, w, 0, y, 0, 0, 0});
}

int gpu_cudnn_type(Dtype dtype) {
    if (dtype == DTYPE_F32) return ABI_CUDNN_DATA_FLOAT;
    if (dtype == DTYPE_F64) return ABI_CUDNN_DATA_DOUBLE;
    if (dtype == DTYPE_F16) return ABI_CUDNN_DATA_HALF;
    return dtype == DTYPE_BF16 ? ABI_CUDNN_DATA_BFLOAT16 : -1;
}

/* --- descriptors ------------------------------------------------------------------------------ */

typedef struct Build {
    GpuLibs        *libs;
    Diags          *diags;
    const char     *what;
    CudnnPlan      *plan;
    Status          status; /* of the first call that failed; later ones do nothing */
    CudnnDescriptor tensors[CUDNN_TENSORS_MAX], ops[CUDNN_OPS_MAX];
} Build;

static CudnnDescriptor create(Build *b, int type) {
    CudnnDescriptor descriptor = NULL;
    ASSERT(b->plan->descriptors_count < DESCRIPTORS_MAX);
    if (b->status != STATUS_OK) return NULL;
    b->status =
        GPU_CALL(b->libs, b->diags, b->what, cudnnBackendCreateDescriptor, type, &descriptor);
    if (descriptor != NULL) b->plan->descriptors[b->plan->descriptors_count++] = descriptor;
    return descriptor;
}
static void set(Build *b, CudnnDescriptor descriptor, int attribute, int type, int64_t count,
                const void *values) {
    if (b->status == STATUS_OK)
        b->status = GPU_CALL(b->libs, b->diags, b->what, cudnnBackendSetAttribute, descriptor,
                             attribute, type, count, values);
}
static void set_int64(Build *b, CudnnDescriptor descriptor, int attribute, int64_t value) {
    set(b, descriptor, attribute, ABI_CUDNN_TYPE_INT64, 1, &value);
}
static void set_number(Build *b, CudnnDescriptor descriptor, int attribute, int type, int value) {
    set(b, descriptor, attribute, type, 1, &value);
}
static void set_descriptor(Build *b, CudnnDescriptor descriptor, int attribute,
                           CudnnDescriptor value) {
    set(b, descriptor, attribute, ABI_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}
/* A tensor of the graph, unless it is none. */
static void set_tensor(Build *b, CudnnDescriptor descriptor, int attribute, uint32_t tensor) {
    if (tensor != 0) set_descriptor(b, descriptor, attribute, b->tensors[tensor]);
}
static void finalize(Build *b, CudnnDescriptor descriptor) {
    if (b->status == STATUS_OK)
        b->status = GPU_CALL(b->libs, b->diags, b->what, cudnnBackendFinalize, descriptor);
}

static CudnnDescriptor build_tensor(Build *b, const CudnnTensor *tensor, uint32_t row) {
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    bool            yes = true;
    set_number(b, d, ABI_CUDNN_ATTR_TENSOR_DATA_TYPE, ABI_CUDNN_TYPE_DATA_TYPE, tensor->type);
    set(b, d, ABI_CUDNN_ATTR_TENSOR_DIMENSIONS, ABI_CUDNN_TYPE_INT64, tensor->rank, tensor->dims);
    set(b, d, ABI_CUDNN_ATTR_TENSOR_STRIDES, ABI_CUDNN_TYPE_INT64, tensor->rank, tensor->strides);
    set_int64(b, d, ABI_CUDNN_ATTR_TENSOR_UNIQUE_ID, row);
    set_int64(b, d, ABI_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 16);
    if (tensor->place == CUDNN_HIDDEN)
        set(b, d, ABI_CUDNN_ATTR_TENSOR_IS_VIRTUAL, ABI_CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (tensor->place == CUDNN_NUMBER)
        set(b, d, ABI_CUDNN_ATTR_TENSOR_IS_BY_VALUE, ABI_CUDNN_TYPE_BOOLEAN, 1, &yes);
    finalize(b, d);
    return d;
}

static CudnnDescriptor build_matmul(Build *b, const CudnnOp *op) {
    CudnnDescriptor math = create(b, ABI_CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_number(b, math, ABI_CUDNN_ATTR_MATMUL_COMP_TYPE, ABI_CUDNN_TYPE_DATA_TYPE, op->math);
    finalize(b, math);
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_ADESC, op->x);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_BDESC, op->b);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_CDESC, op->y);
    set_descriptor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_DESC, math);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, op->m);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, op->n);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, op->k);
    return d;
}

static CudnnDescriptor build_pointwise(Build *b, const CudnnOp *op) {
    CudnnDescriptor math = create(b, ABI_CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set_number(b, math, ABI_CUDNN_ATTR_POINTWISE_MODE, ABI_CUDNN_TYPE_POINTWISE_MODE, op->mode);
    set_number(b, math, ABI_CUDNN_ATTR_POINTWISE_MATH_PREC, ABI_CUDNN_TYPE_DATA_TYPE, op->math);
    if (op->axis >= 0) set_int64(b, math, ABI_CUDNN_ATTR_POINTWISE_AXIS, op->axis);
    finalize(b, math);
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(b, d, ABI_CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, math);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_POINTWISE_XDESC, op->x);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_POINTWISE_BDESC, op->b);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_POINTWISE_TDESC, op->t);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_POINTWISE_YDESC, op->y);
    return d;
}

static CudnnDescriptor build_reduce(Build *b, const CudnnOp *op) {
    CudnnDescriptor math = create(b, ABI_CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set_number(b, math, ABI_CUDNN_ATTR_REDUCTION_OPERATOR, ABI_CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
               op->mode);
    set_number(b, math, ABI_CUDNN_ATTR_REDUCTION_COMP_TYPE, ABI_CUDNN_TYPE_DATA_TYPE, op->math);
    finalize(b, math);
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(b, d, ABI_CUDNN_ATTR_OPERATION_REDUCTION_DESC, math);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_REDUCTION_XDESC, op->x);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_REDUCTION_YDESC, op->y);
    return d;
}

static CudnnDescriptor build_reshape(Build *b, const CudnnOp *op) {
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_RESHAPE_XDESC, op->x);
    set_tensor(b, d, ABI_CUDNN_ATTR_OPERATION_RESHAPE_YDESC, op->y);
    return d;
}

static CudnnDescriptor build_convolve(Build *b, const CudnnOp *op, const CudnnWindow *w) {
    static const struct {
        int op, how, x, w, y, alpha, beta;
    } names[] = {{ABI_CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
                 {ABI_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
                 {ABI_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                  ABI_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    uint32_t        k = op->kind - CUDNN_CONVOLVE;
    const bool      wide = op->math == ABI_CUDNN_DATA_DOUBLE;
    const double    one = 1, none = 0;
    const float     one_f = 1, none_f = 0;
    int             factor = wide ? ABI_CUDNN_TYPE_DOUBLE : ABI_CUDNN_TYPE_FLOAT;
    CudnnDescriptor how = create(b, ABI_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set_number(b, how, ABI_CUDNN_ATTR_CONVOLUTION_COMP_TYPE, ABI_CUDNN_TYPE_DATA_TYPE, op->math);
    set_number(b, how, ABI_CUDNN_ATTR_CONVOLUTION_CONV_MODE, ABI_CUDNN_TYPE_CONVOLUTION_MODE,
               ABI_CUDNN_CROSS_CORRELATION);
    set_int64(b, how, ABI_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, w->axes);
    set(b, how, ABI_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, ABI_CUDNN_TYPE_INT64, w->axes, w->before);
    set(b, how, ABI_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, ABI_CUDNN_TYPE_INT64, w->axes, w->after);
    set(b, how, ABI_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, ABI_CUDNN_TYPE_INT64, w->axes,
        w->strides);
    set(b, how, ABI_CUDNN_ATTR_CONVOLUTION_DILATIONS, ABI_CUDNN_TYPE_INT64, w->axes, w->dilations);
    finalize(b, how);
    CudnnDescriptor d = create(b, names[k].op);
    set_descriptor(b, d, names[k].how, how);
    set_tensor(b, d, names[k].x, op->x);
    set_tensor(b, d, names[k].w, op->b);
    set_tensor(b, d, names[k].y, op->y);
    set(b, d, names[k].alpha, factor, 1, wide ? (const void *)&one : &one_f);
    set(b, d, names[k].beta, factor, 1, wide ? (const void *)&none : &none_f);
    return d;
}

static CudnnDescriptor build_op(Build *b, const CudnnOp *op, const CudnnWindow *window) {
    CudnnDescriptor d = NULL;
    switch (op->kind) {
    case CUDNN_MATMUL: d = build_matmul(b, op); break;
    case CUDNN_POINTWISE: d = build_pointwise(b, op); break;
    case CUDNN_REDUCE: d = build_reduce(b, op); break;
    case CUDNN_RESHAPE: d = build_reshape(b, op); break;
    case CUDNN_CONVOLVE:
    case CUDNN_CONVOLVE_X:
    case CUDNN_CONVOLVE_W: d = build_convolve(b, op, window); break;
    }
    finalize(b, d);
    return d;
}

/* --- plans ------------------------------------------------------------------------------------ */

static CudnnDescriptor build_graph(Build *b, const CudnnGraph *graph) {
    const GpuCudnn *cudnn = b->plan->cudnn;
    for (uint32_t i = 1; i <= graph->tensors_count; i++)
        b->tensors[i] = build_tensor(b, &graph->tensors[i], i);
    for (uint32_t i = 0; i < graph->ops_count; i++)
        b->ops[i] = build_op(b, &graph->ops[i], &graph->window);
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, d, ABI_CUDNN_ATTR_OPERATIONGRAPH_OPS, ABI_CUDNN_TYPE_BACKEND_DESCRIPTOR,
        graph->ops_count, b->ops);
    if (cudnn->handle != NULL)
        set(b, d, ABI_CUDNN_ATTR_OPERATIONGRAPH_HANDLE, ABI_CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
    finalize(b, d);
    return d;
}

/* Asks for engines in one mode of the heuristics; appends to `engines`. */
static void ask_heuristics(Build *b, CudnnDescriptor graph, int mode,
                           CudnnDescriptor engines[ENGINES_MAX], uint32_t *count) {
    const GpuCudnn *cudnn = b->plan->cudnn;
    CudnnDescriptor heuristics = create(b, ABI_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t         found = 0, room = ENGINES_MAX / 2;
    set_descriptor(b, heuristics, ABI_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set_number(b, heuristics, ABI_CUDNN_ATTR_ENGINEHEUR_MODE, ABI_CUDNN_TYPE_HEUR_MODE, mode);
    if (cudnn->device != NULL)
        set_descriptor(b, heuristics, ABI_CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, cudnn->device);
    if (b->status != STATUS_OK) return;
    /* A mode that knows nothing of the graph is no error; the other one may. */
    if (b->libs->fns.cudnnBackendFinalize(heuristics) != 0) return;
    for (int64_t i = 0; i < room; i++)
        engines[*count + (uint32_t)i] = create(b, ABI_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (b->status == STATUS_OK)
        b->status = GPU_CALL(b->libs, b->diags, b->what, cudnnBackendGetAttribute, heuristics,
                             ABI_CUDNN_ATTR_ENGINEHEUR_RESULTS, ABI_CUDNN_TYPE_BACKEND_DESCRIPTOR,
                             room, &found, &engines[*count]);
    if (b->status == STATUS_OK) *count += (uint32_t)(found < room ? found : room);
}

/* An execution plan that still has to be given an engine, or a text to be restored from. */
static CudnnDescriptor create_plan(Build *b) {
    const GpuCudnn *cudnn = b->plan->cudnn;
    CudnnDescriptor d = create(b, ABI_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (cudnn->handle != NULL)
        set(b, d, ABI_CUDNN_ATTR_EXECUTION_PLAN_HANDLE, ABI_CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
    else
        set_descriptor(b, d, ABI_CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
    return d;
}

/* Whether an engine has a note that the graph refuses. */
static bool refused(Build *b, CudnnDescriptor config, uint32_t refuses) {
    enum { NOTES_MAX = 16 };
    int64_t       found = 0;
    int           notes[NOTES_MAX] = {0};
    const GpuFns *fns = &b->libs->fns;
    if (refuses == 0) return false;
    CudnnDescriptor engine = create(b, ABI_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (b->status != STATUS_OK) return true;
    if (fns->cudnnBackendGetAttribute(config, ABI_CUDNN_ATTR_ENGINECFG_ENGINE,
                                      ABI_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &found, &engine) != 0 ||
        fns->cudnnBackendGetAttribute(engine, ABI_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                      ABI_CUDNN_TYPE_NUMERICAL_NOTE, NOTES_MAX, &found, notes) != 0)
        return true; /* unknown */
    for (int64_t i = 0; i < found && i < NOTES_MAX; i++)
        if (notes[i] >= 0 && notes[i] < 32 && refuses >> notes[i] & 1) return true;
    return false;
}

/* A plan of one engine, or NULL with cuDNN's words in why. */
static CudnnDescriptor try_engine(Build *b, CudnnDescriptor engine, char why[512]) {
    CudnnDescriptor d = create_plan(b);
    set_descriptor(b, d, ABI_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
    if (b->status != STATUS_OK) return NULL;
    if (b->libs->fns.cudnnBackendFinalize(d) == 0) return d;
    b->libs->fns.cudnnGetLastErrorString(why, 511);
    return NULL;
}

static void make_plan(Build *b, const CudnnGraph *graph, uint32_t rank) {
    CudnnDescriptor engines[ENGINES_MAX];
    char            why[512] = "it has no engine for it";
    CudnnPlan      *plan = b->plan;
    uint32_t        count = 0;
    CudnnDescriptor operations = build_graph(b, graph);
    ask_heuristics(b, operations, ABI_CUDNN_HEUR_MODE_A, engines, &count);
    ask_heuristics(b, operations, ABI_CUDNN_HEUR_MODE_FALLBACK, engines, &count);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!refused(b, engines[i], graph->refuses)) engines[taken++] = engines[i];
    plan->engines = count = taken;
    for (uint32_t i = rank; i < count && b->status == STATUS_OK && plan->plan == NULL; i++) {
        plan->plan = try_engine(b, engines[i], why);
        plan->rank = i;
    }
    if (b->status == STATUS_OK && plan->plan == NULL)
        b->status = gpu_unsupported(GPU_LIBRARY_CUDNN, str_of(b->what), str_of(why), b->diags);
}

/* --- kept plans ------------------------------------------------------------------------------- */

/* A finished plan as text holds its machine code: restoring takes 2 ms, making it 1.4 s. The text
 * follows two numbers: its engine's place, and how many there were. */

static GpuKey key_of(const GpuCudnn *cudnn, const CudnnGraph *graph, uint32_t rank) {
    int    numbers[] = {cudnn->libs->bindings[GPU_LIBRARY_CUDNN].version, (int)rank};
    String parts[] = {STR("cudnn plan 2"),
                      {(const char *)graph, sizeof *graph},
                      {(const char *)numbers, sizeof numbers},
                      cudnn->device_text};
    return gpu_cache_key(parts, LENGTH(parts));
}

static bool restore_plan(Build *b, GpuKey key, Arena *scratch) {
    CudnnPlan *plan = b->plan;
    uint32_t   numbers[2];
    String     kept;
    if (!gpu_cache_find(plan->cudnn->cache, scratch, "cudnn", key, &kept)) return false;
    if (kept.count <= sizeof numbers) return false;
    memcpy(numbers, kept.data, sizeof numbers);
    CudnnDescriptor d = create_plan(b);
    if (b->status != STATUS_OK) return false;
    const GpuFns *fns = &b->libs->fns;
    if (fns->cudnnBackendSetAttribute(d, ABI_CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                      ABI_CUDNN_TYPE_CHAR, (int64_t)(kept.count - sizeof numbers),
                                      kept.data + sizeof numbers) != 0 ||
        fns->cudnnBackendFinalize(d) != 0)
        return false; /* made again, and kept again */
    plan->plan = d;
    plan->rank = numbers[0];
    plan->engines = numbers[1];
    return true;
}

static void keep_plan(Build *b, GpuKey key, Arena *scratch) {
    CudnnPlan     *plan = b->plan;
    const GpuFns  *fns = &b->libs->fns;
    const uint32_t numbers[2] = {plan->rank, plan->engines};
    int64_t        bytes = 0;
    if (plan->cudnn->cache == NULL) return;
    if (fns->cudnnBackendGetAttribute(plan->plan, ABI_CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                      ABI_CUDNN_TYPE_CHAR, 0, &bytes, NULL) != 0 ||
        bytes <= 0)
        return; /* an engine that cannot be kept */
    char *text = arena_push(scratch, sizeof numbers + (size_t)bytes, 16);
    memcpy(text, numbers, sizeof numbers);
    if (fns->cudnnBackendGetAttribute(plan->plan, ABI_CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                      ABI_CUDNN_TYPE_CHAR, bytes, &bytes,
                                      text + sizeof numbers) != 0)
        return;
    gpu_cache_put(plan->cudnn->cache, "cudnn", key, (String){text, sizeof numbers + (size_t)bytes},
                  b->diags);
}

Status gpu_cudnn_plan(GpuCudnn *cudnn, Arena *arena, const CudnnGraph *graph, const char *what,
                      uint32_t rank, Diags *diags, CudnnPlan *out_plan) {
    int64_t got = 0, bytes = 0;
    Scratch scratch = scratch_begin(&arena, 1);
    Build  *b = ARENA_NEW(scratch.arena, Build);
    GpuKey  key = key_of(cudnn, graph, rank);
    *out_plan = (CudnnPlan){.cudnn = cudnn};
    out_plan->descriptors = ARENA_ARRAY_ZERO(arena, CudnnDescriptor, DESCRIPTORS_MAX);
    *b = (Build){.libs = cudnn->libs, .diags = diags, .what = what, .plan = out_plan};
    if (!restore_plan(b, key, scratch.arena)) {
        make_plan(b, graph, rank);
        if (b->status == STATUS_OK) keep_plan(b, key, scratch.arena);
    }
    if (b->status == STATUS_OK)
        b->status = GPU_CALL(cudnn->libs, diags, what, cudnnBackendGetAttribute, out_plan->plan,
                             ABI_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, ABI_CUDNN_TYPE_INT64, 1,
                             &got, &bytes);
    out_plan->workspace_bytes = (uint64_t)bytes;
    Status status = b->status;
    scratch_end(scratch);
    if (status != STATUS_OK) gpu_cudnn_plan_close(out_plan);
    return status;
}

void gpu_cudnn_plan_close(CudnnPlan *plan) {
    for (uint32_t i = plan->descriptors_count; i > 0; i--)
        (void)plan->cudnn->libs->fns.cudnnBackendDestroyDescriptor(plan->descriptors[i - 1]);
    *plan = (CudnnPlan){0};
}

Status gpu_cudnn_run(const CudnnPlan *plan, const int64_t *tensors, void *const *addresses,
                     uint32_t count, CuPtr workspace, GpuStream stream, Diags *diags) {
    GpuCudnn       *cudnn = plan->cudnn;
    GpuLibs        *libs = cudnn->libs;
    const char     *doing = "running a cuDNN plan";
    CudnnDescriptor pack = NULL;
    void           *space = (void *)(uintptr_t)workspace;
    ASSERT(cudnn->handle);
    Status status = GPU_CALL(libs, diags, doing, cudnnSetStream, cudnn->handle, stream.handle);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendCreateDescriptor,
                          ABI_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == STATUS_OK)
        status =
            GPU_CALL(libs, diags, doing, cudnnBackendSetAttribute, pack,
                     ABI_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ABI_CUDNN_TYPE_INT64, count, tensors);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendSetAttribute, pack,
                          ABI_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, ABI_CUDNN_TYPE_VOID_PTR, count,
                          addresses);
    if (status == STATUS_OK)
        status =
            GPU_CALL(libs, diags, doing, cudnnBackendSetAttribute, pack,
                     ABI_CUDNN_ATTR_VARIANT_PACK_WORKSPACE, ABI_CUDNN_TYPE_VOID_PTR, 1, &space);
    if (status == STATUS_OK) status = GPU_CALL(libs, diags, doing, cudnnBackendFinalize, pack);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendExecute, cudnn->handle, plan->plan, pack);
    if (pack != NULL) (void)libs->fns.cudnnBackendDestroyDescriptor(pack);
    return status;
}

/* --- the library ------------------------------------------------------------------------------ */

Status gpu_cudnn_open(Gpu *gpu, GpuCache *cache, Diags *diags, GpuCudnn *out_cudnn) {
    *out_cudnn = (GpuCudnn){.libs = gpu->libs, .gpu = gpu, .cache = cache};
    out_cudnn->device_text = str_format(gpu->arena, "%s, %s, %u multiprocessors", gpu->info.name,
                                        gpu->info.arch, gpu->info.multiprocessors);
    Status   status = gpu_libs_need(gpu->libs, GPU_LIBRARY_CUDNN, diags);
    uint64_t begin_ns = os_clock_ns();
    if (status == STATUS_OK)
        status = GPU_CALL(gpu->libs, diags, "opening cuDNN", cudnnCreate, &out_cudnn->handle);
    gpu_startup_end(gpu->libs->startup, GPU_PART_HANDLE, "cuDNN", begin_ns);
    return status;
}

Status gpu_cudnn_open_for(GpuLibs *libs, String properties, GpuCache *cache, Diags *diags,
                          GpuCudnn *out_cudnn) {
    const char *doing = "describing a device to cuDNN";
    *out_cudnn = (GpuCudnn){.libs = libs, .cache = cache, .device_text = properties};
    Status status = gpu_libs_need(libs, GPU_LIBRARY_CUDNN, diags);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendCreateDescriptor,
                          ABI_CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &out_cudnn->device);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendSetAttribute, out_cudnn->device,
                          ABI_CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, ABI_CUDNN_TYPE_CHAR,
                          (int64_t)properties.count, properties.data);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cudnnBackendFinalize, out_cudnn->device);
    if (status != STATUS_OK) gpu_cudnn_close(out_cudnn);
    return status;
}

void gpu_cudnn_close(GpuCudnn *cudnn) {
    if (cudnn->device != NULL) (void)cudnn->libs->fns.cudnnBackendDestroyDescriptor(cudnn->device);
    if (cudnn->handle != NULL) (void)cudnn->libs->fns.cudnnDestroy(cudnn->handle);
    *cudnn = (GpuCudnn){0};
}
