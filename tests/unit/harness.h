/* The unit-test harness: TEST(name) { ... } registers itself and is given a fresh arena.
 *
 * An expectation that fails prints the expression with its values and the test goes on; REQUIRE
 * ends it. Every EXPECT_* is an expression that is true when it held. A test that expects nothing
 * fails, so an empty loop cannot pass unseen; so does one whose arena runs full outside a guard
 * of its own. SKIP ends a test that this machine cannot run, and says why. The program takes
 * --filter SUBSTR (of the test's name), --file SUBSTR and --list. */
#ifndef STOA_TESTS_HARNESS_H
#define STOA_TESTS_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "arena/arena.h"

typedef struct Test {
    const char *name;
    const char *file;
    void (*run)(Arena *arena);
    struct Test *next;
} Test;

enum {
    HARNESS_SKIPPED = 77
}; /* exit status when every selected test was skipped; CTest knows it */

/* Called before main by TEST; `test` lives as long as the program. */
void harness_register(Test *test);

bool harness_expect(bool held, const char *expr, const char *file, int line);
bool harness_expect_eq(intmax_t a, intmax_t b, const char *a_expr, const char *b_expr,
                       const char *file, int line);
bool harness_expect_near(double a, double b, double rel, double abs, const char *a_expr,
                         const char *b_expr, const char *file, int line);
bool harness_expect_str(const char *a, const char *b, const char *a_expr, const char *b_expr,
                        const char *file, int line);

void harness_skip(const char *reason);

/* clang-format off */
#define TEST(name_)                                                                                \
    static void test_##name_(Arena *arena);                                                        \
    static Test test_row_##name_ = {#name_, __FILE__, test_##name_, 0};                            \
    __attribute__((constructor)) static void test_register_##name_(void) {                         \
        harness_register(&test_row_##name_);                                                       \
    }                                                                                              \
    static void test_##name_(__attribute__((unused)) Arena *arena)
/* clang-format on */

#define EXPECT(cond) harness_expect((cond), #cond, __FILE__, __LINE__)
/* Integers, bools, enums and characters. */
#define EXPECT_EQ(a, b) harness_expect_eq((intmax_t)(a), (intmax_t)(b), #a, #b, __FILE__, __LINE__)
/* |a - b| <= rel * max(|a|, |b|): purely relative, so only zero is near zero.
 * A NaN is near nothing. */
#define EXPECT_NEAR(a, b, rel)                                                                     \
    harness_expect_near((double)(a), (double)(b), (rel), 0.0, #a, #b, __FILE__, __LINE__)
/* |a - b| <= abs. */
#define EXPECT_WITHIN(a, b, abs)                                                                   \
    harness_expect_near((double)(a), (double)(b), 0.0, (abs), #a, #b, __FILE__, __LINE__)
/* Zero-terminated strings; a null pointer equals only a null pointer. */
#define EXPECT_STR(a, b) harness_expect_str((a), (b), #a, #b, __FILE__, __LINE__)
/* Ends the test: this machine lacks what it needs. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        harness_skip(reason);                                                                      \
        return;                                                                                    \
    } while (0)
/* Ends the test when the condition does not hold. */
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!EXPECT(cond)) return;                                                                 \
    } while (0)

#endif
