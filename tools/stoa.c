/* The command line of Stoa. This file holds the table of commands, and help and version; each
 * command is a file of its own (stoa_train.c, ...), what they share is stoa_cli.h.
 *
 * Written against the public header only: whatever `stoa` can do, a program that embeds the library
 * can do. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/stoa_cli.h"

static const CliCommand commands[] = {
    {"train", "gpt|lenet [options]",
     "Trains a model and keeps everything about the run in one folder. Without options: a small "
     "language model on the text of a dictionary, in about two minutes on two cores.",
     train_command, train_options,
     "Settings can stand in a TOML file too (--config), with the same names: `eval_every = 50`.\n"
     "Flags win over the file. Ctrl-C finishes the step, saves, and exits with code 75;\n"
     "a second Ctrl-C leaves at once.\n\n"
     "  stoa train gpt                                  the demonstration\n"
     "  stoa train gpt --data book.txt --out runs/book  another text\n"
     "  stoa train --resume --out runs/book             go on where it stopped\n"
     "  stoa train lenet --steps 500                    images: Fashion-MNIST\n"},
    {"pinn", "[--case NAME] [options]",
     "The same as `stoa train pinn`: a network that solves an equation with a known solution, from "
     "points alone. Keeps weights, the error and a picture in one folder.",
     pinn_command, pinn_options,
     "  stoa train pinn --case poisson\n"
     "  stoa train pinn --case burgers --refine 10000\n"},
    {"sample", "[--run RUN] [options]", "Lets a trained language model write.", sample_command,
     sample_options, "  stoa sample --run runs/gpt --prompt 'Sea \\Sea\\, n.' --tokens 300\n"},
    {"inspect", "FILE... [options]",
     "Says what a file is and what it holds: a program, weights, a checkpoint "
     "folder, a tokenizer, tokens, images.",
     inspect_command, inspect_options,
     "  stoa inspect runs/gpt/checkpoints/step-00000700\n"
     "  stoa inspect runs/gpt/program.stoa --compute fp8 --fp8-scaling block\n"},
    {"trace", "RUN", "Summarises where the time of a traced run went (stoa train --trace).",
     trace_command, trace_options, NULL},
    {"bench", "SUITE [options]", "Measures this build; the options are those of the suite.",
     bench_command, bench_options, NULL},
    {"doctor", "[--json]", "Reports the hardware, libraries and limits that Stoa found.",
     doctor_command, doctor_options, NULL},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const CliCommand *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[COMMANDS + 3] = {0};
    Cli         cli = {0};
    for (size_t i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    names[COMMANDS] = "help";
    names[COMMANDS + 1] = "version";
    const char *near = cli_suggest(name, names);
    if (near != NULL) return cli_usage(&cli, "no command '%s'; did you mean '%s'?", name, near);
    return cli_usage(&cli, "no command '%s'", name);
}

static void overview(void) {
    const char *bold = cli_style(STDOUT_FILENO, CLI_BOLD);
    const char *plain = cli_style(STDOUT_FILENO, CLI_PLAIN);
    printf("%sstoa%s %s: trains deep-learning models on this machine\n\n", bold, plain,
           stoa_version());
    printf("%sCommands%s\n", bold, plain);
    printf("  train gpt|lenet  train a model; a run is one folder\n"
           "  train pinn       solve an equation with a network; see help pinn\n"
           "  sample           let a trained language model write\n"
           "  inspect FILE     what a file is and holds\n"
           "  trace RUN        where the time of a traced run went\n"
           "  bench SUITE      measure this build\n"
           "  doctor           the hardware, libraries and limits found\n"
           "  help COMMAND     the options of a command\n"
           "  --version        the version of the library\n\n");
    printf("%sExit codes%s\n", bold, plain);
    printf("  0  done            2  wrong usage or settings\n"
           "  1  failed         75  stopped on request and saved; go on with --resume\n\n");
    printf("%sTry%s\n", bold, plain);
    printf("  stoa train gpt    about two minutes on two cores, then\n"
           "  stoa sample       and see what it learned\n");
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int help(int count, char **words) {
    if (count == 0) {
        overview();
        return CLI_OK;
    }
    const CliCommand *command = find_command(words[0]);
    if (command == NULL) return unknown_command(words[0]);
    cli_help(command);
    return CLI_OK;
}

int main(int count, char **words) {
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error like a full disk */
    if (count < 2) {
        overview();
        return CLI_USAGE;
    }
    const char *name = words[1];
    if (strcmp(name, "help") == 0 || is_help(name)) return help(count - 2, words + 2);
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("stoa %s\n", stoa_version());
        return CLI_OK;
    }
    bool pinn = count > 2 && strcmp(name, "train") == 0 && strcmp(words[2], "pinn") == 0;
    if (pinn) { /* a command of its own, with other options */
        words++;
        count--;
        name = words[1];
    }
    Cli cli = {.command = find_command(name)};
    if (cli.command == NULL) return unknown_command(name);
    for (int i = 2; i < count && strcmp(words[i], "--") != 0; i++)
        if (is_help(words[i])) return help(1, words + 1);
    int code = cli_open(&cli);
    if (code == CLI_OK) code = cli.command->run(&cli, count - 2, words + 2);
    if (fflush(stdout) != 0 && code == CLI_OK)
        code = cli_failed(&cli, "cannot write to standard output");
    cli_close(&cli);
    return code;
}
