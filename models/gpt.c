/* The GPT model. Pre-norm blocks: x + proj(attention(ln1(x))), then x + fc2(gelu(fc1(ln2(x)))) with
 * the tanh form of gelu; qkv is one linear layer whose output splits into q, k and v, in that
 * order, and each of them into heads; learned positions; the logits are lnf(x) times the embedding
 * transposed. Initial weights as in GPT-2: normal with deviation 0.02, the two layers that write
 * to the residual stream narrower by sqrt(2 layers). Layer norms add 1e-5 to the variance. */
#include "models/gpt.h"

#include <math.h>
#include <stdio.h>

static const double INIT_SCALE = 0.02, NORM_EPSILON = 1e-5;

typedef struct Builder {
    StoaProgram     *program;
    const GptConfig *config;
    StoaDim          batch, length, width; /* B, T, C */
    StoaValue        seed;                 /* of dropout; value 0: no dropout in this graph */
    int64_t          stream;               /* next number stream of dropout */
} Builder;

typedef struct Linear {
    StoaValue weight, bias;
} Linear;

typedef struct Block {
    Linear ln1, qkv, proj, ln2, fc1, fc2;
} Block;

typedef struct Parameters { /* those outside the blocks */
    StoaValue wte, wpe, head;
    Linear    lnf;
} Parameters;

/* --- parameters ------------------------------------------------------------------------------- */

static StoaValue matrix(Builder *builder, const char *name, uint32_t rows, uint32_t columns,
                        double scale) {
    int64_t sizes[] = {rows, columns};
    return stoa_parameter(builder->program, name, builder->config->dtype, sizes, 2,
                          STOA_INIT_NORMAL, scale);
}

static StoaValue vector(Builder *builder, const char *name, uint32_t count, StoaInit init) {
    int64_t sizes[] = {count};
    return stoa_parameter(builder->program, name, builder->config->dtype, sizes, 1, init, 1);
}

enum { NAME_BYTES = 32 };

static Linear norm(Builder *builder, int layer, const char *part) {
    char     name[NAME_BYTES];
    Linear   made;
    uint32_t width = builder->config->width;
    snprintf(name, sizeof name, "h.%d.%s.weight", layer, part);
    made.weight = vector(builder, name, width, STOA_INIT_ONES);
    snprintf(name, sizeof name, "h.%d.%s.bias", layer, part);
    made.bias = vector(builder, name, width, STOA_INIT_ZEROS);
    return made;
}

static Linear linear(Builder *builder, int layer, const char *part, uint32_t out, uint32_t in,
                     double scale) {
    char   name[NAME_BYTES];
    Linear made;
    snprintf(name, sizeof name, "h.%d.%s.weight", layer, part);
    made.weight = matrix(builder, name, out, in, scale);
    snprintf(name, sizeof name, "h.%d.%s.bias", layer, part);
    made.bias = vector(builder, name, out, STOA_INIT_ZEROS);
    return made;
}

static Block block_parameters(Builder *builder, int layer) {
    uint32_t c = builder->config->width;
    double   narrow = INIT_SCALE / sqrt(2.0 * builder->config->layers);
    Block    block;
    block.ln1 = norm(builder, layer, "ln1");
    block.qkv = linear(builder, layer, "qkv", 3 * c, c, INIT_SCALE);
    block.proj = linear(builder, layer, "proj", c, c, narrow);
    block.ln2 = norm(builder, layer, "ln2");
    block.fc1 = linear(builder, layer, "fc1", 4 * c, c, INIT_SCALE);
    block.fc2 = linear(builder, layer, "fc2", c, 4 * c, narrow);
    return block;
}

static Parameters outer_parameters(Builder *builder) {
    const GptConfig *config = builder->config;
    Parameters       outer;
    outer.wte = matrix(builder, "wte.weight", config->vocab, config->width, INIT_SCALE);
    outer.wpe = matrix(builder, "wpe.weight", config->context, config->width, INIT_SCALE);
    outer.lnf.weight = vector(builder, "lnf.weight", config->width, STOA_INIT_ONES);
    outer.lnf.bias = vector(builder, "lnf.bias", config->width, STOA_INIT_ZEROS);
    outer.head = config->untied_head
                     ? matrix(builder, "head.weight", config->vocab, config->width, INIT_SCALE)
                     : outer.wte;
    return outer;
}

/* --- the forward pass ------------------------------------------------------------------------- */

static StoaValue drop(Builder *builder, StoaValue x) {
    if (builder->seed.id == 0) return x;
    return stoa_dropout(builder->program, x, builder->seed, builder->config->dropout,
                        builder->stream++);
}

static StoaValue apply_norm(Builder *builder, StoaValue x, Linear layer) {
    return stoa_layer_norm(builder->program, x, layer.weight, layer.bias, NORM_EPSILON);
}

static StoaValue apply_linear(Builder *builder, StoaValue x, Linear layer) {
    return stoa_linear(builder->program, x, layer.weight, layer.bias);
}

