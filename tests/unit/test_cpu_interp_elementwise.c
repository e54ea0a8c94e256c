// Elementwise operators of the reference interpreter, on every dtype they take. Expected numbers
// come from mpmath at 40 digits; the inputs are exact in bf16, so that one table serves all floats.
// Tables are set by hand, a case a line or two.
#include "run_graph.h"

enum { CASES = 6 };
static const Dtype floats[] = {DTYPE_F64, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
static const Dtype ints[] = {DTYPE_U8, DTYPE_I8, DTYPE_I16, DTYPE_I32, DTYPE_I64};

typedef struct UnaryCase {
    Opcode opcode;
    double x[CASES], y[CASES];
} UnaryCase;
static const UnaryCase unary_cases[] = {
    {OP_NEG, {-2.5, -0.5, 0.75, 3, INFINITY, NAN}, {2.5, 0.5, -0.75, -3, -INFINITY, NAN}}, // neg-c2
    {OP_ABS, {-2.5, -0.5, 0.75, 3, -INFINITY, NAN}, {2.5, 0.5, 0.75, 3, INFINITY, NAN}},   // abs-c2
    {OP_SIGN, {-2.5, -0.0, 0, 3, -INFINITY, NAN}, {-1, 0, 0, 1, -1, NAN}},             // sign-c2
    {OP_FLOOR, {-2.5, -0.5, 0.75, 3, -INFINITY, NAN}, {-3, -1, 0, 3, -INFINITY, NAN}}, // floor-c2
    {OP_ROUND_EVEN,
     {-2.5, -0.75, 0.5, 1.5, 2.5, INFINITY},
     {-2, -1, 0, 2, 2, INFINITY}}, // round_even-c2
    {OP_EXP,
     {-2.5, -0.0078125, 0, 3, -INFINITY, NAN}, // exp-c2
     {0.0820849986238988, 0.9922179382602435, 1, 20.085536923187668, 0, NAN}},
    {OP_EXPM1,
     {-2.5, -0.0078125, 0.0001220703125, 3, -INFINITY, NAN}, // expm1-c2
     {-0.9179150013761012, -0.007782061739756488, 0.00012207776338377108, 19.085536923187668, -1,
      NAN}},
    {OP_LOG,
     {0.25, 1, 3, 0, -1, INFINITY}, // log-c2
     {-1.3862943611198906, 0, 1.0986122886681098, -INFINITY, NAN, INFINITY}},
    {OP_LOG1P,
     {-0.75, 0.0001220703125, 3, -1, -2, INFINITY}, // log1p-c2
     {-1.3862943611198906, 0.00012206286252567737, 1.3862943611198906, -INFINITY, NAN, INFINITY}},
    {OP_SQRT,
     {0.25, 2, 3, 0, -1, INFINITY}, // sqrt-c2
     {0.5, 1.4142135623730951, 1.7320508075688772, 0, NAN, INFINITY}},
    {OP_RSQRT,
     {0.25, 2, 3, 0, -1, INFINITY}, // rsqrt-c2
     {2, 0.7071067811865476, 0.5773502691896257, INFINITY, NAN, 0}},
    {OP_SIN,
     {-2.5, 0.5, 3, 100, INFINITY, NAN}, // sin-c2
     {-0.5984721441039565, 0.479425538604203, 0.1411200080598672, -0.5063656411097588, NAN, NAN}},
    {OP_COS,
     {-2.5, 0.5, 3, 100, INFINITY, NAN}, // cos-c2
     {-0.8011436155469337, 0.8775825618903728, -0.9899924966004454, 0.8623188722876839, NAN, NAN}},
    {OP_TANH,
     {-2.5, 0.0001220703125, 0.5, 3, -INFINITY, NAN}, // tanh-c2
     {-0.9866142981514303, 0.00012207031189367021, 0.46211715726000974, 0.9950547536867305, -1,
      NAN}},
    {OP_LOGISTIC,
     {-2.5, 0.5, 3, -16, -INFINITY, INFINITY}, // logistic-c2
     {0.07585818002124355, 0.6224593312018546, 0.9525741268224333, 1.1253516205509499e-07, 0, 1}},
    {OP_ERF,
     {-2.5, 0.0001220703125, 0.5, 3, -INFINITY, NAN}, // erf-c2
     {-0.999593047982555, 0.000137741596861669, 0.5204998778130465, 0.9999779095030014, -1, NAN}},
    {OP_ERF_INV,
     {-0.75, 0.0001220703125, 0.9375, 0.99609375, 1, -2}, // erf_inv-c2 erf_inv-c3
     {-0.8134198475976185, 0.00010818199815796278, 1.3171503349861307, 2.0404520146056071, INFINITY,
      NAN}},
    {OP_LGAMMA,
     {-2.5, 0.5, 3, 100, -3, -INFINITY}, // lgamma-c2 lgamma-c3
     {-0.056243716497674054, 0.5723649429247001, 0.6931471805599453, 359.1342053695754, INFINITY,
      INFINITY}},
};

// Subnormals of f16 keep fewer bits: half of the smallest one is the unit.
static double absolute(Dtype dtype) { return dtype == DTYPE_F16 ? 0x1p-25 : 0; }

TEST(unary_floats) {
    for (size_t i = 0; i < LENGTH(unary_cases); i++)
        for (size_t d = 0; d < LENGTH(floats); d++) {
            const UnaryCase *c = &unary_cases[i];
            Graph            g = graph_open(arena);
            graph_input(&g, floats[d], SHAPE(2, 3), c->x, CASES);
            const Tensor *y = graph_run_op(&g, c->opcode, NULL);
            if (!graph_expect_near(y, SHAPE(2, 3), c->y, CASES, graph_tolerance(floats[d]),
                                   absolute(floats[d])))
                printf(" (%s of %s)", op_infos[c->opcode].name, dtype_infos[floats[d]].name);
            graph_close(&g);
        }
}

// Scalars and empty tensors go through the same loops.
TEST(unary_sizes) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SCALAR, NUMBERS(-4));
    graph_expect(graph_run_op(&g, OP_ABS, NULL), SCALAR, NUMBERS(4));
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3, 0, 2), NUMBERS(1));
    graph_expect(graph_run_op(&g, OP_EXP, NULL), SHAPE(3, 0, 2), NO_NUMBERS);
    graph_close(&g);
}

