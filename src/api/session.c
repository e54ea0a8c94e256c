/* Sessions: compile, initialise state, run. Plans are made on first use of a combination of input
 * shapes and kept, found by a hash of the shapes, and bounded by the memory they take. Running a
 * known shape allocates nothing. All plans share one block for intermediates, one for outputs that
 * the caller does not take, and the work memory of lanes, because they never run at once. */
#include "api/session.h"

#include "api/device.h"

#include "arena/hash.h"
#include "arena/os.h"
#include "cpu/interp.h"
#include "systems/fit.h"
#include "systems/schedule_text.h"

/* --- state ------------------------------------------------------------------------------------ */
static uint32_t count_parameters(const World *world) {
    uint32_t count = 0;
    for (uint32_t row = 1; row < world->code.ops.table.count; row++)
        count += world->code.ops.opcode[row] == OP_PARAMETER;
    return count;
}

typedef struct Drawing {
    const StateTensor *state;
    uint64_t           key;
} Drawing;

static void draw_pairs(void *context, uint32_t lane, size_t first, size_t last) {
    const Drawing     *drawing = context;
    const StateTensor *state = drawing->state;
    (void)lane;
    cpu_draw(state->init, drawing->key, state->scale, &state->tensor, (int64_t)first,
             (int64_t)last);
}
/* The numbers depend on seed and name alone, not on lanes. Each lane writes about what it will
 * update, so that memory lies near it. */
static void fill_initial(Workers *workers, const StateTensor *state, uint64_t seed, String name) {
    enum { PAIRS_GRAIN = 4096 };
    Drawing drawing = {state, seed ^ hash_bytes(name.data, name.count, 7)};
    size_t  pairs = ((size_t)tensor_elements(&state->tensor) + 1) / 2;
    workers_for(workers, pairs, PAIRS_GRAIN, draw_pairs, &drawing);
}

/* Adds the tensor of a parameter row, or checks that an earlier graph declared it alike. */
static bool add_state(StoaSession *session, uint32_t row, uint64_t seed) {
    World          *world = session->world;
    const uint64_t *attrs = op_attrs(world, &world->code, (OpId){row});
    StrId           name = {(uint32_t)attrs[ATTR_PARAMETER_name]};
    TypeId          type = {(uint32_t)attrs[ATTR_PARAMETER_type]};
    Tensor          tensor = {.dtype = type_dtype(&world->types, type),
                              .rank = type_rank(&world->types, type)};
    for (uint32_t i = 0; i < tensor.rank; i++) {
        DimId dim = type_dims(&world->types, type)[i];
        if (!dims_is_const(&world->dims, dim)) {
            (void)diags_add(&world->diags, DIAG_STATE_SIZE, row, name.row, 0, 0, 0);
            return false;
        }
        tensor.shape[i] = dims_const_value(&world->dims, dim);
    }
    if (attrs[ATTR_PARAMETER_of] != 0) return true; /* add_copy */
    for (uint32_t i = 0; i < session->state_count; i++) {
        const Tensor *have = &session->state[i].tensor;
        if (session->state[i].name.row != name.row) continue;
        if (have->dtype == tensor.dtype && have->rank == tensor.rank &&
            memcmp(have->shape, tensor.shape, sizeof tensor.shape) == 0)
            return true;
        (void)diags_add(&world->diags, DIAG_STATE_DIFFERS, row,
                        diags_str(&world->diags, strings_get(&world->strings, name)), 0, 0, 0);
        return false;
    }
    StateTensor *state = &session->state[session->state_count];
    *state = (StateTensor){.name = name,
                           .tensor = tensor,
                           .bytes = tensor_bytes(&tensor),
                           .init = (InitKind)attrs[ATTR_PARAMETER_init],
                           .scale = word_f64(attrs[ATTR_PARAMETER_scale]),
                           .trainable = attrs[ATTR_PARAMETER_trainable] != 0};
    state->tensor.data = api_block_open(session->context, state->bytes);
    session->state_count++;
    fill_initial(session->context->workers, state, seed, strings_get(&world->strings, name));
    return true;
}

