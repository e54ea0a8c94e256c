/* Contexts: creation, the message of the last failure, and tensor storage. The message is rendered
 * from diagnostic rows under a guard of its own, so that even describing a failure cannot fail the
 * host. */
#include "api/internal.h"

#include "arena/block.h"
#include "cpu/cpu.h"
#include "text/messages.h"
#include "text/printed.h"

const char *stoa_version(void) { return STOA_VERSION; }

void api_misuse(StoaContext *context, const char *function, const char *problem) {
    Diags     *diags = &context->diags;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        api_refused(context);
        return;
    }
    (void)diags_add(diags, DIAG_API_MISUSE, 0, diags_str(diags, str_of(function)),
                    diags_str(diags, str_of(problem)), 0, 0);
    arena_guard_end(&guard);
}

/* Message text is made under its own guard: if even that fails, a fixed text remains. */
static void render(StoaContext *context, World *world) {
    ArenaGuard guard;
    context->message = "out of memory while describing a failure";
    if (!ARENA_GUARD(&guard)) return;
    arena_release(context->messages, (ArenaMark){0});
    String own = text_diags(context->messages, NULL, &context->diags);
    String theirs = world ? text_diags(context->messages, world, &world->diags) : (String){"", 0};
    context->message =
        str_format(context->messages, "%.*s%.*s", STR_ARGS(own), STR_ARGS(theirs)).data;
    arena_guard_end(&guard);
}

StoaStatus api_fail(StoaContext *context, World *world, Status status) {
    if (context->refused) status = STATUS_OUT_OF_MEMORY;
    render(context, world);
    context->refused = false;
    diags_clear(&context->diags);
    if (world != NULL) diags_clear(&world->diags);
    if (context->log != NULL) context->log(context->user, STOA_LOG_ERROR, context->message);
    return status == STATUS_OK ? STOA_INVALID : (StoaStatus)status;
}

/* Where even that finds no room, nothing more is tried. */
void api_tell_unwind(StoaContext *context) {
    ArenaFailure failure = arena_guard_failure();
    ArenaGuard   guard;
    if (!ARENA_GUARD(&guard)) return;
    (void)diags_add(&context->diags, DIAG_ARENA_FULL, 0,
                    diags_str(&context->diags, str_of(failure.arena)), failure.bytes_asked,
                    failure.bytes_max, 0);
    arena_guard_end(&guard);
}

void api_refused(StoaContext *context) {
    api_tell_unwind(context);
    context->refused = true;
}

StoaStatus api_unwound(StoaContext *context, World *world) {
    api_tell_unwind(context);
    return api_fail(context, world, STATUS_OUT_OF_MEMORY);
}

_Noreturn void api_unwind_on(ArenaFailure failure) {
    arena_fail(failure.arena, failure.bytes_asked, failure.bytes_max, failure.injected);
}

void api_warn(StoaContext *context) { api_warn_world(context, NULL); }
void api_warn_world(StoaContext *context, World *world) {
    bool theirs = world != NULL && world->diags.rows.table.count > 1;
    if (context->diags.rows.table.count == 1 && !theirs) return;
    if (context->log != NULL) {
        render(context, world);
        context->log(context->user, STOA_LOG_WARNING, context->message);
        context->message = "";
    }
    diags_clear(&context->diags);
    if (theirs) diags_clear(&world->diags);
}

void *api_block_open(StoaContext *context, size_t bytes) {
    size_t size = bytes ? bytes : 64;
    void  *block;
    if (context->allocate != NULL) {
        if (context->tensors.bytes_max != 0 &&
            context->tensors.bytes + size > context->tensors.bytes_max)
            arena_fail(context->tensors.name, size, context->tensors.bytes_max, false);
        block = context->allocate(context->user, size);
        if (block != NULL) {
            context->tensors.bytes += size;
            if (context->tensors.bytes > context->tensors.bytes_peak)
                context->tensors.bytes_peak = context->tensors.bytes;
        }
    } else {
        block = block_open(size, -1, &context->tensors);
    }
    if (block == NULL) arena_fail(context->tensors.name, size, context->tensors.bytes_max, false);
    return block;
}