static const Tensor *run_ints(Graph *g, Opcode opcode, Dtype dtype, const double *x,
                              const double *y, uint32_t count) {
    *g = graph_open(g->arena);
    graph_input(g, dtype, SHAPE(count), x, count);
    if (y != NULL) graph_input(g, dtype, SHAPE(count), y, count);
    return graph_run_op(g, opcode, NULL);
}
static void expect_ints(Arena *arena, Opcode opcode, Dtype dtype, const double *x, const double *y,
                        const double *z, uint32_t count) {
    Graph g = {.arena = arena};
    if (!graph_expect(run_ints(&g, opcode, dtype, x, y, count), SHAPE(count), z, count))
        printf(" (%s of %s)", op_infos[opcode].name, dtype_infos[dtype].name);
    graph_close(&g);
}
#define EACH(...)                         ((const double[]){__VA_ARGS__})
#define INTS_CASE(opcode, dtype, x, y, z) expect_ints(arena, opcode, dtype, x, y, z, LENGTH(z))

static const double smallest[] = {
    [DTYPE_I8] = -128, [DTYPE_I16] = -32768, [DTYPE_I32] = -0x1p31, [DTYPE_I64] = -0x1p63};

// neg-c3 abs-c3: the most negative integer is its own negative and magnitude.
TEST(unary_ints) {
    for (size_t d = 1; d < LENGTH(ints); d++) {
        double low = smallest[ints[d]];
        double x[] = {-3, 0, 5, low}, negative[] = {3, 0, -5, low}, size[] = {3, 0, 5, low};
        double sign[] = {-1, 0, 1, -1}, flipped[] = {2, -1, -6, -(low + 1)};
        expect_ints(arena, OP_NEG, ints[d], x, NULL, negative, 4);
        expect_ints(arena, OP_ABS, ints[d], x, NULL, size, 4);
        expect_ints(arena, OP_SIGN, ints[d], x, NULL, sign, 4);
        if (ints[d] != DTYPE_I64)                                     // 2^63 - 1 is not a double
            expect_ints(arena, OP_NOT, ints[d], x, NULL, flipped, 4); // not-c2
    }
    double u8[] = {0, 1, 200}, u8_negative[] = {0, 255, 56}, u8_sign[] = {0, 1, 1};
    double u8_not[] = {255, 254, 55}, bools[] = {0, 1}, bools_not[] = {1, 0};
    expect_ints(arena, OP_NEG, DTYPE_U8, u8, NULL, u8_negative, 3);
    expect_ints(arena, OP_ABS, DTYPE_U8, u8, NULL, u8, 3);
    expect_ints(arena, OP_SIGN, DTYPE_U8, u8, NULL, u8_sign, 3);
    expect_ints(arena, OP_NOT, DTYPE_U8, u8, NULL, u8_not, 3);
    expect_ints(arena, OP_NOT, DTYPE_BOOL, bools, NULL, bools_not, 2); // not-c2
}

