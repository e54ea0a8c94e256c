/* Rules that turn the naive loops of a kernel into good ones for a target, by recorded transforms:
 * one pass over the kernel, in microseconds. Search (search.h) runs the same rules with the choices
 * they leave open drawn anew. */
#ifndef STOA_SYSTEMS_SCHEDULE_H
#define STOA_SYSTEMS_SCHEDULE_H

#include "systems/system.h"
#include "systems/transform.h"

/* Schedules the newest kernel of ctx->loops for ctx->target, by ctx->scheduler or the rules. A
 * kernel with the content of an earlier one is not scheduled again: its `same` column names the
 * earlier one. */
void schedule_kernel(SystemCtx *ctx, KernelId kernel);

/* The rules of a target (NULL: of lanes). decisions: where choices are drawn from; NULL: the best
 * ones by experience. */
void      schedule_rules(Schedule *s, const Target *target, Decisions *decisions);
Scheduler schedule_naive; /* leaves loops as lowering made them */

/* Finds the operands whose memory a result may take: all is read before it is overwritten, in the
 * same iteration. Fills the `shares` column. */
void schedule_sharing(Schedule *s);

/* Whether fusing the loop at `at` with the one inside it leaves no division in any place. */
bool schedule_fuses_cleanly(Schedule *s, uint32_t at);

#endif
