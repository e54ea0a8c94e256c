/* Checkpoints: what was saved comes back, the newest usable one wins, damage of any byte is
 * noticed, and a save that fails anywhere (each file operation in turn, a disk that is full at each
 * size) leaves the earlier checkpoint as it was. */
#include "harness.h"

#include <signal.h>
#include <sys/resource.h>

#include "arena/hash.h"
#include "formats_helpers.h"
#include "train/checkpoint.h"

enum { WEIGHTS = 40 };

typedef struct State {
    float   weights[WEIGHTS];
    int64_t counts[2];
} State;

static State state_of(int step) {
    State state = {.counts = {step, -step}};
    for (int i = 0; i < WEIGHTS; i++) state.weights[i] = (float)step * 1000 + (float)i;
    return state;
}

static void describe(State *state, CheckpointTensor tensors[3]) {
    tensors[0] = (CheckpointTensor){.name = STR("model.weights"),
                                    .dtype = DTYPE_F32,
                                    .rank = 2,
                                    .shape = {WEIGHTS / 4, 4},
                                    .data = state->weights,
                                    .bytes = sizeof state->weights};
    tensors[1] = (CheckpointTensor){.name = STR("counts"),
                                    .dtype = DTYPE_I64,
                                    .rank = 1,
                                    .shape = {2},
                                    .data = state->counts,
                                    .bytes = sizeof state->counts};
    tensors[2] =
        (CheckpointTensor){.name = STR("empty"), .dtype = DTYPE_F32, .rank = 1, .shape = {0}};
}

static Status save(const char *run, int step, uint32_t keep, Diags *diags) {
    State            state = state_of(step);
    CheckpointTensor tensors[3];
    char             text[32];
    describe(&state, tensors);
    snprintf(text, sizeof text, "position %d", step);
    SafetensorsMeta metadata[] = {{STR("data"), str_of(text)}, {STR("config"), STR("a = \"b\"\n")}};
    return checkpoint_save(run, (uint64_t)step, tensors, 3, metadata, 2, keep, diags);
}

/* The step that a load of this run ends up with, every tensor and string verified; -1: none. */
static int load(Arena *arena, const char *run, Diags *diags) {
    Checkpoint       checkpoint;
    CheckpointTensor tensors[3];
    State            state = {0};
    ArenaMark        mark = arena_mark(arena);
    if (checkpoint_find(arena, run, diags, &checkpoint) != STATUS_OK) return -1;
    describe(&state, tensors);
    if (checkpoint_read(&checkpoint, tensors, 3, false, diags) != STATUS_OK) return -1;
    int    step = (int)checkpoint.step;
    State  expected = state_of(step);
    String data = checkpoint_meta(&checkpoint, STR("data"));
    EXPECT(memcmp(&state, &expected, sizeof state) == 0);
    EXPECT(str_same(data, str_format(arena, "position %d", step)));
    EXPECT(str_same(checkpoint_meta(&checkpoint, STR("config")), STR("a = \"b\"\n")));
    EXPECT_EQ(checkpoint_meta(&checkpoint, STR("other")).count, 0);
    arena_release(arena, mark);
    return step;
}

static const char *folder_of(Arena *arena, const char *run) {
    return str_format(arena, "%s/checkpoints", run).data;
}

static bool has(Arena *arena, const char *run, const char *name) {
    return os_exists(str_format(arena, "%s/checkpoints/%s", run, name).data);
}

