/* Lanes with 1, 2 and 4 threads: every lane runs, barriers and turns order plain memory under
 * stress, pieces are done once, whoever is held up, ranges cover once, a lane that runs out of
 * memory unwinds the caller and leaves the lanes usable; and what the machine and its container
 * report. */
#include "harness.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "arena/os.h"
#include "arena/topology.h"
#include "arena/workers.h"

static const uint32_t lane_counts[] = {1, 2, 4};

typedef struct Shared {
    Workers         *workers;
    _Atomic uint32_t calls;
    uint32_t         lanes_seen[8];
    uint32_t         values[8]; /* one a lane, read by the neighbours */
    _Atomic uint32_t wrong;
    uint32_t         rounds;
} Shared;

static Workers *open_lanes(Arena *arena, uint32_t lanes, bool pin) {
    Workers *workers = NULL;
    EXPECT_EQ(workers_open(arena, lanes, pin, &workers), STATUS_OK);
    EXPECT_EQ(workers_lanes(workers), lanes);
    return workers;
}

static void count_call(void *context, uint32_t lane, uint32_t lanes) {
    Shared *shared = context;
    atomic_fetch_add(&shared->calls, 1);
    shared->lanes_seen[lane] += lanes;
}

TEST(workers_run_every_lane) {
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        uint32_t lanes = lane_counts[i];
        Shared   shared = {.workers = open_lanes(arena, lanes, i % 2)};
        for (int run = 0; run < 1000; run++) workers_run(shared.workers, count_call, &shared);
        EXPECT_EQ(shared.calls, 1000 * lanes);
        for (uint32_t lane = 0; lane < lanes; lane++)
            EXPECT_EQ(shared.lanes_seen[lane], 1000 * lanes);
        workers_close(shared.workers);
    }
    workers_close(NULL);
}

/* Plain memory, ordered by the barrier alone: ThreadSanitizer checks it as well. */
static void meet_often(void *context, uint32_t lane, uint32_t lanes) {
    Shared *shared = context;
    for (uint32_t round = 1; round <= shared->rounds; round++) {
        shared->values[lane] = round;
        workers_barrier(shared->workers);
        for (uint32_t other = 0; other < lanes; other++)
            if (shared->values[other] != round) atomic_fetch_add(&shared->wrong, 1);
        workers_barrier(shared->workers);
    }
}

TEST(workers_barrier_stress) {
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        Shared shared = {.workers = open_lanes(arena, lane_counts[i], true), .rounds = 1000};
        for (int run = 0; run < 3; run++) workers_run(shared.workers, meet_often, &shared);
        EXPECT_EQ(shared.wrong, 0);
        EXPECT_EQ(shared.values[lane_counts[i] - 1], 1000);
        workers_close(shared.workers);
    }
}

static void idle(void *context, uint32_t lane, uint32_t lanes) {
    (void)context, (void)lane, (void)lanes;
}

TEST(workers_sleep_and_wake) { // long pauses, so that lanes are in the futex, not spinning
    Shared shared = {.workers = open_lanes(arena, 2, false)};
    for (int run = 0; run < 20; run++) {
        usleep(1000);
        workers_run(shared.workers, run % 2 ? idle : count_call, &shared);
    }
    EXPECT_EQ(shared.calls, 20);
    workers_close(shared.workers);
}

/* --- turns ------------------------------------------------------------------------------------ */

enum { TURNS = 600, TURN_PIECES = 37 };
typedef struct Turns {
    uint32_t         turn, turns;
    uint32_t         values[2][TURN_PIECES]; /* plain memory: of this turn, and the one before */
    _Atomic uint32_t wrong, calls, left;
    uint32_t         fail_turn, fail_piece; /* 0: nowhere; fail_piece 0: in next */
} Turns;
/* 1 to TURN_PIECES, so that turns of one piece are among them. */
static uint32_t pieces_of(uint32_t turn) { return 1 + turn * 7 % TURN_PIECES; }
static uint32_t turns_next(void *context, uint32_t lane) {
    Turns *all = context;
    (void)lane;
    if (++all->turn == all->fail_turn && all->fail_piece == 0) arena_fail("next", 1, 2, true);
    atomic_store(&all->left, pieces_of(all->turn));
    return all->turn <= all->turns ? pieces_of(all->turn) : 0;
}
/* Reads what other pieces wrote in the turn before. */
static void turns_piece(void *context, uint32_t lane, uint32_t piece) {
    Turns *all = context;
    (void)lane;
    uint32_t turn = all->turn, before = turn - 1;
    if (turn == all->fail_turn && piece + 1 == all->fail_piece) arena_fail("piece", 1, 2, true);
    for (uint32_t i = 0; before > 0 && i < pieces_of(before); i++)
        if (all->values[before % 2][i] != before + i) atomic_fetch_add(&all->wrong, 1);
    all->values[turn % 2][piece] = turn + piece;
    atomic_fetch_add(&all->calls, 1);
}

