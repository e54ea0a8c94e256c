/* Binding of convolutions: to cuDNN, as the forward pass or as the gradient of one of its operands,
 * whichever a launch is; what cuDNN does not take goes to tiles of our own.
 *
 * Gradients arrive as convolutions too. One of spread x is the gradient of a strided convolution's
 * x, if its w is read with inputs and outputs exchanged and taps reversed. One whose window is
 * larger than its result is the gradient of w, if batch and channels of x are exchanged. */
#include "gpu/run_inner.h"

enum { X, W, Y, SIDES, SPATIAL = CUDNN_SPATIAL_MAX };

typedef struct Geometry { /* by spatial axis */
    int64_t  stride[LIST_MAX], low[LIST_MAX], xd[LIST_MAX], wd[LIST_MAX], groups;
    uint32_t axes;
} Geometry;

static Geometry geometry_of(const RunBinder *b) {
    Geometry g = {.axes = b->args[X].rank - 2u,
                  .groups = (int64_t)b->attrs[ATTR_CONVOLUTION_groups]};
    (void)launch_ints(b->plan, b->launch, ATTR_CONVOLUTION_strides, g.stride);
    (void)launch_ints(b->plan, b->launch, ATTR_CONVOLUTION_low, g.low);
    bool spread = launch_ints(b->plan, b->launch, ATTR_CONVOLUTION_x_dilation, g.xd) > 0;
    bool apart = launch_ints(b->plan, b->launch, ATTR_CONVOLUTION_w_dilation, g.wd) > 0;
    for (uint32_t i = 0; i < g.axes; i++) {
        if (!spread) g.xd[i] = 1;
        if (!apart) g.wd[i] = 1;
    }
    return g;
}
static int64_t reach(int64_t taps, int64_t dilation) { return (taps - 1) * dilation + 1; }

/* --- tiles of our own ------------------------------------------------------------------------- */

typedef struct ConvArgs {
    Tiles   t;
    CuPtr   x, w;
    int64_t groups, channels, in_size, out_size, window_size;
    int32_t axes, pad;
    int64_t in[6], out[6], window[6], stride[6], low[6], xd[6], wd[6];
} ConvArgs;

static Status bind_tiles(RunBinder *b, const Geometry *g) {
    const LaunchArg *y = &b->outs[0];
    LaunchArg        x = b->args[X], w = b->args[W];
    ConvArgs         args = {.groups = g->groups, .channels = w.dims[1], .axes = (int32_t)g->axes};
    if (g->axes > LENGTH(args.in)) return STATUS_UNSUPPORTED;
    if (!x.dense) x = run_dense(b, &x);
    if (!w.dense) w = run_dense(b, &w);
    args.in_size = args.out_size = args.window_size = 1;
    for (uint32_t i = 0; i < g->axes; i++) {
        args.in_size *= args.in[i] = x.dims[i + 2];
        args.out_size *= args.out[i] = y->dims[i + 2];
        args.window_size *= args.window[i] = w.dims[i + 2];
        args.stride[i] = g->stride[i];
        args.low[i] = g->low[i];
        args.xd[i] = g->xd[i];
        args.wd[i] = g->wd[i];
    }
    args.t = (Tiles){.m = w.dims[0] / args.groups,
                     .n = x.dims[0] * args.out_size,
                     .k = args.channels * args.window_size};
    int64_t    blocks = run_tiles_blocks(&args.t, args.groups);
    RunKernel *k;
    Status     status =
        run_tiles(b, FAMILY_CONVOLUTION, "conv", &args, sizeof args, &args.t, blocks, &k);
    if (status != STATUS_OK) return status;
    RUN_REF(k, ConvArgs, x, run_ref(&x));
    RUN_REF(k, ConvArgs, w, run_ref(&w));
    return STATUS_OK;
}

/* --- which convolution of cuDNN's it is ------------------------------------------------------- */

/* x, w, y as cuDNN has them: views of the launch's operands, before any copy. */
typedef struct Form {
    CudnnOpKind kind;
    CudnnWindow window;
    LaunchArg   sides[SIDES];
    int64_t     dims[SIDES][SHAPE_RANK_MAX], strides[SIDES][SHAPE_RANK_MAX];
} Form;

