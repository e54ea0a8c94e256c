/* The operating system as Linux and glibc give it: the only source that reads errno.
 *
 * File functions return 0, an errno value, or one of two numbers of our own (negative, so that they
 * cannot meet an errno): OS_FILE_SHORT and OS_FAULT. os_error_text knows all three kinds.
 *
 * Invariants: each commit and each file operation passes one fault point before it touches the
 * system, so "fail the n-th" reaches every one of them; an injected write is torn in half, as a
 * full disk leaves it, and an injected close still closes. Descriptors are close-on-exec: the host
 * program may fork. Nothing here holds a descriptor while it pushes to an arena, because a push can
 * unwind. */
#define _GNU_SOURCE
#include "arena/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    OS_FILE_SHORT = -1, /* the file ended before the bytes asked for */
    OS_FAULT = -2,      /* fault_file_nth */
    HUGE_BYTES = 2 << 20,
    WRITE_MAX = 1 << 30, /* one write call; Linux itself stops a little below 2 GiB */
};

/* --- fault injection -------------------------------------------------------------------------- */

typedef struct Fault {
    _Atomic uint64_t calls, nth;
} Fault;
static Fault              fault_commit, fault_file;
static _Thread_local bool fault_commit_was;

static void fault_arm(Fault *fault, uint64_t n) {
    atomic_store(&fault->nth, 0); /* disarmed while the count restarts */
    atomic_store(&fault->calls, 0);
    atomic_store(&fault->nth, n);
}

static bool fault_next(Fault *fault) {
    uint64_t call = atomic_fetch_add_explicit(&fault->calls, 1, memory_order_relaxed) + 1;
    return call == atomic_load_explicit(&fault->nth, memory_order_relaxed);
}

void     fault_commit_nth(uint64_t n) { fault_arm(&fault_commit, n); }
void     fault_file_nth(uint64_t n) { fault_arm(&fault_file, n); }
uint64_t fault_commit_count(void) { return atomic_load(&fault_commit.calls); }
uint64_t fault_file_count(void) { return atomic_load(&fault_file.calls); }
bool     fault_commit_hit(void) { return fault_commit_was; }

/* --- memory ----------------------------------------------------------------------------------- */

size_t os_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Large reservations begin on a huge-page boundary, or their first 2 MiB could never be one. */
void *os_reserve(size_t bytes) {
    ASSERT(bytes > 0 && bytes % os_page_bytes() == 0);
    size_t slack = bytes >= 2 * (size_t)HUGE_BYTES ? HUGE_BYTES : 0;
    if (bytes > SIZE_MAX - slack) return NULL;
    int   flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *mapped = mmap(NULL, bytes + slack, PROT_NONE, flags, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    if (slack == 0) return mapped;
    uint8_t *memory = mapped;
    size_t   head = (HUGE_BYTES - ((uintptr_t)memory & (HUGE_BYTES - 1))) & (HUGE_BYTES - 1);
    if (head > 0) os_release(memory, head);
    if (slack > head) os_release(memory + head + bytes, slack - head);
    return memory + head;
}

/* A commit of no bytes is only a fault point; block.c uses it. */
bool os_commit(void *memory, size_t bytes) {
    ASSERT(memory || bytes == 0);
    fault_commit_was = fault_next(&fault_commit);
    if (fault_commit_was) return false;
    return bytes == 0 || mprotect(memory, bytes, PROT_READ | PROT_WRITE) == 0;
}

void os_release(void *memory, size_t bytes) {
    ASSERT(memory && bytes > 0);
    int failed = munmap(memory, bytes);
    ASSERT(!failed); /* only a range that we never reserved is refused */
    (void)failed;
}

void os_decommit(void *memory, size_t bytes) {
    ASSERT(memory);
    if (bytes == 0) return;
    (void)madvise(memory, bytes, MADV_DONTNEED); /* the next commit reads zero again */
    (void)mprotect(memory, bytes, PROT_NONE);
}

/* Advice only: a kernel without transparent huge pages refuses it, and nothing is lost. */
void os_advise_huge(void *memory, size_t bytes) {
    ASSERT(memory);
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
}

bool os_seal_code(void *memory, size_t bytes) {
    ASSERT(memory && bytes > 0);
    if (fault_next(&fault_commit)) return false;
    return mprotect(memory, bytes, PROT_READ | PROT_EXEC) == 0;
}
bool os_allow_tiles(void) {
#if defined(SYS_arch_prctl)
    enum { REQUEST = 0x1023, TILES = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST, TILES) == 0;
#else
    return false;
#endif
}
const char *os_environment(const char *name) {
    ASSERT(name);
    return getenv(name);
}

/* --- clock ------------------------------------------------------------------------------------ */

uint64_t os_clock_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_clock_thread_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_clock_wall_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

/* The second number of statm: resident pages. Not a file operation to the fault counters. */
uint64_t os_memory_resident(void) {
    char text[128];
    int  handle = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (handle < 0) return 0;
    ssize_t got = read(handle, text, sizeof text - 1);
    (void)close(handle);
    if (got <= 0) return 0;
    text[got] = 0;
    const char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) * os_page_bytes() : 0;
}

