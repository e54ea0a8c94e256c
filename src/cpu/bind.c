/* Binding a plan: each launch finds its bind function by opcode, which adds steps with prepared
 * parameters; then one sweep decides where lanes must meet.
 *
 * Lanes meet before a step that touches memory which another lane may have written since the
 * last meeting, or writes what another may have read: memory is compared as byte ranges of
 * slots, and two steps that both run on lane 0 alone never conflict. Elementwise neighbours that
 * are split alike (the same element range per lane, the same memory) do not conflict either: a
 * lane then reads only what it wrote itself. Slots do not overlap. */
#include <string.h>

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
    if (opcode == OP_BITCAST && dtype_is_half(dtype)) return false; /* computed as f32 */
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

const Isa *kernels_isa(IsaLevel most) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (most >= ISA_AVX512 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    if (most >= ISA_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kernels_avx2;
#endif
    return &kernels_generic;
}

/* --- steps ------------------------------------------------------------------------------------ */

void bind_step(Binder *b, StepFn *fn, const void *params, int64_t bytes) {
    if (b->steps_count ==
        b->steps_max) { /* the old list stays in the arena: at most as long again */
        uint32_t max = b->steps_max * 2;
        Step    *steps = ARENA_ARRAY(b->arena, Step, max);
        memcpy(steps, b->steps, sizeof *steps * b->steps_count);
        b->steps = steps;
        b->steps_max = max;
    }
    b->steps[b->steps_count++] = (Step){.fn = fn,
                                        .params = params,
                                        .launch = b->launch,
                                        .split = b->lanes > 1 && bytes >= SPLIT_BYTES_MIN};
}
void bind_scratch(Binder *b, int64_t bytes) {
    if ((size_t)bytes > b->scratch_bytes) b->scratch_bytes = (size_t)bytes;
}
void bind_shared(Binder *b, int64_t bytes) {
    b->uses_shared = true;
    if ((size_t)bytes > b->shared_bytes) b->shared_bytes = (size_t)bytes;
}

static void fail_no_kernel(Binder *b, Diags *diags) {
    uint64_t dtype = b->operands + b->results > 0 ? b->args[0].dtype : DTYPE_NIL;
    (void)diags_add(diags, DIAG_CPU_NO_KERNEL, b->plan->launches.op[b->launch].row, b->opcode,
                    dtype, 0, 0);
}

/* --- barriers --------------------------------------------------------------------------------- */

enum { RANGES_MAX = 64, SLOT_SHARED = -1 };
typedef struct Range { /* memory that some step touched since lanes last met */
    uint32_t slot;
    bool     writes, split;
    int64_t  alike; /* 0, or elements: lane i touched the i-th part of so many, from first on */
    uint64_t first, last; /* bytes */
} Range;
typedef struct Meeting {
    Range    ranges[RANGES_MAX];
    uint32_t count;
    bool     more_split, more_single; /* there were more than are kept, of split steps or others */
    bool     stops;                   /* the launch before was an assert */
} Meeting;

/* A row of a scan counts as all rows; the index of a scan is each lane's own. */
static Range range_of(const Plan *plan, const LaunchArg *arg, bool writes) {
    int64_t reach = 0;
    while (plan->flows && plan->slots.kind[arg->slot] == SLOT_ROW)
        arg = &plan->args.arg[plan->slots.index[arg->slot]];
    Range range = {.slot = arg->slot, .writes = writes};
    if (plan->flows && plan->slots.kind[arg->slot] == SLOT_INDEX) return range;
    for (uint32_t i = 0; i < arg->rank; i++) {
        if (arg->dims[i] == 0) return range;
        reach += (arg->dims[i] - 1) * arg->strides[i];
    }
    range.first = arg->offset;
    range.last = arg->offset + (uint64_t)(reach + 1) * dtype_bytes((Dtype)arg->dtype);
    return range;
}

static bool conflicts(const Range *a, const Range *b) {
    if (a->slot != b->slot || !(a->writes || b->writes) || !(a->split || b->split)) return false;
    if (a->first >= b->last || b->first >= a->last) return false;
    bool same =
        a->split && b->split && a->alike == b->alike && a->first == b->first && a->last == b->last;
    return a->alike == 0 || !same;
}

/* The memory of the current launch, and of one that follows it; how many ranges, RANGES_MAX if
 * there are too many. */
static uint32_t launch_ranges(const Binder *b, bool split, Range *out) {
    const Launches *launches = &b->plan->launches;
    uint32_t        last = b->launch, args = 0, count = 0;
    if (b->follow != NULL && b->follow->launch == b->launch + 1) last++;
    for (uint32_t row = b->launch; row <= last; row++) args += launches->args_count[row];
    if (args >= RANGES_MAX) return RANGES_MAX;
    for (uint32_t row = b->launch; row <= last; row++)
        for (uint32_t i = 0; i < launches->args_count[row]; i++) {
            const LaunchArg *arg = &launch_args(b->plan, row)[i];
            Range            range = range_of(b->plan, arg, i >= launches->operands[row]);
            range.split = split;
            range.alike = arg_dense(arg) && arg_elements(arg) == b->alike ? b->alike : 0;
            if (range.first < range.last) out[count++] = range;
        }
    if (b->uses_shared) out[count++] = (Range){(uint32_t)SLOT_SHARED, true, split, 0, 0, 1};
    return count;
}

/* Whether lanes must meet before the current launch; then remembers it. */
static bool meet_before(Meeting *meeting, const Binder *b, bool split) {
    Range    ranges[RANGES_MAX];
    uint32_t count = launch_ranges(b, split, ranges);
    bool     many = count == RANGES_MAX, any = meeting->count > 0;
    bool     meet = meeting->more_split || (split && meeting->more_single) || (many && any);
    for (uint32_t i = 0; i < count && !many && !meet; i++)
        for (uint32_t j = 0; j < meeting->count && !meet; j++)
            meet = conflicts(&ranges[i], &meeting->ranges[j]);
    if (meet) *meeting = (Meeting){.stops = meeting->stops};
    if (many || meeting->count + count > RANGES_MAX) { /* forget which, remember of what kind */
        for (uint32_t j = 0; j < meeting->count; j++) {
            meeting->more_split |= meeting->ranges[j].split;
            meeting->more_single |= !meeting->ranges[j].split;
        }
        meeting->count = 0;
        if (many) count = 0;
        if (many) *(split ? &meeting->more_split : &meeting->more_single) = true;
    }
    memcpy(meeting->ranges + meeting->count, ranges, sizeof *ranges * count);
    meeting->count += count;
    return meet;
}

/* Marks the barriers of the steps [first, steps_count) of one launch. */
static void mark_meetings(Binder *b, Meeting *meeting, uint32_t first) {
    bool split = false;
    if (first == b->steps_count) return;
    for (uint32_t i = first; i < b->steps_count; i++) split |= b->steps[i].split;
    bool meet = meet_before(meeting, b, split);
    for (uint32_t i = first; i < b->steps_count; i++) {
        Step *step = &b->steps[i];
        step->meet = i == first ? meet || meeting->stops : step->split || step[-1].split;
        step->stops = i == first && meeting->stops;
    }
    meeting->stops = b->opcode == OP_ASSERT;
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
    b->alike = 0;
    b->uses_shared = false;
}

/* Control operators that are being bound; steps from which on. */
typedef struct OpenHead {
    uint32_t end, first; /* launch, step */
} OpenHead;
typedef struct Heads {
    OpenHead open[CODE_DEPTH_MAX];
    uint32_t depth;
} Heads;
/* All lanes meet at every jump, so that memory is as at its target; not in operators without split
 * steps, which lane 0 does alone. */
static void close_heads(Binder *b, Heads *heads, Meeting *meeting, uint32_t row) {
    while (heads->depth > 0 && heads->open[heads->depth - 1].end == row) {
        uint32_t first = heads->open[--heads->depth].first;
        bool     split = false, stops = meeting->stops;
        for (uint32_t i = first; i < b->steps_count; i++) {
            split |= b->steps[i].split;
            stops |= b->steps[i].stops;
        }
        b->steps[first].end = b->steps_count;
        if (split) continue;
        b->steps[first].alone = true;
        for (uint32_t i = first + 1; i < b->steps_count; i++) b->steps[i].meet = false;
        *meeting = (Meeting){.more_single = true, .stops = stops};
    }
}
static void bind_flow(Binder *b, Heads *heads, Meeting *meeting) {
    uint32_t end = b->plan->launches.end[b->launch];
    if (end != 0) heads->open[heads->depth++] = (OpenHead){end, b->steps_count};
    flow_bind(b);
    Step *step = &b->steps[b->steps_count - 1];
    step->meet = true;
    step->stops = meeting->stops;
    *meeting = (Meeting){0};
}

static Status bind_launches(Binder *b, Span part, Diags *diags) {
    const Launches *launches = &b->plan->launches;
    Meeting         meeting = {.count = 0};
    Heads           heads = {.depth = 0};
    Status          status = STATUS_OK;
    uint32_t       *firsts = ARENA_ARRAY(b->arena, uint32_t, part.count + 1);
    for (uint32_t row = part.first; row < part.first + part.count; row++) {
        close_heads(b, &heads, &meeting, row);
        set_launch(b, row);
        uint32_t first = firsts[row - part.first] = b->steps_count;
        if (launches->flow[row] >= FLOW_UNLESS) {
            bind_flow(b, &heads, &meeting);
            continue;
        }
        if (is_empty(b) || is_idle(b)) continue;
        BindFn *bind = bindings[b->opcode].bind;
        if (bind == NULL || !bind(b)) {
            fail_no_kernel(b, diags);
            status = STATUS_UNSUPPORTED;
        }
        mark_meetings(b, &meeting, first);
    }
    close_heads(b, &heads, &meeting, part.first + part.count);
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
static void   grow_room(CpuRoom *room, size_t scratch_bytes, size_t shared_bytes) {
      if (scratch_bytes > room->scratch_bytes) {
          size_t bytes = grown(room->scratch_bytes, scratch_bytes);
          for (uint32_t lane = 0; lane < room->lanes; lane++)
            room->scratch[lane] = arena_push(room->arena, bytes, 64);
        room->scratch_bytes = bytes;
    }
      if (shared_bytes > room->shared_bytes) {
          size_t bytes = grown(room->shared_bytes, shared_bytes);
          room->shared = arena_push(room->arena, bytes, 64);
          room->shared_bytes = bytes;
    }
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
                .lanes = workers_lanes(workers),
                .steps_max = part.count + 16};
    *out_cpu = NULL;
    b.steps = ARENA_ARRAY(arena, Step, b.steps_max);
    Status status = bind_launches(&b, part, diags);
    if (status != STATUS_OK) return status;
    CpuPlan *cpu = ARENA_NEW(arena, CpuPlan);
    *cpu =
        (CpuPlan){.workers = workers, .steps = b.steps, .steps_count = b.steps_count, .room = room};
    for (uint32_t i = 0; i < b.steps_count; i++) cpu->splits |= b.steps[i].split;
    if (plan->flows) {
        cpu->slots_count = plan->slots.table.count;
        cpu->lanes = flow_lanes_open(arena, plan, b.lanes, b.scans);
    }
    grow_room(room, b.scratch_bytes + 64, b.shared_bytes + 64);
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
