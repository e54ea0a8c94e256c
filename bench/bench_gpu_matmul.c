/* Matrix products of GPT-2 124M at 32 x 1024 tokens through cuBLASLt: forward, gradient of the
 * input, gradient of the weight, with their epilogues, in bf16, and the forward ones in fp8; the
 * first of the heuristics against the measured choice. The ceiling is a plain 8192 product.
 *
 * Of each product 1024 random elements, and all sums that an epilogue makes, are compared with a
 * reference in double precision on the device. */
#include "bench/gpu_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/blaslt.h"

enum { CHECKED = 1024 };

/* One block an element: the product in double, then the epilogue as blaslt.h states it. type: 0
 * bf16, 2 f32, 3 e4m3. */
static const char KERNELS[] =
    "__device__ double number(u64 at, u64 i, int type) {\n"
    "    if (type == 2) return ((const float *)at)[i];\n"
    "    unsigned half;\n"
    "    if (type == 3) {\n"
    "        unsigned char byte = ((const unsigned char *)at)[i];\n"
    "        int exponent = byte >> 3 & 15, mantissa = byte & 7;\n"
    "        double x = exponent ? ldexp(1 + mantissa / 8.0, exponent - 7) : ldexp(mantissa / 8.0,"
    " -6);\n"
    "        return byte & 128 ? -x : x;\n"
    "    }\n"
    "    half = ((const unsigned short *)at)[i];\n"
    "    return __uint_as_float(half << 16);\n"
    "}\n"
    "struct Product {\n"
    "    u64 a, b, bias, aux, d, out, m, n, k;\n"
    "    double alpha;\n"
    "    int type, a_across, b_across, epilogue;\n"
    "    unsigned seed;\n"
    "};\n"
    "__device__ double total(double x) {\n"
    "    __shared__ double sums[256];\n"
    "    sums[threadIdx.x] = x;\n"
    "    for (int half = 128; half > 0; half >>= 1) {\n"
    "        __syncthreads();\n"
    "        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];\n"
    "    }\n"
    "    __syncthreads();\n"
    "    return sums[0];\n"
    "}\n"
    "extern \"C\" __global__ void reference(Product p) {\n"
    "    u64 i = mix(blockIdx.x * 2 + p.seed) % p.m, j = mix(blockIdx.x * 2 + 1 + p.seed) % p.n;\n"
    "    double sum = 0, x, t, d;\n"
    "    for (u64 l = threadIdx.x; l < p.k; l += 256)\n"
    "        sum += number(p.a, p.a_across ? l * p.m + i : i * p.k + l, p.type) *\n"
    "               number(p.b, p.b_across ? j * p.k + l : l * p.n + j, p.type);\n"
    "    x = total(sum) * p.alpha;\n"
    "    if (p.epilogue & 1) x += number(p.bias, j, 0);\n"
    "    if (p.epilogue & 4)\n"
    "        x = 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));\n"
    "    if (p.epilogue & 32) {\n"
    "        d = number(p.aux, i * p.n + j, 0);\n"
    "        t = tanh(0.7978845608028654 * (d + 0.044715 * d * d * d));\n"
    "        x *= 0.5 * (1 + t) + 0.5 * d * (1 - t * t) * 0.7978845608028654 *\n"
    "             (1 + 3 * 0.044715 * d * d);\n"
    "    }\n"
    "    if (threadIdx.x == 0) {\n"
    "        double *out = (double *)p.out + 2 * blockIdx.x;\n"
    "        out[0] = x; out[1] = number(p.d, i * p.n + j, 0);\n"
    "    }\n"
    "}\n"
    "struct Sums { u64 from, out, rows, columns; int type; };\n"
    "extern \"C\" __global__ void column_sums(Sums p) {\n"
    "    double sum = 0;\n"
    "    for (u64 i = threadIdx.x; i < p.rows; i += 256)\n"
    "        sum += number(p.from, i * p.columns + blockIdx.x, p.type);\n"
    "    sum = total(sum);\n"
    "    if (threadIdx.x == 0) ((double *)p.out)[blockIdx.x] = sum;\n"
    "}\n";
