/* Metrics: history rows, their file, and the progress line.
 *
 * Rows are written and read through the column list, so a new column needs no code here. A row read
 * back is a line of JSON that has a step above the one before; the first line that is not ends the
 * history, because only the end of an appended file can be damaged by a crash.
 *
 * Text is built before the file is opened and failures are reported after it is closed: pushes and
 * diagnostics may unwind. */
#include "train/metrics.h"

#include <math.h>

#include "arena/os.h"
#include "formats/files.h"
#include "formats/json.h"

#define TABLE_SELF_ MetricRows
TABLE_INFO(MetricRows, metric_rows_info, "metrics", METRICS_COLUMNS);
#undef TABLE_SELF_
enum { ROWS_MAX = 1 << 22, COLUMNS = LENGTH(metric_rows_info_columns) };
static const uint64_t FILE_MAX = (uint64_t)4 << 30;
static_assert(sizeof(MetricRow) == COLUMNS * sizeof(double), "a row is its step and doubles");

/* --- rows and their text ---------------------------------------------------------------------- */

MetricRow metrics_row(uint64_t step) {
    double    values[COLUMNS];
    MetricRow row;
    for (size_t i = 0; i < COLUMNS; i++) values[i] = NAN;
    memcpy(&row, values, sizeof row);
    row.step = step;
    return row;
}

void metrics_add(Metrics *metrics, const MetricRow *row) {
    MetricRows *rows = &metrics->rows;
    double      values[COLUMNS];
    uint32_t    at = table_add(&rows->table);
    ASSERT(row->step > rows->step[at - 1]);
    memcpy(values, row, sizeof values);
    rows->step[at] = row->step;
    for (uint32_t i = 1; i < COLUMNS; i++)
        ((double *)table_column(&rows->table, i))[at] = values[i];
}

static void value_text(Text *text, double value) {
    bool whole = value == floor(value) && fabs(value) < 1e15;
    if (!isfinite(value))
        text_add(text, STR("null"));
    else
        text_addf(text, whole ? "%.0f" : "%.7g", value);
}

static void row_text(Text *text, const MetricRows *rows, uint32_t row) {
    text_addf(text, "{\"step\":%llu", (unsigned long long)rows->step[row]);
    for (uint32_t i = 1; i < COLUMNS; i++) {
        const double *values = table_column(&rows->table, i);
        if (isnan(values[row]) && values != rows->loss) continue;
        text_addf(text, ",\"%s\":", metric_rows_info_columns[i].name);
        value_text(text, values[row]);
    }
    text_add(text, STR("}\n"));
}

