/* Interning: 100 000 keys, copies, limits and refused commits. Collisions come from three bad
 * hashes: one value for all, one first slot for all with differing tags, and a last slot that wraps
 * round. After each refusal every key must still be found. */
#include "harness.h"

#include "arena/hash.h"
#include "arena/intern.h"
#include "arena/os.h"
#include "arena/str.h"

typedef struct Keys {
    uint64_t *values; /* by row */
    uint64_t (*hash)(uint64_t value);
    uint32_t count;
} Keys;

static uint64_t hash_fair(uint64_t value) { return hash_bytes(&value, sizeof value, 0); }
static uint64_t hash_one(uint64_t value) { return (void)value, 42; }
static uint64_t hash_low(uint64_t value) { return value << 52; } /* tags differ, all start at 0 */
static uint64_t hash_end(uint64_t value) {
    return value << 52 | 0xfffffull << 32;
} /* wraps round */

static bool keys_same(const void *owner, uint32_t row, const void *key) {
    const Keys *keys = owner;
    return keys->values[row] == *(const uint64_t *)key;
}

static uint32_t keys_find(const Keys *keys, const Intern *index, uint64_t value) {
    return intern_find(index, keys->hash(value), keys_same, keys, &value);
}

/* The row of value, new or old; 0 if the index could not grow. */
static uint32_t keys_intern(Keys *keys, Intern *index, uint64_t value) {
    uint32_t   row = keys_find(keys, index, value);
    ArenaGuard guard;
    if (row) return row;
    if (!ARENA_GUARD(&guard)) return 0;
    keys->values[keys->count] = value;
    intern_add(index, keys->hash(value), keys->count);
    arena_guard_end(&guard);
    return keys->count++;
}

static Keys keys_make(Arena *arena, uint32_t rows, uint64_t (*hash)(uint64_t)) {
    return (Keys){ARENA_ARRAY(arena, uint64_t, rows + 1), hash, 1};
}

TEST(intern_hundred_thousand) {
    enum { KEYS = 100000 };
    Keys   keys = keys_make(arena, KEYS, hash_fair);
    Intern index = {0};
    Budget budget = {.name = "intern"};
    intern_open(&index, KEYS, &budget);
    EXPECT_EQ(keys_find(&keys, &index, 5), 0);
    size_t wrong = 0;
    for (uint32_t i = 0; i < KEYS; i++) wrong += keys_intern(&keys, &index, i * 3) != i + 1;
    for (uint32_t i = 0; i < KEYS; i++) wrong += keys_intern(&keys, &index, i * 3) != i + 1;
    for (uint32_t i = 0; i < KEYS; i++) wrong += keys_find(&keys, &index, i * 3 + 1) != 0;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(index.used, KEYS);
    EXPECT((size_t)index.used * 16 <= ((size_t)index.mask + 1) * 10); // load of at most 0.6
    EXPECT_EQ(budget.bytes, table_bytes_committed(&index.table));
    intern_clear(&index);
    EXPECT_EQ(keys_find(&keys, &index, 3), 0);
    keys.count = 1;
    EXPECT_EQ(keys_intern(&keys, &index, 3), 1);
    intern_close(&index);
    intern_close(&index);
    EXPECT_EQ(budget.bytes, 0);
}

TEST(intern_collisions) {
    static uint64_t (*const hashes[])(uint64_t) = {hash_one, hash_low, hash_end};
    enum { KEYS = 2000 };
    for (size_t h = 0; h < LENGTH(hashes); h++) {
        Keys   keys = keys_make(arena, KEYS, hashes[h]);
        Intern index = {0};
        intern_open(&index, KEYS, NULL);
        size_t wrong = 0;
        for (uint32_t i = 0; i < KEYS; i++) wrong += keys_intern(&keys, &index, i) != i + 1;
        for (uint32_t i = 0; i < KEYS; i++) wrong += keys_find(&keys, &index, i) != i + 1;
        EXPECT_EQ(keys_find(&keys, &index, KEYS), 0);
        EXPECT_EQ(wrong, 0);
        intern_close(&index);
    }
}

TEST(intern_copies) {
    Keys   keys = keys_make(arena, 10000, hash_fair);
    Intern from = {0}, into = {0};
    intern_open(&from, 10000, NULL);
    intern_open(&into, 10000, NULL);
    for (uint32_t i = 0; i < 5000; i++) keys_intern(&keys, &from, i);
    intern_copy(&into, &from);
    size_t wrong = 0;
    for (uint32_t i = 0; i < 5000; i++) wrong += keys_find(&keys, &into, i) != i + 1;
    for (uint32_t i = 5000; i < 10000; i++) wrong += keys_intern(&keys, &into, i) != i + 1;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(keys_find(&keys, &from, 7000), 0); // the original did not change
    intern_copy(&into, &from);                   // back to a smaller one
    EXPECT_EQ(keys_find(&keys, &into, 7000), 0);
    EXPECT_EQ(keys_find(&keys, &into, 4999), 5000);
    intern_close(&from);
    intern_close(&into);
}

TEST(intern_limit_unwinds_whole) {
    enum { ROOM = 5000 };
    Keys   keys = keys_make(arena, 20000, hash_fair);
    Intern index = {0};
    intern_open(&index, ROOM, NULL);
    uint32_t added = 0;
    while (added < 20000 && keys_intern(&keys, &index, added)) added++;
    EXPECT(added >= ROOM && added < 20000);
    EXPECT_STR(arena_guard_failure().arena, "intern");
    size_t wrong = 0;
    for (uint32_t i = 0; i < added; i++) wrong += keys_find(&keys, &index, i) != i + 1;
    EXPECT_EQ(wrong, 0);
    intern_close(&index);
}

static bool open_index(Intern *index, Budget *budget) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return false;
    intern_open(index, 5000, budget);
    arena_guard_end(&guard);
    return true;
}

TEST(intern_survives_every_refused_commit) {
    enum { KEYS = 3000 };
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        Keys   keys = keys_make(arena, KEYS, hash_fair);
        Intern index = {0};
        Budget budget = {.name = "faulty"};
        bool   hit = false;
        fault_commit_nth(n);
        bool opened = open_index(&index, &budget);
        for (uint32_t i = 0; opened && i < KEYS; i++) {
            if (keys_intern(&keys, &index, i)) continue;
            hit = true;
            EXPECT_EQ(keys_intern(&keys, &index, i), i + 1); // once refused, then whole
        }
        fault_commit_nth(0);
        size_t wrong = 0;
        for (uint32_t i = 0; opened && i < KEYS; i++) wrong += keys_find(&keys, &index, i) != i + 1;
        EXPECT_EQ(wrong, 0);
        if (!opened) EXPECT(!index.table.memory);
        intern_close(&index);
        EXPECT_EQ(budget.bytes, 0);
        if (opened && !hit) break;
        refused++;
    }
    EXPECT(refused >= 3);
}
