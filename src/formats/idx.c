/* The IDX reader, over gz streams so that plain and packed files take one path: sizes first, then
 * exactly the declared payload, then proof that nothing follows. Asking for the byte after the last
 * also makes zlib reach the trailer, so the checksum of a packed file is always compared. */
#include "formats/idx.h"

#include "formats/files.h"
#include "formats/gz.h"

enum {
    TYPE_U8 = 8,
    HEAD_BYTES = 128 << 10, /* holds the IDX header of a gzip file whatever its own header holds */
};
static const char format_name[] = "IDX file of bytes";

static Failure read_sizes(GzStream *stream, Idx *idx) {
    uint8_t magic[4], size[4];
    size_t  got;
    *idx = (Idx){0};
    Failure failure = gz_next(stream, magic, sizeof magic, &got);
    if (failure_some(failure)) return failure;
    if (got != sizeof magic || magic[0] != 0 || magic[1] != 0)
        return failure_format(STATUS_CORRUPT, format_name, "it does not begin with two zero bytes");
    if (magic[2] != TYPE_U8)
        return failure_format(STATUS_UNSUPPORTED, format_name, "its element type is not u8");
    if (magic[3] == 0 || magic[3] > IDX_RANK_MAX)
        return failure_format(STATUS_UNSUPPORTED, format_name, "it does not have 1 to 4 dims");
    uint64_t bytes = 1;
    for (idx->rank = 0; idx->rank < magic[3]; idx->rank++) {
        failure = gz_next(stream, size, sizeof size, &got);
        if (failure_some(failure)) return failure;
        if (got != sizeof size) return failure_damaged("the sizes end too early", 4);
        uint32_t dim = (uint32_t)size[0] << 24 | (uint32_t)size[1] << 16 | (uint32_t)size[2] << 8 |
                       (uint32_t)size[3];
        idx->dims[idx->rank] = dim;
        if (__builtin_mul_overflow(bytes, dim, &bytes))
            return failure_damaged("the sizes are too large", 4 + 4 * (uint64_t)idx->rank);
    }
    idx->bytes = bytes;
    return (Failure){0};
}

static Failure read_payload(GzStream *stream, const Idx *idx, void *into) {
    uint64_t header = 4 + 4 * (uint64_t)idx->rank;
    size_t   got;
    uint8_t  extra;
    Failure  failure = gz_next(stream, into, (size_t)idx->bytes, &got);
    if (failure_some(failure)) return failure;
    if (got != idx->bytes) return failure_damaged("the elements end too early", header + got);
    failure =
        gz_next(stream, &extra, 1, &got); /* also reaches the trailer of gzip and its checksum */
    if (failure_some(failure) || got == 0) return failure;
    return failure_damaged("more bytes follow than the sizes say", header + idx->bytes);
}

static Failure read_all(Arena *out, String bytes, uint64_t bytes_max, Idx *idx) {
    Scratch   scratch = scratch_begin(&out, 1);
    GzStream *stream = gz_begin(scratch.arena, bytes);
    ArenaMark mark = arena_mark(out);
    Failure   failure = read_sizes(stream, idx);
    if (!failure_some(failure) && idx->bytes > bytes_max) failure = failure_too_large(bytes_max);
    if (!failure_some(failure)) {
        idx->data = arena_push(out, (size_t)idx->bytes, 64);
        failure = read_payload(stream, idx, idx->data);
    }
    if (failure_some(failure)) {
        arena_release(out, mark);
        *idx = (Idx){0};
    }
    scratch_end(scratch);
    return failure;
}

Status idx_info(const char *path, Diags *diags, Idx *out_idx) {
    *out_idx = (Idx){0};
    Scratch  scratch = scratch_begin(NULL, 0);
    String   head;
    uint64_t total;
    Failure  failure = files_read_head(scratch.arena, path, HEAD_BYTES, &head, &total);
    if (!failure_some(failure)) failure = read_sizes(gz_begin(scratch.arena, head), out_idx);
    Status status = report_failure(diags, path, failure);
    scratch_end(scratch);
    return status;
}

Status idx_read(Arena *out, const char *path, uint64_t bytes_max, Diags *diags, Idx *out_idx) {
    *out_idx = (Idx){0};
    Scratch scratch = scratch_begin(&out, 1);
    String  bytes;
    Failure failure = files_read(scratch.arena, path, gz_packed_max(bytes_max), &bytes);
    if (failure.kind == FAILURE_TOO_LARGE) failure.number = bytes_max;
    if (!failure_some(failure)) failure = read_all(out, bytes, bytes_max, out_idx);
    Status status = report_failure(diags, path, failure);
    scratch_end(scratch);
    return status;
}

Status idx_read_into(const char *path, Idx *idx, void *into, Diags *diags) {
    Scratch scratch = scratch_begin(NULL, 0);
    String  bytes;
    Idx     now;
    Failure failure = files_read(scratch.arena, path, gz_packed_max(idx->bytes), &bytes);
    if (!failure_some(failure)) {
        GzStream *stream = gz_begin(scratch.arena, bytes);
        failure = read_sizes(stream, &now);
        bool same = now.rank == idx->rank && memcmp(now.dims, idx->dims, sizeof now.dims) == 0;
        if (!failure_some(failure) && !same)
            failure = failure_damaged("the sizes changed since they were read", 4);
        if (!failure_some(failure)) failure = read_payload(stream, idx, into);
    }
    Status status = report_failure(diags, path, failure);
    if (status == STATUS_OK) idx->data = into;
    scratch_end(scratch);
    return status;
}

Status idx_check(Arena *out, String bytes, const char *name, uint64_t bytes_max, Diags *diags,
                 Idx *out_idx) {
    return report_failure(diags, name, read_all(out, bytes, bytes_max, out_idx));
}
