/* The assertion vocabulary (style sheet 2.6).
 *
 * ASSERT  preconditions and invariants: on in debug, sanitizer and relassert builds.
 * CHECK   cheap checks that stay on in every build; the caller handles the false branch itself.
 * NEVER / ALWAYS  defensive branches believed (un)reachable: asserted in debug, plain values in
 *         release, so that the defence stays in the shipped code.
 *
 * A failed ASSERT is our bug, never the user's; it traps, so a sanitizer or debugger shows it. */
#ifndef STOA_ARENA_CHECK_H
#define STOA_ARENA_CHECK_H

#include <assert.h>
#include <stdbool.h>

#if defined(STOA_DEBUG) || defined(STOA_ASSERTS)
#define STOA_CHECKED 1
#define ASSERT(c)    ((c) ? (void)0 : __builtin_trap())
#define NEVER(c)                                                                                   \
    (__extension__({                                                                               \
        bool never_ = (c);                                                                         \
        if (never_) __builtin_trap();                                                              \
        never_;                                                                                    \
    }))
#define ALWAYS(c)                                                                                  \
    (__extension__({                                                                               \
        bool always_ = (c);                                                                        \
        if (!always_) __builtin_trap();                                                            \
        always_;                                                                                   \
    }))
#else
#define STOA_CHECKED 0
#define ASSERT(c)    ((void)sizeof((c) ? 1 : 0))
#define NEVER(c)                                                                                   \
    (__extension__({                                                                               \
        bool never_ = (c);                                                                         \
        __builtin_expect(never_, 0);                                                               \
    }))
#define ALWAYS(c)                                                                                  \
    (__extension__({                                                                               \
        bool always_ = (c);                                                                        \
        __builtin_expect(always_, 1);                                                              \
    }))
#endif

#define LENGTH(array)       (sizeof(array) / sizeof((array)[0]))
#define MUST_USE            __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, a) __attribute__((format(printf, fmt, a)))

#endif