TEST(checkpoint_round_trip) {
    const char *dir = temp_make(arena), *run = path_in(arena, dir, "runs/one");
    Diags       diags;
    diags_open(&diags, NULL);
    EXPECT_EQ(load(arena, run, &diags), -1);
    EXPECT_EQ(diags_of(&diags, DIAG_CKPT_MISSING), 1);
    diags_clear(&diags);
    EXPECT_EQ(save(run, 7, 0, &diags), STATUS_OK);
    EXPECT_EQ(save(run, 123456789, 0, &diags), STATUS_OK);
    EXPECT_EQ(save(run, 12, 0, &diags), STATUS_OK);
    EXPECT_EQ(load(arena, run, &diags), 123456789);
    EXPECT_EQ(diags.rows.table.count, 1);
    Checkpoint  checkpoint;
    const char *folder = str_format(arena, "%s/checkpoints/step-00000012", run).data;
    EXPECT_EQ(checkpoint_open(arena, folder, &diags, &checkpoint), STATUS_OK);
    EXPECT_EQ(checkpoint.step, 12);
    EXPECT_EQ(checkpoint_open(arena, run, &diags, &checkpoint), STATUS_IO);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(checkpoint_keeps_the_newest) {
    const char *run = temp_make(arena);
    Diags       diags;
    diags_open(&diags, NULL);
    for (int step = 1; step <= 5; step++) EXPECT_EQ(save(run, step, 3, &diags), STATUS_OK);
    EXPECT_EQ(files_in(arena, folder_of(arena, run)), 3);
    EXPECT(has(arena, run, "step-00000003") && has(arena, run, "step-00000005"));
    EXPECT_EQ(save(run, 6, 1, &diags), STATUS_OK);
    EXPECT_EQ(files_in(arena, folder_of(arena, run)), 1);
    EXPECT_EQ(load(arena, run, &diags), 6);
    EXPECT_EQ(save(run, 2, 1, &diags), STATUS_OK); /* the one just saved stays, whatever its step */
    EXPECT_EQ(load(arena, run, &diags), 2);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_prunes_by_what_is_complete) {
    const char *run = temp_make(arena);
    Diags       diags;
    diags_open(&diags, NULL);
    for (int step = 1; step <= 3; step++) REQUIRE(save(run, step, 0, &diags) == STATUS_OK);
    const char *manifest =
        str_format(arena, "%s/checkpoints/step-00000003/manifest.json", run).data;
    REQUIRE(os_remove(manifest) == 0);
    EXPECT_EQ(save(run, 4, 2, &diags), STATUS_OK);
    EXPECT(has(arena, run, "step-00000004") && has(arena, run, "step-00000002"));
    EXPECT(!has(arena, run, "step-00000001"));
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_of_a_step_saved_again) {
    const char *run = temp_make(arena);
    Diags       diags;
    diags_open(&diags, NULL);
    for (int i = 0; i < 3; i++) EXPECT_EQ(save(run, 5, 2, &diags), STATUS_OK);
    EXPECT(!has(arena, run, "step-00000005"));
    EXPECT(has(arena, run, "step-00000005-2") && has(arena, run, "step-00000005-3"));
    EXPECT_EQ(load(arena, run, &diags), 5);
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_ignores_and_removes_litter) {
    const char              *run = temp_make(arena), *root = folder_of(arena, run);
    static const char *const names[] = {
        "step-", "step-x", "step-1x", "step-1-", "step-1-x", "notes", "step-99999999999999999999"};
    Diags diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 0, &diags) == STATUS_OK);
    for (size_t i = 0; i < LENGTH(names); i++)
        REQUIRE(os_make_dir(path_in(arena, root, names[i])) == 0);
    const char *litter = path_in(arena, root, "tmp-step-00000002");
    REQUIRE(os_make_dir(litter) == 0);
    REQUIRE(file_put(path_in(arena, litter, "state.safetensors.tmp"), "x", 1));
    EXPECT_EQ(load(arena, run, &diags), 1);
    EXPECT_EQ(save(run, 2, 0, &diags), STATUS_OK);
    EXPECT(!os_exists(litter));
    EXPECT_EQ(load(arena, run, &diags), 2);
    EXPECT_EQ(files_in(arena, root), LENGTH(names) + 2);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
    temp_remove(arena, run);
}

