/* The fast CPU path against the interpreter: elementwise operators, conversions, selection. Shapes
 * are chosen around the sizes where drivers change their way (vectors, blocks, parts of lanes). */
#include "fast_check.h"

typedef struct Sizes {
    uint32_t rank;
    int64_t  shape[4];
} Sizes;
static const Sizes sizes[] = {
    {0, {0}},         {1, {0}},          {1, {1}},         {1, {7}},
    {1, {64}},        {1, {1031}},       {1, {20011}},     {2, {3, 5}},
    {2, {17, 33}},    {2, {1, 129}},     {2, {129, 1}},    {2, {63, 65}},
    {3, {5, 1, 511}}, {4, {2, 3, 4, 5}}, {3, {7, 31, 37}}, {2, {2, 2500}},
};
static const Dtype floats[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16, DTYPE_F16};
static const Dtype ints[] = {DTYPE_I32, DTYPE_I64, DTYPE_U8, DTYPE_I8, DTYPE_I16};

typedef struct Range {
    Opcode opcode;
    double low, high;
} Range;

/* Every third shape, from another one each time; the second operand repeats an axis in odd
 * cases. */
static void check_sizes(Fast *f, Opcode opcode, const uint64_t *attrs, Dtype dtype,
                        uint32_t operands, double low, double high, double rel, double abs) {
    for (size_t i = f->cases++ % 3; i < LENGTH(sizes); i += 3) {
        fast_begin(f);
        f->rel = rel * graph_tolerance(dtype);
        f->abs = abs;
        for (uint32_t k = 0; k < operands; k++) {
            uint32_t x = fast_random(f, dtype, sizes[i].shape, sizes[i].rank, low, high);
            if (k == 1 && sizes[i].rank > 1 && i % 2) fast_repeat(f, x, (uint32_t)i / 2 % 2);
        }
        if (!fast_check(f, opcode, attrs)) return;
    }
}

TEST(fast_unary_floats) {
    static const Range ops[] = {
        {OP_NEG, -9, 9},        {OP_ABS, -9, 9},   {OP_SIGN, -2, 2},     {OP_FLOOR, -9, 9},
        {OP_ROUND_EVEN, -9, 9}, {OP_EXP, -20, 20}, {OP_EXPM1, -3, 3},    {OP_LOG, 0.001, 50},
        {OP_LOG1P, -0.9, 9},    {OP_SQRT, 0, 50},  {OP_RSQRT, 0.01, 50}, {OP_SIN, -30, 30},
        {OP_COS, -30, 30},      {OP_TANH, -5, 5},  {OP_LOGISTIC, -9, 9}, {OP_ERF, -3, 3},
        {OP_IS_FINITE, -1, 1},
    };
    Fast f = fast_open(arena);
    for (size_t i = 0; i < LENGTH(ops); i++)
        for (size_t d = 0; d < LENGTH(floats); d++)
            check_sizes(&f, ops[i].opcode, NULL, floats[d], 1, ops[i].low, ops[i].high, 4, 1e-37);
    fast_close(&f);
}

TEST(fast_binary_floats) {
    static const Range ops[] = {{OP_ADD, -9, 9},  {OP_SUB, -9, 9}, {OP_MUL, -9, 9}, {OP_DIV, 1, 9},
                                {OP_POW, 0.1, 5}, {OP_MAX, -9, 9}, {OP_MIN, -9, 9}};
    Fast               f = fast_open(arena);
    for (size_t i = 0; i < LENGTH(ops); i++)
        for (size_t d = 0; d < LENGTH(floats); d++)
            check_sizes(&f, ops[i].opcode, NULL, floats[d], 2, ops[i].low, ops[i].high, 4, 0);
    fast_close(&f);
}

TEST(fast_special_functions) {
    Fast f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(floats); d++) {
        check_sizes(&f, OP_ERF_INV, NULL, floats[d], 1, -0.99, 0.99, 4, 0);
        check_sizes(&f, OP_LGAMMA, NULL, floats[d], 1, 2.5, 9, 4, 0);
        check_sizes(&f, OP_POLYGAMMA, WORDS(1), floats[d], 1, 0.5, 9, 4, 0);
        check_sizes(&f, OP_BESSEL_IE, WORDS(1), floats[d], 1, 0.5, 9, 4, 0);
        check_sizes(&f, OP_REM, NULL, floats[d], 2, 1, 9, 4, 0);
        check_sizes(&f, OP_ATAN2, NULL, floats[d], 2, -3, 3, 4, 0);
        check_sizes(&f, OP_IGAMMA, NULL, floats[d], 2, 0.5, 5, 8, 0);
        check_sizes(&f, OP_NEXTAFTER, NULL, floats[d], 2, -3, 3, 0, 0);
    }
    fast_begin(&f); /* signs, zeros and numbers that are none */
    graph_input(&f.g, DTYPE_F16, SHAPE(9), NUMBERS(0, 0, -1, -1, NAN, 1, INFINITY, 1, -0.5));
    graph_input(&f.g, DTYPE_F16, SHAPE(9), NUMBERS(1, -1, 0, -2, 1, NAN, 0, 1, INFINITY));
    fast_check(&f, OP_NEXTAFTER, NULL);
    fast_close(&f);
}

