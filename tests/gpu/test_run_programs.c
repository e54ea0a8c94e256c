/* Whole programs on a device against the interpreter: one copy of a program is compiled for the
 * GPU, another is expanded and interpreted, on the same inputs and state.
 *
 * Outputs and the state after the step are compared: of the plan launched one by one, as a graph,
 * replayed, and elsewhere in memory, bit by bit alike. Memory of results is poisoned before each
 * run. The training steps of the models use SGD in float32, where a step is linear in the gradient:
 * AdamW's first step is its sign, and a rounding error next to zero would be a whole step. */
#include "api/program.h"
#include "cpu/interp.h"
#include "device.h"
#include "gpu/late.h"
#include "models/gpt.h"
#include "models/lenet.h"
#include "systems/runner.h"
#include "tables/shape_program.h"
#include "tests/compile/control_files.h"
#include "tests/compile/heard.h"
#include "tests/compile/random_control.h"
#include "text/parse.h"

enum { TENSORS_MAX = 256, RUNS = 4 }; /* the last run is on other addresses */
typedef struct Size {
    const char *name;
    int64_t     size;
} Size;
typedef struct Case {
    const char *graph; /* NULL: the first */
    Size        sizes[4];
    int64_t     integers; /* inputs of integers are below; 0: 8 */
    double      rel;      /* of the largest number of a tensor; 0: of the dtype */
    Dtype       narrow;   /* what products compute in; nil: as written */
    uint32_t    block;    /* of 8-bit floats: elements that share a scale; 0: a tensor's */
    bool        stops;    /* an assert must fail */
    uint64_t    budget;   /* of intermediates, and as many for copies on the host; 0: any */

    const FileProgram *file;          /* inputs from there */
    GpuLoops           loops;         /* as GpuKitOptions */
    uint32_t           written_nodes; /* likewise */
    bool               by_host;       /* conditions */
} Case;
typedef struct Subject {
    Device        *d;
    Arena         *arena;
    const Case    *given;
    GpuKit        *kit;
    World         *plain, *world; /* for the interpreter, for the device */
    Runner         runner;
    GraphId        graph;
    GpuEmitModule *module;
    Plan          *plan;
    GpuPlan       *gpu;
    GpuLate       *late; /* instead, where data decides sizes */
    CuPtr         *slots;
    Tensor         inputs[TENSORS_MAX], wanted[TENSORS_MAX];
    NamedTensor    state[TENSORS_MAX], after[TENSORS_MAX];
    uint32_t       inputs_count, outputs_count, state_count;
    double         worst;       /* difference, over what is allowed */
    Heard          said, heard; /* lines, of both sides */
} Subject;

static bool said(Subject *c, const char *what, const World *world) {
    String text = text_diags(c->arena, world, &world->diags);
    printf("\n  %s %.*s\n", what, STR_ARGS(text));
    return EXPECT(false);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void fill(Subject *c, Tensor *x, String name, double scale) {
    int64_t below = c->given->integers ? c->given->integers : 8;
    char   *data = x->data = arena_push_zero(c->arena, tensor_bytes(x) + 64, 64);
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        double number = device_random(c->d) * scale;
        if (!dtype_is_float(x->dtype)) {
            number = floor(fabs(number) * 1e6);
            number = x->dtype == DTYPE_BOOL ? 1 : (double)((int64_t)number % below);
        }
        if (str_same(name, STR("rate"))) number = 0.01;
        if (str_same(name, STR("step"))) number = 1;
        (void)const_encode(x->dtype, number, data + i * (int64_t)dtype_bytes(x->dtype));
    }
}
static Tensor typed(const World *world, TypeId type, const int64_t *dims) {
    Tensor x = {.dtype = type_dtype(&world->types, type), .rank = type_rank(&world->types, type)};
    for (uint32_t k = 0; k < x.rank; k++) x.shape[k] = dims[type_dims(&world->types, type)[k].row];
    return x;
}
static bool make_tensors(Subject *c) {
    World      *world = c->plain;
    const Code *code = &world->code;
    int64_t    *dims = ARENA_ARRAY_ZERO(c->arena, int64_t, world->dims.rows.table.count);
    BlockId     block = code->graphs.block[c->graph.row];
    for (uint32_t row = 1; row < world->dims.rows.table.count; row++) {
        if (world->dims.rows.kind[row] != DIM_SYMBOL) continue;
        String name = strings_get(&world->strings, (StrId){(uint32_t)world->dims.rows.imm[row]});
        for (const Size *size = c->given->sizes; size->name != NULL; size++)
            if (str_same(name, str_of(size->name))) dims[row] = size->size;
    }
    (void)dims_eval(&world->dims, dims);
    c->inputs_count = code->blocks.args_count[block.row];
    c->outputs_count = code->ops.operands_count[block_return(code, block).row];
    for (uint32_t i = 0; i < c->inputs_count; i++) {
        ValueId arg = {code->blocks.args_first[block.row].row + i};
        c->inputs[i] = typed(world, value_type(world, arg), dims);
        String name = strings_get(&world->strings, code->values.name[arg.row]);
        fill(c, &c->inputs[i], name, 1);
        if (c->given->file != NULL) (void)file_fill(c->given->file, name, &c->inputs[i]);
    }
    for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
         row++) {
        if (code->ops.opcode[row] != OP_PARAMETER) continue;
        const uint64_t *words = op_attrs(world, code, (OpId){row});
        NamedTensor    *state = &c->state[c->state_count], *after = &c->after[c->state_count++];
        double          scale = word_f64(words[ATTR_PARAMETER_scale]);
        if (!EXPECT(c->state_count < TENSORS_MAX)) return false;
        state->name = (StrId){(uint32_t)words[ATTR_PARAMETER_name]};
        state->tensor = typed(world, (TypeId){(uint32_t)words[ATTR_PARAMETER_type]}, dims);
        fill(c, &state->tensor, STR(""), scale > 0 ? scale : 0.5);
        if (words[ATTR_PARAMETER_init] == INIT_ONES) /* variances must be positive */
            for (int64_t i = 0; i < tensor_elements(&state->tensor); i++)
                device_store(state->tensor.dtype, state->tensor.data, (uint64_t)i, 1.25);
        if (str_starts(strings_get(&world->strings, state->name), STR("optimizer.")))
            memset(state->tensor.data, 0, tensor_bytes(&state->tensor));
        *after = *state;
        after->tensor.data = arena_push(c->arena, tensor_bytes(&after->tensor) + 64, 64);
        memcpy(after->tensor.data, state->tensor.data, tensor_bytes(&after->tensor));
    }
    return true;
}

