/* Worker lanes: threads that share out turns of work, or run one function together.
 *
 * Each lane has a word that holds which of its pieces are left, [next, end): it takes the next
 * itself, others take the last, both by exchanging the word, so a piece is done once. Whoever
 * finishes the last piece of a turn leads: it asks for the next turn, fills the words and opens the
 * gate. Only who holds a piece reads what belongs to a turn, so a lane that comes late, even after
 * the caller has returned, finds empty words and does no harm.
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
    FOR_PIECES = 4, /* of a range, a lane */
};

typedef struct Gate {
    _Alignas(LINE_BYTES) _Atomic uint32_t opened; /* how often; a waiter sleeps on it */
    _Atomic uint32_t sleepers;                    /* so that opening seldom needs a system call */
} Gate;

/*  left:   63      62 ... 32   31 ... 0
 *          own     next        end         own: nobody else takes these pieces */
typedef struct Lane {
    _Alignas(LINE_BYTES) _Atomic uint64_t left;
    _Alignas(LINE_BYTES) Workers *workers;
    uint32_t lane;
    int32_t  cpu; /* -1: not pinned */
    OsThread thread;
    uint32_t held;  /* pieces that are taken and not yet counted as done */
    bool     leads; /* both here, so that a failure does not lose them */
} Lane;
static const uint64_t left_own = (uint64_t)1 << 63, left_one = (uint64_t)1 << 32;

struct Workers {
    uint32_t lanes;
    uint32_t spin_ns;
    Lane    *rows;
    TurnFn  *next; /* NULL: there is one turn */
    PieceFn *piece;
    void    *context;
    bool     running;
    Gate     turn, meet;
    _Alignas(LINE_BYTES) _Atomic uint32_t undone;  /* pieces of this turn */
    _Alignas(LINE_BYTES) _Atomic uint32_t arrived; /* at the barrier */
    _Alignas(LINE_BYTES) _Atomic uint32_t claimed; /* by the first lane that failed */
    _Atomic uint32_t broken;                       /* failure is readable */
    _Atomic uint32_t done, closing;                /* read after `turn` has opened */
    ArenaFailure     failure;
};

/* --- gates ------------------------------------------------------------------------------------ */

/* Waiting is on gates: a counter that the opener advances. A waiter spins for some tens of
 * microseconds, because the next launch of a step is usually that near and a futex wake-up costs as
 * much, then sleeps. With more lanes than processors nobody spins: it would take time from the lane
 * waited for. */

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

/* Each lane works under a guard. The first failure is kept, pieces left are taken but not done,
 * lanes at a barrier (which the failed lane will never reach) unwind too, and at the end the call
 * fails once more on the caller's thread, to the caller's guard. The lanes stay usable. */
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

static bool is_broken(const Workers *workers) {
    return atomic_load_explicit(&workers->broken, memory_order_acquire) != 0;
}

