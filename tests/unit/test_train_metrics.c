// Metrics: rows to the file and back, resuming after a crash, failing file operations, and the
// progress line in every width. A resumed run must leave the very bytes of a run that never
// stopped.
//
#include "harness.h"

#include <math.h>

#include "formats_helpers.h"
#include "train/metrics.h"

static MetricRow row_at(uint64_t step) {
    MetricRow row = metrics_row(step);
    row.loss = 4.0 / (double)step;
    row.lr = 3e-4;
    if (step % 10 == 0) row.val_loss = 0.5 + 1.0 / (double)step;
    return row;
}

static void add_rows(Metrics *metrics, uint64_t first, uint64_t last) {
    for (uint64_t step = first; step <= last; step++) {
        MetricRow row = row_at(step);
        metrics_add(metrics, &row);
    }
}

TEST(metrics_row_text) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "metrics.jsonl");
    Diags       diags;
    Metrics     metrics;
    diags_open(&diags, NULL);
    REQUIRE(metrics_open(&metrics, path, 0, NULL, &diags) == STATUS_OK);
    MetricRow row = metrics_row(7);
    row.loss = 2.41300005;
    row.lr = 9.8e-4;
    row.memory_bytes = 327155712;
    row.skipped = 0;
    metrics_add(&metrics, &row);
    row = metrics_row(8);
    row.loss = INFINITY;
    metrics_add(&metrics, &row);
    EXPECT_EQ(metrics_flush(&metrics, true, &diags), STATUS_OK);
    EXPECT_STR(
        str_copy(arena, file_get(arena, path)).data,
        "{\"step\":7,\"loss\":2.413,\"lr\":0.00098,\"skipped\":0,\"memory_bytes\":327155712}\n"
        "{\"step\":8,\"loss\":null}\n");
    metrics_close(&metrics);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(metrics_resume_drops_later_rows) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "m");
    const char *straight = path_in(arena, dir, "straight");
    Diags       diags;
    Metrics     metrics;
    diags_open(&diags, NULL);
    REQUIRE(metrics_open(&metrics, straight, 0, NULL, &diags) == STATUS_OK);
    add_rows(&metrics, 1, 60);
    EXPECT_EQ(metrics_flush(&metrics, false, &diags), STATUS_OK);
    metrics_close(&metrics);
    REQUIRE(metrics_open(&metrics, path, 0, NULL, &diags) == STATUS_OK);
    add_rows(&metrics, 1, 25);
    EXPECT_EQ(metrics_flush(&metrics, false, &diags), STATUS_OK);
    add_rows(&metrics, 26, 37);
    EXPECT_EQ(metrics_flush(&metrics, false, &diags), STATUS_OK);
    metrics_close(&metrics);
    REQUIRE(metrics_open(&metrics, path, 30, NULL, &diags) ==
            STATUS_OK); // the checkpoint was at 30
    EXPECT_EQ(metrics.rows.table.count, 31);
    EXPECT_EQ(metrics.rows.step[30], 30);
    EXPECT_NEAR(metrics.rows.loss[30], 4.0 / 30, 1e-6);
    EXPECT(isnan(metrics.rows.val_loss[29]));
    EXPECT_NEAR(metrics.rows.val_loss[30], 0.5 + 1.0 / 30, 1e-6);
    EXPECT(isnan(metrics.rows.grad_norm[30]));
    add_rows(&metrics, 31, 60);
    EXPECT_EQ(metrics_flush(&metrics, true, &diags), STATUS_OK);
    metrics_close(&metrics);
    EXPECT(str_same(file_get(arena, path), file_get(arena, straight)));
    REQUIRE(metrics_open(&metrics, path, 0, NULL, &diags) == STATUS_OK); // a new run
    EXPECT_EQ(metrics.rows.table.count, 1);
    EXPECT_EQ(file_get(arena, path).count, 0);
    metrics_close(&metrics);
    EXPECT_EQ(diags.rows.table.count, 1);
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(metrics_file_damaged_at_its_end) {
    static const struct {
        const char *text;
        uint32_t    rows;
    } cases[] = {
        {"{\"step\":1,\"loss\":3}\n{\"step\":2,\"lo", 1},
        {"{\"step\":1,\"loss\":3}\n{\"step\":2,\"loss\":2}", 1},
        {"{\"step\":1,\"loss\":3}\n{\"step\":1,\"loss\":2}\n", 1},
        {"{\"step\":1,\"loss\":3}\nrubbish\n{\"step\":2,\"loss\":2}\n", 1},
        {"{\"step\":1,\"loss\":null,\"extra\":[1,{}]}\n{\"step\":2,\"loss\":\"x\"}\n", 2},
        {"{\"step\":0,\"loss\":3}\n", 0},
        {"{\"step\":-4}\n", 0},
        {"{\"step\":1.5}\n", 0},
        {"[]\n", 0},
        {"\n", 0},
        {"\xFF\xFE\n", 0},
        {"", 0},
    };
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "m");
    Diags       diags;
    Metrics     metrics;
    diags_open(&diags, NULL);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        String text = str_of(cases[i].text);
        REQUIRE(file_put(path, text.data, text.count));
        REQUIRE(metrics_open(&metrics, path, 100, NULL, &diags) == STATUS_OK);
        EXPECT_EQ(metrics.rows.table.count - 1, cases[i].rows);
        String kept = file_get(arena, path);
        EXPECT_EQ(kept.count, metrics.bytes);
        EXPECT(kept.count <= text.count && memcmp(kept.data, text.data, kept.count) == 0);
        EXPECT(kept.count == 0 || kept.data[kept.count - 1] == '\n');
        metrics_close(&metrics);
    }
    diags_close(&diags);
    temp_remove(arena, dir);
}

