/* Problems to cuBLASLt's descriptors, and the choice of algorithms.
 *
 * Descriptors are made for each call and destroyed after it (2 us on the host): plans stay plain
 * data, and a captured graph calls once. A measured choice is kept under the text of the problem,
 * the device and the version of cuBLASLt, which the library demands for stored algorithms; it is
 * checked again before it is used. */
#include "gpu/blaslt.h"

#include "arena/hash.h"

enum { CANDIDATES_MAX = 16, ROUNDS = 5, RUNS = 4, SCALES_VERSION = 120900 };
static const double FAR = 1.15; /* times the best of a round: not worth another */

typedef struct EpilogueRow {
    uint32_t ours;
    int      theirs;
} EpilogueRow;
static const EpilogueRow epilogues[] = {
    {GPU_EPILOGUE_NONE, ABI_CUBLASLT_EPILOGUE_DEFAULT},
    {GPU_EPILOGUE_BIAS, ABI_CUBLASLT_EPILOGUE_BIAS},
    {GPU_EPILOGUE_RELU, ABI_CUBLASLT_EPILOGUE_RELU},
    {GPU_EPILOGUE_RELU | GPU_EPILOGUE_BIAS, ABI_CUBLASLT_EPILOGUE_RELU_BIAS},
    {GPU_EPILOGUE_RELU | GPU_EPILOGUE_AUX, ABI_CUBLASLT_EPILOGUE_RELU_AUX},
    {GPU_EPILOGUE_RELU | GPU_EPILOGUE_AUX | GPU_EPILOGUE_BIAS, ABI_CUBLASLT_EPILOGUE_RELU_AUX_BIAS},
    {GPU_EPILOGUE_GELU, ABI_CUBLASLT_EPILOGUE_GELU},
    {GPU_EPILOGUE_GELU | GPU_EPILOGUE_BIAS, ABI_CUBLASLT_EPILOGUE_GELU_BIAS},
    {GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX, ABI_CUBLASLT_EPILOGUE_GELU_AUX},
    {GPU_EPILOGUE_GELU | GPU_EPILOGUE_AUX | GPU_EPILOGUE_BIAS, ABI_CUBLASLT_EPILOGUE_GELU_AUX_BIAS},
    {GPU_EPILOGUE_DRELU, ABI_CUBLASLT_EPILOGUE_DRELU},
    {GPU_EPILOGUE_DRELU | GPU_EPILOGUE_DBIAS, ABI_CUBLASLT_EPILOGUE_DRELU_BGRAD},
    {GPU_EPILOGUE_DGELU, ABI_CUBLASLT_EPILOGUE_DGELU},
    {GPU_EPILOGUE_DGELU | GPU_EPILOGUE_DBIAS, ABI_CUBLASLT_EPILOGUE_DGELU_BGRAD},
    /* the operands are exchanged, so our a is their B */
    {GPU_EPILOGUE_SUM_A, ABI_CUBLASLT_EPILOGUE_BGRADB},
    {GPU_EPILOGUE_SUM_B, ABI_CUBLASLT_EPILOGUE_BGRADA},
};
enum {
    HAS_AUX = GPU_EPILOGUE_AUX | GPU_EPILOGUE_DRELU | GPU_EPILOGUE_DGELU,
    HAS_BIAS = GPU_EPILOGUE_BIAS | GPU_EPILOGUE_DBIAS | GPU_EPILOGUE_SUM_A | GPU_EPILOGUE_SUM_B
};

static const struct {
    const char *name;
    int         mode;
} scales[] = {[GPU_SCALES_ONE] = {"one", ABI_CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F},
              [GPU_SCALES_ROWS] = {"rows", ABI_CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F},
              [GPU_SCALES_SQUARES] = {"squares", ABI_CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F}};