/* --- binary ----------------------------------------------------------------------------------- */
typedef struct BinaryCase {
    Opcode opcode;
    double x[CASES], y[CASES], z[CASES];
} BinaryCase;
static const BinaryCase binary_cases[] = {
    {OP_ADD,
     {1.5, -2, 0.25, INFINITY, INFINITY, NAN},
     {2.25, 2, 100, 1, -INFINITY, 1}, // add-c2
     {3.75, 0, 100.25, INFINITY, NAN, NAN}},
    {OP_SUB,
     {1.5, -2, 0.25, INFINITY, INFINITY, NAN},
     {2.25, 2, 100, 1, INFINITY, 1}, // sub-c2
     {-0.75, -4, -99.75, INFINITY, NAN, NAN}},
    {OP_MUL,
     {1.5, -2, 0.25, INFINITY, INFINITY, NAN},
     {2.25, 2, 100, -1, 0, 1}, // mul-c2
     {3.375, -4, 25, -INFINITY, NAN, NAN}},
    {OP_DIV,
     {1.5, -2, 1, 0, INFINITY, -1},
     {2.25, 2, 3, 0, 2, 0}, // div-c2
     {0.6666666666666666, -1, 0.3333333333333333, NAN, INFINITY, -INFINITY}},
    {OP_POW,
     {1.5, -2, 2, 0, -8, NAN},
     {2, 3, -0.5, 0, 0.5, 0}, // pow-c2
     {2.25, -8, 0.7071067811865476, 1, NAN, 1}},
    {OP_REM,
     {5.5, -5.5, 5.5, 1, INFINITY, 3},
     {2, 2, -2, 0, 2, INFINITY}, // rem-c2
     {1.5, -1.5, 1.5, NAN, NAN, 3}},
    {OP_MAX,
     {1.5, -2, -0.5, NAN, 1, -INFINITY},
     {2.25, -3, -0.5, 1, NAN, -1}, // max-c2 max-c3
     {2.25, -2, -0.5, NAN, NAN, -1}},
    {OP_MIN,
     {1.5, -2, -0.5, NAN, 1, -INFINITY},
     {2.25, -3, -0.5, 1, NAN, -1}, // min-c2 min-c3
     {1.5, -3, -0.5, NAN, NAN, -INFINITY}},
    {OP_ATAN2,
     {1, 1, -1, 0, 3, 0},
     {1, -1, -1, -1, 0, 0}, // atan2-c2
     {0.7853981633974483, 2.356194490192345, -2.356194490192345, 3.141592653589793,
      1.5707963267948966, 0}},
    {OP_IGAMMA,
     {0.5, 0.5, 1, 3, 15, 30},
     {0.25, 3, 1, 10, 12, 31}, // igamma-c2
     {0.5204998778130465, 0.9856941215645704, 0.6321205588285577, 0.9972306042844884,
      0.2279754676964555, 0.5953478209656109}},
    {OP_IGAMMA,
     {-1, 2, 2, 0, INFINITY, 2},
     {1, -1, 0, 1, 1, INFINITY}, // igamma-c3
     {NAN, NAN, 0, 1, 0, 1}},
    {OP_NEXTAFTER,
     {1, -2, INFINITY, NAN, 0.5, 0},
     {1, -2, INFINITY, 1, NAN, 0}, // nextafter-c3
     {1, -2, INFINITY, NAN, NAN, 0}},
};

TEST(binary_floats) {
    for (size_t i = 0; i < LENGTH(binary_cases); i++)
        for (size_t d = 0; d < LENGTH(floats); d++) {
            const BinaryCase *c = &binary_cases[i];
            Graph             g = graph_open(arena);
            graph_input(&g, floats[d], SHAPE(CASES), c->x, CASES);
            graph_input(&g, floats[d], SHAPE(CASES), c->y, CASES);
            const Tensor *z = graph_run_op(&g, c->opcode, NULL);
            if (!graph_expect(z, SHAPE(CASES), c->z, CASES))
                printf(" (%s of %s)", op_infos[c->opcode].name, dtype_infos[floats[d]].name);
            graph_close(&g);
        }
}

// Rounding happens once, to the dtype, to nearest even.
TEST(binary_rounds_to_storage) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, 1, 16777216));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(0x1p-24, 0x1.8p-24, 1));
    const Tensor *z = graph_run_op(&g, OP_ADD, NULL);
    EXPECT(graph_number(z, 0) == 1);
    EXPECT(graph_number(z, 1) == 1 + 0x1p-23);
    EXPECT(graph_number(z, 2) == 16777216);
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_BF16, SHAPE(2), NUMBERS(256, 3e38));
    graph_input(&g, DTYPE_BF16, SHAPE(2), NUMBERS(1, 3e38));
    z = graph_run_op(&g, OP_ADD, NULL);
    EXPECT(graph_number(z, 0) == 256);
    EXPECT(graph_number(z, 1) == INFINITY);
    graph_close(&g);
}

