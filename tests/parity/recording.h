/* Recorded trainings of an independent framework, and how a run of ours is held against one.
 *
 * A recording is NAME.json (settings, losses, gradient norms, final norms, for float64 and float32)
 * and NAME.safetensors (initial weights). A small pair of each model stands in tests/parity/fixture
 * and is always tested. Larger ones are read from $STOA_REFERENCE or ../shared/reference where
 * present; without them their tests say so and pass.
 *
 * Differences are relative: |ours - theirs| / |theirs|. A gradient that is zero but for rounding (a
 * bias before a batch norm) has no relative size: norms below 1e-4 of the norm of all tensors
 * together are held against that. */
#ifndef STOA_TESTS_PARITY_RECORDING_H
#define STOA_TESTS_PARITY_RECORDING_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "formats/files.h"
#include "formats/json.h"
#include "harness.h"
#include "stoa/stoa.h"

#define FIXTURE "tests/parity/fixture"
enum { RECORDING_BYTES_MAX = 1 << 26 };

typedef struct Recording {
    const char *folder, *name, *run_name; /* run: "float64" or "float32" */
    StoaDtype   dtype;
    Json        json;
    JsonId      config, run;
    const char *weights; /* path */
} Recording;

typedef struct Engine { /* a model of ours, ready to run */
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
} Engine;

/* --- reading ---------------------------------------------------------------------------------- */
/* The folder of the large recordings, or NULL after saying that there is none. */
static inline const char *recording_folder(Arena *arena) {
    const char *folder = getenv("STOA_REFERENCE");
    if (folder == NULL || folder[0] == 0) folder = "../shared/reference";
    String probe = str_format(arena, "%s/gpt_nano.json", folder);
    if (os_exists(probe.data)) return folder;
    printf("\n  skipped: no recording at %s (set STOA_REFERENCE)\n ", probe.data);
    EXPECT(!os_exists(probe.data));
    return NULL;
}

static inline JsonId recording_at(const Recording *r, JsonId object, const char *key) {
    return json_find(&r->json, object, str_of(key));
}

static inline bool recording_open(Arena *arena, const char *folder, const char *name,
                                  StoaDtype dtype, Recording *out) {
    String    text;
    JsonError error;
    *out = (Recording){.folder = folder, .name = name, .dtype = dtype};
    out->run_name = dtype == STOA_F64 ? "float64" : "float32";
    out->weights = str_format(arena, "%s/%s.safetensors", folder, name).data;
    String path = str_format(arena, "%s/%s.json", folder, name);
    if (failure_some(files_read(arena, path.data, RECORDING_BYTES_MAX, &text))) return false;
    if (!json_parse(arena, text, &out->json, &error)) return false;
    out->config = recording_at(out, json_root(&out->json), "config");
    out->run = recording_at(out, json_root(&out->json), out->run_name);
    return json_id_some(out->run);
}

/* A number of the settings, or what it is where the recording leaves it out. */
static inline uint32_t recording_setting(const Recording *r, const char *key, uint32_t preset) {
    double number = preset;
    if (json_kind(&r->json, r->config) == JSON_OBJECT)
        (void)json_number_of(&r->json, recording_at(r, r->config, key), &number);
    return (uint32_t)number;
}

static inline double *recording_numbers(Arena *arena, const Recording *r, JsonId array,
                                        uint32_t *out_count) {
    uint32_t count = 0;
    double  *numbers = ARENA_ARRAY_ZERO(arena, double, r->json.items[array.row] + 1);
    for (JsonId at = json_first(&r->json, array); json_id_some(at); at = json_next(&r->json, at))
        (void)json_number_of(&r->json, at, &numbers[count++]);
    *out_count = count;
    return numbers;
}

/* --- our side --------------------------------------------------------------------------------- */
static inline bool engine_good(const Engine *engine, StoaStatus status) {
    if (status != STOA_OK) printf("\n  %s", stoa_message(engine->context));
    return EXPECT(status == STOA_OK);
}

/* The program is open for building; false after a failed expectation. */
static inline bool engine_open(Engine *engine) {
    *engine = (Engine){0};
    return EXPECT(stoa_context_create(NULL, &engine->context) == STOA_OK) &&
           engine_good(engine, stoa_program_create(engine->context, &engine->program));
}
/* $STOA_TEST_DEVICE ("cuda") trains there; else the CPU does. */
static inline bool engine_start(Engine *engine, const Recording *r) {
    StoaCompileOptions options = STOA_COMPILE_OPTIONS;
    options.device = getenv("STOA_TEST_DEVICE");
    return engine_good(engine, stoa_compile(engine->program, &options, &engine->session)) &&
           engine_good(engine, stoa_weights_load(engine->session, r->weights, true));
}
static inline void engine_close(Engine *engine) {
    stoa_session_destroy(engine->session);
    stoa_program_destroy(engine->program);
    if (engine->context != NULL) stoa_context_destroy(engine->context);
}

typedef union Scalar {
    double f64;
    float  f32;
} Scalar;
static inline Scalar scalar_make(StoaDtype dtype, double number) {
    return dtype == STOA_F64 ? (Scalar){.f64 = number} : (Scalar){.f32 = (float)number};
}
static inline double scalar_read(StoaDtype dtype, Scalar scalar) {
    return dtype == STOA_F64 ? scalar.f64 : (double)scalar.f32;
}

