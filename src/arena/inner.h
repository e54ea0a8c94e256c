/* What the sources of the arena layer share and nobody else includes: how a budget is charged, how
 * memory is marked for AddressSanitizer, and the constants that differ in debug builds.
 *
 * A Budget is plain memory in the public header, yet blocks and arenas of several threads may share
 * one, so every access here is a relaxed atomic: the sum is exact, and no ordering hangs on it. */
#ifndef STOA_ARENA_INNER_H
#define STOA_ARENA_INNER_H

#include <string.h>

#include "arena/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#define STOA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STOA_ASAN 1
#endif
#endif

#ifdef STOA_ASAN
#include <sanitizer/asan_interface.h>
#define MEMORY_POISON(memory, bytes)   __asan_poison_memory_region((memory), (bytes))
#define MEMORY_UNPOISON(memory, bytes) __asan_unpoison_memory_region((memory), (bytes))
#else
#define MEMORY_POISON(memory, bytes)   ((void)(memory), (void)(bytes))
#define MEMORY_UNPOISON(memory, bytes) ((void)(memory), (void)(bytes))
#endif

#ifdef STOA_DEBUG
enum { MEMORY_DEBUG = 1 };
#else
enum { MEMORY_DEBUG = 0 };
#endif

enum { MEMORY_FILL = 0xAA };                             /* what undefined bytes read as in debug */
static const size_t memory_huge_bytes = (size_t)2 << 20; /* a huge page; shorter ranges get none */

/* Debug builds overwrite memory whose contents the contract leaves undefined. */
static inline void memory_fill(void *memory, size_t bytes) {
    if (MEMORY_DEBUG && bytes > 0) memset(memory, MEMORY_FILL, bytes);
}

/* The next multiple of unit, a power of two; the caller knows that it does not overflow. */
static inline size_t memory_round(size_t bytes, size_t unit) {
    ASSERT(unit > 0 && (unit & (unit - 1)) == 0);
    ASSERT(bytes <= SIZE_MAX - unit + 1);
    return (bytes + unit - 1) & ~(unit - 1);
}

/* What may still be charged; SIZE_MAX without a limit. */
static inline size_t budget_left(const Budget *budget) {
    if (!budget || budget->bytes_max == 0) return SIZE_MAX;
    size_t bytes = __atomic_load_n(&budget->bytes, __ATOMIC_RELAXED);
    return bytes < budget->bytes_max ? budget->bytes_max - bytes : 0;
}

/* Charges all of bytes or nothing. */
static inline bool budget_charge(Budget *budget, size_t bytes) {
    if (!budget) return true;
    size_t before = __atomic_load_n(&budget->bytes, __ATOMIC_RELAXED);
    size_t after;
    do {
        if (__builtin_add_overflow(before, bytes, &after)) return false;
        if (budget->bytes_max > 0 && after > budget->bytes_max) return false;
    } while (!__atomic_compare_exchange_n(&budget->bytes, &before, after, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    size_t peak = __atomic_load_n(&budget->bytes_peak, __ATOMIC_RELAXED);
    while (peak < after && !__atomic_compare_exchange_n(&budget->bytes_peak, &peak, after, true,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return true;
}

static inline void budget_refund(Budget *budget, size_t bytes) {
    if (!budget) return;
    size_t before = __atomic_fetch_sub(&budget->bytes, bytes, __ATOMIC_RELAXED);
    ASSERT(before >= bytes); /* more came back than went out */
    (void)before;
}

#endif
