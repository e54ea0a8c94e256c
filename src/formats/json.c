/* The JSON reader counts the nodes first (a cheap scan that only has to find strings), pushes the
 * columns once, and then parses with an explicit stack of open containers. Each rule of the grammar
 * is one function that moves `at` forward or sets `what`; after an error nothing is read any more.
 * Numbers are checked against the grammar before str_to_f64 sees them, so what that function
 * accepts beyond JSON (hexadecimal, inf) does not matter. */
#include "formats/json.h"

#include <math.h>

#include "formats/utf8.h"

typedef struct Reader {
    Arena      *out;
    Json       *json;
    size_t      rows_max; /* pushed: count_nodes is never too low */
    const char *begin, *at, *end;
    const char *what;                                          /* the error, or NULL */
    uint32_t    parents[JSON_DEPTH_MAX], last[JSON_DEPTH_MAX]; /* open containers, newest child */
    uint32_t    depth;
    String      key; /* of the value that comes next */
} Reader;

static bool fail(Reader *reader, const char *what) {
    if (reader->what == NULL) reader->what = what;
    return false;
}

static void skip_blanks(Reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                        *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

static bool peek(const Reader *reader, char wanted) {
    return reader->at < reader->end && *reader->at == wanted;
}

static bool is_digit(const Reader *reader) {
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

/* --- strings ---------------------------------------------------------------------------------- */
static bool read_hex4(Reader *reader, uint32_t *out_unit) {
    uint32_t unit = 0;
    if (reader->end - reader->at < 4) return fail(reader, "incomplete \\u escape");
    for (int i = 0; i < 4; i++, reader->at++) {
        char     c = *reader->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) return fail(reader, "a \\u escape needs four hexadecimal digits");
        unit = unit << 4 | digit;
    }
    *out_unit = unit;
    return true;
}

/* After the backslash: appends what the escape means at into, which has room (an escape is
 * longer). */
static bool read_escape(Reader *reader, char *into, size_t *count) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end) return fail(reader, "unterminated string");
    char        letter = *reader->at++;
    const char *found = letter == 0 ? NULL : strchr(letters, letter);
    if (found != NULL) {
        into[(*count)++] = meanings[found - letters];
        return true;
    }
    uint32_t point, low;
    if (letter != 'u') return fail(reader, "unknown escape in a string");
    if (!read_hex4(reader, &point)) return false;
    if (point >= 0xDC00 && point < 0xE000) return fail(reader, "unpaired surrogate in a string");
    if (point >= 0xD800 && point < 0xDC00) {
        if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u')
            return fail(reader, "unpaired surrogate in a string");
        reader->at += 2;
        if (!read_hex4(reader, &low)) return false;
        if (low < 0xDC00 || low >= 0xE000) return fail(reader, "unpaired surrogate in a string");
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    *count += utf8_put(into + *count, point);
    return true;
}

/* Moves past the closing quote; says whether an escape occurred. `at` stands after the opening
 * one. */
static bool scan_string(Reader *reader, bool *out_escapes) {
    *out_escapes = false;
    while (reader->at < reader->end && *reader->at != '"') {
        if ((uint8_t)*reader->at < 0x20) return fail(reader, "control character in a string");
        if (*reader->at == '\\') {
            *out_escapes = true;
            if (++reader->at == reader->end) break;
        }
        size_t length = utf8_length(reader->at, (size_t)(reader->end - reader->at));
        if (length == 0) return fail(reader, "invalid UTF-8 in a string");
        reader->at += length;
    }
    if (reader->at >= reader->end) return fail(reader, "unterminated string");
    reader->at++;
    return true;
}

static bool read_string(Reader *reader, String *out_string) {
    if (!peek(reader, '"')) return fail(reader, "expected a string");
    const char *first = ++reader->at;
    bool        escapes;
    if (!scan_string(reader, &escapes)) return false;
    size_t raw = (size_t)(reader->at - first) - 1;
    *out_string = (String){first, raw};
    if (!escapes) return true;
    const char *after = reader->at;
    char       *into = ARENA_ARRAY(reader->out, char, raw);
    size_t      count = 0;
    for (reader->at = first; reader->at < after - 1;) {
        if (*reader->at != '\\') {
            into[count++] = *reader->at++;
            continue;
        }
        reader->at++;
        if (!read_escape(reader, into, &count)) return false;
    }
    reader->at = after;
    *out_string = (String){into, count};
    return true;
}

/* --- numbers and words ------------------------------------------------------------------------ */
static bool read_digits(Reader *reader) {
    if (!is_digit(reader)) return fail(reader, "expected a digit");
    while (is_digit(reader)) reader->at++;
    return true;
}