void api_block_close(StoaContext *context, void *block, size_t bytes) {
    size_t size = bytes ? bytes : 64;
    if (block == NULL) return;
    if (context->release != NULL) {
        context->release(context->user, block, size);
        context->tensors.bytes -= size;
    } else {
        block_close(block, size, &context->tensors);
    }
}

/* What a print row says, as a note. It may come from any lane; where there is no room for the text,
 * the line is lost and the step goes on. */
static void tell_printed(void *user, const World *world, uint32_t op, const Tensor *values,
                         uint32_t count) {
    const StoaContext *context = user;
    ArenaGuard         guard;
    if (context->log == NULL || !ARENA_GUARD(&guard)) return;
    Scratch scratch = scratch_begin(NULL, 0);
    String  line = text_printed(scratch.arena, world, (OpId){op}, values, count);
    context->log(context->user, STOA_LOG_INFO, line.data);
    scratch_end(scratch);
    arena_guard_end(&guard);
}

/* Fills a context that is zero; what was opened before an unwind can be destroyed. */
static Status open_context(StoaContext *context, const StoaContextOptions *options) {
    context->message = "";
    context->log = options->log;
    context->allocate = options->allocate;
    context->release = options->release;
    context->user = options->user;
    context->tensors = (Budget){.name = "tensor storage", .bytes_max = options->memory_max};
    diags_open(&context->diags, NULL);
    context->diags.print = tell_printed;
    context->diags.print_context = context;
    cpu_describe(&context->target, true);
    cpu_describe(&context->plain, false);
    context->messages = arena_open("messages", (size_t)1 << 28, 0);
    context->reports = arena_open("reports", (size_t)1 << 32, 0);
    if (context->messages == NULL || context->reports == NULL) return STATUS_OUT_OF_MEMORY;
    JitOptions jit = {0};
    if (options->kernel_cache != NULL) {
        jit.cache_dir = context->kernel_cache =
            str_copy(context->arena, str_of(options->kernel_cache)).data;
        context->schedules = str_format(context->arena, "%s/schedules", jit.cache_dir).data;
    }
    Status status = jit_open(context->arena, &jit, &context->diags, &context->jit);
    if (status == STATUS_UNSUPPORTED) {
        context->jit = NULL;
        diags_clear(&context->diags); /* told when a program is compiled */
    } else if (status != STATUS_OK) {
        return status;
    }
    return workers_open(context->arena, options->lanes, !options->no_pinning, &context->workers);
}

StoaStatus stoa_context_create(const StoaContextOptions *options, StoaContext **out_context) {
    StoaContextOptions preset = STOA_CONTEXT_OPTIONS, given = preset;
    if (options != NULL)
        memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    if ((given.allocate == NULL) != (given.release == NULL)) return STOA_INVALID;
    Arena *arena = arena_open("context", (size_t)1 << 30, 0);
    if (arena == NULL) return STOA_OUT_OF_MEMORY;
    StoaContext *volatile context = NULL;
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) {
        if (context != NULL)
            stoa_context_destroy(context);
        else
            arena_close(arena);
        return STOA_OUT_OF_MEMORY;
    }
    StoaContext *made = ARENA_NEW(arena, StoaContext);
    made->arena = arena;
    context = made;
    Status status = open_context(made, &given);
    arena_guard_end(&guard);
    if (status != STATUS_OK) {
        stoa_context_destroy(made);
        return (StoaStatus)status;
    }
    *out_context = made;
    return STOA_OK;
}

void stoa_context_destroy(StoaContext *context) {
    if (context == NULL) return;
    jit_close(context->jit);
    workers_close(context->workers);
    diags_close(&context->diags);
    arena_close(context->messages);
    arena_close(context->reports);
    arena_close(context->arena);
}

const char *stoa_message(const StoaContext *context) {
    return context ? context->message : "no context";
}
uint32_t stoa_context_lanes(const StoaContext *context) { return workers_lanes(context->workers); }
size_t   stoa_context_memory(const StoaContext *context) { return context->tensors.bytes; }
