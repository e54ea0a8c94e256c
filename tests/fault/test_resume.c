/* What a training run promises about its steps: stopped after any step and resumed it gives, bit by
 * bit, what an undisturbed run gives (with dropout, accumulation and random windows); micro-batches
 * add up to the batch; a step that is not finite changes nothing, is counted, and fails where the
 * policy says so. */
#include "tiny.h"

#include <math.h>

#include "models/lenet.h"

/* --- resuming --------------------------------------------------------------------------------- */
TEST(resume_is_bitwise) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    REQUIRE(tiny_expect(&t));
    for (uint32_t stop = 1; stop < TINY_STEPS; stop++) {
        tiny_close(&t);
        temp_remove(arena, t.run);
        REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, stop, false)));
        EXPECT(t.result.stopped && tiny_is_at(&t, stop));
        EXPECT_EQ(t.result.steps, stop);
        tiny_close(&t); /* the second process knows nothing of the first */
        REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, 0, true)));
        EXPECT(!t.result.stopped && tiny_is_at(&t, TINY_STEPS));
        EXPECT_EQ(t.result.steps, TINY_STEPS);
        EXPECT_EQ(t.warnings, 0);
    }
    tiny_end(&t);
}
/* The same in one step a batch, where the graph is another. */
TEST(resume_is_bitwise_without_accumulation) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    t.model.accumulate = t.train.accumulate = 1;
    REQUIRE(tiny_expect(&t));
    tiny_close(&t);
    REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, 3, false)));
    tiny_close(&t);
    REQUIRE(tiny_open(&t) && tiny_good(&t, tiny_train(&t, 0, true)));
    EXPECT(tiny_is_at(&t, TINY_STEPS));
    tiny_end(&t);
}

/* --- accumulation ----------------------------------------------------------------------------- */
static float *matrix_state(Arena *arena, Tiny *t, const char *name, size_t *count) {
    StoaTensor tensor = {.data = NULL};
    if (!tiny_good(t, stoa_state_get(t->session, name, &tensor))) return NULL;
    *count = (size_t)(tensor.shape[0] * tensor.shape[1]);
    tensor.data = ARENA_ARRAY(arena, float, *count);
    return tiny_good(t, stoa_state_get(t->session, name, &tensor)) ? tensor.data : NULL;
}
/* A tenth of the clipped gradient of one step: the first moments after it. */
static float *first_moment(Arena *arena, Tiny *t, uint32_t accumulate, uint32_t batch,
                           size_t *count) {
    float *moment = NULL;
    t->model.accumulate = t->train.accumulate = accumulate;
    t->source.batch = batch;
    t->train.run = NULL;
    if (tiny_open(t) && tiny_good(t, tiny_train(t, 1, false)))
        moment = matrix_state(arena, t, "optimizer.first.h.0.fc1.weight", count);
    tiny_close(t);
    return moment;
}
/* The largest difference, relative to the largest element. */
static double difference(const float *a, const float *b, size_t count) {
    double off = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        off = fmax(off, fabs((double)(a[i] - b[i])));
        most = fmax(most, fabs((double)b[i]));
    }
    EXPECT(most > 0);
    return off / most;
}
/* Two micro-batches of two windows are one batch of four, to rounding. Dropout draws by place in
 * the batch, so it is off. */
TEST(accumulation_is_one_big_batch) {
    Tiny   t;
    size_t count = 0;
    REQUIRE(tiny_begin(arena, &t));
    t.model.dropout = 0;
    float *parts = first_moment(arena, &t, 2, 2, &count);
    float *whole = first_moment(arena, &t, 1, 4, &count);
    REQUIRE(parts != NULL && whole != NULL);
    EXPECT(difference(parts, whole, count) <= 1e-5); /* sums of 32 terms in another order */
    tiny_end(&t);
}
/* With the same text in both, two micro-batches differ from one only if each drops its own. */
TEST(micro_batches_draw_their_own_dropout) {
    Tiny   t;
    size_t count = 0;
    REQUIRE(tiny_begin(arena, &t));
    t.source.sequential = true;
    char same[2000];
    memset(same, 'a', sizeof same);
    REQUIRE(file_put(t.text, same, sizeof same));
    float *two = first_moment(arena, &t, 2, 2, &count);
    float *one = first_moment(arena, &t, 1, 2, &count);
    REQUIRE(two != NULL && one != NULL);
    EXPECT(difference(two, one, count) > 1e-2);
    tiny_end(&t);
}

