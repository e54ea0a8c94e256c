/* The operating system layer: memory, clock, files, folders, threads. Each file operation of a
 * crash-safe save fails in turn, and whatever fails, the file of before or the new one must be
 * there whole. */
#include "harness.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "arena/os.h"

/* A fresh folder for one test. */
static String folder_make(Arena *arena, const char *name) {
    String path = str_format(arena, "/tmp/stoa-test-%ld-%s", (long)getpid(), name);
    EXPECT_EQ(os_make_dir(path.data), 0);
    return path;
}

static int file_put(const char *path, OsOpen how, const void *bytes, size_t count) {
    OsFile file = {-1};
    int    error = os_open(path, how, &file);
    if (!error) error = os_write(file, bytes, count);
    if (!error) error = os_sync(file);
    int closed = os_close(&file);
    return error ? error : closed;
}

TEST(os_memory_commits_and_drops) {
    size_t   page = os_page_bytes();
    uint8_t *memory = os_reserve(page * 4096);
    REQUIRE(memory);
    EXPECT_EQ((uintptr_t)memory % ((size_t)2 << 20), 0); // large ones begin on a huge page
    EXPECT(os_commit(memory + page, page));
    EXPECT_EQ(memory[page], 0);
    memset(memory + page, 7, page);
    os_decommit(memory + page, page);
    EXPECT(os_commit(memory, page * 3));
    EXPECT_EQ(memory[page], 0);
    os_advise_huge(memory, page * 3);
    os_release(memory, page * 4096);
    EXPECT(!os_reserve(SIZE_MAX / 2 / page * page));
}

TEST(os_clock_moves_forward) {
    uint64_t before = os_clock_ns(), after = os_clock_ns();
    EXPECT(after >= before && before > 0);
    EXPECT(os_clock_wall_s() > 1600000000);
    EXPECT(os_memory_resident() > os_page_bytes());
}

TEST(os_file_round_trip) {
    String      dir = folder_make(arena, "files");
    const char *path = str_format(arena, "%s/a", dir.data).data;
    const char *moved = str_format(arena, "%s/b", dir.data).data;
    EXPECT_EQ(file_put(path, OS_WRITE_NEW, "hello", 5), 0);
    EXPECT_EQ(file_put(path, OS_APPEND, " world", 6), 0);
    OsFile   file;
    uint64_t bytes = 0;
    char     text[16] = {0};
    EXPECT_EQ(os_open(path, OS_READ, &file), 0);
    EXPECT_EQ(os_size(file, &bytes), 0);
    EXPECT_EQ(bytes, 11);
    EXPECT_EQ(os_read_at(file, 6, text, 5), 0);
    EXPECT_STR(text, "world");
    int error = os_read_at(file, 6, text, 6); // one byte too many
    EXPECT(error != 0);
    EXPECT_STR(os_error_text(error), "the file ends too early");
    EXPECT(os_read_at(file, UINT64_MAX, text, 1) != 0);
    EXPECT_EQ(os_close(&file), 0);
    EXPECT_EQ(file.handle, -1);
    EXPECT_EQ(os_close(&file), 0);
    EXPECT_EQ(os_rename(path, moved), 0);
    EXPECT_EQ(os_sync_dir(dir.data), 0);
    EXPECT(!os_exists(path) && os_exists(moved));
    EXPECT_EQ(os_open(moved, OS_APPEND, &file), 0);
    EXPECT_EQ(os_truncate(file, 3), 0);
    EXPECT_EQ(os_close(&file), 0);
    OsMap map;
    EXPECT_EQ(os_map(moved, &map), 0);
    EXPECT(map.bytes == 3 && memcmp(map.data, "hel", 3) == 0);
    os_unmap(&map);
    EXPECT(!map.data);
    os_unmap(&map);
    EXPECT_EQ(file_put(moved, OS_WRITE_NEW, "", 0), 0);
    EXPECT_EQ(os_map(moved, &map), 0);
    EXPECT(!map.data && map.bytes == 0);
    EXPECT_EQ(os_remove(moved), 0);
    EXPECT_EQ(os_remove(dir.data), 0);
    EXPECT(!os_exists(dir.data));
}

TEST(os_file_errors_have_text) {
    OsFile  file;
    OsMap   map;
    String *names;
    size_t  count;
    int     error = os_open("/nonexistent/file", OS_READ, &file);
    EXPECT_EQ(file.handle, -1);
    EXPECT_STR(os_error_text(error), "No such file or directory");
    EXPECT_STR(os_error_text(os_map("/tmp", &map)), "Is a directory");
    EXPECT(os_map("/dev/null", &map) != 0);
    EXPECT(os_remove("/nonexistent") != 0 && os_rename("/nonexistent", "/tmp/x") != 0);
    EXPECT(os_make_dir("/proc/nope/deeper") != 0 && os_make_dir("") != 0);
    EXPECT(os_make_dir("/dev/null/below") != 0 && os_make_dir("/dev/null") != 0);
    EXPECT(os_sync_dir("/nonexistent") != 0);
    EXPECT(os_list(arena, "/nonexistent", &names, &count) != 0);
    EXPECT_STR(os_error_text(-12345), "unknown error");
    char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    EXPECT(os_make_dir(long_path) != 0);
}

