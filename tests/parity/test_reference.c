/* Parity with an independent framework: the same initial weights, data order and optimizer must give
 * the same losses, step by step, and the same gradients at step 0.
 *
 * The yardsticks are two recorded trainings (weights as safetensors, losses as JSON): in
 * $STOA_REFERENCE or ../shared/reference where present, and a small one of our own in
 * tests/parity/fixture, so that a clone without them still tests parity. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena/os.h"
#include "formats/files.h"
#include "formats/idx.h"
#include "formats/json.h"
#include "harness.h"
#include "models/gpt.h"
#include "models/lenet.h"
#include "stoa/stoa.h"

typedef struct Reference {
    Json   json;
    String bytes; /* of the data set */
    JsonId run;   /* "float64" or "float32" */
} Reference;

static bool read_json(Arena *arena, const char *path, Json *json) {
    String    text;
    JsonError error;
    if (failure_some(files_read(arena, path, 1 << 26, &text))) return false;
    return json_parse(arena, text, json, &error);
}
static JsonId at(const Json *json, JsonId object, const char *key) { return json_find(json, object, str_of(key)); }
static double number_at(const Json *json, JsonId object, const char *key) {
    double number = NAN;
    (void)json_number_of(json, at(json, object, key), &number);
    return number;
}
static uint32_t numbers(const Json *json, JsonId array, double *out, uint32_t max) {
    uint32_t count = 0;
    for (JsonId item = json_first(json, array); json_id_some(item) && count < max; item = json_next(json, item))
        (void)json_number_of(json, item, &out[count++]);
    return count;
}
static const char *first_existing(const char *const *paths) {
    for (; *paths != NULL; paths++)
        if (os_exists(*paths)) return *paths;
    return NULL;
}

static StoaStatus report(StoaContext *context, StoaStatus status) {
    if (status != STOA_OK) printf("%s\n", stoa_message(context));
    return status;
}

/* Largest relative difference over steps; the loop stops growing once a run fails. */
static double worst(const double *ours, const double *theirs, uint32_t count, uint32_t *where) {
    double most = 0;
    for (uint32_t i = 0; i < count; i++) {
        double difference = fabs(ours[i] - theirs[i]) / fabs(theirs[i]);
        if (!(difference <= most)) most = difference, *where = i;
    }
    return most;
}

typedef struct GptCase {
    const char *json, *weights, *data, *run;
    StoaDtype   dtype;
    double      tolerance, norm_tolerance;
} GptCase;