static bool read_number(Reader *reader, uint32_t row) {
    const char *first = reader->at;
    bool        whole = true;
    if (peek(reader, '-')) reader->at++;
    if (peek(reader, '0'))
        reader->at++;
    else if (!read_digits(reader))
        return false;
    if (peek(reader, '.')) {
        whole = false;
        reader->at++;
        if (!read_digits(reader)) return false;
    }
    if (peek(reader, 'e') || peek(reader, 'E')) {
        whole = false;
        reader->at++;
        if (peek(reader, '+') || peek(reader, '-')) reader->at++;
        if (!read_digits(reader)) return false;
    }
    Json  *json = reader->json;
    String text = {first, (size_t)(reader->at - first)};
    json->kind[row] = JSON_NUMBER;
    json->text[row] = text;
    json->exact[row] = whole && str_to_i64(text, &json->integer[row]);
    if (str_to_f64(text, &json->number[row])) return true;
    reader->at = first;
    return fail(reader, "number out of range");
}

static bool read_word(Reader *reader, uint32_t row, const char *word, JsonKind kind,
                      int64_t meaning) {
    size_t count = strlen(word);
    if ((size_t)(reader->end - reader->at) < count || memcmp(reader->at, word, count) != 0)
        return fail(reader, "expected a value");
    reader->at += count;
    reader->json->kind[row] = (uint8_t)kind;
    reader->json->integer[row] = meaning;
    return true;
}

/* --- structure -------------------------------------------------------------------------------- */
static uint32_t add_row(Reader *reader) {
    Json *json = reader->json;
    ASSERT(json->count < reader->rows_max);
    uint32_t row = json->count++;
    json->key[row] = reader->key;
    json->offset[row] = (uint32_t)(reader->at - reader->begin);
    reader->key = (String){0};
    if (reader->depth == 0) return row;
    uint32_t parent = reader->parents[reader->depth - 1], last = reader->last[reader->depth - 1];
    if (last == 0)
        json->first[parent] = row;
    else
        json->next[last] = row;
    json->items[parent]++;
    reader->last[reader->depth - 1] = row;
    return row;
}

static bool read_key(Reader *reader) {
    skip_blanks(reader);
    if (!read_string(reader, &reader->key)) return false;
    skip_blanks(reader);
    if (!peek(reader, ':')) return fail(reader, "expected ':' after a key");
    reader->at++;
    return true;
}

/* Reads one value; *out_open says that it is a container whose first child comes next. */
static bool read_value(Reader *reader, bool *out_open) {
    *out_open = false;
    skip_blanks(reader);
    if (reader->at == reader->end) return fail(reader, "expected a value");
    uint32_t row = add_row(reader);
    Json    *json = reader->json;
    switch (*reader->at) {
    case '"': json->kind[row] = JSON_STRING; return read_string(reader, &json->text[row]);
    case 'n': return read_word(reader, row, "null", JSON_NULL, 0);
    case 't': return read_word(reader, row, "true", JSON_BOOL, 1);
    case 'f': return read_word(reader, row, "false", JSON_BOOL, 0);
    case '{':
    case '[': break;
    default:
        if (peek(reader, '-') || is_digit(reader)) return read_number(reader, row);
        return fail(reader, "expected a value");
    }
    bool object = *reader->at == '{';
    if (reader->depth == JSON_DEPTH_MAX) return fail(reader, "nested too deeply");
    json->kind[row] = object ? JSON_OBJECT : JSON_ARRAY;
    reader->at++;
    skip_blanks(reader);
    if (peek(reader, object ? '}' : ']')) {
        reader->at++;
        return true;
    }
    reader->parents[reader->depth] = row;
    reader->last[reader->depth++] = 0;
    *out_open = true;
    return !object || read_key(reader);
}

/* After a value: closes what ends here. *out_more: another value follows. */
static bool read_after(Reader *reader, bool *out_more) {
    for (*out_more = false; reader->depth != 0; reader->depth--) {
        bool object = reader->json->kind[reader->parents[reader->depth - 1]] == JSON_OBJECT;
        skip_blanks(reader);
        if (peek(reader, ',')) {
            reader->at++;
            *out_more = true;
            return !object || read_key(reader);
        }
        if (!peek(reader, object ? '}' : ']'))
            return fail(reader, object ? "expected ',' or '}'" : "expected ',' or ']'");
        reader->at++;
    }
    return true;
}

