/* Compiling kernels at run time: LLVM modules become functions in memory, kept on disk by content.
 *
 * A kernel is named by the 128-bit hash of what it is made from (its loops), not by its code: one
 * that this process or the cache folder already has costs a look-up or a file read and never
 * wakes LLVM. Only for the others is `build` called, which fills a module (jit_build.h), one
 * LLVM context a kernel, on all lanes at once. Code pages are written, then made executable and
 * read-only for good (W^X).
 *
 * Cache files are one a kernel, keyed by content, processor, vector level, code format and LLVM's
 * version, checksummed, written under another name and renamed. A file that is damaged, foreign
 * or unreadable counts as missing; a folder that cannot be written is a warning.
 *
 * Thread rule: a Jit is used by one thread at a time, which brings its Workers. */
#ifndef STOA_CPU_JIT_H
#define STOA_CPU_JIT_H

#include "arena/status.h"
#include "arena/workers.h"
#include "tables/diags.h"

/* What code is compiled for. The others than the host are for tests and comparisons. */
typedef enum JitLevel {
    JIT_HOST,    /* this processor with all it has */
    JIT_GENERIC, /* x86-64: SSE2, no fused multiply-add */
    JIT_AVX2,    /* Haswell: AVX2, FMA, F16C */
    JIT_AVX512,  /* F, BW, CD, DQ, VL; 512-bit vectors preferred */
    JIT_LEVELS
} JitLevel;

/* What an emitter must know of the processor. */
typedef struct JitMachine {
    uint32_t vector_bytes; /* of the widest registers: 16, 32 or 64 */
    bool     rounds;       /* SSE4.1: floor and rint are instructions */
    bool     fma, f16c;
    bool     avx512;       /* masks in registers */
    uint64_t stream_bytes; /* arrays from here on are not in the caches when read again */
} JitMachine;

typedef struct JitOptions {
    JitLevel    level;
    const char *cache_dir;       /* made if missing; NULL: nothing is kept on disk */
    uint64_t    cache_bytes_max; /* of all files; the longest unused go first; 0: 256 MiB */
    const char *library;         /* LLVM to load; NULL: the usual names */
} JitOptions;

typedef struct Jit      Jit;
typedef struct JitBuild JitBuild; /* jit_build.h */
/* Fills build->module with one function named jit_entry. False: it cannot, and has put the reason
 * into build->why. Runs on any lane; context is read only. */
typedef bool JitBuildFn(JitBuild *build, const void *context);
#define JIT_ENTRY "kernel"

typedef enum JitOrigin { JIT_NONE, JIT_COMPILED, JIT_FROM_DISK, JIT_FROM_MEMORY } JitOrigin;
typedef struct JitKernel {
    const char *name;       /* for messages */
    uint64_t    content[2]; /* hash of everything that build reads, and of its own version */
    JitBuildFn *build;
    const void *context;
    const char *passes; /* what is done with its module; NULL: jit_emit_passes. In content */
    /* results: */
    void     *entry; /* the function; NULL when it failed */
    JitOrigin origin;
    uint32_t  object_bytes;
    uint32_t  build_us, optimise_us, generate_us; /* processor time is not kept for hits */
} JitKernel;

/* LLVM is not loaded yet; a build without its headers says JIT_UNAVAILABLE: STATUS_UNSUPPORTED.
 * The handle lives in arena and pushes nothing to it later; code has address space of its own. */
MUST_USE Status   jit_open(Arena *arena, const JitOptions *options, Diags *diags, Jit **out_jit);
void              jit_close(Jit *jit);            /* entries are gone; NULL is allowed */
bool              jit_level_runs(JitLevel level); /* on this machine */
uint64_t          jit_host_stream_bytes(void);    /* JitMachine.stream_bytes of this processor */
const JitMachine *jit_machine(const Jit *jit);

/* Fills entry of each kernel; the level must run here. workers NULL: all on the caller. A kernel
 * that cannot be compiled adds JIT_FAILED and the others go on; the status is that of the first
 * failure: STATUS_UNSUPPORTED (no LLVM), STATUS_INVALID (the module is wrong),
 * STATUS_OUT_OF_MEMORY. Entries live as long as the Jit. */
MUST_USE Status jit_compile(Jit *jit, Workers *workers, JitKernel *kernels, uint32_t count,
                            Diags *diags);

/* What a kernel becomes, at any level, for inspection: the module as built, after the passes, as
 * assembly. */
typedef enum JitStage { JIT_STAGE_BUILT, JIT_STAGE_OPTIMISED, JIT_STAGE_ASSEMBLY } JitStage;
MUST_USE Status jit_text(Jit *jit, const JitKernel *kernel, JitStage stage, Arena *out,
                         Diags *diags, String *out_text);

#endif
