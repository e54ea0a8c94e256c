/* A training step of a GPT as one plan on the device: time of the replayed graph, tokens and
 * floating-point operations a second, and the launches that take most of it.
 *
 * The size is the number of sequences of 1024 tokens (8); the model is GPT-2 124M in float32, with
 * products in bf16 (systems/narrow.c) and, apart from that, in tf32; then GPT-2 1.5B; and with
 * budgets of memory, in percent of what intermediates take without one, which are met by computing
 * again alone and with copies to the host (note 0013). What the step computes is
 * checked by tests/gpu/test_run_programs.c; here the loss must be near the logarithm of
 * the vocabulary and the gradient have a norm. Times of single launches are those of each alone, so
 * they add up to more than the step. */
#include "bench/gpu_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/program.h"
#include "arena/os.h"
#include "gpu/run.h"
#include "models/gpt.h"
#include "systems/fit.h"
#include "tables/bind.h"
#include "text/profile.h"

enum { SLOWEST = 32, INPUTS = 8, HISTORY = 16, OFFLOAD_GIB = 64 };

typedef struct Case {
    const char *name;
    Dtype       narrow;
    Narrow8     narrow8;
    bool        large;
    uint64_t    percent; /* of the arena that there would be without a budget; 0: no budget */
    bool        copies;  /* values may go to the host */
} Case;
typedef struct Step {
    GpuBench      *b;
    World         *world;
    Runner         runner;
    GpuEmitModule *module;
    GpuKit        *kit;
    Plan          *plan;
    GpuPlan       *gpu;
    CuPtr         *slots;
    const Case    *given;
    Tensor         inputs[INPUTS];
    uint32_t       vocab;
} Step;

static void must(Step *s, bool good, const char *what) {
    gpu_bench_must(s->b, good ? STATUS_OK : STATUS_INVALID, what);
}

static void open_runner(Step *s, StoaProgram *program, const Target *target, uint64_t budget) {
    s->world = world_clone(program->world);
    runner_open(&s->runner, s->world, target);
    s->runner.ctx.narrow = s->given->narrow;
    s->runner.ctx.narrow8 = s->given->narrow8;
    s->runner.ctx.keeps = true;
    s->runner.ctx.budget = budget;
    s->runner.ctx.offload = s->given->copies ? (uint64_t)OFFLOAD_GIB << 30 : 0;
    must(s, runner_compile(&s->runner), "compiling");
}
/* Bytes of intermediates at typical sizes, without a budget. */
static uint64_t arena_of(Step *s, StoaProgram *program, const Target *target) {
    open_runner(s, program, target, 0);
    GraphId graph =
        code_find_graph(&s->world->code, strings_find(&s->world->strings, STR("train")));
    Plan    *plan = fit_plan(&s->runner, graph, NULL, 0, true, &s->b->diags);
    uint64_t bytes = plan != NULL ? plan->arena_bytes : 0;
    must(s, plan != NULL, "planning");
    plan_close(plan);
    runner_close(&s->runner);
    world_close(s->world);
    return bytes;
}
static void compile(Step *s, StoaProgram *program, int64_t rows, int64_t length) {
    GpuBench     *b = s->b;
    GpuKitOptions options = {.cache = &b->cache,
                             .ahead = b->ahead,
                             .lanes = workers_lanes(b->workers),
                             .tf32 = true,
                             .tune = true};
    Target        target;
    gpu_bench_must(b, gpu_kit_open(b->arena, b->gpu, &options, &b->diags, &s->kit), "the kit");
    gpu_describe(&target, gpu_kit_has_cudnn(s->kit));
    uint64_t percent = s->given->percent;
    open_runner(s, program, &target, percent ? arena_of(s, program, &target) / 100 * percent : 0);
    GraphId graph =
        code_find_graph(&s->world->code, strings_find(&s->world->strings, STR("train")));
    gpu_bench_must(b,
                   gpu_emit_begin(b->arena, b->libs, &b->cache, b->gpu->info.arch, &s->runner.loops,
                                  workers_lanes(b->workers), &b->diags, &s->module),
                   "emitting");
    gpu_emit_load(s->module, b->gpu);
    s->inputs[0] = s->inputs[1] = (Tensor){DTYPE_I32, 2, {rows, length}, NULL};
    s->inputs[2] = s->inputs[3] = (Tensor){.dtype = DTYPE_F32};
    s->plan = plan_open(s->world, &s->runner.loops, graph);
    must(s, bind_dims(s->world, graph, s->inputs, 4, s->plan->dim_values, &b->diags), "sizes");
    must(s, runner_plan(&s->runner, s->plan), "planning");
    gpu_bench_must(b, gpu_bind(b->arena, s->plan, s->module, s->kit, &b->diags, &s->gpu),
                   "binding");
}

