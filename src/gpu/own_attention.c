/* How attention of our own is laid out and launched; its kernels are in own_attention_forward.c and
 * own_attention_backward.c. */
#include "gpu/own_attention.h"
#include "gpu/nvrtc.h"

#include <math.h>

enum { ROWS = 128, WIDTH = 64, PART_BYTES = ROWS * WIDTH * 4, SUMS_BYTES = ROWS * 32 };
enum { TEAM = 4, GROUPS = 2, WARPS = 8, THREADS = 384, SUMS_THREADS = 256 };
enum {
    FORWARD_KEYS_MAX = 2048,
    PARTS_BYTES_MAX = 96 << 20,
    CACHED_BYTES = 20 << 20,
    TILE_BYTES = ROWS * WIDTH * 2
};
/* Two each of K, V, Q, d_o, gradients of scores, row sums; ones; barriers; sums of columns of two
 * gradients by warps. ORDER K_AT. */
enum {
    BACKWARD_BYTES = 8 * TILE_BYTES + 2 * ROWS * ROWS * 2 + 2 * SUMS_BYTES + 2048 + 7 * 16 +
                     WARPS * 2 * WIDTH * 4
};
/* Eight of K and V, two of Q, what they are for, barriers. ORDER Q_AT. */
enum { FORWARD_BYTES = 10 * TILE_BYTES + 32 + 8 * 16 + 2 * 16 };
static const char doing[] = "attention of our own";

/* ORDER Args of the text. */
typedef struct OwnArgs {
    CuTensorMap q, k, v, d_o;
    CuPtr       o, d_o_at, statistics, dq, dk, dv, sums, parts, flags, columns;
    GpuHeads    o_by, d_o_by, dq_by, dk_by, dv_by;
    int32_t     heads, blocks, all, team, turns, teams;
    uint32_t    flags_count, group;
    float       scale, per_scale, scale2; /* 1 / scale; with the logarithm of e in base 2 */
} OwnArgs;

bool gpu_own_attention_takes(const GpuInfo *info, const GpuAttention *p) {
    return info->major == 9 && info->minor == 0 && info->shared_bytes_per_block >= BACKWARD_BYTES &&
           p->width == WIDTH && p->heads == p->heads_kv && p->queries == p->keys && p->keys > 0 &&
           p->keys % ROWS == 0 && !p->lengths && p->batch * p->heads * p->keys < INT32_MAX &&
           p->dtype == DTYPE_BF16 && p->scale >= 0; /* 0 is 1 / sqrt(width) */
}

bool gpu_own_attention_wins(const GpuInfo *info, const GpuAttention *p, bool backward) {
    return gpu_own_attention_takes(info, p) && (backward || p->keys <= FORWARD_KEYS_MAX);
}

/* Teams of four keep what they work on within the second-level cache; they are larger where there
 * are few heads, or where their parts of dq would take much memory. */
static void choose_teams(const Gpu *gpu, const GpuAttention *p, GpuOwnAttention *a) {
    uint32_t blocks = (uint32_t)(p->keys / ROWS), most = gpu->info.multiprocessors;
    uint64_t heads = (uint64_t)(p->batch * p->heads), part = 2ull * blocks * PART_BYTES;
    for (a->team = 1; a->team * 4 <= blocks && a->team * 2 <= most; a->team *= 2)
        if (a->team >= TEAM && most / (a->team * 2) < heads &&
            most / a->team * part <= PARTS_BYTES_MAX)
            break;
    a->teams = most / a->team < heads ? most / a->team : (uint32_t)heads;
    a->sums_at = a->teams * part;
    a->flags_at = a->sums_at + heads * blocks * SUMS_BYTES;
    a->flags_count = 2 * a->teams * blocks * GROUPS;
    a->workspace_bytes = a->flags_at + 4ull * a->flags_count;
    a->columns_count = (uint32_t)p->batch * a->team * WARPS;
}
/* Blocks of a head read its keys and values again: groups of like sizes, which stay cached. */
static uint32_t choose_group(const GpuAttention *p) {
    uint64_t heads = (uint64_t)(p->batch * p->heads);
    uint64_t bytes = heads * (uint64_t)p->keys * WIDTH * 2 * 2;
    uint64_t groups = (bytes + CACHED_BYTES - 1) / CACHED_BYTES;
    if (groups > heads) groups = heads;
    return (uint32_t)((heads + groups - 1) / groups);
}