/* One run of `train`: two data inputs, then rate and step. */
static inline bool engine_step(Engine *engine, StoaDtype dtype, const StoaTensor *data, double rate,
                               uint32_t step, double *out_loss, double *out_norm) {
    Scalar     scalars[2] = {scalar_make(dtype, rate), scalar_make(dtype, step)}, results[2];
    StoaTensor inputs[4] = {
        data[0], data[1], {dtype, 0, {0}, &scalars[0]}, {dtype, 0, {0}, &scalars[1]}};
    StoaTensor outputs[2] = {{.data = &results[0]}, {.data = &results[1]}};
    bool       stopped = true;
    StoaStatus status = stoa_run(engine->session, "train", inputs, 4, outputs, 2, &stopped);
    if (!engine_good(engine, status) || !EXPECT(!stopped)) return false;
    *out_loss = scalar_read(dtype, results[0]);
    *out_norm = scalar_read(dtype, results[1]);
    return true;
}

/* A state tensor as doubles; NULL if there is none of that name. */
static inline double *engine_state(Arena *arena, Engine *engine, String name, uint32_t *out_count) {
    StoaTensor tensor = {.data = NULL};
    String     text = str_copy(arena, name);
    if (stoa_state_get(engine->session, text.data, &tensor) != STOA_OK) return NULL;
    uint32_t count = 1;
    for (uint32_t i = 0; i < tensor.rank; i++) count *= (uint32_t)tensor.shape[i];
    double *numbers = ARENA_ARRAY(arena, double, count + 1);
    tensor.data = numbers;
    if (stoa_state_get(engine->session, text.data, &tensor) != STOA_OK) return NULL;
    if (tensor.dtype == STOA_F32) { /* widened in place, from the end */
        for (uint32_t i = count; i-- > 0;) {
            float narrow;
            memcpy(&narrow, (const char *)numbers + i * sizeof narrow, sizeof narrow);
            numbers[i] = (double)narrow;
        }
    }
    *out_count = count;
    return numbers;
}

/* --- comparing -------------------------------------------------------------------------------- */
static inline void compare_told(const Recording *r, const char *what, double worst,
                                const char *where) {
    printf("\n  %s %s: %s differ by at most %.2e (%s)", r->name, r->run_name, what, worst, where);
}

/* A series of one number a step. */
static inline void compare_series(Arena *arena, const Recording *r, const char *key,
                                  const double *ours, uint32_t count, double tolerance) {
    uint32_t have = 0, where = 0;
    double   worst = 0;
    double  *theirs = recording_numbers(arena, r, recording_at(r, r->run, key), &have);
    if (!EXPECT(have >= count && count > 0)) return;
    for (uint32_t i = 0; i < count; i++) {
        double difference = fabs(ours[i] - theirs[i]) / fabs(theirs[i]);
        if (!(difference <= worst)) worst = difference, where = i;
    }
    compare_told(r, key, worst, str_format(arena, "step %u of %u", where, count).data);
    EXPECT(worst <= tolerance);
}

static inline double norm_of(const double *numbers, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += numbers[i] * numbers[i];
    return sqrt(sum);
}

static inline bool counts_batches(String key) {
    const String tail = STR(".num_batches_tracked");
    return key.count >= tail.count &&
           str_same((String){key.data + key.count - tail.count, tail.count}, tail);
}

/* Norms of the state tensors named prefix + key, for every key of the object. PyTorch counts
 * batches in the state of a batch norm; we do not. */
static inline void compare_norms(Arena *arena, const Recording *r, Engine *engine,
                                 const char *object_key, const char *prefix, double tolerance) {
    JsonId   object = recording_at(r, r->run, object_key);
    double   worst = 0, total = 0, theirs = 0;
    String   where = STR("none");
    uint32_t compared = 0, count = 0;
    for (JsonId at = json_first(&r->json, object); json_id_some(at); at = json_next(&r->json, at))
        if (json_number_of(&r->json, at, &theirs)) total += theirs * theirs;
    for (JsonId at = json_first(&r->json, object); json_id_some(at); at = json_next(&r->json, at)) {
        String key = r->json.key[at.row];
        if (counts_batches(key)) continue;
        double *ours =
            engine_state(arena, engine, str_format(arena, "%s%.*s", prefix, STR_ARGS(key)), &count);
        if (!EXPECT(ours != NULL) || !EXPECT(json_number_of(&r->json, at, &theirs))) return;
        double size = fmax(theirs, 1e-4 * sqrt(total));
        double difference = fabs(norm_of(ours, count) - theirs) / size;
        if (!(difference <= worst)) worst = difference, where = key;
        compared++;
    }
    compare_told(r, object_key, worst,
                 str_format(arena, "%.*s, %u tensors", STR_ARGS(where), compared).data);
    EXPECT(compared > 0);
    EXPECT(worst <= tolerance);
}

/* Whole gradients: the largest difference of an element, relative to the largest element. */
static inline void compare_gradients(Arena *arena, const Recording *r, Engine *engine,
                                     const char *prefix, double tolerance) {
    JsonId object = recording_at(r, r->run, "grad_step0");
    double worst = 0;
    String where = STR("none");
    for (JsonId at = json_first(&r->json, object); json_id_some(at); at = json_next(&r->json, at)) {
        uint32_t count = 0, have = 0;
        String   key = r->json.key[at.row];
        double  *theirs = recording_numbers(arena, r, at, &have), most = 0, off = 0;
        double  *ours =
            engine_state(arena, engine, str_format(arena, "%s%.*s", prefix, STR_ARGS(key)), &count);
        if (!EXPECT(ours != NULL && count == have)) return;
        for (uint32_t i = 0; i < count; i++) {
            most = fmax(most, fabs(theirs[i]));
            off = isnan(ours[i]) ? INFINITY : fmax(off, fabs(ours[i] - theirs[i]));
        }
        if (!(off / most <= worst)) worst = off / most, where = key;
    }
    compare_told(r, "whole gradients", worst, str_copy(arena, where).data);
    EXPECT(worst <= tolerance);
}

#endif
