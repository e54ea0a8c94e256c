/* Matrix products of f32 on tensor cores, with the error of f32: the text and its binding.
 *
 * Each operand is taken apart into two tf32 numbers, x = high + low up to 2^-24 |x|, and the
 * product is high high + high low + low high (Ootomo and Yokota 2022). Tensor cores add in f32 but
 * cut off what does not fit, so they add up 32 terms only, and ordinary additions, which round, do
 * the rest. What differs from f32: an infinite operand gives NaN.
 *
 * A block has 128 threads and makes 128 x N elements, N 32 or 64, from three buffers of 16 terms
 * that are filled ahead of use; rows of any stride and alignment, in either order. Long sums of
 * small results are cut into parts, whose number sizes alone decide; gather_parts adds them up. */
#include "gpu/run_inner.h"

const char run_triple_sides[] =
    "struct TripleArgs { Tiles t; const f32 *a, *b; i64 lda, ldb, a_step, b_step, pairs; };\n"
    "/* R rows of 16 terms in shared memory; terms: neighbours are terms of one row, else rows of\n"
    " * one term; V at once. */\n"
    "template <int R, bool terms, int V> struct Side {\n"
    "    enum { size = terms ? R * 20 : 16 * (R + 8), width = terms ? 16 : R,\n"
    "           across = width / V, down = 128 / across, count = R * 16 / V / 128 };\n"
    "    D int at(int row, int term) { return terms ? row * 20 + term : term * (R + 8) + row; }\n"
    "    D void fill(f32 *to, const f32 *from, i64 ld, i64 rows, i64 count_terms) {\n"
    "        int in = threadIdx.x % across * V, out = threadIdx.x / across;\n"
    "        bool good = in < (terms ? count_terms : rows);\n"
    "        i64 most = terms ? rows : count_terms;\n"
    "        const f32 *source = from + out * ld + in;\n"
    "        u32 place = (u32)__cvta_generic_to_shared(to + (terms ? at(out, in) : at(in, out)));\n"
    "        #pragma unroll\n"
    "        for (int i = 0; i < count; i++) {\n"
    "            bool use = good && out + i * down < most;\n"
    "            asm volatile(\"cp.async.ca.shared.global [%0], [%1], %2, %3;\\n\"\n"
    "                :: \"r\"(place + 4 * (terms ? at(i * down, 0) : at(0, i * down))),\n"
    "                   \"l\"(use ? source + i * down * ld : from), \"n\"(4 * V),\n"
    "                   \"r\"(use ? 4 * V : 0)); } } };\n"
    "D void halves(f32 x, u32 &high, u32 &low) {\n"
    "    high = (__float_as_uint(x) + 0x1000) & 0xffffe000;\n"
    "    low = (__float_as_uint(x - __uint_as_float(high)) + 0x1000) & 0xffffe000; }\n"
    "D void tile(f32 *d, const u32 *a, const u32 *b) {\n"
    "    asm(\"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, \"\n"
    "        \"{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\\n\"\n"
    "        : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
    "        : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1])); }\n"
    "/* The sum of parts by several threads an element. */\n"
    "template <int threads> D void gather_parts(const FoldArgs &a) {\n"
    "    __shared__ f32 sums[threads][32];\n"
    "    i64 i = blockIdx.x * 32ll + threadIdx.x % 32;\n"
    "    f32 sum = 0;\n"
    "    #pragma unroll 4\n"
    "    for (i64 s = threadIdx.x / 32; s < a.splits && i < a.count; s += threads)\n"
    "        sum += ((const f32 *)a.parts)[s * a.count + i];\n"
    "    sums[threadIdx.x / 32][threadIdx.x % 32] = sum;\n"
    "    __syncthreads();\n"
    "    if (threadIdx.x >= 32 || i >= a.count) return;\n"
    "    for (int s = 1; s < threads; s++) sum += sums[s][threadIdx.x];\n"
    "    ((f32 *)a.y)[i] = sum; }\n";
