/* Attention plans for an H100 that is not here: cuDNN recognises every graph we sketch, makes its
 * kernels, and restores a kept plan. Skipped where cuDNN is not found. That the numbers are right
 * is shown on a device (tests/gpu). */
#define _GNU_SOURCE
#include "arena/os.h"
#include "fake_gpu.h"
#include "gpu/blaslt.h"
#include "gpu/cudnn_attention.h"
#include "gpu/cudnn_convolution.h"

/* As cuDNN writes the properties of an H100 SXM. */
static const char H100[] =
    "{\"deviceName\":\"NVIDIA H100 80GB HBM3\",\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"smClockRateKHz\":1980000,"
    "\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"pciDeviceId\":0,"
    "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"totalGlobalMem\":84988526592,\"deviceId\":0}";

static GpuAttention attention(int64_t heads_kv, int64_t length) {
    int64_t      heads = 12, width = 64;
    GpuHeads     q = {length * heads * width, width, heads * width};
    GpuHeads     kv = {length * heads_kv * width, width, heads_kv * width};
    GpuAttention p = {.batch = 4,
                      .heads = heads,
                      .heads_kv = heads_kv,
                      .queries = length,
                      .keys = length,
                      .width = width,
                      .q = q,
                      .k = kv,
                      .v = kv,
                      .o = q,
                      .d_o = q,
                      .dq = q,
                      .dk = kv,
                      .dv = kv,
                      .dtype = DTYPE_BF16,
                      .causal = true};
    return p;
}

/* cuDNN asks for a driver by its file name; it gets the stand-in, which loads any code. */
static GpuLibs *libs_beside_fake(Arena *arena) {
    void *driver = dlopen(STOA_FAKES "/driver/libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    EXPECT(driver != NULL);
    return gpu_libs_open(arena, STR(""));
}

TEST(cudnn_plans_attention_for_a_device_that_is_not_here) {
    Diags            diags;
    GpuCudnn         cudnn = {0};
    GpuAttentionPlan plan;
    diags_open(&diags, NULL);
    GpuLibs *libs = libs_beside_fake(arena);
    String   folder = str_format(arena, "%s/../cache_cudnn", STOA_FAKES);
    String  *names;
    size_t   count;
    if (gpu_libs_need(libs, GPU_LIBRARY_CUDNN, &diags) != STATUS_OK) SKIP("cuDNN is not here");
    if (os_list(arena, folder.data, &names, &count) == 0)
        for (size_t i = 0; i < count; i++)
            EXPECT_EQ(os_remove(str_format(arena, "%s/%s", folder.data, names[i].data).data), 0);
    GpuCache cache = gpu_cache_open(arena, folder);
    REQUIRE(gpu_cudnn_open_for(libs, str_of(H100), &cache, &diags, &cudnn) == STATUS_OK);
    for (uint32_t i = 0; i < 5; i++) {
        bool         backward = i & 1 || i == 4;
        GpuAttention p = attention(i / 2 == 1 ? 4 : 12, 512); /* grouped heads, with lengths */
        p.lengths = i / 2 == 1;
        p.deterministic = i == 4;
        EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &p, backward, 0, &diags, &plan), STATUS_OK);
        EXPECT(plan.plan.engines > 0 && plan.plan.plan != NULL);
        uint64_t rows = 4 * 12 * 512, own = backward ? rows * 4 : 0;
        if (backward && !p.deterministic) own += rows * 4 * 64;
        EXPECT_EQ(plan.workspace_bytes - plan.sums_at, own);
        if (p.deterministic) EXPECT(plan.plan.workspace_bytes >= rows * 512 * 2);
        EXPECT(plan.plan.descriptors_count > 30);
        uint64_t bytes = plan.workspace_bytes;
        gpu_attention_close(&plan);
        /* Kept: the same plan, restored without describing the graph again. */
        EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &p, backward, 0, &diags, &plan), STATUS_OK);
        EXPECT_EQ(plan.workspace_bytes, bytes);
        EXPECT_EQ(plan.plan.descriptors_count, 1);
        gpu_attention_close(&plan);
    }
    EXPECT_EQ(diags.errors, 0);
    gpu_cudnn_close(&cudnn);
    gpu_libs_close(libs);
    diags_close(&diags);
}

/* [8, 64, 28, 28] with [128, 64, 3, 3] at every second place gives [8, 128, 14, 14]. */
static GpuConvolution convolution(CudnnOpKind kind, Dtype dtype) {
    static const int64_t dims[3][4] = {{8, 64, 28, 28}, {128, 64, 3, 3}, {8, 128, 14, 14}};
    GpuConvolution       p;
    memset(&p, 0, sizeof p);
    for (uint32_t side = 0; side < 3; side++)
        for (int64_t i = 3, size = 1; i >= 0; size *= dims[side][i--]) {
            p.dims[side][i] = dims[side][i];
            p.strides[side][i] = size;
        }
    p.window = (CudnnWindow){{1, 1}, {0, 0}, {2, 2}, {1, 1}, 2};
    p.kind = kind;
    p.dtype = (uint8_t)dtype;
    return p;
}

