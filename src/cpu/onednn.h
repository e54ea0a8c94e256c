/* The use of oneDNN: f32 matrix products and convolutions, when the build has it.
 *
 * Without STOA_HAVE_ONEDNN every function here says "no" and the own kernels serve. */
#ifndef STOA_CPU_ONEDNN_H
#define STOA_CPU_ONEDNN_H

#include "cpu/kernels.h"

/* Keeps oneDNN on the calling thread while a lane works; end undoes it. */
int  onednn_lane_begin(void);
void onednn_lane_end(int before);

#endif
