/* Binding of operators that have no fused form to kernels of run_text.c: geometry to walks of
 * strided memory, dtypes to instances of templates.
 *
 * What only moves elements is bound by their size, and takes several at once (up to 16 bytes)
 * where sizes, strides and addresses are multiples. */
#include "gpu/run_inner.h"

enum { THREADS = 256, BLOCKS_MAX = 132 * 64 };

/* --- functions of the kit --------------------------------------------------------------------- */

const RunFunction *run_function(GpuKit *kit, GpuFamily family, String text) {
    for (const RunFunction *f = kit->functions; f != NULL; f = f->next)
        if (str_same(str_of(f->text), text)) return f;
    RunFunction *f = ARENA_NEW(kit->arena, RunFunction);
    char        *name = arena_push(kit->arena, text.count + 1, 1);
    for (size_t i = 0; i < text.count; i++) {
        char c = text.data[i];
        name[i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    }
    name[text.count] = 0;
    *f = (RunFunction){.family = family,
                       .text = str_copy(kit->arena, text).data,
                       .name = name,
                       .next = kit->functions};
    return kit->functions = f;
}

String run_args_of(const char *text) {
    static const struct {
        const char *name, *args;
    } rows[] = {
        {"copy<", "CopyArgs"},         {"turn", "TurnArgs"},        {"iota<", "IotaArgs"},
        {"gather<", "GatherArgs"},     {"key<", "KeyArgs"},         {"wide<", "ScatterArgs"},
        {"narrow<", "ScatterArgs"},    {"window<", "WindowArgs"},   {"fold<", "FoldArgs"},
        {"dot<", "DotArgs"},           {"conv<", "ConvArgs"},       {"stop<", "StopArgs"},
        {"print<", "PrintArgs"},       {"compact<", "CompactArgs"}, {"kept<", "KeptArgs"},
        {"test<", "TestArgs"},         {"lu<", "MatrixArgs"},       {"cholesky<", "MatrixArgs"},
        {"substitute<", "MatrixArgs"}, {"rows<", "RowsArgs"},       {"small<", "DotArgs"},
        {"columns<", "ColumnsArgs"},   {"total<", "TotalArgs"}};
    for (size_t i = 0; i < LENGTH(rows); i++)
        if (strncmp(text, rows[i].name, strlen(rows[i].name)) == 0) return str_of(rows[i].args);
    return STR("LineArgs");
}

/* A function and what it needs, as a module of its own: so they compile side by side. */
static String module_text(Arena *out, const RunFunction *f) {
    bool needs[FAMILY_COUNT] = {false};
    Text text = text_begin(out);
    needs[f->family] = true;
    needs[FAMILY_PRODUCT] |= needs[FAMILY_CONVOLUTION];
    needs[FAMILY_MATRIX] |= needs[FAMILY_FACTOR] || needs[FAMILY_SUBSTITUTE];
    needs[FAMILY_SCATTER] |= needs[FAMILY_SCATTER_WIDE] || needs[FAMILY_SCATTER_NARROW];
    text_add(&text, str_of(run_prelude));
    for (uint32_t i = 0; i < FAMILY_COUNT; i++)
        if (needs[i]) text_add(&text, str_of(run_texts[i]));
    text_addf(&text,
              "extern \"C\" __global__ void __launch_bounds__(256)\n"
              "%s(const __grid_constant__ %.*s args) { %s(args); }\n",
              f->name, STR_ARGS(run_args_of(f->text)), f->text);
    return text_done(&text);
}
static Status load(GpuKit *kit, RunFunction *f, String image, Diags *diags) {
    RunModule *module = ARENA_NEW(kit->arena, RunModule);
    Status     status = gpu_module_open(kit->gpu, f->name, image, diags, &module->module);
    if (status != STATUS_OK) return status;
    module->next = kit->modules;
    kit->modules = module;
    return gpu_module_kernel(&module->module, f->name, diags, &f->kernel);
}

Status run_compile(GpuKit *kit, Diags *diags) {
    uint32_t missing = 0;
    for (const RunFunction *f = kit->functions; f != NULL; f = f->next)
        missing += f->kernel.function == NULL;
    if (missing == 0) return STATUS_OK;
    Gpu          *gpu = kit->gpu;
    Scratch       scratch = scratch_begin(&kit->arena, 1);
    RunFunction **functions = ARENA_ARRAY(scratch.arena, RunFunction *, missing);
    GpuSource    *sources = ARENA_ARRAY(scratch.arena, GpuSource, missing);
    String       *images = ARENA_ARRAY_ZERO(scratch.arena, String, missing);
    GpuCompiled   compiled;
    uint32_t      count = 0;
    for (RunFunction *f = kit->functions; f != NULL; f = f->next) {
        if (f->kernel.function != NULL) continue;
        functions[count] = f;
        sources[count++] = (GpuSource){f->name, module_text(scratch.arena, f)};
    }
    Status status = gpu_compile(scratch.arena, gpu->libs, kit->options.cache, gpu->info.arch,
                                sources, count, kit->options.lanes, diags, images, &compiled);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = load(kit, functions[i], images[i], diags);
    scratch_end(scratch);
    return status;
}

/* --- launches --------------------------------------------------------------------------------- */

static Status kernel_run(const void *params, const RunCtx *ctx) {
    const RunKernel *k = params;
    ArenaMark        mark = arena_mark(ctx->scratch);
    uint8_t         *args = arena_push(ctx->scratch, k->args_bytes, 16);
    memcpy(args, k->args, k->args_bytes);
    for (uint32_t i = 0; i < k->refs_count; i++) {
        CuPtr at = run_at(k->refs[i], ctx);
        memcpy(args + k->refs_at[i], &at, sizeof at);
    }
    GpuLaunch launch = {.kernel = k->function->kernel,
                        .block = {k->block, 1, 1},
                        .args = args,
                        .args_bytes = k->args_bytes};
    memcpy(launch.grid, k->grid, sizeof launch.grid);
    Status status = gpu_launch(ctx->stream, &launch, ctx->diags);
    arena_release(ctx->scratch, mark);
    return status;
}

/* Kernels that go over elements by EACH work in any grid. */
static void kernel_text(RunBlock *block, const void *params) {
    const RunKernel *k = params;
    run_block_call(block, k->function->family, k->function->text, k->args, k->args_bytes, k->refs,
                   k->refs_at, k->refs_count);
}
RunKernel *run_kernel(RunBinder *b, GpuFamily family, String text, const void *args,
                      uint32_t args_bytes) {
    RunKernel *k = RUN_PARAMS(b, RunKernel);
    void      *copy = arena_push(b->arena, args_bytes, 16);
    memcpy(copy, args, args_bytes);
    *k = (RunKernel){.function = run_function(b->kit, family, text),
                     .grid = {1, 1, 1},
                     .block = THREADS,
                     .args = copy,
                     .args_bytes = args_bytes};
    k->step = b->steps_count;
    RunStep *step = run_step(b, kernel_run, k, 1);
    bool     each = family == FAMILY_COPY || family == FAMILY_GATHER;
    if (each && !str_starts(text, STR("turn<"))) step->text = kernel_text;
    return k;
}
void run_kernel_ref(RunKernel *kernel, uint32_t at, RunRef ref) {
    ASSERT(kernel->refs_count < RUN_REFS_MAX);
    kernel->refs[kernel->refs_count] = ref;
    kernel->refs_at[kernel->refs_count++] = at;
}
void run_grid(RunBinder *b, RunKernel *kernel, int64_t threads) {
    b->steps[kernel->step].elements = (double)threads;
    int64_t blocks = (threads + THREADS - 1) / THREADS;
    kernel->grid[0] = (uint32_t)(blocks < 1 ? 1 : blocks < BLOCKS_MAX ? blocks : BLOCKS_MAX);
}
static String text_of(RunBinder *b, const char *name, const char *argument) {
    return str_format(b->arena, "%s<%s>", name, argument);
}

/* --- walks ------------------------------------------------------------------------------------ */

void run_nd_axis(RunNd *nd, int64_t size, int64_t s0, int64_t s1, int64_t s2) {
    int64_t strides[3] = {s0, s1, s2};
    int32_t last = nd->rank - 1;
    bool    merges = nd->rank > 0;
    if (size == 1) return;
    for (int s = 0; s < 3 && merges; s++) merges = nd->strides[s][last] == strides[s] * size;
    if (!merges) nd->dims[last = nd->rank++] = 1;
    nd->dims[last] *= size;
    for (int s = 0; s < 3; s++) nd->strides[s][last] = strides[s];
}
static RunNd nd_of(const LaunchArg *arg0, const LaunchArg *arg1) {
    RunNd nd = {0};
    for (uint32_t i = 0; i < arg0->rank; i++)
        run_nd_axis(&nd, arg0->dims[i], arg0->strides[i], arg1->strides[i], 0);
    return nd;
}
/* Whether two elements can be taken as one: sides 0 and 1 are contiguous in the last axis (inner
 * ones only) and multiples of two elsewhere. */
static bool can_halve(const RunNd *nd, bool inner) {
    int32_t last = inner ? nd->rank - 1 : nd->rank;
    bool    even = last >= 0;
    if (inner && even)
        even = nd->dims[last] % 2 == 0 && nd->strides[0][last] == 1 && nd->strides[1][last] == 1;
    for (int32_t i = 0; i < last; i++)
        even &= nd->strides[0][i] % 2 == 0 && nd->strides[1][i] % 2 == 0;
    return even;
}
static void halve(RunNd *nd, bool inner) {
    int32_t last = inner ? nd->rank - 1 : nd->rank;
    if (inner) nd->dims[last] /= 2;
    for (int32_t i = 0; i < last; i++) nd->strides[0][i] /= 2, nd->strides[1][i] /= 2;
}
static bool can_double(int64_t width, uint64_t offsets) {
    return width < 16 && offsets % (uint64_t)(width * 2) == 0;
}
const char *run_word(int64_t width) {
    return width == 1 ? "u8" : width == 2 ? "i16" : width == 4 ? "u32" : width == 8 ? "u64" : "w16";
}
static int64_t nd_count(const RunNd *nd) {
    int64_t count = 1;
    for (int32_t i = 0; i < nd->rank; i++) count *= nd->dims[i];
    return count;
}

uint64_t run_offsets(const RunBinder *b, const LaunchArg *arg) {
    const Plan *plan = b->plan;
    uint64_t    offsets = arg->offset;
    while (plan->flows && arg->slot != RUN_SLOT_WORK && plan->slots.kind[arg->slot] == SLOT_ROW) {
        arg = &plan->args.arg[plan->slots.index[arg->slot]];
        offsets |= arg->offset | (uint64_t)arg->strides[0] * dtype_bytes((Dtype)arg->dtype);
    }
    return offsets;
}

/* --- copies ----------------------------------------------------------------------------------- */

typedef struct TurnArgs {
    CuPtr   y, x;
    int64_t rows, cols, y_row, x_col, y_batch, x_batch;
} TurnArgs;

/* A transposed matrix, or a batch of them; false: it is none, or small. */
static bool add_turn(RunBinder *b, const LaunchArg *y, const LaunchArg *x, const RunNd *nd,
                     int64_t width) {
    enum { SIDE = 64, BYTES_SIDE = 128, GRID_MAX = 65535 };
    int32_t  j = nd->rank - 1, i = j - 1;
    bool     batch = nd->rank == 3;
    TurnArgs args = {0};
    if (nd->rank < 2 || nd->rank > 3 || width > 4) return false;
    if (nd->strides[0][j] != 1 || nd->strides[1][i] != 1) return false;
    if (nd->dims[i] < SIDE / 2 || nd->dims[j] < SIDE / 2) return false;
    args.rows = nd->dims[i];
    args.cols = nd->dims[j];
    args.y_row = nd->strides[0][i];
    args.x_col = nd->strides[1][j];
    args.y_batch = batch ? nd->strides[0][0] : 0;
    args.x_batch = batch ? nd->strides[1][0] : 0;
    int64_t places = args.rows | args.cols | args.y_row | args.x_col | args.y_batch | args.x_batch |
                     (int64_t)(run_offsets(b, y) | run_offsets(b, x));
    bool    bytes = width == 1 && places % 4 == 0;
    int64_t side = bytes ? BYTES_SIDE : SIDE, deep = batch ? nd->dims[0] : 1;
    int64_t down = (args.rows + side - 1) / side, across = (args.cols + side - 1) / side;
    if (down > GRID_MAX || deep > GRID_MAX || across > INT32_MAX) return false;
    String     text = text_of(b, bytes ? "turn_fours" : "turn", run_word(width));
    RunKernel *k = run_kernel(b, FAMILY_COPY, text, &args, sizeof args);
    RUN_REF(k, TurnArgs, y, run_ref(y));
    RUN_REF(k, TurnArgs, x, run_ref(x));
    k->grid[0] = (uint32_t)across;
    k->grid[1] = (uint32_t)down;
    k->grid[2] = (uint32_t)deep;
    return true;
}

/* y = x, of equal sizes; starts moves the place in y (side 0) or x (side 1), within whole. */
static void add_copy(RunBinder *b, const LaunchArg *y, const LaunchArg *x, const LaunchArg *starts,
                     int32_t side, const LaunchArg *whole) {
    CopyArgs args = {.nd = nd_of(y, x), .side = side};
    int64_t  width = dtype_bytes((Dtype)x->dtype);
    if (run_elements(y) == 0) return;
    if (starts == NULL && add_turn(b, y, x, &args.nd, width)) return;
    uint64_t offsets = run_offsets(b, y) | run_offsets(b, x);
    for (; starts == NULL && can_double(width, offsets) && can_halve(&args.nd, true); width *= 2)
        halve(&args.nd, true);
    if (starts != NULL) {
        args.start_step = starts->strides[0];
        args.starts_count = whole->rank;
        for (uint32_t i = 0; i < whole->rank; i++) {
            args.most[i] = whole->dims[i] - y->dims[i];
            args.step[i] = whole->strides[i];
        }
    }
    args.count = nd_count(&args.nd);
    RunKernel *k =
        run_kernel(b, FAMILY_COPY, text_of(b, "copy", run_word(width)), &args, sizeof args);
    RUN_REF(k, CopyArgs, y, run_ref(y));
    RUN_REF(k, CopyArgs, x, run_ref(x));
    if (starts != NULL) RUN_REF(k, CopyArgs, starts, run_ref(starts));
    run_grid(b, k, args.count);
}

void run_copy(RunBinder *b, const LaunchArg *y, const LaunchArg *x) {
    if (y->slot != x->slot || y->offset != x->offset || !x->dense) add_copy(b, y, x, NULL, 0, NULL);
}
Status run_bind_copy(RunBinder *b) {
    run_copy(b, &b->outs[0], &b->args[0]);
    return STATUS_OK;
}
LaunchArg run_dense(RunBinder *b, const LaunchArg *arg) {
    LaunchArg dense = *arg;
    int64_t  *strides = ARENA_ARRAY(b->arena, int64_t, arg->rank + 1), stride = 1;
    for (uint32_t i = arg->rank; i-- > 0; stride *= arg->dims[i]) strides[i] = stride;
    RunRef at = run_work(b, (uint64_t)stride * dtype_bytes((Dtype)arg->dtype));
    dense.slot = at.slot;
    dense.offset = at.offset;
    dense.strides = strides;
    dense.dense = true;
    add_copy(b, &dense, arg, NULL, 0, NULL);
    return dense;
}

Status run_bind_concat(RunBinder *b) {
    int64_t axis = (int64_t)b->attrs[ATTR_CONCAT_axis];
    int64_t step = b->outs[0].strides[axis] * dtype_bytes((Dtype)b->outs[0].dtype);
    for (uint32_t i = 0, at = 0; i < b->operands; i++) {
        LaunchArg part = b->args[i];
        part.slot = b->outs[0].slot;
        part.offset = b->outs[0].offset + (uint64_t)(at * step);
        part.strides = b->outs[0].strides;
        add_copy(b, &part, &b->args[i], NULL, 0, NULL);
        at += (uint32_t)part.dims[axis];
    }
    return STATUS_OK;
}
Status run_bind_dynamic_slice(RunBinder *b) {
    add_copy(b, &b->outs[0], &b->args[0], &b->args[1], 1, &b->args[0]);
    return STATUS_OK;
}
Status run_bind_dynamic_update(RunBinder *b) {
    LaunchArg part = b->args[1];
    part.slot = b->outs[0].slot;
    part.offset = b->outs[0].offset;
    part.strides = b->outs[0].strides;
    (void)run_bind_copy(b);
    add_copy(b, &part, &b->args[1], &b->args[2], 0, &b->outs[0]);
    return STATUS_OK;
}

static Status add_iota(RunBinder *b, IotaArgs args) {
    const LaunchArg *y = &b->outs[0];
    if (!run_takes(y)) return STATUS_UNSUPPORTED;
    args.count = run_elements(y);
    RunKernel *k = run_kernel(b, FAMILY_COPY, text_of(b, "iota", run_dtype(y)), &args, sizeof args);
    RUN_REF(k, IotaArgs, y, run_ref(y));
    run_grid(b, k, args.count);
    return STATUS_OK;
}
Status run_bind_iota(RunBinder *b) {
    uint64_t axis = b->attrs[ATTR_IOTA_axis];
    return add_iota(
        b, (IotaArgs){.inner = b->outs[0].strides[axis], .size = b->outs[0].dims[axis], .step = 1});
}
Status run_bind_dim_size(RunBinder *b) {
    int64_t size = b->args[0].dims[b->attrs[ATTR_DIM_SIZE_axis]];
    return add_iota(b, (IotaArgs){.inner = 1, .size = 1, .base = size});
}

/* --- gather and scatter ----------------------------------------------------------------------- */

/* The lists of both operators; they stand in one order from `first`. */
typedef struct Indexed {
    int64_t  offset[LIST_MAX], collapsed[LIST_MAX], batch[LIST_MAX], index_batch[LIST_MAX];
    int64_t  map[LIST_MAX], window[SHAPE_RANK_MAX]; /* window: of the slice, by axis of x */
    uint32_t offsets, collapses, batches, maps;
} Indexed;

static bool has(const int64_t *list, uint32_t count, int64_t number) {
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == number) return true;
    return false;
}
/* near: the result of gather, the updates of scatter. */
static Indexed indexed_of(const RunBinder *b, uint32_t first, const LaunchArg *near) {
    Indexed g = {.offsets = launch_ints(b->plan, b->launch, first, g.offset)};
    g.collapses = launch_ints(b->plan, b->launch, first + 1, g.collapsed);
    g.batches = launch_ints(b->plan, b->launch, first + 2, g.batch);
    (void)launch_ints(b->plan, b->launch, first + 3, g.index_batch);
    g.maps = launch_ints(b->plan, b->launch, first + 4, g.map);
    for (uint32_t axis = 0, k = 0; axis < b->args[0].rank; axis++) {
        bool dropped = has(g.collapsed, g.collapses, axis) || has(g.batch, g.batches, axis);
        g.window[axis] = dropped ? 1 : near->dims[g.offset[k++]];
    }
    return g;
}
/* The axis of near that runs over an axis of x; -1: none. */
static int64_t near_axis(const Indexed *g, uint32_t x_axis) {
    uint32_t k = 0;
    for (uint32_t axis = 0; axis < x_axis; axis++)
        k += !has(g->collapsed, g->collapses, axis) && !has(g->batch, g->batches, axis);
    bool dropped = has(g->collapsed, g->collapses, x_axis) || has(g->batch, g->batches, x_axis);
    return dropped ? -1 : g->offset[k];
}

