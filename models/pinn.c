/* The network and its losses. Coordinates are moved to [-1, 1] first; weights are drawn normal with
 * variance 2 / (in + out) (Glorot and Bengio 2010). A network of sines (Sitzmann et al. 2020)
 * starts with waves of any phase in its first layer, spread as `waves` says. Derivatives are those
 * of stoa_derivatives; one row asks for all that a residual needs of an output. */
#include "models/pinn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const PinnCase *model_pinn_case(const char *name) {
    for (const PinnCase *c = pinn_cases; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}
static uint32_t dims_of(const PinnCase *c) { return (uint32_t)strlen(c->axes); }
static uint32_t width_of(const PinnConfig *config) {
    return config->width ? config->width : config->the_case->width;
}
static uint32_t layers_of(const PinnConfig *config) {
    return config->layers ? config->layers : config->the_case->layers;
}

const char *model_pinn_problem(const PinnConfig *config) {
    if (config->the_case == NULL) return "there is no such case";
    if (config->dtype != STOA_F32 && config->dtype != STOA_F64) return "dtype must be f32 or f64";
    if (width_of(config) > 4096 || layers_of(config) > PINN_LAYERS_MAX)
        return "width is at most 4096, layers at most 64";
    return NULL;
}
uint64_t model_pinn_parameters(const PinnConfig *config) {
    uint64_t width = width_of(config), layers = layers_of(config);
    uint64_t first = width * (dims_of(config->the_case) + 1);
    uint64_t last = config->the_case->outputs * (width + 1);
    return first + (layers - 1) * width * (width + 1) + last;
}

/* --- words of cases --------------------------------------------------------------------------- */
static StoaValue constant(PinnBuild *b, StoaValue like, double c) {
    return stoa_fill_like(b->program, like, c);
}
StoaValue pinn_scale(PinnBuild *b, double c, StoaValue v) {
    return stoa_mul(b->program, v, constant(b, v, c));
}
StoaValue pinn_add(PinnBuild *b, StoaValue v, StoaValue w) { return stoa_add(b->program, v, w); }
StoaValue pinn_mul(PinnBuild *b, StoaValue v, StoaValue w) { return stoa_mul(b->program, v, w); }

/* Column i of v[N,k] as [N]. */
static StoaValue column(PinnBuild *b, StoaValue v, uint32_t i) {
    StoaProgram *p = b->program;
    StoaDim      rows = stoa_value_dim(p, v, 0);
    StoaDim      start[] = {stoa_dim(p, 0), stoa_dim(p, i)}, limit[] = {rows, stoa_dim(p, i + 1)};
    return stoa_reshape(p, stoa_slice(p, v, start, 2, limit, 2, NULL, 0), &rows, 1);
}
StoaValue pinn_output(PinnBuild *b, uint32_t output) { return b->outputs[output]; }
StoaValue pinn_at(PinnBuild *b, uint32_t coordinate) { return column(b, b->x, coordinate); }
void      pinn_derivatives(PinnBuild *b, uint32_t output, const char *const *of, uint32_t count,
                           StoaValue *out) {
         const char *axes = b->config->the_case->axes;
         stoa_derivatives(b->program, pinn_output(b, output), b->x, axes, of, out, count);
}

