/* What the subcommands of `stoa` share: exit codes, messages, flags, help and terminal facts.
 *
 * A command is a row of `commands` in stoa.c: a function, and a table of options from which both
 * its help and the handling of its switches come. Settings live in a StoaConfig of a context with
 * one lane of its own (cli_open); the context that works is opened later, with the lanes asked for.
 *
 * Messages go to stderr and say what failed, where, why, and what to do; results go to stdout. */
#ifndef TOOLS_STOA_CLI_H
#define TOOLS_STOA_CLI_H

#include <stoa/stoa.h>

enum { /* documented in docs/cli.md */
       CLI_OK = 0,
       CLI_FAILED = 1,
       CLI_USAGE = 2,
       CLI_STOPPED = 75,
};

enum { CLI_PATH_BYTES = 4096, CLI_WORDS_MAX = 512 };

typedef struct CliOption {
    const char *name;     /* without dashes; NULL: `text` heads a group */
    const char *argument; /* what the value is, for the help; NULL: a switch */
    const char *preset;   /* the default, for the help; NULL: none */
    const char *text;
} CliOption;

typedef struct Cli Cli;
typedef int        CliRun(Cli *cli, int count, char **words);
typedef struct CliCommand {
    const char      *name, *arguments, *text;
    CliRun          *run;
    const CliOption *options;
    const char      *more; /* paragraphs and examples for its help */
} CliCommand;

struct Cli {
    const CliCommand *command;
    StoaContext      *settings; /* of config */
    StoaConfig       *config;
    StoaContext      *context; /* where the work is done; NULL until cli_start */
    bool              bar;     /* the cursor stands behind a progress bar */
    bool              mute;    /* what is done now will be done, and warned about, again */
};

extern const CliOption train_options[], pinn_options[], sample_options[], inspect_options[],
    trace_options[], bench_options[], doctor_options[];
CliRun train_command, pinn_command, sample_command, inspect_command, trace_command, bench_command,
    doctor_command;

/* --- life ------------------------------------------------------------------------------------- */
/* Opens the settings. CLI_OK, or the exit code after a message. */
int  cli_open(Cli *cli);
int  cli_start(Cli *cli, uint32_t lanes); /* the working context */
void cli_close(Cli *cli);

/* --- messages --------------------------------------------------------------------------------- */
#define CLI_PRINTF __attribute__((format(printf, 2, 3)))
/* "stoa train: text"; the exit codes 2 and 1. usage adds where the help is. */
CLI_PRINTF int  cli_usage(const Cli *cli, const char *format, ...);
CLI_PRINTF int  cli_failed(const Cli *cli, const char *format, ...);
CLI_PRINTF void cli_note(const Cli *cli, const char *format, ...);
int cli_refused(const Cli *cli, const StoaContext *context, int code); /* stoa_message */
/* The name in `names` (NULL-terminated) that is most like word, or NULL if none is alike. */
const char *cli_suggest(const char *word, const char *const *names);

/* --- flags ------------------------------------------------------------------------------------ */
/* Reads flags into the config: switches need no value, other known flags must have one. Words that
 * are no flags go to rest (rest_max at most, otherwise a usage error). */
int cli_flags(Cli *cli, int count, char **words, const char **rest, int rest_max, int *rest_count);
/* The value of --name in words before they are read, or NULL; "" for a switch without one. */
const char *cli_peek(int count, char **words, const char *name);
/* Refuses unknown settings: CLI_OK or CLI_USAGE. */
int cli_finish(Cli *cli);

/* --- the terminal ----------------------------------------------------------------------------- */
typedef enum CliStyle { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_STYLES } CliStyle;
bool        cli_colour(int file);  /* a terminal, and neither NO_COLOR nor TERM=dumb */
uint32_t    cli_columns(int file); /* width of the terminal; 80 if unknown */
const char *cli_style(int file, CliStyle style);
void        cli_help(const CliCommand *command);

/* --- files ------------------------------------------------------------------------------------ */
bool cli_exists(const char *path);
bool cli_is_folder(const char *path);
/* Makes the folder of a run, and those that it is in; it may be there. Returns an exit code. */
int cli_make_folder(const Cli *cli, const char *path);
/* "12.3k", "4.5M"; the text is static and there are four of them in turn. */
const char *cli_amount(double amount);

#endif
