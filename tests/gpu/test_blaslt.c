/* Every kind of product and epilogue on a device against double precision on the host: odd and even
 * sizes, both storage orders, batches, accumulation, all dtypes, fp8 with factors and amax. */
#include "device.h"
#include "gpu/blaslt.h"

typedef struct Product {
    Device       *d;
    GpuBlas       blas;
    GpuMatmulPlan plan;
    GpuMatmulArgs args;
    GpuMatmul     p;
    void         *a, *b, *before, *bias, *aux; /* on the host, before the run */
    double       *want, *want_bias, *want_aux;
    float        *scales[2]; /* of a, of b; NULL: one */
} Product;

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
static double gelu_slope(double x) {
    double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
}

/* Of a row or column and a place along the sum, as GpuScales lays them out. */
static uint64_t scale_at(const GpuMatmul *p, uint32_t side, uint64_t i, uint64_t l) {
    uint32_t mode = side == 0 ? p->a_scales : p->b_scales;
    uint64_t blocks = (p->k + 127) / 128;
    if (mode == GPU_SCALES_ONE) return 0;
    if (mode == GPU_SCALES_ROWS) return l / 128 * (side == 0 ? p->m : p->n) + i;
    return i / 128 * ((blocks + 3) / 4 * 4) + l / 128;
}
/* Numbers for an operand in 8-bit floats, and for what is added to rows of fours. */
static CuPtr push_scales(Device *d, Product *t, uint32_t side) {
    const GpuMatmul *p = &t->p;
    uint64_t         last = scale_at(p, side, (side == 0 ? p->m : p->n) - 1, p->k - 1);
    uint64_t         count = last / 4 * 4 + 4;
    CuPtr            at = device_poisoned(d, count * 4);
    t->scales[side] = arena_push(d->arena, count * 4, 16);
    for (uint64_t i = 0; i < count; i++)
        t->scales[side][i] = (side == 0 ? 0.5F : 4) * (1 + (float)(i * 37 % 11));
    EXPECT(device_ok(d, gpu_copy_in(d->stream, at, t->scales[side], count * 4, &d->diags)));
    return at;
}

static double element_of(const Product *t, bool of_a, uint64_t batch, uint64_t row,
                         uint64_t column) {
    const GpuMatmul *p = &t->p;
    uint64_t         rows = of_a ? p->m : p->k, columns = of_a ? p->k : p->n;
    uint64_t at = (of_a ? p->a_across : p->b_across) ? column * rows + row : row * columns + column;
    double   x =
        device_number((Dtype)(of_a ? p->a : p->b), of_a ? t->a : t->b, batch * rows * columns + at);
    if (t->scales[0] == NULL) return x;
    return x * (double)(of_a ? t->scales[0][scale_at(p, 0, row, column)]
                             : t->scales[1][scale_at(p, 1, column, row)]);
}

/* want, want_bias and want_aux by the definition in blaslt.h. */
static void compute(Product *t) {
    const GpuMatmul *p = &t->p;
    uint32_t         e = p->epilogue;
    uint64_t         batch = p->batch ? p->batch : 1;
    for (uint64_t z = 0; z < batch; z++)
        for (uint64_t i = 0; i < p->m; i++)
            for (uint64_t j = 0; j < p->n; j++) {
                uint64_t at = (z * p->m + i) * p->n + j;
                double   x = 0;
                for (uint64_t l = 0; l < p->k; l++)
                    x += element_of(t, true, z, i, l) * element_of(t, false, z, l, j);
                x *= p->alpha != 0 ? p->alpha : 1;
                if (e & GPU_EPILOGUE_BIAS) x += device_number((Dtype)p->bias, t->bias, j);
                if (t->want_aux != NULL) t->want_aux[at] = x;
                if (e & GPU_EPILOGUE_GELU) x = gelu(x);
                if (e & GPU_EPILOGUE_RELU) x = x > 0 ? x : 0;
                if (e & GPU_EPILOGUE_DGELU) x *= gelu_slope(device_number((Dtype)p->d, t->aux, at));
                if (p->accumulate) x += device_number((Dtype)p->d, t->before, at);
                t->want[at] = x;
                if (e & GPU_EPILOGUE_DBIAS) t->want_bias[j] += x;
            }
    if (e & GPU_EPILOGUE_SUM_A)
        for (uint64_t i = 0; i < p->m; i++)
            for (uint64_t l = 0; l < p->k; l++) t->want_bias[i] += element_of(t, true, 0, i, l);
    if (e & GPU_EPILOGUE_SUM_B)
        for (uint64_t j = 0; j < p->n; j++)
            for (uint64_t l = 0; l < p->k; l++) t->want_bias[j] += element_of(t, false, 0, l, j);
}

