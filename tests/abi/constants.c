/* Our constants and structs against NVIDIA's headers: it compiles, or it says what differs. */
#include <assert.h>
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda.h>
#include <cudnn.h>
#include <cupti.h>
#include <nccl.h>
#include <nvrtc.h>

#include "gpu/abi.h"

#define GPU_CONSTANT(name, value) static_assert((long long)(name) == (value), #name);
#include "gpu/constants.def"

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs), #ours)
#define SAME_PLACE(ours, field, theirs, their_field)                                               \
    static_assert(offsetof(ours, field) == offsetof(theirs, their_field) &&                        \
                      sizeof(((ours *)0)->field) <= sizeof(theirs),                                \
                  #ours "." #field)

SAME_SIZE(CuMemLocation, CUmemLocation);
SAME_SIZE(CuMemProp, CUmemAllocationProp);
SAME_PLACE(CuMemProp, location, CUmemAllocationProp, location);
SAME_PLACE(CuMemProp, flags, CUmemAllocationProp, allocFlags);
SAME_SIZE(CuMemAccess, CUmemAccessDesc);
SAME_PLACE(CuMemAccess, flags, CUmemAccessDesc, flags);
SAME_SIZE(CuLaunchValue, CUlaunchAttributeValue);
SAME_PLACE(CuLaunchValue, cluster.z, CUlaunchAttributeValue, clusterDim.z);
SAME_PLACE(CuLaunchValue, cooperative, CUlaunchAttributeValue, cooperative);
SAME_SIZE(CuLaunchAttribute, CUlaunchAttribute);
SAME_PLACE(CuLaunchAttribute, value, CUlaunchAttribute, value);
SAME_SIZE(CuLaunchConfig, CUlaunchConfig);
SAME_PLACE(CuLaunchConfig, block, CUlaunchConfig, blockDimX);
SAME_PLACE(CuLaunchConfig, shared_bytes, CUlaunchConfig, sharedMemBytes);
SAME_PLACE(CuLaunchConfig, stream, CUlaunchConfig, hStream);
SAME_PLACE(CuLaunchConfig, attributes, CUlaunchConfig, attrs);
SAME_PLACE(CuLaunchConfig, attributes_count, CUlaunchConfig, numAttrs);
SAME_SIZE(CuTensorMap, CUtensorMap);
static_assert(_Alignof(CuTensorMap) % _Alignof(CUtensorMap) == 0, "64, 128 since CUDA 13");
SAME_SIZE(CuKernelNode, CUDA_KERNEL_NODE_PARAMS);
SAME_PLACE(CuKernelNode, grid, CUDA_KERNEL_NODE_PARAMS, gridDimX);
SAME_PLACE(CuKernelNode, shared_bytes, CUDA_KERNEL_NODE_PARAMS, sharedMemBytes);
SAME_PLACE(CuKernelNode, args, CUDA_KERNEL_NODE_PARAMS, kernelParams);
SAME_PLACE(CuKernelNode, extra, CUDA_KERNEL_NODE_PARAMS, extra);
SAME_PLACE(CuKernelNode, context, CUDA_KERNEL_NODE_PARAMS, ctx);
SAME_SIZE(CuCopyNode, CUDA_MEMCPY3D);
SAME_PLACE(CuCopyNode, from.memory, CUDA_MEMCPY3D, srcMemoryType);
SAME_PLACE(CuCopyNode, from.host, CUDA_MEMCPY3D, srcHost);
SAME_PLACE(CuCopyNode, from.device, CUDA_MEMCPY3D, srcDevice);
SAME_PLACE(CuCopyNode, from.height, CUDA_MEMCPY3D, srcHeight);
SAME_PLACE(CuCopyNode, into.memory, CUDA_MEMCPY3D, dstMemoryType);
SAME_PLACE(CuCopyNode, into.device, CUDA_MEMCPY3D, dstDevice);
SAME_PLACE(CuCopyNode, width_bytes, CUDA_MEMCPY3D, WidthInBytes);
SAME_PLACE(CuCopyNode, depth, CUDA_MEMCPY3D, Depth);
SAME_SIZE(CuFillNode, CUDA_MEMSET_NODE_PARAMS);
SAME_PLACE(CuFillNode, pitch, CUDA_MEMSET_NODE_PARAMS, pitch);
SAME_PLACE(CuFillNode, value, CUDA_MEMSET_NODE_PARAMS, value);
SAME_PLACE(CuFillNode, element_bytes, CUDA_MEMSET_NODE_PARAMS, elementSize);
SAME_PLACE(CuFillNode, height, CUDA_MEMSET_NODE_PARAMS, height);
SAME_SIZE(CuEdge, CUgraphEdgeData);
SAME_SIZE(CuNodeParams, CUgraphNodeParams);
SAME_PLACE(CuNodeParams, u, CUgraphNodeParams, conditional);
SAME_PLACE(CuNodeParams, u.conditional.type, CUgraphNodeParams, conditional.type);
SAME_PLACE(CuNodeParams, u.conditional.size, CUgraphNodeParams, conditional.size);
SAME_PLACE(CuNodeParams, u.conditional.bodies, CUgraphNodeParams, conditional.phGraph_out);
SAME_PLACE(CuNodeParams, u.conditional.context, CUgraphNodeParams, conditional.ctx);
SAME_SIZE(CuInstantiate, CUDA_GRAPH_INSTANTIATE_PARAMS);
SAME_PLACE(CuInstantiate, error_node, CUDA_GRAPH_INSTANTIATE_PARAMS, hErrNode_out);
SAME_PLACE(CuInstantiate, result, CUDA_GRAPH_INSTANTIATE_PARAMS, result_out);
SAME_SIZE(CuUpdateInfo, CUgraphExecUpdateResultInfo);
SAME_PLACE(CuUpdateInfo, error_from, CUgraphExecUpdateResultInfo, errorFromNode);
SAME_SIZE(BlasLtAlgo, cublasLtMatmulAlgo_t);
SAME_SIZE(BlasLtHeuristic, cublasLtMatmulHeuristicResult_t);
SAME_PLACE(BlasLtHeuristic, workspace_bytes, cublasLtMatmulHeuristicResult_t, workspaceSize);
SAME_PLACE(BlasLtHeuristic, state, cublasLtMatmulHeuristicResult_t, state);
SAME_PLACE(BlasLtHeuristic, waves, cublasLtMatmulHeuristicResult_t, wavesCount);
SAME_SIZE(NcclUniqueId, ncclUniqueId);
SAME_SIZE(CuResult, CUresult);
SAME_SIZE(CuPtr, CUdeviceptr);
SAME_SIZE(CuCondition, CUgraphConditionalHandle);
SAME_SIZE(CuMemHandle, CUmemGenericAllocationHandle);
SAME_SIZE(CudnnAttribute, cudnnBackendAttributeName_t);
SAME_SIZE(CudaDataType, cudaDataType_t);
SAME_PLACE(CuptiKernel, start_ns, CUpti_ActivityKernel10, start);
SAME_PLACE(CuptiKernel, stream, CUpti_ActivityKernel10, streamId);
SAME_PLACE(CuptiKernel, block, CUpti_ActivityKernel10, blockX);
SAME_PLACE(CuptiKernel, correlation, CUpti_ActivityKernel10, correlationId);
SAME_PLACE(CuptiKernel, name, CUpti_ActivityKernel10, name);
SAME_PLACE(CuptiKernel, node, CUpti_ActivityKernel10, graphNodeId);
SAME_PLACE(CuptiCopy, copy_kind, CUpti_ActivityMemcpy6, copyKind);
SAME_PLACE(CuptiCopy, bytes, CUpti_ActivityMemcpy6, bytes);
SAME_PLACE(CuptiCopy, end_ns, CUpti_ActivityMemcpy6, end);
SAME_PLACE(CuptiCopy, correlation, CUpti_ActivityMemcpy6, correlationId);
SAME_PLACE(CuptiCopy, node, CUpti_ActivityMemcpy6, graphNodeId);
SAME_PLACE(CuptiFill, bytes, CUpti_ActivityMemset4, bytes);
SAME_PLACE(CuptiFill, end_ns, CUpti_ActivityMemset4, end);
SAME_PLACE(CuptiFill, correlation, CUpti_ActivityMemset4, correlationId);
SAME_PLACE(CuptiFill, node, CUpti_ActivityMemset4, graphNodeId);
SAME_SIZE(CuptiCall, CUpti_ActivityAPI);
SAME_PLACE(CuptiCall, id, CUpti_ActivityAPI, cbid);
SAME_PLACE(CuptiCall, end_ns, CUpti_ActivityAPI, end);
SAME_PLACE(CuptiCall, correlation, CUpti_ActivityAPI, correlationId);
SAME_SIZE(CuptiExternal, CUpti_ActivityExternalCorrelation);
SAME_PLACE(CuptiExternal, external, CUpti_ActivityExternalCorrelation, externalId);
SAME_PLACE(CuptiExternal, correlation, CUpti_ActivityExternalCorrelation, correlationId);
SAME_PLACE(CuptiResource, descriptor, CUpti_ResourceData, resourceDescriptor);
SAME_PLACE(CuptiGraphData, node, CUpti_GraphData, node);
SAME_PLACE(CuptiGraphData, node_before, CUpti_GraphData, originalNode);