/* --- both sides ------------------------------------------------------------------------------- */

static bool interpret(Subject *c) {
    static const SystemKind steps[] = {SYSTEM_verify, SYSTEM_infer,         SYSTEM_inline,
                                       SYSTEM_narrow, SYSTEM_differentiate, SYSTEM_expand};
    Runner                  runner;
    bool                    good = true;
    runner_open(&runner, c->plain, NULL);
    runner.ctx.narrow = c->given->narrow;
    runner.ctx.narrow8.products = NARROW8_ALL;
    runner.ctx.narrow8.block = c->given->block;
    for (size_t i = 0; i < LENGTH(steps) && good; i++) good = runner_run(&runner, steps[i]);
    runner_close(&runner);
    if (!good) return said(c, "expanding:", c->plain);
    if (!make_tensors(c)) return false;
    heard_begin(&c->plain->diags, &c->said);
    Status status = interp_run(c->arena, c->plain, c->graph, c->inputs, c->inputs_count, c->after,
                               c->state_count, c->wanted, &c->plain->diags);
    if (c->given->stops) return EXPECT_EQ(status, STATUS_INVALID);
    return status == STATUS_OK || said(c, "interpreting:", c->plain);
}

static bool compile(Subject *c, const Target *target, GpuCache *cache) {
    Diags *diags = &c->world->diags;
    runner_open(&c->runner, c->world, target);
    c->runner.ctx.narrow = c->given->narrow;
    c->runner.ctx.narrow8.products = NARROW8_ALL;
    c->runner.ctx.narrow8.block = c->given->block;
    c->runner.ctx.budget = c->runner.ctx.offload = c->given->budget;
    if (!runner_compile(&c->runner)) return said(c, "compiling:", c->world);
    if (gpu_emit_compile(c->arena, c->d->libs, cache, c->d->gpu->info.arch, &c->runner.loops, 4,
                         diags, &c->module) != STATUS_OK)
        return said(c, "emitting:", c->world);
    gpu_emit_load(c->module, c->d->gpu);
    c->plan = plan_open(c->world, &c->runner.loops, c->graph);
    ShapeRoots          roots = {.all = true};
    const ShapeProgram *shapes = shape_program_make(c->arena, c->world, c->graph, &roots, diags);
    if (shapes == NULL ||
        !shape_program_run(shapes, c->inputs, c->inputs_count, c->plan->dim_values, diags) ||
        !runner_plan(&c->runner, c->plan))
        return said(c, "planning:", c->world);
    Status status =
        shapes->late ? gpu_late_open(c->arena, c->plan, shapes, c->module, c->kit, diags, &c->late)
                     : gpu_bind(c->arena, c->plan, c->module, c->kit, diags, &c->gpu);
    return status == STATUS_OK || said(c, "binding:", c->world);
}

static const Tensor *state_of(const Subject *c, const NamedTensor *state, uint32_t slot) {
    String name = strings_get(&c->world->strings, c->plan->slots.name[slot]);
    for (uint32_t i = 0; i < c->state_count; i++)
        if (str_same(name, strings_get(&c->plain->strings, state[i].name))) return &state[i].tensor;
    return NULL;
}
/* What a slot holds before a run: NULL: poison. */
static const void *contents_of(const Subject *c, uint32_t slot) {
    const Slots *slots = &c->plan->slots;
    if (slots->kind[slot] == SLOT_INPUT) return c->inputs[slots->index[slot]].data;
    if (slots->kind[slot] == SLOT_PARAMETER) return state_of(c, c->state, slot)->data;
    if (slots->kind[slot] == SLOT_CONSTANT)
        return consts_bytes(&c->world->consts, (ConstId){slots->index[slot]});
    return NULL;
}

/* Numbers are compared with the largest one of their tensor; what cancels to less than 0.01 (the
 * gradient of a bias before a normalisation) is what rounding left of the terms. */
static bool near(Subject *c, String what, const Tensor *got, const Tensor *want) {
    double  scale = dtype_is_float(want->dtype) ? 0.01 : 0, rel = c->given->rel, most = 0;
    Dtype   dtype = want->dtype;
    int64_t bytes = dtype_bytes(dtype), worst = -1;
    if (rel == 0) rel = dtype == DTYPE_F64 ? 1e-11 : dtype == DTYPE_F32 ? 1e-5 : 0.02;
    for (int64_t i = 0; i < tensor_elements(want); i++)
        scale = fmax(scale, fabs(const_decode(dtype, (char *)want->data + i * bytes)));
    for (int64_t i = 0; i < tensor_elements(want); i++) {
        double a = const_decode(dtype, (char *)got->data + i * bytes);
        double b = const_decode(dtype, (char *)want->data + i * bytes);
        if (fabs(a - b) <= most) continue;
        most = isnan(a - b) ? INFINITY : fabs(a - b);
        worst = i;
    }
    double part = most == 0 ? 0 : most / (rel * scale);
    if (!dtype_is_float(dtype) && most > 0) part = INFINITY;
    c->worst = fmax(c->worst, part);
    if (part <= 1) return true;
    printf("\n  %.*s: element %lld of %lld is off by %.3g, scale %.3g", STR_ARGS(what),
           (long long)worst, (long long)tensor_elements(want), most, scale);
    return EXPECT(false);
}

