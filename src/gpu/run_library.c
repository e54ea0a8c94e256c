/* Binding of what libraries do: matrix products through cuBLASLt, attention through cuDNN or by
 * kernels of our own; and of products that cuBLASLt does not do (integers, empty sums) to tiles of
 * run_text.c.
 *
 * Equal problems share one plan in the kit, so a model's layers are planned and measured once. */
#include "gpu/run_inner.h"

/* --- tiles of our own ------------------------------------------------------------------------- */

typedef struct FoldArgs {
    CuPtr   y, parts;
    int64_t count, splits;
} FoldArgs;
typedef struct DotArgs {
    Tiles t;
    CuPtr x, y;
    RunNd batch, m, n, k; /* sides: x, y */
} DotArgs;
enum { TILE = 64, BLOCKS_WANTED = 264, CHUNK_MIN = 256 };

/* Sizes alone decide into how many parts a long sum is cut. */
int64_t run_tiles_blocks(Tiles *t, int64_t batches) {
    int64_t blocks = batches * ((t->m + TILE - 1) / TILE) * ((t->n + TILE - 1) / TILE);
    int64_t most = t->k / CHUNK_MIN;
    t->total = batches * t->m * t->n;
    t->splits = blocks > 0 ? BLOCKS_WANTED / blocks : 1;
    if (t->splits > most) t->splits = most;
    if (t->splits < 1) t->splits = 1;
    t->chunk = (t->k + t->splits - 1) / t->splits;
    return blocks * t->splits;
}
Status run_tiles(RunBinder *b, GpuFamily family, const char *name, const void *args, uint32_t bytes,
                 const Tiles *t, int64_t blocks, RunKernel **out_kernel) {
    const LaunchArg *y = &b->outs[0];
    Dtype            dtype = (Dtype)y->dtype;
    uint32_t         sum = dtype == DTYPE_F64 || !dtype_is_float(dtype) ? 8 : 4;
    if (!run_takes(y) || blocks > INT32_MAX) return STATUS_UNSUPPORTED;
    RunKernel *k =
        run_kernel(b, family, str_format(b->arena, "%s<%s>", name, run_dtype(y)), args, bytes);
    k->grid[0] = (uint32_t)blocks;
    RUN_REF(k, Tiles, c, run_ref(y));
    *out_kernel = k;
    if (t->splits == 1) return STATUS_OK;
    RunRef   parts = run_work(b, (uint64_t)(t->splits * t->total) * sum);
    FoldArgs fold = {.count = t->total, .splits = t->splits};
    RUN_REF(k, Tiles, parts, parts);
    k = run_kernel(b, FAMILY_PRODUCT, str_format(b->arena, "fold<%s>", run_dtype(y)), &fold,
                   sizeof fold);
    RUN_REF(k, FoldArgs, y, run_ref(y));
    RUN_REF(k, FoldArgs, parts, parts);
    run_grid(b, k, t->total);
    return STATUS_OK;
}

static int64_t product_of(const int64_t *sizes, uint32_t count) {
    int64_t product = 1;
    for (uint32_t i = 0; i < count; i++) product *= sizes[i];
    return product;
}

/* --- matrix products -------------------------------------------------------------------------- */