const char run_triple_text[] =
    "template <int N, bool a_terms, bool b_terms, int VA, int VB>\n"
    "D void triple(const TripleArgs &p) {\n"
    "    typedef Side<128, a_terms, VA> A; typedef Side<N, b_terms, VB> B;\n"
    "    const int beside = N / 32, M = 32 * beside, high = M / 16;\n"
    "    __shared__ alignas(16) f32 as[3][A::size], bs[3][B::size];\n"
    "    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;\n"
    "    int m0 = warp / beside * M, n0 = warp % beside * 32;\n"
    "    i64 rest = blockIdx.x, j0 = cut(rest, (p.t.n + N - 1) / N) * N, i0 = rest * 128;\n"
    "    i64 first = blockIdx.y * p.t.chunk, left = p.t.k - first;\n"
    "    if (left > p.t.chunk) left = p.t.chunk;\n"
    "    i64 a_next = a_terms ? 16 : 16 * p.lda, b_next = b_terms ? 16 : 16 * p.ldb;\n"
    "    const f32 *a = p.a + blockIdx.z * p.a_step + (a_terms ? i0 * p.lda + first\n"
    "                                                          : first * p.lda + i0);\n"
    "    const f32 *b = p.b + blockIdx.z * p.b_step + (b_terms ? j0 * p.ldb + first\n"
    "                                                          : first * p.ldb + j0);\n"
    "    f32 sums[high][4][4] = {}, part[high][4][4] = {};\n"
    "    int steps = (int)((left + 15) / 16);\n"
    "    for (int s = -2; s < steps; s++) {\n"
    "        if (s >= 0) {\n"
    "            asm volatile(\"cp.async.wait_group 1;\\n\" ::: \"memory\");\n"
    "            __syncthreads(); }\n"
    "        if (s + 2 < steps) {\n"
    "            int into = (s + 2) % 3; i64 terms = left - (s + 2) * 16;\n"
    "            A::fill(as[into], a + (s + 2) * a_next, p.lda, p.t.m - i0, terms);\n"
    "            B::fill(bs[into], b + (s + 2) * b_next, p.ldb, p.t.n - j0, terms); }\n"
    "        asm volatile(\"cp.async.commit_group;\\n\" ::: \"memory\");\n"
    "        if (s < 0) continue;\n"
    "        const f32 *x = as[s % 3], *y = bs[s % 3];\n"
    "        #pragma unroll\n"
    "        for (int k = 0; k < 16; k += 8) {\n"
    "            u32 ah[high][4], al[high][4], bh[4][2], bl[4][2];\n"
    "            for (int i = 0; i < high; i++)\n"
    "                for (int r = 0; r < 4; r++)\n"
    "                    halves(x[A::at(m0 + i * 16 + g + r % 2 * 8, k + t + r / 2 * 4)],\n"
    "                           ah[i][r], al[i][r]);\n"
    "            for (int j = 0; j < 4; j++)\n"
    "                for (int r = 0; r < 2; r++)\n"
    "                    halves(y[B::at(n0 + j * 8 + g, k + t + r * 4)], bh[j][r], bl[j][r]);\n"
    "            for (int i = 0; i < high; i++)\n"
    "                for (int j = 0; j < 4; j++) tile(part[i][j], al[i], bh[j]);\n"
    "            for (int i = 0; i < high; i++)\n"
    "                for (int j = 0; j < 4; j++) tile(part[i][j], ah[i], bl[j]);\n"
    "            for (int i = 0; i < high; i++)\n"
    "                for (int j = 0; j < 4; j++) tile(part[i][j], ah[i], bh[j]); }\n"
    "        if (s % 2 == 0 && s + 1 < steps) continue;\n"
    "        for (int i = 0; i < high; i++)\n"
    "            for (int j = 0; j < 4; j++)\n"
    "                for (int r = 0; r < 4; r++) {\n"
    "                    sums[i][j][r] += part[i][j][r];\n"
    "                    part[i][j][r] = 0; } }\n"
    "    f32 *c = (f32 *)(p.t.splits > 1 ? p.t.parts : p.t.c);\n"
    "    c += blockIdx.z * p.t.m * p.t.n + blockIdx.y * p.t.total;\n"
    "    for (int i = 0; i < high; i++)\n"
    "        for (int j = 0; j < 4; j++)\n"
    "            for (int r = 0; r < 4; r += 2) {\n"
    "                i64 row = i0 + m0 + i * 16 + g + r * 4, column = j0 + n0 + j * 8 + 2 * t;\n"
    "                f32 *to = c + row * p.t.n + column;\n"
    "                if (row >= p.t.m || column >= p.t.n) continue;\n"
    "                if (p.pairs) {\n"
    "                    *(float2 *)to = make_float2(sums[i][j][r], sums[i][j][r + 1]);\n"
    "                    continue; }\n"
    "                to[0] = sums[i][j][r];\n"
    "                if (column + 1 < p.t.n) to[1] = sums[i][j][r + 1]; } }\n";

