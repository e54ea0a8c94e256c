/* JSON lines to rows, rows to verdicts. A few thousand results at most, so finding one is a walk.
 * Everything lives in one arena; running out of it is a refused line. */
#include "bench/history.h"

#include <string.h>

#include "arena/column.h"
#include "formats/json.h"

enum { RESULTS_MAX = 1 << 14, LINE_BYTES = 1 << 12 };

typedef struct Range {
    double median, p10, p90;
} Range;
typedef struct Result {
    String key; /* suite, name, shape, dtype, lanes, size */
    String unit, machine;
    Range  time, share; /* share.median 0: not told */
} Result;
struct History {
    Arena   *arena;
    Result  *results;
    uint32_t count;
};

History *history_open(void) {
    ArenaGuard guard;
    Arena     *arena = arena_open("history", (size_t)1 << 28, 0);
    if (arena == NULL) return NULL;
    if (!ARENA_GUARD(&guard)) {
        arena_close(arena);
        return NULL;
    }
    History *history = ARENA_NEW(arena, History);
    *history = (History){.arena = arena, .results = ARENA_ARRAY(arena, Result, RESULTS_MAX)};
    arena_guard_end(&guard);
    return history;
}
void history_close(History *history) {
    if (history != NULL) arena_close(history->arena);
}

/* --- reading ---------------------------------------------------------------------------------- */

static String text_of(const Json *json, const char *key) {
    String text = {"", 0};
    (void)json_text(json, json_find(json, json_root(json), str_of(key)), &text);
    return text;
}
static bool number_of(const Json *json, const char *key, double *out_number) {
    return json_number_of(json, json_find(json, json_root(json), str_of(key)), out_number);
}
static bool range_of(const Json *json, const char *median, const char *p10, const char *p90,
                     Range *out_range) {
    return number_of(json, median, &out_range->median) && number_of(json, p10, &out_range->p10) &&
           number_of(json, p90, &out_range->p90);
}

static bool read_line(History *history, const char *line) {
    Json      json;
    JsonError error;
    Arena    *arena = history->arena;
    Result    result = {.share = {0}};
    double    size = 0, lanes = 0;
    if (!json_parse(arena, str_copy(arena, str_of(line)), &json, &error)) return false;
    String suite = text_of(&json, "suite"), name = text_of(&json, "name");
    String shape = text_of(&json, "shape"), dtype = text_of(&json, "dtype");
    if (suite.count == 0 || name.count == 0) return false;
    if (!range_of(&json, "median", "p10", "p90", &result.time)) return false;
    if (!range_of(&json, "share", "share_p10", "share_p90", &result.share))
        result.share = (Range){0};
    (void)number_of(&json, "size", &size);
    (void)number_of(&json, "lanes", &lanes);
    result.key = str_format(arena, "%.*s/%.*s %.*s %.*s %.0f %.0f", STR_ARGS(suite), STR_ARGS(name),
                            STR_ARGS(shape), STR_ARGS(dtype), lanes, size);
    result.unit = text_of(&json, "unit");
    result.machine = text_of(&json, "machine");
    uint32_t row = 0;
    while (row < history->count && !str_same(history->results[row].key, result.key)) row++;
    if (row == RESULTS_MAX) return false;
    history->results[row] = result;
    if (row == history->count) history->count++;
    return true;
}

bool history_add(History *history, const char *line) {
    ArenaGuard guard;
    if (!ARENA_GUARD(&guard)) return false;
    bool good = read_line(history, line);
    arena_guard_end(&guard);
    return good;
}

bool history_read(History *history, const char *path) {
    char     line[LINE_BYTES];
    uint32_t number = 0;
    bool     good = true;
    FILE    *file = fopen(path, "r");
    while (file != NULL && good && fgets(line, sizeof line, file) != NULL) {
        number++;
        if (line[0] == '{') good = history_add(history, line);
    }
    if (file == NULL)
        (void)fprintf(stderr, "cannot read %s\n", path);
    else
        (void)fclose(file);
    if (!good) (void)fprintf(stderr, "%s:%u: not a result of a benchmark\n", path, number);
    return file != NULL && good;
}

/* --- comparing -------------------------------------------------------------------------------- */

static HistoryVerdict verdict(Range old, Range now, bool more_is_better, double least,
                              double *out_percent) {
    bool overlap = now.p10 <= old.p90 && old.p10 <= now.p90;
    *out_percent =
        old.median == 0 ? (now.median == 0 ? 0 : 100) : 100 * (now.median / old.median - 1);
    double change = *out_percent < 0 ? -*out_percent : *out_percent;
    if (overlap || change < least) return HISTORY_SAME;
    return (*out_percent > 0) == more_is_better ? HISTORY_BETTER : HISTORY_WORSE;
}

static const Result *find(const History *history, String key) {
    for (uint32_t i = 0; i < history->count; i++)
        if (str_same(history->results[i].key, key)) return &history->results[i];
    return NULL;
}
static uint32_t tell_missing(const History *here, const History *there, const char *which,
                             FILE *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < here->count; i++) {
        if (find(there, here->results[i].key) != NULL) continue;
        if (count++ == 0)
            (void)fprintf(out, "only in the %s run: %.*s\n", which, STR_ARGS(here->results[i].key));
    }
    if (count > 1) (void)fprintf(out, "  and %u more\n", count - 1);
    return count;
}

HistoryChange history_compare(const History *old, const History *now, double least, bool all,
                              FILE *out) {
    static const char *const words[] = {"", " better", " worse"};
    HistoryChange            change = {0};
    bool                     machines = false;
    for (uint32_t i = 0; i < now->count; i++) {
        const Result *b = &now->results[i], *a = find(old, b->key);
        if (a == NULL) continue;
        bool   shares = a->share.median > 0 && b->share.median > 0;
        Range  was = shares ? a->share : a->time, is = shares ? b->share : b->time;
        bool   rate = b->unit.count > 2 && memcmp(b->unit.data + b->unit.count - 2, "/s", 2) == 0;
        double percent, scale = shares ? 100 : 1;
        HistoryVerdict word = verdict(was, is, shares || rate, least, &percent);
        change.both++;
        change.better += word == HISTORY_BETTER;
        change.worse += word == HISTORY_WORSE;
        machines |= !str_same(a->machine, b->machine);
        if (word == HISTORY_SAME && !all) continue;
        (void)fprintf(out, "%.*s: %.4g -> %.4g %.*s (%+.1f %%)%s\n", STR_ARGS(b->key),
                      scale * was.median, scale * is.median,
                      STR_ARGS(shares ? STR("% of the bound") : b->unit), percent, words[word]);
    }
    (void)tell_missing(old, now, "old", out);
    (void)tell_missing(now, old, "new", out);
    if (machines) (void)fprintf(out, "the runs are from different machines\n");
    (void)fprintf(out, "%u results in both, %u better, %u worse\n", change.both, change.better,
                  change.worse);
    return change;
}
