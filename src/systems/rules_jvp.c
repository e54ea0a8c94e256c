/* Derivatives that need more than an expression: reductions, indexing, windows, and the composites
 * with a gradient of their own. Each emits rows that are linear in the tangents; coefficients may
 * use any operator. Composites recompute what they need from their operands and result; dedupe
 * merges that with the forward rows. */
#include "systems/emit.h"

/* Adds part to *sum (nil: becomes it). */
static void add_part(Emit *e, ValueId *sum, ValueId part) {
    *sum = value_id_some(*sum) ? ADD(*sum, part) : part;
}
/* axis list of all axes but one */
static uint32_t other_axes(uint32_t rank, int64_t axis, int64_t *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (i != axis) out[count++] = i;
    return count;
}
static ValueId sum_of(Emit *e, ValueId x, const int64_t *axes, uint32_t count) {
    return build_reduce(e->build, REDUCE_SUM, x, axes, count);
}

/* --- reductions ------------------------------------------------------------------------------- */
/* Product of all others along one axis: exclusive running products from both ends, so that zeros
 * are handled exactly (in this derivative; the next one is that of the running product). */
static ValueId product_of_others(Emit *e, ValueId x, int64_t axis) {
    Dims    *dims = &e->build->world->dims;
    uint32_t rank = build_rank(e->build, x);
    ValueId  one = build_scalar(e->build, build_dtype(e->build, x), 1), sides[2];
    for (uint32_t from_end = 0; from_end < 2; from_end++) {
        uint64_t words[3] = {REDUCE_PROD, (uint64_t)axis, from_end};
        ValueId  running = build_op(e->build, OP_CUMULATIVE, &x, 1, words);
        int64_t  low[SHAPE_RANK_MAX], high[SHAPE_RANK_MAX];
        for (uint32_t i = 0; i < rank; i++) low[i] = high[i] = dims_const(dims, 0).row;
        low[axis] = dims_const(dims, from_end ? -1 : 1).row;
        high[axis] = dims_const(dims, from_end ? 1 : -1).row;
        uint64_t pad[3] = {build_ints(e->build, low, rank), build_ints(e->build, high, rank), 0};
        ValueId  operands[2] = {running, one};
        sides[from_end] = build_op(e->build, OP_PAD, operands, 2, pad);
    }
    return MUL(sides[0], sides[1]);
}

static ValueId jvp_product(Emit *e, const int64_t *axes, uint32_t count) {
    ValueId value = X(0), tangent = e->d[0];
    for (uint32_t k = count; k-- > 0;) { /* from the last axis, so earlier numbers stay valid */
        int64_t axis = axes[k];
        tangent = sum_of(e, MUL(tangent, product_of_others(e, value, axis)), &axis, 1);
        value = build_reduce(e->build, REDUCE_PROD, value, &axis, 1);
    }
    return tangent;
}

bool jvp_REDUCE(Emit *e, ValueId *out) {
    ReduceKind     kind = (ReduceKind)INT_ATTR(REDUCE, kind);
    ListId         list = {(uint32_t)INT_ATTR(REDUCE, axes)};
    const int64_t *axes = list_numbers(&e->build->world->attrs, list);
    uint32_t       count = list_count(&e->build->world->attrs, list);
    if (kind == REDUCE_SUM) {
        out[0] = emit_like(e, &e->d[0]);
    } else if (kind == REDUCE_PROD) {
        out[0] = jvp_product(e, axes, count);
    } else { /* max, min: the average over the places that attain it */
        ValueId hit = COMPARE(EQ, X(0), build_spread(e->build, Y, X(0), axes, count));
        ValueId mask = build_convert(e->build, hit, build_dtype(e->build, X(0)));
        out[0] = DIV(sum_of(e, MUL(e->d[0], mask), axes, count), sum_of(e, mask, axes, count));
    }
    return true;
}

/* The tangent at the place that each running extreme was last attained: a place attains it where x
 * is y, and the latest such place up to here is a running extreme of indices. */
