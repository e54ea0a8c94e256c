/* Parity on the whole curves of the large recordings (recording.h tells where they are): 100 steps
 * of the GPT and 20 of the convolutional network with batch norm, in both precisions.
 *
 * Bounds in float64 are what is asked of the engine: 1e-9 for the GPT's losses, 1e-8 through batch
 * norm, 1e-10 for gradients. In float32 one rounding is 6e-8 and 100 updates amplify it: 1e-5 for
 * the GPT. The other network holds 1e-6 until a rounding error tips one of its kinks (relu, max
 * pool): in the recording too, whose own float32 curve leaves its float64 one. */
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
 * falls the other way: from then on a curve, and what it ends in, says what the tie did, not what
 * the kernels do. So the curve is held to the last bits while none has fallen, and every step,
 * beginning in the state of the float64 run, to what that step gives in float64. */
TEST(reference_lenet_float32) {
    LenetBounds bounds = {.loss = 1e-2, .early_steps = 8, .early_loss = 1e-6};
    lenet(arena, STOA_F32, &bounds);
}

/* All of the state, rounded. */
static bool take_state(Arena *arena, Engine *narrow, Engine *wide) {
    for (uint32_t i = 0; i < stoa_state_count(wide->session); i++) {
        const char *name = stoa_state_name(wide->session, i);
        StoaTensor  tensor = {.data = NULL};
        uint32_t    count = 0;
        double     *numbers = engine_state(arena, wide, str_of(name), &count);
        float      *rounded = ARENA_ARRAY(arena, float, count + 1);
        if (!EXPECT(numbers != NULL) ||
            !engine_good(narrow, stoa_state_get(narrow->session, name, &tensor)) ||
            !EXPECT(tensor.dtype == STOA_F32))
            return false;
        for (uint32_t k = 0; k < count; k++) rounded[k] = (float)numbers[k];
        tensor.data = rounded;
        if (!engine_good(narrow, stoa_state_set(narrow->session, name, &tensor))) return false;
    }
    return true;
}
/* The norm of the difference of all state over its norm: tensors of which a step leaves nothing but
 * rounding (a bias before a normalisation) do not count more than they are. */
static double state_differs(Arena *arena, Engine *narrow, Engine *wide) {
    double off = 0, norm = 0;
    for (uint32_t i = 0; i < stoa_state_count(wide->session); i++) {
        String   name = str_of(stoa_state_name(wide->session, i));
        uint32_t count = 0;
        double  *a = engine_state(arena, narrow, name, &count);
        double  *b = engine_state(arena, wide, name, &count);
        for (uint32_t k = 0; k < count; k++) {
            off += (a[k] - b[k]) * (a[k] - b[k]);
            norm += b[k] * b[k];
        }
    }
    return sqrt(off / norm);
}
TEST(every_step_of_lenet_float32) {
    Recording   r[2];
    LenetItems  items[2];
    Engine      engines[2];
    LenetConfig config = model_lenet_preset();
    double      worst = 0, moved = 0;
    uint32_t    tipped = 0;
    const char *folder = recording_folder(arena);
    if (folder == NULL) return;
    for (uint32_t i = 0; i < 2; i++) {
        config.dtype = i == 0 ? STOA_F32 : STOA_F64;
        REQUIRE(recording_open(arena, folder, "lenet_bn", config.dtype, &r[i]));
        items[i] = lenet_case_fashion(arena, &r[i], 1280);
        if (items[i].count == 0) return;
        REQUIRE(lenet_case_open(&engines[i], &r[i], &config));
    }
    for (uint32_t step = 0; step < 20; step++) {
        ArenaMark mark = arena_mark(arena);
        double    loss[2] = {0, 0};
        if (!take_state(arena, &engines[0], &engines[1])) break;
        for (uint32_t i = 0; i < 2; i++)
            (void)lenet_case_step(&engines[i], &r[i], &items[i], 0.05, step, &loss[i]);
        double off = fabs(loss[0] - loss[1]) / loss[1];
        worst = fmax(worst, off);
        double state = state_differs(arena, &engines[0], &engines[1]);
        tipped += state > 1e-6;
        moved = fmax(moved, state);
        arena_release(arena, mark);
    }
    printf(
        "\n  losses differ by at most %.3g, states by %.3g; near-ties fell otherwise in %u steps",
        worst, moved, tipped);
    EXPECT(worst <= 1e-6); /* continuous in what falls */
    EXPECT(moved <= 1e-3);
    EXPECT(tipped <= 4); /* of 20; about 1e-7 in all others */
    for (uint32_t i = 0; i < 2; i++) engine_close(&engines[i]);
}
