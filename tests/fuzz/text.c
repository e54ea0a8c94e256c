/* Fuzzes the parser: no text may crash it, and what it accepts must pass the check of a loaded world,
 * print, parse again and print the same. */
#include <stdint.h>

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
    if (!str_same(printed(arena, second), text)) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena     *arena = arena_open("fuzz", 0, 0);
    World     *first = world_open((size_t)64 << 20, 1 << 14);
    World     *second = world_open((size_t)64 << 20, 1 << 14);
    ArenaGuard guard;
    if (arena && first && second && ARENA_GUARD(&guard)) {
        fuzz(arena, first, second, (String){(const char *)data, size});
        arena_guard_end(&guard);
    }
    world_close(first);
    world_close(second);
    arena_close(arena);
    return 0;
}
