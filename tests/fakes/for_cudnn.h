/* What cuDNN and NVRTC ask of a driver when they finish a plan for a device that is not here: most
 * of it is only there to be found. Included by cuda.c. */
#ifndef STOA_TESTS_FAKES_FOR_CUDNN_H
#define STOA_TESTS_FAKES_FOR_CUDNN_H

#define YES(name)                                                                                  \
    EXPORT CuResult name(void);                                                                    \
    CuResult        name(void) { return 0; }
YES(cuCtxGetCurrent)
YES(cuCtxGetLimit)
YES(cuCtxPopCurrent)
YES(cuCtxPushCurrent)
YES(cuStreamGetCtx)
YES(cuLinkCreate)
YES(cuLinkAddData)
YES(cuLinkComplete)
YES(cuLinkDestroy)
YES(cuLaunchKernel)
YES(cuLaunchCooperativeKernel)
YES(cuLibraryLoadFromFile)
YES(cuLibraryUnload)
YES(cuKernelSetAttribute)
/* These answer through their first parameter: a handle, or a number. */
#define YES_HANDLE(name)                                                                           \
    EXPORT CuResult name(const void **handle);                                                     \
    CuResult        name(const void **handle) {                                                    \
               static const int some;                                                              \
               *handle = &some;                                                                    \
               return 0;                                                                           \
    }
YES_HANDLE(cuLibraryLoadData)
YES_HANDLE(cuLibraryGetKernel)
YES_HANDLE(cuKernelGetFunction)
#define YES_NUMBER(name, answer)                                                                   \
    EXPORT CuResult name(int *number);                                                             \
    CuResult        name(int *number) {                                                            \
               *number = (answer);                                                                 \
               return 0;                                                                           \
    }
YES_NUMBER(cuKernelGetAttribute, 0)
YES_NUMBER(cuOccupancyMaxPotentialClusterSize, 16)
/* NVRTC asks the driver for a private table, and does without one when it is refused. */
EXPORT CuResult cuGetExportTable(const void **table, const void *id);
CuResult        cuGetExportTable(const void **table, const void *id) {
           (void)table, (void)id;
           return ABI_CUDA_ERROR_NOT_SUPPORTED;
}

#endif
