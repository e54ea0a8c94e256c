/* The handles behind the public interface, and how failures become messages.
 *
 * Each public function that can run out of memory opens an arena guard; an unwind, a diagnostic row
 * or a Status all end in api_fail, which renders the rows as the context's message. */
#ifndef STOA_API_INTERNAL_H
#define STOA_API_INTERNAL_H

#include "arena/arena.h"
#include "arena/status.h"
#include "arena/workers.h"
#include "cpu/jit.h"
#include "tables/diags.h"
#include "tables/target.h"
#include <stoa/stoa.h>

struct StoaContext {
    Arena       *arena;    /* the context itself */
    Arena       *messages; /* text of the last failure */
    Arena       *reports;  /* text of the last report */
    Diags        diags;    /* of calls that have no world */
    Workers     *workers;
    Target       target, plain; /* with and without compiled kernels */
    Jit         *jit;           /* NULL: this build has no compiler */
    const char  *kernel_cache;  /* folder; NULL: none */
    const char  *schedules;     /* file of what a search found (stoac --search); NULL: no folder */
    Budget       tensors;
    const char  *message;
    bool         refused; /* see api_refused */
    StoaLogFn   *log;
    StoaAllocFn *allocate;
    StoaFreeFn  *release;
    void        *user;
};

/* Renders rows of the context (and of world, if given) as the message, logs warnings, clears both,
 * and returns status; STOA_INVALID when status is OK although there are errors. */
StoaStatus api_fail(StoaContext *context, World *world, Status status);
/* For the failure branch of a guard. */
StoaStatus api_unwound(StoaContext *context, World *world);
/* Only the row that says what the last unwind was about. */
void api_tell_unwind(StoaContext *context);
/* For the failure branch of a guard in a call that returns no status (builders, getters): the next
 * check (stoa_program_check, stoa_compile, stoa_config_finish) fails with STOA_OUT_OF_MEMORY. */
void api_refused(StoaContext *context);
/* For a guard that only cleans up: fails once more, to the guard around it. */
_Noreturn void api_unwind_on(ArenaFailure failure);
/* Logs and clears warnings after a success; those of a world too. */
void api_warn(StoaContext *context);
void api_warn_world(StoaContext *context, World *world);
/* One row API_MISUSE: what the caller did wrong. Needs no guard. */
void api_misuse(StoaContext *context, const char *function, const char *problem);

/* Tensor storage: the host's allocator, else block.h. Contents undefined. Unwinds on refusal. */
void *api_block_open(StoaContext *context, size_t bytes);
void  api_block_close(StoaContext *context, void *block, size_t bytes);

static_assert((int)STOA_DEVICE_FAILED == (int)STATUS_DEVICE, "ORDER Status");
static_assert((int)STOA_F64 == (int)DTYPE_F64, "ORDER DTYPES");
static_assert((int)STOA_F8E4M3 == (int)DTYPE_F8E4M3, "ORDER DTYPES");

#endif
