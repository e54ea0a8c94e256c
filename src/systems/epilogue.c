/* epilogue: what does a product do to each element before it is written?
 *
 *   z + b                      -> dot_bias        b: a vector along the last axis of the product z
 *   gelu(z + b), gelu(z)       -> dot_gelu        in its tanh form; it gives its argument as well
 *   z times gelu'(a)           -> dot_gelu_grad   a: a value, or an argument that a dot_gelu gives
 *
 * Where the operands are 8-bit floats, z stands for the product times their scales, which is a
 * dot_bias without b if nothing else is; of the last, cuBLASLt's take four times as long as the
 * product (note 0019). A gelu that is rounded to 8 bits is left to the kernel that does so, unless
 * something needs it wide. Products by blocks are a dot_bias already, to which b is added; there
 * are none that give gelu and its argument.
 * Which of them a value is, is found by computing it: at a few points, from the rows that make it,
 * so that a formula is known however it is written; rounding on the way is not looked at. A product
 * is replaced where nothing else needs it. For targets that have these operators, 16-bit floats,
 * widths that are multiples of eight. Needs types, breaks layout. Linear, times a few points. */
#include <math.h>

#include "systems/rewrite.h"
#include "systems/system.h"

enum { LEAVES_MAX = 5, MANY_LEAVES = LEAVES_MAX + 1, POINTS = 6, WIDTH_MULTIPLE = 8 };
/* The values that a value is computed from, element by element. */
typedef struct Leaves {
    ValueId  at[LEAVES_MAX];
    uint32_t count; /* MANY_LEAVES: not known */
} Leaves;
typedef struct Match {
    Opcode  into;     /* OP_NIL: none */
    ValueId z, scale; /* the product; the product of its operands' scales, nil: none */
    ValueId other;    /* b or a, nil: none */
    bool    from_sum; /* a is the sum of a vector and a product that has a row of its own */
} Match;
typedef struct Product { /* by value row of z */
    ValueId sum, gelu;   /* values that are z + b and gelu(z + b); nil: none */
    ValueId scaled;      /* likewise z times its scales, if neither of the others is there */
    ValueId made;        /* new value of z + b; nil: not written yet */
} Product;
/* Whether its row gives z + b. */
static bool is_given(const Product *p) { return value_id_some(p->sum) || value_id_some(p->gelu); }

typedef struct Epilogue {
    SystemCtx  *ctx;
    const Code *code;
    Leaves     *leaves;   /* by value row */
    Match      *matches;  /* likewise */
    Product    *products; /* likewise */
    double     *numbers;  /* likewise: at the point that `stamps` says */
    uint32_t   *stamps, stamp;
    uint8_t    *live;
    uint8_t    *rounded; /* likewise: what is made of it element by element has 8 bits */
    uint8_t    *whole;   /* likewise: it is read by what is not done element by element */
} Epilogue;

