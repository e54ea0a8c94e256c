/* Reading configuration text and command-line flags into rows. A line is one rule: a section, or a
 * key and a value; an error skips to the end of its line, so that one run shows every wrong line.
 * Values without escapes are slices of the text, which is kept in the arena of the config.
 * CONFIG_SYNTAX is emitted here only. */
#include "formats/config.h"

#include "formats/files.h"
#include "formats/sort.h"
#include "formats/utf8.h"

enum { NUMBER_BYTES = 64 };

typedef struct Reader {
    Config     *config;
    Diags      *diags;
    String      file;
    const char *at, *end, *line_begin;
    uint32_t    line; /* 0: the command line, which has neither lines nor columns */
    String      section;
    Status      status;
} Reader;

static uint32_t column_of(const Reader *reader, const char *place) {
    return reader->line == 0 ? 0 : (uint32_t)(place - reader->line_begin) + 1;
}

static void fail_at(Reader *reader, const char *what, uint32_t line, uint32_t column) {
    diags_add_at(reader->diags, DIAG_CONFIG_SYNTAX, reader->file, line, column,
                 diags_str(reader->diags, str_of(what)), 0, 0, 0);
    reader->status = STATUS_INVALID;
}

/* Reports what is wrong at `at`; false, so that callers can return it. */
static bool fail(Reader *reader, const char *what) {
    fail_at(reader, what, reader->line, column_of(reader, reader->at));
    return false;
}

static bool peek(const Reader *reader, char wanted) {
    return reader->at < reader->end && *reader->at == wanted;
}

static bool at_line_end(const Reader *reader) {
    return reader->at == reader->end || *reader->at == '\n' || *reader->at == '#';
}

static void skip_blanks(Reader *reader) {
    while (peek(reader, ' ') || peek(reader, '\t') || peek(reader, '\r')) reader->at++;
}

/* Skips the rest of the line, and its end. */
static void skip_line(Reader *reader) {
    while (reader->at < reader->end && *reader->at != '\n') reader->at++;
    if (reader->at == reader->end) return;
    reader->at++;
    reader->line++;
    reader->line_begin = reader->at;
}

/* Blanks, comments and line ends, inside a list. */
static void skip_space(Reader *reader) {
    for (;;) {
        skip_blanks(reader);
        if (reader->at == reader->end || !at_line_end(reader)) return;
        if (reader->line == 0) return;
        skip_line(reader);
    }
}

static bool is_key_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* part.part.part without blanks. */
static bool read_key(Reader *reader, String *out_key) {
    const char *first = reader->at;
    for (;;) {
        const char *part = reader->at;
        while (reader->at < reader->end && is_key_byte(*reader->at)) reader->at++;
        if (reader->at == part) return fail(reader, "expected a key");
        if (!peek(reader, '.')) break;
        reader->at++;
    }
    *out_key = (String){first, (size_t)(reader->at - first)};
    return true;
}

/* --- values ----------------------------------------------------------------------------------- */
static bool read_hex4(Reader *reader, uint32_t *out_point) {
    uint32_t point = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        char c = reader->at < reader->end ? *reader->at : 0;
        if (c >= '0' && c <= '9')
            point = point << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            point = point << 4 | (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            point = point << 4 | (uint32_t)(c - 'A' + 10);
        else
            return fail(reader, "a \\u escape needs four hexadecimal digits");
    }
    if (point >= 0xD800 && point < 0xE000) return fail(reader, "a \\u escape is no surrogate");
    *out_point = point;
    return true;
}

static bool read_escape(Reader *reader, char *into, size_t *count) {
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    char              letter = reader->at < reader->end ? *reader->at : 0;
    const char       *found = letter == 0 ? NULL : strchr(letters, letter);
    uint32_t          point;
    if (found == NULL && letter != 'u') return fail(reader, "unknown escape in a string");
    reader->at++;
    if (found != NULL) {
        into[(*count)++] = meanings[found - letters];
        return true;
    }
    if (!read_hex4(reader, &point)) return false;
    *count += utf8_put(into + *count, point);
    return true;
}

