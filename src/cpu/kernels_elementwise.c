/* Driving elementwise inner loops over strided operands.
 *
 * Axes are merged at bind time. If every operand is then one run of memory, each lane makes a
 * single call. Else lanes go block by block: an operand whose last axis is contiguous is read in
 * place, a repeated element is spread into a buffer (once, while it stays the same), anything
 * else is gathered; 16-bit floats are brought to f32 in buffers and back. Buffers hold BLOCK
 * elements, so they stay in the first-level cache. Rows shorter than ROW_MIN are gathered across
 * row ends. */
#include <string.h>

#include "cpu/kernels.h"

enum { IN_MAX = 3, BLOCK = 512, ROW_MIN = 32, GRAIN = 1024 };

typedef struct Elementwise {
    Nd       nd; /* side 0: result; then operands */
    BlockFn *fn;
    BlockFn *load[IN_MAX], *store; /* 16-bit floats: to and from f32 */
    Ref      out, in[IN_MAX];
    uint32_t operands;
    bool     whole;       /* no buffers, no strides */
    bool     rows;        /* blocks end at row ends */
    bool     run[IN_MAX]; /* the operand is one run of memory */
    int64_t  out_width, width[IN_MAX];
    double   extra[2];
} Elementwise;

typedef struct Staged {
    _Alignas(64) uint8_t gathered[IN_MAX][BLOCK * 8];
    float          loaded[IN_MAX][BLOCK], result[BLOCK];
    const uint8_t *spread[IN_MAX]; /* the element that gathered[k] repeats */
    int64_t        spread_count[IN_MAX];
} Staged;

/* The n elements of operand k from `element` on, unit stride. */
static const void *operand_block(const Elementwise *e, uint32_t k, const uint8_t *base,
                                 const NdWalk *walk, int64_t element, int64_t n, Staged *buffers) {
    int64_t     width = e->width[k], stride = nd_inner_stride(&e->nd, k + 1);
    const void *block = buffers->gathered[k];
    if (e->run[k]) {
        block = base + element * width;
    } else if (e->rows && stride == width) {
        block = base + walk->offset[k + 1];
    } else if (e->rows && stride == 0) {
        const uint8_t *from = base + walk->offset[k + 1];
        if (buffers->spread[k] != from || buffers->spread_count[k] < n) {
            nd_copy_row(buffers->gathered[k], width, from, 0, n, width);
            buffers->spread[k] = from;
            buffers->spread_count[k] = n;
        }
    } else {
        nd_gather(&e->nd, k + 1, buffers->gathered[k], base, width, element, element + n);
    }
    if (e->load[k] == NULL) return block;
    e->load[k](buffers->loaded[k], &block, n, NULL);
    return buffers->loaded[k];
}

static void elementwise_blocks(const Elementwise *e, const KernelCtx *ctx, Part part) {
    Staged   buffers;
    uint8_t *out = ref_at(e->out, ctx);
    NdWalk   walk = nd_at(&e->nd, part.first);
    uint32_t axis = e->nd.rank > 0 ? e->nd.rank - 1 : 0;
    memset(buffers.spread, 0, sizeof buffers.spread);
    for (int64_t i = part.first; i < part.last;) {
        int64_t     n = part.last - i, row_left = nd_inner(&e->nd) - walk.index[axis];
        const void *in[IN_MAX], *result = buffers.result;
        if (n > BLOCK) n = BLOCK;
        if (e->rows && n > row_left) n = row_left;
        for (uint32_t k = 0; k < e->operands; k++)
            in[k] = operand_block(e, k, ref_at(e->in[k], ctx), &walk, i, n, &buffers);
        void *to = out + i * e->out_width;
        e->fn(e->store != NULL ? buffers.result : to, in, n, e->extra);
        if (e->store != NULL) e->store(to, &result, n, NULL);
        i += n;
        if (!e->rows) continue;
        if (n == row_left) {
            nd_next_row(&e->nd, &walk);
        } else {
            walk.index[axis] += n;
            for (uint32_t s = 0; s < e->nd.sides; s++)
                walk.offset[s] += n * nd_inner_stride(&e->nd, s);
        }
    }
}

static void elementwise_run(const void *params, const KernelCtx *ctx) {
    const Elementwise *e = params;
    Part               part = part_of(e->nd.count, GRAIN, ctx);
    if (part.first >= part.last) return;
    if (!e->whole) {
        elementwise_blocks(e, ctx, part);
        return;
    }
    const void *in[IN_MAX];
    for (uint32_t k = 0; k < e->operands; k++)
        in[k] = (uint8_t *)ref_at(e->in[k], ctx) + part.first * e->width[k];
    e->fn((uint8_t *)ref_at(e->out, ctx) + part.first * e->out_width, in, part.last - part.first,
          e->extra);
}

bool kernels_bind_loop(Binder *b, BlockFn *fn, bool converts, double extra) {
    const LaunchArg *y = &b->outs[0];
    const int64_t   *strides[ND_SIDES_MAX] = {y->strides};
    int64_t          widths[ND_SIDES_MAX] = {arg_width(y)};
    if (fn == NULL || b->operands > IN_MAX) return false;
    Elementwise *e = BIND_PARAMS(b, Elementwise);
    *e = (Elementwise){.fn = fn,
                       .out = ref_of(y),
                       .operands = b->operands,
                       .out_width = widths[0],
                       .whole = true,
                       .rows = true,
                       .extra = {extra}};
    for (uint32_t k = 0; k < b->operands; k++) {
        const LaunchArg *x = &b->args[k];
        strides[k + 1] = x->strides;
        widths[k + 1] = e->width[k] = arg_width(x);
        e->in[k] = ref_of(x);
        e->run[k] = arg_dense(x);
        if (converts && dtype_is_half(arg_dtype(x)))
            e->load[k] = b->isa->convert[x->dtype][DTYPE_F32];
        e->whole &= e->run[k] && e->load[k] == NULL;
    }
    if (converts && dtype_is_half(arg_dtype(y))) e->store = b->isa->convert[DTYPE_F32][y->dtype];
    e->whole &= e->store == NULL;
    e->nd = nd_make(y->rank, y->dims, b->operands + 1, strides, widths);
    if (nd_inner(&e->nd) < ROW_MIN && e->nd.rank > 1) e->rows = false;
    int64_t bytes = 0;
    for (uint32_t k = 0; k <= b->operands; k++) bytes += e->nd.count * widths[k];
    bind_step(b, elementwise_run, e, bytes);
    return true;
}

bool kernels_bind_elementwise(Binder *b) {
    Dtype dtype = dtype_compute(arg_dtype(&b->args[0]));
    if (b->opcode == OP_GELU && b->attrs[ATTR_GELU_tanh] != 0)
        return kernels_bind_loop(b, b->isa->gelu_tanh[dtype], true, 0);
    BlockFn *fn = b->isa->block[b->opcode][dtype];
    return fn != NULL ? kernels_bind_loop(b, fn, true, 0) : kernels_bind_special(b);
}
bool kernels_bind_compare(Binder *b) {
    Dtype dtype = dtype_compute(arg_dtype(&b->args[0]));
    return kernels_bind_loop(b, b->isa->compare[b->attrs[ATTR_COMPARE_direction]][dtype], true, 0);
}
bool kernels_bind_convert(Binder *b) {
    return kernels_bind_loop(b, b->isa->convert[b->args[0].dtype][b->outs[0].dtype], false, 0);
}
bool kernels_bind_select(Binder *b) {
    int64_t width = arg_width(&b->outs[0]);
    return width <= 8 && kernels_bind_loop(b, b->isa->select_bytes[width], false, 0);
}
