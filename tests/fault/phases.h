/* The phases that faults are injected into, and what must hold after each fault.
 *
 * A phase has a part that prepares (never disturbed), a part that is disturbed, and a check of what
 * a success means. sweep() runs it with the n-th commit or file operation failing, for n = 1, 2,
 * ... until the operation comes through with no fault left to meet. After each round:
 *
 *   - a failure has a status that fits the fault and a message that names it
 *   - every handle can be destroyed; files, tensor storage and address space are given back
 *   - the check holds if the call said that it succeeded (a fault may be survived: a trace that
 *     cannot be written is a warning)
 *   - the newest checkpoint is one that the undisturbed run had, bit by bit
 *   - the same thing, tried again with the same context and handles, succeeds */
#ifndef STOA_TESTS_FAULT_PHASES_H
#define STOA_TESTS_FAULT_PHASES_H

#include "tiny.h"

#include <math.h>
#include <unistd.h>

typedef enum FaultKind { FAULT_COMMIT, FAULT_FILE } FaultKind;
typedef struct Phase {
    const char *name;
    bool (*prepare)(Tiny *t);
    StoaStatus (*run)(Tiny *t);
    StoaStatus (*retry)(Tiny *t); /* with the same handles; NULL: run again with fresh ones */
    bool (*check)(Tiny *t);
    bool keeps_run; /* works in the run folder, which a checkpoint of step 4 stands in */
} Phase;

/* --- what the process holds ------------------------------------------------------------------- */
typedef struct Held {
    size_t files, bytes; /* open descriptors, address space */
} Held;
static inline Held held_now(void) {
    Held  held = {0};
    char  text[64] = {0};
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) != NULL)
            held.bytes = (size_t)strtoull(text, NULL, 10) * os_page_bytes();
        fclose(file);
    }
    for (int handle = 0; handle < 256; handle++) {
        int copy = dup(handle);
        if (copy < 0) continue;
        held.files++;
        close(copy);
    }
    return held;
}

/* --- phases ----------------------------------------------------------------------------------- */
static inline bool have_nothing(Tiny *t) { return t->context != NULL; }
static inline bool have_program(Tiny *t) { return tiny_good(t, tiny_build(t)); }
static inline bool have_session(Tiny *t) {
    return have_program(t) && tiny_good(t, tiny_compile(t, false));
}
static inline bool have_interpreter(Tiny *t) {
    return have_program(t) && tiny_good(t, tiny_compile(t, true));
}
static inline bool have_all(Tiny *t) {
    return have_session(t) && tiny_good(t, stoa_data_text(t->context, &t->source, &t->data));
}

static inline StoaStatus phase_build(Tiny *t) { return tiny_build(t); }
/* The text of the program is what an undisturbed build gives. */
static inline bool program_is_whole(Tiny *t) {
    const char  *text = NULL, *wanted = NULL;
    StoaProgram *other = NULL, *built = t->second ? t->second : t->program;
    if (!tiny_good(t, stoa_program_create(t->context, &other)) ||
        !tiny_good(t, model_gpt_build(other, &t->model)) ||
        !tiny_good(t, stoa_program_print(built, &text)) ||
        !tiny_good(t, stoa_program_print(other, &wanted)))
        return false;
    bool same = EXPECT(strcmp(text, wanted) == 0);
    stoa_program_destroy(other);
    return same;
}
static inline StoaStatus phase_print_parse(Tiny *t) {
    const char *text = NULL;
    StoaStatus  status = stoa_program_print(t->program, &text);
    if (status != STOA_OK) return status;
    return stoa_program_parse(t->context, text, strlen(text), "tiny.ir", &t->second);
}
static inline StoaStatus phase_clone(Tiny *t) { return stoa_program_clone(t->program, &t->second); }
static inline StoaStatus phase_program_file(Tiny *t) {
    StoaStatus status = stoa_program_save(t->program, t->file);
    return status == STOA_OK ? stoa_program_load(t->context, t->file, &t->second) : status;
}

