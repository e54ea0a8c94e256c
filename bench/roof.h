/* What this machine can do, measured beside the kernels: bandwidth of a footprint, rate of
 * multiply-adds. A kernel is then told as a share of a bound that the same cores reached within
 * the same milliseconds, so that neighbours and clocks disturb both alike.
 *
 * Loops are plain vector code for the widest instruction set of the machine (AVX-512, AVX2, else
 * what the compiler makes): reading a run of memory, copying one half of it to the other with
 * ordinary and with non-temporal stores, in one walk or in four at once (the better one counts),
 * and chains of fused multiply-adds on registers. */
#ifndef STOA_BENCH_ROOF_H
#define STOA_BENCH_ROOF_H

#include "arena/workers.h"

typedef struct Roof {
    Arena   *arena;
    Workers *workers;
    uint8_t *memory; /* bytes_max, touched by the lane that uses it */
    size_t   bytes_max;
    uint32_t lanes;
} Roof;
typedef struct RoofSample { /* of all lanes together */
    double read_ns;         /* to read a byte */
    double copy_ns;         /* to copy a byte, by the better kind of store */
    double stream_ns;       /* to copy a byte with non-temporal stores */
    double flop_ns;         /* an f32 operation; a multiply-add is two */
} RoofSample;

/* False, with a message on stderr, without memory. Lanes are placed as those of a context. */
bool roof_open(Roof *roof, uint32_t lanes, size_t bytes_max);
void roof_close(Roof *roof);
/* Measures a footprint of `bytes` (half of it is copied to the other half); takes some 0.5 ms, more
 * when one pass does. Processor time of the thread with one lane, else the wall clock: the clock
 * that results are told by. */
RoofSample roof_sample(const Roof *roof, size_t bytes);
/* The least nanoseconds for a kernel that reads and writes so many bytes and computes flops: reads
 * at the rate of reading, writes at what a copy costs beyond its reads; or the arithmetic, where
 * that is longer. A copy has itself as the bound. */
double roof_bound_ns(const RoofSample *sample, double read_bytes, double written_bytes,
                     double flops);

#endif
