/* The binary interface of NVIDIA's libraries, as far as it is used: types, structs and constants
 * under names of our own.
 *
 * Stoa builds without the CUDA Toolkit, so nothing here includes its headers; names of our own let
 * tests/abi include both and compare (sizes, offsets, values, prototypes) where a toolkit is
 * installed. Enumerations of theirs are ints here: both are four bytes and passed alike.
 * functions.def has the functions, constants.def the constants, libraries.def the files. */
#ifndef STOA_GPU_ABI_H
#define STOA_GPU_ABI_H

#include <stddef.h>
#include <stdint.h>

enum {
#define GPU_CONSTANT(name, value) ABI_##name = (value),
#include "gpu/constants.def"
};

/* --- driver ----------------------------------------------------------------------------------- */
typedef int CuResult, CuDevice, CuDeviceAttribute, CuFunctionAttribute, CuCaptureMode;
typedef int CuLaunchAttributeId, CuMemGranularity;
typedef int CuMapType, CuMapInterleave, CuMapSwizzle, CuMapPromotion, CuMapFill;

typedef unsigned long long CuPtr; /* an address on the device */
typedef unsigned long long CuMemHandle, CuCondition;

typedef struct CUctx_st       *CuContext;
typedef struct CUstream_st    *CuStream;
typedef struct CUevent_st     *CuEvent;
typedef struct CUmod_st       *CuModule;
typedef struct CUfunc_st      *CuFunction;
typedef struct CUgraph_st     *CuGraph;
typedef struct CUgraphNode_st *CuNode;
typedef struct CUgraphExec_st *CuGraphExec;

typedef struct CuMemLocation {
    int type, id;
} CuMemLocation;
typedef struct CuMemProp {
    int           type, requested_handles;
    CuMemLocation location;
    void         *win32;
    struct {
        unsigned char  compression, rdma;
        unsigned short usage;
        unsigned char  reserved[4];
    } flags;
} CuMemProp;
typedef struct CuMemAccess {
    CuMemLocation location;
    int           flags;
} CuMemAccess;

typedef union CuLaunchValue {
    char pad[64];
    int  cooperative;
    struct {
        unsigned x, y, z;
    } cluster;
} CuLaunchValue;
typedef struct CuLaunchAttribute {
    int           id;
    char          pad[4];
    CuLaunchValue value;
} CuLaunchAttribute;
typedef struct CuLaunchConfig {
    unsigned           grid[3], block[3], shared_bytes;
    CuStream           stream;
    CuLaunchAttribute *attributes;
    unsigned           attributes_count;
} CuLaunchConfig;

typedef struct CuTensorMap { /* how boxes of a tensor are copied to shared memory */
    _Alignas(128) uint64_t opaque[16];
} CuTensorMap;

typedef struct CuKernelNode {
    CuFunction function;
    unsigned   grid[3], block[3], shared_bytes;
    void     **args, **extra;
    void      *kernel; /* of a library; unused */
    CuContext  context;
} CuKernelNode;
typedef struct CuCopySide {
    size_t      x_bytes, y, z, lod;
    int         memory;
    const void *host;
    CuPtr       device;
    void       *array, *reserved;
    size_t      pitch, height;
} CuCopySide;
typedef struct CuCopyNode {
    CuCopySide from, into;
    size_t     width_bytes, height, depth;
} CuCopyNode;
typedef struct CuFillNode {
    CuPtr    into;
    size_t   pitch;
    unsigned value, element_bytes;
    size_t   width, height;
} CuFillNode;
typedef struct CuEdge {
    unsigned char from_port, to_port, type, reserved[5];
} CuEdge;
/* Only the conditional form of the union is used. */
typedef struct CuNodeParams {
    int type, reserved0[3];
    union {
        long long reserved1[29];
        struct {
            CuCondition condition;
            int         type;
            unsigned    size;
            CuGraph    *bodies; /* owned by the driver, filled when the node is added */
            CuContext   context;
        } conditional;
    } u;
    long long reserved2;
} CuNodeParams;
typedef struct CuInstantiate {
    uint64_t flags;
    CuStream upload;
    CuNode   error_node;
    int      result;
} CuInstantiate;
typedef struct CuUpdateInfo {
    int    result;
    CuNode error_node, error_from;
} CuUpdateInfo;

