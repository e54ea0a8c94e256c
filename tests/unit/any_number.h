/* Numbers of every dtype for comparing two ways to compute the same: edges of the dtypes and of
 * functions, small numbers, and any bits. The same index, stream and dtype give the same number. */
#ifndef STOA_TESTS_ANY_NUMBER_H
#define STOA_TESTS_ANY_NUMBER_H

#include <math.h>
#include <string.h>

#include "tables/consts.h"
#include "tables/philox.h"

static const double any_edges[] = {0,
                                   -0.0,
                                   1,
                                   -1,
                                   2,
                                   -2,
                                   3,
                                   -3,
                                   0.5,
                                   -0.5,
                                   127,
                                   128,
                                   -128,
                                   -129,
                                   255,
                                   256,
                                   7,
                                   8,
                                   31,
                                   32,
                                   63,
                                   64,
                                   32767,
                                   -32768,
                                   65504,
                                   65520,
                                   2147483647.0,
                                   -2147483648.0,
                                   2147483648.0,
                                   9.3e18,
                                   -9.3e18,
                                   INFINITY,
                                   -INFINITY,
                                   NAN,
                                   1e-7,
                                   5.9e-8,
                                   1e-40,
                                   3e38,
                                   1e300,
                                   0.7,
                                   -2.5};
/* A number of a dtype: an edge, a small one, or any bits. */
static inline void any_number(Dtype dtype, uint64_t index, uint64_t stream, void *to) {
    Philox   drawn = philox_draw(index, stream, dtype);
    uint64_t bits = (uint64_t)drawn.word[0] << 32 | drawn.word[1];
    double   small = floor((double)drawn.word[2] * 0x1p-32 * 24) - 8;
    if (drawn.word[3] % 4 == 0) bits = 0;
    bool is_float = dtype_is_float(dtype);
    if (drawn.word[3] % 4 == 0 || (!is_float && drawn.word[3] % 4 == 1))
        (void)const_encode(dtype, is_float ? any_edges[drawn.word[2] % LENGTH(any_edges)] : small,
                           to);
    else if (dtype == DTYPE_BOOL)
        *(uint8_t *)to = bits & 1;
    else if (is_float && drawn.word[3] % 4 == 1)
        (void)const_encode(dtype, small * 0.37, to);
    else
        memcpy(to, &bits, dtype_bytes(dtype));
}

#endif
