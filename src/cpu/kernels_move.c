/* Walking strided memory and the operators that only move elements: copies, views that had to
 * become memory, padding, concatenation, slices at run-time places.
 *
 * Everything here is one loop: rows of the last axis, copied with a row function chosen by
 * strides and width, the other axes counted like an odometer. Lanes split the elements in
 * row-major order. */
#include <string.h>

#include "cpu/kernels.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { PAST = 64, PAST_LEAST = 4 * 64 }; /* bytes: of a line; of a row that is worth it */

void nd_dense(uint32_t rank, const int64_t *dims, int64_t *out_strides) {
    int64_t stride = 1;
    for (uint32_t i = rank; i-- > 0;) {
        out_strides[i] = stride;
        stride *= dims[i];
    }
}

Nd nd_make(uint32_t rank, const int64_t *dims, uint32_t sides, const int64_t *const *strides,
           const int64_t *widths) {
    Nd nd = {.sides = sides, .count = 1};
    ASSERT(rank <= SHAPE_RANK_MAX && sides <= ND_SIDES_MAX);
    for (uint32_t i = 0; i < rank; i++) {
        nd.count *= dims[i];
        if (dims[i] == 1) continue;
        bool merge = nd.rank > 0;
        for (uint32_t s = 0; s < sides && merge; s++)
            merge = nd.strides[s][nd.rank - 1] == strides[s][i] * widths[s] * dims[i];
        if (!merge) nd.dims[nd.rank++] = 1;
        nd.dims[nd.rank - 1] *= dims[i];
        for (uint32_t s = 0; s < sides; s++) nd.strides[s][nd.rank - 1] = strides[s][i] * widths[s];
    }
    return nd;
}

NdWalk nd_at(const Nd *nd, int64_t element) {
    NdWalk walk = {.index = {0}};
    for (uint32_t i = nd->rank; i-- > 0 && element > 0;) {
        walk.index[i] = element % nd->dims[i];
        element /= nd->dims[i];
        for (uint32_t s = 0; s < nd->sides; s++)
            walk.offset[s] += walk.index[i] * nd->strides[s][i];
    }
    return walk;
}

void nd_next_row(const Nd *nd, NdWalk *walk) {
    if (nd->rank == 0) return;
    uint32_t last = nd->rank - 1;
    for (uint32_t s = 0; s < nd->sides; s++)
        walk->offset[s] -= walk->index[last] * nd->strides[s][last];
    walk->index[last] = 0;
    for (uint32_t i = last; i-- > 0;) {
        walk->index[i]++;
        for (uint32_t s = 0; s < nd->sides; s++) walk->offset[s] += nd->strides[s][i];
        if (walk->index[i] < nd->dims[i]) return;
        walk->index[i] = 0;
        for (uint32_t s = 0; s < nd->sides; s++) walk->offset[s] -= nd->dims[i] * nd->strides[s][i];
    }
}

#define COPY_ROW(U, size)                                                                          \
    static void copy_row_##size(uint8_t *out, int64_t out_stride, const uint8_t *in,               \
                                int64_t in_stride, int64_t n) {                                    \
        if (in_stride == 0 && out_stride == (int64_t)sizeof(U)) {                                  \
            U fill, *y = (U *)(void *)out;                                                         \
            memcpy(&fill, in, sizeof fill);                                                        \
            for (int64_t i = 0; i < n; i++) y[i] = fill;                                           \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < n; i++, out += out_stride, in += in_stride)                        \
            memcpy(out, in, sizeof(U));                                                            \
    }
COPY_ROW(uint8_t, 1)
COPY_ROW(uint16_t, 2)
COPY_ROW(uint32_t, 4)
COPY_ROW(uint64_t, 8)
#undef COPY_ROW