static ValueId take_running_extreme(Emit *e, int64_t axis, bool reverse) {
    DimId    dims[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, X(0));
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(e->build, X(0))[i];
    uint64_t iota[3] = {DTYPE_I64, build_sizes(e->build, dims, rank), (uint64_t)axis};
    ValueId  index = build_op(e->build, OP_IOTA, NULL, 0, iota);
    ValueId  none = build_splat(e->build, index, reverse ? 0x1p52 : -1);
    ValueId  hits = SELECT(COMPARE(EQ, X(0), Y), index, none);
    uint64_t words[3] = {reverse ? REDUCE_MIN : REDUCE_MAX, (uint64_t)axis, reverse};
    ValueId  places = build_op(e->build, OP_CUMULATIVE, &hits, 1, words);
    return emit_take_along(e, e->d[0], emit_with_last_one(e, places), axis);
}
/* The running product needs x != 0: its derivative is computed as y cumsum(dx / x). */
bool jvp_CUMULATIVE(Emit *e, ValueId *out) {
    ReduceKind kind = (ReduceKind)INT_ATTR(CUMULATIVE, kind);
    int64_t    axis = INT_ATTR(CUMULATIVE, axis);
    bool       reverse = INT_ATTR(CUMULATIVE, reverse) != 0;
    if (kind == REDUCE_MAX || kind == REDUCE_MIN) {
        if (build_rank(e->build, X(0)) == SHAPE_RANK_MAX) return false;
        out[0] = take_running_extreme(e, axis, reverse);
        return true;
    }
    ValueId  inner = kind == REDUCE_SUM ? e->d[0] : DIV(e->d[0], X(0));
    uint64_t words[3] = {REDUCE_SUM, (uint64_t)axis, reverse};
    ValueId  sum = build_op(e->build, OP_CUMULATIVE, &inner, 1, words);
    out[0] = kind == REDUCE_SUM ? sum : MUL(Y, sum);
    return true;
}

bool jvp_SORT(Emit *e, ValueId *out) {
    int64_t  axis = INT_ATTR(SORT, axis);
    uint32_t rank = build_rank(e->build, X(0));
    if (rank == SHAPE_RANK_MAX) return false;
    DimId dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(e->build, X(0))[i];
    uint64_t iota[3] = {DTYPE_I64, build_sizes(e->build, dims, rank), (uint64_t)axis};
    ValueId  pair[2] = {X(0), build_op(e->build, OP_IOTA, NULL, 0, iota)};
    OpId     sorted = build_row(e->build, OP_SORT, pair, 2, e->attrs, 2);
    ValueId  places = emit_with_last_one(e, op_result(e->build->code, sorted, 1));
    for (uint32_t i = 0; i < e->count; i++)
        if (value_id_some(e->d[i])) out[i] = emit_take_along(e, e->d[i], places, axis);
    return true;
}

bool jvp_UNSTACK(Emit *e, ValueId *out) {
    uint32_t count = e->build->code->ops.results_count[e->op.row];
    OpId     row = build_row(e->build, OP_UNSTACK, e->d, 1, e->attrs, count);
    for (uint32_t i = 0; i < count; i++) out[i] = op_result(e->build->code, row, i);
    return true;
}
bool jvp_BARRIER(Emit *e, ValueId *out) {
    for (uint32_t i = 0; i < e->count; i++) out[i] = e->d[i];
    return true;
}

/* set and add are linear in x and updates together; set counts on places written once. */
bool jvp_SCATTER(Emit *e, ValueId *out) {
    ScatterKind kind = (ScatterKind)INT_ATTR(SCATTER, kind);
    if (kind != SCATTER_ADD && kind != SCATTER_SET) return false;
    ValueId operands[3] = {emit_tangent(e, 0), X(1), emit_tangent(e, 2)};
    out[0] = emit_like(e, operands);
    return true;
}

/* --- windows ---------------------------------------------------------------------------------- */
/* The tangent at the place of each window's extreme: the windowed axes are flattened and the i64
 * positions of reduce_window argmax select along them. */
