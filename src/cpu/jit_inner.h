/* What the sources of the kernel compiler share: the handle, cache files, objects and emission.
 *
 * jit.c drives; jit_host.c knows the processor, jit_cache.c the files, jit_object.c relocatable
 * ELF, jit_emit.c LLVM. Only jit_emit.c and what it calls need LLVM; the rest always compiles. */
#ifndef STOA_CPU_JIT_INNER_H
#define STOA_CPU_JIT_INNER_H

#include <stdatomic.h>

#include "cpu/jit.h"

typedef struct JitKey {
    uint64_t word[2];
} JitKey;
static inline bool jit_key_same(JitKey a, JitKey b) {
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

/* --- the processor (jit_host.c) --------------------------------------------------------------- */
JitMachine jit_host_machine(JitLevel level);
/* Everything that decides which instructions LLVM selects for `level`, as a number. */
uint64_t jit_host_digest(JitLevel level);

/* --- cache files (jit_cache.c) ---------------------------------------------------------------- */
enum { JIT_CACHE_LONG = -100 }; /* no errno, and none of os.h */
typedef struct JitCache {
    const char      *dir; /* NULL: no cache */
    uint64_t         bytes_max;
    _Atomic uint64_t bytes_written; /* since the folder was last looked through */
    _Atomic uint32_t writes;        /* numbers temporary files */
    _Atomic int32_t  error;         /* the first of a write, JIT_CACHE_LONG, or 0 */
} JitCache;
/* Makes the folder; an error turns the cache off and is kept in cache->error. */
void jit_cache_open(JitCache *cache, Arena *arena, const char *dir, uint64_t bytes_max);
/* The object of a key, in out; an empty string if there is none that is whole. */
String jit_cache_find(const JitCache *cache, Arena *out, JitKey key);
/* Thread-safe; failures only count in cache->error. */
void jit_cache_add(JitCache *cache, JitKey key, String object);
/* Removes the files that were unused for longest until 3/4 of the limit are left, if it is
 * exceeded. */
void jit_cache_trim(JitCache *cache);

/* --- objects (jit_object.c) ------------------------------------------------------------------- */
/* A relocatable object of x86-64, checked; it refers to the bytes it was read from. */
enum { JIT_SECTIONS_MAX = 64, JIT_EXTERNALS_MAX = 16 };
typedef struct JitObject {
    String   bytes;
    uint32_t sections;
    uint64_t
        place[JIT_SECTIONS_MAX]; /* where a section goes, from the start; UINT64_MAX: nowhere */
    uint32_t externals;          /* functions outside, in the order of their stubs */
    uint32_t external[JIT_EXTERNALS_MAX]; /* rows of the table of names in jit_object.c */
    uint64_t stubs;                       /* place of the first stub */
    uint64_t size;                        /* of everything, 64-byte aligned */
    uint64_t entry;                       /* place of JIT_ENTRY */
} JitObject;
/* False and a reason for anything that cannot be loaded; reads nothing outside the bytes. */
bool jit_object_read(String bytes, JitObject *out_object, const char **out_why);
/* Writes object->size bytes at `to` (64-byte aligned), which run where they stand. */
void jit_object_place(const JitObject *object, uint8_t *to);

/* --- LLVM (jit_emit.c) ------------------------------------------------------------------------ */
typedef struct JitEmitter JitEmitter; /* a target machine of LLVM's; used by one lane at a time */
typedef struct JitEmitted {
    Status   status;
    char     why[200];
    String   object; /* memory of LLVM's */
    void    *buffer; /* its owner; jit_emit_free */
    uint32_t build_us, optimise_us, generate_us;
} JitEmitted;
/* NULL when LLVM refuses the target. */
JitEmitter *jit_emitter_open(JitLevel level);
void        jit_emitter_close(JitEmitter *emitter);
/* Never unwinds and never ends the process; LLVM's own fatal errors become a status, after which
 * this process compiles nothing any more. */
void   jit_emit(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
                JitEmitted *out_emitted);
void   jit_emit_free(JitEmitted *emitted);
void   jit_emitted_fail(JitEmitted *emitted, Status status, const char *why); /* keeps the first */
Status jit_emit_text(JitEmitter *emitter, const JitMachine *facts, const JitKernel *kernel,
                     JitStage stage, Arena *out, JitEmitted *out_emitted, String *out_text);
/* The list of passes, part of every key. */
extern const char jit_emit_passes[];
/* Around a batch: takes LLVM's error handler for this process and gives it back. */
void jit_emit_begin(void);
void jit_emit_end(void);

#endif
