/* Expansions that need more than an expression. Formulas are those of the docs in opcodes.def; the
 * stable forms (subtracting the maximum, log1p) are chosen here.
 *
 * Expansions may use simpler composites; the expand system repeats until none is left. */
#include "systems/emit.h"

#define EXPAND(NAME, expression)                                                                   \
    static bool expand_##NAME(Emit *e, ValueId *out) {                                             \
        out[0] = expression;                                                                       \
        return true;                                                                               \
    }
#include "tables/rules/expand.def"

ExpandFn *const expand_rules[OP_COUNT] = {
#define EXPAND(NAME, expression) [OP_##NAME] = expand_##NAME,
#define EXPAND_FN(NAME)          [OP_##NAME] = expand_##NAME,
#include "tables/rules/expand.def"
};

static ValueId like(Emit *e, ValueId v, double number) { return build_splat(e->build, v, number); }

bool expand_UNSTACK(Emit *e, ValueId *out) {
    int64_t axis = INT_ATTR(UNSTACK, axis);
    for (uint32_t i = 0; i < e->build->code->ops.results_count[e->op.row]; i++)
        out[i] = emit_part(e->build, X(0), axis, i);
    return true;
}
/* One row is a slice, which is written in place; several are gathered and scattered. */
static ValueId array_starts(Emit *e, ValueId index) {
    DimId    dims[1] = {dims_const(&e->build->world->dims, 1)};
    uint32_t rank = build_rank(e->build, X(0));
    ValueId  parts[SHAPE_RANK_MAX];
    uint64_t axis = 0;
    parts[0] = build_reshape(e->build, build_convert(e->build, index, DTYPE_I64), dims, 1);
    for (uint32_t i = 1; i < rank; i++) parts[i] = like(e, parts[0], 0);
    return rank == 1 ? parts[0] : build_op(e->build, OP_CONCAT, parts, rank, &axis);
}
/* The shape of one row with its axis; as words, what gather takes of it. */
static uint32_t array_row(Emit *e, DimId *out_dims, uint64_t *out_words) {
    uint32_t rank = build_rank(e->build, X(0));
    int64_t  zero = 0, rest[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) {
        out_dims[i] =
            i == 0 ? dims_const(&e->build->world->dims, 1) : build_dims(e->build, X(0))[i];
        rest[i] = i + 1;
    }
    memset(out_words, 0, 6 * sizeof *out_words);
    out_words[ATTR_GATHER_offset_dims] = build_ints(e->build, rest, rank - 1);
    out_words[ATTR_GATHER_collapsed_dims] = build_ints(e->build, &zero, 1);
    out_words[ATTR_GATHER_index_map] = build_ints(e->build, &zero, 1);
    out_words[ATTR_GATHER_slice_sizes] = build_sizes(e->build, out_dims, rank);
    return rank;
}
static ValueId array_places(Emit *e, ValueId indices) {
    uint64_t first = 0;
    ValueId  i = build_convert(e->build, indices, DTYPE_I64), array = X(0);
    ValueId  size = build_op(e->build, OP_DIM_SIZE, &array, 1, &first);
    ValueId  last = SUB(build_scalar_over(e->build, size, i), like(e, i, 1));
    i = MAXIMUM(build_binary(e->build, OP_MIN, i, last), like(e, i, 0));
    return emit_with_last_one(e, i);
}
bool expand_ARRAY_READ(Emit *e, ValueId *out) {
    DimId    row[SHAPE_RANK_MAX];
    uint64_t words[6];
    uint32_t rank = array_row(e, row, words);
    ValueId  operands[2] = {X(0)};
    if (build_rank(e->build, X(1)) != 0) {
        operands[1] = array_places(e, X(1));
        out[0] = build_op(e->build, OP_GATHER, operands, 2, words);
        return true;
    }
    uint64_t sizes = build_sizes(e->build, row, rank);
    operands[1] = array_starts(e, X(1));
    out[0] = build_reshape(e->build, build_op(e->build, OP_DYNAMIC_SLICE, operands, 2, &sizes),
                           row + 1, rank - 1);
    return true;
}
bool expand_ARRAY_WRITE(Emit *e, ValueId *out) {
    DimId    row[SHAPE_RANK_MAX];
    uint64_t words[6];
    uint32_t rank = array_row(e, row, words);
    if (build_rank(e->build, X(1)) != 0) {
        out[0] = emit_scatter(e, X(0), array_places(e, X(1)), X(2), SCATTER_SET, words);
        return true;
    }
    ValueId operands[3] = {X(0), build_reshape(e->build, X(2), row, rank), array_starts(e, X(1))};
    out[0] = build_op(e->build, OP_DYNAMIC_UPDATE_SLICE, operands, 3, NULL);
    return true;
}
bool expand_GELU(Emit *e, ValueId *out) {
    ValueId x = X(0), inner;
    if (INT_ATTR(GELU, tanh)) {
        inner = TANH(MUL(x, emit_gelu_factor(e, x, 1)));
    } else {
        inner = ERF(MUL(x, NUM(0.70710678118654752)));
    }
    out[0] = MUL(MUL(NUM(0.5), x), ADD(NUM(1), inner));
    return true;
}
bool expand_DOT_ADD(Emit *e, ValueId *out) {
    Build  *b = e->build;
    Dtype   wide = dtype_compute(build_dtype(b, X(0)));
    ValueId operands[2] = {build_convert(b, X(0), wide), build_convert(b, X(1), wide)};
    out[0] = build_op(b, OP_DOT_GENERAL, operands, 2, e->attrs);
    if (e->count > 2) out[0] = ADD(X(2), out[0]);
    return true;
}
bool expand_MEAN(Emit *e, ValueId *out) {
    ListId list = {(uint32_t)INT_ATTR(MEAN, axes)};
    out[0] = emit_mean(e, X(0), list_numbers(&e->build->world->attrs, list),
                       list_count(&e->build->world->attrs, list));
    return true;
}

