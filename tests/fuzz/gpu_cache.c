/* gpu_cache_read on any bytes: what it accepts is intact and inside the file. Byte 0 says what is
 * put right first, so that the checks behind are reached: bit 0 the checksum, bit 1 the key. */
#include "fuzz_entry.h"

#include "arena/hash.h"
#include "gpu/cache.h"

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    const GpuKey key = {1, 2};
    String       result;
    (void)diags;
    if (bytes.count == 0) return;
    size_t count = bytes.count - 1;
    char  *file = arena_push(arena, count, 1);
    memcpy(file, bytes.data + 1, count);
    if (bytes.data[0] & 2 && count >= 32) memcpy(file + 16, &key, sizeof key);
    if (bytes.data[0] & 1 && count >= 16) {
        uint32_t crc = hash_crc32c(0, file + 16, count - 16);
        memcpy(file + 12, &crc, sizeof crc);
    }
    bool found = gpu_cache_read((String){file, count}, key, &result);
    if (!found && result.count != 0) __builtin_trap();
    if (found && (result.data != file + 40 || result.count != count - 40)) __builtin_trap();
}
