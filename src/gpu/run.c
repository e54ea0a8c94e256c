/* Binding a plan and running it: what is supported, the kit, steps in the order of the plan, the
 * first run and the graph that replays it (run_graph.c).
 *
 * Steps put work into a stream; capturing that stream gives the graph, so one path launches
 * directly, is profiled and is recorded. */
#include "gpu/run_inner.h"

/* --- what there is ---------------------------------------------------------------------------- */

typedef struct RunBinding {
    RunBindFn *bind;
    ViewNeed   need;
} RunBinding;
static const RunBinding bindings[OP_COUNT] = {
    [OP_FUSED] = {run_bind_fused, VIEW_ANY},
    [OP_COPY] = {run_bind_copy, VIEW_ANY},
    [OP_ASSIGN] = {run_bind_copy, VIEW_ANY},
    [OP_BITCAST] = {run_bind_copy, VIEW_ANY},
    [OP_IOTA] = {run_bind_iota, VIEW_ANY},
    [OP_DIM_SIZE] = {run_bind_dim_size, VIEW_ANY},
    [OP_CONCAT] = {run_bind_concat, VIEW_ANY},
    [OP_DYNAMIC_SLICE] = {run_bind_dynamic_slice, VIEW_ANY},
    [OP_DYNAMIC_UPDATE_SLICE] = {run_bind_dynamic_update, VIEW_ANY},
    [OP_GATHER] = {run_bind_gather, VIEW_ANY},
    [OP_SCATTER] = {run_bind_scatter, VIEW_ANY},
    [OP_ARG_REDUCE] = {run_bind_arg_reduce, VIEW_ANY},
    [OP_CUMULATIVE] = {run_bind_cumulative, VIEW_ANY},
    [OP_SORT] = {run_bind_sort, VIEW_ANY},
    [OP_REDUCE_WINDOW] = {run_bind_window, VIEW_DENSE},
    [OP_DOT_GENERAL] = {run_bind_dot, VIEW_ANY},
    [OP_DOT_ADD] = {run_bind_dot, VIEW_ANY},
    [OP_DOT_BIAS] = {run_bind_dot, VIEW_ANY},
    [OP_DOT_GELU] = {run_bind_dot, VIEW_ANY},
    [OP_DOT_GELU_GRAD] = {run_bind_dot, VIEW_ANY},
    [OP_CONVOLUTION] = {run_bind_convolution, VIEW_ANY},
    [OP_LU] = {run_bind_lu, VIEW_DENSE},
    [OP_CHOLESKY] = {run_bind_cholesky, VIEW_DENSE},
    [OP_TRIANGULAR_SOLVE] = {run_bind_triangular_solve, VIEW_DENSE},
    [OP_ATTENTION] = {run_bind_attention, VIEW_ANY},
    [OP_ATTENTION_GRAD] = {run_bind_attention_grad, VIEW_ANY},
    [OP_ATTENTION_GRAD_SUMS] = {run_bind_attention_grad, VIEW_ANY},
    [OP_ASSERT] = {run_bind_assert, VIEW_ANY},
    [OP_PRINT] = {run_bind_print, VIEW_ANY},
    [OP_COMPACT] = {run_bind_compact, VIEW_DENSE},
    [OP_DYNAMIC_RESHAPE] = {run_bind_dynamic_reshape, VIEW_DENSE},
    [OP_DYNAMIC_BROADCAST] = {run_bind_dynamic_broadcast, VIEW_ANY},
    [OP_COPY_OUT] = {run_bind_copy_out, VIEW_ANY},
    [OP_COPY_BACK] = {run_bind_copy_back, VIEW_ANY},
    [OP_AWAIT] = {run_bind_await, VIEW_ANY},
};

/* Products scaled by blocks, and what cuDNN's engines take, as far as it shows in the types; the
 * rest is spelled out. */
