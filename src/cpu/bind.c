/* Binding a plan: each launch finds its bind function by opcode, which adds steps with prepared
 * parameters and says how much work each is; by that a step is cut into pieces for the lanes. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "arena/os.h"
#include "cpu/kernels.h"

/* --- what there is ---------------------------------------------------------------------------- */

enum { KEEP_NOT = 0, KEEP = 1, KEEP_UNLESS_COMPILED = 2 };
typedef struct Binding {
    BindFn  *bind;
    ViewNeed need;
    uint8_t  keep; /* whether a composite stays whole */
} Binding;

#define ELEMENTWISE                                                                                \
    { kernels_bind_elementwise, VIEW_ANY, KEEP_NOT }
#define KEPT_UNARY                                                                                 \
    { kernels_bind_elementwise, VIEW_ANY, KEEP_UNLESS_COMPILED }
static const Binding bindings[OP_COUNT] = {
    [OP_NEG] = ELEMENTWISE,
    [OP_ABS] = ELEMENTWISE,
    [OP_SIGN] = ELEMENTWISE,
    [OP_FLOOR] = ELEMENTWISE,
    [OP_ROUND_EVEN] = ELEMENTWISE,
    [OP_EXP] = ELEMENTWISE,
    [OP_EXPM1] = ELEMENTWISE,
    [OP_LOG] = ELEMENTWISE,
    [OP_LOG1P] = ELEMENTWISE,
    [OP_SQRT] = ELEMENTWISE,
    [OP_RSQRT] = ELEMENTWISE,
    [OP_SIN] = ELEMENTWISE,
    [OP_COS] = ELEMENTWISE,
    [OP_TANH] = ELEMENTWISE,
    [OP_LOGISTIC] = ELEMENTWISE,
    [OP_ERF] = ELEMENTWISE,
    [OP_ADD] = ELEMENTWISE,
    [OP_SUB] = ELEMENTWISE,
    [OP_MUL] = ELEMENTWISE,
    [OP_DIV] = ELEMENTWISE,
    [OP_POW] = ELEMENTWISE,
    [OP_REM] = ELEMENTWISE,
    [OP_MAX] = ELEMENTWISE,
    [OP_MIN] = ELEMENTWISE,
    [OP_AND] = ELEMENTWISE,
    [OP_OR] = ELEMENTWISE,
    [OP_XOR] = ELEMENTWISE,
    [OP_NOT] = ELEMENTWISE,
    [OP_SHL] = ELEMENTWISE,
    [OP_SHR_ARITH] = ELEMENTWISE,
    [OP_SHR_LOGICAL] = ELEMENTWISE,
    [OP_IS_FINITE] = ELEMENTWISE,
    [OP_ERF_INV] = ELEMENTWISE,
    [OP_LGAMMA] = ELEMENTWISE,
    [OP_POLYGAMMA] = ELEMENTWISE,
    [OP_BESSEL_IE] = ELEMENTWISE,
    [OP_ATAN2] = ELEMENTWISE,
    [OP_NEXTAFTER] = ELEMENTWISE,
    [OP_IGAMMA] = ELEMENTWISE,
    [OP_SQUARE] = KEPT_UNARY,
    [OP_RECIPROCAL] = KEPT_UNARY,
    [OP_RELU] = KEPT_UNARY,
    [OP_SILU] = KEPT_UNARY,
    [OP_SOFTPLUS] = KEPT_UNARY,
    [OP_GELU] = KEPT_UNARY,
    [OP_COMPARE] = {kernels_bind_compare, VIEW_ANY, KEEP_NOT},
    [OP_SELECT] = {kernels_bind_select, VIEW_ANY, KEEP_NOT},
    [OP_CONVERT] = {kernels_bind_convert, VIEW_ANY, KEEP_NOT},
    [OP_BITCAST] = {kernels_bind_copy, VIEW_ANY, KEEP_NOT},
    [OP_COPY] = {kernels_bind_copy, VIEW_ANY, KEEP_NOT},
    [OP_RESHAPE] = {kernels_bind_copy, VIEW_ANY, KEEP_NOT},
    [OP_STOP_GRADIENT] = {kernels_bind_copy, VIEW_ANY, KEEP_NOT},
    [OP_BARRIER] = {kernels_bind_copy, VIEW_ANY, KEEP_NOT},
    [OP_BROADCAST_IN_DIM] = {kernels_bind_broadcast, VIEW_ANY, KEEP_NOT},
    [OP_TRANSPOSE] = {kernels_bind_transpose, VIEW_ANY, KEEP_NOT},
    [OP_SLICE] = {kernels_bind_slice, VIEW_ANY, KEEP_NOT},
    [OP_PAD] = {kernels_bind_pad, VIEW_ANY, KEEP_NOT},
    [OP_CONCAT] = {kernels_bind_concat, VIEW_ANY, KEEP_NOT},
    [OP_REVERSE] = {kernels_bind_reverse, VIEW_ANY, KEEP_NOT},
    [OP_DYNAMIC_SLICE] = {kernels_bind_dynamic_slice, VIEW_ANY, KEEP_NOT},
    [OP_DYNAMIC_UPDATE_SLICE] = {kernels_bind_dynamic_update, VIEW_ANY, KEEP_NOT},
    [OP_ASSIGN] = {kernels_bind_assign, VIEW_ANY, KEEP_NOT},
    [OP_ASSERT] = {kernels_bind_assert, VIEW_ANY, KEEP_NOT},
    [OP_PRINT] = {kernels_bind_print, VIEW_DENSE, KEEP_NOT},
    [OP_DIM_SIZE] = {kernels_bind_dim_size, VIEW_ANY, KEEP_NOT},
    [OP_IOTA] = {kernels_bind_iota, VIEW_ANY, KEEP_NOT},
    [OP_RNG_BITS] = {kernels_bind_rng_bits, VIEW_ANY, KEEP_NOT},
    [OP_GATHER] = {kernels_bind_gather, VIEW_ANY, KEEP_NOT},
    [OP_SCATTER] = {kernels_bind_scatter, VIEW_ANY, KEEP_NOT},
    [OP_REDUCE] = {kernels_bind_reduce, VIEW_ANY, KEEP_NOT},
    [OP_ARG_REDUCE] = {kernels_bind_arg_reduce, VIEW_ANY, KEEP_NOT},
    [OP_CUMULATIVE] = {kernels_bind_cumulative, VIEW_ANY, KEEP_NOT},
    [OP_SORT] = {kernels_bind_sort, VIEW_ANY, KEEP_NOT},
    [OP_COMPACT] = {kernels_bind_compact, VIEW_DENSE, KEEP_NOT},
    [OP_DYNAMIC_RESHAPE] = {kernels_bind_copy, VIEW_DENSE, KEEP_NOT},
    [OP_DYNAMIC_BROADCAST] = {kernels_bind_broadcast, VIEW_ANY, KEEP_NOT},
    [OP_REDUCE_WINDOW] = {kernels_bind_reduce_window, VIEW_DENSE, KEEP_NOT},
    [OP_DOT_GENERAL] = {gemm_bind_dot_general, VIEW_MATRIX, KEEP_NOT},
    [OP_CONVOLUTION] = {conv_bind_convolution, VIEW_DENSE, KEEP_NOT},
    [OP_LU] = {kernels_bind_lu, VIEW_DENSE, KEEP_NOT},
    [OP_CHOLESKY] = {kernels_bind_cholesky, VIEW_DENSE, KEEP_NOT},
    [OP_TRIANGULAR_SOLVE] = {kernels_bind_triangular_solve, VIEW_DENSE, KEEP_NOT},
    [OP_FUSED] = {kernels_bind_fused, VIEW_ANY, KEEP_NOT},
    [OP_SOFTMAX] = {kernels_bind_softmax, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_LOG_SOFTMAX] = {kernels_bind_softmax, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_LAYER_NORM] = {kernels_bind_norm, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_RMS_NORM] = {kernels_bind_norm, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_LINEAR] = {gemm_bind_linear, VIEW_DENSE, KEEP},
    [OP_ATTENTION] = {attention_bind, VIEW_ANY, KEEP},
    [OP_ATTENTION_GRAD] = {attention_grad_bind, VIEW_ANY, KEEP},
    [OP_LINEAR_CROSS_ENTROPY] = {entropy_bind, VIEW_DENSE, KEEP},
    [OP_LINEAR_CROSS_ENTROPY_GRAD] = {entropy_grad_bind, VIEW_DENSE, KEEP},
    [OP_CROSS_ENTROPY] = {kernels_bind_cross_entropy, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_GLOBAL_NORM] = {kernels_bind_global_norm, VIEW_DENSE, KEEP},
    [OP_ADAMW] = {kernels_bind_adamw, VIEW_DENSE, KEEP_UNLESS_COMPILED},
    [OP_SGD] = {kernels_bind_sgd, VIEW_DENSE, KEEP_UNLESS_COMPILED},
};

