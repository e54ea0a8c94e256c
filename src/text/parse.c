/* Graphs, blocks and operators. A block's rows are appended as they are read; the blocks of an
 * operator are read before the operator's own row is appended, which gives the order that
 * tables/code.h asks for. Block rows of one operator must be neighbours, so they are reserved
 * before the first is read.
 *
 * Recursion: statement, blocks, body; at most PARSE_DEPTH_MAX deep. */
#include "text/parse.h"

#include "arena/hash.h"
#include "tables/infer.h"
#include "text/check.h"
#include "text/names.h"
#include "text/parse_inner.h"

typedef struct Statement {
    Token    at;   /* the operator's name */
    String   name; /* the same, as the schema has it */
    Opcode   opcode;
    AttrsId  attrs;
    uint32_t names_first, names_count; /* in pending */
    uint32_t operands_first, operands_count;
    uint32_t types_first, types_count;
    BlockId  blocks_first;
    uint32_t blocks_count;
    bool     wrong; /* an error was reported, inference would add noise */
} Statement;

static bool parse_body(Parser *p, BlockId block);

/* --- names ------------------------------------------------------------------------------------ */
static bool is_open(const Parser *p, uint32_t block) {
    for (uint32_t depth = p->depth + 1; depth-- > 0;)
        if (p->open[depth].row == block) return true;
    return false;
}
/* The value that a name stands for here, nil if its definition was wrong, and the line of that (may
 * be NULL). False when there is none. */
static bool find_value(const Parser *p, String text, ParseKey key, ValueId *out_value,
                       uint32_t *out_line) {
    const ParseMades *mades = &p->made[key.opcode];
    if (key.opcode != OP_NIL && key.number < mades->count) {
        ParseMade made = mades->at[key.number];
        if (is_open(p, made.block)) {
            OpId op = value_op(p->code, (ValueId){made.row});
            if (out_line != NULL) *out_line = p->world->locs.line[p->code->ops.loc[op.row].row];
            *out_value = (ValueId){made.row};
            return true;
        }
    }
    const ParseName *name = p->values.count > 1 ? parse_names_find(&p->values, text) : NULL;
    if (name == NULL || !is_open(p, name->block)) return false;
    if (out_line != NULL) *out_line = name->line;
    *out_value = (ValueId){name->row};
    return true;
}
/* Binds a name to a value of the innermost block; value nil: uses of the name stay silent. Results
 * of operators have a key if their name has. */
static bool define(Parser *p, const Token *token, ParseKey key, ValueId value) {
    String      text = parse_text(p, token);
    uint32_t    block = p->open[p->depth].row, line;
    ParseMades *mades = &p->made[key.opcode];
    ValueId     first;
    if (find_value(p, text, key, &first, &line)) return parse_fail_value_repeated(p, token, line);
    if (key.opcode != OP_NIL && key.number <= mades->count && value_id_some(value)) {
        if (key.number == mades->count)
            parse_mades_add(p, mades, (ParseMade){value.row, block});
        else
            mades->at[key.number] = (ParseMade){value.row, block};
        return true;
    }
    ParseName *name = parse_names_add(&p->values, text);
    name->row = value.row;
    name->block = block;
    name->line = token->line;
    return true;
}

/* Whether the printer would make up this very name for an unnamed value here (names.h): the base,
 * or base.k with the next free k. Then the world need not keep it. */
static bool is_made_up(Parser *p, const Token *token, String base, uint32_t *counter,
                       uint32_t *out_number) {
    String split = parse_split(token_text(token), out_number);
    if (token->escaped || !str_same(split, base)) return false;
    if (*out_number < *counter || *out_number > *counter + 4u) return false;
    for (uint32_t k = *counter; k < *out_number; k++) { /* passed over because they are taken */
        String  taken = k == 0 ? base : str_format(p->arena, "%.*s.%u", STR_ARGS(base), k);
        ValueId value;
        if (!find_value(p, taken, parse_key(p, taken), &value, NULL)) return false;
    }
    *counter = *out_number + 1;
    return true;
}

