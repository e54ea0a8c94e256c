/* What Stoa asks of the operating system: address space, files, clock, threads. The only file that
 * includes system headers or reads errno is os_linux.c. Fault injection lives here, because each
 * commit and each file operation passes through. */
#ifndef STOA_ARENA_OS_H
#define STOA_ARENA_OS_H

#include <stddef.h>

#include "arena/ids.h"
#include "arena/str.h"

/* --- memory: page-granular ------------------------------------------------------------------ */
size_t os_page_bytes(void);
void  *os_reserve(size_t bytes);             /* inaccessible address space; NULL on refusal */
bool os_commit(void *memory, size_t bytes);  /* readable, writable, zero; counts as a fault point */
void os_release(void *memory, size_t bytes); /* gives back a whole reservation */
void os_decommit(void *memory, size_t bytes); /* drops the pages, keeps the address space */
void os_advise_huge(void *memory, size_t bytes);
/* Committed pages become readable and executable, no longer writable; false on refusal. */
MUST_USE bool os_seal_code(void *memory, size_t bytes);

/* Lets this process use the tile registers of x86-64 (AMX), which are large enough that the system
 * wants to be asked; false on refusal. Any number of times. */
bool os_allow_tiles(void);

/* A variable of the environment, or NULL; belongs to the process. */
const char *os_environment(const char *name);

/* --- clock ------------------------------------------------------------------------------------ */
uint64_t os_clock_ns(void);        /* monotonic */
uint64_t os_clock_thread_ns(void); /* processor time of this thread */
uint64_t os_clock_wall_s(void);    /* seconds since 1970 */
uint64_t os_memory_resident(void); /* bytes of this process in RAM; 0 if unknown */

/* --- files. Every function returns 0 or an error number for os_error_text ------------------- */
typedef struct OsFile {
    int handle; /* -1: closed */
} OsFile;
typedef enum OsOpen { OS_READ, OS_WRITE_NEW /* create or truncate */, OS_APPEND } OsOpen;
typedef struct OsMap {
    const uint8_t *data;
    size_t         bytes;
} OsMap;
MUST_USE int os_open(const char *path, OsOpen how, OsFile *out_file);
MUST_USE int os_read_at(OsFile file, uint64_t offset, void *into, size_t bytes); /* short = error */
MUST_USE int os_write(OsFile file, const void *from, size_t bytes);
MUST_USE int os_size(OsFile file, uint64_t *out_bytes);
MUST_USE int os_sync(OsFile file);
MUST_USE int os_truncate(OsFile file, uint64_t bytes);
int          os_close(OsFile *file); /* safe on a closed file */
MUST_USE int os_map(const char *path,
                    OsMap      *out_map); /* read-only; empty file: data NULL, 0 bytes */
void         os_unmap(OsMap *map);
MUST_USE int os_rename(const char *from,
                       const char *to); /* atomic; then os_sync_dir(to's folder) */
MUST_USE int os_sync_dir(const char *dir);
MUST_USE int os_remove(const char *path);   /* a file or an empty folder */
MUST_USE int os_make_dir(const char *path); /* with parents; exists = 0 */
bool         os_exists(const char *path);
/* Size and the time of the last write or os_touch, in ns since 1970. */
MUST_USE int os_stat(const char *path, uint64_t *out_bytes, uint64_t *out_time_ns);
void         os_touch(const char *path); /* best effort */
/* Names in a folder, sorted bytewise, without "." and ".."; strings live in out. */
MUST_USE int os_list(Arena *out, const char *dir, String **out_names, size_t *out_count);
const char  *os_error_text(int error); /* "No space left on device"; static or thread-local */

/* --- shared libraries ------------------------------------------------------------------------- */
/* Symbols stay private to the handle. NULL on refusal; *out_error says why (static or
 * thread-local). */
void    *os_library_open(const char *name, const char **out_error);
void    *os_library_find(void *library, const char *symbol); /* NULL if there is none */
void     os_library_close(void *library);
uint32_t os_process_id(void);

/* --- threads ---------------------------------------------------------------------------------- */
typedef struct OsThread {
    uint64_t handle;
} OsThread;
typedef void OsThreadFn(void *context);
MUST_USE int os_thread_start(OsThread *out_thread, OsThreadFn *fn, void *context, const char *name);
void         os_thread_join(OsThread thread);
/* Wait until *word differs from seen (may return early); wake all waiters of word. */
void os_wait(const _Atomic uint32_t *word, uint32_t seen);
void os_wake(_Atomic uint32_t *word);

/* --- fault injection (tests): the n-th call from now fails once, n >= 1; 0 turns it off ------- */
void     fault_commit_nth(uint64_t n);
void     fault_file_nth(uint64_t n);
uint64_t fault_commit_count(void); /* calls since the last arming, so a test knows when to stop */
uint64_t fault_file_count(void);
bool     fault_commit_hit(void); /* this thread's last os_commit was refused by injection */

#endif
