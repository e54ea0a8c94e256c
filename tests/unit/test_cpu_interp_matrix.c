// Factorisations of the reference interpreter, against numpy and scipy where the factors are unique
// by the conventions of docs/ops, and by what they promise where they are not. Triangles that must
// not be read hold 99.
#include "run_graph.h"

// cholesky-c2
TEST(cholesky_factors) {
    // cholesky-c3: only the lower triangle is read
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(4, 99, 99, 2, 5, 99, -1, 3, 6, 2, 99, 99, -1, 2, 99, 0, -1, 2));
    graph_expect_near(graph_run_op(&g, OP_CHOLESKY, NULL), SHAPE(2, 3, 3),
                      NUMBERS(2, 0, 0, 1, 2, 0, -0.5, 1.75, 1.6393596310755, 1.4142135623730951, 0,
                              0, -0.7071067811865475, 1.224744871391589, 0, 0, -0.8164965809277261,
                              1.1547005383792515),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3, 3), NUMBERS(4, 2, -1, 2, 5, 3, -1, 3, 6));
    graph_expect_near(graph_run_op(&g, OP_CHOLESKY, NULL), SHAPE(3, 3),
                      NUMBERS(2, 0, 0, 1, 2, 0, -0.5, 1.75, 1.6393596310755), 2e-7, 0);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1, 1), NUMBERS(9));
    graph_expect_near(graph_run_op(&g, OP_CHOLESKY, NULL), SHAPE(1, 1), NUMBERS(3), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 0, 0), NUMBERS(0));
    graph_expect_near(graph_run_op(&g, OP_CHOLESKY, NULL), SHAPE(2, 0, 0), NO_NUMBERS, 1e-13,
                      1e-13);
    graph_close(&g);
}

// cholesky-c4
TEST(cholesky_indefinite) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2, 2), NUMBERS(1, 0, 0, -1, 1, 0, 0, 1));
    graph_expect_near(graph_run_op(&g, OP_CHOLESKY, NULL), SHAPE(2, 2, 2),
                      NUMBERS(NAN, 0, NAN, NAN, 1, 0, 0, 1), 1e-13, 1e-13);
    graph_close(&g);
}

// triangular_solve-c2 triangular_solve-c3
TEST(triangular_solve_all) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 0, 0)), SHAPE(3, 2),
                      NUMBERS(0.5, 1, -0.3333333333333333, 1.6666666666666665, 0.41666666666666663,
                              -1.333333333333333),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 0, 1)), SHAPE(3, 2),
                      NUMBERS(1, 2, -1, -9, 4.5, 47), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 1, 0)), SHAPE(3, 2),
                      NUMBERS(2.020833333333333, -3.5, -0.7916666666666666, 2, 0.125, 1), 1e-13,
                      1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 1, 1)), SHAPE(3, 2),
                      NUMBERS(-1.5, 82, 0.5, -21, 0.5, 4), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(0, 0, 0)), SHAPE(3, 2),
                      NUMBERS(1.0208333333333333, 1, -0.9166666666666666, 1, 0.125, 1), 1e-13,
                      1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(0, 0, 1)), SHAPE(3, 2),
                      NUMBERS(-0.5, 15, 2, -9, 0.5, 4), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(0, 1, 0)), SHAPE(3, 2),
                      NUMBERS(0.5, 1, -0.8333333333333333, 0.6666666666666666, 0.6666666666666666,
                              0.9166666666666667),
                      1e-13, 1e-13);
    graph_close(&g);
}

TEST(triangular_solve_all_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 3), NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4));
    graph_input(&g, DTYPE_F64, SHAPE(3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(0, 1, 1)), SHAPE(3, 2),
                      NUMBERS(1, 2, 2, -3, -2.5, 12), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(2, 1, -1, 4, -3, 2, 1, 5, 4, 2, 4, 1, 1, -3, 5, -1, 2, 4));
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 2), NUMBERS(1, 2, 3, -1, 0.5, 4, 1, 2, 3, -1, 0.5, 4));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 0, 0)), SHAPE(2, 3, 2),
                      NUMBERS(0.5, 1, -0.3333333333333333, 1.6666666666666665, 0.41666666666666663,
                              -1.333333333333333, 0.5, 1, -0.8333333333333333, 0.6666666666666666,
                              0.6666666666666666, 0.9166666666666667),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(0, 0), NUMBERS(0));
    graph_input(&g, DTYPE_F64, SHAPE(0, 3), NUMBERS(0));
    graph_expect_near(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 0, 0)), SHAPE(0, 3),
                      NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(1, 1), NUMBERS(2));
    graph_input(&g, DTYPE_F32, SHAPE(1, 2), NUMBERS(3, 5));
    graph_expect(graph_run_op(&g, OP_TRIANGULAR_SOLVE, WORDS(1, 0, 0)), SHAPE(1, 2),
                 NUMBERS(1.5, 2.5));
    graph_close(&g);
}

