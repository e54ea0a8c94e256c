/* The inner loops for x86-64 with AVX-512 (F, BW, DQ, VL), and the same beside products of bf16
 * (kernels_bf16.c).
 *
 * Chosen at bind time (kernels_isa). Twenty-eight of the 32 registers accumulate a tile. */
#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))),              \
    apply_to = function)
#else
#pragma GCC optimize("O3,no-math-errno,no-trapping-math")
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2,prefer-vector-width=512")
#endif
#define GEMM_VEC      64
#define GEMM_ROWS     14
#define GEMM_EACH(R)  R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(10) R(11) R(12) R(13)
#define KERNELS_TABLE kernels_avx512
#define KERNELS_NAME  "avx512"
#include "cpu/kernels_isa.def"
#define KERNELS_TABLE kernels_amx
#define KERNELS_NAME  "amx"
#define KERNELS_BF16  &kernels_bf16_amx
#include "cpu/kernels_table.def"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