TEST(fast_ints) {
    static const Opcode unary[] = {OP_NEG, OP_ABS, OP_SIGN, OP_NOT};
    static const Opcode binary[] = {OP_ADD, OP_SUB,       OP_MUL,        OP_DIV, OP_REM,
                                    OP_MAX, OP_MIN,       OP_AND,        OP_OR,  OP_XOR,
                                    OP_SHL, OP_SHR_ARITH, OP_SHR_LOGICAL};
    Fast                f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(ints); d++) {
        double low = ints[d] == DTYPE_U8 ? 0 : -128, high = ints[d] == DTYPE_U8 ? 256 : 128;
        for (size_t i = 0; i < LENGTH(unary); i++)
            if (ints[d] != DTYPE_U8 || unary[i] == OP_NOT)
                check_sizes(&f, unary[i], NULL, ints[d], 1, low, high, 0, 0);
        for (size_t i = 0; i < LENGTH(binary); i++)
            check_sizes(&f, binary[i], NULL, ints[d], 2, low, high, 0, 0);
        check_sizes(&f, OP_DIV, NULL, ints[d], 2, ints[d] == DTYPE_U8 ? 0 : -3, 4, 0, 0);
        check_sizes(&f, OP_POW, NULL, ints[d], 2, ints[d] == DTYPE_U8 ? 0 : -3, 9, 0, 0);
        check_sizes(&f, OP_SHL, NULL, ints[d], 2, 0, 40, 0, 0);
    }
    static const Opcode flags[] = {OP_AND, OP_OR, OP_XOR, OP_MAX, OP_MIN};
    for (size_t i = 0; i < LENGTH(flags); i++)
        check_sizes(&f, flags[i], NULL, DTYPE_BOOL, 2, 0, 2, 0, 0);
    check_sizes(&f, OP_NOT, NULL, DTYPE_BOOL, 1, 0, 2, 0, 0);
    fast_close(&f);
}

TEST(fast_compare_and_select) {
    static const Dtype dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_BF16,
                                   DTYPE_I32, DTYPE_U8,  DTYPE_BOOL};
    Fast               f = fast_open(arena);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (uint64_t kind = 0; kind < COMPARE_KIND_COUNT; kind++)
            check_sizes(&f, OP_COMPARE, WORDS(kind), dtypes[d], 2, 0, 3, 0, 0);
    for (size_t d = 0; d < LENGTH(dtypes); d++)
        for (size_t i = d % 2; i < LENGTH(sizes); i += 2) {
            fast_begin(&f);
            (void)fast_random(&f, DTYPE_BOOL, sizes[i].shape, sizes[i].rank, 0, 2);
            uint32_t a = fast_random(&f, dtypes[d], sizes[i].shape, sizes[i].rank, 0, 2);
            (void)fast_random(&f, dtypes[d], sizes[i].shape, sizes[i].rank, 0, 2);
            if (sizes[i].rank > 1) fast_repeat(&f, a, 1);
            if (!fast_check(&f, OP_SELECT, NULL)) break;
        }
    fast_close(&f);
}

TEST(fast_convert) {
    Fast f = fast_open(arena);
    for (Dtype from = DTYPE_BOOL; from <= DTYPE_F64; from++)
        for (Dtype to = DTYPE_BOOL; to <= DTYPE_F64; to++) {
            double low = from == DTYPE_BOOL || from == DTYPE_U8 ? 0 : -120;
            double high = from == DTYPE_BOOL ? 2 : 120;
            check_sizes(&f, OP_CONVERT, WORDS(to), from, 1, low, high, 0, 0);
        }
    /* Beyond the range of integers, and numbers that are none. */
    for (Dtype to = DTYPE_BOOL; to <= DTYPE_F64; to++) {
        fast_begin(&f);
        graph_input(&f.g, DTYPE_F32, SHAPE(24),
                    NUMBERS(NAN, INFINITY, -INFINITY, 1e30, -1e30, 255.9, -0.5, 3e9, 2147483648.0,
                            -2147483904.0, 9.3e18, 0.25));
        fast_check(&f, OP_CONVERT, WORDS(to));
        fast_begin(&f);
        graph_input(&f.g, DTYPE_F64, SHAPE(24),
                    NUMBERS(NAN, INFINITY, -INFINITY, 1e300, -1e300, 65504, 65520, 1e-8, 3.4e38,
                            -2147483649.0, 9.3e18, 6e-8));
        fast_check(&f, OP_CONVERT, WORDS(to));
    }
    fast_close(&f);
}
