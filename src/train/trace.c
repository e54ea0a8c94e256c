/* Traces: names, and the file. Recording is in trace.h.
 *
 * The file is in the Trace Event Format: metadata events that name the process and its lanes, then
 * complete ("X") and counter ("C") events in order of their start, the longer first where two begin
 * together, so that an enclosing span comes before what it encloses. Times are microseconds with
 * nanosecond decimals, counted from trace_open.
 *
 * Writing streams through one buffer, pushed before the file is opened; numbers are formatted
 * without the locale and without pushing. Names are quoted when they are interned, for the same
 * reason. */
#include "train/trace.h"

#include <math.h>
#include <stdio.h>

#include "arena/hash.h"
#include "formats/files.h"
#include "formats/json.h"

enum { ROWS_DEFAULT = 1 << 16, NAMES_DEFAULT = 1 << 12, LINE_BYTES = 2048, BUFFER_BYTES = 1 << 16 };
enum { NAME_OTHER = 1, NAME_BYTES_MAX = 240 };

typedef struct TraceNames { /* columns; row 0 is nil, row 1 is "(other)" */
    uint32_t     count, rows_max, slots_mask;
    String      *text;            /* quoted */
    const char **category, **arg; /* arg: NULL for none */
    bool        *counter;
    uint64_t    *hash;
    uint32_t    *slots; /* open addressing on hash; 0: free */
} TraceNames;

/* --- opening and names ------------------------------------------------------------------------ */

static uint32_t power_of_two(uint32_t least) {
    ASSERT(least <= 1u << 31);
    uint32_t power = 1;
    while (power < least) power *= 2;
    return power;
}

/* Quoted and cut, so that an event fits a line. */
static String quoted(Arena *out, String s) {
    static_assert(6 * NAME_BYTES_MAX < LINE_BYTES - 256, "one byte may be quoted as \\u001f");
    if (s.count > NAME_BYTES_MAX) s.count = NAME_BYTES_MAX;
    Text text = text_begin(out);
    json_string(&text, s);
    return text_done(&text);
}

