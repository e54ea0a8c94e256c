/* Results of runs as the JSON lines that told them, and what changed between two runs.
 *
 * A result changed when it differs by more than noise: the ranges from the 10th to the 90th
 * percentile do not overlap, and the medians differ by at least `least` percent. Where both runs
 * know the share of a bound that was measured beside it, the shares are compared, because they
 * move with the load of the machine less than times do; otherwise the medians. Less is better,
 * except for shares and for units that end in /s. */
#ifndef STOA_BENCH_HISTORY_H
#define STOA_BENCH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct History History;

typedef enum HistoryVerdict { HISTORY_SAME, HISTORY_BETTER, HISTORY_WORSE } HistoryVerdict;
typedef struct HistoryChange {
    uint32_t both, better, worse; /* results in both runs; those that changed */
} HistoryChange;

History *history_open(void); /* NULL: no memory */
void     history_close(History *history);
/* Keeps the result that a line tells; a later one of the same name, shape, dtype, lanes and size
 * replaces it. False if the line is not such a JSON object or there is no room. */
bool history_add(History *history, const char *line);
/* Adds the lines of a file that begin with a brace. False, with a message on stderr, if it cannot
 * be read or one of them is malformed. */
bool history_read(History *history, const char *path);
/* Prints what changed (all: every result) and a last line with the counts. */
HistoryChange history_compare(const History *old, const History *now, double least, bool all,
                              FILE *out);

#endif