static int cuda_type(Dtype dtype) {
    static const int8_t types[DTYPE_COUNT] = {[DTYPE_F16] = ABI_CUDA_R_16F,
                                              [DTYPE_BF16] = ABI_CUDA_R_16BF,
                                              [DTYPE_F64] = ABI_CUDA_R_64F,
                                              [DTYPE_F8E4M3] = ABI_CUDA_R_8F_E4M3,
                                              [DTYPE_F8E5M2] = ABI_CUDA_R_8F_E5M2}; /* f32 is 0 */
    return types[dtype];
}
static bool has_type(Dtype dtype) { return dtype == DTYPE_F32 || cuda_type(dtype) != 0; }
static bool is_fp8(Dtype dtype) { return dtype == DTYPE_F8E4M3 || dtype == DTYPE_F8E5M2; }

static const EpilogueRow *find_epilogue(uint32_t bits) {
    for (size_t i = 0; i < LENGTH(epilogues); i++)
        if (epilogues[i].ours == bits) return &epilogues[i];
    return NULL;
}

/* A problem with every default written out, so that equal problems have equal texts. */
static GpuMatmul complete(const GpuMatmul *problem) {
    GpuMatmul p = *problem;
    bool      mask = (p.epilogue & (GPU_EPILOGUE_RELU | GPU_EPILOGUE_DRELU)) != 0;
    if (p.batch == 0) p.batch = 1;
    if (p.alpha == 0) p.alpha = 1;
    if (p.align == 0) p.align = 256;
    if (p.bias == DTYPE_NIL) p.bias = p.d;
    if (p.lda == 0) p.lda = p.a_across ? p.m : p.k;
    if (p.ldb == 0) p.ldb = p.b_across ? p.k : p.n;
    if (p.ldd == 0) p.ldd = p.n;
    if (p.ldaux == 0) p.ldaux = mask ? (p.n + 127) / 128 * 128 : p.n;
    if (p.a_step == 0) p.a_step = p.lda * (p.a_across ? p.k : p.m);
    if (p.b_step == 0) p.b_step = p.ldb * (p.b_across ? p.n : p.k);
    if (p.d_step == 0) p.d_step = p.ldd * p.m;
    if (p.aux_step == 0) p.aux_step = p.ldaux * p.m;
    return p;
}

String gpu_matmul_text(Arena *out, const GpuMatmul *problem) {
    GpuMatmul                p = complete(problem);
    Text                     text = text_begin(out);
    static const char *const words[] = {"bias",  "relu",  "gelu",  "aux",  "drelu",
                                        "dgelu", "dbias", "sum_a", "sum_b"};
    text_addf(&text, "%s[%llu,%llu]%s x %s[%llu,%llu]%s -> %s", dtype_infos[p.a].name,
              (unsigned long long)p.m, (unsigned long long)p.k, p.a_across ? "'" : "",
              dtype_infos[p.b].name, (unsigned long long)p.k, (unsigned long long)p.n,
              p.b_across ? "'" : "", dtype_infos[p.d].name);
    if (p.batch > 1) text_addf(&text, " batch %llu", (unsigned long long)p.batch);
    for (size_t i = 0; i < LENGTH(words); i++)
        if (p.epilogue >> i & 1) text_addf(&text, " %s", words[i]);
    if (p.bias != p.d) text_addf(&text, " (%s)", dtype_infos[p.bias].name);
    if (p.accumulate) text_add(&text, STR(" accumulate"));
    if (p.tf32) text_add(&text, STR(" tf32"));
    if (p.fast) text_add(&text, STR(" fast"));
    if (p.amax) text_add(&text, STR(" amax"));
    if (p.a_scales != 0 || p.b_scales != 0)
        text_addf(&text, " scaled by %s x %s", scales[p.a_scales].name, scales[p.b_scales].name);
    return text_done(&text);
}

uint64_t gpu_matmul_aux_bytes(const GpuMatmul *problem) {
    GpuMatmul p = complete(problem);
    bool      mask = (p.epilogue & (GPU_EPILOGUE_RELU | GPU_EPILOGUE_DRELU)) != 0;
    if ((p.epilogue & HAS_AUX) == 0) return 0;
    return mask ? p.aux_step * p.batch / 8 : p.aux_step * p.batch * dtype_bytes(p.d);
}

uint64_t gpu_matmul_bias_bytes(const GpuMatmul *problem) {
    GpuMatmul p = complete(problem);
    if ((p.epilogue & HAS_BIAS) == 0) return 0;
    return (p.epilogue & GPU_EPILOGUE_SUM_A ? p.m : p.n) * dtype_bytes(p.bias);
}

