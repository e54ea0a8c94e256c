/* `stoa bench`: hands over to the program bench_<suite>, which stands in bench/ beside this one in
 * a build, or in libexec/stoa/ in an installation. The suites use the inside of the library, which
 * `stoa` itself does not see. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/stoa_cli.h"

const CliOption bench_options[] = {
    {"json", NULL, NULL, "one JSON object a line: suite, name, size, median, p10, p90, unit"},
    {"smoke", NULL, NULL, "once and small, to see that it runs"},
    {"filter", "TEXT", NULL, "only results whose name contains TEXT"},
    {"compare", "FILE", NULL, "then tell what changed since the run whose --json lines FILE holds"},
    {NULL, NULL, NULL, NULL},
};

enum { PREFIX = 6, SUITES_MAX = 64 }; /* "bench_" */
typedef struct Suites {
    char  folder[CLI_PATH_BYTES];
    char  names[SUITES_MAX][64];
    char *sorted[SUITES_MAX + 1];
    int   count;
} Suites;

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_suites(Suites *suites, const char *folder) {
    DIR           *all = opendir(folder);
    struct dirent *entry;
    snprintf(suites->folder, sizeof suites->folder, "%s", folder);
    while (all != NULL && (entry = readdir(all)) != NULL && suites->count < SUITES_MAX) {
        const char *name = entry->d_name;
        char        path[CLI_PATH_BYTES * 2];
        if (strncmp(name, "bench_", PREFIX) != 0 || strchr(name, '.') != NULL) continue;
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (access(path, X_OK) != 0) continue;
        suites->sorted[suites->count] = suites->names[suites->count];
        snprintf(suites->names[suites->count++], sizeof suites->names[0], "%s", name + PREFIX);
    }
    if (all != NULL) closedir(all);
    qsort(suites->sorted, (size_t)suites->count, sizeof suites->sorted[0], by_text);
}

static void find_suites(Suites *suites) {
    char    self[CLI_PATH_BYTES / 2], folder[CLI_PATH_BYTES];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return;
    self[length] = 0;
    char *slash = strrchr(self, '/');
    if (slash == NULL) return;
    *slash = 0;
    snprintf(folder, sizeof folder, "%s/bench", self);
    list_suites(suites, folder);
    if (suites->count > 0) return;
    snprintf(folder, sizeof folder, "%s/../libexec/stoa", self);
    list_suites(suites, folder);
}

static void print_suites(const Suites *suites, FILE *file) {
    fprintf(file, "suites:");
    for (int i = 0; i < suites->count; i++) fprintf(file, " %s", suites->sorted[i]);
    fprintf(file, "\ngpu: all that begin with gpu_, in turn\n");
}

/* All suites of a family in turn: 0 if each ends with 0, else the first other status. */
static int run_family(Cli *cli, const Suites *suites, const char *family, char **words) {
    char   program[CLI_PATH_BYTES + 80];
    size_t length = strlen(family);
    int    code = CLI_OK;
    for (int i = 0; i < suites->count; i++) {
        const char *name = suites->sorted[i];
        int         status = 0;
        if (strncmp(name, family, length) != 0 || name[length] != '_') continue;
        snprintf(program, sizeof program, "%s/bench_%s", suites->folder, name);
        words[0] = program;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            execv(program, words);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) < 0)
            return cli_failed(cli, "cannot run %s: %s", program, strerror(errno));
        int ended = WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
        if (code == CLI_OK) code = ended;
    }
    return code;
}

int bench_command(Cli *cli, int count, char **words) {
    static Suites suites;
    char          program[CLI_PATH_BYTES + 80];
    find_suites(&suites);
    if (suites.count == 0)
        return cli_failed(cli, "no benchmarks beside this program: they are built with the tests "
                               "(cmake --preset release, then build/release/stoa bench)");
    if (count == 0) {
        print_suites(&suites, stdout);
        return CLI_OK;
    }
    for (int i = 0; i < suites.count; i++) {
        if (strcmp(suites.names[i], words[0]) != 0) continue;
        snprintf(program, sizeof program, "%s/bench_%s", suites.folder, words[0]);
        fflush(NULL);
        words[0] = program;
        execv(program, words);
        return cli_failed(cli, "cannot run %s: %s", program, strerror(errno));
    }
    if (strcmp(words[0], "gpu") == 0) return run_family(cli, &suites, "gpu", words);
    const char *near = cli_suggest(words[0], (const char *const *)suites.sorted);
    print_suites(&suites, stderr);
    return near ? cli_usage(cli, "no suite '%s'; did you mean '%s'?", words[0], near)
                : cli_usage(cli, "no suite '%s'", words[0]);
}
