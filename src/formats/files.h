/* Whole files: reading into an arena, checksums, and replacing a file so that a crash at any moment
 * leaves either the old bytes or the new ones.
 *
 * Results are Failures (report.h): nothing here adds a diagnostic, so the caller chooses between an
 * error and a warning. No file is open while memory is pushed. */
#ifndef STOA_FORMATS_FILES_H
#define STOA_FORMATS_FILES_H

#include "formats/report.h"

/* All bytes of a file of at most bytes_max, aligned to 16. */
MUST_USE Failure files_read(Arena *out, const char *path, uint64_t bytes_max, String *out_bytes);
/* The first bytes_max bytes, or all if there are fewer; out_total is the size of the file. */
MUST_USE Failure files_read_head(Arena *out, const char *path, uint64_t bytes_max,
                                 String *out_bytes, uint64_t *out_total);
/* Size and CRC-32C, read in pieces. */
MUST_USE Failure files_checksum(const char *path, uint64_t *out_bytes, uint32_t *out_crc);
/* Writes path through path.tmp: write, sync, rename, sync the folder. On failure the temporary file
 * is gone and what stood at path is untouched (or, when only syncing the folder failed,
 * replaced). */
MUST_USE Failure files_write(const char *path, String bytes);

/* The steps of files_write, for writers that stream into `temp` themselves. */
String           files_folder(Arena *out, const char *path); /* "." if path has none; terminated */
MUST_USE Failure files_publish(const char *temp, const char *path, const char *folder);
void             files_discard(const char *temp); /* removes it; failing to is not reported */

#endif
