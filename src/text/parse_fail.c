/* The diagnostics of the parser, one function a kind. A name that resembles a known one gets a note
 * with a suggestion; a second definition gets one with the place of the first. */
#include "text/parse_inner.h"

static DiagId fail_at(Parser *p, const Token *at, DiagKind kind, uint64_t a0, uint64_t a1,
                      uint64_t a2) {
    return diags_add_at(&p->world->diags, kind, p->file, at->line, at->column, a0, a1, a2, 0);
}
static uint64_t str_arg(Parser *p, String s) { return diags_str(&p->world->diags, s); }
static uint64_t text_arg(Parser *p, const char *s) { return str_arg(p, str_of(s)); }
static uint64_t name_arg(Parser *p, const Token *token) { return str_arg(p, parse_text(p, token)); }
static uint64_t found_arg(Parser *p, const Token *token) {
    return str_arg(p, lex_describe(p->arena, token));
}
static void suggest(Parser *p, DiagId error, String unknown, const String *names, size_t count) {
    String name = str_suggest(unknown, names, count);
    if (name.count != 0)
        diags_note(&p->world->diags, error, DIAG_DID_YOU_MEAN, 0, str_arg(p, name), 0);
}
static void note_first(Parser *p, DiagId error, uint32_t line) {
    if (line != 0) diags_note(&p->world->diags, error, DIAG_DEFINED_THERE, 0, line, 0);
}

/* --- the language ----------------------------------------------------------------------------- */
bool parse_fail_expected(Parser *p, const char *expected) {
    (void)fail_at(p, &p->token, DIAG_TEXT_SYNTAX, text_arg(p, expected), found_arg(p, &p->token),
                  0);
    return false;
}
bool parse_fail_version(Parser *p, int64_t version) {
    (void)fail_at(p, &p->token, DIAG_TEXT_VERSION, (uint64_t)version, 1, 0);
    return false;
}
bool parse_fail_limit(Parser *p, const char *what, int64_t most) {
    (void)fail_at(p, &p->token, DIAG_TEXT_LIMIT, text_arg(p, what), (uint64_t)most, 0);
    return false;
}
bool parse_fail_dim(Parser *p, const Token *at, const char *why) {
    (void)fail_at(p, at, DIAG_TEXT_DIM, text_arg(p, why), 0, 0);
    return false;
}
bool parse_fail_fact(Parser *p, const Token *at, const char *why) {
    (void)fail_at(p, at, DIAG_TEXT_FACT, name_arg(p, at), text_arg(p, why), 0);
    return false;
}
bool parse_fail_type(Parser *p) {
    String names[DTYPE_COUNT];
    for (int i = 0; i < DTYPE_COUNT; i++) names[i] = str_of(dtype_infos[i].name);
    DiagId error = fail_at(p, &p->token, DIAG_TYPE_UNKNOWN, name_arg(p, &p->token), 0, 0);
    suggest(p, error, token_text(&p->token), names + 1, DTYPE_COUNT - 1);
    return false;
}
bool parse_fail_declared(Parser *p, OpId op, ValueId value, TypeId declared) {
    (void)diags_add(&p->world->diags, DIAG_TYPE_DECLARED, op.row, value.row,
                    value_type(p->world, value).row, declared.row, 0);
    return false;
}
bool parse_fail_const(Parser *p, const Token *at, TypeId type, const char *why) {
    (void)fail_at(p, at, DIAG_CONST_VALUE, type.row, text_arg(p, why), 0);
    return false;
}
bool parse_fail_graph(Parser *p, const Token *at, const ParseName *first) {
    note_first(p, fail_at(p, at, DIAG_GRAPH_REPEATED, name_arg(p, at), 0, 0), first->line);
    return false;
}

