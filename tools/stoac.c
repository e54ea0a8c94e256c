/* stoac: reads a program (text or binary), prints it again.
 *
 *     stoac FILE [-o FILE] [--types] [--binary] [--check] [--mem] [--time]
 *
 * Diagnostics go to stderr; the exit status is 1 if there were errors, 2 for wrong usage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/os.h"
#include "text/messages.h"
#include "text/parse.h"
#include "text/print.h"

int main(int argc, char **argv) {
    Arena *arena = arena_open("stoac", (size_t)8 << 30, 0);
    OsMap  map;
    bool   types = false;
    if (argc > 2 && strcmp(argv[2], "--types") == 0) types = true;
    if (argc < 2 || os_map(argv[1], &map) != 0) return 2;
    World *world = world_open(0, 0);
    String source = {(const char *)map.data, map.bytes};
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) { fprintf(stderr, "memory: %s\n", arena_guard_failure().arena); return 2; }
    uint64_t t0 = os_clock_ns();
    bool good = text_parse(world, source, str_of(argv[1]));
    uint64_t t1 = os_clock_ns();
    String diags = text_diags_in(arena, world, &world->diags, source);
    fwrite(diags.data, 1, diags.count, stderr);
    uint64_t t2 = os_clock_ns();
    String text = text_print(arena, world, (TextOptions){.types = types});
    uint64_t t3 = os_clock_ns();
    fwrite(text.data, 1, text.count, stdout);
    fprintf(stderr, "ops %u parse %.1f print %.1f ns/op\n", world->code.ops.table.count, (double)(t1-t0)/world->code.ops.table.count, (double)(t3-t2)/world->code.ops.table.count);
    return !good;
}
