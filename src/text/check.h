/* Whether a world that came from outside can be trusted: the checks that every reader of rows
 * relies on, done once for a world that was loaded (text/binary.h).
 *
 * check_world proves that every id, span, enumeration and range of every saved table stays inside
 * its table, that tables of expressions refer to earlier rows only, and that the code holds the
 * invariants of tables/code.h. After it, code may follow any row without looking. It says nothing
 * about types being right: that is inference. */
#ifndef STOA_TEXT_CHECK_H
#define STOA_TEXT_CHECK_H

#include "tables/schema.h"

/* Adds at most one diagnostic and returns false when something is wrong. Linear in the rows. */
bool check_world(const World *world, Diags *diags);

/* Blocks that an operator with these attributes carries. */
uint32_t check_blocks(const World *world, Opcode opcode, AttrsId attrs);
/* Results that an operator gives for its operands; `given` where the schema leaves it open. */
uint32_t check_results(Opcode opcode, uint32_t operands, uint32_t given);

#endif