/* Rows and indices of scans lie elsewhere, and copies on the host. */
static bool has_place(const Subject *c, uint32_t row) {
    return c->plan->slots.kind[row] < SLOT_HOST;
}
/* One run from fresh memory; all that it left comes back to host[slot]. */
static bool run_once(Subject *c, void **host) {
    Device      *d = c->d;
    const Slots *slots = &c->plan->slots;
    uint32_t     failed = 0;
    bool ok = device_ok(d, gpu_fill(d->stream, c->slots[0], 0xFF, c->plan->arena_bytes, &d->diags));
    for (uint32_t row = 1; row < slots->table.count && ok; row++) {
        const void *from = contents_of(c, row);
        if (!has_place(c, row)) continue;
        ok = device_ok(
            d, from ? gpu_copy_in(d->stream, c->slots[row], from, slots->bytes[row], &d->diags)
                    : gpu_fill(d->stream, c->slots[row], 0xFF, slots->bytes[row], &d->diags));
    }
    heard_begin(&d->diags, &c->heard);
    if (c->late != NULL)
        ok = ok && device_ok(d, gpu_late_run(c->late, c->slots, d->stream, &d->diags, &failed));
    else
        ok = ok && device_ok(d, gpu_run(c->gpu, c->slots, d->stream, &d->diags)) &&
             device_ok(d, gpu_run_printed(c->gpu, d->stream, &d->diags)) &&
             device_ok(d, gpu_run_failed(c->gpu, d->stream, &d->diags, &failed));
    for (uint32_t row = 1; row < slots->table.count && ok; row++)
        ok = !has_place(c, row) || device_ok(d, gpu_copy_out(d->stream, host[row], c->slots[row],
                                                             slots->bytes[row], &d->diags));
    ok = ok && (c->given->stops || EXPECT(heard_same(&c->said, &c->heard)));
    return ok && device_ok(d, gpu_stream_sync(d->stream, &d->diags)) &&
           EXPECT_EQ(failed != 0, c->given->stops);
}

static bool compare(Subject *c, void **host) {
    const Slots *slots = &c->plan->slots;
    bool         ok = true;
    for (uint32_t row = 1; row < slots->table.count; row++) {
        String name = strings_get(&c->world->strings, slots->name[row]);
        Tensor got;
        if (slots->kind[row] == SLOT_OUTPUT && !c->given->stops) {
            got = c->wanted[slots->index[row]];
            got.data = host[row];
            ok &= near(c, name, &got, &c->wanted[slots->index[row]]);
        } else if (slots->kind[row] == SLOT_PARAMETER) {
            const Tensor *want = state_of(c, c->given->stops ? c->state : c->after, row);
            got = *want;
            got.data = host[row];
            ok &= near(c, name, &got, want);
        }
    }
    return ok;
}

static bool take_slots(Subject *c, uint32_t count) {
    bool ok = true;
    c->slots = ARENA_ARRAY_ZERO(c->arena, CuPtr, count);
    for (uint32_t row = 0; row < count && ok; row++) {
        uint64_t bytes = row == 0 ? c->plan->arena_bytes : c->plan->slots.bytes[row];
        if (!has_place(c, row)) continue;
        ok = device_ok(c->d,
                       gpu_push(&c->d->memory, bytes + 256, 256, &c->d->diags, &c->slots[row]));
    }
    return ok;
}

static bool run_all(Subject *c) {
    uint32_t count = c->plan->slots.table.count;
    void   **host[RUNS];
    bool     ok = true;
    for (int run = 0; run < RUNS && ok; run++) {
        if (run == 0 || run == RUNS - 1) ok = take_slots(c, count);
        host[run] = ARENA_ARRAY(c->arena, void *, count);
        for (uint32_t row = 1; row < count; row++)
            host[run][row] = arena_push_zero(c->arena, c->plan->slots.bytes[row] + 64, 64);
        ok = ok && run_once(c, host[run]) && compare(c, host[run]);
        for (uint32_t row = 1; row < count && ok && run > 0 && !c->given->stops; row++)
            ok = c->late != NULL || /* behind what there is, anything */
                 EXPECT(memcmp(host[0][row], host[run][row], c->plan->slots.bytes[row]) == 0);
        if (!ok) printf("\n  in run %d\n", run);
    }
    return ok;
}

/* world: fresh; it stays the caller's. */
static bool check(Device *d, Arena *arena, World *world, const Case *given) {
    Subject      *c = ARENA_NEW(arena, Subject);
    GpuCache      cache = gpu_cache_open(arena, STR(""));
    Target        target;
    GpuKitOptions options = {.cache = &cache,
                             .tune = true,
                             .loops = given->loops,
                             .written_nodes = given->written_nodes};
    uint64_t      used = d->memory.used;
    *c = (Subject){.d = d, .arena = arena, .given = given, .graph = {1}};
    c->plain = world_clone(world);
    c->world = world_clone(world);
    if (given->graph != NULL)
        c->graph =
            code_find_graph(&world->code, strings_find(&world->strings, str_of(given->graph)));
    if (given->by_host) d->gpu->info.conditions = GPU_CONDITIONS_HOST;
    bool ok = device_ok(d, gpu_kit_open(arena, d->gpu, &options, &d->diags, &c->kit));
    gpu_describe(&target, ok && gpu_kit_has_cudnn(c->kit));
    if (given->budget != 0) target.machine.link_us = 0; /* copies of small values, too */
    ok = ok && interpret(c) && compile(c, &target, &cache) && run_all(c);
    if (c->gpu != NULL) {
        GpuPlanStats stats = gpu_plan_stats(c->gpu);
        EXPECT(!ok || stats.graphs == (c->plan->flows ? 2 : 1)); /* one for each place */
        EXPECT(!ok || (stats.host_bytes != 0) == (given->budget != 0));
        if (given->file == NULL && given->loops == GPU_LOOPS_AUTO)
            printf(" (%u launches, %u nodes, %u loops, %u products, %u attentions, %.2f of the "
                   "tolerance)",
                   stats.launches, stats.nodes, stats.loops, stats.products, stats.attentions,
                   c->worst);
        else
            printf(" %u/%u/%u", stats.nodes, stats.loops, stats.blocks);
    }
    gpu_plan_close(c->gpu);
    gpu_late_close(c->late);
    gpu_emit_unload(c->module);
    plan_close(c->plan);
    runner_close(&c->runner);
    gpu_kit_close(c->kit);
    gpu_release(&d->memory, used);
    world_close(c->plain);
    world_close(c->world);
    return EXPECT(ok);
}
static void check_text(Arena *arena, const char *text, const Case *given) {
    DEVICE(d);
    World *world = world_open(0, 1 << 20);
    if (EXPECT(text_parse(world, str_of(text), STR("program"))))
        (void)check(&d, arena, world, given);
    world_close(world);
    device_close(&d);
}

