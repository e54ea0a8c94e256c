/* Diagnostics: errors, warnings and notes as rows.
 *
 * A row is a kind and up to four raw arguments; the text is made only if somebody prints
 * (text/messages.h). Kinds, templates and advice are in diags.def. String arguments are copied into
 * the table (diags_str). A Diags stands alone: file readers use one without a world. Arguments that
 * name rows (values, types) are read against the world the operator belongs to. */
#ifndef STOA_TABLES_DIAGS_H
#define STOA_TABLES_DIAGS_H

#include "arena/column.h"
#include "arena/str.h"

typedef enum DiagSeverity { DIAG_NOTE, DIAG_WARNING, DIAG_ERROR } DiagSeverity;
typedef enum DiagKind {
    DIAG_NIL,
#define DIAG(KIND, severity, message, help) DIAG_##KIND,
#include "tables/diags.def"
    DIAG_KIND_COUNT
} DiagKind;
typedef struct DiagInfo {
    const char  *code; /* "SHAPE_MISMATCH" */
    DiagSeverity severity;
    const char  *message; /* template; the placeholders are listed in diags.def */
    const char  *help;    /* what to do about it, or "" */
} DiagInfo;
extern const DiagInfo diag_infos[DIAG_KIND_COUNT];

ID_TYPE(DiagId, diag_id);

#define DIAGS_COLUMNS(C)                                                                           \
    C(uint16_t, kind, "DiagKind, narrowed")                                                        \
    C(uint32_t, parent, "the diagnostic that a note belongs to, or 0")                             \
    C(uint32_t, op, "OpId.row the message is about, or 0")                                         \
    C(uint32_t, line, "in the source text or file, from 1; 0 unknown")                             \
    C(uint32_t, column, "from 1; 0 unknown")                                                       \
    C(uint64_t, file, "string argument: the file or source name, or 0")                            \
    C(uint64_t, arg0, "raw argument")                                                              \
    C(uint64_t, arg1, "raw argument")                                                              \
    C(uint64_t, arg2, "raw argument")                                                              \
    C(uint64_t, arg3, "raw argument")
TABLE_TYPE(DiagRows, DIAGS_COLUMNS);
#define DIAG_TEXT_COLUMNS(C) C(char, bytes, "string arguments back to back")
TABLE_TYPE(DiagText, DIAG_TEXT_COLUMNS);

/* What a print row of a world says, each time it runs: text_printed (text/printed.h) makes the
 * line. values hold the elements that the row says, at least. From whatever lane runs the row, or,
 * for a GPU, after the run; one call at a time; nothing may be kept. */
struct World;
struct Tensor;
typedef void PrintFn(void *context, const struct World *world, uint32_t op,
                     const struct Tensor *values, uint32_t count);

typedef struct Diags {
    DiagRows rows;
    DiagText text;
    uint32_t errors; /* rows with severity DIAG_ERROR */
    PrintFn *print;  /* of what is run with these diagnostics; NULL: nobody listens */
    void    *print_context;
} Diags;

void diags_open(Diags *diags, Budget *budget); /* up to 64 Ki rows; later ones are counted only */
void diags_close(Diags *diags);
void diags_clear(Diags *diags);
/* op: OpId.row or 0. Arguments are numbers, row numbers or diags_str results, as the kind says. */
DiagId diags_add(Diags *diags, DiagKind kind, uint32_t op, uint64_t a0, uint64_t a1, uint64_t a2,
                 uint64_t a3);
DiagId diags_add_at(Diags *diags, DiagKind kind, String file, uint32_t line, uint32_t column,
                    uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
void diags_note(Diags *diags, DiagId parent, DiagKind kind, uint32_t op, uint64_t a0, uint64_t a1);
uint64_t diags_str(Diags *diags, String s); /* copies; long strings are cut at 4 KiB */
String   diags_str_get(const Diags *diags, uint64_t argument);
void     diags_copy_all(Diags *into, const Diags *from); /* appends, for merging a reader's rows */

#endif
