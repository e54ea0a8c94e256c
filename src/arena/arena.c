/* Arenas, scratch and guards: where host memory comes from and how running out of it is survived.
 *
 * Layout of a reservation: [Arena header | pushed bytes ... | committed, unused | reserved only].
 * Offsets (used, dirty, ready) count from the first byte after the header.
 *
 * Invariants: used <= dirty <= ready; bytes from dirty up to ready are still zero, as the operating
 * system gave them, which lets arena_push_zero skip its memset for fresh memory. The reserved part
 * is PROT_NONE, so running past ready faults in every build.
 *
 * Why one out-of-memory path (arena_fail, longjmp to the guard) instead of results at each push: a
 * push is on every line of every system, and a check on each would be untested code. Tests make
 * each commit fail in turn instead, and the guard is the only place that handles it. */
#include "arena/arena.h"

#include <string.h>
#include <threads.h>

#include "arena/inner.h"
#include "arena/os.h"

struct Arena {
    const char *name;
    uint8_t    *base;      /* first byte that can be pushed */
    size_t      used;      /* bytes pushed, padding included */
    size_t      dirty;     /* highest value of used */
    size_t      ready;     /* bytes committed after base */
    size_t      ready_max; /* ready may grow to here: limit or reservation, whichever is less */
    size_t      limit;     /* the limit to name in a failure, bytes */
    size_t      reserved;  /* bytes of the reservation, header included */
    Budget     *budget;
};

enum {
    HEADER_BYTES = 128,  /* two cache lines, so that base is 64-byte aligned */
    STEP_MIN = 64 << 10, /* first and smallest commit, release */
    STEP_MAX = 8 << 20,  /* largest speculative commit, release */
    SCRATCH_COUNT = 2,   /* one for the callee when the caller's result is in the other */
    REDZONE_BYTES = 16,  /* poisoned gap between pushes under AddressSanitizer */
};
static const size_t reserve_default = (size_t)1 << 30;
static const size_t reserve_scratch = (size_t)8 << 30;
static_assert(sizeof(Arena) <= HEADER_BYTES, "the header leaves the base aligned");
static_assert(LENGTH(((ArenaGuard *)0)->scratch_used) == SCRATCH_COUNT, "a mark per scratch arena");

static _Thread_local ArenaGuard  *guard_inner;
static _Thread_local ArenaFailure guard_failure;
static _Thread_local Arena       *scratch_arenas[SCRATCH_COUNT];
static tss_t                      scratch_key; /* its destructor closes the scratch of a thread */
static once_flag                  scratch_key_once = ONCE_FLAG_INIT;
static bool                       scratch_key_made;

bool arena_commit(void *memory, size_t bytes, Budget *budget, ArenaFailure *out_failure) {
    ASSERT(bytes % os_page_bytes() == 0);
    ASSERT(out_failure);
    *out_failure = (ArenaFailure){.bytes_asked = bytes};
    if (!budget_charge(budget, bytes)) {
        out_failure->arena = budget->name;
        out_failure->bytes_max = budget->bytes_max;
        return false;
    }
    if (os_commit(memory, bytes)) return true;
    budget_refund(budget, bytes);
    out_failure->injected = fault_commit_hit();
    return false;
}

/* --- open, push, release -------------------------------------------------------------------- */

/* How many more bytes to commit so that the arena reaches at least need bytes after base. Commits
 * double, because each is a system call, up to STEP_MAX; a nearly spent budget gets the minimum. */
static size_t arena_step(const Arena *arena, size_t need) {
    size_t page = os_page_bytes(), committed = HEADER_BYTES + arena->ready;
    ASSERT(need > arena->ready && need <= arena->ready_max);
    size_t least = memory_round(HEADER_BYTES + need, page) - committed;
    if (MEMORY_DEBUG) return least;
    size_t step = committed < STEP_MIN ? STEP_MIN : committed > STEP_MAX ? STEP_MAX : committed;
    size_t most = arena->ready_max - arena->ready;
    if (step > most) step = most;
    if (step > budget_left(arena->budget)) step = least;
    return step > least ? step : least;
}

/* Commits until need bytes after base are ready; the failure names whose limit it was. */
static bool arena_more(Arena *arena, size_t need, ArenaFailure *out_failure) {
    uint8_t *memory = (uint8_t *)arena;
    size_t   committed = HEADER_BYTES + arena->ready;
    size_t   bytes = arena_step(arena, need);
    if (!arena_commit(memory + committed, bytes, arena->budget, out_failure)) return false;
    MEMORY_POISON(memory + committed, bytes);
    if (committed + bytes >= 2 * memory_huge_bytes) {
        size_t from = committed < 2 * memory_huge_bytes ? 0 : committed;
        os_advise_huge(memory + from, committed + bytes - from);
    }
    arena->ready += bytes;
    return true;
}