/* Rare functions have loops over libm of their own; complex numbers are not compiled. */
static bool compiles_op(Opcode opcode, Dtype dtype) {
    static const bool left_out[OP_COUNT] = {
        [OP_ERF_INV] = true,   [OP_LGAMMA] = true, [OP_POLYGAMMA] = true,
        [OP_BESSEL_IE] = true, [OP_IGAMMA] = true, [OP_NEXTAFTER] = true,
    };
    if (opcode == OP_BITCAST && dtype_compute(dtype) != dtype) return false; /* as f32 */
    return !left_out[opcode] && dtype != DTYPE_NIL && !dtype_is_complex(dtype);
}

void cpu_describe(Target *out_target, bool compiles) {
    ASSERT(out_target);
    *out_target =
        (Target){.name = "cpu", .align = 64, .compiles = compiles, .compiles_op = compiles_op};
    out_target->machine = (TargetMachine){.lanes = 1, /* a core of the last years */
                                          .vector_bytes = 32,
                                          .caches = 3,
                                          .cache_bytes = {32 << 10, 1 << 20, 16 << 20},
                                          .gb_s = {250, 120, 60, 20},
                                          .ghz = 3,
                                          .gflop_s = 50,
                                          .launch_us = 2};
    if (kernels_isa(ISA_AVX512) != kernels_isa(ISA_AVX2)) out_target->machine.vector_bytes = 64;
    for (int opcode = 0; opcode < OP_COUNT; opcode++) {
        out_target->has_kernel[opcode] = bindings[opcode].bind != NULL;
        out_target->keep[opcode] = bindings[opcode].keep == KEEP ||
                                   (bindings[opcode].keep == KEEP_UNLESS_COMPILED && !compiles);
        if (bindings[opcode].bind != NULL)
            out_target->view_need[opcode] = (uint8_t)bindings[opcode].need;
    }
    out_target->view_need[OP_SCAN] = VIEW_ANY; /* rows are read where they lie */
}
String cpu_describe_machine(Arena *out, Target *target, uint32_t lanes) {
    Topology       topology;
    TargetMachine *machine = &target->machine;
    topology_read(&topology);
    uint64_t bytes[] = {topology.l1d_bytes, topology.l2_bytes,
                        topology.l3_bytes / (lanes != 0 ? lanes : 1)};
    for (uint32_t i = 0; i < LENGTH(bytes); i++)
        if (bytes[i] != 0) machine->cache_bytes[i] = bytes[i];
    machine->lanes = lanes;
    return str_format(out, "%s %s", topology.cpu_model, topology.features);
}

