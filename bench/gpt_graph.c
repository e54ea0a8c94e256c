/* The rows of the model in program order. Sizes are small because only planning reads them; what a
 * system does with a row does not depend on how large the tensors are. */
#include "bench/gpt_graph.h"

typedef struct Gpt {
    World   *world;
    Build    build;
    DimId    batch, time, width;
    ValueId *parameters;
    uint32_t count;
} Gpt;

/* --- names and parameters --------------------------------------------------------------------- */

/* "h12.mlp.weight"; without a layer "wte.weight". Written by hand: formatting would be measured. */
static StrId gpt_name(Gpt *g, int64_t layer, const char *part, const char *what) {
    char     name[64], digits[20];
    uint32_t count = 0, n = 0;
    if (layer >= 0) {
        name[count++] = 'h';
        do digits[n++] = (char)('0' + layer % 10);
        while ((layer /= 10) != 0);
        while (n > 0) name[count++] = digits[--n];
        name[count++] = '.';
    }
    while (*part) name[count++] = *part++;
    while (*what) name[count++] = *what++;
    return strings_add(&g->world->strings, (String){name, count});
}

static ValueId parameter_row(Gpt *g, StrId name, TypeId type, InitKind init, bool trainable) {
    uint64_t words[6] = {0};
    words[ATTR_PARAMETER_name] = name.row;
    words[ATTR_PARAMETER_type] = type.row;
    words[ATTR_PARAMETER_init] = init;
    words[ATTR_PARAMETER_scale] = word_of_f64(0.02);
    words[ATTR_PARAMETER_trainable] = trainable;
    return build_op(&g->build, OP_PARAMETER, NULL, 0, words);
}
/* rows: 0 for a vector of `columns`. */
static ValueId parameter(Gpt *g, StrId name, int64_t rows, int64_t columns) {
    Dims  *dims = &g->world->dims;
    Types *types = &g->world->types;
    DimId  sizes[2] = {dims_const(dims, rows ? rows : columns), dims_const(dims, columns)};
    TypeId type = types_type(types, DTYPE_F32, types_shape(types, sizes, rows ? 2 : 1));
    return g->parameters[g->count++] = parameter_row(g, name, type, INIT_NORMAL, true);
}

/* --- parts of the model ----------------------------------------------------------------------- */

static ValueId layer_norm(Gpt *g, int64_t layer, const char *part, ValueId x) {
    ValueId operands[3] = {x};
    operands[1] = parameter(g, gpt_name(g, layer, part, ".weight"), 0, GPT_WIDTH);
    operands[2] = parameter(g, gpt_name(g, layer, part, ".bias"), 0, GPT_WIDTH);
    return build_op(&g->build, OP_LAYER_NORM, operands, 3, NULL);
}
static ValueId linear(Gpt *g, int64_t layer, const char *part, ValueId x, int64_t in, int64_t out) {
    ValueId operands[3] = {x};
    operands[1] = parameter(g, gpt_name(g, layer, part, ".weight"), out, in);
    operands[2] = parameter(g, gpt_name(g, layer, part, ".bias"), 0, out);
    return build_op(&g->build, OP_LINEAR, operands, 3, NULL);
}
/* x[B,T,3C] columns [k C, (k+1) C) as [B,heads,T,C/heads]. */
static ValueId head(Gpt *g, ValueId x, int64_t k) {
    static const int64_t permutation[4] = {0, 2, 1, 3};
    Dims                *dims = &g->world->dims;
    DimId                zero = dims_const(dims, 0);
    DimId                starts[3] = {zero, zero, dims_const(dims, k * GPT_WIDTH)};
    DimId                limits[3] = {g->batch, g->time, dims_const(dims, (k + 1) * GPT_WIDTH)};
    DimId                split[4] = {g->batch, g->time, dims_const(dims, GPT_HEADS),
                                     dims_const(dims, GPT_WIDTH / GPT_HEADS)};
    uint64_t words[3] = {build_sizes(&g->build, starts, 3), build_sizes(&g->build, limits, 3), 0};
    ValueId  part = build_op(&g->build, OP_SLICE, &x, 1, words);
    return build_transpose(&g->build, build_reshape(&g->build, part, split, 4), permutation, 4);
}
static ValueId attention(Gpt *g, int64_t layer, ValueId x) {
    static const int64_t permutation[4] = {0, 2, 1, 3};
    ValueId              qkv = linear(g, layer, "qkv", x, GPT_WIDTH, 3 * GPT_WIDTH);
    ValueId              operands[3] = {head(g, qkv, 0), head(g, qkv, 1), head(g, qkv, 2)};
    DimId                merged[3] = {g->batch, g->time, g->width};
    uint64_t             words[2];
    words[ATTR_ATTENTION_scale] = word_of_f64(0);
    words[ATTR_ATTENTION_causal] = 1;
    ValueId y = build_op(&g->build, OP_ATTENTION, operands, 3, words);
    y = build_reshape(&g->build, build_transpose(&g->build, y, permutation, 4), merged, 3);
    return linear(g, layer, "proj", y, GPT_WIDTH, GPT_WIDTH);
}
static ValueId layer_rows(Gpt *g, int64_t layer, ValueId x) {
    uint64_t tanh_word = 1;
    ValueId  y = attention(g, layer, layer_norm(g, layer, "ln1", x));
    x = build_binary(&g->build, OP_ADD, x, y);
    y = linear(g, layer, "up", layer_norm(g, layer, "ln2", x), GPT_WIDTH, 4 * GPT_WIDTH);
    y = build_op(&g->build, OP_GELU, &y, 1, &tanh_word);
    y = linear(g, layer, "down", y, 4 * GPT_WIDTH, GPT_WIDTH);
    return build_binary(&g->build, OP_ADD, x, y);
}