static TraceNames *names_open(Arena *arena, uint32_t names_max) {
    uint32_t    rows = names_max + 2, slots = power_of_two(2 * rows);
    TraceNames *names = ARENA_NEW(arena, TraceNames);
    *names = (TraceNames){.count = 1,
                          .rows_max = rows,
                          .slots_mask = slots - 1,
                          .text = ARENA_ARRAY_ZERO(arena, String, rows),
                          .category = ARENA_ARRAY_ZERO(arena, const char *, rows),
                          .arg = ARENA_ARRAY_ZERO(arena, const char *, rows),
                          .counter = ARENA_ARRAY_ZERO(arena, bool, rows),
                          .hash = ARENA_ARRAY_ZERO(arena, uint64_t, rows),
                          .slots = ARENA_ARRAY_ZERO(arena, uint32_t, slots)};
    return names;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static TraceName name_add(Trace *trace, String name, const char *category, const char *arg,
                          bool counter) {
    TraceNames *names = trace->names;
    ArenaMark   mark = arena_mark(trace->arena);
    String      text = quoted(trace->arena, name);
    uint64_t    hash = hash_bytes(text.data, text.count, counter);
    uint32_t    slot = (uint32_t)hash & names->slots_mask;
    for (uint32_t row; (row = names->slots[slot]) != 0; slot = (slot + 1) & names->slots_mask) {
        if (names->hash[row] != hash || !str_same(names->text[row], text)) continue;
        if (!same_text(names->category[row], category) || !same_text(names->arg[row], arg))
            continue;
        if (names->counter[row] != counter) continue;
        arena_release(trace->arena, mark);
        return (TraceName){row};
    }
    if (names->count == names->rows_max) {
        arena_release(trace->arena, mark);
        return (TraceName){counter ? 0 : NAME_OTHER};
    }
    uint32_t row = names->count++;
    names->text[row] = text;
    names->category[row] = category;
    names->arg[row] = arg;
    names->counter[row] = counter;
    names->hash[row] = hash;
    names->slots[slot] = row;
    return (TraceName){row};
}

TraceName trace_span_name(Trace *trace, String name, const char *category, const char *arg) {
    return trace ? name_add(trace, name, category, arg, false) : (TraceName){0};
}

TraceName trace_counter_name(Trace *trace, String name, const char *unit) {
    return trace ? name_add(trace, name, "counter", unit, true) : (TraceName){0};
}

void trace_label(Trace *trace, uint32_t lane, String label) {
    if (!trace) return;
    ASSERT(lane < trace->lanes_count);
    trace->lanes[lane].label = quoted(trace->arena, label);
}

Trace *trace_open(Arena *arena, const TraceOptions *options) {
    Trace   *trace = ARENA_NEW(arena, Trace);
    uint32_t rows = power_of_two(options->rows_max ? options->rows_max : ROWS_DEFAULT);
    String   process = options->process_name.count ? options->process_name : STR("stoa");
    *trace = (Trace){.arena = arena,
                     .lanes_count = options->lanes ? options->lanes : 1,
                     .process = options->process,
                     .process_label = quoted(arena, process)};
    trace->lanes = ARENA_ARRAY_ZERO(arena, TraceLane, trace->lanes_count);
    trace->names = names_open(arena, options->names_max ? options->names_max : NAMES_DEFAULT);
    TraceName other = trace_span_name(trace, STR("(other)"), "other", NULL);
    ASSERT(other.row == NAME_OTHER);
    (void)other;
    for (uint32_t lane = 0; lane < trace->lanes_count; lane++) {
        char label[32];
        int  count = snprintf(label, sizeof label, "lane %u", lane);
        trace_label(trace, lane, (String){label, (size_t)count});
        TraceLane *row = &trace->lanes[lane];
        row->mask = rows - 1;
        row->start_ns = ARENA_ARRAY_ZERO(arena, uint64_t, rows); /* touched now, not in the run */
        row->end_ns = ARENA_ARRAY_ZERO(arena, uint64_t, rows);
        row->arg = ARENA_ARRAY_ZERO(arena, uint64_t, rows);
        row->name = ARENA_ARRAY_ZERO(arena, uint32_t, rows);
    }
    trace->opened_ns = os_clock_ns();
    return trace;
}

static uint64_t lane_kept(const TraceLane *lane) {
    return lane->count <= lane->mask ? lane->count : lane->mask + 1;
}

uint64_t trace_rows_lost(const Trace *trace) {
    uint64_t lost = 0;
    for (uint32_t lane = 0; trace && lane < trace->lanes_count; lane++)
        lost += trace->lanes[lane].count - lane_kept(&trace->lanes[lane]);
    return lost;
}

/* --- order ------------------------------------------------------------------------------------ */

typedef struct Event {
    uint64_t start_ns, end_ns;
    uint32_t lane, at; /* at: in the lane's columns */
} Event;

static bool event_before(const Event *a, const Event *b) {
    if (a->start_ns != b->start_ns) return a->start_ns < b->start_ns;
    return a->end_ns > b->end_ns;
}

/* Merge sort, stable: of equal events the lower lane stays first. Returns the array that is sorted
 * in the end. */
static Event *events_sort(Event *events, Event *other, size_t count) {
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t first = 0; first < count; first += 2 * width) {
            size_t middle = first + width < count ? first + width : count;
            size_t last = middle + width < count ? middle + width : count;
            size_t a = first, b = middle;
            for (size_t to = first; to < last; to++) {
                bool right = a == middle || (b < last && event_before(&events[b], &events[a]));
                other[to] = right ? events[b++] : events[a++];
            }
        }
        Event *swap = events;
        events = other;
        other = swap;
    }
    return events;
}

static Event *events_gather(Arena *arena, const Trace *trace, size_t *out_count) {
    size_t count = 0, next = 0;
    for (uint32_t lane = 0; lane < trace->lanes_count; lane++)
        count += (size_t)lane_kept(&trace->lanes[lane]);
    Event *events = ARENA_ARRAY(arena, Event, count), *other = ARENA_ARRAY(arena, Event, count);
    for (uint32_t lane = 0; lane < trace->lanes_count; lane++) {
        const TraceLane *row = &trace->lanes[lane];
        for (uint64_t n = row->count - lane_kept(row); n < row->count; n++) {
            uint64_t at = n & row->mask;
            events[next++] = (Event){row->start_ns[at], row->end_ns[at], lane, (uint32_t)at};
        }
    }
    ASSERT(next == count);
    *out_count = count;
    return events_sort(events, other, count);
}

/* --- the file --------------------------------------------------------------------------------- */

typedef struct Sink { /* a buffered file; after an error it swallows */
    OsFile file;
    char  *buffer;
    size_t used;
    int    error;
} Sink;

static void sink_flush(Sink *sink) {
    if (!sink->error && sink->used > 0)
        sink->error = os_write(sink->file, sink->buffer, sink->used);
    sink->used = 0;
}

