// Philox4x32-10 against the known answers of Random123 (its file kat_vectors, "philox4x32 10"), and
// the helpers that make numbers of words: their ends, and that they are even. The limits of the
// statistics are four standard errors; the draws are fixed, so they hold always or never.
#include "harness.h"
#include "tables/philox.h"

static void expect_words(Philox drawn, const uint32_t *want) {
    for (int i = 0; i < 4; i++) EXPECT_EQ(drawn.word[i], want[i]);
}

TEST(philox_known_answers) {
    expect_words(philox_draw(0, 0, 0),
                 (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    expect_words(philox_draw(UINT64_MAX, UINT64_MAX, UINT64_MAX),
                 (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0: digits of pi
    expect_words(philox_draw(0x299f31d0a4093822u, 0x85a308d3243f6a88u, 0x0370734413198a2eu),
                 (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(philox_unit_is_half_open) {
    EXPECT(philox_unit(0) == 0.0f);
    EXPECT(philox_unit(UINT32_MAX) == 1.0f - 0x1p-24f);
    double sum = 0, squares = 0;
    enum { DRAWS = 40000 };
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = (double)philox_unit(philox_draw(7, i, 1).word[2]);
        sum += u;
        squares += u * u;
    }
    EXPECT_WITHIN(sum / DRAWS, 0.5, 0.006); // four standard errors
    EXPECT_WITHIN(squares / DRAWS, 1.0 / 3.0, 0.006);
}

TEST(philox_below_covers_its_range_evenly) {
    uint32_t seen[7] = {0};
    for (uint64_t i = 0; i < 7000; i++) {
        uint64_t at = philox_below(philox_draw(3, i, 0), 7);
        REQUIRE(at < 7);
        seen[at]++;
    }
    for (int i = 0; i < 7; i++) EXPECT_WITHIN(seen[i], 1000, 130);
    EXPECT_EQ(philox_below((Philox){{UINT32_MAX, UINT32_MAX, 0, 0}}, UINT64_MAX), UINT64_MAX - 1);
    EXPECT_EQ(philox_below((Philox){{UINT32_MAX, UINT32_MAX, 0, 0}}, 1), 0);
}