/* The only caller that reports a product as impossible. */
static Status refuse(const GpuMatmul *problem, const char *why, Diags *diags) {
    Scratch scratch = scratch_begin(NULL, 0);
    Status  status = gpu_unsupported(GPU_LIBRARY_BLASLT, gpu_matmul_text(scratch.arena, problem),
                                     str_of(why), diags);
    scratch_end(scratch);
    return status;
}

/* --- descriptors ------------------------------------------------------------------------------ */

typedef struct Descs {
    const GpuBlas *blas;
    Diags         *diags;
    BlasLtDesc     desc;
    BlasLtLayout   a, b, c, d; /* a is our b */
    Status         status;     /* of the first call that failed; later ones do nothing */
} Descs;

static void set(Descs *s, int attribute, const void *value, size_t bytes) {
    if (s->status == STATUS_OK)
        s->status = GPU_CALL(s->blas->gpu->libs, s->diags, "describing a matrix product",
                             cublasLtMatmulDescSetAttribute, s->desc, attribute, value, bytes);
}
static void set_pointer(Descs *s, int attribute, CuPtr pointer) {
    void *value = (void *)(uintptr_t)pointer;
    if (pointer != 0) set(s, attribute, &value, sizeof value);
}
static void set_int(Descs *s, int attribute, int value) { set(s, attribute, &value, sizeof value); }