static ValueId take_extreme(Emit *e, ValueId tangent, ValueId places, uint32_t windowed) {
    Dims    *dims = &e->build->world->dims;
    uint32_t rank = build_rank(e->build, tangent), lead = rank - windowed;
    DimId    flat[SHAPE_RANK_MAX], rows[SHAPE_RANK_MAX], out[SHAPE_RANK_MAX];
    DimId    size = dims_const(dims, 1), count = dims_const(dims, 1);
    for (uint32_t i = 0; i < rank; i++) {
        DimId from = build_dims(e->build, tangent)[i], to = build_dims(e->build, places)[i];
        out[i] = to;
        if (i < lead)
            flat[i] = rows[i] = from;
        else
            size = dims_mul(dims, size, from), count = dims_mul(dims, count, to);
    }
    flat[lead] = size;
    rows[lead] = count;
    rows[lead + 1] = dims_const(dims, 1);
    ValueId taken = emit_take_along(e, build_reshape(e->build, tangent, flat, lead + 1),
                                    build_reshape(e->build, places, rows, lead + 2), lead);
    return build_reshape(e->build, taken, out, rank);
}

static bool jvp_extreme_window(Emit *e, ReduceKind kind, const uint64_t *geometry,
                               uint64_t dilation, ValueId *out) {
    uint64_t words[6] = {kind, geometry[0], geometry[1], geometry[2], geometry[3], dilation};
    ValueId  x = X(0);
    ListId   window = {(uint32_t)geometry[0]};
    uint32_t windowed = list_count(&e->build->world->attrs, window);
    ValueId  places = build_op(e->build, OP_REDUCE_WINDOW, &x, 1, words);
    out[0] = take_extreme(e, e->d[0], places, windowed);
    return true;
}
bool jvp_REDUCE_WINDOW(Emit *e, ValueId *out) {
    ReduceKind kind = (ReduceKind)INT_ATTR(REDUCE_WINDOW, kind);
    if (kind == REDUCE_ARGMAX || kind == REDUCE_ARGMIN) return true;
    if (kind != REDUCE_SUM)
        return jvp_extreme_window(e, kind == REDUCE_MAX ? REDUCE_ARGMAX : REDUCE_ARGMIN,
                                  e->attrs + ATTR_REDUCE_WINDOW_window,
                                  e->attrs[ATTR_REDUCE_WINDOW_dilation], out);
    out[0] = emit_like(e, &e->d[0]);
    return true;
}
bool jvp_MAX_POOL(Emit *e, ValueId *out) {
    return jvp_extreme_window(e, REDUCE_ARGMAX, e->attrs, 0, out);
}

bool jvp_AVG_POOL(Emit *e, ValueId *out) {
    const Attrs *attrs = &e->build->world->attrs;
    ListId       window = {(uint32_t)INT_ATTR(AVG_POOL, window)};
    double       size = 1;
    for (uint32_t i = 0; i < list_count(attrs, window); i++)
        size *= (double)list_numbers(attrs, window)[i];
    uint64_t words[6] = {REDUCE_SUM, e->attrs[0], e->attrs[1], e->attrs[2], e->attrs[3], 0};
    ValueId  sum = build_op(e->build, OP_REDUCE_WINDOW, &e->d[0], 1, words);
    out[0] = DIV(sum, build_splat(e->build, sum, size));
    return true;
}

