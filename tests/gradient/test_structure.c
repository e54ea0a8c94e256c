/* Derivatives of operators that move, reduce, scan and sort elements. */
#include "cases_structure.h"

CASES_END()