/* --- programs --------------------------------------------------------------------------------- */

TEST(gpu_parameters_are_assigned_after_the_step) {
    check_text(arena,
               "graph swap(%x: f32[B]) {\n"
               "  %p = parameter {name=\"p\", type=f32[5]}\n"
               "  %q = parameter {name=\"q\", type=f32[5]}\n"
               "  %s = add %p, %q\n  assign %p, %q\n  assign %q, %s\n  %y = mul %x, %x\n"
               "  return %y, %s\n}\n",
               &(Case){.sizes = {{"B", 3}}});
}
/* What models are made of, and what it is to gradients, in float64: lost digits show. */
static void check_layer(Arena *arena, const char *layer) {
    String text = str_format(arena,
                             "graph f(%%x: f64[B,T,32], %%w: f64[32], %%b: f64[32], %%l: i32[B,T], "
                             "%%e: f64[40,32], %%d: f64[B,T,32]) {\n"
                             "  %s\n  %%p = mul %%y, %%d\n"
                             "  %%s = reduce %%p {kind=sum, axes=[0,1,2]}\n"
                             "  %%dx, %%dw, %%db, %%de = gradient %%s, %%x, %%w, %%b, %%e\n"
                             "  return %%y, %%dx, %%dw, %%db, %%de\n}\n",
                             layer);
    printf("\n  %s", layer);
    check_text(arena, text.data, &(Case){.sizes = {{"B", 3}, {"T", 20}}, .integers = 30});
}
TEST(gpu_layers_float64) {
    check_layer(arena, "%y = layer_norm %x, %w, %b");
    check_layer(arena, "%y = rms_norm %x, %w");
    check_layer(arena, "%y = gelu %x");
    check_layer(arena, "%y = gelu %x {tanh=true}");
    check_layer(arena, "%y = softmax %x {axis=2}");
    check_layer(arena, "%y = log_softmax %x {axis=2}");
    check_layer(arena, "%y = embedding %e, %l");
    check_layer(arena, "%n = global_norm %x, %e\n  %m = broadcast_in_dim %n {shape=[B,T,32]}\n"
                       "  %y = div %x, %m");
    check_layer(arena, "%c = cross_entropy %x, %l\n"
                       "  %y = broadcast_in_dim %c {shape=[B,T,32], axes=[0,1]}");
}
TEST(gpu_asserts_that_hold_let_the_step_pass) {
    check_text(arena,
               "graph f(%x: f64[B], %t: bool[B]) {\n"
               "  %p = parameter {name=\"p\", type=f64[4]}\n  %q = add %p, %p\n"
               "  assert %t\n  %y = mul %x, %x\n  assert %t\n  assign %p, %q\n  return %y\n}\n",
               &(Case){.sizes = {{"B", 300}}});
}
TEST(gpu_copies_to_the_host_run_beside) {
    check_text(arena,
               "graph f(%x: f32[256,256], %w: f32[256,256]) {\n"
               "  %a = matmul %x, %w\n  %b = matmul %a, %w\n  %c = matmul %b, %w\n"
               "  %d = matmul %c, %w\n  %e = matmul %d, %w\n  %g = matmul %e, %d\n"
               "  %h = matmul %g, %w\n  %i = matmul %h, %w\n  %k = matmul %i, %w\n"
               "  %l = matmul %k, %w\n  %j = matmul %l, %a\n  return %j\n}\n",
               &(Case){.rel = 1e-4, .budget = 768 << 10});
}
TEST(gpu_asserts_that_fail_stop_the_step) {
    check_text(arena,
               "graph f(%x: f64[B], %t: bool[B]) {\n"
               "  %p = parameter {name=\"p\", type=f64[4]}\n  %q = add %p, %p\n"
               "  assert %t\n  %u = not %t\n  assert %u\n  assign %p, %q\n  return %x\n}\n",
               &(Case){.sizes = {{"B", 300}}, .stops = true});
}
TEST(gpu_linear_layers_and_their_gradients) {
    check_text(
        arena,
        "graph f(%x: f32[B,T,64], %w: f32[96,64], %b: f32[96], %v: f32[10,96], %l: i32[B,T]) "
        "{\n"
        "  %h = linear %x, %w, %b\n  %a = gelu %h\n  %z = linear %a, %v\n"
        "  %e = cross_entropy %z, %l\n  %s = reduce %e {kind=sum, axes=[0,1]}\n"
        "  %dx, %dw, %db, %dv = gradient %s, %x, %w, %b, %v\n"
        "  return %s, %dx, %dw, %db, %dv\n}\n",
        &(Case){.sizes = {{"B", 3}, {"T", 37}}});
}
static const char attention[] =
    "graph f(%%q: %s[B,T,H,64], %%k: %s[B,T,H,64], %%v: %s[B,T,H,64], %%d: %s[B,H,T,64]) {\n"
    "  %%a = transpose %%q {permutation=[0,2,1,3]}\n"
    "  %%b = transpose %%k {permutation=[0,2,1,3]}\n"
    "  %%c = transpose %%v {permutation=[0,2,1,3]}\n"
    "  %%y, %%lse = attention %%a, %%b, %%c {causal=true}\n"
    "  %%p = mul %%y, %%d\n  %%r = convert %%p {dtype=%s}\n"
    "  %%s = reduce %%r {kind=sum, axes=[0,1,2,3]}\n"
    "  %%dq, %%dk, %%dv = gradient %%s, %%q, %%k, %%v\n  return %%y, %%dq, %%dk, %%dv\n}\n";
