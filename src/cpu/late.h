/* Running graphs with sizes that data decides, on the fast path: a part of the plan (tables/late.h)
 * is bound again if its sizes are others than the last time. */
#ifndef STOA_CPU_LATE_H
#define STOA_CPU_LATE_H

#include "cpu/cpu.h"
#include "tables/late.h"

typedef struct CpuLate CpuLate;

/* plan->dim_values are those of shape_program_run, late ones at upper bounds. Binds every part
 * once, as cpu_bind_part does. After a failure *out_late may be NULL; else it must be closed. */
MUST_USE Status cpu_late_open(Arena *arena, Plan *plan, const ShapeProgram *program,
                              const struct EmitModule *module, Workers *workers, CpuRoom *room,
                              Diags *diags, CpuLate **out_late);
void            cpu_late_close(CpuLate *late); /* NULL is allowed */

size_t cpu_late_bytes(const CpuLate *late); /* committed beside arena; NULL: 0 */

/* As cpu_run. Afterwards plan->dim_values are the true sizes. *out_failed: the launch whose assert
 * failed, or 0. STATUS_INVALID: data says sizes that the program does not allow; the launches after
 * the operator that gave them did not run. Needs a guard. */
MUST_USE Status cpu_late_run(CpuLate *late, void *const *slots, CpuTraceFn *on_launch,
                             void *context, Diags *diags, uint32_t *out_failed);

#endif