/* --- computing -------------------------------------------------------------------------------- */
typedef double Number(double a, double b);
static double  negate(double a, double b) { return (void)b, -a; }
static double  add(double a, double b) { return a + b; }
static double  subtract(double a, double b) { return a - b; }
static double  multiply(double a, double b) { return a * b; }
static double  divide(double a, double b) { return a / b; }
static double  hyperbolic(double a, double b) { return (void)b, tanh(a); }
static double  exponential(double a, double b) { return (void)b, exp(a); }
static double  logistic(double a, double b) { return (void)b, 1 / (1 + exp(-a)); }
static double  same(double a, double b) { return (void)b, a; }
/* What is understood of a row of floats. */
static Number *const numbers[OP_COUNT] = {
    [OP_NEG] = negate,
    [OP_ADD] = add,
    [OP_SUB] = subtract,
    [OP_MUL] = multiply,
    [OP_DIV] = divide,
    [OP_POW] = pow,
    [OP_EXP] = exponential,
    [OP_TANH] = hyperbolic,
    [OP_LOGISTIC] = logistic,
    [OP_CONVERT] = same,
    [OP_BROADCAST_IN_DIM] = same,
};
static Dtype dtype_of(const Epilogue *e, ValueId value) {
    return type_dtype(&e->ctx->world->types, e->code->values.type[value.row]);
}
static uint32_t rank_of(const Epilogue *e, ValueId value) {
    return type_rank(&e->ctx->world->types, e->code->values.type[value.row]);
}
static const uint64_t *attrs_of(const Epilogue *e, OpId op) {
    return op_attrs(e->ctx->world, e->code, op);
}
/* As deep as the rows between leaves and value, each computed once a point. */
static double compute(Epilogue *e, ValueId value) {
    OpId   op = value_op(e->code, value);
    Opcode opcode = (Opcode)e->code->ops.opcode[op.row];
    double a, b;
    if (e->stamps[value.row] == e->stamp) return e->numbers[value.row];
    if (opcode == OP_CONSTANT) {
        ConstId id = {(uint32_t)attrs_of(e, op)[0]};
        a = const_decode(dtype_of(e, value), consts_bytes(&e->ctx->world->consts, id));
    } else {
        uint32_t count = e->code->ops.operands_count[op.row];
        a = compute(e, op_operand(e->code, op, 0));
        b = count > 1 ? compute(e, op_operand(e->code, op, 1)) : 0;
        a = numbers[opcode](a, b);
    }
    e->stamps[value.row] = e->stamp;
    return e->numbers[value.row] = a;
}
static void put(Epilogue *e, ValueId leaf, double number) {
    if (!value_id_some(leaf)) return;
    e->stamps[leaf.row] = e->stamp;
    e->numbers[leaf.row] = number;
}

/* Hendrycks and Gimpel 2016, tanh form, and its derivative */
static double gelu(double a) {
    return a / 2 * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (a + 0.044715 * a * a * a)));
}
static double gelu_slope(double a) {
    double k = M_2_SQRTPI * M_SQRT1_2, t = tanh(k * (a + 0.044715 * a * a * a));
    return (1 + t) / 2 + a / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * a * a);
}
static double wanted(Opcode into, double z, double a) {
    return into == OP_DOT_BIAS ? a : into == OP_DOT_GELU ? gelu(a) : z * gelu_slope(a);
}
/* What gelu or its slope is taken of: z times scale plus b; nil: 1 and 0. */
typedef struct Sum {
    ValueId z, scale, b;
} Sum;
/* Whether the value is the function of m->z times m->scale, and the sum. */
static bool is(Epilogue *e, ValueId value, const Match *m, Sum sum) {
    static const double zs[POINTS] = {0.31, -1.7, 2.6, -0.04, 0.9, -3.1};
    static const double as[POINTS] = {-0.6, 0.45, 1.9, -2.2, 0.07, 3.3};
    static const double bs[POINTS] = {0.2, -0.35, 1.1, 0.6, -0.8, -0.15};
    static const double scales[POINTS] = {1.3, 0.8, 0.6, -1.4, 1.7, 0.9};
    for (uint32_t i = 0; i < POINTS; i++) {
        double a = sum.z.row == m->z.row ? zs[i] : as[i];
        e->stamp++;
        put(e, m->z, zs[i]);
        put(e, sum.z, a);
        put(e, sum.scale, scales[i]);
        put(e, sum.b, bs[i]);
        if (value_id_some(sum.scale)) a *= scales[i];
        if (value_id_some(sum.b)) a += bs[i];
        double want = wanted(m->into, zs[i], a);
        if (!(fabs(compute(e, value) - want) <= 1e-5 * fabs(want))) return false;
    }
    return true;
}

