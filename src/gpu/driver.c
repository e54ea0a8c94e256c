/* Searching, opening and binding the libraries of libraries.def, and saying what went wrong with a
 * call.
 *
 * A library is opened from the first folder that holds one of its files and whose file opens; what
 * failed before is told only if nothing works. Versions are read once, when a library is bound. */
#define _GNU_SOURCE /* dlinfo */
#include "gpu/driver.h"

#include <dlfcn.h>
#include <link.h>

#include "arena/os.h"

typedef struct LibraryRow {
    const char *title, *files, *origin;
    int         least;
} LibraryRow;
static const LibraryRow library_rows[GPU_LIBRARY_COUNT] = {
#define GPU_LIBRARY(NAME, title, least, files, origin)                                             \
    [GPU_LIBRARY_##NAME] = {title, files, origin, least},
#define GPU_BAD(NAME, from, to, why)
#include "gpu/libraries.def"
};
typedef struct BadRow {
    GpuLibrary  library;
    int         from, to;
    const char *why;
} BadRow;
static const BadRow bad_rows[] = {
#define GPU_LIBRARY(NAME, title, least, files, origin)
#define GPU_BAD(NAME, from, to, why) {GPU_LIBRARY_##NAME, from, to, why},
#include "gpu/libraries.def"
};
typedef struct FnRow {
    const char *name;
    GpuLibrary  library;
    uint32_t    offset; /* in GpuFns */
} FnRow;
/* May be missing: who calls them looks first. */
static const char *const optional_fns[] = {"cuGraphAddNode_v2", "cuGraphConditionalHandleCreate"};
static const FnRow       fn_rows[] = {
#define GPU_FN(library, result, name, parameters)                                                  \
    {#name, GPU_LIBRARY_##library, (uint32_t)offsetof(GpuFns, name)},
#include "gpu/functions.def"
};

const char *gpu_library_title(GpuLibrary library) {
    ASSERT(library < GPU_LIBRARY_COUNT);
    return library_rows[library].title;
}

String gpu_version_text(Arena *out, int version) {
    return str_format(out, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

/* --- where to look ---------------------------------------------------------------------------- */

enum { FOLDERS_MAX = 96 };

static void add_folder(GpuLibs *libs, String folder) {
    if (libs->folders_count == FOLDERS_MAX) return;
    if (folder.count > 0 && !os_exists(folder.data)) return;
    libs->folders[libs->folders_count++] = folder;
}

/* A folder, its lib and lib64, and the lib of each of its folders. */
static void add_tree(GpuLibs *libs, String folder) {
    Arena  *arena = libs->arena;
    String *names;
    size_t  count;
    if (folder.count == 0 || !os_exists(folder.data)) return;
    add_folder(libs, folder);
    add_folder(libs, str_format(arena, "%s/lib", folder.data));
    add_folder(libs, str_format(arena, "%s/lib64", folder.data));
    if (os_list(arena, folder.data, &names, &count) != 0) return;
    for (size_t i = 0; i < count; i++)
        add_folder(libs, str_format(arena, "%s/%s/lib", folder.data, names[i].data));
}

static void add_trees(GpuLibs *libs, String folders) {
    for (size_t from = 0, to; from < folders.count; from = to + 1) {
        const char *end = memchr(folders.data + from, ':', folders.count - from);
        to = end ? (size_t)(end - folders.data) : folders.count;
        add_tree(libs, str_copy(libs->arena, (String){folders.data + from, to - from}));
    }
}

/* The wheels of a Python environment: lib/python3.x/site-packages/nvidia. */
static void add_environment(GpuLibs *libs, const char *root) {
    String *names;
    size_t  count;
    Arena  *arena = libs->arena;
    if (root == NULL || root[0] == 0) return;
    String lib = str_format(arena, "%s/lib", root);
    if (os_list(arena, lib.data, &names, &count) != 0) return;
    for (size_t i = 0; i < count; i++)
        if (str_starts(names[i], STR("python3")))
            add_tree(libs,
                     str_format(arena, "%s/%s/site-packages/nvidia", lib.data, names[i].data));
}

static void add_toolkit(GpuLibs *libs, const char *root) {
    if (root == NULL || root[0] == 0) return;
    add_folder(libs, str_format(libs->arena, "%s/lib64", root));
    add_folder(libs, str_format(libs->arena, "%s/extras/CUPTI/lib64", root));
}

GpuLibs *gpu_libs_open(Arena *arena, String folders) {
    ASSERT(arena);
    GpuLibs *libs = ARENA_NEW(arena, GpuLibs);
    libs->arena = arena;
    libs->startup = ARENA_ARRAY_ZERO(arena, GpuStartup, 1);
    libs->folders = ARENA_ARRAY(arena, String, FOLDERS_MAX);
    add_trees(libs, folders.count > 0 ? folders : str_of(os_environment("STOA_CUDA_PATH")));
    if (folders.count > 0) return libs;
    const char *data = os_environment("XDG_DATA_HOME"), *home = os_environment("HOME");
    if (data != NULL && data[0] != 0)
        add_tree(libs, str_format(arena, "%s/stoa/cuda", data));
    else if (home != NULL && home[0] != 0)
        add_tree(libs, str_format(arena, "%s/.local/share/stoa/cuda", home));
    add_environment(libs, os_environment("VIRTUAL_ENV"));
    add_folder(libs, STR(""));
    add_toolkit(libs, os_environment("CUDA_HOME"));
    add_toolkit(libs, os_environment("CUDA_PATH"));
    add_toolkit(libs, "/usr/local/cuda");
    add_folder(libs, STR("/usr/local/nvidia/lib64")); /* the driver, in containers */
    return libs;
}

void gpu_libs_close(GpuLibs *libs) {
    if (libs == NULL) return;
    for (uint32_t i = 0; i < GPU_LIBRARY_COUNT; i++)
        if (libs->bindings[i].handle != NULL) (void)dlclose(libs->bindings[i].handle);
    memset(libs->bindings, 0, sizeof libs->bindings);
    memset(&libs->fns, 0, sizeof libs->fns);
}

/* --- binding ---------------------------------------------------------------------------------- */

/* The only place that adds GPU_LIBRARY. */
static Status refuse(GpuLibrary library, Status status, String why, Diags *diags) {
    const LibraryRow *row = &library_rows[library];
    (void)diags_add(diags, DIAG_GPU_LIBRARY, 0, diags_str(diags, str_of(row->title)),
                    diags_str(diags, why), diags_str(diags, str_of(row->origin)), 0);
    return status;
}

/* Opens `file` in one folder; a failure of a file that is there is added to *tried. */
static bool open_in(GpuLibs *libs, GpuBinding *binding, String folder, String file, Text *tried) {
    String path = file;
    if (folder.count > 0) path = str_format(libs->arena, "%s/%s", folder.data, file.data);
    if (folder.count > 0 && !os_exists(path.data)) return false;
    /* They keep threads and thread-local state: never unmapped, only let go. */
    binding->handle = dlopen(path.data, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    binding->path = path;
    if (binding->handle != NULL) {
        struct link_map *map = NULL; /* where the system found it */
        if (folder.count == 0 && dlinfo(binding->handle, RTLD_DI_LINKMAP, &map) == 0)
            binding->path = str_copy(libs->arena, str_of(map->l_name));
        return true;
    }
    const char *reason = dlerror();
    if (folder.count > 0) text_addf(tried, "; %s", reason ? reason : "it does not open");
    return false;
}

static Status open_library(GpuLibs *libs, GpuLibrary library, Diags *diags) {
    GpuBinding *binding = &libs->bindings[library];
    String      files = str_of(library_rows[library].files);
    Scratch     scratch = scratch_begin(&libs->arena, 1);
    Text        tried = text_begin(scratch.arena);
    text_addf(&tried, "%s: no such file", files.data);
    for (uint32_t i = 0; i < libs->folders_count && binding->handle == NULL; i++) {
        for (size_t from = 0, to; from < files.count && binding->handle == NULL; from = to + 1) {
            const char *end = memchr(files.data + from, ' ', files.count - from);
            to = end ? (size_t)(end - files.data) : files.count;
            String file = str_copy(libs->arena, (String){files.data + from, to - from});
            (void)open_in(libs, binding, libs->folders[i], file, &tried);
        }
    }
    Status status = STATUS_OK;
    if (binding->handle == NULL) {
        text_add(&tried, STR("; looked in:"));
        for (uint32_t i = 0; i < libs->folders_count; i++)
            text_addf(&tried, " %s",
                      libs->folders[i].count > 0 ? libs->folders[i].data
                                                 : "(where the system looks)");
        status = refuse(library, STATUS_NOT_FOUND, text_done(&tried), diags);
    }
    scratch_end(scratch);
    return status;
}

static bool is_optional(const char *name) {
    for (size_t i = 0; i < LENGTH(optional_fns); i++)
        if (strcmp(name, optional_fns[i]) == 0) return true;
    return false;
}
static Status bind_functions(GpuLibs *libs, GpuLibrary library, Diags *diags) {
    const GpuBinding *binding = &libs->bindings[library];
    for (size_t i = 0; i < LENGTH(fn_rows); i++) {
        if (fn_rows[i].library != library) continue;
        void *function = dlsym(binding->handle, fn_rows[i].name);
        if (function == NULL && !is_optional(fn_rows[i].name))
            return refuse(
                library, STATUS_UNSUPPORTED,
                str_format(libs->arena, "%s has no %s", binding->path.data, fn_rows[i].name),
                diags);
        memcpy((char *)&libs->fns + fn_rows[i].offset, &function, sizeof function);
    }
    return STATUS_OK;
}

static int read_version(const GpuLibs *libs, GpuLibrary library) {
    const GpuFns *fns = &libs->fns;
    int           version = 0, minor = 0;
    uint32_t      number = 0;
    switch (library) {
    case GPU_LIBRARY_DRIVER: /* 13000 is 13.0 */
        if (fns->cuDriverGetVersion(&version) != 0) return 0;
        return version / 1000 * 10000 + version % 1000 / 10 * 100;
    case GPU_LIBRARY_NVRTC:
        return fns->nvrtcVersion(&version, &minor) == 0 ? version * 10000 + minor * 100 : 0;
    case GPU_LIBRARY_BLASLT: return (int)fns->cublasLtGetVersion();
    case GPU_LIBRARY_CUDNN: return (int)fns->cudnnGetVersion();
    case GPU_LIBRARY_CUPTI: return fns->cuptiGetVersion(&number) == 0 ? (int)number : 0;
    case GPU_LIBRARY_NCCL: return fns->ncclGetVersion(&version) == 0 ? version : 0;
    case GPU_LIBRARY_NVTX:
    case GPU_LIBRARY_COUNT: break;
    }
    return 0;
}

static Status check_version(GpuLibs *libs, GpuLibrary library, Diags *diags) {
    GpuBinding *binding = &libs->bindings[library];
    int         least = library_rows[library].least;
    binding->version = read_version(libs, library);
    String has = gpu_version_text(libs->arena, binding->version);
    if (binding->version < least)
        return refuse(library, STATUS_UNSUPPORTED,
                      str_format(libs->arena, "%s is version %s, at least %s is needed",
                                 binding->path.data, has.data,
                                 gpu_version_text(libs->arena, least).data),
                      diags);
    for (size_t i = 0; i < LENGTH(bad_rows); i++) {
        const BadRow *bad = &bad_rows[i];
        if (bad->library != library || binding->version < bad->from || binding->version > bad->to)
            continue;
        return refuse(
            library, STATUS_UNSUPPORTED,
            str_format(libs->arena, "%s is version %s: %s", binding->path.data, has.data, bad->why),
            diags);
    }
    return STATUS_OK;
}

Status gpu_libs_need(GpuLibs *libs, GpuLibrary library, Diags *diags) {
    ASSERT(libs && diags);
    ASSERT(library < GPU_LIBRARY_COUNT);
    GpuBinding *binding = &libs->bindings[library];
    if (binding->handle != NULL) return STATUS_OK;
    uint64_t begin_ns = os_clock_ns();
    Status   status = open_library(libs, library, diags);
    if (status == STATUS_OK) status = bind_functions(libs, library, diags);
    if (status == STATUS_OK) status = check_version(libs, library, diags);
    if (status != STATUS_OK && binding->handle != NULL) {
        (void)dlclose(binding->handle);
        binding->handle = NULL;
    }
    gpu_startup_end(libs->startup, GPU_PART_OPEN, library_rows[library].title, begin_ns);
    return status;
}

/* --- failed calls ----------------------------------------------------------------------------- */

static Status status_of(GpuLibrary library, int code) {
    switch (library) {
    case GPU_LIBRARY_DRIVER:
        if (code == ABI_CUDA_ERROR_OUT_OF_MEMORY) return STATUS_OUT_OF_MEMORY;
        if (code == ABI_CUDA_ERROR_NO_DEVICE) return STATUS_NOT_FOUND;
        return code == ABI_CUDA_ERROR_NOT_SUPPORTED ? STATUS_UNSUPPORTED : STATUS_DEVICE;
    case GPU_LIBRARY_NVRTC:
        return code == ABI_NVRTC_ERROR_OUT_OF_MEMORY ? STATUS_OUT_OF_MEMORY : STATUS_DEVICE;
    case GPU_LIBRARY_BLASLT:
        if (code == ABI_CUBLAS_STATUS_ALLOC_FAILED) return STATUS_OUT_OF_MEMORY;
        return code == ABI_CUBLAS_STATUS_NOT_SUPPORTED ? STATUS_UNSUPPORTED : STATUS_DEVICE;
    case GPU_LIBRARY_CUDNN:
        if (code == ABI_CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ||
            code == ABI_CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED)
            return STATUS_OUT_OF_MEMORY;
        return code / 1000 * 1000 == ABI_CUDNN_STATUS_NOT_SUPPORTED ? STATUS_UNSUPPORTED
                                                                    : STATUS_DEVICE;
    case GPU_LIBRARY_CUPTI:
    case GPU_LIBRARY_NVTX:
    case GPU_LIBRARY_NCCL:
    case GPU_LIBRARY_COUNT: break;
    }
    return STATUS_DEVICE;
}

/* What the library itself says about a result code. */
static String words_of(const GpuLibs *libs, GpuLibrary library, int code, Arena *out) {
    const GpuFns *fns = &libs->fns;
    const char   *name = NULL, *text = NULL;
    char          last[512] = {0};
    switch (library) {
    case GPU_LIBRARY_DRIVER:
        if (fns->cuGetErrorName(code, &name) != 0) name = NULL;
        if (fns->cuGetErrorString(code, &text) != 0) text = NULL;
        break;
    case GPU_LIBRARY_NVRTC: name = fns->nvrtcGetErrorString(code); break;
    case GPU_LIBRARY_BLASLT: name = fns->cublasLtGetStatusString(code); break;
    case GPU_LIBRARY_CUDNN:
        name = fns->cudnnGetErrorString(code);
        fns->cudnnGetLastErrorString(last, sizeof last - 1);
        text = last[0] ? last : NULL;
        break;
    case GPU_LIBRARY_CUPTI:
        if (fns->cuptiGetResultString(code, &name) != 0) name = NULL;
        break;
    case GPU_LIBRARY_NCCL:
        name = fns->ncclGetErrorString(code);
        text = fns->ncclGetLastError(NULL);
        break;
    case GPU_LIBRARY_NVTX:
    case GPU_LIBRARY_COUNT: break;
    }
    if (name == NULL) return str_format(out, "error %d", code);
    return text ? str_format(out, "%s: %s", name, text) : str_format(out, "%s", name);
}

Status gpu_failed(GpuLibs *libs, GpuLibrary library, int code, const char *call, const char *doing,
                  Diags *diags) {
    ASSERT(libs && diags);
    ASSERT(call && doing);
    if (code == 0) return STATUS_OK;
    Scratch scratch = scratch_begin(&libs->arena, 1);
    String  words = words_of(libs, library, code, scratch.arena);
    (void)diags_add(diags, DIAG_GPU_CALL, 0, diags_str(diags, str_of(doing)),
                    diags_str(diags, str_of(call)), diags_str(diags, words), 0);
    scratch_end(scratch);
    return status_of(library, code);
}

Status gpu_unsupported(GpuLibrary library, String what, String why, Diags *diags) {
    (void)diags_add(diags, DIAG_GPU_UNSUPPORTED, 0,
                    diags_str(diags, str_of(library_rows[library].title)), diags_str(diags, what),
                    diags_str(diags, why), 0);
    return STATUS_UNSUPPORTED;
}
