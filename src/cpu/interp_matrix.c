/* Factorisations over the last two axes, one matrix at a time in double: Cholesky, substitution,
 * LU with partial pivoting, Householder QR, and Jacobi rotations for eigh and svd. All are the
 * textbook algorithms, chosen for accuracy and for having nothing to tune.
 *
 * A matrix is an array of doubles, row-major; m[i * columns + j]. Where a factor is unique up to
 * signs, a convention makes it unique (see docs/ops): r has no negative diagonal element, and the
 * leading component of each eigenvector and left singular vector is positive. */
#include "cpu/interp_inner.h"

enum { SWEEPS_MAX = 60 }; /* Jacobi converges in about 10 */
static const double epsilon = 0x1p-53;

/* --- batches of matrices ---------------------------------------------------------------------- */
typedef struct Batch {
    int64_t count, rows, columns;
} Batch;
static Batch batch_of(const Tensor *a) {
    Batch batch = {1, a->shape[a->rank - 2], a->shape[a->rank - 1]};
    for (uint32_t i = 0; i + 2 < a->rank; i++) batch.count *= a->shape[i];
    return batch;
}
static double *numbers(Interp *it, int64_t count) {
    return ARENA_ARRAY_ZERO(it->arena, double, count);
}
/* Elements [which * count, ...) of x. */
static void load(double *to, const Tensor *x, int64_t which, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = interp_load(x, which * count + i).f;
}
static void store(Tensor *x, const double *from, int64_t which, int64_t count) {
    for (int64_t i = 0; i < count; i++) interp_store(x, which * count + i, (Num){.f = from[i]});
}
static void identity(double *m, int64_t n) {
    for (int64_t i = 0; i < n * n; i++) m[i] = i % (n + 1) == 0;
}
static bool all_finite(const double *m, int64_t count) {
    bool finite = true;
    for (int64_t i = 0; i < count; i++) finite = finite && isfinite(m[i]);
    return finite;
}
static void fill_nan(double *m, int64_t count) {
    for (int64_t i = 0; i < count; i++) m[i] = NAN;
}

/* --- cholesky --------------------------------------------------------------------------------- */
/* Of the lower triangle of a, into l; false at a pivot that is not positive. */
static bool cholesky(const double *a, double *l, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (int64_t k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
            if (i == j && !(sum > 0)) return false;
            l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
        }
    return true;
}
void interp_cholesky(Interp *it) {
    Batch   batch = batch_of(interp_in(it, 0));
    int64_t n = batch.rows;
    double *a = numbers(it, n * n), *l = numbers(it, n * n);
    for (int64_t b = 0; b < batch.count; b++) {
        load(a, interp_in(it, 0), b, n * n);
        bool positive = cholesky(a, l, n);
        for (int64_t i = 0; i < n && !positive; i++) fill_nan(l + i * n, i + 1);
        store(interp_out(it, 0), l, b, n * n);
    }
}

/* --- triangular_solve ------------------------------------------------------------------------- */
/* op(a) x = b in place of b, of `columns` right-hand sides. */
static void substitute(const double *a, double *x, int64_t n, int64_t columns, bool lower,
                       bool transpose, bool unit) {
    bool forward = lower != transpose;
    for (int64_t step = 0; step < n; step++) {
        int64_t i = forward ? step : n - 1 - step;
        for (int64_t c = 0; c < columns; c++) {
            double sum = x[i * columns + c];
            for (int64_t done = 0; done < step; done++) {
                int64_t k = forward ? done : n - 1 - done;
                sum -= (transpose ? a[k * n + i] : a[i * n + k]) * x[k * columns + c];
            }
            x[i * columns + c] = unit ? sum : sum / a[i * n + i];
        }
    }
}
void interp_triangular_solve(Interp *it) {
    Batch   batch = batch_of(interp_in(it, 1));
    int64_t n = batch.rows, columns = batch.columns;
    double *a = numbers(it, n * n), *x = numbers(it, n * columns);
    for (int64_t b = 0; b < batch.count; b++) {
        load(a, interp_in(it, 0), b, n * n);
        load(x, interp_in(it, 1), b, n * columns);
        substitute(a, x, n, columns, it->attrs[ATTR_TRIANGULAR_SOLVE_lower] != 0,
                   it->attrs[ATTR_TRIANGULAR_SOLVE_transpose] != 0,
                   it->attrs[ATTR_TRIANGULAR_SOLVE_unit_diagonal] != 0);
        store(interp_out(it, 0), x, b, n * columns);
    }
}

