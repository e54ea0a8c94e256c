/* Builders of the cases, and their list. A gradient is that of sum(y dy) with dy an input, so that
 * nothing but the derivative is left to compute: the sum itself is no output. */
#include "bench/kernel_cases.h"

#include <math.h>
#include <stdio.h>

enum { HEAD = 64, SEQUENCE = 128, POOL_SIDE = 28, POOL_CHANNELS = 8, BLOCKS = 4 };

/* --- helpers ---------------------------------------------------------------------------------- */

/* The axes that grow with the rows are symbols of their own names. */
static StoaDim rows_dim(KernelGraph *g) { return stoa_dim_symbol(g->program, "N"); }

static StoaValue add_input(KernelGraph *g, const char *name, StoaDtype dtype, const StoaDim *dims,
                           const int64_t *sizes, uint32_t rank, KernelFill fill, double limit) {
    KernelInput *input = &g->inputs[g->inputs_count++];
    *input = (KernelInput){{.dtype = dtype, .rank = rank}, fill, limit};
    for (uint32_t i = 0; i < rank; i++) input->tensor.shape[i] = sizes[i];
    return stoa_input(g->program, name, dtype, dims, rank);
}
/* f[rows,columns] */
static StoaValue matrix(KernelGraph *g, const char *name) {
    StoaDim dims[] = {rows_dim(g), stoa_dim(g->program, g->columns)};
    int64_t sizes[] = {g->rows, g->columns};
    return add_input(g, name, g->dtype, dims, sizes, 2, FILL_UNIFORM, 0);
}
/* f[columns] */
static StoaValue line(KernelGraph *g, const char *name) {
    StoaDim dim = stoa_dim(g->program, g->columns);
    return add_input(g, name, g->dtype, &dim, &g->columns, 1, FILL_UNIFORM, 0);
}
/* i32[rows] */
static StoaValue indices(KernelGraph *g, KernelFill fill, int64_t limit) {
    StoaDim dim = rows_dim(g);
    return add_input(g, "indices", STOA_I32, &dim, &g->rows, 1, fill, (double)limit);
}
static StoaValue over_rows(KernelGraph *g, StoaValue x) {
    StoaDim dims[] = {rows_dim(g), stoa_dim(g->program, g->columns)};
    int64_t axis = 1;
    return stoa_broadcast_in_dim(g->program, x, dims, 2, &axis, 1);
}
static void output(KernelGraph *g, const char *name, StoaValue value) {
    stoa_output(g->program, name, value);
    g->outputs_count++;
}
static void gradients(KernelGraph *g, StoaValue y, StoaValue dy, const StoaValue *xs,
                      uint32_t count) {
    static const char *const names[] = {"d0", "d1", "d2", "d3"};
    int64_t                  axes[] = {0, 1, 2, 3};
    StoaValue                found[4];
    StoaValue sum = stoa_reduce(g->program, stoa_mul(g->program, y, dy), STOA_REDUCE_SUM, axes,
                                stoa_value_rank(g->program, y));
    stoa_gradients(g->program, sum, xs, count, found);
    for (uint32_t i = 0; i < count; i++) output(g, names[i], found[i]);
}

/* --- elementwise ------------------------------------------------------------------------------ */

static void chain(KernelGraph *g, int count) {
    StoaProgram *p = g->program;
    StoaValue    x = matrix(g, "x"), y = matrix(g, "y"), z = x;
    for (int i = 0; i < count; i += 2) {
        z = i % 4 == 0 ? stoa_mul(p, z, y) : stoa_max(p, z, x);
        z = i % 4 == 0 ? stoa_add(p, z, x) : stoa_sub(p, z, y);
    }
    output(g, "z", z);
}
static void chain2(KernelGraph *g) { chain(g, 2); }
static void chain4(KernelGraph *g) { chain(g, 4); }
static void chain8(KernelGraph *g) { chain(g, 8); }
static void one_exp(KernelGraph *g) { output(g, "y", stoa_exp(g->program, matrix(g, "x"))); }
static void one_tanh(KernelGraph *g) { output(g, "y", stoa_tanh(g->program, matrix(g, "x"))); }

