/* Checks: what operators need of their sizes and inference could not decide.
 *
 * A requirement (these two sizes are equal, this slice ends inside that axis) that is provable
 * costs nothing, one that can never hold is an error of inference; the rest become rows here. The
 * shape program of a graph tests its rows once per combination of input shapes, before anything
 * runs, so that no kernel meets sizes that do not fit. Rows are interned and never removed: they
 * belong to the program as it was written, whatever the systems make of it. */
#ifndef STOA_TABLES_CHECKS_H
#define STOA_TABLES_CHECKS_H

#include "tables/code_ids.h"
#include "tables/dims.h"

ID_TYPE(CheckId, check_id);

typedef enum CheckKind {
    CHECK_NIL,
    CHECK_EQUAL,    /* lhs == rhs; inference goes on as if they were (dims_equate) */
    CHECK_AT_MOST,  /* lhs <= rhs */
    CHECK_MULTIPLE, /* rhs divides lhs, or both are 0 */
    CHECK_KIND_COUNT
} CheckKind;

#define CHECKS_COLUMNS(C)                                                                          \
    C(uint8_t, kind, "CheckKind")                                                                  \
    C(uint16_t, opcode, "of the operator that needs it")                                           \
    C(DimId, lhs, "as it was written")                                                             \
    C(DimId, rhs, "as it was written")                                                             \
    C(BlockId, body, "of the graph of that operator; nil: of any graph that gives both sizes")     \
    C(LocId, loc, "of that operator in the user's source")                                         \
    C(StrId, what, "the requirement in words")
TABLE_TYPE(CheckRows, CHECKS_COLUMNS);

typedef struct Checks {
    CheckRows rows;
    Intern    index;
    uint32_t  asked; /* calls of checks_add */
} Checks;

void checks_open(Checks *checks, uint32_t rows_max, Budget *budget);
void checks_close(Checks *checks);
void checks_reindex(Checks *checks);
/* The row; the first operator of a graph that needs the same keeps its name. */
CheckId checks_add(Checks *checks, CheckKind kind, DimId lhs, DimId rhs, BlockId body,
                   uint16_t opcode, LocId loc, StrId what);
/* Whether it holds of these two numbers. */
bool check_holds(CheckKind kind, int64_t lhs, int64_t rhs);

#endif
