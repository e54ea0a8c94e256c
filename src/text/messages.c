/* Expanding message templates. Names of values are made once for all diagnostics of a call, and
 * only if some argument is a value. */
#include "text/messages.h"

#include "text/names.h"

typedef struct Messages {
    const World *world; /* may be NULL */
    const Diags *diags;
    Arena       *scratch;
    Text        *text;
    String       source;
    ShapeTexts   shapes;
    Names        names;
    bool         shapes_made, names_made;
} Messages;

typedef enum ArgKind {
    ARG_STR,
    ARG_INT,
    ARG_VALUE,
    ARG_TYPE,
    ARG_SHAPE,
    ARG_DIM,
    ARG_DTYPE,
    ARG_OPCODE,
    ARG_OP,
    ARG_COUNT
} ArgKind;
/* ORDER ArgKind */
static const char *const placeholders[ARG_COUNT] = {
    "{str}", "{int}", "{value}", "{type}", "{shape}", "{dim}", "{dtype}", "{opcode}", "{op}"};

/* --- arguments -------------------------------------------------------------------------------- */
static ShapeTexts *shapes_of(Messages *m) {
    if (!m->shapes_made) m->shapes = shapes_begin(m->scratch, m->world);
    m->shapes_made = true;
    return &m->shapes;
}
static String value_text(Messages *m, uint64_t row) {
    if (m->world == NULL || row >= m->world->code.values.table.count) return STR("?");
    if (!m->names_made) m->names = names_make(m->scratch, m->world, &m->world->code, (GraphId){0});
    m->names_made = true;
    return str_format(m->scratch, "%%%.*s",
                      STR_ARGS(names_text(m->scratch, &m->names, (ValueId){(uint32_t)row})));
}
static String op_text(const Messages *m, uint32_t row) {
    if (m->world == NULL || row == 0 || row >= m->world->code.ops.table.count) return STR("?");
    uint32_t opcode = m->world->code.ops.opcode[row];
    return opcode < OP_COUNT ? str_of(op_infos[opcode].name) : STR("?");
}
static String row_text(Messages *m, ArgKind kind, uint64_t row) {
    if (m->world == NULL || row > UINT32_MAX) return STR("?");
    if (kind == ARG_TYPE) return shapes_type(shapes_of(m), (TypeId){(uint32_t)row});
    if (kind == ARG_DIM) return shapes_dim(shapes_of(m), (DimId){(uint32_t)row});
    return text_shape(m->scratch, m->world, (ShapeId){(uint32_t)row});
}
static String arg_text(Messages *m, ArgKind kind, uint64_t arg, uint32_t op) {
    switch (kind) {
    case ARG_STR: return diags_str_get(m->diags, arg);
    case ARG_INT: return str_format(m->scratch, "%lld", (long long)arg);
    case ARG_VALUE: return value_text(m, arg);
    case ARG_DTYPE: return arg < DTYPE_COUNT ? str_of(dtype_infos[arg].name) : STR("?");
    case ARG_OPCODE: return arg < OP_COUNT ? str_of(op_infos[arg].name) : STR("?");
    case ARG_OP: return op_text(m, op);
    default: return row_text(m, kind, arg);
    }
}

/* --- templates -------------------------------------------------------------------------------- */
/* The placeholder at a '{', or ARG_COUNT. */
static ArgKind placeholder_at(String rest) {
    for (uint32_t kind = 0; kind < ARG_COUNT; kind++)
        if (str_starts(rest, str_of(placeholders[kind]))) return (ArgKind)kind;
    return ARG_COUNT;
}
/* Expands the template, or only its arguments with blanks between. */
static void expand(Messages *m, DiagId id, bool args_only) {
    const DiagRows *rows = &m->diags->rows;
    uint64_t        args[4] = {rows->arg0[id.row], rows->arg1[id.row], rows->arg2[id.row],
                               rows->arg3[id.row]};
    String          rest = str_of(diag_infos[rows->kind[id.row]].message);
    uint32_t        next = 0;
    bool            first = true;
    while (rest.count != 0) {
        ArgKind kind = rest.data[0] == '{' ? placeholder_at(rest) : ARG_COUNT;
        size_t  step = 1;
        if (kind == ARG_COUNT) {
            if (!args_only) text_add(m->text, (String){rest.data, 1});
        } else {
            uint64_t arg = kind != ARG_OP && next < 4 ? args[next++] : 0;
            String   text = arg_text(m, kind, arg, rows->op[id.row]);
            step = strlen(placeholders[kind]);
            if (args_only && !first) text_add(m->text, STR(" "));
            text_add(m->text, text);
            first = false;
        }
        rest = (String){rest.data + step, rest.count - step};
    }
}

TextPlace text_diag_place(const World *world, const Diags *diags, DiagId id) {
    const DiagRows *rows = &diags->rows;
    TextPlace       place = {diags_str_get(diags, rows->file[id.row]), rows->line[id.row],
                             rows->column[id.row]};
    uint32_t        op = rows->op[id.row];
    if (place.line != 0 || world == NULL || op == 0 || op >= world->code.ops.table.count)
        return place;
    uint32_t loc = world->code.ops.loc[op].row;
    if (loc == 0 || loc >= world->locs.table.count) return place;
    StrId file = world->locs.file[loc];
    if (file.row < world->strings.rows.table.count) place.file = strings_get(&world->strings, file);
    place.line = world->locs.line[loc];
    place.column = world->locs.column[loc];
    return place;
}