static bool keeps(const World *world, OpId op) {
    const Code *code = &world->code;
    Opcode      opcode = (Opcode)code->ops.opcode[op.row];
    if (opcode == OP_DOT_BIAS) return op_attrs(world, code, op)[ATTR_DOT_BIAS_block] != 0;
    if (opcode != OP_ATTENTION && opcode != OP_ATTENTION_GRAD) return false;
    TypeId q = code->values.type[op_operand(code, op, 0).row];
    TypeId k = code->values.type[op_operand(code, op, 1).row];
    TypeId v = code->values.type[op_operand(code, op, 2).row];
    Dtype  dtype = type_dtype(&world->types, q);
    if (dtype != DTYPE_BF16 && dtype != DTYPE_F16) return false;
    if (opcode == OP_ATTENTION_GRAD && code->ops.operands_count[op.row] != 6) return false;
    uint32_t     last = type_rank(&world->types, q) - 1;
    const DimId *q_dims = type_dims(&world->types, q), *k_dims = type_dims(&world->types, k);
    DimId        width = q_dims[last];
    bool         causal =
        op_attrs(world, code,
                 op)[opcode == OP_ATTENTION ? ATTR_ATTENTION_causal : ATTR_ATTENTION_GRAD_causal];
    if (last < 2 || !dims_is_const(&world->dims, width)) return false;
    int64_t size = dims_const_value(&world->dims, width);
    return size % 8 == 0 && size <= 128 && type_dims(&world->types, v)[last].row == width.row &&
           (!causal || q_dims[last - 1].row == k_dims[last - 1].row);
}

void gpu_describe(Target *out_target, bool attention) {
    *out_target = (Target){.name = "cuda",
                           .align = 256,
                           .compiles = true,
                           .multiplies_f8 = true,
                           .threads = true,
                           .compiles_op = gpu_emit_supports,
                           .keeps = keeps,
                           .machine = {.lanes = 132, /* multiprocessors of an H100 */
                                       .vector_bytes = 512,
                                       .caches = 1,
                                       .cache_bytes = {50 << 20},
                                       .gb_s = {5500, 3000},
                                       .ghz = 1.7,
                                       .gflop_s = 3e5, /* tf32 */
                                       .narrow_gflop_s = 7e5,
                                       .launch_us = 2,
                                       .link_gb_s = 40, /* 55 alone */
                                       .link_us = 50}};
    for (int opcode = 0; opcode < OP_COUNT; opcode++) {
        out_target->has_kernel[opcode] = bindings[opcode].bind != NULL;
        out_target->view_need[opcode] = (uint8_t)bindings[opcode].need;
    }
    out_target->keep[OP_ATTENTION] = out_target->keep[OP_ATTENTION_GRAD] = attention;
    out_target->keep[OP_DOT_BIAS] = true;
    out_target->places[OP_ATTENTION] = 1; /* not the logarithms of the sums */
    out_target->places[OP_ATTENTION_GRAD] = out_target->places[OP_ATTENTION_GRAD_SUMS] = 3;
}

/* --- the kit ---------------------------------------------------------------------------------- */

Status gpu_kit_open(Arena *arena, Gpu *gpu, const GpuKitOptions *options, Diags *diags,
                    GpuKit **out_kit) {
    GpuKit  *kit = ARENA_NEW(arena, GpuKit);
    uint64_t bytes = gpu->info.can_map ? RUN_WORK_AT : (uint64_t)1 << 28; /* cannot grow then */
    *kit = (GpuKit){.arena = arena, .gpu = gpu, .options = *options};
    *out_kit = NULL;
    Status status = options->ranges ? gpu_range_need(gpu->libs, diags) : STATUS_OK;
    if (status != STATUS_OK) return status;
    status = gpu_arena_open(gpu, "workspace of kernels", bytes, gpu->info.memory_bytes, diags,
                            &kit->work);
    if (status == STATUS_OK) *out_kit = kit;
    return status;
}

void gpu_kit_close(GpuKit *kit) {
    if (kit == NULL) return;
    for (RunAttention *a = kit->attentions; a != NULL; a = a->next) {
        gpu_attention_close(&a->plan);
        gpu_own_attention_close(&a->own);
    }
    for (RunLog *log = kit->logs; log != NULL; log = log->next) run_log_close(kit, log);
    for (RunConvolution *c = kit->convolutions; c != NULL; c = c->next)
        gpu_cudnn_plan_close(&c->plan);
    for (RunModule *m = kit->modules; m != NULL; m = m->next) gpu_module_close(&m->module);
    gpu_cudnn_close(&kit->cudnn);
    gpu_blas_close(&kit->blas);
    run_close_host(kit);
    gpu_arena_close(&kit->work);
    kit->attentions = NULL;
    kit->convolutions = NULL;
    kit->modules = NULL;
}

