/* What the sources of the interpreter share: the run in progress, wide numbers, and walks over
 * multi-indexes. Private to src/cpu/interp*.c.
 *
 * A rule (InterpFn) finds its results allocated, reads operands by interp_in, attributes by the
 * interp_attr functions, and may push temporaries to it->arena, which are dropped after it. */
#ifndef STOA_CPU_INTERP_INNER_H
#define STOA_CPU_INTERP_INNER_H

#include <math.h>

#include "cpu/interp.h"
#include "cpu/interp_loops.h"
#include "tables/shape_program.h"

typedef struct Interp {
    const World        *world;
    const InterpLoops  *loops; /* NULL: fused rows run their blocks */
    BlockId             block;
    const ShapeProgram *shapes;
    uint32_t            stage;  /* of shapes, the last that has run */
    int64_t            *dims;   /* sizes by DimId row; late ones at upper bounds until then */
    Tensor             *values; /* by ValueId row */
    NamedTensor        *state;
    uint32_t            state_count;
    Arena              *arena; /* scratch of the run */
    Diags              *diags;
    Status              status; /* the first failure ends the run */
    OpId                op;     /* the row in progress, and its parts */
    Opcode              opcode;
    const uint64_t     *attrs;
    uint32_t            calls; /* of graphs, one in the other */
} Interp;
typedef void InterpFn(Interp *it);

static inline const Tensor *interp_in(const Interp *it, uint32_t operand) {
    return &it->values[op_operand(&it->world->code, it->op, operand).row];
}
static inline uint32_t interp_in_count(const Interp *it) {
    return it->world->code.ops.operands_count[it->op.row];
}
static inline Tensor *interp_out(const Interp *it, uint32_t result) {
    return &it->values[op_result(&it->world->code, it->op, result).row];
}
typedef struct Ints {
    const int64_t *at;
    uint32_t       count;
} Ints;
static inline Ints interp_attr_ints(const Interp *it, uint32_t attr) {
    ListId list = {(uint32_t)it->attrs[attr]};
    return (Ints){list_numbers(&it->world->attrs, list), list_count(&it->world->attrs, list)};
}
/* The sizes of a DIMS attribute in this call. */
static inline void interp_attr_sizes(const Interp *it, uint32_t attr, int64_t *out_sizes) {
    Ints list = interp_attr_ints(it, attr);
    for (uint32_t i = 0; i < list.count; i++) out_sizes[i] = it->dims[list.at[i]];
}
static inline int64_t ints_get(Ints list, uint32_t i, int64_t otherwise) {
    return list.count ? list.at[i] : otherwise;
}
static inline bool ints_has(Ints list, int64_t number) {
    for (uint32_t i = 0; i < list.count; i++)
        if (list.at[i] == number) return true;
    return false;
}
void interp_fail_kernel(Interp *it); /* this row has no rule for its dtypes */
void interp_fail(Interp *it, DiagKind kind, String what);

/* Runs the rows of a block whose arguments have their values; changes it->op. */
void interp_block(Interp *it, BlockId block);

/* --- wide numbers: double for floats, int64 for integers and bool ----------------------------- */
typedef union Num {
    double  f;
    int64_t i;
} Num;
Num     interp_load(const Tensor *x, int64_t at);
void    interp_store(Tensor *x, int64_t at, Num number); /* rounds or wraps to the dtype */
int64_t interp_int_min(Dtype dtype);                     /* of bool: 0 */
int64_t interp_int_max(Dtype dtype);                     /* of bool: 1 */
int64_t interp_saturate(Dtype dtype, double number);     /* truncates; NaN gives 0 */
/* All elements of x, in memory of it->arena. */
Num *interp_load_all(Interp *it, const Tensor *x);
/* What a reduction starts from, and how it takes one more. NaN wins in max and min. */
Num interp_identity(ReduceKind kind, Dtype dtype);
Num interp_combine(ReduceKind kind, bool is_float, Num a, Num b);
/* Whether a comes before b among extremes (max: a greater; NaN before all numbers). */
bool interp_beats(bool want_max, bool is_float, Num a, Num b);