/* Of the norm: rounding of the result, or of the operands, or what the matrix units drop. */
static double bound_of(const GpuMatmul *p) {
    if (p->d == DTYPE_F64) return 1e-13;
    if (p->d == DTYPE_BF16 || dtype_bytes((Dtype)p->a) == 1) return 6e-3;
    if (p->d == DTYPE_F16 || p->tf32) return 1e-3;
    return p->a == DTYPE_F32 ? 1e-5 : 1e-4;
}

/* Runs one problem, first as the heuristics say, then measured. */
static void check(Device *d, GpuBlas *blas, GpuMatmul p) {
    uint64_t batch = p.batch ? p.batch : 1, d_count = batch * p.m * p.n, mark = d->memory.used;
    uint64_t d_bytes = d_count * dtype_bytes((Dtype)p.d);
    uint64_t aux_bytes = gpu_matmul_aux_bytes(&p), bias_bytes = gpu_matmul_bias_bytes(&p);
    if (p.bias == DTYPE_NIL) p.bias = p.d;
    uint64_t  bias_count = bias_bytes / dtype_bytes((Dtype)p.bias);
    ArenaMark host = arena_mark(d->arena);
    String    name = gpu_matmul_text(d->arena, &p);
    Product   t = {.d = d, .p = p};
    bool      writes_aux = p.epilogue & GPU_EPILOGUE_AUX,
         writes_bias = !(p.epilogue & GPU_EPILOGUE_BIAS);
    t.args.a = device_numbers(d, (Dtype)p.a, batch * p.m * p.k, 1, &t.a);
    t.args.b = device_numbers(d, (Dtype)p.b, batch * p.k * p.n, 0.3, &t.b);
    t.args.d = device_numbers(d, (Dtype)p.d, d_count, 1, &t.before);
    if (bias_bytes) t.args.bias = device_numbers(d, (Dtype)p.bias, bias_count, 1, &t.bias);
    if (aux_bytes) t.args.aux = device_numbers(d, DTYPE_BF16, aux_bytes / 2, 1, &t.aux);
    if (p.a == DTYPE_F8E4M3 || p.a == DTYPE_F8E5M2) {
        t.args.a_scale = push_scales(d, &t, 0);
        t.args.b_scale = push_scales(d, &t, 1);
        if (p.a_scales == GPU_SCALES_ONE) { /* as near as delay.c places them */
            t.args.b_scale = t.args.a_scale + 16;
            EXPECT(device_ok(d, gpu_copy_in(d->stream, t.args.b_scale, t.scales[1], 4, &d->diags)));
        }
    }
    t.args.workspace_bytes = blas->workspace_max;
    t.args.workspace = device_poisoned(d, t.args.workspace_bytes);
    t.want = ARENA_ARRAY_ZERO(d->arena, double, d_count);
    t.want_bias = ARENA_ARRAY_ZERO(d->arena, double, bias_count);
    if (writes_aux && p.epilogue & GPU_EPILOGUE_GELU)
        t.want_aux = ARENA_ARRAY_ZERO(d->arena, double, d_count);
    compute(&t);
    bool planned = device_ok(d, gpu_matmul_plan(blas, &p, &d->diags, &t.plan));
    for (int tuned = 0; tuned < 2 && planned; tuned++) {
        if (tuned)
            EXPECT(device_ok(d, gpu_matmul_tune(blas, &t.plan, &t.args, d->stream, &d->diags)));
        EXPECT(device_ok(d, gpu_copy_in(d->stream, t.args.d, t.before, d_bytes, &d->diags)));
        if (!p.accumulate)
            EXPECT(device_ok(d, gpu_fill(d->stream, t.args.d, 0xFF, d_bytes, &d->diags)));
        if (bias_bytes && writes_bias)
            EXPECT(device_ok(d, gpu_fill(d->stream, t.args.bias, 0xFF, bias_bytes, &d->diags)));
        EXPECT(device_ok(d, gpu_matmul_run(blas, &t.plan, &t.args, d->stream, &d->diags)));
        double bound = bound_of(&p);
        double error = device_error((Dtype)p.d, device_read(d, t.args.d, d_bytes), t.want, d_count);
        if (!EXPECT(error < bound)) printf("\n  %s: error %g", name.data, error);
        if (bias_bytes && writes_bias) {
            error = device_error((Dtype)p.bias, device_read(d, t.args.bias, bias_bytes),
                                 t.want_bias, bias_count);
            if (!EXPECT(error < 2 * bound)) printf("\n  %s: bias error %g", name.data, error);
        }
        if (t.want_aux != NULL) {
            error = device_error((Dtype)p.d, device_read(d, t.args.aux, aux_bytes), t.want_aux,
                                 d_count);
            if (!EXPECT(error < bound)) printf("\n  %s: aux error %g", name.data, error);
        }
    }
    EXPECT(planned);
    if (!planned) printf("\n  no plan for %s", name.data);
    diags_clear(&d->diags);
    gpu_release(&d->memory, mark);
    arena_release(d->arena, host);
}

