/* Optimizers that need more than a row a parameter: what optimize.c, which gathers parameters and
 * gradients, asks of the files that hold them. */
#ifndef STOA_API_OPTIMIZE_H
#define STOA_API_OPTIMIZE_H

#include "api/program.h"

/* Rows of one call of L-BFGS (lbfgs.c) on all parameters as one vector x[n] with gradient g[n] and
 * loss f: the next x. pairs: 1..64 remembered. State is "optimizer.*", of 2 pairs + 3 vectors. */
StoaValue api_lbfgs(StoaProgram *program, StoaValue x, StoaValue g, StoaValue f, StoaValue rate,
                    uint32_t pairs);

#endif