static void push_pending(Parser *p, Token token) {
    ParsePending *pending = &p->pending;
    pending->results = arena_room(p->arena, pending->results, pending->count, &pending->capacity,
                                  sizeof *pending->results);
    pending->results[pending->count++] = (ParseResult){.token = token};
}

/* --- the parts of an operator ----------------------------------------------------------------- */
static bool parse_results(Parser *p, Statement *s) {
    while (p->token.kind == TOKEN_VALUE) {
        if (s->names_count == UINT16_MAX) return parse_fail_limit(p, "results", UINT16_MAX);
        push_pending(p, p->token);
        s->names_count++;
        parse_advance(p);
        if (!parse_skip(p, ',')) break;
    }
    if (s->names_count != 0 && !parse_skip(p, '=')) return parse_fail_expected(p, "'='");
    return true;
}
static bool parse_operands(Parser *p, Statement *s) {
    while (p->token.kind == TOKEN_VALUE) {
        String  text = parse_text(p, &p->token);
        ValueId value = {0};
        if (s->operands_count == UINT16_MAX) return parse_fail_limit(p, "operands", UINT16_MAX);
        if (!find_value(p, text, parse_key(p, text), &value, NULL)) {
            (void)parse_fail_value(p);
            s->wrong = true;
        }
        parse_list_push(p, &p->operands, value.row);
        s->operands_count++;
        parse_advance(p);
        if (!parse_skip(p, ',')) return true;
    }
    return s->operands_count == 0 || parse_fail_expected(p, "a value");
}
/* Whether `{` opens attributes: a name and '=' follow. */
static bool at_attrs(const Parser *p) {
    Lexer ahead = p->lexer;
    if (p->token.kind != '{') return false;
    Token token;
    lex_next(&ahead, &token);
    if (token.kind != TOKEN_NAME) return token.kind == '}';
    lex_next(&ahead, &token);
    return token.kind == '=';
}
/* What stands from '{' to the next '}', when it is short and on one line, without strings. */
static String attrs_ahead(const Parser *p) {
    enum { AHEAD_BYTES = 256 };
    const char *first = p->token.data, *at = first + 1, *end = p->lexer.end;
    if (end - first > AHEAD_BYTES) end = first + AHEAD_BYTES;
    for (; at < end && *at != '"' && *at != '\n' && *at != ';'; at++)
        if (*at == '}') return (String){first, (size_t)(at + 1 - first)};
    return (String){NULL, 0};
}
static bool read_attrs(Parser *p, Statement *s, bool open) {
    const OpInfo *info = &op_infos[s->opcode];
    uint32_t      seen = 0;
    uint64_t      words[ATTRS_MAX];
    for (uint32_t i = 0; i < info->attrs_count; i++) words[i] = attr_default_word(&info->attrs[i]);
    if (open) parse_advance(p);
    p->in_attrs = open;
    while (open && p->token.kind != '}') {
        if (p->token.kind != TOKEN_NAME) return parse_fail_expected(p, "an attribute");
        int attr = op_attr_find(s->opcode, token_text(&p->token));
        if (attr < 0) return parse_fail_attr_unknown(p, s->opcode);
        if (seen >> attr & 1) return parse_fail_attr_repeated(p);
        seen |= 1u << attr;
        parse_advance(p);
        if (!parse_skip(p, '=')) return parse_fail_expected(p, "'='");
        if (!parse_attr_value(p, &info->attrs[attr], &words[attr])) return false;
        if (!parse_skip(p, ',')) break;
    }
    if (open && !parse_skip(p, '}')) return parse_fail_expected(p, "'}'");
    p->in_attrs = false;
    for (uint32_t i = 0; i < info->attrs_count; i++) {
        if ((seen >> i & 1) || !info->attrs[i].required) continue;
        s->wrong = true;
        (void)parse_fail_attr_missing(p, &s->at, s->opcode, &info->attrs[i]);
    }
    s->attrs = attrs_add(&p->world->attrs, words, info->attrs_count);
    return true;
}
/* Rows of a model repeat: attributes that were read before are recognised by their text. */
static bool parse_attrs(Parser *p, Statement *s) {
    const OpInfo *info = &op_infos[s->opcode];
    bool          brace = p->token.kind == '{';
    if (info->attrs_count == 0 && !brace) return true;
    String      text = brace ? attrs_ahead(p) : (String){NULL, 0};
    uint64_t    hash = text.data != NULL ? hash_bytes(text.data, text.count, s->opcode) : 0;
    ParseAttrs *seen = &p->seen[hash % PARSE_SEEN];
    if (text.data != NULL && seen->opcode == s->opcode && str_same(seen->text, text)) {
        s->attrs = seen->attrs;
        p->lexer.at = text.data + text.count;
        parse_advance(p);
        return true;
    }
    bool open = at_attrs(p) && !(info->attrs_count == 0 && (info->flags & OP_BLOCKS));
    if (!read_attrs(p, s, open)) return false;
    if (open && text.data != NULL && p->world->diags.errors == p->errors_first)
        *seen = (ParseAttrs){text, s->opcode, s->attrs};
    return true;
}
static bool parse_result_types(Parser *p, Statement *s) {
    if (!parse_skip(p, ':')) return true;
    do {
        TypeId type;
        if (!parse_type(p, &type)) return false;
        parse_list_push(p, &p->types, type.row);
        s->types_count++;
    } while (parse_skip(p, ','));
    if (s->types_count == s->names_count) return true;
    return parse_fail_results(p, &s->at, s->opcode, s->types_count, s->names_count);
}

