/* Arenas: a reserved range of address space that commits as it grows, so what was pushed never
 * moves.
 *
 * An arena answers "how long does this memory live": as long as the arena, or until a mark is
 * released. There is no free. Running out (a byte limit, the operating system, or an injected
 * fault) unwinds to the innermost ARENA_GUARD of the thread; code between the guard and the push
 * needs no checks, and must hold no open file or lock across a push. Every public entry point has a
 * guard.
 *
 * Debug builds fill fresh and released memory with 0xAA and commit page by page, so that growth
 * paths run in every test; AddressSanitizer sees released bytes as poisoned.
 *
 * Thread rule: an arena belongs to one thread at a time. */
#ifndef STOA_ARENA_ARENA_H
#define STOA_ARENA_ARENA_H

#include <setjmp.h>
#include <stddef.h>

#include "arena/ids.h"

/* A byte limit shared by the arenas and columns of one owner (a world, a session). */
typedef struct Budget {
    const char *name;       /* static string, named in diagnostics */
    size_t      bytes_max;  /* 0: no limit */
    size_t      bytes;      /* committed now */
    size_t      bytes_peak; /* highest value of bytes */
} Budget;

typedef struct Arena Arena;
typedef struct ArenaMark {
    size_t used;
} ArenaMark;

/* Reserves reserve_bytes of address space (rounded up to pages; 0: 1 GiB) and commits the first
 * pages. bytes_max: commit limit, 0 for none beyond the reservation. name: static string.
 * Returns NULL when the operating system refuses or a fault is injected. */
Arena *arena_open(const char *name, size_t reserve_bytes, size_t bytes_max);
/* The same, charging commits to a shared budget as well (budget may be NULL). */
Arena *arena_open_in(const char *name, size_t reserve_bytes, size_t bytes_max, Budget *budget);
void   arena_close(Arena *arena); /* NULL is allowed */

/* bytes of memory aligned to align (a power of two); contents undefined (0xAA in debug). Never
 * returns NULL: failure unwinds to the guard. bytes may be 0. */
void *arena_push(Arena *arena, size_t bytes, size_t align);
void *arena_push_zero(Arena *arena, size_t bytes, size_t align);
#define ARENA_ARRAY(arena, T, n) ((T *)arena_push((arena), sizeof(T) * (size_t)(n), _Alignof(T)))
#define ARENA_ARRAY_ZERO(arena, T, n)                                                              \
    ((T *)arena_push_zero((arena), sizeof(T) * (size_t)(n), _Alignof(T)))
#define ARENA_NEW(arena, T) ARENA_ARRAY_ZERO(arena, T, 1)

/* The rows of a list that has room for one more: the same, or moved to at least twice the capacity
 * (rows of width bytes); the old ones stay in the arena, at most as much again. rows: NULL for
 * none, with a capacity of 0. */
void *arena_room(Arena *arena, void *rows, uint32_t count, uint32_t *capacity, size_t width);

ArenaMark   arena_mark(const Arena *arena);
void        arena_release(Arena *arena, ArenaMark mark); /* forgets and poisons all pushed since */
const char *arena_name(const Arena *arena);
size_t      arena_used(const Arena *arena);
size_t      arena_committed(const Arena *arena);

/* Scratch: per-thread arenas for one call. Pass the arenas the caller returns results in, so the
 * scratch is another one. Every begin needs an end, in stack order; after an unwind the guard
 * rewinds the scratch of its thread by itself. */
typedef struct Scratch {
    Arena    *arena;
    ArenaMark mark;
} Scratch;
Scratch scratch_begin(Arena *const *conflicts, size_t conflicts_count);
void    scratch_end(Scratch scratch);
void    scratch_close_thread(void); /* gives this thread's scratch back; workers call it on exit */

/* Guards. Use:
 *     ArenaGuard guard;
 *     if (!ARENA_GUARD(&guard)) return report(arena_guard_failure());   -- unwound to here
 *     ... work that pushes ...
 *     arena_guard_end(&guard);
 * Locals changed after ARENA_GUARD and read after an unwind must be volatile. Guards nest. */
typedef struct ArenaGuard {
    jmp_buf            jump;
    struct ArenaGuard *outer;
    size_t             scratch_used[2]; /* marks to rewind to */
} ArenaGuard;
typedef struct ArenaFailure {
    const char *arena;       /* name of the arena, column or budget that could not grow */
    size_t      bytes_asked; /* by the push that failed */
    size_t      bytes_max;   /* its limit; 0 if the operating system refused */
    bool        injected;    /* by fault_commit_nth */
} ArenaFailure;
void         arena_guard_push(ArenaGuard *guard);
void         arena_guard_end(ArenaGuard *guard);
ArenaFailure arena_guard_failure(void); /* of this thread's last unwind */
#define ARENA_GUARD(guard) (arena_guard_push(guard), setjmp((guard)->jump) == 0)

/* The one way out: records the failure and unwinds. Used by arena.c, column.c and block.c only. */
_Noreturn void arena_fail(const char *name, size_t bytes_asked, size_t bytes_max, bool injected);
/* Commits pages at memory (page-aligned) under a budget; false on refusal. Shared with column.c. */
bool arena_commit(void *memory, size_t bytes, Budget *budget, ArenaFailure *out_failure);

#endif
