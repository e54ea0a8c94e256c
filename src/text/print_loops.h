/* Kernels as text, for people and golden files: parameters, buffers, and the nest of loops with
 * expressions written out. One way: kernels are made by systems, not parsed. */
#ifndef STOA_TEXT_PRINT_LOOPS_H
#define STOA_TEXT_PRINT_LOOPS_H

#include "tables/loops.h"

/* The text lives in out. */
String text_print_kernel(Arena *out, const Loops *loops, KernelId kernel, const char *name);

#endif
