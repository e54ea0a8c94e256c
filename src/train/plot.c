/* The loss plot: scales, ticks, curves and labels as SVG text.
 *
 * The smoothed curve is a local linear fit with a Gaussian window, evaluated once a pixel column.
 * Its width grows from the left edge on, up to SIGMA_MAX pixels: a loss falls fastest at the start,
 * where a fixed window would draw a curve that never was. A fit of lines, not of constants, is not
 * pulled up at the right edge, where one reads the result. Thousands of points are first reduced to
 * the lowest and highest of each column, so the file stays small.
 *
 * Colours: blue and orange of equal weight, told apart by shape too, and by who sees no red. */
#include "train/plot.h"

#include <math.h>

enum { WIDTH = 960, HEIGHT = 540, LEFT = 68, RIGHT = 74, TOP = 84, BOTTOM = 58 };
enum { TICKS_MAX = 16, SMOOTH_MIN = 24 /* points */ };
static const double SIGMA_MIN = 1.5, SIGMA_MAX = 9, SIGMA_GROWTH = 0.1;
static const double VALUE_MIN = 1e-12, VALUE_MAX = 1e12; /* beyond, scales have no sense */
static const char BLUE[] = "#2458d3", ORANGE[] = "#e2660a", INK[] = "#1c2430", MUTED[] = "#667085";
static const char GRID[] = "#e9ecf1", AXIS[] = "#b6bdc9", LEVEL[] = "#7a4fbf";

typedef struct Curve { /* points with finite values, in pixels across and in units up */
    double *x, *y;
    size_t  count;
} Curve;
typedef struct Frame {
    double left, top, width, height;
    double x_min, x_max; /* steps, or their logarithms */
    double y_min, y_max;
    bool   log_x;
} Frame;

static bool plottable(double value) { return fabs(value) < VALUE_MAX; } /* false for NaN */

static double x_of(const Frame *frame, double step) {
    double at = frame->log_x ? log10(step < 1 ? 1 : step) : step;
    return frame->left + frame->width * (at - frame->x_min) / (frame->x_max - frame->x_min);
}

static double y_of(const Frame *frame, double value) {
    double share = (value - frame->y_min) / (frame->y_max - frame->y_min);
    share = share < -1 ? -1 : share > 2 ? 2 : share; /* clipped anyway; keeps numbers short */
    return frame->top + frame->height * (1 - share);
}

/* --- data to curves --------------------------------------------------------------------------- */

static Curve curve_new(Arena *scratch, size_t points_max) {
    return (Curve){ARENA_ARRAY(scratch, double, points_max),
                   ARENA_ARRAY(scratch, double, points_max), 0};
}

static Curve curve_of(Arena *scratch, const Frame *frame, const uint64_t *steps,
                      const double *values, size_t count) {
    Curve curve = curve_new(scratch, values ? count : 0);
    if (!values) return curve;
    for (size_t i = 0; i < count; i++) {
        if (!plottable(values[i])) continue;
        curve.x[curve.count] = x_of(frame, (double)steps[i]);
        curve.y[curve.count++] = values[i];
    }
    return curve;
}

/* The lowest and highest point of each half pixel, in the order in which they came. */
static Curve curve_thin(Arena *scratch, const Frame *frame, Curve from) {
    size_t bins = (size_t)(2 * frame->width);
    if (from.count <= 2 * bins) return from;
    Curve to = curve_new(scratch, 2 * bins + 2);
    for (size_t i = 0; i < from.count;) {
        double edge = floor(2 * from.x[i]) / 2 + 0.5;
        size_t low = i, high = i;
        for (; i < from.count && from.x[i] < edge; i++) {
            if (from.y[i] < from.y[low]) low = i;
            if (from.y[i] > from.y[high]) high = i;
        }
        size_t first = low < high ? low : high, second = low < high ? high : low;
        to.x[to.count] = from.x[first];
        to.y[to.count++] = from.y[first];
        if (first == second) continue;
        to.x[to.count] = from.x[second];
        to.y[to.count++] = from.y[second];
    }
    return to;
}

