/* IDX, the format of MNIST and its relatives: big-endian magic (0, 0, type, rank), one 32-bit size
 * a dim, then the elements. Element type u8 and rank 1 to 4 are read, from plain or gzip files.
 *
 * The payload must be exactly as long as the sizes say; unpacking stops there, so a compressed file
 * cannot cost more memory than it declares, and the declared size is checked before it is
 * pushed. */
#ifndef STOA_FORMATS_IDX_H
#define STOA_FORMATS_IDX_H

#include "formats/report.h"

enum { IDX_RANK_MAX = 4 };

typedef struct Idx {
    uint32_t rank;
    uint32_t dims[IDX_RANK_MAX]; /* items first */
    uint64_t bytes;              /* product of the dims */
    uint8_t *data;               /* NULL from idx_info */
} Idx;

/* The sizes only, from the first bytes of the file. */
MUST_USE Status idx_info(const char *path, Diags *diags, Idx *out_idx);
/* Everything, the payload in out; a payload of more than bytes_max is FILE_TOO_LARGE. */
MUST_USE Status idx_read(Arena *out, const char *path, uint64_t bytes_max, Diags *diags,
                         Idx *out_idx);
/* The payload into the caller's memory (a block), which has room for what idx_info said:
 * idx->bytes. Sets idx->data. A file that has other sizes by now is FILE_DAMAGED. */
MUST_USE Status idx_read_into(const char *path, Idx *idx, void *into, Diags *diags);
/* Bytes in memory; name is for messages. */
MUST_USE Status idx_check(Arena *out, String bytes, const char *name, uint64_t bytes_max,
                          Diags *diags, Idx *out_idx);

#endif