static bool same_sizes(const World *world, const Tensor *tensor, TypeId type) {
    if (type_rank(&world->types, type) != tensor->rank) return false;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        DimId dim = type_dims(&world->types, type)[i];
        if (!dims_is_const(&world->dims, dim) ||
            dims_const_value(&world->dims, dim) != tensor->shape[i])
            return false;
    }
    return true;
}
/* Adds the copy that a parameter row `of` other state reads. */
static bool add_copy(StoaSession *session, uint32_t row) {
    World          *world = session->world;
    const uint64_t *attrs = op_attrs(world, &world->code, (OpId){row});
    uint32_t        name = (uint32_t)attrs[ATTR_PARAMETER_name], at = session->state_count;
    uint32_t        of = (uint32_t)attrs[ATTR_PARAMETER_of], end = at + session->copies_count;
    if (of == 0) return true;
    while (at < end && session->state[at].name.row != name) at++;
    if (at < end) return true; /* of another graph */
    StateTensor *copy = &session->state[at];
    TypeId       type = {(uint32_t)attrs[ATTR_PARAMETER_type]};
    while (copy->of < at && session->state[copy->of].name.row != of) copy->of++;
    if (copy->of == at || !same_sizes(world, &session->state[copy->of].tensor, type)) {
        (void)diags_add(&world->diags, DIAG_STATE_DIFFERS, row,
                        diags_str(&world->diags, strings_get(&world->strings, (StrId){of})), 0, 0,
                        0);
        return false;
    }
    copy->name.row = name;
    copy->tensor = session->state[copy->of].tensor;
    copy->tensor.dtype = type_dtype(&world->types, type);
    copy->bytes = tensor_bytes(&copy->tensor);
    copy->tensor.data = api_block_open(session->context, copy->bytes);
    session->copies_count++;
    return true;
}
static void convert_part(void *context, uint32_t lane, size_t first, size_t last) {
    const Tensor *const *tensors = context;
    (void)lane;
    cpu_convert(tensors[0], tensors[1], (int64_t)first, (int64_t)last);
}
Status session_wrote_state(StoaSession *session) {
    enum { GRAIN = 1 << 16 };
    for (uint32_t i = 0; i < session->copies_count; i++) {
        StateTensor  *copy = &session->state[session->state_count + i];
        const Tensor *tensors[] = {&session->state[copy->of].tensor, &copy->tensor};
        workers_for(session->context->workers, (size_t)tensor_elements(&copy->tensor), GRAIN,
                    convert_part, tensors);
    }
    return device_write_state(session);
}

/* --- compile ---------------------------------------------------------------------------------- */
static StoaSession *open_session(StoaContext *context, Arena *arena, World *world) {
    StoaSession *session = ARENA_NEW(arena, StoaSession);
    session->context = context;
    session->arena = arena;
    session->world = world;
    session->state = ARENA_ARRAY_ZERO(arena, StateTensor,
                                      2 * count_parameters(world) + world->code.graphs.table.count);
    session->plans = ARENA_ARRAY_ZERO(arena, PlanEntry, SESSION_PLANS_MAX);
    session->programs =
        ARENA_ARRAY_ZERO(arena, const ShapeProgram *, world->code.graphs.table.count);
    session->room = cpu_room_open(arena, context->workers);
    session->texts = arena_open("reports", (size_t)1 << 30, 0);
    if (session->texts == NULL) api_unwind_on(arena_guard_failure());
    return session;
}

/* The ordinal in "cuda" or "cuda:N"; -1: the CPU, -2: neither. */
static int device_ordinal(const char *device) {
    enum { DEVICES_MAX = 1024 };
    int ordinal = 0;
    if (device == NULL || strcmp(device, "cpu") == 0) return -1;
    if (strcmp(device, "cuda") == 0) return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] == 0) return -2;
    for (const char *at = device + 5; *at != 0; at++) {
        if (*at < '0' || *at > '9' || ordinal >= DEVICES_MAX) return -2;
        ordinal = ordinal * 10 + (*at - '0');
    }
    return ordinal;
}
/* What the program is compiled for; NULL: the interpreter. */
static Status choose_target(StoaSession *session, const StoaCompileOptions *options,
                            const Target **out_target) {
    StoaContext *context = session->context;
    int          ordinal = device_ordinal(options->device);
    if (ordinal == -2 || (ordinal >= 0 && (options->interpreter || options->no_fusion))) {
        api_misuse(context, "stoa_compile",
                   ordinal == -2 ? "device must be cpu, cuda or cuda:N"
                                 : "interpreter and no_fusion are of the CPU");
        return STATUS_INVALID;
    }
    session->interpreter = options->interpreter;
    if (ordinal >= 0) return device_open(session, (uint32_t)ordinal, out_target);
    session->fuses = !options->no_fusion && !options->interpreter && context->jit != NULL;
    *out_target = options->interpreter ? NULL : session->fuses ? &context->target : &context->plain;
    return STATUS_OK;
}

