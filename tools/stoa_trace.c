/* `stoa trace`: sums up the spans of run/trace.json by name and by kind. The file is read as the
 * library writes it, one event a line; lines that are no spans are passed over, so a trace made by
 * something else gives an empty table rather than nonsense. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/stoa_settings.h"

const CliOption trace_options[] = {
    {"top", "N", "20", "how many rows of the table"},
    {"by", "operator|name", "operator", "one row per operator, or per operator and result"},
    {NULL, NULL, NULL, NULL},
};

enum { NAME_BYTES = 96, SLOTS = 1 << 14, LINE_BYTES = 4096, STREAMS = 256, GAP_MAX_US = 50 };

typedef struct Row {
    char     name[NAME_BYTES], kind[24];
    uint64_t calls;
    double   microseconds;
} Row;

typedef struct Summary {
    Row     *rows; /* a hash table while reading, then sorted */
    uint32_t count;
    bool     by_name;
    uint64_t steps;
    double   step_microseconds, launch_microseconds, system_microseconds;
    uint64_t launches, lanes; /* lanes: bits */
    double   peak_bytes;
    uint64_t kernels, gaps; /* of a GPU; gaps: between kernels of a stream, shorter than a step */
    double   kernel_microseconds, copy_microseconds, gap_microseconds;
    double   last_end[STREAMS]; /* by lane */
} Summary;

/* --- reading ---------------------------------------------------------------------------------- */

/* The text after "key": in a line of JSON, or NULL. */
static const char *value_of(const char *line, const char *key) {
    char pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *found = strstr(line, pattern);
    return found ? found + strlen(pattern) : NULL;
}

static double number_of(const char *line, const char *key) {
    const char *value = value_of(line, key);
    return value ? strtod(value, NULL) : NAN;
}

/* A string value up to its closing quote; escapes stay as they are. */
static bool string_of(const char *line, const char *key, char *out, size_t bytes) {
    const char *value = value_of(line, key);
    size_t      used = 0;
    if (value == NULL || *value++ != '"') return false;
    for (; *value != 0 && *value != '"'; value++) {
        if (*value == '\\' && value[1] != 0 && used + 1 < bytes) out[used++] = *value++;
        if (used + 1 < bytes) out[used++] = *value;
    }
    out[used] = 0;
    return *value == '"';
}

static Row *row_of(Summary *summary, const char *name, const char *kind) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = name; *c != 0; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (uint32_t turn = 0; turn < SLOTS; turn++) {
        Row *row = &summary->rows[(hash + turn) % SLOTS];
        if (row->calls == 0) {
            if (summary->count >= SLOTS / 2) return NULL;
            summary->count++;
            snprintf(row->name, sizeof row->name, "%s", name);
            snprintf(row->kind, sizeof row->kind, "%s", kind);
            return row;
        }
        if (strcmp(row->name, name) == 0 && strcmp(row->kind, kind) == 0) return row;
    }
    return NULL;
}

/* Kernels of a stream come in order of their start. A longer gap waits for the host. */
static void add_kernel(Summary *summary, double start, double duration, double lane) {
    summary->kernels++;
    summary->kernel_microseconds += duration;
    if (!(lane >= 0 && lane < STREAMS)) return;
    double *last = &summary->last_end[(unsigned)lane], gap = start - *last;
    if (*last > 0 && gap < GAP_MAX_US) {
        summary->gaps++;
        summary->gap_microseconds += gap > 0 ? gap : 0;
    }
    if (start + duration > *last) *last = start + duration;
}

/* "dot_general %y | sm90_gemm": the operator, or that and its result, or the kernel if there is no
 * operator. */
static void shorten(char *name, bool by_name) {
    char *bar = strstr(name, " | ");
    if (bar == NULL) return;
    *bar = 0;
    if (!by_name) name[strcspn(name, " ")] = 0;
}

static void add_span(Summary *summary, const char *line) {
    char   name[NAME_BYTES], kind[24];
    double duration = number_of(line, "dur"), lane = number_of(line, "tid");
    if (!string_of(line, "name", name, sizeof name) || !isfinite(duration) || duration < 0) return;
    if (!string_of(line, "cat", kind, sizeof kind)) return;
    if (strcmp(kind, "step") == 0) {
        summary->steps++;
        summary->step_microseconds += duration;
        return;
    }
    if (strcmp(kind, "system") == 0) summary->system_microseconds += duration;
    if (strcmp(kind, "launch") == 0) {
        summary->launches++;
        summary->launch_microseconds += duration;
        if (lane >= 0 && lane < 64) summary->lanes |= (uint64_t)1 << (unsigned)lane;
        if (!summary->by_name) name[strcspn(name, " ")] = 0;
    }
    bool kernel = strcmp(kind, "kernel") == 0;
    bool moves = strcmp(kind, "copy") == 0 || strcmp(kind, "fill") == 0;
    if (kernel) add_kernel(summary, number_of(line, "ts"), duration, lane);
    if (moves) summary->copy_microseconds += duration;
    if (kernel || moves) shorten(name, summary->by_name);
    Row *row = row_of(summary, name, moves ? "kernel" : kind); /* one table for both */
    if (row == NULL) return;
    row->calls++;
    row->microseconds += duration;
}

static void add_counter(Summary *summary, const char *line) {
    double bytes = number_of(line, "bytes");
    if (isfinite(bytes) && bytes > summary->peak_bytes) summary->peak_bytes = bytes;
}

