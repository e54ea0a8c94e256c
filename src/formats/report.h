/* What went wrong with a file, as a value, and the one place that turns it into a diagnostic row.
 *
 * Readers and writers return a Failure while they hold a file open and report it after closing:
 * adding a row can unwind (arena.h), and an unwind past an open file would leak it. A Failure also
 * lets a caller try a file without reporting (checkpoint.c skips a damaged one with a warning). The
 * FILE_* kinds are emitted here only. */
#ifndef STOA_FORMATS_REPORT_H
#define STOA_FORMATS_REPORT_H

#include "arena/status.h"
#include "tables/diags.h"

typedef enum FailureKind {
    FAILURE_NONE,      /* nothing failed */
    FAILURE_FILE,      /* an operation on the file: FILE_ERROR */
    FAILURE_DAMAGED,   /* its bytes break a rule of the format: FILE_DAMAGED */
    FAILURE_FORMAT,    /* another kind of file, or beyond this build: FILE_FORMAT */
    FAILURE_TOO_LARGE, /* more bytes than the caller allows: FILE_TOO_LARGE */
    FAILURE_VERSION,   /* a format version newer than this build's: FILE_VERSION */
} FailureKind;
typedef struct Failure {
    FailureKind kind;
    Status      status;
    int         error;   /* FILE: the number from os.h */
    const char *what;    /* FILE: verb, "open"; otherwise what is wrong; static */
    const char *format;  /* FORMAT: "safetensors file"; static */
    String      subject; /* the part it is about (a tensor's name), or empty */
    uint64_t    number;  /* DAMAGED: byte offset; TOO_LARGE: the limit; VERSION: of the file */
    uint64_t    most;    /* VERSION: the newest this build reads */
} Failure;

static inline bool failure_some(Failure failure) { return failure.kind != FAILURE_NONE; }
/* error 0 makes "nothing failed", so that calls chain: failure_file("read", os_read_at(...)). */
static inline Failure failure_file(const char *verb, int error) {
    if (error == 0) return (Failure){.kind = FAILURE_NONE};
    return (Failure){.kind = FAILURE_FILE, .status = STATUS_IO, .error = error, .what = verb};
}
static inline Failure failure_damaged(const char *what, uint64_t offset) {
    return (Failure){
        .kind = FAILURE_DAMAGED, .status = STATUS_CORRUPT, .what = what, .number = offset};
}
static inline Failure failure_format(Status status, const char *format, const char *why) {
    return (Failure){.kind = FAILURE_FORMAT, .status = status, .what = why, .format = format};
}
static inline Failure failure_too_large(uint64_t bytes_max) {
    return (Failure){.kind = FAILURE_TOO_LARGE, .status = STATUS_UNSUPPORTED, .number = bytes_max};
}

static inline Failure failure_version(uint64_t version, uint64_t most) {
    return (Failure){
        .kind = FAILURE_VERSION, .status = STATUS_UNSUPPORTED, .number = version, .most = most};
}

/* Adds the row that says it (none for FAILURE_NONE) and returns the status. No file may be open. */
Status report_failure(Diags *diags, const char *path, Failure failure);
/* The reason in one line without the path, for a message of another kind. */
String report_text(Arena *out, Failure failure);

#endif
