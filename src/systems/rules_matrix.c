/* Derivatives, jets and expansions of what solves and factors matrices, over the last two axes.
 *
 * inverse, solve and the determinants are composites of lu and triangular_solve. Their derivatives
 * are products and solves with the same matrix, so that all orders share one factorisation (dedupe
 * merges the rows); a factor itself is differentiated only where it is what a program asks for.
 *
 * Sources: Giles, Collected matrix derivative results for forward and reverse mode AD, 2008; Walter
 * and Lehmann, Algorithmic differentiation of linear algebra functions with application in optimum
 * experimental design, 2010 (lu, qr, eigh). */
#include "systems/taylor.h"

/* --- words ------------------------------------------------------------------------------------ */
static ValueId swap_last(Emit *e, ValueId a) {
    int64_t  permutation[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, a);
    for (uint32_t i = 0; i < rank; i++) permutation[i] = i;
    permutation[rank - 2] = rank - 1;
    permutation[rank - 1] = rank - 2;
    return build_transpose(e->build, a, permutation, rank);
}
static ValueId dot(Emit *e, ValueId a, ValueId b) { return emit_matrix_dot(e, a, b, false); }
typedef enum Triangle { UPPER, LOWER } Triangle;
static ValueId triangular(Emit *e, ValueId a, ValueId b, Triangle which, bool transpose,
                          bool unit) {
    uint64_t words[3] = {which == LOWER, transpose, unit};
    ValueId  operands[2] = {a, b};
    return build_op(e->build, OP_TRIANGULAR_SOLVE, operands, 2, words);
}
static ValueId solve(Emit *e, ValueId a, ValueId b, bool transpose) {
    uint64_t word = transpose;
    ValueId  operands[2] = {a, b};
    return build_op(e->build, OP_SOLVE, operands, 2, &word);
}
/* i(row, column) along an axis of matrices like this one, counted from their last axes. */
static ValueId index_of(Emit *e, ValueId like, uint32_t from_last) {
    uint32_t rank = build_rank(e->build, like);
    DimId    dims[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) dims[i] = build_dims(e->build, like)[i];
    uint64_t words[3] = {DTYPE_I64, build_sizes(e->build, dims, rank), rank - from_last};
    return build_op(e->build, OP_IOTA, NULL, 0, words);
}
static ValueId on_diagonal(Emit *e, ValueId like) {
    return COMPARE(EQ, index_of(e, like, 2), index_of(e, like, 1));
}
static ValueId number_like(Emit *e, ValueId like, double c) {
    return build_splat(e->build, like, c);
}
/* c(i,j) where the row index is above (or equal to) the column index, else 0; c = 1, diagonal d. */
static ValueId triangle_mask(Emit *e, ValueId like, Triangle which, double diagonal) {
    ValueId i = index_of(e, like, 2), j = index_of(e, like, 1);
    ValueId inside = build_compare(e->build, which == LOWER ? COMPARE_GT : COMPARE_LT, i, j);
    ValueId edge =
        SELECT(COMPARE(EQ, i, j), number_like(e, like, diagonal), number_like(e, like, 0));
    return SELECT(inside, number_like(e, like, 1), edge);
}
static ValueId triangle(Emit *e, ValueId a, Triangle which, double diagonal) {
    return MUL(a, triangle_mask(e, a, which, diagonal));
}
/* Sums over the last axes. */
static ValueId sum_last(Emit *e, ValueId x, uint32_t count) {
    int64_t rank = build_rank(e->build, x), axes[2] = {rank - (int64_t)count, rank - 1};
    return build_reduce(e->build, REDUCE_SUM, x, axes, count);
}
static ValueId diagonal(Emit *e, ValueId a) {
    return sum_last(e, SELECT(on_diagonal(e, a), a, number_like(e, a, 0)), 1);
}
/* trace(a b), without the product. */
static ValueId trace_of(Emit *e, ValueId a, ValueId b) {
    return sum_last(e, MUL(swap_last(e, a), b), 2);
}
/* v[..., n] as rows (v_j at i,j) or as columns (v_i) of a matrix like this one. */
static ValueId spread_vector(Emit *e, ValueId v, ValueId like, bool rows) {
    int64_t axis = (int64_t)build_rank(e->build, like) - (rows ? 2 : 1);
    return build_spread(e->build, v, like, &axis, 1);
}

