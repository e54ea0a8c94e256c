/* Derivatives of composites. */
#include "cases_composites.h"

CASES_END()
