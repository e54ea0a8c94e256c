/* The history of a run: one row a logged step, in memory as columns and on disk as one JSON object
 * a line (metrics.jsonl); and the line that shows progress.
 *
 * The file is only ever appended to, in whole lines, and cut back on resume: metrics_open keeps the
 * rows up to the checkpoint's step and drops what a run that died wrote after it, a torn last line
 * included. So a resumed run leaves the same rows as one that never stopped. The file is not held
 * open: each flush opens, appends and closes, and first cuts off what a failed flush left behind.
 *
 * A value that a row has not is NaN and is left out of the file; the loss is always written, as
 * null when it is not finite. Numbers have seven digits. */
#ifndef STOA_TRAIN_METRICS_H
#define STOA_TRAIN_METRICS_H

#include "arena/column.h"
#include "arena/status.h"
#include "tables/diags.h"

/* Names are the keys in the file. Other keys in a file are ignored. */
#define METRICS_COLUMNS(C)                                                                         \
    C(uint64_t, step, "steps done, so from 1; rises from row to row")                              \
    C(double, loss, "training loss, nats")                                                         \
    C(double, lr, "learning rate")                                                                 \
    C(double, grad_norm, "norm of the gradient before clipping")                                   \
    C(double, tokens_per_s, "since the row before")                                                \
    C(double, samples_per_s, "since the row before")                                               \
    C(double, val_loss, "validation loss, nats")                                                   \
    C(double, val_accuracy, "share of right answers")                                              \
    C(double, skipped, "steps so far without an update, their gradient not being finite")          \
    C(double, seconds, "since the run began")                                                      \
    C(double, memory_bytes, "resident, of this process")
TABLE_TYPE(MetricRows, METRICS_COLUMNS);
#define METRICS_MEMBER_(type, name, doc) type name;
typedef struct MetricRow {
    METRICS_COLUMNS(METRICS_MEMBER_)
} MetricRow;
#undef METRICS_MEMBER_

typedef struct Metrics {
    MetricRows  rows;
    const char *path;  /* NULL: in memory only */
    uint32_t    saved; /* rows before this one are in the file */
    uint64_t    bytes; /* of the file that hold them */
    bool        torn;  /* a write failed: the file may be longer */
} Metrics;

/* Reads path if it is there, keeps the rows with step <= steps_done and cuts the file after them
 * (0: a new run, an empty file). path: NULL for no file; outlives metrics. On failure too,
 * metrics_close is needed and enough. */
MUST_USE Status metrics_open(Metrics *metrics, const char *path, uint64_t steps_done,
                             Budget *budget, Diags *diags);
void            metrics_close(Metrics *metrics); /* does not flush; safe on all-zero ones */
MetricRow       metrics_row(uint64_t step);      /* with no values yet */
void            metrics_add(Metrics *metrics, const MetricRow *row); /* in memory until flushed */
/* Appends the rows added since the last flush; sync: wait until the disk has them (checkpoints). */
MUST_USE Status metrics_flush(Metrics *metrics, bool sync, Diags *diags);

/* --- progress --------------------------------------------------------------------------------- */

typedef struct MetricsProgress { /* NaN, NULL or 0: left out */
    uint64_t    step, steps;
    double      loss, val_loss, lr, grad_norm;
    uint64_t    skipped; /* steps so far that were not finite; stands where the loss is NaN */
    double      rate;    /* units a second */
    const char *unit;    /* "tok" */
    uint64_t    memory_bytes;
    double      seconds_left;
} MetricsProgress;

/* "step 120/1000  loss 2.413  lr 9.8e-04  |g| 0.92  41.2k tok/s  312 MiB  ETA 1m05s" */
String metrics_line(Arena *out, const MetricsProgress *progress);
/* The same with a bar, in at most `columns` columns (from 20): the least telling parts are left out
 * first, then the bar shrinks. ascii: for terminals without UTF-8. */
String metrics_bar(Arena *out, const MetricsProgress *progress, uint32_t columns, bool ascii);
/* "1m05s", "2h03m", "3d04h" */
String metrics_duration(Arena *out, double seconds);

#endif
