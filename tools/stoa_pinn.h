/* What the files of `stoa train pinn` share: the grid on which a solution is compared and drawn. */
#ifndef TOOLS_STOA_PINN_H
#define TOOLS_STOA_PINN_H

#include <stddef.h>

#include "models/pinn.h"
#include "tools/stoa_cli.h"

typedef struct PinnGrid {
    size_t  columns, rows, count; /* rows 1 for one coordinate */
    double *points;               /* [count][d]: the first coordinate along columns */
    double *exact, *found;        /* [count][outputs] */
} PinnGrid;
/* False without memory. */
bool pinn_grid(const PinnCase *the_case, PinnGrid *out);
void pinn_grid_free(PinnGrid *grid);
/* Solution and error of each output side by side, as SVG; false if the file cannot be written. */
bool pinn_picture(const char *path, const PinnCase *the_case, const PinnGrid *grid);

#endif
