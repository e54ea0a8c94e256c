/* The convolutional model: conv 1->8 (5x5, padding 2), batch norm, relu, max pool 2, conv 8->16
 * (3x3, stride 2, two groups), batch norm, relu, linear 576->64, relu, linear 64->10. Initial
 * weights are uniform within 1 / sqrt(inputs of a unit). The bias of a convolution is a broadcast
 * and an addition: the operator has none. Running statistics are state, so that the optimizer
 * leaves them alone, and are assigned in `train` only. */
#include "models/lenet.h"

#include <math.h>
#include <stdio.h>

enum { SIDE = 28, CLASSES = 10, FLAT = 576, HIDDEN = 64 };
static const double NORM_EPSILON = 1e-5, NORM_MOMENTUM = 0.1;

typedef struct Builder {
    StoaProgram *program;
    StoaDtype    dtype;
    StoaDim      batch;
    bool         training;
} Builder;

enum { NAME_BYTES = 32 };

static StoaValue weight(Builder *builder, const char *layer, const char *part, const int64_t *sizes,
                        uint32_t rank, int64_t fan_in) {
    char   name[NAME_BYTES];
    double scale = 1 / sqrt((double)fan_in);
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return stoa_parameter(builder->program, name, builder->dtype, sizes, rank, STOA_INIT_UNIFORM,
                          scale);
}

/* [count] along axis 1 of the shape of like. */
static StoaValue along_channels(Builder *builder, StoaValue x, StoaValue like) {
    StoaDim  shape[4];
    uint32_t rank = stoa_value_rank(builder->program, like);
    int64_t  axes[] = {1};
    for (uint32_t i = 0; i < rank && i < 4; i++)
        shape[i] = stoa_value_dim(builder->program, like, i);
    return stoa_broadcast_in_dim(builder->program, x, shape, rank, axes, 1);
}

typedef struct Conv {
    const char *name;
    int64_t     in, out, window, stride, padding, groups;
} Conv;

static StoaValue convolution(Builder *builder, StoaValue x, const Conv *conv) {
    StoaProgram *p = builder->program;
    int64_t      fan_in = conv->in / conv->groups * conv->window * conv->window;
    int64_t      sizes[] = {conv->out, conv->in / conv->groups, conv->window, conv->window};
    int64_t      strides[] = {conv->stride, conv->stride};
    StoaDim      padding = stoa_dim(p, conv->padding);
    StoaDim      around[] = {padding, padding};
    StoaValue    w = weight(builder, conv->name, "weight", sizes, 4, fan_in);
    StoaValue    b = weight(builder, conv->name, "bias", &conv->out, 1, fan_in);
    StoaValue    y =
        stoa_convolution(p, x, w, strides, 2, around, 2, around, 2, NULL, 0, NULL, 0, conv->groups);
    return stoa_add(p, y, along_channels(builder, b, y));
}

static StoaValue channel_vector(Builder *builder, const char *layer, const char *part,
                                int64_t count, bool state, StoaInit init) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return state ? stoa_state(builder->program, name, builder->dtype, &count, 1, init, 1)
                 : stoa_parameter(builder->program, name, builder->dtype, &count, 1, init, 1);
}

static StoaValue norm(Builder *builder, StoaValue x, const char *name, int64_t count) {
    StoaValue w = channel_vector(builder, name, "weight", count, false, STOA_INIT_ONES);
    StoaValue b = channel_vector(builder, name, "bias", count, false, STOA_INIT_ZEROS);
    StoaValue mean = channel_vector(builder, name, "running_mean", count, true, STOA_INIT_ZEROS);
    StoaValue var = channel_vector(builder, name, "running_var", count, true, STOA_INIT_ONES);
    StoaValue y, new_mean, new_var;
    stoa_batch_norm(builder->program, x, w, b, mean, var, NORM_EPSILON, NORM_MOMENTUM,
                    builder->training, &y, &new_mean, &new_var);
    if (builder->training) {
        stoa_assign(builder->program, mean, new_mean);
        stoa_assign(builder->program, var, new_var);
    }
    return y;
}

static StoaValue linear(Builder *builder, StoaValue x, const char *name, int64_t out, int64_t in) {
    int64_t   sizes[] = {out, in};
    StoaValue w = weight(builder, name, "weight", sizes, 2, in);
    StoaValue b = weight(builder, name, "bias", &out, 1, in);
    return stoa_linear(builder->program, x, w, b);
}