/* Medians of five neighbours, so that single steps gone wild do not bend the smoothed curve. */
static Curve curve_median(Arena *scratch, Curve from) {
    Curve to = {from.x, ARENA_ARRAY(scratch, double, from.count), from.count};
    for (size_t i = 0; i < from.count; i++) {
        double five[5];
        bool   inside = i >= 2 && i + 2 < from.count;
        for (size_t k = 0; k < 5 && inside; k++) { /* insertion sort */
            double value = from.y[i - 2 + k];
            size_t at = k;
            for (; at > 0 && five[at - 1] > value; at--) five[at] = five[at - 1];
            five[at] = value;
        }
        to.y[i] = inside ? five[2] : from.y[i];
    }
    return to;
}

/* The mean of each half pixel; out_weight: how many points it stands for. */
static Curve curve_means(Arena *scratch, Curve from, double **out_weight) {
    Curve   to = curve_new(scratch, from.count);
    double *weight = ARENA_ARRAY(scratch, double, from.count);
    for (size_t i = 0, first = 0; i < from.count; first = i) {
        double edge = floor(2 * from.x[i]) / 2 + 0.5, x = 0, y = 0;
        for (; i < from.count && from.x[i] < edge; i++) {
            x += from.x[i];
            y += from.y[i];
        }
        weight[to.count] = (double)(i - first);
        to.x[to.count] = x / weight[to.count];
        to.y[to.count] = y / weight[to.count];
        to.count++;
    }
    *out_weight = weight;
    return to;
}

/* The value at x of the line fitted to the points around it, weighted by a Gaussian. near: the last
 * point at or before x. */
static double fit_at(Curve from, const double *weights, size_t near, double x, double sigma) {
    double s0 = 0, s1 = 0, s2 = 0, t0 = 0, t1 = 0;
    size_t first = near;
    while (first > 0 && x - from.x[first - 1] < 3 * sigma) first--;
    for (size_t i = first; i < from.count && from.x[i] - x < 3 * sigma; i++) {
        double d = (from.x[i] - x) / sigma, weight = weights[i] * exp(-0.5 * d * d);
        s0 += weight;
        s1 += weight * d;
        s2 += weight * d * d;
        t0 += weight * from.y[i];
        t1 += weight * d * from.y[i];
    }
    double det = s0 * s2 - s1 * s1;
    return det > 1e-3 * s0 * s0 ? (s2 * t0 - s1 * t1) / det : t0 / s0;
}

static Curve curve_smooth(Arena *scratch, const Frame *frame, Curve from) {
    if (from.count < SMOOTH_MIN) return (Curve){0};
    double *weights;
    Curve   means = curve_means(scratch, curve_median(scratch, from), &weights);
    double  begin = means.x[0], end = means.x[means.count - 1];
    size_t  columns = (size_t)(end - begin) + 2, near = 0;
    Curve   to = curve_new(scratch, columns);
    for (size_t column = 0; column < columns; column++) {
        double x = begin + (double)column < end ? begin + (double)column : end;
        double sigma = SIGMA_MIN + SIGMA_GROWTH * (x - frame->left);
        while (near + 1 < means.count && means.x[near + 1] <= x) near++;
        double gap = near + 1 < means.count ? means.x[near + 1] - means.x[near] : 0;
        if (near > 0 && means.x[near] - means.x[near - 1] > gap)
            gap = means.x[near] - means.x[near - 1];
        if (sigma > SIGMA_MAX) sigma = SIGMA_MAX;
        if (sigma < gap) sigma = gap; /* few points: at least both neighbours take part */
        to.x[to.count] = x;
        to.y[to.count++] = fit_at(means, weights, near, x, sigma);
    }
    return to;
}

/* --- scales ----------------------------------------------------------------------------------- */

