/* Fused kernels on the device, whole programs of one graph: norms, softmax, activations with their
 * derivatives, losses, optimizers, sums of columns. A program is compiled for teams of threads,
 * planned at its sizes and replayed as one CUDA graph; bytes are those of its inputs and outputs,
 * each touched once. Lines that begin with # are the launches of a program, each timed alone.
 *
 * That the numbers are right is the matter of tests/compile/test_cuda.c. */
#include "bench/gpu_bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "gpu/emit.h"
#include "gpu/run.h"
#include "systems/runner.h"
#include "tables/bind.h"
#include "text/messages.h"
#include "text/parse.h"

enum { INPUTS_MAX = 8, LAUNCHES_MAX = 64, SLOTS_MAX = 64, SAMPLES = 15, RUNS = 20 };

typedef struct Program {
    const char *name;
    int64_t     rows; /* of the symbol N */
    const char *text;
} Program;
#define GRADIENT "  %t = mul %y, %dy\n  %q = reduce %t {kind=sum, axes=[0,1]}\n"
static const Program programs[] = {
    {"copy 16384x4096 bf16", 16384, "graph f(%x: bf16[N,4096]) {\n  %y = neg %x\n  return %y\n}\n"},
    {"rms_norm 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096], %w: bf16[4096]) {\n  %y = rms_norm %x, %w\n  return %y\n}\n"},
    {"rms_norm backward", 16384,
     "graph f(%x: bf16[N,4096], %w: bf16[4096], %dy: bf16[N,4096]) {\n"
     "  %y = rms_norm %x, %w\n" GRADIENT "  %dx, %dw = gradient %q, %x, %w\n"
     "  return %dx, %dw\n}\n"},
    {"layer_norm 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096], %w: bf16[4096], %b: bf16[4096]) {\n"
     "  %y = layer_norm %x, %w, %b\n  return %y\n}\n"},
    {"layer_norm backward", 16384,
     "graph f(%x: bf16[N,4096], %w: bf16[4096], %b: bf16[4096], %dy: bf16[N,4096]) {\n"
     "  %y = layer_norm %x, %w, %b\n" GRADIENT "  %dx, %dw, %db = gradient %q, %x, %w, %b\n"
     "  return %dx, %dw, %db\n}\n"},
    {"layer_norm backward 32768x768", 32768,
     "graph f(%x: bf16[N,768], %w: bf16[768], %b: bf16[768], %dy: bf16[N,768]) {\n"
     "  %y = layer_norm %x, %w, %b\n" GRADIENT "  %dx, %dw, %db = gradient %q, %x, %w, %b\n"
     "  return %dx, %dw, %db\n}\n"},
    {"layer_norm 32768x768 bf16", 32768,
     "graph f(%x: bf16[N,768], %w: bf16[768], %b: bf16[768]) {\n"
     "  %y = layer_norm %x, %w, %b\n  return %y\n}\n"},
    {"softmax 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096]) {\n  %y = softmax %x {axis=1}\n  return %y\n}\n"},
    {"softmax backward", 16384,
     "graph f(%x: bf16[N,4096], %dy: bf16[N,4096]) {\n  %y = softmax %x {axis=1}\n" GRADIENT
     "  %dx = gradient %q, %x\n  return %dx\n}\n"},
    {"log_softmax 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096]) {\n  %y = log_softmax %x {axis=1}\n  return %y\n}\n"},
    {"bias gelu 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096], %b: bf16[4096]) {\n"
     "  %c = broadcast_in_dim %b {shape=[N,4096], axes=[1]}\n  %z = add %x, %c\n"
     "  %y = gelu %z {tanh=true}\n  return %y\n}\n"},
    {"bias gelu backward", 16384,
     "graph f(%x: bf16[N,4096], %b: bf16[4096], %dy: bf16[N,4096]) {\n"
     "  %c = broadcast_in_dim %b {shape=[N,4096], axes=[1]}\n  %z = add %x, %c\n"
     "  %y = gelu %z {tanh=true}\n" GRADIENT "  %dx, %db = gradient %q, %x, %b\n"
     "  return %dx, %db\n}\n"},
    {"swiglu 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096], %g: bf16[N,4096]) {\n  %s = silu %g\n  %y = mul %s, %x\n"
     "  return %y\n}\n"},
    {"swiglu backward", 16384,
     "graph f(%x: bf16[N,4096], %g: bf16[N,4096], %dy: bf16[N,4096]) {\n  %s = silu %g\n"
     "  %y = mul %s, %x\n" GRADIENT "  %dx, %dg = gradient %q, %x, %g\n  return %dx, %dg\n}\n"},
    {"cross_entropy 8192x50304 bf16", 8192,
     "graph f(%x: bf16[N,50304], %l: i32[N]) {\n  %y = cross_entropy %x, %l\n  return %y\n}\n"},
    {"cross_entropy backward", 8192,
     "graph f(%x: bf16[N,50304], %l: i32[N], %dy: bf16[N]) {\n  %y = cross_entropy %x, %l\n"
     "  %t = mul %y, %dy\n  %q = reduce %t {kind=sum, axes=[0]}\n  %dx = gradient %q, %x\n"
     "  return %dx\n}\n"},
    {"column sum 16384x4096 bf16", 16384,
     "graph f(%x: bf16[N,4096]) {\n  %y = reduce %x {kind=sum, axes=[0]}\n  return %y\n}\n"},
    {"column sum 32768x768 bf16", 32768,
     "graph f(%x: bf16[N,768]) {\n  %y = reduce %x {kind=sum, axes=[0]}\n  return %y\n}\n"},
    {"column sum 32768x2304 bf16", 32768,
     "graph f(%x: bf16[N,2304]) {\n  %y = reduce %x {kind=sum, axes=[0]}\n  return %y\n}\n"},
    {"column sum 8192x6400 bf16", 8192,
     "graph f(%x: bf16[N,6400]) {\n  %y = reduce %x {kind=sum, axes=[0]}\n  return %y\n}\n"},
    {"column sum 8192x4800 bf16", 8192,
     "graph f(%x: bf16[N,4800]) {\n  %y = reduce %x {kind=sum, axes=[0]}\n  return %y\n}\n"},
    {"residual layer_norm backward 32768x768", 32768,
     "graph f(%x: f32[N,768], %w: f32[768], %b: f32[768], %dy: bf16[N,768], %r: f32[N,768]) {\n"
     "  %z = layer_norm %x, %w, %b\n  %y = convert %z {dtype=bf16}\n" GRADIENT
     "  %dx, %dw, %db = gradient %q, %x, %w, %b\n  %s = add %dx, %r\n"
     "  %n = convert %s {dtype=bf16}\n  %e = reduce %n {kind=sum, axes=[0]}\n"
     "  return %s, %n, %dw, %db, %e\n}\n"},
    {"residual layer_norm backward 8192x1600", 8192,
     "graph f(%x: f32[N,1600], %w: f32[1600], %b: f32[1600], %dy: bf16[N,1600],\n"
     "  %r: f32[N,1600]) {\n"
     "  %z = layer_norm %x, %w, %b\n  %y = convert %z {dtype=bf16}\n" GRADIENT
     "  %dx, %dw, %db = gradient %q, %x, %w, %b\n  %s = add %dx, %r\n"
     "  %n = convert %s {dtype=bf16}\n  %e = reduce %n {kind=sum, axes=[0]}\n"
     "  return %s, %n, %dw, %db, %e\n}\n"},
    {"sum of squares 124M f32", 124000000,
     "graph f(%x: f32[N]) {\n  %s = square %x\n  %y = reduce %s {kind=sum, axes=[0]}\n"
     "  return %y\n}\n"},
    {"transpose 8192x8192 bf16", 8192,
     "graph f(%x: bf16[N,8192]) {\n  %t = transpose %x {permutation=[1,0]}\n  %y = neg %t\n"
     "  return %y\n}\n"},
    {"adamw 124M f32", 124000000,
     "graph f(%p: f32[N], %g: f32[N], %m: f32[N], %v: f32[N], %r: f32[], %t: f32[]) {\n"
     "  %q, %n, %w = adamw %p, %g, %m, %v, %r, %t {decay=0.1}\n  return %q, %n, %w\n}\n"},
    {NULL, 0, NULL},
};