typedef struct Product {
    uint64_t a, b, bias, aux, d, out, m, n, k;
    double   alpha;
    int32_t  type, a_across, b_across, epilogue;
    uint32_t seed;
} Product;
typedef struct Sums {
    uint64_t from, out, rows, columns;
    int32_t  type;
} Sums;

typedef struct Case {
    const char *name;
    uint32_t    m, n, k; /* m or k 0: the tokens */
    bool        a_across, b_across;
    uint32_t    epilogue;
    uint8_t     dtype; /* Dtype of a and b */
} Case;
enum {
    BIAS = GPU_EPILOGUE_BIAS,
    GELU = GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX | GPU_EPILOGUE_BIAS,
    DGELU = GPU_EPILOGUE_DGELU | GPU_EPILOGUE_DBIAS,
    SUM_B = GPU_EPILOGUE_SUM_B,
    BF16 = DTYPE_BF16,
    FP8 = DTYPE_F8E4M3
};
static const Case cases[] = {
    {"ceiling 8192", 8192, 8192, 8192, false, false, 0, BF16},
    {"qkv forward, bias", 0, 2304, 768, false, false, BIAS, BF16},
    {"qkv d_input", 0, 768, 2304, false, true, 0, BF16},
    {"qkv d_weight, d_bias", 768, 2304, 0, true, false, SUM_B, BF16},
    {"qkv d_weight across, d_bias", 2304, 768, 0, true, false, GPU_EPILOGUE_SUM_A, BF16},
    {"qkv d_weight across", 2304, 768, 0, true, false, 0, BF16},
    {"proj forward, bias", 0, 768, 768, false, false, BIAS, BF16},
    {"proj d_input", 0, 768, 768, false, true, 0, BF16},
    {"proj d_weight, d_bias", 768, 768, 0, true, false, SUM_B, BF16},
    {"fc forward, bias gelu aux", 0, 3072, 768, false, false, GELU, BF16},
    {"fc forward", 0, 3072, 768, false, true, 0, BF16},
    {"fc forward across, bias", 0, 3072, 768, false, true, BIAS, BF16},
    {"fc forward across, bias gelu aux", 0, 3072, 768, false, true, GELU, BF16},
    {"fc forward, bias", 0, 3072, 768, false, false, BIAS, BF16},
    {"fc d_input", 0, 768, 3072, false, true, 0, BF16},
    {"fc d_weight", 768, 3072, 0, true, false, 0, BF16},
    {"fc d_weight, d_bias", 768, 3072, 0, true, false, SUM_B, BF16},
    {"fc2 forward, bias", 0, 768, 3072, false, false, BIAS, BF16},
    {"fc2 d_input, dgelu d_bias", 0, 3072, 768, false, true, DGELU, BF16},
    {"fc2 d_input, dgelu", 0, 3072, 768, false, true, GPU_EPILOGUE_DGELU, BF16},
    {"fc2 d_input", 0, 3072, 768, false, true, 0, BF16},
    {"fc2 d_weight, d_bias", 3072, 768, 0, true, false, SUM_B, BF16},
    {"head forward", 0, 50304, 768, false, true, 0, BF16},
    {"head d_input", 0, 768, 50304, false, false, 0, BF16},
    {"head d_weight", 50304, 768, 0, true, false, 0, BF16},
    {"ceiling 8192 fp8", 8192, 8192, 8192, false, true, 0, FP8},
    {"qkv forward fp8, bias", 0, 2304, 768, false, true, BIAS, FP8},
    {"fc forward fp8, bias", 0, 3072, 768, false, true, BIAS, FP8},
    {"fc2 forward fp8, bias", 0, 768, 3072, false, true, BIAS, FP8},
    {"qkv d_input fp8", 0, 768, 2304, false, true, 0, FP8},
    {"qkv d_weight fp8", 2304, 768, 0, false, true, 0, FP8},
    {"proj forward fp8, bias", 0, 768, 768, false, true, BIAS, FP8},
    {"proj d_input fp8", 0, 768, 768, false, true, 0, FP8},
    {"fc forward fp8, bias gelu aux", 0, 3072, 768, false, true, GELU, FP8},
    {"fc d_input fp8", 0, 768, 3072, false, true, 0, FP8},
    {"fc d_weight fp8", 3072, 768, 0, false, true, 0, FP8},
    {"fc2 d_input fp8", 0, 3072, 768, false, true, 0, FP8},
    {"fc2 d_input fp8, dgelu", 0, 3072, 768, false, true, GPU_EPILOGUE_DGELU, FP8},
    {"head forward fp8", 0, 50304, 768, false, true, 0, FP8},
};

