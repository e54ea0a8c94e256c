/* Kernel objects on disk: one file a kernel, named by its key.
 *
 * A file is a 48-byte header (magic, key, size, checksums of header and object) and the object.
 * Reading believes nothing: a wrong magic, key, size or checksum is as if there were no file, and
 * the kernel is compiled and written again. Writing goes to a name of its own (process, counter)
 * and renames, so that readers and other processes see whole files only; it is not synced, since
 * a torn file is just a miss. What a reader used is touched, and the longest unused files go when
 * the folder exceeds its limit. Paths of at most PATH_BYTES; longer ones turn the cache off. */
#include "cpu/jit_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/hash.h"
#include "arena/os.h"

enum { PATH_BYTES = 1024, NAME_BYTES = 37, HEX_DIGITS = 32 };
static const char     cache_suffix[] = ".stk";
static const char     cache_temporary[] = ".tmp";
static const uint64_t cache_object_max = (uint64_t)64 << 20;
#define CACHE_MAGIC "STOAJIT1"

typedef struct Header {
    char     magic[8];
    JitKey   key;
    uint64_t bytes;      /* of the object */
    uint32_t object_crc; /* CRC-32C */
    uint32_t header_crc; /* of everything before it */
    uint64_t reserved;   /* 0 */
} Header;
static_assert(sizeof(Header) == 48, "a header is 48 bytes");

static Header header_make(JitKey key, String object) {
    Header header = {
        .key = key, .bytes = object.count, .object_crc = hash_crc32c(0, object.data, object.count)};
    memcpy(header.magic, CACHE_MAGIC, sizeof header.magic);
    header.header_crc = hash_crc32c(0, &header, offsetof(Header, header_crc));
    return header;
}
static bool header_good(const Header *header, JitKey key, String object) {
    Header same = header_make(key, object);
    return memcmp(header, &same, sizeof same) == 0;
}

/* dir + "/" + 32 hexadecimal digits + suffix. */
static void path_make(char out_path[PATH_BYTES], const JitCache *cache, JitKey key) {
    (void)snprintf(out_path, PATH_BYTES, "%s/%016llx%016llx%s", cache->dir,
                   (unsigned long long)key.word[0], (unsigned long long)key.word[1], cache_suffix);
}

/* Another process may have been first, or the folder is read-only: neither matters. */
static void drop(const char *path) {
    int error = os_remove(path);
    (void)error;
}

void jit_cache_open(JitCache *cache, Arena *arena, const char *dir, uint64_t bytes_max) {
    *cache = (JitCache){.bytes_max = bytes_max};
    if (dir == NULL) return;
    int error = strlen(dir) + 2 * NAME_BYTES < PATH_BYTES ? os_make_dir(dir) : JIT_CACHE_LONG;
    atomic_store(&cache->error, error);
    if (error == 0) cache->dir = str_copy(arena, str_of(dir)).data;
}

/* Memory is pushed before the file is opened, because a push can unwind. */
String jit_cache_find(const JitCache *cache, Arena *out, JitKey key) {
    String   none = {0};
    char     path[PATH_BYTES];
    uint64_t bytes = 0, time_ns = 0;
    OsFile   file;
    if (cache->dir == NULL) return none;
    path_make(path, cache, key);
    if (os_stat(path, &bytes, &time_ns) != 0) return none;
    if (bytes < sizeof(Header) || bytes > sizeof(Header) + cache_object_max) return none;
    char *content = arena_push(out, bytes, _Alignof(Header));
    if (os_open(path, OS_READ, &file) != 0) return none;
    bool good = os_read_at(file, 0, content, bytes) == 0;
    good &= os_close(&file) == 0;
    Header header;
    String object = {content + sizeof header, bytes - sizeof header};
    if (good) memcpy(&header, content, sizeof header);
    if (!good || !header_good(&header, key, object)) return none;
    os_touch(path); /* a read-only folder only loses the order of removal */
    return object;
}

void jit_cache_add(JitCache *cache, JitKey key, String object) {
    if (cache->dir == NULL || object.count > cache_object_max) return;
    char     path[PATH_BYTES], temporary[PATH_BYTES];
    Header   header = header_make(key, object);
    OsFile   file;
    uint32_t number = atomic_fetch_add(&cache->writes, 1);
    path_make(path, cache, key);
    (void)snprintf(temporary, sizeof temporary, "%s/%u-%u-%llx%s", cache->dir, os_process_id(),
                   number, (unsigned long long)os_clock_ns(), cache_temporary);
    int error = os_open(temporary, OS_WRITE_NEW, &file);
    if (error == 0) {
        error = os_write(file, &header, sizeof header);
        if (error == 0) error = os_write(file, object.data, object.count);
        int closed = os_close(&file);
        if (error == 0) error = closed;
        if (error == 0) error = os_rename(temporary, path);
        if (error != 0) drop(temporary);
    }
    int32_t none = 0;
    if (error != 0) (void)atomic_compare_exchange_strong(&cache->error, &none, error);
    if (error == 0) atomic_fetch_add(&cache->bytes_written, sizeof header + object.count);
}

/* --- keeping it small ------------------------------------------------------------------------- */

typedef struct CacheFile {
    String   name;
    uint64_t bytes, time_ns;
} CacheFile;

static int older_first(const void *left, const void *right) {
    const CacheFile *a = left, *b = right;
    return (a->time_ns > b->time_ns) - (a->time_ns < b->time_ns);
}
static bool name_ends(String name, const char *suffix) {
    size_t count = strlen(suffix);
    return name.count >= count && memcmp(name.data + name.count - count, suffix, count) == 0;
}
/* Only what this file writes is ever removed. */
static bool name_ours(String name) {
    bool object =
        name.count == HEX_DIGITS + sizeof cache_suffix - 1 && name_ends(name, cache_suffix);
    return object || name_ends(name, cache_temporary);
}

void jit_cache_trim(JitCache *cache) {
    if (cache->dir == NULL || atomic_exchange(&cache->bytes_written, 0) == 0) return;
    Scratch  scratch = scratch_begin(NULL, 0);
    String  *names;
    size_t   names_count, count = 0;
    uint64_t bytes = 0;
    if (os_list(scratch.arena, cache->dir, &names, &names_count) != 0) names_count = 0;
    CacheFile *files = ARENA_ARRAY(scratch.arena, CacheFile, names_count);
    for (size_t i = 0; i < names_count; i++) {
        if (!name_ours(names[i])) continue;
        String     path = str_format(scratch.arena, "%s/%.*s", cache->dir, STR_ARGS(names[i]));
        CacheFile *file = &files[count];
        *file = (CacheFile){.name = path};
        if (os_stat(path.data, &file->bytes, &file->time_ns) != 0) continue;
        bytes += file->bytes;
        count++;
    }
    if (bytes > cache->bytes_max) {
        qsort(files, count, sizeof *files, older_first);
        for (size_t i = 0; i < count && bytes > cache->bytes_max / 4 * 3; i++) {
            drop(files[i].name.data);
            bytes -= files[i].bytes;
        }
    }
    scratch_end(scratch);
}