void gpu_kit_watch(GpuKit *kit, GpuProfile *profile) {
    kit->profile = profile;
    kit->watches++;
}

Status run_need_blas(GpuKit *kit, Diags *diags) {
    if (kit->blas.handle != NULL) return STATUS_OK;
    BlasLtHandle handle = kit->options.ahead != NULL ? gpu_ahead_take(kit->options.ahead) : NULL;
    if (handle != NULL)
        return gpu_blas_take(kit->gpu, kit->options.cache, handle, diags, &kit->blas);
    return gpu_blas_open(kit->gpu, kit->options.cache, diags, &kit->blas);
}
Status run_need_cudnn(GpuKit *kit, Diags *diags) {
    if (kit->cudnn.handle != NULL) return STATUS_OK;
    return gpu_cudnn_open(kit->gpu, kit->options.cache, diags, &kit->cudnn);
}
bool gpu_kit_has_cudnn(GpuKit *kit) {
    Diags unheard;
    diags_open(&unheard, NULL);
    bool has = run_need_cudnn(kit, &unheard) == STATUS_OK;
    diags_close(&unheard);
    return has;
}

/* --- binding ---------------------------------------------------------------------------------- */

RunStep *run_step(RunBinder *b, RunStepFn *fn, const void *params, uint32_t nodes) {
    if (b->steps_count == b->steps_max) { /* the old list stays in the arena */
        RunStep *steps = ARENA_ARRAY(b->arena, RunStep, (size_t)b->steps_max * 2);
        memcpy(steps, b->steps, sizeof *steps * b->steps_count);
        b->steps = steps;
        b->steps_max *= 2;
    }
    RunStep *step = &b->steps[b->steps_count++];
    *step = (RunStep){.fn = fn, .params = params, .launch = b->launch, .nodes = nodes};
    b->stats.nodes += nodes;
    return step;
}
typedef struct FusedStep {
    GpuEmitModule *module;
    KernelId       kernel;
    const int64_t *params;
    const RunRef  *args;
    uint32_t       args_count, launches_max;
    bool           works;
    RunRef         work;
} FusedStep;

/* Rows in scratch; compiles what these addresses want. */
static Status fused_launches(const FusedStep *step, const RunCtx *ctx, GpuLaunch **out_launches,
                             uint32_t *out_count) {
    CuPtr *args = ARENA_ARRAY(ctx->scratch, CuPtr, step->args_count);
    *out_launches = ARENA_ARRAY(ctx->scratch, GpuLaunch, step->launches_max);
    *out_count = 0;
    for (uint32_t i = 0; i < step->args_count; i++) args[i] = run_at(step->args[i], ctx);
    return gpu_emit_launches(step->module, step->kernel, step->params, args,
                             step->works ? run_at(step->work, ctx) : 0, ctx->scratch, ctx->diags,
                             *out_launches, out_count);
}
static Status fused_prepare(const void *params, const RunCtx *ctx) {
    GpuLaunch *launches;
    uint32_t   count;
    return fused_launches(params, ctx, &launches, &count);
}
static Status fused_run(const void *params, const RunCtx *ctx) {
    ArenaMark  mark = arena_mark(ctx->scratch);
    GpuLaunch *launches;
    uint32_t   count;
    Status     status = fused_launches(params, ctx, &launches, &count);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = gpu_launch(ctx->stream, &launches[i], ctx->diags);
    arena_release(ctx->scratch, mark);
    return status;
}

static void fused_text(RunBlock *block, const void *params) {
    const FusedStep *step = params;
    String          *addresses = ARENA_ARRAY(block->arena, String, step->args_count);
    CuPtr           *aligns = ARENA_ARRAY(block->arena, CuPtr, step->args_count);
    for (uint32_t i = 0; i < step->args_count; i++) {
        addresses[i] = run_block_address(block, step->args[i]);
        aligns[i] = run_block_align(block, step->args[i]);
    }
    GpuEmitCall call = {.kernel = step->kernel,
                        .params = step->params,
                        .aligns = aligns,
                        .addresses = addresses,
                        .work = step->works ? run_block_address(block, step->work) : STR("0"),
                        .threads = block->threads,
                        .number = block->calls++};
    gpu_emit_call(step->module, &call, &block->kernels, &block->body, &block->shared_bytes,
                  &block->static_bytes);
}