/* --- lu --------------------------------------------------------------------------------------- */
typedef struct Factors {
    ValueId lu, rows; /* a[rows] = l u, packed */
} Factors;
static Factors factors_of(Emit *e, ValueId a) {
    OpId row = build_row(e->build, OP_LU, &a, 1, NULL, 2);
    return (Factors){op_result(e->build->code, row, 0), op_result(e->build->code, row, 1)};
}
static void row_words(Emit *e, ValueId a, uint64_t *words) {
    Dims    *dims = &e->build->world->dims;
    int64_t  rank = build_rank(e->build, a), batch[SHAPE_RANK_MAX], sizes[SHAPE_RANK_MAX];
    int64_t  row = rank - 2, last = rank - 1;
    uint32_t lead = (uint32_t)row;
    for (int64_t i = 0; i < rank; i++) {
        batch[i] = i;
        sizes[i] = (i == last ? build_dims(e->build, a)[i] : dims_const(dims, 1)).row;
    }
    words[ATTR_GATHER_offset_dims] = build_ints(e->build, &last, 1);
    words[ATTR_GATHER_collapsed_dims] = build_ints(e->build, &row, 1);
    words[ATTR_GATHER_batch_dims] = build_ints(e->build, batch, lead);
    words[ATTR_GATHER_index_batch_dims] = build_ints(e->build, batch, lead);
    words[ATTR_GATHER_index_map] = build_ints(e->build, &row, 1);
    words[ATTR_GATHER_slice_sizes] = build_ints(e->build, sizes, (uint32_t)rank);
}
/* a[rows]; back: what has those rows, in the order before. */
static ValueId take_rows(Emit *e, ValueId a, ValueId rows, bool back) {
    uint64_t words[6];
    ValueId  operands[2] = {a, emit_with_last_one(e, rows)};
    row_words(e, a, words);
    if (!back) return build_op(e->build, OP_GATHER, operands, 2, words);
    return emit_scatter(e, number_like(e, a, 0), operands[1], a, SCATTER_SET, words);
}
/* a[p] = l u: m = l^-1 da[p] u^-1 gives dl = l (m below the diagonal), du = (the rest of m) u. */
bool jvp_LU(Emit *e, ValueId *out) {
    ValueId rows = op_result(e->build->code, e->op, 1);
    ValueId left = triangular(e, Y, take_rows(e, e->d[0], rows, false), LOWER, false, true);
    ValueId m = swap_last(e, triangular(e, Y, swap_last(e, left), UPPER, true, false));
    ValueId one = SELECT(on_diagonal(e, Y), number_like(e, Y, 1), number_like(e, Y, 0));
    ValueId l = ADD(triangle(e, Y, LOWER, 0), one), u = triangle(e, Y, UPPER, 1);
    out[0] = ADD(dot(e, l, triangle(e, m, LOWER, 0)), dot(e, triangle(e, m, UPPER, 1), u));
    return true;
}

