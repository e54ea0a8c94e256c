/* Kernels for the tests and benchmarks of the kernel compiler: one loop over arrays.
 *
 *     out[i] = f(a[i], b[i])   for i < n
 * in vectors of the machine's width, `unroll` of them a pass, with a scalar-width tail. The kernel
 * is called as JitLoopFn. f is an emitter; what it is given and gives are vectors (or scalars). */
#ifndef STOA_TESTS_JIT_LOOP_H
#define STOA_TESTS_JIT_LOOP_H

#include "arena/hash.h"
#include "cpu/jit_build.h"

typedef void JitLoopFn(void *out, const void *a, const void *b, int64_t n);

#if defined(STOA_HAVE_LLVM)
typedef JitValue JitLoopEmit(JitBuild *build, JitValue a, JitValue b, const void *parameter);
typedef struct JitLoop {
    JitLoopEmit *emit;
    const void  *parameter;
    JitType (*in)(JitBuild *build), (*out)(JitBuild *build); /* elements in memory */
    uint32_t lanes;                                          /* 0: as many as fit a register */
    uint32_t unroll;
} JitLoop;

static inline JitType loop_f32(JitBuild *build) { return build->f32; }
static inline JitType loop_f64(JitBuild *build) { return build->f64; }
static inline JitType loop_i8(JitBuild *build) { return build->i8; }
static inline JitType loop_i16(JitBuild *build) { return build->i16; }
static inline JitType loop_i32(JitBuild *build) { return build->i32; }
static inline JitType loop_i64(JitBuild *build) { return build->i64; }

static inline uint32_t loop_bytes(JitBuild *build, JitType type) {
    return type == build->i8    ? 1
           : type == build->i16 ? 2
           : type == build->f16 ? 2
           : type == build->f32 ? 4
           : type == build->i32 ? 4
                                : 8;
}

/* `unroll` vectors from index `at`. */
static inline void loop_body(JitBuild *build, const JitLoop *loop, JitValue function, JitValue at,
                             uint32_t lanes, uint32_t unroll) {
    JitType in = loop->in(build), out = loop->out(build);
    for (uint32_t u = 0; u < unroll; u++) {
        JitValue index = llvm.BuildAdd(
            build->at, at, llvm.ConstInt(build->i64, (unsigned long long)u * lanes, false), "");
        JitValue x[2], value;
        for (unsigned i = 0; i < 2; i++) {
            JitValue from =
                llvm.BuildGEP2(build->at, in, llvm.GetParam(function, i + 1), &index, 1, "");
            x[i] = llvm.BuildLoad2(build->at, jit_vector(in, lanes), from, "");
            llvm.SetAlignment(x[i], loop_bytes(build, in));
        }
        value = loop->emit(build, x[0], x[1], loop->parameter);
        JitValue to = llvm.BuildGEP2(build->at, out, llvm.GetParam(function, 0), &index, 1, "");
        llvm.SetAlignment(llvm.BuildStore(build->at, value, to), loop_bytes(build, out));
    }
}

/* for (; at + step <= n; at += step) body; returns the last `at`. */
static inline JitValue loop_add(JitBuild *build, const JitLoop *loop, JitValue function,
                                JitValue start, JitValue n, uint32_t lanes, uint32_t unroll) {
    LLVMBasicBlockRef before = llvm.GetInsertBlock(build->at);
    LLVMBasicBlockRef head = llvm.AppendBasicBlockInContext(build->context, function, "head");
    LLVMBasicBlockRef body = llvm.AppendBasicBlockInContext(build->context, function, "body");
    LLVMBasicBlockRef after = llvm.AppendBasicBlockInContext(build->context, function, "after");
    JitValue          step = llvm.ConstInt(build->i64, (unsigned long long)lanes * unroll, false);
    llvm.BuildBr(build->at, head);
    llvm.PositionBuilderAtEnd(build->at, head);
    JitValue at = llvm.BuildPhi(build->at, build->i64, "at");
    JitValue next = llvm.BuildNSWAdd(build->at, at, step, "next");
    llvm.BuildCondBr(build->at, llvm.BuildICmp(build->at, LLVMIntSLE, next, n, ""), body, after);
    llvm.PositionBuilderAtEnd(build->at, body);
    loop_body(build, loop, function, at, lanes, unroll);
    llvm.AddIncoming(at, (JitValue[]){start, next},
                     (LLVMBasicBlockRef[]){before, llvm.GetInsertBlock(build->at)}, 2);
    llvm.BuildBr(build->at, head);
    llvm.PositionBuilderAtEnd(build->at, after);
    return at;
}

static inline bool loop_build(JitBuild *build, const void *context) {
    const JitLoop *loop = context;
    JitType        types[] = {build->ptr, build->ptr, build->ptr, build->i64};
    JitValue       function = jit_function(build, types, 4);
    JitValue       n = llvm.GetParam(function, 3), at = llvm.ConstInt(build->i64, 0, false);
    uint32_t       width = loop_bytes(build, loop->in(build));
    if (loop_bytes(build, loop->out(build)) > width) width = loop_bytes(build, loop->out(build));
    uint32_t lanes = loop->lanes ? loop->lanes : build->machine->vector_bytes / width;
    at = loop_add(build, loop, function, at, n, lanes, loop->unroll);
    if (lanes * loop->unroll > 1) (void)loop_add(build, loop, function, at, n, 1, 1);
    llvm.BuildRetVoid(build->at);
    return true;
}

/* A kernel of this loop; content must differ for loops that differ. */
static inline JitKernel loop_kernel(const char *name, const JitLoop *loop) {
    return (JitKernel){.name = name,
                       .content = {hash_bytes(name, strlen(name), 1), loop->lanes},
                       .build = loop_build,
                       .context = loop};
}
static inline JitLoopFn *loop_entry(const JitKernel *kernel) {
    JitLoopFn *entry;
    memcpy(&entry, &kernel->entry, sizeof entry);
    return entry;
}
#endif
#endif
