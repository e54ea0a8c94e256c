/* The loops. Each works on a run of memory in blocks of LINES cache lines and never calls out, so
 * what limits it is the level of memory that the footprint fits in. Sums are kept so that no
 * compiler can leave a read out. */
#include "bench/roof.h"

#include <math.h>
#include <stdio.h>

#include "arena/os.h"
#include "bench/bench.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { BLOCK = 512, HUGE_PAGE = 1 << 21, SAMPLE_NS = 60000, FMA_ROUNDS = 4000 };

/* bytes: multiples of BLOCK. quarters: walk the four quarters of the run together, which keeps more
 * requests to memory under way than one walk does, and costs where four are too many. */
typedef struct Loops {
    uint32_t (*read)(const uint8_t *from, size_t bytes, bool quarters);
    void (*copy)(uint8_t *into, const uint8_t *from, size_t bytes, bool quarters);
    void (*stream)(uint8_t *into, const uint8_t *from, size_t bytes, bool quarters);
    float (*multiply_add)(uint32_t rounds, float x);
    double flops; /* of a round */
} Loops;

/* --- plain C ---------------------------------------------------------------------------------- */

static uint32_t read_plain(const uint8_t *from, size_t bytes, bool quarters) {
    const uint32_t *words = (const void *)from;
    uint32_t        sum = 0;
    (void)quarters;
    for (size_t i = 0; i < bytes / 4; i++) sum |= words[i];
    return sum;
}
static void copy_plain(uint8_t *into, const uint8_t *from, size_t bytes, bool quarters) {
    (void)quarters;
    memcpy(into, from, bytes);
}
enum { PLAIN_CHAINS = 32 };
static float multiply_add_plain(uint32_t rounds, float x) {
    float sums[PLAIN_CHAINS] = {0}, sum = 0;
    for (uint32_t i = 0; i < rounds; i++)
        for (uint32_t k = 0; k < PLAIN_CHAINS; k++) sums[k] = sums[k] * x + x;
    for (uint32_t k = 0; k < PLAIN_CHAINS; k++) sum += sums[k];
    return sum;
}
static const Loops plain = {read_plain, copy_plain, copy_plain, multiply_add_plain,
                            2 * PLAIN_CHAINS};

/* --- vectors ---------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* One instruction set: V, its loads, stores and multiply-add, CHAINS registers of sums. Ten chains
 * hide four or five cycles of latency on two units. Each turn takes four vectors, `gap` apart. */
#define WALK(I)                                                                                    \
    const size_t turns = bytes / (4 * sizeof(I)), gap = quarters ? turns : 1,                      \
                 step = quarters ? 1 : 4
#define VECTOR_COPY(NAME, TARGET, I, LOAD, STORE)                                                  \
    __attribute__((target(TARGET))) static void NAME(uint8_t *into, const uint8_t *from,           \
                                                     size_t bytes, bool quarters) {                \
        const I *at = (const void *)from;                                                          \
        I       *to = (void *)into;                                                                \
        WALK(I);                                                                                   \
        for (size_t i = 0; i < turns; i++, at += step, to += step) {                               \
            I a = LOAD(at), b = LOAD(at + gap), c = LOAD(at + 2 * gap), d = LOAD(at + 3 * gap);    \
            STORE(to, a), STORE(to + gap, b), STORE(to + 2 * gap, c), STORE(to + 3 * gap, d);      \
        }                                                                                          \
        _mm_sfence(); /* of non-temporal stores */                                                 \
    }
