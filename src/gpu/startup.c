/* The log of what starting took, and its table.
 *
 * A row is claimed by raising the count and is there once its end is written, so threads never wait
 * for each other. Nesting is found again from the times: the table is made once, from a few hundred
 * rows. */
#include "gpu/startup.h"

#include "arena/arena.h"

typedef struct PartSum {
    uint64_t    own_ns, others_ns, longest_ns;
    uint32_t    count;
    const char *longest;
} PartSum;

const char *gpu_startup_title(GpuPart part) {
    static const char *const titles[] = {
#define GPU_PART(NAME, title) [GPU_PART_##NAME] = (title),
#include "gpu/startup.def"
    };
    ASSERT(part < GPU_PART_COUNT);
    return titles[part];
}

void gpu_startup_add(GpuStartup *startup, GpuPart part, const char *which, uint32_t lane,
                     uint64_t begin_ns, uint64_t end_ns) {
    if (startup == NULL) return;
    uint32_t at = atomic_fetch_add_explicit(&startup->count, 1, memory_order_relaxed);
    if (at >= GPU_STARTUP_ROWS) return;
    GpuStartupRow *row = &startup->rows[at];
    row->begin_ns = begin_ns;
    row->which = which;
    row->part = (uint8_t)part;
    row->lane = (uint8_t)lane;
    atomic_store_explicit(&row->end_ns, end_ns, memory_order_release);
}

uint32_t gpu_startup_count(const GpuStartup *startup) {
    uint32_t claimed = atomic_load_explicit(&startup->count, memory_order_relaxed), count = 0;
    if (claimed > GPU_STARTUP_ROWS) claimed = GPU_STARTUP_ROWS;
    while (count < claimed &&
           atomic_load_explicit(&startup->rows[count].end_ns, memory_order_acquire) != 0)
        count++;
    return count;
}

static uint64_t length(const GpuStartupRow *row) { return row->end_ns - row->begin_ns; }
/* Of equal times, the one that ended first is inside. */
static bool is_inside(const GpuStartupRow *row, const GpuStartupRow *other) {
    bool within = row->lane == other->lane && row->begin_ns >= other->begin_ns &&
                  row->end_ns <= other->end_ns;
    return row != other && within && (length(row) < length(other) || row < other);
}
/* The smallest row around a row; NULL: none. */
static const GpuStartupRow *around(const GpuStartupRow *rows, uint32_t count,
                                   const GpuStartupRow *row) {
    const GpuStartupRow *best = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (is_inside(row, &rows[i]) && (best == NULL || is_inside(&rows[i], best)))
            best = &rows[i];
    return best;
}
static void add_sums(PartSum sums[GPU_PART_COUNT], const GpuStartupRow *rows, uint32_t count,
                     uint64_t begin_ns, uint64_t end_ns, uint64_t *out_named) {
    *out_named = 0;
    for (uint32_t i = 0; i < count; i++) {
        const GpuStartupRow *row = &rows[i];
        PartSum             *sum = &sums[row->part];
        if (row->begin_ns < begin_ns || row->end_ns > end_ns) continue;
        const GpuStartupRow *outer = around(rows, count, row);
        bool                 top = outer == NULL || outer->begin_ns < begin_ns ||
                   outer->end_ns > end_ns; /* not told itself */
        sum->count++;
        if (row->lane != 0)
            sum->others_ns += length(row);
        else
            sum->own_ns += length(row);
        if (!top && row->lane != 0) sums[outer->part].others_ns -= length(row);
        if (!top && row->lane == 0) sums[outer->part].own_ns -= length(row);
        if (top && row->lane == 0) *out_named += length(row);
        if (length(row) <= sum->longest_ns) continue;
        sum->longest_ns = length(row);
        sum->longest = row->which;
    }
}

String gpu_startup_text(Arena *out, const GpuStartup *startup, uint64_t begin_ns, uint64_t end_ns) {
    PartSum  sums[GPU_PART_COUNT] = {0};
    uint64_t named;
    Text     text = text_begin(out);
    add_sums(sums, startup->rows, gpu_startup_count(startup), begin_ns, end_ns, &named);
    text_addf(&text, "  %-20s %6s %9s %9s %9s  %s\n", "part", "count", "ms", "elsewhere", "longest",
              "which");
    for (int part = 0; part < GPU_PART_COUNT; part++) {
        const PartSum *sum = &sums[part];
        if (sum->count == 0) continue;
        text_addf(&text, "  %-20s %6u %9.1f %9.1f %9.1f  %s\n", gpu_startup_title((GpuPart)part),
                  sum->count, (double)sum->own_ns * 1e-6, (double)sum->others_ns * 1e-6,
                  (double)sum->longest_ns * 1e-6, sum->longest ? sum->longest : "");
    }
    text_addf(&text, "  %-20s %6s %9.1f\n  %-20s %6s %9.1f\n", "not named", "",
              (double)(end_ns - begin_ns - named) * 1e-6, "all", "",
              (double)(end_ns - begin_ns) * 1e-6);
    return text_done(&text);
}