static inline StoaStatus phase_compile(Tiny *t) { return tiny_compile(t, false); }
static inline bool       session_is_fresh(Tiny *t) { return EXPECT(tiny_is_at(t, 0)); }

/* Two shapes, so that the second plan needs more memory than the first; then the first again. */
static inline StoaStatus phase_step(Tiny *t) {
    int32_t    tokens[32] = {0};
    float      loss = NAN;
    StoaTensor output = {.data = &loss};
    for (int64_t i = 0; i < 3; i++) {
        StoaTensor inputs[2] = {{STOA_I32, 2, {i == 1 ? 4 : 1, 8}, tokens},
                                {STOA_I32, 2, {i == 1 ? 4 : 1, 8}, tokens}};
        StoaStatus status = stoa_run(t->session, "evaluate", inputs, 2, &output, 1, NULL);
        if (status != STOA_OK) return status;
        if (!(loss > 0)) return STOA_CORRUPT;
    }
    return STOA_OK;
}
static inline StoaStatus phase_weights(Tiny *t) {
    StoaStatus status = stoa_weights_save(t->session, t->file);
    return status == STOA_OK ? stoa_weights_load(t->session, t->file, false) : status;
}

static inline StoaStatus phase_data(Tiny *t) {
    return stoa_data_text(t->context, &t->source, &t->data);
}
static inline StoaStatus phase_data_kept(Tiny *t) {
    StoaTextOptions kept = t->source;
    kept.tokenizer = "bpe";
    kept.vocab = 280;
    kept.folder = t->kept;
    return stoa_data_text(t->context, &kept, &t->data);
}
static inline bool have_kept_data(Tiny *t) {
    bool good = tiny_good(t, phase_data_kept(t));
    stoa_data_destroy(t->data);
    t->data = NULL;
    return good;
}
static inline bool have_tokenizer(Tiny *t) {
    String bytes = {0};
    if (!have_kept_data(t)) return false;
    bytes = file_get(t->arena, path_in(t->arena, t->kept, "tokenizer.stok"));
    return EXPECT(file_put(t->file, bytes.data, bytes.count));
}
static inline bool have_no_kept_data(Tiny *t) {
    temp_remove(t->arena, t->kept);
    return true;
}
static inline bool data_is_whole(Tiny *t) {
    return EXPECT(stoa_data_items(t->data) > 0 && stoa_data_vocab(t->data) >= 256);
}
static inline StoaStatus phase_tokenizer(Tiny *t) {
    return stoa_tokenizer_load(t->context, t->file, &t->tokenizer);
}

static inline StoaStatus phase_train(Tiny *t) { return tiny_train(t, 0, false); }
static inline StoaStatus phase_resume(Tiny *t) { return tiny_train(t, 0, true); }
static inline bool       is_trained(Tiny *t) {
          return EXPECT_EQ(t->result.steps, TINY_STEPS) && EXPECT(tiny_is_at(t, TINY_STEPS));
}
static inline StoaStatus phase_checkpoint(Tiny *t) {
    return stoa_checkpoint_load(t->session, t->run, NULL, &t->result.steps);
}
static inline bool is_loaded(Tiny *t) {
    return EXPECT(t->result.steps == 4 || t->result.steps == 2) &&
           EXPECT(tiny_is_at(t, t->result.steps));
}