static void bias_gelu(KernelGraph *g) {
    StoaValue x = matrix(g, "x"), bias = line(g, "bias");
    StoaValue sum = stoa_add(g->program, x, over_rows(g, bias));
    output(g, "y", stoa_gelu(g->program, sum, true));
}
static void bias_gelu_grad(KernelGraph *g) {
    StoaValue xs[] = {matrix(g, "x"), line(g, "bias")}, dy = matrix(g, "dy");
    StoaValue sum = stoa_add(g->program, xs[0], over_rows(g, xs[1]));
    gradients(g, stoa_gelu(g->program, sum, true), dy, xs, 2);
}
static void swiglu(KernelGraph *g) {
    StoaValue gate = matrix(g, "gate"), x = matrix(g, "x");
    output(g, "y", stoa_mul(g->program, stoa_silu(g->program, gate), x));
}
static void swiglu_grad(KernelGraph *g) {
    StoaValue xs[] = {matrix(g, "gate"), matrix(g, "x")}, dy = matrix(g, "dy");
    gradients(g, stoa_mul(g->program, stoa_silu(g->program, xs[0]), xs[1]), dy, xs, 2);
}
static void dropout(KernelGraph *g) {
    StoaValue x = matrix(g, "x");
    StoaValue seed = add_input(g, "seed", STOA_I64, NULL, NULL, 0, FILL_INDEX, 1 << 30);
    output(g, "y", stoa_dropout(g->program, x, seed, 0.1, 0));
}

/* --- rows ------------------------------------------------------------------------------------- */

static void softmax(KernelGraph *g) { output(g, "y", stoa_softmax(g->program, matrix(g, "x"), 1)); }
static void softmax_grad(KernelGraph *g) {
    StoaValue x = matrix(g, "x"), dy = matrix(g, "dy");
    gradients(g, stoa_softmax(g->program, x, 1), dy, &x, 1);
}
static void log_softmax(KernelGraph *g) {
    output(g, "y", stoa_log_softmax(g->program, matrix(g, "x"), 1));
}
static void log_softmax_grad(KernelGraph *g) {
    StoaValue x = matrix(g, "x"), dy = matrix(g, "dy");
    gradients(g, stoa_log_softmax(g->program, x, 1), dy, &x, 1);
}
static void layer_norm(KernelGraph *g) {
    StoaValue x = matrix(g, "x"), weight = line(g, "weight"), bias = line(g, "bias");
    output(g, "y", stoa_layer_norm(g->program, x, weight, bias, 1e-5));
}
static void layer_norm_grad(KernelGraph *g) {
    StoaValue xs[] = {matrix(g, "x"), line(g, "weight"), line(g, "bias")}, dy = matrix(g, "dy");
    gradients(g, stoa_layer_norm(g->program, xs[0], xs[1], xs[2], 1e-5), dy, xs, 3);
}
static void rms_norm(KernelGraph *g) {
    StoaValue x = matrix(g, "x"), weight = line(g, "weight");
    output(g, "y", stoa_rms_norm(g->program, x, weight, 1e-5));
}
static void rms_norm_grad(KernelGraph *g) {
    StoaValue xs[] = {matrix(g, "x"), line(g, "weight")}, dy = matrix(g, "dy");
    gradients(g, stoa_rms_norm(g->program, xs[0], xs[1], 1e-5), dy, xs, 2);
}
/* Forward and backward at once, as a training step has it. */
static void cross_entropy(KernelGraph *g) {
    StoaValue logits = matrix(g, "logits"), labels = indices(g, FILL_INDEX, g->columns), slope;
    int64_t   axis = 0;
    StoaValue loss =
        stoa_mean(g->program, stoa_cross_entropy(g->program, logits, labels), &axis, 1);
    stoa_gradients(g->program, loss, &logits, 1, &slope);
    output(g, "loss", loss);
    output(g, "dlogits", slope);
}

/* --- reductions ------------------------------------------------------------------------------- */

static void reduce(KernelGraph *g, const int64_t *axes, uint32_t count) {
    output(g, "y", stoa_reduce(g->program, matrix(g, "x"), STOA_REDUCE_SUM, axes, count));
}
static void reduce_rows(KernelGraph *g) { reduce(g, (const int64_t[]){1}, 1); }
static void reduce_columns(KernelGraph *g) { reduce(g, (const int64_t[]){0}, 1); }
static void reduce_all(KernelGraph *g) { reduce(g, (const int64_t[]){0, 1}, 2); }

/* --- movement --------------------------------------------------------------------------------- */

static void transpose(KernelGraph *g) {
    output(g, "y", stoa_transpose(g->program, matrix(g, "x"), (const int64_t[]){1, 0}, 2));
}
/* [B,T,H,D] to [B,H,T,D] and back: one permutation. T is SEQUENCE, or all rows if there are fewer,
 * which makes B 1. */