/* --- leaves ----------------------------------------------------------------------------------- */
static void add_leaf(Leaves *leaves, ValueId leaf) {
    for (uint32_t i = 0; i < leaves->count && i < LEAVES_MAX; i++)
        if (leaves->at[i].row == leaf.row) return;
    if (leaves->count < LEAVES_MAX) leaves->at[leaves->count] = leaf;
    if (leaves->count < MANY_LEAVES) leaves->count++;
}
/* A vector along the last axis, or the same number everywhere. */
static bool is_spread(const Epilogue *e, OpId op, ValueId x) {
    ListId axes = {(uint32_t)attrs_of(e, op)[ATTR_BROADCAST_IN_DIM_axes]};
    if (e->leaves[x.row].count == 0 || rank_of(e, x) == 0) return true;
    return rank_of(e, x) == 1 && list_numbers(&e->ctx->world->attrs, axes)[0] + 1 ==
                                     rank_of(e, op_result(e->code, op, 0));
}
static void find_leaves(Epilogue *e, OpId op) {
    const Code *code = e->code;
    Opcode      opcode = (Opcode)code->ops.opcode[op.row];
    uint32_t    count = code->ops.operands_count[op.row];
    if (code->ops.results_count[op.row] != 1) return; /* they are leaves */
    ValueId y = op_result(code, op, 0), x = count != 0 ? op_operand(code, op, 0) : y;
    Leaves  found = {0};
    if (!dtype_is_float(dtype_of(e, y)) || !dtype_is_float(dtype_of(e, x))) return;
    if (opcode == OP_CONSTANT && rank_of(e, y) == 0) {
        e->leaves[y.row] = found;
    } else if (opcode == OP_BROADCAST_IN_DIM && is_spread(e, op, x)) {
        if (e->leaves[x.row].count != 0) add_leaf(&found, x);
        e->leaves[y.row] = found;
    } else if (count != 0 && rank_of(e, y) != 1 && numbers[opcode] != NULL &&
               opcode != OP_BROADCAST_IN_DIM) {
        for (uint32_t i = 0; i < count; i++) {
            const Leaves *from = &e->leaves[op_operand(code, op, i).row];
            for (uint32_t k = 0; k < from->count && k < LEAVES_MAX; k++)
                add_leaf(&found, from->at[k]);
            if (from->count == MANY_LEAVES) found.count = MANY_LEAVES;
        }
        e->leaves[y.row] = found;
    }
}