/* Kernels get the schedules that a search found for this machine, if there are any. */
static void use_schedules(StoaSession *session) {
    StoaContext *context = session->context;
    SystemCtx   *ctx = &session->runner.ctx;
    Target       target = context->target;
    if (context->schedules == NULL || !os_exists(context->schedules)) return;
    ScheduleBook *book = ARENA_NEW(session->arena, ScheduleBook);
    *book = schedule_book_open(session->arena);
    schedule_book_load(book, context->schedules, cpu_describe_machine(session->arena, &target, 1),
                       &context->diags);
    ctx->scheduler = schedule_from_book;
    ctx->scheduler_context = book;
}
static bool add_states(StoaSession *session, uint64_t seed) {
    const Ops *ops = &session->world->code.ops;
    for (uint32_t row = 1; row < ops->table.count; row++)
        if (ops->opcode[row] == OP_PARAMETER && !add_state(session, row, seed)) return false;
    return true;
}
static Status compile_session(StoaSession *session, const StoaCompileOptions *options) {
    World *world = session->world;
    if (!add_states(session, options->seed)) return STATUS_INVALID;
    StoaContext  *context = session->context;
    const Target *target = NULL;
    Status        status = choose_target(session, options, &target);
    if (status != STATUS_OK) return status;
    runner_open(&session->runner, world, target);
    if (options->compute != STOA_NONE && options->compute != STOA_BF16 &&
        options->compute != STOA_F16 && options->compute != STOA_F8E4M3) {
        api_misuse(context, "stoa_compile",
                   "compute must be STOA_NONE, STOA_BF16, STOA_F16 or STOA_F8E4M3");
        return STATUS_INVALID;
    }
    if (options->f8_block != 0 && options->f8_block != NARROW_BLOCK) {
        api_misuse(context, "stoa_compile", "f8_block must be 0 or 128");
        return STATUS_INVALID;
    }
    if (options->memory_budget != 0 && options->interpreter) {
        api_misuse(context, "stoa_compile", "the interpreter plans no memory: no budget holds");
        return STATUS_INVALID;
    }
    if (options->offload_budget != 0 && (session->gpu == NULL || options->memory_budget == 0)) {
        api_misuse(context, "stoa_compile",
                   session->gpu == NULL
                       ? "offload_budget: the intermediates of the CPU are on the host already; "
                         "set a memory_budget alone"
                       : "offload_budget helps to keep a memory_budget: set both");
        return STATUS_INVALID;
    }
    session->runner.ctx.narrow = (Dtype)options->compute;
    session->runner.ctx.narrow8 =
        (Narrow8){options->f8_products, options->f8_history, options->f8_block};
    session->runner.ctx.budget = options->memory_budget;
    session->runner.ctx.offload = options->offload_budget;
    session->runner.ctx.keeps = !options->interpreter;
    if (session->fuses) use_schedules(session);
    if (!runner_compile(&session->runner)) return STATUS_INVALID;
    if (!add_states(session, options->seed)) return STATUS_INVALID; /* of delay.c: one a graph */
    for (uint32_t row = 1; row < world->code.ops.table.count; row++)
        if (world->code.ops.opcode[row] == OP_PARAMETER && !add_copy(session, row))
            return STATUS_INVALID;
    if (session->gpu != NULL) status = device_compile(session);
    if (status == STATUS_OK) status = session_wrote_state(session);
    if (status != STATUS_OK || session->gpu != NULL) return status;
    if (!session->fuses) return STATUS_OK;
    return emit_compile(session->arena, context->jit, session->runner.ctx.loops, context->workers,
                        &context->diags, &session->module);
}