/* --- blocks ----------------------------------------------------------------------------------- */
/* (%x: type, ...); `block` is the innermost open one. */
static bool parse_args(Parser *p, BlockId block) {
    Blocks  *blocks = &p->code->blocks;
    Values  *values = &p->code->values;
    uint32_t first = values->table.count;
    blocks->args_first[block.row] = (ValueId){first};
    if (!parse_skip(p, '(')) return true;
    while (p->token.kind != ')') {
        Token  name = p->token;
        TypeId type;
        if (name.kind != TOKEN_VALUE) return parse_fail_expected(p, "an argument, '%name: type'");
        parse_advance(p);
        if (!parse_skip(p, ':')) return parse_fail_expected(p, "':'");
        if (!parse_type(p, &type)) return false;
        uint32_t number, row = table_add(&values->table);
        bool     made_up = is_made_up(p, &name, STR("arg"), &p->counters[OP_NIL], &number);
        values->type[row] = type;
        values->def[row] = VALUE_IS_ARG | block.row;
        values->name[row] = made_up ? (StrId){0} : parse_intern(p, &name);
        blocks->args_count[block.row]++;
        (void)define(p, &name, (ParseKey){0}, (ValueId){row});
        if (!parse_skip(p, ',')) break;
    }
    return parse_skip(p, ')') || parse_fail_expected(p, "')'");
}
static bool parse_block(Parser *p, BlockId block) {
    p->open[++p->depth] = block;
    p->code->blocks.op_first[block.row] = p->code->ops.table.count;
    bool good = parse_args(p, block);
    if (good && !parse_skip(p, '{')) good = parse_fail_expected(p, "'{'");
    if (good) good = parse_body(p, block);
    p->code->blocks.op_last[block.row] = p->code->ops.table.count;
    p->depth--;
    return good;
}
static bool parse_blocks(Parser *p, Statement *s) {
    uint32_t takes = check_blocks(p->world, s->opcode, s->attrs);
    if (takes != 0 && p->depth == PARSE_DEPTH_MAX)
        return parse_fail_limit(p, "nested blocks", PARSE_DEPTH_MAX);
    for (uint32_t i = 0; i < takes; i++) {
        BlockId block = code_add_block(p->code, (OpId){0}, 0);
        if (i == 0) s->blocks_first = block;
    }
    while (s->blocks_count < takes && (p->token.kind == '{' || p->token.kind == '('))
        if (!parse_block(p, (BlockId){s->blocks_first.row + s->blocks_count++})) return false;
    if (s->blocks_count == takes) return true;
    return parse_fail_blocks(p, &s->at, s->opcode, takes, s->blocks_count);
}

