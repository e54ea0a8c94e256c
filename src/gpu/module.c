/* Modules of machine code, kernels in them, and launches.
 *
 * Arguments travel as one packed block: a generated kernel takes one struct, so that the number of
 * its tensors has no limit but the driver's 32 KiB. */
#include "gpu/gpu.h"

Status gpu_module_open(Gpu *gpu, const char *name, String image, Diags *diags,
                       GpuModule *out_module) {
    ASSERT(image.count > 0);
    *out_module = (GpuModule){.gpu = gpu};
    uint64_t begin_ns = os_clock_ns();
    Status   status =
        GPU_CALL(gpu->libs, diags, name, cuModuleLoadData, &out_module->handle, image.data);
    gpu_startup_end(gpu->libs->startup, GPU_PART_LOAD, name, begin_ns);
    return status;
}

void gpu_module_close(GpuModule *module) {
    if (module->handle != NULL) (void)module->gpu->libs->fns.cuModuleUnload(module->handle);
    *module = (GpuModule){0};
}

Status gpu_module_kernel(const GpuModule *module, const char *name, Diags *diags,
                         GpuKernel *out_kernel) {
    GpuLibs *libs = module->gpu->libs;
    int      facts[4] = {0};

    static const int attributes[4] = {
        ABI_CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, ABI_CU_FUNC_ATTRIBUTE_NUM_REGS,
        ABI_CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, ABI_CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES};
    *out_kernel = (GpuKernel){.name = name};
    Status status = GPU_CALL(libs, diags, name, cuModuleGetFunction, &out_kernel->function,
                             module->handle, name);
    for (uint32_t i = 0; i < LENGTH(facts) && status == STATUS_OK; i++)
        status = GPU_CALL(libs, diags, name, cuFuncGetAttribute, &facts[i], attributes[i],
                          out_kernel->function);
    out_kernel->threads_max = (uint32_t)facts[0];
    out_kernel->registers = (uint32_t)facts[1];
    out_kernel->shared_bytes = (uint32_t)facts[2];
    out_kernel->local_bytes = (uint32_t)facts[3];
    return status;
}

Status gpu_module_variable(const GpuModule *module, const char *name, Diags *diags,
                           CuPtr *out_memory, uint64_t *out_bytes) {
    size_t bytes = 0;
    *out_memory = 0;
    Status status = GPU_CALL(module->gpu->libs, diags, name, cuModuleGetGlobal_v2, out_memory,
                             &bytes, module->handle, name);
    *out_bytes = bytes;
    return status;
}

Status gpu_kernel_allow(Gpu *gpu, GpuKernel kernel, uint32_t shared_bytes, bool large_clusters,
                        Diags *diags) {
    ASSERT(shared_bytes <= gpu->info.shared_bytes_per_block);
    Status status =
        GPU_CALL(gpu->libs, diags, kernel.name, cuFuncSetAttribute, kernel.function,
                 ABI_CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared_bytes);
    if (status == STATUS_OK && large_clusters)
        status = GPU_CALL(gpu->libs, diags, kernel.name, cuFuncSetAttribute, kernel.function,
                          ABI_CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
    return status;
}

Status gpu_kernel_blocks(Gpu *gpu, GpuKernel kernel, uint32_t threads, uint32_t shared_bytes,
                         Diags *diags, uint32_t *out_blocks) {
    int    blocks = 0;
    Status status =
        GPU_CALL(gpu->libs, diags, kernel.name, cuOccupancyMaxActiveBlocksPerMultiprocessor,
                 &blocks, kernel.function, (int)threads, shared_bytes);
    *out_blocks = (uint32_t)blocks;
    return status;
}

Status gpu_launch(GpuStream stream, const GpuLaunch *launch, Diags *diags) {
    CuLaunchAttribute attributes[2] = {0};
    CuLaunchConfig    config = {
           .shared_bytes = launch->shared_bytes, .stream = stream.handle, .attributes = attributes};
    size_t args_bytes = launch->args_bytes;
    void  *extra[] = {(void *)(uintptr_t)ABI_CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT,
                      (void *)(uintptr_t)launch->args,
                      (void *)(uintptr_t)ABI_CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT, &args_bytes, NULL};
    void  *single[] = {(void *)(uintptr_t)launch->args};
    bool   packed = args_bytes > 0 && !launch->single;
    memcpy(config.grid, launch->grid, sizeof config.grid);
    memcpy(config.block, launch->block, sizeof config.block);
    if (launch->cluster[0] > 0) {
        CuLaunchAttribute *cluster = &attributes[config.attributes_count++];
        cluster->id = ABI_CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        cluster->value.cluster.x = launch->cluster[0];
        cluster->value.cluster.y = launch->cluster[1];
        cluster->value.cluster.z = launch->cluster[2];
    }
    if (launch->cooperative) {
        CuLaunchAttribute *cooperative = &attributes[config.attributes_count++];
        cooperative->id = ABI_CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
        cooperative->value.cooperative = 1;
    }
    return GPU_CALL(stream.gpu->libs, diags, launch->kernel.name, cuLaunchKernelEx, &config,
                    launch->kernel.function, launch->single ? single : NULL, packed ? extra : NULL);
}
