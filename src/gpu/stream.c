/* Streams, events and copies: thin, but checked.
 *
 * Streams do not synchronise with the legacy default stream, so that other CUDA code of the process
 * cannot serialise them. */
#include "gpu/gpu.h"

Status gpu_stream_open(Gpu *gpu, Diags *diags, GpuStream *out_stream) {
    *out_stream = (GpuStream){.gpu = gpu};
    return GPU_CALL(gpu->libs, diags, "opening a stream", cuStreamCreateWithPriority,
                    &out_stream->handle, ABI_CU_STREAM_NON_BLOCKING, 0);
}

void gpu_stream_close(GpuStream *stream) {
    if (stream->handle != NULL) (void)stream->gpu->libs->fns.cuStreamDestroy_v2(stream->handle);
    *stream = (GpuStream){0};
}

Status gpu_stream_sync(GpuStream stream, Diags *diags) {
    return GPU_CALL(stream.gpu->libs, diags, "waiting for a stream", cuStreamSynchronize,
                    stream.handle);
}

Status gpu_stream_wait(GpuStream stream, GpuEvent event, Diags *diags) {
    return GPU_CALL(stream.gpu->libs, diags, "ordering streams", cuStreamWaitEvent, stream.handle,
                    event.handle, 0);
}

Status gpu_event_open(Gpu *gpu, bool timed, Diags *diags, GpuEvent *out_event) {
    *out_event = (GpuEvent){.gpu = gpu};
    return GPU_CALL(gpu->libs, diags, "opening an event", cuEventCreate, &out_event->handle,
                    timed ? 0 : ABI_CU_EVENT_DISABLE_TIMING);
}

void gpu_event_close(GpuEvent *event) {
    if (event->handle != NULL) (void)event->gpu->libs->fns.cuEventDestroy_v2(event->handle);
    *event = (GpuEvent){0};
}

Status gpu_event_record(GpuEvent event, GpuStream stream, Diags *diags) {
    return GPU_CALL(event.gpu->libs, diags, "recording an event", cuEventRecord, event.handle,
                    stream.handle);
}

Status gpu_event_sync(GpuEvent event, Diags *diags) {
    return GPU_CALL(event.gpu->libs, diags, "waiting for an event", cuEventSynchronize,
                    event.handle);
}

Status gpu_event_ms(GpuEvent start, GpuEvent end, Diags *diags, float *out_ms) {
    *out_ms = 0;
    return GPU_CALL(start.gpu->libs, diags, "timing", cuEventElapsedTime, out_ms, start.handle,
                    end.handle);
}

/* --- copies ----------------------------------------------------------------------------------- */

Status gpu_copy(GpuStream stream, CuPtr into, CuPtr from, uint64_t bytes, Diags *diags) {
    if (bytes == 0) return STATUS_OK;
    return GPU_CALL(stream.gpu->libs, diags, "copying on the device", cuMemcpyDtoDAsync_v2, into,
                    from, bytes, stream.handle);
}

Status gpu_copy_in(GpuStream stream, CuPtr into, const void *from, uint64_t bytes, Diags *diags) {
    if (bytes == 0) return STATUS_OK;
    return GPU_CALL(stream.gpu->libs, diags, "copying to the device", cuMemcpyHtoDAsync_v2, into,
                    from, bytes, stream.handle);
}

Status gpu_copy_out(GpuStream stream, void *into, CuPtr from, uint64_t bytes, Diags *diags) {
    if (bytes == 0) return STATUS_OK;
    return GPU_CALL(stream.gpu->libs, diags, "copying from the device", cuMemcpyDtoHAsync_v2, into,
                    from, bytes, stream.handle);
}

Status gpu_fill(GpuStream stream, CuPtr into, uint8_t value, uint64_t bytes, Diags *diags) {
    if (bytes == 0) return STATUS_OK;
    return GPU_CALL(stream.gpu->libs, diags, "filling memory", cuMemsetD8Async, into, value, bytes,
                    stream.handle);
}

Status gpu_fill32(GpuStream stream, CuPtr into, uint32_t value, uint64_t count, Diags *diags) {
    ASSERT(into % sizeof value == 0);
    if (count == 0) return STATUS_OK;
    return GPU_CALL(stream.gpu->libs, diags, "filling memory", cuMemsetD32Async, into, value, count,
                    stream.handle);
}
