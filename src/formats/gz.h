/* Compressed or plain bytes, read the same way: gzip (also several members, and dictzip .dz, which
 * is gzip with an index in its extra field) is recognised by its magic number, anything else is
 * plain.
 *
 * The compressed bytes are read into memory first and unpacked piece by piece, so no file is open
 * while memory is pushed. zlib works in a fixed piece of the arena; it never calls malloc.
 * Checksums and lengths of the gzip trailer are verified. The caller's limit holds for the unpacked
 * bytes, so a decompression bomb costs at most that. */
#ifndef STOA_FORMATS_GZ_H
#define STOA_FORMATS_GZ_H

#include "formats/report.h"

/* The whole file, unpacked; more than bytes_max is FILE_TOO_LARGE. Ends with a 0 byte that is not
 * counted. */
MUST_USE Status gz_read_file(Arena *out, const char *path, uint64_t bytes_max, Diags *diags,
                             String *out_bytes);
/* The same for bytes in memory; name is for messages. */
MUST_USE Status gz_unpack(Arena *out, String bytes, const char *name, uint64_t bytes_max,
                          Diags *diags, String *out_bytes);

/* The most packed bytes that can unpack to bytes_max: incompressible data grows by a header and a
 * word a block; the slack is generous. */
static inline uint64_t gz_packed_max(uint64_t bytes_max) {
    uint64_t slack = 1 << 20;
    return bytes_max > UINT64_MAX / 2 - slack ? UINT64_MAX : bytes_max + bytes_max / 1024 + slack;
}

/* Piece by piece. The stream lives in arena and reads bytes, which must outlive it. */
typedef struct GzStream GzStream;
GzStream               *gz_begin(Arena *arena, String bytes);
/* Fills into with the next bytes; fewer than asked only at the end. */
MUST_USE Failure gz_next(GzStream *stream, void *into, size_t bytes, size_t *out_got);

#endif