/* --- steps that are not finite ---------------------------------------------------------------- */
/* Sets one number of a state. */
static void poke(Tiny *t, const char *name, size_t at, float number) {
    float      values[2048];
    StoaTensor tensor = {.data = values};
    REQUIRE(tiny_good(t, stoa_state_get(t->session, name, &tensor)));
    values[at] = number;
    (void)tiny_good(t, stoa_state_set(t->session, name, &tensor));
}

typedef struct Counted {
    Tiny    *t;
    uint64_t calls, skipped;
    bool     null_loss; /* every line of JSON says so */
} Counted;
static bool count_skips(void *user, const StoaProgress *progress) {
    Counted *counted = user;
    counted->null_loss = (counted->calls == 0 || counted->null_loss) && !isfinite(progress->loss) &&
                         strstr(progress->json, "\"loss\":null") != NULL;
    counted->calls++;
    counted->skipped = progress->skipped;
    return false;
}

/* Every step sees an infinite weight: nothing may change. */
static void skip_all(Arena *arena, uint32_t accumulate) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    t.model.accumulate = t.train.accumulate = accumulate;
    REQUIRE(tiny_open(&t));
    poke(&t, "h.0.fc1.weight", 0, INFINITY);
    Counted  counted = {.t = &t};
    size_t   bytes = tiny_state(t.session, NULL);
    uint8_t *before = arena_push(arena, bytes, 64), *after = arena_push(arena, bytes, 64);
    (void)tiny_state(t.session, before);
    t.train.progress = count_skips;
    t.train.user = &counted;
    EXPECT(tiny_good(&t, stoa_train(t.session, t.data, &t.train, &t.result)));
    (void)tiny_state(t.session, after);
    EXPECT(memcmp(before, after, bytes) == 0);
    EXPECT_EQ(t.result.steps, TINY_STEPS);
    EXPECT_EQ(t.result.skipped, TINY_STEPS);
    EXPECT_EQ(counted.skipped, TINY_STEPS);
    EXPECT(counted.null_loss);
    tiny_end(&t);
}
TEST(steps_that_are_not_finite_are_skipped) { skip_all(arena, 1); }
TEST(accumulated_steps_that_are_not_finite_are_skipped) { skip_all(arena, 2); }

/* Whether the sums of gradients are zero, as they are between steps. */
static bool sums_are_zero(Arena *arena, Tiny *t) {
    size_t count = 0, wrong = 0;
    float *sums = matrix_state(arena, t, "optimizer.sum.h.0.fc1.weight", &count);
    for (size_t i = 0; sums != NULL && i < count; i++) wrong += sums[i] != 0;
    return sums != NULL && wrong == 0;
}
/* Only the second micro-batch has the letter whose embedding is not a number: what the first added
 * to the sums must not reach the next step. */
TEST(half_a_step_is_forgotten) {
    Tiny t;
    char text[2000];
    REQUIRE(tiny_begin(arena, &t));
    memset(text, 'a', sizeof text);
    memset(text + 20, 'Z', 20); /* windows of 8: a micro-batch takes 16 and looks one further */
    REQUIRE(file_put(t.text, text, sizeof text));
    t.model.untied_head = true;
    t.source.sequential = true;
    REQUIRE(tiny_open(&t));
    poke(&t, "wte.weight", 'Z' * 8, NAN);
    REQUIRE(tiny_good(&t, tiny_train(&t, 1, false)));
    EXPECT_EQ(t.result.skipped, 1);
    EXPECT(isfinite(t.result.loss) == 0 && sums_are_zero(arena, &t));
    tiny_close(&t);
    REQUIRE(tiny_open(&t)); /* the same where accumulating went well and applying does not */
    poke(&t, "optimizer.sum.h.0.fc1.weight", 0, INFINITY);
    REQUIRE(tiny_good(&t, tiny_train(&t, 1, false)));
    EXPECT_EQ(t.result.skipped, 1);
    EXPECT(sums_are_zero(arena, &t));
    tiny_end(&t);
}