Status run_bind_gather(RunBinder *b) {
    const LaunchArg *x = &b->args[0], *indices = &b->args[1], *y = &b->outs[0];
    Indexed          g = indexed_of(b, ATTR_GATHER_offset_dims, y);
    uint32_t         rows = indices->rank - 1u, at = 0;
    GatherArgs       args = {.components = (int32_t)g.maps, .index_step = indices->strides[rows]};
    int64_t          width = dtype_bytes((Dtype)x->dtype);
    bool             even = true;
    for (uint32_t i = 0; i < y->rank; i++) {
        if (has(g.offset, g.offsets, i)) continue;
        int64_t x_stride = 0;
        for (uint32_t k = 0; k < g.batches; k++)
            if (g.index_batch[k] == at) x_stride = x->strides[g.batch[k]];
        run_nd_axis(&args.rows, y->dims[i], y->strides[i], x_stride, indices->strides[at]);
        at++;
    }
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        int64_t to = near_axis(&g, axis);
        if (to >= 0) run_nd_axis(&args.slice, g.window[axis], y->strides[to], x->strides[axis], 0);
    }
    for (uint32_t c = 0; c < g.maps; c++) {
        args.most[c] = x->dims[g.map[c]] - g.window[g.map[c]];
        args.step[c] = x->strides[g.map[c]];
    }
    while (can_double(width, run_offsets(b, y) | run_offsets(b, x)) &&
           can_halve(&args.slice, true) && can_halve(&args.rows, false)) {
        for (uint32_t c = 0; c < g.maps; c++) even &= args.step[c] % 2 == 0;
        if (!even) break;
        for (uint32_t c = 0; c < g.maps; c++) args.step[c] /= 2;
        halve(&args.slice, true);
        halve(&args.rows, false);
        width *= 2;
    }
    args.inner = nd_count(&args.slice);
    args.count = nd_count(&args.rows) * args.inner;
    RunKernel *k =
        run_kernel(b, FAMILY_GATHER,
                   str_format(b->arena, "gather<%s, %s>", run_word(width), run_dtype(indices)),
                   &args, sizeof args);
    RUN_REF(k, GatherArgs, y, run_ref(y));
    RUN_REF(k, GatherArgs, x, run_ref(x));
    RUN_REF(k, GatherArgs, indices, run_ref(indices));
    run_grid(b, k, args.count);
    return STATUS_OK;
}