static bool read_document(Reader *reader) {
    for (bool more = true; more;) {
        bool open;
        if (!read_value(reader, &open)) return false;
        if (open) continue;
        if (!read_after(reader, &more)) return false;
    }
    skip_blanks(reader);
    return reader->at == reader->end || fail(reader, "text after the value");
}

/* At least the number of values in a valid text: the root, and one for each comma or bracket that
 * stands outside strings. An invalid text stops before it needs more. */
static size_t count_nodes(String text) {
    size_t count = 1;
    bool   inside = false;
    for (size_t i = 0; i < text.count; i++) {
        char c = text.data[i];
        if (c == '"')
            inside = !inside;
        else if (inside)
            i += c == '\\';
        else
            count += c == ',' || c == '{' || c == '[';
    }
    return count;
}

static void push_columns(Arena *out, Json *json, size_t rows) {
    json->kind = ARENA_ARRAY_ZERO(out, uint8_t, rows);
    json->exact = ARENA_ARRAY_ZERO(out, bool, rows);
    json->items = ARENA_ARRAY_ZERO(out, uint32_t, rows);
    json->first = ARENA_ARRAY_ZERO(out, uint32_t, rows);
    json->next = ARENA_ARRAY_ZERO(out, uint32_t, rows);
    json->offset = ARENA_ARRAY_ZERO(out, uint32_t, rows);
    json->key = ARENA_ARRAY_ZERO(out, String, rows);
    json->text = ARENA_ARRAY_ZERO(out, String, rows);
    json->number = ARENA_ARRAY_ZERO(out, double, rows);
    json->integer = ARENA_ARRAY_ZERO(out, int64_t, rows);
    json->count = 1;
}

bool json_parse(Arena *out, String text, Json *out_json, JsonError *out_error) {
    bool   small = text.count < UINT32_MAX;
    size_t nodes = small ? count_nodes(text) : 0;
    bool   fits = small && nodes <= JSON_NODES_MAX;
    push_columns(out, out_json, fits ? nodes + 1 : 1);
    *out_error = (JsonError){0};
    if (!fits) {
        *out_error = (JsonError){"too many values", text.count};
        return false;
    }
    Reader reader = {.out = out, .json = out_json, .rows_max = nodes + 1, .begin = text.data};
    reader.at = text.data;
    reader.end = text.data + text.count;
    if (read_document(&reader)) return true;
    ASSERT(reader.what != NULL);
    *out_error = (JsonError){reader.what, (size_t)(reader.at - reader.begin)};
    out_json->count = 1;
    return false;
}

JsonId json_find(const Json *json, JsonId object, String key) {
    if (json_kind(json, object) != JSON_OBJECT) return (JsonId){0};
    JsonId id = json_first(json, object);
    while (json_id_some(id) && !str_same(json->key[id.row], key)) id = json_next(json, id);
    return id;
}

bool json_integer(const Json *json, JsonId id, int64_t *out_integer) {
    if (json_kind(json, id) != JSON_NUMBER || !json->exact[id.row]) return false;
    *out_integer = json->integer[id.row];
    return true;
}

bool json_number_of(const Json *json, JsonId id, double *out_number) {
    if (json_kind(json, id) != JSON_NUMBER) return false;
    *out_number = json->number[id.row];
    return true;
}

bool json_text(const Json *json, JsonId id, String *out_text) {
    if (json_kind(json, id) != JSON_STRING) return false;
    *out_text = json->text[id.row];
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */
void json_string(Text *text, String s) {
    text_add(text, STR("\""));
    for (size_t i = 0; i < s.count;) {
        size_t plain = i; /* a run of bytes that need no escape */
        while (plain < s.count) {
            char   c = s.data[plain];
            size_t length = utf8_length(s.data + plain, s.count - plain);
            if (length == 0 || (uint8_t)c < 0x20 || c == '"' || c == '\\') break;
            plain += length;
        }
        text_add(text, (String){s.data + i, plain - i});
        if (plain == s.count) break;
        uint8_t c = (uint8_t)s.data[plain];
        if (c == '"' || c == '\\')
            text_addf(text, "\\%c", c);
        else if (c == '\n')
            text_add(text, STR("\\n"));
        else if (c == '\t')
            text_add(text, STR("\\t"));
        else
            text_addf(text, "\\u%04x", c < 0x20 ? (unsigned)c : 0xFFFDu);
        i = plain + 1;
    }
    text_add(text, STR("\""));
}

void json_number(Text *text, double number) {
    if (!isfinite(number)) {
        text_add(text, STR("null"));
        return;
    }
    text_addf(text, "%.17g", number); /* in the C locale: see str.c */
}

void json_i64(Text *text, int64_t number) { text_addf(text, "%lld", (long long)number); }