/* A line as a row; false if it is none. */
static bool row_parse(Arena *scratch, String line, MetricRow *out_row) {
    Json      json;
    JsonError error;
    int64_t   step;
    double    values[COLUMNS];
    if (!json_parse(scratch, line, &json, &error)) return false;
    JsonId root = json_root(&json);
    if (!json_integer(&json, json_find(&json, root, STR("step")), &step) || step < 1) return false;
    *out_row = metrics_row((uint64_t)step);
    memcpy(values, out_row, sizeof values);
    for (uint32_t i = 1; i < COLUMNS; i++) {
        JsonId value = json_find(&json, root, str_of(metric_rows_info_columns[i].name));
        (void)json_number_of(&json, value, &values[i]);
    }
    memcpy(out_row, values, sizeof values);
    out_row->step = (uint64_t)step;
    return true;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Adds the rows that stay; metrics->bytes becomes their length. */
static void rows_read(Metrics *metrics, Arena *scratch, String text, uint64_t steps_done) {
    MetricRow row;
    for (size_t at = 0, end; at < text.count; at = end) {
        const char *newline = memchr(text.data + at, '\n', text.count - at);
        if (!newline) return;
        end = (size_t)(newline - text.data) + 1;
        ArenaMark mark = arena_mark(scratch);
        bool      good = row_parse(scratch, (String){text.data + at, end - at - 1}, &row);
        arena_release(scratch, mark);
        uint32_t last = metrics->rows.table.count - 1;
        if (!good || row.step > steps_done || row.step <= metrics->rows.step[last]) return;
        metrics_add(metrics, &row);
        metrics->bytes = end;
    }
}

/* Opens for appending, cuts what is not ours, appends, closes. */
static Failure file_append(const Metrics *metrics, String text, bool cut, bool sync) {
    OsFile  file = {-1};
    Failure failure = failure_file("open", os_open(metrics->path, OS_APPEND, &file));
    if (failure_some(failure)) return failure;
    if (cut) failure = failure_file("cut", os_truncate(file, metrics->bytes));
    if (!failure_some(failure) && text.count > 0)
        failure = failure_file("write", os_write(file, text.data, text.count));
    if (!failure_some(failure) && sync) failure = failure_file("sync", os_sync(file));
    int error = os_close(&file);
    return failure_some(failure) ? failure : failure_file("close", error);
}

Status metrics_open(Metrics *metrics, const char *path, uint64_t steps_done, Budget *budget,
                    Diags *diags) {
    *metrics = (Metrics){.path = path, .saved = 1};
    table_open(&metrics->rows.table, &metric_rows_info, ROWS_MAX, budget);
    if (!path) return STATUS_OK;
    Scratch scratch = scratch_begin(NULL, 0);
    Failure failure = {0};
    if (steps_done > 0 && os_exists(path)) {
        String text;
        failure = files_read(scratch.arena, path, FILE_MAX, &text);
        if (!failure_some(failure)) rows_read(metrics, scratch.arena, text, steps_done);
    }
    scratch_end(scratch);
    metrics->saved = metrics->rows.table.count;
    if (!failure_some(failure)) failure = file_append(metrics, (String){0}, true, true);
    return report_failure(diags, path, failure);
}

void metrics_close(Metrics *metrics) {
    table_close(&metrics->rows.table);
    *metrics = (Metrics){0};
}

Status metrics_flush(Metrics *metrics, bool sync, Diags *diags) {
    uint32_t count = metrics->rows.table.count;
    if (!metrics->path || (metrics->saved == count && !sync)) return STATUS_OK;
    Scratch scratch = scratch_begin(NULL, 0);
    Text    text = text_begin(scratch.arena);
    for (uint32_t row = metrics->saved; row < count; row++) row_text(&text, &metrics->rows, row);
    String  lines = text_done(&text);
    Failure failure = file_append(metrics, lines, metrics->torn, sync);
    metrics->torn = failure_some(failure);
    if (!metrics->torn) {
        metrics->saved = count;
        metrics->bytes += lines.count;
    }
    scratch_end(scratch);
    return report_failure(diags, metrics->path, failure);
}

/* --- progress --------------------------------------------------------------------------------- */

/* The parts of the line, in the order in which they stand. Each is a string of the arena. */
typedef enum Part { LOSS, VAL, LR, GRAD, RATE, MEMORY, ETA, PARTS } Part;
/* The order in which they are left out when there is no room. */
static const uint8_t part_weakest[] = {MEMORY, LR, GRAD, RATE, VAL, ETA, LOSS};
static_assert(LENGTH(part_weakest) == PARTS, "each part can go");

String metrics_duration(Arena *out, double seconds) {
    if (!(seconds >= 0 && seconds < 1e9)) return STR("?");
    unsigned long s = (unsigned long)(seconds + 0.5), minutes = s / 60, hours = minutes / 60;
    if (s < 60) return str_format(out, "%lus", s);
    if (hours == 0) return str_format(out, "%lum%02lus", minutes, s % 60);
    if (hours < 24) return str_format(out, "%luh%02lum", hours, minutes % 60);
    return str_format(out, "%lud%02luh", hours / 24, hours % 24);
}

/* 0.41, 41.2, 41.2k, 3.05M: three digits. */
static String short_number(Arena *out, double number) {
    static const char units[] = " kMGTP";
    size_t            unit = 0;
    while (fabs(number) >= 999.5 && unit + 2 < sizeof units) {
        number /= 1000;
        unit++;
    }
    int decimals = fabs(number) < 9.995 ? 2 : fabs(number) < 99.95 ? 1 : 0;
    return str_format(out, "%.*f%.*s", decimals, number, unit > 0, units + unit);
}

static String loss_text(Arena *out, const char *name, double loss) {
    bool plain = loss == 0 || (fabs(loss) >= 0.01 && fabs(loss) < 1000);
    return str_format(out, plain ? "%s %.3f" : "%s %.2e", name, loss);
}

static String bytes_text(Arena *out, uint64_t bytes) {
    double mib = (double)bytes / (1 << 20);
    if (mib < 9.95) return str_format(out, "%.1f MiB", mib);
    if (mib < 1023.5) return str_format(out, "%.0f MiB", mib);
    return str_format(out, "%.*f GiB", mib < 102400 ? 1 : 0, mib / 1024);
}

static void parts_make(Arena *out, const MetricsProgress *p, String *parts) {
    for (size_t part = 0; part < PARTS; part++) parts[part] = (String){0};
    if (!isnan(p->loss))
        parts[LOSS] = loss_text(out, "loss", p->loss);
    else if (p->skipped != 0)
        parts[LOSS] = str_format(out, "skipped %llu", (unsigned long long)p->skipped);
    if (!isnan(p->val_loss)) parts[VAL] = loss_text(out, "val", p->val_loss);
    if (!isnan(p->lr)) parts[LR] = str_format(out, "lr %.1e", p->lr);
    if (!isnan(p->grad_norm))
        parts[GRAD] = str_format(out, p->grad_norm < 1000 ? "|g| %.2f" : "|g| %.1e", p->grad_norm);
    if (!isnan(p->rate)) {
        String rate = short_number(out, p->rate);
        parts[RATE] = str_format(out, "%.*s %s/s", STR_ARGS(rate), p->unit ? p->unit : "step");
    }
    if (p->memory_bytes) parts[MEMORY] = bytes_text(out, p->memory_bytes);
    if (!isnan(p->seconds_left)) {
        String left = metrics_duration(out, p->seconds_left);
        parts[ETA] = str_format(out, "ETA %.*s", STR_ARGS(left));
    }
}

static String step_text(Arena *out, const MetricsProgress *progress) {
    unsigned long long step = progress->step, steps = progress->steps;
    return steps ? str_format(out, "step %llu/%llu", step, steps)
                 : str_format(out, "step %llu", step);
}

static String line_join(Arena *out, String head, const String *parts) {
    Text line = text_begin(out);
    text_add(&line, head);
    for (size_t part = 0; part < PARTS; part++)
        if (parts[part].count > 0) text_addf(&line, "  %.*s", STR_ARGS(parts[part]));
    return text_done(&line);
}

String metrics_line(Arena *out, const MetricsProgress *progress) {
    Scratch scratch = scratch_begin(&out, 1);
    String  parts[PARTS];
    parts_make(scratch.arena, progress, parts);
    String line = line_join(out, step_text(scratch.arena, progress), parts);
    scratch_end(scratch);
    return line;
}

/* A bar of `columns` columns; the fine one has half columns: heavy, heavy left half, light. */
static void bar_add(Text *text, double share, size_t columns, bool ascii) {
    static const char *const fine[] = {"\u2501", "\u2578", "\u2500"};
    static const char *const plain[] = {"=", "-", " "};
    const char *const       *marks = ascii ? plain : fine;
    size_t                   halves = (size_t)(share * 2 * (double)columns);
    for (size_t i = 0; i < columns; i++)
        text_add(text, str_of(marks[2 * i + 1 < halves ? 0 : 2 * i < halves ? 1 : 2]));
}

/* Columns of the parts with the gaps before them. All of their text is ASCII. */
static size_t parts_columns(const String *parts) {
    size_t columns = 0;
    for (size_t part = 0; part < PARTS; part++)
        if (parts[part].count > 0) columns += 2 + parts[part].count;
    return columns;
}

String metrics_bar(Arena *out, const MetricsProgress *progress, uint32_t columns, bool ascii) {
    enum { BAR_MAX = 30, BAR_WANTED = 12, BAR_MIN = 4, PERCENT = 5 /* " 100%" */ };
    Scratch scratch = scratch_begin(&out, 1);
    String  parts[PARTS], head = step_text(scratch.arena, progress);
    double  share = progress->steps ? (double)progress->step / (double)progress->steps : 0;
    size_t  fixed = head.count + (progress->steps ? 1 + PERCENT : 0), bar = 0;
    parts_make(scratch.arena, progress, parts);
    size_t wanted = fixed + (progress->steps ? BAR_WANTED : 0);
    for (size_t i = 0; i < PARTS; i++) {
        if (part_weakest[i] == LOSS) wanted = head.count; /* rather no bar than no loss */
        if (wanted + parts_columns(parts) > columns) parts[part_weakest[i]] = (String){0};
    }
    size_t used = fixed + parts_columns(parts);
    if (progress->steps && columns > used)
        bar = columns - used < BAR_MAX ? columns - used : BAR_MAX;
    Text text = text_begin(scratch.arena);
    text_add(&text, (String){head.data, head.count < columns ? head.count : columns});
    if (bar >= BAR_MIN) {
        text_add(&text, STR(" "));
        bar_add(&text, share < 1 ? share : 1, bar, ascii);
        text_addf(&text, " %3.0f%%", floor(100 * (share < 1 ? share : 1)));
    }
    String line = line_join(out, text_done(&text), parts);
    scratch_end(scratch);
    return line;
}