StoaStatus stoa_compile(StoaProgram *program, const StoaCompileOptions *options,
                        StoaSession **out_session) {
    StoaContext       *context = program->context;
    StoaCompileOptions given = STOA_COMPILE_OPTIONS;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    StoaStatus status = stoa_program_check(program);
    if (status != STOA_OK) return status;
    World *world = world_clone(program->world);
    Arena *arena = world ? arena_open("session", (size_t)1 << 32, 0) : NULL;
    StoaSession *volatile session = NULL;
    ArenaGuard guard;
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        status = api_unwound(context, NULL);
        if (session != NULL) {
            stoa_session_destroy(session);
        } else {
            world_close(world);
            arena_close(arena);
        }
        return status;
    }
    session = open_session(context, arena, world);
    StoaSession *made = session;
    Status       compiled = compile_session(made, &given);
    arena_guard_end(&guard);
    if (compiled == STATUS_UNSUPPORTED && made->gpu == NULL && !given.no_fusion &&
        context->jit != NULL) {
        stoa_session_destroy(made); /* no LLVM here: said once, as a warning */
        jit_close(context->jit);
        context->jit = NULL;
        api_warn(context);
        return stoa_compile(program, options, out_session);
    }
    if (compiled != STATUS_OK) {
        status = api_fail(context, world, compiled);
        stoa_session_destroy(made);
        return status;
    }
    api_warn_world(context, made->world);
    *out_session = made;
    return STOA_OK;
}

static void close_entry(PlanEntry *entry) {
    device_unbind(entry);
    cpu_late_close(entry->late);
    plan_close(entry->plan);
    memset(entry, 0, sizeof *entry);
}

void stoa_session_destroy(StoaSession *session) {
    if (session == NULL) return;
    for (uint32_t i = 0; i < session->plans_count; i++) close_entry(&session->plans[i]);
    for (uint32_t i = 0; i < session->state_count + session->copies_count; i++)
        api_block_close(session->context, session->state[i].tensor.data, session->state[i].bytes);
    api_block_close(session->context, session->memory.memory, session->memory.bytes);
    api_block_close(session->context, session->outputs.memory, session->outputs.bytes);
    device_close(session);
    runner_close(&session->runner);
    world_close(session->world);
    arena_close(session->texts);
    arena_close(session->arena);
}

/* --- plans ------------------------------------------------------------------------------------ */
bool session_has_graph(const StoaSession *session, const char *name) {
    StrId id = strings_find(&session->world->strings, str_of(name));
    return str_id_some(id) && graph_id_some(code_find_graph(&session->world->code, id));
}
GraphId session_graph(StoaSession *session, const char *name) {
    StrId   id = strings_find(&session->world->strings, str_of(name));
    GraphId graph = str_id_some(id) ? code_find_graph(&session->world->code, id) : (GraphId){0};
    if (!graph_id_some(graph))
        (void)diags_add(&session->context->diags, DIAG_NO_GRAPH, 0,
                        diags_str(&session->context->diags, str_of(name)), 0, 0, 0);
    return graph;
}
StateTensor *session_state(StoaSession *session, const char *name) {
    StrId id = strings_find(&session->world->strings, str_of(name));
    for (uint32_t i = 0; i < session->state_count && str_id_some(id); i++)
        if (session->state[i].name.row == id.row) return &session->state[i];
    return NULL;
}

static bool same_shapes(const StoaSession *session, const PlanEntry *entry, const Tensor *inputs,
                        uint32_t count) {
    const World *world = session->world;
    uint32_t     block = world->code.graphs.block[entry->graph.row].row;
    if (world->code.blocks.args_count[block] != count) return false;
    for (uint32_t i = 0; i < count; i++) {
        TypeId type = value_type(world, (ValueId){world->code.blocks.args_first[block].row + i});
        const DimId *dims = type_dims(&world->types, type);
        if (inputs[i].dtype != type_dtype(&world->types, type) ||
            inputs[i].rank != type_rank(&world->types, type))
            return false;
        for (uint32_t k = 0; k < inputs[i].rank; k++)
            if (entry->plan->dim_values[dims[k].row] != inputs[i].shape[k]) return false;
    }
    return true;
}

