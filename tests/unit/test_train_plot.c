// The loss plot: well-formed SVG whatever the data, what must stand in it, and where the curves
// run. How it looks is judged by eye: render plot_loss with rsvg-convert. Here only what a reader
// of the picture relies on: nothing missing, nothing invented, no curve bent by one wild step.
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "arena/str.h"
#include "train/plot.h"

// Whether each tag is closed in order and no text holds a bare < or &; enough for what plot.c
// writes.
static bool well_formed(String svg) {
    const char *stack[16];
    size_t      depth = 0;
    for (const char *at = svg.data; (at = strpbrk(at, "<&")) != NULL; at++) {
        if (*at == '&') {
            if (strncmp(at, "&lt;", 4) != 0 && strncmp(at, "&gt;", 4) != 0 &&
                strncmp(at, "&amp;", 5) != 0)
                return false;
            continue;
        }
        const char *end = strchr(at, '>');
        if (!end) return false;
        size_t name = strcspn(at + 1 + (at[1] == '/'), " />");
        if (at[1] == '/') {
            if (depth == 0 || strncmp(stack[--depth], at + 2, name) != 0) return false;
        } else if (end[-1] != '/') {
            if (depth == LENGTH(stack)) return false;
            stack[depth++] = at + 1;
        }
    }
    return depth == 0;
}

static bool holds(String svg, const char *text) { return strstr(svg.data, text) != NULL; }

static PlotLoss plot_of(Arena *arena, size_t count) {
    uint64_t *steps = ARENA_ARRAY(arena, uint64_t, count + 1);
    double   *train = ARENA_ARRAY(arena, double, count + 1);
    double   *validation = ARENA_ARRAY(arena, double, count + 1);
    for (size_t i = 0; i < count; i++) {
        steps[i] = i + 1;
        train[i] = 2 + 6 / sqrt((double)(i + 1)) + (i % 2 ? 0.05 : -0.05);
        validation[i] = i % 100 == 99 ? train[i] + 0.1 : NAN;
    }
    return (PlotLoss){.title = STR("A <run> & \"more\""),
                      .subtitle = STR("sub"),
                      .steps = steps,
                      .train = train,
                      .validation = validation,
                      .count = count,
                      .reference = 3.25,
                      .reference_label = STR("unigram entropy")};
}

TEST(plot_any_count_is_well_formed) {
    static const size_t counts[] = {0, 1, 2, 3, 5, 23, 24, 25, 100, 1000, 20000};
    for (size_t i = 0; i < LENGTH(counts); i++) {
        PlotLoss plot = plot_of(arena, counts[i]);
        for (int k = 0; k < 4; k++) {
            plot.log_x = k & 1;
            if (k & 2) plot.train = NULL;
            String svg = plot_loss(arena, &plot);
            EXPECT(well_formed(svg));
            EXPECT(!holds(svg, "nan") && !holds(svg, "inf"));
            EXPECT(svg.count < 200000);
        }
    }
}

TEST(plot_shows_what_it_was_given) {
    PlotLoss plot = plot_of(arena, 1000);
    String   svg = plot_loss(arena, &plot);
    EXPECT(holds(svg, ">A &lt;run&gt; &amp; \"more\"<"));
    EXPECT(holds(svg, ">sub<"));
    EXPECT(holds(svg, ">unigram entropy  3.250<"));
    EXPECT(holds(svg, ">training<") && holds(svg, ">smoothed<") && holds(svg, ">validation<"));
    EXPECT(holds(svg, ">loss (nats)<") && holds(svg, ">step<") && holds(svg, ">400<"));
    plot.validation = NULL;
    plot.reference = NAN;
    plot.y_label = STR("bits");
    plot.log_x = true;
    svg = plot_loss(arena, &plot);
    EXPECT(!holds(svg, ">validation<") && !holds(svg, "unigram") && !holds(svg, "<circle"));
    EXPECT(holds(svg, ">bits<") && holds(svg, ">step (logarithmic)<") && holds(svg, ">200<"));
    plot = plot_of(arena, 0);
    EXPECT(holds(plot_loss(arena, &plot), "nothing recorded yet"));
}

TEST(plot_strange_values) {
    static const double values[] = {NAN, INFINITY, -INFINITY, 0, 1e300, -1e300, 5e-324, 3};
    for (size_t i = 0; i < LENGTH(values); i++) {
        for (size_t k = 0; k < LENGTH(values); k++) {
            uint64_t steps[40];
            double   train[40];
            for (size_t n = 0; n < 40; n++) {
                steps[n] = n < 39 ? n : UINT64_MAX;
                train[n] = values[n % 3 ? i : k];
            }
            PlotLoss plot = {.steps = steps,
                             .train = train,
                             .validation = train,
                             .count = 40,
                             .reference = values[k],
                             .log_x = i % 2};
            String   svg = plot_loss(arena, &plot);
            EXPECT(well_formed(svg) && !holds(svg, "nan") && !holds(svg, "inf"));
        }
    }
}

// The y coordinates of the smoothed curve: the path of width 2.2 inside the frame.
static size_t smooth_path(String svg, double *x, double *y, size_t max) {
    const char *at = strstr(svg.data, "stroke-width=\"2.2\" d=\"M");
    size_t      count = 0;
    if (!at) return 0;
    at += strlen("stroke-width=\"2.2\" d=\"M");
    for (char *end; count < max && *at != '"'; count++) {
        x[count] = strtod(at + (*at == 'L'), &end);
        y[count] = strtod(end, &end);
        at = end;
    }
    return count;
}

TEST(plot_smooths_noise_but_not_the_fall) {
    static double x[2000], y[2000];
    PlotLoss      plot = plot_of(arena, 5000);
    double       *train = ARENA_ARRAY(arena, double, plot.count);
    memcpy(train, plot.train, plot.count * sizeof *train);
    train[2500] = 1000; // a single wild step does not bend it
    plot.train = train;
    plot.validation = NULL;
    plot.reference = NAN;
    size_t count = smooth_path(plot_loss(arena, &plot), x, y, LENGTH(x));
    REQUIRE(count > 500);
    bool falls = true;
    for (size_t i = 1; i < count; i++) falls &= y[i] >= y[i - 1] - 0.2;
    EXPECT(falls);
    EXPECT(y[0] < 110); // near the top of the frame, where the run began
    EXPECT(y[count - 1] > 440);
}
