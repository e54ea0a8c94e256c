/* A training program of models/ with random data, through the public header: what the suites
 * train, compile, shapes and peers have in common. Sizes are those that the peers use as well. */
#ifndef STOA_BENCH_TRAINEE_H
#define STOA_BENCH_TRAINEE_H

#include "models/gpt.h"
#include "models/lenet.h"

typedef struct TraineeModel {
    const char *name;
    bool        images; /* LeNet; otherwise the GPT */
    GptConfig   gpt;
    uint32_t    batch, length; /* of a step; images have no length */
} TraineeModel;
/* nano, 10m, 124m (parameters), lenet; 12-layer and 96-layer, which are nano with more layers and
 * a short step; tiny, for smoke runs. The name of the result is NULL if there is no such model. */
TraineeModel trainee_model(const char *name);

typedef struct Trainee {
    TraineeModel model;
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    int32_t     *tokens;  /* batch x length, or labels */
    int32_t     *targets; /* batch x length */
    float       *pixels;
    float        rate, step, loss, norm; /* in: rate; out: the others */
    uint64_t     memory_budget;          /* in, before compiling; 0: none */
    const char  *device;                 /* likewise; NULL: the CPU */
    StoaDtype    compute;                /* likewise; STOA_NONE: as the model is written */
    uint32_t     f8_products, f8_block;  /* likewise: as of StoaCompileOptions */
} Trainee;

/* The parts of getting ready, in this order, so that each can be timed. False with a message on
 * stderr. trainee_close takes what there is. */
typedef struct TraineeOptions {
    uint32_t    lanes;        /* 0: one per usable core */
    uint32_t    rows_max;     /* of a batch: how much data is made */
    const char *kernel_cache; /* folder; NULL: none */
} TraineeOptions;
bool trainee_open(Trainee *trainee, const TraineeModel *model, const TraineeOptions *options);
bool trainee_build(Trainee *trainee);
bool trainee_compile(Trainee *trainee);
void trainee_close(Trainee *trainee);

enum { TRAINEE_INPUTS = 4 };
/* The inputs of `train` for a batch of rows and a length, on the data of the trainee. */
void trainee_inputs(Trainee *trainee, uint32_t batch, uint32_t length,
                    StoaTensor out_inputs[TRAINEE_INPUTS]);
/* One step; `step` counts up, loss and norm are set. */
bool trainee_step(Trainee *trainee, uint32_t batch, uint32_t length);

#endif
