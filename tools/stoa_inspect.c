/* `stoa inspect` and `stoa doctor`: the library writes both reports, here they are printed. Several
 * files may be named; one that cannot be read does not keep the others from being shown. With
 * --compute fp8, a program is told layer by layer: what is in 8 bits, and why not the rest. */
#include <stdio.h>
#include <string.h>

#include "tools/stoa_cli.h"
#include "tools/stoa_settings.h"

const CliOption inspect_options[] = {
    {"compute", "as-written|fp8", "as-written",
     "fp8: which linear layers of a program would multiply 8-bit floats"},
    {"fp8-products", "auto|forward|gradients|all", "auto", "as of train"},
    {"fp8-last", NULL, NULL, "as of train"},
    {"fp8-scaling", "delayed|current|block", "delayed", "as of train"},
    {"fp8-history", "N", "16", "as of train"},
    {NULL, NULL, NULL, NULL},
};

const CliOption doctor_options[] = {
    {"json", NULL, NULL, "as one JSON object"},
    {NULL, NULL, NULL, NULL},
};

static void print_report(const char *text) {
    size_t length = strlen(text);
    fputs(text, stdout);
    if (length == 0 || text[length - 1] != '\n') putchar('\n');
}

int inspect_command(Cli *cli, int count, char **words) {
    static const char *const computes[] = {"as-written", "fp8", NULL};
    const char              *files[CLI_WORDS_MAX];
    StoaCompileOptions       options = STOA_COMPILE_OPTIONS;
    int                      files_count = 0;
    int code = cli_flags(cli, count, words, files, CLI_WORDS_MAX, &files_count);
    if (code != CLI_OK) return code;
    bool layers = stoa_config_choice(cli->config, "compute", computes, 0) == 1;
    settings_read_f8(cli, &options.f8_products, &options.f8_history, &options.f8_block);
    code = cli_finish(cli);
    if (code != CLI_OK) return code;
    if (files_count == 0) return cli_usage(cli, "which file? stoa inspect FILE...");
    for (int i = 0; i < files_count; i++) {
        const char *text = NULL;
        if (i > 0) putchar('\n');
        StoaStatus status = layers ? stoa_inspect_layers(cli->settings, files[i], &options, &text)
                                   : stoa_inspect(cli->settings, files[i], &text);
        if (status == STOA_OK)
            print_report(text);
        else
            code = cli_refused(cli, cli->settings, CLI_FAILED);
    }
    return code;
}

int doctor_command(Cli *cli, int count, char **words) {
    const char *text = NULL;
    int         rest_count = 0;
    int         code = cli_flags(cli, count, words, NULL, 0, &rest_count);
    if (code != CLI_OK) return code;
    bool json = stoa_config_bool(cli->config, "json", false);
    code = cli_finish(cli);
    if (code == CLI_OK) code = cli_start(cli, 0);
    if (code != CLI_OK) return code;
    if (stoa_doctor(cli->context, json, &text) != STOA_OK)
        return cli_refused(cli, cli->context, CLI_FAILED);
    print_report(text);
    return CLI_OK;
}
