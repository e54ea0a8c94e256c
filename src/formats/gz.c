/* gzip through zlib's inflate. A stream is a cursor over the packed bytes; at the end of a member
 * the next one begins if its magic number follows, zero padding is skipped, anything else is
 * damage. zlib asks for two pieces of memory (state and window, 40 KiB together); they come from a
 * fixed pool inside the stream, because an allocator that can unwind must not be called from inside
 * zlib. */
#include "formats/gz.h"

#include <zlib.h>

#include "formats/files.h"

enum { POOL_BYTES = 64 << 10, PIECE_BYTES = 64 << 10, INPUT_MAX = 1 << 30, GZIP_BITS = 15 + 16 };

struct GzStream {
    String   packed;
    size_t   at; /* bytes of packed that were handed to zlib */
    bool     gzip, ended;
    z_stream zlib;
    size_t   pool_used;
    _Alignas(16) uint8_t pool[POOL_BYTES];
};

static void *pool_push(void *owner, unsigned items, unsigned bytes_each) {
    GzStream *stream = owner;
    uint64_t  bytes = ((uint64_t)items * bytes_each + 15) & ~(uint64_t)15;
    if (bytes > POOL_BYTES - stream->pool_used) return Z_NULL;
    void *memory = stream->pool + stream->pool_used;
    stream->pool_used += (size_t)bytes;
    return memory;
}

static void pool_drop(void *owner, void *memory) {
    (void)owner;
    (void)memory;
}

static bool is_gzip(String bytes, size_t at) {
    return bytes.count - at >= 2 && (uint8_t)bytes.data[at] == 0x1F &&
           (uint8_t)bytes.data[at + 1] == 0x8B;
}

GzStream *gz_begin(Arena *arena, String bytes) {
    GzStream *stream = ARENA_NEW(arena, GzStream);
    stream->packed = bytes;
    stream->gzip = is_gzip(bytes, 0);
    if (!stream->gzip) return stream;
    stream->zlib.zalloc = pool_push;
    stream->zlib.zfree = pool_drop;
    stream->zlib.opaque = stream;
    int error = inflateInit2(&stream->zlib, GZIP_BITS);
    stream->ended = NEVER(error != Z_OK);
    return stream;
}

/* Where zlib stands in the packed bytes. */
static size_t consumed(const GzStream *stream) { return stream->at - stream->zlib.avail_in; }

/* After a member: begins the next one, or ends the stream. */
static Failure next_member(GzStream *stream) {
    size_t at = consumed(stream);
    while (at < stream->packed.count && stream->packed.data[at] == 0) at++;
    stream->ended = at == stream->packed.count;
    if (stream->ended) return (Failure){0};
    if (!is_gzip(stream->packed, at)) return failure_damaged("bytes follow the gzip data", at);
    stream->at = at;
    stream->zlib.avail_in = 0;
    int error = inflateReset(&stream->zlib);
    return NEVER(error != Z_OK) ? failure_damaged("zlib refused to go on", at) : (Failure){0};
}

static Failure inflate_some(GzStream *stream) {
    z_stream *zlib = &stream->zlib;
    if (zlib->avail_in == 0) {
        size_t left = stream->packed.count - stream->at;
        if (left == 0) return failure_damaged("the gzip data ends too early", stream->at);
        zlib->next_in = (z_const Bytef *)(uintptr_t)(stream->packed.data + stream->at);
        zlib->avail_in = left < INPUT_MAX ? (uInt)left : INPUT_MAX;
        stream->at += zlib->avail_in;
    }
    switch (inflate(zlib, Z_NO_FLUSH)) {
    case Z_OK:
    case Z_BUF_ERROR: return (Failure){0};
    case Z_STREAM_END: return next_member(stream);
    case Z_NEED_DICT: return failure_damaged("the gzip data needs a dictionary", consumed(stream));
    default:
        return failure_damaged(zlib->msg ? zlib->msg : "the gzip data is invalid",
                               consumed(stream));
    }
}

Failure gz_next(GzStream *stream, void *into, size_t bytes, size_t *out_got) {
    *out_got = 0;
    if (!stream->gzip) {
        size_t left = stream->packed.count - stream->at;
        *out_got = bytes < left ? bytes : left;
        if (*out_got != 0) memcpy(into, stream->packed.data + stream->at, *out_got);
        stream->at += *out_got;
        return (Failure){0};
    }
    Failure failure = {0};
    while (*out_got < bytes && !stream->ended && !failure_some(failure)) {
        size_t left = bytes - *out_got;
        uInt   room = left < INPUT_MAX ? (uInt)left : INPUT_MAX;
        stream->zlib.next_out = (Bytef *)into + *out_got;
        stream->zlib.avail_out = room;
        failure = inflate_some(stream);
        *out_got += room - stream->zlib.avail_out;
    }
    return failure;
}

/* Appends pieces until the end. One byte more than allowed is asked for, to notice that there is
 * one. */
static Failure unpack(Arena *out, String packed, uint64_t bytes_max, String *out_bytes) {
    Scratch   scratch = scratch_begin(&out, 1);
    GzStream *stream = gz_begin(scratch.arena, packed);
    char     *piece = ARENA_ARRAY(scratch.arena, char, PIECE_BYTES);
    ArenaMark mark = arena_mark(out);
    Text      text = text_begin(out);
    Failure   failure = {0};
    for (size_t got = PIECE_BYTES; got == PIECE_BYTES && !failure_some(failure);) {
        failure = gz_next(stream, piece, PIECE_BYTES, &got);
        if (failure_some(failure)) break;
        if (got > bytes_max - text.count)
            failure = failure_too_large(bytes_max);
        else
            text_add(&text, (String){piece, got});
    }
    if (failure_some(failure))
        arena_release(out, mark);
    else
        *out_bytes = text_done(&text);
    scratch_end(scratch);
    return failure;
}

Status gz_unpack(Arena *out, String bytes, const char *name, uint64_t bytes_max, Diags *diags,
                 String *out_bytes) {
    *out_bytes = (String){0};
    return report_failure(diags, name, unpack(out, bytes, bytes_max, out_bytes));
}

Status gz_read_file(Arena *out, const char *path, uint64_t bytes_max, Diags *diags,
                    String *out_bytes) {
    *out_bytes = (String){0};
    Scratch scratch = scratch_begin(&out, 1);
    String  packed;
    Failure failure = files_read(scratch.arena, path, gz_packed_max(bytes_max), &packed);
    if (failure.kind == FAILURE_TOO_LARGE) failure.number = bytes_max;
    if (!failure_some(failure)) failure = unpack(out, packed, bytes_max, out_bytes);
    Status status = report_failure(diags, path, failure);
    scratch_end(scratch);
    return status;
}