// lu-c2
TEST(lu_factors) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(1, 2, 4, 4, -2, 6, 2, 7, -1, 0, 1, 2, 3, 0, 1, 1, 1, 0));
    const Tensor *y = graph_run_op(&g, OP_LU, NULL);
    graph_expect_near(y, SHAPE(2, 3, 3),
                      NUMBERS(4, -2, 6, 0.5, 8, -4, 0.25, 0.3125, 3.75, 3, 0, 1, 0, 1, 2,
                              0.3333333333333333, 1, -2.3333333333333335),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 3), NUMBERS(1, 2, 0, 1, 0, 2), 1e-13, 1e-13);
    graph_close(&g);

    // lu-c3: equal pivots, and a singular matrix
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2), NUMBERS(1, 2, 1, 2));
    y = graph_run_op(&g, OP_LU, NULL);
    graph_expect_near(y, SHAPE(2, 2), NUMBERS(1, 2, 1, 0), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(0, 1), 1e-13, 1e-13);
    graph_close(&g);

    // lu-c4: a column without a pivot
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2), NUMBERS(0, 2, 0, 3));
    y = graph_run_op(&g, OP_LU, NULL);
    graph_expect_near(y, SHAPE(2, 2), NUMBERS(0, 2, 0, 3), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(0, 1), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(0, 0), NUMBERS(0));
    y = graph_run_op(&g, OP_LU, NULL);
    graph_expect_near(y, SHAPE(0, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(0), NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);
}

// qr-c2 qr-c3
TEST(qr_factors) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(4, 2), NUMBERS(1, 2, 3, -4, 5, 6, -2, 1));
    const Tensor *y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(4, 2),
                      NUMBERS(0.16012815380508716, 0.2204735344985124, 0.4803844614152615,
                              -0.7716573707447923, 0.8006407690254358, 0.5291364827964291,
                              -0.3202563076101743, 0.27559191812314016),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 2),
                      NUMBERS(6.244997998398397, 2.8823067684915697, 0, 6.977987366877909), 1e-13,
                      1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 4), NUMBERS(1, 3, 5, -2, 2, -4, 6, 1));
    y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(
        y, SHAPE(2, 2),
        NUMBERS(0.44721359549995787, 0.8944271909999157, 0.8944271909999157, -0.4472135954999581),
        1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 4),
                      NUMBERS(2.23606797749979, -2.2360679774997894, 7.602631123499284,
                              2.220446049250313e-16, -0, 4.47213595499958, 1.7888543819998306,
                              -2.2360679774997894),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(1, 2, 4, 4, -2, 6, 2, 7, -1, 0, 1, 2, 3, 0, 1, 1, 1, 0));
    y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(2, 3, 3),
                      NUMBERS(0.21821789023599236, 0.22042168334497192, 0.9506814576356903,
                              0.8728715609439694, -0.47974131080964494, -0.08912638665334613,
                              0.4364357804719847, 0.8492717799468038, -0.2970879555111534, -0,
                              0.7254762501100119, 0.6882472016116853, 0.9486832980505138,
                              -0.2176428750330036, 0.22941573387056172, 0.31622776601683794,
                              0.6529286250990106, -0.6882472016116853),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 3, 3),
                      NUMBERS(4.582575694955841, 1.745743121887939, 5.6736651461358, 0,
                              7.3452284479368615, -2.846032911424786, -0, -0, 3.5650554661338374,
                              3.1622776601683795, 0.316227766016838, 0.948683298050514, 0,
                              1.378404875209022, 1.2333096251870204, -0, -0, 1.6059101370939324),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(4, 2), NUMBERS(1, 2, 3, -4, 5, 6, -2, 1));
    y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(4, 2),
                      NUMBERS(0.16012815380508716, 0.2204735344985124, 0.4803844614152615,
                              -0.7716573707447923, 0.8006407690254358, 0.5291364827964291,
                              -0.3202563076101743, 0.27559191812314016),
                      5e-7, 1e-7);
    graph_expect_near(&y[1], SHAPE(2, 2),
                      NUMBERS(6.244997998398397, 2.8823067684915697, 0, 6.977987366877909), 5e-7,
                      1e-7);
    graph_close(&g);
}

