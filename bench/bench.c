/* Options, clocks, percentiles and the two ways of printing. A table line marks a missed goal. */
#include "bench/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arena/os.h"
#include "arena/workers.h"
#include "bench/commit.h"
#include "bench/history.h"

enum { LINE_BYTES = 1 << 11, MACHINE_BYTES = 256 };
static const double LEAST_PERCENT = 5; /* a smaller change is not told */

/* --- options ---------------------------------------------------------------------------------- */

static void tell_usage(FILE *out, const char *program) {
    (void)fprintf(out,
                  "usage: %s [--json] [--smoke] [--size N] [--lanes N] [--filter TEXT] "
                  "[--compare FILE]\n"
                  "  --json     one JSON object a result\n"
                  "  --smoke    a tiny size, once\n"
                  "  --size     only this size\n"
                  "  --lanes    only this number of worker lanes\n"
                  "  --filter   only results whose name contains TEXT\n"
                  "  --compare  then tell what changed since the run whose --json lines are in "
                  "FILE\n",
                  program);
}

static bool open_compare(Bench *bench, const char *path) {
    bench->told = history_open();
    bench->before = history_open();
    return bench->told != NULL && bench->before != NULL && history_read(bench->before, path);
}

bool bench_open(Bench *bench, const char *suite, int argc, char **argv, int *out_exit) {
    *bench = (Bench){.suite = suite, .filter = ""};
    *out_exit = 0;
    for (int i = 1; i < argc && *out_exit == 0; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0)
            bench->json = true;
        else if (strcmp(argv[i], "--smoke") == 0)
            bench->smoke = true;
        else if (strcmp(argv[i], "--size") == 0 && more)
            bench->size = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--lanes") == 0 && more)
            bench->lanes = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--filter") == 0 && more)
            bench->filter = argv[++i];
        else if (strcmp(argv[i], "--compare") == 0 && more && bench->told == NULL)
            *out_exit = open_compare(bench, argv[++i]) ? 0 : 2;
        else {
            bool help = strcmp(argv[i], "--help") == 0;
            tell_usage(help ? stdout : stderr, argv[0]);
            *out_exit = help ? 0 : 2;
            return false;
        }
    }
    return *out_exit == 0;
}

int bench_close(Bench *bench, int status) {
    if (bench->told != NULL) {
        FILE *out = bench->json ? stderr : stdout;
        (void)fprintf(out, "\n");
        HistoryChange change =
            history_compare(bench->before, bench->told, LEAST_PERCENT, false, out);
        if (status == 0) status = change.worse > 0;
    }
    history_close(bench->told);
    history_close(bench->before);
    return status;
}

bool bench_wants(const Bench *bench, const char *name) {
    return strstr(name, bench->filter) != NULL;
}
uint32_t bench_samples(const Bench *bench, uint32_t full) { return bench->smoke ? 1 : full; }

/* --- where a result comes from ---------------------------------------------------------------- */

const char *bench_machine(void) {
    static char text[MACHINE_BYTES];
    if (text[0] != 0) return text;
    Topology t;
    topology_read(&t);
    (void)snprintf(text, sizeof text, "%s, %u cores, L2 %llu KiB, L3 %llu KiB, %s", t.cpu_model,
                   t.cores, (unsigned long long)(t.l2_bytes >> 10),
                   (unsigned long long)(t.l3_bytes >> 10), t.features);
    for (char *at = text; *at != 0; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = ' ';
    return text;
}
const char *bench_commit(void) { return BENCH_COMMIT; }

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
    bench_add(times, cpu - times->cpu_begin, wall - times->wall_begin);
}
void bench_add(BenchTimes *times, uint64_t cpu_ns, uint64_t wall_ns) {
    if (times->count == BENCH_SAMPLES_MAX) return;
    times->cpu_ns[times->count] = cpu_ns;
    times->wall_ns[times->count++] = wall_ns;
}

static int compare_numbers(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double percentile(const double *sorted, uint32_t count, double share) {
    double   place = share * (count - 1);
    uint32_t below = (uint32_t)place, above = below + 1 < count ? below + 1 : below;
    double   part = place - below;
    return sorted[below] * (1 - part) + sorted[above] * part;
}
BenchSpread bench_spread(double *numbers, uint32_t count) {
    if (count == 0) return (BenchSpread){0};
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    return (BenchSpread){percentile(numbers, count, 0.1), percentile(numbers, count, 0.5),
                         percentile(numbers, count, 0.9)};
}
/* Without the first sample, unless it is the only one. */
static BenchSpread spread_of(const uint64_t *samples, uint32_t count) {
    double   numbers[BENCH_SAMPLES_MAX];
    uint32_t skip = count > 1;
    for (uint32_t i = skip; i < count; i++) numbers[i - skip] = (double)samples[i];
    return bench_spread(numbers, count - skip);
}

/* --- printing --------------------------------------------------------------------------------- */

typedef struct Line {
    char   text[LINE_BYTES];
    size_t count;
} Line;
__attribute__((format(printf, 2, 3))) static void add(Line *line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line->text + line->count, sizeof line->text - line->count, format, args);
    va_end(args);
    if (more > 0) line->count += (size_t)more;
    if (line->count >= sizeof line->text) line->count = sizeof line->text - 1;
}