TEST(gpu_attention_of_every_dtype) {
    static const char *const dtypes[] = {"f32", "f64", "bf16", "f16"};
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        const char *t = dtypes[i];
        String      text = str_format(arena, attention, t, t, t, t, i == 1 ? "f64" : "f32");
        check_text(arena, text.data, &(Case){.sizes = {{"B", 2}, {"T", 128}, {"H", 3}}});
        check_text(arena, text.data, &(Case){.sizes = {{"B", 2}, {"T", 100}, {"H", 2}}});
    }
}

/* Rows that are held in shared memory, two or one at a time, in whole groups and not; and rows that
 * are not held. */
TEST(gpu_losses_of_many_classes) {
    static const char *const dtypes[] = {"bf16", "f32", "f16"};
    static const int64_t     classes[] = {20000, 30011, 50304, 54000, 131072};
    for (size_t i = 0; i < LENGTH(dtypes); i++)
        for (size_t k = 0; k < LENGTH(classes); k++) {
            const char *t = dtypes[i];
            long long   n = (long long)classes[k];
            String      text =
                str_format(arena,
                           "graph f(%%x: %s[B,%lld], %%l: i32[B]) {\n"
                           "  %%e = cross_entropy %%x, %%l\n  %%f = convert %%e {dtype=f32}\n"
                           "  %%s = reduce %%f {kind=sum, axes=[0]}\n  %%dx = gradient %%s, %%x\n"
                           "  %%g = convert %%dx {dtype=f32}\n  %%c = constant {value=f32 1000}\n"
                           "  %%m = broadcast_in_dim %%c {shape=[B,%lld], axes=[]}\n"
                           "  %%h = mul %%g, %%m\n  return %%e, %%h\n}\n",
                           t, n, n);
            double rel = i == 1 ? 1e-5 : 0.02;
            check_text(arena, text.data, &(Case){.sizes = {{"B", 5}}, .integers = n, .rel = rel});
        }
}

/* Hints that make logits so large that they are made by parts: four, and a rest, which may be
 * empty. Sums over rows are added in place. */
TEST(gpu_losses_by_parts) {
    static const char *const dtypes[] = {"bf16", "f32", "f16", "f64"};
    static const int64_t     cases[][2] = {{19, 1000}, {16, 1003}, {5, 30011}};
    for (size_t i = 0; i < LENGTH(dtypes); i++)
        for (size_t k = 0; k < LENGTH(cases); k++) {
            const char *t = dtypes[i];
            long long   rows = cases[k][0], n = cases[k][1];
            long long   likely = (16LL << 30) / (n * 64 * (i == 3 ? 8 : i == 1 ? 4 : 2)) / 8;
            String      text =
                str_format(arena,
                           "dim B hint=%lld\ndim T hint=64\n"
                           "graph f(%%x: %s[B,T,64], %%w: %s[%lld,64], %%l: i32[B,T]) {\n"
                           "  %%z = linear %%x, %%w\n  %%c = convert %%z {dtype=%s}\n"
                           "  %%e = cross_entropy %%c, %%l\n  %%s = mean %%e {axes=[0,1]}\n"
                           "  %%dx, %%dw = gradient %%s, %%x, %%w\n  return %%e, %%dx, %%dw\n}\n",
                           likely, t, t, n, i == 3 ? "f64" : "f32");
            double rel = i == 1 || i == 3 ? 0 : 0.02;
            check_text(arena, text.data,
                       &(Case){.sizes = {{"B", rows}, {"T", 2}}, .integers = n, .rel = rel});
        }
}
/* Rows that are written over the operand that they were made of, held and not, aligned and not. */
static const char shares[] = "graph f(%%x: %s[B,8], %%w: %s[%lld,8], %%v: %s[%lld,8]) {\n"
                             "  %%z = linear %%x, %%w\n  %%p = softmax %%z {axis=1}\n"
                             "  %%y = matmul %%p, %%v\n  return %%y\n}\n";
TEST(gpu_rows_over_their_operands) {
    static const char *const dtypes[] = {"bf16", "f32"};
    static const int64_t sizes[][2] = {{7, 33}, {300, 1000}, {300, 1003}, {5, 30011}, {3, 131072}};
    for (size_t i = 0; i < LENGTH(dtypes); i++)
        for (size_t k = 0; k < LENGTH(sizes); k++) {
            const char *t = dtypes[i];
            long long   n = sizes[k][1];
            String      text = str_format(arena, shares, t, t, n, t, n);
            check_text(arena, text.data,
                       &(Case){.sizes = {{"B", sizes[k][0]}}, .rel = i == 0 ? 0.02 : 1e-5});
        }
}

/* One tensor of queries, keys and values, and of their gradients: attention reads parts of it, and
 * writes its gradient and its result where they are wanted. */