/* Rows that are no multiple of anything, larger than the second-level cache together. %1$lld: the
 * columns. */
static const struct {
    const char *name, *text;
} odd_forms[] = {
    {"softmax", "graph f(%%x: bf16[N,%1$lld]) {\n  %%y = softmax %%x {axis=1}\n  return %%y\n}\n"},
    {"rms_norm", "graph f(%%x: bf16[N,%1$lld], %%w: bf16[%1$lld]) {\n"
                 "  %%y = rms_norm %%x, %%w\n  return %%y\n}\n"},
    {"softmax backward", "graph f(%%x: bf16[N,%1$lld], %%dy: bf16[N,%1$lld]) {\n"
                         "  %%y = softmax %%x {axis=1}\n  %%t = mul %%y, %%dy\n"
                         "  %%q = reduce %%t {kind=sum, axes=[0,1]}\n  %%dx = gradient %%q, %%x\n"
                         "  return %%dx\n}\n"},
    {"rms_norm backward",
     "graph f(%%x: bf16[N,%1$lld], %%w: bf16[%1$lld], %%dy: bf16[N,%1$lld]) {\n"
     "  %%y = rms_norm %%x, %%w\n  %%t = mul %%y, %%dy\n"
     "  %%q = reduce %%t {kind=sum, axes=[0,1]}\n  %%dx, %%dw = gradient %%q, %%x, %%w\n"
     "  return %%dx, %%dw\n}\n"},
};
static const int64_t odd_sizes[][2] = {{1000003, 33},  {65537, 1000}, {1000, 50257},
                                       {1000, 131072}, {7, 131072},   {1, 131072}};

