/* Accuracy of the vector mathematics in units in the last place, at every level that this machine
 * runs: f32 against libm in f64 over a stride through all 2^32 patterns, f64 against libm in long
 * double over random and special numbers. The bounds are a little above what a sweep over all
 * patterns found (note 0006). Signs of zeros are exact. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cpu/jit_math.h"
#include "harness.h"
#include "jit_loop.h"
#include "tables/philox.h"

#if defined(STOA_HAVE_LLVM)

typedef struct Case {
    Opcode opcode;
    double ulp32, ulp64; /* the most allowed */
} Case;
static const Case unary[] = {
    {OP_EXP, 1, 1},        {OP_EXPM1, 1.6, 2},      {OP_LOG, 1.1, 1},   {OP_LOG1P, 1.7, 1.4},
    {OP_SQRT, 0.51, 0.51}, {OP_RSQRT, 1.5, 1.5},    {OP_SIN, 1.7, 1},   {OP_COS, 1.7, 1},
    {OP_TANH, 2.7, 2.5},   {OP_LOGISTIC, 2.2, 2.2}, {OP_ERF, 2.4, 1.6}, {OP_ERF_INV, 0.52, 2.7},
    {OP_FLOOR, 0, 0},      {OP_ROUND_EVEN, 0, 0},   {OP_SIGN, 0, 0},    {OP_ABS, 0, 0},
};
static const Case binary[] = {
    {OP_POW, 1, 1.5}, {OP_ATAN2, 2.2, 2}, {OP_REM, 0, 0}, {OP_MAX, 0, 0}, {OP_MIN, 0, 0}};
enum { UNARY = LENGTH(unary), BINARY = LENGTH(binary), ROWS = 2 * (UNARY + BINARY), CHUNK = 4096 };

/* --- what is right ---------------------------------------------------------------------------- */

/* Halley's method from afar; no libm has it. */
static long double exact_erf_inv(long double x) {
    long double a = fabsl(x), w = -logl((1 - a) * (1 + a)), y = sqrtl(w) * 0.886L;
    if (a >= 1) return a == 1 ? copysignl(INFINITY, x) : (long double)NAN;
    if (isnan(x) || a < 1e-12L) return x * 0.886226925452758013649L;
    for (int i = 0; i < 60; i++) {
        long double left = y < 0.5L ? erfl(y) - a : (1 - a) - erfcl(y);
        long double step = left / (1.12837916709551257390L * expl(-y * y));
        y -= step / (1 + step * y);
    }
    return copysignl(y, x);
}
static long double exact_unary(Opcode opcode, long double x) { /* tidy: dispatch */
    switch (opcode) {
    case OP_EXP: return expl(x);
    case OP_EXPM1: return expm1l(x);
    case OP_LOG: return logl(x);
    case OP_LOG1P: return log1pl(x);
    case OP_SQRT: return sqrtl(x);
    case OP_RSQRT: return 1 / sqrtl(x);
    case OP_SIN: return sinl(x);
    case OP_COS: return cosl(x);
    case OP_TANH: return tanhl(x);
    case OP_LOGISTIC: return 1 / (1 + expl(-x));
    case OP_ERF: return erfl(x);
    case OP_ERF_INV: return exact_erf_inv(x);
    case OP_FLOOR: return floorl(x);
    case OP_ROUND_EVEN: return rintl(x);
    case OP_SIGN: return isnan(x) ? x : (long double)((x > 0) - (x < 0));
    default: return fabsl(x);
    }
}
/* For f32: f64 is exact enough, and ten times as fast. */
static double near_unary(Opcode opcode, double x) {
    switch (opcode) {
    case OP_EXP: return exp(x);
    case OP_EXPM1: return expm1(x);
    case OP_LOG: return log(x);
    case OP_LOG1P: return log1p(x);
    case OP_SIN: return sin(x);
    case OP_COS: return cos(x);
    case OP_TANH: return tanh(x);
    case OP_LOGISTIC: return 1 / (1 + exp(-x));
    case OP_ERF: return erf(x);
    default: return (double)exact_unary(opcode, (long double)x);
    }
}
static long double exact_binary(Opcode opcode, long double x, long double y) {
    switch (opcode) {
    case OP_POW: return powl(x, y);
    case OP_ATAN2: return atan2l(x, y);
    case OP_REM: return fmodl(x, y);
    default: break;
    }
    if (isnan(x) || isnan(y)) return x + y;
    return (opcode == OP_MAX) == (x > y) ? x : y;
}