TEST(gpu_attention_of_packed_heads) {
    static const char text[] =
        "graph f(%x: bf16[B,T,576], %d: bf16[B,T,192]) {\n"
        "  %q = slice %x {starts=[0,0,0], limits=[B,T,192]}\n"
        "  %k = slice %x {starts=[0,0,192], limits=[B,T,384]}\n"
        "  %v = slice %x {starts=[0,0,384], limits=[B,T,576]}\n"
        "  %qh = reshape %q {shape=[B,T,3,64]}\n  %kh = reshape %k {shape=[B,T,3,64]}\n"
        "  %vh = reshape %v {shape=[B,T,3,64]}\n"
        "  %qt = transpose %qh {permutation=[0,2,1,3]}\n"
        "  %kt = transpose %kh {permutation=[0,2,1,3]}\n"
        "  %vt = transpose %vh {permutation=[0,2,1,3]}\n"
        "  %y, %lse = attention %qt, %kt, %vt {causal=true}\n"
        "  %yt = transpose %y {permutation=[0,2,1,3]}\n  %z = reshape %yt {shape=[B,T,192]}\n"
        "  %p = mul %z, %d\n  %r = convert %p {dtype=f32}\n"
        "  %s = reduce %r {kind=sum, axes=[0,1,2]}\n  %dx = gradient %s, %x\n"
        "  %g = convert %dx {dtype=f32}\n  %b = reduce %g {kind=sum, axes=[0,1]}\n"
        "  %c = reduce %dx {kind=sum, axes=[0,1]}\n"
        "  return %z, %dx, %b, %c\n}\n";
    /* %b, though f32, is a sum of what was rounded to bf16; %c comes from attention's gradient, in
     * parts of its own kernel or by one that reads what cuDNN's wrote */
    check_text(arena, text, &(Case){.sizes = {{"B", 2}, {"T", 128}}, .rel = 0.02});
    check_text(arena, text, &(Case){.sizes = {{"B", 1}, {"T", 512}}, .rel = 0.02});
    check_text(arena, text, &(Case){.sizes = {{"B", 5}, {"T", 128}}, .rel = 0.02});
    check_text(arena, text, &(Case){.sizes = {{"B", 3}, {"T", 100}}, .rel = 0.02});
    check_text(arena, text, &(Case){.sizes = {{"B", 0}, {"T", 128}}, .rel = 0.02});
}

/* Products that add a bias, apply gelu and its derivative as they write; matrices either way round,
 * no bias, and a product that something else needs. */
TEST(gpu_products_with_epilogues) {
    static const char *const layers[] = {
        "  %h = linear %x, %w, %b\n  %g = gelu %h {tanh=true}\n  %y = matmul %g, %v\n",
        "  %h = matmul %x, %u\n  %g = gelu %h {tanh=true}\n  %y = matmul %g, %v\n",
        "  %h = linear %x, %w, %b\n  %g = gelu %h {tanh=true}\n  %m = mul %g, %h\n"
        "  %y = matmul %m, %v\n",
        "  %h = linear %x, %w, %b\n  %g = gelu %h\n  %y = matmul %g, %v\n"};
    static const Dtype   narrow[] = {DTYPE_BF16, DTYPE_F16};
    static const int64_t sizes[] = {1, 77, 256};
    for (size_t i = 0; i < LENGTH(layers); i++)
        for (size_t k = 0; k < LENGTH(narrow) * LENGTH(sizes); k++) {
            String text = str_format(
                arena,
                "graph f(%%x: f32[N,64], %%w: f32[96,64], %%u: f32[64,96], %%b: f32[96],\n"
                "        %%v: f32[96,64], %%d: f32[N,64]) {\n%s  %%p = mul %%y, %%d\n"
                "  %%s = reduce %%p {kind=sum, axes=[0,1]}\n"
                "  %%dx, %%dw, %%du, %%db, %%dv = gradient %%s, %%x, %%w, %%u, %%b, %%v\n"
                "  return %%y, %%dx, %%dw, %%du, %%db, %%dv\n}\n",
                layers[i]);
            check_text(arena, text.data,
                       &(Case){.sizes = {{"N", sizes[k / LENGTH(narrow)]}},
                               .narrow = narrow[k % LENGTH(narrow)],
                               .rel = 0.02});
        }
}

/* --- models ----------------------------------------------------------------------------------- */

static void check_model(Arena *arena, bool gpt, StoaDtype dtype, StoaOptimizerKind kind,
                        const Case *given) {
    StoaContext *context = NULL;
    StoaProgram *program = NULL;
    DEVICE(d);
    if (!EXPECT(stoa_context_create(NULL, &context) == STOA_OK)) return;
    bool ok = EXPECT(stoa_program_create(context, &program) == STOA_OK);
    if (ok && gpt) {
        GptConfig config = model_gpt_preset();
        config.dtype = dtype;
        config.vocab = 65;
        config.layers = 2;
        config.context = 64;
        config.optimizer.kind = kind;
        ok = EXPECT(model_gpt_build(program, &config) == STOA_OK);
    } else if (ok) {
        LenetConfig config = model_lenet_preset();
        config.dtype = dtype;
        config.optimizer.kind = kind;
        ok = EXPECT(model_lenet_build(program, &config) == STOA_OK);
    }
    if (ok) (void)check(&d, arena, program->world, given);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
    device_close(&d);
}
static const Case gpt_case = {
    .graph = "train", .sizes = {{"B", 3}, {"T", 48}}, .integers = 65, .rel = 0};
static const Case lenet_case = {.graph = "train", .sizes = {{"B", 5}}, .integers = 10, .rel = 0};

TEST(gpu_step_of_gpt_float32) { check_model(arena, true, STOA_F32, STOA_SGD, &gpt_case); }
TEST(gpu_step_of_gpt_float64) { check_model(arena, true, STOA_F64, STOA_SGD, &gpt_case); }
TEST(gpu_step_of_gpt_adamw) { /* divides gradients by their size: 1e-17 next to 1e-8 is 1e-9 */
    Case given = gpt_case;
    given.rel = 1e-8;
    check_model(arena, true, STOA_F64, STOA_ADAMW, &given);
}
TEST(gpu_step_of_gpt_mixed) { /* products round to 8 bits, in another order on the device */
    Case given = gpt_case;
    given.rel = 2e-2;
    given.narrow = DTYPE_BF16;
    check_model(arena, true, STOA_F32, STOA_SGD, &given);
}
/* Copies of transposed matrices of every width, with edges and a batch. */
TEST(gpu_transposed_copies) {
    static const char *const dtypes[] = {"u8", "bf16", "i32", "f64"};
    for (size_t i = 0; i < LENGTH(dtypes); i++) {
        String text = str_format(arena,
                                 "graph f(%%x: %s[B,C], %%y: %s[T,B,C]) {\n"
                                 "  %%t = transpose %%x {permutation=[1,0]}\n"
                                 "  %%u = transpose %%y {permutation=[0,2,1]}\n"
                                 "  %%a = concat %%t, %%t {axis=0}\n  %%b = copy %%u\n"
                                 "  return %%t, %%u, %%a, %%b\n}\n",
                                 dtypes[i], dtypes[i]);
        check_text(arena, text.data, &(Case){.sizes = {{"B", 130}, {"C", 71}, {"T", 3}}});
        check_text(arena, text.data, &(Case){.sizes = {{"B", 132}, {"C", 292}, {"T", 2}}});
    }
}
/* Forwards and backwards: each product wants its operands along the sum, so some are copied. Whole
 * numbers up to 7 make every sum exact, whatever its order, and factors powers of two, so that a
 * product may be rounded before or after it is scaled. */