/* --- operators -------------------------------------------------------------------------------- */
static bool types_same(Parser *p, TypeId a, TypeId b) {
    const Types *types = &p->world->types;
    if (type_id_same(a, b)) return true;
    if (type_dtype(types, a) != type_dtype(types, b) || type_rank(types, a) != type_rank(types, b))
        return false;
    for (uint32_t i = 0; i < type_rank(types, a); i++)
        if (!dims_same(&p->world->dims, type_dims(types, a)[i], type_dims(types, b)[i]))
            return false;
    return true;
}
static void infer_types(Parser *p, OpId op, const Statement *s) {
    Code    *code = p->code;
    TypeId  *types = code->values.type + code->ops.results_first[op.row].row;
    InferCtx ctx = {.world = p->world,
                    .opcode = s->opcode,
                    .op = op.row,
                    .operands = op_operands(code, op),
                    .operands_count = s->operands_count,
                    .record = code->ops.attrs[op.row],
                    .results_count = s->names_count,
                    .out_types = types,
                    .code = code};
    bool     control = op_infos[s->opcode].infer == infer_control;
    if (control) /* the infer system checks them */
        infer_control_results(&ctx);
    else if (!s->wrong)
        schema_infer(&ctx);
    for (uint32_t i = 0; i < s->types_count; i++) {
        TypeId declared = {p->types.rows[s->types_first + i]};
        bool   known = type_id_some(types[i]) && !control;
        if (known && !types_same(p, types[i], declared))
            (void)parse_fail_declared(p, op, op_result(code, op, i), declared);
        types[i] = declared;
    }
}
static bool check_counts(Parser *p, Statement *s) {
    const OpInfo *info = &op_infos[s->opcode];
    if (s->operands_count < info->operands_min || s->operands_count > info->operands_max)
        return parse_fail_operands(p, &s->at, s->opcode, s->operands_count);
    uint32_t gives = check_results(s->opcode, s->operands_count, s->names_count);
    return gives == s->names_count ||
           parse_fail_results(p, &s->at, s->opcode, gives, s->names_count);
}
static void append(Parser *p, Statement *s) {
    Code    *code = p->code;
    BlockId  block = p->open[p->depth];
    LocId    loc = world_loc(p->world, p->file_id, s->at.line, s->at.column);
    uint32_t first = table_add_many(&code->operands.table, s->operands_count);
    for (uint32_t i = 0; i < s->operands_count; i++)
        code->operands.value[first + i] = (ValueId){p->operands.rows[s->operands_first + i]};
    OpId op = code_add_op(code, block, (uint16_t)s->opcode, NULL, 0, s->names_count, s->attrs, loc);
    code->ops.operands_first[op.row] = first;
    code->ops.operands_count[op.row] = (uint16_t)s->operands_count;
    code->ops.blocks_first[op.row] = s->blocks_first;
    code->ops.blocks_count[op.row] = (uint16_t)s->blocks_count;
    for (uint32_t i = 0; i < s->blocks_count; i++)
        code->blocks.parent[s->blocks_first.row + i] = op;
    infer_types(p, op, s);
    for (uint32_t i = 0; i < s->names_count; i++) {
        const ParseResult *result = &p->pending.results[s->names_first + i];
        ValueId            value = op_result(code, op, i);
        if (!result->made_up) code->values.name[value.row] = parse_intern(p, &result->token);
        (void)define(p, &result->token, result->key, value);
    }
}
static void judge_names(Parser *p, const Statement *s) {
    for (uint32_t i = 0; i < s->names_count; i++) {
        ParseResult *result = &p->pending.results[s->names_first + i];
        result->made_up =
            is_made_up(p, &result->token, s->name, &p->counters[s->opcode], &result->key.number);
        if (result->made_up)
            result->key.opcode = s->opcode;
        else
            result->key = parse_key(p, parse_text(p, &result->token));
    }
}
static bool parse_parts(Parser *p, Statement *s) {
    if (!parse_results(p, s)) return false;
    s->at = p->token;
    if (s->at.kind != TOKEN_NAME) return parse_fail_expected(p, "an operator");
    const ParseWord *word = parse_word(p, token_text(&s->at));
    s->opcode = (Opcode)word->opcode;
    s->name = word->text;
    if (s->opcode == OP_NIL) return parse_fail_op(p, &s->at);
    parse_advance(p);
    if (!parse_operands(p, s)) return false;
    judge_names(p, s);
    if (!parse_attrs(p, s) || !parse_result_types(p, s)) return false;
    bool junk = p->token.kind == TOKEN_BAD || p->token.kind == TOKEN_NUMBER ||
                p->token.kind == TOKEN_STRING;
    if (junk) return parse_fail_expected(p, "the next operator");
    if (!check_counts(p, s)) return false;
    return parse_blocks(p, s);
}
/* False when the text could not be followed; the names on the left are then known but silent. */
static bool parse_statement(Parser *p, bool *returned) {
    Statement s = {.names_first = p->pending.count,
                   .operands_first = p->operands.count,
                   .types_first = p->types.count};
    bool      good = parse_parts(p, &s);
    bool      late = *returned && s.opcode != OP_NIL;
    if (late) good = parse_fail_return_early(p, &s.at);
    if (good)
        append(p, &s);
    else {
        for (uint32_t i = 0; i < s.names_count; i++) {
            const Token *token = &p->pending.results[s.names_first + i].token;
            String       text = parse_text(p, token);
            ParseKey     key = parse_key(p, text);
            ValueId      value = {0};
            if (!find_value(p, text, key, &value, NULL)) (void)define(p, token, key, value);
        }
    }
    if (op_infos[s.opcode].flags & OP_TERMINATOR) *returned = true;
    p->pending.count = s.names_first;
    p->operands.count = s.operands_first;
    p->types.count = s.types_first;
    return good;
}