static uint64_t rounded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }
/* Base addresses that never change: parameters and constants. */
static void set_fixed_slots(StoaSession *session, PlanEntry *entry) {
    const Slots *slots = &entry->plan->slots;
    for (uint32_t row = 1; row < slots->table.count; row++) {
        if (slots->kind[row] == SLOT_OUTPUT) {
            entry->outputs_bytes += rounded(slots->bytes[row]);
        } else if (slots->kind[row] == SLOT_CONSTANT) {
            entry->slots[row] = (void *)(uintptr_t)consts_bytes(&session->world->consts,
                                                                (ConstId){slots->index[row]});
        } else if (slots->kind[row] == SLOT_PARAMETER) {
            for (uint32_t i = 0; i < session->state_count + session->copies_count; i++)
                if (session->state[i].name.row == slots->name[row].row)
                    entry->slots[row] = session->state[i].tensor.data;
            ASSERT(entry->slots[row] != NULL);
        }
    }
}

static void forget_plan(StoaSession *session, PlanEntry *entry) {
    session->plans_bytes -= entry->bytes;
    close_entry(entry);
}
/* An entry without a plan: one that was forgotten, or a new one; plans give way, the least recently
 * used first, while they take too much. */
static PlanEntry *free_entry(StoaSession *session) {
    for (;;) {
        PlanEntry *oldest = NULL, *found = NULL;
        for (uint32_t i = 0; i < session->plans_count; i++) {
            PlanEntry *entry = &session->plans[i];
            if (entry->plan == NULL)
                found = entry;
            else if (oldest == NULL || entry->used < oldest->used)
                oldest = entry;
        }
        bool full = session->plans_count == SESSION_PLANS_MAX && found == NULL;
        if (oldest != NULL && (full || session->plans_bytes > SESSION_PLANS_BYTES)) {
            forget_plan(session, oldest);
            continue;
        }
        return found != NULL ? found : &session->plans[session->plans_count++];
    }
}

/* A block of all plans grows to what this one needs. The old block goes first, so that a limit need
 * not hold both; if the new one is refused, there is none until a plan asks again. */
static void grow(StoaSession *session, Block *block, size_t bytes) {
    Block old = *block;
    if (old.memory != NULL && bytes <= old.bytes) return;
    *block = (Block){NULL, 0};
    api_block_close(session->context, old.memory, old.bytes);
    block->memory = api_block_open(session->context, bytes);
    block->bytes = bytes;
}

static const ShapeProgram *graph_program(StoaSession *session, GraphId graph) {
    if (session->programs[graph.row] == NULL)
        session->programs[graph.row] =
            fit_shapes(session->arena, &session->runner, graph, &session->context->diags);
    return session->programs[graph.row];
}
/* Whether the plan keeps the promises of memory_budget and offload_budget. */
static bool within_budget(StoaSession *session, const Plan *plan) {
    const SystemCtx *ctx = &session->runner.ctx;
    Diags           *diags = &session->context->diags;
    bool             host = plan->arena_bytes <= ctx->budget;
    uint64_t         bytes = host ? plan_host_bytes(plan) : plan->arena_bytes;
    uint64_t         budget = host ? ctx->offload : ctx->budget;
    if (ctx->budget == 0 || bytes <= budget) return true;
    StrId name = session->world->code.graphs.name[plan->graph.row];
    (void)diags_add(
        diags, DIAG_BUDGET_SIZES, 0, diags_str(diags, strings_get(&session->world->strings, name)),
        bytes, diags_str(diags, host ? STR("copies on the host") : STR("intermediates")), budget);
    return false;
}

