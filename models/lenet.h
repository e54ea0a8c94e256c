/* A small convolutional network for 28 x 28 grey images, as a program of the public interface:
 * convolution and batch norm twice (the second strided and grouped), then two linear layers.
 *
 * Graphs: `train` (images, labels, rate, step; loss, norm), which also moves the running statistics
 * of the batch norms, `evaluate` (images, labels; loss, accuracy) and `predict` (images; logits),
 * which use them.
 *
 * images is f32[B,1,28,28], labels i32[B], logits [B,10]; B is a symbol. */
#ifndef MODELS_LENET_H
#define MODELS_LENET_H

#include <stoa/stoa.h>

typedef struct LenetConfig {
    StoaDtype            dtype; /* f32 or f64; images are converted */
    StoaOptimizerOptions optimizer;
    uint32_t             likely_batch; /* a hint for the symbol B; 0: none */
} LenetConfig;

/* SGD with Nesterov momentum 0.9 and decay 1e-4. */
LenetConfig model_lenet_preset(void);
/* What is wrong with the numbers, or NULL. Static text. */
const char *model_lenet_problem(const LenetConfig *config);
/* How many numbers the parameters hold; running statistics are not counted. */
uint64_t model_lenet_parameters(void);
/* Appends the graphs. STOA_INVALID if model_lenet_problem says so, or as stoa_program_check. */
StoaStatus model_lenet_build(StoaProgram *program, const LenetConfig *config);

#endif