/* --- NVRTC ------------------------------------------------------------------------------------ */
typedef int                   NvrtcResult;
typedef struct _nvrtcProgram *NvrtcProgram;

/* --- cuBLASLt --------------------------------------------------------------------------------- */
typedef int BlasStatus, BlasCompute, CudaDataType;
typedef int BlasLtDescAttribute, BlasLtLayoutAttribute, BlasLtPreferenceAttribute;

typedef struct cublasLtContext  *BlasLtHandle;
typedef struct BlasLtDescOpaque *BlasLtDesc;
typedef struct BlasLtLayoutOpaq *BlasLtLayout;
typedef struct BlasLtPreferOpaq *BlasLtPreference;
typedef struct BlasLtAlgo { /* may be stored and used again with the same version of cuBLASLt */
    uint64_t data[8];
} BlasLtAlgo;
typedef struct BlasLtHeuristic {
    BlasLtAlgo algo;
    size_t     workspace_bytes;
    BlasStatus state;
    float      waves;
    int        reserved[4];
} BlasLtHeuristic;

/* --- cuDNN ------------------------------------------------------------------------------------ */
typedef int                  CudnnStatus, CudnnDescriptorType, CudnnAttribute, CudnnType;
typedef struct cudnnContext *CudnnHandle;
typedef void                *CudnnDescriptor;

/* --- CUPTI ------------------------------------------------------------------------------------ */
typedef int                         CuptiResult, CuptiKind, CuptiDomain, CuptiExternalKind;
typedef struct CUpti_Subscriber_st *CuptiSubscriber;
typedef struct CuptiActivity        CuptiActivity;

typedef void CuptiRequest(uint8_t **buffer, size_t *bytes, size_t *records_max);
typedef void CuptiComplete(CuContext context, uint32_t stream, uint8_t *buffer, size_t bytes,
                           size_t valid_bytes);
typedef void CuptiCallback(void *user, CuptiDomain domain, uint32_t id, const void *data);
typedef CuptiRequest  *CuptiRequestFn;
typedef CuptiComplete *CuptiCompleteFn;
typedef CuptiCallback *CuptiCallbackFn;

/* Records as far as they are read: newer versions of CUPTI only append to them. */
struct CuptiActivity {
    int kind;
};
typedef struct CuptiKernel {
    int         kind;
    uint8_t     before[12];
    uint64_t    start_ns, end_ns, completed_ns;
    uint32_t    device, context, stream;
    int32_t     grid[3], block[3], shared[2];
    uint32_t    local[2], correlation;
    int64_t     grid_id;
    const char *name; /* as long as the kernel is loaded */
    void       *reserved;
    uint64_t    queued_ns, submitted_ns;
    uint8_t     launch[8];
    uint64_t    node;
} CuptiKernel;
typedef struct CuptiCopy {
    int      kind;
    uint8_t  copy_kind, from, into, flags;
    uint64_t bytes, start_ns, end_ns;
    uint32_t device, context, stream, correlation, runtime_correlation, pad;
    void    *reserved;
    uint64_t node;
} CuptiCopy;
typedef struct CuptiFill {
    int      kind;
    uint32_t value;
    uint64_t bytes, start_ns, end_ns;
    uint32_t device, context, stream, correlation;
    uint16_t flags, memory;
    uint32_t pad;
    void    *reserved;
    uint64_t node;
} CuptiFill;
typedef struct CuptiCall {
    int      kind;
    uint32_t id;
    uint64_t start_ns, end_ns;
    uint32_t process, thread, correlation, result;
} CuptiCall;
typedef struct CuptiExternal {
    int      kind, external_kind;
    uint64_t external;
    uint32_t correlation, reserved;
} CuptiExternal;
typedef struct CuptiResource { /* what a callback of CUPTI_CB_DOMAIN_RESOURCE gets */
    CuContext   context;
    void       *handle;
    const void *descriptor;
} CuptiResource;
typedef struct CuptiGraphData { /* its descriptor, of graph nodes */
    CuGraph graph, graph_before;
    CuNode  node, node_before;
} CuptiGraphData;

/* --- NCCL ------------------------------------------------------------------------------------- */
typedef int              NcclResult, NcclType, NcclOp;
typedef struct ncclComm *NcclComm;
typedef struct NcclUniqueId {
    char bytes[128];
} NcclUniqueId;

#endif
