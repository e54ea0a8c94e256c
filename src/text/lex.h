/* Tokens of the program text. The lexer cuts one token at a time out of the source, which stays
 * where it is: token texts point into it. Comments run from ';' to the end of the line; line ends
 * matter only to error recovery. A minus sign is always a token of its own. It allocates
 * nothing. */
#ifndef STOA_TEXT_LEX_H
#define STOA_TEXT_LEX_H

#include "arena/str.h"

/* Punctuation is its character; the others are above all characters. */
typedef enum TokenKind {
    TOKEN_END = 0,
    TOKEN_NAME = 256, /* add, f32, inf: letters, digits, '_' and '.' */
    TOKEN_VALUE,      /* %x, %"any text"; the text is without '%' and quotes */
    TOKEN_NUMBER,     /* 12, 1.5e-3, 0xff; never signed */
    TOKEN_STRING,     /* "text"; the text is without quotes, escapes still in it */
    TOKEN_RANGE,      /* .. */
    TOKEN_BAD         /* a byte that begins no token, or a string without end */
} TokenKind;

typedef struct Token {
    const char *data; /* its text, in the source */
    uint32_t    count;
    uint32_t    line, column; /* from 1 */
    uint16_t    kind;         /* TokenKind or a character */
    bool        escaped;      /* the text has escapes: lex_unescape */
} Token;
static inline String token_text(const Token *token) { return (String){token->data, token->count}; }

typedef struct Lexer {
    const char *at, *end, *line_start;
    uint32_t    line;
} Lexer;

Lexer  lex_begin(String source); /* below 4 GiB; the rest of a longer one is not seen */
void   lex_next(Lexer *lexer, Token *out_token);
String lex_unescape(Arena *out, String text);
/* For messages: "'add'", "the end of the text". */
String lex_describe(Arena *out, const Token *token);

#endif
