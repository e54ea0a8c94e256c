/* The vocabulary of rules. Derivative and expansion rules (tables/rules/ *.def and rules_*.c) are C
 * expressions in these words over an Emit: the row a rule is applied to and the builder that
 * receives what it emits. Rules emit primitives (and composites as coefficients) and read only
 * their row.
 *
 *   X(i), Y, T(i)   operands, first result, type of operand i
 *   D               tangent of the operand that a jvp rule is about (never nil)
 *   CT              cotangent of the first result in a transpose rule
 *   NUM(c)          the number c in every element of the type of X(0)
 *   INT_ATTR(NAME, attr), FLOAT_ATTR(NAME, attr)  attributes of the row */
#ifndef STOA_SYSTEMS_EMIT_H
#define STOA_SYSTEMS_EMIT_H

#include "systems/rewrite.h"
#include "tables/target.h"

typedef struct Emit {
    Build          *build;
    OpId            op; /* in build->code */
    const ValueId  *x;  /* operands */
    uint32_t        count;
    ValueId         y; /* first result */
    const uint64_t *attrs;
    const ValueId  *d;       /* jvp: tangent of each operand, nil when zero */
    const ValueId  *ct;      /* transpose: cotangent of each result, nil when zero */
    uint32_t        operand; /* that a jvp or transpose expression is about */
    const Target   *target;  /* expand: what is compiled for; NULL: the interpreter */
} Emit;

/* jvp functions fill out_tangents (one per result, nil for zero) and return false when the row has
 * no derivative in an operand that has a tangent. Expansion functions fill out_values likewise. */
typedef bool    JvpFn(Emit *e, ValueId *out_tangents);
typedef ValueId TransposeFn(Emit *e);
/* Fills out_parts, one per operand (nil: not linear in it, or zero). */
typedef void TransposeAllFn(Emit *e, ValueId *out_parts);
typedef bool ExpandFn(Emit *e, ValueId *out_values);

/* By opcode; NULL where there is none. jvp_row applies whatever rule the opcode has. */
extern ExpandFn *const expand_rules[OP_COUNT];
#define JVP_FN(NAME) JvpFn jvp_##NAME;
#include "tables/rules/jvp.def"
#define TRANSPOSE_FN(NAME)  TransposeFn transpose_##NAME;
#define TRANSPOSE_ALL(NAME) TransposeAllFn transpose_##NAME;
#include "tables/rules/transpose.def"
#define EXPAND_FN(NAME) ExpandFn expand_##NAME;
#include "tables/rules/expand.def"
/* False: the row has no rule for an operand that moves. */
bool emit_jvp(Emit *e, ValueId *out_tangents);
/* The contributions of e->ct to the operands that are tangents, by value row. False when the row
 * has no transpose in e->operand. */
bool emit_transpose(Emit *e, const uint8_t *is_tangent, ValueId *out_parts);
/* Whether rules may put this operator on tangents. */
bool emit_has_transpose(Opcode opcode);

Emit    emit_at(Build *build, OpId op);
ValueId emit_like(Emit *e, const ValueId *operands); /* the same row with other operands */
ValueId emit_zeros(Emit *e, TypeId type);
ValueId emit_complex(Emit *e, ValueId re, ValueId im);
/* The tangent of operand i, zeros when it has none. */
ValueId emit_tangent(Emit *e, uint32_t i);
ValueId emit_polygamma(Emit *e, int64_t order, ValueId x);
ValueId emit_bessel(Emit *e, int64_t order, ValueId x);
/* 1 where a beats b, 1/2 where they are equal, 0 elsewhere. */
ValueId emit_winner(Emit *e, CompareKind beats, ValueId a, ValueId b);
/* Average of x, which has the shape of X(0), over axes. */
ValueId emit_mean(Emit *e, ValueId x, const int64_t *axes, uint32_t count);
/* Indices of shape x.dims + [1] select along axis of x: the others walk in step. */
ValueId emit_take_along(Emit *e, ValueId x, ValueId indices, int64_t axis);
ValueId emit_scatter(Emit *e, ValueId into, ValueId indices, ValueId updates, ScatterKind kind,
                     const uint64_t *gather_attrs);