static bool make_plan(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                      uint32_t count) {
    StoaContext *context = session->context;
    entry->plan = plan_open(session->world, session->runner.ctx.loops, entry->graph);
    if (entry->plan == NULL) api_unwind_on(arena_guard_failure());
    Arena              *arena = entry->plan->arena;
    const ShapeProgram *program = graph_program(session, entry->graph);
    if (program == NULL ||
        !shape_program_run(program, inputs, count, entry->plan->dim_values, &context->diags))
        return false;
    if (session->interpreter) return true;
    if (!runner_plan(&session->runner, entry->plan)) return false;
    if (!within_budget(session, entry->plan)) return false;
    entry->launch_ns = ARENA_ARRAY_ZERO(arena, LaunchTime, entry->plan->launches.table.count);
    entry->trace_names = ARENA_ARRAY_ZERO(arena, uint32_t, entry->plan->launches.table.count);
    if (session->gpu != NULL) return device_bind(session, entry, program) == STATUS_OK;
    Status status =
        program->late
            ? cpu_late_open(arena, entry->plan, program, session->module, context->workers,
                            session->room, &context->diags, &entry->late)
            : cpu_bind_part(arena, entry->plan, cpu_launches(entry->plan), session->module,
                            context->workers, session->room, &context->diags, &entry->cpu);
    if (status != STATUS_OK) return false;
    entry->slots = ARENA_ARRAY_ZERO(arena, void *, entry->plan->slots.table.count);
    set_fixed_slots(session, entry);
    return true;
}

/* Committed, without what all plans share. */
static size_t entry_bytes(const PlanEntry *entry) {
    size_t parts = cpu_late_bytes(entry->late);
    if (entry->places != NULL) parts += gpu_late_bytes(entry->places->late);
    return arena_committed(entry->plan->arena) + parts + entry->outputs_bytes;
}
/* An unwind must not leave a half-made plan behind. */
static bool make_plan_or_close(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                               uint32_t count) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        ArenaFailure failure = arena_guard_failure();
        close_entry(entry);
        api_unwind_on(failure);
    }
    bool good = make_plan(session, entry, inputs, count);
    arena_guard_end(&guard);
    if (!good) close_entry(entry);
    return good;
}
static uint64_t plan_key(GraphId graph, const Tensor *inputs, uint32_t count) {
    uint64_t key = hash_mix(graph.row, count);
    for (uint32_t i = 0; i < count; i++) {
        key = hash_mix(key, (uint64_t)inputs[i].dtype << 32 | inputs[i].rank);
        for (uint32_t k = 0; k < inputs[i].rank; k++)
            key = hash_mix(key, (uint64_t)inputs[i].shape[k]);
    }
    return key;
}
static void index_plans(StoaSession *session) {
    memset(session->plan_index, 0, sizeof session->plan_index);
    for (uint32_t i = 0; i < session->plans_count; i++) {
        uint64_t at = session->plans[i].key % SESSION_INDEX;
        if (session->plans[i].plan == NULL) continue;
        while (session->plan_index[at] != 0) at = (at + 1) % SESSION_INDEX;
        session->plan_index[at] = (uint16_t)(i + 1);
    }
}
static PlanEntry *fresh_plan(StoaSession *session, PlanEntry *entry, GraphId graph, uint64_t key,
                             const Tensor *inputs, uint32_t count) {
    entry->graph = graph;
    entry->key = key;
    bool made = make_plan_or_close(session, entry, inputs, count);
    if (made) entry->bytes = entry_bytes(entry);
    session->plans_bytes += entry->bytes;
    index_plans(session);
    return made ? entry : NULL;
}

PlanEntry *session_plan(StoaSession *session, GraphId graph, const Tensor *inputs, uint32_t count) {
    uint64_t key = plan_key(graph, inputs, count), at = key % SESSION_INDEX;
    for (; session->plan_index[at] != 0; at = (at + 1) % SESSION_INDEX) {
        PlanEntry *entry = &session->plans[session->plan_index[at] - 1];
        if (entry->key == key && entry->plan != NULL && entry->graph.row == graph.row &&
            same_shapes(session, entry, inputs, count))
            return entry;
    }
    return fresh_plan(session, free_entry(session), graph, key, inputs, count);
}

/* --- run -------------------------------------------------------------------------------------- */
typedef struct RunHook {
    StoaSession *session;
    PlanEntry   *entry;
} RunHook;

static void on_launch(void *context, uint32_t lane, uint32_t launch, uint64_t start_ns,
                      uint64_t end_ns) {
    RunHook *hook = context;
    if (hook->session->profile)
        atomic_fetch_add_explicit(&hook->entry->launch_ns[launch], end_ns - start_ns,
                                  memory_order_relaxed);
    if (hook->session->span != NULL)
        hook->session->span(hook->session->span_context, hook->entry, lane, launch, start_ns,
                            end_ns);
}