/* Tokens at random, rate and step; parameters as the model draws them, roughly;
 * copies of them are right from the second step on. */
static void fill(Step *s) {
    const Slots *slots = &s->plan->slots;
    GpuBench    *b = s->b;
    s->slots = ARENA_ARRAY_ZERO(b->arena, CuPtr, slots->table.count);
    s->slots[0] = gpu_bench_take(b, s->plan->arena_bytes + 256);
    for (uint32_t row = 1; row < slots->table.count; row++) {
        uint64_t bytes = slots->bytes[row];
        String   name = strings_get(&s->world->strings, slots->name[row]);
        if (slots->kind[row] == SLOT_HOST) continue; /* the kit has it */
        Dtype dtype = memchr(name.data, '@', name.count) ? DTYPE_BF16 : DTYPE_F32; /* keep.c */
        s->slots[row] = gpu_bench_take(b, bytes + 256);
        if (slots->kind[row] == SLOT_PARAMETER) {
            if (str_starts(name, STR("optimizer.")) || str_starts(name, STR("fp8.")))
                gpu_bench_must(b, gpu_fill(b->stream, s->slots[row], 0, bytes, &b->diags), "fill");
            else
                gpu_bench_random(b, s->slots[row], dtype, bytes / dtype_bytes(dtype), 0.02F);
            continue;
        }
        uint8_t *host = arena_push_zero(b->arena, bytes + 16, 16);
        if (slots->kind[row] == SLOT_CONSTANT)
            memcpy(host, consts_bytes(&s->world->consts, (ConstId){slots->index[row]}), bytes);
        for (uint64_t i = 0; slots->kind[row] == SLOT_INPUT && i < bytes / 4; i++) {
            uint32_t index = slots->index[row], token = (uint32_t)(i * 2654435761U) % s->vocab;
            float    number = index == 2 ? 1e-4F : 1;
            memcpy(host + i * 4, index < 2 ? (void *)&token : (void *)&number, 4);
        }
        gpu_bench_must(b, gpu_copy_in(b->stream, s->slots[row], host, bytes, &b->diags), "upload");
    }
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), "upload");
}

static Status run(void *context, GpuStream stream, Diags *diags) {
    Step *s = context;
    return gpu_run(s->gpu, s->slots, stream, diags);
}
static double output(Step *s, const char *name) {
    const Slots *slots = &s->plan->slots;
    for (uint32_t row = 1; row < slots->table.count; row++)
        if (slots->kind[row] == SLOT_OUTPUT &&
            str_same(strings_get(&s->world->strings, slots->name[row]), str_of(name)))
            return gpu_bench_number(DTYPE_F32, gpu_bench_read(s->b, s->slots[row], 4), 0);
    return (double)NAN;
}