TEST(workers_turns_follow_each_other) {
    uint32_t expected = 0;
    for (uint32_t turn = 1; turn <= TURNS; turn++) expected += pieces_of(turn);
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        Workers *workers = open_lanes(arena, lane_counts[i], true);
        for (int run = 0; run < 3; run++) {
            Turns all = {.turns = TURNS};
            workers_turns(workers, turns_next, turns_piece, &all);
            EXPECT_EQ(all.wrong, 0);
            EXPECT_EQ(all.calls, expected);
            EXPECT_EQ(all.turn, TURNS + 1);
        }
        workers_close(workers);
    }
}

/* Whoever does the first piece waits until all others are done: their owners' or not. */
static void wait_for_others(void *context, uint32_t lane, uint32_t piece) {
    Turns *all = context;
    (void)lane;
    while (piece == 0 && atomic_load(&all->left) > 1) usleep(10);
    atomic_fetch_sub(&all->left, 1);
    atomic_fetch_add(&all->calls, 1);
}
TEST(workers_take_from_a_lane_that_is_held_up) {
    for (size_t i = 1; i < LENGTH(lane_counts); i++) {
        Turns    all = {.turns = 20};
        Workers *workers = open_lanes(arena, lane_counts[i], false);
        uint32_t expected = 0;
        for (uint32_t turn = 1; turn <= all.turns; turn++) expected += pieces_of(turn);
        workers_turns(workers, turns_next, wait_for_others, &all);
        EXPECT_EQ(all.calls, expected);
        workers_close(workers);
    }
}

/* A lane that comes only when all is done finds nothing to do: turns end without it. */
static void sleep_in_one(void *context, uint32_t lane, uint32_t piece) {
    Turns *all = context;
    (void)piece;
    if (lane != 0) usleep(100);
    atomic_fetch_add(&all->calls, 1);
}
TEST(workers_turns_end_without_late_lanes) {
    Workers *workers = open_lanes(arena, 4, false);
    uint32_t expected = 0;
    Turns    all = {.turns = 3};
    for (int run = 0; run < 200; run++) {
        if (run % 20 == 0) usleep(500);
        for (uint32_t turn = 1; turn <= 3; turn++) expected += pieces_of(turn);
        all.turn = 0;
        workers_turns(workers, turns_next, run % 2 ? sleep_in_one : turns_piece, &all);
    }
    EXPECT_EQ(all.calls, expected);
    workers_close(workers);
}

static ArenaFailure turns_failing(Workers *workers, Turns *all) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return arena_guard_failure();
    workers_turns(workers, turns_next, turns_piece, all);
    arena_guard_end(&guard);
    return (ArenaFailure){0};
}
TEST(workers_turns_carry_a_failure) {
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        Workers *workers = open_lanes(arena, lane_counts[i], true);
        for (uint32_t fail = 1; fail < 60; fail++) {
            Turns all = {.turns = 100, .fail_turn = fail, .fail_piece = fail % 3};
            if (all.fail_piece > pieces_of(fail)) continue;
            ArenaFailure failure = turns_failing(workers, &all);
            EXPECT_STR(failure.arena, all.fail_piece != 0 ? "piece" : "next");
            EXPECT_EQ(all.turn, fail);
            EXPECT_EQ(all.wrong, 0);
            Turns good = {.turns = 3};
            workers_turns(workers, turns_next, turns_piece, &good); // still usable
            EXPECT_EQ(good.calls, pieces_of(1) + pieces_of(2) + pieces_of(3));
        }
        workers_close(workers);
    }
}

/* --- ranges ----------------------------------------------------------------------------------- */

static void mark_range(void *context, uint32_t lane, size_t first, size_t last) {
    uint8_t *marks = context;
    (void)lane;
    for (size_t i = first; i < last; i++) marks[i]++;
}

