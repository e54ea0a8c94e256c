/* Configuration: a subset of TOML and command-line flags as rows of one table.
 *
 *     # comment                          key = "text"   'raw text'   12   1_000   -3e-4   true
 *     [section]  or [section.part]       key = [1, 2,   # lists of such values, over lines
 *     key = value                               3,]
 *
 * A row's key is dotted: section.part.key. Flags (`--train.steps 10`, `--train.steps=10`, `--flag`)
 * add rows to the same table with "command line" as their file; dashes in their names are read as
 * underscores. The last row of a key wins, so flags added after a file override it; within one file
 * a key may stand once.
 *
 * The getters mark a key as used and check its kind and range; a value that does not fit is a
 * CONFIG_VALUE row at its place, and the fallback is returned, so that all mistakes show in one
 * run. config_check_unused then refuses every key that nobody asked for. */
#ifndef STOA_FORMATS_CONFIG_H
#define STOA_FORMATS_CONFIG_H

#include "arena/status.h"
#include "tables/diags.h"

enum { CONFIG_BYTES_MAX = 1 << 24, CONFIG_ROWS_MAX = 1 << 16 };

typedef enum ConfigKind {
    CONFIG_NONE, /* the nil row */
    CONFIG_STRING,
    CONFIG_INT,
    CONFIG_FLOAT,
    CONFIG_BOOL,
    CONFIG_LIST, /* its items are the rows of `items`, directly after it */
} ConfigKind;
ID_TYPE(ConfigId, config_id);

typedef struct Config { /* row 0 is nil; strings and columns live in the arena */
    Arena    *arena;
    uint32_t  count, capacity; /* rows */
    uint8_t  *kind;            /* ConfigKind, narrowed */
    bool     *used;            /* a getter asked for the key */
    bool     *item;            /* of the list before it; its key is empty */
    String   *file;            /* as given, or "command line" */
    String   *key;             /* dotted */
    String   *text;            /* STRING: the value; otherwise as written */
    int64_t  *integer;         /* INT; BOOL: 0 or 1 */
    double   *number;          /* INT, FLOAT */
    Span     *items;           /* LIST: rows of this table */
    uint32_t *line, *column;   /* of the value, from 1; 0 for the command line */
} Config;

Config config_open(Arena *arena);
/* Adds the rows of a file, or of text in memory. Wrong syntax is CONFIG_SYNTAX at its line and
 * column; the rest of that line is skipped and reading goes on. STATUS_INVALID if anything was
 * wrong. */
MUST_USE Status config_read_file(Config *config, const char *path, Diags *diags);
MUST_USE Status config_parse(Config *config, String text, const char *name, Diags *diags);
/* Adds the flags among args (without the program's name). What is no flag and no flag's value is
 * moved to out_rest (args_count entries); `--` ends the flags. A flag takes the next argument as
 * its value unless that begins with `--` or is missing (then it is true) or switches lists it. */
MUST_USE Status config_parse_args(Config *config, const char *const *args, size_t args_count,
                                  const String *switches, size_t switches_count, Diags *diags,
                                  String *out_rest, size_t *out_rest_count);

/* The winning row of a key, or nil. Marks all rows of the key as used. */
ConfigId config_find(Config *config, String key);
/* The value of a key; fallback if it is absent, or wrong (with a CONFIG_VALUE row). */
int64_t config_i64(Config *config, String key, int64_t min, int64_t max, int64_t fallback,
                   Diags *diags);
double  config_f64(Config *config, String key, double min, double max, double fallback,
                   Diags *diags); /* an INT is accepted */
/* Bytes as str_to_bytes reads them: a number, or text with a unit. */
uint64_t config_bytes(Config *config, String key, uint64_t fallback, Diags *diags);
bool     config_bool(Config *config, String key, bool fallback, Diags *diags);
String   config_str(Config *config, String key, String fallback, Diags *diags);
/* The number of the chosen name in names, else fallback; a wrong one is suggested a right one. */
size_t config_choice(Config *config, String key, const String *names, size_t names_count,
                     size_t fallback, Diags *diags);
/* The items of a list; a single value counts as a list of one. Absent: empty. */
Span config_list(Config *config, String key);
/* Refuses a value: CONFIG_VALUE at its place, saying why ("must divide the batch"). */
DiagId config_refuse(const Config *config, ConfigId id, const char *why, Diags *diags);

/* A new row of no kind; the reader fills in the value. file lives as long as the config. */
ConfigId config_add(Config *config, String key, String file, uint32_t line, uint32_t column);

/* CONFIG_KEY with a suggestion from known for each row that is neither used nor in known. */
MUST_USE Status config_check_unused(const Config *config, const String *known, size_t known_count,
                                    Diags *diags);

#endif
