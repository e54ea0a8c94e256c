/* Diagnostic rows: adding, string arguments, merging. Each kind is emitted from one place in the
 * sources and shown by a test (tools/check_diags.py holds both).
 *
 * A full table counts errors and drops rows: the first ones are those that matter. */
#include "tables/diags.h"

const DiagInfo diag_infos[DIAG_KIND_COUNT] = {
    [DIAG_NIL] = {"NIL", DIAG_NOTE, "", ""},
#define DIAG(KIND, level, text, advice) [DIAG_##KIND] = {#KIND, DIAG_##level, text, advice},
#include "tables/diags.def"
};

#define TABLE_SELF_ DiagRows
TABLE_INFO(DiagRows, diag_rows_info, "diags", DIAGS_COLUMNS);
#undef TABLE_SELF_
#define TABLE_SELF_ DiagText
TABLE_INFO(DiagText, diag_text_info, "diag_text", DIAG_TEXT_COLUMNS);
#undef TABLE_SELF_

enum { DIAG_ROWS_MAX = 1 << 16, DIAG_TEXT_MAX = 1 << 26, DIAG_STRING_MAX = 4096 };

void diags_open(Diags *diags, Budget *budget) {
    memset(diags, 0, sizeof *diags);
    table_open(&diags->rows.table, &diag_rows_info, DIAG_ROWS_MAX, budget);
    table_open(&diags->text.table, &diag_text_info, DIAG_TEXT_MAX, budget);
}

void diags_close(Diags *diags) {
    table_close(&diags->rows.table);
    table_close(&diags->text.table);
}

void diags_clear(Diags *diags) {
    table_clear(&diags->rows.table);
    table_clear(&diags->text.table);
    diags->errors = 0;
}

DiagId diags_add(Diags *diags, DiagKind kind, uint32_t op, uint64_t a0, uint64_t a1, uint64_t a2,
                 uint64_t a3) {
    ASSERT(kind > DIAG_NIL && kind < DIAG_KIND_COUNT);
    if (diag_infos[kind].severity == DIAG_ERROR) diags->errors++;
    DiagRows *rows = &diags->rows;
    if (rows->table.count >= rows->table.rows_max) return (DiagId){0};
    uint32_t row = table_add(&rows->table);
    rows->kind[row] = (uint16_t)kind;
    rows->parent[row] = rows->line[row] = rows->column[row] = 0;
    rows->op[row] = op;
    rows->file[row] = 0;
    rows->arg0[row] = a0;
    rows->arg1[row] = a1;
    rows->arg2[row] = a2;
    rows->arg3[row] = a3;
    return (DiagId){row};
}

DiagId diags_add_at(Diags *diags, DiagKind kind, String file, uint32_t line, uint32_t column,
                    uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3) {
    DiagId id = diags_add(diags, kind, 0, a0, a1, a2, a3);
    if (!diag_id_some(id)) return id;
    diags->rows.file[id.row] = diags_str(diags, file);
    diags->rows.line[id.row] = line;
    diags->rows.column[id.row] = column;
    return id;
}

void diags_note(Diags *diags, DiagId parent, DiagKind kind, uint32_t op, uint64_t a0, uint64_t a1) {
    DiagId id = diags_add(diags, kind, op, a0, a1, 0, 0);
    if (diag_id_some(id)) diags->rows.parent[id.row] = parent.row;
}

/* A string argument is its first byte's row << 32 | length; 0 is the empty string. */
uint64_t diags_str(Diags *diags, String s) {
    uint32_t  count = s.count < DIAG_STRING_MAX ? (uint32_t)s.count : DIAG_STRING_MAX;
    DiagText *text = &diags->text;
    if (count == 0 || text->table.rows_max - text->table.count < count) return 0;
    uint32_t first = table_add_many(&text->table, count);
    memcpy(text->bytes + first, s.data, count);
    return (uint64_t)first << 32 | count;
}

String diags_str_get(const Diags *diags, uint64_t argument) {
    uint32_t        first = (uint32_t)(argument >> 32), count = (uint32_t)argument;
    const DiagText *text = &diags->text;
    if (first >= text->table.count || count > text->table.count - first) return (String){"", 0};
    return (String){text->bytes + first, count};
}

void diags_copy_all(Diags *into, const Diags *from) {
    uint32_t base_row = into->rows.table.count - 1, text_first = 0;
    uint32_t text_count = from->text.table.count - 1;
    if (text_count != 0) {
        text_first = table_add_many(&into->text.table, text_count);
        memcpy(into->text.bytes + text_first, from->text.bytes + 1, text_count);
    }
    uint64_t moved = (uint64_t)(text_first ? text_first - 1 : 0)
                     << 32; /* strings keep their order */
    for (uint32_t row = 1; row < from->rows.table.count; row++) {
        const DiagRows *r = &from->rows;
        const DiagInfo *info = &diag_infos[r->kind[row]];
        uint64_t        args[4] = {r->arg0[row], r->arg1[row], r->arg2[row], r->arg3[row]};
        uint32_t        k = 0;
        for (const char *at = info->message; (at = strchr(at, '{')) != NULL && k < 4; at++) {
            if (strncmp(at, "{op}", 4) == 0) continue;
            if (strncmp(at, "{str}", 5) == 0 && args[k] != 0) args[k] += moved;
            k++;
        }
        DiagId id =
            diags_add(into, (DiagKind)r->kind[row], r->op[row], args[0], args[1], args[2], args[3]);
        if (!diag_id_some(id)) continue;
        into->rows.file[id.row] = r->file[row] ? r->file[row] + moved : 0;
        into->rows.line[id.row] = r->line[row];
        into->rows.column[id.row] = r->column[row];
        if (r->parent[row]) into->rows.parent[id.row] = r->parent[row] + base_row;
    }
}
