/* The result of an operation that the world can make fail (memory, files, devices, foreign bytes).
 *
 * Status says only the class; the text (what, where, why, what to do) is a row in a Diags table
 * that the failing function was given. Zero is success. User mistakes inside a program are
 * diagnostics, not statuses; our own bugs are assertions. */
#ifndef STOA_ARENA_STATUS_H
#define STOA_ARENA_STATUS_H

#include "arena/check.h"

typedef enum Status {
    STATUS_OK = 0,
    STATUS_INVALID,       /* the caller's argument or the user's program is wrong */
    STATUS_OUT_OF_MEMORY, /* an arena limit or the operating system refused memory */
    STATUS_IO,            /* a file operation failed; the diagnostic has the reason */
    STATUS_CORRUPT,       /* foreign bytes are damaged, truncated or hostile */
    STATUS_UNSUPPORTED,   /* well-formed, but outside what this build can do */
    STATUS_NOT_FOUND,
    STATUS_CANCELLED, /* the caller asked to stop */
    STATUS_DEVICE,    /* a GPU, its driver or one of its libraries failed */
    STATUS_COUNT
} Status;

#endif