/* Each launch alone. */
static void tell_slowest(Step *s) {
    uint32_t     rows = s->plan->launches.table.count;
    double      *us = ARENA_ARRAY_ZERO(s->b->arena, double, rows);
    ProfilePeaks peaks = {.gb_s = (double)s->b->gpu->info.bandwidth * 1e-9};
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++)
        peaks.gflop_s[dtype] = gpu_peak_gflop_s(&s->b->gpu->info, (Dtype)dtype, true);
    gpu_bench_must(s->b, gpu_plan_profile(s->gpu, s->slots, s->b->stream, 5, &s->b->diags, us),
                   "the profile");
    gpu_bench_note(s->b, "each launch alone; %s",
                   text_profile(s->b->arena, s->plan, us, &peaks, NULL, SLOWEST).data);
}

/* The first step: in the first case from the first library on, else from an open device. */
static void tell_startup(const Step *s, uint64_t begin_ns, uint64_t end_ns) {
    static bool  told;
    GpuStartup  *startup = s->b->libs->startup;
    GpuEmitStats emit = gpu_emit_stats(s->module);
    for (uint32_t i = 0; i < s->runner.runs_count; i++) {
        const SystemRun *run = &s->runner.runs[i];
        gpu_startup_add(startup, GPU_PART_TABLES, system_infos[run->kind].name, 0, run->begin_ns,
                        run->end_ns);
    }
    for (uint32_t i = 0; i < gpu_startup_count(startup) && !told; i++)
        if (startup->rows[i].begin_ns < begin_ns) begin_ns = startup->rows[i].begin_ns;
    gpu_bench_note(s->b,
                   "# %.2f s to the end of the first step; %u kernels, %u compiled, %u late\n",
                   (double)(end_ns - begin_ns) * 1e-9, emit.functions, emit.compiled, emit.late);
    gpu_bench_note(s->b, "%s", gpu_startup_text(s->b->arena, startup, begin_ns, end_ns).data);
    told = true;
}

/* One training step in an arithmetic: narrow, or f32 with products in tf32. 8-bit floats are scaled
 * by earlier steps: warming up fills the history. */
static void measure(GpuBench *b, const Case *c, const GptConfig *config, int64_t rows) {
    Step         s = {.b = b, .vocab = config->vocab, .given = c};
    StoaContext *context = NULL;
    StoaProgram *program = NULL;
    uint64_t     begin = os_clock_ns(), first;
    must(&s, stoa_context_create(NULL, &context) == STOA_OK, "a context");
    must(&s, stoa_program_create(context, &program) == STOA_OK, "a program");
    must(&s, model_gpt_build(program, config) == STOA_OK, "the model");
    compile(&s, program, rows, config->context);
    first = os_clock_ns();
    fill(&s);
    gpu_startup_end(b->libs->startup, GPU_PART_STATE, "", first);
    gpu_bench_must(b, run(&s, b->stream, &b->diags), "the first step");
    first = os_clock_ns();
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), "the first step");
    gpu_startup_end(b->libs->startup, GPU_PART_STEP, "", first);
    tell_startup(&s, begin, os_clock_ns());
    gpu_bench_must(b, run(&s, b->stream, &b->diags), "the second step, with the right copies");
    double loss = output(&s, "loss"), norm = output(&s, "norm"), wanted = log(config->vocab);
    gpu_bench_note(b, "# loss %.4f (log of the vocabulary %.4f), gradient norm %.4f\n", loss,
                   wanted, norm);
    must(&s, fabs(loss - wanted) < 0.5 && norm > 0 && norm < 1e6, "the loss of random weights");
    double tokens = (double)(rows * config->context);
    double parameters = (double)model_gpt_parameters(config);
    double flops =
        tokens * (6 * parameters + 6.0 * config->layers * config->width * config->context);
    GpuTimed     timed = gpu_bench_time(b, c->name, 10, 2, run, &s, flops, 0, 0);
    GpuPlanStats stats = gpu_plan_stats(s.gpu);
    bench_tell_number(&b->bench, "tokens", (uint64_t)tokens, tokens / timed.median_us * 1e6,
                      "tokens/s", 0);
    gpu_bench_note(
        b,
        "# %u launches, %u nodes, %u products, %u attentions, %.1f MB workspace, %.2f GB arena, "
        "%.2f GB on the host\n",
        stats.launches, stats.nodes, stats.products, stats.attentions,
        (double)stats.workspace_bytes / 1e6, (double)s.plan->arena_bytes / 1e9,
        (double)stats.host_bytes / 1e9);
    tell_slowest(&s);
    gpu_plan_close(s.gpu);
    gpu_emit_unload(s.module);
    plan_close(s.plan);
    runner_close(&s.runner);
    gpu_kit_close(s.kit);
    world_close(s.world);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