static inline bool have_program_file(Tiny *t) {
    return have_program(t) && tiny_good(t, stoa_program_save(t->program, t->file));
}
static inline StoaStatus phase_reports(Tiny *t) {
    const char *text = NULL;
    StoaStatus  status = stoa_inspect(t->context, t->file, &text);
    return status == STOA_OK ? stoa_doctor(t->context, true, &text) : status;
}
/* The doctor opens libraries of the GPU, which stay mapped: before memory is first compared. */
static inline bool have_reports(Tiny *t) {
    const char *text = NULL;
    return have_program_file(t) && EXPECT(stoa_doctor(t->context, true, &text) == STOA_OK);
}
static inline StoaStatus phase_config(Tiny *t) {
    static char word[] = "--model.width=8", *words[] = {word};
    const char *rest[2];
    int         rest_count = 0;
    StoaStatus  status = stoa_config_create(t->context, &t->config);
    if (status == STOA_OK) status = stoa_config_read(t->config, t->file, NULL);
    if (status == STOA_OK) status = stoa_config_flags(t->config, 1, words, rest, &rest_count);
    if (status != STOA_OK) return status;
    (void)stoa_config_int(t->config, "model.width", 1, 100, 4);
    (void)stoa_config_text(t->config, "title", "none");
    status = stoa_config_finish(t->config);
    return status == STOA_OK && stoa_config_print(t->config) == NULL ? STOA_CORRUPT : status;
}
static inline bool have_config(Tiny *t) { return EXPECT(file_put(t->file, "title = \"x\"\n", 12)); }
static inline bool config_is_whole(Tiny *t) {
    return EXPECT_EQ(stoa_config_int(t->config, "model.width", 1, 100, 4), 8) &&
           EXPECT_STR(stoa_config_text(t->config, "title", "none"), "x");
}

static const Phase phases[] = {
    {"build", have_nothing, phase_build, NULL, program_is_whole, false},
    {"print and parse", have_program, phase_print_parse, phase_print_parse, program_is_whole,
     false},
    {"clone", have_program, phase_clone, phase_clone, program_is_whole, false},
    {"save and load a program", have_program, phase_program_file, phase_program_file,
     program_is_whole, false},
    {"compile", have_program, phase_compile, phase_compile, session_is_fresh, false},
    {"step", have_session, phase_step, phase_step, session_is_fresh, false},
    {"step of the interpreter", have_interpreter, phase_step, phase_step, session_is_fresh, false},
    {"save and load weights", have_session, phase_weights, phase_weights, session_is_fresh, false},
    {"data", have_nothing, phase_data, phase_data, data_is_whole, false},
    {"data with a trained tokenizer", have_no_kept_data, phase_data_kept, phase_data_kept,
     data_is_whole, false},
    {"data kept by an earlier run", have_kept_data, phase_data_kept, phase_data_kept, data_is_whole,
     false},
    {"tokenizer", have_tokenizer, phase_tokenizer, phase_tokenizer, have_nothing, false},
    {"reports", have_reports, phase_reports, phase_reports, have_nothing, false},
    {"settings", have_config, phase_config, NULL, config_is_whole, false},
    {"load a checkpoint", have_session, phase_checkpoint, phase_checkpoint, is_loaded, true},
    {"train", have_all, phase_train, phase_resume, is_trained, true},
    {"resume", have_all, phase_resume, phase_resume, is_trained, true},
};

static inline void tree_copy(Arena *arena, const char *from, const char *to) {
    ArenaMark mark = arena_mark(arena);
    String   *names;
    size_t    count = 0;
    if (os_list(arena, from, &names, &count) == 0) {
        EXPECT_EQ(os_make_dir(to), 0);
        for (size_t i = 0; i < count; i++)
            tree_copy(arena, path_in(arena, from, names[i].data),
                      path_in(arena, to, names[i].data));
    } else {
        String bytes = file_get(arena, from);
        EXPECT(bytes.data != NULL && file_put(to, bytes.data, bytes.count));
    }
    arena_release(arena, mark);
}

/* --- rounds ----------------------------------------------------------------------------------- */
typedef struct Round {
    const Phase *phase;
    Tiny        *t;
    FaultKind    kind;
    uint64_t     n, met; /* the call that fails; calls that were made */
    StoaStatus   status;
} Round;

static inline void round_arm(FaultKind kind, uint64_t n) {
    if (kind == FAULT_COMMIT)
        fault_commit_nth(n);
    else
        fault_file_nth(n);
}
/* On a thread of its own, which has no scratch memory yet and no guard around it. */
static inline void round_thread(void *context) {
    Round *r = context;
    round_arm(r->kind, r->n);
    r->status = r->phase->run(r->t);
    r->met = r->kind == FAULT_COMMIT ? fault_commit_count() : fault_file_count();
    round_arm(r->kind, 0);
}
static inline bool round_run(Round *r) {
    OsThread thread;
    if (!EXPECT_EQ(os_thread_start(&thread, round_thread, r, "round"), 0)) return false;
    os_thread_join(thread);
    return true;
}