typedef struct Compiled {
    GpuBench      *b;
    World         *world;
    Runner         runner;
    Plan          *plan;
    GpuEmitModule *module;
    GpuLaunch      launches[LAUNCHES_MAX];
    uint32_t       count;
    double         bytes;
    GpuGraph       graph;
} Compiled;

static void must(Compiled *c, bool good, const char *what) {
    if (good) return;
    String text = text_diags(c->b->arena, c->world, &c->world->diags);
    (void)fprintf(stderr, "%s: %.*s\n", what, (int)text.count, text.data);
    exit(1);
}
static void describe(Target *target) {
    Target whole; /* what is worth computing again depends on the machine */
    gpu_describe(&whole, false);
    *target = (Target){.name = "cuda",
                       .align = 256,
                       .compiles = true,
                       .threads = true,
                       .compiles_op = gpu_emit_supports,
                       .machine = whole.machine};
    for (int opcode = 0; opcode < OP_COUNT; opcode++) target->view_need[opcode] = VIEW_ANY;
}

/* --- memory ----------------------------------------------------------------------------------- */
static void take_inputs(Compiled *c, int64_t rows, Tensor *inputs, uint32_t count) {
    World       *world = c->world;
    const Types *types = &world->types;
    ValueId      first = world->code.blocks.args_first[world->code.graphs.block[1].row];
    for (uint32_t i = 0; i < count; i++) {
        TypeId type = value_type(world, (ValueId){first.row + i});
        inputs[i] = (Tensor){.dtype = type_dtype(types, type), .rank = type_rank(types, type)};
        for (uint32_t k = 0; k < inputs[i].rank; k++) {
            DimId dim = type_dims(types, type)[k];
            inputs[i].shape[k] =
                dims_is_const(&world->dims, dim) ? dims_const_value(&world->dims, dim) : rows;
        }
    }
}
static void take_slots(Compiled *c, CuPtr *bases) {
    const Slots *slots = &c->plan->slots;
    GpuBench    *b = c->b;
    bases[0] = gpu_bench_take(b, c->plan->arena_bytes + 1);
    for (uint32_t row = 1; row < slots->table.count; row++) {
        bases[row] = gpu_bench_take(b, slots->bytes[row] + 1);
        if (slots->kind[row] == SLOT_INPUT || slots->kind[row] == SLOT_OUTPUT)
            c->bytes += (double)slots->bytes[row];
        TypeId type = value_type(c->world, slots->value[row]);
        Dtype  dtype = type_dtype(&c->world->types, type);
        if (slots->kind[row] == SLOT_INPUT && dtype_is_float(dtype))
            gpu_bench_random(b, bases[row], dtype, slots->bytes[row] / dtype_bytes(dtype), 1);
        else
            gpu_bench_must(b, gpu_fill(b->stream, bases[row], 0, slots->bytes[row] + 1, &b->diags),
                           "fill");
        if (slots->kind[row] == SLOT_CONSTANT)
            gpu_bench_must(
                b,
                gpu_copy_in(b->stream, bases[row],
                            consts_bytes(&c->world->consts, (ConstId){slots->index[row]}),
                            slots->bytes[row], &b->diags),
                "constants");
    }
}