#if defined(__x86_64__)
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
/* The processor has tile registers for bf16, and the system lets this process use them. */
static bool has_amx(void) {
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & AMX_BF16) != 0 &&
           (d & AMX_TILE) != 0 && os_allow_tiles();
}
#endif
const Isa *kernels_isa(IsaLevel most) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (most >= ISA_AVX512 && has_avx512())
        return most >= ISA_AMX && has_amx() ? &kernels_amx : &kernels_avx512;
    if (most >= ISA_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kernels_avx2;
#endif
    return &kernels_generic;
}

/* --- steps ------------------------------------------------------------------------------------ */

/* Several a lane, so that one that was held up or had more to do leaves some to others; as large as
 * to cost much more than being taken. */
static uint32_t pieces_of(uint32_t lanes, int64_t bytes) {
    enum { PIECE_BYTES = 64 * 1024, LANE_PIECES = 8 };
    if (lanes == 1 || bytes < SPLIT_BYTES_MIN) return 1;
    int64_t each = bytes / PIECE_BYTES / lanes;
    return lanes * (each < 1 ? 1 : each < LANE_PIECES ? (uint32_t)each : LANE_PIECES);
}
void bind_step(Binder *b, StepFn *fn, const void *params, int64_t bytes) {
    b->steps = arena_room(b->arena, b->steps, b->steps_count, &b->steps_max, sizeof *b->steps);
    b->steps[b->steps_count++] = (Step){
        .fn = fn, .params = params, .launch = b->launch, .pieces = pieces_of(b->lanes, bytes)};
}
void bind_pieces(Binder *b, int64_t most) {
    uint32_t *pieces = &b->steps[b->steps_count - 1].pieces;
    if (most < *pieces) *pieces = most > 1 ? (uint32_t)most : 1;
}
void bind_scratch(Binder *b, int64_t bytes) {
    if ((size_t)bytes > b->scratch_bytes) b->scratch_bytes = (size_t)bytes;
}
void bind_shared(Binder *b, int64_t bytes) {
    if ((size_t)bytes > b->shared_bytes) b->shared_bytes = (size_t)bytes;
}
int64_t bind_kept(Binder *b, int64_t bytes) {
    size_t at = b->kept_bytes;
    b->kept_bytes += ((size_t)bytes + 63) / 64 * 64;
    return (int64_t)at;
}