Status run_bind_fused(RunBinder *b) {
    const Loops *loops = b->plan->loops;
    KernelId     kernel = loops_of_op(loops, b->plan->launches.op[b->launch]);
    if (b->module == NULL || !kernel_id_some(kernel)) return STATUS_UNSUPPORTED;
    uint32_t   params_count = loops->kernels.params_count[kernel.row];
    FusedStep *step = RUN_PARAMS(b, FusedStep);
    int64_t   *params = ARENA_ARRAY(b->arena, int64_t, params_count + 1);
    RunRef    *args = ARENA_ARRAY(b->arena, RunRef, b->operands + b->results);
    for (uint32_t i = 0; i < params_count; i++) {
        uint32_t param = loops->kernels.params_first[kernel.row] + i;
        params[i] = b->plan->dim_values[loops->params.world[param].row];
    }
    for (uint32_t i = 0; i < b->operands + b->results; i++) args[i] = run_ref(&b->args[i]);
    *step = (FusedStep){.module = b->module,
                        .kernel = kernel,
                        .params = params,
                        .args = args,
                        .args_count = b->operands + b->results};
    step->launches_max = gpu_emit_launches_max(b->module, kernel);
    uint64_t work = gpu_emit_work_bytes(b->module, kernel, params);
    step->works = work > 0;
    if (step->works) step->work = run_work(b, work);
    RunStep *added = run_step(b, fused_run, step, step->launches_max);
    added->prepare = fused_prepare;
    added->text = fused_text;
    added->elements = gpu_emit_elements(b->module, kernel, params);
    return STATUS_OK;
}

static bool is_empty(const RunBinder *b) {
    for (uint32_t i = 0; i < b->results; i++)
        if (run_elements(&b->outs[i]) > 0) return false;
    return b->results > 0;
}

/* Diagnostics of libraries come first, this row says what they were wanted for. */
static Status bind_launch(RunBinder *b, uint32_t row) {
    const Launches *launches = &b->plan->launches;
    b->launch = row;
    b->opcode = (Opcode)launches->opcode[row];
    b->args = launch_args(b->plan, row);
    b->operands = launches->operands[row];
    b->results = launches->args_count[row] - b->operands;
    b->outs = b->args + b->operands;
    b->attrs = launch_attrs(b->plan, row);
    b->work = 0;
    if (launches->flow[row] >= FLOW_UNLESS || is_empty(b)) return STATUS_OK;
    RunBindFn *bind = bindings[b->opcode].bind;
    Status     status = bind != NULL ? bind(b) : STATUS_UNSUPPORTED;
    b->stats.launches++;
    if (status == STATUS_UNSUPPORTED)
        (void)diags_add(b->diags, DIAG_GPU_NO_KERNEL, launches->op[row].row, b->opcode,
                        b->operands + b->results > 0 ? b->args[0].dtype : DTYPE_NIL, 0, 0);
    return status;
}

struct GpuPlan {
    GpuKit        *kit;
    GpuEmitModule *module;
    uint32_t       watched; /* the watches of the kit when graph was made */
    Arena         *arena;
    RunProgram     program;
    uint32_t       steps_count;
    CuPtr         *slots; /* of the last run, and of the graph */
    GpuGraph       graph;
    RunLog        *log; /* NULL: it prints nothing */
    RunCopy       *copies;
    bool           ran, recorded; /* recorded: there is a graph */
    bool           tunes;
    GpuPlanStats   stats;
};