/* --- matching --------------------------------------------------------------------------------- */
static bool is_wide(const Epilogue *e, DimId dim) {
    return dims_is_const(&e->ctx->world->dims, dim) &&
           dims_const_value(&e->ctx->world->dims, dim) > 0 &&
           dims_const_value(&e->ctx->world->dims, dim) % WIDTH_MULTIPLE == 0;
}
/* A product of 8-bit floats that is given scales of blocks, and no bias yet. */
static bool is_of_blocks(const Epilogue *e, ValueId z) {
    OpId op = value_op(e->code, z);
    return op_id_some(op) && e->code->ops.opcode[op.row] == OP_DOT_BIAS &&
           attrs_of(e, op)[ATTR_DOT_BIAS_block] != 0 && e->code->ops.operands_count[op.row] == 4;
}
/* x[..., K] y, y a matrix, in a 16-bit float. */
static bool is_product(const Epilogue *e, ValueId z) {
    OpId         op = value_op(e->code, z);
    const Attrs *lists = &e->ctx->world->attrs;
    if (is_of_blocks(e, z)) return rank_of(e, z) > 1;
    if (!op_id_some(op) || e->code->ops.opcode[op.row] != OP_DOT_GENERAL) return false;
    if (dtype_bytes(dtype_of(e, z)) != 2) return false;
    const uint64_t *attrs = attrs_of(e, op);
    ListId          batch = {(uint32_t)attrs[ATTR_DOT_GENERAL_x_batch]};
    ListId          sums = {(uint32_t)attrs[ATTR_DOT_GENERAL_x_contract]};
    ValueId         x = op_operand(e->code, op, 0), y = op_operand(e->code, op, 1);
    uint32_t        rank = rank_of(e, x);
    const DimId    *sizes = type_dims(&e->ctx->world->types, e->code->values.type[y.row]);
    return list_count(lists, batch) == 0 && list_count(lists, sums) == 1 && rank > 1 &&
           rank_of(e, y) == 2 && list_numbers(lists, sums)[0] + 1 == rank && is_wide(e, sizes[0]) &&
           is_wide(e, sizes[1]);
}
/* Whether it is a sum of products of 8-bit floats, to be multiplied by scales. */
static bool is_narrow(const Epilogue *e, ValueId z) {
    return dtype_is_f8(dtype_of(e, op_operand(e->code, value_op(e->code, z), 0))) &&
           !is_of_blocks(e, z);
}
/* The product of two scales, to be taken apart again. */
static bool is_scale(const Epilogue *e, ValueId scale) {
    OpId op = value_op(e->code, scale);
    return op_id_some(op) && e->code->ops.opcode[op.row] == OP_MUL;
}
/* Finds what is rounded, and what is needed in memory but for its largest magnitude. */
static void find_rounded(Epilogue *e) {
    const Code *code = e->code;
    for (uint32_t row = code->ops.table.count; row-- > 1;) {
        OpId          op = {row};
        const OpInfo *info = op_info(code, op);
        bool          each = (info->flags & OP_ELEMENTWISE) && code->ops.results_count[row] == 1;
        ValueId       y = each ? op_result(code, op, 0) : (ValueId){0};
        bool          narrow = each && dtype_is_f8(dtype_of(e, y));
        for (uint32_t i = 0; i < code->ops.operands_count[row]; i++) {
            ValueId x = op_operand(code, op, i);
            e->rounded[x.row] |= narrow || (each && e->rounded[y.row]);
            e->whole[x.row] |=
                each ? !narrow && e->whole[y.row] : code->ops.opcode[row] != OP_REDUCE;
        }
    }
}
static bool same_type(const Epilogue *e, ValueId a, ValueId b) {
    return e->code->values.type[a.row].row == e->code->values.type[b.row].row;
}
static bool same_block(const Epilogue *e, ValueId a, ValueId b) {
    return e->code->ops.block[value_op(e->code, a).row].row ==
           e->code->ops.block[value_op(e->code, b).row].row;
}
/* The leaves of a value beside one of them, by rank. */
typedef struct Rest {
    ValueId  full, vector, scalar;
    uint32_t fulls, vectors, scalars;
} Rest;
static Rest rest_of(const Epilogue *e, const Leaves *leaves, ValueId z) {
    Rest rest = {.fulls = 0};
    for (uint32_t i = 0; i < leaves->count; i++) {
        ValueId  leaf = leaves->at[i];
        uint32_t rank = rank_of(e, leaf);
        if (leaf.row == z.row) continue;
        *(rank == 0 ? &rest.scalar : rank == 1 ? &rest.vector : &rest.full) = leaf;
        *(rank == 0 ? &rest.scalars : rank == 1 ? &rest.vectors : &rest.fulls) += 1;
    }
    return rest;
}
/* z times the slope at a: a leaf of the type, or the sum of another product and a vector. */
static bool match_slope(Epilogue *e, ValueId value, const Rest *rest, ValueId z, Match *out) {
    const Product *from = &e->products[rest->full.row];
    ValueId        first = value_id_some(from->sum) ? from->sum : from->gelu;
    const Match   *inner = &e->matches[first.row];
    Match          m = {OP_DOT_GELU_GRAD, z, {0}, rest->full, rest->vectors != 0};
    if (rest->fulls != 1 || !same_type(e, rest->full, value)) return false;
    if (is_narrow(e, z) || is_of_blocks(e, z)) return false;
    bool summed = m.from_sum || rest->scalars != 0;
    if (is_given(from)
            ? inner->other.row != rest->vector.row || inner->scale.row != rest->scalar.row
            : summed)
        return false;
    if (!is(e, value, &m, (Sum){rest->full, rest->scalar, rest->vector})) return false;
    *out = m;
    return true;
}
static void match(Epilogue *e, ValueId value) {
    static const Opcode kinds[] = {OP_DOT_BIAS, OP_DOT_GELU};
    const Leaves       *leaves = &e->leaves[value.row];
    if (leaves->count == 0 || leaves->count == MANY_LEAVES || leaves->at[0].row == value.row)
        return;
    for (uint32_t i = 0; i < leaves->count; i++) {
        ValueId z = leaves->at[i];
        if (!is_product(e, z) || !same_type(e, z, value) || !same_block(e, z, value)) continue;
        Match *out = &e->matches[value.row];
        Rest   rest = rest_of(e, leaves, z);
        if (rest.vectors > 1 || rest.scalars > 1) return;
        if (match_slope(e, value, &rest, z, out)) return;
        if (rest.fulls != 0 || rest.scalars != is_narrow(e, z)) continue;
        if (rest.scalars != 0 && !is_scale(e, rest.scalar)) continue;
        for (uint32_t k = 0; k < LENGTH(kinds); k++) {
            Product *p = &e->products[z.row];
            ValueId *first = kinds[k] == OP_DOT_GELU ? &p->gelu
                             : rest.vectors != 0     ? &p->sum
                                                     : &p->scaled;
            Match    m = {kinds[k], z, rest.scalar, rest.vector, false};
            bool     same = k == 0 && rest.vectors + rest.scalars == 0;
            bool     leaves_it =
                kinds[k] == OP_DOT_GELU &&
                (is_of_blocks(e, z) || (e->rounded[value.row] && !e->whole[value.row]));
            if (same || leaves_it || value_id_some(*first) ||
                !is(e, value, &m, (Sum){z, rest.scalar, rest.vector}))
                continue;
            *first = value;
            *out = m;
            return;
        }
    }
}
/* z times its scales is a row of its own only where it is no part of another. */
static void drop_scaled(Epilogue *e, uint32_t values) {
    for (uint32_t row = 1; row < values; row++) {
        Product *p = &e->products[row];
        if (!value_id_some(p->scaled) || !is_given(p)) continue;
        e->matches[p->scaled.row] = (Match){0};
        p->scaled = (ValueId){0};
    }
}

