/* Rules of attention: the expansion, its derivative, and the transpose of that.
 *
 * y = p v with p = softmax(s), s = scale q k^T, masked. Derivatives need p again, not s: lse, the
 * second result, gives p = e^(s - lse) without another reduction, so that no row has to keep a
 * matrix of queries x keys. The derivative is one row, attention_tangent, its transpose another,
 * attention_grad; a back end may have kernels for them that go block by block. Their expansions
 * here are in primitives, and say what those kernels compute. 16-bit floats: products take and
 * give 16 bits, everything between them is f32.
 *
 * Query heads that share a key head become further rows of one matrix: [..., H, T, D] is
 * [..., G, H/G T, D] in memory. */
#include "systems/emit.h"

/* The three operators have the same attributes. */
enum { SCALE = ATTR_ATTENTION_scale, CAUSAL = ATTR_ATTENTION_causal, PARTS = 8 };
static_assert(ATTR_ATTENTION_TANGENT_scale == (int)SCALE, "attributes in the same places");
static_assert(ATTR_ATTENTION_TANGENT_causal == (int)CAUSAL, "attributes in the same places");
static_assert(ATTR_ATTENTION_GRAD_scale == (int)SCALE, "attributes in the same places");
static_assert(ATTR_ATTENTION_GRAD_causal == (int)CAUSAL, "attributes in the same places");
static_assert(ATTR_ATTENTION_GRAD_SUMS_causal == (int)CAUSAL, "attributes in the same places");

/* --- shapes ----------------------------------------------------------------------------------- */
static int64_t last_axis(Emit *e) { return (int64_t)build_rank(e->build, X(0)) - 1; }
static Dtype   wide_dtype(Emit *e) { return dtype_compute(build_dtype(e->build, X(0))); }
static ValueId widen(Emit *e, ValueId x) { return build_convert(e->build, x, wide_dtype(e)); }
static ValueId narrow(Emit *e, ValueId x) {
    return build_convert(e->build, x, build_dtype(e->build, X(0)));
}
static bool shares_heads(Emit *e) {
    uint32_t rank = build_rank(e->build, X(0));
    return rank > 2 && !dims_same(&e->build->world->dims, build_dims(e->build, X(0))[rank - 3],
                                  build_dims(e->build, X(1))[rank - 3]);
}
/* x[..., H, T, W] as the matrices [..., G, H/G T, W] of the key heads. */
static ValueId by_key_heads(Emit *e, ValueId x) {
    Dims    *dims = &e->build->world->dims;
    DimId    sizes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, X(0));
    if (!shares_heads(e)) return x;
    for (uint32_t i = 0; i < rank; i++) sizes[i] = build_dims(e->build, x)[i];
    DimId times = dims_floordiv(dims, sizes[rank - 3], build_dims(e->build, X(1))[rank - 3]);
    sizes[rank - 3] = build_dims(e->build, X(1))[rank - 3];
    sizes[rank - 2] = dims_mul(dims, times, sizes[rank - 2]);
    return build_reshape(e->build, x, sizes, rank);
}
/* And back. */
static ValueId by_query_heads(Emit *e, ValueId x) {
    DimId    sizes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, X(0));
    if (!shares_heads(e)) return x;
    for (uint32_t i = 0; i < rank; i++) sizes[i] = build_dims(e->build, X(0))[i];
    sizes[rank - 1] = build_dims(e->build, x)[rank - 1];
    return build_reshape(e->build, x, sizes, rank);
}
/* a[.., T, W] times b^T (b[.., S, W]) or b[.., W, V], for every query head. */
static ValueId queries_dot(Emit *e, ValueId a, ValueId b, bool turned) {
    return by_query_heads(e, emit_matrix_dot(e, by_key_heads(e, a), b, turned));
}
/* The sum over the queries of a key head: a[.., T, S], b[.., T, W] give [.., S, W]. */
static ValueId over_queries(Emit *e, ValueId a, ValueId b) {
    DotAxes axes = {.contract = 1};
    int64_t rank = build_rank(e->build, a);
    for (int64_t i = 0; i + 2 < rank; i++) axes.x_batch[i] = axes.y_batch[i] = i;
    axes.batch = (uint32_t)(rank - 2);
    axes.x_contract[0] = axes.y_contract[0] = rank - 2;
    return build_dot(e->build, by_key_heads(e, a), by_key_heads(e, b), &axes);
}
static ValueId along_keys(Emit *e, ValueId x, ValueId like) { /* x[.., T] over like[.., T, S] */
    int64_t last = last_axis(e);
    return build_spread(e->build, x, like, &last, 1);
}
static ValueId sum_keys(Emit *e, ValueId x) {
    int64_t last = last_axis(e);
    return build_reduce(e->build, REDUCE_SUM, x, &last, 1);
}

