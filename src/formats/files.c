/* Whole-file operations, each a chain of "if nothing failed, then". The first failure is kept, the
 * file is closed in any case, and temporary files are removed. Buffers are pushed before a file is
 * opened, which is why reading opens twice: once for the size, once for the bytes. A file that
 * shrinks in between is a read failure; one that grows is read up to the size first seen. */
#include "formats/files.h"

#include "arena/hash.h"
#include "arena/os.h"

enum { CHUNK_BYTES = 1 << 20 };

/* Closing matters after a write (network file systems report there); otherwise it is ignored. */
static Failure close_after(OsFile *file, Failure failure) {
    int error = os_close(file);
    return failure_some(failure) ? failure : failure_file("close", error);
}

static Failure read_size(const char *path, uint64_t *out_bytes) {
    OsFile  file = {-1};
    Failure failure = failure_file("open", os_open(path, OS_READ, &file));
    if (!failure_some(failure)) failure = failure_file("size", os_size(file, out_bytes));
    return close_after(&file, failure);
}

static Failure read_prefix(Arena *out, const char *path, size_t bytes, String *out_bytes) {
    ArenaMark mark = arena_mark(out);
    char     *data = arena_push(out, bytes, 16);
    OsFile    file = {-1};
    Failure   failure = failure_file("open", os_open(path, OS_READ, &file));
    if (!failure_some(failure)) failure = failure_file("read", os_read_at(file, 0, data, bytes));
    failure = close_after(&file, failure);
    if (failure_some(failure))
        arena_release(out, mark);
    else
        *out_bytes = (String){data, bytes};
    return failure;
}

Failure files_read_head(Arena *out, const char *path, uint64_t bytes_max, String *out_bytes,
                        uint64_t *out_total) {
    *out_bytes = (String){0};
    *out_total = 0;
    Failure failure = read_size(path, out_total);
    if (failure_some(failure)) return failure;
    uint64_t bytes = *out_total < bytes_max ? *out_total : bytes_max;
    return read_prefix(out, path, (size_t)bytes, out_bytes);
}

Failure files_read(Arena *out, const char *path, uint64_t bytes_max, String *out_bytes) {
    *out_bytes = (String){0};
    uint64_t total = 0;
    Failure  failure = read_size(path, &total);
    if (failure_some(failure)) return failure;
    if (total > bytes_max) return failure_too_large(bytes_max);
    return read_prefix(out, path, (size_t)total, out_bytes);
}

Failure files_checksum(const char *path, uint64_t *out_bytes, uint32_t *out_crc) {
    *out_bytes = *out_crc = 0;
    Scratch  scratch = scratch_begin(NULL, 0);
    uint8_t *chunk = ARENA_ARRAY(scratch.arena, uint8_t, CHUNK_BYTES);
    uint64_t total = 0;
    OsFile   file = {-1};
    Failure  failure = failure_file("open", os_open(path, OS_READ, &file));
    if (!failure_some(failure)) failure = failure_file("size", os_size(file, &total));
    for (uint64_t at = 0; at < total && !failure_some(failure);) {
        size_t bytes = total - at < CHUNK_BYTES ? (size_t)(total - at) : CHUNK_BYTES;
        failure = failure_file("read", os_read_at(file, at, chunk, bytes));
        if (!failure_some(failure)) *out_crc = hash_crc32c(*out_crc, chunk, bytes);
        at += bytes;
    }
    failure = close_after(&file, failure);
    scratch_end(scratch);
    *out_bytes = total;
    return failure;
}

String files_folder(Arena *out, const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return str_copy(out, STR("."));
    size_t count = slash == path ? 1 : (size_t)(slash - path);
    return str_copy(out, (String){path, count});
}

Failure files_publish(const char *temp, const char *path, const char *folder) {
    Failure failure = failure_file("rename", os_rename(temp, path));
    if (!failure_some(failure)) failure = failure_file("sync the folder of", os_sync_dir(folder));
    return failure;
}

void files_discard(const char *temp) {
    int ignored = os_remove(temp);
    (void)ignored;
}

Failure files_write(const char *path, String bytes) {
    Scratch scratch = scratch_begin(NULL, 0);
    String  temp = str_format(scratch.arena, "%s.tmp", path);
    String  folder = files_folder(scratch.arena, path);
    OsFile  file = {-1};
    Failure failure = failure_file("create", os_open(temp.data, OS_WRITE_NEW, &file));
    bool    made = !failure_some(failure);
    if (made) failure = failure_file("write", os_write(file, bytes.data, bytes.count));
    if (!failure_some(failure)) failure = failure_file("sync", os_sync(file));
    failure = close_after(&file, failure);
    if (!failure_some(failure)) failure = files_publish(temp.data, path, folder.data);
    if (made && failure_some(failure)) files_discard(temp.data);
    scratch_end(scratch);
    return failure;
}