#define VECTOR_LOOPS(ISA, TARGET, V, I, LOAD, STORE, STREAM, OR, ZERO, FMA, SET, CHAINS)           \
    VECTOR_COPY(copy_##ISA, TARGET, I, LOAD, STORE)                                                \
    VECTOR_COPY(stream_##ISA, TARGET, I, LOAD, STREAM)                                             \
    __attribute__((target(TARGET))) static uint32_t read_##ISA(const uint8_t *from, size_t bytes,  \
                                                               bool quarters) {                    \
        const I *at = (const void *)from;                                                          \
        I        a = ZERO(), b = a, c = a, d = a;                                                  \
        uint32_t words[sizeof(I) / 4];                                                             \
        WALK(I);                                                                                   \
        for (size_t i = 0; i < turns; i++, at += step) {                                           \
            a = OR(a, LOAD(at)), b = OR(b, LOAD(at + gap));                                        \
            c = OR(c, LOAD(at + 2 * gap)), d = OR(d, LOAD(at + 3 * gap));                          \
        }                                                                                          \
        a = OR(OR(a, b), OR(c, d));                                                                \
        memcpy(words, &a, sizeof words);                                                           \
        return words[0] | words[1];                                                                \
    }                                                                                              \
    __attribute__((target(TARGET))) static float multiply_add_##ISA(uint32_t rounds, float x) {    \
        V     sums[CHAINS], factor = SET(x);                                                       \
        float words[sizeof(V) / 4], sum = 0;                                                       \
        for (int k = 0; k < CHAINS; k++) sums[k] = factor;                                         \
        for (uint32_t i = 0; i < rounds; i++) {                                                    \
            _Pragma("GCC unroll 16") for (int k = 0; k < CHAINS; k++) sums[k] =                    \
                FMA(sums[k], factor, factor);                                                      \
        }                                                                                          \
        for (int k = 0; k < CHAINS; k++) {                                                         \
            memcpy(words, &sums[k], sizeof words);                                                 \
            sum += words[0];                                                                       \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static const Loops ISA = {read_##ISA, copy_##ISA, stream_##ISA, multiply_add_##ISA,            \
                              2.0 * CHAINS * sizeof(V) / 4};
VECTOR_LOOPS(avx2, "avx2,fma", __m256, __m256i, _mm256_load_si256, _mm256_store_si256,
             _mm256_stream_si256, _mm256_or_si256, _mm256_setzero_si256, _mm256_fmadd_ps,
             _mm256_set1_ps, 10)
VECTOR_LOOPS(avx512, "avx512f", __m512, __m512i, _mm512_load_si512, _mm512_store_si512,
             _mm512_stream_si512, _mm512_or_si512, _mm512_setzero_si512, _mm512_fmadd_ps,
             _mm512_set1_ps, 10)
#endif

static const Loops *loops(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
#endif
    return &plain;
}

/* --- lanes ------------------------------------------------------------------------------------ */

typedef enum Task {
    TOUCH,
    READ,
    READ_QUARTERS,
    COPY,
    COPY_QUARTERS,
    STREAM,
    STREAM_QUARTERS,
    MULTIPLY_ADD
} Task;
typedef struct Work {
    const Roof *roof;
    Task        task;
    size_t      bytes;  /* of the footprint */
    uint32_t    passes; /* over it */
    BenchTimes  times;  /* lane 0's, between two meetings: waking lanes is not what is measured */
} Work;

static _Atomic uint32_t kept; /* results go here, so that they are needed */

static void lane_work(void *context, uint32_t lane, uint32_t lanes) {
    Work        *work = context;
    const Loops *run = loops();
    size_t       first, last, half = work->bytes / 2;
    uint32_t     sum = 0;
    Task         task = work->task;
    bool         halves = task >= COPY && task <= STREAM_QUARTERS;
    bool quarters = task == READ_QUARTERS || task == COPY_QUARTERS || task == STREAM_QUARTERS;
    workers_split(halves ? half : work->bytes, BLOCK, lane, lanes, &first, &last);
    uint8_t *at = work->roof->memory + first;
    workers_barrier(work->roof->workers);
    if (lane == 0) bench_begin(&work->times);
    for (uint32_t pass = 0; pass < work->passes; pass++) {
        if (task == TOUCH)
            memset(at, 0, last - first);
        else if (task == MULTIPLY_ADD)
            sum += run->multiply_add(FMA_ROUNDS, 0.5f) > 2;
        else if (!halves)
            sum |= run->read(at, last - first, quarters);
        else
            (task < STREAM ? run->copy : run->stream)(at + half, at, last - first, quarters);
        __asm__ volatile("" ::: "memory"); /* passes stay apart */
    }
    workers_barrier(work->roof->workers);
    if (lane == 0) bench_end(&work->times);
    kept += sum;
}

static double work_ns(const Roof *roof, Task task, size_t bytes, uint32_t passes) {
    Work work = {.roof = roof, .task = task, .bytes = bytes, .passes = passes};
    workers_run(roof->workers, lane_work, &work);
    return (double)(roof->lanes == 1 ? work.times.cpu_ns[0] : work.times.wall_ns[0]);
}
/* Nanoseconds of a pass. The passes that fit a sample are found by trying, which also warms up. */
static double pass_ns(const Roof *roof, Task task, size_t bytes) {
    uint32_t passes = 1;
    for (;;) {
        double ns = work_ns(roof, task, bytes, passes);
        if (ns >= SAMPLE_NS / 2 && passes > 1) return ns / passes;
        if (ns >= SAMPLE_NS) return work_ns(roof, task, bytes, passes) / passes;
        double more = SAMPLE_NS / (ns + 1);
        passes *= more < 2 ? 2 : more > 64 ? 64 : (uint32_t)more;
    }
}

static double better_ns(const Roof *roof, Task task, size_t bytes) {
    return fmin(pass_ns(roof, task, bytes), pass_ns(roof, task + 1, bytes)); /* ORDER Task */
}

/* --- public ----------------------------------------------------------------------------------- */

bool roof_open(Roof *roof, uint32_t lanes, size_t bytes_max) {
    ArenaGuard guard;
    Arena     *arena = arena_open("roof", bytes_max + 2 * HUGE_PAGE, 0);
    *roof = (Roof){.arena = arena, .lanes = lanes, .bytes_max = bytes_max};
    bool good = arena != NULL && ARENA_GUARD(&guard);
    if (good) {
        good = workers_open(arena, lanes, true, &roof->workers) == STATUS_OK;
        roof->memory = arena_push(arena, bytes_max, HUGE_PAGE);
        os_advise_huge(roof->memory, bytes_max); /* as large blocks of tensors are */
        arena_guard_end(&guard);
    }
    if (good)
        (void)work_ns(roof, TOUCH, bytes_max, 1);
    else
        (void)fprintf(stderr, "no memory to measure what the machine can do\n");
    return good;
}
void roof_close(Roof *roof) {
    workers_close(roof->workers);
    arena_close(roof->arena);
}

RoofSample roof_sample(const Roof *roof, size_t bytes) {
    RoofSample sample;
    bytes = bytes / (2 * BLOCK) * (2 * BLOCK); /* both halves are blocks */
    if (bytes < 2 * BLOCK * (size_t)roof->lanes) bytes = 2 * BLOCK * (size_t)roof->lanes;
    if (bytes > roof->bytes_max) bytes = roof->bytes_max;
    double half = (double)bytes / 2;
    sample.read_ns = better_ns(roof, READ, bytes) / (double)bytes;
    sample.copy_ns = better_ns(roof, COPY, bytes) / half;
    sample.stream_ns = better_ns(roof, STREAM, bytes) / half;
    if (sample.stream_ns < sample.copy_ns) sample.copy_ns = sample.stream_ns;
    sample.flop_ns =
        pass_ns(roof, MULTIPLY_ADD, bytes) / (loops()->flops * FMA_ROUNDS * roof->lanes);
    return sample;
}

double roof_bound_ns(const RoofSample *sample, double read_bytes, double written_bytes,
                     double flops) {
    double write_ns = sample->copy_ns - sample->read_ns;
    double memory = read_bytes * sample->read_ns + written_bytes * (write_ns > 0 ? write_ns : 0);
    return fmax(memory, flops * sample->flop_ns);
}