/* --- launches --------------------------------------------------------------------------------- */
static void bind_launch(Compiled *c, uint32_t launch, const CuPtr *bases) {
    const Plan      *plan = c->plan;
    const LaunchArg *args = launch_args(plan, launch);
    GpuBench        *b = c->b;
    KernelId         kernel = loops_of_op(plan->loops, plan->launches.op[launch]);
    const Loops     *loops = plan->loops;
    CuPtr            addresses[INPUTS_MAX * 4], work = 0;
    int64_t          params[16];
    uint32_t         count = 0;
    if (plan->launches.opcode[launch] != OP_FUSED || plan->launches.args_count[launch] > 32) {
        (void)fprintf(stderr, "%s is no kernel\n", op_infos[plan->launches.opcode[launch]].name);
        exit(1);
    }
    for (uint32_t i = 0; i < plan->launches.args_count[launch]; i++)
        addresses[i] = bases[args[i].slot] + args[i].offset;
    for (uint32_t i = 0; i < loops->kernels.params_count[kernel.row]; i++)
        params[i] =
            plan->dim_values[loops->params.world[loops->kernels.params_first[kernel.row] + i].row];
    uint64_t bytes = gpu_emit_work_bytes(c->module, kernel, params);
    if (bytes != 0) work = gpu_bench_take(b, bytes);
    gpu_bench_must(b,
                   gpu_emit_launches(c->module, kernel, params, addresses, work, b->arena,
                                     &b->diags, c->launches + c->count, &count),
                   "launches");
    c->count += count;
}
static Status run_graph(void *context, GpuStream stream, Diags *diags) {
    return gpu_graph_launch(&((Compiled *)context)->graph, stream, diags);
}
static void make_graph(Compiled *c) {
    GpuBench *b = c->b;
    GpuNode   nodes[LAUNCHES_MAX] = {{0}};
    for (uint32_t i = 0; i < c->count; i++)
        nodes[i] = (GpuNode){.kind = GPU_NODE_KERNEL, .launch = c->launches[i]};
    gpu_bench_must(b, gpu_graph_begin(b->gpu, &b->diags, &c->graph), "graph");
    gpu_bench_must(b, gpu_graph_add(&c->graph, b->arena, (GpuNodes){nodes, c->count}, &b->diags),
                   "graph");
    gpu_bench_must(b, gpu_graph_finish(&c->graph, &b->diags), "graph");
}
static void tell_launches(Compiled *c) {
    GpuBench *b = c->b;
    for (uint32_t i = 0; i < c->count && !b->bench.json; i++) {
        const GpuLaunch *l = &c->launches[i];
        float            ms = 0;
        for (uint32_t run = 0; run < RUNS + 2; run++) {
            if (run == 2)
                gpu_bench_must(b, gpu_event_record(b->start, b->stream, &b->diags), "event");
            gpu_bench_must(b, gpu_launch(b->stream, l, &b->diags), "launch");
        }
        gpu_bench_must(b, gpu_event_record(b->end, b->stream, &b->diags), "event");
        gpu_bench_must(b, gpu_event_sync(b->end, &b->diags), "event");
        gpu_bench_must(b, gpu_event_ms(b->start, b->end, &b->diags, &ms), "event");
        gpu_bench_note(b,
                       "#   %s: %u x %u threads, %u registers, %u B local, %u B shared: %.1f us\n",
                       l->kernel.name, l->grid[0], l->block[0], l->kernel.registers,
                       l->kernel.local_bytes, l->shared_bytes, (double)ms * 1e3 / RUNS);
    }
}

