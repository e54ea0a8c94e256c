/* The loss plot of a run as SVG: training loss as it was and smoothed, validation points, and a
 * level to compare with; or one exact series (memory in use). A string that opens in every
 * browser; nothing is drawn here, so there is nothing to install.
 *
 * The columns are those of Metrics: NaN is "no value in this row". Steps rise. Values that are not
 * finite are left out; rare extremes run out of the frame instead of flattening the rest. */
#ifndef STOA_TRAIN_PLOT_H
#define STOA_TRAIN_PLOT_H

#include "arena/str.h"

typedef struct PlotLoss {
    String          title, subtitle;
    const uint64_t *steps;
    const double   *train;      /* may be NULL */
    const double   *validation; /* may be NULL */
    size_t          count;
    double          reference;       /* a horizontal line; NaN: none */
    String          reference_label; /* "unigram entropy" */
    String          y_label;         /* empty: "loss (nats)" */
    String          x_label;         /* empty: "step" */
    String          series;          /* what train is, then drawn exactly, from 0 on; empty: the
                                        training loss, which is smoothed as well */
    bool            log_x;
    uint32_t        width, height; /* 0: 960 x 540 */
} PlotLoss;

String plot_loss(Arena *out, const PlotLoss *plot);

#endif