static void fail_no_kernel(Binder *b, Diags *diags) {
    uint64_t dtype = b->operands + b->results > 0 ? b->args[0].dtype : DTYPE_NIL;
    (void)diags_add(diags, DIAG_CPU_NO_KERNEL, b->plan->launches.op[b->launch].row, b->opcode,
                    dtype, 0, 0);
}

/* --- binding ---------------------------------------------------------------------------------- */

static bool is_empty(const Binder *b) {
    for (uint32_t i = 0; i < b->results; i++)
        if (arg_elements(&b->outs[i]) > 0) return false;
    return b->results > 0;
}

/* A copy to itself: what is passed was computed in place. */
static bool is_idle(const Binder *b) {
    const LaunchArg *x = b->args, *y = b->outs;
    return b->opcode == OP_COPY && x->slot == y->slot && x->offset == y->offset && arg_dense(x);
}
static void set_launch(Binder *b, uint32_t row) {
    const Launches *launches = &b->plan->launches;
    b->launch = row;
    b->opcode = (Opcode)launches->opcode[row];
    b->args = launch_args(b->plan, row);
    b->operands = launches->operands[row];
    b->results = launches->args_count[row] - b->operands;
    b->outs = b->args + b->operands;
    b->attrs = launch_attrs(b->plan, row);
}

bool bind_launch(Binder *b, uint32_t row) {
    set_launch(b, row);
    if (is_empty(b) || is_idle(b)) return true;
    BindFn *bind = bindings[b->opcode].bind;
    return bind != NULL && bind(b);
}
/* A loop that became one step: no jump leads into it. */
static bool is_whole(Binder *b, uint32_t row) {
    FlowKind kind = (FlowKind)b->plan->launches.flow[row];
    return (kind == FLOW_LOOP || kind == FLOW_SCAN) && flow_code_bind(b, row);
}
static Status bind_launches(Binder *b, Span part, Diags *diags) {
    const Launches *launches = &b->plan->launches;
    Status          status = STATUS_OK;
    uint32_t       *firsts = ARENA_ARRAY(b->arena, uint32_t, part.count + 1);
    for (uint32_t row = part.first; row < part.first + part.count; row++) {
        firsts[row - part.first] = b->steps_count;
        if (is_whole(b, row)) {
            row = launches->end[row] - 1;
            continue;
        }
        if (launches->flow[row] >= FLOW_UNLESS) {
            set_launch(b, row);
            flow_bind(b);
            continue;
        }
        if (!bind_launch(b, row)) {
            fail_no_kernel(b, diags);
            status = STATUS_UNSUPPORTED;
        }
    }
    firsts[part.count] = b->steps_count;
    for (uint32_t i = 0; i < b->steps_count; i++)
        if (b->steps[i].flow >= FLOW_UNLESS && b->steps[i].flow != FLOW_LOOP)
            b->steps[i].target = firsts[launches->target[b->steps[i].launch] - part.first];
    return status;
}