// add-c3 sub-c3 mul-c3 div-c3 pow-c3 rem-c3 max-c2 min-c2
TEST(binary_ints) {
    INTS_CASE(OP_ADD, DTYPE_U8, EACH(200, 1), EACH(100, 2), EACH(44, 3));
    INTS_CASE(OP_ADD, DTYPE_I8, EACH(127, -128), EACH(1, -1), EACH(-128, 127));
    INTS_CASE(OP_SUB, DTYPE_U8, EACH(0, 9), EACH(1, 2), EACH(255, 7));
    INTS_CASE(OP_SUB, DTYPE_I16, EACH(-32768, 5), EACH(1, 7), EACH(32767, -2));
    INTS_CASE(OP_MUL, DTYPE_I32, EACH(65536, -3), EACH(32768, 7), EACH(-0x1p31, -21));
    INTS_CASE(OP_MUL, DTYPE_I64, EACH(0x1p62, -3), EACH(2, 7), EACH(-0x1p63, -21));
    for (size_t d = 1; d < LENGTH(ints); d++) {
        double low = smallest[ints[d]];
        double x[] = {7, -7, 7, -7, 7, low, low}, y[] = {2, 2, -2, -2, 0, -1, 0};
        double quotient[] = {3, -3, -3, 3, 0, low, 0}, rest[] = {1, -1, 1, -1, 0, 0, 0};
        expect_ints(arena, OP_DIV, ints[d], x, y, quotient, 7);
        expect_ints(arena, OP_REM, ints[d], x, y, rest, 7);
    }
    INTS_CASE(OP_DIV, DTYPE_U8, EACH(200, 7, 9), EACH(3, 0, 255), EACH(66, 0, 0));
    INTS_CASE(OP_REM, DTYPE_U8, EACH(200, 7, 9), EACH(3, 0, 255), EACH(2, 0, 9));
    INTS_CASE(OP_POW, DTYPE_I32, EACH(3, -2, 2, 0, 2, 1, -1, -1, 10, 0),
              EACH(4, 3, 31, 0, -1, -5, -4, -5, 10, -1),
              EACH(81, -8, -0x1p31, 1, 0, 1, 1, -1, 1410065408, 0));
    INTS_CASE(OP_MAX, DTYPE_I8, EACH(-128, 5), EACH(127, -3), EACH(127, 5));
    INTS_CASE(OP_MIN, DTYPE_U8, EACH(255, 5), EACH(127, 200), EACH(127, 5));
    INTS_CASE(OP_MAX, DTYPE_BOOL, EACH(0, 0, 1), EACH(0, 1, 1), EACH(0, 1, 1));
    INTS_CASE(OP_MIN, DTYPE_BOOL, EACH(0, 0, 1), EACH(0, 1, 1), EACH(0, 0, 1));
}

// and-c2 or-c2 xor-c2
TEST(binary_bits) {
    for (size_t d = 0; d < LENGTH(ints); d++) {
        INTS_CASE(OP_AND, ints[d], EACH(12, 7), EACH(10, 8), EACH(8, 0));
        INTS_CASE(OP_OR, ints[d], EACH(12, 7), EACH(10, 8), EACH(14, 15));
        INTS_CASE(OP_XOR, ints[d], EACH(12, 7), EACH(10, 8), EACH(6, 15));
    }
    INTS_CASE(OP_AND, DTYPE_I32, EACH(-1, -4), EACH(6, -2), EACH(6, -4));
    INTS_CASE(OP_AND, DTYPE_BOOL, EACH(0, 0, 1, 1), EACH(0, 1, 0, 1), EACH(0, 0, 0, 1));
    INTS_CASE(OP_OR, DTYPE_BOOL, EACH(0, 0, 1, 1), EACH(0, 1, 0, 1), EACH(0, 1, 1, 1));
    INTS_CASE(OP_XOR, DTYPE_BOOL, EACH(0, 0, 1, 1), EACH(0, 1, 0, 1), EACH(0, 1, 1, 0));
}