/* --- the network ------------------------------------------------------------------------------ */
/* 0: tanh */
static double waves_of(const PinnConfig *config) {
    double waves = config->waves != 0 ? config->waves : config->the_case->waves;
    return waves > 0 ? waves : 0;
}
/* turn: half the range of the biases at first */
static void add_layer(PinnBuild *b, uint32_t layer, int64_t in, int64_t out, double scale,
                      double turn) {
    char    name[32];
    int64_t sizes[] = {out, in};
    snprintf(name, sizeof name, "layer%u.weight", layer);
    b->weights[layer] =
        stoa_parameter(b->program, name, b->config->dtype, sizes, 2, STOA_INIT_NORMAL, scale);
    snprintf(name, sizeof name, "layer%u.bias", layer);
    b->biases[layer] = stoa_parameter(b->program, name, b->config->dtype, &out, 1,
                                      turn == 0 ? STOA_INIT_ZEROS : STOA_INIT_UNIFORM, turn);
}
static void add_parameters(PinnBuild *b) {
    const PinnCase *c = b->config->the_case;
    uint32_t        width = width_of(b->config), layers = layers_of(b->config);
    double          waves = waves_of(b->config);
    for (uint32_t i = 0; i < layers; i++) {
        uint32_t in = i == 0 ? dims_of(c) : width;
        double   scale = sqrt(2.0 / (in + width));
        bool     first = i == 0 && waves > 0;
        add_layer(b, i, in, width, first ? waves : scale, first ? 3.14159265358979 : 0);
    }
    add_layer(b, layers, width, c->outputs, sqrt(2.0 / (width + c->outputs)), 0);
}
static StoaValue centred(PinnBuild *b, StoaValue x) {
    const PinnCase *c = b->config->the_case;
    uint32_t        d = dims_of(c);
    StoaDim         shape[] = {stoa_value_dim(b->program, x, 0), stoa_dim(b->program, d)};
    StoaValue       rows[2];
    for (uint32_t k = 0; k < 2; k++) { /* middle, 1 / half width */
        double  wide[PINN_DIMS_MAX];
        float   narrow[PINN_DIMS_MAX];
        int64_t size = d, axis = 1;
        for (uint32_t i = 0; i < d; i++) {
            wide[i] = k == 0 ? (c->high[i] + c->low[i]) / 2 : 2 / (c->high[i] - c->low[i]);
            narrow[i] = (float)wide[i];
        }
        const void *data = b->config->dtype == STOA_F64 ? (const void *)wide : narrow;
        StoaValue   row = stoa_constant_data(b->program, b->config->dtype, &size, 1, data);
        rows[k] = stoa_broadcast_in_dim(b->program, row, shape, 2, &axis, 1);
    }
    return stoa_mul(b->program, stoa_sub(b->program, x, rows[0]), rows[1]);
}
static StoaValue network(PinnBuild *b, StoaValue x) {
    uint32_t  layers = layers_of(b->config);
    StoaValue h = centred(b, x);
    for (uint32_t i = 0; i < layers; i++) {
        h = stoa_linear(b->program, h, b->weights[i], b->biases[i]);
        h = waves_of(b->config) > 0 ? stoa_sin(b->program, h) : stoa_tanh(b->program, h);
    }
    return stoa_linear(b->program, h, b->weights[layers], b->biases[layers]);
}

/* --- losses ----------------------------------------------------------------------------------- */
/* The sum over residuals of their mean squares. */
static StoaValue mean_squares(PinnBuild *b, const StoaValue *residuals, uint32_t count) {
    int64_t   axis = 0;
    StoaValue sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        StoaValue square = stoa_square(b->program, residuals[i]);
        StoaValue mean = stoa_mean(b->program, square, &axis, 1);
        sum = i == 0 ? mean : stoa_add(b->program, sum, mean);
    }
    return sum;
}
/* The network at points. Its outputs are there before any derivative is asked for, so that one walk
 * serves those of all. */