static void range_add(Frame *frame, double value) {
    if (!plottable(value)) return;
    if (value < frame->y_min) frame->y_min = value;
    if (value > frame->y_max) frame->y_max = value;
}

/* The value below which `share` of the curve lies, good to a thousandth of its range. */
static double quantile(Curve curve, double share) {
    enum { BINS = 1024 };
    double low = INFINITY, high = -INFINITY;
    size_t bins[BINS] = {0}, below = 0, at = 0;
    for (size_t i = 0; i < curve.count; i++) {
        low = curve.y[i] < low ? curve.y[i] : low;
        high = curve.y[i] > high ? curve.y[i] : high;
    }
    if (!(high > low)) return low;
    for (size_t i = 0; i < curve.count; i++)
        bins[(size_t)((curve.y[i] - low) / (high - low) * (BINS - 1))]++;
    for (; at < BINS - 1; at++) {
        below += bins[at];
        if ((double)below >= share * (double)curve.count) break;
    }
    return low + (high - low) * ((double)at + 0.5) / BINS;
}

static void y_range(Frame *frame, const PlotLoss *plot, Curve train, Curve smooth,
                    Curve validation) {
    frame->y_min = INFINITY;
    frame->y_max = -INFINITY;
    if (plot->series.count != 0) {
        range_add(frame, 0);
        for (size_t i = 0; i < train.count; i++) range_add(frame, train.y[i]);
    } else if (train.count > 0) {
        range_add(frame, quantile(train, 0.005));
        range_add(frame, quantile(train, 0.995));
    }
    for (size_t i = 0; i < smooth.count; i++) range_add(frame, smooth.y[i]);
    for (size_t i = 0; i < validation.count; i++) range_add(frame, validation.y[i]);
    range_add(frame, plot->reference);
    if (!(frame->y_min <= frame->y_max)) { /* nothing at all */
        frame->y_min = 0;
        frame->y_max = 1;
    }
    double range = frame->y_max - frame->y_min, size = fmax(fabs(frame->y_min), fabs(frame->y_max));
    double room = 0.05 * range;
    if (range < 1e-9 * size || size < VALUE_MIN) room = size < VALUE_MIN ? 1 : 0.1 * size;
    frame->y_min -= plot->series.count != 0 ? 0 : room;
    frame->y_max += room;
}

static void x_range(Frame *frame, const PlotLoss *plot) {
    double first = plot->count ? (double)plot->steps[0] : 0;
    double last = plot->count ? (double)plot->steps[plot->count - 1] : 1;
    if (frame->log_x) {
        frame->x_min = log10(first < 1 ? 1 : first);
        frame->x_max = log10(last < 1 ? 1 : last);
    } else { /* from 0, unless the run was cut out of the middle of a longer one */
        frame->x_min = first < 0.2 * last ? 0 : first;
        frame->x_max = last;
    }
    if (frame->x_max <= frame->x_min) frame->x_max = frame->x_min + 1;
}

/* The smallest of 1, 2, 2.5 and 5 times a power of ten that makes at most `most` steps of range. */
static double tick_step(double range, int most) {
    static const double nice[] = {1, 2, 2.5, 5, 10};
    double              power = pow(10, floor(log10(range / most)));
    size_t              i = 0;
    while (i + 1 < LENGTH(nice) && nice[i] * power * most < range * (1 - 1e-9)) i++;
    return nice[i] * power;
}

static size_t ticks_linear(double low, double high, int most, bool whole, double *ticks) {
    double step = tick_step(high - low, most);
    if (whole && step < 1) step = 1;
    size_t count = 0;
    for (double n = ceil(low / step - 1e-9); count < TICKS_MAX && n * step <= high + 1e-9 * step;
         n++)
        ticks[count++] = n == 0 ? 0 : n * step; /* ceil gives -0 */
    return count;
}