/* --- work memory ------------------------------------------------------------------------------ */
CpuRoom *cpu_room_open(Arena *arena, const Workers *workers) {
    CpuRoom *room = ARENA_NEW(arena, CpuRoom);
    room->arena = arena;
    room->lanes = workers_lanes(workers);
    room->scratch = ARENA_ARRAY_ZERO(arena, uint8_t *, room->lanes);
    return room;
}
static size_t grown(size_t have, size_t need) { return need > 2 * have ? need : 2 * have; }
static void   grow_shared(CpuRoom *room, uint8_t **memory, size_t *have, size_t need) {
      if (need <= *have) return;
    size_t bytes = grown(*have, need);
      *memory = arena_push(room->arena, bytes, 64);
      *have = bytes;
}
static void grow_room(CpuRoom *room, const Binder *b) {
    size_t scratch = b->scratch_bytes + 64;
    if (scratch > room->scratch_bytes) {
        size_t bytes = grown(room->scratch_bytes, scratch);
        for (uint32_t lane = 0; lane < room->lanes; lane++)
            room->scratch[lane] = arena_push(room->arena, bytes, 64);
        room->scratch_bytes = bytes;
    }
    grow_shared(room, &room->shared, &room->shared_bytes, b->shared_bytes + 64);
    grow_shared(room, &room->kept, &room->kept_bytes, b->kept_bytes);
}
size_t cpu_room_bytes(const CpuRoom *room) {
    return room->lanes * room->scratch_bytes + room->shared_bytes + room->kept_bytes;
}

/* --- all of it -------------------------------------------------------------------------------- */
static Status bind_part(Arena *arena, const Plan *plan, Span part, const EmitModule *module,
                        Workers *workers, CpuRoom *room, const Isa *isa, Diags *diags,
                        CpuPlan **out_cpu) {
    ASSERT(arena && plan && workers && room && diags && out_cpu);
    Binder b = {.arena = arena,
                .plan = plan,
                .isa = isa,
                .module = module,
                .diags = diags,
                .lanes = workers_lanes(workers),
                .end = part.first + part.count,
                .steps_max = part.count + 16};
    *out_cpu = NULL;
    b.steps = ARENA_ARRAY(arena, Step, b.steps_max);
    Status status = bind_launches(&b, part, diags);
    if (status != STATUS_OK) return status;
    CpuPlan *cpu = ARENA_NEW(arena, CpuPlan);
    *cpu = (CpuPlan){.workers = workers,
                     .steps = b.steps,
                     .steps_count = b.steps_count,
                     .loops = b.loops,
                     .loops_count = b.loops_count,
                     .room = room};
    cpu->seen = run_seen_open(arena, b.lanes);
    if (plan->flows) cpu->flow = flow_state_open(arena, plan, b.scans);
    grow_room(room, &b);
    *out_cpu = cpu;
    return STATUS_OK;
}

Status cpu_bind_isa(Arena *arena, const Plan *plan, const EmitModule *module, Workers *workers,
                    const Isa *isa, Diags *diags, CpuPlan **out_cpu) {
    CpuRoom *room = cpu_room_open(arena, workers);
    return bind_part(arena, plan, cpu_launches(plan), module, workers, room, isa, diags, out_cpu);
}
Status cpu_bind_part(Arena *arena, const Plan *plan, Span launches, const EmitModule *module,
                     Workers *workers, CpuRoom *room, Diags *diags, CpuPlan **out_cpu) {
    return bind_part(arena, plan, launches, module, workers, room, kernels_isa(ISA_LEVELS), diags,
                     out_cpu);
}
Status cpu_bind(Arena *arena, const Plan *plan, const EmitModule *module, Workers *workers,
                Diags *diags, CpuPlan **out_cpu) {
    return cpu_bind_isa(arena, plan, module, workers, kernels_isa(ISA_LEVELS), diags, out_cpu);
}