/* x - max x over axes (0 where the maximum is not finite, so that rows of -inf stay defined) */
typedef struct Shifted {
    ValueId x, max;
} Shifted;
static Shifted shift(Emit *e, const int64_t *axes, uint32_t count) {
    ValueId max = build_reduce(e->build, REDUCE_MAX, X(0), axes, count);
    max = SELECT(build_unary(e->build, OP_IS_FINITE, max), max, like(e, max, 0));
    return (Shifted){SUB(X(0), build_spread(e->build, max, X(0), axes, count)), max};
}
bool expand_SOFTMAX(Emit *e, ValueId *out) {
    int64_t axis = INT_ATTR(SOFTMAX, axis);
    ValueId power = EXP(shift(e, &axis, 1).x);
    ValueId sum = build_reduce(e->build, REDUCE_SUM, power, &axis, 1);
    sum = DIV(like(e, sum, 1), sum); /* one division a row: the sum is at least 1 */
    out[0] = MUL(power, build_spread(e->build, sum, X(0), &axis, 1));
    return true;
}
bool expand_LOG_SOFTMAX(Emit *e, ValueId *out) {
    int64_t axis = INT_ATTR(LOG_SOFTMAX, axis);
    ValueId x = shift(e, &axis, 1).x;
    ValueId sum = build_reduce(e->build, REDUCE_SUM, EXP(x), &axis, 1);
    out[0] = SUB(x, build_spread(e->build, LOG(sum), X(0), &axis, 1));
    return true;
}
bool expand_LOGSUMEXP(Emit *e, ValueId *out) {
    ListId         list = {(uint32_t)INT_ATTR(LOGSUMEXP, axes)};
    const int64_t *axes = list_numbers(&e->build->world->attrs, list);
    uint32_t       count = list_count(&e->build->world->attrs, list);
    Shifted        s = shift(e, axes, count);
    out[0] = ADD(LOG(build_reduce(e->build, REDUCE_SUM, EXP(s.x), axes, count)), s.max);
    return true;
}
bool expand_ONE_HOT(Emit *e, ValueId *out) {
    int64_t last = (int64_t)build_rank(e->build, Y) - 1;
    /* Compared in i64: a narrow dtype of the indices may not hold the size. */
    ValueId index = build_spread(e->build, build_convert(e->build, X(0), DTYPE_I64), Y, &last, 1);
    ValueId hot = COMPARE(EQ, emit_positions(e, Y, last), index);
    out[0] = build_convert(e->build, hot, (Dtype)INT_ATTR(ONE_HOT, dtype));
    return true;
}
/* log sum e^x - x[label], both sums of one pass over the classes: a gather would need the logits,
 * or their logarithms, in memory. */