// shl-c2 shl-c3 shr_arith-c2 shr_arith-c3 shr_logical-c2 shr_logical-c3
TEST(binary_shifts) {
    INTS_CASE(OP_SHL, DTYPE_U8, EACH(129, 1, 1, 1), EACH(1, 7, 8, 0), EACH(2, 128, 0, 1));
    INTS_CASE(OP_SHL, DTYPE_I8, EACH(65, -1, 1, 1), EACH(1, 4, 8, -1), EACH(-126, -16, 0, 0));
    INTS_CASE(OP_SHL, DTYPE_I64, EACH(1, 3, 1), EACH(63, 1, 64), EACH(-0x1p63, 6, 0));
    INTS_CASE(OP_SHR_ARITH, DTYPE_I8, EACH(-128, 100, -1, -5, 5), EACH(3, 2, 8, -1, 99),
              EACH(-16, 25, -1, -1, 0));
    INTS_CASE(OP_SHR_ARITH, DTYPE_U8, EACH(200, 200, 200), EACH(3, 8, 7), EACH(25, 0, 1));
    INTS_CASE(OP_SHR_ARITH, DTYPE_I64, EACH(-0x1p63, -3), EACH(62, 64), EACH(-2, -1));
    INTS_CASE(OP_SHR_LOGICAL, DTYPE_I8, EACH(-128, 100, -1, -5), EACH(3, 2, 8, -1),
              EACH(16, 25, 0, 0));
    INTS_CASE(OP_SHR_LOGICAL, DTYPE_I32, EACH(-1, -1), EACH(28, 0), EACH(15, -1));
    INTS_CASE(OP_SHR_LOGICAL, DTYPE_I64, EACH(-1, 12), EACH(60, 2), EACH(15, 3));
}

// nextafter-c2: the neighbour in the dtype, across zero and to infinity.
TEST(nextafter_steps) {
    static const double least[] = {[DTYPE_F64] = 0x1p-1074,
                                   [DTYPE_F32] = 0x1p-149,
                                   [DTYPE_F16] = 0x1p-24,
                                   [DTYPE_BF16] = 0x1p-133};
    static const double unit[] = {
        [DTYPE_F64] = 0x1p-52, [DTYPE_F32] = 0x1p-23, [DTYPE_F16] = 0x1p-10, [DTYPE_BF16] = 0x1p-7};
    for (size_t i = 0; i < LENGTH(floats); i++) {
        double step = unit[floats[i]], tiny = least[floats[i]];
        double x[] = {1, 1, -1, -1, 0, 0, tiny, -INFINITY};
        double y[] = {2, 0, -2, 0, 1, -1, -1, -INFINITY};
        double z[] = {1 + step, 1 - step / 2, -1 - step, -1 + step / 2, tiny, -tiny, 0, -INFINITY};
        Graph  g = graph_open(arena);
        graph_input(&g, floats[i], SHAPE(8), x, 8);
        graph_input(&g, floats[i], SHAPE(8), y, 8);
        const Tensor *next = graph_run_op(&g, OP_NEXTAFTER, NULL);
        for (int k = 0; k < 8; k++) EXPECT(graph_number(next, k) == z[k]);
        graph_close(&g);
    }
}

/* --- special functions ------------------------------------------------------------------------ */
typedef struct OrderCase {
    int64_t order;
    double  y[10];
} OrderCase;
static const double    polygamma_x[10] = {0.0009765625, 0.5,   1,    2.75,  14.5,
                                          1000,         -0.25, -2.5, -7.75, -100.125};
