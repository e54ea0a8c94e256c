/* The inner loops for every processor of the architecture.
 *
 * What the compiler assumes anyway (SSE2 on x86-64); sizes of the register tile fit 16
 * registers. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

#if !defined(__clang__)
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#endif
#define GEMM_VEC      16
#define GEMM_ROWS     6
#define GEMM_EACH(R)  R(0) R(1) R(2) R(3) R(4) R(5)
#define KERNELS_TABLE kernels_generic
#define KERNELS_NAME  "generic"
#include "cpu/kernels_isa.def"