/* --- inverse and solve ------------------------------------------------------------------------ */
bool expand_SOLVE(Emit *e, ValueId *out) {
    Factors f = factors_of(e, X(0));
    if (!INT_ATTR(SOLVE, transpose)) {
        ValueId half = triangular(e, f.lu, take_rows(e, X(1), f.rows, false), LOWER, false, true);
        out[0] = triangular(e, f.lu, half, UPPER, false, false);
    } else { /* u^T l^T x[rows] = b */
        ValueId half = triangular(e, f.lu, X(1), UPPER, true, false);
        out[0] = take_rows(e, triangular(e, f.lu, half, LOWER, true, true), f.rows, true);
    }
    return true;
}
bool expand_INVERSE(Emit *e, ValueId *out) { /* the unit matrix with its rows permuted */
    Factors f = factors_of(e, X(0));
    ValueId hit = COMPARE(EQ, spread_vector(e, f.rows, X(0), false), index_of(e, X(0), 1));
    ValueId unit = SELECT(hit, NUM(1), NUM(0));
    out[0] =
        triangular(e, f.lu, triangular(e, f.lu, unit, LOWER, false, true), UPPER, false, false);
    return true;
}
/* op(a) x = b: dx = op(a)^-1 (db - op(da) x), da taken on what is read of a. */
static ValueId moved_right(Emit *e, ValueId da, bool transpose) {
    ValueId right = e->d[1];
    if (!value_id_some(da)) return right;
    ValueId moved = dot(e, transpose ? swap_last(e, da) : da, Y);
    return value_id_some(right) ? SUB(right, moved) : NEG(moved);
}
bool jvp_SOLVE(Emit *e, ValueId *out) {
    bool transpose = INT_ATTR(SOLVE, transpose) != 0;
    out[0] = solve(e, X(0), moved_right(e, e->d[0], transpose), transpose);
    return true;
}
ValueId transpose_SOLVE(Emit *e) {
    return e->operand == 1 ? solve(e, X(0), CT, !INT_ATTR(SOLVE, transpose)) : (ValueId){0};
}
bool jvp_INVERSE(Emit *e, ValueId *out) {
    out[0] = NEG(dot(e, Y, dot(e, e->d[0], Y)));
    return true;
}
static ValueId read_triangle(Emit *e, ValueId a) {
    Triangle which = INT_ATTR(TRIANGULAR_SOLVE, lower) ? LOWER : UPPER;
    return triangle(e, a, which, INT_ATTR(TRIANGULAR_SOLVE, unit_diagonal) ? 0 : 1);
}
bool jvp_TRIANGULAR_SOLVE(Emit *e, ValueId *out) {
    ValueId da = value_id_some(e->d[0]) ? read_triangle(e, e->d[0]) : e->d[0];
    ValueId operands[2] = {X(0), moved_right(e, da, INT_ATTR(TRIANGULAR_SOLVE, transpose) != 0)};
    out[0] = emit_like(e, operands);
    return true;
}
ValueId transpose_TRIANGULAR_SOLVE(Emit *e) {
    if (e->operand != 1) return (ValueId){0};
    return triangular(e, X(0), CT, INT_ATTR(TRIANGULAR_SOLVE, lower) ? LOWER : UPPER,
                      !INT_ATTR(TRIANGULAR_SOLVE, transpose),
                      INT_ATTR(TRIANGULAR_SOLVE, unit_diagonal) != 0);
}

/* --- determinants ----------------------------------------------------------------------------- */
/* 1 or -1: a permutation is even or odd by the pairs that it puts in the wrong order. */
static ValueId parity(Emit *e, Factors f) {
    ValueId wrong =
        COMPARE(GT, spread_vector(e, f.rows, f.lu, false), spread_vector(e, f.rows, f.lu, true));
    ValueId ordered = COMPARE(LT, index_of(e, f.lu, 2), index_of(e, f.lu, 1));
    ValueId both = build_binary(e->build, OP_AND, wrong, ordered);
    int64_t rank = build_rank(e->build, f.lu), axes[2] = {rank - 2, rank - 1};
    ValueId turns = SELECT(both, number_like(e, f.lu, -1), number_like(e, f.lu, 1));
    return build_reduce(e->build, REDUCE_PROD, turns, axes, 2);
}
static ValueId product_last(Emit *e, ValueId x) {
    int64_t last = (int64_t)build_rank(e->build, x) - 1;
    return build_reduce(e->build, REDUCE_PROD, x, &last, 1);
}
bool expand_DET(Emit *e, ValueId *out) {
    Factors f = factors_of(e, X(0));
    out[0] = MUL(product_last(e, diagonal(e, f.lu)), parity(e, f));
    return true;
}
bool expand_DET_SIGN(Emit *e, ValueId *out) {
    Factors f = factors_of(e, X(0));
    out[0] = MUL(product_last(e, SIGN(diagonal(e, f.lu))), parity(e, f));
    return true;
}
bool expand_LOG_ABS_DET(Emit *e, ValueId *out) {
    out[0] = sum_last(e, LOG(ABS(diagonal(e, factors_of(e, X(0)).lu))), 1);
    return true;
}
static ValueId inverse(Emit *e) {
    ValueId a = X(0);
    return build_op(e->build, OP_INVERSE, &a, 1, NULL);
}
bool jvp_LOG_ABS_DET(Emit *e, ValueId *out) {
    out[0] = trace_of(e, inverse(e), e->d[0]);
    return true;
}
bool jvp_DET(Emit *e, ValueId *out) {
    out[0] = MUL(Y, trace_of(e, inverse(e), e->d[0]));
    return true;
}