static const OrderCase polygamma_cases[] = {
    // polygamma-c2 polygamma-c4
    {0,
     {-1024.5756104293407, -1.9635100260214235, -0.5772156649015329, 0.8189010249754326,
      2.6392697253489863, 6.907255195648812, 2.9141391202135276, 1.103156640645243,
      -1.0307688328309315, 12.195880442483347}},
    {1,
     {1048577.6425893921, 4.934802200544679, 1.6449340668482264, 0.43757125764893073,
      0.07139825615164695, 0.0010005001666666333, 18.541879647671607, 9.539246644989124,
      19.61814433435229, 67.38393659650153}},
    {2,
     {-2147483650.3977838, -16.82879664423432, -2.4041138063191885, -0.18871463303130123,
      -0.005095552370983587, -1.0010004999998333e-06, 122.69736678366236, -0.1082040516417274,
      -124.03974558822776, 1022.2942921252852}},
    {3,
     {6597069766662.47, 97.40909103400244, 6.493939402266829, 0.16061612748946938,
      0.0007270118682901487, 2.003001999999e-09, 1555.7633125348507, 194.74787621918762,
      1558.5419205916066, 24591.002322596956}},
    {6,
     {-8.500259669165361e+23, -92203.45792380303, -726.0114797149845, -0.6929772789443881,
      -1.57964427767203e-05, -1.20360419999496e-16, 11791071.073496904, -0.1383581075500352,
      -11791224.76161169, 1509947916.8356297}},
};
static const double    bessel_x[10] = {0.0009765625, 0.5, 1, 2.75, 30, 700, 20000, 500000, -3, 0};
static const OrderCase bessel_cases[] = {
    // bessel_ie-c2 bessel_ie-c3
    {0,
     {0.9990241523678519, 0.6450352704491501, 0.46575960759364043, 0.25545017851355245,
      0.0731459464822373, 0.015081295651531358, 0.002820965549159163, 0.0005641897245953108,
      0.2430003541618254, 1}},
    {1,
     {0.00048780470374751533, 0.1564208031848717, 0.20791041534970844, 0.20171862139187355,
      0.07191633059864755, 0.015070519444716848, 0.002820895024138838, 0.0005641891604053042,
      -0.19682671329730086, 0}},
    {2,
     {1.1909294051853005e-07, 0.01935205770966328, 0.04993877689422354, 0.1087457265921899,
      0.06835152444232746, 0.015038237024546453, 0.002820683459656749, 0.0005641874678386692,
      0.11178254529695816, 0}},
    {5,
     {2.3107070744775303e-19, 4.987605521470164e-06, 9.986571411208691e-05, 0.0035640346948633264,
      0.047925203168721224, 0.014814188973601688, 0.0028192029525027505, 0.0005641756200143995,
      -0.00454090313892582, 0}},
    {40,
     {4.312535930806664e-181, 6.15843071846097e-73, 4.125803769093559e-61, 2.793628109024222e-44,
      2.251041487631766e-12, 0.004807093091070759, 0.0027103512334886765, 0.0005632877419130247,
      7.127537945273313e-43, 0}},
};
static void expect_orders(Arena *arena, Opcode opcode, const double *x, const OrderCase *cases,
                          size_t count) {
    for (size_t i = 0; i < count; i++) {
        Graph g = graph_open(arena);
        graph_input(&g, DTYPE_F64, SHAPE(10), x, 10);
        const Tensor *y = graph_run_op(&g, opcode, WORDS((uint64_t)cases[i].order));
        if (!graph_expect_near(y, SHAPE(10), cases[i].y, 10, 2e-12, 0))
            printf(" (%s of order %d)", op_infos[opcode].name, (int)cases[i].order);
        graph_close(&g);
    }
}
TEST(special_orders) {
    expect_orders(arena, OP_POLYGAMMA, polygamma_x, polygamma_cases, LENGTH(polygamma_cases));
    expect_orders(arena, OP_BESSEL_IE, bessel_x, bessel_cases, LENGTH(bessel_cases));
}

// polygamma-c3: poles and infinities.
TEST(polygamma_edges) {
    double          x[10] = {0, -0.0, -1, -2, INFINITY, -INFINITY, NAN, 1, 1, 1};
    const OrderCase cases[] = {{0,
                                {-INFINITY, INFINITY, NAN, NAN, INFINITY, NAN, NAN,
                                 -0.5772156649015329, -0.5772156649015329, -0.5772156649015329}},
                               {1,
                                {INFINITY, INFINITY, INFINITY, INFINITY, 0, NAN, NAN,
                                 1.6449340668482264, 1.6449340668482264, 1.6449340668482264}},
                               {2,
                                {NAN, NAN, NAN, NAN, 0, NAN, NAN, -2.4041138063191885,
                                 -2.4041138063191885, -2.4041138063191885}},
                               {-1, {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN}}};
    expect_orders(arena, OP_POLYGAMMA, x, cases, LENGTH(cases));
}

// igamma-c2 far out, where the plain series would cancel.
TEST(igamma_large) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(6), NUMBERS(2.5, 100, 100, 1e4, 1e6, 1e-3));
    graph_input(&g, DTYPE_F64, SHAPE(6), NUMBERS(0.001, 80, 130, 1.01e4, 999000, 1e-8));
    graph_expect_near(graph_run_op(&g, OP_IGAMMA, NULL), SHAPE(6),
                      NUMBERS(9.50853459860795e-09, 0.017108313035133115, 0.9972495916326934,
                              0.8413487504471796, 0.15865521357430365, 0.9823139793538469),
                      2e-12, 0);
    graph_close(&g);
}