TEST(qr_factors_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1, 1), NUMBERS(-3));
    const Tensor *y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(1, 1), NUMBERS(-1), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(1, 1), NUMBERS(3), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 0), NUMBERS(0));
    y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(3, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(0, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);

    // a zero matrix
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2), NUMBERS(0, 0, 0, 0));
    y = graph_run_op(&g, OP_QR, NULL);
    graph_expect_near(y, SHAPE(2, 2), NUMBERS(1, 0, 0, 1), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 2), NUMBERS(0, 0, 0, 0), 1e-13, 1e-13);
    graph_close(&g);
}

// eigh-c2
TEST(eigh_factors) {
    // eigh-c3: only the lower triangle is read
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(4, 99, 99, 2, 5, 99, -1, 3, 6, 3, 0, 0, 0, 1, 0, 0, 0, 2));
    const Tensor *y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(y, SHAPE(2, 3),
                      NUMBERS(0.9119319636987058, 5.473755444798529, 8.614312591502763, 1, 2, 3),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 3, 3),
                      NUMBERS(0.5795168325237812, 0.8034930195363887, 0.1362321855432861,
                              -0.647080874415544, 0.3520420746299, 0.6762785813966692,
                              0.49542565818417145, -0.48006806313956396, 0.7239392736730121, 0, 0,
                              1, 1, 0, 0, 0, 1, 0),
                      1e-13, 1e-13);
    graph_close(&g);

    // eigh-c4: the leading component is positive
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2), NUMBERS(2, 1, 1, 2));
    y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(y, SHAPE(2), NUMBERS(1, 3), 1e-13, 1e-13);
    graph_expect_near(
        &y[1], SHAPE(2, 2),
        NUMBERS(0.7071067811865475, 0.7071067811865475, -0.7071067811865475, 0.7071067811865475),
        1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(3, 3), NUMBERS(4, 2, -1, 2, 5, 3, -1, 3, 6));
    y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(
        y, SHAPE(3), NUMBERS(0.9119319636987058, 5.473755444798529, 8.614312591502763), 5e-7, 1e-7);
    graph_expect_near(&y[1], SHAPE(3, 3),
                      NUMBERS(0.5795168325237812, 0.8034930195363887, 0.1362321855432861,
                              -0.647080874415544, 0.3520420746299, 0.6762785813966692,
                              0.49542565818417145, -0.48006806313956396, 0.7239392736730121),
                      5e-7, 1e-7);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 2), NUMBERS(1, 0, NAN, 2));
    y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(y, SHAPE(2), NUMBERS(NAN, NAN), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 2), NUMBERS(NAN, NAN, NAN, NAN), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(0, 0), NUMBERS(0));
    y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(y, SHAPE(0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(0, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1, 1), NUMBERS(-5));
    y = graph_run_op(&g, OP_EIGH, NULL);
    graph_expect_near(y, SHAPE(1), NUMBERS(-5), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(1, 1), NUMBERS(1), 1e-13, 1e-13);
    graph_close(&g);
}

