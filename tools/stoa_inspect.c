/* `stoa inspect` and `stoa doctor`: the library writes both reports, here they are printed. Several
 * files may be named; one that cannot be read does not keep the others from being shown. */
#include <stdio.h>
#include <string.h>

#include "tools/stoa_cli.h"

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
    int code = CLI_OK;
    if (count == 0) return cli_usage(cli, "which file? stoa inspect FILE...");
    for (int i = 0; i < count; i++) {
        const char *text = NULL;
        if (strncmp(words[i], "--", 2) == 0)
            return cli_usage(cli, "unknown flag %s: there are none", words[i]);
        if (i > 0) putchar('\n');
        if (stoa_inspect(cli->settings, words[i], &text) == STOA_OK)
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