int main(int argc, char **argv) {
    GpuBench  b;
    int       status = 0;
    GptConfig config = model_gpt_preset();
    if (!gpu_bench_open(&b, "gpu_step", (const char *const[]){NULL}, argc, argv, &status))
        return status;
    int64_t rows = b.bench.size ? (int64_t)b.bench.size : b.bench.smoke ? 2 : 8;
    if (!b.bench.smoke) {
        config.vocab = 50304;
        config.context = 1024;
        config.layers = config.heads = 12;
        config.width = 768;
    }
    static const Case cases[] = {
        {"GPT step, bf16", DTYPE_BF16, {0}, false, 0, false},
        {"GPT step, fp8 by sizes", DTYPE_F8E4M3, {0, HISTORY, 0}, false, 0, false},
        {"GPT step, fp8 with the last layer",
         DTYPE_F8E4M3,
         {NARROW8_LAST, HISTORY, 0},
         false,
         0,
         false},
        {"GPT step, fp8 in all products", DTYPE_F8E4M3, {NARROW8_ALL, HISTORY, 0}, false, 0, false},
        {"GPT step, fp8 by current scales", DTYPE_F8E4M3, {0, 0, 0}, false, 0, false},
        {"GPT step, fp8 by blocks", DTYPE_F8E4M3, {0, 0, NARROW_BLOCK}, false, 0, false},
        {"GPT step, fp8 by blocks, the last layer too",
         DTYPE_F8E4M3,
         {NARROW8_LAST, 0, NARROW_BLOCK},
         false,
         0,
         false},
        {"GPT step, tf32", DTYPE_NIL, {0}, false, 0, false},
        {"GPT 1.5B step", DTYPE_BF16, {0}, true, 0, false},
        {"GPT 1.5B step, fp8", DTYPE_F8E4M3, {0, HISTORY, 0}, true, 0, false},
        {"GPT step, 80 % of the memory", DTYPE_BF16, {0}, false, 80, false},
        {"GPT step, 80 % with copies", DTYPE_BF16, {0}, false, 80, true},
        {"GPT step, 70 % of the memory", DTYPE_BF16, {0}, false, 70, false},
        {"GPT step, 70 % with copies", DTYPE_BF16, {0}, false, 70, true},
        {"GPT step, 50 % of the memory", DTYPE_BF16, {0}, false, 50, false},
        {"GPT step, 50 % with copies", DTYPE_BF16, {0}, false, 50, true},
        {"GPT 1.5B step, 75 % of the memory", DTYPE_BF16, {0}, true, 75, false},
        {"GPT 1.5B step, 75 % with copies", DTYPE_BF16, {0}, true, 75, true},
        {"GPT 1.5B step, 65 % of the memory", DTYPE_BF16, {0}, true, 65, false},
        {"GPT 1.5B step, 65 % with copies", DTYPE_BF16, {0}, true, 65, true}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        uint64_t  used = b.memory.used;
        GptConfig model = config;
        if (!bench_wants(&b.bench, cases[i].name) || (cases[i].large && b.bench.smoke)) continue;
        if (cases[i].large) model.layers = 48, model.heads = 25, model.width = 1600;
        model.likely_batch = (uint32_t)rows;
        model.likely_length = model.context;
        measure(&b, &cases[i], &model, rows);
        gpu_release(&b.memory, used);
    }
    return gpu_bench_close(&b);
}