/* --- tests, selection, conversion ------------------------------------------------------------- */
// compare-c2 compare-c3
TEST(compare_all) {
    static const double want[COMPARE_KIND_COUNT][5] = {
        [COMPARE_EQ] = {0, 1, 0, 0, 1}, [COMPARE_NE] = {1, 0, 1, 1, 0},
        [COMPARE_LT] = {1, 0, 0, 0, 0}, [COMPARE_LE] = {1, 1, 0, 0, 1},
        [COMPARE_GT] = {0, 0, 1, 0, 0}, [COMPARE_GE] = {0, 1, 1, 0, 1}};
    for (uint64_t kind = 0; kind < COMPARE_KIND_COUNT; kind++) {
        for (size_t d = 0; d < LENGTH(floats); d++) {
            Graph g = graph_open(arena);
            graph_input(&g, floats[d], SHAPE(5), NUMBERS(1, 2, 3, NAN, -0.0));
            graph_input(&g, floats[d], SHAPE(5), NUMBERS(2, 2, 2, NAN, 0));
            const Tensor *z = graph_run_op(&g, OP_COMPARE, WORDS(kind));
            EXPECT_EQ(z->dtype, DTYPE_BOOL);
            graph_expect(z, SHAPE(5), want[kind], 5);
            graph_close(&g);
        }
        for (size_t d = 0; d < LENGTH(ints); d++) {
            Graph g = graph_open(arena);
            graph_input(&g, ints[d], SHAPE(3), NUMBERS(100, 2, 101));
            graph_input(&g, ints[d], SHAPE(3), NUMBERS(101, 2, 100));
            graph_expect(graph_run_op(&g, OP_COMPARE, WORDS(kind)), SHAPE(3), want[kind], 3);
            graph_close(&g);
        }
    }
}
// is_finite-c2
TEST(is_finite_all) {
    for (size_t d = 0; d < LENGTH(floats); d++) {
        Graph g = graph_open(arena);
        graph_input(&g, floats[d], SHAPE(4), NUMBERS(INFINITY, NAN, -INFINITY, 3));
        graph_expect(graph_run_op(&g, OP_IS_FINITE, NULL), SHAPE(4), NUMBERS(0, 0, 0, 1));
        graph_close(&g);
    }
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_I32, SHAPE(2), NUMBERS(0, -5));
    graph_expect(graph_run_op(&g, OP_IS_FINITE, NULL), SHAPE(2), NUMBERS(1, 1));
    graph_close(&g);
}
// select-c2: the element that is not taken does not matter.
TEST(select_takes) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(4), NUMBERS(1, 0, 1, 0));
    graph_input(&g, DTYPE_BF16, SHAPE(4), NUMBERS(1, NAN, 3, 4));
    graph_input(&g, DTYPE_BF16, SHAPE(4), NUMBERS(NAN, 6, 7, INFINITY));
    graph_expect(graph_run_op(&g, OP_SELECT, NULL), SHAPE(4), NUMBERS(1, 6, 3, INFINITY));
    graph_close(&g);
}

