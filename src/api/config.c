/* Settings behind the public interface: formats/config with the values that were read remembered,
 * so that a run can print and keep exactly what was in force. Getters run under a guard and fall
 * back to the preset when memory is refused; stoa_config_finish reports it. */
#include "formats/config.h"

#include "api/internal.h"

enum { CONFIG_KEYS_MAX = 256 };

struct StoaConfig {
    StoaContext *context;
    Arena       *arena;
    Config       config;
    String       keys[CONFIG_KEYS_MAX], values[CONFIG_KEYS_MAX];
    uint32_t     count;
};

StoaStatus stoa_config_create(StoaContext *context, StoaConfig **out_config) {
    Arena     *arena = arena_open("settings", (size_t)1 << 30, 0);
    ArenaGuard guard;
    if (arena == NULL || !ARENA_GUARD(&guard)) {
        StoaStatus status = api_unwound(context, NULL);
        arena_close(arena);
        return status;
    }
    StoaConfig *config = ARENA_NEW(arena, StoaConfig);
    config->context = context;
    config->arena = arena;
    config->config = config_open(arena);
    arena_guard_end(&guard);
    *out_config = config;
    return STOA_OK;
}
void stoa_config_destroy(StoaConfig *config) {
    if (config != NULL) arena_close(config->arena);
}

StoaStatus stoa_config_read(StoaConfig *config, const char *name, const char *text) {
    ArenaGuard guard;
    Diags     *diags = &config->context->diags;
    if (!ARENA_GUARD(&guard)) return api_unwound(config->context, NULL);
    Status status =
        text ? config_parse(&config->config, str_copy(config->arena, str_of(text)), name, diags)
             : config_read_file(&config->config, name, diags);
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(config->context, NULL, status);
}

StoaStatus stoa_config_flags(StoaConfig *config, int count, char *const *words, const char **rest,
                             int *out_rest_count) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(config->context, NULL);
    size_t       args = count > 0 ? (size_t)count : 0, rest_count = 0;
    String      *left = ARENA_ARRAY(config->arena, String, args + 1);
    const char **copies = ARENA_ARRAY(config->arena, const char *, args + 1);
    for (size_t i = 0; i < args; i++) copies[i] = str_copy(config->arena, str_of(words[i])).data;
    Status status = config_parse_args(&config->config, copies, args, NULL, 0,
                                      &config->context->diags, left, &rest_count);
    for (size_t i = 0; i < rest_count && rest != NULL; i++)
        rest[i] = str_copy(config->arena, left[i]).data;
    if (out_rest_count != NULL) *out_rest_count = (int)rest_count;
    arena_guard_end(&guard);
    return status == STATUS_OK ? STOA_OK : api_fail(config->context, NULL, status);
}

static void remember(StoaConfig *config, const char *key, String value) {
    for (uint32_t i = 0; i < config->count; i++)
        if (str_same(config->keys[i], str_of(key))) {
            config->values[i] = value;
            return;
        }
    if (config->count == CONFIG_KEYS_MAX) return;
    config->keys[config->count] = str_copy(config->arena, str_of(key));
    config->values[config->count++] = value;
}

/* The getters cannot return a status; running out of memory is an error row that finish reports. */
typedef struct Getting { /* one lookup, in memory so that an unwind keeps it */
    StoaConfig        *config;
    String             key;
    const char        *key_text, *text;
    const char *const *names;
    int64_t            low, high, integer;
    uint64_t           bytes;
    double             low_f, high_f, number;
    bool               flag;
    int                choice;
} Getting;
typedef void GetFn(Getting *g);

/* Runs a getter under a guard; after an unwind the preset in g stands. */
static void get(Getting *g, GetFn *fn) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        api_refused(g->config->context);
        return;
    }
    g->key = str_of(g->key_text);
    fn(g);
    arena_guard_end(&guard);
}

static void get_int(Getting *g) {
    StoaConfig *config = g->config;
    g->integer =
        config_i64(&config->config, g->key, g->low, g->high, g->integer, &config->context->diags);
    remember(config, g->key_text, str_format(config->arena, "%lld", (long long)g->integer));
}
int64_t stoa_config_int(StoaConfig *config, const char *key, int64_t low, int64_t high,
                        int64_t preset) {
    Getting g = {.config = config, .key_text = key, .low = low, .high = high, .integer = preset};
    get(&g, get_int);
    return g.integer;
}