/* --- scores ----------------------------------------------------------------------------------- */
/* The mask hides key j from query i when j > i + keys - queries. */
static ValueId mask(Emit *e, ValueId scores) {
    uint32_t rank = build_rank(e->build, scores);
    DimId    plane[2] = {build_dims(e->build, scores)[rank - 2],
                         build_dims(e->build, scores)[rank - 1]};
    uint64_t sizes = build_sizes(e->build, plane, 2);
    uint64_t rows[3] = {DTYPE_I64, sizes, 0}, columns[3] = {DTYPE_I64, sizes, 1};
    ValueId  i = build_op(e->build, OP_IOTA, NULL, 0, rows);
    ValueId  j = build_op(e->build, OP_IOTA, NULL, 0, columns);
    if (plane[0].row != plane[1].row) {
        uint64_t t = rank - 2, s = rank - 1;
        ValueId  behind = SUB(build_op(e->build, OP_DIM_SIZE, &scores, 1, &s),
                              build_op(e->build, OP_DIM_SIZE, &scores, 1, &t));
        i = ADD(i, build_scalar_over(e->build, behind, i));
    }
    int64_t others[SHAPE_RANK_MAX]; /* the plane is the same for all of them */
    for (uint32_t k = 0; k + 2 < rank; k++) others[k] = k;
    ValueId seen = build_spread(e->build, COMPARE(LE, j, i), scores, others, rank - 2);
    return SELECT(seen, scores, build_splat(e->build, scores, -__builtin_inf()));
}
static ValueId scaled(Emit *e, ValueId x) {
    double  scale = word_f64(e->attrs[SCALE]);
    int64_t last = last_axis(e);
    if (scale != 0) return MUL(x, build_splat(e->build, x, scale));
    ValueId width = build_count(e->build, X(0), &last, 1, build_dtype(e->build, x));
    return MUL(x, build_scalar_over(e->build, RSQRT(width), x));
}
static ValueId scores(Emit *e) {
    ValueId s = scaled(e, widen(e, queries_dot(e, X(0), X(1), true)));
    return e->attrs[CAUSAL] ? mask(e, s) : s;
}
/* x where it is finite, else 0: rows without a key have the maximum and lse -inf. */
static ValueId finite(Emit *e, ValueId x) {
    return SELECT(build_unary(e->build, OP_IS_FINITE, x), x, build_splat(e->build, x, 0));
}
/* p from lse: 0 in rows without a key. */
static ValueId shares(Emit *e, ValueId lse) {
    ValueId s = scores(e);
    return EXP(SUB(s, along_keys(e, finite(e, lse), s)));
}

/* --- the rules -------------------------------------------------------------------------------- */
bool expand_ATTENTION(Emit *e, ValueId *out) {
    int64_t last = last_axis(e);
    ValueId s = scores(e);
    ValueId max = finite(e, build_reduce(e->build, REDUCE_MAX, s, &last, 1));
    ValueId power = EXP(SUB(s, along_keys(e, max, s))), sum = sum_keys(e, power);
    ValueId none = COMPARE(EQ, sum, build_splat(e->build, sum, 0));
    ValueId divisor = SELECT(none, build_splat(e->build, sum, 1), sum);
    ValueId p = DIV(power, along_keys(e, divisor, s));
    out[0] = queries_dot(e, narrow(e, p), X(2), false);
    out[1] = ADD(LOG(sum), max);
    return true;
}

