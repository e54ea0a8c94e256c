/* A training small enough to be repeated a thousand times: one layer of width 8 over bytes, with
 * dropout, two micro-batches a step and random windows, in a temporary folder that goes away.
 *
 * tiny_begin makes the folder, the text and the options. Handles are opened by the test, and
 * tiny_drop destroys those that are there, whatever a failure left. tiny_expect records the state
 * of every step of an undisturbed run, which is what a disturbed one must come back to, bit by
 * bit. */
#ifndef STOA_TESTS_FAULT_TINY_H
#define STOA_TESTS_FAULT_TINY_H

#include "formats_helpers.h"
#include "harness.h"
#include "models/gpt.h"
#include "stoa/stoa.h"

enum { TINY_STEPS = 6 };

typedef struct Tiny {
    Arena             *arena;
    const char        *root, *run, *text; /* folders and the data */
    const char        *file, *kept;       /* a file and a folder to write */
    StoaContextOptions options;
    GptConfig          model;
    StoaTextOptions    source;
    StoaTrainOptions   train;
    StoaContext       *context;
    StoaProgram       *program, *second;
    StoaSession       *session;
    StoaData          *data;
    StoaTokenizer     *tokenizer;
    StoaConfig        *config;
    StoaTrainResult    result;
    uint64_t           stop_at;
    struct Host       *host; /* of tests that allocate themselves */
    uint32_t           warnings;
    char               warning[1024];          /* the last one */
    uint8_t           *states[TINY_STEPS + 1]; /* by step, of an undisturbed run */
    size_t             state_bytes;
} Tiny;

/* --- opening and dropping --------------------------------------------------------------------- */
static inline void tiny_log(void *user, StoaLogLevel level, const char *text) {
    Tiny *t = user;
    if (level != STOA_LOG_WARNING) return;
    t->warnings++;
    snprintf(t->warning, sizeof t->warning, "%s", text);
}

static inline GptConfig tiny_model(void) {
    GptConfig config = model_gpt_preset();
    config.vocab = 256;
    config.context = 8;
    config.layers = 1;
    config.heads = 2;
    config.width = 8;
    config.dropout = 0.1;
    config.accumulate = 2;
    return config;
}

static inline StoaTrainOptions tiny_training(const char *run) {
    StoaTrainOptions train = STOA_TRAIN_OPTIONS;
    train.steps = TINY_STEPS;
    train.accumulate = 2;
    train.schedule = STOA_COSINE;
    train.learning_rate = 1e-2;
    train.warmup_steps = 2;
    train.seed = 7;
    train.log_every = 1;
    train.evaluate_every = 3;
    train.evaluate_batches = 2;
    train.run = run;
    train.checkpoint_every = 4;
    train.config = "[model]\nwidth = 8\n";
    train.title = "tiny";
    return train;
}

/* In memory where that is to be had: a disk takes milliseconds for each sync. */
static inline const char *tiny_folder(Arena *arena) {
    char       *path = (char *)(uintptr_t)str_copy(arena, STR("/dev/shm/stoa-test-XXXXXX")).data;
    const char *made = getenv("TMPDIR") == NULL ? mkdtemp(path) : NULL;
    return made != NULL ? made : temp_make(arena);
}

static inline bool tiny_begin(Arena *arena, Tiny *t) {
    String license;
    *t = (Tiny){.arena = arena, .model = tiny_model()};
    t->options = (StoaContextOptions)STOA_CONTEXT_OPTIONS;
    t->options.lanes = 2;
    t->options.no_pinning = true;
    t->options.log = tiny_log;
    t->options.user = t;
    t->root = tiny_folder(arena);
    t->run = path_in(arena, t->root, "run");
    t->text = path_in(arena, t->root, "text.txt");
    t->file = path_in(arena, t->root, "file");
    t->kept = path_in(arena, t->root, "kept");
    t->train = tiny_training(t->run);
    t->source = (StoaTextOptions)STOA_TEXT_OPTIONS;
    t->source.path = t->text;
    t->source.tokenizer = "bytes";
    t->source.validation = 0.1;
    t->source.batch = 2;
    t->source.context = 8;
    t->source.seed = 3;
    license = file_get(arena, "LICENSE");
    return EXPECT(t->root != NULL && license.count > 2000 && file_put(t->text, license.data, 2000));
}

