/* `stoa train pinn`: a network that solves an equation. Adam first, then L-BFGS, on points drawn
 * once; at the end the error against the known solution, on a grid, and a picture of both
 * (stoa_pinn_picture.c). Everything is kept in one folder: picture, weights, result.json. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/stoa_pinn.h"

const CliOption pinn_options[] = {
    {"case", "NAME", "poisson",
     "poisson, helmholtz, beam, plate, elasticity, kdv, burgers, kuramoto-sivashinsky, allen-cahn, "
     "schroedinger or navier-stokes"},
    {"steps", "N", "of the case", "steps of Adam"},
    {"refine", "N", "of the case", "evaluations of L-BFGS after them"},
    {"points", "N", "of the case", "points inside"},
    {"border", "N", "of the case", "points on the border"},
    {"sampler", "uniform|latin|sobol", "sobol", "how they are drawn"},
    {"width", "N", "of the case", "units of a hidden layer"},
    {"layers", "N", "of the case", "hidden layers"},
    {"waves", "X", "of the case",
     "0: tanh; else sines, with first frequencies spread so far, in radians a half-width"},
    {"weight", "X", "of the case", "of the conditions in the loss"},
    {"lr", "RATE", "of the case", "of Adam; falls to a tenth by a cosine"},
    {"dtype", "f32|f64", "f64", "of parameters and arithmetic"},
    {"seed", "N", "1", "of points and initial values"},
    {"out", "RUN", "runs/pinn-CASE", "folder of the run"},
    {"log-every", "N", "100", "steps between log lines"},
    {"lanes", "N", "0: one per core", "worker threads"},
    {"device", "cpu|cuda|cuda:N", "cpu", "where the network trains"},
    {"json", NULL, NULL, "the result as a JSON line on stdout"},
    {"quiet", NULL, NULL, "print errors and the result only"},
    {NULL, NULL, NULL, NULL},
};

typedef struct Pinn {
    Cli           *cli;
    PinnConfig     config;
    StoaPointsKind sampler;
    uint64_t       steps, refine, points, border, log_every, seed;
    double         rate;
    uint32_t       lanes, d;
    const char    *device;
    bool           json, quiet;
    char           out[CLI_PATH_BYTES];
    StoaSession   *session;
    void          *inside, *around, *known; /* in the dtype of the run */
    double         loss, seconds, relative, largest;
    uint64_t       done;
} Pinn;

