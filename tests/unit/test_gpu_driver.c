/* Finding and binding libraries: what is missing, too old, broken or incomplete is said, with the
 * place and the way to get it; nothing is bound before it is needed. */
#define _GNU_SOURCE
#include "gpu/driver.h"

#include <stdio.h>

#include "arena/os.h"
#include "fake_gpu.h"

typedef struct Libs {
    GpuLibs *libs;
    Diags    diags;
} Libs;
static Libs libs_in(Arena *arena, const char *folders) {
    Libs l = {.libs = gpu_libs_open(arena, str_of(folders))};
    diags_open(&l.diags, NULL);
    return l;
}
static void libs_close(Libs *l) {
    gpu_libs_close(l->libs);
    diags_close(&l->diags);
}

TEST(driver_names_what_is_missing) {
    Libs l = libs_in(arena, STOA_FAKES);
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_NCCL, &l.diags), STATUS_NOT_FOUND);
    REQUIRE(diags_of(&l.diags, DIAG_GPU_LIBRARY) == 1);
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "NCCL"));
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "libnccl.so.2: no such file"));
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, STOA_FAKES));
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "tools/setup --cuda"));
    EXPECT(l.libs->fns.ncclAllReduce == NULL);
    libs_close(&l);
}

TEST(driver_refuses_old_and_bad_versions) {
    Libs old = libs_in(arena, STOA_FAKES "/old"), bad = libs_in(arena, STOA_FAKES "/bad");
    EXPECT_EQ(gpu_libs_need(old.libs, GPU_LIBRARY_CUDNN, &old.diags), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&old.diags, DIAG_GPU_LIBRARY, "is version 9.7.0, at least 9.8.0"));
    EXPECT_EQ(gpu_libs_need(bad.libs, GPU_LIBRARY_CUDNN, &bad.diags), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&bad.diags, DIAG_GPU_LIBRARY, "9.10.1: 16-bit attention is wrong"));
    EXPECT(old.libs->bindings[GPU_LIBRARY_CUDNN].handle == NULL);
    libs_close(&old);
    libs_close(&bad);
}

TEST(driver_names_a_missing_function) {
    Libs l = libs_in(arena, STOA_FAKES "/short");
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_CUDNN, &l.diags), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "libcudnn.so.9 has no cudnnBackendExecute"));
    libs_close(&l);
}

TEST(driver_tells_why_a_file_does_not_open) {
    const char *folder = str_format(arena, "%s/broken", STOA_FAKES).data;
    const char *path = str_format(arena, "%s/libnccl.so.2", folder).data;
    OsFile      file;
    REQUIRE(os_make_dir(folder) == 0 && os_open(path, OS_WRITE_NEW, &file) == 0);
    EXPECT_EQ(os_write(file, "text", 4), 0);
    EXPECT_EQ(os_close(&file), 0);
    Libs l = libs_in(arena, folder);
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_NCCL, &l.diags), STATUS_NOT_FOUND);
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "libnccl.so.2: file too short"));
    libs_close(&l);
}

TEST(driver_binds_once_and_from_the_first_folder) {
    /* A folder stands for the lib of its folders too; `driver` has no such, so it is named. */
    Libs l = libs_in(arena, STOA_FAKES "/old:" STOA_FAKES "/driver:" STOA_FAKES "/bad");
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_DRIVER, &l.diags), STATUS_OK);
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_DRIVER, &l.diags), STATUS_OK);
    const GpuBinding *binding = &l.libs->bindings[GPU_LIBRARY_DRIVER];
    EXPECT_STR(binding->path.data, STOA_FAKES "/driver/libcuda.so.1");
    EXPECT_EQ(binding->version, 130000);
    EXPECT(l.libs->fns.cuLaunchKernelEx != NULL && l.libs->fns.cublasLtMatmul == NULL);
    /* cuDNN comes from the first folder that has one, and that one is too old. */
    EXPECT_EQ(gpu_libs_need(l.libs, GPU_LIBRARY_CUDNN, &l.diags), STATUS_UNSUPPORTED);
    EXPECT(diags_say(&l.diags, DIAG_GPU_LIBRARY, "/old/libcudnn.so.9"));
    EXPECT_STR(gpu_version_text(arena, 91002).data, "9.10.2");
    libs_close(&l);
}

TEST(driver_calls_that_fail_say_so) {
    FakeGpu f;
    REQUIRE(fake_gpu_bind(&f, arena));
    f.fake->fail("cuCtxSynchronize", 1, ABI_CUDA_ERROR_OUT_OF_MEMORY);
    Status status = GPU_CALL(f.libs, &f.diags, "waiting in a test", cuCtxSynchronize, );
    EXPECT_EQ(status, STATUS_OUT_OF_MEMORY);
    EXPECT(diags_say(&f.diags, DIAG_GPU_CALL, "waiting in a test"));
    EXPECT(diags_say(&f.diags, DIAG_GPU_CALL, "cuCtxSynchronize"));
    EXPECT(diags_say(&f.diags, DIAG_GPU_CALL, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"));
    f.fake->fail("cuCtxSynchronize", 1, 700);
    status = GPU_CALL(f.libs, &f.diags, "waiting in a test", cuCtxSynchronize, );
    EXPECT_EQ(status, STATUS_DEVICE);
    status = GPU_CALL(f.libs, &f.diags, "waiting in a test", cuCtxSynchronize, );
    EXPECT_EQ(status, STATUS_OK);
    EXPECT_EQ(f.diags.errors, 2);
    fake_gpu_close(&f);
}
