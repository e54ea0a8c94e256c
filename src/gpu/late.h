/* Running graphs with sizes that data decides (tables/late.h) on a GPU.
 *
 * Each part of the plan is bound and run by itself; between two of them the host reads the sizes,
 * which costs a wait (about 20 us) for each operator that gives some. Parts that get the sizes of
 * the run before are replayed as graphs, others are bound again and launched one by one. So this
 * serves programs whose sizes settle, or that do much with what they select. */
#ifndef STOA_GPU_LATE_H
#define STOA_GPU_LATE_H

#include "gpu/run.h"
#include "tables/shape_program.h"

typedef struct GpuLate GpuLate;

/* As gpu_bind, for every part, at the upper bounds of sizes. After a failure *out_late may be NULL;
 * else it must be closed. */
MUST_USE Status gpu_late_open(Arena *arena, Plan *plan, const ShapeProgram *program,
                              GpuEmitModule *module, GpuKit *kit, Diags *diags, GpuLate **out_late);
void            gpu_late_close(GpuLate *late); /* before the kit; NULL is allowed */

/* As gpu_run, gpu_run_printed and gpu_run_failed. Waits for all parts but the last. Afterwards
 * plan->dim_values are the true sizes. STATUS_INVALID: data says sizes that the program does not
 * allow; the launches after the operator that gave them did not run. Needs a guard. */
MUST_USE Status gpu_late_run(GpuLate *late, const CuPtr *slots, GpuStream stream, Diags *diags,
                             uint32_t *out_failed);
size_t          gpu_late_bytes(const GpuLate *late); /* of the host, beside arena; NULL: 0 */

#endif
