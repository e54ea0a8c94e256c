/* idx_check and gz_unpack on any bytes, with a small limit: neither may hand out more than it, and
 * the product of the dims is the size of the payload. Most inputs end in zlib's own checks; the
 * corpus has sound gzip files to start from. */
#include "fuzz_entry.h"

#include "formats/gz.h"
#include "formats/idx.h"

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    enum { LIMIT = 1 << 16 };
    Idx    idx;
    String text;
    Status status = idx_check(arena, bytes, "fuzz", LIMIT, diags, &idx);
    if (status == STATUS_OK) {
        uint64_t product = 1, sum = 0;
        for (uint32_t i = 0; i < idx.rank; i++) product *= idx.dims[i];
        if (product != idx.bytes || idx.bytes > LIMIT) __builtin_trap();
        for (uint64_t i = 0; i < idx.bytes; i++) sum += idx.data[i];
        if (sum > 255 * idx.bytes) __builtin_trap();
    }
    if (gz_unpack(arena, bytes, "fuzz", LIMIT, diags, &text) == STATUS_OK && text.count > LIMIT)
        __builtin_trap();
}