/* Finds the closing quote on this line; `at` moves onto it. */
static bool scan_string(Reader *reader, char quote, bool *out_escapes) {
    *out_escapes = false;
    while (reader->at < reader->end && *reader->at != quote) {
        size_t length = utf8_length(reader->at, (size_t)(reader->end - reader->at));
        if (*reader->at == '\n') break;
        if (length == 0) return fail(reader, "invalid UTF-8 in a string");
        if ((uint8_t)*reader->at < 0x20 && *reader->at != '\t')
            return fail(reader, "control character in a string");
        if (quote == '"' && *reader->at == '\\') {
            *out_escapes = true;
            if (reader->end - reader->at >= 2 && reader->at[1] != '\n') reader->at++;
            length = utf8_length(reader->at, (size_t)(reader->end - reader->at));
            if (length == 0) return fail(reader, "invalid UTF-8 in a string");
        }
        reader->at += length;
    }
    return peek(reader, quote) || fail(reader, "the string has no closing quote");
}

static bool read_string(Reader *reader, String *out_text) {
    char        quote = *reader->at++;
    const char *first = reader->at;
    bool        escapes;
    if (!scan_string(reader, quote, &escapes)) return false;
    const char *last = reader->at;
    *out_text = (String){first, (size_t)(last - first)};
    if (escapes) {
        char  *into = ARENA_ARRAY(reader->config->arena, char, out_text->count + 1);
        size_t count = 0;
        for (reader->at = first; reader->at < last;) {
            if (*reader->at != '\\') {
                into[count++] = *reader->at++;
                continue;
            }
            reader->at++;
            if (!read_escape(reader, into, &count)) return false;
        }
        *out_text = (String){into, count};
    }
    reader->at = last + 1;
    return true;
}

/* Numbers and words: what they mean as a value, CONFIG_NONE if nothing. Underscores may stand
 * between digits. */
static ConfigKind classify(String word, int64_t *out_integer, double *out_number) {
    char   plain[NUMBER_BYTES];
    size_t count = 0;
    bool   whole = true;
    *out_integer = str_same(word, STR("true"));
    *out_number = 0;
    if (*out_integer || str_same(word, STR("false"))) return CONFIG_BOOL;
    if (word.count == 0 || word.count > sizeof plain) return CONFIG_NONE;
    for (size_t i = 0; i < word.count; i++) {
        char c = word.data[i];
        bool digit = c >= '0' && c <= '9';
        if (c == '_') {
            bool between = i > 0 && i + 1 < word.count && word.data[i - 1] >= '0' &&
                           word.data[i - 1] <= '9' && word.data[i + 1] >= '0' &&
                           word.data[i + 1] <= '9';
            if (!between) return CONFIG_NONE;
            continue;
        }
        if (!digit && (c == 0 || strchr("+-.eE", c) == NULL)) return CONFIG_NONE;
        whole = whole && (digit || (i == 0 && (c == '+' || c == '-')));
        plain[count++] = c;
    }
    String number = {plain, count};
    if (!str_to_f64(number, out_number)) return CONFIG_NONE;
    if (!whole) return CONFIG_FLOAT;
    return str_to_i64(number, out_integer) ? CONFIG_INT : CONFIG_NONE;
}

static bool read_scalar(Reader *reader, ConfigId id) {
    Config  *config = reader->config;
    uint32_t row = id.row;
    if (peek(reader, '"') || peek(reader, '\'')) {
        config->kind[row] = CONFIG_STRING;
        return read_string(reader, &config->text[row]);
    }
    const char *first = reader->at;
    while (!at_line_end(reader) && strchr(" \t\r,]", *reader->at) == NULL) reader->at++;
    String word = {first, (size_t)(reader->at - first)};
    config->kind[row] = (uint8_t)classify(word, &config->integer[row], &config->number[row]);
    config->text[row] = word;
    if (config->kind[row] != CONFIG_NONE) return true;
    reader->at = first;
    return fail(reader, "expected a number in range, true, false, a \"string\" or a [list]");
}

static bool room_for_row(Reader *reader) {
    return reader->config->count < CONFIG_ROWS_MAX || fail(reader, "too many values");
}

