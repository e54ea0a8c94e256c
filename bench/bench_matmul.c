/* bench_matmul: how much of the arithmetic peak do matrix products, attention and the fused loss
 * reach, at the shapes of GPT training steps? Products of bf16 are told beside the same peak, that
 * of f32, which instructions for bf16 pass.
 *
 * Each case is a program of one or few rows, compiled and planned as any other. The peak is that
 * of a loop of independent multiply-adds, run by every lane between the samples of each case, so
 * both see the same neighbours. A number is operations over time: thread time of the caller on one
 * lane, wall clock on more; the best of the samples, because the machine is shared. What a causal
 * mask hides does not count as work. `size` is the number of lanes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "bench/bench.h"
#include "cpu/cpu.h"
#include "systems/runner.h"
#include "text/messages.h"
#include "text/parse.h"

typedef struct Suite {
    Bench    bench;
    Arena   *arena;
    Workers *workers;
    uint32_t lanes;
    Target   target;
} Suite;

/* --- the peak --------------------------------------------------------------------------------- */

enum { CHAINS = 12, ROUNDS = 20000 };
#if defined(__x86_64__)
#define STEP(i)  __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(c##i) : "v"(times), "v"(more));
#define EACH(S)  S(0) S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11)
#define START(i) V c##i = (V){0} + (x + (float)(i));
#define ADD(i)   x += c##i[0];
#define BURN(name, isa, bytes)                                                                     \
    __attribute__((target(isa), noinline)) static float name(float x) {                            \
        typedef float V __attribute__((vector_size(bytes)));                                       \
        V             times = (V){0} + 0.999f, more = (V){0} + 1e-3f;                              \
        EACH(START)                                                                                \
        for (int round = 0; round < ROUNDS; round++) { EACH(STEP) }                                \
        EACH(ADD)                                                                                  \
        return x;                                                                                  \
    }
BURN(burn_avx2, "avx2,fma", 32)
BURN(burn_avx512, "avx512f", 64)
static double burn(volatile float *sink) {
    bool wide = __builtin_cpu_supports("avx512f"), narrow = __builtin_cpu_supports("fma");
    if (!narrow) return 0;
    *sink = wide ? burn_avx512(*sink) : burn_avx2(*sink);
    return 2.0 * CHAINS * ROUNDS * (wide ? 16 : 8);
}
#else
static double burn(volatile float *sink) {
    (void)sink;
    return 0; /* shares are not told */
}
#endif

typedef struct Peak {
    double flops; /* of one lane */
} Peak;
static void burn_lane(void *context, uint32_t lane, uint32_t lanes) {
    volatile float sink = 0;
    double         flops = burn(&sink);
    (void)lanes;
    if (lane == 0) ((Peak *)context)->flops = flops;
}

/* --- cases ------------------------------------------------------------------------------------ */

typedef struct Case {
    World   *world;
    Runner   runner;
    Plan    *plan;
    CpuPlan *cpu;
    void   **slots;
} Case;

static _Noreturn void give_up(const Suite *s, const World *world, const char *source) {
    String told = world ? text_diags(s->arena, world, &world->diags) : STR("no memory");
    (void)fprintf(stderr, "bench_matmul: %.*s\n%s\n", (int)told.count, told.data, source);
    exit(1);
}
static void fill(void *data, uint64_t bytes, Dtype dtype) {
    uint32_t random = 1;
    for (uint64_t i = 0; i < bytes / 4; i++) {
        random = random * 1664525u + 1013904223u;
        if (dtype == DTYPE_F32)
            ((float *)data)[i] = (float)(random >> 8) * 0x1p-23f - 1.0f;
        else if (dtype == DTYPE_BF16) /* two of magnitudes from 2^-3 to 2 */
            ((uint32_t *)data)[i] = (random & 0x81ff81ffu) + 0x3e003e00u;
        else
            ((int32_t *)data)[i] = (int32_t)(random >> 8 & 63);
    }
}
static Case case_open(Suite *s, const char *source) {
    Case c = {.world = world_open(0, 1 << 12)};
    if (c.world == NULL || !text_parse(c.world, str_of(source), STR("case")))
        give_up(s, c.world, source);
    runner_open(&c.runner, c.world, &s->target);
    if (!runner_compile(&c.runner)) give_up(s, c.world, source);
    c.plan = plan_open(c.world, NULL, (GraphId){1});
    for (uint32_t row = 1; row < c.world->dims.rows.table.count; row++)
        if (c.world->dims.rows.kind[row] == DIM_CONST)
            c.plan->dim_values[row] = c.world->dims.rows.imm[row];
    if (c.plan == NULL || !runner_plan(&c.runner, c.plan) ||
        cpu_bind(c.plan->arena, c.plan, NULL, s->workers, &c.world->diags, &c.cpu) != STATUS_OK)
        give_up(s, c.world, source);
    uint32_t slots = c.plan->slots.table.count;
    c.slots = calloc(slots, sizeof *c.slots);
    for (uint32_t i = 0; i < slots && c.slots; i++) {
        uint64_t bytes = c.plan->slots.bytes[i] + 64;
        Dtype    dtype =
            i == 0 ? DTYPE_F32
                      : type_dtype(&c.world->types, value_type(c.world, c.plan->slots.value[i]));
        if (c.plan->slots.kind[i] == SLOT_CONSTANT) {
            c.slots[i] = (void *)(uintptr_t)consts_bytes(&c.world->consts,
                                                         (ConstId){c.plan->slots.index[i]});
            continue;
        }
        c.slots[i] = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
        if (c.slots[i] == NULL) give_up(s, NULL, source);
        fill(c.slots[i], bytes - 64, dtype);
    }
    return c;
}
static void case_close(Case *c) {
    for (uint32_t i = 0; i < c->plan->slots.table.count; i++)
        if (c->plan->slots.kind[i] != SLOT_CONSTANT) free(c->slots[i]);
    free(c->slots);
    plan_close(c->plan);
    runner_close(&c->runner);
    world_close(c->world);
}

