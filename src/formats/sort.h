/* Sorting row numbers: merge sort in caller-given memory. qsort is not used because glibc's may
 * allocate, and its order of equal rows is unspecified. The cost is n log n comparisons whatever
 * the input, which matters where the input is a hostile file. */
#ifndef STOA_FORMATS_SORT_H
#define STOA_FORMATS_SORT_H

#include "arena/arena.h"

/* Whether row a stands strictly before row b. */
typedef bool SortLess(const void *owner, uint32_t a, uint32_t b);

/* Sorts rows[0..count) in place, stable; spare holds count rows of scratch. */
void sort_rows(uint32_t *rows, uint32_t *spare, size_t count, SortLess *less, const void *owner);
/* The rows 0..count-1 in sorted order, pushed on out. */
uint32_t *sort_order(Arena *out, size_t count, SortLess *less, const void *owner);
/* Bytewise order of strings; a prefix stands first. */
int sort_compare_strings(const char *a, size_t a_count, const char *b, size_t b_count);

#endif