static GpuMatmul problem(Dtype dtype, uint64_t m, uint64_t n, uint64_t k) {
    return (GpuMatmul){
        .m = m, .n = n, .k = k, .a = (uint8_t)dtype, .b = (uint8_t)dtype, .d = (uint8_t)dtype};
}
#define BLAS(d, blas)                                                                              \
    DEVICE(d);                                                                                     \
    GpuBlas blas;                                                                                  \
    if (gpu_libs_need(d.libs, GPU_LIBRARY_BLASLT, &d.diags) != STATUS_OK)                          \
        SKIP("cuBLASLt is not here");                                                              \
    REQUIRE(device_ok(&d, gpu_blas_open(d.gpu, NULL, &d.diags, &blas)))

TEST(blaslt_products_of_all_dtypes_orders_and_batches) {
    static const Dtype dtypes[] = {DTYPE_BF16, DTYPE_F16, DTYPE_F32, DTYPE_F64};
    BLAS(d, blas);
    for (size_t t = 0; t < LENGTH(dtypes); t++)
        for (uint32_t i = 0; i < 8; i++) {
            GpuMatmul p = problem(dtypes[t], i & 4 ? 96 : 33, i & 4 ? 64 : 17, i & 4 ? 128 : 40);
            p.a_across = i & 1, p.b_across = i & 2;
            p.align = 16; /* rows of odd sizes end anywhere */
            p.batch = i == 3 ? 3 : 0;
            p.accumulate = i == 6;
            p.alpha = i == 5 ? 0.25 : 0;
            check(&d, &blas, p);
        }
    GpuMatmul tf32 = problem(DTYPE_F32, 96, 64, 128);
    tf32.tf32 = true;
    check(&d, &blas, tf32);
    GpuMatmul wide = problem(DTYPE_BF16, 96, 64, 128); /* a gradient kept in f32 */
    wide.d = DTYPE_F32;
    wide.a_across = wide.accumulate = true;
    check(&d, &blas, wide);
    gpu_blas_close(&blas);
    device_close(&d);
}

TEST(blaslt_epilogues) {
    static const uint32_t sets[] = {
        GPU_EPILOGUE_BIAS,
        GPU_EPILOGUE_RELU,
        GPU_EPILOGUE_RELU | GPU_EPILOGUE_BIAS,
        GPU_EPILOGUE_GELU,
        GPU_EPILOGUE_GELU | GPU_EPILOGUE_BIAS,
        GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX,
        GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX | GPU_EPILOGUE_BIAS,
        GPU_EPILOGUE_DGELU,
        GPU_EPILOGUE_DGELU | GPU_EPILOGUE_DBIAS,
        GPU_EPILOGUE_SUM_A,
        GPU_EPILOGUE_SUM_B,
    };
    BLAS(d, blas);
    for (size_t s = 0; s < LENGTH(sets); s++)
        for (uint32_t i = 0; i < 2; i++) {
            GpuMatmul p = problem(DTYPE_BF16, 128, 192, 64);
            p.epilogue = sets[s];
            p.b_across = i;
            /* The sums stand beside the gradient of a weight: a across, b not. */
            if (sets[s] & (GPU_EPILOGUE_SUM_A | GPU_EPILOGUE_SUM_B))
                p.a_across = true, p.b_across = false;
            check(&d, &blas, p);
        }
    gpu_blas_close(&blas);
    device_close(&d);
}

/* The mask of relu is bits in an order of cuBLASLt's own: what matters is that its derivative reads
 * what it wrote: relu(a b), and a b through the derivative, are zero at the same places (another
 * algorithm may round a number near zero to the other side). */
