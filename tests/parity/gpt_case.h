/* The recorded GPT trainings, run on our side: bytes of a text in order, AdamW with clipping, and a
 * cosine rate after ten steps of warm-up, all as the recordings say. For the gradients at step 0
 * the optimizer is SGD at rate 0 without momentum: its buffer then holds the gradient of the one
 * step that ran, and no weight moved. */
#ifndef STOA_TESTS_PARITY_GPT_CASE_H
#define STOA_TESTS_PARITY_GPT_CASE_H

#include "models/gpt.h"
#include "recording.h"

typedef struct GptBounds {
    double loss, norm, final; /* relative */
} GptBounds;

static inline GptConfig gpt_case_config(const Recording *r) {
    GptConfig config = model_gpt_preset(); /* betas, decay and clip are the recordings' */
    config.dtype = r->dtype;
    config.vocab = recording_setting(r, "vocab", 0);
    config.context = recording_setting(r, "context", 0);
    config.layers = recording_setting(r, "layers", 0);
    config.heads = recording_setting(r, "heads", 0);
    config.width = recording_setting(r, "width", 0);
    return config;
}

static inline bool gpt_case_open(Engine *engine, const Recording *r, const GptConfig *config) {
    return engine_open(engine) && engine_good(engine, model_gpt_build(engine->program, config)) &&
           engine_start(engine, r);
}

typedef struct GptBatch {
    String     text;
    uint32_t   rows, length;
    StoaTensor tensors[2];
} GptBatch;

static inline bool gpt_case_text(Arena *arena, const Recording *r, const char *path,
                                 GptBatch *batch) {
    *batch = (GptBatch){.rows = recording_setting(r, "batch", 0),
                        .length = recording_setting(r, "context", 0)};
    if (!EXPECT(!failure_some(files_read(arena, path, RECORDING_BYTES_MAX, &batch->text))))
        return false;
    for (uint32_t i = 0; i < 2; i++)
        batch->tensors[i] = (StoaTensor){STOA_I32,
                                         2,
                                         {batch->rows, batch->length},
                                         ARENA_ARRAY(arena, int32_t, batch->rows * batch->length)};
    return EXPECT(batch->text.count > 1);
}

static inline void gpt_case_fill(GptBatch *batch, uint32_t step) {
    size_t   count = (size_t)batch->rows * batch->length;
    int32_t *tokens = batch->tensors[0].data, *targets = batch->tensors[1].data;
    for (size_t i = 0; i < count; i++) {
        size_t place = (step * count + i) % (batch->text.count - 1);
        tokens[i] = (uint8_t)batch->text.data[place];
        targets[i] = (uint8_t)batch->text.data[place + 1];
    }
}

static inline double gpt_case_rate(uint32_t step, uint32_t steps) {
    const double pi = 3.14159265358979323846;
    return 1e-3 * fmin(1, (step + 1) / 10.0) * (0.1 + 0.45 * (1 + cos(pi * step / steps)));
}

/* Every loss and gradient norm, and the norms of the final parameters. */
static inline void gpt_case_curve(Arena *arena, const Recording *r, const char *text,
                                  const GptBounds *bounds) {
    uint32_t  steps = recording_setting(r, "steps", 0), done = 0;
    double   *loss = ARENA_ARRAY_ZERO(arena, double, steps + 1);
    double   *norm = ARENA_ARRAY_ZERO(arena, double, steps + 1);
    GptConfig config = gpt_case_config(r);
    Engine    engine;
    GptBatch  batch;
    if (gpt_case_open(&engine, r, &config) && gpt_case_text(arena, r, text, &batch)) {
        for (; done < steps; done++) {
            gpt_case_fill(&batch, done);
            if (!engine_step(&engine, r->dtype, batch.tensors, gpt_case_rate(done, steps), done + 1,
                             &loss[done], &norm[done]))
                break;
        }
        compare_series(arena, r, "loss", loss, done, bounds->loss);
        compare_series(arena, r, "grad_norm", norm, done, bounds->norm);
        compare_norms(arena, r, &engine, "final_param_norm", "", bounds->final);
        EXPECT_EQ(done, steps);
    }
    engine_close(&engine);
}

/* The gradient of every parameter at the initial weights. */
static inline void gpt_case_gradients(Arena *arena, const Recording *r, const char *text,
                                      double tolerance) {
    GptConfig config = gpt_case_config(r);
    Engine    engine;
    GptBatch  batch;
    double    loss = 0, norm = 0;
    config.optimizer = (StoaOptimizerOptions)STOA_OPTIMIZER_OPTIONS;
    config.optimizer.kind = STOA_SGD;
    if (gpt_case_open(&engine, r, &config) && gpt_case_text(arena, r, text, &batch)) {
        gpt_case_fill(&batch, 0);
        if (engine_step(&engine, r->dtype, batch.tensors, 0, 1, &loss, &norm)) {
            compare_norms(arena, r, &engine, "grad_norm_step0", "optimizer.momentum.", tolerance);
            compare_gradients(arena, r, &engine, "optimizer.momentum.", tolerance);
            compare_series(arena, r, "loss", &loss, 1, tolerance);
        }
    }
    engine_close(&engine);
}

#endif
