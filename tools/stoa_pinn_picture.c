/* Solutions as pictures: maps in two coordinates, curves in one, each output in a row of three
 * panels: network, known solution, error. Plain SVG without a library; a map is one rectangle a
 * cell, in colours from blue over white to red. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/stoa_pinn.h"

enum { CELLS = 64, LINE = 256, PANEL = 256, GAP = 40, HEAD = 46 };

bool pinn_grid(const PinnCase *c, PinnGrid *out) {
    uint32_t d = (uint32_t)strlen(c->axes);
    *out = (PinnGrid){.columns = d == 1 ? LINE : CELLS, .rows = d == 1 ? 1 : CELLS};
    out->count = out->columns * out->rows;
    out->points = malloc(sizeof(double) * out->count * d);
    out->exact = malloc(sizeof(double) * out->count * c->outputs);
    out->found = calloc(out->count * c->outputs, sizeof(double));
    if (out->points == NULL || out->exact == NULL || out->found == NULL) return false;
    for (size_t i = 0; i < out->count; i++) {
        double  across = (double)(i % out->columns) / (double)(out->columns - 1);
        double  up = d == 1 ? 0 : (double)(i / out->columns) / (double)(out->rows - 1);
        double *at = out->points + i * d;
        at[0] = c->low[0] + across * (c->high[0] - c->low[0]);
        if (d > 1) at[1] = c->low[1] + up * (c->high[1] - c->low[1]);
        c->exact(at, out->exact + i * c->outputs);
    }
    return true;
}
void pinn_grid_free(PinnGrid *grid) {
    free(grid->points);
    free(grid->exact);
    free(grid->found);
}

typedef struct Panel {
    const char *title;
    double      low, high;
    int         kind; /* 0: network, 1: known, 2: error */
} Panel;

static double value_at(const PinnGrid *grid, uint32_t outputs, uint32_t output, size_t i,
                       int kind) {
    double found = grid->found[i * outputs + output], exact = grid->exact[i * outputs + output];
    return kind == 0 ? found : kind == 1 ? exact : found - exact;
}
static void find_range(const PinnGrid *grid, uint32_t outputs, uint32_t output, Panel *panel) {
    panel->low = INFINITY;
    panel->high = -INFINITY;
    for (size_t i = 0; i < grid->count; i++) {
        double v = value_at(grid, outputs, output, i, panel->kind);
        panel->low = fmin(panel->low, v);
        panel->high = fmax(panel->high, v);
    }
    if (!(panel->high > panel->low)) panel->high = panel->low + 1e-300;
}
/* Blue, white, red. */
static void colour(double share, int *rgb) {
    double s = fmin(1, fmax(0, share)), low = fmin(1, 2 * s), high = fmin(1, 2 * (1 - s));
    rgb[0] = (int)(40 + 215 * low - (s > 0.5 ? 60 * (2 * s - 1) : 0));
    rgb[1] = (int)(70 + 185 * fmin(low, high) - 30 * fabs(2 * s - 1));
    rgb[2] = (int)(50 + 205 * high - (s < 0.5 ? 60 * (1 - 2 * s) : 0));
}
static void draw_map(FILE *f, const PinnGrid *grid, uint32_t outputs, uint32_t output,
                     const Panel *panel, double x, double y) {
    double wide = PANEL / (double)grid->columns, tall = PANEL / (double)grid->rows;
    for (size_t i = 0; i < grid->count; i++) {
        double v = value_at(grid, outputs, output, i, panel->kind);
        int    rgb[3];
        colour((v - panel->low) / (panel->high - panel->low), rgb);
        fprintf(f, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='#%02x%02x%02x'/>\n",
                x + (double)(i % grid->columns) * wide,
                y + PANEL - (double)(i / grid->columns + 1) * tall, wide + 0.2, tall + 0.2, rgb[0],
                rgb[1], rgb[2]);
    }
}
static void draw_curve(FILE *f, const PinnGrid *grid, uint32_t outputs, uint32_t output,
                       const Panel *panel, double x, double y) {
    fprintf(f, "<polyline fill='none' stroke='#2a52be' stroke-width='1.6' points='");
    for (size_t i = 0; i < grid->count; i++) {
        double v = value_at(grid, outputs, output, i, panel->kind);
        fprintf(f, "%.1f,%.1f ", x + PANEL * (double)i / (double)(grid->count - 1),
                y + PANEL * (1 - (v - panel->low) / (panel->high - panel->low)));
    }
    fprintf(f, "'/>\n");
}
static void draw_panel(FILE *f, const PinnCase *c, const PinnGrid *grid, uint32_t output,
                       Panel *panel, double x, double y) {
    find_range(grid, c->outputs, output, panel);
    fprintf(f, "<text x='%.0f' y='%.0f'>%s u%u: %.3g to %.3g</text>\n", x, y - 8, panel->title,
            output, panel->low, panel->high);
    (grid->rows == 1 ? draw_curve : draw_map)(f, grid, c->outputs, output, panel, x, y);
    fprintf(f,
            "<rect x='%.0f' y='%.0f' width='%d' height='%d' fill='none' stroke='#555'/>\n"
            "<text x='%.0f' y='%.0f'>%c: %g to %g</text>\n",
            x, y, PANEL, PANEL, x, y + PANEL + 14, c->axes[0], c->low[0], c->high[0]);
    if (grid->rows > 1)
        fprintf(f, "<text x='%.0f' y='%.0f' text-anchor='end'>%c up: %g to %g</text>\n", x + PANEL,
                y + PANEL + 14, c->axes[1], c->low[1], c->high[1]);
}

bool pinn_picture(const char *path, const PinnCase *c, const PinnGrid *grid) {
    FILE *f = fopen(path, "w");
    if (f == NULL) return false;
    int width = 3 * PANEL + 4 * GAP, height = HEAD + (int)c->outputs * (PANEL + GAP + 10);
    fprintf(
        f,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
        "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
        "<text x='%d' y='18' font-size='13'>%s: %s</text>\n",
        width, height, GAP, c->name, c->equation);
    for (uint32_t output = 0; output < c->outputs; output++)
        for (int kind = 0; kind < 3; kind++) {
            static const char *const titles[] = {"network", "known", "error"};
            Panel                    panel = {.title = titles[kind], .kind = kind};
            draw_panel(f, c, grid, output, &panel, GAP + kind * (PANEL + GAP),
                       HEAD + output * (double)(PANEL + GAP + 10));
        }
    fprintf(f, "</svg>\n");
    bool good = ferror(f) == 0;
    return fclose(f) == 0 && good;
}
