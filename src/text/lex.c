/* Cutting tokens. One table gives each byte its classes; the longest token wins. Bytes above 127
 * are allowed inside strings and comments only. */
#include "text/lex.h"

enum { SPACE = 1, LETTER = 2, DIGIT = 4, DOT = 8, PUNCTUATION = 16, WORD = LETTER | DIGIT | DOT };

#define CLASS_LETTERS4(a, b, c, d) [a] = LETTER, [b] = LETTER, [c] = LETTER, [d] = LETTER
static const uint8_t classes[256] = {
    [' '] = SPACE,
    ['\t'] = SPACE,
    ['\r'] = SPACE,
    ['\n'] = SPACE,
    CLASS_LETTERS4('a', 'b', 'c', 'd'),
    CLASS_LETTERS4('e', 'f', 'g', 'h'),
    CLASS_LETTERS4('i', 'j', 'k', 'l'),
    CLASS_LETTERS4('m', 'n', 'o', 'p'),
    CLASS_LETTERS4('q', 'r', 's', 't'),
    CLASS_LETTERS4('u', 'v', 'w', 'x'),
    CLASS_LETTERS4('A', 'B', 'C', 'D'),
    CLASS_LETTERS4('E', 'F', 'G', 'H'),
    CLASS_LETTERS4('I', 'J', 'K', 'L'),
    CLASS_LETTERS4('M', 'N', 'O', 'P'),
    CLASS_LETTERS4('Q', 'R', 'S', 'T'),
    CLASS_LETTERS4('U', 'V', 'W', 'X'),
    CLASS_LETTERS4('y', 'z', 'Y', 'Z'),
    ['_'] = LETTER,
    ['0'] = DIGIT,
    ['1'] = DIGIT,
    ['2'] = DIGIT,
    ['3'] = DIGIT,
    ['4'] = DIGIT,
    ['5'] = DIGIT,
    ['6'] = DIGIT,
    ['7'] = DIGIT,
    ['8'] = DIGIT,
    ['9'] = DIGIT,
    ['.'] = DOT,
    ['('] = PUNCTUATION,
    [')'] = PUNCTUATION,
    ['['] = PUNCTUATION,
    [']'] = PUNCTUATION,
    ['{'] = PUNCTUATION,
    ['}'] = PUNCTUATION,
    [','] = PUNCTUATION,
    [':'] = PUNCTUATION,
    ['='] = PUNCTUATION,
    ['+'] = PUNCTUATION,
    ['-'] = PUNCTUATION,
    ['*'] = PUNCTUATION,
};
static uint8_t class_of(char c) { return classes[(unsigned char)c]; }

Lexer lex_begin(String source) {
    ASSERT(source.data || source.count == 0);
    const char *data = source.data ? source.data : "";
    size_t      count = source.count < UINT32_MAX ? source.count : UINT32_MAX;
    return (Lexer){data, data + count, data, 1};
}

/* Sixteen bytes at a time where there are as many: words are most of a text. */
static const char *skip_word(const char *at, const char *end) {
    typedef uint8_t Bytes __attribute__((vector_size(16)));
    typedef int8_t  Mask __attribute__((vector_size(16)));
    while (end - at >= (ptrdiff_t)sizeof(Bytes)) {
        Bytes bytes;
        memcpy(&bytes, at, sizeof bytes);
        Bytes    letters = (bytes | 0x20) - 'a', digits = bytes - '0';
        Mask     word = (letters < 26) | (digits < 10) | (bytes == '_') | (bytes == '.');
        uint64_t halves[2];
        memcpy(halves, &word, sizeof halves);
        if (~halves[0] != 0) return at + __builtin_ctzll(~halves[0]) / 8;
        if (~halves[1] != 0) return at + 8 + __builtin_ctzll(~halves[1]) / 8;
        at += sizeof bytes;
    }
    while (at < end && (class_of(*at) & WORD)) at++;
    return at;
}

/* A number ends before "..", and takes the sign of a decimal exponent. */
static const char *skip_number(const char *at, const char *end) {
    bool hex = end - at > 1 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    for (; at < end; at++) {
        bool sign = *at == '+' || *at == '-';
        if (sign && !hex && (at[-1] == 'e' || at[-1] == 'E')) continue;
        if (*at == '.' && end - at > 1 && at[1] == '.') break;
        if (!(class_of(*at) & WORD)) break;
    }
    return at;
}