static const BenchExtra *extra_of(const BenchResult *r, uint32_t i) {
    return i < BENCH_EXTRAS_MAX && r->extras[i].name != NULL ? &r->extras[i] : NULL;
}

static void json_line(const Bench *bench, const BenchResult *r, BenchSpread s, BenchSpread share,
                      double wall, Line *line) {
    const BenchExtra *extra;
    add(line, "{\"suite\":\"%s\",\"name\":\"%s\",\"size\":%llu", bench->suite, r->name,
        (unsigned long long)r->size);
    if (r->shape != NULL) add(line, ",\"shape\":\"%s\"", r->shape);
    if (r->dtype != NULL) add(line, ",\"dtype\":\"%s\"", r->dtype);
    if (r->lanes != 0) add(line, ",\"lanes\":%u", r->lanes);
    add(line,
        ",\"median\":%.6g,\"p10\":%.6g,\"p90\":%.6g,\"unit\":\"%s\",\"wall\":%.6g,"
        "\"samples\":%u,\"rows\":%.0f,\"bytes\":%.0f",
        s.median, s.p10, s.p90, r->unit, wall, r->times ? r->times->count : 0, r->rows, r->bytes);
    if (r->flops != 0) add(line, ",\"flops\":%.0f", r->flops);
    if (r->shares != NULL)
        add(line, ",\"share\":%.4g,\"share_p10\":%.4g,\"share_p90\":%.4g", share.median, share.p10,
            share.p90);
    if (r->goal != 0) add(line, ",\"goal\":%.6g", r->goal);
    if (r->goal_share != 0) add(line, ",\"goal_share\":%.6g", r->goal_share);
    for (uint32_t i = 0; (extra = extra_of(r, i)) != NULL; i++)
        add(line, ",\"%s\":%.15g", extra->name, extra->value);
    add(line, ",\"commit\":\"%s\",\"machine\":\"%s\"}", bench_commit(), bench_machine());
}

/* A head for each size; results with a shape have columns for it and for the share of the bound. */
static void tell_table(const BenchResult *r, BenchSpread s, BenchSpread share, double wall) {
    static uint64_t   size_told = UINT64_MAX;
    static bool       shape_told;
    const BenchExtra *extra;
    bool              shaped = r->shape != NULL;
    if (size_told != r->size || shape_told != shaped) {
        printf("\n%-22s", "");
        if (shaped) printf(" %-16s %-5s %5s", "shape", "dtype", "lanes");
        printf(" %10s %10s %10s %10s", "median", "p10", "p90", "wall");
        printf(shaped ? " %8s  unit\n" : " %10s  unit\n", shaped ? "% bound" : "rows");
        size_told = r->size;
        shape_told = shaped;
    }
    printf("%-22s", r->name);
    if (shaped) printf(" %-16s %-5s %5u", r->shape, r->dtype ? r->dtype : "", r->lanes);
    printf(" %10.4g %10.4g %10.4g %10.4g", s.median, s.p10, s.p90, wall);
    if (!shaped)
        printf(" %10.0f", r->rows);
    else if (r->shares != NULL)
        printf(" %8.1f", 100 * share.median);
    else
        printf(" %8s", "");
    printf("  %s", r->unit);
    for (uint32_t i = 0; (extra = extra_of(r, i)) != NULL; i++)
        printf("  %s %.6g", extra->name, extra->value);
    if (r->goal != 0 && s.median > r->goal) printf("  MISSES %.4g", r->goal);
    if (share.median < r->goal_share) printf("  MISSES %.0f %%", 100 * r->goal_share);
    printf("\n");
}

static void tell(const Bench *bench, const BenchResult *r, BenchSpread s, double wall) {
    BenchSpread share = {0};
    Line        line = {.count = 0};
    if (!bench_wants(bench, r->name)) return;
    if (r->shares != NULL) {
        uint32_t skip = r->times->count > 1;
        share = bench_spread(r->shares + skip, r->times->count - skip);
    }
    json_line(bench, r, s, share, wall, &line);
    if (bench->told != NULL && !history_add(bench->told, line.text))
        (void)fprintf(stderr, "%s: not kept for --compare\n", r->name);
    if (bench->json)
        (void)puts(line.text);
    else
        tell_table(r, s, share, wall);
    (void)fflush(stdout);
}

void bench_tell(const Bench *bench, const BenchResult *r) {
    BenchSpread cpu = spread_of(r->times->cpu_ns, r->times->count);
    BenchSpread wall = spread_of(r->times->wall_ns, r->times->count), s = r->waits ? wall : cpu;
    double      rows = r->rows > 0 ? r->rows : 1;
    s = (BenchSpread){s.p10 / rows, s.median / rows, s.p90 / rows};
    tell(bench, r, s, wall.median / rows);
}
void bench_tell_number(const Bench *bench, const char *name, uint64_t size, double number,
                       const char *unit, double goal) {
    BenchResult result = {.name = name, .size = size, .unit = unit, .goal = goal};
    tell(bench, &result, (BenchSpread){number, number, number}, number);
}
void bench_tell_spread(const Bench *bench, const BenchResult *result, BenchSpread spread) {
    tell(bench, result, spread, spread.median);
}
