/* The configuration table and its getters. Rows are only appended; looking a key up walks them from
 * the last, which makes "the last one wins" the whole override rule. A few dozen keys are asked for
 * once a run, so there is no index. Kinds CONFIG_KEY and CONFIG_VALUE are emitted here only; the
 * syntax is read by config_read.c. */
#include "formats/config.h"

enum { CAPACITY_FIRST = 32 };

Config config_open(Arena *arena) {
    Config config = {.arena = arena};
    (void)config_add(&config, (String){0}, (String){0}, 0, 0); /* the nil row */
    return config;
}

/* Columns double into fresh memory; the old ones stay in the arena until it goes. */
static void grow(Config *config) {
    uint32_t from = config->capacity, to = from == 0 ? CAPACITY_FIRST : from * 2;
#define GROW(T, name)                                                                              \
    do {                                                                                           \
        T *name = ARENA_ARRAY_ZERO(config->arena, T, to);                                          \
        if (from != 0) memcpy(name, config->name, from * sizeof(T));                               \
        config->name = name;                                                                       \
    } while (0)
    GROW(uint8_t, kind);
    GROW(bool, used);
    GROW(bool, item);
    GROW(String, file);
    GROW(String, key);
    GROW(String, text);
    GROW(int64_t, integer);
    GROW(double, number);
    GROW(Span, items);
    GROW(uint32_t, line);
    GROW(uint32_t, column);
#undef GROW
    config->capacity = to;
}

ConfigId config_add(Config *config, String key, String file, uint32_t line, uint32_t column) {
    ASSERT(config->count < CONFIG_ROWS_MAX);
    if (config->count == config->capacity) grow(config);
    uint32_t row = config->count++; /* rows are dropped and used again: set every column */
    config->kind[row] = CONFIG_NONE;
    config->used[row] = config->item[row] = false;
    config->key[row] = key;
    config->file[row] = file;
    config->text[row] = (String){0};
    config->integer[row] = 0;
    config->number[row] = 0;
    config->items[row] = (Span){0};
    config->line[row] = line;
    config->column[row] = column;
    return (ConfigId){row};
}

ConfigId config_find(Config *config, String key) {
    ConfigId found = {0};
    for (uint32_t row = config->count - 1; row > 0; row--) {
        if (config->item[row] || !str_same(config->key[row], key)) continue;
        config->used[row] = true;
        if (!config_id_some(found)) found.row = row;
    }
    return found;
}

DiagId config_refuse(const Config *config, ConfigId id, const char *why, Diags *diags) {
    uint32_t row = id.row;
    uint64_t key = diags_str(diags, config->key[row]), text = diags_str(diags, config->text[row]);
    return diags_add_at(diags, DIAG_CONFIG_VALUE, config->file[row], config->line[row],
                        config->column[row], key, text, diags_str(diags, str_of(why)), 0);
}

static void suggest(DiagId about, String unknown, const String *names, size_t count, Diags *diags) {
    String closest = str_suggest(unknown, names, count);
    if (closest.count != 0 && diag_id_some(about))
        diags_note(diags, about, DIAG_DID_YOU_MEAN, 0, diags_str(diags, closest), 0);
}

/* --- typed values ----------------------------------------------------------------------------- */
int64_t config_i64(Config *config, String key, int64_t min, int64_t max, int64_t fallback,
                   Diags *diags) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return fallback;
    int64_t value = config->integer[id.row];
    bool    whole = config->kind[id.row] == CONFIG_INT;
    if (whole && value >= min && value <= max) return value;
    Scratch   scratch = scratch_begin(NULL, 0);
    long long low = min, high = max;
    String    why = !whole             ? STR("expected a whole number")
                    : max == INT64_MAX ? str_format(scratch.arena, "must be at least %lld", low)
                    : min == INT64_MIN
                        ? str_format(scratch.arena, "must be at most %lld", high)
                        : str_format(scratch.arena, "must be from %lld to %lld", low, high);
    (void)config_refuse(config, id, why.data, diags);
    scratch_end(scratch);
    return fallback;
}

double config_f64(Config *config, String key, double min, double max, double fallback,
                  Diags *diags) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return fallback;
    double value = config->number[id.row];
    bool   number = config->kind[id.row] == CONFIG_INT || config->kind[id.row] == CONFIG_FLOAT;
    if (number && value >= min && value <= max) return value;
    Scratch scratch = scratch_begin(NULL, 0);
    String  why = number ? str_format(scratch.arena, "must be from %g to %g", min, max)
                         : STR("expected a number");
    (void)config_refuse(config, id, why.data, diags);
    scratch_end(scratch);
    return fallback;
}

bool config_bool(Config *config, String key, bool fallback, Diags *diags) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return fallback;
    if (config->kind[id.row] == CONFIG_BOOL) return config->integer[id.row] != 0;
    (void)config_refuse(config, id, "expected true or false", diags);
    return fallback;
}

/* On the command line nothing needs quotes: `--name 12` is a good name. */
static bool is_string(const Config *config, ConfigId id) {
    ConfigKind kind = (ConfigKind)config->kind[id.row];
    return kind == CONFIG_STRING || (config->line[id.row] == 0 && kind != CONFIG_LIST);
}

String config_str(Config *config, String key, String fallback, Diags *diags) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return fallback;
    if (is_string(config, id)) return config->text[id.row];
    (void)config_refuse(config, id, "expected a \"string\"", diags);
    return fallback;
}

uint64_t config_bytes(Config *config, String key, uint64_t fallback, Diags *diags) {
    ConfigId id = config_find(config, key);
    uint64_t bytes = fallback;
    if (config_id_some(id) && !str_to_bytes(config->text[id.row], &bytes))
        (void)config_refuse(config, id, "expected bytes, such as 1048576, 96MiB or 1.5GiB", diags);
    return bytes;
}

size_t config_choice(Config *config, String key, const String *names, size_t names_count,
                     size_t fallback, Diags *diags) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return fallback;
    String text = config->text[id.row];
    for (size_t i = 0; i < names_count && is_string(config, id); i++)
        if (str_same(names[i], text)) return i;
    Scratch scratch = scratch_begin(NULL, 0);
    Text    why = text_begin(scratch.arena);
    text_add(&why, STR("must be one of"));
    for (size_t i = 0; i < names_count; i++)
        text_addf(&why, "%s \"%.*s\"", i == 0 ? "" : ",", STR_ARGS(names[i]));
    DiagId about = config_refuse(config, id, text_done(&why).data, diags);
    suggest(about, text, names, names_count, diags);
    scratch_end(scratch);
    return fallback;
}

Span config_list(Config *config, String key) {
    ConfigId id = config_find(config, key);
    if (!config_id_some(id)) return (Span){0};
    if (config->kind[id.row] == CONFIG_LIST) return config->items[id.row];
    return (Span){id.row, 1};
}

Status config_check_unused(const Config *config, const String *known, size_t known_count,
                           Diags *diags) {
    Status status = STATUS_OK;
    for (uint32_t row = 1; row < config->count; row++) {
        bool expected = config->item[row] || config->used[row];
        for (size_t i = 0; i < known_count && !expected; i++)
            expected = str_same(known[i], config->key[row]);
        if (expected) continue;
        status = STATUS_INVALID;
        DiagId about =
            diags_add_at(diags, DIAG_CONFIG_KEY, config->file[row], config->line[row],
                         config->column[row], diags_str(diags, config->key[row]), 0, 0, 0);
        suggest(about, config->key[row], known, known_count, diags);
    }
    return status;
}