static bool read_list(Reader *reader, ConfigId list) {
    Config     *config = reader->config;
    const char *first = reader->at++;
    config->kind[list.row] = CONFIG_LIST;
    config->items[list.row] = (Span){list.row + 1, 0};
    for (;;) {
        skip_space(reader);
        if (peek(reader, ']')) break;
        if (reader->at == reader->end) return fail(reader, "the list has no closing ']'");
        if (peek(reader, '[')) return fail(reader, "a list cannot hold lists");
        if (!room_for_row(reader)) return false;
        ConfigId item = config_add(config, (String){0}, reader->file, reader->line,
                                   column_of(reader, reader->at));
        config->item[item.row] = true;
        config->items[list.row].count++;
        if (!read_scalar(reader, item)) return false;
        skip_space(reader);
        if (peek(reader, ','))
            reader->at++;
        else if (!peek(reader, ']') && reader->at < reader->end)
            return fail(reader, "expected ',' or ']'");
    }
    reader->at++;
    config->text[list.row] = (String){first, (size_t)(reader->at - first)};
    return true;
}

/* Adds the row of a key with the value that comes next. A row whose value is wrong is dropped. */
static bool read_value(Reader *reader, String key) {
    Config  *config = reader->config;
    uint32_t before = config->count;
    if (!room_for_row(reader)) return false;
    ConfigId id =
        config_add(config, key, reader->file, reader->line, column_of(reader, reader->at));
    bool good = peek(reader, '[') ? read_list(reader, id) : read_scalar(reader, id);
    if (!good) config->count = before;
    return good;
}

/* --- lines ------------------------------------------------------------------------------------ */
static String join_key(Reader *reader, String key) {
    if (reader->section.count == 0) return key;
    return str_format(reader->config->arena, "%.*s.%.*s", STR_ARGS(reader->section), STR_ARGS(key));
}

static bool read_section(Reader *reader) {
    String name;
    reader->at++;
    if (peek(reader, '[')) return fail(reader, "arrays of tables are not supported");
    skip_blanks(reader);
    if (!read_key(reader, &name)) return false;
    skip_blanks(reader);
    if (!peek(reader, ']')) return fail(reader, "expected ']' after the name of the section");
    reader->at++;
    reader->section = name;
    return true;
}

static bool read_pair(Reader *reader) {
    String key;
    if (!read_key(reader, &key)) return false;
    skip_blanks(reader);
    if (!peek(reader, '=')) return fail(reader, "expected '=' after the key");
    reader->at++;
    skip_blanks(reader);
    return read_value(reader, join_key(reader, key));
}

static void read_line(Reader *reader) {
    skip_blanks(reader);
    if (at_line_end(reader)) return;
    bool good = peek(reader, '[') ? read_section(reader) : read_pair(reader);
    skip_blanks(reader);
    if (good && !at_line_end(reader)) (void)fail(reader, "text after the value");
}

static bool key_less(const void *owner, uint32_t a, uint32_t b) {
    const Reader *reader = owner;
    const String *keys = reader->config->key;
    return sort_compare_strings(keys[a].data, keys[a].count, keys[b].data, keys[b].count) < 0;
}

/* Rows first_row.. come from one file: no key may stand twice among them. */
static void check_twice(Reader *reader, uint32_t first_row) {
    const Config *config = reader->config;
    Scratch       scratch = scratch_begin(&reader->config->arena, 1);
    size_t        count = 0;
    uint32_t     *rows = ARENA_ARRAY(scratch.arena, uint32_t, config->count - first_row);
    uint32_t     *spare = ARENA_ARRAY(scratch.arena, uint32_t, config->count - first_row);
    for (uint32_t row = first_row; row < config->count; row++)
        if (!config->item[row]) rows[count++] = row;
    sort_rows(rows, spare, count, key_less, reader);
    for (size_t i = 1; i < count; i++) {
        String key = config->key[rows[i]];
        if (!str_same(key, config->key[rows[i - 1]])) continue;
        String what = str_format(scratch.arena, "key '%.*s' stands twice", STR_ARGS(key));
        fail_at(reader, what.data, config->line[rows[i]], config->column[rows[i]]);
    }
    scratch_end(scratch);
}