/* --- files ------------------------------------------------------------------------------------ */

static int error_of(int result) { return result < 0 ? errno : 0; }

int os_open(const char *path, OsOpen how, OsFile *out_file) {
    static const int flags[] = {[OS_READ] = O_RDONLY,
                                [OS_WRITE_NEW] = O_WRONLY | O_CREAT | O_TRUNC,
                                [OS_APPEND] = O_WRONLY | O_CREAT | O_APPEND};
    ASSERT(path && out_file);
    ASSERT((size_t)how < LENGTH(flags));
    out_file->handle = -1;
    if (fault_next(&fault_file)) return OS_FAULT;
    do {
        out_file->handle = open(path, flags[how] | O_CLOEXEC, 0666);
    } while (out_file->handle < 0 && errno == EINTR);
    return error_of(out_file->handle);
}

int os_read_at(OsFile file, uint64_t offset, void *into, size_t bytes) {
    ASSERT(file.handle >= 0);
    ASSERT(into || bytes == 0);
    if (fault_next(&fault_file)) return OS_FAULT;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset) return OS_FILE_SHORT;
    for (size_t done = 0; done < bytes;) {
        ssize_t got =
            pread(file.handle, (uint8_t *)into + done, bytes - done, (off_t)(offset + done));
        if (got == 0) return OS_FILE_SHORT;
        if (got < 0 && errno != EINTR) return errno;
        if (got > 0) done += (size_t)got;
    }
    return 0;
}

int os_write(OsFile file, const void *from, size_t bytes) {
    ASSERT(file.handle >= 0);
    ASSERT(from || bytes == 0);
    bool   torn = fault_next(&fault_file);
    size_t end = torn ? bytes / 2 : bytes;
    for (size_t done = 0; done < end;) {
        size_t  chunk = end - done < WRITE_MAX ? end - done : WRITE_MAX;
        ssize_t put = write(file.handle, (const uint8_t *)from + done, chunk);
        if (put == 0) return EIO;
        if (put < 0 && errno != EINTR) return errno;
        if (put > 0) done += (size_t)put;
    }
    return torn ? OS_FAULT : 0;
}

int os_size(OsFile file, uint64_t *out_bytes) {
    ASSERT(file.handle >= 0 && out_bytes);
    *out_bytes = 0;
    if (fault_next(&fault_file)) return OS_FAULT;
    struct stat info;
    if (fstat(file.handle, &info) < 0) return errno;
    *out_bytes = (uint64_t)info.st_size;
    return 0;
}

int os_sync(OsFile file) {
    ASSERT(file.handle >= 0);
    if (fault_next(&fault_file)) return OS_FAULT;
    return error_of(fsync(file.handle));
}

int os_truncate(OsFile file, uint64_t bytes) {
    ASSERT(file.handle >= 0);
    if (fault_next(&fault_file)) return OS_FAULT;
    if (bytes > INT64_MAX) return EFBIG;
    return error_of(ftruncate(file.handle, (off_t)bytes));
}

/* Linux closes the descriptor whatever close returns, so a retry would hit a stranger's file. */
int os_close(OsFile *file) {
    ASSERT(file);
    if (file->handle < 0) return 0;
    bool injected = fault_next(&fault_file);
    int  result = close(file->handle);
    int  error = result < 0 && errno != EINTR ? errno : 0;
    file->handle = -1;
    return injected ? OS_FAULT : error;
}

