/* A function that makes LLVM end the process: it has an instruction that the level of the target
 * lacks, which LLVM calls a fatal error. For tests of what survives that. */
#ifndef STOA_TESTS_JIT_IMPOSSIBLE_H
#define STOA_TESTS_JIT_IMPOSSIBLE_H

#include "cpu/jit_build.h"
#include "cpu/llvm.h"

static inline bool build_impossible(JitBuild *build, const void *context) {
    (void)context;
    JitType  type = jit_vector(build->f32, 16), params[] = {build->ptr};
    JitValue function = jit_function(build, params, 1), pointer = llvm.GetParam(function, 0);
    JitValue x = llvm.BuildLoad2(build->at, type, pointer, "");
    JitValue args[] = {x, llvm.ConstInt(build->i32, 8, false), x,
                       llvm.ConstInt(build->i16, 1, false), llvm.ConstInt(build->i32, 4, false)};
    JitValue y = jit_intrinsic(build, "llvm.x86.avx512.mask.rndscale.ps.512", NULL, 0, args, 5);
    (void)llvm.BuildStore(build->at, y, pointer);
    llvm.BuildRetVoid(build->at);
    return true;
}

#endif