/* --- factors of symmetric and other matrices -------------------------------------------------- */
/* What is read of the tangent of a symmetric matrix: the lower triangle, mirrored. */
static ValueId mirrored(Emit *e, ValueId da) {
    return ADD(triangle(e, da, LOWER, 1), swap_last(e, triangle(e, da, LOWER, 0)));
}
/* dl = l phi(l^-1 da l^-T), phi: lower triangle with half the diagonal. */
bool jvp_CHOLESKY(Emit *e, ValueId *out) {
    ValueId left = triangular(e, Y, mirrored(e, e->d[0]), LOWER, false, false);
    ValueId both = swap_last(e, triangular(e, Y, swap_last(e, left), LOWER, false, false));
    out[0] = dot(e, Y, triangle(e, both, LOWER, 0.5));
    return true;
}
/* 1 / (x_j - x_i), 0 on the diagonal: equal numbers elsewhere have no derivative. */
static ValueId gaps(Emit *e, ValueId x, ValueId like) {
    ValueId same = on_diagonal(e, like), one = number_like(e, like, 1);
    ValueId gap = SUB(spread_vector(e, x, like, true), spread_vector(e, x, like, false));
    return SELECT(same, number_like(e, like, 0), DIV(one, SELECT(same, one, gap)));
}
bool jvp_EIGH(Emit *e, ValueId *out) {
    ValueId v = op_result(e->build->code, e->op, 1);
    ValueId s = dot(e, swap_last(e, v), dot(e, mirrored(e, e->d[0]), v));
    out[0] = diagonal(e, s);
    out[1] = dot(e, v, MUL(gaps(e, Y, s), s));
    return true;
}
/* The first columns of a, as many as q has: what q depends on. */
static ValueId first_columns(Emit *e, ValueId a, ValueId q) {
    DimId    starts[SHAPE_RANK_MAX], limits[SHAPE_RANK_MAX];
    uint32_t rank = build_rank(e->build, a);
    for (uint32_t i = 0; i < rank; i++) {
        starts[i] = dims_const(&e->build->world->dims, 0);
        limits[i] = build_dims(e->build, i + 1 == rank ? q : a)[i];
    }
    uint64_t words[3] = {build_sizes(e->build, starts, rank), build_sizes(e->build, limits, rank),
                         0};
    return build_op(e->build, OP_SLICE, &a, 1, words);
}
/* With x = da r^-1 and c = q^T x: q^T dq is the skew matrix that has c below its diagonal. */
bool jvp_QR(Emit *e, ValueId *out) {
    ValueId r = op_result(e->build->code, e->op, 1), q = Y, qt = swap_last(e, q);
    ValueId da = swap_last(e, first_columns(e, e->d[0], q));
    ValueId x = swap_last(e, triangular(e, first_columns(e, r, q), da, UPPER, true, false));
    ValueId c = dot(e, qt, x), below = triangle(e, c, LOWER, 0);
    ValueId turn = SUB(below, swap_last(e, below));
    out[0] = ADD(x, dot(e, q, SUB(turn, c)));
    out[1] = triangle(e, ADD(dot(e, swap_last(e, out[0]), X(0)), dot(e, qt, e->d[0])), UPPER, 1);
    return true;
}
/* What of u turns within its columns, and with more rows than columns also out of them. */
static ValueId turned(Emit *e, ValueId u, ValueId within, ValueId image, ValueId s) {
    uint32_t     rank = build_rank(e->build, u);
    const DimId *dims = build_dims(e->build, u);
    ValueId      inside = dot(e, u, within);
    if (dims[rank - 1].row == dims[rank - 2].row) return inside;
    ValueId rest = SUB(image, dot(e, u, dot(e, swap_last(e, u), image)));
    return ADD(inside, DIV(rest, spread_vector(e, s, rest, true)));
}
/* p = u^T da v: ds is its diagonal, and u, v turn by what is beside it over gaps of s^2. */
bool jvp_SVD(Emit *e, ValueId *out) {
    ValueId s = op_result(e->build->code, e->op, 1), vt = op_result(e->build->code, e->op, 2);
    ValueId u = Y, v = swap_last(e, vt), da = e->d[0];
    ValueId dav = dot(e, da, v), dau = dot(e, swap_last(e, da), u),
            p = dot(e, swap_last(e, u), dav);
    ValueId pt = swap_last(e, p), f = gaps(e, MUL(s, s), p);
    ValueId row = spread_vector(e, s, p, true), column = spread_vector(e, s, p, false);
    ValueId u_turn = MUL(f, ADD(MUL(p, row), MUL(column, pt)));
    ValueId v_turn = MUL(f, ADD(MUL(column, p), MUL(pt, row)));
    out[0] = turned(e, u, u_turn, dav, s);
    out[1] = diagonal(e, p);
    out[2] = swap_last(e, turned(e, v, v_turn, dau, s));
    return true;
}