/* The axes of a product: of each operand batch, free, summed. */
typedef struct DotAxes {
    int64_t  batch[2][LIST_MAX], sum[2][LIST_MAX], free[2][SHAPE_RANK_MAX];
    uint32_t batches, sums, frees[2];
} DotAxes;
/* ORDER attrs: those of dot_add are those of dot_general. */
static bool is_general(Opcode opcode) { return opcode == OP_DOT_GENERAL || opcode == OP_DOT_ADD; }
static DotAxes dot_axes(const RunBinder *b) {
    DotAxes axes = {.sums = 1, .sum = {{b->args[0].rank - 1}, {b->attrs[0] != 0}}};
    if (is_general(b->opcode)) {
        axes.batches = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_batch, axes.batch[0]);
        (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_batch, axes.batch[1]);
        axes.sums = launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_x_contract, axes.sum[0]);
        (void)launch_ints(b->plan, b->launch, ATTR_DOT_GENERAL_y_contract, axes.sum[1]);
    }
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t i = 0; i < b->args[side].rank; i++) {
            bool used = false;
            for (uint32_t k = 0; k < axes.batches; k++) used |= axes.batch[side][k] == i;
            for (uint32_t k = 0; k < axes.sums; k++) used |= axes.sum[side][k] == i;
            if (!used) axes.free[side][axes.frees[side]++] = i;
        }
    return axes;
}
static DotArgs dot_walks(const DotAxes *axes, const LaunchArg *x, const LaunchArg *y) {
    DotArgs args = {0};
    for (uint32_t i = 0; i < axes->batches; i++)
        run_nd_axis(&args.batch, x->dims[axes->batch[0][i]], x->strides[axes->batch[0][i]],
                    y->strides[axes->batch[1][i]], 0);
    for (uint32_t i = 0; i < axes->frees[0]; i++)
        run_nd_axis(&args.m, x->dims[axes->free[0][i]], x->strides[axes->free[0][i]], 0, 0);
    for (uint32_t i = 0; i < axes->frees[1]; i++)
        run_nd_axis(&args.n, y->dims[axes->free[1][i]], 0, y->strides[axes->free[1][i]], 0);
    for (uint32_t i = 0; i < axes->sums; i++)
        run_nd_axis(&args.k, x->dims[axes->sum[0][i]], x->strides[axes->sum[0][i]],
                    y->strides[axes->sum[1][i]], 0);
    return args;
}
static int64_t walk_count(const RunNd *nd) { return product_of(nd->dims, (uint32_t)nd->rank); }

/* rows x cols elements as a stored matrix or its transpose (across). */
static bool as_matrix(int64_t rows, int64_t row_step, int64_t cols, int64_t col_step,
                      bool *out_across, uint64_t *out_ld) {
    *out_across = !((cols == 1 || col_step == 1) && (rows == 1 || row_step >= cols));
    *out_ld =
        (uint64_t)(*out_across ? (cols == 1 ? rows : col_step) : (rows == 1 ? cols : row_step));
    return !*out_across || ((rows == 1 || row_step == 1) && (cols == 1 || col_step >= rows));
}
/* Terms of a sum with a gradient that may be fast: it is off by less than 1e-3 of the norm then,
 * half of what rounding to bf16 does, in 0.81 to 0.89 of the time (note 0019). */
enum { FAST_MAX = 4096 };
/* False where cuBLASLt cannot take the operands as they lie. */
static bool as_problem(const DotArgs *d, const RunBinder *b, GpuMatmul *out) {
    const GpuKit    *kit = b->kit;
    const LaunchArg *x = &b->args[0], *y = &b->args[1], *z = &b->outs[0];
    GpuMatmul        p = {.m = (uint64_t)d->t.m,
                          .n = (uint64_t)d->t.n,
                          .k = (uint64_t)d->t.k,
                          .batch = (uint64_t)walk_count(&d->batch),
                          .tf32 = kit->options.tf32 && x->dtype == DTYPE_F32,
                          .a = x->dtype,
                          .b = y->dtype,
                          .d = z->dtype};
    bool good = d->batch.rank <= 1 && d->m.rank <= 1 && d->n.rank <= 1 && d->k.rank <= 1;
    if (d->batch.rank == 1) { /* 0 would mean dense */
        p.a_step = (uint64_t)d->batch.strides[0][0];
        p.b_step = (uint64_t)d->batch.strides[1][0];
        good &= p.a_step > 0 && p.b_step > 0;
    }
    good &= as_matrix(d->t.m, d->m.strides[0][0], d->t.k, d->k.strides[0][0], &p.a_across, &p.lda);
    good &= as_matrix(d->t.k, d->k.strides[1][0], d->t.n, d->n.strides[1][0], &p.b_across, &p.ldb);
    if (dtype_is_f8((Dtype)p.a)) { /* rows along the sum, both; forward products may be fast */
        good &= !p.a_across && p.b_across;
        p.fast = (p.a == DTYPE_F8E4M3 && p.b == DTYPE_F8E4M3) || p.k <= FAST_MAX;
    }
    *out = p;
    return good;
}
/* The largest power of two, at most 256, that divides all of them (given or-ed together). */
static uint32_t alignment(uint64_t offsets) {
    uint64_t low = offsets & (~offsets + 1);
    return low == 0 || low > 256 ? 256 : (uint32_t)low;
}