/* --- settings --------------------------------------------------------------------------------- */
static int read_settings(Pinn *r) {
    static const char *const samplers[] = {"uniform", "latin", "sobol", NULL};
    static const char *const dtypes[] = {"f32", "f64", NULL};
    StoaConfig              *c = r->cli->config;
    const char              *name = stoa_config_text(c, "case", "poisson");
    const PinnCase          *known = model_pinn_case(name);
    if (known == NULL) {
        const char *names[32] = {NULL};
        for (int i = 0; pinn_cases[i].name != NULL; i++) names[i] = pinn_cases[i].name;
        const char *near = cli_suggest(name, names);
        return cli_usage(r->cli, "no case '%s'%s%s%s", name, near ? "; did you mean '" : "",
                         near ? near : "", near ? "'?" : "");
    }
    r->config.the_case = known;
    r->d = (uint32_t)strlen(known->axes);
    r->config.width = (uint32_t)stoa_config_int(c, "width", 1, 4096, known->width);
    r->config.layers = (uint32_t)stoa_config_int(c, "layers", 1, 64, known->layers);
    r->config.border_weight = stoa_config_float(c, "weight", 1e-6, 1e9, known->border_weight);
    r->config.waves = stoa_config_float(c, "waves", 0, 1e3, known->waves);
    if (r->config.waves == 0) r->config.waves = -1; /* of the configuration: tanh */
    r->config.dtype = stoa_config_choice(c, "dtype", dtypes, 1) == 1 ? STOA_F64 : STOA_F32;
    r->sampler = (StoaPointsKind)stoa_config_choice(c, "sampler", samplers, 2);
    int64_t most = 100000000;
    r->steps = (uint64_t)stoa_config_int(c, "steps", 0, most, (int64_t)known->adam_steps);
    r->refine = (uint64_t)stoa_config_int(c, "refine", 0, most, (int64_t)known->lbfgs_steps);
    r->points = (uint64_t)stoa_config_int(c, "points", 1, most, (int64_t)known->points);
    r->border = (uint64_t)stoa_config_int(c, "border", 1, most, (int64_t)known->border);
    r->rate = stoa_config_float(c, "lr", 0, 10, known->rate);
    r->seed = (uint64_t)stoa_config_int(c, "seed", 0, INT64_MAX, 1);
    r->log_every = (uint64_t)stoa_config_int(c, "log_every", 1, most, 100);
    r->lanes = (uint32_t)stoa_config_int(c, "lanes", 0, 4096, 0);
    r->device = stoa_config_text(c, "device", "cpu");
    r->json = stoa_config_bool(c, "json", false);
    r->quiet = stoa_config_bool(c, "quiet", false);
    const char *out = stoa_config_text(c, "out", NULL);
    snprintf(r->out, sizeof r->out, "%s%s", out ? out : "runs/pinn-", out ? "" : known->name);
    return cli_finish(r->cli);
}
/* --- points ----------------------------------------------------------------------------------- */
/* Numbers in the dtype of the run; NULL without memory. */
static void *converted(const Pinn *r, const double *numbers, size_t count) {
    bool  wide = r->config.dtype == STOA_F64;
    void *made = malloc((count + 1) * (wide ? sizeof(double) : sizeof(float)));
    for (size_t i = 0; made != NULL && i < count; i++)
        if (wide)
            ((double *)made)[i] = numbers[i];
        else
            ((float *)made)[i] = (float)numbers[i];
    return made;
}
static int draw_points(Pinn *r) {
    const PinnCase *c = r->config.the_case;
    uint32_t        m = c->outputs;
    double         *inside = malloc(sizeof(double) * r->points * r->d);
    double         *around = malloc(sizeof(double) * r->border * r->d);
    double         *known = malloc(sizeof(double) * r->border * m);
    int             code = CLI_FAILED;
    if (inside != NULL && around != NULL && known != NULL) {
        StoaStatus status = stoa_points(r->cli->context, r->sampler, r->seed, c->low, c->high, r->d,
                                        r->points, inside);
        if (status == STOA_OK)
            status = model_pinn_border(r->cli->context, c, r->seed + 1, r->border, around);
        code = status == STOA_OK ? CLI_OK : cli_refused(r->cli, r->cli->context, CLI_FAILED);
    }
    for (uint64_t i = 0; code == CLI_OK && i < r->border; i++)
        c->exact(around + i * r->d, known + i * m);
    if (code == CLI_OK) {
        r->inside = converted(r, inside, r->points * r->d);
        r->around = converted(r, around, r->border * r->d);
        r->known = converted(r, known, r->border * m);
    }
    free(inside);
    free(around);
    free(known);
    if (code == CLI_OK && (r->inside == NULL || r->around == NULL || r->known == NULL))
        return cli_failed(r->cli, "out of memory");
    return code;
}

/* --- training --------------------------------------------------------------------------------- */
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
static int step(Pinn *r, bool adam, double rate, double number) {
    const PinnCase *c = r->config.the_case;
    StoaDtype       dtype = r->config.dtype;
    double          wide[4] = {rate, number};
    float           narrow[4] = {(float)rate, (float)number};
    void           *rates = dtype == STOA_F64 ? (void *)wide : narrow;
    void           *numbers = dtype == STOA_F64 ? (void *)(wide + 1) : narrow + 1;
    void           *losses = dtype == STOA_F64 ? (void *)(wide + 2) : narrow + 2;
    StoaTensor      inputs[] = {{dtype, 2, {(int64_t)r->points, r->d}, r->inside},
                                {dtype, 2, {(int64_t)r->border, r->d}, r->around},
                                {dtype, 2, {(int64_t)r->border, c->outputs}, r->known},
                                {dtype, 0, {0}, rates},
                                {dtype, 0, {0}, numbers}};
    StoaTensor      outputs[] = {{.data = losses}, {.data = NULL}};
    StoaStatus      status =
        stoa_run(r->session, adam ? "adam" : "lbfgs", inputs, adam ? 5 : 4, outputs, 2, NULL);
    r->loss = dtype == STOA_F64 ? wide[2] : (double)narrow[2];
    return status == STOA_OK ? CLI_OK : cli_refused(r->cli, r->cli->context, CLI_FAILED);
}
static int train(Pinn *r) {
    double   begun = now();
    uint64_t all = r->steps + r->refine;
    int      code = CLI_OK;
    for (uint64_t i = 0; i < all && code == CLI_OK; i++) {
        bool   adam = i < r->steps;
        double share = adam ? (double)i / (double)r->steps : 0;
        double fall = 0.1 + 0.45 * (1 + cos(3.14159265358979 * share));
        code = step(r, adam, adam ? r->rate * fall : 1, (double)i + 1);
        r->done = i + 1;
        r->seconds = now() - begun;
        if (!r->quiet && !r->json && (r->done % r->log_every == 0 || r->done == all))
            printf("  %-6s step %6llu of %llu   loss %.3e   %.0f s\n", adam ? "adam" : "l-bfgs",
                   (unsigned long long)r->done, (unsigned long long)all, r->loss, r->seconds);
        if (!isfinite(r->loss) && adam)
            return cli_failed(r->cli, "the loss is not finite; try a smaller --lr");
    }
    if (r->refine != 0 && code == CLI_OK) code = step(r, false, 0, 0); /* the best point */
    return code;
}