static void evaluate(PinnBuild *b, StoaValue points) {
    b->x = points;
    b->u = network(b, points);
    for (uint32_t i = 0; i < b->config->the_case->outputs; i++) b->outputs[i] = column(b, b->u, i);
}
static StoaValue loss_of(PinnBuild *b, StoaValue points, StoaValue border, StoaValue values) {
    enum { TERMS_MAX = 8 };
    const PinnCase *c = b->config->the_case;
    StoaValue       terms[TERMS_MAX];
    uint32_t        count;
    evaluate(b, points);
    count = c->residuals(b, terms);
    StoaValue inside = mean_squares(b, terms, count);
    evaluate(b, border);
    count = c->conditions != NULL ? c->conditions(b, terms) : 0;
    for (uint32_t i = 0; c->values && i < c->outputs; i++)
        terms[count++] = stoa_sub(b->program, pinn_output(b, i), column(b, values, i));
    StoaValue outside = mean_squares(b, terms, count);
    double    weight = b->config->border_weight != 0 ? b->config->border_weight : c->border_weight;
    StoaValue loss = stoa_add(b->program, inside, pinn_scale(b, weight, outside));
    stoa_name(b->program, loss, "loss");
    return loss;
}
static void train_graph(PinnBuild *b, bool adam) {
    StoaProgram         *p = b->program;
    const PinnCase      *c = b->config->the_case;
    StoaDtype            dtype = b->config->dtype;
    StoaDim              d = stoa_dim(p, dims_of(c)), m = stoa_dim(p, c->outputs);
    StoaDim              inside[] = {stoa_dim_symbol(p, "N"), d};
    StoaDim              around[] = {stoa_dim_symbol(p, "M"), d}, known[] = {around[0], m};
    StoaOptimizerOptions optimizer = STOA_OPTIMIZER_OPTIONS;
    optimizer.kind = adam ? STOA_ADAMW : STOA_LBFGS;
    optimizer.pairs = 20;
    stoa_graph_begin(p, adam ? "adam" : "lbfgs");
    StoaValue points = stoa_input(p, "points", dtype, inside, 2);
    StoaValue border = stoa_input(p, "border", dtype, around, 2);
    StoaValue values = stoa_input(p, "values", dtype, known, 2);
    StoaValue rate = stoa_input(p, "rate", dtype, NULL, 0), step = {0};
    if (adam) step = stoa_input(p, "step", dtype, NULL, 0);
    add_parameters(b);
    StoaValue loss = loss_of(b, points, border, values);
    StoaValue norm = stoa_optimize(p, loss, rate, step, &optimizer);
    stoa_output(p, "loss", loss);
    stoa_output(p, "norm", norm);
    stoa_graph_end(p);
}

StoaStatus model_pinn_build(StoaProgram *program, const PinnConfig *config) {
    PinnBuild b = {.program = program, .config = config};
    if (model_pinn_problem(config) != NULL) return STOA_INVALID;
    train_graph(&b, true);
    train_graph(&b, false);
    StoaDim all[] = {stoa_dim_symbol(program, "N"), stoa_dim(program, dims_of(config->the_case))};
    stoa_graph_begin(program, "predict");
    StoaValue points = stoa_input(program, "points", config->dtype, all, 2);
    add_parameters(&b);
    stoa_output(program, "u", network(&b, points));
    stoa_graph_end(program);
    return stoa_program_check(program);
}

/* --- the border ------------------------------------------------------------------------------- */
/* Points of the box moved to its sides; time has only its beginning. Runs of them, since every
 * fourth point of a Sobol sequence lies in one quarter of the box: most of a side would be out. */
StoaStatus model_pinn_border(StoaContext *context, const PinnCase *c, uint64_t seed, size_t count,
                             double *out) {
    uint32_t   d = dims_of(c), sides = 0, axis[2 * PINN_DIMS_MAX];
    bool       end[2 * PINN_DIMS_MAX];
    StoaStatus status =
        stoa_points(context, STOA_POINTS_SOBOL, seed, c->low, c->high, d, count, out);
    for (uint32_t i = 0; i < d; i++)
        for (uint32_t k = 0; k < (c->axes[i] == 't' ? 1u : 2u); k++) {
            axis[sides] = i;
            end[sides++] = k == 1;
        }
    for (size_t i = 0; status == STOA_OK && i < count; i++) {
        size_t side = i * sides / count;
        out[i * d + axis[side]] = (end[side] ? c->high : c->low)[axis[side]];
    }
    return status;
}