typedef struct KeyArgs {
    CuPtr   keys, indices, marks;
    RunNd   batch, rows, window;
    int64_t count, rows_count, window_count, index_step, chunk, buckets;
    int32_t components, dests;
    int64_t most[8], step[8];
} KeyArgs;
typedef struct ScatterArgs {
    CuPtr   y, updates, keys, marks;
    RunNd   batch, rows, window, places, slice;
    int64_t places_count, rows_count, window_count, slice_count, chunk;
    int32_t dests, pad;
} ScatterArgs;
/* Places of a bucket, at most, and buckets, at least, before there are several in one; words of
 * marks of a bucket. */
enum { DESTS = 16, BUCKETS = 2048, MARK_WORDS = 32, WIDE_MIN = 32 };

/* Axes of x are batch, mapped (their positions make the place) or neither (the slice); axes of
 * indices are batch or rows. Sides: batch, rows: indices, updates, y; window: place, updates. */
static int64_t scatter_geometry(const RunBinder *b, const Indexed *g, KeyArgs *key,
                                ScatterArgs *args) {
    const LaunchArg *indices = &b->args[1], *updates = &b->args[2], *y = &b->outs[0];
    int64_t          near_row[SHAPE_RANK_MAX] = {0}, place = 1, windows[SHAPE_RANK_MAX];
    for (uint32_t i = 0, at = 0; i < updates->rank; i++)
        if (!has(g->offset, g->offsets, i)) near_row[at++] = updates->strides[i];
    for (uint32_t k = 0; k < g->batches; k++)
        run_nd_axis(&args->batch, y->dims[g->batch[k]], indices->strides[g->index_batch[k]],
                    near_row[g->index_batch[k]], y->strides[g->batch[k]]);
    for (uint32_t i = 0; i + 1 < indices->rank; i++)
        if (!has(g->index_batch, g->batches, i))
            run_nd_axis(&args->rows, indices->dims[i], indices->strides[i], near_row[i], 0);
    for (uint32_t c = g->maps; c-- > 0; place *= y->dims[g->map[c]]) windows[c] = place;
    for (uint32_t c = 0; c < g->maps; c++) {
        uint32_t axis = (uint32_t)g->map[c];
        int64_t  from = near_axis(g, axis);
        run_nd_axis(&args->window, g->window[axis], windows[c],
                    from < 0 ? 0 : updates->strides[from], 0);
        run_nd_axis(&args->places, y->dims[axis], y->strides[axis], 0, 0);
        key->most[c] = y->dims[axis] - g->window[axis];
        key->step[c] = windows[c];
    }
    for (uint32_t axis = 0; axis < y->rank; axis++) {
        int64_t from = near_axis(g, axis);
        if (from >= 0 && !has(g->map, g->maps, axis))
            run_nd_axis(&args->slice, g->window[axis], y->strides[axis], updates->strides[from], 0);
    }
    return place;
}