TEST(cudnn_plans_convolutions_for_a_device_that_is_not_here) {
    static const Dtype dtypes[] = {DTYPE_BF16, DTYPE_F16, DTYPE_F32, DTYPE_F64};
    Diags              diags;
    GpuCudnn           cudnn = {0};
    CudnnPlan          plan;
    diags_open(&diags, NULL);
    GpuLibs *libs = libs_beside_fake(arena);
    if (gpu_libs_need(libs, GPU_LIBRARY_CUDNN, &diags) != STATUS_OK) SKIP("cuDNN is not here");
    REQUIRE(gpu_cudnn_open_for(libs, str_of(H100), NULL, &diags, &cudnn) == STATUS_OK);
    for (uint32_t k = 0; k < 3; k++)
        for (uint32_t d = 0; d < LENGTH(dtypes); d++) {
            GpuConvolution p = convolution(CUDNN_CONVOLVE + k, dtypes[d]);
            Status         status = gpu_convolution_plan(&cudnn, arena, &p, 0, &diags, &plan);
            EXPECT_EQ(status, STATUS_OK);
            if (status != STATUS_OK) continue;
            EXPECT(plan.engines > 0 && plan.plan != NULL);
            gpu_cudnn_plan_close(&plan);
        }
    /* A result of another size is none of this convolution: an error in words. */
    GpuConvolution p = convolution(CUDNN_CONVOLVE, DTYPE_F32);
    p.dims[2][3] = 15;
    EXPECT(gpu_convolution_plan(&cudnn, arena, &p, 0, &diags, &plan) != STATUS_OK);
    EXPECT(diags_say(&diags, DIAG_GPU_CALL, "convolution"));
    gpu_cudnn_close(&cudnn);
    gpu_libs_close(libs);
    diags_close(&diags);
}

TEST(cudnn_says_what_attention_it_cannot_do) {
    Diags            diags;
    GpuLibs          libs = {.arena = arena}; /* never asked */
    GpuCudnn         cudnn = {.libs = &libs};
    GpuAttentionPlan plan;
    libs.bindings[GPU_LIBRARY_CUDNN].version = 91400;
    diags_open(&diags, NULL);
    GpuAttention dtype = attention(12, 512), heads = attention(5, 512), odd = attention(12, 1000);
    GpuAttention uneven = attention(12, 512);
    dtype.dtype = DTYPE_F32;
    uneven.keys = 128;
    EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &dtype, false, 0, &diags, &plan),
              STATUS_UNSUPPORTED);
    EXPECT(diags_say(&diags, DIAG_GPU_UNSUPPORTED, "f16 and bf16 only"));
    EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &heads, false, 0, &diags, &plan),
              STATUS_UNSUPPORTED);
    EXPECT(diags_say(&diags, DIAG_GPU_UNSUPPORTED, "heads 12 (5)"));
    EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &odd, true, 0, &diags, &plan), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&diags, DIAG_GPU_UNSUPPORTED, "before 9.15.1"));
    EXPECT_EQ(gpu_attention_plan(&cudnn, arena, &uneven, false, 0, &diags, &plan),
              STATUS_UNSUPPORTED);
    diags_close(&diags);
}

TEST(blaslt_says_what_product_it_cannot_do) {
    Diags         diags;
    GpuLibs       libs = {.arena = arena};
    Gpu           gpu = {.libs = &libs, .arena = arena};
    GpuBlas       blas = {.gpu = &gpu};
    GpuMatmulPlan plan;
    GpuMatmul p = {.m = 64, .n = 32, .k = 16, .a = DTYPE_BF16, .b = DTYPE_BF16, .d = DTYPE_BF16};
    diags_open(&diags, NULL);
    p.epilogue = GPU_EPILOGUE_RELU | GPU_EPILOGUE_GELU;
    EXPECT_EQ(gpu_matmul_plan(&blas, &p, &diags, &plan), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&diags, DIAG_GPU_UNSUPPORTED, "bf16[64,16] x bf16[16,32] -> bf16 relu gelu"));
    p.epilogue = 0;
    p.a = DTYPE_I32;
    EXPECT_EQ(gpu_matmul_plan(&blas, &p, &diags, &plan), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&diags, DIAG_GPU_UNSUPPORTED, "floating-point"));
    p.a = DTYPE_BF16;
    p.n = 100;
    p.epilogue = GPU_EPILOGUE_RELU | GPU_EPILOGUE_AUX | GPU_EPILOGUE_BIAS;
    EXPECT_EQ(gpu_matmul_aux_bytes(&p), 64 * 128 / 8);
    EXPECT_EQ(gpu_matmul_bias_bytes(&p), 200);
    p.epilogue = GPU_EPILOGUE_DGELU | GPU_EPILOGUE_DBIAS;
    EXPECT_EQ(gpu_matmul_aux_bytes(&p), 64 * 100 * 2);
    p.epilogue = GPU_EPILOGUE_SUM_A;
    p.bias = DTYPE_F32;
    EXPECT_EQ(gpu_matmul_bias_bytes(&p), 256);
    diags_close(&diags);
}