/* --- jets ------------------------------------------------------------------------------------- */
static ValueId plus(Emit *e, ValueId u, ValueId v) {
    if (!value_id_some(u)) return v;
    return value_id_some(v) ? ADD(u, v) : u;
}
static ValueId scaled(Emit *e, ValueId u, double by) {
    return by == 1 || !value_id_some(u) ? u : MUL(u, number_like(e, u, by));
}
/* Sum over i = from..k of a_i y_{k-i}. */
static ValueId products(Jet *j, const ValueId *a, const ValueId *y, uint32_t k) {
    ValueId sum = {0};
    for (uint32_t i = 1; i <= k; i++)
        if (value_id_some(a[i]) && value_id_some(y[k - i]))
            sum = plus(j->e, sum, dot(j->e, a[i], y[k - i]));
    return sum;
}
/* op(a) x = b: x_k = op(a_0)^-1 (b_k - sum over i = 1..k of op(a_i) x_{k-i}); a: of op(a). */
static bool solve_series(Jet *j, const ValueId *a) {
    Emit *e = j->e;
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId moved = products(j, a, j->y, k), right = j->b[k];
        if (value_id_some(moved)) right = value_id_some(right) ? SUB(right, moved) : NEG(moved);
        ValueId operands[2] = {j->a[0], right};
        if (value_id_some(right)) j->y[k] = emit_like(e, operands);
    }
    return true;
}
bool jet_SOLVE(Jet *j) {
    Emit    *e = j->e;
    ValueId *a = ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1);
    for (uint32_t k = 1; k <= j->order; k++)
        if (value_id_some(j->a[k]))
            a[k] = INT_ATTR(SOLVE, transpose) ? swap_last(e, j->a[k]) : j->a[k];
    return solve_series(j, a);
}
bool jet_TRIANGULAR_SOLVE(Jet *j) {
    Emit    *e = j->e;
    ValueId *a = ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1);
    for (uint32_t k = 1; k <= j->order; k++) {
        if (!value_id_some(j->a[k])) continue;
        a[k] = read_triangle(e, j->a[k]);
        if (INT_ATTR(TRIANGULAR_SOLVE, transpose)) a[k] = swap_last(e, a[k]);
    }
    return solve_series(j, a);
}
bool jet_INVERSE(Jet *j) {
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId moved = products(j, j->a, j->y, k);
        if (value_id_some(moved))
            j->y[k] = build_unary(j->e->build, OP_NEG, dot(j->e, j->y[0], moved));
    }
    return true;
}
/* (log |det a|)' = trace(c) with c = a^-1 a': with w_i = a_0^-1 a_i,
 * c_{k-1} = k w_k - sum over i = 1..k-1 of w_i c_{k-1-i}. */
static void log_det(Jet *j, ValueId *y) {
    Emit    *e = j->e;
    ValueId  inverse_0 = inverse(e);
    ValueId *w = ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1);
    ValueId *c = ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1);
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId sum = {0};
        if (value_id_some(j->a[k])) sum = scaled(e, trace_of(e, inverse_0, j->a[k]), k);
        for (uint32_t i = 1; i < k; i++)
            if (value_id_some(w[i]) && value_id_some(c[k - 1 - i]))
                sum = plus(e, sum, NEG(trace_of(e, w[i], c[k - 1 - i])));
        y[k] = scaled(e, sum, 1.0 / k);
        if (k == j->order) break;
        if (value_id_some(j->a[k])) w[k] = dot(e, inverse_0, j->a[k]);
        ValueId rest = products(j, w, c, k - 1);
        c[k - 1] = scaled(e, w[k], k);
        if (value_id_some(rest)) c[k - 1] = plus(e, c[k - 1], NEG(rest));
    }
}
bool jet_LOG_ABS_DET(Jet *j) {
    log_det(j, j->y);
    return true;
}
bool jet_DET(Jet *j) { /* y' = y (log |y|)' */
    Emit    *e = j->e;
    ValueId *log = ARENA_ARRAY_ZERO(j->arena, ValueId, j->order + 1);
    log_det(j, log);
    for (uint32_t k = 1; k <= j->order; k++) {
        ValueId sum = {0};
        for (uint32_t i = 1; i <= k; i++)
            if (value_id_some(log[i]) && value_id_some(j->y[k - i]))
                sum = plus(e, sum, MUL(scaled(e, log[i], i), j->y[k - i]));
        j->y[k] = scaled(e, sum, 1.0 / k);
    }
    return true;
}