static void add_zeros(RunBinder *b, RunRef work, int64_t count) {
    IotaArgs   args = {.count = count, .inner = 1, .size = 1};
    RunKernel *k = run_kernel(b, FAMILY_COPY, text_of(b, "iota", "i32"), &args, sizeof args);
    RUN_REF(k, IotaArgs, y, work);
    run_grid(b, k, count);
}
Status run_bind_scatter(RunBinder *b) {
    const LaunchArg *indices = &b->args[1], *updates = &b->args[2], *y = &b->outs[0];
    Indexed          g = indexed_of(b, ATTR_SCATTER_offset_dims, updates);
    KeyArgs          key = {.components = (int32_t)g.maps};
    ScatterArgs      args = {0};
    int64_t          places = scatter_geometry(b, &g, &key, &args);
    if (!run_takes(y) || places > INT32_MAX) return STATUS_UNSUPPORTED;
    (void)run_bind_copy(b);
    key.index_step = indices->strides[indices->rank - 1];
    key.batch = args.batch;
    key.rows = args.rows;
    key.window = args.window;
    args.rows_count = key.rows_count = nd_count(&args.rows);
    args.window_count = key.window_count = nd_count(&args.window);
    args.slice_count = nd_count(&args.slice);
    args.places_count = places;
    int64_t batches = nd_count(&args.batch), keys_count = key.rows_count * key.window_count;
    key.count = batches * keys_count;
    if (key.count == 0 || args.slice_count == 0) return STATUS_OK;
    RunRef keys = run_work(b, (uint64_t)key.count * 4), marks = {0};
    bool   wide = args.slice_count >= WIDE_MIN;
    if (wide) {
        int64_t dests = places / BUCKETS;
        key.dests = args.dests = (int32_t)(dests > DESTS ? DESTS : dests < 1 ? 1 : dests);
        key.buckets = (places + key.dests - 1) / key.dests;
        key.chunk = args.chunk = (keys_count + MARK_WORDS * 1024 - 1) / (MARK_WORDS * 1024) * 32;
        marks = run_work(b, (uint64_t)(batches * key.buckets) * MARK_WORDS * 4);
        add_zeros(b, marks, batches * key.buckets * MARK_WORDS);
    }
    RunKernel *k =
        run_kernel(b, FAMILY_KEY, text_of(b, "key", run_dtype(indices)), &key, sizeof key);
    RUN_REF(k, KeyArgs, keys, keys);
    RUN_REF(k, KeyArgs, indices, run_ref(indices));
    if (wide) RUN_REF(k, KeyArgs, marks, marks);
    run_grid(b, k, key.count);
    k = run_kernel(b, wide ? FAMILY_SCATTER_WIDE : FAMILY_SCATTER_NARROW,
                   str_format(b->arena, "%s<%s, %d>", wide ? "wide" : "narrow", run_dtype(y),
                              (int)b->attrs[ATTR_SCATTER_kind]),
                   &args, sizeof args);
    RUN_REF(k, ScatterArgs, y, run_ref(y));
    RUN_REF(k, ScatterArgs, updates, run_ref(updates));
    RUN_REF(k, ScatterArgs, keys, keys);
    if (wide) RUN_REF(k, ScatterArgs, marks, marks);
    int64_t own = wide ? key.buckets : (places * args.slice_count + THREADS - 1) / THREADS;
    int64_t columns = wide ? (args.slice_count + THREADS - 1) / THREADS : 1;
    if (own > INT32_MAX || batches > 65535 || columns > 65535) return STATUS_UNSUPPORTED;
    k->grid[0] = (uint32_t)own;
    k->grid[1] = (uint32_t)columns;
    k->grid[2] = (uint32_t)batches;
    return STATUS_OK;
}