static ValueId embed(Gpt *g, ValueId tokens) {
    Build   *b = &g->build;
    int64_t  batch_axis = 0;
    uint64_t iota[3] = {DTYPE_I32, build_sizes(b, &g->time, 1), 0};
    ValueId  token_table =
        parameter(g, gpt_name(g, -1, "wte", ".weight"), GPT_VOCABULARY, GPT_WIDTH);
    ValueId place_table = parameter(g, gpt_name(g, -1, "wpe", ".weight"), GPT_CONTEXT, GPT_WIDTH);
    ValueId by_token[2] = {token_table, tokens};
    ValueId by_place[2] = {place_table, build_op(b, OP_IOTA, NULL, 0, iota)};
    ValueId x = build_op(b, OP_EMBEDDING, by_token, 2, NULL);
    ValueId place = build_op(b, OP_EMBEDDING, by_place, 2, NULL);
    return build_binary(b, OP_ADD, x, build_spread(b, place, x, &batch_axis, 1));
}
static ValueId loss_rows(Gpt *g, ValueId x, ValueId labels) {
    static const int64_t all[2] = {0, 1};
    x = layer_norm(g, -1, "ln_f", x);
    x = linear(g, -1, "head", x, GPT_WIDTH, GPT_VOCABULARY);
    ValueId  operands[2] = {x, labels};
    ValueId  losses = build_op(&g->build, OP_CROSS_ENTROPY, operands, 2, NULL);
    uint64_t axes = build_ints(&g->build, all, 2);
    return build_op(&g->build, OP_MEAN, &losses, 1, &axes);
}

/* --- the training step ------------------------------------------------------------------------ */

static void update_rows(Gpt *g, uint32_t i, ValueId gradient, ValueId rate, ValueId step) {
    Build  *b = &g->build;
    TypeId  type = build_type(b, g->parameters[i]);
    ValueId first = parameter_row(g, gpt_name(g, i, "", "m"), type, INIT_ZEROS, false);
    ValueId second = parameter_row(g, gpt_name(g, i, "", "v"), type, INIT_ZEROS, false);
    ValueId operands[6] = {g->parameters[i], gradient, first, second, rate, step};
    OpId    adamw = build_row(b, OP_ADAMW, operands, 6, NULL, 0);
    ValueId state[3] = {g->parameters[i], first, second};
    for (uint32_t k = 0; k < 3; k++) {
        ValueId pair[2] = {state[k], op_result(b->code, adamw, k)};
        (void)build_row(b, OP_ASSIGN, pair, 2, NULL, 0);
    }
}
/* Returns the norm of all gradients before clipping. */
static ValueId training_rows(Gpt *g, Arena *scratch, ValueId loss, ValueId rate, ValueId step) {
    Build   *b = &g->build;
    ValueId *operands = ARENA_ARRAY(scratch, ValueId, g->count + 1);
    operands[0] = loss;
    for (uint32_t i = 0; i < g->count; i++) operands[i + 1] = g->parameters[i];
    OpId     gradient = build_row(b, OP_GRADIENT, operands, g->count + 1, NULL, g->count);
    ValueId *gradients = operands;
    for (uint32_t i = 0; i < g->count; i++) gradients[i] = op_result(b->code, gradient, i);
    ValueId norm = build_op(b, OP_GLOBAL_NORM, gradients, g->count, NULL);
    ValueId limit = build_scalar(b, DTYPE_F32, 1);
    ValueId scale = build_binary(b, OP_DIV, limit, build_binary(b, OP_MAX, norm, limit));
    for (uint32_t i = 0; i < g->count; i++) {
        ValueId wide = build_scalar_over(b, scale, gradients[i]);
        update_rows(g, i, build_binary(b, OP_MUL, gradients[i], wide), rate, step);
    }
    return norm;
}

GraphId gpt_graph_add(World *world, Arena *scratch, uint32_t layers, bool train) {
    Gpt      g = {.world = world, .build = {.world = world, .code = &world->code}};
    Dims    *dims = &world->dims;
    Types   *types = &world->types;
    uint32_t outputs = train ? 2 : 1;
    g.batch = dims_symbol(dims, strings_add(&world->strings, STR("B")));
    g.time = dims_symbol(dims, strings_add(&world->strings, STR("T")));
    g.width = dims_const(dims, GPT_WIDTH);
    g.parameters = ARENA_ARRAY(scratch, ValueId, layers * GPT_LAYER_PARAMETERS + 16);
    BlockId block = g.build.block = code_add_block(&world->code, (OpId){0}, GPT_INPUTS);
    ValueId args = world->code.blocks.args_first[block.row];
    DimId   plane[2] = {g.batch, g.time};
    TypeId  ids = types_type(types, DTYPE_I32, types_shape(types, plane, 2));
    TypeId  scalar = types_type(types, DTYPE_F32, types_shape(types, NULL, 0));
    for (uint32_t i = 0; i < GPT_INPUTS; i++)
        world->code.values.type[args.row + i] = i < 2 ? ids : scalar;
    ValueId x = embed(&g, args);
    for (uint32_t layer = 0; layer < layers; layer++) x = layer_rows(&g, layer, x);
    ValueId results[2] = {loss_rows(&g, x, (ValueId){args.row + 1})};
    if (train)
        results[1] = training_rows(&g, scratch, results[0], (ValueId){args.row + 2},
                                   (ValueId){args.row + 3});
    (void)build_row(&g.build, OP_RETURN, results, outputs, NULL, 0);
    world->code.blocks.op_last[block.row] = world->code.ops.table.count;
    return code_add_graph(&world->code, strings_add(&world->strings, STR("main")), block);
}