static void set_side(Form *f, uint32_t side, const LaunchArg *arg) {
    f->sides[side] = *arg;
    memcpy(f->dims[side], arg->dims, sizeof *arg->dims * arg->rank);
    memcpy(f->strides[side], arg->strides, sizeof *arg->strides * arg->rank);
}
/* The axes before the spatial ones, anew. Three of them are two once the side was copied: the
 * middle one goes with the first one of w, the second one of x. */
typedef struct Axis {
    int64_t size, stride;
} Axis;
static void set_axes(Form *f, uint32_t side, const Axis *axes, uint32_t count, uint32_t spatial) {
    int64_t dims[SHAPE_RANK_MAX], strides[SHAPE_RANK_MAX];
    for (uint32_t i = 0; i < count; i++) dims[i] = axes[i].size, strides[i] = axes[i].stride;
    memcpy(dims + count, f->dims[side] + 2, sizeof *dims * spatial);
    memcpy(strides + count, f->strides[side] + 2, sizeof *strides * spatial);
    memcpy(f->dims[side], dims, sizeof dims);
    memcpy(f->strides[side], strides, sizeof strides);
    f->sides[side].rank = (uint8_t)(count + spatial);
}
static void swap_axes(Form *f, uint32_t side) {
    Axis axes[] = {{f->dims[side][1], f->strides[side][1]},
                   {f->dims[side][0], f->strides[side][0]}};
    set_axes(f, side, axes, 2, f->sides[side].rank - 2u);
}

/* What is cut off x, so that no padding is negative; false: nothing is left of it. */
static bool crop(Form *f, uint32_t i) {
    LaunchArg *x = &f->sides[X];
    int64_t   *before = &f->window.before[i], *after = &f->window.after[i];
    int64_t   *size = &f->dims[X][i + 2];
    if (*before < 0) {
        *size += *before;
        x->offset += (uint64_t)(-*before * f->strides[X][i + 2]) * dtype_bytes((Dtype)x->dtype);
        *before = 0;
    }
    if (*after < 0) *size += *after, *after = 0;
    return *size > 0;
}
/* Padding of an axis of x such that y has its size; false: nothing is left of x. */
static bool set_window(Form *f, uint32_t i, int64_t stride, int64_t dilation, int64_t low) {
    int64_t last = (f->dims[Y][i + 2] - 1) * stride + reach(f->dims[W][i + 2], dilation);
    f->window.strides[i] = stride;
    f->window.dilations[i] = dilation;
    f->window.before[i] = low;
    f->window.after[i] = last - f->dims[X][i + 2] - low;
    return crop(f, i);
}
static bool form_forward(const RunBinder *b, const Geometry *g, Form *f) {
    set_side(f, X, &b->args[X]);
    set_side(f, W, &b->args[W]);
    set_side(f, Y, &b->outs[0]);
    f->kind = CUDNN_CONVOLVE;
    bool good = true;
    for (uint32_t i = 0; i < g->axes; i++)
        good &= g->xd[i] == 1 && set_window(f, i, g->stride[i], g->wd[i], g->low[i]);
    return good;
}
/* The gradient of x: y of the launch from its x, which is cuDNN's y. */
static bool form_x(const RunBinder *b, const Geometry *g, Form *f) {
    set_side(f, X, &b->outs[0]);
    set_side(f, W, &b->args[W]);
    set_side(f, Y, &b->args[X]);
    f->kind = CUDNN_CONVOLVE_X;
    bool       good = true;
    LaunchArg *w = &f->sides[W];
    for (uint32_t i = 0; i < g->axes; i++) {
        int64_t *taps = &f->dims[W][i + 2], *step = &f->strides[W][i + 2];
        int64_t  far = reach(*taps, g->wd[i]), before = far - 1 - g->low[i];
        int64_t  last = (f->dims[Y][i + 2] - 1) * g->xd[i] + far;
        int64_t  after = last - f->dims[X][i + 2] - before;
        good &= g->stride[i] == 1 && before >= 0 && after > -g->xd[i];
        f->window.strides[i] = g->xd[i];
        f->window.dilations[i] = g->wd[i];
        f->window.before[i] = before;
        f->window.after[i] = after > 0 ? after : 0;
        w->offset += (uint64_t)((*taps - 1) * *step) * dtype_bytes((Dtype)w->dtype);
        *step = -*step;
    }
    w->dense = false; /* taps are reversed */
    int64_t    outputs = f->dims[W][0] / g->groups, inputs = f->dims[W][1];
    const Axis axes[] = {{g->groups, outputs * f->strides[W][0]},
                         {inputs, f->strides[W][1]},
                         {outputs, f->strides[W][0]}};
    set_axes(f, W, axes, 3, g->axes);
    return good;
}
/* The gradient of w: the launch has batch as its channels, channels as its batch. */
static bool form_w(const RunBinder *b, const Geometry *g, Form *f) {
    set_side(f, X, &b->args[X]);
    set_side(f, W, &b->outs[0]);
    set_side(f, Y, &b->args[W]);
    f->kind = CUDNN_CONVOLVE_W;
    int64_t batch = f->dims[X][1] / g->groups;
    bool    good = true;
    for (uint32_t i = 0; i < g->axes; i++) /* steps and dilations have changed places */
        good &= g->xd[i] == 1 && set_window(f, i, g->wd[i], g->stride[i], g->low[i]);
    const Axis axes[] = {{batch, f->strides[X][1]},
                         {g->groups, batch * f->strides[X][1]},
                         {f->dims[X][0], f->strides[X][0]}};
    if (g->groups > 1)
        set_axes(f, X, axes, 3, g->axes);
    else
        swap_axes(f, X);
    swap_axes(f, W);
    swap_axes(f, Y);
    return good;
}
static bool form_of(const RunBinder *b, const Geometry *g, Form *f) {
    const LaunchArg *w = &b->args[W], *y = &b->outs[0];
    int64_t          window = 1, out = 1;
    bool             spread = false;
    *f = (Form){0};
    f->window.axes = g->axes;
    for (uint32_t i = 0; i < g->axes; i++) {
        window *= w->dims[i + 2];
        out *= y->dims[i + 2];
        spread |= g->xd[i] != 1;
    }
    if (spread) return form_x(b, g, f);
    return window > out ? form_w(b, g, f) : form_forward(b, g, f);
}