/* A bad step in the middle costs that step only. */
static bool cure(void *user, const StoaProgress *progress) {
    Counted *counted = user;
    if (progress->step == 2) poke(counted->t, "h.0.fc1.weight", 0, NAN);
    if (progress->step == 3) poke(counted->t, "h.0.fc1.weight", 0, 0.01f);
    counted->skipped = progress->skipped;
    return false;
}
TEST(training_goes_on_after_a_skipped_step) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    Counted counted = {.t = &t};
    t.train.progress = cure;
    t.train.user = &counted;
    REQUIRE(tiny_open(&t));
    EXPECT(tiny_good(&t, stoa_train(t.session, t.data, &t.train, &t.result)));
    EXPECT_EQ(t.result.skipped, 1);
    EXPECT_EQ(counted.skipped, 1);
    EXPECT(isfinite(t.result.loss));
    tiny_end(&t);
}

TEST(policies_on_steps_that_are_not_finite) {
    Tiny t;
    REQUIRE(tiny_begin(arena, &t));
    REQUIRE(tiny_open(&t));
    poke(&t, "h.0.fc1.weight", 0, INFINITY);
    t.train.nonfinite = STOA_FAIL;
    EXPECT_EQ(tiny_train(&t, 0, false), STOA_INVALID);
    EXPECT(strstr(stoa_message(t.context), "error[NOT_FINITE]") != NULL);
    EXPECT(strstr(stoa_message(t.context), "step 1 (1 steps in a row)") != NULL);
    t.train.nonfinite = STOA_SKIP_STEP;
    t.train.nonfinite_max = 4;
    EXPECT_EQ(tiny_train(&t, 0, false), STOA_INVALID);
    EXPECT(strstr(stoa_message(t.context), "step 4 (4 steps in a row)") != NULL);
    tiny_end(&t);
}

/* Running statistics of a batch norm are assigned before the optimizer's rows in program order, and
 * still not when the step is stopped. */
TEST(running_statistics_survive_a_bad_batch) {
    Tiny        t;
    LenetConfig config = model_lenet_preset();
    float       rate = 0.1f, step = 1, *pixels = ARENA_ARRAY_ZERO(arena, float, 2 * 784);
    int32_t     labels[2] = {1, 2};
    bool        stopped = false;
    REQUIRE(tiny_begin(arena, &t));
    REQUIRE(tiny_context(&t) && tiny_good(&t, stoa_program_create(t.context, &t.program)));
    REQUIRE(tiny_good(&t, model_lenet_build(t.program, &config)) &&
            tiny_good(&t, tiny_compile(&t, false)));
    StoaTensor inputs[4] = {{STOA_F32, 4, {2, 1, 28, 28}, pixels},
                            {STOA_I32, 1, {2}, labels},
                            {STOA_F32, 0, {0}, &rate},
                            {STOA_F32, 0, {0}, &step}};
    size_t     bytes = tiny_state(t.session, NULL);
    uint8_t   *before = arena_push(arena, bytes, 64), *after = arena_push(arena, bytes, 64);
    (void)tiny_state(t.session, before);
    pixels[100] = NAN;
    REQUIRE(tiny_good(&t, stoa_run(t.session, "train", inputs, 4, NULL, 0, &stopped)));
    (void)tiny_state(t.session, after);
    EXPECT(stopped);
    EXPECT(memcmp(before, after, bytes) == 0);
    pixels[100] = 1;
    REQUIRE(tiny_good(&t, stoa_run(t.session, "train", inputs, 4, NULL, 0, &stopped)));
    (void)tiny_state(t.session, after);
    EXPECT(!stopped);
    EXPECT(memcmp(before, after, bytes) != 0);
    tiny_end(&t);
}
