/* Where the time of a plan goes, as two tables: what kinds of launches take, with the gaps between
 * them, and launches that look alike (operator, dtypes, sizes) as one row, by the time that they
 * take together.
 *
 *     graph train: 1843.2 us, 1807.0 of it in 212 launches
 *            us  share  count  at least  of it  kind
 *        1210.4 65.7 %     74     810.1   67 %  matrix products
 *         ...
 *          36.2  2.0 %                          gaps between launches
 *            us  share  count  us each   GB/s  of it  TFLOP/s  of it  launch
 *         610.4 33.1 %     24     25.4    812   24 %    412.0   42 %  dot_general bf16[81...
 *
 * GB/s counts each element of each argument once; "of it" is the share of what the machine can do
 * at most, left out where that is not known. At least: what the launches would take if each moved
 * its bytes or did its arithmetic, whichever is longer, at that rate. */
#ifndef STOA_TEXT_PROFILE_H
#define STOA_TEXT_PROFILE_H

#include "tables/plan.h"

typedef struct ProfilePeaks { /* of the machine; 0: not known */
    double gb_s;
    double gflop_s[DTYPE_COUNT]; /* of products, by the dtype of their first operand */
} ProfilePeaks;

typedef struct ProfileRest { /* microseconds of one run that are in no launch */
    double gaps_us, unknown_us;
} ProfileRest;

/* us: microseconds of one run, by launch row. peaks and rest may be NULL. rows_max: of the second
 * table; 0: all. */
String text_profile(Arena *out, const Plan *plan, const double *us, const ProfilePeaks *peaks,
                    const ProfileRest *rest, uint32_t rows_max);

#endif
