/* Derivatives of elementwise operators, and the largest errors that the cases left. */
#include "cases_elementwise.h"