/* Units in the last place of the exact value; 1e9 where one is NaN, infinite or 0 and the other
 * not. What rounds to infinity may also come out as the largest number. */
static double distance(double got, long double exact, bool wide) {
    long double least = wide ? (long double)DBL_MIN : (long double)FLT_MIN;
    long double most = wide ? (long double)DBL_MAX : (long double)FLT_MAX;
    int         digits = wide ? DBL_MANT_DIG : FLT_MANT_DIG, exponent;
    if (isnan(exact) || isnan(got)) return isnan(exact) && isnan(got) ? 0 : 1e9;
    if (isinf(exact) || exact == 0)
        return (long double)got == exact && signbit(got) == (signbit(exact) != 0) ? 0 : 1e9;
    if (isinf(got)) return fabsl(exact) > most * (1 - ldexpl(1, -digits)) ? 0.5 : 1e9;
    (void)frexpl(fabsl(exact) < least ? least : exact, &exponent);
    return (double)(fabsl((long double)got - exact) / ldexpl(1, exponent - digits));
}

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct Row { /* an operator on a dtype */
    Case    what;
    bool    wide;
    char    name[32];
    JitLoop loop;
} Row;

static JitValue emit_row(JitBuild *build, JitValue x, JitValue y, const void *parameter) {
    const Row *row = parameter;
    JitValue   args[2] = {x, y};
    return jit_math(build, row->what.opcode, row->wide ? DTYPE_F64 : DTYPE_F32, args);
}
static void rows_make(Row *rows, JitKernel *kernels, uint32_t lanes) {
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t at = i / 2;
        Row     *row = &rows[i];
        row->what = at < UNARY ? unary[at] : binary[at - UNARY];
        row->wide = i % 2 == 1;
        (void)snprintf(row->name, sizeof row->name, "%s %s", op_infos[row->what.opcode].name,
                       row->wide ? "f64" : "f32");
        row->loop = (JitLoop){.emit = emit_row,
                              .parameter = row,
                              .in = row->wide ? loop_f64 : loop_f32,
                              .out = row->wide ? loop_f64 : loop_f32,
                              .lanes = lanes,
                              .unroll = 1};
        kernels[i] = loop_kernel(row->name, &row->loop);
    }
}

/* The largest distance of a kernel over numbers of its dtype. */
typedef struct Sweep {
    double x[CHUNK], y[CHUNK], z[CHUNK];
    float  x32[CHUNK], y32[CHUNK], z32[CHUNK];
    double worst, worst_x, worst_y;
} Sweep;
static void sweep_chunk(Sweep *s, const Row *row, JitLoopFn *kernel, int count) {
    bool pair = op_infos[row->what.opcode].operands_max == 2;
    if (row->wide) {
        kernel(s->z, s->x, s->y, count);
    } else {
        for (int i = 0; i < count; i++) {
            s->x32[i] = (float)s->x[i];
            s->y32[i] = (float)s->y[i];
        }
        kernel(s->z32, s->x32, s->y32, count);
    }
    for (int i = 0; i < count; i++) {
        double      x = row->wide ? s->x[i] : (double)s->x32[i];
        double      y = row->wide ? s->y[i] : (double)s->y32[i];
        double      got = row->wide ? s->z[i] : (double)s->z32[i];
        long double exact = pair ? exact_binary(row->what.opcode, (long double)x, (long double)y)
                            : row->wide ? exact_unary(row->what.opcode, (long double)x)
                                        : (long double)near_unary(row->what.opcode, x);
        bool   unsure = exact == 0 && (row->what.opcode == OP_MAX || row->what.opcode == OP_MIN);
        double far = distance(got, unsure ? copysignl(exact, (long double)got) : exact, row->wide);
        if (far <= s->worst) continue;
        s->worst = far;
        s->worst_x = x;
        s->worst_y = y;
    }
}

