/* Where the time of a plan goes, as a table: launches that look alike (operator, dtypes, sizes) are
 * one row, by the time that they take together.
 *
 *     graph train: 1843.2 us in 212 launches
 *            us  share  count  us each   GB/s  of it  TFLOP/s  of it  launch
 *         610.4 33.1 %     24     25.4    812   24 %    412.0   42 %  dot_general bf16[81...
 *
 * GB/s counts each element of each argument once; "of it" is the share of what the machine can do
 * at most, left out where that is not known. */
#ifndef STOA_TEXT_PROFILE_H
#define STOA_TEXT_PROFILE_H

#include "tables/plan.h"

typedef struct ProfilePeaks { /* of the machine; 0: not known */
    double gb_s;
    double gflop_s[DTYPE_COUNT]; /* of products, by the dtype of their first operand */
} ProfilePeaks;

/* us: microseconds of one run, by launch row. peaks may be NULL. rows_max: of the table; 0: all. */
String text_profile(Arena *out, const Plan *plan, const double *us, const ProfilePeaks *peaks,
                    uint32_t rows_max);

#endif
