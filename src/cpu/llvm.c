/* Loading LLVM: finds the library, looks every function of the list up, and initialises the x86
 * back end.
 *
 * Everything happens under one lock and once: a library that was loaded is never closed, because
 * LLVM registers destructors and holds memory of its own. A failed attempt leaves nothing behind
 * and may be repeated with another name. What is missing is said by name: a function that a newer
 * or older LLVM does not have would otherwise be a jump to address 0 much later. */
#include "cpu/llvm.h"

#include <stdatomic.h>

#include "arena/os.h"

static void fail(Diags *diags, const char *library, const char *why) {
    (void)diags_add(diags, DIAG_JIT_UNAVAILABLE, 0, diags_str(diags, str_of(library)),
                    diags_str(diags, str_of(why)), 0, 0);
}

#if defined(STOA_HAVE_LLVM)

Llvm                    llvm;
static _Atomic uint32_t llvm_ready;
static _Atomic uint32_t llvm_lock;

static const char *const llvm_names[] = {"libLLVM.so.19.1", "libLLVM-19.so.1", "libLLVM-19.so"};

#define LLVM_NAME_(name) "LLVM" #name,
static const char *const llvm_symbols[] = {LLVM_FUNCTIONS(LLVM_NAME_)};

bool llvm_loaded(void) { return atomic_load_explicit(&llvm_ready, memory_order_acquire) != 0; }

/* The name of the first function that is missing, or NULL; fills table. */
static const char *look_up(void *library, Llvm *table) {
    void **slots = (void **)table;
    static_assert(sizeof(Llvm) == LENGTH(llvm_symbols) * sizeof(void *), "pointers only");
    for (size_t i = 0; i < LENGTH(llvm_symbols); i++) {
        slots[i] = os_library_find(library, llvm_symbols[i]);
        if (slots[i] == NULL) return llvm_symbols[i];
    }
    return NULL;
}

static Status load_locked(const char *name, Diags *diags) {
    const char *error = NULL, *tried = name;
    void       *library = name ? os_library_open(name, &error) : NULL;
    for (size_t i = 0; !name && !library && i < LENGTH(llvm_names); i++) {
        tried = llvm_names[i];
        library = os_library_open(tried, &error);
    }
    if (library == NULL) {
        fail(diags, name ? name : llvm_names[0], error);
        return STATUS_UNSUPPORTED;
    }
    Llvm        table;
    const char *missing = look_up(library, &table);
    unsigned    major = 0, minor = 0, patch = 0;
    if (missing == NULL) table.GetVersion(&major, &minor, &patch);
    if (missing != NULL || major != LLVM_MAJOR) {
        fail(diags, tried, missing ? missing : "it is not LLVM 19");
        os_library_close(library);
        return STATUS_UNSUPPORTED;
    }
    llvm = table;
    llvm.InitializeX86TargetInfo();
    llvm.InitializeX86Target();
    llvm.InitializeX86TargetMC();
    llvm.InitializeX86AsmPrinter();
    atomic_store_explicit(&llvm_ready, 1, memory_order_release);
    return STATUS_OK;
}

Status llvm_load(const char *library, Diags *diags) {
    ASSERT(diags);
    if (llvm_loaded()) return STATUS_OK;
    while (atomic_exchange_explicit(&llvm_lock, 1, memory_order_acquire)) os_wait(&llvm_lock, 1);
    Status status = llvm_loaded() ? STATUS_OK : load_locked(library, diags);
    atomic_store_explicit(&llvm_lock, 0, memory_order_release);
    os_wake(&llvm_lock);
    return status;
}

#else

bool   llvm_loaded(void) { return false; }
Status llvm_load(const char *library, Diags *diags) {
    ASSERT(diags);
    fail(diags, library ? library : "libLLVM", "this build was made without LLVM's headers");
    return STATUS_UNSUPPORTED;
}

#endif