TEST(os_make_dir_with_parents) {
    String      dir = folder_make(arena, "tree");
    const char *inner = str_format(arena, "%s/one", dir.data).data;
    const char *deep = str_format(arena, "%s//two/", inner).data;
    EXPECT_EQ(os_make_dir(deep), 0);
    EXPECT_EQ(os_make_dir(deep), 0); // exists
    EXPECT(os_exists(deep));
    EXPECT(os_remove(dir.data) != 0); // not empty
    EXPECT_EQ(os_remove(deep), 0);
    EXPECT_EQ(os_remove(inner), 0);
    EXPECT_EQ(os_remove(dir.data), 0);
}

TEST(os_list_sorts) {
    enum { FILES = 300 };
    String  dir = folder_make(arena, "list");
    String *names = NULL;
    size_t  count = 1;
    EXPECT_EQ(os_list(arena, dir.data, &names, &count), 0);
    EXPECT_EQ(count, 0);
    for (int i = FILES - 1; i >= 0; i--) {
        const char *path = str_format(arena, "%s/n%d", dir.data, i).data;
        EXPECT_EQ(file_put(path, OS_WRITE_NEW, "", 0), 0);
    }
    EXPECT_EQ(os_list(arena, dir.data, &names, &count), 0);
    EXPECT_EQ(count, FILES);
    EXPECT_STR(names[0].data, "n0");
    EXPECT_STR(names[1].data, "n1");
    EXPECT_STR(names[2].data, "n10"); // bytewise: before n2
    EXPECT_STR(names[FILES - 1].data, "n99");
    for (size_t i = 0; i < count; i++)
        EXPECT_EQ(os_remove(str_format(arena, "%s/%s", dir.data, names[i].data).data), 0);
    EXPECT_EQ(os_remove(dir.data), 0);
}

/* Writes a file the crash-safe way. 0 or the first error; no handle stays open. */
static int save(Arena *arena, const char *dir, const char *bytes, size_t count) {
    const char *fresh = str_format(arena, "%s/fresh", dir).data;
    const char *final = str_format(arena, "%s/final", dir).data;
    int         error = file_put(fresh, OS_WRITE_NEW, bytes, count);
    if (!error) error = os_rename(fresh, final);
    if (!error) error = os_sync_dir(dir);
    return error;
}

TEST(os_files_survive_every_fault) {
    String      dir = folder_make(arena, "faults");
    const char *final = str_format(arena, "%s/final", dir.data).data;
    EXPECT_EQ(save(arena, dir.data, "old!", 4), 0);
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        fault_file_nth(n);
        int      error = save(arena, dir.data, "new!", 4);
        uint64_t calls = fault_file_count();
        fault_file_nth(0);
        OsMap map;
        EXPECT_EQ(os_map(final, &map), 0);
        EXPECT_EQ(map.bytes, 4);
        bool whole = memcmp(map.data, "old!", 4) == 0 || memcmp(map.data, "new!", 4) == 0;
        EXPECT(whole);
        os_unmap(&map);
        EXPECT_EQ(error == 0, calls < n);
        if (!error) break;
        refused++;
        EXPECT_STR(os_error_text(error), "injected fault");
    }
    EXPECT_EQ(refused, 6); // open write sync close rename sync_dir
    EXPECT_EQ(os_remove(final), 0);
    EXPECT_EQ(os_remove(dir.data), 0); // the last save moved the fresh file away
}

TEST(os_torn_write_leaves_half) {
    String      dir = folder_make(arena, "torn");
    const char *path = str_format(arena, "%s/a", dir.data).data;
    fault_file_nth(2);
    EXPECT(file_put(path, OS_WRITE_NEW, "12345678", 8) != 0);
    fault_file_nth(0);
    OsMap map;
    EXPECT_EQ(os_map(path, &map), 0);
    EXPECT_EQ(map.bytes, 4);
    os_unmap(&map);
    EXPECT_EQ(os_remove(path), 0);
    EXPECT_EQ(os_remove(dir.data), 0);
}

typedef struct Meeting {
    _Atomic uint32_t word;
    _Atomic uint32_t woken;
} Meeting;

static void meeting_wait(void *context) {
    Meeting *meeting = context;
    while (atomic_load(&meeting->word) == 0) os_wait(&meeting->word, 0);
    atomic_fetch_add(&meeting->woken, 1);
}

TEST(os_threads_wait_and_wake) {
    Meeting  meeting = {0};
    OsThread threads[3];
    for (size_t i = 0; i < LENGTH(threads); i++)
        REQUIRE(os_thread_start(&threads[i], meeting_wait, &meeting, "a name of more than 15") ==
                0);
    atomic_store(&meeting.word, 9);
    os_wake(&meeting.word);
    for (size_t i = 0; i < LENGTH(threads); i++) os_thread_join(threads[i]);
    EXPECT_EQ(meeting.woken, 3);
    os_wait(&meeting.word, 0); // the word differs: returns at once
}

TEST(os_reads_the_environment) {
    EXPECT(os_environment("PATH") != NULL && os_environment("PATH")[0] != 0);
    EXPECT(os_environment("STOA_NO_SUCH_VARIABLE") == NULL);
}