typedef struct ProductStep {
    RunProduct *product;
    RunRef      x, y, z, bias, aux, scales[2], work;
    bool        scaled, adds;
    uint64_t    work_bytes;
    DotArgs     dot; /* the same without a library */
    const char *dtype;
} ProductStep;

static GpuMatmulArgs product_args(const ProductStep *step, const RunCtx *ctx) {
    return (GpuMatmulArgs){.a = run_at(step->x, ctx),
                           .b = run_at(step->y, ctx),
                           .d = run_at(step->z, ctx),
                           .bias = run_at(step->bias, ctx),
                           .aux = run_at(step->aux, ctx),
                           .a_scale = step->scaled ? run_at(step->scales[0], ctx) : 0,
                           .b_scale = step->scaled ? run_at(step->scales[1], ctx) : 0,
                           .adds = step->adds,
                           .workspace = run_at(step->work, ctx),
                           .workspace_bytes = step->work_bytes};
}
static Status product_tune(const void *params, const RunCtx *ctx) {
    const ProductStep *step = params;
    GpuMatmulArgs      args = product_args(step, ctx);
    if (!ctx->tune || step->product->plan.us != 0 || step->adds) return STATUS_OK;
    return gpu_matmul_tune(&ctx->kit->blas, &step->product->plan, &args, ctx->stream, ctx->diags);
}
static Status product_run(const void *params, const RunCtx *ctx) {
    const ProductStep *step = params;
    GpuMatmulArgs      args = product_args(step, ctx);
    Status             status = product_tune(params, ctx);
    if (status != STATUS_OK) return status;
    return gpu_matmul_run(&ctx->kit->blas, &step->product->plan, &args, ctx->stream, ctx->diags);
}

static void product_text(RunBlock *block, const void *params) {
    const ProductStep *step = params;
    const RunRef       refs[] = {step->x, step->y, step->z};
    const uint32_t     at[] = {offsetof(DotArgs, x), offsetof(DotArgs, y), offsetof(DotArgs, t.c)};
    block->families[FAMILY_PRODUCT] = true;
    run_block_call(block, FAMILY_SMALL, str_format(block->arena, "small<%s>", step->dtype).data,
                   &step->dot, sizeof step->dot, refs, at, 3);
}
static Status find_product(RunBinder *b, const GpuMatmul *problem, RunProduct **out_product) {
    GpuKit       *kit = b->kit;
    GpuMatmulPlan plan;
    Status        status = run_need_blas(kit, b->diags);
    if (status == STATUS_OK) status = gpu_matmul_plan(&kit->blas, problem, b->diags, &plan);
    if (status != STATUS_OK) return status;
    Scratch scratch = scratch_begin(&b->arena, 1);
    String  text = gpu_matmul_text(scratch.arena, &plan.problem);
    for (*out_product = kit->products; *out_product != NULL; *out_product = (*out_product)->next) {
        const GpuMatmul *q = &(*out_product)->plan.problem, *p = &plan.problem;
        if (q->align == p->align && q->lda == p->lda && q->ldb == p->ldb && q->ldd == p->ldd &&
            q->a_step == p->a_step && q->b_step == p->b_step &&
            str_same(text, gpu_matmul_text(scratch.arena, q)))
            break;
    }
    scratch_end(scratch);
    if (*out_product != NULL) return STATUS_OK;
    *out_product = ARENA_NEW(kit->arena, RunProduct);
    **out_product = (RunProduct){plan, kit->products};
    kit->products = *out_product;
    return STATUS_OK;
}

