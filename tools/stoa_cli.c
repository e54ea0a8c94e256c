/* Shared parts of the command line: messages, flags, help, terminal. The library never prints, so
 * everything that a user reads comes from the files tools/stoa*.c. */
#include "tools/stoa_cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- life ------------------------------------------------------------------------------------- */

static void log_to_stderr(void *user, StoaLogLevel level, const char *text) {
    const Cli *cli = user;
    size_t     length = strlen(text);
    if (level == STOA_LOG_ERROR || cli->mute) return; /* errors come back as a status */
    while (length > 0 && text[length - 1] == '\n') length--;
    cli_note(cli, "%.*s", (int)length, text);
}

int cli_open(Cli *cli) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    options.lanes = 1;
    options.no_pinning = true; /* must not narrow the cores that the working context finds */
    options.log = log_to_stderr;
    options.user = cli;
    if (stoa_context_create(&options, &cli->settings) != STOA_OK)
        return cli_failed(cli, "cannot start: the system refused memory or threads; free some and "
                               "try again (ulimit -a shows the limits)");
    if (stoa_config_create(cli->settings, &cli->config) != STOA_OK)
        return cli_refused(cli, cli->settings, CLI_FAILED);
    return CLI_OK;
}

/* Where compiled kernels are kept: $XDG_CACHE_HOME/stoa or ~/.cache/stoa; NULL without a home. */
static const char *kernel_cache(char *path, size_t bytes) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool        given = cache != NULL && cache[0] == '/';
    if (!given && (home == NULL || home[0] != '/')) return NULL;
    int count = snprintf(path, bytes, given ? "%s/stoa" : "%s/.cache/stoa", given ? cache : home);
    return count > 0 && (size_t)count < bytes ? path : NULL;
}

int cli_start(Cli *cli, uint32_t lanes) {
    StoaContextOptions options = STOA_CONTEXT_OPTIONS;
    char               cache[1024];
    options.kernel_cache = kernel_cache(cache, sizeof cache);
    options.lanes = lanes;
    options.log = log_to_stderr;
    options.user = cli;
    if (stoa_context_create(&options, &cli->context) == STOA_OK) return CLI_OK;
    return cli_failed(cli, "cannot start the worker lanes: the system refused memory or threads; "
                           "try --lanes 1");
}

void cli_close(Cli *cli) {
    stoa_context_destroy(cli->context);
    stoa_config_destroy(cli->config);
    stoa_context_destroy(cli->settings);
}

/* --- messages --------------------------------------------------------------------------------- */

static void print_prefix(const Cli *cli, CliStyle style, const char *kind) {
    const char *name = cli->command ? cli->command->name : NULL;
    if (cli->bar) fputs("\r\x1b[K", stderr);
    fprintf(stderr, "stoa%s%s: %s%s%s", name ? " " : "", name ? name : "",
            cli_style(STDERR_FILENO, style), kind, cli_style(STDERR_FILENO, CLI_PLAIN));
}

int cli_usage(const Cli *cli, const char *format, ...) {
    va_list args;
    print_prefix(cli, CLI_RED, "error: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n  stoa help%s%s lists what there is\n", cli->command ? " " : "",
            cli->command ? cli->command->name : "");
    return CLI_USAGE;
}

int cli_failed(const Cli *cli, const char *format, ...) {
    va_list args;
    print_prefix(cli, CLI_RED, "error: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILED;
}

void cli_note(const Cli *cli, const char *format, ...) {
    va_list args;
    print_prefix(cli, CLI_PLAIN, "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_refused(const Cli *cli, const StoaContext *context, int code) {
    const char *text = stoa_message(context);
    size_t      length = strlen(text);
    while (length > 0 && text[length - 1] == '\n') length--;
    print_prefix(cli, CLI_PLAIN, "");
    fprintf(stderr, "%.*s\n", (int)length, text);
    return code;
}

/* Edit distance of two short words (Wagner and Fischer 1974). */
static size_t distance(const char *a, const char *b) {
    enum { LONGEST = 32 };
    size_t row[LONGEST + 1], m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST) return LONGEST;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t before = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = before + (a[i - 1] != b[j - 1]);
            before = row[j];
            if (row[j] + 1 < change) change = row[j] + 1;
            if (row[j - 1] + 1 < change) change = row[j - 1] + 1;
            row[j] = change;
        }
    }
    return row[n];
}

const char *cli_suggest(const char *word, const char *const *names) {
    const char *best = NULL;
    size_t      least = strlen(word) / 3 + 2; /* as far as a slip of the fingers goes */
    for (; *names != NULL; names++) {
        size_t d = distance(word, *names);
        if (d >= least) continue;
        least = d;
        best = *names;
    }
    return best;
}

/* --- flags ------------------------------------------------------------------------------------ */

/* Whether word is --name or --name=..., with - and _ alike; *out_value: after the =, or NULL. */
static bool is_flag(const char *word, const char *name, const char **out_value) {
    if (word[0] != '-' || word[1] != '-') return false;
    for (word += 2; *name != 0; word++, name++)
        if (*word != *name && !(*word == '_' && *name == '-')) return false;
    if (*word != 0 && *word != '=') return false;
    *out_value = *word == '=' ? word + 1 : NULL;
    return true;
}

const char *cli_peek(int count, char **words, const char *name) {
    const char *found = NULL, *value;
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
        if (!is_flag(words[i], name, &value)) continue;
        bool next = i + 1 < count && strncmp(words[i + 1], "--", 2) != 0;
        found = value ? value : next ? words[i + 1] : "";
    }
    return found;
}

static const CliOption *option_of(const CliOption *options, const char *word,
                                  const char **out_value) {
    for (; options != NULL && (options->name != NULL || options->text != NULL); options++)
        if (options->name != NULL && is_flag(word, options->name, out_value)) return options;
    return NULL;
}

