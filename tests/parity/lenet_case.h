/* The recorded trainings of the convolutional network, run on our side: Nesterov SGD at a constant
 * rate over images in order. The images are the first of Fashion-MNIST, from the Debian package
 * dataset-fashion-mnist, or drawn from a generator that tests/parity/make_fixture.py repeats.
 * Gradients at step 0 are read from the buffers of SGD without momentum, as for the GPT. */
#ifndef STOA_TESTS_PARITY_LENET_CASE_H
#define STOA_TESTS_PARITY_LENET_CASE_H

#include "formats/idx.h"
#include "models/lenet.h"
#include "recording.h"

enum { LENET_PIXELS = 28 * 28 };

typedef struct LenetItems {
    void    *images; /* of the recording's dtype */
    int32_t *labels;
    uint32_t count;
} LenetItems;
typedef struct LenetBounds { /* relative */
    double   loss, gradient;
    double   final;       /* norms of the state at the end; 0: not compared */
    uint32_t early_steps; /* the first losses have a bound of their own; 0: no */
    double   early_loss;
} LenetBounds;

/* --- images ----------------------------------------------------------------------------------- */
static inline LenetItems lenet_case_items(Arena *arena, const Recording *r, uint32_t count) {
    size_t width = r->dtype == STOA_F64 ? sizeof(double) : sizeof(float);
    return (LenetItems){arena_push(arena, count * LENET_PIXELS * width, 64),
                        ARENA_ARRAY(arena, int32_t, count), count};
}
static inline void lenet_case_put(const Recording *r, LenetItems *items, uint32_t item,
                                  const double *image) {
    size_t first = (size_t)item * LENET_PIXELS;
    for (uint32_t k = 0; k < LENET_PIXELS; k++) {
        if (r->dtype == STOA_F64)
            ((double *)items->images)[first + k] = image[k];
        else
            ((float *)items->images)[first + k] = (float)image[k];
    }
}
/* Knuth's MMIX generator, its top bits. */
static inline uint32_t lenet_case_bits(uint64_t *state, uint32_t count) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> (64 - count));
}
/* Noise with a bright square whose place tells the label, in steps of 1/256. */
static inline LenetItems lenet_case_drawn(Arena *arena, const Recording *r) {
    uint64_t   state = 2024;
    LenetItems items = lenet_case_items(arena, r, recording_setting(r, "items", 0));
    double    *image = ARENA_ARRAY(arena, double, LENET_PIXELS);
    for (uint32_t i = 0; i < items.count; i++) {
        uint32_t label = lenet_case_bits(&state, 16) % 10;
        items.labels[i] = (int32_t)label;
        for (uint32_t k = 0; k < LENET_PIXELS; k++) image[k] = lenet_case_bits(&state, 7) / 256.0;
        for (uint32_t k = 0; k < 64; k++) image[(k / 8 + 2 * label) * 28 + k % 8 + label] += 0.5;
        lenet_case_put(r, &items, i, image);
    }
    return items;
}
/* The first items of Fashion-MNIST, grey levels over 255; count 0 after saying it is missing. */
static inline LenetItems lenet_case_fashion(Arena *arena, const Recording *r, uint32_t count) {
    static const char *const folder = "/usr/share/datasets/fashion-mnist";
    String                   path = str_format(arena, "%s/train-images-idx3-ubyte.gz", folder);
    String     labels_path = str_format(arena, "%s/train-labels-idx1-ubyte.gz", folder);
    LenetItems items = {0};
    Diags      diags;
    Idx        images, labels;
    if (!os_exists(path.data)) {
        printf("\n  skipped: the Debian package dataset-fashion-mnist is not installed\n ");
        EXPECT(!os_exists(path.data));
        return items;
    }
    diags_open(&diags, NULL);
    bool good = idx_read(arena, path.data, 1 << 30, &diags, &images) == STATUS_OK &&
                idx_read(arena, labels_path.data, 1 << 30, &diags, &labels) == STATUS_OK;
    diags_close(&diags);
    if (!EXPECT(good && images.dims[0] >= count && labels.dims[0] >= count)) return items;
    items = lenet_case_items(arena, r, count);
    double *image = ARENA_ARRAY(arena, double, LENET_PIXELS);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *grey = images.data + (size_t)i * LENET_PIXELS;
        for (uint32_t k = 0; k < LENET_PIXELS; k++) image[k] = grey[k] / 255.0;
        lenet_case_put(r, &items, i, image);
        items.labels[i] = labels.data[i];
    }
    return items;
}

