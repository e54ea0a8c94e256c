/* What the sources of the parser share and nobody else includes: its state, the map from names to
 * values, and one function for each kind of diagnostic. parse.c reads graphs and operators,
 * parse_value.c types, sizes, constants and attributes, parse_names.c keeps names, parse_fail.c
 * reports.
 *
 * Every function that reads something returns false after reporting an error; the token that was
 * not expected is then still the current one. */
#ifndef STOA_TEXT_PARSE_INNER_H
#define STOA_TEXT_PARSE_INNER_H

#include "tables/schema.h"
#include "text/lex.h"

enum { PARSE_DEPTH_MAX = 60, PARSE_ERRORS_MAX = 100, PARSE_WORDS = 512, PARSE_SEEN = 512 };

/* --- names: an open-addressing map on text that lives in the source or the scratch arena
 * -------- */
typedef struct ParseName {
    const char *text;
    uint32_t    count, hash;
    uint32_t    row;   /* value or graph; 0: its definition was wrong, stay silent */
    uint32_t    block; /* where it is visible */
    uint32_t    line;  /* of the definition */
} ParseName;
typedef struct ParseSlot {
    uint32_t hash, name; /* name 0: free */
} ParseSlot;
typedef struct ParseNames {
    Arena     *arena;
    ParseName *names; /* from 1 */
    ParseSlot *slots;
    uint32_t   count, capacity, mask;
} ParseNames;

ParseNames parse_names_begin(Arena *arena, size_t expected);
ParseName *parse_names_find(const ParseNames *map, String text); /* NULL if there is none */
/* The entry with this text, or a new one with line 0; the caller fills it. */
ParseName *parse_names_add(ParseNames *map, String text);

/* --- words of the language: operators and element types
 * ---------------------------------------- */
typedef struct ParseWord {
    String   text;
    uint16_t opcode, dtype; /* 0: not one */
} ParseWord;

/* --- names that the printer makes up (names.h): "add", "add.1", ... are kept by operator and
 * number, in the order of the text, so that nothing is hashed and little memory is touched -------
 */
typedef struct ParseKey {
    uint32_t opcode, number; /* opcode 0: another name */
} ParseKey;
typedef struct ParseMade {
    uint32_t row, block; /* of the value */
} ParseMade;
typedef struct ParseMades {
    ParseMade *at; /* by number */
    uint32_t   count, capacity;
} ParseMades;

/* --- the parser
 * --------------------------------------------------------------------------------- */
typedef struct ParseList { /* a stack of 32-bit rows that statements share */
    uint32_t *rows;
    uint32_t  count, capacity;
} ParseList;
typedef struct ParseResult { /* a name left of '=' */
    Token    token;
    ParseKey key;
    bool     made_up; /* the printer would give the same one, so the world need not keep it */
} ParseResult;
typedef struct ParsePending {
    ParseResult *results;
    uint32_t     count, capacity;
} ParsePending;

typedef struct ParseAttrs { /* attributes without strings, as they stood after some operator */
    String  text;           /* from '{' to '}'; data NULL: free */
    Opcode  opcode;
    AttrsId attrs;
} ParseAttrs;

typedef struct Parser {
    World       *world;
    Code        *code;
    Arena       *arena; /* scratch of this parse */
    Lexer        lexer;
    Token        token;     /* the current one */
    uint32_t     last_line; /* of the token before it */
    String       file;
    StrId        file_id;
    ParseNames   values, graphs; /* values: those that made does not hold */
    ParseMades   made[OP_COUNT]; /* of this graph */
    ParseList    operands, types;
    ParsePending pending;
    BlockId      open[PARSE_DEPTH_MAX + 1]; /* enclosing blocks, outermost first */
    uint32_t     depth;                     /* of the innermost */
    bool         in_attrs;                  /* between the braces of attributes */
    uint32_t     graph_errors;              /* world->diags.errors when the graph began */
    uint32_t     errors_first;              /* the same for the text */
    uint32_t     counters[OP_COUNT];        /* of made-up names, by operator; [0]: arguments */
    ParseWord    words[PARSE_WORDS];
    ParseAttrs   seen[PARSE_SEEN]; /* by hash; the last one wins */
} Parser;

static inline void parse_advance(Parser *p) {
    p->last_line = p->token.line;
    lex_next(&p->lexer, &p->token);
}
static inline bool parse_is_name(const Parser *p, String name) {
    return p->token.kind == TOKEN_NAME && str_same(token_text(&p->token), name);
}
static inline bool parse_skip(Parser *p, char punctuation) {
    if (p->token.kind != (uint16_t)punctuation) return false;
    parse_advance(p);
    return true;
}
/* A name as base and number: "add.12", "x" (0). */
String           parse_split(String text, uint32_t *out_number);
ParseKey         parse_key(const Parser *p, String text);
void             parse_mades_add(Parser *p, ParseMades *list, ParseMade made);
void             parse_list_push(Parser *p, ParseList *list, uint32_t row);
const ParseWord *parse_word(const Parser *p, String text);          /* all zero if unknown */
String           parse_text(const Parser *p, const Token *token);   /* escapes removed */
StrId            parse_intern(const Parser *p, const Token *token); /* the same, in the world */

/* parse_value.c */
bool parse_int(Parser *p, int64_t *out_number); /* with an optional minus sign */
bool parse_dim(Parser *p, DimId *out_dim);
bool parse_type(Parser *p, TypeId *out_type);
bool parse_attr_value(Parser *p, const AttrInfo *attr, uint64_t *out_word);
bool parse_fact_line(Parser *p); /* after the word `dim` */

/* parse_fail.c: each reports one kind and returns false */
bool parse_fail_expected(Parser *p, const char *expected);
bool parse_fail_version(Parser *p, int64_t version);
bool parse_fail_limit(Parser *p, const char *what, int64_t most);
bool parse_fail_dim(Parser *p, const Token *at, const char *why);
bool parse_fail_fact(Parser *p, const Token *at, const char *why);
bool parse_fail_type(Parser *p);
bool parse_fail_declared(Parser *p, OpId op, ValueId value, TypeId declared);
bool parse_fail_const(Parser *p, const Token *at, TypeId type, const char *why);
bool parse_fail_graph(Parser *p, const Token *at, const ParseName *first);
bool parse_fail_op(Parser *p, const Token *at);
bool parse_fail_operands(Parser *p, const Token *at, Opcode opcode, uint32_t given);
bool parse_fail_results(Parser *p, const Token *at, Opcode opcode, uint32_t gives, uint32_t named);
bool parse_fail_blocks(Parser *p, const Token *at, Opcode opcode, uint32_t takes, uint32_t given);
bool parse_fail_attr_unknown(Parser *p, Opcode opcode);
bool parse_fail_attr_repeated(Parser *p);
bool parse_fail_attr_missing(Parser *p, const Token *at, Opcode opcode, const AttrInfo *attr);
bool parse_fail_attr_kind(Parser *p, const AttrInfo *attr);
bool parse_fail_value(Parser *p);
bool parse_fail_value_repeated(Parser *p, const Token *at, uint32_t first_line);
bool parse_fail_return(Parser *p);
bool parse_fail_return_early(Parser *p, const Token *at);

#endif
