/* Convolutions through cuDNN: layers of a residual network (batch 32, bf16), forward and both
 * gradients, as programs hold them (row-major: N, C, rows, columns) and with the channels last.
 * The first engine of the heuristics that repeats its bits and only adds up products.
 *
 * Before each series, 64 elements of the result are compared with sums in double on the host. */
#include "bench/gpu_bench.h"

#include <stdio.h>
#include <string.h>

#include "gpu/cudnn_convolution.h"

enum { SIDES = 3, CHECKED = 64, SAMPLES = 15, RUNS = 20 };

typedef struct Layer {
    const char *name;
    int64_t     channels, size, outputs, window, stride;
    Dtype       dtype;
} Layer;
static const Layer layers[] = {
    {"7x7/2 3-64 224", 3, 224, 64, 7, 2, DTYPE_BF16},
    {"1x1 64-256 56", 64, 56, 256, 1, 1, DTYPE_BF16},
    {"3x3 64-64 56", 64, 56, 64, 3, 1, DTYPE_BF16},
    {"3x3/2 128-128 56", 128, 56, 128, 3, 2, DTYPE_BF16},
    {"3x3 256-256 14", 256, 14, 256, 3, 1, DTYPE_BF16},
    {"3x3 512-512 7", 512, 7, 512, 3, 1, DTYPE_BF16},
    {"3x3 64-64 56 f32", 64, 56, 64, 3, 1, DTYPE_F32},
};
static const char *const kinds[] = {"forward", "gradient of x", "gradient of w"};

typedef struct Run {
    CudnnPlan plan;
    CuPtr     at[SIDES], workspace;
} Run;
static Status run_plan(void *context, GpuStream stream, Diags *diags) {
    Run *run = context;
    return gpu_convolution_run(&run->plan, run->at, run->workspace, stream, diags);
}

static void set_strides(GpuConvolution *p, bool channels_last) {
    static const uint32_t orders[2][4] = {{3, 2, 1, 0}, {1, 3, 2, 0}};
    for (uint32_t side = 0; side < SIDES; side++) {
        int64_t size = 1;
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t axis = orders[channels_last][i];
            p->strides[side][axis] = size;
            size *= p->dims[side][axis];
        }
    }
}
static int64_t elements(const GpuConvolution *p, uint32_t side) {
    const int64_t *d = p->dims[side];
    return d[0] * d[1] * d[2] * d[3];
}

/* The element at a place of the side that is written: the sum over all places of two of x, w, y
 * that go together. */
static double element(const GpuConvolution *p, const void *const *numbers, const int64_t *at) {
    const int64_t *window = p->dims[1], stride = p->window.strides[0], pad = p->window.before[0];
    uint32_t       written = p->kind == CUDNN_CONVOLVE ? 2 : p->kind == CUDNN_CONVOLVE_X ? 0 : 1;
    int64_t        from[5] = {0, 0, 0, 0, 0}; /* n, o, c, rows and columns of y */
    int64_t to[5] = {p->dims[2][0], window[0], window[1], p->dims[2][2], p->dims[2][3]}, n, o, c;
    double  sum = 0;
#define FIX(axis, place) from[axis] = (place), to[axis] = (place) + 1
    if (written != 1) FIX(0, at[0]);
    if (written == 2) FIX(1, at[1]), FIX(3, at[2]), FIX(4, at[3]);
    if (written == 1) FIX(1, at[0]);
    if (written != 2) FIX(2, at[1]);
#undef FIX
    for (n = from[0]; n < to[0]; n++)
        for (o = from[1]; o < to[1]; o++)
            for (c = from[2]; c < to[2]; c++)
                for (int64_t i = from[3]; i < to[3]; i++)
                    for (int64_t j = from[4]; j < to[4]; j++)
                        for (int64_t k = 0; k < window[2] * window[3]; k++) {
                            int64_t a = k / window[3], e = k % window[3];
                            int64_t r = i * stride + a - pad, s = j * stride + e - pad;
                            if (written == 1 && (a != at[2] || e != at[3])) continue;
                            if (written == 0 && (r != at[2] || s != at[3])) continue;
                            if (r < 0 || s < 0 || r >= p->dims[0][2] || s >= p->dims[0][3])
                                continue;
                            const int64_t places[SIDES][4] = {
                                {n, c, r, s}, {o, c, a, e}, {n, o, i, j}};
                            double product = 1;
                            for (uint32_t side = 0; side < SIDES; side++) {
                                uint64_t place = 0;
                                if (side == written) continue;
                                for (uint32_t d = 0; d < 4; d++)
                                    place += (uint64_t)(places[side][d] * p->strides[side][d]);
                                product *= gpu_bench_number((Dtype)p->dtype, numbers[side], place);
                            }
                            sum += product;
                        }
    return sum;
}
static double check(GpuBench *b, const char *name, const GpuConvolution *p, const Run *run) {
    uint32_t    written = p->kind == CUDNN_CONVOLVE ? 2 : p->kind == CUDNN_CONVOLVE_X ? 0 : 1;
    ArenaMark   mark = arena_mark(b->arena);
    const void *numbers[SIDES];
    double      got[CHECKED], want[CHECKED];
    for (uint32_t side = 0; side < SIDES; side++)
        numbers[side] = gpu_bench_read(b, run->at[side],
                                       (uint64_t)elements(p, side) * dtype_bytes((Dtype)p->dtype));
    for (uint32_t i = 0; i < CHECKED; i++) {
        int64_t  at[4], rest = (int64_t)(i * 2654435761u) % elements(p, written);
        uint64_t place = 0;
        for (uint32_t d = 4; d-- > 0; rest /= p->dims[written][d]) {
            at[d] = rest % p->dims[written][d];
            place += (uint64_t)(at[d] * p->strides[written][d]);
        }
        got[i] = gpu_bench_number((Dtype)p->dtype, numbers[written], place);
        want[i] = element(p, numbers, at);
    }
    arena_release(b->arena, mark);
    return gpu_bench_check(b, name, got, want, CHECKED, p->dtype == DTYPE_F32 ? 1e-4 : 1e-2);
}

