/* Kernels to machine code without a GPU. Skipped where NVRTC is not found. */
#define _GNU_SOURCE
#include "gpu/nvrtc.h"
#include "gpu/own_attention.h"

#include "arena/os.h"
#include "fake_gpu.h"

/* What generated kernels use: math, shuffles, inline assembly, clusters, conditions of graphs. */
static const char KERNELS[] = GPU_CONDITION_SOURCE
    "extern \"C\" __global__ void gelu(float *y, const float *x, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] = 0.5f * x[i] * (1 + tanhf(0.7978845608f * x[i]));\n"
    "}\n"
    "extern \"C\" __global__ void row_sum(float *y, const unsigned short *x, int n) {\n"
    "    float sum = 0, value;\n"
    "    for (int i = threadIdx.x; i < n; i += 32) {\n"
    "        unsigned bits = (unsigned)x[blockIdx.x * n + i] << 16;\n"
    "        asm(\"mov.b32 %0, %1;\" : \"=f\"(value) : \"r\"(bits));\n"
    "        sum += value;\n"
    "    }\n"
    "    for (int k = 16; k > 0; k >>= 1) sum += __shfl_xor_sync(~0u, sum, k);\n"
    "    if (threadIdx.x == 0) atomicAdd(y + blockIdx.x, sum);\n"
    "}\n"
    "extern \"C\" __global__ void __cluster_dims__(2, 1, 1) clustered(unsigned *y) {\n"
    "    unsigned rank;\n"
    "    asm volatile(\"mov.u32 %0, %%cluster_ctarank;\" : \"=r\"(rank));\n"
    "    asm volatile(\"barrier.cluster.arrive.aligned;\\n barrier.cluster.wait.aligned;\");\n"
    "    y[blockIdx.x] = rank;\n"
    "}\n"
    "extern \"C\" __global__ void again(unsigned long long handle, const int *flag) {\n"
    "    cudaGraphSetConditional(handle, *flag);\n"
    "}\n";

typedef struct Compiler {
    GpuLibs *libs;
    Diags    diags;
    GpuCache cache;
} Compiler;
/* False, and the test is skipped, without NVRTC. */
static bool compiler_open(Compiler *c, Arena *arena, const char *cache) {
    *c = (Compiler){.libs = gpu_libs_open(arena, STR(""))};
    diags_open(&c->diags, NULL);
    String  folder = str_format(arena, "%s/../cache_%s", STOA_FAKES, cache);
    String *names;
    size_t  count;
    if (os_list(arena, folder.data, &names, &count) == 0)
        for (size_t i = 0; i < count; i++)
            EXPECT_EQ(os_remove(str_format(arena, "%s/%s", folder.data, names[i].data).data), 0);
    c->cache = gpu_cache_open(arena, folder);
    return gpu_libs_need(c->libs, GPU_LIBRARY_NVRTC, &c->diags) == STATUS_OK;
}
static void compiler_close(Compiler *c) {
    gpu_libs_close(c->libs);
    diags_close(&c->diags);
}
/* Whether bytes are an object file for an NVIDIA GPU that has a kernel of this name. */
static bool is_code(String image, const char *kernel) {
    return image.count > 64 && memcmp(image.data, "\177ELF", 4) == 0 &&
           (uint8_t)image.data[18] == 190 && image.data[19] == 0 &&
           memmem(image.data, image.count, kernel, strlen(kernel) + 1) != NULL;
}

TEST(nvrtc_compiles_to_machine_code) {
    Compiler    c;
    GpuCompiled compiled;
    String      image, old;
    GpuSource   source = {"kernels", str_of(KERNELS)};
    if (!compiler_open(&c, arena, "nvrtc")) SKIP("NVRTC is not here");
    REQUIRE(gpu_compile(arena, c.libs, NULL, "sm_90a", &source, 1, 1, &c.diags, &image,
                        &compiled) == STATUS_OK);
    EXPECT(is_code(image, "gelu") && is_code(image, "row_sum") && is_code(image, "clustered"));
    EXPECT(is_code(image, "again") && compiled.compiled == 1 && compiled.found == 0);
    /* Another architecture is other code; what needs a newer one is refused in words. */
    GpuSource plain = {"plain", STR("extern \"C\" __global__ void k(int *y) { *y = 1; }\n")};
    EXPECT_EQ(gpu_compile(arena, c.libs, NULL, "sm_80", &plain, 1, 1, &c.diags, &old, &compiled),
              STATUS_OK);
    EXPECT(is_code(old, "k"));
    EXPECT_EQ(c.diags.errors, 0);
    compiler_close(&c);
}

/* Tensor cores and copies that only this architecture has. */
TEST(nvrtc_compiles_attention_of_our_own) {
    Compiler    c;
    GpuCompiled compiled;
    String      images[4];
    if (!compiler_open(&c, arena, "nvrtc_attention")) SKIP("NVRTC is not here");
    GpuSource sources[] = {{"causal", gpu_own_attention_text(arena, true, false)},
                           {"full", gpu_own_attention_text(arena, false, false)},
                           {"causal, backward", gpu_own_attention_text(arena, true, true)},
                           {"full, backward", gpu_own_attention_text(arena, false, true)}};
    REQUIRE(gpu_compile(arena, c.libs, NULL, "sm_90a", sources, 4, 1, &c.diags, images,
                        &compiled) == STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        EXPECT(is_code(images[i], "attention_forward"));
        EXPECT(is_code(images[2 + i], "attention_sums"));
        EXPECT(is_code(images[2 + i], "attention_backward"));
    }
    compiler_close(&c);
}