static void run_gpt(Arena *arena, const GptCase *c) {
    Json   json;
    String text;
    REQUIRE(read_json(arena, c->json, &json));
    REQUIRE(!failure_some(files_read(arena, c->data, 1 << 26, &text)));
    JsonId   config = at(&json, json_root(&json), "config"), run = at(&json, json_root(&json), c->run);
    int64_t  batch = (int64_t)number_at(&json, config, "batch"), length = (int64_t)number_at(&json, config, "context");
    uint32_t steps = (uint32_t)number_at(&json, config, "steps");
    GptConfig model = {.vocab = (uint32_t)number_at(&json, config, "vocab"),
                       .context = (uint32_t)length,
                       .layers = (uint32_t)number_at(&json, config, "layers"),
                       .heads = (uint32_t)number_at(&json, config, "heads"),
                       .width = (uint32_t)number_at(&json, config, "width"),
                       .dtype = c->dtype};
    model.optimizer = (StoaOptimizerOptions)STOA_OPTIMIZER_OPTIONS;
    model.optimizer.beta1 = 0.9;
    model.optimizer.beta2 = 0.95;
    model.optimizer.epsilon = 1e-8;
    model.optimizer.decay = 0.1;
    model.optimizer.decay_rank = 2;
    model.optimizer.clip = 1.0;
    StoaContext *context;
    StoaProgram *program;
    StoaSession *session;
    REQUIRE(stoa_context_create(NULL, &context) == STOA_OK);
    REQUIRE(report(context, stoa_program_create(context, &program)) == STOA_OK);
    REQUIRE(report(context, model_gpt_build(program, &model)) == STOA_OK);
    REQUIRE(report(context, stoa_compile(program, NULL, &session)) == STOA_OK);
    REQUIRE(report(context, stoa_weights_load(session, c->weights, true)) == STOA_OK);
    double *loss = ARENA_ARRAY(arena, double, steps), *norm = ARENA_ARRAY(arena, double, steps);
    double *want_loss = ARENA_ARRAY(arena, double, steps), *want_norm = ARENA_ARRAY(arena, double, steps);
    REQUIRE(numbers(&json, at(&json, run, "loss"), want_loss, steps) == steps);
    REQUIRE(numbers(&json, at(&json, run, "grad_norm"), want_norm, steps) == steps);
    int32_t *tokens = ARENA_ARRAY(arena, int32_t, batch * length), *targets = ARENA_ARRAY(arena, int32_t, batch * length);
    bool     f64 = c->dtype == STOA_F64;
    for (uint32_t i = 0; i < steps; i++) {
        union { double f64; float f32; } rate, step, results[2];
        double r = 1e-3 * fmin(1, (i + 1) / 10.0) * (0.1 + 0.45 * (1 + cos(3.14159265358979323846 * i / 100)));
        for (int64_t k = 0; k < batch * length; k++) {
            size_t place = (size_t)(i * batch * length + k) % (text.count - 1);
            tokens[k] = (uint8_t)text.data[place];
            targets[k] = (uint8_t)text.data[place + 1];
        }
        if (f64) rate.f64 = r, step.f64 = i + 1;
        else rate.f32 = (float)r, step.f32 = (float)(i + 1);
        StoaTensor inputs[4] = {{STOA_I32, 2, {batch, length}, tokens}, {STOA_I32, 2, {batch, length}, targets},
                                {c->dtype, 0, {0}, &rate}, {c->dtype, 0, {0}, &step}};
        StoaTensor outputs[2] = {{.data = &results[0]}, {.data = &results[1]}};
        bool       stopped = true;
        REQUIRE(report(context, stoa_run(session, "train", inputs, 4, outputs, 2, &stopped)) == STOA_OK);
        REQUIRE(!stopped);
        loss[i] = f64 ? results[0].f64 : (double)results[0].f32;
        norm[i] = f64 ? results[1].f64 : (double)results[1].f32;
    }
    uint32_t where = 0, where_norm = 0;
    double   loss_off = worst(loss, want_loss, steps, &where), norm_off = worst(norm, want_norm, steps, &where_norm);
    printf("  %s %s: worst relative difference of %u losses %.2e (step %u), of gradient norms %.2e (step %u)\n", c->json, c->run,
           steps, loss_off, where, norm_off, where_norm);
    EXPECT(loss_off <= c->tolerance);
    EXPECT(norm_off <= c->norm_tolerance);
    stoa_session_destroy(session);
    stoa_program_destroy(program);
    stoa_context_destroy(context);
}

static const char *const gpt_json[] = {"../shared/reference/gpt_nano.json", "tests/parity/fixture/gpt.json", NULL};
static const char *const gpt_weights[] = {"../shared/reference/gpt_nano.safetensors", "tests/parity/fixture/gpt.safetensors", NULL};
static const char *const gpt_data[] = {"../shared/data/tinyshakespeare.txt", "tests/parity/fixture/text.txt", NULL};

TEST(gpt_float32_curve) {
    GptCase c = {first_existing(gpt_json), first_existing(gpt_weights), first_existing(gpt_data), "float32", STOA_F32, 1e-5, 1e-3};
    run_gpt(arena, &c);
}
TEST(gpt_float64_curve) {
    GptCase c = {first_existing(gpt_json), first_existing(gpt_weights), first_existing(gpt_data), "float64", STOA_F64, 1e-9, 1e-7};
    run_gpt(arena, &c);
}