TEST(gpu_linear_layers_of_8_bits_exactly) {
    check_text(
        arena,
        "graph f(%i: i32[B,T,64], %j: i32[96,64], %k: i32[32,96]) {\n"
        "  %c = constant {value=i32 7}\n  %ci = broadcast_in_dim %c {shape=[B,T,64]}\n"
        "  %cj = broadcast_in_dim %c {shape=[96,64]}\n"
        "  %ck = broadcast_in_dim %c {shape=[32,96]}\n"
        "  %si = sub %i, %ci\n  %sj = sub %j, %cj\n  %sk = sub %k, %ck\n"
        "  %x = convert %si {dtype=f32}\n  %w = convert %sj {dtype=f32}\n"
        "  %v = convert %sk {dtype=f32}\n  %h = linear %x, %w\n  %y = linear %h, %v\n"
        "  %z = slice %y {starts=[0, 0, 0], limits=[B, T, 1]}\n"
        "  %s = reduce %z {kind=sum, axes=[0,1,2]}\n  %dx, %dw = gradient %s, %x, %w\n"
        "  return %h, %dx, %dw\n}\n",
        &(Case){
            .sizes = {{"B", 4}, {"T", 16}}, .integers = 15, .narrow = DTYPE_F8E4M3, .rel = 1e-6});
}
/* Other numbers: in another order a last bit of bf16 differs, and a number that is rounded to 8
 * bits next is then an eighth or a quarter larger. */
TEST(gpu_linear_layers_of_8_bits) {
    check_text(arena,
               "graph f(%x: f32[B,T,64], %w: f32[96,64], %b: f32[96], %v: f32[32,96], "
               "%u: f32[16,32]) {\n"
               "  %t = tanh %x\n  %h = linear %t, %w, %b\n  %a = gelu %h\n  %z = linear %a, %v\n"
               "  %y = linear %z, %u\n  %q = square %y\n"
               "  %s = reduce %q {kind=sum, axes=[0,1,2]}\n"
               "  %dx, %dw, %db, %dv = gradient %s, %x, %w, %b, %v\n"
               "  return %s, %dx, %dw, %db, %dv\n}\n",
               &(Case){.sizes = {{"B", 4}, {"T", 16}}, .narrow = DTYPE_F8E4M3, .rel = 0.1});
}
/* By blocks, whose factors are powers of two: whole numbers are exact in each block that has a
 * large one. Rows of x times another power of two, so that scales differ. */
TEST(gpu_linear_layers_by_blocks_exactly) {
    static const int64_t rows[] = {16, 15, 1}; /* cuBLASLt takes fours of rows */
    for (size_t i = 0; i < LENGTH(rows); i++)
        check_text(arena,
                   "graph f(%i: i32[B,T,256], %j: i32[384,256], %k: i32[128,384]) {\n"
                   "  %c = constant {value=i32 7}\n  %ci = broadcast_in_dim %c {shape=[B,T,256]}\n"
                   "  %cj = broadcast_in_dim %c {shape=[384,256]}\n"
                   "  %ck = broadcast_in_dim %c {shape=[128,384]}\n"
                   "  %si = sub %i, %ci\n  %sj = sub %j, %cj\n  %sk = sub %k, %ck\n"
                   "  %p = iota {dtype=f32, shape=[256], axis=0}\n"
                   "  %q = constant {value=f32 0.0078125}\n"
                   "  %qs = broadcast_in_dim %q {shape=[256]}\n  %pq = mul %p, %qs\n"
                   "  %n = floor %pq\n  %o = constant {value=f32 1}\n"
                   "  %os = broadcast_in_dim %o {shape=[256]}\n  %m = add %n, %os\n"
                   "  %ms = broadcast_in_dim %m {shape=[B,T,256], axes=[2]}\n"
                   "  %xi = convert %si {dtype=f32}\n  %x = mul %xi, %ms\n"
                   "  %w = convert %sj {dtype=f32}\n"
                   "  %v = convert %sk {dtype=f32}\n  %h = linear %x, %w\n  %y = linear %h, %v\n"
                   "  %z = slice %y {starts=[0, 0, 0], limits=[B, T, 1]}\n"
                   "  %s = reduce %z {kind=sum, axes=[0,1,2]}\n  %dx, %dw = gradient %s, %x, %w\n"
                   "  return %h, %dx, %dw\n}\n",
                   &(Case){.sizes = {{"B", 3}, {"T", rows[i]}},
                           .integers = 15,
                           .narrow = DTYPE_F8E4M3,
                           .block = 128,
                           .rel = 1e-6});
}
TEST(gpu_linear_layers_by_blocks) {
    check_text(
        arena,
        "graph f(%x: f32[B,T,128], %w: f32[384,128], %b: f32[384], %v: f32[128,384], "
        "%u: f32[16,128]) {\n"
        "  %t = tanh %x\n  %h = linear %t, %w, %b\n  %a = gelu %h {tanh=true}\n"
        "  %z = linear %a, %v\n"
        "  %y = linear %z, %u\n  %q = square %y\n"
        "  %s = reduce %q {kind=sum, axes=[0,1,2]}\n"
        "  %dx, %dw, %db, %dv = gradient %s, %x, %w, %b, %v\n"
        "  return %s, %dx, %dw, %db, %dv\n}\n",
        &(Case){.sizes = {{"B", 4}, {"T", 16}}, .narrow = DTYPE_F8E4M3, .block = 128, .rel = 0.1});
}
TEST(gpu_step_of_gpt_8_bits) {
    Case given = gpt_case;
    given.rel = 5e-2;
    given.narrow = DTYPE_F8E4M3;
    check_model(arena, true, STOA_F32, STOA_SGD, &given);
}
TEST(gpu_step_of_lenet_float32) { check_model(arena, false, STOA_F32, STOA_SGD, &lenet_case); }
TEST(gpu_step_of_lenet_float64) { check_model(arena, false, STOA_F64, STOA_SGD, &lenet_case); }

