/* safetensors: named tensors in one file. Layout, little-endian:
 *
 *     u64 header bytes | header: JSON, padded with spaces | payloads back to back
 *
 * Reading verifies the whole header before anything is handed out: its length, the JSON, names
 * (none twice), dtypes, shapes (at most 8 dims, element count in int64) and that the payloads cover
 * the rest of the file exactly, without overlap or hole. Only the header is kept in memory;
 * payloads are read with system calls into the caller's memory, because a mapped file that another
 * process truncates would kill this one. safetensors_map is there for callers who accept that.
 *
 * Writing streams into a temporary file beside the target and renames it at the end; the writer
 * holds no open file between calls, so an unwind (arena.h) leaks nothing but the temporary file. */
#ifndef STOA_FORMATS_SAFETENSORS_H
#define STOA_FORMATS_SAFETENSORS_H

#include "arena/os.h"
#include "formats/report.h"
#include "tables/dtypes.h"

enum { SAFETENSORS_RANK_MAX = 8, SAFETENSORS_HEADER_MAX = 100000000 };

typedef struct SafetensorsEntry {
    String   name;
    Dtype    dtype;
    uint32_t rank;
    int64_t  shape[SAFETENSORS_RANK_MAX]; /* outermost first */
    uint64_t offset; /* of the payload, from the first byte of the file; ignored by the writer */
    uint64_t bytes;  /* of the payload: elements x width */
} SafetensorsEntry;
typedef struct SafetensorsMeta { /* one pair of __metadata__ */
    String key, value;
} SafetensorsMeta;

typedef struct Safetensors {
    const char       *path;
    SafetensorsEntry *entries; /* in the order of the header */
    uint32_t         *by_name; /* entry numbers, names ascending bytewise */
    SafetensorsMeta  *metadata;
    uint32_t          entries_count, metadata_count;
    uint64_t          file_bytes;
    String            head; /* length word and header as read, to notice that the file changed */
    OsMap             map;  /* empty unless safetensors_map succeeded */
} Safetensors;

/* Reads and verifies the header. Everything lives in out; nothing stays open. Rows: FILE_ERROR,
 * FILE_DAMAGED (with the byte offset), FILE_FORMAT (also: an element type this build lacks). */
MUST_USE Status safetensors_open(Arena *out, const char *path, Diags *diags, Safetensors *out_file);
/* The same on bytes in memory, which must outlive out_file; name is for messages. */
MUST_USE Status safetensors_check(Arena *out, String bytes, const char *name, Diags *diags,
                                  Safetensors *out_file);
/* The same without rows, for callers that decide what a failure means. bytes may end after the
 * header of a file that has file_bytes. The subject of a failure lives in out. */
MUST_USE Failure safetensors_try(Arena *out, const char *path, Safetensors *out_file);
MUST_USE Failure safetensors_try_bytes(Arena *out, String bytes, uint64_t file_bytes,
                                       const char *name, Safetensors *out_file);

/* NULL if there is none of that name; O(log n). */
const SafetensorsEntry *safetensors_find(const Safetensors *file, String name);
/* The value of a metadata key, or an empty string. */
String safetensors_meta(const Safetensors *file, String key);

/* Reads payloads: intos[i] has room for entries[i]->bytes. The header is compared first: a file
 * that was replaced since it was opened is FILE_DAMAGED. */
MUST_USE Status safetensors_read_many(const Safetensors             *file,
                                      const SafetensorsEntry *const *entries, void *const *intos,
                                      size_t count, Diags *diags);
MUST_USE Status safetensors_read_into(const Safetensors *file, const SafetensorsEntry *entry,
                                      void *into, uint64_t into_bytes, Diags *diags);

/* Maps the file read-only. safetensors_data is then a pointer to the payload (no alignment
 * promised), NULL without a map. Touching it after another process cut the file short is SIGBUS. */
MUST_USE Status safetensors_map(Safetensors *file, Diags *diags);
const uint8_t  *safetensors_data(const Safetensors *file, const SafetensorsEntry *entry);
void            safetensors_unmap(Safetensors *file);

typedef struct SafetensorsWriter {
    const char *path, *temp, *folder; /* in the arena of begin */
    uint64_t    bytes_due;            /* payload bytes still to be written */
    uint64_t    bytes;                /* written so far, header included */
    uint32_t    crc;                  /* CRC-32C of those */
    Status      status;               /* the first failure; later calls return it */
} SafetensorsWriter;

/* Creates path.tmp with the header; out keeps the paths until the end. The header is read back by
 * the reader's own rules, so a name used twice, a bad shape or wrong bytes is STATUS_INVALID
 * here. */
MUST_USE Status safetensors_begin(Arena *out, const char *path, const SafetensorsEntry *entries,
                                  size_t entries_count, const SafetensorsMeta *metadata,
                                  size_t metadata_count, Diags *diags,
                                  SafetensorsWriter *out_writer);
/* Appends payload bytes, in the order of the entries; a tensor may come in several pieces. */
MUST_USE Status safetensors_write(SafetensorsWriter *writer, const void *from, uint64_t bytes,
                                  Diags *diags);
/* Syncs, renames to path, syncs the folder. After any failure, here or before, the temporary file
 * is removed and what stood at path is untouched (as files_write). */
MUST_USE Status safetensors_end(SafetensorsWriter *writer, Diags *diags);
void            safetensors_abort(SafetensorsWriter *writer); /* removes the temporary file */

#endif
