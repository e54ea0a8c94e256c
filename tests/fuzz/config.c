/* config_parse and config_parse_args on any bytes. Lists stay inside the table, every error has a
 * place in the text, and every key that was read can be found. The getters run on whatever kind the
 * key "a" happens to have. */
#include "fuzz_entry.h"

#include "formats/config.h"

static void check_rows(Config *config) {
    for (uint32_t row = 1; row < config->count; row++) {
        Span items = config->items[row];
        if (config->kind[row] == CONFIG_NONE || config->kind[row] > CONFIG_LIST) __builtin_trap();
        if (items.count != 0 && (items.first != row + 1 || items.count >= config->count - row))
            __builtin_trap();
        if (config->item[row]) continue;
        ConfigId id = config_find(config, config->key[row]);
        if (!str_same(config->key[id.row], config->key[row])) __builtin_trap();
    }
}

static void fuzz_bytes(Arena *arena, String bytes, Diags *diags) {
    uint32_t lines = 1;
    for (size_t i = 0; i < bytes.count; i++) lines += bytes.data[i] == '\n';
    Config config = config_open(arena);
    Status status = config_parse(&config, bytes, "fuzz", diags);
    if ((status == STATUS_OK) != (diags->errors == 0)) __builtin_trap();
    for (uint32_t row = 1; row < diags->rows.table.count; row++)
        if (diags->rows.line[row] == 0 || diags->rows.line[row] > lines) __builtin_trap();
    check_rows(&config);
    (void)config_f64(&config, STR("a"), 0, 1, 0, diags);
    (void)config_i64(&config, STR("a"), 0, 1, 0, diags);
    String      known[] = {STR("alpha"), STR("beta")}, rest[2];
    size_t      rest_count;
    const char *args[2] = {str_format(arena, "--%s", str_copy(arena, bytes).data).data, "--b"};
    Config      flags = config_open(arena);
    status = config_parse_args(&flags, args, 2, NULL, 0, diags, rest, &rest_count);
    check_rows(&flags);
    status = config_check_unused(&config, known, 2, diags);
    (void)status;
}
