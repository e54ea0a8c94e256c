/* The inner loops for x86-64 with AVX2 and FMA.
 *
 * Chosen at bind time (kernels_isa); FMA serves matrix products only. Twelve accumulators fill
 * the 16 registers. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#pragma GCC target("avx2,fma,f16c,bmi2")
#endif
#define GEMM_VEC      32
#define GEMM_ROWS     6
#define GEMM_EACH(R)  R(0) R(1) R(2) R(3) R(4) R(5)
#define KERNELS_TABLE kernels_avx2
#define KERNELS_NAME  "avx2"
#include "cpu/kernels_isa.def"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
