/* Derivatives of contractions, convolutions, windows and factorisations. */
#include "cases_contract.h"

CASES_END()