/* --- composites: activations and softmax ------------------------------------------------------ */
bool jvp_GELU(Emit *e, ValueId *out) {
    ValueId x = X(0), half = NUM(0.5), one = NUM(1), slope;
    if (INT_ATTR(GELU, tanh)) {
        ValueId t = TANH(MUL(x, emit_gelu_factor(e, x, 1))), inner = emit_gelu_factor(e, x, 3);
        slope = ADD(MUL(half, ADD(one, t)), MUL(MUL(half, x), MUL(SUB(one, MUL(t, t)), inner)));
    } else {
        ValueId phi = MUL(half, ADD(one, ERF(MUL(x, NUM(0.70710678118654752)))));
        ValueId density = MUL(NUM(0.3989422804014327), EXP(MUL(NUM(-0.5), MUL(x, x))));
        slope = ADD(phi, MUL(x, density));
    }
    out[0] = MUL(e->d[0], slope);
    return true;
}
bool jvp_MEAN(Emit *e, ValueId *out) {
    ListId list = {(uint32_t)INT_ATTR(MEAN, axes)};
    out[0] = emit_mean(e, e->d[0], list_numbers(&e->build->world->attrs, list),
                       list_count(&e->build->world->attrs, list));
    return true;
}
bool jvp_SOFTMAX(Emit *e, ValueId *out) {
    int64_t axis = INT_ATTR(SOFTMAX, axis);
    ValueId mean = sum_of(e, MUL(Y, e->d[0]), &axis, 1);
    out[0] = MUL(Y, SUB(e->d[0], build_spread(e->build, mean, X(0), &axis, 1)));
    return true;
}
bool jvp_LOG_SOFTMAX(Emit *e, ValueId *out) {
    int64_t axis = INT_ATTR(LOG_SOFTMAX, axis);
    ValueId mean = sum_of(e, MUL(EXP(Y), e->d[0]), &axis, 1);
    out[0] = SUB(e->d[0], build_spread(e->build, mean, X(0), &axis, 1));
    return true;
}
bool jvp_LOGSUMEXP(Emit *e, ValueId *out) {
    ListId         list = {(uint32_t)INT_ATTR(LOGSUMEXP, axes)};
    const int64_t *axes = list_numbers(&e->build->world->attrs, list);
    uint32_t       count = list_count(&e->build->world->attrs, list);
    ValueId        share = EXP(SUB(X(0), build_spread(e->build, Y, X(0), axes, count)));
    out[0] = sum_of(e, MUL(share, e->d[0]), axes, count);
    return true;
}

/* d loss = sum((softmax - one_hot) d logits), 0 for labels outside the classes. */
bool jvp_CROSS_ENTROPY(Emit *e, ValueId *out) {
    ValueId  x = X(0), label = build_convert(e->build, X(1), DTYPE_I64);
    int64_t  last = (int64_t)build_rank(e->build, x) - 1;
    Dtype    dtype = build_dtype(e->build, x);
    uint64_t axes = build_ints(e->build, &last, 1);
    ValueId  valid = build_convert(e->build, emit_is_class(e, x, label), dtype); /* one a row */
    ValueId  mine = build_spread(e->build, label, x, &last, 1);
    ValueId  hot = build_convert(e->build, COMPARE(EQ, emit_positions(e, x, last), mine), dtype);
    ValueId  lse = build_op(e->build, OP_LOGSUMEXP, &x, 1, &axes);
    ValueId  p = EXP(SUB(x, build_spread(e->build, lse, x, &last, 1))); /* no division by class */
    out[0] = MUL(valid, sum_of(e, MUL(SUB(p, hot), e->d[0]), &last, 1));
    return true;
}

/* --- composites: normalisation ---------------------------------------------------------------- */
/* d x^ = r (dx - mean dx - x^ mean(x^ dx)); without the middle term when not centred. */
static ValueId normalised_tangent(Emit *e, Normalised n, ValueId dx, const int64_t *axes,
                                  uint32_t count, bool centred) {
    ValueId along = emit_mean(e, MUL(n.hat, dx), axes, count);
    ValueId rest = SUB(dx, MUL(n.hat, build_spread(e->build, along, dx, axes, count)));
    if (centred)
        rest = SUB(rest, build_spread(e->build, emit_mean(e, dx, axes, count), dx, axes, count));
    return MUL(n.inverse, rest);
}
static bool jvp_norm(Emit *e, double epsilon, bool centred, ValueId *out) {
    int64_t    last = (int64_t)build_rank(e->build, X(0)) - 1;
    Normalised n = emit_normalise(e, &last, 1, epsilon, centred);
    if (value_id_some(e->d[0]))
        add_part(e, out,
                 MUL(build_along(e->build, X(1), X(0), last),
                     normalised_tangent(e, n, e->d[0], &last, 1, centred)));
    if (value_id_some(e->d[1]))
        add_part(e, out, MUL(n.hat, build_along(e->build, e->d[1], X(0), last)));
    if (e->count == 3 && value_id_some(e->d[2]))
        add_part(e, out, build_along(e->build, e->d[2], X(0), last));
    return true;
}
bool jvp_LAYER_NORM(Emit *e, ValueId *out) {
    return jvp_norm(e, FLOAT_ATTR(LAYER_NORM, epsilon), true, out);
}
bool jvp_RMS_NORM(Emit *e, ValueId *out) {
    return jvp_norm(e, FLOAT_ATTR(RMS_NORM, epsilon), false, out);
}