/* At the opening quote; a string ends on its line. Returns what follows the closing quote. */
static const char *cut_string(const char *quote, const char *end, Token *token, TokenKind kind) {
    token->kind = TOKEN_BAD;
    token->data = quote;
    token->count = 1;
    for (const char *at = quote + 1; at < end && *at != '\n'; at++) {
        if (*at == '"') {
            token->kind = (uint16_t)kind;
            token->data = quote + 1;
            token->count = (uint32_t)(at - quote - 1);
            return at + 1;
        }
        if (*at != '\\') continue;
        token->escaped = true;
        if (++at == end || *at == '\n') break;
    }
    return quote + 1;
}

/* Comments, strings and bytes that begin nothing: out of the way of lex_next, which then is a
 * leaf. */
__attribute__((noinline)) static void lex_rare(Lexer *lexer, Token *token) {
    const char *at = lexer->at, *end = lexer->end, *last = at + 1;
    bool        more = last < end;
    if (*at == ';') {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        lexer->at = newline ? newline : end;
        lex_next(lexer, token);
        return;
    }
    token->kind = TOKEN_BAD;
    if (*at == '"')
        last = cut_string(at, end, token, TOKEN_STRING);
    else if (*at == '%' && more && *last == '"')
        last = cut_string(last, end, token, TOKEN_VALUE);
    else {
        if (*at == '.' && more && *last == '.') {
            token->kind = TOKEN_RANGE;
            last++;
        }
        token->count = (uint32_t)(last - at);
    }
    lexer->at = last;
}

void lex_next(Lexer *lexer, Token *token) {
    const char *at = lexer->at, *end = lexer->end;
    for (; at < end && (class_of(*at) & SPACE); at++) {
        if (*at != '\n') continue;
        lexer->line++;
        lexer->line_start = at + 1;
    }
    lexer->at = at;
    *token =
        (Token){.data = at, .line = lexer->line, .column = (uint32_t)(at - lexer->line_start) + 1};
    if (at == end) return;
    uint8_t class = class_of(*at++);
    if (class & LETTER) {
        token->kind = TOKEN_NAME;
        at = skip_word(at, end);
    } else if (class & PUNCTUATION) {
        token->kind = (uint8_t)at[-1];
    } else if (class & DIGIT) {
        token->kind = TOKEN_NUMBER;
        at = skip_number(at - 1, end);
    } else if (at[-1] == '%' && at < end && (class_of(*at) & WORD)) {
        token->kind = TOKEN_VALUE;
        token->data = at;
        at = skip_word(at, end);
    } else {
        lex_rare(lexer, token);
        return;
    }
    token->count = (uint32_t)(at - token->data);
    lexer->at = at;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Escapes: \n, \t, \xHH; any other character stands for itself. */
String lex_unescape(Arena *out, String text) {
    char  *data = ARENA_ARRAY(out, char, text.count + 1);
    size_t count = 0;
    for (size_t i = 0; i < text.count; i++) {
        char c = text.data[i];
        if (c == '\\' && i + 1 < text.count) {
            c = text.data[++i];
            int high = i + 2 < text.count ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.count ? hex_digit(text.data[i + 2]) : -1;
            if (c == 'x' && high >= 0 && low >= 0) {
                c = (char)(high * 16 + low);
                i += 2;
            } else if (c == 'n')
                c = '\n';
            else if (c == 't')
                c = '\t';
        }
        data[count++] = c;
    }
    data[count] = 0;
    return (String){data, count};
}

String lex_describe(Arena *out, const Token *token) {
    int         count = token->count > 40 ? 40 : (int)token->count;
    const char *data = token->data;
    switch (token->kind) {
    case TOKEN_END: return STR("the end of the text");
    case TOKEN_VALUE: return str_format(out, "'%%%.*s'", count, data);
    case TOKEN_STRING: return str_format(out, "\"%.*s\"", count, data);
    case TOKEN_BAD:
        if (data[0] == '"') return STR("a string without end");
        if ((unsigned char)data[0] < 32 || (unsigned char)data[0] > 126)
            return str_format(out, "byte 0x%02x", (unsigned char)data[0]);
        return str_format(out, "'%.*s'", count, data);
    default: return str_format(out, "'%.*s'", count, data);
    }
}