/* images[B,1,28,28] to logits[B,10]. */
static StoaValue forward(Builder *builder, StoaValue images) {
    static const Conv first = {"c1", 1, 8, 5, 1, 2, 1}, second = {"c2", 8, 16, 3, 2, 0, 2};
    StoaProgram      *p = builder->program;
    StoaDim           zero = stoa_dim(p, 0), none[] = {zero, zero};
    StoaDim           flat[] = {builder->batch, stoa_dim(p, FLAT)};
    int64_t           two[] = {2, 2};
    StoaValue         x = images;
    if (builder->dtype != STOA_F32) x = stoa_convert(p, x, builder->dtype);
    x = stoa_relu(p, norm(builder, convolution(builder, x, &first), "b1", first.out));
    x = stoa_max_pool(p, x, two, 2, two, 2, none, 2, none, 2);
    x = stoa_relu(p, norm(builder, convolution(builder, x, &second), "b2", second.out));
    x = stoa_reshape(p, x, flat, 2);
    x = stoa_relu(p, linear(builder, x, "f1", HIDDEN, FLAT));
    return linear(builder, x, "f2", CLASSES, HIDDEN);
}

static StoaValue mean_loss(Builder *builder, StoaValue logits, StoaValue labels) {
    int64_t   axis = 0;
    StoaValue losses = stoa_cross_entropy(builder->program, logits, labels);
    StoaValue loss = stoa_mean(builder->program, losses, &axis, 1);
    stoa_name(builder->program, loss, "loss");
    return loss;
}

/* Share of rows whose greatest logit stands at the label. */
static StoaValue accuracy(Builder *builder, StoaValue logits, StoaValue labels) {
    StoaProgram *p = builder->program;
    int64_t      axis = 0;
    StoaValue    best = stoa_arg_reduce(p, logits, STOA_REDUCE_MAX, 1);
    StoaValue    wanted = stoa_convert(p, labels, STOA_I64);
    StoaValue    right = stoa_compare(p, best, wanted, STOA_COMPARE_EQ);
    return stoa_mean(p, stoa_convert(p, right, builder->dtype), &axis, 1);
}

static StoaValue image_input(Builder *builder) {
    StoaProgram *p = builder->program;
    StoaDim      dims[] = {builder->batch, stoa_dim(p, 1), stoa_dim(p, SIDE), stoa_dim(p, SIDE)};
    return stoa_input(p, "images", STOA_F32, dims, 4);
}

static void train_graph(Builder *builder, const StoaOptimizerOptions *optimizer) {
    StoaProgram *p = builder->program;
    builder->training = true;
    stoa_graph_begin(p, "train");
    StoaValue images = image_input(builder);
    StoaValue labels = stoa_input(p, "labels", STOA_I32, &builder->batch, 1);
    StoaValue rate = stoa_input(p, "rate", builder->dtype, NULL, 0);
    StoaValue step = stoa_input(p, "step", builder->dtype, NULL, 0);
    StoaValue loss = mean_loss(builder, forward(builder, images), labels);
    StoaValue gradient_norm = stoa_optimize(p, loss, rate, step, optimizer);
    stoa_output(p, "loss", loss);
    stoa_output(p, "norm", gradient_norm);
    stoa_graph_end(p);
    builder->training = false;
}

static void reading_graphs(Builder *builder) {
    StoaProgram *p = builder->program;
    stoa_graph_begin(p, "evaluate");
    StoaValue images = image_input(builder);
    StoaValue labels = stoa_input(p, "labels", STOA_I32, &builder->batch, 1);
    StoaValue logits = forward(builder, images);
    stoa_output(p, "loss", mean_loss(builder, logits, labels));
    stoa_output(p, "accuracy", accuracy(builder, logits, labels));
    stoa_graph_end(p);
    stoa_graph_begin(p, "predict");
    images = image_input(builder);
    stoa_output(p, "logits", forward(builder, images));
    stoa_graph_end(p);
}

LenetConfig model_lenet_preset(void) {
    StoaOptimizerOptions optimizer = STOA_OPTIMIZER_OPTIONS;
    optimizer.kind = STOA_SGD;
    optimizer.momentum = 0.9;
    optimizer.nesterov = true;
    optimizer.decay = 1e-4;
    return (LenetConfig){.dtype = STOA_F32, .optimizer = optimizer};
}

const char *model_lenet_problem(const LenetConfig *config) {
    if (config->dtype != STOA_F32 && config->dtype != STOA_F64) return "dtype must be f32 or f64";
    return NULL;
}

uint64_t model_lenet_parameters(void) {
    uint64_t convolutions = 8 * (25 + 1) + 16 * (4 * 9 + 1), norms = 2 * (8 + 16);
    return convolutions + norms + HIDDEN * (FLAT + 1) + CLASSES * (HIDDEN + 1);
}

StoaStatus model_lenet_build(StoaProgram *program, const LenetConfig *config) {
    if (model_lenet_problem(config) != NULL) return STOA_INVALID;
    Builder builder = {.program = program, .dtype = config->dtype};
    builder.batch = stoa_dim_symbol(program, "B");
    if (config->likely_batch > 0) stoa_dim_hint(program, builder.batch, config->likely_batch);
    train_graph(&builder, &config->optimizer);
    reading_graphs(&builder);
    return stoa_program_check(program);
}