int cli_flags(Cli *cli, int count, char **words, const char **rest, int rest_max, int *rest_count) {
    static char switches[CLI_WORDS_MAX][64];
    char       *plain[CLI_WORDS_MAX];
    const char *left[CLI_WORDS_MAX];
    if (count > CLI_WORDS_MAX) return cli_usage(cli, "more than %d words", CLI_WORDS_MAX);
    for (int i = 0; i < count; i++) {
        const char      *value = NULL;
        const CliOption *option = option_of(cli->command->options, words[i], &value);
        plain[i] = words[i];
        if (option == NULL || value != NULL) continue;
        if (option->argument == NULL) {
            snprintf(switches[i], sizeof switches[i], "--%s=true", option->name);
            plain[i] = switches[i];
        } else if (i + 1 == count || strncmp(words[i + 1], "--", 2) == 0) {
            return cli_usage(cli, "--%s needs a value: %s", option->name, option->argument);
        } else {
            plain[i + 1] = words[i + 1];
            i++;
        }
    }
    if (stoa_config_flags(cli->config, count, plain, left, rest_count) != STOA_OK)
        return cli_refused(cli, cli->settings, CLI_USAGE);
    for (int i = 0; i < *rest_count; i++) {
        if (left[i][0] == '-' && left[i][1] != 0)
            return cli_usage(cli, "unknown flag %s: flags begin with two dashes", left[i]);
        if (i >= rest_max) return cli_usage(cli, "one word too many: '%s'", left[i]);
        rest[i] = left[i];
    }
    return CLI_OK;
}

int cli_finish(Cli *cli) {
    if (stoa_config_finish(cli->config) == STOA_OK) return CLI_OK;
    return cli_refused(cli, cli->settings, CLI_USAGE);
}

/* --- the terminal ----------------------------------------------------------------------------- */

bool cli_colour(int file) {
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    if (none != NULL && none[0] != 0) return false;
    return isatty(file) && term != NULL && strcmp(term, "dumb") != 0;
}

uint32_t cli_columns(int file) {
    struct winsize size = {0};
    if (ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    const char *columns = getenv("COLUMNS");
    long        number = columns ? strtol(columns, NULL, 10) : 0;
    return number > 0 && number < 10000 ? (uint32_t)number : 80;
}

const char *cli_style(int file, CliStyle style) {
    static const char *const codes[CLI_STYLES] = {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m",
                                                  "\x1b[32m"};
    return cli_colour(file) ? codes[style] : "";
}

/* Prints text from `column` on, broken at blanks so that lines end before `columns`. */
static void print_wrapped(const char *text, uint32_t column, uint32_t columns) {
    uint32_t at = column;
    while (*text != 0) {
        size_t length = strcspn(text, " ");
        if (at > column && at + 1 + length >= columns) {
            printf("\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)length, text);
        at += (uint32_t)length;
        text += length;
        while (*text == ' ') text++;
    }
    putchar('\n');
}

static void print_option(const CliOption *option, uint32_t columns) {
    enum { LEFT = 26, LINE_BYTES = 512 };
    char left[LINE_BYTES], right[LINE_BYTES];
    snprintf(left, sizeof left, "  --%s%s%s", option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    snprintf(right, sizeof right, "%s%s%s%s", option->text, option->preset ? " [" : "",
             option->preset ? option->preset : "", option->preset ? "]" : "");
    if (strlen(left) >= LEFT)
        printf("%s\n%*s", left, LEFT, "");
    else
        printf("%-*s", LEFT, left);
    print_wrapped(right, LEFT, columns);
}

void cli_help(const CliCommand *command) {
    const char *bold = cli_style(STDOUT_FILENO, CLI_BOLD);
    const char *plain = cli_style(STDOUT_FILENO, CLI_PLAIN);
    uint32_t    columns = cli_columns(STDOUT_FILENO);
    if (columns > 100) columns = 100;
    if (columns < 50) columns = 50;
    printf("%sstoa %s%s %s\n  ", bold, command->name, plain, command->arguments);
    print_wrapped(command->text, 2, columns);
    const CliOption *option = command->options;
    for (; option != NULL && (option->name != NULL || option->text != NULL); option++) {
        if (option->name != NULL)
            print_option(option, columns);
        else
            printf("\n%s%s%s\n", bold, option->text, plain);
    }
    if (command->more != NULL) printf("\n%s", command->more);
}

/* --- files ------------------------------------------------------------------------------------ */

bool cli_exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

bool cli_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

const char *cli_amount(double amount) {
    static char     texts[4][24];
    static unsigned turn;
    char           *text = texts[turn++ % 4];
    const char     *unit = "";
    if (amount >= 999.5e6)
        amount /= 1e9, unit = "G";
    else if (amount >= 999.5e3)
        amount /= 1e6, unit = "M";
    else if (amount >= 9999.5)
        amount /= 1e3, unit = "k";
    bool whole = unit[0] == 0 || amount >= 99.95;
    snprintf(text, sizeof texts[0], whole ? "%.0f%s" : "%.1f%s", amount, unit);
    return text;
}

int cli_make_folder(const Cli *cli, const char *path) {
    char   prefix[CLI_PATH_BYTES];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof prefix) return cli_usage(cli, "--out: not a usable path");
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(prefix, path, i);
        prefix[i] = 0;
        if (mkdir(prefix, 0777) == 0 || errno == EEXIST) continue;
        return cli_failed(cli, "cannot create folder %s: %s; choose another with --out", prefix,
                          strerror(errno));
    }
    if (!cli_is_folder(path))
        return cli_failed(cli, "%s is no folder; choose another with --out", path);
    return CLI_OK;
}
