/* Whole programs on a device against the interpreter: one copy of a program is compiled for the
 * GPU, another is expanded and interpreted, on the same inputs and state.
 *
 * Outputs and the state after the step are compared: of the plan launched one by one, as a graph,
 * and replayed, bit by bit alike. Memory of results is poisoned before each run. The models are
 * compared with what the same model computes in float64 from the same numbers; their steps in
 * float32 use SGD, which is linear in the gradient: AdamW's first step is its sign, and a rounding
 * error next to zero would be a whole step. */
#include "api/program.h"
#include "cpu/interp.h"
#include "device.h"
#include "gpu/run.h"
#include "models/gpt.h"
#include "models/lenet.h"
#include "systems/runner.h"
#include "tables/bind.h"
#include "text/parse.h"

enum { TENSORS_MAX = 256, RUNS = 3 };
typedef struct Size {
    const char *name;
    int64_t     size;
} Size;
typedef struct Case {
    const char *graph; /* NULL: the first */
    Size        sizes[4];
    int64_t     integers; /* inputs of integers are below; 0: 8 */
    double      rel;      /* of the largest number of a tensor; 0: of the dtype */
    bool        stops;    /* an assert must fail */
} Case;
typedef struct Check {
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
    CuPtr         *slots;
    Tensor         inputs[TENSORS_MAX], state[TENSORS_MAX];        /* as the device gets them */
    Tensor         given_inputs[TENSORS_MAX], wanted[TENSORS_MAX]; /* as the interpreter does */
    NamedTensor    before[TENSORS_MAX], after[TENSORS_MAX];        /* likewise: state */
    uint32_t       inputs_count, outputs_count, state_count;
    Dtype          real;  /* of the state on the device; NIL: that of the oracle */
    double         worst; /* difference, over what is allowed */
} Check;

