/* What the sources of the fold system share: the rules that stand in a file of their own, called
 * for each row that was not folded otherwise. */
#ifndef STOA_SYSTEMS_FOLD_INNER_H
#define STOA_SYSTEMS_FOLD_INNER_H

#include "systems/rewrite.h"

/* fold_moves.c: whether the row, whose operands are mapped, became others; then its result is
 * mapped. */
bool fold_moves(Rewrite *rw, uint32_t row);

#endif
