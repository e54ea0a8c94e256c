/* Sessions on a GPU: the state on the device, plans that run there.
 *
 * The device holds the state; the tensors of session.h are a mirror of it on the host. Who reads
 * them calls device_read_state first, who writes them session_wrote_state afterwards. Each plan has
 * places of its own for inputs, outputs and constants, so that its graph of launches holds for
 * every run. */
#ifndef STOA_API_DEVICE_H
#define STOA_API_DEVICE_H

#include "api/session.h"
#include "gpu/gpu.h"
#include "gpu/late.h"
#include "gpu/run.h"
#include "text/profile.h"

typedef struct PlanPlaces { /* a plan on the device */
    GpuPlan *plan;
    GpuLate *late;      /* instead, where data decides sizes */
    GpuArena memory;    /* of all slots but the arena and the state */
    CuPtr   *addresses; /* by slot */
} PlanPlaces;

/* Opens the GPU of session->device. Fills the target that the program is compiled for. */
MUST_USE Status device_open(StoaSession *session, uint32_t ordinal, const Target **out_target);
void            device_close(StoaSession *session); /* after its plans; nothing if there is none */
/* Compiles the kernels of the session and sends the state. */
MUST_USE Status device_compile(StoaSession *session);
MUST_USE Status device_bind(StoaSession *session, PlanEntry *entry, const ShapeProgram *program);
void            device_unbind(PlanEntry *entry);
/* Inputs to the device, and the plan. */
MUST_USE Status device_run(StoaSession *session, PlanEntry *entry, const Tensor *inputs,
                           bool *out_stopped);
/* Wanted outputs back, in their shapes: waits for them. */
MUST_USE Status device_take(StoaSession *session, PlanEntry *entry, const StoaTensor *outputs,
                            uint32_t outputs_count);

/* Begins or ends recording what the device does. Without CUPTI it warns (GPU_UNPROFILED), and
 * device_collect times each launch alone. */
MUST_USE Status device_watch(StoaSession *session, bool on);
/* Waits, and adds what was done since to launch_ns and timed_runs of the plans; session->work is
 * called for each piece. */
MUST_USE Status device_collect(StoaSession *session);
ProfilePeaks    device_peaks(const StoaSession *session); /* all 0 on the CPU */
void            device_add_gaps(Text *text, const StoaSession *session);
/* What the time to the end of the first run went to. */
void              device_add_startup(Text *text, StoaSession *session);
const GpuStartup *device_startup(const StoaSession *session);
uint64_t          device_memory(const StoaSession *session); /* bytes held on it */

/* Nothing happens in sessions on the CPU. */
MUST_USE Status device_read_state(StoaSession *session);
MUST_USE Status device_write_state(StoaSession *session);

#endif