PRINTF_LIKE(2, 3) static void sink_addf(Sink *sink, const char *format, ...) {
    va_list args;
    if (sink->used > BUFFER_BYTES - LINE_BYTES) sink_flush(sink);
    va_start(args, format);
    int count = vsnprintf(sink->buffer + sink->used, LINE_BYTES, format, args);
    va_end(args);
    ASSERT(count >= 0 && count < LINE_BYTES);
    sink->used += (size_t)count;
}

static void sink_metadata(Sink *sink, const Trace *trace) {
    uint32_t process = trace->process;
    sink_addf(sink, "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"rows_lost\":%llu},\n",
              (unsigned long long)trace_rows_lost(trace));
    sink_addf(sink,
              "\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":%u,\"name\":\"process_name\","
              "\"args\":{\"name\":%s}}",
              process, trace->process_label.data);
    for (uint32_t lane = 0; lane < trace->lanes_count; lane++) {
        sink_addf(sink,
                  ",\n{\"ph\":\"M\",\"pid\":%u,\"tid\":%u,\"name\":\"thread_name\","
                  "\"args\":{\"name\":%s}}",
                  process, lane, trace->lanes[lane].label.data);
        sink_addf(sink,
                  ",\n{\"ph\":\"M\",\"pid\":%u,\"tid\":%u,\"name\":\"thread_sort_index\","
                  "\"args\":{\"sort_index\":%u}}",
                  process, lane, lane);
    }
}

/* A double without the locale's decimal sign: whole numbers exactly, others with six decimals. */
static void sink_double(Sink *sink, double value) {
    if (!isfinite(value)) value = 0;
    double whole = trunc(value);
    if (whole == value || fabs(value) >= 1e9) {
        sink_addf(sink, "%.0f", value);
        return;
    }
    unsigned long long millionths = (unsigned long long)(fabs(value) * 1e6 + 0.5);
    sink_addf(sink, "%s%llu.%06llu", value < 0 ? "-" : "", millionths / 1000000,
              millionths % 1000000);
}

static void sink_event(Sink *sink, const Trace *trace, const Event *event) {
    const TraceLane   *lane = &trace->lanes[event->lane];
    const TraceNames  *names = trace->names;
    uint32_t           name = lane->name[event->at];
    unsigned long long arg = lane->arg[event->at];
    ASSERT(name < names->count);
    if (name == 0) return; /* a counter that found no room among the names */
    uint64_t start = event->start_ns > trace->opened_ns ? event->start_ns - trace->opened_ns : 0;
    uint64_t bytes = event->end_ns > event->start_ns ? event->end_ns - event->start_ns : 0;
    unsigned long long ts = start, duration = bytes;
    sink_addf(sink, ",\n{\"ph\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%llu.%03llu",
              names->counter[name] ? "C" : "X", trace->process, event->lane, ts / 1000, ts % 1000);
    if (names->counter[name]) {
        double value;
        memcpy(&value, &lane->arg[event->at], sizeof value);
        sink_addf(sink, ",\"name\":%s,\"args\":{\"%s\":", names->text[name].data,
                  names->arg[name] ? names->arg[name] : "value");
        sink_double(sink, value);
        sink_addf(sink, "}}");
        return;
    }
    sink_addf(sink, ",\"dur\":%llu.%03llu,\"cat\":\"%s\",\"name\":%s", duration / 1000,
              duration % 1000, names->category[name], names->text[name].data);
    if (names->arg[name]) sink_addf(sink, ",\"args\":{\"%s\":%llu}", names->arg[name], arg);
    sink_addf(sink, "}");
}

Status trace_write(const Trace *trace, const char *path, Diags *diags) {
    if (!trace) return STATUS_OK;
    Scratch      scratch = scratch_begin(NULL, 0);
    size_t       count;
    const Event *events = events_gather(scratch.arena, trace, &count);
    String       temp = str_format(scratch.arena, "%s.tmp", path);
    String       folder = files_folder(scratch.arena, path);
    Sink         sink = {.buffer = ARENA_ARRAY(scratch.arena, char, BUFFER_BYTES)};
    sink.error = os_open(temp.data, OS_WRITE_NEW, &sink.file);
    bool made = !sink.error;
    if (made) sink_metadata(&sink, trace);
    for (size_t i = 0; i < count && !sink.error; i++) sink_event(&sink, trace, &events[i]);
    if (made) sink_addf(&sink, "\n]}\n");
    sink_flush(&sink);
    Failure failure = failure_file(made ? "write" : "create", sink.error);
    int     error = os_close(&sink.file);
    if (!failure_some(failure)) failure = failure_file("close", error);
    if (!failure_some(failure)) failure = files_publish(temp.data, path, folder.data);
    if (made && failure_some(failure)) files_discard(temp.data);
    scratch_end(scratch);
    return report_failure(diags, path, failure);
}