/* Powers of ten, or 1, 2, 5 times them when there are few. Ticks are steps, not logarithms. */
static size_t ticks_log(double low, double high, double *ticks) {
    static const double parts[] = {1, 2, 5};
    size_t              count = 0, parts_count = high - low > 4.5 ? 1 : LENGTH(parts);
    for (double power = floor(low); power <= high; power++)
        for (size_t i = 0; i < parts_count && count < TICKS_MAX; i++) {
            double at = power + log10(parts[i]);
            if (at >= low - 1e-9 && at <= high + 1e-9) ticks[count++] = parts[i] * pow(10, power);
        }
    return count;
}

/* --- text ------------------------------------------------------------------------------------- */

static void text_escaped(Text *svg, String s) {
    for (size_t i = 0; i < s.count; i++) {
        unsigned char c = (unsigned char)s.data[i];
        String        as = {s.data + i, c >= ' '};
        if (c == '<') as = STR("&lt;");
        if (c == '>') as = STR("&gt;");
        if (c == '&') as = STR("&amp;");
        text_add(svg, as);
    }
}

static void label(Text *svg, double x, double y, const char *anchor, const char *colour, int size,
                  String s) {
    text_addf(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" font-size=\"%d\">",
              x, y, anchor, colour, size);
    text_escaped(svg, s);
    text_add(svg, STR("</text>\n"));
}

/* 0, 500, 1k, 2.5k, 10M */
static String step_label(Arena *scratch, double step) {
    if (step >= 1e6) return str_format(scratch, "%.4gM", step / 1e6);
    if (step >= 1e4 || (step >= 1e3 && fmod(step, 500) == 0))
        return str_format(scratch, "%.4gk", step / 1e3);
    return str_format(scratch, "%.6g", step);
}

static void path_add(Text *svg, const Frame *frame, Curve curve) {
    static const char *const before[] = {"M", "L", " "};
    for (size_t i = 0; i < curve.count; i++)
        text_addf(svg, "%s%.1f %.1f", before[i < 2 ? i : 2], curve.x[i], y_of(frame, curve.y[i]));
}

/* --- parts of the picture --------------------------------------------------------------------- */

static void draw_axes(Text *svg, Arena *scratch, const Frame *frame, const PlotLoss *plot) {
    double right = frame->left + frame->width, bottom = frame->top + frame->height;
    double ticks[TICKS_MAX];
    int    most = (int)(frame->height / 46);
    size_t count = ticks_linear(frame->y_min, frame->y_max, most, false, ticks);
    double step = count > 1 ? ticks[1] - ticks[0] : 1;
    int    decimals = 0;
    while (decimals < 6 && fabs(step * pow(10, decimals) - round(step * pow(10, decimals))) > 1e-6)
        decimals++;
    for (size_t i = 0; i < count; i++) {
        double y = y_of(frame, ticks[i]);
        text_addf(svg, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"%s\"/>\n", frame->left, y, right,
                  GRID);
        label(svg, frame->left - 10, y + 4, "end", MUTED, 12,
              str_format(scratch, "%.*f", decimals, ticks[i]));
    }
    most = (int)(frame->width / 90);
    count = frame->log_x ? ticks_log(frame->x_min, frame->x_max, ticks)
                         : ticks_linear(frame->x_min, frame->x_max, most, true, ticks);
    for (size_t i = 0; i < count; i++) {
        double x = x_of(frame, ticks[i]);
        text_addf(svg, "<path d=\"M%.1f %.1fV%.1f\" stroke=\"%s\"/>\n", x, frame->top, bottom,
                  GRID);
        text_addf(svg, "<path d=\"M%.1f %.1fv5\" stroke=\"%s\"/>\n", x, bottom, AXIS);
        label(svg, x, bottom + 20, "middle", MUTED, 12, step_label(scratch, ticks[i]));
    }
    text_addf(svg, "<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"%s\"/>\n", frame->left,
              frame->top, bottom, right, AXIS);
    String x_label = plot->x_label.count ? plot->x_label : STR("step");
    label(svg, frame->left + frame->width / 2, bottom + 44, "middle", MUTED, 13,
          frame->log_x ? STR("step (logarithmic)") : x_label);
    double middle = frame->top + frame->height / 2;
    text_addf(svg, "<g transform=\"translate(20 %.1f) rotate(-90)\">", middle);
    label(svg, 0, 0, "middle", MUTED, 13, plot->y_label.count ? plot->y_label : STR("loss (nats)"));
    text_add(svg, STR("</g>\n"));
}