// svd-c2 svd-c3
TEST(svd_factors) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(4, 2), NUMBERS(1, 2, 3, -4, 5, 6, -2, 1));
    const Tensor *y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(4, 2),
                      NUMBERS(0.26982027419689997, -0.03803451968412514, -0.22116091630329535,
                              0.8816530937357865, 0.936852675426901, 0.20813006269463985,
                              -0.02432967894680218, -0.4218092870258308),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(8.253763492946604, 5.2797147842001735), 1e-13,
                      1e-13);
    graph_expect_near(
        &y[2], SHAPE(2, 2),
        NUMBERS(0.5257311121191335, 0.85065080835204, 0.85065080835204, -0.5257311121191335), 1e-13,
        1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 4), NUMBERS(1, 3, 5, -2, 2, -4, 6, 1));
    y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(
        y, SHAPE(2, 2),
        NUMBERS(0.5257311121191335, 0.8506508083520399, 0.8506508083520399, -0.5257311121191335),
        1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(8.253763492946604, 5.279714784200174), 1e-13, 1e-13);
    graph_expect_near(&y[2], SHAPE(2, 4),
                      NUMBERS(0.2698202741968999, -0.22116091630329543, 0.936852675426901,
                              -0.02432967894680218, -0.03803451968412508, 0.8816530937357866,
                              0.20813006269463985, -0.4218092870258308),
                      1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3, 3),
                NUMBERS(1, 2, 4, 4, -2, 6, 2, 7, -1, 0, 1, 2, 3, 0, 1, 1, 1, 0));
    y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(2, 3, 3),
                      NUMBERS(0.32264239472550704, 0.4425342394850401, 0.8366990689663678,
                              0.8612465373437717, 0.2294246180457052, -0.4534520333485616,
                              -0.39262741503765725, 0.8669070258787726, -0.3071089732372994,
                              0.31285937803842667, 0.9456234855944557, 0.08896759559300899,
                              0.8981004497156978, -0.32501164410183264, 0.2962819829464582,
                              0.30908670594813764, -0.01279275929641498, -0.9509478185030522),
                      1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2, 3),
                      NUMBERS(8.394136908078526, 7.546517771664358, 1.8943429178445583,
                              3.4247892946599174, 2.0734198349675506, 0.9857730342964165),
                      1e-13, 1e-13);
    graph_expect_near(&y[2], SHAPE(2, 3, 3),
                      NUMBERS(0.35529247934412894, -0.4557466994395059, 0.816126338302776,
                              0.4099966179160039, 0.8606046683433065, 0.30209663706030315,
                              -0.8400416819533061, 0.22727637531363215, 0.49262097174740455,
                              0.8769555720634391, 0.18160126958944012, 0.4449380895252613,
                              -0.4764243473234509, 0.4498995864542987, 0.7553874524941988,
                              -0.06299814207030144, -0.8744205744330098, 0.48106121554739323),
                      1e-13, 1e-13);
    graph_close(&g);
}

TEST(svd_factors_2) {
    Graph g = graph_open(arena);
    graph_input(&g, DTYPE_F32, SHAPE(4, 2), NUMBERS(1, 2, 3, -4, 5, 6, -2, 1));
    const Tensor *y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(4, 2),
                      NUMBERS(0.26982027419689997, -0.03803451968412514, -0.22116091630329535,
                              0.8816530937357865, 0.936852675426901, 0.20813006269463985,
                              -0.02432967894680218, -0.4218092870258308),
                      1e-6, 1e-7);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(8.253763492946604, 5.2797147842001735), 1e-6, 1e-7);
    graph_expect_near(
        &y[2], SHAPE(2, 2),
        NUMBERS(0.5257311121191335, 0.85065080835204, 0.85065080835204, -0.5257311121191335), 1e-6,
        1e-7);
    graph_close(&g);

    // svd-c4: a zero matrix still has orthonormal factors
    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(2, 3), NUMBERS(0, 0, 0, 0, 0, 0));
    y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(2, 2), NUMBERS(1, 0, 0, 1), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(2), NUMBERS(0, 0), 1e-13, 1e-13);
    graph_expect_near(&y[2], SHAPE(2, 3), NUMBERS(1, 0, 0, 0, 1, 0), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(1, 2), NUMBERS(NAN, 1));
    y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(1, 1), NUMBERS(NAN), 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(1), NUMBERS(NAN), 1e-13, 1e-13);
    graph_expect_near(&y[2], SHAPE(1, 2), NUMBERS(NAN, NAN), 1e-13, 1e-13);
    graph_close(&g);

    g = graph_open(arena);
    graph_input(&g, DTYPE_F64, SHAPE(3, 0), NUMBERS(0));
    y = graph_run_op(&g, OP_SVD, NULL);
    graph_expect_near(y, SHAPE(3, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&y[1], SHAPE(0), NO_NUMBERS, 1e-13, 1e-13);
    graph_expect_near(&y[2], SHAPE(0, 0), NO_NUMBERS, 1e-13, 1e-13);
    graph_close(&g);
}