/* q k v y lse, and what is given, as an operator of the family. */
static OpId family_row(Emit *e, Opcode opcode, const ValueId *more, uint32_t count) {
    ValueId operands[PARTS] = {X(0), X(1), X(2)};
    ASSERT(count + 5 <= PARTS);
    /* attention has y and lse as its results, the others as operands */
    bool first = e->build->code->ops.opcode[e->op.row] == OP_ATTENTION;
    for (uint32_t i = 0; i < 2; i++)
        operands[3 + i] = first ? op_result(e->build->code, e->op, i) : X(3 + i);
    for (uint32_t i = 0; i < count; i++) operands[5 + i] = more[i];
    return build_row(e->build, opcode, operands, 5 + count, e->attrs, 0);
}
bool jvp_ATTENTION(Emit *e, ValueId *out) {
    ValueId d[3] = {emit_tangent(e, 0), emit_tangent(e, 1), emit_tangent(e, 2)};
    OpId    row = family_row(e, OP_ATTENTION_TANGENT, d, 3);
    for (uint32_t i = 0; i < 2; i++) out[i] = op_result(e->build->code, row, i);
    return true;
}
void transpose_ATTENTION_TANGENT(Emit *e, ValueId *out) {
    bool    shifts = value_id_some(e->ct[1]);
    ValueId ct[2] = {value_id_some(CT) ? CT : emit_zeros(e, T(3)), e->ct[1]};
    OpId    row = family_row(e, OP_ATTENTION_GRAD, ct, shifts ? 2 : 1);
    for (uint32_t i = 0; i < 3; i++) out[5 + i] = op_result(e->build->code, row, i);
}

/* dlse = sum p ds;  dy = (p ds) v - dlse y + p dv */
bool expand_ATTENTION_TANGENT(Emit *e, ValueId *out) {
    ValueId by_q = queries_dot(e, X(5), X(1), true), by_k = queries_dot(e, X(0), X(6), true);
    ValueId ds = scaled(e, widen(e, ADD(by_q, by_k)));
    ValueId p = shares(e, X(4)), pds = MUL(p, ds);
    ValueId dlse = sum_keys(e, pds), y = widen(e, X(3));
    ValueId moved = widen(e, ADD(queries_dot(e, narrow(e, pds), X(2), false),
                                 queries_dot(e, narrow(e, p), X(7), false)));
    out[0] = narrow(e, SUB(moved, MUL(along_keys(e, dlse, y), y)));
    out[1] = dlse;
    return true;
}
/* ds = scale p (dy v^T - (dy . y - dlse));  dq = ds k;  dk = ds^T q;  dv = p^T dy */
bool expand_ATTENTION_GRAD(Emit *e, ValueId *out) {
    ValueId dy = X(5), dp = widen(e, queries_dot(e, dy, X(2), true));
    ValueId delta = sum_keys(e, MUL(widen(e, dy), widen(e, X(3))));
    if (e->count > 6) delta = SUB(delta, X(6));
    ValueId p = shares(e, X(4));
    ValueId ds = narrow(e, scaled(e, MUL(p, SUB(dp, along_keys(e, delta, dp)))));
    out[0] = queries_dot(e, ds, X(1), false);
    out[1] = over_queries(e, ds, X(0));
    out[2] = over_queries(e, narrow(e, p), dy);
    return true;
}
bool expand_ATTENTION_GRAD_SUMS(Emit *e, ValueId *out) {
    OpId     row = build_row(e->build, OP_ATTENTION_GRAD, e->x, e->count, e->attrs, 0);
    ValueId  sums[3];
    int64_t  axes[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, X(0)), count = 0;
    for (uint32_t i = 0; i + 1 < rank; i++)
        if (i + 3 != rank) axes[count++] = i;
    for (uint32_t i = 0; i < 3; i++) {
        out[i] = op_result(e->build->code, row, i);
        sums[i] = build_reduce(e->build, REDUCE_SUM, out[i], axes, count);
        DimId dims[3] = {dims_const(&e->build->world->dims, 1), build_dims(e->build, sums[i])[0],
                         build_dims(e->build, sums[i])[1]};
        sums[i] = build_reshape(e->build, sums[i], dims, 3);
    }
    uint64_t first = 0;
    out[3] = build_op(e->build, OP_CONCAT, sums, 3, &first);
    return true;
}