/* --- what is needed --------------------------------------------------------------------------- */
static void need(Epilogue *e, ValueId value) { e->live[value.row] = 1; }
static void need_operands(Epilogue *e, OpId op) {
    for (uint32_t i = 0; i < e->code->ops.operands_count[op.row]; i++)
        need(e, op_operand(e->code, op, i));
}
/* Marks what is needed if all matches are made. */
static void mark(Epilogue *e) {
    const Ops *ops = &e->code->ops;
    memset(e->live, 0, e->code->values.table.count);
    for (uint32_t row = ops->table.count; row-- > 1;) {
        OpId op = {row};
        bool nested = op_id_some(e->code->blocks.parent[ops->block[row].row]);
        bool live = nested || ops->blocks_count[row] != 0 ||
                    !(op_infos[ops->opcode[row]].flags & (OP_PURE | OP_STATE));
        for (uint32_t i = 0; i < ops->results_count[row]; i++)
            live |= e->live[op_result(e->code, op, i).row] != 0;
        if (!live) continue;
        const Match *m = ops->results_count[row] == 1 ? &e->matches[op_result(e->code, op, 0).row]
                                                      : &e->matches[0];
        if (m->into == OP_NIL) {
            need_operands(e, op);
            continue;
        }
        need_operands(e, value_op(e->code, m->z));
        if (value_id_some(m->scale)) need_operands(e, value_op(e->code, m->scale));
        const Product *from = &e->products[m->other.row];
        need(e, !is_given(from) ? m->other : value_id_some(from->gelu) ? from->gelu : from->sum);
    }
}
/* Takes back matches of products that something else needs, until none is left. */
static uint32_t settle(Epilogue *e) {
    uint32_t values = e->code->values.table.count, count, before;
    do {
        mark(e);
        count = before = 0;
        for (uint32_t row = 1; row < values; row++) {
            Match *m = &e->matches[row];
            if (m->into == OP_NIL) continue;
            before++;
            bool lost = m->from_sum && !is_given(&e->products[m->other.row]);
            if (e->live[m->z.row] || !e->live[row] || lost) {
                Product *p = &e->products[m->z.row];
                if (p->sum.row == row) p->sum = (ValueId){0};
                if (p->gelu.row == row) p->gelu = (ValueId){0};
                if (p->scaled.row == row) p->scaled = (ValueId){0};
                *m = (Match){0};
                continue;
            }
            count++;
        }
    } while (count != before);
    return count;
}

/* --- writing ---------------------------------------------------------------------------------- */
/* Writes the row for a product and gives its values to all that match it. False: the row whose
 * argument it takes is not there. */