void nd_copy_row(void *out, int64_t out_stride, const void *in, int64_t in_stride, int64_t n,
                 int64_t width) {
    if (out_stride == width && in_stride == width) {
        memcpy(out, in, (size_t)(n * width));
        return;
    }
    switch (width) {
    case 1: copy_row_1(out, out_stride, in, in_stride, n); break;
    case 2: copy_row_2(out, out_stride, in, in_stride, n); break;
    case 4: copy_row_4(out, out_stride, in, in_stride, n); break;
    case 8: copy_row_8(out, out_stride, in, in_stride, n); break;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy((uint8_t *)out + i * out_stride, (const uint8_t *)in + i * in_stride,
                   (size_t)width);
    }
}

/* Past the caches: of arrays that are too large to be found there again (note 0014). */
void nd_copy_past(void *to, const void *from, size_t bytes, const void *next) {
    uint8_t       *out = to;
    const uint8_t *in = from, *ahead = next != NULL ? next : from;
    size_t         at = -(uintptr_t)to & (PAST - 1);
    if (bytes < PAST_LEAST) {
        memcpy(to, from, bytes);
        return;
    }
    memcpy(out, in, at);
#if defined(__SSE2__)
    for (; at + PAST <= bytes; at += PAST) {
        __builtin_prefetch(ahead + at);
        for (size_t i = 0; i < PAST; i += sizeof(__m128i))
            _mm_stream_si128((__m128i *)(void *)(out + at + i),
                             _mm_loadu_si128((const __m128i *)(const void *)(in + at + i)));
    }
#endif
    memcpy(out + at, in + at, bytes - at);
}
/* One element, whose width divides a line, again and again. */
static void fill_past(uint8_t *to, const uint8_t *from, int64_t width, int64_t count) {
    uint8_t lines[4 * PAST];
    for (size_t i = 0; i < sizeof lines; i += (size_t)width) memcpy(lines + i, from, (size_t)width);
    for (int64_t bytes = count * width, n; bytes > 0; bytes -= n, to += n) {
        n = bytes < (int64_t)sizeof lines ? bytes : (int64_t)sizeof lines;
        nd_copy_past(to, lines, (size_t)n, NULL);
    }
}
void nd_end_past(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

void nd_copy(const Nd *nd, void *out, const void *in, int64_t width, int64_t first, int64_t last) {
    if (first >= last) return;
    NdWalk   walk = nd_at(nd, first);
    int64_t  inner = nd_inner(nd);
    uint32_t axis = nd->rank > 0 ? nd->rank - 1 : 0;
    while (first < last) {
        int64_t n = inner - walk.index[axis];
        if (n > last - first) n = last - first;
        nd_copy_row((uint8_t *)out + walk.offset[0], nd_inner_stride(nd, 0),
                    (const uint8_t *)in + walk.offset[1], nd_inner_stride(nd, 1), n, width);
        first += n;
        nd_next_row(nd, &walk);
    }
}

void nd_gather(const Nd *nd, uint32_t side, void *out, const void *in, int64_t width, int64_t first,
               int64_t last) {
    if (first >= last) return;
    NdWalk   walk = nd_at(nd, first);
    int64_t  inner = nd_inner(nd);
    uint32_t axis = nd->rank > 0 ? nd->rank - 1 : 0;
    uint8_t *to = out;
    while (first < last) {
        int64_t n = inner - walk.index[axis];
        if (n > last - first) n = last - first;
        nd_copy_row(to, width, (const uint8_t *)in + walk.offset[side], nd_inner_stride(nd, side),
                    n, width);
        to += n * width;
        first += n;
        nd_next_row(nd, &walk);
    }
}

/* --- one copy as a step ----------------------------------------------------------------------- */

typedef struct Move {
    Nd       nd; /* side 0: to, side 1: from */
    Ref      to, from;
    int64_t  width;
    uint32_t crossed; /* see nd_crossed */
    bool     whole;   /* both sides are one run of bytes */
    bool     past;    /* stores go past the caches */
} Move;

/* Elements [first, last) of rows, or of one number a row, into rows, past the caches. */
static void copy_rows_past(const Move *move, uint8_t *to, const uint8_t *from, int64_t first,
                           int64_t last) {
    NdWalk   walk = nd_at(&move->nd, first);
    int64_t  inner = nd_inner(&move->nd);
    uint32_t axis = move->nd.rank > 0 ? move->nd.rank - 1 : 0;
    for (int64_t n; first < last; first += n, nd_next_row(&move->nd, &walk)) {
        n = inner - walk.index[axis] < last - first ? inner - walk.index[axis] : last - first;
        uint8_t       *out = to + walk.offset[0];
        const uint8_t *in = from + walk.offset[1];
        if (nd_inner_stride(&move->nd, 1) == 0)
            fill_past(out, in, move->width, n);
        else
            nd_copy_past(out, in, (size_t)(n * move->width), NULL);
    }
}

static void move_run(const void *params, const KernelCtx *ctx) {
    const Move *move = params;
    uint8_t    *to = ref_at(move->to, ctx), *from = ref_at(move->from, ctx);
    Part        part = part_of(move->nd.count, 1024, ctx);
    if (move->crossed < move->nd.rank) {
        part = part_of(nd_tiles(&move->nd, move->crossed, move->width), 1, ctx);
        nd_copy_tiles(&move->nd, move->crossed, to, from, move->width, part.first, part.last,
                      move->past);
    } else if (move->past) {
        copy_rows_past(move, to, from, part.first, part.last);
    } else if (move->whole) {
        if (part.first < part.last)
            memcpy(to + part.first * move->width, from + part.first * move->width,
                   (size_t)((part.last - part.first) * move->width));
    } else {
        nd_copy(&move->nd, to, from, move->width, part.first, part.last);
    }
    if (move->past) nd_end_past();
}

/* Adds a copy of dims elements; strides in elements, offsets in bytes on top of the references. */
static void bind_move(Binder *b, Ref to, const int64_t *to_strides, Ref from,
                      const int64_t *from_strides, uint32_t rank, const int64_t *dims,
                      int64_t width) {
    const int64_t *strides[2] = {to_strides, from_strides};
    int64_t        widths[2] = {width, width};
    Move          *move = BIND_PARAMS(b, Move);
    *move = (Move){
        .nd = nd_make(rank, dims, 2, strides, widths), .to = to, .from = from, .width = width};
    if (move->nd.count == 0) return;
    move->whole = move->nd.rank == 0 || (move->nd.rank == 1 && move->nd.strides[0][0] == width &&
                                         move->nd.strides[1][0] == width);
    move->crossed = nd_crossed(&move->nd, width);
    int64_t step = nd_inner_stride(&move->nd, 1);
    bool    rows = nd_inner_stride(&move->nd, 0) == width &&
                (step == width || (step == 0 && PAST % width == 0)) &&
                nd_inner(&move->nd) * width >= PAST_LEAST;
    move->past = (rows || move->crossed < move->nd.rank) &&
                 (uint64_t)(move->nd.count * width) >= jit_host_stream_bytes();
    bind_step(b, move_run, move, 2 * move->nd.count * width);
}

/* The elements of an operand in row-major order into dense memory. */
void nd_bind_copy(Binder *b, Ref to, const LaunchArg *from) {
    int64_t dense[SHAPE_RANK_MAX];
    nd_dense(from->rank, from->dims, dense);
    bind_move(b, to, dense, ref_of(from), from->strides, from->rank, from->dims, arg_width(from));
}

bool kernels_bind_copy(Binder *b) {
    uint32_t count = b->results < b->operands ? b->results : b->operands;
    for (uint32_t i = 0; i < count; i++) nd_bind_copy(b, ref_of(&b->outs[i]), &b->args[i]);
    return true;
}
/* The launch has the value as its operand and the parameter as its result. */
bool kernels_bind_assign(Binder *b) {
    nd_bind_copy(b, ref_of(&b->outs[0]), &b->args[0]);
    return true;
}

/* --- views that had to become memory: the operand is read with the strides of the view -------- */

static bool bind_view(Binder *b, int64_t offset, const int64_t *strides) {
    const LaunchArg *y = &b->outs[0];
    Ref              from = ref_of(&b->args[0]);
    int64_t          dense[SHAPE_RANK_MAX];
    nd_dense(y->rank, y->dims, dense);
    from.offset += (uint64_t)(offset * arg_width(y));
    bind_move(b, ref_of(y), dense, from, strides, y->rank, y->dims, arg_width(y));
    return true;
}
bool kernels_bind_broadcast(Binder *b) {
    const LaunchArg *x = &b->args[0];
    int64_t          axes[LIST_MAX], strides[SHAPE_RANK_MAX] = {0};
    uint32_t         count = launch_ints(b->plan, b->launch, ATTR_BROADCAST_IN_DIM_axes, axes);
    for (uint32_t i = 0; i < count && i < x->rank; i++)
        strides[axes[i]] = x->dims[i] == 1 ? 0 : x->strides[i];
    return bind_view(b, 0, strides);
}
bool kernels_bind_transpose(Binder *b) {
    int64_t  axes[LIST_MAX], strides[SHAPE_RANK_MAX] = {0};
    uint32_t count = launch_ints(b->plan, b->launch, ATTR_TRANSPOSE_permutation, axes);
    for (uint32_t i = 0; i < count; i++) strides[i] = b->args[0].strides[axes[i]];
    return bind_view(b, 0, strides);
}
bool kernels_bind_slice(Binder *b) {
    const LaunchArg *x = &b->args[0];
    int64_t          starts[LIST_MAX], steps[LIST_MAX], strides[SHAPE_RANK_MAX] = {0}, offset = 0;
    uint32_t         stepped = launch_ints(b->plan, b->launch, ATTR_SLICE_strides, steps);
    (void)launch_ints(b->plan, b->launch, ATTR_SLICE_starts, starts);
    for (uint32_t i = 0; i < x->rank; i++) {
        offset += starts[i] * x->strides[i];
        strides[i] = x->strides[i] * (stepped > 0 ? steps[i] : 1);
    }
    return bind_view(b, offset, strides);
}
bool kernels_bind_reverse(Binder *b) {
    const LaunchArg *x = &b->args[0];
    int64_t          axes[LIST_MAX], strides[SHAPE_RANK_MAX] = {0}, offset = 0;
    uint32_t         count = launch_ints(b->plan, b->launch, ATTR_REVERSE_axes, axes);
    for (uint32_t i = 0; i < x->rank; i++) strides[i] = x->strides[i];
    for (uint32_t i = 0; i < count; i++) {
        offset += (x->dims[axes[i]] - 1) * x->strides[axes[i]];
        strides[axes[i]] = -x->strides[axes[i]];
    }
    return bind_view(b, offset, strides);
}

/* --- concat and pad: copies into parts of the result ------------------------------------------ */

bool kernels_bind_concat(Binder *b) {
    const LaunchArg *y = &b->outs[0];
    int64_t          axis = (int64_t)b->attrs[ATTR_CONCAT_axis], dense[SHAPE_RANK_MAX];
    Ref              to = ref_of(y);
    nd_dense(y->rank, y->dims, dense);
    for (uint32_t k = 0; k < b->operands; k++) {
        const LaunchArg *x = &b->args[k];
        bind_move(b, to, dense, ref_of(x), x->strides, x->rank, x->dims, arg_width(x));
        to.offset += (uint64_t)(x->dims[axis] * dense[axis] * arg_width(x));
    }
    return true;
}

bool kernels_bind_pad(Binder *b) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    int64_t          low[LIST_MAX], gaps[LIST_MAX], dims[SHAPE_RANK_MAX], dense[SHAPE_RANK_MAX];
    int64_t          to_strides[SHAPE_RANK_MAX], zero[SHAPE_RANK_MAX] = {0}, from = 0, to = 0;
    uint32_t         gapped = launch_ints(b->plan, b->launch, ATTR_PAD_interior, gaps);
    (void)launch_ints(b->plan, b->launch, ATTR_PAD_low, low);
    nd_dense(y->rank, y->dims, dense);
    bind_move(b, ref_of(y), dense, ref_of(&b->args[1]), zero, y->rank, y->dims, arg_width(y));
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t step = 1 + (gapped > 0 ? gaps[i] : 0);
        /* The elements of x that land at low + i step in [0, dims of y). */
        int64_t first = low[i] < 0 ? (-low[i] + step - 1) / step : 0;
        int64_t room = y->dims[i] - low[i]; /* i step < room */
        int64_t last = room <= 0 ? 0 : (room + step - 1) / step;
        if (last > x->dims[i]) last = x->dims[i];
        dims[i] = last > first ? last - first : 0;
        to_strides[i] = dense[i] * step;
        from += first * x->strides[i];
        to += (low[i] + first * step) * dense[i];
        if (dims[i] == 0) return true;
    }
    Ref from_ref = ref_of(x), to_ref = ref_of(y);
    from_ref.offset += (uint64_t)(from * arg_width(x));
    to_ref.offset += (uint64_t)(to * arg_width(x));
    bind_move(b, to_ref, to_strides, from_ref, x->strides, x->rank, dims, arg_width(x));
    return true;
}

