/* Arenas: pushing, growth without moving, marks, scratch with conflicts, guards, limits. A budget
 * or limit that is passed must be named by the failure, and refusing each commit in turn must leave
 * no byte charged and every scratch arena rewound. */
#include "harness.h"

#include <string.h>

#include "arena/os.h"

/* Pushes until the arena or its budget is exhausted; the failure, or none if all fitted. */
static ArenaFailure exhaust(Arena *arena, size_t bytes, size_t pushes) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return arena_guard_failure();
    for (size_t i = 0; i < pushes; i++) arena_push(arena, bytes, 8);
    arena_guard_end(&guard);
    return (ArenaFailure){0};
}

TEST(arena_push_aligns_and_keeps_bytes) {
    for (size_t align = 1; align <= 4096; align *= 2) {
        uint8_t *bytes = arena_push(arena, 3, align);
        EXPECT_EQ((uintptr_t)bytes % align, 0);
        memset(bytes, (int)(align % 251), 3);
    }
    uint64_t *words = ARENA_ARRAY(arena, uint64_t, 1000);
    uint64_t *zeros = ARENA_ARRAY_ZERO(arena, uint64_t, 1000);
    for (size_t i = 0; i < 1000; i++) words[i] = i;
    for (size_t i = 0; i < 1000; i++) EXPECT(words[i] == i && zeros[i] == 0);
    EXPECT(arena_push(arena, 0, 1) != NULL);
}

TEST(arena_room_keeps_rows) {
    uint32_t *rows = NULL, capacity = 0, moves = 0;
    for (uint32_t count = 0; count < 10000; count++) {
        uint32_t *before = rows;
        rows = arena_room(arena, rows, count, &capacity, sizeof *rows);
        REQUIRE(capacity > count);
        moves += rows != before;
        rows[count] = count;
    }
    for (uint32_t i = 0; i < 10000; i++) EXPECT_EQ(rows[i], i);
    EXPECT(moves < 10);
}

TEST(arena_grows_without_moving) {
    enum { PUSHES = 4000, BYTES = 3000 }; // 12 MB: past every commit step and huge-page advice
    uint8_t **blocks = ARENA_ARRAY(arena, uint8_t *, PUSHES);
    Arena    *grown = arena_open("grown", 0, 0);
    REQUIRE(grown);
    size_t committed = arena_committed(grown);
    for (size_t i = 0; i < PUSHES; i++) {
        blocks[i] = arena_push(grown, BYTES, 8);
        memset(blocks[i], (int)(i & 0xff), BYTES);
    }
    size_t wrong = 0;
    for (size_t i = 0; i < PUSHES; i++)
        wrong += blocks[i][0] != (i & 0xff) || blocks[i][BYTES - 1] != (i & 0xff);
    EXPECT_EQ(wrong, 0);
    EXPECT(arena_committed(grown) > committed);
    EXPECT(arena_committed(grown) >= arena_used(grown));
    EXPECT(arena_used(grown) >= (size_t)PUSHES * BYTES);
    EXPECT_STR(arena_name(grown), "grown");
    arena_close(grown);
    arena_close(NULL);
}

TEST(arena_zero_after_release) {
    ArenaMark mark = arena_mark(arena);
    uint8_t  *bytes = arena_push(arena, 100000, 64);
    memset(bytes, 0x5c, 100000);
    arena_release(arena, mark);
    EXPECT_EQ(arena_used(arena), mark.used);
    uint8_t *again = arena_push_zero(arena, 200000, 64); // half dirty, half fresh
    EXPECT(again == bytes);
    size_t set = 0;
    for (size_t i = 0; i < 200000; i++) set += again[i] != 0;
    EXPECT_EQ(set, 0);
}

#ifdef STOA_DEBUG
TEST(arena_fills_undefined_bytes) {
    ArenaMark      mark = arena_mark(arena);
    const uint8_t *bytes = arena_push(arena, 100, 8);
    for (size_t i = 0; i < 100; i++) EXPECT_EQ(bytes[i], 0xAA);
    arena_release(arena, mark);
}
#endif