static void heads(KernelGraph *g, bool split) {
    static const int64_t permutation[] = {0, 2, 1, 3};
    int64_t length = g->rows < SEQUENCE ? g->rows : SEQUENCE, heads = g->columns / HEAD;
    int64_t sizes[] = {g->rows / length, split ? length : heads, split ? heads : length, HEAD};
    StoaDim dims[] = {stoa_dim_symbol(g->program, "B"), stoa_dim(g->program, heads),
                      stoa_dim(g->program, heads), stoa_dim(g->program, HEAD)};
    dims[split ? 1 : 2] = stoa_dim_symbol(g->program, "T");
    StoaValue x = add_input(g, "x", g->dtype, dims, sizes, 4, FILL_UNIFORM, 0);
    output(g, "y", stoa_transpose(g->program, x, permutation, 4));
}
static void split_heads(KernelGraph *g) { heads(g, true); }
static void merge_heads(KernelGraph *g) { heads(g, false); }

/* Each row once, so that the least bytes are the whole table. */
static void embedding(KernelGraph *g) {
    StoaDim   dims[] = {stoa_dim_symbol(g->program, "V"), stoa_dim(g->program, g->columns)};
    int64_t   sizes[] = {g->rows, g->columns};
    StoaValue table = add_input(g, "table", g->dtype, dims, sizes, 2, FILL_UNIFORM, 0);
    StoaValue rows = indices(g, FILL_SHUFFLE, g->rows);
    output(g, "y", stoa_embedding(g->program, table, rows));
}
/* Scatters rows into a table that is a parameter, as in training; rows repeat. */
static void embedding_grad(KernelGraph *g) {
    int64_t   sizes[] = {g->rows, g->columns};
    StoaValue rows = indices(g, FILL_INDEX, g->rows), dy = matrix(g, "dy");
    StoaValue table = stoa_parameter(g->program, "table", g->dtype, sizes, 2, STOA_INIT_ZEROS, 0);
    gradients(g, stoa_embedding(g->program, table, rows), dy, &table, 1);
}

static StoaValue pool(KernelGraph *g, StoaValue *out_x, int64_t sizes[4], StoaDim dims[4]) {
    StoaProgram *p = g->program;
    StoaDim      none[] = {stoa_dim(p, 0), stoa_dim(p, 0)};
    int64_t      two[] = {2, 2}, channels = g->rows < POOL_CHANNELS ? g->rows : POOL_CHANNELS;
    sizes[0] = g->rows / channels;
    sizes[1] = channels;
    sizes[2] = sizes[3] = POOL_SIDE;
    dims[0] = rows_dim(g);
    for (int i = 1; i < 4; i++) dims[i] = stoa_dim(p, sizes[i]);
    *out_x = add_input(g, "x", g->dtype, dims, sizes, 4, FILL_UNIFORM, 0);
    return stoa_max_pool(p, *out_x, two, 2, two, 2, none, 2, none, 2);
}
static void max_pool(KernelGraph *g) {
    StoaValue x;
    int64_t   sizes[4];
    StoaDim   dims[4];
    output(g, "y", pool(g, &x, sizes, dims));
}
static void max_pool_grad(KernelGraph *g) {
    StoaProgram *p = g->program;
    int64_t      channels = g->rows < POOL_CHANNELS ? g->rows : POOL_CHANNELS;
    int64_t      sizes[] = {g->rows / channels, channels, POOL_SIDE / 2, POOL_SIDE / 2};
    StoaDim      dims[] = {rows_dim(g), stoa_dim(p, sizes[1]), stoa_dim(p, sizes[2]),
                           stoa_dim(p, sizes[3])};
    StoaValue    dy = add_input(g, "dy", g->dtype, dims, sizes, 4, FILL_UNIFORM, 0), x;
    StoaValue    y = pool(g, &x, sizes, dims);
    gradients(g, y, dy, &x, 1);
}

/* --- optimizer -------------------------------------------------------------------------------- */

typedef struct Update {
    KernelGraph *graph;
    StoaValue    rate, step;
    uint32_t     count;
} Update;