/* --- slices at run-time places ---------------------------------------------------------------- */

typedef struct Dynamic {
    Move     move;
    Ref      starts; /* i64[rank] */
    uint32_t rank;
    bool     reads; /* starts move the source, else the target */
    int64_t  starts_stride;
    int64_t  starts_max[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX]; /* bytes */
} Dynamic;

static void dynamic_run(const void *params, const KernelCtx *ctx) {
    const Dynamic *dynamic = params;
    const int64_t *starts = ref_at(dynamic->starts, ctx);
    uint8_t       *to = ref_at(dynamic->move.to, ctx), *from = ref_at(dynamic->move.from, ctx);
    int64_t        offset = 0;
    for (uint32_t i = 0; i < dynamic->rank; i++) {
        int64_t start = starts[i * dynamic->starts_stride];
        if (start > dynamic->starts_max[i]) start = dynamic->starts_max[i];
        offset += (start < 0 ? 0 : start) * dynamic->strides[i];
    }
    Part part = part_of(dynamic->move.nd.count, 1024, ctx);
    nd_copy(&dynamic->move.nd, to + (dynamic->reads ? 0 : offset),
            from + (dynamic->reads ? offset : 0), dynamic->move.width, part.first, part.last);
}

/* Copies `window` elements between a dense tensor and the place in `around` that starts name. */
static void bind_dynamic(Binder *b, const LaunchArg *around, const int64_t *around_strides,
                         const LaunchArg *window, const LaunchArg *starts, bool reads) {
    int64_t        width = arg_width(window), widths[2] = {width, width};
    const int64_t *read_strides[2] = {window->strides, around_strides};
    const int64_t *write_strides[2] = {around_strides, window->strides};
    Dynamic       *dynamic = BIND_PARAMS(b, Dynamic);
    *dynamic = (Dynamic){.starts = ref_of(starts),
                         .rank = around->rank,
                         .reads = reads,
                         .starts_stride = starts->rank > 0 ? starts->strides[0] : 0};
    dynamic->move = (Move){
        .nd = nd_make(window->rank, window->dims, 2, reads ? read_strides : write_strides, widths),
        .to = ref_of(reads ? window : around),
        .from = ref_of(reads ? around : window),
        .width = width};
    for (uint32_t i = 0; i < around->rank; i++) {
        dynamic->starts_max[i] = around->dims[i] - window->dims[i];
        dynamic->strides[i] = around_strides[i] * width;
    }
    if (dynamic->move.nd.count > 0)
        bind_step(b, dynamic_run, dynamic, 2 * dynamic->move.nd.count * width);
}
bool kernels_bind_dynamic_slice(Binder *b) {
    bind_dynamic(b, &b->args[0], b->args[0].strides, &b->outs[0], &b->args[1], true);
    return true;
}
bool kernels_bind_dynamic_update(Binder *b) {
    int64_t dense[SHAPE_RANK_MAX];
    nd_bind_copy(b, ref_of(&b->outs[0]), &b->args[0]);
    nd_dense(b->outs[0].rank, b->outs[0].dims, dense);
    bind_dynamic(b, &b->outs[0], dense, &b->args[1], &b->args[2], false);
    return true;
}