/* --- damage ----------------------------------------------------------------------------------- */
TEST(checkpoint_notices_every_damaged_byte) {
    static const char *const files[] = {"state.safetensors", "manifest.json"};
    const char              *run = temp_make(arena);
    Diags                    diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 0, &diags) == STATUS_OK && save(run, 2, 0, &diags) == STATUS_OK);
    for (size_t i = 0; i < LENGTH(files); i++) {
        const char *path = str_format(arena, "%s/checkpoints/step-00000002/%s", run, files[i]).data;
        String      bytes = file_get(arena, path);
        REQUIRE(bytes.count > 100);
        for (size_t at = 0; at < bytes.count; at++) {
            ArenaMark mark = arena_mark(arena);
            char     *damaged = (char *)(uintptr_t)str_copy(arena, bytes).data;
            damaged[at] ^= (char)(1 << at % 8);
            REQUIRE(file_put(path, damaged, bytes.count));
            diags_clear(&diags);
            if (!EXPECT_EQ(load(arena, run, &diags), 1)) printf("  byte %zu of %s", at, files[i]);
            EXPECT_EQ(diags_of(&diags, DIAG_CKPT_SKIPPED), 1);
            EXPECT_EQ(diags.errors, 0);
            arena_release(arena, mark);
        }
        for (size_t cut = 0; cut < bytes.count; cut += 7) {
            REQUIRE(file_put(path, bytes.data, cut));
            diags_clear(&diags);
            EXPECT_EQ(load(arena, run, &diags), 1);
        }
        REQUIRE(os_remove(path) == 0);
        EXPECT_EQ(load(arena, run, &diags), 1);
        REQUIRE(file_put(path, bytes.data, bytes.count));
        EXPECT_EQ(load(arena, run, &diags), 2);
    }
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_says_why_it_skipped) {
    const char *run = temp_make(arena);
    Diags       diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 3, 0, &diags) == STATUS_OK);
    const char *path =
        str_format(arena, "%s/checkpoints/step-00000003/state.safetensors", run).data;
    String bytes = file_get(arena, path);
    ((char *)(uintptr_t)bytes.data)[bytes.count - 1] ^= 1;
    REQUIRE(file_put(path, bytes.data, bytes.count));
    EXPECT_EQ(load(arena, run, &diags), -1);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CKPT_SKIPPED, 1),
               "'state.safetensors': the checksum is wrong");
    EXPECT_EQ(diags_of(&diags, DIAG_CKPT_MISSING), 1);
    Checkpoint checkpoint;
    EXPECT_EQ(checkpoint_open(arena, str_format(arena, "%s/checkpoints/step-00000003", run).data,
                              &diags, &checkpoint),
              STATUS_CORRUPT);
    EXPECT_EQ(diags_of(&diags, DIAG_FILE_DAMAGED), 1);
    diags_close(&diags);
    temp_remove(arena, run);
}

/* A manifest that is sound in itself, except for what the body says. */
static void put_manifest(Arena *arena, const char *folder, const char *body) {
    uint32_t crc = hash_crc32c(0, body, strlen(body));
    String   text = str_format(arena, "%s  \"crc32c\": \"%08x\"\n}\n", body, crc);
    EXPECT(file_put(path_in(arena, folder, "manifest.json"), text.data, text.count));
}

TEST(checkpoint_refuses_other_manifests) {
#define HEAD  "{\"format\": \"stoa checkpoint\", \"version\": "
#define FILES "\"files\": {\"state.safetensors\": {\"bytes\": 5, \"crc32c\": \"0123abcd\"}}, "
    static const struct {
        const char *body;
        DiagKind    kind;
    } rows[] = {
        {HEAD "2,\n", DIAG_FILE_VERSION},
        {HEAD "0,\n", DIAG_FILE_FORMAT},
        {HEAD "\"1\",\n", DIAG_FILE_FORMAT},
        {"{\"format\": \"other\", \"version\": 1,\n", DIAG_FILE_FORMAT},
        {"{\"a\": [],\n", DIAG_FILE_FORMAT},
        {"{\"a\": [,\n", DIAG_FILE_DAMAGED},
        {HEAD "1,\n", DIAG_FILE_DAMAGED},
        {HEAD "1, \"step\": -1, " FILES "\"metadata\": {},\n", DIAG_FILE_DAMAGED},
        {HEAD "1, \"step\": 1, " FILES "\"metadata\": [],\n", DIAG_FILE_DAMAGED},
        {HEAD "1, \"step\": 1, " FILES "\"metadata\": {\"a\": 1},\n", DIAG_FILE_DAMAGED},
        {HEAD "1, \"step\": 1, " FILES "\"metadata\": {},\n", DIAG_FILE_DAMAGED}, /* size */
    };
#undef HEAD
#undef FILES
    const char *run = temp_make(arena);
    const char *folder = str_format(arena, "%s/checkpoints/step-00000001", run).data;
    Checkpoint  checkpoint;
    Diags       diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 0, &diags) == STATUS_OK);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        diags_clear(&diags);
        put_manifest(arena, folder, rows[i].body);
        EXPECT(checkpoint_open(arena, folder, &diags, &checkpoint) != STATUS_OK);
        if (!EXPECT_EQ(diags.rows.kind[1], rows[i].kind)) printf("  in %s", rows[i].body);
        diags_clear(&diags);
        EXPECT_EQ(load(arena, run, &diags), -1);
        EXPECT_EQ(diags_of(&diags, DIAG_CKPT_SKIPPED), 1);
        EXPECT_EQ(diags_of(&diags, DIAG_CKPT_MISSING), 1);
        if (i == 0)
            EXPECT_STR(diags_text(arena, &diags, DIAG_CKPT_SKIPPED, 1),
                       "format version 2, this build reads up to 1");
    }
    diags_close(&diags);
    temp_remove(arena, run);
}

