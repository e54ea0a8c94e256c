/* The processor as the kernel compiler sees it: which levels it can run, what an emitter may use,
 * and a number that changes whenever LLVM could select other instructions.
 *
 * The number is made of the processor's own answers (cpuid, and the register sets that the system
 * saves), because the cache must be readable without LLVM, which alone knows names like
 * "znver5". Fixed levels have fixed numbers: their files serve every machine. */
#include "arena/hash.h"
#include "cpu/jit_inner.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdatomic.h>

static bool host_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}
static bool host_avx512(void) {
    return host_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
static bool host_f16c(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return host_avx2() && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

bool jit_level_runs(JitLevel level) {
    switch (level) {
    case JIT_AVX2: return host_avx2() && host_f16c();
    case JIT_AVX512: return host_avx512() && host_f16c();
    default: return true;
    }
}

/* Bytes of the last-level cache, by the leaf of the vendor; 0: it is not told. */
static uint64_t host_cache_bytes(void) {
    unsigned a = 0, b = 0, c = 0, d = 0, leaf = 4;
    uint64_t most = 0;
    if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 22 & 1)) leaf = 0x8000001D;
    for (unsigned i = 0; i < 8 && __get_cpuid_count(leaf, i, &a, &b, &c, &d) && (a & 31) != 0;
         i++) {
        uint64_t ways = (b >> 22) + 1, parts = (b >> 12 & 1023) + 1, line = (b & 4095) + 1;
        uint64_t bytes = ways * parts * line * ((uint64_t)c + 1);
        if ((a & 31) != 2 && bytes > most) most = bytes; /* 2: instructions */
    }
    return most;
}
/* Half of the last-level cache: what else a step touches has the other half. */
static uint64_t stream_bytes(bool host) {
    uint64_t bytes = host ? host_cache_bytes() : 0;
    return (bytes != 0 ? bytes : (uint64_t)16 << 20) / 2;
}

/* Asking takes a while on virtual machines: once a process. */
uint64_t jit_host_stream_bytes(void) {
    static _Atomic uint64_t known;
    uint64_t                bytes = atomic_load_explicit(&known, memory_order_relaxed);
    if (bytes != 0) return bytes;
    bytes = stream_bytes(true);
    atomic_store_explicit(&known, bytes, memory_order_relaxed);
    return bytes;
}

JitMachine jit_host_machine(JitLevel level) {
    bool host = level == JIT_HOST;
    bool avx512 = level == JIT_AVX512 || (host && host_avx512());
    bool avx2 = level == JIT_AVX2 || avx512 || (host && host_avx2());
    return (JitMachine){.vector_bytes = avx512 ? 64
                                        : avx2 ? 32
                                               : 16,
                        .rounds = avx2 || (host && __builtin_cpu_supports("sse4.1")),
                        .fma = avx2,
                        .f16c = host ? host_f16c() : avx2,
                        .avx512 = avx512,
                        .stream_bytes = stream_bytes(host)};
}

/* Leaf 1 names the model and has, in ebx, the number of the core that answers: left out. */
uint64_t jit_host_digest(JitLevel level) {
    uint32_t answers[21] = {(uint32_t)level};
    if (level == JIT_HOST) {
        unsigned  ignored = 0, low = 0, high = 0;
        uint32_t *a = answers + 1;
        (void)__get_cpuid(0, &a[0], &a[1], &a[2], &a[3]);
        (void)__get_cpuid(1, &a[4], &ignored, &a[5], &a[6]);
        (void)__get_cpuid_count(7, 0, &ignored, &a[7], &a[8], &a[9]);
        (void)__get_cpuid_count(7, 1, &a[10], &a[11], &a[12], &a[13]);
        (void)__get_cpuid(0x80000001, &ignored, &ignored, &a[14], &a[15]);
        (void)__get_cpuid(0x80000008, &ignored, &a[16], &ignored, &ignored);
        if (a[5] & bit_OSXSAVE) __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        a[17] = low;
        a[18] = high;
        a[19] = (uint32_t)(stream_bytes(true) >> 10);
    }
    return hash_bytes(answers, sizeof answers, 0);
}

#else

bool       jit_level_runs(JitLevel level) { return (void)level, false; }
uint64_t   jit_host_stream_bytes(void) { return UINT64_MAX; }
JitMachine jit_host_machine(JitLevel level) {
    return (void)level, (JitMachine){.vector_bytes = 16};
}
uint64_t jit_host_digest(JitLevel level) { return (uint64_t)level; }

#endif