TEST(workers_for_covers_once) {
    static const size_t counts[] = {0, 1, 7, 8, 9, 1000, 1001};
    static const size_t grains[] = {0, 1, 8, 64, 5000};
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        Workers *workers = open_lanes(arena, lane_counts[i], true);
        for (size_t c = 0; c < LENGTH(counts); c++) {
            for (size_t g = 0; g < LENGTH(grains); g++) {
                uint8_t *marks = ARENA_ARRAY_ZERO(arena, uint8_t, counts[c] + 1);
                workers_for(workers, counts[c], grains[g], mark_range, marks);
                size_t wrong = marks[counts[c]] != 0;
                for (size_t at = 0; at < counts[c]; at++) wrong += marks[at] != 1;
                EXPECT_EQ(wrong, 0);
            }
        }
        workers_close(workers);
    }
}

TEST(workers_split_is_even_and_aligned) {
    for (size_t count = 0; count < 200; count += 3) {
        for (uint32_t lanes = 1; lanes <= 7; lanes++) {
            size_t end = 0;
            for (uint32_t lane = 0; lane < lanes; lane++) {
                size_t first, last;
                workers_split(count, 8, lane, lanes, &first, &last);
                EXPECT(first == end && last >= first && last <= count);
                EXPECT(first % 8 == 0 || first == count);
                EXPECT(last - first <= count / lanes + 8);
                end = last;
            }
            EXPECT_EQ(end, count);
        }
    }
    size_t first, last;
    workers_split(SIZE_MAX, 1, 2, 3, &first, &last); // no sum wraps
    EXPECT(last == SIZE_MAX && first == SIZE_MAX / 3 * 2);
}

static void fail_in_one(void *context, uint32_t lane, uint32_t lanes) {
    Shared *shared = context;
    Scratch scratch = scratch_begin(NULL, 0);
    arena_push(scratch.arena, 1000, 8);
    workers_barrier(shared->workers);
    if (lane == shared->rounds % lanes) arena_fail("lane", lane + 1, 9, true);
    workers_barrier(shared->workers); // never reached by all
    atomic_fetch_add(&shared->wrong, 1);
    scratch_end(scratch);
}

/* Runs until a lane fails; the failure as the caller's guard got it. */
static ArenaFailure run_failing(Shared *shared) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return arena_guard_failure();
    workers_run(shared->workers, fail_in_one, shared);
    arena_guard_end(&guard);
    return (ArenaFailure){0};
}

TEST(workers_carry_a_failure_to_the_caller) {
    for (size_t i = 0; i < LENGTH(lane_counts); i++) {
        Shared shared = {.workers = open_lanes(arena, lane_counts[i], true)};
        for (shared.rounds = 0; shared.rounds < 40; shared.rounds++) {
            ArenaFailure failure = run_failing(&shared);
            EXPECT_STR(failure.arena, "lane");
            EXPECT_EQ(failure.bytes_asked, shared.rounds % lane_counts[i] + 1);
            EXPECT(failure.injected);
        }
        EXPECT_EQ(shared.wrong, 0);
        shared.rounds = 10;
        workers_run(shared.workers, meet_often, &shared); // still usable
        EXPECT_EQ(shared.wrong, 0);
        workers_close(shared.workers);
    }
}

TEST(workers_open_refused) {
    Workers *workers = NULL;
    size_t   used = arena_used(arena);
    (void)arena_push(arena, 1000, 8);
    EXPECT_EQ(workers_open(arena, 100000, false, &workers), STATUS_INVALID);
    for (uint64_t thread = 1; thread <= 3; thread++) {
        ArenaMark mark = arena_mark(arena);
        (void)arena_push(arena, 100000, 8); // commits now, so that only threads are refused
        arena_release(arena, mark);
        fault_commit_nth(thread);
        EXPECT_EQ(workers_open(arena, 4, true, &workers), STATUS_OUT_OF_MEMORY);
        fault_commit_nth(0);
        EXPECT(!workers);
        EXPECT_EQ(arena_used(arena), mark.used);
    }
    EXPECT(arena_used(arena) >= used + 1000);
}

TEST(workers_default_lanes_fit_the_machine) {
    Topology topology;
    Workers *workers = NULL;
    topology_read(&topology);
    EXPECT_EQ(workers_open(arena, 0, true, &workers), STATUS_OK);
    uint32_t most = topology.cores;
    if (topology.cpu_limit > 0 && topology.cpu_limit < most) most = topology.cpu_limit;
    EXPECT_EQ(workers_lanes(workers), most);
    workers_close(workers);
}

/* --- topology --------------------------------------------------------------------------------- */