/* --- lu --------------------------------------------------------------------------------------- */
/* In place; the pivot is the first of the largest in its column. A column without a pivot is left
 * as it is: u is singular then. */
static void lu(double *a, int64_t *permutation, int64_t n) {
    for (int64_t i = 0; i < n; i++) permutation[i] = i;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
        for (int64_t j = 0; j < n && pivot != k; j++) {
            double swap = a[k * n + j];
            a[k * n + j] = a[pivot * n + j];
            a[pivot * n + j] = swap;
        }
        int64_t moved = permutation[k];
        permutation[k] = permutation[pivot];
        permutation[pivot] = moved;
        for (int64_t i = k + 1; i < n && a[k * n + k] != 0; i++) {
            a[i * n + k] /= a[k * n + k];
            for (int64_t j = k + 1; j < n; j++) a[i * n + j] -= a[i * n + k] * a[k * n + j];
        }
    }
}
void interp_lu(Interp *it) {
    Batch    batch = batch_of(interp_in(it, 0));
    int64_t  n = batch.rows;
    double  *a = numbers(it, n * n);
    int64_t *permutation = ARENA_ARRAY(it->arena, int64_t, n);
    for (int64_t b = 0; b < batch.count; b++) {
        load(a, interp_in(it, 0), b, n * n);
        lu(a, permutation, n);
        store(interp_out(it, 0), a, b, n * n);
        for (int64_t i = 0; i < n; i++)
            interp_store(interp_out(it, 1), b * n + i, (Num){.i = permutation[i]});
    }
}

/* --- qr --------------------------------------------------------------------------------------- */
/* m[i, from:] -= scale (m[i, from:] . v) v for each row i: a reflection from the right. */
static void reflect_rows(double *m, int64_t rows, int64_t columns, int64_t from, const double *v,
                         double scale) {
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t j = from; j < columns; j++) sum += m[i * columns + j] * v[j];
        for (int64_t j = from; j < columns; j++) m[i * columns + j] -= scale * sum * v[j];
    }
}
static void reflect_columns(double *m, int64_t rows, int64_t columns, int64_t from, const double *v,
                            double scale) {
    for (int64_t j = 0; j < columns; j++) {
        double sum = 0;
        for (int64_t i = from; i < rows; i++) sum += m[i * columns + j] * v[i];
        for (int64_t i = from; i < rows; i++) m[i * columns + j] -= scale * sum * v[i];
    }
}
/* r[rows, columns] holds a and becomes upper triangular; q[rows, rows] gets the rotation. */
static void householder(double *r, double *q, double *v, int64_t rows, int64_t columns) {
    identity(q, rows);
    for (int64_t k = 0; k < rows && k < columns; k++) {
        double norm = 0, square = 0;
        for (int64_t i = k; i < rows; i++) norm = hypot(norm, r[i * columns + k]);
        if (norm == 0) continue;
        for (int64_t i = k; i < rows; i++) v[i] = r[i * columns + k] / norm;
        v[k] += copysign(1, v[k]);
        for (int64_t i = k; i < rows; i++) square += v[i] * v[i];
        reflect_columns(r, rows, columns, k, v, 2 / square);
        reflect_rows(q, rows, rows, k, v, 2 / square);
        for (int64_t i = k + 1; i < rows; i++) r[i * columns + k] = 0;
    }
    for (int64_t k = 0; k < rows && k < columns; k++) {
        if (!(r[k * columns + k] < 0)) continue;
        for (int64_t j = 0; j < columns; j++) r[k * columns + j] = -r[k * columns + j];
        for (int64_t i = 0; i < rows; i++) q[i * rows + k] = -q[i * rows + k];
    }
}
void interp_qr(Interp *it) {
    Batch   batch = batch_of(interp_in(it, 0));
    int64_t rows = batch.rows, columns = batch.columns, k = rows < columns ? rows : columns;
    double *r = numbers(it, rows * columns), *q = numbers(it, rows * rows);
    double *v = numbers(it, rows);
    for (int64_t b = 0; b < batch.count; b++) {
        load(r, interp_in(it, 0), b, rows * columns);
        householder(r, q, v, rows, columns);
        for (int64_t i = 0; i < rows * k; i++)
            interp_store(interp_out(it, 0), b * rows * k + i, (Num){.f = q[i / k * rows + i % k]});
        store(interp_out(it, 1), r, b, k * columns); /* its first k rows */
    }
}