/* Takes the next piece of a lane, or its last for another one. */
static bool take_of(Lane *row, bool last, uint32_t *out_piece) {
    uint64_t left = atomic_load_explicit(&row->left, memory_order_relaxed);
    for (;;) {
        uint32_t next = (uint32_t)((left & ~left_own) >> 32), end = (uint32_t)left;
        if (next >= end || (last && (left & left_own))) return false;
        *out_piece = last ? end - 1 : next;
        if (atomic_compare_exchange_weak_explicit(&row->left, &left,
                                                  last ? left - 1 : left + left_one,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    }
}
static bool take(Workers *workers, uint32_t lane, uint32_t *out_piece) {
    if (take_of(&workers->rows[lane], false, out_piece)) return true;
    for (;;) {
        Lane    *fullest = NULL;
        uint32_t most = 0;
        for (uint32_t i = 0; i < workers->lanes; i++) {
            Lane    *row = &workers->rows[i];
            uint64_t left = atomic_load_explicit(&row->left, memory_order_relaxed);
            uint32_t next = (uint32_t)(left >> 32), end = (uint32_t)left;
            if ((left & left_own) || next >= end || end - next <= most) continue;
            most = end - next;
            fullest = row;
        }
        if (fullest == NULL) return false;
        if (take_of(fullest, true, out_piece)) return true;
    }
}

/* own: piece i is for lane i alone. */
static void turn_open(Workers *workers, uint32_t pieces, bool own) {
    atomic_store_explicit(&workers->undone, pieces, memory_order_relaxed);
    for (uint32_t lane = 0; lane < workers->lanes; lane++) {
        size_t first, last;
        workers_split(pieces, 1, lane, workers->lanes, &first, &last);
        atomic_store_explicit(&workers->rows[lane].left,
                              (own ? left_own : 0) | (uint64_t)first << 32 | last,
                              memory_order_release);
    }
    gate_open(&workers->turn);
}
/* Goes to the next turn that others can share, or to the end. */
static void lead(Workers *workers, uint32_t lane) {
    ASSERT(atomic_load(&workers->undone) == 0);
    for (;;) {
        bool     more = workers->next != NULL && !is_broken(workers);
        uint32_t pieces = more ? workers->next(workers->context, lane) : 0;
        if (pieces == 0) break;
        if (pieces > 1) {
            turn_open(workers, pieces, false);
            return;
        }
        workers->piece(workers->context, lane, 0);
    }
    atomic_store(&workers->done, 1);
    if (lane != 0) gate_open(&workers->turn); /* the caller waits */
}

/* Does what there is to do, until nothing is left to take. */
static void lane_share(Workers *workers, Lane *row) {
    uint32_t piece;
    for (;;) {
        if (row->leads) lead(workers, row->lane);
        row->leads = false;
        while (take(workers, row->lane, &piece)) {
            row->held++;
            if (!is_broken(workers)) workers->piece(workers->context, row->lane, piece);
        }
        uint32_t held = row->held;
        row->held = 0;
        if (held == 0) return;
        row->leads =
            atomic_fetch_sub_explicit(&workers->undone, held, memory_order_acq_rel) == held;
        if (!row->leads) return;
    }
}
static void lane_work(Workers *workers, uint32_t lane) {
    for (;;) {
        ArenaGuard guard;
        if (ARENA_GUARD(&guard)) {
            lane_share(workers, &workers->rows[lane]);
            arena_guard_end(&guard);
            return;
        }
        lane_failed(workers, arena_guard_failure());
    }
}

static void lane_main(void *context) {
    const Lane *row = context;
    Workers    *workers = row->workers;
    if (row->cpu >= 0) (void)topology_pin((uint32_t)row->cpu); /* unpinned still works */
    for (;;) {
        uint32_t seen = atomic_load(&workers->turn.opened);
        if (atomic_load(&workers->closing)) break;
        lane_work(workers, row->lane);
        gate_wait(&workers->turn, seen, workers->spin_ns);
    }
    scratch_close_thread();
}

/* Ends lanes 1 to started. */
static void lanes_stop(Workers *workers, uint32_t started) {
    ASSERT(!workers->running);
    atomic_store(&workers->closing, 1);
    gate_open(&workers->turn);
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
    bool bind = pin && lanes <= cpus_count; /* shared cores are the scheduler's business */
    for (uint32_t lane = 0; lane < lanes; lane++) {
        Lane *row = &workers->rows[lane];
        row->workers = workers;
        row->lane = lane;
        row->cpu = bind ? (int32_t)cpus[lane] : -1;
    }
    for (uint32_t lane = 1; lane < lanes; lane++) { /* a lane may look at all rows */
        Lane *row = &workers->rows[lane];
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

static void begin(Workers *workers, TurnFn *next, PieceFn *piece, void *context) {
    ASSERT(!workers->running); /* not from inside a lane */
    workers->running = true;
    workers->next = next;
    workers->piece = piece;
    workers->context = context;
    atomic_store_explicit(&workers->done, 0, memory_order_relaxed);
}
/* Lane 0's part until all is done. */
static void end(Workers *workers) {
    for (;;) {
        uint32_t seen = atomic_load(&workers->turn.opened);
        lane_work(workers, 0);
        if (atomic_load(&workers->done)) break;
        gate_wait(&workers->turn, seen, workers->spin_ns);
    }
    workers->running = false;
    if (!is_broken(workers)) return;
    atomic_store_explicit(&workers->arrived, 0, memory_order_relaxed); /* some never met */
    atomic_store_explicit(&workers->broken, 0, memory_order_relaxed);
    atomic_store_explicit(&workers->claimed, 0, memory_order_relaxed);
    lane_unwind(workers);
}

void workers_turns(Workers *workers, TurnFn *next, PieceFn *piece, void *context) {
    ASSERT(workers && next && piece);
    if (workers->lanes == 1) {
        for (uint32_t pieces; (pieces = next(context, 0)) != 0;)
            for (uint32_t i = 0; i < pieces; i++) piece(context, 0, i);
        return;
    }
    begin(workers, next, piece, context);
    workers->rows[0].leads = true;
    lane_work(workers, 0);
    end(workers);
}

typedef struct Together {
    WorkFn  *fn;
    void    *context;
    uint32_t lanes;
} Together;
static void together(void *context, uint32_t lane, uint32_t piece) {
    const Together *all = context;
    ASSERT(lane == piece);
    all->fn(all->context, piece, all->lanes);
}
void workers_run(Workers *workers, WorkFn *fn, void *context) {
    ASSERT(workers && fn);
    Together all = {fn, context, workers->lanes};
    if (workers->lanes == 1) {
        fn(context, 0, 1);
        return;
    }
    begin(workers, NULL, together, &all);
    turn_open(workers, workers->lanes, true);
    end(workers);
}

/* Sense-reversing, with the gate's counter as the sense. That is read before `broken`: a failing
 * lane sets broken and then opens the gate, so a lane that reads broken as 0 has read the gate from
 * before, and will see it open. */
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

/* The first units % parts parts get one unit more, so ranges differ by at most one grain. */
void workers_split(size_t count, size_t grain, uint32_t part, uint32_t parts, size_t *out_first,
                   size_t *out_last) {
    ASSERT(parts > 0 && part < parts);
    ASSERT(out_first && out_last);
    if (grain == 0) grain = 1;
    size_t units = count / grain + (count % grain != 0);
    size_t each = units / parts, extra = units % parts;
    size_t first = each * part + (part < extra ? part : extra);
    size_t last = first + each + (part < extra);
    *out_first = first < units ? first * grain : count;
    *out_last = last < units ? last * grain : count;
}

typedef struct RangeWork {
    WorkRangeFn *fn;
    void        *context;
    size_t       count, grain;
    uint32_t     pieces;
    bool         begun;
} RangeWork;
static uint32_t range_next(void *context, uint32_t lane) {
    RangeWork *work = context;
    (void)lane;
    uint32_t pieces = work->begun ? 0 : work->pieces;
    work->begun = true;
    return pieces;
}
static void range_piece(void *context, uint32_t lane, uint32_t piece) {
    const RangeWork *work = context;
    size_t           first, last;
    workers_split(work->count, work->grain, piece, work->pieces, &first, &last);
    if (first < last) work->fn(work->context, lane, first, last);
}
void workers_for(Workers *workers, size_t count, size_t grain, WorkRangeFn *fn, void *context) {
    ASSERT(workers && fn);
    RangeWork work = {.fn = fn, .context = context, .count = count, .grain = grain ? grain : 1};
    size_t    units = count / work.grain + (count % work.grain != 0), most = FOR_PIECES;
    most = workers->lanes == 1 ? 1 : most * workers->lanes;
    work.pieces = (uint32_t)(units < most ? units : most);
    if (count > 0) workers_turns(workers, range_next, range_piece, &work);
}