bool expand_CROSS_ENTROPY(Emit *e, ValueId *out) {
    int64_t last = (int64_t)build_rank(e->build, X(0)) - 1;
    ValueId x = shift(e, &last, 1).x;
    ValueId label = build_convert(e->build, X(1), DTYPE_I64);
    ValueId mine_at = build_spread(e->build, label, x, &last, 1);
    ValueId hot = COMPARE(EQ, emit_positions(e, x, last), mine_at);
    ValueId mine = build_reduce(e->build, REDUCE_SUM, SELECT(hot, x, like(e, x, 0)), &last, 1);
    ValueId sum = build_reduce(e->build, REDUCE_SUM, EXP(x), &last, 1);
    ValueId loss = SUB(LOG(sum), mine);
    out[0] = SELECT(emit_is_class(e, x, label), loss, like(e, loss, 0));
    return true;
}

static bool expand_norm(Emit *e, double epsilon, bool centred, ValueId *out) {
    int64_t    last = (int64_t)build_rank(e->build, X(0)) - 1;
    Normalised n = emit_normalise(e, &last, 1, epsilon, centred);
    out[0] = MUL(n.hat, build_along(e->build, X(1), X(0), last));
    if (e->count == 3) out[0] = ADD(out[0], build_along(e->build, X(2), X(0), last));
    return true;
}
bool expand_LAYER_NORM(Emit *e, ValueId *out) {
    return expand_norm(e, FLOAT_ATTR(LAYER_NORM, epsilon), true, out);
}
bool expand_RMS_NORM(Emit *e, ValueId *out) {
    return expand_norm(e, FLOAT_ATTR(RMS_NORM, epsilon), false, out);
}

bool expand_BATCH_NORM(Emit *e, ValueId *out) {
    double   epsilon = FLOAT_ATTR(BATCH_NORM, epsilon), weight = FLOAT_ATTR(BATCH_NORM, momentum);
    uint32_t rank = build_rank(e->build, X(0)), count = 0;
    int64_t  axes[SHAPE_RANK_MAX];
    ValueId  x = X(0), mean = X(3), var = X(4), one;
    for (uint32_t i = 0; i < rank; i++)
        if (i != 1) axes[count++] = i;
    out[1] = X(3);
    out[2] = X(4);
    if (INT_ATTR(BATCH_NORM, training)) {
        mean = emit_mean(e, x, axes, count);
        ValueId centred = SUB(x, build_along(e->build, mean, x, 1));
        var = emit_mean(e, MUL(centred, centred), axes, count);
        one = like(e, var, 1);
        ValueId n = build_scalar_over(
            e->build, build_count(e->build, x, axes, count, build_dtype(e->build, x)), var);
        ValueId unbiased = MUL(var, DIV(n, MAXIMUM(SUB(n, one), one)));
        ValueId keep = like(e, var, 1 - weight), take = like(e, var, weight);
        out[1] = ADD(MUL(keep, X(3)), MUL(take, mean));
        out[2] = ADD(MUL(keep, X(4)), MUL(take, unbiased));
    }
    ValueId inverse = RSQRT(ADD(var, like(e, var, epsilon)));
    ValueId hat =
        MUL(SUB(x, build_along(e->build, mean, x, 1)), build_along(e->build, inverse, x, 1));
    out[0] = ADD(MUL(hat, build_along(e->build, X(1), x, 1)), build_along(e->build, X(2), x, 1));
    return true;
}