/* An operand with its axes in the order batch, free, summed; dense: as it lies after a copy. */
static LaunchArg in_order(RunBinder *b, const DotAxes *axes, uint32_t side, bool dense) {
    const LaunchArg *arg = &b->args[side];
    LaunchArg        out = *arg;
    const int64_t   *lists[3] = {axes->batch[side], axes->free[side], axes->sum[side]};
    const uint32_t   counts[3] = {axes->batches, axes->frees[side], axes->sums};
    int64_t *dims = ARENA_ARRAY(b->arena, int64_t, 2 * arg->rank + 1), *strides = dims + arg->rank;
    int64_t  stride = 1;
    uint32_t at = 0;
    for (uint32_t l = 0; l < 3; l++)
        for (uint32_t i = 0; i < counts[l]; i++, at++) {
            dims[at] = arg->dims[lists[l][i]];
            strides[at] = arg->strides[lists[l][i]];
        }
    for (uint32_t i = arg->rank; dense && i-- > 0; stride *= dims[i]) strides[i] = stride;
    out.dims = dims;
    out.strides = strides;
    return out;
}
static void put_in_order(DotAxes *axes, uint32_t side) {
    for (uint32_t i = 0; i < axes->batches; i++) axes->batch[side][i] = i;
    for (uint32_t i = 0; i < axes->frees[side]; i++) axes->free[side][i] = axes->batches + i;
    for (uint32_t i = 0; i < axes->sums; i++)
        axes->sum[side][i] = axes->batches + axes->frees[side] + i;
}

static void set_sizes(DotArgs *args) {
    args->t.m = walk_count(&args->m);
    args->t.n = walk_count(&args->n);
    args->t.k = walk_count(&args->k);
}

static Status bind_own_dot(RunBinder *b, DotArgs *args, const LaunchArg *x, const LaunchArg *y) {
    RunKernel *k;
    int64_t    blocks = run_tiles_blocks(&args->t, walk_count(&args->batch));
    Status status = run_tiles(b, FAMILY_PRODUCT, "dot", args, sizeof *args, &args->t, blocks, &k);
    if (status != STATUS_OK) return status;
    RUN_REF(k, DotArgs, x, run_ref(x));
    RUN_REF(k, DotArgs, y, run_ref(y));
    return STATUS_OK;
}

/* An operand as cuBLASLt takes it beside a product: dense, at a multiple of 16 bytes. */
static RunRef near_16(RunBinder *b, const LaunchArg *arg) {
    LaunchArg out = *arg;
    if (!out.dense || run_offsets(b, &out) % 16 != 0) out = run_dense(b, &out);
    return run_ref(&out);
}
/* What cuBLASLt does to the elements that it writes: of dot_bias, dot_gelu and dot_gelu_grad. */
static void bind_epilogue(RunBinder *b, GpuMatmul *problem, ProductStep *step) {
    bool slope = b->opcode == OP_DOT_GELU_GRAD;
    step->bias = step->aux = step->scales[0] = step->scales[1] = step->z;
    if (is_general(b->opcode)) return;
    step->scaled = !slope && b->attrs[ATTR_DOT_BIAS_scaled] != 0;
    uint32_t count = b->operands - (step->scaled ? 2 : 0);
    for (uint32_t i = count; i < b->operands; i++)
        step->scales[i - count] = near_16(b, &b->args[i]);
    if (slope) problem->epilogue = GPU_EPILOGUE_DGELU;
    if (b->opcode == OP_DOT_GELU) {
        problem->epilogue = GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX;
        step->aux = run_ref(&b->outs[1]);
    }
    if (count < 3) return;
    if (!slope) problem->epilogue |= GPU_EPILOGUE_BIAS;
    *(slope ? &step->aux : &step->bias) = near_16(b, &b->args[2]);
}
/* A copy in memory for so many elements, whose first axis takes steps of so many. */
static LaunchArg copy_in_steps(RunBinder *b, const LaunchArg *arg, int64_t first, int64_t count) {
    LaunchArg copy = *arg;
    int64_t  *strides = ARENA_ARRAY(b->arena, int64_t, arg->rank + 1), stride = 1;
    RunRef    at = run_work(b, (uint64_t)count * dtype_bytes((Dtype)arg->dtype));
    for (uint32_t i = arg->rank; i-- > 0; stride *= arg->dims[i])
        strides[i] = i == 0 ? first : stride;
    copy.slot = at.slot;
    copy.offset = at.offset;
    copy.strides = strides;
    run_copy(b, &copy, arg);
    return copy;
}
/* Scales of blocks; cuBLASLt wants fours of rows: others are multiplied in copies, with rows behind
 * them that nobody reads. */