static uint32_t shared_of(const GpuOwnAttention *a) {
    return a->backward ? BACKWARD_BYTES : FORWARD_BYTES;
}
Status gpu_own_attention_open(Gpu *gpu, GpuCache *cache, const GpuAttention *problem, bool backward,
                              Diags *diags, GpuOwnAttention *out_attention) {
    GpuOwnAttention *a = out_attention;
    const char      *name = backward ? "attention_backward" : "attention_forward";
    ASSERT(gpu_own_attention_takes(&gpu->info, problem));
    Scratch     scratch = scratch_begin(NULL, 0);
    GpuSource   source = {doing, gpu_own_attention_text(scratch.arena, problem->causal, backward)};
    String      image = {0};
    GpuCompiled compiled;
    *a = (GpuOwnAttention){.problem = *problem, .backward = backward, .team = 1};
    if (backward)
        choose_teams(gpu, problem, a);
    else
        a->group = choose_group(problem);
    Status status = gpu_compile(scratch.arena, gpu->libs, cache, gpu->info.arch, &source, 1, 1,
                                diags, &image, &compiled);
    if (status == STATUS_OK) status = gpu_module_open(gpu, doing, image, diags, &a->module);
    scratch_end(scratch);
    if (status == STATUS_OK && backward)
        status = gpu_module_kernel(&a->module, "attention_sums", diags, &a->row_sums);
    if (status == STATUS_OK) status = gpu_module_kernel(&a->module, name, diags, &a->main);
    if (status == STATUS_OK) status = gpu_kernel_allow(gpu, a->main, shared_of(a), false, diags);
    if (status != STATUS_OK) gpu_own_attention_close(a);
    return status;
}
void gpu_own_attention_close(GpuOwnAttention *attention) {
    if (attention->module.handle != NULL) gpu_module_close(&attention->module);
    *attention = (GpuOwnAttention){0};
}

/* [batch, heads, rows, 64] in boxes of 128 rows. */
static Status map_heads(const GpuAttention *p, GpuHeads by, CuPtr at, GpuStream stream,
                        Diags *diags, CuTensorMap *out_map) {
    const uint64_t dims[] = {WIDTH, (uint64_t)p->keys, (uint64_t)p->heads, (uint64_t)p->batch};
    const int64_t  elements[] = {by.row, by.head, by.batch};
    const unsigned box[] = {WIDTH, ROWS, 1, 1}, steps[] = {1, 1, 1, 1};
    uint64_t       strides[3];
    for (uint32_t i = 0; i < 3; i++) /* of an axis of one element: anything that is allowed */
        strides[i] = dims[i + 1] > 1 ? (uint64_t)elements[i] * 2 : 16;
    return GPU_CALL(stream.gpu->libs, diags, doing, cuTensorMapEncodeTiled, out_map,
                    ABI_CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, (void *)(uintptr_t)at, dims, strides,
                    box, steps, ABI_CU_TENSOR_MAP_INTERLEAVE_NONE, ABI_CU_TENSOR_MAP_SWIZZLE_128B,
                    ABI_CU_TENSOR_MAP_L2_PROMOTION_L2_256B, ABI_CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

/* Blocks that stay: one a multiprocessor, or as many as there is work for. */
static uint32_t grid_of(const GpuOwnAttention *a, const Gpu *gpu) {
    const GpuAttention *p = &a->problem;
    uint64_t            tiles = (uint64_t)(p->batch * p->heads * (p->keys / ROWS));
    if (a->backward) return a->team * a->teams;
    return tiles < gpu->info.multiprocessors ? (uint32_t)tiles : gpu->info.multiprocessors;
}
Status gpu_own_attention_run(const GpuOwnAttention *a, const GpuAttentionArgs *args,
                             GpuStream stream, Diags *diags) {
    const GpuAttention *p = &a->problem;
    float               scale = p->scale != 0 ? p->scale : 1 / sqrtf((float)p->width);
    int32_t             blocks = (int32_t)(p->keys / ROWS), team = (int32_t)a->team;
    int32_t             heads = (int32_t)(p->batch * p->heads);
    OwnArgs             own = {.o = args->o,
                               .d_o_at = args->d_o,
                               .statistics = args->statistics,
                               .dq = args->dq,
                               .dk = args->dk,
                               .dv = args->dv,
                               .sums = args->workspace + a->sums_at,
                               .parts = args->workspace,
                               .flags = args->workspace + a->flags_at,
                               .columns = args->columns,
                               .o_by = p->o,
                               .d_o_by = p->d_o,
                               .dq_by = p->dq,
                               .dk_by = p->dk,
                               .dv_by = p->dv,
                               .heads = (int32_t)p->heads,
                               .blocks = blocks,
                               .all = heads,
                               .team = team,
                               .turns = (blocks + team - 1) / team,
                               .teams = (int32_t)a->teams,
                               .flags_count = a->flags_count,
                               .group = a->group,
                               .scale = scale,
                               .per_scale = 1 / scale,
                               .scale2 = scale * 1.44269504f};
    GpuLaunch           sums = {.kernel = a->row_sums,
                                .grid = {(uint32_t)(heads * blocks), 1, 1},
                                .block = {SUMS_THREADS, 1, 1},
                                .single = true,
                                .args = &own,
                                .args_bytes = sizeof own};
    GpuLaunch           launch = {.kernel = a->main,
                                  .grid = {grid_of(a, stream.gpu), 1, 1},
                                  .block = {THREADS, 1, 1},
                                  .shared_bytes = shared_of(a),
                                  .single = true,
                                  .args = &own,
                                  .args_bytes = sizeof own};

    Status status = map_heads(p, p->q, args->q, stream, diags, &own.q);
    if (status == STATUS_OK) status = map_heads(p, p->k, args->k, stream, diags, &own.k);
    if (status == STATUS_OK) status = map_heads(p, p->v, args->v, stream, diags, &own.v);
    if (status == STATUS_OK && a->backward)
        status = map_heads(p, p->d_o, args->d_o, stream, diags, &own.d_o);
    if (status == STATUS_OK && a->backward) status = gpu_launch(stream, &sums, diags);
    if (status == STATUS_OK) status = gpu_launch(stream, &launch, diags);
    return status;
}