Arena *arena_open(const char *name, size_t reserve_bytes, size_t bytes_max) {
    return arena_open_in(name, reserve_bytes, bytes_max, NULL);
}

/* Leaves the refusal where an unwind would, so that the caller can report it in the same way. */
static Arena *arena_open_refused(const char *name, ArenaFailure failure) {
    if (!failure.arena) failure.arena = name;
    guard_failure = failure;
    return NULL;
}

Arena *arena_open_in(const char *name, size_t reserve_bytes, size_t bytes_max, Budget *budget) {
    ASSERT(name);
    size_t       page = os_page_bytes();
    ArenaFailure failure = {.bytes_asked = reserve_bytes};
    if (reserve_bytes == 0) reserve_bytes = reserve_default;
    if (reserve_bytes > SIZE_MAX - page || bytes_max > SIZE_MAX - page)
        return arena_open_refused(name, failure);
    reserve_bytes = memory_round(reserve_bytes, page);
    bytes_max = memory_round(bytes_max, page);
    size_t limit = bytes_max > 0 && bytes_max < reserve_bytes ? bytes_max : reserve_bytes;
    size_t first = MEMORY_DEBUG || limit < STEP_MIN ? page : STEP_MIN;
    if (first > budget_left(budget)) first = page;
    uint8_t *memory = os_reserve(reserve_bytes);
    if (!memory) return arena_open_refused(name, failure);
    if (!arena_commit(memory, first, budget, &failure)) {
        os_release(memory, reserve_bytes);
        return arena_open_refused(name, failure);
    }
    Arena *arena = (Arena *)(void *)memory;
    *arena = (Arena){.name = name,
                     .base = memory + HEADER_BYTES,
                     .ready = first - HEADER_BYTES,
                     .ready_max = limit - HEADER_BYTES,
                     .limit = limit,
                     .reserved = reserve_bytes,
                     .budget = budget};
    MEMORY_POISON(arena->base, arena->ready);
    return arena;
}

void arena_close(Arena *arena) {
    if (!arena) return;
    ASSERT(arena->used <= arena->dirty && arena->dirty <= arena->ready);
    budget_refund(arena->budget, arena_committed(arena));
    MEMORY_UNPOISON(arena->base, arena->ready); /* the addresses may be mapped again */
    os_release(arena, arena->reserved);
}

/* The offset at which a push of this alignment starts. Under AddressSanitizer a poisoned gap goes
 * before it, so overruns of the previous push are seen; text (alignment 1) extends in place. */
static size_t arena_start(const Arena *arena, size_t align) {
    ASSERT(align > 0 && (align & (align - 1)) == 0);
    uintptr_t base = (uintptr_t)arena->base, top = base + arena->used;
#ifdef STOA_ASAN
    if (align > 1 && arena->used > 0) top += REDZONE_BYTES;
#endif
    return memory_round(top, align) - base;
}

_Noreturn static void arena_refuse(Arena *arena, size_t start, size_t bytes, ArenaFailure failure) {
    bool over = start > arena->ready_max || bytes > arena->ready_max - start;
    if (over) arena_fail(arena->name, bytes, arena->limit, false);
    arena_fail(failure.arena ? failure.arena : arena->name, bytes, failure.bytes_max,
               failure.injected);
}

void *arena_push(Arena *arena, size_t bytes, size_t align) {
    ASSERT(arena);
    size_t start = arena_start(arena, align);
    if (__builtin_expect(start > arena->ready || bytes > arena->ready - start, 0)) {
        ArenaFailure failure = {0};
        bool         over = start > arena->ready_max || bytes > arena->ready_max - start;
        if (over || !arena_more(arena, start + bytes, &failure))
            arena_refuse(arena, start, bytes, failure);
    }
    uint8_t *memory = arena->base + start;
    MEMORY_UNPOISON(memory, bytes);
    memory_fill(memory, bytes);
    arena->used = start + bytes;
    if (arena->dirty < arena->used) arena->dirty = arena->used;
    return memory;
}

void *arena_push_zero(Arena *arena, size_t bytes, size_t align) {
    size_t   dirty = arena->dirty;
    uint8_t *memory = arena_push(arena, bytes, align);
    size_t   start = (size_t)(memory - arena->base);
    size_t   stale = start < dirty ? dirty - start : 0; /* beyond, the pages are still zero */
    if (MEMORY_DEBUG || stale > bytes) stale = bytes;
    if (stale > 0) memset(memory, 0, stale);
    return memory;
}