static void bind_blocks(RunBinder *b, GpuMatmul *problem, ProductStep *step, LaunchArg *x) {
    const LaunchArg *z = &b->outs[0], *scales = &b->args[b->operands - 2];
    int64_t          m = (int64_t)problem->m, fours = (m + 3) / 4 * 4, k = (int64_t)problem->k;
    problem->a_scales = GPU_SCALES_ROWS;
    problem->b_scales = GPU_SCALES_SQUARES;
    problem->fast = false;
    if (fours == m) return;
    *x = copy_in_steps(b, x, x->rank > 1 ? m / x->dims[0] * k : 1, fours * k);
    LaunchArg by_row = copy_in_steps(b, scales, fours, fours * scales->dims[0]);
    problem->m = (uint64_t)fours;
    problem->lda = (uint64_t)k;
    step->x = run_ref(x);
    step->scales[0] = run_ref(&by_row);
    step->z = run_work(b, (uint64_t)fours * problem->n * dtype_bytes((Dtype)z->dtype));
}
/* Result of a product of more rows than were wanted. */
static void take_rows(RunBinder *b, const ProductStep *step) {
    LaunchArg made = b->outs[0];
    if (step->z.slot == made.slot && step->z.offset == made.offset) return;
    made.slot = step->z.slot;
    made.offset = step->z.offset;
    run_copy(b, &b->outs[0], &made);
}
Status run_bind_dot(RunBinder *b) {
    const LaunchArg *z = &b->outs[0];
    LaunchArg        x = b->args[0], y = b->args[1];
    DotAxes          axes = dot_axes(b);
    DotArgs          args = dot_walks(&axes, &x, &y);
    GpuMatmul        problem;
    set_sizes(&args);
    if (!run_takes(z)) return STATUS_UNSUPPORTED;
    if (b->opcode == OP_DOT_GELU && run_offsets(b, &b->outs[1]) % 16 != 0)
        return STATUS_UNSUPPORTED; /* rows of a scan that lie unevenly */
    bool adds = b->opcode == OP_DOT_ADD && b->operands > 2;
    if (adds) run_copy(b, z, &b->args[2]); /* as a rule it lies there */
    if (adds && args.t.k == 0) return STATUS_OK;
    if (!dtype_is_float((Dtype)z->dtype) || args.t.k == 0) return bind_own_dot(b, &args, &x, &y);
    /* Copies of the operands that do not lie as it wants them: x, y or both. */
    uint32_t copies = 0;
    while (!as_problem(&args, b, &problem)) {
        DotAxes moved = axes;
        ASSERT(copies < 3);
        copies++;
        x = copies & 1 ? in_order(b, &axes, 0, true) : b->args[0];
        y = copies & 2 ? in_order(b, &axes, 1, true) : b->args[1];
        for (uint32_t side = 0; side < 2; side++)
            if (copies >> side & 1) put_in_order(&moved, side);
        args = dot_walks(&moved, &x, &y);
        set_sizes(&args);
    }
    LaunchArg *sides[2] = {&x, &y};
    for (uint32_t side = 0; side < 2; side++) {
        if (!(copies >> side & 1)) continue;
        *sides[side] = in_order(b, &axes, side, false);
        *sides[side] = run_dense(b, sides[side]);
    }
    problem.align = alignment(run_offsets(b, &x) | run_offsets(b, &y) | run_offsets(b, z));
    ProductStep *step = RUN_PARAMS(b, ProductStep);
    args.t.total = walk_count(&args.batch) * args.t.m * args.t.n;
    *step = (ProductStep){.x = run_ref(&x),
                          .y = run_ref(&y),
                          .z = run_ref(z),
                          .adds = adds,
                          .dot = args,
                          .dtype = run_dtype(z)};
    bind_epilogue(b, &problem, step);
    bool blocks = step->scaled && b->attrs[ATTR_DOT_BIAS_block] != 0;
    if (blocks) bind_blocks(b, &problem, step, &x);
    Status status = find_product(b, &problem, &step->product);
    if (status != STATUS_OK) return status;
    step->work_bytes = step->product->plan.workspace_bytes;
    if (b->kit->options.tune && step->work_bytes < b->kit->blas.workspace_max)
        step->work_bytes = b->kit->blas.workspace_max;
    step->work = run_work(b, step->work_bytes);
    RunStep *added = run_step(b, product_run, step, 1);
    if (b->opcode == OP_DOT_GENERAL) added->text = product_text;
    added->elements = (double)args.t.total * (double)args.t.k;
    if (b->plan->slots.kind[plan_root_slot(b->plan, z->slot)] != SLOT_PARAMETER)
        added->prepare = product_tune; /* it writes the result */
    b->stats.products++;
    if (blocks) take_rows(b, step);
    return STATUS_OK;
}