int os_map(const char *path, OsMap *out_map) {
    ASSERT(path && out_map);
    *out_map = (OsMap){0};
    if (fault_next(&fault_file)) return OS_FAULT;
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return errno;
    struct stat info;
    int         error = error_of(fstat(handle, &info));
    if (!error && S_ISDIR(info.st_mode)) error = EISDIR;
    if (!error && !S_ISREG(info.st_mode)) error = EINVAL;
    if (!error && info.st_size > 0) {
        size_t bytes = (size_t)info.st_size;
        void  *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, handle, 0);
        if (data == MAP_FAILED)
            error = errno;
        else
            *out_map = (OsMap){data, bytes};
    }
    (void)close(handle);
    return error;
}

void os_unmap(OsMap *map) {
    ASSERT(map);
    if (map->data) (void)munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (OsMap){0};
}

int os_rename(const char *from, const char *to) {
    ASSERT(from && to);
    if (fault_next(&fault_file)) return OS_FAULT;
    return error_of(rename(from, to));
}

/* Some file systems cannot sync a folder and say EINVAL; they order renames by themselves. */
int os_sync_dir(const char *dir) {
    ASSERT(dir);
    if (fault_next(&fault_file)) return OS_FAULT;
    int handle = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return errno;
    int error = error_of(fsync(handle));
    (void)close(handle);
    return error == EINVAL ? 0 : error;
}

int os_remove(const char *path) {
    ASSERT(path);
    if (fault_next(&fault_file)) return OS_FAULT;
    int error = error_of(unlink(path));
    return error == EISDIR ? error_of(rmdir(path)) : error;
}

/* Creates one folder; a folder that exists is fine, also if another process just made it. */
static int make_one_dir(const char *path) {
    ASSERT(path);
    int error = error_of(mkdir(path, 0777));
    if (error != EEXIST) return error;
    struct stat info;
    if (stat(path, &info) < 0) return errno;
    return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

int os_make_dir(const char *path) {
    ASSERT(path);
    if (fault_next(&fault_file)) return OS_FAULT;
    char   prefix[PATH_MAX];
    size_t count = strlen(path);
    if (count == 0) return ENOENT;
    if (count >= sizeof prefix) return ENAMETOOLONG;
    memcpy(prefix, path, count + 1);
    int error = 0;
    for (size_t i = 1; i < count && !error; i++) {
        if (prefix[i] != '/' || prefix[i - 1] == '/') continue;
        prefix[i] = 0;
        error = make_one_dir(prefix);
        prefix[i] = '/';
    }
    return error ? error : make_one_dir(path);
}

bool os_exists(const char *path) {
    ASSERT(path);
    struct stat info;
    return stat(path, &info) == 0;
}

int os_stat(const char *path, uint64_t *out_bytes, uint64_t *out_time_ns) {
    ASSERT(path && out_bytes && out_time_ns);
    *out_bytes = *out_time_ns = 0;
    if (fault_next(&fault_file)) return OS_FAULT;
    struct stat info;
    if (stat(path, &info) < 0) return errno;
    *out_bytes = (uint64_t)info.st_size;
    *out_time_ns = (uint64_t)info.st_mtim.tv_sec * 1000000000u + (uint64_t)info.st_mtim.tv_nsec;
    return 0;
}

void os_touch(const char *path) {
    ASSERT(path);
    if (!fault_next(&fault_file)) (void)utimensat(AT_FDCWD, path, NULL, 0);
}

static int name_order(const void *left, const void *right) {
    const String *a = left, *b = right;
    size_t        shared = a->count < b->count ? a->count : b->count;
    int           order = memcmp(a->data, b->data, shared);
    return order ? order : (a->count > b->count) - (a->count < b->count);
}

/* One pass over a folder. Fills up to names_max names and bytes_max bytes of text; counts all. */
typedef struct Listing {
    String *names;
    char   *text;
    size_t  names_max, bytes_max;
    size_t  names_count, bytes_count;
} Listing;

static int list_pass(const char *dir, Listing *listing) {
    ASSERT(dir && listing);
    listing->names_count = listing->bytes_count = 0;
    DIR *stream = opendir(dir);
    if (!stream) return errno;
    int error = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            error = errno;
            break;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        size_t bytes = strlen(name) + 1, row = listing->names_count++, at = listing->bytes_count;
        listing->bytes_count += bytes;
        if (row >= listing->names_max || listing->bytes_count > listing->bytes_max) continue;
        memcpy(listing->text + at, name, bytes);
        listing->names[row] = (String){listing->text + at, bytes - 1};
    }
    (void)closedir(stream);
    return error;
}

