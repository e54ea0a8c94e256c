/* A cuDNN that is good for nothing but its version: FAKE_VERSION, and with FAKE_SHORT one function
 * that is used is missing. */
#include "gpu/abi.h"

#ifndef FAKE_VERSION
#define FAKE_VERSION 91900
#endif
#define EXPORT __attribute__((visibility("default")))

EXPORT size_t cudnnGetVersion(void);
size_t        cudnnGetVersion(void) { return FAKE_VERSION; }

#define NOTHING(name)                                                                              \
    EXPORT CudnnStatus name(void);                                                                 \
    CudnnStatus        name(void) { return ABI_CUDNN_STATUS_NOT_SUPPORTED; }
NOTHING(cudnnGetErrorString)
NOTHING(cudnnGetLastErrorString)
NOTHING(cudnnCreate)
NOTHING(cudnnDestroy)
NOTHING(cudnnSetStream)
NOTHING(cudnnBackendCreateDescriptor)
NOTHING(cudnnBackendDestroyDescriptor)
NOTHING(cudnnBackendFinalize)
NOTHING(cudnnBackendSetAttribute)
NOTHING(cudnnBackendGetAttribute)
#ifndef FAKE_SHORT
NOTHING(cudnnBackendExecute)
#endif