static void set_output_shapes(StoaSession *session, const PlanEntry *entry, StoaTensor *outputs,
                              uint32_t count) {
    const World *world = session->world;
    OpId         end = block_return(&world->code, world->code.graphs.block[entry->graph.row]);
    for (uint32_t i = 0; i < count; i++) {
        TypeId type = value_type(world, op_operand(&world->code, end, i));
        outputs[i].dtype = (StoaDtype)type_dtype(&world->types, type);
        outputs[i].rank = type_rank(&world->types, type);
        for (uint32_t k = 0; k < outputs[i].rank; k++)
            outputs[i].shape[k] = entry->plan->dim_values[type_dims(&world->types, type)[k].row];
    }
}

/* Slots of this call. Outputs are copied to the caller afterwards where data decides sizes: its
 * memory need not hold the upper bounds. */
static void set_call_slots(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                           StoaTensor *outputs, uint32_t outputs_count) {
    const Slots *slots = &entry->plan->slots;
    uint64_t     offset = 0;
    grow(session, &session->memory, entry->plan->arena_bytes);
    grow(session, &session->outputs, entry->outputs_bytes);
    entry->slots[0] = session->memory.memory;
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint32_t index = slots->index[row];
        if (slots->kind[row] == SLOT_INPUT) entry->slots[row] = inputs[index].data;
        if (slots->kind[row] != SLOT_OUTPUT) continue;
        bool taken = index < outputs_count && outputs[index].data != NULL && entry->late == NULL;
        entry->slots[row] =
            taken ? outputs[index].data : (uint8_t *)session->outputs.memory + offset;
        offset += rounded(slots->bytes[row]);
    }
}
static void copy_outputs(const PlanEntry *entry, StoaTensor *outputs, uint32_t outputs_count) {
    const Slots *slots = &entry->plan->slots;
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint32_t index = slots->index[row];
        if (slots->kind[row] != SLOT_OUTPUT || index >= outputs_count) continue;
        StoaTensor *output = &outputs[index];
        Tensor      sized = {.dtype = (Dtype)output->dtype, .rank = output->rank};
        memcpy(sized.shape, output->shape, sizeof sized.shape);
        if (output->data != NULL && tensor_bytes(&sized) != 0)
            memcpy(output->data, entry->slots[row], tensor_bytes(&sized));
    }
}
static Status run_fast(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                       StoaTensor *outputs, uint32_t outputs_count, bool *out_stopped) {
    set_call_slots(session, entry, inputs, outputs, outputs_count);
    RunHook     hook = {session, entry};
    bool        watched = session->profile || session->span != NULL;
    CpuTraceFn *on = watched ? on_launch : NULL;
    uint32_t    failed = 0;
    entry->timed_runs += session->profile;
    if (entry->late == NULL) {
        failed = cpu_run(entry->cpu, entry->slots, on, &hook);
    } else {
        Status status =
            cpu_late_run(entry->late, entry->slots, on, &hook, &session->context->diags, &failed);
        if (status != STATUS_OK) return status;
        if (outputs != NULL) set_output_shapes(session, entry, outputs, outputs_count);
        if (failed == 0) copy_outputs(entry, outputs, outputs_count);
    }
    *out_stopped = failed != 0;
    return STATUS_OK;
}

/* Outputs whose sizes are not known, for an assert stopped the run before, are left alone. */
static Status run_device(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                         StoaTensor *outputs, uint32_t outputs_count, bool *out_stopped) {
    Status status = device_run(session, entry, inputs, out_stopped);
    bool   sized = !*out_stopped || entry->places->late == NULL;
    if (status != STATUS_OK || outputs == NULL || !sized) return status;
    set_output_shapes(session, entry, outputs, outputs_count); /* data may have decided them */
    return device_take(session, entry, outputs, outputs_count);
}