/* Skips to the next line, or to a '}' that closes what is open, passing over whole blocks. */
static void recover(Parser *p) {
    uint32_t depth = p->in_attrs;
    p->in_attrs = false;
    for (; p->token.kind != TOKEN_END; parse_advance(p)) {
        if (depth == 0 && p->token.line > p->last_line) return;
        if (p->token.kind == '}' && depth == 0) return;
        if (p->token.kind == '{') depth++;
        if (p->token.kind == '}') depth--;
    }
}
/* Outside graphs: to the next line that begins a graph or a fact. */
static void recover_outside(Parser *p) {
    for (; p->token.kind != TOKEN_END; parse_advance(p)) {
        bool begins = parse_is_name(p, STR("graph")) || parse_is_name(p, STR("dim"));
        if (begins && p->token.line > p->last_line) return;
    }
}
static bool too_many_errors(const Parser *p) {
    return p->world->diags.errors - p->errors_first >= PARSE_ERRORS_MAX;
}

/* After '{'; consumes the '}'. */
static bool parse_body(Parser *p, BlockId block) {
    bool returned = false;
    while (p->token.kind != '}') {
        bool outside = p->token.kind == TOKEN_END || parse_is_name(p, STR("graph"));
        if (outside) return parse_fail_expected(p, "an operator or '}'");
        const char *before = p->lexer.at;
        if (too_many_errors(p)) return false;
        if (parse_statement(p, &returned)) continue;
        if (p->lexer.at == before) parse_advance(p); /* progress */
        recover(p);
    }
    if (!returned && p->world->diags.errors == p->graph_errors) (void)parse_fail_return(p);
    if (!returned) { /* keep the rows in order for what looks at a failed parse */
        uint64_t words[ATTRS_MAX] = {0};
        AttrsId  attrs = attrs_add(&p->world->attrs, words, op_infos[OP_RETURN].attrs_count);
        LocId    loc = world_loc(p->world, p->file_id, p->token.line, p->token.column);
        (void)code_add_op(p->code, block, OP_RETURN, NULL, 0, 0, attrs, loc);
    }
    parse_advance(p);
    return true;
}

