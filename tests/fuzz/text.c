/* Fuzzes the parser: no text may crash it, and what it accepts must pass the check of a loaded
 * world, print, parse again and print the same. */
#include <stdint.h>

#include "tests/fuzz/fresh.h"
#include "text/check.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static String printed(Arena *arena, World *world) {
    if (!check_world(world, &world->diags)) __builtin_trap();
    return text_print(arena, world, (TextOptions){.types = true});
}

static void fuzz(Arena *arena, World *first, World *second, String source) {
    if (!text_parse(first, source, STR("fuzz"))) {
        (void)text_diags_in(arena, first, &first->diags, source);
        (void)text_print(arena, first, (TextOptions){.types = true});
        return;
    }
    String text = printed(arena, first);
    for (size_t i = 0; i + 3 <= text.count; i++) /* a size too long to print does not read back */
        if (memcmp(text.data + i, "...", 3) == 0) return;
    if (!text_parse(second, text, STR("printed"))) __builtin_trap();
    /* an equality between sizes may be found redundant when it is read in another order */
    bool equalities = first->dims.epoch != 0;
    if (!str_same(printed(arena, second), text) && !equalities) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Arena *arena;
    static World *kept[2];
    ArenaGuard    guard;
    if (arena == NULL) arena = arena_open("fuzz", 0, 0);
    if (arena == NULL) return 0;
    ArenaMark mark = arena_mark(arena);
    if (ARENA_GUARD(&guard)) {
        World *first = fresh_world(&kept[0]), *second = fresh_world(&kept[1]);
        if (first != NULL && second != NULL)
            fuzz(arena, first, second, (String){(const char *)data, size});
        arena_guard_end(&guard);
    }
    arena_release(arena, mark);
    return 0;
}