/* --- lines ------------------------------------------------------------------------------------ */

typedef struct LineArgs {
    CuPtr   y, x, ranks;
    RunNd   lines;
    int64_t count, n, y_step, x_step;
} LineArgs;

static LineArgs lines_of(const LaunchArg *y, const LaunchArg *x, uint64_t axis) {
    LineArgs args = {.n = x->dims[axis], .x_step = x->strides[axis]};
    bool     shrinks = y->rank < x->rank;
    if (!shrinks) args.y_step = y->strides[axis];
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis)
            run_nd_axis(&args.lines, x->dims[i], y->strides[i - (shrinks && i > axis)],
                        x->strides[i], 0);
    args.count = nd_count(&args.lines);
    return args;
}
static RunKernel *add_lines(RunBinder *b, String text, const LineArgs *args, RunRef y, RunRef x) {
    RunKernel *k = run_kernel(b, FAMILY_LINES, text, args, sizeof *args);
    RUN_REF(k, LineArgs, y, y);
    RUN_REF(k, LineArgs, x, x);
    run_grid(b, k, args->count * args->n);
    return k;
}

Status run_bind_arg_reduce(RunBinder *b) {
    const LaunchArg *x = &b->args[0];
    LineArgs         args = lines_of(&b->outs[0], x, b->attrs[ATTR_ARG_REDUCE_axis]);
    bool             most = b->attrs[ATTR_ARG_REDUCE_kind] == REDUCE_MAX;
    int64_t          blocks = (args.count * 32 + THREADS - 1) / THREADS;
    if (!run_takes(x) || blocks > INT32_MAX || args.n == 0) return STATUS_UNSUPPORTED;
    RunKernel *k =
        add_lines(b, str_format(b->arena, "arg<%s, %s>", run_dtype(x), most ? "true" : "false"),
                  &args, run_ref(&b->outs[0]), run_ref(x));
    k->grid[0] = (uint32_t)blocks;
    return STATUS_OK;
}
Status run_bind_cumulative(RunBinder *b) {
    const LaunchArg *x = &b->args[0];
    LineArgs         args = lines_of(&b->outs[0], x, b->attrs[ATTR_CUMULATIVE_axis]);
    if (!run_takes(x)) return STATUS_UNSUPPORTED;
    RunKernel *k = add_lines(b,
                             str_format(b->arena, "running<%s, %d, %s>", run_dtype(x),
                                        (int)b->attrs[ATTR_CUMULATIVE_kind],
                                        b->attrs[ATTR_CUMULATIVE_reverse] ? "true" : "false"),
                             &args, run_ref(&b->outs[0]), run_ref(x));
    run_grid(b, k, args.count * THREADS);
    return STATUS_OK;
}
/* Places by comparing each element with all of its line: quadratic, but each on its own. */
Status run_bind_sort(RunBinder *b) {
    uint64_t axis = b->attrs[ATTR_SORT_axis];
    LineArgs args = lines_of(&b->outs[0], &b->args[0], axis);
    bool     descending = b->attrs[ATTR_SORT_descending] != 0;
    if (!run_takes(&b->args[0])) return STATUS_UNSUPPORTED;
    RunRef ranks = run_work(b, (uint64_t)(args.count * args.n) * 8);
    (void)add_lines(
        b,
        str_format(b->arena, "rank<%s, %s>", run_dtype(&b->args[0]), descending ? "true" : "false"),
        &args, ranks, run_ref(&b->args[0]));
    for (uint32_t i = 0; i < b->operands; i++) {
        args = lines_of(&b->outs[i], &b->args[i], axis);
        int64_t    width = dtype_bytes((Dtype)b->args[i].dtype);
        RunKernel *k = add_lines(b, text_of(b, "place", run_word(width)), &args,
                                 run_ref(&b->outs[i]), run_ref(&b->args[i]));
        RUN_REF(k, LineArgs, ranks, ranks);
    }
    return STATUS_OK;
}