/* The i64 index along an axis of like, at every element: a short iota, repeated without memory. */
ValueId emit_positions(Emit *e, ValueId like, int64_t axis);
/* Whether a label (i64: a narrow dtype may not hold the number of classes) is one of the classes,
 * the last axis of logits. */
ValueId emit_is_class(Emit *e, ValueId logits, ValueId label);
/* Slice i of x along an axis, which is removed; and values of one type along a new axis. */
ValueId emit_part(Build *build, ValueId x, int64_t axis, uint32_t i);
ValueId emit_stack(Build *build, const ValueId *parts, uint32_t count, int64_t axis);
/* v[..., 1] from v[...]. */
ValueId emit_with_last_one(Emit *e, ValueId v);
/* Products over the last two axes with equal leading axes; weight products of linear and matmul. */
ValueId emit_matrix_dot(Emit *e, ValueId a, ValueId b, bool b_transposed);
ValueId emit_linear_dot(Emit *e, ValueId x, ValueId weight);
ValueId emit_matmul_dot(Emit *e, ValueId x, ValueId y);
/* Rows of table[V,C] at integer indices. */
ValueId emit_rows(Emit *e, ValueId table, ValueId indices);
/* Largest magnitudes of x in f32, NaN if there is one: of each row along the last axis, of each
 * column, or of all. */
ValueId emit_largest(Build *build, ValueId x, bool rows, bool columns);
/* A product of 8-bit floats times their scales. */
ValueId emit_scaled(Build *build, ValueId z, ValueId x_scale, ValueId y_scale);
/* sqrt(2 / pi) (1 + times 0.044715 x^2): by 1 what gelu takes tanh of, over x; by 3 its slope. */
ValueId emit_gelu_factor(Emit *e, ValueId x, double times);
/* hat = (x - mean) inverse with inverse = 1 / sqrt(var + epsilon) over axes; both shaped like x. */
typedef struct Normalised {
    ValueId hat, inverse;
} Normalised;
Normalised emit_normalise(Emit *e, const int64_t *axes, uint32_t count, double epsilon,
                          bool centred);

#define X(i)                (e->x[i])
#define Y                   (e->y)
#define T(i)                (build_type(e->build, e->x[i]))
#define D                   (e->d[e->operand])
#define CT                  (e->ct[0])
#define NUM(c)              build_splat(e->build, X(0), (c))
#define NEG(x)              build_unary(e->build, OP_NEG, x)
#define ABS(x)              build_unary(e->build, OP_ABS, x)
#define SIGN(x)             build_unary(e->build, OP_SIGN, x)
#define FLOOR(x)            build_unary(e->build, OP_FLOOR, x)
#define EXP(x)              build_unary(e->build, OP_EXP, x)
#define LOG(x)              build_unary(e->build, OP_LOG, x)
#define LOG1P(x)            build_unary(e->build, OP_LOG1P, x)
#define SQRT(x)             build_unary(e->build, OP_SQRT, x)
#define RSQRT(x)            build_unary(e->build, OP_RSQRT, x)
#define SIN(x)              build_unary(e->build, OP_SIN, x)
#define COS(x)              build_unary(e->build, OP_COS, x)
#define TANH(x)             build_unary(e->build, OP_TANH, x)
#define LOGISTIC(x)         build_unary(e->build, OP_LOGISTIC, x)
#define ERF(x)              build_unary(e->build, OP_ERF, x)
#define LGAMMA(x)           build_unary(e->build, OP_LGAMMA, x)
#define ADD(x, y)           build_binary(e->build, OP_ADD, x, y)
#define SUB(x, y)           build_binary(e->build, OP_SUB, x, y)
#define MUL(x, y)           build_binary(e->build, OP_MUL, x, y)
#define DIV(x, y)           build_binary(e->build, OP_DIV, x, y)
#define POW(x, y)           build_binary(e->build, OP_POW, x, y)
#define MAXIMUM(x, y)       build_binary(e->build, OP_MAX, x, y)
#define SELECT(c, x, y)     build_select(e->build, c, x, y)
#define COMPARE(kind, x, y) build_compare(e->build, COMPARE_##kind, x, y)
#define INT_ATTR(NAME, a)   ((int64_t)e->attrs[ATTR_##NAME##_##a])
#define FLOAT_ATTR(NAME, a) word_f64(e->attrs[ATTR_##NAME##_##a])

#endif
