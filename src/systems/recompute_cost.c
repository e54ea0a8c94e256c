/* What a launch takes: bytes moved over the bandwidth of memory, or arithmetic over the rate of
 * matrix products or of plain operations, whichever is longer, and the start of a launch. Rough:
 * ratios between launches of one program decide, and for copies to the host whether they fit beside
 * the others. So that nobody waits for them, a step is rather thought to be too short: 0.94 and
 * 0.90 of what GPT-2 124M and 1.5B take on an H100 (note 0013). */
#include <math.h>

#include "systems/lower_inner.h"
#include "systems/recompute_inner.h"

static double elements(const LaunchArg *arg) {
    double count = 1;
    for (uint32_t i = 0; i < arg->rank; i++) count *= (double)arg->dims[i];
    return count;
}

/* Additions for each element, of all rows of a kernel. */
static double arithmetic(const Code *code, OpId op) {
    if (code->ops.opcode[op.row] != OP_FUSED) return lower_cost((Opcode)code->ops.opcode[op.row]);
    uint32_t block = code->ops.blocks_first[op.row].row;
    double   sum = 0;
    for (uint32_t row = code->blocks.op_first[block]; row + 1 < code->blocks.op_last[block]; row++)
        sum += lower_cost((Opcode)code->ops.opcode[row]);
    return sum;
}

double recompute_cost(const SystemCtx *ctx, const Plan *plan, uint32_t launch) {
    static const TargetMachine plain = {.gb_s = {20}, .gflop_s = 50, .launch_us = 1};
    enum { PLAIN_RATE = 8 }; /* plain operations are as much slower than those of products */
    const TargetMachine *machine = ctx->target != NULL ? &ctx->target->machine : &plain;
    const LaunchArg     *args = launch_args(plan, launch);
    uint32_t             count = plan->launches.args_count[launch];
    double               bytes = 0, most = 0, flops = launch_flops(plan, launch);
    double               rate = machine->gflop_s;
    if (flops != 0 && dtype_bytes((Dtype)args[0].dtype) <= 2 && machine->narrow_gflop_s != 0)
        rate = machine->narrow_gflop_s;
    for (uint32_t i = 0; i < count; i++) {
        double size = elements(&args[i]);
        bytes += size * dtype_bytes((Dtype)args[i].dtype);
        most = fmax(most, size);
    }
    if (flops == 0)
        flops = PLAIN_RATE * most * arithmetic(&plan->world->code, plan->launches.op[launch]);
    return machine->launch_us +
           fmax(flops / (rate * 1e3), bytes / (machine->gb_s[machine->caches] * 1e3));
}