TEST(nvrtc_reports_each_module_that_does_not_compile) {
    Compiler        c;
    GpuCompiled     compiled;
    String          images[3];
    const GpuSource sources[] = {
        {"first", STR("extern \"C\" __global__ void a() {\n    int x = y;\n}\n")},
        {"second", STR("extern \"C\" __global__ void b() {}\n")},
        {"third", STR("#include <cuda_fp16.h>\n")}};
    if (!compiler_open(&c, arena, "nvrtc_bad")) SKIP("NVRTC is not here");
    EXPECT_EQ(
        gpu_compile(arena, c.libs, &c.cache, "sm_90a", sources, 3, 1, &c.diags, images, &compiled),
        STATUS_INVALID);
    EXPECT_EQ(diags_of(&c.diags, DIAG_GPU_KERNEL), 2);
    EXPECT(diags_say(&c.diags, DIAG_GPU_KERNEL, "first(2): error: identifier \"y\" is undefined"));
    EXPECT(diags_say(&c.diags, DIAG_GPU_KERNEL, "cuda_fp16.h"));
    EXPECT(is_code(images[1], "b"));
    compiler_close(&c);
}

TEST(nvrtc_compiles_in_parallel_and_once) {
    enum { MODULES = 6 };
    Compiler    c;
    GpuCompiled compiled;
    GpuSource   sources[MODULES];
    String      images[MODULES], again[MODULES], names;
    String     *files;
    size_t      files_count;
    if (!compiler_open(&c, arena, "nvrtc_cache")) SKIP("NVRTC is not here");
    for (uint32_t i = 0; i < MODULES; i++) {
        names = str_format(arena, "kernel_%u", i);
        sources[i] = (GpuSource){
            names.data, str_format(arena, "extern \"C\" __global__ void %s(int *y) { *y = %u; }\n",
                                   names.data, i)};
    }
    REQUIRE(gpu_compile(arena, c.libs, &c.cache, "sm_90a", sources, MODULES, 2, &c.diags, images,
                        &compiled) == STATUS_OK);
    EXPECT_EQ(compiled.compiled, MODULES);
    for (uint32_t i = 0; i < MODULES; i++) EXPECT(is_code(images[i], sources[i].name));
    EXPECT_EQ(gpu_compile(arena, c.libs, &c.cache, "sm_90a", sources, MODULES, 2, &c.diags, again,
                          &compiled),
              STATUS_OK);
    EXPECT(compiled.found == MODULES && compiled.compiled == 0);
    for (uint32_t i = 0; i < MODULES; i++) EXPECT(str_same(images[i], again[i]));
    /* A damaged file is compiled again and replaced. */
    OsFile file;
    REQUIRE(os_list(arena, c.cache.folder.data, &files, &files_count) == 0);
    REQUIRE(files_count == MODULES);
    const char *path = str_format(arena, "%s/%s", c.cache.folder.data, files[2].data).data;
    REQUIRE(os_open(path, OS_WRITE_NEW, &file) == 0);
    EXPECT(os_write(file, "stoagpu\n", 8) == 0 && os_close(&file) == 0);
    for (uint32_t repair = 0; repair < 2; repair++) {
        EXPECT_EQ(gpu_compile(arena, c.libs, &c.cache, "sm_90a", sources, MODULES, 2, &c.diags,
                              again, &compiled),
                  STATUS_OK);
        EXPECT_EQ(compiled.compiled, 1 - repair);
        for (uint32_t i = 0; i < MODULES; i++) EXPECT(str_same(images[i], again[i]));
    }
    EXPECT_EQ(c.diags.rows.table.count, 1);
    compiler_close(&c);
}

/* What is wanted before a thread has come to it is compiled by who wants it; nobody waits for what
 * nobody wants. */
TEST(nvrtc_compiles_ahead) {
    enum { MODULES = 5 };
    Compiler      c;
    GpuCompiling *compiling;
    GpuSource     sources[MODULES];
    String        image, again;
    if (!compiler_open(&c, arena, "nvrtc_ahead")) SKIP("NVRTC is not here");
    for (uint32_t i = 0; i < MODULES; i++) {
        String text = str_format(arena, "extern \"C\" __global__ void ahead_%u() {%s}\n", i,
                                 i == 3 ? " int x = y; " : "");
        sources[i] = (GpuSource){"ahead", text};
    }
    for (uint32_t lanes = 1; lanes <= 3; lanes += 2) {
        diags_clear(&c.diags);
        REQUIRE(gpu_compile_begin(arena, c.libs, lanes == 3 ? &c.cache : NULL, "sm_90a", sources,
                                  MODULES, lanes, &c.diags, &compiling) == STATUS_OK);
        EXPECT_EQ(gpu_compile_missing(compiling), MODULES);
        for (uint32_t i = MODULES - 1; i > 1; i--) { /* against the order of the threads */
            Status status = gpu_compile_take(compiling, i, &c.diags, &image);
            EXPECT_EQ(status, i == 3 ? STATUS_INVALID : STATUS_OK);
            if (i != 3) EXPECT(is_code(image, str_format(arena, "ahead_%u", i).data));
            EXPECT_EQ(gpu_compile_take(compiling, i, &c.diags, &again), status);
            EXPECT(again.data == image.data);
        }
        EXPECT_EQ(diags_of(&c.diags, DIAG_GPU_KERNEL), 1);
        gpu_compile_keep(compiling, &c.diags);
        gpu_compile_close(compiling);
    }
    /* What was taken is in the cache, and what the threads had done. */
    REQUIRE(gpu_compile_begin(arena, c.libs, &c.cache, "sm_90a", sources, MODULES, 1, &c.diags,
                              &compiling) == STATUS_OK);
    EXPECT(gpu_compile_missing(compiling) >= 1 && gpu_compile_missing(compiling) <= 3);
    gpu_compile_close(compiling);
    compiler_close(&c);
}