static Status bind_all(RunBinder *b, GpuPlan *gpu) {
    uint32_t  end = b->part.first + b->part.count;
    uint32_t *firsts = ARENA_ARRAY_ZERO(b->arena, uint32_t, end + 1);
    Status    status = STATUS_OK;
    b->steps_max = b->part.count + 16;
    b->steps = ARENA_ARRAY(b->arena, RunStep, b->steps_max);
    for (uint32_t row = b->part.first; row < end; row++) {
        firsts[row] = b->steps_count;
        Status one = bind_launch(b, row);
        if (one != STATUS_OK && one != STATUS_UNSUPPORTED) return one;
        if (one != STATUS_OK) status = one;
    }
    firsts[end] = b->steps_count;
    if (status == STATUS_OK) status = run_flow_bind(b, firsts, &gpu->program);
    if (status != STATUS_OK) return status;
    gpu->steps_count = b->steps_count;
    gpu->stats = b->stats;
    gpu->slots = ARENA_ARRAY_ZERO(b->arena, CuPtr, gpu->program.slots_count);
    gpu->stats.workspace_bytes = gpu->program.work_bytes + gpu->program.loops_bytes;
    gpu->stats.host_bytes = plan_host_bytes(b->plan);
    status = run_compile(b->kit, b->diags);
    if (status == STATUS_OK)
        status = gpu_arena_grow(&b->kit->work, RUN_WORK_AT + gpu->stats.workspace_bytes, b->diags);
    if (status == STATUS_OK) status = run_need_host(b->kit, gpu->stats.host_bytes, b->diags);
    return status;
}
Status gpu_bind(Arena *arena, const Plan *plan, GpuEmitModule *module, GpuKit *kit, Diags *diags,
                GpuPlan **out_gpu) {
    Span all = {1, plan->launches.table.count - 1};
    return gpu_bind_part(arena, plan, all, module, kit, diags, out_gpu);
}
Status gpu_bind_part(Arena *arena, const Plan *plan, Span part, GpuEmitModule *module, GpuKit *kit,
                     Diags *diags, GpuPlan **out_gpu) {
    ASSERT(arena && plan && kit && diags);
    RunBinder b = {
        .arena = arena, .plan = plan, .part = part, .module = module, .kit = kit, .diags = diags};
    GpuPlan *gpu = ARENA_NEW(arena, GpuPlan);
    uint64_t begin_ns = os_clock_ns();
    *gpu = (GpuPlan){
        .kit = kit, .module = module, .arena = arena, .tunes = plan->sizes.table.count == 1};
    Status status = bind_all(&b, gpu);
    gpu->log = b.log;
    gpu->copies = b.copies;
    *out_gpu = status == STATUS_OK ? gpu : NULL;
    if (status != STATUS_OK) {
        run_log_close(kit, b.log);
        run_close_copies(b.copies);
    }
    gpu_startup_end(kit->gpu->libs->startup, GPU_PART_BIND, "", begin_ns);
    return status;
}

void gpu_plan_close(GpuPlan *gpu) {
    if (gpu == NULL) return;
    gpu_graph_close(&gpu->graph);
    run_log_close(gpu->kit, gpu->log);
    gpu->log = NULL;
    run_close_copies(gpu->copies);
}
GpuPlanStats gpu_plan_stats(const GpuPlan *gpu) { return gpu->stats; }

/* --- running ---------------------------------------------------------------------------------- */

static Status read_flag(GpuPlan *gpu, GpuStream stream, Diags *diags, uint32_t *out_launch) {
    Status status =
        gpu_copy_out(stream, out_launch, gpu->kit->work.base, sizeof *out_launch, diags);
    return status == STATUS_OK ? gpu_stream_sync(stream, diags) : status;
}

