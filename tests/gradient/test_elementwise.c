/* Derivatives of elementwise operators. */
#include "cases_elementwise.h"

CASES_END()
