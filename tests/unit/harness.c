/* The main program of every unit, gradient, parity and fault test; harness.h tells how they are
 * written. Tests run in the order in which the linker put their files, then of their lines.
 *
 * The name is flushed before the test runs, so that a crash or a sanitizer report stands under the
 * test that caused it. Exit status: 0 all held, 1 a test failed, 2 the options select no test, 77
 * every test was skipped. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static Test    *tests;
static Test   **tests_tail = &tests;
static unsigned expects, failures;
static bool     skipped;

typedef enum Outcome { FAILED, PASSED, SKIPPED } Outcome;

void harness_register(Test *test) {
    *tests_tail = test;
    tests_tail = &test->next;
}

bool harness_expect(bool held, const char *expr, const char *file, int line) {
    expects++;
    if (!held) {
        failures++;
        printf("\n  %s:%d: expected %s", file, line, expr);
    }
    return held;
}

bool harness_expect_eq(intmax_t a, intmax_t b, const char *a_expr, const char *b_expr,
                       const char *file, int line) {
    expects++;
    if (a == b) return true;
    failures++;
    printf("\n  %s:%d: expected %s == %s, but %jd != %jd", file, line, a_expr, b_expr, a, b);
    return false;
}

bool harness_expect_near(double a, double b, double rel, double abs, const char *a_expr,
                         const char *b_expr, const char *file, int line) {
    expects++;
    double distance = fabs(a - b);
    double allowed = fmax(abs, rel * fmax(fabs(a), fabs(b)));
    if (a == b || (distance <= allowed && isfinite(distance))) return true;
    failures++;
    printf("\n  %s:%d: expected %s near %s, but %.9g and %.9g are %.3g apart (allowed %.3g)", file,
           line, a_expr, b_expr, a, b, distance, allowed);
    return false;
}

bool harness_expect_str(const char *a, const char *b, const char *a_expr, const char *b_expr,
                        const char *file, int line) {
    expects++;
    if (a == b || (a && b && strcmp(a, b) == 0)) return true;
    failures++;
    printf("\n  %s:%d: expected %s == %s, but\n    \"%s\"\n    \"%s\"", file, line, a_expr, b_expr,
           a ? a : "(null)", b ? b : "(null)");
    return false;
}

void harness_skip(const char *reason) {
    skipped = true;
    printf("\n  skipped: %s", reason);
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Runs one test under a guard, so that a full arena fails this test and the next one still runs. */
static void run_guarded(const Test *test, Arena *arena) {
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        test->run(arena);
        arena_guard_end(&guard);
        return;
    }
    ArenaFailure failure = arena_guard_failure();
    failures++;
    printf("\n  %s: arena '%s' could not grow by %zu bytes (limit %zu)", test->file, failure.arena,
           failure.bytes_asked, failure.bytes_max);
}

/* Runs one test in an arena of its own. */
static Outcome run_test(const Test *test) {
    printf("%s", test->name);
    fflush(stdout);
    expects = failures = 0;
    skipped = false;
    double start = now_ms();
    Arena *arena = arena_open(test->name, 0, 0);
    if (arena) {
        run_guarded(test, arena);
        arena_close(arena);
        if (expects + failures == 0 && !skipped)
            printf("\n  %s: the test expects nothing", test->file);
    } else {
        printf("\n  the arena of the test could not be opened");
    }
    bool    good = arena && (expects > 0 || skipped) && failures == 0;
    Outcome outcome = !good ? FAILED : skipped ? SKIPPED : PASSED;
    printf(good ? skipped ? "\n" : " ok (%.1f ms)\n" : "\n  FAILED (%.1f ms)\n", now_ms() - start);
    return outcome;
}

int main(int argc, char **argv) {
    const char *filter = "", *file = "";
    bool        list = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0)
            list = true;
        else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
            filter = argv[++i];
        else if (strcmp(argv[i], "--file") == 0 && i + 1 < argc)
            file = argv[++i];
        else {
            fprintf(stderr, "usage: %s [--list] [--filter SUBSTR] [--file SUBSTR]\n", argv[0]);
            return 2;
        }
    }
    unsigned outcomes[3] = {0}, listed = 0;
    for (const Test *test = tests; test; test = test->next) {
        if (!strstr(test->name, filter) || !strstr(test->file, file)) continue;
        if (list)
            listed += printf("%s\n", test->name) > 0;
        else
            outcomes[run_test(test)]++;
    }
    if (list) return listed ? 0 : 2;
    if (outcomes[PASSED] + outcomes[FAILED] + outcomes[SKIPPED] == 0) {
        fprintf(stderr, "no test matches\n");
        return 2;
    }
    printf("%u passed, %u failed", outcomes[PASSED], outcomes[FAILED]);
    if (outcomes[SKIPPED] > 0) printf(", %u skipped", outcomes[SKIPPED]);
    printf("\n");
    if (outcomes[FAILED] > 0) return 1;
    return outcomes[PASSED] > 0 ? 0 : HARNESS_SKIPPED;
}