static void draw_reference(Text *svg, Arena *scratch, const Frame *frame, const PlotLoss *plot) {
    if (!plottable(plot->reference)) return;
    double y = y_of(frame, plot->reference), right = frame->left + frame->width;
    text_addf(svg,
              "<path d=\"M%.1f %.1fH%.1f\" stroke=\"%s\" stroke-width=\"1.5\" "
              "stroke-dasharray=\"6 5\"/>\n",
              frame->left, y, right, LEVEL);
    const char *gap = plot->reference_label.count ? "  " : "";
    String      text =
        str_format(scratch, "%.*s%s%.3f", STR_ARGS(plot->reference_label), gap, plot->reference);
    label(svg, right - 8, y - 7, "end", LEVEL, 12, text);
}

static void draw_curves(Text *svg, const Frame *frame, Curve thin, Curve smooth, Curve validation) {
    bool faint = smooth.count > 0;
    text_add(svg, STR("<g clip-path=\"url(#frame)\" fill=\"none\" stroke-linejoin=\"round\">\n"));
    text_addf(svg, "<path stroke=\"%s\" stroke-width=\"%s\" stroke-opacity=\"%s\" d=\"", BLUE,
              faint ? "1" : "2", faint ? "0.3" : "1");
    path_add(svg, frame, thin);
    text_add(svg, STR("\"/>\n"));
    if (faint) {
        text_addf(svg, "<path stroke=\"%s\" stroke-width=\"2.2\" d=\"", BLUE);
        path_add(svg, frame, smooth);
        text_add(svg, STR("\"/>\n"));
    }
    text_addf(svg, "<path stroke=\"%s\" stroke-width=\"1.8\" d=\"", ORANGE);
    path_add(svg, frame, validation);
    text_add(svg, STR("\"/>\n</g>\n"));
    text_addf(svg, "<g fill=\"%s\" stroke=\"#ffffff\" stroke-width=\"1.2\">\n", ORANGE);
    double radius = validation.count > 80 ? 2 : validation.count > 30 ? 3 : 4;
    for (size_t i = 0; i < validation.count; i++)
        text_addf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.0f\"/>\n", validation.x[i],
                  y_of(frame, validation.y[i]), radius);
    text_add(svg, STR("</g>\n"));
}

/* The last value of each curve beside its end, moved apart where they would overlap. */
static void draw_ends(Text *svg, Arena *scratch, const Frame *frame, Curve train,
                      Curve validation) {
    double x = frame->left + frame->width + 8, gap = 16;
    double a = train.count ? y_of(frame, train.y[train.count - 1]) : 0;
    double b = validation.count ? y_of(frame, validation.y[validation.count - 1]) : 0;
    if (train.count && validation.count && fabs(a - b) < gap) {
        double middle = (a + b) / 2, sign = a > b ? 1 : -1;
        a = middle + sign * gap / 2;
        b = middle - sign * gap / 2;
    }
    if (train.count)
        label(svg, x, a + 4, "start", BLUE, 13,
              str_format(scratch, "%.3f", train.y[train.count - 1]));
    if (validation.count)
        label(svg, x, b + 4, "start", ORANGE, 13,
              str_format(scratch, "%.3f", validation.y[validation.count - 1]));
}

static void legend_entry(Text *svg, double x, double y, const char *colour, const char *opacity,
                         const char *width, String name) {
    text_addf(svg,
              "<path d=\"M%.1f %.1fh24\" stroke=\"%s\" stroke-opacity=\"%s\" "
              "stroke-width=\"%s\"/>\n",
              x, y, colour, opacity, width);
    label(svg, x + 31, y + 4, "start", INK, 13, name);
}