/* --- windows ---------------------------------------------------------------------------------- */

typedef struct WindowArgs {
    CuPtr   y, x;
    int64_t count, in_plane, out_plane, elements;
    int32_t axes, pad;
    int64_t in[8], out[8], window[8], stride[8], low[8], dilation[8];
    double  real_start;
    int64_t int_start;
} WindowArgs;

static void set_start(WindowArgs *args, ReduceKind kind, Dtype dtype) {
    bool     most = kind == REDUCE_MAX || kind == REDUCE_ARGMAX;
    bool     unsigned_ = dtype_infos[dtype].class == DTYPE_CLASS_UINT;
    uint32_t bits = dtype_bytes(dtype) * 8;
    uint64_t top = unsigned_ ? UINT64_MAX >> (64 - bits) : UINT64_MAX >> (65 - bits);
    if (kind == REDUCE_SUM || kind == REDUCE_PROD) {
        args->int_start = kind == REDUCE_PROD;
        args->real_start = kind == REDUCE_PROD;
        return;
    }
    args->real_start = most ? -__builtin_inf() : __builtin_inf();
    args->int_start = !most ? (int64_t)top : unsigned_ ? 0 : -(int64_t)top - 1;
}

Status run_bind_window(RunBinder *b) {
    const LaunchArg *x = &b->args[0], *y = &b->outs[0];
    int64_t          window[LIST_MAX], stride[LIST_MAX], low[LIST_MAX], dilation[LIST_MAX];
    ReduceKind       kind = (ReduceKind)b->attrs[ATTR_REDUCE_WINDOW_kind];
    WindowArgs       args = {.count = run_elements(y), .elements = 1};
    args.in_plane = args.out_plane = 1;
    if (!run_takes(x) || kind == REDUCE_AND || kind == REDUCE_OR) return STATUS_UNSUPPORTED;
    uint32_t axes = launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_window, window);
    (void)launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_strides, stride);
    (void)launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_low, low);
    bool dilated = launch_ints(b->plan, b->launch, ATTR_REDUCE_WINDOW_dilation, dilation) > 0;
    args.axes = (int32_t)axes;
    for (uint32_t i = 0; i < axes; i++) {
        args.in[i] = x->dims[x->rank - axes + i];
        args.out[i] = y->dims[y->rank - axes + i];
        args.window[i] = window[i];
        args.stride[i] = stride[i];
        args.low[i] = low[i];
        args.dilation[i] = dilated ? dilation[i] : 1;
        args.in_plane *= args.in[i];
        args.out_plane *= args.out[i];
        args.elements *= window[i];
    }
    set_start(&args, kind, (Dtype)x->dtype);
    RunKernel *k = run_kernel(b, FAMILY_WINDOW,
                              str_format(b->arena, "window<%s, %d>", run_dtype(x), (int)kind),
                              &args, sizeof args);
    RUN_REF(k, WindowArgs, y, run_ref(y));
    RUN_REF(k, WindowArgs, x, run_ref(x));
    run_grid(b, k, args.count);
    return STATUS_OK;
}