/* --- operators -------------------------------------------------------------------------------- */
bool parse_fail_op(Parser *p, const Token *at) {
    String names[OP_COUNT];
    for (int i = 0; i < OP_COUNT; i++) names[i] = str_of(op_infos[i].name);
    DiagId error = fail_at(p, at, DIAG_OP_UNKNOWN, name_arg(p, at), 0, 0);
    suggest(p, error, token_text(at), names + 1, OP_COUNT - 1);
    return false;
}
bool parse_fail_operands(Parser *p, const Token *at, Opcode opcode, uint32_t given) {
    uint32_t min = op_infos[opcode].operands_min, max = op_infos[opcode].operands_max;
    String   takes = max == OP_MANY ? str_format(p->arena, "%u or more", min)
                     : min == max   ? str_format(p->arena, "%u", min)
                                    : str_format(p->arena, "%u to %u", min, max);
    (void)fail_at(p, at, DIAG_OPERANDS_COUNT, opcode, str_arg(p, takes), given);
    return false;
}
bool parse_fail_results(Parser *p, const Token *at, Opcode opcode, uint32_t gives, uint32_t named) {
    (void)fail_at(p, at, DIAG_RESULTS_COUNT, opcode, gives, named);
    return false;
}
bool parse_fail_blocks(Parser *p, const Token *at, Opcode opcode, uint32_t takes, uint32_t given) {
    (void)fail_at(p, at, DIAG_BLOCKS_COUNT, opcode, takes, given);
    return false;
}
bool parse_fail_attr_unknown(Parser *p, Opcode opcode) {
    String        names[ATTRS_MAX];
    const OpInfo *info = &op_infos[opcode];
    for (uint32_t i = 0; i < info->attrs_count; i++) names[i] = str_of(info->attrs[i].name);
    DiagId error = fail_at(p, &p->token, DIAG_ATTR_UNKNOWN, opcode, name_arg(p, &p->token), 0);
    suggest(p, error, token_text(&p->token), names, info->attrs_count);
    return false;
}
bool parse_fail_attr_repeated(Parser *p) {
    (void)fail_at(p, &p->token, DIAG_ATTR_REPEATED, name_arg(p, &p->token), 0, 0);
    return false;
}
bool parse_fail_attr_missing(Parser *p, const Token *at, Opcode opcode, const AttrInfo *attr) {
    (void)fail_at(p, at, DIAG_ATTR_MISSING, opcode, text_arg(p, attr->name),
                  text_arg(p, attr->doc));
    return false;
}

static String kind_text(Arena *out, AttrKind kind) {
    static const char *const texts[ATTR_KIND_COUNT] = {
        [ATTR_INT] = "an integer",
        [ATTR_FLOAT] = "a number",
        [ATTR_BOOL] = "true or false",
        [ATTR_STR] = "a quoted string",
        [ATTR_STRS] = "a list of quoted strings",
        [ATTR_DTYPE] = "an element type",
        [ATTR_TYPE] = "a type",
        [ATTR_DIM] = "a size",
        [ATTR_DIMS] = "a list of sizes",
        [ATTR_INTS] = "a list of integers",
        [ATTR_CONST] = "a type and its elements",
    };
    const char *const *names = attr_enum_names(kind);
    if (names == NULL) return str_of(texts[kind]);
    Text text = text_begin(out);
    text_add(&text, STR("one of"));
    for (; *names != NULL; names++) text_addf(&text, " %s", *names);
    return text_done(&text);
}
bool parse_fail_attr_kind(Parser *p, const AttrInfo *attr) {
    uint64_t takes = str_arg(p, kind_text(p->arena, attr->kind));
    (void)fail_at(p, &p->token, DIAG_ATTR_KIND, text_arg(p, attr->name), takes,
                  found_arg(p, &p->token));
    return false;
}

/* --- values and blocks ------------------------------------------------------------------------ */
bool parse_fail_value(Parser *p) {
    (void)fail_at(p, &p->token, DIAG_VALUE_UNKNOWN, name_arg(p, &p->token), 0, 0);
    return false;
}
bool parse_fail_value_repeated(Parser *p, const Token *at, uint32_t first_line) {
    note_first(p, fail_at(p, at, DIAG_VALUE_REPEATED, name_arg(p, at), 0, 0), first_line);
    return false;
}
bool parse_fail_return(Parser *p) {
    (void)fail_at(p, &p->token, DIAG_RETURN_MISSING, 0, 0, 0);
    return false;
}
bool parse_fail_return_early(Parser *p, const Token *at) {
    (void)fail_at(p, at, DIAG_RETURN_EARLY, 0, 0, 0);
    return false;
}