/* On the line of the subtitle, ending at the right edge; widths of texts are estimates. */
static void draw_legend(Text *svg, const Frame *frame, const PlotLoss *plot, bool train,
                        bool smooth, bool validation) {
    String name = plot->series.count ? plot->series : STR("training");
    enum { TRAINING = 103, SMOOTHED = 118, VALIDATION = 97 };
    double x = frame->left + frame->width, y = frame->top - 22;
    x -= (train ? TRAINING : 0) + (smooth ? SMOOTHED : 0) + (validation ? VALIDATION : 0);
    if (train) legend_entry(svg, x, y, BLUE, smooth ? "0.4" : "1", smooth ? "1.4" : "2", name);
    x += train ? TRAINING : 0;
    if (smooth) legend_entry(svg, x, y, BLUE, "1", "2.2", STR("smoothed"));
    x += smooth ? SMOOTHED : 0;
    if (!validation) return;
    legend_entry(svg, x, y, ORANGE, "1", "1.8", STR("validation"));
    text_addf(svg,
              "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\" stroke=\"#ffffff\" "
              "stroke-width=\"1.2\"/>\n",
              x + 12, y, ORANGE);
}

static void draw_head(Text *svg, const Frame *frame, const PlotLoss *plot, double width,
                      double height) {
    text_addf(svg,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
              "viewBox=\"0 0 %.0f %.0f\" font-family=\"Inter, 'Helvetica Neue', Helvetica, Arial, "
              "'DejaVu Sans', sans-serif\">\n",
              width, height, width, height);
    text_addf(svg, "<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n", width, height);
    text_addf(svg,
              "<clipPath id=\"frame\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
              "height=\"%.1f\"/></clipPath>\n",
              frame->left, frame->top, frame->width, frame->height);
    text_add(svg, STR("<g font-weight=\"600\">"));
    label(svg, frame->left, 36, "start", INK, 19, plot->title);
    text_add(svg, STR("</g>\n"));
    label(svg, frame->left, frame->top - 18, "start", MUTED, 13, plot->subtitle);
}

String plot_loss(Arena *out, const PlotLoss *plot) {
    double width = plot->width ? plot->width : WIDTH, height = plot->height ? plot->height : HEIGHT;
    Scratch scratch = scratch_begin(&out, 1);
    Frame   frame = {.left = LEFT, .top = TOP, .log_x = plot->log_x};
    frame.width = width - LEFT - RIGHT > 100 ? width - LEFT - RIGHT : 100;
    frame.height = height - TOP - BOTTOM > 60 ? height - TOP - BOTTOM : 60;
    x_range(&frame, plot);
    Arena *work = scratch.arena;
    Curve  train = curve_of(work, &frame, plot->steps, plot->train, plot->count);
    Curve  validation = curve_of(work, &frame, plot->steps, plot->validation, plot->count);
    Curve  smooth = {0}, thin = curve_thin(work, &frame, train);
    if (plot->series.count == 0) smooth = curve_smooth(work, &frame, train);
    y_range(&frame, plot, train, smooth, validation);
    Text svg = text_begin(out);
    draw_head(&svg, &frame, plot, width, height);
    draw_axes(&svg, work, &frame, plot);
    draw_legend(&svg, &frame, plot, train.count > 0, smooth.count > 0, validation.count > 0);
    draw_curves(&svg, &frame, thin, smooth, validation);
    draw_reference(&svg, work, &frame, plot);
    draw_ends(&svg, work, &frame, smooth.count ? smooth : train, validation);
    if (train.count + validation.count == 0)
        label(&svg, frame.left + frame.width / 2, frame.top + frame.height / 3, "middle", MUTED, 15,
              STR("nothing recorded yet"));
    text_add(&svg, STR("</svg>\n"));
    scratch_end(scratch);
    return text_done(&svg);
}