TEST(metrics_in_memory_only) {
    Diags   diags;
    Metrics metrics;
    diags_open(&diags, NULL);
    REQUIRE(metrics_open(&metrics, NULL, 5, NULL, &diags) == STATUS_OK);
    add_rows(&metrics, 6, 4000);
    EXPECT_EQ(metrics.rows.table.count, 3996);
    EXPECT_EQ(metrics.rows.step[3995], 4000);
    EXPECT_EQ(metrics_flush(&metrics, true, &diags), STATUS_OK);
    metrics_close(&metrics);
    metrics_close(&metrics);
    diags_close(&diags);
}

TEST(metrics_survive_failing_file_operations) {
    const char *dir = temp_make(arena), *path = path_in(arena, dir, "m");
    Diags       diags;
    Metrics     metrics;
    diags_open(&diags, NULL);
    for (uint64_t n = 1; n < 40;
         n++) { // one operation fails somewhere; the file is whole in the end
        REQUIRE(metrics_open(&metrics, path, 0, NULL, &diags) == STATUS_OK);
        fault_file_nth(n);
        for (uint64_t step = 1; step <= 8; step++) {
            add_rows(&metrics, step, step);
            Status status = metrics_flush(&metrics, step % 3 == 0, &diags);
            EXPECT(status == STATUS_OK || status == STATUS_IO);
        }
        fault_file_nth(0);
        EXPECT_EQ(metrics_flush(&metrics, true, &diags), STATUS_OK);
        metrics_close(&metrics);
        REQUIRE(metrics_open(&metrics, path, 100, NULL, &diags) == STATUS_OK);
        EXPECT_EQ(metrics.rows.table.count, 9);
        metrics_close(&metrics);
    }
    EXPECT(diags_of(&diags, DIAG_FILE_ERROR) > 0);
    fault_file_nth(1);
    EXPECT_EQ(metrics_open(&metrics, path, 100, NULL, &diags), STATUS_IO);
    fault_file_nth(0);
    metrics_close(&metrics);
    EXPECT_EQ(metrics_open(&metrics, "/nonexistent/m", 0, NULL, &diags), STATUS_IO);
    metrics_close(&metrics);
    diags_close(&diags);
    temp_remove(arena, dir);
}

// --- progress
// -------------------------------------------------------------------------------------

static const MetricsProgress progress = {.step = 120,
                                         .steps = 1000,
                                         .loss = 2.413,
                                         .val_loss = NAN,
                                         .lr = 9.8e-4,
                                         .grad_norm = 0.92,
                                         .rate = 41234,
                                         .unit = "tok",
                                         .memory_bytes = 327155712,
                                         .seconds_left = 65};