typedef struct TripleArgs {
    RunTiles t;
    CuPtr    a, b;
    int64_t  lda, ldb, a_step, b_step, pairs;
} TripleArgs;
enum { ROWS = 128, TERMS = 16, THREADS = 128, BLOCKS_A_UNIT = 2, TERMS_MIN = 128, GATHERED = 32 };

bool run_triple_takes(const RunBinder *b, const GpuMatmul *p) {
    enum { LEAST = 16, MAJOR = 8, BATCHES_MAX = 65535 };
    static const uint64_t work_min = 1 << 20; /* less is bound by its launch */
    uint64_t              least = p->m < p->n ? p->m : p->n;
    if (p->k < least) least = p->k;
    return p->a == DTYPE_F32 && p->b == DTYPE_F32 && p->d == DTYPE_F32 && !p->tf32 &&
           p->epilogue == 0 && b->opcode == OP_DOT_GENERAL && least >= LEAST &&
           (double)p->m * (double)p->n * (double)p->k * (double)p->batch >= (double)work_min &&
           p->batch <= BATCHES_MAX && b->kit->gpu->info.major >= MAJOR;
}

/* Elements that may be read at once: 4, 2 or 1. */
static int width_of(uint64_t bytes, uint64_t elements) {
    if (bytes % 16 == 0 && elements % 4 == 0) return 4;
    return bytes % 8 == 0 && elements % 2 == 0 ? 2 : 1;
}
static uint64_t cut_up(RunTiles *t, uint64_t blocks, uint64_t units) {
    uint64_t splits = units * BLOCKS_A_UNIT / blocks, most = (uint64_t)t->k / TERMS_MIN;
    if (splits > most) splits = most;
    if (splits < 1) splits = 1;
    uint64_t chunk = ((uint64_t)t->k + splits - 1) / splits;
    t->chunk = (int64_t)((chunk + TERMS - 1) / TERMS * TERMS);
    t->splits = (t->k + t->chunk - 1) / t->chunk;
    return (uint64_t)t->splits;
}
Status run_triple_bind(RunBinder *b, const GpuMatmul *p, const LaunchArg *x, const LaunchArg *y) {
    const LaunchArg *z = &b->outs[0];
    uint64_t         tile = p->n > 32 ? 64 : 32;
    uint64_t         blocks = (p->m + ROWS - 1) / ROWS * ((p->n + tile - 1) / tile),
             all = blocks * p->batch;
    TripleArgs args = {.t = {.m = (int64_t)p->m, .n = (int64_t)p->n, .k = (int64_t)p->k},
                       .lda = (int64_t)p->lda,
                       .ldb = (int64_t)p->ldb,
                       .a_step = (int64_t)p->a_step,
                       .b_step = (int64_t)p->b_step};
    args.t.total = (int64_t)(p->batch * p->m * p->n);
    args.pairs = width_of(run_offsets(b, z), p->n) > 1;
    uint64_t splits = cut_up(&args.t, all, b->kit->gpu->info.multiprocessors);
    int      va = width_of(run_offsets(b, x), p->lda | p->a_step | (p->a_across ? p->m : p->k));
    int      vb = width_of(run_offsets(b, y), p->ldb | p->b_step | (p->b_across ? p->k : p->n));
    String   text = str_format(b->arena, "triple<%d, %d, %d, %d, %d>", (int)tile, !p->a_across,
                               p->b_across, va, vb);
    if (blocks > INT32_MAX || splits > UINT16_MAX) return STATUS_UNSUPPORTED;
    RunKernel *k = run_kernel(b, FAMILY_TRIPLE, text, &args, sizeof args);
    k->grid[0] = (uint32_t)blocks;
    k->grid[1] = (uint32_t)splits;
    k->grid[2] = (uint32_t)p->batch;
    k->block = THREADS;
    RUN_REF(k, TripleArgs, t.c, run_ref(z));
    RUN_REF(k, TripleArgs, a, run_ref(x));
    RUN_REF(k, TripleArgs, b, run_ref(y));
    b->stats.products++;
    if (splits == 1) return STATUS_OK;
    RunRef parts = run_work(b, splits * (uint64_t)args.t.total * 4);
    RUN_REF(k, TripleArgs, t.parts, parts);
    RunFoldArgs fold = {.count = args.t.total, .splits = args.t.splits};
    k = run_kernel(b, FAMILY_TRIPLE, STR("gather_parts<8>"), &fold, sizeof fold);
    RUN_REF(k, RunFoldArgs, y, run_ref(z));
    RUN_REF(k, RunFoldArgs, parts, parts);
    k->grid[0] = (uint32_t)((args.t.total + GATHERED - 1) / GATHERED);
    return STATUS_OK;
}
