/* Files of the cache. Little-endian, 40 bytes, then the result:
 *
 *     0  "stoagpu\n"      8  u32 format   12  u32 CRC-32C of bytes 16 to the end
 *    16  u64 key low     24  u64 key high 32  u64 bytes of the result */
#include "gpu/cache.h"

#include "arena/hash.h"
#include "arena/os.h"

enum { HEADER_BYTES = 40, CHECKED_FROM = 16, FORMAT = 1 };
static const uint64_t RESULT_BYTES_MAX = (uint64_t)1 << 30;
static const char     MAGIC[8] = {'s', 't', 'o', 'a', 'g', 'p', 'u', '\n'};

static uint64_t read_u64(const char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static uint32_t read_u32(const char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

GpuCache gpu_cache_open(Arena *arena, String folder) {
    const char *cache = os_environment("XDG_CACHE_HOME"), *home = os_environment("HOME");
    if (folder.count > 0) return (GpuCache){.folder = str_copy(arena, folder)};
    if (cache != NULL && cache[0] != 0)
        return (GpuCache){.folder = str_format(arena, "%s/stoa", cache)};
    if (home != NULL && home[0] != 0)
        return (GpuCache){.folder = str_format(arena, "%s/.cache/stoa", home)};
    return (GpuCache){.folder = STR("")};
}

GpuKey gpu_cache_key(const String *parts, uint32_t count) {
    GpuKey key = {count, ~(uint64_t)count};
    for (uint32_t i = 0; i < count; i++) {
        key.low = hash_mix(hash_bytes(parts[i].data, parts[i].count, key.low), parts[i].count);
        key.high = hash_mix(hash_bytes(parts[i].data, parts[i].count, key.high), key.low);
    }
    return key;
}

bool gpu_cache_read(String file, GpuKey key, String *out_bytes) {
    *out_bytes = (String){"", 0};
    if (file.count < HEADER_BYTES || memcmp(file.data, MAGIC, sizeof MAGIC) != 0) return false;
    if (read_u32(file.data + 8) != FORMAT) return false;
    if (read_u64(file.data + 16) != key.low || read_u64(file.data + 24) != key.high) return false;
    if (read_u64(file.data + 32) != file.count - HEADER_BYTES) return false;
    uint32_t crc = hash_crc32c(0, file.data + CHECKED_FROM, file.count - CHECKED_FROM);
    if (read_u32(file.data + 12) != crc) return false;
    *out_bytes = (String){file.data + HEADER_BYTES, file.count - HEADER_BYTES};
    return true;
}

static String file_path(Arena *out, const GpuCache *cache, const char *kind, GpuKey key) {
    return str_format(out, "%s/%016llx%016llx.%s", cache->folder.data, (unsigned long long)key.high,
                      (unsigned long long)key.low, kind);
}

bool gpu_cache_find(const GpuCache *cache, Arena *out, const char *kind, GpuKey key,
                    String *out_bytes) {
    *out_bytes = (String){"", 0};
    if (cache == NULL || cache->folder.count == 0) return false;
    uint64_t  bytes = 0;
    OsFile    file;
    ArenaMark mark = arena_mark(out);
    String    path = file_path(out, cache, kind, key);
    int       error = os_open(path.data, OS_READ, &file);
    if (error == 0) error = os_size(file, &bytes);
    (void)os_close(&file); /* nothing is open while memory is pushed */
    bool found = false;
    if (error == 0 && bytes <= RESULT_BYTES_MAX + HEADER_BYTES) {
        char *data = arena_push(out, bytes, 16);
        error = os_open(path.data, OS_READ, &file);
        if (error == 0) error = os_read_at(file, 0, data, bytes);
        (void)os_close(&file);
        found = error == 0 && gpu_cache_read((String){data, bytes}, key, out_bytes);
    }
    if (!found) arena_release(out, mark);
    return found;
}

/* Writes beside the path and renames, so that readers see all or nothing. No sync: what a power cut
 * damages fails its checksum. */
static int write_file(String path, String temporary, const char *header, String bytes) {
    OsFile file;
    int    error = os_open(temporary.data, OS_WRITE_NEW, &file);
    if (error != 0) return error;
    error = os_write(file, header, HEADER_BYTES);
    if (error == 0) error = os_write(file, bytes.data, bytes.count);
    int closed = os_close(&file);
    if (error == 0) error = closed;
    if (error == 0) error = os_rename(temporary.data, path.data);
    if (error != 0) {
        int removed = os_remove(temporary.data);
        (void)removed;
    }
    return error;
}

void gpu_cache_put(GpuCache *cache, const char *kind, GpuKey key, String bytes, Diags *diags) {
    if (cache == NULL || cache->folder.count == 0 || cache->warned) return;
    if (bytes.count > RESULT_BYTES_MAX) return;
    char     header[HEADER_BYTES] = {0};
    uint32_t format = FORMAT;
    uint64_t numbers[3] = {key.low, key.high, bytes.count};
    memcpy(header, MAGIC, sizeof MAGIC);
    memcpy(header + 8, &format, sizeof format);
    memcpy(header + CHECKED_FROM, numbers, sizeof numbers);
    uint32_t crc = hash_crc32c(0, header + CHECKED_FROM, HEADER_BYTES - CHECKED_FROM);
    crc = hash_crc32c(crc, bytes.data, bytes.count);
    memcpy(header + 12, &crc, sizeof crc);

    Scratch scratch = scratch_begin(NULL, 0);
    String  path = file_path(scratch.arena, cache, kind, key);
    String  temporary = str_format(scratch.arena, "%s.%llx.tmp", path.data,
                                   (unsigned long long)(os_clock_ns() ^ (uintptr_t)&header));
    int     error = os_make_dir(cache->folder.data);
    if (error == 0) error = write_file(path, temporary, header, bytes);
    if (error != 0) {
        cache->warned = true;
        (void)diags_add(diags, DIAG_GPU_CACHE, 0, diags_str(diags, cache->folder),
                        diags_str(diags, STR("written")),
                        diags_str(diags, str_of(os_error_text(error))), 0);
    }
    scratch_end(scratch);
}