static bool said(Check *c, const char *what, const World *world) {
    String text = text_diags(c->arena, world, &world->diags);
    printf("\n  %s %.*s\n", what, STR_ARGS(text));
    return EXPECT(false);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void fill(Check *c, Tensor *x, String name, double scale) {
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
/* The same numbers for the device: x in its dtype, and x rounded to that. */
static Tensor narrowed(Check *c, Tensor *x, Dtype dtype) {
    Tensor  y = *x;
    int64_t from = dtype_bytes(x->dtype), to = dtype_bytes(dtype);
    y.dtype = dtype;
    y.data = arena_push_zero(c->arena, tensor_bytes(&y) + 64, 64);
    for (int64_t i = 0; i < tensor_elements(x); i++) {
        char *at = (char *)x->data + i * from, *near = (char *)y.data + i * to;
        (void)const_encode(dtype, const_decode(x->dtype, at), near);
        (void)const_encode(x->dtype, const_decode(dtype, near), at);
    }
    return y;
}
static Tensor copied(Check *c, const Tensor *x) {
    Tensor y = *x;
    y.data = arena_push(c->arena, tensor_bytes(x) + 64, 64);
    memcpy(y.data, x->data, tensor_bytes(x));
    return y;
}
static void make_state(Check *c, uint32_t row, const int64_t *dims) {
    World          *world = c->plain;
    const uint64_t *words = op_attrs(world, &world->code, (OpId){row});
    uint32_t        at = c->state_count++;
    NamedTensor    *before = &c->before[at];
    String          name;
    double          scale = word_f64(words[ATTR_PARAMETER_scale]);
    before->name = (StrId){(uint32_t)words[ATTR_PARAMETER_name]};
    before->tensor = typed(world, (TypeId){(uint32_t)words[ATTR_PARAMETER_type]}, dims);
    name = strings_get(&world->strings, before->name);
    fill(c, &before->tensor, name, scale > 0 ? scale : 0.5);
    if (words[ATTR_PARAMETER_init] == INIT_ONES) /* variances must be positive */
        for (int64_t i = 0; i < tensor_elements(&before->tensor); i++)
            device_store(before->tensor.dtype, before->tensor.data, (uint64_t)i, 1.25);
    if (str_starts(name, STR("optimizer.")))
        memset(before->tensor.data, 0, tensor_bytes(&before->tensor));
    bool real = dtype_is_float(before->tensor.dtype);
    c->state[at] =
        narrowed(c, &before->tensor, real && c->real != DTYPE_NIL ? c->real : before->tensor.dtype);
    c->after[at] = (NamedTensor){before->name, copied(c, &before->tensor)};
}
static bool make_tensors(Check *c) {
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
        ValueId arg = {code->blocks.args_first[block.row].row + i}, same = arg;
        Tensor *x = &c->given_inputs[i];
        *x = typed(world, value_type(world, arg), dims);
        fill(c, x, strings_get(&world->strings, code->values.name[arg.row]), 1);
        same.row =
            c->world->code.blocks.args_first[c->world->code.graphs.block[c->graph.row].row].row + i;
        c->inputs[i] = narrowed(c, x, type_dtype(&c->world->types, value_type(c->world, same)));
    }
    for (uint32_t row = code->blocks.op_first[block.row]; row < code->blocks.op_last[block.row];
         row++)
        if (code->ops.opcode[row] == OP_PARAMETER && EXPECT(c->state_count < TENSORS_MAX))
            make_state(c, row, dims);
    return true;
}

/* --- both sides ------------------------------------------------------------------------------- */

static bool interpret(Check *c) {
    static const SystemKind steps[] = {SYSTEM_verify, SYSTEM_infer, SYSTEM_differentiate,
                                       SYSTEM_expand};
    Runner                  runner;
    bool                    good = true;
    runner_open(&runner, c->plain, NULL);
    for (size_t i = 0; i < LENGTH(steps) && good; i++) good = runner_run(&runner, steps[i]);
    runner_close(&runner);
    if (!good) return said(c, "expanding:", c->plain);
    if (!make_tensors(c)) return false;
    Status status = interp_run(c->arena, c->plain, c->graph, c->given_inputs, c->inputs_count,
                               c->after, c->state_count, c->wanted, &c->plain->diags);
    if (c->given->stops) return EXPECT_EQ(status, STATUS_INVALID);
    return status == STATUS_OK || said(c, "interpreting:", c->plain);
}

static bool compile(Check *c, const Target *target, GpuCache *cache) {
    Diags *diags = &c->world->diags;
    runner_open(&c->runner, c->world, target);
    if (!runner_compile(&c->runner)) return said(c, "compiling:", c->world);
    if (gpu_emit_compile(c->arena, c->d->libs, cache, c->d->gpu->info.arch, &c->runner.loops, NULL,
                         diags, &c->module) != STATUS_OK ||
        gpu_emit_load(c->module, c->d->gpu, diags) != STATUS_OK)
        return said(c, "emitting:", c->world);
    c->plan = plan_open(c->world, &c->runner.loops, c->graph);
    if (!bind_dims(c->world, c->graph, c->inputs, c->inputs_count, c->plan->dim_values, diags) ||
        !runner_plan(&c->runner, c->plan))
        return said(c, "planning:", c->world);
    if (gpu_bind(c->arena, c->plan, c->module, c->kit, diags, &c->gpu) != STATUS_OK)
        return said(c, "binding:", c->world);
    return true;
}

static uint32_t state_of(const Check *c, uint32_t slot) {
    String name = strings_get(&c->world->strings, c->plan->slots.name[slot]);
    for (uint32_t i = 0; i < c->state_count; i++)
        if (str_same(name, strings_get(&c->plain->strings, c->before[i].name))) return i;
    ASSERT(false);
    return 0;
}
/* What a slot holds before a run: NULL: poison. */
static const void *contents_of(const Check *c, uint32_t slot) {
    const Slots *slots = &c->plan->slots;
    if (slots->kind[slot] == SLOT_INPUT) return c->inputs[slots->index[slot]].data;
    if (slots->kind[slot] == SLOT_PARAMETER) return c->state[state_of(c, slot)].data;
    if (slots->kind[slot] == SLOT_CONSTANT)
        return consts_bytes(&c->world->consts, (ConstId){slots->index[slot]});
    return NULL;
}

static bool near(Check *c, String what, const Tensor *got, const Tensor *want) {
    double  scale = 0, rel = c->given->rel;
    int64_t got_bytes = dtype_bytes(got->dtype), want_bytes = dtype_bytes(want->dtype);
    for (int64_t i = 0; i < tensor_elements(want); i++)
        scale = fmax(scale, fabs(const_decode(want->dtype, (char *)want->data + i * want_bytes)));
    if (rel == 0) rel = got->dtype == DTYPE_F64 ? 1e-11 : got->dtype == DTYPE_F32 ? 1e-5 : 0.02;
    if (!dtype_is_float(want->dtype)) rel = 0;
    for (int64_t i = 0; i < tensor_elements(want); i++) {
        double a = const_decode(got->dtype, (char *)got->data + i * got_bytes);
        double b = const_decode(want->dtype, (char *)want->data + i * want_bytes);
        if (rel > 0 && scale > 0) c->worst = fmax(c->worst, fabs(a - b) / (rel * scale));
        if (fabs(a - b) <= rel * scale) continue;
        printf("\n  %.*s, element %lld of %lld: %.9g, wanted %.9g\n", STR_ARGS(what), (long long)i,
               (long long)tensor_elements(want), a, b);
        return EXPECT(false);
    }
    return true;
}

/* One run from fresh memory; all that it left comes back to host[slot]. */
static bool run_once(Check *c, void **host) {
    Device      *d = c->d;
    const Slots *slots = &c->plan->slots;
    uint32_t     failed = 0;
    bool ok = device_ok(d, gpu_fill(d->stream, c->slots[0], 0xFF, c->plan->arena_bytes, &d->diags));
    for (uint32_t row = 1; row < slots->table.count && ok; row++) {
        const void *from = contents_of(c, row);
        ok = device_ok(
            d, from ? gpu_copy_in(d->stream, c->slots[row], from, slots->bytes[row], &d->diags)
                    : gpu_fill(d->stream, c->slots[row], 0xFF, slots->bytes[row], &d->diags));
    }
    ok = ok && device_ok(d, gpu_run(c->gpu, c->slots, d->stream, &d->diags)) &&
         device_ok(d, gpu_run_failed(c->gpu, d->stream, &d->diags, &failed));
    for (uint32_t row = 1; row < slots->table.count && ok; row++)
        ok = device_ok(
            d, gpu_copy_out(d->stream, host[row], c->slots[row], slots->bytes[row], &d->diags));
    return ok && device_ok(d, gpu_stream_sync(d->stream, &d->diags)) &&
           EXPECT_EQ(failed != 0, c->given->stops);
}

static bool compare(Check *c, void **host) {
    const Slots *slots = &c->plan->slots;
    bool         ok = true;
    for (uint32_t row = 1; row < slots->table.count && ok; row++) {
        String name = strings_get(&c->world->strings, slots->name[row]);
        bool   output = slots->kind[row] == SLOT_OUTPUT;
        if ((!output && slots->kind[row] != SLOT_PARAMETER) || (output && c->given->stops))
            continue;
        uint32_t      i = output ? slots->index[row] : state_of(c, row);
        const Tensor *want = output            ? &c->wanted[i]
                             : c->given->stops ? &c->before[i].tensor
                                               : &c->after[i].tensor;
        Tensor        got = *want;
        got.dtype = type_dtype(&c->world->types, value_type(c->world, slots->value[row]));
        got.data = host[row];
        ok = near(c, name, &got, want);
    }
    return ok;
}

static bool run_all(Check *c) {
    uint32_t count = c->plan->slots.table.count;
    void   **host[RUNS];
    bool     ok = true;
    c->slots = ARENA_ARRAY_ZERO(c->arena, CuPtr, count);
    for (uint32_t row = 0; row < count && ok; row++) {
        uint64_t bytes = row == 0 ? c->plan->arena_bytes : c->plan->slots.bytes[row];
        ok = device_ok(c->d,
                       gpu_push(&c->d->memory, bytes + 256, 256, &c->d->diags, &c->slots[row]));
    }
    for (int run = 0; run < RUNS && ok; run++) {
        host[run] = ARENA_ARRAY(c->arena, void *, count);
        for (uint32_t row = 1; row < count; row++)
            host[run][row] = arena_push_zero(c->arena, c->plan->slots.bytes[row] + 64, 64);
        ok = run_once(c, host[run]) && compare(c, host[run]);
        for (uint32_t row = 1; row < count && ok && run > 0 && !c->given->stops; row++)
            ok = EXPECT(memcmp(host[0][row], host[run][row], c->plan->slots.bytes[row]) == 0);
        if (!ok) printf("\n  in run %d\n", run);
    }
    return ok;
}

/* world: fresh; it stays the caller's. oracle: the same program in float64, or world again. */
static bool check(Device *d, Arena *arena, World *world, World *oracle, Dtype real,
                  const Case *given) {
    Check        *c = ARENA_NEW(arena, Check);
    GpuCache      cache = gpu_cache_open(arena, STR(""));
    Target        target;
    GpuKitOptions options = {.cache = &cache, .tune = true};
    uint64_t      used = d->memory.used;
    *c = (Check){.d = d, .arena = arena, .given = given, .graph = {1}, .real = real};
    c->plain = world_clone(oracle);
    c->world = world_clone(world);
    if (given->graph != NULL)
        c->graph =
            code_find_graph(&world->code, strings_find(&world->strings, str_of(given->graph)));
    bool ok = device_ok(d, gpu_kit_open(arena, d->gpu, &options, &d->diags, &c->kit));
    gpu_describe(&target, ok && gpu_kit_attends(c->kit));
    ok = ok && interpret(c) && compile(c, &target, &cache) && run_all(c);
    if (c->gpu != NULL) {
        GpuPlanStats stats = gpu_plan_stats(c->gpu);
        EXPECT(!ok || stats.graphs == 1);
        printf(" (%u launches, %u nodes, %u products, %u attentions, %.2f of the tolerance)",
               stats.launches, stats.nodes, stats.products, stats.attentions, c->worst);
    }
    gpu_plan_close(c->gpu);
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
        (void)check(&d, arena, world, world, DTYPE_NIL, given);
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
TEST(gpu_asserts_that_hold_let_the_step_pass) {
    check_text(arena,
               "graph f(%x: f64[B], %t: bool[B]) {\n"
               "  %p = parameter {name=\"p\", type=f64[4]}\n  %q = add %p, %p\n"
               "  assert %t\n  %y = mul %x, %x\n  assert %t\n  assign %p, %q\n  return %y\n}\n",
               &(Case){.sizes = {{"B", 300}}});
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

/* --- models ----------------------------------------------------------------------------------- */

static bool build_model(StoaContext *context, bool gpt, StoaDtype dtype, StoaOptimizerKind kind,
                        StoaProgram **out_program) {
    if (!EXPECT(stoa_program_create(context, out_program) == STOA_OK)) return false;
    if (gpt) {
        GptConfig config = model_gpt_preset();
        config.dtype = dtype;
        config.vocab = 65;
        config.layers = 2;
        config.context = 64;
        config.optimizer.kind = kind;
        return EXPECT(model_gpt_build(*out_program, &config) == STOA_OK);
    }
    LenetConfig config = model_lenet_preset();
    config.dtype = dtype;
    config.optimizer.kind = kind;
    return EXPECT(model_lenet_build(*out_program, &config) == STOA_OK);
}
static void check_model(Arena *arena, bool gpt, StoaDtype dtype, StoaOptimizerKind kind,
                        const Case *given) {
    StoaContext *context = NULL;
    StoaProgram *program = NULL, *oracle = NULL;
    DEVICE(d);
    if (!EXPECT(stoa_context_create(NULL, &context) == STOA_OK)) return;
    if (build_model(context, gpt, dtype, kind, &program) &&
        build_model(context, gpt, STOA_F64, kind, &oracle))
        (void)check(&d, arena, program->world, oracle->world, (Dtype)dtype, given);
    stoa_program_destroy(program);
    stoa_program_destroy(oracle);
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
TEST(gpu_step_of_lenet_float32) { check_model(arena, false, STOA_F32, STOA_SGD, &lenet_case); }
TEST(gpu_step_of_lenet_float64) { check_model(arena, false, STOA_F64, STOA_SGD, &lenet_case); }