/* Third `part` of qkv[B,T,3C] as [B,H,T,D]. */
static StoaValue heads_of(Builder *builder, StoaValue qkv, uint32_t part) {
    StoaProgram *p = builder->program;
    uint32_t     width = builder->config->width, heads = builder->config->heads;
    StoaDim      zero = stoa_dim(p, 0);
    StoaDim      starts[] = {zero, zero, stoa_dim(p, (int64_t)part * width)};
    StoaDim limits[] = {builder->batch, builder->length, stoa_dim(p, ((int64_t)part + 1) * width)};
    StoaDim split[] = {builder->batch, builder->length, stoa_dim(p, heads),
                       stoa_dim(p, width / heads)};
    int64_t permutation[] = {0, 2, 1, 3};
    StoaValue x = stoa_slice(p, qkv, starts, 3, limits, 3, NULL, 0);
    return stoa_transpose(p, stoa_reshape(p, x, split, 4), permutation, 4);
}

static StoaValue apply_attention(Builder *builder, StoaValue x, const Block *block) {
    StoaProgram *p = builder->program;
    int64_t      permutation[] = {0, 2, 1, 3};
    StoaDim      joined[] = {builder->batch, builder->length, builder->width};
    StoaValue    qkv = apply_linear(builder, x, block->qkv);
    StoaValue    q = heads_of(builder, qkv, 0);
    StoaValue    k = heads_of(builder, qkv, 1);
    StoaValue    v = heads_of(builder, qkv, 2);
    StoaValue    y = stoa_attention(p, q, k, v, 0, true); /* scale 0: 1 / sqrt(D) */
    y = stoa_reshape(p, stoa_transpose(p, y, permutation, 4), joined, 3);
    return drop(builder, apply_linear(builder, y, block->proj));
}

static StoaValue apply_block(Builder *builder, StoaValue x, const Block *block) {
    StoaProgram *p = builder->program;
    StoaValue    y = apply_norm(builder, x, block->ln1);
    x = stoa_add(p, x, apply_attention(builder, y, block));
    y = apply_linear(builder, apply_norm(builder, x, block->ln2), block->fc1);
    y = apply_linear(builder, stoa_gelu(p, y, true), block->fc2);
    return stoa_add(p, x, drop(builder, y));
}

/* tokens[B,T] to logits[B,T,V]. */
static StoaValue forward(Builder *builder, StoaValue tokens) {
    StoaProgram *p = builder->program;
    Parameters   outer = outer_parameters(builder);
    StoaDim      zeros[] = {stoa_dim(p, 0), stoa_dim(p, 0)};
    StoaDim      limits[] = {builder->length, builder->width};
    StoaDim      shape[] = {builder->batch, builder->length, builder->width};
    int64_t      axes[] = {1, 2};
    StoaValue    positions = stoa_slice(p, outer.wpe, zeros, 2, limits, 2, NULL, 0);
    positions = stoa_broadcast_in_dim(p, positions, shape, 3, axes, 2);
    StoaValue x = drop(builder, stoa_add(p, stoa_embedding(p, outer.wte, tokens), positions));
    for (uint32_t layer = 0; layer < builder->config->layers; layer++) {
        Block block = block_parameters(builder, (int)layer);
        x = apply_block(builder, x, &block);
    }
    return stoa_linear(p, apply_norm(builder, x, outer.lnf), outer.head, (StoaValue){0});
}

static StoaValue mean_loss(Builder *builder, StoaValue tokens, StoaValue targets) {
    int64_t   axes[] = {0, 1};
    StoaValue losses = stoa_cross_entropy(builder->program, forward(builder, tokens), targets);
    StoaValue loss = stoa_mean(builder->program, losses, axes, 2);
    stoa_name(builder->program, loss, "loss");
    return loss;
}

/* --- graphs ----------------------------------------------------------------------------------- */

static StoaValue token_input(Builder *builder, const char *name) {
    StoaDim dims[] = {builder->batch, builder->length};
    return stoa_input(builder->program, name, STOA_I32, dims, 2);
}

static StoaValue scalar_input(Builder *builder, const char *name) {
    return stoa_input(builder->program, name, builder->config->dtype, NULL, 0);
}

/* With dropout only. */
static void seed_input(Builder *builder) {
    builder->seed = (StoaValue){0};
    builder->stream = 0;
    if (builder->config->dropout > 0)
        builder->seed = stoa_input(builder->program, "seed", STOA_I64, NULL, 0);
}

