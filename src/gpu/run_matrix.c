/* lu, cholesky and triangular_solve: kernels of run_text.c for batches of matrices.
 *
 * Sums and pivots are in double, as in the interpreter: an H100 does half as many of those as of
 * f32, and what bounds these kernels is latency. Up to 64 rows a matrix lies in shared memory, one
 * a block of one warp (8 warps above 32 rows); larger ones go through the level 2 cache, which is
 * correct and slow. */
#include "gpu/run_inner.h"

enum { BLOCKS_MAX = 132 * 32, LARGE_BLOCKS_MAX = 132, TILE = 32, WARP = 32, SMALL = 32, MOST = 64 };

typedef struct MatrixArgs {
    CuPtr   y, rows, work, a, b;
    int64_t count, n, columns, parts;
    int32_t lower, transpose, unit, pad;
} MatrixArgs;

/* The step, but for what only some have; work_each: bytes a block needs above MOST rows. */
static RunKernel *add(RunBinder *b, GpuFamily family, const char *name, MatrixArgs args,
                      uint64_t work_each, uint32_t block) {
    int32_t    room = args.n <= SMALL ? SMALL : args.n <= MOST ? MOST : 0;
    int64_t    most = room != 0 ? BLOCKS_MAX : LARGE_BLOCKS_MAX, jobs = args.count * args.parts;
    uint32_t   blocks = (uint32_t)(jobs < most ? jobs : most);
    String     text = str_format(b->arena, "%s<%s, %d>", name, run_dtype(&b->args[0]), (int)room);
    RunKernel *k = run_kernel(b, family, text, &args, sizeof args);
    k->grid[0] = blocks;
    k->block = block;
    RUN_REF(k, MatrixArgs, y, run_ref(&b->outs[0]));
    RUN_REF(k, MatrixArgs, a, run_ref(&b->args[0]));
    if (room == 0) RUN_REF(k, MatrixArgs, work, run_work(b, blocks * work_each));
    return k;
}
static bool takes(const LaunchArg *a) {
    return dtype_is_float((Dtype)a->dtype) && run_takes(a) && a->dims[a->rank - 1] < 1 << 15;
}
static MatrixArgs args_of(const LaunchArg *x) {
    MatrixArgs args = {.n = x->dims[x->rank - 2], .columns = x->dims[x->rank - 1], .parts = 1};
    args.count = run_elements(x) / (args.n * args.columns);
    return args;
}
static uint32_t block_for(int64_t n) { return n <= SMALL ? WARP : 8 * WARP; }

Status run_bind_lu(RunBinder *b) {
    MatrixArgs args = args_of(&b->args[0]);
    if (!takes(&b->args[0])) return STATUS_UNSUPPORTED;
    RunKernel *k =
        add(b, FAMILY_FACTOR, "lu", args, (uint64_t)(args.n * args.n) * 8, block_for(args.n));
    RUN_REF(k, MatrixArgs, rows, run_ref(&b->outs[1]));
    return STATUS_OK;
}
Status run_bind_cholesky(RunBinder *b) {
    MatrixArgs args = args_of(&b->args[0]);
    if (!takes(&b->args[0])) return STATUS_UNSUPPORTED;
    (void)add(b, FAMILY_FACTOR, "cholesky", args, (uint64_t)(args.n * args.n) * 8,
              block_for(args.n));
    return STATUS_OK;
}
Status run_bind_triangular_solve(RunBinder *b) {
    MatrixArgs args = args_of(&b->args[1]);
    if (!takes(&b->args[0])) return STATUS_UNSUPPORTED;
    args.parts = (args.columns + TILE - 1) / TILE;
    args.lower = b->attrs[ATTR_TRIANGULAR_SOLVE_lower] != 0;
    args.transpose = b->attrs[ATTR_TRIANGULAR_SOLVE_transpose] != 0;
    args.unit = b->attrs[ATTR_TRIANGULAR_SOLVE_unit_diagonal] != 0;
    RunKernel *k = add(b, FAMILY_SUBSTITUTE, "substitute", args, (uint64_t)args.n * TILE * 8, WARP);
    RUN_REF(k, MatrixArgs, b, run_ref(&b->args[1]));
    return STATUS_OK;
}
