/* Physics-informed networks (Raissi, Perdikaris and Karniadakis 2019): a fully connected network
 * u(x) trained until an equation holds at points inside a box and conditions hold on its border, as
 * a program of the public interface. Every case has a known solution, so errors are true errors.
 *
 * Graphs: `adam` (points, border, values, rate, step; loss, norm), `lbfgs` (points, border, values,
 * rate; loss, norm) and `predict` (points; u). points[N,d] are inside, border[M,d] on the border,
 * where u takes values[M,m]; N and M are symbols. The loss is the mean square of the residuals plus
 * `border_weight` times that of the conditions. */
#ifndef MODELS_PINN_H
#define MODELS_PINN_H

#include <stoa/stoa.h>

enum { PINN_DIMS_MAX = 3, PINN_OUTPUTS_MAX = 3, PINN_LAYERS_MAX = 64 };

typedef struct PinnBuild PinnBuild;
typedef struct PinnCase {
    const char *name, *equation, *solution; /* the last two for reading */
    const char *axes;                       /* letters of the coordinates; t is time */
    uint32_t    outputs;
    double      low[PINN_DIMS_MAX], high[PINN_DIMS_MAX];
    uint32_t    width, layers; /* hidden */
    double      waves;         /* activations: 0: tanh; else sines, and how far the frequencies of
                                  the first layer spread at first, in radians a half-width */
    double      border_weight;
    uint64_t    points, border; /* numbers of them */
    uint64_t    adam_steps, lbfgs_steps;
    double      rate; /* of adam */
    /* The known solution at x, all outputs. */
    void (*exact)(const double *x, double *out_u);
    /* Residuals at points, [N] each, for the network's u[N,m]; their number. */
    uint32_t (*residuals)(PinnBuild *build, StoaValue *out);
    /* Conditions on the border beyond the values, or instead of them; may be NULL. */
    uint32_t (*conditions)(PinnBuild *build, StoaValue *out);
    bool values; /* u is given on the border */
} PinnCase;

typedef struct PinnConfig {
    const PinnCase *the_case;
    StoaDtype       dtype;         /* f32 or f64 */
    uint32_t        width, layers; /* 0: those of the case */
    double          border_weight; /* likewise */
    double          waves;         /* likewise; below 0: tanh */
} PinnConfig;

extern const PinnCase pinn_cases[];                      /* the last has no name */
const PinnCase       *model_pinn_case(const char *name); /* NULL: there is none */
/* What is wrong with the numbers, or NULL. Static text. */
const char *model_pinn_problem(const PinnConfig *config);
/* How many numbers the parameters hold. */
uint64_t model_pinn_parameters(const PinnConfig *config);
/* Appends the graphs. STOA_INVALID if model_pinn_problem says so, or as stoa_program_check. */
StoaStatus model_pinn_build(StoaProgram *program, const PinnConfig *config);
/* count points on the border of the box (time: not its end), row-major; seeded. */
StoaStatus model_pinn_border(StoaContext *context, const PinnCase *the_case, uint64_t seed,
                             size_t count, double *out_points);

/* --- for cases -------------------------------------------------------------------------------- */
struct PinnBuild {
    StoaProgram      *program;
    const PinnConfig *config;
    StoaValue         x, u;                      /* the points at hand and the network there */
    StoaValue         outputs[PINN_OUTPUTS_MAX]; /* columns of u */
    StoaValue         weights[PINN_LAYERS_MAX + 1], biases[PINN_LAYERS_MAX + 1]; /* of the graph */
};
/* Derivatives of an output at all points, [N] each; of as in stoa_derivatives. */
void      pinn_derivatives(PinnBuild *b, uint32_t output, const char *const *of, uint32_t count,
                           StoaValue *out);
StoaValue pinn_output(PinnBuild *b, uint32_t output); /* u_i[N] */
StoaValue pinn_at(PinnBuild *b, uint32_t coordinate); /* x_i[N] */
StoaValue pinn_scale(PinnBuild *b, double c, StoaValue v);
StoaValue pinn_add(PinnBuild *b, StoaValue v, StoaValue w);
StoaValue pinn_mul(PinnBuild *b, StoaValue v, StoaValue w);

#endif