static bool read_trace(Summary *summary, FILE *file) {
    static char line[LINE_BYTES];
    bool        any = false;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *phase = value_of(line, "ph");
        if (strstr(line, "traceEvents") != NULL) any = true;
        if (phase == NULL) continue;
        if (strncmp(phase, "\"X\"", 3) == 0) add_span(summary, line);
        if (strncmp(phase, "\"C\"", 3) == 0) add_counter(summary, line);
    }
    return any && ferror(file) == 0;
}

/* --- printing --------------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b) {
    const Row *left = a, *right = b;
    if (left->microseconds != right->microseconds)
        return left->microseconds < right->microseconds ? 1 : -1;
    return strcmp(left->name, right->name);
}

static void print_rows(const Summary *summary, const char *kind, double whole, uint32_t top) {
    uint32_t shown = 0, left = 0;
    double   rest = 0;
    for (uint32_t i = 0; i < summary->count; i++) {
        const Row *row = &summary->rows[i];
        if (strcmp(row->kind, kind) != 0) continue;
        if (shown == top) {
            left++;
            rest += row->microseconds;
            continue;
        }
        shown++;
        printf("  %10.3f %6.1f %% %9llu %11.1f  %s\n", row->microseconds / 1e3,
               whole > 0 ? 100 * row->microseconds / whole : 0, (unsigned long long)row->calls,
               row->microseconds / (double)row->calls, row->name);
    }
    if (left > 0)
        printf("  %10.3f %6.1f %% %9s %11s  (%u more)\n", rest / 1e3,
               whole > 0 ? 100 * rest / whole : 0, "", "", left);
}

static unsigned lanes_of(const Summary *summary) {
    unsigned lanes = 0;
    for (uint64_t bits = summary->lanes; bits != 0; bits &= bits - 1) lanes++;
    return lanes;
}

static void print_device(const Summary *summary, uint32_t top) {
    double all = summary->kernel_microseconds + summary->copy_microseconds;
    printf("\nGPU: %llu kernels, busy %.1f %% of the steps", (unsigned long long)summary->kernels,
           summary->step_microseconds > 0 ? 100 * all / summary->step_microseconds : 0);
    if (summary->gaps > 0)
        printf(", %.2f us between kernels", summary->gap_microseconds / (double)summary->gaps);
    printf("\n          ms   share     calls     us each  %s, or the kernel of none\n",
           summary->by_name ? "operator and result" : "operator");
    print_rows(summary, "kernel", all, top);
}

static void print_summary(const Summary *summary, const char *path, uint32_t top) {
    printf("%s: %llu steps", path, (unsigned long long)summary->steps);
    if (summary->steps > 0)
        printf(", %.3f ms each", summary->step_microseconds / (double)summary->steps / 1e3);
    printf(", %llu launches on %u lanes", (unsigned long long)summary->launches, lanes_of(summary));
    if (summary->peak_bytes > 0) printf(", memory up to %s bytes", cli_amount(summary->peak_bytes));
    printf("\n\nOperators, time summed over the lanes\n");
    printf("          ms   share     calls     us each  %s\n",
           summary->by_name ? "operator and result" : "operator");
    print_rows(summary, "launch", summary->launch_microseconds, top);
    if (summary->kernels > 0) print_device(summary, top);
    printf("\nSystems: what compiling and planning took\n");
    printf("          ms   share     calls     us each  system\n");
    print_rows(summary, "system", summary->system_microseconds, top);
    printf("\nThe timeline: open https://ui.perfetto.dev and drop %s on it; nothing is uploaded.\n",
           path);
}

static int summarise(Cli *cli, const char *path, uint32_t top, bool by_name) {
    Summary summary = {.by_name = by_name};
    FILE   *file = fopen(path, "r");
    if (file == NULL)
        return cli_failed(cli, "cannot read %s: %s; a trace is written by stoa train --trace", path,
                          strerror(errno));
    summary.rows = calloc(SLOTS, sizeof *summary.rows);
    bool good = summary.rows != NULL && read_trace(&summary, file);
    fclose(file);
    if (good) {
        qsort(summary.rows, SLOTS, sizeof *summary.rows, by_time);
        print_summary(&summary, path, top);
    }
    free(summary.rows);
    return good ? CLI_OK : cli_failed(cli, "%s is no trace of Stoa", path);
}

int trace_command(Cli *cli, int count, char **words) {
    static const char *const ways[] = {"operator", "name", NULL};
    char                     path[CLI_PATH_BYTES + 16], newest[CLI_PATH_BYTES];
    const char              *run = NULL;
    int                      rest_count = 0;
    int                      code = cli_flags(cli, count, words, &run, 1, &rest_count);
    if (code != CLI_OK) return code;
    uint32_t top = (uint32_t)stoa_config_int(cli->config, "top", 1, 100000, 20);
    bool     by_name = stoa_config_choice(cli->config, "by", ways, 0) == 1;
    code = cli_finish(cli);
    if (code != CLI_OK) return code;
    if (rest_count == 0 && settings_newest_run(NULL, newest)) run = newest;
    if (run == NULL) return cli_usage(cli, "which run? stoa trace RUN");
    if (strlen(run) >= CLI_PATH_BYTES) return cli_usage(cli, "the path is too long");
    snprintf(path, sizeof path, cli_is_folder(run) ? "%s/trace.json" : "%s", run);
    return summarise(cli, path, top, by_name);
}