// What the factors promise, on larger matrices that numpy did not see: orthonormal columns and a
// product that gives the matrix back. a[rows, columns] is row-major.
static double at(const Tensor *x, int64_t i, int64_t j) {
    return graph_number(x, i * x->shape[1] + j);
}
static void expect_orthonormal(const Tensor *q, bool columns) {
    int64_t n = q->shape[columns ? 1 : 0], length = q->shape[columns ? 0 : 1];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < length; k++)
                sum += columns ? at(q, k, i) * at(q, k, j) : at(q, i, k) * at(q, j, k);
            EXPECT_WITHIN(sum, i == j, 1e-13);
        }
}
// Rank 3 whatever the size: a[i, j] = cos(i) + sin(2 j) + i j / 20.
static void low_rank(Graph *g, int64_t rows, int64_t columns, bool symmetric) {
    uint32_t input = graph_range(g, DTYPE_F64, SHAPE(rows, columns));
    double  *a = g->inputs[input].data;
    for (int64_t i = 0; i < rows * columns; i++) {
        double x = (double)(i / columns), y = (double)(i % columns);
        a[i] = symmetric ? cos(x) * cos(y) + sin(x) * sin(y) + x * y / 20
                         : cos(x) + sin(2 * y) + x * y / 20;
    }
}
TEST(svd_low_rank) { // svd-c2 svd-c4
    const int64_t sizes[3][2] = {{9, 6}, {6, 9}, {8, 8}};
    for (int which = 0; which < 3; which++) {
        Graph g = graph_open(arena);
        low_rank(&g, sizes[which][0], sizes[which][1], false);
        const Tensor *y = graph_run_op(&g, OP_SVD, NULL), *u = &y[0], *s = &y[1], *vt = &y[2];
        expect_orthonormal(u, true);
        expect_orthonormal(vt, false);
        for (int64_t i = 0; i < sizes[which][0]; i++)
            for (int64_t j = 0; j < sizes[which][1]; j++) {
                double sum = 0;
                for (int64_t k = 0; k < s->shape[0]; k++)
                    sum += at(u, i, k) * graph_number(s, k) * at(vt, k, j);
                EXPECT_WITHIN(sum, at(&g.inputs[0], i, j), 1e-13);
            }
        for (int64_t k = 1; k < s->shape[0]; k++)
            EXPECT(graph_number(s, k) <= graph_number(s, k - 1) && graph_number(s, k) >= 0);
        EXPECT_WITHIN(graph_number(s, 3), 0, 1e-14);
        graph_close(&g);
    }
}
TEST(eigh_low_rank) { // eigh-c2
    Graph g = graph_open(arena);
    low_rank(&g, 8, 8, true);
    const Tensor *w = graph_run_op(&g, OP_EIGH, NULL), *v = &w[1];
    expect_orthonormal(v, true);
    for (int64_t i = 0; i < 8; i++)
        for (int64_t j = 0; j < 8; j++) {
            double sum = 0;
            for (int64_t k = 0; k < 8; k++) sum += at(v, i, k) * graph_number(w, k) * at(v, j, k);
            EXPECT_WITHIN(sum, at(&g.inputs[0], i, j), 1e-13);
        }
    for (int64_t k = 1; k < 8; k++) EXPECT(graph_number(w, k) >= graph_number(w, k - 1));
    graph_close(&g);
}
TEST(qr_low_rank) { // qr-c2 qr-c3
    const int64_t sizes[2][2] = {{9, 6}, {6, 9}};
    for (int which = 0; which < 2; which++) {
        Graph g = graph_open(arena);
        low_rank(&g, sizes[which][0], sizes[which][1], false);
        const Tensor *q = graph_run_op(&g, OP_QR, NULL), *r = &q[1];
        expect_orthonormal(q, true);
        for (int64_t i = 0; i < sizes[which][0]; i++)
            for (int64_t j = 0; j < sizes[which][1]; j++) {
                double sum = 0;
                for (int64_t k = 0; k < 6; k++) sum += at(q, i, k) * at(r, k, j);
                EXPECT_WITHIN(sum, at(&g.inputs[0], i, j), 1e-13);
            }
        for (int64_t i = 0; i < 6; i++) {
            EXPECT(at(r, i, i) >= 0);
            for (int64_t j = 0; j < i; j++) EXPECT(at(r, i, j) == 0);
        }
        graph_close(&g);
    }
}
