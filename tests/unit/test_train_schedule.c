// Learning-rate schedules: the formulas of schedule.h at steps where they can be worked out by
// hand, the ends of warm-up and decay, that no shape rises after the warm-up, names, and the
// settings that make no sense.
#include "harness.h"

#include <math.h>

#include "train/schedule.h"

static const Schedule base = {
    .kind = SCHEDULE_COSINE, .lr = 3e-4, .final_ratio = 0.1, .steps = 1000, .warmup_steps = 100};

static Schedule of_kind(ScheduleKind kind) {
    Schedule schedule = base;
    schedule.kind = kind;
    return schedule;
}

TEST(schedule_warms_up_linearly_to_the_peak) {
    for (int kind = 0; kind < SCHEDULE_KIND_COUNT; kind++) {
        Schedule schedule = of_kind((ScheduleKind)kind);
        EXPECT_NEAR(schedule_at(&schedule, 0), 3e-4 / 101, 1e-12);
        EXPECT_NEAR(schedule_at(&schedule, 49), 3e-4 * 50 / 101, 1e-12);
        EXPECT_NEAR(schedule_at(&schedule, 99), 3e-4 * 100 / 101, 1e-12);
        EXPECT_NEAR(schedule_at(&schedule, 100), 3e-4, 1e-12);
    }
}

TEST(schedule_shapes_at_known_steps) {
    Schedule cosine = of_kind(SCHEDULE_COSINE), linear = of_kind(SCHEDULE_LINEAR);
    Schedule constant = of_kind(SCHEDULE_CONSTANT), wsd = of_kind(SCHEDULE_WSD);
    EXPECT_NEAR(schedule_at(&cosine, 550), 3e-4 * 0.55, 1e-12); // halfway: the mean of peak and end
    EXPECT_NEAR(schedule_at(&cosine, 325), 3e-4 * (0.1 + 0.9 * (1 + sqrt(0.5)) / 2), 1e-12);
    EXPECT_NEAR(schedule_at(&linear, 550), 3e-4 * 0.55, 1e-12);
    EXPECT_NEAR(schedule_at(&linear, 325), 3e-4 * 0.775, 1e-12);
    EXPECT_NEAR(schedule_at(&constant, 999999), 3e-4, 1e-12);
    EXPECT_NEAR(schedule_at(&wsd, 800), 3e-4, 1e-12);        // the last fifth decays
    EXPECT_NEAR(schedule_at(&wsd, 850), 3e-4 * 0.55, 1e-12); // sqrt(1/4)
    wsd.decay_steps = 400;
    EXPECT_NEAR(schedule_at(&wsd, 600), 3e-4, 1e-12);
    EXPECT_NEAR(schedule_at(&wsd, 700), 3e-4 * 0.55, 1e-12);
}

TEST(schedule_ends_at_the_final_ratio_and_never_rises_after_warmup) {
    for (int kind = SCHEDULE_COSINE; kind < SCHEDULE_KIND_COUNT; kind++) {
        Schedule schedule = of_kind((ScheduleKind)kind);
        bool     falls = true;
        for (uint64_t step = 100; step < 1100; step++)
            falls &= schedule_at(&schedule, step + 1) <= schedule_at(&schedule, step) * (1 + 1e-12);
        EXPECT(falls);
        EXPECT_NEAR(schedule_at(&schedule, 1000), 3e-5, 1e-12);
        EXPECT_NEAR(schedule_at(&schedule, UINT64_MAX), 3e-5, 1e-12);
    }
}

TEST(schedule_corners) {
    Schedule all_warmup = base, empty = {.kind = SCHEDULE_COSINE, .lr = 1, .final_ratio = 0.5};
    all_warmup.warmup_steps = 1000;
    EXPECT_NEAR(schedule_at(&all_warmup, 999), 3e-4 * 1000 / 1001, 1e-12);
    EXPECT_NEAR(schedule_at(&all_warmup, 1000), 3e-5, 1e-12);
    EXPECT_NEAR(schedule_at(&empty, 0), 0.5, 1e-12);
    Schedule wsd = {.kind = SCHEDULE_WSD,
                    .lr = 1,
                    .final_ratio = 0,
                    .steps = 10,
                    .warmup_steps = 5,
                    .decay_steps = 10};
    EXPECT_EQ(schedule_problem(&wsd) == NULL, true); // the decay shrinks to what the warm-up leaves
    EXPECT_NEAR(schedule_at(&wsd, 5), 1, 1e-12);
    EXPECT_WITHIN(schedule_at(&wsd, 10), 0, 1e-12);
}

TEST(schedule_names_and_problems) {
    ScheduleKind kind;
    for (int i = 0; i < SCHEDULE_KIND_COUNT; i++) {
        REQUIRE(schedule_find(str_of(schedule_name((ScheduleKind)i)), &kind));
        EXPECT_EQ(kind, i);
    }
    EXPECT(!schedule_find(STR("cosin"), &kind));
    EXPECT(!schedule_find(STR(""), &kind));
    Schedule bad[] = {base, base, base, base, base, base};
    bad[0].lr = -1;
    bad[1].lr = NAN;
    bad[2].final_ratio = 1.5;
    bad[3].warmup_steps = 1001;
    bad[4].kind = SCHEDULE_KIND_COUNT;
    bad[5].kind = SCHEDULE_WSD;
    bad[5].decay_steps = 1001;
    for (size_t i = 0; i < LENGTH(bad); i++) EXPECT(schedule_problem(&bad[i]) != NULL);
    EXPECT(schedule_problem(&base) == NULL);
}