/* One element of an elementwise operator: all but nextafter, on real numbers and bools. from: dtype
 * of the first operand (that of the values for select does not matter), to: of the result, which is
 * left to be rounded (interp_round); word: the attribute, if the operator has one. */
typedef struct Scalar {
    Opcode   opcode;
    Dtype    from, to;
    uint64_t word;
} Scalar;
Num interp_scalar(const Scalar *op, Num a, Num b, Num c);
Num interp_round(Dtype dtype, Num number); /* what storing it and loading it again gives */

static inline int64_t wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t wrap_sub(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static inline int64_t wrap_mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

/* --- walks ------------------------------------------------------------------------------------ */
/* for (Walk w = walk_begin(sizes, rank); w.more; walk_next(&w)) visits every index in row-major
 * order; rank 0 has one index. */
enum { WALK_RANK_MAX = 2 * SHAPE_RANK_MAX };
typedef struct Walk {
    uint32_t rank;
    bool     more;
    int64_t  size[WALK_RANK_MAX], index[WALK_RANK_MAX];
} Walk;
static inline Walk walk_begin(const int64_t *sizes, uint32_t rank) {
    Walk walk = {.rank = rank, .more = true};
    ASSERT(rank <= WALK_RANK_MAX);
    for (uint32_t i = 0; i < rank; i++) {
        walk.size[i] = sizes[i];
        if (sizes[i] <= 0) walk.more = false;
    }
    return walk;
}
static inline void walk_next(Walk *walk) {
    for (uint32_t axis = walk->rank; axis-- > 0;) {
        if (++walk->index[axis] < walk->size[axis]) return;
        walk->index[axis] = 0;
    }
    walk->more = false;
}
static inline int64_t walk_offset(const int64_t *index, const int64_t *strides, uint32_t rank) {
    int64_t offset = 0;
    for (uint32_t i = 0; i < rank; i++) offset += index[i] * strides[i];
    return offset;
}
static inline void walk_strides(const Tensor *x, int64_t *out_strides) { /* row-major */
    int64_t stride = 1;
    for (uint32_t axis = x->rank; axis-- > 0;) {
        out_strides[axis] = stride;
        stride *= x->shape[axis];
    }
}
static inline void walk_copy(Tensor *to, int64_t to_at, const Tensor *from, int64_t from_at) {
    size_t bytes = dtype_bytes(to->dtype);
    memcpy((char *)to->data + (size_t)to_at * bytes,
           (const char *)from->data + (size_t)from_at * bytes, bytes);
}
static inline void walk_copy_all(Tensor *to, const Tensor *from) { /* the same number of elements */
    if (tensor_bytes(from) != 0) memcpy(to->data, from->data, tensor_bytes(from));
}

/* --- special functions ------------------------------------------------------------------------ */
double interp_polygamma(int64_t order, double x);
double interp_bessel_ie(int64_t order, double x);
double interp_erf_inv(double x);
double interp_igamma(double a, double x);

/* --- rules, by file --------------------------------------------------------------------------- */
InterpFn interp_elementwise, interp_nextafter, interp_select, interp_bitcast;
InterpFn interp_constant, interp_iota, interp_rng_bits, interp_broadcast_in_dim, interp_same,
    interp_transpose, interp_slice, interp_pad, interp_concat, interp_reverse, interp_dim_size;
InterpFn interp_dynamic_slice, interp_dynamic_update_slice, interp_gather, interp_scatter;
InterpFn interp_compact;
InterpFn interp_reduce, interp_arg_reduce, interp_cumulative, interp_sort, interp_reduce_window;
InterpFn interp_dot_general, interp_convolution;
InterpFn interp_complex, interp_part, interp_complex_math, interp_fft;
InterpFn interp_fused, interp_branch, interp_while, interp_scan, interp_call;
InterpFn interp_cholesky, interp_triangular_solve, interp_lu, interp_qr, interp_eigh, interp_svd;

#endif