TEST(metrics_line_text) {
    MetricsProgress p = progress;
    EXPECT_STR(metrics_line(arena, &p).data,
               "step 120/1000  loss 2.413  lr 9.8e-04  |g| 0.92  41.2k tok/s  312 MiB  ETA 1m05s");
    p.val_loss = 1.5;
    p.memory_bytes = (uint64_t)3 << 30;
    p.rate = 3.456;
    p.unit = NULL;
    EXPECT_STR(metrics_line(arena, &p).data,
               "step 120/1000  loss 2.413  val 1.500  lr 9.8e-04  |g| 0.92"
               "  3.46 step/s  3.0 GiB  ETA 1m05s");
    p = (MetricsProgress){.step = 5,
                          .loss = INFINITY,
                          .val_loss = NAN,
                          .lr = NAN,
                          .grad_norm = NAN,
                          .rate = NAN,
                          .seconds_left = NAN};
    EXPECT_STR(metrics_line(arena, &p).data, "step 5  loss inf");
    p.loss = 0.00123;
    EXPECT_STR(metrics_line(arena, &p).data, "step 5  loss 1.23e-03");
    p.skipped = 2;
    EXPECT_STR(metrics_line(arena, &p).data, "step 5  loss 1.23e-03");
    p.loss = NAN;
    EXPECT_STR(metrics_line(arena, &p).data, "step 5  skipped 2");
}

TEST(metrics_durations) {
    EXPECT_STR(metrics_duration(arena, 0).data, "0s");
    EXPECT_STR(metrics_duration(arena, 59.4).data, "59s");
    EXPECT_STR(metrics_duration(arena, 59.6).data, "1m00s");
    EXPECT_STR(metrics_duration(arena, 3599.4).data, "59m59s");
    EXPECT_STR(metrics_duration(arena, 7384).data, "2h03m");
    EXPECT_STR(metrics_duration(arena, 3 * 86400 + 4 * 3600).data, "3d04h");
    EXPECT_STR(metrics_duration(arena, -1).data, "?");
    EXPECT_STR(metrics_duration(arena, NAN).data, "?");
    EXPECT_STR(metrics_duration(arena, INFINITY).data, "?");
}

static size_t columns_of(String s) { // characters, not bytes
    size_t columns = 0;
    for (size_t i = 0; i < s.count; i++) columns += ((uint8_t)s.data[i] & 0xC0) != 0x80;
    return columns;
}

TEST(metrics_bar_fits_every_width) {
    for (uint32_t columns = 20; columns < 160; columns++) {
        String bar = metrics_bar(arena, &progress, columns, false);
        String plain = metrics_bar(arena, &progress, columns, true);
        EXPECT(columns_of(bar) <= columns);
        EXPECT_EQ(plain.count, columns_of(bar));
        EXPECT(str_starts(bar, STR("step 120/1000")));
    }
    EXPECT_STR(metrics_bar(arena, &progress, 66, true).data,
               "step 120/1000 ==-                       12%  loss 2.413  ETA 1m05s");
}

TEST(metrics_bar_gives_up_the_bar_before_the_loss) {
    EXPECT_STR(metrics_bar(arena, &progress, 40, true).data,
               "step 120/1000 =          12%  loss 2.413");
    EXPECT_STR(metrics_bar(arena, &progress, 26, true).data, "step 120/1000  loss 2.413");
    EXPECT_STR(metrics_bar(arena, &progress, 20, true).data, "step 120/1000");
}

TEST(metrics_bar_grows_with_the_steps) {
    MetricsProgress p = {.steps = 20,
                         .loss = NAN,
                         .val_loss = NAN,
                         .lr = NAN,
                         .grad_norm = NAN,
                         .rate = NAN,
                         .seconds_left = NAN};
    EXPECT_STR(metrics_bar(arena, &p, 30, true).data, "step 0/20                   0%");
    p.step = 10;
    EXPECT_STR(metrics_bar(arena, &p, 31, true).data, "step 10/20 =======-         50%");
    p.step = 20;
    EXPECT_STR(metrics_bar(arena, &p, 30, true).data, "step 20/20 ============== 100%");
    p.step = 25; // beyond the end
    EXPECT_STR(metrics_bar(arena, &p, 30, true).data, "step 25/20 ============== 100%");
    p.steps = 0;
    EXPECT_STR(metrics_bar(arena, &p, 30, true).data, "step 25");
}
