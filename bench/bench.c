/* Options, clocks, percentiles and the two ways of printing. Percentiles interpolate between
 * neighbouring samples, so that few samples do not jump. A table line marks a missed goal. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arena/os.h"

/* --- options ---------------------------------------------------------------------------------- */

static void tell_usage(FILE *out, const char *program) {
    (void)fprintf(out,
                  "usage: %s [--json] [--smoke] [--size N] [--filter TEXT]\n"
                  "  --json    one JSON object a result, for bench/compare.py\n"
                  "  --smoke   a tiny size, once\n"
                  "  --size    only this size\n"
                  "  --filter  only results whose name contains TEXT\n",
                  program);
}

bool bench_open(Bench *bench, const char *suite, int argc, char **argv, int *out_exit) {
    *bench = (Bench){.suite = suite, .filter = ""};
    *out_exit = 0;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0)
            bench->json = true;
        else if (strcmp(argv[i], "--smoke") == 0)
            bench->smoke = true;
        else if (strcmp(argv[i], "--size") == 0 && more)
            bench->size = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--filter") == 0 && more)
            bench->filter = argv[++i];
        else {
            bool help = strcmp(argv[i], "--help") == 0;
            tell_usage(help ? stdout : stderr, argv[0]);
            *out_exit = help ? 0 : 2;
            return false;
        }
    }
    return true;
}

bool bench_wants(const Bench *bench, const char *name) {
    return strstr(name, bench->filter) != NULL;
}
uint32_t bench_samples(const Bench *bench, uint32_t full) { return bench->smoke ? 1 : full; }

/* --- clocks and statistics -------------------------------------------------------------------- */

uint64_t bench_cpu_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_begin(BenchTimes *times) {
    times->wall_begin = os_clock_ns();
    times->cpu_begin = bench_cpu_ns();
}
void bench_end(BenchTimes *times) {
    uint64_t cpu = bench_cpu_ns(), wall = os_clock_ns();
    if (times->count == BENCH_SAMPLES_MAX) return;
    times->cpu_ns[times->count] = cpu - times->cpu_begin;
    times->wall_ns[times->count++] = wall - times->wall_begin;
}

typedef struct Spread {
    double p10, median, p90;
} Spread;

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
static double percentile(const uint64_t *sorted, uint32_t count, double share) {
    double   place = share * (count - 1);
    uint32_t below = (uint32_t)place, above = below + 1 < count ? below + 1 : below;
    double   part = place - below;
    return (double)sorted[below] * (1 - part) + (double)sorted[above] * part;
}
/* Without the first sample, unless it is the only one. */
static Spread spread_of(const uint64_t *samples, uint32_t count) {
    uint64_t sorted[BENCH_SAMPLES_MAX];
    uint32_t skip = count > 1;
    if (count == 0) return (Spread){0};
    memcpy(sorted, samples + skip, (count - skip) * sizeof *sorted);
    qsort(sorted, count - skip, sizeof *sorted, compare_numbers);
    return (Spread){percentile(sorted, count - skip, 0.1), percentile(sorted, count - skip, 0.5),
                    percentile(sorted, count - skip, 0.9)};
}

/* --- printing --------------------------------------------------------------------------------- */

static void tell_json(const Bench *bench, const BenchResult *r, Spread s, double wall) {
    printf("{\"suite\":\"%s\",\"name\":\"%s\",\"size\":%llu,\"median\":%.6g,\"p10\":%.6g,"
           "\"p90\":%.6g,\"unit\":\"%s\",\"wall\":%.6g,\"samples\":%u,\"rows\":%.0f,"
           "\"bytes\":%.0f",
           bench->suite, r->name, (unsigned long long)r->size, s.median, s.p10, s.p90, r->unit,
           wall, r->times ? r->times->count : 0, r->rows, r->bytes);
    if (r->goal != 0) printf(",\"goal\":%.6g", r->goal);
    for (uint32_t i = 0; i < BENCH_EXTRAS_MAX && r->extras[i].name != NULL; i++)
        printf(",\"%s\":%.9g", r->extras[i].name, r->extras[i].value);
    printf("}\n");
}
static void tell_table(const BenchResult *r, Spread s, double wall) {
    static uint64_t size_told;
    if (size_told != r->size) {
        printf("\n%-22s %10s %10s %10s %10s %10s  %s\n", "", "median", "p10", "p90", "wall", "rows",
               "unit");
        size_told = r->size;
    }
    printf("%-22s %10.4g %10.4g %10.4g %10.4g %10.0f  %s", r->name, s.median, s.p10, s.p90, wall,
           r->rows, r->unit);
    for (uint32_t i = 0; i < BENCH_EXTRAS_MAX && r->extras[i].name != NULL; i++)
        printf("  %s %.6g", r->extras[i].name, r->extras[i].value);
    if (r->goal != 0 && s.median > r->goal) printf("  MISSES %.4g", r->goal);
    printf("\n");
}
static void tell(const Bench *bench, const BenchResult *result, Spread s, double wall) {
    if (!bench_wants(bench, result->name)) return;
    if (bench->json)
        tell_json(bench, result, s, wall);
    else
        tell_table(result, s, wall);
    (void)fflush(stdout);
}

void bench_tell(const Bench *bench, const BenchResult *r) {
    Spread cpu = spread_of(r->times->cpu_ns, r->times->count);
    Spread wall = spread_of(r->times->wall_ns, r->times->count), s = r->waits ? wall : cpu;
    double rows = r->rows > 0 ? r->rows : 1;
    s = (Spread){s.p10 / rows, s.median / rows, s.p90 / rows};
    tell(bench, r, s, wall.median / rows);
}
void bench_tell_number(const Bench *bench, const char *name, uint64_t size, double number,
                       const char *unit, double goal) {
    BenchResult result = {.name = name, .size = size, .unit = unit, .goal = goal};
    tell(bench, &result, (Spread){number, number, number}, number);
}
