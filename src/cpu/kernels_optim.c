/* Optimizer updates and the global norm: whole-tensor composites that end a training step.
 *
 * adamw and sgd read each element once and write it once; results may be the operands (the planner
 * lets them be), so lanes and blocks touch disjoint elements. 16-bit parameters are updated in f32
 * blocks. The global norm adds fixed chunks of squares in f64 and combines them in order. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

enum { BLOCK = 512, GRAIN = 1024, TENSORS_MAX = 4, CHUNK = 32768 };

typedef struct Update {
    BlockFn *fn, *load, *store;
    BlockFn *scalar; /* to f64 */
    Ref      in[TENSORS_MAX], out[TENSORS_MAX], rate, step;
    uint32_t tensors, results;
    int64_t  count, width;
    bool     adamw;
    double   first, second, epsilon, decay; /* adamw: betas; sgd: momentum, nesterov */
} Update;

static double scalar_at(const Update *u, Ref ref, const KernelCtx *ctx) {
    const void *at = ref_at(ref, ctx);
    double      number;
    u->scalar(&number, &at, 1, NULL);
    return number;
}

static void update_block(const Update *u, const KernelCtx *ctx, int64_t i, int64_t n,
                         const double *extra) {
    float       buffers[TENSORS_MAX][BLOCK];
    const void *in[TENSORS_MAX];
    void       *out[TENSORS_MAX];
    for (uint32_t k = 0; k < u->tensors; k++) {
        in[k] = (uint8_t *)ref_at(u->in[k], ctx) + i * u->width;
        if (u->load == NULL) continue;
        u->load(buffers[k], &in[k], n, NULL);
        in[k] = buffers[k];
    }
    /* In f32 buffers: the parameter and the states are updated where they were read. */
    for (uint32_t k = 0; k < u->results; k++)
        out[k] = u->load != NULL ? (void *)buffers[k > 0 ? k + 1 : 0]
                                 : (void *)((uint8_t *)ref_at(u->out[k], ctx) + i * u->width);
    u->fn(out, in, n, extra);
    for (uint32_t k = 0; k < u->results && u->store != NULL; k++) {
        const void *from = out[k];
        u->store((uint8_t *)ref_at(u->out[k], ctx) + i * u->width, &from, n, NULL);
    }
}

static void update_run(const void *params, const KernelCtx *ctx) {
    const Update *u = params;
    Part          part = part_of(u->count, GRAIN, ctx);
    double        rate = scalar_at(u, u->rate, ctx);
    double        extra[7] = {rate, u->first, u->decay, u->second};
    if (u->adamw) {
        double step = scalar_at(u, u->step, ctx);
        extra[0] = 1 - rate * u->decay;
        extra[1] = u->first;
        extra[2] = u->second;
        extra[3] = rate;
        extra[4] = 1 - pow(u->first, step);
        extra[5] = 1 - pow(u->second, step);
        extra[6] = u->epsilon;
    }
    int64_t most = u->load != NULL ? BLOCK : part.last - part.first;
    for (int64_t i = part.first; i < part.last; i += most)
        update_block(u, ctx, i, part.last - i < most ? part.last - i : most, extra);
}

static Update *update_make(Binder *b, BlockFn *const *fns) {
    Dtype   dtype = arg_dtype(&b->args[0]), compute = dtype_compute(dtype);
    Update *u = BIND_PARAMS(b, Update);
    *u = (Update){.fn = fns[compute],
                  .scalar = b->isa->convert[dtype][DTYPE_F64],
                  .tensors = b->results + 1,
                  .results = b->results,
                  .rate = ref_of(&b->args[b->results + 1]),
                  .count = arg_elements(&b->args[0]),
                  .width = arg_width(&b->args[0])};
    if (dtype_is_half(dtype)) {
        u->load = b->isa->convert[dtype][DTYPE_F32];
        u->store = b->isa->convert[DTYPE_F32][dtype];
    }
    for (uint32_t k = 0; k < u->tensors; k++) u->in[k] = ref_of(&b->args[k]);
    for (uint32_t k = 0; k < u->results; k++) u->out[k] = ref_of(&b->outs[k]);
    return u->fn != NULL ? u : NULL;
}