/* --- small ones ------------------------------------------------------------------------------- */

typedef struct Number {
    Ref     to;
    int64_t number;
} Number;
static void number_run(const void *params, const KernelCtx *ctx) {
    const Number *number = params;
    memcpy(ref_at(number->to, ctx), &number->number, sizeof number->number);
}
bool kernels_bind_dim_size(Binder *b) {
    Number *number = BIND_PARAMS(b, Number);
    *number = (Number){ref_of(&b->outs[0]), b->args[0].dims[b->attrs[ATTR_DIM_SIZE_axis]]};
    bind_step(b, number_run, number, 8);
    return true;
}

typedef struct Assertion {
    Nd       nd;
    Ref      condition;
    uint32_t launch;
} Assertion;
static void assert_run(const void *params, const KernelCtx *ctx) {
    const Assertion *assertion = params;
    const uint8_t   *condition = ref_at(assertion->condition, ctx);
    for (int64_t i = 0; i < assertion->nd.count; i++)
        if (!condition[nd_at(&assertion->nd, i).offset[0]]) *ctx->failed = assertion->launch;
}
bool kernels_bind_assert(Binder *b) {
    const LaunchArg *x = &b->args[0];
    const int64_t   *strides[1] = {x->strides}, widths[1] = {1};
    Assertion       *assertion = BIND_PARAMS(b, Assertion);
    if (x->dtype != DTYPE_BOOL) return false;
    *assertion = (Assertion){nd_make(x->rank, x->dims, 1, strides, widths), ref_of(x), b->launch};
    bind_step(b, assert_run, assertion, 0); /* one piece: run.c looks at `failed` after it */
    return true;
}

