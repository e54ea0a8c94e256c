/* Running out of memory anywhere in a reader or writer: each commit is refused in turn, the work
 * unwinds to the guard, and no file stays open. Commits happen only in fresh memory, so each round
 * runs on a thread with scratch arenas of its own. */
#include "harness.h"

#include "formats/config.h"
#include "formats/gz.h"
#include "formats/idx.h"
#include "formats/safetensors.h"
#include "formats_fixtures.h"
#include "formats_helpers.h"

static Status work(Arena *arena, const char *dir, Diags *diags) {
    Safetensors       file;
    SafetensorsWriter writer;
    Idx               idx;
    String            text;
    uint8_t           payload[32];
    const char       *path = path_in(arena, dir, "in");
    Status            status = safetensors_open(arena, path, diags, &file);
    for (uint32_t i = 0; i < file.entries_count && status == STATUS_OK; i++)
        status =
            safetensors_read_into(&file, &file.entries[i], payload, file.entries[i].bytes, diags);
    const char *copy = path_in(arena, dir, "out");
    if (status == STATUS_OK)
        status = safetensors_begin(arena, copy, file.entries, file.entries_count, file.metadata,
                                   file.metadata_count, diags, &writer);
    if (status == STATUS_OK) status = safetensors_write(&writer, payload, 32, diags);
    if (status == STATUS_OK) status = safetensors_end(&writer, diags);
    if (status == STATUS_OK) status = idx_read(arena, path_in(arena, dir, "idx"), 100, diags, &idx);
    if (status == STATUS_OK)
        status = gz_read_file(arena, path_in(arena, dir, "bomb"), 1 << 20, diags, &text);
    Config config = config_open(arena);
    for (int i = 0; i < 200 && status == STATUS_OK; i++)
        status = config_parse(&config, STR("a = [1, 'x']\nb = \"\\n\"\n"), "x", diags);
    Status missing = safetensors_open(arena, path_in(arena, dir, "none"), diags, &file);
    return status == STATUS_OK && missing != STATUS_IO ? STATUS_INVALID : status;
}

typedef struct Run {
    const char *dir;
    uint64_t    n;
    Status      status;
    bool        unwound;
    Diags       diags;
} Run;

/* One run, on a thread of its own so that its scratch is fresh too; the n-th commit is refused. */
static void run_once(void *context) {
    Run       *run = context;
    ArenaGuard guard;
    Arena     *fresh = arena_open("fresh", 1 << 24, 0);
    run->diags = (Diags){0};
    fault_commit_nth(run->n);
    run->unwound = true;
    if (ARENA_GUARD(&guard)) {
        diags_open(&run->diags, NULL);
        run->status = work(fresh, run->dir, &run->diags);
        arena_guard_end(&guard);
        run->unwound = false;
    }
    fault_commit_nth(0);
    diags_close(&run->diags);
    arena_close(fresh);
}

TEST(formats_survive_each_refused_commit) {
    const char *dir = temp_make(arena);
    REQUIRE(file_put(path_in(arena, dir, "in"), fixture_safetensors, sizeof fixture_safetensors));
    REQUIRE(file_put(path_in(arena, dir, "idx"), fixture_idx_gzip, sizeof fixture_idx_gzip));
    REQUIRE(file_put(path_in(arena, dir, "bomb"), fixture_bomb, sizeof fixture_bomb));
    size_t handles = files_in(arena, "/proc/self/fd");
    Run    run = {.dir = dir, .n = 1, .unwound = true};
    for (; run.unwound && run.n < 100000; run.n++) {
        OsThread thread;
        run.status = STATUS_OUT_OF_MEMORY;
        REQUIRE(os_thread_start(&thread, run_once, &run, "formats") == 0);
        os_thread_join(thread);
        EXPECT_EQ(files_in(arena, "/proc/self/fd"), handles);
        EXPECT_EQ(run.unwound, run.status == STATUS_OUT_OF_MEMORY);
    }
    EXPECT_EQ(run.status, STATUS_OK);
    EXPECT(run.n > 5);
    temp_remove(arena, dir);
}