/* Counts, pushes with the folder closed, then reads; again if the folder grew in between. */
int os_list(Arena *out, const char *dir, String **out_names, size_t *out_count) {
    ASSERT(out && dir);
    ASSERT(out_names && out_count);
    *out_names = NULL;
    *out_count = 0;
    if (fault_next(&fault_file)) return OS_FAULT;
    Listing   listing = {0};
    ArenaMark mark = arena_mark(out);
    for (;;) {
        int error = list_pass(dir, &listing);
        if (error) arena_release(out, mark);
        if (error) return error;
        bool fits =
            listing.names_count <= listing.names_max && listing.bytes_count <= listing.bytes_max;
        if (fits) break;
        arena_release(out, mark);
        listing.names_max = listing.names_count + 8; /* a few files may appear meanwhile */
        listing.bytes_max = listing.bytes_count + 512;
        listing.names = ARENA_ARRAY(out, String, listing.names_max);
        listing.text = ARENA_ARRAY(out, char, listing.bytes_max);
    }
    if (listing.names_count > 0)
        qsort(listing.names, listing.names_count, sizeof(String), name_order);
    *out_names = listing.names;
    *out_count = listing.names_count;
    return 0;
}

const char *os_error_text(int error) {
    if (error == OS_FILE_SHORT) return "the file ends too early";
    if (error == OS_FAULT) return "injected fault";
    const char *text = strerrordesc_np(error); /* static, and not translated */
    return text ? text : "unknown error";
}

/* --- shared libraries ------------------------------------------------------------------------- */

void *os_library_open(const char *name, const char **out_error) {
    ASSERT(name && out_error);
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    *out_error = library ? NULL : dlerror();
    return library;
}

void *os_library_find(void *library, const char *symbol) {
    ASSERT(library && symbol);
    return dlsym(library, symbol);
}

void os_library_close(void *library) {
    ASSERT(library);
    (void)dlclose(library);
}

uint32_t os_process_id(void) { return (uint32_t)getpid(); }

/* --- threads ---------------------------------------------------------------------------------- */

/* Lives on the starter's stack until the new thread has copied it. */
typedef struct Start {
    OsThreadFn      *fn;
    void            *context;
    const char      *name;
    _Atomic uint32_t taken;
} Start;

static void *thread_main(void *argument) {
    Start *start = argument;
    Start  mine = {.fn = start->fn, .context = start->context};
    char   name[16] = {0}; /* the kernel keeps 15 bytes and refuses longer ones */
    strncpy(name, start->name ? start->name : "stoa", sizeof name - 1);
    (void)pthread_setname_np(pthread_self(), name);
    /* After this store start may be gone. The starter polls with a timeout instead of being woken,
     * because waking would touch its stack. */
    atomic_store_explicit(&start->taken, 1, memory_order_release);
    mine.fn(mine.context);
    return NULL;
}

/* The host program's handlers must not run on our threads; faults still must, or debuggers and
 * sanitizers would see nothing. */
static void signals_of_threads(sigset_t *out_blocked) {
    static const int open_signals[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                       SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    (void)sigfillset(out_blocked);
    for (size_t i = 0; i < LENGTH(open_signals); i++) (void)sigdelset(out_blocked, open_signals[i]);
}

int os_thread_start(OsThread *out_thread, OsThreadFn *fn, void *context, const char *name) {
    ASSERT(out_thread && fn);
    Start     start = {.fn = fn, .context = context, .name = name};
    sigset_t  blocked, before;
    pthread_t thread = 0;
    *out_thread = (OsThread){0};
    if (fault_next(&fault_commit)) return EAGAIN; /* a thread commits its stack */
    signals_of_threads(&blocked);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int error = pthread_create(&thread, NULL, thread_main, &start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    static_assert(sizeof(pthread_t) == sizeof out_thread->handle, "a thread fits its handle");
    *out_thread = (OsThread){error ? 0 : (uint64_t)thread};
    if (error) return error;
    const struct timespec pause = {.tv_nsec = 20000};
    while (!atomic_load_explicit(&start.taken, memory_order_acquire)) (void)nanosleep(&pause, NULL);
    return 0;
}

void os_thread_join(OsThread thread) {
    ASSERT(thread.handle);
    int error = pthread_join((pthread_t)thread.handle, NULL);
    ASSERT(!error);
    (void)error;
}

void os_wait(const _Atomic uint32_t *word, uint32_t seen) {
    ASSERT(word);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

void os_wake(_Atomic uint32_t *word) {
    ASSERT(word);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