typedef struct Print {
    const Diags *diags;
    const World *world;
    uint32_t     op, count;
    const Ref   *at;
    Tensor      *values; /* their memory is found when it runs: a step of one piece */
} Print;
static void print_run(const void *params, const KernelCtx *ctx) {
    const Print *print = params;
    for (uint32_t i = 0; i < print->count; i++) print->values[i].data = ref_at(print->at[i], ctx);
    if (print->diags->print != NULL)
        print->diags->print(print->diags->print_context, print->world, print->op, print->values,
                            print->count);
}
bool kernels_bind_print(Binder *b) {
    Print *print = BIND_PARAMS(b, Print);
    Ref   *at = ARENA_ARRAY(b->arena, Ref, b->operands + 1);
    *print = (Print){.diags = b->diags,
                     .world = b->plan->world,
                     .op = b->plan->launches.op[b->launch].row,
                     .count = b->operands,
                     .at = at,
                     .values = ARENA_ARRAY_ZERO(b->arena, Tensor, b->operands + 1)};
    for (uint32_t i = 0; i < b->operands; i++) {
        const LaunchArg *x = &b->args[i];
        at[i] = ref_of(x);
        print->values[i] = (Tensor){.dtype = (Dtype)x->dtype, .rank = x->rank};
        for (uint32_t k = 0; k < x->rank; k++) print->values[i].shape[k] = x->dims[k];
    }
    bind_step(b, print_run, print, 0);
    return true;
}
