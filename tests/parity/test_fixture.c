/* Parity with an independent framework on the small recordings that come with the sources: the same
 * initial weights, data order and optimizer give the same losses step by step, the same gradients
 * at step 0 and the same final parameters.
 *
 * In float64 the sums differ in their order only, so the bounds are those of the large recordings:
 * 1e-9 for losses (1e-8 with batch norm), 1e-10 for gradients. In float32 one rounding is 6e-8 and
 * the runs drift apart with each update; the bounds are those of the large recordings as well. */
#include "gpt_case.h"
#include "lenet_case.h"

#define TEXT FIXTURE "/text.txt"

TEST(fixture_gpt_float64) {
    Recording r;
    GptBounds bounds = {1e-9, 1e-9, 1e-9};
    REQUIRE(recording_open(arena, FIXTURE, "gpt", STOA_F64, &r));
    gpt_case_curve(arena, &r, TEXT, &bounds);
}
TEST(fixture_gpt_float64_gradients) {
    Recording r;
    REQUIRE(recording_open(arena, FIXTURE, "gpt", STOA_F64, &r));
    gpt_case_gradients(arena, &r, TEXT, 1e-10);
}
TEST(fixture_gpt_float32) {
    Recording r;
    GptBounds bounds = {1e-5, 1e-4, 1e-4};
    REQUIRE(recording_open(arena, FIXTURE, "gpt", STOA_F32, &r));
    gpt_case_curve(arena, &r, TEXT, &bounds);
}

TEST(fixture_lenet_float64) {
    Recording   r;
    LenetBounds bounds = {.loss = 1e-8, .gradient = 1e-10, .final = 1e-9};
    REQUIRE(recording_open(arena, FIXTURE, "lenet", STOA_F64, &r));
    LenetItems items = lenet_case_drawn(arena, &r);
    lenet_case_gradients(arena, &r, &items, &bounds);
    lenet_case_curve(arena, &r, &items, &bounds);
}
TEST(fixture_lenet_float32) {
    Recording   r;
    LenetBounds bounds = {.loss = 1e-5, .final = 1e-4};
    REQUIRE(recording_open(arena, FIXTURE, "lenet", STOA_F32, &r));
    LenetItems items = lenet_case_drawn(arena, &r);
    lenet_case_curve(arena, &r, &items, &bounds);
}