TEST(arena_limit_is_named) {
    Arena *small = arena_open("small", 1 << 20, 40000);
    REQUIRE(small);
    ArenaFailure failure = exhaust(small, 1000, 100);
    EXPECT_STR(failure.arena, "small");
    EXPECT_EQ(failure.bytes_asked, 1000);
    EXPECT_EQ(failure.bytes_max, 40960); // whole pages
    EXPECT(!failure.injected);
    EXPECT(arena_committed(small) <= 40960);
    EXPECT(arena_used(small) > 30000);
    failure = exhaust(small, SIZE_MAX - 4096, 1); // sums must not wrap
    EXPECT_STR(failure.arena, "small");
    failure = exhaust(small, 8, 1); // it still serves what fits
    EXPECT(!failure.arena);
    arena_close(small);

    Arena *reserved = arena_open("reserved", 1 << 16, 0);
    REQUIRE(reserved);
    failure = exhaust(reserved, 5000, 100);
    EXPECT_STR(failure.arena, "reserved");
    EXPECT_EQ(failure.bytes_max, 1 << 16);
    EXPECT_EQ(arena_committed(reserved), 1 << 16);
    arena_close(reserved);
}

TEST(arena_limit_is_reachable) { // a speculative step must not stop short of the limit
    Arena *small = arena_open("small", 1 << 20, 200000);
    REQUIRE(small);
    size_t       room = 200704 - 128; // whole pages without the header
    ArenaFailure failure = exhaust(small, room, 1);
    EXPECT(!failure.arena);
    arena_close(small);
}

TEST(arena_refuses_absurd_reservations) {
    EXPECT(!arena_open("absurd", SIZE_MAX, 0));
    EXPECT_STR(arena_guard_failure().arena, "absurd");
    EXPECT(!arena_open("absurd", SIZE_MAX / 2, 0));
    EXPECT_EQ(arena_guard_failure().bytes_max, 0);
}

TEST(arena_budget_is_shared_and_named) {
    Budget budget = {.name = "world", .bytes_max = 1 << 18};
    Arena *left = arena_open_in("left", 0, 0, &budget);
    Arena *right = arena_open_in("right", 0, 0, &budget);
    REQUIRE(left && right);
    EXPECT_EQ(budget.bytes, arena_committed(left) + arena_committed(right));
    ArenaFailure failure = exhaust(left, 4000, 1000);
    EXPECT_STR(failure.arena, "world");
    EXPECT_EQ(failure.bytes_max, 1 << 18);
    EXPECT(arena_used(left) > (1 << 18) - 80000);
    EXPECT_EQ(budget.bytes, arena_committed(left) + arena_committed(right));
    EXPECT(budget.bytes <= budget.bytes_max);
    size_t peak = budget.bytes;
    arena_close(left);
    EXPECT_EQ(budget.bytes, arena_committed(right));
    EXPECT_EQ(budget.bytes_peak, peak);
    arena_close(right);
    EXPECT_EQ(budget.bytes, 0);
    budget.bytes_max = 100;
    EXPECT(!arena_open_in("none", 0, 0, &budget));
    EXPECT_STR(arena_guard_failure().arena, "world");
    EXPECT_EQ(budget.bytes, 0);
}

TEST(scratch_avoids_conflicts) {
    Scratch first = scratch_begin(NULL, 0);
    Scratch second = scratch_begin(&first.arena, 1);
    EXPECT(first.arena != second.arena);
    Scratch again = scratch_begin(&second.arena, 1);
    EXPECT(again.arena == first.arena);
    Arena  *foreign[] = {arena, first.arena};
    Scratch beside = scratch_begin(foreign, 2);
    EXPECT(beside.arena == second.arena);
    char *kept = ARENA_ARRAY(first.arena, char, 100);
    memset(kept, 'k', 100);
    size_t  used = arena_used(first.arena);
    Scratch inner = scratch_begin(NULL, 0);
    EXPECT(inner.arena == first.arena);
    memset(ARENA_ARRAY(inner.arena, char, 5000), 'x', 5000);
    scratch_end(inner);
    EXPECT_EQ(arena_used(first.arena), used);
    EXPECT_EQ(kept[99], 'k');
    scratch_end(beside);
    scratch_end(again);
    scratch_end(second);
    scratch_end(first);
}

static void fail_deep(int depth, bool fail) {
    Scratch scratch = scratch_begin(NULL, 0);
    Scratch other = scratch_begin(&scratch.arena, 1);
    arena_push(scratch.arena, 1000, 8);
    arena_push(other.arena, 1000, 8);
    if (depth > 0) fail_deep(depth - 1, fail);
    if (fail) arena_fail("deep", 7, 8, false);
    scratch_end(other);
    scratch_end(scratch);
}