/* --- layout ----------------------------------------------------------------------------------- */
static void add_place(Messages *m, TextPlace place) {
    if (place.file.count != 0) text_add(m->text, place.file);
    if (place.file.count != 0 && place.line == 0) text_add(m->text, STR(": "));
    if (place.line == 0) return;
    if (place.file.count == 0)
        text_add(m->text, STR("line "));
    else
        text_add(m->text, STR(":"));
    text_addf(m->text, "%u:", place.line);
    if (place.column != 0) text_addf(m->text, "%u:", place.column);
    text_add(m->text, STR(" "));
}
/* The line of the source and a caret under the column; tabs stay tabs, so the caret lines up. */
static void add_source_line(Messages *m, TextPlace place) {
    const char *at = m->source.data;
    if (at == NULL || place.line == 0) return;
    const char *end = at + m->source.count;
    for (uint32_t line = 1; line < place.line && at != NULL; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (at != NULL) at++;
    }
    if (at == NULL || at == end) return;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t      count = (size_t)((newline ? newline : end) - at);
    if (count > 200) return;
    text_addf(m->text, "    %.*s\n", (int)count, at);
    if (place.column == 0 || place.column > count + 1) return;
    text_add(m->text, STR("    "));
    for (uint32_t i = 0; i + 1 < place.column; i++)
        text_add(m->text, at[i] == '\t' ? STR("\t") : STR(" "));
    text_add(m->text, STR("^\n"));
}
static void add_diag(Messages *m, DiagId id) {
    static const char *const severities[] = {"note", "warning", "error"}; /* ORDER DiagSeverity */
    const DiagInfo          *info = &diag_infos[m->diags->rows.kind[id.row]];
    bool                     is_note = m->diags->rows.parent[id.row] != 0;
    TextPlace                place = text_diag_place(m->world, m->diags, id);
    if (is_note)
        text_add(m->text, STR("  note: "));
    else
        text_addf(m->text, "%s[%s] ", severities[info->severity], info->code);
    add_place(m, place);
    expand(m, id, false);
    text_add(m->text, STR("\n"));
    if (!is_note) add_source_line(m, place);
}
/* A diagnostic, its notes (which follow it closely), its advice. */
static void add_whole(Messages *m, DiagId id) {
    const DiagRows *rows = &m->diags->rows;
    const char     *help = diag_infos[rows->kind[id.row]].help;
    add_diag(m, id);
    for (uint32_t row = id.row + 1; row < rows->table.count && rows->parent[row] == id.row; row++)
        add_diag(m, (DiagId){row});
    if (help[0] != 0) text_addf(m->text, "  help: %s\n", help);
}

static String with_messages(Arena *out, const World *world, const Diags *diags, String source,
                            DiagId id, void (*add)(Messages *m, DiagId id)) {
    Scratch  scratch = scratch_begin(&out, 1);
    Text     text = text_begin(out);
    Messages m = {
        .world = world, .diags = diags, .scratch = scratch.arena, .text = &text, .source = source};
    add(&m, id);
    String result = text_done(&text);
    scratch_end(scratch);
    return result;
}
/* All that have a place in a text; of one kind without places (the tensors of a file) a few. */
static void add_all(Messages *m, DiagId id) {
    enum { ALIKE_MAX = 4 };
    uint32_t seen[DIAG_KIND_COUNT] = {0}, left[DIAG_KIND_COUNT] = {0};
    (void)id;
    for (uint32_t row = 1; row < m->diags->rows.table.count; row++) {
        uint32_t kind = m->diags->rows.kind[row];
        if (m->diags->rows.parent[row] != 0) continue;
        bool placed = text_diag_place(m->world, m->diags, (DiagId){row}).line != 0;
        if (placed || seen[kind]++ < ALIKE_MAX)
            add_whole(m, (DiagId){row});
        else
            left[kind]++;
    }
    for (uint32_t kind = 0; kind < DIAG_KIND_COUNT; kind++)
        if (left[kind] != 0)
            text_addf(m->text, "and %u more like [%s]\n", left[kind], diag_infos[kind].code);
}
static void add_message(Messages *m, DiagId id) { expand(m, id, false); }
static void add_args(Messages *m, DiagId id) { expand(m, id, true); }

String text_diag(Arena *out, const World *world, const Diags *diags, DiagId id) {
    return with_messages(out, world, diags, (String){0}, id, add_whole);
}
String text_diags(Arena *out, const World *world, const Diags *diags) {
    return with_messages(out, world, diags, (String){0}, (DiagId){0}, add_all);
}
String text_diags_in(Arena *out, const World *world, const Diags *diags, String source) {
    return with_messages(out, world, diags, source, (DiagId){0}, add_all);
}
String text_diag_message(Arena *out, const World *world, const Diags *diags, DiagId id) {
    return with_messages(out, world, diags, (String){0}, id, add_message);
}
String text_diag_args(Arena *out, const World *world, const Diags *diags, DiagId id) {
    return with_messages(out, world, diags, (String){0}, id, add_args);
}
String text_value(Arena *out, const World *world, ValueId value) {
    Scratch scratch = scratch_begin(&out, 1);
    Names   names = names_make(scratch.arena, world, &world->code, (GraphId){0});
    String  name = names_text(scratch.arena, &names, value);
    name = str_format(out, "%%%.*s", STR_ARGS(name));
    scratch_end(scratch);
    return name;
}
