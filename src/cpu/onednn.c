/* oneDNN behind a narrow door (see onednn.h).
 *
 * The number of OpenMP threads is a setting of the calling thread, so each lane sets it to one
 * and puts it back. The two OpenMP functions are weak references: they are there exactly when
 * oneDNN was built on OpenMP, and the library needs no link to the OpenMP runtime of its own. */
#include "cpu/onednn.h"

#if defined(STOA_HAVE_ONEDNN)
#include <dnnl.h>

extern void omp_set_num_threads(int count) __attribute__((weak));
extern int  omp_get_max_threads(void) __attribute__((weak));

bool onednn_has(void) { return true; }

int onednn_lane_begin(void) {
    if (omp_set_num_threads == NULL || omp_get_max_threads == NULL) return 0;
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}
void onednn_lane_end(int before) {
    if (before > 0) omp_set_num_threads(before);
}

void onednn_sgemm(const Sgemm *s, const float *x, const float *y, float *z) {
    dnnl_status_t status =
        dnnl_sgemm(s->x_turned ? 'T' : 'N', s->y_turned ? 'T' : 'N', s->m, s->n, s->k, 1.0f, x,
                   s->x_stride, y, s->y_stride, 0.0f, z, s->z_stride);
    ASSERT(status == dnnl_success); /* the arguments were checked at bind time */
    (void)status;
}

#else

bool onednn_has(void) { return false; }
int  onednn_lane_begin(void) { return 0; }
void onednn_lane_end(int before) { (void)before; }
void onednn_sgemm(const Sgemm *s, const float *x, const float *y, float *z) {
    ASSERT(false);
    (void)s, (void)x, (void)y, (void)z;
}

#endif