static void expect_convert(Arena *arena, Dtype from, Dtype to, const double *x, const double *y,
                           uint32_t count) {
    Graph g = graph_open(arena);
    graph_input(&g, from, SHAPE(count), x, count);
    const Tensor *out = graph_run_op(&g, OP_CONVERT, WORDS((uint64_t)to));
    EXPECT_EQ(out->dtype, to);
    if (!graph_expect(out, SHAPE(count), y, count))
        printf(" (%s to %s)", dtype_infos[from].name, dtype_infos[to].name);
    graph_close(&g);
}
TEST(convert_float_to_int) { // convert-c3
    double x[] = {2.75, -2.75, 300, -300, 1e10, -1e30, NAN, INFINITY, -INFINITY};
    double u8[] = {2, 0, 255, 0, 255, 0, 0, 255, 0};
    double i8[] = {2, -2, 127, -128, 127, -128, 0, 127, -128};
    double i32[] = {2, -2, 300, -300, 0x1p31 - 1, -0x1p31, 0, 0x1p31 - 1, -0x1p31};
    double i64[] = {2, -2, 300, -300, 1e10, -0x1p63, 0, 0x1p63, -0x1p63};
    expect_convert(arena, DTYPE_F64, DTYPE_U8, x, u8, 9);
    expect_convert(arena, DTYPE_F64, DTYPE_I8, x, i8, 9);
    expect_convert(arena, DTYPE_F64, DTYPE_I32, x, i32, 9);
    expect_convert(arena, DTYPE_F64, DTYPE_I64, x, i64, 9);
}
TEST(convert_floats) { // convert-c2
    double x[] = {1, 1.00390625, 1.01171875, 70000, -1e-30, NAN};
    double bf16[] = {1, 1, 1.015625, 70144, -1e-30, NAN};
    double f16[] = {1, 1.00390625, 1.01171875, INFINITY, 0, NAN};
    expect_convert(arena, DTYPE_F32, DTYPE_BF16, x, bf16, 6);
    expect_convert(arena, DTYPE_F32, DTYPE_F16, x, f16, 6);
    for (size_t d = 0; d < LENGTH(floats); d++) {
        double small[] = {-1.5, 0, 2.5, INFINITY};
        expect_convert(arena, DTYPE_BF16, floats[d], small, small, 4);
    }
}
TEST(convert_ints) { // convert-c4
    double x[] = {300, -1, 128, 65535}, u8[] = {44, 255, 128, 255}, i8[] = {44, -1, -128, -1};
    double i16[] = {300, -1, 128, -1}, huge[] = {0x1p60, -5}, single[] = {0x1p60, -5};
    expect_convert(arena, DTYPE_I32, DTYPE_U8, x, u8, 4);
    expect_convert(arena, DTYPE_I32, DTYPE_I8, x, i8, 4);
    expect_convert(arena, DTYPE_I32, DTYPE_I16, x, i16, 4);
    expect_convert(arena, DTYPE_I32, DTYPE_F64, x, x, 4);
    expect_convert(arena, DTYPE_I64, DTYPE_F32, huge, single, 2);
}
TEST(convert_bool) { // convert-c5
    double x[] = {0, -0.0, 0.25, NAN, -3}, truth[] = {0, 0, 1, 1, 1}, one[] = {0, 1};
    expect_convert(arena, DTYPE_F32, DTYPE_BOOL, x, truth, 5);
    expect_convert(arena, DTYPE_I8, DTYPE_BOOL, (double[]){0, 4, -128}, (double[]){0, 1, 1}, 3);
    for (size_t d = 0; d < LENGTH(ints); d++)
        expect_convert(arena, DTYPE_BOOL, ints[d], one, one, 2);
    for (size_t d = 0; d < LENGTH(floats); d++)
        expect_convert(arena, DTYPE_BOOL, floats[d], one, one, 2);
}
// An i64 that a double cannot hold rounds once: 2^60 + 2^36 + 1 is above the middle of two floats.
TEST(convert_rounds_once) {
    Graph   g = graph_open(arena);
    int64_t number = ((int64_t)1 << 60) + ((int64_t)1 << 36) + 1;
    graph_input(&g, DTYPE_I64, SHAPE(1), NUMBERS(0));
    memcpy(g.inputs[0].data, &number, sizeof number);
    const Tensor *y = graph_run_op(&g, OP_CONVERT, WORDS(DTYPE_F32));
    EXPECT(graph_number(y, 0) == 0x1p60 + 0x1p37);
    graph_close(&g);
}
// bitcast-c2
TEST(bitcast_keeps_bits) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, -0.0, 0x1p-149));
    graph_expect(graph_run_op(&g, OP_BITCAST, WORDS(DTYPE_I32)), SHAPE(3),
                 NUMBERS(1065353216, -0x1p31, 1));
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_BOOL, SHAPE(2), NUMBERS(0, 1));
    graph_expect(graph_run_op(&g, OP_BITCAST, WORDS(DTYPE_U8)), SHAPE(2), NUMBERS(0, 1));
    graph_close(&g);
}

// bessel_ie-c2 and polygamma-c2 at orders that would take for ever if they were counted off.
TEST(special_huge_orders) {
    double          x[10] = {0.5, 1, 3, 1e3, 1e5, 2e6, 1e12, -7, INFINITY, 0};
    const OrderCase bessel[] = {{INT64_MAX, {0}}};
    expect_orders(arena, OP_BESSEL_IE, x, bessel, 1);
    double          y[10] = {0.5, 1, 3, 1e3, 1e5, 2e6, 1e12, 7, 1, NAN};
    const OrderCase polygamma[] = {{101, {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN}},
                                   {INT64_MAX, {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN}}};
    expect_orders(arena, OP_POLYGAMMA, y, polygamma, 2);
}
// The largest orders that are computed, and both sides of where one expansion follows another.
TEST(special_large_orders) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2), NUMBERS(1e5, 5e6));
    graph_expect_near(graph_run_op(&g, OP_BESSEL_IE, WORDS(100)), SHAPE(2),
                      NUMBERS(0.0012000401534742503, 0.0001782340928181749), 2e-12, 0);
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1), NUMBERS(2000));
    graph_expect_near(graph_run_op(&g, OP_BESSEL_IE, WORDS(3)), SHAPE(1),
                      NUMBERS(0.008901123184286763), 2e-12, 0);
    graph_close(&g);
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1), NUMBERS(2.5));
    graph_expect_near(graph_run_op(&g, OP_POLYGAMMA, WORDS(100)), SHAPE(1),
                      NUMBERS(-5.998777844943402e+117), 2e-12, 0);
    graph_close(&g);
}