void *arena_room(Arena *arena, void *rows, uint32_t count, uint32_t *capacity, size_t width) {
    ASSERT(count <= *capacity);
    if (count < *capacity) return rows;
    uint32_t more = *capacity * 2 + 32;
    void    *moved = arena_push(arena, width * more, _Alignof(max_align_t));
    if (count != 0) memcpy(moved, rows, width * count);
    *capacity = more;
    return moved;
}

ArenaMark arena_mark(const Arena *arena) {
    ASSERT(arena);
    return (ArenaMark){arena->used};
}

void arena_release(Arena *arena, ArenaMark mark) {
    ASSERT(arena);
    ASSERT(mark.used <= arena->used); /* releases come in stack order */
    size_t bytes = arena->used - mark.used;
    if (MEMORY_DEBUG) { /* the gaps between pushes are poisoned: open them for the fill */
        MEMORY_UNPOISON(arena->base + mark.used, bytes);
        memory_fill(arena->base + mark.used, bytes);
    }
    MEMORY_POISON(arena->base + mark.used, bytes);
    arena->used = mark.used;
}

const char *arena_name(const Arena *arena) {
    ASSERT(arena);
    return arena->name;
}

size_t arena_used(const Arena *arena) {
    ASSERT(arena);
    return arena->used;
}

size_t arena_committed(const Arena *arena) {
    ASSERT(arena);
    return HEADER_BYTES + arena->ready;
}

/* --- scratch ---------------------------------------------------------------------------------- */

static void scratch_exit(void *unused) {
    (void)unused;
    scratch_close_thread();
}

static void scratch_key_make(void) {
    scratch_key_made = tss_create(&scratch_key, scratch_exit) == thrd_success;
}

/* Opens a scratch arena of this thread. Host threads come and go without telling us, so a thread
 * key gives their scratch back; where no key is to be had, only address space is lost. */
static Arena *scratch_open(size_t which) {
    ASSERT(!scratch_arenas[which]);
    Arena *arena = arena_open("scratch", reserve_scratch, 0);
    if (!arena) {
        ArenaFailure failure = guard_failure;
        arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
    }
    call_once(&scratch_key_once, scratch_key_make);
    if (scratch_key_made) (void)tss_set(scratch_key, arena);
    scratch_arenas[which] = arena;
    return arena;
}

Scratch scratch_begin(Arena *const *conflicts, size_t conflicts_count) {
    ASSERT(conflicts || conflicts_count == 0);
    for (size_t which = 0; which < SCRATCH_COUNT; which++) {
        Arena *arena = scratch_arenas[which];
        bool   taken = false;
        for (size_t i = 0; arena && i < conflicts_count; i++) taken |= conflicts[i] == arena;
        if (taken) continue;
        if (!arena) arena = scratch_open(which);
        return (Scratch){arena, arena_mark(arena)};
    }
    __builtin_trap(); /* both conflict: carrying on would overwrite the caller's results */
}

void scratch_end(Scratch scratch) {
    ASSERT(scratch.arena == scratch_arenas[0] || scratch.arena == scratch_arenas[1]);
    arena_release(scratch.arena, scratch.mark);
}

void scratch_close_thread(void) {
    ASSERT(!guard_inner); /* a guard would rewind arenas that are gone */
    for (size_t which = 0; which < SCRATCH_COUNT; which++) {
        arena_close(scratch_arenas[which]);
        scratch_arenas[which] = NULL;
    }
}

/* --- guards ----------------------------------------------------------------------------------- */

void arena_guard_push(ArenaGuard *guard) {
    ASSERT(guard && guard != guard_inner);
    guard->outer = guard_inner;
    for (size_t which = 0; which < SCRATCH_COUNT; which++) {
        const Arena *arena = scratch_arenas[which];
        guard->scratch_used[which] = arena ? arena->used : 0;
    }
    guard_inner = guard;
}

void arena_guard_end(ArenaGuard *guard) {
    ASSERT(guard && guard == guard_inner); /* guards end in stack order, and not after an unwind */
    guard_inner = guard->outer;
}

ArenaFailure arena_guard_failure(void) { return guard_failure; }

_Noreturn void arena_fail(const char *name, size_t bytes_asked, size_t bytes_max, bool injected) {
    ArenaGuard *guard = guard_inner;
    if (!guard) __builtin_trap(); /* an entry point without a guard is our bug, in every build */
    guard_failure = (ArenaFailure){name, bytes_asked, bytes_max, injected};
    guard_inner = guard->outer;
    for (size_t which = 0; which < SCRATCH_COUNT; which++) {
        Arena *arena = scratch_arenas[which];
        if (arena && arena->used > guard->scratch_used[which])
            arena_release(arena, (ArenaMark){guard->scratch_used[which]});
    }
    longjmp(guard->jump, 1);
}
