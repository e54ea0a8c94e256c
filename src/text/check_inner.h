/* What check.c (expressions, types, attributes, constants) and check_code.c (operators, values,
 * blocks, graphs) share and nobody else includes. Every check returns false after reporting. */
#ifndef STOA_TEXT_CHECK_INNER_H
#define STOA_TEXT_CHECK_INNER_H

#include "tables/schema.h"

typedef struct Check {
    const World *world;
    Diags       *diags;
} Check;

bool check_bad(const Check *c, const Table *table, uint32_t row, const char *what);
/* Whether rows [first, first + count) are inside the pool; row 0 belongs to no span. */
bool check_span(uint32_t first, uint32_t count, const Table *pool);
bool check_code(const Check *c);

#endif
