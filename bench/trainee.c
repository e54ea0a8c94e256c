/* Models by name, random data, and the step. Data does not matter to speed (no path depends on it)
 * but must be valid: tokens below the vocabulary, labels below ten. */
#include "bench/trainee.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, CLASSES = 10 };
static const float RATE = 1e-3f;

typedef struct Size {
    const char *name;
    bool        images;
    uint32_t    vocab, context, layers, heads, width, batch, length;
} Size;
static const Size sizes[] = {
    {"nano", false, 256, 128, 4, 4, 128, 8, 128},
    {"10m", false, 256, 256, 6, 6, 384, 4, 256},
    {"124m", false, 50257, 1024, 12, 12, 768, 2, 256},
    {"lenet", true, 0, 0, 0, 0, 0, 64, 1},
    {"12-layer", false, 256, 128, 12, 4, 128, 2, 32},
    {"96-layer", false, 256, 128, 96, 4, 128, 2, 32},
    {"tiny", false, 64, 32, 1, 2, 16, 2, 16},
};

TraineeModel trainee_model(const char *name) {
    TraineeModel model = {.name = NULL};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const Size *size = &sizes[i];
        if (strcmp(size->name, name) != 0) continue;
        model = (TraineeModel){.name = size->name,
                               .images = size->images,
                               .gpt = model_gpt_preset(),
                               .batch = size->batch,
                               .length = size->length};
        model.gpt.vocab = size->vocab;
        model.gpt.context = size->context;
        model.gpt.layers = size->layers;
        model.gpt.heads = size->heads;
        model.gpt.width = size->width;
    }
    return model;
}

static bool good(const Trainee *t, StoaStatus status) {
    if (status != STOA_OK) (void)fprintf(stderr, "%s\n", stoa_message(t->context));
    return status == STOA_OK;
}

static bool make_data(Trainee *t, size_t rows) {
    size_t count = rows * (t->model.images ? 1 : t->model.gpt.context), pixels = rows * SIDE * SIDE;
    uint32_t limit = t->model.images ? CLASSES : t->model.gpt.vocab, random = 1;
    t->tokens = malloc(count * sizeof *t->tokens);
    t->targets = malloc(count * sizeof *t->targets);
    t->pixels = t->model.images ? malloc(pixels * sizeof *t->pixels) : NULL;
    if (!t->tokens || !t->targets || (t->model.images && !t->pixels)) {
        (void)fprintf(stderr, "no memory for the data\n");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u; /* Numerical Recipes */
        t->tokens[i] = (int32_t)((random >> 8) % limit);
        t->targets[i] = (int32_t)((random >> 4) % limit);
    }
    for (size_t i = 0; t->model.images && i < pixels; i++) {
        random = random * 1664525u + 1013904223u;
        t->pixels[i] = (float)(random >> 8) * 0x1p-24f;
    }
    return true;
}

bool trainee_open(Trainee *t, const TraineeModel *model, const TraineeOptions *options) {
    StoaContextOptions given = STOA_CONTEXT_OPTIONS;
    given.lanes = options->lanes;
    given.kernel_cache = options->kernel_cache;
    *t = (Trainee){.model = *model, .rate = RATE};
    if (!make_data(t, options->rows_max)) return false;
    if (stoa_context_create(&given, &t->context) == STOA_OK) return true;
    (void)fprintf(stderr, "no memory for a context\n");
    return false;
}
bool trainee_build(Trainee *t) {
    LenetConfig lenet = model_lenet_preset();
    return good(t, stoa_program_create(t->context, &t->program)) &&
           good(t, t->model.images ? model_lenet_build(t->program, &lenet)
                                   : model_gpt_build(t->program, &t->model.gpt));
}
bool trainee_compile(Trainee *t) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.memory_budget = t->memory_budget;
    options.device = t->device;
    options.compute = t->compute;
    options.f8_products = t->f8_products;
    options.f8_block = t->f8_block;
    return good(t, stoa_compile(t->program, &options, &t->session));
}
void trainee_close(Trainee *t) {
    stoa_session_destroy(t->session);
    stoa_program_destroy(t->program);
    stoa_context_destroy(t->context);
    free(t->tokens);
    free(t->targets);
    free(t->pixels);
}

void trainee_inputs(Trainee *t, uint32_t batch, uint32_t length,
                    StoaTensor out_inputs[TRAINEE_INPUTS]) {
    if (t->model.images) {
        out_inputs[0] = (StoaTensor){STOA_F32, 4, {batch, 1, SIDE, SIDE}, t->pixels};
        out_inputs[1] = (StoaTensor){STOA_I32, 1, {batch}, t->tokens};
    } else {
        out_inputs[0] = (StoaTensor){STOA_I32, 2, {batch, length}, t->tokens};
        out_inputs[1] = (StoaTensor){STOA_I32, 2, {batch, length}, t->targets};
    }
    out_inputs[2] = (StoaTensor){STOA_F32, 0, {0}, &t->rate};
    out_inputs[3] = (StoaTensor){STOA_F32, 0, {0}, &t->step};
}

bool trainee_step(Trainee *t, uint32_t batch, uint32_t length) {
    StoaTensor inputs[TRAINEE_INPUTS];
    StoaTensor outputs[2] = {{STOA_NONE, 0, {0}, &t->loss}, {STOA_NONE, 0, {0}, &t->norm}};
    trainee_inputs(t, batch, length, inputs);
    t->step += 1;
    return good(t, stoa_run(t->session, "train", inputs, TRAINEE_INPUTS, outputs, 2, NULL));
}