TEST(blaslt_relu_and_its_derivative_agree) {
    BLAS(d, blas);
    void         *a, *b;
    GpuMatmulPlan forward, backward;
    GpuMatmul     p = problem(DTYPE_BF16, 128, 192, 64);
    p.epilogue = GPU_EPILOGUE_RELU | GPU_EPILOGUE_AUX;
    GpuMatmulArgs args = {.a = device_numbers(&d, DTYPE_BF16, 128 * 64, 1, &a),
                          .b = device_numbers(&d, DTYPE_BF16, 64 * 192, 1, &b),
                          .d = device_poisoned(&d, 128 * 192 * 2),
                          .aux = device_poisoned(&d, gpu_matmul_aux_bytes(&p)),
                          .workspace = device_poisoned(&d, blas.workspace_max),
                          .workspace_bytes = blas.workspace_max};
    REQUIRE(device_ok(&d, gpu_matmul_plan(&blas, &p, &d.diags, &forward)));
    EXPECT(device_ok(&d, gpu_matmul_run(&blas, &forward, &args, d.stream, &d.diags)));
    const uint16_t *first = device_read(&d, args.d, 128 * 192 * 2);
    p.epilogue = GPU_EPILOGUE_DRELU;
    REQUIRE(device_ok(&d, gpu_matmul_plan(&blas, &p, &d.diags, &backward)));
    EXPECT(device_ok(&d, gpu_fill(d.stream, args.d, 0xFF, 128 * 192 * 2, &d.diags)));
    EXPECT(device_ok(&d, gpu_matmul_run(&blas, &backward, &args, d.stream, &d.diags)));
    const uint16_t *second = device_read(&d, args.d, 128 * 192 * 2);
    uint32_t        zeros = 0, differ = 0;
    for (uint32_t i = 0; i < 128 * 192; i++) {
        zeros += (first[i] & 0x7FFF) == 0;
        differ += ((first[i] & 0x7FFF) == 0) != ((second[i] & 0x7FFF) == 0);
    }
    EXPECT(zeros > 10000 && zeros < 14000);
    EXPECT(differ <= 2);
    gpu_blas_close(&blas);
    device_close(&d);
}

TEST(blaslt_fp8_with_factors) {
    BLAS(d, blas);
    if (d.gpu->info.major < 9) SKIP("fp8 products need compute capability 8.9");
    for (uint32_t i = 0; i < 5; i++) {
        GpuMatmul p = problem(i & 1 ? DTYPE_F8E5M2 : DTYPE_F8E4M3, 128, 64, 256);
        p.b = DTYPE_F8E4M3;
        p.b_across = true;
        p.d = i == 3 ? DTYPE_F32 : DTYPE_BF16;
        p.fast = i >= 2;
        p.epilogue = i == 2 || i == 4 ? GPU_EPILOGUE_BIAS : 0;
        if (i == 4) p.epilogue |= GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX;
        check(&d, &blas, p);
    }
    gpu_blas_close(&blas);
    device_close(&d);
}

/* Rows that are no multiple of 128 and a number of blocks that is none of four. */
TEST(blaslt_fp8_by_blocks) {
    static const uint8_t modes[][2] = {{GPU_SCALES_ROWS, GPU_SCALES_SQUARES},
                                       {GPU_SCALES_ROWS, GPU_SCALES_ROWS},
                                       {GPU_SCALES_SQUARES, GPU_SCALES_ROWS}};
    BLAS(d, blas);
    if (d.gpu->info.major != 9) SKIP("scales of blocks in f32 are those of 9.0");
    for (uint32_t i = 0; i < LENGTH(modes); i++) {
        GpuMatmul p = problem(DTYPE_F8E4M3, 132, 256, 640);
        p.b_across = true;
        p.d = DTYPE_BF16;
        p.a_scales = modes[i][0];
        p.b_scales = modes[i][1];
        check(&d, &blas, p);
    }
    gpu_blas_close(&blas);
    device_close(&d);
}

TEST(blaslt_keeps_what_it_measured) {
    BLAS(d, blas);
    GpuMatmulPlan plan, again;
    void         *a, *b;
    GpuMatmul     p = problem(DTYPE_BF16, 512, 768, 256);
    String folder = str_format(arena, "/tmp/stoa_test_%llx", (unsigned long long)(uintptr_t)arena);
    GpuCache cache = gpu_cache_open(arena, folder);
    blas.cache = &cache;
    GpuMatmulArgs args = {.a = device_numbers(&d, DTYPE_BF16, 512 * 256, 1, &a),
                          .b = device_numbers(&d, DTYPE_BF16, 256 * 768, 1, &b),
                          .d = device_poisoned(&d, 512 * 768 * 2),
                          .workspace = device_poisoned(&d, blas.workspace_max),
                          .workspace_bytes = blas.workspace_max};
    REQUIRE(device_ok(&d, gpu_matmul_plan(&blas, &p, &d.diags, &plan)));
    EXPECT(plan.us == 0);
    EXPECT(device_ok(&d, gpu_matmul_tune(&blas, &plan, &args, d.stream, &d.diags)));
    EXPECT(plan.us > 0 && plan.candidates > 0);
    EXPECT(device_ok(&d, gpu_matmul_plan(&blas, &p, &d.diags, &again)));
    EXPECT(again.us == plan.us && memcmp(&again.algo, &plan.algo, sizeof plan.algo) == 0);
    p.m = 1024;
    EXPECT(device_ok(&d, gpu_matmul_plan(&blas, &p, &d.diags, &again)));
    EXPECT(again.us == 0);
    gpu_blas_close(&blas);
    device_close(&d);
}
