/* Complex numbers of the interpreter: making and splitting them, the field operations, and the
 * discrete Fourier transform by its definition. A Pair is one complex number in double; c64 rounds
 * its parts to f32 when stored. Other operators only move complex elements, or have no rule for
 * them. */
#include "cpu/interp_inner.h"

typedef struct Pair {
    double re, im;
} Pair;

static Pair pair_load(const Tensor *x, int64_t at) {
    if (!dtype_is_complex(x->dtype)) return (Pair){interp_load(x, at).f, 0};
    Pair        pair;
    float       single[2];
    size_t      bytes = dtype_bytes(x->dtype);
    const char *from = (const char *)x->data + (size_t)at * bytes;
    if (x->dtype == DTYPE_C128) {
        memcpy(&pair, from, bytes);
        return pair;
    }
    memcpy(single, from, bytes);
    return (Pair){(double)single[0], (double)single[1]};
}
static void pair_store(Tensor *x, int64_t at, Pair pair) { /* a real tensor takes the real part */
    if (!dtype_is_complex(x->dtype)) {
        interp_store(x, at, (Num){.f = pair.re});
        return;
    }
    size_t bytes = dtype_bytes(x->dtype);
    char  *to = (char *)x->data + (size_t)at * bytes;
    float  single[2] = {(float)pair.re, (float)pair.im};
    memcpy(to, x->dtype == DTYPE_C128 ? (const void *)&pair : (const void *)single, bytes);
}
static Pair pair_add(Pair a, Pair b) { return (Pair){a.re + b.re, a.im + b.im}; }
static Pair pair_sub(Pair a, Pair b) { return (Pair){a.re - b.re, a.im - b.im}; }
static Pair pair_mul(Pair a, Pair b) {
    return (Pair){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* Smith's division: scales by the larger part, so that squares do not overflow. */
static Pair pair_div(Pair a, Pair b) {
    if (fabs(b.re) >= fabs(b.im)) {
        double ratio = b.im / b.re, size = b.re + b.im * ratio;
        return (Pair){(a.re + a.im * ratio) / size, (a.im - a.re * ratio) / size};
    }
    double ratio = b.re / b.im, size = b.re * ratio + b.im;
    return (Pair){(a.re * ratio + a.im) / size, (a.im * ratio - a.re) / size};
}

void interp_complex(Interp *it) {
    for (int64_t i = 0; i < tensor_elements(interp_out(it, 0)); i++)
        pair_store(interp_out(it, 0), i,
                   (Pair){interp_load(interp_in(it, 0), i).f, interp_load(interp_in(it, 1), i).f});
}
void interp_part(Interp *it) { /* real, imag */
    for (int64_t i = 0; i < tensor_elements(interp_out(it, 0)); i++) {
        Pair pair = pair_load(interp_in(it, 0), i);
        interp_store(interp_out(it, 0), i, (Num){.f = it->opcode == OP_REAL ? pair.re : pair.im});
    }
}
void interp_complex_math(Interp *it) {
    for (int64_t i = 0; i < tensor_elements(interp_out(it, 0)); i++) {
        Pair a = pair_load(interp_in(it, 0), i), b = {0, 0}, c = {-a.re, -a.im};
        if (interp_in_count(it) > 1) b = pair_load(interp_in(it, 1), i);
        switch (it->opcode) {
        case OP_NEG: break;
        case OP_ADD: c = pair_add(a, b); break;
        case OP_SUB: c = pair_sub(a, b); break;
        case OP_MUL: c = pair_mul(a, b); break;
        case OP_DIV: c = pair_div(a, b); break;
        default: interp_fail_kernel(it); return;
        }
        pair_store(interp_out(it, 0), i, c);
    }
}

/* --- fft -------------------------------------------------------------------------------------- */
/* e^(2 pi i k / n): the fraction is reduced first, so that large k stay exact. */
static Pair root_of_unity(int64_t k, int64_t n) {
    double angle = 2 * 3.14159265358979323846 * (double)(k % n) / (double)n;
    return (Pair){cos(angle), sin(angle)};
}
/* Transforms one axis of numbers in place: out[j] = sum over k of in[k] e^(sign 2 pi i j k / n).
 * The axis has n elements, stride apart, among count in all. line: room for n. */
static void transform_axis(Pair *all, int64_t count, int64_t n, int64_t stride, int sign,
                           Pair *line) {
    for (int64_t first = 0; first < count; first++) {
        if (first / stride % n != 0) continue; /* not the first of its line */
        for (int64_t j = 0; j < n; j++) {
            line[j] = (Pair){0, 0};
            for (int64_t k = 0; k < n; k++) {
                Pair root = root_of_unity(j * k, n);
                root.im *= sign;
                line[j] = pair_add(line[j], pair_mul(all[first + k * stride], root));
            }
        }
        for (int64_t j = 0; j < n; j++) all[first + j * stride] = line[j];
    }
}
/* The last axis of a real transform has n/2 + 1 of n numbers; the others are their conjugates. */
static void fill_line(const Tensor *x, int64_t which, int64_t n, bool half, Pair *line) {
    int64_t given = x->shape[x->rank - 1];
    for (int64_t k = 0; k < n; k++) {
        bool mirrored = half && k >= given;
        line[k] = pair_load(x, which * given + (mirrored ? n - k : k));
        if (mirrored) line[k].im = -line[k].im;
    }
}
/* The axes before the last go first where the input is half: then every last line is Hermitian. */
void interp_fft(Interp *it) {
    const Tensor *x = interp_in(it, 0);
    Tensor       *y = interp_out(it, 0), work = *x;
    FftKind       kind = (FftKind)it->attrs[ATTR_FFT_kind];
    uint32_t      axes = interp_attr_ints(it, ATTR_FFT_sizes).count, last = x->rank - 1;
    int64_t       sizes[SHAPE_RANK_MAX] = {0}, scale = 1;
    int           sign = kind == FFT_FORWARD || kind == FFT_REAL_FORWARD ? -1 : 1;
    interp_attr_sizes(it, ATTR_FFT_sizes, sizes);
    int64_t n = sizes[axes - 1], count = tensor_elements(x);
    if (n == 0 || count == 0 || tensor_elements(y) == 0) return;
    int64_t lines = count / x->shape[last], given = x->shape[last];
    Pair   *all = ARENA_ARRAY(it->arena, Pair, count);
    Pair   *whole = ARENA_ARRAY(it->arena, Pair, lines * n);
    int64_t longest = n;
    for (uint32_t i = 0; i < axes; i++) {
        scale *= sizes[i];
        if (sizes[i] > longest) longest = sizes[i];
    }
    Pair *line = ARENA_ARRAY(it->arena, Pair, longest);
    for (int64_t i = 0; i < count; i++) all[i] = pair_load(x, i);
    for (uint32_t i = 0; i + 1 < axes; i++) {
        int64_t stride = given;
        for (uint32_t axis = x->rank - axes + i + 1; axis < last; axis++) stride *= x->shape[axis];
        transform_axis(all, count, sizes[i], stride, sign, line);
    }
    work.dtype = DTYPE_C128;
    work.data = all;
    for (int64_t l = 0; l < lines; l++)
        fill_line(&work, l, n, kind == FFT_REAL_INVERSE, whole + l * n);
    transform_axis(whole, lines * n, n, 1, sign, line);
    int64_t kept = y->shape[last];
    for (int64_t i = 0; i < lines * kept; i++) {
        Pair pair = whole[i / kept * n + i % kept];
        if (sign > 0) pair = (Pair){pair.re / (double)scale, pair.im / (double)scale};
        pair_store(y, i, pair);
    }
}