/* --- attention -------------------------------------------------------------------------------- */

enum { Q, K, V, Y, LSE, DY, DQ, DK, DV, SUMS, ATTENTION_ARGS };
typedef struct AttentionStep {
    RunAttention *shared;
    RunRef        at[SUMS], lengths, work, columns;
    bool          sums; /* of columns are wanted, and left to it */
} AttentionStep;
/* parts[2][heads][blocks of chunk rows][width] */
typedef struct ColumnsArgs {
    CuPtr   x[2], parts;
    int64_t batch[2], head[2], row[2], rows, all, width, chunk;
} ColumnsArgs;
typedef struct TotalArgs {
    CuPtr   y, parts;
    int64_t count, width;
} TotalArgs;
enum { COLUMNS_CHUNK = 512, COLUMNS_PARTS = 256 };

static Status attention_run(const void *params, const RunCtx *ctx) {
    const AttentionStep *step = params;
    const GpuAttention  *p = &step->shared->problem;
    bool                 backward = step->shared->backward;
    CuPtr                at[SUMS] = {0};
    Status               status = STATUS_OK;
    for (uint32_t i = 0; i < (backward ? SUMS : LSE + 1u); i++) at[i] = run_at(step->at[i], ctx);
    GpuAttentionArgs args = {.q = at[Q],
                             .k = at[K],
                             .v = at[V],
                             .o = at[Y],
                             .statistics = at[LSE],
                             .d_o = at[DY],
                             .dq = at[DQ],
                             .dk = at[DK],
                             .dv = at[DV],
                             .columns = step->sums ? run_at(step->columns, ctx) : 0,
                             .workspace = run_at(step->work, ctx)};
    if (p->lengths) {
        uint64_t batch = (uint64_t)p->batch;
        args.lengths_q = run_at(step->lengths, ctx);
        args.lengths_kv = args.lengths_q + 4 * batch;
        status = gpu_fill32(ctx->stream, args.lengths_q, (uint32_t)p->queries, batch, ctx->diags);
        if (status == STATUS_OK)
            status = gpu_fill32(ctx->stream, args.lengths_kv, (uint32_t)p->keys, batch, ctx->diags);
    }
    if (status != STATUS_OK) return status;
    if (step->shared->own.module.handle != NULL)
        return gpu_own_attention_run(&step->shared->own, &args, ctx->stream, ctx->diags);
    return gpu_attention_run(&step->shared->plan, &args, ctx->stream, ctx->diags);
}

