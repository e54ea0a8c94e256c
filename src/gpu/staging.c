/* Staging: page-locked slots between pageable memory and the device.
 *
 * A slot is busy from the recording of its copy until its event has happened. Both directions share
 * the ring but not the stream, so a download never waits for uploads queued behind it. */
#include "gpu/gpu.h"

Status gpu_staging_open(Gpu *gpu, uint64_t slot_bytes, Diags *diags, GpuStaging *out_staging) {
    ASSERT(slot_bytes > 0);
    *out_staging = (GpuStaging){.gpu = gpu, .slot_bytes = slot_bytes};
    void  *memory = NULL;
    Status status = gpu_stream_open(gpu, diags, &out_staging->in);
    if (status == STATUS_OK) status = gpu_stream_open(gpu, diags, &out_staging->out);
    if (status == STATUS_OK) status = gpu_event_open(gpu, false, diags, &out_staging->order);
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS && status == STATUS_OK; i++)
        status = gpu_event_open(gpu, false, diags, &out_staging->done[i]);
    if (status == STATUS_OK)
        status = gpu_host_open(gpu, slot_bytes * GPU_STAGING_SLOTS, diags, &memory);
    out_staging->memory = memory;
    if (status != STATUS_OK) gpu_staging_close(out_staging);
    return status;
}

void gpu_staging_close(GpuStaging *staging) {
    if (staging->gpu == NULL) return;
    const GpuFns *fns = &staging->gpu->libs->fns;
    if (staging->in.handle != NULL) (void)fns->cuStreamSynchronize(staging->in.handle);
    if (staging->out.handle != NULL) (void)fns->cuStreamSynchronize(staging->out.handle);
    gpu_host_close(staging->gpu, staging->memory);
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++) gpu_event_close(&staging->done[i]);
    gpu_event_close(&staging->order);
    gpu_stream_close(&staging->in);
    gpu_stream_close(&staging->out);
    *staging = (GpuStaging){0};
}

Status gpu_staging_slot(GpuStaging *staging, Diags *diags, void **out_slot) {
    ASSERT(staging->memory);
    uint32_t slot = staging->next;
    Status   status = STATUS_OK;
    *out_slot = staging->memory + slot * staging->slot_bytes;
    if (staging->busy[slot]) status = gpu_event_sync(staging->done[slot], diags);
    if (status == STATUS_OK) staging->busy[slot] = false;
    return status;
}

/* The slot is taken: its copy is in the stream. */
static Status take_slot(GpuStaging *staging, GpuStream stream, Diags *diags) {
    uint32_t slot = staging->next;
    Status   status = gpu_event_record(staging->done[slot], stream, diags);
    staging->busy[slot] = status == STATUS_OK;
    if (status == STATUS_OK) staging->next = (slot + 1) % GPU_STAGING_SLOTS;
    return status;
}

Status gpu_staging_send(GpuStaging *staging, CuPtr into, uint64_t bytes, GpuEvent reusable,
                        Diags *diags) {
    ASSERT(bytes <= staging->slot_bytes);
    ASSERT(!staging->busy[staging->next]); /* gpu_staging_slot comes first */
    const void *slot = staging->memory + staging->next * staging->slot_bytes;
    Status      status = STATUS_OK;
    if (reusable.handle != NULL) status = gpu_stream_wait(staging->in, reusable, diags);
    if (status == STATUS_OK) status = gpu_copy_in(staging->in, into, slot, bytes, diags);
    if (status == STATUS_OK) status = take_slot(staging, staging->in, diags);
    return status;
}

Status gpu_staging_copy_in(GpuStaging *staging, CuPtr into, const void *from, uint64_t bytes,
                           GpuEvent reusable, Diags *diags) {
    Status status = STATUS_OK;
    void  *slot;
    for (uint64_t first = 0; first < bytes && status == STATUS_OK; first += staging->slot_bytes) {
        uint64_t left = bytes - first;
        uint64_t part = left < staging->slot_bytes ? left : staging->slot_bytes;
        status = gpu_staging_slot(staging, diags, &slot);
        if (status != STATUS_OK) break;
        memcpy(slot, (const uint8_t *)from + first, part);
        status = gpu_staging_send(staging, into + first, part, reusable, diags);
        reusable = (GpuEvent){0}; /* the stream has waited */
    }
    return status;
}

Status gpu_staging_join(GpuStaging *staging, GpuStream reader, Diags *diags) {
    Status status = gpu_event_record(staging->order, staging->in, diags);
    if (status == STATUS_OK) status = gpu_stream_wait(reader, staging->order, diags);
    return status;
}

/* Copies run a ring ahead of the host's memcpy: piece i is emptied when piece i + slots starts. */
Status gpu_staging_copy_out(GpuStaging *staging, GpuStream writer, void *into, CuPtr from,
                            uint64_t bytes, Diags *diags) {
    uint64_t slot_bytes = staging->slot_bytes, sent = 0, emptied = 0;
    uint32_t first_slot = staging->next;
    void    *slot;
    Status   status = gpu_event_record(staging->order, writer, diags);
    if (status == STATUS_OK) status = gpu_stream_wait(staging->out, staging->order, diags);
    for (uint64_t piece = 0; emptied < bytes && status == STATUS_OK; piece++) {
        bool full = piece >= GPU_STAGING_SLOTS || sent >= bytes;
        if (full) {
            uint32_t oldest = (first_slot + (uint32_t)(emptied / slot_bytes)) % GPU_STAGING_SLOTS;
            uint64_t part = bytes - emptied < slot_bytes ? bytes - emptied : slot_bytes;
            status = gpu_event_sync(staging->done[oldest], diags);
            if (status != STATUS_OK) break;
            memcpy((uint8_t *)into + emptied, staging->memory + oldest * slot_bytes, part);
            emptied += part;
        }
        if (sent < bytes) {
            uint64_t part = bytes - sent < slot_bytes ? bytes - sent : slot_bytes;
            status = gpu_staging_slot(staging, diags, &slot);
            if (status == STATUS_OK)
                status = gpu_copy_out(staging->out, slot, from + sent, part, diags);
            if (status == STATUS_OK) status = take_slot(staging, staging->out, diags);
            sent += part;
        }
    }
    return status;
}