static void open_layout(Descs *s, BlasLtLayout *layout, Dtype dtype, uint64_t rows,
                        uint64_t columns, uint64_t ld, uint64_t batch, uint64_t step) {
    GpuLibs *libs = s->blas->gpu->libs;
    int      count = (int)batch;
    int64_t  offset = (int64_t)step;
    if (s->status == STATUS_OK)
        s->status = GPU_CALL(libs, s->diags, "describing a matrix", cublasLtMatrixLayoutCreate,
                             layout, cuda_type(dtype), rows, columns, (int64_t)ld);
    if (s->status != STATUS_OK || batch == 1) return;
    s->status = GPU_CALL(libs, s->diags, "describing a matrix", cublasLtMatrixLayoutSetAttribute,
                         *layout, ABI_CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    if (s->status == STATUS_OK)
        s->status = GPU_CALL(
            libs, s->diags, "describing a matrix", cublasLtMatrixLayoutSetAttribute, *layout,
            ABI_CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset);
}

/* Column-major, a row-major [r,c] is [c,r] with the same row stride. */
static void open_layouts(Descs *s, const GpuMatmul *p) {
    Dtype c = is_fp8(p->d) ? DTYPE_BF16 : p->d; /* fp8 has no fp8 addend */
    open_layout(s, &s->a, p->b, p->b_across ? p->k : p->n, p->b_across ? p->n : p->k, p->ldb,
                p->batch, p->b_step);
    open_layout(s, &s->b, p->a, p->a_across ? p->m : p->k, p->a_across ? p->k : p->m, p->lda,
                p->batch, p->a_step);
    open_layout(s, &s->c, c, p->n, p->m, p->ldd, p->batch, p->d_step);
    open_layout(s, &s->d, p->d, p->n, p->m, p->ldd, p->batch, p->d_step);
}

static void set_epilogue(Descs *s, const GpuMatmul *p, const GpuMatmulArgs *args) {
    int64_t ld = (int64_t)p->ldaux, step = (int64_t)p->aux_step;
    set_int(s, ABI_CUBLASLT_MATMUL_DESC_EPILOGUE, find_epilogue(p->epilogue)->theirs);
    if (p->epilogue & HAS_BIAS) {
        set_pointer(s, ABI_CUBLASLT_MATMUL_DESC_BIAS_POINTER, args->bias);
        set_int(s, ABI_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(p->bias));
    }
    if (p->epilogue & HAS_AUX) {
        set_pointer(s, ABI_CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, args->aux);
        set(s, ABI_CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &ld, sizeof ld);
        if (p->batch > 1)
            set(s, ABI_CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, &step, sizeof step);
    }
}

static Descs open_descs(const GpuBlas *blas, const GpuMatmul *p, const GpuMatmulArgs *args,
                        Diags *diags) {
    Descs  s = {.blas = blas, .diags = diags};
    int8_t fast = 1;
    bool   f64 = p->d == DTYPE_F64;
    int    compute = p->tf32 ? ABI_CUBLAS_COMPUTE_32F_FAST_TF32 : ABI_CUBLAS_COMPUTE_32F;
    s.status = GPU_CALL(blas->gpu->libs, diags, "describing a matrix product",
                        cublasLtMatmulDescCreate, &s.desc, f64 ? ABI_CUBLAS_COMPUTE_64F : compute,
                        f64 ? ABI_CUDA_R_64F : ABI_CUDA_R_32F);
    set_int(&s, ABI_CUBLASLT_MATMUL_DESC_TRANSA, p->b_across ? ABI_CUBLAS_OP_T : ABI_CUBLAS_OP_N);
    set_int(&s, ABI_CUBLASLT_MATMUL_DESC_TRANSB, p->a_across ? ABI_CUBLAS_OP_T : ABI_CUBLAS_OP_N);
    set_epilogue(&s, p, args);
    set_pointer(&s, ABI_CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, args->b_scale);
    set_pointer(&s, ABI_CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, args->a_scale);
    if (p->a_scales != 0 || p->b_scales != 0) { /* older versions do not know the attribute */
        set_int(&s, ABI_CUBLASLT_MATMUL_DESC_A_SCALE_MODE, scales[p->b_scales].mode);
        set_int(&s, ABI_CUBLASLT_MATMUL_DESC_B_SCALE_MODE, scales[p->a_scales].mode);
    }
    set_pointer(&s, ABI_CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, args->d_scale);
    set_pointer(&s, ABI_CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, args->amax);
    if (p->fast) set(&s, ABI_CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast);
    open_layouts(&s, p);
    return s;
}

static void close_descs(Descs *s) {
    const GpuFns      *fns = &s->blas->gpu->libs->fns;
    const BlasLtLayout layouts[] = {s->a, s->b, s->c, s->d};
    for (size_t i = 0; i < LENGTH(layouts); i++)
        if (layouts[i] != NULL) (void)fns->cublasLtMatrixLayoutDestroy(layouts[i]);
    if (s->desc != NULL) (void)fns->cublasLtMatmulDescDestroy(s->desc);
}

/* --- the choice of an algorithm --------------------------------------------------------------- */

/* Addresses with the alignment that the heuristics should count on; they are never read. */
static GpuMatmulArgs stand_ins(const GpuMatmul *p) {
    CuPtr some = p->align;
    bool  fp8 = is_fp8(p->a) && is_fp8(p->b);
    return (GpuMatmulArgs){.bias = some,
                           .aux = some,
                           .a_scale = fp8 ? some : 0,
                           .b_scale = fp8 ? some : 0,
                           .d_scale = is_fp8(p->d) ? some : 0,
                           .amax = p->amax ? some : 0};
}

static Status ask_heuristics(const GpuBlas *blas, const GpuMatmul *p, Descs *s, Diags *diags,
                             BlasLtHeuristic *found, int *found_count) {
    static const int aligned[] = {ABI_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                  ABI_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                  ABI_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                  ABI_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    GpuLibs         *libs = blas->gpu->libs;
    const char      *doing = "choosing an algorithm";
    BlasLtPreference preference = NULL;
    Status status = GPU_CALL(libs, diags, doing, cublasLtMatmulPreferenceCreate, &preference);
    if (status == STATUS_OK)
        status = GPU_CALL(libs, diags, doing, cublasLtMatmulPreferenceSetAttribute, preference,
                          ABI_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &blas->workspace_max,
                          sizeof blas->workspace_max);
    for (size_t i = 0; i < LENGTH(aligned) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, doing, cublasLtMatmulPreferenceSetAttribute, preference,
                          aligned[i], &p->align, sizeof p->align);
    *found_count = 0;
    if (status == STATUS_OK) {
        BlasStatus result = libs->fns.cublasLtMatmulAlgoGetHeuristic(
            blas->handle, s->desc, s->a, s->b, s->c, s->d, preference, CANDIDATES_MAX, found,
            found_count);
        if (result == ABI_CUBLAS_STATUS_NOT_SUPPORTED || (result == 0 && *found_count == 0))
            status = refuse(p, "it has no algorithm for it", diags);
        else
            status = gpu_checked(libs, GPU_LIBRARY_BLASLT, result, "cublasLtMatmulAlgoGetHeuristic",
                                 doing, diags);
    }
    if (preference != NULL) (void)libs->fns.cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

/* What is kept of a measurement. */
typedef struct Kept {
    BlasLtAlgo algo;
    uint64_t   workspace_bytes;
    double     us;
} Kept;
static_assert(sizeof(Kept) == 80, "it is stored");

static GpuKey key_of(const GpuBlas *blas, const GpuMatmul *p) {
    Scratch  scratch = scratch_begin(NULL, 0);
    uint64_t layout[] = {p->lda,    p->ldb,      p->ldd,
                         p->ldaux,  p->a_step,   p->b_step,
                         p->d_step, p->aux_step, blas->workspace_max,
                         p->align};
    String   parts[] = {STR("matmul 1"),
                        gpu_matmul_text(scratch.arena, p),
                        {(const char *)layout, sizeof layout},
                        str_format(scratch.arena, "%s %u %d", blas->gpu->info.name,
                                   blas->gpu->info.multiprocessors,
                                   blas->gpu->libs->bindings[GPU_LIBRARY_BLASLT].version)};
    GpuKey   key = gpu_cache_key(parts, LENGTH(parts));
    scratch_end(scratch);
    return key;
}

static bool find_kept(const GpuBlas *blas, const GpuMatmul *p, Descs *s, GpuMatmulPlan *plan) {
    Kept            kept;
    String          bytes;
    BlasLtHeuristic check = {0};
    Scratch         scratch = scratch_begin(NULL, 0);
    bool found = gpu_cache_find(blas->cache, scratch.arena, "matmul", key_of(blas, p), &bytes) &&
                 bytes.count == sizeof kept;
    if (found) memcpy(&kept, bytes.data, sizeof kept);
    scratch_end(scratch);
    if (!found) return false;
    if (blas->gpu->libs->fns.cublasLtMatmulAlgoCheck(blas->handle, s->desc, s->a, s->b, s->c, s->d,
                                                     &kept.algo, &check) != 0 ||
        check.workspace_bytes > blas->workspace_max)
        return false;
    plan->algo = kept.algo;
    plan->workspace_bytes = check.workspace_bytes;
    plan->us = kept.us;
    return true;
}

Status gpu_matmul_plan(const GpuBlas *blas, const GpuMatmul *problem, Diags *diags,
                       GpuMatmulPlan *out_plan) {
    BlasLtHeuristic found[CANDIDATES_MAX];
    int             count;
    GpuMatmul       p = complete(problem);
    GpuMatmulArgs   args = stand_ins(&p);
    *out_plan = (GpuMatmulPlan){.problem = p};
    if (find_epilogue(p.epilogue) == NULL)
        return refuse(&p, "these epilogues do not go together", diags);
    if (!has_type(p.a) || !has_type(p.b) || !has_type(p.d) || !has_type(p.bias))
        return refuse(&p, "it multiplies floating-point numbers only", diags);
    if (p.m == 0 || p.n == 0 || p.k == 0) return refuse(&p, "a size is 0", diags);
    bool blocks = p.a_scales != GPU_SCALES_ONE || p.b_scales != GPU_SCALES_ONE;
    if (blocks && blas->gpu->libs->bindings[GPU_LIBRARY_BLASLT].version < SCALES_VERSION)
        return refuse(&p, "scales of blocks came with cuBLASLt 12.9: take that or newer", diags);
    if (blocks && (p.m % 4 != 0 || p.n % 4 != 0))
        return refuse(&p, "products scaled by blocks have fours of rows and columns", diags);
    uint64_t begin_ns = os_clock_ns();
    Descs    s = open_descs(blas, &p, &args, diags);
    if (s.status == STATUS_OK && !find_kept(blas, &p, &s, out_plan)) {
        s.status = ask_heuristics(blas, &p, &s, diags, found, &count);
        if (s.status == STATUS_OK) {
            out_plan->algo = found[0].algo;
            out_plan->workspace_bytes = found[0].workspace_bytes;
        }
    }
    close_descs(&s);
    gpu_startup_end(blas->gpu->libs->startup, GPU_PART_CHOOSE, "", begin_ns);
    return s.status;
}

/* --- running ---------------------------------------------------------------------------------- */

static BlasStatus start(const GpuBlas *blas, const GpuMatmul *p, const Descs *s,
                        const BlasLtAlgo *algo, const GpuMatmulArgs *args, GpuStream stream) {
    float       alpha = (float)p->alpha, beta = p->accumulate || args->adds ? 1 : 0;
    double      alpha64 = p->alpha, beta64 = beta;
    bool        f64 = p->d == DTYPE_F64;
    const void *a = (const void *)(uintptr_t)args->b, *b = (const void *)(uintptr_t)args->a;
    void       *d = (void *)(uintptr_t)args->d;
    return blas->gpu->libs->fns.cublasLtMatmul(
        blas->handle, s->desc, f64 ? (const void *)&alpha64 : &alpha, a, s->a, b, s->b,
        f64 ? (const void *)&beta64 : &beta, d, s->c, d, s->d, algo,
        (void *)(uintptr_t)args->workspace, args->workspace_bytes, stream.handle);
}
static Status run(const GpuBlas *blas, const GpuMatmul *p, const Descs *s, const BlasLtAlgo *algo,
                  const GpuMatmulArgs *args, GpuStream stream, Diags *diags) {
    return gpu_checked(blas->gpu->libs, GPU_LIBRARY_BLASLT, start(blas, p, s, algo, args, stream),
                       "cublasLtMatmul", "multiplying matrices", diags);
}

Status gpu_matmul_run(const GpuBlas *blas, const GpuMatmulPlan *plan, const GpuMatmulArgs *args,
                      GpuStream stream, Diags *diags) {
    ASSERT(args->workspace_bytes >= plan->workspace_bytes);
    Descs s = open_descs(blas, &plan->problem, args, diags);
    if (s.status == STATUS_OK)
        s.status = run(blas, &plan->problem, &s, &plan->algo, args, stream, diags);
    close_descs(&s);
    return s.status;
}

/* Microseconds of one of RUNS products in a row; 0 if the algorithm declines after all. */
static Status time_runs(const GpuBlas *blas, const GpuMatmul *p, const Descs *s,
                        const BlasLtAlgo *algo, const GpuMatmulArgs *args, GpuStream stream,
                        const GpuEvent events[2], Diags *diags, double *out_us) {
    float ms = 0;
    *out_us = 0;
    BlasStatus first = start(blas, p, s, algo, args, stream);
    if (first == ABI_CUBLAS_STATUS_NOT_SUPPORTED) return STATUS_OK;
    Status status = gpu_checked(blas->gpu->libs, GPU_LIBRARY_BLASLT, first, "cublasLtMatmul",
                                "measuring an algorithm", diags);
    if (status == STATUS_OK) status = gpu_event_record(events[0], stream, diags);
    for (uint32_t i = 0; i < RUNS && status == STATUS_OK; i++)
        status = run(blas, p, s, algo, args, stream, diags);
    if (status == STATUS_OK) status = gpu_event_record(events[1], stream, diags);
    if (status == STATUS_OK) status = gpu_event_sync(events[1], diags);
    if (status == STATUS_OK) status = gpu_event_ms(events[0], events[1], diags, &ms);
    *out_us = (double)ms * 1e3 / RUNS;
    return status;
}

static double median(double times[ROUNDS]) {
    for (uint32_t i = 1; i < ROUNDS; i++)
        for (uint32_t k = i; k > 0 && times[k] < times[k - 1]; k--) {
            double swap = times[k];
            times[k] = times[k - 1];
            times[k - 1] = swap;
        }
    return times[ROUNDS / 2];
}

static bool usable(const BlasLtHeuristic *found, const GpuMatmulArgs *args) {
    return found->state == 0 && found->workspace_bytes <= args->workspace_bytes;
}

/* Rounds go over all candidates, so that a drifting clock touches all of them alike. Those that are
 * far behind in the first round have no more: three quarters of the time of it all. */
static Status measure(const GpuBlas *blas, const GpuMatmul *p, Descs *s,
                      const BlasLtHeuristic *found, int count, const GpuMatmulArgs *args,
                      GpuStream stream, Diags *diags, double best[CANDIDATES_MAX]) {
    double   times[CANDIDATES_MAX][ROUNDS];
    GpuEvent events[2] = {0};
    Status   status = gpu_event_open(blas->gpu, true, diags, &events[0]);
    if (status == STATUS_OK) status = gpu_event_open(blas->gpu, true, diags, &events[1]);
    double least = 0;
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (int i = 0; i < count && status == STATUS_OK; i++) {
            if (!usable(&found[i], args)) continue;
            double *us = &times[i][round];
            bool    far = round > 0 && times[i][0] > least * FAR;
            if (far) *us = times[i][0];
            if (!far)
                status = time_runs(blas, p, s, &found[i].algo, args, stream, events, diags, us);
            if (round == 0 && *us > 0 && (least == 0 || *us < least)) least = *us;
        }
    for (int i = 0; i < count && status == STATUS_OK; i++)
        best[i] = usable(&found[i], args) ? median(times[i]) : 0;
    gpu_event_close(&events[0]);
    gpu_event_close(&events[1]);
    return status;
}

Status gpu_matmul_tune(const GpuBlas *blas, GpuMatmulPlan *plan, const GpuMatmulArgs *args,
                       GpuStream stream, Diags *diags) {
    BlasLtHeuristic  found[CANDIDATES_MAX];
    double           best[CANDIDATES_MAX] = {0};
    int              count = 0;
    const GpuMatmul *p = &plan->problem;
    uint64_t         begin_ns = os_clock_ns();
    Descs            s = open_descs(blas, p, args, diags);
    if (s.status == STATUS_OK) s.status = ask_heuristics(blas, p, &s, diags, found, &count);
    if (s.status == STATUS_OK)
        s.status = measure(blas, p, &s, found, count, args, stream, diags, best);
    close_descs(&s);
    gpu_startup_end(blas->gpu->libs->startup, GPU_PART_MEASURE, "", begin_ns);
    if (s.status != STATUS_OK) return s.status;
    plan->candidates = 0;
    plan->us = 0;
    for (int i = 0; i < count; i++) {
        if (best[i] == 0) continue;
        plan->candidates++;
        if (plan->us != 0 && best[i] >= plan->us) continue;
        plan->us = best[i];
        plan->algo = found[i].algo;
        plan->workspace_bytes = found[i].workspace_bytes;
    }
    if (plan->candidates == 0) return STATUS_OK;
    Kept kept = {plan->algo, plan->workspace_bytes, plan->us};
    gpu_cache_put(blas->cache, "matmul", key_of(blas, p),
                  (String){(const char *)&kept, sizeof kept}, diags);
    return STATUS_OK;
}

Status gpu_blas_take(Gpu *gpu, GpuCache *cache, BlasLtHandle handle, Diags *diags,
                     GpuBlas *out_blas) {
    *out_blas = (GpuBlas){.gpu = gpu, .cache = cache, .handle = handle, .workspace_max = 32u << 20};
    return gpu_libs_need(gpu->libs, GPU_LIBRARY_BLASLT, diags);
}
Status gpu_blas_open(Gpu *gpu, GpuCache *cache, Diags *diags, GpuBlas *out_blas) {
    Status   status = gpu_blas_take(gpu, cache, NULL, diags, out_blas);
    uint64_t begin_ns = os_clock_ns();
    if (status == STATUS_OK)
        status = GPU_CALL(gpu->libs, diags, "opening cuBLASLt", cublasLtCreate, &out_blas->handle);
    gpu_startup_end(gpu->libs->startup, GPU_PART_HANDLE, "cuBLASLt", begin_ns);
    return status;
}

void gpu_blas_close(GpuBlas *blas) {
    if (blas->handle != NULL) (void)blas->gpu->libs->fns.cublasLtDestroy(blas->handle);
    *blas = (GpuBlas){0};
}