static bool write_match(Epilogue *e, Rewrite *rw, ValueId y, const Match *m) {
    OpId           op = value_op(e->code, m->z);
    Product       *p = &e->products[m->z.row];
    const Product *from = &e->products[m->other.row];
    bool           slope = m->into == OP_DOT_GELU_GRAD, given = slope && is_given(from);
    bool           blocks = is_of_blocks(e, m->z), scaled = blocks || value_id_some(m->scale);
    Opcode         into = slope ? m->into : value_id_some(p->gelu) ? OP_DOT_GELU : OP_DOT_BIAS;
    uint64_t       words[3] = {0, scaled, blocks ? NARROW_BLOCK : 0};
    ListId         sums = {(uint32_t)attrs_of(e, op)[blocks ? 0 : ATTR_DOT_GENERAL_y_contract]};
    words[0] = blocks ? sums.row : list_numbers(&rw->world->attrs, sums)[0] == 1;
    ValueId  operands[5] = {rw->map[op_operand(e->code, op, 0).row],
                            rw->map[op_operand(e->code, op, 1).row],
                           given ? from->made : rw->map[m->other.row]};
    uint32_t count = value_id_some(m->other) ? 3 : 2;
    if (count == 3 && !value_id_some(operands[2])) return false;
    if (count == 3) operands[2] = build_convert(&rw->build, operands[2], dtype_of(e, m->z));
    for (uint32_t i = 0; i < 2 && scaled; i++) {
        ValueId scale = blocks ? op_operand(e->code, op, i + 2)
                               : op_operand(e->code, value_op(e->code, m->scale), i);
        operands[count++] = rw->map[scale.row];
    }
    OpId row = build_row(&rw->build, into, operands, count, words, 0);
    rewrite_map(rw, y, op_result(rw->build.code, row, 0));
    if (slope) return true;
    p->made = op_result(rw->build.code, row, into == OP_DOT_GELU);
    if (value_id_some(p->gelu)) rewrite_map(rw, p->gelu, op_result(rw->build.code, row, 0));
    if (value_id_some(p->sum)) rewrite_map(rw, p->sum, p->made);
    return true;
}

Ran sys_epilogue(SystemCtx *ctx) {
    const Code *old = &ctx->world->code;
    Ran         ran = {0};
    uint32_t    values = old->values.table.count, rows = old->ops.table.count;
    if (ctx->target == NULL || !ctx->target->has_kernel[OP_DOT_GELU]) return ran;
    Epilogue e = {.ctx = ctx, .code = old};
    e.leaves = ARENA_ARRAY_ZERO(ctx->scratch, Leaves, values);
    e.matches = ARENA_ARRAY_ZERO(ctx->scratch, Match, values);
    e.products = ARENA_ARRAY_ZERO(ctx->scratch, Product, values);
    e.numbers = ARENA_ARRAY(ctx->scratch, double, values);
    e.stamps = ARENA_ARRAY_ZERO(ctx->scratch, uint32_t, values);
    e.live = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values);
    e.rounded = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values);
    e.whole = ARENA_ARRAY_ZERO(ctx->scratch, uint8_t, values);
    find_rounded(&e);
    for (uint32_t row = 1; row < values; row++) e.leaves[row] = (Leaves){{{row}}, 1};
    for (uint32_t row = 1; row < rows; row++) {
        find_leaves(&e, (OpId){row});
        if (old->ops.results_count[row] == 1) match(&e, op_result(old, (OpId){row}, 0));
    }
    drop_scaled(&e, values);
    if (settle(&e) == 0) return ran;
    Rewrite rw = rewrite_begin(ctx->world, ctx->scratch);
    for (uint32_t row = 1; row < rows; row++) {
        OpId    op = {row};
        ValueId y = old->ops.results_count[row] == 1 ? op_result(old, op, 0) : (ValueId){0};
        bool    matches = e.matches[y.row].into != OP_NIL;
        rewrite_at(&rw, op);
        if (matches && value_id_some(rw.map[y.row])) continue; /* written with an earlier one */
        if (matches && system_burn(ctx) && write_match(&e, &rw, y, &e.matches[y.row]))
            ran.changed++;
        else
            (void)rewrite_copy(&rw, op);
    }
    rewrite_end(&rw);
    return ran;
}