/* --- rotations -------------------------------------------------------------------------------- */
typedef struct Rotation {
    double cosine, sine;
} Rotation;
/* The smaller rotation that makes the coupling of two axes with squares a and b zero. */
static Rotation rotation_of(double a, double b, double coupling) {
    double zeta = (b - a) / (2 * coupling);
    double tangent = copysign(1, zeta) / (fabs(zeta) + hypot(1, zeta));
    double cosine = 1 / hypot(1, tangent);
    return (Rotation){cosine, cosine * tangent};
}
static void rotate(double *x, double *y, Rotation r) {
    double a = *x, b = *y;
    *x = r.cosine * a - r.sine * b;
    *y = r.sine * a + r.cosine * b;
}
static void rotate_columns(double *m, int64_t rows, int64_t columns, int64_t p, int64_t q,
                           Rotation r) {
    for (int64_t i = 0; i < rows; i++) rotate(&m[i * columns + p], &m[i * columns + q], r);
}
/* The places of n keys in ascending order, by insertion: equal keys keep their order. */
static void sort_places(const double *keys, int64_t *places, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        for (; at > 0 && keys[places[at - 1]] > keys[i]; at--) places[at] = places[at - 1];
        places[at] = i;
    }
}
/* -1 when the first component that is a tenth of the largest or more is negative, else 1. */
static double leading_sign(const double *m, int64_t rows, int64_t columns, int64_t column) {
    double largest = 0;
    for (int64_t i = 0; i < rows; i++) largest = fmax(largest, fabs(m[i * columns + column]));
    for (int64_t i = 0; i < rows; i++)
        if (fabs(m[i * columns + column]) >= largest / 10)
            return m[i * columns + column] < 0 ? -1 : 1;
    return 1;
}

/* --- eigh ------------------------------------------------------------------------------------- */
/* Cyclic Jacobi: a becomes diagonal, v collects the rotations. */
static void jacobi(double *a, double *v, int64_t n) {
    identity(v, n);
    bool rotated = true;
    for (int sweep = 0; sweep < SWEEPS_MAX && rotated; sweep++) {
        rotated = false;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                double coupling = a[p * n + q], x = a[p * n + p], y = a[q * n + q];
                if (coupling == 0) continue;
                if (fabs(x) + fabs(coupling) == fabs(x) && fabs(y) + fabs(coupling) == fabs(y)) {
                    a[p * n + q] = a[q * n + p] = 0;
                    continue;
                }
                Rotation r = rotation_of(x, y, coupling);
                rotate_columns(a, n, n, p, q, r);
                for (int64_t j = 0; j < n; j++) rotate(&a[p * n + j], &a[q * n + j], r);
                a[p * n + q] = a[q * n + p] = 0;
                rotate_columns(v, n, n, p, q, r);
                rotated = true;
            }
    }
}
void interp_eigh(Interp *it) {
    Batch    batch = batch_of(interp_in(it, 0));
    int64_t  n = batch.rows;
    double  *a = numbers(it, n * n), *v = numbers(it, n * n), *w = numbers(it, n);
    double  *sorted = numbers(it, n * n);
    int64_t *places = ARENA_ARRAY(it->arena, int64_t, n);
    for (int64_t b = 0; b < batch.count; b++) {
        load(a, interp_in(it, 0), b, n * n);
        for (int64_t i = 0; i < n * n; i++) /* the lower triangle is read */
            if (i % n > i / n) a[i] = a[i % n * n + i / n];
        if (all_finite(a, n * n))
            jacobi(a, v, n);
        else
            fill_nan(a, n * n), fill_nan(v, n * n);
        for (int64_t i = 0; i < n; i++) w[i] = a[i * n + i];
        sort_places(w, places, n);
        for (int64_t j = 0; j < n; j++) {
            double sign = leading_sign(v, n, n, places[j]);
            interp_store(interp_out(it, 0), b * n + j, (Num){.f = w[places[j]]});
            for (int64_t i = 0; i < n; i++) sorted[i * n + j] = sign * v[i * n + places[j]];
        }
        store(interp_out(it, 1), sorted, b, n * n);
    }
}