static void get_float(Getting *g) {
    StoaConfig *config = g->config;
    g->number = config_f64(&config->config, g->key, g->low_f, g->high_f, g->number,
                           &config->context->diags);
    String text = {0};
    double back = 0;
    for (int digits = 1; digits <= 17; digits++) { /* the shortest that reads back */
        text = str_format(config->arena, "%.*g", digits, g->number);
        if (str_to_f64(text, &back) && back == g->number) break;
    }
    remember(config, g->key_text, text);
}
double stoa_config_float(StoaConfig *config, const char *key, double low, double high,
                         double preset) {
    Getting g = {.config = config, .key_text = key, .low_f = low, .high_f = high, .number = preset};
    get(&g, get_float);
    return g.number;
}

static void get_bytes(Getting *g) {
    StoaConfig *config = g->config;
    g->bytes = config_bytes(&config->config, g->key, g->bytes, &config->context->diags);
    remember(config, g->key_text, str_format(config->arena, "%llu", (unsigned long long)g->bytes));
}
uint64_t stoa_config_bytes(StoaConfig *config, const char *key, uint64_t preset) {
    Getting g = {.config = config, .key_text = key, .bytes = preset};
    get(&g, get_bytes);
    return g.bytes;
}

static void get_bool(Getting *g) {
    StoaConfig *config = g->config;
    g->flag = config_bool(&config->config, g->key, g->flag, &config->context->diags);
    remember(config, g->key_text, g->flag ? STR("true") : STR("false"));
}
bool stoa_config_bool(StoaConfig *config, const char *key, bool preset) {
    Getting g = {.config = config, .key_text = key, .flag = preset};
    get(&g, get_bool);
    return g.flag;
}

/* A basic TOML string: quotes and backslashes escaped. */
static String quoted(Arena *out, String text) {
    Text made = text_begin(out);
    text_add(&made, STR("\""));
    for (size_t i = 0; i < text.count; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\') text_add(&made, STR("\\"));
        text_add(&made, (String){text.data + i, 1});
    }
    text_add(&made, STR("\""));
    return text_done(&made);
}
static void get_text(Getting *g) {
    StoaConfig *config = g->config;
    if (config_id_some(config_find(&config->config, g->key))) {
        String preset = str_of(g->text ? g->text : "");
        String value = config_str(&config->config, g->key, preset, &config->context->diags);
        g->text = str_copy(config->arena, value).data;
    }
    if (g->text != NULL) remember(config, g->key_text, quoted(config->arena, str_of(g->text)));
}
const char *stoa_config_text(StoaConfig *config, const char *key, const char *preset) {
    Getting g = {.config = config, .key_text = key, .text = preset};
    get(&g, get_text);
    return g.text;
}

static void get_choice(Getting *g) {
    StoaConfig *config = g->config;
    String      list[64];
    size_t      count = 0;
    while (g->names[count] != NULL && count < LENGTH(list))
        list[count] = str_of(g->names[count]), count++;
    g->choice = (int)config_choice(&config->config, g->key, list, count, (size_t)g->choice,
                                   &config->context->diags);
    remember(config, g->key_text, quoted(config->arena, list[g->choice]));
}
int stoa_config_choice(StoaConfig *config, const char *key, const char *const *names, int preset) {
    Getting g = {.config = config, .key_text = key, .names = names, .choice = preset};
    get(&g, get_choice);
    return g.choice;
}

StoaStatus stoa_config_finish(StoaConfig *config) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return api_unwound(config->context, NULL);
    Status status =
        config_check_unused(&config->config, config->keys, config->count, &config->context->diags);
    arena_guard_end(&guard);
    bool good =
        status == STATUS_OK && config->context->diags.errors == 0 && !config->context->refused;
    return good ? STOA_OK : api_fail(config->context, NULL, status);
}

/* Dotted keys are written as sections, plain ones first. */
const char *stoa_config_print(StoaConfig *config) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        api_refused(config->context);
        return "";
    }
    Text text = text_begin(config->arena);
    for (uint32_t i = 0; i < config->count; i++)
        text_addf(&text, "%.*s = %.*s\n", STR_ARGS(config->keys[i]), STR_ARGS(config->values[i]));
    const char *printed = text_done(&text).data;
    arena_guard_end(&guard);
    return printed;
}