/* With what profiles and profilers want to know around it. */
Status run_launch_step(const RunProgram *program, const RunCtx *ctx, const RunStep *step) {
    GpuKit        *kit = ctx->kit;
    const GpuLibs *libs = kit->gpu->libs;
    ArenaMark      mark = arena_mark(ctx->scratch);
    gpu_profile_tag(kit->profile, (uint64_t)program->number << 32 | step->launch);
    if (kit->options.ranges)
        gpu_range_push(libs, plan_launch_label(ctx->scratch, program->plan, step->launch).data);
    Status status = step->fn(step->params, ctx);
    if (kit->options.ranges) gpu_range_pop(libs);
    gpu_profile_tag(kit->profile, 0);
    arena_release(ctx->scratch, mark);
    return status;
}
static Status launch_steps(const GpuPlan *gpu, const RunCtx *ctx, uint32_t first, uint32_t last) {
    const RunStep *steps = gpu->program.steps;
    Status         status = STATUS_OK;
    for (uint32_t i = first; i < last && status == STATUS_OK; i++)
        status = run_launch_step(&gpu->program, ctx, &steps[i]);
    return status;
}
static Status launch_graph(const GpuPlan *gpu, GpuStream stream, Diags *diags) {
    const Plan  *plan = gpu->program.plan;
    const World *world = plan->world;
    bool         ranges = gpu->kit->options.ranges;
    if (ranges) {
        Scratch scratch = scratch_begin(&gpu->arena, 1);
        String  name = strings_get(&world->strings, world->code.graphs.name[plan->graph.row]);
        gpu_range_push(gpu->kit->gpu->libs, str_copy(scratch.arena, name).data);
        scratch_end(scratch);
    }
    gpu_profile_tag(gpu->kit->profile, gpu_plan_tag(gpu, 0));
    Status status = gpu_graph_launch(&gpu->graph, stream, diags);
    gpu_profile_tag(gpu->kit->profile, 0);
    if (ranges) gpu_range_pop(gpu->kit->gpu->libs);
    return status;
}
/* The steps before the next assert, from first on. */
static uint32_t segment_end(const GpuPlan *gpu, uint32_t first) {
    while (first < gpu->steps_count && !gpu->program.steps[first].stops) first++;
    return first;
}

static Status run_directly(GpuPlan *gpu, RunCtx *ctx) {
    Status status = STATUS_OK;
    if (gpu->program.stops) status = gpu_fill32(ctx->stream, gpu->kit->work.base, 0, 1, ctx->diags);
    for (uint32_t i = 0; i < gpu->steps_count && status == STATUS_OK;) {
        uint32_t end = segment_end(gpu, i), failed = 0;
        bool     stop = end < gpu->steps_count;
        status = launch_steps(gpu, ctx, i, end + stop);
        if (status == STATUS_OK && stop) status = read_flag(gpu, ctx->stream, ctx->diags, &failed);
        if (failed != 0) break;
        i = end + stop;
    }
    return status;
}

static Status make_graph(GpuPlan *gpu, const RunCtx *ctx) {
    GpuGraph graph = {0};
    Status   status = STATUS_OK;
    gpu_profile_record(gpu->kit->profile, gpu_plan_tag(gpu, 0));
    if (gpu->program.flows) /* others may have used the memory of the ticket */
        status = gpu_fill32(ctx->stream, gpu->kit->work.base + RUN_TICKET_AT, 0, 1, ctx->diags);
    if (status == STATUS_OK) status = gpu_graph_begin(gpu->kit->gpu, ctx->diags, &graph);
    if (status == STATUS_OK)
        status = run_graph_make(&gpu->program, ctx, gpu->arena, &graph, &gpu->stats);
    if (status == STATUS_OK) status = gpu_graph_finish(&graph, ctx->diags);
    if (status == STATUS_OK && gpu->module != NULL) gpu_emit_keep(gpu->module, ctx->diags);
    gpu->recorded = status == STATUS_OK;
    gpu->stats.graphs += gpu->recorded;
    gpu->graph = graph;
    if (!gpu->recorded) gpu_graph_close(&gpu->graph);
    return status;
}

Status gpu_run(GpuPlan *gpu, const CuPtr *slots, GpuStream stream, Diags *diags) {
    ASSERT(gpu && slots && stream.handle);
    size_t bytes = sizeof *slots * gpu->program.slots_count;
    bool   same = memcmp(slots, gpu->slots, bytes) == 0;
    if (gpu->recorded && same && gpu->watched == gpu->kit->watches)
        return launch_graph(gpu, stream, diags);
    Scratch  scratch = scratch_begin(&gpu->arena, 1);
    RunCtx   ctx = {.kit = gpu->kit,
                    .slots = slots,
                    .stream = stream,
                    .diags = diags,
                    .scratch = scratch.arena,
                    .tune = gpu->kit->options.tune && gpu->tunes && !gpu->ran};
    Status   status;
    uint64_t begin_ns = os_clock_ns();
    gpu_graph_close(&gpu->graph);
    gpu->recorded = false;
    if (gpu->program.flows || (gpu->ran && same)) {
        status = make_graph(gpu, &ctx);
        gpu->watched = gpu->kit->watches;
        if (status == STATUS_OK) status = launch_graph(gpu, stream, diags);
    } else { /* kernels may have to be compiled for these addresses: not while capturing */
        status = run_directly(gpu, &ctx);
    }
    gpu_startup_end(gpu->kit->gpu->libs->startup, gpu->recorded ? GPU_PART_GRAPH : GPU_PART_LAUNCH,
                    "", begin_ns);
    memcpy(gpu->slots, slots, bytes);
    gpu->ran = status == STATUS_OK;
    scratch_end(scratch);
    return status;
}