/* --- tensors ---------------------------------------------------------------------------------- */
TEST(checkpoint_compares_before_it_writes) {
    const char      *run = temp_make(arena);
    State            state = {0}, untouched = {0};
    CheckpointTensor tensors[4];
    Checkpoint       checkpoint;
    Diags            diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 3, 0, &diags) == STATUS_OK);
    REQUIRE(checkpoint_find(arena, run, &diags, &checkpoint) == STATUS_OK);
    describe(&state, tensors);
    tensors[0].shape[0]++; /* shape */
    tensors[0].bytes += 16;
    tensors[1].dtype = DTYPE_F64;
    tensors[2].name = STR("void"); /* missing there, and `empty` is missing here */
    EXPECT_EQ(checkpoint_read(&checkpoint, tensors, 3, false, &diags), STATUS_INVALID);
    EXPECT_EQ(diags_of(&diags, DIAG_CKPT_MISMATCH), 4);
    EXPECT_STR(diags_text(arena, &diags, DIAG_CKPT_MISMATCH, 1), "empty");
    EXPECT_STR(diags_text(arena, &diags, DIAG_CKPT_MISMATCH, 2),
               "is in it, but not in the program");
    EXPECT(str_same(diags_str_get(&diags, diags.rows.arg2[1]),
                    STR("is f32[10,4] there and f32[11,4] here")));
    EXPECT(memcmp(&state, &untouched, sizeof state) == 0);
    diags_clear(&diags);
    describe(&state, tensors);
    EXPECT_EQ(checkpoint_read(&checkpoint, tensors, 1, false, &diags), STATUS_INVALID);
    EXPECT_EQ(checkpoint_read(&checkpoint, tensors, 1, true, &diags), STATUS_OK);
    EXPECT(state.weights[1] == 3001 && state.counts[0] == 0);
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_refuses_what_cannot_be_written) {
    const char      *run = temp_make(arena);
    State            state = state_of(1);
    CheckpointTensor tensors[3];
    Diags            diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 1, &diags) == STATUS_OK);
    describe(&state, tensors);
    tensors[1].name = tensors[0].name;
    EXPECT_EQ(checkpoint_save(run, 2, tensors, 3, NULL, 0, 1, &diags), STATUS_INVALID);
    EXPECT_EQ(diags.errors, 1);
    EXPECT_EQ(files_in(arena, folder_of(arena, run)), 1);
    EXPECT_EQ(load(arena, run, &diags), 1);
    diags_close(&diags);
    temp_remove(arena, run);
}

/* --- faults ----------------------------------------------------------------------------------- */
TEST(checkpoint_first_save_survives_each_fault) {
    Diags    diags;
    uint64_t n = 1;
    diags_open(&diags, NULL);
    for (bool injected = true; injected && n < 200; n++) {
        const char *run = temp_make(arena);
        diags_clear(&diags);
        fault_file_nth(n);
        Status status = save(run, 1, 2, &diags);
        injected = fault_file_count() >= n;
        fault_file_nth(0);
        EXPECT_EQ(status, injected ? STATUS_IO : STATUS_OK);
        EXPECT_EQ(diags_of(&diags, DIAG_FILE_ERROR), injected ? 1 : 0);
        int step = load(arena, run, &diags);
        EXPECT(step == 1 || (injected && step == -1));
        EXPECT_EQ(diags_of(&diags, DIAG_CKPT_SKIPPED), 0);
        EXPECT_EQ(files_in(arena, folder_of(arena, run)), step == 1);
        temp_remove(arena, run);
    }
    EXPECT(n > 20);
    diags_close(&diags);
}

