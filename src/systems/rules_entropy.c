/* Rules of linear_cross_entropy: the expansion, its derivative, and the transpose of that.
 *
 * The logits z = x weight^T are the largest tensor of a language model. The second result, lse =
 * logsumexp z, gives softmax z = e^(z - lse) where a derivative needs it, so no row has to keep
 * them: a back end may go over tiles of the classes, forwards and backwards. The expansions here
 * are in primitives, and say what such kernels compute. 16-bit floats: products take and give 16
 * bits, everything between them is f32. A label outside the classes gives loss 0. */
#include "systems/emit.h"

static Dtype   wide_dtype(Emit *e) { return dtype_compute(build_dtype(e->build, X(0))); }
static ValueId widen(Emit *e, ValueId x) { return build_convert(e->build, x, wide_dtype(e)); }
static ValueId narrow(Emit *e, ValueId x) {
    return build_convert(e->build, x, build_dtype(e->build, X(0)));
}
static int64_t last_axis(Emit *e) { return (int64_t)build_rank(e->build, X(0)) - 1; }
static ValueId along_classes(Emit *e, ValueId x, ValueId z) {
    int64_t last = last_axis(e);
    return build_spread(e->build, x, z, &last, 1);
}
static ValueId sum_classes(Emit *e, ValueId z) {
    int64_t last = last_axis(e);
    return build_reduce(e->build, REDUCE_SUM, z, &last, 1);
}
static ValueId logits(Emit *e) { return widen(e, emit_linear_dot(e, X(0), X(1))); }

/* What e^(z - lse) of each class and the label's class count, in the loss and in lse. */
typedef struct Shares {
    ValueId p;     /* softmax z */
    ValueId hot;   /* 1 at the label */
    ValueId valid; /* 1 where the label is a class, one number a row */
} Shares;
static Shares shares(Emit *e) {
    ValueId z = logits(e), label = build_convert(e->build, X(2), DTYPE_I64);
    ValueId mine = along_classes(e, label, z);
    /* Compared in i64: a narrow dtype of the labels may not hold the number of classes. */
    ValueId hot = build_convert(e->build, COMPARE(EQ, emit_positions(e, z, last_axis(e)), mine),
                                wide_dtype(e));
    return (Shares){EXP(SUB(z, along_classes(e, X(3), z))), hot, sum_classes(e, hot)};
}

bool expand_LINEAR_CROSS_ENTROPY(Emit *e, ValueId *out) {
    ValueId  z = logits(e), operands[2] = {z, X(2)};
    int64_t  last = last_axis(e);
    uint64_t axes = build_ints(e->build, &last, 1);
    out[0] = narrow(e, build_op(e->build, OP_CROSS_ENTROPY, operands, 2, NULL));
    out[1] = build_op(e->build, OP_LOGSUMEXP, &z, 1, &axes);
    return true;
}

/* x weight labels lse, and what is given. */
static OpId family_row(Emit *e, Opcode opcode, ValueId lse, const ValueId *more, uint32_t count) {
    ValueId operands[6] = {X(0), X(1), X(2), lse};
    for (uint32_t i = 0; i < count; i++) operands[4 + i] = more[i];
    return build_row(e->build, opcode, operands, 4 + count, NULL, 0);
}
bool jvp_LINEAR_CROSS_ENTROPY(Emit *e, ValueId *out) {
    const Code *code = e->build->code;
    ValueId     d[2] = {emit_tangent(e, 0), emit_tangent(e, 1)}, lse = op_result(code, e->op, 1);
    OpId        row = family_row(e, OP_LINEAR_CROSS_ENTROPY_TANGENT, lse, d, 2);
    for (uint32_t i = 0; i < 2; i++) out[i] = op_result(code, row, i);
    return true;
}
void transpose_LINEAR_CROSS_ENTROPY_TANGENT(Emit *e, ValueId *out) {
    const Code *code = e->build->code;
    bool        shifts = value_id_some(e->ct[1]);
    ValueId     like = op_result(code, e->op, 0);
    ValueId     none = value_id_some(CT) ? CT : build_splat(e->build, like, 0);
    ValueId     ct[2] = {none, e->ct[1]};
    OpId        row = family_row(e, OP_LINEAR_CROSS_ENTROPY_GRAD, X(3), ct, shifts ? 2 : 1);
    for (uint32_t i = 0; i < 2; i++) out[4 + i] = op_result(code, row, i);
}

/* dz = dx weight^T + x dweight^T;  dlse = sum p dz;  dloss = valid dlse - sum hot dz */
bool expand_LINEAR_CROSS_ENTROPY_TANGENT(Emit *e, ValueId *out) {
    Shares  s = shares(e);
    ValueId dz = widen(e, ADD(emit_linear_dot(e, X(4), X(1)), emit_linear_dot(e, X(0), X(5))));
    out[1] = sum_classes(e, MUL(s.p, dz));
    out[0] = narrow(e, SUB(MUL(s.valid, out[1]), sum_classes(e, MUL(s.hot, dz))));
    return true;
}
/* dz = p (valid dloss + dlse) - hot dloss;  dx = dz weight;  dweight = dz^T x */
bool expand_LINEAR_CROSS_ENTROPY_GRAD(Emit *e, ValueId *out) {
    Shares   s = shares(e);
    uint32_t rank = build_rank(e->build, X(0));
    ValueId  dloss = widen(e, X(4)), all = MUL(s.valid, dloss);
    if (e->count > 5) all = ADD(all, X(5));
    ValueId dz = narrow(
        e, SUB(MUL(s.p, along_classes(e, all, s.p)), MUL(s.hot, along_classes(e, dloss, s.p))));
    DotAxes by_class = {.contract = 1, .x_contract = {last_axis(e)}, .y_contract = {0}};
    DotAxes by_row = {.contract = rank - 1};
    for (uint32_t i = 0; i + 1 < rank; i++) by_row.x_contract[i] = by_row.y_contract[i] = i;
    out[0] = build_dot(e->build, dz, X(1), &by_class);
    out[1] = build_dot(e->build, dz, X(0), &by_row);
    return true;
}
