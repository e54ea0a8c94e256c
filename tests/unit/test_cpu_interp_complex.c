// Complex numbers of the reference interpreter: making and splitting them, the field operations and
// the discrete Fourier transform, against numpy. Complex tensors are made from their parts inside
// the graph.
#include "run_graph.h"

// Re and im through an operator and apart again: outputs 0 and 1 are the parts of the result.
static const Tensor *run_complex(Graph *g, Opcode opcode, const uint64_t *attrs) {
    uint32_t operands = g->inputs_count / 2;
    ValueId  z[2], parts[2];
    graph_begin(g);
    for (uint32_t i = 0; i < operands; i++)
        z[i] = build_op(&g->build, OP_COMPLEX, g->args + 2 * i, 2, NULL);
    ValueId y = build_op(&g->build, opcode, z, operands, attrs);
    parts[0] = build_unary(&g->build, OP_REAL, y);
    parts[1] = build_unary(&g->build, OP_IMAG, y);
    return graph_run(g, parts, 2);
}

// complex-c2 real-c2 imag-c2
TEST(complex_parts) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(2, 0.5, -1));
    const Tensor *z = run_complex(&g, OP_COPY, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(1, -3, 0), 0, 0);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(2, 0.5, -1), 0, 0);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    z = run_complex(&g, OP_COPY, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(1, -3, 0), 0, 0);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(2, 0.5, -1), 0, 0);
    graph_close(&g);
}

// neg-c4 add-c4 sub-c4 mul-c4 div-c4
TEST(complex_field) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    const Tensor *z = run_complex(&g, OP_NEG, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(-1, 3, -0), 1e-14, 1e-15);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(-2, -0.5, 1), 1e-14, 1e-15);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.25, -2));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(-1, 4, 0));
    z = run_complex(&g, OP_ADD, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(3, -2.75, -2), 1e-14, 1e-15);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(1, 4.5, -1), 1e-14, 1e-15);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.25, -2));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(-1, 4, 0));
    z = run_complex(&g, OP_SUB, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(-1, -3.25, 2), 1e-14, 1e-15);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(3, -3.5, -1), 1e-14, 1e-15);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.25, -2));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(-1, 4, 0));
    z = run_complex(&g, OP_MUL, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(4, -2.75, 0), 1e-14, 1e-15);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(3, -11.875, 2), 1e-14, 1e-15);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.5, -1));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(2, 0.25, -2));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(-1, 4, 0));
    z = run_complex(&g, OP_DIV, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(0, 0.07782101167315175, -0), 1e-14, 1e-15);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(1, 0.754863813229572, 0.5), 1e-14, 1e-15);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(2, 0.5, -1));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(2, 0.25, -2));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(-1, 4, 0));
    z = run_complex(&g, OP_DIV, NULL);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(0, 0.07782101167315175, -0), 2e-7, 0);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(1, 0.754863813229572, 0.5), 2e-7, 0);
    graph_close(&g);
}

TEST(complex_field_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(1, -3, 0));
    graph_input(&g, DTYPE_F32, SHAPE(3), NUMBERS(2, 0.5, -1));
    const Tensor *z = run_complex(&g, OP_REVERSE, WORDS(INTS(&g, 0)));
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(0, -3, 1), 0, 0);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(-1, 0.5, 2), 0, 0);
    graph_close(&g);
}