/* --- binding ---------------------------------------------------------------------------------- */

typedef struct ConvStep {
    const CudnnPlan *plan;
    RunRef           at[SIDES], work;
} ConvStep;

static Status convolution_run(const void *params, const RunCtx *ctx) {
    const ConvStep *step = params;
    CuPtr           at[SIDES];
    for (uint32_t side = 0; side < SIDES; side++) at[side] = run_at(step->at[side], ctx);
    return gpu_convolution_run(step->plan, at, run_at(step->work, ctx), ctx->stream, ctx->diags);
}

/* STATUS_UNSUPPORTED adds nothing to the diagnostics: tiles of our own do what cuDNN does not. */
static Status find_convolution(RunBinder *b, const GpuConvolution *problem,
                               const CudnnPlan **out_plan) {
    GpuKit *kit = b->kit;
    for (RunConvolution *c = kit->convolutions; c != NULL; c = c->next) {
        *out_plan = &c->plan;
        if (memcmp(&c->problem, problem, sizeof *problem) == 0)
            return c->can ? STATUS_OK : STATUS_UNSUPPORTED;
    }
    RunConvolution *c = ARENA_NEW(kit->arena, RunConvolution);
    Diags           heard;
    *c = (RunConvolution){.next = kit->convolutions};
    memcpy(&c->problem, problem, sizeof *problem);
    diags_open(&heard, NULL);
    Status status = gpu_convolution_plan(&kit->cudnn, kit->arena, problem, 0, &heard, &c->plan);
    bool   fails = status != STATUS_OK && status != STATUS_UNSUPPORTED;
    if (fails) diags_copy_all(b->diags, &heard);
    diags_close(&heard);
    if (fails) return status;
    c->can = status == STATUS_OK;
    kit->convolutions = c;
    *out_plan = &c->plan;
    return status;
}

