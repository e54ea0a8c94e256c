/* Timing a kernel as it stands: compiled, and run on operands made up for typical sizes
 * (dims_typical). What searches for schedules decide with.
 *
 * It runs on the calling lane alone, whose processor time is taken, and the least of several
 * samples counts: what else runs on the machine disturbs little, and results do not depend on the
 * number of lanes. Memory is warm where it fits, as it is between the kernels of a step. */
#ifndef STOA_CPU_EMIT_MEASURE_H
#define STOA_CPU_EMIT_MEASURE_H

#include "cpu/emit.h"

typedef struct EmitMeasure {
    Jit   *jit; /* keeps the code of all that is measured until it is closed */
    Diags *diags;
} EmitMeasure;

/* Microseconds of one launch; negative: it cannot be compiled (a row says why), or its operands
 * exceed 1 GiB. context: an EmitMeasure. Takes about 50 ms, or two runs if those take longer. */
double emit_measure(void *context, Loops *loops, KernelId kernel);

#endif