TEST(checkpoint_save_survives_each_fault) {
    Diags    diags;
    uint64_t n = 1, failed = 0;
    diags_open(&diags, NULL);
    for (bool injected = true; injected && n < 200; n++) {
        const char *run = temp_make(arena);
        diags_clear(&diags);
        REQUIRE(save(run, 1, 0, &diags) == STATUS_OK && save(run, 2, 0, &diags) == STATUS_OK);
        const char *litter = path_in(arena, folder_of(arena, run), "tmp-step-00000009");
        REQUIRE(os_make_dir(litter) == 0 && file_put(path_in(arena, litter, "state"), "x", 1));
        fault_file_nth(n);
        Status status = save(run, 3, 2, &diags);
        injected = fault_file_count() >= n;
        fault_file_nth(0);
        failed += status != STATUS_OK;
        EXPECT_EQ(diags.errors, status == STATUS_OK ? 0 : 1);
        if (!injected) EXPECT_EQ(status, STATUS_OK);
        int step = load(arena, run, &diags);
        EXPECT_EQ(diags_of(&diags, DIAG_CKPT_SKIPPED), 0); /* nothing half-made is visible */
        EXPECT(step == 3 || (step == 2 && status == STATUS_IO));
        if (step == 2) EXPECT(has(arena, run, "step-00000001")); /* no pruning without a new one */
        diags_clear(&diags);
        EXPECT_EQ(save(run, 4, 2, &diags), STATUS_OK); /* and the next save recovers */
        EXPECT_EQ(load(arena, run, &diags), 4);
        EXPECT_EQ(files_in(arena, folder_of(arena, run)), 2);
        temp_remove(arena, run);
    }
    EXPECT(failed > 25);
    diags_close(&diags);
}

TEST(checkpoint_load_survives_each_fault) {
    const char *run = temp_make(arena);
    Diags       diags;
    uint64_t    n = 1;
    uint32_t    outcomes[3] = {0}; /* newest, older with a warning, error */
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 0, &diags) == STATUS_OK && save(run, 2, 0, &diags) == STATUS_OK);
    for (bool injected = true; injected && n < 200; n++) {
        diags_clear(&diags);
        fault_file_nth(n);
        int step = load(arena, run, &diags);
        injected = fault_file_count() >= n;
        fault_file_nth(0);
        if (!injected) EXPECT_EQ(step, 2);
        EXPECT_EQ(diags_of(&diags, DIAG_CKPT_SKIPPED), step == 1);
        EXPECT_EQ(diags.errors, step == -1);
        outcomes[step == 2 ? 0 : step == 1 ? 1 : 2]++;
    }
    EXPECT(outcomes[0] >= 1 && outcomes[1] > 5 && outcomes[2] > 2);
    diags_close(&diags);
    temp_remove(arena, run);
}

TEST(checkpoint_save_survives_a_full_disk) {
    const char   *run = temp_make(arena);
    struct rlimit before, limit;
    Diags         diags;
    diags_open(&diags, NULL);
    REQUIRE(save(run, 1, 1, &diags) == STATUS_OK);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    uint32_t failed = 0;
    for (rlim_t bytes = 0; bytes < 1024;
         bytes += 16) { /* a write past the limit is cut, then fails */
        limit = before;
        limit.rlim_cur = bytes;
        REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        Status status = save(run, 2, 1, &diags);
        REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
        failed += status == STATUS_IO;
        if (status == STATUS_OK) break;
        EXPECT_EQ(load(arena, run, &diags), 1);
        EXPECT_EQ(files_in(arena, folder_of(arena, run)), 1);
    }
    signal(SIGXFSZ, handler);
    EXPECT(failed > 10);
    EXPECT_EQ(load(arena, run, &diags), 2);
    diags_close(&diags);
    temp_remove(arena, run);
}