static Status run_interpreter(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                              uint32_t inputs_count, StoaTensor *outputs, uint32_t outputs_count,
                              bool *out_stopped) {
    World       *world = session->world;
    Scratch      scratch = scratch_begin(NULL, 0);
    NamedTensor *state = ARENA_ARRAY(scratch.arena, NamedTensor, session->state_count + 1);
    Tensor      *results = ARENA_ARRAY(scratch.arena, Tensor, LIST_MAX);
    for (uint32_t i = 0; i < session->state_count; i++)
        state[i] = (NamedTensor){session->state[i].name, session->state[i].tensor};
    arena_release(session->texts, (ArenaMark){0});
    uint32_t  errors = session->context->diags.errors;
    Status    status = interp_run(session->texts, world, entry->graph, inputs, inputs_count, state,
                                  session->state_count, results, &session->context->diags);
    DiagRows *rows = &session->context->diags.rows;
    if (status != STATUS_OK && session->context->diags.errors > errors &&
        rows->kind[rows->table.count - 1] == DIAG_ASSERT_FAILED) { /* an ordinary stop */
        diags_clear(&session->context->diags);
        *out_stopped = true;
        status = STATUS_OK;
    } else if (status == STATUS_OK) {
        for (uint32_t i = 0; i < outputs_count; i++) {
            memcpy(outputs[i].shape, results[i].shape, sizeof outputs[i].shape);
            if (outputs[i].data != NULL)
                memcpy(outputs[i].data, results[i].data, tensor_bytes(&results[i]));
        }
    }
    scratch_end(scratch);
    return status;
}

static Status run_graph(StoaSession *session, const char *name, const StoaTensor *inputs,
                        uint32_t inputs_count, StoaTensor *outputs, uint32_t outputs_count,
                        bool *out_stopped) {
    Tensor  given[LIST_MAX];
    GraphId graph = session_graph(session, name);
    if (!graph_id_some(graph)) return STATUS_NOT_FOUND;
    OpId end = block_return(&session->world->code, session->world->code.graphs.block[graph.row]);
    if (inputs_count > LIST_MAX ||
        outputs_count > session->world->code.ops.operands_count[end.row]) {
        api_misuse(session->context, "stoa_run", "more inputs or outputs than the graph has");
        return STATUS_INVALID;
    }
    for (uint32_t i = 0; i < inputs_count; i++) {
        given[i] = (Tensor){
            .dtype = (Dtype)inputs[i].dtype, .rank = inputs[i].rank, .data = inputs[i].data};
        if (inputs[i].rank > SHAPE_RANK_MAX || inputs[i].dtype <= STOA_NONE ||
            inputs[i].dtype > STOA_F64) {
            api_misuse(session->context, "stoa_run",
                       "an input has an unknown dtype or a rank above 8");
            return STATUS_INVALID;
        }
        memcpy(given[i].shape, inputs[i].shape, sizeof given[i].shape);
    }
    PlanEntry *entry = session_plan(session, graph, given, inputs_count);
    if (entry == NULL) return STATUS_INVALID;
    entry->used = ++session->runs;
    if (outputs != NULL) set_output_shapes(session, entry, outputs, outputs_count);
    for (uint32_t i = 0; i < inputs_count; i++)
        if (given[i].data == NULL && tensor_elements(&given[i]) != 0) {
            api_misuse(session->context, "stoa_run", "an input has no data");
            return STATUS_INVALID;
        }
    if (session->interpreter)
        return run_interpreter(session, entry, given, inputs_count, outputs, outputs_count,
                               out_stopped);
    if (session->gpu != NULL)
        return run_device(session, entry, given, outputs, outputs_count, out_stopped);
    return run_fast(session, entry, given, outputs, outputs_count, out_stopped);
}

StoaStatus stoa_run(StoaSession *session, const char *graph, const StoaTensor *inputs,
                    uint32_t inputs_count, StoaTensor *outputs, uint32_t outputs_count,
                    bool *out_stopped) {
    ArenaGuard guard;
    bool       stopped = false;
    if (!ARENA_GUARD(&guard)) return api_unwound(session->context, session->world);
    uint64_t start = os_clock_ns();
    Status   status =
        run_graph(session, graph, inputs, inputs_count, outputs, outputs_count, &stopped);
    session->run_ns += os_clock_ns() - start;
    arena_guard_end(&guard);
    if (status != STATUS_OK) return api_fail(session->context, session->world, status);
    api_warn(session->context);
    if (out_stopped != NULL) *out_stopped = stopped;
    return STOA_OK;
}
