/* The use of oneDNN: f32 matrix products, when the build has it.
 *
 * Without STOA_HAVE_ONEDNN onednn_has is false and the own tiles serve. oneDNN would start
 * OpenMP threads of its own inside every lane; onednn_lane_begin tells it not to, for the
 * calling thread. */
#ifndef STOA_CPU_ONEDNN_H
#define STOA_CPU_ONEDNN_H

#include "cpu/kernels.h"

bool onednn_has(void);
/* Keeps oneDNN on the calling thread while a lane works; end undoes it. */
int  onednn_lane_begin(void);
void onednn_lane_end(int before);

/* z[m,n] = x y, all row-major with leading dimensions; x_turned: x is stored as [k,m], y as
 * [n,k]. */
typedef struct Sgemm {
    bool    x_turned, y_turned;
    int64_t m, n, k, x_stride, y_stride, z_stride;
} Sgemm;
void onednn_sgemm(const Sgemm *s, const float *x, const float *y, float *z);

#endif
