/* Row numbers as types: one 4-byte struct per kind of row, so the compiler refuses a value where an
 * operator belongs, at no cost in the generated code.
 *
 * Row 0 of every table is the nil row: all-zero memory means "none". Loops over a table start at 1.
 * A Span is a run of rows of some pool; which pool is said where the span is declared. */
#ifndef STOA_ARENA_IDS_H
#define STOA_ARENA_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "arena/check.h"

#define ID_TYPE(T, low)                                                                            \
    typedef struct T {                                                                             \
        uint32_t row;                                                                              \
    } T;                                                                                           \
    static inline bool low##_some(T id) { return id.row != 0; }                                    \
    static inline bool low##_same(T a, T b) { return a.row == b.row; }                             \
    static_assert(sizeof(T) == 4, "an id is four bytes")

typedef struct Span {
    uint32_t first, count;
} Span;

#endif
