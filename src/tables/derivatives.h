/* What a `derivatives` row asks for: its strings as rows of (request, weight, multi-index).
 *
 *     request : 'laplacian' | 'bilaplacian' | term (('+' | '-') term)*
 *     term    : ['-'] [NUMBER '*'] LETTER+
 *
 * A letter stands for a coordinate (an element of the last axis of x): those of the attribute
 * `axes` in order, else the digits. "xx+2*xy" is u_xx + 2 u_xy. Coordinates of a term are sorted,
 * since derivatives commute; blanks mean nothing. */
#ifndef STOA_TABLES_DERIVATIVES_H
#define STOA_TABLES_DERIVATIVES_H

#include "tables/world.h"

enum { DERIVATIVE_ORDER_MAX = 12, DERIVATIVE_SUPPORT_MAX = 6 }; /* coordinates of a term */

typedef struct DerivativeTerm {
    uint32_t request;
    double   weight;
    uint32_t order;
    uint16_t at[DERIVATIVE_ORDER_MAX]; /* coordinates, ascending */
} DerivativeTerm;
typedef struct DerivativeTerms {
    DerivativeTerm *rows; /* in the given arena, by request */
    uint32_t        count, capacity;
    Arena          *arena;
} DerivativeTerms;

/* Appends the terms of a request. NULL, or what is wrong with it (static text). */
const char *derivatives_read(DerivativeTerms *terms, String request, String axes,
                             uint32_t coordinates, uint32_t number);

#endif
