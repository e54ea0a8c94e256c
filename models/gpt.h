/* A decoder-only transformer in the manner of GPT-2, as a program of the public interface.
 *
 * Graphs: `train` (tokens, targets, rate, step, and seed if there is dropout; loss, norm),
 * `accumulate` (tokens, targets, and seed; loss) and `apply` (rate, step; norm) when a step has
 * several micro-batches, `evaluate` (tokens, targets; loss), `predict` (tokens; logits).
 *
 * tokens and targets are i32[B,T], the loss is the mean cross entropy, logits are [B,T,vocab]. B
 * and T are symbols unless the configuration says otherwise: one program serves every batch size
 * and every length from 1 to context. */
#ifndef MODELS_GPT_H
#define MODELS_GPT_H

#include <stoa/stoa.h>

typedef struct GptConfig {
    StoaDtype            dtype; /* f32 or f64 */
    uint32_t             vocab;
    uint32_t             context; /* longest sequence: rows of wpe */
    uint32_t             layers, heads, width;
    double               dropout;       /* after the embedding and each projection; 0: none */
    bool                 untied_head;   /* head.weight instead of wte.weight for the logits */
    uint32_t             accumulate;    /* micro-batches a step; 0 or 1: no accumulation */
    uint32_t             batch, length; /* constant B and T; 0: symbols */
    uint32_t             likely_batch, likely_length; /* hints for the symbols; 0: none */
    StoaOptimizerOptions optimizer;
} GptConfig;

/* Four layers, four heads, width 128, context 128; AdamW 0.9/0.95, decay 0.1 on matrices,
 * clip 1. */
GptConfig model_gpt_preset(void);
/* What is wrong with the numbers, or NULL. Static text. */
const char *model_gpt_problem(const GptConfig *config);
/* How many numbers the parameters hold. */
uint64_t model_gpt_parameters(const GptConfig *config);
/* Appends the graphs. STOA_INVALID if model_gpt_problem says so, or as stoa_program_check. */
StoaStatus model_gpt_build(StoaProgram *program, const GptConfig *config);

#endif