/* --- the whole text --------------------------------------------------------------------------- */
static bool parse_graph(Parser *p) {
    Token name = p->token;
    if (name.kind != TOKEN_NAME && name.kind != TOKEN_STRING)
        return parse_fail_expected(p, "the name of the graph");
    String           text = parse_text(p, &name);
    const ParseName *first = parse_names_find(&p->graphs, text);
    p->graph_errors = p->world->diags.errors;
    if (first != NULL) (void)parse_fail_graph(p, &name, first);
    parse_advance(p);
    if (p->token.kind != '(') return parse_fail_expected(p, "'('");
    memset(p->counters, 0, sizeof p->counters);
    for (uint32_t i = 0; i < OP_COUNT; i++) p->made[i].count = 0;
    BlockId    block = code_add_block(p->code, (OpId){0}, 0);
    GraphId    graph = code_add_graph(p->code, parse_intern(p, &name), block);
    ParseName *entry = parse_names_add(&p->graphs, text);
    entry->row = graph.row;
    entry->line = name.line;
    p->depth = UINT32_MAX; /* parse_block opens depth 0 */
    bool good = parse_block(p, block);
    p->depth = 0;
    p->open[0] = (BlockId){0};
    return good;
}
static bool parse_version(Parser *p) {
    Token   at = p->token;
    int64_t version;
    if (!parse_int(p, &version)) return false;
    p->token = version == 1 ? p->token : at;
    return version == 1 || parse_fail_version(p, version);
}
static bool parse_top(Parser *p) {
    Token at = p->token;
    parse_advance(p);
    if (at.kind == TOKEN_NAME && str_same(token_text(&at), STR("graph"))) return parse_graph(p);
    if (at.kind == TOKEN_NAME && str_same(token_text(&at), STR("dim"))) {
        memset(p->seen, 0, sizeof p->seen); /* facts give sizes other canonical forms */
        return parse_fact_line(p);
    }
    if (at.kind == TOKEN_NAME && str_same(token_text(&at), STR("stoa"))) return parse_version(p);
    p->token = at;
    (void)parse_fail_expected(p, "'graph', 'dim' or 'stoa'");
    parse_advance(p);
    return false;
}

static void add_word(Parser *p, const char *text, Opcode opcode, Dtype dtype) {
    ParseWord *word = &p->words[parse_word(p, str_of(text)) - p->words];
    word->text = str_of(text);
    if (opcode != OP_NIL) word->opcode = (uint16_t)opcode;
    if (dtype != DTYPE_NIL) word->dtype = (uint16_t)dtype;
}
static void add_words(Parser *p) {
    static_assert(OP_COUNT + DTYPE_COUNT < PARSE_WORDS / 2,
                  "the table of words is at most half full");
    for (int i = 1; i < OP_COUNT; i++) add_word(p, op_infos[i].name, (Opcode)i, DTYPE_NIL);
    for (int i = 1; i < DTYPE_COUNT; i++) add_word(p, dtype_infos[i].name, OP_NIL, (Dtype)i);
}
static void add_known_graphs(Parser *p) {
    const Graphs *graphs = &p->code->graphs;
    for (uint32_t row = 1; row < graphs->table.count; row++)
        parse_names_add(&p->graphs, strings_get(&p->world->strings, graphs->name[row]))->row = row;
}

bool text_parse(World *world, String source, String file_name) {
    Scratch scratch = scratch_begin(NULL, 0);
    Parser *p = ARENA_NEW(scratch.arena, Parser);
    p->world = world;
    p->code = &world->code;
    p->arena = scratch.arena;
    p->file = file_name;
    p->file_id = strings_add(&world->strings, file_name);
    p->errors_first = world->diags.errors;
    p->values = parse_names_begin(scratch.arena, 0);
    p->graphs = parse_names_begin(scratch.arena, 0);
    p->lexer = lex_begin(source);
    add_words(p);
    add_known_graphs(p);
    lex_next(&p->lexer, &p->token);
    p->last_line = 1;
    while (p->token.kind != TOKEN_END && !too_many_errors(p))
        if (!parse_top(p)) recover_outside(p);
    bool good = world->diags.errors == p->errors_first;
    scratch_end(scratch);
    return good;
}
