/* The peak of a plan as text, before anything runs: how much is alive launch by launch, and which
 * values make up the most, with where they are born and used last.
 *
 *     graph train at B=8, T=128: 98304 bytes of intermediates at launch 31 of 57 (dot_general)
 *     a small chart of the bytes alive
 *            bytes   share  value     operator  type          born      last used
 *            32768  33.3 %  %fused.1  tanh      f32[B,T,512]  12 fused  44 dot_general
 *
 * Launches count from 1; of a kernel, the operator is the row inside that makes the value. Only
 * what lies in the planned arena is listed; what stands beside it (parameters, inputs, outputs,
 * constants) is summed up in the last line. */
#ifndef STOA_TEXT_PEAK_H
#define STOA_TEXT_PEAK_H

#include "tables/plan.h"

/* The launch with the most alive, the first of equals; 0 if the plan launches nothing. */
uint32_t peak_launch(const Plan *plan);
/* The buffers of the arena that are alive while a launch runs, largest first, one for each piece of
 * memory: what takes over the memory of another stands for both. */
typedef struct PeakBuffers {
    uint32_t *rows; /* of buffers */
    uint32_t  count;
} PeakBuffers;
PeakBuffers peak_buffers(Arena *out, const Plan *plan, uint32_t launch);

/* Needs a plan that the memory system has placed. rows_max: of the table; 0: all. */
String text_peak(Arena *out, const Plan *plan, uint32_t rows_max);

#endif