TEST(guard_rewinds_scratch) {
    Scratch outer = scratch_begin(NULL, 0);
    Scratch other = scratch_begin(&outer.arena, 1);
    char   *kept = ARENA_ARRAY(outer.arena, char, 64);
    memset(kept, 'k', 64);
    size_t     used = arena_used(outer.arena), used_other = arena_used(other.arena);
    ArenaGuard guard;
    if (ARENA_GUARD(&guard)) {
        fail_deep(20, false);
        fail_deep(20, true);
        EXPECT(false);
        arena_guard_end(&guard);
    }
    EXPECT_STR(arena_guard_failure().arena, "deep");
    EXPECT_EQ(arena_guard_failure().bytes_asked, 7);
    EXPECT_EQ(arena_guard_failure().bytes_max, 8);
    EXPECT_EQ(arena_used(outer.arena), used);
    EXPECT_EQ(arena_used(other.arena), used_other);
    EXPECT_EQ(kept[63], 'k');
    scratch_end(other);
    scratch_end(outer);
}

TEST(guards_nest) {
    volatile int steps = 0;
    ArenaGuard   outer;
    if (ARENA_GUARD(&outer)) {
        ArenaGuard inner;
        if (ARENA_GUARD(&inner)) {
            arena_fail("inner", 1, 1, false);
        } else {
            EXPECT_STR(arena_guard_failure().arena, "inner");
            steps = steps + 1;
        }
        arena_fail("outer", 1, 1, false); // the inner guard is gone, this one is reached
    }
    EXPECT_STR(arena_guard_failure().arena, "outer");
    EXPECT_EQ(steps, 1);
}

typedef struct FaultRun {
    Budget       budget;
    ArenaFailure failure;
    uint64_t     nth;
    bool         done;
} FaultRun;

/* Works with scratch, an arena and a budget until done or unwound. A thread of its own, so that the
 * scratch arenas start cold and their commits are refused as well. */
static void run_with_faults(void *context) {
    FaultRun *run = context;
    Arena *volatile opened = NULL;
    ArenaGuard guard;
    fault_commit_nth(run->nth); // not before: starting a thread commits its stack
    if (ARENA_GUARD(&guard)) {
        Arena *arena = arena_open_in("fault", 0, 0, &run->budget);
        opened = arena;
        for (size_t i = 0; arena && i < 10; i++) {
            Scratch scratch = scratch_begin(&arena, 1);
            memset(arena_push(scratch.arena, 100000, 8), 1, 100000);
            memset(arena_push(arena, 70000, 8), 2, 70000);
            scratch_end(scratch);
        }
        run->done = arena != NULL;
        arena_guard_end(&guard);
    }
    run->failure = arena_guard_failure();
    arena_close(opened);
}

TEST(arena_survives_every_refused_commit) {
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        FaultRun run = {.budget = {.name = "faulty"}, .nth = n};
        OsThread thread;
        REQUIRE(os_thread_start(&thread, run_with_faults, &run, "fault") == 0);
        os_thread_join(thread);
        uint64_t commits = fault_commit_count();
        fault_commit_nth(0);
        EXPECT_EQ(run.budget.bytes, 0);
        EXPECT_EQ(run.done, commits < n);
        if (run.done) break;
        refused++;
        EXPECT(run.failure.injected);
        EXPECT_EQ(run.failure.bytes_max, 0);
        EXPECT(strcmp(run.failure.arena, "fault") == 0 ||
               strcmp(run.failure.arena, "scratch") == 0);
    }
    EXPECT(refused >= 4);
}

TEST(fault_off_counts_on) {
    fault_commit_nth(0);
    Arena *opened = arena_open("counted", 0, 0);
    EXPECT(opened != NULL);
    EXPECT_EQ(fault_commit_count(), 1);
    arena_close(opened);
}

static void scratch_user(void *context) {
    size_t *out_bytes = context;
    Scratch scratch = scratch_begin(NULL, 0);
    memset(arena_push(scratch.arena, 50000, 8), 3, 50000);
    *out_bytes = arena_used(scratch.arena);
    scratch_end(scratch); // the thread ends without closing its scratch: the key does that
}

TEST(scratch_is_per_thread_and_goes_with_it) {
    for (int i = 0; i < 40; i++) { // 8 GiB each: leaked reservations would soon be refused
        OsThread thread;
        size_t   bytes = 0;
        REQUIRE(os_thread_start(&thread, scratch_user, &bytes, "scratch") == 0);
        os_thread_join(thread);
        EXPECT(bytes >= 50000);
    }
}
