/* Worker lanes: threads that run one function together and meet at barriers.
 *
 * Waiting is on gates: a counter that the opener advances. A waiter spins for some tens of
 * microseconds, because the next launch of a step is usually that near and a futex wake-up costs
 * as much, then sleeps. With more lanes than processors nobody spins: it would take time from the
 * lane waited for. The barrier is sense-reversing, with the gate's counter as the sense.
 *
 * Running out of memory in a lane: each lane runs under a guard. The first failure is kept, lanes
 * at a barrier (which the failed lane will never reach) unwind too, and when all are back
 * workers_run fails once more on the caller's thread, to the caller's guard. The lanes stay usable.
 *
 * Lane 0 is the caller and is not pinned: its binding would be inherited by every thread that the
 * host program starts later. The first core is left free for it instead. */
#define _GNU_SOURCE
#include "arena/workers.h"

#include <stdatomic.h>

#include "arena/os.h"
#include "arena/topology.h"

enum {
    SPIN_NS = 30000,
    SPIN_BATCH = 32, /* checks between looks at the clock, which costs as much as some of them */
    LINE_BYTES = 64,
};

typedef struct Gate {
    _Alignas(LINE_BYTES) _Atomic uint32_t opened; /* how often; a waiter sleeps on it */
    _Atomic uint32_t sleepers;                    /* so that opening seldom needs a system call */
} Gate;

typedef struct Lane {
    Workers *workers;
    uint32_t lane;
    int32_t  cpu; /* -1: not pinned */
    OsThread thread;
} Lane;

struct Workers {
    uint32_t lanes;
    uint32_t spin_ns;
    Lane    *rows; /* by lane; row 0 is unused */
    WorkFn  *fn;   /* published by opening `start`; NULL: lanes exit */
    void    *context;
    bool     running;
    Gate     start, finish, meet;
    _Alignas(LINE_BYTES) _Atomic uint32_t busy; /* lanes that have not finished, but for lane 0 */
    _Alignas(LINE_BYTES) _Atomic uint32_t arrived; /* at the barrier */
    _Alignas(LINE_BYTES) _Atomic uint32_t claimed; /* by the first lane that failed */
    _Atomic uint32_t broken;                       /* failure is readable */
    ArenaFailure     failure;
};

/* --- gates ------------------------------------------------------------------------------------ */

static inline void spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The order of (advance, look for sleepers) here and (announce, look at the counter) below must be
 * total, or a sleeper could be missed: both sides use sequentially consistent operations. */
static void gate_open(Gate *gate) {
    atomic_fetch_add(&gate->opened, 1);
    if (atomic_load(&gate->sleepers) > 0) os_wake(&gate->opened);
}

static bool gate_spin(const Gate *gate, uint32_t seen, uint32_t spin_ns) {
    uint64_t until = os_clock_ns() + spin_ns;
    do {
        for (int i = 0; i < SPIN_BATCH; i++) {
            if (atomic_load_explicit(&gate->opened, memory_order_acquire) != seen) return true;
            spin_pause();
        }
    } while (os_clock_ns() < until);
    return false;
}

/* Returns once the gate was opened after `seen` was read from it. */
static void gate_wait(Gate *gate, uint32_t seen, uint32_t spin_ns) {
    if (atomic_load_explicit(&gate->opened, memory_order_acquire) != seen) return;
    if (spin_ns > 0 && gate_spin(gate, seen, spin_ns)) return;
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->opened) == seen) os_wait(&gate->opened, seen);
    atomic_fetch_sub_explicit(&gate->sleepers, 1, memory_order_relaxed);
}

/* --- lanes ------------------------------------------------------------------------------------ */

/* Keeps the first failure and frees the lanes that wait for this one. */
static void lane_failed(Workers *workers, ArenaFailure failure) {
    if (atomic_exchange(&workers->claimed, 1)) return;
    workers->failure = failure;
    atomic_store_explicit(&workers->broken, 1, memory_order_release);
    gate_open(&workers->meet);
}

_Noreturn static void lane_unwind(const Workers *workers) {
    ArenaFailure failure = workers->failure;
    arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
}

static void lane_call(Workers *workers, uint32_t lane) {
    ArenaGuard guard;
    ASSERT(workers->fn);
    if (ARENA_GUARD(&guard)) {
        workers->fn(workers->context, lane, workers->lanes);
        arena_guard_end(&guard);
        return;
    }
    lane_failed(workers, arena_guard_failure());
}

static void lane_main(void *context) {
    const Lane *row = context;
    Workers    *workers = row->workers;
    if (row->cpu >= 0) (void)topology_pin((uint32_t)row->cpu); /* unpinned still works */
    for (uint32_t seen = 0;; seen++) {
        gate_wait(&workers->start, seen, workers->spin_ns);
        if (!workers->fn) break;
        lane_call(workers, row->lane);
        if (atomic_fetch_sub(&workers->busy, 1) == 1) gate_open(&workers->finish);
    }
    scratch_close_thread();
}

/* Ends lanes 1 to started. */
static void lanes_stop(Workers *workers, uint32_t started) {
    ASSERT(!workers->running);
    workers->fn = NULL;
    gate_open(&workers->start);
    for (uint32_t lane = 1; lane <= started; lane++) os_thread_join(workers->rows[lane].thread);
}

/* --- open, run, close ------------------------------------------------------------------------- */

