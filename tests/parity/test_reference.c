/* Parity with an independent framework on the large recordings (recording.h tells where they are),
 * the part that takes seconds: every gradient of the GPT at step 0, in float64 within 1e-10, and
 * its first losses in float32. The whole curves are in test_reference_slow.c. */
#include "gpt_case.h"

static void gpt(Arena *arena, StoaDtype dtype, double tolerance) {
    Recording   r;
    const char *folder = recording_folder(arena);
    if (folder == NULL) return;
    REQUIRE(recording_open(arena, folder, "gpt_nano", dtype, &r));
    String text = str_format(arena, "%s/../data/tinyshakespeare.txt", folder);
    gpt_case_gradients(arena, &r, text.data, tolerance);
}

TEST(reference_gpt_float64_gradients) { gpt(arena, STOA_F64, 1e-10); }
/* One rounding is 6e-8; a gradient is a sum over 1024 tokens. */
TEST(reference_gpt_float32_gradients) { gpt(arena, STOA_F32, 1e-5); }
