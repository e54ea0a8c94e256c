/* What the fuzz targets of byte readers share: an arena with a limit, so that input which asks for
 * much memory ends in an unwind instead of the fuzzer's own limit, and a Diags. A target defines
 * fuzz_bytes; the arena and the rows are fresh for each input. */
#ifndef STOA_TESTS_FUZZ_ENTRY_H
#define STOA_TESTS_FUZZ_ENTRY_H

#include "tables/diags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Arena *arena;
    static Diags  diags;
    ArenaGuard    guard;
    if (arena == NULL) {
        arena = arena_open("fuzz", (size_t)1 << 28, (size_t)1 << 26);
        if (arena == NULL || !ARENA_GUARD(&guard)) return 0;
        diags_open(&diags, NULL);
        arena_guard_end(&guard);
    }
    ArenaMark start = {0};
    if (ARENA_GUARD(&guard)) {
        fuzz_bytes(arena, (String){(const char *)data, size}, &diags);
        arena_guard_end(&guard);
    }
    diags_clear(&diags);
    arena_release(arena, start);
    return 0;
}

#endif
