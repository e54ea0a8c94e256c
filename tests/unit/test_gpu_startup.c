/* The log of what starting took: nested rows, rows of other lanes, rows outside the time asked for,
 * more rows than it holds. */
#define _GNU_SOURCE
#include "gpu/startup.h"

#include "harness.h"

static GpuStartup *log_open(Arena *arena) { return ARENA_ARRAY_ZERO(arena, GpuStartup, 1); }
static bool        tells(String text, const char *line) {
           return memmem(text.data, text.count, line, strlen(line)) != NULL;
}
enum { MS = 1000000 };

TEST(startup_parts_add_up) {
    GpuStartup *log = log_open(arena);
    gpu_startup_add(log, GPU_PART_OPEN, "before", 0, 0, 5 * MS);
    gpu_startup_add(log, GPU_PART_COMPILE, "inner", 0, 20 * MS, 30 * MS);
    gpu_startup_add(log, GPU_PART_CHOOSE, "", 0, 32 * MS, 33 * MS);
    gpu_startup_add(log, GPU_PART_BIND, "", 0, 20 * MS, 60 * MS);   /* 29 of its own */
    gpu_startup_add(log, GPU_PART_LAUNCH, "", 0, 15 * MS, 80 * MS); /* 25 */
    gpu_startup_add(log, GPU_PART_COMPILE, "other lane", 3, 10 * MS, 70 * MS);
    gpu_startup_add(log, GPU_PART_STEP, "after", 0, 110 * MS, 120 * MS);
    EXPECT_EQ(gpu_startup_count(log), 7);
    String text = gpu_startup_text(arena, log, 10 * MS, 100 * MS);
    EXPECT(tells(text, "compile kernels           2      10.0      60.0      60.0  other lane\n"));
    EXPECT(tells(text, "bind launches             1      29.0       0.0      40.0"));
    EXPECT(tells(text, "choose products           1       1.0       0.0       1.0"));
    EXPECT(tells(text, "launch one by one         1      25.0       0.0      65.0"));
    EXPECT(tells(text, "not named                        25.0\n"));
    EXPECT(tells(text, "all                              90.0\n"));
    EXPECT(!tells(text, "open library") && !tells(text, "wait for the step"));
}

TEST(startup_rows_are_bounded) {
    GpuStartup *log = log_open(arena);
    for (uint32_t i = 0; i < GPU_STARTUP_ROWS + 10; i++)
        gpu_startup_add(log, GPU_PART_LOAD, "", 0, i * MS, i * MS + MS);
    EXPECT_EQ(gpu_startup_count(log), GPU_STARTUP_ROWS);
    gpu_startup_add(NULL, GPU_PART_LOAD, "", 0, 0, 1);
    /* A row that is claimed and not written yet ends what can be read. */
    log->rows[7].end_ns = 0;
    EXPECT_EQ(gpu_startup_count(log), 7);
}