/* `train`, or `accumulate`, which has neither rate nor step. */
static void learning_graph(Builder *builder, const char *name, StoaOptimizePart part) {
    StoaProgram *p = builder->program;
    bool         whole = part == STOA_OPTIMIZE_STEP;
    stoa_graph_begin(p, name);
    StoaValue tokens = token_input(builder, "tokens");
    StoaValue targets = token_input(builder, "targets");
    StoaValue rate = whole ? scalar_input(builder, "rate") : (StoaValue){0};
    StoaValue step = whole ? scalar_input(builder, "step") : (StoaValue){0};
    seed_input(builder);
    StoaOptimizerOptions optimizer = builder->config->optimizer;
    optimizer.part = part;
    optimizer.accumulate = builder->config->accumulate;
    StoaValue loss = mean_loss(builder, tokens, targets);
    StoaValue gradient_norm = stoa_optimize(p, loss, rate, step, &optimizer);
    stoa_output(p, "loss", loss);
    if (whole) stoa_output(p, "norm", gradient_norm);
    stoa_graph_end(p);
}

static void apply_graph(Builder *builder) {
    StoaProgram *p = builder->program;
    stoa_graph_begin(p, "apply");
    StoaValue            rate = scalar_input(builder, "rate");
    StoaValue            step = scalar_input(builder, "step");
    StoaOptimizerOptions optimizer = builder->config->optimizer;
    optimizer.part = STOA_OPTIMIZE_APPLY;
    optimizer.accumulate = builder->config->accumulate;
    (void)outer_parameters(builder);
    for (uint32_t i = 0; i < builder->config->layers; i++) (void)block_parameters(builder, (int)i);
    stoa_output(p, "norm", stoa_optimize(p, (StoaValue){0}, rate, step, &optimizer));
    stoa_graph_end(p);
}

static void reading_graphs(Builder *builder) {
    StoaProgram *p = builder->program;
    builder->seed = (StoaValue){0};
    stoa_graph_begin(p, "evaluate");
    StoaValue tokens = token_input(builder, "tokens");
    StoaValue targets = token_input(builder, "targets");
    stoa_output(p, "loss", mean_loss(builder, tokens, targets));
    stoa_graph_end(p);
    stoa_graph_begin(p, "predict");
    tokens = token_input(builder, "tokens");
    stoa_output(p, "logits", forward(builder, tokens));
    stoa_graph_end(p);
}

/* --- public ----------------------------------------------------------------------------------- */

GptConfig model_gpt_preset(void) {
    GptConfig            config = {.dtype = STOA_F32, .vocab = 2048, .context = 128, .layers = 4};
    StoaOptimizerOptions optimizer = STOA_OPTIMIZER_OPTIONS;
    config.heads = 4;
    config.width = 128;
    config.accumulate = 1;
    optimizer.kind = STOA_ADAMW;
    optimizer.beta1 = 0.9;
    optimizer.beta2 = 0.95;
    optimizer.epsilon = 1e-8;
    optimizer.decay = 0.1;
    optimizer.decay_rank = 2;
    optimizer.clip = 1;
    config.optimizer = optimizer;
    return config;
}

const char *model_gpt_problem(const GptConfig *config) {
    if (config->dtype != STOA_F32 && config->dtype != STOA_F64) return "dtype must be f32 or f64";
    if (config->vocab < 1) return "the vocabulary is empty";
    if (config->context < 1) return "the context must hold at least one token";
    if (config->layers < 1) return "at least one layer is needed";
    if (config->heads < 1 || config->width < 1) return "heads and width must be at least 1";
    if (config->width % config->heads != 0) return "the width must be a multiple of the heads";
    if (config->length > config->context) return "the length is beyond the context";
    if (!(config->dropout >= 0 && config->dropout < 1)) return "dropout must be from 0 to below 1";
    return NULL;
}

uint64_t model_gpt_parameters(const GptConfig *config) {
    uint64_t c = config->width;
    uint64_t block = 12 * c * c + 13 * c;
    uint64_t tables = ((config->untied_head ? 2 : 1) * (uint64_t)config->vocab + config->context);
    return tables * c + config->layers * block + 2 * c;
}

StoaStatus model_gpt_build(StoaProgram *program, const GptConfig *config) {
    if (model_gpt_problem(config) != NULL) return STOA_INVALID;
    Builder builder = {.program = program, .config = config};
    builder.batch =
        config->batch ? stoa_dim(program, config->batch) : stoa_dim_symbol(program, "B");
    builder.width = stoa_dim(program, config->width);
    if (config->length > 0) {
        builder.length = stoa_dim(program, config->length);
    } else {
        builder.length = stoa_dim_symbol(program, "T");
        stoa_dim_range(program, builder.length, 1, config->context);
        if (config->likely_length > 0)
            stoa_dim_hint(program, builder.length, config->likely_length);
    }
    if (config->batch == 0 && config->likely_batch > 0)
        stoa_dim_hint(program, builder.batch, config->likely_batch);
    learning_graph(&builder, "train", STOA_OPTIMIZE_STEP);
    if (config->accumulate > 1) {
        learning_graph(&builder, "accumulate", STOA_OPTIMIZE_ACCUMULATE);
        apply_graph(&builder);
    }
    reading_graphs(&builder);
    return stoa_program_check(program);
}