bool kernels_bind_adamw(Binder *b) {
    Update *u = update_make(b, b->isa->adamw);
    if (u == NULL) return false;
    u->adamw = true;
    u->step = ref_of(&b->args[5]);
    u->first = word_f64(b->attrs[ATTR_ADAMW_beta1]);
    u->second = word_f64(b->attrs[ATTR_ADAMW_beta2]);
    u->epsilon = word_f64(b->attrs[ATTR_ADAMW_epsilon]);
    u->decay = word_f64(b->attrs[ATTR_ADAMW_decay]);
    bind_step(b, update_run, u, 7 * u->count * u->width);
    return true;
}
bool kernels_bind_sgd(Binder *b) {
    Update *u = update_make(b, b->isa->sgd);
    if (u == NULL) return false;
    u->first = word_f64(b->attrs[ATTR_SGD_momentum]);
    u->second = b->attrs[ATTR_SGD_nesterov] != 0;
    u->decay = word_f64(b->attrs[ATTR_SGD_decay]);
    bind_step(b, update_run, u, 5 * u->count * u->width);
    return true;
}

/* --- global norm ------------------------------------------------------------------------------ */

typedef struct NormPart { /* one operand */
    Ref     x;
    int64_t count, chunk_first; /* elements; number of its first chunk */
} NormPart;
typedef struct Norm {
    ReduceRowFn    *square;
    BlockFn        *load, *store;
    const NormPart *parts;
    uint32_t        parts_count;
    int64_t         chunks, width;
    Ref             out;
} Norm;

static double norm_chunk(const Norm *norm, const NormPart *part, int64_t chunk,
                         const KernelCtx *ctx) {
    int64_t first = (chunk - part->chunk_first) * CHUNK;
    int64_t last = first + CHUNK < part->count ? first + CHUNK : part->count;
    double  sum = 0;
    float   loaded[BLOCK];
    for (int64_t n; first < last; first += n) {
        const void *x = (uint8_t *)ref_at(part->x, ctx) + first * norm->width;
        n = last - first;
        if (norm->load != NULL) {
            if (n > BLOCK) n = BLOCK;
            norm->load(loaded, &x, n, NULL);
            x = loaded;
        }
        norm->square(x, n, &sum);
    }
    return sum;
}

static void norm_run(const void *params, const KernelCtx *ctx) {
    const Norm     *norm = params;
    Part            range = part_of(norm->chunks, 1, ctx);
    const NormPart *part = norm->parts;
    double         *sums = (double *)(void *)ctx->shared;
    for (int64_t chunk = range.first; chunk < range.last; chunk++) {
        while (part + 1 < norm->parts + norm->parts_count && part[1].chunk_first <= chunk) part++;
        sums[chunk] = norm_chunk(norm, part, chunk, ctx);
    }
}
static void norm_combine(const void *params, const KernelCtx *ctx) {
    const Norm   *norm = params;
    const double *sums = (const double *)(const void *)ctx->shared;
    double        sum = 0;
    const void   *from = &sum;
    for (int64_t chunk = 0; chunk < norm->chunks; chunk++) sum += sums[chunk];
    sum = sqrt(sum);
    norm->store(ref_at(norm->out, ctx), &from, 1, NULL);
}

bool kernels_bind_global_norm(Binder *b) {
    Dtype     dtype = arg_dtype(&b->args[0]);
    Norm     *norm = BIND_PARAMS(b, Norm);
    NormPart *parts = ARENA_ARRAY_ZERO(b->arena, NormPart, b->operands);
    *norm = (Norm){.square = b->isa->square_row[dtype_compute(dtype)],
                   .load = dtype_is_half(dtype) ? b->isa->convert[dtype][DTYPE_F32] : NULL,
                   .store = b->isa->convert[DTYPE_F64][dtype],
                   .parts = parts,
                   .width = arg_width(&b->args[0]),
                   .out = ref_of(&b->outs[0])};
    if (norm->square == NULL) return false;
    int64_t bytes = 0;
    for (uint32_t k = 0; k < b->operands; k++) {
        int64_t count = arg_elements(&b->args[k]);
        if (count == 0) continue;
        parts[norm->parts_count++] = (NormPart){ref_of(&b->args[k]), count, norm->chunks};
        norm->chunks += (count + CHUNK - 1) / CHUNK;
        bytes += count * norm->width;
    }
    bind_shared(b, norm->chunks * 8);
    bind_step(b, norm_run, norm, bytes);
    bind_step(b, norm_combine, norm, 0);
    return true;
}
