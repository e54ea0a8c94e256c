/* Random programs, compiled and not, give the same results.
 *
 * STOA_SEEDS: how many programs (a few by default); STOA_SEED: the first of them. A failure prints
 * its seed; STOA_KERNELS=1 prints the kernels as well. */
#include "random_program.h"

enum { OPERATORS_MAX = 24, SIZES_PER_PROGRAM = 3 };

static int64_t setting(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t     number;
    return text != NULL && str_to_i64(str_of(text), &number) ? number : otherwise;
}
static int64_t random_size(uint64_t seed, uint64_t i) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 16, 17, 5};
    return sizes[check_draw(seed, i, LENGTH(sizes))];
}
static bool check_seed(Arena *arena, uint64_t seed) {
    Check     c;
    CheckSize sizes[] = {{"B", 0}, {"C", 0}, {"D", 0}, {NULL, 0}};
    String    text = random_program(arena, seed, OPERATORS_MAX);
    bool      good = check_open(&c, arena, text);
    if (strstr(text.data, "f16") != NULL) c.rel = 0.15; /* kernels round less often than rows */
    for (uint32_t i = 0; i < SIZES_PER_PROGRAM && good; i++) {
        ArenaMark mark = arena_mark(arena);
        for (uint32_t k = 0; k < 3; k++) sizes[k].size = random_size(seed * 8 + i, 1000 + k);
        c.seed = seed * 8 + i;
        good = check_run(&c, sizes);
        if (good) arena_release(arena, mark);
    }
    if (!EXPECT(good)) {
        printf(" seed %llu\n", (unsigned long long)seed);
        check_print(&c, sizes);
    }
    check_close(&c);
    return good;
}
TEST(random_programs) {
    uint64_t first = (uint64_t)setting("STOA_SEED", 1);
    uint64_t count = (uint64_t)setting("STOA_SEEDS", 150);
    for (uint64_t seed = first; seed < first + count; seed++) {
        ArenaMark mark = arena_mark(arena);
        (void)check_seed(arena, seed);
        arena_release(arena, mark);
    }
}