static void update(Update *u, int64_t rows, int64_t columns) {
    KernelGraph             *g = u->graph;
    static const char *const parts[] = {"p", "g", "m", "v"};
    StoaValue                state[4], next[3];
    int64_t                  sizes[] = {rows, columns};
    double                   bytes = (double)(rows * (columns ? columns : 1)) *
                   (g->dtype == STOA_F32 ? 4 : 2); /* cases are f32 or bf16 */
    for (int i = 0; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%u", parts[i], u->count);
        state[i] = stoa_state(g->program, name, g->dtype, sizes, columns ? 2 : 1,
                              i == 3 ? STOA_INIT_ONES : STOA_INIT_NORMAL, 0.02);
    }
    stoa_adamw(g->program, state[0], state[1], state[2], state[3], u->rate, u->step, 0.9, 0.95,
               1e-8, columns ? 0.1 : 0, &next[0], &next[1], &next[2]);
    stoa_assign(g->program, state[0], next[0]);
    stoa_assign(g->program, state[2], next[1]);
    stoa_assign(g->program, state[3], next[2]);
    g->state_bytes += 4 * bytes;
    g->state_reads += 4 * bytes;
    g->state_writes += 3 * bytes;
    u->count++;
}
/* 48 tensors with the proportions of a transformer's, as many numbers as rows x columns. */
static void adamw(KernelGraph *g) {
    Update  u = {.graph = g};
    int64_t c = (int64_t)sqrt((double)(g->rows * g->columns) / (12.0 * BLOCKS));
    if (c < 1) c = 1;
    u.rate = add_input(g, "rate", g->dtype, NULL, NULL, 0, FILL_LIMIT, 1e-3);
    u.step = add_input(g, "step", g->dtype, NULL, NULL, 0, FILL_LIMIT, 10);
    for (int block = 0; block < BLOCKS; block++) {
        const int64_t matrices[][2] = {{3 * c, c}, {c, c}, {4 * c, c}, {c, 4 * c}};
        for (int i = 0; i < 4; i++) {
            update(&u, matrices[i][0], matrices[i][1]);
            update(&u, matrices[i][0], 0);
            update(&u, c, 0); /* two norms a block, of two vectors each */
        }
    }
}

/* name, build, arrays, flops, specials, columns, odd */
const KernelCase kernel_cases[] = {
    {"chain2", chain2, 3, 2, 0, 1024, false},
    {"chain4", chain4, 3, 4, 0, 1024, true},
    {"chain8", chain8, 3, 8, 0, 1024, false},
    {"exp", one_exp, 2, 0, 1, 1024, false},
    {"tanh", one_tanh, 2, 0, 1, 1024, false},
    {"bias_gelu", bias_gelu, 2, 8, 1, 1024, true},
    {"bias_gelu_grad", bias_gelu_grad, 3, 16, 1, 1024, true},
    {"swiglu", swiglu, 3, 3, 1, 1024, false},
    {"swiglu_grad", swiglu_grad, 5, 8, 1, 1024, false},
    {"softmax", softmax, 2, 4, 1, 1024, true},
    {"softmax_grad", softmax_grad, 3, 8, 1, 1024, true},
    {"log_softmax", log_softmax, 2, 4, 1, 1024, true},
    {"log_softmax_grad", log_softmax_grad, 3, 6, 1, 1024, true},
    {"layer_norm", layer_norm, 2, 7, 0, 1024, true},
    {"layer_norm_grad", layer_norm_grad, 3, 16, 0, 1024, true},
    {"rms_norm", rms_norm, 2, 4, 0, 1024, true},
    {"rms_norm_grad", rms_norm_grad, 3, 11, 0, 1024, true},
    {"cross_entropy", cross_entropy, 2, 5, 1, 8192, true},
    {"adamw", adamw, 4, 14, 0, 1024, false},
    {"reduce_rows", reduce_rows, 1, 1, 0, 1024, true},
    {"reduce_columns", reduce_columns, 1, 1, 0, 1024, true},
    {"reduce_all", reduce_all, 1, 1, 0, 1024, true},
    {"transpose", transpose, 2, 0, 0, 1024, true},
    {"split_heads", split_heads, 2, 0, 0, 1024, false},
    {"merge_heads", merge_heads, 2, 0, 0, 1024, false},
    {"embedding", embedding, 2, 0, 0, 1024, false},
    {"embedding_grad", embedding_grad, 2, 1, 0, 1024, false},
    {"max_pool", max_pool, 1.25, 0.75, 0, POOL_SIDE *POOL_SIDE, false},
    {"max_pool_grad", max_pool_grad, 2.25, 1, 0, POOL_SIDE *POOL_SIDE, false},
    {"dropout", dropout, 2, 2, 0, 1024, false},
    {NULL, NULL, 0, 0, 0, 0, false},
};
