/* Branches of different sizes become branches of one size.
 * Called by inline, once calls are gone. */
#ifndef STOA_SYSTEMS_JOIN_H
#define STOA_SYSTEMS_JOIN_H

#include "systems/system.h"

/* How many operators were changed. */
uint32_t join_branches(SystemCtx *ctx);

#endif