// fft-c2 fft-c3
TEST(fft_complex) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 5), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3));
    graph_input(&g, DTYPE_F64, SHAPE(2, 5), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    const Tensor *z = run_complex(&g, OP_FFT, WORDS(FFT_FORWARD, SIZES(&g, 5)));
    graph_expect_near(&z[0], SHAPE(2, 5),
                      NUMBERS(1, -9.940954801177934, -7.3122992405822655, -5.6877007594177345,
                              -3.0590451988220666, 0, -1.0417678630535114, -10.71148617870669,
                              -9.086887697542156, 5.840141739302355),
                      1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(2, 5),
                      NUMBERS(10, 0.6634402497521581, -9.745180866358549, 4.745180866358548,
                              -5.663440249752158, 35, -5.802197525465046, 0.7164408128881403,
                              -5.716440812888142, 0.8021975254650462),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 5), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3));
    graph_input(&g, DTYPE_F64, SHAPE(2, 5), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    z = run_complex(&g, OP_FFT, WORDS(FFT_INVERSE, SIZES(&g, 5)));
    graph_expect_near(&z[0], SHAPE(2, 5),
                      NUMBERS(0.2, -0.6118090397644134, -1.1375401518835468, -1.4624598481164532,
                              -1.988190960235587, 0, 1.1680283478604712, -1.8173775395084313,
                              -2.142297235741338, -0.2083535726107023),
                      1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(2, 5),
                      NUMBERS(2, -1.1326880499504317, 0.9490361732717096, -1.9490361732717099,
                              0.13268804995043162, 7, 0.16043950509300925, -1.1432881625776286,
                              0.14328816257762808, -1.1604395050930092),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 4), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1, -5));
    graph_input(&g, DTYPE_F64, SHAPE(3, 4), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    z = run_complex(&g, OP_FFT, WORDS(FFT_FORWARD, SIZES(&g, 3, 4)));
    graph_expect_near(&z[0], SHAPE(3, 4),
                      NUMBERS(-5, -15, -9, -3, -11.356406460551018, 9.526279441628825, -16.5,
                              -9.526279441628825, 16.356406460551018, -9.526279441628825, -16.5,
                              9.526279441628825),
                      1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(3, 4),
                      NUMBERS(66, -8, -6, -4, -31.794228634059948, 5.5, -9.526279441628825, -5.5,
                              -16.205771365940052, 5.5, 9.526279441628825, -5.5),
                      1e-13, 1e-13);
    graph_close(&g);
}

TEST(fft_complex_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 4), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1, -5));
    graph_input(&g, DTYPE_F64, SHAPE(3, 4), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    const Tensor *z = run_complex(&g, OP_FFT, WORDS(FFT_INVERSE, SIZES(&g, 3, 4)));
    graph_expect_near(&z[0], SHAPE(3, 4),
                      NUMBERS(-0.41666666666666663, -0.25, -0.75, -1.25, 1.3630338717125847,
                              0.7938566201357353, -1.375, -0.7938566201357353, -0.9463672050459181,
                              -0.7938566201357353, -1.375, 0.7938566201357353),
                      1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(3, 4),
                      NUMBERS(5.5, -0.3333333333333333, -0.5, -0.6666666666666666,
                              -1.350480947161671, -0.4583333333333333, 0.7938566201357353,
                              0.4583333333333333, -2.649519052838329, -0.4583333333333333,
                              -0.7938566201357353, 0.4583333333333333),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(2, 5), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3));
    graph_input(&g, DTYPE_F32, SHAPE(2, 5), NUMBERS(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    z = run_complex(&g, OP_FFT, WORDS(FFT_FORWARD, SIZES(&g, 5)));
    graph_expect_near(&z[0], SHAPE(2, 5),
                      NUMBERS(1, -9.940954801177934, -7.3122992405822655, -5.6877007594177345,
                              -3.0590451988220666, 0, -1.0417678630535114, -10.71148617870669,
                              -9.086887697542156, 5.840141739302355),
                      1e-6, 2e-6);
    graph_expect_near(&z[1], SHAPE(2, 5),
                      NUMBERS(10, 0.6634402497521581, -9.745180866358549, 4.745180866358548,
                              -5.663440249752158, 35, -5.802197525465046, 0.7164408128881403,
                              -5.716440812888142, 0.8021975254650462),
                      1e-6, 2e-6);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 0), NUMBERS(0));
    graph_input(&g, DTYPE_F64, SHAPE(2, 0), NUMBERS(0));
    z = run_complex(&g, OP_FFT, WORDS(FFT_FORWARD, SIZES(&g, 0)));
    graph_expect_near(&z[0], SHAPE(2, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(2, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);
}

// fft-c4
TEST(fft_real_even) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(2, 4));
    graph_begin(&g);
    ValueId       y = build_op(&g.build, OP_FFT, g.args, 1, WORDS(FFT_REAL_FORWARD, SIZES(&g, 4)));
    ValueId       parts[2] = {build_unary(&g.build, OP_REAL, y), build_unary(&g.build, OP_IMAG, y)};
    const Tensor *z = graph_run(&g, parts, 2);
    graph_expect_near(&z[0], SHAPE(2, 3), NUMBERS(0, -3, -14, 2, -3, 8), 1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(2, 3), NUMBERS(0, 3, 0, 0, 3, 0), 1e-13, 1e-13);
    graph_close(&g);
}

