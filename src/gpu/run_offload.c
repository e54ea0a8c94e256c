/* Copies to page-locked memory of the host and back, beside the kernels.
 *
 * A copy goes to a stream of its direction: it waits for what the stream of the plan has by then,
 * and records an event, which its await lets that stream wait for. Captured, this is a fork and a
 * join of the graph. The memory is the kit's, as long as the largest plan needs: runs of its plans
 * do not overlap. */
#include "gpu/run_inner.h"

struct RunCopy {
    uint32_t buffer; /* of the plan, that it writes */
    bool     back;
    RunRef   device;
    uint64_t host, bytes; /* host: offset */
    GpuEvent done;
    RunCopy *next;
};

static Status need_streams(GpuKit *kit, Diags *diags) {
    if (kit->fork.handle != NULL) return STATUS_OK;
    Status status = gpu_stream_open(kit->gpu, diags, &kit->ways[0]);
    if (status == STATUS_OK) status = gpu_stream_open(kit->gpu, diags, &kit->ways[1]);
    if (status == STATUS_OK) status = gpu_event_open(kit->gpu, false, diags, &kit->fork);
    if (status != STATUS_OK) run_close_host(kit);
    return status;
}
/* The only place that adds GPU_HOST_MEMORY. The old memory goes last: a failure keeps it. */
Status run_need_host(GpuKit *kit, uint64_t bytes, Diags *diags) {
    void *memory = NULL;
    if (bytes <= kit->host_bytes) return STATUS_OK;
    Status status = gpu_host_open(kit->gpu, bytes, diags, &memory);
    if (status != STATUS_OK) (void)diags_add(diags, DIAG_GPU_HOST_MEMORY, 0, bytes, 0, 0, 0);
    if (status == STATUS_OK) status = gpu_sync(kit->gpu, diags);
    if (status != STATUS_OK) {
        gpu_host_close(kit->gpu, memory);
        return status;
    }
    gpu_host_close(kit->gpu, kit->host);
    kit->host = memory;
    kit->host_bytes = bytes;
    kit->watches++; /* graphs hold addresses */
    return STATUS_OK;
}
void run_close_host(GpuKit *kit) {
    gpu_event_close(&kit->fork);
    for (int way = 0; way < 2; way++) gpu_stream_close(&kit->ways[way]);
    gpu_host_close(kit->gpu, kit->host);
    kit->host = NULL;
    kit->host_bytes = 0;
}
void run_close_copies(RunCopy *copies) {
    for (; copies != NULL; copies = copies->next) gpu_event_close(&copies->done);
}

static Status copy_run(const void *params, const RunCtx *ctx) {
    const RunCopy *copy = params;
    GpuStream      way = ctx->kit->ways[copy->back];
    uint8_t       *host = (uint8_t *)ctx->kit->host + copy->host;
    CuPtr          device = run_at(copy->device, ctx);
    Diags         *diags = ctx->diags;
    Status         status = gpu_event_record(ctx->kit->fork, ctx->stream, diags);
    if (status == STATUS_OK) status = gpu_stream_wait(way, ctx->kit->fork, diags);
    if (status == STATUS_OK)
        status = copy->back ? gpu_copy_in(way, device, host, copy->bytes, diags)
                            : gpu_copy_out(way, host, device, copy->bytes, diags);
    if (status == STATUS_OK) status = gpu_event_record(copy->done, way, diags);
    if (status == STATUS_OK && ctx->alone) status = gpu_stream_wait(ctx->stream, copy->done, diags);
    return status;
}
static Status await_run(const void *params, const RunCtx *ctx) {
    const RunCopy *copy = params;
    return gpu_stream_wait(ctx->stream, copy->done, ctx->diags);
}

static Status bind_copy(RunBinder *b, bool back) {
    const LaunchArg *device = back ? &b->outs[0] : &b->args[0];
    const LaunchArg *host = back ? &b->args[0] : &b->outs[0];
    uint32_t         buffer = launch_buffers(b->plan, b->launch)[1];
    RunCopy         *copy = RUN_PARAMS(b, RunCopy);
    if (b->plan->host == 0 || host->slot != b->plan->host || device->slot == host->slot)
        return STATUS_UNSUPPORTED; /* not as the recompute system writes it */
    *copy = (RunCopy){.buffer = buffer,
                      .back = back,
                      .device = run_ref(device),
                      .host = host->offset,
                      .bytes = b->plan->buffers.bytes[buffer]};
    Status status = need_streams(b->kit, b->diags);
    if (status == STATUS_OK) status = gpu_event_open(b->kit->gpu, false, b->diags, &copy->done);
    if (status != STATUS_OK) return status;
    copy->next = b->copies;
    b->copies = copy;
    (void)run_step(b, copy_run, copy, 1);
    return STATUS_OK;
}
Status run_bind_copy_out(RunBinder *b) { return bind_copy(b, false); }
Status run_bind_copy_back(RunBinder *b) { return bind_copy(b, true); }
Status run_bind_await(RunBinder *b) {
    const RunCopy *copy = b->copies;
    while (copy != NULL && copy->buffer != launch_buffers(b->plan, b->launch)[0]) copy = copy->next;
    bool none = b->plan->buffers.bytes[launch_buffers(b->plan, b->launch)[0]] == 0;
    if (copy == NULL) return none ? STATUS_OK : STATUS_UNSUPPORTED;
    (void)run_step(b, await_run, copy, 0);
    return STATUS_OK;
}
