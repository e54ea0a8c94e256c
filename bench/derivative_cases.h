/* Cases of networks that solve equations, and the program of a step of each: loss and its gradient
 * in all weights, without an optimizer. The graph `step` has no inputs: points are state as weights
 * are, so that a step moves nothing to a device. Outputs: loss, then the gradients.
 *
 * Every tensor is numbers of a formula, the same here and in peers/derivatives.py: element i of
 * tensor t is a hash of both in [-1, 1), rounded to f32, times a scale. */
#ifndef STOA_BENCH_DERIVATIVE_CASES_H
#define STOA_BENCH_DERIVATIVE_CASES_H

#include <stoa/stoa.h>

typedef enum DerivativeNet {
    DERIVATIVE_MLP,
    DERIVATIVE_NORMED,   /* weights divided by their norms (Salimans and Kingma 2016) */
    DERIVATIVE_PIRATE,   /* Fourier features, gated residual blocks (Wang et al. 2024) */
    DERIVATIVE_ORBITALS, /* determinants of orbitals of electrons (after Pfau et al. 2020) */
    DERIVATIVE_OPERATOR  /* functions times points (Lu et al. 2021) */
} DerivativeNet;

typedef struct DerivativeCase {
    const char   *name, *axes;
    uint32_t      points, border;
    DerivativeNet net;
    uint32_t      width, layers;
    const char   *outputs, *activation, *coefficients, *inside, *around;
} DerivativeCase;
extern const DerivativeCase derivative_cases[]; /* the last has no name */

enum { DERIVATIVE_TENSORS_MAX = 96 };
typedef struct DerivativeTensor {
    char      name[16];
    uint32_t  rank;
    int64_t   sizes[3];
    double    scale;
    bool      trained;
    StoaValue value;
} DerivativeTensor;
typedef struct DerivativeStep {
    StoaProgram          *program;
    const DerivativeCase *the_case;
    StoaDtype             dtype;
    uint32_t              points;
    DerivativeTensor      tensors[DERIVATIVE_TENSORS_MAX];
    uint32_t              count, made; /* the same, once the graph is built */
    StoaValue             x, outputs[16], coefficients[4], directions;
} DerivativeStep;

/* Appends the graph to step->program; the_case, dtype and points are given. Mistakes are told by
 * stoa_program_check. */
void derivative_step_build(DerivativeStep *step);
/* The numbers of tensor t, as f32 or f64. */
void derivative_numbers(const DerivativeStep *step, uint32_t t, void *out);
/* Element i of tensor t before its scale. */
float    derivative_number(uint32_t t, uint32_t i);
uint32_t derivative_elements(const DerivativeTensor *tensor);

#endif
