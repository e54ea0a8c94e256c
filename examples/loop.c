/* Control flow from C: Newton's method for a square root as a while loop, and its derivative.
 *
 *     cc examples/loop.c $(pkg-config --cflags --libs stoa) && ./a.out */
#include <stdio.h>
#include <stoa/stoa.h>

/* y = (y + x / y) / 2, from y = x, while |y * y - x| > 1e-12 */
static StoaValue square_root(StoaProgram *program, StoaValue x) {
    StoaRegionOptions options = STOA_REGION_OPTIONS;
    StoaValue         y = x;
    options.limit = 100; /* what a gradient must be ready for */
    stoa_region_begin(program, STOA_WHILE, &y, 1, &options);

    y = stoa_region_arg(program, 0); /* first block: go on? */
    StoaValue error = stoa_abs(program, stoa_sub(program, stoa_mul(program, y, y), x));
    StoaValue more =
        stoa_compare(program, error, stoa_scalar(program, STOA_F64, 1e-12), STOA_COMPARE_GT);
    stoa_yield(program, &more, 1);

    y = stoa_region_arg(program, 0); /* second block: the next y */
    StoaValue sum = stoa_add(program, y, stoa_div(program, x, y));
    StoaValue next = stoa_mul(program, sum, stoa_scalar(program, STOA_F64, 0.5));
    stoa_yield(program, &next, 1);

    stoa_region_end(program, &y, 1);
    return y;
}

int main(void) {
    StoaContext *context = NULL;
    StoaProgram *program = NULL;
    StoaSession *session = NULL;
    if (stoa_context_create(NULL, &context) != STOA_OK) return 1;
    if (stoa_program_create(context, &program) != STOA_OK) return 1;
    stoa_graph_begin(program, "root");
    StoaValue x = stoa_input(program, "x", STOA_F64, NULL, 0), slope;
    StoaValue y = square_root(program, x);
    stoa_gradients(program, y, &x, 1, &slope);
    stoa_output(program, "y", y);
    stoa_output(program, "slope", slope);
    stoa_graph_end(program);

    double     number = 16, root = 0, slope_there = 0;
    StoaTensor input = {STOA_F64, 0, {0}, &number};
    StoaTensor outputs[] = {{.data = &root}, {.data = &slope_there}};
    if (stoa_compile(program, NULL, &session) != STOA_OK ||
        stoa_run(session, "root", &input, 1, outputs, 2, NULL) != STOA_OK) {
        fprintf(stderr, "%s\n", stoa_message(context));
        return 1;
    }
    printf("sqrt(16) = %.6f, slope %.6f\n", root, slope_there); /* 4.000000, 0.125000 */
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
    return root < 4 - 1e-9 || root > 4 + 1e-9 || slope_there < 0.125 - 1e-6 ||
           slope_there > 0.125 + 1e-6;
}