typedef struct Run {
    GpuBlas      *blas;
    GpuMatmulPlan plan;
    GpuMatmulArgs args;
} Run;
static Status run_product(void *context, GpuStream stream, Diags *diags) {
    const Run *r = context;
    return gpu_matmul_run(r->blas, &r->plan, &r->args, stream, diags);
}

static GpuMatmul problem_of(const Case *c, uint64_t tokens) {
    GpuMatmul p = {.m = c->m ? c->m : tokens,
                   .n = c->n,
                   .k = c->k ? c->k : tokens,
                   .a_across = c->a_across,
                   .b_across = c->b_across,
                   .a = c->dtype,
                   .b = c->dtype,
                   .d = BF16,
                   .epilogue = c->epilogue,
                   .fast = c->dtype == DTYPE_F8E4M3 && c->k != 0}; /* as run_library.c */
    return p;
}

/* Elements of d at random places against the reference. */
static double check_elements(GpuBench *b, const char *name, const GpuMatmul *p, const Run *r) {
    CuPtr   out = gpu_bench_take(b, (uint64_t)CHECKED * 16);
    Product args = {.a = r->args.a,
                    .b = r->args.b,
                    .bias = r->args.bias,
                    .aux = r->args.aux,
                    .d = r->args.d,
                    .out = out,
                    .m = p->m,
                    .n = p->n,
                    .k = p->k,
                    .alpha = 1,
                    .type = p->a == DTYPE_F8E4M3 ? 3 : 0,
                    .a_across = p->a_across,
                    .b_across = p->b_across,
                    .epilogue = (int32_t)p->epilogue,
                    .seed = ++b->seed};
    gpu_bench_launch(b, gpu_bench_kernel(b, "reference"), CHECKED, 256, &args, sizeof args);
    const double *rows = gpu_bench_read(b, out, (uint64_t)CHECKED * 16);
    double        want[CHECKED], got[CHECKED];
    for (uint32_t i = 0; i < CHECKED; i++) want[i] = rows[2 * i], got[i] = rows[2 * i + 1];
    /* d is rounded to bf16: 2^-9 at most, about 1.7e-3 in the norm. */
    return gpu_bench_check(b, name, got, want, CHECKED, 5e-3);
}

/* The sums over rows that an epilogue made, of d (DBIAS) or of b (SUM_B). */
static void check_sums(GpuBench *b, const char *name, const GpuMatmul *p, const Run *r) {
    bool of_d = p->epilogue & GPU_EPILOGUE_DBIAS;
    if ((p->epilogue & (GPU_EPILOGUE_DBIAS | GPU_EPILOGUE_SUM_B)) == 0) return;
    CuPtr out = gpu_bench_take(b, p->n * 8);
    Sums  args = {of_d ? r->args.d : r->args.b, out, of_d ? p->m : p->k, p->n, 0};
    gpu_bench_launch(b, gpu_bench_kernel(b, "column_sums"), (uint32_t)p->n, 256, &args,
                     sizeof args);
    const double *want = gpu_bench_read(b, out, p->n * 8);
    const void   *bias = gpu_bench_read(b, r->args.bias, p->n * 2);
    double       *got = ARENA_ARRAY(b->arena, double, p->n);
    for (uint64_t i = 0; i < p->n; i++) got[i] = gpu_bench_number(DTYPE_BF16, bias, i);
    (void)gpu_bench_check(b, name, got, want, p->n, 1e-2);
}