/* Keeps an element when its 24 random bits are at least rate x 2^24. */
bool expand_DROPOUT(Emit *e, ValueId *out) {
    double   rate = FLOAT_ATTR(DROPOUT, rate);
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, X(0));
    ValueId  seed = X(1);
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(e->build, X(0))[i];
    uint64_t words[2] = {build_sizes(e->build, dims, rank), e->attrs[ATTR_DROPOUT_stream]};
    ValueId  bits = build_op(e->build, OP_RNG_BITS, &seed, 1, words);
    ValueId  uniform = build_binary(e->build, OP_SHR_LOGICAL, bits, like(e, bits, 8));
    ValueId  kept = COMPARE(GE, uniform, like(e, bits, rate * 16777216.0));
    out[0] = SELECT(kept, MUL(X(0), NUM(1 / (1 - rate))), NUM(0));
    return true;
}

static ValueId window(Emit *e, ReduceKind kind) {
    uint64_t words[6] = {kind, e->attrs[0], e->attrs[1], e->attrs[2], e->attrs[3], 0};
    ValueId  x = X(0);
    return build_op(e->build, OP_REDUCE_WINDOW, &x, 1, words);
}
bool expand_MAX_POOL(Emit *e, ValueId *out) {
    out[0] = window(e, REDUCE_MAX);
    return true;
}
bool expand_AVG_POOL(Emit *e, ValueId *out) {
    const Attrs *attrs = &e->build->world->attrs;
    ListId       sizes = {(uint32_t)INT_ATTR(AVG_POOL, window)};
    double       size = 1;
    for (uint32_t i = 0; i < list_count(attrs, sizes); i++)
        size *= (double)list_numbers(attrs, sizes)[i];
    ValueId sum = window(e, REDUCE_SUM);
    out[0] = DIV(sum, like(e, sum, size));
    return true;
}

bool expand_GLOBAL_NORM(Emit *e, ValueId *out) {
    ValueId sum = {0};
    for (uint32_t i = 0; i < e->count; i++) {
        int64_t axes[SHAPE_RANK_MAX];
        for (uint32_t k = 0; k < build_rank(e->build, X(i)); k++) axes[k] = k;
        ValueId part =
            build_reduce(e->build, REDUCE_SUM, MUL(X(i), X(i)), axes, build_rank(e->build, X(i)));
        sum = i == 0 ? part : ADD(sum, part);
    }
    out[0] = SQRT(sum);
    return true;
}

bool expand_SGD(Emit *e, ValueId *out) {
    double  momentum = FLOAT_ATTR(SGD, momentum), decay = FLOAT_ATTR(SGD, decay);
    ValueId p = X(0), g = X(1), rate = build_scalar_over(e->build, X(3), p);
    if (decay != 0) g = ADD(g, MUL(NUM(decay), p));
    ValueId buffer = ADD(MUL(NUM(momentum), X(2)), g);
    ValueId move = INT_ATTR(SGD, nesterov) ? ADD(g, MUL(NUM(momentum), buffer)) : buffer;
    out[0] = SUB(p, MUL(rate, move));
    out[1] = buffer;
    return true;
}
bool expand_ADAMW(Emit *e, ValueId *out) {
    double  beta1 = FLOAT_ATTR(ADAMW, beta1), beta2 = FLOAT_ATTR(ADAMW, beta2);
    ValueId p = X(0), g = X(1), one = like(e, X(5), 1);
    ValueId rate = build_scalar_over(e->build, X(4), p);
    ValueId c1 = SUB(one, POW(like(e, X(5), beta1), X(5))),
            c2 = SUB(one, POW(like(e, X(5), beta2), X(5)));
    ValueId first = ADD(MUL(NUM(beta1), X(2)), MUL(NUM(1 - beta1), g));
    ValueId second = ADD(MUL(NUM(beta2), X(3)), MUL(NUM(1 - beta2), MUL(g, g)));
    ValueId root = SQRT(DIV(second, build_scalar_over(e->build, c2, p)));
    ValueId step = DIV(DIV(first, build_scalar_over(e->build, c1, p)),
                       ADD(root, NUM(FLOAT_ATTR(ADAMW, epsilon))));
    /* of numbers, so that parameters of one shape share no tensor: each could be a kernel */
    ValueId keep = SUB(like(e, X(4), 1), MUL(X(4), like(e, X(4), FLOAT_ATTR(ADAMW, decay))));
    ValueId kept = MUL(p, build_scalar_over(e->build, keep, p));
    out[0] = SUB(kept, MUL(rate, step));
    out[1] = first;
    out[2] = second;
    return true;
}
