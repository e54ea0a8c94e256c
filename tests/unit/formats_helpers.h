/* What the tests of formats and checkpoints share: a folder of their own, whole files, and
 * questions to a Diags. Everything is static, because each test file is linked into the program of
 * its layer. */
#ifndef STOA_TESTS_FORMATS_HELPERS_H
#define STOA_TESTS_FORMATS_HELPERS_H

#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "tables/diags.h"

#define HELPER static __attribute__((unused))

/* A fresh empty folder; the test removes it with temp_remove. */
HELPER const char *temp_make(Arena *arena) {
    const char *base = getenv("TMPDIR");
    String      path = str_format(arena, "%s/stoa-test-XXXXXX", base ? base : "/tmp");
    return mkdtemp((char *)(uintptr_t)path.data);
}

/* Removes a folder and what is in it, however deep. */
HELPER void temp_remove(Arena *arena, const char *folder) {
    String *names;
    size_t  count;
    if (os_list(arena, folder, &names, &count) != 0) return;
    for (size_t i = 0; i < count; i++) {
        const char *path = str_format(arena, "%s/%s", folder, names[i].data).data;
        if (os_remove(path) != 0) temp_remove(arena, path);
    }
    int ignored = os_remove(folder);
    (void)ignored;
}

HELPER const char *path_in(Arena *arena, const char *folder, const char *name) {
    return str_format(arena, "%s/%s", folder, name).data;
}

HELPER bool file_put(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    bool  good = file && fwrite(bytes, 1, count, file) == count;
    return file && fclose(file) == 0 && good;
}

/* The whole file, or an empty string with NULL data if there is none. */
HELPER String file_get(Arena *arena, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return (String){0};
    size_t max = (size_t)1 << 22;
    char  *data = ARENA_ARRAY(arena, char, max);
    size_t count = fread(data, 1, max, file);
    fclose(file);
    return (String){data, count};
}

HELPER size_t files_in(Arena *arena, const char *folder) {
    String *names;
    size_t  count = 0;
    int     error = os_list(arena, folder, &names, &count);
    return error == 0 ? count : 0;
}

/* How many rows have this kind. */
HELPER uint32_t diags_of(const Diags *diags, DiagKind kind) {
    uint32_t count = 0;
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        count += diags->rows.kind[row] == kind;
    return count;
}

/* Argument `which` of the last row of this kind, as a terminated string. */
HELPER const char *diags_text(Arena *arena, const Diags *diags, DiagKind kind, int which) {
    for (uint32_t row = diags->rows.table.count - 1; row > 0; row--) {
        if (diags->rows.kind[row] != kind) continue;
        const uint64_t args[] = {diags->rows.arg0[row], diags->rows.arg1[row],
                                 diags->rows.arg2[row], diags->rows.arg3[row]};
        return str_copy(arena, diags_str_get(diags, args[which])).data;
    }
    return "(no such row)";
}

#endif
