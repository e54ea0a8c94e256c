/* What launches take, from their arguments alone: bytes moved and floating-point operations. For
 * reports and for costs that are compared; products are counted, elementwise arithmetic is not. */
#include <math.h>

#include "tables/plan.h"

static double elements(const LaunchArg *arg) {
    double count = 1;
    for (uint32_t i = 0; i < arg->rank; i++) count *= (double)arg->dims[i];
    return count;
}

/* Multiplications for each element of the first result. */
typedef double DepthFn(const Plan *plan, uint32_t launch, const LaunchArg *args);
static double  dot_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
     int64_t  axes[LIST_MAX];
     uint32_t count = launch_ints(plan, launch, ATTR_DOT_GENERAL_x_contract, axes);
     double   depth = 1;
     for (uint32_t i = 0; i < count; i++) depth *= (double)args[0].dims[axes[i]];
    return depth;
}
static double row_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    (void)plan, (void)launch;
    return (double)args[0].dims[args[0].rank - 1];
}
static double window_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    (void)plan, (void)launch;
    return elements(&args[1]) / fmax(1, (double)args[1].dims[0]);
}
static double keys_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    (void)plan, (void)launch;
    return 2 * (double)args[1].dims[args[1].rank - 2];
}
static double table_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    (void)plan, (void)launch;
    return elements(&args[1]);
}
static double keys_grad_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    return keys_depth(plan, launch, args) / 2 * 5;
}
static double table_grad_depth(const Plan *plan, uint32_t launch, const LaunchArg *args) {
    (void)plan, (void)launch;
    return 3 * (double)args[1].dims[0];
}
static DepthFn *const depths[OP_COUNT] = {
    [OP_DOT_GENERAL] = dot_depth,
    [OP_DOT_ADD] = dot_depth,
    [OP_DOT_BIAS] = row_depth,
    [OP_DOT_GELU] = row_depth,
    [OP_DOT_GELU_GRAD] = row_depth,
    [OP_LINEAR] = row_depth,
    [OP_MATMUL] = row_depth,
    [OP_CONVOLUTION] = window_depth,
    [OP_ATTENTION] = keys_depth,
    [OP_ATTENTION_GRAD] = keys_grad_depth,
    [OP_ATTENTION_GRAD_SUMS] = keys_grad_depth,
    [OP_LINEAR_CROSS_ENTROPY] = table_depth,
    [OP_LINEAR_CROSS_ENTROPY_GRAD] = table_grad_depth,
};
double launch_flops(const Plan *plan, uint32_t launch) {
    const LaunchArg *args = launch_args(plan, launch);
    uint32_t         operands = plan->launches.operands[launch];
    DepthFn         *depth = depths[plan->launches.opcode[launch]];
    if (depth == NULL || operands == plan->launches.args_count[launch]) return 0;
    return 2 * elements(&args[operands]) * depth(plan, launch, args);
}

uint64_t launch_bytes(const Plan *plan, uint32_t launch) {
    const LaunchArg *args = launch_args(plan, launch);
    uint64_t         bytes = 0;
    for (uint32_t i = 0; i < plan->launches.args_count[launch]; i++) {
        uint64_t count = 1;
        for (uint32_t k = 0; k < args[i].rank; k++)
            if (args[i].strides[k] != 0 || args[i].dims[k] == 0) count *= (uint64_t)args[i].dims[k];
        bytes += count * dtype_bytes((Dtype)args[i].dtype);
    }
    return bytes;
}
