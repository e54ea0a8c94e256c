/* Composites along the last axis: softmax and its log, layer_norm, rms_norm, cross_entropy.
 *
 * Operands are dense, so a row is contiguous; lanes split rows. 16-bit floats are brought to f32 in
 * scratch, a row at a time, with weight and bias once per lane. Softmax along another axis gathers
 * its lines into scratch and spreads the result. */
#include <string.h>

#include "cpu/kernels.h"

typedef struct Rows {
    RowFn   *fn;
    BlockFn *load, *store; /* 16-bit floats, else NULL */
    Ref      x, y, weight, bias;
    int64_t  rows, n, width, compute; /* bytes an element, in memory and in computation */
    int64_t  line; /* elements between neighbours along the axis; 1 when it is the last */
    bool     has_weight, has_bias;
    double   extra;
} Rows;

/* A dense row in the dtype of computation: in place, or brought into buffer. */
static const void *rows_load(const Rows *rows, const void *row, int64_t n, uint8_t *buffer) {
    if (rows->load == NULL) return row;
    rows->load(buffer, &row, n, NULL);
    return buffer;
}

static void rows_run(const void *params, const KernelCtx *ctx) {
    const Rows *rows = params;
    int64_t     n = rows->n, width = rows->width, bytes = n * rows->compute;
    uint8_t    *x_buffer = ctx->scratch, *y_buffer = x_buffer + bytes;
    uint8_t    *weights = y_buffer + bytes, *biases = weights + bytes;
    uint8_t    *raw = biases + bytes; /* last: an odd row of 16-bit numbers would misalign others */
    Part        part = part_of(rows->rows, 1, ctx);
    const void *weight = NULL, *bias = NULL;
    if (part.first >= part.last) return;
    if (rows->has_weight) weight = rows_load(rows, ref_at(rows->weight, ctx), n, weights);
    if (rows->has_bias) bias = rows_load(rows, ref_at(rows->bias, ctx), n, biases);
    for (int64_t i = part.first; i < part.last; i++) {
        int64_t        at = (i / rows->line * rows->line * n + i % rows->line) * width;
        const uint8_t *x = (const uint8_t *)ref_at(rows->x, ctx) + at;
        uint8_t       *y = (uint8_t *)ref_at(rows->y, ctx) + at;
        bool           strided = rows->line > 1;
        if (strided) nd_copy_row(raw, width, x, rows->line * width, n, width);
        const void *in = rows_load(rows, strided ? raw : x, n, x_buffer);
        const void *result = strided || rows->store != NULL ? y_buffer : y;
        rows->fn((void *)(uintptr_t)result, in, weight, bias, n, rows->extra);
        if (rows->store != NULL) {
            uint8_t *dense = strided ? raw : y;
            rows->store(dense, &result, n, NULL);
            result = dense;
        }
        if (strided) nd_copy_row(y, rows->line * width, result, width, n, width);
    }
}

static bool bind_rows(Binder *b, RowFn *const *fns, int64_t axis, double extra) {
    const LaunchArg *x = &b->args[0];
    Dtype            dtype = arg_dtype(x), compute = dtype_compute(dtype);
    Rows            *rows = BIND_PARAMS(b, Rows);
    if (fns[compute] == NULL) return false;
    *rows = (Rows){.fn = fns[compute],
                   .x = ref_of(x),
                   .y = ref_of(&b->outs[0]),
                   .n = x->dims[axis],
                   .width = arg_width(x),
                   .compute = dtype_bytes(compute),
                   .line = 1,
                   .extra = extra};
    if (dtype_is_half(dtype)) {
        rows->load = b->isa->convert[dtype][DTYPE_F32];
        rows->store = b->isa->convert[DTYPE_F32][dtype];
    }
    for (uint32_t i = (uint32_t)axis + 1; i < x->rank; i++) rows->line *= x->dims[i];
    rows->rows = arg_elements(x) / rows->n;
    rows->has_weight = b->operands > 1;
    rows->has_bias = b->operands > 2;
    if (rows->has_weight) rows->weight = ref_of(&b->args[1]);
    if (rows->has_bias) rows->bias = ref_of(&b->args[2]);
    bind_scratch(b, rows->n * (4 * rows->compute + rows->width));
    bind_step(b, rows_run, rows, 4 * arg_elements(x) * rows->width);
    return true;
}

bool kernels_bind_softmax(Binder *b) {
    int64_t axis = (int64_t)b->attrs[ATTR_SOFTMAX_axis]; /* the same place in log_softmax */
    bool    logs = b->opcode == OP_LOG_SOFTMAX;
    return bind_rows(b, logs ? b->isa->log_softmax : b->isa->softmax, axis, 0);
}
bool kernels_bind_norm(Binder *b) {
    bool layer = b->opcode == OP_LAYER_NORM;
    return bind_rows(b, layer ? b->isa->layer_norm : b->isa->rms_norm, (int64_t)b->args[0].rank - 1,
                     word_f64(b->attrs[ATTR_LAYER_NORM_epsilon])); /* as in rms_norm */
}

/* --- cross entropy ---------------------------------------------------------------------------- */

typedef struct CrossEntropy {
    RowFn   *logsumexp;
    BlockFn *load, *store, *label; /* label: to i64 */
    Ref      logits, labels, losses;
    int64_t  rows, n, width, label_width;
    bool     wide; /* f64 */
} CrossEntropy;

static void cross_entropy_run(const void *params, const KernelCtx *ctx) {
    const CrossEntropy *c = params;
    Part                part = part_of(c->rows, 1, ctx);
    const uint8_t      *logits = ref_at(c->logits, ctx), *labels = ref_at(c->labels, ctx);
    uint8_t            *losses = ref_at(c->losses, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        const void *row = logits + i * c->n * c->width, *at = labels + i * c->label_width;
        double      loss = 0;
        int64_t     label;
        c->label(&label, &at, 1, NULL);
        if (label >= 0 && label < c->n) {
            if (c->load != NULL) {
                c->load(ctx->scratch, &row, c->n, NULL);
                row = ctx->scratch;
            }
            c->logsumexp(&loss, row, NULL, NULL, c->n, 0);
            loss -= c->wide ? ((const double *)row)[label] : (double)((const float *)row)[label];
        }
        const void *from = &loss;
        c->store(losses + i * c->width, &from, 1, NULL);
    }
}

bool kernels_bind_cross_entropy(Binder *b) {
    const LaunchArg *x = &b->args[0], *labels = &b->args[1];
    Dtype            dtype = arg_dtype(x), compute = dtype_compute(dtype);
    CrossEntropy    *c = BIND_PARAMS(b, CrossEntropy);
    *c = (CrossEntropy){.logsumexp = b->isa->logsumexp[compute],
                        .load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL,
                        .store = b->isa->convert[DTYPE_F64][dtype],
                        .label = b->isa->convert[labels->dtype][DTYPE_I64],
                        .logits = ref_of(x),
                        .labels = ref_of(labels),
                        .losses = ref_of(&b->outs[0]),
                        .rows = arg_elements(labels),
                        .n = x->dims[x->rank - 1],
                        .width = arg_width(x),
                        .label_width = arg_width(labels),
                        .wide = compute == DTYPE_F64};
    if (c->logsumexp == NULL || c->store == NULL || c->label == NULL) return false;
    bind_scratch(b, c->n * 4);
    bind_step(b, cross_entropy_run, c, 4 * arg_elements(x) * c->width);
    return true;
}
