/* Limits that a host sets: a context that cannot be opened, tensor storage with a byte limit or
 * from an allocator that refuses, and a disk that is full. A refusal names the limit, gives back
 * what was taken, and leaves the session fit for something smaller and the old checkpoint in
 * place. */
#include "phases.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

/* --- contexts --------------------------------------------------------------------------------- */
typedef struct Opening {
    Tiny      *t;
    uint64_t   n, met;
    StoaStatus status;
} Opening;
static void open_context(void *context) {
    Opening *o = context;
    fault_commit_nth(o->n);
    o->status = stoa_context_create(&o->t->options, &o->t->context);
    o->met = fault_commit_count();
    fault_commit_nth(0);
}
/* Commits count the starts of threads too. */
TEST(contexts_that_cannot_be_opened) {
    Tiny    t;
    Opening opening = {.t = &t};
    Held    before = {0};
    REQUIRE(tiny_begin(arena, &t));
    t.options.lanes = 3;
    for (opening.n = 1;; opening.n++) {
        OsThread thread;
        REQUIRE(os_thread_start(&thread, open_context, &opening, "opening") == 0);
        os_thread_join(thread);
        if (opening.n == 1) before = held_now();
        if (opening.met < opening.n) break;
        EXPECT_EQ(opening.status, STOA_OUT_OF_MEMORY);
        EXPECT(t.context == NULL);
    }
    EXPECT_EQ(opening.status, STOA_OK);
    EXPECT(opening.n > 5);
    tiny_close(&t);
    EXPECT(held_now().bytes < before.bytes + ((size_t)1 << 30));
    EXPECT_EQ(held_now().files, before.files);
    tiny_end(&t);
}

/* --- tensor storage --------------------------------------------------------------------------- */
static StoaStatus evaluate(Tiny *t, int64_t rows) {
    static int32_t tokens[512 * 8];
    StoaTensor     inputs[2] = {{STOA_I32, 2, {rows, 8}, tokens}, {STOA_I32, 2, {rows, 8}, tokens}};
    return stoa_run(t->session, "evaluate", inputs, 2, NULL, 0, NULL);
}
static bool names_storage(const Tiny *t, StoaStatus status) {
    return EXPECT_EQ(status, STOA_OUT_OF_MEMORY) &&
           EXPECT(strstr(stoa_message(t->context), "out of memory in 'tensor storage'") != NULL);
}
TEST(limit_of_tensor_storage) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    t.options.memory_max = 4096;
    REQUIRE(tiny_context(&t) && tiny_good(&t, tiny_build(&t)));
    EXPECT(names_storage(&t, tiny_compile(&t, false)));
    EXPECT(strstr(stoa_message(t.context), "limit 4096 bytes") != NULL);
    EXPECT_EQ(stoa_context_memory(t.context), 0);
    tiny_close(&t);
    t.options.memory_max = 512 << 10; /* room for the state and a small batch */
    REQUIRE(tiny_context(&t) && tiny_good(&t, tiny_build(&t)));
    REQUIRE(tiny_good(&t, tiny_compile(&t, false)));
    for (int i = 0; i < 3; i++) { /* an old plan, one that fails, and a new one after it */
        EXPECT(tiny_good(&t, evaluate(&t, 1)));
        EXPECT(names_storage(&t, evaluate(&t, 512)));
        EXPECT(tiny_good(&t, evaluate(&t, 2 + i)));
    }
    tiny_drop(&t);
    EXPECT_EQ(stoa_context_memory(t.context), 0);
    tiny_end(&t);
}

typedef struct Host { /* an allocator that refuses the n-th request */
    uint64_t calls, n;
    size_t   bytes;
} Host;
static void *host_allocate(void *user, size_t bytes) {
    Host *host = ((Tiny *)user)->host;
    if (++host->calls == host->n) return NULL;
    host->bytes += bytes;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}
static void host_release(void *user, void *memory, size_t bytes) {
    ((Tiny *)user)->host->bytes -= bytes;
    free(memory);
}
TEST(allocator_that_refuses) {
    Tiny t;
    Host host = {0};
    REQUIRE(tiny_begin(arena, &t));
    t.host = &host;
    t.options.allocate = host_allocate;
    t.options.release = host_release;
    for (host.n = 1;; host.n++) {
        host.calls = 0;
        REQUIRE(tiny_context(&t) && tiny_good(&t, tiny_build(&t)));
        StoaStatus status = tiny_compile(&t, false);
        if (status == STOA_OK) status = evaluate(&t, 4);
        if (host.calls < host.n) break;
        EXPECT(names_storage(&t, status));
        if (t.session == NULL) EXPECT(tiny_good(&t, tiny_compile(&t, false)));
        EXPECT(tiny_good(&t, evaluate(&t, 4)));
        tiny_close(&t);
        EXPECT_EQ(host.bytes, 0);
    }
    EXPECT(host.n > 10);
    tiny_end(&t);
    EXPECT_EQ(host.bytes, 0);
}

/* --- disk full -------------------------------------------------------------------------------- */
/* Files that would grow past so many bytes fail to be written; RLIM_INFINITY: all can. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
TEST(full_disk_keeps_the_old_checkpoint) {
    static const rlim_t limits[] = {0, 100, 3000, 10000, 30000};
    Tiny                t;
    REQUIRE(tiny_begin(arena, &t));
    REQUIRE(tiny_expect(&t));
    for (size_t i = 0; i < LENGTH(limits); i++) {
        uint64_t step = 0;
        tiny_close(&t);
        temp_remove(arena, t.run);
        REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, 4, false)));
        t.warnings = 0;
        t.train.checkpoint_every = 1;
        fflush(stdout); /* it may be a file */
        limit_files(limits[i]);
        StoaStatus status = tiny_train(&t, 0, true);
        limit_files(RLIM_INFINITY);
        t.train.checkpoint_every = 4;
        EXPECT_EQ(status, STOA_IO);
        const char *name = limits[i] > 0 ? "state.safetensors': File too large"
                                         : "config.toml': File too large"; /* before the steps */
        EXPECT(strstr(stoa_message(t.context), name) != NULL);
        EXPECT_EQ(t.warnings, limits[i] > 0); /* after step 5; after 6, the last, it is an error */
        EXPECT(limits[i] == 0 || strstr(t.warning, name) != NULL);
        EXPECT(tiny_is_at(&t, limits[i] > 0 ? TINY_STEPS : 4)); /* training went on */
        EXPECT(tiny_good(&t, stoa_checkpoint_load(t.session, t.run, NULL, &step)));
        EXPECT_EQ(step, 4);
        EXPECT(tiny_is_at(&t, 4));
        EXPECT(tiny_good(&t, tiny_train(&t, 0, true)));
        EXPECT(tiny_is_at(&t, TINY_STEPS));
    }
    tiny_end(&t);
}