/* --- svd -------------------------------------------------------------------------------------- */
static double dot_columns(const double *m, int64_t rows, int64_t columns, int64_t p, int64_t q) {
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += m[i * columns + p] * m[i * columns + q];
    return sum;
}
/* One-sided Jacobi: the columns of u[rows, n], rows >= n, become orthogonal; a = u v^T. */
static void one_sided(double *u, double *v, int64_t rows, int64_t n) {
    identity(v, n);
    bool rotated = true;
    for (int sweep = 0; sweep < SWEEPS_MAX && rotated; sweep++) {
        rotated = false;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                double x = dot_columns(u, rows, n, p, p), y = dot_columns(u, rows, n, q, q);
                double coupling = dot_columns(u, rows, n, p, q);
                if (fabs(coupling) <= 4 * epsilon * sqrt(x) * sqrt(y)) continue;
                Rotation r = rotation_of(x, y, coupling);
                rotate_columns(u, rows, n, p, q, r);
                rotate_columns(v, n, n, p, q, r);
                rotated = true;
            }
    }
}
/* Makes column k of u a unit vector orthogonal to the k columns before it: what two rounds of
 * Gram-Schmidt leave of the first axis that does not lie among them. */
static void complete_column(double *u, int64_t rows, int64_t n, int64_t k) {
    double norm = 0;
    for (int64_t axis = 0; axis < rows && norm < 0.5 / (double)rows; axis++) {
        for (int64_t i = 0; i < rows; i++) u[i * n + k] = i == axis;
        for (int round = 0; round < 2; round++)
            for (int64_t j = 0; j < k; j++) {
                double along = dot_columns(u, rows, n, j, k);
                for (int64_t i = 0; i < rows; i++) u[i * n + k] -= along * u[i * n + j];
            }
        norm = sqrt(dot_columns(u, rows, n, k, k));
    }
    for (int64_t i = 0; i < rows; i++) u[i * n + k] /= norm;
}
typedef struct Svd {
    double  *a, *u, *v, *s; /* a: rows x n; u: sorted left; v: n x n of the rotations */
    int64_t *places;
    int64_t  rows, n;
} Svd;
/* Sorts the columns by falling length and divides it out: u, s, places of the columns of v. */
static void svd_finish(Svd *d, double *lengths) {
    for (int64_t j = 0; j < d->n; j++) lengths[j] = -sqrt(dot_columns(d->a, d->rows, d->n, j, j));
    sort_places(lengths, d->places, d->n);
    for (int64_t j = 0; j < d->n; j++) {
        double length = d->s[j] = -lengths[d->places[j]];
        for (int64_t i = 0; i < d->rows && length > 0; i++)
            d->u[i * d->n + j] = d->a[i * d->n + d->places[j]] / length;
        if (length == 0) complete_column(d->u, d->rows, d->n, j);
    }
}
/* a = u diag(s) vt; for wide matrices a^T was factored, so the sides change places. */
static void svd_store(Interp *it, const Svd *d, int64_t b, bool wide) {
    int64_t rows = d->rows, n = d->n;
    Tensor *left = interp_out(it, wide ? 2 : 0), *right = interp_out(it, wide ? 0 : 2);
    for (int64_t j = 0; j < n; j++) {
        double sign =
            wide ? leading_sign(d->v, n, n, d->places[j]) : leading_sign(d->u, rows, n, j);
        interp_store(interp_out(it, 1), b * n + j, (Num){.f = d->s[j]});
        for (int64_t i = 0; i < rows; i++)
            interp_store(left, b * rows * n + (wide ? j * rows + i : i * n + j),
                         (Num){.f = sign * d->u[i * n + j]});
        for (int64_t i = 0; i < n; i++)
            interp_store(right, b * n * n + (wide ? i * n + j : j * n + i),
                         (Num){.f = sign * d->v[i * n + d->places[j]]});
    }
}
void interp_svd(Interp *it) {
    Batch   batch = batch_of(interp_in(it, 0));
    bool    wide = batch.rows < batch.columns;
    int64_t rows = wide ? batch.columns : batch.rows, n = wide ? batch.rows : batch.columns;
    double *lengths = numbers(it, n);
    Svd     d = {.a = numbers(it, rows * n),
                 .u = numbers(it, rows * n),
                 .v = numbers(it, n * n),
                 .s = numbers(it, n),
                 .places = ARENA_ARRAY_ZERO(it->arena, int64_t, n),
                 .rows = rows,
                 .n = n};
    for (int64_t b = 0; b < batch.count; b++) {
        for (int64_t i = 0; i < rows * n; i++) {
            int64_t at = wide ? i % n * rows + i / n : i;
            d.a[i] = interp_load(interp_in(it, 0), b * rows * n + at).f;
        }
        if (all_finite(d.a, rows * n)) {
            one_sided(d.a, d.v, rows, n);
            svd_finish(&d, lengths);
        } else {
            fill_nan(d.u, rows * n), fill_nan(d.v, n * n), fill_nan(d.s, n);
        }
        svd_store(it, &d, b, wide);
    }
}