/* --- results ---------------------------------------------------------------------------------- */
static int measure(Pinn *r, PinnGrid *grid) {
    const PinnCase *c = r->config.the_case;
    double          square = 0, size = 0;
    void           *points = converted(r, grid->points, grid->count * r->d);
    void           *found = malloc(grid->count * c->outputs * sizeof(double));
    if (points == NULL || found == NULL) {
        free(points);
        free(found);
        return cli_failed(r->cli, "out of memory");
    }
    StoaTensor input = {r->config.dtype, 2, {(int64_t)grid->count, r->d}, points};
    StoaTensor output = {.data = found};
    StoaStatus status = stoa_run(r->session, "predict", &input, 1, &output, 1, NULL);
    for (size_t i = 0; status == STOA_OK && i < grid->count * c->outputs; i++) {
        double u = r->config.dtype == STOA_F64 ? ((double *)found)[i] : (double)((float *)found)[i];
        double error = fabs(u - grid->exact[i]);
        grid->found[i] = u;
        square += error * error;
        size += grid->exact[i] * grid->exact[i];
        r->largest = fmax(r->largest, error);
    }
    r->relative = sqrt(square / size);
    free(points);
    free(found);
    return status == STOA_OK ? CLI_OK : cli_refused(r->cli, r->cli->context, CLI_FAILED);
}
static int keep(Pinn *r, const PinnGrid *grid) {
    char path[CLI_PATH_BYTES + 32], line[512];
    snprintf(line, sizeof line,
             "{\"case\": \"%s\", \"steps\": %llu, \"loss\": %.6e, \"relative_l2_error\": %.6e, "
             "\"largest_error\": %.6e, \"seconds\": %.1f, \"parameters\": %llu}\n",
             r->config.the_case->name, (unsigned long long)r->done, r->loss, r->relative,
             r->largest, r->seconds, (unsigned long long)model_pinn_parameters(&r->config));
    snprintf(path, sizeof path, "%s/result.json", r->out);
    FILE *file = fopen(path, "w");
    bool  good = file != NULL && fputs(line, file) >= 0;
    if (file != NULL) good &= fclose(file) == 0;
    if (!good) return cli_failed(r->cli, "cannot write %s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/solution.svg", r->out);
    if (!pinn_picture(path, r->config.the_case, grid))
        return cli_failed(r->cli, "cannot write %s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/weights.safetensors", r->out);
    if (stoa_weights_save(r->session, path) != STOA_OK)
        return cli_refused(r->cli, r->cli->context, CLI_FAILED);
    if (r->json)
        printf("%s", line);
    else
        printf("  error against the known solution: relative %.2e, largest %.2e\n  kept in %s\n",
               r->relative, r->largest, r->out);
    return CLI_OK;
}

static int compile(Pinn *r) {
    StoaProgram       *program = NULL;
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.seed = r->seed;
    options.device = r->device;
    StoaStatus status = stoa_program_create(r->cli->context, &program);
    if (status == STOA_OK) status = model_pinn_build(program, &r->config);
    if (status == STOA_OK) status = stoa_compile(program, &options, &r->session);
    stoa_program_destroy(program);
    return status == STOA_OK ? CLI_OK : cli_refused(r->cli, r->cli->context, CLI_FAILED);
}

int pinn_command(Cli *cli, int count, char **words) {
    Pinn        r = {.cli = cli};
    PinnGrid    grid = {0};
    const char *rest[1];
    int         rest_count = 0, code = cli_flags(cli, count, words, rest, 0, &rest_count);
    if (code == CLI_OK) code = read_settings(&r);
    if (code == CLI_OK) code = cli_make_folder(r.cli, r.out);
    if (code == CLI_OK) code = cli_start(cli, r.lanes);
    if (code == CLI_OK) code = draw_points(&r);
    if (code == CLI_OK && !r.quiet && !r.json)
        printf("  %s: %s\n  known: %s; %llu parameters\n", r.config.the_case->name,
               r.config.the_case->equation, r.config.the_case->solution,
               (unsigned long long)model_pinn_parameters(&r.config));
    if (code == CLI_OK) code = compile(&r);
    if (code == CLI_OK) code = train(&r);
    if (code == CLI_OK && !pinn_grid(r.config.the_case, &grid))
        code = cli_failed(cli, "out of memory");
    if (code == CLI_OK) code = measure(&r, &grid);
    if (code == CLI_OK) code = keep(&r, &grid);
    pinn_grid_free(&grid);
    free(r.inside);
    free(r.around);
    free(r.known);
    stoa_session_destroy(r.session);
    return code;
}
