/* lu, cholesky and triangular_solve: the last two axes of dense operands are matrices, dealt to the
 * lanes as a whole.
 *
 * A matrix is widened to double in scratch, so that pivots, and with them permutations, are those
 * of the interpreter in every dtype (with few exceptions: sums of 32 rows or more are added up in
 * another order). */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

typedef struct Matrices { /* of one operand or result */
    Ref      at;
    int64_t  elements, width; /* width: bytes an element */
    BlockFn *convert;         /* reading: to f64; writing: from it */
} Matrices;
typedef struct MatrixStep {
    const MatrixLoops *loops;
    Matrices           a, b, y;
    Ref                rows;
    int64_t            count, n, columns;
    bool               lower, transpose, unit;
} MatrixStep;

static void read_matrix(const Matrices *m, int64_t number, double *out, const KernelCtx *ctx) {
    const void *from = (const uint8_t *)ref_at(m->at, ctx) + number * m->elements * m->width;
    m->convert(out, &from, m->elements, NULL);
}
static void write_matrix(const Matrices *m, int64_t number, const double *from,
                         const KernelCtx *ctx) {
    const void *numbers = from;
    m->convert((uint8_t *)ref_at(m->at, ctx) + number * m->elements * m->width, &numbers,
               m->elements, NULL);
}
/* The upper triangle is that of the lower one, mirrored; the other way below. */
static void mirror(double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++) a[i * n + j] = a[j * n + i];
}
static void lower_of(double *u, int64_t n, bool good) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) u[i * n + j] = good ? u[j * n + i] : (double)NAN;
        for (int64_t j = 0; j < i; j++) u[j * n + i] = 0;
    }
}
static void lu_run(const void *params, const KernelCtx *ctx) {
    const MatrixStep *s = params;
    Part              part = part_of(s->count, 1, ctx);
    double           *a = (double *)(void *)ctx->scratch;
    int64_t          *rows = ref_at(s->rows, ctx);
    for (int64_t i = part.first; i < part.last; i++) {
        read_matrix(&s->a, i, a, ctx);
        s->loops->lu(a, rows + i * s->n, s->n);
        write_matrix(&s->y, i, a, ctx);
    }
}
static void cholesky_run(const void *params, const KernelCtx *ctx) {
    const MatrixStep *s = params;
    Part              part = part_of(s->count, 1, ctx);
    double           *a = (double *)(void *)ctx->scratch;
    for (int64_t i = part.first; i < part.last; i++) {
        read_matrix(&s->a, i, a, ctx);
        mirror(a, s->n);
        lower_of(a, s->n, s->loops->cholesky(a, s->n));
        write_matrix(&s->y, i, a, ctx);
    }
}
static void substitute_run(const void *params, const KernelCtx *ctx) {
    const MatrixStep *s = params;
    Part              part = part_of(s->count, 1, ctx);
    double           *a = (double *)(void *)ctx->scratch, *x = a + s->a.elements;
    for (int64_t i = part.first; i < part.last; i++) {
        read_matrix(&s->a, i, a, ctx);
        read_matrix(&s->b, i, x, ctx);
        s->loops->substitute(a, x, s->n, s->columns, s->lower, s->transpose, s->unit);
        write_matrix(&s->y, i, x, ctx);
    }
}

static Matrices matrices_of(const LaunchArg *arg, BlockFn *convert) {
    return (Matrices){.at = ref_of(arg),
                      .elements = arg->dims[arg->rank - 2] * arg->dims[arg->rank - 1],
                      .width = arg_width(arg),
                      .convert = convert};
}
static bool bind_matrices(Binder *b, StepFn *fn, MatrixStep made) {
    const LaunchArg *x = &b->args[b->operands - 1];
    Dtype            dtype = arg_dtype(x);
    MatrixStep      *s = BIND_PARAMS(b, MatrixStep);
    BlockFn         *widen = b->isa->convert[dtype][DTYPE_F64];
    BlockFn         *narrow = b->isa->convert[DTYPE_F64][dtype];
    if (!dtype_is_float(dtype) || widen == NULL || narrow == NULL) return false;
    *s = made;
    s->loops = b->isa->matrix;
    s->a = matrices_of(&b->args[0], widen);
    s->b = matrices_of(x, widen);
    s->y = matrices_of(&b->outs[0], narrow);
    s->n = b->args[0].dims[b->args[0].rank - 1];
    s->columns = x->dims[x->rank - 1];
    s->count = arg_elements(x) / s->b.elements;
    bind_scratch(b, (s->a.elements + s->b.elements) * (int64_t)sizeof(double));
    bind_step(b, fn, s, s->count * s->n * s->b.elements);
    bind_pieces(b, s->count);
    return true;
}
bool kernels_bind_lu(Binder *b) {
    return bind_matrices(b, lu_run, (MatrixStep){.rows = ref_of(&b->outs[1])});
}
bool kernels_bind_cholesky(Binder *b) { return bind_matrices(b, cholesky_run, (MatrixStep){0}); }
bool kernels_bind_triangular_solve(Binder *b) {
    MatrixStep made = {.lower = b->attrs[ATTR_TRIANGULAR_SOLVE_lower] != 0,
                       .transpose = b->attrs[ATTR_TRIANGULAR_SOLVE_transpose] != 0,
                       .unit = b->attrs[ATTR_TRIANGULAR_SOLVE_unit_diagonal] != 0};
    return bind_matrices(b, substitute_run, made);
}
