/* Parity on the whole curves of the large recordings (recording.h tells where they are): 100 steps
 * of the GPT and 20 of the convolutional network with batch norm, in both precisions.
 *
 * Bounds in float64 are what is asked of the engine: 1e-9 for the GPT's losses, 1e-8 through batch
 * norm, 1e-10 for gradients. In float32 one rounding is 6e-8 and 100 updates amplify it: 1e-5 for
 * the GPT. The other network holds 1e-6 for 15 steps; then a rounding error tips one of its kinks
 * (relu, max pool) in the recording: its own float32 losses leave its float64 losses by up to
 * 2.6e-4 and a final norm by 2e-3, so no run can be held to less than a few times that. */
#include "gpt_case.h"
#include "lenet_case.h"

static void gpt(Arena *arena, StoaDtype dtype, const GptBounds *bounds) {
    Recording   r;
    const char *folder = recording_folder(arena);
    if (folder == NULL) return;
    REQUIRE(recording_open(arena, folder, "gpt_nano", dtype, &r));
    String text = str_format(arena, "%s/../data/tinyshakespeare.txt", folder);
    gpt_case_curve(arena, &r, text.data, bounds);
}
TEST(reference_gpt_float64) { gpt(arena, STOA_F64, &(GptBounds){1e-9, 1e-9, 1e-9}); }
TEST(reference_gpt_float32) { gpt(arena, STOA_F32, &(GptBounds){1e-5, 1e-3, 1e-3}); }

static void lenet(Arena *arena, StoaDtype dtype, const LenetBounds *bounds) {
    Recording   r;
    const char *folder = recording_folder(arena);
    if (folder == NULL) return;
    REQUIRE(recording_open(arena, folder, "lenet_bn", dtype, &r));
    LenetItems items = lenet_case_fashion(arena, &r, 1280);
    if (items.count == 0) return;
    if (bounds->gradient > 0) lenet_case_gradients(arena, &r, &items, bounds);
    lenet_case_curve(arena, &r, &items, bounds);
}
TEST(reference_lenet_float64) {
    LenetBounds bounds = {.loss = 1e-8, .gradient = 1e-10, .final = 1e-9};
    lenet(arena, STOA_F64, &bounds);
}
/* Batch norm and max pooling amplify rounding about threefold a step once a near-tie of a window
 * falls the other way, so the curve is held to the last bits for as long as none does; the kernels
 * themselves are held by the float64 run, which takes the same ones. */
TEST(reference_lenet_float32) {
    LenetBounds bounds = {.loss = 1e-2, .final = 1e-2, .early_steps = 8, .early_loss = 1e-6};
    lenet(arena, STOA_F32, &bounds);
}