/* Everything but the context. */
static inline void tiny_drop(Tiny *t) {
    stoa_config_destroy(t->config);
    stoa_tokenizer_destroy(t->tokenizer);
    stoa_data_destroy(t->data);
    stoa_session_destroy(t->session);
    stoa_program_destroy(t->second);
    stoa_program_destroy(t->program);
    t->config = NULL;
    t->tokenizer = NULL;
    t->data = NULL;
    t->session = NULL;
    t->second = t->program = NULL;
}
static inline void tiny_close(Tiny *t) {
    tiny_drop(t);
    stoa_context_destroy(t->context);
    t->context = NULL;
}
static inline void tiny_end(Tiny *t) {
    tiny_close(t);
    temp_remove(t->arena, t->root);
}

static inline bool tiny_good(const Tiny *t, StoaStatus status) {
    if (status != STOA_OK) printf("\n  status %d: %s", (int)status, stoa_message(t->context));
    return EXPECT(status == STOA_OK);
}
static inline StoaStatus tiny_build(Tiny *t) {
    StoaStatus status = stoa_program_create(t->context, &t->program);
    return status == STOA_OK ? model_gpt_build(t->program, &t->model) : status;
}
static inline StoaStatus tiny_compile(Tiny *t, bool interpreter) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.seed = 5;
    options.interpreter = interpreter;
    options.no_fusion = true; /* LLVM's own memory is not ours to refuse, and it takes its time */
    return stoa_compile(t->program, &options, &t->session);
}
static inline bool tiny_context(Tiny *t) {
    return EXPECT(stoa_context_create(&t->options, &t->context) == STOA_OK);
}
/* Context, program, session and data, none of which may fail. */
static inline bool tiny_open(Tiny *t) {
    return tiny_context(t) && tiny_good(t, tiny_build(t)) && tiny_good(t, tiny_compile(t, false)) &&
           tiny_good(t, stoa_data_text(t->context, &t->source, &t->data));
}

static inline bool tiny_stop(void *user, const StoaProgress *progress) {
    const Tiny *t = user;
    return progress->step == t->stop_at;
}
/* Trains to the end, or is asked to finish after step stop_at. */
static inline StoaStatus tiny_train(Tiny *t, uint64_t stop_at, bool resume) {
    StoaTrainOptions train = t->train;
    t->stop_at = stop_at;
    train.progress = tiny_stop;
    train.user = t;
    train.resume = resume;
    return stoa_train(t->session, t->data, &train, &t->result);
}

/* --- states ----------------------------------------------------------------------------------- */
/* Every tensor of the session, one after the other; NULL into: only their bytes. */
static inline size_t tiny_state(StoaSession *session, uint8_t *into) {
    size_t total = 0;
    for (uint32_t i = 0; i < stoa_state_count(session); i++) {
        StoaTensor  tensor = {.data = into ? into + total : NULL};
        const char *name = stoa_state_name(session, i);
        size_t      bytes = 4;
        if (!EXPECT(name != NULL && stoa_state_get(session, name, &tensor) == STOA_OK)) return 0;
        EXPECT(tensor.dtype == STOA_F32);
        for (uint32_t k = 0; k < tensor.rank; k++) bytes *= (size_t)tensor.shape[k];
        total += bytes;
    }
    return total;
}
/* Whether the session stands where the undisturbed run stood after so many steps. */
static inline bool tiny_is_at(Tiny *t, uint64_t step) {
    ArenaMark mark = arena_mark(t->arena);
    uint8_t  *state = arena_push(t->arena, t->state_bytes, 64);
    bool      same = step <= TINY_STEPS && tiny_state(t->session, NULL) == t->state_bytes &&
                tiny_state(t->session, state) == t->state_bytes &&
                memcmp(state, t->states[step], t->state_bytes) == 0;
    arena_release(t->arena, mark);
    return same;
}

static inline bool tiny_record(void *user, const StoaProgress *progress) {
    Tiny *t = user;
    (void)tiny_state(t->session, t->states[progress->step]);
    return false;
}
/* Trains without a folder and keeps the state of every step; leaves the handles open. */
static inline bool tiny_expect(Tiny *t) {
    StoaTrainOptions train = t->train;
    if (!tiny_open(t)) return false;
    t->state_bytes = tiny_state(t->session, NULL);
    for (uint32_t i = 0; i <= TINY_STEPS; i++)
        t->states[i] = arena_push(t->arena, t->state_bytes, 64);
    (void)tiny_state(t->session, t->states[0]);
    train.run = NULL;
    train.progress = tiny_record;
    train.user = t;
    return tiny_good(t, stoa_train(t->session, t->data, &train, &t->result)) &&
           EXPECT(tiny_is_at(t, TINY_STEPS)) && EXPECT(!tiny_is_at(t, TINY_STEPS - 1));
}

#endif