static uint64_t clock_ns(const Suite *s) { return s->lanes == 1 ? bench_cpu_ns() : os_clock_ns(); }

static void measure(Suite *s, const char *name, double flops, const char *source) {
    if (!bench_wants(&s->bench, name)) return;
    Case     c = case_open(s, source);
    Peak     peak = {0};
    uint64_t best = UINT64_MAX, best_peak = UINT64_MAX, begin = os_clock_ns();
    uint32_t most = bench_samples(&s->bench, 400);
    for (uint32_t i = 0; i < most && (i < 5 || os_clock_ns() - begin < 600000000u); i++) {
        uint64_t start = clock_ns(s);
        workers_run(s->workers, burn_lane, &peak);
        uint64_t middle = clock_ns(s);
        if (cpu_run(c.cpu, c.slots, NULL, NULL) != 0) give_up(s, c.world, source);
        uint64_t end = clock_ns(s);
        if (end - middle < best) best = end - middle;
        if (middle - start < best_peak) best_peak = middle - start;
    }
    double rate = flops / (double)best, top = peak.flops * s->lanes / (double)best_peak;
    bench_tell_number(&s->bench, name, s->lanes, rate, "GFLOP/s", 0);
    if (top > 0) {
        char share[96];
        (void)snprintf(share, sizeof share, "%s, of peak", name);
        bench_tell_number(&s->bench, share, s->lanes, 100 * rate / top, "%", 0);
    }
    case_close(&c);
}

/* --- GPT -------------------------------------------------------------------------------------- */

typedef struct Model {
    const char *name;
    int         batch, length, width, heads, classes;
} Model;

enum { SOURCE_BYTES = 1024 };

static void linear_cases(Suite *s, const Model *m, const char *layer, int in, int out,
                         const char *dtype) {
    char   source[SOURCE_BYTES], name[64];
    int    tokens = m->batch * m->length;
    double flops = 2.0 * tokens * in * out;
    (void)snprintf(name, sizeof name, "%s %s forward %s", m->name, layer, dtype);
    (void)snprintf(source, sizeof source,
                   "graph f(%%x: %s[%d,%d], %%w: %s[%d,%d], %%b: %s[%d]) {\n"
                   "  %%y = linear %%x, %%w, %%b\n  return %%y\n}\n",
                   dtype, tokens, in, dtype, out, in, dtype, out);
    measure(s, name, flops, source);
    (void)snprintf(name, sizeof name, "%s %s data gradient %s", m->name, layer, dtype);
    (void)snprintf(source, sizeof source,
                   "graph f(%%d: %s[%d,%d], %%w: %s[%d,%d]) {\n"
                   "  %%y = dot_general %%d, %%w {x_contract=[1], y_contract=[0]}\n"
                   "  return %%y\n}\n",
                   dtype, tokens, out, dtype, out, in);
    measure(s, name, flops, source);
    (void)snprintf(name, sizeof name, "%s %s weight gradient %s", m->name, layer, dtype);
    (void)snprintf(source, sizeof source,
                   "graph f(%%d: %s[%d,%d], %%x: %s[%d,%d]) {\n"
                   "  %%y = dot_general %%d, %%x {x_contract=[0], y_contract=[0]}\n"
                   "  return %%y\n}\n",
                   dtype, tokens, out, dtype, tokens, in);
    measure(s, name, flops, source);
}