TEST(topology_is_plausible) {
    Topology topology;
    topology_read(&topology);
    EXPECT(topology.cores >= 1 && topology.cores <= topology.cpus);
    EXPECT(topology.numa_nodes >= 1);
    EXPECT(topology.memory_bytes > (1 << 20));
    EXPECT(strlen(topology.cpu_model) > 0 && strlen(topology.features) < 64);
    uint32_t cpus[TOPOLOGY_CPUS_MAX], cores;
    EXPECT_EQ(topology_cpus(cpus, &cores), topology.cpus);
    EXPECT_EQ(cores, topology.cores);
    for (uint32_t i = 1; i < topology.cpus; i++) EXPECT(cpus[i] != cpus[0]);
    EXPECT(topology_node_here() < topology.numa_nodes);
}

typedef struct LimitFile {
    const char *path, *text;
} LimitFile;

/* Lays out a /sys/fs/cgroup of its own, reads the limits, and removes it. */
static Topology limits_of(Arena *arena, const char *self, const LimitFile *files, size_t count) {
    String root = str_format(arena, "/tmp/stoa-test-%ld-cgroup", (long)getpid());
    for (size_t i = 0; i < count; i++) {
        char  *path = (char *)(uintptr_t)str_format(arena, "%s/%s", root.data, files[i].path).data;
        char  *slash = strrchr(path, '/');
        OsFile file;
        *slash = 0;
        EXPECT_EQ(os_make_dir(path), 0);
        *slash = '/';
        EXPECT_EQ(os_open(path, OS_WRITE_NEW, &file), 0);
        EXPECT_EQ(os_write(file, files[i].text, strlen(files[i].text)), 0);
        EXPECT_EQ(os_close(&file), 0);
    }
    Topology topology = {.cpu_limit = 99};
    topology_limits(self, root.data, &topology);
    for (size_t i = 0; i < count; i++) { // the file, then each folder that became empty
        char *path = (char *)(uintptr_t)str_format(arena, "%s/%s", root.data, files[i].path).data;
        EXPECT_EQ(os_remove(path), 0);
        for (char *slash; (slash = strrchr(path, '/')) && (size_t)(slash - path) >= root.count;) {
            *slash = 0;
            if (os_remove(path) != 0) break;
        }
    }
    return topology;
}

TEST(topology_limits_version_two) {
    const LimitFile files[] = {{"a/b/cpu.max", "250000 100000\n"},
                               {"a/cpu.max", "max 100000\n"},
                               {"a/memory.max", "1073741824\n"},
                               {"a/b/memory.max", "max\n"}};
    Topology        topology = limits_of(arena, "0::/a/b\n", files, LENGTH(files));
    EXPECT_EQ(topology.cpu_limit, 3); // two and a half
    EXPECT_EQ(topology.memory_limit_bytes, 1 << 30);
}

TEST(topology_limits_of_a_container_mount) { // the path is the host's and does not exist here
    const LimitFile files[] = {{"cpu.max", "50000 100000\n"}, {"memory.max", "4096\n"}};
    Topology        topology = limits_of(arena, "0::/docker/0123456789\n", files, LENGTH(files));
    EXPECT_EQ(topology.cpu_limit, 1);
    EXPECT_EQ(topology.memory_limit_bytes, 4096);
    topology = limits_of(arena, "0::/\n", files, LENGTH(files));
    EXPECT_EQ(topology.cpu_limit, 1);
}

TEST(topology_limits_version_one) {
    const LimitFile files[] = {
        {"cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n"},
        {"cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"},
        {"cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
        {"memory/job/memory.limit_in_bytes", "2147483648\n"},
        {"memory/memory.limit_in_bytes", "9223372036854771712\n"},
    };
    const char *self = "9:cpuset:/\n4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n";
    Topology    topology = limits_of(arena, self, files, LENGTH(files));
    EXPECT_EQ(topology.cpu_limit, 4);
    EXPECT_EQ(topology.memory_limit_bytes, (int64_t)1 << 31);
}

TEST(topology_limits_absent_or_odd) {
    const LimitFile files[] = {{"cpu.max", "garbage\n"}, {"memory.max", "\n"}};
    Topology        topology = limits_of(arena, "0::/\nnonsense\n::\n", files, LENGTH(files));
    EXPECT_EQ(topology.cpu_limit, 0);
    EXPECT_EQ(topology.memory_limit_bytes, 0);
    topology = limits_of(arena, "", NULL, 0);
    EXPECT_EQ(topology.cpu_limit, 0);
}
