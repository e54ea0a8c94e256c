/* NVIDIA's driver and libraries, found and bound at run time.
 *
 * Nothing here is linked: a program starts without any of them, and learns what is missing when it
 * needs it (gpu_libs_need), as a row that says which files were looked for, where, and how to get
 * them. Searched, in order: the folders of STOA_CUDA_PATH; the folder that tools/setup --cuda fills
 * ($XDG_DATA_HOME or ~/.local/share, then stoa/cuda); the wheels of $VIRTUAL_ENV; where the system
 * looks; $CUDA_HOME, $CUDA_PATH and /usr/local/cuda. A folder stands for itself, its lib and lib64,
 * and the lib of each of its folders (the layout of the wheels).
 *
 * Every call goes through GPU_CALL, which turns its result into a Status and a row with the name of
 * the call, what it said and what was being done. One GpuLibs belongs to one thread; the bound
 * functions may be called from any. */
#ifndef STOA_GPU_DRIVER_H
#define STOA_GPU_DRIVER_H

#include "arena/status.h"
#include "arena/str.h"
#include "gpu/abi.h"
#include "gpu/startup.h"
#include "tables/diags.h"

typedef enum GpuLibrary {
#define GPU_LIBRARY(NAME, title, least, files, origin) GPU_LIBRARY_##NAME,
#define GPU_BAD(NAME, from, to, why)
#include "gpu/libraries.def"
    GPU_LIBRARY_COUNT
} GpuLibrary;

/* All foreign functions by their own names; those of a library are NULL until it is needed, and
 * those of conditional nodes where the driver has none. */
typedef struct GpuFns {
#define GPU_FN(library, result, name, parameters) result(*name) parameters;
#include "gpu/functions.def"
} GpuFns;
enum { /* the library of each function, for GPU_CALL */
#define GPU_FN(library, result, name, parameters) GPU_OWNER_##name = GPU_LIBRARY_##library,
#include "gpu/functions.def"
};

typedef struct GpuBinding {
    void  *handle;  /* of dlopen; NULL: not bound */
    String path;    /* the file, as it was opened */
    int    version; /* major * 10000 + minor * 100 + patch; 0: it has none */
} GpuBinding;
typedef struct GpuLibs {
    GpuFns      fns;
    GpuBinding  bindings[GPU_LIBRARY_COUNT];
    Arena      *arena;
    GpuStartup *startup;
    String     *folders; /* "" stands for the system's own search */
    uint32_t    folders_count;
} GpuLibs;

/* folders: searched instead of all these, separated by ':' (tests); empty: all these. Binds nothing
 * yet. The result lives in arena (which needs a guard, like every push) until gpu_libs_close. */
GpuLibs *gpu_libs_open(Arena *arena, String folders);
void gpu_libs_close(GpuLibs *libs); /* NULL is allowed; handles made by the libraries are dead */
/* Binds a library, once; later calls cost a comparison. Missing, too old, known to be broken or
 * without a function that is used: GPU_LIBRARY is added and the status is STATUS_NOT_FOUND or
 * STATUS_UNSUPPORTED. */
MUST_USE Status gpu_libs_need(GpuLibs *libs, GpuLibrary library, Diags *diags);
const char     *gpu_library_title(GpuLibrary library);     /* "cuDNN" */
String          gpu_version_text(Arena *out, int version); /* "9.19.0" */

/* The status of a result code; adds GPU_CALL unless it is 0 (success in all of the libraries).
 * call and doing: static or terminated strings, "cuMemCreate", "growing an arena". */
MUST_USE Status gpu_failed(GpuLibs *libs, GpuLibrary library, int code, const char *call,
                           const char *doing, Diags *diags);
/* Adds GPU_UNSUPPORTED: what this library cannot do, and why. STATUS_UNSUPPORTED. */
MUST_USE Status gpu_unsupported(GpuLibrary library, String what, String why, Diags *diags);
#define GPU_CALL(libs_, diags_, doing_, fn_, ...)                                                  \
    gpu_checked((libs_), (GpuLibrary)GPU_OWNER_##fn_, (libs_)->fns.fn_(__VA_ARGS__), #fn_,         \
                (doing_), (diags_))
MUST_USE static inline Status gpu_checked(GpuLibs *libs, GpuLibrary library, int code,
                                          const char *call, const char *doing, Diags *diags) {
    if (__builtin_expect(code == 0, 1)) return STATUS_OK;
    return gpu_failed(libs, library, code, call, doing, diags);
}

#endif