/* Of statistics that are used as they are, the running ones in inference. */
static void add_statistics_part(Emit *e, const Normalised *n, double epsilon, ValueId *sum) {
    ValueId w = build_along(e->build, X(1), X(0), 1);
    if (value_id_some(e->d[3]))
        add_part(e, sum, NEG(MUL(MUL(w, n->inverse), build_along(e->build, e->d[3], X(0), 1))));
    if (value_id_some(e->d[4])) { /* d inverse = -1/2 inverse d var / (var + epsilon) */
        ValueId width = ADD(X(4), build_splat(e->build, X(4), epsilon));
        ValueId share = DIV(MUL(e->d[4], build_splat(e->build, X(4), -0.5)), width);
        add_part(e, sum, MUL(MUL(w, n->hat), build_along(e->build, share, X(0), 1)));
    }
}
/* The statistics that training updates carry no derivative. */
bool jvp_BATCH_NORM(Emit *e, ValueId *out) {
    int64_t    axes[SHAPE_RANK_MAX];
    uint32_t   count = other_axes(build_rank(e->build, X(0)), 1, axes);
    double     epsilon = FLOAT_ATTR(BATCH_NORM, epsilon);
    bool       training = INT_ATTR(BATCH_NORM, training) != 0;
    Normalised n;
    if (training) {
        n = emit_normalise(e, axes, count, epsilon, true);
    } else {
        ValueId r = RSQRT(ADD(X(4), build_splat(e->build, X(4), epsilon)));
        n.inverse = build_along(e->build, r, X(0), 1);
        n.hat = MUL(SUB(X(0), build_along(e->build, X(3), X(0), 1)), n.inverse);
        add_statistics_part(e, &n, epsilon, out);
        out[1] = e->d[3];
        out[2] = e->d[4];
    }
    if (value_id_some(e->d[0])) {
        ValueId dx = training ? normalised_tangent(e, n, e->d[0], axes, count, true)
                              : MUL(n.inverse, e->d[0]);
        add_part(e, out, MUL(build_along(e->build, X(1), X(0), 1), dx));
    }
    if (value_id_some(e->d[1]))
        add_part(e, out, MUL(n.hat, build_along(e->build, e->d[1], X(0), 1)));
    if (value_id_some(e->d[2])) add_part(e, out, build_along(e->build, e->d[2], X(0), 1));
    return true;
}

bool jvp_GLOBAL_NORM(Emit *e, ValueId *out) {
    ValueId sum = {0};
    for (uint32_t i = 0; i < e->count; i++) {
        int64_t axes[SHAPE_RANK_MAX];
        if (!value_id_some(e->d[i])) continue;
        for (uint32_t k = 0; k < build_rank(e->build, X(i)); k++) axes[k] = k;
        add_part(e, &sum, sum_of(e, MUL(X(i), e->d[i]), axes, build_rank(e->build, X(i))));
    }
    out[0] = DIV(sum, Y);
    return true;
}

/* --- composites: matrix products -------------------------------------------------------------- */
bool jvp_LINEAR(Emit *e, ValueId *out) {
    if (value_id_some(e->d[0])) add_part(e, out, emit_linear_dot(e, e->d[0], X(1)));
    if (value_id_some(e->d[1])) add_part(e, out, emit_linear_dot(e, X(0), e->d[1]));
    if (e->count == 3 && value_id_some(e->d[2]))
        add_part(e, out, build_along(e->build, e->d[2], Y, (int64_t)build_rank(e->build, Y) - 1));
    return true;
}
bool jvp_MATMUL(Emit *e, ValueId *out) {
    if (value_id_some(e->d[0])) add_part(e, out, emit_matmul_dot(e, e->d[0], X(1)));
    if (value_id_some(e->d[1])) add_part(e, out, emit_matmul_dot(e, X(0), e->d[1]));
    return true;
}
bool jvp_EMBEDDING(Emit *e, ValueId *out) {
    out[0] = emit_rows(e, e->d[0], X(1));
    return true;
}