static void measure(GpuBench *b, const Program *program) {
    Compiled *c = ARENA_NEW(b->arena, Compiled);
    Target    target;
    Tensor    inputs[INPUTS_MAX];
    CuPtr     bases[SLOTS_MAX];
    uint64_t  used = b->memory.used;
    if (!bench_wants(&b->bench, program->name)) return;
    *c = (Compiled){.b = b, .world = world_open(0, 1 << 20)};
    describe(&target);
    must(c, text_parse(c->world, str_of(program->text), STR("program")), "parsing");
    runner_open(&c->runner, c->world, &target);
    must(c, runner_compile(&c->runner), "compiling");
    int64_t  rows = b->bench.smoke ? 64 : program->rows;
    uint32_t count = c->world->code.blocks.args_count[c->world->code.graphs.block[1].row];
    take_inputs(c, rows, inputs, count);
    c->plan = plan_open(c->world, &c->runner.loops, (GraphId){1});
    must(c, bind_dims(c->world, (GraphId){1}, inputs, count, c->plan->dim_values, &c->world->diags),
         "binding");
    must(c, runner_plan(&c->runner, c->plan), "planning");
    gpu_bench_must(b,
                   gpu_emit_compile(b->arena, b->libs, &b->cache, b->gpu->info.arch,
                                    &c->runner.loops, workers_lanes(b->workers), &b->diags,
                                    &c->module),
                   "emitting");
    gpu_emit_load(c->module, b->gpu);
    take_slots(c, bases);
    for (uint32_t i = 0; i < c->plan->launches.table.count; i++)
        if (c->plan->launches.opcode[i] != OP_NIL) bind_launch(c, i, bases);
    make_graph(c);
    (void)gpu_bench_time(b, program->name, SAMPLES, b->bench.smoke ? 1 : RUNS, run_graph, c, 0,
                         c->bytes, -1);
    tell_launches(c);
    gpu_graph_close(&c->graph);
    gpu_emit_unload(c->module);
    plan_close(c->plan);
    runner_close(&c->runner);
    world_close(c->world);
    gpu_release(&b->memory, used);
}

int main(int argc, char **argv) {
    static GpuBench          b;
    static const char *const sources[] = {NULL};
    int                      status = 0;
    if (!gpu_bench_open(&b, "gpu_kernels", sources, argc, argv, &status)) return status;
    for (const Program *program = programs; program->name != NULL; program++) measure(&b, program);
    for (size_t i = 0; i < LENGTH(odd_forms) * LENGTH(odd_sizes); i++) {
        const int64_t *size = odd_sizes[i % LENGTH(odd_sizes)];
        size_t         form = i / LENGTH(odd_sizes);
        long long      columns = (long long)size[1];
        String         name = str_format(b.arena, "odd %s %lldx%lld", odd_forms[form].name,
                                         (long long)size[0], columns);
        String         text = str_format(b.arena, odd_forms[form].text, columns);
        measure(&b, &(Program){name.data, size[0], text.data});
    }
    return gpu_bench_close(&b);
}