static bool cudnn_takes(const RunBinder *b, const LaunchArg *arg) {
    uint32_t       last = arg->rank - 1u;
    const int64_t *s = arg->strides, *dims = arg->dims;
    bool           good = s[last] == 1 || dims[last] == 1;
    for (uint32_t i = 0; i < last; i++) good &= s[i] % 8 == 0 && (s[i] > 0 || dims[i] == 1);
    for (uint32_t i = 0; i + 3 < last; i++) good &= s[i] == s[i + 1] * dims[i + 1];
    return good && run_offsets(b, arg) / dtype_bytes((Dtype)arg->dtype) % 8 == 0;
}
/* Strides of [..., heads, rows, width]; an operand that cuDNN cannot take becomes a dense copy. */
static GpuHeads heads_of(RunBinder *b, LaunchArg *arg) {
    uint32_t last = arg->rank - 1u;
    if (!cudnn_takes(b, arg)) *arg = run_dense(b, arg);
    const int64_t *s = arg->strides;
    return (GpuHeads){last >= 3 ? s[last - 3] : s[last - 2] * arg->dims[last - 2], s[last - 2],
                      s[last - 1]};
}

static Status find_attention(RunBinder *b, const GpuAttention *problem, bool backward,
                             RunAttention **out_shared) {
    GpuKit *kit = b->kit;
    for (RunAttention *a = kit->attentions; a != NULL; a = a->next) {
        *out_shared = a;
        if (a->backward == backward && memcmp(&a->problem, problem, sizeof *problem) == 0)
            return STATUS_OK;
    }
    RunAttention *a = ARENA_NEW(kit->arena, RunAttention);
    *a = (RunAttention){.backward = backward};
    memcpy(&a->problem, problem, sizeof *problem); /* with its padding, which is compared */
    Status status;
    if (gpu_own_attention_wins(&kit->gpu->info, problem, backward))
        status = gpu_own_attention_open(kit->gpu, kit->options.cache, problem, backward, b->diags,
                                        &a->own);
    else
        status =
            gpu_attention_plan(&kit->cudnn, kit->arena, problem, backward, 0, b->diags, &a->plan);
    if (status != STATUS_OK) return status;
    a->next = kit->attentions;
    *out_shared = kit->attentions = a;
    return STATUS_OK;
}

/* The sums of the columns of dq and dv in parts, where attention's gradient leaves none; and what
 * adds up the parts. */
static void add_columns(RunBinder *b, const GpuAttention *p, RunRef parts, int64_t count) {
    const GpuHeads *by[2] = {&p->dq, &p->dv};
    ColumnsArgs     args = {.rows = p->keys, .all = p->batch * p->keys, .width = p->width};
    args.chunk = (args.all + count - 1) / count;
    for (uint32_t i = 0; i < 2; i++)
        args.batch[i] = by[i]->batch, args.head[i] = by[i]->head, args.row[i] = by[i]->row;
    RunKernel *k =
        run_kernel(b, FAMILY_COLUMNS, str_format(b->arena, "columns<%s>", run_dtype(&b->outs[0])),
                   &args, sizeof args);
    k->grid[0] = (uint32_t)count, k->grid[1] = (uint32_t)p->heads, k->grid[2] = 2;
    for (uint32_t i = 0; i < 2; i++)
        run_kernel_ref(k, (uint32_t)(offsetof(ColumnsArgs, x) + i * sizeof(CuPtr)),
                       run_ref(&b->outs[2 * i]));
    RUN_REF(k, ColumnsArgs, parts, parts);
}
static void add_total(RunBinder *b, RunRef parts, int64_t count) {
    const LaunchArg *y = &b->outs[3];
    TotalArgs        args = {.count = count, .width = y->dims[2]};
    RunKernel *k = run_kernel(b, FAMILY_COLUMNS, str_format(b->arena, "total<%s>", run_dtype(y)),
                              &args, sizeof args);
    k->grid[0] = (uint32_t)(y->dims[2] / 8), k->grid[1] = (uint32_t)(3 * y->dims[1]);
    RUN_REF(k, TotalArgs, y, run_ref(y));
    RUN_REF(k, TotalArgs, parts, parts);
}
/* How many parts a column's sum comes in. */
static int64_t columns_count(const RunAttention *shared) {
    const GpuAttention *p = &shared->problem;
    int64_t             count = p->batch * p->keys / COLUMNS_CHUNK;
    if (shared->own.module.handle != NULL) return shared->own.columns_count;
    return count < 1 ? 1 : count > COLUMNS_PARTS ? COLUMNS_PARTS : count;
}