/* Heads of one qkv matrix, as a model has them; backward: the gradient in qkv, forward included. */
static void attention_cases(Suite *s, const Model *m) {
    char   source[2 * SOURCE_BYTES], name[64], parts[SOURCE_BYTES];
    int    at = 0, head = m->width / m->heads;
    double pairs = 0.5 * m->length * (m->length + 1.0) * m->batch * m->heads;
    for (int i = 0; i < 3; i++)
        at += snprintf(parts + at, sizeof parts - (size_t)at,
                       "  %%s%d = slice %%x {starts=[0,0,%d], limits=[%d,%d,%d]}\n"
                       "  %%r%d = reshape %%s%d {shape=[%d,%d,%d,%d]}\n"
                       "  %%p%d = transpose %%r%d {permutation=[0,2,1,3]}\n",
                       i, i * m->width, m->batch, m->length, (i + 1) * m->width, i, i, m->batch,
                       m->length, m->heads, head, i, i);
    (void)snprintf(name, sizeof name, "%s attention forward", m->name);
    (void)snprintf(source, sizeof source,
                   "graph f(%%x: f32[%d,%d,%d]) {\n%s"
                   "  %%y, %%l = attention %%p0, %%p1, %%p2 {causal=true}\n  return %%y\n}\n",
                   m->batch, m->length, 3 * m->width, parts);
    measure(s, name, pairs * head * 4, source);
    (void)snprintf(name, sizeof name, "%s attention both ways", m->name);
    (void)snprintf(source, sizeof source,
                   "graph f(%%x: f32[%d,%d,%d]) {\n%s"
                   "  %%y, %%l = attention %%p0, %%p1, %%p2 {causal=true}\n"
                   "  %%q = square %%y\n  %%s = reduce %%q {kind=sum, axes=[0,1,2,3]}\n"
                   "  %%g0, %%g1, %%g2 = gradient %%s, %%p0, %%p1, %%p2\n"
                   "  return %%g0, %%g1, %%g2\n}\n",
                   m->batch, m->length, 3 * m->width, parts);
    measure(s, name, pairs * head * 14, source);
}

static void loss_cases(Suite *s, const Model *m) {
    char   source[SOURCE_BYTES], name[64];
    int    tokens = m->batch * m->length;
    double flops = 2.0 * tokens * m->width * m->classes;
    (void)snprintf(name, sizeof name, "%s loss forward", m->name);
    (void)snprintf(source, sizeof source,
                   "graph f(%%x: f32[%d,%d], %%w: f32[%d,%d], %%i: i32[%d]) {\n"
                   "  %%z = linear %%x, %%w\n  %%l = cross_entropy %%z, %%i\n  return %%l\n}\n",
                   tokens, m->width, m->classes, m->width, tokens);
    measure(s, name, flops, source);
    (void)snprintf(name, sizeof name, "%s loss both ways", m->name);
    (void)snprintf(source, sizeof source,
                   "graph f(%%x: f32[%d,%d], %%w: f32[%d,%d], %%i: i32[%d]) {\n"
                   "  %%z = linear %%x, %%w\n  %%l = cross_entropy %%z, %%i\n"
                   "  %%s = mean %%l {axes=[0]}\n  %%gx, %%gw = gradient %%s, %%x, %%w\n"
                   "  return %%s, %%gx, %%gw\n}\n",
                   tokens, m->width, m->classes, m->width, tokens);
    measure(s, name, 3 * flops, source);
}

static void model_cases(Suite *s, const Model *m) {
    static const char *const dtypes[] = {"f32", "bf16"};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        linear_cases(s, m, "qkv", m->width, 3 * m->width, dtypes[i]);
        linear_cases(s, m, "proj", m->width, m->width, dtypes[i]);
        linear_cases(s, m, "fc1", m->width, 4 * m->width, dtypes[i]);
        linear_cases(s, m, "fc2", 4 * m->width, m->width, dtypes[i]);
        linear_cases(s, m, "head", m->width, m->classes, dtypes[i]);
    }
    attention_cases(s, m);
    loss_cases(s, m);
}

int main(int argc, char **argv) {
    static const Model models[] = {{"nano", 32, 128, 128, 4, 2048},
                                   {"10M", 16, 256, 384, 6, 8192},
                                   {"124M", 1, 1024, 768, 12, 50304}};
    static const Model tiny = {"tiny", 2, 20, 16, 2, 50};
    Suite              s = {.arena = arena_open("bench", (size_t)1 << 30, 0)};
    int                status = 0;
    if (!bench_open(&s.bench, "matmul", argc, argv, &status)) return status;
    cpu_describe(&s.target, false);
    Topology topology;
    topology_read(&topology);
    for (uint32_t lanes = 1; lanes <= topology.cores; lanes *= 2) {
        if (s.bench.size != 0 && s.bench.size != lanes) continue;
        s.lanes = lanes;
        if (workers_open(s.arena, lanes, true, &s.workers) != STATUS_OK) return 1;
        for (size_t i = 0; i < sizeof models / sizeof *models && !s.bench.smoke; i++)
            model_cases(&s, &models[i]);
        if (s.bench.smoke) model_cases(&s, &tiny);
        workers_close(s.workers);
    }
    arena_close(s.arena);
    return 0;
}