Status workers_open(Arena *arena, uint32_t lanes, bool pin, Workers **out_workers) {
    ASSERT(arena && out_workers);
    *out_workers = NULL;
    uint32_t  cpus[TOPOLOGY_CPUS_MAX];
    uint32_t  usable = TOPOLOGY_CPUS_MAX, cpus_count = 1;
    ArenaMark mark = arena_mark(arena);
    if (lanes > TOPOLOGY_CPUS_MAX) return STATUS_INVALID;
    if (lanes != 1) { /* one lane needs no topology, and reading it takes milliseconds */
        Topology topology;
        topology_read(&topology);
        uint32_t limit = topology.cpu_limit;
        cpus_count = topology_cpus(cpus, &usable);
        if (lanes == 0) lanes = limit > 0 && limit < usable ? limit : usable;
        usable = limit > 0 && limit < cpus_count ? limit : cpus_count;
    }
    Workers *workers = ARENA_NEW(arena, Workers);
    workers->lanes = lanes;
    workers->spin_ns = lanes <= usable ? SPIN_NS : 0;
    workers->rows = ARENA_ARRAY_ZERO(arena, Lane, lanes);
    for (uint32_t lane = 1; lane < lanes; lane++) {
        Lane *row = &workers->rows[lane];
        bool  bind = pin && lanes <= cpus_count; /* shared cores are the scheduler's business */
        *row = (Lane){.workers = workers, .lane = lane, .cpu = bind ? (int32_t)cpus[lane] : -1};
        if (os_thread_start(&row->thread, lane_main, row, "stoa-lane") == 0) continue;
        lanes_stop(workers, lane - 1);
        arena_release(arena, mark);
        return STATUS_OUT_OF_MEMORY;
    }
    *out_workers = workers;
    return STATUS_OK;
}

void workers_close(Workers *workers) {
    if (!workers) return;
    ASSERT(workers->lanes > 0);
    lanes_stop(workers, workers->lanes - 1);
    workers->lanes = 0; /* the memory stays with its arena; a second close is caught */
}

uint32_t workers_lanes(const Workers *workers) {
    ASSERT(workers && workers->lanes > 0);
    return workers->lanes;
}

void workers_run(Workers *workers, WorkFn *fn, void *context) {
    ASSERT(workers && fn);
    ASSERT(!workers->running); /* not from inside a lane */
    if (workers->lanes == 1) {
        fn(context, 0, 1);
        return;
    }
    workers->running = true;
    workers->fn = fn;
    workers->context = context;
    atomic_store_explicit(&workers->busy, workers->lanes - 1, memory_order_relaxed);
    uint32_t seen = atomic_load(&workers->finish.opened);
    gate_open(&workers->start);
    lane_call(workers, 0);
    gate_wait(&workers->finish, seen, workers->spin_ns);
    workers->running = false;
    if (!atomic_load_explicit(&workers->broken, memory_order_acquire)) return;
    atomic_store_explicit(&workers->arrived, 0, memory_order_relaxed); /* some never met */
    atomic_store_explicit(&workers->broken, 0, memory_order_relaxed);
    atomic_store_explicit(&workers->claimed, 0, memory_order_relaxed);
    lane_unwind(workers);
}

/* The gate is read before `broken`: a failing lane sets broken and then opens the gate, so a lane
 * that reads broken as 0 has read the gate from before, and will see it open. */
void workers_barrier(Workers *workers) {
    ASSERT(workers);
    if (workers->lanes == 1) return;
    ASSERT(workers->running);
    uint32_t seen = atomic_load_explicit(&workers->meet.opened, memory_order_acquire);
    if (atomic_load_explicit(&workers->broken, memory_order_acquire)) lane_unwind(workers);
    uint32_t before = atomic_fetch_add_explicit(&workers->arrived, 1, memory_order_acq_rel);
    if (before + 1 == workers->lanes) {
        atomic_store_explicit(&workers->arrived, 0, memory_order_relaxed);
        gate_open(&workers->meet);
    } else {
        gate_wait(&workers->meet, seen, workers->spin_ns);
    }
    if (atomic_load_explicit(&workers->broken, memory_order_acquire)) lane_unwind(workers);
}

/* --- ranges ----------------------------------------------------------------------------------- */

/* The first units % lanes lanes get one unit more, so ranges differ by at most one grain. */
void workers_split(size_t count, size_t grain, uint32_t lane, uint32_t lanes, size_t *out_first,
                   size_t *out_last) {
    ASSERT(lanes > 0 && lane < lanes);
    ASSERT(out_first && out_last);
    if (grain == 0) grain = 1;
    size_t units = count / grain + (count % grain != 0);
    size_t each = units / lanes, extra = units % lanes;
    size_t first = each * lane + (lane < extra ? lane : extra);
    size_t last = first + each + (lane < extra);
    *out_first = first < units ? first * grain : count;
    *out_last = last < units ? last * grain : count;
}

typedef struct RangeWork {
    WorkRangeFn *fn;
    void        *context;
    size_t       count, grain;
} RangeWork;

static void range_lane(void *context, uint32_t lane, uint32_t lanes) {
    const RangeWork *work = context;
    size_t           first, last;
    workers_split(work->count, work->grain, lane, lanes, &first, &last);
    if (first < last) work->fn(work->context, lane, first, last);
}

/* A single unit is not worth waking anybody. */
void workers_for(Workers *workers, size_t count, size_t grain, WorkRangeFn *fn, void *context) {
    ASSERT(workers && fn);
    if (count == 0) return;
    RangeWork work = {.fn = fn, .context = context, .count = count, .grain = grain};
    if (workers->lanes == 1 || count <= grain)
        fn(context, 0, 0, count);
    else
        workers_run(workers, range_lane, &work);
}