static Status bind_attention(RunBinder *b, double scale, bool causal, bool backward) {
    static const uint8_t order[2][ATTENTION_ARGS] = {{Q, K, V, Y, LSE},
                                                     {Q, K, V, Y, LSE, DY, DQ, DK, DV, SUMS}};
    LaunchArg            arg[ATTENTION_ARGS] = {0};
    GpuHeads             heads[ATTENTION_ARGS] = {0};
    GpuAttention         p;
    bool                 sums = b->opcode == OP_ATTENTION_GRAD_SUMS;
    uint32_t             count = b->operands + b->results - sums;
    Status               status = run_need_cudnn(b->kit, b->diags);
    if (status != STATUS_OK) return status;
    if (count != (backward ? SUMS : LSE + 1u)) return STATUS_UNSUPPORTED;
    if (sums && b->outs[3].dims[2] % 8 != 0) return STATUS_UNSUPPORTED;
    if (sums && run_elements(&b->outs[0]) == 0) { /* sums of nothing */
        add_total(b, run_ref(&b->outs[3]), 0);
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        arg[order[backward][i]] = b->args[i];
        if (b->args[i].rank < 2 + (order[backward][i] != LSE)) return STATUS_UNSUPPORTED;
        if (i >= b->operands && order[backward][i] != LSE && !cudnn_takes(b, &b->args[i]))
            return STATUS_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < count; i++)
        if (i != LSE) heads[i] = heads_of(b, &arg[i]);
    if (!arg[LSE].dense) arg[LSE] = run_dense(b, &arg[LSE]);
    const int64_t *q = arg[Q].dims, *k = arg[K].dims;
    uint32_t       last = arg[Q].rank - 1u;
    memset(&p, 0, sizeof p);
    p.batch = product_of(q, last - 2);
    p.heads = q[last - 2];
    p.heads_kv = k[last - 2];
    p.queries = q[last - 1];
    p.keys = k[last - 1];
    p.width = q[last];
    p.q = heads[Q], p.k = heads[K], p.v = heads[V], p.o = heads[Y];
    p.d_o = heads[DY], p.dq = heads[DQ], p.dk = heads[DK], p.dv = heads[DV];
    p.scale = (float)scale;
    p.dtype = arg[Q].dtype;
    p.causal = causal;
    p.deterministic = true;
    /* Older versions read past keys that are no multiple of 128 unless told their number. */
    p.lengths = backward && p.keys % 128 != 0;
    if (arg[V].dims[last] != p.width) return STATUS_UNSUPPORTED;
    AttentionStep *step = RUN_PARAMS(b, AttentionStep);
    *step = (AttentionStep){0};
    status = find_attention(b, &p, backward, &step->shared);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < count; i++) step->at[i] = run_ref(&arg[i]);
    if (p.lengths) step->lengths = run_work(b, (uint64_t)p.batch * 8);
    step->work =
        run_work(b, step->shared->own.workspace_bytes + step->shared->plan.workspace_bytes);
    step->sums = sums && step->shared->own.module.handle != NULL;
    int64_t parts = sums ? columns_count(step->shared) : 0;
    if (sums) step->columns = run_work(b, 8 * (uint64_t)(p.heads * parts * p.width));
    (void)run_step(b, attention_run, step, backward ? 4 : 1);
    if (sums && !step->sums) add_columns(b, &p, step->columns, parts);
    if (sums) add_total(b, step->columns, parts);
    b->stats.attentions++;
    return STATUS_OK;
}
Status run_bind_attention(RunBinder *b) {
    return bind_attention(b, word_f64(b->attrs[ATTR_ATTENTION_scale]),
                          b->attrs[ATTR_ATTENTION_causal] != 0, false);
}
static_assert((int)ATTR_ATTENTION_GRAD_causal == (int)ATTR_ATTENTION_GRAD_SUMS_causal,
              "ORDER attrs");
Status run_bind_attention_grad(RunBinder *b) {
    return bind_attention(b, word_f64(b->attrs[ATTR_ATTENTION_GRAD_scale]),
                          b->attrs[ATTR_ATTENTION_GRAD_causal] != 0, true);
}
