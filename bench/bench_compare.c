/* bench_compare OLD NEW: what changed between two runs of a suite (files of --json lines).
 *
 * Prints the results that changed beyond noise, by the rule of bench/history.h; --all prints every
 * one, --least is the smallest change told in percent (5). Ends with 1 when something became worse,
 * 2 when a file cannot be read. --smoke judges made-up runs whose verdicts are known. */
#include <stdlib.h>
#include <string.h>

#include "bench/history.h"

static int usage(const char *program) {
    (void)fprintf(stderr, "usage: %s OLD NEW [--least PERCENT] [--all]\n", program);
    return 2;
}

static int compare_files(const char *before, const char *after, double least, bool all) {
    History *old = history_open(), *now = history_open();
    int      status = 2;
    if (old != NULL && now != NULL && history_read(old, before) && history_read(now, after))
        status = history_compare(old, now, least, all, stdout).worse > 0;
    history_close(old);
    history_close(now);
    return status;
}

/* --- smoke ------------------------------------------------------------------------------------ */

typedef struct Pair {
    const char    *old, *now; /* what follows the name */
    HistoryVerdict expect;
} Pair;

static bool judged(const Pair *pair, FILE *out) {
    char     line[2][256];
    History *runs[2];
    bool     good = true;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(line[i], sizeof line[i], "{\"suite\":\"s\",\"name\":\"n\",%s}",
                       i == 0 ? pair->old : pair->now);
        runs[i] = history_open();
        good = good && runs[i] != NULL && history_add(runs[i], line[i]);
    }
    HistoryChange change = {0};
    if (good) change = history_compare(runs[0], runs[1], 5, true, out);
    history_close(runs[0]);
    history_close(runs[1]);
    return good && change.both == 1 && change.better == (pair->expect == HISTORY_BETTER) &&
           change.worse == (pair->expect == HISTORY_WORSE);
}

#define TIMES(p10, median, p90) "\"p10\":" #p10 ",\"median\":" #median ",\"p90\":" #p90
static int smoke(void) {
    static const Pair pairs[] = {
        {TIMES(9, 10, 11), TIMES(12, 13, 14), HISTORY_WORSE},
        {TIMES(9, 10, 11), TIMES(7, 8, 8.5), HISTORY_BETTER},
        {TIMES(9, 10, 11), TIMES(10.9, 13, 14), HISTORY_SAME},         /* ranges overlap */
        {TIMES(9.9, 10, 10.1), TIMES(10.2, 10.3, 10.4), HISTORY_SAME}, /* below 5 % */
        {TIMES(9, 10, 11) ",\"unit\":\"steps/s\"", TIMES(12, 13, 14) ",\"unit\":\"steps/s\"",
         HISTORY_BETTER},
        /* the machine was busy: slower, but the same share of what it could do */
        {TIMES(9, 10, 11) ",\"share\":0.8,\"share_p10\":0.7,\"share_p90\":0.9",
         TIMES(19, 20, 21) ",\"share\":0.82,\"share_p10\":0.7,\"share_p90\":0.9", HISTORY_SAME},
        {TIMES(9, 10, 11) ",\"share\":0.8,\"share_p10\":0.7,\"share_p90\":0.9",
         TIMES(9, 10, 11) ",\"share\":0.5,\"share_p10\":0.4,\"share_p90\":0.6", HISTORY_WORSE},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (judged(&pairs[i], stdout)) continue;
        failed = 1;
        (void)fprintf(stderr, "bench_compare: pair %zu is judged wrong\n", i);
    }
    History *history = history_open();
    if (history == NULL || history_add(history, "{\"suite\":\"s\"}") ||
        history_add(history, "{\"suite\":")) {
        failed = 1;
        (void)fprintf(stderr, "bench_compare: a line that is no result was taken\n");
    }
    history_close(history);
    return failed;
}

int main(int argc, char **argv) {
    const char *files[2];
    double      least = 5;
    bool        all = false;
    int         count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) return smoke();
        if (strcmp(argv[i], "--all") == 0)
            all = true;
        else if (strcmp(argv[i], "--least") == 0 && i + 1 < argc)
            least = strtod(argv[++i], NULL);
        else if (argv[i][0] != '-' && count < 2)
            files[count++] = argv[i];
        else
            return usage(argv[0]);
    }
    return count == 2 ? compare_files(files[0], files[1], least, all) : usage(argv[0]);
}