/* --- asserts ---------------------------------------------------------------------------------- */

typedef struct StopStep {
    const RunFunction *alone, *conditional;
    RunRef             holds;
    StopArgs           args;
} StopStep;

static Status stop_run(const void *params, const RunCtx *ctx) {
    const StopStep *step = params;
    StopArgs       *args = ARENA_NEW(ctx->scratch, StopArgs);
    *args = step->args;
    args->flag = ctx->kit->work.base;
    args->holds = run_at(step->holds, ctx);
    args->condition = ctx->condition;
    GpuLaunch launch = {.kernel = step->alone->kernel,
                        .grid = {1, 1, 1},
                        .block = {THREADS, 1, 1},
                        .args = args,
                        .args_bytes = sizeof *args};
    if (ctx->condition == 0) return gpu_launch(ctx->stream, &launch, ctx->diags);
    launch.kernel = step->conditional->kernel;
    *ctx->out_stop = launch;
    return STATUS_OK;
}

Status run_bind_assert(RunBinder *b) {
    const LaunchArg *x = &b->args[0];
    StopStep        *step = RUN_PARAMS(b, StopStep);
    String conditional = str_format(b->arena, "stop<%d>", (int)b->kit->gpu->info.conditions);
    if (x->dtype != DTYPE_BOOL) return STATUS_UNSUPPORTED;
    *step = (StopStep){.alone = run_function(b->kit, FAMILY_STOP, STR("stop<ALONE>")),
                       .conditional = run_function(b->kit, FAMILY_STOP, conditional),
                       .holds = run_ref(x),
                       .args = {.nd = nd_of(x, x), .launch = b->launch}};
    step->args.count = nd_count(&step->args.nd);
    run_step(b, stop_run, step, 1)->stops = true;
    return STATUS_OK;
}