// fft-c5
TEST(fft_real_inverse_even) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3), NUMBERS(0, -3, -14, 2, -3, 8));
    graph_input(&g, DTYPE_F64, SHAPE(2, 3), NUMBERS(0, 3, 0, 0, 3, 0));
    graph_begin(&g);
    ValueId z = build_op(&g.build, OP_COMPLEX, g.args, 2, NULL);
    ValueId y = build_op(&g.build, OP_FFT, &z, 1, WORDS(FFT_REAL_INVERSE, SIZES(&g, 4)));
    graph_expect_near(graph_run(&g, &y, 1), SHAPE(2, 4), NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0), 1e-13,
                      1e-13);
    graph_close(&g);
}

// fft-c4
TEST(fft_real_odd) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(5));
    graph_begin(&g);
    ValueId       y = build_op(&g.build, OP_FFT, g.args, 1, WORDS(FFT_REAL_FORWARD, SIZES(&g, 5)));
    ValueId       parts[2] = {build_unary(&g.build, OP_REAL, y), build_unary(&g.build, OP_IMAG, y)};
    const Tensor *z = graph_run(&g, parts, 2);
    graph_expect_near(&z[0], SHAPE(3), NUMBERS(1, -6.5, -6.5), 1e-13, 1e-13);
    graph_expect_near(&z[1], SHAPE(3), NUMBERS(0, 3.163440249752158, -7.245180866358548), 1e-13,
                      1e-13);
    graph_close(&g);
}

// fft-c5
TEST(fft_real_inverse_odd) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(1, -6.5, -6.5));
    graph_input(&g, DTYPE_F64, SHAPE(3), NUMBERS(0, 3.163440249752158, -7.245180866358548));
    graph_begin(&g);
    ValueId z = build_op(&g.build, OP_COMPLEX, g.args, 2, NULL);
    ValueId y = build_op(&g.build, OP_FFT, &z, 1, WORDS(FFT_REAL_INVERSE, SIZES(&g, 5)));
    graph_expect_near(graph_run(&g, &y, 1), SHAPE(5), NUMBERS(-5, 2, -2, 5, 1), 1e-13, 1e-13);
    graph_close(&g);
}

// fft-c4
TEST(fft_real_plane) {
    Graph g = graph_open(arena);
    graph_mixed(&g, DTYPE_F64, SHAPE(3, 4));
    graph_begin(&g);
    ValueId y = build_op(&g.build, OP_FFT, g.args, 1, WORDS(FFT_REAL_FORWARD, SIZES(&g, 3, 4)));
    ValueId parts[2] = {build_unary(&g.build, OP_REAL, y), build_unary(&g.build, OP_IMAG, y)};
    const Tensor *z = graph_run(&g, parts, 2);
    graph_expect_near(
        &z[0], SHAPE(3, 3),
        NUMBERS(-5, -9, -9, 2.5, 9.526279441628825, -16.5, 2.5, -9.526279441628825, -16.5), 1e-13,
        1e-13);
    graph_expect_near(&z[1], SHAPE(3, 3),
                      NUMBERS(0, -2, 0, -7.794228634059947, 5.5, -9.526279441628825,
                              7.794228634059947, 5.5, 9.526279441628825),
                      1e-13, 1e-13);
    graph_close(&g);
}

// fft-c5
TEST(fft_real_inverse_plane) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3),
                NUMBERS(-5, -9, -9, 2.5, 9.526279441628825, -16.5, 2.5, -9.526279441628825, -16.5));
    graph_input(&g, DTYPE_F64, SHAPE(3, 3),
                NUMBERS(0, -2, 0, -7.794228634059947, 5.5, -9.526279441628825, 7.794228634059947,
                        5.5, 9.526279441628825));
    graph_begin(&g);
    ValueId z = build_op(&g.build, OP_COMPLEX, g.args, 2, NULL);
    ValueId y = build_op(&g.build, OP_FFT, &z, 1, WORDS(FFT_REAL_INVERSE, SIZES(&g, 3, 4)));
    graph_expect_near(graph_run(&g, &y, 1), SHAPE(3, 4),
                      NUMBERS(-5, 2, -2, 5, 1, -3, 4, 0, -4, 3, -1, -5), 1e-13, 1e-13);
    graph_close(&g);
}