/* Whether memory is row-major, or has the channels last: what engines take. */
static bool is_packed(const int64_t *dims, const int64_t *strides, uint32_t rank) {
    bool    rows = true, channels = dims[1] == 1 || strides[1] == 1;
    int64_t size = 1, last = dims[1];
    for (uint32_t i = rank; i-- > 0; size *= dims[i]) rows &= dims[i] == 1 || strides[i] == size;
    for (uint32_t i = rank; i-- > 0;) {
        if (i == 1) continue;
        channels &= dims[i] == 1 || strides[i] == last;
        last *= dims[i];
    }
    return rows || channels;
}
/* Whether a side must be copied for cuDNN. */
static bool is_apart(const RunBinder *b, const Form *f, uint32_t side) {
    const LaunchArg *arg = &f->sides[side];
    return arg->rank != f->window.axes + 2 ||
           !is_packed(f->dims[side], f->strides[side], arg->rank) || run_offsets(b, arg) % 16 != 0;
}
static void set_dense(int64_t *strides, const int64_t *dims, uint32_t rank) {
    int64_t size = 1;
    for (uint32_t i = rank; i-- > 0; size *= dims[i]) strides[i] = size;
}
/* cuDNN's axes of a side: parts of an axis that a copy joins are one. */
static void merge(const Form *f, uint32_t side, const int64_t *steps, int64_t *dims,
                  int64_t *strides) {
    uint32_t rank = f->window.axes + 2, joined = side == W ? 0 : 1;
    bool     parts = f->sides[side].rank > rank;
    for (uint32_t i = 0, k = 0; i < rank; i++, k++) {
        dims[i] = f->dims[side][k];
        if (parts && i == joined) dims[i] *= f->dims[side][++k];
        strides[i] = steps[k];
    }
}

static Status bind_cudnn(RunBinder *b, const Geometry *g) {
    const LaunchArg *y = &b->outs[0];
    Form             f;
    GpuConvolution   p;
    bool             apart[SIDES];
    if (!gpu_kit_has_cudnn(b->kit) || gpu_cudnn_type((Dtype)y->dtype) < 0 || g->axes == 0 ||
        g->axes > SPATIAL || run_elements(y) == 0 || run_offsets(b, y) % 16 != 0 ||
        run_elements(&b->args[X]) == 0 || run_elements(&b->args[W]) == 0 || !form_of(b, g, &f))
        return STATUS_UNSUPPORTED;
    memset(&p, 0, sizeof p);
    for (uint32_t side = 0; side < SIDES; side++) {
        int64_t steps[SHAPE_RANK_MAX];
        f.sides[side].dims = f.dims[side];
        f.sides[side].strides = f.strides[side];
        apart[side] = is_apart(b, &f, side);
        memcpy(steps, f.strides[side], sizeof steps);
        if (apart[side]) set_dense(steps, f.dims[side], f.sides[side].rank);
        merge(&f, side, steps, p.dims[side], p.strides[side]);
    }
    p.window = f.window;
    p.kind = f.kind;
    p.dtype = y->dtype;
    p.tf32 = b->kit->options.tf32 && y->dtype == DTYPE_F32;
    ConvStep *step = RUN_PARAMS(b, ConvStep);
    Status    status = find_convolution(b, &p, &step->plan);
    if (status != STATUS_OK) return status;
    uint32_t written = f.kind == CUDNN_CONVOLVE ? Y : f.kind == CUDNN_CONVOLVE_X ? X : W;
    for (uint32_t side = 0; side < SIDES; side++) {
        LaunchArg *arg = &f.sides[side];
        if (apart[side] && side != written) *arg = run_dense(b, arg);
        step->at[side] = run_ref(arg);
    }
    if (apart[written])
        step->at[written] = run_work(b, (uint64_t)run_elements(y) * dtype_bytes((Dtype)y->dtype));
    step->work = run_work(b, step->plan->workspace_bytes);
    (void)run_step(b, convolution_run, step, 4);
    b->stats.convolutions++;
    if (!apart[written]) return STATUS_OK;
    /* Dense in the order of cuDNN's axes; here the first two are exchanged. */
    LaunchArg made = *y;
    int64_t  *strides = ARENA_ARRAY(b->arena, int64_t, SHAPE_RANK_MAX);
    set_dense(strides, f.dims[written], y->rank);
    int64_t first = strides[0];
    strides[0] = strides[1], strides[1] = first;
    made.strides = strides;
    made.dense = false;
    made.slot = step->at[written].slot, made.offset = step->at[written].offset;
    run_copy(b, y, &made);
    return STATUS_OK;
}

Status run_bind_convolution(RunBinder *b) {
    const Geometry g = geometry_of(b);
    Status         status = bind_cudnn(b, &g);
    return status == STATUS_UNSUPPORTED ? bind_tiles(b, &g) : status;
}