/* --- control flow ----------------------------------------------------------------------------- */

/* By the device and by the host, scans written out and as loops; loops in one block. */
static void check_flow(Arena *arena, String text, Case given) {
    for (uint32_t way = 0; way < 5; way++) {
        ArenaMark mark = arena_mark(arena);
        char     *copy = arena_push_zero(arena, text.count + 1, 1);
        memcpy(copy, text.data, text.count);
        given.by_host = way & 1;
        given.written_nodes = way >> 1 & 1;
        given.loops = way < 4 ? GPU_LOOPS_GRAPH : GPU_LOOPS_BLOCK;
        check_text(arena, copy, &given);
        arena_release(arena, mark);
    }
}
static void check_file(Arena *arena, String text) {
    FileProgram *programs = ARENA_ARRAY(arena, FileProgram, FILE_PROGRAMS_MAX);
    uint32_t     count = file_programs(text, programs);
    EXPECT(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        const FileProgram *p = &programs[i];
        String             name = str_copy(arena, p->size_name);
        printf("\n  program at line %u", p->line);
        /* Sums of products less their maximum: 1e-5 of what cancels. */
        double rel = strstr(str_copy(arena, p->text).data, "graph lanes") != NULL ? 1e-4 : 0;
        check_flow(arena, p->text, (Case){.sizes = {{name.data, p->size}}, .file = p, .rel = rel});
    }
}
FILE_EMBED(control, "tests/run/control.ir");
FILE_EMBED(control_grad, "tests/run/control_grad.ir");
TEST(gpu_control_flow_of_golden_runs) { check_file(arena, FILE_TEXT(control)); }
FILE_EMBED(late, "tests/run/late.ir");
FILE_EMBED(join, "tests/run/join.ir");
TEST(gpu_late_sizes) { check_file(arena, FILE_TEXT(late)); }
TEST(gpu_late_branches_of_different_sizes) { check_file(arena, FILE_TEXT(join)); }
FILE_EMBED(print, "tests/run/print.ir");
TEST(gpu_says_what_is_printed) { check_file(arena, FILE_TEXT(print)); }
TEST(gpu_control_flow_of_gradients) { check_file(arena, FILE_TEXT(control_grad)); }

#define COUNTED                                                                                    \
    "  %n0 = constant {value=i64 0}\n  %n1 = constant {value=i64 1}\n"                             \
    "  %nt = constant {value=i64 3}\n"
TEST(gpu_recurrent_networks_and_their_gradients) {
    static const char rnn[] =
        "graph f(%w: f64[24,24], %h: f64[24], %x: f64[T,24]) {\n"
        "  %k0 = constant {value=f64 0.01}\n  %k1 = broadcast_in_dim %k0 {shape=[24], axes=[]}\n"
        "  %e, %z = scan %h, %x {carries=1} : f64[24], f64[T,24] (%i: i64, %c: f64[24], "
        "%r: f64[24]) {\n    %p = dot_general %w, %c {x_contract=[1], y_contract=[0]}\n"
        "    %o = add %p, %r\n    %s = mul %o, %k1\n    %t = tanh %s\n    %y = mul %t, %r\n"
        "    return %t, %y\n  }\n  %q = reduce %z {kind=sum, axes=[0, 1]}\n"
        "  %g, %k, %l = gradient %q, %w, %h, %x\n  return %q, %g, %k, %l\n}\n";
    check_flow(arena, str_of(rnn), (Case){.sizes = {{"T", 9}}});
    check_flow(arena, str_of(rnn), (Case){.sizes = {{"T", 700}}});
}
/* An assert that fails in the second of three trips. */
TEST(gpu_asserts_stop_loops) {
    check_flow(arena,
               STR("graph f(%x: f64[100]) {\n" COUNTED
                   "  %p = parameter {name=\"p\", type=f64[100]}\n"
                   "  %k, %y = while %n0, %x : i64, f64[100] (%i: i64, %c: f64[100]) {\n"
                   "    %m = compare %i, %nt {direction=lt}\n    return %m\n  } "
                   "(%i: i64, %c: f64[100]) {\n    %j = add %i, %n1\n    %b = tanh %c\n"
                   "    %o = compare %i, %n1 {direction=lt}\n    assert %o {message=\"stop\"}\n"
                   "    return %j, %b\n  }\n  assign %p, %y\n  %z = neg %y\n  return %z\n}\n"),
               (Case){.stops = true});
}
/* STOA_SEEDS: how many; STOA_SEED: the first. */
static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}
TEST(gpu_random_control_flow) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 40};
    int64_t              first = setting("STOA_SEED", 1), count = setting("STOA_SEEDS", 40);
    for (int64_t seed = first; seed < first + count; seed++) {
        ArenaMark mark = arena_mark(arena);
        String    text = random_control(arena, (uint64_t)seed);
        int64_t   b = sizes[seed % 6], c = sizes[seed / 6 % 6], d = sizes[(seed + 2) % 6];
        printf("\n  seed %lld", (long long)seed);
        check_flow(arena, text,
                   (Case){.sizes = {{"B", b}, {"C", c}, {"D", d}}, .rel = 1e-4, .integers = 4});
        arena_release(arena, mark);
    }
}
