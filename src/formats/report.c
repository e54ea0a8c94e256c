/* Failures of file operations and formats to diagnostic rows: the only emitter of the FILE_* kinds.
 * A failure about a part of a file (a tensor, a key) names it in front of the reason, cut to a
 * length that keeps one message on one line even if the name comes from a hostile file. */
#include "formats/report.h"

#include "arena/os.h"

enum { SUBJECT_MAX = 120 };

/* "tensor 'x': reason", or the reason alone. */
static String reason(Arena *out, Failure failure) {
    const char *what = failure.what ? failure.what : "";
    String      subject = failure.subject;
    if (subject.count == 0) return str_of(what);
    bool cut = subject.count > SUBJECT_MAX;
    if (cut) subject.count = SUBJECT_MAX;
    return str_format(out, "'%.*s%s': %s", STR_ARGS(subject), cut ? "..." : "", what);
}

Status report_failure(Diags *diags, const char *path, Failure failure) {
    if (failure.kind == FAILURE_NONE) return STATUS_OK;
    ASSERT(failure.status != STATUS_OK);
    Scratch  scratch = scratch_begin(NULL, 0);
    uint64_t file = diags_str(diags, str_of(path));
    uint64_t why = diags_str(diags, reason(scratch.arena, failure));
    switch (failure.kind) {
    case FAILURE_FILE: {
        uint64_t text = diags_str(diags, str_of(os_error_text(failure.error)));
        diags_add(diags, DIAG_FILE_ERROR, 0, why, file, text, 0);
        break;
    }
    case FAILURE_DAMAGED:
        diags_add(diags, DIAG_FILE_DAMAGED, 0, file, why, failure.number, 0);
        break;
    case FAILURE_FORMAT: {
        uint64_t format = diags_str(diags, str_of(failure.format));
        diags_add(diags, DIAG_FILE_FORMAT, 0, file, format, why, 0);
        break;
    }
    case FAILURE_TOO_LARGE:
        diags_add(diags, DIAG_FILE_TOO_LARGE, 0, file, failure.number, 0, 0);
        break;
    case FAILURE_VERSION:
        diags_add(diags, DIAG_FILE_VERSION, 0, file, failure.number, failure.most, 0);
        break;
    case FAILURE_NONE: break;
    }
    scratch_end(scratch);
    return failure.status;
}

String report_text(Arena *out, Failure failure) {
    String why = reason(out, failure);
    switch (failure.kind) {
    case FAILURE_FILE:
        return str_format(out, "cannot %.*s: %s", STR_ARGS(why), os_error_text(failure.error));
    case FAILURE_DAMAGED:
        if (failure.number == 0) return str_copy(out, why); /* the file as a whole */
        return str_format(out, "%.*s (at byte %llu)", STR_ARGS(why),
                          (unsigned long long)failure.number);
    case FAILURE_FORMAT: return str_format(out, "not a %s: %.*s", failure.format, STR_ARGS(why));
    case FAILURE_TOO_LARGE:
        return str_format(out, "more than %llu bytes", (unsigned long long)failure.number);
    case FAILURE_VERSION:
        return str_format(out, "format version %llu, this build reads up to %llu",
                          (unsigned long long)failure.number, (unsigned long long)failure.most);
    case FAILURE_NONE: break;
    }
    return STR("nothing failed");
}