static void measure(GpuBench *b, GpuCudnn *cudnn, const Layer *layer, CudnnOpKind kind,
                    bool channels_last) {
    const int64_t  batch = b->bench.smoke ? 2 : 32, out = layer->size / layer->stride;
    GpuConvolution p;
    Run            run = {0};
    uint64_t       used = b->memory.used, bytes = 0;
    char           name[96];
    memset(&p, 0, sizeof p);
    memcpy(p.dims[0], (int64_t[]){batch, layer->channels, layer->size, layer->size}, 32);
    memcpy(p.dims[1], (int64_t[]){layer->outputs, layer->channels, layer->window, layer->window},
           32);
    memcpy(p.dims[2], (int64_t[]){batch, layer->outputs, out, out}, 32);
    set_strides(&p, channels_last);
    for (uint32_t i = 0; i < 2; i++) {
        p.window.before[i] = layer->window / 2;
        p.window.after[i] =
            (out - 1) * layer->stride + layer->window - layer->size - layer->window / 2;
        p.window.strides[i] = layer->stride;
        p.window.dilations[i] = 1;
    }
    p.window.axes = 2;
    p.kind = kind;
    p.dtype = (uint8_t)layer->dtype;
    (void)snprintf(name, sizeof name, "%s, %s%s", layer->name, kinds[kind - CUDNN_CONVOLVE],
                   channels_last ? ", channels last" : "");
    if (!bench_wants(&b->bench, name)) return;
    gpu_bench_must(b, gpu_convolution_plan(cudnn, b->arena, &p, 0, &b->diags, &run.plan), name);
    for (uint32_t side = 0; side < SIDES; side++) {
        uint64_t count = (uint64_t)elements(&p, side);
        run.at[side] = gpu_bench_take(b, count * dtype_bytes((Dtype)p.dtype));
        gpu_bench_random(b, run.at[side], (Dtype)p.dtype, count, 1);
        bytes += count * dtype_bytes((Dtype)p.dtype);
    }
    run.workspace = gpu_bench_take(b, run.plan.workspace_bytes + 256);
    gpu_bench_must(b, run_plan(&run, b->stream, &b->diags), name);
    double error = check(b, name, &p, &run);
    double flops = 2.0 * (double)elements(&p, 2) * (double)(elements(&p, 1) / layer->outputs);
    (void)gpu_bench_time(b, name, SAMPLES, RUNS, run_plan, &run, flops, (double)bytes, error);
    gpu_cudnn_plan_close(&run.plan);
    gpu_release(&b->memory, used);
}

int main(int argc, char **argv) {
    GpuBench b;
    GpuCudnn cudnn;
    int      status = 0;
    if (!gpu_bench_open(&b, "gpu_convolution", (const char *const[]){NULL}, argc, argv, &status))
        return status;
    gpu_bench_must(&b, gpu_cudnn_open(b.gpu, &b.cache, &b.diags, &cudnn), "cuDNN");
    for (uint32_t i = 0; i < LENGTH(layers); i++)
        for (uint32_t k = 0; k < 3; k++)
            for (uint32_t last = 0; last < 2; last++)
                measure(&b, &cudnn, &layers[i], CUDNN_CONVOLVE + k, last);
    gpu_cudnn_close(&cudnn);
    return gpu_bench_close(&b);
}
