/* Timing a kernel as it stands: compiled, and run on operands made up for typical sizes
 * (loops_typical). What searches for schedules decide with.
 *
 * The least of several samples counts, since whatever else runs on the machine only adds. Memory is
 * warm where it fits, as it is between the kernels of a step. */
#ifndef STOA_CPU_EMIT_MEASURE_H
#define STOA_CPU_EMIT_MEASURE_H

#include "cpu/emit.h"

typedef struct EmitMeasure {
    Jit     *jit;     /* keeps the code of all that is measured until it is closed */
    Workers *workers; /* parallel loops are dealt to them; NULL: the caller alone */
    Diags   *diags;
} EmitMeasure;

/* Microseconds of one launch; negative: it cannot be compiled (a row says why), or its operands
 * exceed 1 GiB. context: an EmitMeasure. The kernel's own time, at most about 50 ms. */
double emit_measure(void *context, Loops *loops, KernelId kernel);

#endif