Status gpu_run_failed(GpuPlan *gpu, GpuStream stream, Diags *diags, uint32_t *out_launch) {
    *out_launch = 0;
    return gpu->program.stops ? read_flag(gpu, stream, diags, out_launch) : STATUS_OK;
}

Status gpu_run_printed(GpuPlan *gpu, GpuStream stream, Diags *diags) {
    return run_log_tell(gpu->log, gpu->program.plan, stream, diags);
}

/* --- profiles --------------------------------------------------------------------------------- */

uint64_t gpu_plan_tag(const GpuPlan *gpu, uint32_t launch) {
    return (uint64_t)gpu->program.number << 32 | launch;
}
uint32_t gpu_plan_tagged(const GpuPlan *gpu, uint64_t tag) {
    return tag >> 32 == gpu->program.number ? (uint32_t)tag : 0;
}

static double median(double *times, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = i; k > 0 && times[k] < times[k - 1]; k--) {
            double swap = times[k];
            times[k] = times[k - 1];
            times[k - 1] = swap;
        }
    return times[count / 2];
}

static Status profile_step(const GpuPlan *gpu, const RunCtx *ctx, uint32_t step, uint32_t rounds,
                           const GpuEvent events[2], double *times) {
    Status status = launch_steps(gpu, ctx, step, step + 1);
    for (uint32_t i = 0; i < rounds && status == STATUS_OK; i++) {
        float ms = 0;
        status = gpu_event_record(events[0], ctx->stream, ctx->diags);
        if (status == STATUS_OK) status = launch_steps(gpu, ctx, step, step + 1);
        if (status == STATUS_OK) status = gpu_event_record(events[1], ctx->stream, ctx->diags);
        if (status == STATUS_OK) status = gpu_event_sync(events[1], ctx->diags);
        if (status == STATUS_OK) status = gpu_event_ms(events[0], events[1], ctx->diags, &ms);
        times[i] = (double)ms * 1e3;
    }
    return status;
}

Status gpu_plan_profile(GpuPlan *gpu, const CuPtr *slots, GpuStream stream, uint32_t rounds,
                        Diags *diags, double *out_us) {
    ASSERT(rounds > 0);
    Scratch  scratch = scratch_begin(&gpu->arena, 1);
    GpuEvent events[2] = {0};
    RunCtx   ctx = {.kit = gpu->kit,
                    .slots = slots,
                    .stream = stream,
                    .diags = diags,
                    .alone = true,
                    .scratch = scratch.arena};
    double  *times = ARENA_ARRAY(scratch.arena, double, rounds);
    CuPtr   *own = ARENA_ARRAY(scratch.arena, CuPtr, gpu->program.slots_count);
    memcpy(own, slots, sizeof *own * gpu->program.slots_count);
    ctx.slots = own;
    run_flow_slots(&gpu->program, &ctx, own);
    Status status = gpu_event_open(gpu->kit->gpu, true, diags, &events[0]);
    if (status == STATUS_OK) status = gpu_event_open(gpu->kit->gpu, true, diags, &events[1]);
    if (status == STATUS_OK) status = gpu_run_printed(gpu, stream, diags);
    for (uint32_t i = 0; i < gpu->steps_count; i++) out_us[gpu->program.steps[i].launch] = 0;
    for (uint32_t i = 0; i < gpu->steps_count && status == STATUS_OK; i++) {
        if (gpu->program.steps[i].absorbed) continue;
        status = profile_step(gpu, &ctx, i, rounds, events, times);
        out_us[gpu->program.steps[i].launch] += median(times, rounds);
    }
    if (status == STATUS_OK) run_log_empty(gpu->log); /* events have waited */
    gpu_event_close(&events[0]);
    gpu_event_close(&events[1]);
    scratch_end(scratch);
    return status;
}