/* A random number: any bits, or of a moderate size, or near 1. */
static double draw(uint64_t index, uint64_t stream, bool wide) {
    Philox   drawn = philox_draw(index, stream, 11);
    uint64_t bits = (uint64_t)drawn.word[0] << 32 | drawn.word[1];
    double   unit = (double)drawn.word[2] * 0x1p-31 - 1, any;
    float    any32;
    memcpy(&any, &bits, sizeof any);
    memcpy(&any32, &drawn.word[0], sizeof any32);
    static const double sizes[] = {1, 20, 800, 1e5};
    switch (drawn.word[3] % 8) {
    case 0:
    case 1: return wide ? any : (double)any32;
    case 2: return ldexp(unit, -(int)(drawn.word[1] % 60));
    case 3: return copysign(1 - ldexp(fabs(unit), -(int)(drawn.word[1] % 53)), unit);
    default: return unit * sizes[drawn.word[3] / 8 % 4];
    }
}
static const double specials[] = {
    0.0,      -0.0,      1,       -1,      2,       -2,      0.5,    -0.5,    3,
    INFINITY, -INFINITY, NAN,     1e-40,   -1e-40,  5e-324,  1e-310, -1e-310, 3.4e38,
    -3.4e38,  1e308,     DBL_MAX, DBL_MIN, FLT_MIN, FLT_MAX, 88.72,  88.73,   -87.4,
    -103.97,  -104,      709.78,  709.79,  -745.1,  -745.2,  1e7,    1e22,    -1e10,
    16777217, 37.5,      -37.5,   0.1,     -0.1,    1e-8,    9.01,   1e300};

/* All pairs of specials, then random pairs. */
static void sweep_pairs(Sweep *s, const Row *row, JitLoopFn *kernel, uint64_t count) {
    uint64_t all = LENGTH(specials) * LENGTH(specials);
    for (uint64_t at = 0; at < all + count; at += CHUNK) {
        for (uint64_t i = 0; i < CHUNK; i++) {
            bool special = at + i < all;
            s->x[i] = special ? specials[(at + i) / LENGTH(specials)] : draw(at + i, 0, row->wide);
            s->y[i] = special ? specials[(at + i) % LENGTH(specials)] : draw(at + i, 1, row->wide);
            /* powers and remainders of a size that does not vanish */
            if (!special && i % 2 == 0) s->x[i] = fabs(s->x[i]);
        }
        sweep_chunk(s, row, kernel, CHUNK);
    }
}
/* Every stride-th pattern of f32. */
static void sweep_patterns(Sweep *s, const Row *row, JitLoopFn *kernel, uint64_t stride) {
    for (uint64_t pattern = 0; pattern <= UINT32_MAX;) {
        int count = 0;
        for (; count < CHUNK && pattern <= UINT32_MAX; pattern += stride) {
            uint32_t bits = (uint32_t)pattern;
            float    x;
            memcpy(&x, &bits, sizeof x);
            s->x[count++] = (double)x;
        }
        sweep_chunk(s, row, kernel, count);
    }
}

static void check_level(Arena *arena, JitLevel level, uint32_t lanes, uint64_t stride,
                        uint64_t pairs) {
    Diags diags = {0};
    Jit  *jit = NULL;
    diags_open(&diags, NULL);
    Row       *rows = ARENA_ARRAY_ZERO(arena, Row, ROWS);
    JitKernel *kernels = ARENA_ARRAY_ZERO(arena, JitKernel, ROWS);
    Sweep     *sweep = ARENA_NEW(arena, Sweep);
    rows_make(rows, kernels, lanes);
    if (EXPECT_EQ(jit_open(arena, &(JitOptions){.level = level}, &diags, &jit), STATUS_OK) &&
        EXPECT_EQ(jit_compile(jit, NULL, kernels, ROWS, &diags), STATUS_OK)) {
        for (uint32_t i = 0; i < ROWS; i++) {
            JitLoopFn *kernel = loop_entry(&kernels[i]);
            sweep->worst = 0;
            sweep_pairs(sweep, &rows[i], kernel, pairs);
            if (!rows[i].wide && i / 2 < UNARY) sweep_patterns(sweep, &rows[i], kernel, stride);
            double allowed = rows[i].wide ? rows[i].what.ulp64 : rows[i].what.ulp32;
            if (!EXPECT(sweep->worst <= allowed))
                printf("\n  level %d, %u lanes, %s: %.3f ulp at %a %a (allowed %g)", (int)level,
                       lanes, rows[i].name, sweep->worst, sweep->worst_x, sweep->worst_y, allowed);
        }
    }
    jit_close(jit);
    diags_close(&diags);
}

TEST(jit_math_is_accurate_at_every_level) {
    for (JitLevel level = JIT_GENERIC; level < JIT_LEVELS; level++)
        if (jit_level_runs(level)) check_level(arena, level, 0, 20011, 20000);
}
/* Scalars, and vectors wider than registers, as AVX-512 would have them. */
TEST(jit_math_is_accurate_at_every_width) {
    check_level(arena, JIT_HOST, 1, 100003, 10000);
    check_level(arena, JIT_HOST, 16, 100003, 10000);
}

#else
TEST(jit_math_needs_llvm) { EXPECT(true); }
#endif