/* --- running ---------------------------------------------------------------------------------- */
/* The model takes float32 images. The float64 recording has grey levels over 255 in float64, which
 * float32 cannot hold, so there the program is printed, the type of its input changed, and parsed
 * again. */
static inline bool lenet_case_retype(Engine *engine) {
    const char  *printed = NULL;
    StoaProgram *exact = NULL;
    if (!engine_good(engine, stoa_program_print(engine->program, &printed))) return false;
    size_t bytes = strlen(printed), found = 0;
    char  *text = malloc(bytes + 1);
    if (!EXPECT(text != NULL)) return false;
    memcpy(text, printed, bytes + 1);
    for (char *at = text; (at = strstr(at, "%images: f32[")) != NULL; at++, found++)
        memcpy(at + strlen("%images: "), "f64", 3);
    StoaStatus status = stoa_program_parse(engine->context, text, bytes, "lenet", &exact);
    free(text);
    if (!engine_good(engine, status) || !EXPECT_EQ(found, 3)) return false;
    stoa_program_destroy(engine->program);
    engine->program = exact;
    return true;
}

static inline bool lenet_case_open(Engine *engine, const Recording *r, const LenetConfig *config) {
    return engine_open(engine) && engine_good(engine, model_lenet_build(engine->program, config)) &&
           (r->dtype != STOA_F64 || lenet_case_retype(engine)) && engine_start(engine, r);
}

static inline bool lenet_case_step(Engine *engine, const Recording *r, const LenetItems *items,
                                   double rate, uint32_t step, double *out_loss) {
    double     norm;
    uint32_t   batch = recording_setting(r, "batch", 64), first = step * batch % items->count;
    size_t     width = r->dtype == STOA_F64 ? sizeof(double) : sizeof(float);
    uint8_t   *images = (uint8_t *)items->images + first * LENET_PIXELS * width;
    StoaTensor data[2] = {{r->dtype, 4, {batch, 1, 28, 28}, images},
                          {STOA_I32, 1, {batch}, items->labels + first}};
    return engine_step(engine, r->dtype, data, rate, step + 1, out_loss, &norm);
}

static inline void lenet_case_curve(Arena *arena, const Recording *r, const LenetItems *items,
                                    const LenetBounds *bounds) {
    uint32_t    steps = recording_setting(r, "steps", 20), done = 0;
    double     *loss = ARENA_ARRAY_ZERO(arena, double, steps + 1);
    LenetConfig config = model_lenet_preset();
    Engine      engine;
    config.dtype = r->dtype;
    if (lenet_case_open(&engine, r, &config)) {
        while (done < steps && lenet_case_step(&engine, r, items, 0.05, done, &loss[done])) done++;
        if (bounds->early_steps > 0 && done >= bounds->early_steps)
            compare_series(arena, r, "loss", loss, bounds->early_steps, bounds->early_loss);
        compare_series(arena, r, "loss", loss, done, bounds->loss);
        if (bounds->final > 0) compare_norms(arena, r, &engine, "final", "", bounds->final);
        EXPECT_EQ(done, steps);
    }
    engine_close(&engine);
}

static inline void lenet_case_gradients(Arena *arena, const Recording *r, const LenetItems *items,
                                        const LenetBounds *bounds) {
    LenetConfig config = model_lenet_preset();
    Engine      engine;
    double      loss = 0;
    config.dtype = r->dtype;
    config.optimizer = (StoaOptimizerOptions)STOA_OPTIMIZER_OPTIONS;
    config.optimizer.kind = STOA_SGD;
    if (lenet_case_open(&engine, r, &config) && lenet_case_step(&engine, r, items, 0, 0, &loss))
        compare_norms(arena, r, &engine, "grad_norm_step0", "optimizer.momentum.",
                      bounds->gradient);
    engine_close(&engine);
}

#endif
