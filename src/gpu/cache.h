/* What is expensive to find out, kept on disk: machine code of kernels, measured choices of
 * algorithms. A file a result, named by the 128-bit hash of everything it depends on.
 *
 * Readers trust nothing: a file that is damaged, of another format or for another key is as good as
 * none. Writers replace whole files, so processes may share a folder. A folder that cannot be
 * written costs one GPU_CACHE warning and nothing else. Nothing is ever removed: a stale file is
 * never asked for again (its key holds the versions), and deleting the folder is always safe. */
#ifndef STOA_GPU_CACHE_H
#define STOA_GPU_CACHE_H

#include "arena/str.h"
#include "tables/diags.h"

typedef struct GpuCache {
    String folder; /* "": nothing is kept */
    bool   warned; /* writing failed once; it is not tried again */
} GpuCache;
typedef struct GpuKey {
    uint64_t low, high;
} GpuKey;

/* folder: empty for $XDG_CACHE_HOME/stoa or ~/.cache/stoa. Touches no file. */
GpuCache gpu_cache_open(Arena *arena, String folder);
/* Of parts in their order; ("ab", "c") and ("a", "bc") differ. */
GpuKey gpu_cache_key(const String *parts, uint32_t count);
/* kind: extension of the file, "cubin". False if there is no such result. */
bool gpu_cache_find(const GpuCache *cache, Arena *out, const char *kind, GpuKey key,
                    String *out_bytes);
void gpu_cache_put(GpuCache *cache, const char *kind, GpuKey key, String bytes, Diags *diags);
/* The result in the bytes of a file; false unless they are intact and for this key. Points into
 * file. */
bool gpu_cache_read(String file, GpuKey key, String *out_bytes);

#endif
