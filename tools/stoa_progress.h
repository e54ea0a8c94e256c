/* What `stoa train` shows: what is about to be trained, one line of progress (a bar that is redrawn
 * on a terminal, plain lines elsewhere, JSON lines with --json), and the summary at the end.
 * Progress goes to stderr; JSON and the summary go to stdout. --quiet leaves only errors. */
#ifndef TOOLS_STOA_PROGRESS_H
#define TOOLS_STOA_PROGRESS_H

#include "tools/stoa_settings.h"

typedef struct Progress {
    Cli            *cli;
    const Settings *settings;
    const char     *run;
    StoaData       *data;
    StoaSession    *session;
    bool            bar;      /* redraw one line */
    uint32_t        columns;  /* of the terminal */
    double          accuracy; /* of the last validation; NaN: none */
} Progress;

void progress_begin(Progress *progress, Cli *cli, const Settings *settings, const char *run,
                    StoaSession *session, StoaData *data);
/* A StoaProgressFn; user is a Progress. */
bool progress_show(void *user, const StoaProgress *now);
/* Ends the line of the bar. */
void progress_end(Progress *progress);
void progress_summary(const Progress *progress, const StoaTrainResult *result, bool stopped);

#endif