static void measure(GpuBench *b, GpuBlas *blas, const Case *c, uint64_t tokens) {
    ArenaMark mark = arena_mark(b->arena);
    uint64_t  used = b->memory.used;
    GpuMatmul p = problem_of(c, tokens);
    uint64_t  element = dtype_bytes((Dtype)c->dtype), d_bytes = p.m * p.n * 2;
    uint64_t  bias = gpu_matmul_bias_bytes(&p), aux = gpu_matmul_aux_bytes(&p);
    double    flops = 2.0 * (double)p.m * (double)p.n * (double)p.k;
    double    bytes = (double)((p.m + p.n) * p.k * element + d_bytes + bias + aux);
    Run       r = {.blas = blas};
    if (!bench_wants(&b->bench, c->name)) return;
    r.args.a = gpu_bench_take(b, p.m * p.k * element);
    r.args.b = gpu_bench_take(b, p.n * p.k * element);
    r.args.d = gpu_bench_take(b, d_bytes);
    r.args.bias = bias ? gpu_bench_take(b, bias) : 0;
    r.args.aux = aux ? gpu_bench_take(b, aux) : 0;
    r.args.workspace_bytes = blas->workspace_max;
    r.args.workspace = gpu_bench_take(b, r.args.workspace_bytes);
    gpu_bench_random(b, r.args.a, (Dtype)c->dtype, p.m * p.k, 1);
    gpu_bench_random(b, r.args.b, (Dtype)c->dtype, p.n * p.k, 0.05F);
    if (bias) gpu_bench_random(b, r.args.bias, DTYPE_BF16, bias / 2, 0.5F);
    if (aux) gpu_bench_random(b, r.args.aux, DTYPE_BF16, aux / 2, 1);
    gpu_bench_must(b, gpu_fill(b->stream, r.args.d, 0xFF, d_bytes, &b->diags), "poison");
    Status status = gpu_matmul_plan(blas, &p, &b->diags, &r.plan);
    if (status == STATUS_UNSUPPORTED)
        gpu_bench_note(b, "%s: cuBLASLt has no algorithm\n", c->name);
    else
        gpu_bench_must(b, status, c->name);
    diags_clear(&b->diags);
    for (uint32_t tuned = 0; tuned < 2 && status == STATUS_OK; tuned++) {
        const char *name = str_format(b->arena, "%s%s", c->name, tuned ? ", measured" : "").data;
        if (tuned)
            gpu_bench_must(b, gpu_matmul_tune(blas, &r.plan, &r.args, b->stream, &b->diags), name);
        gpu_bench_must(b, run_product(&r, b->stream, &b->diags), name);
        double error = check_elements(b, name, &p, &r);
        check_sums(b, name, &p, &r);
        gpu_bench_time(b, name, 15, flops > 1e12 ? 3 : 10, run_product, &r, flops, bytes, error);
    }
    gpu_bench_must(b, gpu_stream_sync(b->stream, &b->diags), c->name);
    gpu_release(&b->memory, used);
    arena_release(b->arena, mark);
}

int main(int argc, char **argv) {
    GpuBench b;
    GpuBlas  blas;
    int      status = 0;
    if (!gpu_bench_open(&b, "gpu_matmul", (const char *const[]){KERNELS, NULL}, argc, argv,
                        &status))
        return status;
    gpu_bench_must(&b, gpu_blas_open(b.gpu, NULL, &b.diags, &blas), "cuBLASLt");
    gpu_bench_note(&b, "# cuBLASLt %s\n",
                   gpu_version_text(b.arena, b.libs->bindings[GPU_LIBRARY_BLASLT].version).data);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        measure(&b, &blas, &cases[i], b.bench.smoke ? 256 : 32768);
    gpu_blas_close(&blas);
    return gpu_bench_close(&b);
}