/* text lives in the arena of the config. */
static Status read_text(Config *config, String text, String file, Diags *diags) {
    Reader reader = {.config = config, .diags = diags, .file = file, .line = 1};
    reader.at = reader.line_begin = text.data;
    reader.end = text.data + text.count;
    uint32_t first_row = config->count;
    while (reader.at < reader.end) {
        read_line(&reader);
        skip_line(&reader);
    }
    check_twice(&reader, first_row);
    return reader.status;
}

Status config_read_file(Config *config, const char *path, Diags *diags) {
    String  text;
    Failure failure = files_read(config->arena, path, CONFIG_BYTES_MAX, &text);
    if (failure_some(failure)) return report_failure(diags, path, failure);
    return read_text(config, text, str_copy(config->arena, str_of(path)), diags);
}

Status config_parse(Config *config, String text, const char *name, Diags *diags) {
    if (text.count > CONFIG_BYTES_MAX)
        return report_failure(diags, name, failure_too_large(CONFIG_BYTES_MAX));
    String file = str_copy(config->arena, str_of(name));
    return read_text(config, str_copy(config->arena, text), file, diags);
}

/* --- the command line ------------------------------------------------------------------------- */
/* `a-b.c` of a flag to the key a_b.c; false and a row if it is none. */
static bool flag_key(Reader *reader, String name, String *out_key) {
    String key = str_copy(reader->config->arena, name);
    char  *bytes = (char *)(uintptr_t)key.data;
    for (size_t i = 0; i < key.count; i++)
        if (bytes[i] == '-') bytes[i] = '_';
    reader->at = key.data;
    reader->end = key.data + key.count;
    if (!read_key(reader, out_key)) return false;
    return reader->at == reader->end || fail(reader, "a flag's name has letters, digits, _ and .");
}

/* Text that does not look like a number, a word, a list or a quoted string is a string as it
 * stands. */
static void flag_value(Reader *reader, String key, String value) {
    Config *config = reader->config;
    String  text = str_copy(config->arena, value);
    reader->at = text.data;
    reader->end = text.data + text.count;
    if (peek(reader, '[') || peek(reader, '"') || peek(reader, '\'')) {
        if (read_value(reader, key) && reader->at != reader->end)
            (void)fail(reader, "text after the value");
        return;
    }
    if (!room_for_row(reader)) return;
    uint32_t   row = config_add(config, key, reader->file, 0, 0).row;
    ConfigKind kind = classify(text, &config->integer[row], &config->number[row]);
    config->kind[row] = (uint8_t)(kind == CONFIG_NONE ? CONFIG_STRING : kind);
    config->text[row] = text;
}

Status config_parse_args(Config *config, const char *const *args, size_t args_count,
                         const String *switches, size_t switches_count, Diags *diags,
                         String *out_rest, size_t *out_rest_count) {
    Reader reader = {.config = config, .diags = diags, .file = STR("command line")};
    bool   ended = false;
    *out_rest_count = 0;
    for (size_t i = 0; i < args_count; i++) {
        String arg = str_of(args[i]), key;
        if (ended || !str_starts(arg, STR("--"))) {
            out_rest[(*out_rest_count)++] = arg;
            continue;
        }
        ended = arg.count == 2;
        if (ended) continue;
        String      name = {arg.data + 2, arg.count - 2}, value = STR("true");
        const char *equals = memchr(name.data, '=', name.count);
        if (equals != NULL) {
            value = str_of(equals + 1);
            name.count = (size_t)(equals - name.data);
        }
        if (!flag_key(&reader, name, &key)) continue;
        bool alone =
            equals != NULL || i + 1 == args_count || str_starts(str_of(args[i + 1]), STR("--"));
        for (size_t k = 0; k < switches_count && !alone; k++) alone = str_same(switches[k], key);
        if (!alone) value = str_of(args[++i]);
        flag_value(&reader, key, value);
    }
    return reader.status;
}
