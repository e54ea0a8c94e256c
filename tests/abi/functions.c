/* Our prototypes against NVIDIA's: our type names stand for theirs here, so each line of
 * functions.def must give exactly the type of the function of that name. */
#include <assert.h>
#include <cublasLt.h>
#include <cuda.h>
#include <cudnn.h>
#include <cupti.h>
#include <nccl.h>
#include <nvrtc.h>
#include <nvtx3/nvToolsExt.h>

typedef CUresult                             CuResult;
typedef CUdevice                             CuDevice;
typedef CUdevice_attribute                   CuDeviceAttribute;
typedef CUfunction_attribute                 CuFunctionAttribute;
typedef CUstreamCaptureMode                  CuCaptureMode;
typedef CUlaunchAttributeID                  CuLaunchAttributeId;
typedef CUmemAllocationGranularity_flags     CuMemGranularity;
typedef CUtensorMap                          CuTensorMap;
typedef CUtensorMapDataType                  CuMapType;
typedef CUtensorMapInterleave                CuMapInterleave;
typedef CUtensorMapSwizzle                   CuMapSwizzle;
typedef CUtensorMapL2promotion               CuMapPromotion;
typedef CUtensorMapFloatOOBfill              CuMapFill;
typedef CUdeviceptr                          CuPtr;
typedef CUmemGenericAllocationHandle         CuMemHandle;
typedef CUgraphConditionalHandle             CuCondition;
typedef CUcontext                            CuContext;
typedef CUstream                             CuStream;
typedef CUevent                              CuEvent;
typedef CUmodule                             CuModule;
typedef CUfunction                           CuFunction;
typedef CUgraph                              CuGraph;
typedef CUgraphNode                          CuNode;
typedef CUgraphExec                          CuGraphExec;
typedef CUmemAllocationProp                  CuMemProp;
typedef CUmemAccessDesc                      CuMemAccess;
typedef CUlaunchAttributeValue               CuLaunchValue;
typedef CUlaunchConfig                       CuLaunchConfig;
typedef CUDA_KERNEL_NODE_PARAMS              CuKernelNode;
typedef CUDA_MEMCPY3D                        CuCopyNode;
typedef CUDA_MEMSET_NODE_PARAMS              CuFillNode;
typedef CUgraphEdgeData                      CuEdge;
typedef CUgraphNodeParams                    CuNodeParams;
typedef CUDA_GRAPH_INSTANTIATE_PARAMS        CuInstantiate;
typedef CUgraphExecUpdateResultInfo          CuUpdateInfo;
typedef nvrtcResult                          NvrtcResult;
typedef nvrtcProgram                         NvrtcProgram;
typedef cublasStatus_t                       BlasStatus;
typedef cublasComputeType_t                  BlasCompute;
typedef cudaDataType_t                       CudaDataType;
typedef cublasLtHandle_t                     BlasLtHandle;
typedef cublasLtMatmulDesc_t                 BlasLtDesc;
typedef cublasLtMatrixLayout_t               BlasLtLayout;
typedef cublasLtMatmulPreference_t           BlasLtPreference;
typedef cublasLtMatmulDescAttributes_t       BlasLtDescAttribute;
typedef cublasLtMatrixLayoutAttribute_t      BlasLtLayoutAttribute;
typedef cublasLtMatmulPreferenceAttributes_t BlasLtPreferenceAttribute;
typedef cublasLtMatmulAlgo_t                 BlasLtAlgo;
typedef cublasLtMatmulHeuristicResult_t      BlasLtHeuristic;
typedef cudnnStatus_t                        CudnnStatus;
typedef cudnnHandle_t                        CudnnHandle;
typedef cudnnBackendDescriptor_t             CudnnDescriptor;
typedef cudnnBackendDescriptorType_t         CudnnDescriptorType;
typedef cudnnBackendAttributeName_t          CudnnAttribute;
typedef cudnnBackendAttributeType_t          CudnnType;
typedef CUptiResult                          CuptiResult;
typedef CUpti_ActivityKind                   CuptiKind;
typedef CUpti_Activity                       CuptiActivity;
typedef CUpti_BuffersCallbackRequestFunc     CuptiRequestFn;
typedef CUpti_BuffersCallbackCompleteFunc    CuptiCompleteFn;
typedef CUpti_CallbackDomain                 CuptiDomain;
typedef CUpti_ExternalCorrelationKind        CuptiExternalKind;
typedef CUpti_SubscriberHandle               CuptiSubscriber;
typedef CUpti_CallbackFunc                   CuptiCallbackFn;
typedef ncclResult_t                         NcclResult;
typedef ncclComm_t                           NcclComm;
typedef ncclUniqueId                         NcclUniqueId;
typedef ncclDataType_t                       NcclType;
typedef ncclRedOp_t                          NcclOp;

#define GPU_FN(library, result, name, parameters)                                                  \
    static_assert(__builtin_types_compatible_p(__typeof__(name), result parameters), #name);
#include "gpu/functions.def"