static inline bool failure_is_told(const Round *r) {
    const char *message = stoa_message(r->t->context);
    if (r->kind == FAULT_COMMIT)
        return EXPECT_EQ(r->status, STOA_OUT_OF_MEMORY) &
               EXPECT(strstr(message, "out of memory in '") != NULL);
    return EXPECT(r->status != STOA_OUT_OF_MEMORY && r->status != STOA_INVALID) &
           EXPECT(strstr(message, "injected fault") != NULL);
}
/* The newest checkpoint is one that the undisturbed run had. */
static inline bool checkpoint_holds(Tiny *t) {
    uint64_t step = 0;
    return tiny_good(t, stoa_checkpoint_load(t->session, t->run, NULL, &step)) &&
           EXPECT(step >= 4) && EXPECT(tiny_is_at(t, step));
}
static inline bool round_prepare(Round *r, const char *base) {
    Tiny *t = r->t;
    tiny_drop(t);
    t->warnings = 0;
    if (r->phase->keeps_run) {
        temp_remove(t->arena, t->run);
        tree_copy(t->arena, base, t->run);
    }
    return r->phase->prepare(t);
}
/* One fault and what comes after it. */
static inline bool round_holds(Round *r, const char *base) {
    Tiny *t = r->t;
    bool  good = true;
    if (!tiny_context(t) || !round_prepare(r, base) || !round_run(r)) return false;
    if (r->status == STOA_OK)
        good &= r->phase->check(t);
    else
        good &= failure_is_told(r);
    if (r->phase->keeps_run) good &= checkpoint_holds(t);
    if (r->status != STOA_OK && r->phase->retry != NULL)
        good &= tiny_good(t, r->phase->retry(t)) && r->phase->check(t);
    else if (r->status != STOA_OK)
        good &= round_prepare(r, base) && tiny_good(t, r->phase->run(t)) && r->phase->check(t);
    tiny_drop(t);
    good &= EXPECT_EQ(stoa_context_memory(t->context), 0);
    tiny_close(t);
    return good;
}

/* Debug builds commit page by page: there most of the calls of a long phase are left out. */
static inline uint64_t round_after(uint64_t n) {
#ifdef STOA_DEBUG
    return n + 1 + n / 16;
#else
    return n + 1;
#endif
}

static inline void sweep(Arena *arena, FaultKind kind, const char *name) {
    enum { LEAK_BYTES_MAX = 256 << 20 }; /* a leaked arena reserves more */
    const char  *what = kind == FAULT_COMMIT ? "commit" : "file operation", *base = NULL;
    const Phase *phase = phases;
    Tiny         t;
    while (strcmp(phase->name, name) != 0) phase++;
    REQUIRE(tiny_begin(arena, &t) && tiny_expect(&t));
    tiny_close(&t);
    base = path_in(arena, t.root, "base");
    t.train.run = base;
    REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, 4, false)));
    t.train.run = t.run;
    tiny_close(&t);
    Round    round = {.phase = phase, .t = &t, .kind = kind};
    uint64_t survived = 0, rounds = 0;
    Held     before = {0};
    for (uint64_t n = 1;; n = round_after(n), rounds++) {
        ArenaMark mark = arena_mark(arena);
        round.n = n;
        if (!round_holds(&round, base)) {
            printf("\n  in '%s' with %s %llu failing", name, what, (unsigned long long)n);
            break;
        }
        arena_release(arena, mark);
        Held now = held_now();
        if (n == 1) before = now;
        EXPECT_EQ(now.files, before.files);
        if (!EXPECT(now.bytes <= before.bytes + LEAK_BYTES_MAX)) break;
        if (round.met < n) break;
        survived += round.status == STOA_OK;
    }
    printf("\n  %llu rounds, %llu of them survived without a failure\n ",
           (unsigned long long)rounds, (unsigned long long)survived);
    tiny_end(&t);
}

#endif
