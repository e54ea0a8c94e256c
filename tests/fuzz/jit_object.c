/* The loader of kernel objects on any bytes: what it accepts is placed, and must lie within the
 * size and have its entry there. The code is never run. The corpus has a sound object to start
 * from. */
#include "fuzz_entry.h"

#include "cpu/jit_inner.h"

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    enum { LIMIT = 1 << 20 };
    JitObject   object;
    const char *why = NULL;
    (void)diags;
    if (!jit_object_read(bytes, &object, &why)) {
        if (why == NULL) __builtin_trap();
        return;
    }
    if (object.entry >= object.size) __builtin_trap();
    if (object.size <= LIMIT) jit_object_place(&object, arena_push(arena, object.size, 64));
}
